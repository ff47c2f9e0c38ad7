// SPDX-License-Identifier: GPL-2.0-only
/* A drained record becomes a tuple of the fields that the policy reads. */
#include "binding.h"

/* Takes pairs of offset and code; a converter for "O&". */
int get_fields(PyObject *tuple, void *to)
{
	struct fields *fields = to;

	if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) > FIELDS_MAX) {
		PyErr_Format(PyExc_ValueError, "wants a tuple of at most %d fields", FIELDS_MAX);
		return 0;
	}
	fields->nr = PyTuple_GET_SIZE(tuple);
	for (unsigned int i = 0; i < fields->nr; i++) {
		struct field *f = &fields->each[i];
		int code;

		if (!PyArg_ParseTuple(PyTuple_GET_ITEM(tuple, i), "IC", &f->offset, &code))
			return 0;
		f->code = code;
		size_t size = f->code == 'Q' ? 8 : f->code == 's' ? PYLAND_COMM_LEN : 4;

		if (!f->code || !strchr("iIQs", f->code) ||
		    f->offset > sizeof(struct pyland_queued) - size) {
			PyErr_Format(PyExc_ValueError, "a record has no field of kind %c at %u",
				     code, f->offset);
			return 0;
		}
	}
	return 1;
}

static PyObject *make_row(const struct fields *fields, const char *record)
{
	PyObject *row = PyTuple_New(fields->nr);

	if (!row)
		return NULL;
	for (unsigned int i = 0; i < fields->nr; i++) {
		const char *at = record + fields->each[i].offset;
		PyObject *value;

		switch (fields->each[i].code) {
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
			Py_DECREF(row);
			return NULL;
		}
		PyTuple_SET_ITEM(row, i, value);
	}
	return row;
}

/* The first @nr records of the batch as a list of tuples. */
PyObject *make_rows(const struct fields *fields, struct pyland_rings *rings, int nr)
{
	PyObject *rows = PyList_New(nr);

	for (int i = 0; rows && i < nr; i++) {
		const char *record = rings->batch->records + (size_t)i * rings->record_size;
		PyObject *row = make_row(fields, record);

		if (row)
			PyList_SET_ITEM(rows, i, row);
		else
			Py_CLEAR(rows);
	}
	return rows;
}
