#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes an AnythingLLM database as the application does: real schema, same tables, same order of commits, made-up people.

    anythingllm_app.py --db storage/anythingllm.db --rate 3                  until Ctrl-C
    anythingllm_app.py --db a.db --count 500 --seed 7 --ledger ledger.jsonl  500 actions as fast as possible

With --ledger every commit is noted as one JSON line {"commit": n, "ms": ..., "expect": [[type, subject], ...]}: the events that it
amounts to. expected() turns such lines into what must and what may be seen. The same seed gives the same actions.
Only Python's standard library. On Ctrl-C or at the end it finishes what it has begun (agents that still think)."""
import argparse
import json
import os
import random
import signal
import sqlite3
import sys
import time
import uuid

SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "anythingllm.sql")
PEOPLE = ["ada", "grace", "linus", "margaret", "dennis", "barbara", "ken", "radia", "donald", "frances"]
TITLES = ["Handbook", "Contract", "Minutes", "Invoice", "Offer", "Guide", "Report", "Plan", "Übersicht", "報告"]
WORDS = "what does the report say about delivery times and who signs for late parts in the second quarter".split()


def now_ms():
    return int(time.time() * 1000)


def chat_subject(chat, space, user=None, thread=None):
    """The subject of a chat's events: its conversation, and itself."""
    return f"conversations/ws/{space}" + (f"/thread/{thread}" if thread else f"/user/{user}" if user else "") + f"/messages/{chat}"


