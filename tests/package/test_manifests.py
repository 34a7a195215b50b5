# SPDX-License-Identifier: MIT
"""The manifests of Kubernetes: each object by the schemas of Kubernetes' own API, and what one says of another is so."""
import copy
import itertools
import json
import os

import pytest
import yaml

from conftest import ROOT, WORK, do
from containers import Container, Network
from aqueduct import wait_for

DOCUMENTS = list(yaml.safe_load_all((ROOT / "bridge/deploy/kubernetes/aqueduct.yaml").read_text()))
VERSIONS = ["1.25", "1.31", "1.37"]     # of Kubernetes; the first and the last that the validator has


def one(kind, name="aqueduct", documents=DOCUMENTS):
    [found] = [document for document in documents if document["kind"] == kind and document["metadata"]["name"] == name]
    return found


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """judge(documents, version) by the strict schemas of that version of Kubernetes: (how many are right, what is wrong with the others)."""
    venv = WORK / "kubernetes-venv"
    if not (venv / "bin/kubernetes-validate").exists():
        do("/usr/bin/python3", "-m", "venv", venv)
        do(venv / "bin/pip", "install", "-q", "kubernetes-validate==1.37.0")
    file = tmp_path_factory.mktemp("manifests") / "these.yaml"

    def run(documents, version):
        file.write_text(yaml.safe_dump_all(documents))
        lines = do(venv / "bin/kubernetes-validate", "--strict", "-k", version, file, check=False).stdout.splitlines()
        return len([line for line in lines if line.startswith("INFO ") and " passed " in line]), [line for line in lines if not line.startswith("INFO ")]
    return run


@pytest.mark.parametrize("version", VERSIONS)
def test_each_object_is_as_kubernetes_has_it(judge, version):
    assert judge(DOCUMENTS, version) == (len(DOCUMENTS), [])


def test_a_mistake_in_an_object_is_found(judge):
    for kind, path, value, word in (("StatefulSet", ("spec", "template", "spec", "containers", 0, "livenesProbe"), {}, "livenesProbe"),
                                    ("StatefulSet", ("spec", "replicas"), "two", "two"),
                                    ("StatefulSet", ("spec", "template", "spec", "containers", 0, "readinessProbe", "httpGet", "port"), [], "port"),
                                    ("PodDisruptionBudget", ("spec", "maxUnavailble"), 1, "maxUnavailble"), ("Service", ("spec", "ports", 0, "port"), "x", "port")):
        documents = copy.deepcopy(DOCUMENTS)
        at = one(kind, documents=documents)
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value
        right, wrong = judge(documents, "1.31")
        assert right == len(DOCUMENTS) - 1 and len(wrong) == 1 and word in wrong[0], (path, wrong)


