/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The Python side of the extension. cffi makes most of it from pyland_native.h; these files do
 * what cffi cannot do, or what would cost twice the instructions with it.
 */
#ifndef PYLAND_BINDING_H
#define PYLAND_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyland_native.h"

#define FIELDS_MAX 32
#define DECISION_WIDTH 7	/* integers of a decision, as DECISION_FIELDS of pyland.policy */

struct field {
	unsigned int offset;
	char code;		/* as the struct module has it */
};

/* Which fields of a record the policy reads. */
struct fields {
	unsigned int nr;
	struct field each[FIELDS_MAX];
};

/* A reference that ends with its scope. */
#define scoped __attribute__((cleanup(drop_reference)))

static inline void drop_reference(PyObject **object)
{
	Py_XDECREF(*object);
}

/* records.c, decisions.c */
int get_fields(PyObject *tuple, void *fields);
PyObject *make_rows(const struct fields *fields, struct pyland_rings *rings, int nr);
Py_ssize_t pack_decisions(PyObject *flat, struct pyland_decision *decisions,
			  unsigned int max_batch);

/* batch_slots.c: the attributes of a batch that C uses, those that are numbers first */
enum batch_attribute {
	NOW_NS,
	NR_RECORDS,
	NR_RUNNABLE,
	WEIGHT_RUNNABLE,
	ROWS,
	BATCH_NUMBERS = ROWS,
	BATCH_ATTRIBUTES,
};

int prepare_batch_slots(void);
int set_of_batch(PyObject *batch, enum batch_attribute which, PyObject *value);
PyObject *get_of_batch(PyObject *batch, enum batch_attribute which);

/* module.c */
int get_rings(PyObject *pointer, void *rings);

/* exchange.c, division_types.c */
int add_exchange(PyObject *module);
int add_division(PyObject *module);

#endif
