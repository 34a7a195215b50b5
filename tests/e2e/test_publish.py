# SPDX-License-Identifier: MIT
"""Listeners publish: what is acknowledged is stored, in order, whatever ends the daemon."""
import asyncio
import base64
import hmac
import json
import re
import time

import pytest
import requests

from conftest import HTTP_SOURCE, Listener, event, post, wait_for, webhook_sink

LIVE = HTTP_SOURCE.replace("paths: [", "paths: [{path: /messages, preset: message, verify: {scheme: none}}, ") + """
sinks:
  live: {type: websocket, listen: "127.0.0.1:0", topics: [$EVENTS], publish: {types: [chat.*, thing.happened], per_second: 0}%s}
"""


class Talker(Listener):
    """A listener that publishes; `answers` holds the status frames."""

    @property
    def answers(self):
        return [e for e in self.events if e.get("type") == "status"]

    def heard_events(self):
        return [e for e in self.events if "specversion" in e]

    def say(self, *messages):
        async def send():
            for m in messages:
                await self.ws.send(m if isinstance(m, str) else json.dumps(m))
        asyncio.run_coroutine_threadsafe(send(), self.loop).result(30)

    def stored(self):
        return [a["event"] for a in self.answers if a["status"] == "stored"]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_session_hears_its_tokens_in_order_from_http_and_websocket(bridge, threads):
    daemon = bridge.run(LIVE % f", threads: {threads}")
    port = daemon.port("live")
    mine, other = Listener(port, "?subject=s-1"), Listener(port, "?subject=s-2")
    talker = Talker(port, "?type=nothing")
    wait_for(lambda: daemon.metric("aqueduct_listeners", sink="live") == 3)
    for i in range(0, 40, 2):
        by_http = requests.post(f"http://127.0.0.1:{daemon.port('hooks')}/messages", timeout=30,
                                json={"type": "chat.response.delta", "content": f"t{i}", "sessionId": "s-1"})
        assert by_http.status_code == 202, by_http.text
        talker.say({"type": "chat.response.delta", "content": f"t{i + 1}", "sessionId": "s-1"})
        wait_for(lambda: len(talker.stored()) == i // 2 + 1)
    assert talker.events == talker.answers
    wait_for(lambda: len(mine.events) == 40)
    assert [e["data"]["content"] for e in mine.events] == [f"t{i}" for i in range(40)]
    http, ws = mine.events[0], mine.events[1]
    assert (http["type"], http["subject"], http["data"].keys()) == (ws["type"], ws["subject"], ws["data"].keys())
    assert ws["source"] == "/websocket/live" and ws["authtype"] == "unauthenticated" and talker.stored()[0] == ws["id"]
    assert other.events == []
    posted = requests.post(f"http://127.0.0.1:{port}/", json={"type": "chat.x", "sessionId": "s-2"}, timeout=30)
    assert posted.status_code == 202 and posted.json()["status"] == "stored"
    other.heard({posted.json()["event"]})


@pytest.mark.threads
def test_what_was_acknowledged_survives_kill(bridge, receiver):
    config = LIVE % "" + webhook_sink("crm", receiver.url)
    daemon = bridge.run(config)
    talker = Talker(daemon.port("live"), "?type=nothing")
    said = [event(f"e{i:03}", "chat.message", data={"n": i}) for i in range(200)]
    for at in range(0, 200, 40):
        talker.say(*said[at:at + 40])
        if at == 120:
            wait_for(lambda: len(talker.answers) > 100)
            break
        wait_for(lambda: len(talker.answers) == at + 40)
    daemon.kill()
    assert talker.ended.wait(30)
    before = set(talker.stored())
    assert len(before) > 100
    daemon = bridge.start()
    again = Talker(daemon.port("live"), "?type=nothing")
    for at in range(0, 200, 40):
        again.say(*said[at:at + 40])
        wait_for(lambda: len(again.answers) == at + 40)
    assert [a["status"] for a in again.answers] == ["stored"] * 200
    repeats = {a["event"] for a in again.answers if a.get("note") == "stored before"}
    assert before <= repeats
    receiver.delivered({e["id"] for e in said})
    ids = receiver.ids()
    assert len(set(ids)) == 200


def test_several_subscriptions_of_one_connection(local_bridge):
    daemon = local_bridge.run(LIVE % ", max_subscriptions_per_listener: 2")
    one = Talker(daemon.port("live"), subprotocols=["aqueduct.v1+json"])
    topic = local_bridge.topic("events")
    one.say({"op": "sub", "id": 1, "sub": "a", "topics": [topic], "type": "chat.*"},
            {"op": "sub", "id": 2, "sub": "b", "filter": {"exact": {"subject": "s-1"}}},
            {"op": "sub", "id": 3, "sub": "c"}, {"op": "sub", "id": 4, "sub": "d", "topics": ["other"]}, {"op": "jump", "id": 5}, "{",
            {"op": "pub", "id": 6, "event": event("first", "thing.happened", subject="s-1")},
            {"op": "pub", "id": 7, "event": {"type": "chat.message", "event_id": "second", "sessionId": "s-2"}},
            {"op": "pub", "id": 8, "event": {"type": "user.deleted"}})
    wait_for(lambda: {"first", "second"} <= {e.get("event") for e in one.events}, why=lambda: one.events)
    answers = {e.get("id"): (e["op"], e.get("code")) for e in one.events if e["op"] in ("ok", "err")}
    assert answers == {1: ("ok", None), 2: ("ok", None), 3: ("err", 4413), 4: ("err", 4413), 5: ("err", 4004), None: ("err", 4400),
                       6: ("ok", None), 7: ("ok", None), 8: ("err", 4403)}

    def heard(name):
        return [d["id"] for e in one.events if e["op"] == "ev" and e["sub"] == name for d in e["d"]]
    wait_for(lambda: heard("a") == ["second"] and heard("b") == ["first"], why=lambda: one.events)
    one.say({"op": "unsub", "id": 9, "sub": "a"}, {"op": "pub", "id": 10, "event": {"type": "chat.x", "event_id": "third", "sessionId": "s-1"}})
    wait_for(lambda: heard("b") == ["first", "third"])
    assert heard("a") == ["second"]
    daemon.stop()
    assert one.ended.wait(30) and one.code == 1012 and one.events[-1]["op"] == "drain"


def test_a_browser_shows_its_token_in_the_first_message(local_bridge):
    def part(what):
        return base64.urlsafe_b64encode(json.dumps(what).encode()).rstrip(b"=")

    def token(**claims):
        text = part({"alg": "HS256"}) + b"." + part(claims)
        return (text + b"." + base64.urlsafe_b64encode(hmac.digest(SHARED.encode(), text, "sha256")).rstrip(b"=")).decode()
    SHARED, soon = "a-secret-for-tokens-that-is-long-enough-0123", int(time.time()) + 3600
    daemon = local_bridge.run(LIVE % f", verify: {{scheme: jwt, jwt: {{secrets: [{SHARED}]}}}}, claims: {{filter: may_see}}, audit: true")
    port, anna = daemon.port("live"), {"sub": "anna", "exp": soon, "may_see": {"exact": {"subject": "s-anna"}}}
    assert Listener(port).refused == 401
    one, other = (Talker(port, subprotocols=["aqueduct.v1+json"]) for _ in range(2))
    other.say({"op": "hello", "token": "x"})
    assert other.ended.wait(30) and other.code == 4401
    one.say({"op": "hello", "id": 1, "token": token(**anna)}, {"op": "sub", "id": 2, "sub": "a"},
            *({"op": "pub", "id": i, "event": {"type": "chat.x", "event_id": f"e{i}", "sessionId": f"s-{who}"}} for i, who in [(3, "bob"), (4, "anna")]))
    wait_for(lambda: any(e["op"] == "ev" for e in one.events), why=lambda: one.events)
    assert one.events[0]["op"] == "welcome" and [d["id"] for e in one.events if e["op"] == "ev" for d in e["d"]] == ["e4"]
    one.say({"op": "refresh", "id": 5, "token": token(**anna)}, {"op": "refresh", "id": 6, "token": token(**{**anna, "sub": "bob"})})
    wait_for(lambda: {(e["op"], e.get("id"), e.get("code")) for e in one.events} >= {("ok", 5, None), ("err", 6, 4403)}, why=lambda: one.events)
    pulled = requests.get(f"http://127.0.0.1:{port}/events?from=earliest", headers={"Authorization": f"Bearer {token(**anna)}"}, timeout=30)
    assert pulled.status_code == 200 and [e["id"] for e in pulled.json()["events"]] == ["e4"], pulled.text
    refused = requests.get(f"http://127.0.0.1:{port}/events?from=earliest", headers={"Authorization": f"Bearer {token(sub='anna', exp=soon)}"}, timeout=30)
    assert refused.status_code == 403
    assert re.search(r"msg=\"listener subscribed\" sink=live .*user=anna", daemon.log()), daemon.log()
    assert token(**anna) not in daemon.log()
