// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way of a batch through a policy that is made of parts: each task goes to its part, the
 * policy of each part decides its tasks, and the answers become one list.
 *
 * All of it costs as much as a policy's own call if it is written in Python: for one task in
 * one of twelve parts 0.7 us, beside 0.57 us of `deadline` (Python 3.11). What is not usual is
 * left to pyland.compose: new tasks, failures, and answers that are more than a decision for
 * each task.
 */
#include "binding.h"

#include <stdbool.h>
#include <structmember.h>

#define ASKED_MAX 32		/* parts of one batch that are noted; else all are looked at */
#define PID_AT 1		/* places in DECISION_FIELDS of pyland.policy */
#define CPU_AT 2
#define KEY_AT 4

enum { NOW_NS, NR, ROWS, NR_HELD, NAMES };

static const char *const spelling[NAMES] = {
	[NOW_NS] = "now_ns",
	[NR] = "nr",
	[ROWS] = "rows",
	[NR_HELD] = "nr_held",
};
static PyObject *names[NAMES], *zero, *cpu_any;

/* The policy of a part at work: the base of pyland.compose.seat.Seat. */
struct seat {
	PyObject_HEAD
	PyObject *policy, *decide, *batch, *pick, *queue, *shift_ns, *outgoing;
	PyObject *last;		/* its last answer, if it is alone */
	PyObject *near;		/* by CPU, the place of a task that ran there; None: `queue` */
	PyObject *home;		/* the CPUs that are its own, a frozenset; for `away_ns` only */
	long long nr_placed, nr_moved, used_ns, away_ns;	/* of near tasks */
	char is_unusual;	/* each of its answers has to be completed */
	Py_ssize_t nr_held;
	Py_ssize_t shown_nr;	/* as the batch has it */
};

/* A part: the base of pyland.compose.place.Place. */
struct place {
	PyObject_HEAD
	PyObject *rows, *seat;
};

struct division {
	PyObject_HEAD
	PyObject *place_by_pid, *newcomers, *in_order;
	PyObject *look, *sort_in, *complete, *without;
	PyObject *batch;	/* that is divided now, or was last */
	Py_ssize_t pid_at, nr_held;
	long long look_due_ns;
	PyObject *cpu_by_pid;	/* where near tasks ran last; they are counted if it is a dict */
	PyObject *nr_allowed;	/* how many CPUs most tasks may use; others are completed */
	Py_ssize_t cpu_at, used_at, allowed_at;	/* the last two only where tasks are counted */
	char is_moving;		/* all answers about near tasks are completed */
	char is_alone;		/* one part has all tasks, and its decisions are the machine's */
};

static PyTypeObject seat_type, place_type;

/* Any number of references; the type is given as that of a member. */
#define VISIT_ALL(self, ...) \
	PyObject *const all[] = { __VA_ARGS__ }; \
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) \
		Py_VISIT(all[i])

