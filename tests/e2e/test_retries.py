# SPDX-License-Identifier: MIT
"""What happens to webhooks that fail: waits in memory and on topics, Retry-After, dead letters, redrive, order."""
import contextlib
import datetime
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
import requests

from aqueduct import complaints, free_port
from conftest import DEAD_LETTERS, HTTP_SOURCE, SECRET, TOKEN, event, kafka_read, post, post_ok, signed, wait_for, webhook_sink

RAW = bytes(range(256)) * 4         # no text in any encoding


def post_raw(daemon, ident, body=RAW):
    headers = {"Authorization": f"Bearer {TOKEN}", "ce-specversion": "1.0", "ce-id": ident, "ce-source": "/e2e", "ce-type": "thing.happened",
               "ce-subject": "caf%C3%A9", "Content-Type": "application/octet-stream"}
    answer = requests.post(f"http://127.0.0.1:{daemon.port('hooks')}/v1", data=body, headers=headers, timeout=30)
    assert answer.status_code == 202, answer.text


@pytest.mark.threads
def test_retry_in_memory(bridge, receivers):
    receiver = receivers(lambda r: 503 if r["arrival"] < 3 else 204)
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: [20ms, 20ms, 20ms]"))
    ids = [f"event-of-this-test-{i}" for i in range(20)]
    post_ok(daemon, *(event(i) for i in ids))
    receiver.delivered(ids)
    assert {len([r for r in receiver.all() if r["id"] == i]) for i in ids} == {3}
    wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="crm") == 20)
    assert daemon.metric("aqueduct_sink_retries_total", sink="crm") == 40
    assert daemon.metric("aqueduct_sink_moved_total", sink="crm") == 0


@pytest.mark.threads
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_waits_on_the_broker_survives_a_restart(bridge, receivers, end, judge):
    works = []
    receiver = receivers(lambda r: 204 if works else 503)
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry_memory: 100ms\nretry: [50ms, 500ms, 1s, 1s, 1s, 1s, 1s]") + DEAD_LETTERS)
    daemon = bridge.start()
    ids = [f"event-of-this-test-{i}" for i in range(5)]
    post_ok(daemon, *(event(i, subject=i) for i in ids))
    wait_for(lambda: daemon.metric("aqueduct_sink_moved_total", sink="crm") >= 5)
    getattr(daemon, end)()
    works.append(True)
    daemon = bridge.start()
    receiver.delivered(ids)
    assert all(len({r["webhook_id"] for r in receiver.all() if r["id"] == i}) == 1 for i in ids)
    good = receiver.good()
    assert judge([signed(r) for r in good]) == ["ok"] * len(good)
    assert bridge.dead() == []


@pytest.mark.threads
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_was_delivered_beyond_one_that_waits_does_not_come_again(bridge, receivers, end):
    """One event waits in memory for ten minutes, 500 behind it are delivered. A stop repeats none of these; a kill at most what was finished
    since the last commit, which in one of a few rounds was long ago."""
    receiver = receivers(lambda r: 503 if r["id"].startswith("event-that-waits") else 204)
    bridge.configure(HTTP_SOURCE + "topics: {$EVENTS: {partitions: 1}}\nsinks:\n" + webhook_sink("crm", receiver.url, "retry: [10m]\nretry_memory: 10m"))
    daemon = bridge.start()
    post_ok(daemon, event("event-that-waits"))
    ids = [f"event-of-this-test-{i}" for i in range(500)]
    for i in range(0, 500, 50):
        post_ok(daemon, *(event(i) for i in ids[i:i + 50]))
    receiver.delivered(ids)
    wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="crm") == 500)
    consumed = []
    for marker in (f"event-number-{i}" for i in range(1 if end == "stop" else 5)):
        if end == "kill":
            time.sleep(1)                   # nothing happens: what was finished is committed
        getattr(daemon, end)()
        daemon = bridge.start()
        post_ok(daemon, event(marker))
        receiver.delivered([marker])
        consumed.append(daemon.metric("aqueduct_sink_consumed_total", sink="crm"))
        wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="crm") == consumed[-1] - 1)
        if consumed[-1] == 2:
            break
    assert consumed[-1] == 2, consumed      # the one that waits, and the marker
    assert len([r for r in receiver.all() if r["id"] == "event-that-waits"]) == 1 + len(consumed)
    daemon.stop()


def test_retry_after_is_respected(bridge, receivers):
    receiver = receivers(lambda r: (503, {"Retry-After": "2"}) if r["arrival"] == 1 else 204)
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: [10ms]"))
    post_ok(daemon, event("event-that-must-wait"))
    receiver.delivered({"event-that-must-wait"})
    first, second = receiver.all()
    assert second["at"] - first["at"] >= 1.9


