/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mirroring a VM's disks. For each writable one QEMU gets an NBD node that ends in our
 * socket, and a mirror job to it with copy-mode=write-blocking: first the whole disk is copied while
 * the guest runs (the job becomes ready), and from the first moment on a guest's write completes
 * only when our end has answered it, too. So after `stop` on a VM whose jobs are ready, our end has
 * seen every write.
 *
 * A target that fails is no error for the guest (reconnect-delay=0): QEMU sends BLOCK_JOB_ERROR
 * before it completes the write, and the disk keeps working. Those events are read in hv_events;
 * hv_disks_ok must be asked before an epoch counts. The job only pauses then (on-target-error=stop,
 * which stops the job and not the VM), and is ended by end_jobs in clean.c: a job that fails ends
 * by itself, while the guest writes, and QEMU does not survive that for certain (see there).
 */
#include "hv/attach/attach_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void names_of(unsigned i, char job[32], char node[32], char top[32])
{
	snprintf(job, 32, HV_PREFIX "-mirror%u", i);
	snprintf(node, 32, HV_PREFIX "-disk%u", i);
	snprintf(top, 32, HV_PREFIX "-top%u", i);
}

bool hv_disk_is_writable(json_t *dev)
{
	json_t *inserted = json_object_get(dev, "inserted");

	return inserted && !json_is_true(json_object_get(inserted, "ro"));
}

static int take_disk(json_t *dev, struct hv_disk *d, struct tv_err *e)
{
	json_t *inserted = json_object_get(dev, "inserted"),
	       *image = json_object_get(inserted, "image");
	const char *device = json_string_value(json_object_get(dev, "device"));
	const char *node = json_string_value(json_object_get(inserted, "node-name"));
	const char *file = json_string_value(json_object_get(image, "filename"));
	const char *qdev = json_string_value(json_object_get(dev, "qdev"));
	json_int_t bytes = json_integer_value(json_object_get(image, "virtual-size"));

	device = device ? device : "";
	node = node ? node : "";
	tv_copy(d->name, sizeof(d->name), *device ? device : *node == '#' && qdev ? qdev : node);
	if (strlen(device) >= sizeof(d->device) || strlen(node) >= sizeof(d->node) ||
	    !(*device || *node) || bytes <= 0 || bytes % 512)
		return tv_fail(e, -ENOTSUP, "disk %s has a size or a name that cannot be mirrored",
			       d->name);
	strcpy(d->device, device);
	strcpy(d->node, node);
	tv_copy(d->file, sizeof(d->file), file);
	d->bytes = (uint64_t)bytes;
	return 0;
}

int hv_disks_setup(struct hv_vm *vm, json_t *block, struct tv_err *e)
{
	json_t *dev;
	size_t i;
	int rc;

	json_array_foreach(block, i, dev) {
		if (!hv_disk_is_writable(dev))
			continue;
		if (vm->n_disks == HV_MAX_DISKS)
			return tv_fail(e, -ENOTSUP, "the VM has more than %d writable disks",
				       HV_MAX_DISKS);
		rc = take_disk(dev, &vm->disks[vm->n_disks], e);
		if (rc)
			return rc;
		vm->n_disks++;
	}
	return 0;
}

const struct hv_disk *hv_disks(const struct hv_vm *vm, unsigned *n)
{
	*n = vm->n_disks;
	return vm->disks;
}

static int add_target(struct hv_vm *vm, const char *node, int fd, struct tv_err *e)
{
	json_t *args;
	int rc = hv_qmp_cmd_fd(vm->qmp, "getfd", json_pack("{s:s}", "fdname", node), fd, NULL,
			       HV_CMD_MS, e);

	if (rc)
		return rc;
	/*
	 * discard=unmap: zeroes are sent as a command, not as data, and QEMU clears the target
	 * first and then copies what is allocated. From 9.2 on (block/mirror.c: the job takes note
	 * of writes only when mirror_dirty_init has looked up all of the disk, and its dirty bitmap
	 * is off until then) a write that comes meanwhile to what was found empty is lost. A target
	 * that cannot discard is not cleared: the whole disk counts as changed before anything is
	 * looked up. Our server is then asked not to make holes of zeroes, which it is free to
	 * ignore.
	 */
	args = json_pack("{s:s, s:s, s:{s:s, s:s}, s:s, s:i, s:s}", "driver", "nbd", "node-name",
			 node, "server", "type", "fd", "str", node, "export", "disk",
			 "reconnect-delay", 0, "discard",
			 vm->qemu.mirror_start_misses ? "ignore" : "unmap");
	rc = hv_qmp_cmd(vm->qmp, "blockdev-add", args, NULL, HV_CMD_MS, e);
	if (rc && hv_qmp_cmd(vm->qmp, "closefd", json_pack("{s:s}", "fdname", node), NULL,
			     HV_CMD_MS, NULL))
		return rc; /* it took the descriptor */
	return rc;
}

int hv_disk_connect(struct hv_vm *vm, unsigned disk, int fd, struct tv_err *e)
{
	char job[32], node[32], top[32];
	int rc;

	if (disk >= vm->n_disks)
		return -EINVAL;
	names_of(disk, job, node, top);
	vm->mirrors = true;
	rc = add_target(vm, node, fd, e);
	return rc ? tv_fail_prefix(e, rc, "mirroring disk %s", vm->disks[disk].name) : 0;
}

bool hv_disks_need_pause(struct hv_vm *vm)
{
	json_t *list = NULL;
	int rc = hv_qmp_cmd(vm->qmp, "query-iothreads", NULL, &list, HV_CMD_MS, NULL);
	bool none = !rc && json_is_array(list) && !json_array_size(list);

	json_decref(list);
	return !none || vm->qemu.mirror_start_serves;
}

