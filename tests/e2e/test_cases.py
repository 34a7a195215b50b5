# SPDX-License-Identifier: MIT
"""`aqueduct test`: cases of events, requests and rows of a database against a configuration, with nothing running."""
import contextlib
import json
import pathlib
import re
import sqlite3
import subprocess

import jsonschema
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]

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


def test_a_sink_of_a_tombstone_gets_no_data(test, aqueduct):
    """As in a run: its topic has the event with a null value."""
    config = CONFIG.replace("{topic: ai.events, key: type}", "{topic: ai.events, tombstones: [user.deleted]}")
    case = """\
cases:
  - name: gone
    event: {type: user.deleted, subject: u/1, data: {user: {id: 1}}}
    requests: [{to: batches, body: [{type: user.deleted, subject: u/1, data: null}]}]
  - name: without a key it is stored whole
    event: {type: user.deleted, data: {user: {id: 1}}}
    requests: [{to: batches, body: [{type: user.deleted, data: {user: {id: 1}}}]}]
"""
    (test.folder / "bridge.yaml").write_text(config)
    assert test(case).stdout == "2 cases, 0 failed\n"


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
    assert re.search(rf"^cases\.yaml:{line}:{failure['column']}: ", shown, re.M) and shown.endswith("6 cases, 1 failed\n")
    assert failure["column"] > 1
    if expected is not None:
        assert f"  - expected {json.dumps(expected, separators=(',', ':'))}\n" in shown


