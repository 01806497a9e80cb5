/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of a command line's devices a VM still has, and which of its devices are not on the line.
 *
 * A device with an id is known by it. One without is the Nth that was made without: QEMU numbers
 * them (/machine/peripheral-anon/device[N]) in the order in which it makes them, which is first
 * -device as a list, then -drive with if=virtio, then -device in JSON (softmmu/vl.c).
 * The same id with another driver, place or back end is another device: unplugged and plugged again.
 *
 * When one is gone, the others may have had their places from QEMU in turn, and would move up: each
 * is then pinned to the place that it has.
 */
#include "hv/attach/live.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { DEVICE, NETDEV, CHARDEV, OBJECT, DRIVE, BLOCKDEV, SMP, KINDS };

static const struct {
	const char *option, *implied, *id;
} kinds[KINDS] = {
	[DEVICE] = {"device", "driver", "id"},
	[NETDEV] = {"netdev", "type", "id"},
	[CHARDEV] = {"chardev", "backend", "id"},
	[OBJECT] = {"object", "qom-type", "id"},
	[DRIVE] = {"drive", NULL, "id"},
	[BLOCKDEV] = {"blockdev", "driver", "node-name"},
	[SMP] = {"smp", "cpus", NULL},
};

struct option {
	unsigned at; /* in argv; its argument follows */
	enum kind kind;
	struct hv_keyval kv;
	bool gone;
	json_t *dev; /* what it is now; borrowed */
};
struct hv_live_line {
	char *const *argv;
	struct option *opt;
	unsigned n;
	bool any_gone; /* of the devices */
};

/* ---- words ---- */
void hv_words_put(struct hv_words *w, char *word)
{
	if (word && w->n + 1 >= w->room) {
		unsigned room = w->room ? 2 * w->room : 64;
		char **p = realloc(w->w, room * sizeof(*p));

		if (p) {
			w->w = p;
			w->room = room;
		} else {
			free(word);
			word = NULL;
		}
	}
	if (!word) {
		w->rc = -ENOMEM;
		return;
	}
	w->w[w->n++] = word;
	w->w[w->n] = NULL;
}

void hv_words_free(struct hv_words *w)
{
	for (unsigned i = 0; i < w->n; i++)
		free(w->w[i]);
	free(w->w);
	*w = (struct hv_words){0};
}

