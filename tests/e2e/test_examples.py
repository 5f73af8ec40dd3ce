"""The examples do what they say: alone, under the command, and fixed."""

import json
import re
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from e2e.runner import ON_FASTAPI

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "orders.py"
LINES = EXAMPLE.read_text().splitlines()
LOOP = next(number for number, line in enumerate(LINES, 1) if "asks the database once for each order" in line)
RUN_BY = ("test_examples.py", "test_framework_examples.py")
CLIENT = """
from starlette.testclient import TestClient

import shop

assert len(TestClient(shop.app).get("/orders").json()) == 20
"""
PRINTED = "".join(f"book {number} for customer {number}\n" for number in range(1, 26))


def promised(path):
    """The first lines of an example."""
    return path.read_text().split('"""')[1]


@pytest.mark.parametrize("arguments", [[], ["--fixed"]], ids=["faulty", "fixed"])
def test_the_script_runs_without_anything_in_front(observe, arguments):
    """It knows nothing of us."""
    run = observe([str(EXAMPLE), *arguments], receiver=None, prefix=()).run
    assert (run.returncode, run.stdout, run.stderr) == (0, PRINTED, "")


def test_the_application_on_the_page_about_fastapi_has_the_finding_that_the_page_names(observe, tmp_path):
    """Its fix, and the line of the loop."""
    page = (EXAMPLE.parents[1] / "docs" / "frameworks" / "fastapi.md").read_text()
    shop = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    (tmp_path / "shop.py").write_text(shop)
    (tmp_path / "client.py").write_text(CLIENT)
    seen = observe(["client.py"], cwd=tmp_path, env=ON_FASTAPI)
    event = next(iter(seen.span("GET /orders").events))
    assert event.attributes["dbsight.finding.suggestion"] in page
    assert "order.customer.name" in shop.splitlines()[event.attributes["code.line.number"] - 1]


def test_under_the_command_the_loop_is_named(observe):
    """On the root of the script's work, and in the report."""
    seen = observe([str(EXAMPLE)], cwd=EXAMPLE.parent.parent, env={"OTEL_DBSIGHT_REPORT": "terminal"})
    assert (seen.run.returncode, seen.run.stdout) == (0, PRINTED)
    (event,) = seen.span("dbsight.window").events
    told = {name: event.attributes[f"dbsight.finding.{name}"] for name in ("rule", "count", "suggestion")}
    assert told == {
        "rule": "n_plus_one",
        "count": 25,
        "suggestion": "select(Order).options(joinedload(Order.customer))",
    }
    assert f"examples/orders.py:{LOOP} in list_orders" in seen.run.stderr
    assert "fix  select(Order).options(joinedload(Order.customer))\n" in seen.run.stderr


def test_with_the_suggestion_applied_nothing_is_found(observe):
    """As its first lines promise."""
    seen = observe([str(EXAMPLE), "--fixed"], env={"OTEL_DBSIGHT_REPORT": "terminal"})
    assert (seen.run.stdout, seen.run.stderr) == (PRINTED, "dbsight: no findings in 5 queries\n")
    assert seen.run.stderr.strip() in EXAMPLE.read_text()


def test_rows_written_one_by_one_are_found_among_three_ways(observe):
    """Of ``bulk_insert.py``: the loop alone, with its line."""
    example = EXAMPLE.parent / "bulk_insert.py"
    seen = observe(["bulk_insert.py"], cwd=EXAMPLE.parent)
    assert seen.run.check().stderr == ""
    assert [line.split("  ")[0] for line in seen.run.stdout.splitlines()] == [
        "a statement a row",
        "executemany",
        "one INSERT",
    ]
    (event,) = [event for root in seen.spans("dbsight.window") for event in root.events]
    lines = example.read_text().splitlines()
    assert event.attributes["dbsight.finding.rule"] == "row_by_row_write"
    assert event.attributes["dbsight.finding.count"] == 1000
    assert "values(row)" in lines[event.attributes["code.line.number"] - 1]


