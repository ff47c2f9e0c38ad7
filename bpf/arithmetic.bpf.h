/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The arithmetic of slices, keys and pauses: numbers in, a number out. No kernel type is used
 * here, so the unit tests compile the same functions for the machine and try them with any number.
 *
 * Times are in nanoseconds. Points in time and keys may wrap at 2^64: they are compared by the
 * sign of their difference. A weight is 1 to 10000, and 100 is that of nice 0.
 */
#ifndef PYLAND_ARITHMETIC_BPF_H
#define PYLAND_ARITHMETIC_BPF_H

#define NSEC_PER_USEC	1000ULL
#define NSEC_PER_MSEC	1000000ULL

/* Limits of a slice that keep a machine usable: a policy may ask for a year, or a nanosecond. */
#define SLICE_FLOOR_NS	(100 * NSEC_PER_USEC)
#define SLICE_CEIL_NS	(100 * NSEC_PER_MSEC)
#define WEIGHT_MAX	10000ULL

/* A task that is preempted runs on for this long. */
#define PREEMPT_DELAY_NS	(30 * NSEC_PER_USEC)

/*
 * The same for a waker that has computed for longer than a slice. Some such wakers are about to
 * sleep (schbench, four threads for each CPU, 99th percentile of a wakeup: 12 ms without a delay,
 * 3 ms with this one). Others spin until the other task answers (futex: 18,200 wakeups a second
 * without a delay, 17,500 with this one, 14,400 with PREEMPT_DELAY_NS).
 */
#define COMPUTING_DELAY_NS	(10 * NSEC_PER_USEC)

/* The longest time that a task runs before it may yield. */
#define YIELD_MAX_NS	(250 * NSEC_PER_USEC)

/* The pause between two cycles while decided tasks wait, in lengths of a cycle. */
#define SCHED_PAUSE_CYCLES 4

/* Least time between two preemptions that let user space see a wakeup, on top of the pause. */
#define WAKEUP_KICK_NS (100 * NSEC_PER_USEC)

/* Keys further from the running ones than this (18 minutes) would wrap comparisons. */
#define VTIME_WINDOW_NS	(1ULL << 40)
/* A policy's first keys are below this: many policies begin with the time since boot. */
#define VTIME_FIRST_MAX_NS	(1ULL << 62)

/* An average, 3/4 old and 1/4 new; 0 is unknown. */
static __always_inline u64 average(u64 old, u64 new)
{
	return old ? old - old / 4 + new / 4 : new;
}

/* The longest slice of any task, where @longest_ns is that of weight 100. */
static __always_inline u64 slice_ceil_ns(u64 longest_ns)
{
	return longest_ns > SLICE_CEIL_NS ? longest_ns : SLICE_CEIL_NS;
}

static __always_inline u64 slice_within(u64 slice_ns, u64 longest_ns)
{
	u64 ceil_ns = slice_ceil_ns(longest_ns);

	if (slice_ns < SLICE_FLOOR_NS)
		return SLICE_FLOOR_NS;
	return slice_ns < ceil_ns ? slice_ns : ceil_ns;
}

/* A slice that no weight explains is a mistake of the policy. */
static __always_inline bool is_no_slice(u64 slice_ns, u64 longest_ns)
{
	return slice_ns > slice_ceil_ns(longest_ns) * (WEIGHT_MAX / 100);
}

/* The slice of a task of this weight if a task of weight 100 has @slice_ns; without limits. */
static __always_inline u64 slice_of_weight(u64 slice_ns, u64 weight)
{
	return slice_ns * weight / 100;
}

/* The slice at weight 100 that gives @slice_ns at this weight. A weight of 0 is not known yet. */
static __always_inline u64 slice_at_weight_100(u64 slice_ns, u64 weight)
{
	return slice_ns * 100 / (weight ? weight : 100);
}

/*
 * How many slices of this length at weight 100 a decision grants, if the policy wants so many:
 * together they are a longest slice at most, but for a single one.
 */
static __always_inline u64 granted_slices(u64 slice_ns, u64 wanted, u64 longest_ns)
{
	u64 most = slice_ns ? longest_ns / slice_ns : 0;

	if (wanted < most)
		most = wanted;
	return most ? most : 1;
}

