// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loads the programs of trace.bpf.c: those that see the kernel once, and those that see pyland's
 * decisions for each pyland that runs meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "pyland_native.h"
#include "pyland_trace.h"
#include "trace_counters.h"
#include "trace_object.h"
#include "trace_running.h"

/* After this time an event is in its ring, unless the host of a virtual machine pauses a CPU. */
#define SETTLED_NS 1000000

struct pyland_trace_source {
	const void *object;
	unsigned long size;
	struct pyland_trace_rings rings;
	unsigned long long slots;
	struct bpf_object *kernel;	/* the programs that see the kernel */
	struct bpf_object *hooks;	/* the programs that see pyland */
	struct bpf_link *links[8];
	struct bpf_link *hook_links[NR_TRACED];
	struct ring_buffer *tasks;
	struct pyland_trace_writer *writer;	/* set only while `tasks` is read */
	struct running running;
	struct counters counters;
};

/* Loads the programs that see the kernel, with one of the two for wakeups. */
static int load_with(struct pyland_trace_source *s, const char *without)
{
	struct bpf_program *program;
	struct bpf_map *rings;
	int ret;

	pyland_forget_warning();
	s->kernel = trace_object_open(s->object, s->size, s->slots, 0);
	if (!s->kernel)
		return -EINVAL;
	rings = trace_object_map(s->kernel, "rings");
	program = bpf_object__find_program_by_name(s->kernel, without);
	if (!rings || !program || bpf_program__set_autoload(program, false) ||
	    bpf_map__set_max_entries(rings, s->rings.nr_cpus) ||
	    bpf_map__set_value_size(rings, s->rings.stride))
		return pyland_fail(-EINVAL, "trace.bpf.o cannot have rings of %llu events", s->slots);
	ret = bpf_object__load(s->kernel);
	return ret ? pyland_fail_libbpf(ret, "the kernel rejected the programs of the trace") : 0;
}

static int load_kernel_part(struct pyland_trace_source *s)
{
	int ret = load_with(s, "on_waking_somehow");
	struct bpf_map *rings;

	if (ret == -ENOENT) {
		bpf_object__close(s->kernel);
		ret = load_with(s, "on_waking");
	}
	if (ret)
		return ret;
	rings = trace_object_map(s->kernel, "rings");
	s->rings.memory = mmap(NULL, s->rings.stride * s->rings.nr_cpus, PROT_READ | PROT_WRITE,
			       MAP_SHARED, bpf_map__fd(rings), 0);
	if (s->rings.memory != MAP_FAILED)
		return 0;
	s->rings.memory = NULL;
	return pyland_fail(-errno, "mmap of the rings: %s", strerror(errno));
}

static int take_task(void *context, void *data, size_t size)
{
	struct pyland_trace_source *s = context;

	if (size < sizeof(struct pyland_trace_task))
		return -EINVAL;
	return pyland_trace_task(s->writer, data);
}

/* New tasks first: their names are known before they run. */
static int attach_kernel_part(struct pyland_trace_source *s)
{
	static const char *const programs[] = { "on_new_task", "on_rename", "on_waking",
						"on_waking_somehow", "on_switch" };
	struct bpf_map *tasks = trace_object_map(s->kernel, "tasks_seen");

	s->tasks = tasks ? ring_buffer__new(bpf_map__fd(tasks), take_task, s, NULL) : NULL;
	if (!s->tasks)
		return pyland_fail_libbpf(-errno, "the ring of new tasks");
	for (unsigned int i = 0; i < NR(programs); i++) {
		struct bpf_program *program =
			bpf_object__find_program_by_name(s->kernel, programs[i]);

		if (program && !bpf_program__autoload(program))
			continue;
		s->links[i] = program ? bpf_program__attach(program) : NULL;
		if (!s->links[i])
			return pyland_fail_libbpf(-errno, programs[i]);
	}
	return 0;
}

/*
 * Loads the programs and begins to see the kernel. @object has the content of trace.bpf.o and stays
 * where it is; each of the @nr_cpus rings has room for @slots events, a power of two.
 */
struct pyland_trace_source *pyland_trace_attach(const void *object, unsigned long size,
						unsigned int nr_cpus, unsigned long long slots)
{
	struct pyland_trace_source *s = calloc(1, sizeof(*s));

	if (!s) {
		pyland_fail(-ENOMEM, "no memory for the trace");
		return NULL;
	}
	pyland_log_libbpf(0);
	s->object = object;
	s->size = size;
	s->slots = s->rings.slots = slots;
	s->rings.nr_cpus = nr_cpus;
	s->rings.stride = sizeof(struct pyland_trace_ring) + slots * PYLAND_TRACE_SLOT;
	if (!load_kernel_part(s) && !attach_kernel_part(s))
		return s;
	pyland_trace_detach(s);
	return NULL;
}

