// SPDX-License-Identifier: GPL-2.0-only
/*
 * Samples the hardware's counters: one of so many runs of tasks, from the switch to the task to the
 * switch away from it, is added to the class that the policy has put the task in. `pyland latency
 * --hardware` loads it; the scheduler knows nothing of it.
 */
#include <linux/bpf.h>
#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "intf.h"
#include "hardware_intf.h"

char _license[] SEC("license") = "GPL";

const volatile struct pyland_hardware_config config = { .layout = PYLAND_LAYOUT };

/* One for each CPU; the loader sets the number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct pyland_hardware_cpu);
} cpus SEC(".maps");

/* The events of each CPU; the loader sets the number. */
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(max_entries, PYLAND_HARDWARE_EVENTS);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} events SEC(".maps");

/* The loader puts the map of the running pyland in its place, whose values are larger. */
struct any_task {
	char bytes[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct any_task);
} tasks SEC(".maps");

static __always_inline bool read_event(u32 cpu, u32 i, struct pyland_hardware_reading *to)
{
	struct bpf_perf_event_value value = {};

	if (bpf_perf_event_read_value(&events, cpu * PYLAND_HARDWARE_EVENTS + i, &value,
				      sizeof(value)))
		return false;
	to->counter = value.counter;
	to->enabled = value.enabled;
	to->running = value.running;
	return true;
}

static __always_inline u32 class_of(struct task_struct *p)
{
	void *state;

	if (config.class_offset == PYLAND_HARDWARE_NO_CLASS)
		return 0;
	state = bpf_task_storage_get(&tasks, p, 0, 0);
	if (!state)
		return 0;
	return *(u32 *)(state + config.class_offset) & (PYLAND_HARDWARE_CLASSES - 1);
}

static __always_inline void begin(struct pyland_hardware_cpu *c, u32 cpu)
{
	for (u32 i = 0; i < PYLAND_HARDWARE_EVENTS; i++)
		if ((config.events >> i & 1) && !read_event(cpu, i, &c->begin[i]))
			return;
	c->open = 1;
}

static __always_inline void end(struct pyland_hardware_cpu *c, u32 cpu, struct task_struct *p)
{
	struct pyland_hardware_reading now[PYLAND_HARDWARE_EVENTS] = {};
	struct pyland_hardware_sum *sum;
	bool whole = true;

	c->open = 0;
	for (u32 i = 0; i < PYLAND_HARDWARE_EVENTS; i++) {
		if (!(config.events >> i & 1))
			continue;
		if (!read_event(cpu, i, &now[i]))
			return;
		/* A counter that is shared with other programs counts during a part of the time. */
		if (now[i].enabled - c->begin[i].enabled != now[i].running - c->begin[i].running)
			whole = false;
	}
	if (!whole) {
		c->dropped++;
		return;
	}
	sum = &c->classes[class_of(p) & (PYLAND_HARDWARE_CLASSES - 1)];
	sum->samples++;
	for (u32 i = 0; i < PYLAND_HARDWARE_EVENTS; i++)
		if (config.events >> i & 1)
			sum->counts[i] += now[i].counter - c->begin[i].counter;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	u32 cpu = bpf_get_smp_processor_id();
	struct pyland_hardware_cpu *c = bpf_map_lookup_elem(&cpus, &cpu);

	if (!c)
		return 0;
	if (c->open)
		end(c, cpu, prev);
	c->switches++;
	if (next->pid && c->switches % (config.every ?: 1) == 0)
		begin(c, cpu);
	return 0;
}
