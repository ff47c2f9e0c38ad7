// SPDX-License-Identifier: GPL-2.0-only
/*
 * A sound server: a driver of the SCHED_FIFO class that wakes clients of the normal class once
 * a period, as an audio device's interrupt does.
 *
 *   realtime --seconds 4 --period-us 5333 --driver-us 50 --clients 3 --client-us 200 --cpu 0
 *
 * In each period the driver wakes all clients, runs for --driver-us and sleeps until the next.
 * Each client runs for --client-us (all of it CPU time). A period in which a client was not done
 * when the next one began is missed, and that client goes on with the next. Latencies are from
 * the moment at which the driver woke the clients, so they include what it runs afterwards.
 * With --cpu the driver and the clients may use that CPU alone; with no clients, the driver is
 * a load of the real-time class and nothing else.
 *
 * One line of JSON after --seconds or on SIGTERM.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "load.h"

#define MAX_CLIENTS	64
#define STACK_SIZE	(64 << 10)

struct client {
	atomic_uint begun;	/* periods that it was woken for */
	atomic_uint done;	/* the last of them that it has finished */
	atomic_llong woken_ns;
	long long *late_ns;
	long nr;
};

static struct client clients[MAX_CLIENTS];
static long long client_ns;
static long max_periods;

static void *process(void *argument)
{
	struct client *client = argument;
	unsigned int seen = 0;

	for (;;) {
		while (atomic_load(&client->begun) == seen)
			syscall(SYS_futex, &client->begun, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);

		unsigned int begun = atomic_load(&client->begun);

		/* What it was late for while it ran is one period missed, and no wakeup. */
		if (begun == seen + 1 && client->nr < max_periods)
			client->late_ns[client->nr++] = now_ns() - atomic_load(&client->woken_ns);
		seen = begun;
		run_for(client_ns);
		atomic_store(&client->done, seen);
	}
	return NULL;
}

static long long *times(long nr)
{
	long long *made = calloc(nr, sizeof(*made));

	if (!made)
		err(1, "calloc");
	return made;
}

static void start_clients(int nr)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	for (int i = 0; i < nr; i++) {
		clients[i].late_ns = times(max_periods);
		errno = pthread_create(&thread, &attributes, process, &clients[i]);
		if (errno)
			err(1, "pthread_create");
	}
}

/* Wakes all that are done; false when one was not. */
static bool wake_clients(int nr)
{
	bool all = true;

	for (int i = 0; i < nr; i++) {
		struct client *client = &clients[i];

		all &= atomic_load(&client->done) == atomic_load(&client->begun);
		atomic_store(&client->woken_ns, now_ns());
		atomic_fetch_add(&client->begun, 1);
		syscall(SYS_futex, &client->begun, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	}
	return all;
}

static double percentile_or_0(const long long *sorted, long nr, long per_mille)
{
	return nr ? percentile_us(sorted, nr, per_mille) : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "period-us", required_argument, NULL, 'p' },
		{ "driver-us", required_argument, NULL, 'd' },
		{ "clients", required_argument, NULL, 'n' },
		{ "client-us", required_argument, NULL, 'c' },
		{ "cpu", required_argument, NULL, 'u' },
		{}
	};
	long seconds = 10, period_us = 5333, driver_us = 50, nr_clients = 3, client_us = 200;
	int option, cpu = -1;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's':
			seconds = number("seconds", optarg, 1, 100000);
			break;
		case 'p':
			period_us = number("period-us", optarg, 100, 10000000);
			break;
		case 'd':
			driver_us = number("driver-us", optarg, 0, 10000000);
			break;
		case 'n':
			nr_clients = number("clients", optarg, 0, MAX_CLIENTS);
			break;
		case 'c':
			client_us = number("client-us", optarg, 0, 10000000);
			break;
		case 'u':
			cpu = number("cpu", optarg, 0, CPU_SETSIZE - 1);
			break;
		default:
			optind = argc + 1;
		}
	}
	if (optind != argc) {
		fputs("usage: realtime [--seconds S] [--period-us US] [--driver-us US] "
		      "[--clients N] [--client-us US] [--cpu CPU]\n", stderr);
		return 2;
	}

	long long period_ns = period_us * NSEC_PER_USEC, driver_ns = driver_us * NSEC_PER_USEC;

	client_ns = client_us * NSEC_PER_USEC;
	max_periods = seconds * NSEC_PER_SEC / period_ns + 2;
	be_exact();
	stop_on_signals();
	if (cpu >= 0)
		use_only(cpu);
	/* Before the driver is of another class, which they would inherit. */
	start_clients(nr_clients);
	if (sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 50 }))
		err(1, "cannot use SCHED_FIFO");

	long long *driver_late_ns = times(max_periods), *late_ns = times(nr_clients * max_periods);
	long long start_ns = now_ns(), end_ns = start_ns + seconds * NSEC_PER_SEC;
	long nr = 0, missed = 0, wakeups = 0;

	for (long long wake_ns = start_ns; nr < max_periods; nr++) {
		wake_ns += period_ns;
		if (stopped || wake_ns >= end_ns || sleep_until(wake_ns))
			break;
		driver_late_ns[nr] = now_ns() - wake_ns;
		missed += !wake_clients(nr_clients);
		run_for(driver_ns);
	}

	double took_s = (double)(now_ns() - start_ns) / NSEC_PER_SEC;

	if (!nr)
		errx(1, "no period passed");
	for (int i = 0; i < nr_clients; i++)
		for (long j = 0; j < clients[i].nr; j++)
			late_ns[wakeups++] = clients[i].late_ns[j];
	qsort(driver_late_ns, nr, sizeof(*driver_late_ns), compare);
	qsort(late_ns, wakeups, sizeof(*late_ns), compare);
	printf("{\"seconds\": %.3f, \"periods\": %ld, \"missed\": %ld, \"driver_p99_us\": %.1f, "
	       "\"driver_max_us\": %.1f, \"wakeups\": %ld, \"p50_us\": %.1f, \"p90_us\": %.1f, "
	       "\"p99_us\": %.1f, \"max_us\": %.1f}\n",
	       took_s, nr, missed, percentile_us(driver_late_ns, nr, 990),
	       percentile_us(driver_late_ns, nr, 1000), wakeups,
	       percentile_or_0(late_ns, wakeups, 500), percentile_or_0(late_ns, wakeups, 900),
	       percentile_or_0(late_ns, wakeups, 990), percentile_or_0(late_ns, wakeups, 1000));
	return 0;
}
