# SPDX-License-Identifier: MIT
"""Signatures in every style, judged by the libraries of those who made it."""
import base64
import contextlib
import datetime
import hashlib
import hmac
import json
import os
import re
import resource
import shutil
import signal
import subprocess

import pytest
import requests

from conftest import HTTP_SOURCE, OTHER_SECRET, ROOT, SECRET, TOKEN, event, post, post_ok, signed, wait_for

TEXT, OTHER_TEXT = "a-secret-of-text-as-it-is-0123456789", "another-secret-of-text-as-it-is-9876"
PLAIN = {"hmac_hex": lambda mac: mac.hex(), "hmac_base64": lambda mac: base64.b64encode(mac).decode()}


@pytest.fixture(scope="module")
def libraries(node, python_folder):
    """Asks each scheme's own library about [(scheme, headers, body, secret)]: "ok", or why not, in the schemes' order."""
    def line(scheme, headers, body, secret):
        return {"scheme": scheme, "headers": headers, "body_base64": base64.b64encode(body).decode(), "secret": secret}

    def ask(requests):
        slack = [line(*r) for r in requests if r[0] == "slack"]
        said = subprocess.run([str(python_folder / "bin/python"), str(ROOT / "tests/e2e/verify/styles.py")], text=True, timeout=120, check=True,
                              input="".join(json.dumps(one) + "\n" for one in slack), capture_output=True).stdout.splitlines()
        return node("styles.mjs", [line(*r) for r in requests if r[0] != "slack"]) + said
    return ask


@pytest.fixture(scope="module")
def signing(node, python_folder):
    """The headers with which these libraries send: [(library, body, secret)]."""
    def ask(requests):
        lines = [{"sign": library, "body": body, "secret": secret} for library, body, secret in requests]
        slack = subprocess.run([str(python_folder / "bin/python"), str(ROOT / "tests/e2e/verify/styles.py")], text=True, timeout=120, check=True,
                               input="".join(json.dumps(one) + "\n" for one in lines if one["sign"] == "slack"), capture_output=True).stdout
        said = node("styles.mjs", [one for one in lines if one["sign"] != "slack"]) + slack.splitlines()
        return list(map(json.loads, said))
    return ask


# path, library, secret, body, and the id and type of the event that it becomes
SENT = [
    ("/github", "octokit", TEXT, '{"action": "opened", "text": "Grüße 😀"}', "d-1", "github.push"),
    ("/stripe", "stripe", TEXT, '{"id": "evt_1", "type": "invoice.paid", "data": {}}', "evt_1", "stripe.invoice.paid"),
    ("/standard", "standardwebhooks", SECRET, '{"type": "user.created", "timestamp": "", "data": {"n": 1}}', "m-1", "user.created"),
    ("/svix", "svix", SECRET, '{"type": "user.created", "timestamp": "", "data": {"n": 2}}', "m-1", "user.created"),
    ("/gitlab", "standardwebhooks", SECRET, '{"object_kind": "push"}', "m-1", "gitlab"),
    ("/slack", "slack", TEXT, '{"type": "event_callback", "event": {"type": "app_mention"}, "event_id": "Ev1"}', "Ev1", "slack.app_mention"),
]


def test_what_each_library_signs_is_taken(local_bridge, receiver, signing):
    paths = ", ".join(f"{{path: {path}, verify: {{scheme: {'standard' if path == '/svix' else path[1:]}, secrets: [{secret}]}}}}"
                      for path, _, secret, *_ in SENT)
    daemon = local_bridge.run(f"sources:\n  hooks: {{type: http, listen: '127.0.0.1:0', paths: [{paths}]}}\nroutes: [{{topic: $EVENTS}}]\n"
                              f"sinks:\n  out: {{type: webhook, topics: [$EVENTS], url: '{receiver.url}', secrets: [{SECRET}]}}\n")
    url = f"http://127.0.0.1:{daemon.port('hooks')}"
    for (path, _, _, body, ident, _), headers in zip(SENT, signing([(library, body, secret) for _, library, secret, body, *_ in SENT])):
        send = lambda text, path=path, headers=headers: requests.post(url + path, data=text.encode(), timeout=60,
                                                                      headers={**headers, "Content-Type": "application/json"})
        assert send(body + "\n").status_code == 401
        answer = send(body)
        assert (answer.status_code, answer.json()) == (202, {"id": ident}), (path, answer.text)
    wait_for(lambda: len(receiver.all()) == len(SENT))
    assert sorted((r["id"], json.loads(r["body"])["type"]) for r in receiver.all()) == sorted((ident, kind) for *_, ident, kind in SENT)
    hints = [line for line in daemon.log().splitlines() if 'msg="request refused"' in line]
    assert len(hints) == len(SENT) and all("without the line break at its end" in line for line in hints), hints


