/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What `pyland trace` and its BPF programs share: one ring for each CPU, which only that CPU
 * writes, with interrupts off; and what pyland's own programs tell at `traced` (traced.bpf.h).
 */
#ifndef PYLAND_TRACE_INTF_H
#define PYLAND_TRACE_INTF_H

/* cffi: begin */

enum pyland_trace_kind {
	PYLAND_TRACE_SWITCH = 1,
	PYLAND_TRACE_WAKING = 2,
	PYLAND_TRACE_QUEUE = 3,		/* queued or decided; PYLAND_TRACE_REST follows */
	PYLAND_TRACE_REST = 4,
	PYLAND_TRACE_TASK = 5,		/* a new task */
	PYLAND_TRACE_NAME = 6,		/* a task has another name */
};

/* What became of a task, and why. */
enum pyland_traced {
	PYLAND_TRACED_IDLE_CPU = 1,	/* a CPU idled: it runs there at once */
	PYLAND_TRACED_NEXT = 2,		/* its waker is about to sleep: it runs there next */
	PYLAND_TRACED_KERNEL = 3,	/* work of the kernel: it runs next */
	PYLAND_TRACED_CONTINUED = 4,	/* its last decision lasts */
	PYLAND_TRACED_ASKED = 5,	/* queued by the interim order; the policy was asked */
	PYLAND_TRACED_HELD = 6,		/* it waits for the decision */
	PYLAND_TRACED_UNASKED = 7,	/* queued by the interim order, without a question */
	PYLAND_TRACED_DECIDED = 8,	/* the decision has put it into its queue */
	PYLAND_TRACED_AMENDED = 9,	/* it had left its queue: the decision holds for the turn */
	PYLAND_TRACED_LATE = 10,	/* the decision was dropped */
	PYLAND_TRACED_KINDS = 11,
};

/* Why a task is queued, in bits. */
enum pyland_traced_for {
	PYLAND_TRACED_WOKE_UP = 1,
	PYLAND_TRACED_YIELDED = 2,
	PYLAND_TRACED_PREEMPTED = 4,	/* by a higher class */
};

/* In which context a task is woken up, in ftrace's bits. */
enum pyland_trace_in {
	PYLAND_TRACE_IN_HARDIRQ = 0x08,
	PYLAND_TRACE_IN_SOFTIRQ = 0x10,
};

enum pyland_trace_limits {
	PYLAND_TRACE_SLOT = 32,		/* bytes of an event */
	PYLAND_TRACE_NOTE = 512,	/* bytes of an escaped note at most */
	PYLAND_TRACE_LENGTHS = 512,	/* queues whose lengths are read at once */
};

/* 32 bytes. Times are of CLOCK_BOOTTIME. */
struct pyland_trace_event {
	unsigned long long time_ns;	/* REST: the slice */
	int pid;			/* SWITCH: of the task that begins to run */
	unsigned char kind;
	unsigned char what;		/* QUEUE: PYLAND_TRACED_* */
	unsigned short bits;		/* QUEUE: PYLAND_TRACED_FOR; else the priority */
	unsigned long long a;		/* SWITCH: the previous task and its state. */
					/* WAKING: its CPU and PYLAND_TRACE_IN_*. */
					/* QUEUE: the key. REST: the queue's number */
	unsigned long long b;		/* QUEUE: the question's number */
};

/* Begins the memory of a CPU's ring; the events follow. */
struct pyland_trace_ring {
	unsigned long long head;	/* events written */
	unsigned long long lost;	/* for which there was no room */
	unsigned long long pad_cache_line[6];
	unsigned long long tail;	/* events read; written by user space */
	unsigned long long pad_cache_line_2[7];
};

/* A new task or a new name; in a ring of their own, because interrupts are on there. */
struct pyland_trace_task {
	unsigned long long time_ns;
	int pid;
	int tgid;
	int cpu;
	int parent_pid;			/* the task that runs */
	unsigned long long kind;
	unsigned long long clone_flags;
	char comm[16];
};

/* Set before the object is loaded. */
struct pyland_trace_config {
	unsigned long long layout;	/* of the build that made the object */
	unsigned long long slots;	/* of each ring, a power of two */
};

/* cffi: end */

#endif
