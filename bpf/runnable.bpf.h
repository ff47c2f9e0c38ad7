/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which tasks are runnable, and with which weight: counted for the machine, the domain and the
 * group of each task.
 */
#ifndef PYLAND_RUNNABLE_BPF_H
#define PYLAND_RUNNABLE_BPF_H

#include "cgroup_weights.bpf.h"
#include "records.bpf.h"

/* Called when a task is queued or goes to a CPU at once; its weight may differ from last time. */
APART int note_runnable(const struct task_struct *p __arg_trusted, struct task_ctx *t __arg_nonnull,
			bool wakes_up, u64 now)
{
	u32 weight = p->scx.weight ? p->scx.weight : 1;
	struct pyland_user_cpu *gauges;

	if (!t->ready_ns)
		t->ready_ns = now;
	note_group(p, t, weight);
	weight = note_weight(t, weight);
	if (wakes_up) {
		if (user.wanted & PYLAND_WANT_EXTRAS)
			note_wakeup(t, now);
		t->awake_runtime_ns = 0;
		t->wakeup_ns = now;
	}
	count_in_domain(t, weight);
	if (t->weight_counted == weight)
		return 0;
	gauges = user_cpu(bpf_get_smp_processor_id());
	if (!gauges)
		return 0;
	if (!t->weight_counted)
		gauges->nr_runnable++;
	gauges->weight_runnable += (s64)weight - t->weight_counted;
	t->weight_counted = weight;
	return 0;
}

static __always_inline void note_not_runnable(struct task_ctx *t)
{
	struct pyland_user_cpu *gauges;

	count_in_group(t, 0);
	count_in_domain(t, 0);
	if (!t->weight_counted)
		return;
	gauges = user_cpu(bpf_get_smp_processor_id());
	if (!gauges)
		return;
	gauges->nr_runnable--;
	gauges->weight_runnable -= t->weight_counted;
	t->weight_counted = 0;
}

#endif
