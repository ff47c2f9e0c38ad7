/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which tasks are work of the kernel itself, and how they go before all other tasks.
 */
#ifndef PYLAND_KERNEL_WORK_BPF_H
#define PYLAND_KERNEL_WORK_BPF_H

#include "queues.bpf.h"
#include "slices.bpf.h"
#include "traced.bpf.h"

/* True for kernel threads that go before all tasks, because the machine may wait for them. */
static __always_inline bool is_kernel_work(const struct task_struct *p, const struct task_ctx *t)
{
	return t->kernel_helper || ((p->flags & PF_KTHREAD) && p->nr_cpus_allowed == 1);
}

/*
 * The kernel's own work goes first: user space itself may wait for it. But khugepaged may run for
 * seconds, so after its first slice a kernel helper is queued like other tasks.
 */
static __always_inline void enqueue_kernel_work(struct task_struct *p, struct task_ctx *t, s32 cpu,
						u64 now, u64 enq_flags)
{
	if (t->kernel_helper && !t->woke_up) {
		queue_unasked(p, t, cpu, now, enq_flags);
		return;
	}
	if (t->woke_up)
		enq_flags |= kernel_enum(scx_enq_flags, SCX_ENQ_PREEMPT);
	dsq_insert(p, kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL),
		   weighted_slice(p, t, config.longest_ns), enq_flags);
	traced(traced_task(p, t, PYLAND_TRACED_KERNEL), cpu, 0, 0, config.longest_ns);
}

#endif
