"""Indexes that could serve a statement, from its predicates, joins and orders: what is worth trying, not yet advice."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PREFIX: Final = re.compile(r"[^%_].*", re.DOTALL)
DIALECTS: Final = {"sqlite": "sqlite", "postgresql": "postgres", "mariadb": "mysql", "mysql": "mysql"}
"""``db.system.name`` to the name that sqlglot has for the dialect."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One index.

    Attributes:
        table: The table, as the catalogue spells it.
        columns: Columns or expressions in order, with ``DESC`` where wanted.
        where: Condition of a partial index.
        searched: How many of the columns are compared, so that only a part of the table is read.
        suffix: End of its name, where another index has the name that it would have.
        using: The kind of index, ``gin``; empty for a b-tree.
        partitioned: Its table is partitioned on PostgreSQL, which creates no index of it concurrently.
    """

    table: str
    columns: tuple[str, ...]
    where: str = ""
    searched: int = 0
    suffix: str = ""
    using: str = ""
    partitioned: bool = False


@dataclass(slots=True)
class Use:
    """How a statement uses one table.

    Attributes:
        equal: Columns and expressions that are compared with a value for equality, and the conditions that do; empty
            text for one that cannot be tried alone.
        ranged: The same for ranges and prefixes.
        joined: Columns that are compared with those of other tables.
        ordered: ORDER BY, when all of it belongs to the table: column, and whether downwards.
        grouped: GROUP BY, when all of it belongs to the table.
        tested: Columns that are tested for NULL or for being true or false, and the conditions that do.
        constant: Columns of ``equal`` that are compared with a constant of the statement, by the conditions that do;
            the caller leaves those whose value is one of few.
        alternatives: Columns that are compared on the sides of an OR, by the conditions that do: one dict per OR.
        contained: Columns of documents and arrays whose contents are tested, by the conditions that do.
        prefixes: Columns that are compared with the beginning of a text, by the conditions that do.
        patterns: Columns that are compared with a part of a text (``LIKE '%…'``), by the conditions that do.
        searched: Expressions of full-text search (``to_tsvector(…)``), by the conditions that do.
    """

    equal: dict[str, str] = field(default_factory=dict)
    ranged: dict[str, str] = field(default_factory=dict)
    joined: list[str] = field(default_factory=list)
    ordered: list[tuple[str, bool]] = field(default_factory=list)
    grouped: list[str] = field(default_factory=list)
    tested: dict[str, str] = field(default_factory=dict)
    constant: dict[str, str] = field(default_factory=dict)
    alternatives: list[dict[str, str]] = field(default_factory=list)
    contained: dict[str, str] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)
    patterns: dict[str, str] = field(default_factory=dict)
    searched: dict[str, str] = field(default_factory=dict)

    def candidates(self, table: str) -> Iterator[Candidate]:
        """Indexes to try, without duplicates, simple ones first."""
        for name in self.contained:
            yield Candidate(table, (name,), searched=1, using="gin")
        for name in self.searched:
            yield Candidate(table, (name,), searched=1, using="gin")
        for name in self.patterns:
            yield Candidate(table, (f"{name} gin_trgm_ops",), searched=1, using="gin")
        equal = list(self.equal)
        # A b-tree finds prefixes where the collation is C, and with this class of operators in any.
        ranged = [*self.ranged, *self.prefixes, *(f"{name} text_pattern_ops" for name in self.prefixes)]
        ordered = [f"{name} DESC" if down else name for name, down in self.ordered]
        tails: list[list[str]] = [[], *([each] for each in ranged), ordered, self.grouped]
        tested = list(self.tested)
        heads = [[each] for each in equal] + [equal, self.joined, [*equal, *self.joined], [*self.joined, *equal]]
        seen = set()
        for head in [*heads, *([each] for each in self.joined), tested, []]:
            for tail in tails:
                whole = dict.fromkeys([*head, *(each for each in tail if each.removesuffix(" DESC") not in head)])
                for fixed in self._fixed():
                    columns = tuple(each for each in whole if each.removesuffix(" DESC") not in fixed)
                    where = " AND ".join(fixed.values())
                    if columns and len(columns) <= 4 and (columns, where) not in seen:
                        seen.add((columns, where))
                        ranges = tail in tails[1 : 1 + len(ranged)]
                        searched = len([each for each in dict.fromkeys(head) if each not in fixed]) + ranges
                        yield Candidate(table, columns, where, searched)
        for group in self.alternatives:
            for name in group:
                yield Candidate(table, (name,), searched=1)

    def _fixed(self) -> list[dict[str, str]]:
        """Conditions that an index could be limited to, by their columns: none, and those that are always the same."""
        sets: tuple[dict[str, str], ...] = ({}, self.tested, self.constant, {**self.tested, **self.constant})
        return [each for place, each in enumerate(sets) if each not in sets[:place]]


def uses(text: str, system: str, schema: Mapping[str, Sequence[str]]) -> dict[str, Use]:
    """What a statement does with each of its tables.

    Args:
        text: The statement, parsed with sqlglot.
        system: ``db.system.name``.
        schema: Columns by table.

    Returns:
        By table, as the catalogue spells it. Conditions below OR and NOT are left out: one index does not serve them.
    """
    import sqlglot
    from sqlglot.optimizer.scope import traverse_scope

    tree = sqlglot.parse_one(text, read=DIALECTS[system])
    found: dict[str, Use] = {}
    for scope in traverse_scope(tree) if isinstance(tree, sqlglot.exp.Query) else ():
        _Reader(scope, system, schema, found).read()
    return found


class _Reader:
    """Reads one SELECT."""

    def __init__(self, scope: Any, system: str, schema: Mapping[str, Sequence[str]], found: dict[str, Use]) -> None:
        from sqlglot import exp

        self._exp = exp
        self._scope = scope
        self._dialect = DIALECTS[system]
        self._found = found
        self._columns = {name.lower(): {column.lower(): column for column in schema[name]} for name in schema}
        names = {name.lower(): name for name in schema}
        self._tables = {
            alias.lower(): names[source.name.lower()]
            for alias, source in scope.sources.items()
            if isinstance(source, exp.Table) and source.name.lower() in names
        }

    def read(self) -> None:
        """Note what the SELECT compares, joins, sorts and groups by."""
        exp = self._exp
        select = self._scope.expression
        if not isinstance(select, exp.Select):
            return
        conditions = [select.args.get("where"), *(join.args.get("on") for join in select.args.get("joins") or ())]
        for condition in conditions:
            if condition is not None:
                self._condition(condition.this if isinstance(condition, exp.Where) else condition)
        for join in select.args.get("joins") or ():
            for name in join.args.get("using") or ():
                for table in self._tables.values():
                    column = self._columns[table.lower()].get(name.name.lower())
                    if column:
                        self._use(table).joined.append(column)
        self._sorting(select)

    def _use(self, table: str) -> Use:
        return self._found.setdefault(table, Use())

    def _owner(self, column: Any) -> tuple[str, str] | None:
        """Table and spelling of a column; None where it is not a column of one table."""
        name = column.name.lower()
        if column.table:
            tables = [self._tables.get(column.table.lower(), "")]
        else:
            tables = [table for table in set(self._tables.values()) if name in self._columns[table.lower()]]
        if len(tables) != 1 or not tables[0]:
            return None
        spelled = self._columns[tables[0].lower()].get(name)
        return (tables[0], spelled) if spelled else None

    def _indexed(self, side: Any) -> tuple[str, str] | None:
        """Table and what to index of one side of a comparison: a column, or a function of one column and constants."""
        exp = self._exp
        side = side.unnest()
        if isinstance(side, exp.Cast) and isinstance(side.this, exp.Column):
            side = side.this
        if isinstance(side, exp.Column):
            return self._owner(side)
        columns = list(side.find_all(exp.Column))
        simple = isinstance(side, (exp.Func, exp.JSONExtractScalar)) and not side.find(
            exp.Query, exp.AggFunc, exp.Anonymous
        )
        if len(columns) != 1 or not simple:
            return None
        owner = self._owner(columns[0])
        if owner is None:
            return None
        bare = side.copy()
        for column in bare.find_all(exp.Column):
            column.set("table", None)
        text = bare.sql(dialect=self._dialect)
        return owner[0], text if isinstance(side, (exp.Lower, exp.Upper)) else f"({text})"

    def _constant(self, side: Any) -> bool:
        return not side.find(self._exp.Column) and not side.find(self._exp.Query)

    def _condition(self, part: Any) -> None:
        exp = self._exp
        part = part.unnest()  # Django puts parentheses around all of its conditions
        if isinstance(part, exp.And):
            for each in part.flatten():
                self._condition(each)
        elif self._tested(part):
            pass
        elif isinstance(part, exp.Or):
            self._alternatives(part)
        elif isinstance(part, exp.EQ) and not self._constant(part.this) and not self._constant(part.expression):
            for side in (part.this, part.expression):
                owner = self._indexed(side)
                if owner:
                    self._use(owner[0]).joined.append(owner[1])
        elif isinstance(part, (exp.EQ, exp.In)):
            self._compared(part, "equal")
        elif isinstance(part, (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between)):
            self._compared(part, "ranged")
        elif self._dialect == "postgres" and isinstance(part, (exp.ArrayContainsAll, exp.ArrayOverlaps)):
            self._compared(part, "contained")
        elif isinstance(part, exp.Like) and _PREFIX.fullmatch(part.expression.name):
            # SQLite's LIKE ignores case, and a plain index does not.
            kind = {"postgres": "prefixes", "mysql": "ranged"}.get(self._dialect)
            if kind:
                self._compared(part, kind)
        elif self._dialect == "postgres" and isinstance(part, (exp.Like, exp.ILike)):
            self._compared(part, "patterns")
        elif self._dialect == "postgres" and isinstance(part, exp.MatchAgainst):
            self._text_search(part)

    def _tested(self, part: Any) -> bool:
        """Note ``IS [NOT] NULL``, ``IS [NOT] TRUE``, a condition that is a column, and its opposite."""
        exp = self._exp
        negated = isinstance(part, exp.Not)
        inner = part.this.unnest() if negated else part
        if isinstance(inner, exp.Is):
            negated ^= bool(
                inner.args.get("negate")
            )  # IS NOT NULL is one node or two, by sqlglot's version and dialect
            column, suffix = inner.this, f" IS {'NOT ' * negated}{inner.expression.sql(dialect=self._dialect)}"
            constant = isinstance(inner.expression, (exp.Null, exp.Boolean))
        else:
            column, suffix, constant = inner, "", isinstance(inner, exp.Column)
        owner = self._owner(column) if constant and isinstance(column, exp.Column) else None
        if owner is None:
            return False
        name = self._spelled(column)
        self._use(owner[0]).tested[owner[1]] = f"NOT {name}" if negated and not suffix else f"{name}{suffix}"
        return True

    def _spelled(self, column: Any) -> str:
        """A column without its table."""
        bare = column.copy()
        bare.set("table", None)
        return str(bare.sql(dialect=self._dialect))

    def _alternatives(self, part: Any) -> None:
        """The sides of an OR, where each compares something of the same table with a value."""
        exp = self._exp
        sides: list[dict[str, dict[str, str]]] = []
        outside = self._found
        for side in part.flatten():
            self._found = {}
            self._condition(side)
            sides.append({table: {**use.ranged, **use.equal} for table, use in self._found.items()})
        self._found = outside
        tables = set.intersection(*map(set, sides))
        if len(tables) != 1:
            return
        table = tables.pop()
        compared = {name: text for side in reversed(sides) for name, text in side[table].items()}
        if len(compared) > 1 and all(side[table] for side in sides):
            self._use(table).alternatives.append(compared)
        elif len(compared) == 1 and all(isinstance(side.unnest(), exp.EQ) for side in part.flatten()):
            # The same as IN.
            self._use(table).equal.setdefault(next(iter(compared)), self._alone(part))

    def _alone(self, part: Any) -> str:
        """A condition on one table as it can be tried; empty where it calls a function of the application's."""
        exp = self._exp
        bare = part.copy()
        for column in bare.find_all(exp.Column):
            column.set("table", None)
        # What is tried on rows may call no function of the application's.
        return "" if bare.find(exp.Anonymous, exp.Placeholder, exp.Parameter) else str(bare.sql(dialect=self._dialect))

    def _text_search(self, part: Any) -> None:
        """``document @@ query``: a column, or ``to_tsvector`` with its configuration, which is immutable."""
        exp = self._exp
        side = part.expressions[0].copy()
        columns = list(side.find_all(exp.Column))
        owner = self._owner(columns[0]) if len(columns) == 1 and self._constant(part.this) else None
        if owner is None:
            return
        bare = part.copy()
        for column in (*columns, *bare.find_all(exp.Column)):
            column.set("table", None)
        if isinstance(side, exp.Column):
            indexed = owner[1]
        elif side.name.lower() == "to_tsvector" and len(side.expressions) == 2 and self._constant(side.expressions[0]):
            indexed = side.sql(dialect=self._dialect)
        else:
            return
        self._use(owner[0]).searched.setdefault(indexed, bare.sql(dialect=self._dialect))

    def _compared(self, part: Any, kind: str) -> None:
        exp = self._exp
        side = part.this
        if self._constant(side) and isinstance(part, exp.Binary):
            side, other = part.expression, part.this
            constant = self._constant(other)
        else:
            constant = all(
                self._constant(each)
                for name in ("expression", "expressions", "low", "high", "query")
                for each in _listed(part.args.get(name))
            )
        owner = self._indexed(side) if constant else None
        if owner:
            known = getattr(self._use(owner[0]), kind)
            first, text = known.get(owner[1]), self._alone(part)
            known[owner[1]] = f"{first} AND {text}" if first and text else text  # both ends of a range

    def _sorting(self, select: Any) -> None:
        exp = self._exp
        order = select.args.get("order")
        if order is not None:
            terms = [(self._indexed(each.this), bool(each.args.get("desc"))) for each in order.expressions]
            owners = {owner[0] for owner, _ in terms if owner}
            if len(owners) == 1 and all(owner for owner, _ in terms):
                downwards = {down for _, down in terms}
                # An index is read in both directions: only mixed ones have to be told.
                mixed = len(downwards) > 1
                self._use(owners.pop()).ordered = [(owner[1], down and mixed) for owner, down in terms if owner]
        group = select.args.get("group")
        if group is not None:
            grouped = [self._indexed(each) if isinstance(each, exp.Column) else None for each in group.expressions]
            owners = {owner[0] for owner in grouped if owner}
            if len(owners) == 1 and all(grouped):
                self._use(owners.pop()).grouped = [owner[1] for owner in grouped if owner]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value is not None else []
