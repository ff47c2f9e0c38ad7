// SPDX-License-Identifier: GPL-2.0-only
/*
 * Switches and wakeups as Perfetto's compact columns, about 8 bytes an event: a packet has the
 * switches and wakeups of one CPU, and its own table of names. Of a switch only the next task is
 * written, of a wakeup only the task that wakes up: the others are those that run on the CPU.
 */
#include <stdlib.h>

#include "trace_writer.h"

/* States of a task: as the kernel's tracepoint gets them, and as ftrace prints them. */
#define TASK_REPORT		0x7f
#define TASK_IDLE		0x402
#define TASK_SLEEPS_AS_D	0x9000	/* TASK_RTLOCK_WAIT, TASK_FROZEN */
#define REPORT_IDLE		0x80
#define REPORT_PREEMPTED	0x100

static struct buffer *column(struct lane *lane, unsigned int i)
{
	return (struct buffer *)lane + i;
}

enum { NR_COLUMNS = 12 };

/* 0, or -1 without memory. */
int lane_begin(struct lane *lane)
{
	for (unsigned int i = 0; i < NR_COLUMNS; i++)
		if (buffer_begin(column(lane, i)))
			return -1;
	lane->bundle = 1;
	return 0;
}

void lane_end(struct lane *lane)
{
	for (unsigned int i = 0; i < NR_COLUMNS; i++)
		buffer_end(column(lane, i));
	free(lane->place_of_name);
	free(lane->bundle_of_name);
}

/* The place of a name in the packet's own table. */
static unsigned int place_of(struct pyland_trace_writer *w, struct lane *lane, unsigned int name)
{
	if (name >= lane->names_max) {
		unsigned int max = name * 2 + 64;
		unsigned int *places = realloc(lane->place_of_name, max * sizeof(*places));
		unsigned int *bundles = places ?
			realloc(lane->bundle_of_name, max * sizeof(*bundles)) : NULL;

		if (places)
			lane->place_of_name = places;
		if (!bundles) {
			lane->names.failed = 1;
			return 0;
		}
		memset(bundles + lane->names_max, 0, (max - lane->names_max) * sizeof(*bundles));
		lane->bundle_of_name = bundles;
		lane->names_max = max;
	}
	if (lane->bundle_of_name[name] != lane->bundle) {
		lane->bundle_of_name[name] = lane->bundle;
		lane->place_of_name[name] = lane->nr_names++;
		put_text(&lane->names, 5, w->names[name - 1].text);
	}
	return lane->place_of_name[name];
}

/* What the kernel's trace of switches says of the task that stops (__trace_sched_switch_state). */
static unsigned int state_of(unsigned int state, unsigned int exit_state, unsigned int preempted)
{
	unsigned int reported = (state | exit_state) & TASK_REPORT;

	if (preempted)
		return REPORT_PREEMPTED;
	if ((state & TASK_IDLE) == TASK_IDLE)
		return REPORT_IDLE;
	if (state & TASK_SLEEPS_AS_D)
		return 2;
	if (!reported)
		return 0;
	return 1u << (31 - __builtin_clz(reported));
}

void lane_switch(struct pyland_trace_writer *w, struct lane *lane,
		 const struct pyland_trace_event *e)
{
	lane->nr_events++;
	put_varint(&lane->switch_time, e->time_ns - lane->last_switch_ns);
	lane->last_switch_ns = e->time_ns;
	put_varint(&lane->switch_state, state_of(e->a >> 32, e->b, e->what));
	put_varint(&lane->switch_pid, e->pid);
	put_varint(&lane->switch_prio, e->bits);
	put_varint(&lane->switch_name, place_of(w, lane, name_of_thread(w, e->pid)));
}

void lane_waking(struct pyland_trace_writer *w, struct lane *lane,
		 const struct pyland_trace_event *e)
{
	lane->nr_events++;
	put_varint(&lane->waking_time, e->time_ns - lane->last_waking_ns);
	lane->last_waking_ns = e->time_ns;
	put_varint(&lane->waking_pid, e->pid);
	put_varint(&lane->waking_cpu, (unsigned int)e->a);
	put_varint(&lane->waking_prio, e->bits);
	put_varint(&lane->waking_name, place_of(w, lane, name_of_thread(w, e->pid)));
	put_varint(&lane->waking_bits, e->a >> 32);
}

static void put_column(struct buffer *b, unsigned int field, struct buffer *values)
{
	if (values->length)
		put_block(b, field, values->data, values->length);
	b->failed |= values->failed;
	values->length = 0;
}

/* Makes a packet of what the lane has. */
void lane_flush(struct pyland_trace_writer *w, unsigned int cpu)
{
	struct lane *lane = &w->lanes[cpu];
	struct buffer *b = w->out;
	size_t packet, bundle, columns;

	if (!lane->nr_events && !lane->lost_some)
		return;
	packet = put_message(b, 1, 4);
	bundle = put_message(b, 1, 4);
	put_number(b, 1, cpu);
	if (lane->lost_some)
		put_number(b, 3, 1);
	columns = put_message(b, 4, 4);
	put_column(b, 1, &lane->switch_time);
	put_column(b, 2, &lane->switch_state);
	put_column(b, 3, &lane->switch_pid);
	put_column(b, 4, &lane->switch_prio);
	put_bytes(b, lane->names.data, lane->names.length);
	b->failed |= lane->names.failed;
	put_column(b, 6, &lane->switch_name);
	put_column(b, 7, &lane->waking_time);
	put_column(b, 8, &lane->waking_pid);
	put_column(b, 9, &lane->waking_cpu);
	put_column(b, 10, &lane->waking_prio);
	put_column(b, 11, &lane->waking_name);
	put_column(b, 12, &lane->waking_bits);
	put_message_end(b, columns, 4);
	put_message_end(b, bundle, 4);
	put_message_end(b, packet, 4);
	lane->names.length = 0;
	lane->last_switch_ns = lane->last_waking_ns = 0;
	lane->nr_events = lane->nr_names = lane->lost_some = 0;
	lane->bundle++;
}

/* A new task or a new name, as ftrace tells it. */
void put_task(struct pyland_trace_writer *w, const struct pyland_trace_task *task)
{
	const char *text = w->names[name_of_thread(w, task->pid) - 1].text;
	int is_new = task->kind == PYLAND_TRACE_TASK;
	struct buffer *b = w->out;
	size_t packet, bundle, event, inner;

	packet = put_message(b, 1, 2);
	bundle = put_message(b, 1, 2);
	put_number(b, 1, task->cpu);
	event = put_message(b, 2, 2);
	put_number(b, 1, task->time_ns);
	put_number(b, 2, task->parent_pid);
	inner = put_message(b, is_new ? 235 : 236, 2);
	put_number(b, 1, task->pid);
	put_text(b, is_new ? 2 : 3, text);
	if (is_new)
		put_number(b, 3, task->clone_flags);
	put_message_end(b, inner, 2);
	put_message_end(b, event, 2);
	put_message_end(b, bundle, 2);
	put_message_end(b, packet, 2);
}
