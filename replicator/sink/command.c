/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer that passes an operator's command on: it sends Command instead of Hello, and gets a Reply for each
 * line that twinvmd answers, and the end of the connection after the last one. Every second a Command
 * without contents says that somebody waits; when none comes for hello_ns, or the connection closes, this
 * process ends, and twinvmd sees that. What is asked for is parsed here, and checked by twinvmd
 * (daemon/passed.c). No VM is part of such a session.
 */
#include "replicator/sink/sink_int.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MAX_BYTES (16u << 10)
#define LAST_MS 5000 /* the last line has this long to leave */
#define MAX_REPLY_BYTES (224u << 10)

static void hand_over(struct sink *s)
{
	struct session_look ask = {.pid = getpid()};
	json_t *msg;

	tv_copy(ask.host, sizeof(ask.host), s->job.peer.name);
	msg = session_message(SESSION_OP_COMMAND, &ask);
	if (!msg || json_object_set_new(msg, "request", s->command)) {
		json_decref(msg);
		msg = NULL;
	}
	s->command = NULL;
	report_send(s->report, msg);
}

void sink_command_connected(struct sink *s)
{
	if (s->command) {
		hand_over(s);
		return;
	}
	/* It is another daemon, which knows nothing of it. */
	sink_set_why(s, -ECONNRESET, "twinvmd was started again");
	sink_end(s, SESSION_FAILED, 0);
}

void sink_on_command(struct sink *s, const Twinvm__Command *m, int64_t now_ns)
{
	json_t *request = NULL;

	if (s->hello) {
		sink_violation(s, "unexpected message: a Command after the Hello");
		return;
	}
	s->looked_ns = now_ns;
	if (s->commanded && !m->json.len)
		return;
	if (m->json.len <= MAX_BYTES)
		request = json_loadb((const char *)m->json.data, m->json.len,
				     JSON_REJECT_DUPLICATES, NULL);
	if (s->commanded || !json_is_object(request)) {
		json_decref(request);
		sink_violation(s, s->commanded
					  ? "a second Command"
					  : "a Command that is no JSON object, or is too long");
		return;
	}
	sink_only_asks(s, "twinvmd command");
	s->commanded = true;
	s->command = request;
	if (report_connected(s->report))
		hand_over(s);
}

void sink_on_reply(struct sink *s, const json_t *msg)
{
	Twinvm__Reply reply = TWINVM__REPLY__INIT;
	Twinvm__Control out = TWINVM__CONTROL__INIT;
	TV_FREE char *text = NULL;

	if (!s->commanded || !s->conn)
		return;
	text = json_dumps(json_object_get(msg, "reply"), JSON_COMPACT);
	if (!text || strlen(text) > MAX_REPLY_BYTES) {
		sink_violation(s, "the answer is too long: see 'twinvm events' there");
		return;
	}
	reply.json.data = (uint8_t *)text;
	reply.json.len = strlen(text);
	out.msg_case = TWINVM__CONTROL__MSG_REPLY;
	out.reply = &reply;
	sink_send(s, &out, false);
	if (json_is_true(json_object_get(json_object_get(msg, "reply"), "done")))
		sink_end(s, SESSION_DISCARDED, LAST_MS);
}
