# SPDX-License-Identifier: MIT
"""What bridge/guide/operations.md says of backup, with its own commands."""
import re
import shutil
import subprocess

from conftest import HTTP_SOURCE, ROOT, event, post_ok, webhook_sink

COMMANDS = re.findall(r"```sh\n(.*?)```", (ROOT / "bridge/guide/operations.md").read_text(), re.DOTALL)


def test_a_backup_made_while_it_runs_goes_on_where_it_stood(local_bridge, receivers):
    receiver = receivers()
    daemon = local_bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    post_ok(daemon, *(event(f"before-{i}") for i in range(20)))
    receiver.delivered({f"before-{i}" for i in range(20)})
    backup, restore = COMMANDS
    subprocess.run(["sh", "-ec", backup], cwd=local_bridge.folder, check=True)
    assert (local_bridge.folder / "backup.db").stat().st_mode & 0o777 == 0o600
    post_ok(daemon, event("after"))
    receiver.delivered({"after"})
    daemon.stop()
    shutil.rmtree(local_bridge.folder / "data")
    subprocess.run(["sh", "-ec", restore], cwd=local_bridge.folder, check=True)
    daemon = local_bridge.start()
    post_ok(daemon, event("later"), event("before-3"))          # the second is known: its id is in the copy
    receiver.delivered({"later"})
    assert daemon.metric("aqueduct_source_repeats_total", source="hooks") == 1
    again = [r["id"] for r in receiver.good() if r["id"].startswith("before-")]
    assert set(again) == {f"before-{i}" for i in range(20)} and max(map(again.count, again)) <= 2      # what the copy had not as finished comes again
