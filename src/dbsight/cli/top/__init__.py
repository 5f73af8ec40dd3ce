"""``dbsight top``: what running processes do to their databases, live."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from dbsight import config, serve
from dbsight.cli.exit_codes import UsageFault
from dbsight.cli.top.columns import sort_names
from dbsight.cli.top.printed import plain, print_view
from dbsight.cli.top.view import view
from dbsight.cli.top.watch import Watch
from dbsight.report.layout import encodable, manner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@click.command()
@click.argument("target", metavar="[PID|URL]", required=False)
@click.option("--service", type=click.IntRange(0, 65535), help="Only processes with this port in OTEL_DBSIGHT_SERVE.")
@click.option("--once", is_flag=True, help="Print one reading and exit; so it does where there is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="Output JSON; implies --once.")
@click.option(
    "--interval", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Seconds between readings."
)
@click.option("--sort", "sorts", multiple=True, help="Column to sort a table by, such as queries.p95; repeatable.")
@click.option("--filter", "filtered", default="", help="Show only rows that contain these words.")
def top(
    target: str | None,
    service: int | None,
    once: bool,
    as_json: bool,
    interval: float,
    sorts: tuple[str, ...],
    filtered: str,
) -> None:
    """Watch requests, queries, pools and findings of running processes.

    Processes serve these figures if they were started with OTEL_DBSIGHT_SERVE=8787 (or 0, for any free port). Without
    PID or URL, all processes of the same user on this machine are watched, and their numbers added; with the PID of a
    server's master process, its workers. The view needs `pip install 'dbsight[top]'`; --once does not.

    Example: dbsight top --once
    """
    if target is not None and service is not None:
        raise click.UsageError("--service does not go together with PID or URL")
    chosen = _sorts(sorts)
    find = _finder(target, service)
    watch = Watch(find)
    watch.read()
    if not any(worker.snapshot is not None for worker in watch.workers):
        raise UsageFault(next((worker.said for worker in watch.workers if worker.said), "the processes have ended"))
    if as_json:
        click.echo(json.dumps(plain(view(watch), chosen, filtered), indent=1))
    elif once or not (sys.stdout.isatty() and sys.stdin.isatty()) or config.environment().get("TERM") == "dumb":
        width, color = manner(sys.stdout)
        printed = print_view(view(watch), chosen, filtered, width=width, color=color)
        click.echo(encodable(printed, getattr(sys.stdout, "encoding", None)), nl=False, color=color)
    else:
        _run(watch, interval, chosen, filtered)


def _run(watch: Watch, interval: float, sorts: dict[str, str], filtered: str) -> None:
    try:
        from dbsight.cli.top.app import TopApp
    except ImportError as error:
        raise UsageFault(
            "the live view needs Textual: pip install 'dbsight[top]'; `dbsight top --once` works without it"
        ) from error
    TopApp(watch, interval=interval, sorts=sorts, filtered=filtered).run()


def _sorts(given: Sequence[str]) -> dict[str, str]:
    """By name of a table, the column that it is sorted by."""
    known = list(sort_names())
    for each in given:
        if each not in known:
            raise click.BadParameter(f"{each!r} is none of {', '.join(known)}", param_hint="--sort")
    return dict(each.split(".", 1) for each in given)


def _finder(target: str | None, service: int | None) -> Callable[[], Sequence[serve.Process]]:
    """What returns the processes to watch; it is called again and again.

    Raises:
        UsageFault: There is none now.
    """
    if target is None:
        if not serve.processes(service):
            setting = f"OTEL_DBSIGHT_SERVE={8787 if service is None else service}"
            raise UsageFault(f"no process of this user serves: start one with {setting}")
        return lambda: serve.processes(service)
    if target.isdecimal():
        pid = int(target)
        if not _of_process(pid):
            if not _exists(pid):
                raise UsageFault(f"there is no process {pid}")
            raise UsageFault(f"process {pid} does not serve for this user: start it with OTEL_DBSIGHT_SERVE=8787")
        return lambda: _of_process(pid)
    from dbsight.serve.client import find

    try:
        process = find(target)
    except ValueError as error:
        raise UsageFault(str(error)) from error
    if process.pid:  # this user's: whatever serves there later is watched, too
        return lambda: [each for each in serve.processes() if each.port == process.port]
    return lambda: [process]


def _of_process(pid: int) -> list[serve.Process]:
    """The processes that serve among a process and its children."""
    import psutil

    pids = {pid}
    try:
        pids.update(child.pid for child in psutil.Process(pid).children(recursive=True))
    except (psutil.Error, OverflowError):
        return []
    return [process for process in serve.processes() if process.pid in pids]


def _exists(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.pid_exists(pid))
    except OverflowError:
        return False
