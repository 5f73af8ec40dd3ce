"""``callproc``: one statement, whatever it is given."""

import contextlib

import pytest

from dbsight import safety
from driver_clients import AioMySQL, AsyncMy, MySQLClient, Psycopg2, PyMySQL


@pytest.fixture(params=[Psycopg2, PyMySQL, MySQLClient, AioMySQL, AsyncMy], ids=lambda kind: kind.__name__)
def client(request, connect):
    """A client of each driver that has it, and a procedure with and one without parameters."""
    client = connect(request.param)
    if client.system == "postgresql":
        makes = [
            "CREATE FUNCTION upper_title(title text) RETURNS text LANGUAGE sql RETURN upper(title)",
            "CREATE FUNCTION first_title() RETURNS text LANGUAGE sql RETURN 'one'",
        ]
    else:
        makes = [
            "CREATE PROCEDURE upper_title(IN title text) SELECT upper(title)",
            "CREATE PROCEDURE first_title() SELECT 'one'",
        ]
    for make in makes:
        client.run(client.execute(make))
    client.run(client.commit())
    client.telemetry.clear()
    return client


def sent(client):
    """What the spans tell of it."""
    return [
        (span.name, span.attributes.get("db.response.returned_rows"))
        for span in client.telemetry.spans()
        if span.kind == "CLIENT"
    ]


def test_a_procedure_is_one_statement(client):
    """Without parameters, with None for none, and with one."""
    with client.telemetry.root():
        assert [tuple(row) for row in client.run(client.call("upper_title", ["two"]))] == [("TWO",)]
        assert [tuple(row) for row in client.run(client.call("first_title"))] == [("one",)]
    names = ["upper_title", "first_title"]
    verb = "SELECT" if client.system == "postgresql" else "CALL"
    assert [name for name, _ in sent(client)] == [f"{verb} {name}" for name in names]


def test_no_parameters_are_none(client):
    """Where the driver takes None for none."""
    with client.telemetry.root(), contextlib.suppress(TypeError):  # of mysqlclient and aiomysql
        assert [tuple(row) for row in client.run(client.call("first_title", None))] == [("one",)]
    assert len(sent(client)) == 1
    assert safety.errors() == {}


def test_what_are_no_parameters_is_the_drivers_to_say(client):
    """Its own error, and nothing of dbsight fails."""
    with client.telemetry.root(), pytest.raises(TypeError):
        client.run(client.call("first_title", 42))
    client.run(client.rollback())
    assert safety.errors() == {}
