#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the man pages from what is true anyway: the programs' --help, docs/CONFIG.md, docs/WIRE.md.

The few words that are nowhere else are in twinvm.md and twinvmd.md beside this file. The date is
that of SOURCE_DATE_EPOCH, else of the last commit.

usage: pages.py FOLDER-OF-PROGRAMS FOLDER
"""
import os
import pathlib
import subprocess
import sys
import time

import helptext
import mdoc

HERE = pathlib.Path(__file__).resolve().parent
DOCS = HERE.parent
PAGES = ["twinvm 1", "twinvmd 8", "twinvm-libvirt 8", "twinvmd.conf 5", "twinvm-protocol 7"]


def date():
    when = os.environ.get("SOURCE_DATE_EPOCH")
    if not when:
        git = subprocess.run(["git", "-C", HERE, "log", "-1", "--format=%ct"], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        when = git.stdout.strip() or time.time()
    return time.strftime("%B %e, %Y", time.gmtime(int(when))).replace("  ", " ")


def page(name, section, what, body):
    see = ["." + "Xr %s %s" % tuple(p.split()) for p in sorted(
        PAGES, key=lambda p: p.split()[::-1]) if p != "%s %s" % (name, section)]
    see = [line + " ," for line in see[:-1]] + see[-1:]
    body = [line for line, after in zip(body, body[1:] + [""])
            if line != ".Pp" or not after.startswith((".Bl", ".Bd", ".Sh", ".Ss"))]
    table = "'\\\" t\n" if ".TS" in body else ""
    return table + "\n".join([
        ".\\\" made by docs/man/pages.py", ".Dd " + date(),
        ".Dt %s %s" % (name.upper(), section), ".Os", ".Sh NAME", ".Nm " + name,
        ".Nd " + what, *body, ".Sh SEE ALSO", *see, ""])


def words(name):
    """{section: lines of mdoc} of a file beside this one"""
    out, section = {}, None
    for line in mdoc.Markdown((HERE / name).read_text()).out:
        if line.startswith(".Sh "):
            section = out.setdefault(line[4:], [])
        elif section is not None:
            section.append(line)
    return out


def rest(more, *sections):
    return [line for s in sections if s in more for line in [".Sh " + s, *more[s]]]


def twinvm(programs):
    program = os.path.join(programs, "twinvm")
    top, more = helptext.ask(program), words("twinvm.md")
    summaries = helptext.commands(top)
    texts = [" ".join(lines) for kind, lines in top.blocks if kind == "text"]
    status = next(t for t in texts if t.startswith("Exit status"))
    options = [e for e in top.entries() if e[0].startswith("-")]
    options += [e for e in (("--json", "one JSON object or array on stdout, and nothing else"),
                            ("--help", "describes the command")) if e not in options]
    body = [".Sh SYNOPSIS", ".Nm", ".Op Fl -socket Ar PATH", ".Ar COMMAND",
            ".Op Ar ARGUMENTS", ".Op Fl -json", ".Op Fl -help",
            ".Sh DESCRIPTION", *mdoc.paragraph(texts[0]), *more.pop("DESCRIPTION"),
            ".Pp", "Options:", *mdoc.help_blocks([("entries", options)]), ".Sh COMMANDS"]
    for name in sorted(summaries):
        h = helptext.ask(program, name)
        body += [mdoc.macro(".Ss", "twinvm", name)]
        body += mdoc.paragraph(summaries[name][0].upper() + summaries[name][1:] + ".")
        body += [".Bd -ragged -offset indent", ".Bf -literal"]
        body += [line for i, u in enumerate(h.usage) for line in
                 ([".br"] if i else []) + mdoc.paragraph(u)]
        body += [".Ef", ".Ed", ".Pp", *mdoc.help_blocks(h.blocks)]
    body += rest(more, "ENVIRONMENT", "FILES")
    body += [".Sh EXIT STATUS", *mdoc.paragraph(status), *rest(more, "EXAMPLES")]
    return page("twinvm", "1", "fault tolerance for QEMU VMs: the command", body)


def twinvmd(programs):
    h, more = helptext.ask(os.path.join(programs, "twinvmd")), words("twinvmd.md")
    first = " ".join(h.blocks[0][1])
    body = [".Sh SYNOPSIS"]
    for usage in h.usage:
        body += [".Nm", mdoc.macro(".Li", *usage.split()[1:])]
    body += [".Sh DESCRIPTION", *mdoc.paragraph(first), *more.pop("DESCRIPTION"), ".Pp",
             *mdoc.help_blocks(h.blocks[1:]), *rest(more, "SIGNALS", "FILES", "EXIT STATUS")]
    return page("twinvmd", "8", "fault tolerance for QEMU VMs: the daemon", body)


def twinvm_libvirt(programs):
    h = helptext.ask(os.path.join(programs, "twinvm-libvirt"))
    body = [".Sh SYNOPSIS", ".Nm", ".Ar SUBCOMMAND", ".Op Ar ARGUMENT", ".Sh DESCRIPTION",
            *mdoc.help_blocks(h.blocks)]
    return page("twinvm-libvirt", "8", "what twinvmd asks of libvirt", body)


def of_document(name, section, what, document, files=()):
    body = mdoc.Markdown((DOCS / document).read_text()).out
    body = [".Sh DESCRIPTION", *body]
    if files:
        body += [".Sh FILES", ".Bl -tag -width Ds"]
        body += [line for path, text in files for line in [".It Pa " + path, text]] + [".El"]
    return page(name, section, what, body)


def main():
    programs, into = sys.argv[1:]
    os.makedirs(into, exist_ok=True)
    made = {
        "twinvm.1": twinvm(programs),
        "twinvmd.8": twinvmd(programs),
        "twinvm-libvirt.8": twinvm_libvirt(programs),
        "twinvmd.conf.5": of_document(
            "twinvmd.conf", "5", "configuration of twinvmd", "CONFIG.md",
            [("/etc/twinvm/twinvmd.conf", "The configuration."),
             ("/usr/share/doc/twinvm/examples/twinvmd.conf", "An example with every key.")]),
        "twinvm-protocol.7": of_document(
            "twinvm-protocol", "7", "what twinvm hosts send to each other", "WIRE.md")}
    for name, text in made.items():
        to = pathlib.Path(into, "man" + name[-1], name)
        to.parent.mkdir(exist_ok=True)
        to.write_text(text)


if __name__ == "__main__":
    main()
