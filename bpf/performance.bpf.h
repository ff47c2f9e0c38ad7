/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The performance target of a CPU (scx_bpf_cpuperf_set).
 */
#ifndef PYLAND_PERFORMANCE_BPF_H
#define PYLAND_PERFORMANCE_BPF_H

#include "state.bpf.h"

/*
 * Sets the performance target when the CPU dispatches, because the kernel wants the CPU itself to
 * do that. Without a target of the policy a CPU is fast: otherwise the target of an earlier
 * scheduler would stay.
 */
static __always_inline void apply_performance(struct pyland_cpu *c, s32 cpu)
{
	struct pyland_user_cpu *u = user_cpu(cpu);
	u32 wanted = u ? READ_ONCE(u->performance) : 0;

	if (!wanted)
		wanted = PYLAND_FULL_PERFORMANCE + 1;
	if (wanted == c->performance_applied)
		return;
	c->performance_applied = wanted;
	if (wanted <= PYLAND_FULL_PERFORMANCE + 1 && bpf_ksym_exists(scx_bpf_cpuperf_set))
		scx_bpf_cpuperf_set(cpu, wanted - 1);
}

#endif
