/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hv/qemu: tools to talk to any QEMU, be it a protected VM, a standby, or a binary that is asked
 * what it can do. The room knows nothing of attaching, dirty pages or standbys; it is a set of
 * tools and not one thing, so its door includes them all:
 *
 *   proc.h      /proc of a process: command line, links, memory map
 *   libvirt.h   domains of libvirt
 *   link.h      bridges and their ports
 *   readconfig.h  the command line with its configuration files in it, and where QEMU was started
 *   cmdline.h   what a QEMU command line says: name, QMP sockets, values of options
 *   keyval.h    one option's argument as an editable list
 *   qmp.h       the QMP client
 *   features.h  what differs between QEMUs, asked once: struct hv_qemu
 *   devices.h   devices and NICs
 *   drivers.h   which device drivers a protected VM may have
 *   ramblock.h  RAM blocks, and where they lie in the process
 *   sections.h  what a saved device state consists of
 *   spawn.h     a program that is only asked, and ending any process
 *
 * hv_find and hv_list of hv.h are here, too (find.c).
 *
 * Call order for a QEMU: hv_qmp_open, hv_qemu_ask (or hv_qemu_run, which starts a binary for it),
 * then whatever is to be asked; hv_qmp_close. Who opens an hv_qmp closes it. What a call returns in
 * a struct is released by the _dispose of its header, texts and vectors by free(); each comment
 * says which. One thread at a time per hv_qmp.
 */
#ifndef HV_QEMU_QEMU_H
#define HV_QEMU_QEMU_H

#include "hv/qemu/cmdline.h"
#include "hv/qemu/devices.h"
#include "hv/qemu/drivers.h"
#include "hv/qemu/features.h"
#include "hv/qemu/find.h"
#include "hv/qemu/keyval.h"
#include "hv/qemu/libvirt.h"
#include "hv/qemu/link.h"
#include "hv/qemu/proc.h"
#include "hv/qemu/qmp.h"
#include "hv/qemu/qmp_frame.h"
#include "hv/qemu/ramblock.h"
#include "hv/qemu/readconfig.h"
#include "hv/qemu/sections.h"
#include "hv/qemu/spawn.h"

#endif
