/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * On which CPU user space wakes up. Which CPUs may run it, and when, is in userspace.bpf.h.
 */
#ifndef PYLAND_USERSPACE_CPUS_BPF_H
#define PYLAND_USERSPACE_CPUS_BPF_H

#include "idle.bpf.h"
#include "userspace.bpf.h"

struct find_for_user_space {
	const struct task_struct *p;
	s32 near_cpu;
	s32 idle_cpu;		/* reserved for user space; negative: none idles */
	s32 any_cpu;		/* the first that user space may use; negative: none */
};

static long is_for_user_space(u64 i, void *context)
{
	struct find_for_user_space *find = context;
	u32 cpu = find->near_cpu + i;
	struct pyland_cpu *c;

	if (cpu >= config.nr_cpu_ids)
		cpu -= config.nr_cpu_ids;
	c = cpu_state(cpu);
	if (!c || !is_online(cpu) || is_left_free(cpu) ||
	    !bpf_cpumask_test_cpu(cpu, find->p->cpus_ptr))
		return 0;
	if (find->any_cpu < 0)
		find->any_cpu = cpu;
	if (!c->idle || !scx_bpf_test_and_clear_cpu_idle(cpu))
		return 0;
	find->idle_cpu = cpu;
	return 1;
}

/* An idle CPU for user space, reserved for it; if none idles, any CPU or, with @idle, none (-1). */
static __always_inline s32 find_cpu_for_user_space(const struct task_struct *p, s32 near_cpu,
						   bool idle)
{
	struct find_for_user_space find = {
		.p = p,
		.near_cpu = near_cpu,
		.idle_cpu = -1,
		.any_cpu = -1,
	};

	bpf_loop(config.nr_cpu_ids, is_for_user_space, &find, 0);
	return find.idle_cpu >= 0 || idle ? find.idle_cpu : find.any_cpu;
}

/* An idle CPU for user space, this one first, reserved for it; negative if there is none. */
static __always_inline s32 idle_cpu_for_user_space(const struct task_struct *p, s32 near_cpu)
{
	s32 cpu;

	if (sets_domains()) {
		cpu = find_cpu_for_user_space(p, near_cpu, true);
		if (cpu >= 0 || !user_space_lags())
			return cpu;
	}
	if (bpf_cpumask_test_cpu(near_cpu, p->cpus_ptr) &&
	    scx_bpf_test_and_clear_cpu_idle(near_cpu))
		return near_cpu;
	return pick_idle_cpu(p->cpus_ptr, near_cpu);
}

/*
 * The CPU on which user space wakes up: where it ran last, and where its cache is warm. If the
 * policy leaves that CPU free, another one, which may be busy.
 */
static __always_inline s32 cpu_of_user_space(const struct task_struct *p, s32 prev_cpu)
{
	s32 cpu = is_left_free(prev_cpu) ? find_cpu_for_user_space(p, prev_cpu, false) : -1;

	return cpu >= 0 ? cpu : prev_cpu;
}

/* Wakes an idle CPU that user space may use: this one if it idles. */
static __always_inline void wake_cpu_for_user_space(void)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	s32 cpu = -1;

	if (!bpf_iter_scx_dsq_new(&it, SCHED_DSQ, 0)) {
		p = bpf_iter_scx_dsq_next(&it);
		if (p)
			cpu = idle_cpu_for_user_space(p, bpf_get_smp_processor_id());
	}
	bpf_iter_scx_dsq_destroy(&it);
	if (cpu < 0)
		return;
	shared.due_ns = DUE_AT_ONCE;
	scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
}

/*
 * Called when a task was forwarded. A CPU may idle although the task waits: the task may not run on
 * it. That CPU runs user space at once.
 */
static __noinline void wake_user_space(void)
{
	if (some_cpu_idles() && scheduler_waits())
		wake_cpu_for_user_space();
}

#endif
