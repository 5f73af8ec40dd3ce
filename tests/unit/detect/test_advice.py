"""The code that a finding of n_plus_one suggests."""

import pytest

from dbsight import config
from dbsight.config import Settings
from dbsight.detect.advice import advise
from dbsight.detect.rewriting import all_at_once
from dbsight.detect.rules import n_plus_one
from dbsight.detect.rules.n_plus_one import NPlusOne
from unit.detect.loops import LOADS_CUSTOMER, LOADS_LINES, SELECT_LINES, judge, loop, make_window, one


def suggestions(operations):
    """Relationship (or summary) and suggestion of every finding."""
    return {found.relationship or found.statement.summary: found.suggestion for found in judge(operations)}


@pytest.mark.parametrize(
    ("fields", "suggestion"),
    [
        (LOADS_CUSTOMER, "select(Order).options(joinedload(Order.customer))"),
        (LOADS_LINES, "select(Order).options(selectinload(Order.lines))"),
        ({"relationship": "Document.body", "load": "deferred"}, "select(Document).options(undefer(Document.body))"),
        ({"relationship": "Order", "load": "expired"}, "Session(engine, expire_on_commit=False)"),
        ({"relationship": "Order", "load": "generated"}, '__mapper_args__ = {"eager_defaults": True}'),
        ({"relationship": "Order.total", "load": "expired"}, "Session(engine, expire_on_commit=False)"),
        (
            {"relationship": "Card.digits", "load": "inherited", "entity": "Payment"},
            "select(Payment).options(selectin_polymorphic(Payment, [Card]))",
        ),
        (
            {"relationship": "Node.parent", "load": "lazy", "to_many": False, "entity": "Node"},
            "select(Node).options(selectinload(Node.parent, recursion_depth=3))",
        ),
    ],
)
def test_the_orm_fix_names_model_and_attribute(fields, suggestion):
    """Each way of loading has its own."""
    assert list(suggestions(loop(6, **fields)).values()) == [suggestion]


def test_classes_of_one_base_are_loaded_by_one_option():
    """Cards and invoices are both payments."""
    cards, invoices = (
        loop(6, f"SELECT x FROM {name} WHERE id = ?", relationship=f"{name}.x", load="inherited", entity="Payment")
        for name in ("Card", "Invoice")
    )
    option = "select(Payment).options(selectin_polymorphic(Payment, [Card, Invoice]))"
    assert suggestions([*cards, *invoices]) == {"Card.x": option, "Invoice.x": option}


def test_a_loop_below_a_loop_gets_the_whole_path():
    """Customers, their orders, and the lines of those: one query at the top loads all."""
    operations = [one("SELECT customers.id FROM customers", rows=5, parameters=0)]
    for customer in range(5):
        at = 0.01 + customer / 10
        orders = {"relationship": "Customer.orders", "load": "lazy", "to_many": True, "entity": "Order"}
        text = "SELECT orders.id FROM orders WHERE ? = orders.customer_id"
        operations.append(one(text, at=at, parameters=customer, rows=3, **orders))
        operations += loop(3, SELECT_LINES, at=at + 0.01, first=customer * 10, **LOADS_LINES)
    assert suggestions(operations) == {
        "Customer.orders": "select(Customer).options(selectinload(Customer.orders))",
        "Order.lines": "select(Customer).options(selectinload(Customer.orders).selectinload(Order.lines))",
    }


def test_a_loop_below_an_eager_load_continues_its_path():
    """selectinload(Order.lines) is there; what is missing is one step further."""
    operations = [
        one("SELECT orders.id FROM orders", rows=5, parameters=0),
        one("SELECT lines.id FROM lines WHERE lines.order_id IN (?, ?)", at=0.01, **{**LOADS_LINES, "load": "eager"}),
        *loop(
            8,
            "SELECT products.id FROM products WHERE products.id = ?",
            at=0.02,
            relationship="Line.product",
            load="lazy",
            to_many=False,
            entity="Product",
        ),
    ]
    assert suggestions(operations) == {
        "Line.product": "select(Order).options(selectinload(Order.lines).joinedload(Line.product))"
    }


