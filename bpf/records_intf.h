/* SPDX-License-Identifier: GPL-2.0-only */
/* The records of the two rings: tasks and events for user space, and decisions for BPF. */
#ifndef PYLAND_RECORDS_INTF_H
#define PYLAND_RECORDS_INTF_H

/* cffi: begin */

enum pyland_event_kind {
	PYLAND_EVENT_STOPPED = 1,
	PYLAND_EVENT_SLEPT = 2,
	PYLAND_EVENT_EXITED = 3,
	PYLAND_EVENT_RUNNING = 4,
	PYLAND_EVENT_CHANGED = 5,
};

/* What happened to a task: BPF -> user space, in the same ring as the records. */
struct pyland_event {
	int kind;
	int pid;
	unsigned long long ran_ns;		/* stopped: on the CPU this time */
};

/* One task that became runnable: BPF -> user space, ring "queued". */
struct pyland_queued {
	unsigned long long seq;			/* this enqueue; a decision returns it */
	int pid;				/* thread id in the initial PID namespace */
	int tgid;
	int cpu;				/* where the task ran last */
	unsigned int nr_cpus_allowed;
	unsigned long long enq_flags;		/* SCX_ENQ_*: 1 is a wakeup */
	unsigned long long weight;		/* 1 to 10000, 100 is nice 0 */
	unsigned long long used_ns;		/* CPU time since the task's last record */
	unsigned long long awake_runtime_ns;	/* CPU time since the task last slept */
	unsigned long long total_runtime_ns;
	unsigned long long start_ns;		/* when it last began to run */
	unsigned long long wakeup_ns;		/* when it last woke up */
	unsigned long long enqueue_ns;		/* when the record was written */
	unsigned long long state;		/* a number of the policy, from its last decision */
	char comm[16];

	/* The base record ends here: averages are 3/4 old and 1/4 new, 0 while unknown. */
	int ppid;
	unsigned int uid;
	unsigned int gid;
	int nice;
	int waker_pid;				/* its last waker; 0: an interrupt on an idle CPU */
	unsigned int kthread;			/* 1: a kernel thread */
	unsigned int pid_ns;			/* its PID namespace, by inode */
	int ns_pid;				/* thread id there */
	char leader_comm[16];
	unsigned long long cgroup_id;
	unsigned long long wakeup_interval_ns;
	unsigned long long sleep_interval_ns;
	unsigned long long waker_interval_ns;	/* between its wakings of others */
	unsigned long long average_runtime_ns;	/* from a wakeup to the next sleep */
};

/* What to do with one task: user space -> BPF, ring "dispatched". */
struct pyland_decision {
	unsigned long long seq;			/* of the record that is answered */
	int pid;
	int cpu;				/* a CPU, PYLAND_CPU_ANY, or a domain */
	unsigned long long slice_ns;		/* 0: the shortest slice */
	unsigned long long vtime_ns;		/* order in the queue: lowest runs first */
	unsigned long long state;		/* kept with the task for its next record */
	unsigned long long flags;		/* PYLAND_DECISION_* */
};

/* Bits of pyland_decision.flags. */
enum pyland_decision_flags {
	PYLAND_DECISION_PREEMPT = 1,	/* the CPU's current task makes room at once */
	PYLAND_DECISION_KICK = 2,	/* no task: the CPU looks for one */
	PYLAND_DECISION_CLASS = 0x1f00,	/* the task's class, for histograms */
	PYLAND_CLASS_SHIFT = 8,
};

/* cffi: end */

#endif
