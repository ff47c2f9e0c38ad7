// SPDX-License-Identifier: GPL-2.0-only
/* Buffers for protocol buffers. */
#include <stdlib.h>

#include "proto.h"

/* 0, or -1 without memory. */
int buffer_begin(struct buffer *b)
{
	b->data = malloc(BUFFER_LEAST);
	b->length = 0;
	b->capacity = b->data ? BUFFER_LEAST : 0;
	b->failed = 0;
	return b->data ? 0 : -1;
}

void buffer_end(struct buffer *b)
{
	free(b->data);
	b->data = NULL;
	b->length = b->capacity = 0;
}

/* Makes room for @more bytes, which are at most BUFFER_LEAST. */
void buffer_grow(struct buffer *b, size_t more)
{
	size_t capacity = b->capacity * 2 + more;
	unsigned char *data = realloc(b->data, capacity);

	if (data) {
		b->data = data;
		b->capacity = capacity;
		return;
	}
	b->failed = 1;
	b->length = 0;
}

void put_bytes(struct buffer *b, const void *bytes, size_t length)
{
	while (b->capacity - b->length < length) {
		if (b->failed)
			return;
		buffer_grow(b, length);
	}
	memcpy(b->data + b->length, bytes, length);
	b->length += length;
}
