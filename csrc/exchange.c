// SPDX-License-Identifier: GPL-2.0-only
/*
 * Python's end of the dispatch loop: hands the policy a tuple of fields per record, takes
 * its flat list of decisions, and calls pyland_cycle() between the two.
 *
 * cffi calls the rest of the C side. Here the calls themselves are what costs. For a batch
 * of one, the user-space instructions of a cycle with its policy (callgrind, deadline, Python
 * 3.11) were 17,500 with struct and cffi, 11,700 with cycle() below and the loop in Python,
 * and are 10,100 with run(). The interpreter lock is kept: the process has one thread, and a
 * policy that starts others has them run while its own code does.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "pyland_native.h"

#define WIDTH 7		/* integers of a decision, in the order of DECISION_FIELDS */
#define FIELDS_MAX 32

typedef int (*cycle_function)(struct pyland_rings *r, unsigned int nr_decisions,
			      unsigned int nr_held, unsigned int max_records);

struct field {
	unsigned int offset;
	char code;		/* as struct has it: i, I, Q, or s for 16 bytes */
};

struct exchange {
	PyObject_HEAD
	cycle_function cycle;
	struct pyland_rings *rings;
	struct pyland_batch *memory;
	struct pyland_decision *decisions;
	PyObject *batch;	/* the pyland.policy.Batch that the policy sees */
	PyObject *flat;		/* the list that was refused last, for who reports it */
	unsigned int max_batch;
	unsigned int record_size;
	unsigned int nr_fields;
	struct field fields[FIELDS_MAX];
	long long nr, nr_runnable, weight_runnable, now_ns;	/* as the batch has them */
	int stop;
};

static PyObject *name_nr, *name_nr_runnable, *name_weight_runnable, *name_now_ns, *name_rows,
		*name_nr_held;

static int set_number(PyObject *batch, PyObject *name, long long *seen, long long value)
{
	PyObject *number;
	int failed;

	if (*seen == value)
		return 0;
	number = PyLong_FromLongLong(value);
	if (!number)
		return -1;
	failed = PyObject_SetAttr(batch, name, number);
	Py_DECREF(number);
	if (!failed)
		*seen = value;
	return failed;
}

/*
 * An integer of the list; what only knows how to become one (NumPy's scalars) is converted,
 * and may do anything meanwhile, even change the list: so it is looked at anew each time.
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

/* Packs the flat list; how many decisions it has, or -1 with an exception set. */
static Py_ssize_t pack(struct exchange *x, PyObject *flat)
{
	Py_ssize_t nr = PyList_GET_SIZE(flat);

	if (nr % WIDTH || nr / WIDTH > x->max_batch) {
		PyErr_Format(PyExc_ValueError, "%zd numbers are no decisions of %d each, at most %u",
			     nr, WIDTH, x->max_batch);
		return -1;
	}
	for (Py_ssize_t i = 0; i < nr; i += WIDTH) {
		struct pyland_decision *d = &x->decisions[i / WIDTH];

		if (get_unsigned(flat, nr, i, &d->seq) || get_int(flat, nr, i + 1, &d->pid) ||
		    get_int(flat, nr, i + 2, &d->cpu) ||
		    get_unsigned(flat, nr, i + 3, &d->slice_ns) ||
		    get_unsigned(flat, nr, i + 4, &d->vtime_ns) ||
		    get_unsigned(flat, nr, i + 5, &d->state) ||
		    get_unsigned(flat, nr, i + 6, &d->flags))
			return -1;
	}
	return nr / WIDTH;
}

static PyObject *row(const struct exchange *x, const char *record)
{
	PyObject *tuple = PyTuple_New(x->nr_fields);

	if (!tuple)
		return NULL;
	for (unsigned int i = 0; i < x->nr_fields; i++) {
		const char *at = record + x->fields[i].offset;
		PyObject *value;

		switch (x->fields[i].code) {
		case 'Q':
			value = PyLong_FromUnsignedLongLong(*(const unsigned long long *)at);
			break;
		case 'i':
			value = PyLong_FromLong(*(const int *)at);
			break;
		case 'I':
			value = PyLong_FromUnsignedLong(*(const unsigned int *)at);
			break;
		default:
			value = PyBytes_FromStringAndSize(at, PYLAND_COMM_LEN);
		}
		if (!value) {
			Py_DECREF(tuple);
			return NULL;
		}
		PyTuple_SET_ITEM(tuple, i, value);
	}
	return tuple;
}

/* The rows of what was drained. */
static PyObject *make_rows(struct exchange *x, int nr)
{
	PyObject *rows = PyList_New(nr);

	for (int i = 0; rows && i < nr; i++) {
		PyObject *tuple = row(x, x->memory->records + (size_t)i * x->record_size);

		if (tuple)
			PyList_SET_ITEM(rows, i, tuple);
		else
			Py_CLEAR(rows);
	}
	return rows;
}

