// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loads and attaches the BPF object with libbpf, and reads what the kernel said when it
 * ended the scheduler. There is no generated skeleton: sections, maps and struct members
 * are found by name, so one compiled object serves every kernel and every libbpf.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "pyland_native.h"

#define VERIFIER_STATS 4	/* BPF_LOG_STATS: one line per program */

struct pyland_object {
	struct bpf_object *object;
	struct bpf_map *ops;
	struct bpf_link *link;
};

/* The number of this build; the BPF object and the Python package have one to compare. */
unsigned long long pyland_layout(void)
{
	return PYLAND_LAYOUT;
}

int pyland_map_fd(struct pyland_object *o, const char *name, unsigned int *max_entries)
{
	struct bpf_map *map = bpf_object__find_map_by_name(o->object, name);

	if (!map)
		return pyland_fail(-ENOENT, "the BPF object has no map %s", name);
	*max_entries = bpf_map__max_entries(map);
	return bpf_map__fd(map);
}

/* A member of the sched_ext_ops that the object brings; NULL if it has none of this name. */
static void *ops_member(struct pyland_object *o, const char *name)
{
	char *value = bpf_map__initial_value(o->ops, &(size_t){ 0 });
	int offset = pyland_member_offset(bpf_object__btf(o->object), "sched_ext_ops", name);

	return value && offset >= 0 ? value + offset : NULL;
}

/* Removes the callbacks that the running kernel does not have. */
static int drop_unknown_ops(struct pyland_object *o, const struct btf *btf)
{
	static const char *const newer[] = { "cgroup_set_weight", "cgroup_set_bandwidth" };

	for (unsigned int i = 0; i < NR(newer); i++) {
		struct bpf_program **program = ops_member(o, newer[i]);

		if (!program)
			return pyland_fail(-EINVAL, "the BPF object has no callback %s", newer[i]);
		if (pyland_member_offset(btf, "sched_ext_ops", newer[i]) >= 0)
			continue;
		if (*program)
			bpf_program__set_autoload(*program, false);
		*program = NULL;
	}
	return 0;
}

/* Looks up by name what the kernel supports, and notes it in @config. */
static int set_ops(struct pyland_object *o, const struct pyland_load_options *options,
		   struct pyland_config *config)
{
	unsigned long long *flags = ops_member(o, "flags"), *seq = ops_member(o, "hotplug_seq");
	unsigned int *dump_len = ops_member(o, "exit_dump_len");
	const char *ops = "scx_ops_flags";

	if (!flags || !seq || !dump_len)
		return pyland_fail(-EINVAL, "the BPF object's sched_ext_ops lacks a member");
	struct btf *btf = btf__load_vmlinux_btf();

	if (!btf)
		return pyland_fail(-ENOENT, "no kernel BTF");
	/* pyland queues the last task itself: user space must not spin on an idle CPU. */
	*flags = pyland_enumerator(btf, ops, "SCX_OPS_ENQ_LAST") |
		 pyland_enumerator(btf, ops, "SCX_OPS_KEEP_BUILTIN_IDLE") |
		 pyland_enumerator(btf, ops, "SCX_OPS_ALLOW_QUEUED_WAKEUP");
	/*
	 * A kernel without this member warns that cpu.weight has no effect if the flag is missing;
	 * a kernel with the member warns if the flag is there.
	 */
	if (pyland_member_offset(btf, "sched_ext_ops", "cgroup_set_bandwidth") < 0)
		*flags |= pyland_enumerator(btf, ops, "SCX_OPS_HAS_CGROUP_WEIGHT");
	if (options->partial)
		*flags |= pyland_enumerator(btf, ops, "SCX_OPS_SWITCH_PARTIAL");
	if (config->numa_local) {
		unsigned long long per_node =
			pyland_enumerator(btf, ops, "SCX_OPS_BUILTIN_IDLE_PER_NODE");

		*flags |= per_node;
		config->idle_per_node = per_node != 0;
	}
	*seq = options->hotplug_seq;
	*dump_len = config->exit_dump_len;
	int ret = drop_unknown_ops(o, btf);

	btf__free(btf);
	return ret;
}

static int set_sizes(struct pyland_object *o, const struct pyland_load_options *options)
{
	unsigned int nr_cpus = options->config.nr_cpu_ids;
	struct {
		const char *map;
		unsigned int entries;
	} sized[] = {
		{ "queued", options->queued_bytes },
		{ "dispatched", options->dispatched_bytes },
		{ "cpus", nr_cpus },
		{ "user_cpus", nr_cpus },
		{ "histograms", nr_cpus },
		{ "slice_timers", nr_cpus },
		{ "llcs", options->config.nr_llcs },
		{ "group_counts", nr_cpus * PYLAND_NR_GROUPS },
	};

	for (unsigned int i = 0; i < NR(sized); i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(o->object, sized[i].map);

		if (!map || bpf_map__set_max_entries(map, sized[i].entries))
			return pyland_fail(-EINVAL, "map %s cannot have %u entries", sized[i].map,
					   sized[i].entries);
	}
	struct bpf_map *dump = bpf_object__find_map_by_name(o->object, "exit_dump");

	if (!dump || bpf_map__set_value_size(dump, options->config.exit_dump_len))
		return pyland_fail(-EINVAL, "the exit dump cannot have %u bytes",
				   options->config.exit_dump_len);
	return 0;
}

