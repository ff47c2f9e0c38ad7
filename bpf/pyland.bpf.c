// SPDX-License-Identifier: GPL-2.0-only
/*
 * pyland's kernel side: forwards runnable tasks to user space and carries its
 * decisions out. The callbacks stand in the order in which a task meets them.
 *
 * A forwarded task is never only in user space: it waits in a holding DSQ while
 * its record travels, and a decision moves it on. Whatever happens to user space,
 * any CPU can take the holding DSQ's head, so no task is lost and none starves.
 */
#include <linux/bpf.h>
#include "compat.bpf.h"
#include "intf.h"
#include <bpf/bpf_tracing.h>

char _license[] SEC("license") = "GPL";

/* Queues. A CPU's own queue has the CPU's number. */
#define SHARED_DSQ	(1ULL << 20)	/* decided, any CPU may take them, by vtime */
#define SCHED_DSQ	(SHARED_DSQ + 1)	/* the user-space scheduler's threads */
#define HOLDING_DSQ	(1ULL << 21)	/* + LLC: forwarded, not decided yet */

#define NSEC_PER_USEC	1000ULL
#define NSEC_PER_MSEC	1000000ULL

/* A year or a nanosecond from a policy becomes something a machine can live with. */
#define SLICE_FLOOR_NS	(100 * NSEC_PER_USEC)
#define SLICE_CEIL_NS	(100 * NSEC_PER_MSEC)

/* User space gives way after this much of one cycle, then others run once. */
#define SCHED_SLICE_NS	(5 * NSEC_PER_MSEC)

/* Keys further from the running ones than this (18 minutes) would wrap comparisons. */
#define VTIME_WINDOW_NS	(1ULL << 40)

/* A decided task that no CPU took for so long goes back to the holding DSQ. */
#define RESCUE_NS	(2000 * NSEC_PER_MSEC)
#define RESCUE_MAX	32

/* The one variable of .rodata and of .bss each: the loader finds them by section. */
const volatile struct pyland_config config = {};
struct pyland_shared shared = {};

enum task_queue {
	QUEUE_NONE,
	QUEUE_HELD,		/* in a holding DSQ, its record on the way */
	QUEUE_DECIDED,		/* in a CPU's queue or the shared one */
};

struct task_ctx {
	u64 seq;
	u64 state;
	u64 start_ns;
	u64 stop_ns;
	u64 awake_runtime_ns;
	u64 total_runtime_ns;
	u64 reported_runtime_ns;	/* total at the last record */
	u64 queued_runtime_ns;		/* total at the last enqueue */
	u64 wakeup_ns;
	u64 enqueue_ns;
	u64 decided_ns;
	u32 weight_counted;
	u32 queue;
	u32 holding_llc;
	u32 kernel_helper;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_ctx);
} tasks SEC(".maps");

/* Sized by the loader: rings for the queue cap, cpus for every possible CPU. */
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
	__uint(key_size, sizeof(u32));
	__uint(value_size, 8);
} exit_dump SEC(".maps");

struct heartbeat {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct heartbeat);
} heartbeats SEC(".maps");

static struct pyland_cpu *cpu_state(s32 cpu)
{
	u32 key = cpu;

	return bpf_map_lookup_elem(&cpus, &key);
}

static struct pyland_cpu *this_cpu_state(void)
{
	return cpu_state(bpf_get_smp_processor_id());
}

static struct task_ctx *task_state(struct task_struct *p)
{
	return bpf_task_storage_get(&tasks, p, 0, 0);
}

/*
 * Every thread of the process, also one that a library started: a helper thread
 * that waited for Python while it holds the interpreter lock would be a deadlock.
 */
static bool is_scheduler(const struct task_struct *p)
{
	return p->tgid == (int)shared.sched_tgid;
}

static u64 clamp_slice(u64 slice_ns)
{
	u64 ceil_ns = config.slice_ns > SLICE_CEIL_NS ? config.slice_ns : SLICE_CEIL_NS;

	if (slice_ns < SLICE_FLOOR_NS)
		return SLICE_FLOOR_NS;
	return slice_ns < ceil_ns ? slice_ns : ceil_ns;
}

static u64 weighted_slice(const struct task_struct *p, u64 slice_ns)
{
	return clamp_slice(slice_ns * p->scx.weight / 100);
}

