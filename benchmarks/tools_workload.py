"""Three faults and a secret, for ``tools.py``: an N+1, a slow query, a wait for a connection, a literal in a text."""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, String, create_engine, event, select, text
from sqlalchemy.orm import Session, declarative_base, relationship

ORDERS = 10
SECONDS = 0.3
"""Of the slow query, and of the wait."""

Base: Any = declarative_base()


class Customer(Base):
    """Each is loaded by a query of its own."""

    __tablename__ = "customers"
    id = Column(Integer, primary_key=True)
    name = Column(String)


class Order(Base):
    """What is listed."""

    __tablename__ = "orders"
    id = Column(Integer, primary_key=True)
    customer_id = Column(ForeignKey("customers.id"))
    customer = relationship(Customer)


class Faults:
    """The engine, with one connection, and the requests that are wrong."""

    def __init__(self) -> None:
        file = Path("tools.db").absolute()
        self.engine = create_engine(f"sqlite:///{file}", pool_size=1, max_overflow=0)
        event.listen(self.engine, "connect", lambda driver, _: driver.create_function("pause", 1, time.sleep))

    def fill(self) -> None:
        """The tables; once."""
        Base.metadata.create_all(self.engine)
        with Session(self.engine) as session:
            session.add_all([Customer(id=n, name=f"customer {n}") for n in range(ORDERS)])
            session.add_all([Order(id=n, customer_id=n) for n in range(ORDERS)])
            session.commit()

    def list_orders(self) -> None:
        """Load each order's customer by itself."""
        with Session(self.engine) as session:
            for order in session.scalars(select(Order)):
                assert order.customer.name

    def show_report(self) -> None:
        """Wait for the database."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT pause(:s)"), {"s": SECONDS}).all()

    def take_turns(self) -> None:
        """Wait for the only connection, which another thread holds."""
        held = threading.Event()

        def hold() -> None:
            with self.engine.connect():
                held.set()
                time.sleep(SECONDS)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1")).all()
        thread.join()

    def find_customer(self) -> None:
        """A value in the text itself."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT id FROM customers WHERE name = 'secret'")).all()

    def requests(self) -> list[Any]:
        """All of them."""
        return [self.list_orders, self.show_report, self.take_turns, self.find_customer]


@contextmanager
def otel(spans: list[dict[str, Any]]) -> Any:
    """Requests as OpenTelemetry's spans; they are exported, and nothing is kept here."""
    from opentelemetry import trace

    tracer = trace.get_tracer("workload")
    yield lambda name: tracer.start_as_current_span(name, kind=trace.SpanKind.SERVER)


@contextmanager
def ddtrace(spans: list[dict[str, Any]]) -> Any:
    """Requests as ddtrace's spans, kept as they go to the writer."""
    from ddtrace.trace import TraceFilter, tracer

    class Keep(TraceFilter):
        def process_trace(self, trace: Any) -> None:
            for span in trace:
                attributes = {**span.get_tags(), **span.get_metrics(), "resource": span.resource}
                spans.append({"name": span.name, "seconds": span.duration, "attributes": attributes})

    tracer.configure(trace_processors=[Keep()])
    yield lambda name: tracer.trace("request", resource=name, span_type="web")


@contextmanager
def sentry(spans: list[dict[str, Any]]) -> Any:
    """Requests as Sentry's transactions, kept as they go to the transport."""
    import sentry_sdk
    from sentry_sdk.integrations.sqlalchemy import SqlalchemyIntegration
    from sentry_sdk.transport import Transport

    class Keep(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            sent = envelope.get_transaction_event() or {}
            for span in sent.get("spans", ()):
                seconds = _seconds(span["timestamp"]) - _seconds(span["start_timestamp"])
                attributes = {**span.get("data", {}), "description": span.get("description")}
                spans.append({"name": span["op"], "seconds": seconds, "attributes": attributes})

    integrations = [SqlalchemyIntegration()]
    sentry_sdk.init("http://key@127.0.0.1:9/1", transport=Keep, traces_sample_rate=1.0, integrations=integrations)
    yield lambda name: sentry_sdk.start_transaction(op="http.server", name=name)
    sentry_sdk.flush()


def _seconds(moment: Any) -> float:
    from datetime import datetime

    return float(datetime.fromisoformat(str(moment).replace("Z", "+00:00")).timestamp())


def main() -> None:
    """Run all requests under one tool; print what it recorded, where the tool is asked in the process."""
    spans: list[dict[str, Any]] = []
    with {"otel": otel, "ddtrace": ddtrace, "sentry": sentry}[sys.argv[1]](spans) as request:
        faults = Faults()
        for fault in faults.requests():
            with request(fault.__name__):
                fault()
    print(json.dumps(spans, default=str))


if __name__ == "__main__":
    main()
