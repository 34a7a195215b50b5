# SPDX-License-Identifier: MIT
"""A TCP proxy on loopback that does what networks and proxies do: cuts connections at any byte, refuses upgrades, holds answers back.

    with Proxy([port, other], budget=lambda: chance.randrange(5000)) as proxy:      # round-robin; the next one when one is away
        proxy.port
        proxy.cuts                  # connections that ended because the server had sent so many bytes

    Proxy([port], upgrade=False)    # knows no WebSocket: passes the request on as a plain one, as proxies do that drop hop-by-hop headers
    Proxy([port], held=True)        # an answer without an end is passed on when it has one
"""
import contextlib
import itertools
import re
import select
import socket
import struct
import threading

UPGRADE = re.compile(rb"\r\n(?:Connection|Upgrade|Sec-WebSocket-[^:]*):[^\r]*(?=\r\n)", re.I)
LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.I)


def whole(answer):
    """How much of it is answers that have come to their end."""
    head, found, body = answer.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    end = len(head) + 4 + int(length[1]) if found and length else 0
    return end if end <= len(answer) else 0


class Proxy:
    def __init__(self, ports, budget=None, upgrade=True, held=False):
        self.ports, self.budget, self.upgrade, self.held = list(ports), budget, upgrade, held
        self.cuts = self.connections = 0
        self.turns, self.open, self.lock, self.ended = itertools.count(), set(), threading.Lock(), False
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for one in self.open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def serve(self):
        while not self.ended:
            with contextlib.suppress(OSError):
                client, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def upstream(self):
        first = next(self.turns)
        for i in range(len(self.ports)):
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", self.ports[(first + i) % len(self.ports)]), timeout=30)
        return None

    def carry(self, client):
        server = self.upstream()
        both = {one for one in (client, server) if one}
        with self.lock:
            self.open |= both
        try:
            if server:
                self.pump(client, server, self.budget() if self.budget else None)
        except OSError:
            pass
        finally:
            with self.lock:
                self.open -= both
            for one in both:
                one.close()

    def pump(self, client, server, left):
        """Until one of the two ends, or `left` bytes of the server's were passed on."""
        head = answer = b""
        while True:
            for one in select.select([client, server], [], [])[0]:
                some = one.recv(65536)
                if not some:
                    return client.sendall(answer) if one is server else None
                if one is client:
                    head += some
                    if self.upgrade or b"\r\n\r\n" in head:
                        server.sendall(head if self.upgrade else UPGRADE.sub(b"", head))
                        head = b""
                    continue
                answer += some
                ready = whole(answer) if self.held else len(answer)
                if left is not None and ready >= left:
                    client.sendall(answer[:left])
                    self.cuts += 1
                    if left % 2:            # every other one by RST
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return None
                client.sendall(answer[:ready])
                answer = answer[ready:]
                left = left - ready if left is not None else None
