# SPDX-License-Identifier: MIT
"""The delivery log: what `aqueduct log` shows of attempts while the daemon runs and when it does not, and a sink that reads the log's topic."""
import json
import signal
import sqlite3
import subprocess

import pytest

from conftest import DEAD_LETTERS, HTTP_SOURCE, event, post_ok, wait_for, webhook_sink


def lines(bridge, *words):
    done = bridge.command("log", "--json", *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def fails_once(request):
    return 503 if request["arrival"] == 1 else 204


@pytest.mark.threads
def test_attempts_are_shown_while_the_daemon_runs_and_when_it_does_not(bridge, receivers):
    bad, good = receivers(lambda r: (503, {"Retry-After": "0"})), receivers(fails_once)
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("bad", bad.url, "retry: [50ms]") + webhook_sink("good", good.url, "retry: [50ms]\nattempts: all") + DEAD_LETTERS)
    ids = [f"event-of-this-test-{i}" for i in range(3)]
    post_ok(daemon, *(event(i) for i in ids))
    wait_for(lambda: len(lines(bridge)) == 12, why=lambda: lines(bridge))
    shown = {True: lines(bridge)}
    daemon.stop()
    shown[False] = lines(bridge)
    assert shown[True] == shown[False]
    mine = lines(bridge, "--event", ids[1])
    assert [(a["sink"], a["attempt"], a["verdict"], a["end"], a["status"]) for a in sorted(mine, key=lambda a: (a["sink"], a["attempt"]))] == [
        ("bad", 1, "retry", "retry", 503), ("bad", 2, "retry", "dead", 503), ("good", 1, "retry", "retry", 503), ("good", 2, "delivered", "delivered", 204)]
    assert {a["event"]["id"] for a in mine} == {ids[1]} and all(a["record"]["offset"] >= 0 for a in mine)
    assert len(lines(bridge, "--sink", "bad")) == 6
    assert len(lines(bridge, "--failures")) == 9
    assert len(lines(bridge, "--failures", "--limit", "4")) == 4
    assert lines(bridge, "--since", "2999-01-01T00:00:00Z") == [] and len(lines(bridge, "--since", "1h")) == 12


def test_without_failures_it_says_how_deliveries_are_logged(bridge, receivers):
    receiver = receivers()
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    post_ok(daemon, event("event-of-this-test"))
    wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="crm") == 1)
    for words, said in (((), "no failed attempts (deliveries are logged with attempts: all)\n"), (("--failures",), "no attempts match\n"),
                        (("--sink", "crm"), "no attempts match (deliveries are logged with attempts: all)\n")):
        done = bridge.command("log", *words)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", said)


@pytest.mark.parametrize("retry, comes", [("[]", "dead"), ("[20s]", "+20s"), ("[1h]", "+1h")])
def test_the_table_is_for_a_person(bridge, receivers, retry, comes):
    receiver = receivers(lambda r: 503)
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, f"retry: {retry}"))
    post_ok(daemon, event("event-of-this-test"))
    wait_for(lambda: len(lines(bridge)) == 1)
    done = bridge.command("log", "--failures", "--since", "1h")
    head, row = done.stdout.splitlines()
    assert head.split() == ["TIME", "SINK", "TYPE", "EVENT", "TRY", "VERDICT", "STATUS", "MS", "NEXT", "REASON"]
    assert row.split()[1:] != [] and row.index("event-of-this-test") == head.index("EVENT")
    assert row.split()[1] == "crm" and row.split()[4:7] == ["1", "retry", "503"] and row.split()[8] == comes
    assert row.endswith("503 Service Unavailable")
    none = bridge.command("log", "--event", "another")
    assert (none.returncode, none.stdout, none.stderr) == (0, "", "no attempts match (deliveries are logged with attempts: all)\n")


def test_each_endpoint_has_its_attempts(bridge, receivers):
    one, two = receivers(lambda r: 503), receivers()
    ends = f"""
  crm:
    type: webhook
    topics: [$EVENTS]
    unsigned: true
    retry: []
    attempts: all
    endpoints: {{one: {{url: {one.url}}}, two: {{url: {two.url}}}}}
"""
    daemon = bridge.run(HTTP_SOURCE + "sinks:" + ends)
    post_ok(daemon, event("event-of-this-test"))
    wait_for(lambda: len(lines(bridge)) == 2, why=daemon.log)
    assert [(a["endpoint"], a["verdict"]) for a in lines(bridge, "--endpoint", "one")] == [("one", "retry")]
    assert [(a["endpoint"], a["verdict"]) for a in lines(bridge, "--endpoint", "two")] == [("two", "delivered")]
    assert len({a["event"]["id"] for a in lines(bridge)}) == 1
    assert {row.split()[1] for row in bridge.command("log").stdout.splitlines()} == {"SINK", "crm/one", "crm/two"}


def test_follow_goes_on_with_what_comes(bridge, receivers):
    receiver = receivers(lambda r: 503)
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: []"))
    post_ok(daemon, event("event-of-this-test-0"))
    wait_for(lambda: len(lines(bridge)) == 1)
    follower = subprocess.Popen([bridge.program, "log", "--json", "--follow", "-c", str(bridge.config)], stdout=subprocess.PIPE, text=True)
    try:
        assert json.loads(follower.stdout.readline())["event"]["id"] == "event-of-this-test-0"
        post_ok(daemon, event("event-of-this-test-1"))
        assert json.loads(follower.stdout.readline())["event"]["id"] == "event-of-this-test-1"
    finally:
        follower.send_signal(signal.SIGTERM)
        follower.wait(30)


