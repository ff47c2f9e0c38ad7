/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The key and the slice of a task until its decision comes.
 */
#ifndef PYLAND_INTERIM_BPF_H
#define PYLAND_INTERIM_BPF_H

#include "asking.bpf.h"
#include "grants.bpf.h"
#include "slices.bpf.h"

/* A key that BPF works out is at most this many longest slices from the keys that run. */
#define INTERIM_SLICES	4

/* The key of a task until its decision comes. @ran_ns is CPU time that is not counted so far. */
static __noinline u64 interim_key(const struct task_struct *p, const struct task_ctx *t, u64 now,
				  u64 ran_ns)
{
	u64 newest_ns = vtime_of(t), lead_ns, least_ns, most_ns, key_ns, used_ns;

	/*
	 * The new policy does not know all queued tasks yet, and no key of it has run. So there is
	 * nothing to compare a key with: the task goes first.
	 */
	if (shared.handed_over != user.generation)
		return 0;
	if (user.wanted & PYLAND_WANT_ARRIVAL)
		return now;
	/* A task that ran before it was asked about does not go before a task that wakes up. */
	if (!t->vtime_known && !t->woke_up && t->total_runtime_ns)
		return newest_ns + (t->awake_runtime_ns < config.longest_ns ? t->awake_runtime_ns :
									      config.longest_ns);
	if (!t->vtime_known)
		return newest_ns - shared.lead_ns;
	used_ns = t->total_runtime_ns + ran_ns - t->key_runtime_ns;
	key_ns = vtime_after(t->key_ns, used_ns, weight_of(p, t), config.longest_ns);
	/*
	 * A task that wakes up has the lead of its last decision. While user space lags there is no
	 * next one: the CPU time that the task has used orders it alone. What a task used beyond a
	 * longest slice it used while no other task waited. Its key is old then, and gives it no
	 * right to go before tasks that wake up.
	 */
	lead_ns = INTERIM_SLICES * config.longest_ns;
	if (t->woke_up && !shared.lagging)
		lead_ns = t->lead_ns;
	else if (!t->woke_up && used_ns * 100 > config.longest_ns * (u64)weight_of(p, t))
		lead_ns = config.longest_ns;
	least_ns = newest_ns - lead_ns;
	if ((s64)(key_ns - least_ns) < 0)
		return least_ns;
	/*
	 * At the least weight, 10 ms move a key by a second. A task that slept does not wait behind
	 * the keys that run, whatever its last key was.
	 */
	most_ns = newest_ns + (t->woke_up ? 0 : INTERIM_SLICES * config.longest_ns);
	return (s64)(key_ns - most_ns) > 0 ? most_ns : key_ns;
}

/*
 * Called when a task goes to an idle CPU. If it wakes up, its key is of this wakeup, not of a
 * decision that ended long ago: a higher class may preempt it there, and then it is queued.
 */
static __always_inline void note_direct(const struct task_struct *p, struct task_ctx *t,
					bool wakes_up, u64 now)
{
	if (!wakes_up)
		return;
	t->woke_up = 1;
	if (still_lasts(p, t, now))
		return;
	end_grant(t);
	if (!t->vtime_known || shared.handed_over != user.generation)
		return;
	t->key_ns = vtime_of(t) - t->lead_ns;
	t->key_runtime_ns = t->total_runtime_ns;
}

/* By how much this key is before the keys that run: at most INTERIM_SLICES longest slices. */
static __always_inline u64 lead_of(const struct task_ctx *t, u64 key_ns)
{
	s64 lead_ns = vtime_of(t) - key_ns, most_ns = INTERIM_SLICES * config.longest_ns;

	if (lead_ns < 0)
		return 0;
	return lead_ns < most_ns ? lead_ns : most_ns;
}

/* The slice of a task until its decision comes. */
static __always_inline u64 interim_slice(const struct task_struct *p, const struct task_ctx *t)
{
	u64 usual_ns = shared.usual_ns;

	return weighted_slice(p, t, t->of_bpf || !usual_ns ? config.shortest_ns : usual_ns);
}

#endif