/* ---- taking apart ---- */
static const char *text(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static const char *value(const struct option *o, const char *key)
{
	const char *v = hv_keyval_get(&o->kv, key);

	return v ? v : "";
}

static const char *id_of(const struct option *o)
{
	return kinds[o->kind].id ? value(o, kinds[o->kind].id) : "";
}

static struct hv_live_line *take_apart(char *const *argv)
{
	struct hv_live_line *l = calloc(1, sizeof(*l));
	unsigned words = 0;

	while (argv[words])
		words++;
	if (l)
		l->opt = calloc(words + 1, sizeof(*l->opt));
	if (!l || !l->opt) {
		free(l);
		return NULL;
	}
	l->argv = argv;
	for (unsigned i = 1; i + 1 < words; i++)
		for (unsigned k = 0; k < KINDS; k++) {
			struct option *o = &l->opt[l->n];

			if (!hv_arg_is(argv[i], kinds[k].option) ||
			    hv_keyval_parse(&o->kv, argv[i + 1], kinds[k].implied))
				continue;
			o->at = i++;
			o->kind = k;
			l->n++;
			break;
		}
	return l;
}

void hv_live_line_free(struct hv_live_line *l)
{
	for (unsigned i = 0; l && i < l->n; i++)
		hv_keyval_dispose(&l->opt[i].kv);
	if (l)
		free(l->opt);
	free(l);
}

const char *hv_live_find(const struct hv_live_line *l, const char *option, const char *id)
{
	for (unsigned i = 0; i < l->n; i++)
		if (!l->opt[i].gone && !strcmp(kinds[l->opt[i].kind].option, option) &&
		    !strcmp(id_of(&l->opt[i]), id))
			return l->argv[l->opt[i].at + 1];
	return NULL;
}

/* ---- devices ---- */

/* "virtio-serial" is an alias of virtio-serial-pci, "ahci" of ich9-ahci, "e1000-82540em" of e1000. */
static bool same_driver(const char *a, const char *b)
{
	return *a && *b && (strstr(a, b) || strstr(b, a));
}

static bool parse_addr(const char *s, unsigned *slot, unsigned *function)
{
	*function = 0;
	return sscanf(s, "%x.%x", slot, function) >= 1;
}

static bool same_place(const struct option *o, json_t *dev)
{
	static const char *const back_ends[] = {"netdev", "chardev", "drive", "mac"};
	json_t *at = json_object_get(dev, "at");
	const char *bus = value(o, "bus"), *is = strrchr(text(dev, "parent"), '/');
	unsigned a, b, c, d;

	if (*bus && is && !strchr(bus, '/') && strcmp(bus, is + 1))
		return false;
	if (parse_addr(value(o, "addr"), &a, &b) && is && parse_addr(text(at, "addr"), &c, &d) &&
	    (a != c || b != d))
		return false;
	for (size_t i = 0; i < sizeof(back_ends) / sizeof(*back_ends); i++) {
		const char *want = value(o, back_ends[i]), *have = text(at, back_ends[i]);

		/* What is in a drive that can be opened changes, and has a name of QEMU's own. */
		if (!strcmp(back_ends[i], "drive") &&
		    (*have == '#' || strstr(text(dev, "driver"), "-cd") ||
		     !strcmp(text(dev, "driver"), "floppy")))
			continue;
		if (*want && *have && strcasecmp(want, have))
			return false;
	}
	return true;
}

static json_t *live_device(const struct hv_live *live, const char *id, json_int_t anon)
{
	json_t *d;
	size_t i;

	json_array_foreach(live->devices, i, d)
		if (*id ? !strcmp(text(d, "id"), id)
			: json_object_get(d, "anon") &&
				    json_integer_value(json_object_get(d, "anon")) == anon)
			return d;
	return NULL;
}

static bool is_virtio_drive(const struct option *o)
{
	return o->kind == DRIVE && !strcmp(value(o, "if"), "virtio");
}

static void match_device(struct hv_live_line *l, struct option *o, json_t *dev)
{
	bool is_device = o->kind == DEVICE;

	if (dev && is_device &&
	    (!same_driver(value(o, "driver"), text(dev, "driver")) || !same_place(o, dev)))
		dev = NULL;
	if (dev)
		json_object_del(dev, "new");
	o->dev = is_device ? dev : NULL;
	o->gone = !dev && is_device;
	l->any_gone |= o->gone;
}

static void match_devices(struct hv_live_line *l, const struct hv_live *live)
{
	json_int_t anon = 0;

	for (unsigned i = 0; i < l->n; i++)
		if (l->opt[i].kind == DEVICE && *id_of(&l->opt[i]))
			match_device(l, &l->opt[i], live_device(live, id_of(&l->opt[i]), 0));
	for (unsigned pass = 0; pass < 3; pass++)
		for (unsigned i = 0; i < l->n; i++) {
			struct option *o = &l->opt[i];
			bool ours = pass == 1 ? is_virtio_drive(o)
					      : o->kind == DEVICE && !*id_of(o) &&
							(o->kv.json != NULL) == (pass == 2);

			if (ours)
				match_device(l, o, live_device(live, "", anon++));
		}
}

/* ---- back ends ---- */

static bool has_chardev(const struct hv_live *live, const char *id)
{
	size_t n = strlen(id), i;
	json_t *c;

	json_array_foreach(live->chardevs, i, c) {
		const char *label = text(c, "label");

		/* The part of a multiplexed one that talks to the host is called so. */
		if (!strncmp(label, id, n) && (!label[n] || !strcmp(label + n, "-base")))
			return true;
	}
	return false;
}

static bool is_in_use(const struct hv_live *live, const char *node)
{
	json_t *b;
	size_t i;

	json_array_foreach(live->block, i, b)
		if (!strcmp(text(json_object_get(b, "inserted"), "node-name"), node))
			return true;
	return false;
}

static bool has_named(json_t *list, const char *key, const char *name)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
		if (!strcmp(text(v, key), name))
			return true;
	return false;
}

/* "n1: index=0,type=user,...", behind " \ " when it is the other end of a NIC or a hub's port. */
static bool has_netdev(const struct hv_live *live, const char *id)
{
	size_t n = strlen(id);

	for (const char *p = live->network; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		const char *name = strncmp(p, " \\ ", 3) ? p : p + 3;

		if (!strncmp(name, id, n) && name[n] == ':')
			return true;
	}
	return false;
}

static bool is_gone(const struct option *o, const struct hv_live *live)
{
	const char *id = id_of(o);

	if (!*id)
		return false;
	switch (o->kind) {
	case NETDEV:
		return live->network && !has_netdev(live, id);
	case CHARDEV:
		return live->chardevs && !has_chardev(live, id);
	case OBJECT:
		return live->objects && !json_object_get(live->objects, id);
	case DRIVE:
		return live->block && !has_named(live->block, "device", id);
	case BLOCKDEV:
		return live->nodes && !has_named(live->nodes, "node-name", id);
	default:
		return false;
	}
}

static bool json_names(json_t *o, const char *node)
{
	const char *key;
	json_t *v;

	json_object_foreach(o, key, v)
		if (json_is_object(v) ? json_names(v, node)
				      : json_is_string(v) && strcmp(key, "node-name") &&
						!strcmp(json_string_value(v), node))
			return true;
	return false;
}

