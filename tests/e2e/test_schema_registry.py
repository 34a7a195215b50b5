# SPDX-License-Identifier: MIT
"""Events on Kafka by a schema that a registry knows: read by Apache's own library for Avro, and by our sinks; the registry away, closed and contrary."""
import datetime
import io
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading

import avro.io
import avro.schema
import jsonschema
import pytest
import registry
import requests

from conftest import DEAD_LETTERS, HTTP_SOURCE, TOKEN, certificate, event, kafka_read, post, post_ok, wait_for, webhook_sink
from test_reload import Traffic

SOURCE = HTTP_SOURCE.split("routes:")[0]
EXAMPLES = sorted((pathlib.Path(__file__).resolve().parents[2] / "schemas/examples").glob("*/*.json"))


@pytest.fixture
def small():
    made = []

    def make(**more):
        made.append(registry.Small(**more))
        return made[-1]
    yield make
    for one in made:
        one.stop()


def routes(encoding="avro", more=""):
    return f"routes: [{{topic: $EVENTS, encoding: {encoding}{more}}}]\n"


def at(kafka_bridge, url, more=""):
    kafka_bridge.broker_more = f", registry: {{url: '{url}'{more}}}"


def unready(daemon):
    def look():
        page = daemon.page("/readyz")
        return page.text if page.status_code == 503 and "schema registry" in page.text else None
    return wait_for(look, why=lambda: daemon.page("/readyz").text + daemon.log())


def read_avro(value, schema):
    assert value[0] == 0
    return avro.io.DatumReader(avro.schema.parse(schema(int.from_bytes(value[1:5], "big")))).read(avro.io.BinaryDecoder(io.BytesIO(value[5:])))


EVENTS = [event("full", subject="s/1", partitionkey="k", tenant="a€", level=7, flag=True, dataschema="https://example.com/s", time="2026-11-20T10:00:00Z",
                datacontenttype="application/json", data={"n": 1.10, "text": "Grüße 😀"}),
          event("bare"), event("text", datacontenttype="text/plain", data="plain"), event("bytes", data_base64="AP8=")]


def written_and_read(kafka_bridge, receivers, server):
    avro_sink, json_sink = receivers(), receivers()
    text = ("routes:\n  - {topic: $T_avro, encoding: avro, also: true}\n  - {topic: $T_json, encoding: json-schema}\nsinks:\n"
            + webhook_sink("one", avro_sink.url, "body: structured").replace("$EVENTS", "$T_avro")
            + webhook_sink("two", json_sink.url, "body: structured").replace("$EVENTS", "$T_json") + DEAD_LETTERS)
    at(kafka_bridge, server.url)
    daemon = kafka_bridge.run(SOURCE + text)
    post_ok(daemon, *EVENTS)
    topic = kafka_bridge.topic("avro")
    found = {r["key"]: r for r in kafka_read(kafka_bridge.kafka, topic, 4)}
    records = [read_avro(r["value"], server.schema) for r in kafka_read(kafka_bridge.kafka, topic, 4)]
    assert found[b"k"]["headers"][b"content-type"] == b"application/cloudevents+avro"
    for sent, got in zip(EVENTS, records):
        for name, value in sent.items():
            if not name.startswith("data") or name in ("dataschema", "datacontenttype"):
                assert got["attribute"][name] == value, (name, got)
    assert json.loads(records[0]["data"]) == EVENTS[0]["data"] and records[0]["attribute"]["flag"] is True
    assert [r["data"] for r in records[1:]] == [None, b"plain", b"\0\xff"]
    for sent, record in zip(EVENTS, kafka_read(kafka_bridge.kafka, kafka_bridge.topic("json"), 4)):
        schema, got = json.loads(server.schema(int.from_bytes(record["value"][1:5], "big"))), json.loads(record["value"][5:])
        jsonschema.validate(got, schema)
        assert record["value"][0] == 0 and {k: got[k] for k in sent} == sent
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**got, "id": ""}, schema)
    assert {f"{topic}-value", f"{kafka_bridge.topic('json')}-value"} <= set(server.subjects())
    for sink in (avro_sink, json_sink):     # as JSON as always, data byte for byte
        sink.delivered({one["id"] for one in EVENTS})
        for got in map(lambda r: json.loads(r["body"]), sink.all()):
            sent, = [one for one in EVENTS if one["id"] == got["id"]]
            assert {k: got[k] for k in sent} == sent
    done = kafka_bridge.command("tail", "--from", "earliest", "--no-follow", "--json")
    assert done.returncode == 0 and {json.loads(line)["id"] for line in done.stdout.splitlines()} == {one["id"] for one in EVENTS}, done.stderr
    daemon.stop()
    daemon = kafka_bridge.start()
    assert post(daemon, EVENTS[0]).status_code == 202       # a repeat: what the topics hold is read back
    post_ok(daemon, event("last"))
    assert len(kafka_read(kafka_bridge.kafka, topic, 5)) == 5 and kafka_bridge.dead() == []


