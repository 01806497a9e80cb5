#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""manager_suspends.py SOCKET N SEED: suspends a VM N times as a manager does that keeps the run state by QEMU's events (libvirt's
qemuDomainSuspend): a VM that it takes for paused gets no command, and the suspend counts as done. Prints how many were lost."""
import json
import random
import select
import socket
import sys
import time

GAP_S = 0.2  # a suspend that holds is one after this time


class Manager:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(path)
        self.f = self.s.makefile("rw")
        json.loads(self.f.readline())
        self.paused = False
        self.ask("qmp_capabilities")

    def line(self):
        m = json.loads(self.f.readline())
        if m.get("event") in ("STOP", "RESUME"):
            self.paused = m["event"] == "STOP"
        return m

    def ask(self, command):
        self.f.write(json.dumps({"execute": command}) + "\n")
        self.f.flush()
        while True:
            m = self.line()
            if "return" in m:
                return m["return"]
            if "error" in m:
                raise SystemExit(m["error"]["desc"])

    def listen(self, seconds):
        end = time.monotonic() + seconds
        while select.select([self.s], [], [], max(0, end - time.monotonic()))[0]:
            self.line()


m = Manager(sys.argv[1])
rng = random.Random(int(sys.argv[3]))
lost = 0
for _ in range(int(sys.argv[2])):
    m.listen(rng.random() * 0.1)
    if not m.paused:
        m.ask("stop")
    m.listen(GAP_S)
    if m.ask("query-status")["running"]:
        lost += 1
    else:
        m.ask("cont")
    m.listen(GAP_S)
print(f"lost {lost} of {sys.argv[2]}")
