"""The configuration file: which one it is, and what stands in it."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple


class File(NamedTuple):
    """A configuration file as read.

    Attributes:
        path: As it was named; empty when there is none.
        values: By setting name, as TOML gives them.
        complaint: What stopped it from being read, empty when nothing did.
    """

    path: str = ""
    values: dict[str, Any] = {}  # noqa: RUF012 - never written to
    complaint: str = ""


PYPROJECT = "pyproject.toml"
OWN = "dbsight.toml"


def find(named: str | None) -> File:
    """The file that was named, else ``./dbsight.toml``, else ``[tool.dbsight]`` in ``./pyproject.toml``. Never raises.

    A file that is there is not looked past: settings never come from two files.
    """
    if named:
        return _read(named, required=True)
    own = _read(OWN)
    return own if own.path else _read(PYPROJECT)


def _read(path: str, *, required: bool = False) -> File:
    try:
        # A directory, a pipe or a device never ends, or never begins.
        if not Path(path).is_file():
            return File(path, {}, f"{path} is not a file") if required else File()
        content = Path(path).read_bytes()
        shared = Path(path).name == PYPROJECT
        # Most applications have a pyproject.toml that says nothing to us: neither parsed nor judged.
        if shared and not required and not _may_hold_ours(content):
            return File()
        values = _parse(content)
    except (OSError, ValueError) as error:  # what is no TOML or no UTF-8 is a ValueError that names the place
        reason = error.strerror if isinstance(error, OSError) else error
        return File(path, {}, f"{path} cannot be read: {reason}")
    return _ours(path, values, required=required) if shared else File(path, values)


def _may_hold_ours(content: bytes) -> bool:
    """Whether there may be a table ``tool.dbsight``: our name alone also stands among the dependencies."""
    if b"dbsight" not in content:
        return False
    ours = rb"""(?m)^[ \t]*(?:\[[ \t]*){0,2}["']?tool["']?[ \t]*(?:[\]=]|\.[ \t]*["']?dbsight\b)"""
    return re.search(ours, content) is not None


def _parse(content: bytes) -> dict[str, Any]:
    # Late, because most processes have no file; in the standard library since 3.11.
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    values: dict[str, Any] = toml.loads(content.decode())
    return values


def _ours(path: str, values: dict[str, Any], *, required: bool) -> File:
    """Our table of a pyproject.toml."""
    tool = values.get("tool")
    ours = tool.get("dbsight") if isinstance(tool, dict) else None
    if ours is None:
        return File(path, {}, f"{path} has no [tool.dbsight]") if required else File()
    if not isinstance(ours, dict):
        return File(path, {}, f"tool.dbsight in {path} is not a table")
    return File(path, ours)
