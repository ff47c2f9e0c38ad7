/* SPDX-License-Identifier: GPL-2.0-only */
/* What the workload programs share: clocks, options, errors and percentiles. */
#ifndef PYLAND_LOAD_H
#define PYLAND_LOAD_H

#include <err.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
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

/* Set by SIGTERM or SIGINT, for a program that ends early with what it has. */
static volatile sig_atomic_t stopped;

static inline void stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static inline void stop_on_signals(void)
{
	struct sigaction action = { .sa_handler = stop };

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
}

/* Measure the scheduler: not the pager, and not the timer's freedom to be late. */
static inline bool be_exact(void)
{
	bool locked = !mlockall(MCL_CURRENT | MCL_FUTURE);

	if (!locked)
		warn("cannot lock memory, page faults will count as latency");
	prctl(PR_SET_TIMERSLACK, 1);
	return locked;
}

/* The calling thread, and those that it starts, may use this CPU alone. */
static inline void use_only(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		err(1, "cannot run on CPU %d", cpu);
}

/* Takes so much CPU time of the calling thread. */
static inline void run_for(long long run_ns)
{
	long long done_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) + run_ns;

	while (!stopped && clock_ns(CLOCK_THREAD_CPUTIME_ID) < done_ns)
		;
}

/* For qsort of times. */
static inline int compare(const void *left, const void *right)
{
	long long a = *(const long long *)left, b = *(const long long *)right;

	return (a > b) - (a < b);
}

/* The smallest time that at least per_mille of a thousand stay within. */
static inline double percentile_us(const long long *sorted, long nr, long per_mille)
{
	return (double)sorted[(nr * per_mille + 999) / 1000 - 1] / NSEC_PER_USEC;
}

#endif
