# SPDX-License-Identifier: MIT
"""The command line: what it prints, and its exit codes (0 done, 1 something is wrong, 2 wrong usage)."""
import contextlib
import gzip
import hashlib
import json
import os
import pathlib
import re
import socket
import sqlite3
import subprocess

import pytest

from conftest import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOOD = """\
sources:
  hooks:
    type: http
    listen: 127.0.0.1:0
    paths: [{path: /v1, verify: {scheme: bearer, secrets: ["${TOKEN:-a-token-of-some-length}"]}}]
routes: [{topic: events}]
sinks:
  crm: {type: webhook, topics: [events], url: "http://127.0.0.1:9/", secrets: ["a secret of at least 24 characters"]}
"""
KEPT = "  dead: {type: dead_letter, path: dead.db}\n"
BAD = GOOD.replace("url:", "ulr:") + "unrouted: dorp\n"


@pytest.fixture
def run(aqueduct, tmp_path):
    def call(*args, env=None):
        return subprocess.run([aqueduct, *args], cwd=tmp_path, env=env or {}, capture_output=True, text=True, timeout=60)
    call.folder = tmp_path
    return call


def write(run, name, text):
    (run.folder / name).write_text(text)


# ---- help ----

@pytest.mark.parametrize("args", [["--help"], ["-h"], ["help"]])
def test_help_lists_commands_and_types(run, args):
    done = run(*args)
    assert done.returncode == 0
    assert done.stderr == ""
    for word in ["run", "check", "help", "schema", "version", "dead", "sqlite", "http", "webhook", "websocket", "dead_letter", "bridge.yaml"]:
        assert word in done.stdout, word


def test_nothing_to_do_is_wrong_usage(run):
    done = run()
    assert done.returncode == 2
    assert done.stdout == ""
    assert "aqueduct check" in done.stderr


@pytest.mark.parametrize("name, words", [
    ("webhook", ["url  (text, required, own)", "retry  (list of durations", "default [1s, 5s, 30s, 2m, 10m, 1h]"]),
    ("http", ["paths[].path  (text", "paths[].verify.scheme  (one of", "in_flight  (whole number, from 1 to 65536, default 1024)"]),
    ("sqlite", ["path", "preset"]),
    ("websocket", ["tokens  (list of secrets"]),
    ("dead_letter", ["A sink of type dead_letter"]),
    ("broker", ["type  (one of local, kafka, default local)", "properties  (mapping of texts)"]),
    ("topics", ["partitions  (whole number, from 1 to 1024"]),
    ("routes", ["topic  (text, required)", "filter  (filter"]),
    ("filter", ["exact:", "any:", "data: {/collection/key: hr}"]),
    ("slack", ["for: slack", "unsigned: true", "text: "]),
    ("n8n", ["preset: n8n", "for: n8n"]),
    ("openai", ["verify: <aqueduct help http verify>"]),
    ("run", ["unless there is an http source"]),
    ("github", ["verify: {scheme: github, secrets: [", "X-Hub-Signature-256", "X-GitHub-Event, behind that and a dot", "X-GitHub-Delivery",
                "for the body alone"]),
    ("certificate", ["tls_client_ca", "subject: [\"CN=shop,O=Example\"]"]),
    ("hmac", ["scheme: hmac, header: ", "what `signs` has"]),
    ("jwt", ["An option of the source http", "A scheme of `verify`"]),
    ("stripe", ["{timestamp}.{body}", "/type in the body", "id          /id in the body"]),
    ("template", ["{{subject}}", "{{data.output.text | cut 2000}}", "| omit}}", "{{body.user.id}}", "{{path.event}}"]),
    ("admin", ["listen  (text, default 127.0.0.1:9464)"]),
    ("log", ["level  (one of debug, info, warn, error, default info)"]),
    ("sink", ["window"]),
    ("source", ["dedupe_size"]),
    ("config", ["drain", "${VAR:-default}"]),
    ("kafka", ["type: kafka", "servers  (text)", "create_topics"]),
    ("local", ["type: local", "max_size  (size"]),
    ("anythingllm", ["preset: anythingllm", "document.embedded", "chat.response.generated", "audit.logged"]),
    ("anythingllm-0", ["preset: anythingllm-0", "document.embedded", "chat.response.generated", "audit.{event}"]),
    ("sources", ["sqlite  ", "http  ", "in_flight"]),
    ("sinks", ["webhook  ", "websocket  ", "dead_letter  ", "retry"]),
    ("topic", ["partitions"]),
    ("route", ["topic  (text, required)"]),
    ("capture", ["An option of the source sqlite", "capture[].types  (mapping of texts)", "capture[].map[].type  (text, required)"]),
    ("verify", ["aqueduct verify", "--secret-file FILE"]),
    ("tolerance", ["An option of the source http", "paths[].verify.tolerance"]),
    ("retry", ["An option of every sink", "default [1s,"]),
    ("drain", ["An option of the configuration"]),
    ("retention", ["An option of the section topics"]),
    ("check", ["aqueduct check [-c FILE]... [--database FILE]... [--show] [--json]"]),
    ("dead", ["redrive"]),
    ("tail", ["--from POINT", "last:20", "--url URL"]),
    ("endpoints", ["A part of the sink webhook", "url  (text, required, own)", "retry  (list of durations"]),
    ("unsigned", ["An option of the sink webhook"]),
])
def test_help_about(run, name, words):
    done = run("help", name)
    assert done.returncode == 0, done.stderr
    for word in words:
        assert word in done.stdout


def test_help_of_a_broker_leaves_out_the_other(run):
    assert "max_size" not in run("help", "kafka").stdout
    assert "servers" not in run("help", "local").stdout