def as_column(value):
    """What a column has of a value of JSON, as Apache's library reads it."""
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z") if isinstance(value, datetime.datetime) else value


def assert_columns(record, data, at=""):
    """The columns of the record say what the data says, and nothing else."""
    for name, column in record.items():
        value, path = data.get(name), f"{at}{name}"
        if path in ("before", "audit.detail", "raw.row", "raw.body"):
            assert (column and json.loads(column)) == value, path
        elif isinstance(column, dict):
            assert_columns(column, value, f"{path}.")
        elif isinstance(column, list):
            assert len(column) == len(value), path
            for one, item in zip(column, value):
                assert_columns(one, item, f"{path}[].")
        else:
            assert as_column(column) == value, path
    assert data.keys() <= record.keys(), at


def columns_written_and_read(kafka_bridge, receivers, server):
    """A route that was changed: its topic has events of both Avro formats, and one that no header tells of; sinks and tail read on."""
    sink, bare, picky = receivers(), receivers(), receivers(lambda r: 400)
    sinks = ("sinks:\n" + webhook_sink("one", sink.url, "body: structured") + webhook_sink("two", bare.url, "body: data")
             + webhook_sink("picky", picky.url, "filter: {exact: {id: as-it-is}}\nretry: []") + DEAD_LETTERS)
    at(kafka_bridge, server.url, ", subject: topic-record")
    daemon = kafka_bridge.run(SOURCE + routes() + sinks)
    post_ok(daemon, event("before", data={"as": "CloudEvents has it"}))
    topic = kafka_bridge.topic("events")
    with tempfile.NamedTemporaryFile() as file:     # whole, whatever bytes the id has
        file.write(kafka_read(kafka_bridge.kafka, topic, 1)[0]["value"])
        file.flush()
        subprocess.run(["kcat", "-b", kafka_bridge.kafka.servers, "-P", "-t", topic, file.name], check=True, timeout=60)
    daemon.stop()
    daemon = kafka_bridge.run(SOURCE + routes("avro-columns") + sinks)
    sent = [event(f"{file.parent.name}/{file.stem}", file.parent.name, subject="s/1", partitionkey="k", level=7, flag=True, time="2026-11-20T10:00:00.1239Z",
                  dataschema=f"urn:aqueduct:event/{file.parent.name}/1", data=json.loads(file.read_text())) for file in EXAMPLES]
    assert post(daemon, sent).status_code == 202 and len(sent) > 50
    body = '{ "usage": {"output_tokens" :7,"input_tokens":"x"}, "n":1.10 }'.encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "ce-specversion": "1.0", "ce-id": "as-it-is", "ce-source": "/e2e", "ce-type": "chat.response.generated",
               "Content-Type": "application/json"}
    assert requests.post(f"http://127.0.0.1:{daemon.port('hooks')}/v1", data=body, headers=headers, timeout=30).status_code == 202
    post_ok(daemon, *EVENTS)
    found = {}
    for r in kafka_read(kafka_bridge.kafka, topic, 3 + len(sent) + len(EVENTS)):
        if r["headers"].get(b"content-type") == b"application/vnd.aqueduct.event+avro":
            columns = read_avro(r["value"], server.schema)
            attributes = {name: columns.pop(name) for name in list(columns)[:12]}
            found[attributes["id"]] = columns, attributes
    assert f"{topic}-aqueduct.Event" in server.subjects()
    for one in sent:
        columns, attributes = found[one["id"]]
        assert_columns(columns, one["data"])
        assert json.loads(attributes.pop("data")) == one["data"] and as_column(attributes.pop("time")) == "2026-11-20T10:00:00.123Z"
        assert attributes == {"id": one["id"], "source": "/e2e", "type": one["type"], "subject": "s/1", "time_text": one["time"], "datacontenttype":
                              "application/json", "dataschema": one["dataschema"], "partitionkey": "k", "extensions": {"level": "7", "flag": "true"},
                              "extension_types": "level=integer,flag=boolean"}
    columns, attributes = found["as-it-is"]
    assert attributes["data"] == body and columns["usage"] == {"output_tokens": 7, "input_tokens": None, "total_tokens": None}
    assert [found[one["id"]][1]["data"] for one in EVENTS[1:]] == [None, b"plain", b"\0\xff"]
    assert not any(value for one in EVENTS for value in found[one["id"]][0].values())
    every = {one["id"] for one in sent + EVENTS} | {"before", "as-it-is"}
    sink.delivered(every)
    bare.arrived(len(every))
    assert {body, b"plain", b"\0\xff"} <= {r["body"] for r in bare.all()}
    got = {one["id"]: one for one in (json.loads(r["body"]) for r in sink.all())}
    for one in sent + EVENTS:
        assert {k: got[one["id"]][k] for k in one} == one
    refused = wait_for(lambda: [one for one in kafka_bridge.dead() if one["id"] == "as-it-is"])
    shown = kafka_bridge.command("dead", "show", "as-it-is").stdout
    assert len(refused) == 1 and '"output_tokens": 7' in shown and '"type": "chat.response.generated"' in shown, shown    # a person can read it
    dead = [one for one in kafka_bridge.dead() if one not in refused]
    assert dead and all("the header content-type is missing" in one["reason"] for one in dead), dead
    done = kafka_bridge.command("tail", "--from", "earliest", "--no-follow", "--json")
    assert {json.loads(line).get("id") for line in done.stdout.splitlines()} >= every, done.stderr


