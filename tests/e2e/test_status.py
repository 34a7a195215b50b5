# SPDX-License-Identifier: MIT
"""`aqueduct status`: what is pending, what fails, what waits, with a daemon and without."""
import contextlib
import json
import re
import sqlite3
import threading

import pytest

from aqueduct import free_port
from conftest import DEAD_LETTERS, HTTP_SOURCE, SECRET, event, paused, post_ok, wait_for, webhook_sink

PARTS = ("delivered", "dead", "filtered", "moved", "released", "pending")


def status(bridge, *words):
    done = bridge.command("status", "--json", *words)
    assert done.returncode == 0, done.stderr
    account = json.loads(done.stdout)
    account["sinks"] = {sink["sink"]: sink for sink in account["sinks"]}
    return account


def pending(sink):
    return sum(topic["pending"] or 0 for topic in sink["topics"])


def run(bridge, text):
    bridge.configure(text, admin=f"127.0.0.1:{free_port()}")
    return bridge.start()


@pytest.mark.threads
def test_what_is_pending_and_what_fails(bridge, receivers):
    good, bad = receivers(), receivers(lambda request: 503)
    sinks = ("sinks:\n" + webhook_sink("crm", good.url) + webhook_sink("broken", bad.url, "retry: [10m]\nretry_memory: 10m")
             + webhook_sink("later", bad.url, "retry: [1h]\nretry_memory: 1s") + DEAD_LETTERS)
    daemon = run(bridge, HTTP_SOURCE + sinks)
    post_ok(daemon, *(event(f"e{i}") for i in range(3)))
    good.delivered({"e0", "e1", "e2"})
    wait_for(lambda: status(bridge)["sinks"]["later"]["waiting"] == 3)
    wait_for(lambda: status(bridge)["sinks"]["broken"]["destinations"][0]["waiting"] == 3)
    wait_for(lambda: pending(status(bridge)["sinks"]["crm"]) == 0 and pending(status(bridge)["sinks"]["later"]) == 0)   # the positions are stored
    account = status(bridge)
    assert (account["from"], account["broker"], account["ready"]) == ("daemon", bridge.kind, True)
    crm, broken, later = (account["sinks"][name] for name in ("crm", "broken", "later"))
    assert crm["destinations"][0]["failing"] is None
    assert (crm["destinations"][0]["delivered"], crm["waiting"]) == (3, 0)
    assert pending(broken) == 3
    assert (broken["destinations"][0]["failing"]["status"], broken["destinations"][0]["pending"]) == (503, 3)
    assert (pending(later), later["destinations"][0]["moved"]) == (0, 3)
    listed = status(bridge, "--sink", "broken", "--list", "waiting", "--limit", "2")["sinks"]
    assert list(listed) == ["broken"]
    assert [(ev["id"], ev["state"], ev["attempts"], ev["status"]) for ev in listed["broken"]["events"]] == [("e0", "waiting", 1, 503), ("e1", "waiting", 1, 503)]
    listed = status(bridge, "--sink", "later", "--list", "waiting")["sinks"]["later"]["events"]     # they are in no memory
    assert [(ev["id"], ev["state"], ev["attempts"], ev["topic"], ev["due"] > ev["first"]) for ev in listed] == [
        (f"e{i}", "waiting", 1, bridge.topic("events"), True) for i in range(3)]
    assert len(status(bridge, "--sink", "later", "--list", "pending", "--limit", "2")["sinks"]["later"]["events"]) == 2
    assert bridge.command("status", "--sink", "later", "--list", "waiting").stdout.count(" e2 ") == 1
    text = bridge.command("status").stdout
    assert "The daemon runs and is ready" in text
    assert re.search(r"source hooks \(http, 127\.0\.0\.1:\d+\): 3 stored, 0 repeats\n  /v1 \(bearer\): answered 202 3\n", text), text
    assert account["sources"][0]["paths"][0]["answers"] == {"202": 3}
    assert "crm (webhook): nothing pending" in text
    assert "broken (webhook): 3 pending" in text
    assert "failing since 20" in text and "503 Service Unavailable" in text
    assert "later (webhook): 3 pending, 3 of them in waiting topics" in text


