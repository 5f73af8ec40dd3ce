"""What can be seen of one Python process and its environment, as plain values: the checks judge it, here or elsewhere.

No secret is in it: of endpoints only host and port, of settings only what was wrong, and no other variable at all.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, distributions, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from dbsight import config
from dbsight.catalog import CLIENTS, INSTRUMENTORS, REPLACED, is_disabled
from dbsight.cli import habits, practice
from dbsight.cli.practice import Practice
from dbsight.config.resolution import resolve
from dbsight.export.endpoint import GRPC_PORT, HTTP_PORT
from dbsight.processor import DbsightSpanProcessor
from dbsight.safety import errors

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dbsight.detect.expectations import Template, Workload

_PACKAGES: Final = (
    "dbsight",
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation",
    *(distribution for client in CLIENTS for distribution in client.distributions),
)
_RIVALS: Final = ("ddtrace", "newrelic", "elasticapm", "scout_apm", "sentry_sdk", "logfire")
"""Modules that instrument database clients by themselves."""


@dataclass
class Instrumentor:
    """One instrumentor that is installed.

    Attributes:
        name: Of its entry point.
        package: The distribution that it came with.
        conflict: Why it cannot instrument what is installed; empty when it can.
        missing: What it instruments is not installed at all.
        disabled: It is in ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS``.
        replaced: Ours takes its place under our distribution.
    """

    name: str
    package: str = ""
    conflict: str = ""
    missing: bool = False
    disabled: bool = False
    replaced: bool = False


@dataclass
class Inside:
    """What a process that ran instrumented saw, at its end.

    Attributes:
        provider: Class of its tracer provider.
        attached: Whether our span processor is in place.
        sampler: As the provider's sampler describes itself.
        calls: Operations that we saw.
        findings: How many we made.
        instrumented: Classes of the instrumentors that are on.
        modules: Database clients that it imported.
        rivals: Other instrumentation that it imported.
        errors: What of ours failed and was skipped, by place.
        practice: What it does, as far as the checklist asks.
    """

    provider: str = ""
    attached: bool = False
    sampler: str = ""
    calls: int = 0
    findings: int = 0
    instrumented: list[str] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    rivals: list[str] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    practice: Practice = field(default_factory=Practice)


@dataclass
class Evidence:
    """What the checks read.

    Attributes:
        pid: Of the process.
        python: Its version.
        gil: Whether its threads take turns: they do but in a free-threaded build.
        versions: Of the packages that matter, where they are installed.
        distros: The distributions of OpenTelemetry that are installed, in the order in which they are tried.
        configurators: The same for configurators.
        distro: What ``OTEL_PYTHON_DISTRO`` asks for.
        configurator: What ``OTEL_PYTHON_CONFIGURATOR`` asks for.
        sdk_disabled: ``OTEL_SDK_DISABLED`` is true.
        enabled: ``OTEL_DBSIGHT_ENABLED`` is true.
        config_file: ``OTEL_CONFIG_FILE`` is set.
        complaints: What is wrong with the settings, a sentence each.
        instrumentors: All that are installed.
        sampler: ``OTEL_TRACES_SAMPLER`` and its argument.
        exporters: ``OTEL_TRACES_EXPORTER``.
        endpoint: Host and port that spans go to.
        configured: Whether that endpoint is configured.
        inside: What the process saw, None where none was run.
        told: Whether a command was run at all.
        habits: Files that show how the project uses dbsight, as ``habits.of_project`` gives them.
        workload: ``--workload``, empty if it was not given.
        template: ``--template``, the same.
    """

    pid: int = 0
    python: str = ""
    gil: bool = True
    versions: dict[str, str] = field(default_factory=dict)
    distros: list[str] = field(default_factory=list)
    configurators: list[str] = field(default_factory=list)
    distro: str = ""
    configurator: str = ""
    sdk_disabled: bool = False
    enabled: bool = True
    config_file: bool = False
    complaints: list[str] = field(default_factory=list)
    instrumentors: list[Instrumentor] = field(default_factory=list)
    sampler: str = ""
    exporters: list[str] = field(default_factory=list)
    endpoint: str = ""
    configured: bool = False
    inside: Inside | None = None
    told: bool = False
    habits: dict[str, str] = field(default_factory=dict)
    workload: Workload | Literal[""] = ""
    template: Template | Literal[""] = ""

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Evidence:
        """From what ``plain`` gave; what is unknown to this version is left out."""
        known = {each.name: plain[each.name] for each in fields(cls) if each.name in plain}
        known["instrumentors"] = [Instrumentor(**each) for each in known.get("instrumentors", ())]
        if known.get("inside") is not None:
            inside = Inside(**known["inside"])
            if isinstance(inside.practice, dict):
                inside.practice = Practice.of(inside.practice)
            known["inside"] = inside
        return cls(**known)


def gather(environ: Mapping[str, str] | None = None) -> Evidence:
    """Look at this process's environment and at what is installed for its Python."""
    if environ is None:
        environ = config.environment()
    surroundings = config.Surroundings.read(environ)
    resolved = resolve(config.SETTINGS, environ, {})
    endpoint, configured = _endpoint(environ, surroundings)
    sampler = ":".join(filter(None, (environ.get("OTEL_TRACES_SAMPLER"), environ.get("OTEL_TRACES_SAMPLER_ARG"))))
    return Evidence(
        pid=os.getpid(),
        python=platform.python_version(),
        gil=getattr(sys, "_is_gil_enabled", lambda: True)(),
        versions=_versions(),
        distros=[each.name for each in entry_points(group="opentelemetry_distro")],
        configurators=[each.name for each in entry_points(group="opentelemetry_configurator")],
        distro=environ.get("OTEL_PYTHON_DISTRO", "").strip(),
        configurator=environ.get("OTEL_PYTHON_CONFIGURATOR", "").strip(),
        sdk_disabled=surroundings.sdk_disabled,
        enabled=bool(resolved.values["enabled"]),
        config_file=surroundings.config_file is not None,
        complaints=list(resolved.complaints),
        instrumentors=_instrumentors(surroundings),
        sampler=sampler,
        exporters=list(surroundings.traces_exporters or ()),
        endpoint=endpoint,
        configured=configured,
        habits=habits.of_project(Path.cwd()),
    )


