"""What was written under a law stays covered by it: a pin alone tells of every law that covered any write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.adapters.sink_memory import MemorySink
from residency.enforcement.point import Request
from residency.jurisdiction.account import account
from residency.jurisdiction.pins import first_pin, strengthened, widened
from residency.jurisdiction.resolve import presumption, resolve
from residency.model.finding import Anchor, Finding, Presume, Signal, Trust
from residency.model.subject import Pin
from residency.signals.peer import ClientAddress
from residency.storage.judged import Found, Lying
from residency.wiring.deciding import CopyDeciding
from tests.world import SG, VN, Deployed, handling, load_policy, write_deployment

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


# -- the same of a whole pipeline --------------------------------------------------------------------------------------

DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn]}
activities:
  - {route: "POST /people", subject: app, data: [personal], operation: write, store: people}
  - {route: "GET /people", subject: none, data: [personal], operation: read, store: people}
"""
LAWS = ("VN", "SG", "DE")
RULE = """
  - id: test.{law}.{anchor}
    article: art. 1
    text: It is kept for a while.
    applies: {{anchor: {anchor}, data: [personal]}}
    duty: {{retain: [{{at_least: 24 months, from: last_use}}]}}
"""


class Seen:
    """A network of which a test says what it says."""

    def __init__(self) -> None:
        self.said: tuple[Signal, ...] = ()

    def signals_of(self, client: ClientAddress) -> tuple[Signal, ...]:
        """What a test said."""
        return self.said


class Pipeline(Deployed):
    """One enforcement point under three laws that each say that they cover somebody, and nothing else."""

    def __init__(self, folder: Path) -> None:
        laws = [f"{law.lower()}/test" for law in LAWS]
        file = write_deployment(folder, DEPLOYMENT, [], [("laws: [vn/test]", f"laws: [{', '.join(laws)}]")])
        text = (folder / "laws" / "vn" / "test.yaml").read_text()
        for law in LAWS:
            (folder / "laws" / law.lower()).mkdir(exist_ok=True)
            rules = "".join(RULE.format(law=law.lower(), anchor=anchor.value) for anchor in Anchor)
            told = text.replace("jurisdiction: VN", f"jurisdiction: {law}")
            (folder / "laws" / law.lower() / "test.yaml").write_text(told + rules)
        self.seen = Seen()
        super().__init__(load_policy(file), [MemorySink("sg", SG), MemorySink("vn", VN)], network=self.seen)
        self.copying = CopyDeciding("people", lambda: self.point, bytes(32))
        self.people = 0

    async def write(
        self, who: str, network: tuple[Trust, str] | None, claims: Mapping[str, str], *, verified: bool
    ) -> Finding:
        """One write; what was found of who wrote."""
        self.seen.said = ()
        if network is not None:
            trust, place = network
            self.seen.said = tuple(Signal(a, place, trust, "address") for a in (Anchor.TERRITORY, Anchor.COLLECTION))
        with handling(self.point.admit(Request("POST", "/people", b"/people", (), ("9.9.9.9", 5)))) as here:
            await here.identify(who, claims, verified=verified)
            act = here.begin("people", "sg")
            await act.confirm()
            act.outcome("committed")
            return here.decision.finding

    async def judged(self, who: str) -> dict[str, set[str]]:
        """Under which laws a copier, a list and whoever reads of somebody judge what they wrote."""
        self.seen.said = ()
        owner = (await self.copying.owners([who]))[who]
        activity = self.policy.deployment.activities[0]
        copied = self.policy.decide(activity, owner.person.finding, frozenset(), self.facts.current(), self.clock.now())
        with handling(self.point.admit(Request("GET", "/people", b"/people", (), ("9.9.9.9", 5)))) as here:
            about = await here.about(who)
            lying = Lying(here, {"sg": "SG", "vn": "VN"})
            await lying.look([("sg", Found(None, (), who))])
            listed = lying._of[who].here.decision
        decisions = {"copied": copied, "listed": listed, "read": about.decision}
        return {what: set(decision.jurisdictions) for what, decision in decisions.items()}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A pipeline in which nobody was seen yet."""
    return Pipeline(tmp_path_factory.mktemp("pipeline"))


networks = st.none() | st.tuples(st.sampled_from([Trust.HINT, Trust.NETWORK]), st.sampled_from(LAWS))
claims = st.dictionaries(st.sampled_from(["citizenship", "residence"]), st.sampled_from(LAWS))


@given(st.lists(st.tuples(networks, claims, st.booleans()), min_size=1, max_size=4))
def test_what_is_copied_listed_and_read_is_judged_under_every_law_that_covered_a_write(
    pipeline: Pipeline, writes: list[tuple[tuple[Trust, str] | None, dict[str, str], bool]]
) -> None:
    async def lived() -> None:
        pipeline.people += 1
        who = chr(0x4E00 + pipeline.people)  # the digest of tests adds letters up
        owed: set[str] = set()
        for network, claimed, verified in writes:
            finding = await pipeline.write(who, network, claimed, verified=verified)
            owed |= {law for law in LAWS for anchor in Anchor if finding.covered_how(law, anchor) == (True, False)}
            for what, laws in (await pipeline.judged(who)).items():
                assert owed <= laws, what

    asyncio.run(lived())
