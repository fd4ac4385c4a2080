"""An error of what a deployment names in; the problem at the line that names it, out."""

from __future__ import annotations

from residency.errors import Problem
from residency.policy.parsed import DeploymentDoc

__all__ = ["problem_at"]


def problem_at(deployment: DeploymentDoc, where: tuple[str | int, ...], error: Exception) -> Problem:
    """What went wrong, told with the line of the deployment file that asks for it."""
    return deployment.source.problem(where, str(error))
