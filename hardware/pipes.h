/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads the CPUs' trace buffers in an event loop. Private to hardware/. */
#ifndef HARDWARE_PIPES_H
#define HARDWARE_PIPES_H

#include "hardware/hardware.h"
#include <event2/event.h>

struct hw_pipes;
/* A record that could be decoded; at_ns: when, by tv_now_ns, as far as the trace knows. */
typedef void hw_fault_fn(void *arg, const struct ras_fault *f, int64_t at_ns);
/*
 * Reads fds (non-blocking, the caller's; -1 is left out) from now on. cpu: this host's, kept.
 * NULL: no memory.
 */
struct hw_pipes *hw_pipes_new(struct event_base *base, struct ras_reader *reader, const int *fds,
			      unsigned n, const struct ras_cpu *cpu, hw_fault_fn *fault, void *arg);
void hw_pipes_free(struct hw_pipes *p);
/* How many records meant nothing (a machine check without its valid bit). */
uint64_t hw_pipes_empty_records(const struct hw_pipes *p);

/* A time of the trace's clock (CLOCK_MONOTONIC) by tv_now_ns, which counts suspension of the host, too. */
int64_t hw_from_monotonic(int64_t mono_ns);

#endif
