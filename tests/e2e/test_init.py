# SPDX-License-Identifier: MIT
"""`aqueduct init`: a first configuration by flags, by what is found, and by questions on a terminal; and that it works."""
import json
import os
import pty
import re
import select
import sqlite3
import stat
import subprocess
import time

import pytest
import requests

from conftest import Receiver, wait_for
from test_apps import APPS, App


def make_app(name, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    App(name, path, APPS[name][1]).db.close()
    return path


@pytest.fixture
def run(aqueduct, tmp_path):
    (tmp_path / "home").mkdir()

    def call(*args, code=0, cwd=None):
        done = subprocess.run([aqueduct, *args], cwd=cwd or tmp_path, env={"HOME": str(tmp_path / "home")}, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return done
    call.folder = tmp_path
    return call


@pytest.mark.parametrize("app", ["anythingllm", "open-webui", "n8n", "kotaemon", "flowise"])
def test_a_database_is_recognised_and_its_configuration_passes_the_check(run, app):
    make_app(app, run.folder / "app.db")
    done = run("init", "--database", "app.db", "--url", "https://crm.example.com/hooks")
    text = (run.folder / "bridge.yaml").read_text()
    assert f"preset: {app}" in text and str(run.folder / "app.db") in text and "type: local" in text
    assert "next: aqueduct run\n" in done.stdout and done.stderr == ""
    secret = run.folder / "bridge.webhook-secret"
    assert secret.read_text().startswith("whsec_") and stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text().strip() not in text + done.stdout
    assert run("check").stdout.startswith("ok: ")


def test_nothing_is_overwritten_and_secrets_stay(run):
    make_app("n8n", run.folder / "app.db")
    run("init", "--database", "app.db", "--url", "https://crm.example.com/a")
    before = (run.folder / "bridge.yaml").read_text(), (run.folder / "bridge.webhook-secret").read_text()
    done = run("init", "--database", "app.db", "--url", "https://crm.example.com/b", code=1)
    assert "bridge.yaml is there already: --force replaces it, --out FILE writes another" in done.stderr
    assert before == ((run.folder / "bridge.yaml").read_text(), (run.folder / "bridge.webhook-secret").read_text())
    run("init", "--database", "app.db", "--url", "https://crm.example.com/b", "--force")
    assert "/b" in (run.folder / "bridge.yaml").read_text()
    assert before[1] == (run.folder / "bridge.webhook-secret").read_text()
    run("init", "--database", "app.db", "--out", "other.yaml")
    assert sorted(p.name for p in run.folder.iterdir() if p.is_file()) == ["app.db", "bridge.webhook-secret", "bridge.yaml", "other.yaml"]


@pytest.mark.parametrize("url, receiver", [
    ("https://hooks.slack.com/services/T0/B0/abc", "slack"), ("https://discord.com/api/webhooks/1/abc", "discord"),
    ("https://hooks.zapier.com/hooks/catch/1/abc", "zapier"), ("https://hook.eu1.make.com/abc", "zapier"),
    ("https://n8n.example.com/webhook/abc", "n8n"), ("https://x.webhook.office.com/abc", "teams"),
    ("https://flow.example.com/api/v1/prediction/abc", "flowise")])
def test_the_url_of_a_known_receiver_is_a_secret_and_gets_its_form(run, url, receiver):
    make_app("anythingllm", run.folder / "app.db")
    done = run("init", "--database", "app.db", "--url", url)
    text = (run.folder / "bridge.yaml").read_text()
    assert f"for: {receiver} " in text and "abc" not in text + done.stdout
    file = run.folder / "bridge.webhook-url"
    assert file.read_text() == url + "\n" and stat.S_IMODE(file.stat().st_mode) == 0o600
    run("init", "--database", "app.db", "--url", url, "--for", "none", "--out", "plain.yaml")
    assert "for:" not in (run.folder / "plain.yaml").read_text()


def test_elsewhere_with_kafka_and_a_source_of_requests(run):
    (run.folder / "etc").mkdir()
    done = run("init", "--http", "18080", "--kafka", "kafka-1:9092", "--out", "etc/aq.yaml", "--json")
    said = json.loads(done.stdout)
    etc = run.folder / "etc"
    assert said["file"] == "etc/aq.yaml" and said["http"] == "127.0.0.1:18080" and said["secrets"] == [f"{etc}/aq.token"]
    assert said["ok"] is True
    text = (etc / "aq.yaml").read_text()
    assert "servers: \"kafka-1:9092\"" in text and f"path: \"{etc}/dead-letters.db\"" in text
    assert run("check", "-c", "etc/aq.yaml").stdout.startswith("ok: ")
    assert run("check", "-c", str(etc / "aq.yaml"), cwd="/").stdout.startswith("ok: ")


def test_who_reads_a_service_s_configuration_reads_its_secrets(run):
    """Root replaces the package's file: it stays the group's that the daemon runs as. Another user writes files of his own."""
    file, token = run.folder / "bridge.yaml", run.folder / "bridge.token"
    file.write_text("# the package's")
    file.chmod(0o640)
    root = os.geteuid() == 0
    os.chown(file, -1, 65534 if root else -1)
    run("init", "--http", "18080", "--force")
    rights = [(stat.S_IMODE(one.stat().st_mode), one.stat().st_gid == 65534) for one in (file, token)]
    assert rights == ([(0o640, True), (0o640, True)] if root else [(0o644, False), (0o600, False)])
    token.unlink()
    file.chmod(0o644)
    run("init", "--http", "18080", "--force")
    assert stat.S_IMODE(token.stat().st_mode) == 0o600, "all may read the configuration, none the secret"
    run("check")


def test_content_by_digest_gets_a_key(run):
    make_app("open-webui", run.folder / "app.db")
    run("init", "--database", "app.db", "--content", "hash")
    assert "content_key: \"${file:./bridge.content-key}\"" in (run.folder / "bridge.yaml").read_text()
    assert run("check").stdout.startswith("ok: ")


def test_databases_are_found_in_the_usual_places(run):
    assert "no database of a known application is in the usual places" in run("init", code=1).stderr
    desktop = make_app("anythingllm", run.folder / "home/.config/anythingllm-desktop/storage/anythingllm.db")
    done = run("init", "--json")
    assert json.loads(done.stdout)["database"] == str(desktop)
    make_app("flowise", run.folder / "home/.flowise/database.sqlite")
    done = run("init", "--force", code=1)
    assert "several databases" in done.stderr and str(desktop) in done.stderr and ".flowise" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("args, why", [
    (["--database", "gone.db"], "gone.db"), (["--database", "text"], "no SQLite database"),
    (["--http", "nowhere"], "--http"), (["--http", "1", "--url", "ftp://x"], "begins with http"),
    (["--http", "1", "--out", "no/such.yaml"], "--out no/"), (["--http", "1", "--out", b"\xff.yaml"], "--out is not UTF-8"),
    (["--http", "1", "--url", "https://me:a-password@a.example/"], "--url: a user name and password stand in no URL"),
    (["--http", "1", "--url", "https://a.example/\nb"], "--url: a blank or a line break is no part of a URL"),
    (["--http", "1", "--for", "slack"], "--url is missing"),
    (["--http", "1", "--url", "https://a.example/", "--for", "sleck"], "--for: ")])
def test_what_cannot_be_is_said_and_nothing_is_written(run, args, why):
    (run.folder / "text").write_text("text " * 100)
    told = run("init", *args, code=1).stderr
    assert why in told and "a-password" not in told
    assert sorted(p.name for p in run.folder.iterdir()) == ["home", "text"]


def test_the_page_does_not_take_the_port_of_those_who_post(run):
    run("init", "--http", "8081")
    text = (run.folder / "bridge.yaml").read_text()
    assert text.count("127.0.0.1:8081") == 1


def test_tables_that_nobody_knows(run):
    db = sqlite3.connect(run.folder / "own.db")
    db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT)")
    db.commit()
    done = run("init", "--database", "own.db", code=1)
    assert "anythingllm, open-webui, n8n, kotaemon, flowise" in done.stderr and "aqueduct sqlite inspect" in done.stderr
    done = run("init", "--database", "own.db", "--app", "anythinglm", code=1)
    assert "did you mean anythingllm?" in done.stderr and "aqueduct check" in done.stdout


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *words, **more):
        self.main, other = pty.openpty()
        self.process = subprocess.Popen(words, stdin=other, stdout=other, stderr=other, **more)
        os.close(other)
        self.seen = ""

    def wait_for(self, text):
        while text not in self.seen:
            assert select.select([self.main], [], [], 40)[0], self.seen
            try:
                piece = os.read(self.main, 4096).decode()
            except OSError:
                piece = ""
            assert piece, self.seen
            self.seen += piece

    def answer(self, question, text):
        self.wait_for(question)
        self.seen = ""
        os.write(self.main, (text + "\n").encode())

    def end(self):
        while True:
            try:
                self.seen += os.read(self.main, 4096).decode()
            except OSError:
                break
        os.close(self.main)
        return self.process.wait(40)


