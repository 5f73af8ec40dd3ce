"""SQLAlchemy's own examples: what a rule reports at warning there, a person has looked at: ``examples.toml``.

They come from the source distribution of the release that is installed, and run on SQLite; nothing else is changed in
them. Those that need PostgreSQL's types, a window, or are suites of tests are left out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from matrix.environments import Missing
from peers import sources
from peers.applications import reviewed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FILE = Path(__file__).parent / "examples.toml"
SERVERS = ("postgresql+asyncpg://scott:tiger@localhost/test", "postgresql+asyncpg://scott:tiger@127.0.0.1/test")
EXAMPLES = (
    *("adjacency_list.adjacency_list", "association.basic_association", "association.dict_of_sets_with_default"),
    *("association.proxied_association", "asyncio.async_orm", "asyncio.async_orm_writeonly", "asyncio.basic"),
    *("asyncio.gather_orm_statements", "asyncio.greenlet_orm", "custom_attributes.active_column_defaults"),
    *("custom_attributes.custom_management", "custom_attributes.listen_for_events", "dogpile_caching.helloworld"),
    *("dogpile_caching.local_session_caching", "dogpile_caching.relationship_caching", "dogpile_caching.advanced"),
    *("extending_query.filter_public", "extending_query.temporal_range", "generic_associations.generic_fk"),
    *("generic_associations.discriminator_on_association", "generic_associations.table_per_association"),
    *("generic_associations.table_per_related", "graphs.directed_graph", "inheritance.concrete"),
    *("inheritance.joined", "inheritance.single", "nested_sets.nested_sets", "sharding.asyncio"),
    *("sharding.separate_databases", "sharding.separate_tables", "versioned_rows.versioned_map"),
    *("versioned_rows.versioned_rows", "versioned_rows.versioned_rows_w_versionid"),
    *("versioned_rows.versioned_update_old_row", "vertical.dictlike-polymorphic", "vertical.dictlike"),
)
ENTER = "\n" * 30
"""Some wait for the reader of their output."""


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """The directory that has ``examples``, with SQLite in place of a server."""
    directory = tmp_path_factory.mktemp("sqlalchemy")
    try:
        archive = sources.archive("sqlalchemy", version("sqlalchemy"))
    except Missing as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))
    source = sources.unpack(archive, directory / "source", ("doc", "test", "lib"))
    shutil.move(source / "examples", directory / "examples")
    for file in (directory / "examples").rglob("*.py"):
        text = changed = file.read_text(encoding="utf-8")
        for server in SERVERS:
            changed = changed.replace(server, "sqlite+aiosqlite:///test.db")
        if changed != text:
            file.write_text(changed, encoding="utf-8")
    return directory


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_found_in_an_example_was_reviewed(name, examples, tmp_path):
    """At warning and above; slow queries are left out, for they are about the machine."""
    report = tmp_path / "report.json"
    env = {
        **os.environ,
        "PYTHONPATH": str(examples),
        "OTEL_DBSIGHT_RULES": "all,-slow_query",
        "OTEL_DBSIGHT_PRESET": "development",
        **dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "none"),
    }
    dbsight = [sys.executable, "-c", "from dbsight.cli.main import main; main()"]
    command = [*dbsight, "run", "--report=json", f"--save={report}", "--", sys.executable, "-m", f"examples.{name}"]
    done = subprocess.run(command, cwd=tmp_path, env=env, input=ENTER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [seen(each) for each in json.loads(report.read_text(encoding="utf-8"))["findings"]]
    told = reviewed.compared(name, found, FILE, info=False)
    assert not told, "\n".join(told)


def seen(finding):
    """A finding of a saved run."""
    site, statement = finding["call_site"], finding["statement"]
    file = site["file"].rpartition("examples/")[2] if site else ""
    place = f"{file}:{site['function']}" if site and finding["rule"] not in reviewed.ANY_PLACE else ""
    query = statement["summary"] if statement and finding["rule"] not in reviewed.ANY_QUERY else ""
    return reviewed.Seen(reviewed.Place(finding["rule"], place, query), finding["severity"], finding["description"])