@pytest.mark.parametrize("wrong, right", [("kafak", "kafka"), ("anythinglm", "anythingllm"), ("brokr", "broker"), ("ded", "dead")])
def test_help_suggests(run, wrong, right):
    done = run("help", wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"(did you mean {right}?)" in done.stderr


def test_a_command_says_what_is_missing(run):
    done = run("resend", "--to", "crm")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("aqueduct: a word is missing: aqueduct resend [-c FILE]... ID --to SINK") and done.stderr.endswith("; see aqueduct help resend\n")


def test_help_about_nothing_known(run):
    done = run("help", "webhok")
    assert done.returncode == 2
    assert done.stderr == 'aqueduct: there is no help about "webhok" (did you mean webhook?); see aqueduct --help\n'
    assert run("help", "a", "b").returncode == 2
    assert run("help", "dead", "list", "more").returncode == 2


@pytest.mark.parametrize("name, part, words", [
    ("dead", "list", ["aqueduct dead list"]),
    ("sqlite", "capture", ["capture[].types"]),
    ("capture", "map", ["An option of the source sqlite", "capture[].map[].type"]),
    ("http", "scheme", ["paths[].verify.scheme"]),
    ("http", "verify", ["paths[].verify.scheme"]),
    ("webhook", "retry", ["An option of every sink but websocket, dead_letter:"]),
    ("websocket", "threads", ["An option of every sink but webhook, dead_letter:"]),
    ("webhook", "formerly", ["An option of every sink but websocket:"]),
    ("webhook", "filter", ["An option of every sink:"]),
    ("webhook", "endpoints", ["A part of the sink webhook"]),
    ("webhook", "url", ["An option of the sink webhook"]),
    ("sinks", "retry", ["An option of every sink"]),
    ("broker", "prefix", ["An option of the section broker"]),
])
def test_help_of_a_part(run, name, part, words):
    done = run("help", name, part)
    assert (done.returncode, done.stderr) == (0, "")
    for word in words:
        assert word in done.stdout


def test_help_fits_a_terminal(run):
    names = re.findall(r"^  ([a-z_]+)", run("--help").stdout, re.M)
    assert {"status", "orphans", "sign", "sqlite", "dead_letter"} <= set(names)
    for words in ([], *([name] for name in names), ["broker"], ["config"], ["filter"], ["template"], ["events"], ["metrics"], ["endpoints"]):
        long = [line for line in run("help", *words).stdout.splitlines() if len(line) > 100]
        assert not long, (words, long)
    text = run("--help").stdout
    assert text.count("or a preset:") == 1
    named = set(re.split(r"[\s,:]+", text.split("\nMore: ")[1]))
    of = {place: {file.stem for file in (ROOT / "schemas" / place).glob("*.yaml")} for place in ("presets", "inbound", "receivers")}
    assert named >= of["presets"] | of["inbound"] | of["receivers"] | {"template"}
    assert "status [-c FILE]... [--json] [--sink NAME] [--list pending|waiting|listeners [--limit N]] [--event ID [--since TIME]] [--ready] Say of each source" in " ".join(text.split())


@pytest.mark.parametrize("args, said", [
    (["help", "captur"], 'there is no help about "captur" (did you mean capture?)'),
    (["help", "dead", "lst"], 'unknown word "lst" (did you mean list?)'),
    (["dead", "lst"], 'unknown word "lst" (did you mean list?)'),
    (["help", "websocket", "retry"], 'there is no help about "retry" of "websocket"'),
    (["help", "sqlite", "url"], 'there is no help about "url" of "sqlite"'),
    (["help", "check", "url"], 'there is no help about "url" of "check"'),
])
def test_help_suggests_a_part(run, args, said):
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("aqueduct: " + said)


RIGHT = {       # of each type: an entry that is right
    "sqlite": {"path": "app.db", "capture": [{"name": "t", "kind": "append", "table": "t", "types": {"*": "t.added"}}]},
    "http": {"listen": "127.0.0.1:0", "paths": [{"path": "/v1", "verify": {"scheme": "bearer", "secrets": ["a-token-of-some-length-0123"]}}]},
    "webhook": {"circuit": {"failures": 5, "share": 50}, "topics": ["t"], "url": "http://127.0.0.1:9/", "secrets": ["a secret of at least 24 characters"]},
    "websocket": {"topics": ["t"], "listen": "127.0.0.1:0"},
    "dead_letter": {"path": "dead.db"},
}
OAUTH = {"token_url": "https://id.example.com/token", "client_id": "a", "client_secret": "a-secret-of-some-length-0123"}
LOGIN = {"url": "/t", "body": {"a": "{{username}}", "b": "{{password}}"}}
DIFF = {"kind": "diff", "types": {"insert": "t.added"}}
MAPPED = {
    "sqlite": {"path": "app.db", "app": "a", "capture": [{"name": "t", "kind": "append", "table": "t", "map": [
        {"type": "user.created", "op": ["insert"], "data": {"user.id": "r.id"}}]}]},
    "http": {"listen": "127.0.0.1:0", "paths": [{"path": "/v1", "verify": {"scheme": "none"}, "app": "a", "map": [
        {"type": "user.created", "data": {"user.id": ":body->>'$.id'"}}]}]},
}
LISTENERS = {   # that ask who listens
    "verify": RIGHT["websocket"] | {"verify": {"scheme": "bearer", "secrets": ["a-token-of-some-length-0123"]}},
    "tokens[]": RIGHT["websocket"] | {"tokens": [{"secret": "a-token-of-some-length-0123"}]},
}
SHARED = "a-secret-for-tokens-that-is-long-enough-0123"
TOKENS = {      # that are JSON Web Tokens
    "http": {"listen": "127.0.0.1:0", "paths": [{"path": "/v1", "verify": {"scheme": "jwt", "jwt": {"secrets": [SHARED]}}}]},
    "websocket": RIGHT["websocket"] | {"verify": {"scheme": "jwt", "jwt": {"secrets": [SHARED]}}},
}
LISTENERS["claims"] = TOKENS["websocket"]
OF_TOKENS = re.compile(r"(paths\[\]\.)?verify\.jwt")
OF_MAP = re.compile(r"capture\[\]\.(map|data|join|part|content_columns)|content|personal|raw|"
                    r"paths\[\]\.(map|data|each|part|app|content(?!_type)|personal|raw|mask|unmapped)")
MUTUAL = {"tls_key": "one.key", "tls_certificate": "one.crt", "tls_client_ca": "one.crt", "tls_client": "required"}
BEHIND = {"trusted_proxies": ["10.0.0.0/8", "unix"]}
NEAR = {"scheme": "address", "allow": ["10.0.0.0/8"]}
SAMPLES = {     # (type, option): a value for it, where not any text will do, and what goes with it
    ("http", "tls_key"): {"tls_key": "one.key", "tls_certificate": "one.crt"},
    ("http", "tls_certificate"): {"tls_key": "one.key", "tls_certificate": "one.crt"},
    ("http", "trusted_proxies"): BEHIND,
    ("http", "proxy_header"): BEHIND | {"proxy_header": "forwarded"},
    ("http", "proxy_protocol"): BEHIND | {"proxy_protocol": True},
    ("websocket", "trusted_proxies"): BEHIND,
    ("websocket", "proxy_header"): BEHIND | {"proxy_header": "forwarded"},
    ("websocket", "proxy_protocol"): BEHIND | {"proxy_protocol": True},
    ("http", "tls_client"): MUTUAL,
    ("http", "tls_client_ca"): MUTUAL,
    ("http", "tls_client_crl"): MUTUAL | {"tls_client_crl": "one.crl"},
    ("websocket", "tls_client"): MUTUAL,
    ("websocket", "tls_client_ca"): MUTUAL,
    ("websocket", "tls_client_crl"): MUTUAL | {"tls_client_crl": "one.crl"},
    ("websocket", "tls_key"): {"tls_key": "one.key", "tls_certificate": "one.crt"},
    ("websocket", "tls_certificate"): {"tls_key": "one.key", "tls_certificate": "one.crt"},
    ("webhook", "cert_file"): {"cert_file": "one.crt", "key_file": "one.key", "url": "https://crm.example.com/"},
    ("webhook", "key_file"): {"cert_file": "one.crt", "key_file": "one.key", "url": "https://crm.example.com/"},
    ("webhook", "proxy"): {"proxy": "http://proxy.example.com:3128"},
    ("webhook", "basic.username"): {"username": "x", "password": "y"},
    ("webhook", "basic.password"): {"username": "x", "password": "y"},
    ("webhook", "oauth.token_url"): OAUTH,
    ("webhook", "oauth.client_id"): OAUTH,
    ("webhook", "oauth.client_secret"): OAUTH,
    ("webhook", "oauth.scope"): OAUTH | {"scope": "events"},
    ("webhook", "oauth.audience"): OAUTH | {"audience": "crm"},
    ("webhook", "oauth.auth"): OAUTH | {"auth": "body"},
    ("webhook", "login.url"): LOGIN,
    ("webhook", "login.body"): LOGIN,
    ("webhook", "login.token"): LOGIN | {"token": "/data/token"},
    ("webhook", "login.success"): LOGIN | {"success": [201]},
    ("webhook", "validate_origin"): {"validate_origin": "events.example.com"},
    ("webhook", "username"): {"login": LOGIN, "username": "x", "password": "y"},
    ("webhook", "password"): {"login": {"url": "/t", "body": {"key": "{{password}}"}}, "password": "y"},
    ("webhook", "signature.header"): {"scheme": "hmac_hex", "header": "X-Signature"},
    ("http", "paths[].verify.secrets[].until"): {"until": "2099-01-01"},
    ("webhook", "secrets[].until"): {"until": "2099-01-01"},
    ("webhook", "success"): {"success": ["2xx", 409]},
    ("webhook", "reject"): {"reject": ["4xx"]},
    ("http", "max_body"): {"max_body": "64KiB"},
    ("http", "paths[].path"): {"path": "/x"},
    ("http", "paths[].verify"): {"verify": {"scheme": "none"}},
    ("http", "paths[].verify.scheme"): {"scheme": "none", "secrets": []},
    ("http", "paths[].verify.tolerance"): {"scheme": "standard", "tolerance": "1m"},
    ("http", "paths[].verify.query"): {"scheme": "api_key", "query": "key"},
    ("http", "paths[].verify.allow"): NEAR | {"secrets": []},
    ("http", "paths[].verify.subject"): {"scheme": "certificate", "secrets": ..., "subject": ["CN=a"]},
    ("http", "paths[].verify.san"): {"scheme": "certificate", "secrets": ..., "san": ["*.example.com"]},
    ("http", "paths[].verify.any"): {"scheme": ..., "secrets": ..., "any": [NEAR, {"all": [NEAR, NEAR]}]},
    ("http", "paths[].verify.all"): {"scheme": ..., "secrets": ..., "all": [NEAR, NEAR]},
    ("http", "paths[].cloudevents"): {"cloudevents": "none"},
    ("http", "paths[].content_type"): {"content_type": "text/plain"},
    ("http", "paths[].allowed_origins"): {"allowed_origins": ["https://a.example"]},
    ("http", "paths[].preset"): {"preset": "openai"},
    ("http", "paths[].map[].type"): {"type": "user.created"},
    ("http", "paths[].map[].when"): {"when": ":body->>'$.new'"},
    ("http", "paths[].map[].data"): {"data": {"user.id": ":body->>'$.id'", "user.email": ":body->>'$.mail'"}},
    ("http", "paths[].map[].subject"): {"subject": "'users/' || (:body->>'$.id')"},
    ("http", "paths[].map[].partitionkey"): {"partitionkey": ":body->>'$.id'"},
    ("http", "paths[].data"): {"data": {"user.name": ":body->>'$.name'"}},
    ("http", "paths[].each"): {"each": "$.users"},
    ("http", "paths[].part"): {"each": "$.users", "part": "r.value->>'$.id'"},
    ("http", "paths[].id"): {"id": ":body->>'$.id'"},
    ("http", "paths[].time"): {"time": ":body->>'$.at'"},
    ("http", "paths[].content_key"): {"content": "hash", "content_key": "a-secret-of-some-length-0123", "unmapped": "drop"},
    ("http", "paths[].mask"): {"mask": ["token"], "unmapped": "drop"},
    ("sqlite", "preset"): {"preset": "anythingllm"},
    ("sqlite", "capture[].kind"): {"kind": "append"},
    ("sqlite", "capture[].tables"): {"tables": "t_*", "table": ...},      # in the place of table
    ("sqlite", "capture[].done"): {"kind": "open_row", "done": "1", "types": {"done": "t.done"}},
    ("sqlite", "capture[].watch"): DIFF | {"watch": ["a"]},
    ("sqlite", "capture[].keep"): DIFF | {"keep": ["a"]},
    ("sqlite", "capture[].last"): DIFF | {"last": 9},
    ("sqlite", "capture[].types"): {"types": {"insert": "t.added"}},
    ("sqlite", "capture[].columns"): {"columns": {"a": "json"}},
    ("sqlite", "capture[].data"): {"data": {"user.name": "r.name"}},
    ("sqlite", "capture[].map[].type"): {"type": "user.created"},
    ("sqlite", "capture[].map[].op"): {"op": ["insert"]},
    ("sqlite", "capture[].map[].data"): {"data": {"user.id": "r.id", "user.email": "r.mail"}},
    ("sqlite", "content_key"): {"content": "hash", "content_key": "a-secret-of-some-length-0123"},
    ("sqlite", "capture[].time_zone"): {"time_zone": "UTC"},
    ("sqlite", "time_zone"): {"time_zone": "UTC"},
    ("webhook", "batch.bytes"): {"count": 2, "bytes": "4KiB"},
    ("webhook", "batch.age"): {"count": 2, "age": "1s"},
    ("webhook", "circuit.failures"): {"failures": 5},
    ("webhook", "circuit.share"): {"share": 50},
    ("webhook", "circuit.probe"): {"failures": 5, "probe": "1m"},
    ("webhook", "url"): {"url": "https://crm.example.com/"},
    ("webhook", "unsigned"): {"unsigned": True, "secrets": []},
    ("webhook", "content_type"): {"content_type": "application/json"},
    ("webhook", "path"): {"path": "/x/{{subject}}"},
    ("webhook", "for"): {"for": "n8n", "unsigned": True, "secrets": []},
    ("webhook", "success"): {"success": ["2xx", 409]},
    ("webhook", "reject"): {"reject": ["4xx"]},
    ("webhook", "ca_file"): {"ca_file": "one.crt", "url": "https://crm.example.com/"},
    ("websocket", "path"): {"path": "/live"},
    ("websocket", "publish.types"): {"types": ["chat.*"]},
    ("websocket", "publish.subjects"): {"types": ["chat.*"], "subjects": ["s-*"]},
    ("websocket", "publish.source"): {"types": ["chat.*"], "source": "/me"},
    ("websocket", "tokens[].until"): {"until": "2099-01-01"},
    ("websocket", "verify.secrets[].until"): {"until": "2099-01-01"},
    ("websocket", "verify.query"): {"scheme": "api_key", "query": "key"},
    ("websocket", "verify.allow"): NEAR | {"secrets": []},
    ("websocket", "verify.subject"): {"scheme": "certificate", "secrets": ..., "subject": ["CN=a"]},
    ("websocket", "verify.san"): {"scheme": "certificate", "secrets": ..., "san": ["*.example.com"]},
    ("websocket", "verify.any"): {"scheme": ..., "secrets": ..., "any": [NEAR, {"all": [NEAR, NEAR]}]},
    ("websocket", "verify.all"): {"scheme": ..., "secrets": ..., "all": [NEAR, NEAR]},
    ("websocket", "origins"): {"origins": ["https://a.example"]},
    **{("http", f"{where}limits.{whose}.burst"): {"rate": 1, "burst": 2} for where in ["", "paths[]."] for whose in ["per_address", "per_key", "per_path"]},
}
SAMPLES |= {(kind, f"{place}.{option}"): value for kind, place in (("http", "paths[].verify.jwt"), ("websocket", "verify.jwt")) for option, value in {
    "secrets": {"secrets": [SHARED]}, "secrets[].secret": {"secret": SHARED}, "secrets[].until": {"until": "2099-01-01"}, "keys_file": {"keys_file": "one.crt"},
    "keys_url": {"keys_url": "https://issuer.example.com/jwks"}, "openid": {"openid": "https://issuer.example.com"}, "ca_file": {"ca_file": "one.crt"},
    "algorithms": {"algorithms": ["HS256"]}, "required": {"required": {"role": ["a", 1]}}}.items()}
FORM = {"hash": {"hash": "sha1"}, "encoding": {"encoding": "base64"}, "prefix": {"prefix": "v0="}, "separator": {"separator": ","}, "signs": {"signs": "x{body}"},
        "timestamp_header": {"signs": "{timestamp}.{body}", "timestamp_header": "X-Time"}, "id_header": {"signs": "{id}.{body}", "id_header": "X-Id"},
        "timestamp_prefix": {"signs": "{timestamp}.{body}", "timestamp_prefix": "t=", "separator": ","}}
SAMPLES |= {(kind, f"{place}.{key}"): {"scheme": "hmac", "header": "X-Sig", **values} for kind, place in [("http", "paths[].verify"), ("webhook", "signature")]
            for key, values in FORM.items()}
SAMPLES["http", "paths[].verify.url"] = {"scheme": "twilio", "url": "https://hooks.example.com/in"}
BY_TYPE = [("true or false", True), ("whole number", 2), ("number", 1.0), ("text", "x"), ("secret", "a-secret-of-some-length-0123"), ("duration", "1s"),
           ("size", "4KiB"), ("list of texts", ["t"]), ("list of secrets", ["a-secret-of-some-length-0123"]), ("list of durations", ["1s"]),
           ("mapping of texts", {"a": "b"}), ("filter", {"exact": {"type": "x"}}), ("one of ", None), ("name of a receiver", "n8n"), ("list of mappings", None), ("mapping", None)]


def sample(kind, option, about):
    if (kind, option) in SAMPLES:
        return SAMPLES[kind, option]
    key = option.rpartition(".")[2]
    if about.startswith("one of "):
        return {key: about.removeprefix("one of ").split(",")[0]}
    default = about.partition(", default ")[2]
    if default and not default.startswith("["):
        return {key: {"true": True, "false": False}.get(default, int(default) if default.isdigit() else default)}
    value = next(value for start, value in BY_TYPE if about.startswith(start))
    return {key: value} if value is not None else {}


def options_of(run):
    for section in ["sources", "sinks"]:
        for kind in re.findall(r"^  (\w+) +\S", run("help", section).stdout.partition("Types")[2].partition("\n\n")[0], flags=re.M):
            for option, about in re.findall(r"^  ([a-z_.\[\]]+)  \(((?:.|\n      )*?)\)$", run("help", kind).stdout, flags=re.M):
                yield section, kind, option, about.replace("\n      ", " ")


def test_check_takes_every_option_of_the_help(run):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-keyout", "one.key", "-out", "one.crt"], cwd=run.folder, check=True, capture_output=True)
    (run.folder / "one.key").chmod(0o600)
    write(run, "ca.conf", "[ca]\ndefault_ca = x\n[x]\ndatabase = index.txt\n")
    write(run, "index.txt", "")
    subprocess.run(["openssl", "ca", "-gencrl", "-config", "ca.conf", "-keyfile", "one.key", "-cert", "one.crt", "-crldays", "2", "-md", "sha256",
                    "-out", "one.crl"], cwd=run.folder, check=True, capture_output=True)
    seen, wrong = set(), []
    for section, kind, option, about in options_of(run):
        right = MAPPED[kind] if kind in MAPPED and OF_MAP.match(option) else TOKENS[kind] if OF_TOKENS.match(option) else LISTENERS.get(re.match(r"\w+(\[])?", option)[0], RIGHT[kind])
        entry = json.loads(json.dumps(right)) | (MUTUAL if re.search(r"verify\.(subject|san)$", option) else {})
        place = entry
        for step in option.split(".")[:-1]:
            place, name = place.setdefault(step.removesuffix("[]"), {}), step.removesuffix("[]")
            if step.endswith("[]"):
                place[0] = {name.removesuffix("s"): place[0]} if isinstance(place[0], str) else place[0]      # secrets: [text], short
                place = place[0]
        place.update(sample(kind, option, about))
        for name in [name for name, value in place.items() if value is ...]:
            del place[name]
        write(run, "bridge.yaml", json.dumps({section: {"x": {"type": kind} | entry}, "routes": [{"topic": "t"}]}))
        done = run("check")
        seen.add((kind, option))
        if done.returncode:
            wrong.append((kind, option, done.stderr))
    assert not wrong
    assert {kind for kind, _ in seen} == set(RIGHT)
    assert set(SAMPLES) <= seen
    assert len(seen) > 100


def test_check_names_the_place_in_a_template(run):
    write(run, "bridge.yaml", GOOD.replace('url: "http://127.0.0.1:9/"', """url: "http://127.0.0.1:9/", path: x, body: {
      blocks: [{text: "by {{data.user.name}}"},
               {text: "{{user.name}}"}]}"""))
    said = run("check").stderr.splitlines()
    assert [line for line in said if "sinks.crm" in line] == [
        "bridge.yaml:8:76: sinks.crm.path: begins with / (it stands behind that of the url)",
        'bridge.yaml:10:23: sinks.crm.body.blocks[1].text: {{user.name: what is in the data begins with data: {{data.user.name}}']
    for body, cause in [("standrad", '"standrad" is not one of standard, structured, binary, data (did you mean standard?)'),
                        ('"{\\"a\\": {{type}"', "{{type: }} is missing")]:
        write(run, "bridge.yaml", GOOD.replace('url: "http://127.0.0.1:9/"', 'url: "http://127.0.0.1:9/", body: ' + body))
        assert run("check").stderr.endswith(f"sinks.crm.body: {cause}\n")


def test_help_of_a_command(run):
    assert run("check", "--help").stdout == run("help", "check").stdout
    assert run("dead", "--help").stdout == run("help", "dead").stdout


# ---- usage ----

@pytest.mark.parametrize("args, said", [
    (["chek"], 'unknown command "chek" (did you mean check?)'),
    (["check", "--jsn"], 'unknown flag "--jsn" (did you mean --json?)'),
    (["--confg", "x", "check"], 'unknown flag "--confg" (did you mean --config?)'),
    (["run", "--json"], 'unknown flag "--json"'),
    (["check", "-c"], 'FILE must follow "-c"'),
    (["check", "--config="], 'FILE must follow "--config="'),
    (["check", "bridge.yaml"], 'unknown word "bridge.yaml"'),
    (["schema", "x"], 'there is no type "x" in the vocabulary (aqueduct help events lists them)'),
    (["schema", "document.processed"], 'there is no type "document.processed"; in the vocabulary that is document.embedded'),
    (["help", "events", "document.processed"], 'there is no type "document.processed"; in the vocabulary that is document.embedded'),
    (["help", "events", "document.ready"], 'there is no type "document.ready" in the vocabulary (aqueduct help events lists them)'),
    (["schema", "chat.edit"], 'there is no type "chat.edit" in the vocabulary (did you mean chat.edited?)'),
    (["schema", "--closed"], "--closed is for the schema of a type"),
    (["schema", "--closed", "avro-columns"], "--closed is for the schema of a type"),
    (["schema", "binary"], "records of `encoding: binary` have no schema in a registry"),
    (["schema", "--closed", "asyncapi"], "--closed is for the schema of a type"),
    (["schema", "chat.edited", "user.created"], 'unknown word "user.created"'),
    (["version", "x"], 'unknown word "x"'),
])
def test_wrong_usage(run, args, said):
    done = run(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("aqueduct: " + said)


@pytest.mark.parametrize("args", [["version"], ["--version"]])
def test_version(run, args):
    done = run(*args)
    assert done.returncode == 0
    assert done.stdout.startswith("aqueduct 0.")


# ---- check ----

def test_check_finds_nothing_wrong(run):
    write(run, "bridge.yaml", GOOD + KEPT)
    done = run("check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok: 1 source, 2 sinks\n", "")
    assert list(run.folder.iterdir()) == [run.folder / "bridge.yaml"], "check opens nothing"
    done = run("check", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"ok": True, "problems": [], "content": []})


def test_check_says_everything_at_once(run):
    write(run, "bridge.yaml", BAD)
    done = run("check")
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("bridge.yaml:8:8: sinks.crm.url: is missing")
    assert 'sinks.crm: unknown key "ulr" (did you mean url?)' in lines[1]
    assert lines[2] == 'bridge.yaml:9:11: unrouted: "dorp" is not one of error, drop (did you mean drop?)'
    assert len(lines) == 3


def test_check_json(run):
    write(run, "bridge.yaml", BAD)
    done = run("check", "--json")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["ok"] is False
    assert said["problems"][-1] == {"file": "bridge.yaml", "line": 9, "column": 11, "severity": "error",
                                    "text": 'unrouted: "dorp" is not one of error, drop (did you mean drop?)'}


def test_check_without_a_file(run):
    done = run("check")
    assert done.returncode == 1
    assert done.stderr.startswith("no configuration file")
    done = run("check", "-c", "nothing.yaml")
    assert done.returncode == 1
    assert done.stderr == "nothing.yaml: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("args", [["check", "-c", "a.yaml", "-c", "b.yaml"], ["-c", "a.yaml", "check", "--config=b.yaml"]])
def test_files_merge(run, args):
    write(run, "a.yaml", GOOD)
    write(run, "b.yaml", "unrouted: drop\nsinks: {crm: {window: 8}}\n")
    assert run(*args).returncode == 0


def test_files_from_the_environment(run):
    write(run, "bridge.yaml", BAD)
    write(run, "a.yaml", GOOD)
    write(run, "b.yaml", "unrouted: dorp\n")
    assert run("check").returncode == 1
    assert run("check", env={"AQUEDUCT_CONFIG": "a.yaml"}).returncode == 0
    assert run("check", env={"AQUEDUCT_CONFIG": "a.yaml:b.yaml"}).stderr.startswith("b.yaml:1:11: unrouted:")
    assert run("check", "-c", "a.yaml", env={"AQUEDUCT_CONFIG": "b.yaml"}).returncode == 0, "-c wins"


def test_secrets_are_not_printed(run):
    write(run, "bridge.yaml", GOOD.replace("${TOKEN:-a-token-of-some-length}", "hunter2-${NOT_SET}").replace("timeout", "x"))
    done = run("check")
    assert done.returncode == 1
    assert "NOT_SET" in done.stderr
    assert "hunter2" not in done.stderr


def test_what_only_connectors_know(run):
    for url in ("ftp://127.0.0.1:9/", "crm.example.com/hooks"):
        write(run, "bridge.yaml", GOOD.replace("http://127.0.0.1:9/", url))
        done = run("check")
        assert (done.returncode, done.stderr) == (1, 'bridge.yaml:8:47: sinks.crm.url: must begin with http:// or https://\n')


def test_check_names_every_wrong_rule_and_path(run):
    write(run, "bridge.yaml", """\
sources:
  app:
    type: sqlite
    path: app.db
    source: no reference
    capture:
      - {name: good, kind: append, table: t, types: {insert: x}}
      - {name: one, kind: append, table: t, types: {insrt: x}}
      - {name: two, kind: append, table: t, done: "1", types: {insert: x}}
      - {name: good, kind: append, table: t, types: {insert: x}}
      - {name: three, kind: append, types: {insert: x}}
  hooks:
    type: http
    listen: 127.0.0.1:0
    paths:
      - {path: no-slash, verify: {scheme: none}}
      - {path: /a, verify: {scheme: none}}
      - {path: /a, verify: {scheme: none}}
routes: [{topic: events}]
""")
    done = run("check")
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.split(": ", 2)[:2] for line in done.stderr.splitlines()] == [
        ["bridge.yaml:5:13", "sources.app.source"],
        ["bridge.yaml:8:52", "sources.app.capture[1].types"],
        ["bridge.yaml:9:51", "sources.app.capture[2].done"],
        ["bridge.yaml:10:16", "sources.app.capture[3].name"],
        ["bridge.yaml:11:9", "sources.app.capture[4]"],
        ["bridge.yaml:16:9", "sources.hooks.paths[0]"],
        ["bridge.yaml:18:16", "sources.hooks.paths[2].path"],
    ]


