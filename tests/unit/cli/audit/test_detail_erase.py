"""What no law holds is erased, what one does stays and is told, and the log's proofs hold all the same."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from typer.testing import CliRunner

from residency.adapters.detail_store import DetailStore
from residency.audit.detail_head import Head
from residency.bootstrap import Residency, build
from residency.cli.audit import audit_app
from residency.cli.audit.detail import detail_app
from residency.enforcement.current import Current
from residency.model import Pin
from tests.detail_world import deploy, live, logged, once
from tests.detail_world import run as run_service
from tests.world import HOME


def run(*args: str, stdin: str = "") -> tuple[int, str]:
    found = CliRunner().invoke(detail_app, args, input=stdin)
    return found.exit_code, found.output


def rows(policy: Path) -> list[tuple[Head, bytes]]:
    return list(DetailStore(policy.parent / "detail-vn" / "details.db").rows())


def details(policy: Path) -> list[Head]:
    return [head for head, _ in rows(policy)]


def pin_of(policy: Path, who: str) -> Pin | None:
    async def read() -> Pin | None:
        async with build(policy, env={}, reload=False).reading_pins() as (pins, digest):
            return await pins.get(digest(who))

    return anyio.run(read)


def alias_of(policy: Path, who: str) -> str:
    pin = pin_of(policy, who)
    assert pin is not None
    return pin.alias


def holds(policy: Path) -> bool:
    """Whether the log holds, and a proof of each of its entries."""
    log = policy.parent / "audit" / "log"
    commands = [["verify", str(log), "--json"], *(["prove", str(log), str(i)] for i in range(len(logged(policy))))]
    return all(CliRunner().invoke(audit_app, command).exit_code == 0 for command in commands)


def on_disk(folder: Path) -> Iterator[bytes]:
    yield from (path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_a_law_holds_stays_and_is_told_with_the_rule_and_the_day(detailed: Path) -> None:
    alias = alias_of(detailed, "an")
    before = details(detailed)
    code, output = run("erase", "--policy", str(detailed), "--country", "VN", "--alias", alias)
    assert code == 1
    assert "by test.logs" in output
    held = [head for head in before if head.alias == alias and head.keep_until is not None]
    assert held
    assert all(head.entry in output for head in held)
    left = details(detailed)
    assert [head for head in before if head not in left] == [
        head for head in before if head.alias == alias and head.keep_until is None
    ]


def test_by_an_order_what_a_law_holds_goes_too_and_the_log_tells_of_it_and_still_holds(detailed: Path) -> None:
    alias = alias_of(detailed, "an")
    meant = [head for head in details(detailed) if head.alias == alias]
    options = ("--country", "VN", "--alias", alias, "--order", "court 12/2026", "--json")
    code, output = run("erase", "--policy", str(detailed), *options)
    assert (code, json.loads(output)) == (0, {"done": True, "erased": len(meant), "held": []})
    assert not [head for head in details(detailed) if head.alias == alias]
    assert details(detailed)
    floors = sum(head.keep_until is not None for head in meant)
    note = f"details erased: {len(meant)} in VN, {floors} of them held by a law, by order: court 12/2026"
    assert [entry.note for entry in logged(detailed) if entry.kind == "system"][-1] == note
    assert holds(detailed)


def test_what_is_erased_leaves_no_bytes_in_store_or_journal_and_the_others_stay(detailed: Path) -> None:
    store = DetailStore(detailed.parent / "detail-vn" / "details.db")
    alias = alias_of(detailed, "an")
    gone = [sealed for head, sealed in store.rows() if head.alias == alias]
    stay = [sealed for head, sealed in store.rows() if head.alias != alias]
    assert gone
    assert stay
    run("erase", "--policy", str(detailed), "--country", "VN", "--alias", alias, "--order", "court 12/2026")
    live(detailed)  # the next life of the service turns the journals over
    files = list(on_disk(detailed.parent / "detail-vn"))
    assert not any(sealed in data for sealed in gone for data in files)
    assert all(any(sealed in data for data in files) for sealed in stay)


def test_details_of_an_account_are_found_by_opening_them(detailed: Path) -> None:
    options = ("--country", "VN", "--account", "--order", "request 7", "--json")
    code, output = run("erase", "--policy", str(detailed), *options, stdin="binh\n")
    assert code == 0
    erased = json.loads(output)["erased"]
    assert erased > 0
    alias = alias_of(detailed, "binh")
    assert all(head.keeping == "pin" for head in details(detailed) if head.alias == alias)
    assert "binh" not in "".join(str(entry) for entry in logged(detailed))


def test_one_entrys_detail_is_erased_by_its_id(tmp_path: Path) -> None:
    policy = deploy(tmp_path, HOME)  # no law asks for logs
    live(policy, "an", "binh")
    first, *others = details(policy)
    code, output = run("erase", "--policy", str(policy), "--country", "VN", "--entry", first.entry)
    assert (code, output) == (0, "1 details erased.\n")
    assert details(policy) == others
    assert [entry.note for entry in logged(policy) if entry.kind == "system"][-1] == "details erased: 1 in VN"


def test_nothing_to_erase_is_no_entry_of_the_log(detailed: Path) -> None:
    before = len(logged(detailed))
    assert run("erase", "--policy", str(detailed), "--country", "VN", "--alias", "ab" * 16)[0] == 0
    assert len(logged(detailed)) == before


@pytest.mark.parametrize(
    "wrong", [(), ("--alias", "ab", "--order", "x"), ("--alias", "ab", "--order", "Nguyễn Văn An")]
)
def test_whose_and_by_what_order_must_be_said(detailed: Path, wrong: tuple[str, ...]) -> None:
    assert run("erase", "--policy", str(detailed), "--country", "VN", *wrong)[0] == 2


def test_after_unlinking_nothing_on_disk_leads_from_the_alias_to_the_subject(tmp_path: Path) -> None:
    policy = deploy(tmp_path, HOME)
    live(policy, "an", "binh")
    pin = pin_of(policy, "an")
    assert pin is not None
    digests = (pin.subject.encode(), bytes.fromhex(pin.subject), base64.b64encode(bytes.fromhex(pin.subject)))
    sealed = [sealed for head, sealed in rows(policy) if head.alias == pin.alias]
    assert any(digest in data for data in on_disk(policy.parent) for digest in digests)
    assert all(any(each in data for data in on_disk(policy.parent)) for each in sealed)
    code, told = run("unlink", "--policy", str(policy), stdin="an\n")
    assert (code, told.splitlines()[0]) == (0, "Unlinked: the pin is erased, and the alias with it.")
    live(policy)
    assert pin_of(policy, "an") is None
    assert pin_of(policy, "binh") is not None
    assert all(head.alias != pin.alias for head in details(policy))
    # The subject is nowhere: not as a digest in any writing, nor sealed; and the alias in the log alone.
    for data in on_disk(policy.parent):
        assert not any(digest in data for digest in (*digests, *sealed))
    for folder in ("detail-vn", "pins.db"):
        place = policy.parent / folder
        for data in on_disk(place) if place.is_dir() else [place.read_bytes()]:
            assert pin.alias.encode() not in data
            assert bytes.fromhex(pin.alias) not in data
    assert any(entry.subject == pin.alias for entry in logged(policy))
    assert [entry.kind for entry in logged(policy) if entry.note == f"alias unlinked: {pin.alias}"] == ["system"]
    assert holds(policy)


def test_what_a_law_holds_of_an_unlinked_subject_is_told(detailed: Path) -> None:
    pin = pin_of(detailed, "an")
    assert pin is not None
    code, output = run("unlink", "--policy", str(detailed), "--json", stdin="an\n")
    told: dict[str, Any] = json.loads(output)
    assert code == 0
    assert {each["keeping"] for each in told["held"]} == {"log>=12m"}
    assert {tuple(each["rules"]) for each in told["held"]} == {("test.logs",)}
    assert pin_of(detailed, "an") is None
    left = [head for head in details(detailed) if head.alias == pin.alias]
    assert [head.entry for head in left] == [each["entry"] for each in told["held"]]


def test_who_was_unlinked_and_comes_back_has_another_alias(tmp_path: Path) -> None:
    policy = deploy(tmp_path, HOME)
    live(policy, "an")
    before = alias_of(policy, "an")
    run("unlink", "--policy", str(policy), stdin="an\n")

    async def back(runtime: Residency) -> bool:
        return isinstance(await once(runtime, "an"), Current)

    assert run_service(policy, back)
    assert alias_of(policy, "an") != before


def test_who_has_no_pin_has_no_alias_to_destroy(detailed: Path) -> None:
    assert run("unlink", "--policy", str(detailed), stdin="nobody\n") == (1, "no pin: this subject has no alias\n")
    assert run("unlink", "--policy", str(detailed), "--json", stdin="nobody\n") == (1, "null\n")
    assert run("unlink", "--policy", str(detailed), stdin="\n")[0] == 2


def test_a_deployment_without_details_has_nothing_to_unlink(tmp_path: Path) -> None:
    policy = deploy(tmp_path, HOME, replace=[(", detail: {VN: ./detail-vn}", "")])
    assert run("unlink", "--policy", str(policy), stdin="an\n")[0] == 2
