# SPDX-License-Identifier: MIT
"""`aqueduct check --database FILE`: rules tried on a database that is there."""
import contextlib
import hashlib
import json
import pathlib
import re
import sqlite3
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = """\
sources:
  app:
    type: sqlite
    path: elsewhere.db
    RULES
routes: [{topic: events}]
sinks: {dead: {type: dead_letter, path: dead.db}}
"""
OPEN_ROW = "- {name: jobs, kind: open_row, table: job, key: id, done: state = 'ok', types: {started: job.started, done: job.done}}"
DIFF = "- {name: users, kind: diff, table: user, key: id, watch: [role], types: {insert: user.created, update: user.changed}}"


@pytest.fixture
def run(aqueduct, tmp_path):
    def call(*args, rules=None, config=None):
        text = CONFIG.replace("RULES", rules if rules and rules.startswith("preset") else "capture:\n      " + (rules or OPEN_ROW))
        (tmp_path / "bridge.yaml").write_text(config or text)
        return subprocess.run([aqueduct, "check", *args], cwd=tmp_path, capture_output=True, text=True, timeout=60, env={})
    call.folder, call.program = tmp_path, aqueduct
    return call


@pytest.fixture(params=["delete", "wal"])
def database(run, request):
    """Its name; nothing is left beside it, and nothing in it changes."""
    path = run.folder / "app.db"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(f"PRAGMA journal_mode = {request.param}")
        db.executescript("""
            CREATE TABLE job(id TEXT PRIMARY KEY, state, created INTEGER);
            CREATE TABLE user(id TEXT PRIMARY KEY, role, api_token);
            CREATE TABLE role(name TEXT, note);
            INSERT INTO job VALUES('a', 'ok', 1750000000), ('b', 'new', 1750000001);
            INSERT INTO user VALUES('u1', 'admin', 'the-token');
            INSERT INTO role VALUES('admin', 1), ('admin', 2);""")
    before = hashlib.sha256(path.read_bytes()).digest()
    yield "app.db"
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert {one.name for one in run.folder.iterdir()} <= {"app.db", "bridge.yaml"}, "check leaves nothing"


def events_of(done):
    return [(one["rule"], one["event"]) for one in json.loads(done.stdout)["events"]]


def test_prints_the_event_of_the_newest_row(run, database):
    done = run("--json", "--database", database, rules=OPEN_ROW + "\n      " + DIFF)
    assert done.returncode == 0, done.stdout
    assert [(rule, e["type"], e["subject"]) for rule, e in events_of(done)] == [("jobs", "job.started", "job/b"), ("users", "user.created", "user/u1")]
    assert "snapshot" not in events_of(done)[0][1]
    done = run("--database", "app=" + database)
    assert "app: rule jobs: its newest row would give\n{\n" in done.stdout and '"type": "job.started"' in done.stdout
    assert "\033" not in done.stdout, "colour is for terminals"
    done = run("--database", "ap=" + database)
    assert (done.returncode, done.stderr) == (1, f'--database: "ap={database}": there is no source named ap (did you mean app?)\n')


def test_masks_secrets_and_warns_of_them(run, database):
    done = run("--json", "--database", database, rules=DIFF)
    assert events_of(done)[0][1]["data"] == {"id": "u1", "role": "admin", "api_token": "***"}
    assert "the-token" not in done.stdout
    assert 'columns: "api_token" is published, and is called as a secret would be; name it in `never` or `mask`' in done.stdout.replace('\\"', '"')
    done = run("--database", database, rules=DIFF.replace("watch:", "never: [api_token], watch:"))
    assert "api_token" not in done.stdout + done.stderr


@pytest.mark.parametrize("old, new, said", [
    ("table: job", "table: jbo", 'capture[0].table: there is no table "jbo" (did you mean job?)'),
    ("key: id", "key: idd", 'capture[0].key: there is no column "idd" in job (did you mean id?)'),
    ("state = 'ok'", "stat = 'ok'", "capture[0].done: no such column: stat (did you mean state?)"),
    ("job.done", "'job.{stat}'", 'capture[0].types: there is no column "stat" in job (did you mean state?)'),
    ("state = 'ok'", "state =", 'capture[0].done: syntax error: the SQL is not complete'),
])
def test_what_does_not_fit_is_a_mistake(run, database, old, new, said):
    done = run("--database", database, rules=OPEN_ROW.replace(old, new))
    assert done.returncode == 1
    assert re.search(r"^bridge.yaml:6:\d+: sources.app." + re.escape(said), done.stderr, re.M), done.stderr


