"""Each signal is told of once, and what is said to have been heard makes the very finding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from residency.jurisdiction.account import Voice, account
from residency.jurisdiction.resolve import presumption, resolve
from residency.model.finding import Anchor, Signal, Trust
from residency.model.subject import Pin

PLACES = ("VN", "DE", "US", "CA", "CA-QC")
signals = st.builds(
    Signal,
    st.sampled_from(Anchor),
    st.sampled_from(PLACES),
    st.sampled_from(Trust),
    st.sampled_from(["jwt", "address"]),
)
remembered = st.lists(
    st.tuples(st.sampled_from(Anchor), st.sampled_from(PLACES), st.sampled_from(Trust)), max_size=3
).map(tuple)


def pin_of(anchors: tuple[tuple[Anchor, str, Trust], ...]) -> Pin:
    return Pin("00", "VN", anchors, "00", "test", "00", 0)


@given(st.lists(signals, max_size=6), remembered)
def test_only_what_was_heard_makes_the_finding(
    said: list[Signal], anchors: tuple[tuple[Anchor, str, Trust], ...]
) -> None:
    pin = pin_of(anchors) if anchors else None
    told = account(said, pin)
    heard = {h.signal for h in told if not h.discarded}
    kept = tuple(
        (a, place, trust)
        for a, place, trust in anchors
        if any(s.source == "pin" and (s.anchor, s.place) == (a, place) for s in heard)
    )
    presume = presumption(())
    without = resolve([s for s in said if s in heard], pin_of(kept) if kept else None, presume)
    assert without == resolve(said, pin, presume)


@given(st.lists(signals, max_size=6))
def test_every_signal_is_told_of_once(said: list[Signal]) -> None:
    assert sorted(map(repr, (h.signal for h in account(said, None)))) == sorted(set(map(repr, said)))


def test_what_was_discarded_says_what_outranked_it() -> None:
    network = Signal(Anchor.RESIDENCE, "VN", Trust.NETWORK, "address")
    token = Signal(Anchor.RESIDENCE, "LA", Trust.VERIFIED, "jwt")
    cable = Signal(Anchor.CITIZENSHIP, "VN", Trust.NETWORK, "address")
    told = {h.signal: h for h in account([network, token, cable], None)}
    assert told[token].voice is Voice.SPOKE
    assert told[network].voice is Voice.OUTRANKED
    assert "`verified` outranks `network`" in told[network].because
    assert told[cable].voice is Voice.MAY_NOT_SPEAK


def test_two_sides_of_a_conflict_name_each_other() -> None:
    told = account(
        [Signal(Anchor.CITIZENSHIP, place, Trust.VERIFIED, "jwt") for place in ("VN", "US")],
        pin_of(((Anchor.TERRITORY, "VN", Trust.NETWORK),)),
    )
    conflicts = {h.signal.place: h.because for h in told if h.voice is Voice.CONFLICTS}
    assert "US" in conflicts["VN"]
    assert "VN" in conflicts["US"]
    assert [(h.signal.source, h.voice) for h in told if h.signal.anchor is Anchor.TERRITORY] == [("pin", Voice.SPOKE)]
