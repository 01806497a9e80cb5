/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lv: libvirt, as twinvm uses it. Two halves. This door is for twinvmd, its replicators and its
 * tools: it starts the program twinvm-libvirt and speaks with it, and needs no libvirt. The program
 * (main.c, and what lv_int.h declares) is the only thing that is linked with libvirt: a host
 * without it needs no library, and a libvirtd that hangs holds up a process that can be killed.
 */
#ifndef LV_LV_H
#define LV_LV_H

#include "common/common.h"

#define LV_PROGRAM "twinvm-libvirt"
/* A UUID as libvirt prints it, with its NUL. */
#define LV_UUID_ROOM 37
/* The name space of twinvm's part of a domain's metadata. */
#define LV_METADATA_URI "urn:twinvm:libvirt:1"
#define LV_VM_ID_ROOM 33

/* How the program ends; its last line on stderr is the sentence. */
enum lv_exit {
	LV_EXIT_OK = 0,
	LV_EXIT_FAILED = 1,    /* -EIO */
	LV_EXIT_USAGE = 2,     /* -EINVAL */
	LV_EXIT_REFUSED = 3,   /* TV_E_REFUSED */
	LV_EXIT_GONE = 4,      /* TV_E_GONE: the domain does not run, or is another process now */
	LV_EXIT_NO_DAEMON = 5, /* -ENOTCONN: libvirtd does not answer */
};
/* The code that an exit status stands for; 0 for LV_EXIT_OK. */
int lv_exit_code(int status);

/* The program: beside this process's own executable. -ENOENT: it is not there, and the sentence says
 * what to install. */
int lv_program(char *out, size_t room, struct tv_err *e) TV_MUST_CHECK;

/* A question to the program. */
struct lv_ask {
	const char *const *args; /* the subcommand and its arguments, NULL at the end */
	const char *input;	 /* its stdin; NULL: none */
	size_t input_bytes;
	size_t most_bytes; /* of its answer: more is -EFBIG */
	int timeout_ms;	   /* of all; then it is killed, -ETIMEDOUT */
};
/*
 * Runs the program; *out is what it wrote to stdout, the caller's to free, NUL-terminated, and
 * *out_bytes (may be NULL) its length. On failure out is NULL and e has the program's sentence. It
 * blocks; any thread.
 */
int lv_ask(const struct lv_ask *ask, char **out, size_t *out_bytes, struct tv_err *e) TV_MUST_CHECK;

/*
 * QMP of a running domain, through libvirt: starts a process of the program that is connected to
 * libvirtd and speaks QMP at the other end of a socket, whose end here is *fd (the caller's). It ends
 * when that is closed, and with its connection to libvirtd; the end of neither is QEMU's. pid: the
 * QEMU that the domain must be, TV_E_REFUSED else. What it does otherwise than QEMU:
 *   - An event that QEMU sent before an answer comes before that answer. One that it sent after it
 *     may come before it, too. No event comes while a command is under way.
 *   - At most one descriptor goes with a command.
 * Other errors: those of lv_exit_code, -ETIMEDOUT.
 */
int lv_qmp(const char *uuid, pid_t pid, int timeout_ms, int *fd, struct tv_err *e) TV_MUST_CHECK;

/* The VM as whose standby twinvm made that domain, of its XML as libvirt writes it. False: it did not. */
bool lv_mark_of(const char *xml, char vm_id[LV_VM_ID_ROOM]);

#endif
