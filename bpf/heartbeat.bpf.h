/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Work that is done from time to time: take back tasks that starve in a queue, hand tasks of an
 * earlier policy over to the next policy, and give user space its turn.
 */
#ifndef PYLAND_HEARTBEAT_BPF_H
#define PYLAND_HEARTBEAT_BPF_H

#include "asking.bpf.h"
#include "holding.bpf.h"
#include "quiet.bpf.h"
#include "records.bpf.h"
#include "userspace_cpus.bpf.h"

/* Finds tasks that were decided long ago and that no CPU took; they are held, to be taken next. */
static __noinline void rescue_starved(u64 dsq_id, struct pyland_cpu *c, u64 now, u64 after_ns)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	struct task_ctx *t;

	if (scx_bpf_dsq_nr_queued(dsq_id) <= 0)
		return;
	if (!bpf_iter_scx_dsq_new(&it, dsq_id, kernel_enum(scx_dsq_iter_flags, SCX_DSQ_ITER_REV))) {
		/*
		 * Only moves are limited, and not looks: tasks that were decided lately may be at
		 * the end of the queue, and must not hide a task that starves.
		 */
		shared.rescues_left = RESCUE_MAX;
		while ((p = bpf_iter_scx_dsq_next(&it))) {
			if (!shared.rescues_left)
				break;
			t = task_state(p);
			if (!t || (s64)(now - t->decided_ns) < (s64)after_ns)
				continue;
			/* No other CPU can take the task, or the policy has named this one. */
			if (p->nr_cpus_allowed == 1 ? after_ns < RESCUE_NS :
			    t->place >= 0 && (s64)(now - t->decided_ns) < (s64)RESCUE_NS)
				continue;
			if (!hold_again(&it, p, t))
				continue;
			shared.rescues_left--;
			/* It starved because of its key, which was too high: the decision ends. */
			t->queue = QUEUE_RESCUED;
			end_grant(t);
			c->rescued++;
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
}

/* A look at all queues. */
struct beat_look {
	u64 now;
	s32 most_waiting;	/* the length of the longest queue of a domain */
};

static long rescue_cpu(u64 cpu, void *context)
{
	struct beat_look *look = context;
	struct pyland_user_cpu *u = user_cpu(cpu);
	struct pyland_cpu *c = cpu_state(cpu);
	u64 now = look->now, after_ns = RESCUE_NS;

	if (!c)
		return 1;
	/* If the CPU looks for no task, a higher class has it: its tasks must not wait for that. */
	if ((s64)(now - c->lag_check_ns) > (s64)config.lag_ns)
		after_ns = config.lag_ns;
	if (c->nohz_full)
		time_slice(cpu, c, now);
	rescue_starved(cpu, c, now, after_ns);
	if (u)
		u->nr_waiting = scx_bpf_dsq_nr_queued(cpu);
	return 0;
}

/*
 * Asks the policy about a queued task; false if a CPU has already taken it, or if the policy cannot
 * be asked.
 */
static __always_inline bool put_to_policy(struct bpf_iter_scx_dsq *it, struct task_struct *p,
					  struct task_ctx *t, struct pyland_cpu *c, bool decided)
{
	if (decided && !hold_again(it, p, t))
		return false;
	forget_other_policies(t);
	t->asked = 0;
	t->queue = QUEUE_HELD;
	/*
	 * Set before the question: `ask` does not set it while user space lags, and the wait of the
	 * task begins here in any case.
	 */
	t->enqueue_ns = now_ns();
	t->record_pos = 0;
	return ask(p, t, scx_bpf_task_cpu(p), now_ns(), 0);
}

/* True for a task that BPF has ordered because the policy could not be asked. */
static __always_inline bool is_left_out(const struct task_ctx *t)
{
	return t->of_bpf && !t->asked && !t->kernel_helper;
}

/*
 * Asks a new policy about the tasks in a queue. With @decided, the old policy has decided them:
 * they are held again until the new policy decides.
 */
static __noinline void hand_over_queue(u64 dsq_id, bool decided, struct pyland_cpu *c)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	struct task_ctx *t;

	if (scx_bpf_dsq_nr_queued(dsq_id) <= 0)
		return;
	if (!bpf_iter_scx_dsq_new(&it, dsq_id, 0)) {
		while ((p = bpf_iter_scx_dsq_next(&it))) {
			t = task_state(p);
			if (!t || (t->generation == user.generation && !is_left_out(t)))
				continue;
			if (put_to_policy(&it, p, t, c, decided))
				c->handed_over++;
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
}

static long hand_over_held(u64 llc, void *context)
{
	struct pyland_cpu *c = this_cpu_state();

	if (c)
		hand_over_queue(HOLDING_DSQ + llc, false, c);
	return !c;
}

static long hand_over_cpu(u64 cpu, void *context)
{
	struct pyland_cpu *c = cpu_state(cpu);

	if (c)
		hand_over_queue(cpu, true, c);
	return !c;
}

static long hand_over_domain(u64 domain, void *context)
{
	struct pyland_cpu *c = this_cpu_state();

	if (c)
		hand_over_queue(DOMAIN_DSQ + domain, true, c);
	return !c;
}

/* Asks a new policy about all queued tasks, once after a swap: the old policy decided them. */
static __always_inline void hand_over(struct pyland_cpu *c)
{
	u32 generation = user.generation;

	if (shared.handed_over == generation)
		return;
	/* The old policy's keys are no measure for the new one's. */
	shared.vtime_now = 0;
	shared.places = 0;
	shared.lagging = 0;
	trust(now_ns());
	bpf_loop(config.nr_llcs, hand_over_held, NULL, 0);
	bpf_loop(config.nr_cpu_ids, hand_over_cpu, NULL, 0);
	bpf_loop(domains_ever(), hand_over_domain, NULL, 0);
	hand_over_domain(PYLAND_NR_DOMAINS, NULL);
	shared.handed_over = generation;
}

/* Asks the policy about tasks that BPF has ordered while it could not be asked. */
static __always_inline void ask_again(u64 now)
{
	if (!shared.left_out || !holds_tasks(now))
		return;
	shared.left_out = 0;
	bpf_loop(config.nr_cpu_ids, hand_over_cpu, NULL, 0);
	bpf_loop(domains_ever(), hand_over_domain, NULL, 0);
}

static long is_idle_in(u64 cpu, void *context)
{
	u32 domain = *(u32 *)context;
	struct pyland_cpu *c = cpu_state(cpu);

	if (!c || !c->idle || !may_take_from(cpu, domain))
		return 0;
	scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
	return 1;
}

/*
 * Wakes a CPU that went idle just before a task was put into its domain: no other CPU looks into
 * this queue.
 */
static __noinline void wake_cpu_of_domain(u32 domain)
{
	if (domain < PYLAND_NR_DOMAINS && some_cpu_idles() &&
	    scx_bpf_dsq_nr_queued(DOMAIN_DSQ + domain) > 0)
		bpf_loop(config.nr_cpu_ids, is_idle_in, &domain, 0);
}

/* The gauges of a domain's queue. */
static __noinline void sample_domain(u32 domain)
{
	struct pyland_user_domain *d = user_domain(domain);
	s32 nr = scx_bpf_dsq_nr_queued(DOMAIN_DSQ + domain);
	struct bpf_iter_scx_dsq it;
	struct task_ctx *t = NULL;
	struct task_struct *p;

	if (!d)
		return;
	d->nr_waiting = nr > 0 ? nr : 0;
	d->head_since_ns = 0;
	if (nr <= 0)
		return;
	if (!bpf_iter_scx_dsq_new(&it, DOMAIN_DSQ + domain, 0)) {
		p = bpf_iter_scx_dsq_next(&it);
		if (p)
			t = task_state(p);
		if (t)
			d->head_since_ns = t->decided_ns;
	}
	bpf_iter_scx_dsq_destroy(&it);
}

static long rescue_domain(u64 domain, void *context)
{
	struct beat_look *look = context;
	struct pyland_cpu *c = this_cpu_state();
	s32 nr = scx_bpf_dsq_nr_queued(DOMAIN_DSQ + domain);

	if (nr > look->most_waiting)
		look->most_waiting = nr;
	if (c)
		rescue_starved(DOMAIN_DSQ + domain, c, look->now, RESCUE_NS);
	if (sets_domains()) {
		sample_domain(domain);
		wake_cpu_of_domain(domain);
	}
	return !c;
}

/*
 * Runs user space at least this often. Otherwise no signal would reach it, and the kernel's
 * watchdog would mistake its wait in a queue for a stall.
 */
static int beat(void *map, u32 *key, struct heartbeat *h)
{
	struct beat_look look = { .now = now_ns() };
	struct pyland_cpu *c = this_cpu_state();
	u64 next_ns;

	/*
	 * init, which sets the timer, may sleep, so the verifier believes that this callback may,
	 * too.
	 */
	bpf_rcu_read_lock();
	if (c) {
		c->heartbeats++;
		hand_over(c);
		ask_again(look.now);
	}
	bpf_loop(config.nr_cpu_ids, rescue_cpu, &look, 0);
	bpf_loop(domains_ever(), rescue_domain, &look, 0);
	rescue_domain(PYLAND_NR_DOMAINS, &look);
	shared.key_step_ns = key_step_ns(config.longest_ns, user.margin_ns, shared.usual_ns,
					 look.most_waiting,
					 config.nr_cpu_ids / (config.nr_llcs ? config.nr_llcs : 1));
	shared.due_ns = DUE_AT_ONCE;
	wake_cpu_for_user_space();
	bpf_rcu_read_unlock();
	next_ns = until_next_beat_ns();
	bpf_timer_start(&h->timer, next_ns, 0);
	/*
	 * If a task was queued or the policy swapped meanwhile, another CPU may have set the timer
	 * just before this call, which has put it off again.
	 */
	if (next_ns > config.heartbeat_ns &&
	    (!READ_ONCE(shared.quiet) || shared.handed_over != READ_ONCE(user.generation)))
		bpf_timer_start(&h->timer, config.heartbeat_ns, 0);
	return 0;
}

#endif
