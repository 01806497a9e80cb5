/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains' XML as libvirt 9.0 prints it of running ones (migratable), and what this host makes of
 * them. For the tests of lv/xml.h. */
#ifndef TESTS_LV_XML_KIT_H
#define TESTS_LV_XML_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lv/xml.h"

#define HEAD(type) \
	"<domain type='" type "' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
#define NAME "<name>vm1</name>\n<uuid>08400e35-b57a-56b2-840b-9634320a6802</uuid>\n"

/* As virt-manager makes them: q35, virtio, SPICE or VNC, an agent, a CD; a second disk was plugged in
 * while it ran. */
static const char managers[] = HEAD("kvm") NAME
	"<metadata><libosinfo:libosinfo "
	"xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'>"
	"<libosinfo:os id='http://debian.org/debian/12'/></libosinfo:libosinfo></metadata>\n"
	"<memory unit='KiB'>2097152</memory><currentMemory unit='KiB'>2097152</currentMemory>\n"
	"<vcpu placement='static'>2</vcpu>\n"
	"<resource><partition>/machine</partition></resource>\n"
	"<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>"
	"<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>"
	"<nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>/var/lib/libvirt/qemu/nvram/"
	"vm1_VARS.fd</nvram><boot dev='hd'/></os>\n"
	"<features><acpi/><apic/><vmport state='off'/></features>\n"
	"<cpu mode='custom' match='exact' check='full'><model fallback='forbid'>Skylake-Client-IBRS"
	"</model><vendor>Intel</vendor><feature policy='require' name='ss'/>"
	"<feature policy='disable' name='hle'/></cpu>\n"
	"<clock offset='utc'><timer name='rtc' tickpolicy='catchup'/><timer name='pit' "
	"tickpolicy='delay'/><timer name='hpet' present='no'/></clock>\n"
	"<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy"
	"</on_crash>\n"
	"<pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>\n"
	"<devices><emulator>/opt/qemu/bin/qemu-system-x86_64</emulator>\n"
	"<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/>"
	"<source file='/var/lib/libvirt/images/vm1.qcow2' index='2'><privateData><nodenames>"
	"<nodename type='storage' name='libvirt-2-storage'/></nodenames></privateData></source>"
	"<backingStore type='file' index='4'><format type='raw'/><source "
	"file='/var/lib/libvirt/images/base.raw'/><backingStore/></backingStore>"
	"<target dev='vda' bus='virtio'/><alias name='virtio-disk0'/><address type='pci' "
	"domain='0x0000' bus='0x04' slot='0x00' function='0x0'/></disk>\n"
	"<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>"
	"<source file='/isos/debian.iso' index='1'/><backingStore/><target dev='sda' bus='sata' "
	"tray='closed'/><readonly/><alias name='sata0-0-0'/><address type='drive' controller='0' "
	"bus='0' target='0' unit='0'/></disk>\n"
	"<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none' io='native'/>"
	"<source dev='/dev/vg0/data' index='3'/><backingStore/><target dev='vdb' bus='virtio'/>"
	"<iotune><total_iops_sec>5000</total_iops_sec></iotune><serial>DATA 7</serial>"
	"<alias name='virtio-disk1'/><address type='pci' domain='0x0000' bus='0x07' slot='0x00' "
	"function='0x0'/></disk>\n"
	"<controller type='usb' index='0' model='qemu-xhci' ports='15'><alias name='usb'/><address "
	"type='pci' domain='0x0000' bus='0x02' slot='0x00' function='0x0'/></controller>\n"
	"<controller type='pci' index='0' model='pcie-root'><alias name='pcie.0'/></controller>\n"
	"<controller type='pci' index='1' model='pcie-root-port'><model name='pcie-root-port'/>"
	"<target chassis='1' port='0x10'/><alias name='pci.1'/><address type='pci' domain='0x0000' "
	"bus='0x00' slot='0x02' function='0x0' multifunction='on'/></controller>\n"
	"<controller type='virtio-serial' index='0'><alias name='virtio-serial0'/></controller>\n"
	"<interface type='network'><mac address='52:54:00:77:00:02'/><source network='default' "
	"portid='6ad0f1a5-4b2a-4f0a-8a9c-0c2d55a8a1a5' bridge='virbr0'/><target dev='vnet4'/>"
	"<model type='virtio'/><alias name='net0'/><address type='pci' domain='0x0000' bus='0x01' "
	"slot='0x00' function='0x0'/></interface>\n"
	"<serial type='pty'><source path='/dev/pts/3'/><target type='isa-serial' port='0'>"
	"<model name='isa-serial'/></target><alias name='serial0'/></serial>\n"
	"<console type='pty' tty='/dev/pts/3'><source path='/dev/pts/3'/><target type='serial' "
	"port='0'/><alias name='serial0'/></console>\n"
	"<channel type='unix'><source mode='bind' path='/var/lib/libvirt/qemu/channel/target/"
	"domain-3-vm1/org.qemu.guest_agent.0'/><target type='virtio' name='org.qemu.guest_agent.0' "
	"state='connected'/><alias name='channel0'/></channel>\n"
	"<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0' "
	"state='disconnected'/><alias name='channel1'/></channel>\n"
	"<input type='tablet' bus='usb'><alias name='input0'/><address type='usb' bus='0' port='1'/>"
	"</input><input type='mouse' bus='ps2'/><input type='keyboard' bus='ps2'/>\n"
	"<graphics type='spice' port='5900' autoport='yes' listen='0.0.0.0' passwd='secret'>"
	"<listen type='address' address='0.0.0.0'/><image compression='off'/></graphics>\n"
	"<graphics type='vnc' port='5901' autoport='yes' listen='10.0.0.7'/>\n"
	"<sound model='ich9'><alias name='sound0'/></sound><audio id='1' type='spice'/>\n"
	"<video><model type='qxl' ram='65536' vram='65536' vgamem='16384' heads='1' primary='yes'/>"
	"</video>\n"
	"<redirdev bus='usb' type='spicevmc'><alias name='redir0'/></redirdev>\n"
	"<watchdog model='itco' action='reset'/><memballoon model='virtio'/>\n"
	"<rng model='virtio'><backend model='random'>/dev/hwrng</backend></rng></devices>\n"
	"<seclabel type='dynamic' model='dac' relabel='yes'><label>+0:+0</label></seclabel>\n"
	"<qemu:commandline><qemu:arg value='-qmp'/><qemu:arg "
	"value='unix:/var/lib/libvirt/qemu/domain-vm1/monitor.sock,server=on,wait=off'/>"
	"</qemu:commandline>\n"
	"</domain>\n";

