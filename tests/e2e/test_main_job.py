# SPDX-License-Identifier: MIT
"""The main job: what happens in an AnythingLLM database reaches signed webhooks, WebSocket and SSE listeners, whatever restarts."""
import contextlib
import io
import json
import sqlite3

import anythingllm_app
import pytest

from conftest import DEAD_LETTERS, Listener, SseListener, signed, wait_for, webhook_sink

CONFIG = """
sources:
  app: {type: sqlite, path: %s, preset: anythingllm, start: %s, poll: 50ms}
routes: [{topic: $EVENTS}]
sinks:
  live: {type: websocket, listen: "127.0.0.1:0", topics: [$EVENTS]}
"""


class App(anythingllm_app.App):
    """The application in this process; notes what is to be expected."""

    def __init__(self, path, seed=1, **more):
        super().__init__(str(path), seed=seed, ledger=io.StringIO(), **more)

    def work(self, actions):
        for _ in range(actions):
            self.act()
        self.finish()

    def expected(self):
        return anythingllm_app.expected([json.loads(line) for line in self.ledger.getvalue().splitlines()])


def pairs(requests_or_events):
    return {(r["type"], r["subject"]) for r in requests_or_events}


def seen(receiver, app):
    """Waits until the receiver got everything that must be seen, and makes sure that it got nothing else."""
    must, may = app.expected()
    wait_for(lambda: must <= pairs(receiver.good()), why=lambda: sorted(must - pairs(receiver.good()))[:10])
    assert pairs(receiver.all()) <= may
    assert [r["why"] for r in receiver.all() if r["why"]] == []


def open_app(bridge, tmp_path, receiver, start="now", **more):
    app = App(tmp_path / "anythingllm.db", **more)
    bridge.configure(CONFIG % (tmp_path / "anythingllm.db", start) + webhook_sink("crm", receiver.url) + DEAD_LETTERS)
    return app


@pytest.mark.threads
def test_database_to_webhook_websocket_and_sse(bridge, tmp_path, receiver, judge):
    app = open_app(bridge, tmp_path, receiver)
    daemon = bridge.start().watching()
    live = [Listener(daemon.port("live")), SseListener(daemon.port("live")), Listener(daemon.port("live"))]
    wait_for(lambda: daemon.metric("aqueduct_listeners", sink="live") == 3)
    app.work(150)
    app.log("login_event", {"ip": "127.0.0.1", "username": "ada", "multiUserMode": True})
    seen(receiver, app)
    kinds = {r["type"] for r in receiver.good()}
    assert {"document.embedded", "document.uploaded", "chat.response.generated", "user.created", "user.login"} <= kinds
    assert "audit.logged" in kinds
    lines = [signed(r) for r in receiver.good()]
    assert judge(lines) == ["ok"] * len(lines)
    ids = receiver.ids()
    assert all(r["webhook_id"] == r["id"] for r in receiver.good())
    for one in live:
        wait_for(lambda: ids <= {e["id"] for e in one.events}, why=lambda: len(one.events))
        assert pairs(one.events) == pairs(receiver.good())
    by_id = {e["id"]: e for e in live[0].events}
    for r in receiver.good():       # the webhook's body is the same event, but for what only CloudEvents need
        body, same = json.loads(r["body"]), by_id[r["id"]]
        assert body.pop("timestamp") == same["time"]
        assert body == {name: value for name, value in same.items() if name not in ("specversion", "time", "datacontenttype", "dataschema")}
    daemon.stop()
    wait_for(lambda: all(one.ended.is_set() for one in live))


def test_an_agents_chat_is_announced_and_then_answered(bridge, tmp_path, receiver):
    app = open_app(bridge, tmp_path, receiver)
    daemon = bridge.start().watching()
    app.new_workspace()
    app.agent_chat()
    chat, = app.chats("id = ?", app.thinking[0][0]).values()
    wait_for(lambda: ("chat.started", chat) in pairs(receiver.good()))
    assert ("chat.response.generated", chat) not in pairs(receiver.all())
    app.agent_answers()
    seen(receiver, app)
    started, done = (next(json.loads(r["body"]) for r in receiver.good() if r["type"] == kind)
                     for kind in ("chat.started", "chat.response.generated"))
    answer = app.one("SELECT response FROM workspace_chats WHERE id = ?", app.one("SELECT max(id) FROM workspace_chats"))
    assert done["data"]["output"]["text"] == json.loads(answer)["text"]
    assert started["data"]["input"] == done["data"]["input"] and started["id"] != done["id"]
    assert "password" not in json.dumps([json.loads(r["body"]) for r in receiver.good()])
    daemon.stop()


