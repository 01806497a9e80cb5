/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the backup has to know to start the same machine. */
#include "hv/attach/describe.h"
#include "hv/attach/attach_int.h"
#include "hv/attach/files.h"
#include "hv/attach/live.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define MAX_NICS_TOLD HV_MAX_NICS
#define ASK_MS 2000

/* "pc-q35-7.2" from the class name "pc-q35-7.2-machine": never an alias. */
static int add_machine(struct hv_vm *vm, json_t *desc, struct tv_err *e)
{
	json_t *ret = NULL;
	const char *type;
	size_t n;
	int rc = hv_qmp_cmd(vm->qmp, "qom-get",
			    json_pack("{s:s, s:s}", "path", "/machine", "property", "type"), &ret,
			    HV_CMD_MS, e);

	if (rc)
		return rc;
	type = json_string_value(ret);
	n = type ? strlen(type) : 0;
	if (n > 8 && !strcmp(type + n - 8, "-machine"))
		n -= 8;
	if (n)
		json_object_set_new(desc, "machine", json_stringn(type, n));
	else
		rc = tv_fail(e, TV_E_PROTOCOL, "QEMU reports no machine type");
	json_decref(ret);
	return rc;
}

static void add_blocks(const struct hv_vm *vm, json_t *desc)
{
	json_t *list = json_array();
	uint64_t ram_bytes = 0;

	for (unsigned i = 0; i < vm->n_blocks; i++) {
		const struct hv_block *b = &vm->blocks[i];

		ram_bytes += b->main_ram ? b->bytes : 0;
		json_array_append_new(list, json_pack("{s:s, s:I, s:b}", "name", b->name, "bytes",
						      (json_int_t)b->bytes, "main", b->main_ram));
	}
	json_object_set_new(desc, "ram_bytes", json_integer((json_int_t)ram_bytes));
	json_object_set_new(desc, "blocks", list);
}

static void add_disks(const struct hv_vm *vm, json_t *desc)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < vm->n_disks; i++) {
		const struct hv_disk *d = &vm->disks[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:I}", "name", d->name,
						      "device", d->device, "node", d->node, "file",
						      d->file, "bytes", (json_int_t)d->bytes));
	}
	json_object_set_new(desc, "disks", list);
}

/* The bridge that a tap is a port of, and how: the standby's is to be the same. */
static void add_port(const char *ifname, json_t *nic)
{
	struct hv_link link;
	json_t *vlans;

	if (!*ifname || hv_link_read(ifname, &link) || !link.master[0])
		return;
	json_object_set_new(nic, "bridge", json_string(link.master));
	json_object_set_new(nic, "mtu", json_integer(link.mtu));
	if (hv_link_vlans_default(link.vlans, link.n_vlans))
		return;
	vlans = json_array();
	for (unsigned i = 0; i < link.n_vlans; i++)
		json_array_append_new(vlans, json_pack("{s:i, s:b, s:b}", "id", link.vlans[i].id,
						       "pvid", link.vlans[i].pvid, "untagged",
						       link.vlans[i].untagged));
	json_object_set_new(nic, "vlans", vlans);
}

static int add_nics(struct hv_vm *vm, char *const *argv, json_t *desc, struct tv_err *e)
{
	struct hv_nic *nics = calloc(MAX_NICS_TOLD, sizeof(*nics));
	json_t *nic, *list = json_array();
	unsigned n = 0;
	int rc = nics ? hv_nics_read(vm->qmp, argv, nics, MAX_NICS_TOLD, &n, e) : -ENOMEM;

	hv_tap_names(vm->id.pid, nics, n);
	for (unsigned i = 0; i < n; i++) {
		nic = json_pack("{s:s, s:s, s:s, s:s, s:b}", "netdev", nics[i].netdev, "type",
				nics[i].type, "mac", nics[i].mac, "driver", nics[i].driver, "hub",
				nics[i].hub);
		add_port(nics[i].ifname, nic);
		json_array_append_new(list, nic);
	}
	json_object_set_new(desc, "nics", list);
	free(nics);
	return rc;
}

