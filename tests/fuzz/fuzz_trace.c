/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A trace whose hosts report anything: what is let in comes through the alignment and both outputs, as whole
 * JSON. Each 40 bytes of the input are an event. (A ring would cost each run more than all the rest.)
 */
#include "trace/trace_int.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct trace_event event_of(const uint8_t *p)
{
	return (struct trace_event){.phase = (enum trace_phase)tv_get_le32(p),
				    .epoch = tv_get_le64(p + 8),
				    .start_ns = (int64_t)tv_get_le64(p + 16),
				    .length_ns = (int64_t)tv_get_le64(p + 24),
				    .value = (int64_t)tv_get_le64(p + 32)};
}

static void show(struct trace_set *s)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	json_t *o;

	trace_align(s);
	if (trace_perfetto(s, f) || fclose(f))
		abort();
	o = json_loadb(text, n, 0, NULL);
	if (!o)
		abort();
	json_decref(o);
	free(text);
	o = trace_summary(s);
	if (!o)
		abort();
	json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trace_event events[64];
	struct trace_set s = {.events = events, .vm = "vm", .half = {{"a", true}, {"b", true}}};

	for (size_t i = 0; i + 40 <= size && s.n < 64; i += 40) {
		struct trace_event ev = event_of(data + i);

		if (trace_event_ok(&ev, TRACE_P) || trace_event_ok(&ev, TRACE_B))
			events[s.n++] = ev;
	}
	show(&s);
	return 0;
}
