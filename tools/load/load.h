/* SPDX-License-Identifier: GPL-2.0-only */
/* What the workload programs share: clocks, CPUs, signals, and how to use CPU time. */
#ifndef PYLAND_LOAD_H
#define PYLAND_LOAD_H

#include <err.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
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

/* Returns early, with EINTR, when a signal came: the caller looks at what it set. */
static inline int sleep_until(long long when_ns)
{
	struct timespec when = {
		.tv_sec = when_ns / NSEC_PER_SEC,
		.tv_nsec = when_ns % NSEC_PER_SEC,
	};

	return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
}

/* Set by SIGTERM or SIGINT: the program ends early, and prints what it has. */
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

/* Excludes page faults and timer slack from what is measured; false if memory is not locked. */
static inline bool be_exact(void)
{
	bool locked = !mlockall(MCL_CURRENT | MCL_FUTURE);

	if (!locked)
		warn("cannot lock memory, page faults will count as latency");
	prctl(PR_SET_TIMERSLACK, 1);
	return locked;
}

/* Restricts the calling thread, and the threads that it starts, to this CPU. */
static inline void use_only(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		err(1, "cannot run on CPU %d", cpu);
}

/* Runs until the calling thread has used this much CPU time. */
static inline void run_for(long long run_ns)
{
	long long done_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) + run_ns;

	while (!stopped && clock_ns(CLOCK_THREAD_CPUTIME_ID) < done_ns)
		;
}

#endif
