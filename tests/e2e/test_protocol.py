# SPDX-License-Identifier: MIT
"""The subprotocols aqueduct.v1+json and +cbor, spoken by independent clients."""
import json
import re
import subprocess
import sys

import cbor2
import requests

from conftest import HTTP_SOURCE, ROOT, Listener, SseListener, event, free_port, post_ok, wait_for

LIVE = HTTP_SOURCE + """
sinks:
  live: {type: websocket, listen: "127.0.0.1:%d", topics: [$EVENTS], publish: {types: [chat.*]}}
"""


class Talker(Listener):
    """Says ops, and keeps what is said to it."""
    protocol_name = "aqueduct.v1+json"

    def __init__(self, port, **more):
        super().__init__(port, subprotocols=[self.protocol_name], **more)
        assert self.protocol == self.protocol_name
        self.wait("welcome")

    def wait(self, op, count=1, **members):
        """The count-th message of that op with these members."""
        def those():
            return [m for m in self.events if m["op"] == op and members.items() <= m.items()]
        wait_for(lambda: len(those()) >= count, why=lambda: (op, members, self.events[-5:]))
        return those()[count - 1]

    def ask(self, op, **members):
        """Its answer."""
        ident = len(self.events) + 1000 * getattr(self, "asked", 0)
        self.asked = getattr(self, "asked", 0) + 1
        self.say({"op": op, "id": ident, **members})
        wait_for(lambda: any(m.get("id") == ident for m in self.events), why=lambda: self.events[-5:])
        return next(m for m in self.events if m.get("id") == ident)

    def heard(self, sub):
        return [e["id"] for m in self.events if m["op"] == "ev" and m["sub"] == sub for e in m["d"]]


class CborTalker(Talker):
    protocol_name = "aqueduct.v1+cbor"
    decode, encode = staticmethod(cbor2.loads), staticmethod(cbor2.dumps)


def test_the_same_protocol_in_cbor(bridge):
    port = free_port()
    daemon = bridge.run(LIVE % port)
    one, other = CborTalker(port), Talker(port)
    for talker in (one, other):
        assert talker.ask("sub", sub="a", **{"from": "earliest"})["op"] == "ok"
        talker.wait("live", sub="a")
    data = {"text": "größer 😀\n", "n": [1, 2.5, None, True], "big": 12345678901234567890123}
    post_ok(daemon, event("1", "thing.happened", subject="ü", data=data), event("2", "thing.happened", data="text"))
    binary = {"specversion": "1.0", "id": "3", "source": "/e2e", "type": "thing.happened", "datacontenttype": "image/png", "data_base64": "iVBORw=="}
    post_ok(daemon, binary)
    for talker in (one, other):
        wait_for(lambda: talker.heard("a") == ["1", "2", "3"], why=lambda: talker.events)
    mine = [m["d"][0] for m in one.events if m["op"] == "ev"]
    theirs = [m["d"][0] for m in other.events if m["op"] == "ev"]
    assert mine[2].pop("data_base64") == b"\x89PNG" and theirs[2].pop("data_base64") == "iVBORw=="
    for m, t in zip(mine[:2], theirs[:2]):
        embedded = m["data"]
        assert embedded.tag == 262
        assert json.loads(embedded.value) == t["data"]
    assert [{k: v for k, v in m.items() if k != "data"} for m in mine] == [{k: v for k, v in t.items() if k != "data"} for t in theirs]
    # what it publishes: data as CBOR, embedded, and as bytes
    for ident, data in (("p1", {"data": {"a": [1, 0.5]}}), ("p2", {"data": cbor2.CBORTag(262, b'{"a":[1,0.50]}')}), ("p3", {"data_base64": b"\x00\xff", "datacontenttype": "image/png"})):
        said = one.ask("pub", event={"specversion": "1.0", "id": ident, "source": "/me", "type": "chat.said", **data})
        assert (said["op"], said["event"]) == ("ok", ident)
    wait_for(lambda: other.heard("a")[3:] == ["p1", "p2", "p3"], why=lambda: other.events[-4:])
    published = [m["d"][0] for m in other.events if m["op"] == "ev"][3:]
    assert published[0]["data"] == published[1]["data"] == {"a": [1, 0.5]} and published[2]["data_base64"] == "AP8="
    # what is no CBOR of ours is answered, and ends nothing
    one.encode = lambda raw: raw
    one.say(bytes.fromhex("bf626f706470696e67ff"))
    assert "indefinite" in one.wait("err", code=4400)["msg"]
    one.encode = cbor2.dumps
    assert one.ask("ping")["op"] == "ok"


