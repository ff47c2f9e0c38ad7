// SPDX-License-Identifier: GPL-2.0-only
/*
 * Python's end of the dispatch loop: hands the policy a tuple of fields per record, takes
 * its flat list of decisions, and calls pyland_cycle() between the two.
 *
 * cffi calls the rest of the core. Here the calls themselves are the cost. For a batch of one,
 * the user-space instructions of a cycle with its policy (callgrind, deadline, Python 3.11)
 * were 17,500 with struct and cffi, 11,700 with cycle() below and the loop in Python, and are
 * 9,300 with run(). The interpreter lock is kept: pyland has one thread, and the threads that a
 * policy starts run while its own code does.
 */
#include "binding.h"

#include <structmember.h>

#define FAILED (-1000)		/* an exception is set; every pyland_cycle_end is above this */

static PyObject *nr_held;	/* the name of that attribute of a policy */

struct exchange {
	PyObject_HEAD
	struct pyland_rings *rings;
	PyObject *batch;	/* the pyland.batch.Batch that the policy sees */
	PyObject *refused;	/* the list that was refused last, for a report */
	unsigned int max_batch;
	struct fields fields;
	unsigned long long quiet_until_ns;	/* until then only events are told to the policy */
	long long seen[BATCH_NUMBERS];	/* the numbers that the batch has */
};

/* A call of run(). */
struct run {
	PyObject *policy, *decide, *outgoing, *place, *tell, *rows;
	long cap;
	PyObject *flat;		/* decisions to submit in the next cycle */
	PyObject *rest;		/* those that did not fit */
};

/* Sets a number of the batch. Most often the batch has this value already. */
static inline int set_number(struct exchange *x, enum batch_attribute which, long long value)
{
	if (x->seen[which] == value)
		return 0;
	PyObject *number = PyLong_FromLongLong(value);

	if (!number)
		return -1;
	int failed = set_of_batch(x->batch, which, number);

	Py_DECREF(number);
	if (!failed)
		x->seen[which] = value;
	return failed;
}

/* The number of records in the batch, a pyland_cycle_end, or FAILED. */
static int cycle(struct exchange *x, PyObject *flat, long held, long room)
{
	struct pyland_batch *batch = x->rings->batch;
	Py_ssize_t nr_decisions = pack_decisions(flat, x->rings->decisions, x->max_batch);
	int nr;

	if (nr_decisions < 0) {
		Py_XSETREF(x->refused, Py_NewRef(flat));
		return FAILED;
	}
	room = room < 0 ? 0 : room < x->max_batch ? room : x->max_batch;
	nr = pyland_cycle(x->rings, nr_decisions, held > 0 ? held : 0, room);
	if (nr < 0)
		return nr;
	if (set_number(x, NR_RECORDS, nr) || set_number(x, NR_RUNNABLE, batch->nr_runnable) ||
	    set_number(x, WEIGHT_RUNNABLE, batch->weight_runnable) ||
	    set_number(x, NOW_NS, batch->now_ns))
		return FAILED;
	return nr;
}

static PyObject *exchange_cycle(struct exchange *x, PyObject *args)
{
	PyObject *flat;
	long held, room;

	if (!PyArg_ParseTuple(args, "O!ll", &PyList_Type, &flat, &held, &room))
		return NULL;
	int nr = cycle(x, flat, held, room);

	if (nr == FAILED)
		return NULL;
	if (nr < 0)
		Py_RETURN_NONE;
	return make_rows(&x->fields, x->rings, nr);
}

static int get_held(PyObject *policy, long *held)
{
	scoped PyObject *number = PyObject_GetAttr(policy, nr_held);

	if (!number)
		return -1;
	*held = PyLong_AsLong(number);
	return *held == -1 && PyErr_Occurred() ? -1 : 0;
}

/* The policy's answer to the batch; a new reference. */
static PyObject *decide(struct exchange *x, struct run *r, int nr)
{
	/* Handle a signal that came before, so that it does not interrupt the policy's code. */
	if (PyErr_CheckSignals())
		return NULL;
	PyObject *rows = r->rows == Py_None ? make_rows(&x->fields, x->rings, nr) :
					      PyObject_CallFunction(r->rows, "i", nr);
	if (!rows)
		return NULL;
	int failed = set_of_batch(x->batch, ROWS, rows);

	Py_DECREF(rows);
	if (failed || PyErr_CheckSignals())
		return NULL;
	return PyObject_CallOneArg(r->decide, x->batch);
}

/*
 * Python handles everything that is not simply a list of decisions for one batch:
 * place(flat, rest) returns the decisions to submit in the next cycle, and those for later.
 */
static int place(struct run *r)
{
	scoped PyObject *both = PyObject_CallFunctionObjArgs(r->place, r->flat, r->rest, NULL);
	PyObject *now, *later;

	if (!both || !PyArg_ParseTuple(both, "O!O!", &PyList_Type, &now, &PyList_Type, &later))
		return FAILED;
	Py_SETREF(r->flat, Py_NewRef(now));
	Py_SETREF(r->rest, Py_NewRef(later));
	return 0;
}

