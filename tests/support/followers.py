# SPDX-License-Identifier: MIT
"""Listeners that come back: each by a transport of its own, from the last position that came whole, until it is told to stop.

    f = FOLLOWERS["websocket"](ports, "?type=chat.*")       # at one of the ports until that breaks, then at the next one
    f.got                   # the ids of events as they came, over all connections
    f.verdicts              # what became of the position, each time it was told: (verdict, lost)
    f.ends                  # (close code, reason) of each connection that was closed by the other side
    f.stop()

They are as simple as a client may be: what is not whole is thrown away, and nothing is remembered but the position."""
import asyncio
import contextlib
import http.client
import itertools
import json
import re
import socket
import subprocess
import threading
import urllib.parse

import websockets

BREAKS = (OSError, http.client.HTTPException, websockets.WebSocketException, asyncio.TimeoutError, EOFError)


class Follower(threading.Thread):
    def __init__(self, ports, query="", start="earliest", wait=0.02):
        super().__init__(daemon=True)
        self.ports, self.query, self.start_at, self.wait_s = list(ports), query, start, wait
        self.got, self.verdicts, self.ends, self.refusals = [], [], [], []
        self.position, self.connections, self.retry_ms, self.failed = None, 0, None, None
        self.turn, self.stopped, self.port, self.connection = 0, threading.Event(), None, None
        self.start()

    def run(self):
        try:
            for self.connections in itertools.count():
                self.port = self.ports[self.turn % len(self.ports)]
                with contextlib.suppress(*BREAKS):
                    self.once()
                if self.stopped.wait(self.wait_s):
                    return
                self.turn += 1
        except Exception as e:          # noqa: BLE001 (a test looks at it)
            self.failed = e

    def stop(self):
        self.stopped.set()
        if self.connection and self.connection.sock:
            with contextlib.suppress(OSError):
                self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.join(60)
        assert not self.is_alive() and self.failed is None, self.failed

    def url(self, path="/", **more):
        words = {"from": self.position or self.start_at, **more}
        return f"127.0.0.1:{self.port}{path}?" + urllib.parse.urlencode({name: value for name, value in words.items() if value}) + \
            ("&" + self.query.lstrip("?") if self.query else "")

    def took(self, event, position=None):
        self.got.append(event["id"])
        self.position = position or self.position

    def verdict(self, what):
        self.verdicts.append((what["resume"], what.get("lost")))

    async def messages(self, url, **more):
        """What comes of a WebSocket, until it ends or this one is stopped."""
        try:
            async with websockets.connect(url, max_size=None, open_timeout=20, ping_interval=None, close_timeout=1, **more) as socket:
                self.socket = socket
                while not self.stopped.is_set():
                    try:
                        yield json.loads(await asyncio.wait_for(socket.recv(), 0.2))
                    except asyncio.TimeoutError:
                        continue
        except websockets.InvalidStatusCode as e:
            self.refusals.append(e.status_code)
        except websockets.ConnectionClosedError as e:
            if e.rcvd:
                self.ends.append((e.rcvd.code, e.rcvd.reason))


class WebSocketFollower(Follower):
    def once(self):
        asyncio.run(self.listen())

    async def listen(self):
        async for event in self.messages("ws://" + self.url(cursor="1")):
            if event["type"] == "aqueduct.resume":
                self.verdict(event["data"])
            else:
                self.took(event, event["aqueductcursor"])


class ProtocolFollower(WebSocketFollower):
    """aqueduct.v1+json, with one subscription."""

    async def listen(self):
        async for message in self.messages(f"ws://127.0.0.1:{self.port}/", subprotocols=["aqueduct.v1+json"]):
            op = message["op"]
            if op == "welcome":
                start = {"from": self.position or self.start_at} if self.position or self.start_at else {}
                await self.socket.send(json.dumps({"op": "sub", "id": 1, "sub": "a", **start}))
            elif op == "state" and "resume" in message:
                self.verdict(message)
            elif op == "ev":
                for event in message["d"]:
                    self.took(event)
                self.position = message["pos"]
            elif op == "drain":
                self.retry_ms = message["reconnect_ms"]
            elif op == "err":
                self.refusals.append(message["code"])
                return


class SseFollower(Follower):
    def once(self):
        self.connection = connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": self.position} if self.position else {})}
        with contextlib.closing(connection):
            connection.request("GET", "/" + self.url().partition("/")[2], headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                self.refusals.append(answer.status)
                return
            self.blocks(answer)

    def blocks(self, answer):
        text = b""
        while not self.stopped.is_set():
            some = answer.read1(65536)
            if not some:
                return
            *blocks, text = (text + some).split(b"\n\n")
            for block in blocks:
                self.block(dict(re.findall(r"^(\w+): ?(.*)$", block.decode(), re.M)))

    def block(self, lines):
        self.position = lines.get("id", self.position)
        self.retry_ms = int(lines["retry"]) if "retry" in lines else self.retry_ms
        if lines.get("event") == "resume":
            self.verdict(json.loads(lines["data"]))
        elif "data" in lines:
            self.took(json.loads(lines["data"]))


class PullFollower(Follower):
    def once(self):
        self.connection = connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            while not self.stopped.is_set():
                target = "/" + self.url("/events", wait="1", max="30").partition("/")[2]
                connection.request("GET", target)
                answer = connection.getresponse()
                if answer.length is None:
                    return              # cut within its head, which http.client takes for a whole one
                body = answer.read()
                if answer.status != 200:
                    self.refusals.append(answer.status)
                    return
                self.page(json.loads(body))

    def page(self, page):
        if page["resume"] != "exact":
            self.verdict(page)
        for event in page["events"]:
            self.took(event)
        self.position = page["cursor"]


SCRIPT = """
import {{ listen }} from "{client}";
const say = (what) => process.stdout.write(JSON.stringify(what) + "\\n");
const stream = listen("http://127.0.0.1:{port}/{query}", {{ transports: {transports}, from: "{start}",
    onGap: (gap) => say({{ gap }}), onState: (state) => say({{ state }}) }});
for await (const event of stream) say({{ id: event.id, position: stream.position }});
"""


class ClientFollower(Follower):
    """The client in JavaScript, in Node: it comes back by itself, to one port."""
    client, transports = None, ["sse", "poll"]

    def once(self):
        script = SCRIPT.format(client=self.client, port=self.port, transports=json.dumps(self.transports), start=self.start_at, query=self.query)
        with subprocess.Popen(["node", "--input-type=module", "-e", script], stdout=subprocess.PIPE, text=True) as self.process:
            for line in self.process.stdout:
                said = json.loads(line)
                if "id" in said:
                    self.got.append(said["id"])
                elif "gap" in said:
                    self.verdict(said["gap"])

    def stop(self):
        self.stopped.set()
        self.process.terminate()
        super().stop()


FOLLOWERS = {"websocket": WebSocketFollower, "protocol": ProtocolFollower, "sse": SseFollower, "pull": PullFollower}
