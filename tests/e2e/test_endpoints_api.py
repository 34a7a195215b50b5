# SPDX-License-Identifier: MIT
"""Endpoints that are made while the bridge runs: by the API and the command, on both brokers, through restarts and kill -9, by two daemons
at once; and their secrets stand nowhere."""
import concurrent.futures
import json
import re
import threading

import pytest
import requests

from conftest import DEAD_LETTERS, HTTP_SOURCE, OTHER_SECRET, event, post_ok, signed, wait_for

KEY = "q0sVw2y7Tn8Jb4LxUe6Zr1Kc9Hd3Pf5MaGiStO0uYkE="
OTHER_KEY = "Zr1Kc9Hd3Pf5MaGiStO0uYkEq0sVw2y7Tn8Jb4LxUe6="
# What waits comes back from the broker after as long as a pause took, at least half a minute.
LONG = 100


def names(count, kind="a"):
    return [f"event-of-this-test-{kind}-{i:04}" for i in range(count)]


def partners(endpoints="{}", more=""):
    return f"{HTTP_SOURCE}sinks:\n  partners:\n    type: webhook\n    topics: [$EVENTS]\n    retry: [100ms]\n{more}    endpoints: {endpoints}\n"


def write_key(folder, text=KEY):
    path = folder / "endpoints.key"
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def begin(bridge, text, folder=None, key=KEY):
    """Writes the configuration, with the API and a key, and starts."""
    bridge.configure(text, folder=folder)
    where = bridge.config.parent
    admin = 'admin: {listen: "127.0.0.1:0", api: true, loopback: operator' + (f', key_file: {write_key(where, key)}' if key else "") + "}"
    bridge.config.write_text(re.sub(r"^admin: .*$", admin, bridge.config.read_text(), flags=re.M))
    return bridge.start()


def call(daemon, method, path, body=None, **headers):
    return requests.request(method, f"http://127.0.0.1:{daemon.admin}/api/v1{path}", json=body, timeout=60,
                            headers={name.replace("_", "-"): value for name, value in headers.items()})


def add(daemon, name, receiver, **options):
    answer = call(daemon, "POST", "/sinks/partners/endpoints", {"name": name, "url": receiver.url, **options})
    assert answer.status_code == 201, answer.text
    return answer.json()


def listed(daemon):
    answer = call(daemon, "GET", "/endpoints")
    assert answer.status_code == 200, answer.text
    return {one["name"]: one for one in answer.json()["items"]}


def one(daemon, name, method="GET", what="", body=None, **headers):
    return call(daemon, method, f"/sinks/partners/endpoints/{name}{what}", body, **headers)


def refused(answer, status, *words):
    assert answer.status_code == status and answer.headers["Content-Type"].startswith("application/problem+json"), answer.text
    assert all(word in answer.json()["detail"] for word in words), answer.text


def test_one_that_is_added_gets_its_types_signed_and_stays(bridge, receivers, judge):
    receiver, other = receivers(secrets=()), receivers(secrets=(OTHER_SECRET,))
    daemon = begin(bridge, partners())
    made = add(daemon, "crm", receiver, types=["thing.*"])
    assert made["version"] == 1 and made["origin"] == "api" and made["secret"].startswith("whsec_")
    assert "secret" not in add(daemon, "other", other, secrets=[OTHER_SECRET], types=["other.happened"])
    post_ok(daemon, *(event(i) for i in names(5)), *(event(i, kind="other.happened") for i in names(3, "b")), event("nobody-gets-this-event", kind="x"))
    other.delivered(names(3, "b"))
    wait_for(lambda: receiver.ids() >= set(names(5)))
    daemon.stop()
    daemon = bridge.start()
    assert listed(daemon)["crm"]["state"] == "active"
    post_ok(daemon, *(event(i) for i in names(5, "c")))
    wait_for(lambda: receiver.ids() >= set(names(5, "c")))
    assert receiver.ids() == set(names(5) + names(5, "c"))
    assert set(judge([signed(r, made["secret"]) for r in receiver.good()])) == {"ok"}


