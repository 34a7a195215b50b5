# SPDX-License-Identifier: MIT
"""What every end-to-end test shares: the real binary, both brokers, a receiver, the judges of signatures.

A test that takes `bridge` runs on both brokers, with topics and groups of its own (`bridge.topic("x")`), so tests do not see each other."""
import asyncio
import base64
import contextlib
import fcntl
import gzip
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import uuid

import pytest
import requests
import websockets

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("support", "kafka", "demo")]
import aqueduct as support  # noqa: E402
import receiver as demo_receiver  # noqa: E402
import rig  # noqa: E402
from aqueduct import free_port  # noqa: E402, F401 (tests take it from here)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "a raw secret of more than 24 characters"
TOKEN = "a-token-of-some-length-0123"
PATIENCE = float(os.environ.get("PATIENCE", 40))     # seconds; a bound for what should take less than one


def pytest_configure(config):
    config.addinivalue_line("markers", "threads: also runs under ThreadSanitizer")
    config.addinivalue_line("markers", "kafka: needs a Kafka (given by what a test takes)")
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:       # in the background of a script: what is started here is still to be ended by Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    for item in items:
        parameters = getattr(item, "callspec", None)
        if {"kafka", "secure_kafka"} & set(item.fixturenames) or (parameters and "kafka" in parameters.params.values()):
            item.add_marker(pytest.mark.kafka)


def wait_for(what, seconds=PATIENCE, why=""):
    """The first true answer of what(); an error after `seconds`, with what `why` (a text or a function) says."""
    return support.wait_for(what, seconds, why)


@pytest.fixture(scope="session")
def aqueduct():
    """The program under test: AQUEDUCT_BIN, or the test build's."""
    path = pathlib.Path(os.environ.get("AQUEDUCT_BIN", ROOT / "build/test/aqueduct")).resolve()
    if not path.is_file():
        pytest.fail(f"{path} is not there: build it or set AQUEDUCT_BIN")
    return str(path)


# ---- brokers ----

@pytest.fixture(scope="session")
def kafka():
    """A real Apache Kafka, one for the whole session."""
    with rig.Kafka() as one:
        yield one


@pytest.fixture(scope="session")
def secure_kafka():
    """Another one, with logins, TLS and rights (tests/kafka/secure.py), one for the whole session."""
    with rig.Kafka(secure=True) as one:
        yield one


@contextlib.contextmanager
def paused(kafka):
    """The Kafka does not answer meanwhile."""
    kafka.pause()
    try:
        yield
    finally:
        kafka.resume()


def kafka_read(kafka, topic, count, seconds=PATIENCE):
    """At least `count` records of a topic by kcat: dictionaries with key, value and headers (all bytes), partition, offset."""
    def line(text):
        head, _, rest = text.partition(b"\n")
        return head, rest

    def sized(text):        # "length\nbytes\n"; length -1: null, 0: the bytes may be NULL as well
        size, text = line(text)
        size = int(size)
        return (text[:size], text[size + 1:]) if size > 0 else (None if size < 0 else b"", line(text)[1])

    def read():
        done = subprocess.run(["kcat", "-b", kafka.servers, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-u", "-Z",
                               "-f", r"%p\n%o\n%h\n%K\n%k\n%S\n%s\n"], capture_output=True, timeout=60)
        found, text = [], done.stdout
        while text:
            partition, text = line(text)
            offset, text = line(text)
            headers, text = line(text)
            key, text = sized(text)
            value, text = sized(text)
            pairs = dict(pair.split(b"=", 1) for pair in headers.split(b",") if b"=" in pair)
            found.append({"partition": int(partition), "offset": int(offset), "key": key, "value": value, "headers": pairs})
        return found if len(found) >= count else None
    return wait_for(read, seconds, f"{count} records on {topic}")


# ---- the daemon ----

class Daemon(support.Daemon):
    """One run of the binary, with what it logs."""

    def __init__(self, program, config, folder, env=None):
        super().__init__(program, folder, config, f"log-{uuid.uuid4().hex[:6]}")
        self.start(**(env or {}))

    def port(self, name):
        """Of a source or sink that listens on port 0; "admin": of the pages."""
        plain, as_json = ((r'msg="admin listens".* port=(\d+)', r'"msg":"admin listens".*"port":(\d+)') if name == "admin" else
                          (rf"msg=listening (?:source|sink)={name} .*port=(\d+)", rf'"msg":"listening","(?:source|sink)":"{name}".*"port":(\d+)'))
        pattern = re.compile(plain + "|" + as_json)

        def found():
            assert self.alive(), self.log()
            return pattern.search(self.log())
        where = wait_for(found, why=self.log)
        return int(where[1] or where[2])

    @property
    def admin(self):
        return self.port("admin")

    def page(self, path):
        return requests.get(f"http://127.0.0.1:{self.port('admin')}{path}", timeout=10)

    def ready(self):
        wait_for(lambda: self.page("/readyz").status_code == 200, 90, self.log)
        return self

    def watching(self, source="app"):
        """Until a sqlite source has looked at everything once: what happens from now on is new to it."""
        wait_for(lambda: f"msg=watching source={source} " in self.log(), why=self.log)
        return self

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds=PATIENCE):
        code = self.process.wait(seconds)
        self.check()
        return code

    def stop(self):
        self.terminate()
        assert self.wait() == 0, self.log()

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)
        self.check()

    def check(self):
        assert not support.complaints(self.log()), self.log()


