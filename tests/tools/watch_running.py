#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""watch_running.py QMP FILE: asks a VM all the time whether it runs; writes to FILE how often it was asked, and how often it did
not run, until it is ended."""
import json
import socket
import sys

s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
lines = s.makefile()
lines.readline()
asked = stood = 0
out = open(sys.argv[2], "w", encoding="ascii")
s.sendall(b'{"execute":"qmp_capabilities"}')
while True:
    answer = json.loads(lines.readline())
    if "return" not in answer:
        continue
    if "running" in answer["return"]:
        asked += 1
        stood += not answer["return"]["running"]
        out.seek(0)
        out.write(f"{asked:9} {stood:9} {answer['return']['status']:20}\n")
        out.flush()
    s.sendall(b'{"execute":"query-status"}')
