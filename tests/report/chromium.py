"""A headless Chromium that tests drive through its debugging pipe: no package and no port."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
FOUND = os.environ.get("EDGEWISE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--hide-scrollbars",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
]
KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Home": 36, "End": 35, "Tab": 9, "Enter": 13}
SHIFT = 8
LAUNCH = "import os, sys; [os.dup2(int(sys.argv[n + 1]), 3 + n) for n in (0, 1)]; os.execvp(sys.argv[3], sys.argv[3:])"
"""Chromium reads commands from 3 and writes answers to 4."""


def _pipe():
    """Both ends of a pipe, numbered from 10, so that none is in the way of 3 and 4."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high


class Chromium:
    """One tab. Close it, or use it in a `with` statement."""

    def __init__(self, profile: Path):
        commands, self._write = _pipe()
        self._read, answers = _pipe()
        arguments = [sys.executable, "-ISc", LAUNCH, str(commands), str(answers), FOUND, *FLAGS]
        self._process = subprocess.Popen(
            [*arguments, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._number, self._buffer, self._session, self.events = 0, b"", "", []
        try:
            targets = self.send("Target.getTargets")["targetInfos"]
            page = next(target["targetId"] for target in targets if target["type"] == "page")
            self._session = self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.send(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with ExitStack() as stack:
            stack.callback(os.close, self._write)
            stack.callback(os.close, self._read)
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def send(self, method, **parameters):
        """Call a method of the protocol and give its result; events that come before it are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self._next(60)
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def _next(self, seconds):
        deadline = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "Chromium does not answer"
            part = os.read(self._read, 1 << 20)
            assert part, "Chromium has ended"
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, path, width=1280, height=900, scripts=True, dark=False):
        """Load a file with a window of this size, and wait until all of it is there."""
        self.send("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.send("Page.navigate", url=path.as_uri())
        deadline = time.monotonic() + 60
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            assert time.monotonic() < deadline, "the page does not load"
            self.events.append(self._next(60))
        return self

    def run(self, expression):
        """The value of a JavaScript expression; promises are awaited."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key, times=1, modifiers=0):
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                code = KEYS[key]
                extra = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
                self.send(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    key=key,
                    code=key,
                    windowsVirtualKeyCode=code,
                    modifiers=modifiers,
                    **extra,
                )

    def middle(self, selector, number=0):
        """Scroll an element into view and give its middle."""
        return self.run(
            f"(e => {{ e.scrollIntoView({{block: 'center', behavior: 'instant'}}); const r = e.getBoundingClientRect();"
            f" return [r.x + r.width / 2, r.y + r.height / 2]; }})(document.querySelectorAll({selector!r})[{number}])"
        )

    def click(self, selector, number=0):
        x, y = self.middle(selector, number)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def wheel(self, selector, number=0, by=100, modifiers=0):
        x, y = self.middle(selector, number)
        self.send("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=by, modifiers=modifiers)

    def complaints(self):
        """What went to the console, was thrown, or was blocked since the page was opened."""
        methods = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        self.run("new Promise(done => setTimeout(done, 50))")
        return [event for event in self.events if event.get("method") in methods]

    def requests(self):
        """Addresses asked for since the page was opened, but those that hold their data."""
        sent = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        addresses = [event["params"]["request"]["url"] for event in sent]
        return [address for address in addresses if not address.startswith("data:")]

    def screenshot(self, path, whole=False, selector=""):
        clip = {}
        if selector:
            box = self.run(
                f"(r => [r.x + scrollX, r.y + scrollY, r.width, r.height])"
                f"(document.querySelector({selector!r}).getBoundingClientRect())"
            )
            clip = {"clip": dict(zip(("x", "y", "width", "height"), box, strict=True)) | {"scale": 1}}
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=whole or bool(selector), **clip)
        path.write_bytes(base64.b64decode(answer["data"]))

    def pdf(self):
        return base64.b64decode(self.send("Page.printToPDF", printBackground=False)["data"])