def test_written_and_read(kafka_bridge, receivers, small):
    written_and_read(kafka_bridge, receivers, small())


def test_columns_written_and_read(kafka_bridge, receivers, small):
    columns_written_and_read(kafka_bridge, receivers, small())


@pytest.mark.skipif("AQUEDUCT_LONG" not in os.environ, reason="a real registry is 140 MB, and in the suite `long`")
@pytest.mark.parametrize("there_and_back", [written_and_read, columns_written_and_read])
def test_with_a_real_registry(kafka_bridge, receivers, there_and_back):
    server = registry.Real()
    try:
        there_and_back(kafka_bridge, receivers, server)
    finally:
        server.stop()


@pytest.mark.skipif("AQUEDUCT_LONG" not in os.environ, reason="a real registry is 140 MB, and in the suite `long`")
def test_a_real_registry_lets_the_columns_grow(aqueduct):
    """By the rule that they are kept by (tests/schema/compatible), and no other change, whichever way the registry looks."""
    server, schema = registry.Real(), json.loads(subprocess.run([aqueduct, "schema", "avro-columns"], capture_output=True, check=True).stdout)

    def registered(subject, *path, **change):
        """The status of the schema with a field more (or another one) in the record at `path`, behind the present one."""
        other = json.loads(json.dumps(schema))
        fields = other["fields"]
        for name in path:
            fields = next(one for one in fields if one["name"] == name)["type"][1]["fields"]
        fields[:] = [one for one in fields if one["name"] != change["name"]] + [change]
        url = f"{server.url}/subjects/{subject}/versions"
        answers = [requests.post(url, json={"schema": json.dumps(one)}, timeout=60).status_code for one in (schema, other)]
        assert answers[0] == 200
        return answers[1]
    try:
        for level in ("BACKWARD_TRANSITIVE", "FORWARD_TRANSITIVE", "FULL_TRANSITIVE"):
            assert requests.put(f"{server.url}/config", json={"compatibility": level}, timeout=60).status_code == 200
            assert registered(f"{level}-top", name="new", type=["null", "string"], default=None) == 200
            assert registered(f"{level}-below", "usage", name="new", type=["null", "long"], default=None) == 200
            assert registered(f"{level}-type", name="duration_ms", type=["null", "string"], default=None) == 409
    finally:
        server.stop()


