/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The standby's command line, made from the primary's. A table says for each of QEMU's options what
 * becomes of it; what is not in the table is kept, with its argument. Two rules decide the table:
 * the standby must have exactly the primary's devices (or its state does not load), and nothing
 * that belongs to the primary's host or session (files, terminals, monitors, debuggers) may come
 * along.
 */
#include "hv/standby/rewrite.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the rewriting's small steps ---- */
void hv_rw_fail(struct hv_rewrite *rw, int rc, const char *fmt, ...)
{
	va_list ap;

	if (rw->rc)
		return;
	rw->rc = rc;
	if (!rw->e)
		return;
	va_start(ap, fmt);
	vsnprintf(rw->e->text, sizeof(rw->e->text), fmt, ap);
	va_end(ap);
}

static void no_memory(struct hv_rewrite *rw)
{
	hv_rw_fail(rw, -ENOMEM, "no memory for the standby's command line");
}

/* Takes word over; NULL says that there was no memory for it. */
static void put_owned(struct hv_rewrite *rw, char *word)
{
	if (!word)
		no_memory(rw);
	if (!rw->rc && rw->n + 1 >= rw->room) {
		unsigned room = rw->room ? 2 * rw->room : 64;
		char **p = realloc(rw->out, room * sizeof(*p));

		if (p) {
			rw->out = p;
			rw->room = room;
		} else {
			no_memory(rw);
		}
	}
	if (rw->rc) {
		free(word);
		return;
	}
	rw->out[rw->n++] = word;
	rw->out[rw->n] = NULL;
}

void hv_rw_put(struct hv_rewrite *rw, const char *word)
{
	put_owned(rw, strdup(word));
}

void hv_rw_putf(struct hv_rewrite *rw, const char *fmt, ...)
{
	char *word = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&word, fmt, ap) < 0)
		word = NULL;
	va_end(ap);
	put_owned(rw, word);
}

void hv_rw_put_keyval(struct hv_rewrite *rw, const char *option, const struct hv_keyval *kv)
{
	hv_rw_put(rw, option);
	put_owned(rw, hv_keyval_print(kv));
}

void hv_rw_set(struct hv_rewrite *rw, struct hv_keyval *kv, const char *key, const char *value)
{
	if (!rw->rc && hv_keyval_set(kv, key, value))
		no_memory(rw);
}

bool hv_rw_parse(struct hv_rewrite *rw, struct hv_keyval *kv, const char *option, const char *arg,
		 const char *implied)
{
	int rc = rw->rc ? rw->rc : hv_keyval_parse(kv, arg, implied);

	if (rc == -EINVAL)
		hv_rw_fail(rw, TV_E_REFUSED, "option -%s: \"%s\" is not valid JSON",
			   option + (*option == '-'), arg);
	else if (rc)
		no_memory(rw);
	return !rc;
}

static bool is_taken(struct hv_rewrite *rw, const char *name)
{
	const char *qmp = strrchr(rw->qmp_path, '/');

	/* Ours, not the VM's: see standby.c. */
	if (!strcmp(name, "standby.log") || !strcmp(name, "standby.files") ||
	    !strcmp(name, qmp ? qmp + 1 : rw->qmp_path))
		return true;
	for (unsigned i = 0; i < rw->n_names; i++)
		if (!strcmp(rw->names[i], name))
			return true;
	return false;
}

char *hv_rw_local(struct hv_rewrite *rw, const char *path, const char *suffix)
{
	const char *base = path ? strrchr(path, '/') : NULL;
	char name[256], *full = NULL;

	base = base ? base + 1 : path;
	if (!base || !*base)
		base = "device";
	snprintf(name, sizeof(name), "%.200s%s", base, suffix);
	for (unsigned i = 2; is_taken(rw, name); i++)
		snprintf(name, sizeof(name), "%.200s-%u%s", base, i, suffix);
	if (rw->n_names == HV_REWRITE_NAMES) {
		hv_rw_fail(rw, TV_E_REFUSED, "the VM has more than %d sockets and log files",
			   HV_REWRITE_NAMES);
		return NULL;
	}
	rw->names[rw->n_names] = strdup(name);
	if (!rw->names[rw->n_names] || asprintf(&full, "%s/%s", rw->conf->dir, name) < 0) {
		no_memory(rw);
		return NULL;
	}
	rw->n_names++;
	return full;
}

