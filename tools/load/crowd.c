// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many tasks that are runnable all the time and give their CPU away after a moment, so
 * that a scheduler decides all the time, with so many of them queued.
 *
 *   crowd --seconds 5 --tasks 10000 --run-us 50
 *
 * A line when all have begun, then one of JSON after --seconds or on SIGTERM. A turn is
 * from one yield to the next.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include "load.h"

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

	/* Who computed already would take the CPU from who makes the others. */
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
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "tasks", required_argument, NULL, 't' },
		{ "run-us", required_argument, NULL, 'r' },
		{}
	};
	long seconds = 5, tasks = 10;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's':
			seconds = number("seconds", optarg, 1, 100000);
			break;
		case 't':
			tasks = number("tasks", optarg, 1, 100000);
			break;
		case 'r':
			run_us = number("run-us", optarg, 0, 1000000);
			break;
		default:
			optind = argc + 1;
		}
	}
	if (optind != argc) {
		fputs("usage: crowd [--seconds S] [--tasks N] [--run-us US]\n", stderr);
		return 2;
	}

	struct member *members = calloc(tasks, sizeof(*members));
	pthread_attr_t small;
	sigset_t ends;

	if (!members)
		err(1, "calloc");
	/* Before the threads, which inherit it: the signal is waited for below. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN + 16384);
	errno = pthread_barrier_init(&all_there, NULL, tasks + 1);
	if (errno)
		err(1, "barrier");
	for (long i = 0; i < tasks; i++) {
		errno = pthread_create(&members[i].thread, &small, take_turns, &members[i]);
		if (errno)
			err(1, "thread %ld of %ld", i + 1, tasks);
	}
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
