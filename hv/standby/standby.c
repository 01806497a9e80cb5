/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The standby: a paused QEMU that waits for the device state, with its memory open to us.
 *
 * Main RAM is a memfd that QEMU inherits: it has no name that could be left behind, whoever is
 * killed when, and /dev/shm's size does not limit it. All other blocks
 * are reached in QEMU's own memory. A block's number is its place in desc["blocks"]; the two sides
 * are matched by name, and every block must be there with the same size, or the machines differ.
 */
#include "hv/standby/media.h"
#include "hv/standby/standby_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- starting ---- */
static int load_blocks(struct hv_standby *sb, json_t *desc, struct tv_err *e)
{
	json_t *b, *list = json_object_get(desc, "blocks");
	bool have_main = false;
	size_t i;

	json_array_foreach(list, i, b) {
		const char *name = json_string_value(json_object_get(b, "name"));
		json_int_t bytes = json_integer_value(json_object_get(b, "bytes"));
		struct hv_block *to = &sb->blocks[i];

		if (i == HV_MAX_BLOCKS || !name || strlen(name) >= sizeof(to->name) || bytes <= 0 ||
		    bytes % TV_PAGE_BYTES)
			return tv_fail(e, -EINVAL, "the VM's description has a bad memory block");
		strcpy(to->name, name);
		to->bytes = (uint64_t)bytes;
		to->main_ram = json_is_true(json_object_get(b, "main"));
		if (to->main_ram)
			sb->main_block = (unsigned)i;
		have_main |= to->main_ram;
		sb->n_blocks++;
	}
	if (!have_main)
		return tv_fail(e, -EINVAL, "the VM's description names no main memory block");
	return 0;
}

static int take_conf(struct hv_standby *sb, json_t *desc, const struct hv_standby_conf *conf,
		     struct tv_err *e)
{
	const char *name = json_string_value(json_object_get(desc, "name"));
	int n;

	if (!conf->dir || strlen(conf->dir) >= sizeof(sb->dir))
		return tv_fail(e, -EINVAL,
			       "the standby has no run directory, or one with too long a name");
	strcpy(sb->dir, conf->dir);
	n = snprintf(sb->qmp_path, sizeof(sb->qmp_path), "%s/" HV_HOST_QMP, conf->dir);
	if (n < 0 || (size_t)n >= sizeof(sb->qmp_path))
		return tv_fail(e, -ENAMETOOLONG,
			       "the run directory's name %s is too long for a socket", conf->dir);
	snprintf(sb->name, sizeof(sb->name), "%s", name ? name : "");
	return load_blocks(sb, desc, e);
}

static int map_ram(struct hv_standby *sb, struct tv_err *e)
{
	uint64_t bytes = sb->what.ram_bytes;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
		       sb->vm.ram_fd, 0);

	if (p == MAP_FAILED)
		return tv_fail(e, -errno, "cannot map %" PRIu64 " MiB of memory: %s", bytes >> 20,
			       strerror(errno));
	sb->map = p;
	hv_standby_watch_map(sb);
	return 0;
}

static int check_status(struct hv_standby *sb, json_t *desc, struct tv_err *e)
{
	bool kvm = json_is_true(json_object_get(desc, "kvm"));
	json_t *ret = NULL;
	const char *status;
	int rc = hv_qmp_cmd(sb->qmp, "query-status", NULL, &ret, HV_CMD_MS, e);

	if (rc)
		return rc;
	status = json_string_value(json_object_get(ret, "status"));
	if (!status || strcmp(status, "inmigrate"))
		rc = tv_fail(e, TV_E_PROTOCOL, "the standby does not wait for a state but is %s",
			     status ? status : "?");
	json_decref(ret);
	ret = NULL;
	if (!rc)
		rc = hv_qmp_cmd(sb->qmp, "query-kvm", NULL, &ret, HV_CMD_MS, e);
	if (!rc && json_object_get(desc, "kvm") &&
	    json_is_true(json_object_get(ret, "enabled")) != kvm)
		rc = tv_fail(e, -ENOTSUP,
			     "the VM runs %s KVM and its standby %s: KVM must be usable on "
			     "both hosts or on none",
			     kvm ? "under" : "without", kvm ? "without" : "under it");
	json_decref(ret);
	return rc;
}

