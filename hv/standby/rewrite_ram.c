/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Main RAM on the standby is one shared file, so that the replicator can map it. QEMU must give it
 * the RAMBlock name that it has on the primary, or the streams do not match. By default that is the
 * machine's own name ("pc.ram"); with memory-backend=X or -numa node,memdev=X it is X, or
 * "/objects/X" for machine types before 4.1.
 */
#include "hv/standby/rewrite.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define OBJECTS "/objects/"

static void find_main_block(struct hv_rewrite *rw)
{
	json_t *block, *blocks = json_object_get(rw->desc, "blocks");
	json_int_t bytes = 0;
	size_t i;

	json_array_foreach(blocks, i, block) {
		if (!json_is_true(json_object_get(block, "main")))
			continue;
		rw->main_name = json_string_value(json_object_get(block, "name"));
		bytes = json_integer_value(json_object_get(block, "bytes"));
		break;
	}
	rw->ram_bytes = (uint64_t)json_integer_value(json_object_get(rw->desc, "ram_bytes"));
	if (!rw->main_name || !*rw->main_name || bytes <= 0)
		hv_rw_fail(rw, TV_E_REFUSED, "the VM's description names no main memory block");
	else if ((uint64_t)bytes != rw->ram_bytes)
		hv_rw_fail(rw, TV_E_REFUSED,
			   "main memory %s has %" PRIu64 " of the VM's %" PRIu64
			   " bytes of memory: memory in several pieces cannot be carried over",
			   rw->main_name, (uint64_t)bytes, rw->ram_bytes);
}

/* Main RAM made of several NUMA back ends has no single block that a file could stand for. */
static void find_memdev(struct hv_rewrite *rw, char *const *argv, unsigned argc)
{
	unsigned found = 0;

	for (unsigned i = 1; i + 1 < argc; i++) {
		struct hv_keyval kv;

		if (!hv_arg_is(argv[i], "numa") ||
		    !hv_rw_parse(rw, &kv, "numa", argv[i + 1], "type"))
			continue;
		found += hv_keyval_get(&kv, "memdev") != NULL;
		hv_keyval_dispose(&kv);
	}
	if (found > 1)
		hv_rw_fail(
			rw, TV_E_REFUSED,
			"option -numa: memory from %u back ends (memdev=) cannot be carried over; "
			"start the VM with at most one",
			found);
	rw->main_is_memdev = found == 1;
}

void hv_rw_ram_init(struct hv_rewrite *rw, char *const *argv, unsigned argc)
{
	const char *id;

	find_memdev(rw, argv, argc);
	if (!rw->rc)
		find_main_block(rw);
	if (rw->rc)
		return;
	id = rw->main_name;
	if (!strncmp(id, OBJECTS, strlen(OBJECTS)))
		id += strlen(OBJECTS);
	snprintf(rw->main_id, sizeof(rw->main_id), "%s", id);
}

static void merge(struct hv_rewrite *rw, struct hv_keyval *all, const struct hv_keyval *more)
{
	for (unsigned i = 0; i < more->n; i++)
		hv_rw_set(rw, all, more->pairs[i].key,
			  more->pairs[i].value ? more->pairs[i].value : "on");
}

void hv_rw_machine(struct hv_rewrite *rw, const char *option, const char *arg)
{
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, "type"))
		return;
	merge(rw, &rw->machine, &kv);
	hv_keyval_dispose(&kv);
}

void hv_rw_memory(struct hv_rewrite *rw, const char *option, const char *arg)
{
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, "size"))
		return;
	merge(rw, &rw->memory, &kv);
	hv_keyval_dispose(&kv);
}

static bool is_main_type(const char *type)
{
	return !strcmp(type, "memory-backend-ram") || !strcmp(type, "memory-backend-memfd") ||
	       !strcmp(type, "memory-backend-file");
}

/* Objects whose other half lives outside this QEMU, or that QEMU cannot migrate. */
static const char *object_refusal(const struct hv_keyval *kv, const char *type)
{
	static const char *const outside[] = {
		"memory-backend-epc", "sev-guest",
		"sev-snp-guest",      "tdx-guest",
		"colo-compare",	      "x-remote-object",
		"x-vfio-user-server", "cryptodev-vhost-user",
		"filter-mirror",      "filter-redirector",
		"filter-rewriter",    "vfio-user-server",
	};

	for (unsigned i = 0; i < sizeof(outside) / sizeof(*outside); i++)
		if (!strcmp(type, outside[i]))
			return "is tied to something outside the VM";
	if (!strcmp(type, "memory-backend-file") &&
	    (hv_keyval_is_on(kv, "share") || hv_keyval_is_on(kv, "pmem")))
		return "is a shared file besides main memory, which others can write";
	return NULL;
}

