"""What a finding suggests, run as it is printed: what follows ``#`` is prose, ``…`` is the application's own."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any


def applied(suggestion: str, body: str = "pass", **names: Any) -> Any:
    """Run it.

    Args:
        suggestion: An expression, or statements; the head of a block is given ``body``.
        body: What the application does there.
        names: What the names in it mean.

    Returns:
        The value of an expression, of an iterator what it gives; of statements the names that they leave. Where
        something is awaited, a coroutine that gives the same.
    """
    lines = [line.partition("  #")[0].replace("…", body) for line in suggestion.splitlines()]
    if lines[-1].endswith(":"):
        lines.append(textwrap.indent(body, "    "))
    code = "\n".join(lines)
    try:
        value = eval(_compiled(code, "eval"), names)
    except SyntaxError:
        value = eval(_compiled(code, "exec"), names)
        if inspect.iscoroutine(value):
            return _left(value, names)
        return names
    return list(value) if isinstance(value, Iterator) else value


def _compiled(code: str, mode: str) -> Any:
    return compile(code, "<suggestion>", mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


async def _left(running: Any, names: dict[str, Any]) -> dict[str, Any]:
    await running
    return names
