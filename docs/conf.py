"""Sphinx: how ``make docs`` builds the site from the pages of this directory."""
# ruff: noqa: INP001 - a program beside the pages, not a package

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pygments.lexers.special import TextLexer
from pygments.lexers.sql import PostgresLexer
from pygments.token import Name
from sphinx.util import logging

from dbsight import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
SOURCE = "https://github.com/dbsight/dbsight/blob/main/"
ELSEWHERE = {"collector": "collector/README.md", "examples": "examples/README.md"}
"""Pages of the site that are in other directories, beside what they are about."""

LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")

project = "dbsight"
author = "The dbsight authors"
copyright = author  # noqa: A001 - Sphinx's name
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
show_warning_types = True

myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_heading_anchors = 4

# Types of client libraries are named as the code names them; signatures stay one line per parameter.
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"dbsight {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "source_repository": "https://github.com/dbsight/dbsight/",
    "source_branch": "main",
    "source_directory": "docs/",
}
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True


class SqlWithParameters(PostgresLexer):
    """SQL, with the parameters ``$1`` of PostgreSQL and ``$start`` of dashboards."""

    tokens = {**PostgresLexer.tokens, "root": [(r"\$\w+", Name.Variable), *PostgresLexer.tokens["root"]]}  # noqa: RUF012 - as Pygments has it


def resolve_links(_app: Sphinx, docname: str, content: list[str]) -> None:
    """Lead links out of this directory to the file in the repository; a missing file is a warning.

    A page of ``ELSEWHERE`` gets the text of its file here, with links that hold from this directory.
    """
    directory = (HERE / docname).parent
    if docname in ELSEWHERE:
        page = HERE.parent / ELSEWHERE[docname]
        directory = page.parent
        content[0] = page.read_text(encoding="utf-8")

    def address(found: re.Match[str]) -> str:
        target = Path(posixpath.normpath(directory / found[1]))
        if not target.exists():
            logging.getLogger(__name__).warning("no such file: %s", found[1], location=docname, type="link")
        for name, elsewhere in ELSEWHERE.items():
            if target == HERE.parent / elsewhere and docname != name:
                target = HERE / f"{name}.md"
        if target.is_relative_to(HERE) and target.suffix in (".md", ".svg", ".png"):
            return posixpath.relpath(target, (HERE / docname).parent) + (found[2] or "")
        return SOURCE + target.relative_to(HERE.parent).as_posix() + (found[2] or "")

    content[0] = LINK.sub(address, content[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect what this site adds to Sphinx."""
    app.connect("source-read", resolve_links)
    for name, lexer in (("sql", SqlWithParameters), ("traceql", TextLexer), ("logql", TextLexer)):
        app.add_lexer(name, lexer)
    return {"parallel_read_safe": True}
