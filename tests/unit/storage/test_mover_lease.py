"""One mover at a time: who lives is not disturbed, who has died is taken over, who was taken over begins nothing."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import TaskGroup

from residency.adapters.pins_memory import PinsMemory
from residency.errors import PinsUnavailable, UsageError
from residency.model import Pin
from residency.storage import mover_lease
from residency.storage.mover_lease import MoverLease

pytestmark = pytest.mark.anyio
ONE, TWO = "1" * 32, "2" * 32


def digest(text: str) -> str:
    """Of who moves, and of who waits."""
    return ("f" if text == mover_lease._MARK else "e") * 64


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mover_lease, "_LOOK", 0.01)
    monkeypatch.setattr(mover_lease, "_BEAT", 0.02)


def lease(pins: PinsMemory, holder: str, name: str = "here") -> MoverLease:
    return MoverLease(pins, digest, holder, name, "VN")


def erasure(pins: PinsMemory, holder: str, patience: float = 30.0) -> MoverLease:
    """Who erases. The mark of who waits is another than that of who moves."""
    return MoverLease(pins, digest, holder, "hue", "VN", what="erasure", patience=patience)


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

    async def erase(holder: str) -> None:
        async with erasure(pins, holder).held():
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
            async with erasure(pins, TWO, 0.05).held():
                raise AssertionError("two at once")
    async with erasure(pins, TWO).held():
        with pytest.raises(UsageError, match="another erasure is on: hue"):
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


async def test_a_move_lets_an_erasure_in_between_two_batches_and_goes_on_afterwards() -> None:
    pins, order = PinsMemory(), list[str]()
    ours = MoverLease(pins, digest, ONE, "saigon", "VN")

    async def erase() -> None:
        async with erasure(pins, TWO).held():
            order.append("erased")
            await anyio.sleep(0.1)
            order.append("ended")

    async with ours.held(), anyio.create_task_group() as group:
        group.start_soon(erase)
        with anyio.fail_after(20):
            while not ours.asked:  # noqa: ASYNC110 - a pin
                await anyio.sleep(0.01)
        assert order == [], "a batch is under way"
        await ours.hold()
        await ours.give_way()
        assert order == ["erased", "ended"]
        await ours.hold()
        await anyio.sleep(0.2)
        assert not ours.asked
        with pytest.raises(UsageError, match="another move is on: saigon"):
            async with MoverLease(pins, digest, "3" * 32, "there", "VN").held():
                raise AssertionError("two at once")
    assert [await pins.get("f" * 64), await pins.get("e" * 64)] == [None, None]


async def test_who_waited_and_was_killed_holds_up_nobody() -> None:
    pins = PinsMemory()
    await erasure(pins, TWO)._ask()
    ours = MoverLease(pins, digest, ONE, "saigon", "VN")
    async with ours.held():
        await anyio.sleep(0.2)
        assert not ours.asked


async def test_who_gave_way_to_nobody_goes_on_and_one_to_whom_another_move_came_first_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mover_lease, "_WAY", 0.05)
    pins = PinsMemory()

    async def there() -> None:
        while await pins.get("f" * 64) is not None:  # noqa: ASYNC110 - a pin
            await anyio.sleep(0.001)
        async with lease(pins, TWO, "there").held():
            await anyio.sleep(30)

    async def here(group: TaskGroup) -> None:
        ours = lease(pins, ONE)
        async with ours.held():
            await ours.give_way()
            await ours.hold()
            monkeypatch.setattr(mover_lease, "_WAY", 10.0)
            group.start_soon(there)
            await ours.give_way()

    async with anyio.create_task_group() as group:
        with pytest.raises(UsageError, match="another move is on: there"):
            await here(group)
        group.cancel_scope.cancel()
