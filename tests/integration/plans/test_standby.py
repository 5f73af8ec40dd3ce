"""A hot standby of PostgreSQL: plans, measurements and advice come from it, and nothing is written."""

import pytest
import sqlalchemy as sa

import dbsight
import servers
from dbsight import ExplainError
from dbsight.plans.explain import explain
from integration.plans.test_slow_plans import ask, merged, plans, watched  # noqa: F401 - a fixture

READ = "SELECT * FROM orders WHERE customer_id = 7"


@pytest.fixture(scope="module")
def standby(postgresql_server, postgresql_shop):
    """The shop on a standby of the server of the tests."""
    try:
        with servers.embedded_standby(postgresql_server.database) as database:
            engine = sa.create_engine(
                postgresql_shop.url.set(host=database.host, port=database.port, query={}), future=True
            )
            yield engine
            engine.dispose()
    except servers.Unavailable as reason:
        pytest.skip(str(reason))


def test_a_standby_explains_and_measures_what_reads(standby):
    """Also what the planner reads of its catalogue; an engine of autocommit is no exception."""
    with standby.connect() as connection:
        assert connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar() is True
    for engine in (standby, standby.execution_options(isolation_level="AUTOCOMMIT")):
        assert explain(READ, engine).root.table == "orders"
        assert explain(READ, engine, analyze=True).root.actual_rows == 10
        assert explain("DELETE FROM orders", engine).root.operation == "ModifyTable"
        for text in ("DELETE FROM orders", "SELECT * FROM orders FOR UPDATE", "SELECT nextval('orders_id_seq')"):
            with pytest.raises(ExplainError):
                explain(text, engine, analyze=True, rollback=True)


@pytest.mark.parametrize("proof", ["safe", "transaction", "scratch"])
def test_a_standby_gets_advice_that_is_not_tried(standby, proof):
    """No index can be created there: the advice is likely."""
    (advice,) = dbsight.advise_index(READ, standby, proof=proof)
    assert (advice.proof, advice.columns) == ("likely", ("customer_id",))
    assert isinstance(dbsight.index_report(standby).indexes, tuple)


def test_slow_queries_of_a_standby_get_plans(standby, watched):  # noqa: F811
    """From the background, with a proof that is not possible there."""
    telemetry = watched(index_proof="transaction")
    ask(standby, telemetry, "SELECT * FROM orders WHERE customer_id = :customer", customer=7)
    assert len(plans(telemetry)) == 1
    assert [each.details["proof"] for each in merged(telemetry, "missing_index")] == ["likely"]
