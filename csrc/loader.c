// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loads and attaches the BPF object with libbpf, and reads what the kernel said
 * when it ended. Without a generated skeleton: sections, maps and struct members
 * are found by name, so one compiled object serves every kernel and every libbpf.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "pyland_native.h"

#define SCHED_EXT_POLICY 7	/* SCHED_EXT, uapi/linux/sched.h since 6.12 */
#define LOG_CHUNK 512
#define LOG_WAIT_MS 250
#define VERIFIER_STATS 4	/* BPF_LOG_STATS: one line per program */

struct pyland_object {
	struct bpf_object *object;
	struct bpf_map *ops;
	struct bpf_link *link;
	unsigned int exit_dump_len;
};

static char last_error[1024];
static char first_warning[512];	/* libbpf's own words on what went wrong */
static int verbose;

const char *pyland_error(void)
{
	return last_error;
}

int pyland_fail(int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(last_error, sizeof(last_error), format, args);
	va_end(args);
	return error < 0 ? error : -EINVAL;
}

const char *pyland_libbpf_version(void)
{
	return libbpf_version_string();
}

int pyland_build_libbpf_major(void)
{
	return LIBBPF_MAJOR_VERSION;
}

int pyland_build_libbpf_minor(void)
{
	return LIBBPF_MINOR_VERSION;
}

/*
 * The log goes to standard error for as long as it takes more: a stopped terminal or a full pipe
 * must not keep pyland from loading again. A blocking descriptor with room takes so little at once.
 */
static int print_log(const char *format, va_list args)
{
	struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };
	char *text;
	int length = vasprintf(&text, format, args), done = 0;

	if (length < 0)
		return 0;
	while (done < length && poll(&room, 1, LOG_WAIT_MS) > 0) {
		int left = length - done;
		ssize_t nr = write(STDERR_FILENO, text + done, left < LOG_CHUNK ? left : LOG_CHUNK);

		if (nr < 0)
			break;
		done += nr;
	}
	if (done < length)
		verbose = 0;	/* each of many more lines would wait as long */
	free(text);
	return length;
}

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN && !first_warning[0]) {
		va_list copy;

		va_copy(copy, args);
		vsnprintf(first_warning, sizeof(first_warning), format, copy);
		va_end(copy);
		first_warning[strcspn(first_warning, "\n")] = 0;
	}
	return verbose ? print_log(format, args) : 0;
}

static int fail_libbpf(int error, const char *what)
{
	return pyland_fail(error, "%s: %s%s%s", what, strerror(error < 0 ? -error : error),
			   first_warning[0] ? ": " : "", first_warning);
}

/* Which build this is, as the BPF object and the Python package have it too. */
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

/* The local struct_ops value, by member name: there is no skeleton to know offsets. */
static void *ops_member(struct pyland_object *o, const char *name)
{
	const struct btf *btf = bpf_object__btf(o->object);
	char *value = bpf_map__initial_value(o->ops, &(size_t){ 0 });
	const struct btf_type *type;
	const struct btf_member *m;
	int id = btf__find_by_name_kind(btf, "sched_ext_ops", BTF_KIND_STRUCT);

	if (id < 0 || !value)
		return NULL;
	type = btf__type_by_id(btf, id);
	m = btf_members(type);
	for (int i = 0; i < btf_vlen(type); i++)
		if (!strcmp(btf__name_by_offset(btf, m[i].name_off), name))
			return value + m[i].offset / 8;
	return NULL;
}

/* An enumerator of the running kernel; 0 where it has none. */
static unsigned long long kernel_enum(const struct btf *btf, const char *type, const char *name)
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

int pyland_kernel_has_enum(const char *type, const char *name)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int found = btf && kernel_enum(btf, type, name);

	btf__free(btf);
	return found;
}

static unsigned long long hotplug_seq(void)
{
	char text[32] = "";
	int fd = open("/sys/kernel/sched_ext/hotplug_seq", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (read(fd, text, sizeof(text) - 1) < 0)
			text[0] = 0;
		close(fd);
	}
	return strtoull(text, NULL, 10);
}

