// SPDX-License-Identifier: GPL-2.0-only
/* A division as a type of Python, and its parts as types that pyland.compose derives from. */
#include "division.h"

static int seat_traverse(struct seat *s, visitproc visit, void *arg)
{
	VISIT_ALL(s, s->policy, s->decide, s->batch, s->pick, s->queue, s->shift_ns, s->outgoing,
		  s->places, s->cpus, s->last, s->near, s->home);
	return 0;
}

static int seat_clear(struct seat *s)
{
	Py_CLEAR(s->policy);
	Py_CLEAR(s->decide);
	Py_CLEAR(s->batch);
	Py_CLEAR(s->pick);
	Py_CLEAR(s->queue);
	Py_CLEAR(s->shift_ns);
	Py_CLEAR(s->outgoing);
	Py_CLEAR(s->places);
	Py_CLEAR(s->cpus);
	Py_CLEAR(s->last);
	Py_CLEAR(s->near);
	Py_CLEAR(s->home);
	return 0;
}

static void seat_dealloc(struct seat *s)
{
	PyObject_GC_UnTrack(s);
	seat_clear(s);
	Py_TYPE(s)->tp_free(s);
}

static int place_traverse(struct place *p, visitproc visit, void *arg)
{
	VISIT_ALL(p, p->rows, p->seat);
	return 0;
}

static int place_clear(struct place *p)
{
	Py_CLEAR(p->rows);
	Py_CLEAR(p->seat);
	return 0;
}

static void place_dealloc(struct place *p)
{
	PyObject_GC_UnTrack(p);
	place_clear(p);
	Py_TYPE(p)->tp_free(p);
}

static PyMemberDef seat_members[] = {
	MEMBER(seat, T_OBJECT_EX, policy, "The policy."),
	MEMBER(seat, T_OBJECT_EX, decide, "Its decide()."),
	MEMBER(seat, T_OBJECT_EX, batch, "What it is shown."),
	MEMBER(seat, T_OBJECT_EX, pick, "Where the policy's fields are in a row, or None."),
	MEMBER(seat, T_OBJECT_EX, queue, "The place of its tasks, unless it is unusual."),
	MEMBER(seat, T_OBJECT_EX, shift_ns, "What is added to its keys."),
	MEMBER(seat, T_OBJECT_EX, outgoing, "What it has dispatched."),
	MEMBER(seat, T_OBJECT, last, "The first decision of its last answer, if that was a usual one."),
	MEMBER(seat, T_OBJECT_EX, places, "By the domain of its decision, that of the machine."),
	MEMBER(seat, T_OBJECT_EX, cpus, "By the CPU of its decision, the same if it may use it."),
	MEMBER(seat, T_OBJECT, near, "By CPU, the place of its tasks that ran there; None: queue."),
	MEMBER(seat, T_OBJECT, home, "The part's own CPUs, a frozenset."),
	MEMBER(seat, T_LONGLONG, nr_placed, "How many tasks were placed by `near`."),
	MEMBER(seat, T_LONGLONG, nr_moved, "How many of these had run on another CPU before."),
	MEMBER(seat, T_LONGLONG, used_ns, "CPU time of these."),
	MEMBER(seat, T_LONGLONG, away_ns, "The part of it on CPUs that are not in `home`."),
	MEMBER(seat, T_LONGLONG, least_ns, "The lowest key that its tasks may have."),
	MEMBER(seat, T_LONGLONG, most_ns, "The highest one; 0: any."),
	MEMBER(seat, T_LONGLONG, from_ns, "The key of its policy from which `rate` holds."),
	MEMBER(seat, T_LONGLONG, rate, "How fast its keys grow from there, by 2**32; 0: as they do."),
	MEMBER(seat, T_LONGLONG, begins_at_ns, "The key of its next decision; 0: any."),
	MEMBER(seat, T_LONGLONG, check_due_ns, "When its next answer is completed."),
	MEMBER(seat, T_BOOL, is_unusual, "True if each of its answers has to be completed."),
	MEMBER(seat, T_PYSSIZET, nr_held, "How many tasks it keeps."),
	{}
};

static PyMemberDef place_members[] = {
	MEMBER(place, T_OBJECT_EX, rows, "What its policy has not been shown yet."),
	MEMBER(place, T_OBJECT_EX, seat, "Its policy at work."),
	MEMBER(place, T_BOOL, sleeps, "True if wake() is called before its next task is decided."),
	{}
};

PyTypeObject seat_type = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "pyland._native.DivisionSeat",
	.tp_basicsize = sizeof(struct seat),
	.tp_flags = GC_FLAGS | Py_TPFLAGS_BASETYPE,
	.tp_new = PyType_GenericNew,
	.tp_traverse = (traverseproc)seat_traverse,
	.tp_clear = (inquiry)seat_clear,
	.tp_dealloc = (destructor)seat_dealloc,
	.tp_members = seat_members,
};

