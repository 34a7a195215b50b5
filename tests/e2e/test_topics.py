# SPDX-License-Identifier: MIT
"""Events on a real Kafka as others see them: read with kcat, judged by the CloudEvents project's own library; and what others write."""
import base64
import contextlib
import json
import re
import sqlite3
import subprocess

import pytest
import requests

from conftest import DEAD_LETTERS, HTTP_SOURCE, TOKEN, event, kafka_read, post_ok, wait_for, webhook_sink

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def produce(kafka, topic, value, key=None, headers=()):
    command = ["kcat", "-b", kafka.servers, "-P", "-t", topic, "-D", "\x01", *(["-k", key] if key else [])]
    for one in headers:
        command += ["-H", one]
    subprocess.run(command, input=value, check=True, timeout=60)


def test_binary_mode(kafka_bridge):
    daemon = kafka_bridge.run(HTTP_SOURCE)
    body = '{"amount":1.10,"text":"Grüße 😀"}'.encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "ce-specversion": "1.0", "ce-id": "binary-1", "ce-source": "/e2e", "ce-type": "thing.happened",
               "ce-subject": "caf%C3%A9", "ce-time": "2026-11-20T10:00:00Z", "ce-tenant": "acme", "traceparent": TRACE, "Content-Type": "application/json"}
    assert requests.post(f"http://127.0.0.1:{daemon.port('hooks')}/v1", data=body, headers=headers, timeout=30).status_code == 202
    record, = kafka_read(kafka_bridge.kafka, kafka_bridge.topic("events"), 1)
    assert record["value"] == body and record["key"] == "café".encode()
    assert record["headers"] == {b"ce_specversion": b"1.0", b"ce_id": b"binary-1", b"ce_source": b"/e2e", b"ce_type": b"thing.happened",
                                 b"ce_subject": "café".encode(), b"ce_time": b"2026-11-20T10:00:00Z", b"ce_tenant": b"acme",
                                 b"ce_traceparent": TRACE.encode(), b"content-type": b"application/json", b"aqueduct-from": b"hooks/v1"}


def test_structured_mode_and_keys(kafka_bridge):
    daemon = kafka_bridge.run(HTTP_SOURCE.replace("topic: $EVENTS", "topic: $EVENTS, encoding: structured, key: tenant"))
    sent = event("structured-1", subject="s/1", tenant="acme", data={"n": 1.5, "text": "€"})
    post_ok(daemon, sent, event("structured-2", data="text"))
    one, two = kafka_read(kafka_bridge.kafka, kafka_bridge.topic("events"), 2)
    assert one["headers"][b"content-type"].startswith(b"application/cloudevents+json") and one["key"] == b"acme"
    got = json.loads(one["value"])
    assert got.pop("time") and got == sent
    assert two["key"] is None and json.loads(two["value"])["data"] == "text"


@pytest.mark.parametrize("encoding", ["binary", "structured"])
def test_the_official_library_understands_them(kafka_bridge, node, encoding):
    daemon = kafka_bridge.run(HTTP_SOURCE.replace("topic: $EVENTS", f"topic: $EVENTS, encoding: {encoding}"))
    sent = [event("js-1", subject="a/1", tenant="acme", datacontenttype="application/json", data={"n": [1, 2.5, None], "text": "plain"}),
            event("js-2", datacontenttype="text/plain", data="some text")]
    post_ok(daemon, *sent)
    records = kafka_read(kafka_bridge.kafka, kafka_bridge.topic("events"), 2)
    answers = [json.loads(line) for line in node("cloudevents.mjs", [
        {"headers": {k.decode(): v.decode() for k, v in r["headers"].items()}, "value_base64": base64.b64encode(r["value"]).decode()} for r in records])]
    for one, answer in zip(sent, answers):
        assert {k: answer[k] for k in one} == one


def test_what_others_write(kafka_bridge, receiver):
    daemon = kafka_bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url) + DEAD_LETTERS)
    topic = kafka_bridge.topic("events")
    good = ["ce_specversion=1.0", "ce_id=foreign-binary", "ce_source=/others", "ce_type=thing.happened", "content-type=text/plain"]
    produce(kafka_bridge.kafka, topic, b"hello", "k", good)
    produce(kafka_bridge.kafka, topic, json.dumps(event("foreign-structured")).encode(), None, ["content-type=application/cloudevents+json; charset=UTF-8"])
    produce(kafka_bridge.kafka, topic, b"no event at all", "the key")
    produce(kafka_bridge.kafka, topic, b"{broken", None, ["content-type=application/cloudevents+json"])
    post_ok(daemon, event("event-behind-the-poison"))
    receiver.delivered({"foreign-binary", "foreign-structured", "event-behind-the-poison"})
    assert len(receiver.all()) == 3
    dead = wait_for(lambda: (lambda d: d if len(d) == 2 else None)(kafka_bridge.dead()))
    assert {d["class"] for d in dead} == {"poison"} and {d["origin"]["offset"] for d in dead} == {2, 3}
    letters = kafka_read(kafka_bridge.kafka, f"{kafka_bridge.name}-own.dead-letter", 2)
    assert {(x["key"], x["value"]) for x in letters} == {(b"the key", b"no event at all"), (None, b"{broken")}


