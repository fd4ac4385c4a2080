"""A bundle has one form: what is cut, changed, doubled, misnamed or added is refused with what is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from residency.errors import VerificationError
from residency.policy.archive import digest_of
from residency.policy.bundle import Bundle, format_bundle, is_bundle, parse_bundle
from residency.policy.signatures import ed25519_signer
from residency.policy.yamldoc import MAX_BYTES

OPS = ed25519_signer("ops", b"\1" * 32)
FILES = (("law/vn/test", b"kind: law\n"), ("deployment/app", b"kind: deployment\n\n"), ("register/app", b"\n\nx"))
BODY = b"".join(content for _, content in sorted(FILES))


def sealed(head: str, body: bytes = BODY) -> bytes:
    """A bundle made by hand, its checksum right."""
    whole = head.encode() + body
    return whole + f"sha256 {hashlib.sha256(whole).hexdigest()}\n".encode()


def head_of(data: bytes) -> str:
    return data[: data.index(b"\n\n\n") + 3].decode()


def test_the_same_files_give_the_same_bytes_in_whatever_order_and_a_stable_form() -> None:
    data = format_bundle("app", FILES, version=3, signers=[OPS])
    assert format_bundle("app", reversed(FILES), version=3, signers=[OPS]) == data
    digest = digest_of(FILES)
    text = (
        f"residency bundle 1\nname app\nversion 3\ndigest {digest}\n"
        f"file 18 {hashlib.sha256(FILES[1][1]).hexdigest()} deployment/app\n"
        f"file 10 {hashlib.sha256(FILES[0][1]).hexdigest()} law/vn/test\n"
        f"file 3 {hashlib.sha256(FILES[2][1]).hexdigest()} register/app\n"
    )
    assert data == sealed(f"{text}\n{OPS.line(text)}\n\n")
    assert parse_bundle(data) == Bundle("app", 3, digest, tuple(sorted(FILES)), text, (OPS.line(text),))


def test_an_unsigned_bundle_of_empty_files_reads_as_it_was_written() -> None:
    data = format_bundle("app", [("deployment/app", b"")])
    assert is_bundle(data)
    assert parse_bundle(data).sources == (("deployment/app", b""),)
    assert not is_bundle(b"residency: 1\nkind: deployment\n")


@pytest.mark.parametrize(
    "name",
    [
        "law/../../etc/passwd", "/law/x", "law//x", "law/.hidden", "law/x/", "law", "other/x", "law/x y", "law/x\ny",
        "law/" + "x" * 300, "law/C:\\x", "law/vi\u1ec7t", "deployment/../app",
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_neither_packed_nor_read(name: str) -> None:
    files = [*FILES, (name, b"x")]
    with pytest.raises(VerificationError):
        format_bundle("app", files)
    rows = "".join(f"file {len(data)} {hashlib.sha256(data).hexdigest()} {file}\n" for file, data in sorted(files))
    head = f"residency bundle 1\nname app\nversion 0\ndigest {digest_of(files)}\n{rows}\n\n"
    with pytest.raises(VerificationError):
        parse_bundle(sealed(head, b"".join(data for _, data in sorted(files))))


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([*FILES, FILES[0]], "holds a file twice"),
        (FILES[::2], "holds one deployment"),
        ([*FILES, ("deployment/other", b"")], "holds one deployment"),
        ([*FILES, ("law/big", b"x" * (MAX_BYTES + 1))], "at most 1048576 bytes"),
        ([*FILES, *((f"law/{n}", b"") for n in range(4096))], "at most 4096 files"),
    ],
    ids=["twice", "no deployment", "two deployments", "huge member", "too many"],
)
def test_what_no_bundle_may_hold_is_told_to_who_packs(files: list[tuple[str, bytes]], why: str) -> None:
    with pytest.raises(VerificationError, match=why):
        format_bundle("app", files)


@pytest.mark.parametrize("version", [-1, 2**53])
def test_a_version_out_of_range_is_refused(version: int) -> None:
    with pytest.raises(VerificationError, match="version"):
        format_bundle("app", FILES, version=version)


def test_a_bundle_cut_anywhere_or_with_bytes_after_it_is_torn() -> None:
    data = format_bundle("app", FILES, signers=[OPS])
    for end in range(len(data)):
        with pytest.raises(VerificationError):
            parse_bundle(data[:end])
    with pytest.raises(VerificationError, match="torn"):
        parse_bundle(data + b"\n")


HEAD = head_of(format_bundle("app", FILES))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda h: h.replace("bundle 1", "bundle 2"), "reads `residency bundle 1`"),
        (lambda h: h.replace("version 0", "version 00"), "does not say name, version"),
        (lambda h: h.replace("name app", "name other"), "one deployment, and has its name"),
        (lambda h: h.replace("file 18", "file 018"), "no `file"),
        (lambda h: h.replace("file 18", "file 17"), "not the file that the manifest names"),
        (lambda h: h.replace("file 3", "file 999999"), "ends before"),
        (lambda h: h.replace("file 3", "file 68"), "ends before"),  # into the checksum
        (lambda h: h.replace("file 3", "file 9999999999"), "at most"),
        (lambda h: h[:-2] + h.splitlines()[4] + "\n\n\n", "twice"),
        (lambda h: h.replace("law/vn/test", "law/vn/tesu"), "not name the files as a bundle is written"),
        (lambda h: h.replace(digest_of(FILES), "0" * 64), "not name the files as a bundle is written"),
        (lambda h: h.replace("\n\n\n", "\nnote x\n\n\n"), "no `file"),
        (lambda h: h[:-1] + "— x AAAA\n" * 101 + "\n", "at most 100 signatures"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_not_as_it_would_be_written_is_refused(change: Callable[[str], str], why: str) -> None:
    head = change(HEAD)
    assert head != HEAD
    with pytest.raises(VerificationError, match=why):
        parse_bundle(sealed(head))


def test_a_manifest_without_an_end_is_refused() -> None:
    with pytest.raises(VerificationError, match="no end"):
        parse_bundle(sealed(HEAD.rstrip("\n"), b"x"))
    with pytest.raises(VerificationError, match="not UTF-8"):
        parse_bundle(sealed("residency bundle 1\n", b"\xff\n\n\n"))


def test_files_out_of_order_and_bytes_that_no_file_holds_are_refused() -> None:
    lines = HEAD.splitlines()
    swapped = "\n".join([*lines[:4], lines[5], lines[4], lines[6]]) + "\n\n\n"
    with pytest.raises(VerificationError, match="order"):
        parse_bundle(sealed(swapped, FILES[0][1] + FILES[1][1] + FILES[2][1]))
    with pytest.raises(VerificationError, match="does not name"):
        parse_bundle(sealed(HEAD, BODY + b"more"))
