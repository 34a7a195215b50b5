# SPDX-License-Identifier: MIT
"""What every example plays on: a bridge, the databases of two applications, and what was written there.

Here and in bridge.yaml alone it is said which applications these are; no consumer knows. What the consumers need from PyPI and
Maven is fetched once, to build/examples, or where AQUEDUCT_EXAMPLES_BUILD says."""
import collections
import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("support", "kafka", "apps")]
import anythingllm  # noqa: E402
import aqueduct  # noqa: E402
from app import App, new_id  # noqa: E402

BUILD = pathlib.Path(os.environ.get("AQUEDUCT_EXAMPLES_BUILD", ROOT / "build" / "examples"))
PATIENCE = float(os.environ.get("PATIENCE", 240))       # seconds; a bound


def wait_for(what, why="", seconds=PATIENCE):
    return aqueduct.wait_for(what, seconds, why, pause=0.05)


# ---- what is fetched ----

@contextlib.contextmanager
def fetched(name, wanted):
    """The folder of what is fetched; empty when `wanted`, a text, is not what is there."""
    folder = BUILD / name
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / f"{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = folder / "wanted"
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
        yield folder
        folder.mkdir(exist_ok=True)
        stamp.write_text(wanted)


def python(example):
    """A Python that has what the example's requirements.txt says."""
    wanted = HERE / example / "requirements.txt"
    with fetched(f"{example}-python", "".join(file.read_text() for file in sorted(wanted.parent.glob("*.txt")))) as folder:
        if not folder.exists():
            subprocess.run(["/usr/bin/python3", "-m", "venv", str(folder)], check=True)
            subprocess.run([str(folder / "bin/pip"), "install", "-q", "--disable-pip-version-check", "-r", str(wanted)], check=True, timeout=900)
    return folder / "bin" / "python3"


def jars(example):
    """The folder with the jars of the example's pom.xml."""
    wanted = HERE / example / "pom.xml"
    with fetched(f"{example}-jars", wanted.read_text()) as folder:
        if not folder.exists():
            subprocess.run(["mvn", "-q", "-B", "-f", str(wanted), "dependency:copy-dependencies", f"-DoutputDirectory={folder}",
                            "-DincludeScope=runtime"], check=True, stdin=subprocess.DEVNULL, timeout=900)
    return folder


# ---- the applications ----

def minutes_ago(count):
    """A moment within the minute that began so many minutes before this one."""
    return (int(time.time()) // 60 - count) * 60 + 7


def minute(at):
    return datetime.datetime.fromtimestamp(at // 60 * 60, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%MZ")


class People:
    """Chat with both applications. `usage` is the truth: {(app, model): [answers, input tokens, output tokens]}, `minutes` the same for each
    minute, {(minute, app, model): ...}; `documents` are those that can be searched."""

    def __init__(self, folder):
        self.usage, self.minutes = collections.defaultdict(lambda: [0, 0, 0]), collections.defaultdict(lambda: [0, 0, 0])
        self.documents = {}
        self.llm = App("anythingllm", folder / "anythingllm.db", "delete")
        self.webui = App("open-webui", folder / "open-webui.db", "wal")
        self.llm.wait = lambda *_: None
        self.space = self.llm.add("workspaces", name="HR", slug="hr", createdAt=int(time.time() * 1000))
        self.user, self.chat = new_id(), new_id()

    def close(self):
        self.llm.db.close()
        self.webui.db.close()

    def count(self, app, model, at, tokens):
        for row in (self.usage[app, model], self.minutes[minute(at), app, model]):
            row[:] = [a + b for a, b in zip(row, (1, *tokens))]

    def ask_llm(self, at, tokens, model="fake-chat"):
        answer = anythingllm.answer(self.llm, *tokens)
        answer["metrics"]["model"] = model
        self.llm.add("workspace_chats", workspaceId=self.space, prompt="How many days?", response=answer, createdAt=at * 1000)
        self.count("anythingllm", model, at, tokens)

    def ask_webui(self, at, tokens, model="fake-chat"):
        """The question and the answer; the bridge, when it looks, finds the answer finished."""
        about = {"chat_id": self.chat, "user_id": self.user, "created_at": at, "updated_at": at, "error": "null", "files": "null", "done": 1}
        question, row = new_id(), self.webui.row
        usage = {"input_tokens": tokens[0], "output_tokens": tokens[1], "total_tokens": sum(tokens)}
        self.webui.commit(row("chat_message", id=f"{self.chat}-{question}", role="user", content='"How many days?"', usage="null", **about),
                          row("chat_message", id=f"{self.chat}-{new_id()}", role="assistant", parent_id=question, model_id=model, content='"30 days."',
                              usage=usage, **about))
        self.count("open-webui", model, at, tokens)

    def embed_llm(self, name):
        ident = new_id()
        self.llm.add("workspace_documents", docId=new_id(), filename=f"{name}.json", docpath=f"custom-documents/{name}-{ident}.json", workspaceId=self.space,
                     metadata={"id": ident, "title": name, "wordCount": 161, "token_count_estimate": 401}, createdAt=int(time.time() * 1000))
        self.documents[ident] = ("anythingllm", name)

    def embed_webui(self, name):
        ident, now = new_id(), int(time.time())
        self.webui.add("file", id=ident, user_id=self.user, filename=name, path="/data/uploads/x", created_at=now, updated_at=now,
                       meta={"name": name, "content_type": "text/plain", "size": 450}, data={"status": "pending"})
        self.webui.set("file", ident, updated_at=now, data={"status": "completed"},
                       meta={"name": name, "content_type": "text/plain", "size": 450, "collection_name": f"file-{ident}"})
        self.documents[ident] = ("open-webui", name)


# ---- the bridge ----

class Bridge(aqueduct.Daemon):
    """The daemon on a configuration of an example, in a folder that has the databases."""

    def __init__(self, folder, config, **environment):
        super().__init__(pathlib.Path(os.environ.get("AQUEDUCT_BIN", ROOT / "build/test/aqueduct")).resolve(), folder)
        self.admin = aqueduct.free_port()
        text = pathlib.Path(config).read_text() + f'\nadmin: {{listen: "127.0.0.1:{self.admin}"}}\n'
        (folder / "bridge.yaml").write_text(text)
        self.start(**environment)
        assert self.ready(PATIENCE), self.log()

    def all_told(self):
        """Has it looked at both databases, and is nothing left of what it found?"""
        return self.log().count("msg=watching ") >= 2 and self.metric("aqueduct_source_pending") == 0

    def end(self):
        self.process.terminate()
        code = self.ended(PATIENCE)
        if code is None:
            self.kill()
        assert code == 0 and not aqueduct.complaints(self.log()), self.log()[-3000:]


class Program:
    """A consumer that runs until it is ended; what it printed, each line JSON, are its `lines`."""

    def __init__(self, folder, name, *command, **environment):
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        with open(self.out, "w") as out, open(self.err, "w") as err:
            self.process = subprocess.Popen([str(word) for word in command], cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                            env=os.environ | environment)

    @property
    def lines(self):
        text = self.out.read_text()
        return [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines() if line.startswith("{")]

    def said(self):
        return self.err.read_text()[-4000:] + self.out.read_text()[-4000:]

    def wait_until(self, good):
        def look():
            assert self.process.poll() is None or good(), f"it ended with {self.process.returncode}\n{self.said()}"
            return good()
        return wait_for(look, self.said)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
