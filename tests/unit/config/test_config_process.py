"""The settings of the process, OpenTelemetry's own switches, and the table with its documentation."""

import ast
import datetime as dt
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dbsight import config
from dbsight.config import SETTINGS, FailOn, Settings, Surroundings

ROOT = Path(__file__).parents[3]

load = Settings.load


# -- Surroundings -------------------------------------------------------------------------------------------------
def test_opentelemetrys_own_switches_are_read_and_never_judged(said):
    """They are not ours."""
    environ = {
        "OTEL_SDK_DISABLED": "TRUE",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http, database/dup",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://user:secret@collector:4318",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp,console",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "requests , sqlalchemy",
        "OTEL_CONFIG_FILE": "otel.yaml",
    }
    surroundings = load(environ).surroundings
    assert surroundings == Surroundings(
        sdk_disabled=True,
        semconv_dup=True,
        otlp_protocol="http/protobuf",
        traces_exporters=("otlp", "console"),
        disabled_instrumentations=("requests", "sqlalchemy"),
        config_file="otel.yaml",
    )
    assert "secret" not in repr(surroundings)
    assert said() == []


@pytest.mark.parametrize("environ", [{}, {"OTEL_SDK_DISABLED": "1", "OTEL_SEMCONV_STABILITY_OPT_IN": "database"}])
def test_without_them_opentelemetry_is_as_it_comes(environ):
    """The specification knows ``true`` alone; ``database`` is what we do anyway."""
    assert Surroundings.read(environ) == Surroundings()


# -- The settings of the process ----------------------------------------------------------------------------------
def test_current_settings_are_loaded_once_and_the_same_for_all_threads(monkeypatch):
    """Sixteen threads that ask at the same time get one object."""
    monkeypatch.setenv("OTEL_DBSIGHT_MAX_ALERTS", "5")
    together = threading.Barrier(16, timeout=60)
    seen = []

    def ask():
        together.wait()
        seen.append(config.current())

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {id(settings) for settings in seen} == {id(config.current())}
    assert config.current().max_alerts == 5


def test_use_puts_settings_in_force_and_none_loads_them_anew(monkeypatch):
    """For ``configure()`` and for tests."""
    mine = Settings(max_alerts=3)
    config.use(mine)
    assert config.current() is mine
    monkeypatch.setenv("OTEL_DBSIGHT_MAX_ALERTS", "6")
    config.use(None)
    assert config.current().max_alerts == 6


def test_a_fault_of_ours_while_loading_gives_the_defaults_and_a_warning(monkeypatch, said):
    """Never in the way, not even at start."""

    def fail(*_args):
        raise RuntimeError("secret")

    monkeypatch.setattr("dbsight.config.resolution.resolve", fail)
    assert config.current() == Settings()
    assert said() == ["settings could not be loaded (RuntimeError); defaults are used"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_settings_are_being_loaded_can_load_its_own():
    """The lock that another thread held at the fork is not the child's."""
    program = """
import os, threading
from dbsight import config
from dbsight.config import process
process._lock.acquire()
child = os.fork()
if child == 0:
    os._exit(config.current().max_alerts == 1000 and 7)
process._lock.release()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "7\n", done.stderr


def test_a_bad_value_reaches_stderr_of_an_application_that_configures_no_logging():
    """One line, no traceback; the program runs."""
    done = subprocess.run(
        [sys.executable, "-c", "from dbsight import config; print(config.current().max_alerts)"],
        env={**os.environ, "OTEL_DBSIGHT_MAX_ALERTS": "lots"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "1000\n")
    assert done.stderr == (
        "dbsight: OTEL_DBSIGHT_MAX_ALERTS = 'lots' is not a whole number of at least 1; the default 1000 is used\n"
    )


# -- The table and its documentation ------------------------------------------------------------------------------
def test_every_setting_has_a_sentence_a_theme_and_a_default_that_parses():
    """The table is the documentation."""
    for name, setting in SETTINGS.items():
        assert setting.sentence.endswith("."), name
        assert setting.theme, name
        if setting.default is not None:
            assert setting.parser.read(setting.default) == setting.default, name
    assert [row.setting for row in Settings().describe()] == list(SETTINGS.values())


def test_describe_gives_every_setting_as_people_write_it_with_its_source():
    """The rows of ``dbsight config``."""
    rows = {row.setting.name: row[1:] for row in load({"OTEL_DBSIGHT_PRESET": "production"}).describe()}
    assert rows["preset"] == ("production", "environment")
    assert rows["slow_query_threshold"] == ("0.5 s", "preset production")
    assert rows["report"] == ("off", "preset production")
    assert rows["log_min_duration"] == ("(all)", "default")
    assert rows["fail_on"] == ("(none)", "default")


def test_the_generated_documentation_is_up_to_date():
    """``python docs/generate.py`` was run after the last change."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_file_of_the_documentation_loads_without_a_warning(said):
    """What is shown there can be copied."""
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    Path("dbsight.toml").write_text(example, encoding="utf-8")
    settings = Settings.load()
    assert said() == []
    assert settings == Settings(
        preset="production",
        report=(),
        slow_query_threshold=0.2,
        rules=("all", "-redundant_query"),
        fail_on=(FailOn("n_plus_one", "error"), FailOn("budget_exceeded", "info")),
        slow_query_thresholds=Settings().slow_query_thresholds | {"redis": (0.02, 0.1)},
        budgets={"GET /orders": {"queries": 5, "time": 0.2}},
        overrides={"GET /report": {"slow_query_threshold": 10.0}},
        ignore=(
            {
                "rule": "n_plus_one",
                "route": "GET /legacy",
                "reason": "removed in version 3",
                "expires": dt.date(2030, 1, 31),
            },
        ),
    )


def reads_environment(node):
    """Whether a node of a program's tree asks ``os`` for the environment."""
    names = {"environ", "environb", "getenv"}
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(alias.name in names for alias in node.names)
    return (
        isinstance(node, ast.Attribute)
        and node.attr in names
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    )


def writes_environment(node):
    """Whether it is ``os.environ.setdefault(…)``: OpenTelemetry reads what we put there."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setdefault"


def test_nothing_else_reads_the_environment():
    """Configuration has one door."""
    package = ROOT / "src" / "dbsight"
    readers = {}
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] in {"config", "demo"}:
            continue
        text = path.read_text(encoding="utf-8")
        if "environ" not in text and "getenv" not in text:
            continue  # nearly all of them: to parse them takes seconds
        nodes = list(ast.walk(ast.parse(text)))
        writes = {id(node.func.value) for node in nodes if writes_environment(node)}
        writes |= {
            id(node.value) for node in nodes if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
        }
        lines = [node.lineno for node in nodes if reads_environment(node) and id(node) not in writes]
        if lines:
            readers[str(path.relative_to(package))] = lines
    assert readers == {}
