#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""No circles: no two files of the product call each other, directly or round a ring.

Who calls whom is read from the object files with nm: a file that leaves a symbol undefined uses
the file that defines it. Product files are those of all rooms (folders with a .may_include);
generated code is not among them. The objects must be up to date: `make all` first.

For each group of files that reach each other, one shortest ring is printed, with the symbols.

usage: circles.py [--graph] [TREE [BUILD]]    --graph: print who uses whom, and what, instead
"""
import os
import subprocess
import sys
from collections import deque

SHOWN_SYMBOLS = 4


def product_files():
    found = []
    for folder, folders, files in os.walk("."):
        folders[:] = [f for f in folders if not f.startswith((".", "build"))]
        if ".may_include" in files:
            found += [os.path.normpath(os.path.join(folder, f)) for f in files if f.endswith(".c")]
    return sorted(found)


def symbols(objects):
    """{object: (defined, undefined)}, global symbols only"""
    out = subprocess.run(["nm", "-A", "-g", "-P", *objects], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    table = {o: (set(), set()) for o in objects}
    for line in out.splitlines():
        name, rest = line.split(": ", 1)
        symbol, kind = rest.split()[:2]
        table[name][kind in "Uwv"].add(symbol)
    return table


def arrows(build):
    """{file: {file that it uses: symbols}}"""
    files = product_files()
    objects = {f"{build}/obj/{f[:-2]}.o": f for f in files}
    missing = [o for o in objects if not os.path.exists(o)]
    if missing:
        sys.exit(f"circles: not built: {' '.join(missing)}: run 'make all' first")
    table = symbols(list(objects))
    owner = {}
    for o, (defined, _) in table.items():
        for s in defined - {"main"}:
            if s in owner:
                sys.exit(f"circles: {s} is defined in {owner[s]} and in {objects[o]}")
            owner[s] = objects[o]
    uses = {f: {} for f in files}
    for o, (_, undefined) in table.items():
        for s in undefined:
            if s in owner:
                uses[objects[o]].setdefault(owner[s], set()).add(s)
    return uses


def ring_through(uses, start):
    """the shortest ring from start back to it, or None"""
    before, todo = {}, deque([start])
    while todo:
        at = todo.popleft()
        for to in sorted(uses[at]):
            if to == start:
                ring = [at]
                while ring[-1] != start:
                    ring.append(before[ring[-1]])
                return ring[::-1]
            if to not in before:
                before[to] = at
                todo.append(to)
    return None


def reach(uses, start):
    seen, todo = set(), [start]
    while todo:
        for to in uses[todo.pop()]:
            if to not in seen:
                seen.add(to)
                todo.append(to)
    return seen


def groups(uses):
    """sets of files that reach each other"""
    reached = {f: reach(uses, f) for f in uses}
    done = set()
    for f in sorted(uses):
        if f in done or f not in reached[f]:
            continue
        group = {g for g in reached[f] if f in reached[g]}
        done |= group
        yield group


def describe(uses, ring):
    for at, to in zip(ring, ring[1:] + ring[:1]):
        names = sorted(uses[at][to])
        more = f" and {len(names) - SHOWN_SYMBOLS} more" if len(names) > SHOWN_SYMBOLS else ""
        yield f"      {at} uses {to}: {', '.join(names[:SHOWN_SYMBOLS])}{more}"


def main():
    args = [a for a in sys.argv[1:] if a != "--graph"]
    os.chdir(args[0] if args else os.path.join(os.path.dirname(__file__), "../.."))
    uses = arrows(args[1] if len(args) > 1 else os.environ.get("B", "build"))
    if "--graph" in sys.argv:
        for at in uses:
            for to in sorted(uses[at]):
                print(f"{at} -> {to}: {' '.join(sorted(uses[at][to]))}")
        return 0
    bad = 0
    for group in groups(uses):
        bad += 1
        ring = min((ring_through(uses, f) for f in sorted(group)), key=len)
        print(f"circle of {len(group)} files: {' '.join(sorted(group))}")
        print("\n".join(describe(uses, ring)))
    return bad > 0


sys.exit(main())
