"""`residency export`: a deployment and a person in; all their records in a new folder or zip, with a manifest, out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.to_thread
import typer
from rich.console import Console
from rich.progress import Progress

from residency.adapters.export_folder import ExportFolder
from residency.bootstrap import Residency
from residency.cli.upkeep import (
    Copies,
    Deployment,
    Json,
    Subject,
    SubjectFile,
    acts,
    begin_for,
    copies_of,
    doing,
    facts_of,
    fails,
    runtime_of,
    signer_of,
    subject_of,
    wrong,
)
from residency.errors import ResidencyError, UsageError
from residency.model import Operation, SubjectId
from residency.storage.export import Exported, grounds
from residency.storage.export import export as export_all
from residency.storage.receipts import EXPORT, format_receipt, instant

__all__ = ["export"]

MANIFEST = "manifest"


def export(
    deployment: Deployment,
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="A new folder, or a new file that ends in .zip.")],
    subject: Subject = None,
    subject_file: SubjectFile = None,
    as_json: Json = False,
) -> None:
    """Write all records of a person into a new folder or zip file: rows as JSON lines, objects as files, and a signed
    manifest with the digest of each, where each copy lies, and the rules that apply.

    What is written is personal data: mind where it goes, for a disk abroad is a transfer. Each sink that is read is an
    act in the log. Exit 0 = written, 1 = it cannot be done, 2 = wrong use, a place that is there already included.

    Example: echo user-42 | residency export residency.yaml --subject-file - --out user-42.zip
    """
    runtime = runtime_of(deployment)
    who = subject_of(subject, subject_file)
    try:
        with ExportFolder(out) as folder:
            done, copies = anyio.run(_run, runtime, who, folder, not as_json)
            folder.finish()
    except FileExistsError:
        wrong("the place of --out is there already")
    except UsageError as error:
        wrong(str(error))
    except OSError as error:
        fails(UsageError(f"the place of --out cannot be written (errno {error.errno})"), as_json=as_json)
    except ResidencyError as error:
        fails(error, as_json=as_json)
    _tell(done, copies, as_json=as_json)


async def _run(runtime: Residency, who: SubjectId, folder: ExportFolder, progress: bool) -> tuple[Exported, Copies]:
    async with doing(runtime) as people:
        copies = copies_of(runtime)
        now = runtime.clock.now()
        person, _ = await people.one(who.value)
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not (progress and console.is_terminal)) as bar:
            task = bar.add_task("records", total=None)
            done = await export_all(
                copies.all,
                copies.objects,
                who.value,
                folder,
                begin=begin_for(acts(runtime), person.alias, Operation.READ),
                told=lambda records: bar.advance(task, records),
            )
        facts = await anyio.to_thread.run_sync(facts_of, runtime)
        data = [
            (store, frozenset(c for doc in docs for c in doc.data))
            for store, docs in runtime.deployment.records.items()
        ]
        jurisdictions, rules = grounds(runtime.policy, facts, now, data, person)
        document: dict[str, Any] = {
            "at": instant(now),
            "deployment": runtime.deployment.name,
            "policy": runtime.policy.digest,
            "alias": person.alias,
            "jurisdictions": list(jurisdictions),
            "rules": [{"id": rule.id, "citation": rule.citation, "text": rule.text} for rule in rules],
            "not_covered": list(copies.not_covered),
            **done.document(),
        }
        signer, _ = await anyio.to_thread.run_sync(signer_of, runtime)
        folder.append(MANIFEST, format_receipt(EXPORT, document, signer))
        return done, copies


def _tell(done: Exported, copies: Copies, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"done": True, "records": done.records, "not_covered": list(copies.not_covered)}))
        return
    console = Console()
    records, files = ("record", "records"), ("file", "files")
    told = [f"{count} {words[count != 1]}" for count, words in ((done.records, records), (len(done.files), files))]
    console.print(f"{told[0]} in {told[1]}, and a signed manifest.")
    if not done.records:
        console.print("[yellow]Nothing lies under this id:[/] is it written as your app writes it?")
    for store in copies.not_covered:
        console.print(f"Not covered: store {store}; `records` of the deployment tells nothing of it.")
