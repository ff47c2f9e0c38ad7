// SPDX-License-Identifier: GPL-2.0-only
/*
 * pyland's kernel side: forwards runnable tasks to user space and carries its
 * decisions out. The callbacks stand in the order in which a task meets them.
 *
 * A forwarded task is never only in user space: it waits in a holding DSQ while
 * its record travels, and a decision moves it on. Whatever happens to user space,
 * any CPU can take the holding DSQ's head, so no task is lost and none starves.
 */
#include <linux/bpf.h>
#include "decisions.bpf.h"
#include "heartbeat.bpf.h"
#include "holding.bpf.h"
#include "queues.bpf.h"
#include "records.bpf.h"
#include "setup.bpf.h"
#include "slices.bpf.h"
#include <bpf/bpf_tracing.h>

char _license[] SEC("license") = "GPL";

SEC("struct_ops/pyland_select_cpu")
s32 BPF_PROG(pyland_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct pyland_cpu *c;
	u64 in_node = 0;
	s32 cpu;

	if (is_scheduler(p))
		return prev_cpu;
	if (config.numa_local && config.idle_per_node)
		in_node = kernel_enum(scx_pick_idle_cpu_flags, SCX_PICK_IDLE_IN_NODE);
	cpu = select_idle_cpu(p, prev_cpu, wake_flags, in_node);
	if (cpu < 0 && in_node)
		cpu = select_idle_cpu(p, prev_cpu, wake_flags, 0);
	if (cpu < 0)
		return prev_cpu;

	/* Whoever waits for this CPU was there first. The kick wakes it for them. */
	if (scx_bpf_dsq_nr_queued(cpu) > 0 || scx_bpf_dsq_nr_queued(SHARED_DSQ) > 0) {
		scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
		return cpu;
	}
	dsq_insert(p, kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL),
		   weighted_slice(p, config.slice_ns), 0);
	c = this_cpu_state();
	if (c)
		c->direct++;
	return cpu;
}

SEC("struct_ops/pyland_enqueue")
void BPF_PROG(pyland_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 cpu_selected = kernel_enum(scx_enq_flags, SCX_ENQ_CPU_SELECTED);
	u64 local = kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL);
	s32 cpu = scx_bpf_task_cpu(p), idle_cpu;
	struct pyland_cpu *c = this_cpu_state(), *task_cpu = cpu_state(cpu);
	struct task_ctx *t;
	u64 now;

	if (is_scheduler(p)) {
		dsq_insert(p, SCHED_DSQ, SCHED_SLICE_NS, enq_flags);
		return;
	}
	t = task_state(p);
	if (!t || !c || !task_cpu || is_migration_disabled(p)) {
		dsq_insert(p, local, weighted_slice(p, config.slice_min_ns), enq_flags);
		return;
	}
	now = now_ns();
	t->queue = QUEUE_NONE;
	t->seq++;
	t->enqueue_ns = now;
	t->woke_up = !!(enq_flags & kernel_enum(scx_enq_flags, SCX_ENQ_WAKEUP));
	if (t->kernel_helper || ((p->flags & PF_KTHREAD) && p->nr_cpus_allowed == 1)) {
		/*
		 * The machine's own work: user space itself may be waiting for it. But
		 * khugepaged may go on for seconds: slice by slice, as all others.
		 */
		c->kernel++;
		if (t->woke_up)
			dsq_insert(p, local, weighted_slice(p, config.slice_ns),
				   enq_flags | kernel_enum(scx_enq_flags, SCX_ENQ_PREEMPT));
		else if (t->kernel_helper)
			enqueue_undecided(p, t, enq_flags);
		else
			dsq_insert(p, local, weighted_slice(p, config.slice_ns), enq_flags);
		return;
	}

	/* select_cpu did not run for this one, or found the CPU it wanted taken. */
	if (cpu_selected && !(enq_flags & cpu_selected) && !scx_bpf_task_running(p) &&
	    !scx_bpf_dsq_nr_queued(SHARED_DSQ)) {
		idle_cpu = pick_idle_cpu(p->cpus_ptr, cpu);
		if (idle_cpu >= 0) {
			dsq_insert(p, kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL_ON) | idle_cpu,
				   weighted_slice(p, config.slice_ns), enq_flags);
			scx_bpf_kick_cpu(idle_cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
			c->direct++;
			return;
		}
	}

	if (go_on(p, t, cpu, now, enq_flags)) {
		c->continued++;
		time_slice(cpu, task_cpu, now);
		return;
	}
	if (shared.late || (s64)(shared.distrust_until_ns - now) > 0) {
		c->fallback_lag++;
		enqueue_undecided(p, t, enq_flags);
		return;
	}
	t->queue = QUEUE_HELD;
	t->holding_llc = task_cpu->llc;
	if (!forward(p, t, cpu, enq_flags)) {
		c->fallback_full++;
		enqueue_undecided(p, t, enq_flags);
		return;
	}
	c->forwarded++;
	if (t->woke_up || !t->vtime_known ||
	    (s64)(next_vtime(p, t, p->scx.dsq_vtime) - vtime_now()) <= 0)
		shared.hurry = 1;
	t->queued_runtime_ns = t->total_runtime_ns;
	dsq_insert(p, HOLDING_DSQ + t->holding_llc, weighted_slice(p, config.slice_min_ns),
		   enq_flags);
	time_slice(cpu, task_cpu, now);

	/*
	 * Every CPU may be in the middle of a long slice, and nobody would run user
	 * space before its end. A waking task is worth an interruption, though not
	 * too often, and only of a task that computes: others make room by themselves.
	 */
	if (!t->woke_up)
		return;
	if (!shared.wakeup_waits)
		shared.wakeup_waits = 1;
	if (!task_cpu->running_since_ns ||
	    (!task_cpu->running_computes &&
	     (s64)(now - task_cpu->running_since_ns) <= (s64)pause_ns()))
		return;
	shared.needed = 1;
	if (may_interrupt(now) && scheduler_waits()) {
		c->wakeup_kicks++;
		shared.last_kick_ns = now;
		interrupt_soon(cpu, task_cpu, now);
	}
}

