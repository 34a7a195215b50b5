# SPDX-License-Identifier: MIT
"""The console in a real Chromium: what a person does with it, on the real daemon. PICTURES=folder keeps a picture of each page."""
import json
import os
import re
import subprocess

import pytest
import requests

from conftest import DEAD_LETTERS, HTTP_SOURCE, SECRET, TOKEN, event, post_ok, signed, wait_for

OPERATOR, VIEWER = "an-operators-token-0123456789", "a-viewers-token-0123456789abc"
PAGES = {"Flow": "f", "Endpoints": "e", "Deliveries": "d", "Dead letters": "l", "Live tail": "t", "Configuration": "c"}
SINKS = HTTP_SOURCE + """
sinks:
  crm:
    type: webhook
    topics: [$EVENTS]
    secrets: [%s]
    url: %s
    retry: [%s]
"""
MADE = HTTP_SOURCE + """
sinks:
  crm: {type: webhook, topics: [$EVENTS], endpoints: {}, retry: [10ms], attempts: all}
  slow: {type: webhook, topics: [$EVENTS], endpoints: {}, retry: [1h]}
""" + DEAD_LETTERS
KEY = "q0sVw2y7Tn8Jb4LxUe6Zr1Kc9Hd3Pf5MaGiStO0uYkE="
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


