"""An index as people paste it: SQL, SQLAlchemy, Alembic, Django."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dbsight.plans.candidates import Candidate

_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]*")
_COLUMN: Final = re.compile(r"[^\W\d]\w*(?: DESC)?")
_OPERATORS: Final = re.compile(r"([^\W\d]\w*) (text_pattern_ops|gin_trgm_ops)")
_CONDITION: Final = re.compile(
    r"(?P<not>NOT )?(?P<column>[A-Za-z_]\w*)(?: IS (?P<isnot>NOT )?(?P<is>NULL|TRUE|FALSE)"
    r"| = (?:(?P<number>-?\d+)|(?P<bool>TRUE|FALSE)|(?P<text>'(?:[^'\\]|'')*')))?(?: AND |$)"
)


def name_of(candidate: Candidate, limit: int = 60) -> str:
    """``ix_orders_customer_id``; what would be longer than the limit ends in a hash."""
    words = re.sub(r"\W+", "_", "_".join(("ix", candidate.table, *candidate.columns))).strip("_").lower()
    words = re.sub("_+", "_", words.replace("_desc", "")) + ("_partial" if candidate.where else "") + candidate.suffix
    if len(words) <= limit:
        return words
    digest = hashlib.sha256(words.encode()).hexdigest()[:6]
    return f"{words[: limit - 7]}_{digest}"


def quoted(name: str, system: str = "") -> str:
    """An identifier, in the quotes of the database where it needs them."""
    if _PLAIN.fullmatch(name):
        return name
    mark = "`" if system in ("mysql", "mariadb") else '"'
    return mark + name.replace(mark, mark * 2) + mark


def _term(column: str, system: str = "") -> str:
    if not _COLUMN.fullmatch(column):
        return column  # an expression
    name = column.removesuffix(" DESC")
    return quoted(name, system) + (" DESC" if column.endswith(" DESC") else "")


def ddl(candidate: Candidate, system: str, *, concurrently: bool = True) -> str:
    """``CREATE INDEX``; on PostgreSQL without blocking writes, which cannot run in a transaction.

    For a partitioned table PostgreSQL has no such way.
    """
    how = " CONCURRENTLY" if concurrently and system == "postgresql" and not candidate.partitioned else ""
    where = f" WHERE {candidate.where}" if candidate.where else ""
    terms = ", ".join(_term(each, system) for each in candidate.columns)
    using = f"USING {candidate.using} " if candidate.using else ""
    return f"CREATE INDEX{how} {name_of(candidate)} ON {quoted(candidate.table, system)} {using}({terms}){where}"


def _argument(column: str) -> str:
    return repr(column) if _COLUMN.fullmatch(column) and not column.endswith(" DESC") else _text(_term(column))


def _text(sql: str) -> str:
    """``text(…)``, which would take a colon in front of a word for a parameter."""
    escaped = re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", sql)
    return f"text({escaped!r})"


def sqlalchemy(candidate: Candidate, system: str) -> str:
    """``Index(…)`` for ``__table_args__`` or a ``Table``."""
    where = f", {system}_where={_text(candidate.where)}" if candidate.where else ""
    using = f", {system}_using={candidate.using!r}" if candidate.using else ""
    return f"Index({name_of(candidate)!r}, {', '.join(map(_argument, candidate.columns))}{using}{where})"


def alembic(candidate: Candidate, system: str) -> str:
    """``op.create_index(…)``; on PostgreSQL in an autocommit block, where it does not block writes."""
    columns = ", ".join(re.sub(r"^text\(", "sa.text(", _argument(column)) for column in candidate.columns)
    where = f", {system}_where=sa.{_text(candidate.where)}" if candidate.where else ""
    concurrently = ", postgresql_concurrently=True" if system == "postgresql" and not candidate.partitioned else ""
    using = f", {system}_using={candidate.using!r}" if candidate.using else ""
    call = f"op.create_index({name_of(candidate)!r}, {candidate.table!r}, [{columns}]{using}{where}{concurrently})"
    return f"with op.get_context().autocommit_block():\n    {call}" if concurrently else call


def django(candidate: Candidate) -> str:
    """``models.Index(…)`` or ``GinIndex(…)``, fields named like the columns; empty where Django has no words for it."""
    name = name_of(candidate, 30)
    condition = _django_condition(candidate.where)
    if condition is None:
        return ""
    if all(_COLUMN.fullmatch(column) for column in candidate.columns):
        fields = [f"-{each[:-5]}" if each.endswith(" DESC") else each for each in candidate.columns]
        kind = "GinIndex" if candidate.using == "gin" else "models.Index"
        return f"{kind}(fields={fields!r}, name={name!r}{condition})"
    classes = [_OPERATORS.fullmatch(column) for column in candidate.columns]
    if all(classes):
        fields, operators = ([each[part] for each in classes if each] for part in (1, 2))
        kind = "GinIndex" if candidate.using == "gin" else "models.Index"
        return f"{kind}(fields={fields!r}, name={name!r}, opclasses={operators!r}{condition})"
    terms = []
    for column in candidate.columns:
        call = re.fullmatch(r"(LOWER|UPPER)\((\w+)\)", column)
        if call:
            terms.append(f"{call[1].title()}({call[2]!r})")
        elif _COLUMN.fullmatch(column):
            terms.append(f"F({column.removesuffix(' DESC')!r})" + (".desc()" if column.endswith(" DESC") else ""))
        else:
            return ""
    return f"models.Index({', '.join(terms)}, name={name!r}{condition})"


def _django_condition(where: str) -> str | None:
    """``condition=`` for a partial index; None for one that Django has other words for, or none."""
    parts = []
    place = 0
    while place < len(where):
        found = _CONDITION.match(where, place)
        if not found:
            return None
        place = found.end()
        column, is_what = found["column"], found["is"]
        if found["not"] and place - found.start() > len(f"NOT {column} AND "):
            return None
        if is_what == "NULL":
            parts.append(f"models.Q({column}__isnull={not found['isnot']})")
        elif is_what or found["isnot"]:
            return None  # IS NOT TRUE is also met by NULL
        elif found["text"]:
            value = found["text"][1:-1].replace("''", "'")
            parts.append(f"models.Q({column}={value!r})")
        elif found["number"]:
            parts.append(f"models.Q({column}={found['number']})")
        else:
            parts.append(f"models.Q({column}={(found['bool'] or 'TRUE') == 'TRUE' and not found['not']})")
    return f", condition={' & '.join(parts)}" if parts else ""
