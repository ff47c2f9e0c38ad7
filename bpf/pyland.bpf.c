// SPDX-License-Identifier: GPL-2.0-only
/*
 * pyland's kernel side: forwards runnable tasks to user space and carries its decisions out. The
 * callbacks are in the order in which a task meets them. Callbacks that only count are in
 * accounting.bpf.h, those that end a slice early in slice_ends.bpf.h. The callback of a CPU that
 * goes idle is in going_idle.bpf.h, the begin and the end of a task in setup.bpf.h.
 *
 * A forwarded task is never only in user space: it waits in a holding DSQ while its record travels,
 * and a decision moves it on. Whatever happens to user space, any CPU can take the holding DSQ's
 * head, so no task is lost and none starves.
 */
#include <linux/bpf.h>
#include "accounting.bpf.h"
#include "decisions.bpf.h"
#include "fallback.bpf.h"
#include "going_idle.bpf.h"
#include "group_pass.bpf.h"
#include "heartbeat.bpf.h"
#include "histograms.bpf.h"
#include "holding.bpf.h"
#include "kernel_work.bpf.h"
#include "performance.bpf.h"
#include "put_next.bpf.h"
#include "queues.bpf.h"
#include "setup.bpf.h"
#include "slice_ends.bpf.h"
#include "slices.bpf.h"
#include "taking.bpf.h"
#include "turns.bpf.h"
#include "userspace_cpus.bpf.h"
#include <bpf/bpf_tracing.h>

char _license[] SEC("license") = "GPL";

SEC("struct_ops/pyland_select_cpu")
s32 BPF_PROG(pyland_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool sync = wake_flags & kernel_enum(scx_wake_flags, SCX_WAKE_SYNC), wakes_up;
	struct pyland_cpu *c;
	struct task_ctx *t;
	u64 queue, now;
	s32 cpu;

	if (is_scheduler(p))
		return cpu_of_user_space(p, prev_cpu);
	if (waits_for_quota(p))
		return prev_cpu;
	c = this_cpu_state();
	t = task_state(p);
	if (!c || !t)
		return prev_cpu;
	if ((user.wanted & PYLAND_WANT_EXTRAS) &&
	    (wake_flags & kernel_enum(scx_wake_flags, SCX_WAKE_TTWU)))
		note_waker(t, now_ns());
	if (sync && prev_cpu == (s32)bpf_get_smp_processor_id()) {
		now = now_ns();
		if (put_next(p, t, prev_cpu, c, now)) {
			note_runnable(p, t, true, now);
			return prev_cpu;
		}
	}
	/* If no CPU idles, skip the kernel's search: it would take 400 instructions. */
	cpu = -1;
	if (some_cpu_idles()) {
		if (sets_domains())
			cpu = is_asked_first(t, prev_cpu, now_ns(), 0) ?
				      -1 :
				      pick_for_task(p, t, prev_cpu);
		else
			cpu = select_near(p, t, prev_cpu, wake_flags);
	}
	if (cpu < 0) {
		t->sync_cpu = sync ? bpf_get_smp_processor_id() + 1 : 0;
		return prev_cpu;
	}

	/* Tasks that already wait for this CPU go first. The kick wakes the CPU for them. */
	queue = sets_domains() ? queue_unplaced(p, t, cpu) : queue_at(cpu);
	if (scx_bpf_dsq_nr_queued(cpu) > 0 || scx_bpf_dsq_nr_queued(queue) > 0) {
		scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
		return cpu;
	}
	dsq_insert(p, kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL),
		   weighted_slice(p, t, config.longest_ns), 0);
	c->direct++;
	traced(traced_task(p, t, PYLAND_TRACED_IDLE_CPU), cpu, 0, 0, config.longest_ns);
	now = now_ns();
	wakes_up = wake_flags & kernel_enum(scx_wake_flags, SCX_WAKE_TTWU);
	note_direct(p, t, wakes_up, now);
	note_runnable(p, t, wakes_up, now);
	return cpu;
}

