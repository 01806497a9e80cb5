/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices as HMP prints them: one `info qtree` says of every device what QOM would take hundreds of
 * queries for, hot-plugged and built-in ones alike, whichever way the command line was written.
 */
#include "hv/qemu/devices.h"
#include "hv/qemu/cmdline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 32

void hv_devs_dispose(struct hv_devs *d)
{
	free(d->dev);
	free(d->text);
	*d = (struct hv_devs){0};
}

/* The name of the nearest ancestor that has an id: what stands less far in. */
struct ancestors {
	size_t indent[MAX_DEPTH];
	char id[MAX_DEPTH][96];
	unsigned n;
};

static const char *enter(struct ancestors *a, size_t indent, const char *id)
{
	const char *inherited;

	while (a->n && a->indent[a->n - 1] >= indent)
		a->n--;
	inherited = a->n ? a->id[a->n - 1] : "";
	if (a->n < MAX_DEPTH) {
		a->indent[a->n] = indent;
		snprintf(a->id[a->n], sizeof(a->id[0]), "%s", *id ? id : inherited);
		a->n++;
	}
	return inherited;
}

/* `dev: e1000, id "n0"` */
static void parse_dev(const char *p, size_t indent, struct ancestors *a, struct hv_dev *d)
{
	size_t n = strcspn(p, ",\r\n");
	const char *quote = strstr(p, "id \""), *inherited;
	size_t line = strcspn(p, "\r\n");
	char id[96] = "";

	tv_copy_n(d->driver, sizeof(d->driver), p, n);
	if (quote && quote < p + line) {
		quote += 4;
		tv_copy_n(id, sizeof(id), quote, strcspn(quote, "\"\r\n"));
	}
	inherited = enter(a, indent, id);
	tv_copy(d->name, sizeof(d->name), *id ? id : *inherited ? inherited : d->driver);
}

int hv_devs_parse(const char *qtree, struct hv_devs *out)
{
	struct ancestors a = {.n = 0};
	struct hv_dev *last = NULL;
	unsigned count = 0;

	*out = (struct hv_devs){.text = strdup(qtree)};
	for (const char *p = qtree; (p = strstr(p, "dev: ")); p += 5)
		count++;
	out->dev = calloc(count + 1, sizeof(*out->dev));
	if (!out->text || !out->dev) {
		hv_devs_dispose(out);
		return -ENOMEM;
	}
	for (const char *p = out->text; *p;) {
		size_t indent = strspn(p, " "), line = strcspn(p, "\n");

		if (!strncmp(p + indent, "dev: ", 5) && out->n < count) {
			if (last)
				last->props_bytes = (size_t)(p - last->props);
			last = &out->dev[out->n++];
			parse_dev(p + indent + 5, indent, &a, last);
			last->props = p + line;
		}
		p += line + (p[line] == '\n');
		if (last && !*p)
			last->props_bytes = (size_t)(p - last->props);
	}
	return 0;
}

int hv_devs_read(struct hv_qmp *q, struct hv_devs *out, struct tv_err *e)
{
	TV_FREE char *text = NULL;
	int rc;

	*out = (struct hv_devs){0};
	rc = hv_qmp_hmp(q, "info qtree", &text, HV_CMD_MS, e);
	return rc ? rc : hv_devs_parse(text, out);
}

bool hv_dev_prop(const struct hv_dev *d, const char *key, char *out, size_t room)
{
	const char *end = d->props + d->props_bytes;
	size_t klen = strlen(key);

	for (const char *p = d->props; p < end; p += strcspn(p, "\n") + 1) {
		const char *k = p + strspn(p, " "), *v;
		size_t n;

		if (strncmp(k, key, klen) || strncmp(k + klen, " = ", 3))
			continue;
		v = k + klen + 3;
		n = strcspn(v, "\r\n");
		if (n >= 2 && *v == '"' && v[n - 1] == '"') {
			v++;
			n -= 2;
		}
		tv_copy_n(out, room, v, n);
		return true;
	}
	return false;
}

/* ---- NICs ---- */

/* Copies what follows "type=" in a line of `info network`. */
static bool line_type(const char *line, size_t bytes, char *out, size_t room)
{
	const char *t = memmem(line, bytes, "type=", 5);

	if (!t)
		return false;
	t += 5;
	tv_copy_n(out, room, t, strcspn(t, ",\r\n"));
	return true;
}

