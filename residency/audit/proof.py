"""A proof or receipt and the reader's verifier key in; a verdict, with the step that failed, out.

Theory. A document is judged in steps, each leaning on the one before: its form; the reader's key; the signature on the
checkpoint; what the checkpoint says; who witnessed it; then of each entry its canonical form, whom it is of, that it is
in the tree, and that an opened detail is the one it commits to. The page for browsers (`cli/audit/page`) takes the same
steps in the same order and answers the same; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from residency.audit.checkpoint import Checkpoint, VerifierKey, parse_checkpoint, parse_verifier_key, verify_note
from residency.audit.cosignature import COSIGNER_KINDS, Cosignature, find_cosignature
from residency.audit.detail import commit, parse_detail
from residency.audit.entry import Entry, parse_entry
from residency.audit.merkle import leaf_hash, verify_inclusion
from residency.audit.proof_document import Document, Item, parse_base64, parse_document
from residency.errors import IntegrityError, VerificationError

__all__ = ["Step", "Verdict", "judge"]

_SPACE: Final = " \t\r\n"


class Step(StrEnum):
    """What is checked, in this order; `ENTRY` to `DETAIL` once for each entry."""

    DOCUMENT = "document"
    KEY = "key"
    SIGNATURE = "signature"
    CHECKPOINT = "checkpoint"
    WITNESS = "witness"
    ENTRY = "entry"
    SUBJECT = "subject"
    INCLUSION = "inclusion"
    DETAIL = "detail"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a document: the step that failed and at which item, with the reason; or None, and what it proves.

    `anchored` says whether the key was the reader's own; where not, the signature proves nothing to anybody.
    """

    failed: Step | None = None
    item: int | None = None
    problem: str = ""
    anchored: bool = False
    key: VerifierKey | None = None
    checkpoint: Checkpoint | None = None
    entries: tuple[tuple[int, Entry], ...] = ()
    details: tuple[Mapping[str, str | int | None] | None, ...] = ()
    kind: str = ""
    witnesses: tuple[Cosignature, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every step holds."""
        return self.failed is None


def judge(data: bytes, key: str | None, witnesses: Sequence[str] = ()) -> Verdict:
    """What becomes of the proof or receipt in `data` under the verifier key `key` (text) that the reader has from
    elsewhere. None = the key in the document is taken, and `anchored` stays false. Each of `witnesses` (verifier keys
    as text) must have cosigned the checkpoint."""
    # 1. The form: what is not understood to the letter is refused, so that nothing unseen hides in it.
    try:
        document = parse_document(data)
    except VerificationError as error:
        return Verdict(Step.DOCUMENT, None, str(error))
    # 2. The key: the reader's own; one that the document names beside it must be the same.
    anchored = key is not None
    given = document.key if key is None else key.strip(_SPACE)
    try:
        if given is None:
            raise VerificationError("the document names no key: give the log's own")
        verifier = parse_verifier_key(given)
        if document.key is not None and document.key != given:
            raise VerificationError("the key in the document is not the one that was given")
        cosigners = [parse_verifier_key(text.strip(_SPACE), COSIGNER_KINDS) for text in witnesses]
    except VerificationError as error:
        return Verdict(Step.KEY, None, str(error), anchored, kind=document.kind)
    # 3. The signature, 4. what was signed, and 5. who else signed it.
    step = Step.SIGNATURE
    try:
        signed = verify_note(document.checkpoint.encode(), verifier)
        step = Step.CHECKPOINT
        checkpoint = parse_checkpoint(signed)
        if checkpoint.origin != verifier.name:
            raise VerificationError("the checkpoint's origin is not the verifier key's name")
        step = Step.WITNESS
        seen_by = tuple(_cosigned(document.checkpoint.encode(), cosigner) for cosigner in cosigners)
    except VerificationError as error:
        return Verdict(step, None, str(error), anchored, verifier, kind=document.kind)
    # 6. to 9. Each entry.
    judged = _Judged(document, checkpoint)
    for number, item in enumerate(document.items):
        problem = judged.take(item)
        if problem is not None:
            return Verdict(problem[0], number, problem[1], anchored, verifier, checkpoint, kind=document.kind)
    entries, details = tuple(judged.entries), tuple(judged.details)
    return Verdict(None, None, "", anchored, verifier, checkpoint, entries, details, document.kind, seen_by)


class _Judged:
    """The entries of a document that hold so far."""

    def __init__(self, document: Document, checkpoint: Checkpoint) -> None:
        self._document = document
        self._checkpoint = checkpoint
        self._intents: set[str] = set()
        self.entries: list[tuple[int, Entry]] = []
        self.details: list[Mapping[str, str | int | None] | None] = []

    def take(self, item: Item) -> tuple[Step, str] | None:
        """Take in the next entry, or say at which step it fails and why."""
        document, checkpoint = self._document, self._checkpoint
        step = Step.ENTRY
        try:
            raw = item.entry.encode()
            entry = parse_entry(raw)
            if document.kind == "proof" and document.key is not None and document.policy != entry.policy:
                raise VerificationError("the document names another policy than its entry")
            step = Step.SUBJECT
            # An outcome names nobody: it is of whom its intent is of.
            of_intent = entry.subject is None and entry.of in self._intents
            if document.subject is not None and entry.subject != document.subject and not of_intent:
                raise VerificationError("the entry is not of the subject of the receipt")
            step = Step.INCLUSION
            if self.entries and item.index <= self.entries[-1][0]:
                raise VerificationError("the entries do not stand in the order of the log")
            proof = tuple(_node(text) for text in item.proof)
            verify_inclusion(leaf_hash(raw), item.index, checkpoint.size, proof, checkpoint.root)
            step = Step.DETAIL
            fields = None
            if item.detail is not None:
                opened = item.detail.text.encode()
                if commit(opened) != entry.detail:
                    raise VerificationError("the detail is not the one that the entry commits to")
                fields = parse_detail(opened)
        except IntegrityError as error:
            return step, str(error)
        if entry.kind == "intent":
            self._intents.add(entry.id)
        self.entries.append((item.index, entry))
        self.details.append(fields)
        return None


def _cosigned(note: bytes, key: VerifierKey) -> Cosignature:
    found = find_cosignature(note, key)
    if found is None or found.time == 0:  # without a time nothing is said of the newest state
        raise VerificationError(f"the checkpoint carries no cosignature by {key.name}")
    return found


def _node(text: str) -> bytes:
    try:
        node = parse_base64(text)
    except ValueError:
        node = b""
    if len(node) != 32:
        raise VerificationError("a node of an inclusion proof is not 32 bytes in base64")
    return node
