/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The queues: which task a CPU takes next, how long a held task has waited, and where a task
 * waits that is not decided.
 */
#ifndef PYLAND_QUEUES_BPF_H
#define PYLAND_QUEUES_BPF_H

#include "records.bpf.h"
#include "trust.bpf.h"
#include "userspace.bpf.h"

/* What held_too_long finds. */
enum lag {
	LAG_NONE,
	LAG_USER_SPACE,		/* user space has had no chance to decide it */
	LAG_UNDECIDED,		/* ... or the policy left it undecided */
	LAG_RESCUED,		/* it is decided, and to be taken next */
};

/*
 * How many times to look for tasks in BPF's own order. One look is not enough, because a task gets
 * into the queue a little after the flag is set.
 */
#define LEFT_OUT_LOOKS	2

/* How many held tasks a CPU looks at to find one that it may take. */
#define HELD_LOOK_MAX	8

/* Any idle CPU that @allowed has, reserved for the caller; negative when none. */
static __noinline s32 pick_idle_cpu(const struct cpumask *allowed, s32 near_cpu)
{
	if (config.idle_per_node && bpf_ksym_exists(scx_bpf_pick_idle_cpu_node)) {
		struct pyland_cpu *near = cpu_state(near_cpu);
		s32 node = near ? near->node : 0;
		u64 in_node = config.numa_local ?
			kernel_enum(scx_pick_idle_cpu_flags, SCX_PICK_IDLE_IN_NODE) : 0;
		s32 cpu = scx_bpf_pick_idle_cpu_node(allowed, node, in_node);

		if (cpu >= 0 || !config.numa_local)
			return cpu;
		return scx_bpf_pick_idle_cpu_node(allowed, node, 0);
	}
	return scx_bpf_pick_idle_cpu(allowed, 0);
}

/* The vtime of a queue's head; false when the queue is empty. */
static __always_inline bool head_vtime(u64 dsq_id, u64 *vtime_ns)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p = NULL;

	if (!bpf_iter_scx_dsq_new(&it, dsq_id, 0)) {
		p = bpf_iter_scx_dsq_next(&it);
		if (p)
			*vtime_ns = p->scx.dsq_vtime;
	}
	bpf_iter_scx_dsq_destroy(&it);
	return p;
}

/* Takes from the domain's queue if its head is due before the heads of the two other queues. */
static __always_inline bool take_of_domain(s32 cpu, u64 domain_dsq)
{
	u64 domain_ns = 0, other_ns = 0;

	if (!head_vtime(domain_dsq, &domain_ns))
		return false;
	if (head_vtime(cpu, &other_ns) && (s64)(other_ns - domain_ns) <= 0)
		return false;
	if (head_vtime(SHARED_DSQ, &other_ns) && (s64)(other_ns - domain_ns) < 0)
		return false;
	return dsq_move_to_local(domain_dsq);
}

/*
 * True if the head of the CPU's own queue is due before the head of the shared queue. With equal
 * keys the two queues take turns. Each look at a head takes 150 instructions, because the kernel
 * searches the queue by its number.
 */
static __always_inline bool own_goes_first(s32 cpu, const struct pyland_cpu *c)
{
	u64 own_ns = 0, shared_ns = 0;
	s64 ahead_ns;

	if (scx_bpf_dsq_nr_queued(SHARED_DSQ) <= 0)
		return true;
	if (scx_bpf_dsq_nr_queued(cpu) <= 0 || !head_vtime(cpu, &own_ns))
		return false;
	if (!head_vtime(SHARED_DSQ, &shared_ns))
		return true;
	ahead_ns = shared_ns - own_ns;
	return ahead_ns > 0 || (!ahead_ns && !c->last_was_own);
}

