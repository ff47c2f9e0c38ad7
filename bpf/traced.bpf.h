/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where `pyland trace` looks into the scheduler: the program of trace.bpf.c is attached to this
 * function of the running pyland. Without a trace the call does nothing; with its
 * arguments it takes about 27 instructions.
 */
#ifndef PYLAND_TRACED_BPF_H
#define PYLAND_TRACED_BPF_H

#include "state.bpf.h"
#include "trace_intf.h"

/* The compiler must pass the arguments although the function does not use them. */
APART int traced(u64 task, u64 dsq_id, u64 seq, u64 key_ns, u64 slice_ns)
{
	asm volatile("" ::"r"(task), "r"(dsq_id), "r"(seq), "r"(key_ns), "r"(slice_ns));
	return 0;
}

/* Which task, in one number: its id, PYLAND_TRACED_* and PYLAND_TRACED_FOR. */
static __always_inline u64 traced_task(const struct task_struct *p, const struct task_ctx *t,
				       u64 what)
{
	u64 bits = t->woke_up ? PYLAND_TRACED_WOKE_UP : 0;

	if (t->yielded)
		bits |= PYLAND_TRACED_YIELDED;
	if (t->preempted)
		bits |= PYLAND_TRACED_PREEMPTED;
	return (u32)p->pid | what << 32 | bits << 40;
}

#endif
