"""The toolbar in each framework: figures of the request itself in the headers, a badge where it breaks nothing."""

import contextlib
import gzip
import re
import socket
import urllib.error
import urllib.request

import pytest
import sqlalchemy as sa

from dbsight import config
from toolbars import ADAPTERS, PAGE, Reply

HTML = {"Content-Type": "text/html; charset=utf-8"}
NUMBERS = re.compile(
    r'db;dur=\d+\.\d\d;desc="(\d+) quer(?:y|ies)", db-wait;dur=\d+\.\d\d;desc="waited for connections",'
    r' db-findings;desc="(.*)"'
)


@pytest.fixture(params=ADAPTERS)
def ask(request, telemetry):
    """Send one request to an application; ``view`` gives its ``Reply``."""

    def send(view, method="GET", *, span=True, **toolbar):
        toolbar.setdefault("enabled", True)
        around = telemetry.root if span else contextlib.nullcontext
        return ADAPTERS[request.param](view, method, around, **toolbar)

    return send


@pytest.fixture
def query(telemetry, tmp_path):
    """Run a number of queries that are no finding."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}", future=True)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE secrets (id INTEGER)"))

    def run(number=1, *, loop=False):
        with engine.connect() as connection:
            for each in range(number):
                text = f"SELECT {each} AS a{each}" if not loop else "SELECT id FROM secrets WHERE id = :id"
                connection.execute(sa.text(text), {"id": 4711 + each} if loop else {}).all()

    yield run
    engine.dispose()


@pytest.fixture
def served(telemetry, tmp_path, monkeypatch):
    """The engine serves the page; gives its service."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    engine = telemetry.processor.analyzer
    engine.use(config.Settings(process_metrics=False, serve=port))
    yield engine.service
    engine.service.stop()


def replying(*queries, reply=None):
    """A view that runs functions, and answers."""

    def view():
        for each in queries:
            each()
        return reply or Reply()

    return view


def figures(reply):
    """Number of queries and text of the findings in a header."""
    found = NUMBERS.fullmatch(reply.header("Server-Timing") or "")
    assert found, reply.headers
    return int(found[1]), found[2]


