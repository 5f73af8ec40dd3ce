"""Which distribution and which configurator are selected."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbsight.cli.check import Check, Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbsight.cli.evidence import Evidence


class Distribution(Check):
    """Which OpenTelemetry distribution and which configurator are selected?

    Good:
        Both are dbsight's, or both are another distribution's (guest mode).

    What to do:
        OpenTelemetry selects each separately, the first one in the order of the file system. Set both variables:
        ``OTEL_PYTHON_DISTRO=dbsight`` and ``OTEL_PYTHON_CONFIGURATOR=dbsight``.
    """

    name: ClassVar[str] = "distribution"

    def look(self, evidence: Evidence) -> Iterator[Line]:
        """Yield the lines."""
        distro, advice = _winner(evidence.distro, evidence.distros, "DISTRO")
        configurator, more = _winner(evidence.configurator, evidence.configurators, "CONFIGURATOR")
        for kind, winner, help_ in (("distribution", distro, advice), ("configurator", configurator, more)):
            if not winner:
                yield Line("✘", f"no OpenTelemetry {kind} found", help_)
            elif help_:
                yield Line("?", f"the {kind} {winner} was selected among several", help_)
            else:
                yield Line("✔", f"the {kind} is {winner}")
        if distro and configurator and (distro == "dbsight") != (configurator == "dbsight"):
            yield Line(
                "✘",
                f"the distribution is {distro} and the configurator is {configurator}: only part of each is started",
                _whole(distro, evidence.configurators),
            )


def _whole(distro: str, configurators: list[str]) -> str:
    """Return the variables that select one distribution and its configurator, which often has another name."""
    others = [name for name in configurators if name != "dbsight"]
    if distro == "dbsight" or not others:
        return "OTEL_PYTHON_DISTRO=dbsight OTEL_PYTHON_CONFIGURATOR=dbsight"
    return f"OTEL_PYTHON_DISTRO={distro} OTEL_PYTHON_CONFIGURATOR={others[0]}"


def _winner(asked: str, installed: list[str], variable: str) -> tuple[str, str]:
    """Return the name that is selected, empty if none, and the advice."""
    if asked and asked not in installed:
        return "", f"OTEL_PYTHON_{variable}={asked} is not installed; one of {', '.join(installed) or 'none'}"
    if not installed:
        return "", "pip install dbsight"
    if asked or len(installed) == 1:
        return asked or installed[0], ""
    return installed[0], f"select one: OTEL_PYTHON_{variable}=dbsight (installed: {', '.join(installed)})"
