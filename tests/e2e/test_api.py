# SPDX-License-Identifier: MIT
"""The JSON API of the running daemon: who may, what it answers, against its own description; on both brokers."""
import http.client
import json
import re
import socket
import subprocess
import threading
import uuid

import requests

from conftest import DEAD_LETTERS, HTTP_SOURCE, SECRET, TOKEN, certificate, event, free_port, post_ok, wait_for, webhook_sink

OPERATOR = "api: true, loopback: operator"


class Api:
    def __init__(self, daemon, **headers):
        self.base, self.session = f"http://127.0.0.1:{daemon.admin}", requests.Session()
        self.session.headers.update(headers)

    def ask(self, method, path, status=200, **more):
        answer = self.session.request(method, self.base + path, timeout=60, allow_redirects=False, **more)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)
        if status >= 400:
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert set(answer.json()) == {"type", "title", "status", "detail"} and answer.json()["status"] == status
        return answer

    def get(self, path, **query):
        return self.ask("GET", "/api/v1" + path, params=query).json()

    def post(self, path, body=None, status=200):
        return self.ask("POST", "/api/v1" + path, status, json=body)

    def items(self, path, **query):
        """All pages of a list."""
        found, page = [], self.get(path, **query)
        while True:
            found += page["items"]
            if not page["next"]:
                return found
            page = self.get(path, after=page["next"], **query)


def asked_by_socket(path, method, target, body=None):
    """What the control socket answers: status and body."""
    line = socket.socket(socket.AF_UNIX)
    line.connect(str(path))
    asked = http.client.HTTPConnection("localhost")
    asked.sock = line
    asked.request(method, target, body, {"Content-Type": "application/json"} if body else {})
    answer = asked.getresponse()
    return answer.status, json.loads(answer.read() or b"null")


def test_there_is_none_by_default(local_bridge, receivers):
    daemon = local_bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url))
    for path in ("/api/v1/status", "/api/v1/session", "/", "/login?code=x"):
        assert daemon.page(path).status_code == 404, path


def test_a_token_file_is_for_the_pages_as_well(local_bridge, receivers):
    tokens = local_bridge.folder / "tokens"
    tokens.write_text("viewer board a-token-of-a-board-0123\n")
    tokens.chmod(0o600)
    local_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url), admin_more=f"token_file: {tokens}")
    daemon = local_bridge.start(ready=False)
    assert daemon.page("/metrics").status_code == 401
    shown = {"Authorization": "Bearer a-token-of-a-board-0123"}
    assert requests.get(f"http://127.0.0.1:{daemon.admin}/metrics", headers=shown, timeout=10).status_code == 200
    assert requests.get(f"http://127.0.0.1:{daemon.admin}/api/v1/status", headers=shown, timeout=10).status_code == 404


def test_status_and_metrics(bridge, receivers):
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url), admin_more=OPERATOR)
    post_ok(daemon, event("e1"))
    api = Api(daemon)
    wait_for(lambda: api.get("/status")["sinks"][0]["destinations"][0]["delivered"] == 1)
    assert api.get("/status", events=5, id="e1")["sinks"][0]["events"] == []
    families = {metric["name"]: metric for metric in api.get("/metrics")["metrics"]}
    [series] = families["aqueduct_source_stored_total"]["series"]
    assert series == {"labels": {"source": "hooks"}, "value": 1}
    assert api.get("/session") == {"role": "operator", "name": "loopback", "via": "loopback"}
    wait_for(lambda: re.search(r'"rate":0\.\d*[1-9]', daemon.page("/api/v1/flow").text))
    assert not re.search(r'"rate":\d+\.\d{4}', daemon.page("/api/v1/flow").text)


