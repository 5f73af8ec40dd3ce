"""gevent and eventlet, monkey-patched: windows and call sites of each greenlet are its own."""

import pytest

from e2e.observed import line_of
from matrix.programs import MODELS

pytestmark = pytest.mark.slow

PACKAGES = (
    "sqlalchemy ==2.1.*",
    "eventlet",
    "gevent",
    "greenlet",
    "opentelemetry-instrumentation-sqlite3 >=0.63b0",
)

WORK = """
from opentelemetry import trace
from sqlalchemy.pool import NullPool

engine = create_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
tracer = trace.get_tracer("shop")


def request(number):
    with tracer.start_as_current_span(f"GET /{number}", kind=trace.SpanKind.SERVER), Session(engine) as session:
        for book in session.execute(select(Book).order_by(Book.id).limit(2 * number)).scalars().all():
            pause()
            book.author.name  # loop


def outside(number):
    with Session(engine) as session:
        for each in range(number):
            session.execute(select(Author).where(Author.id == each)).all()
            pause()
"""

GEVENT = f"""
from gevent import monkey

monkey.patch_all()
import gevent
{MODELS}

def pause():
    gevent.sleep(0.002)

{WORK}
gevent.joinall([gevent.spawn(request, number) for number in range(1, 6)], raise_error=True)
gevent.joinall([gevent.spawn(outside, number) for number in range(1, 4)], raise_error=True)
print("done")
"""

EVENTLET = f"""
import eventlet

eventlet.monkey_patch()
{MODELS}

def pause():
    eventlet.sleep(0.002)

{WORK}
for thread in [eventlet.spawn(request, number) for number in range(1, 6)]:
    thread.wait()
for thread in [eventlet.spawn(outside, number) for number in range(1, 4)]:
    thread.wait()
print("done")
"""


@pytest.mark.parametrize("program", [GEVENT, EVENTLET], ids=["gevent", "eventlet"])
def test_each_greenlet_has_its_own_window(program, python_of, observe, sqlite_url, tmp_path):
    """Requests that take turns, and work outside any span: each is judged by itself, at the right line."""
    seen = observe(
        program,
        cwd=tmp_path,
        python=python_of(*PACKAGES),
        env={"DATABASE_URL": sqlite_url, "OTEL_DBSIGHT_N_PLUS_ONE_THRESHOLD": "4"},
        protocol="http/protobuf",
    )
    assert (seen.run.returncode, seen.run.stdout) == (0, "done\n")
    assert "src/dbsight" not in seen.run.stderr
    requests = {span.name: span for span in seen.spans() if span.kind == "SERVER"}
    assert {name: span.attributes["dbsight.db.calls"] for name, span in requests.items()} == {
        f"GET /{number}": 1 + number for number in range(1, 6)
    }
    for number in (4, 5):
        (event,) = requests[f"GET /{number}"].events_named("dbsight.finding")
        told = (event.attributes["dbsight.finding.rule"], event.attributes["dbsight.finding.count"])
        assert told == ("n_plus_one", number)
        assert event.attributes["code.line.number"] == line_of(program, "loop")
    lazy = [span for span in seen.queries() if span.attributes.get("dbsight.orm.load") == "lazy"]
    assert {span.attributes["code.line.number"] for span in lazy} == {line_of(program, "loop")}
    outside = sorted(span.attributes["dbsight.db.calls"] for span in seen.spans("dbsight.window"))
    assert outside == [1, 2, 3]
    assert len(seen.queries()) == sum(1 + number for number in range(1, 6)) + 6
