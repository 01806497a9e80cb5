/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files that a VM only reads, and what is in its drives. Private to hv/attach. */
#ifndef HV_ATTACH_FILES_H
#define HV_ATTACH_FILES_H

#include "hv/vm.h"

/*
 * What is in the drives whose medium can be changed, from query-block: [{"device":..., "qdev":...,
 * "node":..., "file":"/path", "format":"raw"}]; the last three are missing of an empty one. A medium
 * that the guest can write is a disk, and its drive is not in the list. cwd: QEMU's. Pure.
 */
json_t *hv_drives_of(json_t *block, const char *cwd);
/* Paths of the images that are only read, from query-block. Pure. */
void hv_read_only_images(json_t *block, const char *cwd, json_t *paths);
/*
 * Opens each of these paths as QEMU can, and describes it: [{"path":..., "bytes":N,
 * "sha256":"..."}], in the order of hv_file_read. What QEMU has open is read from there, also when
 * it has no name any more. A file that is not there, or that QEMU could not open, is left out.
 */
json_t *hv_files_open(struct hv_vm *vm, json_t *paths, struct tv_err *e);
void hv_files_close(struct hv_vm *vm);
/* Reads those of these files that are not known; more, and errors: see hv_hash_files. */
int hv_files_hash(pid_t pid, json_t *paths, struct hv_hashes *h, hv_hash_more *more, void *arg,
		  struct tv_err *e) TV_MUST_CHECK;
/* Does one list of hv_drives_of differ from the other? 1 with a sentence, or 0. Pure. */
int hv_drives_differ(json_t *before, json_t *now, struct tv_err *e);
/* Has a disk another size in query-block than it had? 1 with a sentence, or 0. Pure. */
int hv_disks_differ(const struct hv_disk *disks, unsigned n, json_t *block, struct tv_err *e);

#endif