def test_send_posts_as_the_sender_of_a_path_would(local_bridge, run, tmp_path):
    socket = local_bridge.folder / "in.sock"
    paths = (f"{{path: /github, verify: {{scheme: github, secrets: [{TEXT}]}}}}, {{path: /v1, verify: {{scheme: bearer, secrets: [{TOKEN}]}}}}, "
             f"{{path: /own, verify: {{scheme: hmac, header: X-Sig, signs: '{{id}}.{{timestamp}}.{{body}}', id_header: X-Id, timestamp_header: X-Time, "
             f"encoding: base64url, hash: sha512, secrets: [{TEXT}]}}}}, {{path: /lab, verify: {{scheme: gitlab, secrets: [{TOKEN}]}}}}, "
             f"{{path: /any, verify: {{any: [{{scheme: jwt, jwt: {{secrets: [{TEXT}]}}}}, {{scheme: basic, secrets: [{{name: ann, secret: {TOKEN}}}]}}]}}}}, "
             f"{{path: /all, verify: {{all: [{{scheme: address, allow: [unix]}}, {{scheme: api_key, secrets: [{TOKEN}]}}, {{scheme: github, secrets: [{TEXT}]}}]}}}}, "
             f"{{path: /jwt, verify: {{scheme: jwt, jwt: {{secrets: [{TEXT}]}}}}}}, "
             f"{{path: '/kotaemon/{{event}}', type: 'kotaemon.{{{{path.event}}}}', verify: {{scheme: bearer, secrets: [{TOKEN}]}}}}")
    daemon = local_bridge.run(f"sources:\n  hooks: {{type: http, listen: 'unix:{socket}', paths: [{paths}]}}\nroutes: [{{topic: $EVENTS}}]\n")
    to = ["-c", str(local_bridge.config), "--json"]
    (tmp_path / "push.json").write_text('{"a": 1}')
    said = json.loads(run("send", "/github", "push.json", "--id", "d-1", "--header", "X-GitHub-Event: push", *to))
    assert said == {"status": 202, "ok": True, "id": "d-1", "answer": {"id": "d-1"}}
    for path in ("/own", "/lab", "/any", "/all"):
        assert json.loads(run("send", path, *to, text="{}"))["status"] == 202
    twice = run("send", "/v1", "--type", "order.shipped", "--data", '{"order": 7}', "--repeat", "2", *to).splitlines()
    assert [json.loads(line)["answer"].get("repeat") for line in twice] == [None, True]
    assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == 1
    assert json.loads(run("send", "/v1", "--data", "{", *to, code=1))["status"] == 400
    assert "give it by --header" in run("send", "/jwt", *to, text="{}", code=1)
    assert json.loads(run("send", "/jwt", "--header", "Authorization: Bearer a.b.c", *to, text="{}", code=1))["status"] == 401
    assert json.loads(run("send", "/kotaemon/answer", *to, text="{}"))["status"] == 202
    assert json.loads(run("send", "/kotaemon/answer", "--type", "order.shipped", "--data", "{}", *to))["status"] == 202
    assert "write what a sender would write" in run("send", "/kotaemon/{event}", *to, text="{}", code=1)
    assert json.loads(run("send", "/v1", "--scheme", "none", *to, text="{}", code=1))["status"] == 401
    lines = run("send", "/github", "push.json", "--print", *to).splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == ["Content-Type", "X-GitHub-Delivery", "X-Hub-Signature-256"]
    assert "there is /github, /v1, /own, /lab, /any, /all, /jwt, /kotaemon/{event}" in run("send", "/nowhere", *to, text="", code=1)


