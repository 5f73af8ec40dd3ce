"""The HTML report in a real Chromium: what people see, reach by keyboard, and copy; and what no page may do."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from dbsight.model import Finding, MergedFinding, Snapshot
from dbsight.report import html
from dbsight.report.html.comparison import difference
from pages import full_snapshot, hostile_snapshot

SUMMARIES = ("SELECT order_lines 1 failed", "SELECT customers")
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A page with everything in it, as an address."""
    return html.write(full_snapshot(), tmp_path_factory.mktemp("report") / "report.html").as_uri()


@pytest.fixture
def opened(browser):
    """Open an address; nothing may be written to the console, and nothing requested but the page."""
    contexts = []

    def open_page(address, size="desktop", scheme="light", **options):
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
        page = context.new_page()
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        contexts.append((context, page))
        page.goto(address)
        return page

    yield open_page
    for context, page in contexts:
        assert page.said == []
        assert len(set(page.asked)) == 1
        context.close()


@pytest.mark.parametrize("size", SIZES)
def test_the_three_best_changes_are_above_the_fold_with_their_fixes(opened, report, size):
    """Without scrolling: title, saving and the code to copy."""
    page = opened(report, size)
    boxes = [each.bounding_box() for each in page.query_selector_all(".first li")]
    assert len(boxes) == 3
    assert all(box["y"] + box["height"] <= SIZES[size][1] for box in boxes)
    fixes = [each.inner_text() for each in page.query_selector_all(".first pre")]
    assert fixes[0] == "CREATE INDEX ix_order_lines_sku ON order_lines (sku)"
    assert "joinedload(Order.customer)" in fixes[1]
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_passes_the_checks_of_axe(opened, report, size, scheme):
    """Contrast, names, roles, headings, tables and what else axe-core checks, with everything opened."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(report, size, scheme, bypass_csp=True)  # axe is injected as a script
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    results = axe.run(page)
    assert results.violations_count == 0, results.generate_report()


def test_the_table_of_queries_sorts_and_filters(opened, report):
    """By a click or by the keyboard; screen readers are told the order and the number of rows."""
    page = opened(report)
    names = "#statements tbody tr:not([hidden]) summary"
    assert [each.inner_text() for each in page.query_selector_all(names)] == [*SUMMARIES, "GET price:{}"]
    page.focus("#statements th:nth-child(2) button")
    page.keyboard.press("Enter")
    assert page.get_attribute("#statements th:nth-child(2)", "aria-sort") == "descending"
    assert [each.inner_text() for each in page.query_selector_all(names)] == [
        "SELECT customers",
        "GET price:{}",
        "SELECT order_lines 1 failed",
    ]
    page.fill("input[data-filters=statements]", "CUSTOMERS")
    page.wait_for_selector("#queries output:text-is('1 shown')")
    assert [each.inner_text() for each in page.query_selector_all(names)] == ["SELECT customers"]


def test_a_fix_is_copied_as_it_is(opened, report):
    """The button copies the code, and says that it did."""
    page = opened(report, permissions=["clipboard-read", "clipboard-write"])
    page.click(".first li:nth-child(1) .copy")
    page.wait_for_selector(".first .copy:text-is('Copied')")
    assert page.evaluate("navigator.clipboard.readText()") == "CREATE INDEX ix_order_lines_sku ON order_lines (sku)"


def test_the_theme_can_be_changed(opened, report):
    """Whatever the system prefers."""
    page = opened(report, scheme="dark")
    color = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(color)
    page.click("#theme")
    assert page.evaluate(color) != dark


def compared():
    """Two runs side by side."""

    def query(name, verdict, before, after):
        return SimpleNamespace(
            name=name, verdict=verdict, base_mean=before, base_count=10, head_mean=after, head_count=10
        )

    queries = [query("SELECT order_lines", "faster", 0.5, 0.02), query('SELECT "shop_book"', "slower", 0.05, 0.2)]
    routes = [SimpleNamespace(route="GET /orders", base=21, head=2)]
    return difference("1 query became faster, 1 slower", queries, routes, ["N+1 in GET /orders"], [], worse=True)


@pytest.mark.parametrize("size", SIZES)
def test_before_and_after_stand_side_by_side(opened, tmp_path, size):
    """Both, and the verdict, without scrolling to the side; bars begin where their headings do."""
    page = opened(html.write(full_snapshot(), tmp_path / "report.html", compared()).as_uri(), size)
    for table in page.query_selector_all("table.pairs"):
        box = table.bounding_box()
        assert box["x"] + box["width"] <= SIZES[size][0]
        heading, bar = table.query_selector("thead th:nth-child(3)"), table.query_selector("tbody td:nth-child(3)")
        assert heading.bounding_box()["x"] == bar.bounding_box()["x"]
        assert heading.evaluate("(each) => getComputedStyle(each).textAlign") == "left"
    assert "SELECT shop_book" in page.inner_text("#difference")


def test_nothing_is_cut_off_in_print(opened, tmp_path):
    """On a page of A4, with the evidence of findings, but without texts in the narrow columns of tables."""
    page = opened(html.write(full_snapshot(), tmp_path / "report.html", compared()).as_uri())
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1046})  # A4 at 96 dots per inch, with margins of 1 cm
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("[...document.querySelectorAll('article details')].every((each) => each.open)")
    assert not page.evaluate("[...document.querySelectorAll('th details')].some((each) => each.open)")
    edges = "[...document.querySelectorAll('table, pre, figure')].map((each) => each.getBoundingClientRect().right)"
    assert max(page.evaluate(edges)) <= 718
    assert not page.is_visible("nav")
    assert not page.is_visible(".copy")


@pytest.mark.parametrize("chosen", [False, True], ids=["by the system", "by the button"])
def test_a_dark_page_is_printed_black_on_white(opened, report, chosen):
    """Light text would be lost on paper."""
    page = opened(report, scheme="light" if chosen else "dark")
    if chosen:
        page.click("#theme")
    page.emulate_media(media="print", color_scheme="light" if chosen else "dark")
    color = page.evaluate("getComputedStyle(document.querySelector('.facts b')).color")
    assert color == "rgb(27, 31, 36)"


def test_the_chart_of_memory_says_what_is_marked(opened, report):
    """Its scale, and the large results."""
    page = opened(report)
    assert "0 to 191 MB" in page.inner_text("#memory figcaption")
    assert "a result of 1 000 rows or more" in page.inner_text("#memory .legend")
    assert page.query_selector_all("#memory rect.hot")


def test_hostile_texts_do_nothing(opened, tmp_path):
    """Nothing runs, nothing is loaded, and the policy had nothing to block."""
    page = opened(html.write(hostile_snapshot(), tmp_path / "report.html").as_uri())
    assert page.evaluate("window.hacked") is None
    assert page.query_selector("img") is None


def test_the_policy_blocks_what_is_injected(browser, report):
    """Even markup that gets into the page runs no script and loads no image."""
    page = browser.new_page()
    blocked = []
    page.on("requestfailed", lambda request: blocked.append((request.url, request.failure)))
    page.goto(report)
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=http://127.0.0.1:9/x onerror=\"window.hacked=1\">')"
    )
    page.wait_for_timeout(100)
    assert page.evaluate("window.hacked") is None
    assert blocked == [("http://127.0.0.1:9/x", "csp")]
    page.close()


def test_a_link_opens_what_it_leads_to(opened, report):
    """From the three best changes to the evidence."""
    page = opened(report)
    page.click(".first li:nth-child(2) h3 a")
    assert page.evaluate("document.querySelector(':target').tagName") == "ARTICLE"
    assert page.query_selector("article:target svg[role=img] rect.hot") is not None


def test_a_link_leads_to_its_section_past_many_findings(opened, tmp_path):
    """Cards that were never shown have an estimated height: a slow scroll would end where the section was before."""
    snapshot = full_snapshot()
    card = snapshot.findings[-1]
    snapshot.findings = [
        replace(
            card, finding=replace(card.finding, id=f"cl-{number}", description="One is out. " * 200, call_site=None)
        )
        for number in range(60)
    ]
    page = opened(html.write(snapshot, tmp_path / "report.html").as_uri())
    page.click("nav a[href='#pools']")
    top = "document.getElementById('pools').getBoundingClientRect().top"
    page.wait_for_function(f"{top} >= 0 && {top} < 100", timeout=5000)
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_five_thousand_findings_can_be_filtered(opened, tmp_path):
    """A long page stays usable: the filter reaches findings that are one line."""
    found = [
        MergedFinding(Finding("pool_wait", f"pw-{n}", "warning", "pool", f"Part {n} of the report", "", "x"), 1, 9, 0.1)
        for n in range(5000)
    ]
    page = opened(html.write(Snapshot(calls=9, findings=found), tmp_path / "many.html").as_uri())
    page.fill("input[data-filters]", "Part 4321")
    page.wait_for_selector("#findings output:text-is('1 shown')")
    assert page.is_visible("text=Part 4321 of the report")
