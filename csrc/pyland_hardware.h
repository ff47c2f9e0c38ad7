/* SPDX-License-Identifier: GPL-2.0-only */
/* The hardware's counters by the policy's classes, from outside the scheduler (csrc/hardware.c). */
#ifndef PYLAND_HARDWARE_H
#define PYLAND_HARDWARE_H

#include "hardware_intf.h"

/* cffi: begin */

struct pyland_hardware;

struct pyland_hardware *pyland_hardware_begin(const void *object, unsigned long size,
					      unsigned int nr_cpus,
					      const struct pyland_hardware_event *events,
					      unsigned int every, int by_class);
unsigned int pyland_hardware_events(const struct pyland_hardware *h);
void pyland_hardware_read(const struct pyland_hardware *h, unsigned int class,
			  struct pyland_hardware_sum *to);
unsigned long long pyland_hardware_dropped(const struct pyland_hardware *h);
void pyland_hardware_end(struct pyland_hardware *h);

/* cffi: end */

#endif
