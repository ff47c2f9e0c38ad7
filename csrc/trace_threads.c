// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads and names. The table has a place for each possible thread id; the kernel gives memory
 * only for the places that are used.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "trace_writer.h"

/* The thread with this number; NULL if no thread can have it. */
struct thread *thread_of(struct pyland_trace_writer *w, int pid)
{
	return pid >= 0 && pid < PIDS_MAX ? &w->threads[pid] : NULL;
}

/* In printable ASCII: the name of a task can have any bytes. */
static void escape(char text[NAME_TEXT], const char *bytes, size_t length)
{
	size_t end = 0;

	for (size_t i = 0; i < length && bytes[i] && end + 5 <= NAME_TEXT; i++) {
		unsigned char c = bytes[i];

		if (c >= 0x20 && c < 0x7f)
			text[end++] = c;
		else
			end += snprintf(text + end, 5, "\\x%02x", c);
	}
	text[end] = 0;
}

static void mix(uint64_t v[4])
{
#define ROTATE(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))
	v[0] += v[1];
	v[1] = ROTATE(v[1], 13) ^ v[0];
	v[0] = ROTATE(v[0], 32);
	v[2] += v[3];
	v[3] = ROTATE(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = ROTATE(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = ROTATE(v[1], 17) ^ v[2];
	v[2] = ROTATE(v[2], 32);
#undef ROTATE
}

/*
 * SipHash-1-3 with a key of this trace's own: with a hash that is known a task could give itself
 * names that all have one place, and each look for a name would take long.
 */
static unsigned int hash(const struct pyland_trace_writer *w, const char *text)
{
	uint64_t v[4] = { w->hash_key[0] ^ 0x736f6d6570736575, w->hash_key[1] ^ 0x646f72616e646f6d,
			  w->hash_key[0] ^ 0x6c7967656e657261, w->hash_key[1] ^ 0x7465646279746573 };
	size_t length = strlen(text);
	uint64_t word;

	for (size_t i = 0; i <= length; i += 8) {
		size_t left = length - i;

		word = left < 8 ? (uint64_t)length << 56 : 0;
		memcpy(&word, text + i, left < 8 ? left : 8);
		v[3] ^= word;
		mix(v);
		v[0] ^= word;
	}
	v[2] ^= 0xff;
	for (unsigned int i = 0; i < 3; i++)
		mix(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The place of a name, + 1. When the table is full, the last place stands for all further names. */
unsigned int name_of_bytes(struct pyland_trace_writer *w, const char *bytes, size_t length)
{
	char text[NAME_TEXT];
	unsigned int at;

	escape(text, bytes, length);
	for (at = hash(w, text) % (2 * NAMES_MAX); w->hashed[at]; at = (at + 1) % (2 * NAMES_MAX))
		if (!strcmp(w->names[w->hashed[at] - 1].text, text))
			return w->hashed[at];
	if (w->nr_names >= NAMES_MAX - 1) {
		strcpy(w->names[NAMES_MAX - 1].text, "(no room for its name)");
		return NAMES_MAX;
	}
	strcpy(w->names[w->nr_names].text, text);
	return w->hashed[at] = ++w->nr_names;
}

/*
 * The command of a process, without its arguments. The writer does not read it: that takes memory
 * of the process, which may be on a disk that does not answer.
 */
int pyland_trace_command(struct pyland_trace_writer *w, int pid, const char *command)
{
	struct thread *t = thread_of(w, pid);

	if (t && *command)
		t->command = name_of_bytes(w, command, NAME_TEXT);
	return 0;
}

static size_t read_file(const char *path, char *bytes, size_t size)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (file < 0)
		return 0;
	length = read(file, bytes, size);
	close(file);
	return length > 0 ? length : 0;
}

/* The place of the thread's name, + 1; "?" for a thread that ended before it was seen. */
unsigned int name_of_thread(struct pyland_trace_writer *w, int pid)
{
	struct thread *t = thread_of(w, pid);
	char path[64], comm[32];
	size_t length;

	if (!t)
		return name_of_bytes(w, "?", 1);
	if (t->name)
		return t->name;
	if (!pid)
		return t->name = name_of_bytes(w, "swapper", 7);
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	length = read_file(path, comm, sizeof(comm));
	if (!length)
		return t->name = name_of_bytes(w, "?", 1);
	return t->name = name_of_bytes(w, comm, length - (comm[length - 1] == '\n'));
}

static void put_name(struct buffer *b, unsigned int field, const struct pyland_trace_writer *w,
		     unsigned int name)
{
	put_text(b, field, w->names[name - 1].text);
}

/* Threads of a process that runs. */
static void put_threads(struct pyland_trace_writer *w, struct buffer *b, int tgid)
{
	char path[64];
	struct dirent *entry;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/task", tgid);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		int tid = atoi(entry->d_name);
		struct thread *t = tid > 0 ? thread_of(w, tid) : NULL;

		if (!t)
			continue;
		t->tgid = tgid;
		size_t begin = put_message(b, 2, 2);

		put_number(b, 1, tid);
		put_name(b, 2, w, name_of_thread(w, tid));
		put_number(b, 3, tgid);
		put_message_end(b, begin, 2);
	}
	if (folder)
		closedir(folder);
}

/* The parent in /proc/PID/stat: the second word after the name, which is in brackets. */
static int parent_of(int pid)
{
	char path[64], text[1024];
	const char *after;
	size_t length;
	int parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	length = read_file(path, text, sizeof(text) - 1);
	text[length] = 0;
	after = strrchr(text, ')');
	if (after)
		sscanf(after + 1, " %*c %d", &parent);
	return parent;
}

/* All processes and threads that run, in one packet. Commands without their arguments. */
void put_process_tree(struct pyland_trace_writer *w, struct buffer *b, unsigned long long now)
{
	DIR *folder = opendir("/proc");
	struct dirent *entry;
	size_t packet, tree;

	if (!folder)
		return;
	packet = put_message(b, 1, 4);
	put_number(b, 8, now);
	tree = put_message(b, 2, 4);
	while ((entry = readdir(folder))) {
		int pid = isdigit((unsigned char)*entry->d_name) ? atoi(entry->d_name) : 0;
		struct thread *t = pid ? thread_of(w, pid) : NULL;
		size_t begin;

		if (!t)
			continue;
		begin = put_message(b, 1, 2);
		put_number(b, 1, pid);
		put_number(b, 2, parent_of(pid));
		put_name(b, 3, w, t->command ? t->command : name_of_thread(w, pid));
		put_message_end(b, begin, 2);
		put_threads(w, b, pid);
	}
	closedir(folder);
	put_message_end(b, tree, 4);
	put_message_end(b, packet, 4);
}
