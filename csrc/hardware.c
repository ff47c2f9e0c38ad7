// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loads the program that samples the hardware's counters (bpf/hardware.bpf.c), and adds up what it
 * has counted. The events are those of perf; those that the machine does not have are left out.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "hardware_intf.h"
#include "pyland_hardware.h"
#include "pyland_native.h"
#include "trace_running.h"

#define MAPS_MAX 64

struct pyland_hardware {
	struct bpf_object *object;
	struct bpf_link *link;
	struct pyland_hardware_cpu *cpus;
	unsigned int nr_cpus;
	unsigned int events;	/* a bit for each event that the machine has */
	int error;		/* the errno of an event that could not be opened */
	int *files;
};

static int open_event(const struct pyland_hardware_event *event, int cpu)
{
	struct perf_event_attr attr = {
		.type = event->type,
		.size = sizeof(attr),
		.config = event->config,
	};

	return syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

/* Opens the events on all CPUs that are online. */
static int open_events(struct pyland_hardware *h, const struct pyland_hardware_event *events)
{
	h->files = malloc(sizeof(int) * h->nr_cpus * PYLAND_HARDWARE_EVENTS);
	if (!h->files)
		return pyland_fail(-ENOMEM, "no memory for the hardware's counters");
	for (unsigned int i = 0; i < h->nr_cpus * PYLAND_HARDWARE_EVENTS; i++) {
		unsigned int event = i % PYLAND_HARDWARE_EVENTS;

		h->files[i] = open_event(&events[event], i / PYLAND_HARDWARE_EVENTS);
		if (h->files[i] >= 0)
			h->events |= 1 << event;
		else if (errno != ENODEV)
			h->error = errno;
	}
	if (h->events)
		return 0;
	return pyland_fail(-ENOENT, "this machine has no counters of the hardware for cycles, "
			   "instructions or cache misses (perf_event_open: %s)",
			   strerror(h->error ? h->error : ENODEV));
}

/* The offset of the class in the state that pyland keeps of each task, from the map's own BTF. */
static int find_class(const struct bpf_map_info *info)
{
	struct btf *btf = btf__load_from_kernel_by_id(info->btf_id);
	const struct btf_type *type = btf ? btf__type_by_id(btf, info->btf_value_type_id) : NULL;
	int found = -1;

	if (type && btf_is_struct(type))
		for (unsigned int i = 0; i < btf_vlen(type); i++) {
			const struct btf_member *member = btf_members(type) + i;
			const char *name = btf__name_by_offset(btf, member->name_off);

			if (name && !strcmp(name, "class"))
				found = btf_member_bit_offset(type, i) / 8;
		}
	btf__free(btf);
	return found;
}

/*
 * Lets the object use the states of tasks of the running pyland. The offset of the class in such a
 * state, or a negative number.
 */
static int use_tasks(struct bpf_object *object)
{
	unsigned int ids[MAPS_MAX], programs[NR_TRACED], length = sizeof(struct bpf_prog_info);
	struct bpf_prog_info info = { .map_ids = (unsigned long)ids, .nr_map_ids = MAPS_MAX };
	struct bpf_map *tasks = bpf_object__find_map_by_name(object, "tasks");
	unsigned int id = running_find(programs);
	int program = id ? bpf_prog_get_fd_by_id(id) : -1, ret = -1;

	if (program < 0)
		return pyland_fail(-ENOENT, "pyland does not run here: start it first");
	if (!tasks || bpf_obj_get_info_by_fd(program, &info, &length))
		info.nr_map_ids = 0;
	for (unsigned int i = 0; ret < 0 && i < info.nr_map_ids && i < MAPS_MAX; i++) {
		struct bpf_map_info map = {};
		int fd = bpf_map_get_fd_by_id(ids[i]);

		length = sizeof(map);
		if (fd < 0)
			continue;
		if (!bpf_obj_get_info_by_fd(fd, &map, &length) && !strcmp(map.name, "tasks") &&
		    map.type == BPF_MAP_TYPE_TASK_STORAGE && !bpf_map__reuse_fd(tasks, fd))
			ret = find_class(&map);
		close(fd);
	}
	close(program);
	if (ret < 0)
		return pyland_fail(-EINVAL, "the pyland that runs is of another build: start it again");
	return ret;
}

static int load(struct pyland_hardware *h, const void *object, unsigned long size,
		unsigned int every, int by_class)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "pyland_hardware");
	struct pyland_hardware_config *config;
	struct bpf_map *rodata, *cpus, *events;
	size_t config_size = 0;
	int class_offset;

	h->object = bpf_object__open_mem(object, size, &options);
	if (!h->object)
		return pyland_fail_libbpf(-errno, "the BPF object hardware.bpf.o");
	rodata = bpf_object__find_map_by_name(h->object, ".rodata");
	cpus = bpf_object__find_map_by_name(h->object, "cpus");
	events = bpf_object__find_map_by_name(h->object, "events");
	config = rodata ? bpf_map__initial_value(rodata, &config_size) : NULL;
	if (!config || config_size < sizeof(*config) || config->layout != PYLAND_LAYOUT || !cpus ||
	    !events)
		return pyland_fail(-EINVAL, "the BPF object hardware.bpf.o is of another build than "
				   "the rest of pyland: install pyland again");
	class_offset = by_class ? use_tasks(h->object) : (int)PYLAND_HARDWARE_NO_CLASS;
	if (by_class && class_offset < 0)
		return class_offset;
	config->every = every;
	config->events = h->events;
	config->class_offset = class_offset;
	if (bpf_map__set_max_entries(cpus, h->nr_cpus) ||
	    bpf_map__set_max_entries(events, h->nr_cpus * PYLAND_HARDWARE_EVENTS))
		return pyland_fail(-EINVAL, "hardware.bpf.o cannot count on %u CPUs", h->nr_cpus);
	if (bpf_object__load(h->object))
		return pyland_fail_libbpf(-errno, "the kernel rejected the program that reads the "
					  "hardware's counters");
	for (unsigned int i = 0; i < h->nr_cpus * PYLAND_HARDWARE_EVENTS; i++)
		if (h->files[i] >= 0 &&
		    bpf_map_update_elem(bpf_map__fd(events), &i, &h->files[i], BPF_ANY))
			return pyland_fail(-errno, "the hardware's counters: %s", strerror(errno));
	h->cpus = mmap(NULL, sizeof(*h->cpus) * h->nr_cpus, PROT_READ, MAP_SHARED,
		       bpf_map__fd(cpus), 0);
	if (h->cpus == MAP_FAILED) {
		h->cpus = NULL;
		return pyland_fail(-errno, "mmap of the hardware's counters: %s", strerror(errno));
	}
	h->link = bpf_program__attach(bpf_object__find_program_by_name(h->object, "on_switch"));
	return h->link ? 0 : pyland_fail_libbpf(-errno, "on_switch");
}