def test_the_account_reconciles_under_load(bridge, receivers):
    receiver = receivers(lambda request: 204 if int(request["id"][1:]) % 3 else 503)
    daemon = run(bridge, HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: [20ms, 1s]\nretry_memory: 100ms\nfilter: {not: {exact: {type: left.out}}}") + DEAD_LETTERS)
    sender = threading.Thread(target=lambda: [post_ok(daemon, *(event(f"e{i * 10 + k}", "left.out" if k == 9 else "thing.happened") for k in range(10))) for i in range(40)])
    sender.start()
    accounts = []
    while sender.is_alive():
        accounts.append(daemon.page("/status").json())
    sender.join()
    assert len(accounts) > 3
    assert any(a["sinks"][0]["destinations"][0]["consumed"] for a in accounts)
    for account in accounts:
        for sink in account["sinks"]:
            for one in sink["destinations"]:
                assert one["consumed"] == sum(one[part] for part in PARTS), one


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_without_a_daemon_the_log_says_it(bridge, receivers, end):
    receiver = receivers(lambda request: 503)
    sinks = "sinks:\n" + webhook_sink("crm", receiver.url, "retry: [10m]\nretry_memory: 10m") + webhook_sink("later", receiver.url, "retry: [1h]\nretry_memory: 1s")
    bridge.configure(HTTP_SOURCE + sinks, admin=f"127.0.0.1:{free_port()}")
    if bridge.kind == "local":
        done = bridge.command("status")
        assert (done.returncode, done.stdout) == (1, "")
        assert "no daemon answers, and" in done.stderr and "there is no log yet" in done.stderr
    daemon = bridge.start()
    post_ok(daemon, event("one"), event("two"))
    wait_for(lambda: status(bridge)["sinks"]["later"]["waiting"] == 2)
    running = status(bridge)["sinks"]
    getattr(daemon, end)()
    account = status(bridge)
    stopped = account["sinks"]
    assert (account["from"], account["ready"]) == ("log", False)
    assert pending(stopped["crm"]) == 2
    assert stopped["later"]["waiting"] == 2
    assert pending(stopped["later"]) == 0 or end == "kill"      # what was not committed yet comes again
    assert stopped["later"]["waiting_next_due"] > account["at"]
    assert bridge.kind == "kafka" or stopped["later"]["waiting_next_due"] == running["later"]["waiting_next_due"]
    text = bridge.command("status").stdout
    assert text.startswith("No daemon answers.")
    assert "\n  /v1 (bearer)\n" in text and account["sources"][0]["stored"] is None
    assert "crm (webhook): 2 pending\n" in text
    assert " pending, 2 of them in waiting topics (the oldest " in text


def test_what_waits_under_a_former_name_is_the_sinks(bridge, receivers):
    receiver = receivers(lambda request: 503 if request["id"].startswith("late") else 410)
    options = "retry: [1h]\nretry_memory: 100ms"
    daemon = run(bridge, HTTP_SOURCE + "sinks:\n" + webhook_sink("old", receiver.url, options) + DEAD_LETTERS)
    post_ok(daemon, event("late-1"), event("late-2"), event("refused"))
    wait_for(lambda: status(bridge)["sinks"]["old"]["waiting"] == 2)
    wait_for(lambda: became(bridge, "refused")["old"]["state"] == "dead")
    daemon.stop()
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("new", receiver.url, options + "\nformerly: [old]") + DEAD_LETTERS, admin=f"127.0.0.1:{free_port()}")

    def check(said_by):
        account = status(bridge, "--list", "waiting")
        new = account["sinks"]["new"]
        assert (account["from"], new["waiting"], [ev["id"] for ev in new["events"]]) == (said_by, 2, ["late-1", "late-2"])
        wait_for(lambda: ", 2 of them in waiting topics" in bridge.command("status").stdout)     # a daemon has to read them first
        assert [became(bridge, i)["new"]["state"] for i in ("late-1", "late-2", "refused")] == ["waiting", "waiting", "dead"]
    check("log")
    bridge.start()
    wait_for(lambda: status(bridge)["from"] == "daemon")
    check("daemon")


