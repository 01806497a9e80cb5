#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""bad_clients.py SOCKET KIND FILE: connections to a shared monitor by somebody who does all that can be done wrong there, at
once and until it is killed; a line of FILE for each that was ended by the other side. "all there" when all have begun. KIND: wrong, each of
them in another way; or many."""
import json
import select
import socket
import sys

HUGE = 3 << 20
CONNECTIONS = 100
NEGOTIATE = b'{"execute":"qmp_capabilities"}'


def connect():
    while True:
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(sys.argv[1])
            s.setblocking(False)
            return s
        except BlockingIOError:  # more of them wait than there is room for
            s.close()


class Bad:
    """what: its name; data: sent over and over or once; reads: what comes is read."""

    def __init__(self, what, data, again=False, reads=True):
        self.what, self.data, self.again, self.reads, self.left = what, data, again, reads, data
        self.s = connect()

    def fileno(self):
        return self.s.fileno()

    def write(self):
        if not self.left and self.again:
            self.left = self.data
        self.left = self.left[self.s.send(self.left):]

    def read(self):
        return self.s.recv(1 << 16)


log = open(sys.argv[3], "w", buffering=1)
bad = [Bad("one of many", b"") for _ in range(CONNECTIONS)] if sys.argv[2] == "many" else [
    Bad("huge line", b'{"execute":"' + b"x" * HUGE),
    Bad("no object", b"no json at all " * (HUGE // 15)),
    Bad("half a line", NEGOTIATE + b'{"execute":"query-st'),
    Bad("reads nothing", NEGOTIATE + b'{"execute":"query-commands"}' * 50, again=True, reads=False),
    Bad("all at once", NEGOTIATE + b'{"execute":"query-status"}' * 50, again=True),
    Bad("not JSON", b'{"execute":}{}{"id":[]}}]', again=True, reads=False),
    Bad("deep", b"[" * 200000 + b"]" * 200000, again=True),
    Bad("no such command", NEGOTIATE + json.dumps({"execute": "x" * 5000, "id": {"a": ["b"] * 99}}).encode()),
    Bad("overtakes", b'{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}{"exec-oob":"migrate-pause"}'),
]
log.write("all there\n")
while bad:
    select.select([], [], [], 0.005)
    readable, writable, _ = select.select([b for b in bad if b.reads], [b for b in bad if b.left or b.again], [], 1)
    for b in list(bad):
        try:
            if b in writable:
                b.write()
            ended = b in readable and not b.read()
        except BlockingIOError:
            ended = False
        except OSError:
            ended = True
        if ended:
            log.write(f"ended: {b.what}\n")
            b.s.close()
            bad.remove(b)
select.select([], [], [])
