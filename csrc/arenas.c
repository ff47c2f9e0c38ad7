// SPDX-License-Identifier: GPL-2.0-only
/*
 * A pool of arenas for Python's objects: filled before the process locks its memory, never
 * given back to the kernel (memory.c says why).
 */
#include "binding.h"

#include <errno.h>
#include <sys/mman.h>

#define ARENA_SIZE (1UL << 20)	/* CPython's ARENA_SIZE since 3.10 */
#define POOL_MAX 512

static struct {
	void *free[POOL_MAX];
	unsigned int nr_free;
	char *start, *end;
	PyObjectArenaAllocator before;
} pool;

static void *take_arena(void *ctx, size_t size)
{
	(void)ctx;
	if (size == ARENA_SIZE && pool.nr_free)
		return pool.free[--pool.nr_free];
	return pool.before.alloc(pool.before.ctx, size);
}

static void give_arena(void *ctx, void *memory, size_t size)
{
	(void)ctx;
	if ((char *)memory >= pool.start && (char *)memory < pool.end)
		pool.free[pool.nr_free++] = memory;
	else
		pool.before.free(pool.before.ctx, memory, size);
}

/* Fills the pool with this many arenas of 1 MiB; a second call in a process does nothing. */
int pyland_fill_arenas(unsigned int arena_mib)
{
	PyObjectArenaAllocator mine = { .alloc = take_arena, .free = give_arena };

	if (pool.start)
		return 0;
	if (arena_mib > POOL_MAX)
		return pyland_fail(-EINVAL, "%u MiB of arenas: at most %u", arena_mib, POOL_MAX);
	char *start = mmap(NULL, arena_mib * ARENA_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (start == MAP_FAILED)
		return pyland_fail(-errno, "mmap of %u MiB of arenas: %s", arena_mib,
				   strerror(errno));
	pool.start = start;
	pool.end = start + arena_mib * ARENA_SIZE;
	/* The arena with the lowest address is the last in the list, and is taken first. */
	for (char *arena = pool.end; arena > start;)
		pool.free[pool.nr_free++] = arena -= ARENA_SIZE;
	PyObject_GetArenaAllocator(&pool.before);
	PyObject_SetArenaAllocator(&mine);
	return 0;
}
