"""Which of several values holds: argument, environment, file, preset, default."""

from pathlib import Path

import pytest

from dbsight.config import PRESETS, REDIS_PRESETS, SETTINGS, Settings

load = Settings.load


# -- Precedence ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("argument", [None, 0.1])
@pytest.mark.parametrize("environment", [None, "0.2"])
@pytest.mark.parametrize("file", [None, 0.3])
@pytest.mark.parametrize("preset", [None, "production"])
def test_argument_beats_environment_beats_file_beats_preset_beats_default(argument, environment, file, preset):
    """All sixteen combinations of where one value is set."""
    if file is not None:
        Path("dbsight.toml").write_text(f"slow_query_threshold = {file}\n")
    environ = {"OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD": environment or "", "OTEL_DBSIGHT_PRESET": preset or ""}
    settings = load(environ, slow_query_threshold=argument)
    expected = next(
        (value, source)
        for value, source in [
            (argument, "argument"),
            (environment and float(environment), "environment"),
            (file, "file dbsight.toml"),
            (preset and 0.5, "preset production"),
            (1.0, "default"),
        ]
        if value is not None
    )
    assert (settings.slow_query_threshold, settings.source("slow_query_threshold")) == expected


def test_the_preset_itself_may_stand_in_the_file_and_the_environment_beats_it():
    """A preset is a setting like any other."""
    Path("dbsight.toml").write_text('preset = "development"\n')
    assert load().slow_query_threshold == 2.0
    settings = load({"OTEL_DBSIGHT_PRESET": "production"})
    assert (settings.slow_query_threshold, settings.source("preset")) == (0.5, "environment")


def test_mappings_are_merged_system_by_system_over_what_lies_below():
    """Naming one system leaves the others their limits."""
    Path("dbsight.toml").write_text("[slow_query_thresholds]\nredis = [0.1, 1]\npostgresql = ['100ms', '2s']\n")
    settings = load({"OTEL_DBSIGHT_SLOW_QUERY_THRESHOLDS": "redis=0.2/2"})
    assert settings.slow_query_thresholds == {
        "redis": (0.2, 2.0),
        "s3": (2.0, 10.0),
        "elasticsearch": (0.5, 2.0, 5.0, 10.0),
        "postgresql": (0.1, 2.0),
    }
    assert settings.source("slow_query_thresholds") == "environment"
    assert load({}).slow_query_thresholds["s3"] == (2.0, 10.0)


def test_an_empty_variable_counts_as_unset_and_an_argument_of_none_as_not_given():
    """As OpenTelemetry has it; and ``configure(report=options.report)`` needs no branch."""
    assert load({"OTEL_DBSIGHT_MAX_ALERTS": "  ", "OTEL_DBSIGHT_CONFIG": ""}, report=None) == Settings()


def test_settings_made_directly_say_where_their_values_come_from():
    """Tests and embedders make them without loading."""
    settings = Settings(slow_query_threshold=0.1)
    assert settings.source("slow_query_threshold") == "argument"
    assert settings.source("very_slow_query_threshold") == "default"
    with pytest.raises(KeyError):
        settings.source("nothing")


# -- Presets ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("preset", "slow", "explain", "code_location", "report"),
    [
        ("development", 2.0, "slow", "on", ("terminal",)),
        ("balanced", 1.0, "off", "on", None),
        ("production", 0.5, "off", "on", ()),
        ("high_traffic", 0.5, "off", "slow", ()),
    ],
)
def test_a_preset_sets_what_the_table_says_and_nothing_else(preset, slow, explain, code_location, report):
    """Of the slow limits it moves SQL's alone."""
    settings = load({"OTEL_DBSIGHT_PRESET": preset})
    assert settings == Settings(
        preset=preset,
        slow_query_threshold=slow,
        explain=explain,
        code_location=code_location,
        report=report,
        watch_reads=preset == "development",
    )
    assert settings.limits("redis") == (0.05, 0.25)
    assert settings.limits("postgresql") == (slow, 5.0)


