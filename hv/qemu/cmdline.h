/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading QEMU's command line. Pure. Private to hv/: see qemu.h. */
#ifndef HV_QEMU_CMDLINE_H
#define HV_QEMU_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>

/* The chardev of a standby's monitor; its socket comes in as a descriptor (hv/host). */
#define HV_QMP_CHARDEV "tv-qmp"

/* Does arg ("-qmp", "--qmp") name this option ("qmp")? */
bool hv_arg_is(const char *arg, const char *option);
/* The number that Proxmox VE knows the VM by: -id N, which its QEMU alone has, or -pidfile
 * .../qemu-server/N.pid. 0: none. */
int hv_cmdline_number(char *const *argv);
/* The id of a domain of libvirt's system daemon, by its folder in an option's argument
 * (/var/lib/libvirt/qemu/domain-ID-NAME/). 0: it is none. */
int hv_cmdline_domain(char *const *argv);
/* -uuid in lower case; "" when it has none that is one. */
#define HV_UUID_ROOM 37
void hv_cmdline_uuid(char *const *argv, char out[HV_UUID_ROOM]);
/*
 * The value of key in an option's argument "a=b,c=d" (",," stands for a comma inside a value) or in
 * a JSON object. The first part may go without a key; it answers to key "" and to implied (may be
 * NULL). A key without value ("server") is "on", "nokey" is "off". False when it is not there.
 */
bool hv_opt_get(const char *arg, const char *implied, const char *key, char *out, size_t room);
/* -name guest=X,... or X; "" when it has none. */
void hv_cmdline_name(char *const *argv, char *out, size_t room);
/*
 * The nth QMP UNIX socket (from 0) of a command line, as written there: -qmp, -qmp-pretty,
 * -mon with mode=control, and the chardevs they name; "fd:N" for a standby's own, which came in as
 * descriptor N. False when there are no more.
 */
bool hv_cmdline_qmp(char *const *argv, unsigned nth, char *out, size_t room);

#endif