@pytest.mark.threads
def test_a_day_of_patience_holds_up_nobody(bridge, receivers):
    receiver = receivers(lambda r: (429, {"Retry-After": "86400"}) if r["id"].startswith("patient") else 204)
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "window: 8\nretry: [10ms, 10ms]"))
    post_ok(daemon, *(event(f"patient-event-{i}") for i in range(40)))
    others = [f"another-event-{i}" for i in range(50)]
    post_ok(daemon, *(event(i) for i in others))
    receiver.delivered(others)
    wait_for(lambda: daemon.metric("aqueduct_sink_moved_total", sink="crm") == 40)
    assert daemon.metric("aqueduct_sink_pending", sink="crm") == 0
    assert daemon.metric("aqueduct_sink_waiting", sink="crm") == 40


def test_what_waits_for_a_sink_that_is_gone_is_kept_and_shown(bridge, receivers):
    works = []
    receiver, other = receivers(lambda r: 204 if works else 503), receivers()
    with_crm = HTTP_SOURCE + "sinks:\n" + webhook_sink("other", other.url) + webhook_sink("crm", receiver.url, "retry_memory: 100ms\nretry: [2s, 1s, 1s]")
    bridge.configure(with_crm)
    daemon = bridge.start()
    ids = [f"event-of-this-test-{i}" for i in range(5)]
    post_ok(daemon, *(event(i) for i in ids))
    wait_for(lambda: daemon.metric("aqueduct_sink_moved_total", sink="crm") >= 5)
    daemon.stop()
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("other", other.url))
    daemon = bridge.start()
    wait_for(lambda: daemon.metric("aqueduct_waiting_orphans", sink="crm") == 5)
    assert "events wait for a sink that is not configured" in daemon.log()
    daemon.stop()
    works.append(True)
    bridge.configure(with_crm)
    daemon = bridge.start()
    receiver.delivered(ids)
    assert len(receiver.good()) == 5


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_waits_is_counted_from_the_start(bridge, receivers, end):
    receiver = receivers(lambda r: 503)
    text = HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry_memory: 100ms\nretry: [1h]\nconcurrency: 64")
    bridge.configure(text, admin=f"127.0.0.1:{free_port()}")
    daemon = bridge.start()
    for part in range(3):                   # more than the waiter has in memory
        post_ok(daemon, *(event(f"e{part}-{i}") for i in range(100)))
    wait_for(lambda: daemon.metric("aqueduct_sink_waiting", sink="crm") == 300)
    wait_for(lambda: daemon.metric("aqueduct_sink_pending", sink="crm") == 0)
    getattr(daemon, end)()
    daemon = bridge.start()
    wait_for(lambda: daemon.metric("aqueduct_sink_waiting", sink="crm") >= 300)
    post_ok(daemon, event("one more"))

    def counted():          # what the topics hold (a crash repeats what was not committed yet), and what the gauge says
        sinks = json.loads(bridge.command("status", "--json", "--list", "waiting", "--limit", "1").stdout)["sinks"]
        return sinks[0]["waiting"], daemon.metric("aqueduct_sink_waiting", sink="crm")
    wait_for(lambda: counted()[0] == counted()[1] >= 301 and (end == "kill" or counted()[0] == 301), why=counted)


def test_what_a_removed_sink_has_not_read_is_said(bridge, receivers):
    receiver, other = receivers(), receivers()
    both = HTTP_SOURCE + "sinks:\n" + webhook_sink("other", other.url) + webhook_sink("crm", receiver.url)
    bridge.configure(both)
    daemon = bridge.start()
    post_ok(daemon, event("event-for-both"))
    receiver.delivered(["event-for-both"])
    daemon.stop()
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("other", other.url))
    daemon = bridge.start()
    ids = [f"event-for-one-{i}" for i in range(7)]
    post_ok(daemon, *(event(i) for i in ids))
    other.delivered(["event-for-both"] + ids)
    daemon.stop()
    daemon = bridge.start()
    wait_for(lambda: daemon.metric("aqueduct_unserved_records", sink="crm", topic=bridge.topic("events")) == 7, seconds=150)
    assert "records that nobody reads" in daemon.log()
    daemon.stop()
    bridge.configure(both)
    daemon = bridge.start()
    receiver.delivered(ids)


