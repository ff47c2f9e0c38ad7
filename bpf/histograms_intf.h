/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The histograms that BPF keeps while they are wanted, and the wish for them.
 */
#ifndef PYLAND_HISTOGRAMS_INTF_H
#define PYLAND_HISTOGRAMS_INTF_H

/* cffi: begin */

/* What each histogram counts. Times are in microseconds in the buckets, in ns in the sums. */
enum pyland_histograms {
	PYLAND_HIST_WAKEUP = 0,		/* from the wakeup to the CPU */
	PYLAND_HIST_DECISION = 1,	/* from the question to the decision */
	PYLAND_HIST_DECIDED = 2,	/* from the decision to the CPU */
	PYLAND_HIST_RUN = 3,		/* on the CPU */
	PYLAND_HIST_QUEUE = 4,		/* tasks that waited in the queue which the task entered */
	PYLAND_NR_HISTS = 5,
	PYLAND_NR_BUCKETS = 32,		/* [0], [1], [2, 4), [4, 8) ... and the rest */
	PYLAND_NR_SLOTS = 128,		/* for the keys of a kind; one more counts all other keys */
};

/* Kinds of keys. */
enum pyland_histogram_keys {
	PYLAND_BY_CLASS = 0,		/* of the task's last decision */
	PYLAND_BY_CGROUP = 1,		/* its id */
	PYLAND_BY_COMM = 2,
	PYLAND_BY_QUEUE = 3,		/* a DSQ of the kernel, or one of the two below */
	PYLAND_NR_BY = 4,
	PYLAND_QUEUE_IDLE = -1,		/* none: the task found an idle CPU */
	PYLAND_QUEUE_NEXT = -2,		/* none: it was next on its CPU */
};

/* Bits of pyland_watch.wanted; for keys of kind N, 2 << N. */
enum pyland_watch_bits {
	PYLAND_WATCH_TOTAL = 1,
};

struct pyland_histogram {
	unsigned long long sum;			/* of all values, in ns for times */
	unsigned long long buckets[32];		/* PYLAND_NR_BUCKETS */
};

/* One per possible CPU; only that CPU writes it. Nothing here is ever set to 0 again. */
struct pyland_cpu_histograms {
	struct pyland_histogram each[5];	/* PYLAND_NR_HISTS */
	unsigned long long pad_cache_line[3];
};

/* The histograms of one key; all CPUs add to them. */
struct pyland_slot {
	unsigned long long key;			/* hash of the name; the low 16 bits: the epoch */
	unsigned long long name[2];		/* a number, or the 16 bytes of a comm */
	struct pyland_histogram each[5];
};

/*
 * Which histograms are kept. The process that serves statistics writes this and has no rights, so
 * BPF takes it as a wish.
 */
struct pyland_watch {
	unsigned int wanted;			/* PYLAND_WATCH_*; 0: none */
	unsigned int pad;
	unsigned int epochs[4];			/* of each kind of keys; older slots are free */
	unsigned long long pad_cache_line[5];
};

/* cffi: end */

#endif
