/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's types as far as pyland reads them. CO-RE moves every access to where the running
 * kernel has the field, so a field list this short keeps the object's BTF small and the object
 * independent of any one kernel.
 */
#ifndef PYLAND_KERNEL_BPF_H
#define PYLAND_KERNEL_BPF_H

#include <stdbool.h>
#include <linux/types.h>

typedef __u8 u8;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

#define EBUSY 16

/* What another process writes is read once: the compiler may not read it anew. */
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))

/* CO-RE takes an enum only for an enum. */
enum scx_exit_kind {
	SCX_EXIT_NONE,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct cpumask {
	unsigned long bits[1];
};

struct sched_ext_entity {
	u32 flags;
	u32 weight;
	u64 slice;
	u64 dsq_vtime;
};

struct ns_common {
	unsigned int inum;
};

struct pid_namespace {
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct kernfs_node {
	u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

/* 6.17; earlier kernels have the quota of a group only for their own default class. */
struct scx_task_group {
	u64 bw_period_us;
	u64 bw_quota_us;
	u64 bw_burst_us;
};

struct cfs_bandwidth {
	s64 period;
	u64 quota;
	u64 burst;
};

/* A group of the CPU controller: the controller's part of a cgroup, or an autogroup. */
struct task_group {
	unsigned long shares;
	struct task_group *parent;
	struct cfs_bandwidth cfs_bandwidth;
	struct scx_task_group scx;
};

struct signal_struct {
	unsigned int flags;
};

typedef struct {
	u32 val;
} kuid_t;

typedef struct {
	u32 val;
} kgid_t;

struct cred {
	kuid_t uid;
	kgid_t gid;
};

struct thread_info {
	u32 cpu;
};

struct task_struct {
	struct thread_info thread_info;
	unsigned int __state;
	unsigned int flags;
	int prio;
	int static_prio;
	int exit_state;
	int pid;
	int tgid;
	int nr_cpus_allowed;
	const struct cpumask *cpus_ptr;
	unsigned short migration_disabled;
	char comm[16];
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	struct cred *cred;	/* not const as in the kernel: typeof() its fields would be const */
	struct css_set *cgroups;
	struct task_group *sched_task_group;
	struct signal_struct *signal;
	struct sched_ext_entity scx;
};

struct scx_exit_info {
	enum scx_exit_kind kind;
	s64 exit_code;
	const char *reason;
	char *msg;
	char *dump;
};

struct scx_init_task_args {
	bool fork;
};

/* Only its name counts: the kernel finds its own struct by it. */
struct bpf_cpumask {
	char opaque;
};

struct scx_exit_task_args;

#pragma clang attribute pop

/* Arguments that newer kernels take in a struct; their existence tells which. */
struct scx_bpf_select_cpu_and_args {
	s32 prev_cpu;
	u64 wake_flags;
	u64 flags;
} __attribute__((preserve_access_index));

struct scx_bpf_dsq_insert_vtime_args {
	u64 dsq_id;
	u64 slice;
	u64 vtime;
	u64 enq_flags;
} __attribute__((preserve_access_index));

/* Opaque to BPF programs; the verifier wants the kernel's size. */
struct bpf_iter_scx_dsq {
	u64 __opaque[6];
} __attribute__((aligned(8)));

/*
 * Only the members that pyland sets: libbpf finds each by name in the running
 * kernel's struct and leaves the others zero.
 */
struct sched_ext_ops {
	s32 (*select_cpu)(struct task_struct *p, s32 prev_cpu, u64 wake_flags);
	void (*enqueue)(struct task_struct *p, u64 enq_flags);
	void (*dispatch)(s32 cpu, struct task_struct *prev);
	void (*tick)(struct task_struct *p);
	bool (*yield)(struct task_struct *from, struct task_struct *to);
	void (*running)(struct task_struct *p);
	void (*stopping)(struct task_struct *p, bool runnable);
	void (*update_idle)(s32 cpu, bool idle);
	s32 (*init_task)(struct task_struct *p, struct scx_init_task_args *args);
	void (*exit_task)(struct task_struct *p, struct scx_exit_task_args *args);
	void (*disable)(struct task_struct *p);
	void (*set_weight)(struct task_struct *p, u32 weight);
	void (*set_cpumask)(struct task_struct *p, const struct cpumask *allowed);
	void (*cgroup_set_weight)(struct cgroup *cgrp, u32 weight);
	void (*cgroup_set_bandwidth)(struct cgroup *cgrp, u64 period_us, u64 quota_us,
				     u64 burst_us);
	s32 (*init)(void);
	void (*exit)(struct scx_exit_info *info);
	u32 dispatch_max_batch;
	u64 flags;
	u32 timeout_ms;
	u32 exit_dump_len;
	u64 hotplug_seq;
	char name[128];
};

/* Values are read from the running kernel's BTF; these here only name them. */
enum scx_enq_flags {
	SCX_ENQ_WAKEUP = 1ULL,
	SCX_ENQ_CPU_SELECTED = 1ULL << 20,
	SCX_ENQ_LAST = 1ULL << 41,
	SCX_ENQ_PREEMPT = 1ULL << 32,
};

enum scx_wake_flags {
	SCX_WAKE_TTWU = 0x08,
	SCX_WAKE_SYNC = 0x10,
};

enum scx_dsq_id_flags {
	SCX_DSQ_LOCAL = 0x8000000000000002ULL,
	SCX_DSQ_LOCAL_ON = 0xc000000000000000ULL,
};

enum scx_kick_flags {
	SCX_KICK_IDLE = 1,
	SCX_KICK_PREEMPT = 2,
};

enum scx_pick_idle_cpu_flags {
	SCX_PICK_IDLE_CORE = 1,
	SCX_PICK_IDLE_IN_NODE = 2,
};

enum scx_dsq_iter_flags {
	SCX_DSQ_ITER_REV = 1U << 16,
};

enum scx_ent_flags {
	SCX_TASK_QUEUED = 1,
};

/* Fixed by the user-space ABI of the kernel (include/linux/sched.h since 2.6). */
#define PF_EXITING 0x00000004
#define PF_KTHREAD 0x00200000
#define SIGNAL_GROUP_EXIT 0x00000004	/* of signal_struct.flags: every thread is to exit */
#define TIMER_CPU_PIN 2 /* BPF_F_TIMER_CPU_PIN, which headers before 6.7 have not */
#define NICE_0_PRIO 120

#endif
