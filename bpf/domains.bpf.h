/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Domains: sets of CPUs with a queue. If the policy sets none, there is one for each LLC, and all
 * CPUs help it when they would idle. A policy can set its own (user.nr_domains, user_domains): a
 * home, CPUs to which tasks may spill, and a rank. The policy's memory may have any value: a mask
 * says only that a CPU may look into a queue, and numbers are cut to their range.
 */
#ifndef PYLAND_DOMAINS_BPF_H
#define PYLAND_DOMAINS_BPF_H

#include "domain_masks.bpf.h"

#define NO_DOMAIN	(~0U)

/* The queue of tasks that may run on no CPU of their domain. Every CPU looks into it. */
#define OUTSIDE_DSQ	(DOMAIN_DSQ + PYLAND_NR_DOMAINS)

/* True if the policy has set domains. */
static __always_inline bool sets_domains(void)
{
	return READ_ONCE(user.nr_domains) != 0;
}

/* How many domains there are. */
static __always_inline u32 nr_domains(void)
{
	u32 nr = READ_ONCE(user.nr_domains);

	if (!nr)
		nr = config.nr_llcs;
	if (nr > PYLAND_NR_DOMAINS)
		nr = PYLAND_NR_DOMAINS;
	if (nr > shared.domains_most)
		shared.domains_most = nr;
	return nr;
}

/* How many domains a policy has ever set: a task may wait in any of them. */
static __always_inline u32 domains_ever(void)
{
	u32 nr = nr_domains();

	return shared.domains_most > nr ? shared.domains_most : nr;
}

/* The domain of this CPU's LLC, while the policy sets none. */
static __always_inline u32 domain_of_llc(s32 cpu)
{
	struct pyland_cpu *c = cpu_state(cpu);

	return c ? c->llc % PYLAND_NR_DOMAINS : 0;
}

/* The domain of a task that no decision has placed and that ran on this CPU last; or NO_DOMAIN. */
static __always_inline u32 domain_of(s32 cpu)
{
	struct pyland_user_cpu *u;
	u32 domain;

	if (!sets_domains())
		return domain_of_llc(cpu);
	u = user_cpu(cpu);
	domain = u ? READ_ONCE(u->unplaced) - 1 : NO_DOMAIN;
	return domain < nr_domains() ? domain : NO_DOMAIN;
}

static __always_inline u64 queue_of_domain(u32 domain)
{
	return domain == NO_DOMAIN ? OUTSIDE_DSQ : DOMAIN_DSQ + domain;
}

/* The queue of a task that no decision has placed and that ran on this CPU last. */
static __always_inline u64 queue_at(s32 cpu)
{
	return queue_of_domain(domain_of(cpu));
}

/* True if the CPU is at the domain's home, or the domain's tasks spill to it. */
static __always_inline bool may_take_from(s32 cpu, u32 domain)
{
	struct pyland_user_domain *d = user_domain(domain);

	return d && (is_in(d->cpus, cpu) || is_in(d->spill, cpu));
}

/* True if the CPU looks into this domain's queue before it would idle. */
static __always_inline bool serves(s32 cpu, u32 domain)
{
	struct pyland_user_domain *d;

	if (!sets_domains())
		return domain_of_llc(cpu) == domain;
	d = user_domain(domain);
	return d && (is_in(d->cpus, cpu) || (d->preempt && is_in(d->spill, cpu)));
}

/* True if the policy leaves this CPU free: it has set domains, and the CPU serves none of them. */
static __always_inline bool is_left_free(s32 cpu)
{
	struct pyland_user_cpu *u = user_cpu(cpu);

	return sets_domains() && u && !u->nr_served;
}

struct find_cpu {
	const struct task_struct *p;
	u32 domain;
	bool found;
};

static long is_of_llc(u64 cpu, void *context)
{
	struct find_cpu *find = context;

	find->found = domain_of_llc(cpu) == find->domain &&
		      bpf_cpumask_test_cpu(cpu, find->p->cpus_ptr);
	return find->found;
}

/* True if the task may run on a CPU of the domain, at home or not. */
APART int domain_has_cpu(const struct task_struct *p __arg_trusted, u32 domain)
{
	struct find_cpu find = { .p = p, .domain = domain };
	struct bpf_cpumask *home, *spill;
	struct domain_masks *masks;

	if (domain >= nr_domains())
		return false;
	if (!sets_domains()) {
		/* Nearly all tasks may run on any CPU. */
		bpf_loop(config.nr_cpu_ids, is_of_llc, &find, 0);
		return find.found;
	}
	masks = masks_of(domain);
	if (!masks)
		return false;
	home = masks->home;
	spill = masks->spill;
	return (home && bpf_cpumask_intersects((const struct cpumask *)home, p->cpus_ptr)) ||
	       (spill && bpf_cpumask_intersects((const struct cpumask *)spill, p->cpus_ptr));
}

