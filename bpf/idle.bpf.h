/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which idle CPU a task gets. Every function that returns an idle CPU has taken it from the
 * kernel's mask of idle CPUs: the caller must give the CPU a task or kick it.
 */
#ifndef PYLAND_IDLE_BPF_H
#define PYLAND_IDLE_BPF_H

#include "previous_cpu.bpf.h"

static __always_inline s32 pick_idle(const struct cpumask *from, s32 near_cpu, u64 flags)
{
	struct pyland_cpu *near;
	u64 in_node = 0;
	s32 node, cpu;

	if (!config.idle_per_node || !bpf_ksym_exists(scx_bpf_pick_idle_cpu_node))
		return scx_bpf_pick_idle_cpu(from, flags);
	near = cpu_state(near_cpu);
	node = near ? near->node : 0;
	if (config.numa_local)
		in_node = kernel_enum(scx_pick_idle_cpu_flags, SCX_PICK_IDLE_IN_NODE);
	cpu = scx_bpf_pick_idle_cpu_node(from, node, flags | in_node);
	if (cpu >= 0 || !in_node)
		return cpu;
	return scx_bpf_pick_idle_cpu_node(from, node, flags);
}

/* Any idle CPU of these; negative if there is none. */
static __noinline s32 pick_idle_cpu(const struct cpumask *allowed, s32 near_cpu)
{
	return pick_idle(allowed, near_cpu, 0);
}

/*
 * An idle CPU of a domain's home, or of where it spills to: the task's previous CPU or any other,
 * those with an idle core first.
 */
APART s32 pick_in_mask(const struct task_struct *p __arg_trusted, u32 domain, bool spills,
		       s32 prev_cpu)
{
	struct domain_masks *masks = masks_of(domain);
	const struct cpumask *from, *cores;
	struct scratch_mask *scratch;
	struct bpf_cpumask *mask, *both;
	bool core_idles = true;
	u32 key = 0;
	s32 cpu;

	if (!masks)
		return -1;
	if (spills)
		mask = masks->spill;
	else
		mask = masks->home;
	if (!mask)
		return -1;
	from = (const struct cpumask *)mask;
	if (p->nr_cpus_allowed < (int)config.nr_cpu_ids) {
		scratch = bpf_map_lookup_elem(&scratch_masks, &key);
		if (!scratch || (!scratch->mask && !make_mask(&scratch->mask)))
			return -1;
		both = scratch->mask;
		if (!both || !bpf_cpumask_and(both, from, p->cpus_ptr))
			return -1;
		from = (const struct cpumask *)both;
	}
	if (bpf_cpumask_test_cpu(prev_cpu, from)) {
		if (!config.idle_per_node &&
		    !searches(domain, PYLAND_SEARCH_PREVIOUS | PYLAND_SEARCH_PREEMPT)) {
			cores = scx_bpf_get_idle_smtmask();
			core_idles = bpf_cpumask_test_cpu(prev_cpu, cores);
			scx_bpf_put_idle_cpumask(cores);
		}
		if (core_idles && scx_bpf_test_and_clear_cpu_idle(prev_cpu))
			return prev_cpu;
	} else {
		core_idles = true;	/* so that prev_cpu is not tried again below */
	}
	cpu = pick_idle(from, prev_cpu, kernel_enum(scx_pick_idle_cpu_flags, SCX_PICK_IDLE_CORE));
	/* Half of a big core computes no more than a little one. */
	if (cpu >= 0 || domain == BIG_CPUS)
		return cpu;
	if (!core_idles && scx_bpf_test_and_clear_cpu_idle(prev_cpu))
		return prev_cpu;
	return pick_idle(from, prev_cpu, 0);
}

/* True if the task computes, and capacities differ: then it belongs on a CPU that is not little. */
static __always_inline bool wants_big_cpu(const struct task_ctx *t)
{
	return config.hybrid && !sets_domains() && t->awake_runtime_ns > config.shortest_ns;
}

/* A CPU that is not little and whose whole core idles, if the task wants one; else negative. */
static __always_inline s32 pick_big(const struct task_struct *p, const struct task_ctx *t,
				    s32 prev_cpu)
{
	return wants_big_cpu(t) ? pick_in_mask(p, BIG_CPUS, false, prev_cpu) : -1;
}