/* ",ifname=tap0,script=no" or ",fd=30"; helper=... says neither. Of several queues the first. */
static void line_tap(const char *line, size_t bytes, struct hv_nic *nic)
{
	const char *name = memmem(line, bytes, ",ifname=", 8), *fd = memmem(line, bytes, ",fd=", 4);
	size_t n = name ? strcspn(name + 8, ",\r\n") : 0;

	if (nic->queues > 1)
		return;
	if (n && n < sizeof(nic->ifname))
		snprintf(nic->ifname, sizeof(nic->ifname), "%.*s", (int)n, name + 8);
	else if (fd)
		nic->tap_fd = atoi(fd + 4);
}

/*
 * Finds NETDEV's lines: its type, how many queues, and whether it is the NIC's port of a hub. A NIC
 * may have its netdev's name, so the line of a NIC is none of them.
 */
static void look_up_netdev(const char *text, struct hv_nic *nic)
{
	char want[80], type[32], hub_type[32] = "";
	bool in_hub = false, ours = false;

	snprintf(want, sizeof(want), "%s: ", nic->netdev);
	for (const char *p = text; *p;) {
		size_t line = strcspn(p, "\n");
		const char *name = p;

		if (!strncmp(p, "hub ", 4)) {
			in_hub = true;
			hub_type[0] = '\0';
			ours = false;
		} else if (*p != ' ') {
			in_hub = false;
		}
		if (!strncmp(p, " \\ ", 3))
			name = p + 3;
		if (line_type(p, line, type, sizeof(type)) && (in_hub || strcmp(type, "nic"))) {
			if (!strncmp(name, want, strlen(want))) {
				nic->queues++;
				line_tap(p, line, nic);
				nic->hub = ours = in_hub;
				if (!in_hub) {
					memcpy(nic->type, type, sizeof(type));
				}
			} else if (in_hub && strcmp(type, "nic")) {
				memcpy(hub_type, type, sizeof(type));
			}
		}
		if (in_hub && ours && *hub_type)
			memcpy(nic->type, hub_type, sizeof(hub_type));
		p += line + (p[line] == '\n');
	}
}

/* vhost shows on the command line only; a hot-plugged one is refused by the filter itself. */
static bool has_vhost(char *const *argv, const char *netdev)
{
	char v[256];

	for (unsigned i = 1; argv && argv[i] && argv[i + 1]; i++) {
		if (!hv_arg_is(argv[i], "netdev") && !hv_arg_is(argv[i], "nic") &&
		    !hv_arg_is(argv[i], "net"))
			continue;
		i++;
		if (hv_opt_get(argv[i], "type", "id", v, sizeof(v)) && strcmp(v, netdev))
			continue;
		if (hv_opt_get(argv[i], "type", "vhost", v, sizeof(v)) && strcmp(v, "off"))
			return true;
		if (hv_opt_get(argv[i], "type", "vhostforce", v, sizeof(v)) && strcmp(v, "off"))
			return true;
	}
	return false;
}

unsigned hv_nics(const struct hv_devs *devs, const char *info_network, char *const *argv,
		 struct hv_nic *out, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < devs->n && n < max; i++) {
		const struct hv_dev *d = &devs->dev[i];
		struct hv_nic *nic = &out[n];

		*nic = (struct hv_nic){.tap_fd = -1};
		if (!hv_dev_prop(d, "mac", nic->mac, sizeof(nic->mac)) ||
		    !hv_dev_prop(d, "netdev", nic->netdev, sizeof(nic->netdev)))
			continue;
		memcpy(nic->device, d->name, sizeof(nic->device));
		memcpy(nic->driver, d->driver, sizeof(nic->driver));
		if (nic->netdev[0]) {
			look_up_netdev(info_network, nic);
			nic->vhost = has_vhost(argv, nic->netdev);
		}
		n++;
	}
	return n;
}

int hv_nics_read(struct hv_qmp *q, char *const *argv, struct hv_nic *out, unsigned max, unsigned *n,
		 struct tv_err *e)
{
	TV_FREE char *text = NULL;
	struct hv_devs devs;
	int rc = hv_devs_read(q, &devs, e);

	*n = 0;
	if (!rc)
		rc = hv_qmp_hmp(q, "info network", &text, HV_CMD_MS, e);
	if (!rc)
		*n = hv_nics(&devs, text, argv, out, max);
	hv_devs_dispose(&devs);
	return rc;
}
