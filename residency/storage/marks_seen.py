"""Files in; which sinks have borne their own mark, and what was last wrong with each one's, remembered, out.

A sink without a mark says nothing: most never got one. One that bore its own and bears none any more was emptied, or
is another. So what was seen is kept beside the audit log, a file for each sink, which the next start finds. Workers of
one instance write the same, each file whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = ["LOST", "Files", "SeenMarks", "State"]

LOST: Final = "bore its own mark and bears none any more: it was emptied, or is another one"
"""What is wrong with a sink whose mark is gone, in words that follow its name."""
_FOLDER: Final = "marked"


class Files(Protocol):
    """Durable, atomic files by path; `residency.adapters.log_files.LogFiles` has the contract."""

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, or None. Raises: OSError."""

    def write(self, path: str, data: bytes) -> None:
        """Replace `path` whole and durably. Raises: OSError."""


@dataclass(frozen=True, slots=True)
class State:
    """`borne` = the sink has borne its own mark; `problem` = what was last wrong with its marks, "" = nothing."""

    borne: bool = False
    problem: str = ""


class SeenMarks:
    """What one instance has seen of the marks of its sinks."""

    __slots__ = ("_files",)

    def __init__(self, files: Files) -> None:
        """`files` are those of the audit folder."""
        self._files = files

    def of(self, sink: str) -> State:
        """What was last seen of a sink. Raises: OSError; ValueError for a file that is none of ours."""
        data = self._files.read(f"{_FOLDER}/{sink}")
        if data is None:
            return State()
        said = json.loads(data)
        if not isinstance(said, dict) or not isinstance(said.get("problem"), str):
            raise ValueError("what was seen of a sink's mark cannot be read")
        return State(said.get("borne") is True, said["problem"])

    def keep(self, sink: str, state: State) -> None:
        """Remember `state` in the place of what was seen before. Raises: OSError."""
        text = json.dumps({"borne": state.borne, "problem": state.problem})
        self._files.write(f"{_FOLDER}/{sink}", text.encode())
