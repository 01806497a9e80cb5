/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of device drivers. A driver is fine when what the guest sends through it is held until
 * its epoch is committed (NICs by the netbuffer, disks by their mirrors), or when nothing leaves
 * the VM. Where a back end carries the guest's output to a process or a screen at once, the driver
 * is listed: a client may see output that a failover takes back. What writes to the guest's RAM
 * unseen, has state outside QEMU, or opens something of the host by itself is refused.
 *
 * tests/local/33-devices.sh walks QEMU's own list (-device help): a driver that is in no list fails
 * it. docs/DEVICES.md is printed from this table (tools/hv_devices).
 */
#include "hv/qemu/drivers.h"

#include <fnmatch.h>
#include <stddef.h>

#define FINE(p)                               \
	{                                     \
		p, HV_DRIVER_FINE, NULL, NULL \
	}
#define LISTED(p, what)                         \
	{                                       \
		p, HV_DRIVER_LISTED, what, NULL \
	}
#define REFUSED(p, what, remedy)                   \
	{                                          \
		p, HV_DRIVER_REFUSED, what, remedy \
	}

#define SERIAL                                                                                \
	"what the guest writes reaches its chardev at once; on the standby the chardev is a " \
	"socket or a file in run_dir/VMID/vm, or null"

/* The first line that matches counts. */
static const struct hv_driver drivers[] = {
	/* RAM that is written, or storage that is driven, past QEMU */
	REFUSED("vfio-*", "a passed-through device writes to RAM unseen", "use an emulated device"),
	REFUSED("vhost-vdpa*", "vDPA hardware writes to RAM unseen", "use a virtio device"),
	REFUSED("vhost-user-fs*", "virtiofsd writes to RAM unseen",
		"unplug it and use NFS or a disk"),
	REFUSED("vhost-user*", "another process writes to RAM unseen", "use QEMU's own device"),
	REFUSED("vhost-scsi*", "the kernel writes to storage unheld", "use virtio-scsi"),
	REFUSED("scsi-block", "a passed-through disk is written past QEMU", "use scsi-hd"),
	REFUSED("scsi-generic", "a passed-through SCSI device is driven past QEMU", "use scsi-hd"),
	REFUSED("ivshmem*", "its memory is written by others unseen", "unplug it"),
	REFUSED("x-vfio-user*", "another process writes to RAM unseen", "use an emulated device"),
	REFUSED("vfio-user*", "another process writes to RAM unseen", "use an emulated device"),
	REFUSED("x-pci-proxy*", "another process writes to RAM unseen", "use an emulated device"),
	REFUSED("pvrdma", "RDMA hardware writes to RAM unseen", "use an emulated NIC"),
	REFUSED("xen-*", "Xen's devices are another hypervisor's", "use virtio devices"),
	REFUSED("cxl-type3", "its memory and its files are not replicated", "use plain memory"),
	REFUSED("cxl-switch-mailbox-cci", "CXL's management is not replicated", "use plain memory"),
	/* Output that nobody holds, or state outside QEMU */
	REFUSED("vhost-vsock*", "what the guest sends to this host's processes cannot be held",
		"unplug it and use TCP"),
	REFUSED("virtio-9p*", "a shared host folder cannot be held back",
		"unplug it and use NFS or a disk"),
	REFUSED("virtio-nsm*", "an enclave's attestation is not replicated", "unplug it"),
	REFUSED("virtio-gpu-gl*", "it draws with the host's GPU, whose state is not replicated",
		"use virtio-gpu-pci"),
	REFUSED("virtio-vga-gl", "it draws with the host's GPU, whose state is not replicated",
		"use virtio-vga"),
	REFUSED("virtio-*-rutabaga*", "it draws with the host's GPU, whose state is not replicated",
		"use virtio-vga"),
	REFUSED("ipmi-bmc-extern", "another process acts as the BMC", "use ipmi-bmc-sim"),
	REFUSED("rocker", "a switch's ports cannot be held", "use an ordinary NIC"),
	REFUSED("hv-syndbg", "it sends the debugger's packets past the NICs", "unplug it"),
	REFUSED("vmbus-bridge", "VMBus cannot be migrated", "use virtio devices"),
	REFUSED("hv-balloon", "the pages that it hands back are not seen", "use virtio-balloon"),
	/* Something of the host */
	REFUSED("uefi-vars-*", "its variables are a file of the host", "use a flash image"),
	REFUSED("usb-host", "a physical USB device cannot be copied", "unplug it"),
	REFUSED("usb-mtp", "a shared host folder cannot be held back",
		"unplug it and use NFS or a disk"),
	REFUSED("u2f-*", "its key is a device or files of the host", "unplug it"),
	REFUSED("canokey", "its key is a file of the host", "unplug it"),
	REFUSED("ccid-card-emulated", "its certificates are files of the host", "unplug it"),
	REFUSED("virtio-input-host*", "an input device of the host cannot be copied",
		"use virtio-keyboard, virtio-mouse or usb-tablet"),
	REFUSED("loader", "it loads a file of the host into the guest's memory",
		"use -kernel or a disk"),
	REFUSED("guest-loader", "it loads files of the host into the guest's memory",
		"use -kernel or a disk"),
	REFUSED("amd-sev*", "encrypted RAM cannot be copied", "start the VM without"),

	LISTED("isa-serial", SERIAL),
	LISTED("pci-serial*", SERIAL),
	LISTED("isa-parallel", SERIAL),
	LISTED("isa-debugcon", SERIAL),
	LISTED("tpci200", SERIAL),
	LISTED("ipoctal232", SERIAL),
	LISTED("usb-serial", SERIAL),
	LISTED("usb-braille", SERIAL),
	LISTED("virtserialport", SERIAL "; a guest agent's answers are of this kind"),
	LISTED("virtconsole", SERIAL),
	LISTED("usb-redir", "a USB device at a SPICE client is lost in a failover, and what the "
			    "guest sends to it is not held"),
	LISTED("ccid-card-passthru", "a smart card at a SPICE client is lost in a failover, and "
				     "what the guest sends to it is not held"),

	/* NICs: held by the netbuffer */
	FINE("virtio-net*"),
	FINE("e1000*"),
	FINE("igb"),
	FINE("rtl8139"),
	FINE("ne2k_*"),
	FINE("pcnet"),
	FINE("tulip"),
	FINE("vmxnet3"),
	FINE("i8255[0179]*"),
	FINE("i82558[ab]"),
	FINE("i82562"),
	FINE("i82801"),
	FINE("usb-net"),
	/* disks: mirrored */
	FINE("virtio-blk*"),
	FINE("virtio-scsi*"),
	FINE("ide-*"),
	FINE("isa-ide"),
	FINE("piix[34]-ide"),
	FINE("ich9-ahci"),
	FINE("ahci"),
	FINE("scsi-cd"),
	FINE("scsi-hd"),
	FINE("am53c974"),
	FINE("dc390"),
	FINE("lsi*"),
	FINE("megasas*"),
	FINE("mptsas1068"),
	FINE("pvscsi"),
	FINE("nvme*"),
	FINE("floppy"),
	FINE("isa-fdc"),
	FINE("sd-card*"),
	FINE("emmc"),
	FINE("sdhci-pci"),
	FINE("ufs*"),
	FINE("usb-storage"),
	FINE("usb-bot"),
	FINE("usb-uas"),
	/* buses and bridges */
	FINE("pci-bridge*"),
	FINE("pcie-*"),
	FINE("ioh3420"),
	FINE("i82801b11-bridge"),
	FINE("x3130-upstream"),
	FINE("xio3130-downstream"),
	FINE("pxb*"),
	FINE("cxl-rp"),
	FINE("cxl-upstream"),
	FINE("cxl-downstream"),
	FINE("virtio-serial*"),
	FINE("usb-hub"),
	FINE("usb-ccid"),
	FINE("usb-ehci"),
	FINE("pci-ohci"),
	FINE("*-usb-[eu]hci*"),
	FINE("nec-usb-xhci"),
	FINE("qemu-xhci"),
	FINE("intel-iommu"),
	FINE("amd-iommu"),
	FINE("AMDVI-PCI"),
	FINE("virtio-iommu*"),
	/* display, input, sound: the operator's; off on the standby */
	FINE("VGA"),
	FINE("vmware-svga"),
	FINE("*-vga"),
	FINE("isa-cirrus-vga"),
	FINE("bochs-display"),
	FINE("ramfb"),
	FINE("qxl"),
	FINE("virtio-gpu*"),
	FINE("i2c-ddc"),
	FINE("virtio-keyboard*"),
	FINE("virtio-mouse*"),
	FINE("virtio-tablet*"),
	FINE("virtio-multitouch*"),
	FINE("usb-kbd"),
	FINE("usb-mouse"),
	FINE("usb-tablet"),
	FINE("usb-wacom-tablet"),
	FINE("i8042"),
	FINE("vmmouse"),
	FINE("AC97"),
	FINE("ac97"),
	FINE("es1370"),
	FINE("ES1370"),
	FINE("adlib"),
	FINE("cs4231a"),
	FINE("gus"),
	FINE("sb16"),
	FINE("hda-*"),
	FINE("*intel-hda"),
	FINE("usb-audio"),
	FINE("virtio-sound*"),
	/* memory, clocks, platform */
	FINE("pc-dimm"),
	FINE("nvdimm"),
	FINE("virtio-mem*"),
	FINE("virtio-pmem*"),
	FINE("virtio-balloon*"),
	FINE("virtio-rng*"),
	FINE("virtio-crypto*"),
	FINE("acpi-erst"),
	FINE("i6300esb"),
	FINE("ib700"),
	FINE("pvpanic*"),
	FINE("vmcoreinfo"),
	FINE("vmgenid"),
	FINE("tpm-crb"),
	FINE("tpm-tis*"),
	FINE("vmclock"),
	FINE("mc146818rtc"),
	FINE("isa-applesmc"),
	FINE("isa-debug-exit"),
	FINE("sga"),
	FINE("ipmi-bmc-sim"),
	FINE("isa-ipmi-*"),
	FINE("pci-ipmi-*"),
	FINE("smbus-ipmi"),
	FINE("ctucan_pci"),
	FINE("kvaser_pci"),
	FINE("pcm3680_pci"),
	FINE("mioe3680_pci"),
	FINE("edu"),
	FINE("i2c-echo"),
	FINE("hyperv-testdev"),
	FINE("pc-testdev"),
	FINE("pci-testdev"),
	FINE("*-x86_64-cpu"),
	FINE("*-i386-cpu"),
};

const struct hv_driver *hv_driver(const char *name)
{
	static const struct hv_driver unknown = {"", HV_DRIVER_UNKNOWN, NULL, NULL};

	for (unsigned i = 0; i < sizeof(drivers) / sizeof(*drivers); i++)
		if (!fnmatch(drivers[i].pattern, name, 0))
			return &drivers[i];
	return &unknown;
}

const struct hv_driver *hv_drivers(unsigned *n)
{
	*n = sizeof(drivers) / sizeof(*drivers);
	return drivers;
}