static u64 clamp_vtime(u64 vtime_ns)
{
	u64 now = shared.vtime_now;

	if ((s64)(vtime_ns - now) > (s64)VTIME_WINDOW_NS)
		return now + VTIME_WINDOW_NS;
	if ((s64)(vtime_ns - now) < -(s64)VTIME_WINDOW_NS)
		return now - VTIME_WINDOW_NS;
	return vtime_ns;
}

/* Any idle CPU that @allowed has, reserved for the caller; negative when none. */
static s32 pick_idle_cpu(const struct cpumask *allowed, s32 near_cpu)
{
	if (config.idle_per_node && bpf_ksym_exists(scx_bpf_pick_idle_cpu_node)) {
		struct pyland_cpu *near = cpu_state(near_cpu);
		s32 node = near ? near->node : 0;
		u64 in_node = config.numa_local ?
			kernel_enum(scx_pick_idle_cpu_flags, SCX_PICK_IDLE_IN_NODE) : 0;
		s32 cpu = scx_bpf_pick_idle_cpu_node(allowed, node, in_node);

		if (cpu >= 0 || !config.numa_local)
			return cpu;
		return scx_bpf_pick_idle_cpu_node(allowed, node, 0);
	}
	return scx_bpf_pick_idle_cpu(allowed, 0);
}

static bool scheduler_waits(void)
{
	return scx_bpf_dsq_nr_queued(SCHED_DSQ) > 0;
}

/*
 * Tasks that the policy keeps are no reason to run it again on the CPU where it
 * has just ended a cycle: it had its chance, and others wait.
 */
static bool scheduler_has_work(bool just_ran_here)
{
	return shared.needed || bpf_ringbuf_query(&queued, BPF_RB_AVAIL_DATA) ||
	       (shared.nr_held && !just_ran_here);
}

/* Nothing that is queued may wait for a CPU that has decided to sleep. */
static bool work_is_queued(s32 cpu, u32 llc)
{
	return scx_bpf_dsq_nr_queued(cpu) > 0 || scx_bpf_dsq_nr_queued(SHARED_DSQ) > 0 ||
	       scx_bpf_dsq_nr_queued(HOLDING_DSQ + llc) > 0 ||
	       (scheduler_waits() && scheduler_has_work(false));
}

SEC("struct_ops/pyland_select_cpu")
s32 BPF_PROG(pyland_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct pyland_cpu *c;
	u64 in_node = 0;
	s32 cpu;

	if (is_scheduler(p))
		return prev_cpu;
	if (config.numa_local && config.idle_per_node)
		in_node = kernel_enum(scx_pick_idle_cpu_flags, SCX_PICK_IDLE_IN_NODE);
	cpu = select_idle_cpu(p, prev_cpu, wake_flags, in_node);
	if (cpu < 0 && in_node)
		cpu = select_idle_cpu(p, prev_cpu, wake_flags, 0);
	if (cpu < 0)
		return prev_cpu;

	/* Whoever waits for this CPU was there first. The kick wakes it for them. */
	if (scx_bpf_dsq_nr_queued(cpu) > 0 || scx_bpf_dsq_nr_queued(SHARED_DSQ) > 0) {
		scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
		return cpu;
	}
	dsq_insert(p, kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL),
		   weighted_slice(p, config.slice_ns), 0);
	c = this_cpu_state();
	if (c)
		c->direct++;
	return cpu;
}

/*
 * Into the shared queue without asking: user space cannot answer for this task. Its
 * key goes on from the last one by what it used, so that tasks which are queued over
 * and over share fairly with those that were decided before.
 */
static void enqueue_undecided(struct task_struct *p, struct task_ctx *t, u64 enq_flags)
{
	u64 weight = p->scx.weight ? p->scx.weight : 1;
	u64 vtime_ns = p->scx.dsq_vtime, least_ns = shared.vtime_now - config.slice_ns;
	u64 used_ns = t->total_runtime_ns - t->queued_runtime_ns;

	if ((s64)(vtime_ns - least_ns) < 0)
		vtime_ns = least_ns;
	/* More than a slice was used while nobody waited, and is no debt to anyone. */
	vtime_ns += (used_ns < config.slice_ns ? used_ns : config.slice_ns) * 100 / weight;
	t->queue = QUEUE_DECIDED;
	t->decided_ns = now_ns();
	t->queued_runtime_ns = t->total_runtime_ns;
	dsq_insert_vtime(p, SHARED_DSQ, weighted_slice(p, config.slice_min_ns),
			 clamp_vtime(vtime_ns), enq_flags);
}