def test_attempts_page_by_page(bridge, receivers):
    answers = {f"e{i}": 204 if i % 2 else 400 for i in range(10)}
    receiver = receivers(lambda request: answers[request["id"]])
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "attempts: all\nretry: []") + DEAD_LETTERS, admin_more=OPERATOR)
    post_ok(daemon, *(event(f"e{i}", "even" if i % 2 == 0 else "odd") for i in range(10)))
    api = Api(daemon)
    wait_for(lambda: len(api.get("/attempts")["items"]) == 10)
    listed = api.items("/attempts", limit=3)
    assert sorted(a["event"]["id"] for a in listed) == sorted(answers)
    assert [a["event"]["id"] for a in listed] == [a["event"]["id"] for a in api.get("/attempts")["items"]]
    assert [a["time"] for a in listed] == sorted((a["time"] for a in listed), reverse=True)
    assert {a["event"]["id"] for a in api.items("/attempts", outcome="failed", limit=2)} == {f"e{i}" for i in range(0, 10, 2)}
    assert {a["event"]["id"] for a in api.items("/attempts", type="odd")} == {f"e{i}" for i in range(1, 10, 2)}
    [one] = api.items("/attempts", event="e4", sink="crm", since="1h")
    assert (one["status"], one["end"], one["attempt"]) == (400, "dead", 1)
    assert api.items("/attempts", event="e4", until="2020-01-01T00:00:00Z") == []
    assert "is nothing" in api.ask("GET", "/api/v1/attempts?after=never", 404).json()["detail"]
    assert "did you mean outcome" in api.ask("GET", "/api/v1/attempts?outcom=x", 400).json()["detail"]


def test_an_event_is_found_and_sent_again(bridge, receivers):
    crm, audit = receivers(), receivers()
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", crm.url) + webhook_sink("audit", audit.url, "filter: {exact: {type: never}}"), admin_more=OPERATOR)
    post_ok(daemon, event("a/b c", data={"text": "<b>" + "x" * 40000}), event("raw", data_base64="AAH/"))
    crm.delivered({"a/b c", "raw"})
    api = Api(daemon)
    [found] = api.get("/events/a%2Fb%20c")["items"]
    assert (found["id"], found["type"], found["topic"], found["cut"]) == ("a/b c", "thing.happened", bridge.topic("events"), True)
    assert found["data"].startswith('{"text": "<b>xxx') or found["data"].startswith('{"text":"<b>xxx')
    assert len(found["data"]) <= 16384 < found["size"]
    [raw] = api.get("/events/raw", topic=bridge.topic("events"))["items"]
    assert (raw["data_base64"], raw["size"], raw["cut"]) == ("AAH/", 3, False)
    assert "no event with this id" in api.ask("GET", "/api/v1/events/nobody", 404).json()["detail"]
    assert "own" in api.ask("GET", f"/api/v1/events/raw?topic={bridge.name}-own.dead-letter", 404).json()["detail"]
    assert api.post("/events/raw/resend", {"sink": "audit"}, 202).json()["id"] == "raw"
    audit.delivered({"raw"})
    assert "there is no such sink" in api.post("/events/raw/resend", {"sink": "nobody"}, 409).json()["detail"]
    assert "sink: is missing" in api.post("/events/raw/resend", {}, 422).json()["detail"]


def job_of(api, answer):
    """The job of the answer, when it is through."""
    return wait_for(lambda: (job := api.get("/jobs/" + answer.json()["job"]))["state"] != "running" and job)


