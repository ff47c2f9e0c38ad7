/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The writer of a trace, for its C files. Events of all CPUs come in the order of their times
 * (trace_drain.c) and become packets: the kernel's in a lane for each CPU (trace_lanes.c), pyland's
 * as events on tracks (trace_events.c). A packet is complete when it is in `out`, so a file that is
 * cut off anywhere is a trace up to there.
 */
#ifndef PYLAND_TRACE_WRITER_H
#define PYLAND_TRACE_WRITER_H

#include "proto.h"
#include "pyland_trace.h"

#define PIDS_MAX 4194304	/* the kernel's PID_MAX_LIMIT */
#define NAMES_MAX 65536
#define NAME_TEXT 64		/* of an escaped name: 15 bytes of four characters each */
#define COUNTERS_MAX 768
#define POLICIES_MAX 64
#define REASONS_MAX 4		/* why a task is queued */
#define QUEUES_KEPT 64		/* queues whose names are kept, a power of two */
#define SEGMENTS 16

/* Packets that tracks belong to, and the tracks. */
enum { SEQUENCE = 1 };
enum { TRACK_PYLAND = 1, TRACK_TRACE = 2, TRACK_TOPOLOGY = 3, TRACK_NOTES = 4, TRACK_CPU = 1000,
       TRACK_COUNTER = 100000 };

struct thread {
	unsigned int name;		/* its place in `names`, + 1; 0: not known */
	unsigned int command;		/* the same of the process's command; 0: as the thread */
	int tgid;			/* 0: not known */
	unsigned int running;		/* on a CPU now */
	unsigned int held;
	unsigned long long waking_ns;	/* 0: it does not wait after a wakeup */
	unsigned long long asked_ns;
	unsigned long long question;	/* the number of the open question, or 0 */
	unsigned long long flow;	/* of the decision that it will run by, or 0 */
};

struct name {
	unsigned int segment;		/* the segment in which it is interned */
	char text[NAME_TEXT];
};

/* What a CPU did since its last packet, in the columns that the packet has. */
struct lane {
	struct buffer switch_time, switch_state, switch_pid, switch_prio, switch_name;
	struct buffer waking_time, waking_pid, waking_cpu, waking_prio, waking_name, waking_bits;
	struct buffer names;
	unsigned long long last_switch_ns, last_waking_ns;
	unsigned long long lost;	/* of the ring, as last seen */
	unsigned int nr_events;
	unsigned int nr_names;
	unsigned int bundle;		/* the number of the packet */
	unsigned int lost_some;
	unsigned int *place_of_name;	/* in the packet: bundle << 32 would be too large, so two */
	unsigned int *bundle_of_name;
	unsigned int names_max;
};

struct counter {
	char name[NAME_TEXT];
	char unit[16];
	long long value;
	int described;
	unsigned int segment;		/* the last segment that has its value */
};

#define LATENCY_SHARES 32		/* buckets between two powers of two */
#define LATENCY_BUCKETS (64 * LATENCY_SHARES)
#define LATENCY_WINDOWS 8
#define LATENCY_WINDOW_NS 125000000ULL

/* Latencies of wakeups in the last second. */
struct latency {
	unsigned int counts[LATENCY_WINDOWS][LATENCY_BUCKETS];
	unsigned long long begin_ns;	/* of the present window */
	unsigned int present;
};

struct segment {
	struct buffer packets;
	unsigned long long begin_ns;
};

struct pyland_trace_writer {
	int file;
	unsigned int nr_cpus;
	unsigned long long memory;	/* bytes of the past that are kept; 0: all goes to the file */
	unsigned int keeps_past;	/* nothing is written yet */
	unsigned int began;		/* the file has its first packets */
	int broken;			/* errno: the file takes no more */
	struct buffer *out;
	struct buffer stream;
	struct segment past[SEGMENTS];
	unsigned int segment;		/* goes up when names must be interned anew */
	unsigned int interned_segment;
	unsigned long long last_write_ns, last_bytes;
	char *topology;
	struct lane *lanes;
	struct thread *threads;
	struct name *names;
	unsigned int nr_names;
	unsigned int *hashed;		/* places of names, + 1 */
	unsigned long long hash_key[2];	/* secret: no task can choose names with equal hashes */
	struct counter *counters;
	unsigned int nr_counters;
	char policies[POLICIES_MAX][NAME_TEXT];
	unsigned int nr_policies, policies_interned;
	unsigned int reasons[REASONS_MAX];	/* places of names, + 1; 0: not known yet */
	struct { unsigned long long id; unsigned int name; } queues[QUEUES_KEPT];
	struct latency latency;
	struct pyland_trace_totals totals;
};

/* trace_threads.c */
struct thread *thread_of(struct pyland_trace_writer *w, int pid);
unsigned int name_of_bytes(struct pyland_trace_writer *w, const char *bytes, size_t length);
unsigned int name_of_thread(struct pyland_trace_writer *w, int pid);
void put_process_tree(struct pyland_trace_writer *w, struct buffer *b, unsigned long long now);

/* trace_lanes.c */
int lane_begin(struct lane *lane);
void lane_end(struct lane *lane);
void lane_switch(struct pyland_trace_writer *w, struct lane *lane,
		 const struct pyland_trace_event *e);
void lane_waking(struct pyland_trace_writer *w, struct lane *lane,
		 const struct pyland_trace_event *e);
void lane_flush(struct pyland_trace_writer *w, unsigned int cpu);
void put_task(struct pyland_trace_writer *w, const struct pyland_trace_task *task);

/* trace_events.c */
void event_queue(struct pyland_trace_writer *w, unsigned int cpu,
		 const struct pyland_trace_event *e, const struct pyland_trace_event *rest);
void event_run(struct pyland_trace_writer *w, unsigned int cpu, unsigned long long time_ns,
	       int pid, int decided);
void event_trace_begins(struct pyland_trace_writer *w, unsigned long long time_ns);
void event_trace_ends(struct pyland_trace_writer *w, unsigned long long time_ns, const char *why);

/* trace_tracks.c */
void put_preamble(struct pyland_trace_writer *w, unsigned long long time_ns);
void put_ftrace_stats(struct pyland_trace_writer *w, int at_end);

/* trace_file.c */
int file_breaks(struct pyland_trace_writer *w, int error, size_t written);
int file_write(struct pyland_trace_writer *w);

/* trace_writer.c */
int writer_begins(struct pyland_trace_writer *w, unsigned long long time_ns);
int writer_turn(struct pyland_trace_writer *w);

/* trace_drain.c */
void latency_add(struct latency *l, unsigned long long time_ns, unsigned long long latency_ns);

#endif
