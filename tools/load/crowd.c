// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many tasks that are always runnable and yield after a short time. The scheduler has to
 * decide all the time, with all of them queued.
 *
 *   crowd --seconds 5 --tasks 10000 --run-us 50
 *
 * Prints a line when all tasks have begun, and one line of JSON after --seconds or on
 * SIGTERM. A turn lasts from one yield to the next.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include "load.h"
#include "options.h"
#include "threads.h"

static atomic_int ended;
static pthread_barrier_t all_there;
static long run_us = 50;

struct member {
	pthread_t thread;
	unsigned long turns, before;
};

static void *take_turns(void *argument)
{
	struct member *member = argument;

	/* A member that computed already would take CPU time from the start of the others. */
	pthread_barrier_wait(&all_there);
	while (!atomic_load(&ended)) {
		if (run_us)
			run_for(run_us * NSEC_PER_USEC);
		member->turns++;
		sched_yield();
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long seconds = 5, tasks = 10;

	parse_options(argc, argv, (struct load_option[]){
		{ "seconds", "S", &seconds, 1, 100000 },
		{ "tasks", "N", &tasks, 1, 100000 },
		{ "run-us", "US", &run_us, 0, 1000000 },
		{}
	});

	struct member *members = calloc(tasks, sizeof(*members));
	sigset_t ends;

	if (!members)
		err(1, "calloc");
	/* The threads inherit the mask: only sigtimedwait() below receives the signals. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	errno = pthread_barrier_init(&all_there, NULL, tasks + 1);
	if (errno)
		err(1, "barrier");
	for (long i = 0; i < tasks; i++)
		members[i].thread = start_thread(take_turns, &members[i]);
	pthread_barrier_wait(&all_there);
	printf("{\"tasks\": %ld}\n", tasks);
	fflush(stdout);

	long long start_ns = now_ns();
	unsigned long turns = 0, least = ULONG_MAX;

	for (long i = 0; i < tasks; i++)
		members[i].before = members[i].turns;
	sigtimedwait(&ends, NULL, &(struct timespec){ .tv_sec = seconds });

	double took_s = (double)(now_ns() - start_ns) / NSEC_PER_SEC;

	for (long i = 0; i < tasks; i++) {
		unsigned long mine = members[i].turns - members[i].before;

		turns += mine;
		if (mine < least)
			least = mine;
	}
	atomic_store(&ended, 1);
	for (long i = 0; i < tasks; i++)
		pthread_join(members[i].thread, NULL);
	printf("{\"seconds\": %.3f, \"tasks\": %ld, \"turns\": %lu, \"least_turns\": %lu}\n", took_s,
	       tasks, turns, least);
	return 0;
}
