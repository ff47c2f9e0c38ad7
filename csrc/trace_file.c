// SPDX-License-Identifier: GPL-2.0-only
/* The file of a trace: writes packets to it, and cuts it after a whole one if it takes no more. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "trace_writer.h"

/* Room for what the file ends with. */
#define END_BYTES 16384

/* How many of the first @length bytes are whole packets. */
static size_t whole_packets(const struct buffer *b, size_t length)
{
	size_t end = 0;

	for (;;) {
		size_t at = end + 1, packet = 0;
		unsigned int shift = 0;

		do {
			if (at >= length)
				return end;
			packet |= (size_t)(b->data[at] & 0x7f) << shift;
			shift += 7;
		} while (b->data[at++] & 0x80);
		if (packet > length - at)
			return end;
		end = at + packet;
	}
}

/*
 * Of what was to be written only @written bytes were. Cuts the file after a whole packet, with
 * room for its end, and takes no more.
 */
int file_breaks(struct pyland_trace_writer *w, int error, size_t written)
{
	if (!w->stream.failed && written > END_BYTES) {
		w->last_bytes = w->totals.bytes;
		w->totals.bytes += whole_packets(&w->stream, written - END_BYTES);
	}
	w->broken = error;
	w->stream.length = 0;
	/* A device or a pipe cannot be cut. */
	if (ftruncate(w->file, w->totals.bytes))
		return -error;
	lseek(w->file, 0, SEEK_END);
	return -error;
}

/* The reader of a pipe that takes nothing for so long ends the trace. */
#define READER_WAIT_MS	2000

/* Writes the stream, and empties it. 0 or a negative errno. */
int file_write(struct pyland_trace_writer *w)
{
	const unsigned char *data = w->stream.data;
	size_t left = w->stream.length;

	if (w->stream.failed)
		return file_breaks(w, ENOMEM, 0);
	while (left) {
		ssize_t nr = write(w->file, data, left);

		if (nr < 0 && errno == EINTR)
			continue;
		if (nr < 0 && errno == EAGAIN) {
			struct pollfd reader = { .fd = w->file, .events = POLLOUT };

			/* The process hears no signal while it waits here. */
			if (poll(&reader, 1, READER_WAIT_MS) > 0)
				continue;
			errno = ETIMEDOUT;
		}
		if (nr < 0)
			return file_breaks(w, errno, data - w->stream.data);
		data += nr;
		left -= nr;
	}
	if (w->stream.length)
		w->last_bytes = w->totals.bytes;
	w->totals.bytes += w->stream.length;
	w->stream.length = 0;
	w->last_write_ns = w->totals.end_ns;
	return 0;
}
