"""``dbsight baseline``: known findings and measurements."""

from __future__ import annotations

from pathlib import Path

import click

from dbsight.bench.compared import read_benchmark
from dbsight.cli.exit_codes import UsageFault
from dbsight.cli.runs import read_run
from dbsight.detect.suppressions import DEFAULT_BASELINE, write_baseline, write_benchmarks
from dbsight.formatting import counted


@click.group()
def baseline() -> None:
    """Manage the baseline of known findings, which are not reported, and of measurements."""


@baseline.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path(DEFAULT_BASELINE), show_default=True)
def save(run: Path, output: Path) -> None:
    """Write what is known to a baseline.

    Of a saved RUN (OTEL_DBSIGHT_REPORT=json): its findings, plans and durations, in place of those in the file;
    OTEL_DBSIGHT_BASELINE names it. Of a benchmark (dbsight bench queries --save): its results, beside the others in the
    file; dbsight compare takes a baseline as its base.

    Example: dbsight baseline save run.json
    """
    try:
        results = read_benchmark(run) if run.exists() else None
    except (OSError, ValueError) as error:
        raise UsageFault(str(error)) from error
    try:
        if results is not None:
            write_benchmarks(results, output)
            click.echo(f"{counted(len(results), 'result')} in {output}, the base of: dbsight compare {output} HEAD")
        else:
            snapshot = read_run(run)
            number = write_baseline((merged.finding for merged in snapshot.findings), output, snapshot.statements)
            click.echo(f"{counted(number, 'finding')} in {output}; OTEL_DBSIGHT_BASELINE={output} suppresses them")
    except OSError as error:
        raise UsageFault(f"{output} cannot be written: {error.strerror}") from error
    except ValueError as error:
        raise UsageFault(f"{output}: {error}") from error