class App:
    def __init__(self, path, journal="delete", seed=None, ledger=None, quiet=True):
        new = not os.path.exists(path)
        self.db = sqlite3.connect(path, timeout=5, isolation_level=None)
        self.db.execute(f"PRAGMA journal_mode = {journal}")
        self.db.execute("PRAGMA foreign_keys = 1")
        if new:
            with open(SCHEMA, encoding="utf-8") as f:
                self.db.executescript("BEGIN;" + f.read() + "COMMIT;")
        self.random = random.Random(seed)
        self.ledger = ledger
        self.quiet = quiet
        self.commits = 0
        self.thinking = []      # agent chats that are not answered yet: (chat id, invocation id)
        self.uploaded = []      # files that are not embedded yet

    # ---- one commit ----

    def commit(self, text, steps, expect):
        """Runs the steps in one transaction; a step is (sql, values). Returns the ids of the inserted rows, one per step."""
        ids = []
        self.db.execute("BEGIN IMMEDIATE")
        try:
            for sql, values in steps:
                ids.append(self.db.execute(sql, values).lastrowid)
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise
        self.commits += 1
        if self.ledger is not None:
            events = [[t, s.format(*ids)] for t, s in expect]
            self.ledger.write(json.dumps({"commit": self.commits, "ms": now_ms(), "expect": events}) + "\n")
            self.ledger.flush()
        if not self.quiet:
            print(f"  app  {text}", flush=True)
        return ids

    def log(self, event, metadata, user=None):
        """A row of the audit log; names that the bridge reports under a type of their own are mapped here as the preset does."""
        kind, subject = "audit.logged", "event_logs/{0}"
        if event in ("document_uploaded", "link_uploaded"):
            kind, subject = "document.uploaded", "documents/log/{0}"
        elif event == "login_event":
            kind, subject = "user.login", f"users/{user}" if user else subject
        elif event.startswith("failed_login_"):
            kind = "user.login_failed"
        self.commit(f"log {event}", [("INSERT INTO event_logs(event, metadata, userId, occurredAt) VALUES (?, ?, ?, ?)",
                                      (event, json.dumps(metadata), user, now_ms()))], [(kind, subject)])

    def chats(self, condition, *values):
        """The subjects of the chats that meet the condition."""
        rows = self.db.execute(f"SELECT id, workspaceId, user_id, thread_id FROM workspace_chats WHERE {condition}", values)
        return {row[0]: chat_subject(*row) for row in rows.fetchall()}

    def one(self, sql, *values):
        row = self.db.execute(sql, values).fetchone()
        return row[0] if row else None

    def pick(self, sql):
        rows = self.db.execute(sql).fetchall()
        return self.random.choice(rows) if rows else None

    def sentence(self):
        return " ".join(self.random.choice(WORDS) for _ in range(self.random.randint(4, 12)))

    def token(self):
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    # ---- what people do ----

    def new_workspace(self):
        name = f"{self.random.choice(TITLES)} {self.random.randint(1, 10**9)}"
        slug = name.lower().replace(" ", "-")
        if self.one("SELECT 1 FROM workspaces WHERE slug = ?", slug):
            return
        self.commit(f"new workspace {name}", [("INSERT INTO workspaces(name, slug, createdAt, lastUpdatedAt, chatMode) VALUES (?, ?, ?, ?, 'automatic')",
                                               (name, slug, now_ms(), now_ms()))], [("collection.created", "collections/{0}")])
        self.log("workspace_created", {"workspaceName": name})

    def new_user(self):
        name = f"{self.random.choice(PEOPLE)}{self.random.randint(1, 10**9)}"
        if self.one("SELECT 1 FROM users WHERE username = ?", name):
            return
        self.commit(f"new user {name}", [("INSERT INTO users(username, password, role, createdAt, lastUpdatedAt) VALUES (?, '$2b$10$made-up', 'default', ?, ?)",
                                          (name, now_ms(), now_ms()))], [("user.created", "users/{0}")])
        self.log("user_created", {"userName": name, "createdBy": "admin"})

    def change_user(self):
        row = self.pick("SELECT id, username, suspended FROM users ORDER BY id DESC LIMIT 10")
        if row:
            self.commit(f"user {row[1]} {'back' if row[2] else 'suspended'}", [("UPDATE users SET suspended = ? WHERE id = ?", (1 - row[2], row[0]))],
                        [("user.updated", f"users/{row[0]}")])
            self.log("user_updated", {"username": row[1], "changes": {"suspended": f"{row[2]} => {1 - row[2]}"}}, row[0])

    def delete_user(self):
        row = self.pick("SELECT id, username FROM users ORDER BY id LIMIT 5")
        if row and self.one("SELECT count(*) FROM users") > 4:
            chats = self.chats("user_id = ?", row[0])
            self.commit(f"delete user {row[1]}", [("DELETE FROM users WHERE id = ?", (row[0],))],
                        [("user.deleted", f"users/{row[0]}")] + [("chat.deleted", c) for c in chats.values()])
            self.thinking = [t for t in self.thinking if t[0] not in chats]
            self.log("user_deleted", {"username": row[1], "deletedBy": "admin"})

    def login(self):
        row = self.pick("SELECT id, username FROM users")
        if row and self.random.random() < 0.7:
            self.log("login_event", {"ip": "127.0.0.1", "username": row[1], "multiUserMode": True}, row[0])
        else:
            self.log("failed_login_invalid_password", {"ip": "127.0.0.1", "username": row[1] if row else "nobody", "multiUserMode": True})

    def invite(self):
        code = self.token().replace("-", "")[:16].upper()
        self.commit("invite", [("INSERT INTO invites(code, createdBy, createdAt) VALUES (?, 1, ?)", (code, now_ms()))], [])
        self.log("invite_created", {"inviteCode": code, "createdBy": "admin"}, 1)

    def upload(self):
        name = f"{self.random.choice(TITLES)}-{self.random.randint(1, 9999)}.pdf"
        self.uploaded.append(name)
        self.log("document_uploaded", {"documentName": name})

    def embed(self):
        space = self.pick("SELECT id, name FROM workspaces")
        if not space or not self.uploaded:
            return self.upload()
        name = self.uploaded.pop(0)
        doc, page = self.token(), self.token()      # two ids: the row's, and the file's, which answers name in their sources
        vectors = [(doc, self.token()) for _ in range(self.random.randint(1, 8))]
        self.commit(f"vectors of {name}", [("INSERT INTO document_vectors(docId, vectorId) VALUES (?, ?)", v) for v in vectors], [])
        meta = {"id": page, "url": f"file://{name}", "title": name, "docAuthor": "no author found", "description": "", "docSource": "pdf file",
                "chunkSource": "localfile://" + name, "published": "8/21/2026, 10:00:00 AM", "wordCount": 420, "token_count_estimate": 900}
        self.commit(f"embedded {name}", [("INSERT INTO workspace_documents(docId, filename, docpath, workspaceId, metadata, createdAt, lastUpdatedAt) VALUES (?, ?, ?, ?, ?, ?, ?)",
                                          (doc, f"{name}-{page}.json", f"custom-documents/{name}-{page}.json", space[0], json.dumps(meta), now_ms(), now_ms()))],
                    [("document.embedded", f"documents/{page}")])
        self.log("workspace_documents_added", {"workspaceName": space[1], "numberOfDocumentsAdded": 1})

    def pin(self):
        row = self.pick("SELECT id, pinned, metadata->>'$.id' FROM workspace_documents ORDER BY id DESC LIMIT 10")
        if row:
            self.commit("pin" if not row[1] else "unpin", [("UPDATE workspace_documents SET pinned = ? WHERE id = ?", (0 if row[1] else 1, row[0]))],
                        [("document.updated", f"documents/{row[2]}")])

    def remove_document(self):
        row = self.pick("SELECT id, docId, metadata->>'$.id' FROM workspace_documents ORDER BY id LIMIT 5")
        if row:
            self.commit("remove a document", [("DELETE FROM document_vectors WHERE docId = ?", (row[1],)), ("DELETE FROM workspace_documents WHERE id = ?", (row[0],))],
                        [("document.removed", f"documents/{row[2]}")])
            self.log("workspace_documents_removed", {"workspaceName": "x", "numberOfDocuments": 1})

    def delete_workspace(self):
        if self.one("SELECT count(*) FROM workspaces") < 3:
            return
        space, name = self.pick("SELECT id, name FROM workspaces")
        chats = self.chats("workspaceId = ?", space)
        docs = self.db.execute("SELECT metadata->>'$.id' FROM workspace_documents WHERE workspaceId = ?", (space,)).fetchall()
        runs = self.db.execute("SELECT id FROM workspace_agent_invocations WHERE workspace_id = ?", (space,)).fetchall()
        self.commit("clear chats of a workspace", [("DELETE FROM workspace_chats WHERE workspaceId = ?", (space,))],
                    [("chat.deleted", c) for c in chats.values()])
        self.thinking = [t for t in self.thinking if t[0] not in chats]
        self.commit("clear documents of a workspace", [("DELETE FROM workspace_documents WHERE workspaceId = ?", (space,))],
                    [("document.removed", f"documents/{d}") for d, in docs])
        self.commit(f"delete workspace {name}", [("DELETE FROM workspaces WHERE id = ?", (space,))],
                    [("collection.deleted", f"collections/{space}")] + [("run.aborted", f"runs/agent/{r}") for r, in runs])
        self.log("workspace_deleted", {"workspaceName": name})

    def plain_chat(self):
        space = self.pick("SELECT id, name FROM workspaces")
        user = self.pick("SELECT id FROM users")
        if not space:
            return self.new_workspace()
        answer = {"text": self.sentence(), "sources": [{"title": self.random.choice(TITLES), "chunk": self.sentence()}], "type": "chat", "attachments": [], "metrics": {}}
        self.commit("chat", [("INSERT INTO workspace_chats(workspaceId, prompt, response, include, user_id, createdAt, lastUpdatedAt) VALUES (?, ?, ?, 1, ?, ?, ?)",
                              (space[0], self.sentence(), json.dumps(answer), user[0] if user else None, now_ms(), now_ms()))],
                    [("chat.response.generated", chat_subject("{0}", space[0], user[0] if user else None))])
        self.log("sent_chat", {"workspaceName": space[1], "chatModel": "made-up"}, user[0] if user else None)

    def agent_chat(self):
        space = self.pick("SELECT id, name FROM workspaces")
        if not space:
            return self.new_workspace()
        prompt = "@agent " + self.sentence()
        invocation, = self.commit("agent called", [("INSERT INTO workspace_agent_invocations(uuid, prompt, workspace_id, createdAt) VALUES (?, ?, ?, ?)",
                                                    (self.token(), prompt, space[0], now_ms()))], [("run.started", "runs/agent/{0}")])
        self.log("sent_chat", {"workspaceName": space[1], "chatModel": "made-up"})
        chat, = self.commit("agent thinks", [("INSERT INTO workspace_chats(workspaceId, prompt, response, include, createdAt, lastUpdatedAt) VALUES (?, ?, '{}', 0, ?, ?)",
                                              (space[0], prompt, now_ms(), now_ms()))], [("chat.started", chat_subject("{0}", space[0]))])
        self.thinking.append((chat, invocation))

    def agent_answers(self):
        if not self.thinking:
            return self.agent_chat()
        chat, invocation = self.thinking.pop(self.random.randrange(len(self.thinking)))
        answer = {"text": self.sentence(), "sources": [], "type": "automatic", "attachments": [], "metrics": {}}
        self.commit(f"agent answers chat {chat}", [("UPDATE workspace_chats SET response = ?, include = 1, lastUpdatedAt = ? WHERE id = ?", (json.dumps(answer), now_ms(), chat))],
                    [("chat.response.generated", s) for s in self.chats("id = ?", chat).values()])
        self.commit("agent closed", [("UPDATE workspace_agent_invocations SET closed = 1 WHERE id = ?", (invocation,))],
                    [("run.finished", f"runs/agent/{invocation}")])

    def feedback(self):
        row = self.pick("SELECT id FROM workspace_chats WHERE response <> '{}' AND feedbackScore IS NULL ORDER BY id DESC LIMIT 10")
        if row:
            self.commit("feedback", [("UPDATE workspace_chats SET feedbackScore = ? WHERE id = ?", (self.random.randint(0, 1), row[0]))],
                        [("chat.feedback", s) for s in self.chats("id = ?", row[0]).values()])

    # ---- a day in the office ----

    ACTIONS = [("plain_chat", 24), ("agent_chat", 12), ("agent_answers", 14), ("upload", 10), ("embed", 12), ("pin", 5), ("feedback", 6), ("login", 8),
               ("new_user", 4), ("change_user", 2), ("delete_user", 1), ("invite", 1), ("new_workspace", 2), ("remove_document", 3), ("delete_workspace", 1)]

    def act(self):
        names, weights = zip(*self.ACTIONS)
        getattr(self, self.random.choices(names, weights)[0])()

    def finish(self):
        while self.thinking:
            self.agent_answers()


