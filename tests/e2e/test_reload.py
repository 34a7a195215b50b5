# SPDX-License-Identifier: MIT
"""A reload: sources, sinks, endpoints and routes come, change and go while events flow, each of which arrives once."""
import json
import signal
import socket
import ssl
import threading

import pytest
import requests

import conftest
from conftest import OTHER_SECRET, SECRET, Listener, certificate, event, free_port, wait_for

SOURCE = """
sources:
  hooks:
    type: http
    listen: 127.0.0.1:%(port)d
    paths:
      - {path: /v1, ce_source: any, verify: {scheme: none}}
%(sources)s
routes:
%(routes)s
  - topic: $EVENTS
"""


def text(port, sinks, sources="", routes="", more=""):
    return SOURCE % {"port": port, "sources": sources, "routes": routes} + more + "\nsinks:\n" + sinks


def sink(name, url, secret=SECRET, more="", retry="[50ms, 50ms, 50ms, 2m]"):
    return f'  {name}: {{type: webhook, topics: [$EVENTS], url: "{url}", secrets: ["{secret}"], retry: {retry}{more}}}\n'


@pytest.fixture(autouse=True)
def control_sockets(bridges, monkeypatch):
    """Kafka's daemons have one where the configuration says."""
    configure = conftest.Bridge.configure

    def with_one(self, *args, **kw):
        path = configure(self, *args, **kw)
        path.write_text(path.read_text().replace("admin: {", f"admin: {{control: {self.folder}/control, ", 1))
        return path
    monkeypatch.setattr(conftest.Bridge, "configure", with_one)


def reload(bridge, ok=True):
    """What it said."""
    done = bridge.command("reload", "--json")
    answer = json.loads(done.stdout)
    assert answer["ok"] == ok and done.returncode == (0 if ok else 1), (done.stdout, done.stderr)
    return answer


def changed(answer):
    return {c["what"]: c["change"] for c in answer["changes"] if c["change"] != "keep"}


def put(port, ident, kind="thing.happened"):
    answer = requests.post(f"http://127.0.0.1:{port}/v1", data=json.dumps(event(ident, kind)), timeout=20,
                           headers={"Content-Type": "application/cloudevents+json"})
    assert answer.status_code == 202, answer.text


class Traffic:
    """Posts events one after the other until it ends, each again until it is acknowledged: `ids`."""

    def __init__(self, port, path="/v1", **more):
        self.url, self.ids, self.go, self.more = f"http://127.0.0.1:{port}{path}", [], True, more
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def request(self, one):
        return {"data": json.dumps(event(one, **self.more)), "headers": {"Content-Type": "application/cloudevents+json"}}

    def run(self):
        while self.go:
            one = f"event-of-the-traffic-{len(self.ids):05}"
            while self.go:
                try:
                    if requests.post(self.url, timeout=20, **self.request(one)).status_code == 202:
                        self.ids.append(one)
                        break
                except requests.RequestException:
                    pass

    def on(self, count=20):
        """Until so many more are acknowledged."""
        want = len(self.ids) + count
        wait_for(lambda: len(self.ids) >= want)
        return self

    def end(self):
        self.go = False
        self.thread.join(60)
        return self.ids


def once(receiver, ids):
    """Each of them arrived, and arrived once."""
    receiver.delivered(ids)
    arrived = [r["id"] for r in receiver.all()]
    assert sorted(arrived) == sorted(set(arrived))