@pytest.mark.parametrize("start", ["now", "snapshot"])
def test_where_it_starts(bridge, tmp_path, receiver, start):
    app = open_app(bridge, tmp_path, receiver, start=start)
    app.work(40)
    old, _ = app.expected()
    app.ledger.truncate(app.ledger.seek(0))
    daemon = bridge.start().watching()
    if start == "snapshot":
        stays = {(k, s) for k, s in old if not k.startswith("chat.") and not k.endswith("updated")}
        wait_for(lambda: stays <= pairs(receiver.good()), why=lambda: stays - pairs(receiver.good()))
        assert all(json.loads(r["body"]).get("snapshot") in (True, "true") for r in receiver.good())
    before = len(receiver.all())
    app.work(20)
    must, may = app.expected()
    wait_for(lambda: must <= pairs(receiver.good()), why=lambda: must - pairs(receiver.good()))
    new = receiver.all()[before:]
    if start == "now":
        assert before == 0 and pairs(new) <= may
    assert all("snapshot" not in json.loads(r["body"]) for r in new if (r["type"], r["subject"]) in must - old)
    daemon.stop()


@pytest.mark.threads
def test_a_restart_leaves_no_gap(bridge, tmp_path, receiver):
    app = open_app(bridge, tmp_path, receiver)
    daemon = bridge.start().watching()
    app.work(40)
    seen(receiver, app)
    daemon.stop()
    app.work(40)                    # nobody looks
    daemon = bridge.start().watching()
    app.work(40)
    seen(receiver, app)
    daemon.kill()
    app.work(40)
    daemon = bridge.start().watching()
    seen(receiver, app)
    once = {}                       # a row that is only added has one event, with one id, however often it was sent
    for r in receiver.all():
        if r["subject"].startswith("event_logs/"):
            assert once.setdefault(r["subject"], r["id"]) == r["id"]
    daemon.stop()


def test_a_replaced_node_goes_on_where_the_old_one_stood(kafka_bridge, tmp_path, receiver):
    app = open_app(kafka_bridge, tmp_path, receiver)
    daemon = kafka_bridge.start().watching()
    app.work(40)
    seen(receiver, app)
    daemon.kill()                   # the machine is gone, with everything on it but the database
    app.work(40)
    text = kafka_bridge.config.read_text().replace(str(kafka_bridge.folder / "dead.db"), str(tmp_path / "new/dead.db"))
    (tmp_path / "new").mkdir()
    kafka_bridge.config = tmp_path / "new/bridge.yaml"
    kafka_bridge.config.write_text(text)
    daemon = kafka_bridge.start().watching()
    app.work(20)
    seen(receiver, app)
    daemon.stop()


def test_the_application_database_is_only_read(bridge, tmp_path, receiver):
    app = open_app(bridge, tmp_path, receiver, journal="delete")
    app.work(20)
    app.db.close()
    file = tmp_path / "anythingllm.db"
    before = file.read_bytes()
    daemon = bridge.start().watching()
    wait_for(lambda: daemon.metric("aqueduct_sqlite_rows_read_total", source="app") >= 0)
    daemon.stop()
    assert file.read_bytes() == before
    assert not list(tmp_path.glob("anythingllm.db-*"))


def test_a_blind_source_is_not_ready(bridge, tmp_path):
    path = tmp_path / "later.db"
    bridge.configure(CONFIG % (path, "now"))
    daemon = bridge.start(ready=False)
    wait_for(lambda: daemon.page("/readyz").text == f"not ready: source app: {path} cannot be read; the log says why\n")
    assert daemon.page("/readyz").status_code == 503
    sqlite3.connect(path).execute("CREATE TABLE event_logs (id INTEGER PRIMARY KEY, event, metadata, userId, occurredAt)").connection.close()
    daemon.ready()
    path.rename(tmp_path / "away.db")
    wait_for(lambda: daemon.page("/readyz").status_code == 503)


def test_a_row_of_which_no_event_can_be_made_is_a_dead_letter(local_bridge, tmp_path, receiver):
    """Once, also when the daemon is killed; and the row behind it goes on."""
    path = tmp_path / "desk.db"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE log(id INTEGER PRIMARY KEY, kind TEXT, note TEXT, pw TEXT)")
    local_bridge.configure("""
sources:
  app:
    type: sqlite
    path: %s
    capture: [{name: log, kind: append, table: log, types: {insert: "{kind}"}, never: [pw], mask: [note]}]
routes: [{topic: $EVENTS}]
sinks:
""" % path + webhook_sink("crm", receiver.url) + DEAD_LETTERS)
    daemon = local_bridge.start().watching()
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO log VALUES (1, '', 'a', 'the-word'), (2, 'door.opened', 'b', 'the-word')")
    dead, = wait_for(local_bridge.dead)
    assert (dead["class"], dead["type"], dead["key"]) == ("invalid", "aqueduct.row.refused", "log/id 1")
    wait_for(lambda: pairs(receiver.good()) == {("door.opened", "log/2")})
    daemon.kill()
    daemon = local_bridge.start().watching()
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO log VALUES (3, 'door.closed', 'c', 'the-word')")
    wait_for(lambda: ("door.closed", "log/3") in pairs(receiver.good()))
    assert [one["id"] for one in local_bridge.dead()] == [dead["id"]]
    shown = json.loads(local_bridge.command("dead", "show", dead["id"], "--raw").stdout)
    assert shown == {"table": "log", "rule": "log", "row": "id 1", "operation": "insert", "type": "{kind}", "why": "event attribute type is empty",
                     "data": {"id": 1, "kind": "", "note": "***"}}