/* ---- files ---- */

/* Adds an existing regular file or block device, by its whole path, once. */
static void add_file(json_t *files, const char *cwd, const char *path)
{
	char full[2 * PATH_MAX];
	struct stat st;
	json_t *v;
	size_t i;

	if (*path == '/')
		snprintf(full, sizeof(full), "%s", path);
	else
		snprintf(full, sizeof(full), "%s/%s", cwd, path);
	if (!*path || stat(full, &st) || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
		return;
	json_array_foreach(files, i, v)
		if (!strcmp(json_string_value(v), full))
			return;
	json_array_append_new(files, json_string(full));
}

/* Options whose whole argument is a file that QEMU reads. */
static const char *const plain_files[] = {"kernel", "initrd", "bios", "dtb",	 "pflash",
					  "hda",    "hdb",    "hdc",  "hdd",	 "cdrom",
					  "fda",    "fdb",    "sd",   "mtdblock"};
/* Keys of other options' arguments whose values are files that QEMU reads. */
static const char *const file_keys[] = {"file",	    "filename", "romfile", "dtb",
					"firmware", "kernel",	"initrd",  "file.filename"};
/* Options that take such keys. Not -object: a secret's file stays here, as its value does. */
static const char *const keyed[] = {"drive",	 "blockdev", "device", "machine", "M",
				    "acpitable", "smbios",   "fw_cfg", "nic",	  "net"};

static bool is_one_of(const char *arg, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (hv_arg_is(arg, list[i]))
			return true;
	return false;
}

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* Of options that are not about images. A plain name is QEMU's own firmware, unless it is a file. */
static const char *const read_files[] = {"kernel", "initrd", "bios", "dtb", "shim", "option-rom"};
static const char *const read_keys[] = {"file", "romfile", "path", "data"};
static const char *const read_keyed[] = {"device", "acpitable", "smbios", "fw_cfg", "nic"};

void hv_describe_read_files(char *const *argv, const char *cwd, json_t *files)
{
	char v[PATH_MAX];

	for (unsigned i = 1; argv[i] && argv[i + 1]; i++) {
		if (is_one_of(argv[i], read_files, COUNT(read_files))) {
			add_file(files, cwd, argv[++i]);
			continue;
		}
		if (!is_one_of(argv[i], read_keyed, COUNT(read_keyed)))
			continue;
		i++;
		for (size_t k = 0; k < COUNT(read_keys); k++)
			if (hv_opt_get(argv[i], NULL, read_keys[k], v, sizeof(v)))
				add_file(files, cwd, v);
	}
}

void hv_describe_files(char *const *argv, const char *cwd, json_t *files)
{
	char v[PATH_MAX];

	for (unsigned i = 1; argv[i] && argv[i + 1]; i++) {
		if (is_one_of(argv[i], plain_files, COUNT(plain_files))) {
			add_file(files, cwd, argv[++i]);
			continue;
		}
		if (!is_one_of(argv[i], keyed, COUNT(keyed)))
			continue;
		i++;
		for (size_t k = 0; k < COUNT(file_keys); k++)
			if (hv_opt_get(argv[i], NULL, file_keys[k], v, sizeof(v)))
				add_file(files, cwd, v);
	}
}

/*
 * A secret's value stays here: the backup has no use for it, because it gets no encrypted images,
 * no displays and no connections to storage, and keeps what it receives.
 */
char *hv_describe_arg(const char *option, const char *arg)
{
	static const char *const secret[] = {"data", "file", "password"};
	bool object = option && hv_arg_is(option, "object");
	struct hv_keyval kv;
	const char *type;
	char *out;

	if (!option || (!object && !hv_arg_is(option, "spice") && !hv_arg_is(option, "iscsi")) ||
	    hv_keyval_parse(&kv, arg, object ? "qom-type" : NULL))
		return strdup(arg);
	type = hv_keyval_get(&kv, "qom-type");
	for (size_t i = 0; i < COUNT(secret); i++)
		if (!object || (type && !strcmp(type, "secret")))
			hv_keyval_del(&kv, secret[i]);
	out = hv_keyval_print(&kv);
	hv_keyval_dispose(&kv);
	return out;
}

/* What is in its drives now, and the files that it reads. */
static int add_media(struct hv_vm *vm, char *const *argv, const char *cwd, json_t *desc,
		     struct tv_err *e)
{
	json_t *block = NULL, *paths = json_array(), *copies;
	int rc = hv_qmp_cmd(vm->qmp, "query-block", NULL, &block, HV_CMD_MS, e);

	if (rc) {
		json_decref(paths);
		return rc;
	}
	tv_copy(vm->start_dir, sizeof(vm->start_dir), cwd);
	json_decref(vm->drives);
	vm->drives = hv_drives_of(block, cwd);
	hv_describe_read_files(argv, cwd, paths);
	hv_read_only_images(block, cwd, paths);
	copies = hv_files_open(vm, paths, e);
	json_decref(paths);
	json_decref(block);
	if (!copies)
		return -ENOTSUP;
	json_object_set(desc, "drives", vm->drives);
	json_object_set_new(desc, "copies", copies);
	return 0;
}

/* Its relative paths are from the folder in which its monitor's socket was made. */
static bool start_dir(pid_t pid, char *const *argv, char *cwd, size_t room)
{
	char raw[PATH_MAX], *witness = NULL;

	if (hv_cmdline_qmp(argv, 0, raw, sizeof(raw)) && *raw != '/' && strncmp(raw, "fd:", 3))
		witness = raw;
	return hv_proc_start_dir("/proc", pid, argv, witness, cwd, room);
}

/* A random generation id must be the same one on the backup, or the guest takes itself for a copy.
 * NULL: no memory. */
static char *device_arg(struct hv_vm *vm, const char *arg)
{
	json_t *ret = NULL;
	const char *driver, *guid;
	struct hv_keyval kv;
	char *out = NULL;

	if (hv_keyval_parse(&kv, arg, "driver"))
		return strdup(arg);
	driver = hv_keyval_get(&kv, "driver");
	guid = hv_keyval_get(&kv, "guid");
	if (driver && !strcmp(driver, "vmgenid") && (!guid || !strcmp(guid, "auto")) &&
	    !hv_qmp_cmd(vm->qmp, "query-vm-generation-id", NULL, &ret, HV_CMD_MS, NULL)) {
		guid = json_string_value(json_object_get(ret, "guid"));
		if (guid && !hv_keyval_set(&kv, "guid", guid))
			out = hv_keyval_print(&kv);
	} else {
		out = strdup(arg);
	}
	json_decref(ret);
	hv_keyval_dispose(&kv);
	return out;
}

/* The words as they are sent. */
static json_t *add_argv(struct hv_vm *vm, char *const *argv, struct tv_err *e)
{
	json_t *args = json_array();

	for (unsigned i = 0; argv[i]; i++) {
		TV_FREE char *arg = i && hv_arg_is(argv[i - 1], "device")
					    ? device_arg(vm, argv[i])
					    : hv_describe_arg(i ? argv[i - 1] : NULL, argv[i]);

		if (!arg || json_array_append_new(args, json_string(arg))) {
			tv_fail(e, -EILSEQ, "argument %u of QEMU's command line is not UTF-8", i);
			json_decref(args);
			return NULL;
		}
	}
	return args;
}

/* The command line of the VM as it is now. */
static int read_argv(struct hv_vm *vm, struct hv_words *out, char *cwd, size_t room,
		     struct tv_err *e)
{
	TV_FREE char **argv = hv_proc_args("/proc", vm->id.pid);
	struct hv_live live;
	bool slots = false;
	int rc;

	if (!argv || !start_dir(vm->id.pid, argv, cwd, room))
		return tv_fail(e, TV_E_GONE, "the VM %s (pid %d) has ended", vm->id.name,
			       vm->id.pid);
	for (unsigned i = 0; argv[i] && argv[i + 1]; i++)
		slots |= hv_arg_is(argv[i], "m") && strstr(argv[i + 1], "maxmem");
	rc = hv_watch_begin(vm, slots, e);
	if (rc)
		return rc;
	rc = hv_live_ask(vm->qmp, argv, &live, e);
	if (!rc)
		rc = hv_live_argv(argv, &live, out, e);
	hv_live_dispose(&live);
	return rc;
}

/* How the kernel treats it. */
static void add_process(const struct hv_vm *vm, json_t *desc)
{
	int nice;
	TV_FREE char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)vm->id.pid);
	if (!tv_read_file(path, 64, &text, NULL))
		json_object_set_new(desc, "oom_score_adj", json_integer(atoi(text)));
	errno = 0;
	nice = getpriority(PRIO_PROCESS, (id_t)vm->id.pid);
	if (!errno)
		json_object_set_new(desc, "nice", json_integer(nice));
}