@pytest.mark.threads
def test_what_comes_changes_and_goes_loses_and_repeats_nothing(bridge, receivers):
    stays, comes, other = receivers(), receivers(), receivers(secrets=(OTHER_SECRET,))
    port, second = free_port(), free_port()
    daemon = bridge.run(text(port, sink("stays", stays.url)))
    traffic = Traffic(port).on()

    def now(*args, **kw):
        bridge.configure(text(port, *args, **kw))
        plan = bridge.command("plan", "--json")
        assert plan.returncode == 0, plan.stderr
        answer = reload(bridge)
        assert json.loads(plan.stdout)["changes"] == answer["changes"]      # it was said beforehand
        traffic.on()
        return changed(answer)

    more = f"  more: {{type: http, listen: 127.0.0.1:{second}, paths: [{{path: /v2, verify: {{scheme: none}}}}]}}\n"
    assert now(sink("stays", stays.url) + sink("comes", comes.url)) == {"sink comes": "add"}
    assert now(sink("stays", stays.url) + sink("comes", comes.url), more) == {"source more": "add"}
    assert requests.post(f"http://127.0.0.1:{second}/v2", data="{}", headers={"Content-Type": "application/json"}, timeout=20).status_code == 202
    # another url and secret: it begins anew where it stood
    assert now(sink("stays", stays.url) + sink("comes", other.url, OTHER_SECRET), more) == {"sink comes": "change"}
    # a route before the others: its events go elsewhere
    special = '  - {filter: {exact: {type: special}}, topic: $T_special}\n'
    assert now(sink("stays", stays.url) + sink("comes", other.url, OTHER_SECRET), more, special) == {"routes": "change"}
    put(port, "special-one", "special")
    # the source that has the traffic: a path more
    path = "      - {path: /v3, verify: {scheme: none}}\n"
    assert now(sink("stays", stays.url) + sink("comes", other.url, OTHER_SECRET), path + more, special) == {"source hooks": "change"}
    assert requests.post(f"http://127.0.0.1:{port}/v3", data="{}", headers={"Content-Type": "application/json"}, timeout=20).status_code == 202
    assert now(sink("stays", stays.url)) == {"source more": "remove", "sink comes": "remove", "routes": "change", "source hooks": "change"}
    ids = traffic.end()
    once(stays, ids)
    first, later = {r["id"] for r in comes.all()}, {r["id"] for r in other.all()}
    assert first and later and not first & later
    assert "special-one" not in stays.ids()
    with pytest.raises(requests.ConnectionError):
        requests.post(f"http://127.0.0.1:{second}/v2", data="{}", timeout=20)
    assert daemon.page("/readyz").status_code == 200


@pytest.mark.threads
def test_endpoints_come_change_and_go_and_their_sink_goes_on(bridge, receivers):
    one, two, three = receivers(), receivers(), receivers(secrets=(OTHER_SECRET,))
    port = free_port()

    def partners(**endpoints):
        lines = "".join(f'      {name}: {{url: "{r.url}", secrets: ["{secret}"]}}\n' for name, (r, secret) in endpoints.items())
        return text(port, "  partners:\n    type: webhook\n    topics: [$EVENTS]\n    retry: [50ms, 50ms]\n    endpoints:\n" + lines)

    daemon = bridge.run(partners(one=(one, SECRET)))
    traffic = Traffic(port).on()
    bridge.configure(partners(one=(one, SECRET), two=(two, SECRET)))
    assert changed(reload(bridge)) == {"endpoint partners/two": "add"}
    traffic.on()
    bridge.configure(partners(one=(one, SECRET), two=(three, OTHER_SECRET)))
    answer = reload(bridge)
    assert changed(answer) == {"endpoint partners/two": "change"}
    assert [c["detail"] for c in answer["changes"] if c["what"] == "endpoint partners/two"] == [["url", "secrets"]]
    traffic.on()
    bridge.configure(partners(one=(one, SECRET)))
    assert changed(reload(bridge)) == {"endpoint partners/two": "remove"}
    traffic.on()
    once(one, traffic.end())
    assert two.ids() and three.ids() and not two.ids() & three.ids()
    assert daemon.log().count("msg=listening") == 1


