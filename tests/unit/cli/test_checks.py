"""The checks of dbsight doctor, each both ways."""

import inspect
import socket

import pytest

from dbsight.cli import diagnosis
from dbsight.cli.checks import CHECKS
from dbsight.cli.evidence import Evidence, Inside, Instrumentor, gather
from dbsight.cli.practice import Engine, Practice

GOOD = {
    "versions": {"opentelemetry-api": "1.45.1", "opentelemetry-sdk": "1.45.1"},
    "distros": ["dbsight"],
    "configurators": ["dbsight"],
    "instrumentors": [Instrumentor("dbsight_sqlalchemy", "dbsight")],
}


def said(name, **fields):
    """What one check says: mark and text."""
    (check,) = [each for each in CHECKS if each.name == name]
    return [(line.mark, line.text) for line in check().look(Evidence(**{**GOOD, **fields}))]


def marks(name, **fields):
    """The marks alone."""
    return "".join(mark for mark, _ in said(name, **fields))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_asks_a_question_and_says_what_to_do(check):
    """Its docstring is its documentation."""
    question, *rest = inspect.getdoc(check).split("\n\n")
    assert question.endswith("?")
    assert [each.partition(":\n")[0] for each in rest] == ["Good", "What to do"]


@pytest.mark.parametrize(
    ("check", "fields", "expected"),
    [
        ("versions", {}, "✔"),
        ("versions", {"versions": {"opentelemetry-api": "1.45.1"}}, "✔✘"),
        ("versions", {"versions": {"opentelemetry-api": "1.45.1", "opentelemetry-sdk": "1.41.0"}}, "✔✘"),
        ("versions", {"gil": False}, "✔?"),
        ("distribution", {}, "✔✔"),
        ("distribution", {"distros": []}, "✘✔"),
        ("distribution", {"distros": ["elastic", "dbsight"], "configurators": ["dbsight"]}, "?✔✘"),
        ("distribution", {"distros": ["elastic", "dbsight"], "distro": "dbsight"}, "✔✔"),
        ("distribution", {"distro": "nobody"}, "✘✔"),
        ("switches", {}, "✔"),
        ("switches", {"sdk_disabled": True}, "✘"),
        ("switches", {"enabled": False}, "✘"),
        ("switches", {"instrumentors": [Instrumentor("redis", disabled=True)]}, "✔?"),
        ("settings", {}, "✔"),
        ("settings", {"complaints": ["OTEL_DBSIGHT_PRESET = 'x' is not …"]}, "✘"),
        ("settings", {"config_file": True}, "✔?"),
        ("instrumented", {}, "✔"),
        ("instrumented", {"instrumentors": []}, "✘"),
        ("instrumented", {"instrumentors": [Instrumentor("redis", conflict="it supports …")]}, "✘✘"),
        ("instrumented", {"inside": Inside(instrumented=["SQLAlchemyInstrumentor"])}, "✔"),
        ("instrumented", {"inside": Inside(instrumented=["RedisInstrumentor"], modules=["pymongo"])}, "✔✘"),
        ("instrumented", {"inside": Inside()}, "✘"),
        ("instrumented", {"inside": Inside(instrumented=["MySQLClientInstrumentor"], modules=["MySQLdb"])}, "✔"),
        ("instrumented", {"inside": Inside(instrumented=["X"], modules=["sqlalchemy", "psycopg"])}, "✔✘✘"),
        ("instrumented", {"inside": Inside(instrumented=["X"], modules=["sqlite3"], calls=3)}, "✔?"),
        (
            "instrumented",
            {
                "inside": Inside(
                    instrumented=["SQLAlchemyInstrumentor"],
                    modules=["sqlalchemy", "psycopg"],
                    practice=Practice(engines=[Engine("shop")]),
                )
            },
            "✔",
        ),
        ("twice", {}, ""),
        ("twice", {"inside": Inside(instrumented=["RedisInstrumentor"])}, "✔"),
        ("twice", {"inside": Inside(instrumented=["RedisInstrumentor"] * 2)}, "✘"),
        ("twice", {"inside": Inside(rivals=["ddtrace"])}, "?"),
        ("sampler", {}, "✔"),
        ("sampler", {"sampler": "always_off"}, "✘"),
        ("sampler", {"sampler": "parentbased_traceidratio:0"}, "✘"),
        ("sampler", {"sampler": "parentbased_traceidratio:0.1"}, "?"),
        ("sampler", {"inside": Inside(sampler="AlwaysOffSampler")}, "✘"),
        ("sampler", {"inside": Inside(sampler="ParentBased{root:AlwaysOffSampler,remote…}")}, "✘"),
        ("sampler", {"inside": Inside(sampler="ParentBased{root:AlwaysOnSampler,remote…AlwaysOff…}")}, "✔"),
        ("sampler", {"inside": Inside(sampler="ParentBased{root:TraceIdRatioBased{0.0},remote…}")}, "✘"),
        ("sampler", {"inside": Inside(sampler="TraceIdRatioBased{0.25}")}, "?"),
        ("sampler", {"inside": Inside(sampler="their own")}, "✔"),
        ("exporter", {"exporters": ["console"]}, "?"),
        ("exporter", {"endpoint": ""}, "✘"),
        ("spans", {}, "?"),
        ("spans", {"told": True}, "✘"),
        ("spans", {"inside": Inside(attached=True, calls=3)}, "✔"),
        ("spans", {"inside": Inside(attached=True)}, "✘"),
        ("spans", {"inside": Inside(provider="their.Provider")}, "✘"),
        ("spans", {"inside": Inside(attached=True, calls=3, errors={"recording.publish": 1})}, "✘✔"),
        ("engines", {}, ""),
        ("engines", {"inside": Inside(practice=Practice(engines=[Engine("shop.db", where="app.py:3")]))}, "✔"),
        ("engines", {"inside": Inside(practice=Practice(engines=[Engine("shop.db")]))}, "?"),
        ("engines", {"inside": Inside(practice=Practice(findings={"pool_churn": ["40 pools"]}))}, "?"),
        ("ignored", {"inside": Inside()}, ""),
        ("ignored", {"inside": Inside(practice=Practice(unused=["ignore x matched nothing: remove it"]))}, "?"),
    ],
)
def test_a_check_tells_right_from_wrong(check, fields, expected):
    """By the marks of its lines."""
    assert marks(check, **fields) == expected


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        (("distro", "dbsight"), "OTEL_PYTHON_DISTRO=distro OTEL_PYTHON_CONFIGURATOR=configurator"),
        (("dbsight", "configurator"), "OTEL_PYTHON_DISTRO=dbsight OTEL_PYTHON_CONFIGURATOR=dbsight"),
    ],
)
def test_half_a_distribution_is_told_the_names_of_the_whole(asked, advice):
    """Upstream's configurator is not called as its distribution is."""
    installed = {"distros": ["distro", "dbsight"], "configurators": ["configurator", "dbsight"]}
    distro, configurator = asked
    evidence = Evidence(**{**GOOD, **installed, "distro": distro, "configurator": configurator})
    (check,) = [each for each in CHECKS if each.name == "distribution"]
    assert [(line.mark, line.advice) for line in check().look(evidence)] == [("✔", ""), ("✔", ""), ("✘", advice)]


