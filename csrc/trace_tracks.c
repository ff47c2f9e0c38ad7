// SPDX-License-Identifier: GPL-2.0-only
/* What a trace begins with: the machine, its processes, and the tracks; and the counters. */
#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "pyland_native.h"
#include "trace_writer.h"

static void put_system(struct pyland_trace_writer *w, struct buffer *b)
{
	struct utsname name;
	size_t packet, system, uts;

	if (uname(&name))
		return;
	packet = put_message(b, 1, 2);
	system = put_message(b, 45, 2);
	uts = put_message(b, 1, 2);
	put_text(b, 1, name.sysname);
	put_text(b, 2, name.version);
	put_text(b, 3, name.release);
	put_text(b, 4, name.machine);
	put_message_end(b, uts, 2);
	put_number(b, 8, w->nr_cpus);
	put_message_end(b, system, 2);
	put_message_end(b, packet, 2);
}

/* A track; with @fixed the name is one that scxtop looks for. Leaves the descriptor open. */
static size_t put_track_begin(struct buffer *b, size_t *packet, unsigned int track,
			      unsigned int parent, const char *name, int fixed)
{
	size_t descriptor;

	*packet = put_message(b, 1, 4);
	put_number(b, 10, SEQUENCE);
	descriptor = put_message(b, 60, 4);
	put_number(b, 1, track);
	if (parent)
		put_number(b, 5, parent);
	put_text(b, fixed ? 10 : 2, name);
	return descriptor;
}

static void put_track_end(struct buffer *b, size_t packet, size_t descriptor)
{
	put_message_end(b, descriptor, 4);
	put_message_end(b, packet, 4);
}

static void put_track(struct buffer *b, unsigned int track, unsigned int parent, const char *name,
		      int fixed)
{
	size_t packet, descriptor = put_track_begin(b, &packet, track, parent, name, fixed);

	if (track == TRACK_PYLAND)
		put_number(b, 11, 3);	/* its tracks are in the order of their ranks */
	else
		put_number(b, 12, track);
	put_track_end(b, packet, descriptor);
}

static void put_counter_track(struct pyland_trace_writer *w, struct counter *c)
{
	struct buffer *b = w->out;
	unsigned int track = TRACK_COUNTER + (c - w->counters);
	size_t packet, descriptor, counter;

	descriptor = put_track_begin(b, &packet, track, TRACK_PYLAND, c->name, 0);
	put_number(b, 12, track);
	counter = put_message(b, 8, 2);
	put_text(b, 6, c->unit);
	put_message_end(b, counter, 2);
	put_track_end(b, packet, descriptor);
	c->described = 1;
}

/* The first packets of the file. */
void put_preamble(struct pyland_trace_writer *w, unsigned long long time_ns)
{
	struct buffer *b = w->out;
	char name[32];

	put_system(w, b);
	put_ftrace_stats(w, 0);
	put_process_tree(w, b, time_ns);
	put_track(b, TRACK_PYLAND, 0, "pyland", 0);
	put_track(b, TRACK_TRACE, TRACK_PYLAND, "this trace", 0);
	put_track(b, TRACK_NOTES, TRACK_PYLAND, "notes of the policy", 0);
	if (w->topology)
		put_track(b, TRACK_TOPOLOGY, 0, w->topology, 1);
	for (unsigned int cpu = 0; cpu < w->nr_cpus; cpu++) {
		snprintf(name, sizeof(name), "CPU %u", cpu);
		put_track(b, TRACK_CPU + cpu, TRACK_PYLAND, name, 0);
	}
	for (unsigned int i = 0; i < w->nr_counters; i++)
		put_counter_track(w, &w->counters[i]);
}

/* How many events each CPU lost, in the words of ftrace: readers warn of it. */
void put_ftrace_stats(struct pyland_trace_writer *w, int at_end)
{
	struct buffer *b = w->out;
	size_t packet, stats, one;

	packet = put_message(b, 1, 4);
	stats = put_message(b, 34, 4);
	put_number(b, 1, at_end ? 2 : 1);
	for (unsigned int cpu = 0; cpu < w->nr_cpus; cpu++) {
		one = put_message(b, 2, 1);
		put_number(b, 1, cpu);
		put_number(b, 3, at_end ? w->lanes[cpu].lost : 0);
		put_message_end(b, one, 1);
	}
	put_message_end(b, stats, 4);
	put_message_end(b, packet, 4);
}

static struct counter *counter_of(struct pyland_trace_writer *w, const char *name, const char *unit)
{
	struct counter *c;

	for (unsigned int i = 0; i < w->nr_counters; i++)
		if (!strcmp(w->counters[i].name, name))
			return &w->counters[i];
	if (w->nr_counters == COUNTERS_MAX)
		return NULL;
	c = &w->counters[w->nr_counters++];
	snprintf(c->name, sizeof(c->name), "%s", name);
	snprintf(c->unit, sizeof(c->unit), "%s", unit);
	return c;
}

/* Begins a value of a counter, unless it is that of before; each segment has it once. */
static int begin_value(struct pyland_trace_writer *w, struct counter *c, long long value)
{
	if (!c)
		return pyland_fail(-ENOSPC, "more than %d counters", COUNTERS_MAX);
	if (c->segment == w->segment && c->value == value)
		return 0;
	if (w->began && !c->described)
		put_counter_track(w, c);
	c->value = value;
	c->segment = w->segment;
	return 1;
}

static size_t put_value(struct pyland_trace_writer *w, const struct counter *c,
			unsigned long long time_ns, size_t *packet)
{
	size_t event;

	*packet = put_message(w->out, 1, 2);
	put_number(w->out, 8, time_ns);
	put_number(w->out, 10, SEQUENCE);
	event = put_message(w->out, 11, 2);
	put_number(w->out, 9, 4);
	put_number(w->out, 11, TRACK_COUNTER + (c - w->counters));
	return event;
}

/*
 * The value of a counter from this time on. It is written if it has changed, and once in each
 * segment: older ones may be dropped.
 */
int pyland_trace_counter(struct pyland_trace_writer *w, const char *name, const char *unit,
			 unsigned long long time_ns, long long value)
{
	struct counter *c = counter_of(w, name, unit);
	int ret = begin_value(w, c, value);
	size_t packet, event;

	if (ret <= 0)
		return ret;
	event = put_value(w, c, time_ns, &packet);
	put_number(w->out, 30, value);
	put_message_end(w->out, event, 2);
	put_message_end(w->out, packet, 2);
	return 0;
}

/* As pyland_trace_counter, for a number that is not whole. */
int pyland_trace_gauge(struct pyland_trace_writer *w, const char *name, const char *unit,
		       unsigned long long time_ns, double value)
{
	struct counter *c = counter_of(w, name, unit);
	size_t packet, event;
	long long bits;
	int ret;

	memcpy(&bits, &value, sizeof(bits));
	ret = begin_value(w, c, bits);
	if (ret <= 0)
		return ret;
	event = put_value(w, c, time_ns, &packet);
	put_fixed64(w->out, 44, bits);
	put_message_end(w->out, event, 2);
	put_message_end(w->out, packet, 2);
	return 0;
}
