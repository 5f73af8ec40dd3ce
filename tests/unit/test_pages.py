"""The pages of documentation that are written by hand: what they name exists."""

import ast
import inspect
import re

import pytest

import dbsight
from dbsight import semconv
from dbsight.cli.checks import CHECKS
from dbsight.cli.main import main
from dbsight.config import SETTINGS
from documentation import PAGES, ROOT, ids
from test_architecture import LAYERS, OUTSIDE, SRC
from test_architecture import ROOT as FACE


def anchor(title):
    """What a heading is called in a link, as GitHub does it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def headings(path):
    """The anchors of a page."""
    return {anchor(title) for title in re.findall(r"(?m)^#+ (.+)$", path.read_text(encoding="utf-8"))}


def test_links_of_the_readme_are_absolute_and_lead_to_files_that_exist():
    """It is the page of the package registry, too."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", page)
    assert [link for link in links if not link.startswith("https://")] == []
    named = [link.partition("/dbsight/dbsight/") for link in links if "/dbsight/dbsight/" in link]
    assert {host for host, _, _ in named} == {"https://github.com", "https://raw.githubusercontent.com"}
    missing = []
    for _, _, path in named:
        name, _, heading = path.removeprefix("blob/").removeprefix("main/").partition("#")
        if not (ROOT / name).exists() or (heading and heading not in headings(ROOT / name)):
            missing.append(path)
    assert len(named) > 10
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_link_leads_somewhere(page):
    """Files beside the page, and headings in them."""
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8"))
    missing = []
    for link in links:
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (heading and heading not in headings(target)):
            missing.append(link)
    assert missing == []


def test_every_page_has_one_place_in_the_navigation():
    """``make docs`` fails otherwise: add the page to a ``toctree`` of docs/index.md."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    entries = [line for tree in re.findall(r"(?ms)^```{toctree}\n(.*?)^```$", index) for line in tree.splitlines()]
    placed = sorted(f"{entry}.md" for entry in entries if entry and not entry.startswith(":"))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert placed == sorted(pages - {"index.md"})


def test_every_public_name_has_one_place_on_the_page_about_the_api():
    """Its text is the docstring, which the site fetches."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    named = re.findall(r"(?m)^\.\. auto\w+:: dbsight\.(\w+)(?:\(\))?$", page)
    assert sorted(named) == sorted(set(dbsight.__all__) - {"__version__"})


def test_every_public_function_describes_its_arguments():
    """Each that takes some has a list of them, with shape, unit and default, and names each in it."""
    for name in dbsight.__all__:
        function = getattr(dbsight, name)
        if inspect.isfunction(function):
            _, _, listed = inspect.getdoc(function).partition("Args:\n")
            described = set(re.findall(r"(?m)^    \*{0,2}(\w+): ", listed.partition("\n\n")[0]))
            assert set(inspect.signature(function).parameters) == described, name


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_variable_is_a_setting(page):
    """``OTEL_DBSIGHT_`` and what follows."""
    named = set(re.findall(r"OTEL_DBSIGHT_([A-Z_]*[A-Z])\b", page.read_text(encoding="utf-8")))
    assert {name.lower() for name in named} - set(SETTINGS) == set()


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_file_of_tests_that_is_named_exists(page):
    """By its path from the root of the project."""
    named = set(re.findall(r"`(tests/[\w/]+\.py)", page.read_text(encoding="utf-8")))
    assert {file for file in named if not (ROOT / file).exists()} == set()


def test_every_test_that_is_called_to_witness_exists():
    """The page about privacy names them by file and function."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8"))
    assert len(named) > 15
    for file in sorted({file for file, _ in named}):
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert {test for each, test in named if each == file} - there == set()


def test_the_rooms_of_the_architecture_are_those_that_exist():
    """Each in its line of the import law."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| *(\d*|–) *\| (`[^|]+`) \|", page)
    lines, line = {}, ""
    for number, rooms in rows:
        line = number or line
        lines.setdefault(line, set()).update(room.partition("/")[0] for room in re.findall(r"`([^`]+)`", rooms))
    rooms = {path.stem for path in SRC.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()} - FACE
    assert lines.pop("–") == OUTSIDE
    assert lines == {str(number): set(layer) & rooms for number, layer in enumerate(LAYERS, 1)}
    assert set().union(*lines.values()) | OUTSIDE == rooms


def test_every_metric_is_on_its_page():
    """The page is made from the instruments that the code creates: none is left out there."""
    rows = re.findall(r"(?m)^\| `([\w.]+)` \| [\w -]+ \| `", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"))
    assert sorted(rows) == sorted(semconv.METRIC_ATTRIBUTES)


def test_troubleshooting_names_checks_and_commands_that_exist():
    """Every symptom has lines of the doctor that tell, and a section of its own."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    checks = {check.name for check in CHECKS}
    symptoms = re.findall(r"(?m)^\| [^|]+ \| (`[^|]+) \| \[[^]]+\]\(#([\w-]+)\) \|$", page)
    assert [section for _, section in symptoms] == [anchor(title) for title in re.findall(r"(?m)^## (.+)$", page)]
    assert {name for names, _ in symptoms for name in re.findall(r"`([^`]+)`", names)} <= checks
    links = re.findall(r"\[`([^]]+)`\]\(doctor\.md#([\w-]+)\)", page)
    assert {name for name, _ in links} <= checks
    assert all(name == target for name, target in links)
    assert set(re.findall(r"(?m)(?:^|`)dbsight ([a-z]+)", page)) == {"doctor", "config", "report"} <= set(main.commands)


def test_capabilities_and_the_tests_that_show_them_are_the_same():
    """The page names every test of that directory and none that does not exist; so does the table of the guides."""
    directory = ROOT / "tests" / "capabilities"
    found = {
        f"{path.name}::{each.name}"
        for path in directory.glob("test_*.py")
        for each in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
    }
    page = (ROOT / "docs" / "capabilities.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+\.py::test_\w+)`", page))
    assert sorted(found - named) == [], "add a line to docs/capabilities.md for each"
    assert sorted(named - found) == []
    table = set(re.findall(r"\| `(test_\w+)` \|", (directory / "README.md").read_text(encoding="utf-8")))
    assert table == {name.partition("::")[2] for name in found if name.startswith("test_guide_to_")}
