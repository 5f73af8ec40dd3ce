"""What a fault of a demo is, beside its fixed twin, and what a report must say about it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[Any], Any]
    # Of a Session, of a Redis client, or of a request of Django.


@dataclass(frozen=True, slots=True)
class Expected:
    """One finding that a fault must lead to, each time it is requested.

    Attributes:
        rule: Name of the rule.
        function: Where the query is asked for, or the file of a template.
        code: What stands on that line; once in the function or template.
        count: How often the query runs; for a finding about totals, what is counted at each request.
        relationship: The ORM relationship or column behind it, the class alone where a whole object is read again,
            None where the application wrote the query.
        fix: The suggested code; empty where it is not compared.
        query_class: ``slow`` or ``very_slow`` under the limits of ``make demo``, on a machine that is neither busy nor
            twice as fast as others; None for a finding about a group.
    """

    rule: str
    function: Callable[..., Any] | Path
    code: str
    count: int = 1
    relationship: str | None = None
    fix: str = ""
    query_class: str | None = None

    @property
    def file(self) -> Path:
        """The file that the line stands in, absolute."""
        function = self.function
        return (function if isinstance(function, Path) else Path(inspect.getfile(function))).resolve()

    @property
    def line(self) -> int:
        """Line number, from 1.

        Raises:
            LookupError: The code is not on exactly one line of the function.
        """
        function = self.function
        if isinstance(function, Path):
            lines, first, name = function.read_text(encoding="utf-8").splitlines(), 1, function.name
        else:
            (lines, first), name = inspect.getsourcelines(function), function.__qualname__
        found = [first + offset for offset, line in enumerate(lines) if self.code in line]
        if len(found) != 1:
            raise LookupError(f"{self.code!r} is on {len(found)} lines of {name}")
        return found[0]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the shop beside its fixed twin, which answers the same.

    Attributes:
        name: A word or two, for tables and tests.
        path: Where it is requested.
        handler: What answers there.
        fixed: What answers at ``fixed_path``.
        statements: How many statements the handler sends; a batch is one.
        fixed_statements: The same of the fixed twin.
        expected: What the report must say.
        explanation: What is wrong and what the twin does instead, in one sentence.
        method: HTTP method of both.
    """

    name: str
    path: str
    handler: Handler
    fixed: Handler
    statements: int
    fixed_statements: int
    expected: tuple[Expected, ...]
    explanation: str
    method: str = "GET"

    @property
    def fixed_path(self) -> str:
        """Where the fixed twin is requested."""
        return f"{self.path}/fixed"