def test_what_was_answered_is_there_after_kill_9(bridge, receivers):
    receiver = receivers(secrets=())
    daemon = begin(bridge, partners())
    for i in range(4):
        add(daemon, f"e{i}", receiver)
        if i == 2:
            assert one(daemon, "e0", "DELETE").status_code == 200
            assert one(daemon, "e1", "POST", "/pause").status_code == 200
        daemon.kill()
        daemon = bridge.start()
    states = {name: found["state"] for name, found in listed(daemon).items()}
    assert states == {"e1": "paused", "e2": "active", "e3": "active"}
    post_ok(daemon, event(names(1)[0]))
    wait_for(lambda: len(receiver.good()) >= 2)


def test_what_waits_for_one_outlasts_kill_9(bridge, receivers):
    well = []
    receiver = receivers(lambda request: 204 if well else 503, secrets=())
    daemon = begin(bridge, partners())
    add(daemon, "crm", receiver, retry=["4s", "4s", "4s"], retry_memory="0s")
    post_ok(daemon, *(event(i) for i in names(5)))
    receiver.arrived(5)
    wait_for(lambda: daemon.metric("aqueduct_sink_moved_total", sink="partners", endpoint="crm") == 5)
    daemon.kill()
    well.append(True)
    daemon = bridge.start()
    wait_for(lambda: receiver.ids() >= set(names(5)), LONG)
    assert not daemon.metric("aqueduct_sink_dead_total", sink="partners", endpoint="crm")


def test_its_dead_letters_are_redriven_and_events_resent(local_bridge, receivers):
    receiver = receivers(lambda request: 422, secrets=())
    daemon = begin(local_bridge, partners() + DEAD_LETTERS)
    add(daemon, "crm", receiver)
    post_ok(daemon, event(names(1)[0]))
    wait_for(lambda: [letter["endpoint"] for letter in local_bridge.dead()] == ["crm"])
    receiver.answer = lambda request: 204
    done = local_bridge.command("status", "--event", names(1)[0], "--json")
    places = [at for copy in json.loads(done.stdout)["stored"] for at in copy["destinations"]]
    assert [(at["endpoint"], at["state"], at["status"]) for at in places if at["endpoint"]] == [("crm", "dead", 422)], done.stdout
    assert [letter["endpoint"] for letter in local_bridge.dead("--sink", "partners/crm")] == ["crm"]
    done = local_bridge.command("dead", "redrive", "--sink", "partners/crn")
    assert done.returncode == 2 and "did you mean crm?" in done.stderr, done.stderr
    done = local_bridge.command("dead", "redrive", "--sink", "partners/crm", "--endpoint", "other")
    assert done.returncode == 2 and "another endpoint" in done.stderr, done.stderr
    assert "since the start: 1 filed\n" in local_bridge.command("status", "--sink", "failed").stdout
    done = local_bridge.command("dead", "redrive", "--sink", "partners/crm")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_for(lambda: receiver.ids() == set(names(1)))
    done = local_bridge.command("resend", names(1)[0], "--to", "partners/crm")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_for(lambda: len(receiver.good()) == 2)
    answer = call(daemon, "POST", f"/events/{names(1)[0]}/resend", {"source": "/e2e", "sink": "partners", "endpoint": "crm"})
    assert answer.status_code == 202, answer.text
    wait_for(lambda: len(receiver.good()) == 3)
    receiver.answer = lambda request: 422
    post_ok(daemon, event(names(1, "b")[0]))
    wait_for(lambda: len(local_bridge.dead()) == 1)
    receiver.answer = lambda request: 204
    answer = call(daemon, "POST", "/dead-letters/redrive", {"endpoint": "crm"})
    assert answer.status_code in (200, 202), answer.text
    wait_for(lambda: receiver.ids() == set(names(1) + names(1, "b")))
    done = local_bridge.command("resend", names(1)[0], "--to", "partners")
    assert done.returncode == 2 and "say which of the sink's endpoints" in done.stderr
    assert local_bridge.command("endpoints", "remove", "partners/crm", "--yes").returncode == 0
    done = local_bridge.command("resend", names(1)[0], "--to", "partners/crm")
    assert done.returncode == 2 and "no such endpoint" in done.stderr


