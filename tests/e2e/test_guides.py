# SPDX-License-Identifier: MIT
"""The account of the guides: each block in them is run by a test. Commands run here, in the order in which they stand, beside a bridge; what needs more
(a Kafka, Docker, systemd) names the test that runs it, and that one must hold it (tests/support/guide.py)."""
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import time

import anythingllm_app
import pytest
import requests
import yaml

import guide
import test_readme
from conftest import ROOT, SECRET, TOKEN, Daemon, Listener, free_port, made_once, wait_for

BLOCKS = [block for name in guide.guides() for block in guide.blocks(name)]
TRANSLATED = {"README.zh.md": "README.md"}
TAKEN = []      # by a test of this file, for itself


def take(name, begins):
    """The one block of a guide that begins so."""
    block, = [one for one in BLOCKS if one.guide == name and one.text.startswith(begins)]
    TAKEN.append(block)
    return block


def of(name):
    return [block for block in BLOCKS if block.guide == name and block.kind == "sh" and not block.tested and block not in TAKEN]


def account(block):
    """Who runs a block; "" when nobody does."""
    if block.tested:
        assert not guide.lacks(block), f"{block.place}: {guide.lacks(block)}"
        return block.tested
    if block.kind == "yaml":
        return "test_readme.py" if (block.guide, block.text) in test_readme.CONFIGURATIONS else ""
    if block in TAKEN or block in of(block.guide) and block.guide in GUIDES:
        return "here"
    if block.guide in TRANSLATED:
        return "test_a_translation_has_what_its_original_has"
    if block.guide == "tests/README.md" and block.kind == "sh":
        return "these are the tests"
    return "a picture" if is_picture(block) else ""


def is_picture(block):
    return "\u2500\u2500" in block.text or all((ROOT / (line.split() or [""])[0]).is_dir() for line in block.text.splitlines())


def test_every_block_of_every_guide_is_run():
    assert len(BLOCKS) > 130 and len({block.guide for block in BLOCKS}) > 15
    nobody = [f"{block.place}: {block.text.splitlines()[0]}" for block in BLOCKS if not account(block)]
    assert not nobody, "\n".join(nobody)


def test_the_account_can_fail(tmp_path, monkeypatch):
    """What no test holds is found: a command, a test that is gone, an output that nobody takes."""
    page = tmp_path / "page.md"
    for mark, text in (("tests/e2e/test_move.py", "    aqueduct move --backwards"), ("tests/e2e/test_moved.py", "    aqueduct move"),
                       ("tests/e2e/test_move.py::test_it_flies", "    aqueduct move"), ("tests/e2e/test_move.py", "```\nmoved\n```")):
        page.write_text(f"<!-- tested: {mark} -->\n\n{text}\n")
        block, = guide.blocks(page)
        assert block.tested and guide.lacks(block), text
    page.write_text("text\n\n    aqueduct check\n\n```\nok\n```\n")
    assert [account(block) for block in guide.blocks(page)] == ["", ""]


def sections(name):
    """What stands under each heading of a guide, without its blocks and comments."""
    text = re.sub(r"^```.*?^```|<!--.*?-->|^ {4}.*?$", "", (ROOT / name).read_text(), flags=re.DOTALL | re.MULTILINE)
    return text.split("\n## ")


def held(text):
    """What a translation has to have as it is: code, where links lead, figures; and how much there is."""
    plain = re.sub(r"\]\([^)]*\)|`[^`]+`", "", text)
    return {"code": {*re.findall(r"`([^`]+)`", text)}, "links": {*re.findall(r"\]\(([^)]*)\)", text)} - {*TRANSLATED, *TRANSLATED.values()},
            "figures": {*re.findall(r"\d(?:[\d,.]*\d)?", plain)}, "points": {len(re.findall(r"^(?:- |\|)", text, re.MULTILINE))}}


@pytest.mark.parametrize("name, original", TRANSLATED.items())
def test_a_translation_has_what_its_original_has(name, original):
    """Whoever changes the original changes the translation, section by section."""
    def said(guide_name):
        return ["\n".join(block.commands()) if block.kind == "sh" else re.sub(r" *#.*", "", block.text)
                for block in BLOCKS if block.guide == guide_name and not is_picture(block)]
    assert said(name) == said(original)
    assert len(sections(name)) == len(sections(original)) > 5
    differs = []
    for here, there in zip(sections(name), sections(original), strict=True):
        ours, theirs = held(here), held(there)
        differs += [f"{name}, {here.splitlines()[0]}: {kind}: lacks {theirs[kind] - ours[kind] or 'nothing'}, has beside {ours[kind] - theirs[kind] or 'nothing'}"
                    for kind in ours if ours[kind] != theirs[kind]]
    assert not differs, "\n".join(differs)


