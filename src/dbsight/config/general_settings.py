"""What makes a field of the table of settings, and the settings about dbsight as a whole."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Final, Literal, TypeVar, overload

from dbsight.config import parsers
from dbsight.config.parsers import Parser, choice
from dbsight.model.deferred import record

T = TypeVar("T")

Preset = Literal["development", "balanced", "production", "high_traffic"]

_PRESET: Final[Parser[Preset]] = choice(("development", "balanced", "production", "high_traffic"))


@overload
def setting(default: T, sentence: str, parser: Parser[T], **more: Any) -> T: ...
@overload
def setting(default: None, sentence: str, parser: Parser[T], **more: Any) -> T | None: ...
def setting(default: Any, sentence: str, parser: Parser[Any], **more: Any) -> Any:
    """One field of ``Settings``; ``more`` is what ``Setting`` has besides."""
    metadata = {"sentence": sentence, "parser": parser, **more}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata, hash=False)
    return field(default=default, metadata=metadata)


@record(frozen=True, kw_only=True)
class GeneralSettings:
    """The first part of ``Settings``."""

    # `theme` holds for the settings that follow, too.
    enabled: bool = setting(
        True, "Enable dbsight; `false` leaves plain OpenTelemetry.", parsers.boolean, theme="General"
    )
    preset: Preset = setting("balanced", "Set of default values; every individual setting overrides it.", _PRESET)
    config: str | None = setting(
        None,
        "Path of the TOML configuration file.",
        parsers.path,
        unset="dbsight.toml, else [tool.dbsight] in pyproject.toml",
    )
    flush_on_sigterm: bool = setting(
        True,
        "Export pending telemetry, for at most 5 s, before SIGTERM ends the process. Applies where dbsight configures"
        " OpenTelemetry and the application installs no SIGTERM handler.",
        parsers.boolean,
    )
