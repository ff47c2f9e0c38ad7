/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the BPF program, the C core and Python share: the two ring records, the
 * counters and the memory both sides map. Python takes its struct formats from
 * the block between the cffi marks. PYLAND_LAYOUT, a number made from this header,
 * is in all three, and pyland starts only where it is the same.
 *
 * Every time is in nanoseconds, on the kernel's scheduler clock.
 */
#ifndef PYLAND_INTF_H
#define PYLAND_INTF_H

/* cffi: begin */

enum pyland_limits {
	PYLAND_CPU_ANY = -1,		/* decision: BPF picks the CPU */
	PYLAND_CPU_DOMAIN = -2,		/* decision: minus a domain's number */
	PYLAND_NR_DOMAINS = 1024,	/* the first are the machine's LLCs, unless the policy sets them */
	PYLAND_NR_SERVED = 64,		/* domains that a CPU serves at most */
	PYLAND_MASK_WORDS = 16,		/* of 64 CPUs each */
	PYLAND_NR_GROUPS = 2048,	/* of the CPU controller; further ones count as the root */
	PYLAND_FULL_PERFORMANCE = 1024,
	PYLAND_BASE_RECORD = 112,	/* bytes of a record without the extra fields */
	PYLAND_COMM_LEN = 16,
	PYLAND_REASON_LEN = 128,
	PYLAND_MESSAGE_LEN = 1024,
	PYLAND_DRAIN_MAX = 512,		/* decisions that one dispatch applies */
};

/* Bits of pyland_decision.flags. */
enum pyland_decision_flags {
	PYLAND_DECISION_PREEMPT = 1,	/* the CPU's current task makes room at once */
	PYLAND_DECISION_KICK = 2,	/* no task: the CPU looks for one */
	PYLAND_DECISION_CLASS = 0x1f00,	/* the policy's class of the task: counts in histograms only */
	PYLAND_CLASS_SHIFT = 8,
};

/* Bits of pyland_shared.wanted: what costs time and is collected only on demand. */
enum pyland_wanted {
	PYLAND_WANT_EXTRAS = 1,		/* the second part of a record */
	PYLAND_WANT_STOPPED = 2,
	PYLAND_WANT_SLEPT = 4,
	PYLAND_WANT_EXITED = 8,
	PYLAND_WANT_RUNNING = 64,
	PYLAND_WANT_CHANGED = 128,
	PYLAND_WANT_EVENTS = 206,	/* any of the five */

	/* How a task is ordered until its decision comes; without a bit, by its last key. */
	PYLAND_WANT_HOLD = 16,		/* not at all: it waits for the decision */
	PYLAND_WANT_ARRIVAL = 32,	/* by the time of its enqueue */
};

enum pyland_event_kind {
	PYLAND_EVENT_STOPPED = 1,
	PYLAND_EVENT_SLEPT = 2,
	PYLAND_EVENT_EXITED = 3,
	PYLAND_EVENT_RUNNING = 4,
	PYLAND_EVENT_CHANGED = 5,
};

/* Histograms: what each is of. Times are in microseconds in the buckets, in ns in the sums. */
enum pyland_histograms {
	PYLAND_HIST_WAKEUP = 0,		/* from the wakeup to the CPU */
	PYLAND_HIST_DECISION = 1,	/* from the question to the decision */
	PYLAND_HIST_DECIDED = 2,	/* from the decision to the CPU */
	PYLAND_HIST_RUN = 3,		/* on the CPU */
	PYLAND_HIST_QUEUE = 4,		/* tasks that waited in the queue that it entered */
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
	unsigned long long enqueue_ns;		/* now */
	unsigned long long state;		/* the policy's word of its last decision */
	char comm[16];

