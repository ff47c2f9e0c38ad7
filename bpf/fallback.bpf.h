/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What happens when Python is late: whether the oldest held task has waited for too long, and how a
 * CPU takes it without a decision.
 */
#ifndef PYLAND_FALLBACK_BPF_H
#define PYLAND_FALLBACK_BPF_H

#include "holding.bpf.h"

/* What held_too_long finds. */
enum lag {
	LAG_NONE,
	LAG_USER_SPACE,		/* user space has had no chance to decide it */
	LAG_UNDECIDED,		/* the policy left it undecided */
	LAG_RESCUED,		/* the task was decided, then starved: it is taken next */
};

/* How many held tasks a CPU looks at to find one that it may take. */
#define HELD_LOOK_MAX	8

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
