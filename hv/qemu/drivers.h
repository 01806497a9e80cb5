/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of QEMU's device drivers a protected VM may have: one table for the primary's check
 * (attach/check.c) and for the command line that a peer sends (standby/rules.c). Pure. Private to
 * hv/: see qemu.h.
 */
#ifndef HV_QEMU_DRIVERS_H
#define HV_QEMU_DRIVERS_H

enum hv_driver_class {
	HV_DRIVER_UNKNOWN, /* in no list: not allowed on a standby's command line */
	HV_DRIVER_FINE,	   /* its output is held, or nothing of it leaves the VM */
	HV_DRIVER_LISTED,  /* allowed; what its back end carries is not held (docs/DEVICES.md) */
	HV_DRIVER_REFUSED,
};
struct hv_driver {
	const char *pattern; /* as of fnmatch */
	enum hv_driver_class class;
	const char *what;   /* LISTED: what it means; REFUSED: why */
	const char *remedy; /* REFUSED: what to do instead */
};
/* The table's first line for a driver; one of class UNKNOWN when there is none. */
const struct hv_driver *hv_driver(const char *name);
/* The table, for the tool that prints it. */
const struct hv_driver *hv_drivers(unsigned *n);

#endif