def test_a_renamed_sink_goes_on(bridge, receivers):
    """With `formerly` no history is sent again, and what waits or is dead under the old name is the new one's."""
    works = []
    receiver = receivers(lambda r: 204 if works or r["id"].startswith("good") else 410 if r["id"].startswith("dead") else 503)
    options = "retry_memory: 100ms\nretry: [2s, 1s, 1s]"
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("old", receiver.url, options) + DEAD_LETTERS)
    daemon = bridge.start()
    good, late = [f"good-event-{i}" for i in range(5)], [f"late-event-{i}" for i in range(3)]
    post_ok(daemon, *(event(i) for i in good + late), event("dead-event"))
    receiver.delivered(good)
    wait_for(lambda: daemon.metric("aqueduct_sink_moved_total", sink="old") >= 3)
    wait_for(bridge.dead)
    daemon.stop()
    works.append(True)
    before = len(receiver.all())
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("new", receiver.url, options + "\nformerly: [old]") + DEAD_LETTERS)
    daemon = bridge.start()
    receiver.delivered(late)
    assert bridge.command("dead", "redrive", "--sink", "old").returncode == 0
    post_ok(daemon, event("good-event-after-all"))
    receiver.delivered(["dead-event", "good-event-after-all"])
    assert sorted(r["id"] for r in receiver.all()[before:]) == sorted(late + ["dead-event", "good-event-after-all"])
    assert daemon.metric("aqueduct_sink_delivered_total", sink="new") == 5
    daemon.stop()
    daemon = bridge.start()
    post_ok(daemon, event("good-event-after-a-restart"))
    receiver.delivered(["good-event-after-a-restart"])
    daemon.stop()
    assert "no sink reads" not in daemon.log() and "nobody reads" not in daemon.log()


@pytest.mark.parametrize("name, options", [("old", ""), ("new", "formerly: [old]"), ("new", "formerly: [old]\norder: key")])
def test_keys_that_stepped_aside_go_on_with_another_configuration(bridge, receivers, name, options):
    """What stands in the blocked logs is sent when the order is gone, or the sink has another name."""
    works = []
    receiver = receivers(lambda r: 204 if works or not r["id"].startswith("blocked") else 503)
    fast = "retry_memory: 100ms\nretry: [2s, 2s, 2s, 2s]"
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("old", receiver.url, fast + "\norder: key") + DEAD_LETTERS)
    daemon = bridge.start()
    blocked = [f"blocked-event-{i}" for i in range(5)]
    post_ok(daemon, *(event(i, subject="blocked") for i in blocked))
    post_ok(daemon, event("good-event", subject="good"))
    receiver.delivered(["good-event"])
    wait_for(lambda: daemon.metric("aqueduct_sink_blocked", sink="old") == 5)
    daemon.stop()
    works.append(True)
    before = len(receiver.all())
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink(name, receiver.url, f"{fast}\n{options}") + DEAD_LETTERS)
    daemon = bridge.start()
    receiver.delivered(blocked)
    got = [r["id"] for r in receiver.all()[before:]]
    assert sorted(got) == blocked
    assert got == blocked or "order" not in options


def test_a_dead_letter_says_its_class_and_the_host(local_bridge, receivers):
    """What receivers, the network and our own set-up do; what is no event is in test_topics, a blocked address in unit.connectors.webhook.guard."""
    refuses, closed = receivers(lambda r: 410), free_port()
    sinks = {"refused": (refuses.url, ""), "unavailable": (f"http://localhost:{closed}", ""),
             "configuration": (refuses.url, "body: {n: '{{data.missing.member}}'}")}
    daemon = local_bridge.run(HTTP_SOURCE + "sinks:\n" + "".join(webhook_sink(name, url, f"retry: []\n{more}") for name, (url, more) in sinks.items()) + DEAD_LETTERS)
    post_ok(daemon, event("event-for-nobody", data={"n": 1}))
    wait_for(lambda: len(local_bridge.dead()) == 3, why=local_bridge.dead)
    dead = {one["sink"]: one for one in local_bridge.dead()}
    assert {name: one["class"] for name, one in dead.items()} == {name: name for name in sinks}
    assert {name: one["host"] for name, one in dead.items()} == {"refused": "127.0.0.1", "configuration": "127.0.0.1", "unavailable": "localhost"}
    for name in sinks:
        assert [one["sink"] for one in local_bridge.dead("--class", name)] == [name]
    assert "\nhost       localhost\n" in local_bridge.command("dead", "show", "--sink", "unavailable").stdout


