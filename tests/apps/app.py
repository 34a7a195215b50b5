# SPDX-License-Identifier: MIT
"""An application's database, written as the application writes it, and the truth about what was written.

A script has tell(app): it commits in the order of the application and waits for the events of what it did, so that no state is over
before it could be seen. What it counts is in `truth`; each text that a person or a model wrote is in `texts`, what must never be told
in `secrets`."""
import json
import pathlib
import secrets
import sqlite3
import time
import uuid

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"


class App:
    def __init__(self, name, path, mode):
        self.truth = {"turns": 0, "edits": 0, "input_tokens": 0, "output_tokens": 0, "documents": set()}
        self.texts, self.marks, self.secrets = [], [], []      # marks: a word of each text
        self.gone = []              # tables that were dropped
        self.wait = None            # wait(type, subject, times): until so many such events were told
        self.db = sqlite3.connect(path, isolation_level=None, timeout=60)
        self.db.execute(f"PRAGMA journal_mode = {mode}")
        self.db.executescript((DATA / f"{name}.sql").read_text())

    def commit(self, *statements):
        """Each a statement, or one with its values; all in one transaction. The last new row's id, if it is a number."""
        self.db.execute("BEGIN IMMEDIATE")
        for one in statements:
            last = self.db.execute(*((one,) if isinstance(one, str) else one)).lastrowid
        self.db.execute("COMMIT")
        return last

    def add(self, table, **row):
        return self.commit(self.row(table, **row))

    @staticmethod
    def row(table, **row):
        return (f'INSERT INTO "{table}"({", ".join(chr(34) + c + chr(34) for c in row)}) VALUES({", ".join("?" * len(row))})',
                [json.dumps(v) if isinstance(v, (dict, list)) else v for v in row.values()])

    def set(self, table, key, **columns):
        self.commit((f'UPDATE "{table}" SET {", ".join(f"{chr(34)}{c}{chr(34)} = ?" for c in columns)} WHERE id = ?',
                     [json.dumps(v) if isinstance(v, (dict, list)) else v for v in columns.values()] + [key]))

    def drop(self, table, key):
        self.commit((f'DELETE FROM "{table}" WHERE id = ?', [key]))

    def text(self, about):
        self.marks.append(secrets.token_hex(6))
        self.texts.append(f"{about} über {self.marks[-1]} \"so\" <b>")
        return self.texts[-1]

    def secret(self):
        self.secrets.append("kept-" + secrets.token_hex(12))
        return self.secrets[-1]

    def turn(self, tokens_in=0, tokens_out=0):
        self.truth["turns"] += 1
        self.truth["input_tokens"] += tokens_in
        self.truth["output_tokens"] += tokens_out


def new_id():
    return str(uuid.uuid4())


def utc(ms=True, ago=0):
    """The time as TypeORM writes it."""
    now = time.time() - ago
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now)) + (f".{int(now * 1000) % 1000:03}" if ms else "")
