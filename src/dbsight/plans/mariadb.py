"""Plans of MariaDB: ``EXPLAIN FORMAT=JSON`` and ``ANALYZE FORMAT=JSON``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dbsight.plans.errors import ExplainError
from dbsight.plans.mysql import read_only_transaction
from dbsight.plans.mysql_json import read_block
from dbsight.plans.predicates import aliases, resolve
from dbsight.plans.quoting import has_ansi_quotes, read_json, with_readable_names

if TYPE_CHECKING:
    from dbsight.model import Plan
    from dbsight.plans.options import Options, Session


def explain(session: Session, text: str, parameters: Any, options: Options, plan: Plan) -> None:
    """Ask for the plan; limits hold for this statement alone (``SET STATEMENT``), and leave no trace in the session."""
    limits = (
        f"SET STATEMENT max_statement_time = {options.timeout_ms / 1e3}, "
        f"lock_wait_timeout = {math.ceil(options.lock_timeout)}, "
        f"innodb_lock_wait_timeout = {math.ceil(options.lock_timeout)} FOR"
    )
    verb = "ANALYZE" if options.analyze else "EXPLAIN"
    with read_only_transaction(session, text, plan, options):
        rows = session.rows(f"{limits} {verb} FORMAT=JSON {text}", parameters)
    if not rows:
        raise ExplainError("the database returned no plan")
    read(read_json(rows[0][0]), plan)
    if has_ansi_quotes(session):
        with_readable_names(plan)
    resolve(plan, aliases(text, plan.statement))


def read(answer: dict[str, Any], plan: Plan) -> None:
    """Fill a plan from what ``FORMAT=JSON`` returns."""
    block = answer["query_block"]
    plan.root = read_block(block)
    total = block.get("r_total_time_ms")
    plan.analyzed = total is not None or "query_optimization" in answer
    plan.execution_time = None if total is None else total / 1e3
    planning = (answer.get("query_optimization") or {}).get("r_total_time_ms")
    plan.planning_time = None if planning is None else planning / 1e3