def test_a_dead_letter_is_named_by_its_whole_id(local_bridge, receivers):
    daemon = local_bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers(lambda r: 410).url) + DEAD_LETTERS)
    ident = "8f14e45f-ceea-467f-a0e6-2c4f5b1b7f10"
    post_ok(daemon, event(ident))
    wait_for(local_bridge.dead)
    for words in (("list",), ("show",), ("redrive", "--dry-run"), ("discard", "--dry-run")):
        part, whole = (local_bridge.command("dead", words[0], one, *words[1:]) for one in (ident[:13], ident))
        assert part.stderr == "no dead letters match (a whole id is wanted)\n" and ident in whole.stdout, (words, part, whole)


def test_410_is_a_dead_letter_at_once(bridge, receivers):
    receiver = receivers(lambda r: 410)
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: [10ms, 10ms]") + DEAD_LETTERS)
    post_ok(daemon, event("event-for-nobody-any-more"))
    dead, = wait_for(bridge.dead)
    assert (dead["attempts"], dead["status"], dead["class"]) == (1, 410, "refused")
    assert len(receiver.all()) == 1


def test_a_dead_letter_keeps_every_byte_and_says_what_happened(bridge, receivers):
    receiver = receivers(lambda r: 500)
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: [10ms, 10ms]") + DEAD_LETTERS)
    post_raw(daemon, "event-with-raw-bytes")
    dead, = wait_for(bridge.dead)
    assert (dead["sink"], dead["attempts"], dead["status"], dead["class"], dead["key"]) == ("crm", 3, 500, "refused", "café")
    assert dead["origin"]["topic"] == bridge.topic("events") and dead["size"] == len(RAW)
    assert datetime.datetime.fromisoformat(dead["first"]) < datetime.datetime.fromisoformat(dead["last"])
    raw = subprocess.run([bridge.program, "dead", "show", "event-with-raw-bytes", "--raw", "-c", str(bridge.config)], capture_output=True, timeout=60)
    assert raw.stdout == RAW, raw.stderr
    wait_for(lambda: daemon.metric("aqueduct_sink_dead_total", sink="crm") == 1)
    if bridge.kind == "kafka":          # and so can everybody see it who reads the topic
        record, = kafka_read(bridge.kafka, f"{bridge.name}-own.dead-letter", 1)
        origin, = kafka_read(bridge.kafka, bridge.topic("events"), 1)
        assert record["value"] == origin["value"] == RAW and record["key"] == origin["key"] == "café".encode()
        assert origin["headers"].pop(b"aqueduct-from") == b"hooks/v1"       # what the bridge adds is not moved on
        trail = {k: v for k, v in record["headers"].items() if k.startswith(b"aqueduct-")}
        origin["headers"].pop(b"aqueduct-stored", None)                         # nor when it was stored, where that is not its own time
        assert {k: v for k, v in record["headers"].items() if k not in trail} == origin["headers"]
        assert (trail[b"aqueduct-sink"], trail[b"aqueduct-attempts"], trail[b"aqueduct-status"], trail[b"aqueduct-class"]) == (b"crm", b"3", b"500", b"refused")
        assert trail[b"aqueduct-topic"] == bridge.topic("events").encode() and trail[b"aqueduct-offset"] == b"0"
        assert trail[b"aqueduct-first"] < trail[b"aqueduct-last"] and b"500" in trail[b"aqueduct-reason"]


@pytest.mark.parametrize("daemon_is", ["running", "stopped"])
def test_redrive_goes_only_to_the_sink_that_failed(bridge, receivers, daemon_is, judge):
    works = []
    good, bad = receivers(), receivers(lambda r: 204 if works else 400)
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("good", good.url) + webhook_sink("bad", bad.url, "retry: [10ms]") + DEAD_LETTERS)
    daemon = bridge.start()
    ids = {f"event-of-this-test-{i}" for i in range(3)}
    post_ok(daemon, *(event(i, subject=i, data={"n": 1.10}) for i in ids))
    good.delivered(ids)
    wait_for(lambda: len(bridge.dead("--sink", "bad")) == 3)
    assert bridge.dead("--sink", "good") == []
    if daemon_is == "stopped":
        daemon.stop()
    works.append(True)
    before = len(bad.all())
    dry = bridge.command("dead", "redrive", "--sink", "bad", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    done = bridge.command("dead", "redrive", "--sink", "bad")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "redriven 3, refused 0, of 3"), done.stderr
    assert not complaints(done.stderr)
    if daemon_is == "stopped":
        twice = bridge.command("dead", "redrive", "--sink", "bad")      # nobody took the first ones yet
        assert (twice.returncode, twice.stdout.count("skipped   bad "), twice.stdout.count("redriven  ")) == (1, 3, 0)
        daemon = bridge.start()
    bad.delivered(ids)
    again = bad.all()[before:]
    assert {r["id"] for r in again} == ids
    first = {r["id"]: r for r in bad.all() if r["arrival"] == 1}
    assert all(r["webhook_id"] == first[r["id"]]["webhook_id"] for r in again)
    assert len({r["webhook_id"] for r in again}) == 3
    assert all(int(r["headers"]["webhook-timestamp"]) >= int(first[r["id"]]["headers"]["webhook-timestamp"]) and r["body"] == first[r["id"]]["body"] for r in again)
    assert judge([signed(r) for r in again]) == ["ok"] * len(again)
    wait_for(lambda: not bridge.dead())
    assert {line["id"]: line["redrives"] for line in bridge.dead("--state", "redriven")} == dict.fromkeys(ids, 1)
    post_ok(daemon, event("the-last-event-of-all"))
    good.delivered({"the-last-event-of-all"})
    assert len(good.all()) == 4, "the sink that had it was left alone"
    assert bridge.command("dead", "redrive", "--sink", "bad").returncode == 1       # nothing is dead any more


