"""The switches of OpenTelemetry itself that dbsight heeds. They are not ours: we read them and never complain."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dbsight.model.deferred import record

if TYPE_CHECKING:
    from collections.abc import Mapping


@record(frozen=True, kw_only=True)
class Surroundings:
    """What OpenTelemetry's own environment variables say.

    Attributes:
        sdk_disabled: ``OTEL_SDK_DISABLED`` is ``true``.
        semconv_dup: ``OTEL_SEMCONV_STABILITY_OPT_IN`` contains ``database/dup``: old attribute names as well as new.
        otlp_protocol: ``OTEL_EXPORTER_OTLP_PROTOCOL``, empty when unset.
        traces_exporters: ``OTEL_TRACES_EXPORTER``, None when unset.
        disabled_instrumentations: ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS``; ``*`` stands for all.
        config_file: ``OTEL_CONFIG_FILE``: declarative configuration, None when unset.
    """

    sdk_disabled: bool = False
    semconv_dup: bool = False
    otlp_protocol: str = ""
    traces_exporters: tuple[str, ...] | None = None
    disabled_instrumentations: tuple[str, ...] = ()
    config_file: str | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Surroundings:
        """Read them from ``environ``, by default the process's environment. Never raises."""
        if environ is None:
            environ = environment()

        def value(name: str) -> str:
            return environ.get(name, "").strip()

        def words(name: str) -> tuple[str, ...]:
            return tuple(word.strip() for word in value(name).split(",") if word.strip())

        return cls(
            # The specification knows `true` alone, in any case; everything else is false.
            sdk_disabled=value("OTEL_SDK_DISABLED").lower() == "true",
            semconv_dup="database/dup" in words("OTEL_SEMCONV_STABILITY_OPT_IN"),
            otlp_protocol=value("OTEL_EXPORTER_OTLP_PROTOCOL"),
            traces_exporters=words("OTEL_TRACES_EXPORTER") or None,
            disabled_instrumentations=words("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"),
            config_file=value("OTEL_CONFIG_FILE") or None,
        )


def environment() -> Mapping[str, str]:
    """Return the process's environment; no other module reads it."""
    return os.environ
