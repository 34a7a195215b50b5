# SPDX-License-Identifier: MIT
"""A cluster of Apache Kafka on this machine: nodes that are broker and controller each, in folders of their own under one.

    with cluster.Cluster() as kafka:            # three nodes, replication 3, min.insync.replicas 2; all of them are in touch
        kafka.servers                           # of all
        node = kafka.leader("orders", 0)        # a rig.Kafka: node.pause(), node.kill(), node.start()
        kafka.whole(["orders"])                 # every replica of it is in sync, each broker is there
        kafka.move("orders", {0: [2, 3, 1]})    # a reassignment: the first is the leader that is wanted

The command line acts on single nodes by their folders, DIR/1 and so on. Only processes that the rig started are signalled."""
import concurrent.futures
import json
import pathlib
import shutil
import struct
import tempfile
import time

import rig

PROPERTIES = {
    "offsets.topic.replication.factor": 3, "transaction.state.log.replication.factor": 3, "transaction.state.log.min.isr": 2,
    "share.coordinator.state.topic.replication.factor": 3, "share.coordinator.state.topic.min.isr": 2,
    "default.replication.factor": 3, "min.insync.replicas": 2, "replica.lag.time.max.ms": 2000, "replica.fetch.wait.max.ms": 200,
    "controlled.shutdown.enable": "true", "leader.imbalance.check.interval.seconds": 5, "unclean.leader.election.enable": "false",
}


