// SPDX-License-Identifier: GPL-2.0-only
/*
 * The way of a batch through a policy that is made of parts: each task goes to its part, the
 * policy of each part decides its tasks, and the answers become one list.
 *
 * All of it costs as much as a policy's own call if it is written in Python: for one task in one of
 * twelve parts 0.7 us, beside 0.57 us of `deadline` (Python 3.11). What is not usual is left to
 * pyland.compose: new tasks, failures, and answers that are more than a decision for each task.
 */
#include "division.h"

#define ASKED_MAX 32		/* parts of one batch that are noted; else all are looked at */
#define CHECK_NS 500000000	/* a part's keys are compared with those of others at most so often */

static PyObject *nr_held;	/* the name of that attribute of a policy */

/* How many tasks the policy keeps; -1 with an exception set. */
static Py_ssize_t held_by(PyObject *policy)
{
	scoped PyObject *number = PyObject_GetAttr(policy, nr_held);

	return number ? PyLong_AsSsize_t(number) : -1;
}

/* The policy's answer about the rows of its part, as decisions for the machine. */
static PyObject *answer(struct division *d, struct place *p, struct seat *s, PyObject *now_ns)
{
	Py_ssize_t nr = PyList_GET_SIZE(p->rows);
	scoped PyObject *rows = s->pick == Py_None ? Py_NewRef(p->rows) : picked_fields(p->rows, s->pick);
	scoped PyObject *flat = NULL;
	Py_ssize_t held;

	if (s->shown_nr != nr) {
		scoped PyObject *number = PyLong_FromSsize_t(nr);

		if (!number || set_of_batch(s->batch, NR_RECORDS, number))
			return NULL;
		s->shown_nr = nr;
	}
	if (!rows || set_of_batch(s->batch, NOW_NS, now_ns) || set_of_batch(s->batch, ROWS, rows))
		return NULL;
	flat = PyObject_CallOneArg(s->decide, s->batch);
	if (!flat)
		return NULL;
	held = held_by(s->policy);
	if (held == -1 && PyErr_Occurred())
		return NULL;
	/* A part with a range of keys needs no comparison. */
	bool checks = !s->most_ns && d->now_ns >= s->check_due_ns;

	if (!checks && !s->is_unusual && !held && !PyList_GET_SIZE(s->outgoing)) {
		scoped PyObject *placed = placed_answer(d, s, flat, p->rows);

		if (placed && placed != Py_None)
			Py_XSETREF(s->last, PyList_GetSlice(placed, 0, DECISION_WIDTH));
		if (placed != Py_None)
			return Py_XNewRef(placed);
	}
	s->check_due_ns = d->now_ns + CHECK_NS;
	return PyObject_CallFunctionObjArgs(d->complete, p, flat, NULL);
}

/* Takes the exception that is set: after this call none is. */
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

/* The decisions for the part's tasks after its policy has raised @error. */
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

static int ask(struct division *d, struct place *p, PyObject *now_ns, bool clears, PyObject **out)
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
	if (p->sleeps) {
		scoped PyObject *woken = PyObject_CallFunctionObjArgs(d->wake, p, now_ns, NULL);

		if (!woken)
			return -1;
	}
	scoped PyObject *mine = answer(d, p, s, now_ns);

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
 * Decides a batch of one task; while few tasks wait, most batches are of this kind. During the call
 * the task's part has the batch's list as its own, so nothing is copied. False if the batch has to
 * be divided as any other.
 */
static bool decide_one(struct division *d, PyObject *rows, PyObject *now_ns, PyObject **out)
{
	PyObject *row = PyList_GET_ITEM(rows, 0), *place, *own;

	if (d->nr_held || !PyTuple_Check(row) || d->pid_at >= PyTuple_GET_SIZE(row))
		return false;
	place = PyDict_GetItemWithError(d->place_by_pid, PyTuple_GET_ITEM(row, d->pid_at));
	if (!place)
		return PyErr_Clear(), false;	/* what is no row is refused with the others */
	scoped PyObject *kept = Py_NewRef(place);
	struct place *p = (struct place *)kept;

	own = p->rows;
	p->rows = rows;
	if (ask(d, p, now_ns, false, out))
		Py_CLEAR(*out);
	p->rows = own;
	return true;
}