def pattern(shown):
    """What is shown, as a regular expression: `...`, numbers, times and ids are whatever they are."""
    text = re.escape(shown).replace(re.escape('"..."'), '"[^"]*"').replace(re.escape("..."), ".*")
    text = re.sub(r"\d{4}\\-\d\d\\-\d\dT[\d:\\.]+Z", r"[-0-9:.TZ]+", text)
    text = re.sub(r"(?<![\w.])\d+(ms|[smhd])\b", r"\\d+(?:ms|[smhd])(?: \\d+(?:ms|[smhd]))?", text)
    return re.sub(r"\\ (?:\\ )+", r" +", re.sub(r"(?<![\w\[{-])\d+(?![\w\]])", r"\\d+", text))


# ---- commands, in their order, beside a bridge ----

PORTS = ("8080", "8081", "9464", "9000", "8000")
EVENT, LETTER = "5f1c6c1e-0f4b-4d0a-9c1d-2b7f3e8a6a11", "8f14e45f-ceea-467f-a0e6-2c4f5b1b7f10"
CONFIG = """\
broker: {type: local, path: ./data}
admin: {listen: "127.0.0.1:9464", api: true, console: true, key_file: /etc/aqueduct/endpoints.key}
sources:
  anythingllm: {type: sqlite, path: /app/server/storage/anythingllm.db, preset: anythingllm, content: full, start: snapshot}
  hooks:
    type: http
    listen: 127.0.0.1:8080
    paths:
      - {path: /v1/github, verify: {scheme: github, secrets: ["${GITHUB_SECRET}"]}}
      - {path: /v1/events, ce_source: any, verify: {scheme: bearer, secrets: ["${INGEST_TOKEN}"]}}
      - {path: "/v1/kotaemon/{event}", type: "kotaemon.{{path.event}}", verify: {scheme: bearer, secrets: ["${INGEST_TOKEN}"]}}
routes:
  - {topic: ai.chats, filter: {any: [{exact: {type: chat.edited}}, {exact: {type: chat.message}}]}}
  - topic: ai.events
sinks:
  crm:
    type: webhook
    topics: [ai.chats, ai.events]
    url: https://crm.example.com/hooks
    secrets: ["${CRM_SECRET}"]
    retry: [10ms]
  partners:
    type: webhook
    topics: [ai.events]
    retry: [10ms]
    filter: {prefix: {type: test.}}
    endpoints:
      billing: {url: https://crm.example.com/billing, secrets: ["${CRM_SECRET}"]}
  live: {type: websocket, listen: 127.0.0.1:8081, topics: [ai.chats, ai.events], page: true}
  failed: {type: dead_letter, path: ./data/dead-letters.db}
"""
ENDLESS = re.compile(r"aqueduct run|aqueduct tail(?!.*--no-follow)|aqueduct log .*-f\b|curl -\w*N|^websocat|receive\.py")
# What begins a bridge of its own, and where it does so in an empty folder.
ALONE, ELSEWHERE = re.compile(r"aqueduct run"), re.compile(r"aqueduct init|AQUEDUCT_SQLITE_PATH")