/* The usual slice at weight 100, after one more slice of this length. */
static __always_inline u64 usual_slice_ns(u64 usual_ns, u64 slice_ns)
{
	/* One short slice among longer ones is no sign that slices are shorter. */
	if (slice_ns > usual_ns)
		return slice_ns;
	return slice_ns ? average(usual_ns, slice_ns) : usual_ns;
}

/*
 * True if a decision with @left_ns of its slice left lasts for the task's next turn. It does not
 * - if the rest is shorter than a switch is worth;
 * - if the task sleeps for the first time after it computed: its key is that of a computing task;
 * - if the task wakes up after the decision has ended;
 * - if slices have become shorter: fewer tasks wanted a CPU when the decision was made.
 */
static __always_inline bool slice_continues(u64 left_ns, u64 weight, bool woke_up,
					    bool lasts_asleep, u64 lasts_until_ns, u64 now_ns,
					    u64 usual_ns)
{
	return left_ns >= SLICE_FLOOR_NS &&
	       (!woke_up || (lasts_asleep && (s64)(lasts_until_ns - now_ns) > 0)) &&
	       slice_at_weight_100(left_ns, weight) <= usual_ns;
}

/*
 * The key, moved into the window around @now_ns, the highest key that has run. While @now_ns is 0
 * no key has run, and a key below VTIME_FIRST_MAX_NS stays as it is.
 */
static __always_inline u64 vtime_within(u64 vtime_ns, u64 now_ns)
{
	if (!now_ns && vtime_ns < VTIME_FIRST_MAX_NS)
		return vtime_ns;
	if ((s64)(vtime_ns - now_ns) > (s64)VTIME_WINDOW_NS)
		return now_ns + VTIME_WINDOW_NS;
	if ((s64)(vtime_ns - now_ns) < -(s64)VTIME_WINDOW_NS)
		return now_ns - VTIME_WINDOW_NS;
	return vtime_ns;
}

/* The next key of a task: its last key, plus the CPU time that it used after that. */
static __always_inline u64 vtime_after(u64 last_ns, u64 used_ns, u64 weight, u64 longest_ns)
{
	/* A task uses more than a slice only while no other task waits: that is no debt. */
	if (used_ns > longest_ns)
		used_ns = longest_ns;
	return last_ns + used_ns * 100 / (weight ? weight : 1);
}

/* With n tasks for a CPU, a step of keys is at most so many n-ths of a longest slice. */
#define KEY_STEP_CROWD	32
/* How often a step is halved for that. */
#define KEY_STEP_HALVES	8

/*
 * The step of keys where up to @nr_waiting tasks wait for @nr_cpus CPUs: half of a longest slice,
 * so that a task a longest slice ahead still goes before those that compute. No more than the
 * margin and a usual slice, so that a task that may preempt another also goes before it.
 *
 * In crowds it is halved: there `deadline` has twice 16 n-ths of a longest slice between a task
 * that wakes up and one that computes. Other parts than halves would order tasks anew whenever the
 * number of tasks changes.
 */
static __always_inline u64 key_step_ns(u64 longest_ns, u64 margin_ns, u64 usual_ns, u64 nr_waiting,
				       u64 nr_cpus)
{
	u64 step_ns = longest_ns / 2, crowd_ns;
	int i;

	if (margin_ns < step_ns && margin_ns + usual_ns < step_ns)
		step_ns = margin_ns + usual_ns;
	crowd_ns = KEY_STEP_CROWD * longest_ns * nr_cpus / (nr_waiting ? nr_waiting : 1);
	for (i = 0; i < KEY_STEP_HALVES && step_ns > crowd_ns; i++)
		step_ns /= 2;
	return step_ns;
}

/*
 * The place in a queue of a task that another one wakes up within its decision: its key, up to the
 * next step. Tasks of one step go in the order in which they came. Tasks that send each other
 * messages then find more of them at each turn (hackbench on 8 CPUs: 0.93 of the default scheduler;
 * 0.855 with steps of a quarter of a longest slice, 0.82 with those of a usual slice).
 */
static __always_inline u64 vtime_in_steps(u64 vtime_ns, u64 step_ns)
{
	u64 over_ns = step_ns ? vtime_ns % step_ns : 0;

	return over_ns ? vtime_ns + step_ns - over_ns : vtime_ns;
}

