/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events in systemd's journal, with fields, by its native protocol: one datagram of lines NAME=VALUE; a value
 * with a line's end in it goes as NAME, '\n', 64 bits of length (little endian), the value, '\n'
 * (systemd's docs/JOURNAL_NATIVE_PROTOCOL.md). Field names: docs/EVENTS.md.
 */
#include "daemon/events_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LIMIT_BYTES (64u << 10)

static void add_bytes(struct tv_buf *b, const void *p, size_t n)
{
	(void)!tv_buf_add(b, p, n); /* an event has less than LIMIT_BYTES */
}

static void add_field(struct tv_buf *b, const char *name, const char *value)
{
	size_t n = strlen(value);
	uint8_t length[8];

	if (!n)
		return;
	add_bytes(b, name, strlen(name));
	if (strchr(value, '\n')) {
		tv_put_le64(length, n);
		add_bytes(b, "\n", 1);
		add_bytes(b, length, sizeof(length));
	} else {
		add_bytes(b, "=", 1);
	}
	add_bytes(b, value, n);
	add_bytes(b, "\n", 1);
}

static void add_value(struct tv_buf *b, const char *name, const json_t *v)
{
	char number[40];

	if (json_is_integer(v)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
		add_field(b, name, number);
	} else if (json_is_real(v)) {
		snprintf(number, sizeof(number), "%.3f", json_real_value(v));
		add_field(b, name, number);
	} else if (json_is_string(v)) {
		add_field(b, name, json_string_value(v));
	}
}

char *events_journal_pack(const json_t *o, enum events_kind kind, size_t *bytes)
{
	static const struct {
		const char *key, *name;
	} of_event[] = {{"text", "MESSAGE"},	   {"kind", "TWINVM_EVENT"},
			{"id", "TWINVM_EVENT_ID"}, {"host", "TWINVM_HOST"},
			{"vm", "TWINVM_VM"},	   {"vm_id", "TWINVM_VM_ID"},
			{"role", "TWINVM_ROLE"},   {"generation", "TWINVM_GENERATION"},
			{"epoch", "TWINVM_EPOCH"}, {"peer", "TWINVM_PEER"}},
	  of_data[] = {{"reason", "TWINVM_REASON"},
		       {"cause", "TWINVM_CAUSE"},
		       {"outage_ms", "TWINVM_OUTAGE_MS"}};
	const struct events_kind_info *k = events_kind_info(kind);
	const json_t *data = json_object_get(o, "data");
	char priority[8];
	struct tv_buf b;

	tv_buf_init(&b, LIMIT_BYTES);
	snprintf(priority, sizeof(priority), "%d", (int)k->priority);
	add_field(&b, "MESSAGE_ID", k->message_id);
	add_field(&b, "PRIORITY", priority);
	add_field(&b, "SYSLOG_IDENTIFIER", "twinvmd");
	for (size_t i = 0; i < sizeof(of_event) / sizeof(*of_event); i++)
		add_value(&b, of_event[i].name, json_object_get(o, of_event[i].key));
	for (size_t i = 0; i < sizeof(of_data) / sizeof(*of_data); i++)
		add_value(&b, of_data[i].name, json_object_get(data, of_data[i].key));
	*bytes = b.bytes;
	return (char *)b.data;
}

bool events_journal_send(const char *path, const json_t *o, enum events_kind kind)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	TV_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	TV_FREE char *text = NULL;
	size_t bytes;

	if (fd < 0 || strlen(path) >= sizeof(to.sun_path))
		return false;
	strcpy(to.sun_path, path);
	text = events_journal_pack(o, kind, &bytes);
	/* A journal that does not read, or is not there, gets nothing: the line of the log is left. */
	return text && sendto(fd, text, bytes, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&to,
			      sizeof(to)) == (ssize_t)bytes;
}

bool events_journal_has_stderr(void)
{
	const char *of = getenv("JOURNAL_STREAM"); /* DEVICE:INODE, by systemd */
	unsigned long long dev, ino;
	struct stat st;

	return of && sscanf(of, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st) &&
	       st.st_dev == dev && st.st_ino == ino;
}
