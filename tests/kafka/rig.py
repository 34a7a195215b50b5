# SPDX-License-Identifier: MIT
"""A real, single-node Apache Kafka for tests: fetched once, started on free loopback ports with a data folder of its own.

    with rig.Kafka() as kafka:          # started and ready
        kafka.servers                   # "127.0.0.1:21234"
        kafka.pause(); kafka.resume()   # SIGSTOP, SIGCONT
        kafka.kill(); kafka.start()     # kill -9, then the same data on the same ports

    with rig.Kafka(secure=True) as kafka:       # the listeners and files of secure.py, one for each way to log in
        kafka.sasl, kafka.tls, kafka.at("mtls")
        kafka.allow("User:alice", "topic", "orders", "write")
        # An authorizer denies everybody everything until an ACL allows it; whoever comes without a login, by `servers`, may all.

Everything about one broker stands in <dir>/rig.json, so a different process (the command line `rig`) can act on it too.
Only processes that this module started are signalled: by pid, after a look at their command line."""
import base64
import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "support"))
from aqueduct import free_port  # noqa: E402
import secure as security  # noqa: E402

BUILD = pathlib.Path(os.environ.get("AQUEDUCT_KAFKA_BUILD", HERE.parent.parent / "build" / "kafka"))

# A restart after kill -9 takes 4 s instead of 12 with the session and quorum times below.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={dir}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
controller.quorum.fetch.timeout.ms=1000
controller.quorum.election.timeout.ms=500
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.backoff.ms=1000
"""


KNOWN = ["port", "controller", "ports", "pid", "heap"]      # in rig.json


class RigError(Exception):
    pass


def jars():
    """The folder with the broker's jars; fetched with maven the first time, by one process at a time."""
    folder = BUILD / "jars"
    wanted = (HERE / "pom.xml").read_text()
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = folder / "pom.xml"
        if stamp.exists() and stamp.read_text() == wanted:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies",
                   f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
        for attempt in range(3):        # a registry may have a bad moment
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode == 0:
                break
            time.sleep(2 << attempt)
        else:
            raise RigError(f"maven could not fetch Kafka:\n{done.stdout[-3000:]}")
        stamp.write_text(wanted)
    return folder


def tool(name, *arguments, seconds=60):
    """One of Kafka's own programs, by its class below org.apache.kafka.tools: its output. They are in a jar of their own, fetched once."""
    folder, version = BUILD / "tools", next(jars().glob("kafka-clients-*.jar")).stem.rsplit("-", 1)[1]
    with open(BUILD / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / f"kafka-tools-{version}.jar").exists():
            subprocess.run(["mvn", "-q", "-B", "dependency:copy", f"-Dartifact=org.apache.kafka:kafka-tools:{version}",
                            f"-DoutputDirectory={folder}"], stdin=subprocess.DEVNULL, check=True, timeout=600)
    command = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}",
               "-cp", f"{jars()}/*:{folder}/*", f"org.apache.kafka.tools.{name}", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
    if done.returncode != 0:
        raise RigError(f"{name}: {done.stdout}{done.stderr}")
    return done.stdout


def text(words):
    return struct.pack(">h", len(words)) + words.encode()


def ask(port, api, version, body, timeout=40, tagged=False):
    """The broker's answer to one request, without its head; `tagged`: a version with tagged fields."""
    body = struct.pack(">hhi", api, version, 7) + text("rig") + (b"\0" if tagged else b"") + body
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        s.sendall(struct.pack(">i", len(body)) + body)
        with s.makefile("rb") as answer:
            size = answer.read(4)
            rest = answer.read(struct.unpack(">i", size)[0]) if len(size) == 4 else b""
    if len(rest) < 5:
        raise OSError("the broker did not answer")
    return rest[4 + tagged:]


def answers(port):
    """Does the broker answer a Metadata request (version 1, all topics) that names at least one broker?"""
    try:
        return struct.unpack(">i", ask(port, 3, 1, struct.pack(">i", -1), 2)[:4])[0] > 0
    except OSError:
        return False


