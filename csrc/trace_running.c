// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finds the BPF programs and maps of the pyland that runs, by their names in the kernel, and maps
 * its counters to read.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "trace_running.h"

#define MAPS_MAX 64

/* As long as the kernel keeps them. */
static const char *const names[NR_TRACED] = {
	[IN_SELECT_CPU] = "pyland_select_c",
	[IN_ENQUEUE] = "pyland_enqueue",
	[IN_DISPATCH] = "pyland_dispatch",
};

static int program_info(unsigned int id, struct bpf_prog_info *info)
{
	unsigned int length = sizeof(*info);
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd >= 0 && bpf_obj_get_info_by_fd(fd, info, &length)) {
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * The ids of the programs of the pyland that was loaded last; the id of its dispatch program, or 0
 * if one of them is missing.
 */
unsigned int running_find(unsigned int ids[NR_TRACED])
{
	unsigned int id = 0;

	memset(ids, 0, NR_TRACED * sizeof(*ids));
	while (!bpf_prog_get_next_id(id, &id)) {
		struct bpf_prog_info info = {};
		int fd = program_info(id, &info);

		if (fd < 0)
			continue;
		close(fd);
		if (info.type != BPF_PROG_TYPE_STRUCT_OPS)
			continue;
		for (unsigned int i = 0; i < NR_TRACED; i++)
			if (!strcmp(info.name, names[i]))
				ids[i] = id;
	}
	for (unsigned int i = 0; i < NR_TRACED; i++)
		if (!ids[i])
			return 0;
	return ids[IN_DISPATCH];
}

static const void *map_to_read(int fd, const struct bpf_map_info *info, size_t value_size)
{
	void *memory;

	if (info->value_size < value_size)
		return NULL;
	memory = mmap(NULL, value_size * info->max_entries, PROT_READ, MAP_SHARED, fd, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

/* Takes a map of pyland's, if it is one of those that are read; a negative errno if it is wrong. */
static int take_map(struct running *r, int fd, const struct bpf_map_info *info)
{
	const char *suffix = strrchr(info->name, '.');

	if (!strcmp(info->name, "cpus")) {
		r->cpus = map_to_read(fd, info, sizeof(*r->cpus));
		r->nr_cpus = info->max_entries;
	} else if (!strcmp(info->name, "user_cpus")) {
		r->user_cpus = map_to_read(fd, info, sizeof(*r->user_cpus));
	} else if (!strcmp(info->name, ".data.user")) {
		r->user = map_to_read(fd, info, sizeof(*r->user));
	} else if (suffix && !strcmp(suffix, ".rodata")) {
		unsigned char value[4096];
		struct pyland_config config;

		if (info->value_size > sizeof(value) || info->value_size < sizeof(config) ||
		    bpf_map_lookup_elem(fd, &(unsigned int){ 0 }, value))
			return -EINVAL;
		memcpy(&config, value, sizeof(config));
		if (config.layout != PYLAND_LAYOUT)
			return -EINVAL;
	}
	return 0;
}

static int take_maps(struct running *r)
{
	unsigned int ids[MAPS_MAX], length = sizeof(struct bpf_prog_info);
	struct bpf_prog_info info = { .map_ids = (unsigned long)ids, .nr_map_ids = MAPS_MAX };

	if (bpf_obj_get_info_by_fd(r->programs[IN_DISPATCH], &info, &length))
		return pyland_fail(-errno, "the programs of pyland: %s", strerror(errno));
	for (unsigned int i = 0; i < info.nr_map_ids && i < MAPS_MAX; i++) {
		struct bpf_map_info map = {};
		int fd = bpf_map_get_fd_by_id(ids[i]), ret;

		length = sizeof(map);
		if (fd < 0)
			continue;
		ret = bpf_obj_get_info_by_fd(fd, &map, &length) ? 0 : take_map(r, fd, &map);
		close(fd);
		if (ret)
			return pyland_fail(-EINVAL, "the pyland that runs is of another build: "
					   "start it again");
	}
	if (!r->cpus || !r->user_cpus || !r->user)
		return pyland_fail(-EINVAL, "the counters of the pyland that runs cannot be read");
	return 0;
}

/* Opens the programs that running_find has found; a negative errno if they cannot be traced. */
int running_open(struct running *r, const unsigned int ids[NR_TRACED])
{
	int ret;

	memset(r, 0, sizeof(*r));
	for (unsigned int i = 0; i < NR_TRACED; i++)
		r->programs[i] = bpf_prog_get_fd_by_id(ids[i]);
	for (unsigned int i = 0; i < NR_TRACED; i++)
		if (r->programs[i] < 0) {
			running_close(r);
			return pyland_fail(-ENOENT, "pyland has ended in this moment");
		}
	ret = take_maps(r);
	if (ret)
		running_close(r);
	else
		r->id = ids[IN_DISPATCH];
	return ret;
}

static void unmap(const void *memory, size_t size)
{
	if (memory)
		munmap((void *)memory, size);
}

void running_close(struct running *r)
{
	for (unsigned int i = 0; i < NR_TRACED; i++)
		if (r->programs[i] > 0)
			close(r->programs[i]);
	unmap(r->cpus, sizeof(*r->cpus) * r->nr_cpus);
	unmap(r->user_cpus, sizeof(*r->user_cpus) * r->nr_cpus);
	unmap(r->user, sizeof(*r->user));
	memset(r, 0, sizeof(*r));
}