	/* The base record ends here: averages are 3/4 old and 1/4 new, 0 while unknown. */
	int ppid;
	unsigned int uid;
	unsigned int gid;
	int nice;
	int waker_pid;				/* the task that woke it last; 0: an interrupt of an idle CPU */
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
	unsigned long long bounced;		/* decisions for a CPU or domain the task may not use */
	unsigned long long outside;		/* enqueues of tasks that their domain has no CPU for */
	unsigned long long failed;		/* attempts that the kernel refused outright */
	unsigned long long bad_decisions;	/* malformed, or out of any range */
	unsigned long long rescued;		/* decided, then starved in a queue */
	unsigned long long undecided;		/* taken though user space knew them, and counted against it */
	unsigned long long handed_over;		/* queued tasks that a new policy was told of */
	unsigned long long events_lost;		/* no room in the ring for an event */
	unsigned long long sched_runs;		/* times user space was given this CPU */
	unsigned long long heartbeats;
	unsigned long long wakeup_kicks;	/* preemptions so that user space sees a wakeup */
	unsigned long long preemptions;	/* by a task that woke up, of one due later */
	unsigned long long sliced;		/* slices that ended between two ticks */
	unsigned long long throttled;		/* waits of a task for its group's quota */
	unsigned long long put_off;		/* the policy wanted a task cut short once too often */
	unsigned long long delay_ns;		/* enqueue to decision, summed over user_dispatched */
	unsigned long long wait_user_ns;	/* the part of delay_ns until user space had a CPU */
	unsigned long long wait_cpu_ns;		/* decision to CPU, summed over waited_cpu */
	unsigned long long waited_cpu;		/* tasks that ran from a queue of decided ones */
	unsigned long long run_delay_ns;	/* runnable and not on a CPU, summed over all runs */
	unsigned long long voluntary;		/* switches from a task that went to sleep */
	unsigned long long involuntary;		/* switches from a task that wanted to go on */
	unsigned long long migrated_core;	/* to another CPU of its last CPU's core */
	unsigned long long migrated_llc;	/* ... to another core of the same last-level cache */
	unsigned long long migrated_node;	/* ... to another last-level cache of the same node */
	unsigned long long migrated_far;	/* ... to another node */

	long long nr_running;			/* a gauge; see pyland_user_cpu for the sum's meaning */

	/* Set by the loader. */
	unsigned int llc;
	unsigned int node;		/* as the kernel numbers it */
	unsigned int nohz_full;		/* the kernel can stop its ticks while one task runs */
	unsigned int core;		/* the first CPU of its core */

	/* BPF's own. */
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
	unsigned int pad_far;
	unsigned long long running_since_ns;	/* 0: no task, or user space */
	unsigned long long running_vtime_ns;
	unsigned long long running_slice_ns;
	unsigned long long running_awake_ns;	/* CPU time since it slept, when it was put on */
	unsigned long long running_sync_ns;	/* how soon it sleeps after such a wakeup; 0: unknown */
	unsigned long long woke_sync_ns;	/* when it last woke a task up and said that it sleeps */
	unsigned int running_computes;	/* it did for long before it was put on, and did not sleep */
	unsigned int slice_timed_by;	/* which CPU has set its timer, + 1; 0: none */
	unsigned int cuts;		/* tasks that the policy cut short since ... */
	unsigned int looks_left;	/* of a search through held tasks */
	unsigned long long cuts_since_ns;
	unsigned long long timer_ends_ns;	/* when the timer of its slices expires, if it is set */
	unsigned long long picked_dsq;	/* where the decision that this CPU applies puts its task */
	int picked_cpu;
	int picked_kick;
	unsigned long long pad_cache_line[5];
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
	unsigned int unplaced;			/* domain + 1 of tasks that no decision has placed; 0: none */

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
	unsigned int preempt;			/* its tasks interrupt those of lower rank */
	unsigned int ask_first;			/* no task goes to an idle CPU undecided */
	unsigned long long pad_cache_line[6];

	/* Gauges, which BPF never reads. */
	long long nr_runnable;
	long long weight_runnable;
	unsigned long long used_ns;
	unsigned long long head_since_ns;	/* when the first that waits was queued; 0: none waits */
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
	unsigned int some_nohz_full;		/* some CPU is */
	unsigned int cgroup_weights;		/* weights of groups count */
	unsigned int partial;			/* only tasks of SCHED_EXT are scheduled */
};

/*
 * Memory that BPF and the process that decides both map. Policy code can write all of it: BPF takes
 * each value as a wish, and the supervisor trusts none.
 */