/* So that the standby can be a domain of the backup's libvirt. Without it it is a plain QEMU. */
static void add_domain(const struct hv_vm *vm, char *const *argv, json_t *desc)
{
	struct tv_err e = {0};
	json_t *domain;

	if (hv_libvirt_describe(&vm->id, argv, &domain, &e))
		tv_log(TV_WARN, "%s: its standby will not be a domain of libvirt's: %s",
		       vm->id.name, e.text);
	else if (domain)
		json_object_set_new(desc, "libvirt", domain);
}

json_t *hv_describe(struct hv_vm *vm, struct tv_err *e)
{
	struct hv_words argv = {0};
	json_t *desc = NULL, *args, *files;
	char cwd[PATH_MAX];

	if (read_argv(vm, &argv, cwd, sizeof(cwd), e))
		return NULL;
	args = add_argv(vm, argv.w, e);
	if (!args)
		goto out;
	files = json_array();
	hv_describe_files(argv.w, cwd, files);
	desc = json_pack("{s:o, s:o, s:s, s:s, s:b}", "argv", args, "files", files, "name",
			 vm->id.name, "cwd", cwd, "kvm", vm->kvm);
	json_object_set_new(
		desc, "version",
		json_sprintf("%u.%u.%u", vm->qemu.major, vm->qemu.minor, vm->qemu.micro));
	add_blocks(vm, desc);
	add_disks(vm, desc);
	add_process(vm, desc);
	add_domain(vm, argv.w, desc);
	if (add_machine(vm, desc, e) || add_nics(vm, argv.w, desc, e) ||
	    add_media(vm, argv.w, cwd, desc, e)) {
		json_decref(desc);
		desc = NULL;
	}
out:
	hv_words_free(&argv);
	return desc;
}

/* QEMU's own words are enough: what was plugged in since and reads a file is read by hv_describe. */
int hv_hash_files(const struct hv_vm_id *id, struct hv_hashes *h, hv_hash_more *more, void *arg,
		  struct tv_err *e)
{
	TV_FREE char **argv = hv_proc_args("/proc", id->pid);
	json_t *block = NULL, *paths = json_array();
	struct hv_qmp *q = NULL;
	char cwd[PATH_MAX];
	int rc = 0;

	if (argv && start_dir(id->pid, argv, cwd, sizeof(cwd)) &&
	    tv_pid_start_ticks(id->pid) == id->start_ticks &&
	    !hv_qmp_open_any(id->qmp_path, id->pid, ASK_MS, &q, NULL) &&
	    !hv_qmp_cmd(q, "query-block", NULL, &block, HV_CMD_MS, NULL)) {
		hv_qmp_close(q); /* others may want it while files are read */
		q = NULL;
		hv_describe_read_files(argv, cwd, paths);
		hv_read_only_images(block, cwd, paths);
		rc = hv_files_hash(id->pid, paths, h, more, arg, e);
	}
	hv_qmp_close(q);
	json_decref(block);
	json_decref(paths);
	return rc;
}
