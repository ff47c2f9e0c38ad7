// SPDX-License-Identifier: GPL-2.0-only
/*
 * The extension module pyland._native: the `ffi` and `lib` that cffi makes, and Exchange,
 * which works on the same memory.
 */
#include "binding.h"

/* The init function of the C file that cffi writes (tools/build/build_native.py). */
PyObject *pyland_make_cffi_module(void);

static PyObject *ffi, *rings_type;

/*
 * Takes the address out of cffi's `struct pyland_rings *`; a converter for "O&". It compares
 * the type objects of cffi, so it takes no other pointer and no plain number.
 */
int get_rings(PyObject *pointer, void *rings)
{
	scoped PyObject *type = PyObject_CallMethod(ffi, "typeof", "O", pointer);

	if (!type)
		return 0;
	if (type != rings_type) {
		PyErr_Format(PyExc_TypeError, "wants a %S, not a %S", rings_type, type);
		return 0;
	}
	scoped PyObject *cast = PyObject_CallMethod(ffi, "cast", "sO", "uintptr_t", pointer);
	scoped PyObject *address = cast ? PyNumber_Long(cast) : NULL;

	if (!address)
		return 0;
	*(void **)rings = PyLong_AsVoidPtr(address);
	if (!*(void **)rings)
		PyErr_SetString(PyExc_ValueError, "NULL is no rings");
	return *(void **)rings != NULL;
}

PyMODINIT_FUNC PyInit__native(void)
{
	PyObject *module = pyland_make_cffi_module();

	if (!module)
		return NULL;
	ffi = PyObject_GetAttrString(module, "ffi");
	rings_type = ffi ? PyObject_CallMethod(ffi, "typeof", "s", "struct pyland_rings *") : NULL;
	if (rings_type && !add_exchange(module) && !add_division(module))
		return module;
	Py_DECREF(module);
	return NULL;
}
