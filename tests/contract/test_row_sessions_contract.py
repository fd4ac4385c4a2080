"""What routed sessions promise, over each database and driver: real files, real servers, the real point.

On asyncio alone, for the SQL drivers know no other loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import anyio.to_thread
import pytest
from sqlalchemy import event, func, insert, select, text
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.util import await_only

from residency.adapters.sink_sql import SqlSink
from residency.enforcement.context import identify
from residency.errors import (
    JournalFailed,
    NoDecision,
    Refused,
    SubjectUnknown,
    UnknownStore,
    UsageError,
)
from residency.integrations.sqlalchemy import async_sessionmaker, sessionmaker
from residency.storage.handle import GATED
from tests.rows import BACKENDS, Note, Person, Rows, Session, opened, places_of
from tests.world import SINGAPORE

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that the SQL drivers run on."""
    return "asyncio"


@pytest.fixture(params=BACKENDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rows]:
    """A world whose tables are made."""
    async with opened(Rows(tmp_path, places_of(request.param, tmp_path, request))) as made:
        yield made


async def test_a_covered_persons_row_goes_home_and_another_persons_to_the_first_sink(world: Rows) -> None:
    with world.request():
        async with Session.begin() as session:
            session.add(Person(name="An"))
    with world.request(who="tan", address=SINGAPORE):
        async with Session.begin() as session:
            session.add(Person(name="Tan"))
    assert (world.names("vn"), world.names("sg")) == (["An"], ["Tan"])
    assert world.acts() == [("people-vn", "committed"), ("people-sg", "committed")]


async def test_a_sink_asked_for_by_name_is_that_one_or_a_refusal(world: Rows) -> None:
    singapore = async_sessionmaker("people", sink="people-sg")
    with world.request(), pytest.raises(Refused) as refused:
        async with singapore.begin() as session:
            session.add(Person(name="An"))
    assert refused.value.rules == ("test.home",)
    with world.request(who="tan", address=SINGAPORE):
        async with singapore.begin() as session:
            session.add(Person(name="Tan"))
            await session.flush()
    assert (world.acts(), world.names("sg")) == ([("people-sg", "committed")], ["Tan"])


async def test_the_first_write_pins_the_home_and_later_requests_from_abroad_follow_it(world: Rows) -> None:
    with world.request() as here:
        async with Session.begin() as session:
            session.add(Person(name="An"))
        digest = here.subject_digest
    pin = await world.pins.get(str(digest))
    assert pin is not None
    assert pin.home == "VN"
    with world.request("GET", address=SINGAPORE):
        async with Session() as session:
            assert await session.scalar(select(Person.name)) == "An"
    assert world.acts()[-1] == ("people-vn", "committed")


async def test_outside_a_request_nothing_opens(world: Rows) -> None:
    async with Session() as session:
        with pytest.raises(NoDecision):
            await session.execute(select(Person))
        session.add(Person(name="Nobody"))
        with pytest.raises(NoDecision):
            await session.commit()
    assert world.names("vn") + world.names("sg") == []
    assert world.acts() == []


async def test_a_store_that_the_activity_does_not_name_does_not_open(world: Rows) -> None:
    with world.request("POST", "/uploads"):
        async with Session() as session:
            with pytest.raises(UnknownStore):
                await session.execute(select(Person))


async def test_a_covered_store_opens_only_once_the_subject_is_known(world: Rows) -> None:
    with world.request("POST", "/sign-up", who=""):
        async with Session() as session:
            with pytest.raises(SubjectUnknown):
                await session.execute(select(Person))
        await identify("an")
        async with Session.begin() as session:
            session.add(Person(name="An"))
    assert world.names("vn") == ["An"]


async def test_a_rollback_writes_nothing_and_says_so(world: Rows) -> None:
    with world.request():
        async with Session() as session:
            session.add(Person(name="An"))
            await session.flush()
            await session.rollback()
    assert world.names("vn") == []
    assert world.acts() == [("people-vn", "rolled_back")]


async def test_closing_without_a_commit_is_a_rollback(world: Rows) -> None:
    with world.request():
        async with Session() as session:
            session.add(Person(name="An"))
            await session.flush()
    assert world.names("vn") == []
    assert world.acts() == [("people-vn", "rolled_back")]


