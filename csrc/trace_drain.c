// SPDX-License-Identifier: GPL-2.0-only
/*
 * Takes the events of all rings in the order of their times: what a wakeup on one CPU began goes on
 * with a switch on another.
 */
#include <errno.h>
#include <stdlib.h>

#include "pyland_native.h"
#include "trace_writer.h"

/* A packet of a CPU's lane has at most so many events. */
#define LANE_EVENTS 8192

/* A ring with events that are to be taken. */
struct source {
	unsigned int cpu;
	unsigned long long time_ns;	/* of its next event */
	unsigned long long at, end;
	struct pyland_trace_ring *ring;
	const struct pyland_trace_event *events;
	unsigned long long mask;
};

static unsigned int bucket_of(unsigned long long ns)
{
	unsigned int power;

	if (ns < LATENCY_SHARES)
		return ns;
	power = 63 - __builtin_clzll(ns) - 5;
	return (power + 1) * LATENCY_SHARES + (ns >> power) - LATENCY_SHARES;
}

static unsigned long long bucket_begin(unsigned int bucket)
{
	unsigned int power = bucket / LATENCY_SHARES;

	if (!power)
		return bucket;
	return (unsigned long long)(bucket % LATENCY_SHARES + LATENCY_SHARES) << (power - 1);
}

void latency_add(struct latency *l, unsigned long long time_ns, unsigned long long latency_ns)
{
	for (unsigned int i = 0; i < LATENCY_WINDOWS; i++) {
		if (time_ns < l->begin_ns + LATENCY_WINDOW_NS)
			break;
		l->begin_ns += LATENCY_WINDOW_NS;
		l->present = (l->present + 1) % LATENCY_WINDOWS;
		memset(l->counts[l->present], 0, sizeof(l->counts[0]));
	}
	if (time_ns >= l->begin_ns + LATENCY_WINDOW_NS)
		l->begin_ns = time_ns;
	l->counts[l->present][bucket_of(latency_ns)]++;
}

/*
 * The latency in ns that @share of the wakeups of the last second did not exceed: 0.99 for the p99,
 * 1 for the longest. It is up to 3 % too low and never too high; 0 without a wakeup.
 */
unsigned long long pyland_trace_latency(struct pyland_trace_writer *w, double share)
{
	const struct latency *l = &w->latency;
	unsigned long long all = 0, below = 0, wanted;

	for (unsigned int i = 0; i < LATENCY_WINDOWS; i++)
		for (unsigned int j = 0; j < LATENCY_BUCKETS; j++)
			all += l->counts[i][j];
	if (!all)
		return 0;
	wanted = share * all;
	if (wanted >= all)
		wanted = all - 1;
	for (unsigned int j = 0; j < LATENCY_BUCKETS; j++) {
		for (unsigned int i = 0; i < LATENCY_WINDOWS; i++)
			below += l->counts[i][j];
		if (below > wanted)
			return bucket_begin(j);
	}
	return 0;
}

static void take_switch(struct pyland_trace_writer *w, unsigned int cpu,
			const struct pyland_trace_event *e)
{
	struct thread *next = thread_of(w, e->pid), *prev = thread_of(w, (unsigned int)e->a);

	w->totals.switches++;
	lane_switch(w, &w->lanes[cpu], e);
	if (prev) {
		prev->running = 0;
		prev->waking_ns = 0;
	}
	if (!next || !e->pid)
		return;
	if (next->waking_ns && e->time_ns > next->waking_ns)
		latency_add(&w->latency, e->time_ns, e->time_ns - next->waking_ns);
	next->waking_ns = 0;
	next->running = 1;
	if (next->flow)
		event_run(w, cpu, e->time_ns, e->pid, 1);
	else if (next->held)
		event_run(w, cpu, e->time_ns, e->pid, 0);
	next->flow = 0;
	next->held = 0;
}

static void take_waking(struct pyland_trace_writer *w, unsigned int cpu,
			const struct pyland_trace_event *e)
{
	struct thread *t = thread_of(w, e->pid);

	w->totals.wakings++;
	lane_waking(w, &w->lanes[cpu], e);
	/* A task that still runs, on its way to sleep, does not wait. */
	if (t && !t->running && !t->waking_ns)
		t->waking_ns = e->time_ns;
}

static const struct pyland_trace_event *next_event(struct source *s)
{
	return &s->events[s->at++ & s->mask];
}