def test_dead_letters(bridge, receivers):
    answers = {f"e{i}": 400 for i in range(5)}
    receiver, other = receivers(lambda request: answers[request["id"]]), receivers()
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: []") + webhook_sink("other", other.url, "filter: {exact: {type: never}}")
                        + DEAD_LETTERS, admin_more=OPERATOR)
    post_ok(daemon, *(event(f"e{i}", "even" if i % 2 == 0 else "odd", data={"number": i}) for i in range(5)))
    api = Api(daemon)
    wait_for(lambda: len(api.items("/dead-letters")) == 5)
    listed = api.items("/dead-letters", limit=2)
    assert sorted(letter["id"] for letter in listed) == sorted(answers)
    assert [letter["letter"] for letter in listed] == [letter["letter"] for letter in api.items("/dead-letters")]
    [one] = api.items("/dead-letters", id="e3", **{"class": "refused"}, sink="crm")
    assert (one["type"], one["status"], one["attempts"], one["state"]) == ("odd", 400, 1, "dead")
    whole = api.get("/dead-letters/" + one["letter"])
    assert (json.loads(whole["data"]), whole["cut"], whole["id"]) == ({"number": 3}, False, "e3")
    api.ask("GET", "/api/v1/dead-letters/999999", 404)
    api.ask("GET", "/api/v1/dead-letters/x", 404)
    api.ask("GET", "/api/v1/dead-letters?after=x", 404)
    api.ask("GET", "/api/v1/dead-letters?from=nobody", 404)
    # only said
    dry = api.post("/dead-letters/redrive", {"type": "odd", "dry_run": True}).json()
    assert (dry["matched"], dry["done"], dry["refused"]) == (2, 2, 0)
    assert "one of sink|" in api.post("/dead-letters/redrive", {"dry_run": True}, 422).json()["detail"]
    assert "can only be true" in api.post("/dead-letters/redrive", {"all": False}, 422).json()["detail"]
    # redriven where they came from
    answers.update(e1=204, e3=204)
    job = job_of(api, api.post("/dead-letters/redrive", {"type": "odd"}, 202))
    assert (job["state"], job["done"], job["of"], job["error"], job["operation"]) == ("done", 2, 2, None, "redriveDeadLetters")
    receiver.delivered({"e1", "e3"})
    assert {letter["id"] for letter in api.items("/dead-letters", state="redriven")} == {"e1", "e3"}
    assert {letter["id"] for letter in api.items("/dead-letters")} == {"e0", "e2", "e4"}
    assert {letter["id"] for letter in bridge.dead()} == {"e0", "e2", "e4"}
    # and to another place
    job = job_of(api, api.post("/dead-letters/redrive", {"id": "e0", "to": "other"}, 202))
    assert job["result"]["done"] == 1
    other.delivered({"e0"})
    job = job_of(api, api.post("/dead-letters/redrive", {"all": True, "to": "nobody"}, 202))
    assert job["state"] == "failed" and "there is no such sink" in job["error"]
    # given up
    job = job_of(api, api.post("/dead-letters/discard", {"id": "e2"}, 202))
    assert (job["state"], job["result"]["done"]) == ("done", 1)
    assert {letter["id"] for letter in bridge.dead("--state", "discarded")} == {"e2"}
    assert [job["operation"] for job in api.items("/jobs")] == ["discardDeadLetters"] + 3 * ["redriveDeadLetters"]
    api.ask("GET", "/api/v1/jobs/99", 404)
    assert "msg=audit operation=discardDeadLetters who=loopback" in daemon.log()


class Tail:
    """An event stream that is read by a thread."""

    def __init__(self, api, **query):
        headers = {"Last-Event-ID": query.pop("last")} if "last" in query else {}
        self.events, self.missed, self.ids, self.ended = [], 0, [], None
        self.answer = api.session.get(api.base + "/api/v1/tail", params=query, headers=headers, stream=True, timeout=60)
        assert self.answer.status_code == 200, self.answer.text
        assert self.answer.headers["Content-Type"] == "text/event-stream"
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        kind = None
        try:
            for line in self.answer.iter_lines(chunk_size=1):
                name, _, value = line.decode().partition(": ")
                if name == "event":
                    kind = value
                elif name == "id":
                    self.ids.append(value)
                elif name == "data" and kind == "event":
                    self.events.append(json.loads(value))
                elif name == "data":
                    self.missed += json.loads(value)["events"]
        except (requests.exceptions.RequestException, AttributeError, ValueError) as e:
            self.ended = e

    def said(self):
        return f"events {self.events}, ids {self.ids}, missed {self.missed}, ended by {self.ended!r}, asked {self.answer.request.headers}"

    def heard(self, ids):
        wait_for(lambda: {e["id"] for e in self.events} >= set(ids), why=self.said)
        assert {e["id"] for e in self.events} == set(ids)


