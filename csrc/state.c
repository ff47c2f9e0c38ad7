// SPDX-License-Identifier: GPL-2.0-only
/*
 * What root sees of a loaded scheduler: BPF's own state and counters, which no policy can map,
 * and the memory that the process which decides writes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pyland_native.h"

struct mapped_state {
	struct pyland_state state;	/* first: callers have its address */
	size_t shared_size, cpus_size, user_size, user_cpus_size;
};

/* The kernel rounds the size of a mappable array up to whole pages. */
void *pyland_map_array(int fd, const char *name, size_t bytes, size_t *size)
{
	size_t page = sysconf(_SC_PAGESIZE);
	void *memory;

	*size = (bytes + page - 1) & ~(page - 1);
	memory = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		pyland_fail(-errno, "mmap of map %s: %s", name, strerror(errno));
		return NULL;
	}
	return memory;
}

static void *map_named(struct pyland_object *o, const char *name, size_t value_size,
		       unsigned int *nr, size_t *size)
{
	int fd = pyland_map_fd(o, name, nr);

	return fd < 0 ? NULL : pyland_map_array(fd, name, value_size * *nr, size);
}

struct pyland_state *pyland_map_state(struct pyland_object *o)
{
	struct mapped_state *m = calloc(1, sizeof(*m));
	struct pyland_state *s;
	unsigned int one;

	if (!m) {
		pyland_fail(-ENOMEM, "no memory for the scheduler's state");
		return NULL;
	}
	s = &m->state;
	s->shared = map_named(o, ".bss", sizeof(*s->shared), &one, &m->shared_size);
	s->user = map_named(o, ".data.user", sizeof(*s->user), &one, &m->user_size);
	s->cpus = map_named(o, "cpus", sizeof(*s->cpus), &s->nr_cpus, &m->cpus_size);
	s->user_cpus = map_named(o, "user_cpus", sizeof(*s->user_cpus), &s->nr_cpus,
				 &m->user_cpus_size);
	if (s->shared && s->user && s->cpus && s->user_cpus)
		return s;
	pyland_unmap_state(s);
	return NULL;
}

void pyland_unmap_state(struct pyland_state *s)
{
	struct mapped_state *m = (struct mapped_state *)s;

	if (!s)
		return;
	if (s->shared)
		munmap(s->shared, m->shared_size);
	if (s->user)
		munmap(s->user, m->user_size);
	if (s->cpus)
		munmap(s->cpus, m->cpus_size);
	if (s->user_cpus)
		munmap(s->user_cpus, m->user_cpus_size);
	free(m);
}

/*
 * For a process that is about to run policy code: what it has inherited of BPF's memory, from this
 * file and from libbpf, is as much a way to root's state as an open descriptor. The state and the
 * object of the caller must not be used afterwards.
 */
int pyland_leave_bpf_memory(void)
{
	unsigned long begin, end;
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	int ret = 0;

	if (!maps)
		return pyland_fail(-errno, "/proc/self/maps: %s", strerror(errno));
	while (fgets(line, sizeof(line), maps))
		if (strstr(line, "anon_inode:bpf") && sscanf(line, "%lx-%lx", &begin, &end) == 2 &&
		    munmap((void *)begin, end - begin))
			ret = pyland_fail(-errno, "munmap of BPF's memory: %s", strerror(errno));
	if (ferror(maps))
		ret = pyland_fail(-EIO, "/proc/self/maps cannot be read");
	fclose(maps);
	return ret;
}
