# SPDX-License-Identifier: MIT
"""The image of the Dockerfile, built and run without a daemon of containers (buildah, runc): only what is needed is in it, nobody is root, nothing but the
volume is written, and the health check is the program's own. Its base is a Debian made here, in the place of debian:12-slim."""
import json
import os
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT, WORK, clean, clone, debian, do

sys.path.append(str(ROOT / "tests/support"))
from aqueduct import free_port, wait_for  # noqa: E402

STORE = ["buildah", "--root", WORK / "containers", "--runroot", WORK / "containers-run", "--storage-driver", "vfs"]


@pytest.fixture(scope="module")
def image():
    """What `docker build -t aqueduct .` makes, without a Docker: (its root, its configuration)"""
    made = do(*STORE, "from", "scratch").stdout.strip()
    do(*STORE, "add", made, debian("bookworm").folder, "/")
    do(*STORE, "commit", "-q", made, "docker.io/library/debian:12-slim")
    do(*STORE, "rm", made)
    do(*STORE, "bud", "--isolation", "chroot", "--pull-never", "--format", "docker", "-t", "aqueduct", clone(WORK / "image"), seconds=3600)
    container = do(*STORE, "from", "--pull-never", "localhost/aqueduct").stdout.strip()
    root = do(*STORE, "mount", container).stdout.strip()
    yield root, json.loads(do(*STORE, "inspect", "--type", "image", "localhost/aqueduct").stdout)["Docker"]["config"]
    do(*STORE, "rm", "-a")
    do(*STORE, "rmi", "-a", "-f")


def test_nothing_is_in_it_but_the_program(image):
    root, config = image
    assert os.listdir(f"{root}/usr/bin") == ["aqueduct"] and not os.path.exists(f"{root}/bin")
    assert int(do("du", "-sm", root).stdout.split()[0]) < 60
    assert config["User"] == "65532:65532" and config["Entrypoint"] == ["/usr/bin/aqueduct"] and config["Cmd"] == ["run"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/aqueduct", "status", "--ready"]
    assert not [name for folder, _, names in os.walk(root) for name in names if os.lstat(f"{folder}/{name}").st_mode & 0o6000]


@pytest.fixture
def bundle(image, tmp_path):
    """The image as `docker run --read-only -p ... -v ...` has it, by runc: read-only, without a capability, as the user of the image."""
    root, config = image

    def make(env, mounts=()):
        do("runc", "spec", cwd=tmp_path)
        spec = json.loads((tmp_path / "config.json").read_text())
        kept = tmp_path / "kept"
        kept.mkdir(exist_ok=True)
        os.chown(kept, 65532, 65532)
        spec["root"] = {"path": root, "readonly": True}
        spec["process"] |= {"terminal": False, "user": {"uid": 65532, "gid": 65532}, "args": config["Entrypoint"] + config["Cmd"], "cwd": config["WorkingDir"],
                            "env": config["Env"] + [f"{name}={value}" for name, value in env.items()], "noNewPrivileges": True, "capabilities": {}}
        spec["mounts"] += [{"destination": "/var/lib/aqueduct", "type": "bind", "source": str(kept), "options": ["rbind", "rw"]},
                           {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}]
        spec["mounts"] += [{"destination": to, "type": "bind", "source": str(at), "options": ["rbind", "ro"]} for at, to in mounts]
        spec["mounts"] = [one for one in spec["mounts"] if one["destination"] != "/sys/fs/cgroup"]
        spec["linux"]["namespaces"] = [one for one in spec["linux"]["namespaces"] if one["type"] not in ("network", "cgroup")]
        spec["linux"].pop("resources", None)
        (tmp_path / "config.json").write_text(json.dumps(spec))
        return tmp_path
    return make


def runc(*words, **more):
    return do("runc", "--root", WORK / "runc", *words, **more)


def test_it_runs_read_only_and_says_whether_it_is_healthy(image, bundle, tmp_path):
    """The database of another application is in a volume that it may only read; the environment alone configures it."""
    app = tmp_path / "storage"
    app.mkdir()
    do("sqlite3", app / "anythingllm.db", f".read {ROOT / 'tests/data/anythingllm.sql'}")
    admin = free_port()
    where = bundle({"AQUEDUCT_SQLITE_PATH": "/storage/anythingllm.db", "AQUEDUCT_LIVE_LISTEN": "127.0.0.1:0", "AQUEDUCT_ADMIN_LISTEN": f"127.0.0.1:{admin}"},
                   [(app, "/storage")])
    name = f"aqueduct-{admin}"
    with open(tmp_path / "log", "wb") as log:
        running = subprocess.Popen(["runc", "--root", str(WORK / "runc"), "run", "-b", str(where), name],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        check = image[1]["Healthcheck"]["Test"][1:]
        healthy = lambda: runc("exec", name, *check, check=False)      # noqa: E731
        wait_for(lambda: healthy().stdout == "ready\n", 60, lambda: (tmp_path / "log").read_text())
        assert healthy().returncode == 0
        assert "msg=watching source=app" in (tmp_path / "log").read_text()
        state = json.loads(runc("state", name).stdout)
        status = open(f"/proc/{state['pid']}/status").read()
        assert "Uid:\t65532" in status and "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
        assert (tmp_path / "kept/aqueduct.db").exists()
        (app / "anythingllm.db").rename(app / "away")                  # blind: not ready, with the reason, and it lives
        wait_for(lambda: healthy().returncode == 1, 60, lambda: (tmp_path / "log").read_text())
        assert healthy().stdout.startswith("not ready: ")
    finally:
        runc("kill", name, "TERM", check=False)
        assert running.wait(60) == 0, (tmp_path / "log").read_text()
        runc("delete", "-f", name, check=False)
