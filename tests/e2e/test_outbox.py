# SPDX-License-Identifier: MIT
"""Rules of kind outbox: `aqueduct sqlite setup | verify | teardown`, and every state of a row told, whatever dies."""
import contextlib
import json
import sqlite3
import subprocess

import pytest

from conftest import SECRET, wait_for

RULE = "{{name: {name}, kind: outbox, table: {table}, watch: [{watch}], never: [password], types: {{insert: t.made, update: t.changed, delete: t.gone}}{more}}}"
SCHEMA = "CREATE TABLE people(id INTEGER PRIMARY KEY, role, password); CREATE TABLE things(id TEXT PRIMARY KEY, role, password);"


def rule(name="people", table="people", watch="role", more=""):
    return RULE.format(name=name, table=table, watch=watch, more=more)


class App:
    """An application's database, and commands about it."""

    def __init__(self, aqueduct, folder):
        self.program, self.folder = aqueduct, folder
        self.db = sqlite3.connect(folder / "app.db", isolation_level=None)
        self.db.executescript("PRAGMA journal_mode = WAL;" + SCHEMA)

    def configure(self, *rules):
        lines = "".join(f"      - {one}\n" for one in rules)
        (self.folder / "bridge.yaml").write_text(
            "broker: {path: data}\nsources:\n  desk:\n    type: sqlite\n    path: app.db\n    capture:\n" + lines + "routes: [{topic: events}]\n")

    def __call__(self, *words, code=0):
        done = subprocess.run([self.program, "sqlite", *words], cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr + done.stdout

    def check(self):
        done = subprocess.run([self.program, "check", "--database", "app.db"], cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def ours(self, kind="trigger"):
        """Names behind aqueduct_outbox. of what stands in the database."""
        return {name.removeprefix("aqueduct_outbox.") for name, in self.db.execute(
            "SELECT name FROM sqlite_schema WHERE type = ? AND name LIKE 'aqueduct%'", (kind,))}


@pytest.fixture
def app(aqueduct, tmp_path):
    one = App(aqueduct, tmp_path)
    with contextlib.closing(one.db):
        yield one


def triggers(name):
    return {f"desk.{name}.{op}" for op in ("insert", "update", "delete")}


def test_setup_verify_and_teardown(app):
    app.configure(rule(), rule("things", "things"))
    missing = app("verify", code=1)
    assert "trigger insert: missing" in missing and missing.endswith("\nrun aqueduct sqlite setup\n")
    sql = app("setup", "--dry-run")
    assert not app.ours() and not app.ours("table")
    app("setup")
    assert app.ours() == triggers("people") | triggers("things")
    schema = app.db.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
    assert app("setup") == "desk: all is as it should be\n"
    assert app.db.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall() == schema
    assert "missing" not in app("verify") and "run aqueduct" not in app("verify")
    report, = json.loads(app("verify", "--json"))
    assert [(one["rule"], one["changes"], set(one["triggers"].values())) for one in report["rules"]] == [("people", 0, {"good"}), ("things", 0, {"good"})]
    app.db.execute("INSERT INTO people VALUES (1, 'user', 'the-hash')")
    assert "the-hash" not in str(app.db.execute('SELECT * FROM "aqueduct_outbox.desk.people"').fetchall())
    left = app("teardown")
    assert "table aqueduct_outbox.desk.people: stays, as it holds changes" in left
    assert not app.ours() and app.ours("table") == {"desk.people"}
    app("teardown", "--drop")
    assert not app.ours("table") and app("teardown") == "desk: nothing to take away\n"
    with contextlib.closing(sqlite3.connect(app.folder / "other.db", isolation_level=None)) as other:    # what was printed does the same
        other.executescript(SCHEMA + sql)
        assert other.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall() == schema


def test_check_and_inspect_know_them(app):
    app.configure(rule())
    assert "its triggers are not set up" in app.check()
    app("setup")
    assert "its triggers" not in app.check()
    app.db.execute("INSERT INTO people VALUES (1, 'user', 'the-hash')")
    app.db.execute("DELETE FROM people")
    text = app.check()                          # the last change, not the newest row
    assert '"type": "t.gone"' in text and '"role": "user"' in text
    assert "aqueduct_outbox" not in app("inspect", "app.db")
    app.db.execute("ALTER TABLE people ADD COLUMN mail")
    assert "the table has columns that its triggers do not write" in app.check()


def test_setup_follows_the_rules(app):
    app.configure(rule(), rule("things", "things"))
    app("setup")
    app.db.execute("INSERT INTO things VALUES ('a', 'x', 'y')")
    app.db.execute("DROP TRIGGER \"aqueduct_outbox.desk.people.delete\"")
    app.db.execute("ALTER TABLE people ADD COLUMN mail")
    app.configure(rule(watch="role, mail", more=", retain: 1h"))
    told = app("verify", code=1)
    assert "people: trigger update: differs" in told and "people: trigger delete: missing" in told and "trigger aqueduct_outbox.desk.things.insert: belongs to no rule" in told
    app("setup")
    assert app.ours() == triggers("people") and app.ours("table") == {"desk.people", "desk.things"}
    app("verify")
    app.db.execute("INSERT INTO people VALUES (1, 'user', 'hash', 'a@x')")
    app.db.execute("UPDATE people SET mail = 'b@x'")
    assert app.db.execute('SELECT op, row_mail, old_mail FROM "aqueduct_outbox.desk.people"').fetchall() == [("insert", "a@x", None), ("update", "b@x", "a@x")]
    app.configure("{name: log, kind: append, table: people, types: {insert: t.made}}")
    assert "no rule of kind outbox is configured" in app("verify", code=1)      # the triggers still cost
    app("teardown", "app.db", "--drop")         # of whatever source, without its configuration
    assert not app.ours() and not app.ours("table")
    done = subprocess.run([app.program, "sqlite", "setup"], cwd=app.folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "aqueduct sqlite: no rule of kind outbox is configured\n")


@pytest.mark.parametrize("wrong, says", [
    (rule(table="peple"), 'desk: rule people: table: there is no table "peple" (did you mean people?)'),
    (rule(watch="roles"), 'desk: rule people: watch: there is no column "roles" in people (did you mean role?)'),
    (rule(more=", key: nr"), 'desk: rule people: key: there is no column "nr" in people'),
    (rule(more=", where: roles = 1"), "desk: rule people: where: no such column: roles (did you mean role?)"),
    (rule().replace("password", "pasword"), 'desk: rule people: never: there is no column "pasword" in people (did you mean password?)'),
])
def test_setup_refuses_what_does_not_fit(app, wrong, says):
    app.configure(rule("things", "things"), wrong)
    assert says in app("setup", code=1)
    assert not app.ours() and not app.ours("table")


def test_misuse(app):
    app.configure(rule())
    assert "there is no sqlite source of that name" in app("setup", "--source", "other", code=1)
    assert "--drop belongs to teardown" in app("setup", "--drop", code=2)
    assert "a FILE belongs to teardown" in app("setup", "app.db", code=2)
    app.db.execute("BEGIN IMMEDIATE")
    app("verify", code=1)                       # looks while the application writes
    app.db.execute("ROLLBACK")
    app.db.close()
    app("verify", code=1)
    app("setup", "--dry-run")
    assert sorted(one.name for one in app.folder.iterdir()) == ["app.db", "bridge.yaml"]    # nothing is left beside it
    (app.folder / "bridge.yaml").write_text((app.folder / "bridge.yaml").read_text().replace("app.db", "gone.db"))
    assert "No such file or directory" in app("setup", code=1)
    assert not (app.folder / "gone.db").exists()


CONFIG = f"""\
sources:
  desk:
    type: sqlite
    path: app.db
    poll: 50ms
    capture:
      - {rule()}
topics: {{$EVENTS: {{partitions: 1}}}}
routes: [{{topic: $EVENTS}}]
sinks:
  crm: {{type: webhook, topics: [$EVENTS], url: "%s", secrets: ["{SECRET}"]}}
"""


def test_every_state_is_told_whatever_dies(bridge, app, receiver):
    bridge.configure(CONFIG % receiver.url)
    assert bridge.command("sqlite", "setup").returncode == 0
    app.db.execute("INSERT INTO people VALUES (1, 0, 'the-hash')")
    daemon = bridge.start()
    for role in range(1, 41):
        app.db.execute("UPDATE people SET role = ?", (role,))
        if role in (10, 20):
            daemon.kill()
            daemon = bridge.start(ready=False)
    app.db.execute("DELETE FROM people")
    wait_for(lambda: len(receiver.ids()) >= 42, why=lambda: f"{len(receiver.ids())} are told\n{daemon.log()}")     # in whatever order
    told = {}
    for r in receiver.good():
        told.setdefault(r["id"], (r["type"], json.loads(r["body"])["data"]["role"] if "data" in json.loads(r["body"]) else json.loads(r["body"])["role"]))
    assert sorted(told.values(), key=str) == sorted([("t.made", 0), *(("t.changed", role) for role in range(1, 41)), ("t.gone", 40)], key=str)
    assert all(b"the-hash" not in r["body"] for r in receiver.all())
    daemon.ready()
    app.db.execute("DROP TRIGGER \"aqueduct_outbox.desk.people.update\"")
    wait_for(lambda: daemon.page("/readyz").status_code == 503, why=daemon.log)
    assert "run `aqueduct sqlite setup`" in daemon.page("/readyz").text
    assert daemon.metric("aqueduct_sqlite_untriggered_rules", source="desk") == 1
    assert bridge.command("sqlite", "setup").returncode == 0
    daemon.ready()
