"""Identity of a finding: the same across processes and runs."""

from __future__ import annotations

from hashlib import blake2b


def identity(prefix: str, *parts: object) -> str:
    """``pw-7c1e9a40``: what the parts say, in eight digits.

    Args:
        prefix: Two letters of the rule.
        parts: Its name and what tells this fault from others; what changes from run to run does not belong here.
    """
    text = "\0".join(map(str, parts))
    return f"{prefix}-{blake2b(text.encode(errors='replace'), digest_size=4).hexdigest()}"
