# SPDX-License-Identifier: MIT
"""Events by plain requests: what a shell loop with curl gets, acknowledges and never misses, through kill -9 of both sides."""
import json
import os
import signal
import subprocess
import sys

import requests

from conftest import HTTP_SOURCE, ROOT, TOKEN, event, free_port, post_ok, wait_for

LIVE = HTTP_SOURCE + """
sinks:
  live: {type: websocket, listen: "127.0.0.1:%d", topics: [$EVENTS]}
"""
# What the guide shows: done with the events, then acknowledged together with the next request.
LOOP = """
set -u
ack=""
while :; do
    answer=$(curl -sf -H 'Accept: application/json' "$URL?position=nightly&max=7&wait=5$ack") || { sleep 0.1; continue; }
    printf '%s' "$answer" | python3 -c 'import json, sys; [print(e["id"], flush=True) for e in json.load(sys.stdin)["events"]]' >> "$OUT"
    ack="&ack=$(printf '%s' "$answer" | python3 -c 'import json, sys; print(json.load(sys.stdin)["cursor"])')"
done
"""


class Loop(subprocess.Popen):
    def __init__(self, url, out):
        super().__init__(["bash", "-c", LOOP], env={**os.environ, "URL": url, "OUT": str(out)}, start_new_session=True)

    def kill(self):
        os.killpg(self.pid, signal.SIGKILL)
        self.wait(30)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_a_shell_loop_gets_all_once_and_after_kills_at_least_once(bridge, tmp_path):
    port = free_port()
    daemon = bridge.run(LIVE % port)
    url, out = f"http://127.0.0.1:{port}/events", tmp_path / "out"
    sent = [f"e{i:03}" for i in range(60)]
    post_ok(daemon, *(event(i) for i in sent[:20]))
    loop = Loop(url, out)
    try:
        wait_for(lambda: len(lines(out)) >= 20, why=lambda: lines(out))
        assert lines(out) == sent[:20]           # once, while nothing is killed
        daemon.kill()
        daemon = bridge.start()
        post_ok(daemon, *(event(i) for i in sent[20:40]))
        wait_for(lambda: set(sent[20:30]) <= set(lines(out)), why=lambda: lines(out))
        loop.kill()
        post_ok(daemon, *(event(i) for i in sent[40:]))
        daemon.kill()
        daemon = bridge.start()
        loop = Loop(url, out)
        wait_for(lambda: set(sent) <= set(lines(out)), why=lambda: lines(out))
        got = lines(out)
        assert got[:20] == sent[:20] and len(got) <= len(sent) + 4 * 7     # a repeat is at most what was not acknowledged
        assert sorted(dict.fromkeys(got)) == sent
    finally:
        loop.kill()
    names = requests.get(url + "/positions", timeout=30).json()["positions"]
    assert [one["name"] for one in names] == ["nightly"] and names[0]["cursor"]
    assert requests.delete(url + "/positions/nightly", timeout=30).status_code == 204
    assert requests.get(url + "/positions", timeout=30).json() == {"positions": []}


def test_the_python_example_goes_on_where_it_was(local_bridge):
    port = free_port()
    daemon = local_bridge.run((LIVE % port).replace("topics: [$EVENTS]", f"topics: [$EVENTS], tokens: [{TOKEN}]"))
    words = [sys.executable, ROOT / "connectors/websocket/client/consume.py", f"http://127.0.0.1:{port}/events", "nightly", "--once"]

    def taken(**env):
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60)
        return done.returncode, [json.loads(line)["id"] for line in done.stdout.splitlines()], done.stderr
    post_ok(daemon, *(event(f"e{i}") for i in range(150)))
    assert taken(AQUEDUCT_TOKEN=TOKEN) == (0, [f"e{i}" for i in range(150)], "")
    assert taken(AQUEDUCT_TOKEN=TOKEN) == (0, [], "")
    post_ok(daemon, event("later"))
    assert taken(AQUEDUCT_TOKEN=TOKEN) == (0, ["later"], "")
    code, _, said = taken(AQUEDUCT_TOKEN="another")
    assert code == 1 and "401" in said and "a valid token is needed" in said
