/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The queues: which task a CPU takes next.
 */
#ifndef PYLAND_QUEUES_BPF_H
#define PYLAND_QUEUES_BPF_H

#include "idle.bpf.h"
#include "records.bpf.h"
#include "trust.bpf.h"
#include "userspace.bpf.h"

/* How many tasks a CPU looks at to find one that ran there last. */
#define NEAR_LOOKS	12

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

/*
 * True if the head of the CPU's own queue is due before the head of its domain's. With equal keys
 * the two queues take turns. Each look at a head takes 150 instructions, because the kernel
 * searches the queue by its number.
 */
static __always_inline bool own_goes_first(s32 cpu, u64 domain_dsq, const struct pyland_cpu *c)
{
	u64 own_ns = 0, domain_ns = 0;
	s64 ahead_ns;

	if (scx_bpf_dsq_nr_queued(domain_dsq) <= 0)
		return true;
	if (scx_bpf_dsq_nr_queued(cpu) <= 0 || !head_vtime(cpu, &own_ns))
		return false;
	if (!head_vtime(domain_dsq, &domain_ns))
		return true;
	ahead_ns = domain_ns - own_ns;
	return ahead_ns > 0 || (!ahead_ns && !c->last_was_own);
}

/*
 * Takes the head of another domain's queue if it has fallen behind the head of this CPU's domain by
 * more than this. Keys advance more slowly where more tasks share a CPU, so tasks move from there,
 * and each gets its share of the whole machine. Looks at one other domain in the time of a longest
 * slice.
 */
#define FAR_SLICES	2

static __always_inline bool take_from_far(s32 cpu, u64 domain_dsq, struct pyland_cpu *c, u64 now)
{
	u64 far_ns = 0, near_ns = 0, dsq_id;
	u32 nr = nr_domains();

	if (nr < 2 || (s64)(now - c->far_look_ns) < 0)
		return false;
	c->far_look_ns = now + config.longest_ns;
	c->far_domain = c->far_domain + 1 < nr ? c->far_domain + 1 : 0;
	dsq_id = DOMAIN_DSQ + c->far_domain;
	if (dsq_id == domain_dsq || !head_vtime(dsq_id, &far_ns))
		return false;
	if (!head_vtime(domain_dsq, &near_ns)) {
		/* Only the task that ran here wants this CPU: then it is still noted. */
		if (!c->running_since_ns)
			return false;
		near_ns = c->running_vtime_ns + now - c->running_since_ns;
	}
	return (s64)(near_ns - far_ns) > (s64)(FAR_SLICES * config.longest_ns) &&
	       dsq_move_to_local(dsq_id);
}

/* True for a task that must not be passed over: keys say little where tasks yield all the time. */
static __always_inline bool has_waited(struct task_struct *p, u64 now)
{
	struct task_ctx *t = task_state(p);

	return !t || (s64)(now - t->decided_ns) > (s64)config.longest_ns;
}

/*
 * Takes the head of the domain's queue; or, of the next few tasks that are due hardly later, one
 * that ran on this CPU last: it finds its cache warm. Without this, each task that computes gets
 * another CPU at each turn (32 of them on 8 CPUs: 0.63 migrations a switch).
 */
