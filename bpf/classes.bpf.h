/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Handles a CPU that belongs to a higher class: real-time, deadline, or the kernel's own stop
 * class; with --partial, also the kernel's default class.
 *
 * If such a class preempts a task, the kernel puts the task back to the head of the CPU's local
 * queue. The task would continue from there without a call to dispatch. Tasks that woke up
 * meanwhile would wait for the rest of its slice, and the task would wait for this CPU. So the task
 * gives the rest of its slice back and is queued again at the key that it had. Another CPU may take
 * it, and when this CPU is free again, dispatch looks at all tasks that wait.
 */
#ifndef PYLAND_CLASSES_BPF_H
#define PYLAND_CLASSES_BPF_H

#include "preemption.bpf.h"
#include "taking.bpf.h"
#include "userspace_cpus.bpf.h"

/*
 * Called when a runnable task stops. It has some slice left only if a higher class preempts it.
 * The kernel reads the slice after this call, and queues the task again if none is left.
 */
static __always_inline bool give_slice_back(struct task_struct *p)
{
	if (!p->scx.slice)
		return false;
	task_set_slice(p, 0);
	return true;
}

/* True if the CPU is busy, but not with a task of sched_ext: a higher class has it. */
static __always_inline bool is_taken(const struct pyland_cpu *c)
{
	return !c->idle && !c->running_since_ns && !c->runs_scheduler;
}

struct find_last {
	const struct task_struct *p;	/* the task; NULL: user space, which may run anywhere */
	u64 dsq_id;
	u64 now;
	s64 latest_ns;
	s32 cpu;
};

static long is_due_last(u64 cpu, void *context)
{
	struct find_last *find = context;
	struct pyland_cpu *c = cpu_state(cpu);
	s64 due_ns;

	if (!c || !c->running_since_ns || c->kicked)
		return 0;
	if (find->p ? !takes_from(cpu, find->dsq_id, find->p) :
		      c->nohz_full || !takes_user_space(cpu))
		return 0;
	due_ns = c->running_vtime_ns + find->now - c->running_since_ns;
	if (find->cpu >= 0 && due_ns - find->latest_ns <= 0)
		return 0;
	find->latest_ns = due_ns;
	find->cpu = cpu;
	return 0;
}

/*
 * The CPU that a task may take from the task that runs there: @cpu if it looks into the queue
 * @dsq_id, no higher class has it, and no other task is preempting there. Otherwise, of the CPUs
 * that look into that queue, it is the one whose task is due last; @cpu if no CPU looks into it.
 * User space (@p is NULL) takes no CPU without ticks (nohz_full=), and none that is left free.
 */
APART s32 cpu_to_preempt(s32 cpu, u64 dsq_id,
			 const struct task_struct *p __arg_trusted __arg_nullable, u64 now)
{
	struct find_last find = { .p = p, .dsq_id = dsq_id, .now = now, .cpu = -1 };
	struct pyland_cpu *c = cpu_state(cpu);

	if (!c || (!is_taken(c) && !c->kicked && (p ? takes_from(cpu, dsq_id, p) :
						   !c->nohz_full && takes_user_space(cpu))))
		return cpu;
	bpf_loop(config.nr_cpu_ids, is_due_last, &find, 0);
	return find.cpu >= 0 ? find.cpu : cpu;
}

static long has_lower_rank(u64 cpu, void *context)
{
	struct find_last *find = context;
	struct pyland_cpu *c = cpu_state(cpu);

	if (!c || !c->running_since_ns || c->running_rank >= find->latest_ns ||
	    !takes_from(cpu, find->dsq_id, find->p))
		return 0;
	find->latest_ns = c->running_rank;
	find->cpu = cpu;
	return 0;
}

/*
 * The CPU that a task that woke up may take; it ran last on @cpu. If the task's domain lets it
 * preempt tasks of lower rank, this is the CPU whose task has the lowest rank below that of the
 * domain. In any other case it is that of cpu_to_preempt.
 */
APART s32 cpu_for_wakeup(const struct task_struct *p __arg_trusted,
			 const struct task_ctx *t __arg_nonnull, s32 cpu, u64 now)
{
	struct find_last find = { .p = p, .dsq_id = t->dsq_id, .cpu = -1 };

	if (!preempts_by_rank(t))
		return cpu_to_preempt(cpu, t->dsq_id, p, now);
	if (preempts_first(p, t, cpu))
		return cpu;
	find.latest_ns = rank_of(t);
	bpf_loop(config.nr_cpu_ids, has_lower_rank, &find, 0);
	return find.cpu >= 0 ? find.cpu : cpu_to_preempt(cpu, t->dsq_id, p, now);
}

/*
 * Called when a higher class has preempted user space in the middle of a cycle. User space
 * continues on the next CPU that looks for work; this makes a CPU look soon.
 */
static __always_inline void move_user_space(const struct task_struct *p, s32 cpu, u64 now)
{
	s32 idle_cpu = idle_cpu_for_user_space(p, cpu);
	struct pyland_cpu *c;

	shared.due_ns = DUE_AT_ONCE;
	if (idle_cpu >= 0) {
		scx_bpf_kick_cpu(idle_cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
		return;
	}
	cpu = cpu_to_preempt(cpu, queue_at(cpu), NULL, now);
	c = cpu_state(cpu);
	if (c && c->running_since_ns)
		preempt_soon(cpu, c, now, 0, c->running_vtime_ns);
}

#endif