/* Lets the only part decide the batch. */
static PyObject *decide_alone(struct division *d, PyObject *batch)
{
	struct place *p = (struct place *)PyList_GET_ITEM(d->in_order, 0);
	scoped PyObject *seat = Py_NewRef(p->seat);
	struct seat *s = (struct seat *)seat;

	if (s->pick != Py_None) {
		scoped PyObject *all = get_of_batch(batch, ROWS);
		scoped PyObject *rows = all ? PySequence_List(all) : NULL;
		scoped PyObject *mine = rows ? picked_fields(rows, s->pick) : NULL;

		if (!mine || set_of_batch(batch, ROWS, mine))
			return NULL;
	}
	PyObject *flat = PyObject_CallOneArg(s->decide, batch);
	Py_ssize_t held = flat ? held_by(s->policy) : 0;

	if (flat && PyList_CheckExact(flat) && held == d->nr_held) {
		if (PyList_GET_SIZE(flat))
			Py_XSETREF(s->last, PyList_GetSlice(flat, 0, DECISION_WIDTH));
		return flat;
	}
	if (flat && !(held == -1 && PyErr_Occurred()))
		Py_SETREF(flat, PyObject_CallFunctionObjArgs(d->complete, p, flat, NULL));
	else
		Py_CLEAR(flat);
	if (flat)
		return flat;
	/* Python code must not run while an exception is set, so take it before asking the time. */
	scoped PyObject *error = raised();
	scoped PyObject *now_ns = get_of_batch(batch, NOW_NS);

	return now_ns ? without(d, p, error, now_ns) : NULL;
}

/* Empties all parts after the whole call has failed: these rows are of an old batch. */
static void forget_rows(PyObject *every)
{
	for (Py_ssize_t i = 0; i < PyList_GET_SIZE(every); i++) {
		struct place *p = (struct place *)PyList_GET_ITEM(every, i);

		if (p->rows)
			PyList_SetSlice(p->rows, 0, PY_SSIZE_T_MAX, NULL);
	}
}

PyObject *division_decide(struct division *d, PyObject *batch)
{
	struct place *asked[ASKED_MAX];
	PyObject *out = NULL;
	int nr;

	if (d->batch != batch)
		Py_XSETREF(d->batch, Py_NewRef(batch));
	if (d->is_alone)
		return decide_alone(d, batch);
	scoped PyObject *now_ns = get_of_batch(batch, NOW_NS);

	d->now_ns = now_ns ? PyLong_AsLongLong(now_ns) : -1;
	if (d->now_ns == -1 && PyErr_Occurred())
		return NULL;
	if (d->now_ns >= d->look_due_ns) {
		scoped PyObject *looked = PyObject_CallOneArg(d->look, now_ns);

		if (!looked)
			return NULL;
	}
	scoped PyObject *all = get_of_batch(batch, ROWS);
	scoped PyObject *rows = !all || PyList_CheckExact(all) ? Py_XNewRef(all) :
								  PySequence_List(all);

	if (!rows)
		return NULL;
	if (PyList_GET_SIZE(rows) == 1 && decide_one(d, rows, now_ns, &out))
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
	/* It refers to the noted parts, too, so they live until the end of the call. */
	scoped PyObject *every = Py_NewRef(d->in_order);
	bool asks_all = nr < 0 || d->nr_held;

	for (Py_ssize_t i = 0; i < (asks_all ? PyList_GET_SIZE(every) : nr); i++) {
		PyObject *one = asks_all ? PyList_GET_ITEM(every, i) : (PyObject *)asked[i];

		if (ask(d, (struct place *)one, now_ns, true, &out)) {
			Py_XDECREF(out);
			forget_rows(every);
			return NULL;
		}
	}
	return out ? out : PyList_New(0);
}

int prepare_division(void)
{
	nr_held = PyUnicode_InternFromString("nr_held");
	return nr_held ? 0 : -1;
}
