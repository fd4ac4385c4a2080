"""Jobs in, at a subject's home; the same out, at least once, to a worker of that place and to no other.

A job is taken, done, and finished. One that was taken and not finished (its worker died, or raised) is handed out again
after a while, so what a job does must bear being done twice. The queue's key has the home in it, and the job says its
home besides: a worker abroad asks for another key, and were it handed the job all the same it would not take it.

A job that is handed to the app is an act: an intent before, and an outcome once it is finished (`committed`), was left
with an error (`failed`, it comes again) or nobody knows (`unknown`). No request is behind it, so it is told as an
operator's act, under the alias of whose job it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from residency.enforcement.admission import MISPLACED
from residency.enforcement.ports import SinkPort
from residency.enforcement.upkeep import Upkeep, UpkeepAct
from residency.errors import SinkUnavailable, UsageError
from residency.model import Operation, SubjectId
from residency.model.place import is_place

if TYPE_CHECKING:
    from residency.enforcement.point import EnforcementPoint

__all__ = [
    "Delivery",
    "Job",
    "QueueSink",
    "Worker",
    "check_queue",
    "format_job",
    "is_of",
    "queue_key",
    "queues_of",
    "whose",
]

_WORD: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_DEAD: Final = b":dead"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A job as a sink hands it out: its id, its bytes, and for how many times now, counted from 1."""

    id: str
    job: bytes = field(repr=False)
    times: int = 1


@runtime_checkable
class QueueSink(SinkPort, Protocol):
    """A sink of queues. Each raises SinkUnavailable, within a bounded time."""

    async def push(self, queue: bytes, job: bytes) -> str:
        """Put a job at the end; its id."""

    async def pull(self, queue: bytes, worker: str, idle: int, wait: int) -> Delivery | None:
        """Hand the next job to `worker`: one that was handed to somebody `idle` milliseconds ago and is not finished,
        else a new one, waited for `wait` milliseconds. Of many that ask at once one is handed it."""

    async def finish(self, queue: bytes, job: str) -> bool:
        """Take a job away that is done; whether it was there."""

    async def depth(self, queue: bytes) -> int:
        """How many jobs are not finished."""

    async def purge(self, queues: bytes, theirs: Callable[[bytes], bool]) -> int:
        """Take away, of every queue whose key begins with `queues`, each job of which `theirs` says so; how many. It
        reads all jobs that lie there, those that a worker holds and those that were set aside too."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job that a worker holds. `subject` is whose data it is, None where its request had none; `tries` = for how many
    times now it is handed out."""

    id: str
    store: str
    queue: str
    home: str
    activity: str
    subject: str | None = field(repr=False)
    payload: bytes = field(repr=False)
    tries: int


def check_queue(queue: str) -> None:
    """Raises: UsageError where `queue` is no word; it becomes part of a key that servers log."""
    if _WORD.fullmatch(queue) is None:
        raise UsageError("a queue's name has 1 to 64 of a-z 0-9 . _ - and begins with one of the first")


def queue_key(deployment: str, store: str, home: str, queue: str) -> bytes:
    """The key under which the jobs of one home lie. The braces keep it and its dead on one server of a Cluster."""
    return f"residency:{{{deployment}:queue:{store}:{home}:{queue}}}".encode()


def queues_of(deployment: str, store: str, home: str) -> bytes:
    """What the keys of all queues of one home begin with."""
    return queue_key(deployment, store, home, "").removesuffix(b"}")


def is_of(job: bytes, subject: str) -> bool:
    """Whether these bytes are a job about that subject (id)."""
    return whose(job) == subject


def whose(job: bytes) -> str | None:
    """The subject (id) of a job; None where it has none, or these bytes are no job."""
    found = _parse_job("", Delivery("", job))
    return None if found is None else found.subject


def format_job(store: str, home: str, activity: str, subject: str | None, payload: bytes) -> bytes:
    """A job's bytes: one line of JSON, then the payload."""
    head = {"v": 1, "store": store, "home": home, "activity": activity, "subject": subject}
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + payload