/* Here and not where the policy asks: the kernel wants it done by the CPU itself. */
static void apply_performance(struct pyland_cpu *c, s32 cpu)
{
	u32 wanted = c->performance;

	if (wanted == c->performance_applied)
		return;
	c->performance_applied = wanted;
	if (wanted && wanted <= PYLAND_FULL_PERFORMANCE + 1 && bpf_ksym_exists(scx_bpf_cpuperf_set))
		scx_bpf_cpuperf_set(cpu, wanted - 1);
}

SEC("struct_ops/pyland_dispatch")
void BPF_PROG(pyland_dispatch, s32 cpu, struct task_struct *prev)
{
	struct pyland_cpu *c = cpu_state(cpu);
	bool prev_queued, prev_runnable, just_ran, hogs, late, applied, due;
	u64 now, enqueue_ns;

	if (!c)
		return;
	/* User space that used its turn up without ending a cycle lets others go first. */
	now = now_ns();
	just_ran = c->sched_ran_last;
	hogs = just_ran && shared.cycles == c->sched_cycles_seen &&
	       shared.cycle_ran_ns + now - shared.clock_ns >= SCHED_SLICE_NS;
	c->sched_ran_last = 0;
	apply_performance(c, cpu);

	prev_queued = prev && (prev->scx.flags & kernel_enum(scx_ent_flags, SCX_TASK_QUEUED));
	prev_runnable = prev_queued && !is_scheduler(prev);
	applied = apply_decisions(cpu, prev_runnable);

	late = held_too_long(cpu, now, hogs, applied);
	if (late && !c->last_was_fallback && take_held(cpu)) {
		c->fallback_lag++;
		c->last_was_fallback = 1;
		return;
	}
	c->last_was_fallback = 0;
	due = !hogs && (scheduler_is_due(now) || wakeups_go_first(cpu));
	if (due && run_scheduler(c, just_ran))
		return;
	if (due && prev_queued && !prev_runnable && shared.wakeup_waits &&
	    keep_scheduler(c, prev, now))
		return;
	if (take_decided(cpu))
		return;
	/* There is no order among one task, and any free CPU does for a policy that names none. */
	if (!prev_runnable && !shared.places &&
	    scx_bpf_dsq_nr_queued(HOLDING_DSQ + c->llc) == 1 &&
	    dsq_move_to_local(HOLDING_DSQ + c->llc)) {
		c->alone++;
		return;
	}
	if (!hogs && run_scheduler(c, just_ran))
		return;
	if (late && take_held(cpu)) {
		c->fallback_lag++;
		return;
	}
	if (prev_runnable) {
		bool waits = scx_bpf_dsq_nr_queued(HOLDING_DSQ + c->llc) > 0;

		task_set_slice(prev, weighted_slice(prev, waits ? config.slice_min_ns :
						    config.slice_ns));
		return;
	}
	if (take_of_any_domain())
		return;
	enqueue_ns = oldest_held_ns(c->llc);
	if (take_held(cpu)) {
		c->fallback_idle++;
		if (applied)
			note_neglected(c, enqueue_ns, now);
		return;
	}
	if (hogs)
		run_scheduler(c, false);
}