/* How many records there are, a pyland_cycle_end, or FAILED with an exception set. */
#define FAILED (-1000)

static int cycle(struct exchange *x, PyObject *flat, long held, long room)
{
	Py_ssize_t nr_decisions = pack(x, flat);
	int nr;

	if (nr_decisions < 0) {
		Py_XSETREF(x->flat, Py_NewRef(flat));
		return FAILED;
	}
	room = room < 0 ? 0 : room < x->max_batch ? room : x->max_batch;
	nr = x->cycle(x->rings, nr_decisions, held > 0 ? held : 0, room);
	if (nr < 0)
		return nr;
	/* Mostly they are what they were. */
	if (set_number(x->batch, name_nr, &x->nr, nr) ||
	    set_number(x->batch, name_nr_runnable, &x->nr_runnable, x->memory->nr_runnable) ||
	    set_number(x->batch, name_weight_runnable, &x->weight_runnable,
		       x->memory->weight_runnable) ||
	    set_number(x->batch, name_now_ns, &x->now_ns, x->memory->now_ns))
		return FAILED;
	return nr;
}

static PyObject *exchange_cycle(struct exchange *x, PyObject *args)
{
	PyObject *flat;
	long held, room;
	int nr;

	if (!PyArg_ParseTuple(args, "O!ll", &PyList_Type, &flat, &held, &room))
		return NULL;
	nr = cycle(x, flat, held, room);
	if (nr == FAILED)
		return NULL;
	if (nr < 0) {
		x->stop = nr;
		Py_RETURN_NONE;
	}
	return make_rows(x, nr);
}

static int get_held(PyObject *policy, long *held)
{
	PyObject *number = PyObject_GetAttr(policy, name_nr_held);

	if (!number)
		return -1;
	*held = PyLong_AsLong(number);
	Py_DECREF(number);
	return *held == -1 && PyErr_Occurred() ? -1 : 0;
}

/*
 * What is not simply a list of a batch's decisions goes through Python: place(flat, rest)
 * returns what to submit now, and what next time.
 */
static int place(PyObject *with, PyObject **flat, PyObject **rest)
{
	PyObject *both = PyObject_CallFunctionObjArgs(with, *flat, *rest, NULL);
	PyObject *now, *later;

	if (!both)
		return -1;
	if (!PyArg_ParseTuple(both, "O!O!", &PyList_Type, &now, &PyList_Type, &later)) {
		Py_DECREF(both);
		return -1;
	}
	Py_SETREF(*flat, Py_NewRef(now));
	Py_SETREF(*rest, Py_NewRef(later));
	Py_DECREF(both);
	return 0;
}

/* Whether the loop goes on: 0, a pyland_cycle_end, or FAILED. */
static int turn(struct exchange *x, PyObject *policy, PyObject *decide, PyObject *pending,
		PyObject *with, PyObject *tell, PyObject *lazy, long cap, PyObject **flat,
		PyObject **rest)
{
	PyObject *rows, *done;
	long held;
	int nr, failed;

	if (get_held(policy, &held))
		return FAILED;
	nr = cycle(x, *flat, held, PyList_GET_SIZE(*rest) ? 0 : cap - held);
	if (nr < 0)
		return nr;
	if (tell != Py_None) {
		done = PyObject_CallNoArgs(tell);
		if (!done)
			return FAILED;
		Py_DECREF(done);
	}
	if (nr || held) {
		/* A signal that came outside the policy's code must not be seen inside it. */
		if (PyErr_CheckSignals())
			return FAILED;
		rows = lazy == Py_None ? make_rows(x, nr) : PyObject_CallFunction(lazy, "i", nr);
		if (!rows)
			return FAILED;
		failed = PyObject_SetAttr(x->batch, name_rows, rows);
		Py_DECREF(rows);
		if (failed || PyErr_CheckSignals())
			return FAILED;
		done = PyObject_CallOneArg(decide, x->batch);
	} else {
		done = PyList_New(0);
	}
	if (!done)
		return FAILED;
	Py_SETREF(*flat, done);
	if (PyList_GET_SIZE(*rest) || PyList_GET_SIZE(pending) || !PyList_CheckExact(done) ||
	    PyList_GET_SIZE(done) > (Py_ssize_t)x->max_batch * WIDTH ||
	    (PyList_GET_SIZE(done) && !PyLong_Check(PyList_GET_ITEM(done, 0))))
		return place(with, flat, rest) ? FAILED : 0;
	return 0;
}

