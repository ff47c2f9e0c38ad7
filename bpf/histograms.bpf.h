/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is counted of every run of a task, and the histograms, which are kept only while they are
 * wanted. Without a wish each place costs one look at a flag.
 *
 * A histogram of all tasks is kept for each CPU apart. Those of classes, cgroups, names and queues
 * are in a table of slots, which all CPUs share: it has to have an end, and a copy for each CPU
 * would take a megabyte of memory for each. A key has a slot if one of a few places in its kind's
 * part of the table is free; other keys are counted together.
 */
#ifndef PYLAND_HISTOGRAMS_BPF_H
#define PYLAND_HISTOGRAMS_BPF_H

#include "state.bpf.h"

/* In how many places a key is looked for. */
#define SLOT_LOOKS	8
#define SLOT_EPOCH	0xffffULL

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct pyland_cpu_histograms);
} histograms SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PYLAND_NR_BY * (PYLAND_NR_SLOTS + 1));
	__type(key, u32);
	__type(value, struct pyland_slot);
} histogram_slots SEC(".maps");

/* The slot number @at of a kind of keys. */
static __always_inline struct pyland_slot *slot_at(u32 by, u32 at)
{
	u32 index = by * (PYLAND_NR_SLOTS + 1) + at;

	return bpf_map_lookup_elem(&histogram_slots, &index);
}

/* True if the slot has this key, or is free and has it after this call. */
static __always_inline bool takes_key(struct pyland_slot *s, u64 key, u64 first, u64 second)
{
	u64 found = READ_ONCE(s->key);

	if (found == key)
		return true;
	if ((found & SLOT_EPOCH) == (key & SLOT_EPOCH))
		return false;
	if (__sync_val_compare_and_swap(&s->key, found, key) != found)
		return READ_ONCE(s->key) == key;
	s->name[0] = first;
	s->name[1] = second;
	return true;
}

/* The number of the key's slot; PYLAND_NR_SLOTS if the key has none. */
APART u32 slot_of(u32 by, u64 first, u64 second)
{
	u64 hash = (first ^ (second << 23 | second >> 41)) * 0x9e3779b97f4a7c15ULL, key;
	struct pyland_slot *s;
	u32 at, i;

	hash ^= hash >> 32;
	key = (hash & ~SLOT_EPOCH) | (watch.epochs[by % PYLAND_NR_BY] & SLOT_EPOCH);
	for (i = 0; i < SLOT_LOOKS; i++) {
		at = ((hash >> 16) + i) % PYLAND_NR_SLOTS;
		s = slot_at(by, at);
		if (s && takes_key(s, key, first, second))
			return at;
	}
	return PYLAND_NR_SLOTS;
}

/* Adds a value to a histogram of a key; @place stands for the histogram and the bucket. */
APART u32 keep_of(u32 by, u64 first, u64 second, u32 place, u64 value)
{
	struct pyland_slot *s = slot_at(by, slot_of(by, first, second));
	u32 hist = place / PYLAND_NR_BUCKETS, bucket = place % PYLAND_NR_BUCKETS;

	if (!s || hist >= PYLAND_NR_HISTS)
		return 0;
	__sync_fetch_and_add(&s->each[hist].sum, value);
	__sync_fetch_and_add(&s->each[hist].buckets[bucket], 1);
	return 0;
}

/* Adds a value to the histogram of all tasks; returns the place for @keep_of. */
APART u32 keep_total(u32 hist, u64 value)
{
	u32 cpu = bpf_get_smp_processor_id(), bucket;
	struct pyland_cpu_histograms *h = bpf_map_lookup_elem(&histograms, &cpu);

	if (!h || hist >= PYLAND_NR_HISTS)
		return 0;
	bucket = bucket_of(hist == PYLAND_HIST_QUEUE ? value : value / NSEC_PER_USEC);
	bucket %= PYLAND_NR_BUCKETS;
	h->each[hist].sum += value;
	h->each[hist].buckets[bucket]++;
	return hist * PYLAND_NR_BUCKETS + bucket;
}

/* The queue from which the task went to its CPU, or from which it will go there. */
static __always_inline u64 queue_key(const struct task_ctx *t)
{
	if (t->queue == QUEUE_NONE)
		return (u64)PYLAND_QUEUE_IDLE;
	return t->queue == QUEUE_NEXT ? (u64)PYLAND_QUEUE_NEXT : t->dsq_id;
}

