// SPDX-License-Identifier: GPL-2.0-only
/*
 * The begin and the end of a trace, and when its file is written (trace_file.c). With memory for
 * the past the packets stay there, the oldest make room, and nothing is written until asked for.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "pyland_native.h"
#include "trace_writer.h"

/* How much is written at once, and how long the file may be behind. */
#define WRITE_BYTES (256 * 1024)
#define WRITE_NS 1000000000ULL

static int make_tables(struct pyland_trace_writer *w)
{
	w->lanes = calloc(w->nr_cpus, sizeof(*w->lanes));
	w->names = calloc(NAMES_MAX, sizeof(*w->names));
	w->hashed = calloc(2 * NAMES_MAX, sizeof(*w->hashed));
	w->counters = calloc(COUNTERS_MAX, sizeof(*w->counters));
	w->threads = mmap(NULL, PIDS_MAX * sizeof(*w->threads), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w->threads == MAP_FAILED)
		w->threads = NULL;
	if (!w->lanes || !w->names || !w->hashed || !w->counters || !w->threads ||
	    buffer_begin(&w->stream))
		return -1;
	for (unsigned int cpu = 0; cpu < w->nr_cpus; cpu++)
		if (lane_begin(&w->lanes[cpu]))
			return -1;
	for (unsigned int i = 0; w->memory && i < SEGMENTS; i++)
		if (buffer_begin(&w->past[i].packets))
			return -1;
	return 0;
}

/*
 * Writes to the descriptor @file, which stays the caller's. With @memory, in bytes, it keeps so
 * much of the past until pyland_trace_write_past. @topology is a name for readers, or NULL.
 */
struct pyland_trace_writer *pyland_trace_writer(int file, unsigned int nr_cpus,
						unsigned long long memory, const char *topology)
{
	struct pyland_trace_writer *w = calloc(1, sizeof(*w));

	if (w) {
		w->file = file;
		w->nr_cpus = nr_cpus;
		w->memory = memory;
		w->keeps_past = memory != 0;
		w->segment = 1;
		/* Without random numbers, names are only slower to find. */
		(void)!getrandom(w->hash_key, sizeof(w->hash_key), GRND_NONBLOCK);
		w->topology = topology ? strdup(topology) : NULL;
		w->out = memory ? &w->past[0].packets : &w->stream;
	}
	if (w && !make_tables(w))
		return w;
	pyland_trace_close(w);
	pyland_fail(-ENOMEM, "no memory for the trace");
	return NULL;
}

void pyland_trace_close(struct pyland_trace_writer *w)
{
	if (!w)
		return;
	for (unsigned int cpu = 0; w->lanes && cpu < w->nr_cpus; cpu++)
		lane_end(&w->lanes[cpu]);
	for (unsigned int i = 0; i < SEGMENTS; i++)
		buffer_end(&w->past[i].packets);
	buffer_end(&w->stream);
	if (w->threads)
		munmap(w->threads, PIDS_MAX * sizeof(*w->threads));
	free(w->lanes);
	free(w->names);
	free(w->hashed);
	free(w->counters);
	free(w->topology);
	free(w);
}

/* The policy that decides from here on. */
int pyland_trace_policy(struct pyland_trace_writer *w, const char *name)
{
	unsigned int text = name_of_bytes(w, name, NAME_TEXT);

	if (w->nr_policies && !strcmp(w->policies[w->nr_policies - 1], w->names[text - 1].text))
		return 0;
	if (w->nr_policies < POLICIES_MAX)
		strcpy(w->policies[w->nr_policies++], w->names[text - 1].text);
	return 0;
}

/* A new task, or a new name of a task. Later events have the name. */
int pyland_trace_task(struct pyland_trace_writer *w, const struct pyland_trace_task *task)
{
	struct thread *t = thread_of(w, task->pid);

	if (!t || task->cpu < 0 || (unsigned int)task->cpu >= w->nr_cpus)
		return 0;
	if (task->kind == PYLAND_TRACE_TASK)
		memset(t, 0, sizeof(*t));
	t->tgid = task->tgid;
	t->name = name_of_bytes(w, task->comm, sizeof(task->comm));
	if (!writer_begins(w, task->time_ns))
		put_task(w, task);
	return 0;
}