static int set_config(struct pyland_object *o, const struct pyland_config *config)
{
	struct bpf_map *rodata = bpf_object__find_map_by_name(o->object, ".rodata");
	size_t size = 0;
	struct pyland_config *in_object = rodata ? bpf_map__initial_value(rodata, &size) : NULL;

	if (!in_object || size < sizeof(*config) || in_object->layout != PYLAND_LAYOUT)
		return pyland_fail(-EINVAL, "the BPF object pyland.bpf.o is of another build than "
				   "the rest of pyland: install pyland again");
	*in_object = *config;
	in_object->layout = PYLAND_LAYOUT;
	return 0;
}

static int write_topology(struct pyland_object *o, unsigned int nr_cpus,
			  const struct pyland_cpu *cpus)
{
	unsigned int entries;
	int fd = pyland_map_fd(o, "cpus", &entries);

	for (unsigned int cpu = 0; cpu < nr_cpus; cpu++) {
		if (bpf_map_update_elem(fd, &cpu, &cpus[cpu], BPF_ANY))
			return pyland_fail(-errno, "maps of CPU %u: %s", cpu, strerror(errno));
	}
	return 0;
}

/* Opens the object at @path, or in memory where @path is NULL. */
static struct pyland_object *open_object(const char *path, const void *object, size_t size,
					 int verbose)
{
	struct pyland_object *o = calloc(1, sizeof(*o));
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = path ? NULL : "pyland",
		    .kernel_log_level = verbose ? VERIFIER_STATS : 0);

	if (!o) {
		pyland_fail(-ENOMEM, "no memory for the BPF object");
		return NULL;
	}
	pyland_log_libbpf(verbose);
	o->object = path ? bpf_object__open_file(path, &options) :
			   bpf_object__open_mem(object, size, &options);
	if (o->object)
		return o;
	pyland_fail_libbpf(-errno, path ? path : "the BPF object pyland.bpf.o");
	free(o);
	return NULL;
}

static int load(struct pyland_object *o)
{
	int ret = bpf_object__load(o->object);

	return ret ? pyland_fail_libbpf(ret, "the kernel rejected the BPF object") : 0;
}

static int set_up_scheduler(struct pyland_object *o, const struct pyland_load_options *options)
{
	struct pyland_config config = options->config;

	o->ops = bpf_object__find_map_by_name(o->object, "pyland_ops");
	if (!o->ops)
		return pyland_fail(-ENOENT, "no pyland_ops in the BPF object");
	return set_ops(o, options, &config) || set_config(o, &config) || set_sizes(o, options);
}

/*
 * @object is the content of the file, so that a restart loads what the first start has read.
 * @cpus has the topology of each possible CPU.
 */
struct pyland_object *pyland_load(const void *object, unsigned long size,
				  const struct pyland_load_options *options,
				  const struct pyland_cpu *cpus)
{
	struct pyland_object *o = open_object(NULL, object, size, options->verbose);

	if (!o)
		return NULL;
	if (!set_up_scheduler(o, options) && !load(o) &&
	    !write_topology(o, options->config.nr_cpu_ids, cpus))
		return o;
	pyland_close(o);
	return NULL;
}

/* An object without a scheduler: programs that drive the rings, for tests and benchmarks. */
struct pyland_object *pyland_load_programs(const char *path)
{
	struct pyland_object *o = open_object(path, NULL, 0, 0);

	if (!o || !load(o))
		return o;
	pyland_close(o);
	return NULL;
}

/* Runs a "syscall" program; its return value, or a negative errno. */
int pyland_run_program(struct pyland_object *o, const char *name, void *context,
		       unsigned int context_size)
{
	struct bpf_program *program = bpf_object__find_program_by_name(o->object, name);
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = context, .ctx_size_in = context_size);

	if (!program)
		return pyland_fail(-ENOENT, "the BPF object has no program %s", name);
	if (bpf_prog_test_run_opts(bpf_program__fd(program), &options))
		return pyland_fail(-errno, "running %s: %s", name, strerror(errno));
	return options.retval;
}

/* The maps that the process which decides works with, and no others. */
int pyland_ring_maps(struct pyland_object *o, struct pyland_ring_maps *maps)
{
	unsigned int one;

	maps->queued = pyland_map_fd(o, "queued", &maps->queued_bytes);
	maps->dispatched = pyland_map_fd(o, "dispatched", &maps->dispatched_bytes);
	maps->user = pyland_map_fd(o, ".data.user", &one);
	maps->user_cpus = pyland_map_fd(o, "user_cpus", &maps->nr_cpus);
	maps->user_domains = pyland_map_fd(o, "user_domains", &one);
	return maps->queued < 0 || maps->dispatched < 0 || maps->user < 0 || maps->user_cpus < 0 ||
	       maps->user_domains < 0 ? -ENOENT : 0;
}

/* The link belongs to this process: the scheduler ends with it, whatever the others do. */
int pyland_attach(struct pyland_object *o)
{
	if (o->link)
		return pyland_fail(-EBUSY, "attaching the scheduler: it is attached");
	pyland_forget_warning();
	o->link = bpf_map__attach_struct_ops(o->ops);
	return o->link ? 0 : pyland_fail_libbpf(-errno, "attaching the scheduler");
}

/* Detaches and frees the object; the kernel's default scheduler gets every task back. */
void pyland_close(struct pyland_object *o)
{
	if (!o)
		return;
	bpf_link__destroy(o->link);
	bpf_object__close(o->object);
	free(o);
}
