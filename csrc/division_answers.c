// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a policy is shown of its part's rows, and what becomes of a usual answer: a list with a
 * decision for each of them, which names any CPU, a CPU of the part, or a domain of the part.
 */
#include "division.h"

#include <limits.h>

#define PID_AT 1		/* places in DECISION_FIELDS of pyland.policy */
#define CPU_AT 2
#define KEY_AT 4
#define FLAGS_AT 6

static PyObject *zero, *cpu_any;

/* The fields of the rows that the policy reads, in a new list. */
PyObject *picked_fields(PyObject *rows, PyObject *pick)
{
	Py_ssize_t width = PyTuple_GET_SIZE(pick);
	PyObject *all = PyList_New(PyList_GET_SIZE(rows));

	for (Py_ssize_t i = 0; all && i < PyList_GET_SIZE(rows); i++) {
		PyObject *from = PyList_GET_ITEM(rows, i), *row = PyTuple_New(width);

		for (Py_ssize_t field = 0; row && field < width; field++) {
			Py_ssize_t at = PyLong_AsSsize_t(PyTuple_GET_ITEM(pick, field));

			if (at < 0 || at >= PyTuple_GET_SIZE(from)) {
				PyErr_SetString(PyExc_IndexError, "a row has no such field");
				Py_CLEAR(row);
				break;
			}
			PyTuple_SET_ITEM(row, field, Py_NewRef(PyTuple_GET_ITEM(from, at)));
		}
		if (row)
			PyList_SET_ITEM(all, i, row);
		else
			Py_CLEAR(all);
	}
	return all;
}

/* True for a key that C can move: a number from 0 to 2**63 - 1. Python moves the others. */
static bool is_movable(PyObject *key)
{
	int overflow;

	return PyLong_CheckExact(key) && PyLong_AsLongLongAndOverflow(key, &overflow) >= 0 &&
	       !overflow;
}

/*
 * What the `cpu` of a decision is on the machine, borrowed; NULL if Python has to find that. What
 * stands for any CPU stays as it is.
 */
static PyObject *place_of(const struct seat *s, PyObject *cpu)
{
	PyObject *place;

	/* CPU_ANY is a small integer, and Python has one object for each of these. */
	if (cpu == cpu_any)
		return cpu;
	if (!PyLong_CheckExact(cpu) || !s->places || !PyDict_CheckExact(s->places) || !s->cpus ||
	    !PyDict_CheckExact(s->cpus))
		return NULL;
	place = PyDict_GetItem(s->places, cpu);
	return place ? place : PyDict_GetItem(s->cpus, cpu);
}

/* True if the list is a decision for each of @nr tasks, each of them for a place that is known. */
static bool is_usual(const struct seat *s, PyObject *flat, Py_ssize_t nr, bool with_keys)
{
	if (!PyList_CheckExact(flat) || PyList_GET_SIZE(flat) != nr * DECISION_WIDTH)
		return false;
	for (Py_ssize_t at = 0; at < nr * DECISION_WIDTH; at += DECISION_WIDTH) {
		PyObject *cpu = PyList_GET_ITEM(flat, at + CPU_AT);

		/* With flags a decision may be the kick of a CPU. */
		if (cpu != cpu_any &&
		    (PyList_GET_ITEM(flat, at + FLAGS_AT) != zero || !place_of(s, cpu)))
			return false;
		if (with_keys && !is_movable(PyList_GET_ITEM(flat, at + KEY_AT)))
			return false;
	}
	return true;
}

static bool are_equal(PyObject *one, PyObject *other)
{
	return one == other || (PyLong_CheckExact(one) && PyLong_CheckExact(other) &&
				PyObject_RichCompareBool(one, other, Py_EQ) == 1);
}

/* True if the decisions are those of the rows, in their order, and no row is a special one. */
static bool is_in_order(struct division *d, PyObject *flat, PyObject *rows)
{
	if (d->is_moving)
		return false;
	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(rows); i++) {
		PyObject *row = PyList_GET_ITEM(rows, i);
		Py_ssize_t width = PyTuple_GET_SIZE(row);

		if (d->cpu_at >= width || d->used_at >= width || d->allowed_at >= width)
			return false;
		if (!are_equal(PyList_GET_ITEM(flat, i * DECISION_WIDTH + PID_AT),
			       PyTuple_GET_ITEM(row, d->pid_at)))
			return false;
		if (d->nr_allowed != Py_None && d->nr_allowed &&
		    !are_equal(PyTuple_GET_ITEM(row, d->allowed_at), d->nr_allowed))
			return false;
	}
	return true;
}

/* Counts a near task that was decided. */
static int count_near(struct division *d, struct seat *s, PyObject *row, PyObject *cpu)
{
	PyObject *pid = PyTuple_GET_ITEM(row, d->pid_at);
	PyObject *before = PyDict_GetItemWithError(d->cpu_by_pid, pid);
	long long used_ns = PyLong_AsLongLong(PyTuple_GET_ITEM(row, d->used_at));
	int at_home = PySet_Contains(s->home, cpu);

	if (PyErr_Occurred() || at_home < 0)
		return -1;
	s->nr_placed++;
	s->used_ns += used_ns;
	if (!at_home)
		s->away_ns += used_ns;
	if (before && are_equal(before, cpu))
		return 0;
	s->nr_moved += !!before;
	return PyDict_SetItem(d->cpu_by_pid, pid, cpu);
}