@pytest.mark.parametrize(("arguments", "pools"), [([], 100), (["--shared"], 1)], ids=["alone", "shared"])
def test_clients_that_share_a_pool_share_its_connections(observe, redis_server, arguments, pools):
    """Of ``redis_sharing.py``: as the server counts them, too. What is found about pools is logged, with its line."""
    example = EXAMPLE.parent / "redis_sharing.py"
    seen = observe([example.name, *arguments], cwd=example.parent, env={"REDIS_URL": redis_server.url()})
    assert re.fullmatch(
        rf"100 clients: {pools} pools, {pools} connections, {pools} in Redis's CLIENT LIST, "
        r"-?[\d.]+ MB resident and -?[\d.]+ MB virtual memory more \(now \d+ and \d+ MB\)\n",
        seen.run.check().stdout,
    )
    lines = example.read_text().splitlines()
    made = next(number for number, line in enumerate(lines, 1) if "redis.Redis.from_url(URL) for _" in line)
    logged = [log.attributes for log in seen.logs("dbsight.finding")]
    alike = [
        (found["dbsight.finding.rule"], found["code.line.number"])
        for found in logged
        if found["dbsight.finding.title"].startswith("Several pools connect to ")
    ]
    assert alike == ([("duplicate_pools", made)] if pools > 1 else [])
    assert ("duplicate_pools" in {found["dbsight.finding.rule"] for found in logged}) is (pools > 1)
    events = [
        event.attributes["dbsight.finding.rule"] for root in seen.spans("dbsight.window") for event in root.events
    ]
    assert set(events) == {"redis_chatter"}


MONITOR = {
    "monitor_basic.py": r"26 queries, 0 failed: 26 SELECT, 0 INSERT\n"
    r"mean [\d.]+ ms, longest [\d.]+ ms, error rate 0.0%\n",
    "monitor_thresholds.py": r"slow  0.\d\d s  SELECT slowly\(\?\)  at monitor_thresholds.py:32\n"
    r"2 queries, 1 slow, 0 very slow\n",
    "monitor_pools.py": r":memory:: 2 of 2 connections in use, 0 idle, 1 waiting\n"
    r"application: 7 of 10 connections in use, 3 idle, 0 waiting\nfullest pool: 100%\n",
    "monitor_queries.py": r"select: 26, mean [\d.]+ ms\ncustomers: 25\norders: 1\n26 queries, (.|\n)+"
    r"  fix  select\(Order\)\.options\(joinedload\(Order\.customer\)\)\n",
    "monitor_recommendations.py": r"\[\w+\] Order.customer is loaded one row at a time  \(id n1-[0-9a-f]{8}\)\n"
    r"  select\(Order\)\.options\(joinedload\(Order\.customer\)\)\n",
    "monitor_alerts.py": r"\[warning\] query_duration: SELECT took [\d.]+ s \(threshold 0.05 s\)\n"
    r"\[error\] error_rate: 48.8% of 41 queries failed \(threshold 5.0%\)\n",
}


@pytest.mark.parametrize("name", MONITOR)
def test_programs_that_read_the_monitor_print_what_they_promise(observe, name):
    """The six themes: statistics, thresholds, pools, queries, recommendations, alerts; and what is exported agrees."""
    seen = observe([name], cwd=EXAMPLE.parent)
    assert re.fullmatch(MONITOR[name], seen.run.check().stdout)
    assert seen.run.stderr == ""
    queries = {span.attributes.get("dbsight.query.class") for span in seen.queries()}
    assert ("slow" in queries) is (name in {"monitor_thresholds.py", "monitor_alerts.py"})
    alerts = [log.attributes["dbsight.alert.metric"] for log in seen.logs("dbsight.alert")]
    assert (sorted(alerts) == ["error_rate", "query_duration"]) is (name == "monitor_alerts.py")


class Sink(BaseHTTPRequestHandler):
    """Takes what is posted."""

    def do_POST(self):
        """Keep it, and answer as all three services do."""
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, document))
        self.send_response(202)
        self.end_headers()

    def log_message(self, *_):
        """Quiet."""


