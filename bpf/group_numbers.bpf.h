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
#ifndef PYLAND_GROUP_NUMBERS_BPF_H
#define PYLAND_GROUP_NUMBERS_BPF_H

#include "group_state.bpf.h"

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
	u32 number;	/* that of the group with which the climb began */
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

#endif