/* The domain in which the present policy has placed the task; NO_DOMAIN if it has not. */
static __always_inline u32 placed_in(const struct task_ctx *t)
{
	if (!sets_domains() || t->place > PYLAND_CPU_DOMAIN || t->generation != user.generation)
		return NO_DOMAIN;
	return (u32)(PYLAND_CPU_DOMAIN - t->place) % PYLAND_NR_DOMAINS;
}

/* In a cache line of its own: the CPUs of each domain write it. */
struct domain_keys {
	u64 newest_ns;		/* the highest key that ran, by VTIME_STEP_NS */
	u32 generation;		/* of the policy that this is true for */
	u32 pad;
	u64 pad_cache_line[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PYLAND_NR_DOMAINS);
	__type(key, u32);
	__type(value, struct domain_keys);
} domain_keys SEC(".maps");

/* Notes that a task has run at its decided key. A key that BPF works out is no measure. */
static __always_inline void note_domain_key(const struct task_ctx *t, u64 key_ns)
{
	u32 domain = placed_in(t);
	struct domain_keys *keys;

	if (domain == NO_DOMAIN || t->of_bpf || t->key_runtime_ns != t->decided_runtime_ns)
		return;
	keys = bpf_map_lookup_elem(&domain_keys, &domain);
	if (!keys || (keys->generation == user.generation &&
		      (s64)(key_ns - keys->newest_ns) <= (s64)VTIME_STEP_NS))
		return;
	keys->newest_ns = key_ns;
	keys->generation = user.generation;
}

/*
 * The key that a key of this task is compared with: the highest that has run in its domain. A
 * policy may have a virtual time for each domain, and they may be seconds apart. While none has run
 * there, it is the task's own last key.
 */
static __always_inline u64 vtime_of(const struct task_ctx *t)
{
	u32 domain = placed_in(t);
	struct domain_keys *keys;

	if (domain == NO_DOMAIN || shared.handed_over != user.generation)
		return vtime_now();
	keys = bpf_map_lookup_elem(&domain_keys, &domain);
	if (keys && keys->generation == user.generation)
		return keys->newest_ns;
	return t->vtime_known ? t->key_ns : vtime_now();
}

static __always_inline struct pyland_user_domain *placed_domain(const struct task_ctx *t)
{
	u32 domain = placed_in(t);

	return domain != NO_DOMAIN ? user_domain(domain) : NULL;
}

/*
 * The domain to which the task belongs: that of its last decision; while it has none, that of its
 * parent; else that of the CPU. NO_DOMAIN if the task may run on no CPU of that domain.
 */
static __always_inline u32 domain_of_task(const struct task_struct *p, const struct task_ctx *t,
					  s32 cpu)
{
	u32 domain = placed_in(t);

	if (domain == NO_DOMAIN)
		domain = domain_of(cpu);
	return domain != NO_DOMAIN && domain_has_cpu(p, domain) ? domain : NO_DOMAIN;
}

/* The rank of the task's domain. */
static __always_inline s32 rank_of(const struct task_ctx *t)
{
	struct pyland_user_domain *d = placed_domain(t);

	return d ? d->rank : 0;
}

/* True if the task's domain lets it preempt tasks of lower rank. */
static __always_inline bool preempts_by_rank(const struct task_ctx *t)
{
	struct pyland_user_domain *d = placed_domain(t);

	return d && d->preempt;
}

/* Counts the task in its domain's gauges while it is runnable with this weight; 0: it is not. */
static __always_inline void count_in_domain(struct task_ctx *t, u32 weight)
{
	u32 domain = weight ? placed_in(t) + 1 : 0;
	struct pyland_user_domain *d;

	if (domain == t->domain_counted && weight == t->weight_counted)
		return;
	if (t->domain_counted) {
		d = user_domain(t->domain_counted - 1);
		if (d) {
			__sync_fetch_and_add(&d->nr_runnable, -1);
			__sync_fetch_and_add(&d->weight_runnable, -(s64)t->weight_counted);
		}
	}
	t->domain_counted = domain;
	if (!domain)
		return;
	d = user_domain(domain - 1);
	if (d) {
		__sync_fetch_and_add(&d->nr_runnable, 1);
		__sync_fetch_and_add(&d->weight_runnable, weight);
	}
}

/* Adds what the task has run since it was last counted. */
static __always_inline void count_used(struct task_ctx *t, u64 now)
{
	u64 since_ns = t->start_ns;
	struct pyland_user_domain *d;

	if ((s64)(t->counted_ns - since_ns) > 0)
		since_ns = t->counted_ns;
	t->counted_ns = now;
	if (!t->domain_counted || (s64)(now - since_ns) <= 0)
		return;
	d = user_domain(t->domain_counted - 1);
	if (d)
		__sync_fetch_and_add(&d->used_ns, now - since_ns);
}

#endif
