// SPDX-License-Identifier: GPL-2.0-only
/*
 * What pyland did, as events on a track for each CPU. A flow, an arrow in the picture, leads from
 * the wakeup that asks the policy to the decision, and from there to the CPU on which the task runs.
 */
#include "trace_counters.h"
#include "trace_event.h"

/* A question of a task has the same flow as its answer. */
static unsigned long long flow_of(int pid, unsigned long long question)
{
	return (unsigned long long)(pid + 1) << 40 | (question & ((1ULL << 40) - 1));
}

/* The names of reasons and queues are kept: to look for one takes as long as half an event. */
static unsigned int why(struct pyland_trace_writer *w, unsigned int bits)
{
	static const char *const texts[REASONS_MAX] = {
		"its slice ended", "it woke up", "it yielded", "a higher class has its CPU",
	};
	unsigned int reason = bits & PYLAND_TRACED_PREEMPTED ? 3 :
			      bits & PYLAND_TRACED_YIELDED ? 2 :
			      bits & PYLAND_TRACED_WOKE_UP ? 1 : 0;

	if (!w->reasons[reason])
		w->reasons[reason] = name_of_bytes(w, texts[reason], NAME_TEXT);
	return w->reasons[reason];
}

static unsigned int name_of_queue(struct pyland_trace_writer *w, unsigned long long id)
{
	unsigned int at = (id ^ id >> 18) % QUEUES_KEPT;
	char text[QUEUE_NAME_LEN];

	if (!w->queues[at].name || w->queues[at].id != id) {
		queue_name(text, id);
		w->queues[at].name = name_of_bytes(w, text, sizeof(text));
		w->queues[at].id = id;
	}
	return w->queues[at].name;
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

	if (!t || !e->what || e->what >= PYLAND_TRACED_KINDS)
		return;
	event.name = event_name(w, e->what);
	add_text(&event, ARG_TASK, name_of_thread(w, e->pid));
	add_number(&event, ARG_PID, e->pid);
	if (e->what != PYLAND_TRACED_LATE) {
		add_text(&event, ARG_QUEUE, name_of_queue(w, rest->a));
		add_text(&event, ARG_WHY, why(w, e->bits));
	}
	if (e->a)
		add_number(&event, ARG_KEY, e->a);
	add_number(&event, ARG_SLICE, rest->time_ns);
	follow(w, t, e, &event);
	put_event(w, &event);
}

/* A task begins to run: after a decision, or after it was held and not decided (@decided 0). */
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

/*
 * What the policy notes about a task at this time. @text is printable, and has at most
 * PYLAND_TRACE_NOTE bytes.
 */
int pyland_trace_note(struct pyland_trace_writer *w, unsigned long long time_ns, int pid,
		      const char *text)
{
	struct event event = {
		.time_ns = time_ns,
		.type = TYPE_INSTANT,
		.track = TRACK_NOTES,
		.name = EVENT_NOTE,
		.note = text,
	};
	int ret = writer_begins(w, time_ns);

	if (ret || !thread_of(w, pid) || strlen(text) > PYLAND_TRACE_NOTE)
		return ret;
	add_text(&event, ARG_TASK, name_of_thread(w, pid));
	add_number(&event, ARG_PID, pid);
	put_event(w, &event);
	return 0;
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
