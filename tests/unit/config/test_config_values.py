"""What a value may look like, and what is said when it does not."""

import dataclasses
import datetime as dt
import pickle
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbsight.config import PRESETS, SETTINGS, FailOn, Settings

load = Settings.load

BAD = {
    "true or false": ["maybe", "2", "tru", "None"],
    "a whole number": ["x", "-1", "1.5", "1e3", "ten"],
    "a duration": ["fast", "-1", "1 parsec", "nan", "inf", "1e999", "1m30", "1,5"],
    "a fraction": ["1.5", "-0.1", "120%", "nan", "%"],
    "a number": ["-1", "nan", "inf", "x"],
    "one of": ["whatever"],
    "a list of rules": ["n plus one", "-", "all;-x"],
    "off, or a list": ["pdf", "off,html", "terminal html"],
    "a list such as GET": ["GET /", "GET /=queries", "GET /=rows:5", "queries:5", "GET /=queries:many", "GET /="],
    "a list such as n_plus_one": ["n_plus_one:fatal", ":error", "-n_plus_one", "a b"],
    "a list such as redis": ["redis", "redis=1", "redis=1/2/3", "redis=2/1", "redis=a/b"],
    "a list such as cache-1": ["cache-1", "cache-1=replica", "=", "cache-1=master;cache-2=slave"],
    "a path": [],  # any text is one
}
"""Bad values by what is expected."""


def bad_values(setting):
    """Those for the kind of value that a setting takes."""
    (values,) = [values for kind, values in BAD.items() if setting.parser.expects.startswith(kind)]
    return values


# -- Values -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("raw", "value"),
    [("true", True), ("1", True), ("Yes", True), ("ON", True), ("false", False), ("0", False), ("No", False),
     ("off", False), (" false ", False)],
)  # fmt: skip
def test_booleans_are_true_1_yes_on_or_false_0_no_off_in_any_case(raw, value):
    """Above all, "false" is false."""
    assert load({"OTEL_DBSIGHT_SQLCOMMENTER": raw, "OTEL_DBSIGHT_ENABLED": raw}).sqlcommenter is value


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [("0.5", 0.5), ("500ms", 0.5), ("30 s", 30.0), ("1m", 60.0), ("2 min", 120.0), (".25", 0.25), ("1h", 3600.0),
     ("1d", 86400.0), ("250us", 250e-6), ("250µs", 250e-6), ("1e-3", 0.001), ("5.", 5.0), ("1S", 1.0), (" 7 ", 7.0),
     ("0", 0.0), (2, 2.0), (0.25, 0.25), (dt.timedelta(milliseconds=1500), 1.5)],
)  # fmt: skip
def test_durations_are_seconds_or_carry_a_unit(raw, seconds):
    """From the environment, from TOML, and from Python."""
    assert load(avg_query_time_threshold=raw).avg_query_time_threshold == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("error_rate_threshold", "5%", 0.05),
        ("error_rate_threshold", "0.1", 0.1),
        ("pool_usage_threshold", "100 %", 1.0),
        ("qps_threshold", "250", 250.0),
        ("max_rows_threshold", "10_000", 10_000),
        ("preset", "High-Traffic", "high_traffic"),
        ("code_location", "false", "off"),
        ("explain", "ALWAYS_ONCE", "always_once"),
        ("rules", " All , -redundant_query,, all", ("all", "-redundant_query")),
        ("report", "off", ()),
        ("report", "html, JSON", ("html", "json")),
        ("fail_on", "budget", (FailOn("budget_exceeded", "info"),)),
        ("fail_on", "n_plus_one:error,warning", (FailOn("n_plus_one", "error"), FailOn("all", "warning"))),
        ("log_min_duration", "100ms", 0.1),
        ("prometheus_port", "8000", 8000),
        ("log_file", "queries.log", "queries.log"),
        ("slow_query_thresholds", "Redis=50ms/1s", Settings().slow_query_thresholds | {"redis": (0.05, 1.0)}),
        ("redis_roles", "Cache-1=master, cache-2:6380=slave", {"cache-1": "master", "cache-2:6380": "slave"}),
        ("budgets", "GET /orders=queries:5,time:200ms", {"GET /orders": {"queries": 5, "time": 0.2}}),
        ("budgets", "GET /a/:id=queries:5;GET /b?x=1=time:1,GET /c=queries:0",
         {"GET /a/:id": {"queries": 5}, "GET /b?x=1": {"time": 1.0}, "GET /c": {"queries": 0}}),
    ],
)  # fmt: skip
def test_a_variable_is_read_as_its_setting_wants_it(name, raw, value):
    """One good form of every kind that is neither boolean nor duration."""
    settings = load({SETTINGS[name].variable: raw})
    assert getattr(settings, name) == value
    assert settings.source(name) == "environment"


