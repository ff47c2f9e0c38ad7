/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The begin and the end of pyland and of a task. At its start pyland makes its queues: one for
 * each CPU and domain, one for held tasks of each LLC, and one for user space.
 */
#ifndef PYLAND_SETUP_BPF_H
#define PYLAND_SETUP_BPF_H

#include <linux/bpf.h>
#include "group_pass.bpf.h"
#include "heartbeat.bpf.h"
#include "slice_timers.bpf.h"
#include <bpf/bpf_tracing.h>

static long create_cpu_dsq(u64 cpu, void *context)
{
	struct pyland_cpu *c = cpu_state(cpu);
	s32 *error = context;

	*error = c ? scx_bpf_create_dsq(cpu, -1) : -22; /* -EINVAL */
	if (c && is_online(cpu))
		note_idle(cpu, c, true);
	return *error != 0;
}

static long create_holding_dsq(u64 llc, void *context)
{
	s32 *error = context;

	*error = scx_bpf_create_dsq(HOLDING_DSQ + llc, -1);
	return *error != 0;
}

static long create_domain_dsq(u64 domain, void *context)
{
	s32 *error = context;

	*error = scx_bpf_create_dsq(DOMAIN_DSQ + domain, -1);
	return *error != 0;
}

static __always_inline s32 create_queues(void)
{
	s32 error = 0;

	bpf_loop(config.nr_cpu_ids, create_cpu_dsq, &error, 0);
	if (!error)
		bpf_loop(config.nr_llcs, create_holding_dsq, &error, 0);
	if (!error)
		bpf_loop(PYLAND_NR_DOMAINS + 1, create_domain_dsq, &error, 0);
	if (!error)
		error = scx_bpf_create_dsq(SCHED_DSQ, -1);
	if (!error)
		error = scx_bpf_create_dsq(THROTTLED_DSQ, -1);
	return error;
}

/* True for kernel threads that free memory: user space may wait for them. */
static __always_inline bool is_memory_helper(const struct task_struct *p)
{
	if (!(p->flags & PF_KTHREAD))
		return false;
	return !bpf_strncmp(p->comm, 6, "kswapd") || !bpf_strncmp(p->comm, 8, "kcompact") ||
	       !bpf_strncmp(p->comm, 10, "khugepaged");
}

/* A new task belongs to its parent's domain until it is decided. */
static __always_inline void inherit_domain(struct task_ctx *t)
{
	struct task_ctx *parent = task_state(bpf_get_current_task_btf());

	if (!parent || parent->place > PYLAND_CPU_DOMAIN)
		return;
	t->place = parent->place;
	t->generation = parent->generation;
}

SEC("struct_ops/pyland_init_task")
s32 BPF_PROG(pyland_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct task_ctx *t = bpf_task_storage_get(&tasks, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!t)
		return -12; /* -ENOMEM */
	t->kernel_helper = is_memory_helper(p);
	t->place = PYLAND_CPU_ANY;
	if (args->fork)
		inherit_domain(t);
	return 0;
}

SEC("struct_ops/pyland_exit_task")
void BPF_PROG(pyland_exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	tell(PYLAND_WANT_EXITED, PYLAND_EVENT_EXITED, p, 0);
}

SEC("struct_ops.s/pyland_init")
s32 BPF_PROG(pyland_init)
{
	struct heartbeat *h;
	u32 key = 0;
	s32 error;

	error = create_queues();
	if (error)
		return error;
	shared.last_cycle_ns = now_ns();
	shared.due_ns = next_due_ns(NOT_DUE, shared.last_cycle_ns);
	h = bpf_map_lookup_elem(&heartbeats, &key);
	if (!h)
		return -22;
	bpf_timer_init(&h->timer, &heartbeats, 1 /* CLOCK_MONOTONIC */);
	bpf_timer_set_callback(&h->timer, beat);
	bpf_loop(config.nr_cpu_ids, init_slice_timer, NULL, 0);
	init_group_pass();
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
	user.exited = 1;
}

/* Run once by the process that will schedule: its id as the kernel counts it. */
SEC("syscall")
int pyland_register(void *ctx)
{
	shared.sched_tgid = bpf_get_current_pid_tgid() >> 32;
	return 0;
}

#endif