def test_parents_from_a_query_of_their_own_are_the_root():
    """An unrelated lazy load of the same class earlier on does not make a path."""
    operations = [
        one(
            "SELECT orders.id FROM orders WHERE ? = orders.customer_id",
            parameters=1,
            relationship="Customer.orders",
            load="lazy",
            to_many=True,
            entity="Order",
        ),
        one("SELECT orders.id FROM orders", at=0.01, parameters=0, rows=9),
        *loop(8, SELECT_LINES, at=0.02, **LOADS_LINES),
    ]
    assert suggestions(operations) == {"Order.lines": "select(Order).options(selectinload(Order.lines))"}


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        (
            "SELECT customers.name FROM customers WHERE customers.id = ?",
            "SELECT customers.id, customers.name FROM customers WHERE customers.id IN (…)",
        ),
        ("SELECT * FROM t WHERE t.key = $1", "SELECT * FROM t WHERE t.key IN (…)"),
        ("SELECT id, name FROM t WHERE %(id_1)s::INTEGER = t.id", "SELECT id, name FROM t WHERE t.id IN (…)"),
        (
            "SELECT name FROM t WHERE state = ? AND owner_id = ? AND deleted = ?",
            "SELECT owner_id, name FROM t WHERE state = ? AND owner_id IN (…) AND deleted = ?",
        ),
        (
            "SELECT count(*) FROM lines WHERE lines.order_id = :id",
            "SELECT lines.order_id, count(*) FROM lines WHERE lines.order_id IN (…) GROUP BY lines.order_id",
        ),
        (
            "SELECT name FROM products WHERE products.id = ? LIMIT ? OFFSET ?",
            "SELECT products.id, name FROM products WHERE products.id IN (…)",
        ),
        ('SELECT "a b" FROM "T" WHERE "T"."Id" = ?', 'SELECT "T"."Id", "a b" FROM "T" WHERE "T"."Id" IN (…)'),
        (
            f"SELECT {', '.join(f'column_{number}' for number in range(20))} FROM t WHERE id = ?",
            "SELECT … FROM t WHERE id IN (…)",
        ),
        (
            "SELECT EXISTS (SELECT ? FROM lines WHERE lines.order_id = ?) AS anon_1",
            "SELECT DISTINCT lines.order_id FROM lines WHERE lines.order_id IN (…)",
        ),
        (
            "SELECT count(*) AS count_1 FROM (SELECT lines.id AS id FROM lines WHERE ? = lines.order_id) AS anon_1",
            "SELECT lines.order_id, count(*) FROM lines WHERE lines.order_id IN (…) GROUP BY lines.order_id",
        ),
        (
            "SELECT name FROM orders WHERE id IN (SELECT order_id FROM lines WHERE product_id = ? AND x IN (?))",
            "SELECT name FROM orders WHERE id IN (SELECT order_id FROM lines WHERE product_id IN (…) AND x IN (?))",
        ),
        (
            "SELECT a, (SELECT max(x) FROM b WHERE b.y = a.y) AS the_latest_of_all FROM a WHERE (a.id = ? OR a.old)",
            "SELECT … FROM a WHERE (a.id IN (…) OR a.old)",
        ),
        ("SELECT a FROM t WHERE day > ?", ""),
        ("SELECT a FROM t WHERE a != ?", ""),
        ("SELECT a FROM t", ""),
        ("SELECT balance_of(?)", ""),
        ("WITH x AS (SELECT 1) SELECT a FROM x WHERE id = ?", ""),
        ("", ""),
    ],
)
def test_a_query_for_one_key_becomes_one_for_all(text, rewritten):
    """Table and column are those of the statement."""
    assert all_at_once(text) == rewritten


def test_a_suggestion_quotes_no_query_where_texts_are_off():
    """``OTEL_DBSIGHT_QUERY_TEXT=off``: not even a part of one."""
    operations = loop(6, "SELECT bio FROM authors WHERE country = ?")
    assert "bio" in str(suggestions(operations))
    config.use(config.Settings(query_text="off"))
    assert suggestions(operations) == {"SELECT authors": "Ask for all keys in one query: WHERE … IN (…)"}


def test_a_long_query_is_cut_to_the_condition():
    """Nobody pastes five hundred characters from an event."""
    text = f"SELECT a FROM t JOIN {' JOIN '.join(f'table_{number} USING (x)' for number in range(60))} WHERE t.id = ?"
    assert all_at_once(text) == "t.id IN (…)"


def test_the_advice_about_a_finding_that_recurs_is_used_again(monkeypatch):
    """Its number of parameters is its own; another query has advice of its own."""
    asked = []
    monkeypatch.setattr(
        n_plus_one, "advise", lambda repetition, *rest: asked.append(repetition) or advise(repetition, *rest)
    )
    rule = NPlusOne(Settings())
    for count in (6, 8):
        (found,) = rule.complete(make_window(loop(count)))
        assert found.description.startswith(f"{count} queries ran SELECT customers with {count} different parameters")
    assert len(asked) == 1
    list(rule.complete(make_window(loop(6, SELECT_LINES))))
    assert len(asked) == 2