def test_live_tails(bridge, receivers):
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url), admin_more=OPERATOR)
    api = Api(daemon)
    post_ok(daemon, event("before"))
    every, filtered, past = Tail(api), Tail(api, filter="{exact: {type: odd}}", topic=bridge.topic("events")), Tail(api, **{"from": "1h"})
    past.heard({"before"})
    wait_for(lambda: post_ok(daemon, event("probe-" + uuid.uuid4().hex, "odd")) or (every.events and filtered.events), 60)     # both follow by now
    post_ok(daemon, *(event(f"e{i}", "even" if i % 2 == 0 else "odd", data={"n": i}) for i in range(6)))
    of = lambda tail: [e["id"] for e in tail.events if e["id"].startswith("e")]
    wait_for(lambda: len(of(every)) == 6 and len(of(filtered)) == 3 and len(of(past)) == 6, why=lambda: str([of(every), of(filtered), of(past)]))
    assert (of(every), of(filtered)) == ([f"e{i}" for i in range(6)], ["e1", "e3", "e5"])
    assert json.loads(every.events[-1]["data"]) == {"n": 5} and every.events[-1]["topic"] == bridge.topic("events")
    again = Tail(api, last=every.ids[-1])                        # a client that comes back
    wait_for(lambda: "e5" in {e["id"] for e in again.events}, why=again.said)
    assert "did you mean" in api.ask("GET", f"/api/v1/tail?topic={bridge.topic('event')}", 404).json()["detail"]
    api.ask("GET", f"/api/v1/tail?topic={bridge.name}-own.attempts", 404)
    assert "filter:" in api.ask("GET", "/api/v1/tail?filter={exat: {type: odd}}", 400).json()["detail"]
    # what it takes is what its description says
    [described] = [row["parameters"] for path, row in ((path, one["get"]) for path, one in api.ask("GET", "/api/v1/openapi.json").json()["paths"].items() if "get" in one) if path == "/api/v1/tail"]
    taken = {"topic": bridge.topic("events"), "filter": "{exact: {type: odd}}", "from": "1h"}
    assert {one["name"] for one in described} == set(taken)
    for name, value in taken.items():
        assert api.session.head(api.base + "/api/v1/tail", params={name: value}).status_code == 200, name
        for wrong in ({name: ""}, {name: [value, value]}, {name + "x": value}):
            assert name in api.ask("GET", "/api/v1/tail", 400, params=wrong).json()["detail"], wrong
    # so many, and no more, until one leaves
    more = [Tail(api) for _ in range(4)]
    assert api.ask("GET", "/api/v1/tail", 429).headers["Retry-After"] == "1"
    more[0].answer.close()
    wait_for(lambda: (answer := api.session.get(api.base + "/api/v1/tail", stream=True, timeout=60)).status_code == 200 and not answer.close())


def test_a_session_over_tls(local_bridge, receivers):
    chain, key = certificate(local_bridge.folder)
    tokens = local_bridge.folder / "tokens"
    tokens.write_text("operator anna a-token-of-anna-45678\n")
    tokens.chmod(0o600)
    local_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url),
                           admin_more=f"api: true, token_file: {tokens}, tls_certificate: {chain}, tls_key: {key}")
    api = Api(local_bridge.start(ready=False))
    api.base = api.base.replace("http:", "https:")
    api.session.trust_env, api.session.verify = False, str(chain)
    assert "Secure" in api.post("/session", {"token": "a-token-of-anna-45678"}).headers["Set-Cookie"]
    assert api.get("/session")["via"] == "cookie"
    api.ask("POST", "/api/v1/login-link", 403, headers={"Origin": "https://127.0.0.1:1"})
    api.ask("POST", "/api/v1/login-link", 201, headers={"Origin": api.base})