def test_status_says_what_became_of_an_event_at_one(local_bridge, receivers):
    receiver = receivers(secrets=())
    daemon = begin(local_bridge, partners())

    def became(ident):
        done = local_bridge.command("status", "--event", ident)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(re.findall(r"^  (partners\S*) +(.*)$", done.stdout, re.M))
    post_ok(daemon, event(names(1, "early")[0]))
    wait_for(lambda: became(names(1, "early")[0]) or daemon.metric("aqueduct_sink_consumed_total", sink="partners"))
    add(daemon, "crm", receiver)
    add(daemon, "docs", receiver, filter={"prefix": {"type": "document."}})
    post_ok(daemon, event(names(1)[0]))
    finished = "finished: delivered, as far as the log can tell"
    wait_for(lambda: became(names(1)[0]) == {"partners/crm": finished, "partners/docs": "left out by the filter"}, why=lambda: became(names(1)[0]))
    assert became(names(1, "early")[0]) == {}               # it came before them
    assert local_bridge.command("endpoints", "pause", "partners/crm").returncode == 0
    post_ok(daemon, event(names(1, "b")[0]))
    wait_for(lambda: became(names(1, "b")[0]).get("partners/crm") == "paused: waits", why=lambda: became(names(1, "b")[0]))
    assert local_bridge.command("endpoints", "resume", "partners/crm").returncode == 0
    wait_for(lambda: became(names(1, "b")[0])["partners/crm"] == finished)
    assert receiver.ids() == set(names(1) + names(1, "b"))


def test_explain_asks_the_daemon_for_them(local_bridge, receivers):
    receiver = receivers(secrets=())
    daemon = begin(local_bridge, partners())
    path = local_bridge.folder / "event.json"
    path.write_text(json.dumps({"specversion": "1.0", "id": "7", "type": "thing.happened", "source": "/s"}))

    def explained():
        done = local_bridge.command("explain", str(path))
        assert done.stderr == ""
        return done.returncode, dict(re.findall(r"^  (partners\S*) +(.*)$", done.stdout, re.M))
    assert explained() == (1, {"partners": "no: it has no endpoint yet; see aqueduct endpoints add"})
    add(daemon, "crm", receiver)
    add(daemon, "docs", receiver, filter={"prefix": {"type": "document."}})
    assert explained() == (0, {"partners/crm": "yes", "partners/docs": 'no: type "thing.happened" does not begin with "document."'})
    daemon.stop()
    assert explained() == (1, {"partners": "not known: its endpoints are made at run time; see aqueduct endpoints list"})
    rows = json.loads(local_bridge.command("explain", str(path), "--json").stdout)["sinks"]
    assert [(row["sink"], row["endpoint"], row["takes"]) for row in rows] == [("partners", None, None)]


def test_killed_while_they_come_and_go_none_is_half_there(local_bridge, receivers):
    receiver, seen = receivers(secrets=()), {}
    daemon = begin(local_bridge, partners())
    for round_ in range(3):
        stop = threading.Event()

        def change():
            i = 0
            while not stop.is_set():
                i += 1
                name = f"e{i % 5}"
                try:
                    answer = one(daemon, name, "DELETE") if name in seen else \
                        call(daemon, "POST", "/sinks/partners/endpoints", {"name": name, "url": receiver.url})
                except requests.RequestException:
                    seen[name] = None       # it was killed meanwhile: it is there or not
                    return
                if answer.status_code == 201:
                    seen[name] = answer.json()["version"]
                elif answer.status_code in (200, 404):
                    seen.pop(name, None)
        worker = threading.Thread(target=change)
        worker.start()
        wait_for(lambda: len(seen) >= 3)
        daemon.kill()
        stop.set()
        worker.join()
        daemon = local_bridge.start()
        there = listed(daemon)
        for name, version in seen.items():
            assert version is None or there[name]["version"] == version, (name, version, there)
        assert set(there) - set(seen) == set()
        seen = {name: found["version"] for name, found in there.items()}


def test_a_clash_is_refused_and_the_configuration_wins(local_bridge, receivers):
    mine, theirs = receivers(secrets=()), receivers()
    daemon = begin(local_bridge, partners())
    add(daemon, "crm", mine)
    refused(call(daemon, "POST", "/sinks/partners/endpoints", {"name": "crm", "url": mine.url}), 409, "has an endpoint crm", "another name")
    daemon.stop()
    daemon = begin(local_bridge, partners(json.dumps({"crm": {"url": theirs.url, "unsigned": True}})))
    refused(call(daemon, "POST", "/sinks/partners/endpoints", {"name": "crm", "url": mine.url}), 409, "in the configuration", "bridge.yaml:")
    refused(one(daemon, "crm", "PATCH", body={"timeout": "3s"}), 409, "can only be changed there")
    assert one(daemon, "crm").json()["read_only"] is True
    assert 'msg="an endpoint that was made at run time does nothing: the configuration has one of that name"' in daemon.log()
    rows = call(daemon, "GET", "/endpoints").json()["items"]
    assert [(row["origin"], row["state"]) for row in rows] == [("yaml", "active"), ("api", "disabled")]
    assert "the configuration has an endpoint of that name" in rows[1]["problem"]
    post_ok(daemon, event(names(1)[0]))
    wait_for(lambda: theirs.good())
    assert not mine.all()


