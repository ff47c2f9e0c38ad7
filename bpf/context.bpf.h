/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In which context a program runs: that of the task on this CPU, or of an interrupt.
 */
#ifndef PYLAND_CONTEXT_BPF_H
#define PYLAND_CONTEXT_BPF_H

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* The kernel's count: from 6.15 on, and before. */
extern const int __preempt_count __ksym __weak;

struct pcpu_hot {
	int preempt_count;
} __attribute__((preserve_access_index));

extern const struct pcpu_hot pcpu_hot __ksym __weak;

/* 7.3 moved the count of hard interrupts up: below it are the calls that keep them off. */
extern int LINUX_KERNEL_VERSION __kconfig;

#define VERSION_7_3	(7 << 16 | 3 << 8)
#define IN_SOFTIRQ	0x100
#define IN_HARDIRQ	(LINUX_KERNEL_VERSION >= VERSION_7_3 ? 0xf000000 : 0xf0000)

/* Has a bit of IN_SOFTIRQ or IN_HARDIRQ while an interrupt is handled; 0 if it cannot be read. */
static __always_inline u32 preempt_count(void)
{
	if (bpf_ksym_exists(&__preempt_count))
		return *(int *)bpf_this_cpu_ptr(&__preempt_count);
	if (bpf_ksym_exists(&pcpu_hot))
		return ((struct pcpu_hot *)bpf_this_cpu_ptr(&pcpu_hot))->preempt_count;
	return 0;
}

/* True while this CPU handles an interrupt, whatever task it has interrupted. */
static __always_inline bool in_interrupt(void)
{
	return preempt_count() & (IN_HARDIRQ | IN_SOFTIRQ);
}

#endif
