/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The C core as Python sees it. A function that fails returns NULL or a negative errno
 * and leaves one line in pyland_error(): which call failed on what.
 */
#ifndef PYLAND_NATIVE_H
#define PYLAND_NATIVE_H

#include <signal.h>
#include <stddef.h>

#include "histograms_intf.h"
#include "intf.h"
#include "shared_state.h"

/* cffi: begin */

enum pyland_cycle_end {
	PYLAND_STOP_SIGNAL = -1,	/* SIGINT or SIGTERM arrived */
	PYLAND_STOP_KERNEL = -2,	/* the kernel has ended the scheduler */
	PYLAND_STOP_RING = -3,		/* BPF found the dispatched ring broken */
	PYLAND_STOP_REQUEST = -4,	/* the supervisor has sent a message */
};

struct pyland_load_options {
	struct pyland_config config;
	unsigned int queued_bytes;	/* ring sizes, powers of two */
	unsigned int dispatched_bytes;
	int partial;			/* only SCHED_EXT tasks */
	int verbose;			/* libbpf's and the verifier's log to stderr */
	unsigned long long hotplug_seq;	/* CPUs that come or go later require a restart */
};

/* What the process that decides needs to map its memory: descriptors and sizes. */
struct pyland_ring_maps {
	int queued;
	int dispatched;
	int user;
	int user_cpus;
	int user_domains;
	unsigned int queued_bytes;
	unsigned int dispatched_bytes;
	unsigned int nr_cpus;
};

/* A BPF ring by its mapped pages. */
struct pyland_ring {
	unsigned long *consumer_pos;
	unsigned long *producer_pos;
	char *data;			/* mapped twice in a row: a sample never wraps */
	unsigned long mask;
};

/* One batch of records, with what holds for all of them. */
struct pyland_batch {
	long long nr_runnable;		/* tasks that run or want to, without user space */
	long long weight_runnable;	/* sum of their weights */
	unsigned long long now_ns;	/* when user space last got a CPU */
	unsigned long long nr_events;	/* in pyland_rings.events */
	char records[];			/* each has pyland_rings.record_size bytes */
};

/* All that the process which decides maps or allocates for its cycles. */
struct pyland_rings {
	struct pyland_user *user;
	struct pyland_user_cpu *cpus;
	struct pyland_user_domain *domains;
	struct pyland_batch *batch;
	struct pyland_event *events;	/* that came with the batch */
	struct pyland_decision *decisions;	/* the caller packs here */
	struct pyland_decision *backlog;	/* decisions that found the ring full */
	unsigned int nr_backlog;
	unsigned int nr_cpus;
	unsigned int max_batch;
	unsigned int record_size;	/* of the batch: a base record, or a whole one */
	unsigned int request_seen;
	unsigned long long gauges_ns;	/* when the gauges were last summed */
	struct pyland_ring queued;
	struct pyland_ring dispatched;
};

/* Of some domains together, as struct pyland_user_domain. */
struct pyland_domain_sums {
	long long nr_runnable;
	long long weight;
	long long nr_waiting;
	unsigned long long used_ns;
};

/* What only root maps: BPF's own state, and the user memory to look at. */
struct pyland_state {
	struct pyland_shared *shared;
	struct pyland_cpu *cpus;
	struct pyland_user *user;
	struct pyland_user_cpu *user_cpus;
	struct pyland_watch *watch;
	struct pyland_cpu_histograms *histograms;
	struct pyland_slot *slots;
	unsigned int nr_cpus;
	unsigned int nr_slots;
	void *read_only[6];	/* the same memory but that of watch, for pyland_protect_state */
};

/* A loaded BPF object, attached or not. */
struct pyland_object;

/* libbpf */
const char *libbpf_version_string(void);
int bpf_map_lookup_elem(int fd, const void *key, void *value);

/* log.c */
const char *pyland_error(void);

/* loader.c */
unsigned long long pyland_layout(void);
struct pyland_object *pyland_load(const void *object, unsigned long size,
				  const struct pyland_load_options *options,
				  const struct pyland_cpu *cpus);
struct pyland_object *pyland_load_programs(const char *path);
int pyland_run_program(struct pyland_object *o, const char *name, void *context,
		       unsigned int context_size);
int pyland_attach(struct pyland_object *o);
void pyland_close(struct pyland_object *o);
int pyland_map_fd(struct pyland_object *o, const char *name, unsigned int *max_entries);
int pyland_ring_maps(struct pyland_object *o, struct pyland_ring_maps *maps);

/* maps.c */
struct pyland_rings *pyland_map_rings(const struct pyland_ring_maps *maps, unsigned int max_batch);
int pyland_map_again(struct pyland_rings *r, const struct pyland_ring_maps *maps);
void pyland_unmap_rings(struct pyland_rings *r);
struct pyland_state *pyland_map_state(struct pyland_object *o);
void pyland_unmap_state(struct pyland_state *s);
int pyland_protect_state(struct pyland_state *s);
int pyland_leave_bpf_memory(void);

/* ringbuf_shim.c */
void pyland_want(struct pyland_rings *r, unsigned int wanted, unsigned int lasts_slices,
		 unsigned long long lasts_ns, unsigned long long margin_ns,
		 unsigned long long interval_ns);
int pyland_cycle(struct pyland_rings *r, unsigned int nr_decisions, unsigned int nr_held,
		 unsigned int max_records);
int pyland_submit(struct pyland_rings *r, unsigned int nr_decisions);
int pyland_drain(struct pyland_rings *r, unsigned int max_records);
void pyland_mend(struct pyland_rings *r);
struct pyland_queued *pyland_record(struct pyland_rings *r, unsigned int i);

/* domain_sums.c */
void pyland_sum_domains(const struct pyland_user_domain *domains, const unsigned int *numbers,
			unsigned int nr, struct pyland_domain_sums *sums);

/* memory.c */
int pyland_fix_heap(unsigned int heap_mib);
int pyland_lock_memory(void);

/* arenas.c */
int pyland_fill_arenas(unsigned int arena_mib);

/* process.c */
int pyland_catch_signals(void);
int pyland_die_with_parent(void);
int pyland_adopt_descendants(void);

/* privileges.c */
int pyland_drop_privileges(unsigned int uid, unsigned int gid);

/* confinement.c */
int pyland_confine(int may_start_processes);

/* cffi: end */

/* For the C files among themselves. */
#define NR(array) (sizeof(array) / sizeof((array)[0]))

struct btf;

extern volatile sig_atomic_t pyland_stop_signal;

void pyland_log_libbpf(int verbose);
void pyland_forget_warning(void);
int pyland_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
int pyland_fail_libbpf(int error, const char *what);
unsigned long long pyland_enumerator(const struct btf *btf, const char *type, const char *name);
int pyland_member_offset(const struct btf *btf, const char *type, const char *name);

#endif
