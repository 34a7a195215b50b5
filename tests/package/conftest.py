# SPDX-License-Identifier: MIT
"""What the suite `package` shares: a release that is built from a clean clone, and minimal Debians to put it into (root is needed). All of it lies in
build/package; systems are made once and copied for each test."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/support"))
WORK = ROOT / "build/package"


def do(*words, cwd=None, env=None, check=True, seconds=1800, umask=-1):
    done = subprocess.run([str(w) for w in words], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds,
                          stdin=subprocess.DEVNULL, umask=umask)
    assert not check or done.returncode == 0, f"{words}\n{done.stdout[-6000:]}"
    return done


def clone(folder):
    """What is committed, in another folder."""
    shutil.rmtree(folder, ignore_errors=True)
    do("git", "clone", "-q", ROOT, folder)
    return folder


def head(tree):
    return do("git", "-C", tree, "rev-parse", "HEAD").stdout


def clean(**more):
    """The environment without what would let one build take from another."""
    return {name: value for name, value in os.environ.items() if "ccache" not in value.lower()} | more


@pytest.fixture(scope="session")
def release():
    """The folder of a release: package, sources, bill of materials, sums."""
    tree = WORK / "one"
    if (tree / "build/release/dist/SHA256SUMS").exists() and head(tree) == head(ROOT):
        return tree / "build/release/dist"
    clone(tree)
    do("cmake", "--preset", "release", "-DAQUEDUCT_STRICT=ON", cwd=tree, env=clean())
    do("cmake", "--build", "--preset", "release", "--target", "dist", cwd=tree, env=clean())
    return tree / "build/release/dist"


@pytest.fixture(scope="session")
def deb(release):
    return next(release.glob("*.deb"))


class System:
    """A folder with a Debian in it."""

    def __init__(self, folder):
        self.folder = folder

    def run(self, *words, check=True, **more):
        return do("chroot", self.folder, "env", "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", *words, check=check,
                  **{"env": clean()} | more)

    def install(self, *packages):
        return self.run("apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confdef",
                        "-o", "Dpkg::Options::=--force-confold", *packages)

    def take(self, file, to="/tmp"):
        shutil.copy(file, self.folder / to.lstrip("/"))
        return f"{to.rstrip(chr(47))}/{pathlib.Path(file).name}"


def debian(suite, *packages):
    """A minimal one, or one with these packages besides, made once."""
    folder = WORK / "-".join(["debian", suite, *packages[:1]])
    made = folder / "made"
    if not made.exists() or made.read_text().split() != list(packages):
        shutil.rmtree(folder, ignore_errors=True)
        if packages:
            do("cp", "-a", debian(suite).folder, folder)
            System(folder).run("apt-get", "update", "-q")
            System(folder).install(*packages)
        else:
            do("debootstrap", "--variant=minbase", suite, folder)
        made.write_text(" ".join(packages))
    return System(folder)


@pytest.fixture
def fresh():
    """Makes copies of minimal Debians; they go with the test."""
    made = []

    def make(suite, *packages):
        base = debian(suite, *packages)
        folder = WORK / f"system-{os.getpid()}-{len(made)}"
        shutil.rmtree(folder, ignore_errors=True)
        do("cp", "-a", base.folder, folder)
        made.append(folder)
        return System(folder)
    yield make
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def program(release):
    """The program of the release, as it was linked."""
    return release.parent / "aqueduct"


STORE = ["buildah", "--root", WORK / "containers", "--runroot", WORK / "containers-run", "--storage-driver", "vfs"]


@pytest.fixture(scope="session")
def image():
    """What `docker build -t aqueduct .` makes, without a Docker: (its root, its configuration). Its base is a Debian made here, in the place of debian:12-slim."""
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