def test_send_puts_a_key_where_the_path_wants_it(local_bridge, run):
    """In the query of the URL; whoever writes one there is left alone. And a repeat is said to be one."""
    local_bridge.run(f"sources:\n  hooks: {{type: http, listen: 'unix:{local_bridge.folder / 'in.sock'}', "
                     f"paths: [{{path: /v1, verify: {{scheme: api_key, query: key, secrets: [{OTHER_SECRET}]}}}}]}}\nroutes: [{{topic: $EVENTS}}]\n")
    to = ["-c", str(local_bridge.config)]
    said = [json.loads(line) for line in run("send", "/v1", "--data", "{}", "--repeat", "2", "--type", "a.b", "--json", *to).splitlines()]
    assert [s["status"] for s in said] == [202, 202]
    assert [s["answer"].get("repeat") for s in said] == [None, True]
    assert run("send", "/v1?more=1", "--data", "{}", *to).startswith("202 ")
    assert run("send", "/v1?key=wrong", "--data", "{}", *to, code=1).startswith("401 ")


def test_send_posts_to_a_url(local_bridge, run):
    daemon = local_bridge.run(HTTP_SOURCE)
    url = f"http://127.0.0.1:{daemon.port('hooks')}/v1"
    assert run("send", url, "--scheme", "bearer", "--secret-env", "KEY", "--data", "{}", KEY=TOKEN).startswith("202 {")
    assert run("send", url, "--header", f"Authorization: Bearer {TOKEN}", "--data", "{}").startswith("202 {")
    assert run("send", url, "--scheme", "github", "--secret-env", "KEY", "--data", "{}", KEY=TEXT, code=1).startswith("401 {")
    drawn = run("keys", "new", "--scheme", "bearer").strip()
    assert re.fullmatch("[0-9a-f]{64}", drawn)
    basic = run("send", url, "--scheme", "basic", "--secret-env", "KEY", "--data", "{}", "--print", KEY=f"ann:{drawn}").splitlines()
    assert basic[1:] == ["Authorization: Basic " + base64.b64encode(f"ann:{drawn}".encode()).decode()]
    assert run("send", url, "--scheme", "none", "--data", "{}", code=1).startswith("401 {")
    assert '--header: "X-Kind" is not "Name: value"' in run("send", url, "--header", "X-Kind", "--data", "{}", code=2)
    assert "none.pem" in run("send", url.replace("http", "https"), "--ca-file", "none.pem", "--data", "{}", code=1)
    assert "with whose secret?" in run("send", url, "--scheme", "github", "--data", "{}", code=2)
    assert "is neither a path" in run("send", "example.com", text="", code=2)
    assert "has its scheme and secrets in the configuration" in run("send", "/v1", "--scheme", "github", text="", code=2)
    daemon.stop()
    assert url in run("send", url, "--data", "{}", code=1)


def sink(endpoints):
    lines = "".join(f"      {name}: {json.dumps(options)}\n" for name, options in endpoints.items())
    return f"sinks:\n  out:\n    type: webhook\n    topics: [$EVENTS]\n    endpoints:\n{lines}"


