"""Two samplers behind the load-balancing layer: what matters is kept whole, and of the rest a share."""

from collections import Counter

import pytest

from collector import services
from collector.otlp_traces import KINDS, SPANS, make_traces, send

KEPT = tuple(kind for kind in KINDS if kind not in {"hint", "ordinary"})
"""All of these must arrive, and a share of the others."""

NUMBERS = dict.fromkeys(KEPT, 40) | {"hint": 40, "ordinary": 1760}
"""Two thousand traces."""


class Samplers:
    """Two samplers, the layer in front of them, and the Jaeger behind."""

    def __init__(self, front, samplers, jaeger):
        self.front = front
        self.samplers = samplers
        self.jaeger = jaeger

    def send(self, traces, service):
        """Through the layer in front."""
        send(traces, self.front.http_endpoint, service)

    def arrived(self, service):
        """Trace ids in Jaeger, each with the number of its spans."""
        return {bytes.fromhex(trace["traceID"].zfill(32)): len(trace["spans"]) for trace in self.jaeger.traces(service)}

    def all_arrived(self, traces, service):
        """The kinds of those of these traces that are not whole in Jaeger, after a while."""

        def missing():
            arrived = self.arrived(service)
            return Counter(trace.kind for trace in traces if arrived.get(trace.id) != SPANS)

        return services.eventually(missing, lambda missing: not missing)


@pytest.fixture(scope="module")
def samplers(otelcol_program, run_service, jaeger, tmp_path_factory):
    """A ``Samplers``."""
    env = {
        "DBSIGHT_JAEGER_ENDPOINT": jaeger.endpoint,
        "DBSIGHT_PROMETHEUS_ENDPOINT": "http://127.0.0.1:9",  # nobody: these tests look at traces alone
        "DBSIGHT_DECISION_WAIT": "20s",
        "DBSIGHT_DECISION_WAIT_AFTER_ROOT": "2s",
    }
    samplers = [
        run_service(services.Otelcol(otelcol_program, tmp_path_factory.mktemp("sampler"), env)) for _ in range(2)
    ]
    addresses = ", ".join(sampler.grpc_address for sampler in samplers)
    told = {"DBSIGHT_SAMPLERS": f"[{addresses}]", "DBSIGHT_ANY_SAMPLER": samplers[0].grpc_address}
    directory = tmp_path_factory.mktemp("front")
    front = run_service(services.Otelcol(otelcol_program, directory, told, ("scale-out/front.yaml",)))
    return Samplers(front, samplers, jaeger)


def test_what_matters_is_kept_whole_and_five_percent_of_the_rest(samplers):
    """Of two thousand traces, sent by their parts to two samplers."""
    traces = make_traces(NUMBERS, seed=1)
    samplers.send(traces, "sampled")
    assert samplers.all_arrived([trace for trace in traces if trace.kind in KEPT], "sampled") == {}
    # The rest was decided upon together with them, or a moment later: the last trace tells that all were.
    last = make_traces({"error": 20}, seed=2)
    samplers.send(last, "sampled")
    assert samplers.all_arrived(last, "sampled") == {}
    arrived = samplers.arrived("sampled")
    rest = [trace for trace in traces if trace.kind not in KEPT]
    kept = [trace for trace in rest if trace.id in arrived]
    assert 0.03 <= len(kept) / len(rest) <= 0.07
    assert {number for identity, number in arrived.items()} == {SPANS}


def test_both_samplers_share_the_work(samplers):
    """Each has decided upon some of the traces; the layer in front is no more than a layer."""
    traces = make_traces({"finding": 40}, seed=3)
    samplers.send(traces, "shared")
    assert samplers.all_arrived(traces, "shared") == {}
    decided = [services.ask(f"http://{sampler.telemetry}/metrics").decode() for sampler in samplers.samplers]
    sampled = ["otelcol_processor_tail_sampling_count_traces_sampled" in text for text in decided]
    assert sampled == [True, True]


def test_a_killed_sampler_loses_no_finding_that_was_not_in_flight(samplers):
    """What was decided is stored; what comes while it is away waits for it in the layer in front."""
    before, during = make_traces({"grave finding": 100}, seed=4), make_traces({"grave finding": 100}, seed=5)
    samplers.send(before, "killed")
    assert samplers.all_arrived(before, "killed") == {}
    samplers.samplers[0].kill()
    samplers.send(during, "killed")
    samplers.samplers[0].start()
    assert samplers.all_arrived([*before, *during], "killed") == {}