def test_the_exporter_is_knocked_at():
    """A port that listens, and one that does no more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"127.0.0.1:{server.getsockname()[1]}"
        assert said("exporter", endpoint=endpoint) == [("✔", f"{endpoint} accepts connections")]
    assert marks("exporter", endpoint=endpoint) == "✘"


def test_upstreams_bound_is_no_fault_where_ours_takes_its_place():
    """SQLAlchemy 2.1, which upstream does not instrument."""
    upstream = Instrumentor("sqlalchemy", "otel-sqlalchemy", conflict="it supports sqlalchemy<2.1.0, and …")
    (first, _) = said("instrumented", instrumentors=[upstream, Instrumentor("dbsight_sqlalchemy", "dbsight")])
    assert first == (
        "✔",
        "sqlalchemy of otel-sqlalchemy is skipped: it supports sqlalchemy<2.1.0, and …; dbsight's own is used instead",
    )


def test_every_wrong_line_says_what_to_do():
    """And no right one needs it."""
    bad = Evidence(sdk_disabled=True, enabled=False, complaints=["wrong"], sampler="always_off", told=True)
    answers = diagnosis.answers(bad)
    assert {answer.check for answer in answers if answer.mark == "✘"} >= {"versions", "distribution", "switches"}
    assert all(bool(answer.advice) == (answer.mark != "✔") for answer in answers)


def test_a_check_that_fails_says_so_and_the_others_go_on():
    """Evidence that nobody thought of."""
    answers = diagnosis.answers(Evidence(versions=None))
    assert answers[0] == ("versions", "?", "the check failed: AttributeError", "please report it", False)
    assert len({answer.check for answer in answers}) > 5


def test_evidence_survives_the_way_through_a_file():
    """The processes of a command write it, the doctor reads it."""
    evidence = gather({"OTEL_TRACES_SAMPLER": "always_on"})
    evidence.inside = Inside(calls=3, practice=Practice(engines=[Engine("shop.db", limits=["read_timeout"])]))
    assert Evidence.of(evidence.plain()) == evidence


def test_the_queries_of_all_processes_count():
    """The one with the most speaks."""
    told = [Evidence(pid=number, inside=Inside(attached=True, calls=number)).plain() for number in (1, 5, 2)]
    evidence = diagnosis.examine(told)
    assert (evidence.pid, evidence.inside.calls, evidence.told) == (5, 8, True)


def test_an_endpoint_is_told_without_its_password():
    """Host and port alone."""
    evidence = gather({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:secret@apm.example:8200/path?key=secret"})
    assert (evidence.endpoint, evidence.configured) == ("apm.example:8200", True)
    assert "secret" not in str(evidence.plain())
