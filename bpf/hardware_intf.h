/* SPDX-License-Identifier: GPL-2.0-only */
/* What `pyland latency --hardware` and its BPF program share (hardware.bpf.c). */
#ifndef PYLAND_HARDWARE_INTF_H
#define PYLAND_HARDWARE_INTF_H

/* cffi: begin */

enum pyland_hardware_limits {
	PYLAND_HARDWARE_EVENTS = 3,	/* cycles, instructions, misses of the last-level cache */
	PYLAND_HARDWARE_CLASSES = 32,	/* those of a policy */
};

/* The sums of the samples of a class. A sample is a run of a task, from one switch to the next. */
struct pyland_hardware_sum {
	unsigned long long samples;
	unsigned long long counts[PYLAND_HARDWARE_EVENTS];
};

/* An event as perf_event_open wants it. */
struct pyland_hardware_event {
	unsigned int type;
	unsigned long long config;
};

/* cffi: end */

/* A count, and for how long the kernel wanted to count and did: other programs count, too. */
struct pyland_hardware_reading {
	unsigned long long counter;
	unsigned long long enabled;
	unsigned long long running;
};

/* One for each CPU; only that CPU writes it. */
struct pyland_hardware_cpu {
	struct pyland_hardware_sum classes[PYLAND_HARDWARE_CLASSES];
	unsigned long long switches;
	unsigned long long dropped;	/* samples in which the CPU counted something else meanwhile */
	unsigned long long open;	/* a sample has begun */
	struct pyland_hardware_reading begin[PYLAND_HARDWARE_EVENTS];
};

#define PYLAND_HARDWARE_NO_CLASS 0xffffffff

/* Set before the object is loaded. */
struct pyland_hardware_config {
	unsigned long long layout;	/* of the build that made the object */
	unsigned int every;		/* one of this many switches begins a sample */
	unsigned int events;		/* a bit for each event that is counted */
	unsigned int class_offset;	/* in the state of a task; NO_CLASS: all are of class 0 */
};

#endif