CHANGES = ("chat.started", "chat.feedback", "document.updated", "user.updated", "run.started")
DELETES = ("chat.deleted", "document.removed", "user.deleted", "collection.deleted", "run.aborted")


def expected(lines):
    """From ledger lines: must = {(type, subject)} that has to be seen, may = all that is allowed.

    Rows that are only added, and what was inserted and stayed, must be seen, however long the bridge was away. A diff sees the state
    between two looks, so a change that came before the row was first seen, or that was undone in between, and whatever
    happened to a row that is gone by now, may be seen or not; but a delete must be seen if the insert was."""
    must, may, gone = set(), set(), set()
    for line in lines:
        for kind, subject in line["expect"]:
            may.add((kind, subject))
            if kind in DELETES:
                gone.add(subject)
                may.add(("chat.response.aborted", subject))
            elif kind not in CHANGES:
                must.add((kind, subject))
    return {(kind, subject) for kind, subject in must if subject not in gone}, may


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--db", required=True, help="database file; made with the real schema when it is not there")
    parser.add_argument("--rate", type=float, default=0, help="actions per second; 0: as fast as possible")
    parser.add_argument("--count", type=int, default=0, help="actions; 0: until Ctrl-C")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--journal", choices=["delete", "wal"], default="delete")
    parser.add_argument("--ledger", help="append what is to be expected to this file")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    args = parser.parse_args()
    stop = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.append(1))
    ledger = open(args.ledger, "a", encoding="utf-8") if args.ledger else None
    app = App(args.db, args.journal, args.seed, ledger, args.quiet)
    done = 0
    while not stop and (args.count == 0 or done < args.count):
        app.act()
        done += 1
        if args.rate:
            time.sleep(app.random.uniform(0.5, 1.5) / args.rate)
    app.finish()
    app.db.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
