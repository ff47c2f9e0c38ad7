/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Decisions that still last: a task that comes back with some of its slice left continues with
 * that rest, at the key that it had, and user space is not asked again.
 *
 * The kernel's own EEVDF also keeps a deadline until the slice is used up. A task that sleeps and
 * wakes up every few microseconds costs one decision for each slice, not one for each wakeup.
 */
#ifndef PYLAND_CONTINUING_BPF_H
#define PYLAND_CONTINUING_BPF_H

#include "classes.bpf.h"
#include "preemption.bpf.h"
#include "queues.bpf.h"

/* Notes a decision with this slice; with a slice of 0 the decision ends when the task stops. */
static __always_inline void note_grant(const struct task_struct *p, struct task_ctx *t, u64 slice_ns)
{
	t->left_ns = slice_ns;
	t->lasts_until_ns = t->decided_ns + user.lasts_ns;
	t->lasts_asleep = t->woke_up;
	shared.usual_ns = usual_slice_ns(shared.usual_ns,
					 slice_at_weight_100(slice_ns, weight_of(p, t)));
}

/*
 * True if the task's decision still lasts. A decision of an earlier policy does not. A task that a
 * higher class interrupted continues even if decisions of the policy do not last: its turn is not
 * over.
 */
static __always_inline bool still_lasts(const struct task_struct *p, const struct task_ctx *t,
					u64 now)
{
	return (user.lasts_ns || t->interrupted) && t->generation == user.generation &&
	       shared.handed_over == user.generation &&
	       slice_continues(t->left_ns, weight_of(p, t), t->woke_up, t->lasts_asleep,
			     t->lasts_until_ns, now, shared.usual_ns);
}

/* The highest key in a queue; false when the queue is empty. */
static __always_inline bool last_vtime(u64 dsq_id, u64 *vtime_ns)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p = NULL;

	if (!bpf_iter_scx_dsq_new(&it, dsq_id, kernel_enum(scx_dsq_iter_flags, SCX_DSQ_ITER_REV))) {
		p = bpf_iter_scx_dsq_next(&it);
		if (p)
			*vtime_ns = p->scx.dsq_vtime;
	}
	bpf_iter_scx_dsq_destroy(&it);
	return p;
}

/* A task that yields goes behind all that are queued. */
static __always_inline u64 vtime_if_yielded(const struct task_ctx *t, u64 dsq_id, u64 vtime_ns)
{
	u64 last_ns;

	if (t->yielded && last_vtime(dsq_id, &last_ns) && (s64)(last_ns - vtime_ns) >= 0)
		return last_ns + 1;
	return vtime_ns;
}

/* True if the task that runs there will soon sleep, because it sleeps often. */
static __always_inline bool is_free_soon(const struct pyland_cpu *c, u64 now)
{
	return c->running_since_ns && !c->running_computes &&
	       (s64)(now - c->running_since_ns) < (s64)pause_ns();
}

/*
 * A task that woke up and continues its slice waits for its previous CPU if that CPU will be free
 * soon. From the shared queue, half of such tasks would get another CPU each time, and tasks that
 * take turns with a lock would wait for it at the same time (MariaDB: 199 to 254 transactions a
 * second, and 251 to 255 this way). This is not done if the policy names CPUs: then a CPU's queue
 * has tasks for that CPU alone, and this task may run elsewhere. It is not done for a task that
 * yields: such a task has to go behind the tasks of all queues.
 */
static __always_inline u64 queue_to_continue(const struct task_struct *p, const struct task_ctx *t,
					  s32 cpu, const struct pyland_cpu *c, u64 now)
{
	if (p->nr_cpus_allowed == 1)
		return cpu;
	if (shared.places || !t->woke_up || !is_free_soon(c, now))
		return SHARED_DSQ;
	if ((s64)(now - shared.own_queued_ns) > (s64)NSEC_PER_MSEC)
		shared.own_queued_ns = now;
	return cpu;
}

/*
 * Queues a task whose decision lasts; false if user space has to be asked. A task that was
 * interrupted keeps its key. The key of a task that slept grows by the CPU time that the task used.
 * If the waker is about to sleep (@sync) and the task may run on the waker's CPU, only that CPU is
 * interrupted.
 */
static __always_inline bool continue_slice(struct task_struct *p, struct task_ctx *t, s32 cpu,
				  const struct pyland_cpu *task_cpu, u64 now, u64 enq_flags,
				  bool sync)
{
	u64 dsq_id, vtime_ns = p->scx.dsq_vtime;
	s32 here = bpf_get_smp_processor_id();

	if (!still_lasts(p, t, now))
		return false;
	dsq_id = queue_to_continue(p, t, cpu, task_cpu, now);
	if (t->woke_up || t->yielded) {
		vtime_ns = vtime_if_yielded(t, dsq_id, next_vtime(p, t, vtime_ns));
		t->queued_runtime_ns = t->total_runtime_ns;
	}
	t->queue = QUEUE_DECIDED;
	t->decided_ns = now;
	vtime_ns = clamp_vtime(vtime_ns);
	dsq_insert_vtime(p, dsq_id, t->left_ns, vtime_ns, enq_flags);
	sync = sync && takes_from(here, dsq_id, p);
	if (t->woke_up)
		preempt_for(vtime_ns, sync ? here : cpu_to_preempt(cpu, dsq_id, p, now), now,
			      sync);
	return true;
}

#endif