@pytest.mark.threads
def test_a_refused_reload_leaves_everything_as_it_was(bridge, receivers):
    stays, never = receivers(), receivers()
    port, taken = free_port(), receivers()
    good = text(port, sink("stays", stays.url))
    daemon = bridge.run(good)
    traffic = Traffic(port).on()

    def refused(why):
        answer = reload(bridge, ok=False)
        assert why in json.dumps(answer["problems"]), answer
        traffic.on()

    bridge.configure(text(port, sink("stays", stays.url) + sink("never", never.url, more=", windw: 3")))
    refused("windw")
    # all of it is good by itself, and one thing cannot be opened: what had stopped for it goes on
    busy = f"  more: {{type: http, listen: 127.0.0.1:{taken.port}, paths: [{{path: /v2, verify: {{scheme: none}}}}]}}\n"
    bridge.configure(text(port, sink("stays", stays.url, more=", window: 99") + sink("never", never.url), busy))
    refused("another program has it")
    bridge.configure(text(port, sink("stays", stays.url)))
    bridge.config.write_text(bridge.config.read_text().replace("group_prefix: ", "group_prefix: x"))
    refused("start it again")
    bridge.config.write_text(bridge.config.read_text() + "sinks: {}\n")
    refused("duplicate key")
    bridge.configure(good)
    assert changed(reload(bridge)) == {}
    once(stays, traffic.on().end())
    assert never.all() == []
    assert daemon.metric("aqueduct_config_reloads_total", result="refused") == 2      # the others the command itself refused


def test_a_refused_reload_is_no_success(local_bridge, receivers):
    """By status, body and audit; its plan is an answer."""
    auditor, port = receivers(), free_port()
    audited = sink("auditor", auditor.url).replace("$EVENTS", f"{local_bridge.name}-own.audit")
    local_bridge.configure(text(port, audited), admin_more="api: true, loopback: operator, audit: true")
    daemon = local_bridge.start()
    base = f"http://127.0.0.1:{daemon.admin}/api/v1"
    assert requests.post(base + "/config/plan", json={}, timeout=60).json()["ok"] is True
    assert requests.post(base + "/reload", json={"dry_run": True}, timeout=60).status_code == 422
    done = requests.post(base + "/reload", json={}, timeout=60)
    assert (done.status_code, done.json()["applied"]) == (200, True)
    local_bridge.config.write_text(local_bridge.config.read_text().replace("retry: [", "windw: 3, retry: ["))
    plan = requests.post(base + "/config/plan", timeout=60)
    assert (plan.status_code, plan.json()["ok"]) == (200, False)
    no = requests.post(base + "/reload", timeout=60)
    assert (no.status_code, no.headers["Content-Type"], no.json()["status"], no.json()["ok"]) == (409, "application/problem+json", 409, False)
    assert "everything is as it was" in no.json()["detail"] and "windw" in no.json()["problems"][0]["text"] and no.json()["problems"] == plan.json()["problems"]
    said = local_bridge.command("reload")
    assert said.returncode == 1 and "windw" in said.stderr
    told = [json.loads(request["body"])["data"] for request in auditor.arrived(3)]
    assert sorted((one["operation"], one["status"], one["outcome"]) for one in told) == [
        ("reload", 200, "done"), ("reload", 409, "refused"), ("reload", 422, "failed")]
    assert "operation=reload who=loopback via=loopback role=operator object=/reload status=409" in daemon.log()


def test_what_waits_for_a_sink_that_is_gone_goes_on_when_it_is_there_again(bridge, receivers):
    broken = [True]
    away, stays = receivers(lambda r: 503 if broken else 204), receivers()
    port = free_port()
    with_it = text(port, sink("stays", stays.url) + sink("away", away.url, more=", retry_memory: 10ms", retry="[" + "1s, " * 19 + "1s]"))
    daemon = bridge.run(with_it)
    ids = [f"event-that-waits-{i:02}" for i in range(10)]
    for one in ids:
        put(port, one)
    wait_for(lambda: daemon.metric("aqueduct_sink_waiting", sink="away") == 10, why=daemon.log)
    bridge.configure(text(port, sink("stays", stays.url)))
    reload(bridge)
    wait_for(lambda: daemon.metric("aqueduct_waiting_orphans", sink="away") == 10, why=daemon.log)
    broken.clear()
    bridge.configure(with_it)
    reload(bridge)
    wait_for(lambda: ids and set(ids) <= away.ids(), 200, daemon.log)
    once(stays, ids)
    assert len(away.good()) == 10
    assert daemon.metric("aqueduct_waiting_orphans", sink="away") == 0


