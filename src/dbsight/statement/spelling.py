"""What a query text is wrapped in before it is read: the ``repr`` of bytes, a byte-order mark, the mark of a cut."""

from __future__ import annotations

import re
from typing import Final

from dbsight.model.deferred import pattern

CUT_MARKS: Final = ("...", "\N{HORIZONTAL ELLIPSIS}")
"""What is put behind a text that was cut, by us and by other instrumentations."""

ELLIPSIS: Final = " \N{HORIZONTAL ELLIPSIS}"
"""What we put behind a text that we cut."""

_REPR_OF_BYTES: Final = pattern(r"b([\'\"])")
_BYTE: Final = pattern(r"\\(?:x[0-9a-f]{2}|[^x])|[^\\]", re.DOTALL)
_ESCAPE: Final = pattern(r"\\(?:x([0-9a-f]{2})|(.))", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t"}
_BYTE_ORDER_MARK: Final = "\N{ZERO WIDTH NO-BREAK SPACE}"


def unwrap(text: str) -> tuple[str, bool]:
    """Take off what does not belong to a query.

    Returns:
        The query, in characters that any exporter can encode, and whether its end is missing.
    """
    text = text.rstrip()
    cut = text.endswith(CUT_MARKS)
    if cut:
        text = text[: -1 if text[-1] != "." else -3].rstrip()
    if _REPR_OF_BYTES.match(text):
        # psycopg2 takes bytes, and OpenTelemetry's instrumentation of it exports them as ``str(b"SELECT 1")``.
        text, closed = _text_of_repr(text)
        cut = cut or not closed
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode().replace(_BYTE_ORDER_MARK, " ").lstrip()
    return text, cut


def _text_of_repr(text: str) -> tuple[str, bool]:
    """The text of which this is the ``repr`` of the bytes, and whether it was closed.

    Returns:
        The beginning of the text where the end is missing; what stands behind the end is left out.
    """
    quote = text[1]
    place = 2
    while (found := _BYTE.match(text, place)) is not None and found[0] != quote:
        place = found.end()
    content = text[2:place]
    if not content.isascii():
        return content, place < len(text)  # not the repr of bytes after all: read as it is
    if "\\" in content:
        content = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else _unescaped(found[2]), content)
        content = content.encode("latin-1").decode("utf-8", "replace")
    return content, place + 1 == len(text)


def _unescaped(char: str) -> str:
    return _ESCAPED.get(char, char)