class Mail(socketserver.StreamRequestHandler):
    """A mail server, as far as one message needs it."""

    def handle(self):
        """RFC 5321, one session."""
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline().strip():
            if line.upper() == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while (line := self.rfile.readline()) != b".\r\n":
                    self.server.lines.append(line.decode().strip())
            elif line == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 ok\r\n")


def test_alerts_reach_every_receiver(observe):
    """Of ``alert_receivers.py``: what Slack, PagerDuty, a webhook and a mail server get."""
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Sink) as http,
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail) as mail,
    ):
        http.posted, mail.lines = [], []
        for server in (http, mail):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{http.server_port}"
        receivers = {
            "SLACK_WEBHOOK_URL": f"{url}/slack",
            "PAGERDUTY_ROUTING_KEY": "key",
            "PAGERDUTY_URL": f"{url}/pagerduty",
            "WEBHOOK_URL": f"{url}/webhook",
            "SMTP_URL": f"smtp://127.0.0.1:{mail.server_address[1]}/oncall@example.com",
        }
        seen = observe(["alert_receivers.py"], cwd=EXAMPLE.parent, env=receivers)
        seen.run.check()
        http.shutdown()
        mail.shutdown()
    message = "50.0% of 40 queries failed (threshold 5.0%)"
    assert f"error: {message}" in seen.run.stderr
    got = dict(http.posted)
    assert got["/slack"] == {"text": f"*error* error_rate: {message}"}
    assert (got["/webhook"]["metric"], got["/webhook"]["value"]) == ("error_rate", 0.5)
    event = got["/pagerduty"]
    assert (event["routing_key"], event["event_action"]) == ("key", "trigger")
    assert event["payload"]["severity"] == "error"
    assert {"To: oncall@example.com", "Subject: [error] error_rate", message} <= set(mail.lines)


def test_recommendations_become_items_once(observe, tmp_path):
    """Of ``daily_review.py``: the second day has nothing new; the id is the finding's, the same in both runs."""
    printed = []
    for day in ("monday.json", "tuesday.json"):
        report = {"OTEL_DBSIGHT_REPORT": "json", "OTEL_DBSIGHT_REPORT_FILE": str(tmp_path / day)}
        observe([str(EXAMPLE)], env=report).run.check()
        review = [str(EXAMPLE.parent / "daily_review.py"), str(tmp_path / day), str(tmp_path / "seen.json")]
        printed.append(observe(review, receiver=None, prefix=()).run.check().stdout)
    (item,) = map(json.loads, printed[0].splitlines())
    assert re.fullmatch(r"n1-[0-9a-f]{8}", item["key"])
    assert item["summary"] == "Order.customer is loaded one row at a time"
    assert item["suggestion"] == "select(Order).options(joinedload(Order.customer))"
    assert item["where"].endswith(f"orders.py:{LOOP}")
    assert printed[1] == ""
    assert json.loads((tmp_path / "tuesday.json").read_text())["recommendations"][0]["id"] == item["key"]


def test_every_example_is_on_the_page_with_its_commands():
    """Those in its first lines; and one of these two files runs it."""
    page = (EXAMPLE.parent / "README.md").read_text()
    tests = "".join((Path(__file__).parent / name).read_text() for name in RUN_BY)
    parts = {"models.py", "settings.py", "site.py"}
    repository = EXAMPLE.parent / "ci"  # test_ci_example.py runs it
    paths = [path for path in EXAMPLE.parent.rglob("*.py") if path.name not in parts and repository not in path.parents]
    for path in sorted(paths):
        name = str(path.relative_to(EXAMPLE.parent))
        pattern = r"^ *((?:opentelemetry-instrument|pip|export|curl) .+?)(?:  +#.*)?$"
        commands = re.findall(pattern, promised(path), re.MULTILINE)
        assert len(commands) > 1
        assert [command for command in commands if f"$ {command}" not in page] == []
        assert f"]({name})" in page
        assert name in tests
