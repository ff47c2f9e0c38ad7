/* SPDX-License-Identifier: GPL-2.0-only */
/* Where the task of a decision goes: to the queue of a CPU or of a domain. */
#ifndef PYLAND_PLACES_BPF_H
#define PYLAND_PLACES_BPF_H

#include "preemption.bpf.h"
#include "taking.bpf.h"

/*
 * Chooses the queue for the task of a decision that names @cpu, a CPU or a domain. The result is in
 * picked_* of the CPU @here.
 */
APART int pick_queue(struct task_struct *p __arg_trusted, const struct task_ctx *t __arg_nonnull,
		     s32 cpu, s32 here, bool some_idle)
{
	s32 prev_cpu = scx_bpf_task_cpu(p), kick = -1;
	struct pyland_cpu *c = cpu_state(here);
	bool preempts;
	u64 dsq_id;
	u32 domain;

	if (!c)
		return 0;
	if (cpu >= 0) {
		dsq_id = kick = cpu;
	} else if (cpu == PYLAND_CPU_ANY && p->nr_cpus_allowed == 1) {
		dsq_id = cpu = kick = prev_cpu;
	} else if (cpu <= PYLAND_CPU_DOMAIN || sets_domains()) {
		domain = cpu == PYLAND_CPU_ANY ? domain_of_task(p, t, prev_cpu) :
						 (u32)(PYLAND_CPU_DOMAIN - cpu);
		dsq_id = queue_of_domain(domain);
		preempts = t->woke_up && preempts_first(p, t, prev_cpu);
		if (preempts || stays(p, t, domain, prev_cpu))
			dsq_id = prev_cpu;
		/* The CPU that is woken takes the task; it may be one that the domain spills to. */
		if (!preempts && some_cpu_idles())
			kick = pick_in_domain(p, domain, prev_cpu);
		/*
		 * The previous CPU gets the task for itself: from the domain's queue, the CPU that
		 * applies the decision would take it, where user space has just run.
		 */
		if (kick == prev_cpu && takes_from(prev_cpu, dsq_id, p))
			dsq_id = prev_cpu;
	} else if (some_idle && bpf_cpumask_test_cpu(prev_cpu, p->cpus_ptr) &&
		   scx_bpf_test_and_clear_cpu_idle(prev_cpu)) {
		dsq_id = kick = prev_cpu;
	} else {
		/* While no CPU idles, a task that waits for a CPU of its own keeps doing so. */
		dsq_id = t->dsq_id < config.nr_cpu_ids && !some_idle ? t->dsq_id :
			 queue_at(prev_cpu);
		if (some_idle)
			kick = pick_idle_cpu(p->cpus_ptr, prev_cpu);
		if (kick >= 0)
			dsq_id = kick;
	}
	c->picked_dsq = dsq_id;
	c->picked_cpu = cpu;
	c->picked_kick = kick;
	return 0;
}

/* The CPU or domain that the decision names if the task can go there; else any CPU. */
APART s32 checked_place(const struct task_struct *p __arg_trusted, s32 cpu)
{
	struct pyland_cpu *c = this_cpu_state();

	if (cpu == PYLAND_CPU_ANY || !c)
		return cpu;
	shared.places = 1;
	if (cpu <= PYLAND_CPU_DOMAIN && cpu > PYLAND_CPU_DOMAIN - PYLAND_NR_DOMAINS) {
		if (domain_has_cpu(p, PYLAND_CPU_DOMAIN - cpu))
			return cpu;
		c->bounced++;
	} else if (cpu < PYLAND_CPU_ANY || cpu >= (s32)config.nr_cpu_ids) {
		c->bad_decisions++;
	} else if (bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
		return cpu;
	} else {
		c->bounced++;
	}
	return PYLAND_CPU_ANY;
}

#endif
