# SPDX-License-Identifier: MIT
"""What an operator sees and does: metrics that reconcile, health, logs, signals, kill -9, wrong configurations."""
import contextlib
import json
import re
import signal
import socket
import threading
import time

import pytest
import requests

from conftest import (DEAD_LETTERS, HTTP_SOURCE, TOKEN, Listener, event, free_port, paused, post, post_ok, wait_for, webhook_sink)


# ---- metrics ----

def reconcile(daemon):
    """Do the sums of the README hold, for each source and each sink, with nothing pending? (While work goes on, a page may show one
    counter before the event and the next one after it.)"""
    m = daemon.metrics()
    holds = True
    for (name, labels), total in m.items():
        if name == "aqueduct_source_received_total":
            refused = sum(v for (n, have), v in m.items() if n == "aqueduct_source_refused_total" and set(labels) <= set(have))
            holds &= total == m["aqueduct_source_stored_total", labels] + refused and m["aqueduct_source_pending", labels] == 0
        if name == "aqueduct_sink_consumed_total":
            parts = [m[f"aqueduct_sink_{part}_total", labels] for part in ("delivered", "dead", "filtered", "moved", "released")]
            holds &= total == sum(parts) and m["aqueduct_sink_pending", labels] == 0
    return holds


@pytest.mark.threads
def test_counters_reconcile_after_mixed_traffic(bridge, receivers):
    answers = {"refused": 400, "fails": 503, "gone": 410}
    receiver = receivers(lambda r: answers.get((r["subject"] or "").split("/")[0], 204) if r["subject"] != "fails/then-works" or r["arrival"] == 1 else 204)
    daemon = bridge.run(HTTP_SOURCE.replace("routes: [{topic: $EVENTS}]", "routes: [{filter: {not: {prefix: {type: unwanted.}}}, topic: $EVENTS}]") + "sinks:\n"
                        + webhook_sink("crm", receiver.url, "retry_memory: 100ms\nretry: [20ms, 200ms]")
                        + webhook_sink("some", receiver.url, "filter: {prefix: {type: thing.}}\nretry: []")
                        + "  live: {type: websocket, listen: '127.0.0.1:0', topics: [$EVENTS]}\n" + DEAD_LETTERS)
    listener = Listener(daemon.port("live"))
    subjects = ["fine", "refused/1", "fails/always", "fails/then-works", "gone/1"]
    ids = []
    for i in range(100):
        ids.append(f"event-of-this-test-{i}")
        one = event(ids[-1], "thing.happened" if i % 2 else "other.happened", subject=subjects[i % 5])
        post_ok(daemon, one)
        if i % 10 == 0:
            assert post(daemon, event(f"nobody-wants-it-{i}", "unwanted.thing")).status_code == 422
            assert post(daemon, one).status_code == 202
            assert post(daemon, event(ids[-1], "another.thing")).status_code == 409
    listener.heard(ids)
    wait_for(lambda: reconcile(daemon) and daemon.metric("aqueduct_sink_dead_total", sink="crm") == 60, why=lambda: daemon.page("/metrics").text)
    assert daemon.metric("aqueduct_source_received_total", source="hooks") == 130
    assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == 10
    assert daemon.metric("aqueduct_source_refused_total", source="hooks", reason="conflict") == 10
    assert daemon.metric("aqueduct_source_refused_total", source="hooks") == 20
    assert daemon.metric("aqueduct_sink_delivered_total", sink="crm") == 40
    assert daemon.metric("aqueduct_sink_moved_total", sink="crm") == 40
    assert daemon.metric("aqueduct_sink_filtered_total", sink="some") == 50
    assert daemon.metric("aqueduct_sink_delivered_total", sink="live") == 100
    expected_dead = 60 + daemon.metric("aqueduct_sink_dead_total", sink="some")
    wait_for(lambda: daemon.metric("aqueduct_dead_letters", sink="failed") == expected_dead)
    assert len(bridge.dead()) == expected_dead
    daemon.stop()


@pytest.mark.threads
def test_metrics_say_how_far_a_sink_is_behind(bridge, receivers):
    receiver = receivers(lambda r: 503)
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("held", receiver.url, "paused: true") + webhook_sink("tries", receiver.url, "retry: [5m]\nretry_memory: 10m"))
    before = int(time.time())
    post_ok(daemon, *(event(f"event-behind-{i}") for i in range(3)))
    wait_for(lambda: daemon.metric("aqueduct_sink_lag_records", sink="held") == 3 == daemon.metric("aqueduct_sink_lag_records", sink="tries"),
             why=lambda: daemon.page("/metrics").text)
    assert before <= daemon.metric("aqueduct_sink_oldest_timestamp_seconds", sink="tries") <= time.time() + 1
    daemon.stop()


