# SPDX-License-Identifier: MIT
"""Webhooks as a receiver sees them: signatures judged by the official libraries, retries, dead letters, redrive."""
import base64
import contextlib
import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import threading
import time

import jsonschema
import pytest

from conftest import DEAD_LETTERS, HTTP_SOURCE, OTHER_SECRET, ROOT, SECRET, TOKEN, event, post_ok, wait_for, webhook_sink

BOXED, RAW = SECRET, OTHER_SECRET


class Setup:
    """A daemon with an http source, a webhook sink and a dead_letter sink, and the demo receiver."""

    def __init__(self, bridge, sink="", more="", path="/hook", secrets=(BOXED,), receiver=()):
        self.bridge, self.folder = bridge, bridge.folder
        self.ledger_file = self.folder / "ledger.jsonl"
        self.receiver = subprocess.Popen(["/usr/bin/python3", str(ROOT / "tests/demo/receiver.py"), "--ledger", str(self.ledger_file), "--bodies",
                                          *[f"--secret={s}" for s in secrets], *receiver], stdout=subprocess.PIPE, text=True)
        url = self.receiver.stdout.readline().split()[-1]
        bridge.configure(f"""
sources:
  hooks:
    type: http
    listen: unix:{self.folder}/in.sock
    paths: [{{path: /v1, ce_source: any, verify: {{scheme: bearer, secrets: [{TOKEN}]}}}}]
routes: [{{topic: $EVENTS}}]
sinks:
  crm:
    type: webhook
    topics: [$EVENTS]
    url: {url}{path}
    secrets: {json.dumps(list(secrets))}
    start: earliest
    {sink}
  failed: {{type: dead_letter, path: {self.folder}/dead.db}}
{more}
""")
        self.daemon = bridge.start()

    def post(self, **attributes):
        event = {"specversion": "1.0", "source": "/e2e", "type": "thing.happened", **attributes}

        done = subprocess.run(
            ["curl", "-sS", "--unix-socket", str(self.folder / "in.sock"), "-H", f"Authorization: Bearer {TOKEN}",
             "-H", "Content-Type: application/cloudevents+json", "--data-binary", json.dumps(event), "-o", "/dev/null", "-w", "%{http_code}",
             "http://localhost/v1"], capture_output=True, text=True, timeout=60)
        assert done.stdout == "202", done.stderr + self.daemon.log()

    def ledger(self):
        return [json.loads(line) for line in self.ledger_file.read_text().splitlines()] if self.ledger_file.exists() else []

    def arrived(self, count, **having):
        return wait_for(lambda: (lambda hits: hits if len(hits) >= count else None)(
            [line for line in self.ledger() if all(line[k] == v for k, v in having.items())]))

    def dead(self, *words):
        return self.bridge.command("dead", *words)

    def dead_json(self, *words):
        return self.bridge.dead(*words)

    def stop(self):
        self.daemon.terminate()
        code = self.daemon.wait()
        self.receiver.send_signal(signal.SIGTERM)
        self.receiver.communicate(timeout=30)
        return code


@pytest.fixture
def setup(bridge):
    made = []

    def make(**kw):
        made.append(Setup(bridge, **kw))
        return made[-1]
    yield make
    for s in made:
        if s.receiver.poll() is None:
            s.receiver.kill()
            s.receiver.wait()