/* Detaches from a pyland that has ended: until then the kernel keeps that pyland's programs. */
void pyland_trace_unhook(struct pyland_trace_source *s)
{
	for (unsigned int i = 0; i < NR_TRACED; i++) {
		bpf_link__destroy(s->hook_links[i]);
		s->hook_links[i] = NULL;
	}
	bpf_object__close(s->hooks);
	s->hooks = NULL;
	running_close(&s->running);
}

/* Loads the programs that see pyland; they use the rings of those that see the kernel. */
static int hook(struct pyland_trace_source *s)
{
	static const char *const programs[NR_TRACED] = {
		[IN_SELECT_CPU] = "in_select_cpu",
		[IN_ENQUEUE] = "in_enqueue",
		[IN_DISPATCH] = "in_dispatch",
	};
	static const char *const unused[] = { "tasks_seen", "lengths" };
	struct bpf_map *rings = trace_object_map(s->kernel, "rings"), *here;
	int ret;

	s->hooks = trace_object_open(s->object, s->size, s->slots, 1);
	here = s->hooks ? trace_object_map(s->hooks, "rings") : NULL;
	if (!here || bpf_map__reuse_fd(here, bpf_map__fd(rings)))
		return pyland_fail(-EINVAL, "the rings of the trace cannot be used again");
	for (unsigned int i = 0; i < NR(unused); i++) {
		here = trace_object_map(s->hooks, unused[i]);
		if (!here || bpf_map__set_autocreate(here, false))
			return -EINVAL;
	}
	for (unsigned int i = 0; i < NR_TRACED; i++) {
		struct bpf_program *program =
			bpf_object__find_program_by_name(s->hooks, programs[i]);

		if (!program || bpf_program__set_attach_target(program, s->running.programs[i],
							       "traced"))
			return pyland_fail(-ENOENT, "the pyland that runs cannot be traced: it is "
					   "of another version");
	}
	pyland_forget_warning();
	ret = bpf_object__load(s->hooks);
	if (ret)
		return pyland_fail_libbpf(ret, "the kernel lets no program see pyland's decisions");
	for (unsigned int i = 0; i < NR_TRACED; i++) {
		s->hook_links[i] = bpf_program__attach_trace(
			bpf_object__find_program_by_name(s->hooks, programs[i]));
		if (!s->hook_links[i])
			return pyland_fail_libbpf(-errno, programs[i]);
	}
	counters_begin(&s->counters);
	return 0;
}

/*
 * Looks for the pyland that runs, and sees its decisions from here on. 1 if this pyland was not
 * seen before, 0 if it was; -ENOENT if none runs, or another negative errno.
 */
int pyland_trace_hook(struct pyland_trace_source *s)
{
	unsigned int ids[NR_TRACED], id = running_find(ids);
	int ret;

	if (id && id == s->running.id)
		return 0;
	pyland_trace_unhook(s);
	if (!id)
		return pyland_fail(-ENOENT, "pyland does not run here");
	ret = running_open(&s->running, ids);
	if (!ret)
		ret = hook(s);
	if (!ret)
		return 1;
	pyland_trace_unhook(s);
	return ret;
}

/* The generation of the policy that runs: it goes up with each swap. -ENOENT without a pyland. */
int pyland_trace_scheduler(struct pyland_trace_source *s)
{
	return s->running.id ? (int)(s->running.user->generation & 0x7fffffff) : -ENOENT;
}

struct pyland_trace_rings *pyland_trace_rings(struct pyland_trace_source *s)
{
	return &s->rings;
}

static unsigned long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/*
 * Writes what was seen since the last call: names, events, counters. With @last this is the last
 * call. Returns how full the fullest ring was, in percent, or a negative errno.
 */
int pyland_trace_collect(struct pyland_trace_source *s, struct pyland_trace_writer *w, int last)
{
	unsigned long long now = now_ns();
	int filled;

	s->writer = w;
	ring_buffer__consume(s->tasks);
	filled = pyland_trace_drain(w, &s->rings, last ? ~0ULL : now - SETTLED_NS);
	if (filled >= 0 && s->running.id)
		counters_write(&s->counters, &s->running, s->kernel, w, now);
	return filled;
}

void pyland_trace_detach(struct pyland_trace_source *s)
{
	if (!s)
		return;
	pyland_trace_unhook(s);
	for (unsigned int i = 0; i < NR(s->links); i++)
		bpf_link__destroy(s->links[i]);
	ring_buffer__free(s->tasks);
	counters_end(&s->counters);
	if (s->rings.memory)
		munmap(s->rings.memory, s->rings.stride * s->rings.nr_cpus);
	bpf_object__close(s->kernel);
	free(s);
}
