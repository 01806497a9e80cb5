#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Talks to a monitor as Proxmox VE's tools do: connect, negotiate, one command, close; 5 s of patience.

qm.py SOCKET COMMAND [JSON]   one command; prints what it returns, or why not and exit status 1
qm.py SOCKET every MS FILE    query-status again and again, each on a connection of its own; a line of FILE for each: its
                              milliseconds, or "failed" and why
qm.py count FILE FROM         of the lines after FROM: "N queries, F failed, p50 X ms, p99 Y ms, worst Z ms"
"""
import errno
import json
import socket
import sys
import time

PATIENCE_S = 5


def left(end):
    rest = end - time.monotonic()
    if rest <= 0:
        raise TimeoutError("got timeout")
    return rest


def connect(path, end):
    while True:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(left(end))
        try:
            s.connect(path)
            return s
        except OSError as why:
            s.close()
            if why.errno not in (errno.EAGAIN, errno.EINTR):
                raise
            time.sleep(0.05)


def ask(path, command, arguments=None):
    end = time.monotonic() + PATIENCE_S
    with connect(path, end) as s:
        lines = s.makefile()
        # Without waiting for the greeting, as qm.
        s.sendall(json.dumps({"execute": "qmp_capabilities", "id": "1", "arguments": {}}).encode())
        while True:
            s.settimeout(left(end))
            line = lines.readline()
            if not line:
                raise ConnectionError("the monitor has closed the connection")
            answer = json.loads(line)
            if answer.get("id") == "1":
                s.sendall(json.dumps({"execute": command, "id": "2", "arguments": arguments or {}}).encode())
            if answer.get("id") == "2":
                return answer


def every(path, ms, log):
    with open(log, "w", buffering=1) as out:
        while True:
            begin = time.monotonic()
            try:
                answer = ask(path, "query-status")
                took = (time.monotonic() - begin) * 1000
                out.write(f"{took:.1f}\n" if "return" in answer else f"failed {answer['error']['desc']}\n")
            except OSError as why:
                out.write(f"failed {why}\n")
            time.sleep(max(0.0, begin + ms / 1000 - time.monotonic()))


def count(log, after):
    lines = open(log).read().splitlines()[after:]
    failed = [line for line in lines if line.startswith("failed")]
    ms = sorted(float(line) for line in lines if not line.startswith("failed"))
    for line in failed:
        print(line, file=sys.stderr)
    if ms:
        print(f"{len(lines)} queries, {len(failed)} failed, p50 {ms[len(ms) // 2]:.1f} ms, "
              f"p99 {ms[min(len(ms) - 1, len(ms) * 99 // 100)]:.1f} ms, worst {ms[-1]:.1f} ms")


if sys.argv[1] == "count":
    count(sys.argv[2], int(sys.argv[3]))
elif sys.argv[2] == "every":
    every(sys.argv[1], int(sys.argv[3]), sys.argv[4])
else:
    try:
        result = ask(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]) if len(sys.argv) > 3 else None)
    except OSError as reason:
        sys.exit(str(reason))
    if "error" in result:
        sys.exit(result["error"]["desc"])
    print(json.dumps(result["return"]))