def test_options_are_refused_in_the_words_of_the_check(local_bridge, receiver):
    daemon = begin(local_bridge, partners())
    for options, words in (({"timeout": "soon"}, 'sinks.partners.endpoints.x.timeout: "soon" is not a duration'),
                           ({"urll": "x"}, 'unknown key "urll" (did you mean url?)'),
                           ({"secrets": ["changeme"]}, "is a placeholder"),
                           ({"headers": {"X-A": "${HOME}"}}, "holds ${"),
                           ({"url": "http://169.254.169.254/"}, "url: ")):
        refused(call(daemon, "POST", "/sinks/partners/endpoints", {"name": "x", "url": receiver.url, **options}), 400, words)
    assert listed(daemon) == {}


def test_secrets_stand_nowhere(local_bridge, receivers):
    receiver = receivers(secrets=())
    daemon = begin(local_bridge, partners())
    made = add(daemon, "crm", receiver, headers={"X-Token": "a-very-secret-header"}, url=receiver.url + "/services/T0000AAAABBBBCCCCDDDDEEEE")
    changed = one(daemon, "crm", "POST", "/rotate", {"overlap": "1h"}).json()
    secrets = [made["secret"], changed["secret"], "a-very-secret-header"]
    one(daemon, "crm", "POST", "/test", {})
    post_ok(daemon, event(names(1)[0]))
    wait_for(lambda: receiver.good())
    texts = [daemon.page("/metrics").text, daemon.page("/status").text, json.dumps(listed(daemon)), one(daemon, "crm").text]
    daemon.stop()
    texts.append(daemon.log())
    for secret in secrets:
        assert all(secret not in text for text in texts)
        for path in (local_bridge.folder / "data").rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    for path in (local_bridge.folder / "data").rglob("*"):
        assert not path.is_file() or b"T0000AAAABBBBCCCC" not in path.read_bytes(), path


def test_with_another_key_it_is_held_and_loses_nothing(local_bridge, receivers):
    receiver = receivers(secrets=())
    daemon = begin(local_bridge, partners())
    for name in ("crm", "erp", "hr"):
        add(daemon, name, receiver)
    daemon.stop()
    daemon = begin(local_bridge, partners(), key=OTHER_KEY)
    found = listed(daemon)["crm"]
    assert found["state"] == "disabled" and "endpoints.key" in found["problem"] and "put that key into it again" in found["problem"]
    assert daemon.log().count("an endpoint is held: what is for it waits") == 1
    assert 'msg="more endpoints are held for the same reason" endpoints=2' in daemon.log()
    refused(one(daemon, "crm", "POST", "/resume"), 409, "put that key into it again")
    post_ok(daemon, *(event(i) for i in names(3)))
    wait_for(lambda: daemon.metric("aqueduct_sink_consumed_total", sink="partners", endpoint="crm") == 3)
    write_key(local_bridge.folder, OTHER_KEY + "\n" + KEY)        # without a restart
    wait_for(lambda: listed(daemon)["crm"]["state"] == "active")
    wait_for(lambda: receiver.ids() >= set(names(3)), LONG)
    done = local_bridge.command("endpoints", "reseal")
    assert done.returncode == 0 and "the secrets of 3 endpoints are stored" in done.stdout, done.stderr
    write_key(local_bridge.folder, OTHER_KEY)
    daemon.stop()
    assert listed(local_bridge.start())["crm"]["state"] == "active"


def test_without_a_key_file_there_are_no_secrets(local_bridge, receivers):
    receiver = receivers(secrets=())
    daemon = begin(local_bridge, partners(), key=None)
    refused(call(daemon, "POST", "/sinks/partners/endpoints", {"name": "x", "url": receiver.url}), 409, "admin.key_file", "openssl rand")
    add(daemon, "x", receiver, unsigned=True)
    post_ok(daemon, event(names(1)[0]))
    wait_for(lambda: receiver.good())
    assert "webhook-signature" not in receiver.good()[0]["headers"]


