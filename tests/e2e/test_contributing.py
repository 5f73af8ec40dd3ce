"""The pages for contributors, followed to the letter: the rule and the instrumentor of CONTRIBUTING.md work."""

import importlib
import os
import re
import shutil
import textwrap
from pathlib import Path

import pytest

from e2e import runner
from e2e.observed import finding_of, line_of
from matrix.environments import tomllib

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(r"(?ms)^( *)```(?:python|toml)\n(.*?)^ *```$")
PLACE = re.compile(r"# (\S+?)(?:, (above|below) `(.+)`)?")

TOYDB = '''
import time


class ToyError(Exception):
    """A query that cannot be run."""


class Connection:
    """Answers with as many rows as it is asked for."""

    def __init__(self, host, database):
        self.host = host
        self.database = database

    def execute(self, query, parameters=()):
        """The rows, after as long as a server takes."""
        time.sleep(0.002)
        if "missing" in query:
            raise ToyError(query)
        return [(number,) for number in range(*parameters)]
'''

PROGRAM = """
import toydb

connection = toydb.Connection("db.example", "shop")
print(len(connection.execute("SELECT * FROM orders WHERE id < 4711 LIMIT 3", (3,))))
print(len(connection.execute("SELECT * FROM customers", parameters=(40,))))  # big
try:
    connection.execute("SELECT * FROM missing")
except toydb.ToyError as error:
    print(error)
for number in range(6):
    connection.execute("SELECT name FROM books WHERE id = ?", (number, number + 1))
"""


def install(path, name, version, entry_points=""):
    """What an installer writes about a distribution beside its code."""
    directory = path / f"{name}-{version}.dist-info"
    directory.mkdir()
    (directory / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (directory / "entry_points.txt").write_text(entry_points)


def follow(page, root):
    """Write each block of a page to the file that it names, or into it, next to the line that it names."""
    written = []
    for block in BLOCK.finditer(page):
        first, _, text = textwrap.dedent(block[2]).partition("\n")
        if (named := PLACE.fullmatch(first)) is None:
            continue
        # Of a block that stands in a list, only the indentation of the list goes.
        text = "".join(line.removeprefix(block[1]) for line in block[2].splitlines(keepends=True)[1:])
        path, side, line = named.groups()
        file = root / path
        if line is None:
            assert not file.exists(), f"{path} exists already"
            file.write_text(text)
        else:
            lines = file.read_text().splitlines(keepends=True)
            assert lines.count(f"{line}\n") == 1, f"{path} does not have this line once: {line}"
            lines.insert(lines.index(f"{line}\n") + (side == "below"), text)
            file.write_text("".join(lines))
        written.append(path)
    return written


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the package with the rule and the instrumentor of the page, beside the library, both installed."""
    root = tmp_path_factory.mktemp("contribution")
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "docs", root / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    written = follow((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), root)
    assert written == [
        "src/dbsight/detect/rules/big_read.py",
        "src/dbsight/detect/rules/__init__.py",
        "src/dbsight/detect/rules/__init__.py",
        "src/dbsight/config/rule_settings.py",
        "src/dbsight/instrument/toydb.py",
        "src/dbsight/catalog.py",
        "pyproject.toml",
    ]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    groups = {**project["entry-points"], "console_scripts": project["scripts"]}
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in groups.items()
    )
    install(root / "src", "dbsight", importlib.import_module("dbsight").__version__, points)
    (root / "src" / "toydb.py").write_text(TOYDB)
    install(root / "src", "toydb", "1.0")
    return root


@pytest.fixture(scope="module")
def run(extended, observe):
    """An application of the library, under the extended package."""
    return observe(PROGRAM, env={"PYTHONPATH": str(extended / "src"), "OTEL_DBSIGHT_BIG_READ_THRESHOLD": "40"})


def test_the_queries_of_an_added_library_become_spans(run):
    """With text without values, rows, error and call site; the application sees no difference."""
    assert run.run.check().stdout == "3\n40\nSELECT * FROM missing\n"
    first, big, failed, *loop = run.queries()
    assert (
        first.attributes.items()
        >= {
            "db.system.name": "other_sql",
            "db.namespace": "shop",
            "server.address": "db.example",
            "db.query.summary": "SELECT orders",
            "db.query.text": "SELECT * FROM orders WHERE id < ? LIMIT ?",
            "db.response.returned_rows": 3,
        }.items()
    )
    assert (big.name, big.attributes["code.line.number"]) == ("SELECT customers", line_of(PROGRAM, "big"))
    assert (failed.attributes["error.type"], failed.status) == ("toydb.ToyError", "ERROR")
    assert [span.name for span in loop] == ["SELECT books"] * 6


def test_rules_judge_an_added_library_and_an_added_rule_reports(run):
    """The N+1 of the loop, and the result that is as large as the setting says."""
    root = run.span("dbsight.window")
    found = {event.attributes["dbsight.finding.rule"]: finding_of(event) for event in root.events}
    assert set(found) == {"n_plus_one", "big_read"}
    big = found["big_read"]
    assert big["dbsight.finding.title"] == "SELECT customers returns many rows"
    assert big["dbsight.finding.description"] == (
        f"SELECT customers returned 40 rows, at app.py:{line_of(PROGRAM, 'big')} in <module>."
    )


def test_what_was_added_passes_lint(extended):
    """The page shows code as it is wanted here."""
    pytest.importorskip("ruff", reason="make lint installs it")
    files = ["src/dbsight/detect/rules/big_read.py", "src/dbsight/instrument/toydb.py"]
    (extended / "ruff.toml").write_text(f"extend = '{ROOT / 'pyproject.toml'}'\n")
    for command in (["check", *files], ["format", "--check", *files]):
        runner.run_instrumented(["-m", "ruff", *command], cwd=extended, prefix=()).check()


def test_the_generated_pages_show_what_was_added(extended):
    """The rule with its code, and the setting with its variable."""
    env = {"PYTHONPATH": f"{extended / 'src'}{os.pathsep}{ROOT / 'tests'}"}
    runner.run_instrumented(["docs/generate.py"], cwd=extended, env=env, prefix=()).check()
    assert "## big_read" in (extended / "docs" / "rules.md").read_text(encoding="utf-8")
    assert "OTEL_DBSIGHT_BIG_READ_THRESHOLD" in (extended / "docs" / "configuration.md").read_text(encoding="utf-8")
