/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything that would make a copy of the VM wrong or its output escape, reported at once. What a
 * driver's name shows is in the table of hv/qemu/drivers.c; each other reason has a function here.
 */
#include "hv/attach/attach_int.h"
#include "hv/attach/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const struct hv_policy hv_policy = {.disks = true, .vhost = false};

static void refuse(struct hv_refusals *out, const char *fmt, ...) TV_PRINTF(2, 3);

static void refuse(struct hv_refusals *out, const char *fmt, ...)
{
	va_list ap;

	if (out->n == HV_MAX_REFUSALS) {
		snprintf(out->text[out->n - 1], sizeof(out->text[0]),
			 "there are more reasons; these come first");
		return;
	}
	va_start(ap, fmt);
	vsnprintf(out->text[out->n], sizeof(out->text[0]), fmt, ap);
	va_end(ap);
	out->n++;
}

static void check_kernel(const struct hv_check *c, struct hv_refusals *out)
{
	if (!c->features->pagemap_scan && !c->features->soft_dirty)
		refuse(out, "this host's kernel cannot track dirty pages: %s", c->features->why);
}

static void check_qemu(const struct hv_check *c, struct hv_refusals *out)
{
	char version[160];

	hv_qemu_version(c->qemu, version, sizeof(version));
	if (!c->qemu->save_state)
		refuse(out,
		       "the VM's QEMU, %s, has no command xen-save-devices-state, by which its "
		       "devices' state is taken: run the VM in one that has it (7.2 to 10 do)",
		       version);
}

static void check_status(const struct hv_check *c, struct hv_refusals *out)
{
	const struct hv_run_state *s = hv_run_state_of(c->status);

	if (s->protection != HV_GOES_ON)
		refuse(out, "the VM is not running (%s): %s; %s", c->status, s->why, s->remedy);
}

static void check_migration(const struct hv_check *c, struct hv_refusals *out)
{
	static const char *const idle[] = {"none", "completed", "failed", "cancelled"};
	const char *status = json_string_value(json_object_get(c->migrate, "status"));
	json_t *reason;
	bool busy = status != NULL;
	size_t i;

	for (i = 0; status && i < sizeof(idle) / sizeof(*idle); i++)
		busy = busy && strcmp(status, idle[i]);
	if (busy)
		refuse(out,
		       "a migration or snapshot of the VM is under way (%s): wait for its end "
		       "or cancel it (monitor command 'migrate_cancel')",
		       status);
	json_array_foreach(json_object_get(c->migrate, "blocked-reasons"), i, reason)
		refuse(out, "QEMU reports that this VM cannot be saved: %s; unplug that device",
		       json_string_value(reason));
}

/* QEMU mirrors no disk that has a job, and its own words name an inner node. */
static void check_jobs(const struct hv_check *c, struct hv_refusals *out)
{
	json_t *job;
	size_t i;

	json_array_foreach(c->jobs, i, job) {
		const char *type = json_string_value(json_object_get(job, "type"));
		const char *id = json_string_value(json_object_get(job, "device"));

		refuse(out,
		       "a %s job of another program (%s) works on a disk of the VM: wait for its "
		       "end, or cancel it (monitor command 'block_job_cancel %s')",
		       type ? type : "block", id ? id : "", id ? id : "");
	}
}

static const char *disk_name(json_t *dev)
{
	const char *name = json_string_value(json_object_get(dev, "device"));
	const char *qdev = json_string_value(json_object_get(dev, "qdev"));

	return name && *name ? name : qdev ? qdev : "without a name";
}

/*
 * After -runas or -chroot QEMU has images open that it could not open again by their names. It does
 * so at the end of every mirror job, and ends when it fails: the VM would die when it is
 * unprotected, or when its backup is lost.
 */
static void check_open(const struct hv_check *c, json_t *dev, const char *file,
		       struct hv_refusals *out)
{
	if (c->can_open && *file == '/' && !c->can_open(file, c->can_open_arg))
		refuse(out,
		       "disk %s (%s) cannot be opened by QEMU as it runs now (-runas, -chroot), which "
		       "would end the VM when its mirror ends: give QEMU's user the right to the "
		       "image, or start the VM without the option",
		       disk_name(dev), file);
}

