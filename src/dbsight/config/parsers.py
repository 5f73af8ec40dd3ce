"""From what people write to typed values, and back.

A setting's raw value is a string in the environment, what TOML makes of it in a file, and any object as an argument.
Every parser takes all three and raises ``ValueError`` for anything else; what it shows can be parsed again.
"""
# ruff: noqa: TRY004 - a parser has one way to say no

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from dbsight.model import SEVERITIES, Severity
from dbsight.model.deferred import pattern, record

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
C = TypeVar("C", bound=str)


@record(frozen=True)
class Parser(Generic[T]):
    """How the values of a setting are read and shown.

    Attributes:
        expects: What is accepted, so that "is not " before it makes a sentence: ``a whole number of at least 1``.
        read: Raw value → typed value; raises ``ValueError``, or ``PartlyReadError`` when some of it could be read.
        show: Typed value → text that ``read`` takes.
    """

    expects: str
    read: Callable[[object], T]
    show: Callable[[T], str] = str


class PartlyReadError(ValueError):
    """Some entries of a table could be read and some could not.

    Attributes:
        value: Made of the good ones.
        complaints: One sentence for each bad one.
    """

    def __init__(self, value: object, complaints: list[str]) -> None:
        super().__init__("; ".join(complaints))
        self.value = value
        self.complaints = complaints


class FailOn(NamedTuple):
    """Findings that make the process fail at exit: those of ``rule`` (or ``all``) from ``severity`` upward."""

    rule: str
    severity: Severity

    def holds(self, rule: str, severity: Severity) -> bool:
        """Whether a finding of this rule and severity is one of them."""
        return self.rule in {rule, "all"} and SEVERITIES.index(severity) >= SEVERITIES.index(self.severity)


# -- Words and numbers --------------------------------------------------------------------------------------------
TRUE = frozenset({"true", "1", "yes", "on"})
FALSE = frozenset({"false", "0", "no", "off"})


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = _text(value).lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise ValueError(word)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(value)
    return value.strip()