static __always_inline bool take_of_domain(s32 cpu, u64 domain_dsq, struct pyland_cpu *c, u64 now)
{
	u64 here = kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL_ON) | cpu, until_ns = 0;
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	bool taken = false;

	if (scx_bpf_dsq_nr_queued(domain_dsq) < 2)
		return dsq_move_to_local(domain_dsq);
	if (!bpf_iter_scx_dsq_new(&it, domain_dsq, 0)) {
		/* In memory: the verifier would follow each value of a variable. */
		c->looks_left = NEAR_LOOKS;
		while ((p = bpf_iter_scx_dsq_next(&it))) {
			if (c->looks_left == NEAR_LOOKS) {
				if (has_waited(p, now))
					break;
				until_ns = p->scx.dsq_vtime + shared.usual_ns;
			}
			if (!c->looks_left || (s64)(p->scx.dsq_vtime - until_ns) > 0)
				break;
			if (scx_bpf_task_cpu(p) == cpu && bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
				taken = c->looks_left != NEAR_LOOKS && dsq_move(&it, p, here);
				break;
			}
			c->looks_left--;
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	return taken || dsq_move_to_local(domain_dsq);
}

/* The served domain whose head goes first: of the highest rank with tasks, the lowest key. */
struct find_served {
	s32 cpu;
	u32 domain;
	s32 rank;
	u64 key_ns;
};

static long is_served_first(u64 i, void *context)
{
	struct find_served *find = context;
	struct pyland_user_cpu *u = user_cpu(find->cpu);
	struct pyland_user_domain *d;
	u64 key_ns = 0;
	u32 domain;

	if (!u)
		return 1;
	domain = u->served[i % PYLAND_NR_SERVED] % PYLAND_NR_DOMAINS;
	if (scx_bpf_dsq_nr_queued(DOMAIN_DSQ + domain) <= 0)
		return 0;
	d = user_domain(domain);
	if (!d || !serves(find->cpu, domain) || !head_vtime(DOMAIN_DSQ + domain, &key_ns))
		return 0;
	if (find->domain != NO_DOMAIN) {
		if (d->rank < find->rank)
			return 1;
		if ((s64)(key_ns - find->key_ns) >= 0)
			return 0;
	}
	find->domain = domain;
	find->rank = d->rank;
	find->key_ns = key_ns;
	return 0;
}

static long take_served_at(u64 i, void *context)
{
	struct find_served *find = context;
	struct pyland_user_cpu *u = user_cpu(find->cpu);
	u32 domain;

	if (!u)
		return 1;
	domain = u->served[i % PYLAND_NR_SERVED] % PYLAND_NR_DOMAINS;
	if (!serves(find->cpu, domain) || !dsq_move_to_local(DOMAIN_DSQ + domain))
		return 0;
	find->domain = domain;
	return 1;
}

/* True if a task that belongs to no domain here is due before the head of the domain found. */
static __always_inline bool outside_goes_first(const struct find_served *find)
{
	u64 key_ns = 0;

	if (scx_bpf_dsq_nr_queued(OUTSIDE_DSQ) <= 0)
		return false;
	return find->domain == NO_DOMAIN || (find->rank <= 0 && head_vtime(OUTSIDE_DSQ, &key_ns) &&
					     (s64)(key_ns - find->key_ns) < 0);
}

/*
 * Takes a task where the policy has set domains: from the CPU's own queue or from the domains that
 * it serves, whichever is due first.
 */
APART int take_served(s32 cpu, u64 now)
{
	struct find_served find = { .cpu = cpu, .domain = NO_DOMAIN };
	struct pyland_user_cpu *u = user_cpu(cpu);
	struct pyland_cpu *c = cpu_state(cpu);
	u64 dsq_id;
	u32 nr;

	if (!u || !c)
		return false;
	nr = u->nr_served;
	if (nr > PYLAND_NR_SERVED)
		nr = PYLAND_NR_SERVED;
	bpf_loop(nr, is_served_first, &find, 0);
	if (outside_goes_first(&find) && dsq_move_to_local(OUTSIDE_DSQ))
		return true;
	if (find.domain == NO_DOMAIN)
		return dsq_move_to_local(cpu);
	dsq_id = DOMAIN_DSQ + find.domain;
	if (own_goes_first(cpu, dsq_id, c) && dsq_move_to_local(cpu)) {
		c->last_was_own = 1;
		return true;
	}
	c->last_was_own = 0;
	if (take_of_domain(cpu, dsq_id, c, now) || dsq_move_to_local(cpu))
		return true;
	/* The tasks there may not run on this CPU; those of another domain may. */
	find.domain = NO_DOMAIN;
	bpf_loop(nr, take_served_at, &find, 0);
	return find.domain != NO_DOMAIN || dsq_move_to_local(OUTSIDE_DSQ);
}

/* Takes the task that is due first, from the CPU's own queue and its domain's. */
APART int take_ordered(s32 cpu, u64 now)
{
	struct pyland_cpu *c = cpu_state(cpu);
	u64 domain_dsq = queue_at(cpu);
	bool own_first;

	if (!c)
		return false;
	if (sets_domains())
		return take_served(cpu, now);
	if (take_from_far(cpu, domain_dsq, c, now))
		return true;
	own_first = own_goes_first(cpu, domain_dsq, c);
	if (own_first && dsq_move_to_local(cpu)) {
		c->last_was_own = 1;
		return true;
	}
	c->last_was_own = 0;
	return take_of_domain(cpu, domain_dsq, c, now) || (!own_first && dsq_move_to_local(cpu));
}

/* A search through the domains from which a CPU may take, near ones first. */
struct find_spilled {
	s32 cpu;
	u32 nr;
	u32 begin;
	bool found;
};

static __always_inline void begin_near(struct find_spilled *find)
{
	find->nr = nr_domains();
	find->begin = domain_of(find->cpu) + 1;
	if (find->begin >= find->nr)
		find->begin = 0;
}

static __always_inline u32 spilled_at(const struct find_spilled *find, u32 i)
{
	u32 at = find->begin + i;

	return at < find->nr ? at : at - find->nr;
}

static long is_spilled_at(u64 i, void *context)
{
	struct find_spilled *find = context;
	u32 domain = spilled_at(find, i);

	find->found = scx_bpf_dsq_nr_queued(DOMAIN_DSQ + domain) > 0 &&
		      may_take_from(find->cpu, domain);
	return find->found;
}

static long take_spilled_at(u64 i, void *context)
{
	struct find_spilled *find = context;
	u32 domain = spilled_at(find, i);

	find->found = scx_bpf_dsq_nr_queued(DOMAIN_DSQ + domain) > 0 &&
		      may_take_from(find->cpu, domain) && dsq_move_to_local(DOMAIN_DSQ + domain);
	return find->found;
}

/* For a CPU that would idle: takes a task that waits in another domain, or for another CPU. */
APART int take_elsewhere(s32 cpu, u64 now)
{
	struct find_spilled find = { .cpu = cpu };

	if (sets_domains()) {
		begin_near(&find);
		bpf_loop(find.nr, take_spilled_at, &find, 0);
		return find.found;
	}
	return take_of_range(DOMAIN_DSQ, nr_domains(), domain_of(cpu)) ||
	       (!shared.places && (s64)(now - shared.own_queued_ns) < (s64)OWN_QUEUED_NS &&
		take_of_range(0, config.nr_cpu_ids, cpu));
}

static long is_waiting_at(u64 i, void *context)
{
	struct find_spilled *find = context;
	struct pyland_user_cpu *u = user_cpu(find->cpu);

	if (!u)
		return 1;
	find->found = scx_bpf_dsq_nr_queued(DOMAIN_DSQ + u->served[i % PYLAND_NR_SERVED] %
					    PYLAND_NR_DOMAINS) > 0;
	return find->found;
}

/* True if a task waits in a queue that this CPU serves: then the task that runs has a slice. */
static __noinline bool work_is_queued(s32 cpu, u32 llc)
{
	struct find_spilled find = { .cpu = cpu };
	struct pyland_user_cpu *u;
	u32 nr;

	if (scx_bpf_dsq_nr_queued(cpu) > 0 || scx_bpf_dsq_nr_queued(HOLDING_DSQ + llc) > 0 ||
	    (scheduler_waits() && scheduler_has_work(false)))
		return true;
	if (!sets_domains())
		return scx_bpf_dsq_nr_queued(queue_at(cpu)) > 0;
	if (scx_bpf_dsq_nr_queued(OUTSIDE_DSQ) > 0)
		return true;
	u = user_cpu(cpu);
	nr = u ? u->nr_served : 0;
	if (nr > PYLAND_NR_SERVED)
		nr = PYLAND_NR_SERVED;
	bpf_loop(nr, is_waiting_at, &find, 0);
	return find.found;
}

/* True if a task waits that this CPU can take: then the CPU must not go idle. */
static __noinline bool work_for_idle_cpu(s32 cpu, u32 llc)
{
	struct find_spilled find = { .cpu = cpu };

	if (work_is_queued(cpu, llc))
		return true;
	if (!sets_domains())
		return config.nr_llcs > 1 && some_queued(DOMAIN_DSQ, nr_domains());
	begin_near(&find);
	bpf_loop(find.nr, is_spilled_at, &find, 0);
	return find.found;
}

/* Wakes an idle CPU that user space may use: this one if it idles. */
static __always_inline void wake_cpu_for_user_space(void)
{
	s32 cpu = -1, here = bpf_get_smp_processor_id();
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;

	if (!bpf_iter_scx_dsq_new(&it, SCHED_DSQ, 0)) {
		p = bpf_iter_scx_dsq_next(&it);
		if (p && bpf_cpumask_test_cpu(here, p->cpus_ptr) &&
		    scx_bpf_test_and_clear_cpu_idle(here))
			cpu = here;
		else if (p)
			cpu = pick_idle_cpu(p->cpus_ptr, here);
	}
	bpf_iter_scx_dsq_destroy(&it);
	if (cpu >= 0)
		scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
}

/*
 * The policy is asked about a task although a CPU may idle: the task waits for other CPUs. Such a
 * CPU runs user space at once.
 */
static __noinline void wake_user_space(void)
{
	if (!some_cpu_idles() || !scheduler_waits())
		return;
	shared.due_ns = DUE_AT_ONCE;
	wake_cpu_for_user_space();
}

#endif
