"""``dbsight explain`` and Django's querysets."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import dbsight
from dbsight.cli.main import main
from dbsight.plans.explain import explain

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
    ],
)
def test_the_command_says_why_there_is_no_plan(sqlite_shop, arguments, message):
    """One line, no traceback, exit code above zero."""
    code, output = run(*arguments, "--url", str(sqlite_shop.url))
    assert code > 0
    assert message in output
    assert "Traceback" not in output


def test_the_command_quotes_no_password():
    """Neither of a URL that cannot be read nor of a server that is away."""
    for url in ("nothing://user:s3cret@host/db", "postgresql+psycopg://user:s3cret@127.0.0.1:1/db"):
        code, output = run("SELECT 1", "--url", url)
        assert code == 1
        assert "s3cret" not in output


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
    assert len(examples) == 2
    command = re.search(r'dbsight explain ("SELECT.*)', page)[1]
    code, output = run(*shlex.split(command))
    assert (code, output.splitlines()[0]) == (0, "SCAN on orders")
