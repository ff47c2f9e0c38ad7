/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The groups that the kernel's CPU controller has: cgroups, and the autogroups of sessions. A group
 * has a number here, and its weight, its parent and its quota are read from the kernel's own
 * struct task_group. sched_ext's callbacks for cgroups would not do: an autogroup has none, and a
 * kernel without CONFIG_EXT_GROUP_SCHED has none at all, though its tasks have groups.
 *
 * A group gets its number when one of its tasks is queued for the first time, and loses it when
 * none of its tasks has been runnable for a while. Group 0 is the root.
 */
#ifndef PYLAND_GROUPS_BPF_H
#define PYLAND_GROUPS_BPF_H

#include "records.bpf.h"

#define GROUP_DEPTH_MAX	16

/* In place of an address: the number is taken, and the rest is not filled in yet. */
#define GROUP_BEGUN	1

/* Between two passes over the groups. */
#define PASS_NS		(12 * NSEC_PER_MSEC)
/* ... while no task waits for a CPU: then shares have no effect. */
#define SLOW_PASS_NS	(1000 * NSEC_PER_MSEC)

struct group {
	/* Read at each enqueue. */
	u64 tg;			/* the address of its struct task_group; 0: the number is free */
	u64 share;		/* effective weight of its tasks, 2^16 is weight 1; 0: their own */
	u64 load;		/* runnable in it: own tasks and children, 2^16 is weight 1 */
	u32 parent;
	u32 limited_by;		/* the nearest group with a quota, itself or above it; 0: none */
	u64 pad[4];
	/* Only the pass over all groups (group_pass.bpf.h) reads and writes these. */
	u64 parent_tg;
	u64 weight;		/* among its siblings, 2^16 is weight 1 */
	u64 own;		/* average runnable weight of its own tasks, in the same unit */
	u64 children;		/* weight of its children, each as far as it is active */
	u64 numerator;		/* share before all shares are scaled */
	u64 seen_ns;		/* when it last had a runnable task or a child */
	u32 depth;
	u32 active;		/* average time with a runnable task in it or below, of 1024 */
	u32 is_active;		/* a task in it or below it is runnable */
	u32 known;		/* it has been through a pass: averages have a past */
	/* Written by each CPU that runs tasks of a group with a quota. */
	s64 left_ns __attribute__((aligned(64)));	/* of the quota in this period */
	u64 quota_ns;		/* 0: none */
	u64 period_ns;
	u64 burst_ns;
	u64 period_end_ns;
	u64 limited_since_ns;	/* when it got a quota */
	u64 end_pad[3];
};

/* Memory of its own pages, so that lines that one CPU writes are not read by others. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PYLAND_NR_GROUPS);
	__type(key, u32);
	__type(value, struct group);
} groups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PYLAND_NR_GROUPS);
	__type(key, u64);
	__type(value, u32);
} group_numbers SEC(".maps");

/*
 * The runnable weight of each group's own tasks. Each CPU counts in a part of its own; only the sum
 * over all CPUs has a meaning. The loader sets the size.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PYLAND_NR_GROUPS);
	__type(key, u32);
	__type(value, s64);
} group_counts SEC(".maps");

/* Read at each enqueue, and seldom written. */
struct group_state {
	u32 used;		/* every number in use is below this; 0: no group but the root */
	u32 limited;		/* some group has a quota */
	u32 armed;		/* the timer of the pass is set */
	u32 slow;		/* ... and waits long, because no task waits for a CPU */
	u32 waited;		/* a task waited for a CPU since the last pass */
	u32 looks_left;		/* of a look through throttled tasks */
	u32 some;		/* some group besides the root has a number */
	u32 dominant;		/* the group with nearly all that is runnable, + 1 */
	u64 passed_ns;		/* when the last pass was */
};

struct group_state group_state SEC(".data.groups") = {};

struct group_timer {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct group_timer);
} group_timers SEC(".maps");

static __noinline void pass_within(u64 ns)
{
	u32 key = 0;
	struct group_timer *g = bpf_map_lookup_elem(&group_timers, &key);

	group_state.armed = 1;
	group_state.slow = ns > PASS_NS;
	if (g)
		bpf_timer_start(&g->timer, ns, 0);
}

static __always_inline struct group *group_of(u32 number)
{
	return bpf_map_lookup_elem(&groups, &number);
}

static __always_inline s64 *group_count(s32 cpu, u32 number)
{
	u32 key = cpu * PYLAND_NR_GROUPS + number;

	return bpf_map_lookup_elem(&group_counts, &key);
}

static __always_inline u64 parent_of(u64 tg)
{
	struct task_group *kernel_group = (void *)tg;

	return (u64)BPF_CORE_READ(kernel_group, parent);
}