async def test_an_error_in_the_handler_rolls_back(world: Rows) -> None:
    async def handler() -> None:
        async with Session.begin() as session:
            session.add(Person(name="An"))
            await session.flush()
            raise KeyError("the handler fails")

    with world.request(), pytest.raises(KeyError):
        await handler()
    assert world.names("vn") == []
    assert world.acts() == [("people-vn", "rolled_back")]


async def test_each_transaction_is_an_act_of_its_own(world: Rows) -> None:
    with world.request():
        async with Session() as session:
            session.add(Person(name="An"))
            await session.commit()
            session.add(Person(name="Binh"))
            await session.commit()
    assert world.names("vn") == ["An", "Binh"]
    assert world.acts() == [("people-vn", "committed")] * 2


async def test_a_savepoint_neither_confirms_nor_settles_the_act(world: Rows) -> None:
    with world.request():
        async with Session.begin() as session:
            session.add(Person(name="An"))
            async with session.begin_nested():
                session.add(Person(name="Binh"))
            assert world.acts() == [("people-vn", None)]
            inner = await session.begin_nested()
            session.add(Person(name="Chi"))
            await session.flush()
            await inner.rollback()
            assert world.acts() == [("people-vn", None)]
    assert world.names("vn") == ["An", "Binh"]
    assert world.acts() == [("people-vn", "committed")]


async def test_a_savepoint_that_held_is_rolled_back_with_the_rest(world: Rows) -> None:
    with world.request():
        async with Session() as session:
            async with session.begin_nested():
                session.add(Person(name="An"))
            await session.rollback()
    assert world.acts() == [("people-vn", "rolled_back")]


async def test_intent_and_outcome_of_a_write_survive_a_power_cut_before_the_app_goes_on(world: Rows) -> None:
    with world.request():
        async with Session.begin() as session:
            session.add(Person(name="An"))
    assert world.acts() == [("people-vn", "committed")]
    assert world.journal.durable == len(world.journal.records)


async def test_a_stop_order_before_the_commit_stops_it(world: Rows) -> None:
    with world.request():
        async with Session() as session:
            session.add(Person(name="An"))
            await session.flush()
            world.stop("people-vn")
            with pytest.raises(Refused):
                await session.commit()
            # The act has told that it failed. Nothing this session still does may make that false.
            with pytest.raises(UsageError, match="roll it back"):
                await session.commit()
            with pytest.raises(UsageError, match="roll it back"):
                await session.execute(select(Person))
            await session.rollback()
    assert world.names("vn") == []
    assert world.acts() == [("people-vn", "failed")]


async def test_another_home_at_the_commit_than_at_the_first_use_stops_it(world: Rows) -> None:
    with world.request(who="tan", address=SINGAPORE) as here:
        async with Session.begin() as session:
            session.add(Person(name="Tan"))
        digest = str(here.subject_digest)
    with world.request(who="tan", address=SINGAPORE):
        async with Session() as session:
            session.add(Person(name="Tan again"))
            await session.flush()
            await world.point.homes.move(digest, "VN", "ticket 1")
            with pytest.raises(Refused) as refused:
                await session.commit()
    assert refused.value.reason == "facts_moved"
    assert (world.names("vn"), world.names("sg")) == ([], ["Tan"])
    assert [act for act in world.acts() if act[0] == "people-sg"] == [
        ("people-sg", "committed"),
        ("people-sg", "failed"),
    ]


async def test_an_epoch_that_moved_decides_again_and_what_is_still_permitted_is_written(world: Rows) -> None:
    with world.request() as here:
        async with Session() as session:
            session.add(Person(name="An"))
            await session.flush()
            before = here.decision
            world.stop("people-sg")  # another sink's: the decision is another one, and this sink's verdict is not
            await session.commit()
        assert here.decision is not before
    assert world.names("vn") == ["An"]
    assert world.acts() == [("people-vn", "committed")]


async def test_a_journal_that_fails_before_the_commit_stops_it(world: Rows) -> None:
    with world.request():
        async with Session() as session:
            session.add(Person(name="An"))
            await session.flush()
            world.journal.fail()
            with pytest.raises(JournalFailed):
                await session.commit()
            with pytest.raises(UsageError):
                await session.commit()
            with pytest.raises(JournalFailed):
                await session.rollback()
    assert world.names("vn") == []
    assert world.acts() == [("people-vn", None)]


