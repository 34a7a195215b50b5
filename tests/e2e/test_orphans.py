# SPDX-License-Identifier: MIT
"""`aqueduct orphans`: what nobody serves any more becomes dead letters, or is dropped, with a daemon and without."""
import json
import os
import subprocess

import pytest

from aqueduct import free_port
from conftest import DEAD_LETTERS, HTTP_SOURCE, event, post_ok, wait_for, webhook_sink

FAST = "retry_memory: 100ms\nretry: [1h]"


def orphans(bridge, *words, code=0):
    done = bridge.command("orphans", *words, "--json")
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def left(bridge, *words):
    """{(sink, kind): events} of what is not ended; what the waiter moved a moment ago is there twice until its position is stored."""
    events = {}
    for one in orphans(bridge, "list", *words)["orphans"]:
        events[one["sink"], one["kind"]] = events.get((one["sink"], one["kind"]), 0) + one["events"]
    return events


def unserved(bridge):
    """Who says so, and {(sink, what of it)} that `aqueduct status` has of the same."""
    account = json.loads(bridge.command("status", "--json").stdout)
    assert all(one["records"] > 0 for one in account["unserved"] or [])
    words = {None: None, bridge.topic("events"): "events"}
    return account["from"], {(one["sink"], words.get(one["topic"], "blocked")) for one in account["unserved"] or []}


def start(bridge, text):
    bridge.configure(HTTP_SOURCE + "sinks:\n" + text + DEAD_LETTERS, admin=f"127.0.0.1:{free_port()}")
    return bridge.start()


def leave_behind(bridge, receivers, count=5):
    """Sinks that are gone afterwards: `waits` has waiting events, `blocks` blocked ones, `hangs` unread ones, all but the first."""
    bad, silent, good = receivers(lambda r: 503), receivers(lambda r: 204 if r["id"] == "e0" else "hang"), receivers()
    crm = webhook_sink("crm", good.url)
    sinks = (webhook_sink("waits", bad.url, FAST) + webhook_sink("blocks", bad.url, f"order: key\n{FAST}")
             + webhook_sink("hangs", silent.url, "timeout: 60s"))
    daemon = start(bridge, sinks + crm)
    post_ok(daemon, *(event(f"e{i}", subject="k") for i in range(count)))
    wait_for(lambda: daemon.metric("aqueduct_sink_waiting", sink="waits") == count)
    wait_for(lambda: daemon.metric("aqueduct_sink_blocked", sink="blocks") == count)
    wait_for(lambda: daemon.metric("aqueduct_sink_pending", sink="hangs") == count - 1)
    silent.released.set()
    daemon.stop()
    return start(bridge, crm)


@pytest.mark.parametrize("verb", ["dead", "drop"])
def test_what_sinks_left_behind_is_ended(bridge, receivers, verb):
    daemon = leave_behind(bridge, receivers)
    found = {("waits", "waiting"): 5, ("blocks", "blocked"): 5, ("hangs", "unread"): 4}
    wait_for(lambda: daemon.metric("aqueduct_waiting_orphans", sink="waits") == 5)
    wait_for(lambda: left(bridge) == found, why=lambda: orphans(bridge, "list"))     # the waiter says within a moment what it has moved
    wait_for(lambda: unserved(bridge) == ("daemon", {("waits", None), ("blocks", "blocked"), ("hangs", "events")}), 120)
    said = bridge.command("status").stdout.split("\nNobody serves any more (aqueduct orphans list):\n")[1].splitlines()
    assert {f"  hangs: 4 in topic {bridge.topic('events')}", "  waits: 5 in waiting topics"} < set(said) and len(said) == 3
    assert json.loads(bridge.command("status", "--json", "--sink", "crm").stdout)["unserved"] == []
    text = bridge.command("orphans", "list").stdout
    assert text.splitlines()[0].split() == ["SINK", "WHAT", "TOPIC", "EVENTS"]
    nothing = bridge.command("orphans", verb)
    assert nothing.returncode == 1 and nothing.stdout == text and "nothing was done; --yes" in nothing.stderr
    assert left(bridge) == found
    done = orphans(bridge, verb, "--sink", "waits", "--yes")
    assert [(one["sink"], one["ended"]) for one in done["dead" if verb == "dead" else "dropped"]] == [("waits", 5)]
    wait_for(lambda: daemon.metric("aqueduct_waiting_orphans", sink="waits") == 0)
    found.pop(("waits", "waiting"))
    assert left(bridge) == found
    done = bridge.command("orphans", verb, "--yes")
    assert done.returncode == 0, done.stderr
    assert f"{'dead' if verb == 'dead' else 'dropped'} 5 of 5 blocked: blocks in " in done.stdout
    assert left(bridge) == {}
    assert bridge.command("orphans", verb, "--yes").stderr == "nothing is left behind\n"
    if verb == "dead":
        wait_for(lambda: len(bridge.dead("--class", "orphaned")) == 14, why=lambda: bridge.dead())
        letters = bridge.dead()
        assert {(one["sink"], one["id"]) for one in letters} == {(sink, f"e{i}") for sink in ("waits", "blocks", "hangs") for i in range(5)} - {("hangs", "e0")}
        assert {one["attempts"] for one in letters if one["sink"] == "waits"} == {1}
        assert {one["reason"] for one in letters} == {"the sink is not configured"}
    daemon.stop()
    receiver = receivers()
    daemon = start(bridge, webhook_sink("waits", receiver.url, "start: latest") + webhook_sink("crm", receivers().url))   # it is back as a new one
    post_ok(daemon, event("new"))
    receiver.delivered({"new"})
    assert receiver.ids() == {"new"}
    assert left(bridge) == {}


