/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * When user space runs: whether it has work, whether that work is worth a CPU, and the state of
 * its cycles.
 */
#ifndef PYLAND_USERSPACE_BPF_H
#define PYLAND_USERSPACE_BPF_H

#include "domains.bpf.h"

/* Values of shared.due_ns: a cycle is due at once; no cycle is due after the one that runs. */
#define DUE_AT_ONCE	0
#define NOT_DUE		(~0ULL >> 1)

static __always_inline bool scheduler_waits(void)
{
	return scx_bpf_dsq_nr_queued(SCHED_DSQ) > 0;
}

static __always_inline bool some_task_is_held(void)
{
	return some_queued(HOLDING_DSQ, config.nr_llcs);
}

/*
 * True if user space has a reason to run. Records are no reason if all of their tasks have moved
 * on, unless the ring fills: the heartbeat is enough. Tasks that the policy keeps are no reason on
 * the CPU where it has just ended a cycle: it was able to decide them, and other tasks wait.
 */
static __always_inline bool scheduler_has_work(bool just_ran_here)
{
	u64 bytes;

	if (shared.due_ns == DUE_AT_ONCE)
		return true;
	bytes = bpf_ringbuf_query(&queued, BPF_RB_AVAIL_DATA);
	if (!bytes)
		return user.nr_held && !just_ran_here;
	/* Without held tasks, each record is of a task that the policy can still order. */
	return !(user.wanted & PYLAND_WANT_HOLD) || (user.wanted & PYLAND_WANT_EVENTS) ||
	       some_task_is_held() ||
	       bytes > bpf_ringbuf_query(&queued, BPF_RB_RING_SIZE) / 2;
}

/* How long after a cycle the next one is due although decided tasks wait. */
static __always_inline u64 pause_ns(void)
{
	return pause_after(shared.cycle_cost_ns, config.shortest_ns);
}

/*
 * For so long user space waits for its last CPU, which sees at its tick that it is due (4 ms at
 * 250 Hz); and a third longer for a CPU of that cache. With a short lag limit it waits for less.
 */
#define STAY_NS	(6 * NSEC_PER_MSEC)

static __always_inline s64 stay_ns(void)
{
	u64 most_ns = config.lag_ns / 4;

	return STAY_NS < most_ns ? STAY_NS : most_ns;
}

/*
 * True if this CPU may run user space. With `interim = "hold"` each CPU may, and also if user space
 * is due at once. Else it stays on its last CPU, where its cache is warm. That CPU's tick ends the
 * slice of the task that runs there. Only if user space is late nevertheless, other CPUs may run
 * it: on eight CPUs with 32 tasks that compute, each cycle ran on another CPU when they waited for
 * one pause only (three of four migrations, two of five of them to the other cache).
 */
static __always_inline bool may_run_user_space(s32 cpu, u64 now)
{
	s64 late_ns = now - shared.due_ns, stay = stay_ns();

	return cpu == shared.sched_cpu || (user.wanted & PYLAND_WANT_HOLD) ||
	       late_ns > stay + stay / 3 ||
	       (late_ns > stay &&
		domain_of_llc(cpu) == domain_of_llc(shared.sched_cpu));
}

/* True if user space has ended no cycle within the lag limit. */
static __always_inline bool user_space_lags(void)
{
	return (s64)(now_ns() - shared.last_cycle_ns) > (s64)config.lag_ns;
}

/*
 * False for a CPU that the policy leaves free, such as the sibling of an exclusive layer's CPU. But
 * if user space has ended no cycle within the lag limit, any CPU may run it.
 */
static __always_inline bool takes_user_space(s32 cpu)
{
	return !is_left_free(cpu) || user_space_lags();
}

static __always_inline bool scheduler_is_due(u64 now)
{
	return (s64)(now - shared.due_ns) >= 0;
}

/*
 * Runs user space after a pause, because a new task may be due before the decided tasks. While
 * decided tasks wait, user space gets about a fifth of a CPU's time. Records gather meanwhile, and
 * one cycle for several records costs little more than a cycle for a single record.
 */
static __always_inline void run_scheduler_soon(void)
{
	u64 due_ns = shared.last_cycle_ns + pause_ns();

	if ((s64)(due_ns - shared.due_ns) < 0)
		shared.due_ns = due_ns;
}

/*
 * When the next cycle is due after a cycle that ended at @now. Half of the lag limit is soon enough
 * if all new tasks have just had their turn: they are due after the tasks that wait. The pause is
 * short if a task came during the cycle that cannot wait, or if the policy keeps tasks or wants
 * events.
 */
static __always_inline u64 next_due_ns(u64 due_ns, u64 now)
{
	if (due_ns == DUE_AT_ONCE)
		return DUE_AT_ONCE;
	if (due_ns != NOT_DUE || user.nr_held || shared.asked_pos != shared.begin_pos ||
	    (user.wanted & PYLAND_WANT_EVENTS))
		return now + pause_ns();
	return now + config.lag_ns / 2;
}

/* How long until a task may be preempted for user space again; 0 or less: at once. */
static __always_inline s64 until_may_preempt_ns(u64 now)
{
	return preempts_again_in(shared.last_kick_ns, pause_ns(), now);
}

