"""The report as one HTML file without any request to the network.

Needs Jinja2: ``pip install 'dbsight[html]'``. All text is escaped, and the page's content security policy allows only
its own style sheet and script, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from dbsight.report.files import replace_file
from dbsight.report.html.view import page

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from dbsight.model import Snapshot
    from dbsight.report.html.comparison import Difference

DEFAULT_FILE: Final = "dbsight-report.html"


def render(snapshot: Snapshot, difference: Difference | None = None, *, live: bool = False) -> str:
    """Return the report as an HTML document.

    Args:
        snapshot: The data of the report.
        difference: Comparison with an earlier run, shown first.
        live: Whether the page reloads itself, as it does where it is served by a running process.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    style, script = _asset("report.css"), _asset("report.js")
    policy = {
        "default-src": "'none'",
        "style-src": _hash(style),
        "script-src": _hash(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return str(
        _template().render(
            style=style,
            script=script,
            policy="; ".join(f"{name} {value}" for name, value in policy.items()),
            **page(snapshot, difference, live=live),
        )
    )


def write(
    snapshot: Snapshot, path: str | os.PathLike[str] = DEFAULT_FILE, difference: Difference | None = None
) -> Path:
    """Write the report to a file, which is replaced atomically, or left unchanged.

    Raises:
        ImportError: Jinja2 is not installed.
        OSError: The directory does not exist, is not writable, or is full.
    """
    return replace_file(path, lambda file: file.write(render(snapshot, difference)))


@cache
def _template() -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_asset), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    return environment.get_template("report.html.j2")


@cache
def _asset(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """A source of a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
