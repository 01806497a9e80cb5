#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""fdrun.py WHAT... -- PROGRAM ARGS...: runs a program with descriptors that it finds open, as libvirt does it.

WHAT is FD:tap:NAME, FD:macvtap:NAME, FD:listen:PATH or FD:file:PATH. A tap that is named more than once has a queue
each time.
"""
import fcntl
import os
import socket
import stat
import struct
import sys

TUNSETIFF = 0x400454CA
TAP, NO_PI, VNET_HDR, MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100


def tap(name, queues):
    f = os.open("/dev/net/tun", os.O_RDWR)
    flags = TAP | NO_PI | VNET_HDR | (MULTI_QUEUE if queues > 1 else 0)
    fcntl.ioctl(f, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    return f


def macvtap(name):
    index = socket.if_nametoindex(name)
    with open(f"/sys/class/net/{name}/macvtap/tap{index}/dev") as f:
        major, minor = map(int, f.read().split(":"))
    node = f"/dev/fdrun-{os.getpid()}"  # the kernel makes nodes in its own /dev only
    os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(major, minor))
    f = os.open(node, os.O_RDWR)
    os.unlink(node)
    return f


def listen(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(1)
    return s.detach()


at = sys.argv.index("--")
what = [w.split(":", 2) for w in sys.argv[1:at]]
for number, kind, name in what:
    if kind == "tap":
        f = tap(name, sum(1 for w in what if w[1:] == [kind, name]))
    elif kind == "macvtap":
        f = macvtap(name)
    elif kind == "listen":
        f = listen(name)
    else:
        f = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(f, int(number), inheritable=True)
    os.close(f)
os.execvp(sys.argv[at + 1], sys.argv[at + 1 :])
