"""The page about settings, made from the table in ``dbsight.config``."""
# ruff: noqa: INP001 - a part of generate.py

from itertools import groupby

from dbsight.config import PRESETS, REDIS_PRESETS, SETTINGS, Setting, Settings

INTRODUCTION = """\
# Configuration

<!-- Made by `python docs/generate.py` from the table in `src/dbsight/config/settings.py`: edit there. -->

Everything has a default that suits a service; nothing has to be set. What is set comes from four places, the first
that has a value winning:

1. an **argument**: `dbsight.configure(slow_query_threshold=0.2)`;
2. the **environment**: `OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD=200ms`; an empty variable counts as unset;
3. the **file**: `slow_query_threshold = "200ms"`, see [The file](#the-file);
4. the **preset**: `OTEL_DBSIGHT_PRESET=production`, see [Presets](#presets).

Below them lies the default. Settings that are a mapping (`slow_query_thresholds`, `budgets`) are merged key by key:
setting the limits of Redis leaves those of Elasticsearch as they were.

The name is the same everywhere: lower case in the file and as an argument; in the environment in capitals behind
`OTEL_DBSIGHT_`.

## Values

* A **duration** is a number of seconds or carries a unit: `0.5`, `500ms`, `30 s`, `1m`, `2 min`, `1h`, `1d`, `250us`.
  In Python a `datetime.timedelta` will do as well.
* A **fraction** lies between 0 and 1, or is a percentage: `0.05`, `5%`.
* **True** is `true`, `1`, `yes` or `on`, **false** is `false`, `0`, `no` or `off`, in any case.
* **Words** are read in any case. **Lists** are parted by commas; in the file they may be lists.

A value that does not parse is one warning on the logger `dbsight` that names the variable, the value and what is used
instead; so is a variable that begins with `OTEL_DBSIGHT_` but is no setting, with the name that was probably meant. The
application starts all the same. In code, where the developer sees it, a wrong name raises `TypeError` and a wrong
value `ValueError`.

Where one alone of `slow_query_threshold` and `very_slow_query_threshold` is set, and beyond the other, the other
follows: very slow is never below slow.
"""

FILE = """\
## The file

One file is read, the first that is there: the one that `OTEL_DBSIGHT_CONFIG` (or the argument `config`) names, else
`dbsight.toml` in the working directory, else the table `[tool.dbsight]` of `pyproject.toml` there.

```toml
# dbsight.toml. In pyproject.toml every table has tool.dbsight in front: [tool.dbsight], [[tool.dbsight.ignore]] …
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
reason = "the page goes away with version 3"
expires = 2030-01-31
```

One entry of `overrides` or `ignore` that cannot be read is one warning and is left out; the others hold. What can be
overridden: {overridable}.
"""

SURROUNDINGS = """\
## OpenTelemetry's own variables

These are heeded as OpenTelemetry means them, and are not ours to warn about: `OTEL_SDK_DISABLED`,
`OTEL_SEMCONV_STABILITY_OPT_IN` (`database/dup` adds the old attribute names), `OTEL_EXPORTER_OTLP_ENDPOINT` and
its forms for one signal, `OTEL_EXPORTER_OTLP_PROTOCOL`, `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER`,
`OTEL_LOGS_EXPORTER`, `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`, `OTEL_CONFIG_FILE`.
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
        [_name(each), _code(each, each.default), _cell(each.parser.expects), _cell(each.about)] for each in settings
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
            "## Presets\n\n`OTEL_DBSIGHT_PRESET`; every single setting beats it.\n",
            _preset_table(PRESETS),
            "`OTEL_DBSIGHT_REDIS_PRESET`, the connections that the Redis pools of each role may have:\n",
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