/* True if the task computes on a little CPU while a whole core idles that is not little. */
APART int leaves_little_cpu(const struct task_struct *p __arg_trusted,
			    const struct task_ctx *t __arg_nonnull, s32 cpu)
{
	struct pyland_cpu *c = cpu_state(cpu);
	const struct cpumask *idle, *big;
	struct domain_masks *masks;
	bool found = false;

	if (!c || !c->little || config.idle_per_node || !wants_big_cpu(t) || !some_cpu_idles())
		return false;
	masks = masks_of(BIG_CPUS);
	if (!masks)
		return false;
	big = (const struct cpumask *)masks->home;
	if (!big || !bpf_cpumask_intersects(p->cpus_ptr, big))
		return false;
	idle = scx_bpf_get_idle_smtmask();
	found = bpf_cpumask_intersects(idle, big);
	scx_bpf_put_idle_cpumask(idle);
	return found;
}

/*
 * An idle CPU for a task of this domain; with NO_DOMAIN, any that its affinity allows. Negative if
 * there is none.
 */
APART s32 pick_in_domain(struct task_struct *p __arg_trusted, u32 domain, s32 prev_cpu)
{
	struct task_ctx *t;
	s32 cpu;

	if (!some_cpu_idles())
		return -1;
	if (domain == NO_DOMAIN || !sets_domains())
		return pick_idle_cpu(p->cpus_ptr, prev_cpu);
	t = task_state(p);
	if (t && stays(p, t, domain, prev_cpu))
		return scx_bpf_test_and_clear_cpu_idle(prev_cpu) ? prev_cpu : -1;
	cpu = pick_in_mask(p, domain, false, prev_cpu);
	return cpu >= 0 ? cpu : pick_in_mask(p, domain, true, prev_cpu);
}

/* An idle CPU for a task that wakes up, near its previous one; negative when none. */
static __always_inline s32 select_near(struct task_struct *p, const struct task_ctx *t,
				       s32 prev_cpu, u64 wake_flags)
{
	u64 in_node = 0;
	s32 cpu;

	cpu = pick_big(p, t, prev_cpu);
	if (cpu >= 0)
		return cpu;
	if (config.numa_local && config.idle_per_node)
		in_node = kernel_enum(scx_pick_idle_cpu_flags, SCX_PICK_IDLE_IN_NODE);
	cpu = select_idle_cpu(p, prev_cpu, wake_flags, in_node);
	if (cpu < 0 && in_node)
		cpu = select_idle_cpu(p, prev_cpu, wake_flags, 0);
	return cpu;
}

/* An idle CPU for a task in the domain of its last decision, else in that of @cpu; or negative. */
static __always_inline s32 pick_for_task(struct task_struct *p, const struct task_ctx *t,
					 s32 prev_cpu)
{
	s32 cpu;

	if (sets_domains() && preempts_first(p, t, prev_cpu))
		return -1;
	if (sets_domains())
		return pick_in_domain(p, domain_of_task(p, t, prev_cpu), prev_cpu);
	cpu = pick_big(p, t, prev_cpu);
	if (cpu >= 0)
		return cpu;
	return pick_idle_cpu(p->cpus_ptr, prev_cpu);
}

/* True if the task's domain lets this CPU run it; a task without a domain goes by affinity. */
APART int is_admitted(struct task_struct *p __arg_trusted, s32 cpu)
{
	struct task_ctx *t;
	u32 domain;

	if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
		return false;
	t = task_state(p);
	if (!t || p->nr_cpus_allowed == 1)
		return true;
	if (t->place >= 0 && t->generation == user.generation)
		return true;
	domain = domain_of_task(p, t, scx_bpf_task_cpu(p));
	return domain == NO_DOMAIN || may_take_from(cpu, domain);
}

/*
 * A task that has computed for so long since the last question is asked about again: it may belong
 * to another domain by now.
 */
#define ASK_ANEW_NS	(500 * NSEC_PER_MSEC)

/*
 * True if the policy is asked about the task before the task goes to an idle CPU. The task's domain
 * says so; that of its CPU if no decision has placed the task. The policy is not asked about a task
 * whose last decision still lasts. @ran_ns is the part of a turn that is not counted yet.
 */
static __always_inline bool is_asked_first(const struct task_ctx *t, s32 cpu, u64 now, s64 ran_ns)
{
	struct pyland_user_domain *d;
	bool known = t->generation == user.generation;
	u32 domain;

	if (!sets_domains() || (known && (s64)(t->lasts_until_ns - now) > 0))
		return false;
	if ((s64)(t->total_runtime_ns - t->asked_runtime_ns) + ran_ns > (s64)ASK_ANEW_NS)
		return true;
	domain = known && t->place <= PYLAND_CPU_DOMAIN ? (u32)(PYLAND_CPU_DOMAIN - t->place) :
							  domain_of(cpu);
	if (domain == NO_DOMAIN)
		return false;
	d = user_domain(domain);
	return d && d->ask_first;
}

#endif