def test_check_says_that_paths_of_two_sources_could_pass_for_each_other(run):
    write(run, "bridge.yaml", """\
sources:
  one: {type: http, listen: "127.0.0.1:0", paths: [{path: /a, verify: {scheme: none}}, {path: /b, source: /shop, verify: {scheme: none}}]}
  two:
    type: http
    listen: 127.0.0.1:0
    paths:
      - {path: /a, verify: {scheme: none}}
      - {path: /c, source: /http/one/%61, verify: {scheme: none}}
  three: {type: http, listen: "127.0.0.1:0", paths: [{path: /b, source: /shop, verify: {scheme: none}}]}
routes: [{topic: events}]
""")
    done = run("check")
    assert (done.returncode, done.stdout) == (1, "")
    assert [line for line in done.stderr.splitlines() if "warning" not in line] == [
        "bridge.yaml:8:28: sources.two.paths[1].source: /http/one/a is the source of path /a of sources.one, too: each could pass for the other",
        "bridge.yaml:9:73: sources.three.paths[0].source: /shop is the source of path /b of sources.one, too: each could pass for the other",
    ]


def test_check_names_the_rule_of_a_preset_file(run):
    write(run, "mine.yaml", "about: mine\ncapture:\n- {name: one, kind: append, table: t, types: {insrt: x}}\n"
          "- {name: two, kind: append, types: {insert: x}}\n")
    write(run, "bridge.yaml", "sources: {app: {type: sqlite, path: app.db, preset: ./mine.yaml}}\nroutes: [{topic: t}]\n")
    done = run("check")
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("bridge.yaml:1:53: sources.app.preset: capture[0]: types: \"insrt\"")
    assert second.startswith("bridge.yaml:1:53: sources.app.preset: capture[1]: needs a table or a select")