def test_of_a_preset_it_is_a_warning(run, database):
    done = run("--database", database, rules="preset: anythingllm")
    assert done.returncode == 0
    assert re.fullmatch(r".*: warning: sources\.app\.preset: this is not the database of anythingllm, or not yet: nothing is there of what the preset's "
                        r"\d+ rules read\n", done.stderr)
    assert "no event yet" in done.stdout
    with contextlib.closing(sqlite3.connect(run.folder / "half.db")) as db, db:
        db.execute("CREATE TABLE users(id INTEGER PRIMARY KEY)")
    done = run("--database", "half.db", rules="preset: anythingllm")
    (run.folder / "half.db").unlink()
    assert 'warning: sources.app.preset: rule event_logs: table: there is no table "event_logs"' in done.stderr and "not the database" not in done.stderr


def test_a_preset_on_its_application(run):
    with contextlib.closing(sqlite3.connect(run.folder / "app.db")) as db, db:
        db.executescript((ROOT / "tests/data/anythingllm.sql").read_text())
        db.execute("INSERT INTO users(username, password, role) VALUES('ann', 'the-hash', 'admin')")
    done = run("--json", "--database", "app.db", rules="preset: anythingllm")
    assert done.returncode == 0, done.stdout
    assert "user.created" in [e["type"] for rule, e in events_of(done)]
    assert "the-hash" not in done.stdout


def mapped_on(run, rows, more="", kind="append", *words):
    """check on a table of these (id, kind) rows, by a map with an entry for each kind."""
    with contextlib.closing(sqlite3.connect(run.folder / "app.db")) as db, db:
        db.execute("CREATE TABLE m(id INTEGER PRIMARY KEY, kind)")
        db.executemany("INSERT INTO m VALUES(?, ?)", rows)
    entries = ["{type: chat.response.generated, op: [insert], when: r.kind = 'answer', data: {output.text: r.kind}}",
               "{type: chat.feedback, op: [insert], when: r.kind = 'rating', data: {feedback.score: '1'}}", *([more] if more else [])]
    rule = f"{{name: talk, kind: {kind}, table: m, key: id, {'watch: [kind], ' if kind == 'diff' else ''}data: {{conversation.id: r.id, message.id: r.id}}, map: [{', '.join(entries)}]}}"
    return run("--database", "app.db", *words, config=CONFIG.replace("RULES", f"app: desk\n    capture: [{rule}]"))


def test_shows_an_event_of_each_entry_of_a_map(run):
    rows = [(1, "rating"), (2, "rating"), (3, "answer"), (4, "answer"), (5, "noise")]
    done = mapped_on(run, rows, "{type: chat.started, op: [insert], when: r.kind = 'start'}", "append", "--json")
    assert done.returncode == 0, done.stdout
    said = json.loads(done.stdout)
    assert [(one["rule"], one["event"]["type"], one["event"]["data"]["message"]["id"]) for one in said["events"]] == [
        ("talk", "chat.response.generated", "4"), ("talk", "chat.feedback", "2")], "the newest of each"
    assert said["missed"] == [{"source": "app", "rule": "talk", "what": "map[2] (chat.started): none of its last 5 rows fits"}]
    text = mapped_text(run)
    assert text.index('"chat.response.generated"') < text.index('"chat.feedback"')
    assert text.count("app: rule talk: an older row would give\n{\n") == 2
    assert "app: rule talk: map[2] (chat.started): none of its last 5 rows fits\n" in text


def mapped_text(run):
    done = subprocess.run([run.program, "check", "--database", "app.db"], cwd=run.folder, capture_output=True, text=True, timeout=60, env={})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_looks_at_so_many_rows_and_says_how_many(run):
    done = mapped_on(run, [(1, "rating")] + [(i, "answer") for i in range(2, 200)], "", "append", "--json")
    said = json.loads(done.stdout)
    assert [one["event"]["type"] for one in said["events"]] == ["chat.response.generated"]
    assert [one["what"] for one in said["missed"]] == ["map[1] (chat.feedback): none of its last 100 rows fits"]


def test_what_only_a_change_shows_is_not_missed(run):
    done = mapped_on(run, [(1, "rating"), (2, "answer")], "{type: chat.feedback, op: [update], data: {feedback.score: '2'}}", "diff", "--json")
    said = json.loads(done.stdout)
    assert sorted(one["event"]["type"] for one in said["events"]) == ["chat.feedback", "chat.response.generated"] and said["missed"] == []