def test_a_topic_that_a_sink_no_longer_has(bridge, receivers):
    silent = receivers(lambda r: 204 if r["id"] == "e0" else "hang")
    routes = "routes:\n  - {filter: {exact: {type: more.of.it}}, topic: $T_more}\n  - {topic: $EVENTS}\n"
    source = HTTP_SOURCE.split("routes:")[0] + routes
    crm = webhook_sink("crm", silent.url, "timeout: 60s")

    def run(sink):
        bridge.configure(source + "sinks:\n" + sink + DEAD_LETTERS, admin=f"127.0.0.1:{free_port()}")
        return bridge.start()
    daemon = run(crm.replace("[$EVENTS]", "[$EVENTS, $T_more]"))
    post_ok(daemon, *(event(f"e{i}", "more.of.it") for i in range(4)), event("other"))
    wait_for(lambda: daemon.metric("aqueduct_sink_pending", sink="crm") == 4)
    bridge.configure(source + "sinks:\n" + crm + DEAD_LETTERS, admin=bridge.config.read_text().split('listen: "')[1].split('"')[0], name="new.yaml")
    if bridge.kind == "local":          # what is served now is not ended under the daemon's hands
        wait_for(lambda: left(bridge))  # its position is stored
        refused = bridge.command("orphans", "dead", "--yes")
        assert refused.returncode == 1
        assert "the running daemon still serves sink crm with topic" in refused.stderr, refused.stderr
    daemon.kill()
    daemon = run(crm)
    wait_for(lambda: left(bridge) == {("crm", "unread"): 3})
    assert orphans(bridge, "dead", "--sink", "nobody", "--yes") == {"orphans": []}
    assert left(bridge, "--topic", bridge.topic("more")) == {("crm", "unread"): 3}
    wait_for(lambda: daemon.page("/status").json()["sinks"][0]["topics"], why=daemon.log)    # kafka: the group is without the dead member
    assert [one["ended"] for one in orphans(bridge, "dead", "--topic", bridge.topic("more"), "--yes")["dead"]] == [3]
    wait_for(lambda: sorted((one["id"], one["reason"]) for one in bridge.dead()) == [(f"e{i}", "the sink no longer has the topic") for i in range(1, 4)])
    assert left(bridge) == {}


@pytest.mark.parametrize("bridge", ["local"], indirect=True)
def test_without_a_daemon_the_log_is_written(bridge, receivers):
    daemon = leave_behind(bridge, receivers)
    wait_for(lambda: daemon.metric("aqueduct_waiting_orphans", sink="waits") == 5)
    daemon.stop()
    assert len(left(bridge)) == 3
    assert unserved(bridge) == ("log", {("waits", None), ("blocks", "blocked"), ("hangs", "events")})
    assert bridge.command("orphans", "dead", "--yes").returncode == 0
    assert left(bridge) == {}
    assert unserved(bridge) == ("log", set())
    receiver = receivers()
    daemon = start(bridge, webhook_sink("waits", receiver.url, "start: latest"))          # its waiting events were ended before it came back
    wait_for(lambda: len(bridge.dead("--class", "orphaned")) == 14)
    post_ok(daemon, event("new"))
    receiver.delivered({"new"})
    assert receiver.ids() == {"new"}


def test_a_command_that_is_killed_repeats_letters_and_loses_nothing(bridge, receivers):
    daemon = leave_behind(bridge, receivers)
    wait_for(lambda: left(bridge) == {("waits", "waiting"): 5, ("blocks", "blocked"): 5, ("hangs", "unread"): 4} and not
             any(one["later"] for one in orphans(bridge, "list")["orphans"]))
    for _ in range(2):
        killed = subprocess.run([bridge.program, "orphans", "dead", "--yes", "-c", str(bridge.config)], cwd=bridge.folder, capture_output=True,
                                timeout=60, env=dict(os.environ, AQUEDUCT_CRASH_AT="command-orphans-after-letters"))
        assert killed.returncode == -9
    assert left(bridge)[("waits", "waiting")] == 5
    assert bridge.command("orphans", "dead", "--yes").returncode == 0
    assert left(bridge) == {}
    wait_for(lambda: len(bridge.dead("--class", "orphaned")) == 14)      # a letter that came again is the same letter
    daemon.kill()
    daemon = bridge.start()
    assert left(bridge) == {}
    assert len(bridge.dead()) == 14