/* One cycle and the policy's part of it; 0 to go on, a pyland_cycle_end, or FAILED. */
static int turn(struct exchange *x, struct run *r)
{
	long held;

	if (get_held(r->policy, &held))
		return FAILED;
	int nr = cycle(x, r->flat, held, PyList_GET_SIZE(r->rest) ? 0 : r->cap - held);

	if (nr < 0)
		return nr;
	if (r->tell != Py_None && (x->rings->batch->nr_events ||
				   x->rings->batch->now_ns >= x->quiet_until_ns)) {
		PyObject *told = PyObject_CallNoArgs(r->tell);

		if (!told)
			return FAILED;
		Py_DECREF(told);
	}
	PyObject *flat = nr || held ? decide(x, r, nr) : PyList_New(0);

	if (!flat)
		return FAILED;
	Py_SETREF(r->flat, flat);
	if (PyList_GET_SIZE(r->rest) || PyList_GET_SIZE(r->outgoing) || !PyList_CheckExact(flat) ||
	    PyList_GET_SIZE(flat) >
		    (Py_ssize_t)(x->max_batch - x->rings->nr_backlog) * DECISION_WIDTH ||
	    (PyList_GET_SIZE(flat) && !PyLong_Check(PyList_GET_ITEM(flat, 0))))
		return place(r);
	return 0;
}

static PyObject *exchange_run(struct exchange *x, PyObject *args, PyObject *keywords)
{
	static char *known[] = { "policy", "outgoing", "place", "tell", "rows", "cap", NULL };
	struct run r;
	int end = 0;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "$OO!OOOl", known, &r.policy,
					 &PyList_Type, &r.outgoing, &r.place, &r.tell, &r.rows,
					 &r.cap))
		return NULL;
	r.flat = PyList_New(0);
	r.rest = PyList_New(0);
	r.decide = PyObject_GetAttrString(r.policy, "decide");
	if (!r.flat || !r.rest || !r.decide)
		end = FAILED;
	while (!end)
		end = turn(x, &r);
	/* The next run submits the decisions that did not fit, if the policy is the same. */
	if (end != FAILED && PyList_SetSlice(r.outgoing, 0, 0, r.rest))
		end = FAILED;
	Py_XDECREF(r.flat);
	Py_XDECREF(r.rest);
	Py_XDECREF(r.decide);
	return end == FAILED ? NULL : PyLong_FromLong(end);
}

static PyObject *exchange_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *known[] = { "rings", "batch", "max_batch", "fields", NULL };
	scoped PyObject *made = type->tp_alloc(type, 0);
	struct exchange *x = (struct exchange *)made;
	PyObject *batch;

	if (!x || !PyArg_ParseTupleAndKeywords(args, keywords, "$O&OIO&", known, get_rings,
					       &x->rings, &batch, &x->max_batch, get_fields,
					       &x->fields))
		return NULL;
	if (x->max_batch > x->rings->max_batch) {
		PyErr_Format(PyExc_ValueError, "a batch of %u: the rings have room for %u",
			     x->max_batch, x->rings->max_batch);
		return NULL;
	}
	x->batch = Py_NewRef(batch);
	memset(x->seen, -1, sizeof(x->seen));
	return Py_NewRef(made);
}

static void exchange_dealloc(struct exchange *x)
{
	Py_XDECREF(x->batch);
	Py_XDECREF(x->refused);
	Py_TYPE(x)->tp_free(x);
}

static PyMethodDef exchange_methods[] = {
	{ "cycle", (PyCFunction)exchange_cycle, METH_VARARGS,
	  "Submit, yield, drain; the rows, or None when it is time to stop." },
	{ "run", (PyCFunction)(void (*)(void))exchange_run, METH_VARARGS | METH_KEYWORDS,
	  "Cycles and decisions until something stops them; what it was." },
	{}
};

static PyMemberDef exchange_members[] = {
	{ "refused", T_OBJECT, offsetof(struct exchange, refused), READONLY,
	  "The list that was refused last, or None." },
	{ "quiet_until_ns", T_ULONGLONG, offsetof(struct exchange, quiet_until_ns), 0,
	  "Until then `tell` is called for events only." },
	{}
};

static PyTypeObject exchange_type = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "pyland._native.Exchange",
	.tp_basicsize = sizeof(struct exchange),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_new = exchange_new,
	.tp_dealloc = (destructor)exchange_dealloc,
	.tp_methods = exchange_methods,
	.tp_members = exchange_members,
};

int add_exchange(PyObject *module)
{
	nr_held = PyUnicode_InternFromString("nr_held");
	if (!nr_held || prepare_batch_slots())
		return -1;
	return PyModule_AddType(module, &exchange_type);
}