/* Writes the task's record; false when the ring has no room. */
static bool forward(struct task_struct *p, struct task_ctx *t, s32 cpu, u64 enq_flags)
{
	struct pyland_queued *r = bpf_ringbuf_reserve(&queued, sizeof(*r), 0);

	if (!r)
		return false;
	r->seq = t->seq;
	r->pid = p->pid;
	r->tgid = p->tgid;
	r->cpu = cpu;
	r->nr_cpus_allowed = p->nr_cpus_allowed;
	r->enq_flags = enq_flags;
	r->weight = p->scx.weight;
	r->used_ns = t->total_runtime_ns - t->reported_runtime_ns;
	r->awake_runtime_ns = t->awake_runtime_ns;
	r->total_runtime_ns = t->total_runtime_ns;
	r->start_ns = t->start_ns;
	r->wakeup_ns = t->wakeup_ns;
	r->enqueue_ns = t->enqueue_ns;
	r->state = t->state;
	__builtin_memcpy(r->comm, p->comm, sizeof(r->comm));
	t->reported_runtime_ns = t->total_runtime_ns;
	/* No wakeup: user space never sleeps in the kernel, dispatch runs it. */
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return true;
}

/*
 * 6.12 and 6.13 show BPF tasks that must not leave their CPU for the moment; later
 * kernels keep those to themselves. There the BPF prologue counts one for the
 * current task.
 */
static bool is_migration_disabled(const struct task_struct *p)
{
	const struct task_struct *current;

	if (!p->migration_disabled)
		return false;
	current = (void *)bpf_get_current_task_btf();
	return p->migration_disabled > 1 || p->pid != current->pid;
}

SEC("struct_ops/pyland_enqueue")
void BPF_PROG(pyland_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 cpu_selected = kernel_enum(scx_enq_flags, SCX_ENQ_CPU_SELECTED);
	u64 local = kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL);
	s32 cpu = scx_bpf_task_cpu(p), idle_cpu;
	struct pyland_cpu *c = this_cpu_state(), *task_cpu = cpu_state(cpu);
	struct task_ctx *t;
	u64 now;

	if (is_scheduler(p)) {
		dsq_insert(p, SCHED_DSQ, SCHED_SLICE_NS, enq_flags);
		return;
	}
	t = task_state(p);
	if (!t || !c || !task_cpu || is_migration_disabled(p)) {
		dsq_insert(p, local, weighted_slice(p, config.slice_min_ns), enq_flags);
		return;
	}
	t->queue = QUEUE_NONE;
	if (t->kernel_helper || ((p->flags & PF_KTHREAD) && p->nr_cpus_allowed == 1)) {
		/* The machine's own work: user space itself may be waiting for it. */
		dsq_insert(p, local, weighted_slice(p, config.slice_ns),
			   enq_flags | kernel_enum(scx_enq_flags, SCX_ENQ_PREEMPT));
		c->kernel++;
		return;
	}

	/* select_cpu did not run for this one, or found the CPU it wanted taken. */
	if (cpu_selected && !(enq_flags & cpu_selected) && !scx_bpf_task_running(p) &&
	    !scx_bpf_dsq_nr_queued(SHARED_DSQ)) {
		idle_cpu = pick_idle_cpu(p->cpus_ptr, cpu);
		if (idle_cpu >= 0) {
			dsq_insert(p, kernel_enum(scx_dsq_id_flags, SCX_DSQ_LOCAL_ON) | idle_cpu,
				   weighted_slice(p, config.slice_ns), enq_flags);
			scx_bpf_kick_cpu(idle_cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
			c->direct++;
			return;
		}
	}

	now = now_ns();
	t->seq++;
	t->enqueue_ns = now;
	if (shared.late) {
		c->fallback_lag++;
		enqueue_undecided(p, t, enq_flags);
		return;
	}
	t->queue = QUEUE_HELD;
	t->holding_llc = task_cpu->llc;
	if (!forward(p, t, cpu, enq_flags)) {
		c->fallback_full++;
		enqueue_undecided(p, t, enq_flags);
		return;
	}
	c->forwarded++;
	t->queued_runtime_ns = t->total_runtime_ns;
	dsq_insert(p, HOLDING_DSQ + t->holding_llc, weighted_slice(p, config.slice_min_ns),
		   enq_flags);

	/*
	 * Every CPU may be in the middle of a long slice, and nobody would run user
	 * space before its end. A waking task is worth an interruption, though not
	 * more often than once in a shortest slice.
	 */
	if (config.wakeup_kick_ns && (enq_flags & kernel_enum(scx_enq_flags, SCX_ENQ_WAKEUP)) &&
	    (s64)(now - shared.last_kick_ns) > (s64)config.wakeup_kick_ns && scheduler_waits()) {
		c->wakeup_kicks++;
		shared.last_kick_ns = now;
		scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_PREEMPT));
	}
}

