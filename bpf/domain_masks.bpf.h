/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The CPUs of domains: as the policy has set them, and in the form that the kernel's searches take.
 */
#ifndef PYLAND_DOMAIN_MASKS_BPF_H
#define PYLAND_DOMAIN_MASKS_BPF_H

#include "ranges.bpf.h"

static __always_inline struct pyland_user_domain *user_domain(u32 domain)
{
	u32 key = domain;

	return bpf_map_lookup_elem(&user_domains, &key);
}

static __always_inline bool is_in(const u64 *words, s32 cpu)
{
	u32 word = (u32)cpu / 64;

	/* clang 16 would drop the modulo for the comparison, which the verifier does not connect. */
	asm volatile("" : "+r"(word));
	return (u32)cpu < 64 * PYLAND_MASK_WORDS &&
	       (words[word % PYLAND_MASK_WORDS] >> ((u32)cpu % 64) & 1);
}

/* A copy of a domain's masks in the kernel's form, made at this version of the policy's masks. */
struct domain_masks {
	struct bpf_cpumask __kptr *home;
	struct bpf_cpumask __kptr *spill;
	u32 version;
};

/* The entry after those of the domains has the CPUs that are not little, on a hybrid machine. */
#define BIG_CPUS	PYLAND_NR_DOMAINS

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PYLAND_NR_DOMAINS + 1);
	__type(key, u32);
	__type(value, struct domain_masks);
} domain_masks SEC(".maps");

struct scratch_mask {
	struct bpf_cpumask __kptr *mask;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct scratch_mask);
} scratch_masks SEC(".maps");

static __always_inline bool make_mask(struct bpf_cpumask **at)
{
	struct bpf_cpumask *mask = bpf_cpumask_create(), *old;

	if (!mask)
		return false;
	old = bpf_kptr_xchg(at, mask);
	if (old)
		bpf_cpumask_release(old);
	return true;
}

static long copy_cpu(u64 cpu, void *context)
{
	u32 key = *(u32 *)context;
	struct domain_masks *masks = bpf_map_lookup_elem(&domain_masks, &key);
	struct pyland_user_domain *d = user_domain(key);
	struct bpf_cpumask *home, *spill;

	if (!masks || !d)
		return 1;
	home = masks->home;
	spill = masks->spill;
	if (!home || !spill)
		return 1;
	/* An affinity may have CPUs that are offline. These must not count as the domain's. */
	if (is_in(d->cpus, cpu) && is_online(cpu))
		bpf_cpumask_set_cpu(cpu, home);
	else
		bpf_cpumask_clear_cpu(cpu, home);
	if (is_in(d->spill, cpu) && is_online(cpu))
		bpf_cpumask_set_cpu(cpu, spill);
	else
		bpf_cpumask_clear_cpu(cpu, spill);
	return 0;
}

/* Brings the domain's masks up to date; false if it has none. */
APART int copy_masks(u32 domain)
{
	u32 key = domain, version;
	struct domain_masks *masks = bpf_map_lookup_elem(&domain_masks, &key);
	struct pyland_user_domain *d = user_domain(domain);

	if (!masks || !d)
		return false;
	version = READ_ONCE(d->version);
	if ((!masks->home && !make_mask(&masks->home)) ||
	    (!masks->spill && !make_mask(&masks->spill)))
		return false;
	bpf_loop(config.nr_cpu_ids, copy_cpu, &key, 0);
	masks->version = version;
	return true;
}

static long copy_big_cpu(u64 cpu, void *context)
{
	u32 key = BIG_CPUS;
	struct domain_masks *masks = bpf_map_lookup_elem(&domain_masks, &key);
	struct pyland_cpu *c = cpu_state(cpu);
	struct bpf_cpumask *home;

	if (!masks || !c)
		return 1;
	home = masks->home;
	if (!home)
		return 1;
	if (!c->little && is_online(cpu))
		bpf_cpumask_set_cpu(cpu, home);
	return 0;
}

/* Makes the mask of the CPUs that are not little, once: pyland restarts if a CPU goes or comes. */
APART int make_big_cpus(void)
{
	u32 key = BIG_CPUS;
	struct domain_masks *masks = bpf_map_lookup_elem(&domain_masks, &key);

	if (!masks || (!masks->home && !make_mask(&masks->home)))
		return false;
	bpf_loop(config.nr_cpu_ids, copy_big_cpu, NULL, 0);
	masks->version = 1;
	return true;
}

/* The domain's masks as they are at this moment. */
static __always_inline struct domain_masks *masks_of(u32 domain)
{
	u32 key = domain;
	struct domain_masks *masks = bpf_map_lookup_elem(&domain_masks, &key);
	struct pyland_user_domain *d;

	if (!masks)
		return NULL;
	if (domain == BIG_CPUS)
		return masks->version || make_big_cpus() ? masks : NULL;
	d = user_domain(domain);
	if (!d)
		return NULL;
	if (masks->version == READ_ONCE(d->version) && masks->home && masks->spill)
		return masks;
	return copy_masks(domain) ? masks : NULL;
}

#endif
