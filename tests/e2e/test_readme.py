# SPDX-License-Identifier: MIT
"""The README cannot rot: its configurations pass the check, its commands exist, its links lead somewhere."""
import os
import re
import subprocess

import pytest

from conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


def test_there_are_configurations():
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_configurations_pass_the_check(aqueduct, tmp_path, number):
    (tmp_path / "bridge.yaml").write_text(BLOCKS[number])
    names = set(re.findall(r"\$\{([A-Z_]+)\}", BLOCKS[number]))
    assert names
    env = {name: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" for name in names}
    done = subprocess.run([aqueduct, "check"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("ok: "), done.stderr
    for missing in names:
        done = subprocess.run([aqueduct, "check"], cwd=tmp_path, env={n: v for n, v in env.items() if n != missing}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and missing in done.stderr
        assert re.match(r"bridge\.yaml:\d+:\d+: ", done.stderr)


@pytest.mark.parametrize("command", ["quickstart", "tests/run", ".ci/install"])
def test_commands_are_there(command):
    assert command in README
    assert os.access(ROOT / command, os.X_OK)


def test_suites_are_there():
    listed = subprocess.run([ROOT / "tests/run", "--list"], capture_output=True, text=True, timeout=60).stdout.split()
    assert set(re.findall(r"\./tests/run (\w+) ", README)) <= set(listed) and "e2e" in listed


def test_subcommands_are_there(aqueduct):
    for word in set(re.findall(r"\baqueduct (help \w+|\w+) ", README)) & {"run", "check", "dead", "help webhook"}:
        assert subprocess.run([aqueduct, *word.split(), "--help"] if " " not in word else [aqueduct, *word.split()], capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(((?!https?:)[^)#]+)\)", README))))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()
