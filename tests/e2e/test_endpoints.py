# SPDX-License-Identifier: MIT
"""One sink with many receivers: each has its own filter, secret, retries and dead letters; one that hangs holds up nobody."""
import json

import pytest

from conftest import DEAD_LETTERS, HTTP_SOURCE, OTHER_SECRET, SECRET, event, post_ok, signed, wait_for


def partners(endpoints, more=""):
    """A sink with these endpoints: {name: options}."""
    lines = "".join(f"      {name}: {json.dumps(options)}\n" for name, options in endpoints.items())
    return f"sinks:\n  partners:\n    type: webhook\n    topics: [$EVENTS]\n{more}    endpoints:\n{lines}"


def names(count, kind="a"):
    return [f"event-of-this-test-{kind}-{i:04}" for i in range(count)]


@pytest.mark.threads
def test_each_gets_what_its_filter_takes_signed_with_its_secret(bridge, receivers, judge):
    one, other, looks = receivers(), receivers(secrets=(OTHER_SECRET,)), receivers()
    daemon = bridge.run(HTTP_SOURCE + partners({
        "looks": {"url": looks.url, "secrets": [SECRET], "filter": {"data": {"/collection/key": "hr"}}},
        "one": {"url": one.url, "secrets": [SECRET], "filter": {"prefix": {"type": "thing."}}},
        "other": {"url": other.url, "secrets": [OTHER_SECRET], "filter": {"exact": {"type": "other.happened"}}, "body": "structured"}}))
    post_ok(daemon, *(event(i) for i in names(20)), *(event(i, kind="other.happened") for i in names(10, "b")),
            *(event(i, kind="nobodys") for i in names(5, "c")),
            *(event(i, kind="document.embedded", data={"collection": {"key": key}}) for i, key in zip(names(2, "d"), ["hr", "it"])))
    one.delivered(names(20))
    looks.delivered(names(1, "d"))
    other.delivered(names(10, "b"))
    wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="partners", endpoint="other") == 10)
    assert daemon.metric("aqueduct_sink_delivered_total", sink="partners", endpoint="one") == 20
    wait_for(lambda: daemon.metric("aqueduct_sink_filtered_total", sink="partners") == 6)
    assert {r["headers"]["content-type"] for r in other.all()} == {"application/cloudevents+json"}
    assert judge([signed(r) for r in one.good()]) == ["ok"] * 20
    assert all(r["why"] is None for r in other.all())       # the receiver verified them with its own secret


@pytest.mark.threads
def test_one_that_hangs_holds_up_nobody(bridge, receivers):
    hanging, well = receivers(lambda r: "hang"), [receivers() for _ in range(4)]
    daemon = bridge.run(HTTP_SOURCE + partners({
        "hanging": {"url": hanging.url, "window": 4, "concurrency": 2},
        **{f"well-{i}": {"url": r.url} for i, r in enumerate(well)}}, "    unsigned: true\n    window: 16\n"))
    post_ok(daemon, *(event(i) for i in names(200)))
    for receiver in well:
        wait_for(lambda: {r["id"] for r in receiver.all()} >= set(names(200)))
    assert len(hanging.all()) <= 2
    hanging.released.set()


def test_dead_letters_and_redrive_are_of_one_endpoint(bridge, receivers):
    broken = [True]
    bad, good = receivers(lambda r: 503 if broken else 204), receivers()
    daemon = bridge.run(HTTP_SOURCE + partners({"bad": {"url": bad.url, "secrets": [SECRET]}, "good": {"url": good.url, "secrets": [SECRET]}},
                                               "    retry: [10ms]\n") + DEAD_LETTERS)
    post_ok(daemon, *(event(i) for i in names(3)))
    good.delivered(names(3))
    wait_for(lambda: len(bridge.dead("--sink", "partners")) == 3)
    assert {(d["sink"], d["endpoint"], d["attempts"], d["status"]) for d in bridge.dead()} == {("partners", "bad", 2, 503)}
    assert bridge.dead("--endpoint", "good") == []
    broken.clear()
    done = bridge.command("dead", "redrive", "--sink", "partners")
    assert done.returncode == 0, done.stderr
    bad.delivered(names(3))
    wait_for(lambda: bridge.dead() == [])
    assert len(good.all()) == 3


def test_a_letter_of_an_endpoint_that_is_gone_goes_to_no_other(bridge, receivers):
    works = []
    bad, good = receivers(lambda r: 204 if works else 503), receivers()
    both = {"bad": {"url": bad.url, "secrets": [SECRET]}, "good": {"url": good.url, "secrets": [SECRET]}}
    with_bad, without = (HTTP_SOURCE + partners(those, "    retry: [1s, 1h]\n    retry_memory: 0s\n") + DEAD_LETTERS
                         for those in (both, {"good": both["good"]}))
    daemon = bridge.run(with_bad)
    post_ok(daemon, event("an-event-of-this-test"))
    good.delivered(["an-event-of-this-test"])
    wait_for(lambda: daemon.metric("aqueduct_sink_moved_total", sink="partners", endpoint="bad") == 1)
    daemon.stop()
    bridge.configure(without)
    daemon = bridge.start()
    wait_for(bridge.dead)
    assert [(d["endpoint"], d["class"]) for d in bridge.dead("--sink", "partners", "--endpoint", "bad")] == [("bad", "orphaned")]
    assert bridge.command("dead", "list", "--endpoint", "nosuch").returncode == 2
    done = bridge.command("dead", "redrive", "--all")
    assert done.returncode == 1 and ": the sink partners has no endpoint bad in this configuration, or none that a running daemon tells of; put it back" in done.stdout, done.stdout
    assert len(bridge.dead()) == 1
    daemon.stop()
    bridge.configure(with_bad)
    works.append(True)
    bridge.start()
    assert bridge.command("dead", "redrive", "--sink", "partners").returncode == 0
    bad.delivered(["an-event-of-this-test"])
    wait_for(lambda: bridge.dead() == [])
    assert len(good.all()) == 1


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_waits_for_one_survives_a_restart(bridge, receivers, end):
    works = []
    bad, good = receivers(lambda r: 204 if works else 503), receivers()
    bridge.configure(HTTP_SOURCE + partners({"bad": {"url": bad.url, "secrets": [SECRET]}, "good": {"url": good.url, "secrets": [SECRET]}},
                                            "    retry_memory: 100ms\n    retry: [50ms, 500ms, 1s, 1s, 1s, 1s, 1s, 1s]\n"))
    daemon = bridge.start()
    post_ok(daemon, *(event(i) for i in names(5)))
    good.delivered(names(5))
    wait_for(lambda: daemon.metric("aqueduct_sink_moved_total", sink="partners", endpoint="bad") >= 5)
    getattr(daemon, end)()
    works.append(True)
    bridge.start()
    bad.delivered(names(5))
    if end == "stop":
        assert len(good.all()) == 5
