# SPDX-License-Identifier: MIT
"""Live streams: who may listen, what they ask for, and that a slow listener holds up nobody."""
import base64
import json
import socket
import subprocess

import pytest
import requests

from conftest import HTTP_SOURCE, TOKEN, Listener, SseListener, event, post, post_ok, wait_for

LIVE = HTTP_SOURCE.replace("routes: [{topic: $EVENTS}]", "routes: [{filter: {prefix: {type: chat.}}, topic: $T_chats}, {topic: $EVENTS}]") + """
sinks:
  live: {type: websocket, listen: "127.0.0.1:0", topics: [$EVENTS, $T_chats]%s}
"""
GOOD_TOKEN = "a-listeners-token-of-some-length"


def listening(daemon, count):
    wait_for(lambda: daemon.metric("aqueduct_listeners", sink="live") == count)


@pytest.mark.threads
def test_everybody_hears_everything_in_order(bridge):
    daemon = bridge.run(LIVE % "")
    port = daemon.port("live")
    all_of_them = [Listener(port), Listener(port), SseListener(port), SseListener(port, "?event=type")]
    listening(daemon, 4)
    sent = [event(f"number-{i:04}", data={"text": f"Nr. {i}: größer 😀\n"}) for i in range(200)]
    for i in range(0, 200, 50):
        assert post(daemon, sent[i:i + 50]).status_code == 202
    for one in all_of_them:
        wait_for(lambda: len(one.events) == 200, why=lambda: len(one.events))
        assert one.ids() == [e["id"] for e in sent]
        assert [e["data"] for e in one.events] == [e["data"] for e in sent]
    topic = bridge.topic("events")
    assert {kind for _, kind, _ in all_of_them[3].blocks} == {"thing.happened"}
    assert [(ident, kind) for ident, kind, _ in all_of_them[2].blocks] == [(f"{topic}/0@{i}", None) for i in range(200)]
    wait_for(lambda: daemon.metric("aqueduct_listener_events_total", sink="live") == 800)
    daemon.stop()
    for one in all_of_them:
        assert one.ended.wait(30)
    assert [(one.code, one.reason) for one in all_of_them[:2]] == [(1012, "restarting")] * 2


def test_topics_and_filters_in_the_query(bridge):
    daemon = bridge.run(LIVE % "")
    port, chats, events = daemon.port("live"), bridge.topic("chats"), bridge.topic("events")
    both = json.dumps({"any": [{"exact": {"subject": "a/1"}}, {"suffix": {"type": ".uploaded"}}]})
    wanted = [
        (Listener(port), {"c1", "c2", "d1", "d2"}),
        (Listener(port, f"?topics={chats}"), {"c1", "c2"}),
        (SseListener(port, f"?topics={events}"), {"d1", "d2"}),
        (Listener(port, f"?topics={events},{chats}&type=chat.*"), {"c1", "c2"}),
        (Listener(port, "?type=chat.started&subject=a/1"), {"c1"}),
        (SseListener(port, "?source=/e2e&subject=b*"), {"c2", "d2"}),
        (Listener(port, "?filter=" + requests.utils.quote(both)), {"c1", "d1", "d2"}),
        (Listener(port, "?type=nothing.like.this"), set()),
    ]
    listening(daemon, len(wanted))
    post_ok(daemon, event("c1", "chat.started", subject="a/1"), event("d1", "document.uploaded", subject="a/1"),
            event("c2", "chat.done", subject="b/2"), event("d2", "document.uploaded", subject="b/2"))
    for listener, ids in wanted:
        listener.heard(ids)
    for listener, ids in wanted:
        assert set(listener.ids()) == ids, listener.url if hasattr(listener, "url") else ids
    for query in ["?tpoics=x", "?topics=", "?topics=not.served", f"?topics={chats},{chats}", "?type=a&type=b", "?filter={", '?filter={"exakt":{}}', "?type=%ff"]:
        assert Listener(port, query).refused == 400, query
        answer = requests.get(f"http://127.0.0.1:{port}/{query}", headers={"Accept": "text/event-stream"}, timeout=30)
        assert answer.status_code == 400 and answer.json()["detail"]
    assert Listener(port, "nothing/here").refused == 404
    assert requests.get(f"http://127.0.0.1:{port}/", timeout=30).status_code == 426
    assert requests.post(f"http://127.0.0.1:{port}/", timeout=30).status_code == 405


def test_tokens(bridge):
    daemon = bridge.run(LIVE % f", tokens: [{GOOD_TOKEN}, another-token-while-rotating]")
    port = daemon.port("live")

    def protocol(token):
        return "base64url.bearer.aqueduct." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    good = [Listener(port, headers={"Authorization": f"Bearer {GOOD_TOKEN}"}), Listener(port, headers={"Authorization": "Bearer another-token-while-rotating"}),
            Listener(port, subprotocols=[protocol(GOOD_TOKEN), "cloudevents.json"]), SseListener(port, headers={"Authorization": f"Bearer {GOOD_TOKEN}"})]
    assert good[2].protocol == "cloudevents.json"
    listening(daemon, 4)
    bad = [Listener(port), Listener(port, headers={"Authorization": "Bearer wrong"}), Listener(port, headers={"Authorization": f"Basic {GOOD_TOKEN}"}),
           Listener(port, subprotocols=[protocol("wrong")]), Listener(port, f"?token={GOOD_TOKEN}"), SseListener(port)]
    assert [one.refused for one in bad] == [401] * len(bad)
    post_ok(daemon, event("for-those-inside"))
    for one in good:
        one.heard({"for-those-inside"})
    assert GOOD_TOKEN not in daemon.log() and GOOD_TOKEN not in daemon.page("/metrics").text