static void check_disk(const struct hv_check *c, json_t *dev, struct hv_refusals *out)
{
	json_t *inserted = json_object_get(dev, "inserted");
	const char *file = json_string_value(json_object_get(inserted, "file"));
	const char *drv = json_string_value(json_object_get(inserted, "drv"));

	if (!inserted || json_is_true(json_object_get(inserted, "ro")))
		return;
	file = file ? file : "no file name";
	if (!c->policy->disks)
		refuse(out,
		       "disk %s (%s) is writable, and disks are not replicated: detach it or make "
		       "it read-only (readonly=on)",
		       disk_name(dev), file);
	else if (drv && !strcmp(drv, "vvfat"))
		refuse(out, "disk %s (%s) is a folder of the host: use an image file",
		       disk_name(dev), file);
	check_open(c, dev, file, out);
}

static void check_disks(const struct hv_check *c, struct hv_refusals *out)
{
	json_t *dev;
	size_t i;

	json_array_foreach(c->block, i, dev)
		check_disk(c, dev, out);
}

/* By QEMU itself; what the guest encrypts is encrypted in the replica too. The node may lie below
 * others, so all of them are looked at. */
static void check_encrypted(const struct hv_check *c, struct hv_refusals *out)
{
	json_t *node;
	size_t i;

	json_array_foreach(c->nodes, i, node) {
		const char *drv = json_string_value(json_object_get(node, "drv"));
		const char *file = json_string_value(json_object_get(node, "file"));

		if (c->policy->plaintext || json_is_true(json_object_get(node, "ro")) ||
		    (!json_is_true(json_object_get(node, "encrypted")) &&
		     (!drv || strcmp(drv, "luks"))))
			continue;
		refuse(out,
		       "the image %s is encrypted, and its replica would be plain text on the "
		       "backup: set replica_plaintext = yes in this host's configuration if it may "
		       "be",
		       file ? file : "without a name");
	}
}

/* A disk that others write to as well: a mirror of our writes is not its contents. */
static void check_shared_disks(const struct hv_check *c, struct hv_refusals *out)
{
	char v[64];

	for (unsigned i = 0; i < c->devs->n; i++) {
		const struct hv_dev *d = &c->devs->dev[i];

		if (hv_dev_prop(d, "drive", v, sizeof(v)) && *v &&
		    hv_dev_prop(d, "share-rw", v, sizeof(v)) && !strcmp(v, "true"))
			refuse(out,
			       "device %s (%s) shares its disk with other machines (share-rw=on), "
			       "whose writes cannot be replicated: start it with share-rw=off",
			       d->name, d->driver);
	}
}

/* A driver that is in no list is the machine's own: a user's one is refused by the backup. */
static void check_devices(const struct hv_check *c, struct hv_refusals *out)
{
	for (unsigned i = 0; i < c->devs->n; i++) {
		const struct hv_dev *d = &c->devs->dev[i];
		const struct hv_driver *known = hv_driver(d->driver);

		if (known->class == HV_DRIVER_REFUSED)
			refuse(out, "device %s (%s): %s; %s", d->name, d->driver, known->what,
			       known->remedy);
	}
}

static bool is_ballooning(const struct hv_dev *d)
{
	return !strncmp(d->driver, "virtio-balloon-dev", 18) ||
	       !strncmp(d->driver, "virtio-mem-dev", 14);
}

bool hv_check_discards(const struct hv_devs *devs)
{
	for (unsigned i = 0; i < devs->n; i++)
		if (is_ballooning(&devs->dev[i]))
			return true;
	return false;
}

static void check_balloon(const struct hv_check *c, struct hv_refusals *out)
{
	for (unsigned i = 0; i < c->devs->n; i++) {
		const struct hv_dev *d = &c->devs->dev[i];

		if (!is_ballooning(d))
			continue;
		if (c->shared_unseen)
			refuse(out,
			       "device %s (%s) discards pages of shared RAM, which can be seen "
			       "here only with Linux 6.7 or newer and of a memory file (memfd, "
			       "tmpfs): use private RAM (share=off) or unplug it",
			       d->name, d->driver);
		else if (!c->features->discard_reported)
			refuse(out,
			       "device %s (%s) discards pages, which this kernel does not "
			       "report: unplug it or use a newer kernel",
			       d->name, d->driver);
	}
}

