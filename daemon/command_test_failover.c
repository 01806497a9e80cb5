/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm test-failover: on the VM's backup. What it asks for is checked as an order is; the rest is in clones.c. */
#include "daemon/clones.h"
#include "daemon/commands.h"
#include "daemon/passing.h"

#include <errno.h>
#include <string.h>

static int number(const json_t *msg, const char *key, int otherwise)
{
	json_t *v = json_object_get(msg, key);
	json_int_t n = json_integer_value(v);

	return !v ? otherwise : n < 0 || n > INT32_MAX ? 0 : (int)n;
}

/* The request has an order's words, and fewer of them. */
static int order_of(const struct vm *vm, const json_t *msg, struct clone_order *out,
		    struct tv_err *e)
{
	int mib = number(msg, "disk_mib", (int)(CLONE_DISK_BYTES >> 20));
	json_t *j = json_pack(
		"{ss ss si si sb sI sO* sO* sO*}", "vm_id", vm->id, "vm", vm->name, "for_s",
		number(msg, "for_s", CLONE_FOR_S), "probe_s", number(msg, "probe_s", CLONE_PROBE_S),
		"keep", json_is_true(json_object_get(msg, "keep")), "disk_bytes",
		(json_int_t)mib << 20, "guest", json_object_get(msg, "guest"), "address",
		json_object_get(msg, "address"), "probes", json_object_get(msg, "probes"));
	int rc = j ? clone_order_read(j, out, e) : tv_fail(e, -ENOMEM, "no memory");

	for (unsigned i = 0; !rc && i < out->n_probes; i++) {
		const char *name = out->probes[i].text + strlen("named:");

		if (out->probes[i].kind == CLONE_NAMED && !config_probe(&vm->d->conf, name))
			rc = tv_fail(e, -ENOENT, "no probe.%.40s in %s of %s", name,
				     vm->d->conf.path, vm->d->conf.host);
	}
	json_decref(j);
	return rc;
}

void command_test_failover(struct daemon *d, struct ctl *c, json_t *msg)
{
	static struct clone_order order; /* kilobytes */
	struct vm *vm = command_vm(d, c, msg);
	bool waits = !json_is_false(json_object_get(msg, "wait"));
	struct tv_err e = {0};
	int rc;

	if (!vm || (vm->role == SESSION_PRIMARY && pass_on(vm, c, msg)))
		return;
	if (json_is_true(json_object_get(msg, "stop"))) {
		rc = clones_stop(vm, c, &e);
	} else {
		rc = order_of(vm, msg, &order, &e);
		if (!rc)
			rc = clones_test(vm, &order, command_text(msg, "by", "operator"),
					 command_text(msg, "note", ""), waits ? c : NULL, &e);
		if (!rc && !waits)
			command_end(c, 0, "%s", "");
	}
	if (rc)
		command_end(c, rc, "%s", e.text);
}
