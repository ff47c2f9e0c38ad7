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

/* The vtime of a queue's head; false when the queue is empty. */
static __always_inline bool head_vtime(u64 dsq_id, u64 *vtime_ns)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p = NULL;

	if (!bpf_iter_scx_dsq_new(&it, dsq_id, 0)) {
		p = bpf_iter_scx_dsq_next(&it);
		if (p)
			*vtime_ns = p->scx.dsq_vtime;
	}
	bpf_iter_scx_dsq_destroy(&it);
	return p;
}

/*
 * True if the head of the CPU's own queue is due before the head of its domain's. With equal keys
 * the two queues take turns. Each look at a head takes 150 instructions, because the kernel
 * searches the queue by its number.
 */
static __always_inline bool own_goes_first(s32 cpu, u64 domain_dsq, struct pyland_cpu *c)
{
	u64 own_ns = 0, domain_ns = 0;
	s64 ahead_ns;

	c->own_waits = 0;
	if (scx_bpf_dsq_nr_queued(domain_dsq) <= 0)
		return true;
	if (scx_bpf_dsq_nr_queued(cpu) <= 0 || !head_vtime(cpu, &own_ns))
		return false;
	if (!head_vtime(domain_dsq, &domain_ns))
		return true;
	c->own_waits = 1;
	c->own_head_ns = own_ns;
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
 * True for a task that must not be passed over again, because it has waited for more than a longest
 * slice. Keys alone would not tell: they hardly advance while tasks yield all the time.
 */
static __always_inline bool has_waited(struct task_struct *p, u64 now)
{
	struct task_ctx *t = task_state(p);

	return !t || (s64)(now - t->decided_ns) > (s64)config.longest_ns;
}

/*
 * Takes the head of the queue if its key is not after @until_ns. Another CPU may have taken the
 * head that this CPU has seen, and the next task may be due much later than that one.
 */
static __always_inline bool take_until(s32 cpu, u64 dsq_id, u64 until_ns)
{
	u64 here = kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL_ON) | cpu;
	bool taken = false, elsewhere = false;
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;

	if (!bpf_iter_scx_dsq_new(&it, dsq_id, 0)) {
		p = bpf_iter_scx_dsq_next(&it);
		if (p && (s64)(p->scx.dsq_vtime - until_ns) <= 0) {
			elsewhere = is_migration_disabled(p) ||
				    !bpf_cpumask_test_cpu(cpu, p->cpus_ptr);
			taken = !elsewhere && dsq_move(&it, p, here);
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	/* The kernel looks for a task that may run here. */
	return taken || (elsewhere && dsq_move_to_local(dsq_id));
}

/*
 * Takes the head of the domain's queue; or, of the next few tasks that are due hardly later, one
 * that ran on this CPU last: it finds its cache warm. Without this, each task that computes gets
 * another CPU at each turn (32 of them on 8 CPUs: 0.63 migrations a switch).
 */
static __always_inline bool take_of_domain(s32 cpu, u64 domain_dsq, struct pyland_cpu *c, u64 now)
{
	u64 here = kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL_ON) | cpu, until_ns = 0;
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	bool taken = false;

	if (scx_bpf_dsq_nr_queued(domain_dsq) < 2)
		return c->own_waits ? take_until(cpu, domain_dsq, c->own_head_ns) :
				      dsq_move_to_local(domain_dsq);
	if (!bpf_iter_scx_dsq_new(&it, domain_dsq, 0)) {
		/* In memory: the verifier would follow each value of a variable. */
		c->looks_left = NEAR_LOOKS;
		while ((p = bpf_iter_scx_dsq_next(&it))) {
			if (c->looks_left == NEAR_LOOKS) {
				if (has_waited(p, now) ||
				    (c->own_waits &&
				     (s64)(p->scx.dsq_vtime - c->own_head_ns) > 0))
					break;
				until_ns = p->scx.dsq_vtime + shared.usual_ns;
			}
			if (!c->looks_left || (s64)(p->scx.dsq_vtime - until_ns) > 0)
				break;
			if (scx_bpf_task_cpu(p) == cpu && bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
				taken = c->looks_left != NEAR_LOOKS && dsq_move(&it, p, here);
				break;
			}
			c->looks_left--;
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	if (taken)
		return true;
	return c->own_waits ? take_until(cpu, domain_dsq, c->own_head_ns) :
			      dsq_move_to_local(domain_dsq);
}

#endif
