// SPDX-License-Identifier: GPL-2.0-only
/*
 * The worker becomes a user without rights before it looks at the policy's code. The
 * processes of root keep the link and the BPF objects.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pyland_native.h"

/*
 * A process could type commands into root's shell (TIOCSTI) if the terminal that started pyland
 * were its controlling terminal. The process group stays, for Ctrl-Z.
 */
static void leave_terminal(void)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	ioctl(fd, TIOCNOTTY);
	close(fd);
}

/*
 * For good: this user, this group, no capability in any set, and no program that could give
 * one. It changes the calling thread alone, which must be the only one.
 */
int pyland_drop_privileges(unsigned int uid, unsigned int gid)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (!uid)
		return pyland_fail(-EINVAL, "a policy does not run as root");
	leave_terminal();
	/* Leaves root's keys. This fails on a kernel without keys, which has none to leave. */
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return pyland_fail(-errno, "prctl(PR_SET_NO_NEW_PRIVS): %s", strerror(errno));
	for (int cap = 0; !prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); cap++)
		;
	/*
	 * This fails without CAP_SETPCAP, and is not needed: the calls below take all capabilities,
	 * and PR_SET_NO_NEW_PRIVS keeps programs from giving any.
	 */
	prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
	      SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED, 0, 0, 0);
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		return pyland_fail(-errno, "becoming user %u, group %u: %s", uid, gid,
				   strerror(errno));
	if (syscall(SYS_capset, &header, none))
		return pyland_fail(-errno, "capset: %s", strerror(errno));
	/* Another process of this user must not attach to this one and use its mapped memory. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return pyland_fail(-errno, "prctl(PR_SET_DUMPABLE): %s", strerror(errno));
	/* The kernel forgets this signal when a process changes its user. */
	return pyland_die_with_parent();
}
