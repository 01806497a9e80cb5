#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Documents name what is there.

  - Lines of at most 100 columns, but for table rows and URLs; docs/ARCHITECTURE.md: 120 lines.
  - A file or folder named in `backticks` or linked exists: from the root, from the document's
    folder, or, without a slash, anywhere. `file.c: name`: the name is in the file.
  - The two-hop table of docs/ARCHITECTURE.md, behaviour | file | function: at least ten rows, and
    each file defines its function. It links every other page of docs/; every room has a README.
  - Every key of the configuration, environment variable TWINVM_* and fault point that the code
    reads is in its document.

usage: docs.py [TREE]
"""
import glob
import os
import re
import sys

COLUMNS, MAP_LINES, MAP_ROWS = 100, 120, 10
MAP = "docs/ARCHITECTURE.md"
KEYS, CONFIG = "replicator/session/keys.c", "docs/CONFIG.md"
EXAMPLE = "docs/twinvmd.conf.example"
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
FILE = re.compile(r"([\w.*/-]+\.(?:c|h|sh|py|md|proto|mk|S|example|service)|[\w.-]+(?:/[\w.-]+)+/)"
                  r"(?:: ?(\w+))?")
PLACEHOLDER = re.compile(r"pb-c|NN|NAME|VMID|HOST|^build|^[.]ci|\bX/")

# where the code reads a name -> the document that explains it
NAMES = [
    (r"**/*.c", r'getenv\("(TWINVM_\w+)"\)', "docs/DEBUGGING.md"),
    (r"**/*.c", r'tv_fault\("(\w+)"\)', "docs/FAULTS.md"),
]


def tree():
    for folder, folders, files in os.walk("."):
        folders[:] = [f for f in folders if not f.startswith((".", "build"))]
        yield from (os.path.normpath(os.path.join(folder, f)) for f in files)


def prose(text):
    """the text without its code blocks"""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return re.sub(r"(?:^|\n)\n(?: {4}.*\n?)+", "\n\n", text)


def find(path, folder, by_name):
    """the files that the document may mean by this"""
    for at in (path, os.path.normpath(os.path.join(folder, path))):
        found = glob.glob(at) if "*" in at else [at] if os.path.exists(at) else []
        if found:
            return found
    return by_name.get(path, [])


def defines(path, function):
    head = rf"^\w[\w \t*]*\b{re.escape(function)}\([^;{{}}]*\)\s*\{{"
    return path.endswith((".c", ".h")) and re.search(head, open(path).read(), re.M)


def check_names(path, by_name):
    text, folder = prose(open(path).read()), os.path.dirname(path)
    for span in SPAN.findall(text):
        found = FILE.fullmatch(" ".join(span.split()))
        if not found or PLACEHOLDER.search(found[1]):
            continue
        at = find(found[1], folder, by_name)
        if not at:
            yield f"{path}: there is no {found[1]}"
        elif found[2] and not any(re.search(rf"\b{found[2]}\b", open(f).read()) for f in at):
            yield f"{path}: {found[1]} has no {found[2]}"
    for link in LINK.findall(text):
        if "://" not in link and not os.path.exists(os.path.join(folder, link)):
            yield f"{path}: there is no {link}"


def check_columns(path):
    for number, line in enumerate(open(path), 1):
        if len(line.rstrip("\n")) > COLUMNS and not line.startswith("|") and "://" not in line:
            yield f"{path}:{number}: more than {COLUMNS} columns"


def check_map():
    text = open(MAP).read()
    if text.count("\n") > MAP_LINES:
        yield f"{MAP}: {text.count(chr(10))} lines, the limit is {MAP_LINES}"
    for page in sorted(glob.glob("docs/*.md")):
        if page != MAP and f"({os.path.basename(page)})" not in text:
            yield f"{MAP} does not link {page}"
    rows = re.findall(r"^\| .+? \| `([^`]+)` \| `(\w+)` \|$", text, re.M)
    if len(rows) < MAP_ROWS:
        yield f"{MAP}: {len(rows)} behaviours with file and function, at least {MAP_ROWS} are wanted"
    for path, function in rows:
        if not os.path.exists(path):
            yield f"{MAP}: there is no {path}"
        elif not defines(path, function):
            yield f"{MAP}: {path} does not define {function}"


def check_rooms(files):
    for path in files:
        if os.path.basename(path) == ".may_include":
            readme = os.path.join(os.path.dirname(path), "README.md")
            if readme not in files:
                yield f"there is no {readme}"


def check_code_names():
    for pattern, name, document in NAMES:
        text = open(document).read()
        for path in sorted(glob.glob(pattern, recursive=True)):
            if not path.startswith("build"):
                for found in re.findall(name, open(path).read(), re.M):
                    if f"`{found}`" not in text and not found.endswith(("_CERT", "_KEY")):
                        yield f"{document} does not explain {found} ({path})"


def check_config_keys():
    """the parser's table, the tables of docs/CONFIG.md and the example have the same keys"""
    whole, of_vm = open(EXAMPLE).read().split("#[vm web]")
    yield from compare_keys("[A-Z]", r"\| key \| default", whole, 40)
    yield from compare_keys("V[A-Z]", r"\| key of `\[vm NAME\]`", of_vm, 5)


def compare_keys(macro, head, example, least):
    parser = set(re.findall(rf'^\t{macro}\("(\w+)", ', open(KEYS).read(), re.M))
    if len(parser) < least:
        yield f"{KEYS}: the table of keys is not read any more"
    rows = [row for part in re.split(rf"\n(?={head})", open(CONFIG).read())[1:]
            for row in re.match(r"(?:\|.*\n)+", part)[0].splitlines()[2:]]
    explained = {k.split(".")[0] for row in rows for k in SPAN.findall(row.split("|")[1])}
    shown = set(re.findall(r"^#? ?(\w+)(?:\.\w+)? =", example, re.M))
    for document, there in ((CONFIG, explained), (EXAMPLE, shown)):
        yield from (f"{document} lacks the key {k} of {KEYS}" for k in sorted(parser - there))
        yield from (f"{document} has {k}, which {KEYS} lacks" for k in sorted(there - parser))


def main():
    os.chdir(sys.argv[1] if len(sys.argv) > 1
             else os.path.join(os.path.dirname(__file__), "../.."))
    files = sorted(tree())
    by_name, bad = {}, []
    for f in files:
        by_name.setdefault(os.path.basename(f), []).append(f)
    for path in files:
        if path.endswith(".md"):
            bad += [*check_columns(path), *check_names(path, by_name)]
    bad += [*check_map(), *check_rooms(files), *check_code_names(), *check_config_keys()]
    print("\n".join(bad), end="\n" if bad else "")
    return bool(bad)


sys.exit(main())