def warnings_of(run, database, rules):
    done = run("--database", database, rules=rules)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_warns_of_a_look_up_without_an_index(run, database):
    assert "finding the row of one key reads the whole of job" in warnings_of(run, database, OPEN_ROW.replace("key: id", "key: created"))
    assert "finding the row" not in warnings_of(run, database, OPEN_ROW)
    said = warnings_of(run, database, DIFF.replace("table: user, key: id", "table: role, key: name").replace("[role]", "[note]"))
    assert "capture[0].key: no index orders the rows by it, so each look reads and sorts the whole table" in said


def test_an_index_on_the_cursor_is_seen_whatever_the_key_is(run):
    with contextlib.closing(sqlite3.connect(run.folder / "app.db")) as db, db:
        db.executescript("CREATE TABLE t(id TEXT PRIMARY KEY, updated_at); INSERT INTO t VALUES('a', 1750000000)")
    rule = "- {name: t, kind: updated, table: t, key: id, cursor: updated_at, watch: [updated_at], types: {update: t.updated}}"
    assert "updated_at has no index, so each look reads the whole table" in warnings_of(run, "app.db", rule)
    with contextlib.closing(sqlite3.connect(run.folder / "app.db")) as db, db:
        db.execute("CREATE INDEX u ON t(updated_at)")
    assert "has no index" not in warnings_of(run, "app.db", rule)


def test_warns_of_rows_that_a_join_doubles(run, database):
    joined = DIFF.replace("table: user", "table: user, select: 'SELECT u.id, u.role, r.note FROM user u LEFT JOIN role r ON r.name = u.role'")
    said = warnings_of(run, database, joined)
    assert "capture[0].select: the key u1 comes 2 times: a join doubles the row" in said
    assert "reads the whole of r" in said


MAPPED = ("- {name: jobs, kind: append, table: job, key: id, join: LEFT JOIN role o ON o.name = 'NAME', "
          "data: {conversation.id: r.id, message.id: r.id, output.text: r.TEXT}, map: [{type: chat.response.generated, op: [insert]}]}")


def test_tries_the_sql_of_a_map(run, database):
    def tried(text, name):
        rules = "capture:\n      " + MAPPED.replace("TEXT", text).replace("NAME", name)
        return run("--database", database, config=CONFIG.replace("RULES", "app: desk\n    " + rules))
    done = tried("state", "nobody")
    assert done.returncode == 0 and '"text": "new"' in done.stdout, done.stderr
    done = tried("stat", "nobody")
    assert done.returncode == 1
    assert "sources.app.capture[0].data.output.text: no such column: r.stat" in done.stderr
    done = tried("state", "admin")
    assert "capture[0].join: it makes several rows of one; write `part`, SQL that tells them apart" in done.stderr


@pytest.mark.parametrize("old, new, said", [
    ("message.id:", "mesage.id:", 'capture[0].data.mesage.id: there is no path "mesage.id" in the vocabulary (did you mean message.id?)'),
    ("output.text:", "output.txt:", 'there is no path "output.txt" in the vocabulary (did you mean output.text?)'),
    ("message.id: r.id, ", "", "message.id is missing"),
    ("response.generated", "response.generatd", '"chat.response.generatd" is no type of the vocabulary (did you mean chat.response.generated?)'),
])
def test_a_misspelt_path_is_a_mistake_without_a_database_too(run, old, new, said):
    rules = "capture:\n      " + MAPPED.replace("TEXT", "state").replace(old, new)
    done = run(config=CONFIG.replace("RULES", "app: desk\n    " + rules))
    assert done.returncode == 1
    assert re.search(r"^bridge.yaml:\d+:\d+: sources.app", done.stderr, re.M) and said in done.stderr, done.stderr


PLACED = """\
sources:
  app:
    type: sqlite
    path: elsewhere.db
    app: desk
    capture:
      - name: jobs
        kind: append
        table: job
        join: LEFT JOIN role o ON o.name = r.state
        data:
          document.id: r.id
          document.bytes: r.created
          document.words: r.created
        map:
          - type: document.uploaded
            op: [insert]
          - type: document.removed
            when: r.state = 'gone'
            op: [insert]
            data:
              document.name: r.state
routes: [{topic: events}]
sinks: {dead: {type: dead_letter, path: dead.db}}
"""