async def test_a_journal_that_fails_after_the_commit_leaves_an_open_intent(world: Rows) -> None:
    with world.request():
        async with Session() as session:
            session.add(Person(name="An"))
            # The driver's own commit hook: the last moment before COMMIT, after the act was confirmed.
            event.listen(world.vn.bind(read_only=False, blocking=False), "commit", lambda _: world.journal.fail())
            with pytest.raises(JournalFailed):
                await session.commit()
    assert world.names("vn") == ["An"]
    assert world.acts() == [("people-vn", None)]


async def test_a_commit_without_an_answer_leaves_an_open_intent_and_no_false_word(world: Rows) -> None:
    with world.request():
        async with Session() as session:
            session.add(Note(person="nobody"))  # found out at COMMIT, where an error may mean anything
            with pytest.raises(IntegrityError):
                await session.commit()
    assert world.acts() == [("people-vn", None)]


async def test_a_hook_of_the_apps_own_that_fails_leaves_a_rollback_and_no_open_intent(world: Rows) -> None:
    def refuse(_: object) -> None:
        raise KeyError("the app's own check")

    with world.request():
        async with Session() as session:
            event.listen(session.sync_session, "before_commit", refuse)
            session.add(Person(name="An"))
            with pytest.raises(KeyError):
                await session.commit()
    assert world.names("vn") == []
    assert world.acts() == [("people-vn", "rolled_back")]


async def test_a_stop_order_that_comes_while_a_hook_of_the_apps_own_works_stops_the_commit(world: Rows) -> None:
    with world.request():
        async with Session() as session:
            event.listen(session.sync_session, "before_commit", lambda _: world.stop("people-vn"))
            session.add(Person(name="An"))
            with pytest.raises(Refused):
                await session.commit()
            await session.rollback()
    assert world.names("vn") == []
    assert world.acts() == [("people-vn", "failed")]


async def test_a_hook_of_the_apps_own_that_identifies_another_subject_commits_nothing(world: Rows) -> None:
    with world.request("POST", "/sign-up", who=""):
        await identify("an")
        async with Session() as session:
            event.listen(session.sync_session, "before_commit", lambda _: await_only(identify("tan")))
            session.add(Person(name="An"))
            with pytest.raises(UsageError, match="another"):
                await session.commit()
    assert world.names("vn") == []
    assert world.acts() == [("people-vn", "rolled_back")]


async def test_what_a_hook_of_the_apps_own_writes_belongs_to_the_act_also_where_nothing_else_does(world: Rows) -> None:
    with world.request():
        for first in ([Person(name="An")], []):
            async with Session() as session:
                late = Person(name=f"late {len(first)}")
                event.listen(session.sync_session, "before_commit", lambda sync, late=late: sync.add(late), once=True)
                session.add_all(first)
                await session.commit()
    assert sorted(world.names("vn")) == ["An", "late 0", "late 1"]
    assert world.acts() == [("people-vn", "committed")] * 2


async def test_a_hook_of_the_apps_own_that_commits_the_connection_is_no_rollback(world: Rows) -> None:
    with world.request():
        async with Session() as session:
            event.listen(session.sync_session, "before_commit", lambda sync: sync.connection().commit())
            session.add(Person(name="An"))
            with suppress(InvalidRequestError):
                await session.commit()
    assert world.names("vn") == ["An"]
    assert world.acts()[0][1] in ("committed", None)


async def test_a_mistake_in_the_data_is_the_apps_own_error_and_a_rollback(world: Rows) -> None:
    with world.request():
        async with Session() as session:
            session.add_all([Person(name="Secret Name"), Person(name="Secret Name")])
            with pytest.raises(IntegrityError) as caught:
                await session.commit()
    assert "Secret Name" not in str(caught.value)
    assert world.acts() == [("people-vn", "rolled_back")]