/*
 * Why a VM is stopped for it: a write that the guest makes when the filter is in its place and knows
 * its job, and the job's coroutine has not come to mirror_run's in_flight_bitmap yet, looks through
 * that bitmap (active_write_prepare, mirror_wait_on_conflicts), which is NULL then. With an I/O thread
 * the guest's next request may come between. Where the disk is in the main loop nothing does, but for
 * QEMU 8.0 to 9.1: there mirror_start_job takes the graph's write lock in between, and giving that
 * back runs what waits in the main loop (bdrv_graph_wrunlock). Later ones tell the filter of its job
 * when all is made. The job's first request to its target comes after that allocation.
 */
int hv_disk_mirror(struct hv_vm *vm, unsigned disk, struct tv_err *e)
{
	const struct hv_disk *d = &vm->disks[disk];
	char job[32], node[32], top[32];
	int rc;

	if (disk >= vm->n_disks)
		return -EINVAL;
	names_of(disk, job, node, top);
	rc = hv_qmp_cmd(vm->qmp, "blockdev-mirror",
			json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "job-id", job,
				  "device", *d->device ? d->device : d->node, "target", node,
				  "sync", "full", "copy-mode", "write-blocking", "on-target-error",
				  "stop", "on-source-error", "stop", "filter-node-name", top),
			NULL, HV_CMD_MS, e);
	return rc ? tv_fail_prefix(e, rc, "mirroring disk %s", d->name) : 0;
}

/* Is all copied, and every write since then mirrored? */
static bool in_step(struct hv_vm *vm, json_t *job)
{
	json_t *synced = json_object_get(job, "actively-synced");

	vm->qemu.actively_synced = synced != NULL;
	return json_is_true(json_object_get(job, "ready")) && (!synced || json_is_true(synced));
}

/* Whose job it is; else NULL. */
static struct hv_disk *disk_of(struct hv_vm *vm, const char *id)
{
	char job[32], node[32], top[32];

	for (unsigned i = 0; i < vm->n_disks; i++) {
		names_of(i, job, node, top);
		if (!strcmp(job, id))
			return &vm->disks[i];
	}
	return NULL;
}

static void count_job(struct hv_vm *vm, const char *id, json_t *job, uint64_t *done_bytes,
		      uint64_t *all_bytes)
{
	uint64_t done = (uint64_t)json_integer_value(json_object_get(job, "offset"));
	uint64_t all = (uint64_t)json_integer_value(json_object_get(job, "len"));
	struct hv_disk *d = disk_of(vm, id);

	*done_bytes += done;
	*all_bytes += all;
	if (d)
		d->copied = all > done ? (double)done / (double)all : 1;
}

int hv_disks_ready(struct hv_vm *vm, uint64_t *done_bytes, uint64_t *all_bytes, struct tv_err *e)
{
	json_t *list = NULL, *j;
	unsigned found = 0, ready = 0;
	size_t i;
	int rc;

	*done_bytes = *all_bytes = 0;
	if (vm->disk_failed)
		return tv_fail(e, -EIO, "a disk's mirror job failed");
	rc = hv_qmp_cmd(vm->qmp, "query-block-jobs", NULL, &list, HV_CMD_MS, e);
	if (rc)
		return rc;
	json_array_foreach(list, i, j) {
		const char *id = json_string_value(json_object_get(j, "device"));

		if (!id || strncmp(id, HV_PREFIX, strlen(HV_PREFIX)))
			continue;
		found++;
		ready += in_step(vm, j);
		count_job(vm, id, j, done_bytes, all_bytes);
	}
	json_decref(list);
	if (found != vm->n_disks)
		return tv_fail(e, -EIO, "a disk's mirror job has ended");
	return ready == vm->n_disks;
}

void hv_disks_event(struct hv_vm *vm, const char *name, json_t *ev)
{
	static const char *const ends[] = {"BLOCK_JOB_ERROR", "BLOCK_JOB_COMPLETED",
					   "BLOCK_JOB_CANCELLED"};
	const char *id = json_string_value(json_object_get(json_object_get(ev, "data"), "device"));

	if (!vm->mirrors || !id || strncmp(id, HV_PREFIX, strlen(HV_PREFIX)))
		return;
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		vm->disk_failed |= !strcmp(name, ends[i]);
}

/*
 * QEMU gives up "actively-synced" whenever a write is not on the target too, and takes it up again
 * only when the job has copied what was missing. Asked after `stop` was answered, at any time: a
 * job that had lost it before the stop either failed at the target, which an event reported and
 * is not forgotten, or no longer mirrors and never will (it failed or was cancelled). So what is in
 * step now was so at the stop.
 */
int hv_disks_synced(struct hv_vm *vm, struct tv_err *e)
{
	uint64_t done, all;
	int rc;

	if (!vm->qemu.actively_synced || !vm->mirrors)
		return 0;
	rc = hv_disks_ready(vm, &done, &all, e);
	if (!rc)
		rc = tv_fail(e, -EIO, "a disk's mirror lacks a write");
	return rc < 0 ? rc : 0;
}

bool hv_disks_ok(const struct hv_vm *vm)
{
	return !vm->disk_failed;
}

int hv_disks_unmirror(struct hv_vm *vm, struct tv_err *e)
{
	int rc = 0;

	if (!vm->mirrors)
		return 0;
	hv_remove_mirrors(vm->qmp, vm->stopped, &rc, e);
	vm->mirrors = vm->disk_failed = false;
	return rc;
}