static void put_object(struct hv_rewrite *rw, struct hv_keyval *kv)
{
	static const char *const paths[] = {"file", "dir", "filename", "mem-path"};

	for (unsigned i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		const char *v = hv_keyval_get(kv, paths[i]);
		TV_FREE char *path = NULL;

		if (!v)
			continue;
		path = !strcmp(hv_keyval_get(kv, "qom-type"), "filter-dump")
			       ? hv_rw_local(rw, v, "")
			       : hv_rw_path(rw, v);
		if (path)
			hv_rw_set(rw, kv, paths[i], path);
	}
	hv_rw_put_keyval(rw, "-object", kv);
}

void hv_rw_object(struct hv_rewrite *rw, const char *option, const char *arg)
{
	const char *type, *id, *why;
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, "qom-type"))
		return;
	type = hv_keyval_get(&kv, "qom-type");
	id = hv_keyval_get(&kv, "id");
	if (!type || !id) {
		hv_rw_fail(rw, TV_E_REFUSED, "option -object %s names no type or no id", arg);
	} else if (strcmp(id, rw->main_id) || strncmp(type, "memory-backend-", 15)) {
		why = object_refusal(&kv, type);
		if (why)
			hv_rw_fail(rw, TV_E_REFUSED, "option -object %s,id=%s %s", type, id, why);
		else
			put_object(rw, &kv);
	} else if (!is_main_type(type)) {
		hv_rw_fail(rw, TV_E_REFUSED, "main memory of type %s cannot be carried over", type);
	}
	hv_keyval_dispose(&kv);
}

static void put_machine(struct hv_rewrite *rw)
{
	static const char *const paths[] = {"kernel", "initrd", "dtb", "firmware"};
	const char *type = json_string_value(json_object_get(rw->desc, "machine"));

	if (!type || !*type) {
		hv_rw_fail(rw, TV_E_REFUSED, "the VM's description names no machine type");
		return;
	}
	for (unsigned i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		const char *v = hv_keyval_get(&rw->machine, paths[i]);
		TV_FREE char *path = v && strchr(v, '/') ? hv_rw_path(rw, v) : NULL;

		if (path)
			hv_rw_set(rw, &rw->machine, paths[i], path);
	}
	hv_keyval_del(&rw->machine, "type");
	hv_keyval_del(&rw->machine, "memory-backend");
	hv_keyval_del(&rw->machine, "dumpdtb");
	hv_rw_set(rw, &rw->machine, "type", type);
	if (rw->qemu->suppress_vmdesc)
		hv_rw_set(rw, &rw->machine, "suppress-vmdesc", "on");
	if (!rw->main_is_memdev)
		hv_rw_set(rw, &rw->machine, "memory-backend", rw->main_id);
	hv_rw_put_keyval(rw, "-machine", &rw->machine);
}

void hv_rw_ram_finish(struct hv_rewrite *rw)
{
	struct hv_keyval ram = {0};
	char bytes[32];

	if (rw->rc)
		return;
	put_machine(rw);
	snprintf(bytes, sizeof(bytes), "%" PRIu64 "B", rw->ram_bytes);
	hv_rw_set(rw, &rw->memory, "size", bytes);
	hv_rw_put_keyval(rw, "-m", &rw->memory);

	hv_rw_set(rw, &ram, "qom-type", "memory-backend-file");
	hv_rw_set(rw, &ram, "id", rw->main_id);
	hv_rw_set(rw, &ram, "mem-path", rw->ram_path);
	hv_rw_set(rw, &ram, "size", bytes);
	hv_rw_set(rw, &ram, "share", "on");
	/* Machine types differ in the default, and the name must be the primary's. */
	hv_rw_set(rw, &ram, "x-use-canonical-path-for-ramblock-id",
		  strncmp(rw->main_name, OBJECTS, strlen(OBJECTS)) ? "off" : "on");
	hv_rw_put_keyval(rw, "-object", &ram);
	hv_keyval_dispose(&ram);
}
