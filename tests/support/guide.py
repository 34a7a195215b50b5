# SPDX-License-Identifier: MIT
"""The blocks of the guides: what stands between fences, or is indented, in each Markdown file of the repository, and which test runs it.

A block that needs a Kafka, Docker, systemd or another long set-up says in a comment before it which test runs it:

    <!-- tested: tests/e2e/test_move.py::test_one_who_outgrows_a_machine_loses_nothing -->

What is not said there is run by tests/e2e/test_guides.py, or is a configuration, which tests/e2e/test_readme.py gives to `aqueduct check`."""
import pathlib
import re
import shlex
import subprocess
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = re.compile(r"(?:[A-Z][A-Z_]*=\S+ )*(?:aqueduct|apt|build/\S+|cmake|ctest|curl|cp|chmod|docker|export|kafka-\S+|man|mkdir|mvn|openssl|pip|python3|source <\S+|sqlite3|"
                      r"systemctl|tests/\S+|websocat|while|\./\S+|\.ci/\S+|AQUEDUCT_\S+) ")


@dataclass(frozen=True)
class Block:
    guide: str      # relative to the repository
    line: int       # of its first line, fence included
    kind: str       # what stands behind the fence; "sh" also of indented commands, "" of what has none
    text: str
    tested: tuple   # FILE or FILE::TEST of the comments before it

    @property
    def place(self):
        return f"{self.guide}:{self.line}"

    def commands(self):
        """What is typed: lines without comments, with those that a backslash or a loop goes on in."""
        lines, whole = re.sub(r"\\\n\s*", "", self.text).splitlines(), ""
        for line in lines:
            whole += line + "\n"
            if re.match(r"(while|for) ", whole) and line != "done":
                continue
            if plain := re.sub(r"(^|\s)# .*", "", whole.removeprefix("$ ")).strip() if not whole.startswith("while") else whole.strip():
                yield plain
            whole = ""


def blocks(guide):
    """Those of one Markdown file, in its order."""
    found, lines, at, tested = [], (ROOT / guide).read_text().splitlines(), 0, ()
    while at < len(lines):
        begin, line = at, lines[at]
        fence, step = re.match(r"( *)```(.*)", line), re.match(r" {4,}\S", line)
        if mark := re.fullmatch(r"\s*<!-- tested: (\S+) -->", line):
            tested += (mark[1],)
        elif fence:
            at = lines.index(fence[1] + "```", at + 1)
            found.append(Block(guide, begin + 1, fence[2], "\n".join(lines[begin + 1:at]) + "\n", tested))
        elif step and not lines[at - 1].strip():
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            text = re.sub(r"^ {4,7}(?=\S)|^ {4}", "", "\n".join(lines[begin:at]).rstrip() + "\n", flags=re.M)
            found.append(Block(guide, begin + 1, "sh" if PROGRAMS.match(text) else "", text, tested))
            at -= 1
        if line.strip() and not line.lstrip().startswith("<!--"):
            tested = ()
        at += 1
    return found


def guides():
    """Every Markdown file that git knows."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def words(command):
    """What of a command must stand in the test that runs it: its flags, and the subcommand before them."""
    for part in re.split(r"&&|\||;", command):
        said = shlex.split(part, comments=True)
        said = said[1:] if said and not said[0].startswith(".") else said
        flags = [word.split("=")[0] for word in said if re.match(r"--?\w", word) and word != "-c"]
        first = next((i for i, word in enumerate(said) if word.startswith("-")), 2)
        yield from flags + [word for word in said[:min(first, 2)] if re.fullmatch(r"(\./)?[a-z][a-z-]+", word)]


def lacks(block):
    """What the tests that a block names do not have of it: "" when they are there, and take the block from its guide or hold its commands."""
    sources = []
    for named in block.tested:
        name, _, test = named.partition("::")
        if not (ROOT / name).is_file():
            return f"there is no {name}"
        sources.append((ROOT / name).read_text())
        if test and not re.search(rf"^def {test}\(", sources[-1], re.M):
            return f"{name} has no {test}"
    if any(f'"{block.guide}"' in source for source in sources):
        return ""
    if block.kind != "sh":
        return f"{block.tested} do not take it from {block.guide}"
    for command in block.commands():
        for word in words(command):
            if not any(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", source) for source in sources):
                return f"{block.tested} do not hold {word!r} of: {command}"
    return ""
