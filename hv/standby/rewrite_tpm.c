/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TPM that is emulated by swtpm: the standby has a swtpm of its own (hv/host/tpm.c), whose control
 * channel QEMU inherits. So the chardev in front of the primary's becomes that descriptor, whatever
 * socket the peer names.
 */
#include "hv/standby/rewrite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void hv_rw_tpm_init(struct hv_rewrite *rw, char *const *argv, unsigned argc)
{
	unsigned found = 0;

	for (unsigned i = 1; i + 1 < argc && !rw->rc; i++) {
		struct hv_keyval kv;

		if (!hv_arg_is(argv[i], "tpmdev") ||
		    !hv_rw_parse(rw, &kv, "tpmdev", argv[i + 1], "type"))
			continue;
		if (++found > 1)
			hv_rw_deny(rw, "a machine has one TPM", "-tpmdev twice");
		else if (!tv_copy(rw->tpm_chardev, sizeof(rw->tpm_chardev),
				  hv_keyval_get(&kv, "chardev")))
			hv_rw_deny(rw, "give the chardev a shorter id", "-tpmdev %.200s",
				   argv[i + 1]);
		hv_keyval_dispose(&kv);
	}
}

void hv_rw_tpmdev(struct hv_rewrite *rw, const char *option, const char *arg)
{
	const char *type, *id;
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, "type"))
		return;
	type = hv_keyval_get(&kv, "type");
	id = hv_keyval_get(&kv, "id");
	if (!type || strcmp(type, "emulator"))
		hv_rw_deny(rw, "a TPM of the host cannot be copied; use swtpm (-tpmdev emulator)",
			   "%s %.200s", option, arg);
	else if (!strcmp(rw->tpm_chardev, HV_QMP_CHARDEV))
		hv_rw_deny(rw, "give the chardev another id", "%s %.200s", option, arg);
	else if (!id || !*rw->tpm_chardev)
		hv_rw_fail(rw, TV_E_REFUSED, "option %s %.200s names no id or no chardev", option,
			   arg);
	else if (hv_rw_keys_ok(rw, &kv, "type id chardev", option)) {
		rw->what->tpm = true;
		hv_rw_put_keyval(rw, option, &kv);
	}
	hv_keyval_dispose(&kv);
}

bool hv_rw_tpm_chardev(struct hv_rewrite *rw, const struct hv_keyval *kv)
{
	const char *id = hv_keyval_get(kv, "id"), *backend = hv_keyval_get(kv, "backend");
	struct hv_keyval ours = {0};
	char fd[16];

	if (!*rw->tpm_chardev || !id || strcmp(id, rw->tpm_chardev))
		return false;
	if (!backend || strcmp(backend, "socket")) {
		hv_rw_deny(rw, "a TPM needs a UNIX socket", "-chardev %.100s for its TPM",
			   backend ? backend : "");
		return true;
	}
	snprintf(fd, sizeof(fd), "%d", HV_HOST_FD_TPM);
	hv_rw_set(rw, &ours, "backend", "socket");
	hv_rw_set(rw, &ours, "id", id);
	hv_rw_set(rw, &ours, "fd", fd);
	hv_rw_put_keyval(rw, "-chardev", &ours);
	hv_keyval_dispose(&ours);
	return true;
}
