/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state of the scheduler as a whole. BPF reads and writes it. The processes of root read the
 * exit and `quiet`, and write `sched_tgid` and `due_ns`.
 */
#ifndef PYLAND_SHARED_STATE_H
#define PYLAND_SHARED_STATE_H

/* cffi: begin */

/*
 * BPF's own state, which only root can map. Each block has cache lines of its own: so a CPU that
 * reads one block is not slowed down by writes to another.
 */
struct pyland_shared {
	/* Written when something begins or ends, and a few times a second. */
	unsigned long long sched_tgid;
	unsigned long long hold_from_ns;	/* tasks are held again from this time on */
	unsigned long long undecided_since_ns;
	unsigned int handed_over;		/* the generation that knows all queued tasks */
	unsigned int domains_most;		/* that a policy has set so far, or LLCs */
	unsigned int places;			/* the present policy names CPUs or domains */
	unsigned int undecided;			/* tasks since undecided_since_ns */
	unsigned int quiet;			/* no task waited at the last heartbeat, or since */
	unsigned int rescues_left;		/* of a look for starved tasks in one queue */
	unsigned int left_out;			/* a queued task was not asked about */
	unsigned int lagging;			/* user space is behind: records pause */
	unsigned long long key_step_ns;		/* of keys of tasks that wake each other */

	/* Written by the CPU that carries decisions out. */
	unsigned long long drained;		/* decisions taken from the ring */
	unsigned long long usual_ns;		/* slice of the latest decisions, at weight 100 */
	unsigned long long lead_ns;		/* of the latest decision for a new task */
	unsigned int drain_error;		/* errno of a drain that found the ring broken */
	unsigned int pad_drain;
	unsigned long long pad_decisions[4];

	/* Written by the CPU that runs user space. */
	unsigned long long last_cycle_ns;	/* when a finished cycle was last seen */
	unsigned long long cycles_seen;
	unsigned long long cycles_begun;
	unsigned long long cycle_begin_ns;	/* when user space began its present cycle */
	unsigned long long asked_pos;		/* finished cycles saw all records before this */
	unsigned long long begin_pos;		/* end of the records when a cycle began */
	unsigned long long cycle_cost_ns;	/* average of what a cycle takes its CPU */
	unsigned long long cycle_ran_ns;	/* time of a cycle that has not ended so far */
	unsigned long long clock_ns;		/* when user space last got a CPU */
	int sched_cpu;				/* user space ran here last: a warm cache */
	int pad_sched;
	unsigned long long pad_cycle[6];

	/* Written by a CPU whose new task changes when user space has to run. */
	unsigned long long due_ns;		/* when user space is to run next */
	unsigned long long last_kick_ns;	/* when a task was last preempted for user space */
	unsigned int wakeup_waits;		/* a task woke up after user space last ran */
	unsigned int pad_due;
	unsigned long long pad_needs[5];

	/* Written by any CPU, but rarely: in steps, or when something changes. */
	unsigned long long vtime_now;		/* the highest key that ran, by VTIME_STEP_NS */
	unsigned long long own_queued_ns;	/* a task last waited for its own CPU; by 1 ms */
	unsigned long long idle_llcs;		/* bit n: a CPU of LLC n, modulo 64, may idle */
	unsigned int vtime_of_bpf;		/* vtime_now follows keys that BPF gave */
	unsigned int groups;			/* a gauge: groups that have a number */
	unsigned long long pad_any[4];

	unsigned int exited;
	unsigned int pad_exit;
	long long exit_kind;
	long long exit_code;
	char exit_reason[128];
	char exit_message[1024];
};

/* cffi: end */

#endif
