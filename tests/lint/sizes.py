#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of at most 500 lines, functions of at most 70 (between their braces): C files only.

sizes.allow lists what is larger, one "FILE LINES" or "FILE:FUNCTION LINES" a line, with exactly
its size today. The list only shrinks: what has grown is an error, and so is an entry that is
too high or that is not needed any more.

usage: sizes.py [--list] [TREE]      --list: print what a sizes.allow would have to hold
"""
import os
import re
import sys

FILE_LINES, FUNCTION_LINES = 500, 70
ALLOW = "tests/lint/sizes.allow"
HEAD = re.compile(r"^[A-Za-z_].*?(\w+)\(")


def c_files():
    for folder, folders, files in os.walk("."):
        folders[:] = [f for f in folders if not f.startswith((".", "build"))]
        yield from (os.path.normpath(os.path.join(folder, f)) for f in files if f.endswith((".c", ".h")))


def large(path):
    """(what, lines) of the file and of its functions, where they are too large"""
    name, start = "?", 0
    lines = open(path).read().splitlines()
    for number, line in enumerate(lines, 1):
        head = HEAD.match(line)
        if head and not line.rstrip().endswith(";"):
            name = head[1]
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start:
            if number - start - 1 > FUNCTION_LINES:
                yield f"{path}:{name}", number - start - 1
            start = 0
    if len(lines) > FILE_LINES:
        yield path, len(lines)


def read_allow():
    allowed = {}
    for line in open(ALLOW):
        words = line.split("#")[0].split()
        if words:
            allowed[words[0]] = int(words[1])
    return allowed


def main():
    args = [a for a in sys.argv[1:] if a != "--list"]
    os.chdir(args[0] if args else os.path.join(os.path.dirname(__file__), "../.."))
    found = dict(what for path in sorted(c_files()) for what in large(path))
    if "--list" in sys.argv:
        print("\n".join(f"{what} {lines}" for what, lines in sorted(found.items())))
        return 0
    allowed, bad = read_allow(), []
    for what, lines in sorted(found.items()):
        limit = FUNCTION_LINES if ":" in what else FILE_LINES
        if what not in allowed:
            bad.append(f"{what}: {lines} lines, the limit is {limit}")
        elif lines > allowed[what]:
            bad.append(f"{what}: {lines} lines, {ALLOW} allows {allowed[what]}")
        elif lines < allowed[what]:
            bad.append(f"{what}: {lines} lines: lower its entry in {ALLOW} from {allowed[what]}")
    for what in sorted(set(allowed) - set(found)):
        bad.append(f"{what}: small enough or gone: remove it from {ALLOW}")
    print("\n".join(bad), end="\n" if bad else "")
    return bool(bad)


sys.exit(main())
