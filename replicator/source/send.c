/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: messages to the backup, and the end of the connection to it. */
#include "replicator/source/source_int.h"

#include "checkpoint/checkpoint.h"

#include <errno.h>
#include <stdlib.h>

#define FAREWELL_MS 1000

void src_send(struct source *s, Twinvm__Control *msg, bool urgent)
{
	int rc = s->link.conn ? repl_send(s->link.conn, msg, urgent) : -ENOTCONN;

	if (rc && s->link.connected)
		tv_log(TV_WARN, "sending to %s: %s", s->job.peer.name, tv_strerror(rc));
}

void src_send_msg(void *arg, const struct fo_msg *m)
{
	struct source *s = arg;
	struct wire_extra x = {.host = s->job.conf.host, .why = ""};
	int rc;

	if (!s->link.connected)
		return;
	/* Before it can arrive: should we die now, the VM is not ours to resume. */
	if (m->kind == FO_M_TAKE_OVER)
		s->page->yielded = m->epoch != 0;
	rc = wire_send(s->link.conn, &x, m);
	if (rc)
		tv_log(TV_WARN, "sending to %s: %s", s->job.peer.name, tv_strerror(rc));
}

void src_send_hello(struct source *s)
{
	Twinvm__Hello h = TWINVM__HELLO__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;

	h.protocol = REPL_PROTOCOL;
	if (getenv("TWINVM_TEST_PROTOCOL")) /* tests: be a host of another version */
		h.protocol = (uint32_t)atoi(getenv("TWINVM_TEST_PROTOCOL"));
	h.host = s->job.conf.host;
	h.vm_id = s->job.vm_id;
	h.vm_name = s->job.vm_name;
	h.generation = s->job.generation;
	h.session = s->job.session;
	h.description = s->vm.description;
	h.heartbeat_ms = (uint32_t)s->job.conf.heartbeat_ms;
	h.arbiter = s->job.arbiter;
	h.listen_port = s->job.conf.listen_port;
	h.mode = s->job.mode;
	h.epoch_ms = (uint32_t)s->job.epoch_ms;
	h.hash_key.data = (uint8_t *)disks_key(s->disks);
	h.hash_key.len = CKPT_HASH_KEY_BYTES;
	h.by_operator = s->job.by_operator;
	h.recorded = s->arbiter != NULL; /* the engine offers the VM only then */
	msg.msg_case = TWINVM__CONTROL__MSG_HELLO;
	msg.hello = &h;
	src_send(s, &msg, false);
}

void src_allow_beats(struct source *s)
{
	repl_beat_allow(s->link.beats, s->link.connected ? fo_primary_beats_until(&s->p) : 0);
}

void src_drop_link(struct source *s)
{
	s->link.connected = false;
	src_allow_beats(s);
	if (s->link.conn)
		repl_free(s->link.conn);
	s->link.conn = NULL;
}

void src_finish_link(struct source *s)
{
	s->link.connected = false;
	src_allow_beats(s);
	repl_finish(s->link.conn, FAREWELL_MS);
}
