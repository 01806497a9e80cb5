#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Flips one bit where twinvm does not look: as a memory or a disk that lies would.

flip.py ram PID SEED          in the largest shared memory file of that process (a standby's main RAM);
                              prints PAGE SUM
flip.py file PATH SEED        in a file; prints BLOCK SUM
flip.py still ram|file PID|PATH PAGE|BLOCK SUM
                              exit status 0: it holds what it held after the flip, to the byte
flip.py state PID SEED N MAX  in the Nth device state of QEMU's that the process keeps, below MAX; prints OFFSET, or
                              nothing when it does not keep so many
"""
import hashlib, os, random, re, sys

PAGE, BLOCK = 4096, 65536


def maps(pid):
    with open(f"/proc/{pid}/maps") as f:
        for line in f:
            m = re.match(r"(\w+)-(\w+) (\S+) (\w+) \S+ (\d+)\s*(.*)", line)
            yield int(m[1], 16), int(m[2], 16), m[3], int(m[4], 16), m[6]


def ram(pid):
    best = max((m for m in maps(pid) if m[2][3] == "s" and "memfd:" in m[4]), key=lambda m: m[1] - m[0])
    return best[0] - best[3], best[1] - best[0] + best[3]


def place(what, who):
    """A descriptor, where it begins in there, how long it is, and its unit."""
    if what == "ram":
        return os.open(f"/proc/{who}/mem", os.O_RDWR), *ram(who), PAGE
    fd = os.open(who, os.O_RDWR)
    return fd, 0, os.fstat(fd).st_size, BLOCK


def flip(fd, at, bit):
    os.pwrite(fd, bytes([os.pread(fd, 1, at)[0] ^ 1 << bit]), at)


def digest(fd, base, unit, n):
    return hashlib.sha256(os.pread(fd, unit, base + n * unit)).hexdigest()


def main():
    what, who = sys.argv[1:3]
    if what == "still":
        fd, base, _, unit = place(who, sys.argv[3])
        return int(digest(fd, base, unit, int(sys.argv[4])) != sys.argv[5])
    rng = random.Random(sys.argv[3])
    bit = rng.randrange(8)
    if what in ("ram", "file"):
        fd, base, size, unit = place(what, who)
        at = rng.randrange(size)
        flip(fd, base + at, bit)
        print(at // unit, digest(fd, base, unit, at // unit))
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
