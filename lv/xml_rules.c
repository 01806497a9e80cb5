/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a peer's XML may have. An element or attribute that is in no line is refused by its name: so
 * is what a newer libvirt brings. To add one: a line here, if it makes libvirt or QEMU open no file,
 * socket, device or program that the peer chooses, and a case in tests/unit/test_lv_xml.c.
 *
 * LV_DROP is for what says nothing to the guest, and is another one's on this host: pinning, labels,
 * what libvirt adds for information.
 */
#include "lv/xml_int.h"

#include <string.h>

#define VIRTIO "iommu ats packed page_per_vq"
#define STATE "state"

static const struct lv_xml_rule table[] = {
	/* ---- the domain ---- */
	{"", LV_KEEP, "type=kvm|qemu -id", 0, NULL, NULL},
	{"name", LV_KEEP, "", LV_TEXT_REPLACED, lv_xml_name_of, NULL},
	{"uuid", LV_KEEP, "", LV_TEXT_REPLACED, lv_xml_uuid_of, NULL},
	{"genid", LV_KEEP, "", LV_TEXT_WORD, NULL, NULL},
	{"title", LV_DROP, NULL, 0, NULL, NULL},
	{"description", LV_DROP, NULL, 0, NULL, NULL},
	{"metadata", LV_DROP, NULL, 0, NULL, NULL},
	{"seclabel", LV_DROP, NULL, 0, NULL, NULL},
	{"resource", LV_DROP, NULL, 0, NULL, NULL},
	{"perf", LV_DROP, NULL, 0, NULL, NULL},
	{"blkiotune", LV_DROP, NULL, 0, NULL, NULL},
	{"memtune", LV_DROP, NULL, 0, NULL, NULL},
	{"numatune", LV_DROP, NULL, 0, NULL, NULL},
	{"cputune", LV_KEEP, "", 0, NULL, NULL},
	{"cputune/vcpupin", LV_DROP, NULL, 0, NULL, NULL},
	{"cputune/emulatorpin", LV_DROP, NULL, 0, NULL, NULL},
	{"cputune/iothreadpin", LV_DROP, NULL, 0, NULL, NULL},
	{"cputune/vcpusched", LV_DROP, NULL, 0, NULL, NULL},
	{"cputune/iothreadsched", LV_DROP, NULL, 0, NULL, NULL},
	{"cputune/emulatorsched", LV_DROP, NULL, 0, NULL, NULL},
	{"cputune/cachetune", LV_DROP, NULL, 0, NULL, NULL},
	{"cputune/memorytune", LV_DROP, NULL, 0, NULL, NULL},
	{"cputune/*", LV_KEEP, "", LV_TEXT_WORD, NULL, NULL},
	{"memory", LV_KEEP, "unit dumpCore", LV_TEXT_WORD, NULL, NULL},
	{"currentMemory", LV_KEEP, "unit", LV_TEXT_WORD, NULL, NULL},
	{"maxMemory", LV_REFUSE, NULL, 0, NULL, "define it without slots for memory"},
	{"memoryBacking", LV_KEEP, "", 0, lv_xml_memory, NULL},
	{"memoryBacking/source", LV_KEEP, "type=memfd|anonymous", 0, NULL, NULL},
	{"memoryBacking/access", LV_KEEP, "mode=shared|private", 0, NULL, NULL},
	{"memoryBacking/nosharepages", LV_KEEP, "", 0, NULL, NULL},
	{"memoryBacking/allocation", LV_DROP, NULL, 0, NULL, NULL},
	{"memoryBacking/locked", LV_DROP, NULL, 0, NULL, NULL},
	{"memoryBacking/discard", LV_DROP, NULL, 0, NULL, NULL},
	{"memoryBacking/hugepages", LV_REFUSE, NULL, 0, NULL, "define it without huge pages"},
	{"vcpu", LV_KEEP, "placement -cpuset current", LV_TEXT_WORD, NULL, NULL},
	{"vcpus", LV_KEEP, "", 0, NULL, NULL},
	{"vcpus/vcpu", LV_KEEP, "id enabled hotpluggable order", 0, NULL, NULL},
	{"iothreads", LV_KEEP, "", LV_TEXT_WORD, NULL, NULL},
	{"iothreadids", LV_KEEP, "", 0, NULL, NULL},
	{"iothreadids/iothread", LV_KEEP, "id thread_pool_min thread_pool_max", 0, NULL, NULL},
	{"iothreadids/iothread/poll", LV_KEEP, "max grow shrink", 0, NULL, NULL},
	{"sysinfo", LV_KEEP, "type=smbios", 0, NULL, NULL},
	{"sysinfo/*", LV_KEEP, "", 0, NULL, NULL},
	{"sysinfo/*/entry", LV_KEEP, "name", LV_TEXT_FREE, NULL, NULL},
	{"on_poweroff", LV_KEEP, "", LV_TEXT_WORD, lv_xml_crash, NULL},
	{"on_reboot", LV_KEEP, "", LV_TEXT_WORD, lv_xml_crash, NULL},
	{"on_crash", LV_KEEP, "", LV_TEXT_WORD, lv_xml_crash, NULL},
	{"on_lockfailure", LV_DROP, NULL, 0, NULL, NULL},
	{"pm", LV_KEEP, "", 0, NULL, NULL},
	{"pm/*", LV_KEEP, "enabled", 0, NULL, NULL},
	{"clock", LV_KEEP, "offset adjustment basis start timezone:", 0, NULL, NULL},
	{"clock/timer", LV_KEEP, "name present tickpolicy track frequency mode", 0, NULL, NULL},
	{"clock/timer/catchup", LV_KEEP, "threshold slew limit", 0, NULL, NULL},
	{"launchSecurity", LV_REFUSE, NULL, 0, NULL, "encrypted memory cannot be copied"},

	/* ---- firmware and kernel ---- */
	{"os", LV_KEEP, "-firmware", 0, NULL, NULL},
	{"os/type", LV_KEEP, "arch machine", LV_TEXT_WORD, NULL, NULL},
	{"os/firmware", LV_DROP, NULL, 0, NULL, NULL},
	{"os/loader", LV_KEEP, "readonly type=pflash|rom secure stateless format=raw",
	 LV_TEXT_REPLACED, lv_xml_loader, NULL},
	{"os/nvram", LV_KEEP, "-template -templateFormat -type format=raw", LV_TEXT_REPLACED,
	 lv_xml_nvram, NULL},
	{"os/nvram/source", LV_DROP, NULL, 0, NULL, NULL},
	{"os/kernel", LV_KEEP, "", LV_TEXT_REPLACED, lv_xml_kernel, NULL},
	{"os/initrd", LV_KEEP, "", LV_TEXT_REPLACED, lv_xml_kernel, NULL},
	{"os/dtb", LV_KEEP, "", LV_TEXT_REPLACED, lv_xml_kernel, NULL},
	{"os/cmdline", LV_KEEP, "", LV_TEXT_FREE, NULL, NULL},
	{"os/boot", LV_KEEP, "dev", 0, NULL, NULL},
	{"os/bootmenu", LV_KEEP, "enable timeout", 0, NULL, NULL},
	{"os/smbios", LV_KEEP, "mode=sysinfo|emulate", 0, NULL, NULL},
	{"os/bios", LV_KEEP, "useserial rebootTimeout", 0, NULL, NULL},
	{"os/acpi", LV_REFUSE, NULL, 0, NULL, "define it without tables of its own"},

	/* ---- the machine ---- */
	{"features", LV_KEEP, "", 0, NULL, NULL},
	{"features/acpi", LV_KEEP, "", 0, NULL, NULL},
	{"features/apic", LV_KEEP, "eoi", 0, NULL, NULL},
	{"features/pae", LV_KEEP, "", 0, NULL, NULL},
	{"features/hap", LV_KEEP, STATE, 0, NULL, NULL},
	{"features/pvspinlock", LV_KEEP, STATE, 0, NULL, NULL},
	{"features/pmu", LV_KEEP, STATE, 0, NULL, NULL},
	{"features/vmport", LV_KEEP, STATE, 0, NULL, NULL},
	{"features/vmcoreinfo", LV_KEEP, STATE, 0, NULL, NULL},
	{"features/gic", LV_KEEP, "version", 0, NULL, NULL},
	{"features/ioapic", LV_KEEP, "driver", 0, NULL, NULL},
	{"features/smm", LV_KEEP, STATE, 0, NULL, NULL},
	{"features/smm/tseg", LV_KEEP, "unit", LV_TEXT_WORD, NULL, NULL},
	{"features/ibs", LV_KEEP, "value", 0, NULL, NULL},
	{"features/msrs", LV_KEEP, "unknown", 0, NULL, NULL},
	{"features/tcg", LV_KEEP, "", 0, NULL, NULL},
	{"features/tcg/tb-cache", LV_KEEP, "unit", LV_TEXT_WORD, NULL, NULL},
	{"features/kvm", LV_KEEP, "", 0, NULL, NULL},
	{"features/kvm/*", LV_KEEP, "state size", 0, NULL, NULL},
	{"features/hyperv", LV_KEEP, "mode", 0, NULL, NULL},
	{"features/hyperv/*", LV_KEEP, "state retries value:", 0, NULL, NULL},
	{"features/hyperv/*/direct", LV_KEEP, STATE, 0, NULL, NULL},
	{"cpu", LV_KEEP, "mode match check migratable", 0, NULL, NULL},
	{"cpu/model", LV_KEEP, "fallback vendor_id:", LV_TEXT_WORD, NULL, NULL},
	{"cpu/vendor", LV_KEEP, "", LV_TEXT_WORD, NULL, NULL},
	{"cpu/topology", LV_KEEP, "sockets dies clusters cores threads", 0, NULL, NULL},
	{"cpu/feature", LV_KEEP, "policy name", 0, NULL, NULL},
	{"cpu/cache", LV_KEEP, "level mode", 0, NULL, NULL},
	{"cpu/maxphysaddr", LV_KEEP, "mode bits limit", 0, NULL, NULL},
	{"cpu/numa", LV_REFUSE, NULL, 0, NULL, "define it without NUMA cells"},

	/* ---- devices ---- */
	{"devices", LV_KEEP, "", 0, NULL, NULL},
	{"devices/emulator", LV_KEEP, "", LV_TEXT_REPLACED, lv_xml_emulator, NULL},
	{"devices/*/alias", LV_KEEP, "name", 0, NULL, NULL},
	{"devices/*/address", LV_KEEP,
	 "type domain bus slot function multifunction controller target unit port iobase irq base "
	 "reg",
	 0, NULL, NULL},
	{"devices/*/acpi", LV_KEEP, "index", 0, NULL, NULL},
	{"devices/*/boot", LV_KEEP, "order loadparm", 0, NULL, NULL},
	{"devices/*/rom", LV_KEEP, "bar enabled", 0, NULL, NULL},

	{"devices/disk", LV_KEEP, "-type device=disk|cdrom|floppy model -snapshot", 0, lv_xml_disk,
	 NULL},
	{"devices/disk/source", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/disk/backingStore", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/disk/mirror", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/disk/auth", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/disk/encryption", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/disk/readonly", LV_KEEP, "", 0, NULL, NULL},
	{"devices/disk/shareable", LV_REFUSE, NULL, 0, NULL, "a shared disk cannot be mirrored"},
	{"devices/disk/transient", LV_REFUSE, NULL, 0, NULL, "define it without"},
	{"devices/disk/driver", LV_KEEP,
	 "name=qemu -type cache error_policy rerror_policy io ioeventfd event_idx -copy_on_read "
	 "discard "
	 "discard_no_unref iothread detect_zeroes queues queue_size " VIRTIO,
	 0, NULL, NULL},
	{"devices/disk/driver/metadata_cache", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/disk/target", LV_KEEP, "dev bus -tray removable rotation_rate", 0, NULL, NULL},
	{"devices/disk/iotune", LV_KEEP, "", 0, NULL, NULL},
	{"devices/disk/iotune/*", LV_KEEP, "", LV_TEXT_WORD, NULL, NULL},
	{"devices/disk/serial", LV_KEEP, "", LV_TEXT_FREE, NULL, NULL},
	{"devices/disk/wwn", LV_KEEP, "", LV_TEXT_WORD, NULL, NULL},
	{"devices/disk/vendor", LV_KEEP, "", LV_TEXT_FREE, NULL, NULL},
	{"devices/disk/product", LV_KEEP, "", LV_TEXT_FREE, NULL, NULL},
	{"devices/disk/geometry", LV_KEEP, "cyls heads secs trans", 0, NULL, NULL},
	{"devices/disk/blockio", LV_KEEP,
	 "logical_block_size physical_block_size discard_granularity", 0, NULL, NULL},

	{"devices/controller", LV_KEEP,
	 "type=pci|usb|scsi|sata|ide|fdc|virtio-serial|ccid|isa index model ports vectors", 0, NULL,
	 NULL},
	{"devices/controller/driver", LV_KEEP,
	 "queues cmd_per_lun max_sectors ioeventfd iothread " VIRTIO, 0, NULL, NULL},
	{"devices/controller/model", LV_KEEP, "name", 0, NULL, NULL},
	{"devices/controller/master", LV_KEEP, "startport", 0, NULL, NULL},
	{"devices/controller/target", LV_KEEP,
	 "chassisNr chassis port busNr index hotplug memReserve", 0, NULL, NULL},
	{"devices/controller/pcihole64", LV_KEEP, "unit", LV_TEXT_WORD, NULL, NULL},

	{"devices/interface", LV_KEEP, "type=bridge|network|user -trustGuestRxFilters -managed", 0,
	 lv_xml_interface, NULL},
	{"devices/interface/source", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/interface/target", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/interface/backend", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/interface/virtualport", LV_REFUSE, NULL, 0, NULL, "use a bridge of Linux"},
	{"devices/interface/vlan", LV_REFUSE, NULL, 0, NULL, "set the VLAN on the bridge's port"},
	{"devices/interface/mac", LV_KEEP, "address type check", 0, NULL, NULL},
	{"devices/interface/model", LV_KEEP, "type", 0, NULL, NULL},
	{"devices/interface/driver", LV_KEEP,
	 "name=qemu|vhost txmode ioeventfd event_idx queues rx_queue_size tx_queue_size rss "
	 "rss_hash_report " VIRTIO,
	 0, NULL, NULL},
	{"devices/interface/driver/host", LV_KEEP, "csum gso tso4 tso6 ecn ufo mrg_rxbuf", 0, NULL,
	 NULL},
	{"devices/interface/driver/guest", LV_KEEP, "csum tso4 tso6 ecn ufo", 0, NULL, NULL},
	{"devices/interface/tune", LV_KEEP, "", 0, NULL, NULL},
	{"devices/interface/tune/sndbuf", LV_KEEP, "", LV_TEXT_WORD, NULL, NULL},
	{"devices/interface/mtu", LV_KEEP, "size", 0, NULL, NULL},
	{"devices/interface/link", LV_KEEP, STATE, 0, NULL, NULL},
	{"devices/interface/port", LV_KEEP, "isolated", 0, NULL, NULL},
	{"devices/interface/coalesce", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/interface/bandwidth", LV_KEEP, "", 0, NULL, NULL},
	{"devices/interface/bandwidth/*", LV_KEEP, "average peak burst floor", 0, NULL, NULL},
	{"devices/interface/filterref", LV_KEEP, "filter", 0, NULL, NULL},
	{"devices/interface/filterref/parameter", LV_KEEP, "name value", 0, NULL, NULL},

	{"devices/input", LV_KEEP, "type=mouse|tablet|keyboard bus model", 0, NULL, NULL},
	{"devices/input/driver", LV_KEEP, VIRTIO, 0, NULL, NULL},
	{"devices/hub", LV_KEEP, "type", 0, NULL, NULL},
	{"devices/graphics", LV_KEEP,
	 "type keymap -port -tlsPort -autoport -listen -socket -websocket -passwd -passwdValidTo "
	 "-connected -sharePolicy -defaultMode -display -xauth -fullscreen -powerControl",
	 0, lv_xml_graphics, NULL},
	{"devices/graphics/*", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/video", LV_KEEP, "", 0, NULL, NULL},
	{"devices/video/driver", LV_KEEP, "name=qemu vgaconf " VIRTIO, 0, NULL, NULL},
	{"devices/video/model", LV_KEEP, "type ram vram vram64 vgamem heads primary=yes|no edid", 0,
	 NULL, NULL},
	{"devices/video/model/acceleration", LV_KEEP, "accel3d=no accel2d=no", 0, NULL, NULL},
	{"devices/video/model/resolution", LV_KEEP, "x y", 0, NULL, NULL},
	{"devices/audio", LV_KEEP, "id type -timerPeriod -serverName -driver -runtimeDir", 0,
	 lv_xml_audio, NULL},
	{"devices/audio/*", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/sound", LV_KEEP, "model multichannel", 0, NULL, NULL},
	{"devices/sound/codec", LV_KEEP, "type", 0, NULL, NULL},
	{"devices/sound/audio", LV_KEEP, "id", 0, NULL, NULL},

	{"devices/serial", LV_KEEP, "-type -tty", 0, lv_xml_serial, NULL},
	{"devices/parallel", LV_KEEP, "-type -tty", 0, lv_xml_serial, NULL},
	{"devices/console", LV_KEEP, "-type -tty", 0, lv_xml_serial, NULL},
	{"devices/channel", LV_KEEP, "type", 0, lv_xml_channel, NULL},
	{"devices/*/source", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/*/log", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/*/protocol", LV_DROP, NULL, 0, NULL, NULL},
	{"devices/serial/target", LV_KEEP, "type port", 0, NULL, NULL},
	{"devices/serial/target/model", LV_KEEP, "name", 0, NULL, NULL},
	{"devices/parallel/target", LV_KEEP, "type port", 0, NULL, NULL},
	{"devices/console/target", LV_KEEP, "type port", 0, NULL, NULL},
	{"devices/channel/target", LV_KEEP, "type=virtio name -state", 0, NULL, NULL},
	{"devices/redirdev", LV_KEEP, "type=spicevmc bus=usb", 0, NULL, NULL},
	{"devices/redirfilter", LV_DROP, NULL, 0, NULL, NULL},

	{"devices/memballoon", LV_KEEP, "model autodeflate freePageReporting", 0, NULL, NULL},
	{"devices/memballoon/stats", LV_KEEP, "period", 0, NULL, NULL},
	{"devices/memballoon/driver", LV_KEEP, VIRTIO, 0, NULL, NULL},
	{"devices/rng", LV_KEEP, "model", 0, NULL, NULL},
	{"devices/rng/rate", LV_KEEP, "bytes period", 0, NULL, NULL},
	{"devices/rng/driver", LV_KEEP, VIRTIO, 0, NULL, NULL},
	{"devices/rng/backend", LV_KEEP, "model=random|builtin", LV_TEXT_REPLACED, lv_xml_rng,
	 NULL},
	{"devices/watchdog", LV_KEEP, "model action=reset|shutdown|poweroff|pause|none|inject-nmi",
	 0, NULL, NULL},
	{"devices/panic", LV_KEEP, "model", 0, NULL, NULL},
	{"devices/iommu", LV_KEEP, "model", 0, NULL, NULL},
	{"devices/iommu/driver", LV_KEEP, "intremap caching_mode eim iotlb aw_bits", 0, NULL, NULL},
	{"devices/tpm", LV_REFUSE, NULL, 0, NULL, "nothing: only a plain standby can have a TPM"},
	{"devices/hostdev", LV_REFUSE, NULL, 0, NULL, "detach the host's device"},
	{"devices/filesystem", LV_REFUSE, NULL, 0, NULL, "detach the host's folder"},
	{"devices/shmem", LV_REFUSE, NULL, 0, NULL, "memory of several VMs cannot be copied"},
	{"devices/memory", LV_REFUSE, NULL, 0, NULL, "define it without memory modules"},

	/* ---- what libvirt passes on to QEMU as it is ---- */
	{"qemu:commandline", LV_KEEP, "", 0, lv_xml_qemu_arg, NULL},
	{"qemu:commandline/qemu:arg", LV_DROP, NULL, 0, NULL, NULL},
	{"qemu:commandline/qemu:env", LV_REFUSE, NULL, 0, NULL, NULL},
};

static bool matches(const char *rule, const char *path)
{
	for (;;) {
		size_t r = strcspn(rule, "/"), p = strcspn(path, "/");

		if (!(r == 1 && *rule == '*' && p) && (r != p || memcmp(rule, path, r) != 0))
			return false;
		rule += r;
		path += p;
		if (!*rule || !*path)
			return *rule == *path;
		rule++;
		path++;
	}
}

const struct lv_xml_rule *lv_xml_rule(const char *path)
{
	const struct lv_xml_rule *wild = NULL;

	for (unsigned i = 0; i < sizeof(table) / sizeof(*table); i++) {
		if (!strcmp(table[i].path, path))
			return &table[i];
		if (!wild && matches(table[i].path, path))
			wild = &table[i];
	}
	return wild;
}

const struct lv_xml_rule *lv_xml_rules(unsigned *n)
{
	*n = sizeof(table) / sizeof(*table);
	return table;
}
