// SPDX-License-Identifier: GPL-2.0-only
/* Enumerators and struct members by name, in the BTF of the kernel or of an object. */
#include <errno.h>
#include <string.h>

#include <bpf/btf.h>

#include "pyland_native.h"

/* The value of an enumerator; 0 where the BTF has none of this name. */
unsigned long long pyland_enumerator(const struct btf *btf, const char *type, const char *name)
{
	int id = btf__find_by_name(btf, type);
	const struct btf_type *t = id < 0 ? NULL : btf__type_by_id(btf, id);

	if (!t)
		return 0;
	for (int i = 0; i < btf_vlen(t); i++) {
		if (btf_is_enum64(t)) {
			const struct btf_enum64 *e = btf_enum64(t) + i;

			if (!strcmp(btf__name_by_offset(btf, e->name_off), name))
				return btf_enum64_value(e);
		} else if (btf_is_enum(t)) {
			const struct btf_enum *e = btf_enum(t) + i;

			if (!strcmp(btf__name_by_offset(btf, e->name_off), name))
				return (unsigned int)e->val;
		}
	}
	return 0;
}

/* The offset of a member of a struct, in bytes; -ENOENT if it has no such member. */
int pyland_member_offset(const struct btf *btf, const char *type, const char *name)
{
	int id = btf__find_by_name_kind(btf, type, BTF_KIND_STRUCT);

	if (id < 0)
		return -ENOENT;
	const struct btf_type *t = btf__type_by_id(btf, id);
	const struct btf_member *m = btf_members(t);

	for (int i = 0; i < btf_vlen(t); i++)
		if (!strcmp(btf__name_by_offset(btf, m[i].name_off), name))
			return m[i].offset / 8;
	return -ENOENT;
}