@pytest.mark.parametrize(
    ("preset", "sizes"),
    [("minimal", (5, 10, 3, 3, 10)), ("balanced", (10, 20, 5, 5, 20)), ("high_performance", (20, 40, 10, 10, 40))],
)
def test_a_redis_preset_sizes_the_five_pools_and_the_plain_redis_variables_beat_it(preset, sizes):
    """Three presets of five numbers; their own names are heeded, ours before theirs."""
    names = [name for name in SETTINGS if name.startswith("redis_") and "_pool_" in name]
    settings = load({"OTEL_DBSIGHT_REDIS_PRESET": preset})
    assert tuple(getattr(settings, name) for name in names) == sizes
    environ = {"OTEL_DBSIGHT_REDIS_PRESET": preset} | {name.upper(): "7" for name in names}
    settings = load(environ)
    assert [getattr(settings, name) for name in names] == [7] * 5
    assert settings.source("redis_local_pool_size") == "environment"
    assert load(environ | {"OTEL_DBSIGHT_REDIS_LOCAL_POOL_SIZE": "8"}).redis_local_pool_size == 8


def test_every_value_of_every_preset_is_a_setting_and_parses():
    """A preset cannot name what does not exist."""
    for preset in [*PRESETS.values(), *REDIS_PRESETS.values()]:
        for name, value in preset.items():
            assert SETTINGS[name].parser.read(value) == value


# -- Arguments ----------------------------------------------------------------------------------------------------
def test_an_unknown_argument_raises_and_names_the_nearest():
    """The developer is there to read it."""
    with pytest.raises(TypeError, match=r"no setting 'slow_threshold' \(did you mean slow_query_thresholds?\?\)"):
        load(slow_threshold=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slow_query_threshold": "fast"}, "slow_query_threshold='fast' is not a duration"),
        ({"slow_query_threshold": True}, "slow_query_threshold=True is not a duration"),
        ({"max_alerts": 1.5}, "max_alerts=1.5 is not a whole number"),
        ({"max_alerts": True}, "max_alerts=True is not a whole number"),
        ({"rules": 5}, "rules=5 is not a list of rules"),
        ({"rules": [5]}, "is not a list of rules"),
        ({"qps_threshold": []}, "qps_threshold=.. is not a number"),
        ({"qps_threshold": 10**400}, "is not a number"),
        ({"slow_query_thresholds": {"redis": 1}}, "is not a list such as redis"),
        ({"budgets": 5}, "budgets=5 is not a list"),
        ({"slow_query_thresholds": 5}, "slow_query_thresholds=5 is not a list"),
        ({"slow_query_threshold": 2, "very_slow_query_threshold": 1}, r"very_slow_query_threshold \(1 s\) is below"),
        ({"ignore": [{"rule": "n_plus_one"}]}, "entry 1 of ignore is invalid: reason is missing"),
        ({"overrides": 5}, "overrides=5 is not tables"),
        ({"log_file": 5}, "log_file=5 is not a path"),
        ({"preset": 5}, "preset=5 is not one of development"),
        ({"sqlcommenter": 1}, "sqlcommenter=1 is not true or false"),
    ],
)  # fmt: skip
def test_a_bad_argument_raises(arguments, message):
    """A wrong value in code is a mistake in code."""
    with pytest.raises(ValueError, match=message):
        load(**arguments)


def test_a_value_of_loaded_settings_can_be_handed_back_as_an_argument():
    """What ``load`` gives, it takes."""
    settings = load(
        {
            "OTEL_DBSIGHT_FAIL_ON": "n_plus_one:error,budget",
            "OTEL_DBSIGHT_PRESET": "development",
            "OTEL_DBSIGHT_BUDGETS": "GET /=queries:1",
        }
    )
    arguments = {name: getattr(settings, name) for name in SETTINGS}
    assert load(**arguments) == settings