@pytest.mark.threads
def test_a_signal_reloads_secrets_the_log_and_the_admin_listener(local_bridge, receivers):
    one = receivers(secrets=(OTHER_SECRET,))
    port, admin = free_port(), free_port()
    daemon = local_bridge.run(text(port, sink("stays", one.url)))
    put(port, "first-of-all")
    wait_for(lambda: one.all() and one.all()[0]["why"] == "no signature matches")
    local_bridge.configure(text(port, sink("stays", one.url, OTHER_SECRET), more="\nlog: {level: debug, format: json}\n"), admin=f"127.0.0.1:{admin}")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: '"msg":"reloaded"' in daemon.log(), why=daemon.log)
    assert requests.get(f"http://127.0.0.1:{admin}/readyz", timeout=20).status_code == 200
    put(port, "second-of-all")
    wait_for(lambda: "second-of-all" in {r["id"] for r in one.all()})
    assert [r["why"] for r in one.all() if r["id"] == "second-of-all"] == [None]
    wait_for(lambda: '"level":"debug"' in daemon.log())
    local_bridge.config.write_text("sources: {hooks: {type: nothing}}\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: '"msg":"reload refused: everything stays as it is"' in daemon.log(), why=daemon.log)
    assert requests.get(f"http://127.0.0.1:{admin}/readyz", timeout=20).status_code == 200


def test_listeners_of_a_sink_that_stays_are_not_disturbed(local_bridge, receivers):
    one = receivers()
    port = free_port()
    live = "  live: {type: websocket, listen: 127.0.0.1:0, topics: [$EVENTS]}\n"
    daemon = local_bridge.run(text(port, live))
    listener = Listener(daemon.port("live"))
    local_bridge.configure(text(port, live + sink("comes", one.url)))
    reload(local_bridge)
    ids = [f"event-to-all-{i}" for i in range(5)]
    for one_id in ids:
        put(port, one_id)
    listener.heard(ids)
    once(one, ids)
    assert listener.code is None


def test_health_is_told_while_a_reload_waits_for_a_receiver(local_bridge, receivers):
    hangs, stays = receivers(lambda r: "hang"), receivers()
    port, more = free_port(), "drain: 3s\n"
    daemon = local_bridge.run(text(port, sink("stays", stays.url) + sink("hangs", hangs.url, more=", timeout: 60s"), more=more))
    put(port, "event-that-hangs")
    hangs.arrived(1)
    local_bridge.configure(text(port, sink("stays", stays.url), more=more))
    answers, metrics = [], []
    reloading = threading.Thread(target=reload, args=(local_bridge,))
    reloading.start()
    while reloading.is_alive():
        answers.append(daemon.page("/healthz").status_code)
        metrics.append(daemon.page("/metrics"))
    reloading.join()
    assert set(answers) == {200}
    busy = [m for m in metrics if m.status_code == 503]
    assert busy and {m.headers["Retry-After"] for m in busy} == {"1"}
    put(port, "event-after-that")
    once(stays, ["event-that-hangs", "event-after-that"])


def test_endpoints_that_were_made_at_run_time_stay(local_bridge, receivers):
    one, made, new = receivers(), receivers(), receivers()
    port = free_port()

    def partners(more="", window=64):
        return text(port, f"""  partners:
    type: webhook
    topics: [$EVENTS]
    unsigned: true
    window: {window}
    endpoints:
      one: {{url: "{one.url}"}}
{more}""")

    daemon = local_bridge.run(partners())
    done = local_bridge.command("endpoints", "add", "partners/made", "--url", made.url, "--unsigned")
    assert done.returncode == 0, done.stderr
    traffic = Traffic(port).on()
    local_bridge.configure(partners(f'      made: {{url: "{new.url}"}}\n'))
    assert "has this name" in json.dumps(reload(local_bridge, ok=False)["problems"])
    local_bridge.configure(partners(f'      new: {{url: "{new.url}"}}\n'))
    assert changed(reload(local_bridge)) == {"endpoint partners/new": "add"}
    traffic.on()
    local_bridge.configure(partners(window=65))         # the sink begins anew
    assert changed(reload(local_bridge)) == {"sink partners": "change", "endpoint partners/new": "remove"}
    ids = traffic.on().end()
    for receiver in (one, made):
        wait_for(lambda: set(ids) <= receiver.ids(), why=daemon.log)
        arrived = [r["id"] for r in receiver.all()]
        assert sorted(arrived) == sorted(set(arrived))


def test_a_changed_file_reloads_where_that_is_wanted(local_bridge, receivers):
    one, two = receivers(), receivers()
    port = free_port()
    daemon = local_bridge.run(text(port, sink("stays", one.url), more="\nreload: on_change\n"))
    local_bridge.configure(text(port, sink("stays", one.url) + sink("comes", two.url), more="\nreload: on_change\n"))
    wait_for(lambda: "msg=reloaded " in daemon.log(), why=daemon.log)
    put(port, "event-after-a-change")
    two.delivered(["event-after-a-change"])


def test_plan_between_two_files(local_bridge):
    port = free_port()
    old = local_bridge.configure(text(port, sink("a", "http://127.0.0.1:9/x")), name="old.yaml")
    local_bridge.configure(text(port, sink("a", "http://127.0.0.1:9/x", "another-secret-of-24-bytes-or-more") + sink("b", "http://127.0.0.1:9/x")))
    done = local_bridge.command("plan", "--from", str(old))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["~ sink a: secrets", "+ sink b"]
    assert "another-secret" not in done.stdout + done.stderr


def test_a_daemon_that_runs_elsewhere_is_not_found_and_it_is_said_why(local_bridge, tmp_path):
    port = free_port()
    daemon = local_bridge.run(text(port, sink("a", "http://127.0.0.1:9/x")))
    path = local_bridge.configure(text(port, sink("a", "http://127.0.0.1:9/x")))
    path.write_text(path.read_text().replace(f"control: {local_bridge.folder}/control", f"control: {tmp_path}/elsewhere"))
    for command in ("plan", "reload"):
        done = local_bridge.command(command)
        assert done.returncode == 1 and f"no answer on {tmp_path}/elsewhere" in done.stderr and "another broker.path, admin.control" in done.stderr
    assert daemon.page("/healthz").status_code == 200


def peer(port, chain):
    """The certificate that is shown there, to who trusts `chain` alone."""
    context = ssl.create_default_context(cafile=str(chain))
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=20), server_hostname="127.0.0.1") as line:
        return line.getpeercert(binary_form=True)


