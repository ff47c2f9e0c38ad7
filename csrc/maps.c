// SPDX-License-Identifier: GPL-2.0-only
/*
 * The maps of a loaded scheduler as memory: both rings and the user memory for the process that
 * decides; BPF's own state and counters, which no policy can map, for root.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pyland_native.h"

#define NR_PARTS (sizeof(((struct pyland_state *)0)->read_only) / sizeof(void *))

static void *map_pages(int fd, const char *what, const char *name, size_t size, int protection,
		       off_t offset)
{
	void *memory = mmap(NULL, size, protection, MAP_SHARED, fd, offset);

	if (memory != MAP_FAILED)
		return memory;
	pyland_fail(-errno, "mmap of %s %s: %s", what, name, strerror(errno));
	return NULL;
}

static void *map_array(int fd, const char *name, size_t size)
{
	return map_pages(fd, "map", name, size, PROT_READ | PROT_WRITE, 0);
}

static void unmap(void *memory, size_t size)
{
	if (memory)
		munmap(memory, size);
}

/*
 * A ring's pages lie at two offsets: the side that user space writes, and the side that the kernel
 * writes. In the queued ring user space owns the consumer's page, in the dispatched ring the
 * producer's page and the data.
 */
static int map_ring(struct pyland_ring *ring, int fd, unsigned int size, const char *name,
		    int produces)
{
	const int both = PROT_READ | PROT_WRITE;
	size_t page = sysconf(_SC_PAGESIZE);

	ring->mask = size - 1;
	ring->consumer_pos = map_pages(fd, "the consumer page of ring", name, page,
				       produces ? PROT_READ : both, 0);
	if (!ring->consumer_pos)
		return -1;
	ring->producer_pos = map_pages(fd, "the data of ring", name, page + 2 * (size_t)size,
				       produces ? both : PROT_READ, page);
	ring->data = (char *)ring->producer_pos + page;
	return ring->producer_pos ? 0 : -1;
}

static void unmap_ring(struct pyland_ring *ring)
{
	size_t page = sysconf(_SC_PAGESIZE);

	unmap(ring->consumer_pos, page);
	unmap(ring->producer_pos, page + 2 * (ring->mask + 1));
}

static void unmap_all(struct pyland_rings *r)
{
	unmap_ring(&r->queued);
	unmap_ring(&r->dispatched);
	unmap(r->user, sizeof(*r->user));
	unmap(r->cpus, sizeof(*r->cpus) * r->nr_cpus);
	unmap(r->domains, sizeof(*r->domains) * PYLAND_NR_DOMAINS);
	memset(&r->queued, 0, sizeof(r->queued));
	memset(&r->dispatched, 0, sizeof(r->dispatched));
	r->user = NULL;
	r->cpus = NULL;
	r->domains = NULL;
}

/*
 * Maps the rings of another object in place of the present ones; the caller can close the
 * descriptors afterwards. The memory of the batch stays where it is: a policy may keep an array of
 * records for as long as it likes.
 */
int pyland_map_again(struct pyland_rings *r, const struct pyland_ring_maps *maps)
{
	unmap_all(r);
	r->nr_cpus = maps->nr_cpus;
	r->record_size = PYLAND_BASE_RECORD;
	r->nr_backlog = 0;
	r->gauges_ns = 0;
	memset(r->batch, 0, sizeof(*r->batch));
	r->batch->nr_runnable = r->batch->weight_runnable = 1;
	if (map_ring(&r->queued, maps->queued, maps->queued_bytes, "queued", 0) ||
	    map_ring(&r->dispatched, maps->dispatched, maps->dispatched_bytes, "dispatched", 1))
		return -1;
	r->user = map_array(maps->user, ".data.user", sizeof(*r->user));
	r->cpus = map_array(maps->user_cpus, "user_cpus", sizeof(*r->cpus) * r->nr_cpus);
	r->domains = map_array(maps->user_domains, "user_domains",
			       sizeof(*r->domains) * PYLAND_NR_DOMAINS);
	if (!r->user || !r->cpus || !r->domains)
		return -1;
	r->request_seen = r->user->request;
	return 0;
}

/* The caller can close the descriptors afterwards. */
struct pyland_rings *pyland_map_rings(const struct pyland_ring_maps *maps, unsigned int max_batch)
{
	const size_t each = 2 * sizeof(struct pyland_decision) + sizeof(struct pyland_event) +
			    sizeof(struct pyland_queued);
	struct pyland_rings *r = calloc(1, sizeof(*r) + sizeof(*r->batch) + max_batch * each);

