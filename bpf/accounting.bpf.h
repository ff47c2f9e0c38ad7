/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Accounting of a task when it becomes runnable, runs, stops and sleeps. The kernel has callbacks
 * for the first and the last, too (runnable, quiescent). They are not used: each call into BPF
 * takes 200 instructions, and a switch of 9,700 instructions has five calls without them.
 */
#ifndef PYLAND_ACCOUNTING_BPF_H
#define PYLAND_ACCOUNTING_BPF_H

#include <linux/bpf.h>
#include "bandwidth.bpf.h"
#include "cgroup_weights.bpf.h"
#include "classes.bpf.h"
#include "histograms.bpf.h"
#include "kernel_work.bpf.h"
#include "quiet.bpf.h"
#include "records.bpf.h"
#include "runnable.bpf.h"
#include "slice_timers.bpf.h"
#include "taking.bpf.h"
#include "turns.bpf.h"
#include <bpf/bpf_tracing.h>

static __always_inline void note_sleep(const struct task_struct *p, struct task_ctx *t)
{
	if (user.wanted & PYLAND_WANT_EXTRAS) {
		u64 now = now_ns();

		if (t->slept_ns)
			t->sleep_interval_ns = average(t->sleep_interval_ns, now - t->slept_ns);
		t->slept_ns = now;
		t->average_runtime_ns = average(t->average_runtime_ns, t->awake_runtime_ns);
	}
	tell(PYLAND_WANT_SLEPT, PYLAND_EVENT_SLEPT, p, 0);
}

SEC("struct_ops/pyland_running")
void BPF_PROG(pyland_running, struct task_struct *p)
{
	s32 cpu = scx_bpf_task_cpu(p);
	struct pyland_cpu *c = this_cpu_state(), *task_cpu = cpu_state(cpu);
	struct pyland_user_cpu *u;
	struct task_ctx *t;
	bool waited, ordered;
	u64 slice_ns;

	if (is_scheduler(p)) {
		if (task_cpu)
			task_cpu->runs_scheduler = 1;
		scheduler_begins(now_ns());
		return;
	}
	t = task_state(p);
	if (!t || !c || !task_cpu)
		return;
	t->start_ns = now_ns();
	t->run_ns = 0;
	/* The kernel moves a running task to another group without an enqueue. */
	if (!t->weight_counted || has_moved(p, t))
		note_runnable(p, t, false, t->start_ns);
	stop_without_quota(p, t);
	waited = t->queue == QUEUE_ORDERED || t->queue == QUEUE_NEXT;
	ordered = waited && t->generation == user.generation;
	if (waited && (s64)(t->start_ns - t->decided_ns) > 0) {
		c->wait_cpu_ns += t->start_ns - t->decided_ns;
		c->waited_cpu++;
	}
	note_run(p, t, c, task_cpu, cpu);
	t->yielded = 0;
	t->preempted = 0;
	tell(PYLAND_WANT_RUNNING, PYLAND_EVENT_RUNNING, p, 0);
	c->nr_running++;
	task_cpu->running_rank = rank_of(t);
	if (task_cpu->idle)
		note_idle(cpu, task_cpu, false);
	task_cpu->running_sync_ns = t->sync_ns;
	task_cpu->woke_sync_ns = 0;
	/* A task that runs alone has a longest slice; when others come, only a usual one. */
	slice_ns = p->scx.slice != SLICE_INFINITE ? p->scx.slice : config.longest_ns;
	if (!waited && shared.usual_ns && shared.usual_ns < slice_ns)
		slice_ns = shared.usual_ns;
	/*
	 * The state of the task's CPU: another CPU may call here, to change the nice value or
	 * affinity. A task that did not wait has no present key: it is due after all tasks that
	 * wait.
	 */
	begin_turn(p, t, task_cpu, slice_ns,
		   ordered ? t->key_ns : vtime_of(t) + config.longest_ns);
	/* A task was put next only if no other task waited: it needs no look (500 instructions). */
	if (t->queue != QUEUE_NEXT)
		time_slice(cpu, task_cpu, t->start_ns);
	let_tick_stop(p, cpu, task_cpu);
	if (ordered && t->vtime_known && shared.handed_over == user.generation)
		note_vtime(t, t->key_ns);
	t->queue = QUEUE_NONE;
	u = user_cpu(cpu);
	if (u) {
		u->running_pid = p->pid;
		u->running_since_ns = t->start_ns;
		u->running_vtime_ns = task_cpu->running_vtime_ns;
	}
}

SEC("struct_ops/pyland_stopping")
void BPF_PROG(pyland_stopping, struct task_struct *p, bool runnable)
{
	struct pyland_cpu *c = this_cpu_state(), *task_cpu = cpu_state(scx_bpf_task_cpu(p));
	struct pyland_user_cpu *u;
	struct task_ctx *t;

	if (is_scheduler(p)) {
		if (task_cpu)
			task_cpu->runs_scheduler = 0;
		/* A thread that the policy has started is not the loop. */
		scheduler_pauses(now_ns(), runnable && p->pid == p->tgid);
		t = task_state(p);
		if (t)
			t->preempted = runnable && give_slice_back(p);
		return;
	}
	t = task_state(p);
	if (!t || !c || !task_cpu)
		return;
	t->stop_ns = now_ns();
	c->nr_running--;
	task_cpu->running_since_ns = 0;
	if (task_cpu->woke_sync_ns)
		t->sync_ns = average(t->sync_ns, t->stop_ns - task_cpu->woke_sync_ns + 1);
	u = user_cpu(scx_bpf_task_cpu(p));
	if (u)
		u->running_pid = 0;
	count_turn(t, u, t->stop_ns);
	note_stop(p, t, c, t->run_ns, runnable);
	tell(PYLAND_WANT_STOPPED, PYLAND_EVENT_STOPPED, p, t->run_ns);
	if (runnable) {
		if (!is_kernel_work(p, t))
			t->preempted = give_slice_back(p);
		return;
	}
	note_not_runnable(t);
	/* A change of the nice value or affinity also stops a task, which then does not sleep. */
	if (p->__state)
		note_sleep(p, t);
}

/* The task's weight has changed: what the policy concluded from it may be wrong. */
SEC("struct_ops/pyland_set_weight")
void BPF_PROG(pyland_set_weight, struct task_struct *p, u32 weight)
{
	tell(PYLAND_WANT_CHANGED, PYLAND_EVENT_CHANGED, p, 0);
}

/* The CPUs that the task may use have changed. */
SEC("struct_ops/pyland_set_cpumask")
void BPF_PROG(pyland_set_cpumask, struct task_struct *p, const struct cpumask *allowed)
{
	tell(PYLAND_WANT_CHANGED, PYLAND_EVENT_CHANGED, p, 0);
}

/* A waiting task can leave sched_ext's class; a running task has called stopping before that. */
SEC("struct_ops/pyland_disable")
void BPF_PROG(pyland_disable, struct task_struct *p)
{
	struct task_ctx *t = task_state(p);

	if (!t)
		return;
	t->queue = QUEUE_NONE;
	t->ready_ns = 0;
	note_not_runnable(t);
}

#endif
