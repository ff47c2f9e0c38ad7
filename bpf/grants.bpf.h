/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a decision grants a task, and how long the decision lasts.
 */
#ifndef PYLAND_GRANTS_BPF_H
#define PYLAND_GRANTS_BPF_H

#include "state.bpf.h"

/* Notes a decision with this slice; with a slice of 0 the decision ends when the task stops. */
static __always_inline void note_grant(const struct task_struct *p, struct task_ctx *t,
				       u64 slice_ns)
{
	u64 usual_ns;

	t->left_ns = slice_ns;
	t->lasts_until_ns = t->decided_ns + user.lasts_ns;
	t->lasts_asleep = t->woke_up;
	usual_ns = usual_slice_ns(shared.usual_ns, slice_at_weight_100(slice_ns, weight_of(p, t)));
	if (usual_ns != shared.usual_ns)
		shared.usual_ns = usual_ns;
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