static const struct hv_block *by_name(const struct hv_block *b, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(b[i].name, name))
			return &b[i];
	return NULL;
}

static int match_blocks(struct hv_standby *sb, const struct hv_block *found, unsigned n,
			struct tv_err *e)
{
	for (unsigned i = 0; i < sb->n_blocks; i++) {
		struct hv_block *b = &sb->blocks[i];
		const struct hv_block *f = by_name(found, n, b->name);

		if (!f)
			return tv_fail(e, -ENOTSUP,
				       "the VM has a memory block %s and the standby does "
				       "not: was a device added while it ran?",
				       b->name);
		if (f->bytes != b->bytes || f->main_ram != b->main_ram)
			return tv_fail(e, -ENOTSUP,
				       "the memory block %s has %" PRIu64 " bytes in the VM "
				       "and %" PRIu64
				       " in the standby: do both hosts have the same QEMU "
				       "and firmware?",
				       b->name, b->bytes, f->bytes);
		b->host = f->host;
	}
	for (unsigned i = 0; i < n; i++)
		if (!by_name(sb->blocks, sb->n_blocks, found[i].name))
			return tv_fail(e, -ENOTSUP,
				       "the standby has a memory block %s and the VM does "
				       "not: was a device removed while it ran?",
				       found[i].name);
	return 0;
}

static int find_blocks(struct hv_standby *sb, struct tv_err *e)
{
	struct hv_block *found = calloc(HV_MAX_BLOCKS, sizeof(*found));
	uint64_t page_bytes;
	unsigned n = 0;
	int rc = -ENOMEM;

	if (found)
		rc = hv_ramblock_find(sb->qmp, &sb->vm.fds, &sb->qemu, found, HV_MAX_BLOCKS, &n,
				      &page_bytes, e);
	if (!rc)
		rc = match_blocks(sb, found, n, e);
	free(found);
	return rc;
}

/* Of each replica, the name inside its folder. */
static int take_images(struct hv_standby *sb, const struct hv_standby_conf *conf, struct tv_err *e)
{
	struct hv_host_start *w = &sb->what;

	for (w->n_images = 0; w->n_images < conf->n_replicas; w->n_images++) {
		const char *path = conf->replicas[w->n_images], *slash = strrchr(path, '/');

		if (w->n_images == HV_MAX_DISKS ||
		    !tv_copy(w->images[w->n_images], sizeof(w->images[0]),
			     slash ? slash + 1 : path))
			return tv_fail(e, -EINVAL, "too many images, or too long a name: %s", path);
	}
	return 0;
}

/* What is to be started, from the VM's description. */
static int make_line(struct hv_standby *sb, json_t *desc, const struct hv_standby_conf *conf,
		     json_t *files, struct tv_err *e)
{
	const char *peer = conf->peer ? conf->peer : "the other host";
	char **argv = NULL, *binary = NULL;
	int rc = hv_standby_qemu(desc, conf, &binary, &sb->qemu, e);

	sb->what.binary = binary;
	sb->what.kvm = json_is_true(json_object_get(desc, "kvm"));
	sb->what.oom_score_adj = hv_standby_oom(desc);
	sb->what.domain = sb->domain = hv_standby_domain(desc, conf);
	sb->what.nice = hv_standby_nice(desc);
	if (!rc)
		rc = hv_standby_argv(desc, conf, &sb->qemu, files, &sb->what, &argv, e);
	sb->what.argv = argv;
	if (!rc)
		rc = take_images(sb, conf, e);
	if (!rc)
		rc = hv_media_check(files, conf->media ? conf->media : "", peer, e);
	return rc ? rc : hv_standby_check(desc, conf, files, &sb->what, e);
}

static int start(struct hv_standby *sb, json_t *desc, const struct hv_standby_conf *conf,
		 struct tv_err *e)
{
	json_t *files = json_array();
	struct tv_err why = {0};
	int rc = take_conf(sb, desc, conf, e);

