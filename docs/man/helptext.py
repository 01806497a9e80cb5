# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads what `twinvm --help`, `twinvm COMMAND --help` and `twinvmd --help` print.

A help text is "usage: ..." and blocks: paragraphs, which begin in the first column, and entries,
which are indented by two columns: a term, two or more blanks, its meaning, in lines that are
indented further.
"""
import re
import subprocess

OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]*|-[a-z](?![\w-]))")


class Help:
    """what one --help prints: usage (a line each), and blocks: ("text", [paragraph's lines]) or
    ("entries", [(term, meaning)])"""

    def __init__(self, text):
        self.usage, self.blocks = [], []
        lines = text.expandtabs().rstrip("\n").split("\n")
        while lines and re.match(r"usage: | {7}", lines[0]):
            self.usage.append(re.sub(r"^usage: ", "", lines.pop(0)).strip())
        for line in lines:
            self._add(line)
        self.blocks = [b for b in self.blocks if b[1]]

    def _add(self, line):
        if not line.strip():
            self.blocks.append(("text", []))
        elif not line.startswith("  "):
            self._block("text").append(line.strip())
        elif line[2] != " ":
            tight = re.fullmatch(r" {2}((?:-[\w-]+(?:, )?)+(?: [A-Z]+)?) (\S+(?: \S+)*)", line)
            term, meaning = tight.groups() if tight else \
                (re.split(r" {2,}", line[2:], maxsplit=1) + [""])[:2]
            self._block("entries").append((term, meaning.strip()))
        elif self.blocks and self.blocks[-1][0] == "entries" and self.blocks[-1][1]:
            term, meaning = self.blocks[-1][1][-1]
            self.blocks[-1][1][-1] = (term, (meaning + " " + line.strip()).strip())
        else:
            self._block("text").append(line.strip())

    def _block(self, kind):
        if not self.blocks or self.blocks[-1][0] != kind:
            self.blocks.append((kind, []))
        return self.blocks[-1][1]

    def entries(self):
        return [e for kind, block in self.blocks if kind == "entries" for e in block]

    def options(self):
        """the options that have an entry"""
        return {o for term, _ in self.entries() if term.startswith("-")
                for o in OPTION.findall(term)}


def ask(*command):
    p = subprocess.run([*command, "--help"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       check=True, text=True)
    return Help(p.stdout)


def commands(top):
    """name -> summary of twinvm's subcommands"""
    return {term: meaning for term, meaning in top.entries() if re.fullmatch(r"[a-z][a-z-]*", term)}
