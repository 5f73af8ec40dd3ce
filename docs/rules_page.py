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

`dbsight rules` prints this list with the settings in force; `dbsight rules n_plus_one` prints one rule. A finding's
event has the address of its rule's section as `dbsight.finding.runbook`. [Runbooks](runbooks/README.md) lead from an
alert to its cause.

The priority is that of a rule's most severe finding: error = high, warning = medium, info = low.

"""

RUNS = {
    "query": "each query",
    "window": "each window",
    "process": "totals of the process",
    "plan": "query plans",
}

RUNBOOKS = {
    "query": "slow_queries",
    "index": "slow_queries",
    "workload": "slow_queries",
    "pool": "pool_exhaustion",
    "cache": "cache_hit_ratio",
    "memory": "memory",
    "lock": "locks_and_errors",
}
"""The runbook for each category of findings."""


def rules() -> str:
    """The whole page."""
    table = "| rule | reports | priority | checks |\n| --- | --- | --- | --- |\n"
    for rule in RULES:
        checks = " and ".join(RUNS[each] for each in rule.fires())
        table += f"| [`{rule.name}`](#{rule.name}) | {_sentence(rule)} | {rule.priority()} | {checks} |\n"
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
            lines = (f"* **{severity}**: {condition.replace('``', '`')}\n" for severity, condition in rule.severities())
            parts.append(f"{heading}:\n\n" + "".join(lines))
        else:
            parts.append(f"{heading}: {' '.join(text.split())}\n")
    book = RUNBOOKS[rule.category]
    parts.append(f"Runbook: [{book.replace('_', ' ')}](runbooks/{book}.md)\n")
    if rule.settings:
        parts.append("Settings:\n\n" + "".join(map(_setting, rule.settings)))
    return "\n".join(parts)


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```\n"


def _setting(name: str) -> str:
    setting = SETTINGS[name]
    return f"* `{setting.variable}` ({setting.show(setting.default)}): {setting.sentence}\n"