static PyTypeObject place_type = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "pyland._native.DivisionPlace",
	.tp_basicsize = sizeof(struct place),
	.tp_flags = GC_FLAGS | Py_TPFLAGS_BASETYPE,
	.tp_new = PyType_GenericNew,
	.tp_traverse = (traverseproc)place_traverse,
	.tp_clear = (inquiry)place_clear,
	.tp_dealloc = (destructor)place_dealloc,
	.tp_members = place_members,
};

static int division_traverse(struct division *d, visitproc visit, void *arg)
{
	VISIT_ALL(d, d->place_by_pid, d->newcomers, d->in_order, d->look, d->wake, d->sort_in,
		  d->complete, d->without, d->batch, d->cpu_by_pid, d->nr_allowed);
	return 0;
}

static int division_clear(struct division *d)
{
	Py_CLEAR(d->place_by_pid);
	Py_CLEAR(d->newcomers);
	Py_CLEAR(d->in_order);
	Py_CLEAR(d->look);
	Py_CLEAR(d->wake);
	Py_CLEAR(d->sort_in);
	Py_CLEAR(d->complete);
	Py_CLEAR(d->without);
	Py_CLEAR(d->batch);
	Py_CLEAR(d->cpu_by_pid);
	Py_CLEAR(d->nr_allowed);
	return 0;
}

static void division_dealloc(struct division *d)
{
	PyObject_GC_UnTrack(d);
	division_clear(d);
	Py_TYPE(d)->tp_free(d);
}

static PyObject *division_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *known[] = { "place_by_pid", "newcomers", "in_order", "look", "wake",
				 "sort_in", "complete", "without", "is_alone", NULL };
	PyObject *by_pid, *newcomers, *in_order, *look, *wake, *sort_in, *complete, *without;
	int is_alone;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "$O!O!O!OOOOOp", known, &PyDict_Type, &by_pid,
					 &PyList_Type, &newcomers, &PyList_Type, &in_order, &look,
					 &wake, &sort_in, &complete, &without, &is_alone))
		return NULL;
	if (!PyList_GET_SIZE(in_order)) {
		PyErr_SetString(PyExc_ValueError, "there are no parts");
		return NULL;
	}
	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(in_order); i++)
		if (!PyObject_TypeCheck(PyList_GET_ITEM(in_order, i), &place_type)) {
			PyErr_SetString(PyExc_TypeError, "a part is no Place");
			return NULL;
		}
	scoped PyObject *made = type->tp_alloc(type, 0);
	struct division *d = (struct division *)made;

	if (!d)
		return NULL;
	d->place_by_pid = Py_NewRef(by_pid);
	d->newcomers = Py_NewRef(newcomers);
	d->in_order = Py_NewRef(in_order);
	d->look = Py_NewRef(look);
	d->wake = Py_NewRef(wake);
	d->sort_in = Py_NewRef(sort_in);
	d->complete = Py_NewRef(complete);
	d->without = Py_NewRef(without);
	d->is_alone = is_alone;
	return Py_NewRef(made);
}

static PyMemberDef division_members[] = {
	MEMBER(division, T_OBJECT, batch, "The batch of this call, or of the last one."),
	MEMBER(division, T_PYSSIZET, pid_at, "Where a row has the pid."),
	MEMBER(division, T_PYSSIZET, nr_held, "How many tasks all parts keep."),
	MEMBER(division, T_LONGLONG, look_due_ns, "When look() is called next."),
	MEMBER(division, T_OBJECT, cpu_by_pid, "Where near tasks ran last; None: not counted."),
	MEMBER(division, T_OBJECT, nr_allowed, "How many CPUs tasks may use that are not special."),
	MEMBER(division, T_PYSSIZET, cpu_at, "Where a row has the CPU."),
	MEMBER(division, T_PYSSIZET, used_at, "Where it has the CPU time."),
	MEMBER(division, T_PYSSIZET, allowed_at, "Where it has the number of CPUs."),
	MEMBER(division, T_BOOL, is_moving, "True if all answers about near tasks are completed."),
	MEMBER(division, T_BOOL, is_alone, "True if one part has all tasks."),
	{}
};

static PyMethodDef division_methods[] = {
	{ "decide", (PyCFunction)division_decide, METH_O, "The decisions of all parts." },
	{}
};

static PyTypeObject division_type = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "pyland._native.Division",
	.tp_basicsize = sizeof(struct division),
	.tp_flags = GC_FLAGS,
	.tp_new = division_new,
	.tp_traverse = (traverseproc)division_traverse,
	.tp_clear = (inquiry)division_clear,
	.tp_dealloc = (destructor)division_dealloc,
	.tp_methods = division_methods,
	.tp_members = division_members,
};

int add_division(PyObject *module)
{
	if (prepare_division() || prepare_answers() || PyModule_AddType(module, &seat_type) ||
	    PyModule_AddType(module, &place_type))
		return -1;
	return PyModule_AddType(module, &division_type);
}
