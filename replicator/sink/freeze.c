/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink: a still from twinvmd's order to its end. What it is made of is in still.c. */
#include "replicator/sink/sink_int.h"
#include "replicator/sink/still.h"

#include <errno.h>
#include <string.h>

static void answer(struct sink *s, int rc, const char *text, int holder)
{
	struct session_frozen body = {.rc = rc};

	tv_copy(body.text, sizeof(body.text), text);
	report_send_fds(s->report, session_message(SESSION_OP_FROZEN, &body), &holder, !rc);
}

void sink_thaw(struct sink *s, const char *why)
{
	struct sink_still *still = s->still;

	if (!still)
		return;
	s->still = NULL;
	event_free(s->still_over);
	event_free(s->still_late);
	s->still_over = s->still_late = NULL;
	tv_log(TV_INFO, "%s: a still has ended: %s", s->job.vm_name, why);
	sink_still_end(still, why, true);
	applier_look(s->applier);
}

/* The holder is gone; or the apply thread has ended it, and the holder knows why. */
static void on_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	sink_thaw(arg, "its holder has closed it, or it could not be kept");
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	sink_thaw(arg, "its time is over");
}

static json_t *about(struct sink *s)
{
	return json_pack("{ss ss ss sI so}", "name", s->job.vm_name, "vm_id", s->job.vm_id,
			 "session", s->job.session, "generation", (json_int_t)s->b.generation,
			 "description",
			 json_loadb(s->description, strlen(s->description), 0, NULL));
}

static const char *why_not(const struct sink *s)
{
	if (s->still)
		return "one epoch of this VM is held still already: one at a time";
	if (s->b.state != FO_B_STANDBY || !s->b.epoch_committed || !s->applier)
		return "the VM is not protected now: no epoch is committed";
	return NULL;
}

static int make(struct sink *s, const struct session_freeze *order, int *holder)
{
	struct sink_still_conf conf = {.about = about(s),
				       .extra_bytes = order->extra_bytes,
				       .disk_bytes = order->disk_bytes ? order->disk_bytes
								       : s->job.conf.spool_bytes,
				       .dir = s->job.conf.replica_dir};
	struct timeval late = tv_timeval(order->for_s * TV_NS_PER_S);
	int rc = sink_still_new(&conf, &s->still, holder);

	if (rc)
		return rc;
	s->still_over = event_new(s->base, sink_still_fd(s->still), EV_READ, on_over, s);
	s->still_late = evtimer_new(s->base, on_late, s);
	if (!s->still_over || !s->still_late || event_add(s->still_over, NULL) ||
	    event_add(s->still_late, &late)) {
		if (s->still_over)
			event_free(s->still_over);
		if (s->still_late)
			event_free(s->still_late);
		s->still_over = s->still_late = NULL;
		sink_still_end(s->still, "no memory", false);
		s->still = NULL;
		tv_close_fd(holder);
		return -ENOMEM;
	}
	return 0;
}

void sink_freeze(struct sink *s, const struct session_freeze *order)
{
	const char *why = why_not(s);
	int rc, holder = -1;

	if (why) {
		answer(s, s->still ? -EBUSY : TV_E_REFUSED, why, -1);
		return;
	}
	if (order->for_s <= 0) {
		answer(s, -EINVAL, "a still needs a time after which it ends", -1);
		return;
	}
	rc = make(s, order, &holder);
	if (!rc)
		applier_freeze(s->applier, s->still);
	answer(s, rc, rc ? tv_strerror(rc) : "", holder);
	tv_close_fd(&holder);
}