/* Records that came while user space ran, or soon after, wait no longer than this. */
SEC("struct_ops/pyland_tick")
void BPF_PROG(pyland_tick, struct task_struct *p)
{
	u64 now = now_ns();

	if (is_scheduler(p) || !may_interrupt(now) || !scheduler_is_due(now) ||
	    !scheduler_waits() || !scheduler_has_work(true))
		return;
	/* One CPU is enough, and ticks come to all at about the same time. */
	shared.last_kick_ns = now;
	task_set_slice(p, 0);
}

/* There is nobody to yield to by name: the kernel asks that for its own class alone. */
SEC("struct_ops/pyland_yield")
bool BPF_PROG(pyland_yield, struct task_struct *from, struct task_struct *to)
{
	struct task_ctx *t = task_state(from);

	if (to)
		return false;
	if (t)
		t->yielded = 1;
	task_set_slice(from, 0);
	return true;
}

SEC("struct_ops/pyland_runnable")
void BPF_PROG(pyland_runnable, struct task_struct *p, u64 enq_flags)
{
	struct pyland_cpu *c = this_cpu_state();
	struct task_ctx *t = task_state(p);

	if (!t || !c || is_scheduler(p))
		return;
	if (enq_flags & kernel_enum(scx_enq_flags, SCX_ENQ_WAKEUP)) {
		u64 now = now_ns();

		if (shared.wanted & PYLAND_WANT_EXTRAS)
			note_wakeup(t, now);
		t->awake_runtime_ns = 0;
		t->wakeup_ns = now;
	}
	t->weight_counted = p->scx.weight;
	c->nr_runnable++;
	c->weight_runnable += t->weight_counted;
}

SEC("struct_ops/pyland_running")
void BPF_PROG(pyland_running, struct task_struct *p)
{
	struct pyland_cpu *c = this_cpu_state(), *task_cpu = cpu_state(scx_bpf_task_cpu(p));
	struct task_ctx *t;
	bool decided;
	u64 slice_ns;

	if (is_scheduler(p)) {
		scheduler_begins(now_ns());
		return;
	}
	t = task_state(p);
	if (!t || !c || !task_cpu)
		return;
	t->start_ns = now_ns();
	decided = t->queue == QUEUE_DECIDED;
	if (decided && (s64)(t->start_ns - t->decided_ns) > 0) {
		c->wait_cpu_ns += t->start_ns - t->decided_ns;
		c->waited_cpu++;
	}
	t->queue = QUEUE_NONE;
	t->yielded = 0;
	c->nr_running++;
	/* By the task's CPU: another one calls here when its nice value or affinity changes. */
	task_cpu->running_since_ns = t->start_ns;
	task_cpu->running_awake_ns = t->awake_runtime_ns;
	task_cpu->running_computes = t->awake_runtime_ns > pause_ns();
	/* Who waited for nobody has a longest slice: when others come, it is as long as theirs. */
	slice_ns = p->scx.slice;
	if (!decided && shared.slice_ns && shared.slice_ns < slice_ns)
		slice_ns = shared.slice_ns;
	task_cpu->running_slice_ns = slice_ns > config.slice_min_ns ? slice_ns : config.slice_min_ns;
	time_slice(scx_bpf_task_cpu(p), task_cpu, t->start_ns);
	/* One that did not have to wait has no key of now, and is due after all that do. */
	task_cpu->running_vtime_ns = decided && t->generation == shared.generation ?
		p->scx.dsq_vtime : vtime_now() + config.slice_ns;
	/* Not of one that no order put here. */
	if (decided && t->generation == shared.generation && t->vtime_known &&
	    shared.handed_over == shared.generation &&
	    (s64)(p->scx.dsq_vtime - shared.vtime_now) > 0)
		shared.vtime_now = p->scx.dsq_vtime;
}

SEC("struct_ops/pyland_stopping")
void BPF_PROG(pyland_stopping, struct task_struct *p, bool runnable)
{
	struct pyland_cpu *c = this_cpu_state(), *task_cpu = cpu_state(scx_bpf_task_cpu(p));
	struct task_ctx *t;
	s64 delta_ns;

	if (is_scheduler(p)) {
		scheduler_pauses(now_ns());
		return;
	}
	t = task_state(p);
	if (!t || !c || !task_cpu)
		return;
	t->stop_ns = now_ns();
	delta_ns = t->stop_ns - t->start_ns;
	c->nr_running--;
	task_cpu->running_since_ns = 0;
	if (delta_ns > 0) {
		t->awake_runtime_ns += delta_ns;
		t->total_runtime_ns += delta_ns;
		t->left_ns -= t->left_ns < (u64)delta_ns ? t->left_ns : delta_ns;
	}
	tell(PYLAND_WANT_STOPPED, PYLAND_EVENT_STOPPED, p, delta_ns > 0 ? delta_ns : 0);
}

