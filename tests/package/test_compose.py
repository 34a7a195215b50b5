# SPDX-License-Identifier: MIT
"""The compose files: what Docker Compose makes of them, and the services as it says, walked through without a daemon of containers: the image of the
Dockerfile, AnythingLLM's part played on its real schema, a real Kafka, a real Prometheus. Of Grafana there is no Debian package; it is not run."""
import contextlib
import json
import os
import pathlib
import shutil
import sys
import urllib.parse

import pytest

from conftest import ROOT, debian, do
from containers import Container, Network, whole
from aqueduct import unpacked, wait_for

sys.path.append(str(ROOT / "tests/demo"))
import anythingllm_app  # noqa: E402

DEPLOY = ROOT / "bridge/deploy"
SECRET, TOKEN = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "another-token-of-some-length"
GIVEN = {"CRM_SECRET": SECRET, "JWT_SECRET": "x" * 32, "LIVE_TOKEN": TOKEN}


@pytest.fixture(scope="module")
def compose():
    """compose(files, **environment): Docker Compose's answer, of a Debian that has it; the deploy folder is at /deploy."""
    system = debian("trixie", "docker-compose")
    at = system.folder / "deploy"
    shutil.rmtree(at, ignore_errors=True)
    shutil.copytree(DEPLOY, at)

    def run(files, **environment):
        words = [word for file in files for word in ("-f", f"/deploy/compose/{file}")]
        given = [f"{name}={value}" for name, value in environment.items()]
        return system.run(*given, "docker-compose", *words, "config", "--format", "json", check=False)
    run.folder = at / "compose"
    return run


def test_a_mistake_in_a_compose_file_is_found(compose):
    """So that what Docker Compose says of ours means something."""
    text = (DEPLOY / "compose/compose.yaml").read_text()
    for right, wrong in (("read_only: true", "read_onyl: true"), ("depends_on:\n      anythingllm:", "depends_on:\n      nobody:"), ("- kept:/var", "- unknown:/var")):
        assert right in text
        (compose.folder / "wrong.yaml").write_text(text.replace(right, wrong))
        done = compose(["wrong.yaml"], CRM_URL="http://crm/", **GIVEN)
        assert done.returncode != 0 and any(word in done.stdout for word in ("read_onyl", "nobody", "unknown")), done.stdout
    for name, why in (("CRM_URL", "who gets the events"), ("CRM_SECRET", "what signs them"), ("LIVE_TOKEN", "what listeners show")):
        given = {"CRM_URL": "http://crm/", **GIVEN}
        del given[name]
        done = compose(["compose.yaml"], **given)
        assert done.returncode != 0 and why in done.stdout


def test_what_the_file_says_to_type_is_all_that_it_needs(compose):
    """Docker Compose has the secrets of .env in each shell."""
    [line] = [line.strip("# \n") for line in (compose.folder / "compose.yaml").read_text().splitlines() if ">.env" in line]
    do("sh", "-c", line, cwd=compose.folder)
    secrets = compose.folder / ".env"
    try:
        assert secrets.stat().st_mode & 0o777 == 0o600
        done = compose(["compose.yaml"])
        assert done.returncode == 0, done.stdout
        got = json.loads(done.stdout)["services"]["aqueduct"]["environment"]
        assert got["AQUEDUCT_WEBHOOK_URL"] == "https://crm.example.com/hooks" and got["AQUEDUCT_WEBHOOK_SECRET"].startswith("whsec_") and len(got["AQUEDUCT_LIVE_TOKEN"]) == 32
    finally:
        secrets.unlink()


