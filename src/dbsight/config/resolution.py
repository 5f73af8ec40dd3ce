"""Which value holds: argument before environment before file before preset before default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from dbsight.config import files
from dbsight.config.parsers import Parser, PartlyReadError
from dbsight.config.presets import PRESETS, REDIS_PRESETS
from dbsight.config.suggest import did_you_mean
from dbsight.model.deferred import record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX = "OTEL_DBSIGHT_"

ARGUMENT, ENVIRONMENT, DEFAULT = "argument", "environment", "default"


@record(frozen=True)
class Setting:
    """One row of the table.

    Attributes:
        name: Of the field; ``OTEL_DBSIGHT_`` and its capitals make the variable.
        default: Typed.
        sentence: What it does.
        parser: How it is read and shown.
        theme: The part of the documentation that it stands in.
        also: A second variable that is read, empty if there is none.
        file_only: The environment cannot hold it.
        overridable: May differ per fingerprint, table or route.
        unset: What None stands for.
    """

    name: str
    default: Any
    sentence: str
    parser: Parser[Any]
    theme: str
    also: str = ""
    file_only: bool = False
    overridable: bool = False
    unset: str = "off"

    @property
    def variable(self) -> str:
        """The environment variable; empty for what only a file can hold."""
        return "" if self.file_only else PREFIX + self.name.upper()

    def show(self, value: Any) -> str:
        """A value as people write it; what None or nothing at all stands for in brackets."""
        return f"({self.unset})" if value is None else self.parser.show(value) or "(none)"


class Resolved(NamedTuple):
    """The values that hold, where those that are no default came from, and what was wrong on the way."""

    values: dict[str, Any]
    sources: dict[str, str]
    complaints: list[str]


class _Layer(NamedTuple):
    source: str
    values: Mapping[str, Any]
    label: Callable[[Setting], str]


def resolve(table: Mapping[str, Setting], environ: Mapping[str, str], arguments: Mapping[str, object]) -> Resolved:
    """Find the value of every setting.

    Args:
        table: The settings by name.
        environ: The environment; empty variables count as unset, as OpenTelemetry has it.
        arguments: By name; None counts as not given.

    Raises:
        TypeError: An argument is an unknown setting.
        ValueError: An argument has a value that does not parse, or two arguments contradict each other.
    """
    complaints: list[str] = []
    given = parsed(table, arguments)
    environment = _environment(table, environ, complaints)
    named = given.get("config") or environment.get("config")
    file = files.find(table["config"].parser.read(named) if named else None)
    if file.complaint:
        complaints.append(f"{file.complaint}; no configuration file is used")
    layers = [
        _Layer(ARGUMENT, given, lambda setting: setting.name),
        _Layer(ENVIRONMENT, environment, lambda setting: _variable(setting, environ)),
        _Layer(f"file {file.path}", _file_values(table, file, complaints), lambda setting: setting.name),
    ]
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in _presets_first(table):
        _resolve_one(setting, [*layers, *_preset_layers(values)], values, sources, complaints)
    _order_slow_limits(values, sources, table, complaints)
    return Resolved({name: values[name] for name in table}, sources, complaints)


def parsed(table: Mapping[str, Setting], arguments: Mapping[str, object]) -> dict[str, Any]:
    """Arguments that were given, checked but not read.

    Raises:
        TypeError: An argument is an unknown setting.
        ValueError: An argument has a value that does not parse.
    """
    given = {}
    for name, raw in arguments.items():
        if name not in table:
            raise TypeError(f"dbsight has no setting {name!r}{did_you_mean(name, table)}")
        if raw is None:
            continue
        try:
            table[name].parser.read(raw)
        except PartlyReadError as error:
            raise ValueError(str(error)) from error
        except ValueError as error:
            raise ValueError(f"{name}={raw!r} is not {table[name].parser.expects}") from error
        given[name] = raw
    return given


def _environment(table: Mapping[str, Setting], environ: Mapping[str, str], complaints: list[str]) -> dict[str, str]:
    values = {}
    for name, setting in table.items():
        variable = _variable(setting, environ)
        if variable:
            values[name] = environ[variable]
    known = [setting.variable for setting in table.values() if setting.variable]
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in known:
            continue
        meant = table.get(variable.removeprefix(PREFIX).lower())
        if meant is not None:
            complaints.append(f"{variable} can only be set in the configuration file, as {meant.name}; ignored")
        else:
            complaints.append(f"unknown setting {variable}{did_you_mean(variable, known)}; ignored")
    return values


def _variable(setting: Setting, environ: Mapping[str, str]) -> str:
    """The variable that holds this setting's value, empty when none does."""
    for variable in (setting.variable, setting.also):
        if variable and environ.get(variable, "").strip():
            return variable
    return ""