def test_each_style_is_verified_by_its_own_library(local_bridge, receivers, libraries):
    at = {scheme: receivers() for scheme in ("github", "stripe", "slack", *PLAIN)}
    secrets = {"stripe": [OTHER_TEXT, TEXT]}        # two keys: both sign
    header = {scheme: {"header": "X-Hook-Signature"} for scheme in PLAIN}
    daemon = local_bridge.run(HTTP_SOURCE + sink({scheme.replace("_", "-"): {
        "url": receiver.url, "secrets": secrets.get(scheme, [TEXT]), "signature": {"scheme": scheme, **header.get(scheme, {})}}
        for scheme, receiver in at.items()}))
    post_ok(daemon, event("an-event-of-this-test-1", data={"greeting": "grüß dich"}, datacontenttype="application/json"))
    got = {scheme: receiver.arrived(1)[0] for scheme, receiver in at.items()}
    for scheme, request in got.items():
        headers, body = request["headers"], request["body"]
        assert headers["webhook-id"] and headers["webhook-timestamp"]
        if scheme in PLAIN:
            assert headers["x-hook-signature"] == PLAIN[scheme](hmac.digest(TEXT.encode(), body, hashlib.sha256))
    mine = [(scheme, r["headers"], r["body"]) for scheme, r in got.items() if scheme not in PLAIN]
    right = [(*one, secret) for one in mine for secret in secrets.get(one[0], [TEXT])]
    wrong = [(scheme, headers, body + b" ", TEXT) for scheme, headers, body in mine] + [(*one, TEXT + "x") for one in mine]
    said = libraries(right)
    assert said == ["ok"] * 4, said
    said = libraries(wrong)
    assert [one.split()[0] for one in said] == ["failed"] * 6, said
    assert got["github"]["headers"]["x-github-delivery"] == got["github"]["headers"]["webhook-id"]


PRIVATE = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="


def test_a_pair_of_keys_and_a_secret_sign_side_by_side(local_bridge, receiver, judge):
    daemon = local_bridge.run(
        HTTP_SOURCE.replace("paths: [", f"paths: [{{path: /in, verify: {{scheme: standard, secrets: [{PUBLIC}]}}}}, ")
        + f"sinks:\n  out: {{type: webhook, topics: [$EVENTS], url: '{receiver.url}', secrets: [{PRIVATE}, {SECRET}]}}\n")
    post_ok(daemon, event("an-event-of-this-test-3", data={"n": 1}, datacontenttype="application/json"))
    request = receiver.arrived(1)[0]
    assert [one.split(",")[0] for one in request["headers"]["webhook-signature"].split(" ")] == ["v1a", "v1"]
    right = [signed(request, PUBLIC), signed(request)]
    assert judge([*right, {**right[0], "id": "another-id-than-the-event-has"}]) == ["ok", "ok", "failed node: no v1a signature matches"]
    send = {name: request["headers"][name] for name in ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type")}
    answer = lambda body: requests.post(f"http://127.0.0.1:{daemon.port('hooks')}/in", data=body, headers=send, timeout=60).status_code
    assert answer(request["body"] + b" ") == 401
    assert answer(request["body"]) == 202


def day(from_today):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=from_today)).strftime("%Y-%m-%d")


def test_keys_end_at_their_dates_and_check_says_so(local_bridge, receivers, judge):
    rotating, ended = receivers(), receivers()
    daemon = local_bridge.run(HTTP_SOURCE + sink({
        "rotating": {"url": rotating.url, "secrets": [{"secret": SECRET, "until": day(3)}, {"secret": OTHER_SECRET, "until": day(-2)}]},
        "ended": {"url": ended.url, "secrets": [{"secret": SECRET, "until": day(-2)}]}}))
    post_ok(daemon, event("an-event-of-this-test-2"))
    request = rotating.arrived(1)[0]
    assert judge([signed(request)]) == ["ok"]
    assert request["headers"]["webhook-signature"].count("v1,") == 1
    wait_for(lambda: daemon.metric("aqueduct_sink_untried_total", sink="out", endpoint="ended"))
    assert ended.all() == []
    assert 'msg="keys end" sink=out endpoint=rotating reason="secrets: every key ends (until), the last one at ' in daemon.log()
    assert 'msg="keys end" sink=out endpoint=ended reason="secrets: every key has ended (until), the last one at ' in daemon.log()
    done = local_bridge.command("check")
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "until" in line]
    assert len(warnings) == 2 and "sinks.out.endpoints.rotating.secrets: " in warnings[0], done.stderr


