# SPDX-License-Identifier: MIT
"""Webhooks as a receiver sees them: signatures judged by the official libraries, retries, dead letters, redrive."""
import base64
import json
import pathlib
import shutil
import signal
import subprocess
import time

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOXED = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RAW = "a raw secret of more than 24 characters"
TOKEN = "a-token-of-some-length-0123"


@pytest.fixture(scope="session")
def judge():
    """Asks npm's standardwebhooks and svix about a list of {id, timestamp, signature, body_base64, secret}."""
    folder = ROOT / "build/verify"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "verify.mjs"):
        shutil.copy(ROOT / "tests/e2e/verify" / name, folder / name)
    if not (folder / "node_modules/svix").is_dir() or not (folder / "node_modules/standardwebhooks").is_dir():
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"], cwd=folder, check=True, timeout=300)

    def ask(lines):
        done = subprocess.run(["node", "verify.mjs"], cwd=folder, input="\n".join(map(json.dumps, lines)), capture_output=True, text=True, timeout=120)
        assert done.stderr == ""
        return done.stdout.split("\n")[:-1]
    return ask


def wait_for(what, seconds=30):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


class Setup:
    """A daemon with an http source, a webhook sink and a dead_letter sink, and the demo receiver."""

    def __init__(self, aqueduct, folder, sink="", path="/hook", secrets=(BOXED,), receiver=()):
        self.aqueduct, self.folder = aqueduct, folder
        self.ledger_file = folder / "ledger.jsonl"
        self.receiver = subprocess.Popen(["/usr/bin/python3", str(ROOT / "tests/demo/receiver.py"), "--ledger", str(self.ledger_file), "--bodies",
                                          *[f"--secret={s}" for s in secrets], *receiver], stdout=subprocess.PIPE, text=True)
        url = self.receiver.stdout.readline().split()[-1]
        self.config = folder / "bridge.yaml"
        self.config.write_text(f"""
broker: {{type: local, path: {folder}/data}}
sources:
  hooks:
    type: http
    listen: unix:{folder}/in.sock
    paths: [{{path: /v1, verify: {{scheme: bearer, secrets: [{TOKEN}]}}}}]
routes: [{{topic: events}}]
sinks:
  crm:
    type: webhook
    topics: [events]
    url: {url}{path}
    secrets: {json.dumps(list(secrets))}
    start: earliest
    {sink}
  failed: {{type: dead_letter, path: {folder}/dead.db}}
admin: {{listen: ""}}
""")
        self.log = open(folder / "log", "w")
        self.daemon = subprocess.Popen([aqueduct, "run", "-c", str(self.config)], stderr=self.log, cwd=folder)

    def post(self, **attributes):
        event = {"specversion": "1.0", "source": "/e2e", "type": "thing.happened", **attributes}

        def attempt():
            assert self.daemon.poll() is None, (self.folder / "log").read_text()
            return (self.folder / "in.sock").exists() and subprocess.run(
                ["curl", "-sS", "--unix-socket", str(self.folder / "in.sock"), "-H", f"Authorization: Bearer {TOKEN}",
                 "-H", "Content-Type: application/cloudevents+json", "--data-binary", json.dumps(event), "-o", "/dev/null", "-w", "%{http_code}",
                 "http://localhost/v1"], capture_output=True, text=True, timeout=30).stdout.startswith("2")
        wait_for(attempt)

    def ledger(self):
        return [json.loads(line) for line in self.ledger_file.read_text().splitlines()] if self.ledger_file.exists() else []

    def arrived(self, count, **having):
        return wait_for(lambda: (lambda hits: hits if len(hits) >= count else None)(
            [line for line in self.ledger() if all(line[k] == v for k, v in having.items())]))

    def dead(self, *words):
        return subprocess.run([self.aqueduct, "dead", *words, "-c", str(self.config)], cwd=self.folder, capture_output=True, text=True, timeout=60)

    def dead_json(self, *words):
        return [json.loads(line) for line in self.dead("list", "--json", *words).stdout.splitlines()]

    def stop(self):
        self.daemon.send_signal(signal.SIGTERM)
        code = self.daemon.wait(30)
        self.receiver.send_signal(signal.SIGTERM)
        self.receiver.communicate(timeout=30)
        self.log.close()
        return code


@pytest.fixture
def setup(aqueduct, tmp_path):
    made = []

    def make(**kw):
        made.append(Setup(aqueduct, tmp_path, **kw))
        return made[-1]
    yield make
    for s in made:
        if s.daemon.poll() is None:
            s.daemon.kill()
            s.daemon.wait()
        if s.receiver.poll() is None:
            s.receiver.kill()
            s.receiver.wait()


