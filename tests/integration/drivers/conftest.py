"""A connected client with a table of three rows, of each driver."""

import contextlib

import pytest


@pytest.fixture
def connect(make_telemetry, request, tmp_path):
    """Connects a client of a kind; ``client.telemetry`` is what was exported of it since its table was filled."""
    with contextlib.ExitStack() as stack:

        def start(kind, **options):
            pytest.importorskip(kind.module, reason="the driver is not installed")
            telemetry = make_telemetry(instrument=False)
            instrumentor = kind.instrumentor()
            instrumentor.instrument(
                tracer_provider=telemetry.tracer_provider, meter_provider=telemetry.meter_provider, skip_dep_check=True
            )
            stack.callback(lambda: instrumentor.is_instrumented_by_opentelemetry and instrumentor.uninstrument())
            database = request.getfixturevalue(kind.server) if kind.server else None
            client = kind(database, tmp_path / "shop.db")
            client.telemetry = telemetry
            client.run(client.connect(**options))
            request.node.addfinalizer(client.end)  # before its database is dropped, which would wait for it
            text = f"INSERT INTO books (id, title) VALUES ({client.mark(1)}, {client.mark(2)})"
            with telemetry.root("setup"):
                client.run(client.execute("CREATE TABLE books (id INTEGER PRIMARY KEY, title VARCHAR(50))"))
                client.run(client.many(text, [(1, "one"), (2, "two"), (3, "three")]))
                client.run(client.commit())
            telemetry.clear()
            return client

        yield start
