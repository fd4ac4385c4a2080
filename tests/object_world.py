"""In: a folder. Out: one deployment with a store of objects in two countries, requests to it, their acts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from starlette.authentication import SimpleUser

from residency.adapters.pins_memory import PinsMemory
from residency.adapters.sink_files import FilesSink
from residency.adapters.sink_memory import MemorySink
from residency.audit.entry import Entry
from residency.enforcement.context import current
from residency.enforcement.point import Request
from residency.enforcement.ports import SinkPort
from residency.storage import ObjectHandle
from tests.world import HANOI, SG, SINGAPORE, VN, Deployed, handling, load_policy, write_deployment

__all__ = ["HANOI", "SG", "SINGAPORE", "VN", "ObjectWorld"]

DEPLOYMENT = """
sinks:
  files-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  files-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://vn"}
stores: {uploads: [files-sg, files-vn]}
activities:
  - {route: "POST /uploads", subject: user, data: [personal], store: uploads}
  - {route: "GET /uploads", subject: user, data: [personal], store: uploads}
  - {route: "DELETE /uploads", subject: user, data: [personal], store: uploads}
"""


class ObjectWorld(Deployed):
    """One deployment with two object sinks, and the acts on them."""

    def __init__(
        self,
        folder: Path,
        mode: str = "enforce",
        sinks: Sequence[SinkPort] | None = None,
        pins: PinsMemory | None = None,
    ) -> None:
        """`sinks` in the place of those in memory and on disk, called files-sg and files-vn like them."""
        self.folder = folder
        self.vn = FilesSink("files-vn", VN, folder / "vn")
        self.sg = MemorySink("files-sg", SG)
        file = write_deployment(folder, DEPLOYMENT, replace=[("mode: enforce", f"mode: {mode}")])
        super().__init__(load_policy(file), sinks or [self.sg, self.vn], pins=pins)

    @contextmanager
    def request(self, method: str = "POST", address: str = HANOI, who: str = "an") -> Iterator[ObjectHandle]:
        """Code inside runs as a handler of this request."""
        here = self.point.admit(Request(method, "/uploads", b"/uploads", (), (address, 50_000), SimpleUser(who)))
        with handling(here):
            handle = current().store("uploads")
            assert isinstance(handle, ObjectHandle)
            yield handle

    def refusals(self) -> list[Entry]:
        """The entries of refusals, in order."""
        return [entry for entry in self.entries if entry.kind == "refusal"]

    def acts(self) -> list[tuple[str | None, str | None, str | None]]:
        """(sink, operation, outcome) of every intent, None where it stands open."""
        return [(entry.sink, entry.operation, word) for entry, word in self.intents]
