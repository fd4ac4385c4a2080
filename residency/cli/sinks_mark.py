"""`residency sinks mark`: a deployment in; in each sink a mark of which it is, or what stands against it, out."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, NoReturn

import anyio
import typer

from residency.adapters import policy_files
from residency.cli.sinks_probe import sinks_of
from residency.enforcement.ports import SinkPort
from residency.errors import PolicyError, ResidencyError, SinkUnavailable
from residency.storage.marks import Mark, differs, mark_of, misled, read_marks, together, write_marks
from residency.storage.marks_seen import SeenMarks

__all__ = ["check_mark", "mark", "marked_as"]

_LIMIT: Final = 15.0  # seconds for one sink
_APART: Final = (
    "see that its URL is right; where it is, --replace writes this sink's own (--beside is for sinks of one country)"
)
_MEND: Final = "see that its URL is right; where it is, --replace writes this sink's own, --beside adds it"


@dataclass(frozen=True, slots=True)
class _Told:
    """What became of one sink."""

    sink: str
    state: str
    ok: bool
    why: str = ""


def mark(
    deployment: Annotated[Path, typer.Argument(help="The deployment file.", metavar="DEPLOYMENT")],
    only: Annotated[list[str] | None, typer.Option("--sink", help="This one; may be repeated. Usually all.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take away other marks that a sink bears: it is this one from now on.")
    ] = False,
    beside: Annotated[
        bool,
        typer.Option(
            "--beside", help="Leave other marks, and add this one: several sinks of one country share a server."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Write into each sink which one it is: a table residency_sink, a key residency:sink, an object .residency/sink.
    From then on a server whose URLs were mixed up does not start, and one under which a database is exchanged stops
    using it. A sink that bears another's mark keeps it, and is told; nothing else is written.

    Exit 0 = all bear their own, 1 = one does not, 2 = wrong use.

    Example: residency sinks mark residency.yaml
    """
    if replace and beside:
        _wrong("--replace or --beside: not both")
    if (replace or beside) and not only:
        _wrong("say which sink, as in: --sink people-vn --replace")
    try:
        policy = policy_files.load(deployment)
        sinks = sinks_of(policy)
    except PolicyError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except ResidencyError as error:
        _wrong(str(error))
    for name in only or ():
        if name not in sinks:
            _wrong(f"there is no sink {name!r}; there are: {', '.join(sinks)}")
    done = anyio.run(_each, sinks, policy.deployment.stores, only or list(sinks), replace, beside)
    for each in done:
        if as_json:
            typer.echo(json.dumps({"sink": each.sink, "state": each.state, "ok": each.ok, "why": each.why}))
        else:
            typer.echo(f"{each.sink}: {each.state}" + (f" ({each.why})" if each.why else ""))
    if not all(each.ok for each in done):
        raise typer.Exit(1)


async def check_mark(sink: SinkPort) -> bool:
    """Whether a started sink bears its own mark; False where it bears none, or can bear none.

    Raises: SinkUnavailable, also where it bears another's.
    """
    found = await read_marks(sink)
    why = differs(mark_of(sink), found or ())
    if why is not None:
        raise misled({sink.name: why})
    return bool(found)


async def marked_as(sink: SinkPort, seen: SeenMarks) -> str:
    """How a started sink is marked, in a word: yes, no, - (its kind bears none), or lost, where it has borne its own.

    `seen` is what the deployment's instance here remembers. Raises: as `check_mark`.
    """
    if await read_marks(sink) is None:
        return "-"
    if await check_mark(sink):
        return "yes"
    try:
        return "lost" if seen.of(sink.name).borne else "no"
    except (OSError, ValueError):  # another user's, perhaps; an instance that cannot read it says so itself
        return "no"


async def _each(
    sinks: Mapping[str, SinkPort],
    stores: Mapping[str, Sequence[str]],
    names: Collection[str],
    replace: bool,
    beside: bool,
) -> list[_Told]:
    done = []
    for name, sink in sinks.items():
        if name not in names:
            continue
        try:
            with anyio.fail_after(_LIMIT):
                await sink.start()
                done.append(await _marked(sink, mark_of(sink, stores), replace, beside))
        except TimeoutError:
            done.append(_Told(name, "failed", False, f"it did not answer within {_LIMIT:.0f} s"))
        except SinkUnavailable as error:
            done.append(_Told(name, "failed", False, str(error)))
        finally:
            await sink.aclose()
    return done


async def _marked(sink: SinkPort, own: Mark, replace: bool, beside: bool) -> _Told:
    found = await read_marks(sink)
    if found is None:
        return _Told(sink.name, "bears no marks", True, "its kind keeps nothing of ours")
    why = differs(own, found)
    apart = not together(_marks(own, found, keep=True))
    if why is not None and not replace and (apart or not beside):
        return _Told(sink.name, "not marked", False, f"it {why}; {_APART if apart else _MEND}")
    if why is None and own in found and not replace:
        return _Told(sink.name, "was marked", True)
    await write_marks(sink, _marks(own, found, beside or (why is None and not replace)))
    return _Told(sink.name, "marked", True)


def _marks(own: Mark, found: Iterable[Mark], keep: bool) -> list[Mark]:
    others = [each for each in found if each.sink != own.sink] if keep else []
    return [*others, own]


def _wrong(message: str) -> NoReturn:
    typer.echo(f"residency sinks: {message}", err=True)
    raise typer.Exit(2)
