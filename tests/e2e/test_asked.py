# SPDX-License-Identifier: MIT
"""Commands that ask the running daemon by its API say and do the same when none runs."""
import json
import re
import signal

import pytest

from conftest import DEAD_LETTERS, HTTP_SOURCE, event, free_port, post_ok, wait_for, webhook_sink


def run(bridge, receivers, sinks="", **env):
    """A daemon with a control socket on either broker, whose sink `bad` gave up five events and whose sink `good` had them."""
    bad, good = receivers(lambda r: 204 if works else 400), receivers()
    works = []
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("good", good.url, "attempts: all") + webhook_sink("bad", bad.url, "retry: []") + DEAD_LETTERS + sinks,
                     admin_more=f"control: {bridge.folder}/control")
    daemon = bridge.start(env=env)
    post_ok(daemon, *(event(f"event-number-{i}", "odd.one" if i % 2 else "even.one", data={"n": i, "text": "x" * 20000 if i == 4 else "<b>\u009b31m"}) for i in range(5)))
    wait_for(lambda: len(bridge.dead()) == 5 and len(bridge.command("log", "--json").stdout.splitlines()) == 10, why=daemon.log)
    return daemon, bad, good, works


def said(bridge, *words):
    done = bridge.command(*words)
    return done.returncode, done.stdout, done.stderr


READS = [line.split() for line in """
dead list --limit 2
dead show event-number-1
dead redrive --type even. --limit 2 --dry-run --json
dead discard event-number-3 --dry-run
log --limit 4 --json
resend event-number-1 --to good --dry-run --json --since 1h
resend nobody --to good
""".strip().splitlines()]
MORE = [line.split() for line in """
dead list
dead list --type odd. --state all --json
dead list --sink bda
dead show event-number-4 --raw
dead show nobody
dead redrive --all --dry-run
log
log --failures --sink bad --since 1h
log --sink bda
log --event nobody
""".strip().splitlines()]


def test_with_a_daemon_and_without(bridge, receivers):
    daemon, *_ = run(bridge, receivers)
    before, reads = daemon.log(), READS + (MORE if bridge.kind == "local" else [])
    with_it = {" ".join(words): said(bridge, *words) for words in reads}
    asked = daemon.log()[len(before):]
    for operation in ("redriveDeadLetters", "discardDeadLetters"):      # what could change something is told, also of a dry run
        assert f"operation={operation} who=socket" in asked, asked
    daemon.stop()
    for words in reads:
        without = said(bridge, *words)
        assert without == with_it[" ".join(words)], words
    if bridge.kind == "local":
        assert len(with_it["dead list"][1].splitlines()) == 6 and len(with_it["log"][1].splitlines()) == 11
        assert with_it["dead show event-number-4 --raw"][1].endswith('x"}')
        assert {code: [w for w, (c, *_) in with_it.items() if c == code] for code in (1, 2)} == {
            1: ["resend nobody --to good", "dead show nobody"], 2: ["dead list --sink bda", "log --sink bda"]}