def opened(link):
    """A page, and the status where it is none."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(link, timeout=10) as answer:
            return 200, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


# -- Headers ----------------------------------------------------------------------------------------------------------


def test_the_header_has_the_figures_of_the_request_alone(ask, query):
    """While its window is still open; what ran before it is not its own."""
    query(4)
    assert figures(ask(replying(lambda: query(3)))) == (3, "0 findings")
    assert figures(ask(replying(query))) == (1, "0 findings")
    assert figures(ask(replying())) == (0, "0 findings")


def test_findings_are_told_before_the_request_is_over(ask, query, telemetry):
    """The rules run on what there is; when it ends, each is found once."""
    assert figures(ask(replying(lambda: query(20, loop=True)))) == (20, "1 finding: n_plus_one")
    (finding,) = telemetry.processor.analyzer.snapshot().findings
    assert (finding.finding.rule, finding.count, finding.windows) == ("n_plus_one", 20, 1)


def test_without_web_instrumentation_the_queries_of_the_request_are_told(ask, query):
    """They run outside any span, and are no unit of work with those of the request before."""
    assert figures(ask(replying(lambda: query(3)), span=False)) == (3, "0 findings")
    assert figures(ask(replying(lambda: query(2)), span=False)) == (2, "0 findings")
    assert figures(ask(replying(), span=False)) == (0, "0 findings")


def test_headers_are_short_ascii_without_anything_of_a_query(ask, query):
    """Neither text nor values."""
    reply = ask(replying(lambda: query(60, loop=True)))
    value = reply.header("Server-Timing")
    assert value.isascii()
    assert len(value) < 400
    assert "SELECT" not in value
    assert "secret" not in value
    assert "4711" not in value


def test_timings_of_the_application_are_kept(ask, query):
    """The header is a list."""
    reply = ask(replying(query, reply=Reply(headers={**HTML, "Server-Timing": "app;dur=1"})))
    assert "app;dur=1" in reply.header("Server-Timing")
    assert "db;dur=" in reply.header("Server-Timing")


@pytest.mark.parametrize("mode", [None, "off"])
def test_nothing_is_added_unless_it_is_enabled(ask, query, monkeypatch, mode):
    """By the setting or an argument."""
    config.reset()
    if mode:
        monkeypatch.setenv("OTEL_DBSIGHT_TOOLBAR", mode)
    reply = ask(replying(query), enabled=None, badge=None)
    assert reply.header("Server-Timing") is None
    assert reply.body == PAGE


def test_the_setting_enables_it(ask, query, monkeypatch):
    """``on`` is the headers, ``badge`` is both."""
    config.reset()
    monkeypatch.setenv("OTEL_DBSIGHT_TOOLBAR", "on")
    reply = ask(replying(query), enabled=None)
    assert figures(reply) == (1, "0 findings")
    assert reply.body == PAGE
    config.reset()
    monkeypatch.setenv("OTEL_DBSIGHT_TOOLBAR", "badge")
    assert b"dbsight-badge" in ask(replying(query), enabled=None).body


def test_errors_of_the_application_pass(ask, query):
    """As they are; the next request is told as usual."""

    def view():
        raise KeyError("of the application")

    with pytest.raises(KeyError, match="of the application"):
        ask(view)
    assert figures(ask(replying(query))) == (1, "0 findings")


@pytest.mark.swallows_errors
@pytest.mark.parametrize("part", ["figures_of", "insert", "fits"])
def test_a_fault_of_the_toolbar_changes_no_response(ask, query, monkeypatch, part):
    """It is counted and logged."""

    def broken(*_):
        raise RuntimeError("ours")

    module = "badge" if part == "fits" else "watch"
    if part == "fits":
        monkeypatch.setattr("dbsight.toolbar.badge._HTML", None)
    else:
        monkeypatch.setattr(f"dbsight.toolbar.{module}.{part}", broken)
    reply = ask(replying(query), badge=True)
    assert (reply.status, reply.body) == (200, PAGE)


# -- The page ---------------------------------------------------------------------------------------------------------


def test_the_link_opens_the_page_of_the_request(ask, query, served):
    """With its queries and findings, and no other request's."""
    ask(replying(lambda: query(7)))
    reply = ask(replying(lambda: query(20, loop=True)))
    link = reply.header("X-Dbsight-Request")
    assert link.startswith(served.process.url)
    status, page = opened(link)
    assert status == 200
    assert "secret" in page
    assert "<b>1</b> request<" in page
    assert "AS a6" not in page


def test_the_link_opens_nothing_else(ask, query, served):
    """It has a key for one request, and not the token of the process."""
    first, second = (ask(replying(query)).header("X-Dbsight-Request") for _ in range(2))
    assert served.process.token not in first
    request, key = re.search(r"id=(\w+)&key=(\w+)", first).groups()
    assert opened(first)[0] == 200
    assert opened(f"{served.process.url}/?id={request}&key={key}")[0] == 401
    assert opened(f"{served.process.url}/api/v1/requests?id={request}&key={key}")[0] == 401
    assert opened(re.sub(r"key=\w+", f"key={key}", second))[0] == 401
    assert opened(re.sub(r"&key=\w+", "", first))[0] == 401


def test_without_a_page_there_is_no_link(ask, query):
    """The header is left out, and the badge leads nowhere."""
    reply = ask(replying(query), badge=True)
    assert reply.header("X-Dbsight-Request") is None
    assert b"<a" not in reply.body
    assert b"1 query in" in reply.body


# -- The badge --------------------------------------------------------------------------------------------------------


