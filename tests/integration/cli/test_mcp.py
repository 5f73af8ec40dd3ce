"""``dbsight mcp``, driven by the client of the official SDK as a coding agent drives it."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from builders import make_statement
from dbsight.cli.agent import AgentError, Project
from dbsight.model import CallSite, Database, Finding, MergedFinding, Snapshot
from dbsight.report import json as saved

SLOW = """
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    orders: Mapped[list["Order"]] = relationship()


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))


engine = create_engine("sqlite://")
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add_all([Customer(orders=[Order()]) for _ in range(20)])
    session.commit()
with Session(engine) as session:
    for customer in session.scalars(select(Customer)):
        print(len(customer.orders))
"""
QUERY = "select(Customer)"
FIX = "select(Customer).options(selectinload(Customer.orders))"


def text_of(result):
    """The text of a tool's answer."""
    return "".join(part.text for part in result.content)


def test_an_agent_lists_shows_mends_compares_and_is_done(tmp_path):
    """List, show, apply the fix that was shown, run again, compare: clean."""
    mcp = pytest.importorskip("mcp", reason="the MCP SDK is not installed")
    program = tmp_path / "app.py"
    program.write_text(SLOW, encoding="utf-8")
    environ = {**os.environ, "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    server = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-c", "from dbsight.cli.main import main; main()", "mcp", "--allow-run"],
        env=environ,
        cwd=tmp_path,
    )

    async def work():
        async with mcp.Client(server) as client:

            async def ask(name, **arguments):
                return await client.call_tool(name, arguments)

            assert {tool.name for tool in (await client.list_tools()).tools} == {
                *("list_findings", "show_finding", "list_queries", "compare_runs", "run_command")
            }
            assert (await ask("list_findings")).is_error
            listed = text_of(await ask("run_command", command=["python", "app.py"]))
            assert "Customer.orders is loaded" in listed.replace("\\", "")
            identity = listed.partition("* `")[2].partition("`")[0]
            shown = text_of(await ask("show_finding", finding_id=identity))
            assert FIX in shown
            assert "customer.orders" in next(line for line in shown.splitlines() if line.startswith("> "))
            assert "orders" in text_of(await ask("list_queries"))
            program.write_text(SLOW.replace(QUERY, FIX), encoding="utf-8")
            assert "No findings" in text_of(await ask("run_command", command=["python", "app.py"]))
            compared = text_of(await ask("compare_runs"))
            assert "**better**" in compared
            assert "gone: warning n" in compared
            assert (await ask("show_finding", finding_id=identity)).is_error

    asyncio.run(work())


def project(tmp_path, file, line=2):
    """A project with a saved run whose finding is at a line of ``file``."""
    found = Finding("n_plus_one", "n1-1", "warning", "query", "SELECT customers runs once per item", "8 queries.")
    found.statement, found.database = (
        make_statement("SELECT 1 FROM customers WHERE name = 'MARKER'"),
        Database("sqlite"),
    )
    found.call_site = CallSite(str(file), line, "f")
    (tmp_path / "project").mkdir()
    run = tmp_path / "project" / "run.json"
    saved.write(Snapshot(calls=8, findings=[MergedFinding(found, 1, 8, 0.1)]), run)
    return Project(tmp_path / "project", [run])


@pytest.mark.parametrize("name", ["../outside.py", "{tmp}/outside.py", "link.py", ".env", "secrets.txt"])
def test_no_file_leaves_but_python_files_of_the_project(tmp_path, name):
    """A saved run can name any file: those elsewhere, links to them, and other kinds of files are not read."""
    told = project(tmp_path, name.format(tmp=tmp_path))
    (tmp_path / "outside.py").write_text("one\nSECRET\n", encoding="utf-8")
    for inside in (".env", "secrets.txt"):
        (tmp_path / "project" / inside).write_text("one\nSECRET\n", encoding="utf-8")
    (tmp_path / "project" / "link.py").symlink_to(tmp_path / "outside.py")
    assert "SECRET" not in told.finding("n1-1")
    assert "MARKER" not in told.finding("n1-1") + told.findings() + told.queries()


def test_the_code_around_a_finding_is_shown(tmp_path):
    """With its line marked."""
    told = project(tmp_path, "app.py")
    (tmp_path / "project" / "app.py").write_text("one\ntwo\nthree\n", encoding="utf-8")
    assert ">    2  two\n     3  three" in told.finding("n1-1")


def test_runs_outside_the_project_are_not_compared(tmp_path):
    """The base of a comparison is a file of the project, too."""
    told = project(tmp_path, "app.py")
    with pytest.raises(AgentError, match="not below the project directory"):
        told.compare("../other.json")
    with pytest.raises(AgentError, match="no earlier run"):
        told.compare()
    assert "no difference" in told.compare("run.json")


def test_a_live_process_is_asked(tmp_path):
    """With the port of the setting SERVE; without a process, one sentence says so."""
    with pytest.raises(AgentError, match="no process of this user serves with OTEL_DBSIGHT_SERVE=1"):
        Project(tmp_path, port=1).findings()
