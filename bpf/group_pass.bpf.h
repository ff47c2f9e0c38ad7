/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A timer goes over all groups: reads their weights and quotas, looks how much of each is runnable,
 * computes shares, begins periods, and lets tasks go on that waited for a quota.
 *
 * It looks every few milliseconds and takes averages, where the alternative is to follow each
 * wakeup up the hierarchy: that would be a line of memory that all CPUs write, and the share of a
 * group with tasks that sleep often would change all the time. A changed weight or quota counts
 * after a pass, a task that has moved after a few.
 */
#ifndef PYLAND_GROUP_PASS_BPF_H
#define PYLAND_GROUP_PASS_BPF_H

#include <linux/bpf.h>
#include "accounting.bpf.h"
#include "asking_again.bpf.h"
#include "bandwidth.bpf.h"
#include "cgroup_weights.bpf.h"
#include <bpf/bpf_tracing.h>

/* A group without runnable tasks for so long loses its number. */
#define FORGET_NS	(2000 * NSEC_PER_MSEC)

/* Shares are not computed from less weight than this: the machine is idle. */
#define LEAST_LOAD	(4ULL << 16)
#define FULL_LOAD	((u64)WEIGHT_MAX << 16)

/* How many throttled tasks one pass looks at. */
#define RELEASE_MAX	4096

struct group_pass {
	u64 now;
	u64 total;		/* runnable weight of all tasks */
	u64 scale;		/* 2^16 is 1 */
	u64 next_ns;
	s64 sum;		/* of one group's counts */
	u32 group;
	u32 depth;
	u32 deepest;
	u32 fresh;		/* the last pass was long ago: averages begin anew */
	u32 in_use;
	u32 limited;
	u32 limit_counts;	/* a group with a quota has a runnable task */
	u32 some_active;
	u32 waited;		/* what group_state had of the time before */
};

/* In memory: the verifier would follow each value of a variable. There is one pass at a time. */
struct group_pass pass SEC(".data.pass") = {};

static long add_count(u64 cpu, void *context)
{
	s64 *count = group_count(cpu, pass.group);

	if (count)
		pass.sum += *count;
	return !count;
}

/* The average of two, or the new value where the old one is of long ago. */
static __always_inline u64 halfway(const struct group *g, u64 old,
				   u64 new)
{
	return pass.fresh || !g->known ? new : (old + new) / 2;
}

/* The weight of a group among its siblings; the kernel's own unit is 2^20 for weight 100. */
static __always_inline u64 weight_of_group(struct task_group *k)
{
	u64 shares = 1 << 20;

	if (bpf_core_field_exists(k->shares))
		shares = BPF_CORE_READ(k, shares);
	if (shares > 1ULL << 28)
		shares = 1 << 28;
	return shares ? shares * 100 / 16 : 1;
}

/* How many groups are above this one. */
APART u32 depth_of(u32 number)
{
	struct group *g;
	u32 depth;

	for (depth = 0; depth < GROUP_DEPTH_MAX && number; depth++) {
		g = group_of(number);
		if (!g)
			break;
		number = g->parent;
	}
	return depth;
}

/* Reads what one group has at the moment. */
static long look_at_group(u64 number, void *context)
{
	struct group *g = group_of(number), *parent;

	if (!g)
		return 1;
	if (number && g->tg <= GROUP_BEGUN)
		return 0;
	pass.group = number;
	pass.sum = 0;
	bpf_loop(config.nr_cpu_ids, add_count, NULL, 0);
	if (pass.sum < 0)
		pass.sum = 0;
	if (pass.sum)
		g->seen_ns = pass.now;
	if (number) {
		parent = group_of(g->parent);
		/* The address may have become that of another group. */
		if (!parent || parent_of(g->tg) != g->parent_tg ||
		    (g->parent && parent->tg != g->parent_tg) ||
		    (s64)(pass.now - g->seen_ns) > (s64)FORGET_NS) {
			forget_group(g);
			return 0;
		}
		/* A group is kept for those below it. */
		parent->seen_ns = pass.now;
		g->weight = weight_of_group((void *)g->tg);
		replenish(g, pass.now);
		if (g->quota_ns)
			pass.limited = 1;
		pass.in_use++;
	}
	g->depth = depth_of(number);
	if (g->depth > pass.deepest)
		pass.deepest = g->depth;
	g->own = halfway(g, g->own, (u64)pass.sum << 16);
	g->is_active = pass.sum > 0;
	g->children = 0;
	pass.total += g->own;
	return 0;
}

