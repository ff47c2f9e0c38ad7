/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Protocol buffers by hand, as far as a Perfetto trace needs them: a dozen messages do not need a
 * library. A number is a varint: seven bits a byte, the lowest first.
 */
#ifndef PYLAND_PROTO_H
#define PYLAND_PROTO_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BUFFER_LEAST 4096	/* what a buffer has room for in any case */

/* Bytes that grow. Without memory for more, a buffer is emptied and `failed` is set. */
struct buffer {
	unsigned char *data;
	size_t length;
	size_t capacity;
	int failed;
};

int buffer_begin(struct buffer *b);
void buffer_end(struct buffer *b);
void buffer_grow(struct buffer *b, size_t more);
void put_bytes(struct buffer *b, const void *bytes, size_t length);

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };

static inline void put_varint(struct buffer *b, uint64_t value)
{
	if (b->capacity - b->length < 10)
		buffer_grow(b, 10);
	while (value >= 0x80) {
		b->data[b->length++] = value | 0x80;
		value >>= 7;
	}
	b->data[b->length++] = value;
}

static inline void put_tag(struct buffer *b, unsigned int field, enum wire wire)
{
	put_varint(b, field << 3 | wire);
}

static inline void put_number(struct buffer *b, unsigned int field, uint64_t value)
{
	put_tag(b, field, WIRE_VARINT);
	put_varint(b, value);
}

static inline void put_fixed64(struct buffer *b, unsigned int field, uint64_t value)
{
	put_tag(b, field, WIRE_FIXED64);
	put_bytes(b, &value, sizeof(value));
}

static inline void put_block(struct buffer *b, unsigned int field, const void *bytes, size_t length)
{
	put_tag(b, field, WIRE_BYTES);
	put_varint(b, length);
	put_bytes(b, bytes, length);
}

static inline void put_text(struct buffer *b, unsigned int field, const char *text)
{
	put_block(b, field, text, strlen(text));
}

/*
 * A message inside another one: its length is known at its end, and has two bytes (up to 16 KiB) or
 * four. put_message_end wants what put_message returned.
 */
static inline size_t put_message(struct buffer *b, unsigned int field, unsigned int width)
{
	put_tag(b, field, WIRE_BYTES);
	put_bytes(b, "\0\0\0", width);
	return b->length;
}

static inline void put_message_end(struct buffer *b, size_t begin, unsigned int width)
{
	size_t length = b->length - begin;

	if (b->failed || begin > b->length)
		return;
	for (unsigned int i = 1; i <= width; i++) {
		b->data[begin - width + i - 1] = (length & 0x7f) | (i < width ? 0x80 : 0);
		length >>= 7;
	}
}

#endif
