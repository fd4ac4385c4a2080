"""What a deployment says of its sinks in; each that could not be opened, at its line, out. Nothing is opened."""

from __future__ import annotations

from pathlib import Path

from residency.errors import PolicyError, Problem, Unavailable
from residency.policy.parsed import DeploymentDoc
from residency.wiring.storage import sink_of

__all__ = ["check_sinks"]


def check_sinks(deployment: DeploymentDoc) -> None:
    """Raises: PolicyError with every sink whose URL none of our adapters takes.

    A sink whose extra is not installed here is passed over: who reviews a policy need not have the drivers.
    """
    problems: list[Problem] = []
    for name, sink in deployment.sinks.items():
        try:
            sink_of(deployment, sink, Path, Path())
        except PolicyError as error:
            if not isinstance(error.__cause__, ImportError):
                problems += error.problems
        except Unavailable as error:
            where = ("sinks", name, "url")
            place = str(deployment.source.problem(where, ""))  # it stands in the message already
            problems.append(deployment.source.problem(where, str(error).removeprefix(place)))
    if problems:
        raise PolicyError(tuple(problems))