async def test_a_session_opened_for_one_subject_is_of_no_use_to_another(world: Rows) -> None:
    async with Session() as session:
        with world.request():
            session.add(Person(name="An"))
            await session.flush()
        with world.request(who="tan", address=SINGAPORE):
            with pytest.raises(UsageError, match="another"):
                await session.execute(select(Person))
            with pytest.raises(UsageError, match="another"):
                await session.commit()
        with pytest.raises(NoDecision):
            await session.commit()
    assert world.names("vn") + world.names("sg") == []
    assert world.acts() == [("people-vn", "rolled_back")]


async def test_a_session_opened_under_one_decision_is_of_no_use_under_the_next(world: Rows) -> None:
    async with Session() as session:
        with world.request():
            session.add(Person(name="An"))
            await session.flush()
        with world.request(), pytest.raises(UsageError, match="another"):
            await session.commit()
    assert world.names("vn") == []


async def test_a_session_holds_its_subject_past_a_commit_and_forgets_it_when_closed(world: Rows) -> None:
    session = Session()
    with world.request():
        session.add(Person(name="An"))
        await session.commit()
    with world.request(who="tan", address=SINGAPORE):
        with pytest.raises(UsageError, match="another"):
            await session.execute(select(Person))
        await session.close()
        session.add(Person(name="Tan"))
        await session.commit()
        await session.close()
    assert (world.names("vn"), world.names("sg")) == (["An"], ["Tan"])


async def test_identifying_another_subject_in_between_is_an_error(world: Rows) -> None:
    with world.request("POST", "/sign-up", who=""):
        await identify("an")
        async with Session() as session:
            session.add(Person(name="An"))
            await session.flush()
            await identify("tan")
            with pytest.raises(UsageError, match="another"):
                await session.commit()
    assert world.names("vn") == []


@pytest.mark.parametrize(
    "statement",
    [
        insert(Person).values(id="1", name="x"),
        text("INSERT INTO person VALUES ('1', 'x')"),
        text("WITH q AS (SELECT '1', 'x') INSERT INTO person SELECT * FROM q"),
        text("DROP TABLE note"),
    ],
    ids=["core", "text", "with", "ddl"],
)
async def test_an_activity_that_reads_cannot_change_a_row_by_any_statement(world: Rows, statement: object) -> None:
    with world.request("GET"):
        async with Session() as session:
            with pytest.raises(UsageError, match="only reads"):
                await session.execute(statement)  # type: ignore[call-overload]
    assert world.names("vn") == []


async def test_an_activity_that_reads_flushes_nothing(world: Rows) -> None:
    with world.request("GET"):
        async with Session() as session:
            session.add(Person(name="An"))
            with pytest.raises(UsageError, match="declared read"):
                await session.commit()
    assert world.names("vn") == []


@pytest.mark.parametrize("leaving", ["close", "commit", "rollback"])
async def test_a_read_ends_as_done_however_it_is_left(world: Rows, leaving: str) -> None:
    with world.request("GET"):
        session = Session()
        assert await session.scalar(select(func.count()).select_from(Person)) == 0
        await getattr(session, leaving)()
        await session.close()
    assert world.acts() == [("people-vn", "committed")]


async def test_a_stop_order_between_decision_and_first_read_stops_the_read(world: Rows) -> None:
    with world.request("GET"):
        world.stop("people-vn")
        async with Session() as session:
            with pytest.raises(Refused):
                await session.execute(select(Person))
    assert world.acts() == []


async def test_a_stop_order_that_comes_while_a_connection_is_taken_stops_the_read(world: Rows) -> None:
    engine = world.vn.bind(read_only=True, blocking=False)
    event.listen(engine, "begin", lambda _: world.stop("people-vn"))
    with world.request("GET"):
        async with Session() as session:
            with pytest.raises(Refused):
                await session.execute(select(Person))
    assert world.acts() == [("people-vn", "failed")]


async def test_a_session_works_on_no_engine_that_does_not_ask_it(world: Rows) -> None:
    delattr(world.vn.bind(read_only=True, blocking=False), GATED)
    with world.request("GET"):
        async with Session() as session:
            with pytest.raises(UsageError, match="asks its sessions"):
                await session.execute(select(Person))
    assert world.acts() == [("people-vn", "failed")]


