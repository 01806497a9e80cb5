/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The attached VM, as hv/attach and hv/dirty share it. hv/attach makes it and frees it; vm->dirty
 * belongs to hv/dirty. Private to hv/. */
#ifndef HV_VM_H
#define HV_VM_H

#include "hv/hv.h"
#include "hv/qemu/qemu.h"

struct hv_dirty;
struct hv_watch;

struct hv_line { /* a QMP line made beforehand */
	char text[192];
	size_t bytes;
};

/* An epoch in one command (hv/attach/pipe.c). */
struct hv_pipe {
	int read_fd, write_fd; /* -1: cannot be used, why says why not */
	int look_fd;	       /* inotify; -1: none */
	bool held;	       /* the command is under way, and the VM stands in it */
	bool has_state;	       /* the last state lies in buf, not in the memfd */
	bool logged;
	size_t room_bytes; /* of the pipe until the epoch's copy is done */
	size_t prefix_bytes;
	uint8_t *buf; /* the prefix, and the state */
	size_t buf_bytes, buf_room;
	struct hv_line save;
	char why[200];
};

struct hv_file {
	int fd;
	uint64_t bytes;
};

struct hv_vm {
	struct hv_vm_id id;
	struct hv_qmp *qmp;
	struct hv_qemu qemu;
	struct hv_features features; /* of this host's kernel, at the attach */
	int pidfd;
	bool kvm;
	bool discards;		    /* a device discards pages: a balloon, virtio-mem */
	bool paused;		    /* by hv_pause, and hv_resume is due */
	bool still;		    /* an epoch is taken of a VM that others have stopped */
	volatile uint32_t *stopped; /* see hv_opts; may be NULL */
	struct hv_block blocks[HV_MAX_BLOCKS];
	unsigned n_blocks;
	struct hv_dirty *dirty; /* NULL before hv_dirty_setup */

	/* device state: both are one memfd; QEMU shares write_fd's file position */
	int state_fd, write_fd;
	int64_t fdset; /* -1: none */
	size_t state_bytes;
	struct hv_line stop, save, cont;
	struct hv_qmp_runs runs; /* at hv_pause's answer */
	struct hv_pipe pipe;

	/* network */
	unsigned n_ports;
	int drain_fds[HV_MAX_NICS]; /* copies of the ports' inject_fd, to see that QEMU read all */

	/* disks */
	struct hv_disk disks[HV_MAX_DISKS];
	unsigned n_disks;
	bool mirrors, disk_failed;

	struct hv_watch *watch; /* on its devices (watch.c); NULL before hv_describe */
	/* files that it only reads, in the order of the description's "copies"; what was in its
	 * drives when it was described */
	struct hv_file files[HV_MAX_FILES];
	unsigned n_files;
	struct hv_hashes *hashes; /* see hv_opts; may be NULL */
	json_t *drives;
	char start_dir[4096]; /* that its relative paths are from */
};

#endif