class Person:
    """Somebody at the console: each method is a step of tests/e2e/verify/console.mjs."""

    def __init__(self, folder):
        self.process = subprocess.Popen(["node", "console.mjs"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.look(1280, 820, False)

    def __getattr__(self, verb):
        def step(*words):
            self.process.stdin.write(json.dumps([verb, *words]) + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
            assert "error" not in answer, (verb, words, answer)
            return answer["ok"]
        return step

    def goes(self, title):
        self.wait("document.querySelector('h1') !== null && document.querySelector('dialog[open]') === null")
        self.press("g", PAGES[title])
        self.wait(f"document.querySelector('h1')?.textContent === {json.dumps(title)}")

    def unharmed(self):
        """Nothing was run that came with an event, and nothing went wrong but requests that were refused."""
        assert self.run("document.title") != "taken" and self.run("document.querySelectorAll('main img, main script, dialog img, dialog script').length") == 0
        assert [line for line in self.logs() if "Failed to load resource" not in line] == []

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)


@pytest.fixture
def person(node_folder):
    one = Person(node_folder)
    yield one
    one.close()


def console(bridge, text, more=", console: true, loopback: operator"):
    bridge.admin_more = more
    daemon = bridge.run(text)
    return daemon, f"http://127.0.0.1:{daemon.admin}"


def test_the_flow_is_one_picture_and_its_colour_tells_trouble(bridge, receivers, person):
    receiver = receivers(lambda r: 503)
    daemon, base = console(bridge, SINKS % (SECRET, receiver.url, "1h"))
    person.open(base + "/")
    person.wait("document.querySelectorAll('.flow a.node').length === 3 && document.querySelectorAll('.flow path').length === 2")
    assert person.run("[...document.querySelectorAll('.flow .name')].map(n => n.textContent)") == ["hooks", bridge.topic("events"), "crm"]
    post_ok(daemon, *(event(f"e{i}", subject=HOSTILE) for i in range(3)))
    person.says("503 Service Unavailable")
    person.wait("document.querySelector('[data-node=\"sink:crm\"] dd.warn')?.textContent === '3'")      # they wait
    person.wait("document.querySelectorAll('.flow path.bad').length === 1")
    person.click("crm")
    person.wait("location.hash.includes('sink') && document.querySelector('.node[aria-current]')?.dataset.node === 'sink:crm'")
    person.wait("document.querySelector('.plot [role=img]').getAttribute('aria-label').includes('retried')")
    person.unharmed()


def with_key(bridge, folder):
    """Endpoints that are made at run time want a key for their secrets."""
    key = folder / "endpoints.key"
    key.write_text(KEY + "\n")
    key.chmod(0o600)
    return console(bridge, MADE, more=f", console: true, loopback: operator, key_file: {key}")


def adds(person, name, url, *types, sink=None):
    """What the person is told the secret is."""
    person.goes("Endpoints")
    person.click("New endpoint")
    person.wait("document.querySelector('dialog[open] form') !== null")
    if sink:
        person.fill("Sink", sink)
    person.fill("Name", name)
    person.fill("URL", url)
    if types:
        person.click("Only these types")
    for one in types:
        person.tick(one)
    person.click("Add endpoint")
    person.says("It is shown now and never again")
    return person.run("document.querySelector('dialog .secret code').textContent")


def test_all_options_of_an_endpoint_can_be_changed(local_bridge, receivers, person, tmp_path):
    good = receivers(secrets=())
    daemon, base = with_key(local_bridge, tmp_path)
    made = requests.post(base + "/api/v1/sinks/crm/endpoints", timeout=20, json={"name": "billing", "url": good.url, "types": ["chat.*"], "timeout": "7s", "headers": {"X-Key": "of-nobody-else"}})
    assert made.status_code == 201, made.text
    person.open(base + "/#/endpoints")
    person.click("billing")
    person.click("Change")
    person.wait("document.querySelector('dialog[open] textarea') !== null")
    shown = json.loads(person.run("document.querySelector('dialog textarea').value"))
    assert shown["timeout"] == "7s" and "of-nobody-else" not in json.dumps(shown) and not {"url", "types"} & set(shown)
    person.fill("Other options", "{timeout: 3s}")
    person.click("Save")
    person.says("The options are no JSON")
    person.fill("Other options", json.dumps({**shown, "headers": {**shown["headers"], "X-More": "1"}}))
    person.click("Save")
    person.says("headers: what is hidden is written anew")
    wrong = {name: value for name, value in shown.items() if name != "timeout"} | {"rety": ["1s"]}
    person.fill("Other options", json.dumps(wrong))
    person.click("Save")
    person.says("did you mean retry?")
    del wrong["rety"]
    person.fill("Other options", json.dumps(wrong | {"retry": ["1s", "5s"]}))
    person.click("Save")
    person.says("billing is changed.")
    now = requests.get(base + "/api/v1/sinks/crm/endpoints/billing", timeout=20).json()["options"]
    assert now["retry"] == ["1s", "5s"] and "timeout" not in now and now["types"] == ["chat.*"] and now["headers"] == shown["headers"]
    post_ok(daemon, event("c1", "chat.started"))
    assert good.arrived(1)[0]["headers"]["x-key"] == "of-nobody-else"
    person.unharmed()


def test_from_a_new_endpoint_to_a_verified_delivery(bridge, receivers, person, judge, tmp_path):
    good = receivers(lambda r: (200, {"Content-Type": "text/html"}, HOSTILE), secrets=())
    daemon, base = with_key(bridge, tmp_path)
    person.open(base + "/#/endpoints")
    person.says("No endpoints yet")
    secret = adds(person, "billing", good.url, "chat.*", "document.failed")
    person.click("Send a test event")
    person.says("The receiver took it.")
    person.says("webhook-signature")
    assert judge([signed(good.arrived(1)[0], secret)]) == ["ok"]
    person.click("Close")
    post_ok(daemon, event("c1", "chat.started", subject=HOSTILE, data={"text": HOSTILE}), event("d1", "document.embedded"), event("d2", "document.failed"))
    wait_for(lambda: {"c1", "d2"} <= {r["id"] for r in good.all()})
    assert "d1" not in {r["id"] for r in good.all()} and judge([signed(r, secret) for r in good.all()]) == ["ok"] * 3
    person.goes("Deliveries")
    person.wait("[...document.querySelectorAll('tbody tr')].filter(row => row.innerText.includes('crm/billing')).length === 2")
    person.click("200 chat.started")
    person.says("All that was tried with it")
    person.wait("[...document.querySelectorAll('dialog pre')].filter(pre => pre.textContent.includes('<script>')).length === 2")     # answer and data
    person.click("Send again")
    person.click("Send again")                                       # the question's
    person.says("It is on its way to crm/billing.")
    wait_for(lambda: [r["id"] for r in good.all()].count("c1") == 2)
    person.unharmed()


def test_what_fails_waits_or_is_dead_and_is_redriven_when_it_is_mended(bridge, receivers, person, tmp_path):
    broken = [True]
    bad, held = receivers(lambda r: 500 if broken else 204, secrets=()), receivers(lambda r: 500, secrets=())
    daemon, base = with_key(bridge, tmp_path)
    person.open(base + "/")
    adds(person, "billing", bad.url)
    person.click("Done")
    adds(person, "held", held.url, "chat.*", sink="slow")
    person.click("Done")
    post_ok(daemon, *(event(f"e{i}", "chat.started") for i in range(3)))
    person.wait("[...document.querySelectorAll('tbody tr')].some(row => row.innerText.includes('held') && row.innerText.includes('500 Internal Server Error'))")
    person.goes("Flow")
    person.wait("document.querySelector('[data-node=\"sink:slow\"] dd.warn')?.textContent === '3'")      # they wait for an hour
    person.goes("Dead letters")
    person.wait("document.querySelectorAll('tbody tr').length === 3")
    person.click("refused")
    person.says("500 Internal Server Error")
    person.press("Escape")
    person.click("Redrive \u2026")
    person.says("Redrive 3 dead letters?")
    broken.clear()
    person.click("Redrive 3")
    person.says("3 dead letters redriven.")
    wait_for(lambda: bad.ids() == {"e0", "e1", "e2"})
    person.says("No dead letters")
    daemon.stop()
    daemon = bridge.start()
    person.open(f"http://127.0.0.1:{daemon.admin}/#/endpoints")
    person.wait("document.querySelectorAll('tbody tr').length === 2")
    assert "billing" in person.run("document.querySelector('tbody').innerText")
    person.click("held")
    person.click("Delete")
    person.says("Delete held?")
    person.click("Delete endpoint")
    person.says("held is deleted.")
    person.wait("document.querySelectorAll('tbody tr').length === 1")
    person.unharmed()


def test_the_tail_shows_what_comes_as_text(local_bridge, receiver, person):
    daemon, base = console(local_bridge, SINKS % (SECRET, receiver.url, "1h"))
    person.open(base + "/#/tail")
    person.says("live, 0 events")
    post_ok(daemon, event("e1", "chat.started", subject=HOSTILE, data={"text": HOSTILE}))
    person.wait("document.querySelectorAll('.tail li').length === 1")
    assert person.run("document.querySelectorAll('.tail summary span')[1].textContent") == HOSTILE
    person.press("p")
    post_ok(daemon, event("e2", "chat.done"))
    person.says("Go on (1)")
    person.press("p")
    person.wait("document.querySelector('.tail .type').textContent === 'chat.done'")
    person.unharmed()


def test_the_configuration_is_shown_without_secrets_and_a_draft_is_checked(local_bridge, receiver, person):
    daemon, base = console(local_bridge, SINKS % (SECRET, receiver.url, "1h"))
    person.open(base + "/#/config")
    person.says("sinks.crm.url")
    person.says("bridge.yaml:")
    shown = person.run("document.querySelectorAll('tbody tr').length")
    assert SECRET not in person.run("document.body.innerText") and TOKEN not in person.run("document.body.innerText")
    person.click("Only what is set")
    person.wait(f"document.querySelectorAll('tbody tr').length > {shown}")
    person.click("Check a draft \u2026")
    person.fill("Configuration", "sinks:\n  crm: {type: webhook, urll: x}\n")
    person.click("Check")
    person.says("urll")
    person.unharmed()


def test_a_reload_says_first_what_it_would_change(local_bridge, receiver, person):
    daemon, base = console(local_bridge, SINKS % (SECRET, receiver.url, "1h"))
    person.open(base + "/#/config")
    person.says("sinks.crm.url")
    person.click("Reload \u2026")
    person.says("The files say what runs already.")
    local_bridge.config.write_text(local_bridge.config.read_text().replace("retry: [1h]", "retry: [2h]"))
    person.click("Reload \u2026")
    person.says("sink crm")
    person.click("Reload")
    person.says("The configuration is reloaded.")
    person.unharmed()


def test_a_link_of_the_command_line_signs_in_once(local_bridge, receiver, person, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"viewer ben {VIEWER}\n")
    tokens.chmod(0o600)
    local_bridge.admin_more = f", console: true, token_file: {tokens}"
    local_bridge.configure(SINKS % (SECRET, receiver.url, "1h"))
    daemon = local_bridge.start(ready=False)
    wait_for(lambda: "msg=running" in daemon.log())
    said = local_bridge.command("console")
    assert said.returncode == 0, said.stderr
    link = re.search(r"http://\S+/login\?code=\S+", said.stdout)[0].replace(":0/", f":{daemon.admin}/")
    person.open(link)
    person.says("operator")
    person.wait("document.querySelectorAll('.flow a.node').length === 3")
    assert requests.get(link, timeout=10).status_code == 401        # once
    person.unharmed()


def test_pages_are_reached_by_keys_and_fit_in_every_light_and_width(local_bridge, receiver, person, tmp_path):
    daemon, base = console(local_bridge, SINKS % (SECRET, receiver.url, "1h") + "    attempts: all\n" + DEAD_LETTERS)
    post_ok(daemon, *(event(f"e{i}", subject=HOSTILE, data={"text": HOSTILE}) for i in range(4)))
    receiver.delivered({"e0", "e1", "e2", "e3"})
    person.open(base + "/")
    person.wait("document.querySelectorAll('.flow a.node').length > 2")
    person.press("?")
    person.says("Down and up the rows")
    person.press("Escape")
    for title in PAGES:
        person.goes(title)
        for name, width, height, dark in (("light", 1280, 820, False), ("dark", 1280, 820, True), ("phone", 360, 740, False)):
            assert person.look(width, height, dark), (title, name)
            if os.environ.get("PICTURES"):
                person.picture(f"{os.environ['PICTURES']}/{title.replace(' ', '-')}-{name}.png")
        person.look(1280, 820, False)
    person.unharmed()


def test_who_may_only_see_is_shown_nothing_that_changes(local_bridge, receiver, person, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"operator anna {OPERATOR}\nviewer ben {VIEWER}\n")
    tokens.chmod(0o600)
    local_bridge.admin_more = f", console: true, token_file: {tokens}"
    local_bridge.configure(SINKS % (SECRET, receiver.url, "1h"))
    daemon = local_bridge.start(ready=False)
    base = f"http://127.0.0.1:{daemon.admin}"
    wait_for(lambda: "msg=running" in daemon.log())
    person.open(base + "/")
    person.fill("Token", "none of them")
    person.click("Sign in")
    person.says("This token is none of the bridge's.")
    person.fill("Token", VIEWER)
    person.click("Sign in")
    person.says("ben, viewer")
    person.goes("Endpoints")
    assert person.run("document.getElementById('new')") is None
    person.goes("Configuration")
    assert person.run("[...document.querySelectorAll('main button')].length") == 0
    assert person.run("document.cookie") == ""                      # no script sees it
    person.click("Sign out")
    person.fill("Token", OPERATOR)
    person.click("Sign in")
    person.says("anna, operator")
    person.goes("Endpoints")
    person.wait("document.getElementById('new') !== null")
    daemon.kill()
    daemon = local_bridge.start(ready=False)
    person.unharmed()


def test_foreign_names_and_origins_are_refused(local_bridge, receiver):
    daemon, base = console(local_bridge, SINKS % (SECRET, receiver.url, "1h"))
    for path in ("/", "/console/console.js", "/api/v1/flow"):
        assert requests.get(base + path, timeout=10).status_code == 200
        assert requests.get(base + path, headers={"Host": "rebound.example"}, timeout=10).status_code == 403
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site", "Origin": base}):
        assert requests.get(base + "/api/v1/flow", headers=headers, timeout=10).status_code == 403
        assert requests.delete(base + "/api/v1/session", headers=headers, timeout=10).status_code == 403
    page = requests.get(base + "/", timeout=10)
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert "style=" not in page.text and "<script>" not in page.text
    assert requests.get(base + "/console/../bridge.yaml", timeout=10).status_code in (400, 404)
    assert requests.post(base + "/", timeout=10).status_code == 405


def test_it_is_not_there_unless_asked_for(local_bridge, receiver):
    daemon, base = console(local_bridge, SINKS % (SECRET, receiver.url, "1h"), more="")
    assert requests.get(base + "/", timeout=10).status_code == 404 and requests.get(base + "/console/console.js", timeout=10).status_code == 404
    assert requests.get(base + "/api/v1/flow", timeout=10).status_code == 404
