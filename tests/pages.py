"""Totals for tests of pages: one with everything in it, and one in which every text is an attack."""

from __future__ import annotations

from builders import NOW_NS, make_operation, make_statement
from dbsight.model import (
    Borrowing,
    CacheTotals,
    CallSite,
    Database,
    Finding,
    LockTotals,
    MemorySample,
    MergedFinding,
    PlanSummary,
    PoolSnapshot,
    PoolState,
    PoolTotals,
    RouteTotals,
    Snapshot,
    Statement,
    StatementTotals,
    Step,
    WindowExample,
)

SHOP = Database("sqlite", "shop.db")
HOSTILE = (
    """</script><script>window.hacked=1</script>"'><img src=x onerror=window.hacked=1>{{7*7}}{% raw %}\x00\u202e"""
)


def example(count: int = 20, route: str = "GET /orders") -> WindowExample:
    """A request that loads customers one by one."""
    orders = make_operation("SELECT id FROM orders").statement
    customers = make_operation().statement
    steps = [Step(0.01, 0.02, 0.03, orders, wait=0.005, rows=2000)]
    steps += [Step(0.04 + n / 100, 0.004, 0.044 + n / 100, customers, rows=1) for n in range(count)]
    return WindowExample(route, "4b" * 16, NOW_NS, 0.3, True, count + 1, 0.1, ("n1-1",), steps)


def full_snapshot() -> Snapshot:
    """Every section of the page: a slow query with its index, an N+1, a pool, memory, a cache, a lock, Redis."""
    lines, customers = make_statement("SELECT id FROM order_lines WHERE sku = ?"), make_statement()
    plan = PlanSummary("ab" * 8, 120.0, ("seq_scan",), "RESULT\n└─ SCAN on order_lines", 1)
    site = CallSite("src/shop/handlers/orders.py", 88, "list_orders")
    details = {"wait": 0.2, "connect": 0.0, "execute": 4.0, "fetch": 0.8, "lock": 1.0, "rows": 7, "facts": "7 rows"}
    slow = Finding("slow_query", "sq-1", "error", "query", "SELECT order_lines is very slow", "Executed 4.00 s.")
    slow.details, slow.plan, slow.current_value, slow.threshold = details, plan, 5.0, 1.0
    index = Finding("missing_index", "mi-1", "error", "index", "order_lines has no index on (sku)", "")
    index.suggestion = "CREATE INDEX ix_order_lines_sku ON order_lines (sku)"
    index.details = {"proof": "proved", "alembic": "op.create_index('ix_order_lines_sku', 'order_lines', ['sku'])"}
    loop = Finding(
        "n_plus_one", "n1-1", "warning", "query", "Order.customer is loaded one row at a time", "20 queries."
    )
    loop.suggestion, loop.count, loop.impact = "select(Order).options(joinedload(Order.customer))", 20, 0.2
    leak = Finding("connection_leak", "cl-1", "info", "pool", "A connection of shop.db was not returned", "One is out.")
    leak.suggestion = "with engine.connect() as connection:\n    …"
    for each, statement in ((slow, lines), (index, lines), (loop, customers), (leak, None)):
        each.statement, each.database, each.call_site, each.route = statement, SHOP, site, "GET /orders"
    reader = CallSite("src/shop/export.py", 141, "export_csv")
    pool = PoolSnapshot(
        PoolState("shop.db", "sqlalchemy", "QueuePool", "sqlite", max=1, used=1, most=1),
        PoolTotals(checkouts=3, waits=2, timeouts=1, needed=2, leaks=1),
        uses=[
            Borrowing(100.0, 0.0, 10.0, 1, reader),
            Borrowing(102.0, 3.0, 0.0, 2, None),
            Borrowing(104.0, 6.0, 2.0, 3, reader),
        ],
    )
    price = make_statement("GET price:1", "redis")
    redis = Database("redis", "0", "localhost", 6379)
    return Snapshot(
        service="shop",
        preset="development",
        windows=12,
        requests=12,
        calls=1486,
        db_time=8.0,
        window_time=12.0,
        request_time=12.0,
        request_db_time=8.0,
        p95=0.8,
        failed=1,
        findings=[
            MergedFinding(slow, 1, 1, 4.0, 1),
            MergedFinding(loop, 12, 240, 2.4, 12),
            MergedFinding(index, 1, 1, 0.0, 1),
            MergedFinding(leak, 1, 1, 0.0),
        ],
        statements=[
            StatementTotals(lines, SHOP, 1, 1, 5.0, 5.0, 5.0, 5.0, 7, site, plan, ((5.0, 1),)),
            StatementTotals(
                customers, SHOP, 240, 0, 1.2, 0.003, 0.005, 0.01, 240, site, None, ((0.003, 200), (0.1, 40))
            ),
            StatementTotals(price, redis, 9, 0, 0.01, 0.001, 0.002, 0.002, 0, site, None, ((0.001, 9),)),
        ],
        routes=[
            RouteTotals("GET /orders", 12, 252, 8.0, 12.0, 21, 2),
            RouteTotals("dbsight.window", 1, 2, 0.1, 1.0, 2),
        ],
        examples=[example()],
        pools=[pool],
        memory=[MemorySample(NOW_NS - 10**9, 10**8, 0), MemorySample(NOW_NS + 10**9, 2 * 10**8, 0)],
        caches=[CacheTotals("prices", hits=3, misses=7, call_site=site)],
        locks=[LockTotals("redis", "basket:{}", acquired=3, wait_total=1.0, call_site=site)],
        dropped={"windows": 2},
    )


def hostile_snapshot(word: str = HOSTILE) -> Snapshot:
    """Totals in which every text is ``word``."""
    statement = Statement("sqlite", word, word, word, kind="select")
    site = CallSite(word, 1, word, CallSite(word, 2, word))
    plan = PlanSummary(word, 1.0, (word,), f"{word}\n  {word}", 1)
    details = {"wait": 0.1, "connect": 0.0, "execute": 0.2, "fetch": 0.1, "lock": 0.0, "rows": 3, "facts": word}
    found = [
        Finding(rule, f"{rule}-1", "error", "query", word, word, word, 0.1, route=word, trace=word, plan=plan)
        for rule in ("slow_query", "n_plus_one", "missing_index")
    ]
    for each in found:
        each.statement, each.call_site, each.details = statement, site, details
    database = Database(word, word, word)
    use = Borrowing(1.7e9, 0.1, 0.5, 0, site)
    return Snapshot(
        service=word,
        preset=word,
        calls=3,
        db_time=1.0,
        findings=[MergedFinding(each, 2, 3, 0.2, 2) for each in found],
        statements=[StatementTotals(statement, database, 3, 1, 1.0, 0.1, 0.2, 0.3, 4, site, plan, ((0.1, 3),))],
        examples=[WindowExample(word, word, NOW_NS, 1.0, True, 9, 0.5, (), [Step(0, 0.1, 0.1, statement, error=word)])],
        pools=[PoolSnapshot(PoolState(word, word, word, word), PoolTotals(checkouts=1), [], [use])],
        dropped={word: 1},
        unused=(word,),
    )