/* Gives each decision for any CPU the place that is near where its task ran last. */
static int place_near(struct division *d, struct seat *s, PyObject *flat, PyObject *rows)
{
	bool counts = d->cpu_by_pid && PyDict_CheckExact(d->cpu_by_pid) && s->home &&
		      PyAnySet_Check(s->home);

	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(rows); i++) {
		PyObject *row = PyList_GET_ITEM(rows, i);
		PyObject *cpu = PyTuple_GET_ITEM(row, d->cpu_at);
		PyObject *place = PyDict_GetItemWithError(s->near, cpu);

		if (!place && PyErr_Occurred())
			return -1;
		if (PyList_GET_ITEM(flat, i * DECISION_WIDTH + CPU_AT) == cpu_any)
			PyList_SetItem(flat, i * DECISION_WIDTH + CPU_AT,
				       Py_NewRef(place ? place : s->queue));
		if (counts && count_near(d, s, row, cpu))
			return -1;
	}
	return 0;
}

/* A key of the part's policy as a key of the machine, in the range of the part. */
static long long placed_key(const struct seat *s, PyObject *key, long long shift_ns, bool *is_far)
{
	long long key_ns = PyLong_AsLongLong(key);

	/* from_ns is not negative and a rate at most 2**32: the result is between the two keys. */
	if (s->rate)
		key_ns = s->from_ns + (long long)(((__int128)key_ns - s->from_ns) * s->rate >> 32);
	if (__builtin_add_overflow(key_ns, shift_ns, &key_ns))
		key_ns = shift_ns > 0 ? LLONG_MAX : LLONG_MIN;
	*is_far = s->most_ns && (key_ns > s->most_ns || key_ns < s->least_ns);
	if (s->most_ns && key_ns > s->most_ns)
		key_ns = s->most_ns;
	return key_ns > s->least_ns ? key_ns : s->least_ns;
}

/*
 * Gives the decisions of a usual answer their keys and places; those for any CPU go to @queue if
 * there is one. 1 if the first key is out of the range of the part: Python moves the keys of the
 * part then.
 */
static int place_usual(const struct seat *s, PyObject *flat, PyObject *queue, bool shifts)
{
	long long shift_ns = shifts ? PyLong_AsLongLong(s->shift_ns) : 0;
	bool is_far;

	if (shift_ns == -1 && PyErr_Occurred())
		return -1;
	for (Py_ssize_t at = 0; at < PyList_GET_SIZE(flat); at += DECISION_WIDTH) {
		if (shifts) {
			long long key_ns = placed_key(s, PyList_GET_ITEM(flat, at + KEY_AT), shift_ns,
						      &is_far);
			PyObject *key = at || !is_far ? PyLong_FromLongLong(key_ns) : NULL;

			if (!key)
				return PyErr_Occurred() ? -1 : 1;
			PyList_SetItem(flat, at + KEY_AT, key);
		}
		PyObject *cpu = PyList_GET_ITEM(flat, at + CPU_AT), *place = queue;

		if (cpu != cpu_any)
			place = place_of(s, cpu);
		if (place)
			PyList_SetItem(flat, at + CPU_AT, Py_NewRef(place));
	}
	return 0;
}

/* Moves the keys of the part, from this first one on, to where they have to begin. */
static int begin(struct seat *s, PyObject *first)
{
	long long first_ns = PyLong_AsLongLong(first);
	PyObject *shift_ns = PyLong_FromLongLong(s->begins_at_ns - first_ns);

	if (!shift_ns)
		return -1;
	Py_XSETREF(s->shift_ns, shift_ns);
	s->from_ns = first_ns;
	s->begins_at_ns = 0;
	return 0;
}

/*
 * The answer with the places and keys of its part, a new reference; None if it is not usual, and
 * NULL with an exception set. @rows are those that the policy was asked about.
 */
PyObject *placed_answer(struct division *d, struct seat *s, PyObject *flat, PyObject *rows)
{
	bool shifts = s->shift_ns != zero || s->most_ns || s->begins_at_ns;
	bool is_near = s->near && PyDict_CheckExact(s->near);

	if (!is_usual(s, flat, PyList_GET_SIZE(rows), shifts) ||
	    (is_near && !is_in_order(d, flat, rows)))
		Py_RETURN_NONE;
	if (s->begins_at_ns && PyList_GET_SIZE(flat) && begin(s, PyList_GET_ITEM(flat, KEY_AT)))
		return NULL;
	switch (place_usual(s, flat, is_near ? NULL : s->queue, shifts)) {
	case 0:
		break;
	case 1:
		Py_RETURN_NONE;
	default:
		return NULL;
	}
	return is_near && place_near(d, s, flat, rows) ? NULL : Py_NewRef(flat);
}

int prepare_answers(void)
{
	zero = PyLong_FromLong(0);
	cpu_any = PyLong_FromLong(-1);
	return zero && cpu_any ? 0 : -1;
}
