"""What names a statement: its fingerprint, and how long its summary may be."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

SUMMARY_LIMIT: Final = 255
"""Characters; the limit that the semantic conventions set for ``db.query.summary``."""


def fingerprint(identity: str) -> str:
    """16 hexadecimal digits of what makes a query the query that it is."""
    return blake2b(identity.encode(), digest_size=8).hexdigest()
