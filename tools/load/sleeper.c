// SPDX-License-Identifier: GPL-2.0-only
/*
 * An interactive task: sleeps, wakes up, runs a little, again and again, and
 * reports how late it was on the CPU after the moment it asked to be woken.
 *
 *   sleeper --seconds 20 --sleep-us 10000 --run-us 1000 --cpu 0
 *
 * One line of JSON after --seconds or on SIGTERM.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include "load.h"

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "sleep-us", required_argument, NULL, 'p' },
		{ "run-us", required_argument, NULL, 'r' },
		{ "cpu", required_argument, NULL, 'u' },
		{}
	};
	long seconds = 10, sleep_us = 10000, run_us = 1000;
	int option, cpu = -1;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's':
			seconds = number("seconds", optarg, 1, 100000);
			break;
		case 'p':
			sleep_us = number("sleep-us", optarg, 100, 10000000);
			break;
		case 'r':
			run_us = number("run-us", optarg, 0, 10000000);
			break;
		case 'u':
			cpu = number("cpu", optarg, 0, CPU_SETSIZE - 1);
			break;
		default:
			optind = argc + 1;
		}
	}
	if (optind != argc) {
		fputs("usage: sleeper [--seconds S] [--sleep-us US] [--run-us US] [--cpu CPU]\n",
		      stderr);
		return 2;
	}

	long long sleep_for_ns = sleep_us * NSEC_PER_USEC, run_ns = run_us * NSEC_PER_USEC;
	/* It cannot wake up more often than if it ran for no time at all. */
	long max = seconds * NSEC_PER_SEC / sleep_for_ns + 2, nr = 0;
	long long *late_ns = malloc(max * sizeof(*late_ns));

	if (!late_ns)
		err(1, "malloc");
	memset(late_ns, 0, max * sizeof(*late_ns));

	bool locked = be_exact();

	if (cpu >= 0)
		use_only(cpu);
	stop_on_signals();

	struct rusage before, after;

	getrusage(RUSAGE_SELF, &before);

	long long start_ns = now_ns(), end_ns = start_ns + seconds * NSEC_PER_SEC;

	for (long long wake_ns = start_ns; !stopped && nr < max; nr++) {
		wake_ns = now_ns() + sleep_for_ns;
		if (wake_ns >= end_ns)
			break;
		if (sleep_until(wake_ns))
			break;
		late_ns[nr] = now_ns() - wake_ns;
		run_for(run_ns);
	}

	long long took_ns = now_ns() - start_ns;

	getrusage(RUSAGE_SELF, &after);
	if (!nr)
		errx(1, "never woke up");
	qsort(late_ns, nr, sizeof(*late_ns), compare);
	printf("{\"seconds\": %.3f, \"periods\": %ld, \"sleep_us\": %ld, \"run_us\": %ld, "
	       "\"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
	       "\"max_us\": %.1f, \"page_faults\": %ld, \"locked\": %s}\n",
	       (double)took_ns / NSEC_PER_SEC, nr, sleep_us, run_us,
	       percentile_us(late_ns, nr, 500), percentile_us(late_ns, nr, 900),
	       percentile_us(late_ns, nr, 990), percentile_us(late_ns, nr, 999),
	       percentile_us(late_ns, nr, 1000),
	       after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt,
	       locked ? "true" : "false");
	return 0;
}