static int seat_traverse(struct seat *s, visitproc visit, void *arg)
{
	VISIT_ALL(s, s->policy, s->decide, s->batch, s->pick, s->queue, s->shift_ns, s->outgoing,
		  s->last, s->near, s->home);
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

static int division_traverse(struct division *d, visitproc visit, void *arg)
{
	VISIT_ALL(d, d->place_by_pid, d->newcomers, d->in_order, d->look, d->sort_in, d->complete,
		  d->without, d->batch, d->cpu_by_pid, d->nr_allowed);
	return 0;
}

static int division_clear(struct division *d)
{
	Py_CLEAR(d->place_by_pid);
	Py_CLEAR(d->newcomers);
	Py_CLEAR(d->in_order);
	Py_CLEAR(d->look);
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

static int set_attribute(PyObject *object, int which, PyObject *value)
{
	return PyObject_SetAttr(object, names[which], value);
}

/* How many tasks the policy keeps; -1 with an exception set. */
static Py_ssize_t held_by(PyObject *policy)
{
	scoped PyObject *number = PyObject_GetAttr(policy, names[NR_HELD]);

	return number ? PyLong_AsSsize_t(number) : -1;
}

/* The fields of the rows that the policy reads, in a new list. */
static PyObject *picked(PyObject *rows, PyObject *pick)
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

/* True if the list is a decision for each of @nr tasks, each of them for any CPU. */
static bool is_usual(PyObject *flat, Py_ssize_t nr, bool with_keys)
{
	if (!PyList_CheckExact(flat) || PyList_GET_SIZE(flat) != nr * DECISION_WIDTH)
		return false;
	for (Py_ssize_t at = 0; at < nr * DECISION_WIDTH; at += DECISION_WIDTH) {
		/* Small integers are one object each. */
		if (PyList_GET_ITEM(flat, at + CPU_AT) != cpu_any)
			return false;
		if (with_keys && !PyLong_CheckExact(PyList_GET_ITEM(flat, at + KEY_AT)))
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

/* Gives each decision the place that is near where its task ran last. */
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
		PyList_SetItem(flat, i * DECISION_WIDTH + CPU_AT,
			       Py_NewRef(place ? place : s->queue));
		if (counts && count_near(d, s, row, cpu))
			return -1;
	}
	return 0;
}

/* Gives the decisions of a usual answer their place, if it is one for all, and their keys. */
static int place_usual(PyObject *flat, PyObject *queue, PyObject *shift_ns, bool shifts)
{
	for (Py_ssize_t at = 0; at < PyList_GET_SIZE(flat); at += DECISION_WIDTH) {
		PyObject *key;

		if (queue)
			PyList_SetItem(flat, at + CPU_AT, Py_NewRef(queue));
		if (!shifts)
			continue;
		key = PyNumber_Add(PyList_GET_ITEM(flat, at + KEY_AT), shift_ns);
		if (!key)
			return -1;
		int negative = PyObject_RichCompareBool(key, zero, Py_LT);

		if (negative)
			Py_SETREF(key, Py_NewRef(zero));
		PyList_SetItem(flat, at + KEY_AT, key);
		if (negative < 0)
			return -1;
	}
	return 0;
}

/* The policy's answer about the rows of its part, as decisions for the machine. */
static PyObject *answer(struct division *d, struct place *p, struct seat *s, PyObject *now_ns,
			bool looked)
{
	Py_ssize_t nr = PyList_GET_SIZE(p->rows);
	scoped PyObject *rows = s->pick == Py_None ? Py_NewRef(p->rows) : picked(p->rows, s->pick);
	scoped PyObject *flat = NULL;
	Py_ssize_t held;

	if (s->shown_nr != nr) {
		scoped PyObject *number = PyLong_FromSsize_t(nr);

		if (!number || set_attribute(s->batch, NR, number))
			return NULL;
		s->shown_nr = nr;
	}
	if (!rows || set_attribute(s->batch, NOW_NS, now_ns) || set_attribute(s->batch, ROWS, rows))
		return NULL;
	flat = PyObject_CallOneArg(s->decide, s->batch);
	if (!flat)
		return NULL;
	held = held_by(s->policy);
	if (held == -1 && PyErr_Occurred())
		return NULL;
	bool shifts = s->shift_ns != zero, is_near = s->near && PyDict_CheckExact(s->near);

	if (looked || s->is_unusual || held || PyList_GET_SIZE(s->outgoing) ||
	    !is_usual(flat, nr, shifts) || (is_near && !is_in_order(d, flat, p->rows)))
		return PyObject_CallFunctionObjArgs(d->complete, p, flat, NULL);
	if ((is_near && place_near(d, s, flat, p->rows)) ||
	    place_usual(flat, is_near ? NULL : s->queue, s->shift_ns, shifts))
		return NULL;
	return Py_NewRef(flat);
}

/* The exception that is set; it is set no more. */
static PyObject *raised(void)
{
#if PY_VERSION_HEX >= 0x030c0000
	return PyErr_GetRaisedException();
#else
	scoped PyObject *kind = NULL, *trace = NULL;
	PyObject *error = NULL;

	PyErr_Fetch(&kind, &error, &trace);
	PyErr_NormalizeException(&kind, &error, &trace);
	if (trace)
		PyException_SetTraceback(error, trace);
	return error;
#endif
}

/* What is decided about the part's tasks when its policy has raised this. */
static PyObject *without(struct division *d, struct place *p, PyObject *error, PyObject *now_ns)
{
	return PyObject_CallFunctionObjArgs(d->without, p, error, now_ns, NULL);
}

/* Adds the decisions of a part to those of the parts before it. */
static int join(PyObject **out, PyObject *flat)
{
	if (!*out) {
		*out = Py_NewRef(flat);
		return 0;
	}
	return PyList_SetSlice(*out, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX, flat);
}

static int ask(struct division *d, struct place *p, PyObject *now_ns, bool looked, bool clears,
	       PyObject **out)
{
	if (!p->seat || !p->rows || !PyObject_TypeCheck(p->seat, &seat_type)) {
		PyErr_SetString(PyExc_TypeError, "the part has no policy");
		return -1;
	}
	scoped PyObject *seat = Py_NewRef(p->seat);
	struct seat *s = (struct seat *)seat;
	int failed;

	if (!PyList_GET_SIZE(p->rows) && !s->nr_held)
		return 0;
	scoped PyObject *mine = answer(d, p, s, now_ns, looked);

	if (!mine) {
		scoped PyObject *error = raised();

		mine = without(d, p, error, now_ns);
	}
	if (!mine)
		return -1;
	if (!PyList_CheckExact(mine)) {
		PyErr_SetString(PyExc_TypeError, "the decisions of a part are no list");
		return -1;
	}
	failed = clears ? PyList_SetSlice(p->rows, 0, PY_SSIZE_T_MAX, NULL) : 0;
	return failed ? failed : join(out, mine);
}

/*
 * Takes each row to its place. The places that have rows are noted in @asked; their number, -1
 * if all have to be looked at, -2 with an exception set.
 */
static int divide(struct division *d, PyObject *rows, struct place **asked)
{
	int nr = 0;

	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(rows); i++) {
		PyObject *row = PyList_GET_ITEM(rows, i), *place, *to = d->newcomers;

		if (!PyTuple_Check(row) || d->pid_at >= PyTuple_GET_SIZE(row)) {
			PyErr_SetString(PyExc_TypeError, "a row has no pid");
			return -2;
		}
		place = PyDict_GetItemWithError(d->place_by_pid, PyTuple_GET_ITEM(row, d->pid_at));
		if (!place && PyErr_Occurred())
			return -2;
		if (place) {
			struct place *p = (struct place *)place;

			to = p->rows;
			if (!PyList_GET_SIZE(to) && nr >= 0) {
				if (nr < ASKED_MAX)
					asked[nr++] = p;
				else
					nr = -1;
			}
		}
		if (PyList_Append(to, row))
			return -2;
	}
	return nr;
}

/*
 * A batch of one task: most are, while few tasks wait. Its list is that of the task's place for this
 * call, so nothing is copied. False if it has to go the way of all batches.
 */
static bool decide_one(struct division *d, PyObject *rows, PyObject *now_ns, bool looked,
		       PyObject **out)
{
	PyObject *row = PyList_GET_ITEM(rows, 0), *place, *own;

	if (d->nr_held || !PyTuple_Check(row) || d->pid_at >= PyTuple_GET_SIZE(row))
		return false;
	place = PyDict_GetItem(d->place_by_pid, PyTuple_GET_ITEM(row, d->pid_at));
	if (!place)
		return false;
	scoped PyObject *kept = Py_NewRef(place);
	struct place *p = (struct place *)kept;

	own = p->rows;
	p->rows = rows;
	if (ask(d, p, now_ns, looked, false, out))
		Py_CLEAR(*out);
	p->rows = own;
	return true;
}

/* The batch of the only part. */
static PyObject *decide_alone(struct division *d, PyObject *batch)
{
	struct place *p = (struct place *)PyList_GET_ITEM(d->in_order, 0);
	scoped PyObject *seat = Py_NewRef(p->seat);
	struct seat *s = (struct seat *)seat;

	if (s->pick != Py_None) {
		scoped PyObject *all = PyObject_GetAttr(batch, names[ROWS]);
		scoped PyObject *rows = all ? PySequence_List(all) : NULL;
		scoped PyObject *mine = rows ? picked(rows, s->pick) : NULL;

		if (!mine || set_attribute(batch, ROWS, mine))
			return NULL;
	}
	PyObject *flat = PyObject_CallOneArg(s->decide, batch);
	Py_ssize_t held = flat ? held_by(s->policy) : 0;

	if (flat && PyList_CheckExact(flat) && held == d->nr_held) {
		if (PyList_GET_SIZE(flat))
			Py_XSETREF(s->last, Py_NewRef(flat));
		return flat;
	}
	if (flat && !(held == -1 && PyErr_Occurred()))
		Py_SETREF(flat, PyObject_CallFunctionObjArgs(d->complete, p, flat, NULL));
	else
		Py_CLEAR(flat);
	if (flat)
		return flat;
	/* The time is asked for without the exception, which is to be told of. */
	scoped PyObject *error = raised();
	scoped PyObject *now_ns = PyObject_GetAttr(batch, names[NOW_NS]);

	return now_ns ? without(d, p, error, now_ns) : NULL;
}

static PyObject *division_decide(struct division *d, PyObject *batch)
{
	struct place *asked[ASKED_MAX];
	PyObject *out = NULL;
	int nr;

	if (d->batch != batch)
		Py_XSETREF(d->batch, Py_NewRef(batch));
	if (d->is_alone)
		return decide_alone(d, batch);
	scoped PyObject *now_ns = PyObject_GetAttr(batch, names[NOW_NS]);
	long long time_ns = now_ns ? PyLong_AsLongLong(now_ns) : -1;

	if (time_ns == -1 && PyErr_Occurred())
		return NULL;
	bool looks = time_ns >= d->look_due_ns;

	if (looks) {
		scoped PyObject *looked = PyObject_CallOneArg(d->look, now_ns);

		if (!looked)
			return NULL;
	}
	scoped PyObject *all = PyObject_GetAttr(batch, names[ROWS]);
	scoped PyObject *rows = !all || PyList_CheckExact(all) ? Py_XNewRef(all) :
								  PySequence_List(all);

	if (!rows)
		return NULL;
	if (PyList_GET_SIZE(rows) == 1 && decide_one(d, rows, now_ns, looks, &out))
		return out;
	nr = divide(d, rows, asked);
	if (nr == -2)
		return NULL;
	if (PyList_GET_SIZE(d->newcomers)) {
		scoped PyObject *sorted = PyObject_CallOneArg(d->sort_in, batch);

		if (!sorted)
			return NULL;
		nr = -1;
	}
	scoped PyObject *every = Py_NewRef(d->in_order);

	if (nr < 0 || d->nr_held) {
		for (Py_ssize_t i = 0; i < PyList_GET_SIZE(every); i++)
			if (ask(d, (struct place *)PyList_GET_ITEM(every, i), now_ns, looks, true,
				&out))
				goto failed;
	} else {
		/* `every` has them, too: they are there until the end of the call. */
		for (int i = 0; i < nr; i++)
			if (ask(d, asked[i], now_ns, looks, true, &out))
				goto failed;
	}
	return out ? out : PyList_New(0);
failed:
	Py_XDECREF(out);
	return NULL;
}

static int division_init(struct division *d, PyObject *args, PyObject *keywords)
{
	static char *known[] = { "place_by_pid", "newcomers", "in_order", "look",
				 "sort_in", "complete", "without", "is_alone", NULL };
	PyObject *by_pid, *newcomers, *in_order, *look, *sort_in, *complete, *without;
	int is_alone;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "$O!O!O!OOOOp", known, &PyDict_Type, &by_pid,
					 &PyList_Type, &newcomers, &PyList_Type, &in_order, &look,
					 &sort_in, &complete, &without, &is_alone))
		return -1;
	if (!PyList_GET_SIZE(in_order)) {
		PyErr_SetString(PyExc_ValueError, "there are no parts");
		return -1;
	}
	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(in_order); i++)
		if (!PyObject_TypeCheck(PyList_GET_ITEM(in_order, i), &place_type)) {
			PyErr_SetString(PyExc_TypeError, "a part is no Place");
			return -1;
		}
	Py_XSETREF(d->place_by_pid, Py_NewRef(by_pid));
	Py_XSETREF(d->newcomers, Py_NewRef(newcomers));
	Py_XSETREF(d->in_order, Py_NewRef(in_order));
	Py_XSETREF(d->look, Py_NewRef(look));
	Py_XSETREF(d->sort_in, Py_NewRef(sort_in));
	Py_XSETREF(d->complete, Py_NewRef(complete));
	Py_XSETREF(d->without, Py_NewRef(without));
	d->is_alone = is_alone;
	return 0;
}

