"""The page about rules, made from their docstrings."""
# ruff: noqa: INP001 - a part of generate.py

import inspect
import textwrap

from dbsight.config import SETTINGS
from dbsight.detect.rule import Rule
from dbsight.detect.rules import RULES

INTRODUCTION = """\
# Rules

<!-- Made by `python docs/generate.py` from the docstrings in `src/dbsight/detect/rules/`: edit there. -->

A rule checks database operations and reports findings. It checks them per *window*: the operations of one request, one
task, or one thread of a script. A finding about a single query is attached to the span of that query, a finding about
several queries to the root span of their trace. Each has a severity, the line of code, and a suggested change.

All rules are enabled by default. `OTEL_DBSIGHT_RULES=all,-n_plus_one` disables one rule;
`OTEL_DBSIGHT_RULES=slow_query` enables only one. To suppress a finding in one place:

```python
with dbsight.allow("n_plus_one", reason="three rows at most"):
    ...
```

`dbsight.allow` also works as a decorator of functions and coroutine functions. The comment
`-- dbsight: allow n_plus_one` in the text of a query suppresses the rule for that query. `all` stands for every rule.
[controls.md](controls.md) describes the ignore list, overrides and baselines.

"""


def rules() -> str:
    """The whole page."""
    table = "| rule | reports |\n| --- | --- |\n"
    for rule in RULES:
        table += f"| [`{rule.name}`](#{rule.name}) | {_sentence(rule)} |\n"
    return INTRODUCTION + table + "".join(map(_section, RULES))


def _sentence(rule: type[Rule]) -> str:
    return (inspect.getdoc(rule) or "").partition("\n")[0]


def _section(rule: type[Rule]) -> str:
    sentence, drawing, *rest = (inspect.getdoc(rule) or "").split("\n\n")
    parts = [f"\n## {rule.name}\n", sentence + "\n", _fenced("text", textwrap.dedent(drawing))]
    for paragraph in rest:
        heading, _, body = paragraph.partition(":\n")
        text = textwrap.dedent(body)
        if heading in ("Anti-pattern", "Best practice"):
            parts.append(f"{heading}:\n\n{_fenced('python', text)}")
            continue
        text = text.replace("``", "`")
        if heading == "Severity":
            parts.append(f"{heading}:\n\n" + "".join(f"* {line}\n" for line in _items(text)))
        else:
            parts.append(f"{heading}: {' '.join(text.split())}\n")
    if rule.settings:
        parts.append("Settings:\n\n" + "".join(map(_setting, rule.settings)))
    return "\n".join(parts)


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```\n"


def _items(text: str) -> list[str]:
    """The severities, each with what follows it on further lines."""
    items: list[str] = []
    for line in text.splitlines():
        severity, colon, condition = line.partition(": ")
        if colon and severity in ("error", "warning", "info"):
            items.append(f"**{severity}**: {condition}")
        else:
            items[-1] += f" {line}"
    return items


def _setting(name: str) -> str:
    setting = SETTINGS[name]
    return f"* `{setting.variable}` ({setting.show(setting.default)}): {setting.sentence}\n"
