// SPDX-License-Identifier: GPL-2.0-only
/* The flat list of integers that a policy returns becomes decisions, or an exception. */
#include "binding.h"

/*
 * An integer of the list. An object that can become an integer (a scalar of NumPy) is converted.
 * The code of that object may do anything, even change the list: so the list is read again each
 * time.
 */
static PyObject *integer(PyObject *flat, Py_ssize_t nr, Py_ssize_t i)
{
	PyObject *item, *number;

	if (PyList_GET_SIZE(flat) != nr) {
		PyErr_SetString(PyExc_ValueError, "the decisions changed while they were read");
		return NULL;
	}
	item = Py_NewRef(PyList_GET_ITEM(flat, i));
	if (PyLong_Check(item))
		return item;
	number = PyNumber_Index(item);
	Py_DECREF(item);
	return number;
}

static int get_unsigned(PyObject *flat, Py_ssize_t nr, Py_ssize_t i, unsigned long long *value)
{
	PyObject *number = integer(flat, nr, i);
	long long wide;
	int overflow;

	if (!number)
		return -1;
	/* Most are below 2**63, and the signed conversion takes a quarter of the time. */
	wide = PyLong_AsLongLongAndOverflow(number, &overflow);
	if (wide >= 0 && !overflow) {
		*value = wide;
		Py_DECREF(number);
		return 0;
	}
	*value = PyLong_AsUnsignedLongLong(number);
	Py_DECREF(number);
	return *value == (unsigned long long)-1 && PyErr_Occurred() ? -1 : 0;
}

static int get_int(PyObject *flat, Py_ssize_t nr, Py_ssize_t i, int *value)
{
	PyObject *number = integer(flat, nr, i);
	long wide;

	if (!number)
		return -1;
	wide = PyLong_AsLong(number);
	Py_DECREF(number);
	if (wide == -1 && PyErr_Occurred())
		return -1;
	if (wide != (int)wide) {
		PyErr_SetString(PyExc_OverflowError, "not a 32-bit integer");
		return -1;
	}
	*value = wide;
	return 0;
}

/* The number of decisions that the list has, or -1 with an exception set. */
Py_ssize_t pack_decisions(PyObject *flat, struct pyland_decision *decisions,
			  unsigned int max_batch)
{
	Py_ssize_t nr = PyList_GET_SIZE(flat);

	if (nr % DECISION_WIDTH || nr / DECISION_WIDTH > max_batch) {
		PyErr_Format(PyExc_ValueError, "%zd numbers are no decisions of %d each, at most %u",
			     nr, DECISION_WIDTH, max_batch);
		return -1;
	}
	for (Py_ssize_t i = 0; i < nr; i += DECISION_WIDTH) {
		struct pyland_decision *d = &decisions[i / DECISION_WIDTH];

		if (get_unsigned(flat, nr, i, &d->seq) || get_int(flat, nr, i + 1, &d->pid) ||
		    get_int(flat, nr, i + 2, &d->cpu) ||
		    get_unsigned(flat, nr, i + 3, &d->slice_ns) ||
		    get_unsigned(flat, nr, i + 4, &d->vtime_ns) ||
		    get_unsigned(flat, nr, i + 5, &d->state) ||
		    get_unsigned(flat, nr, i + 6, &d->flags))
			return -1;
	}
	return nr / DECISION_WIDTH;
}
