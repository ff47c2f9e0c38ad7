/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Quotas of groups (cpu.max). The CPU time of a task counts for its group and all groups above it.
 * While one of them has none left, the task waits in a queue of its own until the group's next
 * period; the pass over the groups lets it go on. A running task stops at the next tick. What a
 * group has used too much is missing in its next period, so its average is right.
 *
 * Tasks of the kernel do not wait for a quota. A task that is about to exit does not wait either:
 * other tasks want its memory and its locks.
 */
#ifndef PYLAND_BANDWIDTH_BPF_H
#define PYLAND_BANDWIDTH_BPF_H

#include "grants.bpf.h"
#include "groups.bpf.h"

/* A task waits at most this long, whatever its group owes: the kernel's watchdog waits 10 s. */
#define THROTTLED_MAX_NS	(2000 * NSEC_PER_MSEC)

/* The next group with a quota above this one. */
static __always_inline u32 next_limited(const struct group *g)
{
	struct group *parent = g->parent ? group_of(g->parent) : NULL;

	return parent ? parent->limited_by : 0;
}

/* Charges CPU time to a group with a quota and to those above it. */
APART int charge_group(u32 number, u64 ns)
{
	struct group *g;
	int i;

	for (i = 0; i < GROUP_DEPTH_MAX && number; i++) {
		g = group_of(number);
		if (!g)
			break;
		__sync_fetch_and_add(&g->left_ns, -(s64)ns);
		number = next_limited(g);
	}
	return 0;
}

/* True if this group with a quota, or one above it, has used its quota. */
APART int has_used_quota(u32 number)
{
	struct group *g;
	int i;

	for (i = 0; i < GROUP_DEPTH_MAX && number; i++) {
		g = group_of(number);
		if (!g)
			break;
		if (g->left_ns <= 0)
			return true;
		number = next_limited(g);
	}
	return false;
}

/* The nearest group of the task that has a quota; 0 if there is none. */
static __always_inline u32 limit_of(const struct task_ctx *t)
{
	struct group *g;

	if (!group_state.limited || !t || !t->group)
		return 0;
	g = group_of(t->group);
	return g ? g->limited_by : 0;
}

/* Charges what the task has run since it was last charged. */
static __always_inline void charge_task(struct task_ctx *t, u64 now)
{
	u32 limit = limit_of(t);
	struct group *g = limit ? group_of(limit) : NULL;
	u64 since_ns = t->start_ns;

	if (!g)
		return;
	if ((s64)(t->charged_ns - since_ns) > 0)
		since_ns = t->charged_ns;
	/* A task may have run for long before its group had a quota. */
	if ((s64)(g->limited_since_ns - since_ns) > 0)
		since_ns = g->limited_since_ns;
	t->charged_ns = now;
	if ((s64)(now - since_ns) > 0)
		charge_group(limit, now - since_ns);
}

static __always_inline bool is_exiting(const struct task_struct *p)
{
	return (p->flags & PF_EXITING) || (p->signal->flags & SIGNAL_GROUP_EXIT);
}

/* True if the task has to wait, because a group of it has used its quota. */
static __always_inline bool is_out_of_quota(const struct task_struct *p, const struct task_ctx *t)
{
	u32 limit = limit_of(t);

	return limit && !(p->flags & PF_KTHREAD) && has_used_quota(limit) && !is_exiting(p);
}

/* True if a task that woke up has to wait for its group's quota, and not run on an idle CPU. */
static __always_inline bool waits_for_quota(struct task_struct *p)
{
	return group_state.limited && is_out_of_quota(p, task_state(p));
}

/* Notes, for this group and those above it that have quota left, that another one has none. */
APART int note_held_up(u32 number)
{
	struct group *g;
	int i;

	for (i = 0; i < GROUP_DEPTH_MAX && number; i++) {
		g = group_of(number);
		if (!g)
			break;
		if (g->left_ns > 0)
			g->held_up = 1;
		number = next_limited(g);
	}
	return 0;
}

/*
 * Lets a task wait if a group of it has used its quota. A task that may not leave its CPU for the
 * moment does not wait: it holds what others need.
 */
