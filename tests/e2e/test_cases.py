# SPDX-License-Identifier: MIT
"""`aqueduct test`: cases of events and requests against a configuration, with nothing running."""
import json
import subprocess

import jsonschema
import pytest
import yaml

CONFIG = """\
sources:
  hooks:
    type: http
    listen: 127.0.0.1:1
    paths:
      - {path: /v1/github, verify: {scheme: github, secrets: ["a secret of at least 24 characters"]}}
      - {path: "/v1/shop/{event}", type: "shop.{{path.event}}", subject: "orders/{{body.id}}", verify: {scheme: none}}
routes:
  - {filter: {prefix: {type: chat.}}, topic: ai.chats, also: true}
  - {topic: ai.events, key: type}
sinks:
  crm:
    type: webhook
    topics: [ai.chats]
    endpoints:
      one: {url: "http://127.0.0.1:1/in", secrets: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], body: {text: "{{data.output.text}}", kind: "{{type}}"},
            path: "/{{subject}}", headers: {X-Kind: "{{type}}"}}
      two: {url: "http://127.0.0.1:1/", unsigned: true, filter: {exact: {subject: other}}}
  batches: {type: webhook, topics: [ai.events], url: "http://127.0.0.1:1/", unsigned: true, method: PUT, batch: {count: 10}}
  live: {type: websocket, listen: "127.0.0.1:2", topics: [ai.events]}
  partners: {type: webhook, topics: [ai.events], endpoints: {}}
  failed: {type: dead_letter, path: dead.db}
"""
GOOD = """\
cases:
  - name: an answer
    event: {type: chat.response.generated, subject: c/1, data: {output: {text: Hi}, n: 3}}
    topics: [ai.chats, ai.events]
    keys: {ai.chats: c/1, ai.events: chat.response.generated}
    sinks: [crm/one, batches, live]
    not: [crm/two]
    requests:
      - {to: crm/one, method: POST, url: "http://127.0.0.1:1/in/c%2F1", signed_by: standard, headers: {webhook-id: "*", x-kind: chat.response.generated},
         body: {text: Hi, more: null}}
      - {to: batches, method: PUT, signed_by: none, body: [{type: chat.response.generated, data: {n: 3, output: "*"}}]}
  - name: another type
    event: {id: x, type: user.login}
    topics: [ai.events]
    sinks: [batches, live]
  - name: a signed push
    request: {path: /v1/github, headers: {X-GitHub-Event: push, X-GitHub-Delivery: 17}, body: {ref: main}}
    status: 202
    events: [{type: github.push, id: "17", data: {ref: main}}]
    sinks: [batches, live]
  - name: not signed
    request: {path: /v1/github, signed: false, body: {}}
    status: 401
    events: []
    topics: []
  - name: a parameter of the path
    request: {path: /v1/shop/paid, text: '{"id": 4}'}
    events: [{type: shop.paid, subject: orders/4}]
  - name: nowhere
    request: {path: /v1/none, body: {}}
    status: 404
"""


