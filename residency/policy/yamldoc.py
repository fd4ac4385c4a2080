"""The strict YAML subset: bytes of one file in; plain values with the place of each, and every problem, out.

YAML guesses; policy must not. Of the whole language this keeps block and flow mappings, sequences and scalars:

- plain `true`, `false`, `null` and decimal integers have types; every other plain scalar is the text as written
  (`NO` is Norway, `on` is a word, `2026-08-19` and `1.5` are text until a document says otherwise);
- keys are text and stand once; anchors, aliases, tags, merge keys and further documents are refused;
- a value left empty is refused, because nobody can tell whether it was meant.

Limits: 1 MiB of UTF-8, 32 levels, integers of at most 18 digits. The reader walks the parser's events with a stack of
its own, so that no input makes Python recurse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import yaml

from residency.errors import Problem

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MISSING", "Mark", "Path", "Value", "YamlDoc", "parse_yaml"]

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 32
MISSING: Final = "the value is missing"
"""How the problem of an empty value begins."""

# libyaml reads the same language some ten times faster; PyYAML's own parser serves where it was built without.
_Loader: Final[type] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_CONTROL: Final = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069]")
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}

Value = None | bool | int | str | list["Value"] | dict[str, "Value"]
Path = tuple[str | int, ...]
Mark = tuple[int, int]


@dataclass(frozen=True, slots=True)
class YamlDoc:
    """One parsed file. `values` and `keys` give (line, column), from 1, of a path's value and of its key.

    `value` is None where the file has no usable content; then `problems` says why.
    """

    file: str
    value: Value
    values: dict[Path, Mark]
    keys: dict[Path, Mark]
    problems: tuple[Problem, ...]

    def mark(self, path: Path) -> Mark:
        """The place of `path`, or of the nearest thing above it that the file has."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))

    def key_mark(self, path: Path) -> Mark:
        """The place of the key that `path` ends with, or else of its value."""
        return self.keys.get(path) or self.mark(path)

    def problem(self, path: Path, message: str, *, key: bool = False) -> Problem:
        """A Problem at `path`, or at its key."""
        line, column = self.key_mark(path) if key else self.mark(path)
        return Problem(self.file, line, column, message)


@dataclass(slots=True)
class _Open:
    """A collection being filled. `key` is the pending key of a mapping; `skip` drops the value of a refused key."""

    path: Path
    into: list[Value] | dict[str, Value]
    key: str | None = None
    skip: bool = False


def parse_yaml(data: bytes, file: str) -> YamlDoc:
    """Read one file's bytes. Never raises: whatever is wrong stands in `problems`."""
    if len(data) > MAX_BYTES:
        return _failed(file, 1, 1, f"the file has {len(data)} bytes; a policy file has at most {MAX_BYTES}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _failed(file, data.count(b"\n", 0, error.start) + 1, 1, "this line is not UTF-8 text")
    if (bad := _unprintable(text)) is not None:
        line, column = text.count("\n", 0, bad) + 1, bad - text.rfind("\n", 0, bad)
        return _failed(file, line, column, f"character U+{ord(text[bad]):04X} may not stand in a policy file")
    reader = _Reader(file)
    try:
        for event in _events(text):
            if not reader.take(event):
                break
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        tab = mark is not None and text[mark.index : mark.index + 1] == "\t"  # YAML's own words for it help nobody
        what = "a tab stands here; indent with spaces" if tab else error.problem or error.context
        reader.problems.append(Problem(file, line, column, f"this is not YAML: {what}"))
        reader.root = None
    except yaml.YAMLError:
        reader.problems.append(Problem(file, 1, 1, "this is not YAML"))
        reader.root = None
    if not reader.values and not reader.problems:
        reader.problems.append(Problem(file, 1, 1, "the file is empty: a policy file starts with `residency: 1`"))
    return YamlDoc(file, reader.root, reader.values, reader.keys, tuple(reader.problems))


def _failed(file: str, line: int, column: int, message: str) -> YamlDoc:
    return YamlDoc(file, None, {}, {}, (Problem(file, line, column, message),))


def _unprintable(text: str) -> int | None:
    found = re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    return None if found is None else found.start()


def _events(text: str) -> Iterator[yaml.Event]:
    return iter(yaml.parse(text, Loader=_Loader))


def _place(event: yaml.Event) -> Mark:
    mark = event.start_mark
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)


