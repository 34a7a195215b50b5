# SPDX-License-Identifier: MIT
"""The rig itself: two brokers at once, kill -9 and restart on the same ports, pause, refusal of what is not ours."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pytest
import rig

RIG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rig")


def test_two_at_once_and_restart_on_the_same_port():
    with rig.Kafka() as one, rig.Kafka() as two:
        assert one.port != two.port
        assert rig.answers(one.port) and rig.answers(two.port)
        port, pid = one.port, one.pid
        one.restart()
        assert one.port == port and one.pid != pid and rig.answers(port)
        two.pause()
        assert not rig.answers(two.port)
        two.resume()
        assert rig.answers(two.port)
    assert not one.alive() and not one.dir.exists()


def test_run_passes_the_address_and_the_code():
    done = subprocess.run([RIG, "run", "--", "sh", "-c", 'echo "$AQUEDUCT_TEST_KAFKA $AQUEDUCT_TEST_KAFKA_DIR"; exit 7'],
                          stdout=subprocess.PIPE, text=True)
    assert done.returncode == 7
    address, folder = done.stdout.split()
    assert address.startswith("127.0.0.1:") and not os.path.exists(folder)


def test_a_broker_that_cannot_start_says_why():
    with pytest.raises(rig.RigError, match="listeners|Failed|format"):
        with rig.Kafka(properties={"listeners": "PLAINTEXT://203.0.113.1:1"}):
            pass


def test_a_foreign_pid_is_left_alone(tmp_path):
    with rig.Kafka() as kafka:
        mine, kafka.pid = kafka.pid, os.getpid()
        assert not kafka.alive()
        kafka.pid = mine


def test_the_command_line_names_what_is_wrong(tmp_path):
    done = subprocess.run([RIG, "kill", str(tmp_path)], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "rig.json" in done.stderr
    assert subprocess.run([RIG, "dance"], stderr=subprocess.DEVNULL).returncode == 2