@pytest.mark.parametrize("secrets, said", [
    ([{"secret": SECRET, "until": "2026-13-01"}], "sinks.out.secrets[0].until: \"2026-13-01\" is neither a date (2026-12-24, to its end in UTC)"),
    ([{"secret": SECRET, "until": "tomorrow"}], "is neither a date"),
    ([SECRET, {"until": "2026-12-24"}], "sinks.out.secrets[1].secret: is missing"),
    ([{"secret": SECRET, "til": "2026-12-24"}], "sinks.out.secrets[0]: unknown key \"til\""),
    ([{"secret": "changeme"}], "sinks.out.secrets[0].secret: is a placeholder"),
])
def test_check_names_what_is_wrong_with_a_date(local_bridge, secrets, said):
    local_bridge.configure(f"sinks:\n  out: {{type: webhook, topics: [$EVENTS], url: 'http://localhost/', secrets: {json.dumps(secrets)}}}\n")
    done = local_bridge.command("check")
    assert done.returncode == 1 and said in done.stderr, done.stderr


def test_secrets_of_senders_end_at_their_dates(local_bridge):
    """A path takes what is signed by a secret that has not ended; check warns when all of them end."""
    ending = lambda until: HTTP_SOURCE.replace(f"secrets: [{TOKEN}]", f"secrets: [{{secret: {TOKEN}, until: {until}}}]")
    assert ending("x") != HTTP_SOURCE
    daemon = local_bridge.run(ending(day(3)))
    post_ok(daemon, event("an-event-of-this-test-9"))
    said = 'verify.secrets: every key ends (until), the last one at '
    assert f'msg="verification is doubtful" source=hooks path=/v1 reason="{said}' in daemon.log()
    done = local_bridge.command("check")
    assert done.returncode == 0 and "sources.hooks.paths[0].verify.secrets: every key ends (until)" in done.stderr, done.stderr
    daemon.stop()
    daemon = local_bridge.run(ending(day(-2)))
    assert post(daemon, event("an-event-of-this-test-10")).status_code == 401
    assert daemon.metric("aqueduct_http_refused_total", source="hooks", path="/v1", reason="ended") == 1
    daemon.stop()
    local_bridge.configure("sinks:\n  live: {type: websocket, topics: [$EVENTS], listen: 127.0.0.1:0, tokens: [{secret: x, until: 2026-12-24}]}\n")
    done = local_bridge.command("check")
    assert done.returncode == 1 and "sinks.live.tokens[0]: has 1 characters, the least is 16" in done.stderr, done.stderr


# ---- the commands ----

@pytest.fixture
def run(aqueduct, tmp_path):
    def ask(*words, text=None, code=0, **env):
        done = subprocess.run([aqueduct, *map(str, words)], cwd=tmp_path, input=text, capture_output=True, text=True, timeout=60,
                              env={**os.environ, **env})
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr
    return ask