class Project:
    """The services of a project, as Docker Compose resolved it."""

    def __init__(self, told, image, folder):
        self.told, self.image, self.folder = told, image, folder
        self.network = Network(*told["services"], "crm")
        self.volumes = {}
        self.running = []           # what ends them

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for end in reversed(self.running):
            end()
        self.network.__exit__()

    def volume(self, name, owner=0):
        """A named volume; whoever mounts it first makes it, as its image's folder is."""
        if name not in self.volumes:
            self.volumes[name] = self.folder / f"volume-{name}"
            self.volumes[name].mkdir()
            os.chown(self.volumes[name], owner, owner)
        return self.volumes[name]

    def mounts(self, service, owner=0):
        for one in service.get("volumes", []):
            how = "ro" if one.get("read_only") else "rw"
            if one["type"] == "volume":
                yield self.volume(one["source"], owner), one["target"], how
            else:
                source = DEPLOY / pathlib.PurePath(one["source"]).relative_to("/deploy")
                assert source.exists(), source
                yield source, one["target"], how

    def container(self, name, root, entry, env=(), user="0:0", cwd="/", owner=0, more=()):
        """The service on this root: entry, environment, user and folder are its image's, where it says nothing of its own."""
        service = self.told["services"][name]
        words = [*(service.get("entrypoint") or entry[0]), *(service.get("command") or entry[1])]
        if name == "aqueduct":
            assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        network = None if service.get("network_mode") == "none" else self.network
        return Container(self.folder, root, words, dict(env) | (service.get("environment") or {}), service.get("user", user), cwd,
                         [*self.mounts(service, owner), *more], [*service.get("tmpfs", [])], service.get("read_only", False), network)

    def run(self, one):
        self.running.append(one.stop)
        return one.start()

    # ---- the services ----

    def anythingllm(self, ledger):
        """Its image runs as a user of 1000; here a script that writes what it writes."""
        root = debian("bookworm", "python3").folder
        self.told["services"]["anythingllm"]["command"] = ["/usr/bin/python3", "/tests/demo/anythingllm_app.py", "--db", "/app/server/storage/anythingllm.db",
                                                           "--rate", "5", "--seed", "3", "--ledger", "/ledger/expected.jsonl"]
        ledger.mkdir()
        os.chown(ledger, 1000, 1000)
        more = [(ROOT / "tests", "/tests", "ro"), (ledger, "/ledger", "rw")]
        return self.run(self.container("anythingllm", root, ([], []), user="1000:1000", owner=1000, more=more))

    def own(self):
        one = self.container("own", debian("bookworm").folder, ([], []))
        one.start().ended()
        assert one.stop() == 0, one.log()

    def aqueduct(self):
        root, config = self.image
        env = dict(word.split("=", 1) for word in config["Env"])
        return self.run(self.container("aqueduct", root, (config["Entrypoint"], config["Cmd"]), env, config["User"], config["WorkingDir"]))

    def kafka(self):
        """On this machine; its image makes of KAFKA_A_B the property a.b."""
        service = self.told["services"]["kafka"]
        properties = {name.removeprefix("KAFKA_").lower().replace("_", "."): value for name, value in service["environment"].items()}
        [(data, target, _)] = self.mounts(service)
        assert properties["log.dirs"] == target
        properties["log.dirs"] = str(data)
        self.running.append(self.network.kafka(self.folder, properties))

    def prometheus(self):
        """Its image: as nobody, with its data in a volume of nobody's."""
        more = [(unpacked("prometheus"), "/bin/prometheus", "ro")]
        return self.run(self.container("prometheus", debian("bookworm").folder, (["/bin/prometheus"], []), user="65534:65534", owner=65534, more=more))


