/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a task that wants a CPU waits, and in which order.
 *
 * The task enters a queue at once, and the policy's decision moves it there later. Until then its
 * key follows from its last decision: that key and the CPU time after it, as far before the keys
 * that run as the policy put it when it last woke up. So a decision refines an order that is good
 * already, and a late one costs little. A task is held until its decision comes only if the policy
 * says so (`interim = "hold"`).
 *
 * A decision lasts: a task that comes back with some of its slice left continues with that rest, at
 * its key, and the policy is not asked again. The kernel's own EEVDF also keeps a deadline until
 * the slice is used up. A task that sleeps and wakes up every few microseconds costs one decision
 * for each slice, not one for each wakeup.
 */
#ifndef PYLAND_QUEUES_BPF_H
#define PYLAND_QUEUES_BPF_H

#include "asking.bpf.h"
#include "classes.bpf.h"
#include "grants.bpf.h"
#include "interim.bpf.h"
#include "preemption.bpf.h"
#include "slices.bpf.h"
#include "taking.bpf.h"
#include "traced.bpf.h"
#include "userspace_cpus.bpf.h"

/* The highest key in a queue; false when the queue is empty. */
static __always_inline bool last_key(u64 dsq_id, u64 *key_ns)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p = NULL;

	if (!bpf_iter_scx_dsq_new(&it, dsq_id, kernel_enum(scx_dsq_iter_flags, SCX_DSQ_ITER_REV))) {
		p = bpf_iter_scx_dsq_next(&it);
		if (p)
			*key_ns = p->scx.dsq_vtime;
	}
	bpf_iter_scx_dsq_destroy(&it);
	return p;
}

/*
 * Where a task with @key_ns waits in the queue @dsq_id: at its key, or behind all keys there if it
 * yields. Its key stays as it is: what it uses would come on top each time, and keys would run away
 * from those of tasks that do not yield (four tasks for each CPU: by 190 ms in 4 s; after sysbench's
 * threads the 99th percentile of a wakeup among hogs was 2.4 ms, and 0.2 to 1.5 ms before them).
 */
static __always_inline u64 order_if_yielded(const struct task_ctx *t, u64 dsq_id, u64 key_ns)
{
	u64 last_ns;

	if (t->yielded && last_key(dsq_id, &last_ns) && (s64)(last_ns - key_ns) >= 0)
		return last_ns + 1;
	return key_ns;
}

/* True if the task that runs there will soon sleep, because it sleeps often. */
static __always_inline bool is_free_soon(const struct pyland_cpu *c, u64 now)
{
	return c->running_since_ns && !c->running_computes &&
	       (s64)(now - c->running_since_ns) < (s64)pause_ns();
}

/*
 * The queue of the task's previous CPU alone. An idle CPU looks there too while such tasks may wait,
 * and the time of this is written once in a millisecond: all CPUs read it.
 */
static __always_inline u64 own_queue(s32 cpu, u64 now)
{
	if ((s64)(now - shared.own_queued_ns) > (s64)NSEC_PER_MSEC)
		shared.own_queued_ns = now;
	return cpu;
}

static __always_inline void count_outside(void)
{
	struct pyland_cpu *c = this_cpu_state();

	if (c)
		c->outside++;
}

/*
 * The queue in which the task waits: where its last decision put it, else that of the domain of
 * its CPU.
 *
 * A task that woke up waits for its previous CPU alone if that CPU will be free soon. From the
 * domain's queue, half of such tasks would get another CPU each time, and tasks that take turns
 * with a lock would wait for it at the same time (MariaDB: 199 to 254 transactions a second, and
 * 251 to 255 this way; `rusty` 230 and 248). This is not done if the policy names CPUs: then a CPU's
 * queue has tasks for that CPU alone, and this task may run elsewhere. In a domain it is done if the
 * policy says so. It is not done for a task that yields: such a task has to go behind the tasks of
 * all queues.
 */