def _number(value: object) -> float:
    if isinstance(value, str):
        number = float(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError as error:
            raise ValueError(value) from error
    else:
        raise ValueError(value)
    if not math.isfinite(number) or number < 0:
        raise ValueError(value)
    return number


def _show_number(value: float) -> str:
    return repr(value).removesuffix(".0")


def whole(minimum: int, maximum: int | None = None) -> Parser[int]:
    """A whole number between two bounds, both included."""

    def read(value: object) -> int:
        if isinstance(value, str):
            number = int(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            number = value
        else:
            raise ValueError(value)
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(value)
        return number

    if maximum is None:
        return Parser(f"a whole number of at least {minimum}", read)
    return Parser(f"a whole number from {minimum} to {maximum}", read)


def choice(words: Iterable[C]) -> Parser[C]:
    """One of a few words, in any case; ``true`` and ``false`` stand for ``on`` and ``off`` where those are words."""
    known: dict[str, C] = {word: word for word in words}

    def read(value: object) -> C:
        if isinstance(value, bool):
            value = "on" if value else "off"
        word = _text(value).lower().replace("-", "_")
        if word not in known:
            word = "on" if word in TRUE else "off" if word in FALSE else word
        if word not in known:
            raise ValueError(value)
        return known[word]

    return Parser("one of " + " · ".join(known), read)


def _fraction(value: object) -> float:
    if isinstance(value, str) and value.rstrip().endswith("%"):
        fraction = _number(value.rstrip()[:-1]) / 100
    else:
        fraction = _number(value)
    if fraction > 1:
        raise ValueError(value)
    return fraction


_UNITS = {
    "": 1.0,
    "us": 1e-6,
    "µs": 1e-6,  # micro sign
    "μs": 1e-6,  # Greek mu, which keyboards also give
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_DURATION = pattern(r"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+)\s*([a-zµμ]*)\s*", re.IGNORECASE)


def _duration(value: object) -> float:
    if isinstance(value, timedelta):
        return _number(value.total_seconds())
    if not isinstance(value, str):
        return _number(value)
    match = _DURATION.fullmatch(value)
    if match is None:
        raise ValueError(value)
    unit = _UNITS.get(match[2].lower())
    if unit is None:
        raise ValueError(value)
    return _number(float(match[1]) * unit)


def _show_duration(value: float) -> str:
    return f"{_show_number(value)} s"


def _positive_duration(value: object) -> float:
    seconds = _duration(value)
    if not seconds:
        raise ValueError(value)
    return seconds


boolean = Parser("true or false", _boolean, lambda value: "true" if value else "false")
text = Parser("text", _text)
number = Parser("a number, zero or more", _number, _show_number)
fraction = Parser("a fraction between 0 and 1, or a percentage", _fraction, _show_number)
duration = Parser("a duration such as 0.5, 500ms, 30 s or 1m", _duration, _show_duration)
positive_duration = Parser("a duration above zero such as 500ms, 30 s or 1m", _positive_duration, _show_duration)


def _path(value: object) -> str:
    import os

    return _text(os.fspath(value) if isinstance(value, os.PathLike) else value)


path = Parser("a path", _path)


# -- Lists --------------------------------------------------------------------------------------------------------
def _words(value: object) -> tuple[str, ...]:
    """Split at commas; a list of strings is taken as it is."""
    if isinstance(value, str):
        value = value.split(",")
    elif isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise ValueError(value)
    words = tuple(word for word in (_word(item) for item in value) if word)
    return tuple(dict.fromkeys(words))


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value.strip().lower()


_RULE = pattern(r"-?[a-z][a-z0-9_]*")


def _rules(value: object) -> tuple[str, ...]:
    words = _words(value)
    if not all(_RULE.fullmatch(word) for word in words):
        raise ValueError(value)
    return words


def _show_words(words: tuple[str, ...]) -> str:
    return ",".join(words)


rules = Parser("a list of rules such as all,-redundant_query", _rules, lambda value: _show_words(value) or "-all")

REPORTS = ("terminal", "html", "json")


def _reports(value: object) -> tuple[str, ...]:
    words = _words(value)
    if not words or words == ("off",):
        return ()
    if not set(words) <= set(REPORTS):
        raise ValueError(value)
    return words


reports = Parser("off, or a list of " + " · ".join(REPORTS), _reports, lambda value: _show_words(value) or "off")

_SHORT = {"budget": "budget_exceeded"}


def _fail_on(value: object) -> tuple[FailOn, ...]:
    if isinstance(value, (list, tuple)):
        value = [":".join(item) if isinstance(item, FailOn) else item for item in value]
    conditions = []
    for word in _words(value):
        rule, colon, severity = word.partition(":")
        if not colon:
            rule, severity = ("all", rule) if rule in SEVERITIES else (rule, SEVERITIES[0])
        if not _RULE.fullmatch(rule) or rule.startswith("-") or severity not in SEVERITIES:
            raise ValueError(value)
        conditions.append(FailOn(_SHORT.get(rule, rule), severity))
    return tuple(conditions)


fail_on = Parser(
    "a list such as n_plus_one:error,budget or error",
    _fail_on,
    lambda value: ",".join(f"{rule}:{severity}" for rule, severity in value),
)


# -- Mappings -----------------------------------------------------------------------------------------------------
def _ladders(value: object) -> dict[str, tuple[float, ...]]:
    if isinstance(value, str):
        value = dict(_pair(item) for item in value.split(",") if item.strip())
    if not isinstance(value, Mapping):
        raise ValueError(value)
    return {_text(system).lower(): _ladder(steps) for system, steps in value.items()}


def _pair(item: str) -> tuple[str, str]:
    name, equals, steps = item.partition("=")
    if not equals:
        raise ValueError(item)
    return name, steps


def _ladder(steps: object) -> tuple[float, ...]:
    if isinstance(steps, str):
        steps = steps.split("/")
    if isinstance(steps, Mapping) or not isinstance(steps, Iterable):
        raise ValueError(steps)
    ladder = tuple(_duration(step) for step in steps)
    if len(ladder) not in {2, 4} or list(ladder) != sorted(ladder):
        raise ValueError(steps)
    return ladder


def _show_ladders(value: Mapping[str, tuple[float, ...]]) -> str:
    return ",".join(f"{system}={'/'.join(map(_show_number, steps))}" for system, steps in value.items())


ladders: Parser[Mapping[str, tuple[float, ...]]] = Parser(
    "a list such as redis=0.05/0.25,elasticsearch=0.5/2/5/10 (two or four rising durations a system)",
    _ladders,
    _show_ladders,
)

_REDIS_ROLES = ("master", "slave", "local", "async")


def _roles(value: object) -> dict[str, str]:
    if isinstance(value, str):
        value = dict(_pair(item) for item in value.split(",") if item.strip())
    if not isinstance(value, Mapping):
        raise ValueError(value)
    read = {_text(host).lower(): _text(role) for host, role in value.items()}
    if not set(read.values()) <= set(_REDIS_ROLES):
        raise ValueError(value)
    return read


roles: Parser[Mapping[str, str]] = Parser(
    f"a list such as cache-1=master,cache-2:6380=slave, of the roles {' · '.join(_REDIS_ROLES)}",
    _roles,
    lambda value: ",".join(f"{host}={role}" for host, role in value.items()),
)

_LIMITS: dict[str, Callable[[object], float]] = {"queries": whole(0).read, "time": _duration}


def _budgets(value: object) -> dict[str, dict[str, float]]:
    if isinstance(value, str):
        value = _split_budgets(value)
    if not isinstance(value, Mapping):
        raise ValueError(value)
    return {_text(route): _budget(limits) for route, limits in value.items()}


def _split_budgets(line: str) -> dict[str, dict[str, str]]:
    """``GET /a=queries:5,time:0.2;GET /b=queries:3``: an item with ``=`` begins a route, whatever parted it."""
    budgets: dict[str, dict[str, str]] = {}
    current: dict[str, str] | None = None
    for item in re.split("[,;]", line):
        route, equals, limit = item.rpartition("=")
        if equals:
            current = budgets.setdefault(route.strip(), {})
        if limit.strip():
            name, colon, most = limit.partition(":")
            if current is None or not colon:
                raise ValueError(line)
            current[name.strip().lower()] = most
    return budgets


def _budget(limits: object) -> dict[str, float]:
    if not isinstance(limits, Mapping) or not limits or not set(limits) <= set(_LIMITS):
        raise ValueError(limits)
    return {name: _LIMITS[name](most) for name, most in limits.items()}


def _show_budgets(value: Mapping[str, Mapping[str, float]]) -> str:
    return ";".join(
        f"{route}=" + ",".join(f"{name}:{_show_number(most)}" for name, most in limits.items())
        for route, limits in value.items()
    )


budgets: Parser[Mapping[str, Mapping[str, float]]] = Parser(
    "a list such as GET /orders=queries:5,time:0.2;GET /cart=queries:3", _budgets, _show_budgets
)