@pytest.mark.threads
def test_certificates_at_other_paths(local_bridge, receivers):
    """Of a source, a listener and the pages, while events flow elsewhere: whoever connects then is shown the new one."""
    stays, (old, old_key), (new, new_key) = receivers(), *(certificate(local_bridge.folder, name) for name in ("old", "new"))
    port, secure, live, admin = free_port(), free_port(), free_port(), free_port()

    def with_certificate(chain, key):
        tls = f"tls_certificate: {chain}, tls_key: {key}"
        source = f"  secure: {{type: http, listen: 127.0.0.1:{secure}, {tls}, paths: [{{path: /v2, verify: {{scheme: none}}}}]}}\n"
        sinks = sink("stays", stays.url) + f"  live: {{type: websocket, listen: 127.0.0.1:{live}, topics: [$EVENTS], {tls}}}\n"
        local_bridge.configure(text(port, sinks, source), admin=f"127.0.0.1:{admin}", admin_more=tls)

    with_certificate(old, old_key)
    assert local_bridge.start(ready=False).admin == admin
    wait_for(lambda: requests.get(f"https://127.0.0.1:{admin}/readyz", verify=str(old), timeout=20).status_code == 200)
    shown = {peer(p, old) for p in (secure, live, admin)}
    traffic = Traffic(port).on()
    with_certificate(new, new_key)
    assert changed(reload(local_bridge)) == {"source secure": "change", "sink live": "change", "admin": "change"}
    assert len(shown) == 1 and not shown & {peer(p, new) for p in (secure, live, admin)}
    for p in (secure, live, admin):
        with pytest.raises(ssl.SSLCertVerificationError):
            peer(p, old)
    assert requests.post(f"https://127.0.0.1:{secure}/v2", data="{}", headers={"Content-Type": "application/json"}, verify=str(new), timeout=20).status_code == 202
    # a path where nothing is: refused as a whole, and the new one is shown on
    with_certificate(new, local_bridge.folder / "nothing.key")
    assert "nothing.key" in json.dumps(reload(local_bridge, ok=False)["problems"])
    assert len({peer(p, new) for p in (secure, live, admin)}) == 1
    once(stays, traffic.on().end())