def look_inside() -> Inside:
    """Look at this process from inside, at its end."""
    provider = trace.get_tracer_provider()
    inside = Inside(
        provider=f"{type(provider).__module__}.{type(provider).__qualname__}",
        instrumented=sorted(each.__name__ for each in _subclasses(BaseInstrumentor) if _is_on(each)),
        modules=[client.name for client in CLIENTS if client.speaks and client.name in sys.modules],
        rivals=[name for name in _RIVALS if name in sys.modules],
        errors=errors(),
    )
    sampler = getattr(provider, "sampler", None)
    if sampler is not None:
        inside.sampler = str(sampler.get_description())
    # opentelemetry-sdk 1.42 to 1.45; elsewhere nothing is found, and the check says so.
    multi = getattr(provider, "_active_span_processor", None)
    for processor in getattr(multi, "_span_processors", ()):
        if isinstance(processor, DbsightSpanProcessor):
            processor.analyzer.finish()
            snapshot = processor.analyzer.snapshot()
            inside.attached = True
            inside.calls = sum(each.count for each in snapshot.kinds.values())  # pings were captured, too
            inside.findings = len(snapshot.findings)
            if practice.watcher is not None:
                inside.practice = practice.watcher.practice(snapshot, processor.analyzer.settings)
    return inside


def _subclasses(kind: type) -> set[type]:
    return {kind}.union(*map(_subclasses, kind.__subclasses__()))


def _is_on(kind: Any) -> bool:
    made = kind.__dict__.get("_instance")
    return made is not None and bool(getattr(made, "is_instrumented_by_opentelemetry", False))


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # noqa: PERF203 - a handful of packages
            continue
    return found


def _instrumentors(surroundings: config.Surroundings) -> list[Instrumentor]:
    found = []
    disabled = surroundings.disabled_instrumentations
    # entry points of Python 3.10 do not know their distribution
    for package in distributions():
        for entry in package.entry_points:
            if entry.group != "opentelemetry_instrumentor":
                continue
            conflict = get_dist_dependency_conflicts(package)
            found.append(
                Instrumentor(
                    name=entry.name,
                    package=package.metadata["Name"],
                    conflict=_said(conflict) if conflict is not None else "",
                    missing=conflict is not None and not (conflict.found or conflict.found_any),
                    disabled="*" in disabled or entry.name in disabled or _is_replacement_of(entry.name, disabled),
                    replaced=entry.name in REPLACED,
                )
            )
    return sorted(found, key=lambda each: each.name)


def _is_replacement_of(entry_point: str, names: Collection[str]) -> bool:
    """Whether an instrumentor takes the place of one of these."""
    ours = INSTRUMENTORS.get(entry_point)
    return ours is not None and ours[1].takes_place and is_disabled(entry_point, names)


def _said(conflict: Any) -> str:
    """What an instrumentor supports, and what is there."""
    supported = [conflict.required] if conflict.required else list(conflict.required_any or ())
    there = [conflict.found] if conflict.found else list(conflict.found_any or ())
    wanted = " or ".join(str(each).partition(";")[0].strip() for each in supported)
    return f"it supports {wanted}, and {', '.join(map(str, there)) or 'none'} is installed"


def _endpoint(environ: Mapping[str, str], surroundings: config.Surroundings) -> tuple[str, bool]:
    """Host and port alone: the address may hold a password."""
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "").strip() or surroundings.otlp_protocol
    port = HTTP_PORT if protocol.startswith("http") else GRPC_PORT
    for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        address = environ.get(name, "").strip()
        if address:
            try:
                parts = urlsplit(address if "//" in address else f"//{address}")
                number = parts.port or {"https": 443, "http": 80}.get(parts.scheme, port)
            except ValueError:
                return "", True
            return f"{parts.hostname or ''}:{number}", True
    return f"localhost:{port}", False
