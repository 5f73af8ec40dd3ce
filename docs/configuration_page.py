"""The page about settings, made from the table in ``dbsight.config``."""
# ruff: noqa: INP001 - a part of generate.py

from itertools import groupby

from dbsight.config import PRESETS, REDIS_PRESETS, SETTINGS, Setting, Settings

INTRODUCTION = """\
# Configuration

<!-- Made by `python docs/generate.py` from the table in `src/dbsight/config/settings.py`: edit there. -->

Every setting has a default; none is required. A value is taken from the first of these sources that has one:

1. an **argument**: `dbsight.configure(slow_query_threshold=0.2)`;
2. an **environment variable**: `OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD=200ms`; an empty variable counts as unset;
3. the **file**: `slow_query_threshold = "200ms"`, see [The file](#the-file);
4. the **preset**: `OTEL_DBSIGHT_PRESET=production`, see [Presets](#presets);
5. the default.

Settings that are a mapping (`slow_query_thresholds`, `budgets`) are merged key by key: setting the thresholds of Redis
leaves those of Elasticsearch unchanged.

Names are the same everywhere: lower case in the file and as an argument; upper case with the prefix `OTEL_DBSIGHT_` in
the environment. `dbsight config` prints every setting, its value and its source.

## Values

* A **duration** is a number of seconds, or a number with a unit: `0.5`, `500ms`, `30 s`, `1m`, `2 min`, `1h`, `1d`,
  `250us`. In Python, a `datetime.timedelta` is accepted as well.
* A **fraction** is a number between 0 and 1, or a percentage: `0.05`, `5%`.
* **True** is `true`, `1`, `yes` or `on`, **false** is `false`, `0`, `no` or `off`, in any case.
* **Words** are accepted in any case. **Lists** are separated by commas; in the file they may be arrays.

An invalid value is logged as a warning by the logger `dbsight`, with the variable, the value and what is used instead.
So is an unknown variable with the prefix `OTEL_DBSIGHT_`, with a suggestion. The application starts in either case. In
code, an unknown name raises `TypeError`, and an invalid value `ValueError`.

If only one of `slow_query_threshold` and `very_slow_query_threshold` is set, the other is adjusted so that very slow is
never below slow.
"""

FILE = """\
## The file

The first of these files that exists is read: the one named by `OTEL_DBSIGHT_CONFIG` (or the argument `config`),
`dbsight.toml` in the working directory, the table `[tool.dbsight]` of `pyproject.toml` in the working directory.

```toml
# dbsight.toml. In pyproject.toml, prefix every table with tool.dbsight: [tool.dbsight], [[tool.dbsight.ignore]] …
preset = "production"
slow_query_threshold = "200ms"
rules = ["all", "-redundant_query"]
fail_on = ["n_plus_one:error", "budget"]

[slow_query_thresholds]
redis = ["20ms", "100ms"]

[budgets]
"GET /orders" = { queries = 5, time = "200ms" }

[overrides."GET /report"]           # a route, a table or a fingerprint
slow_query_threshold = "10 s"

[[ignore]]                          # rule and reason, and a fingerprint, route or call_site; expires is a date
rule = "n_plus_one"
route = "GET /legacy"
reason = "removed in version 3"
expires = 2030-01-31
```

An invalid entry of `overrides` or `ignore` is logged as a warning and skipped; the other entries apply. Settings that
can be overridden: {overridable}.
"""

SURROUNDINGS = """\
## OpenTelemetry's own variables

dbsight respects these variables of OpenTelemetry: `OTEL_SDK_DISABLED`, `OTEL_SEMCONV_STABILITY_OPT_IN` (`database/dup`
adds the old attribute names), `OTEL_EXPORTER_OTLP_ENDPOINT` and its variants per signal, `OTEL_EXPORTER_OTLP_PROTOCOL`,
`OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER`, `OTEL_LOGS_EXPORTER`, `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`,
`OTEL_CONFIG_FILE`.
"""


def configuration() -> str:
    """The whole page."""
    overridable = ", ".join(f"`{name}`" for name, each in SETTINGS.items() if each.overridable)
    return "\n".join(
        [
            INTRODUCTION,
            _presets(),
            FILE.replace("{overridable}", overridable),
            "## Settings\n",
            *[_theme(theme, list(settings)) for theme, settings in groupby(SETTINGS.values(), lambda each: each.theme)],
            SURROUNDINGS,
        ]
    )


def _theme(theme: str, settings: list[Setting]) -> str:
    rows = [
        [_name(each), _code(each, each.default), _cell(each.parser.expects), _cell(each.sentence)] for each in settings
    ]
    return f"### {theme}\n\n" + _table(["name", "default", "takes", "meaning"], rows)


def _name(setting: Setting) -> str:
    if not setting.variable:
        return f"`{setting.name}`"
    return f"`{setting.variable}`" + (f", `{setting.also}`" if setting.also else "")


def _code(setting: Setting, value: object) -> str:
    """A value as people write it; what stands in brackets is not to be written."""
    shown = setting.show(value)
    return _cell(shown[1:-1]) if shown.startswith("(") else f"`{_cell(shown)}`"


def _presets() -> str:
    return "\n".join(
        [
            "## Presets\n\nValues of `OTEL_DBSIGHT_PRESET`; individual settings override them.\n",
            _preset_table(PRESETS),
            "Values of `OTEL_DBSIGHT_REDIS_PRESET`, connections of the Redis pools per role:\n",
            _preset_table(REDIS_PRESETS),
        ]
    )


def _preset_table(presets: dict[str, dict[str, object]]) -> str:
    names = dict.fromkeys(name for values in presets.values() for name in values)
    defaults = Settings()
    rows = [
        [
            f"`{name}`",
            *[_code(SETTINGS[name], values.get(name, getattr(defaults, name))) for values in presets.values()],
        ]
        for name in names
    ]
    return _table(["", *presets], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
