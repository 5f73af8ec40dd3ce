"""``dbsight explain`` and Django's querysets."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

import dbsight
from dbsight.cli.main import main
from dbsight.model import Database, PlanSummary, Snapshot, StatementTotals
from dbsight.plans.explain import explain
from dbsight.report.json import write
from dbsight.statement import read
from integration.conftest import shop_on

SQL = "SELECT * FROM orders WHERE status = :status"


def run(*arguments):
    """Exit code and output."""
    result = CliRunner().invoke(main, ["explain", *arguments])
    return result.exit_code, result.output


def test_the_command_prints_plan_and_advice(sqlite_shop):
    """A tree, then what is wrong and what to do."""
    code, output = run(SQL, "--url", str(sqlite_shop.url), "-p", "status=open", "--analyze")
    assert code == 0
    lines = output.splitlines()
    assert lines[0].startswith("SCAN on orders  (actual 100 rows, ")
    assert lines[1:] == [
        "",
        "selective_filter  reads all 5 000 rows of orders to find some of them",
        "  → CREATE INDEX ix_orders_status ON orders (status)",
    ]


def test_the_command_prints_json(sqlite_shop):
    """The plan and its issues."""
    code, output = run(SQL, "--url", str(sqlite_shop.url), "-p", "status=open", "--format", "json")
    answer = json.loads(output)
    assert (code, answer["statement"]) == (0, "SELECT * FROM orders WHERE status = ?")
    assert [(each["name"], each["severity"]) for each in answer["issues"]] == [
        ("seq_scan", "info"),
        ("selective_filter", "warning"),
    ]
    assert answer["issues"][1]["recommendation"] == "CREATE INDEX ix_orders_status ON orders (status)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("DELETE FROM orders", "--analyze"), "this one writes"),
        (("SELECT 1; DELETE FROM orders",), "only one statement"),
        (("SELECT * FROM nowhere",), "gave no plan: OperationalError"),
        (("SELECT * FROM orders", "--rollback"), "--rollback needs --analyze"),
        (("SELECT * FROM orders", "-p", "status"), "--param must be NAME=VALUE"),
        (("nowhere.json", "abc"), "cannot be read"),
        (("SELECT", "*", "FROM"), "quote the SQL"),
    ],
)
def test_the_command_says_why_there_is_no_plan(sqlite_shop, arguments, message):
    """One line, no traceback, exit code 2."""
    code, output = run(*arguments, "--url", str(sqlite_shop.url))
    assert code == 2
    assert message in output
    assert len(output.splitlines()) == 1


def test_the_command_quotes_no_password():
    """Neither of a URL that cannot be read nor of a server that is away."""
    for url in ("nothing://user:s3cret@host/db", "postgresql+psycopg://user:s3cret@127.0.0.1:1/db"):
        code, output = run("SELECT 1", "--url", url)
        assert code == 2
        assert "s3cret" not in output


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def saved_run(request, tmp_path_factory):
    """A shop, and the report of a process that ran three of its statements on it, one with its plan."""
    with shop_on(request.param, request, tmp_path_factory) as engine:
        seen = {}

        @sa.event.listens_for(engine, "before_cursor_execute")
        def note(connection, cursor, statement, parameters, context, many):
            seen[statement] = read(statement, request.param)

        with engine.connect() as connection:
            connection.execute(sa.text(f"{SQL} AND id IN (1, 2)"), {"status": "open"}).all()
            connection.execute(sa.text("SELECT id FROM orders WHERE id = :id AND total % 7 = 1"), {"id": 5}).all()
            connection.exec_driver_sql("SELECT count(*) FROM customers")
        sa.event.remove(engine, "before_cursor_execute", note)
        statements = list(seen.values())
        tree = explain(SQL, engine, params={"status": "open"}, format="tree")
        plans = (PlanSummary("0123456789abcdef", 1.0, (), tree), None, None)
        totals = [
            StatementTotals(statement, Database(request.param), 3, 0, 1.0, 0.1, 0.2, 0.3, 9, None, plan)
            for statement, plan in zip(statements, plans, strict=True)
        ]
        run = tmp_path_factory.mktemp("run") / "run.json"
        write(Snapshot(statements=totals), run)
        yield engine, str(run), [each.fingerprint for each in statements]


def test_a_statement_of_a_saved_run_is_explained_without_its_values(saved_run):
    """By the beginning of its fingerprint; MariaDB's planner needs the values, which are given by name or position."""
    engine, file, (by_status, by_id, _) = saved_run
    url = engine.url.render_as_string(hide_password=False)
    system = json.loads(Path(file).read_text())["statements"][0]["database"]["system"]
    values = ["-p", "id=5", "-p", "2=7", "-p", "3=4"] if system == "mariadb" else []
    code, output = run(file, by_id[:12], "--url", url, *values)
    assert code == 0, output
    assert {"sqlite": "SEARCH on orders", "postgresql": "Index Scan on orders", "mariadb": "const on orders"}[
        system
    ] in output
    known = ["-p", "status=o'pen", "-p", "2=5"]
    code, output = run(file, by_status, "--url", url, *known, *(["-p", "status=x"] if system == "sqlite" else []))
    if system == "sqlite":
        assert (code, output) == (2, "Error: the statement has no placeholder status\n")
        code, output = run(file, by_status, "--url", url, "-p", "1=open")
    assert code == 0, output
    assert output.splitlines()[-1] == "another plan than 0123456789abcdef of the run"
    assert "o'pen" not in output
    if system == "mariadb":
        code, output = run(file, by_id, "--url", url)
        assert code == 2
        assert output == (
            "Error: MySQL and MariaDB plan a statement with its values only: add -p id=VALUE -p 2=VALUE -p 3=VALUE\n"
        )


