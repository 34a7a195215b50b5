# SPDX-License-Identifier: MIT
"""What an earlier version left on disk is taken over whole; what a later one left is refused with words and stays as it is.

tests/data/formats/VERSION is a daemon's folder as a release left it, and book.json, which says what was owed. At each release, once:

    AQUEDUCT_BIN=build/release/aqueduct /usr/bin/python3 tests/e2e/test_formats.py tests/data/formats/VERSION"""
import base64
import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import pytest
import requests

from conftest import PATIENCE, ROOT, SECRET, TOKEN, Daemon, Receiver, SseListener, event, post, wait_for

FORMATS = ROOT / "tests/data/formats"
VERSIONS = sorted(path.name for path in FORMATS.iterdir()) if FORMATS.exists() else []
KEY = "q0sVw2y7Tn8Jb4LxUe6Zr1Kc9Hd3Pf5MaGiStO0uYkE=\n"
# Every kind of thing that is kept: records, positions, what waits, dead letters, ids that came, rows that were told, endpoints with sealed secrets.
CONFIG = """
broker: {type: local, path: data}
admin: {listen: "127.0.0.1:0", api: true, loopback: operator, key_file: endpoints.key}
sources:
  hooks: {type: http, listen: "127.0.0.1:0", dedupe_window: 0, paths: [{path: /v1, ce_source: any, verify: {scheme: bearer, secrets: [TOKEN]}}]}
  app: {type: sqlite, path: app.db, start: snapshot, capture: [{name: notes, kind: append, table: notes, types: {insert: note.added}}]}
routes: [{topic: events}]
sinks:
  crm: {type: webhook, topics: [events], url: "URL/crm", secrets: [SECRET], retry_memory: 100ms, retry: [5s, 5s, 5s, 5s, 5s, 5s]}
  held: {type: webhook, topics: [events], url: "URL/held", secrets: [SECRET], paused: PAUSED}
  partners: {type: webhook, topics: [events], retry_memory: 100ms, retry: [5s, 5s, 5s, 5s, 5s, 5s], endpoints: {}}
  live: {type: websocket, listen: "127.0.0.1:0", topics: [events]}
  failed: {type: dead_letter, path: dead.db}
"""


def configure(folder, receiver, paused):
    text = CONFIG.replace("TOKEN", TOKEN).replace("SECRET", SECRET).replace("URL", receiver.url.removesuffix("/hook")).replace("PAUSED", paused)
    (folder / "bridge.yaml").write_text(text)
    (folder / "endpoints.key").chmod(0o600)


def start(program, folder, receiver, paused):
    configure(folder, receiver, paused)
    return Daemon(program, "bridge.yaml", folder)


def command(program, folder, *words):
    return subprocess.run([program, *words], cwd=folder, capture_output=True, text=True, timeout=60)


def got(receiver, path):
    return sorted(r["id"] for r in receiver.good() if r["path"] == path)


def account(program, folder):
    return {s["sink"]: s for s in json.loads(command(program, folder, "status", "--json").stdout)["sinks"]}


# ---- a release's folder ----

def make(program, folder):
    folder.mkdir(parents=True)
    (folder / "endpoints.key").write_text(KEY)
    with contextlib.closing(sqlite3.connect(folder / "app.db")) as db:
        db.executescript("CREATE TABLE notes(id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT); INSERT INTO notes(text) VALUES('one'),('two'),('three')")
    receiver = Receiver(lambda r: 503 if r["path"] == "/acme" or r["subject"] == "later" else 422 if r["subject"] == "no" else 204)
    daemon = start(program, folder, receiver, "true").ready()
    made = requests.post(f"http://127.0.0.1:{daemon.admin}/api/v1/sinks/partners/endpoints", timeout=60,
                         json={"name": "acme", "url": receiver.url.replace("hook", "acme"), "secrets": [SECRET], "filter": {"exact": {"subject": "partner"}}})
    assert made.status_code == 201, made.text
    wait_for(lambda: len(got(receiver, "/crm")) == 3)
    subjects = ["plain", "later", "no", "partner", None, "ключ"]
    posted = [event(f"kept-{i:02}", subject=subject, data={"n": i, "text": "ü" * i}, **({"time": "2026-11-27T08:00:00Z"} if i % 2 else {}))
              for i, subject in enumerate(subjects * 2)]
    posted = [{name: value for name, value in one.items() if value is not None} for one in posted]
    for one in posted:
        assert post(daemon, one).status_code == 202
    wait_for(lambda: len(got(receiver, "/crm")) == 11 and account(program, folder)["crm"]["waiting"] == 2 and account(program, folder)["partners"]["waiting"] == 2)
    first = requests.get(f"http://127.0.0.1:{daemon.port('live')}/events?from=earliest&max=6&wait=20", timeout=60).json()
    daemon.stop()           # between two attempts
    receiver.close()
    book = {"posted": posted, "told": got(receiver, "/crm"), "cursor": first["cursor"], "heard": [one["id"] for one in first["events"]]}
    book["rows"] = [ident for ident in book["told"] if not ident.startswith("kept-")]
    (folder / "book.json").write_text(json.dumps(book, indent=1) + "\n")
    for file in ("data/control", "data/lock", "bridge.yaml"):
        (folder / file).unlink(missing_ok=True)
    for log in folder.glob("log-*"):
        log.unlink()


# ---- what later versions make of it ----

