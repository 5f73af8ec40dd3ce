"""Attributes of spans, shared by those of one statement on one database."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class SharedAttributes(dict[str, Any]):
    """Attributes that the spans of all alike operations share; never changed once made.

    Args:
        attributes: They.
        texts: Names of attributes that are missing here, because of each operation they are the text of its own.

    Attributes:
        encoded: The beginning and the common part of a span with them in encoded form, owned by an exporter.
        texts: As given.
    """

    __slots__ = ("encoded", "texts")

    encoded: tuple[bytes, bytes] | None

    def __init__(self, attributes: Mapping[str, Any], texts: tuple[str, ...] = ()) -> None:
        super().__init__(attributes)
        self.encoded = None
        self.texts = texts


class TextAttributes(MutableMapping[str, Any]):
    """The same of one operation, with its own text.

    dbsight does not change them; a processor of the application may, which only affects this operation.

    Args:
        shared: What it shares with others.
        text: Value of all its ``texts``.

    Attributes:
        shared: As given.
        text: As given.
        changed: A copy of all attributes once one was changed; None before.
    """

    __slots__ = ("changed", "shared", "text")

    def __init__(self, shared: SharedAttributes, text: str) -> None:
        self.shared = shared
        self.text = text
        self.changed: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        if self.changed is not None:
            return self.changed[name]
        return self.text if name in self.shared.texts else self.shared[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.changed = {**self, name: value}

    def __delitem__(self, name: str) -> None:
        self.changed = {known: value for known, value in self.items() if known != name}

    def __iter__(self) -> Iterator[str]:
        if self.changed is not None:
            return iter(self.changed)
        return iter((*self.shared, *self.shared.texts))

    def __len__(self) -> int:
        if self.changed is not None:
            return len(self.changed)
        return len(self.shared) + len(self.shared.texts)

    def copy(self) -> dict[str, Any]:
        """A dictionary, as the SDK's own attributes give."""
        return dict(self)

    def __repr__(self) -> str:
        return repr(dict(self))