def test_the_judges_judge(judge):
    good = {"secret": BOXED, "id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "timestamp": "1614265330", "now": 1614265330,
            "body_base64": base64.b64encode(b'{"test": 2432232314}').decode(), "signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}
    answers = judge([good, {**good, "id": "msg_other"}, {**good, "now": 1614265330 + 301}, {**good, "secret": RAW}])
    assert answers[0] == "ok"
    assert all(a.startswith("failed standardwebhooks") for a in answers[1:])


def test_signatures_convince_the_official_libraries(setup, judge):
    s = setup(secrets=(BOXED, RAW))
    for i in range(20):
        s.post(id=f"event-number-{i:04}", data={"n": i, "text": "Euro € 😀"})
    lines = s.arrived(20)
    assert all(line["verified"] for line in lines)
    assert {line["event_id"] for line in lines} == {f"event-number-{i:04}" for i in range(20)}
    for secret in (BOXED, RAW):         # each key alone is enough
        asked = [{k: line[k] for k in ("id", "timestamp", "signature", "body_base64")} | {"secret": secret} for line in lines]
        assert judge(asked) == ["ok"] * len(asked)
    spoiled = [{**a, "body_base64": base64.b64encode(base64.b64decode(a["body_base64"]) + b" ").decode()} for a in asked[:3]]
    assert all(a.startswith("failed") for a in judge(spoiled))
    assert s.stop() == 0


def test_a_failed_attempt_is_retried_with_the_same_id_and_a_fresh_timestamp(setup, tmp_path):
    mode = tmp_path / "mode"
    mode.write_text("503")
    s = setup(sink="retry: [1100ms, 100ms, 100ms, 100ms]", receiver=["--mode-file", str(mode)])
    s.post(id="event-to-be-retried")
    first = s.arrived(1)[0]
    mode.write_text("ok")
    second = s.arrived(2)[1]
    assert first["id"] == second["id"] and first["event_id"] == second["event_id"] == "event-to-be-retried"
    assert int(second["timestamp"]) > int(first["timestamp"])
    assert first["verified"] and second["verified"]
    assert s.stop() == 0


def test_what_stays_refused_is_listed_shown_and_redriven(setup, tmp_path, judge):
    mode = tmp_path / "mode"
    mode.write_text("500")
    s = setup(sink="retry: [10ms]", receiver=["--mode-file", str(mode)])
    s.post(id="event-that-has-died", subject="thing/1", data={"a": 1.10})
    dead = wait_for(s.dead_json)
    schema = json.loads((ROOT / "schemas/dead_letter.schema.json").read_text())
    for line in dead:
        jsonschema.validate(line, schema)
    assert len(dead) == 1
    assert dead[0]["id"] == "event-that-has-died" and dead[0]["sink"] == "crm" and dead[0]["attempts"] == 2
    assert dead[0]["status"] == 500 and dead[0]["class"] == "refused" and dead[0]["origin"]["topic"] == s.bridge.topic("events")
    assert "event-that-has-died" in s.dead("list").stdout
    shown = s.dead("show", "event-that-has-died").stdout
    assert "500 Internal Server Error" in shown and '"a": 1.1' in shown
    mode.write_text("ok")
    done = s.dead("redrive", "event-that-has-died")     # while the daemon runs
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "redriven 1, refused 0, of 1"
    again = s.arrived(1, mode="ok")[0]
    assert again["event_id"] == "event-that-has-died" and again["verified"] and again["arrival"] == 3
    assert judge([{k: again[k] for k in ("id", "timestamp", "signature", "body_base64")} | {"secret": BOXED}]) == ["ok"]
    wait_for(lambda: not s.dead_json())
    assert [line["redrives"] for line in s.dead_json("--state", "redriven")] == [1]
    assert s.dead("redrive", "event-that-has-died").returncode == 1     # not twice by accident
    assert s.stop() == 0


def test_a_debug_log_shows_each_attempt(setup, tmp_path):
    mode = tmp_path / "mode"
    mode.write_text("503")
    s = setup(sink="retry: [100ms, 100ms, 100ms]", more="log: {level: debug}", receiver=["--mode-file", str(mode)])
    s.post(id="event-to-be-followed")
    s.arrived(1)
    mode.write_text("ok")
    s.arrived(1, mode="ok")
    line = wait_for(lambda: re.search(r".*msg=answered .*verdict=delivered.*", s.daemon.log()))[0]
    assert "sink=crm event=event-to-be-followed" in line and " status=204 " in line and " ms=" in line
    log = s.daemon.log()
    first = re.search(r".*msg=sent .*event=event-to-be-followed .*attempt=1 .*", log)[0]
    assert " event_source=/e2e " in first and " event_source=/e2e " in line and " source=" not in first and f"webhook_id={s.ledger()[0]['id']} " in first and " bytes=" in first
    refused = re.search(r".*msg=answered .*attempt=1 .*", log)[0]
    assert "verdict=retry status=503" in refused and "Service Unavailable" in refused
    assert log.count("msg=sent ") == log.count("msg=answered ") == len(s.ledger())
    assert s.stop() == 0


def test_a_crowd_of_idle_connections_costs_no_delivery(bridge, receiver):
    """More of them than the process may have descriptors: they give way, and sinks and pages keep theirs."""
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: []") + DEAD_LETTERS)
    pid = daemon.process.pid
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (500, hard))
    ids = {f"event-in-a-crowd-{i}" for i in range(20)}
    with contextlib.ExitStack() as crowd:
        for name in ["hooks"] * 600 + ["admin"] * 100:
            crowd.enter_context(socket.create_connection(("127.0.0.1", daemon.port(name))))
        for one in sorted(ids):
            post_ok(daemon, event(one))
        receiver.delivered(ids)
        assert daemon.page("/readyz").status_code == 200
        assert daemon.metric("aqueduct_net_evicted_total", reason="idle") >= 100
        assert daemon.metric("aqueduct_sink_dead_total", sink="crm") == 0
        assert daemon.metric("aqueduct_descriptors_out_total") == 0


