#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""make coverage: runs the unit tests and some simulated histories of a build with --coverage, then
prints for each room how many of its lines were run, and which files are covered least. What
only the integration tests reach (they kill processes, which then write no counts) is not here.

usage: coverage.py BUILD HISTORIES
"""
import glob
import json
import os
import subprocess
import sys

LEAST = 12  # files named at the end
UNIT_LIMIT_S = 300

build, histories = sys.argv[1:3]
os.chdir(os.path.join(os.path.dirname(__file__), ".."))


def run(*command):
    ended = subprocess.run(["timeout", str(UNIT_LIMIT_S), *command], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    if ended.returncode:
        print(f"{command[0]}: exit status {ended.returncode}; what it ran counts")


def count(objects):
    """{file: {line: times it was run}}; a file without counts was not run at all"""
    lines = {}
    for o in objects:
        out = subprocess.run(["gcov", "--stdout", "--json-format", o], check=True, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        for document in out.splitlines():
            for f in json.loads(document)["files"]:
                path = os.path.normpath(f["file"])
                if path.endswith(".c") and os.path.exists(path):
                    here = lines.setdefault(path, {})
                    for line in f["lines"]:
                        n = line["line_number"]
                        here[n] = here.get(n, 0) + line["count"]
    return lines


def share(files):
    ran = sum(1 for f in files for n in f.values() if n)
    total = sum(len(f) for f in files)
    return ran, total, 100 * ran / total if total else 0


def main():
    for old in glob.glob(f"{build}/obj/**/*.gcda", recursive=True):
        os.remove(old)
    for source in sorted(glob.glob("tests/unit/test_*.c")):
        run(f"{build}/tests/{os.path.basename(source)[:-2]}")
    run(f"{build}/sim", "--histories", histories, "--first", "1")

    rooms = {}
    for folder, folders, files in os.walk("."):
        folders[:] = [f for f in folders if not f.startswith((".", "build"))]
        if ".may_include" in files:
            room = os.path.normpath(folder)
            objects = [o for f in files if f.endswith(".c")
                       for o in [f"{build}/obj/{room}/{f[:-2]}.gcno"] if os.path.exists(o)]
            found = {p: c for p, c in count(objects).items() if os.path.dirname(p) == room}
            if found:
                rooms[room] = found
    print(f"{'room':<24} {'files':>5} {'lines':>6} {'run':>6} {'%':>6}")
    for room, found in sorted(rooms.items()):
        ran, total, percent = share(found.values())
        print(f"{room:<24} {len(found):>5} {total:>6} {ran:>6} {percent:>6.1f}")
    files = {p: c for found in rooms.values() for p, c in found.items()}
    ran, total, percent = share(files.values())
    print(f"{'all':<24} {len(files):>5} {total:>6} {ran:>6} {percent:>6.1f}")
    print("\nleast covered:")
    for path in sorted(files, key=lambda p: (share([files[p]])[2], p))[:LEAST]:
        ran, total, percent = share([files[path]])
        print(f"{path:<40} {total:>6} {ran:>6} {percent:>6.1f}")


main()
