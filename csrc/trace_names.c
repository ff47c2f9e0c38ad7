// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events on tracks as packets. Names are sent once (interned), and again after w->segment has
 * changed: an event has only their numbers.
 */
#include <stdio.h>

#include "trace_event.h"

enum { STATE_CLEARED = 1, STATE_NEEDED = 2 };

/* Names of annotations. */
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
	[ARG_NOTE] = "note",
};

/* Names of events that every policy has. */
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
	[EVENT_NOTE] = "the policy notes",
};

/* Names of events with the name of the policy. */
static const char *const of_policy[PYLAND_TRACED_KINDS] = {
	[PYLAND_TRACED_ASKED] = "asks %s",
	[PYLAND_TRACED_HELD] = "held for %s",
	[PYLAND_TRACED_DECIDED] = "%s decides",
	[PYLAND_TRACED_AMENDED] = "%s decides for this turn",
	[PYLAND_TRACED_LATE] = "%s is late",
};

#define POLICY_EVENTS 100	/* + kinds * the policy's number */
#define TEXTS 1000		/* + the name's place */

/* The number of the name of an event about a task. */
unsigned int event_name(const struct pyland_trace_writer *w, unsigned int what)
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

/* An event has at most so many bytes besides new texts: one note, and numbers. */
#define EVENT_BYTES (PYLAND_TRACE_NOTE + 256)

static void make_room(struct buffer *b)
{
	if (b->capacity - b->length < EVENT_BYTES)
		buffer_grow(b, EVENT_BYTES);
}

/*
 * These write where there is room, without a look at the buffer for each byte: most of a trace is
 * events, and most of its cost.
 */
static inline unsigned char *add_varint(unsigned char *at, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*at++ = value | 0x80;
	*at++ = value;
	return at;
}

static inline unsigned char *add_field(unsigned char *at, unsigned int field, uint64_t value)
{
	return add_varint(add_varint(at, field << 3 | WIRE_VARINT), value);
}

/* Begins a message whose length has two bytes; where its content begins. */
static inline unsigned char *add_message(unsigned char *at, unsigned int field)
{
	*at++ = field << 3 | WIRE_BYTES;
	return at + 2;
}

static inline void end_message(unsigned char *content, const unsigned char *end)
{
	content[-2] = ((end - content) & 0x7f) | 0x80;
	content[-1] = (end - content) >> 7;
}

/* What the event says of one thing, in a message whose length has one byte. */
static inline unsigned char *add_arg(unsigned char *at, unsigned int arg, unsigned int field,
				     uint64_t value)
{
	unsigned char *content = at + 2;

	*at++ = 4 << 3 | WIRE_BYTES;
	at = add_field(add_field(content, 1, arg), field, value);
	content[-1] = at - content;
	return at;
}

static unsigned char *add_note(unsigned char *at, const char *note)
{
	unsigned char *content = add_message(at, 4);
	size_t length = strlen(note);

	at = add_field(content, 1, ARG_NOTE);
	*at++ = 6 << 3 | WIRE_BYTES;
	at = add_varint(at, length);
	memcpy(at, note, length);
	end_message(content, at + length);
	return at + length;
}

static unsigned char *add_event(unsigned char *at, const struct event *e)
{
	unsigned char *content = add_message(at, 11);

	at = add_field(content, 9, e->type);
	at = add_field(at, 11, e->track);
	if (e->name)
		at = add_field(at, 10, e->name);
	if (e->flow) {
		at = add_varint(at, (e->flow_ends ? 48 : 47) << 3 | WIRE_FIXED64);
		memcpy(at, &e->flow, sizeof(e->flow));
		at += sizeof(e->flow);
	}
	for (unsigned int i = 0; i < e->nr_texts; i++)
		at = add_arg(at, e->texts[i].arg, 17, TEXTS + e->texts[i].text);
	if (e->note)
		at = add_note(at, e->note);
	for (unsigned int i = 0; i < e->nr_numbers; i++)
		at = add_arg(at, e->numbers[i].arg, 3, e->numbers[i].value);
	end_message(content, at);
	return at;
}

void put_event(struct pyland_trace_writer *w, const struct event *e)
{
	struct buffer *b = w->out;
	unsigned char *at;
	size_t packet;

	put_names(w);
	make_room(b);
	at = add_message(b->data + b->length, 1);
	packet = at - b->data;
	at = add_field(at, 8, e->time_ns);
	at = add_field(at, 10, SEQUENCE);
	at = add_field(at, 13, STATE_NEEDED);
	b->length = at - b->data;
	put_new_texts(w, e);
	make_room(b);
	b->length = add_event(b->data + b->length, e) - b->data;
	put_message_end(b, packet, 2);
}
