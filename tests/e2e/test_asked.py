# SPDX-License-Identifier: MIT
"""Commands that ask the running daemon by its API say and do the same when none runs."""
import json
import re
import signal

import pytest

from conftest import DEAD_LETTERS, HTTP_SOURCE, event, free_port, post_ok, wait_for, webhook_sink
from test_api import asked_by_socket


def run(bridge, receivers, sinks="", admin="", **env):
    """A daemon with a control socket on either broker, whose sink `bad` gave up five events and whose sink `good` had them."""
    bad, good = receivers(lambda r: 204 if works else 400), receivers()
    works = []
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("good", good.url, "attempts: all") + webhook_sink("bad", bad.url, "retry: []") + DEAD_LETTERS + sinks,
                     admin_more=f"control: {bridge.folder}/control" + admin)
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


def audited(daemon, since=0):
    """Of each line about a redrive or discard: who, its state, what was asked, and how many."""
    lines = [line for line in daemon.log()[since:].splitlines() if "msg=audit" in line and "DeadLetters" in line]
    field = lambda line, name: (re.search(rf'{name}=("(?:[^"\\\\]|\\\\.)*"|\S+)', line) or [None, "null"])[1]
    text = lambda value: json.loads(value) if value.startswith('"') else value
    return [(text(field(line, "state")), json.loads(text(field(line, "asked"))), text(field(line, "done"))) for line in lines]


def test_a_redrive_is_one_change_however_many_pages_it_takes(local_bridge, receivers):
    auditor = receivers()
    daemon, bad, good, works = run(local_bridge, receivers, webhook_sink("auditor", auditor.url).replace("$EVENTS", f"{local_bridge.name}-own.audit"), admin=", audit: true")
    works.append(True)
    tell = local_bridge.command
    assert tell("dead", "redrive", "--all", "--rate", "4", "--dry-run").returncode == 0       # a page of each letter
    asked = {"all": True, "dry_run": True, "from": "failed"}
    assert audited(daemon) == [("begun", asked, "1 of 5, refused 0, pages 1"), ("done", asked, "5 of 5, refused 0, pages 5")]
    told = [json.loads(request["body"])["data"] for request in auditor.arrived(2)]
    assert [(one["who"], one["status"], one["asked"], one["state"], one["matched"], one["done"], one["refused"], one["pages"]) for one in told] == [
        ("socket", 200, asked, "begun", 5, 1, 0, 1), ("socket", 200, asked, "done", 5, 5, 0, 5)]
    before = len(daemon.log())
    assert tell("dead", "redrive", "--type", "odd.").returncode == 0                           # one page is all
    assert tell("dead", "discard", "--all", "--limit", "1").returncode == 0                    # and the last one that is asked for
    (state, asked, done), second = audited(daemon, before)
    assert (state, asked["type"], done) == ("done", "odd.", "2 of 2, refused 0, pages 1") and second[0] == "done" and second[2].startswith("1 of 3, ")
    # page by page, as a program does
    before = len(daemon.log())
    post = lambda body: asked_by_socket(f"{local_bridge.folder}/control", "POST", "/api/v1/dead-letters/discard", json.dumps(body))[1]
    first = post({"sink": "bad", "limit": 1, "dry_run": True})
    post({"sink": "bad", "limit": 1, "dry_run": True, "after": first["next"]})
    post({"sink": "bad", "limit": 1, "after": first["next"]})                                  # asks for something else: another change
    post({"type": "nobody.", "limit": 1, "after": "1"})
    daemon.stop()
    told = audited(daemon, before)
    assert [one[0] for one in told] == ["begun", "done", "done", "done"] and told[0][1] == {"sink": "bad", "dry_run": True}, told
    assert told[2][1] == {"sink": "bad"} and "dry_run" in told[1][1]


def test_what_nobody_goes_on_with_is_told_when_the_daemon_ends(local_bridge, receivers):
    daemon, *_ = run(local_bridge, receivers)
    before = len(daemon.log())
    asked_by_socket(f"{local_bridge.folder}/control", "POST", "/api/v1/dead-letters/discard", json.dumps({"all": True, "limit": 2}))
    daemon.stop()
    assert [(state, done) for state, _, done in audited(daemon, before)] == [("begun", "2 of 5, refused 0, pages 1"), ("left", "2 of 5, refused 0, pages 1")]


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
