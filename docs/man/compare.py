#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares what says the same in several places.

  - Each option that cli/*.c takes is in --help, in the man page and in the completion, and there
    is no other there; each subcommand likewise.
  - Each key that the parser takes is in docs/CONFIG.md and twinvmd.conf(5), and no other is there;
    the example's lines are keys with values that the parser takes.

usage: compare.py FOLDER-OF-PROGRAMS FOLDER-OF-PAGES
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import helptext
import mdoc

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
wrong = []


def compare(what, of, other, there):
    for x in sorted(of - there):
        wrong.append("%s: %s is not in %s" % (what, x, other))
    for x in sorted(there - of):
        wrong.append("%s: %s is only in %s" % (what, x, other))


def complete(programs, *line):
    """what bash offers at the end of this line"""
    script = ('. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _twinvm; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    env = dict(os.environ, PATH=programs + ":" + os.environ["PATH"])
    p = subprocess.run(["bash", "-c", script, ROOT / "docs/twinvm.bash-completion", *line],
                       stdout=subprocess.PIPE, text=True, check=True, env=env)
    return set(p.stdout.split())


def page_sections(page):
    """{heading: text} of a man page as its reader sees it"""
    p = subprocess.run(["mandoc", "-T", "ascii", "-O", "width=500", page],
                       stdout=subprocess.PIPE, text=True, check=True)
    text = re.sub(r".\x08", "", p.stdout)
    out, head = {}, ""
    for line in text.split("\n"):
        if re.match(r" {0,3}\S", line):
            head = line.strip()
        out[head] = out.get(head, "") + line + "\n"
    return out


def tagged(text):
    """the heads of the entries of a section of a man page: what its lines begin with"""
    return {o for line in text.split("\n") if re.match(r" +-", line)
            for o in helptext.OPTION.findall(re.split(r" {2,}", line.strip())[0])}


def taken():
    """{subcommand: options that its getopt_long takes}, from the sources"""
    out = {}
    for path in ROOT.glob("cli/*.c"):
        text = path.read_text()
        names = re.findall(r"struct subcommand cmd_\w+ = \{\s*\"([a-z-]+)\"", text)
        tables = re.findall(r"struct option \w+\[\] = \{(.*?)NULL, 0, NULL, 0", text, re.S)
        options = {"--" + o for t in tables for o in re.findall(
            r"\{\s*\"([a-z-]+)\",\s*(?:no|required)_argument", t)}
        for name in names:
            out[name] = options
    return out


def check_options(programs, pages):
    program = os.path.join(programs, "twinvm")
    top = helptext.ask(program)
    commands, sources, page = helptext.commands(top), taken(), page_sections(
        os.path.join(pages, "man1/twinvm.1"))
    names = set(commands)
    compare("subcommands", names, "cli/*.c", set(sources))
    compare("subcommands", names, "twinvm(1)",
            {h.split()[1] for h in page if re.fullmatch(r"twinvm [a-z-]+", h)})
    compare("subcommands", names, "the completion",
            {w for w in complete(programs, "twinvm", "") if not w.startswith("-")})
    for name in sorted(names & set(sources)):
        shown = helptext.ask(program, name).options()
        long = {o for o in shown if o.startswith("--")}
        what = "twinvm " + name
        compare(what, sources[name] | {"--json"}, "its --help", long - {"--help"})
        compare(what, shown, "twinvm(1)", tagged(page.get("twinvm " + name, "")))
        compare(what, shown | {"--help"}, "the completion",
                {w for w in complete(programs, "twinvm", name, "-") if w.startswith("-")})
    daemon = helptext.ask(os.path.join(programs, "twinvmd")).options()
    compare("twinvmd", daemon, "the completion", complete(programs, "twinvmd", "-"))
    compare("twinvmd", daemon, "twinvmd(8)", tagged(
        page_sections(os.path.join(pages, "man8/twinvmd.8"))["DESCRIPTION"]))


def document_keys():
    """the keys of the tables of docs/CONFIG.md"""
    out, inside = set(), False
    for line in (ROOT / "docs/CONFIG.md").read_text().split("\n"):
        row = mdoc.cells(line) if line.startswith("|") else []
        inside = row[:3] == ["key", "default", "meaning"] or inside and bool(row)
        if inside:
            out |= set(re.findall(r"`([^`]+)`", row[0]))
    return out


def parser_keys():
    """the keys of replicator/session: its tables, and what it compares names with"""
    out = set()
    for path in sorted(ROOT.glob("replicator/session/*.c")):
        text = path.read_text()
        if path.name.startswith(("config", "keys")):
            out |= set(re.findall(r"^\s*[A-Z]\(\"(\w+)\", ", text, re.M))
            out |= set(re.findall(r"str(?:n)?cmp\(name, \"([a-z_]+)\.?\"", text))
        words = re.search(r"what_words\[\] = \{(.*?)\}", text)
        out |= set(re.findall(r"\"(\w+)\"", words[1] if words else ""))
    return out


def refused(programs, line):
    """what twinvmd says of a configuration of this line alone, unless it takes the line"""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as f:
        f.write(line + "\n")
        f.flush()
        p = subprocess.run([os.path.join(programs, "twinvmd"), "--config", f.name],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if p.returncode != 1:
            return "exit status %d" % p.returncode
        return p.stdout.strip() if f.name + ":1:" in p.stdout else None


def check_keys(programs, pages):
    keys = document_keys()
    base = {k.split(".")[0] for k in keys}
    compare("keys", parser_keys(), "docs/CONFIG.md", base)
    page = pathlib.Path(pages, "man5/twinvmd.conf.5").read_text()
    heads = {k.replace("\\-", "-").replace("\\&", "") for line in re.findall(r"^\.It (.*)", page, re.M)
             for k in re.split(r",? ", line)}
    compare("keys", keys, "twinvmd.conf(5)", keys & heads)
    example, _, of_vm = (ROOT / "docs/twinvmd.conf.example").read_text().partition("#[vm ")
    if not of_vm:
        wrong.append("the example has no section of a VM")
    for line in example.split("\n"):  # a section's keys: tests/lint/docs.py
        m = re.fullmatch(r"#? ?(([a-z_]+)(?:\.\w+)? = \S.*)", line)
        if m:
            compare("the example", {m[2]} - base, "docs/CONFIG.md", set())
            why = refused(programs, m[1])
            if why and "makes that folder" not in why:  # cluster, on a machine that is in none
                wrong.append("the example's line '%s': %s" % (m[1], why))


def main():
    programs, pages = map(os.path.abspath, sys.argv[1:])
    check_options(programs, pages)
    check_keys(programs, pages)
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
