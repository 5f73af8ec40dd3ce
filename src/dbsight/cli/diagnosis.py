"""From evidence to answers: all checks, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from dbsight.cli.checks import CHECKS
from dbsight.cli.evidence import Evidence, gather

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbsight.cli.check import Mark


class Answer(NamedTuple):
    """A line of one check, with the check's name; ``advisory`` as the check is."""

    check: str
    mark: Mark
    text: str
    advice: str
    advisory: bool = False


def examine(told: Sequence[Mapping[str, Any]] | None) -> Evidence:
    """The evidence of a command, or of this environment.

    Args:
        told: What each process of the command told; None when no command was run. The process with the most queries
            speaks, and the queries of all are counted.
    """
    if not told:
        evidence = gather()
        evidence.told = told is not None
        return evidence
    every = [Evidence.of(each) for each in told]
    speaker = max(every, key=lambda each: each.inside.calls if each.inside is not None else -1)
    speaker.told = True
    if speaker.inside is not None:
        speaker.inside.calls = sum(each.inside.calls for each in every if each.inside is not None)
    return speaker


def answers(evidence: Evidence) -> list[Answer]:
    """What all checks say. One that fails says so, and the others go on."""
    found = []
    for check in CHECKS:
        try:
            found += [Answer(check.name, *line, advisory=check.advisory) for line in check().look(evidence)]
        except Exception as error:  # noqa: PERF203 - one that fails must not silence the others
            found.append(Answer(check.name, "?", f"the check failed: {type(error).__name__}", "please report it"))
    return found
