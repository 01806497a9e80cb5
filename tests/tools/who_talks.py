#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""who_talks.py MAC PREFIX: at which port PREFIX* do frames of this sender come in?

Run where the switch is. Prints a line whenever the port is another one than before: kernel time
stamp of the frame, port. Two instances of a VM that both send show as lines that alternate.
"""
import socket
import struct
import sys

mac = bytes.fromhex(sys.argv[1].replace(":", ""))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
print("ready", flush=True)
last = None
while True:
    frame, aux, _, where = s.recvmsg(64, 64)
    port, _, kind = where[:3]
    if kind == socket.PACKET_OUTGOING or not port.startswith(sys.argv[2]) or frame[6:12] != mac:
        continue
    if port != last:
        sec, nsec = struct.unpack("ll", aux[0][2]) if aux else (0, 0)
        print(f"{sec}.{nsec:09d} {port}", flush=True)
        last = port
