/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source: frames for the backup to replay if this host dies (netbuffer.h, sink/replay.c).
 * Copies of what comes in go at once, as they are of use only if they are there before the power
 * goes; what an epoch sent goes with the epoch, whose commit makes it fit for replay. Both are
 * bounded and dropped first: a guest that moves bulk data has peers that retransmit anyway.
 */
#include "replicator/source/source_int.h"

#include <errno.h>
#include <string.h>

#define FRAMES_PER_HEARTBEAT 64
#define OUTPUT_BYTES_PER_EPOCH (32u << 10)

static void send_frame(struct source *s, uint64_t epoch, bool output, const uint8_t *hdr,
		       const uint8_t *frame, size_t n)
{
	Twinvm__Frame f = TWINVM__FRAME__INIT;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;
	uint8_t data[NB_VNET_HDR_BYTES + SRC_REPLAY_FRAME_BYTES];

	if (n > SRC_REPLAY_FRAME_BYTES)
		return;
	memcpy(data, hdr, NB_VNET_HDR_BYTES);
	memcpy(data + NB_VNET_HDR_BYTES, frame, n);
	f.generation = s->p.generation;
	f.epoch = epoch;
	f.output = output;
	f.data.data = data;
	f.data.len = NB_VNET_HDR_BYTES + n;
	msg.msg_case = TWINVM__CONTROL__MSG_FRAME;
	msg.frame = &f;
	src_send(s, &msg, !output);
}

static void on_input(const uint8_t *hdr, const uint8_t *frame, size_t n, void *arg)
{
	struct source *s = arg;

	if (s->p.state != FO_P_PROTECTED || !s->link.connected)
		return;
	if (++s->replay.sent > FRAMES_PER_HEARTBEAT) {
		for (unsigned i = 0; i < s->replay.taps_n; i++)
			nb_tap_enable(s->replay.taps[i], false); /* until src_replay_tick() */
		return;
	}
	send_frame(s, s->p.epoch_running, false, hdr, frame, n);
}

void src_replay_watch(struct source *s, const char *ifname)
{
	int rc;

	if (!*ifname || s->replay.taps_n == HV_MAX_NICS)
		return;
	rc = nb_tap_watch(s->base, ifname, on_input, s, &s->replay.taps[s->replay.taps_n]);
	if (!rc)
		s->replay.taps_n++;
	else
		tv_log(TV_INFO,
		       "cannot watch %s (%s): after a failover peers must retransmit by themselves",
		       ifname, tv_strerror(rc));
}

void src_replay_end(struct source *s)
{
	while (s->replay.taps_n)
		nb_tap_free(s->replay.taps[--s->replay.taps_n]);
}

void src_replay_tick(struct source *s)
{
	for (unsigned i = 0; i < s->replay.taps_n && s->replay.sent > FRAMES_PER_HEARTBEAT; i++)
		nb_tap_enable(s->replay.taps[i], true);
	s->replay.sent = 0;
}

struct held {
	struct source *s;
	uint64_t epoch;
};

static void on_held(const uint8_t *hdr, const uint8_t *frame, size_t n, void *arg)
{
	struct held *h = arg;

	send_frame(h->s, h->epoch, true, hdr, frame, n);
}

void src_replay_epoch(struct source *s, uint64_t epoch)
{
	struct held h = {s, epoch};

	if (s->hold.nb && s->replay.taps_n && s->p.state == FO_P_PROTECTED)
		nb_each_held(s->hold.nb, epoch, OUTPUT_BYTES_PER_EPOCH, on_held, &h);
}