@pytest.mark.parametrize("text, why", [
    ("cases: [{name: x, evnt: {}}]", "did you mean event?"), ("cases: []", "cases"), ("cases: [{name: x}]", "a case has an event, a request with its path, or rows"),
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


# ---- rows ----

DESK = """\
sources:
  desk:
    type: sqlite
    path: elsewhere/desk.db
    app: desk
    start: snapshot
    capture:
      - name: answers
        kind: open_row
        table: answers
        time: created_at
        done: state IN ('ok', 'failed')
        keep: [ticket, person_id]
        join: LEFT JOIN people u ON u.id = r.person_id
        data: {conversation.id: r.ticket, message.id: r.id, user.id: r.person_id, user.name: u.name, input.text: r.question}
        map:
          - {type: chat.started, op: [started]}
          - {type: chat.response.generated, op: [done], when: r.state = 'ok', data: {output.text: r.answer, usage.total_tokens: "r.meta->>'$.tokens'"}}
          - {type: chat.response.failed, op: [done], when: r.state = 'failed', data: {error.message: r.answer}}
      - name: people
        kind: diff
        table: people
        watch: [role, active]
        keep: [name, role, active]
        never: [password]
        data: {user.id: r.id, user.name: r.name, user.role: r.role, user.active: r.active}
        map: [{type: user.created, op: [insert]}, {type: user.updated, op: [update]}, {type: user.deleted, op: [delete]}]
      - {name: stock, kind: outbox, table: stock, key: sku, watch: [price, state], types: {insert: item.added, state=gone: item.gone, update: item.changed, delete: item.removed}}
      - {name: visits, kind: append, table: visits, time: at, types: {insert: visit}, columns: {id: value, what: json, seen: bool, at: time}}
      - {name: pages, kind: updated, table: pages, cursor: changed_at, watch: [title], types: {insert: page.made, update: page.changed}}
routes:
  - {filter: {prefix: {type: chat.}}, topic: ai.chats}
  - {topic: desk.events, key: subject}
sinks:
  crm: {type: webhook, topics: [ai.chats], url: "http://127.0.0.1:1/", unsigned: true, body: {text: "{{data.output.text}}", who: "{{data.user.name}}"}}
  staff: {type: webhook, topics: [desk.events], url: "http://127.0.0.1:1/", unsigned: true}
"""
ROWS = """\
cases:
  - name: an answer that is finished
    rows:
      source: desk
      before:
        people: [{id: 7, name: Ann}]
        answers: [{id: 14, ticket: T-9, person_id: 7, question: Where?, answer: null, state: new, meta: null, created_at: "2026-03-01 10:00:00"}]
      after:
        answers: [{id: 14, answer: Here., state: ok, meta: {tokens: 12}}]
    events:
      - {type: chat.response.generated, subject: conversations/T-9/messages/14, source: /sqlite/desk, snapshot: null,
         data: {user: {name: Ann}, output: {text: Here.}, usage: {total_tokens: 12}}}
    topics: [ai.chats]
    keys: {ai.chats: T-9}
    sinks: [crm]
    requests: [{to: crm, body: {text: Here., who: Ann}}]
  - name: a person comes, another is no admin any more, and one goes
    rows:
      before: {people: [{id: 7, name: Ann, role: admin, active: true}, {id: 8, name: Bob, role: user, active: true}, {id: 9, name: Cy, role: user, active: 0}]}
      after: {people: [{id: 7, name: Ann, role: user}, {id: 9}, {name: Di, active: false}]}
    events:
      - {type: user.updated, data: {user: {id: "7", name: Ann, role: user}, before: {user: {role: admin}}}}
      - {type: user.created, data: {user: {id: "10", name: Di, active: false}}}
      - {type: user.deleted, data: {user: {id: "8", name: Bob}}}
    topics: [desk.events]
    sinks: [staff]
    requests: [{to: staff, body: {type: user.updated}}]
  - name: nothing changes
    rows: {before: {people: [{id: 7, name: Ann}]}, after: {people: [{id: 7, name: Anna}]}}
    events: []
    topics: []
  - name: rows are added
    rows: {after: {visits: [{what: {path: [1, a]}, seen: true, at: 1772359200}, {id: 5, what: 2.5, seen: 0}]}}
    events:
      - {type: visit, time: "2026-03-01T10:00:00.000Z", data: {id: 1, what: {path: [1, a]}, seen: true}}
      - {type: visit, subject: visits/5, data: {what: 2.5, seen: false, at: null}}
  - name: an outbox has each change
    rows:
      before: {stock: [{sku: a-1, price: 2, state: here}, {sku: b-2, price: 3, state: here}]}
      after: {stock: [{sku: a-1, state: gone}, {sku: c-3, price: 4, state: here}]}
    events: [{type: item.removed, subject: stock/b-2}, {type: item.gone, subject: stock/a-1}, {type: item.added, subject: stock/c-3, data: {price: 4}}]
  - name: a page is changed
    rows:
      before: {pages: [{id: 1, title: One, changed_at: "2026-03-01 10:00:00"}]}
      after: {pages: [{id: 1, title: Two, changed_at: "2026-03-01 10:00:05"}, {id: 2, title: Three, changed_at: "2026-03-01 10:00:05"}]}
    events: [{type: page.made, data: {title: Three}}, {type: page.changed, data: {title: Two}}]
"""


@pytest.fixture
def desk(test):
    (test.folder / "bridge.yaml").write_text(DESK)
    return test


def test_rows_of_a_database_become_events_as_its_rules_say(desk):
    assert desk(ROWS).stdout == "6 cases, 0 failed\n"
    assert {one.name for one in desk.folder.iterdir()} == {"bridge.yaml", "cases.yaml"}, "nothing is left, and the database that is configured is not looked at"


SCHEMA = """\
CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT NOT NULL, role TEXT DEFAULT 'user', active BOOLEAN DEFAULT 1, password);
CREATE TABLE answers(id INTEGER PRIMARY KEY, ticket, person_id, question, answer, state DEFAULT 'new', meta, created_at DEFAULT CURRENT_TIMESTAMP);
INSERT INTO people(id, name) VALUES(7, 'Ann');
"""
OF_SCHEMA = """\
cases:
  - name: defaults and rows of the schema hold
    rows:
      schema: desk.sql
      after: {people: [{name: Di}], answers: [{ticket: T-1, person_id: 7, state: failed, answer: no}]}
    events:
      - {type: chat.response.failed, data: {user: {name: Ann}, error: {message: no}}}
      - {type: user.created, data: {user: {id: "8", name: Di, role: user, active: true}}}
"""


def test_the_tables_may_be_those_of_the_application(desk):
    (desk.folder / "desk.sql").write_text(SCHEMA)
    assert desk(OF_SCHEMA).stdout == "1 case, 0 failed\n"
    with contextlib.closing(sqlite3.connect(desk.folder / "desk.db")) as db, db:
        db.executescript(SCHEMA)
    before = (desk.folder / "desk.db").read_bytes()
    only_its_tables = OF_SCHEMA.replace("desk.sql", "desk.db").replace("rows of the schema", "no rows").replace("user: {name: Ann}, ", "").replace('id: "8"', 'id: "1"')
    assert desk(only_its_tables).stdout == "1 case, 0 failed\n", "of a database the tables, not what people have in it"
    assert (desk.folder / "desk.db").read_bytes() == before


def test_a_preset_on_the_tables_of_its_application(desk):
    (desk.folder / "bridge.yaml").write_text(DESK[:DESK.index("    app: desk")] + "    preset: anythingllm\n" + DESK[DESK.index("routes:"):])
    (desk.folder / "app.sql").write_text((ROOT / "tests/data/anythingllm.sql").read_text())
    case = """\
cases:
  - name: a user comes
    rows: {schema: app.sql, after: {users: [{username: ann, password: the-hash, role: admin}]}}
    events: [{type: user.created, data: {app: {name: anythingllm}, user: {name: ann, role: admin}}}]
"""
    assert desk(case).stdout == "1 case, 0 failed\n"
    said = desk(case.replace("role: admin}}}", "role: user}}}"), "--json", code=1).stdout
    assert json.loads(said)["failures"][0]["got"] == "admin" and "the-hash" not in said


# What is wrong with the rows: what of ROWS (or of OF_SCHEMA) becomes what, at which text of it that is said, and the words.
@pytest.mark.parametrize("text, right, wrong, at, what, why", [
    (ROWS, "source: desk", "source: dask", "dask", "rows.source", "there is no source dask (did you mean desk?)"),
    (ROWS, "question: Where?, ", "", "{id: 14, answer", "rows", "desk: rule answers: data.input.text: no such column: r.question"),
    (ROWS, "people: [{id: 7, name: Ann}]\n        ans", "ans", "answers: [{id: 14, t", "rows", "desk: rule answers: join: no such table: people"),
    (ROWS, "meta: {tokens: 12}", "meta: '{'", "answers: [{id: 14, t", "rows", "desk: rule answers: map[1].data.usage.total_tokens: malformed JSON"),
    (ROWS, "before: {people: [{id: 7, name: Ann}]}, after: {people: [{id: 7, name: Anna}]}", "after: {people: [1]}", "1]}", "rows.after.people[0]", "a row is a mapping"),
    (ROWS, "before: {people: [{id: 7, name: Ann}]}, after: {people: [{id: 7, name: Anna}]}", "after: {people: {id: 7}}", "{id: 7}}", "rows.after.people", "a list of its rows"),
    (ROWS, "before: {people: [{id: 7, name: Ann}]}, after: {people: [{id: 7, name: Anna}]}", "after: {pages: []}", "[]}", "rows.after.pages", "no row says which columns"),
    (ROWS, "before: {people: [{id: 7, name: Ann}]}, after: {people: [{id: 7, name: Anna}]}", "before: {}", "before: {}", "rows", "after"),
    (ROWS, "{people: [{id: 7, name: Ann}]}, after", "{people: [{name: Ann}]}, after", "{name: Ann}]}, after", "rows.before.people[0]", "has no id"),
    (OF_SCHEMA, "ticket: T-1", "tikcet: T-1", "T-1", "rows.after.answers[0].tikcet", "table answers of desk.sql has no column tikcet (did you mean ticket?)"),
    (OF_SCHEMA, "answers: [", "answer: [", "[{ticket", "rows.after.answer", "there is no table answer in desk.sql (did you mean answers?)"),
    (OF_SCHEMA, "{name: Di}", "{role: x}", "{role: x}", "rows.after.people[0]", "NOT NULL constraint failed: people.name"),
    (OF_SCHEMA, "desk.sql", "gone.sql", "gone.sql", "rows.schema", "gone.sql: No such file"),
    (OF_SCHEMA, "desk.sql", "bridge.yaml", "bridge.yaml", "rows.schema", "bridge.yaml: near \"sources\": syntax error"),
    (OF_SCHEMA, 'id: "8"', 'id: "9"', '"9"', "events[1].data.user.id", ""),
], ids=lambda value: value[:20] if len(value) < 200 else "")
def test_what_is_wrong_with_rows_is_said_where_it_stands(desk, text, right, wrong, at, what, why):
    (desk.folder / "desk.sql").write_text(SCHEMA)
    broken = text.replace(right, wrong, 1)
    assert broken != text
    said = json.loads(desk(broken, "--json", code=1).stdout)
    failure = next((one for one in said["failures"] if one["what"] == what and why in (one.get("why") or "")), None)
    assert failure, said
    place = broken.index(at)
    line = broken.count("\n", 0, place) + 1
    if what == "rows":
        assert failure["line"] <= line
    else:
        assert (failure["line"], failure["column"]) == (line, place - broken.rfind("\n", 0, place)), said


def test_rows_need_a_source_that_reads_them(test, desk):
    two = DESK.replace("routes:", "  shop: {type: sqlite, path: shop.db, capture: [{name: a, kind: append, table: a, types: {insert: a}}]}\nroutes:", 1)
    (desk.folder / "bridge.yaml").write_text(two)
    assert "several sources read rows: say which by source (desk, shop)" in desk(ROWS, code=1).stdout
    (desk.folder / "bridge.yaml").write_text(CONFIG)
    assert "rows.source: hooks reads no rows" in desk(ROWS.replace("source: desk", "source: hooks"), code=1).stdout
    assert "no source of the configuration reads rows" in desk(ROWS, code=1).stdout
