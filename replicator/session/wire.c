/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the engines' messages and those of control.proto: see wire.h. */
#include "replicator/session/wire.h"

#include <errno.h>

void wire_phases_take(struct trace *t, struct wire_phases *out)
{
	struct trace_event ev[TRACE_REPORT];

	out->n = trace_unreported(t, ev);
	for (unsigned i = 0; i < out->n; i++) {
		out->all[i] = (Twinvm__Phase)TWINVM__PHASE__INIT;
		out->all[i].phase = ev[i].phase;
		out->all[i].epoch = ev[i].epoch;
		out->all[i].start_ns = ev[i].start_ns;
		out->all[i].length_ns = ev[i].length_ns;
		out->all[i].value = ev[i].value;
		out->at[i] = &out->all[i];
	}
}

void wire_phases_read(struct trace *t, Twinvm__Phase *const *phases, size_t n)
{
	for (size_t i = 0; i < n && i < TRACE_REPORT; i++) {
		struct trace_event ev = {.phase = phases[i]->phase,
					 .epoch = phases[i]->epoch,
					 .start_ns = phases[i]->start_ns,
					 .length_ns = phases[i]->length_ns,
					 .value = phases[i]->value};

		trace_add_peers(t, &ev);
	}
}

int wire_send(struct repl_conn *conn, const struct wire_extra *x, const struct fo_msg *m)
{
	struct wire_phases phases;
	Twinvm__Heartbeat hb = TWINVM__HEARTBEAT__INIT;
	Twinvm__HeartbeatEcho echo = TWINVM__HEARTBEAT_ECHO__INIT;
	Twinvm__Committed committed = TWINVM__COMMITTED__INIT;
	Twinvm__TakeOver take = TWINVM__TAKE_OVER__INIT;
	Twinvm__Fenced fenced = TWINVM__FENCED__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;

	switch (m->kind) {
	case FO_M_HEARTBEAT:
		hb.seq = m->seq;
		hb.sent_ns = m->sent_ns;
		hb.generation = m->generation;
		msg.msg_case = TWINVM__CONTROL__MSG_HEARTBEAT;
		msg.heartbeat = &hb;
		break;
	case FO_M_ECHO:
		echo.seq = m->seq;
		echo.sent_ns = m->sent_ns;
		echo.generation = m->generation;
		echo.moved = m->moved;
		echo.warning = (char *)x->why;
		echo.received_ns = x->received_ns;
		echo.echoed_ns = x->received_ns ? tv_now_ns() : 0;
		msg.msg_case = TWINVM__CONTROL__MSG_HEARTBEAT_ECHO;
		msg.heartbeat_echo = &echo;
		break;
	case FO_M_COMMITTED:
		committed.epoch = m->epoch;
		committed.generation = m->generation;
		wire_phases_take(x->trace, &phases);
		committed.phases = phases.at;
		committed.n_phases = phases.n;
		msg.msg_case = TWINVM__CONTROL__MSG_COMMITTED;
		msg.committed = &committed;
		break;
	case FO_M_TAKE_OVER:
		take.generation = m->generation;
		take.epoch = m->epoch;
		take.memory_error = m->poisoned;
		take.reason = (char *)(m->poisoned ? "a memory error in the VM on the primary"
				       : m->epoch  ? "planned failover"
						   : "the VM's process on the primary died");
		msg.msg_case = TWINVM__CONTROL__MSG_TAKE_OVER;
		msg.take_over = &take;
		break;
	case FO_M_FENCED:
		fenced.generation = m->generation;
		fenced.host = (char *)x->host;
		fenced.running = m->running;
		fenced.offered = m->offered;
		if (m->offered)
			fenced.reason = (char *)x->why;
		msg.msg_case = TWINVM__CONTROL__MSG_FENCED;
		msg.fenced = &fenced;
		break;
	default: /* its owner sends the rest, and knows more of it */
		return -EINVAL;
	}
	return repl_send(conn, &msg, true);
}

bool wire_read(const Twinvm__Control *m, struct fo_msg *out)
{
	switch (m->msg_case) {
	case TWINVM__CONTROL__MSG_HEARTBEAT:
		*out = (struct fo_msg){.kind = FO_M_HEARTBEAT,
				       .generation = m->heartbeat->generation,
				       .seq = m->heartbeat->seq,
				       .sent_ns = m->heartbeat->sent_ns};
		return true;
	case TWINVM__CONTROL__MSG_HEARTBEAT_ECHO:
		*out = (struct fo_msg){.kind = FO_M_ECHO,
				       .generation = m->heartbeat_echo->generation,
				       .seq = m->heartbeat_echo->seq,
				       .sent_ns = m->heartbeat_echo->sent_ns,
				       .moved = m->heartbeat_echo->moved};
		return true;
	case TWINVM__CONTROL__MSG_COMMITTED:
		*out = (struct fo_msg){.kind = FO_M_COMMITTED,
				       .generation = m->committed->generation,
				       .epoch = m->committed->epoch};
		return true;
	case TWINVM__CONTROL__MSG_TAKE_OVER:
		*out = (struct fo_msg){.kind = FO_M_TAKE_OVER,
				       .generation = m->take_over->generation,
				       .epoch = m->take_over->epoch,
				       .poisoned = m->take_over->memory_error};
		return true;
	case TWINVM__CONTROL__MSG_FENCED:
		*out = (struct fo_msg){.kind = FO_M_FENCED,
				       .generation = m->fenced->generation,
				       .running = m->fenced->running,
				       .offered = m->fenced->offered};
		return true;
	case TWINVM__CONTROL__MSG_BYE:
		*out = (struct fo_msg){.kind = FO_M_BYE, .generation = m->bye->generation};
		return true;
	default:
		return false;
	}
}

const char *wire_name(const Twinvm__Control *m)
{
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(
		&twinvm__control__descriptor, (unsigned)m->msg_case);

	return f ? ((const ProtobufCMessageDescriptor *)f->descriptor)->short_name : "of no kind";
}
