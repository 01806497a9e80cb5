#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt_cost.py VM [SECONDS]: what libvirtd of this host does per epoch of a protected domain, in 10 seconds.

Prints the epochs, libvirtd's CPU time and written bytes for each, and how often libvirt called the domain paused. What
libvirtd does for others meanwhile is counted as well. `twinvm` and `virsh` must be in PATH.
"""
import json
import os
import subprocess
import sys
import time


def committed(vm):
    return json.loads(subprocess.check_output(["twinvm", "status", vm, "--json"]))["epoch_committed"]


def libvirtd():
    """its CPU time in ms and the bytes that it wrote"""
    pid = next(p for p in os.listdir("/proc") if p.isdigit() and comm(p) in ("libvirtd", "virtqemud"))
    times = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    written = next(line for line in open(f"/proc/{pid}/io") if line.startswith("wchar"))
    return sum(map(int, times[11:13])) * 1000 / os.sysconf("SC_CLK_TCK"), int(written.split()[1])


def comm(pid):
    try:
        return open(f"/proc/{pid}/comm").read().strip()
    except OSError:
        return ""


def main():
    vm, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 10
    epochs, (cpu, written) = committed(vm), libvirtd()
    time.sleep(seconds)
    epochs, (cpu_now, written_now) = committed(vm) - epochs, libvirtd()
    states = [subprocess.check_output(["virsh", "-q", "domstate", vm], text=True).strip() for _ in range(50)]
    print(f"{epochs} epochs in {seconds:g} s; libvirtd per epoch: {(cpu_now - cpu) / epochs:.2f} ms CPU, "
          f"{(written_now - written) / epochs:.0f} bytes written; {states.count('paused')} of {len(states)} times 'paused'")


main()