static int set_ops(struct pyland_object *o, const struct pyland_load_options *options,
		   const struct btf *btf)
{
	unsigned long long *flags = ops_member(o, "flags"), *seq = ops_member(o, "hotplug_seq");
	unsigned int *dump_len = ops_member(o, "exit_dump_len");
	const char *ops = "scx_ops_flags";

	if (!flags || !seq || !dump_len)
		return pyland_fail(-EINVAL, "the BPF object's sched_ext_ops lacks a member");
	/* pyland queues the last task itself: user space must not spin on an idle CPU. */
	*flags = kernel_enum(btf, ops, "SCX_OPS_ENQ_LAST") |
		 kernel_enum(btf, ops, "SCX_OPS_KEEP_BUILTIN_IDLE") |
		 kernel_enum(btf, ops, "SCX_OPS_ALLOW_QUEUED_WAKEUP");
	if (options->partial)
		*flags |= kernel_enum(btf, ops, "SCX_OPS_SWITCH_PARTIAL");
	if (options->config.idle_per_node)
		*flags |= kernel_enum(btf, ops, "SCX_OPS_BUILTIN_IDLE_PER_NODE");
	*seq = hotplug_seq();
	*dump_len = options->config.exit_dump_len;
	return 0;
}

static int set_sizes(struct pyland_object *o, const struct pyland_load_options *options)
{
	struct bpf_map *rodata = bpf_object__find_map_by_name(o->object, ".rodata");
	size_t size = 0;
	void *config = rodata ? bpf_map__initial_value(rodata, &size) : NULL;
	struct {
		const char *map;
		unsigned int entries;
	} sized[] = {
		{ "queued", options->queued_bytes },
		{ "dispatched", options->dispatched_bytes },
		{ "cpus", options->config.nr_cpu_ids },
		{ "user_cpus", options->config.nr_cpu_ids },
		{ "slice_timers", options->config.nr_cpu_ids },
	};

	if (!config || size < sizeof(options->config) || *(unsigned long long *)config != PYLAND_LAYOUT)
		return pyland_fail(-EINVAL, "the BPF object pyland.bpf.o is of another build than "
				   "the rest of pyland: install pyland again");
	memcpy(config, &options->config, sizeof(options->config));
	*(unsigned long long *)config = PYLAND_LAYOUT;
	for (unsigned int i = 0; i < sizeof(sized) / sizeof(sized[0]); i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(o->object, sized[i].map);

		if (!map || bpf_map__set_max_entries(map, sized[i].entries))
			return pyland_fail(-EINVAL, "map %s cannot have %u entries", sized[i].map,
					   sized[i].entries);
	}
	if (options->config.exit_dump_len) {
		struct bpf_map *dump = bpf_object__find_map_by_name(o->object, "exit_dump");

		if (!dump || bpf_map__set_value_size(dump, options->config.exit_dump_len))
			return pyland_fail(-EINVAL, "the exit dump cannot have %u bytes",
					   options->config.exit_dump_len);
	}
	return 0;
}

static int write_topology(struct pyland_object *o, unsigned int nr_cpus, const unsigned int *llc,
			  const unsigned int *node, const unsigned int *nohz_full)
{
	struct pyland_user_cpu user = { 0 };
	struct pyland_cpu value = { 0 };
	unsigned int entries;
	int fd = pyland_map_fd(o, "cpus", &entries);
	int user_fd = pyland_map_fd(o, "user_cpus", &entries);

	for (unsigned int cpu = 0; cpu < nr_cpus; cpu++) {
		value.llc = llc[cpu];
		value.node = node[cpu];
		value.nohz_full = nohz_full[cpu];
		user.domain = llc[cpu] % PYLAND_NR_DOMAINS;
		if (bpf_map_update_elem(fd, &cpu, &value, BPF_ANY) ||
		    bpf_map_update_elem(user_fd, &cpu, &user, BPF_ANY))
			return pyland_fail(-errno, "maps of CPU %u: %s", cpu, strerror(errno));
	}
	return 0;
}

/* From a file, or from memory where there is no path. */
static struct pyland_object *open_object(const char *path, const void *object, size_t size,
					 int is_verbose)
{
	struct pyland_object *o = calloc(1, sizeof(*o));
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = path ? NULL : "pyland");

	if (!o) {
		pyland_fail(-ENOMEM, "no memory for the BPF object");
		return NULL;
	}
	verbose = is_verbose;
	first_warning[0] = 0;
	libbpf_set_print(print_libbpf);
	options.kernel_log_level = verbose ? VERIFIER_STATS : 0;
	o->object = path ? bpf_object__open_file(path, &options) :
			   bpf_object__open_mem(object, size, &options);
	if (!o->object) {
		fail_libbpf(-errno, path ? path : "the BPF object pyland.bpf.o");
		free(o);
		return NULL;
	}
	return o;
}