def test_check_warns_of_a_key_file_that_is_none(local_bridge):
    begin(local_bridge, partners()).stop()
    (local_bridge.folder / "endpoints.key").write_text("short\n")
    done = local_bridge.command("check")
    assert done.returncode == 0 and "warning: admin.key_file: " in done.stderr and "openssl rand -base64 32" in done.stderr, done.stderr


def test_the_command_does_it_all(local_bridge, receivers, judge):
    receiver = receivers(secrets=())
    daemon = begin(local_bridge, partners())

    def run(*words, code=0):
        done = local_bridge.command("endpoints", *words)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr
    assert "write SINK/NAME" in run("add", "crm", code=1)
    secret = re.search(r"^secret: (whsec_\S+)$", run("add", "partners/crm", "--url", receiver.url, "--type", "thing.*", "--set", "timeout=3s",
                                                     "--set", "batch.count=2"), re.M)[1]
    assert "version 1" in run("change", "partners/crm", "--unset", "batch", "--version", "7", code=1)
    run("change", "partners/crm", "--unset", "batch", "--version", "1")
    out = run("test", "partners/crm", "--data", '{"n": 1}')
    assert out.startswith("delivered: status 204 after ") and '"data":{"n":1}' in out and "webhook-signature: v1," in out
    assert judge([signed(r, secret) for r in receiver.good()]) == ["ok"]
    before = daemon.metric("aqueduct_sink_consumed_total", sink="partners", endpoint="crm")
    assert not before                        # a test is no event
    assert re.search(r"^partners/crm +active +api +http", run("list"), re.M)
    run("pause", "partners/crm")
    assert json.loads(run("list", "--json"))["state"] == "paused"
    run("resume", "partners/crm")
    receiver.answer = lambda request: 503
    assert "it was not delivered" in run("test", "partners/crm", code=1)
    receiver.answer = lambda request: 204
    second = json.loads(run("rotate", "partners/crm", "--overlap", "0s", "--json"))["secret"]
    post_ok(daemon, event(names(1)[0]))
    wait_for(lambda: names(1)[0] in receiver.ids())
    assert judge([signed(receiver.good()[-1], second)]) == ["ok"]
    assert "--yes removes partners/crm" in run("remove", "partners/crm", code=1)
    run("remove", "partners/crm", "--yes")
    assert run("list") == ""
    daemon.stop()
    assert "no daemon runs" in run("list", code=1)


def test_what_export_prints_does_the_same_as_yaml(bridges, tmp_path, receivers, judge):
    receiver = receivers(secrets=())
    first = bridges("local")
    daemon = begin(first, partners())
    secret = add(daemon, "crm", receiver, types=["thing.*"], headers={"X-Team": "sales"}, retry=["1s", "2s"])["secret"]
    add(daemon, "idle", receiver, paused=True, filter={"exact": {"type": "other"}}, body={"text": "{{type}}", "n": 1})
    exported = first.command("endpoints", "export").stdout
    assert secret not in exported and "${PARTNERS_CRM_SECRET" in exported
    daemon.stop()
    variables = {"PARTNERS_CRM_SECRET": "sales", "PARTNERS_CRM_SECRET_2": secret}
    order = re.findall(r"PARTNERS_CRM_SECRET(?:_2)?(?=})", exported)
    lines = [line for line in exported.splitlines() if "PARTNERS_CRM_SECRET" in line]
    for line in lines:                       # whichever comes first
        name = re.search(r"\$\{(\w+)\}", line)[1]
        variables[name] = "sales" if "headers" in line else secret
    assert len(order) == 2
    variables["PARTNERS_IDLE_SECRET"] = OTHER_SECRET
    second = bridges("local", tmp_path / "second")
    second.configure(partners().replace("    endpoints: {}\n", "\n".join(exported.splitlines()[2:]) + "\n"), folder=tmp_path / "second")
    daemon = second.start(env=variables)
    post_ok(daemon, *(event(i) for i in names(3)), event("nobody-gets-this-event", kind="other"))
    wait_for(lambda: receiver.ids() >= set(names(3)))
    assert set(judge([signed(r, secret) for r in receiver.good()])) == {"ok"}
    assert {r["headers"]["x-team"] for r in receiver.good()} == {"sales"}
    assert receiver.ids() == set(names(3))


