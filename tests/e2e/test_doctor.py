# SPDX-License-Identifier: MIT
"""`aqueduct doctor`: what is within reach and what is not, beside a daemon and without one."""
import json
import os
import re
import socket
import sqlite3
import ssl
import stat
import subprocess
import time

import pytest

from conftest import HTTP_SOURCE, OTHER_SECRET, Receiver, event, free_port, post_ok, webhook_sink

CONFIG = """\
broker: {path: data}
admin: {listen: "127.0.0.1:PORT1"}
sources:
  app: {type: sqlite, path: app.db, capture: [{name: rows, kind: append, table: t, key: id, types: {insert: t.created}}]}
  hooks: {type: http, listen: "127.0.0.1:PORT2", paths: [{path: /v1, verify: {scheme: bearer, secrets: ["a-token-of-some-length"]}}]}
routes: [{topic: events}]
sinks:
  crm:
    type: webhook
    topics: [events]
    endpoints:
ENDPOINTS
  failed: {type: dead_letter, path: dead.db}
"""


@pytest.fixture
def doctor(aqueduct, tmp_path):
    db = sqlite3.connect(tmp_path / "app.db")
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, what TEXT)")
    db.commit()
    db.close()

    def configure(**endpoints):
        text = CONFIG.replace("PORT1", str(free_port())).replace("PORT2", str(free_port()))
        (tmp_path / "bridge.yaml").write_text(text.replace("ENDPOINTS", "\n".join(f"      {name}: {{secrets: ['a secret of at least 24 characters'], {o}}}" for name, o in endpoints.items())))

    def call(*more, code=0, **env):
        done = subprocess.run([aqueduct, "doctor", "--json", *more], cwd=tmp_path, env={**os.environ, **env}, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        said = json.loads(done.stdout)
        assert said["ok"] is (code == 0)
        return said["findings"]
    call.folder, call.configure, call.program = tmp_path, configure, aqueduct
    return call


def of(findings, thing, what=None):
    """The findings about an object, or one of them."""
    rows = [f for f in findings if f["object"] == thing and what in (None, f["what"])]
    assert rows, findings
    return rows if what is None else rows[0]


def test_all_is_well(doctor, aqueduct):
    receiver = Receiver()
    doctor.configure(one=f"url: {receiver.url}")
    found = doctor()
    assert {f["finding"] for f in found} <= {"ok", "risky", "slow"}
    assert of(found, "daemon")[0]["how"] == "does not run"
    assert of(found, "sinks.crm/one", "connection")["finding"] == "ok"
    assert "rollback mode" in of(found, "sources.app", "database")["how"]
    assert of(found, "sources.app", "look")["finding"] == "ok"
    assert {"MiB free" in f["how"] or "durable write" in f["how"] for f in of(found, "broker") if f["what"] == "data"} >= {True}
    assert of(found, "sources.hooks")[0]["how"] == "free"
    assert {f["what"] for f in of(found, "machine")} == {"clock", "descriptors", "libraries"}
    assert re.fullmatch(r"SQLite \S+, librdkafka \S+, OpenSSL .*, libcurl [\d.]+\S*", of(found, "machine", "libraries")["how"])
    assert receiver.all() == [], "a request was sent"
    assert sorted(p.name for p in doctor.folder.iterdir()) == ["app.db", "bridge.yaml"], "something was left"
    shown = subprocess.run([aqueduct, "doctor"], cwd=doctor.folder, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0 and shown.stdout.splitlines()[-1].startswith("0 broken, ")
    receiver.close()


def damage(path, page):
    """What stands there is no page of a table or index any more."""
    with open(path, "r+b") as file:
        file.seek(16)
        size = int.from_bytes(file.read(2), "big")
        file.seek((page - 1) * size)
        file.write(b"no page, garbage" * 8)


@pytest.mark.parametrize("mode, megabytes", [("delete", 1), ("wal", 1), ("delete", 80)])
def test_a_damaged_page_of_a_database_is_something_broken(doctor, mode, megabytes):
    """Of the middle of a table, which nothing that is looked at otherwise comes upon; of a large one, too."""
    receiver = Receiver()
    doctor.configure(one=f"url: {receiver.url}")
    db = sqlite3.connect(doctor.folder / "app.db")
    db.execute(f"PRAGMA journal_mode = {mode}")
    db.executemany("INSERT INTO t (what) VALUES (?)", (("x" * 2000,) for _ in range(megabytes * 500)))
    db.commit()
    sound = of(doctor(), "sources.app", "pages")
    assert (sound["finding"], "sound" in sound["how"]) == ("ok", True)
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.close()
    damage(doctor.folder / "app.db", pages // 2)
    found = of(doctor(code=1), "sources.app", "pages")
    assert found["finding"] == "broken" and found["how"].startswith("app.db is damaged (SQLite: ") and "backup" in found["todo"]
    shown = subprocess.run([doctor.program, "doctor"], cwd=doctor.folder, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 1 and shown.stdout.splitlines()[-1].startswith("1 broken, "), shown.stdout
    receiver.close()


def test_a_damaged_page_of_the_log_is_something_broken(doctor, local_bridge, receiver):
    """One of records that nobody reads again at the start."""
    daemon = local_bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    post_ok(daemon, *(event(f"e{i}", data="x" * 1000) for i in range(50)))
    receiver.delivered({f"e{i}" for i in range(50)})
    daemon.stop()
    file = local_bridge.folder / "data" / "aqueduct.db"

    def log():
        return of(json.loads(local_bridge.command("doctor", "--json").stdout)["findings"], "broker", "log")
    assert log()["finding"] == "ok" and "sound" in log()["how"]
    db = sqlite3.connect(file)
    (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name LIKE 'log\\_%' ESCAPE '\\' ORDER BY (SELECT 1)").fetchone()
    db.close()
    damage(file, page)
    assert log()["finding"] == "broken" and f'"{file}" is damaged (' in log()["how"] and "restore it from a backup" in log()["how"]


def test_one_that_does_not_answer_holds_up_no_other(doctor):
    """A server that takes the connection and never speaks TLS, and one that nobody is at."""
    silent = socket.create_server(("127.0.0.1", 0))
    receiver = Receiver()
    doctor.configure(silent=f"url: 'https://127.0.0.1:{silent.getsockname()[1]}/'", gone=f"url: 'http://127.0.0.1:{free_port()}/'",
                     nowhere="url: 'http://no-such-host.invalid/'", good=f"url: {receiver.url}")
    found = doctor("--timeout", "2", code=1)
    assert of(found, "sinks.crm/silent")[0]["finding"] == "broken"
    gone = of(found, "sinks.crm/gone", "connection")
    assert gone["finding"] == "broken" and "does it run" in gone["todo"]
    name = of(found, "sinks.crm/nowhere")[0]
    assert name["finding"] == "broken"
    assert of(found, "sinks.crm/good", "connection")["finding"] == "ok"
    receiver.close()
    silent.close()


def certificate(folder, days):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-days", str(days),
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize("days, finding", [(100, "ok"), (5, "risky")])
def test_the_end_of_a_certificate_is_said(doctor, days, finding):
    certificate(doctor.folder, days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(doctor.folder / "cert.pem", doctor.folder / "key.pem")
    receiver = Receiver(tls=context)
    doctor.configure(one=f"url: {receiver.url}, ca_file: cert.pem", other=f"url: {receiver.url}")
    text = (doctor.folder / "bridge.yaml").read_text()
    (doctor.folder / "bridge.yaml").write_text(text.replace("paths: [", "tls_certificate: cert.pem, tls_key: key.pem, paths: ["))
    found = doctor(code=1)
    tls = of(found, "sinks.crm/one", "TLS")
    assert tls["finding"] == finding and any(f"({left} days)" in tls["how"] for left in (days - 1, days))
    assert of(found, "sinks.crm/other", "TLS")["finding"] == "broken" and "ca_file" in of(found, "sinks.crm/other", "TLS")["todo"]
    assert of(found, "sources.hooks", "cert.pem")["finding"] == finding
    assert receiver.all() == []
    receiver.close()


def test_the_collector_of_traces(doctor):
    """Is asked for a connection alone; events do without it, so that it is no breakage."""
    receiver, collector = Receiver(), Receiver()
    doctor.configure(one=f"url: {receiver.url}")
    text = (doctor.folder / "bridge.yaml").read_text()
    for port, finding in ((collector.port, "ok"), (free_port(), "risky")):
        (doctor.folder / "bridge.yaml").write_text(text + f"traces: {{endpoint: 'http://127.0.0.1:{port}/v1/traces'}}\n")
        found = of(doctor(), "traces.endpoint", "connection")
        assert found["finding"] == finding, found
    assert str(port) in found["how"] and "traces.endpoint" in found["todo"]
    assert collector.all() == []


def test_beside_a_daemon_and_with_a_port_that_another_has(doctor, aqueduct):
    receiver = Receiver()
    doctor.configure(one=f"url: {receiver.url}")
    text = (doctor.folder / "bridge.yaml").read_text()
    port = int(text.split("listen: \"127.0.0.1:")[2].split("\"")[0])
    with socket.create_server(("127.0.0.1", port)):
        taken = of(doctor(code=1), "sources.hooks", f"127.0.0.1:{port}")
        assert taken["finding"] == "broken" and "ss -ltnp" in taken["todo"]
    with open(doctor.folder / "log", "w") as log:
        daemon = subprocess.Popen([aqueduct, "run"], cwd=doctor.folder, stderr=log)
    try:
        until = time.monotonic() + 40
        while "msg=listening source=hooks" not in (doctor.folder / "log").read_text() and time.monotonic() < until:
            time.sleep(0.05)
        found = doctor()
        assert of(found, "daemon")[0]["how"] == "runs"
        assert of(found, "sources.hooks", f"127.0.0.1:{port}")["how"] == "the running daemon listens there"
    finally:
        daemon.terminate()
        assert daemon.wait(40) == 0
        receiver.close()


def test_what_the_check_says_and_what_is_missing(doctor):
    doctor.configure(one=f"url: 'http://127.0.0.1:{free_port()}/'")
    os.remove(doctor.folder / "app.db")
    (doctor.folder / "secret").write_text(OTHER_SECRET)
    os.chmod(doctor.folder / "secret", 0o644)
    found = doctor(code=1)
    assert of(found, "configuration")[0]["finding"] == "risky" and "app.db" in of(found, "configuration")[0]["how"]
    assert of(found, "sources.app", "database")["finding"] == "broken"
    text = (doctor.folder / "bridge.yaml").read_text()
    (doctor.folder / "bridge.yaml").write_text(text.replace("a secret of at least 24 characters", "${file:secret}"))
    found = doctor(code=1)
    assert "chmod" in of(found, "configuration")[0]["how"] and len(found) == 1
    (doctor.folder / "bridge.yaml").write_text("sinks: {crm: {type: webhok}}")
    found = doctor(code=1)
    assert found[0]["finding"] == "broken" and found[0]["what"] == "bridge.yaml:1:21" and "webhook" in found[0]["how"]


def test_a_folder_that_cannot_be_written(doctor):
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    doctor.configure(one=f"url: 'http://127.0.0.1:{free_port()}/'")
    data = doctor.folder / "data"
    data.mkdir()
    data.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert any(f["finding"] == "broken" and f["what"] == "data" for f in of(doctor(code=1), "broker"))


def test_a_kafka_that_is_there_and_one_that_is_not(doctor, kafka):
    doctor.configure(one=f"url: 'http://127.0.0.1:{free_port()}/'")
    text = (doctor.folder / "bridge.yaml").read_text()
    (doctor.folder / "bridge.yaml").write_text(text.replace("broker: {path: data}", f"broker: {{type: kafka, servers: '{kafka.servers}'}}"))
    found = doctor(code=1)
    assert of(found, "broker", "cluster")["finding"] == "ok"
    assert "the start makes it" in of(found, "broker", "events")["how"]
    (doctor.folder / "bridge.yaml").write_text(text.replace("broker: {path: data}", f"broker: {{type: kafka, servers: '127.0.0.1:{free_port()}'}}"))
    found = doctor("--timeout", "3", code=1)
    assert of(found, "broker")[0]["finding"] == "broken" and of(found, "sources.app", "database")["finding"] == "ok"


def test_a_kafka_that_refuses_connections(aqueduct, tmp_path):
    """Doctor and status say who refuses, and what to do."""
    port = free_port()
    (tmp_path / "bridge.yaml").write_text(f"broker: {{type: kafka, servers: '127.0.0.1:{port}'}}\nadmin: {{listen: '127.0.0.1:{free_port()}'}}\n"
                                          "topics: {t: {}}\nsinks: {live: {type: websocket, listen: '127.0.0.1:0', topics: [t]}}\n")
    why = f"Kafka at 127.0.0.1:{port}: connection refused, nothing listens on 127.0.0.1:{port}; start it there, or mend broker.servers"
    for words in (["doctor", "--timeout", "3"], ["status"]):
        done = subprocess.run([aqueduct, *words], cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and why in done.stdout + done.stderr, done.stdout + done.stderr
