# SPDX-License-Identifier: MIT
"""`aqueduct move`: a local log goes to Kafka with all that it holds, killed at several points, and the daemon goes on there."""
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time

import pytest
import requests

from conftest import HTTP_SOURCE, SECRET, event, free_port, kafka_read, post, post_ok, wait_for, webhook_sink

CONFIG = HTTP_SOURCE.replace("routes:", """  app:
    type: sqlite
    path: $FOLDER/desk.db
    poll: 50ms
    capture: [{name: log, kind: append, table: log, types: {insert: "{kind}"}}]
routes:""") + """
topics: {$EVENTS: {retention: %s}}
sinks:
  many:
    type: webhook
    topics: [$EVENTS]
    endpoints:
      good: {url: %s, secrets: [SECRET], retry: []}
      away: {url: %s, secrets: [SECRET], retry: [9s, 9s, 9s, 9s, 9s, 9s, 9s, 9s, 9s], retry_memory: 1s}
  live: {type: websocket, listen: "127.0.0.1:%d", topics: [$EVENTS]}
  failed: {type: dead_letter, path: $FOLDER/dead.db}
""".replace("SECRET", SECRET)
STEPS = ["after-mark", "after-topics", "record:5", "pad:3", "after-records", "after-state", "after-positions", "after-finish"]


def move(bridge, to, *words, **env):
    return subprocess.run([bridge.program, "move", *words, "-c", str(bridge.config), "--to", str(to)], cwd=bridge.folder, capture_output=True,
                          text=True, timeout=100, env={**os.environ, **env})


@pytest.fixture
def two(bridges, tmp_path):
    """A local bridge, and one on Kafka with the same names."""
    here, there = bridges("local"), bridges("kafka")
    there.name = here.name
    return here, there


def insert(folder, *rows):
    with contextlib.closing(sqlite3.connect(folder / "desk.db")) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS log(id INTEGER PRIMARY KEY, kind TEXT)")
        db.executemany("INSERT INTO log VALUES (?, 'door.opened')", [(n,) for n in rows])


def pull(port, most, ack=""):
    answer = requests.get(f"http://127.0.0.1:{port}/events?position=nightly&max={most}&wait=1{ack}", headers={"Accept": "application/json"}, timeout=30)
    return [e["subject"] for e in answer.json()["events"]], answer.json()["cursor"]