static void check_net(const struct hv_check *c, struct hv_refusals *out)
{
	for (unsigned i = 0; i < c->n_nics; i++) {
		const struct hv_nic *n = &c->nics[i];

		if (!strncmp(n->type, "vhost-", 6))
			refuse(out,
			       "netdev %s of NIC %s is %s, which writes to RAM unseen: use "
			       "tap without vhost",
			       n->netdev, n->device, n->type);
		else if (n->vhost && !c->policy->vhost)
			refuse(out,
			       "netdev %s of NIC %s uses vhost, past QEMU's filters: start it "
			       "with vhost=off, or twinvmd as root on a kernel with sch_plug and "
			       "ifb",
			       n->netdev, n->device);
		else if (n->queues > 1 && !c->policy->vhost)
			refuse(out,
			       "netdev %s of NIC %s has %u queues, and filters hold only one: "
			       "start it with queues=1, or twinvmd as root on a kernel with "
			       "sch_plug and ifb",
			       n->netdev, n->device, n->queues);
	}
}

/* What a standby's tap could not be again. */
static void check_ports(const struct hv_check *c, struct hv_refusals *out)
{
	for (unsigned i = 0; c->ports && i < c->n_nics; i++) {
		const struct hv_nic *n = &c->nics[i];
		const struct hv_link *p = &c->ports[i], *m = &c->masters[i];

		if (!strcmp(m->kind, "openvswitch"))
			refuse(out,
			       "the tap %s of NIC %s is a port of Open vSwitch, and a standby's tap "
			       "can only join a Linux bridge: move it to one",
			       n->ifname, n->device);
		else if (p->more_vlans)
			refuse(out,
			       "the tap %s of NIC %s is in more than %d VLANs of its bridge %s: "
			       "take it out of those that the VM does not need",
			       n->ifname, n->device, HV_LINK_MAX_VLANS, p->master);
	}
}

static void check_ram(const struct hv_check *c, struct hv_refusals *out)
{
	if (c->page_bytes > TV_PAGE_BYTES)
		refuse(out,
		       "guest RAM lies on hugetlbfs (pages of %" PRIu64 " KiB), which cannot be "
		       "tracked: use transparent huge pages instead of -mem-path",
		       c->page_bytes >> 10);
}

static void check_objects(const struct hv_check *c, struct hv_refusals *out)
{
	static const char *const sealed[] = {"sev-guest", "sev-snp-guest", "tdx-guest"};
	char v[64];

	for (unsigned i = 1; c->argv && c->argv[i] && c->argv[i + 1]; i++) {
		if (!hv_arg_is(c->argv[i], "object") ||
		    !hv_opt_get(c->argv[++i], "qom-type", "qom-type", v, sizeof(v)))
			continue;
		for (size_t k = 0; k < sizeof(sealed) / sizeof(*sealed); k++)
			if (!strcmp(v, sealed[k]))
				refuse(out,
				       "object %s encrypts guest RAM, which cannot be copied: "
				       "start the VM without it",
				       v);
	}
}

/* What could be read of them is on the command line already (hv/qemu/readconfig.c). */
static void check_config(const struct hv_check *c, struct hv_refusals *out)
{
	for (unsigned i = 1; c->argv && c->argv[i] && c->argv[i + 1]; i++)
		if (hv_arg_is(c->argv[i], "readconfig"))
			refuse(out,
			       "the configuration file %.150s (-readconfig) cannot be read any "
			       "more: put it back, as it was when the VM was started",
			       c->argv[i + 1]);
}

/*
 * libvirt gives a domain's leases back at each STOP, and takes them again with its own resume only
 * (qemuProcessHandleStop, virDomainLockProcessResume): from the first epoch on nothing would keep
 * another host from the disks.
 */
static void check_leases(const struct hv_check *c, struct hv_refusals *out)
{
	if (c->lock_manager && *c->lock_manager)
		refuse(out,
		       "libvirt's lock_manager is \"%s\", and lets go of the disks' leases when a VM is "
		       "stopped for an epoch; take it out of " HV_LIBVIRT_CONF
		       ", restart libvirtd and "
		       "the VM",
		       c->lock_manager);
}

void hv_check_facts(const struct hv_check *c, struct hv_refusals *out)
{
	check_kernel(c, out);
	check_qemu(c, out);
	check_status(c, out);
	check_migration(c, out);
	check_jobs(c, out);
	check_disks(c, out);
	check_encrypted(c, out);
	check_shared_disks(c, out);
	check_devices(c, out);
	check_balloon(c, out);
	check_net(c, out);
	check_ports(c, out);
	check_ram(c, out);
	check_objects(c, out);
	check_config(c, out);
	check_leases(c, out);
}
