# SPDX-License-Identifier: MIT
"""A Kafka that wants a login and gives rights: the whole job by each way to log in with the rights of the guide and no others, each right
taken away and given again by the line that names it, secrets that change, and what check and doctor say."""
import collections
import contextlib
import itertools
import json
import os
import re
import shlex
import shutil
import sqlite3
import ssl
import struct
import subprocess
import threading
import time
import types

import pytest
import rig
import secure
import yaml

from conftest import DEAD_LETTERS, HTTP_SOURCE, ROOT, SECRET, event, free_port, kafka_read, post, post_ok, wait_for, webhook_sink

GUIDE = (ROOT / "bridge/guide/kafka-security.md").read_text()


# ---- bridges that log in ----

def written(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


class Secured:
    """A bridge on a listener of the secure Kafka, as a principal of its own who may nothing yet."""

    def __init__(self, bridges, kafka, listener, login, principal, env=None):
        self.bridge = bridges("kafka", kafka=types.SimpleNamespace(servers=kafka.at(listener)))
        self.bridge.broker_more = ", " + login
        self.kafka, self.principal, self.env = kafka, principal, env or {}

    def names(self, text):
        return text.replace("EVENTS", self.bridge.topic("events")).replace("PREFIX", f"{self.bridge.name}-own.").replace("GROUPS", f"{self.bridge.name}-")

    def rights(self):
        """Those of the guide: (kind, name, operations, pattern)."""
        lines = re.search(r"<!-- rights -->\n\n((?:    .*\n)+)", GUIDE)[1].replace("\\\n", " ").splitlines()
        found = [secure.read_line(" ".join(line.split())) for line in lines]
        assert len(found) == 3 and {one[0] for one in found} == {"User:bridge"}
        names = {"ai.events": self.bridge.topic("events"), "aqueduct.": {"topic": f"{self.bridge.name}-own.", "group": f"{self.bridge.name}-"}}
        return [(kind, names[name] if isinstance(names[name], str) else names[name][kind], operations, pattern) for _, kind, name, operations, pattern in found]

    def allow_all(self):
        for kind, name, operations, pattern in self.rights():
            self.kafka.allow(self.principal, kind, name, *operations, pattern=pattern)

    def start(self, **more):
        return self.bridge.start(env=self.env, **more)

    def command(self, *words, code=0, also_said=None):
        """Its output; `also_said`: what it must have written to standard error."""
        done = subprocess.run([self.bridge.program, *words, "-c", str(self.bridge.config)], cwd=self.bridge.folder, capture_output=True, text=True, timeout=60,
                              env={**os.environ, **self.env})
        assert done.returncode == code, done.stdout + done.stderr
        assert also_said in (None, done.stderr), done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def tokens(secure_kafka):
    """A server of tokens, with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(secure_kafka.dir / "server-both.pem")
    return secure.Tokens(secure_kafka.dir, context)


@pytest.fixture(scope="session")
def newer_librdkafka(python_folder, tmp_path_factory):
    """A folder with the librdkafka that the Python client brings: Debian's cannot log in to Kafka 4 by SCRAM."""
    folder = tmp_path_factory.mktemp("librdkafka")
    (library,) = python_folder.glob("lib/python*/site-packages/confluent_kafka.libs/librdkafka-*.so.1")
    (folder / "librdkafka.so.1").symlink_to(library)
    return {"LD_LIBRARY_PATH": str(folder)}


def examples():
    """The guide's, by mechanism: {name: its broker section}."""
    blocks = [yaml.safe_load(text)["broker"] for text in re.findall(r"^```yaml part\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)]
    names = [block.get("sasl", {}).get("mechanism", "mtls") + ("_token" if "token" in block.get("sasl", {}) else "") for block in blocks]
    assert names == ["PLAIN", "SCRAM-SHA-512", "OAUTHBEARER", "OAUTHBEARER_token", "mtls"]
    return dict(zip(names, blocks))


def ways():
    """Each example with its listener and principal; and those that the guide tells of without one."""
    found = {name: ("mtls" if name == "mtls" else "sasl_tls", broker, {"mtls": "User:CN=bridge,O=Example", "OAUTHBEARER": f"User:{secure.CLIENT_ID}",
                                                                       "OAUTHBEARER_token": "User:service"}.get(name, f"User:{secure.USER}")) for name, broker in examples().items()}
    listener, broker, principal = found["SCRAM-SHA-512"]
    found["SCRAM-SHA-256"] = (listener, {**broker, "sasl": {**broker["sasl"], "mechanism": "SCRAM-SHA-256"}}, principal)
    found["PLAIN_plain"] = ("sasl", {"sasl": found["PLAIN"][1]["sasl"]}, principal)
    return found


WAYS = ways()


@pytest.fixture
def secured(bridges, secure_kafka, tokens, tmp_path, request):
    """Makes one by the name of a way; what its principal may goes again at the end."""
    principals = set()

    def make(way):
        listener, broker, principal = WAYS[way]
        principals.add(principal)
        files = {"/etc/aqueduct/kafka-ca.pem": secure_kafka.dir / "tls.pem", "/etc/aqueduct/login-ca.pem": secure_kafka.dir / "tls.pem",
                 "/etc/aqueduct/bridge.pem": tmp_path / "client.pem", "/run/secrets/bridge-key.pem": tmp_path / "client-key.pem",
                 "/run/secrets/kafka-password": written(tmp_path / "password", secure.PASSWORD), "/run/secrets/kafka-client": written(tmp_path / "client", secure.CLIENT_SECRET),
                 "/run/secrets/kafka-token": written(tmp_path / "token", secure.token(secure_kafka.dir, "service") if way == "OAUTHBEARER_token" else "none")}
        for name in ("client.pem", "client-key.pem"):
            shutil.copy(secure_kafka.dir / name, tmp_path / name)
        login = json.dumps({key: broker[key] for key in ("tls", "sasl") if key in broker})[1:-1]
        for before, after in {**files, "https://login.example.com/oauth2/token": tokens.url, '"username": "bridge"': f'"username": "{secure.USER}"',
                              '"client_id": "bridge"': f'"client_id": "{secure.CLIENT_ID}"'}.items():
            login = login.replace(str(before), str(after))
        env = request.getfixturevalue("newer_librdkafka") if way.startswith("SCRAM") else None
        return Secured(bridges, secure_kafka, listener, login, principal, env)
    yield make
    for one in principals:
        secure_kafka.forbid(one)


def application(folder):
    db = sqlite3.connect(folder / "app.db")
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, what TEXT)")
    db.commit()
    return db


def configuration(folder, url):
    """Every topic of its own that the bridge may have: state, waiting, blocked, dead letters, attempts."""
    return (HTTP_SOURCE.replace("routes:", f"  app: {{type: sqlite, path: {folder}/app.db, poll: 50ms, capture: [{{name: rows, kind: append, table: t, key: id, types: {{insert: t.created}}}}]}}\nroutes:")
            + "sinks:\n" + webhook_sink("crm", url, "retry: [50ms]\norder: key\nattempts: all") + DEAD_LETTERS)


def exactly_once(text):
    return text.replace("poll: 50ms", "poll: 50ms, start: snapshot, delivery: exactly_once")


# ---- the job ----

def words_of_secrets():
    return [secure.PASSWORD, secure.CLIENT_SECRET, SECRET]


@pytest.mark.parametrize("way", WAYS)
def test_the_whole_job_with_the_rights_of_the_guide_and_no_others(secured, receivers, tmp_path, way):
    """Events in, out, one refused and redriven; every command that asks the cluster; and nothing was denied."""
    one, db = secured(way), application(tmp_path)
    one.allow_all()
    refused = {"bad"}
    receiver = receivers(lambda r: 400 if r["id"] in refused else 204)
    one.bridge.configure(configuration(tmp_path, receiver.url), admin=f"127.0.0.1:{free_port()}")
    daemon = one.start().watching()
    db.execute("INSERT INTO t (what) VALUES ('a row')")
    db.commit()
    post_ok(daemon, event("good"), event("bad"))
    wait_for(lambda: {r["type"] for r in receiver.good()} == {"thing.happened", "t.created"}, why=daemon.log)
    wait_for(lambda: [letter["id"] for letter in map(json.loads, one.command("dead", "list", "--json").splitlines())] == ["bad"], why=daemon.log)
    refused.clear()
    one.command("dead", "redrive", "--all")
    wait_for(lambda: "bad" in {r["id"] for r in receiver.good()}, why=daemon.log)
    status = json.loads(one.command("status", "--json"))
    assert status["ready"] is True, status
    tail = [json.loads(line) for line in one.command("tail", "--json", "--topic", one.bridge.topic("events"), "--no-follow").splitlines()]
    assert {"good", "bad"} <= {e.get("event", e)["id"] for e in tail}
    assert len(one.command("log", "--json").splitlines()) >= 4
    doctor = json.loads(one.command("doctor", "--json", code=0))
    assert {f["finding"] for f in doctor["findings"] if f["object"] == "broker"} == {"ok"}
    done = json.loads(one.command("replay", "--topic", one.bridge.topic("events"), "--from", "earliest", "--to", "crm", "--json"))
    assert (done["result"], done["replayed"]) == ("replayed", 3), done
    wait_for(lambda: len(receiver.good()) == 6, why=daemon.log)
    assert daemon.metric("aqueduct_kafka_denied") == 0
    daemon.stop()
    log = daemon.log()
    assert "denied" not in log and "denies" not in log and "uthorization failed" not in log, log
    assert not [word for word in words_of_secrets() if word in log]


def test_prove_logs_in_as_the_bridge_does(secured, tmp_path):
    one = secured("PLAIN")
    one.allow_all()
    one.bridge.configure(configuration(tmp_path, "http://127.0.0.1:9/"))
    said = json.loads(one.command("prove", "--rounds", "1", "--seconds", "1", "--json"))
    assert (said["verdict"], said["broker"], said["kills"]) == ("nothing lost", "kafka", 1) and said["acknowledged"] > 0


# ---- secrets that change ----

def test_tokens_are_renewed_with_the_secret_as_it_is_by_then(secured, receivers, tokens, tmp_path, monkeypatch):
    one, receiver = secured("OAUTHBEARER"), receivers()
    one.allow_all()
    monkeypatch.setattr(tokens, "seconds", 12)
    application(tmp_path)
    one.bridge.configure(configuration(tmp_path, receiver.url), admin=f"127.0.0.1:{free_port()}")
    daemon = one.start()
    asked = len(tokens.asked)
    monkeypatch.setattr(tokens, "secret", "another secret of the client")
    written(tmp_path / "client", tokens.secret)
    wait_for(lambda: len(tokens.asked) > asked + 1, why=daemon.log)
    post_ok(daemon, event("later"))
    wait_for(lambda: "later" in {r["id"] for r in receiver.good()}, why=daemon.log)
    daemon.stop()
    assert tokens.secret not in daemon.log() and tokens.asked[-1] == {"grant_type": "client_credentials", "scope": "kafka"}


class Flow:
    """Events into both sources, until some of both have come out; what was acknowledged is kept in mind."""

    def __init__(self, daemon, db, receiver):
        self.daemon, self.db, self.receiver, self.accepted, self.rows, self.pid = daemon, db, receiver, [], 0, daemon.process.pid

    def row(self):
        self.db.execute("INSERT INTO t (what) VALUES ('a row')")
        self.db.commit()
        self.rows += 1
        return f"e{self.rows}"

    def send(self, name):
        """Was it acknowledged?"""
        taken = post(self.daemon, event(name)).status_code == 202
        self.accepted += [name] if taken else []
        return taken

    def put(self):
        return self.send(self.row())

    @contextlib.contextmanager
    def waiting(self):
        """Both are under way meanwhile, and have their outcome in the end."""
        thread = threading.Thread(target=self.send, args=[self.row()])
        thread.start()
        yield
        thread.join()
        self.all_through()

    def counts(self):
        good = self.receiver.good()
        return collections.Counter(r["id"] for r in good if r["type"] != "t.created"), [r for r in good if r["type"] == "t.created"]

    def all_through(self):
        """Everything so far has been delivered, by the same process."""
        def through():
            events, rows = self.counts()
            return set(self.accepted) <= set(events) and len({r["id"] for r in rows}) == self.rows
        wait_for(through, 90, why=lambda: f"{self.accepted} {self.rows} {self.counts()}\n{self.daemon.log()}")
        assert self.daemon.alive() and self.daemon.process.pid == self.pid

    def once(self, times=3):
        for _ in range(times):
            wait_for(self.put, 90, why=self.daemon.log)
        self.all_through()

    def nothing_twice(self):
        events, rows = self.counts()
        assert [events[name] for name in self.accepted] == [1] * len(self.accepted) and len(rows) == self.rows, (events, rows)


@contextlib.contextmanager
def another_broker(kafka, *changes):
    """It is started again with other settings: (before, after); and as it was afterwards."""
    path = kafka.dir / "server.properties"
    was = text = path.read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)
    kafka.restart()
    try:
        yield
    finally:
        path.write_text(was)
        kafka.restart()


def followed(daemon, times):
    """So often was a login taken from its files."""
    return wait_for(lambda: daemon.metric("aqueduct_reloads_total", what="login", result="taken") >= times, why=daemon.log)


def test_a_password_is_rotated_while_events_flow(secured, receivers, secure_kafka, tmp_path):
    """File first, and nobody notices; cluster first, and it says why it waits until the file is right."""
    one, receiver, db = secured("PLAIN"), receivers(), application(tmp_path)
    one.allow_all()
    secure_kafka.allow(one.principal, "transactional-id", f"{one.bridge.name}-own.", "write", pattern="prefixed")
    one.bridge.configure(exactly_once(configuration(tmp_path, receiver.url)), admin=f"127.0.0.1:{free_port()}")
    daemon = one.start().watching()
    flow = Flow(daemon, db, receiver)
    flow.once()
    written(tmp_path / "password", "the next password")
    followed(daemon, 1)
    flow.once()
    with another_broker(secure_kafka, (f'user_{secure.USER}="{secure.PASSWORD}"', f'user_{secure.USER}="the next password"')):
        flow.once()
        assert "refuses the login" not in daemon.log()
    until_said(daemon, "refuses the login: SASL authentication error: Authentication failed: Invalid username or password")
    with flow.waiting():
        written(tmp_path / "password", secure.PASSWORD)
        flow.once()
    daemon.ready()
    flow.nothing_twice()
    daemon.stop()
    log = daemon.log()
    assert "the next password" not in log and secure.PASSWORD not in log and "begins again with the login" not in log


def test_certificates_and_authorities_are_replaced_while_events_flow(secured, receivers, secure_kafka, tmp_path):
    """Half of a pair, all of it, another authority; the last of them by a reload of the configuration."""
    one, receiver, db, other = secured("mtls"), receivers(), application(tmp_path), tmp_path / "other"
    one.bridge.broker_more = one.bridge.broker_more.replace(str(secure_kafka.dir / "tls.pem"), str(tmp_path / "ca.pem"))
    text = exactly_once(configuration(tmp_path, receiver.url))
    admin, control = f"127.0.0.1:{free_port()}", f"control: {tmp_path}/control"

    def allow_all(principal):
        one.principal = principal
        one.allow_all()
        secure_kafka.allow(principal, "transactional-id", f"{one.bridge.name}-own.", "write", pattern="prefixed")
    allow_all("User:CN=bridge,O=Example")
    shutil.copy(secure_kafka.dir / "tls.pem", tmp_path / "ca.pem")
    one.bridge.configure(text, admin=admin, admin_more=control)
    daemon = one.start().watching()
    flow = Flow(daemon, db, receiver)
    flow.once()

    # Another certificate, whose key comes later.
    shutil.copy(secure_kafka.dir / "next.pem", tmp_path / "client.pem")
    note = wait_for(lambda: re.match("ready; but .*", daemon.page("/readyz").text), why=daemon.log)[0]
    assert f"broker.tls.key_file: {tmp_path}/client-key.pem holds the key of another certificate than the one in {tmp_path}/client.pem" in note, note
    flow.once()
    shutil.copy(secure_kafka.dir / "next-key.pem", tmp_path / "client-key.pem")
    allow_all("User:CN=next,O=Example")
    followed(daemon, 1)
    secure_kafka.forbid("User:CN=bridge,O=Example")
    flow.once()
    daemon.ready()
    assert daemon.page("/readyz").text == "ready\n" and daemon.metric("aqueduct_reloads_total", what="login", result="refused") == 1

    # The servers get certificates of another authority, and take those of no other: ours follows later.
    other.mkdir()
    secure.authority(other, "tls.pem", "ca-key.pem", "/CN=the next CA of the tests")
    secure.signed(other, "server", "/CN=127.0.0.1", "IP:127.0.0.1")
    secure.signed(other, "client", "/O=Example/CN=bridge")
    written(tmp_path / "ca.pem", (secure_kafka.dir / "tls.pem").read_text() + (other / "tls.pem").read_text())
    followed(daemon, 2)
    flow.once()
    mtls = "listener.name.mtls.ssl."
    with another_broker(secure_kafka, (f"{mtls}keystore.location={secure_kafka.dir}", f"{mtls}keystore.location={other}"),
                        (f"{mtls}truststore.location={secure_kafka.dir}", f"{mtls}truststore.location={other}")):
        until_said(daemon, "it does not take our certificate (tls.cert_file)")
        with flow.waiting():
            for name in ("client.pem", "client-key.pem"):
                one.bridge.broker_more = one.bridge.broker_more.replace(str(tmp_path / name), str(other / name))
            one.bridge.configure(text, admin=admin, admin_more=control)
            allow_all("User:CN=bridge,O=Example")
            assert "~ broker: tls.cert_file, tls.key_file\n" in one.command("plan")
            one.command("reload")
            flow.once()
        daemon.ready()
        flow.nothing_twice()
        daemon.stop()
    secure_kafka.forbid("User:CN=next,O=Example")


def test_properties_are_changed_while_events_flow(secured, receivers, secure_kafka, tmp_path):
    """By their files, and by a reload; one that no client can be made of is refused, and all goes on."""
    one, receiver, db, ca = secured("PLAIN"), receivers(), application(tmp_path), tmp_path / "ca.pem"
    one.allow_all()
    secure_kafka.allow(one.principal, "transactional-id", f"{one.bridge.name}-own.", "write", pattern="prefixed")
    admin, control = f"127.0.0.1:{free_port()}", f"control: {tmp_path}/control"
    one.bridge.instance = "''"      # else the cluster calls a member that comes back as it was called at first

    def configure(**more):
        properties = {"security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN", "sasl.username": secure.USER, "sasl.password": f"${{file:{tmp_path}/password}}",
                      "ssl.ca.location": str(ca), **{key.replace("_", "."): value for key, value in more.items()}}
        one.bridge.broker_more = ", properties: " + json.dumps(properties)
        one.bridge.configure(exactly_once(configuration(tmp_path, receiver.url)), admin=admin, admin_more=control)
    shutil.copy(secure_kafka.dir / "tls.pem", ca)
    configure(client_id="before")
    daemon = one.start().watching()
    flow = Flow(daemon, db, receiver)
    flow.once(1)
    written(tmp_path / "password", "the next password")     # which the cluster takes for no login: those that there are stay
    followed(daemon, 1)
    flow.once(1)
    assert "begins again with" not in daemon.log()
    written(tmp_path / "password", secure.PASSWORD)
    followed(daemon, 2)
    written(ca, (secure_kafka.dir / "stranger.pem").read_text() + (secure_kafka.dir / "tls.pem").read_text())
    followed(daemon, 3)
    flow.once(1)
    assert "begins again with the login and the properties of now" in daemon.log()

    configure(client_id="after", max_poll_interval_ms="100")
    refused = subprocess.run([one.bridge.program, "reload", "-c", str(one.bridge.config)], cwd=one.bridge.folder, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "broker: no client can be made of it: `max.poll.interval.ms`" in refused.stdout + refused.stderr, refused
    flow.once(1)
    configure(client_id="after")
    assert "~ broker: properties.client.id\n" in one.command("plan")
    one.command("reload")
    flow.once(1)
    describe = struct.pack(">i", 1) + rig.text(f"{one.bridge.name}-crm")
    members = wait_for(lambda: (said if rig.text("after") in (said := rig.ask(secure_kafka.port, 15, 0, describe)) else None), why=daemon.log)
    assert rig.text("before") not in members, members
    daemon.ready()
    flow.nothing_twice()
    daemon.stop()
    assert "the next password" not in daemon.log() and secure.PASSWORD not in daemon.log()


# ---- rights ----

LINE = re.compile(r"kafka-acls\.sh --bootstrap-server \S+ --command-config admin\.properties --add [^\"\n]*")


def grant(one, text):
    """Does what the line in a message says; fails when it is not for our principal."""
    principal, kind, name, operations, pattern = secure.read_line(LINE.search(text)[0])
    assert (principal, pattern) == (one.principal, "prefixed" if name.startswith(one.bridge.name) and name[-1] in ".-" else "literal"), text
    one.kafka.allow(principal, kind, name, *operations, pattern=pattern)
    return kind, name, operations


def until_said(daemon, words):
    """Readiness names it; what it says."""
    def said():
        page = daemon.page("/readyz")
        return page.text if page.status_code == 503 and words in page.text else None
    return wait_for(said, why=lambda: f"{words}: {daemon.page('/readyz').text}\n{daemon.log()}")


def until_ready(one, daemon, poke=lambda: None):
    """Grants whatever is named, until nothing is missing; returns what was granted."""
    granted, lines = [], []

    def ready():
        page = daemon.page("/readyz")
        line = page.status_code != 200 and LINE.search(page.text)
        if line and line[0] not in lines:
            lines.append(line[0])
            granted.append(grant(one, page.text))
        poke()
        time.sleep(0.1)
        return page.status_code == 200
    wait_for(ready, 90, why=lambda: f"{granted}\n{daemon.page('/readyz').text}\n{daemon.log()}")
    return granted


def test_each_right_taken_away_is_named_and_given_again_by_its_line(secured, receivers, tmp_path):
    one, db, refused = secured("PLAIN_plain"), application(tmp_path), set()
    events, own, groups = one.bridge.topic("events"), f"{one.bridge.name}-own.", f"{one.bridge.name}-"
    receiver = receivers(lambda r: 400 if r["id"] in refused else 204)
    one.bridge.configure(configuration(tmp_path, receiver.url), admin=f"127.0.0.1:{free_port()}")
    count = itertools.count()
    post_one = lambda: post(daemon, event(f"e{next(count)}"))     # noqa: E731

    # At the start, with all rights but those of which it says more at the start than later.
    one.allow_all()
    for kind, name, pattern in (("topic", events, "literal"), ("topic", own, "prefixed")):
        one.kafka.forbid(one.principal, kind, name, "create", pattern=pattern)
    for operation in ("delete", "describeconfigs"):
        one.kafka.forbid(one.principal, "topic", own, operation, pattern="prefixed")
    daemon = one.start(ready=False)
    until_said(daemon, f"topic {events}: Kafka denies access: it does not exist, and user alice may not create it; to allow it: kafka-acls.sh")
    time.sleep(5)       # it tries again every 2 s, and says a cause that lasts once a minute
    said = re.findall(r'msg="cannot start" reason="(.*?)"', daemon.log())
    assert said and len(said) == len(set(said)), said
    of_own = [line for line in daemon.log().splitlines() if "a topic cannot be used" in line and f"topic={own}" in line]
    assert len(of_own) == 1 and re.search(r" others=[1-9]", of_own[0]), of_own
    granted = until_ready(one, daemon)      # Write may be wanted, too, where the cluster did not know yet that it has it
    assert [right for right in granted if right != ("topic", own, ["Write"])] == [("topic", events, ["Create"]), ("topic", own, ["Create"])]
    daemon.stop()
    daemon = one.start().watching()
    wait_for(lambda: "whether the state topic is compacted is not known" in daemon.log(), why=daemon.log)
    assert grant(one, next(x for x in daemon.log().splitlines() if "whether the state topic" in x)) == ("topic", own, ["DescribeConfigs"])

    # What can be done without is a warning.
    refused.add("bad")
    post_ok(daemon, event("bad"))
    wait_for(lambda: '"id":"bad"' in one.command("dead", "list", "--json"), why=daemon.log)
    refused.clear()
    one.command("dead", "redrive", "--all")
    wait_for(lambda: "may not delete what is finished from topic" in daemon.log(), why=daemon.log)
    warned = next(x for x in daemon.log().splitlines() if "may not delete what is finished" in x)
    assert "level=warn" in warned and grant(one, warned) == ("topic", own, ["Delete"])
    assert daemon.page("/readyz").status_code == 200

    # While it runs.
    one.kafka.forbid(one.principal, "topic", events, "write", pattern="literal")
    wait_for(lambda: post_one().status_code == 503, why=daemon.log)
    until_said(daemon, f"user alice may not write to topic {events}; to allow it")
    assert until_ready(one, daemon, post_one) == [("topic", events, ["Write"])]
    one.kafka.forbid(one.principal, "topic", events, "read", pattern="literal")
    until_said(daemon, f"user alice may not read topic {events}; to allow it")
    assert until_ready(one, daemon, post_one) == [("topic", events, ["Read"])]
    one.kafka.forbid(one.principal, "group", groups, "read", pattern="prefixed")
    said = until_said(daemon, f"user alice may not read in group {groups}")
    shown = re.search(r"^    (Kafka denies access: user bridge may not read in group .*)\n    (.*)\n", GUIDE, re.M).expand(r"\1 \2")
    shown = shown.replace("user bridge", "user alice").replace("User:bridge", "User:alice")
    assert re.search(re.sub(r"aqueduct\\\.(crm)?", lambda m: groups + (r"\w+" if m[1] else ""), re.escape(shown)).replace("kafka\\-1:9093", r"\S+"), said), said
    assert until_ready(one, daemon) == [("group", groups, ["Read"])]
    one.kafka.forbid(one.principal, "topic", own, "write", pattern="prefixed")
    refused.add("worse")
    post_ok(daemon, event("worse"))
    said = until_said(daemon, f"user alice may not write to topic {own}")
    assert grant(one, said) == ("topic", own, ["Write"])
    one.kafka.forbid(one.principal, "topic", own, "read", pattern="prefixed")
    said = until_said(daemon, f"user alice may not read topic {own}")
    assert grant(one, said) == ("topic", own, ["Read"])

    # Nothing was lost: what was acknowledged is delivered or dead.
    wait_for(lambda: '"id":"worse"' in one.command("dead", "list", "--json"), why=daemon.log)
    stored = daemon.metric("aqueduct_broker_stored_total")
    assert stored and not [word for word in words_of_secrets() if word in daemon.log()]


def test_a_transactional_id_needs_its_right_at_the_start_and_while_it_runs(secured, receivers, tmp_path):
    one, db, receiver = secured("PLAIN_plain"), application(tmp_path), receivers()
    text = exactly_once(configuration(tmp_path, receiver.url))
    one.bridge.configure(text, admin=f"127.0.0.1:{free_port()}")
    one.allow_all()
    ids = f"{one.bridge.name}-own."
    one.kafka.forbid(one.principal, "transactional-id", ids, "write", pattern="prefixed")

    def placed(what):
        db.execute("INSERT INTO t (what) VALUES (?)", (what,))
        db.commit()
    placed("first")
    daemon = one.start(ready=False)
    until_said(daemon, f"user alice may not write transactions as transactional id {ids}")
    assert until_ready(one, daemon) == [("transactional-id", ids, ["Write"])]
    wait_for(lambda: len(receiver.good()) == 1, why=daemon.log)
    one.kafka.forbid(one.principal, "transactional-id", ids, "write", pattern="prefixed")
    placed("second")
    until_said(daemon, f"user alice may not write transactions as transactional id {ids}")
    assert until_ready(one, daemon) == [("transactional-id", ids, ["Write"])]
    wait_for(lambda: len(receiver.good()) == 2, why=daemon.log)
    stored = kafka_read(one.kafka, one.bridge.topic("events"), 2)
    assert len({r["headers"][b"ce_id"] for r in stored}) == len(stored) == 2


def test_doctor_names_what_is_missing_and_the_line_that_grants_it(secured, secure_kafka, tmp_path):
    one = secured("PLAIN_plain")
    application(tmp_path)
    one.bridge.configure(configuration(tmp_path, "http://127.0.0.1:9/"))
    events, group = one.bridge.topic("events"), f"{one.bridge.name}-crm"

    def finding():
        (found,) = [f for f in json.loads(one.command("doctor", "--json", code=1))["findings"] if (f["object"], f["what"]) == ("broker", events)]
        return found
    assert finding() == {"object": "broker", "what": events, "finding": "broken", "how": "Kafka denies access: user alice may neither create nor describe it",
                         "todo": f"kafka-acls.sh --bootstrap-server {one.bridge.kafka.servers} --command-config admin.properties --add --allow-principal User:alice --operation Create --operation Describe --topic {events}"}
    grant(one, finding()["todo"])
    assert (finding()["finding"], finding()["how"]) == ("ok", "is not there yet; the start makes it")
    secure_kafka.create(events, 1)
    assert finding()["how"].endswith(f"Kafka denies access: user alice may not read in group {group}")
    grant(one, finding()["todo"])
    assert finding()["how"] == f"1 partition, read by group {group}"


def test_the_lines_are_taken_by_kafkas_own_program(secured, secure_kafka, tmp_path):
    """As the guide and the messages have them, against the port that wants TLS and a login."""
    one = secured("PLAIN")
    application(tmp_path)
    one.bridge.configure(configuration(tmp_path, "http://127.0.0.1:9/"))
    login = re.search(r"```properties\n(.*?)```", GUIDE, re.DOTALL)[1].replace('"admin"', f'"{secure.USER}"').replace('"..."', f'"{secure.PASSWORD}"')
    written(tmp_path / "admin.properties", login.replace("/etc/aqueduct/kafka-ca.pem", str(secure_kafka.dir / "tls.pem")))
    secure_kafka.allow(one.principal, "cluster", "kafka-cluster", "alter")

    def run(line):
        assert " --command-config admin.properties " in line
        words = shlex.split(one.names(line).replace("admin.properties", str(tmp_path / "admin.properties")))
        return rig.tool("AclCommand", *words[1:])
    of_groups = [" ".join(line.split()) for line in re.search(r"<!-- rights -->\n\n((?:    .*\n)+)", GUIDE)[1].replace("\\\n", " ").splitlines()][-1]
    said = run(of_groups.replace("kafka-1:9093", one.bridge.kafka.servers).replace("User:bridge", one.principal).replace(" aqueduct. ", f" {one.bridge.name}- "))
    assert "operation=READ" in said and "operation=DELETE" in said and "patternType=PREFIXED" in said
    events = one.bridge.topic("events")
    found = [f for f in json.loads(one.command("doctor", "--json", code=1))["findings"] if f["what"] == events]
    assert "operation=CREATE" in run(found[0]["todo"])
    found = [f for f in json.loads(one.command("doctor", "--json", code=1))["findings"] if f["what"] == events]
    assert found[0]["how"] == "is not there yet; the start makes it"


# ---- connections ----

@pytest.mark.parametrize("listener, change, how, todo", [
    ("sasl_tls", lambda b: b["sasl"].update(password="not-the-password"), "refuses the login: SASL authentication error: Authentication failed: Invalid username or password", "broker.sasl"),
    ("elsewhere", lambda b: b.pop("sasl"), "its certificate (CN=elsewhere.example) is for another host", "broker.tls"),
    ("mtls", lambda b: b.pop("sasl"), "it wants a certificate of ours: tls.cert_file", "broker.tls"),
    ("sasl", lambda b: b.clear(), "that port may want a login: say sasl", "broker.sasl"),
], ids=["password", "host", "certificate", "no_login"])
def test_doctor_says_why_there_is_no_connection(secured, secure_kafka, tmp_path, listener, change, how, todo):
    one = secured("PLAIN")
    login = json.loads("{" + one.bridge.broker_more[2:] + "}")
    change(login)
    one.bridge.broker_more = ", " + json.dumps(login)[1:-1] if login else ""
    one.bridge.kafka.servers = secure_kafka.at(listener)
    application(tmp_path)
    one.bridge.configure(configuration(tmp_path, "http://127.0.0.1:9/"))
    said = one.command("doctor", "--json", code=1, also_said="")
    (found,) = [f for f in json.loads(said)["findings"] if f["object"] == "broker"]
    assert found["finding"] == "broken" and how in found["how"] and todo in found["todo"]
    assert "not-the-password" not in said


SASL = "sasl: {mechanism: PLAIN, username: bridge, password: a-password}"


@pytest.mark.parametrize("servers, is_good", [
    ("kafka-1", True), ("kafka_1:9092, kafka-2:9092,", True), ("SASL_SSL://kafka-1:9093", True), ("[::1]:9092", True), ("::1", True), ("[::1]", True),
    ("http://kafka-1:9092", False), ("kafka-1:99999", False), ("kafka-1:0", False), ("kafka-1:x", False), ("kafka-1;kafka-2", False), ("kafka-1 kafka-2", False),
    ("[::1]x", False), (":9092", False), ("kafka-1:9092,kafka-2:", False),
])
def test_check_says_what_is_no_server(aqueduct, tmp_path, servers, is_good):
    (tmp_path / "bridge.yaml").write_text(f"broker: {{type: kafka, servers: '{servers}'}}\n" + HTTP_SOURCE.replace("$EVENTS", "events") + f"sinks:\n  failed: {{type: dead_letter, path: {tmp_path}/dead.db}}\n")
    done = subprocess.run([aqueduct, "check"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == (0 if is_good else 1), done.stderr
    assert is_good or f'broker.servers: "{servers.rpartition(",")[2]}" is no address of a server: HOST:PORT' in done.stderr


@pytest.mark.parametrize("section, code, said", [
    ("sasl: {mechanism: PLAIN, username: bridge}", 1, "broker.sasl.password: is missing, mechanism PLAIN needs it"),
    ("sasl: {username: bridge, password: a-password}", 1, "broker.sasl.mechanism: is missing: PLAIN, SCRAM-SHA-256"),
    ("sasl: {mechanism: PLAIN, username: bridge, password: a-password, scope: x}", 1, "broker.sasl.scope: is of no use with mechanism PLAIN"),
    ("sasl: {mechanism: OAUTHBEARER, client_id: a, client_secret: b}", 1, "broker.sasl.token_url: is missing"),
    ("sasl: {mechanism: OAUTHBEARER, token_url: nowhere, client_id: a, client_secret: b}", 1, "broker.sasl.token_url: is no URL"),
    ("sasl: {mechanism: OAUTHBEARER, token: a, username: b}", 1, "broker.sasl.username: is of no use with mechanism OAUTHBEARER"),
    (SASL + ", properties: {security.protocol: sasl_ssl}", 1, "broker.properties.security.protocol: broker.sasl says how to log in"),
    ("tls: {enabled: true}, properties: {ssl.ca.location: x.pem}", 1, "broker.properties.ssl.ca.location: broker.tls says it"),
    ("tls: {ca_file: not-there.pem}", 1, "broker.tls.ca_file: not-there.pem cannot be read: No such file or directory"),
    ("tls: {ca_file: key.pem}", 1, "broker.tls.ca_file: key.pem holds no PEM certificates"),
    ("tls: {key_file: key.pem}", 1, "broker.tls.key_file: is of use with cert_file only"),
    ("tls: {cert_file: cert.pem, key_file: open.pem}", 1, "broker.tls.key_file: "),
    (SASL, 0, "PLAIN without TLS shows the password to everybody on the way: say tls"),
    ("tls: {enabled: true}, sasl: {mechanism: OAUTHBEARER, token_url: 'http://login.example.com/', client_id: a, client_secret: b}", 0, "begins with http://"),
    ("tls: {enabled: true}, " + SASL, 0, ""),
    ("tls: {ca_file: key.pem, enabled: false}", 0, "bridge.yaml:1:63: warning: broker.tls.ca_file: has no effect, since broker.tls.enabled is false"),
    ("tls: {enabled: 'yes'}", 1, 'broker.tls.enabled: "yes" is not one of true, false'),
])
def test_check_says_what_is_wrong_with_a_login(aqueduct, tmp_path, section, code, said):
    written(tmp_path / "key.pem", "no key")
    (tmp_path / "open.pem").write_text("a key that all can read")
    (tmp_path / "open.pem").chmod(0o644)
    (tmp_path / "bridge.yaml").write_text(f"broker: {{type: kafka, servers: 'kafka-1:9093', {section}}}\n" + HTTP_SOURCE.replace("$EVENTS", "events") + "sinks:\n"
                                          + webhook_sink("crm", "https://crm.example.com/").replace("$EVENTS", "events") + f"  failed: {{type: dead_letter, path: {tmp_path}/dead.db}}\n")
    done = subprocess.run([aqueduct, "check"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == code and said in done.stdout + done.stderr, done.stdout + done.stderr
    assert "a-password" not in done.stdout + done.stderr
    assert ("warning" in done.stdout + done.stderr) is (code == 0 and said != "")
