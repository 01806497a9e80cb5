/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the program twinvm-libvirt share. Private to lv/; the door is lv.h. */
#ifndef LV_LV_INT_H
#define LV_LV_INT_H

#include "lv/lv.h"
#include <libvirt/libvirt.h>

/* Subcommands: argv[0] is the subcommand's name. They return an enum lv_exit, and have reported why. */
int lv_xml_main(int argc, char **argv);
int lv_qmp_main(int argc, char **argv);
int lv_owner_main(int argc, char **argv);
int lv_standby_main(int argc, char **argv);
int lv_end_main(int argc, char **argv);

/* Says a sentence on stderr as the program's last word; returns status. */
int lv_say(int status, const char *fmt, ...) TV_PRINTF(2, 3);
/* Where lv_say writes instead of stderr, as the line "STATUS SENTENCE"; -1: stderr. */
void lv_say_to(int fd);
/* The same with what libvirt says of its last error behind it; picks the status by that error. */
int lv_say_virt(const char *fmt, ...) TV_PRINTF(1, 2);

/* Connects to this host's QEMU driver. NULL: reported, and *status is what to end with. The caller
 * closes it with virConnectClose. */
virConnectPtr lv_connect(int *status);
/* A running domain by its UUID, to be freed with virDomainFree. NULL: as above. */
virDomainPtr lv_domain(virConnectPtr c, const char *uuid, int *status);
/* Is the domain's QEMU this process? LV_EXIT_OK, or what to end with: reported. */
int lv_check_process(virDomainPtr d, pid_t pid);

#endif
