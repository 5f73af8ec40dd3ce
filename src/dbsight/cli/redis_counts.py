"""``dbsight doctor redis``: what a Redis server counts, beside what the processes of this machine hold."""

from __future__ import annotations

import importlib.util
import json
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from dbsight import config
from dbsight.cli.exit_codes import FINDINGS, UsageFault
from dbsight.formatting import count, counted, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dbsight.cli.check import Mark
    from dbsight.instrument.redis_server import ServerState

DEFAULT_URL: Final = "redis://localhost:6379/0"

_ENOUGH: Final = 100  # look-ups from which a ratio says something
_FULL: Final = 0.8


class Answer(NamedTuple):
    """A line: as of ``dbsight doctor``.

    Attributes:
        check: What was looked at.
        mark: ✔ is right, ✘ is wrong, ? is worth a look.
        text: What was seen.
        advice: What to do, empty after ✔.
    """

    check: str
    mark: Mark
    text: str
    advice: str


class Process(NamedTuple):
    """One process with connections to the server, or one other machine.

    Attributes:
        name: Of the program; ``from 10.0.0.7`` for another machine.
        pid: None for another machine, and where we may not know.
        client_side: Connections that it holds by the operating system's account; None where that is not known here.
        server_side: Those of them that the server lists.
        rss: Resident memory, bytes, or None.
        vms: Virtual memory, bytes, or None.
    """

    name: str
    pid: int | None
    client_side: int | None
    server_side: int
    rss: int | None = None
    vms: int | None = None


class Counts(NamedTuple):
    """The answer.

    Attributes:
        answers: What the server says.
        processes: Who holds connections, the most first.
    """

    answers: list[Answer]
    processes: list[Process]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Output JSON.")
@click.argument("url", default="")
def redis_counts(url: str, as_json: bool) -> None:
    """Show the clients, memory and slow log of a Redis server (REDIS_URL, or redis://localhost:6379/0).

    The exit code is 1 when something is wrong.

    Example: dbsight doctor redis
    """
    try:
        counts = look(url or config.environment().get("REDIS_URL") or DEFAULT_URL)
    except LookupError as error:
        raise UsageFault(str(error)) from error
    if as_json:
        plain = {
            "answers": [answer._asdict() for answer in counts.answers],
            "processes": [process._asdict() for process in counts.processes],
        }
        click.echo(json.dumps(plain, ensure_ascii=False, indent=1))
    else:
        show(counts)
    if any(answer.mark == "✘" for answer in counts.answers):
        raise SystemExit(FINDINGS)


def show(counts: Counts) -> None:
    """Print it."""
    for answer in counts.answers:
        color = {"✔": "green", "✘": "red", "?": "yellow"}[answer.mark]
        click.echo(f"{click.style(answer.mark, fg=color)} {answer.check:<13} {answer.text}")
        if answer.advice:
            click.echo(f"  {'':<13} → {answer.advice}")
    if counts.processes:
        wide = max(7, *(len(each.name) for each in counts.processes))
        click.echo(f"\n{'process':<{wide}} {'pid':>8} {'client side':>12} {'server side':>12} {'rss':>10} {'vms':>10}")
        for each in counts.processes:
            held = "–" if each.client_side is None else count(each.client_side)
            numbers = f"{each.pid or '–':>8} {held:>12} {count(each.server_side):>12}"
            click.echo(f"{each.name:<{wide}} {numbers} {_bytes(each.rss):>10} {_bytes(each.vms):>10}")


def look(url: str) -> Counts:
    """Query the server and the operating system.

    Args:
        url: URL of the server.

    Raises:
        LookupError: Neither redis-py nor valkey-py is installed, or the URL is invalid.
    """
    package = next((name for name in ("redis", "valkey") if importlib.util.find_spec(name)), None)
    if package is None:
        raise LookupError("neither redis nor valkey is installed: pip install redis")
    from dbsight.instrument.redis_server import ask, connection_to

    library = importlib.import_module(package)
    try:
        pool = library.ConnectionPool.from_url(url)
    except ValueError as error:
        raise LookupError(f"not a Redis URL: {error}") from error
    options = pool.connection_kwargs
    where = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    connection = connection_to(pool, package)
    errors: tuple[type[Exception], ...] = (getattr(library, f"{package.title()}Error"), OSError)
    try:
        state = ask(connection)
        clients = _clients(connection)
    except errors as error:
        wrong = Answer(
            "server", "✘", f"{where} does not answer: {type(error).__name__}", "start it, or pass another URL"
        )
        return Counts([wrong], [])
    finally:
        connection.disconnect()
    processes = list(_processes(clients, options))
    return Counts([*_answers(where, state), _sides(processes)], processes)


def _clients(connection: Any) -> list[str]:
    """Return the addresses of the server's clients, except our own."""
    connection.send_command("CLIENT", "ID")
    own = str(connection.read_response())
    connection.send_command("CLIENT", "LIST")
    lines = bytes(connection.read_response()).decode("utf-8", "replace").splitlines()
    listed = [dict(word.partition("=")[::2] for word in line.split()) for line in lines]
    return [
        client.get("addr", "")
        for client in listed
        if client.get("id") != own and client.get("flags", "") not in {"S", "M"}
    ]


