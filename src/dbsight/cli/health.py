"""``dbsight health``: whether databases answer, for people, probes of containers and cron."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import asdict
from typing import Any

import click

from dbsight import config
from dbsight.cli.exit_codes import FINDINGS
from dbsight.formatting import seconds
from dbsight.health import Health, Healthz, health_check


@click.command()
@click.argument("url", nargs=-1)
@click.option("--timeout", default=5.0, show_default=True, type=click.FloatRange(min=0, min_open=True), help="Seconds.")
@click.option("--json", "as_json", is_flag=True, help="Output JSON.")
def health(url: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Ask each database at a URL of SQLAlchemy or Redis for a sign of life: SELECT 1, or PING.

    Without URLs, those of the environment variables DATABASE_URL and REDIS_URL. The exit code is 0 if every database
    answers within the timeout, 1 if one does not, 2 if there is none to ask. Passwords are not shown.

    Example: dbsight health sqlite:///shop.db
    """
    environment = config.environment()
    urls = url or tuple(environment[name] for name in ("DATABASE_URL", "REDIS_URL") if environment.get(name))
    if not urls:
        raise click.UsageError("no URL was given, and neither DATABASE_URL nor REDIS_URL is set")
    results = [_check(each, timeout) for each in urls]
    if as_json:
        click.echo(json.dumps([asdict(each) for each in results], ensure_ascii=False, indent=1))
    else:
        for each in results:
            mark = click.style("✔", fg="green") if each.healthy else click.style("✘", fg="red")
            told = f"answered in {seconds(each.duration)}" if each.healthy else f"did not answer: {each.error}"
            click.echo(f"{mark} {each.component}  {told}")
    if not all(results):
        raise SystemExit(FINDINGS)


def _check(url: str, timeout: float) -> Health:
    target, name, asynchronous = _target(url)
    if asynchronous:
        (result,) = asyncio.run(Healthz(timeout, **{name: target}).check())
        return result
    results: list[Health] = []
    # A driver that waits for a host that is away cannot be interrupted: the thread is left to the end of the process.
    asking = threading.Thread(target=lambda: results.append(health_check(target, name)), daemon=True)
    asking.start()
    asking.join(timeout)
    return results[0] if results else Health(name, False, timeout, "TimeoutError")


def _target(url: str) -> tuple[Any, str, bool]:
    """A client for the URL, the URL without its password, and whether the client is asynchronous.

    Raises:
        click.BadParameter: It is no URL, or what it needs is not installed.
    """
    try:
        if url.partition(":")[0] in {"redis", "rediss", "unix"}:
            from redis import Redis

            client = Redis.from_url(url)
            at = client.connection_pool.connection_kwargs
            return client, f"redis {at.get('path') or '{host}:{port}'.format(**{**_REDIS, **at})}", False
        from sqlalchemy import create_engine
        from sqlalchemy.engine import make_url
        from sqlalchemy.pool import NullPool

        parsed = make_url(url)
        engine = create_engine(parsed, poolclass=NullPool)
        name = parsed.render_as_string(hide_password=True)
        if not getattr(parsed.get_dialect(), "is_async", False):
            return engine, name, False
        from sqlalchemy.ext.asyncio import AsyncEngine

        return AsyncEngine(engine), name, True
    except ImportError as error:
        raise click.BadParameter(str(error), param_hint="URL") from error
    except Exception as error:
        # Messages quote the URL, and with it a password.
        raise click.BadParameter(f"invalid: {type(error).__name__}", param_hint="URL") from error


_REDIS = {"host": "localhost", "port": 6379}
