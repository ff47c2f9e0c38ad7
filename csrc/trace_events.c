// SPDX-License-Identifier: GPL-2.0-only
/*
 * What pyland did, as events on a track for each CPU. A flow, an arrow in the picture, leads from
 * the wakeup that asks the policy to the decision, and from there to the CPU on which the task runs.
 *
 * Names are sent once (interned), and again after w->segment has changed.
 */
#include <stdio.h>

#include "trace_counters.h"
#include "trace_writer.h"

enum { TYPE_BEGIN = 1, TYPE_END = 2, TYPE_INSTANT = 3 };
enum { STATE_CLEARED = 1, STATE_NEEDED = 2 };

/* Names of annotations, by their numbers. */
enum { ARG_TASK = 1, ARG_PID, ARG_KEY, ARG_SLICE, ARG_QUEUE, ARG_WHY, ARG_DELAY, ARG_LOST,
       ARG_TASKS_LOST, ARG_DROPPED, ARG_END, NR_ARGS };

static const char *const args[NR_ARGS] = {
	[ARG_TASK] = "task",
	[ARG_PID] = "tid",
	[ARG_KEY] = "key_ns",
	[ARG_SLICE] = "slice_ns",
	[ARG_QUEUE] = "queue",
	[ARG_WHY] = "why",
	[ARG_DELAY] = "asked_before_ns",
	[ARG_LOST] = "events lost",
	[ARG_TASKS_LOST] = "new tasks and names lost",
	[ARG_DROPPED] = "bytes dropped from memory",
	[ARG_END] = "ended because",
};

/* Names of events: first those that every policy has, then those with the policy's name. */
enum { EVENT_RUNS = PYLAND_TRACED_KINDS, EVENT_RUNS_UNDECIDED, EVENT_OPEN, EVENT_TRACE,
       NR_EVENTS };

static const char *const events[NR_EVENTS] = {
	[PYLAND_TRACED_IDLE_CPU] = "runs at once: idle CPU",
	[PYLAND_TRACED_NEXT] = "runs next: its waker sleeps",
	[PYLAND_TRACED_KERNEL] = "runs next: work of the kernel",
	[PYLAND_TRACED_CONTINUED] = "continues its slice",
	[PYLAND_TRACED_UNASKED] = "queued without a question",
	[EVENT_RUNS] = "runs as decided",
	[EVENT_RUNS_UNDECIDED] = "runs undecided",
	[EVENT_OPEN] = "queued with an open question",
	[EVENT_TRACE] = "trace",
};

static const char *const of_policy[PYLAND_TRACED_KINDS] = {
	[PYLAND_TRACED_ASKED] = "asks %s",
	[PYLAND_TRACED_HELD] = "held for %s",
	[PYLAND_TRACED_DECIDED] = "%s decides",
	[PYLAND_TRACED_AMENDED] = "%s decides for this turn",
	[PYLAND_TRACED_LATE] = "%s is late",
};

#define POLICY_EVENTS 100	/* + kinds * the policy's number */
#define TEXTS 1000		/* + the name's place */

static unsigned int event_name(const struct pyland_trace_writer *w, unsigned int what)
{
	unsigned int policy = w->nr_policies ? w->nr_policies - 1 : 0;

	if (what >= PYLAND_TRACED_KINDS || !of_policy[what])
		return what;
	return POLICY_EVENTS + policy * PYLAND_TRACED_KINDS + what;
}

static void put_interned(struct buffer *b, unsigned int field, unsigned int iid, const char *text)
{
	size_t begin = put_message(b, field, 2);

	put_number(b, 1, iid);
	put_text(b, 2, text);
	put_message_end(b, begin, 2);
}

static void put_policy_names(struct pyland_trace_writer *w, struct buffer *b)
{
	char text[2 * NAME_TEXT];

	for (; w->policies_interned < w->nr_policies; w->policies_interned++)
		for (unsigned int i = 0; i < PYLAND_TRACED_KINDS; i++) {
			if (!of_policy[i])
				continue;
			snprintf(text, sizeof(text), of_policy[i],
				 w->policies[w->policies_interned]);
			put_interned(b, 2,
				     POLICY_EVENTS + w->policies_interned * PYLAND_TRACED_KINDS + i,
				     text);
		}
}

