// SPDX-License-Identifier: GPL-2.0-only
/* Opens trace.bpf.o, which has programs of two kinds, and finds its maps. */
#include <errno.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "pyland_native.h"
#include "pyland_trace.h"
#include "trace_object.h"

static int is_hook(const struct bpf_program *program)
{
	return !strncmp(bpf_program__section_name(program), "fentry", 6);
}

/* Opens trace.bpf.o with only one kind of its programs, for rings of @slots events. */
struct bpf_object *trace_object_open(const void *content, size_t size, unsigned long long slots,
				     int hooks)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "pyland_trace");
	struct bpf_object *object = bpf_object__open_mem(content, size, &options);
	struct pyland_trace_config *config;
	struct bpf_program *program;
	struct bpf_map *rodata;
	size_t config_size = 0;

	if (!object) {
		pyland_fail_libbpf(-errno, "the BPF object trace.bpf.o");
		return NULL;
	}
	bpf_object__for_each_program(program, object)
		bpf_program__set_autoload(program, is_hook(program) == hooks);
	rodata = bpf_object__find_map_by_name(object, ".rodata");
	config = rodata ? bpf_map__initial_value(rodata, &config_size) : NULL;
	if (config && config_size >= sizeof(*config) && config->layout == PYLAND_LAYOUT) {
		config->slots = slots;
		return object;
	}
	pyland_fail(-EINVAL, "the BPF object trace.bpf.o is of another build than the rest of "
		    "pyland: install pyland again");
	bpf_object__close(object);
	return NULL;
}

struct bpf_map *trace_object_map(struct bpf_object *object, const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	if (!map)
		pyland_fail(-ENOENT, "trace.bpf.o has no map %s", name);
	return map;
}
