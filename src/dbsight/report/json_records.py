"""Records of the model as plain values for a saved run, and back."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dbsight import config
from dbsight.model import (
    Borrowing,
    CallSite,
    Database,
    Holder,
    Leak,
    PlanSummary,
    PoolSample,
    PoolSnapshot,
    PoolState,
    PoolTotals,
    Statement,
    Step,
    WindowExample,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Record = TypeVar("Record")

MAX_TEXT: Final = 4000
"""Maximum characters of a statement's text and of a plan's tree."""

MAX_USES: Final = 500
"""The latest requests for connections of one pool."""


def plain(value: Any) -> Any:
    """Return a record as dicts, lists and numbers; fields that are empty or None are left out of named tuples."""
    if type(value) in _WRITERS:
        return _WRITERS[type(value)](value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: plain(each) for name, each in zip(value._fields, value, strict=True) if each not in (None, "", 0)}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return round(value, 9) if isinstance(value, float) else value


def record(kind: Callable[..., Record], saved: Mapping[str, Any]) -> Record:
    """Make a record of the fields that this version knows.

    Args:
        kind: A dataclass or named tuple.
        saved: Its fields, as ``plain`` returned them.
    """
    names = getattr(kind, "_fields", None) or [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: _READERS.get(name, _same)(saved[name]) for name in names if name in saved})


def records(kind: Callable[..., Record], saved: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Make several records."""
    return [record(kind, each) for each in saved]


# -- Pools and examples -----------------------------------------------------------------------------------------------


def plain_pool(pool: PoolSnapshot) -> dict[str, Any]:
    """The pool as it was, what happened in it, and its latest uses."""
    state = plain(pool.state)
    del state["open"]  # they are among the uses
    return {
        "state": state,
        "totals": plain(pool.totals),
        "series": plain(pool.series),
        "uses": [plain(use._replace(requester=0)) for use in pool.uses[-MAX_USES:]],
    }


def read_pool(saved: Mapping[str, Any]) -> PoolSnapshot:
    """What ``plain_pool`` returned."""
    uses = [
        Borrowing(
            each.get("asked", 0.0),
            each.get("waited", 0.0),
            each.get("used", 0.0),
            0,
            read_call_site(each.get("site")),
        )
        for each in saved["uses"]
    ]
    return PoolSnapshot(
        record(PoolState, saved["state"]),
        record(PoolTotals, saved["totals"]),
        records(PoolSample, saved["series"]),
        uses,
    )


def plain_example(example: WindowExample) -> dict[str, Any]:
    """A window; its statements are listed once, and steps refer to them by position."""
    statements: dict[int, int] = {}
    listed: list[dict[str, Any]] = []
    steps = []
    for step in example.steps:
        if id(step.statement) not in statements:
            statements[id(step.statement)] = len(listed)
            listed.append(plain_statement(step.statement))
        known = plain(step._replace(statement=None))  # type: ignore[arg-type]
        steps.append({**known, "statement": statements[id(step.statement)]})
    saved = {field.name: plain(getattr(example, field.name)) for field in fields(example) if field.name != "steps"}
    return {**saved, "statements": listed, "steps": steps}


def read_example(saved: Mapping[str, Any]) -> WindowExample:
    """What ``plain_example`` returned."""
    statements = [read_statement(each) for each in saved["statements"]]
    steps = [
        record(Step, {"start": 0.0, "duration": 0.0, "end": 0.0, **each})._replace(
            statement=statements[each["statement"]]
        )
        for each in ({**step, "call_site": step.get("call_site")} for step in saved["steps"])
    ]
    return WindowExample(
        saved["route"],
        saved["trace"],
        saved["start_ns"],
        saved["duration"],
        saved["request"],
        saved["calls"],
        saved["db_time"],
        tuple(saved["findings"]),
        steps,
    )


# -- Parts of records -------------------------------------------------------------------------------------------------


def plain_plan(plan: PlanSummary | None) -> dict[str, Any] | None:
    """A plan; its tree is shortened."""
    if plan is None:
        return None
    return {
        "hash": plan.hash,
        "cost": plan.cost,
        "issues": list(plan.issues),
        "tree": plan.tree[:MAX_TEXT],
        "costly": plan.costly,
    }


def read_plan(saved: Mapping[str, Any] | None) -> PlanSummary | None:
    """What ``plain_plan`` returned."""
    if not saved:
        return None
    return PlanSummary(saved["hash"], saved["cost"], tuple(saved["issues"]), saved["tree"], saved.get("costly", -1))


def plain_statement(statement: Statement) -> dict[str, Any]:
    """A statement, without its text if ``QUERY_TEXT`` is off."""
    return {
        "system": statement.system,
        "fingerprint": statement.fingerprint,
        "summary": statement.summary,
        "kind": statement.kind,
        "text": "" if config.current().query_text == "off" else statement.text[:MAX_TEXT],
    }


def read_statement(saved: Mapping[str, Any]) -> Statement:
    """What ``plain_statement`` returned."""
    return Statement(saved["system"], saved["text"], saved["summary"], saved["fingerprint"], kind=saved["kind"])


def plain_database(database: Database) -> dict[str, Any]:
    """A database."""
    return {
        "system": database.system,
        "namespace": database.namespace,
        "address": database.address,
        "port": database.port,
    }


def plain_call_site(site: CallSite | None) -> dict[str, Any] | None:
    """A line of the application, and its caller."""
    if site is None:
        return None
    return {"file": site.file, "line": site.line, "function": site.function, "caller": plain_call_site(site.caller)}


def read_call_site(saved: Mapping[str, Any] | None) -> CallSite | None:
    """What ``plain_call_site`` returned."""
    if saved is None:
        return None
    return CallSite(saved["file"], saved["line"], saved["function"], read_call_site(saved["caller"]))


def _same(value: Any) -> Any:
    return value


def _read_hog(saved: Sequence[Any] | None) -> tuple[CallSite | None, float] | None:
    return None if saved is None else (read_call_site(saved[0]), saved[1])


_WRITERS: Final[dict[type, Callable[[Any], Any]]] = {
    CallSite: plain_call_site,
    Database: plain_database,
}

_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "call_site": read_call_site,
    "leak_site": read_call_site,
    "refused": read_call_site,
    "database": lambda saved: Database(**saved),
    "holders": lambda saved: records(Holder, saved),
    "leaked": lambda saved: records(Leak, saved),
    "hog": _read_hog,
}
"""Fields that are records themselves, by name."""