SEC("struct_ops/pyland_enqueue")
void BPF_PROG(pyland_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 cpu_selected = kernel_enum(scx_enq_flags, SCX_ENQ_CPU_SELECTED);
	u64 local = kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL);
	s32 cpu = scx_bpf_task_cpu(p), idle_cpu;
	struct pyland_cpu *c = this_cpu_state(), *task_cpu = cpu_state(cpu);
	bool wakes_up, last, leaves;
	struct task_ctx *t;
	u32 sync_cpu;
	u64 now;

	t = task_state(p);
	now = now_ns();
	if (is_scheduler(p)) {
		dsq_insert(p, SCHED_DSQ, SCHED_SLICE_NS, enq_flags);
		if (t && t->preempted)
			move_user_space(p, cpu, now);
		return;
	}
	wakes_up = enq_flags & kernel_enum(scx_enq_flags, SCX_ENQ_WAKEUP);
	if (t && c)
		note_runnable(p, t, wakes_up, now);
	if (t && throttle(p, t, now, enq_flags)) {
		note_not_runnable(t);
		return;
	}
	/* The task leaves if this CPU is not one of its domain: dispatch has ended its turn. */
	leaves = t && sets_domains() && !wakes_up && !is_admitted(p, cpu);
	/* No other task waits, and dispatch gave the task no new slice: it says there why. */
	last = enq_flags & kernel_enum(scx_enq_flags, SCX_ENQ_LAST);
	leaves = leaves || (last && leaves_cpu(p, t, task_cpu, cpu, now));
	/* After such an enqueue the kernel would let the CPU idle: the kick makes it look again. */
	if (last)
		scx_bpf_kick_cpu(cpu, 0);
	if (!t || !c || !task_cpu || is_migration_disabled(p) || (last && !leaves)) {
		dsq_insert(p, local, weighted_slice(p, t, config.shortest_ns), enq_flags);
		return;
	}
	sync_cpu = t->sync_cpu;
	t->sync_cpu = 0;
	t->queue = QUEUE_NONE;
	t->woke_up = wakes_up;
	if (is_kernel_work(p, t)) {
		c->kernel++;
		enqueue_kernel_work(p, t, cpu, now, enq_flags);
		return;
	}

	/* select_cpu did not run for this task, or a higher class has just taken its CPU. */
	if (((cpu_selected && !(enq_flags & cpu_selected) && !scx_bpf_task_running(p)) ||
	     t->preempted || leaves) && !is_asked_first(t, cpu, now, 0) &&
	    !scx_bpf_dsq_nr_queued(queue_unplaced(p, t, cpu))) {
		idle_cpu = pick_for_task(p, t, cpu);
		if (idle_cpu >= 0) {
			dsq_insert(p, kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL_ON) | idle_cpu,
				   weighted_slice(p, t, config.longest_ns), enq_flags);
			scx_bpf_kick_cpu(idle_cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
			c->direct++;
			note_direct(p, t, wakes_up, now);
			traced(traced_task(p, t, PYLAND_TRACED_IDLE_CPU), idle_cpu, 0, 0,
			       config.longest_ns);
			return;
		}
	}

	queue_task(p, t, cpu, task_cpu, c, now, enq_flags, sync_cpu);
	note_queue(p, t);
	end_quiet(now);
	note_group_waits();
}

