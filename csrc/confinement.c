// SPDX-License-Identifier: GPL-2.0-only
/*
 * The filter of system calls for the process that runs the policy. That process has no capability
 * left; the filter also takes what an ordinary user may do and no policy needs: to start
 * processes, to look into others, to reach parts of the kernel where faults are found most often.
 *
 * It lists what is refused, not what is allowed: a policy is any Python program with any library.
 * The kernel remembers the calls that are allowed with any argument, so sched_yield, the one call
 * of a cycle, does not run the filter: it takes 1,869 instructions with a filter and 1,747 without,
 * of a cycle's 22,000.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "pyland_native.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__riscv)
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#elif defined(__powerpc64__)
#define ARCHITECTURE AUDIT_ARCH_PPC64LE
#elif defined(__s390x__)
#define ARCHITECTURE AUDIT_ARCH_S390X
#elif defined(__loongarch__)
#define ARCHITECTURE AUDIT_ARCH_LOONGARCH64
#else
#error "which architecture does seccomp report here?"
#endif

#define NEW_NAMESPACES (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
			CLONE_NEWPID | CLONE_NEWNET)
#define X32_BIT 0x40000000U	/* x86-64: the same calls under other numbers */
#define CLONE_FLAGS_ARGUMENT (ARCHITECTURE == AUDIT_ARCH_S390X ? 1 : 0)
#define ARGUMENT(n) (offsetof(struct seccomp_data, args) + 8 * (n) + \
		     (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0))	/* its lower half */

/* Each becomes two instructions, and jumps are counted in eight bits. */
static const int refused[] = {
	SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, SYS_bpf,
	SYS_perf_event_open, SYS_userfaultfd, SYS_io_uring_setup, SYS_io_uring_enter,
	SYS_io_uring_register, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_unshare, SYS_setns,
	SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_open_tree, SYS_move_mount,
	SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_kexec_load, SYS_init_module,
	SYS_finit_module, SYS_delete_module, SYS_acct, SYS_quotactl, SYS_reboot, SYS_swapon,
	SYS_swapoff, SYS_vhangup, SYS_open_by_handle_at, SYS_personality, SYS_setsid, SYS_setpgid,
#ifdef SYS_pidfd_getfd
	SYS_pidfd_getfd,
#endif
#ifdef SYS_kexec_file_load
	SYS_kexec_file_load,
#endif
#ifdef SYS_iopl
	SYS_iopl, SYS_ioperm,
#endif
};

/* These make a process that could outlive this one, or keep its memory and descriptors. */
static const int refused_unless_asked[] = {
	SYS_execve, SYS_execveat,
#ifdef SYS_fork
	SYS_fork, SYS_vfork,
#endif
};

struct builder {
	struct sock_filter code[192];
	unsigned short nr;
};

static void add(struct builder *b, unsigned short code, unsigned int k, unsigned char jt,
		unsigned char jf)
{
	if (b->nr < NR(b->code))
		b->code[b->nr] = (struct sock_filter){ code, jt, jf, k };
	b->nr++;
}

static void end_with(struct builder *b, unsigned int verdict)
{
	add(b, BPF_RET | BPF_K, verdict, 0, 0);
}

static void load(struct builder *b, unsigned int offset)
{
	add(b, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
}

static void refuse(struct builder *b, const int *calls, unsigned int nr, int error)
{
	for (unsigned int i = 0; i < nr; i++) {
		add(b, BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1);
		end_with(b, SECCOMP_RET_ERRNO | error);
	}
}

/* Refuses @call where the lower half of its argument is @value; the accumulator has the number. */
static void refuse_with(struct builder *b, int call, unsigned int argument, unsigned int value)
{
	add(b, BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4);
	load(b, ARGUMENT(argument));
	add(b, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
	end_with(b, SECCOMP_RET_ERRNO | EPERM);
	load(b, offsetof(struct seccomp_data, nr));
}

/*
 * Installs the filter for this thread and all that it starts, for good; needs
 * PR_SET_NO_NEW_PRIVS. 0, or a negative errno where the kernel has no filters.
 */
int pyland_confine(int may_start_processes)
{
	struct builder b = { .nr = 0 };
	struct sock_fprog program = { .filter = b.code };
	const int clone3 = SYS_clone3;

	load(&b, offsetof(struct seccomp_data, arch));
	add(&b, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
	end_with(&b, SECCOMP_RET_ERRNO | EPERM);
	load(&b, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
	add(&b, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
	end_with(&b, SECCOMP_RET_ERRNO | EPERM);
#endif
	refuse(&b, refused, NR(refused), EPERM);
	refuse_with(&b, SYS_prctl, 0, PR_SET_PDEATHSIG);
	/* No process may trace the worker: a traced process cannot be reaped. */
	refuse_with(&b, SYS_prctl, 0, PR_SET_DUMPABLE);
	refuse_with(&b, SYS_prctl, 0, PR_SET_PTRACER);
	refuse_with(&b, SYS_ioctl, 1, TIOCSTI);
	/* A filter cannot read clone3's flags. With ENOSYS the C library falls back to clone. */
	refuse(&b, &clone3, 1, ENOSYS);
	add(&b, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4);
	load(&b, ARGUMENT(CLONE_FLAGS_ARGUMENT));
	add(&b, BPF_JMP | BPF_JSET | BPF_K, NEW_NAMESPACES, 0, 1);
	end_with(&b, SECCOMP_RET_ERRNO | EPERM);
	load(&b, offsetof(struct seccomp_data, nr));
	if (!may_start_processes) {
		refuse(&b, refused_unless_asked, NR(refused_unless_asked), EPERM);
		add(&b, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3);
		load(&b, ARGUMENT(CLONE_FLAGS_ARGUMENT));
		add(&b, BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0);
		end_with(&b, SECCOMP_RET_ERRNO | EPERM);
	}
	end_with(&b, SECCOMP_RET_ALLOW);
	if (b.nr > NR(b.code))
		return pyland_fail(-E2BIG, "a filter of %u instructions", b.nr);
	program.len = b.nr;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0))
		return pyland_fail(-errno, "prctl(PR_SET_SECCOMP): %s", strerror(errno));
	return 0;
}