class Bridge:
    """A configuration on one of the brokers, started as often as a test wants."""

    def __init__(self, program, kind, folder, kafka):
        self.program, self.kind, self.folder, self.kafka = program, kind, folder, kafka
        self.name, self.instance = "t" + uuid.uuid4().hex[:8], "one"
        self.broker_more = self.admin_more = ""
        self.daemons = []

    def topic(self, name):
        return f"{self.name}.{name}"

    def broker(self, folder=None):
        names = f"prefix: {self.name}-own., group_prefix: {self.name}-"
        if self.kind == "local":
            return f"broker: {{type: local, path: {folder or self.folder}/data, {names}{self.broker_more}}}\n"
        return f"broker: {{type: kafka, servers: {self.kafka.servers}, {names}, instance: {self.instance}{self.broker_more}}}\n"

    def configure(self, text, folder=None, admin="127.0.0.1:0", name="bridge.yaml", admin_more=""):
        """`text` is the rest of the configuration; $EVENTS in it becomes the topic "events" of this test, $FOLDER its folder.
        `admin_more`: more options of the admin listener ("api: true")."""
        folder = folder or self.folder
        folder.mkdir(exist_ok=True)
        text = re.sub(r"\$T_(\w+)", lambda m: self.topic(m[1]), text.replace("$EVENTS", self.topic("events")).replace("$FOLDER", str(folder)))
        self.config = folder / name
        self.config.write_text(self.broker(folder) + f'admin: {{listen: "{admin}"{self.admin_more}{", " + admin_more if admin_more else ""}}}\n' + text)
        return self.config

    def start(self, ready=True, env=None):
        daemon = Daemon(self.program, self.config, self.config.parent, env)
        self.daemons.append(daemon)
        return daemon.ready() if ready else daemon

    def run(self, text, **more):
        self.configure(text, **more)
        return self.start()

    def command(self, *words, seconds=60):
        return subprocess.run([self.program, *words, "-c", str(self.config)], cwd=self.folder, capture_output=True, text=True, timeout=seconds)

    def dead(self, *words):
        done = self.command("dead", "list", "--json", *words)
        assert done.returncode == 0, done.stderr
        assert not support.complaints(done.stderr), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def end(self):
        for daemon in self.daemons:
            if daemon.alive():
                daemon.terminate()
        for daemon in self.daemons:
            if daemon.alive():
                try:
                    daemon.wait()
                finally:
                    daemon.process.kill()
            daemon.check()


@pytest.fixture
def bridges(aqueduct, tmp_path, request):
    """Makes bridges; ends their daemons, and fails the test on any sanitizer's report."""
    made = []

    def make(kind, folder=None, kafka=None):
        made.append(Bridge(aqueduct, kind, folder or tmp_path, kafka or (request.getfixturevalue("kafka") if kind == "kafka" else None)))
        return made[-1]
    yield make
    for one in made:
        one.end()


@pytest.fixture(params=["local", "kafka"])
def bridge(bridges, request):
    return bridges(request.param)


@pytest.fixture
def local_bridge(bridges):
    return bridges("local")


@pytest.fixture
def kafka_bridge(bridges):
    return bridges("kafka")


# ---- a receiver ----

