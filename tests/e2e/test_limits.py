# SPDX-License-Identifier: MIT
"""`rate:` and `circuit:` of a receiver: what it gets, what the daemon says of it, and what becomes of the events."""
import time

import pytest

from aqueduct import free_port
from conftest import DEAD_LETTERS, HTTP_SOURCE, SECRET, event, post_ok, wait_for, webhook_sink
from test_endpoints import names, partners
from test_status import status


@pytest.mark.threads
def test_a_rate_is_kept_and_holds_up_no_other(bridge, receivers):
    slow, quick = receivers(), receivers()
    daemon = bridge.run(HTTP_SOURCE + partners({"slow": {"url": slow.url, "secrets": [SECRET], "rate": 20, "window": 4},
                                                "quick": {"url": quick.url, "secrets": [SECRET]}}, "    window: 16\n"))
    began = time.time()
    post_ok(daemon, *(event(i) for i in names(41)))
    quick.delivered(names(41))
    slow.delivered(names(41), seconds=120)      # what has no room comes from the broker, at about its turn
    assert max(r["at"] for r in slow.all()) - began >= 39 / 20
    assert daemon.metric("aqueduct_sink_throttled_total", sink="partners", endpoint="slow") > 0
    assert daemon.metric("aqueduct_sink_throttled_total", sink="partners", endpoint="quick") == 0
    wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="partners", endpoint="slow") == 41)
    assert len(slow.all()) == len(quick.all()) == 41


@pytest.mark.threads
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_outage_costs_no_event_its_attempts(bridge, receivers, end):
    """Three failures open the circuit, so no event can use up its four attempts before; afterwards none of them counts."""
    works = []
    receiver = receivers(lambda r: 204 if works else 503)
    bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: [10ms, 10ms, 10ms]\ncircuit: {failures: 3, probe: 50ms}")
                     + DEAD_LETTERS, admin=f"127.0.0.1:{free_port()}")
    daemon = bridge.start()
    ids = names(30)
    post_ok(daemon, *(event(i) for i in ids))
    wait_for(lambda: daemon.metric("aqueduct_sink_circuit_open", sink="crm") == 1)
    receiver.arrived(len(receiver.all()) + 10)
    circuit = status(bridge)["sinks"]["crm"]["destinations"][0]["circuit"]
    assert circuit["state"] in ("open", "half_open") and circuit["since"]
    assert "  circuit open for " in bridge.command("status").stdout
    assert daemon.log().count("the circuit is open") == 1
    getattr(daemon, end)()
    daemon = bridge.start()
    wait_for(lambda: daemon.metric("aqueduct_sink_circuit_open", sink="crm") == 1)
    works.append(True)
    receiver.delivered(ids)
    wait_for(lambda: daemon.metric("aqueduct_sink_circuit_open", sink="crm") == 0)
    assert daemon.log().count("the circuit is closed") == 1
    assert bridge.dead() == []
    assert status(bridge)["sinks"]["crm"]["destinations"][0]["circuit"]["state"] == "closed"


def test_paused_and_on_again(bridge, receivers):
    one, other = receivers(), receivers()

    def configure(paused):
        bridge.configure(HTTP_SOURCE + partners({"one": {"url": one.url, "secrets": [SECRET], **paused}, "other": {"url": other.url, "secrets": [SECRET]}}, "    window: 8\n")
                         + webhook_sink("crm", one.url, "paused: true" if paused else "") + DEAD_LETTERS, admin=f"127.0.0.1:{free_port()}")
        return bridge.start()

    daemon = configure({"paused": True, "window": 2})
    post_ok(daemon, *(event(i) for i in names(40)))
    other.delivered(names(40))
    sinks = status(bridge)["sinks"]
    assert [d["paused"] for d in sinks["crm"]["destinations"] + sinks["partners"]["destinations"]] == [True, False, True, False]
    assert sinks["crm"]["destinations"][0]["consumed"] == 0
    assert daemon.metric("aqueduct_sink_paused", sink="partners", endpoint="one") == 1
    assert bridge.command("status").stdout.count("paused: what comes for it waits") == 2
    daemon.stop()
    assert one.all() == []
    daemon = configure({})
    one.delivered(names(40), seconds=120)       # what was moved is looked at after half a minute
    wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="crm") == 40)
    wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="partners", endpoint="one") == 40, seconds=120)
    assert {r["arrival"] for r in one.all()} == {1, 2}       # of each sink one
    assert len(other.all()) == 40
    assert bridge.dead() == []
