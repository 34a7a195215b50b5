#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A webhook receiver that verifies every signature (Standard Webhooks v1) with nothing of Aqueduct's own code, and misbehaves on demand.

What a request gets is a mode: `ok` (204), a status such as `503`, `hang` (no answer), `reset` (connection reset) or `close`. It comes
from the first of:

  path          /as/500 or /as/hang
  --mode-file   a file that may be rewritten at any time, with a mix: "ok" or "ok:8 500:1 hang:1 reset:1"
  --mix         the same on the command line; --fail-rate 0.1 means "ok:0.9 503:0.1"

--ledger writes one JSON line per request before it is answered: at, path, mode, id, timestamp, signature, verified, why, arrival (1 for
the first of that webhook-id, 2 for the first repeat), event_id, source, type, subject, body_base64 (with --bodies).
It listens on --listen (port 0: any) and says where in its first line, "listening on http://127.0.0.1:PORT". SIGTERM ends it with a sum.
"""
import argparse
import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import os
import random
import re
import signal
import socket
import ssl
import struct
import sys
import time
import urllib.parse

TOLERANCE_S = 300


def key_of(secret):
    """whsec_ and base64, or any text that is used as it is."""
    if secret.startswith("whsec_"):
        return base64.b64decode(secret[6:], validate=True)
    return secret.encode()


def verify(keys, headers, body, now):
    """Standard Webhooks 1.0: None when good, otherwise what is wrong."""
    ident, stamp, signatures = (headers.get("webhook-" + name, "") for name in ("id", "timestamp", "signature"))
    if not ident or not stamp or not signatures:
        return "a webhook- header is missing"
    if not re.fullmatch("[0-9]{1,12}", stamp):
        return "the timestamp is not a number"
    if abs(now - int(stamp)) > TOLERANCE_S:
        return "the timestamp is too far from now"
    content = f"{ident}.{stamp}.".encode() + body
    expected = [hmac.new(key, content, hashlib.sha256).digest() for key in keys]
    good = False
    for one in signatures.split(" "):
        version, _, text = one.partition(",")
        if version != "v1":
            continue
        try:
            given = base64.b64decode(text, validate=True)
        except binascii.Error:
            continue
        for mac in expected:
            good |= hmac.compare_digest(mac, given)
    return None if good else "no signature matches"


def verify_by_library(secrets, headers, body):
    """The same question put to the official library of Standard Webhooks: None when good, otherwise what is wrong."""
    import standardwebhooks
    why = "no secret"
    for secret in secrets:
        try:
            standardwebhooks.Webhook(secret).verify(body, headers)
            return None
        except standardwebhooks.WebhookVerificationError as e:
            why = f"standardwebhooks: {e}"
    return why


def event_of(headers, body):
    """The attributes of the event in a request, as far as there are any: headers in binary mode, otherwise members of the JSON."""
    names = ("id", "source", "type", "subject")
    if "ce-specversion" in headers:
        return {name: urllib.parse.unquote(headers["ce-" + name]) if "ce-" + name in headers else None for name in names}
    try:
        event = json.loads(body)
        return {name: event.get(name) for name in names}
    except (ValueError, AttributeError):
        return dict.fromkeys(names)


def parse_mix(text):
    modes, weights = [], []
    for part in text.split():
        mode, _, weight = part.partition(":")
        if mode not in ("ok", "hang", "reset", "close") and not re.fullmatch("[1-5][0-9][0-9]", mode):
            raise ValueError(f"{mode!r} is no mode")
        modes.append(mode)
        weights.append(float(weight or 1))
    if not modes:
        raise ValueError("no mode")
    return modes, weights


class Receiver:
    def __init__(self, args):
        self.args = args
        self.keys = [key_of(s) for s in args.secret]
        self.dice = random.Random(args.seed)
        self.mix = parse_mix(args.mix or (f"ok:{1 - args.fail_rate} 503:{args.fail_rate}" if args.fail_rate else "ok"))
        self.mix_stamp = None
        self.ledger = open(args.ledger, "a", buffering=1) if args.ledger else None
        self.arrivals = {}
        self.requests = self.verified = self.failed = self.answered_ok = 0
        self.colour = sys.stdout.isatty()

    def mode(self, path):
        forced = re.match(r"/as/(\w+)", path)
        if forced:
            return parse_mix(forced[1])[0][0]
        if self.args.mode_file:
            self.read_mode_file()
        modes, weights = self.mix
        return modes[0] if len(modes) == 1 else self.dice.choices(modes, weights)[0]

    def read_mode_file(self):
        try:
            found = os.stat(self.args.mode_file)
            stamp = (found.st_mtime_ns, found.st_ino)
            if stamp != self.mix_stamp:
                with open(self.args.mode_file) as f:
                    self.mix = parse_mix(f.read())
                self.mix_stamp = stamp
        except (OSError, ValueError):
            pass        # being written just now: the next request looks again

    def take(self, path, headers, body):
        """Notes one request; returns its mode."""
        now = time.time()
        mode = self.mode(path)
        why = verify(self.keys, headers, body, now) if self.keys else "no secret to verify with"
        if why is None and self.args.library:
            why = verify_by_library(self.args.secret, headers, body)
        event = event_of(headers, body)
        ident = headers.get("webhook-id")
        self.requests += 1
        self.verified += why is None
        self.failed += why is not None
        self.answered_ok += mode == "ok"
        self.arrivals[ident] = self.arrivals.get(ident, 0) + 1
        if self.ledger:
            line = {"at": now, "path": path, "mode": mode, "id": ident, "timestamp": headers.get("webhook-timestamp"),
                    "signature": headers.get("webhook-signature"), "verified": why is None, "why": why, "arrival": self.arrivals[ident],
                    "event_id": event["id"], "source": event["source"], "type": event["type"], "subject": event["subject"]}
            if self.args.bodies:
                line["body_base64"] = base64.b64encode(body).decode()
            self.ledger.write(json.dumps(line) + "\n")
        if not self.args.quiet:
            self.say(mode, why, event, self.arrivals[ident])
        return mode

    def say(self, mode, why, event, arrival):
        clean = lambda text: re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", str(text or "-"))
        paint = lambda text, code: f"\x1b[{code}m{text}\x1b[0m" if self.colour else text
        mark = paint("verified", 32) if why is None else paint("NOT VERIFIED: " + why, 31)
        answer = "204" if mode == "ok" else paint(mode, 33)
        again = f" (arrival {arrival})" if arrival > 1 else ""
        print(f"webhook  {time.strftime('%H:%M:%S')}  {clean(event['type']):<28} {clean(event['subject']):<24} {mark}, answered {answer}{again}", flush=True)


class Connection(asyncio.Protocol):
    def __init__(self, receiver):
        self.receiver, self.bytes = receiver, b""

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        self.bytes += data
        while self.one():
            pass

    def one(self):
        """Takes one whole request from the front, if there is one."""
        head, end, rest = self.bytes.partition(b"\r\n\r\n")
        if not end:
            return False
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = headers.get("content-length", "0")
        if not length.isdigit() or len(lines[0].split(" ")) != 3:
            self.answer(400)
            self.transport.close()
            return False
        if len(rest) < int(length):
            return False
        body, self.bytes = rest[:int(length)], rest[int(length):]
        mode = self.receiver.take(lines[0].split(" ")[1], headers, body)
        if mode == "hang":
            self.bytes = b""
            return False
        if mode in ("reset", "close"):
            if mode == "reset":
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort() if mode == "reset" else self.transport.close()
            return False
        self.answer(204 if mode == "ok" else int(mode))
        return True

    def answer(self, status):
        body = b"" if status in (204, 304) else b"answered on purpose\n"
        length = b"" if status == 204 else b"Content-Length: %d\r\n" % len(body)
        self.transport.write(b"HTTP/1.1 %d Demo\r\n%s\r\n%s" % (status, length, body))


async def serve(args):
    receiver = Receiver(args)
    loop = asyncio.get_running_loop()
    host, _, port = args.listen.rpartition(":")
    tls = None
    if args.tls_certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(args.tls_certificate, args.tls_key)
    server = await loop.create_server(lambda: Connection(receiver), host.strip("[]"), int(port), backlog=1024, ssl=tls)
    print(f"listening on {'https' if tls else 'http'}://{host}:{server.sockets[0].getsockname()[1]}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    server.close()
    print(f"{receiver.requests} requests of {len(receiver.arrivals)} events: {receiver.verified} verified, {receiver.failed} not; "
          f"{receiver.answered_ok} answered 204", flush=True)
    return 1 if receiver.failed else 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    p.add_argument("--secret", action="append", default=[], help="may be given several times; any of them verifies")
    p.add_argument("--mix", help='such as "ok:8 500:1 hang:1"')
    p.add_argument("--mode-file", metavar="FILE")
    p.add_argument("--fail-rate", type=float, default=0, metavar="0..1")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--ledger", metavar="FILE")
    p.add_argument("--bodies", action="store_true", help="put bodies into the ledger")
    p.add_argument("--library", action="store_true", help="verify with the PyPI package standardwebhooks as well")
    p.add_argument("--tls-certificate", metavar="FILE", help="PEM; with --tls-key: HTTPS")
    p.add_argument("--tls-key", metavar="FILE")
    p.add_argument("--quiet", action="store_true", help="no line per request")
    args = p.parse_args()
    try:
        sys.exit(asyncio.run(serve(args)))
    except (OSError, ValueError) as e:
        sys.exit(f"receiver: {e}")


if __name__ == "__main__":
    main()
