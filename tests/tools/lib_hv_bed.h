/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tools that test hv against a real QEMU share: one QEMU, started here in a folder of its
 * own, and looked at. It and its folder are gone when the program ends, however it ends.
 */
#ifndef LIB_HV_BED_H
#define LIB_HV_BED_H

#include "hv/hv.h"

#include <stdio.h>
#include <stdlib.h>

#define BED_MS 20000 /* for whatever is waited for */

/* What must be true; else the program ends with status 1 and a line on stderr. */
#define MUST(cond, ...)                                                                   \
	do {                                                                              \
		if (!(cond)) {                                                            \
			fprintf(stderr, "FAILED %s:%d: %s: ", __FILE__, __LINE__, #cond); \
			fprintf(stderr, __VA_ARGS__);                                     \
			fputc('\n', stderr);                                              \
			exit(1);                                                          \
		}                                                                         \
	} while (0)

struct hv_bed {
	pid_t pid; /* of QEMU; 0: none runs */
	char dir[64], name[64], qmp_path[108];
	bool deaths; /* a process dies while QEMU writes into its pipe: pipes do not count */
};
extern struct hv_bed bed;

/* Makes the folder /tmp/PROGRAM.XXXXXX. */
void bed_init(const char *program);
/* Starts QEMU with args and more (ends with NULL, may be NULL), a name and a QMP socket, and waits
 * until it answers there. */
void bed_start(char **args, int n, const char *const *more);
void bed_kill(void);
/* Removes a folder and the files in it. */
void bed_remove_dir(const char *dir);
/* Writes a tiny BIOS that never stops to write to 128 pages; its path lives for ever. */
const char *bed_write_bios(void);

/* Finds the VM by its name and attaches; a refusal is printed. */
struct hv_vm *bed_attach(const struct hv_opts *opts);
json_t *bed_describe(struct hv_vm *vm);
/* hv_round_begin; where tracking needs a pause for it, the VM gets one unless it is paused. */
void bed_begin_round(struct hv_vm *vm);

/* ---- lib_hv_traces.c ---- */
/* Everything of QEMU that attaching might change, as one text; the caller frees it. */
char *bed_traces(void);
/* Nothing was left behind: the traces are as before, and no mapping is watched any more. */
void bed_must_be_same(const char *before, const char *what);

#endif
