/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Limits how often a policy may preempt tasks. On each CPU, a few tasks may be preempted before
 * they had a shortest slice, for tasks that cannot wait. Beyond that, a task has its shortest slice
 * first. Otherwise a policy that preempts all the time would leave time for nothing but switches.
 */
#ifndef PYLAND_THRASHING_BPF_H
#define PYLAND_THRASHING_BPF_H

#include "slice_timers.bpf.h"
#include "taking.bpf.h"

/* The most early preemptions on each CPU within a tenth of a second. */
#define CUTS_MAX	32
#define CUTS_WINDOW_NS	(100 * NSEC_PER_MSEC)

/* Counts a task that is preempted early, or an idle CPU that is woken; false if too many. */
static __always_inline bool may_cut(struct pyland_cpu *c, u64 now)
{
	if ((s64)(now - c->cuts_since_ns) > (s64)CUTS_WINDOW_NS) {
		c->cuts_since_ns = now;
		c->cuts = 0;
	}
	return c->cuts++ < CUTS_MAX;
}

/* Preempts the task on this CPU for the policy: at once, or after its shortest slice. */
APART int preempt_for_policy(s32 cpu, u64 now)
{
	struct pyland_cpu *c = cpu_state(cpu), *mine = this_cpu_state();
	s64 ran_ns;

	if (!c || !mine)
		return 0;
	/* On an idle CPU, or with user space on it, no task has run for any time. */
	ran_ns = c->running_since_ns ? now - c->running_since_ns : 0;
	if (ran_ns >= (s64)config.shortest_ns || may_cut(c, now)) {
		kick_for(cpu, c, c->running_vtime_ns);
		return 0;
	}
	mine->put_off++;
	if (c->running_since_ns)
		preempt_soon(cpu, c, now, config.shortest_ns - ran_ns, c->running_vtime_ns);
	else
		scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
	return 0;
}

/* The policy wants an idle CPU to look for a task. */
APART int wake_for_policy(s32 cpu, u64 now)
{
	struct pyland_cpu *c = cpu_state(cpu), *mine = this_cpu_state();

	if (!c || !mine || !c->idle)
		return 0;
	if (!work_is_queued(cpu, c->llc) && !may_cut(c, now)) {
		mine->put_off++;
		return 0;
	}
	scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
	return 0;
}

#endif
