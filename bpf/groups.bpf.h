/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * To which group a runnable task belongs, and its weight there.
 */
#ifndef PYLAND_GROUPS_BPF_H
#define PYLAND_GROUPS_BPF_H

#include "group_numbers.bpf.h"

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
