"""The blocks of code on the pages: Python compiles and its names exist, settings load, commands have these options.

``tests/e2e/test_snippets.py`` runs them.
"""

import ast
import importlib
import json
import re

import click
import pytest

import dbsight
from dbsight.cli.main import main
from dbsight.pytest_plugin import QueryChecks
from documentation import PAGES, ROOT, blocks, commands, ids, parsed
from matrix.environments import tomllib


def read_by_click(words):
    """Let click read the arguments of a command of dbsight, as far as it does without files."""
    command, context = main, click.Context(main, info_name="dbsight")
    arguments = words[1:]
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        command = command.get_command(context, arguments[0])
        assert command is not None, f"no command {arguments[0]}"
        context = click.Context(command, parent=context, info_name=arguments.pop(0))
    command.make_parser(context).parse_args(list(arguments))


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CONTRIBUTING.md"], ids=ids)
def test_python_compiles_and_names_of_dbsight_exist(page):
    """``await`` may stand at the top level. CONTRIBUTING.md names modules that the reader adds: its own test does."""
    for block in blocks(page, "python"):
        tree = parsed(block)
        fixture = any(isinstance(node, ast.arg) and node.arg == "dbsight" for node in ast.walk(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "dbsight":
                module = importlib.import_module(node.module)
                assert [name.name for name in node.names if not hasattr(module, name.name)] == []
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "dbsight":
                assert hasattr(QueryChecks if fixture else dbsight, node.attr), node.attr


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_files_that_are_shown_can_be_read(page):
    """TOML and JSON; an ellipsis stands for what is left out."""
    for block in blocks(page, "toml"):
        tomllib.loads(block.text)
    for block in blocks(page, "json"):
        json.loads(block.text)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_that_are_shown_have_these_options(page):
    """Of dbsight; extras that pip is told of, and targets of make, exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    for words in (command.words for command in commands(page) if command.words):
        if words[0] == "dbsight":
            read_by_click(words)
        elif words[0] == "pip":
            assert set(re.findall(r"\w+", "".join(re.findall(r"dbsight\[(.*?)\]", " ".join(words))))) <= set(extras)
        elif words[0] == "make":
            assert {word for word in words[1:] if re.fullmatch("[a-z]+", word)} <= targets, words


def test_most_pages_show_something_that_is_checked():
    """The pattern still finds the blocks."""
    assert sum(len(commands(page)) for page in PAGES) > 100
    assert sum(len(blocks(page, "python")) for page in PAGES) > 100
