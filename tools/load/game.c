// SPDX-License-Identifier: GPL-2.0-only
/*
 * A game: frames with a deadline, drawn by a main thread and its helpers.
 *
 *   game --seconds 20 --fps 60 --helpers 2 --main-us 3000 --helper-us 3000
 *
 * In each frame the main thread runs for half of --main-us, wakes the helpers,
 * runs for the other half and waits until each helper has run for --helper-us
 * (all of it CPU time). The screen shows the frame at its next refresh, --fps of
 * which come each second. A frame that was done within one period is in time,
 * and the next begins when the screen shows it. After a late one, the next
 * begins at once; it has until the refresh after the one that shows the late
 * one, so nothing is owed. A frame's time is that between two refreshes that
 * showed something new, hence a multiple of the period.
 *
 * One line of JSON after --seconds or on SIGTERM.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "load.h"

#define MAX_HELPERS	1024

/* Locked memory, so not the usual 8 MiB. */
#define STACK_SIZE	(64 << 10)

static atomic_uint begun;	/* frames that the helpers were woken for */
static atomic_uint busy;	/* helpers that are not done with this frame */
static atomic_llong woken_ns;	/* when they were woken */
static long long helper_ns;	/* that each runs in a frame */
static long max_frames;

static void wait_while(atomic_uint *word, unsigned int value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(atomic_uint *word, int nr)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, nr, NULL, NULL, 0);
}

static long long *times(long nr)
{
	long long *made = calloc(nr, sizeof(*made));

	if (!made)
		err(1, "calloc");
	return made;
}

static void *help(void *argument)
{
	long long *late_ns = argument;

	for (unsigned int frame = 0;; frame++) {
		while (atomic_load(&begun) == frame)
			wait_while(&begun, frame);
		late_ns[frame] = now_ns() - atomic_load(&woken_ns);
		run_for(helper_ns);
		if (atomic_fetch_sub(&busy, 1) == 1)
			wake(&busy, 1);
	}
	return NULL;
}

static void start_helpers(long long *late_ns, int nr)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	for (int i = 0; i < nr; i++) {
		errno = pthread_create(&thread, &attributes, help, late_ns + i * max_frames);
		if (errno)
			err(1, "pthread_create");
	}
}

/* One frame; a signal cuts it short. */
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
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "fps", required_argument, NULL, 'f' },
		{ "helpers", required_argument, NULL, 'n' },
		{ "main-us", required_argument, NULL, 'm' },
		{ "helper-us", required_argument, NULL, 'h' },
		{}
	};
	long seconds = 10, fps = 60, helpers = 2, main_us = 3000, helper_us = 3000;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's':
			seconds = number("seconds", optarg, 1, 100000);
			break;
		case 'f':
			fps = number("fps", optarg, 1, 1000);
			break;
		case 'n':
			helpers = number("helpers", optarg, 1, MAX_HELPERS);
			break;
		case 'm':
			main_us = number("main-us", optarg, 0, 10000000);
			break;
		case 'h':
			helper_us = number("helper-us", optarg, 0, 10000000);
			break;
		default:
			optind = argc + 1;
		}
	}
	if (optind != argc) {
		fputs("usage: game [--seconds S] [--fps N] [--helpers N] [--main-us US] "
		      "[--helper-us US]\n", stderr);
		return 2;
	}

	long long period_ns = NSEC_PER_SEC / fps;

	helper_ns = helper_us * NSEC_PER_USEC;
	/* There is no more than one in a period, but the last may begin just before the end. */
	max_frames = seconds * NSEC_PER_SEC / period_ns + 2;

	long long *frame_ns = times(max_frames), *done_ns = times(max_frames);
	long long *late_ns = times(helpers * max_frames);
	long nr = 0, late = 0;

	be_exact();
	stop_on_signals();
	start_helpers(late_ns, helpers);

	/* When the screen shows the last frame, and when the next one begins. */
	long long start_ns = now_ns(), end_ns = start_ns + seconds * NSEC_PER_SEC;
	long long shown_ns = start_ns, begin_ns = start_ns;

	while (shown_ns < end_ns) {
		while (!stopped && sleep_until(begin_ns) == EINTR)
			;
		draw(main_us * NSEC_PER_USEC, helpers);
		if (stopped)
			break;

		long long ready_ns = now_ns(), due_ns = shown_ns + period_ns;

		done_ns[nr] = ready_ns - begin_ns;
		begin_ns = due_ns;
		if (ready_ns > due_ns) {
			long long periods = (ready_ns - start_ns + period_ns - 1) / period_ns;

			late++;
			begin_ns = ready_ns;
			due_ns = start_ns + periods * period_ns;
		}
		frame_ns[nr++] = due_ns - shown_ns;
		shown_ns = due_ns;
	}
	if (!nr)
		errx(1, "no frame was done");

	double took_s = (double)(shown_ns - start_ns) / NSEC_PER_SEC;
	long slowest = nr < 200 ? 1 : nr / 100;
	long long slowest_ns = 0;

	/* Each helper has room for max_frames; those it saw go together. */
	for (int i = 1; i < helpers; i++)
		memmove(late_ns + i * nr, late_ns + i * max_frames, nr * sizeof(*late_ns));
	qsort(late_ns, helpers * nr, sizeof(*late_ns), compare);
	qsort(done_ns, nr, sizeof(*done_ns), compare);
	qsort(frame_ns, nr, sizeof(*frame_ns), compare);
	for (long i = nr - slowest; i < nr; i++)
		slowest_ns += frame_ns[i];

	printf("{\"seconds\": %.3f, \"frames\": %ld, \"fps\": %.2f, \"low1_fps\": %.2f, "
	       "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"late\": %ld, "
	       "\"done_p99_ms\": %.3f, \"helper_p50_us\": %.1f, \"helper_p99_us\": %.1f}\n",
	       took_s, nr, nr / took_s, (double)slowest * NSEC_PER_SEC / slowest_ns,
	       percentile_us(frame_ns, nr, 500) / 1000, percentile_us(frame_ns, nr, 990) / 1000,
	       percentile_us(frame_ns, nr, 1000) / 1000, late,
	       percentile_us(done_ns, nr, 990) / 1000,
	       percentile_us(late_ns, helpers * nr, 500),
	       percentile_us(late_ns, helpers * nr, 990));
	return 0;
}