def test_one_who_outgrows_a_machine_loses_nothing(two, receivers):
    here, there = two
    folder, port, back = here.folder, free_port(), []
    good = receivers(lambda r: 400 if r["subject"] == "e3" and not back else 204)
    away = receivers(lambda r: 204 if back else 503)
    insert(folder)
    here.configure(CONFIG % ("1s", good.url, away.url, port))
    old = here.config
    daemon = here.start().watching()
    sent = [f"e{i}" for i in range(20)]
    post_ok(daemon, *(event(i, subject=i) for i in sent))
    insert(folder, 1, 2)
    rows = ["log/1", "log/2"]
    got = {"good": lambda: [r["subject"] for r in good.good()], "away": lambda: [r["subject"] for r in away.good()]}
    wait_for(lambda: set(got["good"]()) == set(sent + rows) - {"e3"} and len(here.dead()) == 1)
    done = move(here, old)
    assert (done.returncode, done.stderr) == (1, "aqueduct move: broker.type local: nothing is moved into it; --to names a configuration with Kafka\n")
    new = there.configure(CONFIG % ("7d", good.url, away.url, port), name="kafka.yaml")
    done = move(here, new)
    assert (done.returncode, " is in use by process " in done.stderr) == (1, True), done.stderr

    def base():
        with contextlib.closing(sqlite3.connect(f"file:{folder}/data/aqueduct.db?mode=ro", uri=True)) as db:
            return db.execute("SELECT base FROM partition WHERE topic = ?", [here.topic("events")]).fetchone()[0]

    def removed():                                  # retention has taken what came first
        post_ok(daemon, event(f"tick{time.time()}", "tick", subject="tick"))
        time.sleep(0.2)
        return base() >= 5
    wait_for(removed)
    post_ok(daemon, event("last", subject="last"))
    wait_for(lambda: "last" in got["good"]())
    taken, cursor = pull(port, 500)
    assert taken[-1] == "last" and pull(port, 1, "&ack=" + cursor)[0] == []
    daemon.stop()
    insert(folder, 3)                               # while nobody looks
    began = len(good.all())
    wanted = {r["subject"]: r["arrival"] for r in good.all()}
    done = move(here, new, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    topics = {one["topic"]: one for one in said["topics"]}
    assert said["result"] == "would move" and topics[f"{here.name}-own.dead-letter"]["records"] == 1 and said["copied"] == 0
    for step in STEPS:
        done = move(here, new, AQUEDUCT_CRASH_AT=f"command-move-{step}")
        assert done.returncode == -signal.SIGKILL, (step, done.stdout, done.stderr)
        assert "there was no state" not in done.stderr and ("is moved into it" in done.stderr) is (step == STEPS[0]), done.stderr
        if step in ("after-topics", "after-positions"):     # who starts there too early, before all of it is there
            there.config = new
            early = there.start(ready=False)
            assert early.wait() == 1 and "a local log is on its way to this cluster" in early.log()
    done = move(here, new)
    assert (done.returncode, done.stdout) == (0, "all of it was moved before\n"), done.stderr
    here.config = old
    done = move(here, new)
    assert (done.returncode, " was moved to kafka (" in done.stderr) == (1, True), done.stderr
    for words in (("status",), ("status", "--json"), ("check",)):       # who looks at what was left is told, too
        done = here.command(*words)
        assert " was moved to kafka (" in done.stdout + done.stderr, (words, done)
    assert done.returncode == 1
    refused = here.start(ready=False)
    assert refused.wait() == 1 and " was moved to kafka (" in refused.log()

    back.append(True)
    there.config = new
    daemon = there.start().watching()
    wait_for(lambda: set(got["away"]()) >= set(sent + rows + ["log/3"]), 60, lambda: sorted(got["away"]()))
    wait_for(lambda: "log/3" in got["good"]())
    assert post(daemon, event("last", subject="last")).status_code == 202  # known: the ids are remembered
    post_ok(daemon, event("new", subject="new"))
    wait_for(lambda: "new" in got["good"]() and "new" in got["away"]())
    assert sorted(r["subject"] for r in good.all()[began:]) == ["log/3", "new"]        # nothing comes twice
    assert {r["subject"]: r["arrival"] for r in good.all()[:began]} == wanted
    delivered = [r["subject"] for r in away.good() if r["subject"] != "tick"]
    assert sorted(delivered) == sorted(sent + rows + ["last", "log/3", "new"])
    letter, = there.dead()
    assert (letter["id"], letter["endpoint"]) == ("e3", "good")
    assert there.command("dead", "redrive", "--all").returncode == 0
    wait_for(lambda: "e3" in got["good"]())
    assert pull(port, 500)[0] == ["log/3", "new"]   # the named listener goes on just behind what it had acknowledged


ORDERED = HTTP_SOURCE + """
topics: {$EVENTS: {partitions: 4}}
sinks:
  ordered: {type: webhook, topics: [$EVENTS], url: %s, secrets: [SECRET], order: key, retry: [200ms, 9s, 9s, 9s, 9s, 9s, 9s], retry_memory: 100ms}
""".replace("SECRET", SECRET)


def test_each_key_keeps_its_order_over_the_move(two, receivers):
    """Half of the keys fail and wait aside, the log is killed with others on their way; new events of all keys come on Kafka before those are through."""
    here, there = two
    back, keys = [], [f"key{i}" for i in range(12)]
    got = receivers(lambda r: 204 if back or int(r["subject"][3:]) % 2 else 503)

    def write(daemon, turns):
        for n in turns:
            post_ok(daemon, *(event(f"{key}.{n}", subject=key) for key in keys))
    here.configure(ORDERED % got.url)
    old, daemon = here.config, here.start()
    write(daemon, range(3))
    wait_for(lambda: {r["id"] for r in got.good()} >= {f"key{i}.{n}" for i in range(1, 12, 2) for n in range(3)})
    wait_for(lambda: json.loads(here.command("status", "--json").stdout)["sinks"][0]["blocked"] >= 12)
    write(daemon, range(3, 5))
    daemon.kill()
    new = there.configure(ORDERED % got.url, name="kafka.yaml")
    here.config = old
    done = move(here, new, "--json")
    assert (done.returncode, json.loads(done.stdout)["keys_elsewhere"]) == (0, 0), done.stdout + done.stderr
    there.config = new
    daemon = there.start()
    write(daemon, range(5, 8))
    back.append(True)
    wait_for(lambda: {r["id"] for r in got.good()} == {f"{key}.{n}" for key in keys for n in range(8)}, 90)
    where = {}
    for r in kafka_read(there.kafka, here.topic("events"), 8 * len(keys)):
        where.setdefault(r["key"], set()).add(r["partition"])
    assert all(len(places) == 1 for places in where.values()) and len(set.union(*where.values())) > 1, where
    for key in keys:
        first = list(dict.fromkeys(r["id"] for r in got.good() if r["subject"] == key))
        assert first == [f"{key}.{n}" for n in range(8)], (key, first)


def test_it_refuses_to_bring_events_to_a_daemon_that_runs(two, receivers):
    """It would deliver again what comes there."""
    here, there = two
    receiver = receivers()
    text = HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url)
    daemon = here.run(text)
    local = here.config
    post_ok(daemon, event("one"))
    receiver.delivered({"one"})
    daemon.stop()
    new = there.configure(text, name="kafka.yaml")
    running = there.start()
    wait_for(lambda: "partitions assigned" in running.log())
    here.config = local
    done = move(here, new)
    assert (done.returncode, "somebody consumes with it at " in done.stderr) == (1, True), done.stderr
    running.stop()
    assert len(receiver.all()) == 1