@pytest.mark.parametrize("daemon_is", ["running", "stopped"])
def test_what_changes_something(bridge, receivers, daemon_is):
    daemon, bad, good, works = run(bridge, receivers)
    if daemon_is == "stopped":
        daemon.stop()
    lines = lambda done: [{k: one[k] for k in ("result", "id", "to", "why", "state") if k in one} for one in map(json.loads, done.stdout.splitlines())]
    works.append(True)
    before = len(daemon.log())
    redriven = bridge.command("dead", "redrive", "--type", "odd.", "--json", "--rate", "8")
    *letters, total = map(json.loads, redriven.stdout.splitlines())
    assert redriven.returncode == 0 and sorted((one["result"], one["state"], one["id"], one["to"]) for one in letters) == [("redriven", "dead", f"event-number-{i}", None) for i in (1, 3)], redriven
    assert total == {"result": "total", "redriven": 2, "refused": 0, "skipped": 0, "of": 2, "dry_run": False, "interrupted": False}
    discarded = bridge.command("dead", "discard", "event-number-0")
    assert (discarded.returncode, discarded.stdout) == (0, "discarded bad even.one event-number-0\ndiscarded 1, refused 0, of 1\n")
    again = bridge.command("resend", "event-number-2", "--to", "good", "--json")
    assert again.returncode == 0 and lines(again) == [{"result": "resent", "id": "event-number-2", "to": "good"}]
    assert {one["id"] for one in bridge.dead()} == {"event-number-2", "event-number-4"}
    assert (bridge.command("dead", "redrive", "--type", "odd.").returncode, bridge.command("dead", "redrive", "event-number-1").returncode) == (1, 1)
    audit = re.findall(r"operation=(\w+) who=socket via=socket role=operator object=\S+ status=(\d+)", daemon.log()[before:])
    if daemon_is == "stopped":
        assert audit == []
        daemon = bridge.start()
    else:
        assert set(audit) == {("redriveDeadLetters", "200"), ("discardDeadLetters", "200"), ("resendEvent", "202")}
    wait_for(lambda: {r["id"] for r in bad.good()} == {"event-number-1", "event-number-3"} and sum(r["id"] == "event-number-2" for r in good.all()) == 2, why=daemon.log)
    assert len(bad.good()) == 2 and len(good.all()) == 6


def test_a_page_that_a_kill_cut_off_is_done_by_the_next_command(local_bridge, receivers):
    daemon, bad, _, works = run(local_bridge, receivers, AQUEDUCT_CRASH_AT="command-redrive-after-events")
    works.append(True)
    cut = local_bridge.command("dead", "redrive", "--all")
    assert cut.returncode == 1 and "aqueduct dead: no answer on" in cut.stderr and "redriven" not in cut.stdout, cut
    assert daemon.process.wait(20) == -signal.SIGKILL
    daemon = local_bridge.start()
    bad.delivered({f"event-number-{i}" for i in range(5)})
    assert len(local_bridge.dead()) == 5                        # nothing says yet that they were redriven
    assert local_bridge.command("dead", "redrive", "--all").stdout.endswith("redriven 5, refused 0, of 5\n")
    wait_for(lambda: len(bad.good()) >= 10, why=daemon.log)     # what the kill cut off on its way came once more
    assert len({r["webhook_id"] for r in bad.good()}) == 5 and local_bridge.dead() == []


def test_the_daemon_reads_its_own_file(local_bridge, receivers):
    """Where the command would look elsewhere for it, or may not read it."""
    daemon, *_ = run(local_bridge, receivers)
    local_bridge.config.write_text(local_bridge.config.read_text().replace("/dead.db", "/elsewhere.db"))
    assert len(local_bridge.dead()) == 5
    daemon.stop()
    done = local_bridge.command("dead", "list")
    assert done.returncode == 1 and "elsewhere.db" in done.stderr


@pytest.mark.kafka
def test_who_may_not_use_the_api_does_it_alone(kafka_bridge, receivers):
    """With Kafka, a viewer's token is no reason for a command to fail that has the cluster's own."""
    tokens = kafka_bridge.folder / "tokens"
    tokens.write_text("viewer board a-token-of-a-board-0123\n")
    tokens.chmod(0o600)
    bad = receivers(lambda r: 400)
    kafka_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("bad", bad.url, "retry: []") + DEAD_LETTERS, admin=f"127.0.0.1:{free_port()}",
                           admin_more=f"api: true, token_file: {tokens}, tokens: [a-token-of-a-board-0123]")
    daemon = kafka_bridge.start(ready=False)
    post_ok(daemon, event("event-number-0"))
    wait_for(lambda: len(kafka_bridge.dead()) == 1, why=daemon.log)
    done = kafka_bridge.command("dead", "redrive", "--all")
    assert (done.returncode, done.stdout) == (0, "redriven  bad thing.happened event-number-0\nredriven 1, refused 0, of 1\n"), done
    wait_for(lambda: len(bad.all()) == 2)
