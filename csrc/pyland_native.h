/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The C side as Python sees it. What can fail returns NULL or a negative errno and
 * leaves one line, which call failed on what, in pyland_error().
 */
#ifndef PYLAND_NATIVE_H
#define PYLAND_NATIVE_H

#include <stddef.h>

#include "intf.h"

/* cffi: begin */

enum pyland_cycle_end {
	PYLAND_STOP_SIGNAL = -1,	/* SIGINT or SIGTERM arrived */
	PYLAND_STOP_KERNEL = -2,	/* the kernel has ended the scheduler */
	PYLAND_STOP_RING = -3,		/* BPF found the dispatched ring broken */
	PYLAND_STOP_REQUEST = -4,	/* the supervising process wants something */
};

/* How to load. */
struct pyland_load_options {
	struct pyland_config config;
	unsigned int queued_bytes;	/* ring sizes, powers of two */
	unsigned int dispatched_bytes;
	int partial;			/* only SCHED_EXT tasks */
	int verbose;			/* libbpf's and the verifier's log to stderr */
};

/* One batch of records, with what holds for all of them. */
struct pyland_batch {
	long long nr_runnable;		/* tasks that run or want to, without user space */
	long long weight_runnable;	/* their weights' sum */
	unsigned long long now_ns;	/* when user space last got a CPU */
	unsigned long long nr_events;	/* at pyland_event_memory() */
	char records[];			/* one each pyland_record_size() bytes */
};

/* The maps that the process which decides needs: file descriptors, and their sizes. */
struct pyland_ring_maps {
	int queued;
	int dispatched;
	int user;
	int user_cpus;
	unsigned int queued_bytes;
	unsigned int dispatched_bytes;
	unsigned int nr_cpus;
};

/* What root alone maps: BPF's own state, and the user memory to look at. */
struct pyland_state {
	struct pyland_shared *shared;
	struct pyland_cpu *cpus;
	struct pyland_user *user;
	struct pyland_user_cpu *user_cpus;
	unsigned int nr_cpus;
};

/* Both rings and the user memory, mapped. */
struct pyland_rings;
/* A loaded BPF object, attached or not. */
struct pyland_object;

const char *pyland_error(void);
const char *pyland_libbpf_version(void);
int pyland_build_libbpf_major(void);
int pyland_build_libbpf_minor(void);
unsigned long long pyland_layout(void);

/* loader.c */
struct pyland_object *pyland_load(const void *object, unsigned long size,
				  const struct pyland_load_options *options,
				  const unsigned int *cpu_llc, const unsigned int *cpu_node,
				  const unsigned int *cpu_nohz_full);
struct pyland_object *pyland_load_programs(const char *path);
int pyland_run_program(struct pyland_object *o, const char *name, void *context,
		       unsigned int context_size, unsigned int repeat);
int pyland_join(struct pyland_object *o);
int pyland_attach(struct pyland_object *o);
int pyland_ring_maps(struct pyland_object *o, struct pyland_ring_maps *maps);
void pyland_close(struct pyland_object *o);
int pyland_map_fd(struct pyland_object *o, const char *name, unsigned int *max_entries);
int pyland_kernel_has_enum(const char *type, const char *name);
int pyland_exit_dump(struct pyland_object *o, char *buffer, unsigned int size);

/* state.c */
struct pyland_state *pyland_map_state(struct pyland_object *o);
void pyland_unmap_state(struct pyland_state *s);
int pyland_leave_bpf_memory(void);

/* ringbuf_shim.c */
struct pyland_rings *pyland_map_rings(const struct pyland_ring_maps *maps, unsigned int max_batch);
void pyland_unmap_rings(struct pyland_rings *r);
struct pyland_user *pyland_user_memory(struct pyland_rings *r);
struct pyland_user_cpu *pyland_user_cpu_memory(struct pyland_rings *r);
struct pyland_batch *pyland_batch_memory(struct pyland_rings *r);
struct pyland_event *pyland_event_memory(struct pyland_rings *r);
struct pyland_queued *pyland_record(struct pyland_rings *r, unsigned int i);
unsigned int pyland_record_size(struct pyland_rings *r);
void pyland_want(struct pyland_rings *r, unsigned int wanted, unsigned long long holds_ns,
		 unsigned long long margin_ns, unsigned long long interval_ns);
struct pyland_decision *pyland_decision_memory(struct pyland_rings *r);
int pyland_cycle(struct pyland_rings *r, unsigned int nr_decisions, unsigned int nr_held,
		 unsigned int max_records);
int pyland_submit(struct pyland_rings *r, unsigned int nr_decisions);
int pyland_drain(struct pyland_rings *r, unsigned int max_records);
unsigned int pyland_backlog(struct pyland_rings *r);
unsigned int pyland_undelivered(struct pyland_rings *r);
int pyland_catch_signals(void);
void pyland_clear_signal(void);

/* memory.c */
int pyland_prepare_memory(unsigned int arena_mib, unsigned int heap_mib);
int pyland_lock_memory(void);
unsigned int pyland_arenas_used(void);
unsigned int pyland_arenas_missed(void);

/* privileges.c */
int pyland_die_with_parent(void);
int pyland_adopt_descendants(void);
int pyland_drop_privileges(unsigned int uid, unsigned int gid);

/* confinement.c */
int pyland_confine(int may_start_processes);

/* cffi: end */

/* For the C files among themselves. */
int pyland_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *pyland_map_array(int fd, const char *name, size_t bytes, size_t *size);

#endif
