/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unpacking of control messages: bounded memory, a known kind, strings that can be printed. */
#include "replicator/link/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * A message is at most 256 KiB on the wire, but two bytes of an unknown field cost some thirty in
 * memory. What an honest peer sends (strings and numbers) stays far below this.
 */
#define UNPACK_LIMIT_BYTES (1u << 20)

struct bounded {
	size_t left_bytes;
	bool full;
};

static void *bounded_alloc(void *data, size_t n)
{
	struct bounded *b = data;

	if (n > b->left_bytes) {
		b->full = true;
		return NULL;
	}
	b->left_bytes -= n;
	return malloc(n ? n : 1);
}

static void bounded_free(void *data, void *p)
{
	(void)data;
	free(p);
}

static unsigned utf8_tail(uint8_t c)
{
	if (c >= 0xc2 && c <= 0xdf)
		return 1;
	if (c >= 0xe0 && c <= 0xef)
		return 2;
	if (c >= 0xf0 && c <= 0xf4)
		return 3;
	return 0;
}

/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates; and nothing that moves a cursor. */
static bool string_valid(const char *s)
{
	const uint8_t *p = (const uint8_t *)s;

	while (*p) {
		uint8_t c = *p++;
		unsigned tail = utf8_tail(c);

		if (c < 0x80) {
			if (c == 0x7f || (c < 0x20 && c != '\n' && c != '\t' && c != '\r'))
				return false;
			continue;
		}
		if (!tail)
			return false;
		if ((c == 0xe0 && *p < 0xa0) || (c == 0xed && *p > 0x9f) ||
		    (c == 0xf0 && *p < 0x90) || (c == 0xf4 && *p > 0x8f))
			return false;
		for (; tail; tail--, p++)
			if ((*p & 0xc0) != 0x80)
				return false;
	}
	return true;
}

static const ProtobufCFieldDescriptor *kind_field(const Twinvm__Control *msg)
{
	return protobuf_c_message_descriptor_get_field(&twinvm__control__descriptor,
						       (unsigned)msg->msg_case);
}

static const void *member(const void *msg, const ProtobufCFieldDescriptor *f)
{
	return (const uint8_t *)msg + f->offset;
}

const char *control_name(const Twinvm__Control *msg)
{
	const ProtobufCFieldDescriptor *f = msg->msg_case ? kind_field(msg) : NULL;

	return f ? f->name : "nothing";
}

static int check_strings(const ProtobufCMessage *m, struct tv_err *e)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;

	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		const char *s;

		if (f->type != PROTOBUF_C_TYPE_STRING || f->label == PROTOBUF_C_LABEL_REPEATED)
			continue;
		s = *(char *const *)member(m, f);
		if (!s || !string_valid(s))
			return tv_fail(e, TV_E_PROTOCOL, "%s.%s is not a valid string",
				       d->short_name, f->name);
	}
	return 0;
}

static int check_message(const Twinvm__Control *msg, struct tv_err *e)
{
	const ProtobufCFieldDescriptor *f = msg->msg_case ? kind_field(msg) : NULL;
	const ProtobufCMessage *sub;

	if (!f)
		return tv_fail(e, TV_E_PROTOCOL, "unknown kind of control message");
	sub = *(ProtobufCMessage *const *)member(msg, f);
	if (!sub)
		return tv_fail(e, TV_E_PROTOCOL, "the control message %s is empty", f->name);
	return check_strings(sub, e);
}

int control_unpack(const uint8_t *p, size_t n, Twinvm__Control **out, struct tv_err *e)
{
	struct bounded b = {.left_bytes = UNPACK_LIMIT_BYTES};
	ProtobufCAllocator alloc = {bounded_alloc, bounded_free, &b};
	Twinvm__Control *msg;
	int rc;

	*out = NULL;
	msg = twinvm__control__unpack(&alloc, n, p);
	if (!msg)
		return tv_fail(e, TV_E_PROTOCOL, "a control message of %zu bytes %s", n,
			       b.full ? "needs too much memory" : "cannot be parsed");
	rc = check_message(msg, e);
	if (rc)
		control_free(msg);
	else
		*out = msg;
	return rc;
}

void control_free(Twinvm__Control *msg)
{
	/* bounded_free keeps no account, so any allocator with the same free() will do. */
	ProtobufCAllocator alloc = {bounded_alloc, bounded_free, NULL};

	if (msg)
		twinvm__control__free_unpacked(msg, &alloc);
}
