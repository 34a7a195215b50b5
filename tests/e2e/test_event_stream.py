# SPDX-License-Identifier: MIT
"""Our event streams, read back by clients of others: what the specification says of lines, names, ids, comments, retry and characters
(HTML 9.2.6) is exercised by what is published, and each client gets equal bytes."""
import codecs
import http.client
import json
import random
import re
import subprocess
import threading

import pytest

from conftest import HTTP_SOURCE, TOKEN, free_port, wait_for
import browser as chromium
import requests

LIVE = HTTP_SOURCE + """
sinks:
  live: {type: websocket, listen: "127.0.0.1:%d", topics: [$EVENTS], origins: ["*"]}
"""

# What a parser of event streams could take for something else, as JSON values with the line ends of each kind between their parts.
DATA = [
    '"one line"', '""', '" begins with a blank"', '"\\ufeff a mark"', '"\ufeff a mark as it is"', '":a comment?"', '"data: more"', '"\\u0000"',
    '"\\r\\n\\n"', '"id: 7"', '"retry: 1"', '"ends with blanks  "', '"\u2028 \u2029 \u0085 are no ends of lines"', '"größer 水 😀"', '[1,\n2]', '[1,\r2]', '[1,\r\n2]',
    '[1,\n\n2]', '[1,\r\r2]', '[1,\n\r2]', '[1,\r\n\r\n2]', '{\n  "a": 1,\n  "data: b": [\n    ":",\n    "event: x"\n  ]\n}', '[\n\n\n]', '[1,\t2]', f'"{"x" * 70000}"',
    f'"{"ü" * 4095}"', '{"a":\n:'.replace(":\n:", ":\n1}"), 'null', '0',
]
# Names of events, which no parser may cut, trim or take for a field of its own.
TYPES = [
    "plain.type", "a:b", "a: b", ":colon", "data", "id", "retry", "event", "message", "größer.水.😀", "with blanks in it", "\ufeffmark", "trailing ", " leading",
    "\u2028", "error", "open", "x" * 1000,
]


def published(ident, kind, data):
    head = json.dumps({"specversion": "1.0", "id": ident, "source": "/e2e", "type": kind}, ensure_ascii=False)
    return f'{head[:-1]},"data":{data}}}'


class Reader:
    """The algorithm of the specification, in Python's words, over a body in pieces of any length."""

    def __init__(self, port, query):
        self.got, self.id, self.retry, self.ended = [], "", None, threading.Event()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/" + query, headers={"Accept": "text/event-stream"})
        self.answer = connection.getresponse()
        assert self.answer.status == 200 and self.answer.headers["Content-Type"] == "text/event-stream"
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        dice, text, decode, first = random.Random(7), "", codecs.getincrementaldecoder("utf-8")(), True
        name, data = "", []
        while piece := self.answer.read1(dice.choice((1, 2, 3, 5, 100, 65536))):
            text += decode.decode(piece)
            if first and text:
                text, first = text.removeprefix("\ufeff"), False
            *lines, text = re.split("\r\n|\n|\r(?!$)", text)
            for line in lines:
                if line == "":
                    if data and name != "resume":
                        self.got.append([name or "message", "\n".join(data), self.id])
                    name, data = "", []
                    continue
                field, _, value = line.partition(":")
                value = value[1:] if value.startswith(" ") else value
                if field == "data":
                    data.append(value)
                elif field == "event":
                    name = value
                elif field == "id" and "\0" not in value:
                    self.id = value
                elif field == "retry" and value.isascii() and value.isdigit():
                    self.retry = int(value)
        self.ended.set()


CHROMIUM = """(() => {
    globalThis.got = [];
    const events = globalThis.events = new EventSource(%s);
    const take = (e) => e.type !== "resume" && got.push([e.type, e.data, e.lastEventId]);
    for (const name of %s) events.addEventListener(name, take);
    return true;
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    one = chromium.Browser(tmp_path_factory.mktemp("chromium"))
    yield one
    one.close()


@pytest.mark.parametrize("named", (False, True), ids=("unnamed", "named"))
def test_clients_read_equal_bytes(local_bridge, browser, node_folder, named):
    port = free_port()
    daemon = local_bridge.run(LIVE % port)
    cases = [(f"d{i}", "plain.type", data) for i, data in enumerate(DATA)] + [(f"t{i}", kind, '"x"') for i, kind in enumerate(TYPES)]
    query = "?from=earliest" + ("&event=type" if named else "")
    names = sorted({kind for kind in TYPES if kind not in ("error", "open")} | {"message"})
    url = f"http://127.0.0.1:{port}/{query}"
    page = browser.open(f"http://127.0.0.1:{daemon.port('hooks')}/nothing")
    page.wait("document.readyState === 'complete'")
    reader = Reader(port, query)
    node = subprocess.Popen(["node", "event_stream.mjs", url, json.dumps(names), str(len(cases))], cwd=node_folder, stdout=subprocess.PIPE, text=True)
    try:
        assert page.run(CHROMIUM % (json.dumps(url), json.dumps(names)))
        for case in cases:
            answer = requests.post(f"http://127.0.0.1:{daemon.port('hooks')}/v1", data=published(*case).encode(), timeout=60,
                                   headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents+json"})
            assert answer.status_code == 202, (case, answer.text)
        wait_for(lambda: len(reader.got) >= len(cases), why=lambda: len(reader.got))
        page.wait(f"got.length >= {len(cases)}")
        heard = {"python": reader.got, "chromium": page.run("got"), **json.loads(node.communicate(timeout=60)[0])}
        page.run("events.close()")
    finally:
        node.kill()
    assert set(heard) == {"python", "chromium", "npm eventsource", "undici"}
    for client, got in heard.items():
        assert len(got) == len(cases), client
        for (ident, kind, data), (name, text, _) in zip(cases, got):
            event = json.loads(text)
            assert (event["id"], event["type"], event["data"]) == (ident, kind, json.loads(data)), (client, ident)
            assert text.endswith(f'"data":{data}}}'.replace("\r\n", "\n").replace("\r", "\n")), (client, ident, text[-200:])
            assert name == (kind if named and kind not in ("error", "open") else "message"), (client, ident)
        assert [one[:2] for one in got] == [one[:2] for one in heard["python"]], client
        ids = [position for _, _, position in got]
        answer = requests.get(f"http://127.0.0.1:{port}/events", params={"from": ids[4], "max": 1}).json()
        assert len(set(ids)) == len(ids) and answer["resume"] == "exact" and answer["events"][0]["id"] == "d5", (client, answer)
    assert 3000 <= reader.retry <= 8000
    daemon.stop()


def test_what_is_no_event_dispatches_nothing(local_bridge):
    """The beginning (retry, an id), and the end (retry, an id alone): blocks without data."""
    port = free_port()
    daemon = local_bridge.run(LIVE % port)
    reader = Reader(port, "")
    wait_for(lambda: reader.id and reader.retry)
    daemon.stop()
    wait_for(lambda: reader.ended.is_set())
    assert reader.got == [] and 500 <= reader.retry <= 1499, "the last block says when to come back"
