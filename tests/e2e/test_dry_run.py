# SPDX-License-Identifier: MIT
"""`aqueduct run --dry-run`: prints what would be published, and leaves no trace."""
import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess

import pytest
import requests

from conftest import TOKEN, event, free_port, wait_for

CONFIG = """\
broker: {path: data}
sources:
  app:
    type: sqlite
    path: app.db
    start: snapshot
    capture:
      - {name: r, kind: append, table: t, types: {insert: thing.made}}
  hooks:
    type: http
    listen: 127.0.0.1:PORT
    paths: [{path: /v1/events, ce_source: any, verify: {scheme: bearer, secrets: ["TOKEN"]}}]
routes:
  - {filter: {exact: {type: thing.made}}, topic: things, also: true}
  - {filter: {prefix: {type: thing.}}, topic: everything}
sinks:
  crm: {type: webhook, topics: [things], url: "http://127.0.0.1:9/", secrets: ["a secret of at least 24 characters"], retry: []}
  dead: {type: dead_letter, path: dead.db}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bridge.yaml").write_text(CONFIG.replace("PORT", str(free_port())).replace("TOKEN", TOKEN))
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as db, db:
        db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, name)")
        db.executemany("INSERT INTO t(name) VALUES(?)", [("one",), ("two\nlines",)])
    return tmp_path


class Run:
    def __init__(self, aqueduct, folder, *args):
        self.folder = folder
        self.out, self.log = folder.parent / "out", folder.parent / "log"
        with open(self.out, "w") as out, open(self.log, "w") as log:
            self.process = subprocess.Popen([aqueduct, "run", *args], cwd=folder, stdout=out, stderr=log)
        wait_for(lambda: "msg=running" in self.log.read_text(), why=self.log.read_text)

    def events(self):
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def dry(aqueduct, folder):
    run = Run(aqueduct, folder, "--dry-run")
    yield run
    if run.process.poll() is None:
        run.process.kill()
        run.process.wait()


def port_of(folder):
    return re.search(r"listen: 127.0.0.1:(\d+)", (folder / "bridge.yaml").read_text())[1]


def test_prints_each_event_once_and_leaves_no_trace(dry):
    before = sorted(one.name for one in dry.folder.iterdir())
    wait_for(lambda: len(dry.events()) == 2, why=dry.log.read_text)
    with contextlib.closing(sqlite3.connect(dry.folder / "app.db")) as db, db:
        db.execute("INSERT INTO t(name) VALUES('three')")
    wait_for(lambda: len(dry.events()) == 3, why=dry.log.read_text)
    assert [(e["type"], e["data"]["name"], e.get("snapshot")) for e in dry.events()] == [
        ("thing.made", "one", "true"), ("thing.made", "two\nlines", "true"), ("thing.made", "three", None)]
    assert dry.end() == 0
    assert sorted(one.name for one in dry.folder.iterdir()) == before == ["app.db", "bridge.yaml"]
    log = dry.log.read_text()
    assert re.search(r"would have been published.* topic=things events=3", log), log
    assert re.search(r"would have been published.* topic=everything events=3", log), log


def test_acknowledges_nothing(dry):
    answer = requests.post(f"http://127.0.0.1:{port_of(dry.folder)}/v1/events", json=event("an-id", "thing.sent"), timeout=30,
                           headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents+json"})
    assert answer.status_code == 503
    assert [e["type"] for e in dry.events() if e["id"] == "an-id"] == ["thing.sent"]
    assert dry.end() == 0


def test_a_run_after_it_and_one_beside_it_begin_where_they_would_have(aqueduct, folder, dry):
    wait_for(lambda: len(dry.events()) == 2, why=dry.log.read_text)
    assert dry.end() == 0
    real = subprocess.Popen([aqueduct, "run"], cwd=folder, stderr=subprocess.DEVNULL)
    try:
        def stored():
            with contextlib.suppress(sqlite3.Error):
                answer = subprocess.run([aqueduct, "dead", "list", "--json"], cwd=folder, capture_output=True, text=True, timeout=60)
                return len(answer.stdout.splitlines()) == 2
        wait_for(stored)
        text = (folder / "bridge.yaml").read_text()
        (folder / "bridge.yaml").write_text(text.replace(port_of(folder), str(free_port())))
        beside = Run(aqueduct, folder, "--dry-run")
        wait_for(lambda: len(beside.events()) == 2, why=beside.log.read_text)
        assert beside.end() == 0
        assert real.poll() is None
    finally:
        real.kill()
        real.wait()


def test_ends_when_nobody_reads(aqueduct, folder):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        done = subprocess.run([aqueduct, "run", "--dry-run"], cwd=folder, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert "standard output takes no more" in done.stderr
