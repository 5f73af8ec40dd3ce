"""The HTML report as text: what is in it, and what can never be."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from builders import NOW_NS
from dbsight.bench.compared import compare_runs, told
from dbsight.formatting import counted
from dbsight.model import (
    Borrowing,
    CacheTotals,
    CallSite,
    Finding,
    MemorySample,
    MergedFinding,
    PoolSample,
    PoolSnapshot,
    PoolState,
    PoolTotals,
    Snapshot,
)
from dbsight.report import html
from dbsight.report.html.charts import comb, memory_chart, pool_chart, sparkline, waterfall
from dbsight.report.html.comparison import difference
from dbsight.report.html.view import page
from pages import example, hostile_snapshot


class Page(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        """Remember a tag."""
        self.tags.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag


def test_no_text_of_the_application_becomes_markup():
    """SQL, module names, routes, plans and services are shown as they are, and nothing of them is a tag."""
    page = html.render(hostile_snapshot())
    tags = Page(page).tags
    assert [tag for tag, _ in tags if tag in {"img", "iframe", "object", "link", "base"}] == []
    assert len([tag for tag, _ in tags if tag == "script"]) == 1
    assert [name for _, attributes in tags for name in attributes if name.startswith("on") or name == "style"] == []
    assert "49{% raw" not in page
    plain = Page(html.render(hostile_snapshot("word"))).tags
    assert [tag for tag, _ in tags] == [tag for tag, _ in plain]


def test_the_page_loads_nothing_and_runs_only_its_own_script():
    """The policy allows the style sheet and the script of the page by their hashes, and no other source."""
    page = html.render(hostile_snapshot())
    (policy,) = [
        attributes["content"]
        for tag, attributes in Page(page).tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    for name in ("style", "script"):
        (content,) = re.findall(rf"(?s)<{name}>(.*?)</{name}>", page)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert allowed.pop(f"{name}-src") == f"'sha256-{digest}'"
    assert set(allowed.values()) == {"'none'"}
    addresses = [
        value
        for _, attributes in Page(page).tags
        for name, value in attributes.items()
        if name in {"src", "href", "action", "xlink:href"}
    ]
    assert addresses
    assert all(address.startswith("#") for address in addresses)


def test_an_n_plus_one_is_drawn_as_it_is_and_as_it_would_be():
    """Ticks at the times of the queries; with the fix, one query and the time that is left."""
    drawn = comb(example(), example().steps[1].statement.fingerprint, 0.2)
    assert [tick.kind for tick in drawn.ticks] == ["", *["hot"] * 20]
    assert drawn.ticks[1].x == pytest.approx(0.04 / 0.3 * 1000, abs=0.1)
    assert [tick.kind for tick in drawn.fixed_ticks] == ["", "hot"]
    assert drawn.fixed_duration == pytest.approx(0.1)
    assert comb(example(2), example().steps[1].statement.fingerprint, 0.2) is None


def test_repeated_queries_share_a_row_of_the_waterfall():
    """One row for each query, one for a run of the same; waits are drawn before the query."""
    rows, left = waterfall(example())
    assert [(row.summary, row.repeats, row.rows) for row in rows] == [
        ("SELECT orders", 1, 2000),
        ("SELECT customers", 20, 20),
    ]
    assert [box.kind for box in rows[0].boxes] == ["wait", "execute"]
    assert left == 0


def test_a_pool_is_drawn_with_its_holders_waits_and_timeouts():
    """From the uses that are remembered; the tooltips say which lines held connections."""
    site = CallSite("shop.py", 141, "export_csv")
    uses = [
        Borrowing(100.0, 0.0, 10.0, 1, site),
        Borrowing(102.0, 3.0, 0.0, 2, None),
        Borrowing(104.0, 6.0, 2.0, 3, site),
    ]
    chart = pool_chart(PoolSnapshot(PoolState("shop.db", "sqlalchemy", "QueuePool", "sqlite", max=1), uses=uses))
    assert chart.seconds == pytest.approx(12.0)
    assert chart.timeouts == [pytest.approx(5 / 12 * 1000, abs=0.1)]
    assert any("1 used, 2 waiting: shop.py:141 (1)" in box.title for box in chart.holders)
    assert chart.limit is not None
    samples = [PoolSample(NOW_NS + n * 10**10, 1, 2, 0, int(n == 3)) for n in range(8)]
    recorded = pool_chart(PoolSnapshot(PoolState("shop.db", "", "", ""), PoolTotals(), samples, uses))
    assert (recorded.seconds, recorded.timeouts) == (70.0, [pytest.approx(428.6)])
    assert recorded.idle


def test_memory_is_drawn_with_its_large_results():
    """A mark where a query returned many rows."""
    samples = [MemorySample(NOW_NS - 10**9, 100, 0), MemorySample(NOW_NS + 10**9, 200, 0)]
    chart = memory_chart(samples, [example()], 1000)
    assert [(mark.title, 500 < mark.x < 600) for mark in chart.marks] == [
        (f"SELECT orders: {counted(2000, 'row')}", True)
    ]
    assert memory_chart(samples[:1], [], 1000) is None


def test_a_distribution_with_two_humps_looks_like_one():
    """Fast and slow executions are bars at different places of the same axis for all queries."""
    bars = sparkline([(0.0001, 90), (1.0, 10)])
    assert [bar.x for bar in bars] == [16, 80]
    assert bars[0].height > bars[1].height
    assert sparkline([]) == []


def test_two_runs_stand_side_by_side():
    """Queries that became faster, and findings that are gone."""
    before, after = hostile_snapshot("SELECT orders"), hostile_snapshot("SELECT orders")
    before.statements[0].durations, before.statements[0].total = ((1.0, 9),), 9.0
    before.statements[0].count = after.statements[0].count = 9
    after.statements[0].durations, after.statements[0].total, after.findings = ((0.1, 9),), 0.9, []
    found = compare_runs(before, after)
    page = html.render(
        after, difference("better", found.changes, found.routes, told(found.gone), told(found.new), worse=False)
    )
    assert "Before and after" in page
    assert '<span class="change faster">faster</span>' in page
    assert page.count("✔ error") == 3


def test_many_findings_are_a_small_page():
    """Five thousand findings stay below five megabytes: the first hundred in full, the others in one line each."""
    found = []
    for number in range(5000):
        each = Finding(
            "n_plus_one",
            f"n1-{number:08x}",
            "warning",
            "query",
            f"Order.customer{number} is loaded one row at a time",
            "200 queries loaded Order.customer one row at a time.",
            f"select(Order).options(joinedload(Order.customer{number}))",
            impact=0.1,
            route=f"GET /orders/{number}",
        )
        each.call_site = CallSite("src/shop/handlers/orders.py", number, "list_orders")
        found.append(MergedFinding(each, 1, 200, 0.1, 1))
    page = html.render(Snapshot(calls=5000, findings=found))
    assert len(page.encode()) < 5_000_000
    assert page.count("is loaded one row at a time") >= 5000


@pytest.mark.parametrize(
    ("cache", "hits"), [(CacheTotals("basket", stores=1), "–"), (CacheTotals("b", misses=2), "0 %")]
)
def test_a_cache_that_nobody_asked_has_no_share_of_hits(cache, hits):
    """0 % is that of one that was asked in vain."""
    (shown,) = page(Snapshot(calls=1, caches=[cache]), None, live=False)["caches"]
    assert shown["hits"] == hits