@pytest.fixture
def test(aqueduct, tmp_path):
    (tmp_path / "bridge.yaml").write_text(CONFIG)

    def call(text, *more, code=0):
        (tmp_path / "cases.yaml").write_text(text)
        done = subprocess.run([aqueduct, "test", "cases.yaml", *more], cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return done
    call.folder = tmp_path
    return call


def test_what_is_expected_and_is_so(test, aqueduct):
    assert test(GOOD).stdout == "6 cases, 0 failed\n"
    assert json.loads(test(GOOD, "--json").stdout) == {"ok": True, "problems": [], "cases": 6, "failed": 0, "failures": []}
    (test.folder / "more").mkdir()
    for name in "ab":
        (test.folder / "more" / f"{name}.yaml").write_text(GOOD)
    assert test(GOOD, "more/*.yaml").stdout == "18 cases, 0 failed\n"


# Each expectation once, wrong: the line of GOOD, what it becomes, and what is said of it.
@pytest.mark.parametrize("right, wrong, line, what, expected, got", [
    ("topics: [ai.chats, ai.events]", "topics: [ai.chats]", 4, "topics", ["ai.chats"], ["ai.chats", "ai.events"]),
    ("ai.chats: c/1,", "ai.chats: c/2,", 5, "keys.ai.chats", "c/2", "c/1"),
    ("sinks: [crm/one, batches, live]", "sinks: [crm/one]", 6, "sinks", ["crm/one"], ["crm/one", "batches", "live"]),
    ("not: [crm/two]", "not: [live]", 7, "not[0]", None, None),
    ("method: POST", "method: PUT", 9, "requests[0].method", "PUT", "POST"),
    ("signed_by: standard", "signed_by: none", 9, "requests[0].signed_by", "none", "standard"),
    ("x-kind: chat.response.generated", "x-kind: chat.other", 9, "requests[0].headers.x-kind", "chat.other", "chat.response.generated"),
    ("text: Hi, more: null}", "text: Ho, more: null}", 10, "requests[0].body.text", "Ho", "Hi"),
    ("more: null", "more: x", 10, "requests[0].body.more", "x", None),
    ("data: {n: 3, output", "data: {n: 4, output", 11, "requests[1].body[0].data.n", 4, 3),
    ("status: 202", "status: 200", 18, "status", 200, 202),
    ("type: github.push", "type: github.pull", 19, "events[0].type", "github.pull", "github.push"),
    ("status: 401", "status: 202", 23, "status", 202, 401),
    ("events: []\n", "events: [{}]\n", 24, "events[0]", {}, None),
])
def test_what_is_not_as_expected_is_said_at_its_line(test, right, wrong, line, what, expected, got):
    text = GOOD.replace(right, wrong, 1)
    assert text != GOOD
    said = json.loads(test(text, "--json", code=1).stdout)
    assert said["ok"] is False and said["failed"] == 1
    failure = said["failures"][0]
    assert (failure["file"], failure["line"], failure["what"]) == ("cases.yaml", line, what)
    assert (failure.get("expected"), failure.get("got")) == (expected, got)
    shown = test(text, code=1).stdout
    assert f"cases.yaml:{line}: " in shown and shown.endswith("6 cases, 1 failed\n")
    if expected is not None:
        assert f"  - expected {json.dumps(expected, separators=(',', ':'))}\n" in shown


@pytest.mark.parametrize("text, why", [
    ("cases: [{name: x, evnt: {}}]", "did you mean event?"), ("cases: []", "cases"), ("cases: [{name: x}]", "a case has an event, or a request"),
    ("cases: [{name: x, event: {type: a b, source: '', data: 1}}]", "source"), ("cases: [{name: x, event: {type: a}, sinks: [carm]}]", "there is no such sink"),
    ("cases: [{name: x, event: {type: a}, sinks: [partners/crm]}]", "those made at run time cannot be tested without the daemon"),
    ("cases: [{name: x, event: {type: a}, not: [failed]}]", "a dead_letter sink takes no events of topics"),
    ("cases: [{name: x, event: {type: a}, requests: [{to: live}]}]", "sends no requests"),
    ("cases: [{name: x, event: {type: a}, requests: [{to: crm/one}]}]", "does not take the event"),
    ("cases: [{name: x, event: {type: chat.x, subject: s}, requests: [{to: crm/one}]}]", "output"),
])
def test_what_is_no_case_is_said(test, text, why):
    done = test(text, code=1)
    assert why in done.stdout + done.stderr


def test_a_file_that_is_not_there(test, aqueduct):
    assert "gone.yaml: cannot be read" in test(GOOD, "gone.yaml", code=1).stderr
    done = subprocess.run([aqueduct, "test"], cwd=test.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "a word is missing" in done.stderr


def test_the_schema_takes_the_cases(aqueduct):
    schema = json.loads(subprocess.run([aqueduct, "schema", "--test"], capture_output=True, text=True, timeout=60, check=True).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert not list(validator.iter_errors(yaml.safe_load(GOOD)))
    assert list(validator.iter_errors({"cases": [{"name": "x", "evnt": {}}]}))