def test_what_is_held_is_said_with_its_reason(local_bridge, receivers):
    receiver = receivers(lambda request: 503)
    one = f"{{url: {receiver.url}, secrets: [{SECRET}]}}"
    sinks = ("sinks:\n  crm:\n    type: webhook\n    topics: [$EVENTS]\n    circuit: {failures: 1, probe: 1h}\n    retry: [10m]\n    retry_memory: 10m\n    concurrency: 1\n"
             f"    endpoints: {{billing: {one}}}\n" + DEAD_LETTERS)
    daemon = run(local_bridge, HTTP_SOURCE + sinks)
    post_ok(daemon, event("first"))
    wait_for(lambda: "circuit open for" in local_bridge.command("status").stdout)
    post_ok(daemon, *(event(f"e{i}") for i in range(3)))
    wait_for(lambda: status(local_bridge)["sinks"]["crm"]["destinations"][1]["pending"] > 1)
    text = local_bridge.command("status", "--list", "pending").stdout
    assert re.search(r"^    circuit open for \d+s: next probe in \d+m$", text, re.M), text
    assert re.search(r"^    \d in memory .*: 0 in flight, \d waiting.*, \d held while its circuit is open$", text, re.M), text
    assert re.search(r"^    first +\S+ old  waiting for billing, next attempt in ", text, re.M), text


def test_a_sink_that_is_busy_is_not_left_out(local_bridge, receivers):
    """Its thread waits for a lock that another program has on its file."""
    daemon = run(local_bridge, HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers(lambda request: 400).url, "retry: []") + DEAD_LETTERS)
    with contextlib.closing(sqlite3.connect(local_bridge.folder / "dead.db", isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        post_ok(daemon, event("one"))
        account = wait_for(lambda: next((a for a in [status(local_bridge)["sinks"]] if a["failed"]["no_account"]), None), why=daemon.log)
        assert list(account) == ["crm", "failed"]
        wait_for(lambda: "failed (dead_letter): what is pending is not known now: it is busy, " in local_bridge.command("status").stdout)
    wait_for(lambda: len(local_bridge.dead()) == 1)
    wait_for(lambda: status(local_bridge)["sinks"]["failed"]["no_account"] is None)


def test_neither_a_daemon_nor_its_kafka(kafka_bridge, receivers):
    kafka_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url), admin=f"127.0.0.1:{free_port()}")
    kafka_bridge.config.write_text(kafka_bridge.config.read_text().replace(kafka_bridge.kafka.servers, f"127.0.0.1:{free_port()}"))
    done = kafka_bridge.command("status")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no daemon answers, and Kafka at 127.0.0.1:" in done.stderr and "admin.listen" in done.stderr