def test_a_path_may_be_a_path_object(tmp_path):
    """As ``configure(log_file=Path(…))`` has it."""
    assert load(log_file=tmp_path / "q.log").log_file == str(tmp_path / "q.log")


# -- Slow and very slow -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("environ", "limits", "complaints"),
    [
        ({"SLOW": "10"}, (10.0, 10.0), []),
        ({"VERY_SLOW": "0.2"}, (0.2, 0.2), []),
        ({"VERY_SLOW": "0.2", "PRESET": "development"}, (0.2, 0.2), []),
        ({"SLOW": "2", "VERY_SLOW": "1"}, (2.0, 2.0),
         ["very_slow_query_threshold (1 s) is below slow_query_threshold (2 s); 2 s is used for both"]),
    ],
)  # fmt: skip
def test_where_one_slow_limit_alone_is_set_the_other_follows_it(environ, limits, complaints, said):
    """Very slow is never below slow, whichever of the two somebody cared about."""
    names = {"SLOW": "SLOW_QUERY_THRESHOLD", "VERY_SLOW": "VERY_SLOW_QUERY_THRESHOLD", "PRESET": "PRESET"}
    settings = load({f"OTEL_DBSIGHT_{names[name]}": value for name, value in environ.items()})
    assert settings.limits("sqlite") == limits
    assert said() == complaints


def test_limits_are_the_systems_own_or_those_of_sql():
    """Of a ladder of four, info and warn are slow and very slow."""
    settings = load(slow_query_thresholds="mariadb=0.1/0.2")
    assert {
        system: settings.limits(system) for system in ("postgresql", "redis", "s3", "elasticsearch", "mariadb")
    } == {
        "postgresql": (1.0, 5.0),
        "redis": (0.05, 0.25),
        "s3": (2.0, 10.0),
        "elasticsearch": (5.0, 10.0),
        "mariadb": (0.1, 0.2),
    }


# -- Rules and exit codes -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rules", "enabled"),
    [
        ("all", {"slow_query", "n_plus_one", "fan_out"}),
        ("all,-fan_out", {"slow_query", "n_plus_one"}),
        ("-fan_out", {"slow_query", "n_plus_one"}),
        ("n_plus_one", {"n_plus_one"}),
        ("-all", set()),
        ("-all,fan_out", {"fan_out"}),
        ("n_plus_one,-n_plus_one", set()),
        ((), set()),
    ],
)
def test_the_last_word_about_a_rule_counts(rules, enabled):
    """A list that begins by taking away begins with all."""
    settings = load(rules=rules)
    assert {rule for rule in ("slow_query", "n_plus_one", "fan_out") if settings.rule_enabled(rule)} == enabled


def test_fail_on_means_a_rule_from_a_severity_upward():
    """A severity alone means every rule."""
    settings = load(fail_on="n_plus_one:warning,budget,error")
    assert [
        settings.fails_on(rule, severity)
        for rule, severity in [
            ("n_plus_one", "info"),
            ("n_plus_one", "warning"),
            ("n_plus_one", "error"),
            ("budget_exceeded", "info"),
            ("slow_query", "warning"),
            ("slow_query", "error"),
        ]
    ] == [False, True, True, True, False, True]
    assert not Settings().fails_on("n_plus_one", "error")


def test_names_that_are_no_rule_are_said_once_the_rules_are_known(said):
    """The list of rules belongs to another room."""
    settings = load(rules="all,-slow_querry", fail_on="n_plus_one,error", ignore=[{"rule": "xyz", "reason": "why not"}])
    settings.check_rules(["slow_query", "n_plus_one"], allowed=["slow_query", "n_plus_two", "all"])
    assert said() == [
        "unknown rule slow_querry in rules (did you mean slow_query?); ignored",
        "unknown rule xyz in ignore; ignored",
        "unknown rule n_plus_two in allow() (did you mean n_plus_one?); ignored",
    ]
