/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command-line rewriter's parts. Pure. Private to hv/standby. */
#ifndef HV_STANDBY_REWRITE_H
#define HV_STANDBY_REWRITE_H

#include "hv/standby/standby_int.h"

#define HV_REWRITE_NAMES 64

/*
 * One rewriting. After a failure rc is set, e says why, and everything that follows does nothing,
 * so that the many small steps need no check each.
 */
struct hv_rewrite {
	json_t *desc;
	const struct hv_standby_conf *conf;
	const struct hv_qemu *qemu; /* that is to run it */
	const char *ram_path, *qmp_path;

	const char *cwd;       /* of the primary's QEMU */
	const char *main_name; /* RAMBlock name of main RAM */
	uint64_t ram_bytes;
	char main_id[256];   /* id of the memory back end that gets that name */
	bool main_is_memdev; /* named by -numa memdev=, not by -machine memory-backend= */
	struct hv_keyval machine, memory; /* all -machine options together, all -m together */

	char **out;
	unsigned n, room;
	char *names[HV_REWRITE_NAMES]; /* used inside conf->dir */
	unsigned n_names, n_taps;
	bool disk_found[HV_MAX_DISKS];
	int rc;
	struct tv_err *e;
};

/* Sets rc (the first failure stays) and the sentence. */
void hv_rw_fail(struct hv_rewrite *rw, int rc, const char *fmt, ...) TV_PRINTF(3, 4);
/* Appends one word to the command line. */
void hv_rw_put(struct hv_rewrite *rw, const char *word);
void hv_rw_putf(struct hv_rewrite *rw, const char *fmt, ...) TV_PRINTF(2, 3);
/* Appends option and the printed argument. */
void hv_rw_put_keyval(struct hv_rewrite *rw, const char *option, const struct hv_keyval *kv);
/* hv_keyval_set and hv_keyval_parse with their failure in rc. */
void hv_rw_set(struct hv_rewrite *rw, struct hv_keyval *kv, const char *key, const char *value);
bool hv_rw_parse(struct hv_rewrite *rw, struct hv_keyval *kv, const char *option, const char *arg,
		 const char *implied);
/* A file name inside conf->dir, from the last part of path, unlike all given before. NULL: failed.
 * The caller frees it. */
char *hv_rw_local(struct hv_rewrite *rw, const char *path, const char *suffix);
/* Makes a path absolute, seen from the primary's working directory; the caller frees it. */
char *hv_rw_path(struct hv_rewrite *rw, const char *path);

/* ---- rewrite_chardev.c ---- */
/* -serial, -parallel, -debugcon: the device stays, what is behind it moves. */
void hv_rw_serial(struct hv_rewrite *rw, const char *option, const char *arg);
void hv_rw_chardev(struct hv_rewrite *rw, const char *option, const char *arg);

/* ---- rewrite_disk.c ---- */
/* Each is true when the option was dealt with: it was a writable disk's, or rw has failed. */
bool hv_rw_disk_drive(struct hv_rewrite *rw, const char *arg);
bool hv_rw_disk_blockdev(struct hv_rewrite *rw, const char *arg);
/* option: -hda, -pflash, ... */
bool hv_rw_disk_short(struct hv_rewrite *rw, const char *option, const char *file);
/* Fails unless every writable disk was found. */
void hv_rw_disks_finish(struct hv_rewrite *rw);

/* ---- rewrite_net.c ---- */
/* -netdev, -nic and -net. */
void hv_rw_net(struct hv_rewrite *rw, const char *option, const char *arg);

/* ---- rewrite_ram.c ---- */
/* Finds out which memory back end is main RAM. */
void hv_rw_ram_init(struct hv_rewrite *rw, char *const *argv, unsigned argc);
void hv_rw_machine(struct hv_rewrite *rw, const char *option, const char *arg);
void hv_rw_memory(struct hv_rewrite *rw, const char *option, const char *arg);
void hv_rw_object(struct hv_rewrite *rw, const char *option, const char *arg);
/* Appends -machine, -m and main RAM's back end. */
void hv_rw_ram_finish(struct hv_rewrite *rw);

#endif
