// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hot path: one call per cycle submits the decisions, publishes how many tasks
 * the policy still holds, yields the CPU and drains the next batch. One call instead
 * of three saves 200 ns at a batch of one.
 *
 * It reads and writes the mapped pages of both rings, not through libbpf's calls: that
 * bounds a batch and moves each position once per batch (3.6 against 4.5 ns per
 * record drained, 2 against 8 ns per decision written, at batches of 64).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/bpf.h>
#include <sched.h>
#include <string.h>

#include "pyland_native.h"

/* The gauges, summed over all CPUs, may be this old: to sum them costs a cache miss per CPU. */
#define GAUGES_AGE_NS 1000000ULL

/* The head of every sample, from the kernel's ABI: length with two flag bits, page. */
struct ring_header {
	unsigned int len;
	unsigned int page;
};

struct pyland_queued *pyland_record(struct pyland_rings *r, unsigned int i)
{
	return (void *)(r->batch->records + (size_t)i * r->record_size);
}

/*
 * Tells BPF what the policy needs: what to collect (PYLAND_WANT_*), for how many slices and how
 * long its decisions last, by how much later a running task must be due to be preempted, and how
 * often the policy wants to run.
 */
void pyland_want(struct pyland_rings *r, unsigned int wanted, unsigned int lasts_slices,
		 unsigned long long lasts_ns, unsigned long long margin_ns,
		 unsigned long long interval_ns)
{
	r->user->interval_ns = interval_ns;
	r->user->lasts_ns = lasts_ns;
	r->user->lasts_slices = lasts_slices;
	r->user->margin_ns = margin_ns;
	r->record_size = wanted & PYLAND_WANT_EXTRAS ? sizeof(struct pyland_queued) :
						       PYLAND_BASE_RECORD;
	__atomic_store_n(&r->user->wanted, wanted, __ATOMIC_RELEASE);
}

static unsigned int write_decisions(struct pyland_rings *r, const struct pyland_decision *decisions,
				    unsigned int nr)
{
	struct pyland_ring *ring = &r->dispatched;
	const unsigned long step = sizeof(struct ring_header) + sizeof(*decisions);
	unsigned long consumed = __atomic_load_n(ring->consumer_pos, __ATOMIC_ACQUIRE);
	unsigned long pos = *ring->producer_pos;
	unsigned long room = (ring->mask + 1 - (pos - consumed)) / step;

	if (nr > room)
		nr = room;
	for (unsigned int i = 0; i < nr; i++, pos += step) {
		struct ring_header *header = (void *)(ring->data + (pos & ring->mask));

		header->len = sizeof(*decisions);
		header->page = 0;
		memcpy(header + 1, decisions + i, sizeof(*decisions));
	}
	/* The kernel reads nothing beyond this position. */
	__atomic_store_n(ring->producer_pos, pos, __ATOMIC_RELEASE);
	/* BPF looks into the ring when this differs from what it has taken. */
	__atomic_store_n(&r->user->submitted, r->user->submitted + nr, __ATOMIC_RELEASE);
	return nr;
}

/*
 * Submits the packed decisions, after those that found the ring full before; the number
 * submitted. It keeps the decisions that do not fit. As long as it keeps some, a drain
 * takes fewer records, so a backlog is never longer than a batch.
 */
int pyland_submit(struct pyland_rings *r, unsigned int nr_decisions)
{
	unsigned int done;

	if (nr_decisions > r->max_batch - r->nr_backlog)
		return pyland_fail(-E2BIG, "%u decisions and a backlog of %u for batches of %u",
				   nr_decisions, r->nr_backlog, r->max_batch);
	if (r->nr_backlog) {
		memcpy(r->backlog + r->nr_backlog, r->decisions,
		       nr_decisions * sizeof(*r->decisions));
		r->nr_backlog += nr_decisions;
		done = write_decisions(r, r->backlog, r->nr_backlog);
		r->nr_backlog -= done;
		memmove(r->backlog, r->backlog + done, r->nr_backlog * sizeof(*r->backlog));
		return done;
	}
	done = write_decisions(r, r->decisions, nr_decisions);
	r->nr_backlog = nr_decisions - done;
	memcpy(r->backlog, r->decisions + done, r->nr_backlog * sizeof(*r->backlog));
	return done;
}

static void sum_gauges(struct pyland_rings *r, unsigned long long now_ns)
{
	long long nr = 0, weight = 0;

	if (now_ns - r->gauges_ns < GAUGES_AGE_NS)
		return;
	r->gauges_ns = now_ns;
	for (unsigned int i = 0; i < r->nr_cpus; i++) {
		nr += r->cpus[i].nr_runnable;
		weight += r->cpus[i].weight_runnable;
	}
	/* The CPUs are read one after the other: a sum may be off by a task for a while. */
	r->batch->nr_runnable = nr > 1 ? nr : 1;
	r->batch->weight_runnable = weight > 1 ? weight : 1;
}

/* Drops the records of a task that has exited: the policy must not see them after its end. */
static unsigned int drop_records(struct pyland_rings *r, unsigned int nr, int pid)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < nr; i++) {
		if (pyland_record(r, i)->pid == pid)
			continue;
		if (kept < i)
			memmove(pyland_record(r, kept), pyland_record(r, i), r->record_size);
		kept++;
	}
	return kept;
}

