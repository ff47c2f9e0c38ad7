/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tasks that are held until the policy has decided: how a CPU takes one without a decision, and how
 * a queued task is held again.
 */
#ifndef PYLAND_HOLDING_BPF_H
#define PYLAND_HOLDING_BPF_H

#include "taking.bpf.h"
#include "trust.bpf.h"

/* How many held tasks a CPU looks at if the policy has set domains, which keep tasks from it. */
#define ADMITTED_LOOK_MAX	64

/*
 * True for a task that the CPUs of its domain have left here for so long that any CPU may run it.
 * If it waited for longer, the kernel would end the scheduler.
 */
static __always_inline bool has_starved(struct task_struct *p)
{
	struct task_ctx *t = task_state(p);
	u64 since_ns;

	if (!t)
		return true;
	since_ns = t->queue == QUEUE_HELD ? t->enqueue_ns : t->decided_ns;
	return (s64)(now_ns() - since_ns) > 2 * (s64)RESCUE_NS;
}

struct find_admitted {
	s32 cpu;
	u32 begin;
	s32 taken;		/* no bool: the verifier knows no byte of memory to be 0 or 1 */
};

/* If the policy has set domains: takes the first held task of an LLC that this CPU may run. */
static long take_admitted_at(u64 i, void *context)
{
	struct find_admitted *find = context;
	u64 here = kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL_ON) | find->cpu;
	u32 llc = find->begin + i;
	u64 dsq_id = HOLDING_DSQ + (llc < config.nr_llcs ? llc : llc - config.nr_llcs);
	struct pyland_cpu *c = cpu_state(find->cpu);
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;

	if (!c || scx_bpf_dsq_nr_queued(dsq_id) <= 0)
		return !c;
	if (!bpf_iter_scx_dsq_new(&it, dsq_id, 0)) {
		/* In memory: the verifier would follow each value of a variable. */
		c->looks_left = ADMITTED_LOOK_MAX;
		while ((p = bpf_iter_scx_dsq_next(&it)) && c->looks_left) {
			c->looks_left--;
			if (!is_admitted(p, find->cpu) && !has_starved(p))
				continue;
			if (!dsq_move(&it, p, here))
				continue;
			find->taken = 1;
			break;
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	return find->taken > 0;
}

/* Takes the task that has been held longest, first from this CPU's LLC, then from the others. */
APART int take_held(s32 cpu)
{
	struct pyland_cpu *c = cpu_state(cpu);
	struct find_admitted find = { .cpu = cpu };

	if (!c)
		return false;
	if (!sets_domains())
		return take_of_range(HOLDING_DSQ, config.nr_llcs, c->llc);
	find.begin = c->llc;
	bpf_loop(config.nr_llcs, take_admitted_at, &find, 0);
	return find.taken;
}

/*
 * Moves a queued task back to where held tasks wait: in the LLC of its CPU, which it may use. False
 * if a CPU has already taken it.
 */
static __always_inline bool hold_again(struct bpf_iter_scx_dsq *it, struct task_struct *p,
				       struct task_ctx *t)
{
	struct pyland_cpu *c = cpu_state(scx_bpf_task_cpu(p));

	if (!c || !dsq_move(it, p, HOLDING_DSQ + c->llc))
		return false;
	t->dsq_id = HOLDING_DSQ + c->llc;
	return true;
}

#endif
