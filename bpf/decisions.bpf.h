/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Takes the decisions of user space from their ring and carries them out. The next CPU that
 * dispatches does this.
 */
#ifndef PYLAND_DECISIONS_BPF_H
#define PYLAND_DECISIONS_BPF_H

#include "classes.bpf.h"
#include "continuing.bpf.h"
#include "preemption.bpf.h"
#include "queues.bpf.h"
#include "thrashing.bpf.h"

/* What one drain of the decisions needs to know. */
struct drain {
	s32 cpu;
	u32 left;
	bool cpu_is_free;	/* this CPU has nothing else and takes the first task itself */
	bool some_idle;		/* a CPU idled when the drain began */
	bool takes_one;		/* this CPU is about to take a task from the queues */
};

/*
 * Moves a held task to where its decision says. The iterator is made before the
 * checks: the kernel refuses to move a task that entered the queue after that, so
 * a decision that passes them can never hit a newer enqueue. A record can be seen
 * before its task is in the queue (the insert follows the callback); then the move
 * waits for the runqueue's lock, is refused, and succeeds with a fresh iterator.
 */
static __always_inline bool move_decided(struct task_struct *p, struct task_ctx *t,
					 struct pyland_cpu *c, u64 seq, u64 dsq_id, u64 slice_ns,
					 u64 vtime_ns)
{
	bool moved = false;
	int tries;

	for (tries = 0; tries < 3 && !moved; tries++) {
		struct bpf_iter_scx_dsq it;

		if (bpf_iter_scx_dsq_new(&it, HOLDING_DSQ + t->holding_llc, 0))
			c->failed++;
		else if (t->seq == seq && t->queue == QUEUE_HELD)
			moved = dsq_move_vtime(&it, p, dsq_id, slice_ns, vtime_ns);
		bpf_iter_scx_dsq_destroy(&it);
		if (t->seq != seq || t->queue != QUEUE_HELD)
			break;
	}
	return moved;
}

struct find_cpu {
	const struct task_struct *p;
	u32 domain;
	bool found;
};

static long serves_domain(u64 cpu, void *context)
{
	struct find_cpu *find = context;

	find->found = domain_of(cpu) == find->domain &&
		      bpf_cpumask_test_cpu(cpu, find->p->cpus_ptr);
	return find->found;
}

/* True if the task may run on a CPU of the domain. Nearly all tasks may run on any CPU. */
static __always_inline bool domain_has_cpu(const struct task_struct *p, u32 domain)
{
	struct find_cpu find = { .p = p, .domain = domain };

	bpf_loop(config.nr_cpu_ids, serves_domain, &find, 0);
	return find.found;
}

static __always_inline void apply_decision(struct task_struct *p, const struct pyland_decision *d,
					   struct drain *drain, struct pyland_cpu *c)
{
	struct task_ctx *t = task_state(p);
	s32 prev_cpu = scx_bpf_task_cpu(p), cpu = d->cpu, kick = -1;
	u64 dsq_id = SHARED_DSQ, slice_ns, vtime_ns;
	s64 delay_ns, wait_ns;

	if (!t || t->seq != d->seq || t->queue != QUEUE_HELD) {
		if (t && d->seq > t->seq)
			c->bad_decisions++;	/* no such record was ever written */
		else
			c->late++;
		return;
	}
	if (cpu != PYLAND_CPU_ANY)
		shared.places = 1;
	if (cpu <= PYLAND_CPU_DOMAIN && cpu > PYLAND_CPU_DOMAIN - PYLAND_NR_DOMAINS) {
		u32 domain = PYLAND_CPU_DOMAIN - cpu;

		cpu = PYLAND_CPU_ANY;
		if (domain_has_cpu(p, domain)) {
			shared.domains_used = 1;
			dsq_id = DOMAIN_DSQ + domain;
		} else {
			c->bounced++;
		}
	} else if (cpu < PYLAND_CPU_ANY || cpu >= (s32)config.nr_cpu_ids) {
		c->bad_decisions++;
		cpu = PYLAND_CPU_ANY;
	} else if (cpu >= 0 && !bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
		c->bounced++;
		cpu = PYLAND_CPU_ANY;
	}
	if (cpu < 0 && p->nr_cpus_allowed == 1)
		cpu = prev_cpu;
	if (cpu >= 0) {
		dsq_id = cpu;
		kick = cpu;
	} else if (dsq_id != SHARED_DSQ) {
		/* The CPU that wakes up takes it, from another domain if need be. */
		if (drain->some_idle)
			kick = pick_idle_cpu(p->cpus_ptr, prev_cpu);
	} else if (drain->some_idle && bpf_cpumask_test_cpu(prev_cpu, p->cpus_ptr) &&
		   scx_bpf_test_and_clear_cpu_idle(prev_cpu)) {
		dsq_id = prev_cpu;
		kick = prev_cpu;
	} else if (drain->cpu_is_free && bpf_cpumask_test_cpu(drain->cpu, p->cpus_ptr)) {
		drain->cpu_is_free = false;
	} else if (drain->some_idle) {
		kick = pick_idle_cpu(p->cpus_ptr, prev_cpu);
		if (kick >= 0)
			dsq_id = kick;
	}

	/* Through memory: the verifier takes all ways to here as one (74,000 steps otherwise). */
	c->picked_dsq = dsq_id;
	c->picked_cpu = cpu;
	c->picked_kick = kick;
	dsq_id = READ_ONCE(c->picked_dsq);
	cpu = READ_ONCE(c->picked_cpu);
	kick = READ_ONCE(c->picked_kick);