def cluster_id():
    """A uuid in 22 characters of base64; never with a '-' first, which Kafka's tool would take for an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if text[0] != "-":
            return text


class Kafka:
    """One broker. `Kafka()` makes a fresh data folder; `Kafka(dir=...)` takes up one that is there."""

    def __init__(self, dir=None, properties=None, heap="384m", secure=False, ports=None, cluster=None):
        """`ports`: for clients and for controllers, `cluster`: its id, when it is one of several (cluster.py)."""
        if dir and (pathlib.Path(dir) / "rig.json").exists():
            self.dir = pathlib.Path(dir).resolve()
            known = json.loads((self.dir / "rig.json").read_text())
            for key in KNOWN:
                setattr(self, key, known[key])
            return
        if dir:
            self.dir = pathlib.Path(dir).resolve()
            self.dir.mkdir(parents=True, exist_ok=True)
        else:
            (BUILD / "run").mkdir(parents=True, exist_ok=True)
            self.dir = pathlib.Path(tempfile.mkdtemp(prefix="kafka-", dir=BUILD / "run"))
        self.heap, self.pid = heap, 0
        self.port, self.controller = ports or (free_port(), free_port())
        self.ports = {name: free_port() for name in security.LISTENERS} if secure else {}
        extra = "".join(f"{k}={v}\n" for k, v in (properties or {}).items())
        (self.dir / "server.properties").write_text(self._properties() + extra)
        self._save()
        try:
            if secure:
                security.files(self.dir)
            scram = security.SCRAM if secure else []
            self._java("kafka.tools.StorageTool", "format", "-t", cluster or cluster_id(),
                       "-c", str(self.dir / "server.properties"), *scram)
        except (RigError, subprocess.CalledProcessError):
            shutil.rmtree(self.dir, ignore_errors=True)
            raise

    @property
    def servers(self):
        return f"127.0.0.1:{self.port}"

    def at(self, listener):
        """The address of one of a secure broker's listeners."""
        return f"127.0.0.1:{self.ports[listener]}"

    @property
    def sasl(self):
        return self.at("sasl")

    @property
    def tls(self):
        return self.at("tls")

    def environment(self):
        """For a test program."""
        names = {"AQUEDUCT_TEST_KAFKA": self.servers, "AQUEDUCT_TEST_KAFKA_DIR": str(self.dir)}
        return names | {f"AQUEDUCT_TEST_KAFKA_{name.upper()}": self.at(name) for name in self.ports}

    def start(self, timeout=90, orphan=False):
        """Starts it on its data and ports, and waits until it answers. Unless it is to be an orphan, it dies with the thread that starts it."""
        return self.launch(orphan).wait(timeout)

    def launch(self, orphan=False):
        if self.alive():
            raise RigError(f"{self.dir} is running already (pid {self.pid})")
        with open(self.dir / "broker.log", "ab") as log:
            command = [] if orphan else ["setpriv", "--pdeathsig", "KILL"]
            command += self._command("kafka.Kafka", str(self.dir / "server.properties"))
            self.pid = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT).pid
        self._save()
        return self

    def wait(self, timeout=90):
        """Until it answers."""
        end = time.monotonic() + timeout
        while not answers(self.port):
            if not self.exists() or time.monotonic() > end:
                self.kill()
                raise RigError(f"Kafka did not start; {self.dir}/broker.log ends:\n{self.log()[-3000:]}")
            time.sleep(0.1)
        return self

    def stop(self, timeout=60):
        """An orderly stop; the data stays."""
        self.resume()
        self._signal(signal.SIGTERM)
        if not self._gone(timeout):
            self.kill()

    def kill(self):
        self._signal(signal.SIGKILL)
        if not self._gone(30):
            raise RigError(f"pid {self.pid} outlives SIGKILL")

    def pause(self):
        self._signal(signal.SIGSTOP)

    def resume(self):
        self._signal(signal.SIGCONT)

    def restart(self, orphan=False):
        self.kill()
        self.start(orphan=orphan)

    def remove(self):
        """Kills it (nobody needs the data any more) and removes its folder."""
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        return (self.dir / "broker.log").read_text(errors="replace") if (self.dir / "broker.log").exists() else ""

    def alive(self):
        """Is the process there and ours (its command line names our folder), and not a zombie?"""
        self._reap()
        try:
            mine = str(self.dir / "server.properties").encode() in pathlib.Path(f"/proc/{self.pid}/cmdline").read_bytes()
            return self.pid > 0 and mine
        except OSError:
            return False

    def exists(self):
        """As alive(), but for a process that does not have its command line yet."""
        self._reap()
        return self.pid > 0 and os.path.exists(f"/proc/{self.pid}")

    def __enter__(self):
        try:
            return self if self.alive() else self.start()
        except RigError:
            self.remove()
            raise

    def __exit__(self, *_):
        self.remove()

    def settings(self, topic):
        """What was set for the topic alone, as text with name=value."""
        return self._java("kafka.admin.ConfigCommand", "--bootstrap-server", self.servers, "--describe", "--topic", topic)

    def delete_records(self, topic, before):
        """As retention does: of each partition {number: offset} what is before that offset."""
        parts = b"".join(struct.pack(">iq", p, offset) for p, offset in before.items())
        answer = ask(self.port, 21, 1, struct.pack(">i", 1) + text(topic) + struct.pack(">i", len(before)) + parts + struct.pack(">i", 30000))
        rows = answer[4 + 4 + len(text(topic)) + 4:]        # after the throttle time, of one topic: partition, where it begins now, error
        errors = [struct.unpack_from(">iqh", rows, 14 * i)[2] for i in range(len(before))]
        if any(errors):
            raise RigError(f"deleting records of {topic}: errors {errors}")

    def create(self, topic, partitions, seconds=30):
        """A topic, as soon as there is none of that name."""
        end = time.monotonic() + seconds
        create = struct.pack(">i", 1) + text(topic) + struct.pack(">ihiiib", partitions, 1, 0, 0, 30000, 0)
        while error := struct.unpack_from(">h", ask(self.port, 19, 2, create), 8 + len(text(topic)))[0]:
            if time.monotonic() > end:
                raise RigError(f"{topic} was not made: error {error}")
            time.sleep(0.05)

    def delete(self, topic):
        error = struct.unpack(">h", ask(self.port, 20, 1, struct.pack(">i", 1) + text(topic) + struct.pack(">i", 30000))[-2:])[0]
        if error:
            raise RigError(f"{topic} does not go: error {error}")

    def recreate(self, topic, partitions):
        """Another topic of the same name."""
        self.delete(topic)
        self.create(topic, partitions)      # the old one may still be going

    def allow(self, principal, kind, name, *operations, pattern="literal"):
        """Adds ACLs: `kind` is topic, group, cluster or transactional-id, an operation as kafka-acls.sh has it."""
        rows = [security.acl(kind, name, pattern, principal, one) for one in operations]
        answer = ask(self.port, 30, 1, struct.pack(">i", len(rows)) + b"".join(rows))
        self._acl_answer(answer[8:10])

    def forbid(self, principal, kind=None, name=None, operation=None, pattern="any"):
        """Removes the ACLs that fit; what is not said fits any."""
        answer = ask(self.port, 31, 1, struct.pack(">i", 1) + security.acl(kind, name, pattern, principal, operation))
        self._acl_answer(answer[8:10])

    @staticmethod
    def _acl_answer(code):
        if code != b"\0\0":
            raise RigError(f"the ACLs were not taken: error {struct.unpack('>h', code)[0]}")

    def set_password(self, user, mechanism, password):
        """Of SCRAM."""
        self._java("kafka.admin.ConfigCommand", "--bootstrap-server", self.servers, "--alter", "--entity-type", "users", "--entity-name", user,
                   "--add-config", f"{mechanism}=[password={password}]")

    def _properties(self):
        """Of a key that stands twice, Kafka takes the last."""
        text = PROPERTIES.format(port=self.port, controller=self.controller, dir=self.dir)
        return text + (security.properties(self.dir, self.port, self.controller, self.ports) if self.ports else "")

    def _command(self, *arguments):
        return ["java", "-Xms128m", f"-Xmx{self.heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}", *(security.java(self.dir) if self.ports else []), "-cp", f"{jars()}/*", *arguments]

    def _java(self, *arguments):
        done = subprocess.run(self._command(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise RigError(f"{arguments[0]} failed:\n{done.stdout[-3000:]}")
        return done.stdout

    def _save(self):
        known = {"servers": self.servers, **{key: getattr(self, key) for key in KNOWN}}
        (self.dir / "rig.json.new").write_text(json.dumps(known))
        os.replace(self.dir / "rig.json.new", self.dir / "rig.json")

    def _load_pid(self):
        """Another process may have restarted it meanwhile."""
        with contextlib.suppress(OSError):
            self.pid = json.loads((self.dir / "rig.json").read_text())["pid"]

    def _reap(self):
        with contextlib.suppress(OSError):
            if self.pid > 0:
                os.waitpid(self.pid, os.WNOHANG)

    def _signal(self, number):
        self._load_pid()
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _gone(self, timeout):
        end = time.monotonic() + timeout
        while self.alive():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True
