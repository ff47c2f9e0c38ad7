/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The contract between the BPF program, the C core and Python: the counters, and the memory that
 * both sides map. records_intf.h has the records of the rings, histograms_intf.h the histograms,
 * trace_intf.h the traces, hardware_intf.h the hardware's counters, shared_state.h BPF's state.
 *
 * Python takes its struct formats from the blocks between the cffi marks. All three contain
 * PYLAND_LAYOUT, a number made from the shared headers, and pyland starts only if the three numbers
 * are equal. Every time is in nanoseconds, on the kernel's scheduler clock.
 */
#ifndef PYLAND_INTF_H
#define PYLAND_INTF_H

#include "records_intf.h"

/* cffi: begin */

enum pyland_limits {
	PYLAND_CPU_ANY = -1,		/* decision: BPF picks the CPU */
	PYLAND_CPU_DOMAIN = -2,		/* decision: domain n is PYLAND_CPU_DOMAIN - n */
	PYLAND_NR_DOMAINS = 1024,	/* the machine's LLCs, or those of the policy */
	PYLAND_NR_SERVED = 64,		/* domains that a CPU serves at most */
	PYLAND_MASK_WORDS = 16,		/* of 64 CPUs each */
	PYLAND_NR_GROUPS = 2048,	/* of the CPU controller; further ones count as the root */
	PYLAND_FULL_PERFORMANCE = 1024,
	PYLAND_BASE_RECORD = 112,	/* bytes of a record without the extra fields */
	PYLAND_COMM_LEN = 16,
	PYLAND_DRAIN_MAX = 512,		/* decisions that one dispatch applies */
};

/* Bits of pyland_user.wanted: what costs time and is collected only on demand. */
enum pyland_wanted {
	PYLAND_WANT_EXTRAS = 1,		/* the second part of a record */
	PYLAND_WANT_STOPPED = 2,
	PYLAND_WANT_SLEPT = 4,
	PYLAND_WANT_EXITED = 8,
	PYLAND_WANT_RUNNING = 64,
	PYLAND_WANT_CHANGED = 128,
	PYLAND_WANT_EVENTS = 206,	/* any of the five events */
	/* How a task is ordered until its decision comes; without a bit, by its last key. */
	PYLAND_WANT_HOLD = 16,		/* not at all: it waits for the decision */
	PYLAND_WANT_ARRIVAL = 32,	/* by the time of its enqueue */
	PYLAND_WANT_TICKS = 256,	/* slices end at ticks, and no timer ends them */
};

/* Bits of pyland_user_domain.search: which CPU a task looks for when it wakes up. */
enum pyland_search {
	PYLAND_SEARCH_PREVIOUS = 1,	/* its previous CPU, even if the rest of that core is busy */
	PYLAND_SEARCH_STAY = 2,		/* its previous CPU alone, for which it waits */
	PYLAND_SEARCH_PREEMPT = 4,	/* before an idle one, its previous CPU by its rank */
	PYLAND_SEARCH_SOON = 8,		/* if none idles, its previous CPU if that is free soon */
};

/* One per possible CPU; only that CPU writes its counters. */
struct pyland_cpu {
	/* Counters since attach. */
	unsigned long long direct;		/* straight to an idle CPU */
	unsigned long long kernel;		/* kernel helpers, never forwarded */
	unsigned long long forwarded;		/* records written */
	unsigned long long user_dispatched;	/* decisions applied */
	unsigned long long fallback_full;	/* no room in the ring */
	unsigned long long fallback_lag;	/* user space lagged */
	unsigned long long fallback_idle;	/* a CPU would have idled */
	unsigned long long amended;		/* decisions for a task that had left its queue */
	unsigned long long continued;		/* continued within a decision that lasts */
	unsigned long long late;		/* decisions for a task that had moved on */
	unsigned long long bounced;		/* for a CPU or domain that is not allowed */
	unsigned long long outside;		/* enqueues without an allowed CPU in the domain */
	unsigned long long failed;		/* attempts that the kernel refused outright */
	unsigned long long bad_decisions;	/* malformed, or out of any range */
	unsigned long long rescued;		/* decided, then starved in a queue */
	unsigned long long undecided;		/* left undecided by the fault of the policy */
	unsigned long long handed_over;		/* queued tasks that a new policy was told of */
	unsigned long long events_lost;		/* no room in the ring for an event */
	unsigned long long sched_runs;		/* times user space was given this CPU */
	unsigned long long heartbeats;
	unsigned long long wakeup_kicks;	/* preemptions to let user space see a wakeup */
	unsigned long long preemptions;	/* by a task that woke up: due first, or by its rank */
	unsigned long long sliced;		/* slices that a timer ended, between two ticks */
	unsigned long long throttled;		/* waits of a task for its group's quota */
	unsigned long long put_off;		/* preemptions put off: there were too many */
	unsigned long long delay_ns;		/* question to decision, sum of user_dispatched */
	unsigned long long wait_user_ns;	/* part of delay_ns until user space got a CPU */
	unsigned long long wait_cpu_ns;		/* enqueue or decision to CPU, sum of waited_cpu */
	unsigned long long waited_cpu;		/* tasks that ran after a wait in order */
	unsigned long long run_delay_ns;	/* runnable and not on a CPU, sum of all runs */
	unsigned long long voluntary;		/* switches from a task that went to sleep */
	unsigned long long involuntary;		/* switches from a task that wanted to go on */
	unsigned long long migrated_core;	/* to another CPU of its last CPU's core */
	unsigned long long migrated_llc;	/* ... to another core of the same LLC */
	unsigned long long migrated_node;	/* ... to another LLC of the same node */
	unsigned long long migrated_far;	/* ... to another node */