/* What one drain of the decisions needs to know. */
struct drain {
	s32 cpu;
	u32 left;
	bool cpu_is_free;	/* this CPU has nothing else and takes the first task itself */
};

/*
 * Moves a held task to where its decision says. The iterator is made before the
 * checks: the kernel refuses to move a task that entered the queue after that, so
 * a decision that passes them can never hit a newer enqueue. A record can be seen
 * before its task is in the queue (the insert follows the callback); then the move
 * waits for the runqueue's lock, is refused, and succeeds with a fresh iterator.
 */
static bool move_decided(struct task_struct *p, struct task_ctx *t, struct pyland_cpu *c, u64 seq,
			 u64 dsq_id, u64 slice_ns, u64 vtime_ns)
{
	bool moved = false;
	int tries;

	for (tries = 0; tries < 3 && !moved; tries++) {
		struct bpf_iter_scx_dsq it;

		if (bpf_iter_scx_dsq_new(&it, HOLDING_DSQ + t->holding_llc, 0))
			c->failed++;
		else if (t->seq == seq && t->queue == QUEUE_HELD)
			moved = dsq_move_vtime(&it, p, dsq_id, slice_ns, vtime_ns);
		bpf_iter_scx_dsq_destroy(&it);
		if (t->seq != seq || t->queue != QUEUE_HELD)
			break;
	}
	return moved;
}

static void apply_decision(struct task_struct *p, const struct pyland_decision *d,
			   struct drain *drain, struct pyland_cpu *c)
{
	struct task_ctx *t = task_state(p);
	s32 prev_cpu = scx_bpf_task_cpu(p), cpu = d->cpu, kick = -1;
	u64 dsq_id = SHARED_DSQ, slice_ns, delay_ns;

	if (!t || t->seq != d->seq || t->queue != QUEUE_HELD) {
		c->late++;
		return;
	}
	if (cpu < PYLAND_CPU_ANY || cpu >= (s32)config.nr_cpu_ids) {
		c->bad_decisions++;
		cpu = PYLAND_CPU_ANY;
	} else if (cpu >= 0 && !bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
		c->bounced++;
		cpu = PYLAND_CPU_ANY;
	}
	if (cpu < 0 && p->nr_cpus_allowed == 1)
		cpu = prev_cpu;
	if (cpu >= 0) {
		dsq_id = cpu;
		kick = cpu;
	} else if (bpf_cpumask_test_cpu(prev_cpu, p->cpus_ptr) &&
		   scx_bpf_test_and_clear_cpu_idle(prev_cpu)) {
		dsq_id = prev_cpu;
		kick = prev_cpu;
	} else if (drain->cpu_is_free && bpf_cpumask_test_cpu(drain->cpu, p->cpus_ptr)) {
		drain->cpu_is_free = false;
	} else {
		kick = pick_idle_cpu(p->cpus_ptr, prev_cpu);
		if (kick >= 0)
			dsq_id = kick;
	}

