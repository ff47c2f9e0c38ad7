/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Takes the decisions of user space from their ring and carries them out. The next CPU that
 * dispatches does this.
 */
#ifndef PYLAND_DECISIONS_BPF_H
#define PYLAND_DECISIONS_BPF_H

#include "classes.bpf.h"
#include "histograms.bpf.h"
#include "places.bpf.h"
#include "preemption.bpf.h"
#include "queues.bpf.h"
#include "slices.bpf.h"
#include "taking.bpf.h"
#include "thrashing.bpf.h"

/* What one drain of the decisions needs to know. */
struct drain {
	s32 cpu;
	u32 left;
	bool some_idle;		/* a CPU idled when the drain began */
	bool takes_one;		/* this CPU is about to take a task from the queues */
};

/*
 * Moves a waiting task to where its decision says. The iterator is made before the checks: the
 * kernel refuses to move a task that entered the queue after that, so a decision that passes them
 * can never hit a newer enqueue. A record can be seen before its task is in the queue (the insert
 * follows the callback); then the move waits for the runqueue's lock, is refused, and succeeds with
 * a fresh iterator.
 */
static __always_inline bool move_decided(struct task_struct *p, struct task_ctx *t,
					 struct pyland_cpu *c, u64 seq, u64 dsq_id, u64 slice_ns,
					 u64 key_ns)
{
	bool moved = false;
	int tries;

	for (tries = 0; tries < 3 && !moved; tries++) {
		struct bpf_iter_scx_dsq it;

		if (bpf_iter_scx_dsq_new(&it, READ_ONCE(t->dsq_id), 0))
			c->failed++;
		else if (t->seq == seq && is_waiting(t))
			moved = dsq_move_vtime(&it, p, dsq_id, slice_ns, key_ns);
		bpf_iter_scx_dsq_destroy(&it);
		if (t->seq != seq || !is_waiting(t))
			break;
	}
	return moved;
}

/* Applies a decision to a task that has left its queue: for the rest of the task's turn. */
static __always_inline void amend(struct task_struct *p, u64 slice_ns, u64 key_ns, u64 now)
{
	struct pyland_cpu *there = cpu_state(scx_bpf_task_cpu(p));

	/* If no slice is left the turn is over, although the task is still on the CPU. */
	if (!there || !there->running_since_ns || !p->scx.slice || !scx_bpf_task_running(p))
		return;
	task_set_slice(p, slice_ns);
	/* A timer is to preempt the task for another one, which still waits. */
	if (!there->preempting)
		there->running_slice_ns = now - there->running_since_ns + slice_ns;
	there->running_vtime_ns = key_ns;
}

static __always_inline void count_delay(const struct task_ctx *t, struct pyland_cpu *c)
{
	s64 delay_ns = t->decided_ns - t->asked_ns, wait_ns;

	if (delay_ns <= 0)
		return;
	c->delay_ns += delay_ns;
	wait_ns = shared.clock_ns - t->asked_ns;
	if (wait_ns > 0)
		c->wait_user_ns += wait_ns < delay_ns ? wait_ns : delay_ns;
}

static __always_inline void apply_decision(struct task_struct *p, const struct pyland_decision *d,
					   struct drain *drain, struct pyland_cpu *c)
{
	struct task_ctx *t = task_state(p);
	s32 prev_cpu = scx_bpf_task_cpu(p), cpu, kick = -1;
	u64 dsq_id, slice_ns, key_ns, now = now_ns();
	bool moved = false;