/* "nbd://host/x", "fat:rw:dir", "json:{...}": a colon before the first slash. */
static bool has_protocol(const char *path)
{
	return path[strcspn(path, ":/")] == ':';
}

char *hv_rw_path(struct hv_rewrite *rw, const char *path)
{
	char *full = NULL;

	if (!*path || *path == '/' || !rw->cwd || has_protocol(path))
		full = strdup(path);
	else if (asprintf(&full, "%s/%s", strcmp(rw->cwd, "/") ? rw->cwd : "", path) < 0)
		full = NULL;
	if (!full)
		no_memory(rw);
	return full;
}

/*
 * Firmware and ROMs: QEMU looks a plain name up in its own folders too, so it only becomes a path
 * when the primary was seen to have the file in its working directory.
 */
static char *firmware_path(struct hv_rewrite *rw, const char *name)
{
	char *full = hv_rw_path(rw, name);
	json_t *file, *files = json_object_get(rw->desc, "files");
	size_t i;

	if (!full || strchr(name, '/'))
		return full;
	json_array_foreach(files, i, file)
		if (json_is_string(file) && !strcmp(json_string_value(file), full))
			return full;
	free(full);
	return strdup(name);
}

/* ---- options with paths in them ---- */
static void put_path(struct hv_rewrite *rw, const char *option, const char *arg)
{
	hv_rw_put(rw, option);
	put_owned(rw, hv_rw_path(rw, arg));
}

static void put_firmware(struct hv_rewrite *rw, const char *option, const char *arg)
{
	hv_rw_put(rw, option);
	put_owned(rw, firmware_path(rw, arg));
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end) && (n == m || s[n - m - 1] == '.');
}

static char *value_path(struct hv_rewrite *rw, const char *key, const char *value)
{
	static const char *const keys[] = {"file", "filename", "path", "socket", "keyfile"};

	if (!strcmp(key, "romfile"))
		return firmware_path(rw, value);
	for (unsigned i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (ends_with(key, keys[i]))
			return hv_rw_path(rw, value);
	return NULL;
}

/* -blockdev's JSON nests: {"driver":"qcow2","file":{"driver":"file","filename":...}} */
static void json_paths(struct hv_rewrite *rw, json_t *object, unsigned depth)
{
	const char *key;
	json_t *v;
	void *it;

	for (it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
		TV_FREE char *path = NULL;

		key = json_object_iter_key(it);
		v = json_object_iter_value(it);
		if (json_is_object(v) && depth < 16)
			json_paths(rw, v, depth + 1);
		else if (json_is_string(v) && strcmp(key, "file"))
			path = value_path(rw, key, json_string_value(v));
		if (path)
			json_object_iter_set_new(object, it, json_string(path));
	}
}

/* In -blockdev "file=" names another node, in all other options it is a path. */
static void put_paths(struct hv_rewrite *rw, const char *option, const char *arg)
{
	bool blockdev = !strcmp(option, "-blockdev");
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, NULL))
		return;
	json_paths(rw, kv.json, 0);
	for (unsigned i = 0; i < kv.n; i++) {
		struct hv_pair *p = &kv.pairs[i];
		char *path = NULL;

		if (p->value && !(blockdev && ends_with(p->key, "file")))
			path = value_path(rw, p->key, p->value);
		if (path) {
			free(p->value);
			p->value = path;
		}
	}
	hv_rw_put_keyval(rw, option, &kv);
	hv_keyval_dispose(&kv);
}

/* ---- disks: replicas where there are any, else as they are ---- */
static void put_drive(struct hv_rewrite *rw, const char *option, const char *arg)
{
	if (!hv_rw_disk_drive(rw, arg))
		put_paths(rw, option, arg);
}

static void put_blockdev(struct hv_rewrite *rw, const char *option, const char *arg)
{
	if (!hv_rw_disk_blockdev(rw, arg))
		put_paths(rw, option, arg);
}

