# SPDX-License-Identifier: MIT
"""The page of a listener and the client in JavaScript, in a real Chromium."""
import functools
import http.server
import os
import threading

import pytest

from conftest import HTTP_SOURCE, ROOT, TOKEN, Bridge, event, free_port, post_ok
import browser as chromium
from proxy import Proxy

LIVE = HTTP_SOURCE + """
sinks:
  live: {type: websocket, listen: "127.0.0.1:%d", topics: [$EVENTS], page: true, tokens: [%s]%s}
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    one = chromium.Browser(tmp_path_factory.mktemp("chromium"))
    yield one
    one.close()


@pytest.fixture
def site():
    """Serves the client, as another origin than the listener's."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(ROOT / "connectors/websocket/client"))
    one = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=one.serve_forever, daemon=True).start()
    yield one
    one.shutdown()
    one.server_close()


def test_the_page_shows_events_as_text(local_bridge, browser, tmp_path):
    port = free_port()
    daemon = local_bridge.run(LIVE % (port, TOKEN, ""))
    post_ok(daemon, event("e1", "chat.started", subject="<b>s</b>", data={"text": "<img src=x onerror='document.title=1'>"}))
    page = browser.open(f"http://127.0.0.1:{port}/")
    page.wait("document.getElementById('problem')?.textContent.includes('token')")
    page.run(f"document.querySelector('[name=token]').value = '{TOKEN}'; document.querySelector('[type=submit]').click()")
    page.wait("document.querySelectorAll('#events li').length === 1 && document.getElementById('state').textContent.startsWith('connected')")
    assert page.run("document.querySelector('.subject').textContent") == "<b>s</b>"
    assert page.run("document.querySelectorAll('#events img, #events b').length") == 0 and page.run("document.title") == "Live events"
    page.run("document.getElementById('pause').click()")
    post_ok(daemon, *(event(f"e{i}", "document.embedded", subject=f"docs/{i}", data={"n": i}) for i in range(2, 9)))
    page.wait("document.getElementById('pause').textContent === 'Go on (7)'")
    page.run("document.getElementById('pause').click()")
    page.wait("document.querySelectorAll('#events li').length === 8")
    page.run("document.querySelector('summary').click()")
    page.wait("document.querySelector('pre')?.textContent.includes('\"docs/8\"')")
    for name, width, height, dark in (("light", 1100, 700, False), ("dark", 1100, 700, True), ("narrow", 390, 800, False)):
        page.look(width, height, dark)
        assert page.run("document.documentElement.scrollWidth <= innerWidth"), name
        if os.environ.get("PICTURES"):
            page.picture(f"{os.environ['PICTURES']}/{name}.png")
    daemon.stop()
    page.wait("document.getElementById('state').textContent.includes('again in')")
    daemon = local_bridge.start()
    post_ok(daemon, event("e9", "chat.done"))
    page.wait("document.querySelector('.type').textContent === 'chat.done' && document.querySelectorAll('#events li').length === 9")
    assert not [entry for entry in browser.logs if "Content Security Policy" in str(entry) or entry["method"] == "Runtime.exceptionThrown"], browser.logs
    daemon.stop()


CLIENT = """(async () => {
    const { listen } = await import("/aqueduct.js");
    const tokens = [], states = globalThis.states = [], gaps = globalThis.gaps = [], got = globalThis.got = [];
    globalThis.tokens = tokens;
    const stream = globalThis.stream = listen("http://127.0.0.1:%d/", {
        transports: ["%s"], type: "chat.*", from: "latest", onState: (s) => states.push(s.state), onGap: (gap) => gaps.push(gap),
        token: ({ refused }) => { tokens.push(refused); return tokens.length === 1 ? "not-the-token-at-all" : "%s"; },
    });
    (async () => { for await (const event of stream) got.push(event.id); })().catch((error) => states.push(error.message));
    return true;
})()"""


@pytest.mark.parametrize("transport", ["poll", "sse", "websocket", 'websocket", "sse", "poll'])
def test_the_client_goes_on_where_it_was_with_a_new_token(local_bridge, browser, site, transport):
    port = free_port()
    daemon = local_bridge.run(LIVE % (port, TOKEN, f', origins: ["http://127.0.0.1:{site.server_port}"]'))
    post_ok(daemon, event("before", "chat.started"))
    page = browser.open(f"http://127.0.0.1:{site.server_port}/page.css")
    page.wait("document.readyState === 'complete'")
    assert page.run(CLIENT % (port, transport, TOKEN))
    page.wait("states.includes('open')")
    post_ok(daemon, event("e1", "chat.started"), event("d1", "document.embedded"), event("e2", "chat.done"))
    page.wait("got.length === 2")
    daemon.kill()
    daemon = local_bridge.start(ready=True)
    post_ok(daemon, *(event(f"e{i}", "chat.more") for i in range(3, 30)))
    page.wait("got.length === 29")
    assert page.run("got") == [f"e{i}" for i in range(1, 30)]
    assert page.run("tokens.slice(0, 2)") == [False, True] and page.run("gaps") == []
    page.run("stream.close()")
    page.wait("states.at(-1) === 'closed'")