def test_leave_says_where_to_go_on(bridge):
    port = free_port()
    daemon = bridge.run(LIVE % port)
    one = CborTalker(port)
    one.ask("sub", sub="all")
    one.ask("sub", sub="none", type="never.*")
    for sub in ("all", "none"):    # where it begins: at once, or as soon as the broker has said it
        wait_for(lambda: any(m.get("sub") == sub and m.get("pos") for m in one.events))
    post_ok(daemon, *(event(f"e{i}", "thing.happened") for i in range(5)))
    wait_for(lambda: len(one.heard("all")) == 5)
    daemon.stop()
    assert one.ended.wait(30) and one.code == 1012
    drain = one.wait("drain")
    assert drain["reconnect_ms"] >= 500 and set(drain["pos"]) == {"all", "none"}
    daemon = bridge.start(ready=True)
    post_ok(daemon, event("e5", "thing.happened"))
    two = Talker(port)
    two.ask("sub", sub="all", **{"from": drain["pos"]["all"]})
    assert two.wait("state", sub="all")["resume"] == "exact"
    two.wait("live", sub="all")
    wait_for(lambda: two.heard("all") == ["e5"], why=lambda: two.events)


def test_a_name_goes_on_after_crashes(bridge):
    """Acknowledged events never come again, others do, whoever crashes, over WebSocket and GET alike."""
    port = free_port()
    daemon = bridge.run(LIVE % port)
    one = Talker(port)
    assert one.ask("sub", sub="a", name="etl", window=4)["op"] == "ok"
    post_ok(daemon, *(event(f"e{i}", "thing.happened", subject="s") for i in range(10)))
    wait_for(lambda: one.heard("a") == ["e0", "e1", "e2", "e3"], why=lambda: one.events)
    assert one.ask("ack", sub="a", pos=one.wait("ev", 2)["pos"])["op"] == "ok"
    wait_for(lambda: len(one.heard("a")) == 6)
    daemon.kill()
    daemon = bridge.start(ready=True)
    two = CborTalker(port)
    assert two.ask("sub", sub="a", name="etl", topics=[bridge.topic("events")])["op"] == "ok"
    assert two.wait("state", sub="a")["resume"] == "exact"
    wait_for(lambda: two.heard("a") == [f"e{i}" for i in range(2, 10)], why=lambda: two.events)
    assert two.ask("ack", sub="a", pos=two.wait("live")["pos"])["op"] == "ok"
    post_ok(daemon, event("e10", "thing.happened", subject="s"))
    wait_for(lambda: two.heard("a")[-1] == "e10")
    two.leave()
    assert [e["id"] for e in requests.get(f"http://127.0.0.1:{port}/events?position=etl&wait=20").json()["events"]] == ["e10"]


