"""What goes wrong when a plan is asked for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class ExplainError(Exception):
    """The database gave no plan. The message quotes no value; the driver's own exception is ``__cause__``."""


class ExplainRefusedError(ExplainError):
    """The statement may not be explained as asked, because that could change data, block, or run something else."""


def describe(error: BaseException) -> str:
    """Name a driver's exception by its class and the database's code, without its message, which quotes values."""
    cause = getattr(error, "orig", None) or error
    codes = (getattr(cause, name, None) for name in ("sqlstate", "pgcode", "sqlite_errorname"))
    code = next((each for each in codes if isinstance(each, str)), None)
    first = cause.args[0] if cause.args else None
    if code is None and isinstance(first, int):
        code = str(first)
    return f"{type(cause).__name__}{f' ({code})' if code else ''}"


@contextmanager
def described() -> Iterator[None]:
    """Raise what a driver raises as an ExplainError, whose message quotes no value."""
    try:
        yield
    except ExplainError:
        raise
    except Exception as error:
        raise ExplainError(f"the database gave no plan: {describe(error)}") from error
