/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Slices that end between two ticks. The kernel ends a slice at a tick: with 250 ticks a second,
 * a task behind a slice of 1 ms waits up to 4 ms. While a task waits for a CPU, a timer of that
 * CPU ends the slice in time, but not before a shortest slice.
 */
#ifndef PYLAND_SLICE_TIMERS_BPF_H
#define PYLAND_SLICE_TIMERS_BPF_H

#include "taking.bpf.h"

/* Preempts the task that runs on @cpu at once for a task with this key. */
static __always_inline void kick_for(s32 cpu, struct pyland_cpu *c, u64 vtime_ns)
{
	c->next_vtime_ns = vtime_ns;
	c->kicked = 1;
	scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_PREEMPT));
}

/* True if the policy lets the kernel's ticks end slices, and the CPU has ticks. */
static __always_inline bool ends_at_ticks(const struct pyland_cpu *c)
{
	return (user.wanted & PYLAND_WANT_TICKS) && !c->nohz_full;
}

static int slice_is_over(void *map, u32 *key, struct slice_timer *s)
{
	s32 cpu = *key;
	struct pyland_cpu *c = cpu_state(cpu);
	s64 left_ns;

	if (!c)
		return 0;
	/* Before the look, in an order that all CPUs see: they queue a task before they read this. */
	__sync_lock_test_and_set(&c->slice_timed_by, 0);
	if (!c->running_since_ns || (ends_at_ticks(c) && !c->preempting) ||
	    !work_is_queued(cpu, c->llc)) {
		c->preempting = 0;
		return 0;
	}
	c->slice_timed_by = bpf_get_smp_processor_id() + 1;
	left_ns = c->running_since_ns + c->running_slice_ns - now_ns();
	if (left_ns < (s64)SLICE_SLACK_NS) {
		c->sliced++;
		if (c->preempting)
			kick_for(cpu, c, c->next_vtime_ns);
		else
			scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_PREEMPT));
		c->preempting = 0;
		left_ns = config.shortest_ns;
	}
	c->timer_ends_ns = now_ns() + left_ns;
	bpf_timer_start(&s->timer, left_ns, TIMER_CPU_PIN);
	return 0;
}

static long init_slice_timer(u64 cpu, void *context)
{
	u32 key = cpu;
	struct slice_timer *s = bpf_map_lookup_elem(&slice_timers, &key);

	if (!s)
		return 1;
	bpf_timer_init(&s->timer, &slice_timers, 1 /* CLOCK_MONOTONIC */);
	bpf_timer_set_callback(&s->timer, slice_is_over);
	return 0;
}

static __always_inline void look_in(s32 cpu, struct pyland_cpu *c, u64 after_ns)
{
	u32 key = cpu;
	struct slice_timer *s = bpf_map_lookup_elem(&slice_timers, &key);

	if (!s)
		return;
	c->slice_timed_by = bpf_get_smp_processor_id() + 1;
	c->timer_ends_ns = now_ns() + after_ns;
	bpf_timer_start(&s->timer, after_ns, TIMER_CPU_PIN);
}

/*
 * True if the timer is set. A timer that another CPU has set expires on that CPU, and costs an
 * interrupt between the two CPUs. So a CPU sets its own timer again as soon as it can.
 */
static __always_inline bool is_timed(s32 cpu, const struct pyland_cpu *c)
{
	s32 here = bpf_get_smp_processor_id();

	return c->slice_timed_by && (here != cpu || c->slice_timed_by == (u32)here + 1);
}

/*
 * True if the timer is set, and soon enough. That is so for a slice of usual length: the timer
 * expires once in a shortest slice. To set it costs more than a switch, so only the slice of a
 * light task moves it.
 */
static __always_inline bool is_timed_in_time(s32 cpu, const struct pyland_cpu *c)
{
	if (!is_timed(cpu, c))
		return false;
	return c->running_slice_ns >= config.shortest_ns ||
	       (s64)(c->timer_ends_ns - c->running_since_ns - c->running_slice_ns) <=
	       (s64)SLICE_SLACK_NS;
}

/* Sets the timer of the CPU, if a task may wait for the one that runs there. */
static __always_inline void time_slice(s32 cpu, struct pyland_cpu *c, u64 now)
{
	if (!c->running_since_ns || ends_at_ticks(c) || is_timed_in_time(cpu, c) ||
	    (c->running_slice_ns >= SLICE_TIMED_NS && !c->nohz_full) || !work_is_queued(cpu, c->llc))
		return;
	/* The task may have run for long while no other task waited. */
	look_in(cpu, c, slice_ends_in(c->running_since_ns, c->running_slice_ns, now));
}

/*
 * Preempts the task that runs on the CPU for a task with this key, after a moment. Often the first
 * has woken the second and is about to sleep. Preempted at once, it would wait for a CPU only to
 * sleep.
 */
static __always_inline void preempt_after(s32 cpu, struct pyland_cpu *c, u64 now, u64 after_ns,
					  u64 vtime_ns)
{
	u64 until_ns = now - c->running_since_ns + after_ns;

	c->preempting = 1;
	c->next_vtime_ns = vtime_ns;
	if (c->running_slice_ns > until_ns)
		c->running_slice_ns = until_ns;
	else if (is_timed(cpu, c) && (s64)(c->timer_ends_ns - now - after_ns) <= (s64)SLICE_SLACK_NS)
		return;
	look_in(cpu, c, after_ns);
}

/* The same, after at least PREEMPT_DELAY_NS. */
static __always_inline void preempt_soon(s32 cpu, struct pyland_cpu *c, u64 now, u64 after_ns,
					 u64 vtime_ns)
{
	preempt_after(cpu, c, now, after_ns < PREEMPT_DELAY_NS ? PREEMPT_DELAY_NS : after_ns,
		      vtime_ns);
}

#endif
