/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Main RAM on the standby is one shared file, so that the replicator can map it. QEMU must give it
 * the RAMBlock name that it has on the primary, or the streams do not match. By default that is the
 * machine's own name ("pc.ram"); with memory-backend=X or -numa node,memdev=X it is X (of several
 * nodes the first's), or "/objects/X" for machine types before 4.1.
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

/* NUMA nodes have back ends of their own: the first's is main RAM, the others' stay what they are. */
static bool has_memdev(struct hv_rewrite *rw, char *const *argv, unsigned argc)
{
	bool found = false;

	for (unsigned i = 1; i + 1 < argc; i++) {
		struct hv_keyval kv;

		if (!hv_arg_is(argv[i], "numa") ||
		    !hv_rw_parse(rw, &kv, "numa", argv[i + 1], "type"))
			continue;
		found |= hv_keyval_get(&kv, "memdev") != NULL;
		hv_keyval_dispose(&kv);
	}
	return found;
}

void hv_rw_ram_init(struct hv_rewrite *rw, char *const *argv, unsigned argc)
{
	const char *id;

	rw->main_is_memdev = has_memdev(rw, argv, argc);
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

/* Properties of machines of which none opens anything of the host; the four files are media. */
static const char machine_keys[] =
	"type accel usb vmport dump-guest-core mem-merge memory-backend hpet acpi smm graphics "
	"pflash0 pflash1 kernel-irqchip kernel_irqchip nvdimm nvdimm-persistence hmat smbus sata "
	"pit pic rtc i8042 isa-serial ioapic2 pcie x-option-roms auto-kernel-cmdline fd-bootchk "
	"max-ram-below-4g max-fw-size default-bus-bypass-iommu bus-lock-ratelimit "
	"smbios-entry-point-type suppress-vmdesc enforce-config-section x-oem-id x-oem-table-id "
	"x-south-bridge aux-ram-share phandle-start dt-compatible spcr boot memory smp smp-cache "
	"append kernel initrd dtb firmware shim dumpdtb";

void hv_rw_machine(struct hv_rewrite *rw, const char *option, const char *arg)
{
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, "type"))
		return;
	if (kv.json)
		hv_rw_deny(rw, "write it as a list of key=value", "%s in JSON", option);
	if (hv_rw_keys_ok(rw, &kv, machine_keys, option))
		merge(rw, &rw->machine, &kv);
	hv_keyval_dispose(&kv);
}

void hv_rw_memory(struct hv_rewrite *rw, const char *option, const char *arg)
{
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, "size"))
		return;
	if (hv_rw_keys_ok(rw, &kv, "size slots maxmem", option))
		merge(rw, &rw->memory, &kv);
	hv_keyval_dispose(&kv);
}

static void put_machine(struct hv_rewrite *rw)
{
	static const char *const paths[] = {"kernel", "initrd", "dtb", "firmware", "shim"};
	const char *type = json_string_value(json_object_get(rw->desc, "machine"));

	if (!type || !*type) {
		hv_rw_fail(rw, TV_E_REFUSED, "the VM's description names no machine type");
		return;
	}
	for (unsigned i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		const char *v = hv_keyval_get(&rw->machine, paths[i]);
		TV_FREE char *path = !v ? NULL
				     : !strcmp(paths[i], "firmware")
					     ? hv_rw_firmware(rw, v)
					     : hv_rw_media(rw, v, HV_MEDIA_FILE);

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
	char bytes[32], path[32];

	if (rw->rc)
		return;
	put_machine(rw);
	snprintf(bytes, sizeof(bytes), "%" PRIu64 "B", rw->ram_bytes);
	if (!rw->main_is_memdev || !hv_keyval_get(&rw->memory, "size"))
		hv_rw_set(rw, &rw->memory, "size", bytes);
	hv_rw_put_keyval(rw, "-m", &rw->memory); /* of several nodes together it has their sum */

	hv_rw_set(rw, &ram, "qom-type", "memory-backend-file");
	hv_rw_set(rw, &ram, "id", rw->main_id);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", HV_HOST_FD_RAM);
	hv_rw_set(rw, &ram, "mem-path", path);
	hv_rw_set(rw, &ram, "size", bytes);
	hv_rw_set(rw, &ram, "share", "on");
	/* Machine types differ in the default, and the name must be the primary's. */
	hv_rw_set(rw, &ram, "x-use-canonical-path-for-ramblock-id",
		  strncmp(rw->main_name, OBJECTS, strlen(OBJECTS)) ? "off" : "on");
	hv_rw_put_keyval(rw, "-object", &ram);
	hv_keyval_dispose(&ram);
}
