/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asks the policy about tasks that are already queued: tasks that BPF ordered while user space
 * could not be asked, and tasks that an earlier policy decided.
 *
 * BPF's keys and the policy's keys cannot be compared. Among tasks that the policy decides, a task
 * with a key of BPF might wait until a rescue. So the policy is asked about it as soon as possible.
 */
#ifndef PYLAND_ASKING_AGAIN_BPF_H
#define PYLAND_ASKING_AGAIN_BPF_H

#include "queues.bpf.h"
#include "records.bpf.h"

/* The most tasks at a time, and the time between two times. */
#define ASK_AGAIN_MAX	32
#define ASK_AGAIN_NS	NSEC_PER_MSEC

/*
 * Asks the policy about a queued task; false if a CPU has already taken it. If a CPU takes the
 * task before the decision, that decision is late.
 */
static __always_inline bool put_to_policy(struct bpf_iter_scx_dsq *it, struct task_struct *p,
					  struct task_ctx *t, struct pyland_cpu *c, bool decided)
{
	if (decided && !hold_again(it, p, t))
		return false;
	t->seq++;
	t->enqueue_ns = now_ns();	/* the policy's time begins now */
	t->queue = QUEUE_HELD;
	if (forward(p, t, scx_bpf_task_cpu(p), 0)) {
		c->forwarded++;
		return true;
	}
	c->fallback_full++;
	return false;
}

/* Asks about tasks with the highest keys first: they would wait longest. */
APART int ask_again(s32 cpu)
{
	struct pyland_cpu *c = cpu_state(cpu);
	struct bpf_iter_scx_dsq it;
	struct task_struct *p = NULL;
	struct task_ctx *t;
	u64 now = now_ns();
	bool some = false;

	if (!c || (s64)(now - shared.asked_again_ns) < (s64)ASK_AGAIN_NS)
		return 0;
	shared.asked_again_ns = now;
	if (bpf_ringbuf_query(&queued, BPF_RB_AVAIL_DATA) >
	    bpf_ringbuf_query(&queued, BPF_RB_RING_SIZE) / 2)
		return 0;
	/* A task that is queued after this look sets the flag itself. */
	if (shared.left_out)
		shared.left_out--;
	if (!bpf_iter_scx_dsq_new(&it, SHARED_DSQ,
				  kernel_enum(scx_dsq_iter_flags, SCX_DSQ_ITER_REV))) {
		/* The count is in memory: the verifier would follow each value of a variable. */
		shared.looks_left = ASK_AGAIN_MAX;
		while ((p = bpf_iter_scx_dsq_next(&it))) {
			if (!shared.looks_left)
				break;
			shared.looks_left--;
			t = task_state(p);
			if (t && t->queue == QUEUE_LEFT_OUT && !t->kernel_helper &&
			    put_to_policy(&it, p, t, c, true))
				some = true;
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	if (!some)
		return 0;
	run_scheduler_soon();
	if (p)
		shared.left_out = LEFT_OUT_LOOKS;
	return 0;
}

#endif
