"""Where a project uses dbsight in tests and builds, read from its configuration files, for the checklist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_FILES: Final = (
    "pyproject.toml",
    "pytest.ini",
    "setup.cfg",
    "tox.ini",
    "noxfile.py",
    "Makefile",
    "justfile",
    ".gitlab-ci.yml",
    "azure-pipelines.yml",
    ".circleci/config.yml",
    ".github/workflows/*.yml",
    ".github/workflows/*.yaml",
)
_LARGEST: Final = 200_000
_MOST: Final = 50
PATTERNS: Final = {
    "profiling": re.compile(r"--dbsight\b|\bdbsight run\b|dbsight_(?:watch|profile)"),
    "benchmarks": re.compile(r"\bdbsight (?:bench|load)\b|dbsight\.(?:benchmark|load_test)"),
    "regressions": re.compile(r"\bdbsight compare\b|dbsight-baseline|OTEL_DBSIGHT_(?:BASELINE|FAIL_ON)|\bfail_on\b"),
}
"""What shows each habit."""


def of_project(directory: Path) -> dict[str, str]:
    """The habits that configuration files show.

    Args:
        directory: Root of the project, where the command ran.

    Returns:
        The file that shows it, by habit: ``profiling``, ``benchmarks``, ``regressions``. Habits without one are absent.
    """
    found: dict[str, str] = {}
    files = [path for pattern in _FILES for path in sorted(directory.glob(pattern))[:_MOST]]
    for path in files:
        try:
            if path.stat().st_size > _LARGEST:
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:  # it is not ours to read
            continue
        for habit, pattern in PATTERNS.items():
            if habit not in found and pattern.search(text):
                found[habit] = str(path.relative_to(directory))
    return found