def test_retention_of_a_topic(local_bridge, receivers):
    """What is older than the new one says goes; a topic that had none keeps what it has."""
    stays, port = receivers(), free_port()
    with_topics = lambda events, other: text(port, sink("stays", stays.url), routes="  - {filter: {exact: {type: kept}}, topic: $T_other}\n",
                                             more=f"\ntopics: {{$EVENTS: {{retention: {events}}}, $T_other: {{{other}}}}}\n")
    daemon = local_bridge.run(with_topics("7d", ""))
    ids = [f"event-that-goes-{i}" for i in range(5)]
    for one in ids:
        put(port, one)
    put(port, "event-that-stays", "kept")
    once(stays, ids)
    kept = lambda name: len(local_bridge.command("tail", "--topic", local_bridge.topic(name), "--no-follow", "--json").stdout.splitlines())
    assert (kept("events"), kept("other")) == (5, 1)
    local_bridge.configure(with_topics("1s", "retention: 7d"))
    assert set(changed(reload(local_bridge))) == {f"topic {local_bridge.topic(name)}" for name in ("events", "other")}
    wait_for(lambda: kept("events") == 0, 120, daemon.log)
    assert kept("other") == 1
    local_bridge.configure(with_topics("7d", ""))
    reload(local_bridge)
    put(port, "event-that-is-kept-again")
    wait_for(lambda: kept("events") == 1)


def test_the_api_and_what_no_route_takes(local_bridge, receivers):
    stays, port, admin = receivers(), free_port(), free_port()
    base = f"http://127.0.0.1:{admin}"

    def with_these(api, unrouted):
        local_bridge.configure(text(port, sink("stays", stays.url)).replace("  - topic: $EVENTS", "  - {filter: {exact: {type: thing.happened}}, topic: $EVENTS}")
                               + f"unrouted: {unrouted}\n", admin=f"127.0.0.1:{admin}", admin_more=f"api: {api}, loopback: operator")

    def post(kind):
        return requests.post(f"http://127.0.0.1:{port}/v1", data=json.dumps(event(f"of-{kind}-{len(said)}", kind)), timeout=20, headers={"Content-Type": "application/cloudevents+json"}).status_code

    said = []
    with_these("false", "error")
    local_bridge.start()
    traffic = Traffic(port).on()
    for api, unrouted in (("true", "drop"), ("false", "error"), ("true", "error")):
        said.append((requests.get(base + "/api/v1/status", timeout=20).status_code, post("nobody.takes.this")))
        with_these(api, unrouted)
        reload(local_bridge)
        traffic.on()
    said.append((requests.get(base + "/api/v1/status", timeout=20).status_code, post("nobody.takes.this")))
    assert said == [(404, 422), (200, 202), (404, 422), (200, 422)]
    once(stays, traffic.end())


@pytest.mark.threads
def test_an_order_that_comes_and_goes(bridge, receivers):
    """While events flow and some of them fail: each is delivered, and with `order: key` those of a key in their order."""
    stays, port = receivers(lambda r: 503 if r["arrival"] == 1 and r["id"].endswith("7") else 204), free_port()
    ordered = lambda order: text(port, sink("stays", stays.url, more=f", order: {order}"))
    bridge.run(ordered("none"))
    traffic = Traffic(port, subject="of-one-key").on()
    marks = []
    for order in ("key", "none", "key"):
        bridge.configure(ordered(order))
        assert changed(reload(bridge)) == {"sink stays": "change"}
        marks.append(len(traffic.ids))
        traffic.on(30)
    ids = traffic.end()
    stays.delivered(ids)
    good = [r["id"] for r in stays.good()]
    assert sorted(good) == sorted(ids)
    of_key = [one for one in good if one in set(ids[marks[2]:])]
    assert of_key == ids[marks[2]:] 


