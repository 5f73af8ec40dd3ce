"""The snippets of Python and the commands on the pages run, but for those that ``snippets/not_run.toml`` lists."""

import json
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from documentation import PAGES, ROOT, blocks, commands, ids
from e2e.runner import environment
from matrix.environments import tomllib

HERE = Path(__file__).parent / "snippets"
LISTED = tomllib.loads((HERE / "not_run.toml").read_text(encoding="utf-8"))


def snippets():
    """By page: line, text by which a pattern knows it, kind, and what the process is told."""
    for page in PAGES:
        if any(fnmatchcase(ids(page), pattern) for pattern in LISTED["pages"]):
            continue
        for block in blocks(page, "python"):
            told = {"line": block.line, "code": block.text}
            yield ids(page), block.text.partition("\n")[0], "python", told
        for command in commands(page):
            told = {"line": command.line, "variables": command.variables, "words": command.words}
            yield ids(page), command.text, "commands", told


SNIPPETS = list(snippets())


def listed(text, kind):
    """The patterns that know a snippet."""
    return [pattern for pattern in LISTED[kind] if fnmatchcase(text, pattern.replace("[", "[[]"))]


@pytest.fixture(scope="module")
def failed(redis_process):
    """What went wrong, by page: all of them run in forks of one process."""
    pages, seen = {}, set()
    for page, text, kind, told in SNIPPETS:
        if not listed(text, kind) and (kind == "python" or text not in seen):  # a program starts in a second or two
            pages.setdefault(page, []).append(told)
        seen.add(text)
    for page in pages.values():
        page.sort(key=lambda told: told["line"])
    done = subprocess.run(
        [sys.executable, "-m", "e2e.snippets.run", redis_process.database.url()],
        cwd=ROOT / "tests",
        env=environment(),
        input=json.dumps(pages),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(600)  # all pages, on a machine with other things to do
def test_every_snippet_runs(failed):
    """In a directory with a small shop; a command may answer that it found something."""
    wrong = [f"{page}:{each['line']}\n{each['why']}" for page, all_wrong in failed.items() for each in all_wrong]
    assert wrong == [], "\n\n".join(wrong)
    assert len(failed) > 15


def test_what_is_not_run_is_on_a_page_and_has_a_reason():
    """An entry whose snippet is gone goes, too."""
    for kind in ("python", "commands"):
        used = {pattern for _, text, of, _ in SNIPPETS if of == kind for pattern in listed(text, kind)}
        assert set(LISTED[kind]) - used == set()
    assert [pattern for pattern in LISTED["pages"] if not any(fnmatchcase(ids(page), pattern) for page in PAGES)] == []
    assert all(len(reason) > 20 for kind in LISTED.values() for reason in kind.values())
