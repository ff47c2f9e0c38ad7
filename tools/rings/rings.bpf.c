// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's end of both rings without a scheduler: tests and benchmarks run these
 * programs, which write records as enqueue does and drain decisions as dispatch does.
 * They work on any kernel with both rings (6.1), also without sched_ext.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include "intf.h"

char _license[] SEC("license") = "GPL";

#define SEEN_MAX 32768

struct pyland_user user SEC(".data.user") = {};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 * 1024 * 1024);
} queued SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024);
} dispatched SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct pyland_user_cpu);
} user_cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PYLAND_NR_DOMAINS);
	__type(key, __u32);
	__type(value, struct pyland_user_domain);
} user_domains SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SEEN_MAX);
	__type(key, __u32);
	__type(value, struct pyland_decision);
} seen SEC(".maps");

struct work {
	unsigned int nr;	/* records to write, or decisions to take at most */
	unsigned int first;	/* the first record's number; where the first decision goes */
};

static void fill_record(struct pyland_queued *r, __u64 number)
{
	r->seq = number;
	r->pid = 1 + number % 30000;
	r->tgid = r->pid;
	r->cpu = number & 1;
	r->nr_cpus_allowed = 2;
	r->enq_flags = 0;
	r->weight = 100;
	r->used_ns = 1000000 + number * 7919 % 1000000;
	r->awake_runtime_ns = r->used_ns;
	r->total_runtime_ns = r->used_ns;
	r->start_ns = 0;
	r->wakeup_ns = 0;
	r->enqueue_ns = number * 1000;
	r->state = 0;
}

static long write_record(__u64 i, void *context)
{
	struct work *left = context;
	struct pyland_queued *r = bpf_ringbuf_reserve(&queued, PYLAND_BASE_RECORD, 0);

	if (!r)
		return 1;
	fill_record(r, left->first);
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	left->first++;
	return 0;
}

/* One whole record, with recognisable extra fields. */
SEC("syscall")
int produce_whole(struct work *work)
{
	struct pyland_queued *r = bpf_ringbuf_reserve(&queued, sizeof(*r), 0);

	if (!r)
		return 0;
	fill_record(r, work->first);
	r->ppid = 1;
	r->uid = 1000;
	r->gid = 100;
	r->nice = -5;
	r->waker_pid = 7;
	r->pad = 0;
	r->cgroup_id = 1ULL << 40;
	r->wakeup_interval_ns = 11;
	r->sleep_interval_ns = 12;
	r->waker_interval_ns = 13;
	r->average_runtime_ns = 14;
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 1;
}

/* One event: nr is its kind, first the task. */
SEC("syscall")
int produce_event(struct work *work)
{
	struct pyland_event *e = bpf_ringbuf_reserve(&queued, sizeof(*e), 0);

	if (!e)
		return 0;
	e->kind = work->nr;
	e->pid = work->first;
	e->ran_ns = 5000;
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	return 1;
}

SEC("syscall")
int produce(struct work *work)
{
	struct work left = { .first = work->first };

	bpf_loop(work->nr, write_record, &left, 0);
	return left.first - work->first;
}

static long take(struct bpf_dynptr *dynptr, void *context)
{
	struct work *work = context;
	struct pyland_decision *slot;
	__u32 key = work->first;

	if (!work->nr)
		return 1;
	slot = bpf_map_lookup_elem(&seen, &key);
	if (slot)
		bpf_dynptr_read(slot, sizeof(*slot), dynptr, 0, 0);
	work->first++;
	work->nr--;
	return !work->nr;
}

SEC("syscall")
int consume(struct work *work)
{
	struct work left = { .nr = work->nr, .first = work->first };

	return bpf_user_ringbuf_drain(&dispatched, take, &left, BPF_RB_NO_WAKEUP);
}
