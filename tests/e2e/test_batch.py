# SPDX-License-Identifier: MIT
"""Batches: many events in one signed request, one answer for all, and halves until what a receiver refuses is found."""
import json

from conftest import DEAD_LETTERS, HTTP_SOURCE, SECRET, event, post, signed, wait_for


def names(count):
    return [f"event-of-this-test-{i:02}" for i in range(count)]


def ids(request):
    return [one["id"] for one in json.loads(request["body"])]


def post_all(daemon, wanted, **more):
    answer = post(daemon, [event(i, data={"n": i}, datacontenttype="application/json", **more) for i in wanted])
    assert answer.status_code == 202, answer.text


def partners(endpoints):
    lines = "".join(f"      {name}: {json.dumps({'secrets': [SECRET], **options})}\n" for name, options in endpoints.items())
    return f"sinks:\n  partners:\n    type: webhook\n    topics: [$EVENTS]\n    attempts: all\n    batch: {{count: 8, age: 20s}}\n    endpoints:\n{lines}"


def test_each_event_is_settled_once_whatever_a_receiver_refuses(local_bridge, receivers, judge, node):
    refused = {"event-of-this-test-03", "event-of-this-test-12"}
    picky = receivers(lambda r: 422 if refused & set(ids(r)) else 204)
    small = receivers(lambda r: 413 if len(r["body"]) > 500 else 204)
    whole = receivers()
    daemon = local_bridge.run(HTTP_SOURCE + partners({
        "picky": {"url": picky.url}, "small": {"url": small.url, "reject": []}, "whole": {"url": whole.url, "body": "structured"}}) + DEAD_LETTERS)
    post_all(daemon, names(16))
    for name, count in (("picky", 14), ("small", 16), ("whole", 16)):
        wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="partners", endpoint=name) == count, why=daemon.log)
    wait_for(lambda: {one["id"] for one in local_bridge.dead()} == refused)

    assert sorted(sum(map(ids, picky.good()), [])) == sorted(set(names(16)) - refused)
    assert sorted(sum(map(ids, small.good()), [])) == names(16)
    assert sorted(sum(map(ids, whole.all()), [])) == names(16) and [len(ids(r)) for r in whole.all()] == [8, 8]
    assert daemon.metric("aqueduct_webhook_batches_total", endpoint="whole") == 2
    assert daemon.metric("aqueduct_webhook_batch_events_total", endpoint="whole") == 16
    assert daemon.metric("aqueduct_webhook_batch_splits_total", endpoint="picky") == 6

    sent = picky.all() + small.all() + whole.all()
    assert judge([signed(r) for r in sent]) == ["ok"] * len(sent)
    assert len({r["webhook_id"] for r in picky.all()}) == len(picky.all())
    assert {r["headers"]["content-type"] for r in small.all()} == {"application/json"}
    decoded = [json.loads(line) for line in node("http.mjs", [{"read": {"headers": r["headers"], "body": r["body"].decode()}} for r in whole.all()])]
    assert sorted(one["id"] for batch in decoded for one in batch) == names(16)

    log = wait_for(lambda: (lines := local_bridge.command("log", "--json").stdout.splitlines()) and len(lines) == 48 and list(map(json.loads, lines)))
    assert {a["batch"] for a in log if a["endpoint"] == "whole"} == {8}
    assert {a["batch"] for a in log if a["endpoint"] == "picky" and a["event"]["id"] in refused} == {1}
    assert " in a batch of 8" in local_bridge.command("log", "--endpoint", "whole").stdout


def test_a_kill_repeats_the_batch_with_its_id_and_a_stop_sends_what_waits(local_bridge, receivers):
    receiver = receivers(lambda r: 204 if receiver.released.is_set() else "hang")
    local_bridge.configure(HTTP_SOURCE + partners({"crm": {"url": receiver.url}}))
    daemon = local_bridge.start()
    post_all(daemon, names(8))
    first = receiver.arrived(1)[0]
    daemon.kill()
    receiver.released.set()
    daemon = local_bridge.start()
    wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="partners") == 8, why=daemon.log)
    second = receiver.all()[-1]
    assert ids(second) == ids(first) == names(8) and second["webhook_id"] == first["webhook_id"]
    post_all(daemon, names(10)[8:])
    wait_for(lambda: daemon.metric("aqueduct_sink_pending", sink="partners") == 2, why=daemon.log)
    daemon.stop()
    assert ids(receiver.all()[-1]) == names(10)[8:] and receiver.all()[-1]["why"] is None


def test_check_says_why_a_receiver_gets_no_batches(local_bridge):
    for more, said in (("for: slack", "for: slack takes one message a request (batch: {count: 1} sends them so)"),
                       ("unsigned: true\n    body: binary", "with body: binary the headers are one event's"),
                       ("unsigned: true\n    path: '/{{subject}}'", "path has {{expressions}}")):
        local_bridge.configure(f"sinks:\n  out:\n    type: webhook\n    topics: [$EVENTS]\n    url: http://localhost/\n    batch: {{count: 2}}\n    {more}\n")
        done = local_bridge.command("check")
        assert done.returncode == 1 and f"sinks.out.batch: {said}" in done.stderr, done.stderr