@pytest.mark.parametrize("more", [[], ["kafka.yaml"], ["eyes.yaml"]], ids=["alone", "kafka", "eyes"])
def test_a_document_that_is_ready_arrives_as_a_signed_webhook(compose, image, tmp_path, capsys, more):
    done = compose(["compose.yaml", *more], CRM_URL="http://crm:8000/hooks", **GIVEN)
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    known = {"anythingllm", "own", "aqueduct", "kafka", "prometheus", "grafana"}
    assert set(told["services"]) <= known and told["services"]["aqueduct"]["image"] == "aqueduct"
    with Project(told, image, tmp_path) as project:
        ledger = tmp_path / "ledger"
        received, end = project.network.receiver(tmp_path, SECRET)
        project.running.append(end)
        app = project.anythingllm(ledger)
        project.own()
        for name in ("kafka", "prometheus"):
            if name in told["services"]:
                getattr(project, name)()
        bridge = project.aqueduct()
        health = project.image[1]["Healthcheck"]["Test"][1:]
        wait_for(lambda: bridge.exec(*health).stdout == "ready\n", 120, lambda: bridge.log() + app.log(), 0.2)
        before = len(whole(ledger / "expected.jsonl"))

        def later(kind):
            return [one for line in whole(ledger / "expected.jsonl")[before:] for one in line["expect"] if one[0] == kind]
        wait_for(lambda: later("document.embedded") and later("chat.response.generated"), 120, app.log, 0.2)
        assert app.stop() == 0, app.log()
        lines = whole(ledger / "expected.jsonl")
        must, may = anythingllm_app.expected(lines)
        known = {subject for line in lines[:before] for _, subject in line["expect"]}       # what was there at the first look is no news
        must &= {(kind, subject) for line in lines[before:] for kind, subject in line["expect"] if subject not in known}
        assert "document.embedded" in {kind for kind, _ in must}
        seen = lambda: {(one["type"], one["subject"]) for one in received() if one["verified"] and one["mode"] == "ok"}     # noqa: E731
        wait_for(lambda: must <= seen(), 120, lambda: f"{must - seen()}\n{bridge.log()[-3000:]}", 0.2)
        assert seen() <= may and all(one["verified"] for one in received())
        with capsys.disabled():
            print(f"\n{'+'.join(['compose.yaml', *more])}: {len(lines)} commits, {len(must)} events asked for, {len(received())} signed requests")

        live = f"http://{project.network.address['aqueduct']}:8081/"
        assert project.network.ask(live, "-o", "/dev/null", "-w", "%{http_code}") == "401"
        stream = ["-m", "2", "-o", "/dev/null", "-w", "%{http_code} %{content_type}", "-H", f"Authorization: Bearer {TOKEN}", "-H", "Accept: text/event-stream"]
        assert project.network.ask(live, *stream).startswith("200 text/event-stream")
        metrics = project.network.ask(f"http://{project.network.address['aqueduct']}:9464/metrics", "-H", "Host: aqueduct:9464" if "prometheus" in told["services"] else "Host: localhost")
        assert "aqueduct_sink_delivered_total" in metrics, metrics[:300]
        if "kafka" in told["services"]:
            assert not (project.volume("kept") / "aqueduct.db").exists() and any(project.volume("log").glob("*events*")), list(project.volume("log").iterdir())
        if "prometheus" in told["services"]:
            sees(project)
        assert bridge.stop() == 0, bridge.log()


def sees(project):
    """Prometheus reaches the bridge by the name that the compose file gives it, and has its rules."""
    at = f"http://{project.network.address['prometheus']}:9090/api/v1/"

    def asked(path):
        with contextlib.suppress(ValueError):
            return json.loads(project.network.ask(at + path))["data"]
    wait_for(lambda: [one["value"][1] for one in (asked("query?query=" + urllib.parse.quote('up{job="aqueduct"}')) or {}).get("result", [])] == ["1"], 90,
             lambda: str(asked("targets")), 0.5)
    assert len(asked("rules")["groups"][0]["rules"]) > 5


def test_all_files_together_are_a_project(compose):
    done = compose(["compose.yaml", "kafka.yaml", "eyes.yaml"], CRM_URL="https://crm.example.com/hooks", **GIVEN)
    told = json.loads(done.stdout)
    assert set(told["services"]) == {"anythingllm", "own", "aqueduct", "kafka", "prometheus", "grafana"}
    assert told["services"]["aqueduct"]["environment"]["AQUEDUCT_KAFKA_BOOTSTRAP"] == "kafka:9092"
    for service in told["services"].values():
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", "nothing is open to others"
        for one in service.get("volumes", []):
            assert one["type"] != "bind" or (DEPLOY / pathlib.PurePath(one["source"]).relative_to("/deploy")).exists(), one