@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_release_left_is_taken_over_whole(aqueduct, receivers, tmp_path, version):
    folder = tmp_path / "kept"
    shutil.copytree(FORMATS / version, folder)
    book, receiver = json.loads((folder / "book.json").read_text()), receivers()
    posted = {one["id"]: one for one in book["posted"]}
    every = sorted([*posted, *book["rows"]])
    refused, later, partner = (sorted(i for i, one in posted.items() if one.get("subject") == which) for which in ("no", "later", "partner"))
    daemon = start(aqueduct, folder, receiver, "false")
    with contextlib.ExitStack() as ends:
        ends.callback(daemon.kill)
        daemon.ready().watching()
        # what waited and what was never tried is delivered, what was delivered is not, each as it was posted, under a signature that holds
        wait_for(lambda: got(receiver, "/crm") == later and got(receiver, "/held") == every, why=lambda: (daemon.log(), receiver.all()))
        for r in receiver.good():
            assert not r["why"]
            if r["path"] == "/held" and r["id"] in posted:
                assert json.loads(r["body"])["data"] == posted[r["id"]]["data"] and r["subject"] == posted[r["id"]].get("subject")
        # dead letters are there, and come again
        dead = [json.loads(line) for line in command(aqueduct, folder, "dead", "list", "--json").stdout.splitlines()]
        assert sorted(one["id"] for one in dead) == refused
        assert command(aqueduct, folder, "dead", "redrive", "--sink", "crm", "--all").returncode == 0
        wait_for(lambda: got(receiver, "/crm") == sorted(later + refused))
        # an endpoint that was made at run time: its secret opens
        changed = requests.patch(f"http://127.0.0.1:{daemon.admin}/api/v1/sinks/partners/endpoints/acme", timeout=60,
                                 json={"url": receiver.url.replace("hook", "acme")})
        assert changed.status_code == 200, changed.text
        wait_for(lambda: got(receiver, "/acme") == partner, why=daemon.log)
        assert [r["why"] for r in receiver.all() if r["why"]] == []
        # a listener goes on behind the last event that it heard
        page = requests.get(f"http://127.0.0.1:{daemon.port('live')}/events?from={book['cursor']}&wait=20", timeout=60).json()
        assert sorted(one["id"] for one in page["events"]) == sorted(set(every) - set(book["heard"]))
        # what came is known, rows that were told are not told again
        assert post(daemon, book["posted"][0]).status_code == 202
        with contextlib.closing(sqlite3.connect(folder / "app.db")) as db:
            db.execute("INSERT INTO notes(text) VALUES('four')")
            db.commit()
        assert post(daemon, event("new-00")).status_code == 202
        wait_for(lambda: len(got(receiver, "/held")) == len(every) + 2)
        assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == 1
        wait_for(lambda: {s["pending"] for s in account(aqueduct, folder)["held"]["topics"]} == {0})     # its account is a moment behind the answer
        daemon.terminate()
        assert daemon.wait() == 0


def number(file, **pragmas):
    with contextlib.closing(sqlite3.connect(file)) as db:
        for name, value in pragmas.items():
            db.execute(f"PRAGMA {name}={value}")
        return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")]


@pytest.mark.parametrize("file,says", [("data/aqueduct.db", "has format 99, this Aqueduct knows formats 1 to"), ("dead.db", "file version 99, this one knows")])
def test_what_a_later_version_left_is_refused_and_stays_as_it_is(aqueduct, receivers, tmp_path, file, says):
    folder = tmp_path / "kept"
    shutil.copytree(FORMATS / VERSIONS[-1], folder)
    number(folder / file, user_version=99)
    before = (folder / file).read_bytes()
    daemon = start(aqueduct, folder, receivers(), "false")
    assert daemon.wait() == 1
    assert says in daemon.log()
    done = command(aqueduct, folder, "dead", "list") if file == "dead.db" else command(aqueduct, folder, "status")
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert number(folder / file)[0] == 99 and (folder / file).read_bytes() == before


def test_a_log_of_the_first_format_is_taken_over_by_the_daemon_and_not_by_who_looks(aqueduct, receivers, tmp_path):
    folder = tmp_path / "kept"
    shutil.copytree(FORMATS / VERSIONS[-1], folder)
    file = folder / "data/aqueduct.db"
    with contextlib.closing(sqlite3.connect(file)) as db:           # it did not know what is finished beyond a position
        db.execute("ALTER TABLE position DROP COLUMN beyond")
    number(file, user_version=1)
    receiver = receivers()
    configure(folder, receiver, "true")
    done = command(aqueduct, folder, "status")
    assert done.returncode == 1 and "has format 1: the next start of the daemon brings it to format 2" in done.stderr, done
    daemon = start(aqueduct, folder, receiver, "true").ready()
    assert number(file)[0] == 2 and account(aqueduct, folder)["crm"]["waiting"] is not None
    daemon.terminate()
    assert daemon.wait() == 0


def test_a_cursor_of_a_later_version_is_refused_with_words(aqueduct, receivers, tmp_path):
    folder = tmp_path / "kept"
    shutil.copytree(FORMATS / VERSIONS[-1], folder)
    cursor = json.loads((folder / "book.json").read_text())["cursor"]
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    later = base64.urlsafe_b64encode(b"\x09" + raw[1:]).decode().rstrip("=")
    daemon = start(aqueduct, folder, receivers(), "true").ready()
    answer = requests.get(f"http://127.0.0.1:{daemon.port('live')}/events?from={later}", timeout=60)
    assert answer.status_code == 400 and "a cursor of version 9, this Aqueduct knows version 1" in answer.text
    daemon.stop()


if __name__ == "__main__":
    make(str(pathlib.Path(os.environ["AQUEDUCT_BIN"]).resolve()), pathlib.Path(sys.argv[1]).resolve())