def test_what_one_object_says_of_another_is_so():
    """No schema sees this."""
    workload, pod = one("StatefulSet"), one("StatefulSet")["spec"]["template"]
    [container] = pod["spec"]["containers"]
    labels, ports = pod["metadata"]["labels"].items(), {port["name"]: port["containerPort"] for port in container["ports"]}
    selectors = [workload["spec"]["selector"]["matchLabels"], one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]]
    selectors += [document["spec"]["selector"] for document in DOCUMENTS if document["kind"] == "Service"]
    assert all(selector.items() <= labels for selector in selectors)
    assert one("Service", workload["spec"]["serviceName"])["spec"]["clusterIP"] == "None"
    assert one("PodDisruptionBudget")["spec"]["maxUnavailable"] < workload["spec"]["replicas"]
    assert one("ServiceAccount", pod["spec"]["serviceAccountName"])
    for document in DOCUMENTS:
        for port in document["spec"]["ports"] if document["kind"] == "Service" else ():
            assert port.get("targetPort", port["port"]) in (*ports, *ports.values())
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]} | {claim["metadata"]["name"]: claim for claim in workload["spec"]["volumeClaimTemplates"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert one("ConfigMap", volumes["config"]["configMap"]["name"]) and one("Secret", volumes["secrets"]["secret"]["secretName"])
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(ports["admin"])


# ---- a pod ----

def projected(folder, files, at, mode=0o644, group=0):
    """Files as the kubelet lays them: a link leads to the folder of the newest, and is exchanged."""
    data = folder / f"..{at}"
    data.mkdir(parents=True)
    for name, text in files.items():
        (data / name).write_text(text)
        os.chown(data / name, 0, group)
        (data / name).chmod(mode)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..new").symlink_to(data.name)
    (folder / "..new").replace(folder / "..data")


def test_a_pod_takes_events_and_what_the_config_map_says_anew(image, tmp_path):
    """Of the image, with a Kafka, as user and with the rights that the manifest gives it."""
    secret, token = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "a-token-of-some-length-0123"
    pod, config = one("StatefulSet")["spec"]["template"]["spec"], one("ConfigMap")["data"]
    [container], rights = pod["containers"], pod["securityContext"]
    group, security = rights["fsGroup"], container["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"]} and not security["allowPrivilegeEscalation"] and "https://crm.example.com/hooks" in config["bridge.yaml"]
    here = {name: tmp_path / name for name in ("kept", "config", "secrets", "tmp")}
    config = {name: text.replace("https://crm.example.com/hooks", "http://crm:8000/one") for name, text in config.items()}
    projected(here["config"], config, 1)
    projected(here["secrets"], {"crm": secret, "ingest": token}, 1, mode=next(v["secret"]["defaultMode"] for v in pod["volumes"] if "secret" in v), group=group)
    for name in ("kept", "tmp"):
        here[name].mkdir()
        os.chown(here[name], 0, group)
        here[name].chmod(0o2777 if name == "tmp" else 0o2775)
    mounts = [(here[mount["name"]], mount["mountPath"], "ro" if mount.get("readOnly") else "rw") for mount in container["volumeMounts"]]
    root, made = image
    env = dict(word.split("=", 1) for word in made["Env"]) | {"POD_NAME": "aqueduct-0"}
    with Network("aqueduct-0", "kafka-bootstrap", "crm") as network:
        received, end_receiver = network.receiver(tmp_path, secret)
        end_kafka = network.kafka(tmp_path, {
            "node.id": 1, "process.roles": "broker,controller", "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093", "controller.listener.names": "CONTROLLER",
            "advertised.listeners": "PLAINTEXT://kafka-bootstrap:9092", "controller.quorum.voters": "1@kafka-bootstrap:9093", "log.dirs": tmp_path / "log",
            "offsets.topic.replication.factor": 1, "transaction.state.log.replication.factor": 1, "transaction.state.log.min.isr": 1})
        one_pod = Container(tmp_path, root, made["Entrypoint"] + container["args"], env, f"{rights['runAsUser']}:{rights['runAsGroup']}", made["WorkingDir"], mounts, (),
                            security["readOnlyRootFilesystem"], network, groups=[group]).start()
        try:
            at = f"http://{network.address['aqueduct-0']}"

            def probe(name):
                get = container[name]["httpGet"]
                port = next(port["containerPort"] for port in container["ports"] if port["name"] == get["port"])
                return network.ask(f"{at}:{port}{get['path']}", "-o", "/dev/null", "-w", "%{http_code}") == "200"

            def send(ident):
                event = {"specversion": "1.0", "id": ident, "source": "/s", "type": "t", "data": {}}
                return network.ask(f"{at}:8080/v1/events", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: Bearer {token}",
                                   "-H", "Content-Type: application/cloudevents+json", "-d", json.dumps(event))

            def got(ident, path):
                return [r for r in received() if (r["event_id"], r["path"], r["mode"], r["verified"]) == (ident, path, "ok", True)]
            wait_for(lambda: probe("startupProbe") and probe("livenessProbe") and probe("readinessProbe"), 120, one_pod.log, 0.2)
            assert send("first").startswith("2")
            assert "crm (webhook)" in one_pod.exec("aqueduct", "status").stdout
            wait_for(lambda: got("first", "/one"), 60, one_pod.log, 0.2)
            projected(here["config"], {name: text.replace("crm:8000/one", "crm:8000/two") for name, text in config.items()}, 2)
            numbers = itertools.count()
            wait_for(lambda: send(f"again-{next(numbers)}") and any(r["path"] == "/two" and r["verified"] for r in received()), 60, one_pod.log, 0.5)
            projected(here["config"], {name: text + "nonsense: 1\n" for name, text in config.items()}, 3)
            wait_for(lambda: "nonsense" in one_pod.log(), 60, one_pod.log, 0.2)
            assert probe("readinessProbe") and send("last").startswith("2")
            wait_for(lambda: got("last", "/two"), 60, one_pod.log, 0.2)
        finally:
            code = one_pod.stop()
            end_kafka()
            end_receiver()
        assert code == 0, one_pod.log()