#define MEMBER(type, kind, name, doc) { #name, kind, offsetof(struct type, name), 0, doc }

static PyMemberDef seat_members[] = {
	MEMBER(seat, T_OBJECT_EX, policy, "The policy."),
	MEMBER(seat, T_OBJECT_EX, decide, "Its decide()."),
	MEMBER(seat, T_OBJECT_EX, batch, "What it is shown."),
	MEMBER(seat, T_OBJECT_EX, pick, "Where the policy's fields are in a row, or None."),
	MEMBER(seat, T_OBJECT_EX, queue, "The place of its tasks, unless it is unusual."),
	MEMBER(seat, T_OBJECT_EX, shift_ns, "What is added to its keys."),
	MEMBER(seat, T_OBJECT_EX, outgoing, "What it has dispatched."),
	MEMBER(seat, T_OBJECT, last, "Its last answer, if it is alone."),
	MEMBER(seat, T_OBJECT, near, "By CPU, the place of its tasks that ran there; None: queue."),
	MEMBER(seat, T_OBJECT, home, "The part's own CPUs, a frozenset."),
	MEMBER(seat, T_LONGLONG, nr_placed, "How many tasks were placed by `near`."),
	MEMBER(seat, T_LONGLONG, nr_moved, "How many of these had run on another CPU before."),
	MEMBER(seat, T_LONGLONG, used_ns, "CPU time of these."),
	MEMBER(seat, T_LONGLONG, away_ns, "The part of it on CPUs that are not in `home`."),
	MEMBER(seat, T_BOOL, is_unusual, "True if each of its answers has to be completed."),
	MEMBER(seat, T_PYSSIZET, nr_held, "How many tasks it keeps."),
	{}
};