def test_it_refuses_what_is_not_empty(two, tmp_path):
    here, there = two
    daemon = here.run(HTTP_SOURCE)
    post_ok(daemon, event("one"))
    daemon.stop()
    local = here.config
    new = there.configure(HTTP_SOURCE, name="kafka.yaml")
    daemon = there.start()
    post_ok(daemon, event("other"))
    daemon.stop()
    done = move(here, new)
    assert (done.returncode, done.stderr) == (1, f"aqueduct move: what is moved to must be empty: topic {here.topic('events')} has records over "
                                              "there, and they are of no move of this log\n")
    there.name = here.name = here.name + "x"
    here.configure(HTTP_SOURCE + "topics: {$EVENTS: {partitions: 2}}\n", folder=tmp_path / "other", name="other.yaml")
    new = there.configure(HTTP_SOURCE + "topics: {$EVENTS: {partitions: 3}}\n", name="kafka.yaml")
    done = move(here, new)
    assert (done.returncode, "there is no log" in done.stderr or "no such" in done.stderr.lower()) == (1, True), done.stderr
    assert not (tmp_path / "other/data").exists()
    daemon = here.start()
    post_ok(daemon, event("two"))
    daemon.stop()
    done = move(here, new)
    assert (done.returncode, "each record stays in its partition; say 2 there" in done.stderr) == (1, True), done.stderr
    assert local.exists()

    new = there.configure(HTTP_SOURCE, name="kafka.yaml")       # other records than those of the log are found at the end
    assert move(here, new, AQUEDUCT_CRASH_AT="command-move-after-records").returncode == -signal.SIGKILL
    topic = here.topic("events")
    where = next(r["partition"] for r in kafka_read(there.kafka, topic, 1))
    there.kafka.recreate(topic, 2)
    subprocess.run(["kcat", "-b", there.kafka.servers, "-P", "-t", topic, "-p", str(where)], input=b"another", check=True, timeout=60)
    done = move(here, new)
    assert (done.returncode, f"{topic}/{where}: its records over there are not those of the log" in done.stderr) == (1, True), done.stderr
    there.kafka.recreate(topic, 2)
    done = move(here, new, "--json")
    assert (done.returncode, json.loads(done.stdout)["result"]) == (0, "moved"), done.stderr
    record, = kafka_read(there.kafka, topic, 1)
    assert (record["partition"], record["offset"], record["headers"][b"ce_id"]) == (where, 0, b"two")