def test_explain_says_why_a_listener_got_an_event_or_not(local_bridge):
    port = free_port()
    daemon = local_bridge.run(LIVE % port)
    topic = local_bridge.topic("events")
    post_ok(daemon, event("early", "thing.happened"))
    talker, plain, stream = Talker(port), Listener(port, "?subject=s/*"), SseListener(port)
    talker.ask("sub", sub="all")
    talker.ask("sub", sub="chats", type="chat.*")
    talker.ask("sub", sub="etl", name="etl", window=1)
    silent = Talker(port)
    post_ok(daemon, event("e1", "thing.happened", subject="t"), event("e2", "thing.happened", subject="t"))
    wait_for(lambda: talker.heard("all") == ["e1", "e2"] and talker.heard("etl") == ["early"] and len(stream.events) == 2)

    def explain(ident, connection):
        done = local_bridge.command("explain", "--event", ident, "--connection", str(connection), "--json")
        return done.returncode, {row["sub"]: (row["got"], row["why"]) for row in json.loads(done.stdout)["subscriptions"]}

    rows = json.loads(local_bridge.command("status", "--list", "listeners", "--json").stdout)["sinks"][0]["listeners"]
    assert {(row["kind"], row["protocol"], row["sub"], row["state"]) for row in rows} == {
        ("websocket", "aqueduct.v1+json", "all", "live"), ("websocket", "aqueduct.v1+json", "chats", "live"),
        ("websocket", "aqueduct.v1+json", "etl", "has not acknowledged what it got"), ("websocket", None, None, "live"), ("sse", None, None, "live"),
        ("websocket", "aqueduct.v1+json", None, "subscribes to nothing")}
    assert all(row["address"] == "127.0.0.1" and row["user"] is None and row["since"].startswith("20") and not row["token_expired"] for row in rows)
    assert [row["next"] for row in rows if row["sub"] == "all"] == [{f"{topic}/0": 3}]
    number = {(row["kind"], row["protocol"]): row["connection"] for row in rows if row["sub"] or not row["protocol"]}
    code, why = explain("e2", number["websocket", "aqueduct.v1+json"])
    assert code == 0 and why["all"] == (True, "it was written to the connection")
    assert why["chats"] == (False, 'type "thing.happened" does not begin with "chat."')
    assert why["etl"] == (False, "not yet: it stands 1 records before it, and has not acknowledged what it got")
    assert explain("e2", number["websocket", None]) == (1, {None: (False, 'subject "t" does not begin with "s/"')})
    assert explain("e2", number["sse", None]) == (0, {None: (True, "it was written to the connection")})
    assert explain("early", number["sse", None])[1][None][1].startswith("it is behind it, and came after it was stored")
    assert explain("e2", next(row["connection"] for row in rows if row["state"] == "subscribes to nothing"))[0] == 1
    gone = local_bridge.command("explain", "--event", "e2", "--connection", "4000000000")
    assert gone.returncode == 1 and gone.stdout.startswith("4000000000 is no connection now")
    shown = local_bridge.command("explain", "--event", "e2", "--connection", str(number["websocket", None])).stdout
    assert shown == 'live: no: subject "t" does not begin with "s/"\n'
    listed = local_bridge.command("status", "--list", "listeners").stdout
    assert 'etl all topics, has not acknowledged what it got' in listed and 'all topics {"prefix":{"subject":"s/"}}, live' in listed
    assert local_bridge.command("explain", "--connection", "1").returncode == 2
    daemon.stop()
    nobody = local_bridge.command("explain", "--event", "e2", "--connection", "1")
    assert nobody.returncode == 1 and "no daemon answers" in nobody.stderr


def test_the_guides_example_in_python_reads_and_acknowledges(local_bridge, tmp_path):
    """What it acknowledged does not come again when it is started again."""
    port = free_port()
    daemon = local_bridge.run(LIVE % port)
    example, = re.findall(r"^```python\n(.*?)^```", (ROOT / "connectors/websocket/README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert "localhost:8081" in example and '"ai.chats"' in example
    (tmp_path / "listen.py").write_text(example.replace("localhost:8081", f"127.0.0.1:{port}").replace("ai.chats", local_bridge.topic("events")))
    unacknowledged = {"position": "etl", "topics": local_bridge.topic("events"), "max": 10}
    for ids in (["1", "2"], ["3"]):
        post_ok(daemon, *(event(i, "chat.message") for i in ids))
        reader = subprocess.Popen([sys.executable, "listen.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        try:
            assert [reader.stdout.readline() for _ in ids] == [f"{i} chat.message\n" for i in ids]
            wait_for(lambda: daemon.metric("aqueduct_listeners", sink="live") == 1 and
                     not requests.get(f"http://127.0.0.1:{port}/events", params=unacknowledged, headers={"Accept": "application/json"}, timeout=30).json()["events"])
        finally:
            reader.kill()
            reader.wait()
            reader.stdout.close()