@pytest.mark.parametrize("old, new, said", [
    ("document.bytes:", "document.byts:", '13:26: sources.app.capture[0].data.document.byts: there is no path "document.byts"'),
    ("document.name:", "document.nmae:", '22:30: sources.app.capture[0].map[1].data.document.nmae: there is no path "document.nmae"'),
    ("document.removed", "document.remved", '18:19: sources.app.capture[0].map[1].type: "document.remved" is no type'),
    ("            op: [insert]\n            data:", "            op: [don]\n            data:", '20:17: sources.app.capture[0].map[1].op: "don" is nothing'),
    ("bytes: r.created", "bytes: r.creatd", "13:27: sources.app.capture[0].data.document.bytes: no such column: r.creatd (did you mean r.created?)"),
    ("bytes: r.created", "bytes: r.state", "13:27: warning: sources.app.capture[0].data.document.bytes: is no integer, and is left out of such rows"),
    ("name: r.state\nr", "name: r.stat\nr", "22:30: sources.app.capture[0].map[1].data.document.name: no such column: r.stat (did you mean r.state?)"),
    ("when: r.state", "when: r.stat", "19:19: sources.app.capture[0].map[1].when: no such column: r.stat (did you mean r.state?)"),
    ("JOIN role", "JOIN roles", "10:15: sources.app.capture[0].join: no such table: roles; no event of this rule is told until it fits"),
    ("bytes: r.created", "bytes: r.created ||", "13:27: sources.app.capture[0].data.document.bytes: syntax error: the SQL is not complete"),
    ("bytes: r.created", "bytes: (r.created", "13:27: sources.app.capture[0].data.document.bytes: syntax error: the SQL is not complete"),
    ("bytes: r.created", "bytes: r.created r", '13:27: sources.app.capture[0].data.document.bytes: near "r": syntax error'),
])
def test_a_mistake_in_a_rule_is_told_once_and_where_it_stands(run, database, old, new, said):
    assert PLACED.count(old) == 1
    done = run("--database", database, config=PLACED.replace(old, new))
    lines = [line for line in done.stderr.splitlines() if "capture" in line]
    assert len(lines) == 1 and lines[0].startswith("bridge.yaml:" + said), done.stderr


def test_sql_that_is_none_is_a_mistake_in_every_version_of_the_application(run, database):
    config = PLACED.replace("elsewhere.db", database)
    done = run(config=config.replace("name: r.state", "name: r.stat"))
    assert done.returncode == 0 and "22:30: warning: sources.app.capture[0].map[1].data.document.name: no such column" in done.stderr
    done = run(config=config.replace("name: r.state", "name: r.state ||"))
    assert done.returncode == 1
    assert "22:30: sources.app.capture[0].map[1].data.document.name: syntax error: the SQL is not complete" in done.stderr


def test_warns_of_a_required_path_that_is_empty(run, database):
    rules = "capture:\n      " + MAPPED.replace("TEXT", "state").replace("NAME", "nobody").replace("conversation.id: r.id", "conversation.id: o.name")
    done = run("--database", database, config=CONFIG.replace("RULES", "app: desk\n    " + rules))
    assert done.returncode == 0, done.stderr
    assert "sources.app.capture[0].data.conversation.id: conversation.id has no value in some rows, but chat.response.generated must have it" in done.stderr
    assert '"type": "chat.response.generated"' in done.stdout and "dataschema" not in done.stdout


def test_warns_of_a_costly_diff(run):
    with contextlib.closing(sqlite3.connect(run.folder / "app.db")) as db, db:
        db.execute("CREATE TABLE user(id INTEGER PRIMARY KEY, role)")
        db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) INSERT INTO user SELECT i, 'x' FROM n")
    said = warnings_of(run, "app.db", DIFF)
    assert re.search(r"capture\[0\].kind: diff reads all keys and watched columns of user, (more than )?\d+ rows, when anything changes", said), said
    assert "kind: diff" not in warnings_of(run, "app.db", DIFF.replace("watch:", "last: 100, watch:"))


def test_says_which_file_it_cannot_try(run, database):
    def said(word, config=None):
        done = run("--database", word, config=config)
        assert done.returncode == 1
        return done.stderr

    rules = "capture:\n      " + OPEN_ROW
    one = CONFIG.replace("RULES", rules)
    two = one.replace("routes:", "  other:\n    type: sqlite\n    path: b.db\n    " + rules + "\nroutes:")
    hooks = "sources: {hooks: {type: http, listen: '127.0.0.1:0', paths: [{path: /v1, verify: {scheme: bearer, secrets: [a-token-of-some-length]}}]}}\n"
    assert '--database: "nothing.db": No such file or directory' in said("nothing.db")
    assert '"bridge.yaml" is no SQLite database, or it is encrypted' in said("bridge.yaml")
    assert "--database: several sources read a database; write NAME=FILE with the name of one" in said("app.db", two)
    assert "--database: no source reads a database" in said("app.db", hooks + one[one.index("routes:"):])
    done = run("--database", "other=app.db", config=two)
    assert done.returncode == 0 and "other: rule jobs: its newest row would give" in done.stdout
    assert "app: rule" not in done.stdout
