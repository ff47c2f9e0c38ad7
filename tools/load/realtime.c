// SPDX-License-Identifier: GPL-2.0-only
/*
 * A sound server: once a period, a driver of the SCHED_FIFO class wakes clients of the
 * normal class, as the interrupt of an audio device does.
 *
 *   realtime --seconds 4 --period-us 5333 --driver-us 50 --clients 3 --client-us 200 --cpu 0
 *
 * In each period the driver wakes all clients, runs for --driver-us and sleeps until the
 * next period. Each client runs for --client-us (all of it CPU time). If a client has not
 * finished when the next period begins, that period is missed, and the client continues
 * with the next one. Latencies count from the moment at which the driver woke the
 * clients, so they include the time that the driver runs afterwards. With --cpu the
 * driver and the clients may use that CPU only. Without clients the driver is a load of
 * the real-time class and nothing else.
 *
 * Prints one line of JSON after --seconds or on SIGTERM.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include "latency.h"
#include "load.h"
#include "options.h"
#include "threads.h"

#define MAX_CLIENTS	64

struct client {
	atomic_uint begun;	/* periods for which it was woken */
	atomic_uint done;	/* the last of them that it has finished */
	atomic_llong woken_ns;
	struct latencies late;
};

static struct client clients[MAX_CLIENTS];
static long long client_ns;

static void *process(void *argument)
{
	struct client *client = argument;
	unsigned int seen = 0;

	for (;;) {
		while (atomic_load(&client->begun) == seen)
			wait_while(&client->begun, seen);

		unsigned int begun = atomic_load(&client->begun);

		/* Periods that passed while it ran are missed periods, and no wakeups. */
		if (begun == seen + 1)
			note(&client->late, now_ns() - atomic_load(&client->woken_ns));
		seen = begun;
		run_for(client_ns);
		atomic_store(&client->done, seen);
	}
	return NULL;
}

/* Begins a period for all clients; false when a client had not finished the previous one. */
static bool wake_clients(int nr)
{
	bool all = true;

	for (int i = 0; i < nr; i++) {
		struct client *client = &clients[i];

		all &= atomic_load(&client->done) == atomic_load(&client->begun);
		atomic_store(&client->woken_ns, now_ns());
		atomic_fetch_add(&client->begun, 1);
		wake(&client->begun, 1);
	}
	return all;
}

int main(int argc, char **argv)
{
	long seconds = 10, period_us = 5333, driver_us = 50, nr_clients = 3, client_us = 200, cpu = -1;

	parse_options(argc, argv, (struct load_option[]){
		{ "seconds", "S", &seconds, 1, 100000 },
		{ "period-us", "US", &period_us, 100, 10000000 },
		{ "driver-us", "US", &driver_us, 0, 10000000 },
		{ "clients", "N", &nr_clients, 0, MAX_CLIENTS },
		{ "client-us", "US", &client_us, 0, 10000000 },
		{ "cpu", "CPU", &cpu, 0, CPU_SETSIZE - 1 },
		{}
	});

	long long period_ns = period_us * NSEC_PER_USEC, driver_ns = driver_us * NSEC_PER_USEC;

	client_ns = client_us * NSEC_PER_USEC;

	long max_periods = seconds * NSEC_PER_SEC / period_ns + 2, missed = 0;
	struct latencies driver = latencies(max_periods);
	struct latencies wakeups = latencies(nr_clients * max_periods);

	for (int i = 0; i < nr_clients; i++)
		clients[i].late = latencies(max_periods);
	be_exact();
	stop_on_signals();
	if (cpu >= 0)
		use_only(cpu);
	/* Before the driver changes its class, which threads inherit. */
	for (int i = 0; i < nr_clients; i++)
		start_thread(process, &clients[i]);
	if (sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 50 }))
		err(1, "cannot use SCHED_FIFO");

	long long start_ns = now_ns(), end_ns = start_ns + seconds * NSEC_PER_SEC;

	for (long long wake_ns = start_ns; driver.nr < driver.max;) {
		wake_ns += period_ns;
		if (stopped || wake_ns >= end_ns || !wake_at(&driver, wake_ns))
			break;
		missed += !wake_clients(nr_clients);
		run_for(driver_ns);
	}

	double took_s = (double)(now_ns() - start_ns) / NSEC_PER_SEC;

	if (!driver.nr)
		errx(1, "no period passed");
	for (int i = 0; i < nr_clients; i++)
		add_first(&wakeups, &clients[i].late, max_periods);
	sort(&driver);
	sort(&wakeups);
	printf("{\"seconds\": %.3f, \"periods\": %ld, \"missed\": %ld, \"driver_p99_us\": %.1f, "
	       "\"driver_max_us\": %.1f, \"wakeups\": %ld, \"p50_us\": %.1f, \"p90_us\": %.1f, "
	       "\"p99_us\": %.1f, \"max_us\": %.1f}\n",
	       took_s, driver.nr, missed, percentile_us(&driver, 990), percentile_us(&driver, 1000),
	       wakeups.nr, percentile_us(&wakeups, 500), percentile_us(&wakeups, 900),
	       percentile_us(&wakeups, 990), percentile_us(&wakeups, 1000));
	return 0;
}