class Cluster:
    def __init__(self, nodes=3, dir=None, properties=None, heap="256m"):
        """A fresh one, or the one that is in the folder."""
        self.dir = pathlib.Path(dir).resolve() if dir else None
        if self.dir and (self.dir / "cluster.json").exists():
            count = json.loads((self.dir / "cluster.json").read_text())["nodes"]
            self.nodes = {n: rig.Kafka(dir=self.dir / str(n)) for n in range(1, count + 1)}
            return
        if not self.dir:
            (rig.BUILD / "run").mkdir(parents=True, exist_ok=True)
            self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cluster-", dir=rig.BUILD / "run"))
        self.dir.mkdir(parents=True, exist_ok=True)
        ports = {n: (rig.free_port(), rig.free_port()) for n in range(1, nodes + 1)}
        voters = ",".join(f"{n}@127.0.0.1:{controller}" for n, (_, controller) in ports.items())
        common, name = PROPERTIES | {"controller.quorum.voters": voters} | (properties or {}), rig.cluster_id()

        def make(n):
            return rig.Kafka(dir=self.dir / str(n), properties=common | {"node.id": n}, heap=heap, ports=ports[n], cluster=name)

        rig.jars()
        try:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                self.nodes = dict(zip(ports, pool.map(make, ports)))
        except rig.RigError:
            shutil.rmtree(self.dir, ignore_errors=True)
            raise
        (self.dir / "cluster.json").write_text(json.dumps({"nodes": nodes}))

    # ---- its life ----

    @property
    def servers(self):
        return ",".join(node.servers for node in self.nodes.values())

    @property
    def ports(self):
        return [node.port for node in self.nodes.values()]

    def environment(self):
        """For a test program."""
        return {"AQUEDUCT_TEST_KAFKA": self.servers, "AQUEDUCT_TEST_KAFKA_DIR": str(self.dir)}

    def start(self, timeout=120, orphan=False):
        for node in self.nodes.values():
            if not node.alive():
                node.launch(orphan)
        for node in self.nodes.values():
            node.wait(timeout)
        self.whole([], timeout)
        return self

    def pause(self):
        for node in self.nodes.values():
            node.pause()

    def resume(self):
        for node in self.nodes.values():
            node.resume()

    def kill(self):
        for node in self.nodes.values():
            node.kill()

    def remove(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        return "".join(f"---- node {n}\n{node.log()[-2000:]}" for n, node in self.nodes.items())

    def __enter__(self):
        try:
            return self.start()
        except rig.RigError:
            self.remove()
            raise

    def __exit__(self, *_):
        self.remove()

    # ---- what it knows ----

    def ask(self, api, version, body, timeout=20):
        """The answer of the first node that has one."""
        problem = None
        for node in self.nodes.values():
            try:
                return rig.ask(node.port, api, version, body, timeout)
            except OSError as e:
                problem = e
        raise rig.RigError(f"no node answers: {problem}")

    def metadata(self, timeout=5):
        """The brokers' numbers, the controller's, and {topic: {partition: (leader, replicas, in sync)}} of all topics."""
        reader = Reader(self.ask(3, 1, struct.pack(">i", -1), timeout))
        brokers = set(reader.array(lambda: (reader.int32(), reader.text(), reader.int32(), reader.text())[0]))
        controller, topics = reader.int32(), {}

        def partition():
            _, number, leader = reader.int16(), reader.int32(), reader.int32()
            return number, (leader, reader.array(reader.int32), reader.array(reader.int32))

        def topic():
            _, name, _ = reader.int16(), reader.text(), reader.int8()
            topics[name] = dict(reader.array(partition))

        reader.array(topic)
        return brokers, controller, topics

    def leader(self, topic, partition=0):
        """The node that leads it; None: no node does, or it is not there."""
        found = self.metadata()[2].get(topic, {}).get(partition)
        return self.nodes.get(found[0]) if found else None

    def active_controller(self):
        """The node that leads the quorum (not the one that metadata names, which is any broker)."""
        answer = self.flexible(55, 0, b"\2" + compact("__cluster_metadata") + b"\2" + struct.pack(">i", 0) + b"\0\0\0")
        at = answer.index(compact("__cluster_metadata")) + len(compact("__cluster_metadata")) + 1 + 4 + 2       # its partitions: number, error
        return self.nodes[struct.unpack_from(">i", answer, at)[0]]

    def flexible(self, api, version, body):
        """An answer to a request of a version with tagged fields, without its head."""
        problem = None
        for node in self.nodes.values():
            try:
                return rig.ask(node.port, api, version, body, 20, tagged=True)
            except OSError as e:
                problem = e
        raise rig.RigError(f"no node answers: {problem}")

    def whole(self, topics, timeout=90):
        """Waits until every node is there and all replicas of these topics are in sync."""
        end, seen = time.monotonic() + timeout, None
        while time.monotonic() < end:
            try:
                brokers, _, seen = self.metadata()
                if brokers == set(self.nodes) and all(leader >= 0 and len(there) == len(wanted)
                                                      for name in topics for leader, wanted, there in seen.get(name, {}).values()):
                    return self
            except (rig.RigError, OSError, struct.error):
                pass
            time.sleep(0.1)
        raise rig.RigError(f"the cluster is not whole after {timeout} s: {seen}")

    # ---- what is done to its topics ----

    def widen(self, topic, partitions):
        answer = self.ask(37, 0, struct.pack(">i", 1) + rig.text(topic) + struct.pack(">ii", partitions, -1) + struct.pack(">ib", 20000, 0))
        code = struct.unpack_from(">h", answer, 8 + len(rig.text(topic)))[0]
        if code:
            raise rig.RigError(f"{topic} gets no more partitions: error {code}")

    def configure(self, topic, **settings):
        """Sets some of a topic's properties, underscores for dots; None: the cluster's default again."""
        rows = b"".join(rig.text(key.replace("_", ".")) + struct.pack(">b", value is None) + (rig.text(str(value)) if value is not None else struct.pack(">h", -1))
                        for key, value in settings.items())
        answer = self.ask(44, 0, struct.pack(">ib", 1, 2) + rig.text(topic) + struct.pack(">i", len(settings)) + rows + b"\0")
        code = struct.unpack_from(">h", answer, 8)[0]
        if code:
            raise rig.RigError(f"{topic} is not configured: error {code}")

    def move(self, topic, replicas):
        """{partition: [node, ...]}; does not wait until it is done."""
        rows = b"".join(struct.pack(">i", p) + bytes([len(nodes) + 1]) + struct.pack(f">{len(nodes)}i", *nodes) + b"\0" for p, nodes in replicas.items())
        answer = self.flexible(45, 0, struct.pack(">i", 20000) + b"\2" + compact(topic) + bytes([len(replicas) + 1]) + rows + b"\0\0")
        code = struct.unpack_from(">h", answer, 4)[0]
        if code:
            raise rig.RigError(f"{topic} is not moved: error {code}")

    def delete_records(self, topic, before):
        """As retention does, by the leaders."""
        for partition, offset in before.items():
            self.leader(topic, partition).delete_records(topic, {partition: offset})


def compact(words):
    return bytes([len(words) + 1]) + words.encode()


class Reader:
    """Takes fields off an answer."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        value = struct.unpack_from(form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def int8(self):
        return self.take(">b")

    def int16(self):
        return self.take(">h")

    def int32(self):
        return self.take(">i")

    def text(self):
        n = self.int16()
        if n < 0:
            return None
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def array(self, one):
        return [one() for _ in range(max(self.int32(), 0))]
