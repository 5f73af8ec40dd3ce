"""A command of Redis, or a pipeline: its record, and the form that it has in common with others."""

from __future__ import annotations

from typing import Any

from dbsight.model import Statement
from dbsight.statement.identity import fingerprint


class Command(Statement):
    """A command, or a pipeline of commands.

    Attributes:
        effect: What it means for a cache: ``get``, ``mget``, ``exists``, ``set``, ``delete``, or empty.
        collection: Its reply is a collection whose length is worth knowing.
        template: Template of its first key, empty without one.
        keys: How many keys it names.
        parameters: Salted hash of its keys; of a read, of all its arguments.
        parts: The commands of a pipeline.
        alike: What all of them mean for a cache, where they name keys of one template; else empty.
        form: The same without keys: what it has in common with others. None of a form.
    """

    __slots__ = ("alike", "collection", "effect", "form", "keys", "parameters", "parts", "template")

    own_text = True

    def __init__(self, system: str, summary: str, identity: str, **traits: Any) -> None:
        super().__init__(system, "", summary, fingerprint(identity), **traits)
        self.effect = ""
        self.collection = False
        self.template = ""
        self.keys = 0
        self.parameters: int | None = None
        self.parts: tuple[Command, ...] = ()
        self.alike = ""
        self.form: Command | None = None

    def of(self, text: str, keys: int, literals: int, parameters: int | None) -> Command:
        """A command of this form."""
        made = Command.__new__(Command)  # a constructor, or a loop over the names, takes four times as long
        made.form = self
        made.text = text
        made.keys = keys
        made.literals = literals
        made.parameters = parameters
        made.system = self.system
        made.operation = self.operation
        made.summary = self.summary
        made.fingerprint = self.fingerprint
        made.kind = self.kind
        made.targets = self.targets
        made.written = self.written
        made.limit = None
        made.offset = False
        made.in_length = 0
        made.ping = self.ping
        made.setup = self.setup
        made.catalogue = False
        made.blocking = self.blocking
        made.truncated = False
        made.allowed = self.allowed
        made.prebuilt = self.prebuilt
        made.effect = self.effect
        made.collection = self.collection
        made.template = self.template
        made.parts = ()
        made.alike = self.alike
        return made