def test_topics_are_made_as_configured(kafka_bridge):
    kafka_bridge.run("topics: {$T_wide: {partitions: 3, retention: 2h}}\n" + HTTP_SOURCE)
    said = json.loads(subprocess.run(["kcat", "-b", kafka_bridge.kafka.servers, "-L", "-J"], capture_output=True, check=True, timeout=60).stdout)
    partitions = {t["topic"]: len(t["partitions"]) for t in said["topics"]}
    assert partitions[kafka_bridge.topic("wide")] == 3 and partitions[kafka_bridge.topic("events")] == 1
    assert f"{kafka_bridge.name}-own.dead-letter" in partitions


def test_two_daemons_share_the_work(kafka_bridge, bridges, receiver, tmp_path):
    """Two nodes with one configuration: each event is delivered, and when one dies the other goes on."""
    text = "topics: {$EVENTS: {partitions: 4}}\n" + HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url)
    kafka_bridge.configure(text, folder=tmp_path / "one")
    one = kafka_bridge.start()
    second = kafka_bridge.config.read_text().replace("instance: one", "instance: two")
    kafka_bridge.configure(text, folder=tmp_path / "two")
    kafka_bridge.config.write_text(second)
    two = kafka_bridge.start()
    ids = [f"event-of-this-test-{i}" for i in range(200)]
    for i, ident in enumerate(ids):
        post_ok([one, two][i % 2], event(ident, subject=str(i)))
    receiver.delivered(ids)
    one.kill()
    more = [f"event-after-that-{i}" for i in range(50)]
    post_ok(two, *(event(ident, subject=ident) for ident in more))
    receiver.delivered(more)
    two.stop()


def test_a_state_that_is_gone_is_said(kafka_bridge, receiver):
    """It is no first start, and begins as one."""
    with contextlib.closing(sqlite3.connect(kafka_bridge.folder / "app.db")) as db:
        db.executescript("CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT); INSERT INTO notes(text) VALUES ('one')")
    rule = "{name: notes, kind: append, table: notes, types: {insert: note.added}}"
    text = f"sources:\n  app: {{type: sqlite, path: app.db, start: snapshot, capture: [{rule}]}}\nroutes: [{{topic: $EVENTS}}]\nsinks:\n"
    said = 'level=info msg="there was no state, its topic is made and empty: a daemon that finds it so reads databases from their start option'
    kafka_bridge.configure(text + webhook_sink("crm", receiver.url))
    for gone, told in ((False, True), (False, False), (True, True)):
        if gone:
            kafka_bridge.kafka.delete(f"{kafka_bridge.name}-own.state")
        daemon = kafka_bridge.start().watching()
        wait_for(lambda: len(receiver.good()) == 1 + gone, why=daemon.log)      # noqa: B023
        assert (said in re.sub(r" time=\S+", "", daemon.log())) is told
        daemon.stop()
    assert len({r["id"] for r in receiver.good()}) == 2         # the row comes again, and nobody knows it by its id


def test_a_sink_that_comes_back_with_other_topics_reads_these(bridge, receivers):
    """Also at once after a crash, when a cluster still has it as a member with the old ones."""
    receiver = receivers()
    source = HTTP_SOURCE.split("routes:")[0] + ("routes:\n  - {filter: {exact: {type: one.thing}}, topic: $T_one}\n"
                                                "  - {filter: {exact: {type: other.thing}}, topic: $T_other}\n  - {topic: $EVENTS}\n")

    def run(topics):
        return bridge.run(source + "sinks:\n" + webhook_sink("crm", receiver.url).replace("[$EVENTS]", topics))
    daemon = run("[$EVENTS, $T_one]")
    post_ok(daemon, event("a"), event("b", "one.thing"))
    receiver.delivered({"a", "b"})
    daemon.kill()
    daemon = run("[$EVENTS, $T_other]")
    post_ok(daemon, event("c", "other.thing"), event("d", "one.thing"), event("e"))
    receiver.delivered({"c", "e"})
    assert "d" not in receiver.ids()
