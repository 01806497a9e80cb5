#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qmp_mirror.py QMP NODE NBD_SOCKET start|stop: a plain write-blocking mirror job of a disk to an NBD server,
as an operator would set it up: what bench/disk.sh compares with. start returns when the job is ready."""
import json
import socket
import sys

path, node, nbd, what = sys.argv[1:5]
s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(path)
f = s.makefile("r")
json.loads(f.readline())


def wait_event(*names):
    while True:
        m = json.loads(f.readline())
        if m.get("event") in names:
            return m


def cmd(name, **args):
    s.sendall((json.dumps({"execute": name, "arguments": args}) + "\n").encode())
    while True:
        m = json.loads(f.readline())
        if "error" in m:
            sys.exit(f"{name}: {m['error']['desc']}")
        if "return" in m:
            return m["return"]
        pending.append(m)


pending = []
cmd("qmp_capabilities")
if what == "start":
    cmd("blockdev-add", **{"driver": "nbd", "node-name": "bench-target", "server": {"type": "unix", "path": nbd}})
    cmd("blockdev-mirror", **{"job-id": "bench", "device": node, "target": "bench-target", "sync": "full",
                              "copy-mode": "write-blocking"})
    if not any(m.get("event") == "BLOCK_JOB_READY" for m in pending):
        wait_event("BLOCK_JOB_READY")
else:
    cmd("block-job-cancel", device="bench", force=True)
    if not any(m.get("event") == "BLOCK_JOB_CANCELLED" for m in pending):
        wait_event("BLOCK_JOB_CANCELLED", "BLOCK_JOB_COMPLETED")
    cmd("blockdev-del", **{"node-name": "bench-target"})
