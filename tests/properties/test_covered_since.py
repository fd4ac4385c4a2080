"""What was written under a law stays covered by it: a pin alone tells of every law that covered any write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from residency.jurisdiction.account import account
from residency.jurisdiction.pins import first_pin, strengthened, widened
from residency.jurisdiction.resolve import presumption, resolve
from residency.model.finding import Anchor, Presume, Signal, Trust
from residency.model.subject import Pin

Presumption = tuple[tuple[Anchor, Presume], ...]
Remembered = tuple[tuple[Anchor, str, Trust], ...]

PLACES = ("VN", "DE", "FR", "EU", "US", "CA", "CA-QC", "CA-ON")
places = st.sampled_from(PLACES)
anchors = st.sampled_from(Anchor)
signals = st.lists(st.builds(Signal, anchors, places, st.sampled_from(Trust), st.just("test")), max_size=6)
remembered = st.none() | st.lists(st.tuples(anchors, places, st.sampled_from(Trust)), max_size=4).map(tuple)
presumptions = st.dictionaries(anchors, st.sampled_from(Presume)).map(lambda d: presumption(tuple(d.items())))


def pin_of(kept: Remembered | None) -> Pin | None:
    return None if kept is None else Pin("00", "US", kept, "00", "test", "00", 0)


def covered(
    said: Sequence[Signal], pin: Pin | None, presume: Presumption, *, conflicts: bool
) -> set[tuple[str, Anchor]]:
    finding = resolve(said, pin, presume, conflicts_presumed=conflicts)
    return {(law, anchor) for law in PLACES for anchor in Anchor if finding.covered(law, anchor)}


@given(remembered, st.lists(signals, min_size=1, max_size=5), presumptions, st.booleans())
def test_a_pin_alone_tells_of_every_law_that_any_signal_of_any_write_let_cover(
    kept: Remembered | None, writes: list[list[Signal]], presume: Presumption, conflicts: bool
) -> None:
    pin = pin_of(kept)
    owed = set()
    for said in writes:
        finding = resolve(said, pin, presume, conflicts_presumed=conflicts)
        owed |= {
            (law, anchor) for law in PLACES for anchor in Anchor if finding.covered_how(law, anchor) == (True, False)
        }
        if pin is None:
            pin = first_pin("00", "US", finding, alias="00", set_by="first_write", policy="00", at=0)
        else:
            pin = strengthened(pin, said, policy="00", at=0) or pin
            pin = widened(pin, finding, policy="00", at=0) or pin
        assert owed <= covered((), pin, presume, conflicts=conflicts)
        assert pin.home == "US"
        assert widened(pin, finding, policy="00", at=0) is None  # once for each person and place


@given(remembered, signals, signals, presumptions, st.booleans())
def test_a_pin_that_tells_of_more_places_adds_their_laws_and_changes_no_other(
    kept: Remembered | None, wrote: list[Signal], later: list[Signal], presume: Presumption, conflicts: bool
) -> None:
    pin = pin_of(kept or ())
    assert pin is not None
    wider = widened(pin, resolve(wrote, pin, presume, conflicts_presumed=conflicts), policy="00", at=0)
    if wider is None:
        return
    before, after = (covered(later, each, presume, conflicts=conflicts) for each in (pin, wider))
    assert before <= after
    added = {place for anchor, place, trust in wider.anchors if (anchor, place, trust) not in pin.anchors}
    alone = covered(
        (), pin_of(tuple((anchor, p, Trust.HINT) for p in added for anchor in Anchor)), _NOBODY, conflicts=False
    )
    assert after - before <= alone
    assert replace(wider, anchors=pin.anchors, version=1, set_by="test") == pin


@given(remembered, signals, presumptions)
def test_a_hint_of_a_pin_is_told_of_as_heard(kept: Remembered | None, said: list[Signal], presume: Presumption) -> None:
    pin = pin_of(kept or ())
    assert pin is not None
    hints = {(anchor, place) for anchor, place, trust in pin.anchors if trust is Trust.HINT}
    heard = {
        (h.signal.anchor, h.signal.place) for h in account(said, pin) if h.signal.source == "pin" and not h.discarded
    }
    assert hints <= heard


_NOBODY = presumption(tuple((anchor, Presume.NOT_COVERED) for anchor in Anchor))
