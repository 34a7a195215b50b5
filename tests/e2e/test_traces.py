# SPDX-License-Identifier: MIT
"""Traces: what a collector of OpenTelemetry hears of an event's way, and the trace that a client's request and a receiver's share."""
import json
import sqlite3
import subprocess
import threading

import pytest

from conftest import DEAD_LETTERS, HTTP_SOURCE, ROOT, SseListener, event, free_port, post, post_ok, wait_for, webhook_sink

PASSWORD = "a-password-of-the-collector"
KINDS = {"receive": 2, "capture": 5, "publish": 4, "deliver": 3, "wait": 1, "dead letter": 4, "fan out": 4, "file": 1}


class Collector:
    def __init__(self, python_folder, *statuses):
        self.process = subprocess.Popen([str(python_folder / "bin/python"), str(ROOT / "tests/e2e/verify/collector.py"), *map(str, statuses)],
                                        stdout=subprocess.PIPE, text=True)
        self.port, self.requests = int(self.process.stdout.readline()), []
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self):
        for line in self.process.stdout:
            self.requests.append(json.loads(line))

    def spans(self, ident):
        """Those of an event that the collector took, by the order of their beginning."""
        assert not [one for one in self.requests if "wrong" in one], self.requests
        return sorted((s for one in list(self.requests) if one["status"] == 200 for s in one["spans"] if s["cloudevents.event_id"] == ident),
                      key=lambda s: (s["began"], s["name"] != "receive", s["name"]))

    def heard(self, ident, count):
        wait_for(lambda: len(self.spans(ident)) >= count, why=lambda: self.spans(ident))
        found = self.spans(ident)
        assert len(found) == count and all(s["kind"] == KINDS[s["name"]] and s["service"] == "events" for s in found), found
        return found

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def collectors(python_folder):
    made = []

    def make(*statuses):
        made.append(Collector(python_folder, *statuses))
        return made[-1]
    yield make
    for one in made:
        one.close()


def traces(port, sample):
    return f'traces: {{endpoint: "http://127.0.0.1:{port}/v1/traces", sample: {sample}, service: events, headers: {{Authorization: "Basic {PASSWORD}"}}}}\n'


TRACE, CLIENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_one_trace_from_the_client_to_the_receiver(bridge, receivers, collectors):
    """With the parents right, over a failed attempt; what the client does not want to be traced is not."""
    collector = collectors(503)
    receiver = receivers(lambda request: 503 if request["id"] == "e1" and request["arrival"] == 1 else 204)
    daemon = bridge.run(traces(collector.port, 0) + HTTP_SOURCE + "sinks:" + webhook_sink("crm", receiver.url, "retry: [100ms]")
                        + '  live: {type: websocket, listen: "127.0.0.1:0", topics: [$EVENTS]}\n')
    listener = SseListener(daemon.port("live"))
    wait_for(lambda: listener.last)
    for ident, flags in (("e1", "01"), ("e2", "00")):
        assert post(daemon, event(ident), headers={"traceparent": f"00-{TRACE}-{CLIENT}-{flags}"}).status_code == 202
    receiver.delivered({"e1", "e2"})
    listener.heard({"e1", "e2"})
    spans = collector.heard("e1", 6)
    assert {s["trace"] for s in spans} == {TRACE}
    by_name = {s["name"]: s for s in spans}
    assert sorted(s["name"] for s in spans) == ["deliver", "deliver", "fan out", "publish", "receive", "wait"]
    assert by_name["receive"]["parent"] == CLIENT and by_name["publish"]["parent"] == by_name["receive"]["id"]
    assert {s["parent"] for s in spans if s["name"] not in ("receive", "publish")} == {by_name["publish"]["id"]}
    first, second = [s for s in spans if s["name"] == "deliver"]
    assert (first["http.response.status_code"], first["status"], second["http.response.status_code"], second["status"]) == (503, 2, 204, 0)
    assert first["ended"] <= by_name["wait"]["ended"] and by_name["wait"]["began"] < second["ended"]
    requests = [r["headers"]["traceparent"] for r in receiver.all() if r["id"] == "e1"]
    assert requests == [f"00-{TRACE}-{s['id']}-01" for s in (first, second)]
    assert [r["headers"]["traceparent"] for r in receiver.all() if r["id"] == "e2"] == [f"00-{TRACE}-{CLIENT}-00"]
    assert collector.spans("e2") == [] and [e["traceparent"] for e in listener.events] == [f"00-{TRACE}-{CLIENT}-{f}" for f in ("01", "00")]
    assert collector.requests[0]["status"] == 503 and all(one["headers"]["authorization"] == f"Basic {PASSWORD}" for one in collector.requests)
    assert daemon.metric("aqueduct_spans_exported_total") == 6 and daemon.metric("aqueduct_spans_failed_total") == 0
    daemon.stop()
    assert PASSWORD not in daemon.log()


def test_rows_begin_traces_and_dead_letters_end_them(local_bridge, receivers, collectors):
    """Without a traceparent the trace follows from the event, so that both daemons that saw it tell of the same one."""
    collector, receiver = collectors(), receivers(lambda request: 422)
    path = local_bridge.folder / "app.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT)")
    db.commit()
    daemon = local_bridge.run(traces(collector.port, 1) + "sources: {app: {type: sqlite, path: $FOLDER/app.db, capture: "
                              "[{name: notes, kind: append, table: notes, types: {insert: note.written}}]}}\nroutes: [{topic: $EVENTS}]\nsinks:"
                              + webhook_sink("crm", receiver.url, "paused: true") + DEAD_LETTERS)
    daemon.watching()
    db.execute("INSERT INTO notes(text) VALUES ('hello')")
    db.commit()
    wait_for(lambda: any(one.get("spans") for one in collector.requests))
    ident = collector.requests[0]["spans"][0]["cloudevents.event_id"]
    begun = collector.heard(ident, 2)
    daemon.stop()
    local_bridge.config.write_text(local_bridge.config.read_text().replace("paused: true", "paused: false"))
    daemon = local_bridge.start()
    wait_for(lambda: {"dead letter", "file"} <= {s["name"] for s in collector.spans(ident)}, why=lambda: collector.spans(ident))
    spans = {s["name"]: s for s in collector.spans(ident)}
    assert [s["name"] for s in begun] == ["capture", "publish"] and spans["capture"]["parent"] == ""
    assert {s["trace"] for s in spans.values()} == {begun[0]["trace"]}
    assert spans["deliver"]["parent"] == spans["dead letter"]["parent"] == spans["publish"]["id"]
    assert spans["file"]["parent"] == spans["publish"]["id"]
    assert receiver.all()[0]["headers"]["traceparent"] == f"00-{spans['deliver']['trace']}-{spans['deliver']['id']}-01"
    daemon.stop()


def test_events_do_not_wait_for_a_collector(local_bridge, receiver):
    """That is away: what it does not get is counted."""
    daemon = local_bridge.run(traces(free_port(), 1) + HTTP_SOURCE + "sinks:" + webhook_sink("crm", receiver.url))
    post_ok(daemon, *(event(f"e{i}") for i in range(20)))
    receiver.delivered({f"e{i}" for i in range(20)})
    assert daemon.metric("aqueduct_spans_total") == 60 and daemon.metric("aqueduct_spans_exported_total") == 0
    wait_for(lambda: "the collector of traces takes no spans" in daemon.log())
    assert daemon.metric("aqueduct_spans_failed_total") == 0            # it is tried again
    daemon.stop()
    assert daemon.log().count("the collector of traces takes no spans") == 1
    assert PASSWORD not in daemon.log() and "the collector of traces did not take all spans" in daemon.log()