class _Reader:
    """Builds values from events; `take` answers False where reading on makes no sense."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Value = None
        self.values: dict[Path, Mark] = {}
        self.keys: dict[Path, Mark] = {}
        self.problems: list[Problem] = []
        self._stack: list[_Open] = []
        self._documents = 0
        self._ignored = 0  # levels deep inside the value of a key that was refused

    def take(self, event: yaml.Event) -> bool:
        """Take the next event."""
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._say(event, "a second document: a policy file holds one")
                    return False
                if event.tags or event.version:
                    self._say(event, "YAML directives are refused")
            case yaml.AliasEvent():
                self._say(event, f"alias `*{event.anchor}`: aliases are refused; write the value out")
                self._put(event, None)
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                if len(self._stack) + self._ignored >= MAX_DEPTH:
                    self._say(event, f"nested deeper than {MAX_DEPTH} levels")
                    return False
                self._refuse_properties(event)
                self._open(event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                if self._ignored:
                    self._ignored -= 1
                else:
                    self._stack.pop()
            case _:  # the stream's start and end, a document's end
                pass
        return True

    def _say(self, event: yaml.Event, message: str) -> None:
        self.problems.append(Problem(self.file, *_place(event), message))

    def _refuse_escapes(self, event: yaml.ScalarEvent) -> None:
        # What may not stand in a file may not be written by its number either: it would reach terminals and pages.
        if event.style == '"' and (bad := _CONTROL.search(event.value)) is not None:
            self._say(event, f"character U+{ord(bad[0]):04X} may not stand in a policy file, nor its escape")

    def _refuse_properties(self, event: yaml.NodeEvent) -> None:
        if event.anchor is not None:
            self._say(event, f"anchor `&{event.anchor}`: anchors are refused; write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._say(event, f"tag `{tag}`: tags are refused")

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        into: list[Value] | dict[str, Value] = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        if self._ignored:
            self._ignored += 1
            return
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.into, dict) and top.key is None and not top.skip:
            self._say(event, "a key must be text")
            top.skip = True
            self._ignored = 1
            return
        if top is not None and top.skip:
            top.skip = False
            self._ignored = 1
            return
        path = self._put(event, into)
        self._stack.append(_Open(path, into))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._refuse_properties(event)
        self._refuse_escapes(event)
        if self._ignored:
            return
        plain = event.implicit[0] and event.tag is None
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.into, dict) and top.key is None and not top.skip:
            self._key(event, top, plain)
            return
        self._put(event, self._typed(event) if plain else event.value)

    def _key(self, event: yaml.ScalarEvent, top: _Open, plain: bool) -> None:
        name: str = event.value
        path = (*top.path, name)
        if plain and name == "<<":
            self._say(event, "merge key `<<`: merge keys are refused; write the keys out")
            top.skip = True
        elif plain and (name in _WORDS or _INTEGER.fullmatch(name) is not None):
            self._say(event, f'key `{name}` must be text: write "{name}"')
            top.skip = True
        elif plain and name == "":
            self._say(event, "a key is missing here")
            top.skip = True
        elif isinstance(top.into, dict) and name in top.into:
            line = self.keys[path][0]
            self._say(event, f"duplicate key `{name}`: it stands already in line {line}")
            top.skip = True
        else:
            top.key = name
            self.keys[path] = _place(event)

    def _typed(self, event: yaml.ScalarEvent) -> Value:
        text: str = event.value
        if text == "":
            self._say(event, f'{MISSING}: write it, or null, "" or []')
            return None
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text) is not None:
            return int(text)
        if text.lstrip("-").isdecimal() and text.isascii() and not text.startswith("--") and len(text) > 18:
            self._say(event, "integers have at most 18 digits; quote it if it is text")
        return text

    def _put(self, event: yaml.Event, value: Value) -> Path:
        """Store a value where the open collection wants it, and answer its path."""
        mark = _place(event)
        if not self._stack:
            self.root = value
            self.values[()] = mark
            return ()
        top = self._stack[-1]
        if isinstance(top.into, list):
            path: Path = (*top.path, len(top.into))
            top.into.append(value)
        elif top.key is not None:
            path = (*top.path, top.key)
            top.into[top.key] = value
            top.key = None
        else:
            # The key was refused, or an alias stands where a key should: the value goes nowhere.
            top.skip = not top.skip
            return top.path
        self.values[path] = mark
        return path
