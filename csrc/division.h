/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of division.c share; that file says what it is about.
 *
 * An answer is *usual* if it is a list with one decision for each row, all for any CPU. Python
 * *completes* all other answers (`complete`). A task is *near* if its part has `Part.near`: it
 * waits in the domain that belongs to the CPU where it ran last. The place of a task is the `cpu`
 * of its decision: a CPU, or what stands for a domain.
 */
#ifndef PYLAND_DIVISION_H
#define PYLAND_DIVISION_H

#include "binding.h"

#include <stdbool.h>
#include <structmember.h>

/* The policy of a part at work: the base of pyland.compose.seat.Seat. */
struct seat {
	PyObject_HEAD
	PyObject *policy, *decide, *batch, *pick, *queue, *shift_ns, *outgoing;
	PyObject *places, *cpus;	/* by what its decisions name: the place on the machine */
	/*
	 * The first decision of its last answer, if that was a usual one. It is a copy: if this part is
	 * the machine of other parts, the list gets other places and keys.
	 */
	PyObject *last;
	PyObject *near;		/* by CPU, the place of a task that ran there; None: `queue` */
	PyObject *home;		/* a frozenset of the CPUs of the part; for `away_ns` only */
	long long nr_placed, nr_moved, used_ns, away_ns;	/* of near tasks */
	long long least_ns, most_ns;	/* the range of its keys on the machine; most_ns 0: any key */
	long long from_ns, rate;	/* keys from from_ns on grow by rate / 2**32; 0: as they do */
	long long begins_at_ns;	/* the key that its next decision has to get; 0: any */
	long long check_due_ns;	/* when its next answer is completed, if it has no range of keys */
	char is_unusual;	/* each of its answers has to be completed */
	Py_ssize_t nr_held;
	Py_ssize_t shown_nr;	/* the number of rows that its batch has at present */
};

/* A part: the base of pyland.compose.place.Place. */
struct place {
	PyObject_HEAD
	PyObject *rows, *seat;
	char sleeps;		/* it had no task for long, and is not looked at until it has one */
};

struct division {
	PyObject_HEAD
	PyObject *place_by_pid, *newcomers, *in_order;
	PyObject *look, *wake, *sort_in, *complete, *without;
	PyObject *batch;	/* the one that is divided, or was divided last */
	Py_ssize_t pid_at, nr_held;
	long long now_ns, look_due_ns;
	PyObject *cpu_by_pid;	/* where near tasks ran last; they are counted if it is a dict */
	PyObject *nr_allowed;	/* how many CPUs most tasks may use; others are completed */
	Py_ssize_t cpu_at, used_at, allowed_at;	/* the last two only if tasks are counted */
	char is_moving;		/* all answers about near tasks are completed */
	char is_alone;		/* one part has all tasks, and its decisions are the machine's */
};

/* Visits all of these members in a tp_traverse function. */
#define VISIT_ALL(self, ...) \
	PyObject *const all[] = { __VA_ARGS__ }; \
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) \
		Py_VISIT(all[i])

#define MEMBER(type, kind, name, doc) { #name, kind, offsetof(struct type, name), 0, doc }

#define GC_FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC)

/* division_types.c */
extern PyTypeObject seat_type;

/* division.c */
PyObject *division_decide(struct division *d, PyObject *batch);
int prepare_division(void);

/* division_answers.c */
PyObject *picked_fields(PyObject *rows, PyObject *pick);
PyObject *placed_answer(struct division *d, struct seat *s, PyObject *flat, PyObject *rows);
int prepare_answers(void);

#endif
