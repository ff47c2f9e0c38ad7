/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How long a slice is: that of a decision within limits, or the longest or shortest one by the
 * task's weight. slice_timers.bpf.h ends slices between two ticks.
 */
#ifndef PYLAND_SLICES_BPF_H
#define PYLAND_SLICES_BPF_H

#include "state.bpf.h"

APART u64 clamp_slice(u64 slice_ns)
{
	return slice_within(slice_ns, config.longest_ns);
}

static __always_inline u64 weighted_slice(const struct task_struct *p, const struct task_ctx *t,
					  u64 slice_ns)
{
	return clamp_slice(slice_of_weight(slice_ns, weight_of(p, t)));
}

#endif