NAMED = """(async () => {
    const { listen } = await import("/aqueduct.js");
    globalThis.begin = (token, into, more = {}) => {
        const stream = listen(location.origin + "/", { transports: ["%s"], token, topics: ["%s"], onState: (s) => states.push(s), ...more });
        (async () => { for await (const event of stream) into.push(event.authid + "/" + event.id); })().catch((error) => into.push(String(error)));
        return stream;
    };
    globalThis.said = (type, id) => ({ type, event_id: id, sessionId: "s", content: "c" });
    globalThis.states = []; globalThis.first = []; globalThis.second = []; globalThis.third = [];
    return true;
})()"""


@pytest.mark.parametrize("transport", ["websocket", "poll"])
def test_the_client_publishes_and_the_server_remembers_where_it_is(local_bridge, browser, transport):
    port = free_port()
    tokens = [f"a-token-of-{user}-long-enough" for user in ("ann", "bob")]
    users = ", ".join(f"{{name: {user}, secret: {token}}}" for user, token in zip(("ann", "bob"), tokens))
    daemon = local_bridge.run(LIVE.replace("tokens: [%s]%s", "tokens: [%s], publish: {types: [chat.*]}") % (port, users))
    page = browser.open(f"http://127.0.0.1:{port}/")
    page.wait("document.readyState === 'complete'")
    assert page.run(NAMED % (transport, local_bridge.topic("events")))
    page.run(f"globalThis.a = begin('{tokens[0]}', first, {{ name: 'dash', window: 3, publishes: true }}); true")
    page.wait("states.some((s) => s.state === 'open')")
    assert page.run("a.publish(said('chat.message', 'm')).then((r) => r.id)") == "m"
    page.run(f"globalThis.b = begin('{tokens[1]}', second, {{ from: 'latest' }}); true")
    assert page.run("b.publish(said('chat.message', 'm')).then((r) => r.id)") == "m", "ids are each user's own"
    assert page.run("a.publish(said('user.deleted', 'x')).then(() => 'stored', (e) => [e.name, e.code, e.temp])") == ["Refused", 4403, False]
    page.wait("first.length === 2")
    assert sorted(page.run("first")) == ["ann/m", "bob/m"], "neither passes for a repeat of the other"
    assert page.run("a.ack().then(() => true)")
    for i in range(2):
        page.run(f"b.publish(said('chat.message', 'n{i}')).then(() => true)")
    page.wait("first.length === 4")
    daemon.kill()
    daemon = local_bridge.start(ready=True)
    page.run("a.publish(said('chat.message', 'o')).catch(() => a.publish(said('chat.message', 'o'))).catch(() => null).then(() => true)")
    page.run(f"globalThis.c = begin('{tokens[1]}', third, {{ name: 'dash' }}); true")    # as after a reload of the page
    page.wait("third.length >= 2")
    assert page.run("third.slice(0, 2)") == ["bob/n0", "bob/n1"], "what was not acknowledged comes again, and nothing before"
    page.wait("first.filter((id) => id === 'bob/n1').length === 1")
    page.run("a.close(); b.close(); c.close(); true")
    daemon.stop()


FALLS = """(async () => {
    const { listen } = await import("/aqueduct.js");
    const states = globalThis.states = [], got = globalThis.got = [];
    globalThis.stream = listen("http://127.0.0.1:%d/", { from: "earliest", token: "%s", onState: (s) => states.push(s), onEvent: (e) => got.push(e.id) });    return true;
})()"""


@pytest.mark.parametrize("way, transport", [({}, "websocket"), ({"upgrade": False}, "sse"), ({"upgrade": False, "held": True}, "poll")])
def test_the_client_gets_through_what_is_in_between(kafka, bridges, browser, site, way, transport):
    """A proxy that knows no WebSocket, one that holds an endless answer back too, each before two daemons in turn: nothing is bound to one of
    them, and nothing is missing or comes twice over the end of one."""
    first = bridges("kafka")
    pair = [first, Bridge(first.program, "kafka", first.folder / "two", kafka)]
    pair[1].name, pair[1].instance, daemons = first.name, "two", []
    ports = [free_port(), free_port()]
    for one, port in zip(pair, ports):
        one.configure(LIVE % (port, TOKEN, f', origins: ["http://127.0.0.1:{site.server_port}"]'))
        daemons.append(one.start())
    try:
        post_ok(daemons[0], *(event(f"e{i:03}") for i in range(20)))
        with Proxy(ports, **way) as proxy:
            page = browser.open(f"http://127.0.0.1:{site.server_port}/page.css")
            page.wait("document.readyState === 'complete'")
            assert page.run(FALLS % (proxy.port, TOKEN))
            page.wait("got.length === 20", 120)
            assert page.run("states.findLast((s) => s.state === 'open').transport") == transport
            post_ok(daemons[1], *(event(f"e{i:03}") for i in range(20, 40)))
            page.wait("got.length === 40", 120)
            daemons[0].kill()
            post_ok(daemons[1], *(event(f"e{i:03}") for i in range(40, 60)))
            page.wait("got.length === 60", 120)
            assert page.run("got") == [f"e{i:03}" for i in range(60)]
            page.run("stream.close()")
    finally:
        pair[1].end()
