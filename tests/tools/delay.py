#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""delay.py MS PORT PORT: passes each frame that comes in at one interface out at the other, that much later."""
import collections
import select
import socket
import sys
import time

SOL_PACKET, PACKET_VNET_HDR, PACKET_OUTGOING, ALL = 263, 15, 4, 3
late = int(sys.argv[1]) / 1000
ports = []
for name in sys.argv[2:]:
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
    s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)  # frames that are to be cut or summed later stay so
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    s.bind((name, ALL))
    s.setblocking(False)
    ports.append(s)
waiting = [collections.deque(), collections.deque()]
print("passes", flush=True)
while True:
    due = min((q[0][0] for q in waiting if q), default=None)
    select.select(ports, [], [], None if due is None else max(0, due - time.monotonic()))
    for i, port in enumerate(ports):
        for _ in range(64):
            try:
                frame, address = port.recvfrom(1 << 17)
            except BlockingIOError:
                break
            if address[2] != PACKET_OUTGOING:
                waiting[1 - i].append((time.monotonic() + late, frame))
    for q, port in zip(waiting, ports):
        while q and q[0][0] <= time.monotonic():
            try:
                port.send(q[0][1])
            except BlockingIOError:
                break
            except OSError:
                pass  # an interface that is down: the frame is lost
            q.popleft()
