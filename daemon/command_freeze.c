/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * twinvm snapshot: an epoch is held still for it, and it reads and writes files by itself, with its
 * own user's rights. So a snapshot costs this loop nothing, and ends with the command.
 */
#include "daemon/commands.h"
#include "daemon/freeze.h"

#include <errno.h>
#include <stdlib.h>

struct holder {
	struct daemon *d;
	struct ctl *c;
};

static void on_closed(struct ctl *c, void *arg)
{
	struct holder *h = arg;

	freeze_forget(h->d, h);
	ctl_free(c);
	free(h);
}

static void on_still(void *arg, int rc, const char *why, int fd)
{
	struct holder *h = arg;

	ctl_set_arg(h->c, &ctl_deaf, NULL);
	if (rc)
		command_end(h->c, rc, "%s", why);
	else
		ctl_send_fds(h->c, json_pack("{sb si}", "done", 1, "rc", 0), &fd, 1);
	tv_close_fd(&fd);
	ctl_close_when_sent(h->c);
	free(h);
}

void command_freeze(struct daemon *d, struct ctl *c, json_t *msg)
{
	static const struct ctl_ops ops = {ctl_deaf_message, on_closed};
	struct vm *vm = command_vm(d, c, msg);
	struct freeze_want want = {
		.disk_bytes = (uint64_t)json_integer_value(json_object_get(msg, "disk_bytes")),
		.for_s = (int)json_integer_value(json_object_get(msg, "for_s"))};
	struct tv_err e = {0};
	struct holder *h;
	int rc;

	if (!vm)
		return;
	h = calloc(1, sizeof(*h));
	if (!h) {
		command_end(c, -ENOMEM, "no memory");
		return;
	}
	*h = (struct holder){d, c};
	rc = freeze_ask(vm, &want, on_still, h, &e);
	if (rc) {
		free(h);
		command_end(c, rc, "%s", e.text);
		return;
	}
	ctl_set_arg(c, &ops, h);
}
