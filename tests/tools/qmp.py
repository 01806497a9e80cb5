#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qmp.py SOCKET COMMAND [JSON]: one QMP command; prints what it returns, or QEMU's words and exit status 1."""
import json
import socket
import sys

s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect(sys.argv[1])
lines = s.makefile()


def run(command, arguments=None):
    s.sendall(json.dumps({"execute": command, "arguments": arguments or {}}).encode())
    while True:
        answer = json.loads(lines.readline())
        if "return" in answer or "error" in answer:
            return answer


lines.readline()  # the greeting
run("qmp_capabilities")
result = run(sys.argv[2], json.loads(sys.argv[3]) if len(sys.argv) > 3 else None)
if "error" in result:
    sys.exit(result["error"]["desc"])
print(json.dumps(result["return"]))
