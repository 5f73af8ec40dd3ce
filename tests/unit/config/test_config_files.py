"""The configuration file: which one it is, and what stands in it."""

import datetime as dt
import os
import re
import textwrap
from pathlib import Path

import pytest

from dbsight.config import Settings

load = Settings.load


def test_the_named_file_comes_before_dbsight_toml_before_pyproject(tmp_path):
    """One file is used, never two."""
    Path("pyproject.toml").write_text("[tool.dbsight]\nmax_alerts = 1\nmax_windows = 1\n")
    settings = load()
    assert (settings.max_alerts, settings.source("max_alerts")) == (1, "file pyproject.toml")
    Path("dbsight.toml").write_text("max_alerts = 2\n")
    settings = load()
    assert (settings.max_alerts, settings.max_windows, settings.source("max_alerts")) == (2, 1000, "file dbsight.toml")
    named = tmp_path / "other.toml"
    named.write_text("max_alerts = 3\n")
    settings = load({"OTEL_DBSIGHT_CONFIG": str(named)})
    assert (settings.max_alerts, settings.source("max_alerts")) == (3, f"file {named}")
    assert load({"OTEL_DBSIGHT_CONFIG": str(named)}, config="pyproject.toml").max_alerts == 1


def test_the_pyproject_of_an_application_that_says_nothing_to_us_is_not_judged(said):
    """Not even when it is no TOML at all."""
    Path("pyproject.toml").write_text("[project\n")
    assert load() == Settings()
    Path("pyproject.toml").write_text("[project]\ndependencies = ['dbsight'\n[tool.other]\n")
    assert load() == Settings()
    assert said() == []


@pytest.mark.parametrize(
    "content",
    [
        "[tool.dbsight]\nmax_alerts = 2",
        "[project]\nname = 'x'\r\n  [ tool . 'dbsight' ]\nmax_alerts = 2",
        '["tool"."dbsight"]\nmax_alerts = 2',
        "[tool]\nother = 1\ndbsight.max_alerts = 2",
        "tool = {dbsight = {max_alerts = 2}}",
        "tool.dbsight.max_alerts = 2",
        "[[tool.dbsight.ignore]]\nrule = 'fan_out'\nreason = 'x'\n[tool.dbsight]\nmax_alerts = 2",
    ],
)
def test_our_table_is_found_however_it_is_written(content):
    """Only a pyproject.toml that may hold it is parsed."""
    Path("pyproject.toml").write_text(content)
    assert load().max_alerts == 2


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("dbsight.toml", b"max_alerts = 1\nmax_windows = \n", r"dbsight\.toml cannot be read: .*line 2.*"),
        ("dbsight.toml", b"\xff\xfe", r"dbsight\.toml cannot be read: .*utf-8.*"),
        ("pyproject.toml", b"[tool]\ndbsight = 5\n", r"tool\.dbsight in pyproject\.toml is not a table"),
        ("pyproject.toml", b"[tool.dbsight]\nx = \n", r"pyproject\.toml cannot be read: .*line 2.*"),
    ],
)
def test_an_unreadable_file_is_one_warning_with_the_line(name, content, complaint, said):
    """The application starts without it, and no other file takes its place."""
    Path("pyproject.toml").write_text("[tool.dbsight]\nmax_alerts = 9\n")
    Path(name).write_bytes(content)
    assert load() == Settings()
    (warning,) = said()
    assert re.fullmatch(complaint + "; no configuration file is used", warning)


@pytest.mark.parametrize("make", [lambda _: None, Path.mkdir, os.mkfifo])
def test_a_named_file_that_is_no_file_is_one_warning(make, tmp_path, said):
    """A pipe would block the start for ever."""
    path = tmp_path / "settings.toml"
    make(path)
    settings = load({"OTEL_DBSIGHT_CONFIG": str(path)})
    assert settings == Settings(config=str(path))
    assert said() == [f"{path} is not a file; no configuration file is used"]


def test_a_named_pyproject_without_our_table_is_one_warning(said):
    """It was asked for by name."""
    Path("pyproject.toml").write_text("[project]\n")
    assert load({"OTEL_DBSIGHT_CONFIG": "pyproject.toml"}) == Settings(config="pyproject.toml")
    assert said() == ["pyproject.toml has no [tool.dbsight]; no configuration file is used"]