static PyMemberDef place_members[] = {
	MEMBER(place, T_OBJECT_EX, rows, "What its policy has not been shown yet."),
	MEMBER(place, T_OBJECT_EX, seat, "Its policy at work."),
	{}
};

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

#define FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC)

static PyTypeObject seat_type = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "pyland._native.DivisionSeat",
	.tp_basicsize = sizeof(struct seat),
	.tp_flags = FLAGS | Py_TPFLAGS_BASETYPE,
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
	.tp_flags = FLAGS | Py_TPFLAGS_BASETYPE,
	.tp_new = PyType_GenericNew,
	.tp_traverse = (traverseproc)place_traverse,
	.tp_clear = (inquiry)place_clear,
	.tp_dealloc = (destructor)place_dealloc,
	.tp_members = place_members,
};

static PyTypeObject division_type = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "pyland._native.Division",
	.tp_basicsize = sizeof(struct division),
	.tp_flags = FLAGS,
	.tp_new = PyType_GenericNew,
	.tp_init = (initproc)division_init,
	.tp_traverse = (traverseproc)division_traverse,
	.tp_clear = (inquiry)division_clear,
	.tp_dealloc = (destructor)division_dealloc,
	.tp_methods = division_methods,
	.tp_members = division_members,
};

int add_division(PyObject *module)
{
	for (int i = 0; i < NAMES; i++) {
		names[i] = PyUnicode_InternFromString(spelling[i]);
		if (!names[i])
			return -1;
	}
	zero = PyLong_FromLong(0);
	cpu_any = PyLong_FromLong(-1);
	if (!zero || !cpu_any)
		return -1;
	if (PyModule_AddType(module, &seat_type) || PyModule_AddType(module, &place_type))
		return -1;
	return PyModule_AddType(module, &division_type);
}
