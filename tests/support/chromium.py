"""A real Chromium without a window, driven by its own DevTools protocol over a loopback socket.

This module owns the browser's process and what a page tells of its faults. It never asserts
anything about a page. Protocol: https://chromedevtools.github.io/devtools-protocol/.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.waiting import DEADLINE_S, wait_until

NAME = "chromium-headless-shell"
STRANGE_NAME = "ledger.example"
"""A name that means this machine to the browser, and to nobody else."""
MESSAGE_BYTES_MAX = 64 << 20

needs_chromium = pytest.mark.skipif(
    shutil.which(NAME) is None, reason=f"needs {NAME}, Debian's package of that name"
)

_FLAGS = (
    "--no-sandbox",  # Which root cannot have. The pages are our own.
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-proxy-server",
    f"--host-resolver-rules=MAP {STRANGE_NAME} 127.0.0.1",
    "--remote-debugging-port=0",
)


class Page:
    """A tab: what is asked of it, and the faults that it has told."""

    def __init__(self, socket: ClientConnection, width: int, height: int) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._session = ""
        self.faults: list[str] = []
        """Exceptions, errors in the console, what the network or the policy refused."""
        self.requests: list[str] = []
        """The address of all that was asked for, of this server or of any other."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.send(f"{domain}.enable")
        self.resize(width, height)

    def send(self, method: str, **parameters: Any) -> Any:
        """Return the result of one command."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while (answer := json.loads(self._socket.recv(DEADLINE_S))).get("id") != number:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
            self.faults.append(json.dumps(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.faults.append(json.dumps(parameters["entry"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Audits.issueAdded":
            self.faults.append(json.dumps(parameters["issue"]))

    def resize(self, width: int, height: int, *, is_phone: bool = False) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=is_phone,
        )

    def prefer(self, scheme: str) -> None:
        """Prefer `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", features=[feature])

    def prepare(self, script: str) -> None:
        """Run a script in every page that is opened from now on, before those of its own."""
        self.send("Page.addScriptToEvaluateOnNewDocument", source=f"{{{script}}}")

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, or what its promise comes to."""
        result = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Return the first true value of an expression."""
        return wait_until(lambda: self.evaluate(expression), f"the page: {expression}")

    def text(self, selector: str) -> str:
        """Return the text of the first element of a selector."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a key of that name, and let go of it."""
        more = {"text": "\r", "windowsVirtualKeyCode": 13} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, **more)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def point(self, x: float, y: float) -> None:
        """Move the mouse."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def shoot(self, path: Path) -> None:
        """Write what the window shows, as a PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))


class Browser:
    """A Chromium in a process of its own, ended with the `with` block."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sockets = ExitStack()
        with (directory / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                [NAME, *_FLAGS, f"--user-data-dir={directory}", "about:blank"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Debian's command is a script, and its browser a child.
            )

    def open_page(self, width: int = 1200, height: int = 900) -> Page:
        """Return a new tab, with a socket of its own."""
        active = self._directory / "DevToolsActivePort"
        wait_until(lambda: active.exists() and active.read_text().count("\n"), "Chromium")
        port, path = active.read_text().split("\n")[:2]
        url = f"ws://127.0.0.1:{port}{path}"
        # Events nobody reads are no reason to read no more, which would make closing wait.
        connection = connect(
            url, max_size=MESSAGE_BYTES_MAX, max_queue=None, proxy=None, compression=None
        )
        return Page(self._sockets.enter_context(connection), width, height)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sockets.close()
        os.killpg(self._process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(DEADLINE_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
