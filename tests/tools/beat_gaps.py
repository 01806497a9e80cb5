#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""beat_gaps.py SECONDS [DEVICE]: how long were the gaps between the heartbeats that arrived here?

Looks at the datagrams of replicator/link/beat.c that come in at DEVICE (repl0), by the kernel's time
stamps. Prints one line: how many, the median gap, the longest one, in milliseconds.
"""
import ctypes
import socket
import statistics
import struct
import sys
import time

end = time.monotonic() + float(sys.argv[1])
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
# Only UDP: ldb [9]; jeq #17, accept; drop. The stream would fill the socket.
code = struct.pack("=HBBIHBBIHBBIHBBI", 0x30, 0, 0, 9, 0x15, 0, 1, 17, 6, 0, 0, 0xFFFFFFFF, 6, 0, 0, 0)
buf = ctypes.create_string_buffer(code)
s.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", 4, ctypes.addressof(buf)))  # SO_ATTACH_FILTER
s.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
s.bind((sys.argv[2] if len(sys.argv) > 2 else "repl0", 0x0800))
s.settimeout(0.5)
at = []
while time.monotonic() < end:
    try:
        p, aux, _, where = s.recvmsg(128, 64)
    except socket.timeout:
        continue
    payload = p[(p[0] & 15) * 4 + 8:]
    if where[2] == socket.PACKET_OUTGOING or payload[:4] != b"tvHB" or payload[5] != 0:
        continue
    sec, nsec = struct.unpack("ll", aux[0][2])
    at.append(sec * 1000 + nsec / 1e6)
gaps = [b - a for a, b in zip(at, at[1:])]
if not gaps:
    sys.exit("no heartbeats")
print(f"heartbeats {len(at)} median {statistics.median(gaps):.1f} longest {max(gaps):.1f}")
