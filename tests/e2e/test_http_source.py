# SPDX-License-Identifier: MIT
"""The HTTP source: who is let in, what is answered, and that 2xx means stored."""
import base64
import contextlib
import gzip
import hashlib
import hmac
import http.client
import json
import os
import random
import re
import signal
import ssl
import subprocess
import threading
import time
from urllib.parse import urlencode

import anythingllm_app
import pytest
import requests

from conftest import (DEAD_LETTERS, HTTP_SOURCE, OTHER_SECRET, SECRET, TOKEN, demo_receiver, event, paused, post, post_ok, wait_for, webhook_sink)

PATHS = f"""
sources:
  hooks:
    type: http
    listen: 127.0.0.1:0
    max_body: 4KiB
    paths:
      - {{path: /standard, verify: {{scheme: standard, secrets: [{SECRET}]}}}}
      - {{path: /github, verify: {{scheme: github, secrets: [{OTHER_SECRET}]}}}}
      - {{path: /v1, ce_source: any, verify: {{scheme: bearer, secrets: [{TOKEN}, a-second-token-while-rotating]}}}}
      - {{path: /open, ce_source: any, verify: {{scheme: none}}}}
      - {{path: /below, verify: {{scheme: none}}}}
routes:
  - {{filter: {{not: {{prefix: {{type: unwanted.}}}}}}, topic: $EVENTS}}
sinks:
"""


def standard_headers(ident, body, secret=SECRET, at=None):
    stamp = str(int(at or time.time()))
    mac = hmac.new(demo_receiver.key_of(secret), f"{ident}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": ident, "webhook-timestamp": stamp, "webhook-signature": "v1," + base64.b64encode(mac).decode(), "Content-Type": "application/json"}


def github_headers(ident, body, secret=OTHER_SECRET, kind="push"):
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(), "X-GitHub-Delivery": ident,
            "X-GitHub-Event": kind, "Content-Type": "application/json"}


def send(daemon, path, body=b"", headers=None, method="POST"):
    return requests.request(method, f"http://127.0.0.1:{daemon.port('hooks')}{path}", data=body, headers=headers or {}, timeout=60)


@pytest.mark.threads
def test_each_scheme_lets_the_right_ones_in(bridge, receiver):
    daemon = bridge.run(PATHS + webhook_sink("crm", receiver.url))
    body = json.dumps({"action": "opened", "text": "Grüße 😀", "amount": 1.10}).encode()
    token = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    good = [
        ("/standard", standard_headers("msg-1", body)),
        ("/github", github_headers("github-1", body)),
        ("/v1", {**token, "Idempotency-Key": "bearer-1"}),
        ("/v1", {**token, "Authorization": "Bearer a-second-token-while-rotating", "Idempotency-Key": "bearer-2"}),
        ("/open", {"Content-Type": "application/json", "Idempotency-Key": "open-1"}),
    ]
    for path, headers in good:
        answer = send(daemon, path, body, headers)
        assert answer.status_code == 202, answer.text
    bad = [
        ("/standard", standard_headers("msg-2", body, secret=OTHER_SECRET)),
        ("/standard", {**standard_headers("msg-3", body), "webhook-id": "msg-4"}),
        ("/standard", standard_headers("msg-5", body, at=time.time() - 3600)),
        ("/standard", {"Content-Type": "application/json"}),
        ("/github", github_headers("github-2", body, secret="wrong")),
        ("/github", {**github_headers("github-3", body), "X-Hub-Signature-256": "sha256=zz"}),
        ("/v1", {**token, "Authorization": "Bearer wrong"}),
        ("/v1", {"Content-Type": "application/json"}),
    ]
    for path, headers in bad:
        answer = send(daemon, path, body, headers)
        assert answer.status_code == 401, (path, headers)
        assert answer.json()["detail"] == "the request could not be verified"
    receiver.delivered({"msg-1", "github-1", "bearer-1", "bearer-2", "open-1"})
    assert len(receiver.all()) == 5
    events = {r["id"]: json.loads(r["body"]) for r in receiver.all()}
    assert events["github-1"]["type"] == "github.push" and events["msg-1"]["type"] == "webhook.received"
    assert all(e["data"] == json.loads(body) and e["source"].startswith("/http/hooks/") for e in events.values())
    assert b'"amount": 1.1' in receiver.all()[0]["body"]        # byte for byte
    assert daemon.metric("aqueduct_http_refused_total", source="hooks") == len(bad)
    assert TOKEN not in daemon.log() and SECRET not in daemon.log()


