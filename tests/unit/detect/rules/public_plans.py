"""Cases of public reports about plans: indexes that are missing, on a real SQLite; plans of PostgreSQL as reported."""

import contextlib

import sqlalchemy as sa

import dbsight
from builders import make_statement
from dbsight.detect.suppressions import BaselineTimes
from dbsight.model import Database, ExplainedQuery, Plan, PlanNode, PlanSummary, Snapshot, StatementTotals
from dbsight.plans import postgresql
from dbsight.plans.issues import ExplainAnalyzer
from dbsight.plans.rendering import as_tree
from unit.detect.loops import HERE, one

POSTGRESQL, SQLITE = Database("postgresql", "shop", "db", 5432), Database("sqlite", "shop.db")


def explained(plan, text, database, *, query_class="slow", advice=None, before=None):
    """A query with its plan, as the worker hands it to the rules."""
    issues = ExplainAnalyzer(plan).issues
    names = tuple(sorted({issue.name for issue in issues}))
    summary = PlanSummary(plan.hash, plan.cost, names, as_tree(plan))
    operation = one(text, duration=1.5, database=database, call_site=HERE)
    return ExplainedQuery(operation, "GET /page", query_class, plan, summary, issues, advice, before)


def asked(text, table, columns, row, *, indexes=(), rows=5000, query_class="slow", more=()):
    """A query on a table of SQLite, which has these indexes and rows made of their number."""
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    with contextlib.closing(engine.raw_connection()) as connection:
        connection.execute(f"CREATE TABLE {table} ({columns})")
        marks = ", ".join("?" * len(row(0)))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", [row(number) for number in range(rows)])
        for statement in (*(f"CREATE INDEX ix_{at} ON {table} ({on})" for at, on in enumerate(indexes)), *more):
            connection.execute(statement)
        connection.execute("ANALYZE")
        connection.commit()
    try:
        plan = dbsight.explain(text, engine)
        return explained(plan, text, SQLITE, query_class=query_class, advice=dbsight.advise_index(text, engine))
    finally:
        engine.dispose()


def planned(root, text="SELECT id FROM t", **options):
    """A query of PostgreSQL with this plan, in the form of ``EXPLAIN (ANALYZE, FORMAT JSON)``."""
    plan = Plan(make_statement(text, "postgresql"), PlanNode(""))
    postgresql.read({"Plan": root}, plan)
    return explained(plan, text, POSTGRESQL, **options)


def step(kind, *children, rows=1, estimated=None, loops=1, cost=100.0, **more):
    """One step of such a plan."""
    return {
        "Node Type": kind,
        "Plan Rows": rows if estimated is None else estimated,
        "Actual Rows": rows,
        "Actual Loops": loops,
        "Total Cost": cost,
        **{name.replace("_", " "): value for name, value in more.items()},
        "Plans": list(children),
    }


def scan(table, rows, **more):
    """A table that is read whole."""
    return step("Seq Scan", rows=rows, Relation_Name=table, **more)


def by_index(table, rows=1, **more):
    """Rows of a table that an index finds."""
    return step("Index Scan", rows=rows, Relation_Name=table, Index_Name=f"ix_{table}", Index_Cond="(a = b)", **more)


def sorted_on_disk(table, rows, kilobytes):
    """A sort that does not fit into the memory."""
    disk = {"Sort_Method": "external merge", "Sort_Space_Type": "Disk", "Sort_Space_Used": kilobytes}
    return step("Sort", scan(table, rows), rows=rows, Sort_Key=["size DESC"], **disk)


def changed(before, after, **options):
    """A query whose plan was another one before."""
    seen = planned(before)
    return planned(after, before=seen.summary, **options)


def timed(before, now, count=100):
    """Totals of a statement, and its times in the baseline: median and 95th percentile, ms."""
    statement = make_statement("SELECT id FROM t WHERE id = ?", "postgresql")
    p50, p95 = (each / 1000 for each in now)
    totals = StatementTotals(statement, POSTGRESQL, count, 0, p50 * count, p50, p95, p95, count)
    times = BaselineTimes(count, before[0] / 1000, before[1] / 1000)
    return Snapshot(statements=[totals]), {"times": {statement.fingerprint: times}}


