/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a peer's command line may name: object types, network, character and block back ends, with
 * the keys of each, and the drivers of -global. Whoever has a certificate of the cluster may send
 * a command line, and this host runs it: so what is not known to be harmless is refused, by name.
 * Options are in rules.c, devices in hv/qemu/drivers.c. A key is harmless when it opens no file,
 * socket or program of this host that the peer chooses.
 *
 * To add one: a line here, and one in tests/unit/test_hv_standby_allow.c, which has a case for
 * each line of this table.
 */
#include "hv/standby/allow.h"

#include <stddef.h>
#include <string.h>

/* What every memory back end has. */
#define MEMORY                                                                                            \
	"qom-type id size share prealloc prealloc-threads prealloc-context merge dump host-nodes policy " \
	"reserve x-use-canonical-path-for-ramblock-id"
#define NIC "model mac macaddr addr name vectors netdev"
#define CHARDEV "backend id mux logfile logappend"
#define THROTTLE                                                                           \
	"x-bps-total x-bps-read x-bps-write x-iops-total x-iops-read x-iops-write "        \
	"x-bps-total-max x-bps-read-max x-bps-write-max x-iops-total-max x-iops-read-max " \
	"x-iops-write-max x-bps-total-max-length x-bps-read-max-length "                   \
	"x-bps-write-max-length x-iops-total-max-length x-iops-read-max-length "           \
	"x-iops-write-max-length x-iops-size"
/* Nodes nest, and each driver's keys are harmless with the others. */
#define NODE                                                                            \
	"driver node-name file backing read-only auto-read-only discard detect-zeroes " \
	"force-share cache"

