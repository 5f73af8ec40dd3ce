"""Workloads without SQLAlchemy: bare drivers and Django's ORM.

Each reads a row by primary key from each of the twenty tables, on one connection that commits by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from importlib import import_module
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

import tables
from program import Program

if TYPE_CHECKING:
    from variants import Telemetry

ALIAS = "benchmark"
"""Django's database on PostgreSQL."""


def _sqlite3(_: sa.URL) -> Any:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    tables.fill_sqlite(connection)
    return connection


def _psycopg(url: sa.URL) -> Any:
    return import_module("psycopg").connect(tables.conninfo(url), autocommit=True)


def _psycopg2(url: sa.URL) -> Any:
    connection = import_module("psycopg2").connect(tables.conninfo(url))
    connection.autocommit = True
    return connection


def _pymysql(url: sa.URL) -> Any:
    where = {"host": url.host, "port": url.port, "user": url.username, "password": url.password or ""}
    return import_module("pymysql").connect(**where, database=url.database, autocommit=True)


CONNECT = {"sqlite3": _sqlite3, "psycopg": _psycopg, "psycopg2": _psycopg2, "pymysql": _pymysql}
"""How a connection is opened, by the name of the driver: through its module, where instrumentors put their own."""


def driver(name: str, url: str, telemetry: Telemetry) -> Program:
    """A synchronous driver, through cursors as PEP 249 describes them."""
    driver = name.removeprefix("driver-")
    forget = telemetry.instrument(driver)
    connection = CONNECT[driver](sa.make_url(url))
    texts = tables.texts("?" if driver == "sqlite3" else "%s")

    def run(requests: int) -> None:
        for _ in range(requests):
            with telemetry.request():
                for key, text in enumerate(texts, 1):
                    cursor = connection.cursor()
                    cursor.execute(text, (key,))
                    cursor.fetchone()
                    cursor.close()

    def close() -> None:
        connection.close()
        forget()

    return Program(run, close)


def asyncpg(_: str, url: str, telemetry: Telemetry) -> Program:
    """asyncpg, on an event loop of its own."""
    forget = telemetry.instrument("asyncpg")
    at = sa.make_url(url)
    loop = asyncio.new_event_loop()
    where = {"host": at.host or at.query["host"], "port": at.port or int(str(at.query["port"]))}
    opened = import_module("asyncpg").connect(**where, user=at.username, password=at.password, database=at.database)
    connection = loop.run_until_complete(opened)
    texts = tables.texts("$1")

    async def requests(count: int) -> None:
        for _ in range(count):
            with telemetry.request():
                for key, text in enumerate(texts, 1):
                    await connection.fetchrow(text, key)

    def close() -> None:
        loop.run_until_complete(connection.close())
        loop.close()
        forget()

    return Program(lambda count: loop.run_until_complete(requests(count)), close)


def django(name: str, url: str, telemetry: Telemetry) -> Program:
    """Django's ORM: an object of each table by its primary key; with a view around them where that is asked for."""
    from django.conf import settings
    from django.db import connections

    system = "psycopg" if name == "django-psycopg" else "sqlite3"
    forget = telemetry.instrument(system)
    _set_up()
    alias = ALIAS if system == "psycopg" else "default"
    if alias == ALIAS:
        connections.settings = connections.configure_settings(
            {**settings.DATABASES, ALIAS: _postgresql(sa.make_url(url))}
        )
    connection = connections[alias]
    connection.ensure_connection()
    if alias == "default":
        tables.fill_sqlite(connection.connection)

    def get_objects() -> None:
        for key, kind in enumerate(KINDS, 1):
            kind.objects.using(alias).get(pk=key)

    def run(requests: int) -> None:
        for _ in range(requests):
            with telemetry.request():
                get_objects()

    def close() -> None:
        connection.close()
        del connections[alias]  # a database in memory is not closed
        forget()

    if name == "django-view":
        return _view(get_objects, close, telemetry)
    return Program(run, close)


KINDS: list[Any] = []
"""Django's models of the tables, once there are any."""


def _set_up() -> None:
    """Prepare Django once in this process."""
    import django
    from django.conf import settings
    from django.db import models

    if KINDS:
        return
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        ROOT_URLCONF=(),
        ALLOWED_HOSTS=["*"],
    )
    django.setup()
    KINDS.extend(_model(models, model) for model in tables.MODELS)


def _postgresql(url: sa.URL) -> dict[str, Any]:
    where = {"HOST": url.host or url.query["host"], "PORT": url.port or url.query["port"]}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.database,
        "USER": url.username,
        "PASSWORD": url.password or "",
        **where,
    }


def _view(get_objects: Any, close: Any, telemetry: Telemetry) -> Program:
    """Requests through Django's handler.

    Where an instrumentor of Django is switched on, its span is that of the request, otherwise the benchmark's.
    """
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.test import RequestFactory
    from django.urls import path

    def items(_: object) -> HttpResponse:
        get_objects()
        return HttpResponse("ok")

    settings.ROOT_URLCONF = (path("items", items),)
    traced = telemetry.instrument_framework("django")
    environ = RequestFactory()._base_environ(PATH_INFO="/items")
    application = get_wsgi_application()

    def run(requests: int) -> None:
        for _ in range(requests):
            with contextlib.nullcontext() if traced else telemetry.request():
                application(dict(environ), lambda *_: None).close()

    def end() -> None:
        close()
        if traced:
            traced()

    return Program(run, end)


def _model(models: Any, model: Any) -> Any:
    """The same table for Django."""
    fields = {
        column.name: {int: models.IntegerField, float: models.FloatField}.get(
            column.type.python_type, models.TextField
        )(primary_key=column.primary_key)
        for column in model.__table__.columns
    }
    meta = type("Meta", (), {"app_label": "benchmark", "db_table": model.__tablename__, "managed": False})
    return type(model.__name__, (models.Model,), {**fields, "Meta": meta, "__module__": __name__})
