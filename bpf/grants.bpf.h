/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a decision grants a task, and how long the decision lasts.
 */
#ifndef PYLAND_GRANTS_BPF_H
#define PYLAND_GRANTS_BPF_H

#include "slices.bpf.h"

/* Notes a decision with this slice; with a slice of 0 the decision ends when the task stops. */
static __always_inline void note_grant(const struct task_struct *p, struct task_ctx *t,
				       u64 slice_ns)
{
	u64 at_100_ns = slice_at_weight_100(slice_ns, weight_of(p, t)), usual_ns;

	t->granted_ns = t->left_ns = slice_ns;
	t->slices_left = granted_slices(at_100_ns, user.lasts_slices, config.longest_ns) - 1;
	t->lasts_until_ns = t->decided_ns + user.lasts_ns;
	t->lasts_asleep = t->woke_up;
	usual_ns = usual_slice_ns(shared.usual_ns, at_100_ns);
	if (usual_ns != shared.usual_ns)
		shared.usual_ns = usual_ns;
}

/*
 * Begins the next slice of the task's decision, if one is used up and the decision grants another.
 * Of a decision for a task that computes, slices are for turns in which it goes on to compute; of
 * one for a wakeup, for further wakeups: its key is that of a task that has just woken up. (Two
 * slices for each decision, 16 tasks that compute on 8 CPUs: they do 0.983 of the work that they do
 * under the default scheduler, with one slice 0.976.)
 */
static __always_inline bool begin_next_slice(const struct task_struct *p, struct task_ctx *t,
					     u64 now)
{
	u64 most_ns;

	if (!t->slices_left || t->left_ns >= SLICE_FLOOR_NS || t->generation != user.generation ||
	    shared.handed_over != user.generation || t->woke_up != t->lasts_asleep ||
	    (user.wanted & (PYLAND_WANT_HOLD | PYLAND_WANT_ARRIVAL)) ||
	    (s64)(t->lasts_until_ns - now) <= 0)
		return false;
	t->slices_left--;
	/* With many more tasks than at the decision, slices are shorter. */
	most_ns = clamp_slice(slice_of_weight(2 * shared.usual_ns, weight_of(p, t)));
	t->left_ns = t->granted_ns < most_ns ? t->granted_ns : most_ns;
	return true;
}

/* What a task's decision grants ends: the policy is asked about the task when it is queued next. */
static __always_inline void end_grant(struct task_ctx *t)
{
	t->left_ns = 0;
	t->slices_left = 0;
}

/*
 * True if the task's decision still lasts. A decision of an earlier policy does not. A task that a
 * higher class preempted continues even if decisions of the policy do not last: its turn is not
 * over.
 */
static __always_inline bool still_lasts(const struct task_struct *p, const struct task_ctx *t,
					u64 now)
{
	return (user.lasts_ns || t->preempted) && t->generation == user.generation &&
	       shared.handed_over == user.generation &&
	       slice_continues(t->left_ns, weight_of(p, t), t->woke_up, t->lasts_asleep,
			     t->lasts_until_ns, now, shared.usual_ns);
}

#endif