def test_keys_are_drawn_and_kept_to_their_owner(run, tmp_path):
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=\n", run("keys", "new"))
    assert run("keys", "new") != run("keys", "new")
    assert re.fullmatch(r"[0-9a-f]{64}\n", run("keys", "new", "--scheme", "github"))
    public = run("keys", "new", "--scheme", "v1a", "--out", "pair")
    assert (tmp_path / "pair").stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"whsk_[A-Za-z0-9+/]{86}==\n", (tmp_path / "pair").read_text())
    assert re.fullmatch(r"whpk_[A-Za-z0-9+/]{43}=\n", public)
    assert run("keys", "public", "--secret-file", "pair") == public
    assert json.loads(run("keys", "public", "--secret-file", "pair", "--json")) == {"public": public.strip()}
    assert set(json.loads(run("keys", "new", "--scheme", "v1a", "--json"))) == {"secret", "public"}
    assert "--out pair: is there already" in run("keys", "new", "--out", "pair", code=1)
    assert run("keys", "public", "--secret-env", "PAIR", PAIR=PRIVATE) == PUBLIC + "\n"
    assert "it has no public one" in run("keys", "public", "--secret-env", "PAIR", PAIR=SECRET, code=1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["pair"]
    (tmp_path / "pair").chmod(0o644)
    assert "pair" in run("keys", "public", "--secret-file", "pair", code=1)      # everybody may read it


def test_a_key_that_has_no_room_leaves_no_file(aqueduct, tmp_path):
    def full():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
    done = subprocess.run([aqueduct, "keys", "new", "--out", "key"], cwd=tmp_path, capture_output=True, text=True, timeout=60, preexec_fn=full)
    assert done.returncode == 1 and "--out key: " in done.stderr and list(tmp_path.iterdir()) == []


def test_what_is_signed_by_hand_verifies_as_what_is_sent(run, tmp_path, local_bridge, receivers, judge, libraries):
    plain, pair = receivers(), receivers()
    daemon = local_bridge.run(HTTP_SOURCE + sink({
        "plain": {"url": plain.url, "secrets": [SECRET]},
        "pair": {"url": pair.url, "secrets": [PRIVATE]},
        "github": {"url": plain.url, "paused": True, "secrets": [TEXT], "signature": {"scheme": "github"}}}))
    config = ["-c", local_bridge.config, "--sink", "out", "--endpoint"]
    body = '{"greeting":"grüß dich"}'
    (tmp_path / "body").write_text(body)
    for name, secret in (("plain", SECRET), ("pair", PUBLIC)):
        headers = json.loads(run("sign", *config, name, "--json", "body"))
        assert judge([{"id": headers["webhook-id"], "timestamp": headers["webhook-timestamp"], "signature": headers["webhook-signature"],
                       "body_base64": base64.b64encode(body.encode()).decode(), "secret": secret}]) == ["ok"]
        printed = run("sign", *config, name, "--id", "msg_1", text=body)
        assert run("verify", *config, name, text=printed + "\n" + body) == "verified\n"
        said = json.loads(run("verify", *config, name, "--json", text=printed + "\n" + body + "\n", code=1))
        assert (said["verified"], said["differs"]) == (False, "body")
    headers = json.loads(run("sign", *config, "github", "--json", "body"))
    assert libraries([("github", {name.lower(): value for name, value in headers.items()}, body.encode(), TEXT)]) == ["ok"]
    post_ok(daemon, event("an-event-of-this-test-4", data={"n": 1}, datacontenttype="application/json"))
    request = plain.arrived(1)[0]
    (tmp_path / "headers").write_text("".join(f"{name}: {value}\n" for name, value in request["headers"].items()))
    (tmp_path / "sent").write_bytes(request["body"])
    verify = ["verify", "--secret-env", "KEY", "--headers", "headers"]
    assert run(*verify, "sent", KEY=SECRET) == "verified\n"
    assert run(*verify, "sent", KEY=OTHER_SECRET, code=1).startswith("not verified: key: ")
    assert run(*verify, "--now", "4102444800", "sent", KEY=SECRET, code=1).startswith("not verified: timestamp: ")
    assert run(*verify, "--scheme", "stripe", "sent", KEY=TEXT, code=1).startswith("not verified: scheme: ")


@pytest.mark.parametrize("words, said", [
    (["sign"], "with whose key?"),
    (["sign", "--endpoint", "x", "--secret-env", "A"], "--endpoint goes with --sink"),
    (["sign", "--sink", "x", "--secret-env", "A", "-c", "with-a-sink.yaml"], "has its scheme, header and secrets in the configuration"),
    (["sign", "--secret-env", "A", "--id", "a.b"], "--id has neither blanks"),
    (["verify", "--secret-env", "A", "--scheme", "githb"], "githb"),
    (["verify", "--secret-env", "KEY", "--scheme", "hmac_hex"], "name it by --header"),
    (["keys", "old"], "unknown word"),
])
def test_the_commands_say_what_is_missing(run, tmp_path, words, said):
    (tmp_path / "with-a-sink.yaml").write_text(f"sinks: {{x: {{type: webhook, topics: [t], url: 'http://localhost/', secrets: [{SECRET}]}}}}\n")
    assert said in run(*words, text="", code=2, KEY=TEXT)


def test_a_secret_that_is_not_there(run):
    assert "--secret-env: the variable NOTHING is not set" in run("sign", "--secret-env", "NOTHING", text="", code=1)
    assert "nothing-there: No such file" in run("sign", "--secret-file", "nothing-there", text="", code=1)


# ---- the receiver's kit: connectors/webhook/receivers ----

KIT = ROOT / "connectors/webhook/receivers"


def go_binary():
    """receive.go, built. The library wants Go 1.21; Debian 12 has an older one."""
    there = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout if shutil.which("go") else ""
    if [int(n) for n in re.findall(r"\d+", there)[:2]] < [1, 21]:
        pytest.skip(f"no Go 1.21 or later, but {there.strip() or 'none'}")
    folder = ROOT / "build/verify-go"
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["go", "build", "-o", str(folder / "receive"), "."], cwd=KIT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return [str(folder / "receive")]


def kit_command(name, node_folder, python_folder):
    if name == "receive.mjs":
        shutil.copy(KIT / name, node_folder / "kit.mjs")    # npm's packages are found from where it stands
        return ["node", str(node_folder / "kit.mjs")]
    return [str(python_folder / "bin/python"), str(KIT / name)] if name == "receive.py" else go_binary()


@contextlib.contextmanager
def kit_receiver(command):
    process = subprocess.Popen([*command, "0"], stdout=subprocess.PIPE, text=True, env={**os.environ, "WEBHOOK_SECRET": SECRET})
    try:
        yield process, int(process.stdout.readline().split()[-1])
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", ["receive.py", "receive.mjs", "receive.go"])
def test_a_receiver_of_the_kit(local_bridge, node_folder, python_folder, name):
    with kit_receiver(kit_command(name, node_folder, python_folder)) as (process, port):
        url = f"http://127.0.0.1:{port}/"
        daemon = local_bridge.run(HTTP_SOURCE + f"sinks:\n  out: {{type: webhook, topics: [$EVENTS], url: '{url}', secrets: [{SECRET}]}}\n")
        post_ok(daemon, event("an-event-of-this-test-5", data={"greeting": "grüß dich"}, datacontenttype="application/json"))
        assert process.stdout.readline() == "thing.happened an-event-of-this-test-5\n"
        wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="out") == 1)
        body = b'{"type":"forged","id":"1"}'
        headers = json.loads(local_bridge.command("sign", "--sink", "out", "--json", "/dev/null").stdout)     # of another body
        assert requests.post(url, data=body, headers=headers, timeout=60).status_code == 400
        assert requests.post(url, data=b"", timeout=60).status_code == 400


