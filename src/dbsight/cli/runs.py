"""Reports that were saved with ``OTEL_DBSIGHT_REPORT=json``, and those of live processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbsight import serve
from dbsight.cli.exit_codes import UsageFault
from dbsight.monitor.merging import merged
from dbsight.report import json as saved
from dbsight.serve.client import EndpointError, NotReachable, ask

if TYPE_CHECKING:
    from pathlib import Path

    from dbsight.model import Snapshot


def read_run(file: Path) -> Snapshot:
    """Read a saved report.

    Raises:
        UsageFault: It cannot be read, or is none.
    """
    try:
        return saved.read(file)
    except OSError as error:
        raise UsageFault(f"{file} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageFault(f"{file} is not a dbsight report: {type(error).__name__}") from error
    except ValueError as error:
        raise UsageFault(str(error)) from error


def read_live(service: int | None) -> Snapshot:
    """Read the totals of all living processes of this user, added.

    Args:
        service: Only those with this port in ``OTEL_DBSIGHT_SERVE``; None for all.

    Raises:
        UsageFault: None serves or answers, or one cannot be read.
    """
    found = serve.processes(service)
    at = "" if service is None else f" with OTEL_DBSIGHT_SERVE={service}"
    if not found:
        raise UsageFault(f"no process of this user serves{at}")
    snapshots = []
    gone = ""
    for process in found:
        try:
            snapshots.append(saved.from_document(ask(process, "/api/v1/snapshot")["report"], process.url))
        except NotReachable as error:  # it is ending, or busy  # noqa: PERF203 - a handful of processes
            gone = str(error)
        except (EndpointError, ValueError) as error:
            raise UsageFault(str(error)) from error
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageFault(f"{process.url} answers what this version cannot read: {type(error).__name__}") from error
    if not snapshots:
        raise UsageFault(gone)
    return merged(snapshots)
