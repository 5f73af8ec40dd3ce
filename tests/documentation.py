"""The pages of documentation, for the tests of what they say."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def ids(path):
    """A page's name."""
    return str(path.relative_to(ROOT))
