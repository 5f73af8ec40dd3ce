"""``dbsight config [NAME]``: settings, their values and where these come from."""

from __future__ import annotations

import json

import click

from dbsight import config
from dbsight.config.suggest import did_you_mean

_PREFIX = "OTEL_DBSIGHT_"


@click.command(name="config")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Output JSON.")
def settings(name: str | None, as_json: bool) -> None:
    """Print every setting, its value and its source; with NAME, everything about one.

    NAME is a setting or its environment variable.

    Example: dbsight config slow_query_threshold
    """
    rows = config.Settings.load().describe()
    if name is not None:
        wanted = name.removeprefix(_PREFIX).lower()
        rows = [row for row in rows if row.setting.name == wanted]
        if not rows:
            raise click.UsageError(f"unknown setting {name}{did_you_mean(wanted, config.SETTINGS)}")
    plain = [
        {
            "name": row.setting.name,
            "variable": row.setting.variable or None,
            "default": row.setting.show(row.setting.default),
            "value": row.value,
            "source": row.source,
            "accepts": row.setting.parser.expects,
            "about": row.setting.sentence,
        }
        for row in rows
    ]
    if as_json:
        click.echo(json.dumps(plain[0] if name is not None else plain, ensure_ascii=False, indent=1))
        return
    if name is not None:
        for key, value in plain[0].items():
            click.echo(f"{key:<9} {value or '–'}")
        return
    wide = max(len(row.setting.name) for row in rows)
    for row in rows:
        source = "" if row.source == "default" else f"   ← {row.source}"
        click.echo(f"{row.setting.name:<{wide}}  {row.value}{source}")
