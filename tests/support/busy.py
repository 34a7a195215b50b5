# SPDX-License-Identifier: MIT
"""A busy application's database: who writes it, the rules that capture it, and what must have been told of it.

The writer knows what it committed: inserts, updates, deletes of the newest rows (whose rowids come again), rollbacks, VACUUM, rebuilt
tables, new columns, indexes that come and go. Of every kind of rule nothing may be lost and nothing told under two ids; of a row that is
told again and again, the last state must be told, and never one behind a newer one. Everybody who kills the daemon beside it (race/,
ledger/) judges by this file."""
import collections
import random
import sqlite3
import time

MODES = ("DELETE", "WAL")
SCHEMA = """
CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER NOT NULL);
CREATE TABLE keyed(id TEXT PRIMARY KEY, n INTEGER NOT NULL);
CREATE TABLE jobs(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TABLE docs(id TEXT PRIMARY KEY, v INTEGER NOT NULL);
CREATE TABLE notes(id TEXT PRIMARY KEY, v INTEGER NOT NULL, updated_at INTEGER NOT NULL);
CREATE INDEX notes_updated ON notes(updated_at);
"""
N, V = {"id": "value", "n": "value"}, {"id": "value", "v": "value"}
CAPTURE = [
    {"name": "log", "kind": "append", "table": "log", "types": {"insert": "log.line"}, "columns": N},
    {"name": "keyed", "kind": "append", "table": "keyed", "types": {"insert": "keyed.line"}, "columns": N},
    {"name": "jobs", "kind": "open_row", "table": "jobs", "done": "state = 'ok'", "abort_after": "1h", "columns": N,
     "types": {"started": "job.started", "done": "job.done", "aborted": "job.aborted"}},
    {"name": "docs", "kind": "diff", "table": "docs", "watch": ["v"], "keep": ["id", "v"], "columns": V,
     "types": {"insert": "doc.made", "update": "doc.changed", "delete": "doc.gone"}},
    {"name": "notes", "kind": "updated", "table": "notes", "cursor": "updated_at", "watch": ["v"], "columns": V,
     "types": {"insert": "note.made", "update": "note.changed"}},
]


# ---- the application ----

class Writer:
    """`model` is what it knows to be committed: {table: {key: n, (n, state) or v}}."""

    def __init__(self, path, mode, seed):
        self.db = sqlite3.connect(path, isolation_level=None, timeout=60)
        self.db.execute(f"PRAGMA journal_mode = {mode}")
        self.random = random.Random(seed)
        self.n = 0
        self.columns = 0
        self.model = {"log": {}, "keyed": {}, "jobs": {}, "docs": {}, "notes": {}}
        self.highest = collections.Counter()    # of each key of docs and notes: v never goes back, also of one that comes again
        self.commits = 0

    def next(self, good):
        self.n += 1
        return self.n if good else -self.n

    def some(self, table):
        return self.random.choice(list(table))

    def newest(self, table):
        """The keys of the one to three newest rows by rowid."""
        return [key for key, in self.db.execute(f"SELECT id FROM {table} ORDER BY rowid DESC LIMIT {self.random.randint(1, 3)}")]

    def change_log(self, model, table, good):
        if self.random.random() < 0.2:
            for key in self.newest(table):
                self.db.execute(f"DELETE FROM {table} WHERE id = ?", (key,))
                model[table].pop(key)
            return
        n = self.next(good)
        key = None if table == "log" else f"{self.random.getrandbits(64):016x}"
        row = self.db.execute(f"INSERT INTO {table}(id, n) VALUES (?, ?)", (key, n)).lastrowid
        model[table][key or row] = n

    def change_jobs(self, model, good):
        jobs = model["jobs"]
        unfinished = [key for key, (_, state) in jobs.items() if state == "new"]
        what = self.random.random()
        if what < 0.4 and unfinished:
            key = self.some(unfinished)
            self.db.execute("UPDATE jobs SET state = 'ok' WHERE id = ?", (key,))
            jobs[key] = (jobs[key][0], "ok")
        elif what < 0.45 and unfinished:
            key = self.some(unfinished)
            self.db.execute("DELETE FROM jobs WHERE id = ?", (key,))
            del jobs[key]
        else:
            n, state = self.next(good), "ok" if what > 0.9 else "new"
            row = self.db.execute("INSERT INTO jobs(n, state) VALUES (?, ?)", (n, state)).lastrowid
            jobs[row] = (n, state)

    def change_docs(self, model, table, good):
        rows, what = model[table], self.random.random()
        key = f"k{self.random.randint(0, 60)}"
        v = self.highest[key] = self.highest[key] + 1
        v = v if good else -v
        now = int(time.time())
        if key not in rows:
            self.db.execute(f"INSERT INTO {table} VALUES (?, ?{', ?' if table == 'notes' else ', NULL' * self.columns})", (key, v, now)[:3 if table == "notes" else 2])
            rows[key] = v
        elif table == "docs" and what < 0.3:
            self.db.execute("DELETE FROM docs WHERE id = ?", (key,))
            del rows[key]
        else:
            self.db.execute(f"UPDATE {table} SET v = ?{', updated_at = %d' % now if table == 'notes' else ''} WHERE id = ?", (v, key))
            rows[key] = v

    def transaction(self):
        good = self.random.random() > 0.15
        model = {table: dict(rows) for table, rows in self.model.items()} if not good else self.model
        self.db.execute("BEGIN IMMEDIATE")
        for _ in range(self.random.randint(1, 4)):
            table = self.random.choice(tuple(model))
            if table == "jobs":
                self.change_jobs(model, good)
            elif table in ("docs", "notes"):
                self.change_docs(model, table, good)
            else:
                self.change_log(model, table, good)
        self.db.execute("COMMIT" if good else "ROLLBACK")
        self.commits += 1

    def upheaval(self):
        what = self.random.randint(0, 4)
        if what == 0:
            self.db.execute("VACUUM")
        elif what == 1 and self.columns < 8:
            self.columns += 1
            self.db.execute(f"ALTER TABLE docs ADD COLUMN more{self.columns}")
        elif what == 2:
            more = "".join(f", more{i + 1}" for i in range(self.columns))
            self.db.executescript(f"BEGIN IMMEDIATE; CREATE TABLE docs_new(id TEXT PRIMARY KEY, v INTEGER NOT NULL{more});"
                                  "INSERT INTO docs_new SELECT * FROM docs; DROP TABLE docs; ALTER TABLE docs_new RENAME TO docs; COMMIT")
        elif what == 3:
            self.db.executescript("DROP INDEX IF EXISTS notes_updated")
        else:
            self.db.executescript("CREATE INDEX IF NOT EXISTS notes_updated ON notes(updated_at)")

    def act(self):
        self.transaction()
        if self.random.random() < 0.004:
            self.upheaval()

    def mark(self, number):
        """A line and a note that are the last: what is read behind them was committed before them."""
        self.db.execute("BEGIN IMMEDIATE")
        self.model["log"][self.db.execute("INSERT INTO log(n) VALUES (?)", (10**9 + number,)).lastrowid] = 10**9 + number
        self.db.execute("INSERT INTO notes VALUES (?, 1, ?)", (f"end{number}", int(time.time())))
        self.model["notes"][f"end{number}"] = 1
        self.db.execute("COMMIT")


