"""For tests: a real headless Chromium. A page's path in; what its scripts answer, out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

_STARTED = "DevTools listening on "


class Tab:
    """One tab, spoken to over the DevTools protocol."""

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self._socket = socket
        self._session = session
        self._last = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """The result of one method of the protocol."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params, "sessionId": self._session}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == self._last:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])
            self.events.append(answer)

    def open(self, page: Path, fragment: str = "") -> None:
        """Load a file and wait until its own script is through."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=page.absolute().as_uri() + fragment)
        self.run(
            "new Promise((done) => { const wait = () => globalThis.residency ? done() : setTimeout(wait, 5); wait(); })"
        )
        self.run("residency.ready")

    def run(self, expression: str) -> Any:
        """What an expression answers, awaited, as JSON would have it. Its exception fails the test."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self) -> str:
        """The text that the page shows."""
        return str(self.run("document.body.innerText"))


@contextmanager
def chromium() -> Iterator[Tab]:
    """A tab of a Chromium of its own, with an empty profile."""
    program = shutil.which("chromium")
    assert program is not None, "the tier `chromium` is there, and the program is not"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
        ]
        # What it leaves in the folder for temporary files goes with its profile.
        environment = {**os.environ, "TMPDIR": profile}
        browser = subprocess.Popen([program, *flags, "about:blank"], stderr=subprocess.PIPE, text=True, env=environment)
        try:
            assert browser.stderr is not None
            line = next(line for line in browser.stderr if line.startswith(_STARTED))
            with connect(line.removeprefix(_STARTED).strip(), max_size=None, proxy=None) as socket:
                socket.send(json.dumps({"id": 0, "method": "Target.createTarget", "params": {"url": "about:blank"}}))
                target = _answer(socket, 0)["targetId"]
                attach = {"targetId": target, "flatten": True}
                socket.send(json.dumps({"id": -1, "method": "Target.attachToTarget", "params": attach}))
                tab = Tab(socket, _answer(socket, -1)["sessionId"])
                for domain in ("Page", "Runtime", "Log", "Network"):
                    tab.call(f"{domain}.enable")
                yield tab
        finally:
            browser.terminate()
            browser.wait(timeout=30)
            if browser.stderr is not None:
                browser.stderr.close()


def _answer(socket: ClientConnection, number: int) -> dict[str, Any]:
    while True:
        answer = json.loads(socket.recv(timeout=60))
        if answer.get("id") == number:
            return dict(answer["result"])
