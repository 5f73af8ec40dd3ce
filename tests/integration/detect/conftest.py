"""A filled database, and a way to ask what dbsight finds in a piece of code that uses it."""

import linecache
import shutil
from dataclasses import dataclass

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from dbsight import semconv
from integration.detect import shop


@dataclass(frozen=True)
class Found:
    """A finding as it was exported, with the line of code that it names."""

    rule: str
    severity: str
    count: int
    relationship: str | None
    suggestion: str
    line: str
    id: str
    description: str


class Watch:
    """Runs code below a root span, or outside any, and tells what was found in it."""

    def __init__(self, engine, telemetry):
        self.engine = engine
        self.telemetry = telemetry

    def __call__(self, work, *arguments):
        """What is found when ``work(session, *arguments)`` runs in a request."""
        with self.telemetry.root("GET /"), Session(self.engine) as session:
            work(session, *arguments)
        return self.findings()

    def outside(self, work):
        """What is found when ``work()`` runs outside any span, with the windows closed after it."""
        work()
        self.telemetry.processor.analyzer.finish()
        return self.findings()

    def findings(self):
        """What was found since the last time, in all spans."""
        spans = self.telemetry.spans()
        self.telemetry.clear()
        events = [event.attributes for span in spans for event in span.events_named(semconv.FINDING_EVENT)]
        return [
            Found(
                rule=event[semconv.FINDING_RULE],
                severity=event[semconv.FINDING_SEVERITY],
                count=event[semconv.FINDING_COUNT],
                relationship=event.get(semconv.ORM_RELATIONSHIP),
                suggestion=event.get(semconv.FINDING_SUGGESTION, ""),
                line=linecache.getline(
                    event.get(semconv.CODE_FILE_PATH, ""), event.get(semconv.CODE_LINE_NUMBER, 0)
                ).strip(),
                id=event[semconv.FINDING_ID],
                description=event[semconv.FINDING_DESCRIPTION],
            )
            for event in events
        ]


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """The shop in a file of SQLite, to be copied."""
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    engine = create_engine(f"sqlite:///{path}")
    shop.fill(engine)
    engine.dispose()
    return path


@pytest.fixture
def engine(filled, tmp_path):
    """SQLite in a file of its own, filled before anybody watches."""
    engine = create_engine(f"sqlite:///{shutil.copy(filled, tmp_path / 'shop.db')}")
    yield engine
    engine.dispose()


@pytest.fixture
def watch(engine, make_telemetry):
    """A ``Watch`` over the shop."""
    return Watch(engine, make_telemetry())
