/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Traces: BPF programs that see what the kernel schedules (trace_source.c), and the writer that
 * makes a Perfetto trace of it. A function that fails returns NULL or a negative errno and leaves
 * a line in pyland_error().
 */
#ifndef PYLAND_TRACE_H
#define PYLAND_TRACE_H

#include "intf.h"
#include "trace_intf.h"

/* cffi: begin */

/* The rings of all CPUs in memory. */
struct pyland_trace_rings {
	char *memory;
	unsigned long long stride;	/* bytes from one ring to the next */
	unsigned long long slots;	/* events of a ring, a power of two */
	unsigned int nr_cpus;
};

struct pyland_trace_totals {
	unsigned long long switches;
	unsigned long long wakings;
	unsigned long long questions;
	unsigned long long decisions;	/* also those that were late */
	unsigned long long lost;	/* events for which a ring had no room */
	unsigned long long tasks_lost;	/* new tasks and names */
	unsigned long long dropped;	/* bytes that were in memory only, and had to make room */
	unsigned long long bytes;	/* in the file */
	unsigned long long begin_ns;	/* of the file's first event, CLOCK_BOOTTIME */
	unsigned long long end_ns;
};

/* Loaded BPF programs. */
struct pyland_trace_source;

/* What makes a trace of events. */
struct pyland_trace_writer;

/* trace_source.c */
struct pyland_trace_source *pyland_trace_attach(const void *object, unsigned long size,
						unsigned int nr_cpus, unsigned long long slots);
int pyland_trace_hook(struct pyland_trace_source *s);
void pyland_trace_unhook(struct pyland_trace_source *s);
int pyland_trace_scheduler(struct pyland_trace_source *s);
struct pyland_trace_rings *pyland_trace_rings(struct pyland_trace_source *s);
int pyland_trace_collect(struct pyland_trace_source *s, struct pyland_trace_writer *w, int last);
void pyland_trace_detach(struct pyland_trace_source *s);

/* trace_writer.c */
struct pyland_trace_writer *pyland_trace_writer(int file, unsigned int nr_cpus,
						unsigned long long memory, const char *topology);
int pyland_trace_policy(struct pyland_trace_writer *w, const char *name);
int pyland_trace_task(struct pyland_trace_writer *w, const struct pyland_trace_task *task);
int pyland_trace_command(struct pyland_trace_writer *w, int pid, const char *command);
int pyland_trace_drain(struct pyland_trace_writer *w, const struct pyland_trace_rings *rings,
		       unsigned long long until_ns);
int pyland_trace_flush(struct pyland_trace_writer *w);
int pyland_trace_write_past(struct pyland_trace_writer *w);
unsigned long long pyland_trace_latency(struct pyland_trace_writer *w, double share);
int pyland_trace_counter(struct pyland_trace_writer *w, const char *name, const char *unit,
			 unsigned long long time_ns, long long value);
int pyland_trace_gauge(struct pyland_trace_writer *w, const char *name, const char *unit,
		       unsigned long long time_ns, double value);
const struct pyland_trace_totals *pyland_trace_totals(struct pyland_trace_writer *w);
int pyland_trace_end(struct pyland_trace_writer *w, const char *why);
void pyland_trace_close(struct pyland_trace_writer *w);

/* trace_events.c */
int pyland_trace_note(struct pyland_trace_writer *w, unsigned long long time_ns, int pid,
		      const char *text);

/* cffi: end */

#endif
