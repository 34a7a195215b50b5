# SPDX-License-Identifier: MIT
"""Alerts and board before a real Prometheus: rules by promtool, each query of the board on the metrics of a daemon that works."""
import contextlib
import http.server
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.parse
import urllib.request

from conftest import ROOT, do

sys.path.append(str(ROOT / "tests/support"))
from aqueduct import Daemon, free_port, unpacked, wait_for  # noqa: E402

DEPLOY = ROOT / "bridge/deploy"
TOKEN = "a-token-of-some-length-0123"
# Of what did not happen here there is no series: a refusal, a circuit, retention that waits, what nobody serves; nothing may be in memory at that moment.
EMPTY = {"aqueduct_source_refused_total", "aqueduct_broker_refused_total", "aqueduct_retention_held_records", "aqueduct_unserved_records", "aqueduct_sink_blocked",
         "aqueduct_listeners_catching_up", "aqueduct_sink_oldest_timestamp_seconds"}


def test_alerts_are_right_and_call_when_they_should(tmp_path):
    for file in (*(DEPLOY / "prometheus").iterdir(), ROOT / "tests/package/alerts.test.yaml"):
        shutil.copy(file, tmp_path)
    do(unpacked("promtool"), "check", "config", "prometheus.yaml", cwd=tmp_path)
    do(unpacked("promtool"), "test", "rules", "alerts.test.yaml", cwd=tmp_path)


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(422 if b'"no"' in body else 503 if b'"later"' in body else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def working(program, folder):
    """A daemon with sources and sinks of every kind, which work."""
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    with contextlib.closing(sqlite3.connect(folder / "app.db")) as db:
        db.executescript("CREATE TABLE notes(id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT); INSERT INTO notes(text) VALUES('one'),('two')")
    daemon, ingest, live = Daemon(program, folder), free_port(), free_port()
    daemon.admin = free_port()
    (folder / "bridge.yaml").write_text(json.dumps({
        "broker": {"type": "local", "path": "data"}, "admin": {"listen": f"127.0.0.1:{daemon.admin}"}, "routes": [{"topic": "events"}],
        "sources": {"hooks": {"type": "http", "listen": f"127.0.0.1:{ingest}", "paths": [{"path": "/v1", "ce_source": "any", "verify": {"scheme": "bearer", "secrets": [TOKEN]}}]},
                    "app": {"type": "sqlite", "path": "app.db", "start": "snapshot", "capture": [{"name": "notes", "kind": "append", "table": "notes", "types": {"insert": "note.added"}}]}},
        "sinks": {"crm": {"type": "webhook", "topics": ["events"], "url": f"http://127.0.0.1:{receiver.server_port}/", "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
                          "retry_memory": "100ms", "retry": ["1m"], "circuit": {"failures": 50}},
                  "live": {"type": "websocket", "listen": f"127.0.0.1:{live}", "topics": ["events"]}, "failed": {"type": "dead_letter", "path": "dead.db"}}}))
    daemon.start()
    assert daemon.ready(60), daemon.log()
    listener = socket.create_connection(("127.0.0.1", live))
    listener.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
    stop = threading.Event()

    def post():
        n = 0
        while not stop.wait(0.1):
            n += 1
            body = json.dumps({"specversion": "1.0", "id": f"e{n}", "source": "/s", "type": "t", "data": {"x": ("fine", "no", "later", "fine")[n % 4]}}).encode()
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{ingest}/v1", body, {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents+json"}))
    sender = threading.Thread(target=post)
    sender.start()
    try:
        yield daemon
    finally:
        stop.set()
        sender.join()
        listener.close()
        daemon.process.terminate()
        daemon.process.wait(60)
        receiver.shutdown()


def test_each_query_of_the_board_has_an_answer(program, tmp_path):
    port, base = free_port(), (DEPLOY / "prometheus/prometheus.yaml").read_text()
    with working(program, tmp_path) as daemon:
        (tmp_path / "prometheus.yaml").write_text(base.replace("15s", "1s").replace("aqueduct:9464", f"127.0.0.1:{daemon.admin}"))
        shutil.copy(DEPLOY / "prometheus/alerts.yaml", tmp_path)
        with open(tmp_path / "prometheus.log", "wb") as log:
            prometheus = subprocess.Popen([unpacked("prometheus"), "--config.file=prometheus.yaml", "--storage.tsdb.path=tsdb", f"--web.listen-address=127.0.0.1:{port}"],
                                          cwd=tmp_path, stdout=log, stderr=log)
        try:
            def ask(query):
                url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
                with contextlib.suppress(ConnectionError, urllib.error.URLError):
                    with urllib.request.urlopen(url, timeout=30) as answer:
                        return json.load(answer)["data"]["result"]
                return []
            wait_for(lambda: ask('sum(increase(aqueduct_sink_delivered_total{sink="crm"}[20s])) > 5'), 90, lambda: (tmp_path / "prometheus.log").read_text()[-2000:], 0.5)
            wait_for(lambda: ask('sum(aqueduct_sink_waiting) > 0 and sum(aqueduct_dead_letters) > 0'), 60, "nothing waits", 0.5)
            board, mute = json.loads((DEPLOY / "grafana/aqueduct.json").read_text()), []
            for panel in board["panels"]:
                for target in panel["targets"]:
                    query = target["expr"].replace("$instance", ".*").replace("$__rate_interval", "30s").replace("$__range", "5m")
                    if not ask(query) and not any(name in query for name in EMPTY):
                        mute.append((panel["title"], query))
            assert not mute
            for name in json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/rules"))["data"]["groups"][0]["rules"]:
                assert name["health"] != "err", name
        finally:
            prometheus.terminate()
            prometheus.wait(60)