	sb->clone = conf->clone;
	sb->desc = json_incref(desc);
	for (unsigned i = 0; i < sb->n_blocks; i++)
		sb->what.memory_bytes += sb->blocks[i].bytes;
	sb->what.ram_bytes = sb->blocks[sb->main_block].bytes;
	if (!rc)
		rc = make_line(sb, desc, conf, files, e);
	json_decref(files);
	if (!rc)
		rc = hv_standby_launch(sb, false, e);
	if (!rc)
		rc = map_ram(sb, e);
	if (!rc)
		rc = check_status(sb, desc, e);
	if (!rc)
		rc = find_blocks(sb, e);
	if (!rc && (rc = hv_standby_zero(sb)))
		tv_fail(e, rc, "cannot clear the standby's memory: %s", tv_strerror(rc));
	if (!rc && !sb->clone && hv_standby_sections(sb, &why)) /* it only serves a check */
		tv_log(TV_WARN, "%s: device states are not checked: %s", sb->name, why.text);
	return rc;
}

int hv_standby_restart(struct hv_standby *sb, struct tv_err *e)
{
	int rc = hv_standby_end(sb);

	if (rc)
		return tv_fail(e, rc, "the standby's QEMU (pid %d) does not end: %s",
			       (int)sb->vm.pid, tv_strerror(rc));
	hv_qmp_close(sb->qmp);
	sb->qmp = NULL;
	hv_host_qemu_dispose(&sb->vm);
	rc = hv_standby_launch(sb, true, e);
	if (!rc)
		rc = check_status(sb, sb->desc, e);
	if (!rc)
		rc = find_blocks(sb, e);
	if (!rc && (rc = hv_standby_refill(sb)))
		tv_fail(e, rc, "cannot fill the fresh standby's memory: %s", tv_strerror(rc));
	if (!rc)
		sb->spent = false;
	return rc;
}

static void free_standby(struct hv_standby *sb)
{
	hv_qmp_close(sb->qmp);
	hv_standby_unwatch_map();
	if (sb->map)
		munmap(sb->map, sb->blocks[sb->main_block].bytes);
	hv_host_qemu_dispose(&sb->vm);
	hv_argv_free((char **)sb->what.argv);
	for (unsigned i = 0; i < sb->n_blocks; i++)
		free(sb->kept[i]);
	tv_buf_dispose(&sb->sections);
	json_decref(sb->desc);
	free((char *)sb->what.binary);
	free(sb->domain);
	free(sb);
}

int hv_standby_start(json_t *desc, const struct hv_standby_conf *conf, struct hv_standby **out,
		     struct tv_err *e)
{
	struct hv_standby *sb = calloc(1, sizeof(*sb));
	int rc;

	*out = NULL;
	if (!sb)
		return tv_fail(e, -ENOMEM, "no memory for the standby");
	sb->host = conf->host;
	sb->host_arg = conf->host_arg;
	hv_host_qemu_init(&sb->vm);
	rc = start(sb, desc, conf, e);
	if (rc) {
		/* standby.log stays, for details. */
		if (sb->vm.pidfd >= 0) {
			(void)!hv_standby_end(sb);
			sb->host->clean(sb->host_arg, false);
		}
		free_standby(sb);
		return rc;
	}
	*out = sb;
	return 0;
}

pid_t hv_standby_pid(const struct hv_standby *sb)
{
	return sb->vm.pid;
}

int hv_standby_pidfd(const struct hv_standby *sb)
{
	return sb->vm.pidfd;
}

void hv_standby_id(const struct hv_standby *sb, struct hv_vm_id *out)
{
	*out = (struct hv_vm_id){.pid = sb->vm.pid, .start_ticks = sb->vm.start_ticks};
	strcpy(out->name, sb->name);
	strcpy(out->qmp_path, sb->qmp_path);
}

const char *hv_standby_taps_why(const struct hv_standby *sb)
{
	return sb->taps_why.text;
}

int hv_standby_ask(struct hv_standby *sb, const char *command, json_t *args, json_t **ret,
		   int timeout_ms, struct tv_err *e)
{
	*ret = NULL;
	return hv_qmp_cmd(sb->qmp, command, args, ret, timeout_ms, e);
}

/* ---- its end ---- */
void hv_standby_release(struct hv_standby *sb)
{
	if (tv_fault("standby_unmap"))
		for (;;)
			pause();
	if (sb)
		free_standby(sb);
}

void hv_standby_kill(struct hv_standby *sb)
{
	if (!sb)
		return;
	(void)!hv_standby_end(sb);
	sb->host->clean(sb->host_arg, true);
	free_standby(sb);
}

void hv_standby_reap(pid_t pid, uint64_t start_ticks, const char *dir)
{
	hv_host_reap(pid, start_ticks, dir);
}
