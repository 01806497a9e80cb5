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

static bool moves_cursor(char c)
{
	return c == 0x7f || (c > 0 && c < 0x20 && c != '\n' && c != '\t' && c != '\r');
}

/* UTF-8, and nothing that moves a cursor. */
static bool string_valid(const char *s)
{
	for (const char *p = s; *p; p++)
		if (moves_cursor(*p))
			return false;
	return tv_is_utf8(s);
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

/* A peer refuses a message whose string is none, and the session ends with it: so such a text is sent
 * mended, wherever it comes from. */
static char *mended(const char *s)
{
	char *copy = strdup(s);

	for (char *p = copy; p && *p; p++)
		if (moves_cursor(*p))
			*p = '?';
	if (copy)
		tv_mend_utf8(copy);
	return copy;
}

int control_mend(const Twinvm__Control *msg, struct control_mended *out)
{
	const ProtobufCFieldDescriptor *f = msg->msg_case ? kind_field(msg) : NULL;
	ProtobufCMessage *sub = f ? *(ProtobufCMessage *const *)member(msg, f) : NULL;
	const ProtobufCMessageDescriptor *d = sub ? sub->descriptor : NULL;

	out->n = 0;
	for (unsigned i = 0; d && i < d->n_fields; i++) {
		char **s = (char **)((uint8_t *)sub + d->fields[i].offset);

		if (d->fields[i].type != PROTOBUF_C_TYPE_STRING ||
		    d->fields[i].label == PROTOBUF_C_LABEL_REPEATED || !*s || string_valid(*s))
			continue;
		tv_assert(out->n < CONTROL_MAX_STRINGS);
		out->at[out->n] = s;
		out->was[out->n++] = *s;
		*s = mended(*s);
		if (!*s) {
			control_unmend(out);
			return -ENOMEM;
		}
	}
	return 0;
}

void control_unmend(struct control_mended *m)
{
	while (m->n) {
		char **s = m->at[--m->n];

		free(*s);
		*s = m->was[m->n];
	}
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