# -- Data of the server --------------------------------------------------------------------------------------------
def _answers(where: str, state: ServerState) -> Iterator[Answer]:
    info = state.info
    name = "valkey" if "valkey_version" in info else "redis"
    version = info.get("valkey_version") or info.get("redis_version", "")
    yield Answer("server", "✔", f"{name} {version} at {where}, up {_days(state.number('uptime_in_seconds'))}", "")
    connected, limit = state.number("connected_clients"), state.number("maxclients")
    blocked, refused = state.number("blocked_clients"), state.number("rejected_connections")
    text = f"{count(connected)} connected" + (f" of {count(limit)}" if limit else "")
    text += f", {count(blocked)} blocked, {count(refused)} refused since server start"
    if refused:
        yield Answer("clients", "✘", text, "use fewer connections (one pool per process), or raise maxclients")
    elif limit and connected > _FULL * limit:
        yield Answer("clients", "?", text, "use fewer connections: one pool per process, shared by all clients")
    else:
        yield Answer("clients", "✔", text, "")
    yield _memory(state)
    yield from _hits(state)
    yield _slow_log(state)


def _memory(state: ServerState) -> Answer:
    used, most, limit = (state.number(field) for field in ("used_memory", "used_memory_peak", "maxmemory"))
    evicted = state.number("evicted_keys")
    text = f"{_bytes(used)} used, {_bytes(most)} peak, "
    text += f"limit {_bytes(limit)}" if limit else "no limit"
    text += f", {counted(evicted, 'key')} evicted since server start"
    if evicted or (limit and used > _FULL * limit):
        return Answer("memory", "?", text, "set expiry times on cached keys, or raise maxmemory")
    return Answer("memory", "✔", text, "")


def _hits(state: ServerState) -> Iterator[Answer]:
    hits, misses = state.number("keyspace_hits"), state.number("keyspace_misses")
    if hits + misses < _ENOUGH:
        return
    ratio = hits / (hits + misses)
    text = f"{ratio:.0%} of {count(hits + misses)} lookups of all clients were hits"
    if ratio < config.current().cache_hit_ratio_threshold:
        yield Answer("hits", "?", text, "the rule cache_miss reports the key templates")
    else:
        yield Answer("hits", "✔", text, "")


def _slow_log(state: ServerState) -> Answer:
    if not state.slow:
        return Answer("slow log", "✔", "empty", "")
    slowest = max(state.slow, key=lambda entry: entry.duration)
    text = f"{counted(len(state.slow), 'entry', 'entries')}, the slowest {seconds(slowest.duration)}: {slowest.text}"
    return Answer("slow log", "?", text, "the server serves no other client while a command runs")


def _sides(processes: Sequence[Process]) -> Answer:
    held = sum(each.client_side or 0 for each in processes)
    known = sum(each.server_side for each in processes if each.client_side is not None)
    remote = sum(each.server_side for each in processes if each.client_side is None)
    text = f"{count(held)} open in processes on this machine,  {count(known)} of them known to the server"
    text += f"; {count(remote)} from other machines" if remote else ""
    if held != known:
        return Answer("connections", "?", text, "the rest is new, or was closed by the server (timeout, maxclients)")
    return Answer("connections", "✔", text, "")


# -- Data of the operating system ----------------------------------------------------------------------------------
def _processes(clients: Sequence[str], options: Mapping[str, Any]) -> Iterator[Process]:
    """Yield the processes that hold connections, the most first."""
    import psutil

    listed = Counter(clients)
    held: Counter[int | None] = Counter()
    known: Counter[int | None] = Counter()
    for address, pid in _sockets(options):
        held[pid] += 1
        if listed[address]:
            listed[address] -= 1
            known[pid] += 1
    for pid, number in held.most_common():
        name, rss, vms = "(other user)", None, None
        if pid is not None:
            try:
                process = psutil.Process(pid)
                memory = process.memory_info()
                name, rss, vms = process.name(), memory.rss, memory.vms
            except psutil.Error:
                name = "gone"
        yield Process(name, pid, number, known[pid], rss, vms)
    remote: Counter[str] = Counter()
    for address, number in listed.items():
        remote[_host(address)] += number
    for host, number in remote.most_common():
        if number:
            yield Process(f"from {host}", None, None, number)


def _sockets(options: Mapping[str, Any]) -> Iterator[tuple[str, int | None]]:
    """Yield local address, in the server's notation, and process of each connection to the server, except our own."""
    import os

    import psutil

    if options.get("path"):
        return
    port = int(options.get("port", 6379))
    try:
        found = socket.getaddrinfo(options.get("host", "localhost"), port, type=socket.SOCK_STREAM)
        connections = psutil.net_connections(kind="tcp")
    except (OSError, psutil.Error):  # unresolvable name; macOS requires root
        return
    addresses = {each[4][0] for each in found}
    for each in connections:
        if each.status != psutil.CONN_ESTABLISHED or not each.raddr or each.pid == os.getpid():
            continue
        if each.raddr.port == port and each.raddr.ip.removeprefix("::ffff:") in addresses:
            ip = each.laddr.ip.removeprefix("::ffff:")
            yield (f"[{ip}]:{each.laddr.port}" if ":" in ip else f"{ip}:{each.laddr.port}"), each.pid


def _host(address: str) -> str:
    """``10.0.0.7`` of ``10.0.0.7:51234``; a unix socket's path."""
    return "a unix socket" if address.startswith("/") else address.rpartition(":")[0]


def _bytes(number: int | None) -> str:
    if number is None:
        return "–"
    return f"{number / 2**20:.1f} MB" if number < 2**30 else f"{number / 2**30:.2f} GB"


def _days(uptime: int) -> str:
    return f"{uptime / 86400:.1f} d" if uptime >= 86400 else seconds(uptime) if uptime else "since now"
