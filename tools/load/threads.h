/* SPDX-License-Identifier: GPL-2.0-only */
/* Threads with small stacks, and how they wait for each other. */
#ifndef PYLAND_LOAD_THREADS_H
#define PYLAND_LOAD_THREADS_H

#include <err.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Stacks may be locked in memory: not the usual 8 MiB. */
#define STACK_SIZE	(64 << 10)

static inline pthread_t start_thread(void *(*run)(void *), void *argument)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	errno = pthread_create(&thread, &attributes, run, argument);
	if (errno)
		err(1, "cannot start a thread");
	pthread_attr_destroy(&attributes);
	return thread;
}

/* Sleeps while the word has this value; may return early, so the caller looks again. */
static inline void wait_while(atomic_uint *word, unsigned int value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static inline void wake(atomic_uint *word, int nr)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, nr, NULL, NULL, 0);
}

#endif
