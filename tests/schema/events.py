#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Judges the events of the AnythingLLM presets with an independent validator: the data of each against the strict form of its
schema (of anythingllm-0: schemas/events-0/), and the set of them against the ledger of the demo application that wrote the database while the source was watching.

    events.py path/to/sqlite-events"""
import atexit
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
import vocabulary
import yaml

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(TOP, "tests", "demo"))
import anythingllm_app  # noqa: E402

BEFORE = os.path.join(TOP, "schemas", "events-0")


def schema_name(kind):
    return "audit" if kind.startswith("audit.") and kind != "audit.logged" else kind


def preset_types(preset):
    types = set()
    with open(os.path.join(TOP, "schemas", "presets", f"{preset}.yaml"), encoding="utf-8") as f:
        for rule in yaml.safe_load(f)["capture"]:
            types |= {schema_name(t) for t in rule.get("types", {}).values()} | {m["type"] for m in rule.get("map", [])}
    return types


def validators(preset):
    if preset == "anythingllm":
        return {kind: vocabulary.validator(schema, vocabulary.strict) for kind, schema in vocabulary.event_schemas().items()}
    found = {}
    for name in os.listdir(BEFORE):
        with open(os.path.join(BEFORE, name), encoding="utf-8") as f:
            schema = json.load(f)
        jsonschema.Draft202012Validator.check_schema(schema)
        found[name.removesuffix(".schema.json")] = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    return found


class Watcher:
    """The source, watching a database; its events as they come."""

    def __init__(self, program, path, preset):
        self.process = subprocess.Popen([program, path, preset], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)      # one whose file went with a failed run waits for it for ever
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
    app.log("login_event", {"ip": "::1"}, user)
    app.log("failed_login_invalid_username", {"ip": "::1", "username": "nobody"})
    app.invite()
    doc, page = app.db.execute("SELECT id, metadata->>'$.id' FROM workspace_documents ORDER BY id DESC").fetchone()
    while watcher.wait_for("audit.logged")["data"]["audit"]["action"] != "invite_created":
        pass
    while ("document.embedded", f"documents/{page}") not in ((e["type"], e["subject"]) for e in watcher.events):
        watcher.wait_for("document.embedded")     # a row that is changed before its first look is a new one
    for column in ("pinned", "watched"):
        for value in (1, 0):
            do("flag", f"UPDATE workspace_documents SET {column} = {value} WHERE id = {doc}", ("document.updated", f"documents/{page}"))
    do("queue", f"INSERT INTO document_sync_queues(nextSyncAt, workspaceDocId) VALUES (1787270400000, {doc})")
    do("sync", "INSERT INTO document_sync_executions(queueId, status, result) VALUES (1, 'success', '{}')", ("document.updated", f"documents/{page}"))
    do("sync", """INSERT INTO document_sync_executions(queueId, status, result) VALUES (1, 'failed', '{"reason":"404"}')""", ("document.failed", f"documents/{page}"))
    do("rename", f"UPDATE workspaces SET chatModel = 'other' WHERE id = {space}", ("collection.updated", f"collections/{space}"))
    do("role", f"UPDATE users SET role = 'manager' WHERE id = {user}", ("user.updated", f"users/{user}"))
    thread = f"conversations/ws/{space}/thread/1"
    do("thread", f"INSERT INTO workspace_threads(name, slug, workspace_id, createdAt) VALUES ('Thread', 'slug-{space}', {space}, 1787270400000)", ("conversation.created", thread))
    do("thread", "UPDATE workspace_threads SET name = 'About parts'", ("conversation.updated", thread))
    app.agent_chat()
    chat = app.one("SELECT max(id) FROM workspace_chats")
    subject, = app.chats("id = ?", chat).values()
    watcher.wait_for("chat.started")
    app.agent_answers()
    watcher.wait_for("run.finished")
    do("rate", f"UPDATE workspace_chats SET feedbackScore = 0 WHERE id = {chat}", ("chat.feedback", subject))
    do("edit", f"UPDATE workspace_chats SET prompt = 'edited' WHERE id = {chat}", ("chat.edited", subject))
    do("reset", f"UPDATE workspace_chats SET include = 0 WHERE id = {chat}", ("chat.hidden", subject))
    late, other = anythingllm_app.now_ms() - 31 * 60000, anythingllm_app.chat_subject("{0}", space)
    do("abort", f"INSERT INTO workspace_chats(workspaceId, prompt, response, include, createdAt) VALUES ({space}, 'never answered', '{{}}', 0, {late})",
       ("chat.started", other), ("chat.response.aborted", other))
    do("widget", f"INSERT INTO embed_configs(uuid, workspace_id) VALUES ('u', {space})")
    do("widget", """INSERT INTO embed_chats(prompt, response, session_id, embed_id, createdAt) VALUES ('hi', '{"text":"hello","type":"chat","sources":[]}', 's', 1, 1787270400000)""",
       ("chat.response.generated", "conversations/embed/1/s/messages/embed/1"))
    do("job", "INSERT INTO scheduled_jobs(name, prompt, schedule) VALUES ('Digest', 'sum up', '0 8 * * *')")
    for i, (status, kind) in enumerate((("completed", "run.finished"), ("failed", "run.failed"), ("timed_out", "run.aborted")), 1):
        do("job", f"INSERT INTO scheduled_job_runs(jobId, startedAt) VALUES (1, {anythingllm_app.now_ms()})", ("run.started", f"runs/job/{i}"))
        do("job", f"UPDATE scheduled_job_runs SET status = '{status}', completedAt = startedAt + 5, error = 'why' WHERE id = {i}", (kind, f"runs/job/{i}"))
    do("delete", f"DELETE FROM workspace_chats WHERE id = {chat}", ("chat.deleted", subject))
    do("remove", f"DELETE FROM workspace_documents WHERE id = {doc}", ("document.removed", f"documents/{page}"))
    do("delete", "DELETE FROM workspace_threads", ("conversation.deleted", thread))
    gone = [("chat.deleted", s) for s in app.chats("workspaceId = ?", space).values()]
    app.commit("delete", [(f"DELETE FROM workspace_chats WHERE workspaceId = {space}", ())], gone)
    do("delete", f"DELETE FROM workspaces WHERE id = {space}", ("collection.deleted", f"collections/{space}"))
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


def judge_each(events, checks):
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
        if "inviteCode" in json.dumps(event):
            assert '"inviteCode": "***"' in json.dumps(event)


def judge_set(events, ledger):
    seen = collections.Counter((e["type"], e["subject"]) for e in events)
    must, may = anythingllm_app.expected(ledger)
    assert not must - set(seen), f"missing: {sorted(must - set(seen))[:5]}"
    assert not set(seen) - may, f"never happened: {sorted(set(seen) - may)[:5]}"
    once = [k for k, n in seen.items() if n > 1 and (k[1].startswith(("event_logs/", "documents/log/")) or k[0] in ("chat.response.generated", "document.embedded"))]
    assert not once, f"more than once: {once[:5]}"
    removed = {"document.embedded": "document.removed", "user.created": "user.deleted", "collection.created": "collection.deleted"}
    for kind, subject in set(seen):
        if kind in removed and (removed[kind], subject) in may:
            assert (removed[kind], subject) in seen, f"its end is missing: {kind} {subject}"


def run(program, journal, seed):
    with tempfile.TemporaryDirectory() as folder:
        path, ledger = os.path.join(folder, "anythingllm.db"), Memory()
        app = anythingllm_app.App(path, journal, seed, ledger)
        watcher, before = Watcher(program, path, "anythingllm"), Watcher(program, path, "anythingllm-0")
        every_type(app, watcher)
        missing = preset_types("anythingllm") - {e["type"] for e in watcher.events}
        assert not missing, f"not emitted: {missing}"
        for _ in range(200):
            app.act()
        app.finish()
        for w, preset in ((watcher, "anythingllm"), (before, "anythingllm-0")):
            w.finish()
            judge_each(w.events, validators(preset))
        judge_set(watcher.events, ledger)
        print(f"{journal}: {len(watcher.events)} events of {app.commits} commits, all as promised; {len(before.events)} as before the vocabulary")


def main():
    assert preset_types("anythingllm-0") == set(validators("anythingllm-0")), "types and schemas of before the vocabulary differ"
    for journal in ("delete", "wal"):
        run(sys.argv[1], journal, int(time.time()) if len(sys.argv) < 3 else int(sys.argv[2]))


if __name__ == "__main__":
    main()
