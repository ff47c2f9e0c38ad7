/* SPDX-License-Identifier: GPL-2.0-only */
/* Counters of the running pyland in a trace: queues, tasks, and what user space does. */
#ifndef PYLAND_TRACE_COUNTERS_H
#define PYLAND_TRACE_COUNTERS_H

#include <bpf/libbpf.h>

#include "pyland_trace.h"
#include "trace_running.h"

#define RATES_MAX 8
#define QUEUE_NAME_LEN 24

/* A queue of the kernel, and its name for people. */
struct queue {
	unsigned long long id;
	char name[QUEUE_NAME_LEN];
};

struct counters {
	unsigned long long last_ns;	/* 0: nothing to compare with */
	unsigned long long before[RATES_MAX];
	unsigned long long *lengths;	/* of queues, in BPF's memory */
	int lengths_program;		/* its descriptor, or -1: the kernel has no such function */
	unsigned long long queues_ns;	/* when the queues were looked for */
	unsigned int nr_queues;
	struct queue queues[PYLAND_TRACE_LENGTHS];
};

void counters_begin(struct counters *c);
void counters_end(struct counters *c);
void counters_write(struct counters *c, const struct running *running, struct bpf_object *object,
		    struct pyland_trace_writer *w, unsigned long long now);
void queue_name(char name[QUEUE_NAME_LEN], unsigned long long id);

#endif
