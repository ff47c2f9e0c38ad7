/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asks the policy about a task. There is one question about a task at a time: while it has no
 * answer, the task goes on by its interim order. An answer holds wherever the task is then.
 */
#ifndef PYLAND_ASKING_BPF_H
#define PYLAND_ASKING_BPF_H

#include "records.bpf.h"
#include "trust.bpf.h"
#include "userspace.bpf.h"

/* A policy that has not answered for so long is asked again. */
#define ASK_AGAIN_NS	(100 * NSEC_PER_MSEC)

/* Asks the policy about a task; false if it cannot be asked. */
static __noinline bool ask(struct task_struct *p, struct task_ctx *t, s32 cpu, u64 now,
			   u64 enq_flags)
{
	struct pyland_cpu *c = this_cpu_state();

	if (!c)
		return false;
	if (t->asked && !(user.wanted & PYLAND_WANT_HOLD)) {
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
	t->seq++;
	t->asked = 1;
	t->asked_ns = now;
	t->asked_runtime_ns = t->total_runtime_ns;
	t->enqueue_ns = now;
	if (!forward(p, t, cpu, enq_flags)) {
		t->asked = 0;
		c->fallback_full++;
		return false;
	}
	c->forwarded++;
	if (t->woke_up || (s64)(t->key_ns - vtime_now()) <= 0)
		run_scheduler_soon();
	return true;
}

#endif
