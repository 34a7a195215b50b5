#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An independent WebSocket client, Python's websockets, against the echo program."""
import asyncio
import os
import sys

import websockets


async def echoes(url):
    big = os.urandom(1 << 20)
    messages = ["", "hello", "grüße \U0001f600", "x" * 125, "x" * 126, "x" * 65535, "x" * 65536, "y" * (1 << 20),
                b"", b"\x00\xff", b"z" * 65536, big]
    async with websockets.connect(url, max_size=None, compression=None) as ws:
        for message in messages:
            await ws.send(message)
            assert await ws.recv() == message, "not what was sent: %d" % len(message)
        await ws.send(["frag", "men", "", "ted"])
        assert await ws.recv() == "fragmented"
        await ws.send([big[:1000], big[1000:500000], big[500000:]])
        assert await ws.recv() == big
        for payload in (b"", b"ping", b"p" * 125):
            await asyncio.wait_for(await ws.ping(payload), 10)


async def overlapping(url):
    """Many messages on their way at once come back in order."""
    async with websockets.connect(url, compression=None) as ws:
        async def send():
            for i in range(2000):
                await ws.send(str(i))
        sending = asyncio.create_task(send())
        for i in range(2000):
            assert await ws.recv() == str(i)
        await sending


async def closes(url):
    for code, reason in ((1000, ""), (1001, "going"), (3000, "own"), (4999, "x" * 123)):
        ws = await websockets.connect(url)
        await ws.close(code, reason)
        assert ws.close_code == code, "%d instead of %d" % (ws.close_code, code)


async def too_big(url):
    async with websockets.connect(url, max_size=None, compression=None) as ws:
        try:
            await ws.send(b"x" * (40 << 20))
            await ws.recv()
            raise AssertionError("a message above the limit was taken")
        except websockets.ConnectionClosed as e:
            assert e.rcvd and e.rcvd.code == 1009, "closed with %s instead of 1009" % e


async def many(url):
    clients = await asyncio.gather(*(websockets.connect(url) for _ in range(200)))
    await asyncio.gather(*(ws.send("hello") for ws in clients))
    assert await asyncio.gather(*(ws.recv() for ws in clients)) == ["hello"] * 200
    await asyncio.gather(*(ws.close() for ws in clients))


async def main(port):
    url = "ws://127.0.0.1:%d/" % port
    checks = [echoes, overlapping, closes, too_big, many]
    for check in checks:
        await check(url)
    print("python websockets %s: %d checks ok" % (websockets.__version__, len(checks)))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
