# SPDX-License-Identifier: MIT
"""The generators: senders that post until they are acknowledged, and the applications that write their databases.

What is posted is decided by the seed and the sender's own count alone; when it is posted depends on how fast it gets through."""
import base64
import hashlib
import hmac
import http.client
import json
import random
import threading
import time

import anythingllm_app
import busy
from books import Item

STANDARD = "whsec_" + base64.b64encode(b"a key of the senders, 32 bytes..").decode()
GITHUB = "the senders' GitHub secret"
TOKEN = "the-senders-token-of-enough-length"
CHARACTERS = ["standard", "standard", "github", "keyed", "keyed", "keyed", "binary", "batch"]
PATHS = {"standard": "/v1/standard", "github": "/v1/github", "keyed": "/v1/events", "binary": "/v1/events", "batch": "/v1/events"}


class Sender(threading.Thread):
    def __init__(self, number, port, books, seed, pace):
        super().__init__(daemon=True)
        self.number, self.kind, self.port, self.books, self.pace = number, CHARACTERS[number], port, books, pace
        self.random = random.Random(f"{seed} sender {number}")
        self.count = 0
        self.go = threading.Event()         # post new things; without it only what is begun is finished
        self.go.set()
        self.idle = threading.Event()
        self.over = False
        self.large = False                  # long bodies, to fill logs quickly
        self.connection = None
        self.unavailable = 0                # answers 503
        self.old = []                       # a few that were acknowledged, to repeat

    # ---- one post ----

    def data(self, sequence=None):
        n = self.random.choice([0, 10, 100, 1000, 1000, 4000]) if not self.large else 30000
        value = {"n": self.count, "by": self.number, "pad": "".join(self.random.choices("abcdefghijkl mnop\u00e4\u2603", k=min(n, 200))) * (1 + n // 200)}
        if sequence is not None:
            value["sequence"] = sequence
        return json.dumps(value, ensure_ascii=self.random.random() < 0.5).encode()

    def id(self):
        self.count += 1
        long = f"-{self.random.getrandbits(128):032x}" if self.count % 2 else ""
        return f"{self.kind}-{self.number}-{self.count}{long}"

    def event_type(self):
        return self.random.choices(["ledger.item", "ledger.odd", "ledger.gone"], [90, 6, 4])[0]

    def event(self, item):
        """A CloudEvent whose data stands in it byte for byte."""
        head = {"specversion": "1.0", "id": item.pair[1], "source": item.pair[0], "type": item.type, "datacontenttype": "application/json"}
        if item.subject:
            head["subject"] = item.subject
        return json.dumps(head)[:-1].encode() + b', "data": ' + item.data + b"}"

    def make(self):
        """The items of one post."""
        if self.kind == "standard":
            return [Item("/http/hooks/v1/standard", self.id(), "webhook.received", self.data())]
        if self.kind == "github":
            return [Item("/http/hooks/v1/github", self.id(), "github.push", self.data())]
        if self.kind == "keyed":            # one key each: the next is posted only when the one before is acknowledged
            id = self.id()
            return [Item("/ledger", id, "ledger.item", self.data(self.count), f"key-{self.number - CHARACTERS.index('keyed')}", self.count)]
        if self.kind == "binary":
            return [Item("/ledger", self.id(), self.event_type(), self.data(), f"thing-{self.random.randint(1, 20)}")]
        return [Item("/ledger", self.id(), self.event_type(), self.data(), f"thing-{self.random.randint(1, 20)}") for _ in range(self.random.randint(2, 8))]

    def request(self, items):
        """(headers, body) of the post."""
        item, body = items[0], items[0].data
        if self.kind == "standard":
            stamp = str(int(time.time()))
            key = base64.b64decode(STANDARD[len("whsec_"):])
            mac = hmac.new(key, f"{item.pair[1]}.{stamp}.".encode() + body, hashlib.sha256).digest()
            return {"Content-Type": "application/json", "webhook-id": item.pair[1], "webhook-timestamp": stamp,
                    "webhook-signature": "v1," + base64.b64encode(mac).decode()}, body
        if self.kind == "github":
            return {"Content-Type": "application/json", "X-GitHub-Event": "push", "X-GitHub-Delivery": item.pair[1],
                    "X-Hub-Signature-256": "sha256=" + hmac.new(GITHUB.encode(), body, hashlib.sha256).hexdigest()}, body
        headers = {"Authorization": f"Bearer {TOKEN}"}
        if self.kind == "keyed":
            return headers | {"Content-Type": "application/cloudevents+json"}, self.event(item)
        if self.kind == "binary":
            return headers | {"Content-Type": "application/json", "ce-specversion": "1.0", "ce-id": item.pair[1], "ce-source": item.pair[0],
                              "ce-type": item.type, "ce-subject": item.subject}, body
        return headers | {"Content-Type": "application/cloudevents-batch+json"}, b"[" + b",".join(self.event(i) for i in items) + b"]"

    def post(self, items):
        """One attempt; the status, or 0 when there was no answer."""
        headers, body = self.request(items)
        try:
            if not self.connection:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            self.connection.request("POST", PATHS[self.kind], body, headers)
            answer = self.connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            return 0

    def post_until_acknowledged(self, items):
        for item in items:
            self.books.posted(item)
        while not self.over:
            status = self.post(items)
            if 200 <= status < 300:
                self.books.acknowledged(items)
                return
            self.unavailable += status == 503
            if status not in (0, 503):
                self.books.complain(f"{self.kind}: {items[0].pair[1]} was answered {status}")
                return
            time.sleep(0.03)

    # ---- the life of a sender ----

    def run(self):
        while not self.over:
            if not self.go.is_set():
                self.idle.set()
                self.go.wait(0.05)
                continue
            self.idle.clear()
            if self.old and self.random.random() < 0.08:
                again = self.random.choice(self.old)
                self.books.reposts += 1
            else:
                again = self.make()
                self.old = (self.old + [again])[-20:]
            self.post_until_acknowledged(again)
            time.sleep(self.random.uniform(0.3, 1.7) * self.pace / (3 if self.kind == "keyed" else 1))
        self.idle.set()


class Application(threading.Thread):
    """Writes a database all the time."""

    def __init__(self, path, journal, books, seed, pace):
        super().__init__(daemon=True)
        self.path, self.journal, self.books, self.seed, self.pace = path, journal, books, seed, pace
        self.go, self.idle = threading.Event(), threading.Event()
        self.go.set()
        self.over = False

    def run(self):
        app = self.begin()
        while not self.over:
            if not self.go.is_set():
                self.idle.set()
                self.go.wait(0.05)
                continue
            self.idle.clear()
            app.act()
            time.sleep(app.random.uniform(0.3, 1.7) * self.pace)
        app.db.close()
        self.idle.set()


class AnythingLLM(Application):
    """As AnythingLLM does."""
    kind = "application"

    def begin(self):
        return anythingllm_app.App(self.path, self.journal, f"{self.seed} application", self)

    def write(self, text):              # it is the App's ledger
        self.books.committed(json.loads(text))

    def flush(self):
        pass


class Busy(Application):
    """Tables of every kind of rule, which change, are rebuilt and lose their newest rows."""

    def __init__(self, name, *args):
        super().__init__(*args)
        self.kind = name
        busy.create(self.path, self.journal)

    def begin(self):
        writer = busy.Writer(self.path, self.journal, f"{self.seed} {self.kind}")
        self.books.model[f"/sqlite/{self.kind}"] = writer.model
        return writer
