# SPDX-License-Identifier: MIT
"""What a service manager and a container see of the daemon: readiness, the watchdog, reload and stop, and the health check by the program itself."""
import re
import signal
import socket

import pytest

from conftest import HTTP_SOURCE, PATIENCE, TOKEN, free_port


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(PATIENCE)
        self.env = {"NOTIFY_SOCKET": path.replace("\0", "@"), "WATCHDOG_USEC": "200000"}
        self.others = []

    def told(self, word):
        """The next message with this line; those before it are kept."""
        while True:
            message = self.socket.recv(4096).decode()
            if word in message.splitlines():
                return message
            self.others.append(message)


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_service_manager_is_told_of_start_reload_and_stop(local_bridge, tmp_path, kind):
    manager = Manager(str(tmp_path / "notify") if kind == "path" else f"\0aqueduct-test-{free_port()}")
    local_bridge.configure(HTTP_SOURCE)
    daemon = local_bridge.start(env=manager.env)
    manager.told("READY=1")
    manager.told("WATCHDOG=1")
    manager.told("WATCHDOG=1")
    daemon.signal(signal.SIGHUP)
    assert re.search(r"^MONOTONIC_USEC=\d+$", manager.told("RELOADING=1"), re.M)
    assert "STATUS=running" in manager.told("READY=1").splitlines()
    local_bridge.configure("nonsense: 1\n")
    daemon.signal(signal.SIGHUP)
    manager.told("RELOADING=1")
    assert "refused" in manager.told("READY=1")         # it runs on as it was
    daemon.signal(signal.SIGTERM)
    manager.told("STOPPING=1")
    assert daemon.wait() == 0, daemon.log()
    assert not any("STOPPING=1" in message for message in manager.others)


def test_a_start_that_waits_for_its_broker_says_why_and_is_not_ready(local_bridge, tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    local_bridge.config = local_bridge.folder / "bridge.yaml"
    local_bridge.config.write_text(
        f"broker: {{type: kafka, servers: '127.0.0.1:{free_port()}'}}\nadmin: {{listen: '127.0.0.1:{free_port()}'}}\n"
        f"sources: {{hooks: {{type: http, listen: '127.0.0.1:0', paths: [{{path: /in, verify: {{scheme: bearer, secrets: [{TOKEN}]}}}}]}}}}\n"
        "routes: [{topic: events}]\n")
    daemon = local_bridge.start(ready=False, env=manager.env)
    while not (message := manager.socket.recv(4096).decode()).startswith("STATUS="):
        assert message == "WATCHDOG=1"
    assert "\n" not in message
    done = local_bridge.command("status", "--ready")
    assert done.returncode == 1 and done.stdout.startswith("not ready: ")
    daemon.kill()


def test_the_program_itself_is_the_health_check(bridge):
    bridge.configure(HTTP_SOURCE, admin=f"127.0.0.1:{free_port()}")      # with Kafka it is asked there
    done = bridge.command("status", "--ready")
    assert done.returncode == 1 and "no answer on" in done.stderr and not done.stdout
    daemon = bridge.start()
    daemon.ready()
    done = bridge.command("status", "--ready")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")
    assert bridge.command("status", "--ready", "--json").returncode == 2
    daemon.stop()
