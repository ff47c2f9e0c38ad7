// SPDX-License-Identifier: GPL-2.0-only
/*
 * Short-lived processes at a steady rate, each of which proves that it ran.
 *
 *   spawner --seconds 20 --rate 500 [--exec]
 *
 * Without --exec the processes are forks that end with a status of their own; with it
 * they run /bin/true. Prints one line of JSON at the end: how many processes were
 * started, how many ended with the right status, and the longest time from start to
 * reaping.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "load.h"
#include "options.h"

/* The most processes at one time. With so many the rate falls. */
#define MAX_ALIVE	512

/* A process that is later than this is skipped, so no burst makes up for a rate too high. */
#define MAX_BEHIND_NS	(100 * NSEC_PER_MSEC)

struct child {
	pid_t pid;
	int status;		/* the right exit status */
	long long start_ns;
};

extern char **environ;

static struct child alive[MAX_ALIVE];
static int nr_alive;
static long started, finished;
static long long slowest_ns, total_ns;

static void spawn(bool exec)
{
	/* 1 to 251: shells, signals and failed execs give other statuses. */
	struct child child = {
		.status = exec ? 0 : started % 251 + 1,
		.start_ns = now_ns(),
	};

	if (exec) {
		char *const arguments[] = { "true", NULL };
		int error = posix_spawn(&child.pid, "/bin/true", NULL, NULL, arguments, environ);

		if (error) {
			errno = error;
			err(1, "cannot spawn /bin/true");
		}
	} else {
		child.pid = fork();
		if (child.pid < 0)
			err(1, "fork");
		if (!child.pid)
			_exit(child.status);
	}
	started++;
	alive[nr_alive++] = child;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		long long reaped_ns = now_ns();

		for (int i = 0; i < nr_alive; i++) {
			if (alive[i].pid != pid)
				continue;

			long long took_ns = reaped_ns - alive[i].start_ns;

			if (WIFEXITED(status) && WEXITSTATUS(status) == alive[i].status)
				finished++;
			total_ns += took_ns;
			if (took_ns > slowest_ns)
				slowest_ns = took_ns;
			alive[i] = alive[--nr_alive];
			break;
		}
	}
}

/* Waits until the given time, or until a child has ended. */
static void wait_child(const sigset_t *signals, long long until_ns)
{
	long long left_ns = until_ns - now_ns();

	if (left_ns < 0)
		left_ns = 0;

	struct timespec left = {
		.tv_sec = left_ns / NSEC_PER_SEC,
		.tv_nsec = left_ns % NSEC_PER_SEC,
	};

	sigtimedwait(signals, NULL, &left);
	reap();
}

int main(int argc, char **argv)
{
	long seconds = 10, rate = 500, exec = 0;

	parse_options(argc, argv, (struct load_option[]){
		{ "seconds", "S", &seconds, 1, 100000 },
		{ "rate", "PER_SECOND", &rate, 1, 100000 },
		{ "exec", NULL, &exec },
		{}
	});

	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, NULL);

	long long start_ns = now_ns(), end_ns = start_ns + seconds * NSEC_PER_SEC;
	long long next_ns = start_ns;

	for (long long now; (now = now_ns()) < end_ns; ) {
		if (now < next_ns || nr_alive == MAX_ALIVE) {
			wait_child(&signals, now < next_ns ? next_ns : now + NSEC_PER_MSEC);
			continue;
		}
		spawn(exec);
		reap();
		next_ns += NSEC_PER_SEC / rate;
		if (next_ns < now - MAX_BEHIND_NS)
			next_ns = now;
	}

	long long took_ns = now_ns() - start_ns;

	/* The caller wants to know of a process that does not end, so the wait has a limit. */
	for (long long give_up_ns = now_ns() + 30 * NSEC_PER_SEC; nr_alive && now_ns() < give_up_ns; )
		wait_child(&signals, now_ns() + 10 * NSEC_PER_MSEC);

	long reaped = started - nr_alive;

	printf("{\"seconds\": %.3f, \"started\": %ld, \"finished\": %ld, \"rate\": %.1f, "
	       "\"mean_us\": %.1f, \"slowest_us\": %.1f}\n",
	       (double)took_ns / NSEC_PER_SEC, started, finished,
	       (double)started * NSEC_PER_SEC / took_ns,
	       reaped ? (double)total_ns / reaped / NSEC_PER_USEC : 0,
	       (double)slowest_ns / NSEC_PER_USEC);
	return 0;
}
