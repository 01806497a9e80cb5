#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""hmp.py SOCKET COMMAND...: runs commands on a human monitor and prints what it says."""
import socket
import sys


def read_prompt(s):
    text = b""
    while not text.endswith(b"(qemu) "):
        more = s.recv(65536)
        if not more:
            break
        text += more
    return text.decode(errors="replace")


s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
read_prompt(s)
for command in sys.argv[2:]:
    s.sendall(command.encode() + b"\n")
    out = read_prompt(s)
    print("\n".join(l for l in out.replace("\r", "").split("\n")[1:] if l != "(qemu) "))