static __always_inline u64 queue_of(const struct task_struct *p, const struct task_ctx *t, s32 cpu,
				    const struct pyland_cpu *c, u64 now)
{
	u32 domain;

	if (p->nr_cpus_allowed == 1)
		return cpu;
	if (sets_domains() && t->place < 0) {
		domain = domain_of_task(p, t, cpu);
		if (domain == NO_DOMAIN && placed_in(t) != NO_DOMAIN)
			count_outside();
		if (domain != NO_DOMAIN && (stays(p, t, domain, cpu) ||
					    (t->woke_up && preempts_first(p, t, cpu))))
			return cpu;
		if (domain != NO_DOMAIN && t->woke_up && !t->yielded && !shared.lagging &&
		    searches(domain, PYLAND_SEARCH_SOON) && is_at_home(domain, cpu) &&
		    is_free_soon(c, now))
			return own_queue(cpu, now);
		return queue_of_domain(domain);
	}
	if (shared.lagging)
		return queue_at(cpu);
	if (t->place <= PYLAND_CPU_DOMAIN && domain_has_cpu(p, PYLAND_CPU_DOMAIN - t->place))
		return DOMAIN_DSQ + (PYLAND_CPU_DOMAIN - t->place);
	if (t->place >= 0 && bpf_cpumask_test_cpu(t->place, p->cpus_ptr))
		return t->place;
	if (shared.places || !t->woke_up || t->yielded || !is_free_soon(c, now))
		return queue_at(cpu);
	return own_queue(cpu, now);
}

/*
 * Every CPU may be in the middle of a long slice, so user space would run only after it. For a
 * task that wakes up and is held, a running task is preempted, but not too often, and only if
 * that task computes: other tasks soon sleep by themselves.
 */
static __always_inline void make_room_for_user_space(s32 cpu, struct pyland_cpu *task_cpu,
						     struct pyland_cpu *c, u64 now)
{
	s64 wait_ns;

	if (!shared.wakeup_waits)
		shared.wakeup_waits = 1;
	cpu = cpu_to_preempt(cpu, HOLDING_DSQ, NULL, now);
	task_cpu = cpu_state(cpu);
	if (!task_cpu || !task_cpu->running_since_ns ||
	    (!task_cpu->running_computes &&
	     (s64)(now - task_cpu->running_since_ns) <= (s64)pause_ns()))
		return;
	shared.due_ns = DUE_AT_ONCE;
	if (!scheduler_waits())
		return;
	c->wakeup_kicks++;
	wait_ns = until_may_preempt_ns(now);
	if (wait_ns <= 0)
		shared.last_kick_ns = now;
	preempt_soon(cpu, task_cpu, now, wait_ns > 0 ? wait_ns : 0, task_cpu->running_vtime_ns);
}

/* Puts a task where it waits until the policy has decided; false if it cannot be asked. */
static __always_inline bool hold(struct task_struct *p, struct task_ctx *t, s32 cpu,
				 struct pyland_cpu *task_cpu, struct pyland_cpu *c, u64 now,
				 u64 enq_flags)
{
	t->queue = QUEUE_HELD;
	t->dsq_id = HOLDING_DSQ + task_cpu->llc;
	if (!ask(p, t, cpu, now, enq_flags))
		return false;
	dsq_insert(p, t->dsq_id, weighted_slice(p, t, config.shortest_ns), enq_flags);
	traced(traced_task(p, t, PYLAND_TRACED_HELD), t->dsq_id, t->asked, 0, config.shortest_ns);
	time_slice(cpu, task_cpu, now);
	if (t->woke_up)
		make_room_for_user_space(cpu, task_cpu, c, now);
	return true;
}

/*
 * True if the task's place in its queue need not be exact: another task woke it up, and no
 * interrupt of a timer or a device.
 */
static __always_inline bool goes_in_steps(const struct task_ctx *t)
{
	return t->woke_up && !(user.wanted & (PYLAND_WANT_HOLD | PYLAND_WANT_ARRIVAL)) &&
	       !in_interrupt();
}

/*
 * Queues a task. If its waker is about to sleep (on the CPU @sync_cpu - 1) and the task may run on
 * the waker's CPU, only the task on that CPU is preempted.
 */
