"""``dbsight bench queries``, ``dbsight bench records``."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from dbsight.bench.benchmark import benchmark
from dbsight.bench.compared import write_benchmark
from dbsight.bench.records import measure_records
from dbsight.cli.exit_codes import UsageFault
from dbsight.formatting import seconds

_WIDEST = 200


def target(name: str) -> Any:
    """What ``module:attribute`` names; modules of the working directory are found.

    Raises:
        click.UsageError: It names nothing.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        raise click.UsageError(f"{name} is not MODULE:NAME")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - as Python itself puts it there
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise click.UsageError(f"{name}: {error}") from error


def print_table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print a table; all columns but the first are numbers. Cells are never shortened."""
    table = Table(box=box.SIMPLE_HEAD if any(heads) else None, show_header=any(heads), pad_edge=False)
    for position, head in enumerate(heads):
        table.add_column(head, justify="right" if position else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(width=_WIDEST, highlight=False, markup=False).print(table)


@click.command()
@click.argument("what", metavar="MODULE:NAME")
@click.option(
    "--iterations", type=click.IntRange(1), default=100, show_default=True, help="Executions of each function."
)
@click.option("--warm-up", type=click.IntRange(0), default=5, show_default=True, help="Executions before.")
@click.option("--save", type=click.Path(path_type=Path), help="Write the results to a file, for `dbsight compare`.")
@click.option("--json", "as_json", is_flag=True, help="Output JSON.")
def queries(what: str, iterations: int, warm_up: int, save: Path | None, as_json: bool) -> None:
    """Measure functions that send queries.

    MODULE:NAME is a function or coroutine function without arguments, or a dict of them by name.

    Example: dbsight bench queries app:list_orders --iterations 5
    """
    found = target(what)
    if not callable(found) and not (isinstance(found, Mapping) and found and all(map(callable, found.values()))):
        raise click.UsageError(f"{what} is neither a function nor a dict of functions")
    results = benchmark(found, iterations, warm_up=warm_up)
    if save is not None:
        try:
            write_benchmark(results, save)
        except OSError as error:
            raise UsageFault(f"{save} cannot be written: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps({name: result.plain() for name, result in results.items()}, indent=1))
        return
    print_table(
        ("", "mean", "min", "p50", "p95", "max", "per second", "queries", "in the database"),
        [
            (
                name,
                *(
                    seconds(each / 1e3)
                    for each in (result.average_ms, result.min_ms, result.p50_ms, result.p95_ms, result.max_ms)
                ),
                f"{result.qps:.0f}",
                f"{result.queries:.4g}",
                seconds(result.database_ms / 1e3),
            )
            for name, result in results.items()
        ],
    )


@click.command()
@click.option("--url", required=True, help="Of SQLAlchemy, or redis://…")
@click.option("--records", type=click.IntRange(1), default=1000, show_default=True, help="Records written by each way.")
@click.option("--keyspace", type=click.IntRange(1), default=100, show_default=True, help="Records that are read.")
@click.option("--json", "as_json", is_flag=True, help="Output JSON.")
def records(url: str, records: int, keyspace: int, as_json: bool) -> None:
    """Compare ways to write, read and search records on a database.

    A table, or keys, named dbsight_bench… are created and removed.

    Example: dbsight bench records --url sqlite:///shop.db --records 20 --keyspace 5
    """
    try:
        results = measure_records(url, records, keyspace)
    except ImportError as error:
        raise UsageFault(f"{error.name} is not installed: pip install {error.name}") from error
    except Exception as error:
        raise UsageFault(f"the database cannot be used ({type(error).__name__})") from error
    if as_json:
        click.echo(json.dumps([asdict(result) for result in results], indent=1))
        return
    print_table(
        ("", "records", "time", "per second", "queries", "in the database"),
        [
            (
                each.name,
                str(each.records),
                seconds(each.seconds),
                f"{each.per_second:.0f}",
                str(each.queries),
                seconds(each.database_seconds),
            )
            for each in results
        ],
    )
