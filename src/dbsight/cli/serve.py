"""``dbsight serve``: the HTML page of saved runs or of live processes, for a browser on this machine."""

from __future__ import annotations

import secrets
import signal
import tempfile
import threading
import webbrowser
from contextlib import contextmanager, nullcontext
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from dbsight import serve as endpoint
from dbsight.cli.exit_codes import UsageFault
from dbsight.cli.report import html
from dbsight.cli.runs import read_live, read_run
from dbsight.formatting import counted
from dbsight.monitor.merging import merged
from dbsight.report.layout import one_line
from dbsight.serve.client import EndpointError, ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dbsight.model import Snapshot
    from dbsight.serve.server import Body

_NOTHING: Final = (
    "no process of this user serves: start one with OTEL_DBSIGHT_SERVE=8787, or name runs that were saved with"
    " OTEL_DBSIGHT_REPORT=json"
)


@click.command()
@click.argument("run", nargs=-1, type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen at.  [default: any free port]")
@click.option("--service", type=click.IntRange(0, 65535), help="Only processes with this port in OTEL_DBSIGHT_SERVE.")
@click.option("--open", "browse", is_flag=True, help="Open the page in the browser.")
@click.option("--links", is_flag=True, help="Print the link of each live process's own page, and exit.")
def serve(run: tuple[Path, ...], port: int, service: int | None, browse: bool, links: bool) -> None:
    """Show saved runs as the HTML page in a browser of this machine; without RUN, the live processes as one page.

    Several runs are merged. They are read again for each page: reload it after another run. The page of live processes,
    which were started with OTEL_DBSIGHT_SERVE, reloads itself. The server listens at 127.0.0.1 only, and answers only
    who has the link, which holds a token. Ctrl-C ends it.

    Example: dbsight serve run.json
    """
    if links:
        if run:
            raise click.UsageError("--links is about live processes, not about saved runs")
        _print_links(service)
        return
    page = _Page(run, service)
    page.render()  # what is wrong is said here rather than in the browser
    token = secrets.token_urlsafe(32)
    from dbsight.serve.server import Server

    try:
        server = Server(port, token, {"/": page.answer})
    except OSError as error:
        raise UsageFault(f"port {port} cannot be used: {error.strerror}") from error
    url = f"http://127.0.0.1:{server.server_port}/?token={token}"
    click.echo(url)
    click.echo(f"{page.about()}; Ctrl-C ends the server", err=True)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as a service or a container ends it
    try:
        with _opened(url) if browse else nullcontext():
            server.serve()
    except KeyboardInterrupt:
        server.server_close()
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _opened(url: str) -> Iterator[None]:
    """Open a page in the browser by way of a file that only this user can read.

    Other users of the machine can read the arguments of the browser, which must not hold the token.
    """
    with tempfile.TemporaryDirectory(prefix="dbsight-") as directory:
        file = Path(directory) / "dbsight.html"
        file.write_text(f'<meta http-equiv="refresh" content="0; url={escape(url)}">\n', encoding="utf-8")
        # In a thread: a browser that runs in the terminal ends only with its user.
        threading.Thread(target=webbrowser.open, args=(file.as_uri(),), name="dbsight-browser", daemon=True).start()
        yield


class _Page:
    """What is served: read again for each answer.

    Args:
        runs: Saved runs; empty for live processes.
        service: As in ``OTEL_DBSIGHT_SERVE``; None for all live processes.

    Raises:
        UsageFault: No process serves.
    """

    def __init__(self, runs: Sequence[Path], service: int | None) -> None:
        self._runs = runs
        self._service = service
        self._latest: Snapshot | None = None
        if not runs and not endpoint.processes(service):
            raise UsageFault(_NOTHING)

    def about(self) -> str:
        """What the page shows."""
        if self._runs:
            return f"serving {counted(len(self._runs), 'saved run')}"
        number = len(endpoint.processes(self._service))
        return f"serving {counted(number, 'live process', 'live processes')}"

    def render(self) -> str:
        """The page as it is now; of processes that have ended, as it was last.

        Raises:
            UsageFault: A run cannot be read, no process answers, or Jinja2 is not installed.
        """
        if self._runs:
            return html(merged([read_run(each) for each in self._runs]))
        try:
            self._latest = read_live(self._service)
        except UsageFault:
            if self._latest is None:
                raise
        return html(self._latest, live=True)

    def answer(self, given: Mapping[str, str]) -> Body:
        """The page for a browser.

        Raises:
            ValueError: It cannot be made; the message says why.
        """
        try:
            page = self.render()
        except UsageFault as error:
            raise ValueError(error.message) from error
        return "text/html; charset=utf-8", page.encode("utf-8", "backslashreplace")


def _print_links(service: int | None) -> None:
    found = endpoint.processes(service)
    if not found:
        raise UsageFault(_NOTHING)
    fault = ""
    answered = False
    for process in found:
        try:
            name = one_line(ask(process, "/api/v1/requests?since=0")["process"]["service"])
        except EndpointError as error:
            fault = fault or str(error)
            continue
        answered = True
        click.echo(f"{process.url}/?token={process.token}\t{process.pid}\t{name}")
    if not answered:
        raise UsageFault(fault)