/* Begins the sequence anew: a reader forgets all earlier names, and gets the fixed ones. */
static void put_names(struct pyland_trace_writer *w)
{
	struct buffer *b = w->out;
	size_t packet, data;

	if (w->interned_segment == w->segment && w->policies_interned == w->nr_policies)
		return;
	packet = put_message(b, 1, 4);
	put_number(b, 10, SEQUENCE);
	if (w->interned_segment != w->segment)
		w->policies_interned = 0;
	put_number(b, 13, w->policies_interned ? STATE_NEEDED : STATE_CLEARED);
	data = put_message(b, 12, 4);
	if (w->interned_segment != w->segment) {
		for (unsigned int i = 1; i < NR_EVENTS; i++)
			if (events[i])
				put_interned(b, 2, i, events[i]);
		for (unsigned int i = 1; i < NR_ARGS; i++)
			put_interned(b, 3, i, args[i]);
		w->interned_segment = w->segment;
	}
	put_policy_names(w, b);
	put_message_end(b, data, 4);
	put_message_end(b, packet, 4);
}

/* What an event says besides its name: interned texts, and numbers. */
struct event {
	unsigned long long time_ns;
	unsigned int type, track, name;
	unsigned int nr_texts, nr_numbers;
	struct { unsigned int arg, text; } texts[4];
	struct { unsigned int arg; unsigned long long value; } numbers[6];
	unsigned long long flow;
	int flow_ends;
};

static void add_text(struct event *e, unsigned int arg, unsigned int text)
{
	e->texts[e->nr_texts].arg = arg;
	e->texts[e->nr_texts++].text = text;
}

static void add_number(struct event *e, unsigned int arg, unsigned long long value)
{
	e->numbers[e->nr_numbers].arg = arg;
	e->numbers[e->nr_numbers++].value = value;
}

/* The texts of the event that the segment does not have yet. */
static void put_new_texts(struct pyland_trace_writer *w, const struct event *e)
{
	struct buffer *b = w->out;
	size_t data = 0;

	for (unsigned int i = 0; i < e->nr_texts; i++) {
		struct name *name = &w->names[e->texts[i].text - 1];

		if (name->segment == w->segment)
			continue;
		if (!data)
			data = put_message(b, 12, 2);
		put_interned(b, 29, TEXTS + e->texts[i].text, name->text);
		name->segment = w->segment;
	}
	if (data)
		put_message_end(b, data, 2);
}

static void put_event(struct pyland_trace_writer *w, const struct event *e)
{
	struct buffer *b = w->out;
	size_t packet, event, arg;

	put_names(w);
	packet = put_message(b, 1, 2);
	put_number(b, 8, e->time_ns);
	put_number(b, 10, SEQUENCE);
	put_number(b, 13, STATE_NEEDED);
	put_new_texts(w, e);
	event = put_message(b, 11, 2);
	put_number(b, 9, e->type);
	put_number(b, 11, e->track);
	if (e->name)
		put_number(b, 10, e->name);
	if (e->flow)
		put_fixed64(b, e->flow_ends ? 48 : 47, e->flow);
	for (unsigned int i = 0; i < e->nr_texts; i++) {
		arg = put_message(b, 4, 1);
		put_number(b, 1, e->texts[i].arg);
		put_number(b, 17, TEXTS + e->texts[i].text);
		put_message_end(b, arg, 1);
	}
	for (unsigned int i = 0; i < e->nr_numbers; i++) {
		arg = put_message(b, 4, 1);
		put_number(b, 1, e->numbers[i].arg);
		put_number(b, 3, e->numbers[i].value);
		put_message_end(b, arg, 1);
	}
	put_message_end(b, event, 2);
	put_message_end(b, packet, 2);
}

/* A question of a task has the same flow as its answer. */
static unsigned long long flow_of(int pid, unsigned long long question)
{
	return (unsigned long long)(pid + 1) << 40 | (question & ((1ULL << 40) - 1));
}

static unsigned int why(struct pyland_trace_writer *w, unsigned int bits)
{
	const char *text = "its slice ended";

	if (bits & PYLAND_TRACED_INTERRUPTED)
		text = "a higher class has its CPU";
	else if (bits & PYLAND_TRACED_YIELDED)
		text = "it yielded";
	else if (bits & PYLAND_TRACED_WOKE_UP)
		text = "it woke up";
	return name_of_bytes(w, text, NAME_TEXT);
}

