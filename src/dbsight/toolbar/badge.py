"""The badge: which responses may get one, how it looks, and where it is put.

A page is changed only where nothing can break: a whole, uncompressed HTML document that ends with its body.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_BODY: Final = 4_000_000
"""Bytes of a page that gets a badge at most: it is kept in memory until it is whole."""

_HTML: Final = ("text/html", "application/xhtml+xml")
_UNTOUCHABLE: Final = frozenset(
    {
        "content-encoding",
        "content-range",
        "content-md5",
        "digest",
        "content-digest",
        "repr-digest",
        "signature",
        "trailer",
    }
)
"""Headers that describe the bytes of the body."""

_END: Final = re.compile(rb"</body\s*>\s*(?:</html\s*>\s*)?(?:<!--(?:(?!-->).)*-->\s*)*\Z", re.IGNORECASE | re.DOTALL)
"""The end of a document. What looks like one in a script or a comment is followed by something else."""
_TAIL: Final = 4096
"""Bytes in which the end is looked for."""
_POLICY: Final = re.compile(rb"http-equiv\s*=\s*[\"']?content-security-policy", re.IGNORECASE)
_HEAD: Final = 16_384

_STYLE: Final = (
    "<style>#dbsight-badge{all:initial;position:fixed;right:8px;bottom:8px;z-index:2147483647;padding:3px 9px;"
    "border-radius:6px;background:#1d2733;color:#fff;font:12px/1.5 system-ui,sans-serif;opacity:.9}"
    "a#dbsight-badge{cursor:pointer}a#dbsight-badge:hover,a#dbsight-badge:focus{opacity:1;text-decoration:underline}"
    "@media print{#dbsight-badge{display:none}}</style>"
)


def fits(method: str, status: int, headers: Iterable[tuple[str, str]]) -> bool:
    """Whether a response with these headers may get a badge.

    Args:
        method: Of the request.
        status: Of the response.
        headers: Of the response, in any case.
    """
    if method.upper() == "HEAD" or status < 200 or status in {204, 205, 206, 304}:
        return False
    known: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        known[lower] = f"{known[lower]},{value}" if lower in known else value
    if not _UNTOUCHABLE.isdisjoint(known) or "no-transform" in known.get("cache-control", "").lower():
        return False
    kind, *parameters = known.get("content-type", "").lower().split(";")
    if kind.strip() not in _HTML or any("utf-16" in each or "utf-32" in each for each in parameters):
        return False
    length = known.get("content-length", "0")
    return (
        length.isdecimal()
        and int(length[:12]) <= MAX_BODY
        and not known.get("content-disposition", "").lower().strip().startswith("attachment")
    )


def insert(body: bytes, make: Callable[[], str]) -> bytes:
    """A document with something before the end of its body; as it is where no such end is found.

    Args:
        body: The whole document.
        make: Gives what is put in, in ASCII.
    """
    start = max(0, len(body) - _TAIL)
    end = _END.search(body, start)
    return body if end is None else b"".join((body[: end.start()], make().encode("ascii"), body[end.start() :]))


def badge(text: str, link: str | None, body: bytes, headers: Iterable[tuple[str, str]]) -> str:
    """The badge as HTML.

    Args:
        text: What it says.
        link: Where it leads to, None for nowhere.
        body: The page.
        headers: Of the response. With a content security policy the badge is a plain line at the end of the page: the
            policy could block its style, and would have that reported.
    """
    plain = any(name.lower().startswith("content-security-policy") for name, _ in headers) or _POLICY.search(
        body, 0, _HEAD
    )
    text = html.escape(f"dbsight: {text}")
    if link is None:
        made = f'<span id="dbsight-badge">{text}</span>'
    else:
        made = f'<a id="dbsight-badge" href="{html.escape(link)}" target="_blank" rel="noopener noreferrer">{text}</a>'
    return f"<small>{made}</small>" if plain else f"{_STYLE}{made}"