class Receiver:
    """Receives webhooks on a loopback port; `id` is the event's, `webhook_id` the header (the same for captured rows). `answer(request)` returns a status, or (status, headers), or (status, headers, body), or "hang" or "close"."""

    def __init__(self, answer=lambda request: 204, secrets=(SECRET,), port=0, tls=None):
        self.answer, self.requests, self.released = answer, [], threading.Event()
        self.consent, self.asked = lambda n: (405, {}), []      # what the nth OPTIONS gets: (status, headers)
        keys, self.lock, outer = [demo_receiver.key_of(s) for s in secrets], threading.Lock(), self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def do_OPTIONS(self):
                outer.asked.append({name.lower(): value for name, value in self.headers.items()})
                status, more = outer.consent(len(outer.asked))
                self.send_response(status)
                for name, value in {**more, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                if headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                found = demo_receiver.event_of(headers, body)
                request = {"at": time.time(), "path": self.path, "headers": headers, "body": body, **found,
                           "peer": self.connection.getpeercert() if tls else None,
                           "webhook_id": headers.get("webhook-id"), "why": demo_receiver.verify(keys, headers, body, time.time())}
                with outer.lock:
                    request["arrival"] = 1 + sum(r["webhook_id"] == request["webhook_id"] for r in outer.requests)
                    answer = request["answer"] = outer.answer(request)
                    outer.requests.append(request)
                if answer in ("hang", "close"):
                    outer.released.wait(120 if answer == "hang" else 0)
                    self.close_connection = True
                    return
                status, more, text = (*answer, "")[:3] if isinstance(answer, tuple) else (answer, {}, "")
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 256

            def handle_error(self, *_):
                pass                        # the bridge may hang up at any time

        self.server = Server(("127.0.0.1", port), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/hook"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def all(self):
        with self.lock:
            return list(self.requests)

    def good(self):
        """Those that were answered with 2xx."""
        return [r for r in self.all() if isinstance(r["answer"], int) and r["answer"] < 300]

    def ids(self):
        return {r["id"] for r in self.good()}

    def arrived(self, count, seconds=PATIENCE):
        wait_for(lambda: len(self.all()) >= count, seconds, lambda: f"{count} requests; there are {len(self.all())}")
        return self.all()

    def delivered(self, ids, seconds=PATIENCE):
        """Waits until each of these was answered with 2xx; everything must verify."""
        ids = set(ids)
        wait_for(lambda: ids <= self.ids(), seconds, lambda: f"missing: {sorted(ids - self.ids())[:10]}")
        assert [r["why"] for r in self.all() if r["why"]] == []

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receivers():
    made = []

    def make(*args, **kw):
        made.append(Receiver(*args, **kw))
        return made[-1]
    yield make
    for one in made:
        one.close()


@pytest.fixture
def receiver(receivers):
    return receivers()


# ---- listeners ----

def certificate(folder, name="tls"):
    """A certificate of 127.0.0.1 that signs itself, and its key: files NAME.crt and NAME.key."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}.key", "-out", f"{name}.crt"], cwd=folder, check=True, capture_output=True)
    os.chmod(folder / f"{name}.key", 0o600)
    return folder / f"{name}.crt", folder / f"{name}.key"


class Listener:
    """A WebSocket listener in a thread of its own. When it has ended, `code` and `reason` say how, or `refused` the HTTP status."""

    decode, encode = staticmethod(json.loads), staticmethod(json.dumps)

    def __init__(self, port, query="", headers=None, **more):
        self.events, self.code, self.reason, self.refused, self.protocol = [], None, None, None, None
        self.opened, self.ended = threading.Event(), threading.Event()
        self.url = f"{'wss' if 'ssl' in more else 'ws'}://127.0.0.1:{port}/{query}"
        self.more = dict(more, extra_headers=headers, max_size=None, open_timeout=30)
        threading.Thread(target=lambda: asyncio.run(self.listen()), daemon=True).start()
        wait_for(lambda: self.opened.is_set() or self.ended.is_set())

    async def listen(self):
        try:
            async with websockets.connect(self.url, **self.more) as ws:
                self.protocol, self.ws, self.loop = ws.subprotocol, ws, asyncio.get_running_loop()
                self.opened.set()
                try:
                    async for text in ws:
                        self.events.append(self.decode(text))
                finally:
                    self.code, self.reason = ws.close_code, ws.close_reason
        except websockets.InvalidStatusCode as e:
            self.refused = e.status_code
        except websockets.ConnectionClosed:
            pass
        except ssl.SSLError as e:
            self.refused = e.reason
        finally:
            self.ended.set()

    def leave(self):
        asyncio.run_coroutine_threadsafe(self.ws.close(), self.loop).result(30)

    def say(self, message):
        asyncio.run_coroutine_threadsafe(self.ws.send(self.encode(message)), self.loop).result(30)

    def ids(self):
        return [e["id"] for e in self.events]

    def heard(self, ids):
        wait_for(lambda: set(ids) <= set(self.ids()), why=lambda: sorted(set(ids) - set(self.ids()))[:10])


class SseListener(Listener):
    """The same by server-sent events; `blocks` holds (id, event, data) as they stood on the wire, `last` the last id, `resumed` what
    became of the one that it came with."""

    def __init__(self, port, query="", headers=None):
        self.events, self.blocks, self.opened, self.ended = [], [], threading.Event(), threading.Event()
        self.last, self.resumed = None, None
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", f"/{query}", headers={"Accept": "text/event-stream", **(headers or {})})
        self.stream = connection.getresponse()
        self.refused = self.stream.status if self.stream.status != 200 else None
        assert self.refused or self.stream.headers["Content-Type"] == "text/event-stream"
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        block = {}
        try:
            for line in self.stream:
                line = line.decode().rstrip("\n")
                name, _, value = line.partition(": ")
                if line:
                    block[name] = value
                    if name == "id":
                        self.last = value
                elif block.get("event") == "resume":
                    self.resumed = json.loads(block["data"])
                elif "data" in block:
                    self.blocks.append((block.get("id"), block.get("event"), block["data"]))
                    self.events.append(json.loads(block["data"]))
                if not line:
                    block = {}
        except (OSError, http.client.HTTPException):
            pass
        finally:
            self.ended.set()


# ---- verifiers ----

@contextlib.contextmanager
def made_once(folder, wanted):
    """Whether the folder is to be filled: not when it was, with what is wanted. Nobody else looks meanwhile: two runs of pytest may share it."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "installed"
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = not stamp.exists() or stamp.read_text() != wanted
        yield missing
        if missing:
            stamp.write_text(wanted)


@pytest.fixture(scope="session")
def node_folder():
    """The scripts of tests/e2e/verify with npm's packages installed beside them."""
    folder = ROOT / "build/verify"
    wanted = (ROOT / "tests/e2e/verify/package.json").read_text()
    with made_once(folder, wanted) as missing:
        for file in (ROOT / "tests/e2e/verify").glob("*.mjs"):
            there = folder / file.name
            if not there.exists() or there.read_text() != file.read_text():
                shutil.copy(file, there)
        if missing:
            (folder / "package.json").write_text(wanted)
            subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"], cwd=folder, check=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def node(node_folder):
    """Runs one of these scripts; JSON lines in, lines out."""
    def ask(script, lines):
        done = subprocess.run(["node", script], cwd=node_folder, input="\n".join(map(json.dumps, lines)), capture_output=True, text=True, timeout=120)
        assert done.stderr == ""
        return done.stdout.split("\n")[:-1]
    return ask


@pytest.fixture(scope="session")
def python_folder():
    """A Python that has the packages which the scripts of tests/e2e/verify need."""
    folder, wanted = ROOT / "build/verify-python", ROOT / "tests/e2e/verify/requirements.txt"
    with made_once(folder, wanted.read_text()) as missing:
        if missing:
            subprocess.run(["/usr/bin/python3", "-m", "venv", str(folder)], check=True, timeout=300)
            subprocess.run([str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)], check=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def judge(node):
    """Asks npm's standardwebhooks and svix about a list of {id, timestamp, signature, body_base64, secret}: "ok", or why not."""
    return lambda lines: node("verify.mjs", lines)


def signed(request, secret=SECRET):
    """A received request as the judge wants it."""
    return {"id": request["webhook_id"], "timestamp": request["headers"]["webhook-timestamp"], "signature": request["headers"]["webhook-signature"],
            "body_base64": base64.b64encode(request["body"]).decode(), "secret": secret}


# ---- senders ----

HTTP_SOURCE = f"""
sources:
  hooks:
    type: http
    listen: 127.0.0.1:0
    paths: [{{path: /v1, ce_source: any, verify: {{scheme: bearer, secrets: [{TOKEN}]}}}}]
routes: [{{topic: $EVENTS}}]
"""


def event(ident, kind="thing.happened", **more):
    return {"specversion": "1.0", "id": ident, "source": "/e2e", "type": kind, **more}


def post(daemon, body, path="/v1", source="hooks", token=TOKEN, headers=None, timeout=60):
    """One CloudEvent (or a list: a batch) into the http source."""
    kind = "application/cloudevents-batch+json" if isinstance(body, list) else "application/cloudevents+json"
    return requests.post(f"http://127.0.0.1:{daemon.port(source)}{path}", data=json.dumps(body).encode(), timeout=timeout,
                         headers={"Authorization": f"Bearer {token}", "Content-Type": kind, **(headers or {})})


def post_ok(daemon, *events):
    for one in events:
        answer = post(daemon, one)
        assert answer.status_code == 202, answer.text


def webhook_sink(name, url, more=""):
    return f"""
  {name}:
    type: webhook
    topics: [$EVENTS]
    url: {url}
    secrets: [{SECRET}]
""" + "".join(f"    {line}\n" for line in more.splitlines())


DEAD_LETTERS = "  failed: {type: dead_letter, path: $FOLDER/dead.db}\n"
