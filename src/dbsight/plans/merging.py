"""Several statements: one index that serves several of them instead of one index each.

``merged`` knows all of them at once, ``Advised`` sees one after the other, whose values are forgotten meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dbsight.plans.wording import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dbsight.model import IndexAdvice
    from dbsight.plans.advisor import Advisor, Found
    from dbsight.plans.candidates import Candidate
    from dbsight.plans.proof import Proof

TOLERATED: Final = 1.25
"""How many times the cost with its own index a statement may cost with one that serves others as well."""


def merged(advisors: Sequence[Advisor], proof: str) -> list[IndexAdvice]:
    """Advice for several statements on one database: as few indexes as serve all of them.

    Args:
        advisors: One per statement.
        proof: As for ``advise_index``.

    Returns:
        Indexes in the order in which the statements first need them; ``serves`` has the positions of the statements.
    """
    found = [advisor.find(proof) for advisor in advisors]
    served: dict[Candidate, list[int]] = {}
    tables = dict.fromkeys(each.candidates[0].table for one in found for each in one)
    for table in tables:
        own = {place: next((e for e in one if e.candidates[0].table == table), None) for place, one in enumerate(found)}
        needs = {place: each for place, each in own.items() if each is not None}
        pool = _pool(each for need in needs.values() for each in need.candidates)
        costs = {place: _costs(advisors[place], proof, found[place], need, pool) for place, need in needs.items()}
        for candidate, places in _cover(needs, costs):
            served.setdefault(candidate, []).extend(places)
    return list(_told(advisors, found, served))


def _pool(own: Iterable[Candidate]) -> list[Candidate]:
    """Indexes of one table, and the longer ones of them with their first columns in another order."""
    own = list(dict.fromkeys(own))
    turned = []
    for long in own:
        for short in own:
            first = long.columns[: long.searched]
            if len(short.columns) < len(first) and set(short.columns) <= set(first) and short.where == long.where:
                rest = tuple(each for each in long.columns if each not in short.columns)
                turned.append(replace(long, columns=(*short.columns, *rest)))
    return list(dict.fromkeys((*own, *turned)))


def _costs(
    advisor: Advisor, proof: str, found: Sequence[Found], need: Found, pool: list[Candidate]
) -> dict[Candidate, float]:
    """What a statement costs with each index of the pool that serves it."""
    if len(need.candidates) > 1 or not need.proved:
        # The sides of an OR need all of theirs. And without a proof, an index serves that begins with the same columns.
        (first, *_) = need.candidates
        return {
            each: float(len(each.columns))
            for each in pool
            if each == first or (not need.proved and _begins(each, first))
        }

    def measure(trial: Proof) -> dict[Candidate, float]:
        for other in found:
            if other is not need:
                for each in other.candidates:
                    trial.create(each)
        before, _ = trial.cost()
        costs = {each: advisor.cost_with(trial, (each,), before) for each in pool}
        return {each: cost for each, cost in costs.items() if cost is not None}

    costs = advisor.tried(proof, measure) or {}
    costs.setdefault(need.candidates[0], need.after or 0.0)
    own = costs[need.candidates[0]]
    return {each: cost for each, cost in costs.items() if cost <= own * TOLERATED}


def _begins(long: Candidate, short: Candidate) -> bool:
    same = (long.where, long.using) == (short.where, short.using)
    return same and not short.using and long.columns[: len(short.columns)] == short.columns


def _cover(needs: dict[int, Found], costs: dict[int, dict[Candidate, float]]) -> Iterator[tuple[Candidate, list[int]]]:
    """Indexes until each statement is served, those first that serve most statements."""
    left = dict.fromkeys(needs)
    for place, need in needs.items():
        for each in need.candidates[1:]:
            yield each, [place]
    while left:

        def merit(candidate: Candidate) -> tuple[int, int, float]:
            serves = [place for place in left if candidate in costs[place]]
            return len(serves), -len(candidate.columns), -sum(costs[place][candidate] for place in serves)

        best = max(dict.fromkeys(each for place in left for each in costs[place]), key=merit)
        places = [place for place in left if best in costs[place]]
        yield best, places
        for place in places:
            del left[place]


def _told(
    advisors: Sequence[Advisor], found: list[list[Found]], served: dict[Candidate, list[int]]
) -> Iterator[IndexAdvice]:
    names: dict[str, int] = {}
    for candidate, places in sorted(served.items(), key=lambda each: min(each[1])):
        place = min(places)
        need = next(each for each in found[place] if each.candidates[0].table == candidate.table)
        # Two indexes of a table can have the same columns, under different conditions or in other directions.
        name = name_of(candidate)
        number = names[name] = names.get(name, 0) + 1
        told = replace(candidate, suffix=f"{candidate.suffix}_{number}") if number > 1 else candidate
        after = need.after if candidate in need.candidates else None
        yield from advisors[place].advice(replace(need, candidates=(told,), after=after), serves=sorted(places))


_MAX_TABLES: Final = 500
_MAX_PER_TABLE: Final = 20


class Advised:
    """Indexes that were advised for statements that ran before: a later one gets one of them where that serves it, too.

    Where an index of the later statement begins with the columns of an earlier one, it takes that one's place.
    """

    def __init__(self) -> None:
        self._tables: OrderedDict[tuple[str, str], dict[Candidate, dict[str, str]]] = OrderedDict()

    def advise(self, database: str, fingerprint: str, summary: str, advisor: Advisor, proof: str) -> list[IndexAdvice]:
        """Advice for one statement.

        Args:
            database: Which one, of those of the process.
            fingerprint: The statement's.
            summary: How others are told of it.
            advisor: Of the statement, with its values.
            proof: As for ``advise_index``.

        Returns:
            As ``advise_index``; ``also_serves`` names the statements before, ``instead_of`` their indexes.
        """
        found = advisor.find(proof)
        told = []
        for need in found:
            (own, *others) = need.candidates
            key = (database, own.table)
            known = {each: by for each, by in self._tables.get(key, {}).items() if advisor.lacks(each)}
            best, after = own, need.after
            if known and not others:
                costs = _costs(advisor, proof, found, need, _pool((own, *filter(advisor.lacks, _pool((own, *known))))))
                best = max(
                    costs, key=lambda each: (_served(each, known), each == own, -len(each.columns), -costs[each])
                )
                after = costs[best] if need.proved else None
            replaced = [each for each in known if _begins(best, each)]
            served = {name: text for each in replaced for name, text in known.pop(each).items()}
            served.pop(fingerprint, None)
            if not others:
                self._remember(key, {**known, best: {**served, fingerprint: summary}})
            for advice in advisor.advice(need if others else replace(need, candidates=(best,), after=after)):
                instead = tuple((each.columns, each.where) for each in replaced if each.columns != best.columns)
                also = tuple(dict.fromkeys(served.values()))
                told.append(replace(advice, also_serves=also, instead_of=instead) if not others else advice)
        return told

    def _remember(self, key: tuple[str, str], known: dict[Candidate, dict[str, str]]) -> None:
        self._tables[key] = dict(list(known.items())[-_MAX_PER_TABLE:])
        self._tables.move_to_end(key)
        if len(self._tables) > _MAX_TABLES:
            self._tables.popitem(last=False)


def _served(candidate: Candidate, known: dict[Candidate, dict[str, str]]) -> int:
    return sum(len(by) for each, by in known.items() if _begins(candidate, each))