def test_a_sink_reads_the_log_and_is_not_in_it(bridge, receivers):
    crm, watcher = receivers(lambda r: 503), receivers(fails_once)
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", crm.url, "retry: []") +
                        webhook_sink("watcher", watcher.url, "retry: [50ms]\nattempts: all").replace("$EVENTS", f"{bridge.name}-own.attempts"))
    ids = [f"event-of-this-test-{i}" for i in range(3)]
    post_ok(daemon, *(event(i) for i in ids))
    wait_for(lambda: len(watcher.good()) == 3, why=daemon.log)
    bodies = [json.loads(r["body"]) for r in watcher.good()]
    assert {b["type"] for b in bodies} == {"aqueduct.attempt.failed"} and {b["source"] for b in bodies} == {"/aqueduct/crm"}
    assert {b["subject"] for b in bodies} == set(ids) == {b["data"]["event"]["id"] for b in bodies}
    daemon.stop()
    assert {a["sink"] for a in lines(bridge)} == {"crm"} and len(lines(bridge)) == 3


def test_what_is_shown_of_an_answer_holds_no_secret(bridge, receivers):
    receiver = receivers(lambda r: (500, {}, f"you sent {r['headers']['authorization']}"))
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, 'retry: []\nheaders: {Authorization: "Bearer not-to-be-shown-1234"}'))
    post_ok(daemon, event("event-of-this-test"))
    wait_for(lambda: len(lines(bridge)) == 1)
    assert lines(bridge)[0]["response"] == "you sent Bearer " + "*" * len("not-to-be-shown-1234")
    assert "not-to-be-shown" not in bridge.command("log", "--json").stdout + daemon.log()


def test_without_a_log_or_attempts_it_says_so(local_bridge, receivers):
    receiver = receivers()
    local_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "attempts: none"))
    done = local_bridge.command("log")
    assert done.returncode == 1 and done.stderr == f"aqueduct log: {local_bridge.folder}/data/aqueduct.db: there is no log yet\n"
    local_bridge.start().stop()
    done = local_bridge.command("log")
    assert done.returncode == 0 and done.stderr == "no attempts: no sink logs them (attempts: failures, sample or all)\n"
    done = local_bridge.command("log", "--since", "yesterday")
    assert done.returncode == 2 and '"yesterday" is neither a moment nor a time ago' in done.stderr


def test_a_name_that_neither_configuration_nor_log_has_is_wrong(bridge, receivers):
    """What the log still has of a sink or an endpoint that is gone is shown."""
    receiver = receivers(lambda r: 410)
    ends = "".join(f"      {name}:\n        url: {receiver.url}\n        unsigned: true\n" for name in ("one", "two"))
    config = HTTP_SOURCE + "sinks:\n  crm:\n    type: webhook\n    topics: [$EVENTS]\n    endpoints:\n" + ends
    daemon = bridge.run(config)
    post_ok(daemon, event("an-event-of-this-test"))
    wait_for(lambda: len(lines(bridge)) == 2)
    daemon.stop()
    for words, why in ((("--sink", "crn"), '--sink: there is no sink "crn" (did you mean crm?)'), (("--sink", "nope"), '--sink: there is no sink "nope" (there is '),
                       (("--endpoint", "onee"), '--endpoint: there is no endpoint "onee" (did you mean one?)'),
                       (("--sink", "crm", "--endpoint", "other"), '--endpoint: there is no endpoint "other"'),
                       (("--sink", "crn", "--follow", "--json"), '--sink: there is no sink "crn" (did you mean crm?)')):
        done = bridge.command("log", *words)
        assert (done.returncode, done.stdout) == (2, "") and why in done.stderr, done.stderr
    bridge.configure(config.replace("  crm:", "  erp:").replace("      two:", "      three:"))
    assert len(lines(bridge, "--sink", "crm")) == 2
    assert len(lines(bridge, "--endpoint", "two")) == 1
    assert bridge.command("log", "--endpoint", "three").returncode == 0
    assert bridge.command("log", "--sink", "crm", "--endpoint", "four").returncode == 2


def test_the_log_is_kept_for_three_days(bridge, receivers):
    bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url))
    topic, days = f"{bridge.name}-own.attempts", 3 * 24 * 60 * 60 * 1000
    if bridge.kind == "local":
        with sqlite3.connect(f"file:{bridge.folder}/data/aqueduct.db?mode=ro", uri=True) as log:
            assert log.execute("SELECT retention FROM topic WHERE name = ?", [topic]).fetchall() == [(days,)]
    else:
        assert f"retention.ms={days}" in bridge.kafka.settings(topic)


def test_a_configuration_that_logs_nothing_fills_no_topic(local_bridge, receivers):
    receiver = receivers()
    local_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "attempts: none").replace("$EVENTS", f"{local_bridge.name}-own.attempts"))
    done = local_bridge.command("check")
    assert done.returncode == 1 and "no route fills the topic" in done.stderr