/*
 * Begins to count. @object has the content of hardware.bpf.o; one of @every switches of a CPU begins
 * a sample. With @by_class the samples are those of the running pyland's classes. NULL if that is
 * not possible, or if the machine has none of the events.
 */
struct pyland_hardware *pyland_hardware_begin(const void *object, unsigned long size,
					      unsigned int nr_cpus,
					      const struct pyland_hardware_event *events,
					      unsigned int every, int by_class)
{
	struct pyland_hardware *h = calloc(1, sizeof(*h));

	if (!h) {
		pyland_fail(-ENOMEM, "no memory for the hardware's counters");
		return NULL;
	}
	pyland_log_libbpf(0);
	pyland_forget_warning();
	h->nr_cpus = nr_cpus;
	if (!open_events(h, events) && !load(h, object, size, every, by_class))
		return h;
	pyland_hardware_end(h);
	return NULL;
}

/* A bit for each event that the machine has. */
unsigned int pyland_hardware_events(const struct pyland_hardware *h)
{
	return h->events;
}

/* What the samples of a class have on all CPUs together. */
void pyland_hardware_read(const struct pyland_hardware *h, unsigned int class,
			  struct pyland_hardware_sum *to)
{
	memset(to, 0, sizeof(*to));
	for (unsigned int cpu = 0; class < PYLAND_HARDWARE_CLASSES && cpu < h->nr_cpus; cpu++) {
		const struct pyland_hardware_sum *one = &h->cpus[cpu].classes[class];

		to->samples += one->samples;
		for (unsigned int i = 0; i < PYLAND_HARDWARE_EVENTS; i++)
			to->counts[i] += one->counts[i];
	}
}

/* How many samples were dropped, because the CPU counted for other programs meanwhile. */
unsigned long long pyland_hardware_dropped(const struct pyland_hardware *h)
{
	unsigned long long dropped = 0;

	for (unsigned int cpu = 0; cpu < h->nr_cpus; cpu++)
		dropped += h->cpus[cpu].dropped;
	return dropped;
}

void pyland_hardware_end(struct pyland_hardware *h)
{
	if (!h)
		return;
	bpf_link__destroy(h->link);
	for (unsigned int i = 0; h->files && i < h->nr_cpus * PYLAND_HARDWARE_EVENTS; i++)
		if (h->files[i] >= 0)
			close(h->files[i]);
	if (h->cpus)
		munmap(h->cpus, sizeof(*h->cpus) * h->nr_cpus);
	bpf_object__close(h->object);
	free(h->files);
	free(h);
}
