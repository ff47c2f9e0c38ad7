// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads the counters of the running pyland, and how many tasks wait in its queues. Reading costs
 * the scheduler nothing: the counters are in memory, and a queue keeps its length.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>

#include "queue_ids.h"
#include "trace_counters.h"

/* A rate is the average over at least this time. */
#define RATE_NS 100000000ULL

/* The time between two looks at the list of queues. */
#define QUEUES_NS 1000000000ULL

/* A queue's name by its number, as in queue_ids.h. */
void queue_name(char name[QUEUE_NAME_LEN], unsigned long long id)
{
	if (id >= THROTTLED_DSQ)
		snprintf(name, QUEUE_NAME_LEN, "throttled");
	else if (id >= DOMAIN_DSQ)
		snprintf(name, QUEUE_NAME_LEN, "domain %u", (unsigned int)(id - DOMAIN_DSQ));
	else if (id >= HOLDING_DSQ)
		snprintf(name, QUEUE_NAME_LEN, "held, LLC %u", (unsigned int)(id - HOLDING_DSQ));
	else if (id >= SCHED_DSQ)
		snprintf(name, QUEUE_NAME_LEN, "user space");
	else
		snprintf(name, QUEUE_NAME_LEN, "CPU %u", (unsigned int)id);
}

static void add_queue(struct counters *c, unsigned long long id)
{
	for (unsigned int i = 0; i < c->nr_queues; i++)
		if (c->queues[i].id == id)
			return;
	if (c->nr_queues == PYLAND_TRACE_LENGTHS)
		return;
	c->queues[c->nr_queues].id = id;
	queue_name(c->queues[c->nr_queues++].name, id);
}

/* Called when the trace sees another pyland, whose counters begin anew. */
void counters_begin(struct counters *c)
{
	c->last_ns = 0;
	c->nr_queues = 0;
}

void counters_end(struct counters *c)
{
	if (c->lengths)
		munmap(c->lengths, PYLAND_TRACE_LENGTHS * sizeof(*c->lengths));
	c->lengths = NULL;
}

static int find_lengths(struct counters *c, struct bpf_object *object)
{
	struct bpf_program *program = bpf_object__find_program_by_name(object, "read_lengths");
	struct bpf_map *map = bpf_object__find_map_by_name(object, "lengths");
	void *memory;

	if (c->lengths || c->lengths_program < 0)
		return c->lengths_program;
	c->lengths_program = program && map ? bpf_program__fd(program) : -1;
	if (c->lengths_program < 0)
		return -1;
	memory = mmap(NULL, PYLAND_TRACE_LENGTHS * sizeof(*c->lengths), PROT_READ | PROT_WRITE,
		      MAP_SHARED, bpf_map__fd(map), 0);
	if (memory == MAP_FAILED)
		return c->lengths_program = -1;
	c->lengths = memory;
	return c->lengths_program;
}

/* All queues that pyland has; a policy may set more of them while it runs. */
static void find_queues(struct counters *c, const struct running *running, unsigned long long now)
{
	unsigned int nr_domains = 1;

	if (c->nr_queues && now - c->queues_ns < QUEUES_NS)
		return;
	c->queues_ns = now;
	add_queue(c, SCHED_DSQ);
	for (unsigned int cpu = 0; cpu < running->nr_cpus; cpu++) {
		add_queue(c, HOLDING_DSQ + running->cpus[cpu].llc);
		add_queue(c, cpu);
		if (running->cpus[cpu].llc >= nr_domains)
			nr_domains = running->cpus[cpu].llc + 1;
	}
	/* The policy can write this number. */
	if (running->user->nr_domains)
		nr_domains = running->user->nr_domains;
	for (unsigned int i = 0; i < nr_domains && i < PYLAND_NR_DOMAINS; i++)
		add_queue(c, DOMAIN_DSQ + i);
}

static void write_lengths(struct counters *c, const struct running *running,
			  struct bpf_object *object, struct pyland_trace_writer *w,
			  unsigned long long now)
{
	int program = find_lengths(c, object);
	char name[QUEUE_NAME_LEN + 16];
	unsigned int nr;

	if (program < 0)
		return;
	find_queues(c, running, now);
	nr = c->nr_queues;
	for (unsigned int i = 0; i < nr; i++)
		c->lengths[i] = c->queues[i].id;
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = &nr, .ctx_size_in = sizeof(nr));
	if (bpf_prog_test_run_opts(program, &options) || options.retval) {
		c->lengths_program = -1;
		return;
	}
	for (unsigned int i = 0; i < nr; i++) {
		long long length = (long long)c->lengths[i];

		if (length < 0)	/* no such queue */
			continue;
		snprintf(name, sizeof(name), "queue: %s", c->queues[i].name);
		pyland_trace_counter(w, name, "tasks", now, length);
	}
}

/* How many tasks a pyland has asked about or placed, per second, in the last interval. */
static void write_rates(struct counters *c, const struct running *running,
			struct pyland_trace_writer *w, unsigned long long now)
{
	static const char *const names[RATES_MAX] = {
		"found an idle CPU", "continued", "asked about", "decided", "ran undecided",
		"decided late", "cycles of user space", "preemptions",
	};
	unsigned long long sums[RATES_MAX] = {};

	if (c->last_ns && now - c->last_ns < RATE_NS)
		return;
	for (unsigned int cpu = 0; cpu < running->nr_cpus; cpu++) {
		const struct pyland_cpu *one = &running->cpus[cpu];

		sums[0] += one->direct;
		sums[1] += one->continued;
		sums[2] += one->forwarded;
		sums[3] += one->user_dispatched;
		sums[4] += one->fallback_full + one->fallback_lag + one->fallback_idle;
		sums[5] += one->late;
		sums[7] += one->preemptions;
	}
	sums[6] = running->user->cycles;
	for (unsigned int i = 0; i < RATES_MAX; i++) {
		unsigned long long grown = sums[i] - c->before[i];

		if (c->last_ns)
			pyland_trace_counter(w, names[i], "/s", now,
					     grown * 1000000000ULL / (now - c->last_ns));
		c->before[i] = sums[i];
	}
	c->last_ns = now;
}

void counters_write(struct counters *c, const struct running *running, struct bpf_object *object,
		    struct pyland_trace_writer *w, unsigned long long now)
{
	long long nr_running = 0, runnable = 0, idle = 0;

	for (unsigned int cpu = 0; cpu < running->nr_cpus; cpu++) {
		nr_running += running->cpus[cpu].nr_running;
		runnable += running->user_cpus[cpu].nr_runnable;
		idle += running->user_cpus[cpu].idle != 0;
	}
	pyland_trace_counter(w, "tasks that run", "tasks", now, nr_running);
	pyland_trace_counter(w, "tasks that run or wait", "tasks", now, runnable);
	pyland_trace_counter(w, "tasks that the policy keeps", "tasks", now,
			     running->user->nr_held < 1ULL << 32 ? running->user->nr_held : 0);
	pyland_trace_counter(w, "idle CPUs", "CPUs", now, idle);
	write_rates(c, running, w, now);
	write_lengths(c, running, object, w, now);
}
