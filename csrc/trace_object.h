/* SPDX-License-Identifier: GPL-2.0-only */
/* trace.bpf.o: its programs that see the kernel, and those that see pyland's decisions (hooks). */
#ifndef PYLAND_TRACE_OBJECT_H
#define PYLAND_TRACE_OBJECT_H

#include <bpf/libbpf.h>

struct bpf_object *trace_object_open(const void *content, size_t size, unsigned long long slots,
				     int hooks);
struct bpf_map *trace_object_map(struct bpf_object *object, const char *name);

#endif