	long long nr_running;			/* a gauge; only the sum has a meaning */

	/* Set by the loader. */
	unsigned int llc;
	unsigned int node;		/* as the kernel numbers it */
	unsigned int nohz_full;		/* the kernel can stop its ticks while one task runs */
	unsigned int core;		/* the first CPU of its core */
	unsigned int little;		/* its core computes much less than the machine's fastest */

	/* BPF's own. */
	unsigned int kicked;		/* a task that woke up is preempting the task that runs */
	unsigned int idle;
	unsigned int runs_scheduler;	/* a thread of user space's runs here */
	unsigned long long sched_cycles_seen;	/* user-space cycles when it last ran here */
	unsigned int performance_applied;
	unsigned int last_was_fallback;
	unsigned int last_was_own;
	unsigned int sched_ran_last;
	unsigned int sched_kept;
	int running_rank;		/* of the domain of the task that runs */
	unsigned long long lag_check_ns;	/* next look at the oldest held task */
	unsigned long long far_look_ns;		/* next look at the queues of other domains */
	unsigned int far_domain;		/* which of them is next */
	unsigned int preempting;	/* a timer is to preempt the task that runs */
	unsigned long long running_since_ns;	/* 0: no task, or user space */
	unsigned long long running_vtime_ns;
	unsigned long long running_slice_ns;
	unsigned long long running_awake_ns;	/* CPU time from its last sleep to this turn */
	unsigned long long running_sync_ns;	/* from a sync wakeup to its sleep; 0: unknown */
	unsigned long long woke_sync_ns;	/* when it last did a wakeup with SCX_WAKE_SYNC */
	unsigned int running_computes;	/* it computed for long before this turn */
	unsigned int slice_timed_by;	/* which CPU has set its timer, + 1; 0: none */
	unsigned int cuts;		/* tasks that the policy cut short since cuts_since_ns */
	unsigned int looks_left;	/* of a search through a queue */
	unsigned long long cuts_since_ns;
	unsigned long long timer_ends_ns;	/* when the timer of its slices expires */
	unsigned long long picked_dsq;	/* the queue of the decision that this CPU applies */
	int picked_cpu;
	int picked_kick;
	unsigned long long empty_until_ns;	/* no look at its queues before */
	unsigned long long own_empty_until_ns;	/* the same for its own queue alone */
	unsigned long long next_vtime_ns;	/* the key of the task that preempts, if kicked */
	unsigned long long own_head_ns;	/* the first key in its own queue; 0: not compared */
};

/*
 * One per possible CPU: the only state of a CPU that the process that decides can map. BPF must be
 * safe with any value in it: a domain is taken modulo their number, and BPF reads no gauge.
 */
struct pyland_user_cpu {
	/* Gauges. Only their sum over all CPUs has a meaning: a task may stop on another CPU. */
	long long nr_runnable;
	long long weight_runnable;
	unsigned int idle;
	int running_pid;		/* 0: no task, or user space */
	unsigned long long running_since_ns;
	unsigned long long running_vtime_ns;	/* its key */
	unsigned long long busy_ns;		/* CPU time of tasks, up to the last that stopped */
	unsigned int nr_waiting;		/* in the CPU's own queue, at the last heartbeat */
	unsigned int unplaced;			/* domain + 1 of unplaced tasks; 0: none */