def test_the_metrics_page_is_proper(bridge, receiver):
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    post_ok(daemon, event("one"), event("two"))
    receiver.delivered({"one", "two"})
    answer = daemon.page("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith("\n")
    types, helped, series, family = {}, set(), set(), None
    name = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
    for line in answer.text.splitlines():
        if found := re.fullmatch(rf"# HELP ({name}) (\S.*)", line):
            assert found[1] not in helped
            helped.add(found[1])
        elif found := re.fullmatch(rf"# TYPE ({name}) (counter|gauge|histogram)", line):
            family = found[1]
            assert family not in types and family in helped
            types[family] = found[2]
        else:
            found = re.fullmatch(rf'({name})(\{{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*\}})? (-?[0-9.]+(?:e[-+]?\d+)?|\+Inf|NaN)', line)
            assert found, line
            base = re.sub("_(bucket|sum|count)$", "", found[1]) if types[family] == "histogram" else found[1]
            assert base == family, "samples stand behind their TYPE"
            assert found[0].rsplit(" ", 1)[0] not in series
            series.add(found[0].rsplit(" ", 1)[0])
            assert types[family] != "counter" or found[1].endswith("_total")
    m = daemon.metrics()
    for (n, labels), count in m.items():
        if n.endswith("_count") and types.get(n[:-6]) == "histogram":
            buckets = [(float(dict(l)["le"].replace("+Inf", "inf")), v) for (bn, l), v in m.items()
                       if bn == n[:-6] + "_bucket" and {p for p in l if p[0] != "le"} == set(labels)]
            values = [v for _, v in sorted(buckets)]
            assert values == sorted(values) and values[-1] == count and max(le for le, _ in buckets) == float("inf")


# ---- health ----

def test_health(bridge, receiver):
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    for path, status in [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/nothing", 404)]:
        assert daemon.page(path).status_code == status
    assert requests.post(f"http://127.0.0.1:{daemon.port('admin')}/metrics", timeout=30).status_code == 405


def forward(port, target):
    """Connections to `port` go to `target`."""
    server = socket.create_server(("127.0.0.1", port))

    def copy(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        finally:
            for s in (a, b):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def accept():
        try:
            while True:
                a, _ = server.accept()
                b = socket.create_connection(("127.0.0.1", target))
                for pair in ((a, b), (b, a)):
                    threading.Thread(target=copy, args=pair, daemon=True).start()
        except OSError:
            pass
    threading.Thread(target=accept, daemon=True).start()
    return server


def test_the_pages_are_not_for_everybody(bridge, receiver):
    config = bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    config.write_text(config.read_text().replace("admin: {", 'admin: {tokens: ["${ADMIN_TOKEN}"], '))
    daemon = bridge.start(ready=False, env={"ADMIN_TOKEN": TOKEN})
    assert daemon.page("/healthz").status_code == 200
    assert [daemon.page(path).status_code for path in ("/metrics", "/readyz")] == [401, 401]
    with_token = {"Authorization": f"Bearer {TOKEN}"}
    url = f"http://127.0.0.1:{daemon.port('admin')}/metrics"
    assert "aqueduct_admin_refused_total" in requests.get(url, headers=with_token, timeout=30).text


def test_idle_connections_do_not_close_the_admin_listener(bridge, receiver):
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    with contextlib.ExitStack() as idle:
        for _ in range(200):
            idle.enter_context(socket.create_connection(("127.0.0.1", daemon.port("admin"))))
        for _ in range(5):
            assert daemon.page("/healthz").status_code == 200


def test_not_ready_until_kafka_comes(kafka_bridge, receiver):
    port = free_port()
    kafka_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    kafka_bridge.config.write_text(kafka_bridge.config.read_text().replace(kafka_bridge.kafka.servers, f"127.0.0.1:{port}"))
    daemon = kafka_bridge.start(ready=False)
    said = []
    wait_for(lambda: said.append(daemon.page("/readyz")) or ("starting" not in said[-1].text), why=lambda: said[-1].text)
    assert said[-1].status_code == 503 and said[-1].text.startswith("not ready: ") and len(said[-1].text) > 20, said[-1].text
    assert daemon.page("/healthz").status_code == 200
    with forward(port, kafka_bridge.kafka.port):
        daemon.ready()
        post_ok(daemon, event("event-after-the-start"))
        receiver.delivered({"event-after-the-start"})
        daemon.stop()


def test_not_ready_while_kafka_is_away(kafka_bridge, receiver):
    daemon = kafka_bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    kafka_bridge.kafka.restart()
    wait_for(lambda: daemon.page("/readyz").status_code == 200, 60)
    post_ok(daemon, event("event-after-the-outage"))
    receiver.delivered({"event-after-the-outage"})
    daemon.stop()


# ---- the log ----

def test_the_log_as_json(bridge, receivers):
    receiver = receivers(lambda r: 503 if r["arrival"] == 1 else 204)
    daemon = bridge.run("log: {format: json, level: debug}\n" + HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: [10ms]"))
    post_ok(daemon, event("event-to-be-retried"))
    receiver.delivered({"event-to-be-retried"})
    daemon.stop()
    lines = [json.loads(line) for line in daemon.log().splitlines()]
    assert all({"level", "time", "msg"} <= set(line) for line in lines)
    assert any(line["msg"] == "deliveries fail" and line["sink"] == "crm" and line["status"] == 503 for line in lines)


def test_the_debug_log_follows_one_event(bridge, receivers):
    """Each step is one line with its id, in order, in the intake and in each sink; other levels say none of it."""
    receiver = receivers(lambda r: {"event-that-is-refused": 400}.get(r["id"], 503 if r["arrival"] == 1 else 204))
    config = (HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: [10ms]\nreject: [400]") +
              "  other: {type: webhook, topics: [$EVENTS], url: \"http://127.0.0.1:9/\", unsigned: true, filter: {exact: {type: nothing}}}\n"
              "  live: {type: websocket, listen: 127.0.0.1:0, topics: [$EVENTS]}\n")
    daemon = bridge.run("log: {format: json, level: debug}\n" + config)
    ident, refused = "event-to-be-followed", "event-that-is-refused"
    post_ok(daemon, event(ident), event(refused))
    receiver.delivered({ident})

    def way(of, who, **more):
        lines = [json.loads(line) for line in daemon.log().splitlines()]
        return [line for line in lines if line.get("event") == of and who in (line.get("source"), line.get("sink"))]

    def steps(of, who):
        return [line["msg"] for line in way(of, who) if line["level"] == "debug"]
    wait_for(lambda: steps(refused, "crm")[-1:] == ["stored as a dead letter"], why=daemon.log)
    wait_for(lambda: steps(ident, "live") and steps(ident, "other"), why=daemon.log)
    daemon.stop()
    assert steps(ident, "hooks") == ["received", "routed", "stored"]
    assert [line["topic"] for line in way(ident, "hooks") if line["msg"] == "routed"] == [bridge.topic("events")]
    assert steps(ident, "crm") == ["taken", "sent", "answered", "verdict", "sent", "answered", "verdict"]
    assert [(line["attempt"], line["verdict"], line["status"]) for line in way(ident, "crm") if line["msg"] == "verdict"] == [(1, "again", 503), (2, "delivered", 204)]
    taken = next(line for line in way(ident, "crm") if line["msg"] == "taken")
    assert taken["topic"] == bridge.topic("events") and taken["partition"] >= 0 and taken["offset"] >= 0
    assert steps(ident, "other") == ["passed by: no filter wants it"]
    assert steps(ident, "live") == ["taken"]
    assert steps(refused, "crm") == ["taken", "sent", "answered", "verdict", "stored as a dead letter"]
    quiet = bridge.run(config)
    post_ok(quiet, event("event-without-a-trace"))
    receiver.delivered({"event-without-a-trace"})
    quiet.stop()
    assert "level=debug" not in quiet.log() and "verdict" not in quiet.log()


# ---- the end ----

def hanging(bridge, receivers, drain, more=""):
    works = []
    receiver = receivers(lambda r: 204 if works else "hang")
    bridge.configure(f"drain: {drain}\n" + HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "timeout: 120s\nwindow: 8" + more))
    daemon = bridge.start()
    ids = [f"event-of-this-test-{i}" for i in range(20)]
    post_ok(daemon, *(event(i) for i in ids))
    receiver.arrived(8)
    return daemon, receiver, ids, works


def comes_back(bridge, receiver, ids, works):
    """Nothing was lost: with a receiver that answers, the next run delivers all of it."""
    works.append(True)
    daemon = bridge.start()
    receiver.delivered(ids)
    daemon.stop()


@pytest.mark.threads
def test_sigterm_drains_within_the_deadline(bridge, receivers):
    daemon, receiver, ids, works = hanging(bridge, receivers, "1s")
    daemon.terminate()
    assert daemon.wait(30) == 0
    assert "stopped" in daemon.log()
    comes_back(bridge, receiver, ids, works)


@pytest.mark.threads
def test_a_second_sigterm_leaves_at_once_and_loses_nothing(bridge, receivers):
    daemon, receiver, ids, works = hanging(bridge, receivers, "10m")
    daemon.terminate()
    wait_for(lambda: "msg=stopping" in daemon.log())
    assert daemon.alive()
    daemon.terminate()
    assert daemon.wait(30) == 1
    assert "second signal" in daemon.log()
    comes_back(bridge, receiver, ids, works)


def test_sigterm_finishes_what_is_on_its_way(bridge, receivers):
    there, gate = threading.Event(), threading.Event()
    receiver = receivers()
    receiver.answer = lambda r: there.set() or gate.wait(60) and 204
    daemon = bridge.run("drain: 60s\n" + HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "timeout: 60s"))
    post_ok(daemon, event("event-on-its-way"))
    assert there.wait(60)
    daemon.terminate()
    wait_for(lambda: "msg=stopping" in daemon.log())
    gate.set()
    assert daemon.wait() == 0
    receiver.delivered({"event-on-its-way"})
    daemon = bridge.start()
    post_ok(daemon, event("event-of-the-next-start"))
    receiver.delivered({"event-of-the-next-start"})
    assert [r["id"] for r in receiver.all()] == ["event-on-its-way", "event-of-the-next-start"], "no repeat after an orderly end"


@pytest.mark.threads
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_what_was_acknowledged_is_delivered_whatever_ends_the_daemon(bridge, receiver, number):
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    ids = []
    for _ in range(3):
        daemon = bridge.start()
        batch = [event(f"event-of-this-test-{len(ids) + i}", subject=str(i)) for i in range(50)]
        assert post(daemon, batch).status_code == 202
        ids += [e["id"] for e in batch]
        daemon.process.send_signal(number)
        daemon.wait()
    bridge.start()
    receiver.delivered(ids)


def test_after_kill_9_the_next_event_comes_soon(kafka_bridge, receiver):
    kafka_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    text = kafka_bridge.config.read_text()
    assert ", instance: one" in text
    kafka_bridge.config.write_text(text.replace(", instance: one", ', instance: ""'))         # the harder case: the old member must time out
    daemon = kafka_bridge.start()
    post_ok(daemon, event("event-before-the-kill"))
    receiver.delivered({"event-before-the-kill"})
    daemon.kill()
    daemon = kafka_bridge.start()
    began = time.monotonic()
    post_ok(daemon, event("event-after-the-kill"))
    receiver.delivered({"event-after-the-kill"}, 20)
    print(f"delivered {time.monotonic() - began:.1f} s after it was posted to the daemon that came after the killed one")


def test_a_paused_kafka_holds_up_only_for_a_while(kafka_bridge, receiver):
    daemon = kafka_bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    post_ok(daemon, event("event-before-the-pause"))
    with paused(kafka_bridge.kafka):
        threading.Timer(1, kafka_bridge.kafka.resume).start()
        post_ok(daemon, event("event-during-the-pause"))        # the sender waits, and hears 202
    receiver.delivered({"event-before-the-pause", "event-during-the-pause"})


# ---- configurations ----

@pytest.mark.parametrize("text, where", [
    ("sources: {h: {type: htpp}}\n", r':3:\d+: sources\.h.*"htpp".*http'),
    ("routes: [{topic: ''}]\n", r":3:\d+: routes"),
    ("sinks: {a: {type: webhook, url: 'http://x/', secrets: [short]}}\n", r":3:\d+: sinks\.a"),
    ("drain: forever\n", r':3:8: drain: .*"forever"'),
    ("sinks: {a: {type: websocket, listen: '0.0.0.0:1'}}\n", r":3:\d+: sinks\.a.*tokens"),
    ("drain: 1s\ndrain: 2s\n", r":4:1: .*drain"),
    ("sources: [\n", r":\d+:\d+: "),
    ("log: {level: loud}\n", r':3:\d+: log\.level: "loud" is not one of debug, info, warn, error'),
])
def test_a_wrong_configuration_is_named_with_its_place(bridge, text, where):
    bridge.configure(text)
    for verb in ("check", "run"):
        done = bridge.command(verb)
        assert done.returncode == 1
        assert re.search("^" + re.escape(str(bridge.config)) + where, done.stderr, re.MULTILINE), done.stderr
    assert not (bridge.folder / "data").exists()


def test_a_port_that_is_taken(bridge, receiver):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        bridge.configure(HTTP_SOURCE.replace("127.0.0.1:0", f"127.0.0.1:{port}") + "sinks:\n" + webhook_sink("crm", receiver.url))
        daemon = bridge.start(ready=False)
        assert daemon.wait() == 1
        assert str(port) in daemon.log() and "in use" in daemon.log()
