// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the process that runs the policy must not be able to do. All that it needs of
 * root it has done by then: the maps are mapped, the scheduler is attached.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
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

/* For good: this user, these groups, no capability, and no program that could give any. */
int pyland_drop_privileges(unsigned int uid, unsigned int gid)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return pyland_fail(-errno, "prctl(PR_SET_NO_NEW_PRIVS): %s", strerror(errno));
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		return pyland_fail(-errno, "becoming user %u, group %u: %s", uid, gid,
				   strerror(errno));
	if (syscall(SYS_capset, &header, none))
		return pyland_fail(-errno, "capset: %s", strerror(errno));
	/* The kernel forgets this one when a process changes its user. */
	return pyland_die_with_parent();
}