@pytest.mark.parametrize("daemon_is", ["running", "stopped"])
def test_redrive_to_another_place_and_discard(bridge, receivers, daemon_is):
    """What one sink refuses is given to an endpoint of another, which reads none of its topics; what is left is given up."""
    bad, other = receivers(lambda r: 400), receivers()
    bridge.configure("topics: {$T_nothing: {}}\n" + HTTP_SOURCE + "sinks:\n" + webhook_sink("bad", bad.url, "retry: []")
                     + f"  other: {{type: webhook, topics: [$T_nothing], endpoints: {{a: {{url: {other.url}, secrets: [{SECRET}]}}}}}}\n" + DEAD_LETTERS)
    daemon = bridge.start()
    ids = [f"event-number-{i}" for i in range(5)]
    post_ok(daemon, *(event(i, "test.kept" if i[-1] in "34" else "test.sent") for i in ids))
    wait_for(lambda: len(bridge.dead()) == 5)
    if bridge.kind == "local":          # a daemon without an admin listener keeps its own account to itself
        assert "  endpoint a:\n    nothing since the start\n" in bridge.command("status").stdout
    if daemon_is == "stopped":
        daemon.stop()
    assert bridge.command("dead", "redrive", "--all", "--to", "other").returncode == 2
    assert "there is bad, other/a\n" in bridge.command("dead", "redrive", "--all", "--to", "nosuch").stderr
    done = bridge.command("dead", "redrive", "--type", "test.sent", "--to", "other/a", "--rate", "8", "--json")
    assert done.returncode == 0, done.stderr
    *letters, total = map(json.loads, done.stdout.splitlines())
    assert sorted((one["result"], one["to"], one["sink"], one["id"]) for one in letters) == [("redriven", "other/a", "bad", i) for i in ids[:3]]
    assert (total["redriven"], total["refused"], total["of"], total["interrupted"]) == (3, 0, 3, False)
    done = bridge.command("dead", "discard", "--sink", "bad")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "discarded 2, refused 0, of 2"), done.stderr
    if daemon_is == "stopped":
        daemon = bridge.start()
    other.delivered(ids[:3])
    assert other.ids() == set(ids[:3]) and len(bad.all()) == 5
    wait_for(lambda: daemon.metric("aqueduct_dead_letters_discarded", sink="failed") == 2)
    if daemon_is == "running":
        text = bridge.command("status", "--event", ids[0]).stdout
        assert re.search(" other/a +finished: .*; resent .* ago\n", text) and re.search(" bad +dead, and redriven to other/a, last attempt .* refused: 400 Bad Request\n", text)
        assert re.search(" bad +dead, and discarded by a person, .* refused: 400 Bad Request\n", bridge.command("status", "--event", ids[4]).stdout)
    assert bridge.dead() == [] and {one["id"] for one in bridge.dead("--state", "discarded")} == set(ids[3:])
    assert {one["host"] for one in bridge.dead("--state", "all")} == {"127.0.0.1"}
    if daemon_is == "stopped":          # another file learns all of it from the topic
        daemon.stop()
        bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("bad", bad.url) + "  again: {type: dead_letter, path: $FOLDER/again.db}\n")
        bridge.start()
        wait_for(lambda: {one["id"] for one in bridge.dead("--state", "discarded")} == set(ids[3:]))
        assert {one["id"] for one in bridge.dead("--state", "redriven")} == set(ids[:3])


