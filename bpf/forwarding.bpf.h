/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Forwards a task that user space has to decide: writes its record, holds it until then, and
 * interrupts a running task for user space if that is worthwhile.
 */
#ifndef PYLAND_FORWARDING_BPF_H
#define PYLAND_FORWARDING_BPF_H

#include "classes.bpf.h"
#include "preemption.bpf.h"
#include "queues.bpf.h"
#include "records.bpf.h"
#include "slices.bpf.h"
#include "userspace.bpf.h"

/*
 * Every CPU may be in the middle of a long slice, so user space would run only after it. For a
 * task that wakes up a running task is interrupted, but not too often, and only if that task
 * computes: other tasks soon sleep by themselves.
 */
static __always_inline void make_room_for_user_space(s32 cpu, struct pyland_cpu *task_cpu,
						     struct pyland_cpu *c, u64 now)
{
	s64 wait_ns;

	if (!shared.wakeup_waits)
		shared.wakeup_waits = 1;
	cpu = cpu_to_preempt(cpu, SHARED_DSQ, NULL, now);
	task_cpu = cpu_state(cpu);
	if (!task_cpu || !task_cpu->running_since_ns ||
	    (!task_cpu->running_computes &&
	     (s64)(now - task_cpu->running_since_ns) <= (s64)pause_ns()))
		return;
	shared.due_ns = DUE_AT_ONCE;
	if (!scheduler_waits())
		return;
	c->wakeup_kicks++;
	wait_ns = until_may_interrupt_ns(now);
	if (wait_ns <= 0)
		shared.last_kick_ns = now;
	preempt_soon(cpu, task_cpu, now, wait_ns > 0 ? wait_ns : 0);
}

/* Puts the task into the holding DSQ; in BPF's own order if user space cannot be asked. */
static __always_inline void ask_user_space(struct task_struct *p, struct task_ctx *t, s32 cpu,
					   struct pyland_cpu *task_cpu, struct pyland_cpu *c,
					   u64 now, u64 enq_flags)
{
	if (shared.lagging || (shared.distrusted && !is_tried(now))) {
		c->fallback_lag++;
		enqueue_undecided(p, t, enq_flags);
		return;
	}
	t->queue = QUEUE_HELD;
	t->holding_llc = task_cpu->llc;
	if (!forward(p, t, cpu, enq_flags)) {
		c->fallback_full++;
		enqueue_undecided(p, t, enq_flags);
		return;
	}
	c->forwarded++;
	if (t->woke_up || !t->vtime_known ||
	    (s64)(next_vtime(p, t, p->scx.dsq_vtime) - vtime_now()) <= 0)
		run_scheduler_soon();
	t->queued_runtime_ns = t->total_runtime_ns;
	dsq_insert(p, HOLDING_DSQ + t->holding_llc, weighted_slice(p, t, config.shortest_ns),
		   enq_flags);
	time_slice(cpu, task_cpu, now);
	if (t->woke_up)
		make_room_for_user_space(cpu, task_cpu, c, now);
}

#endif
