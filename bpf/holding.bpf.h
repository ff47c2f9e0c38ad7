/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tasks that are held until the policy has decided: which is the oldest, whether it has waited for
 * too long, and how a CPU takes it without a decision.
 */
#ifndef PYLAND_HOLDING_BPF_H
#define PYLAND_HOLDING_BPF_H

#include "queues.bpf.h"
#include "trust.bpf.h"

/* What held_too_long finds. */
enum lag {
	LAG_NONE,
	LAG_USER_SPACE,		/* user space has had no chance to decide it */
	LAG_UNDECIDED,		/* the policy left it undecided */
	LAG_RESCUED,		/* it is decided, and to be taken next */
};

/* How many held tasks a CPU looks at to find one that it may take. */
#define HELD_LOOK_MAX	8

/* How many it looks at if also the domains keep tasks from a CPU. */
#define ADMITTED_LOOK_MAX	64

/*
 * True for a task that the CPUs of its domain have left here for so long that any CPU may run it:
 * the kernel would end the scheduler for it.
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

/* Takes the first held task of an LLC that this CPU may run, where the policy has set domains. */
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
 * Finds the oldest held task that this CPU may take. Tasks for other CPUs may be before it in the
 * queue while a higher class has their CPU.
 */
APART int find_oldest_held(s32 cpu, struct held *held)
{
	struct pyland_cpu *c = cpu_state(cpu);
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	struct task_ctx *t;

	if (!c || !held || scx_bpf_dsq_nr_queued(HOLDING_DSQ + c->llc) <= 0)
		return 0;
	if (!bpf_iter_scx_dsq_new(&it, HOLDING_DSQ + c->llc, 0)) {
		/* In memory: the verifier would follow each value of a variable. */
		c->looks_left = HELD_LOOK_MAX;
		while ((p = bpf_iter_scx_dsq_next(&it))) {
			t = task_state(p);
			if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr) ||
			    (sets_domains() && !is_admitted(p, cpu) && !has_starved(p))) {
				if (--c->looks_left)
					continue;
				if (sets_domains())
					break;
				/*
				 * A task further back may be as old; the policy is not blamed for
				 * it.
				 */
				if (t)
					held->enqueue_ns = t->enqueue_ns;
				break;
			}
			if (t) {
				held->enqueue_ns = t->enqueue_ns ? t->enqueue_ns : 1;
				held->record_pos = t->record_pos;
				held->rescued = t->queue != QUEUE_HELD;
			}
			break;
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	return 0;
}

/*
 * Whether user space lags with the oldest held task, and why. If user space only waits for a CPU,
 * as the tasks do, it does not lag: it runs next. It lags if it is busy on another CPU, stopped or
 * blocked, if it does not end its cycle (@hogs), or if it ended a cycle with the task's record
 * (before @asked_pos) and did not decide the task. Each CPU checks this four times within the lag
 * limit.
 */
APART int held_too_long(s32 cpu, u64 now, bool hogs, u64 asked_pos)
{
	struct pyland_cpu *c = cpu_state(cpu);
	struct held held = {};

	if (!c || (s64)(now - c->lag_check_ns) < 0)
		return LAG_NONE;
	find_oldest_held(cpu, &held);
	if (held.rescued)
		return LAG_RESCUED;
	if (!held.enqueue_ns || (s64)(now - held.enqueue_ns) <= (s64)config.lag_ns) {
		c->lag_check_ns = now + config.lag_ns / 4;
		return LAG_NONE;
	}
	if (is_to_blame(&held, asked_pos, now))
		return LAG_UNDECIDED;
	if (is_known(&held, asked_pos))
		return LAG_USER_SPACE;
	/*
	 * User space began no cycle after the enqueue, and has not waited for long: it runs next.
	 */
	if (scheduler_waits() && !hogs && !shared.lagging &&
	    (s64)(shared.cycle_begin_ns - held.enqueue_ns) <= 0 &&
	    (s64)(now - shared.clock_ns) <= 4 * (s64)config.lag_ns)
		return LAG_NONE;
	/* User space itself lags, and not only the policy with this task. */
	if ((s64)(now - shared.last_cycle_ns) > (s64)config.lag_ns)
		shared.lagging = 1;
	return LAG_USER_SPACE;
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

/* Takes the oldest held task, because it has been held for too long. */
APART int take_lagging(s32 cpu, int why, u64 now)
{
	struct pyland_cpu *c = cpu_state(cpu);

	if (!c || !take_held(cpu))
		return false;
	if (why != LAG_RESCUED)
		c->fallback_lag++;
	if (why == LAG_UNDECIDED)
		note_undecided(c, now);
	return true;
}

#endif
