// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPU-burning processes that start together, to see how a scheduler shares CPUs.
 *
 *   hogs --seconds 30 --count 8
 *   hogs --seconds 30 --nice 0 --nice 0 --nice 5 --cpu 0 --policy 7
 *
 * When all burn, one line {"pids": [...]}; after --seconds, or on SIGTERM, one
 * line with what each got. All are measured over the same window of time: a hog
 * notes its CPU time whenever it runs, and one that waits uses none, so what it
 * finds after the end is what it had at the end.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "load.h"

#define MAX_HOGS	1024

/* Work between two looks at the clock: 15 us, and under emulation, 150 to 300. */
#define CHUNK_LOOPS	50000

struct hog {
	pid_t pid;
	int nice;
	long long cpu_ns;
	long long progress;
	long long longest_gap_ns;
};

struct shared {
	atomic_int ready;
	atomic_llong start_ns;
	atomic_llong end_ns;
	struct hog hogs[MAX_HOGS];
};

static struct shared *shared;

static void end_window(int sig)
{
	(void)sig;
	long long now = now_ns();

	if (now < atomic_load(&shared->end_ns))
		atomic_store(&shared->end_ns, now);
}

static void burn(struct hog *hog)
{
	long long start_ns;

	atomic_fetch_add(&shared->ready, 1);
	while (!(start_ns = atomic_load(&shared->start_ns)))
		usleep(1000);
	while (sleep_until(start_ns) == EINTR)
		;

	long long cpu_start_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	long long last_ns = start_ns;

	for (;;) {
		for (volatile int i = 0; i < CHUNK_LOOPS; i++)
			;
		long long seen_ns = now_ns();
		long long end_ns = atomic_load(&shared->end_ns);
		long long until_ns = seen_ns < end_ns ? seen_ns : end_ns;

		/* Anything longer than a chunk is time in which the hog did not run. */
		if (until_ns - last_ns > hog->longest_gap_ns)
			hog->longest_gap_ns = until_ns - last_ns;
		if (seen_ns >= end_ns)
			break;
		last_ns = seen_ns;
		hog->progress++;
	}
	hog->cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_start_ns;
}

static pid_t start(struct hog *hog, int policy, int cpu)
{
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid)
		return pid;

	/* A terminal's Ctrl-C goes to the parent alone, which ends the window. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);

	if (cpu >= 0)
		use_only(cpu);
	if (policy >= 0 && sched_setscheduler(0, policy, &(struct sched_param){}))
		err(1, "cannot use scheduling policy %d", policy);
	if (setpriority(PRIO_PROCESS, 0, hog->nice))
		err(1, "cannot set nice value %d", hog->nice);
	burn(hog);
	_exit(0);
}

static int usage(void)
{
	fputs("usage: hogs [--seconds S] [--count N] [--nice VALUE]... [--cpu CPU] [--policy P]\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "count", required_argument, NULL, 'c' },
		{ "nice", required_argument, NULL, 'n' },
		{ "cpu", required_argument, NULL, 'p' },
		{ "policy", required_argument, NULL, 'o' },
		{}
	};
	long seconds = 10;
	int nr = 0, cpu = -1, policy = -1, option;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (shared == MAP_FAILED)
		err(1, "mmap");

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's':
			seconds = number("seconds", optarg, 1, 1000000);
			break;
		case 'c':
			/* The shared memory is zeroed, and so is their nice value. */
			nr += number("count", optarg, 1, MAX_HOGS - nr);
			break;
		case 'n':
			if (nr == MAX_HOGS)
				errx(2, "more than %d hogs", MAX_HOGS);
			shared->hogs[nr++].nice = number("nice", optarg, -20, 19);
			break;
		case 'p':
			cpu = number("cpu", optarg, 0, CPU_SETSIZE - 1);
			break;
		case 'o':
			policy = number("policy", optarg, 0, 7);
			break;
		default:
			return usage();
		}
	}
	if (!nr || optind < argc)
		return usage();

	for (int i = 0; i < nr; i++)
		shared->hogs[i].pid = start(&shared->hogs[i], policy, cpu);

	/* A hog that could not start would never be ready. */
	while (atomic_load(&shared->ready) < nr) {
		int status;

		if (waitpid(-1, &status, WNOHANG) > 0)
			errx(1, "a hog ended before it began");
		usleep(1000);
	}

	/* Far enough away that each has seen it and sleeps until then. */
	long long start_ns = now_ns() + 100 * NSEC_PER_MSEC;

	atomic_store(&shared->end_ns, start_ns + seconds * NSEC_PER_SEC);
	signal(SIGTERM, end_window);
	signal(SIGINT, end_window);
	atomic_store(&shared->start_ns, start_ns);

	printf("{\"pids\": [");
	for (int i = 0; i < nr; i++)
		printf("%s%d", i ? ", " : "", shared->hogs[i].pid);
	printf("]}\n");
	fflush(stdout);

	for (int i = 0; i < nr; i++) {
		int status;

		while (waitpid(shared->hogs[i].pid, &status, 0) < 0)
			if (errno != EINTR)
				err(1, "waitpid");
		if (status)
			errx(1, "hog %d ended with wait status %#x", shared->hogs[i].pid, status);
	}

	printf("{\"window_ns\": %lld, \"hogs\": [", atomic_load(&shared->end_ns) - start_ns);
	for (int i = 0; i < nr; i++) {
		const struct hog *hog = &shared->hogs[i];

		printf("%s{\"pid\": %d, \"nice\": %d, \"cpu_ns\": %lld, \"progress\": %lld, "
		       "\"longest_gap_ns\": %lld}", i ? ", " : "", hog->pid, hog->nice,
		       hog->cpu_ns, hog->progress, hog->longest_gap_ns);
	}
	printf("]}\n");
	return 0;
}
