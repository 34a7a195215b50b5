# SPDX-License-Identifier: MIT
"""Containers without a daemon of them: an image made by buildah, run by runc as `docker run`, a compose file or a pod says.

    with Network("aqueduct", "kafka") as network:       # names and addresses of their own; nothing gets in or out
        one = Container(folder, root, ["/usr/bin/aqueduct", "run"], env={...}, user="1000:1000", mounts=[(here, "/there", "ro")], network=network)
        one.start(); one.exec("/usr/bin/aqueduct", "status"); one.stop()"""
import json
import os
import pathlib
import socket
import subprocess
import sys

from conftest import ROOT, WORK, do
from aqueduct import wait_for

sys.path.append(str(ROOT / "tests/kafka"))
import rig  # noqa: E402

RUNC = ["runc", "--root", str(WORK / "runc")]


class Network:
    """A network namespace, in which each name has an address; all of them are of its loopback."""

    def __init__(self, *names):
        self.address = {name: f"10.77.0.{2 + at}" for at, name in enumerate(names)}
        self.holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
        self.path = f"/proc/{self.holder.pid}/ns/net"
        mine = os.readlink("/proc/self/ns/net")
        wait_for(lambda: os.readlink(self.path) != mine, 30, "no network namespace")
        self.run("ip", "link", "set", "lo", "up")
        for address in self.address.values():
            self.run("ip", "address", "add", f"{address}/32", "dev", "lo")

    def inside(self, *words):
        """The command that runs `words` in it."""
        return ["nsenter", f"--net={self.path}", *map(str, words)]

    def run(self, *words, **more):
        return do(*self.inside(*words), **more)

    def hosts(self, folder):
        """A file as /etc/hosts."""
        file = folder / "hosts"
        file.write_text(f"127.0.0.1 localhost {socket.gethostname()}\n" + "".join(f"{address} {name}\n" for name, address in self.address.items()))
        return file

    def start(self, log, *words):
        """A program of this machine in it; what ends it."""
        with open(log, "ab") as out:
            process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self.inside(*words)], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        return lambda: (process.kill(), process.wait())

    def kafka(self, folder, properties):
        """A real one with these properties; what ends it."""
        file = folder / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        java = ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" /etc/hosts && shift && exec "$@"', "sh", self.hosts(folder), "java", "-Xmx384m", "-cp", f"{rig.jars()}/*"]
        self.run(*java, "kafka.tools.StorageTool", "format", "-t", rig.cluster_id(), "-c", file)
        return self.start(folder / "kafka.log", *java, "kafka.Kafka", file)

    def receiver(self, folder, secret):
        """Of webhooks to http://crm:8000/, which verifies each with nothing of ours: (what it got until now, what ends it)."""
        file = folder / "received.jsonl"
        end = self.start(folder / "receiver.log", "/usr/bin/python3", ROOT / "tests/demo/receiver.py", "--listen", f"{self.address['crm']}:8000", "--secret", secret,
                         "--ledger", file)
        return lambda: whole(file), end

    def ask(self, url, *words):
        """What curl prints."""
        return self.run("curl", "-s", "--noproxy", "*", "-m", "10", *words, url, check=False).stdout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.holder.kill()
        self.holder.wait()


def whole(file):
    """The lines of a file that is being written."""
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []


class Container:
    """Has no capability and gets none, but root to give files away. Of `root` a layer above it is written. `mounts`: (from, to, "ro" or "rw");
    `tmpfs`: paths. Without `network` it has the machine's."""
    count = 0

    def __init__(self, folder, root, words, env=(), user="0:0", cwd="/", mounts=(), tmpfs=("/tmp",), read_only=True, network=None, groups=()):
        Container.count += 1
        self.name = f"aqueduct-{os.getpid()}-{Container.count}"
        self.folder = pathlib.Path(folder) / self.name
        for part in ("upper", "work", "root"):
            (self.folder / part).mkdir(parents=True)
        self.lower, self.process = root, None
        do("runc", "spec", cwd=self.folder)
        spec = json.loads((self.folder / "config.json").read_text())
        uid, gid = map(int, user.split(":"))
        spec["root"] = {"path": "root", "readonly": read_only}
        spec["process"] |= {"terminal": False, "user": {"uid": uid, "gid": gid, "additionalGids": list(groups)}, "args": [str(word) for word in words], "cwd": cwd, "noNewPrivileges": True,
                            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *(f"{n}={v}" for n, v in dict(env).items())],
                            "capabilities": {} if uid else {kind: ["CAP_CHOWN"] for kind in ("bounding", "effective", "permitted")}}
        own = [(network.hosts(self.folder), "/etc/hosts", "ro")] if network else []
        spec["mounts"] = [one for one in spec["mounts"] if one["destination"] != "/sys/fs/cgroup"]
        spec["mounts"] += [{"destination": path, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]} for path in tmpfs]
        spec["mounts"] += [{"destination": to, "type": "bind", "source": str(at), "options": ["rbind", how]} for at, to, how in (*mounts, *own)]
        spaces = [one for one in spec["linux"]["namespaces"] if one["type"] not in ("network", "cgroup")]
        spec["linux"]["namespaces"] = spaces + ([{"type": "network", "path": network.path}] if network else [])
        spec["linux"].pop("resources", None)
        (self.folder / "config.json").write_text(json.dumps(spec))

    def start(self):
        do("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={self.lower},upperdir={self.folder}/upper,workdir={self.folder}/work", self.folder / "root")
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([*RUNC, "run", "-b", str(self.folder), self.name], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def ended(self, seconds=60):
        """Its exit code."""
        return self.process.wait(seconds)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def exec(self, *words):
        return do(*RUNC, "exec", self.name, *words, check=False)

    def pid(self):
        return json.loads(do(*RUNC, "state", self.name).stdout)["pid"]

    def stop(self):
        """As an orderly end asks for; its exit code. May be said twice."""
        do(*RUNC, "kill", self.name, "TERM", check=False)
        try:
            return self.ended()
        finally:
            do(*RUNC, "delete", "-f", self.name, check=False)
            if os.path.ismount(self.folder / "root"):
                do("umount", self.folder / "root")