/* Adds a group's weight to its parent's, as far as it is active. */
static long add_to_parent(u64 number, void *context)
{
	struct group *g = group_of(number), *parent;

	if (!g)
		return 1;
	if (!number || g->tg <= GROUP_BEGUN || g->depth != pass.depth)
		return 0;
	parent = group_of(g->parent);
	if (!parent)
		return 1;
	g->active = halfway(g, g->active, g->is_active ? 1024 : 0);
	if (g->is_active)
		parent->is_active = 1;
	parent->children += g->weight * g->active / 1024;
	return 0;
}

static long add_level(u64 i, void *context)
{

	pass.depth = pass.deepest - i;
	bpf_loop(group_state.used, add_to_parent, NULL, 0);
	return 0;
}

/*
 * The share of a group, of its parent's: as if the group were active all the time, because the
 * share matters only while a task of it is runnable.
 */
static long share_parents(u64 number, void *context)
{
	struct group *g = group_of(number), *parent;
	u64 all;

	if (!g)
		return 1;
	if (!number || g->tg <= GROUP_BEGUN || g->depth != pass.depth)
		return 0;
	parent = group_of(g->parent);
	if (!parent)
		return 1;
	g->load = g->own + g->children;
	if (g->parent) {
		all = parent->own + parent->children + g->weight * (1024 - g->active) / 1024;
		g->numerator = all ? parent->numerator * g->weight / all : g->weight;
	} else {
		g->numerator = g->weight;
	}
	g->limited_by = g->quota_ns ? number : parent->limited_by;
	g->known = 1;
	return 0;
}

static long share_level(u64 i, void *context)
{

	pass.depth = i + 1;
	bpf_loop(group_state.used, share_parents, NULL, 0);
	return 0;
}

static long publish(u64 number, void *context)
{
	struct group *g = group_of(number);

	if (!g)
		return 1;
	if (!number)
		g->share = FULL_LOAD * pass.scale >> 16;
	else if (g->tg > GROUP_BEGUN && g->known)
		g->share = g->numerator * pass.scale >> 16;
	if (g->known && !g->share)
		g->share = 1;
	if (number && g->is_active)
		pass.some_active = 1;
	if (!g->quota_ns || !g->is_active)
		return 0;
	pass.limit_counts = 1;
	if (g->period_end_ns - pass.now < pass.next_ns)
		pass.next_ns = g->period_end_ns - pass.now;
	return 0;
}

/* The factor for all shares: the average effective weight is that of the tasks' own. */
static __always_inline void find_scale(const struct group *root)
{
	u64 load = root->own + root->children;

	pass.scale = ((pass.total + LEAST_LOAD) << 12) / ((load + LEAST_LOAD) >> 4);
	if (pass.scale > WEIGHT_MAX << 16)
		pass.scale = WEIGHT_MAX << 16;
}

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
	if (some)
		run_scheduler_soon();
}

/* How long until the next pass; 0: none is needed. */
static __always_inline u64 until_next_pass_ns(void)
{
	if (pass.waited || pass.limit_counts || scx_bpf_dsq_nr_queued(THROTTLED_DSQ) > 0)
		return pass.next_ns < NSEC_PER_MSEC ? NSEC_PER_MSEC : pass.next_ns;
	if (!pass.in_use)
		return 0;
	/* A kernel that does not tell of a new quota is asked. */
	if (pass.some_active && !bpf_core_field_exists(((struct sched_ext_ops *)0)->cgroup_set_bandwidth))
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
	pass.now = now_ns();
	pass.fresh = pass.now - group_state.passed_ns > 4 * PASS_NS;
	group_state.passed_ns = pass.now;
	group_state.waited = 0;
	/* The timer is set in init, which may sleep. To the verifier this callback may sleep, too. */
	bpf_rcu_read_lock();
	bpf_loop(group_state.used, look_at_group, NULL, 0);
	bpf_loop(pass.deepest, add_level, NULL, 0);
	bpf_loop(pass.deepest, share_level, NULL, 0);
	find_scale(root);
	root->load = FULL_LOAD;
	root->known = 1;
	bpf_loop(group_state.used, publish, NULL, 0);
	if (group_state.limited != pass.limited)
		group_state.limited = pass.limited;
	release_throttled();
	bpf_rcu_read_unlock();
	if (shared.groups != pass.in_use)
		shared.groups = pass.in_use;
	/* Only the root is left: every task has its own weight. */
	if (!pass.in_use)
		root->share = 0;
	next_ns = until_next_pass_ns();
	group_state.armed = !!next_ns;
	group_state.slow = next_ns > PASS_NS;
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