FIELD = "SELECT * FROM metabase_field WHERE fk_target_field_id = 77"
FIELDS = ("metabase_field", "id INTEGER PRIMARY KEY, name TEXT, fk_target_field_id INTEGER")
PAID = "SELECT * FROM payment_log WHERE user_plan_id = 77 ORDER BY created_at DESC"
LOGS = ("payment_log", "id INTEGER PRIMARY KEY, user_plan_id INTEGER, created_at INTEGER, status TEXT")
ACTIVE = "SELECT * FROM product WHERE is_published = 1"
HASH = step(
    "Hash Join",
    scan("candidates", 40_000),
    step("Hash", scan("connected_sources", 3493), rows=3493, Hash_Batches=1),
    rows=3715,
    cost=900.0,
)
PER_ROW = step(
    "Nested Loop",
    step("CTE Scan", rows=3493, estimated=1, CTE_Name="connected_sources"),
    step("CTE Scan", rows=1, CTE_Name="candidates", loops=3493, Rows_Removed_by_Filter=8875),
    rows=3715,
    estimated=1,
    cost=1200.0,
    Rows_Removed_by_Join_Filter=31_003_646,
)
BLOATED = step(
    "Nested Loop", scan("pg_class", 96_069), by_index("pg_attribute", loops=96_069), rows=96_069, cost=9000.0
)
MERGED = step(
    "Merge Join", by_index("job", 1_449_979), by_index("unused_history", 355_215), rows=1_449_399, cost=81_753.0
)
HASHED = step("Hash Join", scan("job", 60_000_000), by_index("unused_history", 5_087_218), rows=9, cost=2_900_000.0)
BY_PARENT = by_index("activities", 3, cost=8.5)
WHOLE = scan("activities", 3, cost=9_000_000.0, Rows_Removed_by_Filter=300_000_000, Filter="(parent_id = 5)")
THREE = step("Nested Loop", by_index("node", 3), by_index("signaling"), by_index("regulation"), rows=3, cost=30.0)
TWO = step("Nested Loop", scan("node", 90_000), by_index("signaling"), by_index("regulation"), rows=3, cost=9000.0)

