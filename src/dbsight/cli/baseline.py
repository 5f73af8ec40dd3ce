"""``dbsight baseline``: known findings."""

from __future__ import annotations

from pathlib import Path

import click

from dbsight.cli.exit_codes import UsageFault
from dbsight.cli.runs import read_run
from dbsight.detect.suppressions import DEFAULT_BASELINE, write_baseline
from dbsight.formatting import counted


@click.group()
def baseline() -> None:
    """Manage the baseline of known findings, which are not reported."""


@baseline.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path(DEFAULT_BASELINE), show_default=True)
def save(run: Path, output: Path) -> None:
    """Write the findings of a saved RUN to a file that OTEL_DBSIGHT_BASELINE names.

    Example: dbsight baseline save run.json
    """
    try:
        snapshot = read_run(run)
        number = write_baseline((merged.finding for merged in snapshot.findings), output, snapshot.statements)
    except OSError as error:
        raise UsageFault(f"{output} cannot be written: {error.strerror}") from error
    click.echo(f"{counted(number, 'finding')} in {output}; OTEL_DBSIGHT_BASELINE={output} suppresses them")
