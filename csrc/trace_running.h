/* SPDX-License-Identifier: GPL-2.0-only */
/* The pyland that runs, as another process of root finds it: by the names of its programs. */
#ifndef PYLAND_TRACE_RUNNING_H
#define PYLAND_TRACE_RUNNING_H

#include "pyland_native.h"

/* Programs of pyland with the function `traced`. */
enum { IN_SELECT_CPU, IN_ENQUEUE, IN_DISPATCH, NR_TRACED };

struct running {
	unsigned int id;		/* of its dispatch program; 0: pyland does not run */
	int programs[NR_TRACED];	/* descriptors, or -1 */
	const struct pyland_cpu *cpus;
	const struct pyland_user_cpu *user_cpus;
	const struct pyland_user *user;
	unsigned int nr_cpus;
};

unsigned int running_find(unsigned int ids[NR_TRACED]);
int running_open(struct running *r, const unsigned int ids[NR_TRACED]);
void running_close(struct running *r);

#endif