/* @object is the file's content: a restart loads what the first start has read. */
struct pyland_object *pyland_load(const void *object, unsigned long size,
				  const struct pyland_load_options *options,
				  const unsigned int *cpu_llc, const unsigned int *cpu_node,
				  const unsigned int *cpu_nohz_full)
{
	struct pyland_object *o = open_object(NULL, object, size, options->verbose);
	struct btf *btf = NULL;
	int ret = -1;

	if (!o)
		return NULL;
	o->exit_dump_len = options->config.exit_dump_len;
	o->ops = bpf_object__find_map_by_name(o->object, "pyland_ops");
	btf = btf__load_vmlinux_btf();
	if (!o->ops || !btf) {
		pyland_fail(-ENOENT, "no %s", btf ? "pyland_ops in the BPF object" : "kernel BTF");
		goto out;
	}
	if (set_ops(o, options, btf) || set_sizes(o, options))
		goto out;
	ret = bpf_object__load(o->object);
	if (ret) {
		fail_libbpf(ret, "the kernel rejected the BPF object");
		goto out;
	}
	ret = write_topology(o, options->config.nr_cpu_ids, cpu_llc, cpu_node, cpu_nohz_full);
out:
	btf__free(btf);
	if (!ret)
		return o;
	pyland_close(o);
	return NULL;
}

/* An object without a scheduler: the rings driven by programs, for tests and benchmarks. */
struct pyland_object *pyland_load_programs(const char *path)
{
	struct pyland_object *o = open_object(path, NULL, 0, 0);
	int ret;

	if (!o)
		return NULL;
	ret = bpf_object__load(o->object);
	if (!ret)
		return o;
	fail_libbpf(ret, "the kernel rejected the BPF object");
	pyland_close(o);
	return NULL;
}

/* Runs a "syscall" program; its return value, or a negative errno. */
int pyland_run_program(struct pyland_object *o, const char *name, void *context,
		       unsigned int context_size, unsigned int repeat)
{
	struct bpf_program *program = bpf_object__find_program_by_name(o->object, name);
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = context, .ctx_size_in = context_size);

	if (!program)
		return pyland_fail(-ENOENT, "the BPF object has no program %s", name);
	while (repeat--)
		if (bpf_prog_test_run_opts(bpf_program__fd(program), &options))
			return pyland_fail(-errno, "running %s: %s", name, strerror(errno));
	return options.retval;
}

/*
 * This process will decide once the scheduler is attached; it takes root. It joins SCHED_EXT
 * itself: as a task of the fair class it would never leave the CPU, since it only yields and
 * never sleeps.
 */
int pyland_join(struct pyland_object *o)
{
	struct sched_param param = { 0 };

	if (pyland_run_program(o, "pyland_register", NULL, 0, 1))
		return -1;
	if (sched_setscheduler(0, SCHED_EXT_POLICY, &param))
		return pyland_fail(-errno, "sched_setscheduler(SCHED_EXT): %s", strerror(errno));
	return 0;
}

/* The maps that the process which decides works with, and no others. */
int pyland_ring_maps(struct pyland_object *o, struct pyland_ring_maps *maps)
{
	unsigned int one;

	maps->queued = pyland_map_fd(o, "queued", &maps->queued_bytes);
	maps->dispatched = pyland_map_fd(o, "dispatched", &maps->dispatched_bytes);
	maps->user = pyland_map_fd(o, ".data.user", &one);
	maps->user_cpus = pyland_map_fd(o, "user_cpus", &maps->nr_cpus);
	return maps->queued < 0 || maps->dispatched < 0 || maps->user < 0 || maps->user_cpus < 0 ?
	       -ENOENT : 0;
}

/* The link is this process's: whatever becomes of the others, the scheduler ends with it. */
int pyland_attach(struct pyland_object *o)
{
	first_warning[0] = 0;
	o->link = bpf_map__attach_struct_ops(o->ops);
	if (o->link)
		return 0;
	return fail_libbpf(-errno, "attaching the scheduler");
}

/* What the kernel dumped when it ended the scheduler; how many bytes. */
int pyland_exit_dump(struct pyland_object *o, char *buffer, unsigned int size)
{
	unsigned int entries, key = 0;
	int fd = pyland_map_fd(o, "exit_dump", &entries);

	if (fd < 0 || size < o->exit_dump_len)
		return -EINVAL;
	if (!o->exit_dump_len)
		return 0;
	if (bpf_map_lookup_elem(fd, &key, buffer))
		return -errno;
	return strnlen(buffer, o->exit_dump_len);
}

/* Detaches, which gives every task back to the kernel's default scheduler. */
void pyland_close(struct pyland_object *o)
{
	if (!o)
		return;
	bpf_link__destroy(o->link);
	bpf_object__close(o->object);
	free(o);
}