static const struct hv_allow table[] = {
	{HV_ALLOW_OBJECT, "memory-backend-ram", MEMORY, NULL},
	{HV_ALLOW_OBJECT, "memory-backend-memfd", MEMORY " hugetlb hugetlbsize seal", NULL},
	{HV_ALLOW_OBJECT, "iothread",
	 "qom-type id poll-max-ns poll-grow poll-shrink poll-weight aio-max-batch thread-pool-min "
	 "thread-pool-max",
	 NULL},
	{HV_ALLOW_OBJECT, "main-loop", "qom-type id aio-max-batch thread-pool-min thread-pool-max",
	 NULL},
	{HV_ALLOW_OBJECT, "thread-context", "qom-type id cpu-affinity node-affinity", NULL},
	{HV_ALLOW_OBJECT, "throttle-group", "qom-type id limits " THROTTLE, NULL},
	{HV_ALLOW_OBJECT, "rng-builtin", "qom-type id", NULL},
	{HV_ALLOW_OBJECT, "rng-random", "qom-type id filename",
	 NULL}, /* which file: rewrite_device.c */
	{HV_ALLOW_OBJECT, "cryptodev-backend", "qom-type id queues throttle-bps throttle-ops",
	 NULL},
	{HV_ALLOW_OBJECT, "cryptodev-backend-builtin",
	 "qom-type id queues throttle-bps throttle-ops", NULL},
	{HV_ALLOW_OBJECT, "filter-buffer",
	 "qom-type id netdev queue status position insert interval", NULL},
	{HV_ALLOW_OBJECT, "filter-replay", "qom-type id netdev queue status position insert", NULL},
	{HV_ALLOW_OBJECT, "can-bus", "qom-type id", NULL},
	{HV_ALLOW_OBJECT, "acpi-generic-initiator", "qom-type id pci-dev node", NULL},
	{HV_ALLOW_OBJECT, "acpi-generic-port", "qom-type id pci-bus node", NULL},
	/* They serve only what stays behind: encrypted images, displays and monitors. Their keys
	 * and folders must not come to this host. */
	{HV_ALLOW_OBJECT, "secret", NULL, NULL},
	{HV_ALLOW_OBJECT, "secret_keyring", NULL, NULL},
	{HV_ALLOW_OBJECT, "tls-creds-anon", NULL, NULL},
	{HV_ALLOW_OBJECT, "tls-creds-psk", NULL, NULL},
	{HV_ALLOW_OBJECT, "tls-creds-x509", NULL, NULL},
	{HV_ALLOW_OBJECT, "authz-list", NULL, NULL},
	{HV_ALLOW_OBJECT, "authz-list-file", NULL, NULL},
	{HV_ALLOW_OBJECT, "authz-simple", NULL, NULL},
	{HV_ALLOW_OBJECT, "memory-backend-file", "", "use memory-backend-ram or -memfd for it"},
	{HV_ALLOW_OBJECT, "memory-backend-shm", "", "use memory-backend-ram or -memfd for it"},
	{HV_ALLOW_OBJECT, "memory-backend-epc", "", "an enclave's memory cannot be copied"},
	{HV_ALLOW_OBJECT, "sev-guest", "", "encrypted memory cannot be copied"},
	{HV_ALLOW_OBJECT, "sev-snp-guest", "", "encrypted memory cannot be copied"},
	{HV_ALLOW_OBJECT, "tdx-guest", "", "encrypted memory cannot be copied"},
	{HV_ALLOW_OBJECT, "filter-dump", "", "capture at the bridge instead"},
	{HV_ALLOW_OBJECT, "filter-mirror", "", "it is tied to something outside the VM"},
	{HV_ALLOW_OBJECT, "filter-redirector", "", "it is tied to something outside the VM"},
	{HV_ALLOW_OBJECT, "filter-rewriter", "", "it is tied to something outside the VM"},
	{HV_ALLOW_OBJECT, "colo-compare", "", "it is tied to something outside the VM"},
	{HV_ALLOW_OBJECT, "rng-egd", "", "use rng-builtin"},
	{HV_ALLOW_OBJECT, "can-host-socketcan", "", "a CAN bus of the host cannot be held"},
	{HV_ALLOW_OBJECT, "cryptodev-vhost-user", "", "use cryptodev-backend-builtin"},
	{HV_ALLOW_OBJECT, "input-linux", "", "an input device of the host cannot be copied"},
	{HV_ALLOW_OBJECT, "input-barrier", "", "use the VM's display"},
	{HV_ALLOW_OBJECT, "pr-manager-helper", "", "reservations cannot be replicated"},
	{HV_ALLOW_OBJECT, "dbus-vmstate", "", "it is tied to something outside the VM"},
	{HV_ALLOW_OBJECT, "iommufd", "", "a passed-through device writes to RAM unseen"},
	{HV_ALLOW_OBJECT, "x-remote-object", "", "it is tied to something outside the VM"},
	{HV_ALLOW_OBJECT, "x-vfio-user-server", "", "it is tied to something outside the VM"},

	/* user: not tftp and smb (folders), guestfwd (programs), hostfwd (opens ports here) */
	{HV_ALLOW_NETDEV, "user",
	 "type id net host restrict dhcpstart dns hostname domainname dnssearch ipv4 ipv6 "
	 "ipv6-net ipv6-prefix ipv6-prefixlen ipv6-host ipv6-dns tftp-server-name bootfile " NIC,
	 NULL},
	/* The name, scripts, helpers and descriptors are replaced (rewrite_net.c). */
	{HV_ALLOW_NETDEV, "tap",
	 "type id ifname script downscript fd fds br helper vhost vhostfd vhostfds vhostforce "
	 "poll-us sndbuf queues vnet_hdr " NIC,
	 NULL},
	{HV_ALLOW_NETDEV, "bridge", "type id br helper " NIC, NULL},
	{HV_ALLOW_NETDEV, "hubport", "type id hubid netdev", NULL},
	{HV_ALLOW_NETDEV, "nic", "type id " NIC, NULL},
	{HV_ALLOW_NETDEV, "none", "type", NULL},
	{HV_ALLOW_NETDEV, "socket", "", "use tap, bridge or user"},
	{HV_ALLOW_NETDEV, "stream", "", "use tap, bridge or user"},
	{HV_ALLOW_NETDEV, "dgram", "", "use tap, bridge or user"},
	{HV_ALLOW_NETDEV, "l2tpv3", "", "use tap, bridge or user"},
	{HV_ALLOW_NETDEV, "vde", "", "use tap, bridge or user"},
	{HV_ALLOW_NETDEV, "vhost-user", "", "use tap, bridge or user"},
	{HV_ALLOW_NETDEV, "vhost-vdpa", "", "use tap, bridge or user"},

	{HV_ALLOW_CHARDEV, "null", CHARDEV, NULL},
	{HV_ALLOW_CHARDEV, "vc", CHARDEV " width height cols rows", NULL},
	{HV_ALLOW_CHARDEV, "ringbuf", CHARDEV " size", NULL},
	{HV_ALLOW_CHARDEV, "memory", CHARDEV " size", NULL},
	{HV_ALLOW_CHARDEV, "msmouse", CHARDEV, NULL},
	{HV_ALLOW_CHARDEV, "wctablet", CHARDEV, NULL},
	{HV_ALLOW_CHARDEV, "testdev", CHARDEV, NULL},
	{HV_ALLOW_CHARDEV, "qemu-vdagent", CHARDEV " clipboard mouse", NULL},
	{HV_ALLOW_CHARDEV, "hub", CHARDEV " chardevs", NULL},

	{HV_ALLOW_BLOCK, "file", NODE " filename aio locking", NULL},
	{HV_ALLOW_BLOCK, "raw", NODE " size offset", NULL},
	{HV_ALLOW_BLOCK, "qcow2",
	 NODE " lazy-refcounts pass-discard-request pass-discard-snapshot pass-discard-other "
	      "cache-size l2-cache-size l2-cache-entry-size refcount-cache-size "
	      "cache-clean-interval",
	 NULL},
	{HV_ALLOW_BLOCK, "throttle", NODE " throttle-group", NULL},
	{HV_ALLOW_BLOCK, "copy-on-read", NODE " bottom", NULL},
	{HV_ALLOW_BLOCK, "null-co", NODE " size latency-ns read-zeroes", NULL},
	{HV_ALLOW_BLOCK, "null-aio", NODE " size latency-ns read-zeroes", NULL},

	{HV_ALLOW_GLOBAL, "PIIX4_PM", "", NULL},
	{HV_ALLOW_GLOBAL, "ICH9-LPC", "", NULL},
	{HV_ALLOW_GLOBAL, "ICH9-SMB", "", NULL},
	{HV_ALLOW_GLOBAL, "PIIX3", "", NULL},
	{HV_ALLOW_GLOBAL, "i440FX-pcihost", "", NULL},
	{HV_ALLOW_GLOBAL, "q35-pcihost", "", NULL},
	{HV_ALLOW_GLOBAL, "mch", "", NULL},
	{HV_ALLOW_GLOBAL, "kvm-pit", "", NULL},
	{HV_ALLOW_GLOBAL, "isa-pit", "", NULL},
	{HV_ALLOW_GLOBAL, "hpet", "", NULL},
	{HV_ALLOW_GLOBAL, "kvmvapic", "", NULL},
	{HV_ALLOW_GLOBAL, "kvmclock", "", NULL},
	{HV_ALLOW_GLOBAL, "apic", "", NULL},
	{HV_ALLOW_GLOBAL, "kvm-apic", "", NULL},
	{HV_ALLOW_GLOBAL, "apic-common", "", NULL},
	{HV_ALLOW_GLOBAL, "ioapic", "", NULL},
	{HV_ALLOW_GLOBAL, "kvm-ioapic", "", NULL},
	{HV_ALLOW_GLOBAL, "vmport", "", NULL},
	{HV_ALLOW_GLOBAL, "fw_cfg", "", NULL},
	{HV_ALLOW_GLOBAL, "fw_cfg_io", "", NULL},
	{HV_ALLOW_GLOBAL, "cfi.pflash01", "", NULL},
	{HV_ALLOW_GLOBAL, "virtio-device", "", NULL},
	{HV_ALLOW_GLOBAL, "virtio-pci", "", NULL},
	{HV_ALLOW_GLOBAL, "pci-device", "", NULL},
	{HV_ALLOW_GLOBAL, "cpu", "", NULL},
	{HV_ALLOW_GLOBAL, "x86_64-cpu", "", NULL},
};

const char hv_device_denied[] = "pcap sdrfile frudatafile cdat db file filename path rootdir evdev "
				"hidraw kernel initrd sysfsdev host hostdevice fd vhostfd "
				"jsonfile host_ip";

const struct hv_allow *hv_allow(enum hv_allow_kind kind, const char *name)
{
	for (unsigned i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (table[i].kind == kind && !strcmp(table[i].name, name))
			return &table[i];
	return NULL;
}

const struct hv_allow *hv_allow_table(unsigned *n)
{
	*n = sizeof(table) / sizeof(*table);
	return table;
}

bool hv_allow_word(const char *list, const char *key)
{
	size_t bytes = strcspn(key, ".");

	for (const char *p = list; bytes && *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");

		if (n == bytes && !memcmp(p, key, n))
			return true;
		p += n;
	}
	return false;
}