def test_a_repeat_is_answered_and_not_published_twice(bridge, receiver):
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    daemon = bridge.start()
    for again in range(3):
        assert post(daemon, event("order-1")).json() == {"id": "order-1", **({"repeat": True} if again else {})}
    assert post(daemon, event("order-1", source="/another")).status_code == 202     # the same id of another source is another event
    post_ok(daemon, event("order-2"))
    wait_for(lambda: len(receiver.good()) >= 3)
    assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == 2
    daemon.stop()
    daemon = bridge.start()
    assert post(daemon, event("order-1")).json() == {"id": "order-1", "repeat": True}
    post_ok(daemon, event("order-3"))
    receiver.delivered({"order-1", "order-2", "order-3"})
    assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == 1
    assert sorted((r["id"], r["source"]) for r in receiver.all()) == [("order-1", "/another"), ("order-1", "/e2e"), ("order-2", "/e2e"), ("order-3", "/e2e")]


@pytest.mark.threads
def test_several_threads_store_each_id_once(local_bridge, receiver):
    """Six senders post the same ids in orders of their own, so that one id comes to several threads at the same moment."""
    threads, count = 3, 60
    local_bridge.configure(HTTP_SOURCE.replace("type: http\n", f"type: http\n    threads: {threads}\n") + "sinks:\n" + webhook_sink("crm", receiver.url))
    daemon = local_bridge.start()
    answers, ids = [], [f"of-several-{n}" for n in range(count)]

    def sender(number):
        mine = random.Random(number).sample(ids, count)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", daemon.port("hooks"), timeout=60)) as connection:
            for ident in mine:
                connection.request("POST", "/v1", json.dumps(event(ident)), {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents+json"})
                answer = connection.getresponse()
                answers.append((answer.status, json.loads(answer.read())))
    senders = [threading.Thread(target=sender, args=(n,)) for n in range(2 * threads)]
    for one in senders:
        one.start()
    for one in senders:
        one.join()
    assert sorted(a["id"] for status, a in answers if status == 202) == sorted(2 * threads * ids)
    receiver.delivered(set(ids))
    assert daemon.metric("aqueduct_source_stored_total", source="hooks") == 2 * threads * count
    assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == (2 * threads - 1) * count
    daemon.stop()
    daemon = local_bridge.start()       # the memory comes back for all of them
    for ident in random.sample(ids, 6):
        assert post(daemon, event(ident)).json() == {"id": ident, "repeat": True}
    assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == 6
    daemon.stop()
    assert sorted(r["id"] for r in receiver.all()) == sorted(ids)


def test_nobody_makes_anothers_event_vanish(bridge, receiver):
    """One sender uses the id, and even the source, that another's event will have."""
    daemon = bridge.run(PATHS + webhook_sink("crm", receiver.url))
    forged = {"ce-specversion": "1.0", "ce-source": "/http/hooks/standard", "ce-id": "msg_77", "ce-type": "forged", "Content-Type": "application/json"}
    answer = send(daemon, "/below", b"{}", forged)
    assert answer.status_code == 403 and "is not this path's" in answer.json()["detail"]
    assert daemon.metric("aqueduct_http_foreign_sources_total", path="/below") == 1
    assert send(daemon, "/open", b"{}", forged).status_code == 202         # whose path says `any`
    real = b'{"invoice": 77}'
    assert send(daemon, "/standard", real, standard_headers("msg_77", real)).status_code == 202
    wait_for(lambda: len(receiver.good()) == 2)
    daemon.stop()
    daemon = bridge.start()
    assert send(daemon, "/standard", real, standard_headers("msg_77", real)).status_code == 202
    other = b'{"invoice": 78}'
    assert send(daemon, "/standard", other, standard_headers("msg_77", other)).status_code == 409
    for status, body in ((202, b'{"n": 1}'), (202, b'{"n": 1}'), (422, b'{"n": 2}')):
        key = {"Idempotency-Key": '"k-1"', "Content-Type": "application/json"}
        assert send(daemon, "/below", body, key).status_code == status
    assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == 2
    assert daemon.metric("aqueduct_source_refused_total", source="hooks", reason="conflict") == 2
    wait_for(lambda: len(receiver.good()) == 3)
    assert sorted(json.loads(r["body"])["type"] for r in receiver.all()) == ["forged", "webhook.received", "webhook.received"]
    assert len({r["webhook_id"] for r in receiver.all()}) == 3             # a receiver that remembers them takes all three, too


def test_a_signature_covers_what_becomes_the_event(bridge, receiver):
    """A captured request, with attributes in headers that its signature does not cover."""
    daemon = bridge.run(PATHS + webhook_sink("crm", receiver.url))
    body = b'{"action": "opened"}'
    forged = {"ce-specversion": "1.0", "ce-source": "/http/hooks/github", "ce-id": "forged", "ce-type": "admin.deleted"}
    for path, headers in (("/standard", standard_headers("msg-1", body)), ("/github", github_headers("github-1", body))):
        answer = send(daemon, path, body, {**headers, **forged})
        assert answer.status_code == 415 and "not signed" in answer.json()["detail"]
        assert send(daemon, path, body, headers).status_code == 202
    receiver.delivered({"msg-1", "github-1"})
    assert len(receiver.all()) == 2


def test_a_resent_request_does_not_take_the_real_ones_place(bridge, receiver):
    """A captured request under another content type, first of all: it is refused, and the real one is stored."""
    daemon = bridge.run(PATHS + webhook_sink("crm", receiver.url))
    body = json.dumps(event("inner")).encode()
    for path, headers in (("/standard", standard_headers("msg-1", body)), ("/github", github_headers("github-1", body))):
        for kind in ("application/cloudevents+json", "text/plain"):
            assert send(daemon, path, body, {**headers, "Content-Type": kind}).status_code == 415
        assert daemon.metric("aqueduct_http_requests_total", path=path, status="415") == 2
        for kind in ("application/json", "application/json; charset=utf-8"):
            assert send(daemon, path, body, {**headers, "Content-Type": kind}).status_code == 202
    receiver.delivered({"msg-1", "github-1"})
    assert len(receiver.all()) == 2
    assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == 2


def test_a_captured_body_takes_no_id_that_is_not_signed(bridge, receiver):
    paths = PATHS.replace("{path: /standard,", "{path: /standard, id_header: X-Order,")
    daemon = bridge.run(paths + webhook_sink("crm", receiver.url))
    old, real = b'{"order": 1}', b'{"order": 2}'
    for path, headers in (("/standard", lambda n, body: standard_headers(n, body) | {"X-Order": "order-2"}), ("/github", lambda n, body: github_headers("d-2", body))):
        assert send(daemon, path, old, headers("m-1", old)).status_code == 202
        assert send(daemon, path, real, headers("m-2", real)).status_code == 202
        assert send(daemon, path, real, headers("m-3", real)).status_code == 202    # a repeat stays one
    wait_for(lambda: len(receiver.all()) >= 4)
    assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == 2
    assert len({r["headers"]["webhook-id"] for r in receiver.all()}) == 4     # a receiver that knows repeats by it takes all of them


def test_mapped_bodies_that_are_sent_again_are_repeats(bridge, receiver):
    """All events of a body under their own ids; and a map of headers that nobody signed takes nobody's place."""
    paths = PATHS.replace("    paths:\n", f"""    paths:
      - {{path: /runs, preset: langsmith, verify: {{scheme: bearer, secrets: [{TOKEN}]}}}}
      - path: /kinds
        verify: {{scheme: github, secrets: [{OTHER_SECRET}]}}
        app: git
        id: :body->>'$.n'
        map: [{{type: audit.logged, data: {{audit.action: ":headers->>'$.x-github-event'"}}}}]
""")
    daemon = bridge.run(paths + webhook_sink("crm", receiver.url))
    token = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    runs = json.dumps({"runs": [{"id": run, "is_root": True, "status": "success", "end_time": "2026-11-20T10:00:00"} for run in "xyz"]}).encode()
    assert send(daemon, "/runs", runs, token).json() == {"accepted": 3}
    assert send(daemon, "/runs", runs, token).json() == {"accepted": 3}
    body = b'{"n": 7}'
    for kind in ("forged", "push", "push"):
        assert send(daemon, "/kinds", body, github_headers("d-1", body, kind=kind)).json()["id"] == "7"
    wait_for(lambda: len(receiver.all()) >= 5)
    assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == 4
    daemon.stop()
    daemon = bridge.start()
    assert send(daemon, "/runs", runs, token).json() == {"accepted": 3}
    assert send(daemon, "/kinds", body, github_headers("d-1", body)).json()["id"] == "7"
    assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == 4
    told = sorted(json.loads(r["body"])["subject"] if b"run.finished" in r["body"] else json.loads(r["body"])["data"]["audit"]["action"] for r in receiver.all())
    assert told == ["forged", "push", "runs/x", "runs/y", "runs/z"]


def test_bodies_as_senders_have_them(bridge, receiver, node, tmp_path):
    """GitHub's form, signed by its own library; plain messages, compressed by curl's user; a path whose last part is the type."""
    paths = PATHS.replace("    paths:\n", f"""    paths:
      - {{path: /messages, preset: message, answer: {{status: 200, body: thanks}}, verify: {{scheme: bearer, secrets: [{TOKEN}]}}}}
      - {{path: "/v1/kotaemon/{{event}}", type: "kotaemon.{{{{path.event}}}}", verify: {{scheme: none}}}}
""")
    daemon = bridge.run(paths + webhook_sink("crm", receiver.url))
    token = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    data = {"action": "opened", "title": "a & b = ü"}
    form = urlencode({"payload": json.dumps(data)})
    signature, = node("styles.mjs", [{"sign": form, "secret": OTHER_SECRET}])
    headers = {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": "form-1", "X-GitHub-Event": "issues"}
    assert send(daemon, "/github", form, {**headers, "Content-Type": "application/x-www-form-urlencoded"}).json() == {"id": "form-1"}
    message = {"event_id": "message-1", "type": "order_shipped", "content": "x" * 2000, "sessionId": "s-1"}
    (tmp_path / "body.gz").write_bytes(gzip.compress(json.dumps(message).encode()))
    for _ in range(2):
        said = subprocess.run(["curl", "-sS", "-w", " %{http_code}", "-H", f"Authorization: Bearer {TOKEN}", "-H", "Content-Type: application/json", "-H", "Content-Encoding: gzip",
                               "--data-binary", f"@{tmp_path / 'body.gz'}", f"http://127.0.0.1:{daemon.port('hooks')}/messages"], capture_output=True, text=True, timeout=60)
        assert said.stdout == "thanks 200"
    assert send(daemon, "/messages", json.dumps({**message, "content": ""}).encode(), token).status_code == 409
    for _ in range(2):          # nobody said that a body brings its id
        assert send(daemon, "/v1/kotaemon/answer", b'{"event_id": "turn-1"}', {"Content-Type": "application/json"}).json()["id"] == "turn-1"
    receiver.delivered({"form-1", "message-1", "turn-1"})
    assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == 2
    events = {r["id"]: json.loads(r["body"]) for r in receiver.all()}
    assert len(receiver.all()) == 3 and events["form-1"]["data"] == data
    assert [events[ident]["type"] for ident in ("form-1", "message-1", "turn-1")] == ["github.issues", "order_shipped", "kotaemon.answer"]
    assert events["message-1"]["subject"] == "s-1" and events["message-1"]["data"] == message


def test_an_open_path_does_not_make_the_bridge_forget_a_signed_one(bridge, receiver):
    daemon = bridge.run(PATHS.replace("max_body: 4KiB", "max_body: 4KiB\n    dedupe_size: 10") + webhook_sink("crm", receiver.url))
    assert send(daemon, "/standard", b"{}", standard_headers("m-1", b"{}")).status_code == 202
    for i in range(30):
        assert send(daemon, "/open", b"{}", {"Content-Type": "application/json", "Idempotency-Key": f"open-{i}"}).status_code == 202
    assert send(daemon, "/standard", b"{}", standard_headers("m-1", b"{}")).status_code == 202
    assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == 1


def test_an_address_is_limited_and_its_requests_are_told_of(bridge, receiver):
    """Who sends too much hears when to come again; what came of each request is an event that is delivered like any other."""
    more = "max_body: 4KiB\n    limits: {per_address: {rate: 0.001, burst: 3}}\n    request_log: {requests: all, headers: [User-Agent]}"
    daemon = bridge.run(PATHS.replace("max_body: 4KiB", more) + webhook_sink("crm", receiver.url, "body: structured"))
    answers = [send(daemon, "/standard", b"{}", standard_headers(f"m-{i}", b"{}", OTHER_SECRET if i == 1 else SECRET)) for i in range(5)]
    assert [a.status_code for a in answers] == [202, 401, 202, 429, 429]
    assert 900 <= int(answers[3].headers["Retry-After"]) <= 1000

    def told():
        events = [json.loads(r["body"]) for r in receiver.good()]
        return [e["data"] for e in events if e["type"] == "http.request.logged"]
    wait_for(lambda: len(told()) == 5)
    outcomes = sorted((t["status"], t["outcome"], t.get("verification"), t.get("event")) for t in told())
    assert outcomes[:3] == [(202, "stored", "verified", "m-0"), (202, "stored", "verified", "m-2"), (401, "unverified", "mismatch", None)]
    assert outcomes[3:] == [(429, "limited", None, None)] * 2
    assert all(t["address"].startswith("127.0.0.1:") and "python" in t["headers"]["User-Agent"] for t in told())
    assert daemon.metric("aqueduct_http_limited_total", source="hooks", path="/standard", limit="address") == 2


def test_batches_and_binary_mode(bridge, receiver):
    daemon = bridge.run(PATHS + webhook_sink("crm", receiver.url, "body: structured"))
    answer = post(daemon, [event(f"of-a-batch-{i}", data={"n": i}) for i in range(5)])
    assert (answer.status_code, answer.json()) == (202, {"accepted": 5})
    binary = {"ce-specversion": "1.0", "ce-id": "binary-1", "ce-source": "/e2e", "ce-type": "thing.happened", "ce-subject": "caf%C3%A9",
              "ce-myextension": "x", "Content-Type": "text/plain", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    assert send(daemon, "/open", "plain text €".encode(), binary).status_code == 202
    answer = post(daemon, [event("mixed-1"), event("mixed-2", "unwanted.thing"), event("mixed-3")])
    assert answer.status_code == 422 and answer.json()["accepted"] == 2
    receiver.delivered({*(f"of-a-batch-{i}" for i in range(5)), "binary-1", "mixed-1", "mixed-3"})
    got = next(json.loads(r["body"]) for r in receiver.good() if r["id"] == "binary-1")
    assert got["data"] == "plain text €" and got["subject"] == "café" and got["myextension"] == "x"
    assert got["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert post(daemon, []).json() == {"accepted": 0}


def test_http2_is_taken_like_http1(local_bridge, receiver, tmp_path):
    """curl over TLS (ALPN) and without (prior knowledge), and h2load with eight requests at a time."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
                    "-keyout", tmp_path / "key.pem", "-out", tmp_path / "crt.pem"], check=True, capture_output=True)
    (tmp_path / "key.pem").chmod(0o600)
    secure = PATHS.replace("sources:\n  hooks:", "  secure:").split("routes:")[0].replace("listen:", "tls_certificate: crt.pem\n    tls_key: key.pem\n    listen:")
    secure = secure.replace("- {path: ", "- {path: /secure")
    daemon = local_bridge.run(PATHS.replace("routes:", secure.strip("\n") + "\nroutes:") + webhook_sink("crm", receiver.url))

    def curl(*words):
        done = subprocess.run(["curl", "-sk", "-w", "%{http_version} %{response_code}", "-o", "/dev/null", "-H", "Content-Type: application/cloudevents+json",
                               *words], stdout=subprocess.PIPE, text=True, timeout=60)
        return done.stdout

    plain, over_tls = f"http://127.0.0.1:{daemon.port('hooks')}", f"https://127.0.0.1:{daemon.port('secure')}/secure"
    known = ["--http2-prior-knowledge", "-d"]
    assert curl(*known, json.dumps(event("known")), plain + "/open") == "2 202"
    assert curl("--http2", "-d", json.dumps(event("chosen") | {"source": "/e2e"}), over_tls + "/open") == "2 202"
    assert curl("--http1.1", "-d", json.dumps(event("older") | {"source": "/e2e"}), over_tls + "/open") == "1.1 202"
    assert curl(*known, "{}", plain + "/v1") == "2 401"
    assert curl(*known, "{", plain + "/open") == "2 400"
    assert curl(*known, "x" * 5000, plain + "/open") == "2 413"
    receiver.delivered({"known", "chosen", "older"})
    (tmp_path / "body").write_text('{"n": 1}')
    load = subprocess.run(["h2load", "-n", "200", "-c", "2", "-m", "8", "-d", tmp_path / "body", "-H", "Content-Type: application/json", plain + "/open"],
                          stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    assert "status codes: 200 2xx, 0 3xx, 0 4xx, 0 5xx" in load.stdout
    wait_for(lambda: len({r["id"] for r in receiver.good()}) == 203, why=daemon.log)


def test_what_the_official_library_sends_and_reads(bridge, receiver, receivers, node):
    """Made by npm's cloudevents, through the bridge, and read by it: all attributes are there, and of their types."""
    other = receivers()
    daemon = bridge.run(PATHS + webhook_sink("crm", receiver.url, "body: structured") + webhook_sink("warehouse", other.url, "body: binary"))
    common = {"source": "https://example.com/a?b#c", "type": "thing.happened", "time": "2026-01-02T03:04:05.678Z", "subject": "s/1",
              "anattributewithalongname": "x", "datacontenttype": "application/json", "dataschema": "https://example.com/s", "data": {"n": 1.5, "list": [1, None]}}
    made = {"sdk-structured-000000001": ("structured", {**common, "count": 17, "flag": True, "text": "17"}),
            "sdk-binary-00000000000001": ("binary", {**common, "text": "17"}),
            "sdk-marked-00000000000001": ("structured", {**common, "flag": False})}
    posts = [json.loads(line) for line in node("http.mjs", [{"make": {"id": i, **more}, "mode": mode} for i, (mode, more) in made.items()])]
    for ident, request in zip(made, posts):
        mark = b"\xef\xbb\xbf" if "marked" in ident else b""
        answer = send(daemon, "/open", mark + request["body"].encode(), request["headers"])
        assert answer.status_code == 202, answer.text
    for at, typed in ((receiver, True), (other, False)):
        wait_for(lambda: len(at.good()) == 3)
        read = [json.loads(line) for line in node("http.mjs", [{"read": {"headers": r["headers"], "body": r["body"].decode()}} for r in at.all()])]
        for event in read:
            wanted = {k: v if typed or k == "data" or isinstance(v, str) else json.dumps(v) for k, v in made[event["id"]][1].items()}
            assert {k: event.get(k) for k in wanted} == wanted
    bad = json.dumps({"specversion": "1.0", "id": "1", "source": "my app", "type": "t"}).encode()     # the library would throw at it
    answer = send(daemon, "/open", bad, {"Content-Type": "application/cloudevents+json"})
    assert answer.status_code == 400 and "URI reference" in answer.json()["detail"]


def test_what_cannot_be_taken_is_refused_and_says_why(bridge, receiver):
    daemon = bridge.run(PATHS + webhook_sink("crm", receiver.url) + DEAD_LETTERS)
    json_type = {"Content-Type": "application/json"}
    cases = [
        (404, send(daemon, "/nothing", b"{}", json_type)),
        (405, send(daemon, "/open", method="GET")),
        (405, send(daemon, "/open", b"{}", json_type, method="PUT")),
        (413, send(daemon, "/open", b'"' + b"x" * 5000 + b'"', json_type)),
        (415, send(daemon, "/open", b"{}", {**json_type, "Content-Encoding": "br"})),
        (400, send(daemon, "/open", b"{}", {**json_type, "Content-Encoding": "gzip"})),
        (400, send(daemon, "/open", b"{not json", json_type)),
        (400, send(daemon, "/open", b"", json_type)),
        (400, send(daemon, "/open", b'{"specversion": "1.0"}', {"Content-Type": "application/cloudevents+json"})),
        (400, send(daemon, "/open", b"[1]", {"Content-Type": "application/cloudevents-batch+json"})),
        (422, post(daemon, event("nobody-wants-it", "unwanted.thing"))),
    ]
    for status, answer in cases:
        assert answer.status_code == status, (status, answer.status_code, answer.text)
        assert answer.headers["Content-Type"] == "application/problem+json" and answer.json()["status"] == status
        assert answer.json()["detail"]
    assert cases[1][1].headers["Allow"] == "POST, OPTIONS"
    post_ok(daemon, event("the-daemon-lives"))
    receiver.delivered({"the-daemon-lives"})
    assert len(receiver.all()) == 1
    assert daemon.metric("aqueduct_source_refused_total", source="hooks", reason="unrouted") == 1


def test_unrouted_may_be_dropped(bridge, receiver):
    daemon = bridge.run("unrouted: drop\n" + PATHS + webhook_sink("crm", receiver.url))
    assert post(daemon, event("nobody-wants-it", "unwanted.thing")).status_code == 202
    post_ok(daemon, event("wanted"))
    receiver.delivered({"wanted"})
    assert daemon.metric("aqueduct_source_refused_total", source="hooks", reason="dropped") == 1
    assert len(receiver.all()) == 1


# ---- a broker that cannot store ----

@pytest.fixture
def outage(bridge, tmp_path):
    """A context during which the broker stores nothing: Kafka is stopped, or the embedded log's disk is full."""
    if bridge.kind == "kafka":
        yield lambda: paused(bridge.kafka)
        return
    folder, ballast = tmp_path / "data", tmp_path / "data/ballast"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not allowed here")

    class Full:
        def __enter__(self):
            with open(ballast, "wb", buffering=0) as f:
                try:
                    while f.write(b"x" * 4096):
                        pass
                except OSError:
                    pass

        def __exit__(self, *_):
            ballast.unlink()
    yield Full
    bridge.end()
    subprocess.run(["umount", folder], check=True)


def test_an_outage_of_the_broker_loses_nothing(bridge, outage, receiver, tmp_path):
    app = anythingllm_app.App(str(tmp_path / "app.db"), seed=5)
    daemon = bridge.run(f"""
sources:
  hooks:
    type: http
    listen: 127.0.0.1:0
    wait: 500ms
    paths: [{{path: /v1, ce_source: any, verify: {{scheme: bearer, secrets: [{TOKEN}]}}}}]
  app: {{type: sqlite, path: {tmp_path}/app.db, preset: anythingllm}}
routes: [{{topic: $EVENTS}}]
sinks:
""" + webhook_sink("crm", receiver.url)).watching()
    post_ok(daemon, *(event(f"before-{i}") for i in range(5)))
    acknowledged, refused = {f"before-{i}" for i in range(5)}, set()
    filler = "x" * 20000
    with outage():
        def refuses():
            ident = f"during-{len(acknowledged) + len(refused)}"
            answer = post(daemon, event(ident, data=filler))
            (acknowledged if answer.status_code == 202 else refused).add(ident)
            assert answer.status_code in (202, 503)
            return answer.status_code == 503
        wait_for(refuses)
        answer = post(daemon, event("during-the-outage", data=filler))
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
        refused.add("during-the-outage")
        for _ in range(20):
            app.log("invite_created", {"text": filler})
        assert daemon.alive()
        if bridge.kind == "local":
            assert re.search(r"broken .*cannot be written: No space left on device -- make room, or bound the topics", bridge.command("doctor").stdout)
    wait_for(lambda: post(daemon, event("after-1")).status_code == 202, 60, daemon.log)
    post_ok(daemon, *(event(ident, data=filler) for ident in refused))      # as a sender does
    receiver.delivered(acknowledged | refused | {"after-1"})
    rows = {f"event_logs/{i}" for i in range(1, 21)}
    wait_for(lambda: rows <= {r["subject"] for r in receiver.good()}, why=lambda: rows - {r["subject"] for r in receiver.good()})
    for r in receiver.all():
        assert r["arrival"] == 1, "nothing failed on the receiver's side, and repeats are known by their id"
    wait_for(lambda: daemon.page("/readyz").status_code == 200)
    daemon.stop()


def test_max_size_of_the_local_log(local_bridge, receiver):
    local_bridge.broker_more = ", max_size: 1MiB"
    text = HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url)
    daemon = local_bridge.run(text)
    taken = []

    def full():
        answer = post(daemon, event(f"number-{len(taken)}", data="x" * 50000))
        taken.append(answer.status_code)
        return answer.status_code == 503
    wait_for(full)
    assert set(taken[:-1]) == {202} and len(taken) > 5
    daemon.stop()
    local_bridge.broker_more = ""
    daemon = local_bridge.run(text)
    assert post(daemon, event(f"number-{len(taken) - 1}")).status_code == 202
    receiver.delivered(f"number-{i}" for i in range(len(taken)))


# ---- certificates ----

def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def self_signed(folder, name, subject="/CN=127.0.0.1"):
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", subject,
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}.key", "-out", f"{name}.crt")
    os.chmod(folder / f"{name}.key", 0o600)


def of_authority(folder, name, san):
    (folder / "san").write_text(f"subjectAltName={san}")
    openssl(folder, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
            "-out", f"{name}.csr")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san",
            "-out", f"{name}.crt")


def curl(folder, url, trusted, *words):
    """The status that curl got; 0: it got none."""
    done = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", trusted, "-H", "Content-Type: application/json", "-d", "{}",
                           *words, url], cwd=folder, capture_output=True, text=True, timeout=60)
    return int(done.stdout)


