"""What is to be explained: text and parameters as the driver takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_PYFORMAT: Final = re.compile(r"%\(\w+\)s")


def is_queryset(value: Any) -> bool:
    """Whether it is a queryset of Django's."""
    return hasattr(value, "query") and hasattr(value, "db") and hasattr(value.query, "get_compiler")


def of_queryset(queryset: Any) -> tuple[str, Any]:
    """Text and parameters of a queryset.

    Raises:
        django.core.exceptions.EmptyResultSet: Django sends no query for it, as for ``filter(pk__in=[])``.
    """
    text, parameters = queryset.query.get_compiler(using=queryset.db).as_sql()
    return text, tuple(parameters) or None


def of_sqlalchemy(statement: Any, parameters: Any, dialect: Any) -> tuple[str, Any]:
    """Text and parameters of a statement for a dialect.

    Args:
        statement: A SQLAlchemy construct, or text. Text with a mapping of parameters names them ``:name``, unless it
            names them ``%(name)s``; with any other parameters, or none, the driver gets it as it is.
        parameters: Values, or None.
        dialect: The engine's.
    """
    if isinstance(statement, str):
        if not isinstance(parameters, Mapping) or _PYFORMAT.search(statement):
            return statement, tuple(parameters) if isinstance(parameters, list) else parameters
        from sqlalchemy import text

        statement = text(statement)
    if hasattr(statement, "statement") and not hasattr(statement, "compile"):
        statement = statement.statement  # a Query of the ORM
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    values = compiled.construct_params(dict(parameters) if parameters else None)
    processors = getattr(compiled, "_bind_processors", {})
    ready = {name: processors[name](value) if name in processors else value for name, value in values.items()}
    if compiled.positional:
        return str(compiled), tuple(ready[name] for name in compiled.positiontup)
    return str(compiled), ready
