/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The callback of a CPU that goes idle or comes back: it notes that, and looks for work once more.
 */
#ifndef PYLAND_GOING_IDLE_BPF_H
#define PYLAND_GOING_IDLE_BPF_H

#include <linux/bpf.h>
#include "idle_counts.bpf.h"
#include "taking.bpf.h"
#include <bpf/bpf_tracing.h>

/*
 * A task can be queued between a CPU's last look and its idle bit. The kernel sets the bit before
 * it calls here (6.13 on), so either the CPU that queues the task sees the bit, or this function
 * sees the task.
 */
SEC("struct_ops/pyland_update_idle")
void BPF_PROG(pyland_update_idle, s32 cpu, bool idle)
{
	struct pyland_cpu *c = cpu_state(cpu);

	if (c)
		note_idle(cpu, c, idle);
	if (idle && c && work_for_idle_cpu(cpu, c->llc))
		scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
}

#endif
