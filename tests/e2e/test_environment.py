# SPDX-License-Identifier: MIT
"""A configuration by the environment: whole without a file, or single keys over what a file says; where a mistake is, and that no secret is shown."""
import contextlib
import json
import re
import signal
import sqlite3
import subprocess

import pytest

import aqueduct as support
from conftest import SECRET, TOKEN, Daemon, event, free_port, post, wait_for

WHOLE = {"AQUEDUCT_HTTP_TOKEN": TOKEN, "AQUEDUCT_WEBHOOK_URL": "http://127.0.0.1:9/hooks", "AQUEDUCT_WEBHOOK_SECRET": SECRET}


class Bare(Daemon):
    """Started in its folder without a file."""

    def start(self, **switches):
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen([self.binary, "run"], cwd=self.folder, env=support.environment(**switches), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)


@pytest.fixture
def say(aqueduct, tmp_path):
    return lambda *words, **env: subprocess.run([aqueduct, *words], cwd=tmp_path, env=support.environment(**env), capture_output=True, text=True, timeout=60)


def test_the_environment_alone_is_a_whole_configuration(aqueduct, tmp_path, receivers, say):
    receiver = receivers(lambda r: 422 if r["subject"] == "no" else 204)
    env = WHOLE | {"AQUEDUCT_WEBHOOK_URL": receiver.url, "AQUEDUCT_HTTP_LISTEN": "127.0.0.1:0", "AQUEDUCT_LIVE_LISTEN": "127.0.0.1:0", "AQUEDUCT_LOG_FORMAT": "json",
                   "AQUEDUCT_ADMIN_LISTEN": f"127.0.0.1:{free_port()}", "AQUEDUCT_DATA": str(tmp_path / "kept"), "AQUEDUCT_TOPIC": "chats"}
    daemon = Bare(aqueduct, "", tmp_path, env).ready()
    try:
        for one in (event("by-env-1"), event("by-env-2", subject="no")):
            assert post(daemon, one, path="/v1/events", source="http").status_code == 202
        receiver.delivered(["by-env-1"])
        assert say("status", "--ready", **env).stdout == "ready\n"
        account = json.loads(say("status", "--json", **env).stdout)
        assert {s["sink"] for s in account["sinks"]} == {"webhook", "live", "failed"} and account["sinks"][0]["topics"][0]["topic"] == "chats"
        wait_for(lambda: "by-env-2" in say("dead", "list", **env).stdout)
        assert (tmp_path / "kept/dead-letters.db").exists() and (tmp_path / "kept/aqueduct.db").exists()
        assert say("reload", **env).returncode == 0
        assert SECRET not in daemon.log() and TOKEN not in daemon.log()
    finally:
        daemon.stop()


