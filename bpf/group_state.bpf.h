/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The groups that pyland knows, what each CPU counts in them, and the timer of the pass over them.
 */
#ifndef PYLAND_GROUP_STATE_BPF_H
#define PYLAND_GROUP_STATE_BPF_H

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
	u64 load;		/* runnable weight of its tasks and children, 2^16 is weight 1 */
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
	u64 held_up;		/* in this period a task waited for a group above it */
	u64 end_pad[2];
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

#endif