def test_a_token_in_the_query_when_the_user_wants_that(bridge):
    daemon = bridge.run(LIVE % f", tokens: [{GOOD_TOKEN}], token_in_query: true")
    port = daemon.port("live")
    assert Listener(port, f"?token={GOOD_TOKEN}&type=a").refused is None
    assert Listener(port, "?token=wrong").refused == 401


def test_origins(bridge):
    daemon = bridge.run(LIVE % ', origins: ["https://app.example.com"]')
    port = daemon.port("live")
    assert Listener(port, origin="https://app.example.com").refused is None
    assert Listener(port, origin=f"http://127.0.0.1:{port}").refused is None
    assert Listener(port, origin="https://evil.example.com").refused == 403


@pytest.mark.threads
def test_a_slow_listener_slows_nobody(bridge):
    daemon = bridge.run(LIVE % ", buffer: 256KiB")
    port = daemon.port("live")
    with socket.socket() as slow:       # asks for everything and never reads
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", port))
        slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        fast = [Listener(port), SseListener(port)]
        listening(daemon, 3)
        ids = []
        filler = "x" * 20000

        def closed():
            batch = [event(f"number-{len(ids) + i}", data=filler) for i in range(40)]
            assert post(daemon, batch).status_code == 202
            ids.extend(e["id"] for e in batch)
            for one in fast:
                one.heard(ids[-40:])
            return daemon.metric("aqueduct_listeners_closed_total", sink="live", reason="slow") == 1
        wait_for(closed)
        listening(daemon, 2)
    assert [one.ids() for one in fast] == [ids, ids]
    assert daemon.metric("aqueduct_listeners_closed_total", sink="live") == 1


def test_listeners_come_and_go(bridge):
    daemon = bridge.run(LIVE % ", max_listeners_per_ip: 5")
    port = daemon.port("live")
    for round_ in range(3):
        some = [Listener(port) for _ in range(5)]
        listening(daemon, 5)
        assert Listener(port).refused == 429
        post_ok(daemon, event(f"of-round-{round_}"))
        for one in some:
            one.heard({f"of-round-{round_}"})
            assert one.ids() == [f"of-round-{round_}"], "only what happens while one listens"
            one.leave()
        listening(daemon, 0)
    assert daemon.metric("aqueduct_listeners_closed_total", sink="live", reason="gone") == 15


def curl(url, *more):
    """The status and the body of what curl gets."""
    done = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", "--max-time", "30", *more, url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def test_users_keys_and_addresses_for_all_who_come(local_bridge):
    """One way to say who may come: to send, to listen, and to see the pages. A key in a URL is told to nobody."""
    password, key = "a-password-of-ops-0123", "the-key-of-a-board-0123"
    user, by_key = f"{{scheme: basic, secrets: [{{name: ops, secret: {password}}}]}}", f"{{scheme: api_key, query: key, secrets: [{{name: board, secret: {key}}}]}}"
    far = f"{{all: [{{scheme: address, allow: [192.0.2.0/24]}}, {{scheme: bearer, secrets: [{GOOD_TOKEN}]}}]}}"
    verify = f"verify: {{any: [{user}, {by_key}, {far}]}}"
    local_bridge.configure((LIVE % f", {verify}").replace(f"verify: {{scheme: bearer, secrets: [{TOKEN}]}}", verify).replace("ce_source: any", "type: hook")
                           .replace("    paths: [{path: /v1", "    requests: all\n    paths: [{path: /v1"))
    local_bridge.config.write_text(local_bridge.config.read_text().replace("admin: {", f"admin: {{{verify}, "))
    daemon = local_bridge.start(ready=False)
    ports = {name: daemon.port(name) for name in ("hooks", "live", "admin")}
    by_user, pages = ("--user", f"ops:{password}"), f"http://127.0.0.1:{ports['admin']}"
    wait_for(lambda: curl(pages + "/readyz", *by_user)[0] == 200)
    assert [curl(pages + "/metrics" + query, *more)[0] for query, more in (("", ()), ("", ("--user", "ops:wrong")), ("?key=wrong", ()), (f"?key={key}", ()))] \
        == [401, 401, 401, 200]
    right = [Listener(ports["live"], f"?key={key}"), Listener(ports["live"], headers={"Authorization": requests.auth._basic_auth_str("ops", password)})]
    assert [one.refused for one in right] == [None, None]
    assert Listener(ports["live"], headers={"Authorization": f"Bearer {GOOD_TOKEN}"}).refused == 401      # from another address
    hooks = f"http://127.0.0.1:{ports['hooks']}/v1"
    for query, more, status in (("", by_user, 202), (f"?key={key}", (), 202), ("", (), 401), (f"?key={key}&key={key}", (), 401),
                                ("", ("-H", f"Authorization: Bearer {GOOD_TOKEN}"), 401), ("", ("--user", f"board:{key}"), 401)):
        assert curl(hooks + query, "--json", '{"a": 1}', *more)[0] == status, (query, more)
    for one in right:
        wait_for(lambda: len(one.events) == 2, why=lambda: one.events)
    metrics = curl(pages + "/metrics", *by_user)[1]
    for reason in ("address", "repeated", "malformed", "mismatch"):
        assert f'aqueduct_http_refused_total{{source="hooks",path="/v1",reason="{reason}"}} 1\n' in metrics, metrics
    daemon.stop()
    for text in (daemon.log(), metrics, json.dumps([one.events for one in right])):
        assert password not in text and key not in text
