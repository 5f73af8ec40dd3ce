"""Schemas, rows and queries of which is known what index they lack.

Three schemas: a shop with several tenants and soft deletion, the tables of Django's auth and admin, and the two large
tables of TPC-H at small scale. Rows are made by arithmetic, the same on every database.
"""

# ruff: noqa: E501, ISC004 - a table of queries, each of which is a text in one or two pieces

from __future__ import annotations

import dataclasses

DEFINITIONS = """
CREATE TABLE users (id INTEGER PRIMARY KEY, tenant_id INTEGER, email VARCHAR(80), name VARCHAR(40), created INTEGER,
    deleted_at INTEGER, active INTEGER, referrer_id INTEGER);
CREATE TABLE orders (id INTEGER PRIMARY KEY, tenant_id INTEGER, customer_id INTEGER, status VARCHAR(10), total INTEGER,
    created INTEGER, note VARCHAR(60));
CREATE TABLE items (id INTEGER PRIMARY KEY, order_id INTEGER, product_id INTEGER, quantity INTEGER);
CREATE TABLE products (id INTEGER PRIMARY KEY, sku VARCHAR(20) UNIQUE, category INTEGER, price INTEGER);
CREATE TABLE tags (id INTEGER PRIMARY KEY, name VARCHAR(20), color INTEGER);
CREATE TABLE events (id INTEGER PRIMARY KEY, tenant_id INTEGER, kind INTEGER, happened INTEGER, payload VARCHAR(40));
CREATE INDEX events_tenant_happened ON events (tenant_id, happened);
CREATE INDEX events_kind ON events (kind);
CREATE TABLE auth_user (id INTEGER PRIMARY KEY, username VARCHAR(150) UNIQUE, email VARCHAR(254), last_login INTEGER,
    is_staff INTEGER);
CREATE TABLE auth_user_groups (id INTEGER PRIMARY KEY, user_id INTEGER, group_id INTEGER, UNIQUE (user_id, group_id));
CREATE INDEX auth_user_groups_group ON auth_user_groups (group_id);
CREATE TABLE django_admin_log (id INTEGER PRIMARY KEY, user_id INTEGER, content_type_id INTEGER, object_id VARCHAR(20),
    action_time INTEGER);
CREATE INDEX django_admin_log_user ON django_admin_log (user_id);
CREATE TABLE lineitem (l_orderkey INTEGER, l_linenumber INTEGER, l_partkey INTEGER, l_suppkey INTEGER,
    l_quantity INTEGER, l_shipdate INTEGER, l_returnflag VARCHAR(1), PRIMARY KEY (l_orderkey, l_linenumber));
CREATE TABLE jobs (id INTEGER PRIMARY KEY, tenant_id INTEGER, order_id INTEGER, status VARCHAR(10), run_at INTEGER,
    priority INTEGER, archived INTEGER, deleted_at INTEGER, error VARCHAR(20), payload VARCHAR(60));
CREATE TABLE partsupp (ps_partkey INTEGER, ps_suppkey INTEGER, ps_availqty INTEGER, PRIMARY KEY (ps_partkey, ps_suppkey));
"""