	/* Set by the policy. */
	unsigned int performance;	/* target, 0 to 1024, plus 1; 0: never set */
	unsigned int nr_served;
	unsigned short served[64];	/* domains, in the order in which the CPU serves them */
};

/* What the policy says of a domain, and its gauges. BPF must be safe with any value in it. */
struct pyland_user_domain {
	unsigned long long cpus[16];		/* its home, as a mask */
	unsigned long long spill[16];
	unsigned int version;			/* goes up when something above has changed */
	int rank;
	unsigned int preempt;			/* its tasks preempt those of lower rank */
	unsigned int ask_first;			/* no task goes to an idle CPU undecided */
	unsigned int search;			/* PYLAND_SEARCH_* */
	unsigned int pad_search;
	unsigned long long yield_ns;		/* what a yield costs, + 1; 0: the task's turn */
	unsigned long long pad_cache_line[4];

	/* Gauges, which BPF never reads. */
	long long nr_runnable;
	long long weight_runnable;
	unsigned long long used_ns;
	unsigned long long head_since_ns;	/* when its head was queued; 0: none waits */
	unsigned int nr_waiting;		/* at the last heartbeat */
	unsigned int pad;
	unsigned long long pad_gauges[3];
};

/* Set before the object is loaded, constant to the verifier. */
struct pyland_config {
	unsigned long long layout;		/* of the build that made the object */
	unsigned long long longest_ns;		/* longest slice, at weight 100 */
	unsigned long long shortest_ns;		/* shortest slice, at weight 100 */
	unsigned long long lag_ns;		/* how long a held task waits for user space */
	unsigned long long heartbeat_ns;
	unsigned int nr_cpu_ids;
	unsigned int nr_llcs;
	unsigned int numa_local;
	unsigned int idle_per_node;		/* the kernel tracks idle CPUs per NUMA node */
	unsigned int exit_dump_len;
	unsigned int some_nohz_full;		/* some CPU has nohz_full */
	unsigned int cgroup_weights;		/* weights of groups count */
	unsigned int partial;			/* only tasks of SCHED_EXT are scheduled */
	unsigned int hybrid;			/* some CPUs are little, and some are not */
	unsigned int pad;
};

/*
 * Memory that BPF and the process that decides both map. Policy code can write all of it: BPF takes
 * each value as a wish, and the supervisor trusts none.
 */
struct pyland_user {
	unsigned long long nr_held;		/* tasks the policy has not decided yet */
	unsigned long long cycles;		/* how often user space drained and submitted */
	unsigned long long submitted;		/* decisions written to the ring */
	unsigned int generation;		/* of the policy: goes up with each swap */
	unsigned int wanted;			/* PYLAND_WANT_* */
	unsigned long long lasts_ns;		/* how long the policy's decisions last */
	unsigned long long margin_ns;		/* a wakeup preempts a task due this much later */
	unsigned long long interval_ns;		/* how often the policy wants to run; 0: any */
	unsigned int nr_domains;		/* that the policy has set; 0: one for each LLC */
	unsigned int lasts_slices;		/* how many slices a decision grants at most */

	/* Written by BPF. */
	unsigned long long clock_ns;		/* when user space last got a CPU */
	unsigned int exited;			/* the kernel has ended the scheduler */
	unsigned int ring_broken;		/* a drain found the ring of decisions broken */

	/* Written by the supervisor. */
	unsigned int request;			/* goes up when the supervisor has sent a message */
	unsigned int pad;
	unsigned long long pad_cache_line[5];
};

/* One for each LLC, in a cache line of its own; only its CPUs write it. */
struct pyland_llc {
	int nr_idle;				/* CPUs that idle */
	int pad;
	unsigned long long pad_cache_line[7];
};

/* cffi: end */

_Static_assert(__builtin_offsetof(struct pyland_queued, ppid) == PYLAND_BASE_RECORD,
	       "the base record ends before ppid");

/*
 * The build gives each of its parts this number, made from the headers that they share and the
 * version. Parts of two builds refuse each other.
 */
#ifndef PYLAND_LAYOUT
#error "the build defines PYLAND_LAYOUT (tools/build/toolchain.py)"
#endif

#endif