def test_a_daemon_that_waits_for_its_kafka_names_its_sinks(kafka_bridge, receivers):
    """Nothing runs yet, so no number is known: each is null, and the text says why, and how far the configuration goes."""
    receiver = receivers()
    sinks = ("sinks:\n" + webhook_sink("crm", receiver.url) + "  many:\n    type: webhook\n    topics: [$EVENTS, $T_other]\n    endpoints:\n"
             + "".join(f"      {name}: {{url: {receiver.url}, secrets: [{SECRET}]}}\n" for name in "ab")
             + "  live: {type: websocket, listen: \"127.0.0.1:0\", topics: [$EVENTS]}\n" + DEAD_LETTERS)
    kafka_bridge.configure(HTTP_SOURCE + sinks, admin=f"127.0.0.1:{free_port()}", admin_more="api: true, loopback: viewer")
    away = f"127.0.0.1:{free_port()}"
    kafka_bridge.config.write_text(kafka_bridge.config.read_text().replace(kafka_bridge.kafka.servers, away))
    daemon = kafka_bridge.start(ready=False)
    wait_for(lambda: away in daemon.page("/readyz").text, 60, daemon.log)
    account = status(kafka_bridge)
    assert (account["from"], account["ready"], list(account["sinks"])) == ("daemon", False, ["crm", "many", "live", "failed"])
    for sink in account["sinks"].values():
        assert "waits for its broker: " in sink["no_account"] and away in sink["no_account"]
        assert (sink["waiting"], sink["blocked"], sink["events"]) == (None, None, None)
        assert all(set(row) == {"topic", "partition", "position", "start", "end", "finished_beyond", "pending"} and
                   [name for name in row if row[name] is not None] == ["topic"] for row in sink["topics"])
        assert all(value is None for one in sink["destinations"] for name, value in one.items() if name != "endpoint")
    many = account["sinks"]["many"]
    assert [row["topic"] for row in many["topics"]] == [kafka_bridge.topic("events"), kafka_bridge.topic("other")]
    assert [one["endpoint"] for one in many["destinations"]] == [None, "a", "b"]
    assert [row["topic"] for row in account["sinks"]["failed"]["topics"]] == [f"{kafka_bridge.name}-own.dead-letter"]
    text = kafka_bridge.command("status").stdout
    assert f"many (webhook): what is pending is not known now: {many['no_account']}\n  topics: {kafka_bridge.topic('events')}, {kafka_bridge.topic('other')}\n  endpoints: a, b\n" in text
    assert "nothing pending" not in text and "PENDING" not in text
    flow = daemon.page("/api/v1/flow").json()
    assert {one["name"]: (one["state"], one["pending"], one["endpoints"]) for one in flow["sinks"]} == {
        name: ("unknown", None, 2 if name == "many" else None) for name in account["sinks"]}
    assert all(one["partitions"] is None for one in flow["topics"]) and away in flow["sinks"][0]["detail"]
    listed = kafka_bridge.command("status", "--list", "pending")        # which reads the cluster
    assert listed.returncode == 1 and "what waits is not known: Kafka at " in listed.stderr and away in listed.stderr, listed.stderr
    assert f"crm (webhook): what is pending is not known now: {many['no_account']}\n" in listed.stdout
    daemon.stop()


def test_while_the_cluster_is_away_nothing_is_not_said_to_be_pending(kafka_bridge, receivers):
    run(kafka_bridge, HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url))
    wait_for(lambda: "crm (webhook): nothing pending\n" in kafka_bridge.command("status").stdout)
    with paused(kafka_bridge.kafka):
        wait_for(lambda: "crm (webhook): what is pending is not known now\n" in kafka_bridge.command("status").stdout)


def test_what_retention_took_from_a_sink_is_said_before_it_reads_on(kafka_bridge, receivers):
    """Paused from its first day, it has finished nothing; its topic's name is longer than the column."""
    topic, receiver = kafka_bridge.topic("events-of-a-name-that-is-long"), receivers()
    text = HTTP_SOURCE.replace("$EVENTS", topic) + f"topics: {{{topic}: {{partitions: 1}}}}\nsinks:\n" + webhook_sink("crm", receiver.url, "paused: true").replace("$EVENTS", topic)
    daemon = run(kafka_bridge, text)
    post_ok(daemon, *(event(f"e{i}") for i in range(5)))
    wait_for(lambda: pending(status(kafka_bridge)["sinks"]["crm"]) == 5)
    daemon.stop()
    kafka_bridge.kafka.delete_records(topic, {0: 3})
    kafka_bridge.configure(text.replace("paused: true", "paused: false"), admin=f"127.0.0.1:{free_port()}")
    said = kafka_bridge.command("status").stdout.splitlines()
    head, row = next((said[i], said[i + 1]) for i, line in enumerate(said) if "PENDING" in line)
    assert row.split() == [topic, "0", "0", "5", "2"] and len(head) == len(row), said
    assert f"  3 records of {topic}/0 were removed before it had finished them (offsets 0 to 2)" in said
    daemon = kafka_bridge.start()
    receiver.delivered({"e3", "e4"})
    assert daemon.metric("aqueduct_records_lost_total") == 3 and "records were removed before they were read" in daemon.log()