def test_toml_values_are_taken_as_toml_has_them():
    """Lists, tables and booleans need no strings."""
    Path("dbsight.toml").write_text(
        textwrap.dedent("""
            sqlcommenter = true
            code_location = true
            max_slow_queries = 5
            connection_leak_after = "1m"
            rules = ["all", "-fan_out"]
            report = []
            fail_on = ["n_plus_one:error"]
            [budgets."GET /orders"]
            queries = 5
            time = "200ms"
        """)
    )
    assert load() == Settings(
        sqlcommenter=True,
        max_slow_queries=5,
        connection_leak_after=60.0,
        rules=("all", "-fan_out"),
        report=(),
        fail_on=(FailOn("n_plus_one", "error"),),
        budgets={"GET /orders": {"queries": 5, "time": 0.2}},
    )


@pytest.mark.parametrize(
    ("name", "raw"),
    [(name, raw) for name, setting in SETTINGS.items() if not setting.file_only for raw in bad_values(setting)],
)
def test_a_bad_value_is_one_warning_that_names_variable_value_and_what_is_used(name, raw, said):
    """For every setting; the application starts with the default."""
    setting = SETTINGS[name]
    assert load({setting.variable: raw}) == Settings()
    used = f"the default {setting.show(setting.default)} is used"
    assert said() == [f"{setting.variable} = {raw!r} is not {setting.parser.expects}; {used}"]


def test_a_bad_value_gives_way_to_the_next_best_and_the_warning_says_which(said):
    """A typo in the environment does not undo the file."""
    Path("dbsight.toml").write_text("max_slow_queries = 7\nmax_windows = 'many'\n")
    settings = load({"OTEL_DBSIGHT_MAX_SLOW_QUERIES": "lots", "OTEL_DBSIGHT_MAX_WINDOWS": "3"})
    assert (settings.max_slow_queries, settings.max_windows) == (7, 3)
    assert said() == [
        "OTEL_DBSIGHT_MAX_SLOW_QUERIES = 'lots' is not a whole number of at least 1; 7 (file dbsight.toml) is used",
        "max_windows = 'many' in dbsight.toml is not a whole number of at least 1; 3 (environment) is used",
    ]


def test_the_same_fault_is_said_once_however_often_settings_are_loaded(said):
    """``configure()`` loads again what the distribution loaded before."""
    for _ in range(3):
        load({"OTEL_DBSIGHT_MAX_SLOW_QUERIES": "lots"})
    assert len(said()) == 1


def test_a_long_bad_value_is_cut_and_control_characters_are_escaped(said):
    """A log line stays a line."""
    load({"OTEL_DBSIGHT_PRESET": "x\n\x1b" + "y" * 10_000})
    (warning,) = said()
    assert len(warning) < 250
    assert warning.isprintable()


@pytest.mark.parametrize(
    ("variable", "complaint"),
    [
        ("SLOW_QUERRY_THRESHOLD", "unknown setting {} (did you mean OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD?); ignored"),
        ("ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ", "unknown setting {}; ignored"),
        ("IGNORE", "{} can only be set in the configuration file, as ignore; ignored"),
    ],
)
def test_an_unknown_variable_is_one_warning_with_the_nearest_name(variable, complaint, said):
    """Only those that begin as ours do; what is unlike every name gets no guess."""
    assert load({f"OTEL_DBSIGHT_{variable}": "1", "OTEL_SERVICE_NAME": "shop", "DBSIGHT": "1"}) == Settings()
    assert said() == [complaint.format(f"OTEL_DBSIGHT_{variable}")]