/* True if the task at the head of the queue has computed for longer than the pause. */
APART int head_computes(u64 dsq_id)
{
	struct bpf_iter_scx_dsq it;
	struct task_ctx *t = NULL;
	struct task_struct *p;
	bool computes = false;

	if (scx_bpf_dsq_nr_queued(dsq_id) <= 0)
		return false;
	if (!bpf_iter_scx_dsq_new(&it, dsq_id, 0)) {
		p = bpf_iter_scx_dsq_next(&it);
		t = p ? task_state(p) : NULL;
		computes = t && t->awake_runtime_ns > pause_ns();
	}
	bpf_iter_scx_dsq_destroy(&it);
	return computes;
}

/*
 * True if tasks that have just woken up must be decided before a CPU takes a task that computes.
 * That task would keep the CPU until the next tick, and the others may be due before it.
 */
static __always_inline bool wakeups_go_first(s32 cpu)
{
	return shared.wakeup_waits &&
	       (head_computes(cpu) || head_computes(queue_at(cpu)));
}

/*
 * Called when user space begins to run, or continues with a new cycle. In the middle of a cycle it
 * has already read its ring, so records that came after that need the next cycle.
 */
static __always_inline void scheduler_begins(u64 now)
{
	shared.clock_ns = now;
	user.clock_ns = now;
	if (user.cycles == shared.cycles_begun)
		return;
	shared.cycles_begun = user.cycles;
	shared.cycle_begin_ns = now;
	shared.due_ns = NOT_DUE;
	shared.wakeup_waits = 0;
	if (shared.asked_pos == shared.begin_pos)
		shared.begin_pos = bpf_ringbuf_query(&queued, BPF_RB_PROD_POS);
}

/*
 * Notes up to which position of the ring the policy was asked: a finished cycle has taken these
 * records. The ring may have more records than a cycle takes. Time would be no measure: a CPU may
 * be stopped after it has queued a task and before it has written the record.
 */
static __always_inline void note_asked(void)
{
	if (shared.asked_pos != shared.begin_pos &&
	    bpf_ringbuf_query(&queued, BPF_RB_CONS_POS) >= shared.begin_pos)
		shared.asked_pos = shared.begin_pos;
}

/* Lets the next heartbeat come after this time. */
static __noinline void beat_within(u64 ns)
{
	u32 key = 0;
	struct heartbeat *h = bpf_map_lookup_elem(&heartbeats, &key);

	if (h)
		bpf_timer_start(&h->timer, ns, 0);
}

/* Called when user space gives way, or could: notes whether it has ended a cycle. */
static __always_inline void scheduler_pauses(u64 now, bool goes_on)
{
	u64 due_ns = shared.due_ns;
	s64 ran_ns = now - shared.clock_ns;

	if (ran_ns > 0)
		shared.cycle_ran_ns += ran_ns;
	if (user.cycles == shared.cycles_seen) {
		/*
		 * It has ended none: tasks of its batch wait. If it sleeps, it is due no sooner
		 * than usual.
		 */
		if (goes_on)
			shared.due_ns = DUE_AT_ONCE;
		else if (due_ns == NOT_DUE)
			shared.due_ns = shared.last_cycle_ns + config.lag_ns / 2;
		return;
	}
	shared.cycles_seen = user.cycles;
	shared.last_cycle_ns = now;
	shared.cycle_cost_ns = average(shared.cycle_cost_ns, shared.cycle_ran_ns);
	shared.cycle_ran_ns = 0;
	note_asked();
	/* An enqueue on another CPU may make it due at once in between. */
	__sync_val_compare_and_swap(&shared.due_ns, due_ns, next_due_ns(due_ns, now));
	shared.lagging = 0;
	/* The next heartbeat tells a new policy of all tasks. */
	if (shared.quiet && shared.handed_over != user.generation)
		beat_within(PREEMPT_DELAY_NS);
}

static __always_inline void note_scheduler_run(struct pyland_cpu *c)
{
	c->sched_runs++;
	c->sched_ran_last = 1;
	c->sched_cycles_seen = user.cycles;
}

APART int run_scheduler(s32 cpu, bool just_ran_here)
{
	struct pyland_cpu *c = cpu_state(cpu);

	if (!c || !scheduler_has_work(just_ran_here) || !takes_user_space(cpu) ||
	    !dsq_move_to_local(SCHED_DSQ))
		return false;
	c->sched_kept = 0;
	shared.sched_cpu = cpu;
	note_scheduler_run(c);
	return true;
}

/*
 * User space has ended a cycle on this CPU and is in no queue yet. If a task has woken up
 * meanwhile, user space continues there without a switch. This is limited to a few times in a row,
 * so that other tasks get their turn.
 */
static __always_inline bool keep_scheduler(struct pyland_cpu *c, struct task_struct *prev, u64 now)
{
	if (c->sched_kept >= SCHED_KEPT_MAX || user.cycles == c->sched_cycles_seen ||
	    !scheduler_has_work(true))
		return false;
	c->sched_kept++;
	scheduler_pauses(now, true);
	scheduler_begins(now);
	note_scheduler_run(c);
	task_set_slice(prev, SCHED_SLICE_NS);
	return true;
}

#endif