def test_an_unknown_key_is_one_warning_with_the_nearest_name(said):
    """A key in a file deserves what a variable gets; and a file cannot send us to another."""
    Path("dbsight.toml").write_text("max-slow-queries = 1\nconfig = 'x.toml'\nmax_slow_queries = 2\n")
    assert load().max_slow_queries == 2
    assert said() == [
        "unknown setting max-slow-queries in dbsight.toml (did you mean max_slow_queries?); ignored",
        "config in dbsight.toml has no effect there; ignored",
    ]


def test_overrides_and_ignored_findings_are_read_from_the_file():
    """Values are parsed as those of the settings that they override; dates may be TOML's or text."""
    Path("dbsight.toml").write_text(
        textwrap.dedent("""
            [overrides."GET /report"]
            slow_query_threshold = "10 s"
            rules = "all,-fan_out"
            [overrides."9f2c*"]
            n_plus_one_threshold = 50

            [[ignore]]
            rule = "n_plus_one"
            route = "GET /orders"
            reason = "rewritten next quarter"
            expires = 2030-01-31

            [[ignore]]
            rule = "slow_query"
            call_site = "shop.py:112"
            reason = "nightly"
            expires = "2031-02-28"
        """)
    )
    settings = load()
    assert settings.overrides == {
        "GET /report": {"slow_query_threshold": 10.0, "rules": ("all", "-fan_out")},
        "9f2c*": {"n_plus_one_threshold": 50},
    }
    assert settings.ignore == (
        {"rule": "n_plus_one", "route": "GET /orders", "reason": "rewritten next quarter",
         "expires": dt.date(2030, 1, 31)},
        {"rule": "slow_query", "call_site": "shop.py:112", "reason": "nightly", "expires": dt.date(2031, 2, 28)},
    )  # fmt: skip


def test_one_bad_entry_of_a_table_costs_that_entry_and_one_warning(said):
    """The good ones hold."""
    Path("dbsight.toml").write_text(
        textwrap.dedent("""
            [overrides]
            scalar = 1
            [overrides.good]
            slow_query_threshold = 3
            [overrides.bad]
            max_row_threshold = 3
            preset = "production"
            max_rows_threshold = "many"
            [[ignore]]
            rule = "n_plus_one"
            reason = "known"
            [[ignore]]
            rule = "n_plus_one"
            [[ignore]]
            rule = "n_plus_one"
            reason = "known"
            rout = "GET /"
            [[ignore]]
            rule = "n_plus_one"
            reason = "known"
            expires = "soon"
            [[ignore]]
            rule = "n_plus_one"
            reason = 5
        """)
    )
    settings = load()
    assert settings.overrides == {"good": {"slow_query_threshold": 3.0}, "bad": {}}
    assert settings.ignore == ({"rule": "n_plus_one", "reason": "known"},)
    assert said() == [
        f"file dbsight.toml: {complaint}"
        for complaint in [
            'overrides."scalar" is not a table; ignored',
            'overrides."bad".max_row_threshold cannot be overridden (did you mean max_rows_threshold?); ignored',
            'overrides."bad".preset cannot be overridden; ignored',
            "overrides.\"bad\".max_rows_threshold = 'many' is not a whole number of at least 1; ignored",
            "entry 2 of ignore is invalid: reason is missing; ignored",
            "entry 3 of ignore is invalid: unknown key 'rout' (did you mean route?); ignored",
            "entry 4 of ignore is invalid: expires = 'soon' is not a date such as 2030-01-31; ignored",
            "entry 5 of ignore is invalid: reason = 5 is not text; ignored",
        ]
    ]


@pytest.mark.parametrize("content", ["ignore = 5", "ignore = 'x'", "ignore = {a = 1}", "overrides = 5"])
def test_a_table_of_the_wrong_shape_is_one_warning(content, said):
    """It names the shape that was expected."""
    Path("dbsight.toml").write_text(content)
    assert load() == Settings()
    (complaint,) = said()
    assert complaint.endswith("; the default (none) is used")
    assert f"{content} in dbsight.toml is not " in complaint or "{'a': 1}" in complaint


def test_an_entry_of_ignore_that_is_no_table_is_left_out(said):
    """A list of strings is not a list of tables."""
    Path("dbsight.toml").write_text("ignore = ['n_plus_one']")
    assert load().ignore == ()
    assert said() == ["file dbsight.toml: entry 1 of ignore is invalid: it is not a table; ignored"]