def test_senders_show_certificates_and_ours_is_replaced(local_bridge):
    folder = local_bridge.folder
    for name in ("ca", "one", "two"):
        self_signed(folder, name)
    of_authority(folder, "shop", "DNS:shop.example.com")
    of_authority(folder, "other", "DNS:other.example.org")
    daemon = local_bridge.run("""
sources:
  hooks:
    type: http
    listen: 127.0.0.1:0
    tls_certificate: $FOLDER/one.crt
    tls_key: $FOLDER/one.key
    tls_client_ca: $FOLDER/ca.crt
    paths:
      - {path: /v1, verify: {scheme: certificate, san: ["*.example.com"]}}
routes:
  - topic: $EVENTS
""")
    url, shop = f"https://127.0.0.1:{daemon.port('hooks')}/v1", ("--cert", "shop.crt", "--key", "shop.key")
    assert curl(folder, url, "one.crt", *shop) == 202
    assert curl(folder, url, "one.crt", "--cert", "other.crt", "--key", "other.key") == 401
    assert curl(folder, url, "one.crt") == 0
    assert 'msg="no TLS handshake"' in daemon.log() and "peer did not return a certificate" in daemon.log()
    context = ssl.create_default_context(cafile=folder / "one.crt")
    context.load_cert_chain(folder / "shop.crt", folder / "shop.key")
    open_one = http.client.HTTPSConnection("127.0.0.1", daemon.port("hooks"), context=context, timeout=60)

    def posts():
        open_one.request("POST", "/v1", "{}", {"Content-Type": "application/json"})
        answer = open_one.getresponse()
        answer.read()
        return answer.status
    assert posts() == 202
    for kind in ("crt", "key"):
        os.replace(folder / f"two.{kind}", folder / f"one.{kind}.new")
        os.replace(folder / f"one.{kind}.new", folder / f"one.{kind}")
    daemon.process.send_signal(signal.SIGHUP)
    (folder / "two.crt").write_bytes((folder / "one.crt").read_bytes())
    wait_for(lambda: curl(folder, url, "two.crt", *shop) == 202, why=daemon.log)
    assert posts() == 202               # what is open goes on, with what it began with
    assert 'msg="files were read again" what=tls' in daemon.log()


