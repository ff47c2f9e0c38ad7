// SPDX-License-Identifier: GPL-2.0-only
/*
 * The worker becomes a user without rights before it looks at the
 * policy's code. Root's side of pyland holds the link and the BPF objects.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/securebits.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pyland_native.h"

/* No scheduler without the process that watches over it. */
int pyland_die_with_parent(void)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return pyland_fail(-errno, "prctl(PR_SET_PDEATHSIG): %s", strerror(errno));
	return 0;
}

/* What loses its parent below this process becomes its child, and can be ended. */
int pyland_adopt_descendants(void)
{
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		return pyland_fail(-errno, "prctl(PR_SET_CHILD_SUBREAPER): %s", strerror(errno));
	return 0;
}

/*
 * The terminal that started pyland is not the policy's: with it as controlling terminal, a process
 * could type commands into root's shell (TIOCSTI). The process group stays, for Ctrl-Z.
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
 * For good: this user, these groups, no capability in any set, and no program that could give
 * any. For the calling thread alone, so it must be the only one.
 */
int pyland_drop_privileges(unsigned int uid, unsigned int gid)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (!uid)
		return pyland_fail(-EINVAL, "a policy does not run as root");
	leave_terminal();
	/* Root's keys stay with root; kernels without keys have none to leave. */
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return pyland_fail(-errno, "prctl(PR_SET_NO_NEW_PRIVS): %s", strerror(errno));
	for (int cap = 0; !prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); cap++)
		;
	/* Without CAP_SETPCAP there is no bit to set, and no right that a change of user could keep. */
	prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
	      SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED, 0, 0, 0);
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		return pyland_fail(-errno, "becoming user %u, group %u: %s", uid, gid,
				   strerror(errno));
	if (syscall(SYS_capset, &header, none))
		return pyland_fail(-errno, "capset: %s", strerror(errno));
	/* Another process of this user must not attach to it and take its memory for its own. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return pyland_fail(-errno, "prctl(PR_SET_DUMPABLE): %s", strerror(errno));
	/* The kernel forgets this one when a process changes its user. */
	return pyland_die_with_parent();
}
