// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes that compute all the time and start together: shows how a scheduler shares
 * the CPUs.
 *
 *   hogs --seconds 30 --count 8
 *   hogs --seconds 30 --nice 0 --nice 0 --nice 5 --cpu 0 --policy 7
 *
 * Prints a line {"pids": [...]} when all hogs have begun, and after --seconds or on
 * SIGTERM a line with the CPU time of each. All are measured over the same window of
 * time: a hog that waits uses no CPU time, so the figure that it reads after the window
 * is its figure at the end of the window.
 */
#define _GNU_SOURCE
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
#include "options.h"

#define MAX_HOGS	1024

/* Work between two readings of the clock: 15 us, under emulation 150 to 300 us. */
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
static int nr;

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

		/* A gap much longer than a chunk is time in which the hog did not run. */
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

	/* Ctrl-C in a terminal must end the window, which the parent does. */
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

/* Their nice value stays 0: the shared memory is zeroed. */
static void add_hogs(long count)
{
	if (count > MAX_HOGS - nr)
		errx(2, "more than %d hogs", MAX_HOGS);
	nr += count;
}

static void add_hog(long nice)
{
	add_hogs(1);
	shared->hogs[nr - 1].nice = nice;
}

int main(int argc, char **argv)
{
	long seconds = 10, cpu = -1, policy = -1;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (shared == MAP_FAILED)
		err(1, "mmap");

	struct load_option options[] = {
		{ "seconds", "S", &seconds, 1, 1000000 },
		{ "count", "N", .min = 1, .max = MAX_HOGS, .take = add_hogs },
		{ "nice", "VALUE", .min = -20, .max = 19, .take = add_hog },
		{ "cpu", "CPU", &cpu, 0, CPU_SETSIZE - 1 },
		{ "policy", "P", &policy, 0, 7 },
		{}
	};

	parse_options(argc, argv, options);
	if (!nr)
		exit_with_usage(options);

	for (int i = 0; i < nr; i++)
		shared->hogs[i].pid = start(&shared->hogs[i], policy, cpu);

	/* A hog that fails to start is never ready. */
	while (atomic_load(&shared->ready) < nr) {
		int status;

		if (waitpid(-1, &status, WNOHANG) > 0)
			errx(1, "a hog ended before it began");
		usleep(1000);
	}

	/* Late enough: each hog has read it, and sleeps until then. */
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
