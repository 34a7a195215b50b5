# SPDX-License-Identifier: MIT
"""The command line: what it prints, and its exit codes (0 done, 1 something is wrong, 2 wrong usage)."""
import json
import os
import pathlib
import subprocess

import pytest

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
    ("webhook", ["url  (text, required)", "retry  (list of durations", "default [1s, 5s, 30s, 2m, 10m, 1h]"]),
    ("http", ["paths[].path  (text", "paths[].verify.scheme  (one of", "in_flight  (whole number, from 1 to 65536, default 1024)"]),
    ("sqlite", ["path", "preset"]),
    ("websocket", ["tokens  (list of secrets"]),
    ("dead_letter", ["A sink of type dead_letter"]),
    ("broker", ["type  (one of local, kafka, default local)", "properties  (mapping of texts)"]),
    ("topics", ["partitions  (whole number, from 1 to 1024"]),
    ("routes", ["topic  (text, required)", "filter  (filter"]),
    ("filter", ["exact:", "any:"]),
    ("admin", ["listen  (text, default 127.0.0.1:9464)"]),
    ("log", ["level  (one of debug, info, warn, error, default info)"]),
    ("sink", ["window"]),
    ("source", ["dedupe_size"]),
    ("config", ["drain", "${VAR:-default}"]),
    ("check", ["aqueduct check [-c FILE]... [--json]"]),
    ("dead", ["redrive"]),
])
def test_help_about(run, name, words):
    done = run("help", name)
    assert done.returncode == 0, done.stderr
    for word in words:
        assert word in done.stdout


def test_help_about_nothing_known(run):
    done = run("help", "webhok")
    assert done.returncode == 2
    assert done.stderr == 'aqueduct: there is no help about "webhok" (did you mean webhook?); see aqueduct --help\n'
    assert run("help", "a", "b").returncode == 2


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
    (["schema", "x"], 'unknown word "x"'),
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
    write(run, "bridge.yaml", GOOD)
    done = run("check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok: 1 source, 1 sink\n", "")
    assert list(run.folder.iterdir()) == [run.folder / "bridge.yaml"], "check opens nothing"
    done = run("check", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"ok": True, "problems": []})


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
    assert said["problems"][-1] == {"file": "bridge.yaml", "line": 9, "column": 11,
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
    write(run, "bridge.yaml", GOOD.replace("http://127.0.0.1:9/", "ftp://127.0.0.1:9/"))
    done = run("check")
    assert (done.returncode, done.stderr) == (1, 'bridge.yaml:8:47: sinks.crm.url: must begin with http:// or https://\n')


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


# ---- schema ----

def test_schema_is_the_one_that_is_kept(run):
    done = run("schema")
    assert done.returncode == 0
    kept = (ROOT / "schemas/config.schema.json").read_text()
    assert done.stdout == kept, "renew it: aqueduct schema > schemas/config.schema.json"


def test_example_of_the_help_is_right(run):
    example = run("--help").stdout.split("bridge.yaml:\n\n", 1)[1].split("\n\n", 1)[0]
    write(run, "secret", "a secret of at least 24 characters\n")
    os.chmod(run.folder / "secret", 0o600)
    write(run, "bridge.yaml", example.replace("/run/secrets/crm", "secret"))
    done = run("check", env={"INGEST_TOKEN": "a token of some length"})
    assert (done.returncode, done.stderr) == (0, "")
