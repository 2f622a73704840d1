"""A headless Chromium that tests drive over a pipe, by the DevTools protocol."""

import base64
import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PROGRAM = "/usr/bin/chromium"
PATIENCE = 60.0

FLAGS = (
    "--headless=new",
    # The tests run as root; nothing but our own pages is opened.
    "--no-sandbox",
    "--disable-gpu",
    # As where they lie over the page; a picture would lack what is below them.
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-pipe",
)

Json = dict[str, Any]


class Tab:
    """One page in the browser."""

    def __init__(self, browser: "_Pipe", session: str) -> None:
        self._browser = browser
        self._session = session
        self.ask("Page.enable")
        self.ask("Runtime.enable")
        self.ask("Log.enable")

    def ask(self, method: str, **params: Any) -> Json:
        """Give a command and return its answer."""
        return self._browser.ask(method, params, self._session)

    def window(self, width: int, height: int, scheme: str, scale: float = 1) -> None:
        """Show pages in a window of that size, and in "light" or "dark"."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.ask("Emulation.setEmulatedMedia", features=[feature])

    def scripts(self, run: bool) -> None:
        """Let pages run scripts, or not."""
        self.ask("Emulation.setScriptExecutionDisabled", value=not run)

    def open(self, address: str) -> None:
        """Go to a page and wait until it is there."""
        self._browser.events.clear()
        self.ask("Page.navigate", url=address)
        self._browser.await_event("Page.loadEventFired")

    def value(self, script: str) -> Any:
        """Return what a JavaScript expression gives; a promise is waited for."""
        done = self.ask(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, script: str, seconds: float = 10) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.value(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press and release a key."""
        code = {"Tab": 9, "Enter": 13}[key]
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                **(more if kind == "keyDown" else {}),
            )

    def complaints(self) -> list[str]:
        """Return what the browser has to say against the page."""
        said = []
        for event in self._browser.events:
            params = event.get("params", {})
            if event.get("method") == "Log.entryAdded":
                said.append(params["entry"]["text"])
            elif event.get("method") == "Runtime.exceptionThrown":
                said.append(json.dumps(params["exceptionDetails"]))
        return said

    def accessible(self) -> list[tuple[str, str]]:
        """Return the accessibility tree as roles and names, in reading order."""
        nodes = self.ask("Accessibility.getFullAXTree")["nodes"]
        return [
            (one["role"]["value"], one.get("name", {}).get("value", ""))
            for one in nodes
            if not one.get("ignored")
        ]

    def picture(self, path: Path, whole: bool = True) -> None:
        """Write the page, or what the window shows of it, to a PNG file."""
        taken = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))


class _Pipe:
    """Commands to a browser, and what it answers and tells."""

    def __init__(self, to: int, out: int) -> None:
        self._to = to
        self._out = out
        self._rest = b""
        self._number = 0
        self.events: list[Json] = []

    def ask(self, method: str, params: Mapping[str, Any], session: str = "") -> Json:
        self._number += 1
        command: Json = {"id": self._number, "method": method, "params": params}
        if session:
            command["sessionId"] = session
        os.write(self._to, json.dumps(command).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            message = self._next(end)
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: Json = message["result"]
                return result
            self.events.append(message)

    def await_event(self, method: str) -> None:
        end = time.monotonic() + PATIENCE
        while all(event.get("method") != method for event in self.events):
            self.events.append(self._next(end))

    def _next(self, end: float) -> Json:
        while b"\0" not in self._rest:
            left = end - time.monotonic()
            ready = left > 0 and select.select([self._out], [], [], left)[0]
            assert ready, "the browser does not answer"
            data = os.read(self._out, 1 << 20)
            assert data, "the browser ended"
            self._rest += data
        first, _, self._rest = self._rest.partition(b"\0")
        message: Json = json.loads(first)
        return message


@contextlib.contextmanager
def browse(folder: Path, *flags: str, inside: Sequence[str] = ()) -> Iterator[Tab]:
    """Start a browser that keeps its files in a folder; yield its page.

    ``inside`` are the words of a command that starts it somewhere else.
    """
    # It reads commands from descriptor 3 and answers to 4.
    command_out, command_in = os.pipe()
    answer_out, answer_in = os.pipe()
    program = f'exec 3<&{command_out} 4>&{answer_in}; exec "$@"'
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    log = (folder / "chromium.log").open("wb")
    child = subprocess.Popen(
        [
            *("bash", "-c", program, "bash", *inside, PROGRAM, *FLAGS, *flags),
            *(f"--user-data-dir={folder}/profile", "about:blank"),
        ],
        pass_fds=(command_out, answer_in),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, **home},
        process_group=0,
    )
    os.close(command_out)
    os.close(answer_in)
    pipe = _Pipe(command_in, answer_out)
    try:
        targets = pipe.ask("Target.getTargets", {})["targetInfos"]
        page = next(one for one in targets if one["type"] == "page")
        attached = {"targetId": page["targetId"], "flatten": True}
        yield Tab(pipe, pipe.ask("Target.attachToTarget", attached)["sessionId"])
        pipe.ask("Browser.close", {})
    finally:
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, 9)
            child.wait()
        os.close(command_in)
        os.close(answer_out)
        log.close()