def test_unknown_preset(run):
    write(run, "bridge.yaml", "sources: {app: {type: sqlite, path: app.db, preset: anythinglm}}\nroutes: [{topic: t}]\n")
    done = run("check")
    assert done.returncode == 1
    assert "anythinglm" in done.stderr


def test_run_refuses_a_wrong_configuration(run):
    write(run, "bridge.yaml", BAD)
    done = run("run")
    assert done.returncode == 1
    assert "unrouted" in done.stderr


# ---- check: what starting would stumble over ----

def refused(run, text, *said, args=()):
    write(run, "bridge.yaml", text)
    done = run("check", *args)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    errors = [line for line in done.stderr.splitlines() if "warning:" not in line]
    assert errors == list(said)


def certificate(run, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                    "/CN=localhost", "-keyout", f"{name}.key", "-out", f"{name}.crt"], cwd=run.folder, check=True, capture_output=True)
    os.chmod(run.folder / f"{name}.key", 0o600)


def tls(certificate, key):
    return GOOD.replace("listen: 127.0.0.1:0", f"listen: 127.0.0.1:0\n    tls_certificate: {certificate}\n    tls_key: {key}")


def test_check_looks_at_certificates(run):
    certificate(run, "one")
    certificate(run, "two")
    write(run, "junk.crt", "junk\n")
    write(run, "bridge.yaml", tls("one.crt", "one.key") + KEPT)
    assert (run("check").stderr, run("check").returncode) == ("", 0)
    at_key, at_certificate = "bridge.yaml:6:14: sources.hooks: ", "bridge.yaml:5:22: sources.hooks: "
    pem = "; it must be a PEM file that this user may read"
    refused(run, tls("one.crt", "no.key"), at_key + "tls_key no.key: No such file or directory" + pem)
    refused(run, tls("no.crt", "one.key"), at_certificate + "tls_certificate no.crt: No such file or directory" + pem)
    refused(run, tls("junk.crt", "one.key"), at_certificate + "tls_certificate junk.crt: no start line" + pem)
    refused(run, tls("two.crt", "one.key"), at_key + "tls_key one.key does not belong to tls_certificate two.crt")
    os.chmod(run.folder / "one.key", 0o644)
    write(run, "bridge.yaml", tls("one.crt", "one.key"))
    done = run("check")
    assert done.returncode == 1
    assert done.stderr.startswith(at_key + "tls_key: all users of this machine can read one.key (mode 0644): chmod o-rwx one.key")