static void put_medium(struct hv_rewrite *rw, const char *option, const char *arg)
{
	if (!hv_rw_disk_short(rw, option, arg))
		put_path(rw, option, arg);
}

/* ---- single options ---- */
static void drop(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)rw;
	(void)option;
	(void)arg;
}

/*
 * -nographic is three things: no display, a machine without graphics (the firmware sees it), and
 * the serial port on the terminal. The first two stay; without the third QEMU gives the same
 * default serial port a virtual console.
 */
static void nographic(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)option;
	(void)arg;
	hv_rw_set(rw, &rw->machine, "graphics", "off");
}

/* QEMU 9.0 has these two as properties of the machine only, which older ones know, too. */
static void no_hpet(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)option;
	(void)arg;
	hv_rw_set(rw, &rw->machine, "hpet", "off");
}

static void no_acpi(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)option;
	(void)arg;
	hv_rw_set(rw, &rw->machine, "acpi", "off");
}

/* A host's loudspeaker is the host's; the sound card stays. */
static void audio(struct hv_rewrite *rw, const char *option, const char *arg)
{
	static const char *const keep[] = {"id", "model"};
	struct hv_keyval kv, none = {0};

	if (!hv_rw_parse(rw, &kv, option, arg, "driver"))
		return;
	hv_rw_set(rw, &none, "driver", "none");
	for (unsigned i = 0; i < sizeof(keep) / sizeof(*keep); i++)
		if (hv_keyval_get(&kv, keep[i]))
			hv_rw_set(rw, &none, keep[i], hv_keyval_get(&kv, keep[i]));
	hv_rw_put_keyval(rw, option, &none);
	hv_keyval_dispose(&none);
	hv_keyval_dispose(&kv);
}

/* Ours is appended at the end; a VM that was promoted once has it already. */
static void global(struct hv_rewrite *rw, const char *option, const char *arg)
{
	if (!strncmp(arg, "migration.send-configuration=", 29))
		return;
	hv_rw_put(rw, option);
	hv_rw_put(rw, arg);
}

static void refuse(struct hv_rewrite *rw, const char *option, const char *why)
{
	hv_rw_fail(rw, TV_E_REFUSED, "option %s cannot be carried over to the standby: %s", option,
		   why);
}

static void refuse_config(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)arg;
	refuse(rw, option, "the devices it adds are not on the command line; write them there");
}

static void refuse_preconfig(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)arg;
	refuse(rw, option, "what was set by QMP before the machine started is not known");
}

/* What the VM writes goes to nameless files; with replicas those would be in the way. */
static void snapshot(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)arg;
	if (json_array_size(json_object_get(rw->desc, "disks")))
		refuse(rw, option, "its writes are thrown away when it ends; start the VM without");
	else
		hv_rw_put(rw, option);
}

static void refuse_fd(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)arg;
	refuse(rw, option,
	       "an open file of the primary's host does not exist on another host; "
	       "name the file by its path");
}

static void refuse_tpm(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)arg;
	refuse(rw, option,
	       "the TPM's state is kept by a process outside QEMU; start the VM without");
}

/* ---- the table ---- */
enum arity { FLAG, ARG };
struct rule {
	const char *name;
	enum arity arity;
	void (*make)(struct hv_rewrite *rw, const char *option, const char *arg); /* NULL: keep */
};