def test_each_variable_of_the_small_set_has_its_place(say, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as db:
        db.execute("CREATE TABLE execution_entity(id INTEGER PRIMARY KEY)")
    every = {"AQUEDUCT_SQLITE_PATH": ("sources.app.path", "app.db"), "AQUEDUCT_SQLITE_PRESET": ("sources.app.preset", "n8n"), "AQUEDUCT_SQLITE_START": ("sources.app.start", "snapshot"),
             "AQUEDUCT_SQLITE_CONTENT": ("sources.app.content", "none"), "AQUEDUCT_HTTP_TOKEN": ("sources.http.paths[0].verify.secrets", TOKEN), "AQUEDUCT_HTTP_LISTEN": ("sources.http.listen", "127.0.0.1:0"),
             "AQUEDUCT_KAFKA_BOOTSTRAP": ("broker.servers", "kafka-1:9092"), "AQUEDUCT_KAFKA_SECURITY_PROTOCOL": ("broker.properties", "sasl_ssl"),
             "AQUEDUCT_KAFKA_SASL_MECHANISM": ("broker.properties", "PLAIN"), "AQUEDUCT_KAFKA_SASL_USERNAME": ("broker.properties", "bridge"),
             "AQUEDUCT_KAFKA_SASL_PASSWORD": ("broker.properties", "a password of theirs"), "AQUEDUCT_WEBHOOK_URL": ("sinks.webhook.url", "https://crm.example.com/hooks/secret-in-path"),
             "AQUEDUCT_WEBHOOK_SECRET": ("sinks.webhook.secrets", SECRET), "AQUEDUCT_WEBHOOK_FOR": ("sinks.webhook.for", "n8n"), "AQUEDUCT_LIVE_LISTEN": ("sinks.live.listen", "127.0.0.1:0"),
             "AQUEDUCT_LIVE_TOKEN": ("sinks.live.tokens", "another-token-of-some-length"), "AQUEDUCT_TOPIC": ("routes[0].topic", "all"), "AQUEDUCT_DATA": ("sinks.failed.path", "kept"),
             "AQUEDUCT_ADMIN_LISTEN": ("admin.listen", "127.0.0.1:0"), "AQUEDUCT_LOG_LEVEL": ("log.level", "debug"), "AQUEDUCT_LOG_FORMAT": ("log.format", "json")}
    help_text = say("help", "environment").stdout
    assert set(every) == set(re.findall(r"^  (AQUEDUCT_(?!_)\w+)(?=$|  )", help_text, re.MULTILINE))
    (tmp_path / "kept").mkdir()
    env = {name: value for name, (_, value) in every.items()}
    unsigned = json.loads(say("check", "--show", "--json", **{n: v for n, v in env.items() if n != "AQUEDUCT_WEBHOOK_SECRET"}).stdout)["values"]
    assert ("sinks.webhook.for", "AQUEDUCT_WEBHOOK_FOR") in [(one["path"], one["file"]) for one in unsigned]
    del env["AQUEDUCT_WEBHOOK_FOR"], every["AQUEDUCT_WEBHOOK_FOR"]      # n8n verifies no signature
    done = say("check", "--show", "--json", **env)
    told = json.loads(done.stdout)
    assert told["ok"], told["problems"]
    by_path = {one["path"]: one for one in told["values"]}
    for name, (path, value) in every.items():
        one = by_path[path]
        assert name == one["file"] or value in one["value"] or path == "broker.properties", (name, one)
        assert value in one["value"] or "(hidden)" in one["value"] or (name, one["value"]) == ("AQUEDUCT_WEBHOOK_URL", "${AQUEDUCT_WEBHOOK_URL}"), one   # what is in force
    for secret in (TOKEN, SECRET, "a password of theirs", "secret-in-path", "another-token-of-some-length"):
        assert secret not in done.stdout + done.stderr


def test_a_secret_of_a_file_is_named_by_a_variable_and_read_again(aqueduct, tmp_path, receivers, say):
    receiver = receivers(secrets=(SECRET, "whsec_" + "QUFB" * 8))
    for name, text in (("token", TOKEN), ("secret", SECRET)):
        (tmp_path / name).write_text(text + "\n")
        (tmp_path / name).chmod(0o600)
    env = {"AQUEDUCT_HTTP_TOKEN_FILE": str(tmp_path / "token"), "AQUEDUCT_HTTP_LISTEN": "127.0.0.1:0", "AQUEDUCT_WEBHOOK_URL": receiver.url,
           "AQUEDUCT_WEBHOOK_SECRET_FILE": str(tmp_path / "secret"), "AQUEDUCT_ADMIN_LISTEN": f"127.0.0.1:{free_port()}"}
    daemon = Bare(aqueduct, "", tmp_path, env).ready()
    try:
        assert post(daemon, event("one"), path="/v1/events", source="http").status_code == 202
        receiver.delivered(["one"])
        (tmp_path / "token").write_text("a-later-token-of-some-length\n")
        daemon.signal(signal.SIGHUP)
        wait_for(lambda: post(daemon, event("two"), path="/v1/events", source="http", token="a-later-token-of-some-length").status_code == 202, why=daemon.log)
        receiver.delivered(["two"])
    finally:
        daemon.stop()


FILE = """
broker: {type: local, path: data}
admin: {listen: ""}
routes: [{topic: events, filter: {prefix: {type: a.}}}, {topic: others}]
sinks:
  crm-eu: {type: webhook, topics: [events], url: "https://crm.example.com/hooks", secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}
"""


def test_a_variable_says_any_key_over_a_file(say, tmp_path):
    (tmp_path / "bridge.yaml").write_text(FILE)
    done = say("check", "--show", AQUEDUCT__SINKS__CRM_EU__URL="https://other.example.com/h", AQUEDUCT__ROUTES__1__TOPIC="events", AQUEDUCT__SINKS__CRM_EU__RETRY="[1s, 1m]",
               AQUEDUCT__SINKS__CRM_EU__CONCURRENCY="7", AQUEDUCT__LOG__LEVEL="debug", AQUEDUCT__SINKS__LIVE='{type: websocket, listen: "127.0.0.1:0", topics: [events]}')
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for line in ("sinks.crm-eu.url = ${AQUEDUCT__SINKS__CRM_EU__URL}  (AQUEDUCT__SINKS__CRM_EU__URL)", "sinks.crm-eu.topics = [events]  (bridge.yaml:6)",
                 "routes[0].topic = events  (bridge.yaml:4)", "routes[1].topic = ${AQUEDUCT__ROUTES__1__TOPIC}  (AQUEDUCT__ROUTES__1__TOPIC)",
                 "sinks.crm-eu.retry = [1s, 1m]  (AQUEDUCT__SINKS__CRM_EU__RETRY:1)", "sinks.crm-eu.secrets = [(hidden)]  (bridge.yaml:6)", "ok: 0 sources, 2 sinks"):
        assert line in lines, done.stdout


@pytest.mark.parametrize("env,line", [
    ({"AQUEDUCT__SINKS__CRM_EU__URLL": "x"}, 'AQUEDUCT__SINKS__CRM_EU__URLL: sinks.crm-eu: unknown key "urll" (did you mean url?)'),
    ({"AQUEDUCT__SINKS__CRM_EU__CONCURRENCY": "many"}, 'AQUEDUCT__SINKS__CRM_EU__CONCURRENCY: sinks.crm-eu.concurrency: "${AQUEDUCT__SINKS__CRM_EU__CONCURRENCY}" is not a whole number'),
    ({"AQUEDUCT__SINKS__CRM_EU__RETRY": "[1s, 5x]"}, 'AQUEDUCT__SINKS__CRM_EU__RETRY:1:6: sinks.crm-eu.retry[1]: "5x" is not a duration'),
    ({"AQUEDUCT__SINKS__CRM_EU__RETRY": "[1s"}, "AQUEDUCT__SINKS__CRM_EU__RETRY: sinks.crm-eu.retry: not valid YAML"),
    ({"AQUEDUCT__SINKS__CRM_EU__RETRY": "[${NOT_THERE}]"}, "AQUEDUCT__SINKS__CRM_EU__RETRY: the environment variable NOT_THERE is not set"),
    ({"AQUEDUCT__SINKS__CRM_EU__FILTER": "{exact: {"}, "AQUEDUCT__SINKS__CRM_EU__FILTER: sinks.crm-eu.filter: not valid YAML"),
    ({"AQUEDUCT__SINKS__CRM_EU": "{url"}, "AQUEDUCT__SINKS__CRM_EU: sinks.crm-eu: not valid YAML"),
    ({"AQUEDUCT__SINKS__CRM_EU__CONCURRENCY": "1", "AQUEDUCT__sinks__crm_eu__concurrency": "2"},
     "AQUEDUCT__sinks__crm_eu__concurrency: is the same key as AQUEDUCT__SINKS__CRM_EU__CONCURRENCY: leave one of them away"),
    ({"AQUEDUCT__SINKS__CRM_EU__TOPICS": "events"}, "AQUEDUCT__SINKS__CRM_EU__TOPICS: sinks.crm-eu.topics: must be a list"),
    ({"AQUEDUCT__ROUTES__5__TOPIC": "x"}, "AQUEDUCT__ROUTES__5__TOPIC: names entry 5 of a list that has 2, so that the next is 2"),
    ({"AQUEDUCT__SINKS__CRM_EU__SECRETS__2": "x"}, "AQUEDUCT__SINKS__CRM_EU__SECRETS__2: names entry 2 of a list that has 1, so that the next is 1"),
    ({"AQUEDUCT__SINKS____URL": "x"}, "AQUEDUCT__SINKS____URL: names no key: "),
    ({"AQUEDUCT__SINKS__CRM_EU__URL__X": "x"}, "AQUEDUCT__SINKS__CRM_EU__URL__X: names no key: "),
    ({"AQUEDUCT__SINKS__CRM_EU__URL": "${NOT_THERE}"}, "AQUEDUCT__SINKS__CRM_EU__URL: "),
])
def test_a_mistake_in_a_variable_is_told_by_its_name(say, tmp_path, env, line):
    (tmp_path / "bridge.yaml").write_text(FILE)
    done = say("check", **env)
    assert done.returncode == 1 and any(one.startswith(line) for one in done.stderr.splitlines()), done.stderr


@pytest.mark.parametrize("value", ["[@, a-secret-of-some-length]", '["@", a-secret-of-some-length]', "[a-secret-of-some-length", "{a-secret-of-some-length}", "[!a-secret of-some-length]", "{a-secret: 1, a-secret: 2}"])
def test_a_text_that_looks_like_a_list_is_a_text(say, tmp_path, value):
    """A password may begin with any letter; none of it is shown."""
    env = WHOLE | {"AQUEDUCT_HTTP_TOKEN": value, "AQUEDUCT_KAFKA_BOOTSTRAP": "kafka-1:9092", "AQUEDUCT_KAFKA_SECURITY_PROTOCOL": "sasl_plaintext",
                   "AQUEDUCT_KAFKA_SASL_MECHANISM": "PLAIN", "AQUEDUCT_KAFKA_SASL_USERNAME": "u", "AQUEDUCT_KAFKA_SASL_PASSWORD": value, "AQUEDUCT_TOPIC": "events",
                   "AQUEDUCT__SINKS__LIVE__TYPE": "websocket", "AQUEDUCT__SINKS__LIVE__LISTEN": "127.0.0.1:0", "AQUEDUCT__SINKS__LIVE__TOPICS": "[events]", "AQUEDUCT__SINKS__LIVE__TOKENS__0": value}
    done = say("check", "--show", **env)
    assert done.returncode == 0, done.stderr
    assert value not in done.stdout + done.stderr and "a-secret" not in done.stdout + done.stderr


def test_addresses_of_ipv6_and_templates_begin_like_yaml(say, tmp_path):
    env = WHOLE | {"AQUEDUCT_HTTP_LISTEN": "[::1]:8080", "AQUEDUCT_LIVE_LISTEN": "[::1]:8081", "AQUEDUCT_ADMIN_LISTEN": "[::1]:9464",
                   "AQUEDUCT__SINKS__LIVE__LISTEN": "[::1]:8082", "AQUEDUCT__SINKS__WEBHOOK__BODY": "{{data.text}}"}
    del env["AQUEDUCT_LIVE_LISTEN"]
    env |= {"AQUEDUCT__SINKS__LIVE__TYPE": "websocket", "AQUEDUCT__SINKS__LIVE__TOPICS": "[events]"}
    done = say("check", "--show", **env)
    assert done.returncode == 0, done.stderr
    assert "admin.listen = [::1]:9464  (AQUEDUCT_ADMIN_LISTEN)" in done.stdout.splitlines()


def test_entries_of_a_list_come_in_the_order_of_their_numbers(say):
    """The tenth is not the one behind the first."""
    env = WHOLE | {f"AQUEDUCT__ROUTES__{i}__{key}": value for i in range(12) for key, value in (("TOPIC", f"t{i}"), ("FILTER", f"{{exact: {{type: t.{i}}}}}"))}
    env |= {"AQUEDUCT__SINKS__WEBHOOK__TOPICS": "[" + ", ".join(f"t{i}" for i in range(12)) + "]"}
    done = say("check", "--show", **env)
    assert done.returncode == 0, done.stderr
    topics = dict(re.findall(r"routes\[(\d+)\]\.topic = \$\{AQUEDUCT__ROUTES__(\d+)__TOPIC\}", done.stdout))
    assert topics == {str(i): str(i) for i in range(12)}, done.stdout


def test_no_variable_is_blamed_that_is_not_set(say):
    env = {"AQUEDUCT_HTTP_TOKEN": TOKEN, "AQUEDUCT__BROKER__TYPE": "kafka"}
    assert "the environment: broker.servers: is missing" in say("check", **env).stderr
    assert "AQUEDUCT_DATA: broker.servers: is missing" in say("check", **env, AQUEDUCT_DATA="kept").stderr


def test_a_secret_is_said_once(say, tmp_path):
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    done = say("check", **WHOLE, AQUEDUCT_WEBHOOK_SECRET_FILE=str(tmp_path / "secret"))
    assert "AQUEDUCT_WEBHOOK_SECRET_FILE: warning: has no effect beside AQUEDUCT_WEBHOOK_SECRET: leave one of them away" in done.stderr.splitlines()


@pytest.mark.parametrize("name,head", [("AQUEDUCT_WEBHOOK_SECRET", "AQUEDUCT_WEBHOOK_URL: who gets the events"), ("AQUEDUCT_LIVE_TOKEN", "AQUEDUCT_LIVE_LISTEN: a live stream"),
                                       ("AQUEDUCT_SQLITE_START", "AQUEDUCT_SQLITE_PATH: the database"), ("AQUEDUCT_KAFKA_SASL_PASSWORD", "AQUEDUCT_KAFKA_BOOTSTRAP: the brokers"),
                                       ("AQUEDUCT_HTTP_LISTEN", "AQUEDUCT_HTTP_TOKEN: a bearer token")])
def test_who_says_a_part_alone_is_told_of_the_whole(say, name, head):
    other = {"AQUEDUCT_LIVE_LISTEN": "127.0.0.1:0"} if "LIVE" not in name else {"AQUEDUCT_HTTP_TOKEN": TOKEN}
    done = say("check", **other, **{name: "now" if "START" in name else "127.0.0.1:0" if "LISTEN" in name else SECRET})
    assert any(line.startswith(f"{name}: warning: is of use only with {head}") for line in done.stderr.splitlines()), done.stderr
    assert "of use only" not in say("check", **WHOLE, AQUEDUCT_LOG_FORMAT="json").stderr


def test_a_variable_that_nobody_reads_is_told(aqueduct, say, tmp_path):
    unread = "AQUEDUCT_WEBHOK_URL: warning: is no variable that Aqueduct reads (did you mean AQUEDUCT_WEBHOOK_URL?)"
    done = say("check", **WHOLE, AQUEDUCT_WEBHOK_URL="x", AQUEDUCT_PORT_8080_TCP="tcp://10.0.0.1:8080", AQUEDUCT_SERVICE_HOST="10.0.0.1")
    assert done.returncode == 0 and unread in done.stderr.splitlines() and "10.0.0.1" not in done.stderr and "SERVICE" not in done.stderr
    (tmp_path / "bridge.yaml").write_text(FILE.replace("https://crm", "${AQUEDUCT_MINE:-https://crm}"))
    done = say("check", **WHOLE, AQUEDUCT_MINE="https://mine")
    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stderr.splitlines() if "no effect beside a configuration file" in line] == sorted(WHOLE)
    assert "AQUEDUCT_MINE" not in done.stderr
    daemon = Bare(aqueduct, "", tmp_path, {"AQUEDUCT_WEBHOK_URL": "x"})
    wait_for(lambda: "msg=running" in daemon.log(), why=daemon.log)
    assert unread in daemon.log()
    daemon.stop()


def test_without_a_file_and_variables_the_error_names_both(say):
    done = say("check")
    assert done.returncode == 1 and done.stderr.startswith("no configuration file: ") and "aqueduct help environment" in done.stderr
    assert "aqueduct help environment" in say("check", AQUEDUCT_LOG_LEVEL="info").stderr      # says nothing of what is to be done