def create(path, mode):
    """The database with its tables."""
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA journal_mode = {mode}")
    db.executescript(SCHEMA)
    db.close()


# ---- what must be told ----
# An event is {"type": ..., "data": ...}; `found` has each id once.

def told(found, kind):
    return [event for event in found if event["type"] == kind]


def check_lines(found, kind, rows, problems):
    times = collections.Counter(event["data"]["n"] for event in told(found, kind))
    for key, n in rows.items():
        if times[n] == 0:
            problems.append(f"{kind}: {key} ({n}) is lost")
    problems += [f"{kind}: {n} was told {count} times, under as many ids" for n, count in times.items() if count > 1]
    problems += [f"{kind}: {n} was rolled back" for n in times if n < 0]


def check_jobs(found, rows, problems):
    seen = {kind: collections.Counter(event["data"].get("n", event["data"]["id"]) for event in told(found, f"job.{kind}"))
            for kind in ("started", "done", "aborted")}
    for key, (n, state) in rows.items():
        if state == "ok" and seen["done"][n] != 1:
            problems.append(f"jobs: {key} ({n}) was told done {seen['done'][n]} times")
        if state == "new" and (seen["started"][n] != 1 or seen["done"][n]):
            problems.append(f"jobs: {key} ({n}) was told started {seen['started'][n]} times, done {seen['done'][n]} times")
    problems += [f"jobs: {n} was told {kind} {count} times" for kind, counts in seen.items() for n, count in counts.items() if count > 1 or n < 0]


def check_states(found, kinds, rows, problems):
    """The newest that was told of each key is what it is."""
    newest = {}
    for event in found:
        if event["type"] in kinds:
            key, v = event["data"]["id"], event["data"]["v"]
            if v < 0:
                problems.append(f"{event['type']}: {key} was told with {v}, which was rolled back")
            newest[key] = max(newest.get(key, (0, False)), (v, event["type"] == "doc.gone"))
    for key in rows.keys() | newest.keys():
        v, gone = newest.get(key, (None, True))
        if (None if gone else v) != rows.get(key):
            problems.append(f"{kinds[0]}: {key} is {rows.get(key)}, but the newest that was told is {newest.get(key)}")


def balance(found, model):
    """What was told against what was committed, in any order; [] when it is the same."""
    problems = []
    check_lines(found, "log.line", model["log"], problems)
    check_lines(found, "keyed.line", model["keyed"], problems)
    check_jobs(found, model["jobs"], problems)
    check_states(found, ("doc.made", "doc.changed", "doc.gone"), model["docs"], problems)
    check_states(found, ("note.made", "note.changed"), model["notes"], problems)
    return problems


def place(type, data):
    """(key, number): of two events of that key the one with the smaller number happened first. None: it has no other of its key."""
    if type.startswith("job."):
        return f"jobs/{data['id']}", int(type != "job.started")
    if type.startswith(("doc.", "note.")):
        return f"{type.partition('.')[0]}/{data['id']}", 2 * data["v"] + (type == "doc.gone")
    return None


def disorder(found):
    """What was told behind something newer of its key."""
    problems, last = [], {}
    for event in found:
        key, number = place(event["type"], event["data"]) or (None, 0)
        if key and number <= last.get(key, -1):
            problems.append(f"{event['type']}: {key} was told with {event['data']} behind number {last[key]}")
        if key:
            last[key] = number
    return problems