def test_a_token_of_the_admin_is_used(kafka_bridge, receivers):
    kafka_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url), admin=f"127.0.0.1:{free_port()}")
    kafka_bridge.config.write_text(kafka_bridge.config.read_text().replace("admin: {", "admin: {tokens: [a-token-of-some-length-9], "))
    daemon = kafka_bridge.start(ready=False)
    wait_for(lambda: kafka_bridge.command("status").returncode == 0 and status(kafka_bridge)["ready"], 90, daemon.log)
    assert list(status(kafka_bridge)["sinks"]) == ["crm"]


def test_wrong_words(local_bridge, receivers):
    local_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url))
    done = local_bridge.command("status", "--sink", "crn")
    assert (done.returncode, done.stdout) == (2, "")
    assert 'there is no sink "crn" (did you mean crm?)' in done.stderr
    assert local_bridge.command("status", "--limit", "3").returncode == 2
    assert local_bridge.command("status", "--ready", "--limit", "3").returncode == 2
    assert local_bridge.command("status", "--event", "one", "--limit", "3").returncode == 2
    assert local_bridge.command("status", "--list", "dead").returncode == 2


# ---- one event ----

def became(bridge, ident, *words):
    """{sink or sink/endpoint: what is said of it} of an event that is stored once."""
    done = bridge.command("status", "--json", "--event", ident, *words)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["event"], len(found["stored"])) == (ident, 1)
    return {one["sink"] + (f"/{one['endpoint']}" if one["endpoint"] else ""): one for one in found["stored"][0]["destinations"]}


def test_an_event_in_a_log_that_nobody_reads(bridge, receivers):
    """A sink whose keys stepped aside becomes one of another type: the daemon says so, though no sink is left that could wait."""
    bad = receivers(lambda request: 503)
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", bad.url, "order: key\nretry: [1h]\nretry_memory: 1s"))
    daemon = bridge.start()
    post_ok(daemon, *(event(f"e{i}", subject="k") for i in range(3)))
    wait_for(lambda: daemon.metric("aqueduct_sink_blocked", sink="crm") == 3)
    daemon.stop()
    bridge.configure(HTTP_SOURCE + "sinks:\n  crm: {type: websocket, listen: \"127.0.0.1:0\", topics: [$EVENTS]}\n")
    daemon = bridge.start()
    wait_for(lambda: "records that nobody reads" in daemon.log(), seconds=150)
    assert "blocked.crm." in daemon.log()
    text = bridge.command("status", "--event", "e1").stdout
    assert "kept, but nobody reads it any more" in text and "delivered" not in text
    assert "blocked" in bridge.command("orphans", "list").stdout


