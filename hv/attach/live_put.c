/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was plugged in, as options: each device with its place and properties, and before it the
 * back ends that it needs and the line lacks. A migration's target is started so for devices that
 * were plugged into its source, too (libvirt: qemuBuildDeviceCommandlineFromJSON with the address
 * of the live device).
 *
 * Devices are written in JSON: QEMU makes those after all that are written as lists, so that no
 * place is taken that QEMU gave to another at the VM's start.
 */
#include "hv/attach/live.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct put {
	const struct hv_live *live;
	const struct hv_live_line *line;
	struct hv_words *out;
	json_t *done; /* {"OPTION ID": true} of what was appended */
	struct tv_err *e;
};

static const char *text(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* What a device that was plugged in is called in sentences. */
static const char *name_of(json_t *dev)
{
	return *text(dev, "id") ? text(dev, "id") : text(dev, "driver");
}

/* Is that to be appended, and now? */
static bool is_due(struct put *p, const char *option, const char *id)
{
	char key[256];

	snprintf(key, sizeof(key), "%s %s", option, id);
	if (hv_live_find(p->line, option, id) || json_object_get(p->done, key))
		return false;
	json_object_set_new(p->done, key, json_true());
	return true;
}

static void put_json(struct put *p, const char *option, json_t *o)
{
	hv_words_put(p->out, strdup(option));
	hv_words_put(p->out, json_dumps(o, JSON_COMPACT));
	json_decref(o);
}

/* A list of pairs, NULL at the end; a pair without a value is left out. */
static void put_list(struct put *p, const char *option, const char *const *pairs)
{
	struct hv_keyval kv = {0};
	int rc = 0;

	for (; *pairs && !rc; pairs += 2)
		if (pairs[1])
			rc = hv_keyval_set(&kv, pairs[0], pairs[1]);
	hv_words_put(p->out, strdup(option));
	hv_words_put(p->out, rc ? NULL : hv_keyval_print(&kv));
	hv_keyval_dispose(&kv);
}

/* ---- back ends ---- */

static int put_object(struct put *p, json_t *dev, const char *id)
{
	json_t *o = json_object_get(p->live->objects, id);

	if (!o)
		return tv_fail(p->e, TV_E_REFUSED,
			       "device %s (%s) was plugged in with the object %s, which QEMU does "
			       "not list: unplug it",
			       name_of(dev), text(dev, "driver"), id);
	if (is_due(p, "object", id))
		put_json(p, "-object", json_incref(o));
	return 0;
}

/* The line of `info network` that is about it; NULL: none. *queues: how many there are. */
static const char *find_netdev(const char *network, const char *id, unsigned *queues)
{
	const char *found = NULL;
	size_t n = strlen(id);

	*queues = 0;
	for (const char *l = network ? network : ""; *l; l += strcspn(l, "\n"), l += *l == '\n') {
		const char *name = strncmp(l, " \\ ", 3) ? l : l + 3;

		if (strncmp(name, id, n) || name[n] != ':')
			continue;
		found = found ? found : name + n;
		++*queues;
	}
	return found;
}

/* "key=value" of such a line. */
static const char *word_of(const char *line, const char *key, char *out, size_t room)
{
	size_t bytes = strcspn(line, "\r\n");
	const char *at = memmem(line, bytes, key, strlen(key));

	if (!at)
		return NULL;
	at += strlen(key);
	tv_copy_n(out, room, at, strcspn(at, ",\r\n"));
	return out;
}

static int put_netdev(struct put *p, json_t *dev, const char *id)
{
	char type[32], ifname[32], net[64], number[16], restricted[8];
	unsigned queues;
	const char *line = find_netdev(p->live->network, id, &queues);
	const char *kind = line ? word_of(line, "type=", type, sizeof(type)) : NULL;
	bool tap, user;

	if (!kind)
		return tv_fail(
			p->e, TV_E_REFUSED,
			"NIC %s (%s) was plugged in with the back end %s, which QEMU does not "
			"list: unplug it",
			name_of(dev), text(dev, "driver"), id);
	if (!is_due(p, "netdev", id))
		return 0;
	tap = !strcmp(kind, "tap");
	user = !strcmp(kind, "user");
	if (!user || !word_of(line, ",net=", net, sizeof(net) - 3) || !strcmp(net, "10.0.2.0"))
		*net = '\0'; /* QEMU's own */
	else if (!strchr(net, '/'))
		strcat(net, "/24");
	snprintf(number, sizeof(number), "%u", queues);
	put_list(p, "-netdev",
		 (const char *const[]){
			 "type", kind, "id", id, "ifname",
			 tap && queues == 1 ? word_of(line, ",ifname=", ifname, sizeof(ifname))
					    : NULL,
			 "queues", tap && queues > 1 ? number : NULL, "net", *net ? net : NULL,
			 "restrict",
			 user ? word_of(line, ",restrict=", restricted, sizeof(restricted)) : NULL,
			 NULL});
	return 0;
}

/* "disconnected:unix:/run/x,server=on", "pty:/dev/pts/3", "null": the standby needs the kind, and
 * of a socket its path. */
static int put_chardev(struct put *p, json_t *dev, const char *id)
{
	const char *what = NULL, *path;
	char kind[32], file[256];
	json_t *c;
	size_t i;

	json_array_foreach(p->live->chardevs, i, c)
		if (!strcmp(text(c, "label"), id))
			what = text(c, "filename");
	if (!what)
		return tv_fail(p->e, TV_E_REFUSED,
			       "device %s (%s) was plugged in with the chardev %s, which QEMU does "
			       "not list: unplug it",
			       name_of(dev), text(dev, "driver"), id);
	if (!is_due(p, "chardev", id))
		return 0;
	what += strncmp(what, "disconnected:", 13) ? 0 : 13;
	tv_copy_n(kind, sizeof(kind), what, strcspn(what, ":"));
	path = what[strlen(kind)] == ':' ? what + strlen(kind) + 1 : "";
	tv_copy_n(file, sizeof(file), path, strcspn(path, ","));
	if (!strcmp(kind, "unix"))
		put_list(p, "-chardev",
			 (const char *const[]){"backend", "socket", "id", id, "path", file,
					       "server", strstr(what, "server=on") ? "on" : "off",
					       "wait", "off", NULL});
	else if (!strcmp(kind, "file"))
		put_list(p, "-chardev",
			 (const char *const[]){"backend", "file", "id", id, "path", id, NULL});
	else
		put_list(p, "-chardev", (const char *const[]){"backend", kind, "id", id, NULL});
	return 0;
}

/* query-block's element for a drive, by its name or its topmost node's. */
static json_t *find_block(const struct hv_live *live, const char *drive, bool *is_node)
{
	json_t *b;
	size_t i;

	json_array_foreach(live->block, i, b) {
		*is_node = strcmp(text(b, "device"), drive) != 0;
		if (!*is_node || !strcmp(text(json_object_get(b, "inserted"), "node-name"), drive))
			return b;
	}
	return NULL;
}

/*
 * Of an image that is written only its name counts: it becomes a replica on the backup. One that is
 * only read is looked for there by its file.
 */
static int put_drive(struct put *p, json_t *dev, const char *drive)
{
	bool is_node, ro;
	json_t *b = find_block(p->live, drive, &is_node), *in = json_object_get(b, "inserted");
	const char *file = text(json_object_get(in, "image"), "filename");
	const char *format = strcmp(text(in, "drv"), "qcow2") ? "raw" : "qcow2";

	if (!b || *drive == '#')
		return tv_fail(
			p->e, TV_E_REFUSED,
			"disk %s (%s) was plugged in with the image %s, which has no name that "
			"a standby can be started with: unplug it, and plug it in with a "
			"node-name",
			name_of(dev), text(dev, "driver"), drive);
	if (!is_due(p, is_node ? "blockdev" : "drive", drive))
		return 0;
	ro = json_is_true(json_object_get(in, "ro"));
	if (is_node)
		put_json(p, "-blockdev",
			 json_pack("{s:s, s:s, s:b, s:{s:s, s:s}}", "driver", format, "node-name",
				   drive, "read-only", ro, "file", "driver", "file", "filename",
				   file));
	else
		put_list(p, "-drive",
			 (const char *const[]){"if", "none", "id", drive, "file", in ? file : NULL,
					       "format", in ? format : NULL, "readonly",
					       ro ? "on" : NULL, NULL});
	return 0;
}

/* ---- devices ---- */

/* usb-storage hands its drive on to a disk inside: "drive" is empty then. */
static const char *hidden_drive(const struct hv_live *live, json_t *dev)
{
	const char *path = text(dev, "path");
	size_t n = strlen(path), i;
	json_t *b;

	if (strcmp(text(dev, "driver"), "usb-storage"))
		return "";
	json_array_foreach(live->block, i, b)
		if (!strncmp(text(b, "qdev"), path, n) && text(b, "qdev")[n] == '/')
			return *text(b, "device")
				       ? text(b, "device")
				       : text(json_object_get(b, "inserted"), "node-name");
	return "";
}

static int put_back_ends(struct put *p, json_t *dev, json_t *o)
{
	const char *drive = text(o, "drive"), *key;
	json_t *v;
	int rc = 0;

	if (!*drive)
		drive = hidden_drive(p->live, dev);
	if (*drive) {
		json_object_set_new(o, "drive", json_string(drive));
		rc = put_drive(p, dev, drive);
	}
	if (!rc && *text(o, "netdev"))
		rc = put_netdev(p, dev, text(o, "netdev"));
	if (!rc && *text(o, "chardev"))
		rc = put_chardev(p, dev, text(o, "chardev"));
	json_object_foreach(o, key, v)
		if (!rc && (!strcmp(key, "memdev") || !strcmp(key, "rng") ||
			    !strcmp(key, "iothread") || !strcmp(key, "cryptodev")))
			rc = put_object(p, dev, json_string_value(v));
	return rc;
}

static json_t *begin(const char *driver, const char *id)
{
	json_t *o = json_pack("{s:s}", "driver", driver);

	if (*id)
		json_object_set_new(o, "id", json_string(id));
	return o;
}

static int put_device(struct put *p, json_t *dev)
{
	json_t *o = begin(text(dev, "driver"), text(dev, "id"));
	const char *bus = strrchr(text(dev, "parent"), '/');
	json_t *port = json_object_get(json_object_get(dev, "at"), "port");
	int rc;

	if (bus)
		json_object_set_new(o, "bus", json_string(bus + 1));
	if (port)
		json_object_set(o, "port", port);
	json_object_update(o, json_object_get(dev, "props"));
	rc = put_back_ends(p, dev, o);
	if (rc)
		json_decref(o);
	else
		put_json(p, "-device", o);
	return rc;
}

/* ---- CPUs ---- */
static json_t *find_device(const struct hv_live *live, const char *path)
{
	json_t *d;
	size_t i;

	json_array_foreach(live->devices, i, d)
		if (!strcmp(text(d, "path"), path))
			return d;
	return NULL;
}

/* Those that were plugged in, and those of -smp behind one that is gone. */
static void put_cpus(struct put *p)
{
	bool gap = false;

	for (size_t i = json_array_size(p->live->cpus); i-- > 0;) {
		json_t *c = json_array_get(p->live->cpus, i), *o;
		json_t *dev = find_device(p->live, text(c, "qom-path"));
		bool is_new = json_is_true(json_object_get(dev, "new"));

		if (!*text(c, "qom-path") || dev) {
			gap = true;
			if (!is_new)
				continue;
		} else if (!gap) {
			continue;
		}
		o = begin(text(c, "type"), text(dev, "id"));
		json_object_update(o, json_object_get(c, "props"));
		json_object_del(o, "node-id"); /* -numa says it */
		put_json(p, "-device", o);
		json_object_del(dev, "new");
	}
}

/* ---- order ---- */

/* Is its bus that of a device which is itself still to come? */
static bool must_wait(const struct hv_live *live, json_t *dev)
{
	json_t *d;
	size_t i;

	json_array_foreach(live->devices, i, d) {
		size_t n = strlen(text(d, "path"));

		if (d != dev && json_object_get(d, "new") &&
		    !strncmp(text(dev, "parent"), text(d, "path"), n) &&
		    text(dev, "parent")[n] == '/')
			return true;
	}
	return false;
}

/* A hub comes before what is behind it: port 1 before 1.2. */
static bool comes_before(json_t *a, json_t *b)
{
	int bus = strcmp(text(a, "parent"), text(b, "parent"));
	int port = strcmp(text(json_object_get(a, "at"), "port"),
			  text(json_object_get(b, "at"), "port"));

	return bus ? bus < 0 : port ? port < 0 : strcmp(text(a, "path"), text(b, "path")) < 0;
}

static int put_devices(struct put *p)
{
	for (;;) {
		json_t *d, *next = NULL;
		size_t i;
		int rc;

		json_array_foreach(p->live->devices, i, d)
			if (json_object_get(d, "new") && !must_wait(p->live, d) &&
			    (!next || comes_before(d, next)))
				next = d;
		if (!next)
			return 0;
		rc = put_device(p, next);
		if (rc)
			return rc;
		json_object_del(next, "new");
	}
}

int hv_live_argv(char *const *argv, const struct hv_live *live, struct hv_words *out,
		 struct tv_err *e)
{
	struct hv_live_line *line = hv_live_match(argv, live);
	struct put p = {.live = live, .line = line, .out = out, .done = json_object(), .e = e};
	int rc = line && p.done ? hv_live_words(line, live, out) : -ENOMEM;

	if (!rc) {
		put_cpus(&p);
		rc = put_devices(&p);
		rc = rc ? rc : out->rc;
	}
	if (rc == -ENOMEM)
		tv_fail(e, rc, "no memory for the VM's command line");
	json_decref(p.done);
	hv_live_line_free(line);
	if (rc)
		hv_words_free(out);
	return rc;
}