def test_a_proxy_says_whose_a_connection_is(local_bridge):
    daemon = local_bridge.run("""
sources:
  hooks:
    type: http
    listen: 127.0.0.1:0
    trusted_proxies: [127.0.0.1]
    proxy_protocol: true
    requests: all
    paths:
      - {path: /v1, verify: {scheme: none}}
routes:
  - topic: $EVENTS
""")
    url = f"http://127.0.0.1:{daemon.port('hooks')}/v1"
    assert curl(local_bridge.folder, url, "/dev/null", "--haproxy-protocol", "-H", "X-Forwarded-For: 192.0.2.7") == 202
    wait_for(lambda: "peer=192.0.2.7 " in daemon.log(), why=daemon.log)
    assert curl(local_bridge.folder, url, "/dev/null") == 0
    wait_for(lambda: 'msg="no PROXY header"' in daemon.log(), why=daemon.log)


def test_secrets_are_replaced(local_bridge, receiver):
    folder, first, second = local_bridge.folder, "a-first-token-of-some-length", "a-second-token-of-some-length"
    for name, text in (("token", first), ("key", SECRET)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    daemon = local_bridge.run("""
sources:
  hooks:
    type: http
    listen: 127.0.0.1:0
    paths:
      - {path: /v1, verify: {scheme: bearer, secrets: ["${file:$FOLDER/token}"]}}
routes:
  - topic: $EVENTS
sinks:
  crm: {type: webhook, topics: [$EVENTS], url: "%s", secrets: ["${file:$FOLDER/key}"], retry: [50ms, 50ms, 50ms, 50ms]}
""" % receiver.url)

    def posts(token, ident):
        return send(daemon, "/v1", b"{}", {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": ident}).status_code
    assert (posts(first, "one"), posts(second, "two")) == (202, 401)
    receiver.delivered({"one"})
    (folder / "token").write_text(second)
    (folder / "key").write_text(OTHER_SECRET)
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: posts(second, "two") == 202, why=daemon.log)
    assert posts(first, "three") == 401
    wait_for(lambda: "two" in receiver.ids(), why=daemon.log)
    assert [r["why"] is None for r in receiver.all() if r["id"] in ("one", "two")] == [True, False]     # who knows the first key alone sees that it is another