CASES = {
    "missing_index": {
        "target of a field": lambda: asked(FIELD, *FIELDS, lambda at: (at, "a", at % 900)),
        "target of a field mended": lambda: asked(
            FIELD, *FIELDS, lambda at: (at, "a", at % 900), indexes=["fk_target_field_id"]
        ),
        "report of a scanner": lambda: asked(
            "SELECT id FROM vulnerability_record WHERE registration_uuid = 'r77'",
            *("vulnerability_record", "id INTEGER PRIMARY KEY, registration_uuid TEXT"),
            lambda at: (at, f"r{at % 500}"),
        ),
        "experience of a candidate": lambda: asked(
            "SELECT experience_id FROM requirement_experience WHERE pool_candidate_id = 77",
            *("requirement_experience", "experience_id INTEGER, pool_candidate_id INTEGER"),
            lambda at: (at, at % 2000),
            query_class=None,
        ),
        "payments of a plan": lambda: asked(PAID, *LOGS, lambda at: (at, at % 700, at, "paid")),
        "payments of a plan mended": lambda: asked(
            PAID, *LOGS, lambda at: (at, at % 700, at, "paid"), indexes=["user_plan_id, created_at DESC"]
        ),
        "metrics of a run": lambda: asked(
            "SELECT key, value FROM metrics WHERE run_uuid = 'u77'",
            *("metrics", "key TEXT, value REAL, run_uuid TEXT"),
            lambda at: (f"k{at}", at / 2, f"u{at % 1000}"),
        ),
        "a few rows": lambda: asked(
            "SELECT * FROM oc_users WHERE displayname = 'a'",
            *("oc_users", "uid TEXT PRIMARY KEY, displayname TEXT"),
            lambda at: (f"u{at}", "a"),
            rows=12,
        ),
        "most are published": lambda: asked(
            ACTIVE, "product", "id INTEGER PRIMARY KEY, is_published INTEGER", lambda at: (at, int(at % 20 > 0))
        ),
        "statistics were old": lambda: asked(
            "SELECT * FROM activities WHERE parent_id IN (5, 6, 7)",
            *("activities", "id INTEGER PRIMARY KEY, parent_id INTEGER"),
            lambda at: (at, None if at % 9 else at),
            indexes=["parent_id"],
        ),
        "since a day": lambda: asked(
            "SELECT * FROM events WHERE updated_at >= '2026-11-28'",
            *("events", "id INTEGER PRIMARY KEY, updated_at TEXT"),
            lambda at: (at, f"20{10 + at % 17}-{1 + at % 12:02}-{1 + at % 28:02}"),
        ),
        "a partial index": lambda: asked(
            "SELECT * FROM jobs WHERE status = 'new' AND queue = 'q7'",
            *("jobs", "id INTEGER PRIMARY KEY, status TEXT, queue TEXT"),
            lambda at: (at, "done" if at % 50 else "new", f"q{at % 300}"),
            more=["CREATE INDEX ix_new ON jobs (queue) WHERE status = 'new'"],
        ),
    },
    "bad_plan": {
        "a sort of entrances": lambda: planned(sorted_on_disk("t_entrance", 133_828, 26_808)),
        "a sort of profiles": lambda: planned(sorted_on_disk("deployments", 400_000, 63_072)),
        "a sort of profiles mended": lambda: planned(
            step("Sort", scan("deployments", 400_000), rows=400_000, Sort_Space_Type="Memory", Sort_Space_Used=103_173)
        ),
        "a hash of entrances": lambda: planned(
            step(
                "Hash Join",
                scan("t_cave", 133_828),
                step("Hash", scan("t_point", 133_828), rows=133_828, Hash_Batches=2, Temp_Written_Blocks=618),
                rows=133_828,
            )
        ),
        "one row was expected": lambda: planned(PER_ROW),
        "one row was expected mended": lambda: planned(HASH),
        "a loop over every table": lambda: planned(BLOATED),
        "a loop over every table mended": lambda: planned(
            step("Hash Join", scan("pg_class", 9000), step("Hash", scan("pg_attribute", 9000), rows=9000), rows=9000)
        ),
        "10 000 metrics": lambda: planned(
            step("Hash Join", scan("metrics", 5000), step("Hash", scan("params", 1000), rows=1000), rows=10_000)
        ),
        "an index is advised": lambda: asked(FIELD, *FIELDS, lambda at: (at, "a", at % 900)),
        "a column store": lambda: planned(by_index("t", 10)),
    },
    "regression": {
        "a new column": lambda: changed(BY_PARENT, WHOLE),
        "two look-ups instead of three": lambda: changed(THREE, TWO),
        "sixteen times the rows": lambda: changed(MERGED, HASHED),
        "3.1 s instead of 0.8": lambda: timed((791.8, 900), (3131.3, 4000)),
        "a point look-up": lambda: timed((23.75, 30), (1251.88, 1400)),
        "3 s instead of 1.3": lambda: timed((1300, 2200), (3000, 6000)),
        "a new column analysed": lambda: changed(BY_PARENT, BY_PARENT),
        "the index is cleared": lambda: timed((17.33, 20), (16.09, 19)),
        "1.2 times": lambda: timed((25.0, 30), (29.8, 36)),
        "a delete": lambda: timed((22.8, 30), (14.7, 20)),
        "the same plan of a larger table": lambda: changed(MERGED, {**MERGED, "Total Cost": MERGED["Total Cost"] * 16}),
        "a new server": lambda: timed((1.3, 2.0), (2.5, 5.0)),
    },
}