static PyObject *exchange_run(struct exchange *x, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "policy", "pending", "place", "tell", "rows", "cap", NULL };
	PyObject *policy, *pending, *with, *tell, *lazy, *decide;
	PyObject *flat, *rest;
	int next = 0;
	long cap;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "$OO!OOOl", names, &policy, &PyList_Type,
					 &pending, &with, &tell, &lazy, &cap))
		return NULL;
	flat = PyList_New(0);
	rest = PyList_New(0);
	decide = PyObject_GetAttrString(policy, "decide");
	if (!flat || !rest || !decide)
		next = FAILED;
	while (!next)
		next = turn(x, policy, decide, pending, with, tell, lazy, cap, &flat, &rest);
	Py_XDECREF(flat);
	Py_XDECREF(rest);
	Py_XDECREF(decide);
	return next == FAILED ? NULL : PyLong_FromLong(next);
}

static int exchange_init(struct exchange *x, PyObject *args, PyObject *keywords)
{
	static char *names[] = { "cycle", "rings", "memory", "decisions", "batch", "max_batch",
				 "record_size", "fields", NULL };
	unsigned long long cycle, rings, memory, decisions;
	PyObject *batch, *fields;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "$KKKKOIIO!", names, &cycle, &rings,
					 &memory, &decisions, &batch, &x->max_batch,
					 &x->record_size, &PyTuple_Type, &fields))
		return -1;
	if (PyTuple_GET_SIZE(fields) > FIELDS_MAX) {
		PyErr_Format(PyExc_ValueError, "at most %d fields", FIELDS_MAX);
		return -1;
	}
	x->nr_fields = 0;
	for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(fields); i++) {
		struct field *f = &x->fields[i];
		int code;

		if (!PyArg_ParseTuple(PyTuple_GET_ITEM(fields, i), "IC", &f->offset, &code))
			return -1;
		if (code != 'i' && code != 'I' && code != 'Q' && code != 's') {
			PyErr_Format(PyExc_ValueError, "no field is of kind %c", code);
			return -1;
		}
		f->code = code;
		if (f->offset + (code == 'Q' ? 8 : code == 's' ? PYLAND_COMM_LEN : 4) >
		    x->record_size) {
			PyErr_SetString(PyExc_ValueError, "a field beyond the record's end");
			return -1;
		}
	}
	x->nr_fields = PyTuple_GET_SIZE(fields);
	x->cycle = (cycle_function)(uintptr_t)cycle;
	x->rings = (void *)(uintptr_t)rings;
	x->memory = (void *)(uintptr_t)memory;
	x->decisions = (void *)(uintptr_t)decisions;
	Py_XSETREF(x->batch, Py_NewRef(batch));
	x->nr = x->nr_runnable = x->weight_runnable = x->now_ns = -1;
	return 0;
}

static void exchange_dealloc(struct exchange *x)
{
	Py_XDECREF(x->batch);
	Py_XDECREF(x->flat);
	Py_TYPE(x)->tp_free(x);
}

static PyMethodDef exchange_methods[] = {
	{ "cycle", (PyCFunction)exchange_cycle, METH_VARARGS,
	  "Submit, yield, drain; the rows, or None when `stop` says why to stop." },
	{ "run", (PyCFunction)(void (*)(void))exchange_run, METH_VARARGS | METH_KEYWORDS,
	  "Cycles and decisions until something stops them; what it was." },
	{}
};

static PyMemberDef exchange_members[] = {
	{ "stop", T_INT, offsetof(struct exchange, stop), READONLY, "A pyland_cycle_end, or 0." },
	{ "flat", T_OBJECT, offsetof(struct exchange, flat), READONLY, "What was refused, or None." },
	{}
};

static PyTypeObject exchange_type = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "pyland.kernel._exchange.Exchange",
	.tp_basicsize = sizeof(struct exchange),
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_new = PyType_GenericNew,
	.tp_init = (initproc)exchange_init,
	.tp_dealloc = (destructor)exchange_dealloc,
	.tp_methods = exchange_methods,
	.tp_members = exchange_members,
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_exchange",
	.m_size = -1,
};

PyMODINIT_FUNC PyInit__exchange(void)
{
	PyObject *m;

	name_nr = PyUnicode_InternFromString("nr");
	name_nr_runnable = PyUnicode_InternFromString("nr_runnable");
	name_weight_runnable = PyUnicode_InternFromString("weight_runnable");
	name_now_ns = PyUnicode_InternFromString("now_ns");
	name_rows = PyUnicode_InternFromString("rows");
	name_nr_held = PyUnicode_InternFromString("nr_held");
	if (!name_nr || !name_nr_runnable || !name_weight_runnable || !name_now_ns || !name_rows ||
	    !name_nr_held)
		return NULL;
	m = PyModule_Create(&module);
	if (m && PyModule_AddType(m, &exchange_type)) {
		Py_DECREF(m);
		return NULL;
	}
	return m;
}
