/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pairs of tasks that wake each other stay on their CPU.
 */
#ifndef PYLAND_PUT_NEXT_BPF_H
#define PYLAND_PUT_NEXT_BPF_H

#include "queues.bpf.h"

/*
 * Puts a task that wakes up in the next place on this CPU, where it ran last. This is done if its
 * waker is about to sleep, its decision lasts, and no other task waits here. False if the task has
 * to be queued.
 *
 * Pairs of tasks that wake each other stay together in this way, and a switch has two calls into
 * BPF less and no queue (8 pairs on 8 CPUs: 0.80 of the default scheduler's switches, else 0.70).
 * Some wakers say that they are about to sleep and do not: a waker is believed only if it has slept
 * soon each time.
 */
static __always_inline bool put_next(struct task_struct *p, struct task_ctx *t, s32 cpu,
				     struct pyland_cpu *c, u64 now)
{
	u64 here = kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL_ON) | cpu;

	c->woke_sync_ns = now;
	if (config.partial || c->nohz_full || shared.places || t->asked || !c->running_sync_ns ||
	    c->running_sync_ns > pause_ns() || !is_free_soon(c, now) ||
	    !bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
		return false;
	/*
	 * User space goes first if it has work. To be due is not enough: it is due all the time in
	 * which it has nothing to decide (at a quarter of the switches).
	 */
	if (scheduler_is_due(now) && scheduler_has_work(false))
		return false;
	t->woke_up = 1;
	if (!still_lasts(p, t, now) || scx_bpf_dsq_nr_queued(here) > 0)
		return false;
	if ((s64)(now - c->empty_until_ns) >= 0) {
		if (((user.wanted & PYLAND_WANT_HOLD) && some_task_is_held()) ||
		    scx_bpf_dsq_nr_queued(cpu) > 0 || scx_bpf_dsq_nr_queued(queue_at(cpu)) > 0)
			return false;
		c->empty_until_ns = now + EMPTY_NS;
	}
	t->key_ns = clamp_vtime(next_key(p, t));
	t->key_runtime_ns = t->total_runtime_ns;
	t->decided_ns = now;
	t->queue = QUEUE_NEXT;
	dsq_insert(p, kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL), t->left_ns, 0);
	traced(traced_task(p, t, PYLAND_TRACED_NEXT), cpu, 0, t->key_ns, t->left_ns);
	c->continued++;
	return true;
}

#endif