static const struct rule rules[] = {
	{"M", ARG, hv_rw_machine},
	{"machine", ARG, hv_rw_machine},
	{"m", ARG, hv_rw_memory},
	{"mem-path", ARG, drop},
	{"mem-prealloc", FLAG, drop},
	{"object", ARG, hv_rw_object},
	{"global", ARG, global},
	{"incoming", ARG, drop},
	{"loadvm", ARG, drop},

	{"serial", ARG, hv_rw_serial},
	{"parallel", ARG, hv_rw_serial},
	{"debugcon", ARG, hv_rw_serial},
	{"chardev", ARG, hv_rw_chardev},
	{"netdev", ARG, hv_rw_net},
	{"nic", ARG, hv_rw_net},
	{"net", ARG, hv_rw_net},

	{"monitor", ARG, drop},
	{"qmp", ARG, drop},
	{"qmp-pretty", ARG, drop},
	{"mon", ARG, drop},
	{"gdb", ARG, drop},
	{"s", FLAG, drop},
	{"S", FLAG, drop},
	{"qtest", ARG, drop},
	{"qtest-log", ARG, drop},
	{"daemonize", FLAG, drop},
	{"pidfile", ARG, drop},
	{"D", ARG, drop},
	{"d", ARG, drop},
	{"dfilter", ARG, drop},
	{"trace", ARG, drop},
	{"plugin", ARG, drop},
	{"writeconfig", ARG, drop},
	{"display", ARG, drop},
	{"vnc", ARG, drop},
	{"spice", ARG, drop},
	{"sdl", FLAG, drop},
	{"curses", FLAG, drop},
	{"full-screen", FLAG, drop},
	{"alt-grab", FLAG, drop},
	{"ctrl-grab", FLAG, drop},
	{"no-frame", FLAG, drop},
	{"no-quit", FLAG, drop},
	{"nographic", FLAG, nographic},
	{"no-hpet", FLAG, no_hpet},
	{"no-acpi", FLAG, no_acpi},
	{"audiodev", ARG, audio},
	{"audio", ARG, audio},

	{"kernel", ARG, put_path},
	{"initrd", ARG, put_path},
	{"dtb", ARG, put_path},
	{"bios", ARG, put_firmware},
	{"option-rom", ARG, put_firmware},
	{"L", ARG, put_path},
	{"hda", ARG, put_medium},
	{"hdb", ARG, put_medium},
	{"hdc", ARG, put_medium},
	{"hdd", ARG, put_medium},
	{"fda", ARG, put_medium},
	{"fdb", ARG, put_medium},
	{"cdrom", ARG, put_path},
	{"sd", ARG, put_medium},
	{"mtdblock", ARG, put_medium},
	{"pflash", ARG, put_medium},
	{"drive", ARG, put_drive},
	{"blockdev", ARG, put_blockdev},
	{"device", ARG, put_paths},
	{"fsdev", ARG, put_paths},
	{"virtfs", ARG, put_paths},
	{"fw_cfg", ARG, put_paths},
	{"smbios", ARG, put_paths},
	{"acpitable", ARG, put_paths},

	{"readconfig", ARG, refuse_config},
	{"preconfig", FLAG, refuse_preconfig},
	{"snapshot", FLAG, snapshot},
	{"add-fd", ARG, refuse_fd},
	{"tpmdev", ARG, refuse_tpm},

	/* Kept; here only because they take no argument. */
	{"usb", FLAG, NULL},
	{"portrait", FLAG, NULL},
	{"win2k-hack", FLAG, NULL},
	{"no-fd-bootchk", FLAG, NULL},
	{"singlestep", FLAG, NULL},
	{"enable-kvm", FLAG, NULL},
	{"no-kvm", FLAG, NULL},
	{"no-kvm-irqchip", FLAG, NULL},
	{"no-kvm-pit", FLAG, NULL},
	{"no-kvm-pit-reinjection", FLAG, NULL},
	{"xen-attach", FLAG, NULL},
	{"xen-domid-restrict", FLAG, NULL},
	{"no-reboot", FLAG, NULL},
	{"no-shutdown", FLAG, NULL},
	{"only-migratable", FLAG, NULL},
	{"nodefaults", FLAG, NULL},
	{"no-user-config", FLAG, NULL},
	{"nouserconfig", FLAG, NULL},
	{"nodefconfig", FLAG, NULL},
	{"async-teardown", FLAG, NULL},
	{"enable-sync-profile", FLAG, NULL},
	{"enable-fips", FLAG, NULL},
	{"semihosting", FLAG, NULL},
	{"old-param", FLAG, NULL},
	{"perfmap", FLAG, NULL},
	{"jitdump", FLAG, NULL},
};

