#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""cut_monitor.py PID SOCKET: ends the connections to a QEMU's monitor from QEMU's side; QEMU lives on."""
import ctypes
import os
import socket
import sys

PIDFD_GETFD = 438
libc = ctypes.CDLL(None, use_errno=True)
pid, path = int(sys.argv[1]), sys.argv[2]
pidfd = os.pidfd_open(pid)
cut = 0
for fd in map(int, os.listdir(f"/proc/{pid}/fd")):
    copy = libc.syscall(PIDFD_GETFD, pidfd, fd, 0)
    if copy < 0:
        continue
    try:
        s = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        continue
    with s:
        if s.family != socket.AF_UNIX or s.getsockname() != path:
            continue
        if not s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            s.shutdown(socket.SHUT_RDWR)
            cut += 1
if not cut:
    sys.exit(f"no connection to {path} in process {pid}")
