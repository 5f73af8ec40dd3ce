"""An analyzer whose clock stands still, and what it is fed with."""

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import SpanProcessor

from builders import NOW_NS, make_operation, make_span_context
from dbsight import scope, semconv
from dbsight.analyzer import Analyzer
from dbsight.config import Settings
from dbsight.span import SyntheticRoot

SECOND = 1_000_000_000


class Engine(Analyzer):
    """An analyzer whose clock stands still until a test moves it.

    Attributes:
        now: ns since the epoch.
    """

    def __init__(self, **settings):
        self.now = NOW_NS
        self.exporter = InMemoryLogRecordExporter()
        logs = LoggerProvider(shutdown_on_exit=False)
        logs.add_log_record_processor(SimpleLogRecordProcessor(self.exporter))
        settings.setdefault("process_metrics", False)
        super().__init__(Settings(**settings), MeterProvider(shutdown_on_exit=False), logs, lambda: self.now)

    def _start_sweeper(self):
        """Tests sweep themselves, but for those about the thread."""

    def at(self, seconds):
        """Move the clock to so many seconds after the beginning."""
        self.now = NOW_NS + int(seconds * SECOND)

    def logged(self):
        """Rule, count, trace and span of each finding that became a log event."""
        records = [record.log_record for record in self.exporter.get_finished_logs()]
        records = [record for record in records if record.event_name == semconv.FINDING_EVENT]
        return [
            (
                record.attributes["dbsight.finding.rule"],
                record.attributes["dbsight.finding.count"],
                record.trace_id,
                record.span_id,
            )
            for record in records
        ]


def run_loop(engine, parent, count=5, *, at=0.0, **fields):
    """An N+1 below a parent: so many queries with other parameters each; the windows that they went to."""
    for number in range(count):
        operation = make_operation(at=at + number * 0.001, parent=parent, parameters=1000 * int(at) + number, **fields)
        engine.observe(operation)


def run_unit(engine, count=3, *, at=0.0, name="GET /orders", **fields):
    """One request with so many queries, that is over."""
    parent = make_span_context()
    window = engine.windows.open(name, parent, NOW_NS + int(at * 1e9), request=True)
    for number in range(count):
        engine.observe(make_operation(at=at + number * 0.001, parent=parent, parameters=number, **fields))
    engine.close(window, window.start_ns + 20_000_000, name)


class Roots(SpanProcessor):
    """Takes the roots that are emitted."""

    def __init__(self):
        self.spans = []

    def on_end(self, span):
        """Keep it."""
        self.spans.append(span)


def draw_root(engine, pipelines, to):
    """A root for work outside spans, current in this context, that is emitted to a processor."""
    pipelines.make()
    tracer = pipelines.provider.get_tracer("application")
    root = SyntheticRoot.make(tracer, None, NOW_NS)
    root.origin = to
    engine.open_root(root)
    scope.root.set(root)
    return root
