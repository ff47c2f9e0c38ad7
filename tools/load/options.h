/* SPDX-License-Identifier: GPL-2.0-only */
/* The options of a workload program: a table of whole numbers with their ranges. */
#ifndef PYLAND_LOAD_OPTIONS_H
#define PYLAND_LOAD_OPTIONS_H

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

/* The table ends with an entry that has no name. */
struct load_option {
	const char *name;
	const char *unit;	/* without one the option takes no value, and sets 1 */
	long *value;
	long min, max;
	void (*take)(long value);	/* of an option that may be repeated, instead of `value` */
};

static inline long number(const char *option, const char *text, long min, long max)
{
	char *end;

	errno = 0;
	long value = strtol(text, &end, 10);

	if (errno || end == text || *end || value < min || value > max)
		errx(2, "--%s takes %ld to %ld, not '%s'", option, min, max, text);
	return value;
}

static inline void exit_with_usage(const struct load_option *table)
{
	fprintf(stderr, "usage: %s", program_invocation_short_name);
	for (const struct load_option *each = table; each->name; each++)
		fprintf(stderr, " [--%s%s%s]%s", each->name, each->unit ? " " : "",
			each->unit ? each->unit : "", each->take ? "..." : "");
	fputs("\n", stderr);
	exit(2);
}

/* Fills in the values; exits with status 2 and a line on stderr when an option is wrong. */
static inline void parse_options(int argc, char **argv, const struct load_option *table)
{
	struct option known[16] = {};
	int index;

	for (int i = 0; table[i].name; i++) {
		known[i].name = table[i].name;
		known[i].has_arg = table[i].unit ? required_argument : no_argument;
	}
	for (;;) {
		int found = getopt_long(argc, argv, "", known, &index);

		if (found < 0)
			break;
		if (found)
			exit_with_usage(table);

		const struct load_option *each = &table[index];
		long value = 1;

		if (each->unit)
			value = number(each->name, optarg, each->min, each->max);
		if (each->take)
			each->take(value);
		else
			*each->value = value;
	}
	if (optind != argc)
		exit_with_usage(table);
}

#endif
