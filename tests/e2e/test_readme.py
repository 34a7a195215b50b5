# SPDX-License-Identifier: MIT
"""The guides cannot rot: their configurations pass the check, their commands and flags exist, their links lead somewhere."""
import os
import re
import shlex
import subprocess

import pytest

from conftest import ROOT

GUIDES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted(p for folder in ("bridge", "connectors", "tests") for p in (ROOT / folder).rglob("*.md"))]
TEXTS = {str(guide.relative_to(ROOT)): guide.read_text() for guide in GUIDES}
BLOCKS = [(name, kind, text) for name, guide in TEXTS.items() for kind, text in re.findall(r"^```(\w[^\n]*)\n(.*?)^```", guide, re.DOTALL | re.MULTILINE)]
CONFIGURATIONS = [(name, text) for name, kind, text in BLOCKS if kind == "yaml"]
# Blocks that begin with ```yaml and more, such as ```yaml part, are no configurations by themselves: (guide, kind).
PARTS = {("bridge/guide/kafka-security.md", "yaml part"), ("bridge/guide/configure.md", "yaml cases"), ("connectors/sqlite/README.md", "yaml cases")}
# The guide's example connector is in nobody's program.
EXAMPLES = {("connectors/README.md", "aqueduct help print")}
FLAGS_OF_ALL = {"-c", "--config", "-h", "--help", "--version"}


def names_of(values):
    return [f"{name}-{sum(name == other for other, _ in values[:i]) + 1}" for i, (name, _) in enumerate(values)]


def call(aqueduct, *words, **more):
    return subprocess.run([aqueduct, *words], capture_output=True, text=True, timeout=60, **more)


def test_there_are_configurations():
    for guide, least in (("README.md", 1), ("README.zh.md", 1), ("connectors/recipes.md", 6), ("bridge/guide/configure.md", 2)):
        assert sum(name == guide for name, _ in CONFIGURATIONS) >= least, guide
    for folder in (ROOT / "connectors").iterdir():
        if folder.is_dir():
            guide = f"connectors/{folder.name}/README.md"
            assert any(name == guide for name, _ in CONFIGURATIONS), f"{guide}: shows no configuration"
    assert {(name, kind) for name, kind, _ in BLOCKS if re.match("ya?ml", kind) and kind != "yaml"} == PARTS


def with_certificates(text, folder):
    """The configuration with files that are there, for the check looks at them."""
    if "tls_key:" not in text:
        return text
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
                    "-keyout", "key.pem", "-out", "certificate.pem"], cwd=folder, check=True, capture_output=True)
    text = re.sub(r"tls_certificate: [^\s,}]+", "tls_certificate: certificate.pem", text)
    return re.sub(r"tls_key: [^\s,}]+", "tls_key: key.pem", text)


@pytest.mark.parametrize("guide, text", CONFIGURATIONS, ids=names_of(CONFIGURATIONS))
def test_configurations_pass_the_check(aqueduct, tmp_path, guide, text):
    text = with_certificates(text, tmp_path)
    (tmp_path / "bridge.yaml").write_text(text)
    names = set(re.findall(r"\$\{([A-Z_]+)\}", text))
    assert names or not guide.startswith("README") and not re.search(r"\b(secrets|tokens):", text), "secrets do not stand in a configuration"
    env = {name: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" for name in names}
    done = call(aqueduct, "check", cwd=tmp_path, env=env)
    assert done.returncode == 0 and done.stdout.startswith("ok: "), done.stderr
    for missing in names:
        done = call(aqueduct, "check", cwd=tmp_path, env={n: v for n, v in env.items() if n != missing})
        assert done.returncode == 1 and missing in done.stderr
        assert re.match(r"bridge\.yaml:\d+:\d+: ", done.stderr)


def shell_lines():
    """(guide, line) of what is shown to be typed: blocks of sh, indented lines that begin with a program of ours, `aqueduct ...`."""
    program = r"(?:aqueduct|\./\S+|tests/\S+|\.ci/\S+|build/\S+/aqueduct)"
    for name, text in TEXTS.items():
        for kind, block in re.findall(r"^```(\w[^\n]*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            if kind in ("sh", "bash", "console"):
                yield from ((name, line.removeprefix("$ ")) for line in block.splitlines() if line.strip())
        prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        yield from ((name, line.strip()) for line in re.findall(rf"^ {{4}}{program}(?: .*)?$", prose, re.MULTILINE))
        yield from ((name, re.sub(r"\s+", " ", line)) for line in re.findall(r"`(aqueduct [^`]+)`", prose))


LINES = sorted(set(shell_lines()) - EXAMPLES)


def test_there_are_shell_lines():
    assert len(LINES) >= 15 and any("dead redrive" in line for _, line in LINES)
    assert EXAMPLES <= set(shell_lines())


@pytest.mark.parametrize("line", [line for _, line in LINES], ids=[f"{name}: {line}" for name, line in LINES])
def test_shell_lines_are_right(aqueduct, line):
    for part in re.split(r"&&|\||;", re.sub(r"(^|\s)#.*|\s>.*", "", line)):
        words = shlex.split(part)
        if words and os.path.basename(words[0]) == "aqueduct":
            check_call(aqueduct, words[1:])
        elif words and words[0].startswith(("./", "tests/", ".ci/")):
            assert os.access(ROOT / words[0], os.X_OK), words[0]
            if words[0] in ("./tests/run", "tests/run") and len(words) > 1:
                usage = subprocess.run([ROOT / "tests/run", "--help"], capture_output=True, text=True, timeout=60).stdout
                for word in words[1:]:
                    assert re.search(rf"(?:^  |tests/run |\[){re.escape(word)}\b", usage, re.MULTILINE), word


def check_call(aqueduct, words):
    """Are command, flags and the first word behind it what the program knows?"""
    flags = {word.split("=")[0] for word in words if word.startswith("-")}
    while words and words[0].startswith("-"):
        words = words[2:] if words[0] in ("-c", "--config") else words[1:]
    if not words or re.match(r"NAME|\.\.\.|<", words[0]):
        assert flags <= FLAGS_OF_ALL
        return
    if words[0] == "help" and len(words) > 1 and not words[1].isupper():
        assert call(aqueduct, *words).returncode == 0
        return
    done = call(aqueduct, words[0], "--help")
    assert done.returncode == 0, done.stderr
    assert flags - FLAGS_OF_ALL <= set(re.findall(r"-[\w-]+", done.stdout))
    if words[0] == "dead" and len(words) > 1:
        assert f"aqueduct dead {words[1]} " in done.stdout


def test_the_lines_are_really_checked(aqueduct):
    for wrong in ("chek", "help webhok", "check --colour", "dead bury", "dead list --colour x"):
        with pytest.raises(AssertionError):
            check_call(aqueduct, wrong.split())


@pytest.mark.parametrize("command", ["quickstart", "tests/run", ".ci/install"])
def test_commands_are_there(command):
    assert command in TEXTS["README.md"]
    assert os.access(ROOT / command, os.X_OK)


def test_suites_are_there():
    listed = subprocess.run([ROOT / "tests/run", "--list"], capture_output=True, text=True, timeout=60).stdout.split()
    named = {suite for text in TEXTS.values() for suite in re.findall(r"\./tests/run (\w+) ", text)}
    assert named <= set(listed) and "e2e" in listed


LINKS = sorted({(name, link) for name, text in TEXTS.items() for link in re.findall(r"\]\(((?!https?:)[^)#\s]+)[^)]*\)", text)})


@pytest.mark.parametrize("name, link", LINKS)
def test_links_lead_somewhere(name, link):
    assert ((ROOT / name).parent / link).exists()
