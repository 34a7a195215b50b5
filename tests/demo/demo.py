#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The main job in one terminal: an application that writes its database, the bridge, a receiver that verifies, a WebSocket listener.

Started by ./quickstart. Ends on Ctrl-C, or with --once after the first delivery of each kind."""
import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import time

import websockets

HERE = os.path.dirname(os.path.abspath(__file__))
SECRET = "whsec_" + "QXF1ZWR1Y3QgZGVtbyBzZWNyZXQsIDMyIGJ5dGVzISE="
ONCE_LIMIT_S = 120
CONFIG = """\
# Made by ./quickstart. `aqueduct help sqlite`, `help webhook` ... list what else can be set.
broker:
  path: {data}
sources:
  anythingllm:
    type: sqlite
    path: {database}
    preset: anythingllm
    content: full                 # questions and answers as they are; hash or none tell less (aqueduct help sqlite)
routes:
  - topic: ai.events
sinks:
  receiver:
    type: webhook
    topics: [ai.events]
    url: {receiver}/hooks
    secrets: ["{secret}"]
    retry: [1s, 2s, 4s, 8s, 16s]
  live:
    type: websocket
    listen: 127.0.0.1:{live}
    topics: [ai.events]
  failed:
    type: dead_letter
    path: {letters}
admin: {{listen: "127.0.0.1:{admin}"}}
"""
COLOURS = {"app": 36, "aqueduct": 35, "webhook": 34, "live": 33}


def quoted(*parts):
    """A path as a YAML scalar, whatever characters it has."""
    return json.dumps(os.path.join(*parts)).replace("${", "$${")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Demo:
    def __init__(self, args):
        self.args = args
        self.folder = os.path.abspath(os.path.join("build", "quickstart", "own" if args.db else "demo"))
        self.children = []
        self.seen = {}              # kind of delivery -> its first example
        self.verified = self.refused = self.live = self.bad = 0
        self.died = False           # aqueduct, by itself
        self.done = asyncio.Event()
        self.wanted = ["a signed webhook, verified", "a WebSocket event"]
        if not args.db:
            self.wanted += ["a document that is ready", "an agent's answer, finished after it was inserted empty", "a webhook delivered after a 503"]
        self.thinking = set()       # chats that were announced before their answer

    def say(self, who, text):
        head = f"{who:<9}"
        if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
            head = f"\x1b[{COLOURS[who]}m{head}\x1b[0m"
        print(head + text, flush=True)

    def saw(self, kind, example):
        if kind in self.wanted and kind not in self.seen:
            self.seen[kind] = example
            if self.args.once and len(self.seen) == len(self.wanted):
                self.done.set()

    async def start(self, *command, stderr=None):
        child = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                                                     stderr=stderr, start_new_session=True)
        self.children.append(child)
        return child

    # ---- the four lines of the terminal ----

    async def receiver(self):
        self.ledger = os.path.join(self.folder, "received.jsonl")
        if os.path.exists(self.ledger):
            os.remove(self.ledger)      # an earlier run's deliveries are not this one's
        child = await self.start(self.args.python, os.path.join(HERE, "receiver.py"), "--secret", SECRET, "--library",
                                 "--fail-rate", "0.15", "--seed", "4", "--ledger", self.ledger)
        line = (await child.stdout.readline()).decode()
        if "listening on " not in line:
            raise SystemExit("the receiver did not start")
        asyncio.create_task(self.show_receiver(child))
        return line.split("listening on ")[1].strip()

    async def show_receiver(self, child):
        async for line in child.stdout:
            if line.startswith(b"webhook"):
                self.say("webhook", line.decode()[9:].rstrip())

    async def follow_ledger(self):
        while not os.path.exists(self.ledger):
            await asyncio.sleep(0.1)
        with open(self.ledger, encoding="utf-8") as f:
            while True:
                line = f.readline()
                if not line:
                    await asyncio.sleep(0.1)
                    continue
                self.received(json.loads(line))

    def received(self, r):
        text = f"{r['type']} {r['subject']}"
        self.verified += r["verified"]
        self.bad += not r["verified"]
        self.refused += r["mode"] != "ok"
        if r["type"] == "chat.started":
            self.thinking.add(r["subject"])
        if not r["verified"] or r["mode"] != "ok":
            return
        self.saw("a signed webhook, verified", text)
        if r["arrival"] > 1:
            self.saw("a webhook delivered after a 503", text)
        if r["type"] == "document.embedded":
            self.saw("a document that is ready", text)
        if r["type"] == "chat.response.generated" and r["subject"] in self.thinking:
            self.saw("an agent's answer, finished after it was inserted empty", text)

    async def bridge(self, config):
        child = await self.start(self.args.bin, "run", "-c", config, stderr=asyncio.subprocess.PIPE)
        running = asyncio.get_running_loop().create_future()
        asyncio.create_task(self.show_bridge(child, running))
        await asyncio.wait_for(running, 20)
        return child

    async def show_bridge(self, child, running):
        async for line in child.stderr:
            text = line.decode(errors="replace").rstrip()
            self.say("aqueduct", text)
            if "msg=running" in text and not running.done():
                running.set_result(True)
        if not running.done():
            running.set_exception(SystemExit("aqueduct did not start; its last words are above"))
        if not self.done.is_set():
            self.died = True
            self.done.set()

    async def listener(self, port):
        async with websockets.connect(f"ws://127.0.0.1:{port}/") as ws:
            async for message in ws:
                event = json.loads(message)
                self.live += 1
                text = f"{event['type']} {event.get('subject', '')}"
                self.say("live", f"{time.strftime('%H:%M:%S')}  {text}")
                self.saw("a WebSocket event", text)

    async def app(self, database):
        child = await self.start(sys.executable, "-u", os.path.join(HERE, "anythingllm_app.py"), "--db", database,
                                 "--rate", "4" if self.args.once else "1.5", "--seed", "11")
        async for line in child.stdout:
            self.say("app", line.decode().rstrip().removeprefix("app").lstrip())

    # ---- begin and end ----

    async def run(self):
        database = self.args.db or os.path.join(self.folder, "anythingllm.db")
        if not self.args.db:
            shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder, exist_ok=True)
        if not self.args.db:        # the application is there first, as in life
            first = await self.start(sys.executable, os.path.join(HERE, "anythingllm_app.py"), "--db", database, "--count", "1", "--seed", "1", "--quiet")
            await first.wait()
        url = await self.receiver()
        live = free_port()
        admin = free_port()
        config = os.path.join(self.folder, "bridge.yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(CONFIG.format(data=quoted(self.folder, "data"), letters=quoted(self.folder, "dead-letters.db"),
                                  database=quoted(database), receiver=url, secret=SECRET, live=live, admin=admin))
        await self.bridge(config)
        tasks = [asyncio.create_task(self.follow_ledger()), asyncio.create_task(self.listener(live))]
        if not self.args.db:
            tasks.append(asyncio.create_task(self.app(database)))
        print(f"\nThe configuration is {os.path.relpath(config)}. Counters: http://127.0.0.1:{admin}/metrics   "
              f"Live: ws://127.0.0.1:{live}/   Ctrl-C ends it.\n", flush=True)
        if self.args.db:
            print("Upload a document, or ask something in your AnythingLLM, and watch.\n", flush=True)
        try:
            await asyncio.wait_for(self.done.wait(), ONCE_LIMIT_S if self.args.once else None)
        except asyncio.TimeoutError:
            pass
        for task in tasks:
            task.cancel()
        return self.summary()

    async def end(self):
        for child in reversed(self.children):       # the application first, the receiver last
            if child.returncode is None:
                child.terminate()
                try:
                    await asyncio.wait_for(child.wait(), 15)
                except asyncio.TimeoutError:
                    child.kill()

    def summary(self):
        print(f"\n{self.verified} webhooks verified, {self.bad} not; {self.refused} answered with an error on purpose; {self.live} events on the WebSocket.")
        if self.died:
            print("aqueduct ended by itself; its last words are above")
            return 1
        if not self.args.once:
            return 0
        for kind in self.wanted:
            print(f"  {'yes' if kind in self.seen else 'NO '}  {kind}{': ' + self.seen[kind] if kind in self.seen else ''}")
        return 0 if len(self.seen) == len(self.wanted) and not self.bad else 1


async def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--python", default=sys.executable, help="the receiver's Python, which has the package standardwebhooks")
    parser.add_argument("--db", help="a database of your own, instead of the demo application's")
    parser.add_argument("--once", action="store_true")
    demo = Demo(parser.parse_args())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, demo.done.set)
    try:
        return await demo.run()
    finally:
        await demo.end()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
