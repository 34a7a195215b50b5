# SPDX-License-Identifier: MIT
"""The receivers: one HTTP server, a path per sink. Each checks the signature by itself and answers by its character.

Characters draw from the seed, the event's id and the number of the attempt, so a replay answers alike."""
import asyncio
import base64
import hashlib
import hmac
import json
import random
import socket
import struct
import threading
import time
import urllib.parse
import zlib

from books import GUESTS, NEVER_FAIL, ORDERED, SINKS, SLOW

SECRETS = {sink: "whsec_" + base64.b64encode(hashlib.sha256(f"ledger {sink}".encode()).digest()).decode()
           for sink in (*SINKS, *SLOW)}
SAMPLE = 97                     # one of so many requests is kept for other verifiers


def signed_by(secret, id, stamp, body, signatures):
    """Standard Webhooks v1, from the specification and nothing else."""
    key = base64.b64decode(secret[len("whsec_"):])
    good = "v1," + base64.b64encode(hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(good, one) for one in signatures.split(" "))


def data_bytes(body):
    """The bytes of the member `data` of a JSON body as they stand there; {} compact when it has none."""
    text = body.decode()
    at = text.index('"data":') + len('"data":')
    _, end = json.JSONDecoder().raw_decode(text, at)
    return text[at:end].encode()


class Receivers:
    def __init__(self, books, seed):
        self.books, self.seed = books, seed
        self.healed = False             # everyone but those who always refuse answers 2xx
        self.slow = False               # the receivers of SLOW take seconds for each
        self.forgiven = set()           # pairs that `refusing` takes after all (they were redriven)
        self.reading = 0                # connections that may hold requests nobody has looked at yet
        self.loop = asyncio.new_event_loop()
        started = threading.Event()

        def run():
            asyncio.set_event_loop(self.loop)
            server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0, limit=1 << 22))
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            self.loop.run_forever()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        started.wait()

    def stop(self):
        async def end():
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.loop.stop()

        self.loop.call_soon_threadsafe(lambda: self.loop.create_task(end()))
        self.thread.join(5)

    def drain(self):
        """Returns when everything is noted that a daemon sent which is dead by now."""
        turns = asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), self.loop)     # what waits to be accepted is
        turns.result(60)
        end = time.monotonic() + 60
        while self.reading > 0 and time.monotonic() < end:
            time.sleep(0.005)

    # ---- HTTP ----

    async def serve(self, reader, writer):
        self.reading += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {}
                for line in head[1:]:
                    if line:
                        name, _, value = line.partition(":")
                        headers[name.strip().lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                path = head[0].split(" ")[1]
                if not await self.answer(writer, path.strip("/"), headers, body):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            pass
        except Exception as problem:        # a receiver that breaks must not look like a daemon that does
            self.books.complain(f"the receiver failed: {problem!r}")
        finally:
            self.reading -= 1
            writer.close()

    async def answer(self, writer, sink, headers, body):
        pair, number = self.note(sink, headers, body)
        status, extra = self.choose(sink, pair, number)
        if sink in ORDERED:                 # whoever does not wait for this answer overtakes
            await asyncio.sleep(max(0, random.Random(f"{self.seed} pause {pair[1]} {number}").uniform(-0.06, 0.03)))
        if sink in SLOW and self.slow:
            await asyncio.sleep(4)
        if status == "hang":
            self.reading -= 1
            await asyncio.sleep(0.6)        # longer than the sink waits
            self.reading += 1
            return False
        if status == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        if 200 <= status < 300:
            self.books.delivered(sink, pair)
        writer.write(f"HTTP/1.1 {status} X\r\n{extra}Content-Length: {0 if status == 204 else 2}\r\n\r\n".encode() + (b"" if status == 204 else b"ok"))
        await writer.drain()
        return True

    # ---- what came ----

    def note(self, sink, headers, body):
        id, stamp, signatures = (headers.get(f"webhook-{x}", "") for x in ("id", "timestamp", "signature"))
        if not signed_by(SECRETS[sink], id, stamp, body, signatures):
            self.books.complain(f"{sink}: the signature of {id} is wrong")
        if abs(time.time() - int(stamp or 0)) > 60:
            self.books.complain(f"{sink}: {id} was signed at {stamp}, not now")
        if "ce-id" in headers:
            event = {name: urllib.parse.unquote(headers.get(f"ce-{name}", "")) or None for name in ("id", "source", "type", "subject")}
            data = body
        else:
            event = json.loads(body)
            data = data_bytes(body)
        pair = (event["source"], event["id"])
        if self.books.requests % SAMPLE == 0:
            self.books.samples.append({"id": id, "timestamp": stamp, "signature": signatures, "secret": SECRETS[sink], "now": int(time.time()),
                                       "body_base64": base64.b64encode(body).decode()})
        whole = body if data is not body else body + json.dumps(sorted((k, v) for k, v in headers.items() if k.startswith("ce-"))).encode()
        return pair, self.books.requested(sink, id, pair, event["type"], event.get("subject"), data, whole, int(stamp or 0))

    # ---- characters ----

    def choose(self, sink, pair, number):
        if sink == "gone":
            return 410, ""
        if sink == "refusing":
            return (200, "") if pair in self.forgiven else (500 + 3 * (number % 2), "")
        if sink == "many/later":
            return 429, "Retry-After: 86400\r\n"
        if sink == "many/hang":
            return "hang", ""
        if sink in ("steady", "many/fine", *SLOW) or self.healed:
            return 200, ""
        if sink == "many/keyed":        # each key has its bad rounds
            return (500 if (zlib.crc32(self.books.items[pair].subject.encode()) + self.books.start) % 3 == 0 else 200), ""
        draw = random.Random(f"{self.seed} {sink} {pair[1]} {number}")
        if sink == "traveller" or sink in GUESTS:
            return (500 if draw.random() < 0.1 and not NEVER_FAIL.get(sink, lambda *_: False)(pair[0], "", self.books.items[pair].subject) else 200), ""
        if sink == "ordered":
            return draw.choices([(200, ""), (500, ""), ("reset", ""), ("hang", "")], [94, 3, 2, 1])[0]
        return draw.choices([(200, ""), (202, ""), (204, ""), (500, ""), (503, "Retry-After: 1\r\n"), (404, ""), ("hang", ""), ("reset", "")],
                            [40, 8, 7, 14, 10, 3, 9, 9])[0]