async def test_a_connection_taken_out_of_the_session_does_not_commit_past_it(world: Rows) -> None:
    with world.request():
        async with Session() as session:
            connection = await session.connection()
            await connection.execute(insert(Person).values(id="1", name="An"))
            with pytest.raises(UsageError, match="by the session"):
                await connection.commit()
    assert world.names("vn") == []
    assert world.acts() == [("people-vn", "rolled_back")]


async def test_a_connection_taken_out_of_the_session_serves_its_subject_alone(world: Rows) -> None:
    with world.request(who="tan", address=SINGAPORE):
        async with Session() as session:
            connection = await session.connection()
            await connection.execute(insert(Person).values(id="tan", name="Tan"))
            with world.request(who="an"), pytest.raises(UsageError, match="used for another"):
                await connection.execute(insert(Person).values(id="an", name="An"))
            await session.commit()
    assert (world.names("vn"), world.names("sg")) == ([], ["Tan"])
    assert world.acts() == [("people-sg", "committed")]


async def test_savepoints_of_the_sessions_own_are_none_of_those_statements(world: Rows) -> None:
    with world.request():
        async with Session.begin() as session:
            async with session.begin_nested():
                session.add(Person(name="An"))
            nested = await session.begin_nested()
            session.add(Person(name="Binh"))
            await nested.rollback()
    assert world.names("vn") == ["An"]


async def test_an_engine_kept_from_another_request_commits_nothing_in_this_one(world: Rows) -> None:
    with world.request(address=SINGAPORE, who="us"):
        async with Session.begin() as session:
            session.add(Person(name="Us"))
            kept = (await session.connection()).engine
    with world.request(who="an"):
        for engine, why in ((kept, "taken out"), (world.sg.engine, "only a routed session or a confirmed act")):
            with pytest.raises(UsageError, match=why):
                async with engine.begin() as connection:
                    await connection.execute(text("INSERT INTO person VALUES ('9', 'An')"))
        await world.stores.ping()
    assert world.names("sg") == ["Us"]


async def test_an_act_by_hand_commits_to_its_own_sink_between_confirmation_and_outcome(world: Rows) -> None:
    async def write(sink: SqlSink) -> None:
        async with sink.engine.begin() as connection:
            await connection.execute(text("DELETE FROM person"))
            await connection.execute(text("INSERT INTO person VALUES ('1', 'An')"))

    with world.request() as here:
        act = here.store("people").begin()
        with pytest.raises(UsageError, match="confirmed act"):
            await write(world.vn)
        await act.confirm()
        with pytest.raises(UsageError, match="confirmed act"):
            await write(world.sg)
        await write(world.vn)
        act.outcome("committed")
        with pytest.raises(UsageError, match="confirmed act"):
            await write(world.vn)
    assert (world.names("vn"), world.names("sg")) == (["An"], [])


async def test_the_handles_own_session_is_routed_alike(world: Rows) -> None:
    with world.request() as here:
        async with here.store("people").session() as session:
            session.add(Person(name="An"))
            await session.commit()
    assert world.names("vn") == ["An"]


async def test_a_blocking_session_works_in_a_thread_pool_function(world: Rows) -> None:
    make = sessionmaker("people")

    def endpoint() -> int:
        with make.begin() as session:
            session.add(Person(name="An"))
        with make() as session:
            return session.scalar(select(func.count()).select_from(Person)) or 0

    with world.request():
        assert await anyio.to_thread.run_sync(endpoint) == 1
    assert world.names("vn") == ["An"]
    assert world.acts() == [("people-vn", "committed"), ("people-vn", "rolled_back")]


async def test_a_blocking_session_works_in_any_thread_that_carries_the_context(world: Rows) -> None:
    def endpoint() -> None:
        with sessionmaker("people").begin() as session:
            session.add(Person(name="An"))

    with world.request():
        await asyncio.to_thread(endpoint)
        with pytest.raises(NoDecision):
            await asyncio.get_running_loop().run_in_executor(None, endpoint)
    assert world.names("vn") == ["An"]
    assert world.acts() == [("people-vn", "committed")]


async def test_a_blocking_session_on_the_event_loop_is_an_error_and_writes_nothing(world: Rows) -> None:
    with world.request(), sessionmaker("people")() as session:
        session.add(Person(name="An"))
        with pytest.raises(UsageError, match="thread"):
            session.commit()
    assert world.names("vn") == []
