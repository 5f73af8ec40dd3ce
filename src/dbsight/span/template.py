"""What the spans of one statement on one database have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbsight.model import SharedAttributes
from dbsight.span.attributes import base_attributes, changing_attributes, text_names

if TYPE_CHECKING:
    from dbsight.model import Database, Operation, Statement
    from dbsight.span.attributes import Attributes

_SHARED_PER_STATEMENT = 64
_DATABASES_PER_STATEMENT = 64


class SpanTemplate:
    """What every span of one statement on one database has in common.

    Attributes:
        name: Name of the span.
        attributes: Known before the call, but for a text that is the statement's own.
        texts: Names of attributes that hold such a text.
        depth: How deep in the stack its latest call site was; for ``callsite.find_near``.
        moves: How often that changed; for the same.
    """

    __slots__ = ("_shared", "attributes", "depth", "moves", "name", "texts")

    def __init__(self, name: str, attributes: Attributes, texts: tuple[str, ...] = ()) -> None:
        self.name = name
        self.attributes = attributes
        self.texts = texts
        # Complete attributes of ordinary operations, one dictionary for all that are alike; never changed.
        self._shared: dict[Any, SharedAttributes] = {}
        self.depth = self.moves = 0

    def known(self, statement: Statement) -> Attributes:
        """What is known of the statement before the call: the sampler sees it."""
        if not self.texts or not statement.text:
            return self.attributes
        return {**self.attributes, **dict.fromkeys(self.texts, statement.text)}

    def shared(self, operation: Operation) -> SharedAttributes:
        """The complete attributes of an ordinary operation, but for a text of its own."""
        key = (
            operation.call_site,
            operation.rows,
            operation.affected,
            operation.relationship,
            operation.load,
            operation.batch_size,
        )
        attributes = self._shared.get(key)
        if attributes is None:
            changing = changing_attributes(operation, None)
            attributes = SharedAttributes({**self.attributes, **changing}, self.texts)
            if len(self._shared) < _SHARED_PER_STATEMENT:
                self._shared[key] = attributes
        return attributes


def template_of(statement: Statement, database: Database) -> SpanTemplate:
    """The template of this statement's spans on this database, made once."""
    template: SpanTemplate | None = statement.prebuilt.get(database)
    if template is None:
        if len(statement.prebuilt) >= _DATABASES_PER_STATEMENT:
            statement.prebuilt.clear()
        template = statement.prebuilt[database] = SpanTemplate(
            statement.summary or database.system,
            base_attributes(statement, database),
            text_names() if statement.own_text else (),
        )
    return template