@pytest.mark.parametrize("broker, said", [
    ('{type: kafka, servers: "127.0.0.1:9", properties: {compresion.type: lz4}}', "compresion.type"),
    ('{type: kafka, servers: "127.0.0.1:9", properties: {acks: several}}', "acks"),
    ('{type: kafka, servers: "127.0.0.1:9", properties: {security.protocol: ssl, ssl.ca.location: /no/ca}}', "/no/ca"),
])
def test_check_looks_at_kafka_properties(run, broker, said):
    write(run, "bridge.yaml", f"broker: {broker}\n" + GOOD + KEPT)
    done = run("check")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bridge.yaml:1:") and "broker.properties" in done.stderr and said in done.stderr


def test_check_names_every_kafka_property(run):
    properties = ["acks: several", "compresion.type: lz4", "group.id: x", "linger.ms: 5", "ssl.ca.location: /no/ca"]
    write(run, "bridge.yaml", f'broker: {{type: kafka, servers: "127.0.0.1:9", properties: {{{", ".join(properties)}}}}}\n' + GOOD + KEPT)
    lines = run("check").stderr.splitlines()
    for one in properties:
        name = one.split(":")[0]
        assert len([line for line in lines if f" broker.properties.{name}: " in line]) == (name != "linger.ms"), lines
    assert len({line.split(": ")[0] for line in lines}) == 4, "each at its own place"


@pytest.mark.parametrize("text, said", [
    ("broker: {path: no/where}\n" + GOOD, 'bridge.yaml:1:16: broker.path: "no/where" cannot be created, the folder above it does not exist'),
    ("broker: {path: bridge.yaml}\n" + GOOD, 'bridge.yaml:1:16: broker.path: "bridge.yaml" is not a folder'),
    (GOOD + KEPT.replace("dead.db", "no/dead.db"), 'bridge.yaml:9:35: sinks.dead.path: the folder "no": No such file or directory'),
    (GOOD + KEPT.replace("dead.db", "/dev/null"), 'bridge.yaml:9:35: sinks.dead.path: "/dev/null" is not a regular file'),
    ("broker: {path: made}\n" + GOOD + KEPT.replace("dead.db", "mode/dead.db"),
     'bridge.yaml:10:35: sinks.dead.path: the folder "mode": No such file or directory'),
    (GOOD.replace("127.0.0.1:0", "unix:no/socket"), 'bridge.yaml:4:13: sources.hooks.listen: the folder "no": No such file or directory'),
])
def test_check_looks_at_folders(run, text, said):
    refused(run, text, said)


APP = """\
sources: {app: {type: sqlite, path: app.db, preset: anythingllm}}
routes: [{topic: events, filter: FILTER}]
sinks: {dead: {type: dead_letter, path: dead.db}}
"""


def warned(run, text):
    """What check warns of, without the place; it is no reason for another exit code."""
    write(run, "bridge.yaml", text)
    done = run("check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ok: ")
    lines = done.stderr.splitlines()
    assert all(line.startswith("bridge.yaml:") and ": warning: " in line for line in lines), done.stderr
    said = json.loads(run("check", "--json").stdout)
    assert said["ok"] is True
    assert [one["severity"] for one in said["problems"]] == ["warning"] * len(lines)
    assert [one["text"] for one in said["problems"]] == [line.split(": warning: ", 1)[1] for line in lines]
    return [one["text"] for one in said["problems"]]


@pytest.mark.parametrize("filter, said", [
    ("{exact: {type: chat.response.genrated}}", 'is "chat.response.genrated" (did you mean chat.response.generated?)'),
    ("{any: [{exact: {type: chat.started}}, {prefix: {type: documents.}}]}", 'begins with "documents."'),
    ("{not: {exact: {type: chats.started}}}", 'is "chats.started" (did you mean chat.started?)'),
    ("{exact: {type: workspace.created}}", 'is "workspace.created"; in the vocabulary that is collection.created'),
    ("{exact: {type: document.ready}}", 'is "document.ready"'),
    ("{prefix: {type: document.}}", None),
    ("{suffix: {type: .embedded}}", None),
    ("{exact: {subject: nothing}}", None),
])
def test_check_warns_of_types_that_no_source_has(run, filter, said):
    write(run, "app.db", "")
    want = [f"routes[0].filter: no source has an event whose type {said}"] if said else []
    assert warned(run, APP.replace("FILTER", filter)) == want


def test_check_warns_of_a_star_in_a_filter(run):
    write(run, "app.db", "")
    said = 'routes[0].filter: a filter takes * for itself; what begins so: prefix: {type: "chat."}'
    assert warned(run, APP.replace("FILTER", "{exact: {type: chat.*}}")) == [said]


@pytest.mark.parametrize("filter, said", [
    ("{exact: {type: document.processed}}", 'is "document.processed"; in the vocabulary that is document.embedded'),
    ("{prefix: {type: workspace.}}", 'begins with "workspace."; in the vocabulary that is collection.'),
    ("{exact: {type: thread.moved}}", 'is "thread.moved"'),
    ("{exact: {type: conversation.create}}", 'is "conversation.create" (did you mean conversation.created?)'),
    ("{exact: {type: chat.response.generated}}", 'is "chat.response.generated"'),
    ("{exact: {type: order_shiped}}", 'is "order_shiped" (did you mean order_shipped?)'),
    ("{exact: {type: order_shipped}}", None),
    ("{exact: {type: github.push}}", None),
    ("{exact: {type: gitlab.push}}", 'is "gitlab.push"'),
])
def test_check_knows_what_is_posted_and_the_vocabulary(run, filter, said):
    paths = """[{path: /a, verify: {scheme: bearer, secrets: [a-token-of-some-length]}, type: order_shipped, cloudevents: none},
             {path: /b, verify: {scheme: github, secrets: [a-token-of-some-length]}}]"""
    text = "sources: {hooks: {type: http, listen: 127.0.0.1:0, paths: %s}}\nroutes: [{topic: events, filter: %s}]\n" % (paths, filter) + \
           "sinks: {dead: {type: dead_letter, path: dead.db}}\n"
    want = [f"routes[0].filter: no source has an event whose type {said}"] if said else []
    assert warned(run, text) == want
    assert warned(run, text.replace(", cloudevents: none", "")) == [], "a CloudEvent can have any type"


SINK = """  crm:
    type: webhook
    topics: [events]
    url: http://127.0.0.1:9/
    unsigned: true
"""
NO = "no event that comes here has "


@pytest.mark.parametrize("more, said", [
    ('body: {text: "{{data.outptu.text}}", a: [{b: "{{data.output.text}} {{data.user.nmae | omit}}"}]}', [
        f'sinks.crm.body.text: {NO}"data.outptu.text" (did you mean data.output.text?)',
        f'sinks.crm.body.a[0].b: {NO}"data.user.nmae" (did you mean data.user.name?)']),
    ('path: "/{{/conversation/idd}}/{{/conversation/id}}"', [f'sinks.crm.path: {NO}"/conversation/idd" (did you mean data.conversation.id?)']),
    ('headers: {X-Thing: "{{ data.nothing_like_it }}"}', [f'sinks.crm.headers.X-Thing: {NO}"data.nothing_like_it"']),
    ('filter: {exact: {type: chat.feedback}, not: {data: {/feedback/scrore: 1, /feedback/score: -1, /before/x: 1}}}', [
        f'sinks.crm.filter.not.data./feedback/scrore: {NO}"/feedback/scrore" (did you mean data.feedback.score?)']),
    ('filter: {exact: {type: document.embedded}}\n    body: {a: "{{data.feedback.score}}"}', [f'sinks.crm.body.a: {NO}"data.feedback.score"']),
    ('body: {a: "{{data.sources.0.name}}", b: "{{data.sources}}", c: "{{data.conversation}}", d: "{{data}} {{data.raw.anything.at.all}}", '
     'e: "{{data.before.x}} {{subject}} data.x {{webhook.id}}"}', []),
    ('body: {a: "{{data.sources.0.nmae}}"}', [f'sinks.crm.body.a: {NO}"data.sources.0.nmae"']),
])
def test_check_warns_of_paths_that_no_event_has(run, more, said):
    write(run, "app.db", "")
    text = APP.replace(", filter: FILTER", "").replace("sinks: {dead: {type: dead_letter, path: dead.db}}", "sinks:\n  dead: {type: dead_letter, path: dead.db}") + SINK + f"    {more}\n"
    assert [one for one in warned(run, text) if "known" not in one] == said
    own = "hooks: {type: http, listen: 127.0.0.1:0, paths: [{path: /a, verify: {scheme: none}, type: order_shipped, cloudevents: none}]}, "
    if "exact" not in more:
        assert not [one for one in warned(run, text.replace("sources: {", "sources: {" + own)) if NO in one], "of other types nothing is known"


