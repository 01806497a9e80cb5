/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The writable disks as read-only NBD exports of QEMU's own, so that what they hold can be read as
 * the guest would read it, whatever their format. QEMU has one NBD server: where somebody else uses
 * it, there is none for us. The server's socket is given to QEMU as a descriptor, and whoever gave
 * it has connected already: nobody else can.
 */
#include "hv/attach/attach_int.h"

#include <errno.h>
#include <stdio.h>

int hv_disks_export(struct hv_vm *vm, int listen_fd, struct tv_err *e)
{
	const char *name = HV_PREFIX "-exports";
	int rc = hv_qmp_cmd_fd(vm->qmp, "getfd", json_pack("{s:s}", "fdname", name), listen_fd,
			       NULL, HV_CMD_MS, e);

	if (rc)
		return rc;
	rc = hv_qmp_cmd(vm->qmp, "nbd-server-start",
			json_pack("{s:{s:s, s:{s:s}}}", "addr", "type", "fd", "data", "str", name),
			NULL, HV_CMD_MS, e);
	if (rc) {
		if (hv_qmp_cmd(vm->qmp, "closefd", json_pack("{s:s}", "fdname", name), NULL,
			       HV_CMD_MS, NULL))
			return rc; /* it took the descriptor */
		return rc;
	}
	for (unsigned i = 0; i < vm->n_disks && !rc; i++) {
		char id[HV_EXPORT_BYTES];

		hv_export_name(i, id);
		rc = hv_qmp_cmd(vm->qmp, "block-export-add",
				json_pack("{s:s, s:s, s:s, s:s, s:b}", "type", "nbd", "id", id,
					  "node-name", vm->disks[i].node, "name", id, "writable",
					  0),
				NULL, HV_CMD_MS, e);
	}
	if (rc)
		hv_disks_unexport(vm);
	return rc;
}

void hv_disks_unexport(struct hv_vm *vm)
{
	int rc = 0;

	/* Also where no export came to be: the server is ours. */
	if (hv_qmp_cmd(vm->qmp, "nbd-server-stop", NULL, NULL, HV_CMD_MS, NULL))
		hv_remove_exports(vm->qmp, &rc, NULL);
}

void hv_export_name(unsigned disk, char out[HV_EXPORT_BYTES])
{
	snprintf(out, HV_EXPORT_BYTES, HV_PREFIX "-export%u", disk);
}