static __always_inline bool throttle(struct task_struct *p, struct task_ctx *t, u64 now,
				     u64 enq_flags)
{
	struct pyland_cpu *c;

	if (!group_state.limited || !is_out_of_quota(p, t) || is_migration_disabled(p))
		return false;
	c = this_cpu_state();
	if (c)
		c->throttled++;
	note_held_up(limit_of(t));
	t->asked = 0;	/* a decision for it comes too late */
	/* If the task's affinity changes, the kernel queues it again: its wait began earlier. */
	if (t->queue != QUEUE_THROTTLED)
		t->enqueue_ns = now;
	t->queue = QUEUE_THROTTLED;
	end_grant(t);
	dsq_insert(p, THROTTLED_DSQ, SLICE_FLOOR_NS, enq_flags);
	if (!group_state.armed || group_state.slow)
		pass_within(PASS_NS);
	return true;
}

/* At a tick: charges the running task, and stops it when its group has used its quota. */
static __always_inline bool stop_at_quota(struct task_struct *p, u64 now)
{
	struct task_ctx *t;

	if (!group_state.limited)
		return false;
	t = task_state(p);
	if (!t)
		return false;
	charge_task(t, now);
	if (!is_out_of_quota(p, t) || is_migration_disabled(p))
		return false;
	task_set_slice(p, 0);
	return true;
}

/* A task that gets a CPU leaves it at once if its group used the quota while the task waited. */
static __always_inline void stop_without_quota(struct task_struct *p, const struct task_ctx *t)
{
	if (group_state.limited && is_out_of_quota(p, t) && !is_migration_disabled(p))
		scx_bpf_kick_cpu(scx_bpf_task_cpu(p), kernel_enum(scx_kick_flags, SCX_KICK_PREEMPT));
}

/* True if the ticks of a CPU have to go on for this task, because its group has a quota. */
static __always_inline bool needs_ticks(struct task_struct *p)
{
	return group_state.limited && limit_of(task_state(p));
}

/* A quota that the kernel has, in nanoseconds; 0 for none. */
static __always_inline void read_quota(struct task_group *k, u64 *quota_ns, u64 *period_ns,
				       u64 *burst_ns)
{
	*quota_ns = *period_ns = *burst_ns = 0;
	if (bpf_core_field_exists(k->scx.bw_quota_us)) {
		*quota_ns = BPF_CORE_READ(k, scx.bw_quota_us);
		*period_ns = BPF_CORE_READ(k, scx.bw_period_us) * NSEC_PER_USEC;
		*burst_ns = BPF_CORE_READ(k, scx.bw_burst_us) * NSEC_PER_USEC;
		if (*quota_ns != ~0ULL)
			*quota_ns *= NSEC_PER_USEC;
	} else if (bpf_core_field_exists(k->cfs_bandwidth.quota)) {
		*quota_ns = BPF_CORE_READ(k, cfs_bandwidth.quota);
		*period_ns = BPF_CORE_READ(k, cfs_bandwidth.period);
		if (bpf_core_field_exists(k->cfs_bandwidth.burst))
			*burst_ns = BPF_CORE_READ(k, cfs_bandwidth.burst);
	}
	/* A quota of a year or more is no quota. */
	if (*quota_ns >> 55 || *period_ns < NSEC_PER_MSEC / 2)
		*quota_ns = 0;
}

/* Begins a new period of a group with a quota when its time has come. */
static __always_inline void replenish(struct group *g, u64 now)
{
	struct task_group *k = (void *)g->tg;
	u64 quota_ns, period_ns, burst_ns, periods;
	s64 gained_ns, most_ns;

	read_quota(k, &quota_ns, &period_ns, &burst_ns);
	if (quota_ns != g->quota_ns || period_ns != g->period_ns) {
		if (!g->quota_ns)
			g->limited_since_ns = now;
		g->quota_ns = quota_ns;
		g->period_ns = period_ns;
		g->left_ns = quota_ns;
		g->period_end_ns = now + period_ns;
	}
	g->burst_ns = burst_ns;
	if (!quota_ns || !period_ns || (s64)(now - g->period_end_ns) < 0)
		return;
	periods = (now - g->period_end_ns) / period_ns + 1;
	g->period_end_ns += periods * period_ns;
	/*
	 * A group may have gone many periods without a running task. Each gives it a quota, to pay
	 * what it owes first, until it has a quota and its burst left: the rest is lost. A group
	 * that had to wait for the quota of a group above it keeps one quota more (10 % below 50 %,
	 * with periods that begin apart: 0.084 of a CPU without).
	 */
	if (periods > 1000)
		periods = 1000;
	most_ns = quota_ns + burst_ns - g->left_ns;
	if (g->held_up)
		most_ns += quota_ns;
	g->held_up = 0;
	gained_ns = periods * quota_ns;
	__sync_fetch_and_add(&g->left_ns, gained_ns < most_ns ? gained_ns : most_ns);
}

#endif