class Knocking:
    """Connects all the time, asks for something that is not there, and counts who was refused."""

    def __init__(self, port):
        self.port, self.answered, self.failed, self.go = port, 0, [], True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while self.go:
            try:
                requests.get(f"http://127.0.0.1:{self.port}/nothing", timeout=30, headers={"Connection": "close"})
                self.answered += 1
            except requests.RequestException as e:
                self.failed.append(e)

    def end(self):
        wait_for(lambda before=self.answered: self.answered > before + 3)
        self.go = False
        self.thread.join(60)
        return [e for e in self.failed if "refused" in str(e)]


@pytest.mark.threads
def test_a_listener_that_keeps_its_address_refuses_nobody(local_bridge, receivers):
    """Who connects while it begins anew waits for it, also when the reload is refused; one in another spelling is no hindrance."""
    hangs, stays, taken = receivers(lambda r: "hang"), receivers(), receivers()
    port, live, more = free_port(), free_port(), "drain: 1s\n"

    def with_these(path, buffer, sources="", host="127.0.0.1"):
        sinks = sink("stays", stays.url) + sink("hangs", hangs.url, more=f", timeout: 60s, window: {buffer}")
        sinks += f"  live: {{type: websocket, listen: {host}:{live}, topics: [$EVENTS], path: /{path}}}\n"
        local_bridge.configure(text(port, sinks, f"      - {{path: /{path}, verify: {{scheme: none}}}}\n" + sources, more=more))

    with_these("first", 8)
    daemon = local_bridge.run(local_bridge.config.read_text().split("\n", 2)[2])
    put(port, "event-that-hangs")
    hangs.arrived(1)
    knocking = [Knocking(p) for p in (port, live)]
    with_these("second", 9)
    assert changed(reload(local_bridge)) == {"source hooks": "change", "sink hangs": "change", "sink live": "change"}
    with_these("third", 10, f"  busy: {{type: http, listen: 127.0.0.1:{taken.port}, paths: [{{path: /v2, verify: {{scheme: none}}}}]}}\n")
    reload(local_bridge, ok=False)
    with_these("second", 9, host="localhost")
    assert changed(reload(local_bridge)) == {"sink live": "change"}
    refused = [one.end() for one in knocking]
    assert refused[0] == [], refused
    assert daemon.page("/readyz").status_code == 200
    with pytest.raises(requests.ConnectionError):       # one that goes is gone
        local_bridge.configure(text(port, sink("stays", stays.url), more=more))
        reload(local_bridge)
        requests.get(f"http://127.0.0.1:{live}/", timeout=20)


def test_what_cannot_be_opened_again_is_told_until_a_reload_can(local_bridge, receivers):
    """A database that went away meanwhile: the rest goes on, and the daemon is not ready until it is there again."""
    stays, taken, port = receivers(), receivers(), free_port()
    folder = local_bridge.folder / "filed"
    folder.mkdir()

    def with_these(keep, sources=""):
        local_bridge.configure(text(port, sink("stays", stays.url, more=f", window: {keep}") + f"  failed: {{type: dead_letter, path: {folder}/dead.db, keep: {keep}}}\n", sources))

    with_these(10)
    daemon = local_bridge.run(local_bridge.config.read_text().split("\n", 2)[2])
    folder.rename(local_bridge.folder / "away")
    folder.write_text("this is no folder")
    with_these(11, f"  busy: {{type: http, listen: 127.0.0.1:{taken.port}, paths: [{{path: /v2, verify: {{scheme: none}}}}]}}\n")
    reload(local_bridge, ok=False)
    told = daemon.page("/readyz")
    assert told.status_code == 503 and "cannot be opened again" in told.text and "filed/dead.db" in told.text, told.text
    put(port, "event-in-the-meantime")
    once(stays, ["event-in-the-meantime"])
    with_these(10)
    reload(local_bridge)
    assert daemon.page("/readyz").status_code == 503
    folder.unlink()
    (local_bridge.folder / "away").rename(folder)
    reload(local_bridge)
    assert daemon.page("/readyz").status_code == 200
    assert daemon.metric("aqueduct_dead_letters", sink="failed") == 0
