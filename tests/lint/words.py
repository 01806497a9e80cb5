#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain technical English: phrases that a reader must read twice (words.list, docs/GLOSSARY.md).

words.list has one phrase a line, "# ..." after it says what to write instead. Case does not
matter; a phrase is found also where a line ends within it, and only as whole words.
words.allow has "FILE COUNT" for files that still hold some, with exactly their number today.
The list only shrinks: more is an error, and so is an entry that is too high.

usage: words.py [--list] [TREE] [FILE]...   --list: print what a words.allow would have to hold;
                                            FILE...: show what is in these files, allowed or not
"""
import os
import re
import sys

LIST, ALLOW = "tests/lint/words.list", "tests/lint/words.allow"
ENDINGS = (".c", ".h", ".md", ".sh", ".py", ".mk", ".proto", ".example", ".service")
NAMES = ("Makefile", "run", "rc", "init")
EXCEPT = {LIST, "docs/GLOSSARY.md", "CONTRIBUTING.md"}
# what may stand between two words of a phrase: a line's end with a comment's or a string's edge
GAP = r"(?:\s|\"\s*\n\s*\"|\n[ \t]*(?:\*|#|//|\|))+"


def read_phrases():
    phrases = [line.split("#")[0].strip() for line in open(LIST)]
    return {p: re.compile(r"\b" + GAP.join(map(re.escape, p.split())) + r"\b", re.I)
            for p in phrases if p}


def text_files():
    for folder, folders, files in os.walk("."):
        folders[:] = [f for f in folders if f == ".ci" or not f.startswith((".", "build"))]
        for f in files:
            path = os.path.normpath(os.path.join(folder, f))
            if (f.endswith(ENDINGS) or f in NAMES) and path not in EXCEPT:
                yield path


def hits(path, phrases):
    """(line number, phrase) for each in the file"""
    text = open(path).read()
    return sorted((text.count("\n", 0, m.start()) + 1, phrase)
                  for phrase, pattern in phrases.items() for m in pattern.finditer(text))


def read_allow():
    allowed = {}
    for line in open(ALLOW):
        words = line.split("#")[0].split()
        if words:
            allowed[words[0]] = int(words[1])
    return allowed


def show(path, found):
    return [f"{path}:{number}: \"{phrase}\"" for number, phrase in found]


def main():
    args = [a for a in sys.argv[1:] if a != "--list"]
    os.chdir(args.pop(0) if args and os.path.isdir(args[0])
             else os.path.join(os.path.dirname(__file__), "../.."))
    phrases = read_phrases()
    if args:
        for line in (line for f in args for line in show(f, hits(f, phrases))):
            print(line)
        return 0
    found = {f: hits(f, phrases) for f in sorted(text_files())}
    found = {f: h for f, h in found.items() if h}
    if "--list" in sys.argv:
        print("\n".join(f"{f} {len(h)}" for f, h in found.items()))
        return 0
    allowed, bad = read_allow(), []
    for f, h in found.items():
        if len(h) > allowed.get(f, 0):
            bad += show(f, h) if f not in allowed else [
                *show(f, h), f"{f}: {len(h)} of these, {ALLOW} allows {allowed[f]}"]
        elif len(h) < allowed[f]:
            bad.append(f"{f}: {len(h)} left: lower its entry in {ALLOW} from {allowed[f]}")
    for f in sorted(set(allowed) - set(found)):
        bad.append(f"{f}: nothing left, or gone: remove it from {ALLOW}")
    if any('"' in line for line in bad):
        bad.append(f"{LIST} has what to write instead")
    print("\n".join(bad), end="\n" if bad else "")
    return bool(bad)


sys.exit(main())
