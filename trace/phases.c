/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The phases as a table; and which of them a host may report. */
#include "trace/trace_int.h"

#define ROW(number, symbol, phase_word, phase_host, phase_track, phase_meaning)   \
	[number] = {.word = (phase_word),                                         \
		    .meaning = (phase_meaning),                                   \
		    .host = TRACE_##phase_host,                                   \
		    .in_pause = TRACE_TRACK_##phase_track == TRACE_TRACK_PAUSE && \
				(number) != TRACE_PAUSE},
static const struct trace_phase_info phases[] = {TRACE_PHASES(ROW)};
#undef ROW
#define ROW(number, symbol, word, host, phase_track, meaning) [number] = TRACE_TRACK_##phase_track,
static const enum trace_track tracks[] = {TRACE_PHASES(ROW)};
#undef ROW

const struct trace_phase_info *trace_phase_info(unsigned phase)
{
	return phase && phase < TRACE_PHASE_END ? &phases[phase] : NULL;
}

enum trace_track trace_track_of(enum trace_phase phase)
{
	return tracks[phase];
}

static bool is_number(int64_t n)
{
	return n >= 0 && n < TRACE_MAX_NUMBER;
}

bool trace_event_ok(const struct trace_event *ev, enum trace_host host)
{
	const struct trace_phase_info *info = trace_phase_info(ev->phase);

	if (!info || info->host != host)
		return false;
	if (ev->start_ns <= 0 || ev->start_ns >= TRACE_MAX_NS || ev->length_ns < 0 ||
	    ev->length_ns > TRACE_MAX_LENGTH_NS)
		return false;
	if (ev->phase == TRACE_CLOCK)
		return !ev->epoch && ev->value > -TRACE_MAX_NS && ev->value < TRACE_MAX_NS;
	return ev->epoch && ev->epoch < TRACE_MAX_NUMBER && is_number(ev->value);
}