/* As nova makes them: i440fx, SMBIOS, a console with a log, a bridge for each NIC. */
static const char novas[] = HEAD(
	"qemu") "<name>instance-0000002a</name>\n<uuid>7f3a1c7e-9d3a-4b21-8d54-2f1d8f9b6a10</uuid>\n"
		"<metadata><nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>"
		"<nova:name>web</nova:name></nova:instance></metadata>\n"
		"<memory unit='KiB'>524288</memory><currentMemory unit='KiB'>524288</currentMemory>\n"
		"<vcpu placement='static' cpuset='0-3'>1</vcpu>\n"
		"<cputune><shares>1024</shares><vcpupin vcpu='0' cpuset='0-3'/></cputune>\n"
		"<resource><partition>/machine</partition></resource>\n"
		"<sysinfo type='smbios'><system><entry name='manufacturer'>OpenStack Foundation</entry>"
		"<entry name='product'>OpenStack Nova</entry><entry name='version'>26.2.0</entry>"
		"<entry name='family'>Virtual Machine</entry></system></sysinfo>\n"
		"<os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type><boot dev='hd'/><smbios "
		"mode='sysinfo'/></os>\n"
		"<features><acpi/><apic/><vmcoreinfo state='on'/></features>\n"
		"<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model>"
		"<topology sockets='1' dies='1' cores='1' threads='1'/></cpu>\n"
		"<clock offset='utc'/><on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot>"
		"<on_crash>coredump-destroy</on_crash>\n"
		"<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>\n"
		"<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source "
		"file='/var/lib/nova/instances/7f3a/disk'/><target dev='vda' bus='virtio'/><alias "
		"name='virtio-disk0'/></disk>\n"
		"<disk type='file' device='cdrom'><target dev='hda' bus='ide'/><readonly/></disk>\n"
		"<controller type='usb' index='0' model='piix3-uhci'/><controller type='pci' index='0' "
		"model='pci-root'/><controller type='ide' index='0'/>\n"
		"<interface type='bridge'><mac address='fa:16:3e:11:22:33'/><source bridge='qbr1a2b'/>"
		"<target dev='tap1a2b'/><model type='virtio'/><mtu size='1450'/></interface>\n"
		"<interface type='bridge'><mac address='fa:16:3e:44:55:66'/><source bridge='qbr3c4d'/>"
		"<target dev='tap3c4d'/><model type='virtio'/></interface>\n"
		"<serial type='pty'><source path='/dev/pts/1'/><log "
		"file='/var/lib/nova/instances/7f3a/console.log' append='off'/><target type='isa-serial' "
		"port='0'><model name='isa-serial'/></target></serial>\n"
		"<console type='tcp'><source mode='bind' host='0.0.0.0' service='10000'/><protocol "
		"type='raw'/><target type='serial' port='0'/></console>\n"
		"<memballoon model='virtio'><stats period='10'/></memballoon>\n"
		"<rng model='virtio'><rate bytes='1024' period='1000'/><backend model='builtin'/></rng>\n"
		"</devices></domain>\n";

static const struct lv_xml_disk disks_of_managers[] = {
	{"libvirt-2-format", "/var/lib/libvirt/images/vm1.qcow2", "/replicas/ID-0.raw"},
	{"libvirt-3-format", "/dev/vg0/data", "/replicas/ID-1.raw"},
	{"libvirt-pflash1-format", "/var/lib/libvirt/qemu/nvram/vm1_VARS.fd", "/replicas/ID-2.raw"},
};
static const struct lv_xml_disk disks_of_novas[] = {
	{"libvirt-1-format", "/var/lib/nova/instances/7f3a/disk", "/replicas/ID-0.raw"},
};
static const struct lv_xml_file media[] = {
	{"/isos/debian.iso", "/replicas/ID-file-5e"},
	{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd"},
};
static const char *const bridges[] = {"br0", "br1"};

static inline struct lv_xml_ask ask_for(const char *xml, bool nova)
{
	return (struct lv_xml_ask){
		.xml = xml,
		.bytes = strlen(xml),
		.emulator = "/usr/bin/qemu-system-x86_64",
		.disks = nova ? disks_of_novas : disks_of_managers,
		.n_disks = nova ? 1 : 3,
		.files = media,
		.n_files = 2,
		.bridges = bridges,
		.n_bridges = nova ? 2 : 1,
		.owner = "+64055:+64055",
		.qmp_path = "/var/lib/libvirt/qemu/domain-vm1/monitor.sock",
		.vm_id = "0123456789abcdef0123456789abcdef",
	};
}

/* The text with one part of it replaced; the caller frees it. */
static inline char *changed(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *out = NULL;

	if (!at)
		fail_msg("no %s in the XML", from);
	assert_true(asprintf(&out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
	return out;
}

#endif
