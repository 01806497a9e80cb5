/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * twinvm trace: the ring itself is handed over, and twinvm reads it. So a trace costs this loop nothing,
 * however long it is, and is there while the replicator hangs or when it has died.
 */
#include "daemon/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

void command_trace(struct daemon *d, struct ctl *c, json_t *msg)
{
	struct vm *vm = command_vm(d, c, msg);
	bool former = json_is_true(json_object_get(msg, "previous"));
	TV_CLOSE int fd = -1;
	char path[40];
	int of;

	if (!vm)
		return;
	of = former ? vm->former_trace_fd : vm->trace_fd;
	if (of < 0) {
		command_end(c, -ENODATA,
			    "there is no trace of %s: it begins with %s epoch, and twinvmd has not "
			    "seen one since it began",
			    vm->name, former ? "a second session's first" : "the first");
		return;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", of);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		command_end(c, -errno, "the trace of %s cannot be opened: %s", vm->name,
			    tv_strerror(-errno));
		return;
	}
	ctl_send_fds(c, json_pack("{sb si so}", "done", 1, "rc", 0, "name", fields_text(vm->name)),
		     &fd, 1);
	ctl_close_when_sent(c);
}
