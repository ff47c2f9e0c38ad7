/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A timer goes over all groups: it reads their weights and quotas and what is runnable in each,
 * computes shares, begins periods, and lets tasks go on that waited for a quota.
 *
 * It looks every few milliseconds and takes averages. The alternative, to follow each wakeup up the
 * hierarchy, would have all CPUs write one line of memory, and would change the share of a group
 * all the time if its tasks sleep often. A changed weight or quota counts after one pass, and a
 * task that has moved after a few.
 */
#ifndef PYLAND_GROUP_PASS_BPF_H
#define PYLAND_GROUP_PASS_BPF_H

#include <linux/bpf.h>
#include "accounting.bpf.h"
#include "heartbeat.bpf.h"
#include "group_shares.bpf.h"
#include <bpf/bpf_tracing.h>

/* How many throttled tasks one pass looks at. */
#define RELEASE_MAX	4096

/* Lets tasks go on if their group has some quota again, or if they are to exit. */
static __noinline void release_throttled(void)
{
	struct pyland_cpu *c = this_cpu_state();
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	struct task_ctx *t;
	bool some = false;
	s32 cpu;

	if (!c || scx_bpf_dsq_nr_queued(THROTTLED_DSQ) <= 0)
		return;
	if (!bpf_iter_scx_dsq_new(&it, THROTTLED_DSQ, 0)) {
		group_state.looks_left = RELEASE_MAX;
		while ((p = bpf_iter_scx_dsq_next(&it))) {
			if (!group_state.looks_left)
				break;
			group_state.looks_left--;
			t = task_state(p);
			if (!t)
				continue;
			if (is_out_of_quota(p, t) &&
			    (s64)(pass.now - t->enqueue_ns) < (s64)THROTTLED_MAX_NS)
				continue;
			note_runnable(p, t, false, pass.now);
			if (!put_to_policy(&it, p, t, c, true) && t->queue != QUEUE_HELD)
				continue;
			some = true;
			cpu = pick_idle_cpu(p->cpus_ptr, scx_bpf_task_cpu(p));
			if (cpu >= 0)
				scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	if (!some)
		return;
	/* When the pass looked at their groups, these tasks did not count as runnable. */
	pass.limit_counts = 1;
	run_scheduler_soon();
}

/* How long until the next pass; 0: none is needed. */
static __always_inline u64 until_next_pass_ns(void)
{
	bool throttled = scx_bpf_dsq_nr_queued(THROTTLED_DSQ) > 0;

	if (!pass.in_use && !throttled)
		return 0;
	if (throttled || pass.limit_counts || pass.waited || some_task_waits())
		return pass.next_ns < NSEC_PER_MSEC ? NSEC_PER_MSEC : pass.next_ns;
	/* Some kernels do not tell of a new quota: only a look finds it. */
	if (pass.some_active &&
	    !bpf_core_field_exists(((struct sched_ext_ops *)0)->cgroup_set_bandwidth))
		return 4 * PASS_NS;
	return SLOW_PASS_NS;
}

static int pass_over_groups(void *map, u32 *key, struct group_timer *timer)
{
	struct group *root = group_of(0);
	u64 next_ns;

	if (!root)
		return 0;
	__builtin_memset(&pass, 0, sizeof(pass));
	pass.next_ns = PASS_NS;
	pass.waited = group_state.waited;
	pass.throttled = scx_bpf_dsq_nr_queued(THROTTLED_DSQ) > 0;
	pass.now = now_ns();
	pass.fresh = pass.now - group_state.passed_ns > 4 * PASS_NS;
	group_state.passed_ns = pass.now;
	group_state.waited = 0;
	group_state.some = 0;
	/*
	 * init, which sets the timer, may sleep, so the verifier believes that this callback may,
	 * too.
	 */
	bpf_rcu_read_lock();
	share_among_groups(root);
	if (group_state.limited != pass.limited)
		group_state.limited = pass.limited;
	release_throttled();
	bpf_rcu_read_unlock();
	if (shared.groups != pass.in_use)
		shared.groups = pass.in_use;
	/* Only the root is left: every task has its own weight. */
	if (!pass.in_use)
		root->share = 0;
	else
		group_state.some = 1;
	next_ns = until_next_pass_ns();
	/* A group may have got its number meanwhile. */
	if (!next_ns && group_state.some)
		next_ns = PASS_NS;
	group_state.armed = !!next_ns;
	group_state.slow = next_ns > PASS_NS;
	/* If a task is throttled after this check, it sets the timer itself. */
	if (group_state.slow && scx_bpf_dsq_nr_queued(THROTTLED_DSQ) > 0)
		next_ns = PASS_NS;
	if (next_ns)
		bpf_timer_start(&timer->timer, next_ns, 0);
	return 0;
}

static __always_inline void init_group_pass(void)
{
	u32 key = 0;
	struct group_timer *g = bpf_map_lookup_elem(&group_timers, &key);

	if (!g)
		return;
	bpf_timer_init(&g->timer, &group_timers, 1 /* CLOCK_MONOTONIC */);
	bpf_timer_set_callback(&g->timer, pass_over_groups);
}

SEC("struct_ops/pyland_cgroup_set_weight")
void BPF_PROG(pyland_cgroup_set_weight, struct cgroup *cgrp, u32 weight)
{
	pass_within(NSEC_PER_MSEC);
}

/* The kernel stores the new quota after this call; the pass reads it a millisecond later. */
SEC("struct_ops/pyland_cgroup_set_bandwidth")
void BPF_PROG(pyland_cgroup_set_bandwidth, struct cgroup *cgrp, u64 period_us, u64 quota_us,
	      u64 burst_us)
{
	pass_within(NSEC_PER_MSEC);
}

#endif
