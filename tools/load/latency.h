/* SPDX-License-Identifier: GPL-2.0-only */
/* Latencies: collected while a workload runs, sorted once, then asked for their percentiles. */
#ifndef PYLAND_LOAD_LATENCY_H
#define PYLAND_LOAD_LATENCY_H

#include <stdlib.h>
#include "load.h"

struct latencies {
	long long *ns;
	long nr, max;
};

static inline struct latencies latencies(long max)
{
	struct latencies made = { .ns = calloc(max, sizeof(*made.ns)), .max = max };

	if (max && !made.ns)
		err(1, "calloc");
	return made;
}

static inline void note(struct latencies *late, long long ns)
{
	if (late->nr < late->max)
		late->ns[late->nr++] = ns;
}

/* Sleeps until then and notes how late it woke up; false when a signal came first. */
static inline bool wake_at(struct latencies *late, long long when_ns)
{
	if (sleep_until(when_ns))
		return false;
	note(late, now_ns() - when_ns);
	return true;
}

/* Adds the first `nr` of another collection, or all where it has fewer. */
static inline void add_first(struct latencies *to, const struct latencies *from, long nr)
{
	for (long i = 0; i < from->nr && i < nr; i++)
		note(to, from->ns[i]);
}

static inline int compare_ns(const void *left, const void *right)
{
	long long a = *(const long long *)left, b = *(const long long *)right;

	return (a > b) - (a < b);
}

static inline void sort(struct latencies *late)
{
	qsort(late->ns, late->nr, sizeof(*late->ns), compare_ns);
}

/*
 * The smallest latency that at least `per_mille` of a thousand stay within, in microseconds:
 * 500 is the median, 1000 the maximum. They must be sorted. 0 where there are none.
 */
static inline double percentile_us(const struct latencies *late, long per_mille)
{
	if (!late->nr)
		return 0;
	return (double)late->ns[(late->nr * per_mille + 999) / 1000 - 1] / NSEC_PER_USEC;
}

#endif