def test_a_lack_of_descriptors_is_no_attempt(bridge, receiver):
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: []\nfilter: {prefix: {type: thing.}}") + DEAD_LETTERS)
    pid = daemon.process.pid
    sender = http.client.HTTPConnection("127.0.0.1", daemon.port("hooks"), timeout=60)      # one connection, which is there already

    def send(one):
        sender.request("POST", "/v1", json.dumps(one), {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents+json"})
        answer = sender.getresponse()
        answer.read()
        assert answer.status == 202

    def untried():
        admin.request("GET", "/metrics")
        return re.search(r'^aqueduct_sink_untried_total{.*sink="crm".*} (\S+)$', admin.getresponse().read().decode(), re.M)

    def settled():
        """The descriptors, once none comes or goes: one that is given back later would be free again."""
        used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
        time.sleep(0.5)
        return used if used == {int(name) for name in os.listdir(f"/proc/{pid}/fd")} else None

    admin = http.client.HTTPConnection("127.0.0.1", daemon.port("admin"), timeout=60)
    untried()
    send(event("event-not-for-crm", "other.happened"))
    wait_for(lambda: daemon.metric("aqueduct_sink_filtered_total", sink="crm") == 1)         # it is connected to the broker
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = wait_for(settled)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(set(range(len(used) + 1)) - used), before[1]))
    send(event("event-without-a-descriptor"))
    said = wait_for(lambda: re.search(r'.*msg="cannot send for lack of something on this machine.*', daemon.log()))[0]
    assert "sink=crm" in said and 'reason="Too many open files"' in said
    wait_for(lambda: float(untried()[1]) > 1)       # it goes on trying, and goes on saying nothing
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    receiver.delivered({"event-without-a-descriptor"})
    wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="crm") == 1)
    assert daemon.metric("aqueduct_sink_attempts_total", sink="crm") == 1 and daemon.metric("aqueduct_sink_dead_total", sink="crm") == 0
    assert daemon.log().count("cannot send for lack of something") == 1
    assert len(receiver.all()) == 1
    daemon.stop()


@pytest.fixture(params=["receive.mjs"])
def people(request, node_folder):
    """The receivers of verify/receive.mjs, or another of these scripts: (url, a list that grows)."""
    process = subprocess.Popen(["node", request.param, SECRET], cwd=node_folder, stdout=subprocess.PIPE, text=True)
    port, found = process.stdout.readline().strip(), []
    threading.Thread(target=lambda: found.extend(map(json.loads, process.stdout)), daemon=True).start()
    yield f"http://127.0.0.1:{port}", found
    process.kill()
    process.wait()


