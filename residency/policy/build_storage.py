"""What a checked deployment file says of where data rests in; the frozen values of `parsed_storage` out."""

from __future__ import annotations

from collections.abc import Mapping

from residency.model import Region, Sink
from residency.policy import documents_storage as files
from residency.policy.build_signals import microseconds
from residency.policy.parsed_signals import Secret
from residency.policy.parsed_storage import CopiesDoc, HandOverDoc, LocationDoc, MemberDoc, RecordDoc, SinkDoc

__all__ = ["copies", "hand_over", "location", "locators", "records", "sink"]


def sink(name: str, file: files.SinkFile, regions: Mapping[str, Region]) -> SinkDoc:
    """A sink and its members; `regions` are the deployment's."""
    return SinkDoc(
        Sink(
            name,
            file.region,
            regions[file.region].place,
            file.provider,
            file.keys,
            file.encrypted,
            file.in_transit,
            file.scope,
            frozenset(file.certified),
        ),
        Secret(file.url),
        tuple(MemberDoc(regions[member.region], Secret(member.url)) for member in file.members),
        file.allow_private,
    )


def records(file: files.Records) -> dict[str, tuple[RecordDoc, ...]]:
    """How each store's rows, objects or keys tell whose they are, in the order of the file."""
    return {
        store: tuple(
            RecordDoc(
                name,
                record.subject,
                next(iter(record.via.items()), None),
                frozenset(record.data),
                dict(record.times),
            )
            for name, record in named.items()
        )
        for store, named in file.items()
    }


def locators(file: files.Locators) -> dict[str, Secret]:
    """Where the locator of which place lies."""
    return {place: Secret(url) for place, url in file.items()}


def copies(file: files.Copies) -> dict[str, CopiesDoc]:
    """Which sinks of which store get copies."""
    return {store: CopiesDoc(tuple(wanted.to), wanted.withdraw) for store, wanted in file.items()}


def hand_over(file: files.HandOvers) -> dict[str, HandOverDoc]:
    """Which instance serves the people of which place."""
    return {place: HandOverDoc(other.url, other.how) for place, other in file.items()}


def location(file: files.Location) -> LocationDoc:
    """How often sinks are looked for where they say they are."""
    return LocationDoc(microseconds(file.every), file.drift)
