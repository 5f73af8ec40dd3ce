"""``dbsight rules``: the catalogue of rules, with the settings in force."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any, Final

import click

from dbsight import config, semconv
from dbsight.cli.exit_codes import UsageFault
from dbsight.config import SETTINGS
from dbsight.config.suggest import did_you_mean
from dbsight.detect.rules import RULES

if TYPE_CHECKING:
    from dbsight.config import Settings
    from dbsight.detect.rule import Rule

_RUNS: Final = {
    "query": "each query",
    "window": "each request or task",
    "process": "totals of the process",
    "plan": "query plans",
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Output JSON.")
@click.argument("name", required=False)
def rules(as_json: bool, name: str | None) -> None:
    """Print every rule with its priority, or all about the rule NAME.

    A rule is followed by what it checks, its settings, and the value of each in this environment.

    Example: dbsight rules n_plus_one
    """
    chosen = [rule for rule in RULES if name in (None, rule.name)]
    if not chosen:
        raise UsageFault(f"unknown rule {name}{did_you_mean(str(name), [rule.name for rule in RULES])}")
    settings = config.Settings.load()
    if as_json:
        click.echo(json.dumps([_plain(rule, settings) for rule in chosen], ensure_ascii=False, indent=1))
    elif name is not None:
        click.echo(_page(chosen[0], settings))
    else:
        wide = max(len(rule.name) for rule in chosen)
        for rule in chosen:
            click.echo(_line(rule, settings, wide))


def _plain(rule: type[Rule], settings: Settings) -> dict[str, Any]:
    return {
        "rule": rule.name,
        "enabled": settings.rule_enabled(rule.name),
        "priority": rule.priority(),
        "category": rule.category,
        "checks": list(rule.fires()),
        "about": _sentence(rule),
        "severities": [{"severity": severity, "when": condition} for severity, condition in rule.severities()],
        "settings": [
            {
                "name": each,
                "variable": SETTINGS[each].variable or None,
                "default": SETTINGS[each].show(SETTINGS[each].default),
                "value": SETTINGS[each].show(getattr(settings, each)),
                "source": settings.source(each),
            }
            for each in rule.settings
        ],
        "runbook": f"{semconv.RULES_PAGE}#{rule.name}",
    }


def _line(rule: type[Rule], settings: Settings, wide: int) -> str:
    mark = "✔" if settings.rule_enabled(rule.name) else "–"
    checks = ", ".join(_RUNS[each] for each in rule.fires())
    head = f"{mark} {rule.name:<{wide}}  {rule.priority():<6}  {_sentence(rule)}"
    values = [f"{each}={SETTINGS[each].show(getattr(settings, each))}" for each in rule.settings]
    return f"{head}\n  {'':<{wide}}          {'; '.join([checks, *values])}"


def _page(rule: type[Rule], settings: Settings) -> str:
    """All about one rule: its documentation, and its settings with their sources."""
    state = "enabled" if settings.rule_enabled(rule.name) else "disabled"
    checks = ", ".join(_RUNS[each] for each in rule.fires())
    lines = [
        f"{rule.name} ({rule.category}, priority {rule.priority()}, {state}; checks {checks})",
        "",
        (inspect.getdoc(rule) or "").replace("``", "`"),
        "",
    ]
    for each in rule.settings:
        setting = SETTINGS[each]
        value, default = setting.show(getattr(settings, each)), setting.show(setting.default)
        lines += [
            f"{setting.variable or each} = {value} ({settings.source(each)}; default {default})",
            f"    {setting.sentence}",
        ]
    return "\n".join([*lines, f"{semconv.RULES_PAGE}#{rule.name}"])


def _sentence(rule: type[Rule]) -> str:
    return (inspect.getdoc(rule) or "").partition("\n")[0]
