/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hardware: the process that watches this host's hardware, and what it reports to the daemon. It reads the
 * kernel's trace of memory, CPU and bus errors and the counters of its drivers, has ras/ say what they
 * mean, and sends that as JSON, one object a line (ctl.h). Nothing acts here.
 *
 *   {"op":"sources", "sources":[{"name","what","there","why"}], "trace","edac","cec","boot": ...}  first
 *   {"op":"faults", "faults":[struct hw_fault], "more":N, "counts":{...}}    at most HW_MESSAGES_A_S a second
 *   {"op":"counters", "corrupted_kib","edac":{...},"aer":{...},"overrun":N}            when they change, and each minute
 *
 * Errors are never left out of a count, whatever is left out of the messages.
 */
#ifndef HARDWARE_HARDWARE_H
#define HARDWARE_HARDWARE_H

#include "common/common.h"
#include "ras/ras.h"
#include <jansson.h>

/* twinvmd hardware JOB: the process; fd: its end of the daemon's socket. Returns its exit status. */
int hardware_main(const char *job_text, int fd);

/* Faults that are the same but for their time: one entry with a count. */
struct hw_fault {
	struct ras_fault fault;	   /* of the newest; count: of all of them, at least 1 */
	uint64_t records;	   /* how many were put together */
	int64_t first_ns, last_ns; /* by tv_now_ns, of the first and the newest */
};
/* An object, the caller's; NULL: no memory. */
json_t *hw_fault_json(const struct hw_fault *f);
/* What such an object says; false: it is none. What it has of texts is UTF-8 and bounded. */
bool hw_fault_of(const json_t *o, struct hw_fault *out);
/* Are they the same but for time and counts? */
bool hw_fault_same(const struct ras_fault *a, const struct ras_fault *b);

/* Are its CPUs Intel's? cpuinfo: /proc/cpuinfo. (counters.c) */
bool hw_is_intel(const char *cpuinfo);

/* Folders of the kernel, for tests also others. */
#define HW_EDAC_DIR "/sys/devices/system/edac/mc"
#define HW_PCI_DIR "/sys/bus/pci/devices"
#define HW_MACHINECHECK_DIR "/sys/devices/system/machinecheck/machinecheck0"
#define HW_DEBUG_RAS_DIR "/sys/kernel/debug/ras"

#endif
