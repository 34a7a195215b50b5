# SPDX-License-Identifier: MIT
"""The image of the Dockerfile, built and run without a daemon of containers (buildah, runc): only what is needed is in it, nobody is root, nothing but the
volume is written, and the health check is the program's own. Its base is a Debian made here, in the place of debian:12-slim."""
import os
import re

from conftest import ROOT, do
from containers import Container
from aqueduct import free_port, wait_for


def test_nothing_is_in_it_but_the_program(image):
    root, config = image
    assert os.listdir(f"{root}/usr/bin") == ["aqueduct"] and not os.path.exists(f"{root}/bin")
    size, said = int(do("du", "-sm", root).stdout.split()[0]), int(re.search(r"In a container \((\d+) MB", (ROOT / "README.md").read_text())[1])
    assert abs(size - said) <= 2, f"the image has {size} MB; the README says {said}"
    assert config["User"] == "65532:65532" and config["Entrypoint"] == ["/usr/bin/aqueduct"] and config["Cmd"] == ["run"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/aqueduct", "status", "--ready"]
    assert not [name for folder, _, names in os.walk(root) for name in names if os.lstat(f"{folder}/{name}").st_mode & 0o6000]


def test_it_runs_read_only_and_says_whether_it_is_healthy(image, tmp_path):
    """As `docker run -d --name aqueduct --read-only -p ... -v ...` has it, by runc, and `docker exec aqueduct aqueduct status`: the database of another application is in a volume that it may only read; the
    environment alone configures it."""
    root, config = image
    app, kept = tmp_path / "storage", tmp_path / "kept"
    app.mkdir()
    kept.mkdir()
    os.chown(kept, 65532, 65532)
    do("sqlite3", app / "anythingllm.db", f".read {ROOT / 'tests/data/anythingllm.sql'}")
    env = dict(one.split("=", 1) for one in config["Env"]) | {"AQUEDUCT_SQLITE_PATH": "/storage/anythingllm.db", "AQUEDUCT_LIVE_LISTEN": "127.0.0.1:0",
                                                              "AQUEDUCT_ADMIN_LISTEN": f"127.0.0.1:{free_port()}"}
    one = Container(tmp_path, root, config["Entrypoint"] + config["Cmd"], env, config["User"], config["WorkingDir"], [(app, "/storage", "ro"), (kept, "/var/lib/aqueduct", "rw")])
    one.start()
    try:
        healthy = lambda: one.exec(*config["Healthcheck"]["Test"][1:])      # noqa: E731
        wait_for(lambda: healthy().stdout == "ready\n", 60, one.log)
        assert healthy().returncode == 0
        assert "msg=watching source=app" in one.log()
        status = open(f"/proc/{one.pid()}/status").read()
        assert "Uid:\t65532" in status and "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
        assert (kept / "aqueduct.db").exists()
        (app / "anythingllm.db").rename(app / "away")                  # blind: not ready, with the reason, and it lives
        wait_for(lambda: healthy().returncode == 1, 60, one.log)
        assert healthy().stdout.startswith("not ready: ")
    finally:
        code = one.stop()
    assert code == 0, one.log()


CONFIG = """
broker: {type: local, path: /var/lib/aqueduct/data}
sources: {hooks: {type: http, listen: "127.0.0.1:PORT", paths: [{path: /v1/events, verify: {scheme: bearer, secrets: ["${file:/run/secrets/ingest}"]}}]}}
routes: [{topic: events}]
sinks: {failed: {type: dead_letter, path: /var/lib/aqueduct/dead-letters.db}}
admin: {listen: "127.0.0.1:ADMIN"}
"""


def test_a_file_configures_it_and_what_it_keeps_outlives_it(image, tmp_path):
    """As the README has it: a file that all may read, secrets that are the user's alone, a volume; the next container goes on."""
    root, config = image
    for name in ("secrets", "kept"):
        (tmp_path / name).mkdir(0o700)
        os.chown(tmp_path / name, 65532, 65532)
    (tmp_path / "secrets/ingest").write_text("a-token-of-some-length-0123")
    (tmp_path / "secrets/ingest").chmod(0o600)
    os.chown(tmp_path / "secrets/ingest", 65532, 65532)
    (tmp_path / "bridge.yaml").write_text(CONFIG.replace("PORT", str(free_port())).replace("ADMIN", str(free_port())))
    (tmp_path / "bridge.yaml").chmod(0o644)
    env, said = dict(one.split("=", 1) for one in config["Env"]), []
    for again in (False, True):
        one = Container(tmp_path, root, config["Entrypoint"] + config["Cmd"], env, config["User"], config["WorkingDir"],
                        [(tmp_path / "bridge.yaml", "/etc/aqueduct/bridge.yaml", "ro"), (tmp_path / "secrets", "/run/secrets", "ro"), (tmp_path / "kept", "/var/lib/aqueduct", "rw")])
        one.start()
        try:
            wait_for(lambda: one.exec(*config["Healthcheck"]["Test"][1:]).stdout == "ready\n", 60, one.log)
            if not again:
                sent = one.exec("aqueduct", "send", "/v1/events", "--type", "test.greeting", "--data", '{"hello": "world"}')
                assert sent.returncode == 0, sent.stdout
            said.append(one.exec("aqueduct", "tail", "--from", "earliest", "--no-follow", "--json").stdout)
        finally:
            code = one.stop()
        assert code == 0, one.log()
    assert "test.greeting" in said[0] and said[0] == said[1]