def _parse_job(queue: str, given: Delivery) -> Job | None:
    """The job, None where these bytes are none."""
    line, _, payload = given.job.partition(b"\n")
    try:
        head = json.loads(line)
        texts = [head[name] for name in ("store", "home", "activity")]
        subject = head["subject"]
    except (ValueError, TypeError, KeyError):
        return None
    if head.get("v") != 1 or not all(isinstance(each, str) for each in texts):
        return None
    if not (subject is None or isinstance(subject, str)):
        return None
    store, home, activity = texts
    return Job(given.id, store, queue, home, activity, subject, payload, given.times)


class Worker:
    """Takes jobs of one queue for people whose home is `place`, in any sink of the store. One for each process."""

    __slots__ = ("_idle", "_keys", "_name", "_point", "_sinks", "_tries", "place", "queue", "store")

    def __init__(
        self,
        sinks: Sequence[SinkPort],
        *,
        point: Callable[[], EnforcementPoint],
        store: str,
        queue: str,
        place: str,
        name: str,
        idle: float = 60.0,
        tries: int = 5,
    ) -> None:
        """`sinks` are the store's; `point` answers the enforcement point in force, which a reload replaces: there it is
        recorded what is taken. `place` is where this worker itself runs; `name` is this process's own among the
        workers. What is not finished within `idle` seconds is handed out again, `tries` times, then set aside.

        Raises: UsageError.
        """
        check_queue(queue)
        if not is_place(place):
            raise UsageError("a worker says in which place it runs, as in `VN`")
        if not name or not sinks or tries < 1 or idle <= 0:
            raise UsageError("a worker has a name and a sink at least, tries at least once, and waits more than 0 s")
        for sink in sinks:
            if not isinstance(sink, QueueSink):
                raise UsageError(f"sink {sink.name!r} has no queues")
        self._sinks = tuple(sink for sink in sinks if isinstance(sink, QueueSink))
        self._point = point
        self._keys = queue_key(point().policy.deployment.name, store, place, queue)
        self._name = name
        self._idle = max(1, round(idle * 1000))
        self._tries = tries
        self.store, self.queue, self.place = store, queue, place

    @asynccontextmanager
    async def take(self, wait: float = 1.0) -> AsyncIterator[Job | None]:
        """The next job, None where none came within `wait` seconds for each sink. Left without an error it is finished;
        else it is handed out again later.

        Raises: SinkUnavailable, also where what lies in this place's queue is no job of this place; PinsUnavailable,
        JournalFull, JournalFailed: then it was not handed out, and comes again.
        """
        for sink in self._sinks:
            given = await sink.pull(self._keys, self._name, self._idle, round(wait * 1000))
            if given is None:
                continue
            job = _parse_job(self.queue, given)
            if job is None or given.times > self._tries:
                await sink.push(self._keys + _DEAD, given.job)
                await sink.finish(self._keys, given.id)
                continue
            if (job.home, job.store) != (self.place, self.store):
                raise SinkUnavailable(f"sink {sink.name!r} holds a job of another place in this one's queue")
            act = await self._begin(sink.name, job)
            try:
                yield job
            except BaseException:
                act.told("failed", f"the job was left with an error, at try {job.tries}")
                raise
            try:
                await sink.finish(self._keys, given.id)
            except BaseException:
                act.told("unknown", "nobody knows whether the job was taken away")
                raise
            act.told("committed", "the job was done and taken away")
            return
        yield None

    async def _begin(self, sink: str, job: Job) -> UpkeepAct:
        """The act of handing `job` to the app, its intent recorded."""
        point = self._point()
        if sink in point.stores.misplaced:
            raise SinkUnavailable(f"sink {sink!r} {MISPLACED}")
        alias = None
        if job.subject is not None:
            pin = await point.homes.fetch(point.digest(SubjectId(job.subject)))
            alias = None if pin is None else pin.alias
        why = f"a job of {job.activity!r} is taken from queue {self.queue!r}"
        return Upkeep(point).begun(
            self.store, point.policy.deployment.sinks[sink].sink, Operation.PROCESS, why, alias=alias
        )

    async def depth(self) -> int:
        """How many jobs are not finished, in all sinks. Raises: SinkUnavailable."""
        return sum([await sink.depth(self._keys) for sink in self._sinks])

    async def dead(self) -> int:
        """How many were set aside. Raises: SinkUnavailable."""
        return sum([await sink.depth(self._keys + _DEAD) for sink in self._sinks])
