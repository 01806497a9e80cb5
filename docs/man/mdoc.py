# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes mdoc(7): from help texts (helptext.py), and from the Markdown that docs/ is written in."""
import re
import textwrap

CODE, PLAIN, EMPHASIS = r"\fB", r"\fR", r"\fI"


def ascii_only(text):
    return re.sub(r"[^\x00-\x7f]", lambda m: r"\[u%04X]" % ord(m[0]), text)


def escape(text):
    return ascii_only(text.replace("\\", r"\e").replace("-", r"\-"))


def inline(text):
    """one paragraph of Markdown, or of a help text, as mdoc's text"""
    def piece(m):
        if m["code"]:
            return CODE + escape(m["code"]) + PLAIN
        if m["words"]:
            return inline(m["words"])
        return EMPHASIS + inline(m["emphasis"]) + PLAIN
    out, at = "", 0
    for m in re.finditer(r"`(?P<code>[^`]+)`|\[(?P<words>[^\]]+)\]\([^)\s]+\)"
                         r"|(?<![\w*])\*\*?(?P<emphasis>[^*\s][^*]*)\*\*?(?![\w*])", text):
        out += escape_text(text[at:m.start()]) + piece(m)
        at = m.end()
    return out + escape_text(text[at:])


def escape_text(text):
    """words: a hyphen inside of one stays a hyphen, an option's are minus signs"""
    text = ascii_only(text.replace("\\", r"\e"))
    return re.sub(r"(?<!\w)-+(?=\w)", lambda m: r"\-" * len(m[0]), text)


def paragraph(text):
    """one sentence a line, none longer than 78 columns"""
    out = []
    for sentence in re.split(r"(?<=[.!?])\s+(?=[^a-z\s])|(?<=[.!?]\))\s+(?=[A-Z])", text.strip()):
        for line in textwrap.wrap(inline(sentence), 78, break_long_words=False,
                                  break_on_hyphens=False):
            out.append(r"\&" + line if line[0] in ".'" else line)
    return out


def macro(name, *words):
    """a request line, its words as they are: none is taken for a macro or a delimiter"""
    def word(w):
        w = escape(w)
        if re.fullmatch(r"[A-Za-z%][A-Za-z]{1,2}|[.,:;()\[\]|?!]", w):
            w = r"\&" + w
        return '"%s"' % w.replace('"', r"\(dq") if " " in w or '"' in w else w
    return " ".join([name, *map(word, words)])


def term(text):
    """the head of an entry: options, and what they take"""
    out = []
    for w in re.findall(r",|[^\s,]+", text):
        flag = re.fullmatch(r"-(-?[\w-]+)", w)
        if w == ",":
            out.append(",")
        elif flag:
            out.append("Fl " + escape(flag[1]))
        elif re.fullmatch(r"[A-Z]+", w):
            out.append("Ar " + w)
        else:
            out.append("No " + macro("", w).strip())
    return ".It " + " ".join(out)


def help_blocks(blocks):
    out = []
    for kind, block in blocks:
        if kind == "text":
            out += ([".Pp"] if out else []) + paragraph(" ".join(block))
            continue
        out.append(".Bl -tag -width Ds")
        for head, meaning in block:
            out += [term(head)] + paragraph(meaning)
        out.append(".El")
    return out


# ---- Markdown ----

def cells(row):
    row = row.strip().strip("|")
    return [c.strip().replace(r"\|", "|") for c in re.split(r"(?<!\\)\|", row)]


def key_table(rows):
    """| key | default | meaning |: a list"""
    out = [".Bl -tag -width Ds"]
    for key, default, meaning in (cells(r) for r in rows[2:]):
        out += [macro(".It", *key.replace("`", "").split())]
        out += paragraph("Default: %s." % default) + [".br"] + paragraph(meaning)
    return out + [".El"]


def table(rows):
    """any other: tbl(1) makes it, with text blocks, as wide as the page"""
    head, body = cells(rows[0]), [cells(r) for r in rows[2:]]
    columns = list(zip(*[head, *body]))
    longest = [max(len(w) for c in column for w in c.split() or [""]) for column in columns]
    last = " ".join("lx" if i == len(head) - 1 else "lw(%dn)" % max(24, longest[i])
                    if max(map(len, column)) > 24 else "l" for i, column in enumerate(columns))
    out = [".TS", " ".join("lb" for _ in head), last + "."]
    for row in [head, *body]:
        line = []
        for c in row:
            text = "\n".join(paragraph(c))
            line.append("T{\n%s\nT}" % text if text else "")
        out += "\t".join(line).split("\n")
    return out + [".TE"]


def code(lines):
    # A line that begins with a dot, or an apostrophe, is no request.
    return [".Bd -literal -offset indent"] + \
        [re.sub(r"^([.'])", r"\\&\1", escape(line)) for line in lines] + [".Ed"]


class Markdown:
    """a document of docs/, its # headings left out, as lines of mdoc"""

    def __init__(self, text, skip=()):
        self.out, self.skip = [], skip
        text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.S)
        self.blocks = self._split(text.split("\n"))
        for kind, lines in self.blocks:
            getattr(self, "_" + kind)(lines)

    @staticmethod
    def _split(lines):
        """(kind, lines): head, rows, fence, items, code, words"""
        blocks, kind = [], None
        for line in lines:
            was = kind
            if was == "fence" and not line.startswith("```"):
                blocks[-1][1].append(line)
                continue
            if line.startswith("```"):
                kind = None if was == "fence" else "fence"
                if kind:
                    blocks.append((kind, []))
                continue
            if not line.strip():
                if was in ("code", "items"):
                    blocks[-1][1].append(line)
                else:
                    kind = None
                continue
            kind = "head" if re.match(r"#+ ", line) else \
                "rows" if line.startswith("|") else \
                "code" if line.startswith("    ") and was != "items" else \
                "items" if re.match(r"(- |\d+\. )", line) or was == "items" and line[0] == " " \
                else "words"
            if kind != was or kind == "head":
                blocks.append((kind, []))
            blocks[-1][1].append(line)
        return blocks

    def _space(self):
        if self.out and not re.match(r"\.(Sh|Ss|Pp|It)", self.out[-1]):
            self.out.append(".Pp")

    def _head(self, lines):
        level, name = re.match(r"(#+) (.*)", lines[0]).groups()
        if len(level) > 1:
            name = name.replace("`", "")
            if len(level) == 2:
                name = name.upper()
            self.out.append(macro(".Sh" if len(level) == 2 else ".Ss", *name.split()))

    def _rows(self, lines):
        keys = cells(lines[0]) == ["key", "default", "meaning"]
        if not keys:
            self._space()
        self.out += key_table(lines) if keys else table(lines)

    def _fence(self, lines):
        self.out += code(lines)

    def _code(self, lines):
        while not lines[-1].strip():
            lines.pop()
        self.out += code([line[4:] for line in lines])

    def _items(self, lines):
        self.out.append(".Bl -%s" % ("enum" if lines[0][0].isdigit() else "bullet"))
        for item in re.split(r"\n(?=- |\d+\. )", "\n".join(lines).rstrip()):
            words = re.sub(r"^(- |\d+\. )", "", item)
            parts = re.split(r"\n\n((?: {6,}.*(?:\n|$))+)", words)
            self.out.append(".It")
            for i, part in enumerate(parts):
                self.out += code(textwrap.dedent(part).rstrip().split("\n")) if i % 2 else \
                    paragraph(" ".join(part.split())) if part.strip() else []
        self.out.append(".El")

    def _words(self, lines):
        self._space()
        self.out += paragraph(" ".join(lines))
