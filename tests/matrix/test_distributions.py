"""Guest of other distributions as they come from PyPI, in every order in which distro and configurator are picked."""

import json
import re

import pytest

from e2e import runner
from e2e.observed import line_of
from matrix.programs import MODELS

BASE = (
    "sqlalchemy ==2.0.*",
    "greenlet",
    "opentelemetry-instrumentation-sqlite3 >=0.63b0",
    "opentelemetry-instrumentation-sqlalchemy >=0.63b0",
)
DISTRIBUTIONS = {
    "opentelemetry-distro": ("distro", "configurator"),
    "elastic-opentelemetry": ("distro", "configurator"),
    "splunk-opentelemetry": ("splunk_distro", "configurator"),
}
"""The names under which each is picked: distro and configurator."""

PICKS = {
    "theirs": ("theirs", "theirs"),
    "ours": ("ours", "ours"),
    "their distro with our configurator": ("theirs", "ours"),
    "our distro with their configurator": ("ours", "theirs"),
    "whichever comes first": (None, None),
}
NOT_TAKEN = re.compile(r"Configuration of \w+ not loaded(, configurator already loaded| because dbsight is set by .*)$")
NAMES = re.compile(r"\b(dbsight|distro|configurator)\b(?= was selected)")
UPSTREAM = "opentelemetry.instrumentation.sqlalchemy"

pytestmark = pytest.mark.slow

REQUEST = f"""{MODELS}
from opentelemetry import trace

engine = create_engine(os.environ["DATABASE_URL"])
fill(engine)


def list_books():
    with Session(engine) as session:
        return [book.author.name for book in session.execute(select(Book)).scalars()]  # loop


with trace.get_tracer("shop").start_as_current_span("GET /books", kind=trace.SpanKind.SERVER):
    print(len(list_books()))
list_books()
"""
"""A request with an N+1 of five, and the same outside any span."""


def settings_of(distribution, pick):
    """The variables that pick a distro and a configurator."""
    names = {"theirs": DISTRIBUTIONS[distribution], "ours": ("dbsight", "dbsight")}
    distro, configurator = pick
    picked = {}
    if distro:
        picked["OTEL_PYTHON_DISTRO"] = names[distro][0]
    if configurator:
        picked["OTEL_PYTHON_CONFIGURATOR"] = names[configurator][1]
    return picked


def queries_below(seen, name):
    """The spans of queries in the trace of the root of this name, by their start."""
    root = seen.span(name)
    spans = [span for span in seen.spans() if span.kind == "CLIENT" and span.trace_id == root.trace_id]
    return sorted((span for span in spans if span.name != "connect"), key=lambda span: span.start_ns)


@pytest.mark.parametrize("pick", PICKS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_each_query_is_one_span_with_everything_on_it(distribution, pick, python_of, observe, tmp_path):
    """Theirs where they make it, ours where they do not; findings on the roots; output and exit code unchanged."""
    env = {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'guest.db'}",
        "OTEL_SERVICE_NAME": "guest",
        "OTEL_TRACES_EXPORTER": "otlp",
        **settings_of(distribution, PICKS[pick]),
    }
    seen = observe(REQUEST, cwd=tmp_path, python=python_of(*BASE, distribution), env=env)
    assert (seen.run.returncode, seen.run.stdout) == (0, "10\n")
    # OpenTelemetry itself says which configurator it did not take, and nobody says anything else.
    assert [line for line in seen.run.stderr.splitlines() if not NOT_TAKEN.search(line)] == []
    for name in ("GET /books", "dbsight.window"):
        spans = queries_below(seen, name)
        root = seen.span(name)
        assert [
            (
                span.attributes["db.query.summary"],
                span.attributes["code.line.number"],
                span.attributes["db.response.returned_rows"],
                span.attributes.get("dbsight.orm.relationship"),
            )
            for span in spans
        ] == [
            ("SELECT books", line_of(REQUEST, "loop"), 10, None),
            *[("SELECT authors", line_of(REQUEST, "loop"), 1, "Book.author")] * 5,
        ]
        assert {span.parent_span_id for span in spans} == {root.span_id}
        assert len({span.scope.name for span in spans}) == 1
        assert root.attributes["dbsight.db.calls"] == 6
        assert root.attributes["dbsight.findings.rules"] == ["n_plus_one"]
    makers = {span.scope.name for span in seen.spans() if span.kind == "CLIENT" and span.name != "connect"}
    expected = {"theirs": [{UPSTREAM}], "ours": [{"dbsight"}], None: [{UPSTREAM}, {"dbsight"}]}
    assert makers in expected[PICKS[pick][0]]
    assert len([span for span in seen.spans() if span.kind == "CLIENT" and span.name != "connect"]) == 12
    assert sum(point.count for point in seen.points("db.client.operation.duration")) == 12
    assert seen.points("dbsight.self.errors") == []


@pytest.mark.parametrize(
    ("pick", "expected"),
    [
        ("theirs", [("✔", "the distribution is distro"), ("✔", "the configurator is configurator")]),
        ("ours", [("✔", "the distribution is dbsight"), ("✔", "the configurator is dbsight")]),
        (
            "their distro with our configurator",
            [
                ("✔", "the distribution is distro"),
                ("✔", "the configurator is dbsight"),
                ("✘", "the distribution is distro and the configurator is dbsight: only part of each is started"),
            ],
        ),
        (
            "whichever comes first",
            [
                ("?", "the distribution {} was selected among several"),
                ("?", "the configurator {} was selected among several"),
            ],
        ),
    ],
)
def test_doctor_says_who_won(pick, expected, python_of, tmp_path):
    """The pick that starts the process, and the query that it saw there."""
    python = python_of(*BASE, "opentelemetry-distro")
    (tmp_path / "app.py").write_text(REQUEST.lstrip("\n"))
    env = {"DATABASE_URL": f"sqlite:///{tmp_path / 'doctor.db'}", "OTEL_TRACES_EXPORTER": "none"}
    env |= {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    env |= settings_of("opentelemetry-distro", PICKS[pick])
    command = ["-c", "from dbsight.cli.main import main; main()", "doctor", "--json", "--", python, "app.py"]
    run = runner.run_instrumented(command, cwd=tmp_path, env=env, prefix=(), python=python)
    answers = [(answer["check"], answer["mark"], answer["text"]) for answer in json.loads(run.stdout)]
    said = [
        (mark, NAMES.sub("{}", text) if mark == "?" else text) for name, mark, text in answers if name == "distribution"
    ]
    assert said == expected
    assert ("spans", "✔", "12 queries captured, 1 finding reported") in answers
