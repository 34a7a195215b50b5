#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Judges the events of the AnythingLLM preset with an independent validator: the data of each against schemas/events-0/, the set of
them against the ledger of the demo application that wrote the database while the source was watching.

    events.py path/to/sqlite-events"""
import collections
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time

import jsonschema
import yaml

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(TOP, "tests", "demo"))
import anythingllm_app  # noqa: E402

SCHEMAS = os.path.join(TOP, "schemas", "events-0")


def schema_name(kind):
    return "audit" if kind.startswith("audit.") else kind


def preset_types():
    types = set()
    for name in os.listdir(os.path.join(TOP, "schemas", "presets")):
        with open(os.path.join(TOP, "schemas", "presets", name), encoding="utf-8") as f:
            for rule in yaml.safe_load(f)["capture"]:
                types |= {schema_name(t) for t in rule["types"].values()}
    return types


def validators():
    found = {}
    for name in os.listdir(SCHEMAS):
        with open(os.path.join(SCHEMAS, name), encoding="utf-8") as f:
            schema = json.load(f)
        jsonschema.Draft202012Validator.check_schema(schema)
        found[name.removesuffix(".schema.json")] = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    return found


class Watcher:
    """The source, watching a database; its events as they come."""

    def __init__(self, program, path):
        self.process = subprocess.Popen([program, path, "anythingllm"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines, self.events = queue.Queue(), []
        threading.Thread(target=self.pump, daemon=True).start()
        assert self.next() == {"ready": True}

    def pump(self):
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def next(self):
        return self.lines.get(timeout=60)

    def wait_for(self, kind):
        while True:
            event = self.next()
            assert event is not None, f"ended before {kind} came"
            self.events.append(event)
            if event["type"] == kind:
                return event

    def finish(self):
        self.process.stdin.close()
        while (event := self.next()) is not None:
            self.events.append(event)
        assert self.process.wait(timeout=60) == 0


class Memory(list):
    """A ledger in memory."""

    def write(self, line):
        self.append(json.loads(line))

    def flush(self):
        pass


def every_type(app, watcher):
    """Each kind of event at least once, whatever the dice say."""
    def do(text, sql, *expect):
        app.commit(text, [(sql, ())], expect)
        for kind, _ in expect:
            watcher.wait_for(kind)
    app.new_workspace()
    space = app.one("SELECT max(id) FROM workspaces")
    app.new_user()
    user = app.one("SELECT max(id) FROM users")
    app.upload()
    app.embed()
    app.log("login_event", {"ip": "::1"})
    app.log("failed_login_invalid_username", {"ip": "::1"})
    app.invite()
    doc = app.one("SELECT max(id) FROM workspace_documents")
    watcher.wait_for("audit.invite_created")
    for column, names in (("pinned", ("pinned", "unpinned")), ("watched", ("watched", "unwatched"))):
        do("on", f"UPDATE workspace_documents SET {column} = 1 WHERE id = {doc}", (f"document.{names[0]}", f"workspace_documents/{doc}"))
        do("off", f"UPDATE workspace_documents SET {column} = 0 WHERE id = {doc}", (f"document.{names[1]}", f"workspace_documents/{doc}"))
    do("rename", f"UPDATE workspaces SET chatModel = 'other' WHERE id = {space}", ("workspace.updated", f"workspaces/{space}"))
    do("role", f"UPDATE users SET role = 'manager' WHERE id = {user}", ("user.updated", f"users/{user}"))
    do("thread", f"INSERT INTO workspace_threads(name, slug, workspace_id, createdAt) VALUES ('Thread', 'slug-{space}', {space}, 1787270400000)", ("thread.created", "workspace_threads/1"))
    do("thread", "UPDATE workspace_threads SET name = 'About parts'", ("thread.renamed", "workspace_threads/1"))
    app.agent_chat()
    chat = app.one("SELECT max(id) FROM workspace_chats")
    watcher.wait_for("chat.started")
    app.agent_answers()
    watcher.wait_for("chat.response.generated")
    do("rate", f"UPDATE workspace_chats SET feedbackScore = 0 WHERE id = {chat}", ("chat.feedback", f"workspace_chats/{chat}"))
    do("edit", f"UPDATE workspace_chats SET prompt = 'edited' WHERE id = {chat}", ("chat.edited", f"workspace_chats/{chat}"))
    do("reset", f"UPDATE workspace_chats SET include = 0 WHERE id = {chat}", ("chat.hidden", f"workspace_chats/{chat}"))
    do("abort", f"INSERT INTO workspace_chats(workspaceId, prompt, response, include, createdAt) VALUES ({space}, 'never answered', '{{}}', 0, {anythingllm_app.now_ms() - 31 * 60000})",
       ("chat.started", "workspace_chats/{0}"), ("chat.aborted", "workspace_chats/{0}"))
    do("delete", f"DELETE FROM workspace_chats WHERE id = {chat}", ("chat.deleted", f"workspace_chats/{chat}"))
    do("remove", f"DELETE FROM workspace_documents WHERE id = {doc}", ("document.removed", f"workspace_documents/{doc}"))
    do("delete", "DELETE FROM workspace_threads", ("thread.deleted", "workspace_threads/1"))
    do("delete", f"DELETE FROM workspace_chats WHERE workspaceId = {space}")
    do("delete", f"DELETE FROM workspaces WHERE id = {space}", ("workspace.deleted", f"workspaces/{space}"))
    do("delete", f"DELETE FROM users WHERE id = {user}", ("user.deleted", f"users/{user}"))


def envelope():
    with open(os.path.join(TOP, "schemas", "event.schema.json"), encoding="utf-8") as f:
        schema = json.load(f)
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    good = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
    assert check.is_valid(good)
    for more in ({"time": "2016-12-31T23:59:60Z"}, {"time": "0000-01-01t00:00:00.5-08:00"}, {"count": -42, "flag": True, "text": ""}, {"n" * 128: "x"},
                 {"data": {"a": [1]}}):
        assert check.is_valid({**good, **more}), more
    for bad in ({"id": ""}, {"specversion": "0.3"}, {"Upper": "x"}, {"data": 1, "data_base64": "AA=="}, {"time": "yesterday"}, {"time": "2020-01-01 00:00:00Z"},
                {"n" * 129: "x"}, {"count": 1.5}, {"list": []}):
        assert not check.is_valid({**good, **bad}), bad
    return check


def judge(events, ledger, checks):
    whole = envelope()
    ids = collections.Counter(e["id"] for e in events)
    assert not [i for i, n in ids.items() if n > 1], "an id came twice"
    for event in events:
        assert event["source"] == "/anythingllm/app" and event["datacontenttype"] == "application/json"
        problem = jsonschema.exceptions.best_match(whole.iter_errors(event))
        assert problem is None, f'{event["type"]} {event["subject"]}: {problem.message}'
        problem = jsonschema.exceptions.best_match(checks[schema_name(event["type"])].iter_errors(event["data"]))
        assert problem is None, f'{event["type"]} {event["subject"]}: {problem.message}'
        assert "$2b$10$" not in json.dumps(event), "a password"
        if event["type"] == "audit.invite_created":
            assert event["data"]["metadata"]["inviteCode"] == "***"
    seen = collections.Counter((e["type"], e["subject"]) for e in events)
    must, may = anythingllm_app.expected(ledger)
    assert not must - set(seen), f"missing: {sorted(must - set(seen))[:5]}"
    assert not set(seen) - may, f"never happened: {sorted(set(seen) - may)[:5]}"
    once = [k for k, n in seen.items() if n > 1 and (k[1].startswith("event_logs/") or k[0] in ("chat.response.generated", "document.embedded"))]
    assert not once, f"more than once: {once[:5]}"
    removed = {"document.embedded": "document.removed", "user.created": "user.deleted", "workspace.created": "workspace.deleted"}
    for kind, subject in set(seen):
        if kind in removed and (removed[kind], subject) in may:
            assert (removed[kind], subject) in seen, f"its end is missing: {kind} {subject}"


def run(program, journal, seed, checks):
    with tempfile.TemporaryDirectory() as folder:
        path, ledger = os.path.join(folder, "anythingllm.db"), Memory()
        app = anythingllm_app.App(path, journal, seed, ledger)
        watcher = Watcher(program, path)
        every_type(app, watcher)
        missing = preset_types() - {schema_name(e["type"]) for e in watcher.events}
        assert not missing, f"not emitted: {missing}"
        for _ in range(200):
            app.act()
        app.finish()
        watcher.finish()
        judge(watcher.events, ledger, checks)
        print(f"{journal}: {len(watcher.events)} events of {app.commits} commits, all as promised")


def main():
    checks = validators()
    assert preset_types() == set(checks), f"types and schemas differ: {preset_types() ^ set(checks)}"
    for journal in ("delete", "wal"):
        run(sys.argv[1], journal, int(time.time()) if len(sys.argv) < 3 else int(sys.argv[2]), checks)


if __name__ == "__main__":
    main()
