/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * If the policy has set domains: which task a CPU takes from the domains that it serves, by rank,
 * and from those that only spill to it.
 */
#ifndef PYLAND_SERVED_BPF_H
#define PYLAND_SERVED_BPF_H

#include "heads.bpf.h"

/*
 * The search for the domain whose head goes first, of those that the CPU serves. Of the domains
 * with waiting tasks the highest rank goes first; of one rank, the lowest key.
 */
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

/* True if the tasks without a domain, which have rank 0, go before the head of the domain found. */
static __always_inline bool outside_goes_first(const struct find_served *find)
{
	u64 key_ns = 0;

	if (scx_bpf_dsq_nr_queued(OUTSIDE_DSQ) <= 0)
		return false;
	return find->domain == NO_DOMAIN || (find->rank <= 0 && head_vtime(OUTSIDE_DSQ, &key_ns) &&
					     (s64)(key_ns - find->key_ns) < 0);
}

/* What the ranks say of the head of a CPU's own queue and a domain. */
enum by_rank {
	BY_KEY,
	OWN_FIRST,
	DOMAIN_FIRST,
};

static __always_inline enum by_rank compare_ranks(struct task_struct *p, s32 rank)
{
	struct task_ctx *t = task_state(p);
	s32 own;

	/* A task of one CPU waits here whatever its domain is. */
	if (!t || p->nr_cpus_allowed == 1)
		return BY_KEY;
	own = rank_of(t);
	return own == rank ? BY_KEY : own > rank ? OWN_FIRST : DOMAIN_FIRST;
}

/* If the ranks differ, the key of the head of the CPU's own queue may be of another scale. */
static __always_inline enum by_rank own_by_rank(s32 cpu, const struct find_served *find)
{
	enum by_rank found = BY_KEY;
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;

	if (scx_bpf_dsq_nr_queued(cpu) <= 0)
		return BY_KEY;
	if (bpf_ksym_exists(scx_bpf_dsq_peek)) {
		p = scx_bpf_dsq_peek(cpu);
		return p ? compare_ranks(p, find->rank) : BY_KEY;
	}
	if (!bpf_iter_scx_dsq_new(&it, cpu, 0)) {
		p = bpf_iter_scx_dsq_next(&it);
		if (p)
			found = compare_ranks(p, find->rank);
	}
	bpf_iter_scx_dsq_destroy(&it);
	return found;
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
	enum by_rank ranks;
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
	ranks = own_by_rank(cpu, &find);
	c->own_head_ns = 0;
	if ((ranks == OWN_FIRST || (ranks == BY_KEY && own_goes_first(cpu, dsq_id, c, now))) &&
	    dsq_move_to_local(cpu)) {
		c->last_was_own = 1;
		return true;
	}
	c->last_was_own = 0;
	if (take_of_domain(cpu, dsq_id, now) || dsq_move_to_local(cpu))
		return true;
	/* This CPU may run no task of the domain found: try the other domains. */
	find.domain = NO_DOMAIN;
	bpf_loop(nr, take_served_at, &find, 0);
	return find.domain != NO_DOMAIN || dsq_move_to_local(OUTSIDE_DSQ);
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

#endif