def test_check_warns_of_such_paths_at_endpoints_and_routes(run):
    write(run, "app.db", "")
    sink = SINK.replace("    url: http://127.0.0.1:9/\n    unsigned: true\n", """    filter: {prefix: {type: chat.}}
    endpoints:
      a: {url: "http://127.0.0.1:9/", unsigned: true, body: {text: "{{data.documnet.name}}"}}
      b: {url: "http://127.0.0.1:9/", unsigned: true, filter: {exact: {type: chat.feedback}}, body: {text: "{{data.delta.text}}"}}
      c: {url: "http://127.0.0.1:9/", unsigned: true, filter: {exact: {type: chat.response.generated}}, body: {text: "{{data.output.text}}"}}
""")
    text = APP.replace("FILTER", "{data: {/collection/kye: hr}}").replace("sinks: {dead: {type: dead_letter, path: dead.db}}", "sinks:\n  dead: {type: dead_letter, path: dead.db}") + sink
    assert [one for one in warned(run, text) if NO in one] == [
        f'routes[0].filter.data./collection/kye: {NO}"/collection/kye" (did you mean data.collection.key?)',
        f'sinks.crm.endpoints.a.body.text: {NO}"data.documnet.name"',
        f'sinks.crm.endpoints.b.body.text: {NO}"data.delta.text"']


def test_a_sink_may_want_the_events_of_the_bridge_itself(run):
    write(run, "app.db", "")
    sink = "  own: {type: webhook, topics: [aqueduct.attempts], url: http://127.0.0.1:9/, secrets: [a secret of at least 24 characters], filter: {exact: {type: TYPE}}}\n"
    text = APP.replace(", filter: FILTER", "").replace("sinks: {dead: {type: dead_letter, path: dead.db}}", "sinks:\n  dead: {type: dead_letter, path: dead.db}") + sink
    assert warned(run, text.replace("TYPE", "aqueduct.attempt.failed")) == []
    assert warned(run, text.replace("TYPE", "aquduct.attempt.failed")) == [
        'sinks.own.filter: no source has an event whose type is "aquduct.attempt.failed"']


@pytest.mark.parametrize("filter", ["{exact: {type: audit.whatever}}", "{prefix: {type: audit.wh}}", "{exact: {type: workspace.created}}"])
def test_check_knows_that_a_column_may_be_in_a_type(run, filter):
    write(run, "app.db", "")
    assert warned(run, APP.replace("FILTER", filter).replace("anythingllm", "anythingllm-0")) == []


def test_on_kafka_only_routes_are_known_to_be_idle(run):
    write(run, "app.db", "")
    misspelt = "filter: {exact: {type: chat.response.genrated}}"
    text = 'broker: {type: kafka, servers: "127.0.0.1:9"}\n' + APP.replace("filter: FILTER", misspelt).replace(
        "sinks: {", "sinks: {live: {type: websocket, listen: 127.0.0.1:0, topics: [events], %s}, " % misspelt)
    said = [one for one in warned(run, text) if "no source has" in one]
    assert said == ['routes[0].filter: no source has an event whose type is "chat.response.genrated" (did you mean chat.response.generated?)'], \
        "others may fill the topics of a sink, but nothing besides the sources goes through the routes"


TOLD = """\
sources:
  app:
    type: sqlite
    path: app.db
    app: shop
    type_prefix: com.example.
    capture:
      - {name: turns, kind: append, table: turns, data: {conversation.id: r.c, message.id: r.id},
         map: [{type: chat.response.generated, op: [insert], data: {output.text: r.answer}}]}
      - {name: users, kind: append, table: users, data: {user.id: r.id, user.name: r.name}, map: [{type: user.created, op: [insert]}]}
routes: [{topic: ai.chats, filter: {prefix: {type: com.example.chat.}}}, {topic: ai.rest}]
sinks: {dead: {type: dead_letter, path: dead.db}}
"""


@pytest.mark.parametrize("content, topics", [
    ("full", ["ai.chats"]), ("none", []), ("hash, content_key: a-key-of-some-length-1", [])])
def test_check_names_the_topics_that_get_what_people_wrote(run, content, topics):
    with sqlite3.connect(run.folder / "app.db") as app:
        app.executescript("CREATE TABLE turns(id INTEGER PRIMARY KEY, c, answer); CREATE TABLE users(id INTEGER PRIMARY KEY, name)")
    app.close()
    write(run, "bridge.yaml", TOLD.replace("app: shop", f"app: shop\n    content: {content}".replace(", ", "\n    ")))
    done = run("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["ok: 1 source, 1 sink"] + [
        f"topic {topic} gets what people wrote unchanged (source app has content: full; hash or none tells less)" for topic in topics]
    assert json.loads(run("check", "--json").stdout) == {"ok": True, "problems": [], "content": [
        {"topic": t, "sources": ["app"], "why": "content: full; hash or none tells less"} for t in topics]}


def test_check_names_the_option_that_tells_bodies(run):
    write(run, "bridge.yaml", GOOD.replace("    listen:", "    request_log: {requests: all, body: 1KiB}\n    listen:") + KEPT)
    assert run("check").stdout.splitlines()[1:] == [
        "topic events gets what people wrote unchanged (source hooks has request_log.body; without it no body is told)"]


def test_any_type_may_come_by_http(run):
    assert warned(run, GOOD.replace("{topic: events}", "{topic: events, filter: {exact: {type: x}}}") + KEPT) == []


def test_check_warns(run):
    assert warned(run, APP.replace(", filter: FILTER", "")) == [
        'sources.app.path: "app.db" is not there (No such file or directory): the source waits until it is']
    assert warned(run, GOOD) == ["sinks: none of type dead_letter: what cannot be delivered stays on the dead-letter topic, "
                                 "where `aqueduct dead` does not see it"]
    open_path = GOOD.replace('{scheme: bearer, secrets: ["${TOKEN:-a-token-of-some-length}"]}', "{scheme: none}") + KEPT
    assert warned(run, open_path) == []
    assert warned(run, open_path.replace("127.0.0.1:0", "0.0.0.0:0")) == [
        "sources.hooks.paths[0].verify.scheme: none on 0.0.0.0:0, which others reach: whoever connects can send events"]
    told = GOOD.replace("    listen:", "    request_log: {requests: all}\n    listen:").replace(
        "{topic: events}", "{topic: events, filter: {prefix: {type: webhook.}}}") + KEPT
    assert warned(run, told) == [
        "sources.hooks: no route takes its events of type http.request.logged: they are lost"]
    assert warned(run, "unrouted: drop\n" + told) == []
    assert warned(run, GOOD.replace("    listen:", "    trusted_proxies: [10.0.0.1/8, \"::/0\", 10.1.0.0/16]\n    listen:") + KEPT) == [
        "sources.hooks.trusted_proxies: 10.0.0.1/8 is the network 10.0.0.0/8, all of it: write that, or the address alone",
        "sources.hooks.trusted_proxies: ::/0 is every address, so everybody may come"]
    admin = 'admin: {listen: "[::]:9464"}\n'
    assert warned(run, admin + GOOD + KEPT) == [
        "admin.listen: others reach [::]:9464, and without tokens whoever connects sees metrics and names"]
    assert warned(run, admin.replace("}", ", tokens: [a-token-of-some-length]}") + GOOD + KEPT) == []


def test_check_looks_at_the_file_of_dead_letters(run):
    at = 'bridge.yaml:9:35: sinks.dead.path: '
    with sqlite3.connect(run.folder / "dead.db") as other:
        other.execute("CREATE TABLE t(a)")
    other.close()
    refused(run, GOOD + KEPT, at + "dead.db: is a database, but not a file of dead letters")
    write(run, "dead.db", "only text, and enough of it to be no header of a database at all\n" * 20)
    refused(run, GOOD + KEPT, at + "dead.db: is not a file of dead letters, nor any SQLite database; it is left alone, name another path")
    write(run, "dead.db", "")
    assert warned(run, GOOD + KEPT) == []
    with sqlite3.connect(run.folder / "dead.db") as ours:
        ours.executescript("CREATE TABLE letters(a); PRAGMA application_id = 1095846980; PRAGMA user_version = 1")
    ours.close()
    assert warned(run, GOOD + KEPT) == []
    assert sorted(one.name for one in run.folder.iterdir()) == ["bridge.yaml", "dead.db"]


def test_check_looks_at_addresses(run):
    refused(run, 'admin: {listen: "192.0.2.1:9464", tokens: [a-token-of-some-length]}\n' + GOOD + KEPT,
            "bridge.yaml:1:17: admin.listen: cannot listen on 192.0.2.1:9464: Cannot assign requested address; "
            "this machine has no such address")
    refused(run, GOOD.replace("127.0.0.1:0", "192.0.2.1:0") + KEPT,
            "bridge.yaml:4:13: sources.hooks.listen: cannot listen on 192.0.2.1:0: Cannot assign requested address; "
            "this machine has no such address")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert warned(run, f'admin: {{listen: "127.0.0.1:{taken.getsockname()[1]}"}}\n' + GOOD + KEPT) == [], "the daemon runs"


CAPTURE = """\
sources:
  app:
    type: sqlite
    path: app.db
    capture:
      - {name: r, kind: append, table: t, types: {insert: a.b}RULE}
routes: [{topic: events}]
sinks: {dead: {type: dead_letter, path: dead.db}}
"""
RULE_AT = "sources.app.capture[0]."