	slice_ns = d->slice_ns ? clamp_slice(d->slice_ns) : weighted_slice(p, config.slice_min_ns);
	t->state = d->state;
	t->decided_ns = now_ns();
	if (!move_decided(p, t, c, d->seq, dsq_id, slice_ns, clamp_vtime(d->vtime_ns))) {
		/* A CPU took it from the holding queue meanwhile, or it is queued anew. */
		c->late++;
		/* A CPU taken from the idle mask for nothing must look again. */
		if (kick >= 0)
			scx_bpf_kick_cpu(kick, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
		return;
	}
	t->queue = QUEUE_DECIDED;
	c->user_dispatched++;
	delay_ns = t->decided_ns - t->enqueue_ns;
	if ((s64)delay_ns > 0) {
		c->delay_ns += delay_ns;
		if (delay_ns > c->delay_max_ns)
			c->delay_max_ns = delay_ns;
	}
	if (kick >= 0 && kick != drain->cpu)
		scx_bpf_kick_cpu(kick, d->flags & PYLAND_DECISION_PREEMPT ?
				 kernel_enum(scx_kick_flags, SCX_KICK_PREEMPT) :
				 kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
}

/* One decision of the ring; 1 ends the drain, the rest stays for the next one. */
static long drain_one(struct bpf_dynptr *dynptr, void *context)
{
	struct drain *drain = context;
	struct pyland_cpu *c = cpu_state(drain->cpu);
	struct pyland_decision d;
	struct task_struct *p;

	if (!c || !drain->left)
		return 1;
	drain->left--;
	if (bpf_dynptr_read(&d, sizeof(d), dynptr, 0, 0)) {
		c->bad_decisions++;
		return !drain->left;
	}
	p = bpf_task_from_pid(d.pid);
	if (!p) {
		c->late++;
		return !drain->left;
	}
	apply_decision(p, &d, drain, c);
	bpf_task_release(p);
	return !drain->left;
}

static void apply_decisions(s32 cpu, bool prev_runnable)
{
	struct drain drain = {
		.cpu = cpu,
		.left = PYLAND_DRAIN_MAX,
		.cpu_is_free = !prev_runnable && !scx_bpf_dsq_nr_queued(cpu) &&
			       !scx_bpf_dsq_nr_queued(SHARED_DSQ),
	};
	long ret;

	if (shared.drain_error)
		return;
	ret = bpf_user_ringbuf_drain(&dispatched, drain_one, &drain, BPF_RB_NO_WAKEUP);
	/* -EBUSY: another CPU drains at this moment. Else the ring is beyond repair. */
	if (ret < 0 && ret != -EBUSY)
		shared.drain_error = -ret;
}

/* The vtime of a queue's head; false when the queue is empty. */
static bool head_vtime(u64 dsq_id, u64 *vtime_ns)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p = NULL;

	if (!bpf_iter_scx_dsq_new(&it, dsq_id, 0)) {
		p = bpf_iter_scx_dsq_next(&it);
		if (p)
			*vtime_ns = p->scx.dsq_vtime;
	}
	bpf_iter_scx_dsq_destroy(&it);
	return p;
}

/* The CPU's own queue and the shared one: whichever head is due first. */
static bool take_decided(struct pyland_cpu *c, s32 cpu)
{
	u64 own_ns = 0, shared_ns = 0;
	bool own_first = true;

	if (scx_bpf_dsq_nr_queued(cpu) > 0 && scx_bpf_dsq_nr_queued(SHARED_DSQ) > 0 &&
	    head_vtime(cpu, &own_ns) && head_vtime(SHARED_DSQ, &shared_ns)) {
		s64 ahead_ns = shared_ns - own_ns;

		own_first = ahead_ns > 0 || (!ahead_ns && !c->last_was_own);
	}
	if (own_first && dsq_move_to_local(cpu)) {
		c->last_was_own = 1;
		return true;
	}
	c->last_was_own = 0;
	return dsq_move_to_local(SHARED_DSQ) || (!own_first && dsq_move_to_local(cpu));
}

struct take_held {
	u32 own_llc;
	bool taken;
};

static long take_held_of_llc(u64 i, void *context)
{
	struct take_held *take = context;
	u32 llc = take->own_llc + i;

	if (llc >= config.nr_llcs)
		llc -= config.nr_llcs;
	take->taken = dsq_move_to_local(HOLDING_DSQ + llc);
	return take->taken;
}

/* The task that has been held longest, of this CPU's LLC before the others'. */
static bool take_held(struct pyland_cpu *c)
{
	struct take_held take = { .own_llc = c->llc };

	if (dsq_move_to_local(HOLDING_DSQ + c->llc))
		return true;
	if (config.nr_llcs > 1)
		bpf_loop(config.nr_llcs, take_held_of_llc, &take, 0);
	return take.taken;
}

/* When the oldest held task was enqueued; 0 when none is held. */
static u64 oldest_held_ns(u32 llc)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	struct task_ctx *t;
	u64 enqueue_ns = 0;

