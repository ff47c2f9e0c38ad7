// SPDX-License-Identifier: GPL-2.0-only
/*
 * A game: frames with a deadline, drawn by a main thread and its helpers.
 *
 *   game --seconds 20 --fps 60 --helpers 2 --main-us 3000 --helper-us 3000
 *
 * In each frame the main thread runs for half of --main-us, wakes the helpers, runs for
 * the other half and waits until each helper has run for --helper-us (all of it CPU
 * time). The screen shows the frame at its next refresh; there are --fps refreshes a
 * second. A frame that is done within one period is in time, and the next frame begins
 * when the screen shows it. After a late frame the next one begins at once; its deadline
 * is the refresh after the one that shows the late frame, so no delay adds up. The time
 * of a frame is the time between two refreshes that showed something new: a multiple of
 * the period.
 *
 * Prints one line of JSON after --seconds or on SIGTERM.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include "latency.h"
#include "load.h"
#include "options.h"
#include "threads.h"

#define MAX_HELPERS	1024

static atomic_uint begun;	/* frames for which the helpers were woken */
static atomic_uint busy;	/* helpers that have not finished this frame */
static atomic_llong woken_ns;	/* when the helpers were woken */
static long long helper_ns;	/* CPU time of a helper in a frame */

static void *help(void *argument)
{
	struct latencies *late = argument;

	for (unsigned int frame = 0;; frame++) {
		while (atomic_load(&begun) == frame)
			wait_while(&begun, frame);
		note(late, now_ns() - atomic_load(&woken_ns));
		run_for(helper_ns);
		if (atomic_fetch_sub(&busy, 1) == 1)
			wake(&busy, 1);
	}
	return NULL;
}

/* Draws one frame; a signal cuts it short. */
static void draw(long long main_ns, int helpers)
{
	unsigned int left;

	run_for(main_ns / 2);
	atomic_store(&busy, helpers);
	atomic_store(&woken_ns, now_ns());
	atomic_fetch_add(&begun, 1);
	wake(&begun, INT_MAX);
	run_for(main_ns - main_ns / 2);
	while (!stopped && (left = atomic_load(&busy)))
		wait_while(&busy, left);
}

int main(int argc, char **argv)
{
	long seconds = 10, fps = 60, helpers = 2, main_us = 3000, helper_us = 3000;

	parse_options(argc, argv, (struct load_option[]){
		{ "seconds", "S", &seconds, 1, 100000 },
		{ "fps", "N", &fps, 1, 1000 },
		{ "helpers", "N", &helpers, 1, MAX_HELPERS },
		{ "main-us", "US", &main_us, 0, 10000000 },
		{ "helper-us", "US", &helper_us, 0, 10000000 },
		{}
	});

	long long period_ns = NSEC_PER_SEC / fps;

	helper_ns = helper_us * NSEC_PER_USEC;
	/* A period has one frame at most, but the last frame may begin just before the end. */
	long max_frames = seconds * NSEC_PER_SEC / period_ns + 2, late = 0;
	struct latencies frames = latencies(max_frames), done = latencies(max_frames);
	struct latencies wakeups = latencies(helpers * max_frames), helpers_late[MAX_HELPERS];

	for (int i = 0; i < helpers; i++)
		helpers_late[i] = latencies(max_frames);
	be_exact();
	stop_on_signals();
	for (int i = 0; i < helpers; i++)
		start_thread(help, &helpers_late[i]);

	/* When the screen showed the previous frame, and when the next one begins. */
	long long start_ns = now_ns(), end_ns = start_ns + seconds * NSEC_PER_SEC;
	long long shown_ns = start_ns, begin_ns = start_ns;

	while (shown_ns < end_ns) {
		while (!stopped && sleep_until(begin_ns) == EINTR)
			;
		draw(main_us * NSEC_PER_USEC, helpers);
		if (stopped)
			break;

		long long ready_ns = now_ns(), due_ns = shown_ns + period_ns;

		note(&done, ready_ns - begin_ns);
		begin_ns = due_ns;
		if (ready_ns > due_ns) {
			long long periods = (ready_ns - start_ns + period_ns - 1) / period_ns;

			late++;
			begin_ns = ready_ns;
			due_ns = start_ns + periods * period_ns;
		}
		note(&frames, due_ns - shown_ns);
		shown_ns = due_ns;
	}
	if (!frames.nr)
		errx(1, "no frame was done");

	double took_s = (double)(shown_ns - start_ns) / NSEC_PER_SEC;
	long nr = frames.nr, slowest = nr < 200 ? 1 : nr / 100;
	long long slowest_ns = 0;

	/* Without the frame that a signal cut short. */
	for (int i = 0; i < helpers; i++)
		add_first(&wakeups, &helpers_late[i], nr);
	sort(&wakeups);
	sort(&done);
	sort(&frames);
	for (long i = nr - slowest; i < nr; i++)
		slowest_ns += frames.ns[i];

	printf("{\"seconds\": %.3f, \"frames\": %ld, \"fps\": %.2f, \"low1_fps\": %.2f, "
	       "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"late\": %ld, "
	       "\"done_p99_ms\": %.3f, \"helper_p50_us\": %.1f, \"helper_p99_us\": %.1f}\n",
	       took_s, nr, nr / took_s, (double)slowest * NSEC_PER_SEC / slowest_ns,
	       percentile_us(&frames, 500) / 1000, percentile_us(&frames, 990) / 1000,
	       percentile_us(&frames, 1000) / 1000, late, percentile_us(&done, 990) / 1000,
	       percentile_us(&wakeups, 500), percentile_us(&wakeups, 990));
	return 0;
}