/*
 * How much later than the first task of a queue a task may be due that a CPU takes instead, because
 * it ran there last: two usual slices, but no more than half of a longest one, or one usual slice.
 * Under `deadline` tasks that compute are mostly a longest slice behind one that has just woken up,
 * so they do not go before it; in crowds both distances are a few milliseconds. (32 tasks that
 * compute on 8 CPUs: with one slice they have 0.04 migrations a switch, with two 0.01.)
 */
static __always_inline u64 near_within_ns(u64 usual_ns, u64 longest_ns)
{
	if (usual_ns >= longest_ns / 2)
		return usual_ns;
	return usual_ns < longest_ns / 4 ? 2 * usual_ns : longest_ns / 2;
}

/*
 * How long a task runs before it may yield. A task that waits for another one yields again and
 * again; at each time, a switch would take more than the task does (sysbench's threads on 2 CPUs:
 * 5,300 events a second, and 1,070 without a limit).
 */
static __always_inline u64 yields_after(u64 cycle_cost_ns)
{
	return cycle_cost_ns < YIELD_MAX_NS ? cycle_cost_ns : YIELD_MAX_NS;
}

/* True if the task that runs, for @ran_ns, is due later than another by more than a margin. */
static __always_inline bool is_due_later(u64 running_vtime_ns, u64 ran_ns, u64 vtime_ns,
					 u64 margin_ns)
{
	return (s64)(running_vtime_ns + ran_ns - vtime_ns) > (s64)margin_ns;
}

/* How long after a cycle the next one is due although decided tasks wait. */
static __always_inline u64 pause_after(u64 cycle_cost_ns, u64 shortest_ns)
{
	u64 wanted_ns = cycle_cost_ns * SCHED_PAUSE_CYCLES;

	return wanted_ns < shortest_ns ? wanted_ns : shortest_ns;
}

/*
 * The effective weight of a task: its part of its group's share, by its weight. In the result 256
 * is weight 1; in @share and @load 2^16 is weight 1. The load is an average. It is below the weight
 * of the task itself if the group's tasks sleep most of the time: then the weight counts.
 */
static __always_inline u64 weight_in_group(u64 share, u64 load, u64 weight)
{
	u64 effective;

	if (load < weight << 16)
		load = weight << 16;
	effective = share * weight / (load >> 8 ? load >> 8 : 1);
	if (effective < 256)
		return 256;
	return effective < WEIGHT_MAX << 8 ? effective : WEIGHT_MAX << 8;
}

/*
 * True if a weight (256 is weight 1) is rounded up this time, by chance. A key grows by CPU time
 * over weight, so the chance is such that the average of 1/weight is right.
 */
static __always_inline bool rounds_up(u64 weight, u64 random)
{
	u64 up = (weight >> 8) + 1;

	return (random & 0xffff) * weight < (weight & 255) * up << 16;
}

/*
 * The bucket of a number in a histogram of 32: 0 and 1 have one each, then come [2, 4), [4, 8) and
 * so on; the last has all from 2^30 on.
 */
static __always_inline u64 bucket_of(u64 value)
{
	u64 bucket = 0;

	if (value >> 30)
		return 31;
	if (value >> 16) {
		value >>= 16;
		bucket += 16;
	}
	if (value >> 8) {
		value >>= 8;
		bucket += 8;
	}
	if (value >> 4) {
		value >>= 4;
		bucket += 4;
	}
	if (value >> 2) {
		value >>= 2;
		bucket += 2;
	}
	if (value >> 1) {
		value >>= 1;
		bucket += 1;
	}
	return bucket + value;
}

/* How long until a task may be preempted for user space again; 0 or less: at once. */
static __always_inline s64 preempts_again_in(u64 last_kick_ns, u64 pause_ns, u64 now_ns)
{
	return last_kick_ns + pause_ns + WAKEUP_KICK_NS - now_ns;
}

/* How long until the timer of a CPU ends the slice of the task that runs, because others wait. */
static __always_inline u64 slice_ends_in(u64 since_ns, u64 slice_ns, u64 now_ns)
{
	s64 left_ns = since_ns + slice_ns - now_ns;

	return left_ns > (s64)PREEMPT_DELAY_NS ? (u64)left_ns : PREEMPT_DELAY_NS;
}

#endif
