/* SPDX-License-Identifier: GPL-2.0-only */
/* When a task that wakes up preempts a running task. */
#ifndef PYLAND_PREEMPTION_BPF_H
#define PYLAND_PREEMPTION_BPF_H

#include "context.bpf.h"
#include "slice_timers.bpf.h"
#include "userspace.bpf.h"

/* True if the task that runs on @cpu does the wakeup: the program runs there, in no interrupt. */
static __always_inline bool is_of_waker(s32 cpu)
{
	return cpu == (s32)bpf_get_smp_processor_id() && !in_interrupt();
}

/*
 * Preempts the task that runs on @cpu for the task @t with this key, if the running task is due
 * later by more than the policy's margin. It also does so if the running task's domain has a lower
 * rank, and the domain of @t lets its tasks preempt such tasks.
 *
 * A task that does not compute runs for a moment first: else tasks that send each other messages
 * would be preempted at each message. A waker that says that it is about to sleep (@sync) has a
 * shortest slice to do so: some wakers never sleep.
 */
APART int preempt_for(const struct task_ctx *t __arg_nonnull, u64 vtime_ns, s32 cpu, u64 now,
		      bool sync)
{
	u64 least_ns = sync ? config.shortest_ns : 0;
	struct pyland_cpu *c = cpu_state(cpu), *mine = this_cpu_state();
	s64 ran_ns;
	s32 rank = rank_of(t);
	bool computes;

	if (!c || !mine || !c->running_since_ns || c->running_rank > rank)
		return false;
	if (c->running_rank < rank && preempts_by_rank(t)) {
		preempt_soon(cpu, c, now, 0, vtime_ns);
		mine->preemptions++;
		return true;
	}
	/* Tasks that wake up together: the first one has this CPU as soon as it looks. */
	if (c->kicked && !is_due_later(c->next_vtime_ns, 0, vtime_ns, user.margin_ns))
		return false;
	ran_ns = now - c->running_since_ns;
	if (!is_due_later(c->running_vtime_ns, ran_ns, vtime_ns, user.margin_ns))
		return false;
	computes = c->running_awake_ns + ran_ns > config.longest_ns;
	if (ran_ns < (s64)pause_ns() && !computes)
		return false;
	mine->preemptions++;
	if (sync || !computes)
		preempt_soon(cpu, c, now, ran_ns < (s64)least_ns ? least_ns - ran_ns : 0,
			     vtime_ns);
	else if (is_of_waker(cpu))
		preempt_after(cpu, c, now, COMPUTING_DELAY_NS, vtime_ns);
	else
		kick_for(cpu, c, vtime_ns);
	return true;
}

/* True if the CPU looks into this queue and the task may run on it. */
APART int takes_from(s32 cpu, u64 dsq_id, const struct task_struct *p __arg_trusted)
{
	if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
		return false;
	if (dsq_id == (u64)cpu)
		return true;
	return dsq_id == OUTSIDE_DSQ ||
	       (dsq_id >= DOMAIN_DSQ && dsq_id < DOMAIN_DSQ + PYLAND_NR_DOMAINS &&
		serves(cpu, dsq_id - DOMAIN_DSQ));
}

#endif
