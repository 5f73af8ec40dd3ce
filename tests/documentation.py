"""The pages of documentation, and the snippets on them, for the tests of what they say."""

import ast
import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"(?ms)^( *)```([\w-]*)\n(.*?)^\1```$")
ASSIGNED = re.compile(r"[A-Z_]+=")
TYPED = ("dbsight", "make", "opentelemetry-instrument", "pip", "pytest")
"""Commands that are looked at in a block that names no language, which may be output as well."""
SHELL = ("sh", "console", "")


def ids(path):
    """A page's name."""
    return str(path.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        line: Of the page, at which its text begins.
        language: As its fence says it; may be empty.
        text: Without the indentation that it has in a list.
    """

    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """What a page says to type.

    Attributes:
        line: Of the page, at which its block begins.
        variables: Those in front, such as ``OTEL_DBSIGHT_REPORT``; of ``export``, too.
        words: Up to the first pipe, redirection or ``&``; empty for ``export``.
        text: The whole line, without a prompt and a comment.
    """

    line: int
    variables: dict[str, str]
    words: list[str]
    text: str


def blocks(page, *languages):
    """The blocks of a page in these languages."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, found.start(3)) + 1, found[2], textwrap.dedent(found[3]))
        for found in BLOCK.finditer(text)
        if found[2] in languages
    ]


def commands(page):
    """The commands of a page: lines of ``sh``, lines with a prompt in ``console``, what looks so elsewhere."""
    found = []
    for block in blocks(page, *SHELL):
        for line in block.text.replace("\\\n", " ").splitlines():
            prompted = line.startswith("$ ")
            try:
                words = shlex.split(line.removeprefix("$ "), comments=True)
            except ValueError:  # output with a quotation mark
                continue
            text = shlex.join(words)
            if exported := words[:1] == ["export"]:
                words.pop(0)
            variables = {}
            while words and ASSIGNED.match(words[0]):
                name, _, value = words.pop(0).partition("=")
                variables[name] = value
            ends = [n for n, word in enumerate(words) if word in ("|", "&", "&&", ">", ";", "2>", "<")]
            words = [] if exported else words[: ends[0]] if ends else words
            typed = prompted if block.language == "console" else block.language == "sh" or {*words[:1]} & {*TYPED}
            if typed and (words or variables):
                found.append(Command(block.line, variables, words, text))
    return found


def parsed(block):
    """The syntax tree of a block in Python; ``await`` may stand at its top level."""
    return compile(block.text, "snippet", "exec", flags=ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