def test_the_judges_judge(judge):
    good = {"secret": BOXED, "id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "timestamp": "1614265330", "now": 1614265330,
            "body_base64": base64.b64encode(b'{"test": 2432232314}').decode(), "signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}
    answers = judge([good, {**good, "id": "msg_other"}, {**good, "now": 1614265330 + 301}, {**good, "secret": RAW}])
    assert answers[0] == "ok"
    assert all(a.startswith("failed standardwebhooks") for a in answers[1:])


def test_signatures_convince_the_official_libraries(setup, judge):
    s = setup(secrets=(BOXED, RAW))
    for i in range(20):
        s.post(id=f"event-number-{i:04}", data={"n": i, "text": "Euro € 😀"})
    lines = s.arrived(20)
    assert all(line["verified"] for line in lines)
    assert {line["event_id"] for line in lines} == {f"event-number-{i:04}" for i in range(20)}
    for secret in (BOXED, RAW):         # each key alone is enough
        asked = [{k: line[k] for k in ("id", "timestamp", "signature", "body_base64")} | {"secret": secret} for line in lines]
        assert judge(asked) == ["ok"] * len(asked)
    spoiled = [{**a, "body_base64": base64.b64encode(base64.b64decode(a["body_base64"]) + b" ").decode()} for a in asked[:3]]
    assert all(a.startswith("failed") for a in judge(spoiled))
    assert s.stop() == 0


def test_a_failed_attempt_is_retried_with_the_same_id_and_a_fresh_timestamp(setup, tmp_path):
    mode = tmp_path / "mode"
    mode.write_text("503")
    s = setup(sink="retry: [1100ms, 100ms, 100ms, 100ms]", receiver=["--mode-file", str(mode)])
    s.post(id="event-to-be-retried")
    first = s.arrived(1)[0]
    mode.write_text("ok")
    second = s.arrived(2)[1]
    assert first["id"] == second["id"] == "event-to-be-retried"
    assert int(second["timestamp"]) > int(first["timestamp"])
    assert first["verified"] and second["verified"]
    assert s.stop() == 0


def test_what_stays_refused_is_listed_shown_and_redriven(setup, tmp_path, judge):
    mode = tmp_path / "mode"
    mode.write_text("500")
    s = setup(sink="retry: [10ms]", receiver=["--mode-file", str(mode)])
    s.post(id="event-that-has-died", subject="thing/1", data={"a": 1.10})
    dead = wait_for(s.dead_json)
    schema = json.loads((ROOT / "schemas/dead_letter.schema.json").read_text())
    for line in dead:
        jsonschema.validate(line, schema)
    assert len(dead) == 1
    assert dead[0]["id"] == "event-that-has-died" and dead[0]["sink"] == "crm" and dead[0]["attempts"] == 2
    assert dead[0]["status"] == 500 and dead[0]["class"] == "refused" and dead[0]["origin"]["topic"] == "events"
    assert "event-that-has-died" in s.dead("list").stdout
    shown = s.dead("show", "event-that-has-died").stdout
    assert "500 Internal Server Error" in shown and '"a": 1.1' in shown
    mode.write_text("ok")
    done = s.dead("redrive", "event-that-has-died")     # while the daemon runs
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "redriven 1, refused 0, of 1"
    again = s.arrived(1, mode="ok")[0]
    assert again["id"] == "event-that-has-died" and again["verified"] and again["arrival"] == 3
    assert judge([{k: again[k] for k in ("id", "timestamp", "signature", "body_base64")} | {"secret": BOXED}]) == ["ok"]
    wait_for(lambda: not s.dead_json())
    assert [line["redrives"] for line in s.dead_json("--state", "redriven")] == [1]
    assert s.dead("redrive", "event-that-has-died").returncode == 1     # not twice by accident
    assert s.stop() == 0


def test_gone_means_no_retry(setup):
    s = setup(path="/as/410", sink="retry: [10ms, 10ms]")
    s.post(id="event-for-nobody")
    dead = wait_for(s.dead_json)
    assert dead[0]["attempts"] == 1 and dead[0]["status"] == 410
    assert len(s.ledger()) == 1
    assert s.stop() == 0


@pytest.mark.parametrize("mode, words", [("reset", "connection lost"), ("hang", "timeout after 300 ms"), ("close", "connection lost")])
def test_silence_is_unavailable(setup, mode, words):
    s = setup(path=f"/as/{mode}", sink="retry: []\n    timeout: 300ms")
    s.post(id="event-without-answer")
    dead = wait_for(s.dead_json)
    assert dead[0]["class"] == "unavailable" and dead[0]["status"] is None and dead[0]["reason"].startswith(words)
    assert s.stop() == 0


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for 127.0.0.1: (certificate file, key file)."""
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=test",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", pem], check=True, capture_output=True)
    return pem, key


def test_tls_is_verified(setup, certificate):
    s = setup(sink="retry: []", receiver=[f"--tls-certificate={certificate[0]}", f"--tls-key={certificate[1]}"])
    s.post(id="event-over-untrusted-tls")
    dead = wait_for(s.dead_json)
    assert dead[0]["class"] == "unavailable" and dead[0]["reason"].startswith("TLS: the certificate is not trusted: self-signed certificate")
    assert s.ledger() == []
    assert s.stop() == 0


def test_tls_with_an_authority_of_ones_own(setup, certificate):
    s = setup(sink=f"ca_file: {certificate[0]}", receiver=[f"--tls-certificate={certificate[0]}", f"--tls-key={certificate[1]}"])
    s.post(id="event-over-trusted-tls")
    assert s.arrived(1)[0]["verified"]
    assert s.stop() == 0
