/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The state of pyland's kernel side: its queues, its maps, and the state of tasks and CPUs.
 */
#ifndef PYLAND_STATE_BPF_H
#define PYLAND_STATE_BPF_H

#include "compat.bpf.h"
#include "arithmetic.bpf.h"
#include "histograms_intf.h"
#include "intf.h"
#include "queue_ids.h"
#include "shared_state.h"

/* For slices this long, ticks are exact enough. A rest below the slack is not worth a timer. */
#define SLICE_TIMED_NS	(10 * NSEC_PER_MSEC)
#define SLICE_SLACK_NS	(50 * NSEC_PER_USEC)

/* How many cycles in a row user space may run for wakeups before other tasks run. */
#define SCHED_KEPT_MAX 3

/* For so long after a task began to wait for its own CPU, idle CPUs look for such tasks. */
#define OWN_QUEUED_NS	(50 * NSEC_PER_MSEC)

/* After this much time of one cycle, user space gives way, and each other task runs once. */
#define SCHED_SLICE_NS	(5 * NSEC_PER_MSEC)

/* Between two heartbeats while no task waits: the kernel allows user space ten times as much. */
#define QUIET_BEAT_NS	(1000 * NSEC_PER_MSEC)

/* The kernel's SCX_SLICE_INF: a slice that never ends by itself. */
#define SLICE_INFINITE	(~0ULL)

/* The highest key is noted in steps of this much: all CPUs read it at each enqueue. */
#define VTIME_STEP_NS	(250 * NSEC_PER_USEC)

/* A decided task that no CPU takes within this time goes back to the holding DSQ. */
#define RESCUE_NS	(2000 * NSEC_PER_MSEC)
#define RESCUE_MAX	32

/*
 * Every function says whether it is inlined, so that all compilers make the same object:
 * what the verifier accepts, and how long it takes, depends on that. A function that is not inlined
 * has five arguments at most, and the verifier goes through it again for each call. A function is
 * APART if it is no static one: the verifier checks it once by itself, and not on every path to a
 * call (all programs together: 77,000 steps; 180,000 if only those with numbers as arguments were
 * APART). Its pointers say what they are: a task of the kernel (__arg_trusted), or memory of a map
 * without timers and references (__arg_nonnull).
 */
#define APART __noinline

/*
 * Each section has one variable: the loader finds the variable by its section. The process that
 * decides can map only `user`.
 */
const volatile struct pyland_config config = { .layout = PYLAND_LAYOUT };
struct pyland_shared shared = {};
struct pyland_user user SEC(".data.user") = {};
struct pyland_watch watch SEC(".data.watch") = {};

enum task_queue {
	QUEUE_NONE,		/* it runs or sleeps */
	QUEUE_HELD,		/* in a holding DSQ, until the policy has decided */
	QUEUE_ORDERED,		/* in the queue of a CPU or a domain */
	QUEUE_RESCUED,		/* in a holding DSQ: it had starved */
	QUEUE_NEXT,		/* on its way to the CPU that takes it next */
	QUEUE_THROTTLED,	/* until its group has some of its quota again */
};

struct task_ctx {
	u64 seq;			/* of its last record */
	u64 asked;			/* the same while the policy has not answered it; else 0 */
	u64 state;
	u64 start_ns;
	u64 stop_ns;
	u64 awake_runtime_ns;
	u64 total_runtime_ns;
	u64 decided_runtime_ns;		/* total at the record that was last decided */
	u64 key_ns;			/* its place in the order */
	u64 key_runtime_ns;		/* total when it had this key */
	u64 asked_runtime_ns;		/* total when the policy was asked */
	u64 asked_ns;			/* when that was */
	u64 run_ns;			/* CPU time of its run so far, up to its last turn */
	u64 lead_ns;			/* its last wakeup's key, before the keys that ran */
	u64 dsq_id;			/* where it waits */
	u64 wakeup_ns;
	u64 ready_ns;			/* waits for a CPU from here on; 0: it does not */
	u64 enqueue_ns;
	u64 record_pos;			/* its record ends before this; 0: it has none */
	u64 decided_ns;
	u64 lasts_until_ns;		/* its last decision lasts, if something is left */
	u64 granted_ns;			/* a slice of that decision */
	u64 left_ns;			/* of that slice */
	u64 slept_ns;
	u64 woke_other_ns;
	u64 wakeup_interval_ns;
	u64 sleep_interval_ns;
	u64 waker_interval_ns;
	u64 average_runtime_ns;
	u64 sync_ns;			/* from a sync wakeup of another task to its own sleep */
	u32 generation;			/* of the policy that state and vtime are of */
	u32 vtime_known;
	s32 waker_pid;
	u32 weight_counted;		/* in a CPU's gauges, while it is runnable; else 0 */
	u32 queue;
	u32 of_bpf;			/* its key is BPF's; the policy's may be of another kind */
	s32 place;			/* of its last decision: a CPU, a domain or any */
	u32 kernel_helper;
	u32 woke_up;			/* its last enqueue was a wakeup */
	u32 waker_noted;		/* select_cpu has noted what wakes it up */
	u32 sync_cpu;			/* CPU of a waker that is about to sleep, + 1; 0: none */
	u32 asked_asleep;		/* the policy was asked when it woke up */
	u32 lasts_asleep;		/* its last decision also lasts over a sleep */
	u32 yielded;			/* it gives way to all that are queued, once */
	u32 preempted;		/* preempted by a higher class, and not queued since */
	u64 tg;				/* its group at the last look: an address, never read */
	u64 charged_ns;			/* its group has paid for its CPU time up to here */
	u64 counted_ns;			/* its domain's gauge has its CPU time up to here */
	u32 group;			/* the number of that group */
	u32 group_counted;		/* its weight in the count of its group; else 0 */
	u32 weight;			/* effective: of its own weight and its group's share */
	u32 ran_on;			/* the CPU where it ran last, + 1; 0: none */
	u32 class;			/* which of the policy's classes, for histograms */
	u32 domain_counted;		/* the domain in whose gauges it is, + 1; 0: none */
	u32 slices_left;		/* of its last decision, after that slice */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_ctx);
} tasks SEC(".maps");

