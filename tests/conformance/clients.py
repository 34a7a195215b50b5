#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An independent WebSocket client, Python's websockets, against the echo program: clients.py ws://127.0.0.1:PORT/ or wss:..."""
import asyncio
import functools
import os
import ssl
import sys

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory


def trusting():
    """TLS without a look at the certificate, which echo's caller has made a moment ago."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def echoes(connect):
    big = os.urandom(1 << 20)
    messages = ["", "hello", "grüße \U0001f600", "x" * 125, "x" * 126, "x" * 65535, "x" * 65536, "y" * (1 << 20),
                b"", b"\x00\xff", b"z" * 65536, big]
    async with connect(max_size=None, compression=None) as ws:
        for message in messages:
            await ws.send(message)
            assert await ws.recv() == message, "not what was sent: %d" % len(message)
        await ws.send(["frag", "men", "", "ted"])
        assert await ws.recv() == "fragmented"
        await ws.send([big[:1000], big[1000:500000], big[500000:]])
        assert await ws.recv() == big
        for payload in (b"", b"ping", b"p" * 125):
            await asyncio.wait_for(await ws.ping(payload), 10)


async def deflated(connect):
    """permessage-deflate as this client offers it, then with a small window, then with no word about contexts: both ways, also what cannot be shortened."""
    text = "".join("%d bottles of beer on the wall, " % i for i in range(5000))
    messages = ["", "hello", "grüße \U0001f600" * 20, text, text[:126], text.encode(), os.urandom(100), os.urandom(70000), b"z" * 60000]
    for factory in (None, ClientPerMessageDeflateFactory(server_max_window_bits=9), ClientPerMessageDeflateFactory(client_max_window_bits=None)):
        extra = {"compression": "deflate"} if factory is None else {"compression": None, "extensions": [factory]}
        async with connect(max_size=None, **extra) as ws:
            assert ws.extensions, "it was not agreed on"
            for message in messages:
                await ws.send(message)
                assert await ws.recv() == message, "not what was sent: %d" % len(message)
            await ws.send([text[:1000], "", text[1000:]])
            assert await ws.recv() == text


async def overlapping(connect):
    """Many messages on their way at once come back in order."""
    async with connect(compression=None) as ws:
        async def send():
            for i in range(2000):
                await ws.send(str(i))
        sending = asyncio.create_task(send())
        for i in range(2000):
            assert await ws.recv() == str(i)
        await sending


async def closes(connect):
    for code, reason in ((1000, ""), (1001, "going"), (3000, "own"), (4999, "x" * 123)):
        ws = await connect()
        await ws.close(code, reason)
        assert ws.close_code == code, "%d instead of %d" % (ws.close_code, code)


async def too_big(connect):
    async with connect(max_size=None, compression=None) as ws:
        try:
            await ws.send(b"x" * (40 << 20))
            await ws.recv()
            raise AssertionError("a message above the limit was taken")
        except websockets.ConnectionClosed as e:
            assert e.rcvd and e.rcvd.code == 1009, "closed with %s instead of 1009" % e


async def many(connect):
    clients = await asyncio.gather(*(connect() for _ in range(200)))
    await asyncio.gather(*(ws.send("hello") for ws in clients))
    assert await asyncio.gather(*(ws.recv() for ws in clients)) == ["hello"] * 200
    await asyncio.gather(*(ws.close() for ws in clients))


async def main(url):
    tls = {"ssl": trusting()} if url.startswith("wss:") else {}
    checks = [echoes, deflated, overlapping, closes, too_big, many]
    for check in checks:
        await check(functools.partial(websockets.connect, url, **tls))
    print("python websockets %s, %s: %d checks ok" % (websockets.__version__, url.split(":")[0], len(checks)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
