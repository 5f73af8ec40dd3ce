"""What a slow statement asks for that no index serves: deep pages and leading wildcards, on real databases."""

import pytest

from integration.plans.test_slow_plans import ask, merged, plans, watched  # noqa: F401 - a fixture


def found(telemetry):
    """Title and suggestion of what was said of the plan."""
    return [(each.title.rpartition(": ")[2].split(", "), each.suggestion) for each in merged(telemetry, "bad_plan")]


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("SELECT * FROM orders ORDER BY id LIMIT :rows OFFSET :first", {"rows": 20, "first": 4000}),
        ("SELECT * FROM orders ORDER BY id LIMIT 20 OFFSET 4000", {}),
    ],
    ids=["bound", "literal"],
)
def test_a_deep_page_is_named_with_the_other_way(shop, watched, sql, values):  # noqa: F811
    """Its number of skipped rows is the value's, which the text does not have."""
    telemetry = watched()
    ask(shop, telemetry, sql, **values)
    ((names, suggestion),) = found(telemetry)
    assert names == ["deep_offset"]
    assert suggestion.startswith(".where(key > last_seen).order_by(key).limit(n)")
    (finding,) = merged(telemetry, "bad_plan")
    assert "reads and discards 4 000 rows" in finding.description
    assert "deep_offset" in plans(telemetry)[0].attributes["dbsight.plan.issues"]


@pytest.mark.parametrize("value", ["%pen", "_pen"])
def test_a_leading_wildcard_is_named_with_what_serves_it(shop, watched, value):  # noqa: F811
    """The pattern is a bound value, as a rule; it is not told."""
    telemetry = watched()
    ask(shop, telemetry, "SELECT count(*) FROM orders WHERE status LIKE :pattern", pattern=value)
    ((names, suggestion),) = found(telemetry)
    assert "leading_wildcard" in names
    assert "index" in suggestion or "FTS5" in suggestion
    assert value not in str(plans(telemetry)) + str(merged(telemetry, "bad_plan"))


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        ("SELECT * FROM orders ORDER BY id LIMIT 20 OFFSET :first", {"first": 40}),
        ("SELECT count(*) FROM orders WHERE status LIKE :pattern", {"pattern": "zz%"}),
        ("SELECT count(*) FROM orders WHERE status NOT LIKE :pattern", {"pattern": "%pen"}),
        ("SELECT count(*) FROM customers WHERE name LIKE :pattern", {"pattern": "%9"}),
        ("SELECT count(*) FROM orders WHERE status <> :text", {"text": "OFFSET 5000 LIKE '%'"}),
    ],
    ids=["a near page", "a prefix", "all but", "a small table", "a value that looks like it"],
)
def test_leaves_alone_what_is_neither(sqlite_shop, watched, sql, values):  # noqa: F811
    """What reads little, or could not be written otherwise."""
    telemetry = watched()
    ask(sqlite_shop, telemetry, sql, **values)
    assert len(plans(telemetry)) == 1
    assert not {"deep_offset", "leading_wildcard"} & {name for names, _ in found(telemetry) for name in names}


def test_leaves_alone_what_was_not_slow(sqlite_shop, watched):  # noqa: F811
    """Every statement is explained once by ``always_once``: a list of what could be slow some day helps nobody."""
    telemetry = watched(explain="always_once", slow_query_threshold=500.0)
    ask(sqlite_shop, telemetry, "SELECT * FROM orders ORDER BY id LIMIT 20 OFFSET 4100")
    assert len(plans(telemetry)) == 1
    assert found(telemetry) == []