/* Follows the question from here to its answer, and from the answer to the next run. */
static void follow(struct pyland_trace_writer *w, struct thread *t,
		   const struct pyland_trace_event *e, struct event *event)
{
	unsigned long long flow = e->b ? flow_of(e->pid, e->b) : 0;

	switch (e->what) {
	case PYLAND_TRACED_ASKED:
	case PYLAND_TRACED_HELD:
		t->held = e->what == PYLAND_TRACED_HELD;
		if (t->question != e->b) {
			t->question = e->b;
			t->asked_ns = e->time_ns;
			w->totals.questions++;
			event->flow = flow;
		} else {
			event->name = EVENT_OPEN;
		}
		t->flow = 0;
		break;
	case PYLAND_TRACED_DECIDED:
	case PYLAND_TRACED_AMENDED:
	case PYLAND_TRACED_LATE:
		w->totals.decisions++;
		event->flow = flow;
		event->flow_ends = e->what != PYLAND_TRACED_DECIDED;
		if (e->what == PYLAND_TRACED_LATE)
			break;
		if (t->question == e->b)
			add_number(event, ARG_DELAY, e->time_ns - t->asked_ns);
		t->question = 0;
		t->held = 0;
		t->flow = e->what == PYLAND_TRACED_DECIDED ? flow : 0;
		break;
	default:
		t->flow = 0;
	}
}

/* A task was queued, or a decision about it has come. */
void event_queue(struct pyland_trace_writer *w, unsigned int cpu,
		 const struct pyland_trace_event *e, const struct pyland_trace_event *rest)
{
	struct event event = {
		.time_ns = e->time_ns,
		.type = TYPE_INSTANT,
		.track = TRACK_CPU + cpu,
	};
	struct thread *t = thread_of(w, e->pid);
	char queue[QUEUE_NAME_LEN];

	if (!t || !e->what || e->what >= PYLAND_TRACED_KINDS)
		return;
	event.name = event_name(w, e->what);
	add_text(&event, ARG_TASK, name_of_thread(w, e->pid));
	add_number(&event, ARG_PID, e->pid);
	if (e->what != PYLAND_TRACED_LATE) {
		queue_name(queue, rest->a);
		add_text(&event, ARG_QUEUE, name_of_bytes(w, queue, sizeof(queue)));
		add_text(&event, ARG_WHY, why(w, e->bits));
	}
	if (e->a)
		add_number(&event, ARG_KEY, e->a);
	add_number(&event, ARG_SLICE, rest->time_ns);
	follow(w, t, e, &event);
	put_event(w, &event);
}

/* A task begins to run that a decision has queued, or that was held and was not decided. */
void event_run(struct pyland_trace_writer *w, unsigned int cpu, unsigned long long time_ns,
	       int pid, int decided)
{
	struct thread *t = thread_of(w, pid);
	struct event event = {
		.time_ns = time_ns,
		.type = TYPE_INSTANT,
		.track = TRACK_CPU + cpu,
		.name = decided ? EVENT_RUNS : EVENT_RUNS_UNDECIDED,
		.flow = decided ? t->flow : 0,
		.flow_ends = 1,
	};

	add_text(&event, ARG_TASK, name_of_thread(w, pid));
	add_number(&event, ARG_PID, pid);
	put_event(w, &event);
}

/* The whole trace is an event: in one that was cut off, it has no end. */
void event_trace_begins(struct pyland_trace_writer *w, unsigned long long time_ns)
{
	struct event event = {
		.time_ns = time_ns,
		.type = TYPE_BEGIN,
		.track = TRACK_TRACE,
		.name = EVENT_TRACE,
	};

	put_event(w, &event);
}

void event_trace_ends(struct pyland_trace_writer *w, unsigned long long time_ns, const char *why)
{
	struct event event = {
		.time_ns = time_ns,
		.type = TYPE_END,
		.track = TRACK_TRACE,
	};

	add_text(&event, ARG_END, name_of_bytes(w, why, NAME_TEXT));
	add_number(&event, ARG_LOST, w->totals.lost);
	add_number(&event, ARG_TASKS_LOST, w->totals.tasks_lost);
	add_number(&event, ARG_DROPPED, w->totals.dropped);
	put_event(w, &event);
}
