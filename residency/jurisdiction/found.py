"""A finding in words, and back: how entries of the log and command lines tell what was found of a person."""

from __future__ import annotations

from collections.abc import Iterable

from residency.model.finding import SILENT, Anchor, AnchorFinding, Finding, Trust

__all__ = ["finding_words", "parse_finding"]


def finding_words(finding: Finding) -> tuple[str, ...]:
    """A finding as "anchor:place:established|contested:trust" each, silent anchors left out."""
    words = []
    for anchor in Anchor:
        found = finding.anchor(anchor)
        trust = found.trust.name.lower() if found.trust is not None else "none"
        words += [f"{anchor}:{place}:established:{trust}" for place in sorted(found.established)]
        words += [f"{anchor}:{place}:contested:{trust}" for place in sorted(found.contested)]
    return tuple(words)


def parse_finding(words: Iterable[str]) -> Finding:
    """The finding that `finding_words` told, with the default presumptions. Raises: ValueError for other words."""
    established: dict[Anchor, set[str]] = {}
    contested: dict[Anchor, set[str]] = {}
    trusts: dict[Anchor, Trust | None] = {}
    for word in words:
        try:
            anchor_word, place, state, trust_word = word.split(":")
            anchor = Anchor(anchor_word)
            trust = None if trust_word == "none" else Trust[trust_word.upper()]
            {"established": established, "contested": contested}[state].setdefault(anchor, set()).add(place)
        except (KeyError, ValueError):
            raise ValueError("a finding is told in words such as territory:VN:established:network") from None
        if trusts.setdefault(anchor, trust) is not trust:
            raise ValueError("one anchor of a finding has one trust")
    found = {
        anchor: AnchorFinding(frozenset(established.get(anchor, ())), frozenset(contested.get(anchor, ())), trust)
        for anchor, trust in trusts.items()
    }
    return Finding(**{anchor.value: found.get(anchor, SILENT) for anchor in Anchor})  # type: ignore[arg-type]  # anchors name the fields
