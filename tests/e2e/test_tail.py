# SPDX-License-Identifier: MIT
"""`aqueduct tail`: events as they come, out of the broker beside the daemon and out of a listener."""
import http.server
import json
import signal
import subprocess
import threading

import pytest
import requests

from conftest import HTTP_SOURCE, TOKEN, event, post_ok

TWO_TOPICS = HTTP_SOURCE.replace("routes: [{topic: $EVENTS}]", "routes: [{filter: {prefix: {type: chat.}}, topic: $T_chats}, {topic: $EVENTS}]")


def shown(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]


class Tail(subprocess.Popen):
    def __init__(self, program, *words, **more):
        super().__init__([program, "tail", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)

    def next(self):
        return json.loads(self.stdout.readline())["id"]

    def interrupt(self):
        self.send_signal(signal.SIGINT)
        out, err = self.communicate(timeout=30)
        return self.returncode, out, err


def test_tail_begins_where_it_is_told_and_goes_on_with_what_comes(bridge):
    daemon = bridge.run(TWO_TOPICS)
    chats = bridge.topic("chats")
    for i in range(4):
        post_ok(daemon, event(f"d{i}", "document.uploaded", subject="a/1", data={"n": i, "api_key": "sk-secret"}), event(f"c{i}", "chat.started", subject=f"b/{i}"))
    everything = bridge.command("tail", "--json", "--no-follow")
    assert sorted(shown(everything)) == sorted(f"{kind}{i}" for kind in "cd" for i in range(4))
    assert shown(bridge.command("tail", "--json", "--no-follow", "--topic", chats)) == ["c0", "c1", "c2", "c3"]
    newest = shown(bridge.command("tail", "--json", "--no-follow", "--from", "last:3"))   # of both topics, by time
    assert len(newest) == 3 and {"c3", "d3"} < set(newest) and set(newest) <= {"c2", "d2", "c3", "d3"} and newest.index("d3") != newest.index("c3")
    assert shown(bridge.command("tail", "--json", "--no-follow", "--from", "1h", "--type", "chat.*", "--subject", "b/2")) == ["c2"]
    assert shown(bridge.command("tail", "--json", "--from", "earliest", "--filter", "{any: [{exact: {id: d1}}, {data: {/n: 3}}]}", "-n", "2")) == ["d1", "d3"]
    assert shown(bridge.command("tail", "--json", "--no-follow", "--from", "latest")) == []
    first = json.loads(bridge.command("tail", "--json", "--topic", chats, "--from", "earliest", "--count", "2").stdout.splitlines()[1])
    assert first["position"] == f"{chats}/0@2"
    assert shown(bridge.command("tail", "--json", "--topic", chats, "--from", first["position"], "--no-follow")) == ["c2", "c3"]
    line = bridge.command("tail", "--no-follow", "--topic", bridge.topic("events"), "-n", "1").stdout
    assert "  document.uploaded  a/1  {" in line and '"api_key":"***"' in line and "sk-secret" not in line and line.count("\n") == 1
    line = bridge.command("tail", "--no-follow", "--ids", "--topic", chats, "-n", "2").stdout.splitlines()[1]
    assert line.endswith(f"  chat.started  b/1  {chats}/0@1  c1  -"), line
    assert shown(bridge.command("tail", "--json", "--topic", chats, "--from", f"{chats}/0@1", "--no-follow")) == ["c1", "c2", "c3"]
    follower = Tail(bridge.program, "-c", str(bridge.config), "--json", "--from", first["position"])
    assert {follower.next() for _ in range(6)} == {"c2", "c3", "d0", "d1", "d2", "d3"}
    post_ok(daemon, event("c4", "chat.started"))
    assert follower.next() == "c4"
    assert follower.interrupt()[0] == 0
    wrong = bridge.command("tail", "--topic", chats[:-1], "--no-follow")
    assert (wrong.returncode, wrong.stderr) == (1, f"aqueduct tail: there is no topic {chats[:-1]} yet (did you mean {chats}?)\n")


def test_data_that_a_reader_of_json_may_not_take_is_shown_all_the_same(local_bridge):
    daemon = local_bridge.run(HTTP_SOURCE)
    post_ok(daemon, event("big", data={"n": 12345678901234567890, "text": "a\0b"}))
    one = json.loads(local_bridge.command("tail", "--json", "--no-follow").stdout)
    assert one["data"] == {"n": 12345678901234567890, "text": "a\0b"} and "@1" in one["position"]
    pretty = json.dumps(event("pretty", data={"n": [1]}), indent=2)
    requests.post(f"http://127.0.0.1:{daemon.port('hooks')}/v1", data=pretty, timeout=30,
                  headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents+json"}).raise_for_status()
    lines = local_bridge.command("tail", "--json", "--no-follow").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["big", "pretty"]
    line = local_bridge.command("tail", "--no-follow").stdout
    assert '"text":"a\\u0000b"' in line and "1.2345678901234567e19" in line


@pytest.mark.parametrize("words, said", [
    (["--from", "yesterday"], '--from: "yesterday" is neither earliest, latest, last:N, a moment, a time ago (90s 30m 2h 7d) nor a position'),
    (["--from", "last:0"], "--from: last: takes a number from 1 to 10000"),
    (["--filter", "{exakt: {type: a}}"], "--filter: [0].exakt: no part of a filter, did you mean exact?"),
    (["--filter", "{a: [}"], "--filter: line 1, column "),
    (["--ids", "--json"], "--json has the id of each event anyway"),
    (["--token-env", "X"], "--token-env is of use with --url only"),
    (["--url", "http://127.0.0.1:1/", "--no-follow"], "--no-follow is of use without --url only"),
])
def test_wrong_words(local_bridge, words, said):
    local_bridge.configure(TWO_TOPICS)
    done = local_bridge.command("tail", *words)
    assert done.returncode == 2 and said in done.stderr, done.stderr


def test_tail_over_a_url(local_bridge):
    daemon = local_bridge.run(TWO_TOPICS + f"sinks:\n  live: {{type: websocket, listen: \"127.0.0.1:0\", topics: [$EVENTS, $T_chats], tokens: [{TOKEN}]}}\n")
    url = f"ws://127.0.0.1:{daemon.port('live')}/"
    refused = subprocess.run([local_bridge.program, "tail", "--url", url], capture_output=True, text=True, timeout=60)
    assert (refused.returncode, refused.stderr) == (1, "aqueduct tail: it answered with status 401: a valid token is needed\n")
    (local_bridge.folder / "token").write_text(TOKEN + "\n")
    (local_bridge.folder / "token").chmod(0o600)
    one = Tail(local_bridge.program, "--url", url, "--json", "--token-file", str(local_bridge.folder / "token"), "--type", "chat.*", "--filter", "{not: {exact: {id: c1}}}")
    two = Tail(local_bridge.program, "--url", url, "--json", "-n", "3", env={"AQUEDUCT_TOKEN": TOKEN})
    for follower in (one, two):     # it hears what comes when it is connected
        while daemon.metric("aqueduct_listeners", sink="live", kind="sse") < 2:
            assert follower.poll() is None
    post_ok(daemon, *(event(i, "chat.started" if i[0] == "c" else "document.uploaded") for i in ("c0", "d0", "c1", "c2")))
    assert [one.next(), one.next()] == ["c0", "c2"]
    assert len({two.next() for _ in range(3)}) == 3
    assert two.wait(30) == 0
    daemon.stop()
    assert "; again in " in one.stderr.readline()
    assert one.interrupt()[0] == 0
    gone = subprocess.run([local_bridge.program, "tail", "--url", url], capture_output=True, text=True, timeout=60)
    assert gone.returncode == 1 and "127.0.0.1" in gone.stderr


def test_tail_comes_back_with_its_position(aqueduct):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append((self.path, self.headers["Last-Event-ID"]))
            n = len(asked)
            self.send_response(503 if n == 2 else 204 if n == 4 else 200)
            self.end_headers()
            if n in (1, 3):
                resume = {"resume": "exact"} if n == 1 else {"resume": "gap", "lost": {"t/0": 2}}
                self.wfile.write(f"event: resume\ndata: {json.dumps(resume)}\n\nretry: 10\n\nid: p{n}\ndata: {json.dumps({**event(f'e{n}'), 'specversion': '1.0'})}\n\nid: p{n}b\n\n".encode())

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    done = subprocess.run([aqueduct, "tail", "--url", f"http://127.0.0.1:{server.server_port}/x?a=b", "--topic", "t", "--from", "last:5", "--json"],
                          capture_output=True, text=True, timeout=60)
    server.shutdown()
    server.server_close()
    assert shown(done) == ["e1", "e3"]
    assert done.stderr.count("does not go on exactly") == 1 and '"t/0": 2' in done.stderr
    assert asked == [("/x?a=b&topics=t&from=last%3A5", where) for where in (None, "p1b", "p1b", "p3b")]
