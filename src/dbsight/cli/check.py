"""What a check of ``dbsight doctor`` is.

A check's docstring is its documentation: the first line is the question that it answers, ``Good:`` says when the answer
is a tick, and ``What to do:`` what helps when it is not. The page in ``docs/`` is made from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbsight.cli.evidence import Evidence

Mark = Literal["✔", "✘", "?"]


class Line(NamedTuple):
    """One answer.

    Attributes:
        mark: ✔ is right, ✘ is wrong, ? cannot be told from here, or is worth a look.
        text: What was seen.
        advice: What to do, empty after ✔.
    """

    mark: Mark
    text: str
    advice: str = ""


class Check(ABC):
    """Answers one question from the evidence.

    Attributes:
        name: One word, or several with hyphens.
        advisory: It is about how a database is used: what is wrong there keeps no span back, and is no failure.
    """

    name: ClassVar[str]
    advisory: ClassVar[bool] = False

    @abstractmethod
    def look(self, evidence: Evidence) -> Iterable[Line]:
        """The answers; none where the question does not arise."""
