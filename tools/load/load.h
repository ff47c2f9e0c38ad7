/* SPDX-License-Identifier: GPL-2.0-only */
/* What the workload programs share: clocks, options and errors. */
#ifndef PYLAND_LOAD_H
#define PYLAND_LOAD_H

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define NSEC_PER_USEC	1000LL
#define NSEC_PER_MSEC	1000000LL
#define NSEC_PER_SEC	1000000000LL

static inline long long clock_ns(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now))
		err(1, "clock_gettime");
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

static inline long long now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* Returns early, with EINTR, when a signal came: the caller looks at what it said. */
static inline int sleep_until(long long when_ns)
{
	struct timespec when = {
		.tv_sec = when_ns / NSEC_PER_SEC,
		.tv_nsec = when_ns % NSEC_PER_SEC,
	};

	return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
}

static inline long number(const char *option, const char *text, long min, long max)
{
	char *end;

	errno = 0;
	long value = strtol(text, &end, 10);

	if (errno || end == text || *end || value < min || value > max)
		errx(2, "--%s takes %ld to %ld, not '%s'", option, min, max, text);
	return value;
}

#endif
