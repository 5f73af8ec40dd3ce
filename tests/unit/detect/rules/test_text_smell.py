"""The rule text_smell: texts as tutorials, issues and ORMs write them."""

import pytest

from dbsight.config import Settings
from dbsight.detect.rules.slow_query import SlowQuery
from dbsight.detect.rules.text_smell import TextSmell
from dbsight.model import CallSite
from unit.detect.loops import make_window, one


def judge(text, rows=5000, *, request=True, **fields):
    """What the rule finds in one statement with so many rows."""
    return list(TextSmell(Settings()).complete(make_window([one(text, rows=rows, **fields)], request=request)))


DETECTED = {
    "select_star": "SELECT * FROM orders WHERE status = ?",
    "select_star of a table": "SELECT orders.* FROM orders JOIN customers ON customers.id = orders.customer_id",
    "leading_wildcard": "SELECT id FROM products WHERE name LIKE '%' || ? || '%'",
    "leading_wildcard of MySQL": "SELECT id FROM products WHERE name LIKE CONCAT('%', %s, '%')",
    "function_on_column": "SELECT id FROM customers WHERE lower(email) = ?",
    "function_on_column by date": "SELECT id FROM orders WHERE date(placed_on) = ? AND status = ?",
    "order_by_random": "SELECT id FROM products ORDER BY random()",
    "order_by_random of MySQL": "SELECT id FROM products ORDER BY RAND()",
    "not_in_subquery": "SELECT id FROM customers WHERE id NOT IN (SELECT customer_id FROM orders)",
    "or_over_columns": "SELECT id FROM customers WHERE email = ? OR phone = ?",
    "offset": "SELECT id FROM orders ORDER BY id LIMIT 2000 OFFSET 90000",
    "cartesian_join": "SELECT a.id, b.id FROM orders AS a, customers AS b",
    "cartesian_join by name": "SELECT o.id FROM orders AS o CROSS JOIN customers",
}


@pytest.mark.parametrize(("name", "text"), DETECTED.items(), ids=DETECTED)
def test_detects_what_a_text_asks_for_beyond_need(name, text):
    """With the advice for it; only what cannot be meant is a warning."""
    (found,) = judge(text)
    assert found.severity == ("warning" if "cartesian" in name else "info")
    assert found.suggestion
    assert (found.current_value, found.threshold) == (5000, 1000)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT id, total FROM orders WHERE status = ?",
        "SELECT count(*) FROM orders",
        "SELECT id FROM products WHERE name LIKE ?",
        "SELECT lower(email) FROM customers WHERE id > ?",
        "SELECT id FROM orders WHERE placed_on >= ? AND placed_on < ?",
        "SELECT id FROM customers WHERE id NOT IN (?, ?)",
        "SELECT id FROM customers WHERE NOT EXISTS (SELECT 1 FROM orders WHERE customer_id = customers.id)",
        "SELECT id FROM customers WHERE status = ? OR status = ?",
        "SELECT a.id FROM orders AS a, customers AS b WHERE a.customer_id = b.id",
        "SELECT o.id, each.key FROM orders AS o, jsonb_each(o.payload) AS each",
        "SELECT o.id, l.id FROM orders AS o CROSS JOIN LATERAL (SELECT id FROM lines LIMIT ?) AS l",
        "SELECT id FROM orders ORDER BY placed_on",
        "SELECT * FROM information_schema.columns",
        "UPDATE orders SET status = ? WHERE id > ?",
    ],
)
def test_leaves_alone_what_is_right(text):
    """However many rows there are."""
    assert judge(text) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"rows": 999},
        {"rows": None},
        {"rows": 5000, "duration": 1.2},
        {"rows": 5000, "allowed": frozenset({"text_smell"})},
    ],
    ids=["few rows", "unknown", "slow", "allowed"],
)
def test_leaves_alone_what_has_no_evidence_or_is_told_as_slow(fields):
    """One fault is one finding."""
    assert judge("SELECT * FROM orders", **fields) == []


def test_a_slow_query_has_the_same_advice():
    """In its own finding."""
    found = SlowQuery(Settings()).visit(one("SELECT id FROM products ORDER BY random()", duration=1.5), None)
    assert found.suggestion.startswith("draw keys in the application")
    assert SlowQuery(Settings()).visit(one("SELECT id FROM products", duration=1.5), None).suggestion == ""


def test_a_write_of_every_row_is_a_warning_in_a_request():
    """In a script it may be a migration."""
    text = "UPDATE orders SET seen = 1"
    (found,) = judge(text, None, affected=5000)
    assert (found.severity, found.suggestion) == ("warning", "WHERE …, or TRUNCATE")
    assert judge(text, None, affected=5000, request=False)[0].severity == "info"


def test_a_long_list_of_values_is_told_whatever_it_returns():
    """From 501 on."""
    values = ", ".join(["?"] * 501)
    assert len(judge(f"SELECT id FROM orders WHERE id IN ({values})", 3)) == 1
    assert judge("SELECT id FROM orders WHERE id IN (?, ?)", 3) == []


COUNT = "SELECT count(*) AS count_1 FROM orders WHERE status = ?"


def counted(tmp_path, line, text=COUNT, duration=0.05):
    """What is found of a COUNT that this line of code asked for."""
    path = tmp_path / "shop.py"
    path.write_text(f"{line}\n    pass\n", encoding="utf-8")
    return judge(text, rows=1, duration=duration, call_site=CallSite(str(path), 1, "busy"))


@pytest.mark.parametrize(
    "line",
    [
        "if session.query(Order).filter_by(status='new').count() > 0:",
        "if Order.objects.filter(status='new').count():",
        "if not queryset.count():",
        "busy = session.scalar(select(func.count()).select_from(Order)) >= 1",
        "return bool(queryset.count())",
        "assert session.scalar(count_new_orders) == 0",
    ],
)
def test_detects_a_count_of_which_only_zero_matters(tmp_path, line):
    """As pylint-django's and Django's own documentation of ``exists()`` warn of it."""
    (found,) = counted(tmp_path, line)
    assert (found.severity, found.metric) == ("info", "duration")
    assert "exists" in found.suggestion


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("total = queryset.count()", {}),
        ("if queryset.count() > 10:", {}),
        ("if queryset.count() > 0:", {"duration": 0.01}),
        ("if queryset.count() > 0:", {"text": "SELECT status, count(*) FROM orders GROUP BY status"}),
        ("if queryset.count() > 0:", {"text": "SELECT count(*) FROM orders GROUP BY status"}),
        ("return {'count': queryset.count(), 'pages': pages}", {}),
        ("if busy(session) > 0:", {}),
    ],
)
def test_leaves_alone_a_count_whose_number_is_used_or_that_is_fast(tmp_path, line, options):
    """Or whose line does not say."""
    assert counted(tmp_path, line, **options) == []