class Stage:
    """A folder with a bridge as the guides speak of it: their ports, files and hosts are ours here."""
    venv = None

    def __init__(self, program, folder, receivers, wheels):
        self.folder = self.cwd = folder
        self.more = {}
        self.receiver = receivers(self.answer, port=0)
        self.ports = {port: str(free_port()) for port in PORTS}
        (folder / "bin").mkdir()
        (folder / "etc").mkdir()
        (folder / "bin/aqueduct").symlink_to(program)
        (folder / "bin/websocat").write_text("#!/usr/bin/python3\n" + WEBSOCAT)
        (folder / "bin/grep").write_text('#!/bin/sh\nexec /usr/bin/grep --line-buffered "$@"\n')      # as on a terminal
        for name in ("websocat", "grep"):
            (folder / "bin" / name).chmod(0o755)
        (folder / "connectors").symlink_to(ROOT / "connectors")
        self.env = {"PATH": f"{folder}/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(folder), "CRM_SECRET": SECRET, "INGEST_TOKEN": TOKEN, "LISTEN_TOKEN": TOKEN,
                    "GITHUB_SECRET": SECRET, "AQUEDUCT__LOG__LEVEL": "debug", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "URL": self.ours("http://localhost:8081/events"), "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "")}
        for name, text in {"push.json": '{"ref": "refs/heads/main"}', "body.json": '{"text": "Hi"}', "key": SECRET, ".live-token": TOKEN, ".curlrc": "fail",
                           "event.json": json.dumps(event_of("one", "chat.edited"))}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        self.daemon, self.program, self.count, self.commands = None, program, 0, 0

    def ours(self, text):
        """The same with our ports, folders and hosts, and with shorter waits."""
        text = re.sub(rf"(?<=[:= ])({'|'.join(PORTS)})(?!\d)", lambda m: self.ports[m[1]], text)
        for theirs, ours in (("https://crm.example.com", f"http://127.0.0.1:{self.receiver.port}"), ("https://hooks.example.com", f"http://127.0.0.1:{self.receiver.port}"),
                             ("https://live.example.com", f"http://127.0.0.1:{self.ports['8081']}"), ("wss://live.example.com", f"ws://127.0.0.1:{self.ports['8081']}"),
                             ("/app/server/storage/", f"{self.folder}/"), ("/etc/aqueduct/", f"{self.folder}/etc/"), ("wait=25", "wait=1")):
            text = text.replace(theirs, ours)
        return text

    @staticmethod
    def answer(request):
        try:
            return json.loads(request["body"])["data"].get("answer", 204)
        except (ValueError, KeyError, AttributeError, TypeError):
            return 204

    def start(self, config=CONFIG, seed=True):
        app = anythingllm_app.App(str(self.folder / "anythingllm.db"), seed=1)
        for _ in range(5):
            app.act()
        app.finish()
        subprocess.run("openssl rand -base64 32 > etc/endpoints.key && chmod 600 etc/endpoints.key", shell=True, cwd=self.folder, check=True)
        (self.folder / "bridge.yaml").write_text(self.ours(config))
        self.again()
        if seed:
            self.post(event_of(EVENT, "chat.edited"))
            self.letters()

    def stop(self):
        if self.daemon and self.daemon.alive():
            self.daemon.stop()

    def again(self):
        self.daemon = Daemon(self.program, self.folder / "bridge.yaml", self.folder, {k: v for k, v in self.env.items() if k != "PATH"}).ready()

    def post(self, *events):
        for one in events:
            answer = requests.post(f"http://127.0.0.1:{self.ports['8080']}/v1/events", json=one, timeout=60,
                                   headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents+json"})
            assert answer.status_code == 202, answer.text

    def dead(self):
        text = requests.get(f"http://127.0.0.1:{self.ports['9464']}/metrics", timeout=10).text
        return sum(int(n) for n in re.findall(r"^aqueduct_dead_letters\{.*\} (\d+)", text, re.M))

    def letters(self):
        """A new dead letter of each kind, at each place."""
        before = self.dead()
        self.count += 1
        self.post(event_of(LETTER, "test.refused", answer=400) | {"source": f"/crm/{self.count}"})
        self.post(*(event_of(f"{kind}-{self.count}", kind, answer=how) for kind, how in (("chat.refused", 400), ("test.refused", 400), ("test.away", "close"))))
        wait_for(lambda: self.dead() >= before + 7, why="letters")

    def bash(self, command):
        self.commands += 1
        said = self.folder / f"said-{self.commands}"
        with open(said, "wb") as out:
            return said, subprocess.Popen(["bash", "-c", self.ours(command)], cwd=self.cwd, env=self.env | self.more, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          start_new_session=True)

    def run(self, block):
        """Each command of a block in its turn, and what the last one said; those that do not end by themselves are ended behind it, and must have
        said something."""
        if ALONE.search(block.text):
            self.stop()
        if ELSEWHERE.search(block.text):
            self.more = {"AQUEDUCT__ADMIN__LISTEN": f"127.0.0.1:{self.ports['9464']}"} | ({"AQUEDUCT__SINKS__LIVE__LISTEN": "127.0.0.1:0"} if "init" in block.text else {})
            self.cwd = self.folder / f"else-{block.line}"
            self.cwd.mkdir()
            (self.cwd / "connectors").symlink_to(ROOT / "connectors")
        endless = []
        for command in block.commands():
            if " dead " in command:
                self.letters()
            if "-m venv" in command and self.venv:
                (self.cwd / "venv").symlink_to(self.venv)       # made once in this run
                continue
            said, process = self.bash(command)
            if ENDLESS.search(command):
                endless.append((command, process, said))
                wait_for(lambda: said.stat().st_size or process.poll() is not None or self.feed(), why=command)
                if "--dry-run" in command:
                    self.interrupt(*endless.pop())
                elif "aqueduct run" in command and "|" not in command:
                    wait_for(lambda: self.is_ready() or process.poll() is not None, why=said.read_text)
            else:
                code = process.wait(60)
                if "-m venv" in command:
                    Stage.venv = self.cwd / "venv"
                if cursor := re.search(r'\{"cursor":"([^"]+)"', said.read_text()):
                    self.env["CURSOR"] = self.env["LAST"] = cursor[1]
                assert code == 0, f"{block.place}: {command}: {code}\n{said.read_text()}"
        for one in reversed(endless):
            self.interrupt(*one)
        if ALONE.search(block.text) and self.daemon:
            self.again()
        self.cwd, self.more = self.folder, {}
        return said.read_text()

    def interrupt(self, command, process, said):
        wait_for(lambda: said.stat().st_size, why=command)
        assert process.poll() is None, f"{command} has ended: {said.read_text()}"
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)

    def is_ready(self):
        try:
            return requests.get(f"http://127.0.0.1:{self.ports['9464']}/readyz", timeout=5).ok
        except requests.ConnectionError:
            return False

    def call(self, command):
        done = subprocess.run(["bash", "-c", command], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=60)
        return done.stdout

    def feed(self, name="fed"):
        """Something happens, for those who wait for it."""
        self.count += 1
        if self.is_ready() and self.cwd == self.folder:
            self.post(event_of(EVENT, "chat.edited"), event_of(f"{name}-{self.count}", "chat.edited", answer=500 if self.count % 2 else 204),
                      event_of(f"other-{self.count}", "document.updated", collection={"key": "hr"}))
        time.sleep(0.05)


def event_of(ident, kind, **data):
    return {"specversion": "1.0", "id": ident, "source": "/crm/1", "type": kind, "subject": "c/1", "data": data}


WEBSOCAT = '''
import asyncio, sys, websockets
async def main(url, headers):
    async with websockets.connect(url, extra_headers=headers) as socket:
        async for text in socket:
            print(text, flush=True)
asyncio.run(main(sys.argv[-1], dict([sys.argv[2].split(": ", 1)]) if sys.argv[1] == "-H" else {}))
'''


@pytest.fixture
def wheels():
    """What `pip install` finds without a network."""
    folder = ROOT / "build/guide-wheels"
    with made_once(folder, "standardwebhooks==1.1.0") as missing:
        if missing:
            subprocess.run(["/usr/bin/python3", "-m", "pip", "download", "--quiet", "--dest", folder, "standardwebhooks==1.1.0"], check=True, timeout=300)
    return folder


@pytest.fixture
def stage(aqueduct, tmp_path, receivers, wheels):
    one = Stage(aqueduct, tmp_path, receivers, wheels)
    yield one
    one.stop()


GUIDES = ["README.md", "bridge/guide/configure.md", "bridge/guide/console.md", "bridge/guide/operate.md", "connectors/dead_letter/README.md", "connectors/http/README.md",
          "connectors/webhook/README.md", "connectors/websocket/README.md"]


@pytest.mark.parametrize("name", GUIDES)
def test_the_commands_of_a_guide(stage, name):
    stage.start()
    for block in of(name):
        stage.run(block)


# ---- blocks with a test of their own ----

CASES, RUN_CASES = take("bridge/guide/configure.md", "cases:"), take("bridge/guide/configure.md", "aqueduct test ")
ROW_CASES, RUN_ROW_CASES = take("connectors/sqlite/README.md", "cases:"), take("connectors/sqlite/README.md", "aqueduct test ")
PLAN, PLANNED = take("bridge/guide/operate.md", "aqueduct plan"), take("bridge/guide/operate.md", "~ routes")
STATUS = take("bridge/guide/operate.md", "crm (webhook)")


def test_the_cases_of_the_guide(stage):
    configuration = yaml.safe_load(next(block.text for block in BLOCKS if block.guide == CASES.guide and block.kind == "yaml"))
    configuration["sources"]["hooks"] = {"type": "http", "listen": "127.0.0.1:1", "paths": [{"path": "/v1/github", "verify": {"scheme": "github", "secrets": ["${GITHUB_SECRET}"]}}]}
    (stage.folder / "bridge.yaml").write_text(yaml.safe_dump(configuration))
    (stage.folder / "cases.yaml").write_text(CASES.text)
    assert stage.run(RUN_CASES) == f"{CASES.text.count('- name:')} cases, 0 failed\n"


def test_the_cases_of_the_guide_to_sqlite(stage):
    rules = next(block.text for block in BLOCKS if block.guide == ROW_CASES.guide and "path: /srv/desk/desk.db" in block.text)
    (stage.folder / "bridge.yaml").write_text(rules)
    (stage.folder / "cases.yaml").write_text(ROW_CASES.text)
    assert stage.run(RUN_ROW_CASES) == f"{ROW_CASES.text.count('- name:')} cases, 0 failed\n"


def test_what_plan_and_reload_print(stage):
    old = CONFIG.replace("    endpoints:\n", "    endpoints:\n      acme: {url: https://crm.example.com/acme, unsigned: true}\n").replace("  live:", "  old: {type: webhook, topics: [ai.events], url: https://crm.example.com/old, unsigned: true}\n  live:")
    old = old.replace("[ai.chats, ai.events]", "[ai.events]")
    stage.start(old)
    new = old.replace("topic: ai.chats, filter", "topic: ai.talks, filter").replace("path: /v1/github", "path: /v2/github").replace("/acme", "/new").replace("  old:", "  archive:")
    (stage.folder / "bridge.yaml").write_text(stage.ours(new))
    planned, reloaded = (stage.run(dataclasses.replace(PLAN, text=command)) for command in PLAN.commands())
    assert planned == PLANNED.text and PLANNED.text in reloaded


def test_what_status_prints(stage):
    """Each line that is shown is there, with other numbers, when there is something of each."""
    stage.receiver.answer = lambda request: {"one": 204, "dead": 410, "hang": "hang"}.get(json.loads(request["body"])["id"].split("-")[0], 503)
    stage.start(CONFIG.replace("retry: [10ms]", "retry: [2s, 1h]\n    retry_memory: 5s"), seed=False)
    stage.post(*(event_of(f"{name}-0", "chat.edited") for name in ("one", "dead", "hang", "moved")))

    def all_there():
        stage.count += 1
        stage.post(event_of(f"again-{stage.count}", "chat.edited"))
        text = subprocess.run([stage.program, "status"], cwd=stage.folder, env=stage.env, capture_output=True, text=True, timeout=60).stdout
        all_there.missing = [line for line in STATUS.text.splitlines() if not re.search(f"^ *{pattern(line.strip())}$", text, re.M)], text
        return not all_there.missing[0]
    wait_for(all_there, why=lambda: f"{all_there.missing[0]}\nnot in\n{all_there.missing[1]}")
    stage.receiver.released.set()


DIALOGUES = [block for block in BLOCKS if block.guide == "connectors/websocket/README.md" and block.text.startswith(("< ", "> "))]
TAKEN += DIALOGUES
EXPLAINED = take("connectors/websocket/README.md", "$ aqueduct explain")


class Raw(Listener):
    decode = encode = staticmethod(str)


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda block: block.place)
def test_what_is_said_on_a_websocket(stage, dialogue):
    """Line by line; what is published by others, and who has gone further, is not shown."""
    stage.start(CONFIG.replace("page: true}", "page: true, publish: {types: [chat.*]}}"), seed=False)
    plain = '"op"' not in dialogue.text
    listener = Raw(int(stage.ports["8081"]), **({} if plain else {"subprotocols": ["aqueduct.v1+json"]}))
    heard = 0

    def next_one(shown):
        nonlocal heard
        while True:
            wait_for(lambda: len(listener.events) > heard, why=lambda: (shown, listener.events[-3:]))
            said, heard = listener.events[heard], heard + 1
            if re.fullmatch(pattern(shown), said):
                return said
            assert re.match(r'\{"op":"(hb|live|state|welcome)"' if not plain else r'\{"specversion"', said), f"{said}\nis not\n{shown}"

    position = ""
    for way, line in (line.split(" ", 1) for line in dialogue.text.splitlines()):
        if way == ">":
            listener.say(line.replace('"pos":"..."', f'"pos":"{position}"'))
            continue
        if '"op":"ev"' in line:
            stage.post(event_of("said", "chat.message"))
        said = json.loads(next_one(line))
        position = said.get("pos", position)
    if '"sub":"chats"' in dialogue.text:
        explained(stage, listener)


