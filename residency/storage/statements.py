"""SQL text in; whether it would end a transaction, or reach past its database, behind a session's back, and to which
tables it writes, out.

Texts are read as the database's own scanner reads them, for a pattern over the whole text takes a comment or a literal
for a statement, or the other way round. PostgreSQL nests comments and ends a line at a carriage return; SQLite does
neither. Both readings are taken, and what either calls a way around is one.

`COMMIT` in the body of a function is none: within a transaction both databases refuse it themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

__all__ = ["ANY", "changed", "fetches", "goes_around", "words", "writes", "written"]

ANY: Final = '?"'
"""A name that is spelled in a way that is not read, or what may be any. No word is spelled so."""

# What apps send all day: one statement that begins with its own word. Nothing more is asked of it.
_PLAIN: Final = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH|VALUES|MERGE|SAVEPOINT|RELEASE)\b", re.IGNORECASE)

_ENDS: Final = frozenset({"COMMIT", "END", "ABORT", "BEGIN", "START"})
_REACHES: Final = frozenset({"ATTACH", "DETACH", "VACUUM", "LOAD", "DISCARD", "CHECKPOINT", "IMPORT"})
_LINKS: Final = frozenset({"SYSTEM", "SERVER", "FOREIGN", "SUBSCRIPTION", "PUBLICATION", "USER", "EXTENSION"})
"""What CREATE and ALTER make, or point elsewhere, that reaches past the database."""
_PRAGMAS: Final = frozenset({"QUERY_ONLY", "WRITABLE_SCHEMA", "JOURNAL_MODE", "LOCKING_MODE", "SYNCHRONOUS"})
# Parameters by which a transaction that reads could write, or one that was told committed be lost.
_PARAMETERS: Final = frozenset(
    {
        "ALL",
        "CHARACTERISTICS",
        "DEFAULT_TRANSACTION_READ_ONLY",
        "STANDARD_CONFORMING_STRINGS",
        "SYNCHRONOUS_COMMIT",
        "TRANSACTION",
        "TRANSACTION_READ_ONLY",
    }
)

# Functions that send rows to another database or write them to a file, a name in escapes that may be any of them, and
# the one that does what SET does, where such a parameter is named anywhere. Looked for in the whole text, for bodies of
# DO are literals. A literal or a comment that says so is refused too: values are for parameters. The name of one of
# these parameters that comes as a bind parameter itself is not seen.
_CALLS: Final = re.compile(r"\b(?:dblink(?:_\w+)?|lo_export)\b|\bu&\"[^\"]*\"\s*\(", re.IGNORECASE)
_SETS: Final = re.compile(r"\bset_config\b", re.IGNORECASE)
_NAMED: Final = re.compile(rf"\b(?:{'|'.join(sorted(name for name in _PARAMETERS if '_' in name))})\b", re.IGNORECASE)

# Whatever is not of ASCII may stand in a name, and in PostgreSQL's tags. A literal with escapes goes on, with escapes,
# behind a new line.
_POSTGRES: Final = re.compile(
    r"""(?P<space>[ \t\n\r\f\v]+|--[^\r\n]*)
    |(?P<comment>/\*)
    |(?P<literal>[eE]'(?:[^'\\]|''|\\.)*
            (?:'(?:[ \t\f\v]|--[^\r\n]*)*[\r\n](?:\s|--[^\r\n]*[\r\n])*'(?:[^'\\]|''|\\.)*)*(?:'|\Z)
        | '(?:[^']|'')*(?:'|\Z)
        | (?P<tag>\$(?:[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*)?\$).*?(?:(?P=tag)|\Z))
    |(?P<escaped>[uU]&"(?:[^"]|"")*(?:"|\Z))
    |"(?P<quoted>(?:[^"]|"")*)(?:"|\Z)
    |(?P<word>[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*)
    |(?P<end>;)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_SQLITE: Final = re.compile(
    r"""(?P<space>[ \t\n\r\f\v\ufeff]+|--[^\n]*|/\*.*?(?:\*/|\Z))
    |(?P<comment>\Z.)
    |(?P<literal>'(?:[^']|'')*(?:'|\Z))
    |(?P<escaped>\Z.)
    |(?:"(?P<quoted>(?:[^"]|"")*)(?:"|\Z)|\[(?P<boxed>[^\]]*)(?:\]|\Z)|`(?P<ticked>(?:[^`]|``)*)(?:`|\Z))
    |(?P<word>[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*)
    |(?P<end>;)
    |(?P<other>[$@\#:](?:[A-Za-z0-9_$\u0080-\U0010ffff]|::)+\([^\s)]*\)?|.)""",  # a parameter's name may have brackets
    re.VERBOSE | re.DOTALL,
)
_NESTED: Final = re.compile(r"/\*|\*/")


def goes_around(text: str) -> bool:
    """Whether some statement in `text` ends the transaction, changes what it may do, or reaches another database."""
    if _CALLS.search(text) is not None or (_SETS.search(text) is not None and _NAMED.search(text) is not None):
        return True
    if ";" not in text and _PLAIN.match(text) is not None:
        return False
    if any(map(_around, _statements(text, _POSTGRES))):
        return True
    # SQLite's driver takes one statement at a time, so what stands behind a `;` is the other reading's alone.
    return _around(next(filter(None, _statements(text, _SQLITE)), []))


# Most texts have none of these; and one that SQLAlchemy made for an INSERT or UPDATE has one.
_ANYTHING: Final = r"EXECUTE|DO(?!\s+(?:UPDATE|NOTHING)\b)"
_WRITES: Final = re.compile(rf"\b(?:INSERT|REPLACE|MERGE|COPY|(?<!\bDO )UPDATE|{_ANYTHING})\b", re.IGNORECASE)
_CHANGES: Final = re.compile(rf"\b(?:UPDATE|DELETE|REPLACE|MERGE|TRUNCATE|DROP|ALTER|{_ANYTHING})\b", re.IGNORECASE)


def writes(text: str) -> int:
    """How many writes `text` may have in it: 0 = none, 2 = several."""
    found = _WRITES.search(text)
    if found is None:
        return 0
    return 1 if _WRITES.search(text, found.end()) is None else 2


def written(text: str) -> Mapping[str, frozenset[str] | None]:
    """The tables (in capitals, without their schema) whose rows some statement in `text` may add or change, each with
    words in capitals among which the columns are that it gives values to; None = it may be any.

    What a function, a view or a trigger writes to is not seen, nor what is deleted; a block or a prepared statement may
    write to any.
    """
    found: dict[str, frozenset[str] | None] = {}
    for pattern in (_POSTGRES, _SQLITE):
        for words in _statements(text, pattern):
            for table, columns in _targets(words):
                known = found.get(table, frozenset())
                found[table] = None if columns is None or known is None else known | columns
    return found


@lru_cache(maxsize=1024)
def changed(text: str) -> frozenset[str]:
    """The tables (as `written` names them) of which some statement in `text` may change or delete rows that are there.

    What a function, a view, a trigger or a table that another refers to changes is not seen; a block or a prepared
    statement may change any.
    """
    if _CHANGES.search(text) is None:
        return frozenset()
    return frozenset(
        table for pattern in (_POSTGRES, _SQLITE) for words in _statements(text, pattern) for table in _changed(words)
    )


@lru_cache(maxsize=1024)
def words(text: str) -> frozenset[str]:
    """The words and signs of `text` in capitals, by either reading; literals and comments are none. `ANY` is among them
    where it may say anything."""
    found: set[str] = set()
    for pattern in (_POSTGRES, _SQLITE):
        for each in _statements(text, pattern):
            found.update(map(_bare, each), (ANY,) if _runs_anything(each) else ())
    return frozenset(found)


def fetches(text: str) -> bool:
    """Whether some statement in `text` gives what a cursor has, which another made."""
    return any(each[:1] == ["FETCH"] for pattern in (_POSTGRES, _SQLITE) for each in _statements(text, pattern))


def _runs_anything(words: Sequence[str]) -> bool:
    """Whether a statement is a block, or runs one that was prepared."""
    return words[:1] == ["DO"] or ("EXECUTE" in words and words[0] not in ("GRANT", "REVOKE", "CREATE"))


def _bare(word: str) -> str:
    return word[1:] if word.startswith('"') else word


def _defines(words: Sequence[str]) -> bool:
    """Whether a statement only says what is to be done some day. What makes a table may fill it."""
    return words[0] == "CREATE" and "TABLE" not in words[1:5]


def _targets(words: Sequence[str]) -> Iterator[tuple[str, frozenset[str] | None]]:
    """(table, as `written` says) of each write of one statement."""
    if not words or _defines(words):
        return
    if _runs_anything(words):
        yield ANY, None
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        rest = words[at + 1 :]
        if word in ("INSERT", "UPDATE") and rest[:1] == ["OR"]:
            rest = rest[2:]
        if word in ("INSERT", "REPLACE", "MERGE") and rest[:1] == ["INTO"]:
            table, rest = _name(rest[1:])
            if rest[:1] == ["AS"]:
                rest = rest[2:]
            listed = word != "MERGE" and rest[:1] == ["("] and rest[2:3] in ([","], [")"], ["."], ["["])
            yield table, frozenset(map(_bare, rest)) if listed else None
        elif word == "UPDATE" and before not in ("FOR", "KEY", "DO", "ON"):
            table, rest = _name(rest)
            yield table, frozenset(map(_bare, _up_to_where(rest)))
        elif word == "COPY" and at == 0:
            table, rest = _name(rest)
            if "FROM" in rest:
                yield table, frozenset(map(_bare, rest)) if rest[:1] == ["("] else None


def _changed(words: Sequence[str]) -> Iterator[str]:
    """The table of each change or deletion in one statement."""
    if not words or _defines(words):
        return
    if words[0] in ("DROP", "ALTER", "TRUNCATE"):
        yield from map(_bare, words)  # several, each perhaps with a schema
        if {"CASCADE", "SCHEMA", "OWNED"} & set(words):
            yield ANY
    if _runs_anything(words):
        yield ANY
    inserted: list[str] = []
    for at, word in enumerate(words):
        before, rest = words[at - 1] if at else "", words[at + 1 :]
        if word == "INTO":
            inserted.append(_name(rest)[0])
            if before in ("MERGE", "REPLACE"):  # `INSERT OR REPLACE INTO`, too
                yield inserted[-1]
        elif word == "UPDATE" and before == "DO":
            yield from inserted
        elif word == "UPDATE" and before not in ("FOR", "KEY", "ON"):
            yield _name(rest[2:] if rest[:1] == ["OR"] else rest)[0]
        elif word == "DELETE" and rest[:1] == ["FROM"]:
            yield _name(rest[1:])[0]


def _name(words: Sequence[str]) -> tuple[str, list[str]]:
    """The table's name that these begin with, and what is behind it."""
    left = list(words[1:] if words[:1] == ["ONLY"] else words)
    left = left[1:] if left[:1] == ["("] else left  # `ONLY (person)`
    while left[1:2] == ["."]:
        left = left[2:]
    name = left[0] if left else ANY
    return (ANY if name == "'" else _bare(name)), left[1:]  # SQLite takes a literal for a name


def _up_to_where(words: Sequence[str]) -> Iterator[str]:
    depth = 0
    for word in words:
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0 and word == "WHERE":
            return
        yield word


def _statements(text: str, pattern: re.Pattern[str]) -> Iterator[list[str]]:
    """The words of each statement, in capitals; a literal is `'`, a name in quotes begins with `"`, and one that is
    spelled in escapes is `ANY`."""
    words: list[str] = []
    at = 0
    while (token := pattern.match(text, at)) is not None:
        at = token.end()
        match token.lastgroup:
            case "comment":
                at = _past(text, at)
            case "end":
                yield words
                words = []
            case "word" | "other":
                words.append(token[0].upper())
            case "quoted" | "boxed" | "ticked" as how:
                words.append('"' + str(token[how]).upper())
            case "escaped":
                words.append(ANY)
            case "literal" | "tag":
                words.append("'")
            case _:
                pass  # space
    yield words


def _past(text: str, at: int) -> int:
    """Where the comment ends that was opened before `at`, with what is nested in it."""
    depth = 1
    while depth:
        mark = _NESTED.search(text, at)
        if mark is None:
            return len(text)
        depth += 1 if mark[0] == "/*" else -1
        at = mark.end()
    return at


def _around(words: list[str]) -> bool:
    first, second = words[0] if words else "", words[1] if len(words) > 1 else ""
    match first:
        case "ROLLBACK":
            return "TO" not in (second, words[2] if len(words) > 2 else "")
        case "PREPARE":
            return second == "TRANSACTION"
        case "SET" | "RESET":
            names = words[1:3] if second in ("LOCAL", "SESSION") else [second]
            return any(_bare(name) in _PARAMETERS or name == ANY for name in names)
        case "PRAGMA":
            return bool(_PRAGMAS.intersection(map(_bare, words[1:4])))  # a database's name may stand before
        case "COPY":
            return not _through_us(words)  # else it is a file or a program of the server's
        case "CREATE" | "ALTER":
            return second in _LINKS
        case _:
            return first in _ENDS or first in _REACHES


def _through_us(copy: list[str]) -> bool:
    """Whether a COPY goes through its client: STDIN or STDOUT stands behind the TO or FROM outside all brackets."""
    depth = 0
    for word, following in zip(copy, [*copy[1:], ""], strict=True):
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0 and word in ("TO", "FROM"):
            return following in ("STDIN", "STDOUT")
    return False
