"""The findings of ``pytest --dbsight`` in suites of others that a person has looked at: ``findings.toml`` beside this.

One table per finding, as in ``applications/reviewed.py``, with ``test``: one that shows it. What is always
below warning is not listed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from peers.applications import reviewed
from peers.applications.reviewed import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE: Final = Path(__file__).parent / "findings.toml"


def differences(suite: str, found: Iterable[Mapping[str, Any]]) -> list[str]:
    """What was found and is not written down, or the other way round; one line each, and the table to fill in."""
    seen = [
        reviewed.Seen(_place(each), each["severity"], each["description"], {"test": each["tests"][0]}) for each in found
    ]
    return reviewed.compared(suite, seen, FILE, info=False)


def _place(found: Mapping[str, Any]) -> Place:
    file = found["file"].rpartition("site-packages/")[2]
    return Place(found["rule"], f"{file}:{found['function']}" if file else "", found["query"])