SEC("struct_ops/pyland_dispatch")
void BPF_PROG(pyland_dispatch, s32 cpu, struct task_struct *prev)
{
	struct pyland_cpu *c = cpu_state(cpu);
	bool prev_queued, prev_runnable, just_ran, hogs, due;
	struct task_ctx *t;
	u64 now, asked_pos;
	int lags;

	if (!c)
		return;
	/* User space that used its turn up without ending a cycle lets others go first. */
	now = now_ns();
	just_ran = c->sched_ran_last;
	hogs = just_ran && user.cycles == c->sched_cycles_seen &&
	       shared.cycle_ran_ns + now - shared.clock_ns >= SCHED_SLICE_NS;
	c->sched_ran_last = 0;
	apply_performance(c, cpu);

	prev_queued = prev && (prev->scx.flags & kernel_enum(scx_ent_flags, SCX_TASK_QUEUED));
	prev_runnable = prev_queued && !is_scheduler(prev);
	t = prev_runnable ? task_state(prev) : NULL;
	/* A task that has to wait for its quota is queued again after this call. */
	if (prev_runnable && waits_for_quota(prev) && !is_migration_disabled(prev))
		prev_queued = prev_runnable = false;
	/* So is a task that cannot go on while the policy is asked, or that goes to a faster CPU. */
	if (prev_runnable && leaves_cpu(prev, t, c, cpu, now))
		prev_queued = prev_runnable = false;
	/* Read before the drain: a decision that comes after the drain is not carried out yet. */
	asked_pos = *(volatile u64 *)&shared.asked_pos;
	if (!apply_decisions(cpu, prev_runnable))
		asked_pos = 0;

	lags = held_too_long(cpu, now, hogs, asked_pos);
	if (lags && !c->last_was_fallback && take_lagging(cpu, lags, now)) {
		c->last_was_fallback = 1;
		return;
	}
	c->last_was_fallback = 0;
	due = !hogs && ((scheduler_is_due(now) && may_run_user_space(cpu, now)) ||
			wakeups_go_first(cpu));
	if (due && run_scheduler(cpu, just_ran))
		return;
	if (due && prev_queued && !prev_runnable && shared.wakeup_waits &&
	    keep_scheduler(c, prev, now))
		return;
	if (prev_runnable && t && goes_on(prev, t, cpu, now))
		return;
	if (take_ordered(cpu, now))
		return;
	if (!hogs && (scheduler_is_due(now) || may_run_user_space(cpu, now)) &&
	    run_scheduler(cpu, just_ran))
		return;
	if (lags && take_lagging(cpu, lags, now))
		return;
	if (prev_runnable) {
		bool waits = scx_bpf_dsq_nr_queued(HOLDING_DSQ + c->llc) > 0;

		c->kicked = 0;
		/* Its domain has left this CPU: it is queued again after this call. */
		if (sets_domains() && !is_migration_disabled(prev) && !is_admitted(prev, cpu)) {
			take_elsewhere(cpu, now);
			return;
		}
		if (t && asks_alone(prev, t, cpu, now))
			return;
		if (!waits && may_stop_tick(c, prev)) {
			/* Without a new slice it is enqueued (SCX_ENQ_LAST) and runs here. */
			scx_bpf_kick_cpu(cpu, 0);
			return;
		}
		task_set_slice(prev, weighted_slice(prev, t, waits ? config.shortest_ns :
								     config.longest_ns));
		return;
	}
	if (take_elsewhere(cpu, now))
		return;
	if (take_held(cpu)) {
		c->fallback_idle++;
		return;
	}
	if (hogs)
		run_scheduler(cpu, false);
}

SEC(".struct_ops.link")
struct sched_ext_ops pyland_ops = {
	.select_cpu = (void *)pyland_select_cpu,
	.enqueue = (void *)pyland_enqueue,
	.dispatch = (void *)pyland_dispatch,
	.tick = (void *)pyland_tick,
	.yield = (void *)pyland_yield,
	.running = (void *)pyland_running,
	.stopping = (void *)pyland_stopping,
	.update_idle = (void *)pyland_update_idle,
	.disable = (void *)pyland_disable,
	.set_weight = (void *)pyland_set_weight,
	.set_cpumask = (void *)pyland_set_cpumask,
	.cgroup_set_weight = (void *)pyland_cgroup_set_weight,
	.cgroup_set_bandwidth = (void *)pyland_cgroup_set_bandwidth,
	.init_task = (void *)pyland_init_task,
	.exit_task = (void *)pyland_exit_task,
	.init = (void *)pyland_init,
	.exit = (void *)pyland_exit,
	.timeout_ms = 10000,
	.name = "pyland",
};