/* Does an option name that node, as a device does its disk, or a node the one below it? */
static bool names_node(const struct option *o, const char *node)
{
	if (o->kind != DEVICE && o->kind != BLOCKDEV && o->kind != DRIVE)
		return false;
	if (o->kv.json)
		return json_names(o->kv.json, node);
	for (unsigned i = 0; i < o->kv.n; i++)
		if (o->kv.pairs[i].value && strcmp(o->kv.pairs[i].key, "node-name") &&
		    !strcmp(o->kv.pairs[i].value, node))
			return true;
	return false;
}

static bool named_by(const struct hv_live_line *l, const char *node, bool gone)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->opt[i].gone == gone && names_node(&l->opt[i], node))
			return true;
	return false;
}

/* An unplugged disk leaves its nodes open; on the standby there is nothing for them. */
static void drop_orphans(struct hv_live_line *l, const struct hv_live *live)
{
	for (bool more = true; more;) {
		more = false;
		for (unsigned i = 0; i < l->n; i++) {
			struct option *o = &l->opt[i];

			if (o->kind != BLOCKDEV || o->gone || !*id_of(o) ||
			    is_in_use(live, id_of(o)) || !named_by(l, id_of(o), true) ||
			    named_by(l, id_of(o), false))
				continue;
			o->gone = more = true;
		}
	}
}

struct hv_live_line *hv_live_match(char *const *argv, const struct hv_live *live)
{
	struct hv_live_line *l = take_apart(argv);
	json_t *d;
	size_t k;

	if (!l)
		return NULL;
	json_array_foreach(live->devices, k, d)
		json_object_set_new(d, "new", json_true());
	if (live->devices)
		match_devices(l, live);
	for (unsigned i = 0; i < l->n; i++)
		if (l->opt[i].kind != DEVICE)
			l->opt[i].gone = is_gone(&l->opt[i], live);
	if (live->block)
		drop_orphans(l, live);
	return l;
}

/* ---- the line again ---- */

/* A number stays one in JSON. */
static int set(struct hv_keyval *kv, const char *key, json_t *v)
{
	char number[32];

	if (kv->json)
		return json_object_set(kv->json, key, v) ? -ENOMEM : 0;
	snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
	return hv_keyval_set(kv, key, json_is_string(v) ? json_string_value(v) : number);
}

/* The device is put where it is. */
static int pin(struct option *o)
{
	static const char *const places[] = {"addr", "port", "channel", "scsi-id",
					     "lun",  "nr",   "slot",	"unit"};
	json_t *at = json_object_get(o->dev, "at");
	const char *bus = strrchr(text(o->dev, "parent"), '/');
	int rc = 0;

	if (bus && !*value(o, "bus"))
		rc = hv_keyval_set(&o->kv, "bus", bus + 1);
	for (size_t i = 0; !rc && i < sizeof(places) / sizeof(*places); i++) {
		json_t *v = json_object_get(at, places[i]);

		if (v && !hv_keyval_get(&o->kv, places[i]))
			rc = set(&o->kv, places[i], v);
	}
	return rc;
}

/* How many CPUs the machine begins with: those before the first that is gone, or was plugged. */
static unsigned first_cpus(json_t *cpus, unsigned *all)
{
	size_t n = json_array_size(cpus), begun = 0;

	*all = 0;
	/* The list has the last one first. */
	for (size_t i = n; i-- > 0;) {
		json_t *c = json_array_get(cpus, i);
		const char *path = text(c, "qom-path");

		*all += (unsigned)json_integer_value(json_object_get(c, "vcpus-count"));
		if (begun == n - 1 - i && *path && strncmp(path, "/machine/peripheral", 19))
			begun++;
	}
	return (unsigned)begun;
}

/* A CPU that the line has and that was unplugged. */
static int set_cpus(struct option *o, const struct hv_live *live)
{
	unsigned all, begun = first_cpus(live->cpus, &all);
	char number[16];
	int rc;

	if (!begun || !*value(o, "cpus") || strtoul(value(o, "cpus"), NULL, 10) <= begun)
		return 0;
	snprintf(number, sizeof(number), "%u", begun);
	rc = hv_keyval_set(&o->kv, "cpus", number);
	snprintf(number, sizeof(number), "%u", all);
	return rc ? rc : hv_keyval_set(&o->kv, "maxcpus", number);
}

int hv_live_words(struct hv_live_line *l, const struct hv_live *live, struct hv_words *out)
{
	unsigned k = 0;
	int rc = 0;

	for (unsigned i = 0; l->argv[i] && !rc; i++) {
		struct option *o = k < l->n && l->opt[k].at == i ? &l->opt[k++] : NULL;
		bool changed = o && (o->kind == SMP || (o->dev && l->any_gone));

		if (o && o->gone) {
			i++;
			continue;
		}
		if (changed)
			rc = o->kind == SMP ? set_cpus(o, live) : pin(o);
		hv_words_put(out, strdup(l->argv[i]));
		if (o) {
			i++;
			hv_words_put(out, changed ? hv_keyval_print(&o->kv) : strdup(l->argv[i]));
		}
	}
	return rc ? rc : out->rc;
}