/* Takes the task that is due first from the CPU's own queue, its domain's and the shared queue. */
APART int take_decided(s32 cpu)
{
	struct pyland_cpu *c = cpu_state(cpu);
	bool own_first;
	u64 domain_dsq = 0;

	if (!c)
		return false;
	if (shared.domains_used) {
		domain_dsq = DOMAIN_DSQ + domain_of(cpu);
		if (take_of_domain(cpu, domain_dsq))
			return true;
	}
	own_first = own_goes_first(cpu, c);
	if (own_first && dsq_move_to_local(cpu)) {
		c->last_was_own = 1;
		return true;
	}
	c->last_was_own = 0;
	return dsq_move_to_local(SHARED_DSQ) || (!own_first && dsq_move_to_local(cpu)) ||
	       (shared.domains_used && dsq_move_to_local(domain_dsq));
}

/* For a CPU that would idle: takes a task that waits in another domain. */
static __always_inline bool take_of_any_domain(void)
{
	return shared.domains_used && take_of_range(DOMAIN_DSQ, PYLAND_NR_DOMAINS, 0);
}

/* For a CPU that would idle: takes a task that waits for another CPU to become free. */
APART int take_of_any_cpu(u64 now)
{
	return !shared.places && (s64)(now - shared.own_queued_ns) < (s64)OWN_QUEUED_NS &&
	       take_of_range(0, config.nr_cpu_ids, 0);
}

/* Takes the task that has been held longest, first from this CPU's LLC, then from the others. */
APART int take_held(s32 cpu)
{
	struct pyland_cpu *c = cpu_state(cpu);

	return c && take_of_range(HOLDING_DSQ, config.nr_llcs, c->llc);
}

/*
 * Finds the oldest held task that this CPU may take. Tasks for other CPUs may be before it in the
 * queue while a higher class has their CPU.
 */