def test_a_newcomer_is_asked_and_gets_his_first_delivery(aqueduct, tmp_path):
    """What the guide's five minutes promise: init, run, and the receiver has a signed event."""
    home = tmp_path / "home"
    path = make_app("anythingllm", home / "anythingllm/anythingllm.db")
    receiver = Receiver()
    env = {"HOME": str(home), "PATH": os.environ["PATH"]}
    t = Terminal(aqueduct, "init", cwd=tmp_path, env=env)
    t.wait_for(f"1  AnythingLLM: {path}")
    t.answer("the path of a database [1]", "7")
    t.wait_for("there is no 7 in the list")
    t.answer("the path of a database [1]", "")
    t.answer("only a page in the browser []", "crm.example.com")
    t.wait_for("a URL begins with http")
    t.answer("only a page in the browser []", receiver.url)
    t.answer("the embedded log []", receiver.url)       # one question too late
    t.wait_for("servers are host:port")
    t.answer("the embedded log []", "")
    t.answer("[full]", "")
    assert t.end() == 0, t.seen
    assert "next: aqueduct run" in t.seen
    daemon = subprocess.Popen([aqueduct, "run"], cwd=tmp_path, env=env, stderr=open(tmp_path / "log", "w"))
    try:
        log = lambda: (tmp_path / "log").read_text()    # noqa: E731
        wait_for(lambda: "msg=watching source=anythingllm" in log(), why=log)
        with sqlite3.connect(path) as db:
            db.execute("INSERT INTO event_logs(event, metadata, occurredAt) VALUES('login_event', '{}', ?)", [int(time.time() * 1000)])
        db.close()
        got = wait_for(receiver.all, why=log)[0]
        assert got["headers"]["webhook-signature"].startswith("v1,") and got["headers"]["content-type"] == "application/json"
        live = re.search(r"http://(127.0.0.1:\d+)/", t.seen)[1]
        assert "<html" in requests.get(f"http://{live}/", headers={"Accept": "text/html"}, timeout=10).text
    finally:
        daemon.terminate()
        daemon.wait(40)
        receiver.close()


def test_the_end_of_the_input_writes_nothing(aqueduct, tmp_path):
    t = Terminal(aqueduct, "init", cwd=tmp_path, env={"HOME": str(tmp_path)})
    t.wait_for("the path of a database")
    os.write(t.main, b"\x04")
    assert t.end() == 1 and "nothing was written" in t.seen
    assert list(tmp_path.iterdir()) == []