/* While pyland_want() takes effect, the ring has records of both sizes. */
static void copy_record(struct pyland_rings *r, unsigned int i, const void *sample,
			unsigned int len)
{
	char *record = (char *)pyland_record(r, i);

	if (len >= r->record_size) {
		memcpy(record, sample, r->record_size);
		return;
	}
	memcpy(record, sample, len);
	memset(record + len, 0, r->record_size - len);
}

static int is_a_size(unsigned int size)
{
	return size == sizeof(struct pyland_event) || size == PYLAND_BASE_RECORD ||
	       size == sizeof(struct pyland_queued);
}

/* True if whole records lie between the positions, as far as the kernel has written them. */
static int is_sound(const struct pyland_ring *ring)
{
	const unsigned int len_bits = ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
	unsigned long end = __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE);
	unsigned long pos = *ring->consumer_pos;

	if (pos % 8 || end - pos > ring->mask + 1)
		return 0;
	while (pos < end) {
		struct ring_header *header = (void *)(ring->data + (pos & ring->mask));
		unsigned int len = __atomic_load_n(&header->len, __ATOMIC_ACQUIRE);

		if (!is_a_size(len & len_bits))
			return 0;
		if (len & BPF_RINGBUF_BUSY_BIT)
			return 1;
		pos += sizeof(*header) + (((len & len_bits) + 7) & ~7U);
	}
	return pos == end;
}

/*
 * Repairs the memory that a policy may have written over, for the policy after it. Records that
 * cannot be found are lost: BPF tells the new policy of all queued tasks.
 */
void pyland_mend(struct pyland_rings *r)
{
	struct pyland_ring *ring = &r->queued;

	if (!is_sound(ring))
		__atomic_store_n(ring->consumer_pos,
				 __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE),
				 __ATOMIC_RELEASE);
	/* BPF writes the clock when it next gives user space a CPU: before the next drain. */
	r->batch->now_ns = 0;
	r->gauges_ns = 0;
}

/*
 * Copies up to @max_records records into the batch, and the events between them, and
 * frees their room in the ring; the number of records.
 */
int pyland_drain(struct pyland_rings *r, unsigned int max_records)
{
	const unsigned int len_bits = ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
	struct pyland_ring *ring = &r->queued;
	unsigned long end = __atomic_load_n(ring->producer_pos, __ATOMIC_ACQUIRE);
	unsigned long start = *ring->consumer_pos, pos = start;
	unsigned long long now_ns = r->batch->now_ns, clock_ns = r->user->clock_ns;
	unsigned int nr = 0, nr_events = 0;

	if (max_records > r->max_batch - r->nr_backlog)
		max_records = r->max_batch - r->nr_backlog;
	while (pos < end) {
		struct ring_header *header = (void *)(ring->data + (pos & ring->mask));
		unsigned int len = __atomic_load_n(&header->len, __ATOMIC_ACQUIRE);
		unsigned int size = len & len_bits;

		if (len & BPF_RINGBUF_BUSY_BIT)
			break;
		if (len & BPF_RINGBUF_DISCARD_BIT) {
			;
		} else if (size == sizeof(struct pyland_event)) {
			if (nr_events == r->max_batch)
				break;
			memcpy(&r->events[nr_events], header + 1, sizeof(r->events[0]));
			if (r->events[nr_events++].kind == PYLAND_EVENT_EXITED)
				nr = drop_records(r, nr, r->events[nr_events - 1].pid);
		} else {
			if (nr == max_records)
				break;
			copy_record(r, nr, header + 1, size);
			/*
			 * Each CPU has a clock of its own: the last record may not be the latest.
			 */
			if ((long long)(pyland_record(r, nr)->enqueue_ns - now_ns) > 0)
				now_ns = pyland_record(r, nr)->enqueue_ns;
			nr++;
		}
		pos += sizeof(*header) + ((size + 7) & ~7U);
	}
	r->batch->nr_events = nr_events;
	/* Time never goes back, and no record of the batch is later. */
	r->batch->now_ns = (long long)(clock_ns - now_ns) > 0 ? clock_ns : now_ns;
	if (pos != start)
		__atomic_store_n(ring->consumer_pos, pos, __ATOMIC_RELEASE);
	if (nr)
		sum_gauges(r, r->batch->now_ns);
	return nr;
}

/*
 * A cycle: the number of records in the batch (0 is common), or a pyland_cycle_end.
 * The first @nr_decisions of r->decisions are packed; @nr_held tasks are not decided yet.
 */
int pyland_cycle(struct pyland_rings *r, unsigned int nr_decisions, unsigned int nr_held,
		 unsigned int max_records)
{
	if (nr_decisions || r->nr_backlog) {
		int ret = pyland_submit(r, nr_decisions);

		if (ret < 0)
			return ret;
	}
	r->user->nr_held = nr_held + r->nr_backlog;
	__atomic_store_n(&r->user->cycles, r->user->cycles + 1, __ATOMIC_RELEASE);
	sched_yield();
	if (pyland_stop_signal)
		return PYLAND_STOP_SIGNAL;
	if (__atomic_load_n(&r->user->exited, __ATOMIC_ACQUIRE))
		return PYLAND_STOP_KERNEL;
	if (r->user->ring_broken)
		return PYLAND_STOP_RING;
	if (r->user->request != r->request_seen) {
		r->request_seen = r->user->request;
		return PYLAND_STOP_REQUEST;
	}
	return pyland_drain(r, max_records);
}
