# SPDX-License-Identifier: MIT
"""What the tests lean on themselves (tests/support)."""
import subprocess
import sys

from conftest import ROOT

PORT = "import random, aqueduct; random.seed(1); print(aqueduct.free_port(), flush=True); input()"


def test_a_port_is_not_handed_out_to_two_processes_that_run():
    """Tests run side by side, and one may listen on its port long after it was given it."""
    processes, ports = [], set()
    for _ in range(2):
        processes.append(subprocess.Popen([sys.executable, "-c", PORT], cwd=ROOT / "tests" / "support", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        ports.add(processes[-1].stdout.readline())
    for process in processes:
        process.communicate("\n", timeout=30)
    assert len(ports) == 2 and all(process.returncode == 0 for process in processes)
