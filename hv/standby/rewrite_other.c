/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options that are changed, or refused, each for a reason of its own. */
#include "hv/standby/rewrite.h"

#include <string.h>

/*
 * -nographic is three things: no display, a machine without graphics (the firmware sees it), and
 * the serial port on the terminal. The first two stay; without the third QEMU gives the same
 * default serial port a virtual console.
 */
void hv_rw_nographic(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)option;
	(void)arg;
	hv_rw_set(rw, &rw->machine, "graphics", "off");
}

/* QEMU 9.0 has these two as properties of the machine only, which older ones know, too. */
void hv_rw_no_hpet(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)option;
	(void)arg;
	hv_rw_set(rw, &rw->machine, "hpet", "off");
}

void hv_rw_no_acpi(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)option;
	(void)arg;
	hv_rw_set(rw, &rw->machine, "acpi", "off");
}

/* A host's loudspeaker is the host's; the sound card stays. */
void hv_rw_audio(struct hv_rewrite *rw, const char *option, const char *arg)
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
void hv_rw_global(struct hv_rewrite *rw, const char *option, const char *arg)
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

void hv_rw_refuse_config(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)arg;
	refuse(rw, option, "the devices it adds are not on the command line; write them there");
}

void hv_rw_refuse_preconfig(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)arg;
	refuse(rw, option, "what was set by QMP before the machine started is not known");
}

/* What the VM writes goes to nameless files; with replicas those would be in the way. */
void hv_rw_snapshot(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)arg;
	if (json_array_size(json_object_get(rw->desc, "disks")))
		refuse(rw, option, "its writes are thrown away when it ends; start the VM without");
	else
		hv_rw_put(rw, option);
}

void hv_rw_refuse_fd(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)arg;
	refuse(rw, option,
	       "an open file of the primary's host does not exist on another host; "
	       "name the file by its path");
}

void hv_rw_refuse_tpm(struct hv_rewrite *rw, const char *option, const char *arg)
{
	(void)arg;
	refuse(rw, option,
	       "the TPM's state is kept by a process outside QEMU; start the VM without");
}
