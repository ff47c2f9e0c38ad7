/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The turn of a task: it begins when the task gets a CPU or a new slice there, and ends when the
 * slice ends or the task leaves the CPU.
 */
#ifndef PYLAND_TURNS_BPF_H
#define PYLAND_TURNS_BPF_H

#include "asking.bpf.h"
#include "bandwidth.bpf.h"
#include "interim.bpf.h"
#include "kernel_work.bpf.h"
#include "runnable.bpf.h"
#include "served.bpf.h"
#include "slice_timers.bpf.h"
#include "traced.bpf.h"

/*
 * Notes the key of a task that was put on a CPU by its key: other keys are compared with the
 * highest. BPF's own keys are no measure once tasks with keys of the policy run again. Keys of the
 * kernel's helpers are never a measure: at the least weight, 10 ms of CPU time move a key by a
 * second, and with it the keys of all tasks that are queued while user space lags.
 */
static __always_inline void note_vtime(const struct task_ctx *t, u64 vtime_ns)
{
	bool of_policy = !t->of_bpf;

	if (t->kernel_helper)
		return;
	note_domain_key(t, vtime_ns);
	if ((of_policy && shared.vtime_of_bpf) ||
	    (s64)(vtime_ns - shared.vtime_now) > (s64)VTIME_STEP_NS) {
		shared.vtime_now = vtime_ns;
		shared.vtime_of_bpf = !of_policy;
	}
}

/* Begins a turn of a task on its CPU, at t->start_ns, with this slice and this key. */
static __always_inline void begin_turn(const struct task_struct *p, const struct task_ctx *t,
				       struct pyland_cpu *c, u64 slice_ns, u64 key_ns)
{
	u64 least_ns = config.shortest_ns;

	/* A light task's key grows faster, so its least slice is shorter: that bounds the step. */
	if (weight_of(p, t) < 100)
		least_ns = slice_of_weight(least_ns, weight_of(p, t));
	c->running_since_ns = t->start_ns;
	c->running_awake_ns = t->awake_runtime_ns;
	c->running_computes = t->awake_runtime_ns > pause_ns();
	c->running_slice_ns = slice_ns > least_ns ? slice_ns : least_ns;
	c->running_vtime_ns = key_ns;
	c->preempting = 0;
	c->kicked = 0;
}

/* Counts the CPU time of a turn up to @now. */
static __always_inline void count_turn(struct task_ctx *t, struct pyland_user_cpu *u, u64 now)
{
	s64 ran_ns = now - t->start_ns;

	if (ran_ns > 0) {
		t->run_ns += ran_ns;
		t->awake_runtime_ns += ran_ns;
		t->total_runtime_ns += ran_ns;
		t->left_ns -= t->left_ns < (u64)ran_ns ? t->left_ns : ran_ns;
		if (u)
			u->busy_ns += ran_ns;
		count_used(t, now);
	}
	charge_task(t, now);
}

/* What waits for a CPU, compared with a key. */
enum waiting {
	NO_TASK_WAITS,
	LATER_TASKS_WAIT,
	A_TASK_GOES_BEFORE,
};

static __always_inline enum waiting compare_head(u64 dsq_id, u64 key_ns, enum waiting found)
{
	u64 first_ns = 0;

	if (found == A_TASK_GOES_BEFORE || !head_vtime(dsq_id, &first_ns))
		return found;
	return (s64)(first_ns - key_ns) <= 0 ? A_TASK_GOES_BEFORE : LATER_TASKS_WAIT;
}

struct compare_served {
	s32 cpu;
	u32 domain;
	s32 rank;
	u64 key_ns;
	enum waiting found;
};

/*
 * The same for one of the domains that the CPU serves. Domains of other tasks may have keys of
 * another scale, so only rank decides against them.
 */
static long compare_served_at(u64 i, void *context)
{
	struct compare_served *compare = context;
	struct pyland_user_cpu *u = user_cpu(compare->cpu);
	struct pyland_user_domain *d;
	u32 domain;

	if (!u)
		return 1;
	domain = u->served[i % PYLAND_NR_SERVED] % PYLAND_NR_DOMAINS;
	d = user_domain(domain);
	if (!d || scx_bpf_dsq_nr_queued(DOMAIN_DSQ + domain) <= 0 || !serves(compare->cpu, domain))
		return 0;
	if (domain == compare->domain)
		compare->found = compare_head(DOMAIN_DSQ + domain, compare->key_ns, compare->found);
	else
		compare->found = d->rank < compare->rank ? LATER_TASKS_WAIT : A_TASK_GOES_BEFORE;
	return compare->found == A_TASK_GOES_BEFORE;
}

/* Compares the tasks that wait for this CPU with a task of this domain and this key. */
APART int compare_waiting(s32 cpu, u32 domain, s32 rank, u64 key_ns)
{
	struct compare_served compare = {
		.cpu = cpu,
		.domain = domain,
		.rank = rank,
		.key_ns = key_ns,
		.found = NO_TASK_WAITS,
	};
	struct pyland_user_cpu *u = user_cpu(cpu);
	u32 nr = u ? u->nr_served : 0;
	enum waiting found;

	if (!sets_domains()) {
		found = compare_head(cpu, key_ns, NO_TASK_WAITS);
		return compare_head(queue_at(cpu), key_ns, found);
	}
	/* So may tasks that wait outside of the CPU's domains. */
	if (scx_bpf_dsq_nr_queued(cpu) > 0 || scx_bpf_dsq_nr_queued(OUTSIDE_DSQ) > 0)
		return A_TASK_GOES_BEFORE;
	if (nr > PYLAND_NR_SERVED)
		nr = PYLAND_NR_SERVED;
	bpf_loop(nr, compare_served_at, &compare, 0);
	return compare.found;
}

