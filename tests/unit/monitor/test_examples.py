"""The slowest window of each route is kept with its queries."""

from builders import NOW_NS, make_operation
from dbsight.model import Finding, WindowSummary
from dbsight.monitor.examples import MAX_EXAMPLES, MAX_STEPS, Examples


def summary(route="GET /orders", duration=1.0, findings=()):
    """A closed window."""
    return WindowSummary(route, route, 7, 1, True, NOW_NS, duration, 2, 0.3, findings=findings, request=True)


def finding():
    """One finding."""
    return Finding("n_plus_one", "n1-1", "warning", "query", "loaded one by one", "")


def test_the_slowest_window_of_a_route_is_kept_with_its_queries():
    """Times of the steps are seconds after the window began; operations arrive in the order of their ends."""
    examples = Examples()
    late, early = make_operation(at=0.5, duration=0.1), make_operation("SELECT 1 FROM orders", at=0.1, duration=0.7)
    examples.offer(summary(), [late, early])
    examples.offer(summary(duration=0.5), [make_operation()])
    (kept,) = examples.all()
    assert (kept.route, kept.duration, kept.trace) == ("GET /orders", 1.0, f"{7:032x}")
    assert [(round(step.start, 6), step.statement.summary) for step in kept.steps] == [
        (0.1, "SELECT orders"),
        (0.5, "SELECT customers"),
    ]


def test_a_window_with_findings_is_not_replaced_by_a_slower_one_without():
    """The report draws what it reports."""
    examples = Examples()
    examples.offer(summary(findings=[finding()]), [make_operation()])
    examples.offer(summary(duration=9.0), [make_operation()])
    assert [(each.duration, each.findings) for each in examples.all()] == [(1.0, ("n1-1",))]


def test_examples_are_bounded_and_the_least_interesting_go_first():
    """With too many routes, those without findings and with short durations are dropped."""
    examples = Examples()
    for number in range(MAX_EXAMPLES):
        examples.offer(summary(f"GET /{number}", 1.0 + number), [make_operation()])
    examples.offer(summary("GET /quick", 0.5), [make_operation()])
    examples.offer(summary("GET /found", 0.5, [finding()]), [make_operation()] * (MAX_STEPS + 5))
    kept = {each.route: each for each in examples.all()}
    assert len(kept) == MAX_EXAMPLES
    assert "GET /found" in kept
    assert not {"GET /0", "GET /quick"} & kept.keys()
    assert len(kept["GET /found"].steps) == MAX_STEPS


def test_a_window_without_queries_is_no_example():
    """Health checks would push out what is worth a look."""
    examples = Examples()
    examples.offer(summary(), [])
    assert examples.all() == []
