// SPDX-License-Identifier: GPL-2.0-only
/*
 * Python's end of a cycle: takes the policy's flat list of decisions, calls
 * pyland_cycle(), and gives back a tuple of fields per record.
 *
 * cffi calls the rest of the C side. Here it is the calls themselves that cost: with
 * struct packing and unpacking through views and cffi's call between them a batch of
 * one took 1.1 us more, and a task of a batch of 64 took 0.2 us more. The interpreter
 * lock is kept: the process has one thread, and a policy that starts others has them
 * run while its own code does.
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
	unsigned int max_batch;
	unsigned int record_size;
	unsigned int nr_fields;
	struct field fields[FIELDS_MAX];
	long long nr, nr_runnable, weight_runnable;	/* as the batch has them */
	int stop;
};

static PyObject *name_nr, *name_nr_runnable, *name_weight_runnable;

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

	if (!number)
		return -1;
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

static PyObject *exchange_cycle(struct exchange *x, PyObject *const *args, Py_ssize_t nr_args)
{
	Py_ssize_t nr_decisions;
	PyObject *rows;
	long held, room;
	int nr;

	if (nr_args != 3 || !PyList_CheckExact(args[0])) {
		PyErr_SetString(PyExc_TypeError, "cycle(list, held, room)");
		return NULL;
	}
	held = PyLong_AsLong(args[1]);
	room = PyLong_AsLong(args[2]);
	if ((held == -1 || room == -1) && PyErr_Occurred())
		return NULL;
	nr_decisions = pack(x, args[0]);
	if (nr_decisions < 0)
		return NULL;
	room = room < 0 ? 0 : room < x->max_batch ? room : x->max_batch;
	nr = x->cycle(x->rings, nr_decisions, held > 0 ? held : 0, room);
	if (nr < 0) {
		x->stop = nr;
		Py_RETURN_NONE;
	}
	/* Mostly they are what they were: setting all three takes 90 ns. */
	if (set_number(x->batch, name_nr, &x->nr, nr) ||
	    set_number(x->batch, name_nr_runnable, &x->nr_runnable, x->memory->nr_runnable) ||
	    set_number(x->batch, name_weight_runnable, &x->weight_runnable,
		       x->memory->weight_runnable))
		return NULL;
	rows = PyList_New(nr);
	if (!rows)
		return NULL;
	for (int i = 0; i < nr; i++) {
		PyObject *tuple = row(x, x->memory->records + (size_t)i * x->record_size);

		if (!tuple) {
			Py_DECREF(rows);
			return NULL;
		}
		PyList_SET_ITEM(rows, i, tuple);
	}
	return rows;
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
	x->nr = x->nr_runnable = x->weight_runnable = -1;
	return 0;
}

static void exchange_dealloc(struct exchange *x)
{
	Py_XDECREF(x->batch);
	Py_TYPE(x)->tp_free(x);
}

static PyMethodDef exchange_methods[] = {
	{ "cycle", (PyCFunction)(void (*)(void))exchange_cycle, METH_FASTCALL,
	  "Submit, yield, drain; the rows, or None when `stop` says why to stop." },
	{}
};

static PyMemberDef exchange_members[] = {
	{ "stop", T_INT, offsetof(struct exchange, stop), READONLY, "A pyland_cycle_end, or 0." },
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
	if (!name_nr || !name_nr_runnable || !name_weight_runnable)
		return NULL;
	m = PyModule_Create(&module);
	if (m && PyModule_AddType(m, &exchange_type)) {
		Py_DECREF(m);
		return NULL;
	}
	return m;
}