	if (!r || !max_batch) {
		free(r);
		pyland_fail(-EINVAL, "no memory for batches of %u", max_batch);
		return NULL;
	}
	r->max_batch = max_batch;
	/* The arrays lie one after the other, behind the struct. */
	r->decisions = (void *)(r + 1);
	r->backlog = r->decisions + max_batch;
	r->events = (void *)(r->backlog + max_batch);
	r->batch = (void *)(r->events + max_batch);
	if (pyland_map_again(r, maps)) {
		pyland_unmap_rings(r);
		return NULL;
	}
	return r;
}

void pyland_unmap_rings(struct pyland_rings *r)
{
	if (!r)
		return;
	unmap_all(r);
	free(r);
}

/* Maps the map with this name. With @read_only maps it a second time, only to be read. */
static void *map_named(struct pyland_object *o, const char *name, size_t value_size,
		       unsigned int *nr, void **read_only)
{
	int fd = pyland_map_fd(o, name, nr);
	void *memory = fd < 0 ? NULL : map_array(fd, name, value_size * *nr);

	if (!memory || !read_only)
		return memory;
	*read_only = map_pages(fd, "map", name, value_size * *nr, PROT_READ, 0);
	return *read_only ? memory : NULL;
}

/* A part of the state that the process that serves statistics may only read. */
struct part {
	void *memory;
	size_t size;
};

static void parts_of(const struct pyland_state *s, struct part parts[NR_PARTS])
{
	const struct part found[NR_PARTS] = {
		{ s->shared, sizeof(*s->shared) },
		{ s->user, sizeof(*s->user) },
		{ s->cpus, sizeof(*s->cpus) * s->nr_cpus },
		{ s->user_cpus, sizeof(*s->user_cpus) * s->nr_cpus },
		{ s->histograms, sizeof(*s->histograms) * s->nr_cpus },
		{ s->slots, sizeof(*s->slots) * s->nr_slots },
	};

	memcpy(parts, found, sizeof(found));
}

struct pyland_state *pyland_map_state(struct pyland_object *o)
{
	struct pyland_state *s = calloc(1, sizeof(*s));
	void **other = s ? s->read_only : NULL;
	unsigned int one;

	if (!s) {
		pyland_fail(-ENOMEM, "no memory for the scheduler's state");
		return NULL;
	}
	/* In the order of parts_of. */
	s->shared = map_named(o, ".bss", sizeof(*s->shared), &one, other++);
	s->user = map_named(o, ".data.user", sizeof(*s->user), &one, other++);
	s->cpus = map_named(o, "cpus", sizeof(*s->cpus), &s->nr_cpus, other++);
	s->user_cpus = map_named(o, "user_cpus", sizeof(*s->user_cpus), &s->nr_cpus, other++);
	s->histograms = map_named(o, "histograms", sizeof(*s->histograms), &s->nr_cpus, other++);
	s->slots = map_named(o, "histogram_slots", sizeof(*s->slots), &s->nr_slots, other++);
	s->watch = map_named(o, ".data.watch", sizeof(*s->watch), &one, NULL);
	if (s->shared && s->user && s->cpus && s->user_cpus && s->watch && s->histograms &&
	    s->slots)
		return s;
	pyland_unmap_state(s);
	return NULL;
}

void pyland_unmap_state(struct pyland_state *s)
{
	struct part parts[NR_PARTS];

	if (!s)
		return;
	parts_of(s, parts);
	for (unsigned int i = 0; i < NR_PARTS; i++) {
		unmap(parts[i].memory, parts[i].size);
		unmap(s->read_only[i], parts[i].size);
	}
	unmap(s->watch, sizeof(*s->watch));
	free(s);
}

/*
 * Makes the state read-only for this process, which is about to answer clients of any user. It can
 * still write the wish for histograms. The kernel lets a process make memory writable again that
 * was mapped to be written, but not what was mapped to be read: that takes the other's place.
 */
int pyland_protect_state(struct pyland_state *s)
{
	struct part parts[NR_PARTS];

	parts_of(s, parts);
	for (unsigned int i = 0; i < NR_PARTS; i++) {
		if (mremap(s->read_only[i], parts[i].size, parts[i].size,
			   MREMAP_MAYMOVE | MREMAP_FIXED, parts[i].memory) == MAP_FAILED)
			return pyland_fail(-errno, "mremap of the scheduler's state: %s",
					   strerror(errno));
		s->read_only[i] = NULL;
	}
	return 0;
}

/*
 * Unmaps all memory of BPF that a process inherited, from this file and from libbpf: for policy
 * code it would be a way to the state of root, as an open descriptor is. The caller must not use
 * its state and its object afterwards.
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