@pytest.fixture(params=["delete", "wal"])
def database(run, request):
    db = sqlite3.connect(run.folder / "app.db")
    db.execute(f"PRAGMA journal_mode = {request.param}")
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, value, created INTEGER)")
    db.commit()
    db.close()
    yield
    assert sorted(one.name for one in run.folder.iterdir()) == ["app.db", "bridge.yaml"], "check leaves nothing"


@pytest.mark.parametrize("rule, said", [
    (", cursor: creatd", 'cursor: there is no column "creatd" in t (did you mean created?)'),
    (", key: idd", 'key: there is no column "idd" in t (did you mean id?)'),
    (", time: nothing_like_it", 'time: there is no column "nothing_like_it" in t'),
    (', subject: "x/{valu}"', 'subject: there is no column "valu" in t (did you mean value?)'),
    (", mask: [valeu]", 'mask: there is no column "valeu" in t (did you mean value?)'),
    (", never: [valeu]", 'never: there is no column "valeu" in t (did you mean value?)'),
    (", columns: {valeu: json}", 'columns: there is no column "valeu" in t (did you mean value?)'),
    (', where: "valeu > 1"', "where: no such column: valeu (did you mean value?)"),
    (", cursor: rowid", None),
    (', where: "value > 1", subject: "x/{value}", cursor: id', None),
])
def test_check_fits_rules_to_the_database(run, database, rule, said):
    assert warned(run, CAPTURE.replace("RULE", rule)) == ([RULE_AT + said] if said else [])


def test_check_names_a_table_that_is_not_there(run, database):
    text = CAPTURE.replace("RULE", "").replace("table: t,", "table: tt,")
    assert warned(run, text) == [RULE_AT + 'table: there is no table "tt" (did you mean t?)']
    with sqlite3.connect(run.folder / "app.db") as db:
        db.execute("DROP TABLE t")
    db.close()
    assert warned(run, text) == [], "its application has not made any yet"


def test_check_refuses_sql_that_is_none(run, database):
    refused(run, CAPTURE.replace("RULE", ', where: "syntax error here("'),
            'bridge.yaml:6:72: ' + RULE_AT + 'where: near "error": syntax error')
    refused(run, CAPTURE.replace("append", "open_row").replace("RULE", ', done: "value >"').replace("insert", "done"),
            'bridge.yaml:6:71: ' + RULE_AT + 'done: syntax error: the SQL is not complete, something is missing at its end')
    refused(run, CAPTURE.replace("RULE", '').replace("table: t", 'select: "SELEC 1"'),
            'bridge.yaml:6:41: ' + RULE_AT + 'select: near "1": syntax error')


def test_check_refuses_what_is_no_database(run):
    at = "bridge.yaml:4:11: sources.app.path: "
    (run.folder / "app.db").mkdir()
    refused(run, CAPTURE.replace("RULE", ""), at + '"app.db" is a folder; name the database file itself')
    (run.folder / "app.db").rmdir()
    write(run, "app.db", "some text\n")
    refused(run, CAPTURE.replace("RULE", ""), at + '"app.db" is no SQLite database, or it is encrypted')


def test_check_leaves_a_database_at_work_alone(run, database):
    db = sqlite3.connect(run.folder / "app.db")
    db.execute("BEGIN EXCLUSIVE")
    db.execute("INSERT INTO t(value) VALUES(1)")
    write(run, "bridge.yaml", CAPTURE.replace("RULE", ", cursor: id"))
    assert run("check").returncode == 0
    db.execute("COMMIT")
    db.close()


def test_check_says_all_that_is_wrong_with_a_receiver(run):
    wrong = ('secrets: [short, "also short"], ca_file: no.pem, reject: [404, 2xx], headers: {"a b": x, webhook-id: q, Content-Length: "1"}')
    write(run, "bridge.yaml", GOOD.replace('secrets: ["a secret of at least 24 characters"]', wrong) + KEPT)
    lines = run("check").stderr.splitlines()
    for place in ["secrets[0]", "secrets[1]", "ca_file", "reject[1]"]:
        assert [place for line in lines if f" sinks.crm.{place}: " in line] == [place], lines
    assert len([line for line in lines if " sinks.crm.headers: " in line]) == 3
    write(run, "bridge.yaml", GOOD.replace('url: "http://127.0.0.1:9/", secrets: ["a secret of at least 24 characters"]',
          'endpoints: {a: {url: "ftp://x", unsigned: true, ca_file: no.pem}, b: {url: "http://127.0.0.1:9/", secrets: [short, shorter]}}'))
    text = run("check").stderr
    for place in ["a.url", "a.ca_file", "b.secrets[0]", "b.secrets[1]"]:
        assert f" sinks.crm.endpoints.{place}: " in text, text


def test_warnings_do_not_hinder_a_command(run):
    write(run, "bridge.yaml", GOOD + KEPT)
    done = run("dead", "list")
    assert (done.returncode, "warning" in done.stderr.replace(str(run.folder), "")) == (1, False)


def test_check_of_a_pipe_ends(run):
    os.mkfifo(run.folder / "pipe")
    done = run("check", "-c", "pipe")
    assert (done.returncode, done.stderr) == (1, "pipe: cannot be read: it is no regular file, and did not end within 5 s\n")


def test_what_cannot_be_printed_is_said(run, aqueduct):
    """Half a list looks like a whole one."""
    for words in ("schema", "version", "help metrics"):
        for where in (">/dev/full", ">&-"):
            done = subprocess.run(["sh", "-c", f"'{aqueduct}' {words} {where}"], cwd=run.folder, capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stderr.startswith("aqueduct: what it prints cannot be written")) == (1, True), (words, where, done.stderr)


def test_a_problem_of_a_file_whose_name_is_no_text_is_in_the_json(run, aqueduct):
    done = subprocess.run([aqueduct, "check", "--json", "-c", b"\xff.yaml"], cwd=run.folder, capture_output=True, text=True, timeout=60)
    problem, = json.loads(done.stdout)["problems"]
    assert (done.returncode, problem["file"], problem["text"]) == (1, "?", "cannot be read: No such file or directory")


def test_what_is_closed_becomes_no_other_file(run, aqueduct):
    """Else the next file or connection that is opened would get what is printed."""
    os.mkfifo(run.folder / "pipe")
    process = subprocess.Popen(["sh", "-c", f"exec '{aqueduct}' check -c pipe <&- >&- 2>&-"], cwd=run.folder)
    try:
        def standard():
            with contextlib.suppress(OSError):
                return os.readlink(f"/proc/{process.pid}/exe").endswith("aqueduct") and [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in range(3)]
        wait_for(lambda: standard() == ["/dev/null"] * 3, 4, standard)
    finally:
        assert process.wait(60) == 1


# ---- dead: only what it needs ----

def test_dead_needs_no_secrets_of_others(run):
    missing = GOOD.replace("${TOKEN:-a-token-of-some-length}", "${NOT_SET}").replace('"a secret of', '"${file:/not/there}a secret of')
    write(run, "bridge.yaml", missing + KEPT)
    assert "NOT_SET" in run("check").stderr
    done = run("dead", "list")
    assert done.stderr == (f"aqueduct dead: {run.folder}/dead.db: cannot be opened: No such file or directory; path is relative: "
                           "a daemon that starts in this folder creates it; run this where the daemon runs\n")
    write(run, "bridge.yaml", missing + KEPT.replace("dead.db", '"${NOT_SET}"'))
    assert run("dead", "list").stderr.startswith("bridge.yaml:9:35: the environment variable NOT_SET is not set")


def test_dead_knows_its_classes(run):
    write(run, "bridge.yaml", GOOD + KEPT)
    done = run("dead", "list", "--class", "refusd")
    assert done.returncode == 2
    assert done.stderr == ('aqueduct: --class: "refusd" is not one of refused, unavailable, configuration, poison, blocked, orphaned, invalid, '
                           'unrouted (did you mean refused?); see aqueduct help dead\n')


# ---- schema ----

def test_schema_is_the_one_that_is_kept(run):
    done = run("schema")
    assert done.returncode == 0
    kept = (ROOT / "schemas/config.schema.json").read_text()
    assert done.stdout == kept, "renew it: aqueduct schema > schemas/config.schema.json"


def test_help_of_events(run):
    types = sorted(file.name.rsplit(".", 3)[0] for file in (ROOT / "schemas/events").iterdir())
    listed = run("help", "events").stdout
    assert sorted(re.findall(r"^  ([a-z_.]+) +[A-Z]", listed, flags=re.M)) == types
    one = run("help", "events", "document.embedded")
    assert one.returncode == 0
    assert "\n  document.sha256 " in one.stdout and "usage." not in one.stdout and "Required:   app.name, document.id, collection\n" in one.stdout
    for example in (ROOT / "schemas/examples/document.embedded").iterdir():
        assert f"\nExample, {example.stem}:\n{example.read_text()}" in one.stdout
    wrong = run("help", "events", "document.embeded")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "did you mean document.embedded?" in wrong.stderr
    assert "did you mean events?" in run("help", "event").stderr


def test_schema_of_a_type(run):
    opened, closed = (json.loads(run("schema", *flags, "chat.edited").stdout) for flags in ([], ["--closed"]))
    assert opened["$id"] == closed["$id"] == "urn:aqueduct:event/chat.edited/1"
    assert opened["properties"]["message"] == {"$ref": "#/$defs/message"} and "message" in opened["$defs"]
    assert "additionalProperties" not in json.dumps(opened)
    assert closed["additionalProperties"] is False and closed["$defs"]["message"]["additionalProperties"] is False
    assert run("schema", "asyncapi").stdout == (ROOT / "schemas/asyncapi.yaml").read_text()


