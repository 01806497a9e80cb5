#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""stop_in_pause.py PID PAGE [QMP]: SIGSTOP for a replicator while its VM stands still, as its page (page.h) shows. Prints
in ms how long QEMU did not answer from then on. Without QMP: SIGSTOP between two pauses. Exit status 1: that was not met;
2: the VM does not run then."""
import json
import mmap
import os
import signal
import socket
import struct
import sys
import time

pid, page = int(sys.argv[1]), sys.argv[2]
PAUSES = 24  # offset of the field


def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(sys.argv[3])
    lines = s.makefile()
    lines.readline()
    s.sendall(b'{"execute":"qmp_capabilities"}')
    lines.readline()
    return s, lines


def is_stopped():
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "T"


with open(page, "rb") as f:
    m = mmap.mmap(f.fileno(), 4096, prot=mmap.PROT_READ)


def pauses():
    return struct.unpack_from("I", m, PAUSES)[0]


want = int(len(sys.argv) > 3)
if want:
    s, lines = connect()
for _ in range(20000):
    while pauses() % 2 != want:
        pass
    os.kill(pid, signal.SIGSTOP)
    while not is_stopped():
        pass
    if pauses() % 2 == want:
        break
    os.kill(pid, signal.SIGCONT)
else:
    sys.exit(1)
if not want:
    sys.exit(0)
start = time.monotonic()
s.sendall(b'{"execute":"query-status"}')
while True:
    answer = json.loads(lines.readline())
    if "return" in answer:
        break
print(int((time.monotonic() - start) * 1000))
sys.exit(0 if answer["return"]["running"] else 2)