def test_who_may(local_bridge, receivers):
    tokens = local_bridge.folder / "tokens"
    tokens.write_text("viewer board a-token-of-a-board-0123\noperator anna a-token-of-anna-45678\n")
    tokens.chmod(0o600)
    local_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", "http://127.0.0.1:9/hooks?key=a-key-in-a-url"),
                           admin_more=f"api: true, token_file: {tokens}")
    daemon = local_bridge.start(ready=False)
    nobody, board, anna = Api(daemon), Api(daemon, Authorization="Bearer a-token-of-a-board-0123"), Api(daemon, Authorization="Bearer a-token-of-anna-45678")
    assert nobody.ask("GET", "/api/v1/status", 401).headers["WWW-Authenticate"] == "Bearer"
    assert daemon.page("/metrics").status_code == 401 and daemon.page("/healthz").status_code == 200
    assert board.get("/session") == {"role": "viewer", "name": "board", "via": "token"}
    assert board.session.get(board.base + "/metrics").status_code == 200
    board.post("/login-link", status=403)
    # two of them: nobody knows which one counts
    for path, status in (("/api/v1/status", 400), ("/metrics", 401)):
        line = http.client.HTTPConnection("127.0.0.1", daemon.admin)
        line.putrequest("GET", path)
        for token in ("a-token-of-a-board-0123", "a-token-of-anna-45678"):
            line.putheader("Authorization", f"Bearer {token}")
        line.endheaders()
        assert line.getresponse().status == status, path
    url = lambda api: next(i["value"] for i in api.get("/config?path=sinks.crm.url")["items"])
    assert url(board) == "http://127.0.0.1:9/hooks?key=***" and url(anna) == "http://127.0.0.1:9/hooks?key=a-key-in-a-url"
    # a session: its cookie cannot be read by scripts, and asks for changes on our own page's word alone
    answer = nobody.post("/session", {"token": "a-token-of-anna-45678"})
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"aqueduct-{daemon.admin}=") and "HttpOnly; SameSite=Strict" in cookie
    assert nobody.get("/session") == {"role": "operator", "name": "anna", "via": "cookie"}
    nobody.post("/login-link", status=403)
    nobody.ask("POST", "/api/v1/login-link", 403, headers={"Origin": "http://evil.example"})
    nobody.ask("POST", "/api/v1/login-link", 403, headers={"Origin": nobody.base, "Host": "evil.example"})
    nobody.ask("POST", "/api/v1/login-link", 403, headers={"Origin": nobody.base, "Sec-Fetch-Site": "cross-site"})
    link = nobody.ask("POST", "/api/v1/login-link", 201, headers={"Origin": nobody.base}).json()["path"]
    # the link logs in once
    guest = Api(daemon)
    assert "Set-Cookie" not in guest.ask("HEAD", link, 204).headers      # what only looks where it leads does not use it up
    answer = guest.ask("GET", link, 303)
    assert answer.headers["Location"] == "/"
    assert guest.get("/session")["role"] == "operator"
    Api(daemon).ask("GET", link, 401)
    # many sessions of one end none of another
    for _ in range(70):
        Api(daemon).post("/session", {"token": "a-token-of-a-board-0123"})
    assert nobody.get("/session")["name"] == guest.get("/session")["name"] == "anna"
    # whoever is taken out of the file is out, without a restart, and so is whom their links let in
    unused = anna.post("/login-link", status=201).json()["path"]
    tokens.write_text("viewer board a-token-of-a-board-0123\n")
    wait_for(lambda: anna.session.get(anna.base + "/api/v1/session").status_code == 401)
    nobody.ask("GET", "/api/v1/session", 401)
    guest.ask("GET", "/api/v1/session", 401)
    Api(daemon).ask("GET", unused, 401)
    assert 'msg=audit operation=makeLoginLink who=anna via=cookie role=operator object=/login-link status=201' in daemon.log()
    assert 'msg=audit operation=makeLoginLink who=board via=token role=viewer object=/login-link status=403' in daemon.log()


def test_changes_are_events_as_well(bridge, receivers):
    auditor = receivers()
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url) + webhook_sink("auditor", auditor.url).replace("$EVENTS", f"{bridge.name}-own.audit"), admin_more=OPERATOR + ", audit: true")
    daemon = bridge.start()
    api = Api(daemon)
    api.post("/events/nobody/resend", {"sink": "nobody"}, 409)
    api.post("/login-link", status=201)
    api.ask("POST", "/api/v1/config/check", data=b"sinks: {}", headers={"Content-Type": "application/yaml"})      # changes nothing
    told = [json.loads(request["body"]) for request in auditor.arrived(2)]
    found = {one["data"]["operation"]: one["data"] for one in told}
    assert {one["type"] for one in told} == {"aqueduct.audit"}
    assert found["resendEvent"].pop("address").startswith("127.0.0.1:")
    assert found["resendEvent"] == {"operation": "resendEvent", "who": "loopback", "role": "operator", "via": "loopback", "object": "/events/nobody/resend", "status": 409, "outcome": "refused"}
    assert (found["makeLoginLink"]["status"], found["makeLoginLink"]["outcome"]) == (201, "done")