static const struct rule *find_rule(const char *word)
{
	for (unsigned i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		if (hv_arg_is(word, rules[i].name))
			return &rules[i];
	return NULL;
}

static void rewrite_option(struct hv_rewrite *rw, const struct rule *rule, const char *word,
			   const char *arg)
{
	char option[64];

	if (rule && rule->make) {
		snprintf(option, sizeof(option), "-%s", rule->name);
		rule->make(rw, option, arg);
		return;
	}
	hv_rw_put(rw, word);
	if (arg)
		hv_rw_put(rw, arg);
}

static void rewrite_all(struct hv_rewrite *rw, char *const *argv, unsigned argc)
{
	put_owned(rw, strchr(argv[0], '/') ? hv_rw_path(rw, argv[0]) : strdup(argv[0]));
	for (unsigned i = 1; i < argc && !rw->rc; i++) {
		const struct rule *rule;
		const char *word = argv[i];

		/* A word of its own is the first disk's image. */
		if (*word != '-') {
			if (!hv_rw_disk_short(rw, "-hda", word))
				put_owned(rw, hv_rw_path(rw, word));
			continue;
		}
		rule = find_rule(word);
		if (rule && rule->arity == FLAG)
			rewrite_option(rw, rule, word, NULL);
		else if (i + 1 < argc)
			rewrite_option(rw, rule, word, argv[++i]);
		else
			hv_rw_fail(rw, TV_E_REFUSED, "option %s is not known to twinvm", word);
	}
}

static void append_ours(struct hv_rewrite *rw)
{
	TV_FREE char *qmp = hv_keyval_escape(rw->qmp_path);

	hv_rw_disks_finish(rw);
	hv_rw_ram_finish(rw);
	if (rw->qemu->send_configuration) {
		hv_rw_put(rw, "-global");
		hv_rw_put(rw, "migration.send-configuration=off");
	}
	hv_rw_put(rw, "-display");
	hv_rw_put(rw, "none");
	hv_rw_put(rw, "-monitor");
	hv_rw_put(rw, "none");
	hv_rw_put(rw, "-qmp");
	hv_rw_putf(rw, "unix:%s,server=on,wait=off", qmp ? qmp : "");
	hv_rw_put(rw, "-incoming");
	hv_rw_put(rw, "defer");
}

/* The words of desc["argv"]; they live as long as desc. NULL: there are none. */
static char **words_of(json_t *desc, unsigned *n)
{
	json_t *list = json_object_get(desc, "argv");
	char **words = calloc(json_array_size(list) + 1, sizeof(*words));

	*n = 0;
	for (size_t i = 0; words && i < json_array_size(list); i++) {
		words[i] = (char *)json_string_value(json_array_get(list, i));
		if (!words[i]) {
			*n = 0;
			break;
		}
		++*n;
	}
	if (words && !*n) {
		free(words);
		words = NULL;
	}
	return words;
}

int hv_standby_argv(json_t *desc, const struct hv_standby_conf *conf, const struct hv_qemu *qemu,
		    const char *ram_path, const char *qmp_path, char ***out, struct tv_err *e)
{
	struct hv_rewrite rw = {
		.desc = desc,
		.conf = conf,
		.qemu = qemu,
		.ram_path = ram_path,
		.qmp_path = qmp_path,
		.e = e,
		.cwd = json_string_value(json_object_get(desc, "cwd")),
	};
	TV_FREE char **words = NULL;
	unsigned n;

	*out = NULL;
	words = words_of(desc, &n);
	if (!words)
		return tv_fail(e, -EINVAL, "the VM's description has no command line");
	hv_rw_ram_init(&rw, words, n);
	rewrite_all(&rw, words, n);
	append_ours(&rw);
	for (unsigned i = 0; i < rw.n_names; i++)
		free(rw.names[i]);
	hv_keyval_dispose(&rw.machine);
	hv_keyval_dispose(&rw.memory);
	if (rw.rc) {
		hv_argv_free(rw.out);
		return rw.rc;
	}
	*out = rw.out;
	return 0;
}

void hv_argv_free(char **argv)
{
	for (char **p = argv; p && *p; p++)
		free(*p);
	free(argv);
}