struct pyland_user {
	unsigned long long nr_held;		/* tasks the policy has not decided yet */
	unsigned long long cycles;		/* drain, decide, submit: done so often */
	unsigned long long submitted;		/* decisions written to the ring */
	unsigned int generation;		/* of the policy: goes up with each swap */
	unsigned int wanted;			/* PYLAND_WANT_* */
	unsigned long long lasts_ns;		/* how long the policy's decisions last */
	unsigned long long margin_ns;		/* by which a task is ahead of one that it interrupts */
	unsigned long long interval_ns;		/* how often the policy wants to run; 0: it does not care */
	unsigned int nr_domains;		/* that the policy has set; 0: one for each LLC */
	unsigned int pad_domains;

	/* Written by BPF. */
	unsigned long long clock_ns;		/* when user space last got a CPU */
	unsigned int exited;			/* the kernel has ended the scheduler */
	unsigned int ring_broken;		/* a drain found the ring of decisions broken */

	/* Written by the supervisor. */
	unsigned int request;			/* goes up when it has sent a message */
	unsigned int pad;
	unsigned long long pad_cache_line[5];
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
	unsigned long long key;			/* a hash of the name, and the low 16 bits of the epoch */
	unsigned long long name[2];		/* a number, or the 16 bytes of a comm */
	struct pyland_histogram each[5];
};

/*
 * Which histograms are kept. The process that serves statistics writes it, which has no rights: BPF
 * takes it as a wish.
 */
struct pyland_watch {
	unsigned int wanted;			/* PYLAND_WATCH_*; 0: none */
	unsigned int pad;
	unsigned int epochs[4];			/* of each kind of keys: slots of earlier ones are free */
	unsigned long long pad_cache_line[5];
};

/* One for each LLC, in a cache line of its own; only its CPUs write it. */
struct pyland_llc {
	int nr_idle;				/* CPUs that idle */
	int pad;
	unsigned long long pad_cache_line[7];
};

/*
 * BPF's own state, which only root can map. Each block has cache lines of its own, by what writes
 * it: many CPUs read a line that one CPU writes often, or many write.
 */
struct pyland_shared {
	/* Written when something begins or ends, and a few times a second. */
	unsigned long long sched_tgid;
	unsigned long long hold_from_ns;	/* tasks are held again for a policy that forgot some */
	unsigned long long undecided_since_ns;
	unsigned int handed_over;		/* the generation that knows all queued tasks */
	unsigned int domains_most;		/* that a policy has set so far, or LLCs */
	unsigned int places;			/* the present policy names CPUs or domains */
	unsigned int undecided;			/* tasks since undecided_since_ns */
	unsigned int quiet;			/* no task waited at the last heartbeat, or since */
	unsigned int rescues_left;		/* of a look for starved tasks in one queue */
	unsigned int left_out;			/* a task is queued that the policy was not asked about */
	unsigned int lagging;			/* user space is behind: records pause */
	unsigned long long pad_seldom;

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
	unsigned long long asked_pos;		/* finished cycles have seen all records up to here */
	unsigned long long begin_pos;		/* end of the records when a cycle began */
	unsigned long long cycle_cost_ns;	/* average of what a cycle takes its CPU */
	unsigned long long cycle_ran_ns;	/* what the present one has had, before an interruption */
	unsigned long long clock_ns;		/* when user space last got a CPU */
	int sched_cpu;				/* where user space ran last: its cache is warm there */
	int pad_sched;
	unsigned long long pad_cycle[6];

	/* Written by a CPU whose new task changes when user space has to run. */
	unsigned long long due_ns;		/* when user space is to run next */
	unsigned long long last_kick_ns;	/* when a wakeup last interrupted a task */
	unsigned int wakeup_waits;		/* a task woke up, and user space has not run since */
	unsigned int pad_due;
	unsigned long long pad_needs[5];

	/* Written by any CPU, but no more often than these say. */
	unsigned long long vtime_now;		/* the highest vtime that has run, within VTIME_STEP_NS */
	unsigned long long own_queued_ns;	/* when a task last waited for its own CPU, in ms */
	unsigned long long idle_llcs;		/* bit n: a CPU of LLC n may idle; n counts modulo 64 */
	unsigned int vtime_of_bpf;		/* vtime_now follows keys that BPF gave */
	unsigned int groups;			/* of the CPU controller that BPF knows, a gauge */
	unsigned long long pad_any[4];

	unsigned int exited;
	unsigned int pad_exit;
	long long exit_kind;
	long long exit_code;
	char exit_reason[128];
	char exit_message[1024];
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
