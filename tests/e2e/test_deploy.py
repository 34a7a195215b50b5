# SPDX-License-Identifier: MIT
"""What bridge/deploy brings holds against the program: boards and alerts name metrics that there are, configurations in it pass the check."""
import contextlib
import json
import re
import sqlite3
import subprocess

import pytest
import yaml

import aqueduct as support
from conftest import ROOT

DEPLOY = ROOT / "bridge/deploy"
FOREIGN = {"up"}        # Prometheus' own


@pytest.fixture(scope="module")
def families(aqueduct):
    """Name of each metric as a query may have it -> its labels."""
    text = subprocess.run([aqueduct, "help", "metrics"], capture_output=True, text=True, check=True).stdout
    found = {}
    for name, kind, labels in re.findall(r"^  (aqueduct_\w+)  \((\w+)(?:, by ([^)]*))?\)$", text, re.M):
        for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            found[name + suffix] = set(filter(None, labels.split(", "))) | ({"le"} if suffix == "_bucket" else set())
    assert len(found) > 100
    return found


def queries_of_board():
    board = json.loads((DEPLOY / "grafana/aqueduct.json").read_text())
    return [(panel["title"], target["expr"], target["legendFormat"]) for panel in board["panels"] for target in panel["targets"]]


def queries_of_alerts():
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
    return [(rule["alert"], rule["expr"], " ".join(rule["annotations"].values()).replace("$labels.", "").replace("$value", "")) for rule in rules]


def test_boards_and_alerts_name_metrics_and_labels_that_there_are(families):
    for title, expr, text in queries_of_board() + queries_of_alerts():
        names = set(re.findall(r"\b(aqueduct_\w+|up)\b", re.sub(r'"[^"]*"', "", expr)))
        assert names and names <= set(families) | FOREIGN, (title, names - set(families))
        labels = set().union(*(families.get(name, set()) for name in names)) | {"instance", "job"}
        used = set(re.findall(r"{{\s*(\w+)\s*}}", text))
        for inside in re.findall(r"(?:by|on) \(([^)]*)\)", expr):
            used |= set(inside.split(", "))
        for inside in re.findall(r"{([^}]*)}", expr):
            used |= set(re.findall(r"(\w+)=", inside))
        assert used <= labels, (title, used - labels)


def test_what_must_not_be_missed_has_an_alert():
    text = " ".join(expr for _, expr, _ in queries_of_alerts())
    for name in ("records_lost_total", "sqlite_lost_total", "sink_dead_total", "sink_oldest_timestamp_seconds", "sink_waiting", "last_look_timestamp_seconds",
                 "rules_unusable", "sink_lag_records", "broker_refused_total", "unserved_records"):
        assert "aqueduct_" + name in text or "aqueduct_sqlite_" + name in text, name


def check(aqueduct, folder, env, *words):
    return subprocess.run([aqueduct, "check", *words], cwd=folder, env=support.environment(**env), capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("more", [[], ["kafka.yaml"], ["eyes.yaml"], ["kafka.yaml", "eyes.yaml"]])
def test_the_compose_files_give_a_whole_configuration(aqueduct, tmp_path, more):
    env = {}
    for name in ["compose.yaml", *more]:
        service = yaml.safe_load((DEPLOY / "compose" / name).read_text())["services"]["aqueduct"]
        env |= service["environment"]
        if name == "compose.yaml":
            assert service["read_only"] and service["cap_drop"] == ["ALL"] and "storage:/app/server/storage:ro" in service["volumes"]
    with contextlib.closing(sqlite3.connect(tmp_path / "anythingllm.db")) as db:
        db.executescript((ROOT / "tests/data/anythingllm.sql").read_text())
    given = {"CRM_URL": "https://crm.example.com/hooks", "CRM_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "JWT_SECRET": "x", "LIVE_TOKEN": "another-token-of-some-length"}
    env = {name: re.sub(r"\$\{(\w+)[^}]*\}", lambda m: given[m[1]], value) for name, value in env.items()}
    env |= {"AQUEDUCT_SQLITE_PATH": str(tmp_path / "anythingllm.db"), "AQUEDUCT_DATA": str(tmp_path)}
    done = check(aqueduct, tmp_path, env)
    assert done.returncode == 0 and "ok: 1 source, 3 sinks" in done.stdout, done.stderr
    assert "no variable" not in done.stderr and "no effect" not in done.stderr


def test_the_configurations_of_package_and_manifests_pass_the_check(aqueduct, tmp_path):
    text = (DEPLOY / "bridge.yaml").read_text().replace("/var/lib/aqueduct", str(tmp_path))
    (tmp_path / "package.yaml").write_text(text)
    assert check(aqueduct, tmp_path, {}, "-c", "package.yaml").returncode == 0
    for name, secret in (("crm", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), ("ingest", "a-token-of-some-length-0123")):
        (tmp_path / name).write_text(secret)
        (tmp_path / name).chmod(0o600)
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes/aqueduct.yaml").read_text()))
    assert {one["kind"] for one in documents} == {"ServiceAccount", "Secret", "ConfigMap", "Service", "PodDisruptionBudget", "StatefulSet"}
    config = next(one for one in documents if one["kind"] == "ConfigMap")["data"]["bridge.yaml"]
    (tmp_path / "kubernetes.yaml").write_text(config.replace("/run/secrets/aqueduct", str(tmp_path)).replace("/var/lib/aqueduct", str(tmp_path)))
    done = check(aqueduct, tmp_path, {"POD_NAME": "aqueduct-0"}, "-c", "kubernetes.yaml")
    assert done.returncode == 0, done.stderr


def test_what_is_to_be_replaced_is_no_secret(aqueduct, tmp_path):
    """Who forgets one of the manifest's secrets hears of it, and has no door that all readers of the guide can open."""
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes/aqueduct.yaml").read_text()))
    [secrets], [config] = ([one for one in documents if one["kind"] == kind] for kind in ("Secret", "ConfigMap"))
    given = {"crm": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "ingest": "a-token-of-some-length-0123"}
    (tmp_path / "bridge.yaml").write_text(config["data"]["bridge.yaml"].replace("/run/secrets/aqueduct", str(tmp_path)).replace("/var/lib/aqueduct", str(tmp_path)))
    for forgotten, text in secrets["stringData"].items():
        for name in given:
            (tmp_path / name).write_text(text if name == forgotten else given[name])
            (tmp_path / name).chmod(0o600)
        done = check(aqueduct, tmp_path, {"POD_NAME": "aqueduct-0"})
        assert done.returncode == 1 and ("placeholder" in done.stderr or "base64" in done.stderr), (forgotten, done.stderr)


def test_the_manifest_runs_this_version():
    text = (DEPLOY / "kubernetes/aqueduct.yaml").read_text()
    version = re.search(r"project\(aqueduct VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
    assert set(re.findall(r"aqueduct:(\d\S*\d)", text)) == {version}


def test_an_image_is_built_of_all_that_is_installed():
    """A build in Docker has only what .dockerignore lets through."""
    passed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    installed = re.findall(r"^install\((?:FILES|DIRECTORY) ([^$]*?) (?:DESTINATION|RENAME)", (DEPLOY / "package.cmake").read_text(), re.M)
    names = {name.split("/")[0] for group in installed for name in group.split()}
    assert {"LICENSE", "README.zh.md", "CHANGELOG.md", "schemas"} <= names and names <= passed, names - passed