SEC("struct_ops/pyland_quiescent")
void BPF_PROG(pyland_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct pyland_cpu *c = this_cpu_state();
	struct task_ctx *t = task_state(p);

	if (!t || !c || is_scheduler(p))
		return;
	t->queue = QUEUE_NONE;
	c->nr_runnable--;
	c->weight_runnable -= t->weight_counted;
	if (!(deq_flags & kernel_enum(scx_deq_flags, SCX_DEQ_SLEEP)))
		return;
	if (shared.wanted & PYLAND_WANT_EXTRAS) {
		u64 now = now_ns();

		if (t->slept_ns)
			t->sleep_interval_ns = average(t->sleep_interval_ns, now - t->slept_ns);
		t->slept_ns = now;
		t->average_runtime_ns = average(t->average_runtime_ns, t->awake_runtime_ns);
	}
	tell(PYLAND_WANT_SLEPT, PYLAND_EVENT_SLEPT, p, 0);
}

/*
 * A task can be queued between a CPU's last look and its idle bit. The kernel sets
 * the bit before it calls here (6.13 on), so either the one who queues sees the bit
 * or this sees the task.
 */
SEC("struct_ops/pyland_update_idle")
void BPF_PROG(pyland_update_idle, s32 cpu, bool idle)
{
	struct pyland_cpu *c = cpu_state(cpu);

	if (c)
		c->idle = idle;
	if (idle && c && work_is_queued(cpu, c->llc, c->domain % PYLAND_NR_DOMAINS))
		scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
}

/* Kernel threads that memory waits for: user space may need them to go on. */
static bool is_memory_helper(const struct task_struct *p)
{
	if (!(p->flags & PF_KTHREAD))
		return false;
	return !bpf_strncmp(p->comm, 6, "kswapd") || !bpf_strncmp(p->comm, 8, "kcompact") ||
	       !bpf_strncmp(p->comm, 10, "khugepaged");
}

SEC("struct_ops/pyland_init_task")
s32 BPF_PROG(pyland_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct task_ctx *t = bpf_task_storage_get(&tasks, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!t)
		return -12; /* -ENOMEM */
	t->kernel_helper = is_memory_helper(p);
	return 0;
}

SEC("struct_ops/pyland_exit_task")
void BPF_PROG(pyland_exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	tell(PYLAND_WANT_EXITED, PYLAND_EVENT_EXITED, p, 0);
}

SEC("struct_ops.s/pyland_init")
s32 BPF_PROG(pyland_init)
{
	struct heartbeat *h;
	u32 key = 0;
	s32 error;

	error = create_queues();
	if (error)
		return error;
	shared.last_cycle_ns = now_ns();
	h = bpf_map_lookup_elem(&heartbeats, &key);
	if (!h)
		return -22;
	bpf_timer_init(&h->timer, &heartbeats, 1 /* CLOCK_MONOTONIC */);
	bpf_timer_set_callback(&h->timer, beat);
	bpf_loop(config.nr_cpu_ids, init_slice_timer, NULL, 0);
	return bpf_timer_start(&h->timer, config.heartbeat_ns, 0);
}

SEC("struct_ops/pyland_exit")
void BPF_PROG(pyland_exit, struct scx_exit_info *info)
{
	u32 key = 0;
	char *dump = bpf_map_lookup_elem(&exit_dump, &key);

	if (dump && config.exit_dump_len)
		bpf_probe_read_kernel_str(dump, config.exit_dump_len, info->dump);
	bpf_probe_read_kernel_str(shared.exit_reason, sizeof(shared.exit_reason), info->reason);
	bpf_probe_read_kernel_str(shared.exit_message, sizeof(shared.exit_message), info->msg);
	shared.exit_kind = info->kind;
	shared.exit_code = info->exit_code;
	shared.exited = 1;
}

/* Run once by the process that will schedule: its id as the kernel counts it. */
SEC("syscall")
int pyland_register(void *ctx)
{
	shared.sched_tgid = bpf_get_current_pid_tgid() >> 32;
	return 0;
}

SEC(".struct_ops.link")
struct sched_ext_ops pyland_ops = {
	.select_cpu = (void *)pyland_select_cpu,
	.enqueue = (void *)pyland_enqueue,
	.dispatch = (void *)pyland_dispatch,
	.tick = (void *)pyland_tick,
	.yield = (void *)pyland_yield,
	.runnable = (void *)pyland_runnable,
	.running = (void *)pyland_running,
	.stopping = (void *)pyland_stopping,
	.quiescent = (void *)pyland_quiescent,
	.update_idle = (void *)pyland_update_idle,
	.init_task = (void *)pyland_init_task,
	.exit_task = (void *)pyland_exit_task,
	.init = (void *)pyland_init,
	.exit = (void *)pyland_exit,
	.timeout_ms = 10000,
	.name = "pyland",
};
