"""What reading a query text costs: a text that is known, a text that is new, and what parsers take for the same.

    python benchmarks/statement.py               # 40 rounds, half a minute
    python benchmarks/statement.py --rounds 1    # does it run?

Prints CPU time in µs per statement: the median over twenty statements, of each the best of many rounds. The rounds of
all candidates alternate, so that a machine that slows down slows all of them. sqlglot and sqlparse take part where they
are installed; the ratio says how many times as long they take as one reading.
"""
# ruff: noqa: E501 - a statement is quoted as it is sent

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

from dbsight.statement import read
from dbsight.statement.reader import read_text

# What SQLAlchemy, Django and people write, 48 to 560 characters.
STATEMENTS: tuple[tuple[str, str], ...] = (
    ("sqlite", "SELECT customers.id AS customers_id, customers.name AS customers_name \nFROM customers \nWHERE customers.id = ?"),
    ("sqlite", "SELECT orders.id AS orders_id, orders.customer_id AS orders_customer_id, orders.total AS orders_total, orders.created_at AS orders_created_at, customers_1.id AS customers_1_id, customers_1.name AS customers_1_name \nFROM orders LEFT OUTER JOIN customers AS customers_1 ON customers_1.id = orders.customer_id \nWHERE orders.id = ?"),
    ("sqlite", "SELECT anon_1.orders_id AS anon_1_orders_id, items_1.id AS items_1_id, items_1.sku AS items_1_sku \nFROM (SELECT orders.id AS orders_id \nFROM orders ORDER BY orders.id\n LIMIT ? OFFSET ?) AS anon_1 LEFT OUTER JOIN items AS items_1 ON anon_1.orders_id = items_1.order_id"),
    ("sqlite", "SELECT items.order_id AS items_order_id, items.id AS items_id \nFROM items \nWHERE items.order_id IN (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    ("sqlite", "INSERT INTO orders (customer_id, total, status, created_at) VALUES (?, ?, ?, ?)"),
    ("sqlite", "UPDATE orders SET total=?, status=? WHERE orders.id = ?"),
    ("sqlite", "DELETE FROM orders WHERE orders.id = ?"),
    ("postgresql", "SELECT orders.id AS orders_id, orders.total AS orders_total, orders.status AS orders_status \nFROM orders \nWHERE orders.customer_id = $1::INTEGER AND orders.status = $2::VARCHAR ORDER BY orders.id DESC \n LIMIT $3::INTEGER"),
    ("postgresql", "SELECT count(*) AS count_1 \nFROM (SELECT DISTINCT orders.customer_id AS customer_id \nFROM orders \nWHERE orders.created_at > %(created_at_1)s::TIMESTAMP WITHOUT TIME ZONE) AS anon_1"),
    ("postgresql", "INSERT INTO orders (customer_id, total, status, created_at) VALUES (%(customer_id)s::INTEGER, %(total)s::NUMERIC(10, 2), %(status)s::VARCHAR, %(created_at)s::TIMESTAMP WITHOUT TIME ZONE) RETURNING orders.id"),
    ("postgresql", 'SELECT "auth_user"."id", "auth_user"."password", "auth_user"."last_login", "auth_user"."is_superuser", "auth_user"."username", "auth_user"."email" FROM "auth_user" INNER JOIN "profile" ON ("auth_user"."id" = "profile"."user_id") WHERE "auth_user"."id" = 17 LIMIT 21'),
    ("postgresql", 'SELECT (1) AS "a" FROM "shop_order" WHERE ("shop_order"."customer_id" = 5 AND "shop_order"."state" IN (\'new\', \'paid\')) LIMIT 1'),
    ("postgresql", 'UPDATE "shop_order" SET "total" = ("shop_order"."total" + 10) WHERE "shop_order"."id" = 3'),
    ("postgresql", "SELECT id, name, email, created_at, status FROM users WHERE status = 'active' AND created_at > '2026-01-01' AND id IN (1, 2, 3, 4, 5) ORDER BY created_at DESC LIMIT 50"),
    ("postgresql", "WITH recent AS (SELECT id, customer_id, total FROM orders WHERE created_at > now() - interval '1 day')\nSELECT c.name, sum(r.total)\n  FROM recent r\n  JOIN customers c ON c.id = r.customer_id\n GROUP BY c.name\nHAVING sum(r.total) > 1000\n ORDER BY 2 DESC"),
    ("postgresql", "INSERT INTO stock (sku, n) VALUES ('a', 1), ('b', 2), ('c', 3) ON CONFLICT (sku) DO UPDATE SET n = stock.n + excluded.n RETURNING id"),
    ("mysql", "SELECT `orders`.`id`, `orders`.`total`, `orders`.`status` FROM `orders` WHERE `orders`.`customer_id` = %s AND `orders`.`status` <> 'cancelled' ORDER BY `orders`.`id` LIMIT 20, 10"),
    ("mysql", "INSERT INTO visits (page, n, seen) VALUES (%s, 1, now()) ON DUPLICATE KEY UPDATE n = n + 1, seen = VALUES(seen)"),
    ("microsoft.sql_server", "SELECT TOP (10) [o].[id], [o].[total], [c].[name] FROM [dbo].[orders] AS [o] INNER JOIN [dbo].[customers] AS [c] ON [o].[customer_id] = [c].[id] WHERE [o].[status] = @p0 ORDER BY [o].[id]"),
    ("oracle.db", "SELECT o.id, o.total, c.name FROM orders o, customers c WHERE o.customer_id = c.id AND o.status = :status_1 AND ROWNUM <= :param_1"),
)  # fmt: skip

DIALECTS = {"postgresql": "postgres", "microsoft.sql_server": "tsql", "oracle.db": "oracle"}


def candidates() -> dict[str, Callable[[str, str], object]]:
    """What is compared, by name; each takes a text and its system."""
    found: dict[str, Callable[[str, str], object]] = {"hit": read, "miss": read_text}
    if importlib.util.find_spec("sqlglot"):
        import sqlglot

        found["sqlglot tokenize"] = lambda text, system: sqlglot.tokenize(text, read=DIALECTS.get(system, system))
        # It does not know %s: errors are passed over.
        found["sqlglot parse"] = lambda text, system: sqlglot.parse(
            text, read=DIALECTS.get(system, system), error_level=sqlglot.ErrorLevel.IGNORE
        )
    if importlib.util.find_spec("sqlparse"):
        import sqlparse
        import sqlparse.lexer

        found["sqlparse lex"] = lambda text, _system: list(sqlparse.lexer.tokenize(text))
        found["sqlparse parse"] = lambda text, _system: sqlparse.parse(text)
    return found


def measure(candidate: Callable[[str, str], object], text: str, system: str, repeats: int) -> float:
    """CPU µs of one call, averaged over so many."""
    began = time.process_time()
    for _ in range(repeats):
        candidate(text, system)
    return (time.process_time() - began) / repeats * 1e6


def main() -> None:
    """Measure, and print one line per candidate."""
    parser = argparse.ArgumentParser(description="What reading a query text costs.")
    parser.add_argument("--rounds", type=int, default=40, help="how often everything is measured; the best counts")
    rounds = parser.parse_args().rounds
    found = candidates()
    best = {name: [float("inf")] * len(STATEMENTS) for name in found}
    for system, text in STATEMENTS:
        read(text, system)
    for _ in range(rounds):
        for place, (system, text) in enumerate(STATEMENTS):
            for name, candidate in found.items():
                repeats = {"hit": 2000, "miss": 20}.get(name, 2)
                best[name][place] = min(best[name][place], measure(candidate, text, system, repeats))
    miss = statistics.median(best["miss"])
    lengths = [len(text) for _, text in STATEMENTS]
    print(f"{len(STATEMENTS)} statements of {min(lengths)} to {max(lengths)} characters, CPU µs, median (worst)")
    for name, times in best.items():
        median = statistics.median(times)
        print(f"{name:18} {median:8.2f} ({max(times):8.2f})   {median / miss:6.2f} × miss")


if __name__ == "__main__":
    main()