@pytest.mark.kafka
def test_two_daemons_agree(kafka_bridge, tmp_path, receivers):
    receiver = receivers(secrets=())
    one_daemon = begin(kafka_bridge, partners())
    text = kafka_bridge.config.read_text()
    kafka_bridge.configure(partners(), folder=tmp_path / "second")
    kafka_bridge.config.write_text(text.replace("instance: one", "instance: two"))
    other = kafka_bridge.start()
    add(one_daemon, "crm", receiver)
    wait_for(lambda: "crm" in listed(other))
    refused(call(other, "POST", "/sinks/partners/endpoints", {"name": "crm", "url": receiver.url}), 409, "has an endpoint crm")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for turn in range(3):                # both make it at once
            answers = list(pool.map(lambda d: call(d, "POST", "/sinks/partners/endpoints", {"name": f"both-{turn}", "url": receiver.url, "types": ["nothing"]}), (one_daemon, other)))
            assert sorted(a.status_code for a in answers) == [201, 409], [a.text for a in answers]
            wait_for(lambda: f"both-{turn}" in listed(one_daemon) and f"both-{turn}" in listed(other))
            assert one(other, f"both-{turn}", "DELETE").status_code == 200
            wait_for(lambda: f"both-{turn}" not in listed(one_daemon))
        for turn in range(1, 5):             # both at once, from the same version: one is first
            wait_for(lambda: listed(one_daemon)["crm"]["version"] == listed(other)["crm"]["version"] == turn)
            answers = list(pool.map(lambda d: one(d, "crm", "PATCH", body={"timeout": f"{turn}s"}, If_Match=f'"{turn}"'), (one_daemon, other)))
            assert sorted(a.status_code for a in answers) == [200, 412], [a.text for a in answers]
    assert one(one_daemon, "crm", "POST", "/pause").status_code == 200
    wait_for(lambda: listed(other)["crm"]["state"] == "paused")
    assert one(other, "crm", "POST", "/resume").status_code == 200
    wait_for(lambda: listed(one_daemon)["crm"]["state"] == "active")
    post_ok(one_daemon, *(event(i) for i in names(10)))
    wait_for(lambda: receiver.ids() >= set(names(10)), LONG)
    assert one(other, "crm", "DELETE").status_code == 200
    wait_for(lambda: listed(one_daemon) == {})


@pytest.mark.kafka
def test_a_reload_does_not_wait_for_what_others_add(kafka_bridge, tmp_path, receivers):
    """While a sink begins anew nobody takes the endpoints that another daemon makes: they come to it when it runs again."""
    receiver, taken = receivers(secrets=()), receivers()
    text = partners(more="    window: 8\n")
    first, other = begin(kafka_bridge, text), kafka_bridge.config
    good = other.read_text().replace("admin: {", f"admin: {{control: {kafka_bridge.folder}/control, ")
    first.stop()
    other.write_text(good)
    first = kafka_bridge.start()
    kafka_bridge.configure(text, folder=tmp_path / "second")
    kafka_bridge.config.write_text(re.sub(r", control: [^,]*|control: [^,]*, ", "", good).replace("instance: one", "instance: two"))
    second, kafka_bridge.config = kafka_bridge.start(), other
    made, go = [], [True]

    def adding():
        while go:
            made.append(add(second, f"n{len(made)}", receiver)["name"])
    thread = threading.Thread(target=adding)
    thread.start()
    busy = f"sources:\n  busy: {{type: http, listen: 127.0.0.1:{taken.port}, paths: [{{path: /v2, verify: {{scheme: none}}}}]}}\n"
    try:
        for turn in range(4):
            wait_for(lambda before=len(made): len(made) > before + 5)
            changed = good.replace("window: 8", f"window: {9 + turn}")
            other.write_text(changed if turn % 2 else changed.replace("sources:\n", busy))
            done = kafka_bridge.command("reload")
            assert done.returncode == 1 - turn % 2, done.stderr
    finally:
        go.clear()
        thread.join(60)
    wait_for(lambda: set(listed(first)) == set(made) == set(listed(second)), LONG, first.log)
    post_ok(first, event(names(1)[0]))
    wait_for(lambda: len(receiver.good()) >= len(made), LONG, first.log)
