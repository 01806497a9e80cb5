/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An instance of the kernel's tracing of our own, with the events that ras/ reads. Private to hardware/. */
#ifndef HARDWARE_INSTANCE_H
#define HARDWARE_INSTANCE_H

#include "hardware/hardware.h"

#define HW_INSTANCE "twinvm"
#define HW_MAX_CPUS 1024

struct hw_source {
	bool there;
	char why[160]; /* it is not */
};
struct hw_instance {
	void *instance; /* libtracefs's; NULL: there is none */
	char why[200];	/* there is none */
	struct hw_source source[RAS_SRC_COUNT];
	struct ras_reader *reader; /* knows the formats of the sources that are there */
	int raw[HW_MAX_CPUS], stats[HW_MAX_CPUS]; /* non-blocking; -1: none */
	unsigned cpus;
	int daemon_active; /* held open: else firmware's log is not traced; -1 */
};
/*
 * Makes it, also in place of one that a process which was killed has left. Needs root. What is
 * missing is noted in it; nothing here fails. reader is NULL only when there is no memory.
 */
void hw_instance_open(struct hw_instance *x);
/* Closes what this process has open of it. */
void hw_instance_close(struct hw_instance *x);
/* Removes it, when nobody has anything of it open any more. Needs root. */
void hw_instance_remove(struct hw_instance *x);

#endif