static __always_inline void queue_task(struct task_struct *p, struct task_ctx *t, s32 cpu,
				       struct pyland_cpu *task_cpu, struct pyland_cpu *c, u64 now,
				       u64 enq_flags, u32 sync_cpu)
{
	s32 waker_cpu = sync_cpu - 1;
	bool sync, lasts, next, refused = false;
	u64 dsq_id, key_ns, order_ns, slice_ns;

	forget_other_policies(t);
	next = begin_next_slice(p, t, now);
	lasts = next || still_lasts(p, t, now);
	if (!lasts)
		end_grant(t);
	if (!lasts && holds_tasks(now)) {
		if (hold(p, t, cpu, task_cpu, c, now, enq_flags))
			return;
		refused = true;
	}
	dsq_id = queue_of(p, t, cpu, task_cpu, now);
	if (!lasts)
		key_ns = interim_key(p, t, now, 0);
	else if (next || t->woke_up || t->yielded)
		key_ns = next_key(p, t);
	else
		key_ns = t->key_ns;
	key_ns = clamp_vtime(key_ns);
	t->of_bpf = !lasts && (user.wanted & PYLAND_WANT_HOLD);
	slice_ns = lasts ? t->left_ns : interim_slice(p, t);
	/* A task that a higher class preempted keeps its key. */
	if (!lasts || next || t->woke_up || t->yielded) {
		t->key_ns = key_ns;
		t->key_runtime_ns = t->total_runtime_ns;
	}
	t->vtime_known = 1;
	t->decided_ns = now;
	t->dsq_id = dsq_id;
	t->queue = QUEUE_ORDERED;
	if (lasts)
		c->continued++;
	else if (!refused)
		ask(p, t, cpu, now, enq_flags);
	if (!lasts && (shared.lagging || t->of_bpf))
		c->fallback_lag++;
	if (t->of_bpf && !t->asked && !shared.left_out)
		shared.left_out = 1;
	note_own(dsq_id);
	order_ns = lasts && goes_in_steps(t) ? vtime_in_steps(key_ns, shared.key_step_ns) : key_ns;
	dsq_insert_vtime(p, dsq_id, slice_ns, order_if_yielded(t, dsq_id, order_ns), enq_flags);
	traced(traced_task(p, t, lasts ? PYLAND_TRACED_CONTINUED : t->asked ? PYLAND_TRACED_ASKED :
								     PYLAND_TRACED_UNASKED),
	       dsq_id, t->asked, key_ns, slice_ns);
	sync = waker_cpu >= 0 && takes_from(waker_cpu, dsq_id, p);
	if (t->woke_up) {
		cpu = sync ? waker_cpu : cpu_for_wakeup(p, t, cpu, now);
		preempt_for(t, key_ns, cpu, now, sync);
		task_cpu = cpu_state(cpu);
	}
	if (task_cpu)
		time_slice(cpu, task_cpu, now);
	if (sets_domains() && t->asked)
		wake_user_space();
}

/* Where a task waits while no decision has placed it. */
static __always_inline u64 queue_unplaced(const struct task_struct *p, const struct task_ctx *t,
					  s32 cpu)
{
	return sets_domains() ? queue_of_domain(domain_of_task(p, t, cpu)) : queue_at(cpu);
}

/* Queues a task that the policy is not asked about. */
static __noinline void queue_unasked(struct task_struct *p, struct task_ctx *t, s32 cpu, u64 now,
				     u64 enq_flags)
{
	u64 key_ns;

	forget_other_policies(t);
	key_ns = clamp_vtime(interim_key(p, t, now, 0));
	t->key_ns = key_ns;
	t->key_runtime_ns = t->total_runtime_ns;
	t->vtime_known = 1;
	t->of_bpf = 1;
	t->decided_ns = now;
	t->dsq_id = p->nr_cpus_allowed == 1 ? (u64)cpu : queue_unplaced(p, t, cpu);
	t->queue = QUEUE_ORDERED;
	note_own(t->dsq_id);
	dsq_insert_vtime(p, t->dsq_id, weighted_slice(p, t, config.shortest_ns), key_ns, enq_flags);
}

#endif