def test_a_killed_redrive_sends_again_and_loses_nothing(local_bridge, receivers):
    works = []
    receiver = receivers(lambda r: 204 if works else 400)
    daemon = local_bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: []") + DEAD_LETTERS)
    ids = {f"event-of-this-test-{i}" for i in range(3)}
    post_ok(daemon, *map(event, ids))
    wait_for(lambda: len(local_bridge.dead()) == 3)
    works.append(True)
    daemon.stop()                       # the daemon's own: test_asked.py
    killed = subprocess.run([local_bridge.program, "dead", "redrive", "--all", "-c", str(local_bridge.config)], cwd=local_bridge.folder, capture_output=True,
                            env=os.environ | {"AQUEDUCT_CRASH_AT": "command-redrive-after-events"}, timeout=60)
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, b""), killed.stderr
    local_bridge.start()
    receiver.delivered(ids)
    assert {one["id"] for one in local_bridge.dead()} == ids, "nothing says yet that they were redriven"
    assert local_bridge.command("dead", "redrive", "--all").returncode == 0
    receiver.arrived(9)
    assert len({r["webhook_id"] for r in receiver.good()}) == 3 and local_bridge.dead() == []


def test_a_sink_that_never_ran_gets_nothing(bridge, receivers):
    """It would begin behind what it is given: that is refused, and nothing is lost."""
    bad, new = receivers(lambda r: 400), receivers()
    sinks = HTTP_SOURCE + "sinks:\n" + webhook_sink("bad", bad.url, "retry: []") + DEAD_LETTERS
    daemon = bridge.run(sinks)
    post_ok(daemon, event("event-for-the-new-one"))
    wait_for(bridge.dead)
    daemon.stop()
    bridge.configure(sinks + webhook_sink("new", new.url, "start: latest"))
    done = bridge.command("dead", "redrive", "--all", "--to", "new")
    assert (done.returncode, "never ran with this broker" in done.stderr) == (2, True), done.stderr
    assert len(bridge.dead()) == 1
    daemon = bridge.start()
    daemon.stop()
    assert bridge.command("dead", "redrive", "--all", "--to", "new").returncode == 0
    bridge.start()
    new.delivered(["event-for-the-new-one"])


def test_what_dies_again_after_a_redrive_is_dead_again(bridge, receivers):
    receiver = receivers(lambda r: 400)
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: []") + DEAD_LETTERS)
    post_ok(daemon, event("event-that-dies-twice"))
    first, = wait_for(bridge.dead)
    assert bridge.command("dead", "redrive", "event-that-dies-twice").returncode == 0
    receiver.arrived(2)
    wait_for(lambda: [d for d in bridge.dead() if d["last"] > first["last"]], why=lambda: bridge.dead("--state", "all"))
    assert len(bridge.dead("--state", "all")) == 1
    wait_for(lambda: daemon.metric("aqueduct_sink_dead_total", sink="crm") == 2)


