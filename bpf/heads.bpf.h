/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The heads of queues: which goes first, and which of the first few tasks a CPU takes.
 */
#ifndef PYLAND_HEADS_BPF_H
#define PYLAND_HEADS_BPF_H

#include "idle.bpf.h"
#include "records.bpf.h"
#include "trust.bpf.h"
#include "userspace.bpf.h"

/* How many tasks a CPU looks at to find one that ran there last. */
#define NEAR_LOOKS	12

/* A task that has waited for so many longest slices is not passed over again. */
#define WAITED_SLICES	2

/* For so long a queue that was empty is not looked at again: each look takes 170 instructions. */
#define EMPTY_NS	(200 * NSEC_PER_USEC)

/* The vtime of a queue's head; false when the queue is empty. */
static __always_inline bool head_vtime(u64 dsq_id, u64 *vtime_ns)
{
	struct task_struct *p = NULL;

	if (bpf_ksym_exists(scx_bpf_dsq_peek)) {
		p = scx_bpf_dsq_peek(dsq_id);
		if (p)
			*vtime_ns = p->scx.dsq_vtime;
	} else {
		struct bpf_iter_scx_dsq it;

		if (!bpf_iter_scx_dsq_new(&it, dsq_id, 0)) {
			p = bpf_iter_scx_dsq_next(&it);
			if (p)
				*vtime_ns = p->scx.dsq_vtime;
		}
		bpf_iter_scx_dsq_destroy(&it);
	}
	return p;
}

/*
 * A task is about to enter this queue: if it is a CPU's own, that CPU has to look there. If another
 * CPU does this at the moment of such a look, the task may be seen only after EMPTY_NS.
 */
static __always_inline void note_own(u64 dsq_id)
{
	struct pyland_cpu *c = dsq_id < config.nr_cpu_ids ? cpu_state(dsq_id) : NULL;

	if (c)
		c->own_empty_until_ns = 0;
}

/*
 * True if the head of the CPU's own queue is due before the head of its domain's. With equal keys
 * the two queues take turns.
 */
static __always_inline bool own_goes_first(s32 cpu, u64 domain_dsq, struct pyland_cpu *c, u64 now)
{
	u64 own_ns = 0, domain_ns = 0;
	s64 ahead_ns;

	c->own_head_ns = 0;
	if ((s64)(now - c->own_empty_until_ns) < 0)
		return false;
	if (!head_vtime(cpu, &own_ns)) {
		c->own_empty_until_ns = now + EMPTY_NS;
		return false;
	}
	if (!head_vtime(domain_dsq, &domain_ns))
		return true;
	c->own_head_ns = own_ns | 1;
	ahead_ns = domain_ns - own_ns;
	return ahead_ns > 0 || (!ahead_ns && !c->last_was_own);
}

/*
 * A CPU takes the head of another domain's queue if that head has fallen behind the head of its own
 * domain by more longest slices than this. Keys advance more slowly where more tasks share a CPU,
 * so tasks move from there, and each gets its share of the whole machine. The CPU looks at one
 * other domain in the time of a longest slice.
 */
#define FAR_SLICES	2

static __always_inline bool take_from_far(s32 cpu, u64 domain_dsq, struct pyland_cpu *c, u64 now)
{
	u64 far_ns = 0, near_ns = 0, dsq_id;
	u32 nr = nr_domains();

	if (nr < 2 || (s64)(now - c->far_look_ns) < 0)
		return false;
	c->far_look_ns = now + config.longest_ns;
	c->far_domain = c->far_domain + 1 < nr ? c->far_domain + 1 : 0;
	dsq_id = DOMAIN_DSQ + c->far_domain;
	if (dsq_id == domain_dsq || !head_vtime(dsq_id, &far_ns))
		return false;
	if (!head_vtime(domain_dsq, &near_ns)) {
		/*
		 * No task waits here, so the head is compared with the task that runs, if one does.
		 */
		if (!c->running_since_ns)
			return false;
		near_ns = c->running_vtime_ns + now - c->running_since_ns;
	}
	return (s64)(near_ns - far_ns) > (s64)(FAR_SLICES * config.longest_ns) &&
	       dsq_move_to_local(dsq_id);
}

/*
 * True for a task that must not be passed over again, because it has waited for long. Keys alone
 * would not tell: they hardly advance while tasks yield all the time.
 */
static __always_inline bool has_waited(const struct task_ctx *t, u64 now)
{
	return !t || (s64)(now - t->decided_ns) > (s64)(WAITED_SLICES * config.longest_ns);
}

/* For how long a task has waited, or its decision has stood, that yields; -1 for others. */
static __always_inline s64 yielded_for_ns(const struct task_ctx *t, u64 now)
{
	s64 waited_ns;

	if (!t || !t->yielded)
		return -1;
	waited_ns = now - t->decided_ns;
	return waited_ns > 0 ? waited_ns : 0;
}

/*
 * Takes the head of the domain's queue; or, of the next few tasks that are due hardly later, one
 * that ran on this CPU last: it finds its cache warm. Without this, each task that computes gets
 * another CPU at each turn (32 of them on 8 CPUs: 0.63 migrations a switch).
 *
 * None is taken if the first that may run here is due after the head of the CPU's own queue:
 * another CPU may have taken the head that this CPU has compared with it.
 *
 * If both yield, a head that has waited for more than twice as long goes first, because fewer tasks
 * take turns on this CPU, and a yield moves no key (eight tasks on two CPUs: one had 2.4 times the
 * turns of another).
 */
APART int take_of_domain(s32 cpu, u64 domain_dsq, u64 now)
{
	u64 here = kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL_ON) | cpu, until_ns = 0;
	struct task_struct *p, *first = NULL;
	struct pyland_cpu *c = cpu_state(cpu);
	struct bpf_iter_scx_dsq it;
	struct task_ctx *t;
	s64 yielded_ns = -1, here_ns;
	bool taken = false;

	if (!c)
		return false;
	/* In memory: the verifier would follow each value of a variable. */
	c->looks_left = NEAR_LOOKS;
	if (!bpf_iter_scx_dsq_new(&it, domain_dsq, 0)) {
		while ((p = bpf_iter_scx_dsq_next(&it))) {
			bool ran_here = scx_bpf_task_cpu(p) == cpu;

			if (!c->looks_left)
				break;
			c->looks_left--;
			if (first && (s64)(p->scx.dsq_vtime - until_ns) > 0)
				break;
			if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr) ||
			    (!ran_here && is_migration_disabled(p)))
				continue;
			if (!first && c->own_head_ns && (s64)(p->scx.dsq_vtime - c->own_head_ns) > 0)
				break;
			if (ran_here) {
				here_ns = yielded_ns < 0 ? -1 : yielded_for_ns(task_state(p), now);
				if (here_ns < 0 || yielded_ns <= 2 * here_ns)
					first = p;
				break;
			}
			if (first)
				continue;
			first = p;
			t = task_state(p);
			if (has_waited(t, now))
				break;
			yielded_ns = yielded_for_ns(t, now);
			until_ns = p->scx.dsq_vtime +
				   near_within_ns(shared.usual_ns, config.longest_ns);
		}
		taken = first && dsq_move(&it, first, here);
	}
	bpf_iter_scx_dsq_destroy(&it);
	/* Another CPU has taken that task, or a task that may run here may be further back. */
	if (!taken && (first ? !c->own_head_ns : !c->looks_left))
		taken = dsq_move_to_local(domain_dsq);
	return taken;
}

#endif
