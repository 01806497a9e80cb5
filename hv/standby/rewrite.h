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
/* Appends one word to the command line. _owned: takes it over; NULL: there was no memory for it. */
void hv_rw_put_owned(struct hv_rewrite *rw, char *word);
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

/* ---- rules.c ---- */
/* Writes what becomes of an option; arg is NULL when it has none. */
typedef void hv_rw_make(struct hv_rewrite *rw, const char *option, const char *arg);
struct hv_rw_rule {
	const char *name; /* without the dash */
	enum { FLAG, ARG } arity;
	hv_rw_make *make; /* NULL: keep it as it is */
};
/* The rule for a word of the command line ("-m", "--m"); NULL: none, keep it. */
const struct hv_rw_rule *hv_rw_rule(const char *word);

/* ---- rewrite_chardev.c ---- */
/* -serial, -parallel, -debugcon: the device stays, what is behind it moves. */
hv_rw_make hv_rw_serial, hv_rw_chardev;

/* ---- rewrite_disk.c ---- */
hv_rw_make hv_rw_drive, hv_rw_blockdev;
/* -hda, -pflash, ... */
hv_rw_make hv_rw_medium;
/* Puts the replica in the place of a writable disk that is given by its image alone, as "-hda" and
 * its like do. True: it was one, or rw has failed. */
bool hv_rw_disk_short(struct hv_rewrite *rw, const char *option, const char *file);
/* Fails unless every writable disk was found. */
void hv_rw_disks_finish(struct hv_rewrite *rw);

/* ---- rewrite_net.c ---- */
/* -netdev, -nic and -net. */
hv_rw_make hv_rw_net;

/* ---- rewrite_path.c ---- */
/* The argument is a path; a firmware's name, which is a path only if the primary has such a file;
 * or a list with paths among its values. */
hv_rw_make hv_rw_put_path, hv_rw_put_firmware, hv_rw_put_paths;

/* ---- rewrite_ram.c ---- */
/* Finds out which memory back end is main RAM. */
void hv_rw_ram_init(struct hv_rewrite *rw, char *const *argv, unsigned argc);
hv_rw_make hv_rw_machine, hv_rw_memory, hv_rw_object;
/* Appends -machine, -m and main RAM's back end. */
void hv_rw_ram_finish(struct hv_rewrite *rw);

/* ---- rewrite_other.c ---- */
hv_rw_make hv_rw_nographic, hv_rw_no_hpet, hv_rw_no_acpi, hv_rw_audio, hv_rw_global, hv_rw_snapshot;
hv_rw_make hv_rw_refuse_config, hv_rw_refuse_preconfig, hv_rw_refuse_fd, hv_rw_refuse_tpm;

#endif
