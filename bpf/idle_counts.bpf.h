/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How many CPUs idle, by LLC: a look at it saves a search of the kernel's masks.
 */
#ifndef PYLAND_IDLE_COUNTS_BPF_H
#define PYLAND_IDLE_COUNTS_BPF_H

#include "state.bpf.h"

/* True if some CPU may idle. No idle CPU is overlooked; one that just got work may still count. */
static __always_inline bool some_cpu_idles(void)
{
	return READ_ONCE(shared.idle_llcs) != 0;
}

/*
 * The count of idle CPUs of an LLC has changed by this much. One count for the machine would be
 * written by all CPUs at each switch to or from idle; here they write it when an LLC has its first
 * idle CPU, or has none left.
 */
static __always_inline void count_idle(u32 llc, int by)
{
	struct pyland_llc *l = bpf_map_lookup_elem(&llcs, &llc);
	u64 bit = 1ULL << (llc % 64);
	int before;

	if (!l)
		return;
	before = __sync_fetch_and_add(&l->nr_idle, by);
	if (before == 0 && by > 0)
		__sync_fetch_and_or(&shared.idle_llcs, bit);
	/* With more than 64 LLCs some share a bit, which then stays. */
	if (before + by > 0 || by > 0 || config.nr_llcs > 64)
		return;
	__sync_fetch_and_and(&shared.idle_llcs, ~bit);
	/* Another CPU may have gone idle before the bit was cleared. */
	if (*(volatile int *)&l->nr_idle > 0)
		__sync_fetch_and_or(&shared.idle_llcs, bit);
}

/* At the start every CPU counts as idle until a task runs there. */
static __always_inline void note_idle(s32 cpu, struct pyland_cpu *c, bool idle)
{
	struct pyland_user_cpu *u = user_cpu(cpu);

	if (__sync_lock_test_and_set(&c->idle, idle) != idle)
		count_idle(c->llc, idle ? 1 : -1);
	if (u)
		u->idle = idle;
}

#endif