def test_what_became_of_an_event(bridge, receivers):
    good, bad, silent = receivers(), receivers(lambda request: 503), receivers(lambda request: "hang")
    sinks = ("sinks:\n" + webhook_sink("crm", good.url) + webhook_sink("broken", bad.url, "retry: [10m]\nretry_memory: 10m")
             + webhook_sink("later", bad.url, "retry: [1h]\nretry_memory: 1s") + webhook_sink("refused", bad.url, "retry: []")
             + webhook_sink("other", good.url, "filter: {exact: {type: another.one}}") + webhook_sink("slow", silent.url, "timeout: 60s")
             + "  many:\n    type: webhook\n    topics: [$EVENTS]\n    endpoints:\n"
             + f"      a: {{url: {good.url}, secrets: [{SECRET}]}}\n      b: {{url: {bad.url}, secrets: [{SECRET}], retry: []}}\n"
             + f"      c: {{url: {good.url}, secrets: [{SECRET}], filter: {{exact: {{type: another.one}}}}}}\n"
             + "  live: {type: websocket, listen: \"127.0.0.1:0\", topics: [$EVENTS]}\n" + DEAD_LETTERS)
    daemon = run(bridge, HTTP_SOURCE + sinks)
    post_ok(daemon, event("one & only"), event("two"))
    states = {"crm": "finished", "broken": "waiting", "later": "waiting", "refused": "dead", "other": "filtered", "slow": "in_flight",
              "many/a": "finished", "many/b": "dead", "many/c": "filtered", "live": "live"}
    wait_for(lambda: {name: one["state"] for name, one in became(bridge, "one & only").items()} == states,
             why=lambda: became(bridge, "one & only"))
    found = became(bridge, "one & only", "--since", "1h")
    assert (found["broken"]["attempts"], found["broken"]["reason"]) == (1, "503 Service Unavailable")
    assert (found["later"]["attempts"], found["refused"]["class"], found["refused"]["status"]) == (1, "refused", 503)
    assert found["later"]["due"] > found["broken"]["due"] > found["refused"]["last"]
    assert "since the start: 2 put on the stream" in bridge.command("status", "--sink", "live").stdout
    asked = json.loads(bridge.command("explain", "--event", "one & only", "--json").stdout)
    assert asked["stored"] and {one["sink"] for one in asked["sinks"] if not one["takes"]} == {"other", "many"}
    assert [one["why"] for one in asked["sinks"] if one["sink"] == "other"] == ['type "thing.happened" is not "another.one"']
    text = bridge.command("status", "--event", "one & only").stdout
    assert "thing.happened from /e2e, stored " in text
    for line in ["crm +finished: delivered, as far as the log can tell", "broken +waiting, the next attempt in 9m, attempts: 1: 503 Service Unavailable",
                 "refused +dead, last attempt .* ago, attempts: 1, refused: 503 Service Unavailable", "other +left out by the filter",
                 "slow +in flight, attempts: 1", "many/b +dead", "live +shown to who listened then"]:
        assert re.search(f"^  {line}", text, re.M), (line, text)
    daemon.kill()
    stopped = {name: one["state"] for name, one in became(bridge, "one & only").items()}
    assert stopped == states | {"broken": "pending", "slow": "pending"}


