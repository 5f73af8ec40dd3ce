"""Reports that were saved with ``OTEL_DBSIGHT_REPORT=json``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbsight.cli.exit_codes import UsageFault
from dbsight.report import json as saved

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
