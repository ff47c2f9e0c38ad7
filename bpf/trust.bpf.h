/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether the policy is asked: what it is blamed for, and how it is trusted again.
 *
 * The policy is blamed if it was asked about tasks in a cycle that it finished, and left them
 * undecided for the lag limit; or if it keeps nearly all tasks although CPUs would idle. It is not
 * blamed if it had no chance to decide: its process may have no CPU, even when the machine believes
 * that it runs (a busy host takes virtual CPUs away), and a task may move on after its decision. A
 * policy that is blamed is not asked for a moment, and then about one task. When it answers, it is
 * asked about more tasks, and then about all.
 */
#ifndef PYLAND_TRUST_BPF_H
#define PYLAND_TRUST_BPF_H

#include "state.bpf.h"

#define BLAME_NR	16		/* tasks left undecided within ... */
#define NEGLECT_NR	32		/* or so many kept while CPUs would idle, and few decided */
#define BLAME_WINDOW_NS	(1000 * NSEC_PER_MSEC)
#define DISTRUST_NS	(500 * NSEC_PER_MSEC)

/* Trials of 1, 4 and 16 tasks: a policy that forgets every tenth task fails one of them. */
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

/* The policy is not trusted until it has passed a trial, which begins after DISTRUST_NS. */
static __always_inline void distrust(u64 now)
{
	begin_trial(0, now + DISTRUST_NS);
	shared.distrusted = 1;
}

/*
 * True if a policy that is not trusted may be asked about this task. CPUs without other tasks may
 * take all tasks of a trial before they are decided; then another trial begins.
 */
static __noinline bool is_tried(u64 now)
{
	if ((s64)(now - shared.trial_ns) < 0)
		return false;
	if (!shared.trial_size ||
	    (shared.trial_left <= 0 && (s64)(now - shared.trial_ns) > (s64)DISTRUST_NS))
		begin_trial(1, now);
	if (shared.trial_left <= 0)
		return false;
	shared.trial_left--;
	/* The time for answers begins with the last question: few tasks may need the policy. */
	shared.trial_ns = now;
	return true;
}

/* Counts an answer of a policy that is not trusted, also for a task that has moved on. */
static __noinline void note_answer(u64 now)
{
	if (!shared.trial_size || --shared.trial_unanswered > 0)
		return;
	if (shared.trial_size < TRIAL_MAX)
		begin_trial(shared.trial_size * TRIAL_GROWS, now);
	else
		trust(now);
}

/* True if the policy may be asked about any task. */
static __always_inline bool is_asked(void)
{
	return !shared.lagging && !shared.distrusted;
}

static __always_inline void count_anew_each_second(u64 now)
{
	if ((s64)(now - shared.undecided_since_ns) > (s64)BLAME_WINDOW_NS)
		forget_blame(now);
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

/* Notes that a task runs without a decision, although the policy was able to decide it. */
static __noinline void note_undecided(struct pyland_cpu *c, u64 now)
{
	/* This sometimes happens to any policy, but must not happen in a trial. */
	count_anew_each_second(now);
	c->undecided++;
	if (++shared.undecided >= BLAME_NR || shared.distrusted)
		distrust(now);
}

/*
 * Notes that a CPU that would idle takes a task that the policy knows and keeps. A policy may keep
 * some tasks. If it keeps nearly all, it has forgotten them, and its order has no effect.
 */
APART int note_neglected(s32 cpu, const struct held *held, u64 asked_pos, u64 now)
{
	struct pyland_cpu *c = cpu_state(cpu);

	if (!c || !held || held->rescued || shared.distrusted || !is_to_blame(held, asked_pos, now))
		return 0;
	count_anew_each_second(now);
	if (++shared.neglected < NEGLECT_NR || shared.neglected < 4 * shared.decided)
		return 0;
	c->undecided += shared.neglected;
	distrust(now);
	return 0;
}

#endif
