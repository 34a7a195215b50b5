# SPDX-License-Identifier: MIT
"""A real headless Chromium, driven by its own protocol: open a page, evaluate a script, take a picture."""
import asyncio
import base64
import contextlib
import itertools
import json
import pathlib
import subprocess
import threading

import websockets

from aqueduct import wait_for

PROGRAM = "chromium-headless-shell"


class Browser:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.process = subprocess.Popen([PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                                         "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        chosen = folder / "DevToolsActivePort"      # made at the start, and then filled
        port, path = wait_for(lambda: self.process.poll() is None and chosen.exists() and len(chosen.read_text().split()) == 2 and chosen.read_text().split(), 60)
        self.numbers, self.answers, self.logs = itertools.count(1), {}, []
        self.connected = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.listen(f"ws://127.0.0.1:{port}{path}")), daemon=True)
        self.thread.start()
        assert self.connected.wait(60)

    async def listen(self, url):
        self.loop, self.socket = asyncio.get_running_loop(), await websockets.connect(url, max_size=None)
        self.connected.set()
        with contextlib.suppress(websockets.ConnectionClosed):
            async for text in self.socket:
                self.heard(json.loads(text))

    def heard(self, message):
        if "id" in message:
            self.answers.pop(message["id"]).set_result(message)
        elif message["method"] in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.logs.append(message)

    def call(self, method, session=None, **parameters):
        async def send():
            number = next(self.numbers)
            self.answers[number] = self.loop.create_future()
            message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
            future = self.answers[number]
            await self.socket.send(json.dumps(message))
            return await future
        answer = asyncio.run_coroutine_threadsafe(send(), self.loop).result(60)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def open(self, url, width=1100, height=700, dark=False):
        return Page(self, url, width, height, dark)

    def close(self):
        try:
            self.call("Browser.close")
            self.process.wait(30)
            self.thread.join(30)
        finally:
            self.process.kill()


class Page:
    def __init__(self, browser, url, width, height, dark):
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.look(width, height, dark)
        self.call("Page.navigate", url=url)

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def look(self, width, height, dark):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def run(self, script):
        """The value of an expression, also of a promise."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, script, seconds=40):
        return wait_for(lambda: self.run(script), seconds, lambda: (self.run("document.body?.innerText"), self.browser.logs))

    def picture(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
