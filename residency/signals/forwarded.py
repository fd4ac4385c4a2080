"""A forwarding header's value in, its elements from the right and the address of each out: X-Forwarded-For, Forwarded.

Both headers are lists to which every proxy appends, so they are read from the right, and nothing that stands left of
an element can change what the element is. For X-Forwarded-For that is plain. RFC 7239 has quoted strings, in which a
comma separates nothing: read from the left, one quote that a client opens swallows the elements of the proxies after
it. Read from the right, outside any string at first, the first quote met closes one, and the nearest quote to its left
that no backslash escapes opens it. A well-formed element is thus cut exactly where its proxy began it, whatever is
left of it; an ill-formed one may be cut anywhere, and then does not match the grammar and is no address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from residency.signals.inet import MAX_HOP, read_hop

__all__ = [
    "FORWARDED",
    "LISTS",
    "MAX_HEADER",
    "MAX_HOPS",
    "X_FORWARDED_FOR",
    "Listed",
    "may_trail",
    "names_port",
    "read_element",
    "rewritten",
]

MAX_HOPS: Final = 64
"""Elements that are read of one header at most, counted from its right end."""
MAX_HEADER: Final = 8192
"""Bytes of the joined header, counted from its right end, that are read at most."""
X_FORWARDED_FOR: Final = b"x-forwarded-for"
FORWARDED: Final = b"forwarded"

_BACKSLASH: Final = 0x5C
# Header lines are joined by a line feed, which no string may hold: a quote cannot reach from one line into another.
_PAIR: Final = re.compile(
    rb"""[ \t\n]*+
    (?:
        ([!#$%&'*+\-.^_`|~0-9A-Za-z]++) =
        (?: ([!#$%&'*+\-.^_`|~0-9A-Za-z:\[\]]++) | "((?:[^\x00-\x08\x0a-\x1f\x7f"\\]|\\[^\x00-\x08\x0a-\x1f\x7f])*+)" )
        [ \t]*+
    )?+
    (?: ; | \Z )""",
    re.VERBOSE,
)
_PARTS: Final = re.compile(rb"[,;]")
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_HIDDEN_PORT: Final = re.compile(rb":_[0-9A-Za-z._-]+\Z")


def _from_right(value: bytes) -> Sequence[bytes]:
    # The limits bound what is read, not the header: a client may write what it likes on the left, and must not be able
    # to switch its own address off with it.
    cut = len(value) > MAX_HEADER
    elements = (value[-MAX_HEADER:] if cut else value).rsplit(b",", MAX_HOPS)
    if cut or len(elements) > MAX_HOPS:
        del elements[0]  # the remainder beyond the limit, perhaps half an element
    elements.reverse()
    return elements


def _opening(value: bytes, closing: int) -> int:
    """Where the string opens that ends with the quote at `closing`; -1 where it does not."""
    at = closing
    while (at := value.rfind(b'"', 0, at)) > 0:
        first = at
        while first and value[first - 1] == _BACKSLASH:
            first -= 1
        if (at - first) % 2 == 0:
            break
    return at


def _from_right_quoted(value: bytes) -> Sequence[bytes]:
    if b'"' not in value:
        return _from_right(value)
    elements: list[bytes] = []
    cut = len(value) > MAX_HEADER
    value = value[-MAX_HEADER:]
    end = at = len(value)
    comma = value.rfind(b",")
    while len(elements) < MAX_HOPS:
        quote = value.rfind(b'"', comma + 1, at)
        if quote < 0:
            if comma < 0:
                if not cut:
                    elements.append(value[:end])
                break
            elements.append(value[comma + 1 : end])
            end = at = comma
            comma = value.rfind(b",", 0, end)
            continue
        at = _opening(value, quote)
        if at < 0:
            elements.append(b"")  # a string that nobody opens: not an element, and no telling where one begins
            break
        if comma > at:
            comma = value.rfind(b",", 0, at)
    return elements


def read_element(element: bytes) -> tuple[str, bytes] | None:
    """The canonical address of one Forwarded element's `for`, and its 4 or 16 bytes.

    None for what RFC 7239 does not allow (a parameter named twice, IPv6 without brackets), an element without `for`,
    obfuscated names and `unknown`. Missing quotes are forgiven: nothing else could be meant. Never raises.
    """
    bare = element.strip(b" \t\n")
    if bare[:4].lower() == b"for=" and b";" not in bare and b'"' not in bare and b"%" not in bare:
        return _read_node(bare[4:])  # the common shape; what is no token in it is no address either
    node: bytes | None = None
    names: set[bytes] = set()
    at, end = 0, len(element)
    while at < end:
        pair = _PAIR.match(element, at)
        if pair is None:
            return None
        at = pair.end()
        if (name := pair[1]) is None:
            continue
        name = name.lower()
        if name in names:
            return None
        names.add(name)
        if name == b"for":
            node = pair[2] if pair[3] is None else _ESCAPED.sub(rb"\1", pair[3])
    return None if node is None else _read_node(node)


def _read_node(node: bytes) -> tuple[str, bytes] | None:
    if len(node) > MAX_HOP or node != node.strip(b" \t"):
        return None
    if not node.startswith(b"[") and node.count(b":") > 1:
        return None  # the last group of a bare IPv6 address might be a port
    return read_hop(_HIDDEN_PORT.sub(b"", node))


@dataclass(frozen=True, slots=True)
class Listed:
    """How one list header is read: its name in lower case, what joins its lines, how it is cut and read."""

    name: bytes
    other: bytes
    joint: bytes
    from_right: Callable[[bytes], Sequence[bytes]]
    read: Callable[[bytes], tuple[str, bytes] | None]


LISTS: Final = {
    "x-forwarded-for": Listed(X_FORWARDED_FOR, FORWARDED, b",", _from_right, read_hop),
    "forwarded": Listed(FORWARDED, X_FORWARDED_FOR, b",\n", _from_right_quoted, read_element),
}
"""The two headers to which proxies append."""


def may_trail(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the last of several lines of a header may have come behind the body, where the client writes what it
    likes after all that proxies did. RFC 9110 section 6.5.1 forbids servers to take it for a header; uvicorn's parser
    (httptools) does, and no mark is left. HTTP/1.1 has trailers behind chunks alone. Names in lower case."""
    return any(name == b"transfer-encoding" for name, _ in headers)


def names_port(header: bytes) -> bool:
    """Whether any element of either list may name a port, so that a server could have taken the peer from it."""
    if b":" not in header:
        return False
    if b"]:" in header:
        return True
    # A loop over few parts: a pattern would be tried at each byte of an IPv6 address.
    for part in _PARTS.split(header) if b";" in header else header.split(b","):  # noqa: SIM110
        if part.count(b":") == 1:
            return True
    return False


def rewritten(host: str, port: int, header: bytes) -> bool:
    """Whether a server put (`host`, `port`) into the peer's place out of `header`, either of the two lists: the very
    host and port stand there as one element. Newer servers keep a forwarded port; port 0, which no socket has, is what
    the others write and the caller's to ask."""
    if b":" not in header or host.encode("latin-1", "replace") not in header:
        return False
    # As servers read it, not as it should be written: int() takes " 080" too.
    for part in _PARTS.split(header):
        element = part.decode("latin-1")
        name, equals, value = element.partition("=")
        text = (value if equals and name.strip().lower() == "for" else element).strip().strip('"')
        if text.startswith("["):
            written, _, digits = text[1:].partition("]:")
        elif text.count(":") == 1:
            written, _, digits = text.partition(":")
        else:
            continue
        if written == host:
            try:
                if int(digits) == port:
                    return True
            except ValueError:
                continue
    return False
