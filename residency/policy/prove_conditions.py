"""One invariant and what is asked about in; whether each part of its condition holds, out.

`never` says which acts may never be permitted: every key must hold at once. What an activity leaves unsaid (`purpose`,
`basis`, a key of `ai`) holds either way, as it does in rules: it might be meant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from residency.model import Activity, Sink
from residency.model.data import expand
from residency.model.place import within
from residency.policy.detect import detected
from residency.policy.parsed import LawDoc, Must

__all__ = ["about_activity", "about_person", "about_sink", "categories", "detected_by", "jurisdictions_of", "of_sinks"]

_PLACES = ("sink.country", "sink.provider", "sink.keys")


def about_activity(must: Must, activity: Activity, seen: Iterable[str]) -> bool:
    """Whether an activity is meant; `seen` are its categories, as `categories` tells them."""
    return all(
        negated != _holds(key, words, activity, seen) for key, negated, words in must.never if _known(key, activity)
    )


def about_sink(must: Must, sink: Sink) -> bool:
    """Whether a sink is meant."""
    return all(negated != _at(key, words, sink) for key, negated, words in must.never if key.startswith("sink"))


def about_person(must: Must, jurisdictions: Collection[str]) -> bool:
    """Whether somebody is meant whom the laws of these places cover."""
    return all(
        negated != any(within(place, word) for place in jurisdictions for word in words)
        for key, negated, words in must.never
        if key == "jurisdiction"
    )


def of_sinks(must: Must) -> bool:
    """Whether the invariant speaks of sinks at all."""
    return any(key.startswith("sink") for key, _, _ in must.never)


def jurisdictions_of(must: Must, places: Iterable[str]) -> tuple[str, ...] | None:
    """Those of `places` by one of whose laws a person must be covered to be meant; None = anybody, covered or not."""
    asked = [words for key, negated, words in must.never if key == "jurisdiction" and not negated]
    if not asked:
        return None
    return tuple(place for place in sorted(set(places)) if any(within(place, word) for word in asked[0]))


def categories(laws: Iterable[LawDoc], activity: Activity, escalated: Collection[str], now: int) -> frozenset[str]:
    """What an activity's data is to any of the laws, by their detectors and the escalations that are up at `now`."""
    found = set(activity.data)
    for law in laws:
        own = detected_by(law, activity)
        found |= own
        if law.span.holds(now):
            there = expand(activity.data | own)
            found |= {e.becomes for e in law.escalations if e.id in escalated and not e.data.isdisjoint(there)}
    return frozenset(found)


def detected_by(law: LawDoc, activity: Activity) -> frozenset[str]:
    """The categories that a law's detectors find in an activity."""
    return frozenset(d.data for d in law.detectors if detected(d.fields, d.media, activity.fields, activity.media))


def _known(key: str, activity: Activity) -> bool:
    """Whether the activity says anything of a key; what it does not say might be meant."""
    match key:
        case "purpose":
            return activity.purpose is not None
        case "basis":
            return activity.basis is not None
        case "ai.risk":
            return not activity.ai or "risk" in dict(activity.ai)
        case _:
            return key in ("data", "operation", "activity", "action")


def _holds(key: str, words: frozenset[str], activity: Activity, seen: Iterable[str]) -> bool:
    match key:
        case "data":
            return not words.isdisjoint(expand(seen))
        case "operation":
            return activity.operation.value in words
        case "purpose":
            return activity.purpose in words
        case "basis":
            return activity.basis in words
        case "activity":
            return activity.name in words
        case "action":
            return not words.isdisjoint(activity.actions)
        case _:  # ai.risk
            return dict(activity.ai).get("risk") in words


def _at(key: str, words: frozenset[str], sink: Sink) -> bool:
    if key in _PLACES:
        place = {"sink.country": sink.place, "sink.provider": sink.provider, "sink.keys": sink.keys}[key]
        return any(within(place, word) for word in words)
    match key:
        case "sink":
            return sink.name in words
        case "sink.scope":
            return sink.scope in words
        case _:  # sink.encrypted
            return ("true" if sink.encrypted else "false") in words
