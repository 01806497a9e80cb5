/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sink: the primary's first message, Hello. Its fields complete the job, and this process
 * registers with its daemon, which answers go, refuse or fenced.
 *
 * The peer's name is the certificate's (on_opened in link.c); a Hello that has another one is
 * refused. The arbiter is opened by the monitor, with this host's rights, and what it answers decides
 * who runs the VM: so its URL must be one of this host's configuration.
 */
#include "replicator/sink/sink_int.h"

#include <errno.h>
#include <string.h>

#define HEARTBEAT_MIN_MS 20
#define HEARTBEAT_MAX_MS 60000
#define EPOCH_MAX_MS 60000
#define ROOM(member) sizeof(((struct job *)0)->member)

static bool is_id(const char *id)
{
	return strlen(id) == 32 && strspn(id, "0123456789abcdef") == 32;
}

/* It goes into logs, file names of people and status: text without control characters. That it is
 * UTF-8 was checked when it was unpacked (replicator/link/control.c). */
static bool is_name(const char *name)
{
	for (const unsigned char *p = (const unsigned char *)name; *p; p++)
		if (*p < ' ' || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0))
			return false;
	return true;
}

const char *sink_hello_invalid(const Twinvm__Hello *h)
{
	if (!is_id(h->vm_id))
		return "vm_id";
	if (!is_id(h->session))
		return "session";
	if (!h->vm_name[0] || strlen(h->vm_name) >= ROOM(vm_name) || !is_name(h->vm_name))
		return "vm_name";
	if (!h->generation || h->generation > INT64_MAX) /* it is written as JSON */
		return "generation";
	if (strlen(h->arbiter) >= ROOM(arbiter))
		return "arbiter";
	if (h->heartbeat_ms < HEARTBEAT_MIN_MS || h->heartbeat_ms > HEARTBEAT_MAX_MS)
		return "heartbeat_ms";
	return NULL;
}

/* Values that the next session would only use as defaults are left out when they are invalid. */
static void take_fields(struct sink *s, const Twinvm__Hello *h)
{
	enum pace_mode known;

	tv_copy(s->job.vm_id, sizeof(s->job.vm_id), h->vm_id);
	tv_copy(s->job.session, sizeof(s->job.session), h->session);
	tv_copy(s->job.vm_name, sizeof(s->job.vm_name), h->vm_name);
	tv_copy(s->job.arbiter, sizeof(s->job.arbiter), h->arbiter);
	s->job.generation = h->generation;
	fo_times_init(&s->times, h->heartbeat_ms * TV_NS_PER_MS);
	s->job.peer.port = h->listen_port <= UINT16_MAX ? (uint16_t)h->listen_port : 0;
	s->job.epoch_ms = h->epoch_ms <= EPOCH_MAX_MS ? (int)h->epoch_ms : 0;
	if (!pace_mode_parse(h->mode, &known))
		tv_copy(s->job.mode, sizeof(s->job.mode), h->mode);
	s->job.by_operator = h->by_operator;
	s->has_hash_key = h->hash_key.len == CKPT_HASH_KEY_BYTES;
	if (s->has_hash_key)
		memcpy(s->hash_key, h->hash_key.data, CKPT_HASH_KEY_BYTES);
}

/* A backup that could never promote must not become one: the arbiter has to answer now. */
static int open_arbiter(struct sink *s, int heartbeat_ms, struct tv_err *e)
{
	int rc = monitor_arbiter(s->monitor, s->job.arbiter, heartbeat_ms, e);

	s->has_arbiter = s->job.arbiter[0] && strcmp(s->job.arbiter, "none") != 0;
	return rc ? rc : fo_ask_new(s->base, monitor_claim, s->monitor, sink_on_answer, s, &s->ask);
}

static int begin(struct sink *s, const Twinvm__Hello *h, struct tv_err *e)
{
	int rc;

	take_fields(s, h);
	if (s->no_rights.text[0])
		return tv_fail(e, -ENOENT, "%s", s->no_rights.text);
	rc = monitor_vm(s->monitor, s->job.vm_id, s->job.generation, e);
	if (rc)
		return rc;
	s->description = strdup(h->description);
	rc = s->description ? open_arbiter(s, (int)h->heartbeat_ms, e) : -ENOMEM;
	if (!rc)
		rc = sink_check_arbiter(s, h, e);
	if (rc && !e->text[0])
		tv_fail(e, rc, "%s", tv_strerror(rc));
	return rc;
}

void sink_on_hello(struct sink *s, const Twinvm__Hello *h)
{
	const char *invalid = sink_hello_invalid(h);
	struct tv_err e = {0};
	int rc;

	if (s->hello) {
		sink_violation(s, "unexpected message: a second Hello");
		return;
	}
	if (h->protocol != REPL_PROTOCOL) {
		tv_fail(&e, 0,
			"the backup uses protocol version %u, the primary %u: install the same "
			"twinvm on both hosts",
			REPL_PROTOCOL, h->protocol);
		sink_refuse(s, TV_E_VERSION, e.text);
		return;
	}
	if (invalid) {
		sink_violation(s, "invalid field in Hello: %s", invalid);
		return;
	}
	if (strcmp(h->host, s->job.peer.name) != 0) {
		sink_violation(s, "the Hello is of another host than the certificate");
		return;
	}
	rc = begin(s, h, &e);
	fo_backup_init(&s->b, &s->times, &sink_engine_ops, s, s->job.generation, s->has_arbiter);
	if (rc) {
		sink_refuse(s, rc, e.text);
		return;
	}
	s->hello = true;
	sink_introduce(s->report, s);
}