def test_it_arrives_where_people_receive_it(bridge, people):
    url, found = people
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + "".join(webhook_sink(f"{name}{path}", f"{url}/{path}", more) for path in ("express", "n8n") for name, more in (
        ("own-", ""), ("structured-", "body: structured"), ("told-", "body: structured\ncontent_type: application/json"))))
    sent = event("event-for-people", subject="thing/1", tenant="acme", data={"text": "Grüße 😀", "amount": 1.5})
    post_ok(daemon, sent)
    wait_for(lambda: len(found) == 6, why=lambda: found)
    assert all(line["verified"] == "ok" for line in found)
    for path in ("/express", "/n8n"):
        here = [line for line in found if line["path"] == path]
        own = next(line for line in here if line["type"] == "application/json" and "specversion" not in line["body"])
        assert own["body"].pop("timestamp")
        assert own["body"] == {name: sent[name] for name in ("type", "id", "source", "subject", "tenant", "data")}
        assert [line["body"] for line in here if line["type"] == "application/cloudevents+json"] == [None]      # nobody parses it unasked
        told = next(line for line in here if line["body"] and "specversion" in line["body"])
        assert told["type"] == "application/json" and told["body"]["data"] == sent["data"] and told["body"]["id"] == sent["id"]
    daemon.stop()


# What a user writes for each: two lines, and a token where the receiver wants one.
FOR = {
    "slack": ("/services/x", ""),
    "discord": ("/api/webhooks/1/x", ""),
    "teams": ("/workflows/x", ""),
    "airflow": ("/api/v2/dags/answers/dagRuns", "headers: {Authorization: Bearer a-token-of-airflow}"),
    "n8n": ("/webhook/x", ""),
    "flowise": ("/api/v1/prediction/x", "headers: {Authorization: Bearer a-key-of-flowise}"),
    "zapier": ("/hooks/catch/1/x", ""),
}


@pytest.mark.parametrize("people", ["receivers.mjs"], indirect=True)
def test_each_receiver_that_has_a_name_takes_what_it_gets(bridge, people):
    url, found = people
    endpoints = "".join(f"""
      {name}:
        for: {name}
        url: {url}{path}
        {more}""" for name, (path, more) in FOR.items())
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n  all:\n    type: webhook\n    topics: [$EVENTS]\n    retry: [10ms]\n    endpoints:" + endpoints)
    text = "He said \"<!channel> & go\"\n" + "long " * 1000
    full = event("event-for-all-of-them", "chat.response.generated", subject="messages/17",
                 data={"output": {"text": text}, "conversation": {"id": "c1"}, "n": 1.5})
    post_ok(daemon, full, event("event-with-nothing-in-it", "<!channel>"), event("event-whose-answer-is-lost", "answer.lost"),
            event("event-of-a-document", "document.failed", data={
                "document": {"name": "a & b.pdf"}, "collection": {"name": "<law>"}, "error": {"message": "no > text"}}))
    wait_for(lambda: len(found) == 4 * len(FOR) + 1, why=lambda: found)
    assert [line for line in found if line["status"] >= 300 and line["status"] != 409] == []
    body = {name: next(line["body"] for line in found if line["path"] == path and "messages/17" in json.dumps(line["body"]))
            for name, (path, _) in FOR.items()}
    assert body["slack"]["text"].startswith('*chat.response.generated* messages/17\nHe said "&lt;!channel&gt; &amp; go"\nlong')
    assert body["discord"]["content"].startswith('**chat.response.generated** messages/17\nHe said "<!channel> & go"\nlong')
    assert body["teams"]["attachments"][0]["content"]["body"][1]["text"].startswith('He said "<!channel> & go"\nlong')
    of_document = {name: next(json.dumps(line["body"]) for line in found if line["path"] == path and "document.failed" in json.dumps(line["body"]))
                   for name, (path, _) in FOR.items()}
    assert "\\na &amp; b.pdf &lt;law&gt; no &gt; text" in of_document["slack"]
    assert "\\na & b.pdf <law> no > text" in of_document["discord"] and '"a & b.pdf <law> no > text ' in of_document["teams"]
    assert body["airflow"]["logical_date"] is None and body["airflow"]["conf"].items() >= full.items()
    lost = [line["status"] for line in found if line["path"] == FOR["airflow"][0] and line["body"]["conf"]["type"] == "answer.lost"]
    assert lost == [0, 409]         # the run was there already: delivered
    assert body["n8n"]["data"] == full["data"]
    assert body["flowise"]["overrideConfig"] == {"sessionId": "c1"}
    assert body["zapier"]["data"] == full["data"] and body["zapier"]["subject"] == "messages/17"
    wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="all", endpoint="airflow") == 4)