def test_a_registry_that_is_away_costs_no_event(kafka_bridge, receiver, small):
    port = registry.free_port()
    at(kafka_bridge, f"http://127.0.0.1:{port}/registry/", ", subject: topic-record")
    kafka_bridge.configure(SOURCE + routes() + "sinks:\n" + webhook_sink("crm", receiver.url))
    daemon = kafka_bridge.start(ready=False)
    page = unready(daemon)
    assert "connect" in page
    answers = []
    senders = [threading.Thread(target=lambda i=i: answers.append(post(daemon, event(f"e-{i}")).status_code)) for i in range(3)]
    for one in senders:
        one.start()
    wait_for(lambda: 'aqueduct_registry_requests_total{outcome="failed"}' in daemon.page("/metrics").text)
    assert not answers
    server = small(port=port)
    for one in senders:
        one.join()
    assert answers == [202] * 3
    daemon.ready()
    receiver.delivered({f"e-{i}" for i in range(3)})
    assert server.subjects() == [f"{kafka_bridge.topic('events')}-io.cloudevents.CloudEvent"]
    asked = len(server.asked)
    post_ok(daemon, event("kept"))
    assert len(server.asked) == asked       # an id is asked for once


def test_a_registry_that_refuses_is_named(kafka_bridge, small, tmp_path):
    """A closed door, another authority's certificate, a schema that is not there: /readyz says which, and it goes on by itself."""
    crt, key = certificate(tmp_path)
    server = small(login=registry.basic("bridge", "secret-of-it"), tls=(crt, key))
    server.refuses = 409, "Schema being registered is incompatible"

    def says(login, *words):
        at(kafka_bridge, server.url, f", subject: record{login}")
        kafka_bridge.configure(SOURCE + routes())
        daemon = kafka_bridge.start(ready=False)
        page = unready(daemon)
        assert all(word in page for word in words), page
        assert "secret-of-it" not in daemon.log() + page
        return daemon
    says("", "certificate").stop()
    says(f", ca_file: {crt}", "it denies access (401)").stop()
    login = f", ca_file: {crt}, username: bridge, password: secret-of-it"
    daemon = says(login, "its subject has another schema than io.cloudevents.CloudEvent", "another program's, or another version's. Set broker.registry.subject: "
                  "topic-record and reload", ": Schema being registered is incompatible")
    server.refuses = None
    daemon.ready()
    post_ok(daemon, event("a"))
    daemon.stop()
    server.known.clear()
    server.login = "Bearer token-of-it"
    daemon = says(f", ca_file: {crt}, token: token-of-it, registers: false", "does not have the schema, and broker.registry.registers is off")
    assert server.subjects() == ["io.cloudevents.CloudEvent"] and not server.known["io.cloudevents.CloudEvent"]


