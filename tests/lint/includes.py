#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who includes whom.

A room is a folder with a .may_include; rooms lie inside rooms. A file of a room may include
  - any header of its own room;
  - any header of a room that its own lies in (hv/attach sees hv/vm.h): no permission is needed;
  - the door of a room that its .may_include names. The door of a/b is a/b/b.h, or what a line
    "door NAME.h" in that room's own .may_include names instead; there may be several such lines.
Nothing else. A name in .may_include that no file of the room uses is an error too, so that
permissions do not outlive their use.

usage: includes.py [TREE]
"""
import os
import re
import sys

tree = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../..")
os.chdir(tree)
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


class Room:
    def __init__(self, path):
        self.path, self.may, self.doors, self.used = path, set(), set(), set()
        for line in open(os.path.join(path, ".may_include")):
            words = line.split("#")[0].split()
            if len(words) == 2 and words[0] == "door":
                self.doors.add(os.path.join(path, words[1]))
            elif len(words) == 1:
                self.may.add(words[0])
            elif words:
                sys.exit(f"{path}/.may_include: unknown line: {line.strip()}")
        if not self.doors:
            self.doors.add(os.path.join(path, os.path.basename(path) + ".h"))


def find_rooms():
    rooms = {}
    for folder, folders, files in os.walk("."):
        folder = os.path.relpath(folder, ".")
        if folder == ".":
            folders[:] = [f for f in folders if not f.startswith((".", "build")) and f != "tests"]
        elif ".may_include" in files:
            rooms[folder] = Room(folder)
    return rooms


def room_of(rooms, path):
    folder = os.path.dirname(path)
    while folder and folder not in rooms:
        folder = os.path.dirname(folder)
    return rooms.get(folder)


def check(rooms, room, path):
    bad = []
    for number, line in enumerate(open(path), 1):
        found = INCLUDE.match(line)
        if not found or "/" not in found[1]:
            continue  # beside the file
        target = found[1]
        to = room_of(rooms, target)
        if to is None or to is room or room.path.startswith(to.path + "/"):
            continue
        room.used.add(to.path)
        if to.path not in room.may:
            bad.append(f"{path}:{number}: {room.path} may not include {to.path} "
                       f"({room.path}/.may_include)")
        elif target not in to.doors and not target.endswith(".pb-c.h"):
            bad.append(f"{path}:{number}: {target} is private to {to.path}; "
                       f"include {' or '.join(sorted(to.doors))}")
    return bad


def main():
    rooms = find_rooms()
    bad = []
    for room in rooms.values():
        for name in sorted(os.listdir(room.path)):
            if name.endswith((".c", ".h")):
                bad += check(rooms, room, os.path.join(room.path, name))
    for room in rooms.values():
        for name in sorted(room.may - set(rooms)):
            bad.append(f"{room.path}/.may_include: there is no room {name}")
        for name in sorted((room.may & set(rooms)) - room.used):
            bad.append(f"{room.path}/.may_include: {name} is allowed, but nothing includes it")
    # A folder with C files beside the rooms is a room that nobody has declared.
    for folder, folders, files in os.walk("."):
        folder = os.path.relpath(folder, ".")
        if folder == ".":
            folders[:] = [f for f in folders if not f.startswith((".", "build"))
                          and f not in ("tests", "bench")]
        elif folder not in rooms and any(f.endswith((".c", ".h")) for f in files):
            bad.append(f"{folder} has C files but no .may_include")
    print("\n".join(sorted(bad)), end="\n" if bad else "")
    return bool(bad)


sys.exit(main())
