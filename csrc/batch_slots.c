// SPDX-License-Identifier: GPL-2.0-only
/*
 * The attributes of a pyland.batch.Batch, which C sets for each cycle. It has slots: to write one at
 * its offset takes 30 instructions, and PyObject_SetAttr 290.
 */
#include "binding.h"

#include <structmember.h>

static const char *const spelling[BATCH_ATTRIBUTES] = {
	[NOW_NS] = "now_ns",
	[NR_RECORDS] = "nr",
	[NR_RUNNABLE] = "nr_runnable",
	[WEIGHT_RUNNABLE] = "weight_runnable",
	[ROWS] = "rows",
};
static PyObject *names[BATCH_ATTRIBUTES];

static PyTypeObject *slotted_type;	/* the class whose slots these are */
static Py_ssize_t offsets[BATCH_ATTRIBUTES];

/* Finds the slots of a class; an object without these slots is set by its attributes. */
static void find_slots(PyTypeObject *type)
{
	for (int i = 0; i < BATCH_ATTRIBUTES; i++) {
		scoped PyObject *found = PyObject_GetAttr((PyObject *)type, names[i]);
		PyMemberDef *member;

		if (!found || !Py_IS_TYPE(found, &PyMemberDescr_Type)) {
			PyErr_Clear();
			return;
		}
		member = ((PyMemberDescrObject *)found)->d_member;
		if (member->type != T_OBJECT_EX || member->flags)
			return;
		offsets[i] = member->offset;
	}
	Py_XSETREF(slotted_type, (PyTypeObject *)Py_NewRef(type));
}

static PyObject **slot_of(PyObject *batch, enum batch_attribute which)
{
	if (!slotted_type)
		find_slots(Py_TYPE(batch));
	return Py_IS_TYPE(batch, slotted_type) ? (PyObject **)((char *)batch + offsets[which]) : NULL;
}

int set_of_batch(PyObject *batch, enum batch_attribute which, PyObject *value)
{
	PyObject **slot = slot_of(batch, which);

	if (!slot)
		return PyObject_SetAttr(batch, names[which], value);
	Py_XSETREF(*slot, Py_NewRef(value));
	return 0;
}

/* A new reference; NULL with an exception set if it has no value. */
PyObject *get_of_batch(PyObject *batch, enum batch_attribute which)
{
	PyObject **slot = slot_of(batch, which);

	return slot && *slot ? Py_NewRef(*slot) : PyObject_GetAttr(batch, names[which]);
}

int prepare_batch_slots(void)
{
	for (int i = 0; i < BATCH_ATTRIBUTES; i++) {
		names[i] = PyUnicode_InternFromString(spelling[i]);
		if (!names[i])
			return -1;
	}
	return 0;
}
