# SPDX-License-Identifier: MIT
"""Fetches what stands beside ours into build/peers, by the ordinary clients of the registries and in pinned versions."""
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = HERE.parent.parent.parent / "build/peers"
WS, UWS, CENTRIFUGO, BENTHOS = "8.18.0", "20.30.0-unofficial.0", "v6.9.1", "v4.27.0"


class Missing(Exception):
    """It cannot be had here: why."""


def call(words, folder, seconds=120, **environment):
    try:
        done = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds,
                              env=os.environ | environment)
    except FileNotFoundError:
        raise Missing(f"there is no {words[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise Missing(f"{' '.join(map(str, words))}: not done after {seconds} s; what it has fetched stays, so the next run goes on") from None
    if done.returncode:
        raise Missing(f"{' '.join(map(str, words))}: {' '.join(done.stdout.split())[-300:]}")
    return done.stdout


def npm(name, version, loads):
    """A folder with node_modules; `loads`: what node must be able to require."""
    folder = FOLDER / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    if f'"version": "{version}"' not in file_text(folder / "node_modules" / name / "package.json"):
        call(["npm", "install", "--no-audit", "--no-fund", "--save-exact", "--prefix", ".", f"{name}@{version}"], folder)
    call(["node", "-e", f"require('{loads}')"], folder)
    return folder


def file_text(path):
    return path.read_text() if path.exists() else ""


def ws():
    return npm("ws", WS, "ws"), f"ws {WS} (npm), node {call(['node', '--version'], FOLDER).strip()}"


def uws():
    name = "@trufflesuite/uws-js-unofficial"
    return npm(name, UWS, name), f"uWebSockets.js {UWS} (as {name}: npm has no newer one that loads on Debian 12), node {call(['node', '--version'], FOLDER).strip()}"


def nchan():
    """nginx and its module out of Debian's packages, unpacked: nothing is installed."""
    folder = FOLDER / "nchan"
    if not (folder / "usr/lib/nginx/modules/ngx_nchan_module.so").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        call(["apt-get", "download", "nginx", "libnginx-mod-nchan"], folder)
        for package in folder.glob("*.deb"):
            call(["dpkg-deb", "-x", package.name, "."], folder)
    version, = (re.search(r"_(.*?)_", p.name).group(1).replace("%3a", ":") for p in folder.glob("libnginx-mod-nchan*.deb"))
    return folder, f"nchan {version} (Debian), {call([folder / 'usr/sbin/nginx', '-v'], folder).split()[-1]}"


def go(what, build):
    """A program below build/peers/go/bin; `build(bin)`: the words that make it and the folder they run in."""
    place = FOLDER / "go/bin"
    place.mkdir(parents=True, exist_ok=True)
    if not (place / what).exists():
        tool = shutil.which("go") or next((str(p) for p in pathlib.Path("/usr").glob("l*/go*/bin/go")), None)
        if not tool:
            raise Missing("there is no go on this machine (1.21 or newer; it fetches the version that is wanted itself)")
        words, folder = build(place)
        call([tool, *words], folder, 900, GOBIN=str(place), GOTOOLCHAIN="auto", GOFLAGS="-mod=mod")
    return place / what


def centrifugo():
    return go("centrifugo", lambda _: (["install", "-ldflags", "-s -w", f"github.com/centrifugal/centrifugo/v6@{CENTRIFUGO}"], FOLDER)), f"Centrifugo {CENTRIFUGO} (go install)"


def benthos():
    """`go install` of all of it would fetch the clients of every cloud; its guide's way to a smaller one is a main.go that names its components."""
    def build(place):
        shutil.copytree(HERE / "benthos", FOLDER / "go/benthos", dirs_exist_ok=True)
        return ["build", "-ldflags", "-s -w", "-o", place / "benthos", "."], FOLDER / "go/benthos"
    return go("benthos", build), f"Benthos {BENTHOS} (the last under the MIT licence; built with its components io, kafka, pure and sql)"


def connect():
    """Kafka Connect's jars, below a folder of their own."""
    folder, pom = FOLDER / "connect", HERE / "connect/pom.xml"
    if file_text(folder / "pom.xml") != pom.read_text():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        call(["mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={folder}/jars", "-DincludeScope=runtime"], FOLDER, 600)
        shutil.copy(pom, folder)
    return folder / "jars", f"Kafka {next((folder / 'jars').glob('connect-runtime-*.jar')).stem.replace('-', ' ')} (Maven), {call(['java', '-version'], FOLDER).splitlines()[0]}"