@pytest.mark.parametrize("people", ["receivers.mjs"], indirect=True)
def test_airflow_is_logged_in_to_and_flowise_names_what_it_lacks(local_bridge, people):
    url, found = people
    ids = {f"event-number-{i}-of-many" for i in range(8)} | {"event-whose-answer-is-lost"}
    daemon = local_bridge.run(HTTP_SOURCE + f"""sinks:
  runs:
    type: webhook
    topics: [$EVENTS]
    for: airflow
    retry: [10ms]
    endpoints:
      good: {{url: {url}/api/v2/dags/logged/dagRuns, username: bridge, password: 'pass"word'}}
      wrong: {{url: {url}/api/v2/dags/logged/dagRuns, username: bridge, password: 'no-"-way', filter: {{exact: {{id: event-number-0-of-many}}}}, retry: []}}
      flow: {{for: flowise, url: {url}/api/v1/prediction/x, filter: {{exact: {{id: event-number-0-of-many}}}}, retry: []}}
""" + DEAD_LETTERS)
    post_ok(daemon, *[event(one, "answer.lost" if "lost" in one else "thing.happened") for one in sorted(ids)])
    wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="runs", endpoint="good") == len(ids))

    def all_runs():                 # the program says what it answered after it has
        runs = [line for line in found if line["path"].endswith("/dagRuns")]
        lost = [line["status"] for line in runs if "lost" in line["body"]["conf"]["id"] and line["status"] != 401]
        return lost == [0, 409] and {line["body"]["conf"]["id"] for line in runs} == ids and runs
    runs = wait_for(all_runs, why=lambda: found)
    assert {line["status"] for line in runs} <= {200, 401, 409, 0}
    logins = [line["status"] for line in found if line["path"] == "/auth/token" and line["body"]["password"] == 'pass"word']
    assert logins == [201, 201] and 401 in [line["status"] for line in runs]        # one for all that met the end of the first token
    assert daemon.metric("aqueduct_sink_attempts_total", sink="runs", endpoint="good") - len(ids) in (0, 1)      # the lost answer may cost one
    dead = wait_for(lambda: len(letters := local_bridge.dead()) == 2 and letters)
    assert sorted((letter["endpoint"], letter["class"], letter["reason"]) for letter in dead) == [
        ("flow", "refused", '401 Unauthorized: {"error":"Unauthorized Access"}'),
        ("wrong", "configuration", 'no access token from 127.0.0.1: 401 Unauthorized: {"input":{"username":"bridge","password":"*********"}}')]
    assert "-way" not in daemon.log() and '"word' not in daemon.log()
    daemon.stop()


