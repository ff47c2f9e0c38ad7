// SPDX-License-Identifier: GPL-2.0-only
/* How a process of pyland ends, and with which others. */
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

#include "pyland_native.h"

volatile sig_atomic_t pyland_stop_signal;

static void on_signal(int number)
{
	pyland_stop_signal = number;
}

/*
 * A handler in C costs a cycle nothing, and no Python code runs in between. If nohup has made
 * the process ignore SIGHUP, it still does.
 */
int pyland_catch_signals(void)
{
	struct sigaction hangup, action = { .sa_handler = on_signal };

	if (sigaction(SIGINT, &action, NULL) || sigaction(SIGTERM, &action, NULL) ||
	    sigaction(SIGHUP, NULL, &hangup) ||
	    (hangup.sa_handler != SIG_IGN && sigaction(SIGHUP, &action, NULL)))
		return pyland_fail(-errno, "sigaction: %s", strerror(errno));
	return 0;
}

/* Lets the kernel kill this process when its parent ends: the worker needs a supervisor. */
int pyland_die_with_parent(void)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
		return pyland_fail(-errno, "prctl(PR_SET_PDEATHSIG): %s", strerror(errno));
	return 0;
}

/* A descendant that loses its parent becomes a child of this process, which can end it. */
int pyland_adopt_descendants(void)
{
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		return pyland_fail(-errno, "prctl(PR_SET_CHILD_SUBREAPER): %s", strerror(errno));
	return 0;
}