def test_a_session_that_is_over_is_no_visitor_of_this_machine(local_bridge, receivers):
    """After a restart whoever had one is told so, once, and does not go on as a viewer who wonders what became of the buttons."""
    local_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url), admin=f"127.0.0.1:{free_port()}", admin_more="api: true, loopback: viewer")
    daemon = local_bridge.start()
    _, made = asked_by_socket(local_bridge.folder / "data/control", "POST", "/api/v1/login-link")
    api = Api(daemon)
    api.ask("GET", made["path"], 303)
    cookie = "; ".join(f"{name}={value}" for name, value in api.session.cookies.items())
    assert api.get("/session")["via"] == "cookie"
    daemon.stop()
    daemon = local_bridge.start()
    shown, other = {"Cookie": cookie}, Api(daemon)
    for method, path in (("GET", "/session"), ("GET", "/status"), ("POST", "/login-link")):
        over = other.ask(method, "/api/v1" + path, 401, headers=shown)
        assert "your session is over" in over.json()["detail"] and "aqueduct console" in over.json()["detail"]
        assert over.headers["Set-Cookie"].startswith(f"aqueduct-{daemon.admin}=; ") and "Max-Age=0" in over.headers["Set-Cookie"]
    assert other.get("/session") == {"role": "viewer", "name": "loopback", "via": "loopback"}
    _, made = asked_by_socket(local_bridge.folder / "data/control", "POST", "/api/v1/login-link")
    other.ask("GET", made["path"], 303, headers=shown)      # it is no hindrance to another one
    assert other.get("/session")["via"] == "cookie"


def test_names_and_pages_of_others_are_refused(bridge, receivers):
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url), admin_more=OPERATOR + ", hosts: [bridge.internal]")
    api = Api(daemon)
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        for method, path in (("GET", "/api/v1/status"), ("POST", "/api/v1/login-link"), ("DELETE", "/api/v1/session")):
            api.ask(method, path, 403, headers=headers)
    api.ask("GET", "/api/v1/status", headers={"Host": "bridge.internal"})
    api.ask("GET", "/api/v1/status", headers={"Origin": api.base, "Sec-Fetch-Site": "same-origin"})
    api.ask("GET", "/api/v1/session", 401, headers={"X-Forwarded-For": "203.0.113.7"})
    guarded = api.ask("GET", "/api/v1/status").headers
    assert guarded["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert (guarded["X-Content-Type-Options"], guarded["Referrer-Policy"], guarded["Cache-Control"]) == ("nosniff", "no-referrer", "no-store")


def test_the_configuration_and_a_draft(bridge, receivers):
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", "http://127.0.0.1:9/x", "headers: {X-Key: of-somebody}"), admin_more=OPERATOR)
    api = Api(daemon)
    said = {item["path"]: item for item in api.get("/config")["items"]}
    place = lambda text: next(f"{bridge.config}:{n}:" for n, line in enumerate(bridge.config.read_text().splitlines(), 1) if text in line)
    assert said["broker.type"]["value"] == bridge.kind and said["broker.type"]["at"].startswith(place("broker:"))
    assert said["sinks.crm.retry_jitter"] == {"path": "sinks.crm.retry_jitter", "value": "0", "at": "default"}
    assert said["sinks.crm.url"]["value"] == "http://127.0.0.1:9/x" and said["sinks.crm.url"]["at"].startswith(place("url:"))
    assert said["sinks.crm.secrets"]["value"] == "[(hidden)]" and "of-somebody" not in said["sinks.crm.headers"]["value"]
    whole = api.ask("GET", "/api/v1/config").text
    assert SECRET not in whole and TOKEN not in whole
    assert all(item["at"] != "default" and item["path"].startswith("sinks.") for item in api.get("/config?path=sinks.", defaults="false")["items"])
    draft = lambda text, status=200: api.ask("POST", "/api/v1/config/check", status, data=text.encode(), headers={"Content-Type": "application/yaml"}).json()
    assert draft(bridge.config.read_text()) == {"ok": True, "problems": []}
    checked = draft("sinks:\n  crm: {type: webhok}\n  b: {type: webhook, retry: soon}\n")
    assert checked["ok"] is False and [(p["level"], p["file"], p["line"]) for p in checked["problems"]][:2] == [("error", "draft", 2), ("error", "draft", 3)]
    assert "did you mean webhook" in checked["problems"][0]["text"]
    draft("", 400)
    api.ask("POST", "/api/v1/config/check", 415, json={})


def test_a_link_from_the_command_line(local_bridge, receivers):
    daemon = local_bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url), admin_more="console: true, loopback: none")
    done = local_bridge.command("console")
    assert done.returncode == 0 and "once, within five minutes" in done.stderr, done.stderr
    api = Api(daemon)
    api.ask("GET", "/api/v1/session", 401)
    assert done.stdout.strip().startswith(api.base + "/login?code=")
    api.ask("GET", done.stdout.strip()[len(api.base):], 303)
    assert api.get("/session") == {"role": "operator", "name": "login link", "via": "cookie"}
    page = api.ask("GET", "/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8" and "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bon[a-z]+=|style=", page.text), "inline"
    daemon.stop()
    done = local_bridge.command("console")
    assert done.returncode == 1 and "no daemon runs" in done.stderr