class Odd(Traffic):
    """Of each event the data is such that nobody writes it again as it is: JSON with digits and spaces of its own, or no text at all."""

    def request(self, one):
        odd = int(one[-1]) % 2
        self.sent = {**getattr(self, "sent", {}), one: f'{{ "id" :"{one}",  "n":1.10, "text":"Grüße" }}'.encode() if odd else b"\xff\0" + one.encode()}
        return {"data": self.sent[one], "headers": {"Authorization": f"Bearer {TOKEN}", "ce-specversion": "1.0", "ce-id": one, "ce-source": "/e2e", "ce-type": "thing.happened",
                                                    "Content-Type": "application/json" if odd else "application/octet-stream"}}


def reloaded(kafka_bridge):
    done = kafka_bridge.command("reload")
    assert done.returncode == 0, done.stderr


def test_an_encoding_changes_by_a_reload_while_events_flow(kafka_bridge, receiver, small, tmp_path):
    server = small()

    def configure(encoding):
        kafka_bridge.configure(SOURCE + routes(encoding) + "sinks:\n" + webhook_sink("one", receiver.url, "body: binary") + DEAD_LETTERS,
                               admin_more=f"control: {tmp_path}/control")
    at(kafka_bridge, server.url, ", subject: topic-record")
    configure("binary")
    traffic = Odd(kafka_bridge.start().port("hooks")).on()
    for encoding in ("structured", "avro", "avro-columns", "binary", "json-schema", "avro", "structured"):
        configure(encoding)
        reloaded(kafka_bridge)
        traffic.on()
    ids = traffic.end()
    receiver.delivered(ids)
    assert sorted(r["id"] for r in receiver.all()) == ids       # once
    assert all(r["body"] == traffic.sent[r["id"]] for r in receiver.all())
    forms = {(r["headers"].get(b"content-type"), r["value"][:1] == b"\0") for r in kafka_read(kafka_bridge.kafka, kafka_bridge.topic("events"), len(ids))}
    assert forms == {(b"application/json", False), (b"application/octet-stream", False), (b"application/cloudevents+json; charset=UTF-8", False),
                     (b"application/cloudevents+json; charset=UTF-8", True), (b"application/cloudevents+avro", True), (b"application/vnd.aqueduct.event+avro", True)}
    assert kafka_bridge.dead() == []
    at(kafka_bridge, server.url + "/other", ", subject: topic-record")
    configure("avro")
    done = kafka_bridge.command("reload")
    assert done.returncode == 1 and "broker.registry.url cannot change while the daemon runs: start it again for that" in done.stderr, done.stderr


def test_a_subject_of_another_encoding_says_what_to_do(kafka_bridge, receiver, small, tmp_path):
    server, answers = small(), []

    def configure(encoding, subject, topic="$EVENTS"):
        at(kafka_bridge, server.url, f", subject: {subject}")
        kafka_bridge.configure(SOURCE + routes(encoding).replace("$EVENTS", topic) + "sinks:\n" + webhook_sink("one", receiver.url), admin_more=f"control: {tmp_path}/control")
    configure("avro", "topic")
    daemon = kafka_bridge.start()
    post_ok(daemon, event("before"))
    configure("avro-columns", "topic")
    reloaded(kafka_bridge)
    sender = threading.Thread(target=lambda: answers.append(post(daemon, event("waits")).status_code))
    sender.start()
    page = unready(daemon)
    assert f"topic {kafka_bridge.topic('events')}: its subject has another schema than aqueduct.Event" in page, page
    assert "the topic had another encoding" in page and "Set broker.registry.subject: topic-record and reload" in page and ": Schema being registered is incompatible" in page, page
    assert f"subject={kafka_bridge.topic('events')}-value" in daemon.log() and not answers
    configure("avro-columns", "topic-record")       # as it says
    assert "~ broker: registry.subject\n" in kafka_bridge.command("plan").stdout
    reloaded(kafka_bridge)
    sender.join()
    daemon.ready()
    assert answers == [202] and kafka_bridge.topic("events") + "-aqueduct.Event" in server.subjects()
    configure("json-schema", "topic")
    reloaded(kafka_bridge)
    assert "another schema than io.cloudevents.JsonCloudEvent" in unready(daemon)
    configure("json-schema", "topic", "$T_other")       # or this
    reloaded(kafka_bridge)
    daemon.ready()
    configure("json-schema", "topic")
    reloaded(kafka_bridge)
    unready(daemon)
    configure("avro", "topic")      # or as it was
    reloaded(kafka_bridge)
    daemon.ready()
    post_ok(daemon, event("after"))
    receiver.delivered({"before", "waits", "after"})