@pytest.mark.threads
def test_order_of_a_key_holds_through_failures(bridge, receivers):
    receiver = receivers(lambda r: 503 if r["arrival"] == 1 and hash(r["id"]) % 3 == 0 else 204)
    daemon = bridge.run("topics: {$EVENTS: {partitions: 4}}\n" + HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: [20ms, 20ms]\norder: key"))
    sent = [event(f"event-{i:03}-of-a-key", subject=f"key-{i % 7}") for i in range(140)]
    for i in range(0, 140, 20):
        assert post(daemon, sent[i:i + 20]).status_code == 202
    receiver.delivered(e["id"] for e in sent)
    for key in range(7):
        got = [r["id"] for r in receiver.good() if r["subject"] == f"key-{key}"]
        assert got == sorted(got)


def first_deliveries_are_in_order(receiver):
    """Of each key, by the number at the end of the ids."""
    seen = {}
    for r in receiver.good():
        numbers = seen.setdefault(r["subject"], [])
        number = int(r["id"].rsplit("-", 1)[1])
        if number not in numbers:
            numbers.append(number)
    return all(numbers == sorted(numbers) for numbers in seen.values())


LONG_ORDERED = "order: key\nretry_memory: 100ms\nretry: [" + ", ".join(["3s"] * 20) + "]"


@pytest.mark.threads
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_key_that_fails_long_steps_aside(bridge, receivers, end):
    """300 events of a key that is answered 500 and 50 of other keys, between two lives of the daemon."""
    failing = {"key-bad"}
    receiver = receivers(lambda r: 500 if r["subject"] in failing else 204)
    bridge.configure("topics: {$EVENTS: {partitions: 4}}\n" + HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, LONG_ORDERED + "\nwindow: 32") + DEAD_LETTERS)
    daemon = bridge.start()
    bad = [event(f"bad-{i}", subject="key-bad") for i in range(300)]
    good = [event(f"good-{i}", subject=f"key-{i % 10}") for i in range(100)]
    for i in range(0, 300, 50):
        assert post(daemon, bad[i:i + 50]).status_code == 202
    assert post(daemon, good[:50]).status_code == 202
    receiver.delivered(e["id"] for e in good[:50])
    wait_for(lambda: daemon.metric("aqueduct_sink_blocked", sink="crm") == 300, why=lambda: daemon.page("/metrics").text)
    assert daemon.metric("aqueduct_sink_blocked_keys", sink="crm") == 1
    getattr(daemon, end)()
    daemon = bridge.start()
    more = [event(f"bad-{i}", subject="key-bad") for i in range(300, 310)]
    assert post(daemon, good[50:] + more).status_code == 202
    receiver.delivered(e["id"] for e in good[50:])
    assert {r["id"] for r in receiver.all() if r["subject"] == "key-bad"} == {"bad-0"}
    failing.clear()
    receiver.delivered(e["id"] for e in bad + more)
    assert first_deliveries_are_in_order(receiver)
    wait_for(lambda: daemon.metric("aqueduct_sink_blocked_keys", sink="crm") == 0, why=lambda: daemon.page("/metrics").text)
    assert daemon.metric("aqueduct_sink_blocked", sink="crm") == 0
    assert bridge.dead() == []
    daemon.stop()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_keys_keep_their_order_while_daemons_come_and_go(kafka_bridge, receivers, end):
    """Two daemons of one group; whoever gets a partition gets its blocked keys."""
    failing = {f"key-{i}" for i in range(0, 12, 3)}
    receiver = receivers(lambda r: 500 if r["subject"] in failing else 204)
    kafka_bridge.broker_more = ", session_timeout: 6s"
    one = kafka_bridge.configure("topics: {$EVENTS: {partitions: 6}}\n" + HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, LONG_ORDERED) + DEAD_LETTERS)
    two = kafka_bridge.folder / "two.yaml"
    two.write_text(one.read_text().replace("instance: one", "instance: two").replace("dead.db", "dead-two.db"))
    first = kafka_bridge.start()
    sent = []

    def send(daemon, count):
        some = [event(f"event-{i}", subject=f"key-{i % 12}") for i in range(len(sent), len(sent) + count)]
        sent.extend(some)
        assert post(daemon, some).status_code == 202

    def others_arrive():
        receiver.delivered(e["id"] for e in sent if e["subject"] not in failing)

    send(first, 60)
    others_arrive()
    kafka_bridge.config = two
    second = kafka_bridge.start()
    wait_for(lambda: "partitions assigned" in second.log(), why=second.log)
    for _ in range(4):
        send(first, 30)
        send(second, 30)
    others_arrive()
    getattr(first, end)()
    send(second, 60)
    others_arrive()
    kafka_bridge.config = one
    first = kafka_bridge.start()
    send(first, 60)
    failing.clear()
    receiver.delivered(e["id"] for e in sent)
    assert first_deliveries_are_in_order(receiver)
    assert kafka_bridge.dead() == []
    first.stop()
    second.stop()


def test_keys_go_on_when_their_topic_gets_more_partitions(kafka_bridge, receivers):
    """Two daemons of one group: the blocked log grows with its topic, so that who reads a partition reads its log, and no daemon is started anew."""
    failing = {"key-0", "key-7"}
    receiver = receivers(lambda r: 500 if r["subject"] in failing else 204)
    kafka_bridge.broker_more = ", session_timeout: 6s, properties: {topic.metadata.refresh.interval.ms: 500}"
    one = kafka_bridge.configure("topics: {$EVENTS: {partitions: 2}}\n" + HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, LONG_ORDERED) + DEAD_LETTERS)
    two, three = kafka_bridge.folder / "two.yaml", kafka_bridge.folder / "three.yaml"
    two.write_text(one.read_text().replace("instance: one", "instance: two").replace("dead.db", "dead-two.db"))
    three.write_text(one.read_text().split("sinks:")[0].replace("instance: one", "instance: three").replace("partitions: 2", "partitions: 6"))
    daemons = []
    for config in one, two:
        kafka_bridge.config = config
        daemons.append(kafka_bridge.start())
    wait_for(lambda: "partitions assigned" in daemons[1].log(), why=daemons[1].log)
    kafka_bridge.config = three     # has no sink: it makes the partitions
    daemons.append(kafka_bridge.start())
    some = [event(f"event-{i}", subject=f"key-{i % 20}") for i in range(60)]
    assert post(daemons[2], some).status_code == 202
    receiver.delivered(e["id"] for e in some if e["subject"] not in failing)
    failing.clear()
    receiver.delivered(e["id"] for e in some)
    assert first_deliveries_are_in_order(receiver)
    for daemon in daemons:
        daemon.stop()


