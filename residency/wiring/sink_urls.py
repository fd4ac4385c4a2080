"""What a deployment says of its sinks in; each that could not be opened, or whose cloud is a company of another country
than its `provider`, at its line, out. Nothing is opened, and nobody is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from residency.errors import PolicyError, Problem, Unavailable
from residency.model.place import within
from residency.policy.parsed import DeploymentDoc
from residency.wiring.storage import sink_of

__all__ = ["check_sinks", "provider_doubts"]

# Names that none but the company itself gives to hosts, and whose law reaches it. AWS in China is of Chinese companies.
_CLOUDS: Final = {
    ".amazonaws.com": ("Amazon", "US"),
    ".amazonaws.com.cn": ("AWS China", "CN"),
    ".googleapis.com": ("Google", "US"),
    ".windows.net": ("Microsoft", "US"),
    ".azure.com": ("Microsoft", "US"),
    ".aliyuncs.com": ("Alibaba", "CN"),
    ".myqcloud.com": ("Tencent", "CN"),
}


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


def provider_doubts(deployment: DeploymentDoc) -> Iterator[Problem]:
    """Sinks whose URL leads to a cloud of another country's company than `provider` says; for `check` and `doctor`."""
    from residency.wiring.location import ways_of

    for name, sink in deployment.sinks.items():
        provider, found = sink.sink.provider, set()
        for url in (sink.url, *(member.url for member in sink.members)):
            try:
                hosts = [(way.host or "").lower() for way in ways_of(url.reveal())]
            except (ImportError, ValueError):
                continue  # who reviews a policy need not have the drivers; what is wrong with a URL is told of it
            found |= {of for host in hosts for suffix, of in _CLOUDS.items() if host.endswith(suffix)}
        for company, country in sorted(found):
            if not within(country, provider):
                what = (
                    f"sink {name}: its URL leads to {company}, a company of {country}, and `provider` says {provider}: "
                    "rules about providers go by that"
                )
                yield deployment.source.problem(("sinks", name, "provider"), what)
