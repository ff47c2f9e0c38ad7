// SPDX-License-Identifier: GPL-2.0-only
/*
 * What `pyland trace` sees of the kernel. `pyland trace` loads and attaches these programs; the
 * scheduler knows nothing of them. Each CPU writes into a ring of its own: no lock, and no CPU
 * waits. An event for which the ring has no room is counted and dropped.
 *
 * All programs but those of new tasks and names run with interrupts off: the kernel holds a lock
 * of the task or of a run queue there. So nothing comes between the parts of an event.
 */
#include <linux/bpf.h>
#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "context.bpf.h"
#include "intf.h"
#include "trace_intf.h"

char _license[] SEC("license") = "GPL";

const volatile struct pyland_trace_config config = { .layout = PYLAND_LAYOUT };

/* One for each CPU; the loader sets sizes. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(struct pyland_trace_ring) + PYLAND_TRACE_SLOT);
} rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024);
} tasks_seen SEC(".maps");

/* Numbers of queues, and in their places the lengths. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PYLAND_TRACE_LENGTHS);
	__type(key, u32);
	__type(value, u64);
} lengths SEC(".maps");

u64 tasks_lost = 0;

s32 scx_bpf_dsq_nr_queued(u64 dsq_id) __ksym __weak;

/* The next @nr slots of this CPU's ring, if there is room. */
static __always_inline struct pyland_trace_event *reserve(struct pyland_trace_ring **ring, u32 nr)
{
	u32 cpu = bpf_get_smp_processor_id();
	struct pyland_trace_ring *r = bpf_map_lookup_elem(&rings, &cpu);

	*ring = r;
	if (!r)
		return NULL;
	if (r->head + nr - READ_ONCE(r->tail) > config.slots) {
		r->lost++;
		return NULL;
	}
	return (void *)(r + 1) + (r->head & (config.slots - 1)) * PYLAND_TRACE_SLOT;
}

/* Makes the events visible: all stores before it are seen before it. */
static __always_inline void publish(struct pyland_trace_ring *r, u32 nr)
{
	asm volatile("" ::"r"(__sync_fetch_and_add(&r->head, nr)));
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next,
	     unsigned int prev_state)
{
	struct pyland_trace_ring *r;
	struct pyland_trace_event *e = reserve(&r, 1);

	if (!e)
		return 0;
	e->time_ns = bpf_ktime_get_boot_ns();
	e->pid = next->pid;
	e->kind = PYLAND_TRACE_SWITCH;
	e->what = preempt;
	e->bits = next->prio;
	e->a = (u32)prev->pid | (u64)prev_state << 32;
	e->b = prev->exit_state;
	publish(r, 1);
	return 0;
}

/* PYLAND_TRACE_IN_*: whether an interrupt wakes the task; 0 if that is unknown. */
static __always_inline u32 context(void)
{
	u32 count = preempt_count();

	return (count & IN_HARDIRQ ? PYLAND_TRACE_IN_HARDIRQ : 0) |
	       (count & IN_SOFTIRQ ? PYLAND_TRACE_IN_SOFTIRQ : 0);
}

static __always_inline void tell_waking(struct task_struct *p, u32 context)
{
	struct pyland_trace_ring *r;
	struct pyland_trace_event *e = reserve(&r, 1);

	if (!e)
		return;
	e->time_ns = bpf_ktime_get_boot_ns();
	e->pid = p->pid;
	e->kind = PYLAND_TRACE_WAKING;
	e->what = 0;
	e->bits = p->prio;
	e->a = p->thread_info.cpu | (u64)context << 32;
	publish(r, 1);
}

SEC("tp_btf/sched_waking")
int BPF_PROG(on_waking, struct task_struct *p)
{
	tell_waking(p, context());
	return 0;
}

/* For a kernel that keeps no names of its variables (without CONFIG_KALLSYMS_ALL). */
SEC("tp_btf/sched_waking")
int BPF_PROG(on_waking_somehow, struct task_struct *p)
{
	tell_waking(p, 0);
	return 0;
}

static __always_inline void tell_task(struct task_struct *p, const char *comm, u32 kind,
				      u64 clone_flags)
{
	struct pyland_trace_task *e = bpf_ringbuf_reserve(&tasks_seen, sizeof(*e), 0);

	if (!e) {
		__sync_fetch_and_add(&tasks_lost, 1);
		return;
	}
	e->time_ns = bpf_ktime_get_boot_ns();
	e->pid = p->pid;
	e->tgid = p->tgid;
	e->kind = kind;
	e->cpu = bpf_get_smp_processor_id();
	e->parent_pid = (u32)bpf_get_current_pid_tgid();
	e->clone_flags = clone_flags;
	bpf_probe_read_kernel_str(e->comm, sizeof(e->comm), comm);
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

SEC("tp_btf/task_newtask")
int BPF_PROG(on_new_task, struct task_struct *p, u64 clone_flags)
{
	tell_task(p, p->comm, PYLAND_TRACE_TASK, clone_flags);
	return 0;
}

SEC("tp_btf/task_rename")
int BPF_PROG(on_rename, struct task_struct *p, const char *comm)
{
	tell_task(p, comm, PYLAND_TRACE_NAME, 0);
	return 0;
}

/* What pyland's function `traced` was called with. */
static __always_inline void on_traced(u64 task, u64 dsq_id, u64 seq, u64 key_ns, u64 slice_ns)
{
	struct pyland_trace_ring *r;
	struct pyland_trace_event *e = reserve(&r, 2);

	if (!e)
		return;
	e->time_ns = bpf_ktime_get_boot_ns();
	e->pid = task;
	e->kind = PYLAND_TRACE_QUEUE;
	e->what = task >> 32;
	e->bits = (u8)(task >> 40);
	e->a = key_ns;
	e->b = seq;
	/* The second slot may be the first of the ring. */
	e = (void *)(r + 1) + ((r->head + 1) & (config.slots - 1)) * PYLAND_TRACE_SLOT;
	e->time_ns = slice_ns;
	e->kind = PYLAND_TRACE_REST;
	e->a = dsq_id;
	publish(r, 2);
}

/* Each program of pyland has the function, and each function takes a program of its own. */
#define HOOK(name)									\
	SEC("fentry/traced")								\
	int BPF_PROG(name, u64 task, u64 dsq_id, u64 seq, u64 key_ns, u64 slice_ns)	\
	{										\
		on_traced(task, dsq_id, seq, key_ns, slice_ns);				\
		return 0;								\
	}

HOOK(in_select_cpu)
HOOK(in_enqueue)
HOOK(in_dispatch)

static long read_length(u64 i, void *context)
{
	u32 key = i;
	u64 *value = bpf_map_lookup_elem(&lengths, &key);

	if (!value)
		return 1;
	*value = (s64)scx_bpf_dsq_nr_queued(*value);
	return 0;
}

/* Run by user space: replaces the numbers of queues by their lengths. */
SEC("syscall")
int read_lengths(u32 *nr)
{
	if (!bpf_ksym_exists(scx_bpf_dsq_nr_queued))
		return -95; /* -EOPNOTSUPP */
	bpf_loop(*nr, read_length, NULL, 0);
	return 0;
}
