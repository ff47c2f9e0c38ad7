/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The shares of all groups, computed in one pass over them: what is runnable in each, the sums for
 * each parent from below, the shares from above, and the factor for all.
 */
#ifndef PYLAND_GROUP_SHARES_BPF_H
#define PYLAND_GROUP_SHARES_BPF_H

#include "bandwidth.bpf.h"

/* A group without runnable tasks for so long loses its number. */
#define FORGET_NS	(2000 * NSEC_PER_MSEC)

/* Shares are not computed from less weight than this: the machine is idle. */
#define LEAST_LOAD	(4ULL << 16)
#define NICE_0_LOAD	(100ULL << 16)
#define FULL_LOAD	((u64)WEIGHT_MAX << 16)

struct group_pass {
	u64 now;
	u64 total;		/* runnable weight of all tasks */
	u64 most;		/* the most runnable weight that the tasks of one group have */
	u64 scale;		/* a factor in 2^16ths */
	u32 most_in;		/* the group of `most` */
	u32 dominant;		/* + 1: its tasks keep their own weight; 0: no group's do */
	u64 next_ns;
	s64 sum;		/* of the counts of `group` on all CPUs */
	u32 group;
	u32 depth;
	u32 deepest;
	u32 fresh;		/* the last pass was long ago: averages begin anew */
	u32 in_use;
	u32 limited;
	u32 limit_counts;	/* a group with a quota has a runnable task */
	u32 some_active;
	u32 waited;		/* group_state.waited, as it was before the pass */
	u32 throttled;		/* tasks wait for the quota of their group */
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

/* The average of both values. It is the new value if the old one is unknown or from long ago. */
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
	/* A group that owes time is not forgotten: it would begin anew with its whole quota. */
	if (pass.sum || (g->quota_ns && g->left_ns <= 0))
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
	if (g->own > pass.most) {
		pass.most = g->own;
		pass.most_in = number;
	}
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
 * The part of its parent's share that a group gets. It is computed as if the group were active all
 * the time, because it matters only while a task of the group is runnable.
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
	if (pass.dominant == number + 1)
		g->share = 0;
	else if (!number)
		g->share = FULL_LOAD * pass.scale >> 16;
	else if (g->tg > GROUP_BEGUN && g->known)
		g->share = (g->numerator * pass.scale >> 16) | 1;
	if (number && g->is_active)
		pass.some_active = 1;
	/* Throttled tasks do not count as runnable, and wait for the period. */
	if (!g->quota_ns || (!g->is_active && !pass.throttled))
		return 0;
	pass.limit_counts = 1;
	if (g->period_end_ns - pass.now < pass.next_ns)
		pass.next_ns = g->period_end_ns - pass.now;
	return 0;
}

/*
 * The factor for all shares: the average effective weight is that of the tasks' own. If nearly all
 * that is runnable is in one group, its tasks have exactly their own weight, and the others are
 * weighed beside them: most programs run in one session, and a policy is quicker with equal
 * weights.
 */
static __always_inline void find_scale(const struct group *root)
{
	u64 load = root->own + root->children, scale;
	struct group *g;

	pass.scale = ((pass.total + LEAST_LOAD) << 12) / ((load + LEAST_LOAD) >> 4);
	g = group_of(pass.most_in);
	if (g && pass.most >= NICE_0_LOAD / 2 && pass.total - pass.most <=
	    pass.total / (group_state.dominant == pass.most_in + 1 ? 8 : 16)) {
		load = g->load > NICE_0_LOAD ? g->load : NICE_0_LOAD;
		scale = pass.most_in ? (load << 16) / (g->numerator | 1) : 1 << 16;
		if (scale < 2 * pass.scale) {
			pass.scale = scale;
			pass.dominant = pass.most_in + 1;
		}
	}
	group_state.dominant = pass.dominant;
	if (pass.scale > WEIGHT_MAX << 16)
		pass.scale = WEIGHT_MAX << 16;
}

/* Goes over all groups once. */
static __always_inline void share_among_groups(struct group *root)
{
	bpf_loop(group_state.used, look_at_group, NULL, 0);
	bpf_loop(pass.deepest, add_level, NULL, 0);
	bpf_loop(pass.deepest, share_level, NULL, 0);
	find_scale(root);
	root->load = FULL_LOAD;
	root->known = 1;
	bpf_loop(group_state.used, publish, NULL, 0);
}

#endif