APART int keep(const struct task_struct *p __arg_trusted, const struct task_ctx *t __arg_nonnull,
	       u32 hist, u64 value)
{
	u32 wanted = READ_ONCE(watch.wanted), place = keep_total(hist, value);
	u64 comm[2];

	if (wanted & 2 << PYLAND_BY_CLASS)
		keep_of(PYLAND_BY_CLASS, t->class, 0, place, value);
	if (wanted & 2 << PYLAND_BY_CGROUP)
		keep_of(PYLAND_BY_CGROUP, p->cgroups->dfl_cgrp->kn->id, 0, place, value);
	if (wanted & 2 << PYLAND_BY_COMM) {
		__builtin_memcpy(comm, p->comm, sizeof(comm));
		keep_of(PYLAND_BY_COMM, comm[0], comm[1], place, value);
	}
	/* The time on a CPU belongs to no queue. */
	if (wanted & 2 << PYLAND_BY_QUEUE && hist != PYLAND_HIST_RUN)
		keep_of(PYLAND_BY_QUEUE, queue_key(t), 0, place, value);
	return 0;
}

static __noinline void keep_run(const struct task_struct *p, const struct task_ctx *t, u64 ready_ns)
{
	s64 decided_ns = t->start_ns - t->decided_ns;

	if (ready_ns == t->wakeup_ns)
		keep(p, t, PYLAND_HIST_WAKEUP, t->start_ns - ready_ns);
	/* The policy was asked about the task after its wait began, and has answered. */
	if (!t->asked && t->queue != QUEUE_NONE && (s64)(t->asked_ns - ready_ns) >= 0 &&
	    (s64)(t->decided_ns - t->asked_ns) > 0 && decided_ns >= 0)
		keep(p, t, PYLAND_HIST_DECIDED, decided_ns);
}

static __noinline void note_migration(struct pyland_cpu *c, const struct pyland_cpu *to,
				      s32 from_cpu)
{
	const struct pyland_cpu *from = cpu_state(from_cpu);

	if (!from)
		return;
	if (from->core == to->core)
		c->migrated_core++;
	else if (from->llc == to->llc)
		c->migrated_llc++;
	else if (from->node == to->node)
		c->migrated_node++;
	else
		c->migrated_far++;
}

/* The task begins to run; its queue is still known. */
static __always_inline void note_run(const struct task_struct *p, struct task_ctx *t,
				     struct pyland_cpu *c, const struct pyland_cpu *task_cpu, s32 cpu)
{
	u64 ready_ns = t->ready_ns;

	if (t->ran_on != (u32)cpu + 1) {
		if (t->ran_on)
			note_migration(c, task_cpu, t->ran_on - 1);
		t->ran_on = cpu + 1;
	}
	/* After a change of its nice value, a task begins to run anew without having waited. */
	if (!ready_ns || (s64)(t->start_ns - ready_ns) < 0)
		return;
	t->ready_ns = 0;
	c->run_delay_ns += t->start_ns - ready_ns;
	if (READ_ONCE(watch.wanted))
		keep_run(p, t, ready_ns);
}

static __always_inline void note_stop(const struct task_struct *p, const struct task_ctx *t,
				      struct pyland_cpu *c, s64 ran_ns, bool runnable)
{
	if (runnable)
		c->involuntary++;
	else if (p->__state)
		c->voluntary++;
	if (READ_ONCE(watch.wanted) && ran_ns > 0)
		keep(p, t, PYLAND_HIST_RUN, ran_ns);
}

/* A decision has come for the task. */
static __always_inline void note_decision(const struct task_struct *p, struct task_ctx *t,
					  u64 flags)
{
	u32 class = (flags & PYLAND_DECISION_CLASS) >> PYLAND_CLASS_SHIFT;
	s64 delay_ns = t->decided_ns - t->asked_ns;

	if (t->class != class)
		t->class = class;
	if (READ_ONCE(watch.wanted) && delay_ns > 0)
		keep(p, t, PYLAND_HIST_DECISION, delay_ns);
}

/* Counts how many tasks wait in the queue that the task is about to enter. */
static __always_inline void note_queue(const struct task_struct *p, const struct task_ctx *t)
{
	s32 length;

	if (!READ_ONCE(watch.wanted))
		return;
	length = scx_bpf_dsq_nr_queued(t->dsq_id);
	keep(p, t, PYLAND_HIST_QUEUE, length > 0 ? length : 0);
}

#endif
