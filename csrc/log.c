// SPDX-License-Identifier: GPL-2.0-only
/*
 * What went wrong, in one line, and the log of libbpf and of the verifier.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "pyland_native.h"

#define LOG_CHUNK 512
#define LOG_WAIT_MS 250

static char last_error[1024];
static char first_warning[512];	/* libbpf's own words on what went wrong */
static int is_verbose;

const char *pyland_error(void)
{
	return last_error;
}

int pyland_fail(int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(last_error, sizeof(last_error), format, args);
	va_end(args);
	return error < 0 ? error : -EINVAL;
}

int pyland_fail_libbpf(int error, const char *what)
{
	return pyland_fail(error, "%s: %s%s%s", what, strerror(error < 0 ? -error : error),
			   first_warning[0] ? ": " : "", first_warning);
}

void pyland_forget_warning(void)
{
	first_warning[0] = 0;
}

/*
 * Writes to standard error only what it takes within LOG_WAIT_MS: a stopped terminal or a full
 * pipe must not keep pyland from loading again. A blocking descriptor with room takes a chunk
 * at once.
 */
static int print_log(const char *format, va_list args)
{
	struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };
	char *text;
	int length = vasprintf(&text, format, args), done = 0;

	if (length < 0)
		return 0;
	while (done < length && poll(&room, 1, LOG_WAIT_MS) > 0) {
		int left = length - done;
		ssize_t nr = write(STDERR_FILENO, text + done, left < LOG_CHUNK ? left : LOG_CHUNK);

		if (nr < 0)
			break;
		done += nr;
	}
	if (done < length)
		is_verbose = 0;	/* else each of the lines that follow would wait as long */
	free(text);
	return length;
}

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN && !first_warning[0]) {
		va_list copy;

		va_copy(copy, args);
		vsnprintf(first_warning, sizeof(first_warning), format, copy);
		va_end(copy);
		first_warning[strcspn(first_warning, "\n")] = 0;
	}
	return is_verbose ? print_log(format, args) : 0;
}

/* Takes libbpf's messages: keeps the first warning, and prints them all if @verbose. */
void pyland_log_libbpf(int verbose)
{
	is_verbose = verbose;
	pyland_forget_warning();
	libbpf_set_print(print_libbpf);
}
