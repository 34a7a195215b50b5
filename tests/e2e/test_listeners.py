# SPDX-License-Identifier: MIT
"""Live streams: who may listen, what they ask for, and that a slow listener holds up nobody."""
import base64
import json
import random
import re
import socket
import ssl
import subprocess

import pytest
import requests

from conftest import HTTP_SOURCE, TOKEN, Listener, SseListener, certificate, event, post, post_ok, wait_for

LIVE = HTTP_SOURCE.replace("routes: [{topic: $EVENTS}]", "routes: [{filter: {prefix: {type: chat.}}, topic: $T_chats}, {topic: $EVENTS}]") + """
sinks:
  live: {type: websocket, listen: "127.0.0.1:0", topics: [$EVENTS, $T_chats]%s}
"""
GOOD_TOKEN = "a-listeners-token-of-some-length"


def listening(daemon, count):
    wait_for(lambda: daemon.metric("aqueduct_listeners", sink="live") == count)


SEVERAL_THREADS = pytest.mark.parametrize("threads", [1, 3])


@pytest.mark.threads
@SEVERAL_THREADS
def test_everybody_hears_everything_in_order(bridge, threads):
    daemon = bridge.run(LIVE % f", threads: {threads}")
    port = daemon.port("live")
    all_of_them = [Listener(port), Listener(port), SseListener(port), SseListener(port, "?event=type")]
    listening(daemon, 4)
    wait_for(lambda: all_of_them[2].last and all_of_them[3].last)    # where they begin
    sent = [event(f"number-{i:04}", data={"text": f"Nr. {i}: größer 😀\n"}) for i in range(200)]
    for i in range(0, 200, 50):
        assert post(daemon, sent[i:i + 50]).status_code == 202
    for one in all_of_them:
        wait_for(lambda: len(one.events) == 200, why=lambda: len(one.events))
        assert one.ids() == [e["id"] for e in sent]
        assert [e["data"] for e in one.events] == [e["data"] for e in sent]
    assert {kind for _, kind, _ in all_of_them[3].blocks} == {"thing.happened"}
    assert {kind for _, kind, _ in all_of_them[2].blocks} == {None}
    assert len({ident for ident, _, _ in all_of_them[2].blocks}) == 200, "each has a position of its own"
    wait_for(lambda: daemon.metric("aqueduct_listener_events_total", sink="live") == 800)
    daemon.stop()
    for one in all_of_them:
        assert one.ended.wait(30)
    assert all(one.code == 1012 and re.fullmatch(r"restarting; come back in \d+ ms", one.reason) for one in all_of_them[:2])


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
@SEVERAL_THREADS
def test_a_slow_listener_slows_nobody_and_catches_up(bridge, threads):
    daemon = bridge.run(LIVE % f", buffer: 256KiB, threads: {threads}")
    port = daemon.port("live")
    closing, slow = socket.socket(), socket.socket()
    for one, query in [(closing, "?slow=close"), (slow, "")]:       # they ask for everything and do not read
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", port))
        one.sendall(f"GET /{query} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
    fast = [Listener(port), SseListener(port)]
    listening(daemon, 4)
    ids = []
    filler = "x" * 20000

    def closed():
        batch = [event(f"number-{len(ids) + i}", data=filler) for i in range(40)]
        assert post(daemon, batch).status_code == 202
        ids.extend(e["id"] for e in batch)
        for one in fast:
            one.heard(ids[-40:])
        return (daemon.metric("aqueduct_listeners_closed_total", sink="live", reason="slow") == 1
                and daemon.metric("aqueduct_listeners_catching_up", sink="live") == 1)
    wait_for(closed)
    listening(daemon, 3)
    closing.close()
    assert [one.ids() for one in fast] == [ids, ids]
    heard = Stream(slow)
    while heard.ids() != ids:
        heard.read(1 << 20)
        assert heard.ids() == ids[:len(heard.ids())]
    wait_for(lambda: daemon.metric("aqueduct_listeners_catching_up", sink="live") == 0)
    post_ok(daemon, event("the-last"))
    while heard.ids() != ids + ["the-last"]:
        heard.read(1 << 20)
    slow.close()


class Stream:
    """The events of an event stream as far as it came whole, and the position after them."""

    def __init__(self, connection, last=None):
        self.connection, self.rest, self.events, self.last, self.resumed = connection, b"", [], last, None
        connection.settimeout(60)

    def read(self, most):
        """False: it has ended."""
        some = self.connection.recv(most)
        *blocks, self.rest = (self.rest + some).split(b"\n\n")
        for block in blocks:
            lines = dict(line.split(": ", 1) for line in block.decode().split("\n") if ": " in line)
            self.last = lines.get("id", self.last)
            if lines.get("event") == "resume":
                self.resumed = json.loads(lines["data"])
            elif "data" in lines:
                self.events.append(json.loads(lines["data"]))
        return bool(some)

    def ids(self):
        return [e["id"] for e in self.events]


@pytest.mark.threads
@SEVERAL_THREADS
def test_listeners_come_back_exactly(bridge, threads):
    """Cut at any byte, over a restart and a kill: what follows the last position that came whole, and nothing else."""
    config = LIVE.replace("{topic: $EVENTS}", "{topic: $EVENTS, key: subject}") + "topics: {$EVENTS: {partitions: 3}}\n"
    daemon = bridge.run(config % f", threads: {threads}")
    heard, last, posted, verdicts = [], None, 0, []
    chance = random.Random(1)
    for turn in range(14):
        if turn == 5:
            daemon.kill()
            daemon = bridge.start()
        if turn == 9:
            daemon.stop()
            daemon = bridge.start()
        post_ok(daemon, *[event(f"{(posted + i) % 5}-{(posted + i) // 5}", subject=f"s/{(posted + i) % 5}") for i in range(50)])
        posted += 50
        with socket.create_connection(("127.0.0.1", daemon.port("live"))) as connection:
            where = f"Last-Event-ID: {last}\r\n" if last else ""
            connection.sendall(f"GET /?from=earliest HTTP/1.1\r\nHost: localhost\r\n{where}Accept: text/event-stream\r\n\r\n".encode())
            stream, left = Stream(connection, last), chance.randrange(20000)
            while left > 0 and len(heard) + len(stream.events) < posted:
                stream.read(min(left, 1000))
                left -= 1000
            heard += stream.ids()
            last = stream.last
            verdicts += [stream.resumed and stream.resumed["resume"]]
    rest = SseListener(daemon.port("live"), headers={"Last-Event-ID": last})
    wait_for(lambda: len(heard) + len(rest.ids()) >= posted, why=lambda: (len(heard), len(rest.ids()), posted))
    heard += rest.ids()
    for subject in range(5):
        mine = [ident for ident in heard if ident.startswith(f"{subject}-")]
        assert mine == [f"{subject}-{i}" for i in range(posted // 5)]
    assert set(verdicts) <= {"new", "exact", None}
    answer = requests.get(f"http://127.0.0.1:{daemon.port('live')}/", headers={"Accept": "text/event-stream", "Last-Event-ID": "x" + last}, timeout=30)
    assert answer.status_code == 400 and "Last-Event-ID" in answer.json()["detail"]


@pytest.mark.threads
def test_several_threads_are_one_sink(bridge):
    """Its limits, its counts, the names of its positions and what its listeners publish: whichever thread a connection is at."""
    daemon = bridge.run(LIVE % ', threads: 3, max_listeners_per_ip: 6, max_subscriptions: 2, publish: {types: ["chat.*"]}')
    port = daemon.port("live")
    url = f"http://127.0.0.1:{port}/events"

    def pull(**parameters):
        answer = requests.get(url, params=parameters, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()
    post_ok(daemon, *[event(f"before-{i}") for i in range(6)])
    wait_for(lambda: len(pull(**{"from": "earliest"})["events"]) == 6)
    cursor, ids = pull(position="job", **{"from": "earliest", "max": 1})["cursor"], []
    others = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]      # each request goes to whoever has fewest
    for _ in range(5):
        others.pop().close() if others else None
        answer = pull(position="job", ack=cursor, max=1)
        ids += [e["id"] for e in answer["events"]]
        cursor = answer["cursor"]
    assert ids == [f"before-{i}" for i in range(1, 6)], "what one thread was told counts at the others"
    all_of_them = [Listener(port) if i % 2 else Listener(port, "?type=thing.*") for i in range(6)]
    listening(daemon, 6)
    assert Listener(port).refused == 429
    all_of_them.pop().leave()
    listening(daemon, 5)
    assert Listener(port, "?type=of.a.third.kind").refused == 503
    sent = [event(f"number-{i:03}") for i in range(100)]
    for i in range(0, 100, 20):
        post_ok(daemon, *sent[i:i + 20])
    for one in all_of_them:
        wait_for(lambda: len(one.events) == 100, why=lambda: len(one.events))
        assert one.ids() == [e["id"] for e in sent]
    wait_for(lambda: daemon.metric("aqueduct_listener_events_total", sink="live") == 500)
    assert daemon.metric("aqueduct_sink_delivered_total", sink="live") == 106, "each once, however many threads show it"
    others = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
    for i in range(4):
        others.pop().close()
        answer = requests.post(f"http://127.0.0.1:{port}/", json=event(f"said-{i}", "chat.said"), timeout=30)
        assert answer.status_code == 202 and answer.json()["status"] == "stored", "answered by whom it came to"
    for one in all_of_them:
        if "?" not in one.url:
            one.heard({f"said-{i}" for i in range(4)})
    daemon.stop()
    for one in all_of_them:
        assert one.ended.wait(30)
    assert all(one.code == 1012 and re.fullmatch(r"restarting; come back in \d+ ms", one.reason) for one in all_of_them)


@pytest.mark.threads
@SEVERAL_THREADS
def test_listeners_come_and_go(bridge, threads):
    daemon = bridge.run(LIVE % f", max_listeners_per_ip: 5, threads: {threads}")
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


def test_listening_over_tls(local_bridge):
    chain, key = certificate(local_bridge.folder)
    daemon = local_bridge.run(LIVE % f", tls_certificate: {chain}, tls_key: {key}")
    port, trusting = daemon.port("live"), ssl.create_default_context(cafile=str(chain))
    both = [Listener(port, ssl=trusting), Listener(port, ssl=trusting, subprotocols=["aqueduct.v1+json"])]
    both[1].say({"op": "sub", "id": 1, "sub": "a"})
    wait_for(lambda: any(e["op"] == "ok" for e in both[1].events))
    listening(daemon, 2)
    ids = [f"event-number-{i}" for i in range(50)]
    post_ok(daemon, *(event(i, data={"text": "x" * 20000}) for i in ids))
    both[0].heard(ids)
    assert both[0].ids() == ids
    wait_for(lambda: [d["id"] for e in both[1].events if e["op"] == "ev" for d in e["d"]] == ids, why=lambda: both[1].events[-1:])
    distrusting = Listener(port, ssl=ssl.create_default_context())
    assert distrusting.ended.wait(30) and distrusting.refused == "CERTIFICATE_VERIFY_FAILED"


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
