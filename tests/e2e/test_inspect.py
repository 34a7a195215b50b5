# SPDX-License-Identifier: MIT
"""`aqueduct sqlite inspect FILE`: what is in a database, and a configuration for it."""
import contextlib
import hashlib
import json
import pathlib
import sqlite3
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def run(aqueduct, tmp_path):
    def call(*args):
        return subprocess.run([aqueduct, *args], cwd=tmp_path, capture_output=True, text=True, timeout=60, env={})
    call.folder = tmp_path
    return call


def make(run, script, mode="delete"):
    """A database app.db; before the application has closed it in WAL mode, its -wal holds the rows."""
    db = sqlite3.connect(run.folder / "app.db")
    db.execute(f"PRAGMA journal_mode = {mode}")
    db.executescript(script)
    db.commit()
    return db


def inspect(run):
    done = run("sqlite", "inspect", "app.db", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(run, *args):
    """Is what it prints a configuration that check takes?"""
    (run.folder / "bridge.yaml").write_text(run("sqlite", "inspect", "app.db").stdout)
    done = run("check", *args)
    assert done.returncode == 0, done.stderr
    return done


def tree(folder):
    return {one.name: hashlib.sha256(one.read_bytes()).digest() for one in folder.iterdir()}


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_recognises_an_application_and_leaves_nothing(run, mode):
    make(run, (ROOT / "tests/data/anythingllm.sql").read_text() + "INSERT INTO users(username, password) VALUES('ann', 'the-hash');", mode).close()
    before = tree(run.folder)
    found = inspect(run)
    assert (found["application"], found["preset"], found["journal_mode"]) == ("AnythingLLM", "anythingllm", mode)
    assert found["bytes"] == (run.folder / "app.db").stat().st_size and found["page_size"] == 4096
    users = next(table for table in found["tables"] if table["name"] == "users")
    assert (users["rows"], users["exact"]) == (1, True)
    assert [(rule["name"], rule["kind"]) for rule in users["rules"]] == [("users", "diff")]
    assert "user.created" in users["rules"][0]["types"]
    text = run("sqlite", "inspect", "app.db").stdout
    assert text.startswith("# app.db: AnythingLLM\n") and "the-hash" not in text
    assert tree(run.folder) == before
    assert check(run).stderr == "" and found["advice"] is None


# What a preset cannot spare its application: Kotaemon's vectors are without an index on their file.
COSTS = {"kotaemon": "rule files.index__1__source: key: finding the row of one key reads the whole of i"}


@pytest.mark.parametrize("preset", sorted(one.stem for one in (ROOT / "tests/data").glob("*.sql") if (ROOT / f"schemas/presets/{one.stem}.yaml").exists()))
def test_each_preset_fits_its_application(run, preset):
    make(run, (ROOT / f"tests/data/{preset}.sql").read_text()).close()
    found = inspect(run)
    assert found["preset"] == preset
    assert not [note for note in found["notes"] if COSTS.get(preset, "nothing") not in note]
    assert all(rule["types"] for table in found["tables"] for rule in table["rules"])
    if preset == "kotaemon":
        table = next(table for table in found["tables"] if table["name"] == "index__1__source")
        assert [rule["name"] for rule in table["rules"]] == ["files", "files_removed"]
    warnings = check(run, "--database", "app.db").stderr.splitlines()
    assert not [line for line in warnings if COSTS.get(preset, "nothing") not in line]


def test_sees_what_the_write_ahead_log_holds(run):
    with contextlib.closing(make(run, "CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES(1), (2);", "wal")):
        found = inspect(run)
        assert [(table["name"], table["rows"]) for table in found["tables"]] == [("t", 2)]
        assert found["wal_bytes"] > 0


def test_proposes_a_rule_for_each_table(run):
    make(run, """
        CREATE TABLE customer(id TEXT PRIMARY KEY, name, password, api_key_hash, created_at INTEGER, updated_at, photo BLOB);
        INSERT INTO customer VALUES('c1', 'Ann', 'the-word', 'the-hash', 1750000000, 1750000000, x'00');
        CREATE TABLE audit_log(id INTEGER PRIMARY KEY AUTOINCREMENT, what);
        INSERT INTO audit_log(what) VALUES('began');
        CREATE TABLE pair(a, b, PRIMARY KEY(a, b)); INSERT INTO pair VALUES(1, 2);
        CREATE TABLE strict_pair(a TEXT, b, PRIMARY KEY(a, b)) WITHOUT ROWID;
        CREATE TABLE alembic_version(v);
        CREATE VIRTUAL TABLE found USING fts5(text);
        CREATE VIEW names AS SELECT name FROM customer;""").close()
    tables = {table["name"]: table["rules"] for table in inspect(run)["tables"]}
    assert set(tables) == {"customer", "audit_log", "pair", "strict_pair", "alembic_version"}
    assert {name: [rule["kind"] for rule in rules] for name, rules in tables.items() if rules} == {
        "customer": ["diff"], "audit_log": ["append"], "pair": ["diff"]}
    done = check(run, "--json", "--database", "app.db")
    events = {one["rule"]: one["event"] for one in json.loads(done.stdout)["events"]}
    assert {rule: event["type"] for rule, event in events.items()} == {
        "customer": "customer.created", "audit_log": "audit_log.created", "pair": "pair.created"}
    assert events["customer"]["time"] == "2025-06-15T15:06:40.000Z"
    assert "the-word" not in done.stdout


def test_keeps_back_what_is_called_like_a_secret_and_says_to_look_for_more(run):
    make(run, """
        CREATE TABLE account(id INTEGER PRIMARY KEY, name, Passwd, clientSecret, "refresh-token", api_key, pw_hash, SALT, note, hashtags);
        INSERT INTO account VALUES(1, 'Ann', 'p1', 'p2', 'p3', 'p4', 'p5', 'p6', 'n', '#a');
        CREATE TABLE session(token TEXT PRIMARY KEY, at);
        CREATE TABLE device(token TEXT PRIMARY KEY, at) WITHOUT ROWID;
        INSERT INTO session VALUES('p7', 1);""").close()
    text = run("sqlite", "inspect", "app.db").stdout
    assert 'never: [Passwd, clientSecret, "refresh-token", api_key, pw_hash, SALT]' in text
    assert "# tells: [id, name, note, hashtags]" in text
    advice = inspect(run)["advice"]
    assert advice.startswith("Look through the columns ") and f"    # {advice}\n    capture:\n" in text
    done = check(run, "--json", "--database", "app.db")
    events = {one["rule"]: one["event"] for one in json.loads(done.stdout)["events"]}
    assert set(events) == {"account", "session"} # what only a secret tells apart is not captured
    assert set(events["account"]["data"]) == {"id", "name", "note", "hashtags"}
    assert set(events["session"]["data"]) == {"at"} and events["session"]["subject"] == "session/1"
    assert not any(f"p{n}" in done.stdout for n in range(1, 8))


def test_names_that_yaml_or_a_terminal_would_misread(run):
    names = ["on", "${HOME} 'it' \"is\"", "${HOME}_'it'_\"is\"", "line\nbroken: \x1b[31mred", "tabelle_ä", "# comment", "- item: {a, b}"]
    columns = ["null", "yes: no", "#", "a,b]", "[12]", "${x}", 'say "so"']
    quoted = ['"' + name.replace('"', '""') + '"' for name in names + columns]
    make(run, "".join(f"CREATE TABLE {table}(id INTEGER PRIMARY KEY, {', '.join(quoted[len(names):])}); INSERT INTO {table}(id) VALUES(1);"
                      for table in quoted[:len(names)])).close()
    assert check(run).stderr == ""
    text = run("sqlite", "inspect", "app.db").stdout
    assert "\x1b" not in text
    subjects = {one["event"]["subject"] for one in json.loads(check(run, "--json", "--database", "app.db").stdout)["events"]}
    assert subjects >= {f"{name}/1" for name in names if "\n" not in name}


def test_counts_no_longer_than_it_may(run):
    make(run, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE u(k TEXT PRIMARY KEY) WITHOUT ROWID;"
         "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) INSERT INTO t SELECT i, i FROM n;"
         "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) INSERT INTO u SELECT i FROM n;").close()
    tables = {table["name"]: table for table in inspect(run)["tables"]}
    assert tables["t"]["rows"] == 300000 or (tables["t"]["rows"] < 300000 and not tables["t"]["exact"])
    assert (tables["u"]["rows"], tables["u"]["exact"]) == (8192, False)
    assert tables["t"]["rules"][0]["kind"] == "append" or tables["t"]["rows"] <= 100000
    check(run)


@pytest.mark.parametrize("make_it, said", [
    (lambda path: None, 'aqueduct sqlite: "app.db": No such file or directory'),
    (lambda path: path.mkdir(), 'aqueduct sqlite: "app.db" is a folder; name the database file itself'),
    (lambda path: path.write_text("no database, but longer than a header\n" * 9), 'aqueduct sqlite: "app.db" is no SQLite database, or it is encrypted'),
    (lambda path: sqlite3.connect(path).execute("CREATE TABLE alembic_version(v)").connection.close(), "it has no table that could be captured"),
])
def test_says_what_it_cannot_inspect(run, make_it, said):
    make_it(run.folder / "app.db")
    done = run("sqlite", "inspect", "app.db")
    assert done.returncode == 1
    assert done.stdout == ""
    assert said in done.stderr


def test_a_locked_database_is_not_waited_for(run):
    with contextlib.closing(make(run, "CREATE TABLE t(id INTEGER PRIMARY KEY)")) as db:
        db.execute("BEGIN EXCLUSIVE")
        done = run("sqlite", "inspect", "app.db")
        assert done.returncode == 1
        assert "app.db: is locked, as its application is writing; try again" in done.stderr


def test_usage(run):
    assert run("sqlite").returncode == 2
    assert run("sqlite", "inspect").returncode == 2
    assert 'did you mean inspect?' in run("sqlite", "inspct", "app.db").stderr
    told = run("help", "sqlite").stdout
    assert "aqueduct sqlite inspect FILE" in told and "preset  (name of a preset" in told
