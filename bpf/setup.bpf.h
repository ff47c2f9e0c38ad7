/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The queues, made when pyland is loaded: one for each CPU, LLC and domain, and the two
 * that all share.
 */
#ifndef PYLAND_SETUP_BPF_H
#define PYLAND_SETUP_BPF_H

#include "state.bpf.h"

static long create_cpu_dsq(u64 cpu, void *context)
{
	struct pyland_cpu *c = cpu_state(cpu);
	s32 *error = context;

	*error = c ? scx_bpf_create_dsq(cpu, -1) : -22; /* -EINVAL */
	return *error != 0;
}

static long create_holding_dsq(u64 llc, void *context)
{
	s32 *error = context;

	*error = scx_bpf_create_dsq(HOLDING_DSQ + llc, -1);
	return *error != 0;
}

static long create_domain_dsq(u64 domain, void *context)
{
	s32 *error = context;

	*error = scx_bpf_create_dsq(DOMAIN_DSQ + domain, -1);
	return *error != 0;
}

static s32 create_queues(void)
{
	s32 error = 0;

	bpf_loop(config.nr_cpu_ids, create_cpu_dsq, &error, 0);
	if (!error)
		bpf_loop(config.nr_llcs, create_holding_dsq, &error, 0);
	if (!error)
		bpf_loop(PYLAND_NR_DOMAINS, create_domain_dsq, &error, 0);
	if (!error)
		error = scx_bpf_create_dsq(SHARED_DSQ, -1);
	if (!error)
		error = scx_bpf_create_dsq(SCHED_DSQ, -1);
	return error;
}

#endif
