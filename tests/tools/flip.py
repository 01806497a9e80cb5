#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Flips one bit where twinvm does not look: as a memory or a disk that lies would.

flip.py ram PID SEED          in the largest shared memory file of that process (a standby's main RAM);
                              prints PAGE OFFSET BIT OLD
flip.py is PID OFFSET BIT OLD exit status 0: that bit of it is (again) as it was, OLD
flip.py file PATH SEED        in a file, where it holds something; prints BLOCK OFFSET BIT OLD
flip.py state PID SEED N MAX  in the Nth device state of QEMU's that the process keeps, below MAX; prints OFFSET, or
                              nothing when it does not keep so many
"""
import os, random, re, sys

PAGE, BLOCK = 4096, 65536


def maps(pid):
    with open(f"/proc/{pid}/maps") as f:
        for line in f:
            m = re.match(r"(\w+)-(\w+) (\S+) (\w+) \S+ (\d+)\s*(.*)", line)
            yield int(m[1], 16), int(m[2], 16), m[3], int(m[4], 16), m[6]


def ram(pid):
    best = max((m for m in maps(pid) if m[2][3] == "s" and "memfd:" in m[4]), key=lambda m: m[1] - m[0])
    return best[0] - best[3], best[1] - best[0] + best[3]


def flip(fd, at, bit):
    old = os.pread(fd, 1, at)[0]
    os.pwrite(fd, bytes([old ^ 1 << bit]), at)
    return old >> bit & 1


def main():
    what, who = sys.argv[1:3]
    if what == "is":
        at, bit, old = map(int, sys.argv[3:6])
        fd = os.open(f"/proc/{who}/mem", os.O_RDWR)
        return int((os.pread(fd, 1, ram(who)[0] + at)[0] >> bit & 1) != old)
    rng = random.Random(sys.argv[3])
    bit = rng.randrange(8)
    if what == "ram":
        fd = os.open(f"/proc/{who}/mem", os.O_RDWR)
        base, size = ram(who)
        at = rng.randrange(size)
        print(at // PAGE, at, bit, flip(fd, base + at, bit))
    elif what == "file":
        fd = os.open(who, os.O_RDWR)
        size = os.fstat(fd).st_size
        at = rng.randrange(size)
        print(at // BLOCK, at, bit, flip(fd, at, bit))
    elif what == "state":
        fd = os.open(f"/proc/{who}/mem", os.O_RDWR)
        n, where = int(sys.argv[4]), rng.randrange(64, int(sys.argv[5]))
        for start, end, flags, _, name in maps(who):
            if flags[:2] != "rw" or flags[3] == "s" or name.startswith("[v"):
                continue
            try:
                text = os.pread(fd, end - start, start)
            except OSError:
                continue
            for m in re.finditer(re.escape(b"QEVM\0\0\0\3"), text):
                if not n:
                    flip(fd, start + m.start() + where, bit)
                    print(where)
                n -= 1
    return 0


sys.exit(main())