static long claim_free(u64 i, void *context)
{
	u32 *claimed = context, number = i + 1;
	struct group *g = group_of(number);

	if (!g)
		return 1;
	if (g->tg || __sync_val_compare_and_swap(&g->tg, 0, GROUP_BEGUN))
		return 0;
	*claimed = number;
	return 1;
}

/* A new number for a group; 0 if there is none left. */
static __noinline u32 number_group(u64 tg)
{
	u32 number = 0, *known;
	struct group *g;

	bpf_loop(PYLAND_NR_GROUPS - 1, claim_free, &number, 0);
	g = group_of(number);
	if (!number || !g)
		return 0;
	g->parent = 0;
	g->parent_tg = parent_of(tg);
	g->share = 0;
	g->load = 0;
	g->own = 0;
	g->depth = 0;
	g->known = 0;
	g->active = 0;
	g->limited_by = 0;
	g->quota_ns = 0;
	g->seen_ns = now_ns();
	if (bpf_map_update_elem(&group_numbers, &tg, &number, BPF_NOEXIST)) {
		/* Another CPU has given it a number meanwhile. */
		g->tg = 0;
		known = bpf_map_lookup_elem(&group_numbers, &tg);
		return known ? *known : 0;
	}
	g->tg = tg;
	if (group_state.used <= number)
		group_state.used = number + 1;
	return number;
}

struct climb {
	u64 tg;
	u32 number;	/* of the group that the climb began with */
	u32 below;
};

/* Gives a number to a group and, in the next steps, to those above it. */
static long climb(u64 i, void *context)
{
	struct climb *c = context;
	u64 tg = c->tg, parent_tg = parent_of(tg);
	u32 number = 0, *known = NULL;
	struct group *below;

	if (parent_tg) {
		known = bpf_map_lookup_elem(&group_numbers, &tg);
		number = known ? *known : number_group(tg);
	}
	if (!i) {
		c->number = number;
	} else {
		below = group_of(c->below);
		if (below)
			below->parent = number;
	}
	c->below = number;
	c->tg = parent_tg;
	return !number || known;
}

/* The number of a group. The root, which has no parent, is 0. */
APART u32 find_group(u64 tg)
{
	struct climb c = { .tg = tg };

	bpf_loop(GROUP_DEPTH_MAX, climb, &c, 0);
	return c.number;
}

/* The group's number is free again; tasks that still have it look their group up. */
static __noinline void forget_group(struct group *g)
{
	u64 tg = g->tg;

	bpf_map_delete_elem(&group_numbers, &tg);
	g->limited_by = 0;
	g->quota_ns = 0;
	g->share = 0;
	g->tg = 0;
}

/* Counts a runnable task's weight in its group; with a weight of 0 it is not runnable. */
static __always_inline void count_in_group(struct task_ctx *t, u32 weight)
{
	s64 *count;

	if (t->group_counted == weight)
		return;
	count = group_count(bpf_get_smp_processor_id(), t->group);
	if (!count)
		return;
	*count += (s64)weight - t->group_counted;
	t->group_counted = weight;
}

static __noinline void change_group(struct task_ctx *t, u64 tg)
{
	count_in_group(t, 0);
	t->tg = tg;
	/*
	 * Through memory: from there the verifier takes it for a number, not for a kernel pointer.
	 */
	t->group = find_group(READ_ONCE(t->tg));
	if (!t->group)
		return;
	group_state.some = 1;
	if (!group_state.armed || group_state.slow)
		pass_within(PASS_NS);
}

/* True if the task has got into another group since it was last looked at. */
static __always_inline bool has_moved(const struct task_struct *p, const struct task_ctx *t)
{
	return bpf_core_field_exists(p->sched_task_group) && t->tg != (u64)p->sched_task_group;
}

/* Called when a task was queued and waits: shares and quotas begin to have an effect. */
static __always_inline void note_group_waits(void)
{
	if (!group_state.some)
		return;
	if (!group_state.waited)
		group_state.waited = 1;
	if (!group_state.armed || group_state.slow)
		pass_within(PASS_NS);
}

/* Notes the group of a runnable task: it may have moved, or its session may be new. */
static __always_inline void note_group(const struct task_struct *p, struct task_ctx *t, u32 weight)
{
	struct group *g;
	u64 tg;

	if (!bpf_core_field_exists(p->sched_task_group))
		return;
	tg = (u64)p->sched_task_group;
	if (t->tg != tg) {
		if (t->tg)
			tell(PYLAND_WANT_CHANGED, PYLAND_EVENT_CHANGED, p, 0);
		change_group(t, tg);
	} else if (t->group) {
		g = group_of(t->group);
		if (g && g->tg != tg)
			change_group(t, tg);
	}
	if (!group_state.used)
		return;
	count_in_group(t, weight);
}

#endif
