#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt_xml.py NAME [KEY=VALUE]...: prints a domain like the ones that virt-manager makes, with the test guest in it.

  kernel, initrd, cmdline   what it boots
  disk=FILE[:FORMAT]        its vda (qcow2); without: no disk
  mac, bridge               its NIC (52:54:00:77:00:02 on br0); mac=none: no NIC
  qmp=PATH                  a second monitor, in <qemu:commandline>
  arg=WORD                  one more word there; any number of them
  log=FILE                  what its serial port says, too
  type=kvm                  (qemu)
  memory=MIB, vcpus=N       (512, 1); max_vcpus=N: the others can be plugged in
  device=XML                one more device, any number of them
  drop=WHAT                 leaves out agent, balloon, rng, tablet, vnc or serial; any number of them
"""
import html
import sys
import uuid

MANY = ("arg", "device", "drop")


def options(words):
    found = {"disk": "", "mac": "52:54:00:77:00:02", "bridge": "br0", "type": "qemu", "memory": "512", "vcpus": "1",
             **{key: [] for key in MANY}}
    for key, value in (word.split("=", 1) for word in words):
        if key in MANY:
            found[key].append(value)
        else:
            found[key] = value
    return found


def disk(o):
    if not o["disk"]:
        return ""
    name, _, form = o["disk"].partition(":")
    return f"""
    <disk type='file' device='disk'>
      <driver name='qemu' type='{form or "qcow2"}' discard='unmap'/>
      <source file='{name}'/>
      <target dev='vda' bus='virtio'/>
    </disk>"""


def nic(o):
    if o["mac"] == "none":
        return ""
    return f"""
    <interface type='bridge'>
      <mac address='{o["mac"]}'/>
      <source bridge='{o["bridge"]}'/>
      <model type='virtio'/>
      <rom enabled='no'/>
    </interface>"""


def serial(o):
    log = f"<log file='{o['log']}' append='on'/>" if o.get("log") else ""
    return f"""
    <serial type='pty'>{log}<target type='isa-serial' port='0'/></serial>
    <console type='pty'>{log}<target type='serial' port='0'/></console>"""


# Free ports for what is plugged in later, as virt-manager makes them.
PORTS = "".join(f"\n    <controller type='pci' index='{i}' model='pcie-root-port'/>" for i in range(1, 15))
PARTS = {
    "agent": """
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>""",
    "tablet": "\n    <input type='tablet' bus='usb'/>",
    "vnc": """
    <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>
    <video><model type='virtio'/></video>""",
    "balloon": "\n    <memballoon model='virtio'/>",
    "rng": """
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>""",
}


def command_line(o):
    words = ["-qmp", f"unix:{o['qmp']},server=on,wait=off"] if o.get("qmp") else []
    args = "".join(f"\n    <qemu:arg value='{html.escape(w)}'/>" for w in words + o["arg"])
    return f"\n  <qemu:commandline>{args}\n  </qemu:commandline>" if args else ""


def domain(name, o):
    parts = {**PARTS, "serial": serial(o)}
    if "balloon" in o["drop"]:
        parts["balloon"] = "\n    <memballoon model='none'/>"
    devices = "".join(xml for part, xml in parts.items() if part not in o["drop"] or part == "balloon")
    most = o.get("max_vcpus", o["vcpus"])
    return f"""<domain type='{o["type"]}' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{name}</name>
  <uuid>{uuid.uuid5(uuid.NAMESPACE_DNS, name)}</uuid>
  <memory unit='MiB'>{o["memory"]}</memory>
  <vcpu current='{o["vcpus"]}'>{most}</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{o["kernel"]}</kernel>
    <initrd>{o["initrd"]}</initrd>
    <cmdline>{html.escape(o["cmdline"])}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <clock offset='utc'>
    <timer name='rtc' tickpolicy='catchup'/>
    <timer name='pit' tickpolicy='delay'/>
    <timer name='hpet' present='no'/>
  </clock>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='qemu-xhci' ports='15'/>
    <controller type='pci' model='pcie-root'/>{PORTS}{disk(o)}{nic(o)}{devices}{"".join(o["device"])}
  </devices>{command_line(o)}
</domain>"""


print(domain(sys.argv[1], options(sys.argv[2:])))