def cgi(request, body=None, secret=SECRET):
    """What receive.sh answers: (status line, id)."""
    body = request["body"] if body is None else body
    headers = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in request["headers"].items()}
    done = subprocess.run([str(KIT / "receive.sh")], input=body, capture_output=True, timeout=60, check=True,
                          env={**os.environ, **headers, "CONTENT_LENGTH": str(len(body)), "WEBHOOK_SECRET": secret})
    return done.stdout.decode().splitlines()[0], done.stderr.decode().strip()


def test_the_receiver_of_the_kit_in_plain_shell(local_bridge, receiver):
    daemon = local_bridge.run(HTTP_SOURCE + f"sinks:\n  out: {{type: webhook, topics: [$EVENTS], url: '{receiver.url}', secrets: [{PRIVATE}, {SECRET}]}}\n")
    post_ok(daemon, event("an-event-of-this-test-6", data={"greeting": "grüß dich"}, datacontenttype="application/json"))
    request = receiver.arrived(1)[0]
    assert cgi(request) == ("Status: 204 No Content", request["webhook_id"])
    assert cgi(request, request["body"] + b"\n") == ("Status: 400 Bad Request", "")
    assert cgi(request, secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx") == ("Status: 400 Bad Request", "")
    for name, value in (("webhook-timestamp", "1614265330"), ("webhook-timestamp", "x[$(id)]"), ("webhook-id", ""), ("webhook-signature", "v1,")):
        assert cgi({**request, "headers": {**request["headers"], name: value}}) == ("Status: 400 Bad Request", "")