def test_a_saved_run_lists_its_statements_and_shows_its_plans(saved_run):
    """Without a fingerprint, and without a database."""
    _, file, (by_status, by_id, counting) = saved_run
    code, output = run(file)
    assert code == 0
    assert [line.split()[0] for line in output.splitlines()] == [by_status, by_id, counting]
    code, output = run(file, by_status)
    assert code == 0
    assert "on orders" in output
    assert "the plan 0123456789abcdef of the run" in output
    for fingerprint, message in ((by_id, "has no plan of this statement"), ("f" * 16, "no statement with the")):
        code, output = run(file, fingerprint)
        assert (code, len(output.splitlines())) == (2, 1)
        assert message in output


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql+psycopg"])
def test_the_url_may_name_an_asynchronous_driver(scheme, postgresql_shop):
    """It is the application's own, as a rule."""
    url = postgresql_shop.url.set(drivername=scheme).render_as_string(hide_password=False)
    code, output = run(SQL, "--url", url, "-p", "status=open")
    assert code == 0, output
    assert "Seq Scan on orders" in output


@pytest.fixture(scope="module")
def django_shop(sqlite_shop):
    """A model of Django's on the shop."""
    django = pytest.importorskip("django", reason="Django is not installed")
    from django.conf import settings

    if not settings.configured:
        name = sqlite_shop.url.database
        settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": name}})
        django.setup()
    from django.db import connections, models

    connections["plans"] = connections.create_connection("default")
    connections["plans"].settings_dict["NAME"] = sqlite_shop.url.database
    connections["plans"].alias = "plans"

    class Order(models.Model):
        """A row of the shop."""

        customer_id = models.IntegerField()
        status = models.CharField(max_length=20)
        total = models.IntegerField()

        class Meta:
            """Where it is."""

            app_label = "plans"
            db_table = "orders"

        def __str__(self):
            return f"order {self.pk}"

    yield Order.objects.using("plans")
    connections["plans"].close()


def test_a_queryset_of_django_needs_no_engine(django_shop):
    """Its own database is asked, with its parameters; also inside a transaction, which goes on."""
    from django.db import connections, transaction

    queryset = django_shop.filter(status="open").order_by("total")
    plan = explain(queryset, analyze=True)
    assert plan.root.actual_rows == 100
    assert {"seq_scan", "sort"} <= set(dbsight.ExplainAnalyzer(plan).labels)
    with transaction.atomic(using="plans"):
        assert explain(queryset).root.kind == plan.root.kind
        assert not connections["plans"].needs_rollback
        assert django_shop.filter(id=1).update(total=0) == 1
        transaction.set_rollback(True, using="plans")
    assert (
        explain("SELECT 1 FROM orders WHERE status = %s", connections["plans"], params=("open",)).root.table == "orders"
    )


def test_the_documentation_shows_what_is_printed(sqlite_shop, tmp_path, monkeypatch, capsys):
    """Each example of docs/plans.md runs, and prints what stands below it."""
    page = (Path(__file__).parents[3] / "docs" / "plans.md").read_text(encoding="utf-8")
    shutil.copy(sqlite_shop.url.database, tmp_path / "shop.db")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", page, re.DOTALL)
    for code, shown in examples:
        exec(compile(code, "docs/plans.md", "exec"), {})
        assert capsys.readouterr().out == shown
    assert len(examples) == 3
    command = re.search(r'dbsight explain ("SELECT.*)', page)[1]
    code, output = run(*shlex.split(command))
    assert (code, output.splitlines()[0]) == (0, "SCAN on orders")
