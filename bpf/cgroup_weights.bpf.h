/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Weights of groups. The weight of a task that BPF and the policy use is its effective one: its
 * own, times the share of its group down from the root, over the weight that is runnable in the
 * group. So two groups of the same weight share the CPU equally, however many tasks each of them
 * has. The kernel's default class does the same level by level, and there a group's tasks and child
 * groups compete with each other. Here all levels are one: every task competes with every other at
 * its effective weight, as in scx_flatcg. The average of all effective weights is 100, so slices
 * are as long as without groups.
 */
#ifndef PYLAND_CGROUP_WEIGHTS_BPF_H
#define PYLAND_CGROUP_WEIGHTS_BPF_H

#include "groups.bpf.h"

/* Below this a whole number is too coarse for a weight. */
#define WEIGHT_COARSE	64

/* The effective weight of a task of this weight in its group, 256 is weight 1. */
static __always_inline u32 effective_weight(const struct task_ctx *t, u32 weight)
{
	struct group *g;

	if (!config.cgroup_weights || !group_state.used)
		return weight << 8;
	g = group_of(t->group);
	if (!g || !g->share)
		return weight << 8;
	return weight_in_group(g->share, g->load, weight);
}

/*
 * Notes the effective weight that the task has until its next enqueue. A small one is rounded up
 * or down by chance, so that on average its CPU time counts as it should. The weight for gauges,
 * which should not change at each enqueue, is returned.
 */
static __always_inline u32 note_weight(struct task_ctx *t, u32 weight)
{
	u32 effective = effective_weight(t, weight);

	t->weight = effective >> 8;
	if (effective < WEIGHT_COARSE << 8 && (effective & 255) &&
	    rounds_up(effective, bpf_get_prandom_u32()))
		t->weight++;
	return (effective + 128) >> 8;
}

#endif