def test_a_login_of_the_registry_is_rotated_without_a_restart(kafka_bridge, receiver, small, tmp_path):
    """Its files are read for each question, and a name or another file is taken at a reload; what was read last serves while they cannot be read."""
    crt, key = certificate(tmp_path)
    password, ca = tmp_path / "password", tmp_path / "ca.pem"

    def write(path, text):
        path.write_text(text)
        path.chmod(0o600)

    def configure(login, encodings=("avro",)):
        at(kafka_bridge, server.url, f", ca_file: {ca}, {login}")
        kafka_bridge.configure(SOURCE + "routes:\n" + "".join(f"  - {{topic: $T_{n}, encoding: {encoding}, also: true}}\n" for n, encoding in enumerate(encodings)),
                               admin_more=f"control: {tmp_path}/control")
    server = small(login=registry.basic("bridge", "the second"), tls=(crt, key))
    write(password, "the first\n")
    shutil.copy(crt, ca)
    configure(f"username: bridge, password: '${{file:{password}}}'")
    daemon = kafka_bridge.start(ready=False)
    assert "it denies access (401)" in unready(daemon)
    write(password, "the second\n")
    daemon.ready()
    post_ok(daemon, event("one"))
    password.unlink()
    server.known.clear()
    server.login = "Bearer token of it"
    other = tmp_path / "other"
    other.mkdir()
    crt, key = certificate(other)
    server.stop()
    ours = tmp_path / "ours"
    ours.mkdir()
    mine, mine_key = certificate(ours)
    server = small(login=server.login, tls=(crt, key), port=server.port, clients=mine)
    write(tmp_path / "token", "token of it")
    configure(f"token: '${{file:{tmp_path}/token}}', cert_file: {mine}, key_file: {mine_key}", ("avro", "json-schema"))
    assert "~ broker: registry.username, registry.password, registry.token, registry.cert_file, registry.key_file\n" in kafka_bridge.command("plan").stdout
    pid, done = daemon.process.pid, kafka_bridge.command("reload")
    assert done.returncode == 0, done.stderr
    assert "certificate" in unready(daemon)
    shutil.copy(crt, ca)
    daemon.ready()
    post_ok(daemon, event("two"))
    assert len(kafka_read(kafka_bridge.kafka, kafka_bridge.topic("1"), 1)) == 1 and server.subjects() == [f"{kafka_bridge.topic('1')}-value"]
    assert daemon.process.pid == pid and "the second" not in daemon.log() and "token of it" not in daemon.log()


@pytest.mark.parametrize("broker,more,said", [
    ("{type: local}", "", "routes[0].encoding: is for broker.type kafka"),
    ("{type: kafka, servers: 'k:9092'}", "", "routes[0].encoding: needs a schema registry: set broker.registry.url"),
    ("{type: kafka, servers: 'k:9092', registry: {url: 'ftp://r'}}", "", "broker.registry.url: is no address"),
    ("{type: kafka, servers: 'k:9092', registry: {url: 'http://r', username: u}}", "", "broker.registry.password: is missing"),
])
def test_configurations_that_cannot_work(local_bridge, broker, more, said):
    local_bridge.configure(SOURCE + routes())
    local_bridge.config.write_text(f"broker: {broker}\n" + "\n".join(local_bridge.config.read_text().splitlines()[1:]))
    done = local_bridge.command("check")
    assert done.returncode == 1 and said in done.stderr, done.stderr
