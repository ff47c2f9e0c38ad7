/* SPDX-License-Identifier: GPL-2.0-only */
/* An event on a track: what it says, in numbers of names and texts. */
#ifndef PYLAND_TRACE_EVENT_H
#define PYLAND_TRACE_EVENT_H

#include "trace_writer.h"

enum { TYPE_BEGIN = 1, TYPE_END = 2, TYPE_INSTANT = 3 };

/* Names of annotations, by their numbers. */
enum { ARG_TASK = 1, ARG_PID, ARG_KEY, ARG_SLICE, ARG_QUEUE, ARG_WHY, ARG_DELAY, ARG_LOST,
       ARG_TASKS_LOST, ARG_DROPPED, ARG_END, ARG_NOTE, NR_ARGS };

/* Names of events: first those that every policy has, then those with the policy's name. */
enum { EVENT_RUNS = PYLAND_TRACED_KINDS, EVENT_RUNS_UNDECIDED, EVENT_OPEN, EVENT_TRACE,
       EVENT_NOTE, NR_EVENTS };

/* What an event says besides its name: interned texts, and numbers. */
struct event {
	unsigned long long time_ns;
	unsigned int type, track, name;
	unsigned int nr_texts, nr_numbers;
	struct { unsigned int arg, text; } texts[4];
	struct { unsigned int arg; unsigned long long value; } numbers[6];
	const char *note;		/* a text that is not interned: there is no end of them */
	unsigned long long flow;
	int flow_ends;
};

static inline void add_text(struct event *e, unsigned int arg, unsigned int text)
{
	e->texts[e->nr_texts].arg = arg;
	e->texts[e->nr_texts++].text = text;
}

static inline void add_number(struct event *e, unsigned int arg, unsigned long long value)
{
	e->numbers[e->nr_numbers].arg = arg;
	e->numbers[e->nr_numbers++].value = value;
}

unsigned int event_name(const struct pyland_trace_writer *w, unsigned int what);
void put_event(struct pyland_trace_writer *w, const struct event *e);

#endif
