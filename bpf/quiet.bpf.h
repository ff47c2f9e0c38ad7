/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The quiet state: no task waits for a CPU. The heartbeat comes once a second, and a CPU with
 * nohz_full= has no ticks while a single task runs there. The first task that waits ends the
 * quiet state.
 */
#ifndef PYLAND_QUIET_BPF_H
#define PYLAND_QUIET_BPF_H

#include "bandwidth.bpf.h"
#include "slice_timers.bpf.h"

static __always_inline bool some_task_waits(void)
{
	return some_task_is_held() || some_queued(0, config.nr_cpu_ids) ||
	       some_queued(DOMAIN_DSQ, domains_ever()) || scx_bpf_dsq_nr_queued(OUTSIDE_DSQ) > 0;
}

/* How long until the next heartbeat. */
static __always_inline u64 until_next_beat_ns(void)
{
	u64 next_ns = config.heartbeat_ns;

	/* Set the flag before the check: a CPU queues its task before it reads the flag. */
	shared.quiet = 1;
	if (some_task_waits())
		shared.quiet = 0;
	if (!shared.quiet)
		return next_ns;
	/* The policy also gets the interval that it asks for, within limits. */
	if (user.interval_ns > next_ns)
		next_ns = user.interval_ns;
	return user.interval_ns && next_ns < QUIET_BEAT_NS ? next_ns : QUIET_BEAT_NS;
}

/* On a CPU without ticks, a timer ends the slice as soon as a task waits. */
static long time_tickless(u64 cpu, void *context)
{
	struct pyland_cpu *c = cpu_state(cpu);

	if (c && c->nohz_full)
		time_slice(cpu, c, *(u64 *)context);
	return !c;
}

static __noinline void wake_heart(u64 now)
{
	shared.quiet = 0;
	beat_within(config.heartbeat_ns);
	if (config.some_nohz_full)
		bpf_loop(config.nr_cpu_ids, time_tickless, &now, 0);
}

/* Called when a task was queued: ends the quiet state. */
static __always_inline void end_quiet(u64 now)
{
	if (shared.quiet)
		wake_heart(now);
}

/*
 * Called when a task begins to run. The kernel stops the ticks of a nohz_full CPU if the slice is
 * infinite. It checks that when it puts a task on the CPU, not when the same task continues.
 */
static __always_inline void let_tick_stop(struct task_struct *p, s32 cpu, struct pyland_cpu *c)
{
	if (c->nohz_full && shared.quiet && !work_is_queued(cpu, c->llc) && !needs_ticks(p))
		task_set_slice(p, SLICE_INFINITE);
}

/* True if the task that ran here has to be put on the CPU again, so that its ticks stop. */
static __always_inline bool may_stop_tick(const struct pyland_cpu *c, struct task_struct *p)
{
	return c->nohz_full && shared.quiet && !needs_ticks(p);
}

#endif