# Primes spread the values, so that columns are independent of each other.
ROWS = {
    "users": (5000, "i, i % 20, 'user' || i || '@example.org', 'name ' || (i * 7919 % 1000), i * 31 % 100000,"
              " CASE WHEN i % 25 = 0 THEN NULL ELSE i END, CASE WHEN i % 2 = 0 THEN 1 ELSE 0 END, i * 7 % 5000"),
    "orders": (20000, "i, i * 13 % 50, i * 7919 % 5000, CASE WHEN i % 100 = 7 THEN 'open' ELSE 'done' END,"
               " i * 50021 % 10007, i * 31 % 100003, 'note ' || i"),
    "items": (40000, "i, i * 7919 % 20000 + 1, i * 50021 % 2000 + 1, i % 5"),
    "products": (2000, "i, 'sku-' || i, i * 7919 % 100, i * 31 % 997"),
    "tags": (50, "i, 'tag ' || i, i % 5"),
    "events": (20000, "i, i * 13 % 50, i * 7919 % 400, i * 31 % 100003, 'payload ' || i"),
    "auth_user": (5000, "i, 'user' || i, 'user' || i || '@example.org', i * 31 % 100003, i % 2"),
    "auth_user_groups": (8000, "i, i % 4000, i / 4000 * 50 + i % 50"),
    "django_admin_log": (10000, "i, i * 7919 % 500, i % 40, 'o' || (i * 13 % 3000), i * 31 % 100003"),
    "lineitem": (20000, "i / 4 + 1, i % 4 + 1, i * 7919 % 2000, i * 50021 % 100, i % 50, i * 31 % 2556,"
                 " CASE WHEN i % 3 = 0 THEN 'R' ELSE 'N' END"),
    "jobs": (20000, "i, i * 13 % 100, i * 7919 % 20000, CASE WHEN i % 50 = 7 THEN 'queued' WHEN i % 100 = 9 THEN 'running'"
             " ELSE 'done' END, i * 31 % 100003, i * 17 % 40, CASE WHEN i % 400 < 100 THEN 0 ELSE 1 END,"
             " CASE WHEN i % 14 < 7 THEN NULL ELSE i END, CASE WHEN i % 400 = 3 THEN 'failed' ELSE NULL END,"
             """ '{"kind": ' || (i * 7919 % 500) || ', "to": "u' || (i * 31 % 900) || '"}'"""),
    "partsupp": (4000, "i / 4 + 1, i % 4 * 25 + i / 4 % 25, i * 31 % 9973"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """One query.

    Attributes:
        name: What it is about.
        sql: The query.
        lacks: Table to the beginning of the columns that an index of it should have, any of them; empty for a query
            that lacks none.
        systems: Databases that can have such an index; on the others nothing is missing.
    """

    name: str
    sql: str
    lacks: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    systems: tuple[str, ...] = ("sqlite", "postgresql", "mariadb")


EXPRESSIONS = ("sqlite", "postgresql")
"""Databases with indexes of expressions."""

CASES = [
    # -- An index is missing --------------------------------------------------------------------------------------
    Case("equality", "SELECT * FROM orders WHERE customer_id = 42", {"orders": ("customer_id",)}),
    Case("equality on a text", "SELECT id FROM users WHERE email = 'user77@example.org'", {"users": ("email",)}),
    Case("quoted names", 'SELECT "o"."id" FROM "orders" AS "o" WHERE "o"."customer_id" = 9', {"orders": ("customer_id",)}),
    Case("two equalities", "SELECT * FROM orders WHERE customer_id = 42 AND tenant_id = 7",
         {"orders": ("customer_id", "tenant_id")}),
    Case("a rare value", "SELECT * FROM orders WHERE status = 'open'", {"orders": ("status",)}),
    Case("equality and range", "SELECT * FROM orders WHERE tenant_id = 7 AND created > 95000",
         {"orders": ("tenant_id", "created")}),
    Case("range", "SELECT * FROM orders WHERE total > 9900", {"orders": ("total",)}),
    Case("between", "SELECT * FROM orders WHERE created BETWEEN 500 AND 900", {"orders": ("created",)}),
    Case("value on the left", "SELECT * FROM orders WHERE 42 = customer_id", {"orders": ("customer_id",)}),
    Case("short list", "SELECT * FROM orders WHERE customer_id IN (1, 2, 3)", {"orders": ("customer_id",)}),
    Case("equality and order", "SELECT * FROM orders WHERE tenant_id = 7 ORDER BY created LIMIT 10",
         {"orders": ("tenant_id",)}),
    Case("newest first", "SELECT * FROM orders WHERE tenant_id = 7 ORDER BY created DESC LIMIT 10",
         {"orders": ("tenant_id",)}),
    Case("first by an order", "SELECT * FROM orders ORDER BY total LIMIT 5", {"orders": ("total",)}),
    Case("last by an order", "SELECT * FROM orders ORDER BY created DESC LIMIT 5", {"orders": ("created",)}),
    Case("mixed directions", "SELECT * FROM orders WHERE customer_id = 5 ORDER BY created DESC, total",
         {"orders": ("customer_id",)}),
    Case("soft deletion", "SELECT * FROM users WHERE tenant_id = 5 AND deleted_at IS NULL",
         {"users": ("tenant_id", "deleted_at")}),
    Case("case-insensitive", "SELECT * FROM users WHERE lower(email) = 'user9@example.org'",
         {"users": ("LOWER(email)",)}, EXPRESSIONS),
    Case("in capitals", "SELECT * FROM jobs WHERE upper(error) = 'FAILED' AND tenant_id = 9",
         {"jobs": ("UPPER(error)", "tenant_id")}),
    Case("in capitals or a b-tree", "SELECT * FROM users WHERE upper(email) = 'USER9@EXAMPLE.ORG' AND created = 279",
         {"users": ("UPPER(email)", "created")}),
    Case("length of a text", "SELECT * FROM orders WHERE length(note) = 6", {"orders": ("(LENGTH(note))",)}, EXPRESSIONS),
    Case("a queue", "SELECT * FROM jobs WHERE status = 'queued' ORDER BY run_at LIMIT 10", {"jobs": ("status", "run_at")}),
    Case("a queue of a tenant", "SELECT * FROM jobs WHERE tenant_id = 7 AND status = 'queued' AND run_at < 50000",
         {"jobs": ("tenant_id", "status", "run_at")}),
    Case("half is deleted", "SELECT * FROM jobs WHERE tenant_id = 7 AND deleted_at IS NULL",
         {"jobs": ("tenant_id", "deleted_at")}),
    Case("newest that is not deleted", "SELECT * FROM jobs WHERE tenant_id = 7 AND deleted_at IS NULL ORDER BY run_at DESC"
         " LIMIT 5", {"jobs": ("tenant_id", "run_at", "deleted_at")}),
    Case("a flag and a key", "SELECT * FROM jobs WHERE archived = 0 AND order_id = 77", {"jobs": ("order_id", "archived")}),
    Case("few that are not empty", "SELECT * FROM jobs WHERE error IS NOT NULL", {"jobs": ("error",)},
         ("postgresql", "mariadb")),
    Case("tenant and priority in order", "SELECT * FROM jobs WHERE tenant_id = 7 AND priority = 3 ORDER BY run_at LIMIT 5",
         {"jobs": ("tenant_id", "priority", "run_at")}),
    Case("join with the tenant", "SELECT j.id FROM orders o JOIN jobs j ON j.tenant_id = o.tenant_id AND j.order_id = o.id"
         " WHERE o.id = 7", {"jobs": ("order_id", "tenant_id")}),
    Case("either of two values", "SELECT * FROM jobs WHERE status = 'queued' OR status = 'running'", {"jobs": ("status",)}),
    Case("alternatives", "SELECT * FROM orders WHERE customer_id = 3 OR note = 'note 7'",
         {"orders": ("customer_id", "note")}),
    Case("alternative to an index", "SELECT * FROM events WHERE kind = 7 OR payload = 'payload 9'", {"events": ("payload",)}),
    Case("two ranges", "SELECT * FROM orders WHERE created > 99000 AND total > 9000", {"orders": ("created", "total")}),
    Case("beginning of a text", "SELECT * FROM users WHERE name LIKE 'name 77%'", {"users": ("name", "name text_pattern_ops")},
         ("postgresql", "mariadb")),
    Case("groups of few", "SELECT customer_id, count(*) FROM orders WHERE customer_id IN (1, 2, 3) GROUP BY customer_id",
         {"orders": ("customer_id",)}),
    Case("exists", "SELECT id FROM orders o WHERE o.id < 20 AND EXISTS (SELECT 1 FROM items i WHERE i.order_id = o.id)",
         {"items": ("order_id",)}),
    Case("count per row", "SELECT o.id, (SELECT count(*) FROM items i WHERE i.order_id = o.id) FROM orders o WHERE o.id < 20",
         {"items": ("order_id",)}),
    Case("last logins", "SELECT * FROM auth_user ORDER BY last_login DESC LIMIT 20", {"auth_user": ("last_login",)}),
    Case("forecast of revenue", "SELECT sum(l_quantity) FROM lineitem WHERE l_shipdate >= 100 AND l_shipdate < 110"
         " AND l_quantity < 24", {"lineitem": ("l_shipdate", "l_quantity")}),
    Case("parts of a supplier", "SELECT sum(l_quantity) FROM partsupp p JOIN lineitem l ON l.l_partkey = p.ps_partkey"
         " AND l.l_suppkey = p.ps_suppkey WHERE p.ps_partkey = 3", {"lineitem": ("l_partkey", "l_suppkey")}),
    Case("count", "SELECT count(*) FROM orders WHERE customer_id = 42", {"orders": ("customer_id",)}),
    Case("maximum", "SELECT max(total) FROM orders WHERE customer_id = 42", {"orders": ("customer_id",)}),
    Case("join from a filtered table", "SELECT i.* FROM orders o JOIN items i ON i.order_id = o.id WHERE o.id = 77",
         {"items": ("order_id",)}),
    Case("left join", "SELECT o.id, i.id FROM orders o LEFT JOIN items i ON i.order_id = o.id WHERE o.id = 5",
         {"items": ("order_id",)}),
    Case("old-style join", "SELECT i.id FROM orders o, items i WHERE i.order_id = o.id AND o.id = 9",
         {"items": ("order_id",)}),
    Case("join from a unique key", "SELECT i.id FROM products p JOIN items i ON i.product_id = p.id WHERE p.sku = 'sku-9'",
         {"items": ("product_id",)}),
    Case("two joins", "SELECT p.sku FROM orders o JOIN items i ON i.order_id = o.id JOIN products p ON p.id = i.product_id"
         " WHERE o.id = 3", {"items": ("order_id",)}),
    Case("self join", "SELECT b.name FROM users a JOIN users b ON b.referrer_id = a.id WHERE a.id = 7",
         {"users": ("referrer_id",)}),
    Case("subquery", "SELECT * FROM products WHERE id IN (SELECT product_id FROM items WHERE order_id = 12)",
         {"items": ("order_id",)}),
    Case("common table expression", "WITH mine AS (SELECT * FROM orders WHERE customer_id = 3) SELECT count(*) FROM mine",
         {"orders": ("customer_id",)}),
    Case("union", "SELECT id FROM orders WHERE customer_id = 3 UNION ALL SELECT id FROM users WHERE tenant_id = 3",
         {"orders": ("customer_id",)}),
    Case("admin log", "SELECT * FROM django_admin_log WHERE object_id = 'o15' AND content_type_id = 3",
         {"django_admin_log": ("object_id", "content_type_id")}),
    Case("admin changelist", "SELECT * FROM django_admin_log ORDER BY action_time DESC LIMIT 10",
         {"django_admin_log": ("action_time",)}),
    Case("user by e-mail", "SELECT * FROM auth_user WHERE email = 'user12@example.org'", {"auth_user": ("email",)}),
    Case("part of line items", "SELECT sum(l_quantity) FROM lineitem WHERE l_partkey = 77", {"lineitem": ("l_partkey",)}),
    Case("shipped in a week", "SELECT sum(l_quantity) FROM lineitem WHERE l_shipdate BETWEEN 100 AND 106",
         {"lineitem": ("l_shipdate",)}),
    Case("part and supplier", "SELECT count(*) FROM lineitem WHERE l_partkey = 7 AND l_suppkey = 33",
         {"lineitem": ("l_partkey", "l_suppkey")}),
    Case("column that no key begins with", "SELECT * FROM partsupp WHERE ps_suppkey = 3", {"partsupp": ("ps_suppkey",)}),
    # -- None is ---------------------------------------------------------------------------------------------------
    Case("primary key", "SELECT * FROM orders WHERE id = 42"),
    Case("list of primary keys", "SELECT * FROM orders WHERE id IN (1, 2, 3)"),
    Case("unique column", "SELECT * FROM products WHERE sku = 'sku-5'"),
    Case("existing index", "SELECT * FROM events WHERE tenant_id = 7 AND happened > 90000"),
    Case("existing index and order", "SELECT * FROM events WHERE tenant_id = 7 ORDER BY happened LIMIT 10"),
    Case("prefix of an existing index", "SELECT * FROM events WHERE tenant_id = 7"),
    Case("existing single column", "SELECT * FROM events WHERE kind = 7"),
    Case("prefix of a unique constraint", "SELECT * FROM auth_user_groups WHERE user_id = 7"),
    Case("existing foreign key", "SELECT * FROM django_admin_log WHERE user_id = 7"),
    Case("prefix of a composite primary key", "SELECT * FROM lineitem WHERE l_orderkey = 7"),
    Case("join over existing keys", "SELECT l.l_quantity FROM partsupp p JOIN lineitem l ON l.l_orderkey = p.ps_partkey"
         " WHERE p.ps_partkey = 3"),
    Case("tiny table", "SELECT * FROM tags WHERE color = 3"),
    Case("tiny table in order", "SELECT * FROM tags ORDER BY name"),
    Case("no condition", "SELECT * FROM orders"),
    Case("count of all", "SELECT count(*) FROM orders"),
    Case("filter that keeps half", "SELECT * FROM users WHERE active = 1"),
    Case("value that nearly all have", "SELECT * FROM orders WHERE status = 'done'"),
    Case("range that keeps most", "SELECT * FROM orders WHERE total > 100"),
    Case("inequality", "SELECT * FROM orders WHERE status <> 'done'"),
    Case("alternative that most rows meet", "SELECT * FROM orders WHERE customer_id = 3 OR status = 'done'"),
    Case("alternatives in tiny tables", "SELECT * FROM tags WHERE color = 3 OR name = 'tag 7'"),
    Case("flag that most rows have", "SELECT * FROM jobs WHERE archived = 1"),
    Case("half that is not deleted", "SELECT * FROM jobs WHERE deleted_at IS NULL"),
    Case("groups of a user", "SELECT u.username FROM auth_user u JOIN auth_user_groups g ON g.user_id = u.id"
         " WHERE g.group_id = 5"),
    Case("different values", "SELECT DISTINCT status FROM jobs"),
    Case("leading wildcard", "SELECT * FROM users WHERE name LIKE '%7'"),
    Case("arithmetic", "SELECT * FROM orders WHERE total + created = 700 AND status = 'done'"),
    Case("a flag of staff", "SELECT * FROM auth_user WHERE is_staff = 1"),
    Case("return flag", "SELECT count(l_quantity) FROM lineitem WHERE l_returnflag = 'N'"),
    Case("no table", "SELECT 1"),
]  # fmt: skip


# Queries that only SQLite understands.
SQLITE_CASES = [
    Case("key of a document", "SELECT * FROM jobs WHERE json_extract(payload, '$.kind') = 7",
         {"jobs": ("(JSON_EXTRACT(payload, '$.kind'))",)}),
    Case("text of a document", "SELECT * FROM jobs WHERE payload ->> '$.to' = 'u7'",
         {"jobs": ("(payload ->> '$.to')",)}),
]  # fmt: skip


def fill(connection):
    """Create the schemas and their rows, and gather statistics."""
    for definition in DEFINITIONS.strip().split(";\n"):
        connection.exec_driver_sql(definition.rstrip(";"))
    for table, (number, values) in ROWS.items():
        numbers = f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {number - 1})"
        text = f"INSERT INTO {table} {numbers} SELECT {values} FROM n"
        connection.exec_driver_sql(text, execution_options={"no_parameters": True})
