/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command-line rewriter's parts. Pure. Private to hv/standby. */
#ifndef HV_STANDBY_REWRITE_H
#define HV_STANDBY_REWRITE_H

#include "hv/standby/allow.h"
#include "hv/standby/media.h"
#include "hv/standby/standby_int.h"

#define HV_REWRITE_NAMES 64
#define HV_MAX_DRIVES 32

/*
 * One rewriting. After a failure rc is set, e says why, and everything that follows does nothing,
 * so that the many small steps need no check each.
 */
struct hv_rewrite {
	json_t *desc;
	const struct hv_standby_conf *conf;
	const struct hv_qemu *qemu; /* that is to run it */
	struct hv_host_start *what;

	const char *cwd;       /* of the primary's QEMU */
	const char *main_name; /* RAMBlock name of main RAM */
	uint64_t ram_bytes;
	char main_id[256];    /* id of the memory back end that gets that name */
	char tpm_chardev[64]; /* of its TPM; "": it has none */
	bool has_vnc;	      /* the standby's display is on its line */
	bool main_is_memdev;  /* named by -numa memdev=, not by -machine memory-backend= */
	struct hv_keyval machine, memory; /* all -machine options together, all -m together */

	char **out;
	unsigned n, room;
	char *names[HV_REWRITE_NAMES]; /* used inside the standby's own folder */
	unsigned n_names, n_queues;
	bool disk_found[HV_MAX_DISKS];
	bool drive_found[HV_MAX_DRIVES]; /* of desc["drives"] */
	unsigned n_nameless;		 /* -device without an id, so far */
	json_t *files;			 /* that the standby will read: hv_media_check */
	int rc;
	struct tv_err *e;
};

/* Sets rc (the first failure stays) and the sentence. */
void hv_rw_fail(struct hv_rewrite *rw, int rc, const char *fmt, ...) TV_PRINTF(3, 4);
/* Refuses what the other host asks for, in one form: "hostA asks for WHAT: not allowed on this host;
 * REMEDY". remedy NULL: to start the VM without. */
void hv_rw_deny(struct hv_rewrite *rw, const char *remedy, const char *fmt, ...) TV_PRINTF(3, 4);
/* Refuses the first key of kv that is not in keys (words, see allow.h), and JSON inside JSON when
 * that is asked for. what: the option and its kind, for the sentence. */
bool hv_rw_keys_ok(struct hv_rewrite *rw, const struct hv_keyval *kv, const char *keys,
		   const char *what);
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
/* A file name inside the standby's own folder, from the last part of path, unlike all given before. NULL: failed.
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
	hv_rw_make *make;
	const char *implied; /* key of a first part without one */
	const char *keys;    /* the only ones that it may have; of a word: its only values */
	const char *remedy;  /* where make is hv_rw_refuse */
};
/* The rule for a word of the command line ("-m", "--m"); NULL: none, it is refused. */
const struct hv_rw_rule *hv_rw_rule(const char *word);
const struct hv_rw_rule *hv_rw_rules(unsigned *n);
/* As it is (rewrite.c); a list, of which each key must be allowed; a word of letters and digits. */
hv_rw_make hv_rw_keep, hv_rw_list, hv_rw_word, hv_rw_drop, hv_rw_refuse;

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
/* Fails unless there is a replica for each disk. */
void hv_rw_disks_init(struct hv_rewrite *rw);
/* Fails unless every writable disk was found. */
void hv_rw_disks_finish(struct hv_rewrite *rw);

/* ---- rewrite_media.c ---- */
/* Images that are no disk of the VM: only to be read, and below the folders for that. */
hv_rw_make hv_rw_media_drive, hv_rw_media_node, hv_rw_media_short;
/* Is a key of -drive about the device, and not about the image? */
bool hv_rw_drive_key(const char *key);

/* ---- rewrite_drive.c ---- */
/* Puts what is in the drive of an option now in the place of its file; an empty drive has none. */
void hv_rw_drive_now(struct hv_rewrite *rw, const char *option, struct hv_keyval *kv);
/* The same for a -device: its node is replaced where another one is in it; called once for each. */
void hv_rw_device_now(struct hv_rewrite *rw, struct hv_keyval *kv);
/* Was that node in a drive when the VM started, and is not any more? */
bool hv_rw_is_old_medium(struct hv_rewrite *rw, const char *node);
/* Options for what is in QEMU's own drives; fails for a medium that has no drive. */
void hv_rw_drives_finish(struct hv_rewrite *rw);

/* ---- rewrite_net.c ---- */
/* -netdev, -nic and -net. */
hv_rw_make hv_rw_net;

/* ---- rewrite_path.c ---- */
/* The argument is a file; a folder; a firmware's name, which is a file only if the primary has such
 * a one. */
hv_rw_make hv_rw_put_path, hv_rw_put_folder, hv_rw_put_firmware;
/* Notes a file that the standby will read (kind: media.h), and returns its path, which the caller
 * frees; NULL: failed. */
char *hv_rw_media(struct hv_rewrite *rw, const char *path, const char *kind);
/* The same for firmware; a plain name stays, QEMU has it in its own folders. */
char *hv_rw_firmware(struct hv_rewrite *rw, const char *name);

/* ---- rewrite_ram.c ---- */
/* Finds out which memory back end is main RAM. */
void hv_rw_ram_init(struct hv_rewrite *rw, char *const *argv, unsigned argc);
hv_rw_make hv_rw_machine, hv_rw_memory;
/* Appends -machine, -m and main RAM's back end. */
void hv_rw_ram_finish(struct hv_rewrite *rw);

/* ---- rewrite_tpm.c ---- */
/* Finds out which chardev is in front of the VM's TPM. */
void hv_rw_tpm_init(struct hv_rewrite *rw, char *const *argv, unsigned argc);
hv_rw_make hv_rw_tpmdev;
/* True: kv is that chardev, and the standby's is on the line instead, or rw has failed. */
bool hv_rw_tpm_chardev(struct hv_rewrite *rw, const struct hv_keyval *kv);

/* ---- rewrite_device.c ---- */
hv_rw_make hv_rw_device, hv_rw_global, hv_rw_object;

/* ---- rewrite_other.c ---- */
hv_rw_make hv_rw_nographic, hv_rw_display, hv_rw_no_hpet, hv_rw_no_acpi, hv_rw_number, hv_rw_audio,
	hv_rw_snapshot, hv_rw_runas, hv_rw_cpu;

#endif