def test_schemas_of_a_registry(run):
    assert run("schema", "avro-columns").stdout == (ROOT / "schemas/event.avsc").read_text()
    assert json.loads(run("schema", "avro").stdout)["name"] == "CloudEvent"
    assert json.loads(run("schema", "json-schema").stdout)["title"] == "io.cloudevents.JsonCloudEvent"


def test_example_of_the_help_is_right(run):
    example = run("--help").stdout.split("bridge.yaml:\n\n", 1)[1].split("\n\n", 1)[0]
    write(run, "secret", "a secret of at least 24 characters\n")
    os.chmod(run.folder / "secret", 0o600)
    write(run, "bridge.yaml", example.replace("/run/secrets/crm", "secret"))
    done = run("check", env={"INGEST_TOKEN": "a token of some length"})
    assert (done.returncode, done.stderr) == (0, "")


# ---- completion, manual page ----

def completed(shell, script, words, **more):
    """What the shell offers for the last of the words."""
    if shell == "bash":
        line = " ".join(words)
        say = f"source {script}; COMP_WORDS=({line}{' ' + chr(39) * 2 if line.endswith(' ') else ''}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _aqueduct; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        return subprocess.run(["bash", "-c", say], capture_output=True, text=True, check=True, **more).stdout.split()
    say = f"source {script}; complete -C '{' '.join(words)}'"
    return [row.split("\t")[0] for row in subprocess.run(["fish", "-c", say], capture_output=True, text=True, check=True, **more).stdout.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_a_shell_completes_commands_words_flags_and_their_values(run, shell):
    write(run, "script", run("completion", shell).stdout)
    script = run.folder / "script"
    assert completed(shell, script, ["aqueduct", "stat"]) == ["status"]
    assert {"list", "show", "redrive", "discard"} <= set(completed(shell, script, ["aqueduct", "dead", ""]))
    assert {"--json", "--sink", "--config"} <= set(completed(shell, script, ["aqueduct", "status", "--"]))
    assert sorted(completed(shell, script, ["aqueduct", "status", "--list", ""])) == ["listeners", "pending", "waiting"]


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_a_shell_completes_names_of_the_configuration(run, aqueduct, shell):
    """Also when a secret that it needs is not there."""
    write(run, "bridge.yaml", EXPLAINED.replace("a secret of at least 24 characters", "${NOT_SET}"))
    write(run, "script", run("completion", shell).stdout)
    (run.folder / "bin").mkdir()
    (run.folder / "bin/aqueduct").symlink_to(aqueduct)
    more = {"cwd": run.folder, "env": {**os.environ, "PATH": f"{run.folder}/bin:{os.environ['PATH']}"}}
    script = run.folder / "script"
    assert sorted(completed(shell, script, ["aqueduct", "status", "--sink", ""], **more)) == ["archive", "crm"]
    assert sorted(completed(shell, script, ["aqueduct", "resend", "--to", ""], **more)) == ["archive", "crm/all", "crm/hr"]
    assert set(completed(shell, script, ["aqueduct", "tail", "--topic", ""], **more)) >= {"rest"}
    assert run("completion", "names", "sinks", "-c", "gone.yaml").stdout == ""
    done = run("completion", "names", "sink")
    assert done.returncode == 2 and "(did you mean sinks?)" in done.stderr


def test_an_installation_has_manual_page_completions_presets_unit_and_bill_of_materials(aqueduct, tmp_path):
    build = pathlib.Path(aqueduct).parent
    if not (build / "CMakeCache.txt").exists():
        pytest.skip("the program lies in no build folder")
    subprocess.run(["cmake", "--install", build, "--prefix", tmp_path], check=True, capture_output=True)
    program, share = tmp_path / "bin/aqueduct", tmp_path / "share"
    for words, file in [(["completion", "bash"], "bash-completion/completions/aqueduct"),
                        (["completion", "zsh"], "zsh/site-functions/_aqueduct"), (["completion", "fish"], "fish/vendor_completions.d/aqueduct.fish")]:
        assert (share / file).read_text() == subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout
    manual = subprocess.run([program, "man"], capture_output=True, check=True).stdout
    assert gzip.decompress((share / "man/man1/aqueduct.1.gz").read_bytes()) == manual
    assert (share / "aqueduct/presets/anythingllm.yaml").is_file()
    unit = (tmp_path / "lib/systemd/system/aqueduct.service").read_text()
    assert f"\nExecStart={program} run -c /etc/aqueduct/bridge.yaml\n" in unit and "PREFIX" not in unit
    bill = json.loads((share / "doc/aqueduct/sbom.cdx.json").read_text())
    assert bill["metadata"]["component"]["hashes"][0]["content"] == hashlib.sha256(program.read_bytes()).hexdigest()
    loaded = {line.split()[0].split("/")[-1] for line in subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.splitlines()}
    assert loaded - {part["properties"][0]["value"] for part in bill["components"]} <= {"linux-vdso.so.1"}


def test_zsh_reads_its_completion(run):
    write(run, "script", run("completion", "zsh").stdout)
    say = "autoload -U compinit; compinit -u -D; source ./script; print $_comps[aqueduct]"
    done = subprocess.run(["zsh", "-f", "-c", say], cwd=run.folder, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("_aqueduct\n", "")


def test_a_shell_that_is_unknown_is_wrong_usage(run):
    done = run("completion", "tcsh")
    assert done.returncode == 2 and "tcsh" in done.stderr


def test_the_manual_page_names_every_command_and_is_valid_roff(run):
    page = run("man").stdout
    names = re.findall(r"^  ([a-z]+)\b", run("--help").stdout.split("Flags:")[0], re.M)
    assert len(names) > 10 and all(f".SS aqueduct {name}" in page for name in names)
    done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8"], input=page, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# ---- explain ----

EXPLAINED = """\
sources: {hooks: {type: http, listen: "127.0.0.1:0", paths: [{path: /v1, verify: {scheme: bearer, secrets: [a-token-of-some-length]}}]}}
routes:
  - {topic: docs, filter: {prefix: {type: document.}}}
  - {topic: chats, filter: {prefix: {type: chat.}}}
  - {topic: rest}
sinks:
  archive: {type: webhook, topics: [docs], url: "http://127.0.0.1:9/", secrets: ["a secret of at least 24 characters"]}
  crm:
    type: webhook
    topics: [chats]
    endpoints:
      hr: {url: "http://127.0.0.1:9/", secrets: ["a secret of at least 24 characters"], filter: {data: {/collection/key: hr}}}
      all: {url: "http://127.0.0.1:9/", secrets: ["a secret of at least 24 characters"]}
"""


def test_explain_says_who_takes_an_event_and_why_others_do_not(run):
    write(run, "bridge.yaml", EXPLAINED)
    write(run, "event.json", json.dumps({"specversion": "1.0", "id": "7", "type": "chat.edited", "source": "/s", "data": {"collection": {"key": "it"}}}))
    done = run("explain", "event.json", "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 0 and done.stderr == ""
    assert [(r["topic"], r["takes"], r["why"]) for r in said["routes"]] == [
        ("docs", False, 'type "chat.edited" does not begin with "document."'), ("chats", True, None),
        ("rest", False, "route 2 took it before, and has no also: true")]
    assert [(s["sink"], s["endpoint"], s["takes"], s["why"]) for s in said["sinks"]] == [
        ("archive", None, False, "none of its topics gets it"), ("crm", "hr", False, 'data /collection/key "it" is not "hr"'), ("crm", "all", True, None)]
    shown = run("explain", "event.json").stdout
    assert re.search(r"^  crm/hr +no: data /collection/key \"it\" is not \"hr\"$", shown, re.M) and re.search(r"^  crm/all +yes$", shown, re.M)


def test_explain_of_what_nobody_takes_and_of_what_is_no_event(run):
    write(run, "bridge.yaml", EXPLAINED)
    write(run, "event.json", json.dumps({"specversion": "1.0", "id": "7", "type": "user.login", "source": "/s"}))
    assert run("explain", "event.json").returncode == 1
    write(run, "event.json", json.dumps({"type": "chat.edited", "id": "7", "data": {"collection": {"key": "hr"}}}))   # as in a case of `test`
    shown = run("explain", "event.json")
    assert shown.returncode == 0 and "\nassumed, for the event does not say it: specversion 1.0, source /test\n" in shown.stdout
    assert json.loads(run("explain", "event.json", "--json").stdout)["assumed"] == {"specversion": "1.0", "source": "/test"}
    write(run, "event.json", json.dumps({"type": "chat.edited", "id": 7}))
    assert run("explain", "event.json").returncode == 1
    write(run, "event.json", "{}")
    done = run("explain", "event.json")
    assert done.returncode == 1 and done.stderr.startswith("aqueduct explain: this is no CloudEvent in JSON: ") and "aqueduct help test" in done.stderr
    assert run("explain", "event.json", "--event", "7").returncode == 2
    assert "there is no log yet" in run("explain", "--event", "7").stderr


def test_the_version_for_scripts_and_a_sink_that_is_misspelt(run):
    assert json.loads(run("version", "--json").stdout)["version"] == run("version").stdout.split()[1]
    write(run, "bridge.yaml", GOOD)
    done = run("sign", "--sink", "cmr")
    assert done.returncode == 1 and "no webhook sink named cmr (did you mean crm?)" in done.stderr
