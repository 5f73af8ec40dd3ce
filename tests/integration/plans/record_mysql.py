"""Records plans of a real MySQL for the tests that run without one: ``python tests/integration/plans/record_mysql.py``.

Each query of the cases, with the indexes that exist and with those that are advised: the plan as ``FORMAT=JSON``, and
what the same server says of it as a table, which is the judge of how the first is read.
"""

import json
import sys
from pathlib import Path

import sqlalchemy as sa

TESTS = Path(__file__).resolve().parents[2]
RECORDED = TESTS / "unit" / "plans" / "mysql_plans.json"
COLUMNS = ("table", "type", "key", "rows", "filtered")


def record(connection, name, sql):
    """Both forms of one plan."""
    options = {"no_parameters": True}
    ((text,),) = connection.exec_driver_sql(f"EXPLAIN FORMAT=JSON {sql}", execution_options=options).fetchall()
    rows = connection.exec_driver_sql(f"EXPLAIN {sql}", execution_options=options).mappings().all()
    table = [[None if row[each] is None else str(row[each]) for each in COLUMNS] for row in rows]
    return {"name": name, "sql": sql, "table": table, "plan": json.loads(text)}


def main():
    """Start a MySQL, fill it, and write the file."""
    sys.path.insert(0, str(TESTS))
    import dbsight
    import servers
    from integration.plans.advising import name_of, sql_of
    from integration.plans.conftest import mysql_like
    from integration.plans.index_cases import CASES

    found = []
    with servers.serving("mysql") as server:
        for engine in mysql_like(server, "cte_max_recursion_depth = 100000"):
            for case in CASES:
                sql = sql_of(engine, case)
                advice = dbsight.advise_index(sql, engine, proof="scratch")
                with engine.connect() as connection:
                    connection.exec_driver_sql(f"USE `{engine.url.database}`")
                    found.append(record(connection, case.name, sql))
                    for each in advice:
                        connection.exec_driver_sql(each.ddl)
                    if advice:
                        found.append(record(connection, f"{case.name}, indexed", sql))
                    for each in advice:
                        connection.execute(sa.text(f"DROP INDEX {name_of(each)} ON {each.table}"))
            database = engine.url.database
        lines = ",\n".join(json.dumps(each, separators=(",", ":")) for each in found).replace(database, "shop")
        version = server.version
    RECORDED.write_text(f'{{"server":"MySQL Community Server {version}","plans":[\n{lines}\n]}}\n')
    print(f"{len(found)} plans of MySQL {version}")


if __name__ == "__main__":
    main()
