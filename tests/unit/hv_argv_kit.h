/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command-line rewriter on one line of text, for its tests. */
#ifndef HV_ARGV_KIT_H
#define HV_ARGV_KIT_H

#include "hv/standby/media.h"
#include "hv/standby/standby_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIR "/run/v"
#define VM_DIR DIR "/vm"
#define RAM "/proc/self/fd/4"
#define MIB (1024 * 1024)

static struct hv_host_start argv_what; /* of the last line: its taps */

struct vm { /* what else the description says; zero means the usual */
	const char *machine, *main_block, *cwd, *file, *disks, *nics, *drives, *copies;
	json_int_t main_bytes, ram_bytes;
};

/* That is to run the standby. */
static struct hv_qemu argv_qemu = {
	.major = 7, .minor = 2, .suppress_vmdesc = true, .send_configuration = true};

static inline json_t *describe(const char *line, const struct vm *vm)
{
	char *copy = strdup(line), *save = NULL;
	json_t *argv = json_array(), *d;
	json_int_t ram = vm->ram_bytes ? vm->ram_bytes : 256 * MIB;

	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		json_array_append_new(argv, json_string(w));
	free(copy);
	d = json_pack("{s:o, s:s, s:s, s:I, s:[{s:s, s:I, s:b}, {s:s, s:I, s:b}], s:s}", "argv",
		      argv, "machine", vm->machine ? vm->machine : "pc-q35-7.2", "version",
		      "7.2.22", "ram_bytes", ram, "blocks", "name",
		      vm->main_block ? vm->main_block : "pc.ram", "bytes",
		      vm->main_bytes ? vm->main_bytes : ram, "main", 1, "name", "pc.bios", "bytes",
		      (json_int_t)262144, "main", 0, "cwd", vm->cwd ? vm->cwd : "/w");
	assert_non_null(d);
	if (vm->disks)
		json_object_set_new(d, "disks", json_loads(vm->disks, 0, NULL));
	if (vm->nics)
		json_object_set_new(d, "nics", json_loads(vm->nics, 0, NULL));
	if (vm->drives)
		json_object_set_new(d, "drives", json_loads(vm->drives, 0, NULL));
	if (vm->copies)
		json_object_set_new(d, "copies", json_loads(vm->copies, 0, NULL));
	if (vm->file)
		json_object_set_new(d, "files", json_pack("[s]", vm->file));
	return d;
}

static inline int rewrite_conf(const char *line, const struct vm *vm,
			       const struct hv_standby_conf *conf, char *out, size_t room,
			       struct tv_err *e)
{
	json_t *d = describe(line, vm);
	json_t *files = json_array();
	char **argv = NULL;
	size_t n = 0;
	int rc = hv_standby_argv(d, conf, &argv_qemu, files, &argv_what, &argv, e);

	/* As hv_standby_start does; a test without folders looks at the line only. */
	if (!rc && conf->media)
		rc = hv_media_check(files, conf->media, conf->peer, e);
	json_decref(files);

	*out = '\0';
	for (char **p = argv; p && *p; p++)
		n += (size_t)snprintf(out + n, room - n, "%s%s", n ? " " : "", *p);
	hv_argv_free(argv);
	json_decref(d);
	return rc;
}

static inline int rewrite(const char *line, const struct vm *vm, char *out, size_t room,
			  struct tv_err *e)
{
	const struct hv_standby_conf conf = {.dir = DIR, .vm_id = "ab12-cd34ef56"};

	return rewrite_conf(line, vm, &conf, out, room, e);
}

#endif
