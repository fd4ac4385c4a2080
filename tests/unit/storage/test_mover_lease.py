"""One mover at a time: who lives is not disturbed, who has died is taken over, who was taken over begins nothing."""

from __future__ import annotations

import anyio
import pytest

from residency.adapters.pins_memory import PinsMemory
from residency.errors import PinsUnavailable, UsageError
from residency.model import Pin
from residency.storage import mover_lease
from residency.storage.mover_lease import MoverLease

pytestmark = pytest.mark.anyio
ONE, TWO = "1" * 32, "2" * 32


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mover_lease, "_LOOK", 0.01)
    monkeypatch.setattr(mover_lease, "_BEAT", 0.02)


def lease(pins: PinsMemory, holder: str, name: str = "here") -> MoverLease:
    return MoverLease(pins, lambda text: "f" * 64, holder, name, "VN")


async def test_while_one_lives_another_is_refused_and_told_who_it_is() -> None:
    pins = PinsMemory()
    async with lease(pins, ONE, "saigon, process 7").held():
        with pytest.raises(UsageError, match="saigon, process 7"):
            async with lease(pins, TWO).held():
                raise AssertionError("two at once")
    async with lease(pins, TWO).held():
        pass
    assert await pins.get("f" * 64) is None, "who has ended leaves nothing"


async def test_one_that_died_is_taken_over_once_it_was_silent_for_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mover_lease, "_DEAD", 0.1)
    pins = PinsMemory()
    dead = lease(pins, ONE, "saigon")
    await dead._take(lambda text: None)
    told: list[str] = []
    async with lease(pins, TWO).held(told.append):
        assert "saigon" in told[0]
        monkeypatch.setattr(mover_lease, "_STALE", 0.0)
        await anyio.sleep(0.01)
        with pytest.raises(UsageError, match="another move is on: here"):
            await dead.hold()


async def test_the_next_run_with_the_same_journal_need_not_wait() -> None:
    pins = PinsMemory()
    await lease(pins, ONE)._take(lambda text: None)
    told: list[str] = []
    async with lease(pins, ONE).held(told.append):
        pass
    assert told == []


async def test_who_is_taken_over_is_ended() -> None:
    pins = PinsMemory()

    async def work() -> None:
        async with lease(pins, ONE).held():
            found = await pins.get("f" * 64)
            assert found is not None
            await pins.put(Pin("f" * 64, "VN", (), TWO, "move on there", "", 0, found.version + 1))
            await anyio.sleep(30)

    with pytest.raises(UsageError, match="another move is on: there"):
        await work()
    left = await pins.get("f" * 64)
    assert left is not None
    assert left.alias == TWO, "what is theirs stays"


async def test_erasures_wait_for_each_other_and_for_a_move_so_long_and_no_longer() -> None:
    pins = PinsMemory()
    order: list[str] = []

    def erasure(holder: str, patience: float = 5.0) -> MoverLease:
        return MoverLease(pins, lambda text: "f" * 64, holder, "here", "VN", what="erasure", patience=patience)

    async def erase(holder: str) -> None:
        async with erasure(holder).held():
            order.append(f"begun {holder[0]}")
            await anyio.sleep(0.05)
            order.append(f"ended {holder[0]}")

    async with anyio.create_task_group() as group:
        for holder in "3456":
            group.start_soon(erase, holder * 32)
    assert len(order) == 8
    assert all(a.removeprefix("begun") == b.removeprefix("ended") for a, b in zip(order[::2], order[1::2], strict=True))

    async with lease(pins, ONE).held():
        with pytest.raises(UsageError, match="another move is on: here"):
            async with erasure(TWO, 0.05).held():
                raise AssertionError("two at once")
    async with erasure(TWO).held():
        with pytest.raises(UsageError, match="another erasure is on: here"):
            async with lease(pins, ONE).held():
                raise AssertionError("two at once")


class Away(PinsMemory):
    """Pins that take nothing once they are away."""

    away = False

    async def put(self, pin: Pin) -> None:
        if self.away:
            raise PinsUnavailable("away")
        await super().put(pin)


async def test_who_cannot_renew_it_begins_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    pins = Away()
    ours = lease(pins, ONE)
    async with ours.held():
        await ours.hold()
        monkeypatch.setattr(mover_lease, "_STALE", 0.0)
        pins.away = True
        await anyio.sleep(0.01)
        with pytest.raises(PinsUnavailable):
            await ours.hold()
