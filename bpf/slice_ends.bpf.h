/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Callbacks that end a slice early: that of a tick, and that of a task that yields. Slices that end
 * in time are in slice_timers.bpf.h.
 */
#ifndef PYLAND_SLICE_ENDS_BPF_H
#define PYLAND_SLICE_ENDS_BPF_H

#include <linux/bpf.h>
#include "bandwidth.bpf.h"
#include "userspace.bpf.h"
#include <bpf/bpf_tracing.h>

/* A tick limits the wait of records that came while user space ran, or soon after. */
SEC("struct_ops/pyland_tick")
void BPF_PROG(pyland_tick, struct task_struct *p)
{
	s32 cpu = scx_bpf_task_cpu(p);
	struct pyland_cpu *c = cpu_state(cpu);
	struct task_ctx *t;
	u64 now = now_ns();

	if (sets_domains() && (t = task_state(p)))
		count_used(t, now);
	if (!is_scheduler(p) && stop_at_quota(p, now))
		return;
	/* Its waker did not sleep, and no other CPU can take the task (put_next). */
	if (c && !is_scheduler(p) &&
	    (s64)(now - c->running_since_ns) > (s64)config.shortest_ns &&
	    scx_bpf_dsq_nr_queued(kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL_ON) | cpu) > 0)
		task_set_slice(p, 0);
	if (is_scheduler(p) || until_may_preempt_ns(now) > 0 || !scheduler_is_due(now) ||
	    !may_run_user_space(cpu, now) || !scheduler_waits() || !takes_user_space(cpu) ||
	    !scheduler_has_work(true))
		return;
	/* One CPU is enough, and all CPUs have their ticks at about the same time. */
	shared.last_kick_ns = now;
	task_set_slice(p, 0);
}

/*
 * True if the task's domain says what a yield costs. Then the slice is shorter by that much, and
 * the task goes on, or gives way if nothing is left.
 */
static __always_inline bool pays_for_yield(struct task_struct *p, struct task_ctx *t)
{
	struct pyland_cpu *c = cpu_state(scx_bpf_task_cpu(p));
	struct pyland_user_domain *d = placed_domain(t);
	u64 cost_ns = d ? d->yield_ns : 0;

	if (!cost_ns--)
		return false;
	if (!cost_ns)
		return true;
	/* So that the task does not get it back as the rest of its decision. */
	t->left_ns -= t->left_ns < cost_ns ? t->left_ns : cost_ns;
	if (p->scx.slice <= cost_ns) {
		t->yielded = 1;
		task_set_slice(p, 0);
		return true;
	}
	task_set_slice(p, p->scx.slice - cost_ns);
	if (c && c->running_slice_ns > cost_ns)
		c->running_slice_ns -= cost_ns;
	return true;
}

/* A task yields to all tasks; a request to yield to a single task (@to) is refused. */
SEC("struct_ops/pyland_yield")
bool BPF_PROG(pyland_yield, struct task_struct *from, struct task_struct *to)
{
	struct task_ctx *t = task_state(from);
	s64 ran_ns;

	if (to)
		return false;
	if (t && !is_scheduler(from)) {
		if (pays_for_yield(from, t))
			return true;
		ran_ns = now_ns() - t->start_ns;
		if (ran_ns < (s64)yields_after(shared.cycle_cost_ns))
			return true;
		t->yielded = 1;
	}
	task_set_slice(from, 0);
	return true;
}

#endif