	slice_ns = d->slice_ns;
	if (is_no_slice(slice_ns, config.longest_ns)) {
		c->bad_decisions++;
		slice_ns = 0;
	}
	slice_ns = slice_ns ? clamp_slice(slice_ns) : weighted_slice(p, t, config.shortest_ns);
	t->state = d->state;
	t->decided_ns = now_ns();
	vtime_ns = clamp_vtime(vtime_if_yielded(t, dsq_id, d->vtime_ns));
	if (!move_decided(p, t, c, d->seq, dsq_id, slice_ns, vtime_ns)) {
		/* A CPU took it from the holding queue meanwhile, or it is queued anew. */
		c->late++;
		/* What could not be moved is answered all the same. */
		if (t->seq == d->seq && t->queue == QUEUE_HELD)
			t->queue = QUEUE_RESCUED;
		/* A CPU that was taken from the idle mask and got no task must look again. */
		if (kick >= 0)
			scx_bpf_kick_cpu(kick, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
		return;
	}
	t->queue = QUEUE_DECIDED;
	t->vtime_known = 1;
	note_grant(p, t, d->cpu == PYLAND_CPU_ANY ? slice_ns : 0);
	c->user_dispatched++;
	shared.decided++;
	delay_ns = t->decided_ns - t->enqueue_ns;
	if (delay_ns > 0) {
		c->delay_ns += delay_ns;
		wait_ns = shared.clock_ns - t->enqueue_ns;
		if (wait_ns > 0)
			c->wait_user_ns += wait_ns < delay_ns ? wait_ns : delay_ns;
	}
	/* A task whose slice has ended has had its turn; a task that woke up may be urgent. */
	if (t->woke_up && (cpu >= 0 || kick < 0)) {
		s32 there = cpu_to_preempt(cpu >= 0 ? cpu : prev_cpu, dsq_id, p, t->decided_ns);

		if (cpu < 0 && drain->takes_one && takes_from(drain->cpu, dsq_id, p))
			drain->takes_one = false;
		else if (there != drain->cpu && takes_from(there, dsq_id, p))
			preempt_for(vtime_ns, there, t->decided_ns, false);
	}
	if (kick < 0 || kick == drain->cpu)
		return;
	if (d->flags & PYLAND_DECISION_PREEMPT)
		preempt_for_policy(kick, t->decided_ns);
	else
		scx_bpf_kick_cpu(kick, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
}

static __always_inline void kick_for_policy(const struct pyland_decision *d, struct pyland_cpu *c)
{
	if (d->cpu < 0 || d->cpu >= (s32)config.nr_cpu_ids) {
		c->bad_decisions++;
		return;
	}
	if (!is_online(d->cpu))
		return;
	if (d->flags & PYLAND_DECISION_PREEMPT)
		preempt_for_policy(d->cpu, now_ns());
	else
		wake_for_policy(d->cpu, now_ns());
}

/* One decision of the ring; 1 ends the drain, the rest stays for the next one. */
static long drain_one(struct bpf_dynptr *dynptr, void *context)
{
	struct drain *drain = context;
	struct pyland_cpu *c = cpu_state(drain->cpu);
	struct pyland_decision d;
	struct task_struct *p;

	if (!c || !drain->left)
		return 1;
	drain->left--;
	if (bpf_dynptr_read(&d, sizeof(d), dynptr, 0, 0)) {
		c->bad_decisions++;
		return !drain->left;
	}
	if (d.flags & ~(u64)(PYLAND_DECISION_PREEMPT | PYLAND_DECISION_KICK)) {
		c->bad_decisions++;
		d.flags &= PYLAND_DECISION_PREEMPT;
	}
	if (d.flags & PYLAND_DECISION_KICK) {
		kick_for_policy(&d, c);
		return !drain->left;
	}
	if (shared.distrusted)
		note_answer(now_ns());
	p = bpf_task_from_pid(d.pid);
	if (!p) {
		c->late++;
		return !drain->left;
	}
	apply_decision(p, &d, drain, c);
	bpf_task_release(p);
	return !drain->left;
}

/*
 * Drains the ring; false if another CPU drains at this moment, or if decisions are left. In both
 * cases some decisions may not be carried out yet.
 */
APART int apply_decisions(s32 cpu, bool prev_runnable)
{
	struct drain drain = { .cpu = cpu, .left = PYLAND_DRAIN_MAX };
	long ret;

	/* The ring is mostly empty; a drain would take 200 instructions and an atomic exchange. */
	if (user.submitted == shared.drained || shared.drain_error)
		return true;
	drain.cpu_is_free = !prev_runnable && !scx_bpf_dsq_nr_queued(cpu) &&
			    !scx_bpf_dsq_nr_queued(SHARED_DSQ);
	/*
	 * Looked at once per drain: on a busy machine that saves two searches for each decision.
	 * A CPU that goes idle meanwhile finds by itself what is queued (update_idle).
	 */
	drain.some_idle = shared.nr_idle > 0;
	drain.takes_one = !prev_runnable;
	ret = bpf_user_ringbuf_drain(&dispatched, drain_one, &drain, BPF_RB_NO_WAKEUP);
	if (ret > 0)
		__sync_fetch_and_add(&shared.drained, ret);
	/* -EBUSY: another CPU drains at this moment. Else the ring is beyond repair. */
	if (ret < 0 && ret != -EBUSY) {
		shared.drain_error = -ret;
		user.ring_broken = 1;
	}
	return ret != -EBUSY && ret < PYLAND_DRAIN_MAX;
}

#endif