def test_an_event_that_was_redriven(bridge, receivers):
    works = []
    receiver = receivers(lambda request: 204 if works else 503)
    daemon = run(bridge, HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: []") + DEAD_LETTERS)
    post_ok(daemon, event("one"))
    wait_for(lambda: became(bridge, "one")["crm"]["state"] == "dead")
    wait_for(lambda: len(bridge.dead()) == 1)
    works.append(True)
    assert bridge.command("dead", "redrive", "--all").returncode == 0
    wait_for(lambda: became(bridge, "one")["crm"]["state"] == "finished")
    assert receiver.ids() == {"one"}


def test_an_event_that_is_resent(bridge, receivers):
    """To a sink that had it, and to one that reads none of its topics; with a daemon and without."""
    crm, other = receivers(), receivers()
    daemon = run(bridge, "topics: {$T_nothing: {}}\n" + HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", crm.url)
                 + f"  many: {{type: webhook, topics: [$T_nothing], endpoints: {{a: {{url: {other.url}, secrets: [{SECRET}]}}}}}}\n" + DEAD_LETTERS)
    post_ok(daemon, event("one"), event("two", source="/e2e/a"), event("two", source="/e2e/b"))
    crm.delivered({"one", "two"})
    done = bridge.command("resend", "one", "--to", "crm")
    assert (done.returncode, done.stdout) == (0, f"resent thing.happened from /e2e ({bridge.topic('events')}/0@0) to crm\n"), done.stderr
    crm.arrived(4)
    first, again = (r for r in crm.all() if r["id"] == "one")
    assert (again["webhook_id"], again["body"], again["why"]) == (first["webhook_id"], first["body"], None)
    wait_for(lambda: became(bridge, "one")["crm"]["state"] == "finished")
    assert set(became(bridge, "one")) == {"crm"} and became(bridge, "one")["crm"]["resent"]
    daemon.stop()
    done = bridge.command("resend", "one", "--to", "many/a", "--topic", bridge.topic("events"), "--since", "1h", "--json")
    assert (done.returncode, json.loads(done.stdout)["to"]) == (0, "many/a"), done.stderr
    assert became(bridge, "one")["many/a"]["state"] == "resent"
    assert re.search("many/a +resent, pending; resent .* ago\n", bridge.command("status", "--event", "one").stdout)
    bridge.start()
    other.delivered({"one"})
    wait_for(lambda: became(bridge, "one")["many/a"]["state"] == "finished")
    if bridge.kind == "kafka":
        return
    done = bridge.command("resend", "two", "--to", "crm")
    assert (done.returncode, done.stdout.count("found thing.happened from /e2e/"), "choose one by --topic or --source" in done.stderr) == (1, 2, True)
    assert bridge.command("resend", "two", "--to", "crm", "--source", "/e2e/b", "--dry-run").stdout.startswith("would resend thing.happened from /e2e/b ")
    done = bridge.command("resend", "nobody", "--to", "crm")
    assert (done.returncode, done.stderr) == (1, "aqueduct resend: there is no event with this id (a whole id is wanted); looked at "
                                              f"{bridge.topic('nothing')} (0 records), {bridge.topic('events')} (3 records)\n")
    for wrong in (["--to", "crn"], ["--to", "many"], [], ["--to", "crm", "--since", "soon"]):
        assert bridge.command("resend", "one", *wrong).returncode == 2
    assert "there is crm, many/a\n" in bridge.command("resend", "one", "--to", "failed").stderr
    assert len(crm.all()) == 4 and len(other.all()) == 1


def test_a_key_that_stepped_aside(bridge, receivers):
    bad = receivers(lambda request: 503)
    daemon = run(bridge, HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", bad.url, "order: key\nretry: [1h]\nretry_memory: 1s") + DEAD_LETTERS)
    post_ok(daemon, *(event(f"e{i}", subject="k") for i in range(3)))

    def states():
        return [became(bridge, f"e{i}")["crm"]["state"] for i in range(3)]
    wait_for(lambda: status(bridge)["sinks"]["crm"]["blocked"] == 3)
    assert states() == ["waiting"] * 3
    assert ", 3 behind 1 blocked key\n" in bridge.command("status").stdout
    known = set(status(bridge)["sinks"]["crm"])
    daemon.stop()
    assert states() == ["waiting"] * 3
    stopped = status(bridge)["sinks"]["crm"]
    assert (set(stopped), stopped["blocked"], stopped["blocked_keys"]) == (known, None, None)
    assert pending(stopped) == 3


def test_notes_in_a_blocked_log_are_no_pending_events(bridge, receivers):
    """A mark stands before them, and a note behind them of what was tried: neither is to be delivered."""
    bad = receivers(lambda request: 503)
    ordered = HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", bad.url, "order: key\nretry: [500ms, 1h]\nretry_memory: 100ms")
    daemon = run(bridge, ordered)
    post_ok(daemon, *(event(f"e{i}", subject="k") for i in range(3)))

    def log_of(account):
        rows = [row for row in account["sinks"]["crm"]["topics"] if ".blocked.crm." in row["topic"]]
        return sum(row["end"] for row in rows), [row["pending"] for row in rows if row["end"]]
    wait_for(lambda: len(bad.all()) == 2 and log_of(status(bridge))[0] >= 5, why=daemon.log)      # the second attempt came out of the log
    wait_for(lambda: pending(status(bridge)["sinks"]["crm"]) == 3, why=lambda: status(bridge)["sinks"]["crm"])
    assert log_of(status(bridge))[1] == [3]
    assert "crm (webhook): 3 pending, 3 behind 1 blocked key\n" in bridge.command("status").stdout
    daemon.stop()
    assert log_of(status(bridge))[1] == [3] and pending(status(bridge)["sinks"]["crm"]) == 3
    assert "crm (webhook): 3 pending\n" in bridge.command("status").stdout
    bridge.configure(ordered.replace("order: key", "order: key\n    paused: true"), admin=f"127.0.0.1:{free_port()}")
    bridge.start()                                              # it reads nothing
    wait_for(lambda: pending(status(bridge, "--list", "pending")["sinks"]["crm"]) == 3, why=lambda: status(bridge)["sinks"]["crm"])


def test_a_blocked_log_that_is_taken_over_is_pending_once(local_bridge, receivers):
    """Of a renamed sink: its marks and notes are left, its events go into the log of today."""
    bad, ordered = receivers(lambda request: 204 if request["id"] == "good" else 503), "order: key\nretry: [1h]\nretry_memory: 1s"
    daemon = run(local_bridge, HTTP_SOURCE + "sinks:\n" + webhook_sink("old", bad.url, ordered))
    post_ok(daemon, event("good"), *(event(f"e{i}", subject=f"k{i % 2}") for i in range(4)))
    bad.delivered({"good"})
    wait_for(lambda: status(local_bridge)["sinks"]["old"]["blocked"] == 4)
    daemon.stop()
    local_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("new", bad.url, ordered + "\nformerly: [old]"), admin=f"127.0.0.1:{free_port()}")
    def check():
        assert pending(status(local_bridge)["sinks"]["new"]) == 4
        assert [became(local_bridge, ident)["new"]["state"] for ident in ("good", "e0", "e3")] == ["finished", "waiting", "waiting"]
    check()                                                     # as the old name stood
    daemon = local_bridge.start()
    wait_for(lambda: status(local_bridge)["sinks"]["new"]["blocked"] == 4, why=daemon.log)
    wait_for(lambda: pending(status(local_bridge)["sinks"]["new"]) == 4, why=lambda: status(local_bridge)["sinks"]["new"]["topics"])
    daemon.stop()
    check()


def test_an_event_whose_record_is_gone(local_bridge, receivers):
    """Retention removed it from its topic; a copy waits, another is blocked, a third is dead."""
    bad, good = receivers(lambda request: 503), receivers()
    sinks = ("topics: {$EVENTS: {retention: 1s}}\n" + HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", good.url)
             + webhook_sink("later", bad.url, "retry: [1h]\nretry_memory: 1s") + webhook_sink("refused", bad.url, "retry: []")
             + webhook_sink("ordered", bad.url, "order: key\nretry: [1h]\nretry_memory: 1s") + DEAD_LETTERS)
    daemon = run(local_bridge, sinks)
    post_ok(daemon, event("one", subject="k"), event("two", subject="k"))
    wait_for(lambda: all(topic["start"] == 2 for topic in status(local_bridge)["sinks"]["crm"]["topics"] if topic["end"]))
    states = {"crm": "finished", "later": "waiting", "refused": "dead", "ordered": "waiting"}
    for _ in ("with a daemon", "without"):
        for i, ident in enumerate(["one", "two"]):
            assert {name: one["state"] for name, one in became(local_bridge, ident).items()} == states
            stored = json.loads(local_bridge.command("status", "--json", "--event", ident).stdout)["stored"][0]
            assert (stored["topic"], stored["offset"], stored["copy"], stored["type"]) == (local_bridge.topic("events"), i, True, "thing.happened")
        text = local_bridge.command("status", "--event", "two").stdout
        assert f" ago at {local_bridge.topic('events')}/0@1 (seen in a copy alone: " in text
        daemon.kill()


def test_long_names_are_said_whole(local_bridge, receivers):
    sink, endpoint = "s" * 63, "e" * 63
    text = f"sinks:\n  {sink}:\n    type: webhook\n    topics: [$EVENTS]\n    endpoints: {{{endpoint}: {{url: {receivers().url}, secrets: [{SECRET}]}}}}\n"
    daemon = local_bridge.run(HTTP_SOURCE + text)
    post_ok(daemon, event("one"))
    assert f"\n  {sink}/{endpoint} " in local_bridge.command("status", "--event", "one").stdout


def test_an_event_that_is_not_there(local_bridge, receivers):
    daemon = local_bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url))
    post_ok(daemon, event("one"))
    for words in [("nobody",), ("one", "--since", "2099-01-01T00:00:00Z")]:
        done = local_bridge.command("status", "--event", *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert "no event with this id" in done.stderr
    assert local_bridge.command("status", "--event", "one", "--since", "soon").returncode == 2
    assert local_bridge.command("status", "--event", "one", "--sink", "crm").returncode == 2