def test_a_receiver_is_asked_for_its_consent(local_bridge, receivers):
    """Nothing goes before it, and no attempt counts; what it allows is the rate."""
    late, never, few = receivers(), receivers(), receivers()
    late.consent = lambda n: (200, {"WebHook-Allowed-Origin": "events.example.com"}) if n > 1 else (200, {})
    never.consent = lambda n: (200, {"WebHook-Allowed-Origin": "other.example.com"})
    few.consent = lambda n: (204, {"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "60"})
    endpoints = "".join(f"      {name}: {{url: '{r.url}?x=1', secrets: [{SECRET}]{rate}}}\n" for name, r, rate in (("late", late, ", rate: 20"), ("never", never, ""), ("few", few, "")))
    daemon = local_bridge.run(HTTP_SOURCE + f"sinks:\n  crm:\n    type: webhook\n    topics: [$EVENTS]\n    validate_origin: events.example.com\n"
                              f"    retry: []\n    endpoints:\n{endpoints}" + DEAD_LETTERS)
    ids = {f"event-number-{i}-of-many" for i in range(10)}
    post_ok(daemon, *map(event, sorted(ids)))
    late.delivered(ids)
    assert len(late.asked) == 2 and len(few.asked) == 1 and never.all() == []
    for receiver, rate in ((late, "1200"), (few, None)):
        assert {(r["webhook-request-origin"], r.get("webhook-request-rate")) for r in receiver.asked} == {("events.example.com", rate)}
        assert not any(name in r for r in receiver.asked for name in ("webhook-signature", "content-type", "authorization"))
    few.arrived(1)
    assert {r["headers"]["webhook-request-origin"] for r in late.all() + few.all()} == {"events.example.com"}
    found = {d["endpoint"]: d["held"] for d in json.loads(local_bridge.command("status", "--json", "--sink", "crm").stdout)["sinks"][0]["destinations"]}
    why = 'no consent to events of events.example.com: it allows the origin "other.example.com" alone'
    assert found["never"]["reason"] == why and found["late"] is None and found["few"] is None
    text = local_bridge.command("status", "--sink", "crm").stdout
    assert re.search(rf"    gets nothing for \S+: {re.escape(why)}", text), text
    assert daemon.metric("aqueduct_sink_attempts_total", sink="crm", endpoint="never") == 0
    assert daemon.metric("aqueduct_sink_attempts_total", sink="crm", endpoint="late") == len(ids)
    wait_for(lambda: daemon.metric("aqueduct_sink_throttled_total", sink="crm", endpoint="few") > 0)       # one a second
    assert daemon.metric("aqueduct_sink_throttled_total", sink="crm", endpoint="never") == 0
    assert local_bridge.dead() == []
    daemon.stop()


def test_gone_means_no_retry(setup):
    s = setup(path="/as/410", sink="retry: [10ms, 10ms]")
    s.post(id="event-for-nobody")
    dead = wait_for(s.dead_json)
    assert dead[0]["attempts"] == 1 and dead[0]["status"] == 410
    assert len(s.ledger()) == 1
    assert s.stop() == 0


@pytest.mark.parametrize("mode, words", [("reset", "connection lost"), ("hang", "timeout after 300 ms"), ("close", "connection lost")])
def test_silence_is_unavailable(setup, mode, words):
    s = setup(path=f"/as/{mode}", sink="retry: []\n    timeout: 300ms")
    s.post(id="event-without-answer")
    dead = wait_for(s.dead_json)
    assert dead[0]["class"] == "unavailable" and dead[0]["status"] is None and dead[0]["reason"].startswith(words)
    assert s.stop() == 0


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for 127.0.0.1: (certificate file, key file)."""
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=test",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", pem], check=True, capture_output=True)
    return pem, key


def test_tls_is_verified(setup, certificate):
    s = setup(sink="retry: []", receiver=[f"--tls-certificate={certificate[0]}", f"--tls-key={certificate[1]}"])
    s.post(id="event-over-untrusted-tls")
    dead = wait_for(s.dead_json)
    assert dead[0]["class"] == "unavailable" and dead[0]["reason"].startswith("TLS: the certificate is not trusted: self-signed certificate")
    assert s.ledger() == []
    assert s.stop() == 0


def test_tls_with_an_authority_of_ones_own(setup, certificate):
    s = setup(sink=f"ca_file: {certificate[0]}", receiver=[f"--tls-certificate={certificate[0]}", f"--tls-key={certificate[1]}"])
    s.post(id="event-over-trusted-tls")
    assert s.arrived(1)[0]["verified"]
    assert s.stop() == 0
