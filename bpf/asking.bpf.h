/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asks the policy about a task. There is one question about a task at a time: while it has no
 * answer, the task goes on by its interim order. An answer holds wherever the task is then, but
 * when a task wakes up, an answer about the task as it computed comes too late: the policy is asked
 * anew.
 */
#ifndef PYLAND_ASKING_BPF_H
#define PYLAND_ASKING_BPF_H

#include "records.bpf.h"
#include "trust.bpf.h"
#include "userspace.bpf.h"

/* The next key of a task: its last key, plus the CPU time that it used after that. */
static __always_inline u64 next_key(const struct task_struct *p, const struct task_ctx *t)
{
	u64 used_ns = t->total_runtime_ns - t->key_runtime_ns;

	return vtime_after(t->key_ns, used_ns, weight_of(p, t), config.longest_ns);
}

/* A policy that has not answered for so long is asked again. */
#define ASK_AGAIN_NS	(100 * NSEC_PER_MSEC)

/* Asks the policy about a task; false if it cannot be asked. */
APART int ask(struct task_struct *p __arg_trusted, struct task_ctx *t __arg_nonnull, s32 cpu,
	      u64 now, u64 enq_flags)
{
	struct pyland_cpu *c = this_cpu_state();
	bool holds = user.wanted & PYLAND_WANT_HOLD;
	u64 key_ns;

	if (!c)
		return false;
	if (t->asked && !holds && !(t->woke_up && !t->asked_asleep)) {
		if ((s64)(now - t->asked_ns) > (s64)config.lag_ns &&
		    (s64)(now - shared.last_cycle_ns) > (s64)config.lag_ns)
			shared.lagging = 1;
		if ((s64)(now - t->asked_ns) < (s64)ASK_AGAIN_NS)
			return true;
		if (t->record_pos && t->record_pos <= shared.asked_pos)
			c->undecided++;
	}
	if (shared.lagging)
		return false;
	t->asked = ++t->seq;
	t->asked_ns = now;
	t->asked_asleep = t->woke_up;
	t->asked_runtime_ns = t->total_runtime_ns;
	t->enqueue_ns = now;
	if (!forward(p, t, cpu, enq_flags)) {
		t->asked = 0;
		c->fallback_full++;
		return false;
	}
	c->forwarded++;
	/* The task that is held has its last key still. */
	key_ns = holds ? next_key(p, t) : t->key_ns;
	if (t->woke_up || !t->vtime_known || (s64)(key_ns - vtime_of(t)) <= 0)
		run_scheduler_soon();
	return true;
}

#endif