/* True on a CPU where its last decision has placed the task. To others it has only spilled. */
static __always_inline bool is_placed_here(const struct task_ctx *t, s32 cpu)
{
	u32 domain = placed_in(t);

	if (sets_domains())
		return domain != NO_DOMAIN && serves(cpu, domain);
	if (t->place <= PYLAND_CPU_DOMAIN)
		return (u32)(PYLAND_CPU_DOMAIN - t->place) == domain_of(cpu);
	return t->place < 0 || t->place == cpu;
}

/*
 * True if the task can go on here while the policy decides it. Else it has to be queued before the
 * policy is asked about it.
 */
static __always_inline bool may_go_on(const struct task_struct *p, const struct task_ctx *t,
				      const struct pyland_cpu *c, s32 cpu)
{
	return c->running_since_ns && !c->kicked && !t->yielded && t->queue == QUEUE_NONE &&
	       t->vtime_known && !t->of_bpf && t->generation == user.generation &&
	       shared.handed_over == user.generation && !shared.lagging &&
	       !is_kernel_work(p, t) && !(user.wanted & (PYLAND_WANT_HOLD | PYLAND_WANT_ARRIVAL)) &&
	       is_placed_here(t, cpu);
}

/*
 * True if a task that runs alone, slice after slice, is to be queued again: because a faster CPU
 * idles, or because the policy has to be asked about it and it cannot go on meanwhile.
 */
static __always_inline bool leaves_cpu(const struct task_struct *p, const struct task_ctx *t,
				       const struct pyland_cpu *c, s32 cpu, u64 now)
{
	return t && c && !is_migration_disabled(p) &&
	       ((is_asked_first(t, cpu, now, now - t->start_ns) && !may_go_on(p, t, c, cpu)) ||
		(config.hybrid && leaves_little_cpu(p, t, cpu)));
}

/*
 * Gives the task that runs on this CPU a new turn with this key. The policy is asked about it, or
 * it is the next slice of the task's decision.
 */
static __always_inline bool new_turn(struct task_struct *p, struct task_ctx *t,
				     struct pyland_cpu *c, s32 cpu, u64 now, u64 key_ns)
{
	struct pyland_user_cpu *u = user_cpu(cpu);
	u64 slice_ns;
	bool next;

	if (!u)
		return false;
	count_turn(t, u, now);
	t->start_ns = now;
	note_runnable(p, t, false, now);
	t->ready_ns = 0;
	t->key_ns = key_ns;
	t->key_runtime_ns = t->total_runtime_ns;
	t->decided_ns = now;
	next = begin_next_slice(p, t, now);
	slice_ns = next ? t->left_ns : interim_slice(p, t);
	if (next) {
		c->continued++;
	} else {
		end_grant(t);
		ask(p, t, cpu, now, 0);
	}
	traced(traced_task(p, t, next ? PYLAND_TRACED_CONTINUED : t->asked ? PYLAND_TRACED_ASKED :
								     PYLAND_TRACED_UNASKED),
	       kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL), t->asked, key_ns, slice_ns);
	task_set_slice(p, slice_ns);
	begin_turn(p, t, c, slice_ns, key_ns);
	note_vtime(t, key_ns);
	u->running_since_ns = now;
	u->running_vtime_ns = key_ns;
	time_slice(cpu, c, now);
	return true;
}

/*
 * True if the task @p, whose slice has ended on this CPU, has a new turn there, because it is due
 * before all tasks that wait. The kernel queues such a task after this CPU has taken another one,
 * and the task would wait for a whole slice although it goes first (weights of 87 and 1 on eight
 * CPUs, slices of 1 ms: 0.76 of a CPU, and not 1). The policy is asked about it as if it waited.
 */
APART int goes_on(struct task_struct *p __arg_trusted, struct task_ctx *t __arg_nonnull, s32 cpu,
		  u64 now)
{
	struct pyland_cpu *c = cpu_state(cpu);
	u64 key_ns;
	s64 ran_ns;

	if (!c || !may_go_on(p, t, c, cpu))
		return false;
	ran_ns = now - t->start_ns;
	if (ran_ns <= 0 || (s64)t->left_ns - ran_ns > (s64)SLICE_SLACK_NS)
		return false;
	t->woke_up = 0;
	c->running_rank = rank_of(t);
	key_ns = clamp_vtime(interim_key(p, t, now, ran_ns));
	/* If no task waits, dispatch gives the task a slice. */
	if (compare_waiting(cpu, placed_in(t), c->running_rank, key_ns) != LATER_TASKS_WAIT)
		return false;
	return new_turn(p, t, c, cpu, now, key_ns);
}

/*
 * Asks the policy about a task that runs alone slice after slice, if it is to be asked. True if the
 * task has a new turn. What waits for this CPU, if anything, may not run here.
 */
APART int asks_alone(struct task_struct *p __arg_trusted, struct task_ctx *t __arg_nonnull, s32 cpu,
		     u64 now)
{
	struct pyland_cpu *c = cpu_state(cpu);
	s64 ran_ns = now - t->start_ns;

	if (!c || !is_asked_first(t, cpu, now, ran_ns) || !may_go_on(p, t, c, cpu))
		return false;
	t->woke_up = 0;
	c->running_rank = rank_of(t);
	return new_turn(p, t, c, cpu, now, clamp_vtime(interim_key(p, t, now, ran_ns)));
}

#endif