/* Takes events of one CPU until another CPU has an earlier one. */
static void take_some(struct pyland_trace_writer *w, struct source *s, unsigned long long until_ns)
{
	struct lane *lane = &w->lanes[s->cpu];

	while (s->at < s->end) {
		const struct pyland_trace_event *e = &s->events[s->at & s->mask], *rest;

		s->time_ns = e->time_ns;
		if (e->time_ns > until_ns)
			break;
		s->at++;
		w->totals.end_ns = e->time_ns;
		switch (e->kind) {
		case PYLAND_TRACE_SWITCH:
			take_switch(w, s->cpu, e);
			break;
		case PYLAND_TRACE_WAKING:
			take_waking(w, s->cpu, e);
			break;
		case PYLAND_TRACE_QUEUE:
			rest = next_event(s);
			event_queue(w, s->cpu, e, rest);
			break;
		}
		if (lane->nr_events >= LANE_EVENTS)
			lane_flush(w, s->cpu);
	}
	__atomic_store_n(&s->ring->tail, s->at, __ATOMIC_RELEASE);
}

/* Restores the order of a heap of which only the place @at may be wrong. */
static void sift(struct source *heap, unsigned int nr, unsigned int at)
{
	for (;;) {
		unsigned int child = 2 * at + 1;
		struct source moved = heap[at];

		if (child >= nr)
			return;
		if (child + 1 < nr && heap[child + 1].time_ns < heap[child].time_ns)
			child++;
		if (heap[child].time_ns >= moved.time_ns)
			return;
		heap[at] = heap[child];
		heap[child] = moved;
		at = child;
	}
}

/* The rings that have events up to @until_ns; notes what was lost. */
static unsigned int look(struct pyland_trace_writer *w, const struct pyland_trace_rings *rings,
			 struct source *heap, unsigned long long until_ns, unsigned long long *most)
{
	unsigned long long lost = 0;
	unsigned int nr = 0;

	for (unsigned int cpu = 0; cpu < rings->nr_cpus && cpu < w->nr_cpus; cpu++) {
		struct pyland_trace_ring *ring = (void *)(rings->memory + cpu * rings->stride);
		struct lane *lane = &w->lanes[cpu];
		struct source s = {
			.cpu = cpu,
			.ring = ring,
			.events = (void *)(ring + 1),
			.mask = rings->slots - 1,
			.at = ring->tail,
			.end = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE),
		};

		if (*(volatile unsigned long long *)&ring->lost != lane->lost) {
			lane->lost = *(volatile unsigned long long *)&ring->lost;
			lane->lost_some = 1;
		}
		lost += lane->lost;
		if (s.end - s.at > *most)
			*most = s.end - s.at;
		if (s.at == s.end)
			continue;
		s.time_ns = s.events[s.at & s.mask].time_ns;
		if (s.time_ns <= until_ns)
			heap[nr++] = s;
	}
	w->totals.lost = lost;
	return nr;
}

/*
 * Takes the events up to @until_ns, CLOCK_BOOTTIME, makes packets of them, and writes those that
 * are due to be written. How full the fullest ring was, in percent, or a negative errno.
 */
int pyland_trace_drain(struct pyland_trace_writer *w, const struct pyland_trace_rings *rings,
		       unsigned long long until_ns)
{
	struct source *heap = calloc(w->nr_cpus, sizeof(*heap));
	unsigned long long most = 0;
	unsigned int nr;

	if (!heap)
		return pyland_fail(-ENOMEM, "no memory for the trace");
	nr = look(w, rings, heap, until_ns, &most);
	for (unsigned int i = nr / 2; i-- > 0;)
		sift(heap, nr, i);
	if (nr && writer_begins(w, heap[0].time_ns)) {
		free(heap);
		return -w->broken;
	}
	while (nr) {
		unsigned long long other = until_ns;

		for (unsigned int child = 1; child <= 2 && child < nr; child++)
			if (heap[child].time_ns < other)
				other = heap[child].time_ns;
		take_some(w, &heap[0], other);
		if (heap[0].at == heap[0].end || heap[0].time_ns > until_ns)
			heap[0] = heap[--nr];
		sift(heap, nr, 0);
	}
	free(heap);
	return writer_turn(w) ? -w->broken : (int)(most * 100 / rings->slots);
}
