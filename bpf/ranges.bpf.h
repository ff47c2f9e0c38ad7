/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queues of one kind, numbered one after another: of all CPUs, LLCs or domains.
 */
#ifndef PYLAND_RANGES_BPF_H
#define PYLAND_RANGES_BPF_H

#include "idle_counts.bpf.h"

struct range {
	u64 first_dsq;
	u32 nr;
	u32 begin;		/* where the search begins: near the CPU */
	bool found;
};

static __always_inline u64 dsq_of_range(const struct range *range, u32 i)
{
	u32 at = range->begin + i;

	return range->first_dsq + (at < range->nr ? at : at - range->nr);
}

static long is_queued_at(u64 i, void *context)
{
	struct range *range = context;

	range->found = scx_bpf_dsq_nr_queued(dsq_of_range(range, i)) > 0;
	return range->found;
}

static long take_at(u64 i, void *context)
{
	struct range *range = context;
	u64 dsq_id = dsq_of_range(range, i);

	range->found = scx_bpf_dsq_nr_queued(dsq_id) > 0 && dsq_move_to_local(dsq_id);
	return range->found;
}

/* True if a task waits in one of these queues. */
static __always_inline bool some_queued(u64 first_dsq, u32 nr)
{
	struct range range = { .first_dsq = first_dsq, .nr = nr };

	bpf_loop(nr, is_queued_at, &range, 0);
	return range.found;
}

/* Takes the first task that this CPU may take from one of these queues. */
static __always_inline bool take_of_range(u64 first_dsq, u32 nr, u32 begin)
{
	struct range range = { .first_dsq = first_dsq, .nr = nr, .begin = begin };

	bpf_loop(nr, take_at, &range, 0);
	return range.found;
}

#endif
