/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether tasks are held for the policy. A policy that leaves held tasks undecided is not given
 * tasks to hold for a moment: it is still asked, and its decisions still count, but meanwhile BPF
 * orders the tasks. The same is done while user space lags.
 *
 * The policy is blamed for a task only if it was asked about it in a cycle that it finished. It is
 * not blamed if it had no chance to decide: its process may have no CPU, even when the machine
 * believes that it runs (a busy host takes virtual CPUs away).
 */
#ifndef PYLAND_TRUST_BPF_H
#define PYLAND_TRUST_BPF_H

#include "state.bpf.h"

#define BLAME_NR	16		/* tasks left undecided within ... */
#define BLAME_WINDOW_NS	(1000 * NSEC_PER_MSEC)
#define DISTRUST_NS	(500 * NSEC_PER_MSEC)

/* A task that is held. */
struct held {
	u64 enqueue_ns;		/* 0: there is none */
	u64 record_pos;
	bool rescued;		/* the task has starved in another queue, or has moved on */
};

/* True if a task that is not decided is held, and not queued by an interim order. */
static __always_inline bool holds_tasks(u64 now)
{
	return (user.wanted & PYLAND_WANT_HOLD) && !shared.lagging &&
	       (s64)(now - shared.hold_from_ns) >= 0;
}

/* A new policy begins without blame. */
static __always_inline void trust(u64 now)
{
	shared.hold_from_ns = now;
	shared.undecided_since_ns = now;
	shared.undecided = 0;
}

/* True if a finished cycle had the record of this held task, and its decisions are carried out. */
static __always_inline bool is_known(const struct held *held, u64 asked_pos)
{
	return held->record_pos && held->record_pos <= asked_pos;
}

/*
 * True if the policy left this task undecided. A policy that says that it keeps tasks may decide
 * them in a later cycle, so it must have had a recent cycle.
 */
static __always_inline bool is_to_blame(const struct held *held, u64 asked_pos, u64 now)
{
	return is_known(held, asked_pos) && shared.handed_over == user.generation &&
	       (!user.nr_held || (s64)(now - shared.last_cycle_ns) <= (s64)(config.lag_ns / 2));
}

/* Notes that a held task runs without a decision, although the policy was able to decide it. */
static __noinline void note_undecided(struct pyland_cpu *c, u64 now)
{
	if ((s64)(now - shared.undecided_since_ns) > (s64)BLAME_WINDOW_NS) {
		shared.undecided_since_ns = now;
		shared.undecided = 0;
	}
	c->undecided++;
	if (++shared.undecided < BLAME_NR)
		return;
	trust(now);
	shared.hold_from_ns = now + DISTRUST_NS;
}

#endif
