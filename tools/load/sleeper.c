// SPDX-License-Identifier: GPL-2.0-only
/*
 * An interactive task: sleeps, wakes up and runs a little, again and again. It reports
 * how long after the end of each sleep it was on a CPU.
 *
 *   sleeper --seconds 20 --sleep-us 10000 --run-us 1000 --cpu 0
 *
 * Prints one line of JSON after --seconds or on SIGTERM.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/resource.h>
#include "latency.h"
#include "load.h"
#include "options.h"

int main(int argc, char **argv)
{
	long seconds = 10, sleep_us = 10000, run_us = 1000, cpu = -1;

	parse_options(argc, argv, (struct load_option[]){
		{ "seconds", "S", &seconds, 1, 100000 },
		{ "sleep-us", "US", &sleep_us, 100, 10000000 },
		{ "run-us", "US", &run_us, 0, 10000000 },
		{ "cpu", "CPU", &cpu, 0, CPU_SETSIZE - 1 },
		{}
	});

	long long sleep_for_ns = sleep_us * NSEC_PER_USEC, run_ns = run_us * NSEC_PER_USEC;
	/* With no time to run, it would wake up this often. */
	struct latencies late = latencies(seconds * NSEC_PER_SEC / sleep_for_ns + 2);
	bool locked = be_exact();

	if (cpu >= 0)
		use_only(cpu);
	stop_on_signals();

	struct rusage before, after;

	getrusage(RUSAGE_SELF, &before);

	long long start_ns = now_ns(), end_ns = start_ns + seconds * NSEC_PER_SEC;

	while (!stopped && late.nr < late.max) {
		long long wake_ns = now_ns() + sleep_for_ns;

		if (wake_ns >= end_ns || !wake_at(&late, wake_ns))
			break;
		run_for(run_ns);
	}

	long long took_ns = now_ns() - start_ns;

	getrusage(RUSAGE_SELF, &after);
	if (!late.nr)
		errx(1, "never woke up");
	sort(&late);
	printf("{\"seconds\": %.3f, \"periods\": %ld, \"sleep_us\": %ld, \"run_us\": %ld, "
	       "\"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
	       "\"max_us\": %.1f, \"page_faults\": %ld, \"locked\": %s}\n",
	       (double)took_ns / NSEC_PER_SEC, late.nr, sleep_us, run_us,
	       percentile_us(&late, 500), percentile_us(&late, 900),
	       percentile_us(&late, 990), percentile_us(&late, 999),
	       percentile_us(&late, 1000),
	       after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt,
	       locked ? "true" : "false");
	return 0;
}
