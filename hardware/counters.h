/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel counts by itself, without an event: looked at slowly. Private to hardware/. */
#ifndef HARDWARE_COUNTERS_H
#define HARDWARE_COUNTERS_H

#include "hardware/hardware.h"

#define HW_MAX_DIMMS 64
#define HW_MAX_DEVICES 64

/*
 * "op":"counters": corrupted_kib (pages that the kernel has taken out, null: not counted here),
 * edac: {controllers, corrected, uncorrected, dimms:[{mc, dimm, label, location, corrected,
 * uncorrected}]}, dimms at most HW_MAX_DIMMS; aer: {counting, corrected, nonfatal, fatal, devices:[{device,
 * corrected, nonfatal, fatal}]}, counting: how many devices count errors of PCI Express, devices: those, at most
 * HW_MAX_DEVICES. The caller's; NULL: no memory. meminfo, edac_dir, pci_dir: where to look.
 */
json_t *hw_counters(const char *meminfo, const char *edac_dir, const char *pci_dir);
/* The number after "name:" in a text such as a CPU's stats of the trace; 0: it has none. */
uint64_t hw_number_after(const char *text, const char *name);
/* What /proc/cpuinfo says of the CPUs. */
struct ras_cpu hw_cpu(const char *cpuinfo);

#endif
