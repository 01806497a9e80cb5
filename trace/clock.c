/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How far the backup's clock is from ours, by a heartbeat's four stamps, as NTP does it. Both ways are
 * taken to be equally long; however they differ, the result is wrong by half of the round trip at most. A
 * heartbeat that waited anywhere has a longer one: the shortest of each second counts. Each second anew,
 * since two clocks drift apart by tens of microseconds in one.
 */
#include "trace/trace_int.h"

#define WINDOW_NS TV_NS_PER_S

static bool is_time(int64_t ns)
{
	return ns > 0 && ns < TRACE_MAX_NS;
}

static void record(struct trace_clock *c, struct trace *t)
{
	struct trace_event ev = {TRACE_CLOCK, 0, c->at_ns - c->rtt_ns, c->rtt_ns, c->offset_ns};

	trace_add(t, ev.phase, 0, ev.start_ns, c->at_ns, ev.value);
	c->recorded = true;
}

void trace_clock_add(struct trace_clock *c, struct trace *t, int64_t sent_ns, int64_t received_ns,
		     int64_t echoed_ns, int64_t back_ns)
{
	int64_t there_ns, rtt_ns;

	if (!is_time(sent_ns) || !is_time(received_ns) || !is_time(echoed_ns) ||
	    !is_time(back_ns) || back_ns < sent_ns || echoed_ns < received_ns ||
	    echoed_ns - received_ns > back_ns - sent_ns)
		return;
	there_ns = echoed_ns - received_ns;
	rtt_ns = back_ns - sent_ns - there_ns;
	if (!c->since_ns || rtt_ns < c->rtt_ns) {
		if (!c->since_ns)
			c->since_ns = back_ns;
		c->rtt_ns = rtt_ns;
		c->at_ns = back_ns;
		/* The middle of one stretch against the middle of the other; no sum overflows. */
		c->offset_ns = (received_ns + there_ns / 2) - (sent_ns + (back_ns - sent_ns) / 2);
	}
	/* The first one at once: a short trace has one, too. */
	if (c->recorded && back_ns - c->since_ns < WINDOW_NS)
		return;
	record(c, t);
	c->since_ns = 0;
}