@pytest.mark.threads
def test_a_receiver_that_hangs_holds_up_nobody_else(bridge, receivers):
    good, bad = receivers(), receivers(lambda r: "hang")
    daemon = bridge.run("drain: 1s\n" + HTTP_SOURCE + "sinks:\n" + webhook_sink("good", good.url) + webhook_sink("bad", bad.url, "window: 4\ntimeout: 60s"))
    ids = [f"event-of-this-test-{i}" for i in range(100)]
    post_ok(daemon, *(event(i) for i in ids))
    good.delivered(ids)
    bad.arrived(4)
    assert daemon.metric("aqueduct_sink_delivered_total", sink="bad") == 0
    daemon.stop()


@contextlib.contextmanager
def stubborn(pieces):
    """A receiver that says these pieces to each request, whatever it is, and never comes to an end: its URL, and the times that it was asked."""
    asked, over = [], threading.Event()

    def talk(connection):
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            asked.append(1)
            for piece in pieces(over):
                connection.sendall(piece)
            over.wait()

    def take():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(server.accept()[0],), daemon=True).start()

    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=take, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/", asked
    over.set()
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def trickle(over):
    yield b"HTTP/1.1 200 OK\r\nX-Slow: "
    while not over.wait(0.05):
        yield b"a"


def flood(over):
    yield b"HTTP/1.1 500 Oops\r\nContent-Length: 1000000000000\r\n\r\n"
    while not over.is_set():
        yield bytes(1 << 20)


def test_four_bad_receivers_hold_up_none_of_a_hundred_sinks(local_bridge, receivers):
    good, ids = receivers(), [f"event-of-this-test-{i}" for i in range(3)]
    with stubborn(lambda over: []) as (hangs, held), stubborn(trickle) as (trickles, trickled), stubborn(flood) as (floods, flooded):
        bad = {"dead": f"http://127.0.0.1:{free_port()}/", "hangs": hangs, "trickles": trickles, "floods": floods}
        daemon = local_bridge.run("drain: 1s\n" + HTTP_SOURCE + "sinks:\n"
                                  + "".join(webhook_sink(name, url, "timeout: 120s\nwindow: 4\nretry: standard") for name, url in bad.items())
                                  + "".join(webhook_sink(f"good-{i}", good.url.replace("hook", str(i))) for i in range(96)))
        post_ok(daemon, event("event-that-comes-first"))
        wait_for(lambda: held and trickled and flooded and daemon.metric("aqueduct_sink_attempts_total", sink="dead") > 0)
        post_ok(daemon, *map(event, ids))
        wait_for(lambda: len({(r["path"], r["id"]) for r in good.good()}) == 96 * 4, why=lambda: len(good.good()))
        found = daemon.metrics()
        done = {dict(labels)["sink"]: n for (name, labels), n in found.items() if name == "aqueduct_sink_delivered_total" and dict(labels)["sink"] in bad}
        assert done == dict.fromkeys(bad, 0) and daemon.metric("aqueduct_sink_attempts_total", sink="hangs") == 0
        daemon.stop()


def test_body_binary(bridge, receiver):
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "body: binary\nheaders: {X-Tenant: acme}"))
    post_raw(daemon, "event-in-binary-mode")
    receiver.delivered({"event-in-binary-mode"})
    got, = receiver.all()
    assert got["body"] == RAW and got["headers"]["content-type"] == "application/octet-stream"
    assert got["headers"]["ce-subject"] == "caf%C3%A9" and got["headers"]["x-tenant"] == "acme"


def test_only_what_the_filter_lets_through(bridge, receiver):
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "filter: {any: [{suffix: {type: .wanted}}, {exact: {subject: me}}]}"))
    post_ok(daemon, event("one", "thing.unwanted"), event("two", "thing.wanted"), event("three", "thing.unwanted", subject="me"))
    receiver.delivered({"two", "three"})
    wait_for(lambda: daemon.metric("aqueduct_sink_filtered_total", sink="crm") == 1)
    assert len(receiver.all()) == 2


def test_an_unknown_letter(bridge, receiver):
    bridge.run(HTTP_SOURCE + "sinks:\n" + DEAD_LETTERS)
    done = bridge.command("dead", "show", "no-such-letter")
    assert done.returncode == 1
    assert bridge.command("dead", "redrive", "no-such-letter").returncode == 1
    assert bridge.command("dead", "redrive").returncode == 2, "everything must be asked for"
    assert bridge.command("dead", "lst").returncode == 2
    assert json.dumps(bridge.dead()) == "[]"