def test_a_page_gets_the_badge_before_its_end(ask, query, served):
    """And its length is right."""
    reply = ask(replying(query), badge=True)
    before, badge, after = re.fullmatch(rb"(.*)(<style>.*</a>)(</body></html>\n)", reply.body, re.DOTALL).groups()
    assert before + after == PAGE
    assert badge.isascii()
    assert int(reply.header("Content-Length") or len(reply.body)) == len(reply.body)


UNTOUCHED = {
    "no badge is asked for": ({"badge": False}, Reply()),
    "JSON": ({}, Reply(b'{"page": "<body></body>"}', headers={"Content-Type": "application/json"})),
    "no type": ({}, Reply(headers={"Content-Type": ""})),
    "compressed": ({}, Reply(gzip.compress(PAGE), headers={**HTML, "Content-Encoding": "gzip"})),
    "a fragment": ({}, Reply(b"<li>one more</li>")),
    "a script that writes a page": ({}, Reply(b"<body><script>write('</body></html>')</script>")),
    "a comment": ({}, Reply(b"<body><!-- </body></html> -->")),
    "UTF-16": ({}, Reply(PAGE.decode().encode("utf-16"), headers={"Content-Type": "text/html; charset=utf-16"})),
    "a part": ({}, Reply(status=206, headers={**HTML, "Content-Range": "bytes 0-9/99"})),
    "a digest": ({}, Reply(headers={**HTML, "Repr-Digest": "sha-256=:x:"})),
    "no-transform": ({}, Reply(headers={**HTML, "Cache-Control": "private, no-transform"})),
    "a download": ({}, Reply(headers={**HTML, "Content-Disposition": 'attachment; filename="a.html"'})),
    "a stream": ({}, Reply([b"<html><body>", b"</body></html>"])),
    "an empty page": ({}, Reply(b"")),
    "not modified": ({}, Reply(b"", 304, {"ETag": '"1"'})),
}


def test_what_is_no_whole_page_is_not_touched(ask, query):
    """The headers have the figures nevertheless."""
    for case, (toolbar, sent) in UNTOUCHED.items():
        reply = ask(replying(query, reply=sent), **{"badge": True, **toolbar})
        assert reply.body == (b"".join(sent.body) if isinstance(sent.body, list) else sent.body), case
        assert reply.status == sent.status, case
        assert figures(reply) == (1, "0 findings"), case


def test_head_has_no_badge(ask, query):
    """Only the headers."""
    reply = ask(replying(query), "HEAD", badge=True)
    assert b"dbsight" not in reply.body
    assert figures(reply)[0] == 1


def test_a_policy_has_nothing_to_block(ask, query, served):
    """The badge is a link without a style, whether a policy is enforced, only reports, or stands in the page."""
    for body, headers in (
        (PAGE, {"Content-Security-Policy": "default-src 'self'"}),
        (PAGE, {"Content-Security-Policy-Report-Only": "style-src 'none'; report-uri /csp"}),
        (PAGE.replace(b"<body>", b'<meta http-equiv="Content-Security-Policy" content="x"><body>'), {}),
    ):
        reply = ask(replying(query, reply=Reply(body, headers={**HTML, **headers})), badge=True)
        assert b"<small><a" in reply.body
        assert b"style" not in reply.body


def test_an_error_page_gets_the_badge(ask, query):
    """Whoever looks at a failure wants to know its queries."""
    reply = ask(replying(query, reply=Reply(status=500)), badge=True)
    assert reply.status == 500
    assert b"dbsight-badge" in reply.body


def test_ends_that_people_write_are_known(ask, query):
    """Upper case, spaces, comments of servers; in any character set that contains ASCII."""
    for end in (b"</BODY>", b"</body >\n</HTML >\n", b"</body></html><!-- 12 ms --> <!-- node 3 -->\n"):
        sent = Reply(b"<p>\xe4 in latin-1" + end, headers={"Content-Type": "text/html; charset=latin-1"})
        reply = ask(replying(query, reply=sent), badge=True)
        assert reply.body.startswith(b"<p>\xe4 in latin-1<style>")
        assert reply.body.endswith(b"</span>" + end)