	/* Another CPU may ask anew at this moment: each answer removes its own question, once. */
	if (!t || !d->seq || __sync_val_compare_and_swap(&t->asked, d->seq, 0) != d->seq) {
		if (t && d->seq > t->seq)
			c->bad_decisions++;	/* no such record was ever written */
		else
			c->late++;
		traced((u32)p->pid | (u64)PYLAND_TRACED_LATE << 32, 0, d->seq, d->vtime_ns,
		       d->slice_ns);
		return;
	}
	t->place = checked_place(p, d->cpu);
	slice_ns = d->slice_ns;
	if (is_no_slice(slice_ns, config.longest_ns)) {
		c->bad_decisions++;
		slice_ns = 0;
	}
	slice_ns = slice_ns ? clamp_slice(slice_ns) : weighted_slice(p, t, config.shortest_ns);
	t->state = d->state;
	t->decided_ns = now;
	c->picked_dsq = 0;
	c->picked_cpu = t->place;
	c->picked_kick = -1;
	if (is_waiting(t))
		pick_queue(p, t, t->place, drain->cpu, drain->some_idle);
	dsq_id = READ_ONCE(c->picked_dsq);
	cpu = READ_ONCE(c->picked_cpu);
	kick = READ_ONCE(c->picked_kick);

	key_ns = clamp_vtime(d->vtime_ns);
	if (t->woke_up)
		t->lead_ns = lead_of(t, key_ns);
	if (!t->key_runtime_ns)
		shared.lead_ns = lead_of(t, key_ns);
	t->key_ns = key_ns;
	t->key_runtime_ns = t->decided_runtime_ns = t->asked_runtime_ns;
	t->vtime_known = 1;
	t->of_bpf = 0;
	/* A decision for a place that the task cannot have at this moment does not last. */
	note_grant(p, t, d->cpu < 0 && t->place == d->cpu ? slice_ns : 0);
	if (is_waiting(t)) {
		note_own(dsq_id);
		moved = move_decided(p, t, c, d->seq, dsq_id, slice_ns,
				     order_if_yielded(t, dsq_id, key_ns));
	}
	c->user_dispatched++;
	count_delay(t, c);
	note_decision(p, t, d->flags);
	traced(traced_task(p, t, moved ? PYLAND_TRACED_DECIDED : PYLAND_TRACED_AMENDED), dsq_id,
	       d->seq, key_ns, slice_ns);
	if (!moved) {
		c->amended++;
		amend(p, slice_ns, key_ns, now);
		/* A CPU that was taken from the idle mask and got no task must look again. */
		if (kick >= 0)
			scx_bpf_kick_cpu(kick, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
		return;
	}
	t->dsq_id = dsq_id;
	t->queue = QUEUE_ORDERED;
	/* A task whose slice has ended has had its turn; a task that woke up may be urgent. */
	if (t->woke_up && (cpu >= 0 || kick < 0)) {
		s32 there = cpu_for_wakeup(p, t, cpu >= 0 ? cpu : prev_cpu, now);

		if (cpu < 0 && drain->takes_one && takes_from(drain->cpu, dsq_id, p))
			drain->takes_one = false;
		else if (there != drain->cpu && takes_from(there, dsq_id, p))
			preempt_for(t, key_ns, there, now, false);
	}
	/* It may have gone idle since it was found busy, and it did not see the task then. */
	if (kick < 0 && cpu < 0 && dsq_id == (u64)prev_cpu && sets_domains())
		scx_bpf_kick_cpu(prev_cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
	if (kick < 0 || kick == drain->cpu)
		return;
	if (d->flags & PYLAND_DECISION_PREEMPT)
		preempt_for_policy(kick, now);
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
	if (d.flags &
	    ~(u64)(PYLAND_DECISION_PREEMPT | PYLAND_DECISION_KICK | PYLAND_DECISION_CLASS)) {
		c->bad_decisions++;
		d.flags &= PYLAND_DECISION_PREEMPT;
	}
	if (d.flags & PYLAND_DECISION_KICK) {
		kick_for_policy(&d, c);
		return !drain->left;
	}
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
	/*
	 * Looked at once per drain: on a busy machine that saves two searches for each decision.
	 * A CPU that goes idle meanwhile finds by itself what is queued (update_idle).
	 */
	drain.some_idle = some_cpu_idles();
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
