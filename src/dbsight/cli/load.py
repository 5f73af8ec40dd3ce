"""``dbsight load``: many users at once, of a scenario or of a URL."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from dbsight import config
from dbsight.bench.load import load_test
from dbsight.cli.bench import print_table, target
from dbsight.cli.exit_codes import UsageFault
from dbsight.cli.served import Served
from dbsight.formatting import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbsight.bench.load import LoadTestResult
    from dbsight.cli.served import Route


@click.command()
@click.argument("what", metavar="[MODULE:NAME]", required=False)
@click.option("--url", help="Send GET requests to this URL instead; needs httpx.")
@click.option(
    "--service",
    type=click.IntRange(1, 65535),
    help="Port in OTEL_DBSIGHT_SERVE of the service: show what it did to its database.  [default: the variable here]",
)
@click.option("--concurrency", type=click.IntRange(1), default=50, show_default=True, help="Users at the same time.")
@click.option("--duration", type=click.FloatRange(0.05), default=60.0, show_default=True, help="Seconds.")
@click.option("--rate", type=click.FloatRange(0.01), help="Begin so many executions per second, whatever they take.")
@click.option(
    "--warm-up", type=click.FloatRange(0), default=0.0, show_default=True, help="Seconds before, not measured."
)
@click.option("--json", "as_json", is_flag=True, help="Output JSON.")
def load(
    what: str | None,
    url: str | None,
    service: int | None,
    concurrency: int,
    duration: float,
    rate: float | None,
    warm_up: float,
    as_json: bool,
) -> None:
    """Run a scenario, or request a URL, by many users at once.

    MODULE:NAME is a coroutine function, or a function, without arguments. Without --rate each user begins again when
    the execution before has ended, and a system that stalls is asked less: its stalls look smaller than users would
    find them. With --rate the response time counts from the moment at which an execution was due.

    Example: dbsight load app:list_orders --concurrency 2 --duration 0.2
    """
    if (what is None) == (url is None):
        raise click.UsageError("MODULE:NAME or --url is needed, and only one of them")
    scenario = _requests(url, concurrency) if url is not None else target(str(what))
    if not callable(scenario):
        raise click.UsageError(f"{what} is not a function")
    served = _watched(service, given=url is not None)
    with Progress(
        TextColumn("{task.completed:.0f} s"),
        BarColumn(),
        TextColumn("{task.fields[count]} executions"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task("", total=duration, count=0)
        result = load_test(
            scenario,
            concurrency,
            duration,
            rate=rate,
            warm_up=warm_up,
            progress=lambda passed, count: progress.update(task, completed=passed, count=count),
        )
    routes = served.stop() if served is not None else ()
    if as_json:
        plain = result.plain()
        if served is not None:
            plain["service"] = {"routes": [route.plain() for route in routes], "missed": served.missed}
        click.echo(json.dumps(plain, indent=1))
    else:
        _print(result)
        if served is not None:
            _print_service(result, routes, served.missed)


def _watched(service: int | None, *, given: bool) -> Served | None:
    """What watches the service, None where nobody asked for it."""
    port = service if service is not None else config.current().serve
    if port is None or not given:
        if service is not None:
            raise click.UsageError("--service belongs to --url")
        return None
    served = Served(port)
    if not served.start():
        if service is not None:
            raise UsageFault(f"no process of this user serves with OTEL_DBSIGHT_SERVE={port}")
        return None
    return served


def _requests(url: str, concurrency: int) -> Callable[[], Any]:
    try:
        import httpx
    except ImportError:
        raise UsageFault("httpx is not installed: pip install httpx") from None
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    client = httpx.AsyncClient(limits=limits, timeout=30.0)

    async def request() -> None:
        (await client.get(url)).raise_for_status()

    return request


def _print_service(result: LoadTestResult, routes: Sequence[Route], missed: int) -> None:
    """What the service did to its database, route by route, and its worst request."""
    click.echo("\nin the service:")
    rows = [
        (
            route.route,
            str(route.requests),
            f"{route.queries / route.requests:.4g}",
            str(route.most_queries),
            seconds(route.database / route.requests),
            ", ".join(f"{rule} × {count}" for rule, count in route.findings.most_common()),
        )
        for route in routes
    ]
    print_table(("route", "requests", "queries each", "most", "in the database each", "findings"), rows)
    worst = max((route.worst for route in routes), key=lambda request: request["db_time"], default=None)
    if worst is not None:
        click.echo(f"longest in the database: {worst['route']}, {seconds(worst['db_time'])}, trace {worst['trace']}")
        for query in worst["queries"][:5]:
            click.echo(f"  {query['count']} × {query['summary'] or query['system']}  {seconds(query['time'])}")
    if missed:
        click.echo(f"{missed} requests were not seen: more ended between two looks than the service keeps")


def _print(result: LoadTestResult) -> None:
    rows = [
        ("executions", str(result.total_executions)),
        ("per second", f"{result.executions_per_second:.1f}"),
        ("mean", seconds(result.average_response_time_ms / 1e3)),
        ("p50", seconds(result.p50_response_time_ms / 1e3)),
        ("p95", seconds(result.p95_response_time_ms / 1e3)),
        ("p99", seconds(result.p99_response_time_ms / 1e3)),
        ("max", seconds(result.max_response_time_ms / 1e3)),
        ("errors", f"{result.error_rate:.2f} %"),
        *((f"  {name}", str(count)) for name, count in sorted(result.errors.items())),
    ]
    if result.queries_per_execution:
        rows += [
            ("queries per execution", f"{result.queries_per_execution:.4g}"),
            ("in the database per execution", seconds(result.database_ms_per_execution / 1e3)),
        ]
    rows += [
        (f"pool {name}", f"{seen['active']} active, {seen['waiting']} waiting at most")
        for name, seen in result.pools.items()
        if seen["active"] or seen["waiting"]
    ]
    print_table(("", ""), rows)
