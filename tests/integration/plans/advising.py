"""Asks for the indexes that the cases lack, creates them, and counts those that help."""

from pathlib import Path

import dbsight
from dbsight.plans.explain import explain
from integration.plans.index_cases import CASES

PAGE = Path(__file__).parents[3] / "docs" / "plans.md"
SPREAD = 0.04
"""Share by which the results of another version of a server, or of other samples of its statistics, may differ."""


def sql_of(engine, case):
    """The query of a case, in the quotes of the database."""
    return case.sql.replace('"', "`") if engine.dialect.name in ("mysql", "mariadb") else case.sql


def system_of(engine):
    """``mariadb`` is ``mysql`` to SQLAlchemy."""
    return "mariadb" if getattr(engine.dialect, "is_mariadb", False) else engine.dialect.name


def lacks(case, engine):
    """What a case lacks on this database; MySQL has the kinds of index that MariaDB has."""
    return case.lacks if system_of(engine).replace("mysql", "mariadb") in case.systems else {}


def is_met(missing, advice):
    """Whether each table that lacks an index got one that begins as it should."""
    return all(
        any(each.table == table and each.columns[0].removesuffix(" DESC") in begins for each in advice)
        for table, begins in missing.items()
    )


def name_of(advice):
    """Of the index."""
    return advice.ddl.split(" ON ")[0].split()[-1]


def rows_read(connection, sql):
    """Rows that MySQL or MariaDB read to execute a query: MariaDB tells no cost, and MySQL's ignores LIMIT."""
    connection.exec_driver_sql("FLUSH STATUS")
    connection.exec_driver_sql(sql, execution_options={"no_parameters": True}).fetchall()
    counters = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'").fetchall()
    return sum(int(number) for _, number in counters)


def helpful_ones(engine, sql, advised):
    """Those of the indexes that the real plan uses once all of them exist; none if it costs as much as before."""
    if not advised:
        return []
    with engine.connect() as connection:
        before = explain(sql, connection)
        if engine.dialect.name == "mysql":  # where DDL is not rolled back
            reads = rows_read(connection, sql)
            for each in advised:
                connection.exec_driver_sql(each.ddl)
            after = explain(sql, connection)
            cheaper = rows_read(connection, sql) < reads
            for each in advised:
                connection.exec_driver_sql(f"DROP INDEX {name_of(each)} ON {each.table}")
        else:
            transaction = connection.begin_nested() if connection.in_transaction() else connection.begin()
            for each in advised:
                connection.exec_driver_sql(
                    each.ddl.replace(" CONCURRENTLY", ""), execution_options={"no_parameters": True}
                )
            after = explain(sql, connection)
            transaction.rollback()
            cheaper = before.cost is None or after.cost < before.cost
    used = {node.index for node in after.nodes()} if cheaper and after.hash != before.hash else set()
    return [each for each in advised if name_of(each) in used]


def counts(engine, proof, *, proofs=("proved",), cases=CASES):
    """Advised indexes, those of them that help; missing indexes, those of them that were advised; what went wrong."""
    advised = helpful = lacking = found = 0
    wrong = []
    for case in cases:
        sql, missing = sql_of(engine, case), lacks(case, engine)
        advice = dbsight.advise_index(sql, engine, proof=proof)
        assert {each.proof for each in advice} <= set(proofs)
        good = helpful_ones(engine, sql, advice) if missing else []
        advised += len(advice)
        helpful += len(good)
        wrong += [(case.name, each.ddl) for each in advice if each not in good]
        if missing:
            lacking += 1
            met = is_met(missing, advice)
            found += met
            if not met:
                wrong.append((case.name, [each.ddl for each in advice]))
    print(f"{system_of(engine)} {proof}: {len(cases)}, {helpful} of {advised}, {found} of {lacking}", wrong)
    return advised, helpful, lacking, found, wrong


def check_the_page(name, cases, results):
    """Assert that precision and recall are what the page about plans says."""
    advised, helpful, lacking, found, _ = results
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {name} |") and " of " in line]
    number, precision, recall = (cell.strip() for cell in row.split("|")[3:6])
    assert int(number) == len(cases)
    assert f"| {name} |{row.split('|')[2]}| {number} | {helpful} of {advised} | {found} of {lacking} |" == row or all(
        got >= eval(said.replace(" of ", "/")) - SPREAD
        for got, said in ((helpful / advised, precision), (found / lacking, recall))
    ), (row, results)
    assert len(cases) >= 60