def explained(stage, listener):
    """The same subscription does not get what the guide says that it does not."""
    listener.say('{"op":"sub","id":9,"sub":"chats","filter":{"prefix":{"type":"chat."}}}')
    wait_for(lambda: any('"id":9' in said for said in listener.events))
    stage.post(event_of("login", "user.login"))
    status = json.loads(stage.call("aqueduct status --list listeners --json"))
    number = next(one["connection"] for sink in status["sinks"] for one in sink.get("listeners", []))
    command, shown = EXPLAINED.text.removeprefix("$ ").splitlines()
    assert shown in wait_for(lambda: stage.call(re.sub("--event .*", f"--event login --connection {number}", command))).splitlines()


BATCH, REQUEST = take("connectors/webhook/README.md", "POST /ingest"), take("connectors/webhook/README.md", "POST /hooks")
VERIFY = take("README.md", "from standardwebhooks")


def test_what_a_receiver_gets(stage, python_folder):
    stage.start(CONFIG.replace("  live:", """  batches:
    type: webhook
    topics: [ai.events]
    url: https://crm.example.com/ingest
    secrets: ["${CRM_SECRET}"]
    body: structured
    batch: {count: 100, age: 50ms}
  live:"""), seed=False)
    for block in (BATCH, REQUEST):
        path, *headers = block.text.partition("\n\n")[0].splitlines()
        body = block.text.partition("\n\n")[2].strip()
        got = wait_for(lambda: [r for r in stage.receiver.all() if r["path"] == path.split()[1] and b"chat.response.generated" in r["body"]])[0]      # noqa: B023
        for name, shown in (line.split(": ", 1) for line in headers):
            values = {"webhook-id": r"[-0-9a-f]{36}", "webhook-timestamp": r"\d{10}", "webhook-signature": "v1,[A-Za-z0-9+/]+=*"}
            assert re.fullmatch(values.get(name, re.escape(shown)), got["headers"][name.lower()]), name
        if block is BATCH:
            assert re.fullmatch(pattern(body), got["body"].decode())
            continue
        shown, said = json.loads(body), json.loads(got["body"])
        assert list(shown) == [name for name in said if name in shown] and set(said) - set(shown) <= {"snapshot"}, said
        assert set(shown["data"]) <= set(said["data"]) and all(set(shown["data"][name]) <= set(said["data"][name]) for name in shown["data"]), said
        program = f"import json, sys\nsecret, headers, body = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3].encode()\n{VERIFY.text}print(event['id'])"
        done = subprocess.run([python_folder / "bin/python", "-c", program, SECRET, json.dumps(got["headers"]), got["body"]], capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == said["id"], done.stderr


LOGGED = take("connectors/http/README.md", '{"method":"POST"')


def test_a_request_that_is_logged(stage):
    configuration = next(block.text for block in BLOCKS if block.guide == LOGGED.guide and block.kind == "yaml" and "http.request.logged" in block.text)
    (stage.folder / "bridge.yaml").write_text(configuration)
    merged = yaml.safe_load(configuration)
    source, = merged["sources"].values()
    source["listen"] = "127.0.0.1:8080"
    merged |= {"admin": {"listen": "127.0.0.1:9464"}, "broker": {"type": "local", "path": "./data"}}
    stage.start(yaml.safe_dump(merged, sort_keys=False), seed=False)
    requests.post(f"http://127.0.0.1:{stage.ports['8080']}/v1/github", timeout=30, data='{"zen":"Design for failure.","hook":{"config":{"secret":"of this hook"}}}',
                  headers={"User-Agent": "GitHub-Hookshot/1", "X-Hub-Signature-256": "sha256=" + "0" * 64})
    line = wait_for(lambda: stage.call("aqueduct tail --topic ai.requests --from earliest --no-follow --json"))
    said, shown = json.loads(line.splitlines()[0]), json.loads(LOGGED.text)
    said = said.get("event", said)["data"]
    assert set(shown) - {"left_out"} <= set(said), said
    for name in ("method", "path", "verification", "status", "outcome", "reason", "events"):
        assert said[name] == shown[name], name
    assert said["headers"]["User-Agent"] == "GitHub-Hookshot/1" and said["body"].startswith(shown["body"].rpartition(",")[0][:40])


STREAMED = take("connectors/websocket/README.md", "id: AYDA")


def test_what_an_event_stream_is(stage):
    stage.start(seed=False)
    answer = requests.get(f"http://127.0.0.1:{stage.ports['8081']}/?from=earliest&type=chat.response.generated", headers={"Accept": "text/event-stream"}, stream=True, timeout=60)
    lines = answer.iter_lines(chunk_size=1, decode_unicode=True)
    ident, data = next((line, next(lines)) for line in lines if line.startswith("id: ") and line)
    while "specversion" not in data:
        ident, data = data, next(lines)
    shown_id, shown_data = STREAMED.text.splitlines()
    assert re.fullmatch(r"id: [\w-]+", ident) and re.fullmatch(pattern(shown_data), data), data


# ---- JavaScript ----

# What stands around each block where it is used: (what is there before it, what is there after it).
AROUND = {
    ("connectors/webhook/README.md", "const keep"): (
        'import express from "express";\nimport { Webhook } from "standardwebhooks";\nconst app = express();\n',
        'app.use((error, request, response, next) => response.sendStatus(400));\napp.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("listens"));\n'),
    ("connectors/websocket/README.md", "const token"): (
        'import { WebSocket as Real } from "undici";\nclass WebSocket extends Real { constructor(...all) { super(...all); this.onmessage = (e) => console.log(JSON.parse(e.data).id); } }\n', ""),
    ("connectors/websocket/README.md", "import { listen }"): (
        'const kept = {};\nconst localStorage = { getItem: (name) => kept[name] ?? "earliest", setItem: (name, value) => { kept[name] = value; } };\n'
        'const session = { token: async () => process.env.LISTEN_TOKEN }, show = (event) => console.log(event.id);\n', ""),
    ("connectors/websocket/README.md", "const events"): ('import { EventSource } from "eventsource";\n', ""),
    ("README.md", "import { listen }"): ("const token = process.env.LISTEN_TOKEN, show = (event) => console.log(event.id);\n", ""),
}
SCRIPTS = {take(*where): around for where, around in AROUND.items()}


def node_script(stage, node_folder, block):
    """It runs where npm's packages are found; the client is what the bridge itself serves."""
    before, after = SCRIPTS[block]
    client = requests.get(f"http://127.0.0.1:{stage.ports['8081']}/aqueduct.js", timeout=30)
    folder = node_folder / f"guide-{stage.ports['8081']}"
    folder.mkdir()
    (folder / "aqueduct.mjs").write_text(client.text)
    text = re.sub(r'from "[^"]*aqueduct.js"', 'from "./aqueduct.mjs"', block.text).replace('btoa("...")', "btoa(process.env.LISTEN_TOKEN)")
    (folder / "block.mjs").write_text(before + stage.ours(text) + after)
    return folder


@pytest.mark.parametrize("block", SCRIPTS, ids=lambda block: block.place)
def test_javascript(stage, node_folder, block):
    is_receiver, tokens = "keep" in block.text, "EventSource" not in block.text
    url = f"http://127.0.0.1:{stage.ports['9000']}/hooks" if is_receiver else "https://crm.example.com/hooks"
    stage.start(CONFIG.replace("page: true}", 'page: true, tokens: ["${LISTEN_TOKEN}"]}' if tokens else "page: true}").replace("https://crm.example.com/hooks", url), seed=False)
    folder = node_script(stage, node_folder, block)
    said = stage.folder / "node"
    with open(said, "wb") as out:
        process = subprocess.Popen(["node", folder / "block.mjs", stage.ports["9000"]], env=os.environ | stage.env | {"PATH": os.environ["PATH"]}, stdout=out, stderr=out)
    try:
        if is_receiver:
            wait_for(lambda: said.read_text() == "listens\n", why=said.read_text)
            stage.post(event_of("to-express", "chat.edited"))
            wait_for(lambda: stage.daemon.metric("aqueduct_sink_delivered_total", sink="crm") >= 1, why=stage.daemon.log)
            assert requests.post(url, data=b"{}", headers={"webhook-id": "1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,x"}, timeout=30).status_code == 400
        else:
            wait_for(lambda: "js-" in said.read_text() or process.poll() is not None or stage.feed("js"), why=said.read_text)
            assert "js-" in said.read_text(), said.read_text()
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)