# Options of an endpoint are any of its connector's, which the description does not list.
FREE = ["addEndpoint", "changeEndpoint"]


def test_it_is_as_it_is_described(bridge, receivers, python_folder):
    """Schemathesis makes requests out of the description, right and wrong ones, and judges the answers by it."""
    tokens = bridge.folder / "tokens"
    tokens.write_text("operator anna a-token-of-anna-45678\n")
    tokens.chmod(0o600)
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers(lambda request: 400).url, "retry: []") + DEAD_LETTERS, admin_more=f"api: true, token_file: {tokens}")
    daemon = bridge.start(ready=False)
    api = Api(daemon, Authorization="Bearer a-token-of-anna-45678")
    post_ok(daemon, event("e1"), event("e2"))
    wait_for(lambda: len(api.get("/dead-letters")["items"]) == 2)
    (bridge.folder / "openapi.json").write_text(api.ask("GET", "/api/v1/openapi.json").text)

    def judge(*more):
        done = subprocess.run([python_folder / "bin/st", "run", bridge.folder / "openapi.json", "--url", api.base, "-H", "Authorization: Bearer a-token-of-anna-45678", "--checks", "all",
                               "--phases", "coverage,fuzzing", "--max-examples", "15", "--seed", "1", "--request-timeout", "60", "--no-color", "--exclude-operation-id", "tail", *more],
                              cwd=bridge.folder, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout
    free = [word for name in FREE for word in ("--exclude-operation-id", name)]
    assert re.search(r"\d{3,} generated", judge(*free))
    judge(*(word for name in FREE for word in ("--include-operation-id", name)), "--exclude-checks", "positive_data_acceptance")
    assert daemon.alive()


def test_others_need_a_token(local_bridge, receivers):
    local_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url), admin="0.0.0.0:0", admin_more="api: true")
    done = local_bridge.command("check")
    assert done.returncode == 1 and "admin.api: others reach 0.0.0.0:0: say who may" in done.stderr, done.stderr


def test_the_control_socket_serves_it(local_bridge, receivers):
    local_bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receivers().url))
    control = local_bridge.folder / "data/control"
    assert asked_by_socket(control, "GET", "/api/v1/session") == (200, {"role": "operator", "name": "socket", "via": "socket"})
    status, problem = asked_by_socket(control, "POST", "/api/v1/login-link")
    assert (status, problem["title"]) == (409, "Conflict")         # there is no listener to log in to
    assert asked_by_socket(control, "GET", "/api/v1/status")[1]["ready"] is True
