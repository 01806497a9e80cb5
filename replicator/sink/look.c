/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer that only asks what this host knows: it sends Look instead of Hello, again and again, and gets
 * a View for each. No VM is part of such a session. What the daemon shows any peer, it sends to this
 * process; the answer passes through as it is. It needs no monitor then.
 */
#include "replicator/sink/sink_int.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MIN_NS (200 * TV_NS_PER_MS) /* a Look that comes earlier is not answered */
#define MAX_BYTES (192u << 10)

void sink_only_asks(struct sink *s, const char *title)
{
	s->looked = true;
	tv_set_title(title); /* no replicator: it is of no session */
	event_free(s->monitor_end);
	s->monitor_end = NULL;
	monitor_free(s->monitor);
	s->monitor = NULL;
}

void sink_on_look(struct sink *s, const Twinvm__Look *m, int64_t now_ns)
{
	struct session_look ask = {.pid = getpid()};

	if (s->hello) {
		sink_violation(s, "unexpected message: a Look after the Hello");
		return;
	}
	if (!s->looked)
		sink_only_asks(s, "twinvmd onlooker");
	if (s->looked_ns && now_ns - s->looked_ns < MIN_NS)
		return;
	s->looked_ns = now_ns;
	s->look_seq = m->seq;
	tv_copy(ask.host, sizeof(ask.host), s->job.peer.name);
	report_send(s->report, session_message(SESSION_OP_LOOK, &ask));
}

void sink_on_view(struct sink *s, const json_t *msg)
{
	Twinvm__View view = TWINVM__VIEW__INIT;
	Twinvm__Control out = TWINVM__CONTROL__INIT;
	TV_FREE char *text = NULL;

	if (!s->looked || !s->conn)
		return;
	text = json_dumps(json_object_get(msg, "view"), JSON_COMPACT);
	if (!text || strlen(text) > MAX_BYTES)
		return; /* the asker finds that this host does not answer */
	view.seq = s->look_seq;
	view.json.data = (uint8_t *)text;
	view.json.len = strlen(text);
	out.msg_case = TWINVM__CONTROL__MSG_VIEW;
	out.view = &view;
	sink_send(s, &out, false);
}
