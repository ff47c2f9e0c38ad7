/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether the policy is asked: what it is blamed for, and how it is trusted again.
 *
 * It is blamed for tasks that it was asked about in a cycle that it finished, and left undecided
 * for the lag limit; or for keeping nearly all of them although CPUs would have idled. Not for
 * what it had no chance to do: its process may be without a CPU, also where the machine believes
 * that it runs (a busy host takes virtual CPUs away), and tasks may have moved since it decided
 * them. A policy that is blamed is asked about nothing for a moment, then about one task. When it
 * answers it is asked about more of them, and then about all.
 */
#ifndef PYLAND_TRUST_BPF_H
#define PYLAND_TRUST_BPF_H

#include "state.bpf.h"

#define BLAME_NR	16		/* tasks left undecided within ... */
#define NEGLECT_NR	32		/* or so many kept while CPUs would idle, and few decided */
#define BLAME_WINDOW_NS	(1000 * NSEC_PER_MSEC)
#define DISTRUST_NS	(500 * NSEC_PER_MSEC)

/* Trials of 1, 4 and 16 tasks: a policy that forgets every tenth does not pass them all. */
#define TRIAL_GROWS	4
#define TRIAL_MAX	16

/* A task that is held. */
struct held {
	u64 enqueue_ns;		/* 0: there is none */
	u64 record_pos;
	bool rescued;		/* it is decided, or was */
};

static __always_inline void begin_trial(u32 size, u64 now)
{
	shared.trial_size = size;
	shared.trial_left = size;
	shared.trial_unanswered = size;
	shared.trial_ns = now;
}

static __always_inline void forget_blame(u64 now)
{
	shared.undecided_since_ns = now;
	shared.undecided = 0;
	shared.neglected = 0;
	shared.decided = 0;
}

static __always_inline void trust(u64 now)
{
	shared.distrusted = 0;
	forget_blame(now);
}

/* Until a trial that begins after a while has ended well. */
static __always_inline void distrust(u64 now)
{
	begin_trial(0, now + DISTRUST_NS);
	shared.distrusted = 1;
}

/*
 * May a policy that is not trusted be asked about one task? CPUs that have no other can take all
 * tasks of a trial before they are decided: then there is another trial.
 */
static __noinline bool is_tried(u64 now)
{
	if ((s64)(now - shared.trial_ns) < 0)
		return false;
	if (!shared.trial_size || (s64)(now - shared.trial_ns) > (s64)DISTRUST_NS)
		begin_trial(1, now);
	if (shared.trial_left <= 0)
		return false;
	shared.trial_left--;
	return true;
}

/* An answer of a policy that is not trusted, be it for a task that has moved on. */
static __noinline void note_answer(u64 now)
{
	if (!shared.trial_size || --shared.trial_unanswered > 0)
		return;
	if (shared.trial_size < TRIAL_MAX)
		begin_trial(shared.trial_size * TRIAL_GROWS, now);
	else
		trust(now);
}

/* Can the policy be asked about any task? */
static __always_inline bool is_asked(void)
{
	return !shared.lagging && !shared.distrusted;
}

static __always_inline void count_anew_each_second(u64 now)
{
	if ((s64)(now - shared.undecided_since_ns) > (s64)BLAME_WINDOW_NS)
		forget_blame(now);
}

/* Have finished cycles had the record of this held task, and is what they decided carried out? */
static __always_inline bool is_known(const struct held *held, u64 asked_pos)
{
	return held->record_pos && held->record_pos <= asked_pos;
}

/*
 * Is it the policy that left it undecided? One that says that it keeps tasks decides them in a
 * later cycle: it has to have had one.
 */
static __always_inline bool is_to_blame(const struct held *held, u64 asked_pos, u64 now)
{
	return is_known(held, asked_pos) && shared.handed_over == user.generation &&
	       (!user.nr_held || (s64)(now - shared.last_cycle_ns) <= (s64)(config.lag_ns / 2));
}

/* A task runs without a decision that the policy was able to make. */
static __noinline void note_undecided(struct pyland_cpu *c, u64 now)
{
	/* Once in a while it happens to any policy. On trial it may not. */
	count_anew_each_second(now);
	c->undecided++;
	if (++shared.undecided >= BLAME_NR || shared.distrusted)
		distrust(now);
}

/*
 * A CPU that would idle takes a task that the policy knows and keeps. A policy may do that;
 * but one that keeps nearly all has forgotten them, and its queue is in no order.
 */
static __noinline void note_neglected(struct pyland_cpu *c, const struct held *held, u64 asked_pos,
				      u64 now)
{
	if (held->rescued || shared.distrusted || !is_to_blame(held, asked_pos, now))
		return;
	count_anew_each_second(now);
	if (++shared.neglected < NEGLECT_NR || shared.neglected < 4 * shared.decided)
		return;
	c->undecided += shared.neglected;
	distrust(now);
}

#endif