/* Sized by the loader: rings for the queue cap, cpus for every possible CPU, llcs for each LLC. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 512 * 1024);
} queued SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 256 * 1024);
} dispatched SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct pyland_cpu);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct pyland_llc);
} llcs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct pyland_user_cpu);
} user_cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PYLAND_NR_DOMAINS);
	__type(key, u32);
	__type(value, struct pyland_user_domain);
} user_domains SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(u32));
	__uint(value_size, 8);
} exit_dump SEC(".maps");

struct slice_timer {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct slice_timer);
} slice_timers SEC(".maps");

struct heartbeat {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct heartbeat);
} heartbeats SEC(".maps");

static __always_inline struct pyland_cpu *cpu_state(s32 cpu)
{
	u32 key = cpu;

	return bpf_map_lookup_elem(&cpus, &key);
}

static __always_inline struct pyland_cpu *this_cpu_state(void)
{
	return cpu_state(bpf_get_smp_processor_id());
}

static __always_inline struct pyland_user_cpu *user_cpu(s32 cpu)
{
	u32 key = cpu;

	return bpf_map_lookup_elem(&user_cpus, &key);
}

/* True if the task is in a queue of pyland's. */
static __always_inline bool is_waiting(const struct task_ctx *t)
{
	u32 queue = READ_ONCE(t->queue);

	return queue == QUEUE_HELD || queue == QUEUE_ORDERED;
}

static __always_inline bool is_online(s32 cpu)
{
	const struct cpumask *online = scx_bpf_get_online_cpumask();
	bool is = bpf_cpumask_test_cpu(cpu, online);

	scx_bpf_put_cpumask(online);
	return is;
}

static __always_inline struct task_ctx *task_state(struct task_struct *p)
{
	return bpf_task_storage_get(&tasks, p, 0, 0);
}

/*
 * True for every thread of the process, also for threads of a library. If such a thread held the
 * interpreter lock and waited for a decision of Python, that would be a deadlock.
 */
static __always_inline bool is_scheduler(const struct task_struct *p)
{
	return p->tgid == (int)shared.sched_tgid;
}

/* The task's effective weight; its own before its first enqueue. */
static __always_inline u32 weight_of(const struct task_struct *p, const struct task_ctx *t)
{
	return t && t->weight ? t->weight : p->scx.weight;
}

/*
 * The key that other keys are compared with: the highest key that has run. A new policy has none
 * until it knows all tasks; tasks that are queued without it meanwhile go first.
 */
static __always_inline u64 vtime_now(void)
{
	return shared.handed_over == user.generation ? shared.vtime_now : 0;
}

APART u64 clamp_vtime(u64 vtime_ns)
{
	return vtime_within(vtime_ns, vtime_now());
}

/*
 * True for a task that must not leave its CPU for the moment. 6.12 and 6.13 show such tasks to BPF;
 * later kernels keep them to themselves. In 6.12 and 6.13 the BPF prologue counts one for the
 * current task.
 */
static __always_inline bool is_migration_disabled(const struct task_struct *p)
{
	const struct task_struct *current;

	if (!p->migration_disabled)
		return false;
	current = (void *)bpf_get_current_task_btf();
	return p->migration_disabled > 1 || p->pid != current->pid;
}

#endif
