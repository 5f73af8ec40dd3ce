"""The identity of a finding, stable across processes and runs."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b


@lru_cache(maxsize=1000, typed=True)
def identity(prefix: str, *parts: object) -> str:
    """Return an id such as ``pw-7c1e9a40``: a hash of the parts, eight hexadecimal digits.

    Args:
        prefix: Two letters of the rule.
        parts: The rule's name and what identifies the fault; nothing that changes from run to run.
    """
    text = "\0".join(map(str, parts))
    return f"{prefix}-{blake2b(text.encode(errors='replace'), digest_size=4).hexdigest()}"
