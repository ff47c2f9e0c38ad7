/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Records and events for user space, in one ring.
 */
#ifndef PYLAND_RECORDS_BPF_H
#define PYLAND_RECORDS_BPF_H

#include "grants.bpf.h"

/* Drops the data that an earlier policy left with the task: another policy cannot use it. */
static __always_inline void forget_other_policies(struct task_ctx *t)
{
	if (t->generation == user.generation)
		return;
	t->generation = user.generation;
	t->state = 0;
	t->vtime_known = 0;
	t->place = PYLAND_CPU_ANY;
	end_grant(t);
	t->asked = 0;
}

/* Writes an event, if the policy wants events of this kind. */
static __always_inline void tell(u32 wanted, u32 kind, const struct task_struct *p, u64 ran_ns)
{
	struct pyland_cpu *c;
	struct pyland_event *e;

	if (!(user.wanted & wanted))
		return;
	e = bpf_ringbuf_reserve(&queued, sizeof(*e), 0);
	if (!e) {
		c = this_cpu_state();
		if (c)
			c->events_lost++;
		return;
	}
	e->kind = kind;
	e->pid = p->pid;
	e->ran_ns = ran_ns;
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

/* The part of a record that every policy gets. */
static __always_inline void fill_base(struct pyland_queued *r, const struct task_struct *p,
				      const struct task_ctx *t, s32 cpu, u64 enq_flags)
{
	r->seq = t->seq;
	r->pid = p->pid;
	r->tgid = p->tgid;
	r->cpu = cpu;
	r->nr_cpus_allowed = p->nr_cpus_allowed;
	r->enq_flags = enq_flags;
	r->weight = weight_of(p, t);
	r->used_ns = t->total_runtime_ns - t->decided_runtime_ns;
	r->awake_runtime_ns = t->awake_runtime_ns;
	r->total_runtime_ns = t->total_runtime_ns;
	r->start_ns = t->start_ns;
	r->wakeup_ns = t->wakeup_ns;
	r->enqueue_ns = t->enqueue_ns;
	r->state = t->state;
	__builtin_memcpy(r->comm, p->comm, sizeof(r->comm));
}

/* The innermost PID namespace of the task, and its number there. */
static __always_inline void fill_namespace(struct pyland_queued *r, struct task_struct *p)
{
	struct pid *pid = BPF_CORE_READ(p, thread_pid);
	u64 at = (u64)pid + bpf_core_field_offset(struct pid, numbers) +
		 BPF_CORE_READ(pid, level) * sizeof(struct upid);
	struct upid upid = {};

	r->pid_ns = 0;
	r->ns_pid = 0;
	if (!pid || bpf_probe_read_kernel(&upid, sizeof(upid), (void *)at))
		return;
	r->ns_pid = upid.nr;
	r->pid_ns = BPF_CORE_READ(upid.ns, ns.inum);
}

static __always_inline void fill_extras(struct pyland_queued *r, struct task_struct *p,
					const struct task_ctx *t)
{
	r->ppid = BPF_CORE_READ(p, real_parent, tgid);
	r->uid = BPF_CORE_READ(p, cred, uid.val);
	r->gid = BPF_CORE_READ(p, cred, gid.val);
	r->nice = p->static_prio - NICE_0_PRIO;
	r->waker_pid = t->waker_pid;
	r->kthread = !!(p->flags & PF_KTHREAD);
	fill_namespace(r, p);
	BPF_CORE_READ_STR_INTO(&r->leader_comm, p, group_leader, comm);
	r->cgroup_id = BPF_CORE_READ(p, cgroups, dfl_cgrp, kn, id);
	r->wakeup_interval_ns = t->wakeup_interval_ns;
	r->sleep_interval_ns = t->sleep_interval_ns;
	r->waker_interval_ns = t->waker_interval_ns;
	r->average_runtime_ns = t->average_runtime_ns;
}

/* Writes the task's record; false if the ring has no room. */
APART int forward(struct task_struct *p __arg_trusted, struct task_ctx *t __arg_nonnull, s32 cpu,
		  u64 enq_flags)
{
	struct pyland_queued *r;

	t->record_pos = 0;
	/* The same code twice, because the verifier needs a constant size in each call. */
	if (user.wanted & PYLAND_WANT_EXTRAS) {
		r = bpf_ringbuf_reserve(&queued, sizeof(*r), 0);
		if (!r)
			return false;
		fill_base(r, p, t, cpu, enq_flags);
		fill_extras(r, p, t);
	} else {
		r = bpf_ringbuf_reserve(&queued, PYLAND_BASE_RECORD, 0);
		if (!r)
			return false;
		fill_base(r, p, t, cpu, enq_flags);
	}
	/* Wakes no process: user space never sleeps in the kernel, and dispatch runs it. */
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	t->record_pos = bpf_ringbuf_query(&queued, BPF_RB_PROD_POS);
	return true;
}

/*
 * Notes which task wakes this one up, and how often the waker wakes others. select_cpu runs on the
 * waker's CPU. A wakeup across caches may be queued to the other CPU, and enqueue runs there in an
 * interrupt of some other task.
 */
static __always_inline void note_waker(struct task_ctx *t, u64 now)
{
	struct task_struct *waker = bpf_get_current_task_btf();
	struct task_ctx *w = task_state(waker);

	t->waker_noted = 1;
	t->waker_pid = waker->pid;
	if (!w)
		return;
	if (w->woke_other_ns)
		w->waker_interval_ns = average(w->waker_interval_ns, now - w->woke_other_ns);
	w->woke_other_ns = now;
}

/* Notes how often the task wakes up. select_cpu did not see a task that may use one CPU alone. */
static __always_inline void note_wakeup(struct task_ctx *t, u64 now)
{
	if (t->wakeup_ns)
		t->wakeup_interval_ns = average(t->wakeup_interval_ns, now - t->wakeup_ns);
	if (!t->waker_noted)
		note_waker(t, now);
	t->waker_noted = 0;
}

#endif
