/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which task a CPU takes next, and whether a task waits that it can take. Tasks wait where
 * queues.bpf.h puts them, and held tasks where holding.bpf.h does.
 */
#ifndef PYLAND_TAKING_BPF_H
#define PYLAND_TAKING_BPF_H

#include "served.bpf.h"

/* Takes the task that is due first, from the CPU's own queue and its domain's. */
APART int take_ordered(s32 cpu, u64 now)
{
	struct pyland_cpu *c = cpu_state(cpu);
	u64 domain_dsq = queue_at(cpu);
	bool own_first;

	if (!c)
		return false;
	if (sets_domains())
		return take_served(cpu, now);
	if (take_from_far(cpu, domain_dsq, c, now))
		return true;
	own_first = own_goes_first(cpu, domain_dsq, c, now);
	if (own_first && dsq_move_to_local(cpu)) {
		c->last_was_own = 1;
		return true;
	}
	c->last_was_own = 0;
	return take_of_domain(cpu, domain_dsq, now) ||
	       (!own_first && dsq_move_to_local(cpu)) ||
	       (c->own_head_ns && dsq_move_to_local(domain_dsq));
}

/*
 * Takes the head of another CPU's own queue, if it waits there because that CPU was to be free soon
 * (PYLAND_SEARCH_SOON).
 */
static long take_own_at(u64 i, void *context)
{
	struct find_spilled *find = context;
	u64 here = kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL_ON) | find->cpu;
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	struct task_ctx *t;
	long taken = 0;

	if (scx_bpf_dsq_nr_queued(i) <= 0)
		return 0;
	if (!bpf_iter_scx_dsq_new(&it, i, 0)) {
		p = bpf_iter_scx_dsq_next(&it);
		t = p ? task_state(p) : NULL;
		if (t && p->nr_cpus_allowed > 1 && placed_in(t) != NO_DOMAIN &&
		    searches(placed_in(t), PYLAND_SEARCH_SOON) && is_admitted(p, find->cpu) &&
		    dsq_move(&it, p, here)) {
			find->found = true;
			taken = 1;
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	return taken;
}

/* For a CPU that would idle: takes a task that waits in another domain, or for another CPU. */
APART int take_elsewhere(s32 cpu, u64 now)
{
	struct find_spilled find = { .cpu = cpu };

	if (sets_domains()) {
		begin_near(&find);
		bpf_loop(find.nr, take_spilled_at, &find, 0);
		if (!find.found && (s64)(now - shared.own_queued_ns) < (s64)OWN_QUEUED_NS)
			bpf_loop(config.nr_cpu_ids, take_own_at, &find, 0);
		return find.found;
	}
	return take_of_range(DOMAIN_DSQ, nr_domains(), domain_of(cpu)) ||
	       (!shared.places && (s64)(now - shared.own_queued_ns) < (s64)OWN_QUEUED_NS &&
		take_of_range(0, config.nr_cpu_ids, cpu));
}

static long is_waiting_at(u64 i, void *context)
{
	struct find_spilled *find = context;
	struct pyland_user_cpu *u = user_cpu(find->cpu);

	if (!u)
		return 1;
	find->found = scx_bpf_dsq_nr_queued(DOMAIN_DSQ + u->served[i % PYLAND_NR_SERVED] %
					    PYLAND_NR_DOMAINS) > 0;
	return find->found;
}

/* True if a task waits in a queue that this CPU serves: then the task that runs has a slice. */
APART int work_is_queued(s32 cpu, u32 llc)
{
	struct find_spilled find = { .cpu = cpu };
	struct pyland_user_cpu *u;
	u32 nr;

	if (scx_bpf_dsq_nr_queued(cpu) > 0 || scx_bpf_dsq_nr_queued(HOLDING_DSQ + llc) > 0 ||
	    (scheduler_waits() && scheduler_has_work(false) && takes_user_space(cpu)))
		return true;
	if (!sets_domains())
		return scx_bpf_dsq_nr_queued(queue_at(cpu)) > 0;
	if (scx_bpf_dsq_nr_queued(OUTSIDE_DSQ) > 0)
		return true;
	u = user_cpu(cpu);
	nr = u ? u->nr_served : 0;
	if (nr > PYLAND_NR_SERVED)
		nr = PYLAND_NR_SERVED;
	bpf_loop(nr, is_waiting_at, &find, 0);
	return find.found;
}

/* True if a task waits that this CPU can take: then the CPU must not go idle. */
static __noinline bool work_for_idle_cpu(s32 cpu, u32 llc)
{
	struct find_spilled find = { .cpu = cpu };

	if (work_is_queued(cpu, llc))
		return true;
	if (!sets_domains())
		return config.nr_llcs > 1 && some_queued(DOMAIN_DSQ, nr_domains());
	begin_near(&find);
	bpf_loop(find.nr, is_spilled_at, &find, 0);
	return find.found;
}

#endif
