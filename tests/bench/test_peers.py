# SPDX-License-Identifier: MIT
"""Does the comparison run, and is its table whole? With the peers that come from Debian and npm, and nothing is judged by time."""
import json
import pathlib
import subprocess

PEERS = pathlib.Path(__file__).resolve().parent / "peers"
FANOUT = ["fanout_one_a_post", "fanout_best", "fanout_p50", "fanout_p99", "fanout_cpu", "fanout_idle"]
SIZE = ["size_mb", "size_files", "size_rss", "size_ready"]


def run(*words):
    return subprocess.run([PEERS, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200)


def test_ours_stands_beside_nchan_and_ws_in_every_row(tmp_path):
    done = run("--brief", "--only", "fanout", "--only", "size", "--only", "nchan", "--only", "ws", "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stdout
    found = json.loads((tmp_path / "figures.json").read_text())
    assert [r["figure"] for r in found["results"]] == FANOUT + SIZE, done.stdout
    for r in found["results"]:
        for who in ("ours", "nchan", "ws"):
            assert len(r[who]) == 1 and r[who][0] > 0, (who, r)
    assert set(found["host"]["versions"]) == {"nchan", "ws"}
    lines = done.stdout.splitlines()
    for who in ("nchan", "ws"):         # a row of each with its ratio
        assert sum(line.split()[:1] == [who] and " ours x" in line for line in lines) == len(FANOUT + SIZE), done.stdout
    assert sum(line.startswith("not comparable: ") for line in lines) == len(found["not_comparable"]) > 3


def test_what_cannot_be_fetched_is_said_and_the_rest_is_measured(tmp_path):
    """Without npm on the PATH there is no ws; nchan stands there all the same."""
    for tool in ("apt-get", "dpkg-deb", "nginx", "cmake", "ninja", "gcc", "cc", "c++", "g++", "ld", "ar", "as", "pkg-config", "git", "ccache", "python3"):
        for folder in ("/usr/bin", "/usr/sbin", "/bin", "/usr/local/bin"):
            if (pathlib.Path(folder) / tool).exists() and not (tmp_path / tool).exists():
                (tmp_path / tool).symlink_to(pathlib.Path(folder) / tool)
    done = subprocess.run([PEERS, "--brief", "--only", "size", "--only", "nchan", "--only", "ws"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=1200, env={"PATH": str(tmp_path), "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stdout
    assert "not comparable: ws: cannot be fetched here: there is no " in done.stdout
    assert any(line.split()[:1] == ["nchan"] and "ours x" in line for line in done.stdout.splitlines()), done.stdout


def test_only_names_what_there_is():
    assert run("--list").stdout.split() == ["fanout", "deliver", "kill9", "http_in", "table", "size", "nchan", "ws", "uws", "centrifugo", "benthos", "connect"]
    assert run("--only", "nothing").returncode == 2
