/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A standby's run directory, and its images. Private to hv/host. */
#ifndef HV_HOST_FILES_H
#define HV_HOST_FILES_H

#include "hv/host/user.h"

/* The last part of a run directory: names the VM's images and its control group. */
const char *hv_host_name(const char *dir);
/* Makes DIR/NAME, empty, in which only that user may do anything: for what QEMU or its swtpm makes. */
int hv_host_make_folder(const char *dir, const char *name, const struct hv_host_user *u,
			struct tv_err *e) TV_MUST_CHECK;
/* Removes DIR/vm, DIR/tpm and the monitor's socket; with_log: QEMU's log too. */
void hv_host_remove_files(const char *dir, bool with_log);
/* Lets everybody pass through a folder of this process's user; nobody sees what is in it. */
void hv_host_let_pass(const char *dir);
/* The path of one of this VM's images, NAME-<number>.raw or .qcow2: -EINVAL for any other name. dir: its run
 * directory. */
int hv_host_image_path(const char *replica_dir, const char *dir, const char *name, char *path,
		       size_t room, struct tv_err *e) TV_MUST_CHECK;
/*
 * An image gets that user's group, which may write it. It must be a file of the folder's owner.
 * Then: can the user open it?
 */
int hv_host_give_image(const char *path, const struct hv_host_user *u,
		       struct tv_err *e) TV_MUST_CHECK;
/* A clone's image, which is that user's own already: can the user open it? */
int hv_host_check_overlay(const char *path, const struct hv_host_user *u,
			  struct tv_err *e) TV_MUST_CHECK;
/* A file that is only read, and that several VMs may share. own: the user's own already, as a clone's is; only looked at. */
int hv_host_give_copy(const char *path, const struct hv_host_user *u, bool own,
		      struct tv_err *e) TV_MUST_CHECK;
/* The monitor's socket, listened on: root's, who alone connects. */
int hv_host_listen(const char *path, int *fd, struct tv_err *e) TV_MUST_CHECK;

#endif