def _file_values(table: Mapping[str, Setting], file: files.File, complaints: list[str]) -> dict[str, Any]:
    values = {}
    for name, raw in file.values.items():
        if name == "config":
            complaints.append(f"config in {file.path} has no effect there; ignored")
        elif name in table:
            values[name] = raw
        else:
            complaints.append(f"unknown setting {name} in {file.path}{did_you_mean(name, table)}; ignored")
    return values


def _presets_first(table: Mapping[str, Setting]) -> list[Setting]:
    return sorted(table.values(), key=lambda setting: setting.name not in {"preset", "redis_preset"})


def _preset_layers(values: Mapping[str, Any]) -> list[_Layer]:
    preset, redis_preset = values.get("preset", "balanced"), values.get("redis_preset", "balanced")
    return [
        _Layer(f"preset {preset}", PRESETS[preset], lambda setting: setting.name),
        _Layer(f"preset {redis_preset}", REDIS_PRESETS[redis_preset], lambda setting: setting.name),
    ]


def _resolve_one(
    setting: Setting, layers: list[_Layer], values: dict[str, Any], sources: dict[str, str], complaints: list[str]
) -> None:
    """Take the first value that parses; mappings are merged key by key over what lies below them."""
    found: list[tuple[str, Any]] = []
    refused: list[str] = []
    for layer in layers:
        if setting.name not in layer.values:
            continue
        raw = layer.values[setting.name]
        try:
            found.append((layer.source, setting.parser.read(raw)))
        except PartlyReadError as error:
            complaints += [f"{layer.source}: {complaint}" for complaint in error.complaints]
            found.append((layer.source, error.value))
        except ValueError:
            place = f" in {layer.source.removeprefix('file ')}" if layer.source.startswith("file ") else ""
            refused.append(f"{layer.label(setting)} = {_shorten(raw)}{place} is not {setting.parser.expects}")
    source, value = found[0] if found else (DEFAULT, setting.default)
    if isinstance(value, dict):
        value = dict(setting.default)
        for _, mapping in reversed(found):
            value.update(mapping)
    values[setting.name] = value
    if found:
        sources[setting.name] = source
    shown = f"{setting.show(value)} ({source})" if found else f"the default {setting.show(value)}"
    complaints += [f"{refusal}; {shown} is used" for refusal in refused]


def _shorten(raw: object) -> str:
    text = repr(raw)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _order_slow_limits(
    values: dict[str, Any], sources: dict[str, str], table: Mapping[str, Setting], complaints: list[str]
) -> None:
    """Keep slow at or below very slow: where one alone was set, the other follows it."""
    slow, very_slow = "slow_query_threshold", "very_slow_query_threshold"
    if values[slow] <= values[very_slow]:
        return
    if _is_set(sources, very_slow) and not _is_set(sources, slow):
        values[slow] = values[very_slow]
        sources[slow] = sources[very_slow]
        return
    if _is_set(sources, very_slow):
        shown = table[slow].show(values[slow])
        fault = f"{very_slow} ({table[very_slow].show(values[very_slow])}) is below {slow} ({shown})"
        if sources[slow] == sources[very_slow] == ARGUMENT:
            raise ValueError(fault)
        complaints.append(f"{fault}; {shown} is used for both")
    values[very_slow] = values[slow]
    sources[very_slow] = sources[slow]


def follow_slow_limit(values: dict[str, Any], current: Any) -> None:
    """Keep slow at or below very slow where values are replaced: where one alone is, the other follows it.

    Raises:
        ValueError: Both are replaced, and the wrong way round.
    """
    slow, very_slow = "slow_query_threshold", "very_slow_query_threshold"
    both = {name: values.get(name, getattr(current, name)) for name in (slow, very_slow)}
    if both[slow] <= both[very_slow]:
        return
    if slow in values and very_slow in values:
        raise ValueError(f"{very_slow} ({both[very_slow]:g} s) is below {slow} ({both[slow]:g} s)")
    if slow in values:
        values[very_slow] = both[slow]
    elif very_slow in values:
        values[slow] = both[very_slow]


def _is_set(sources: Mapping[str, str], name: str) -> bool:
    return not sources.get(name, DEFAULT).startswith((DEFAULT, "preset "))
