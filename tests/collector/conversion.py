"""What Datadog makes of spans, by the conversion of its own agent: ``datadog/main.go``."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector import programs

if TYPE_CHECKING:
    from collections.abc import Iterable

SOURCE = Path(__file__).parent / "datadog"


def build(go: programs.Go, sources: Path, into: Path) -> None:
    """A minute, most of it for what the agent depends on."""
    copy = sources / "datadog"
    shutil.copytree(SOURCE, copy)
    go(*programs.BUILD, "-o", into / "datadog", ".", cwd=copy)


PROGRAM = programs.Program(
    "datadog",
    hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCE.iterdir()))).hexdigest()[:12],
    ("datadog",),
    build,
)


def ensure() -> None:
    """Build the program unless it is there.

    Raises:
        Unavailable: It cannot be built here.
    """
    programs.ensure(PROGRAM)


def converted(requests: Iterable[ExportTraceServiceRequest]) -> list[dict[str, Any]]:
    """Spans as Datadog keeps them, each a dictionary, in the order in which they came."""
    whole = ExportTraceServiceRequest()
    for request in requests:
        whole.resource_spans.extend(request.resource_spans)
    program = PROGRAM.directory / "datadog"
    told = subprocess.run([program], input=whole.SerializeToString(), capture_output=True, check=True)
    return [json.loads(line) for line in told.stdout.splitlines()]