APART int find_oldest_held(s32 cpu, struct held *held)
{
	struct pyland_cpu *c = cpu_state(cpu);
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	struct task_ctx *t;

	if (!c || !held || scx_bpf_dsq_nr_queued(HOLDING_DSQ + c->llc) <= 0)
		return 0;
	if (!bpf_iter_scx_dsq_new(&it, HOLDING_DSQ + c->llc, 0)) {
		/* In memory: the verifier would follow each value of a variable. */
		c->looks_left = HELD_LOOK_MAX;
		while ((p = bpf_iter_scx_dsq_next(&it))) {
			t = task_state(p);
			if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
				if (--c->looks_left)
					continue;
				/* A task behind these may be as old; the policy is not blamed for it. */
				if (t)
					held->enqueue_ns = t->enqueue_ns;
				break;
			}
			if (t) {
				held->enqueue_ns = t->enqueue_ns;
				held->record_pos = t->record_pos;
				held->rescued = t->queue != QUEUE_HELD;
			}
			break;
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	return 0;
}

/*
 * Whether user space lags with the oldest held task, and why. If user space only waits for a CPU,
 * as the tasks do, it does not lag: it runs next. It lags if it is busy on another CPU, stopped or
 * blocked, if it does not end its cycle (@hogs), or if it ended a cycle with the task's record
 * (before @asked_pos) and did not decide the task. Each CPU checks this four times within the lag
 * limit.
 */
APART int held_too_long(s32 cpu, u64 now, bool hogs, u64 asked_pos)
{
	struct pyland_cpu *c = cpu_state(cpu);
	struct held held = {};

	if (!c || (s64)(now - c->lag_check_ns) < 0)
		return LAG_NONE;
	find_oldest_held(cpu, &held);
	if (held.rescued)
		return LAG_RESCUED;
	if (!held.enqueue_ns || (s64)(now - held.enqueue_ns) <= (s64)config.lag_ns) {
		c->lag_check_ns = now + config.lag_ns / 4;
		return LAG_NONE;
	}
	if (is_to_blame(&held, asked_pos, now))
		return LAG_UNDECIDED;
	if (is_known(&held, asked_pos))
		return LAG_USER_SPACE;
	/* User space has begun no cycle since the enqueue, and has not waited for long: it runs next. */
	if (scheduler_waits() && !hogs && !shared.lagging &&
	    (s64)(shared.cycle_begin_ns - held.enqueue_ns) <= 0 &&
	    (s64)(now - shared.clock_ns) <= 4 * (s64)config.lag_ns)
		return LAG_NONE;
	/* User space itself lags, and not only the policy with this task. */
	if ((s64)(now - shared.last_cycle_ns) > (s64)config.lag_ns)
		shared.lagging = 1;
	return LAG_USER_SPACE;
}

/*
 * Moves a queued task back to where held tasks wait: in the LLC of its CPU, which it may use. False
 * if a CPU has already taken it.
 */
static __always_inline bool hold_again(struct bpf_iter_scx_dsq *it, struct task_struct *p,
				       struct task_ctx *t)
{
	struct pyland_cpu *c = cpu_state(scx_bpf_task_cpu(p));

	if (!c || !dsq_move(it, p, HOLDING_DSQ + c->llc))
		return false;
	t->holding_llc = c->llc;
	return true;
}

/* Takes the oldest held task, because it has been held for too long. */
APART int take_lagging(s32 cpu, int why, u64 now)
{
	struct pyland_cpu *c = cpu_state(cpu);

	if (!c || !take_held(cpu))
		return false;
	if (why != LAG_RESCUED)
		c->fallback_lag++;
	if (why == LAG_UNDECIDED)
		note_undecided(c, now);
	return true;
}

/* True if a task waits that this CPU can take: then the CPU must not go idle. */
static __noinline bool work_is_queued(s32 cpu, u32 llc)
{
	return scx_bpf_dsq_nr_queued(cpu) > 0 || scx_bpf_dsq_nr_queued(SHARED_DSQ) > 0 ||
	       scx_bpf_dsq_nr_queued(HOLDING_DSQ + llc) > 0 ||
	       (shared.domains_used && scx_bpf_dsq_nr_queued(DOMAIN_DSQ + domain_of(cpu)) > 0) ||
	       (scheduler_waits() && scheduler_has_work(false));
}

/* The next key of a task: its last key, plus the CPU time that it used after that. */
static __always_inline u64 next_vtime(const struct task_struct *p, const struct task_ctx *t,
				      u64 last_ns)
{
	u64 used_ns = t->total_runtime_ns - t->queued_runtime_ns;

	return vtime_after(last_ns, used_ns, weight_of(p, t), config.longest_ns);
}

/*
 * Puts a task into the shared queue without a decision, because user space cannot be asked. Tasks
 * that are queued in this way again and again share fairly with tasks that were decided before.
 * The key is limited, because 10 ms of a task of the least weight move its key by a second.
 */
static __noinline void enqueue_undecided(struct task_struct *p, struct task_ctx *t, u64 enq_flags)
{
	u64 least_ns = vtime_now() - config.longest_ns, most_ns = least_ns + 3 * config.longest_ns;
	u64 vtime_ns;

	forget_other_policies(t);
	vtime_ns = t->vtime_known ? p->scx.dsq_vtime : least_ns;
	if ((s64)(vtime_ns - least_ns) < 0)
		vtime_ns = least_ns;
	vtime_ns = next_vtime(p, t, vtime_ns);
	if ((s64)(vtime_ns - most_ns) > 0)
		vtime_ns = most_ns;
	t->vtime_known = 1;
	t->queue = QUEUE_LEFT_OUT;
	t->decided_ns = now_ns();
	if (!t->kernel_helper)
		shared.left_out = LEFT_OUT_LOOKS;
	t->queued_runtime_ns = t->total_runtime_ns;
	dsq_insert_vtime(p, SHARED_DSQ, weighted_slice(p, t, config.shortest_ns),
			 clamp_vtime(vtime_ns), enq_flags);
}

#endif