# -- Round trips --------------------------------------------------------------------------------------------------
UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
seconds = st.floats(min_value=0, max_value=1e12, allow_nan=False)
names = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)


@given(seconds, st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "]))
def test_any_number_with_any_unit_is_a_duration(number, unit, space):
    """Written as Python writes numbers, exponents included."""
    read = SETTINGS["avg_query_time_threshold"].parser.read
    assert read(f"{number!r}{space}{unit}") == pytest.approx(number * UNITS[unit])


@given(st.text(max_size=12) | st.none() | st.integers() | st.floats() | st.binary() | st.lists(st.text()))
def test_a_parser_gives_a_value_or_a_value_error_and_what_it_gives_it_takes(raw):
    """Whatever it is fed; no other exception gets out."""
    for setting in SETTINGS.values():
        try:
            value = setting.parser.read(raw)
        except ValueError:
            continue
        assert setting.parser.read(value) == value, setting.name


VALUES = {
    "enabled": st.booleans(),
    "preset": st.sampled_from(sorted(PRESETS)),
    "slow_query_threshold": seconds,
    "slow_query_thresholds": st.dictionaries(
        names, (st.lists(seconds, min_size=2, max_size=2) | st.lists(seconds, min_size=4, max_size=4)).map(
            lambda steps: tuple(sorted(steps)))),
    "rules": st.lists(names | names.map("-{}".format), unique=True).map(tuple),
    "n_plus_one_threshold": st.integers(2),
    "error_rate_threshold": st.floats(0, 1),
    "qps_threshold": seconds,
    "report": st.lists(st.sampled_from(["terminal", "html", "json"]), unique=True).map(tuple),
    "fail_on": st.lists(st.tuples(names, st.sampled_from(["info", "warning", "error"])), unique=True).map(
        lambda pairs: tuple(FailOn(*pair) for pair in pairs if pair[0] != "budget")),
    "budgets": st.dictionaries(
        st.from_regex(r"(GET|POST) /[a-z:/?=.]{0,10}", fullmatch=True),
        st.fixed_dictionaries({"queries": st.integers(0, 10**9), "time": seconds})),
    "prometheus_port": st.integers(1, 65535),
    "report_file": st.from_regex(r"[a-z][a-z./ ]{0,10}[a-z]", fullmatch=True),
}  # fmt: skip


@given(st.fixed_dictionaries(VALUES))
def test_what_is_shown_can_be_set_again(values):
    """``dbsight config`` prints nothing that cannot be pasted into the environment."""
    for name, value in values.items():
        parser = SETTINGS[name].parser
        if name in {"fail_on", "slow_query_thresholds", "budgets"} and not value:
            continue  # an empty variable is an unset one, and these are empty unless set
        assert parser.show(parser.read(parser.show(value))) == parser.show(value)
        if name == "rules" and not value:
            continue  # shown as -all
        assert parser.read(parser.show(value)) == value


def test_settings_survive_a_pickle_and_cannot_be_changed():
    """Worker processes get them by pickle."""
    settings = load({"OTEL_DBSIGHT_BUDGETS": "GET /=queries:1", "OTEL_SDK_DISABLED": "true"})
    again = pickle.loads(pickle.dumps(settings))
    assert (again, again.sources, again.surroundings) == (settings, settings.sources, settings.surroundings)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.preset = "production"
    assert not hasattr(settings, "__dict__")


def test_no_two_settings_share_a_default_mapping():
    """A default is nobody's to change for others."""
    assert Settings().budgets is not Settings().budgets
    assert load().slow_query_thresholds is not SETTINGS["slow_query_thresholds"].default