static int fail(struct pyland_trace_writer *w)
{
	return pyland_fail(-w->broken, "%s", strerror(w->broken));
}

/* Begins the file, at the first event. */
int writer_begins(struct pyland_trace_writer *w, unsigned long long time_ns)
{
	if (w->broken)
		return fail(w);
	if (w->keeps_past) {
		struct segment *s = &w->past[w->segment % SEGMENTS];

		if (!s->begin_ns)
			s->begin_ns = time_ns;
		return 0;
	}
	if (w->began)
		return 0;
	w->began = 1;
	w->totals.begin_ns = w->last_write_ns = time_ns;
	put_preamble(w, time_ns);
	event_trace_begins(w, time_ns);
	return 0;
}

/* The oldest packets make room for new ones. */
static void turn_past(struct pyland_trace_writer *w)
{
	struct segment *s;

	if (w->out->length < w->memory / SEGMENTS && !w->out->failed)
		return;
	for (unsigned int cpu = 0; cpu < w->nr_cpus; cpu++)
		lane_flush(w, cpu);
	w->segment++;
	s = &w->past[w->segment % SEGMENTS];
	w->totals.dropped += s->packets.length;
	s->packets.length = 0;
	s->packets.failed = 0;
	s->begin_ns = 0;
	w->out = &s->packets;
}

/* After each drain. */
int writer_turn(struct pyland_trace_writer *w)
{
	if (w->broken)
		return fail(w);
	if (w->keeps_past) {
		turn_past(w);
		return 0;
	}
	if (w->stream.length < WRITE_BYTES && !w->stream.failed &&
	    w->totals.end_ns - w->last_write_ns < WRITE_NS)
		return 0;
	return pyland_trace_flush(w);
}

/* Writes all that there is. */
int pyland_trace_flush(struct pyland_trace_writer *w)
{
	if (w->broken)
		return fail(w);
	for (unsigned int cpu = 0; cpu < w->nr_cpus; cpu++)
		lane_flush(w, cpu);
	return !w->keeps_past && file_write(w) ? fail(w) : 0;
}

/* Writes the past, and from here on everything. */
int pyland_trace_write_past(struct pyland_trace_writer *w)
{
	unsigned long long begin_ns = 0;

	if (!w->keeps_past)
		return 0;
	pyland_trace_flush(w);
	for (unsigned int i = 1; i <= SEGMENTS && !begin_ns; i++)
		begin_ns = w->past[(w->segment + i) % SEGMENTS].begin_ns;
	w->keeps_past = 0;
	w->out = &w->stream;
	w->segment++;
	writer_begins(w, begin_ns ? begin_ns : w->totals.end_ns);
	for (unsigned int i = 0; i < SEGMENTS; i++) {
		struct buffer *packets = &w->past[(w->segment + i) % SEGMENTS].packets;

		if (!packets->failed)
			put_bytes(&w->stream, packets->data, packets->length);
		buffer_end(packets);
		if (file_write(w))
			return fail(w);
	}
	w->segment++;	/* the past has begun the names anew */
	return 0;
}

const struct pyland_trace_totals *pyland_trace_totals(struct pyland_trace_writer *w)
{
	return &w->totals;
}

/*
 * Ends the file, and says why it ends. A full disk keeps what was written; if there is no room for
 * the end, the last write is taken back.
 */
int pyland_trace_end(struct pyland_trace_writer *w, const char *why)
{
	int error = w->broken;

	if (!error && pyland_trace_flush(w))
		error = w->broken;
	if (!w->began)
		return error ? fail(w) : 0;
	w->broken = 0;
	put_ftrace_stats(w, 1);
	event_trace_ends(w, w->totals.end_ns, why);
	if (file_write(w)) {
		error = error ? error : w->broken;
		w->totals.bytes = w->last_bytes;
		file_breaks(w, error, 0);
		put_ftrace_stats(w, 1);
		event_trace_ends(w, w->totals.end_ns, why);
		file_write(w);
	}
	w->broken = error;
	return error ? fail(w) : 0;
}