	if (!bpf_iter_scx_dsq_new(&it, HOLDING_DSQ + llc, 0)) {
		p = bpf_iter_scx_dsq_next(&it);
		if (p) {
			t = task_state(p);
			if (t)
				enqueue_ns = t->enqueue_ns;
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
	return enqueue_ns;
}

/*
 * Has user space been late with a held task? Not when it only waits for a CPU like
 * everybody else: then it runs now. But when it is busy elsewhere, stopped, blocked,
 * does not come to the end of a cycle (@hogs), or ended one that had the task's
 * record without deciding it. Looked at four times in a lag limit per CPU.
 */
static bool held_too_long(struct pyland_cpu *c, u64 now, bool hogs)
{
	u64 enqueue_ns;

	if (scx_bpf_dsq_nr_queued(HOLDING_DSQ + c->llc) <= 0)
		return false;
	if ((s64)(now - c->lag_check_ns) < 0)
		return false;
	enqueue_ns = oldest_held_ns(c->llc);
	if (!enqueue_ns || (s64)(now - enqueue_ns) <= (s64)config.lag_ns) {
		c->lag_check_ns = now + config.lag_ns / 4;
		return false;
	}
	if ((s64)(shared.decided_until_ns - enqueue_ns) > 0)
		return true;
	if (scheduler_waits() && !hogs)
		return false;
	/* User space itself is behind, not only its policy with this task. */
	if ((s64)(now - shared.last_cycle_ns) > (s64)config.lag_ns)
		shared.late = 1;
	return true;
}

static bool run_scheduler(struct pyland_cpu *c, bool just_ran_here)
{
	if (!scheduler_waits() || !scheduler_has_work(just_ran_here))
		return false;
	if (!dsq_move_to_local(SCHED_DSQ))
		return false;
	shared.needed = 0;
	c->sched_runs++;
	c->sched_ran_last = 1;
	c->sched_cycles_seen = shared.cycles;
	return true;
}

SEC("struct_ops/pyland_dispatch")
void BPF_PROG(pyland_dispatch, s32 cpu, struct task_struct *prev)
{
	struct pyland_cpu *c = cpu_state(cpu);
	bool prev_runnable, just_ran, hogs, late;
	u64 now;

	if (!c)
		return;
	/* User space that used its turn up without ending a cycle lets others go first. */
	just_ran = c->sched_ran_last;
	hogs = just_ran && shared.cycles == c->sched_cycles_seen;
	c->sched_ran_last = 0;

	prev_runnable = prev && (prev->scx.flags & kernel_enum(scx_ent_flags, SCX_TASK_QUEUED)) &&
			!is_scheduler(prev);
	apply_decisions(cpu, prev_runnable);

	now = now_ns();
	late = held_too_long(c, now, hogs);
	if (late && !c->last_was_fallback && take_held(c)) {
		c->fallback_lag++;
		c->last_was_fallback = 1;
		return;
	}
	c->last_was_fallback = 0;
	if (!hogs && run_scheduler(c, just_ran))
		return;
	if (take_decided(c, cpu))
		return;
	if (late && take_held(c)) {
		c->fallback_lag++;
		return;
	}
	if (prev_runnable) {
		bool waits = scx_bpf_dsq_nr_queued(HOLDING_DSQ + c->llc) > 0;

		task_set_slice(prev, weighted_slice(prev, waits ? config.slice_min_ns :
						    config.slice_ns));
		return;
	}
	if (take_held(c)) {
		c->fallback_idle++;
		return;
	}
	if (hogs)
		run_scheduler(c, false);
}

SEC("struct_ops/pyland_runnable")
void BPF_PROG(pyland_runnable, struct task_struct *p, u64 enq_flags)
{
	struct pyland_cpu *c = this_cpu_state();
	struct task_ctx *t = task_state(p);

	if (!t || !c || is_scheduler(p))
		return;
	if (enq_flags & kernel_enum(scx_enq_flags, SCX_ENQ_WAKEUP)) {
		t->awake_runtime_ns = 0;
		t->wakeup_ns = now_ns();
	}
	t->weight_counted = p->scx.weight;
	c->nr_runnable++;
	c->weight_runnable += t->weight_counted;
}

SEC("struct_ops/pyland_running")
void BPF_PROG(pyland_running, struct task_struct *p)
{
	struct pyland_cpu *c = this_cpu_state();
	struct task_ctx *t;

	if (is_scheduler(p)) {
		if (shared.cycles != shared.cycles_begun) {
			shared.cycles_begun = shared.cycles;
			shared.cycle_begin_ns = now_ns();
		}
		return;
	}
	t = task_state(p);
	if (!t || !c)
		return;
	t->start_ns = now_ns();
	t->queue = QUEUE_NONE;
	c->nr_running++;
	if ((s64)(p->scx.dsq_vtime - shared.vtime_now) > 0)
		shared.vtime_now = p->scx.dsq_vtime;
}

SEC("struct_ops/pyland_stopping")
void BPF_PROG(pyland_stopping, struct task_struct *p, bool runnable)
{
	struct pyland_cpu *c = this_cpu_state();
	struct task_ctx *t;
	s64 delta_ns;

	if (is_scheduler(p)) {
		if (shared.cycles != shared.cycles_seen) {
			shared.cycles_seen = shared.cycles;
			shared.last_cycle_ns = now_ns();
			shared.decided_until_ns = shared.cycle_begin_ns;
			shared.late = 0;
		}
		return;
	}
	t = task_state(p);
	if (!t || !c)
		return;
	t->stop_ns = now_ns();
	delta_ns = t->stop_ns - t->start_ns;
	c->nr_running--;
	if (delta_ns > 0) {
		t->awake_runtime_ns += delta_ns;
		t->total_runtime_ns += delta_ns;
	}
}

SEC("struct_ops/pyland_quiescent")
void BPF_PROG(pyland_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct pyland_cpu *c = this_cpu_state();
	struct task_ctx *t = task_state(p);

	if (!t || !c || is_scheduler(p))
		return;
	t->queue = QUEUE_NONE;
	c->nr_runnable--;
	c->weight_runnable -= t->weight_counted;
}

/*
 * A task can be queued between a CPU's last look and its idle bit. The kernel sets
 * the bit before it calls here (6.13 on), so either the one who queues sees the bit
 * or this sees the task.
 */
SEC("struct_ops/pyland_update_idle")
void BPF_PROG(pyland_update_idle, s32 cpu, bool idle)
{
	struct pyland_cpu *c = cpu_state(cpu);

	if (idle && c && work_is_queued(cpu, c->llc))
		scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
}

/* Kernel threads that memory waits for: user space may need them to go on. */
static bool is_memory_helper(const struct task_struct *p)
{
	if (!(p->flags & PF_KTHREAD))
		return false;
	return !bpf_strncmp(p->comm, 6, "kswapd") || !bpf_strncmp(p->comm, 8, "kcompact") ||
	       !bpf_strncmp(p->comm, 10, "khugepaged");
}

SEC("struct_ops/pyland_init_task")
s32 BPF_PROG(pyland_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct task_ctx *t = bpf_task_storage_get(&tasks, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!t)
		return -12; /* -ENOMEM */
	t->kernel_helper = is_memory_helper(p);
	return 0;
}

/* Puts tasks that were decided long ago and not taken since back to be taken next. */
static void rescue_starved(u64 dsq_id, struct pyland_cpu *c, u64 now)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	struct task_ctx *t;
	int i;

	if (scx_bpf_dsq_nr_queued(dsq_id) <= 0)
		return;
	if (!bpf_iter_scx_dsq_new(&it, dsq_id, kernel_enum(scx_dsq_iter_flags, SCX_DSQ_ITER_REV))) {
		for (i = 0; i < RESCUE_MAX; i++) {
			p = bpf_iter_scx_dsq_next(&it);
			if (!p)
				break;
			t = task_state(p);
			if (!t || (s64)(now - t->decided_ns) < (s64)RESCUE_NS)
				continue;
			if (dsq_move(&it, p, HOLDING_DSQ + c->llc))
				c->rescued++;
		}
	}
	bpf_iter_scx_dsq_destroy(&it);
}

static long rescue_cpu(u64 cpu, void *context)
{
	struct pyland_cpu *c = cpu_state(cpu);

	if (!c)
		return 1;
	rescue_starved(cpu, c, *(u64 *)context);
	return 0;
}

/*
 * Runs user space at least so often, for signals to reach it and for the kernel's
 * watchdog not to take its waiting in a queue for a stall.
 */
static int beat(void *map, u32 *key, struct heartbeat *h)
{
	struct pyland_cpu *c = this_cpu_state();
	const struct cpumask *online;
	u64 now = now_ns();
	s32 cpu;

	/* The timer is set in init, which may sleep: to the verifier, so may its callback. */
	bpf_rcu_read_lock();
	if (c) {
		c->heartbeats++;
		rescue_starved(SHARED_DSQ, c, now);
	}
	bpf_loop(config.nr_cpu_ids, rescue_cpu, &now, 0);
	bpf_rcu_read_unlock();
	shared.needed = 1;
	online = scx_bpf_get_online_cpumask();
	cpu = pick_idle_cpu(online, bpf_get_smp_processor_id());
	scx_bpf_put_cpumask(online);
	if (cpu >= 0)
		scx_bpf_kick_cpu(cpu, kernel_enum(scx_kick_flags, SCX_KICK_IDLE));
	bpf_timer_start(&h->timer, config.heartbeat_ns, 0);
	return 0;
}

static long create_cpu_dsq(u64 cpu, void *context)
{
	struct pyland_cpu *c = cpu_state(cpu);
	s32 *error = context;

	*error = c ? scx_bpf_create_dsq(cpu, -1) : -22; /* -EINVAL */
	return *error != 0;
}

static long create_holding_dsq(u64 llc, void *context)
{
	s32 *error = context;

	*error = scx_bpf_create_dsq(HOLDING_DSQ + llc, -1);
	return *error != 0;
}

SEC("struct_ops.s/pyland_init")
s32 BPF_PROG(pyland_init)
{
	struct heartbeat *h;
	s32 error = 0;
	u32 key = 0;

	bpf_loop(config.nr_cpu_ids, create_cpu_dsq, &error, 0);
	if (!error)
		bpf_loop(config.nr_llcs, create_holding_dsq, &error, 0);
	if (!error)
		error = scx_bpf_create_dsq(SHARED_DSQ, -1);
	if (!error)
		error = scx_bpf_create_dsq(SCHED_DSQ, -1);
	if (error)
		return error;
	shared.last_cycle_ns = now_ns();
	h = bpf_map_lookup_elem(&heartbeats, &key);
	if (!h)
		return -22;
	bpf_timer_init(&h->timer, &heartbeats, 1 /* CLOCK_MONOTONIC */);
	bpf_timer_set_callback(&h->timer, beat);
	return bpf_timer_start(&h->timer, config.heartbeat_ns, 0);
}

SEC("struct_ops/pyland_exit")
void BPF_PROG(pyland_exit, struct scx_exit_info *info)
{
	u32 key = 0;
	char *dump = bpf_map_lookup_elem(&exit_dump, &key);

	if (dump && config.exit_dump_len)
		bpf_probe_read_kernel_str(dump, config.exit_dump_len, info->dump);
	bpf_probe_read_kernel_str(shared.exit_reason, sizeof(shared.exit_reason), info->reason);
	bpf_probe_read_kernel_str(shared.exit_message, sizeof(shared.exit_message), info->msg);
	shared.exit_kind = info->kind;
	shared.exit_code = info->exit_code;
	shared.exited = 1;
}

/* Run once by the process that will schedule: its id as the kernel counts it. */
SEC("syscall")
int pyland_register(void *ctx)
{
	shared.sched_tgid = bpf_get_current_pid_tgid() >> 32;
	return 0;
}

SEC(".struct_ops.link")
struct sched_ext_ops pyland_ops = {
	.select_cpu = (void *)pyland_select_cpu,
	.enqueue = (void *)pyland_enqueue,
	.dispatch = (void *)pyland_dispatch,
	.runnable = (void *)pyland_runnable,
	.running = (void *)pyland_running,
	.stopping = (void *)pyland_stopping,
	.quiescent = (void *)pyland_quiescent,
	.update_idle = (void *)pyland_update_idle,
	.init_task = (void *)pyland_init_task,
	.init = (void *)pyland_init,
	.exit = (void *)pyland_exit,
	.timeout_ms = 10000,
	.name = "pyland",
};
