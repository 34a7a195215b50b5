# SPDX-License-Identifier: MIT
"""A release: the same bytes wherever it is built; installed, replaced, removed and purged in a minimal Debian; run by a real systemd."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest

from conftest import ROOT, WORK, clean, clone, debian, do

sys.path.append(str(ROOT / "tests/support"))
from aqueduct import wait_for  # noqa: E402


def sums(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_a_release_is_the_same_bytes_wherever_it_is_built(release):
    names = {re.sub(r"\d+\.\d+\.\d+", "V", name) for name in sums(release)}
    assert names == {"aqueduct_V_amd64.deb", "aqueduct-V.tar.gz", "aqueduct-V.cdx.json", "SHA256SUMS"}
    do("sha256sum", "-c", "--strict", "SHA256SUMS", cwd=release)
    tree = clone(WORK / "another/folder with a longer name")
    env = clean(TZ="Asia/Shanghai", LANG="C", LC_ALL="C", USER="somebody", HOME=str(WORK))
    do("cmake", "--preset", "release", "-DAQUEDUCT_STRICT=ON", cwd=tree, env=env, umask=0o077)
    do("cmake", "--build", "--preset", "release", "-j", "1", "--target", "dist", cwd=tree, env=env, umask=0o077)
    assert sums(tree / "build/release/dist") == sums(release)
    inside = WORK / "inside"                            # nothing of it says where it was built, or who did: WORK was home to the other one
    shutil.rmtree(inside, ignore_errors=True)
    do("dpkg-deb", "-R", next(release.glob("*.deb")), inside)
    files = [file for file in inside.rglob("*") if file.is_file()]
    assert len(files) > 20 and not [file for file in files if str(WORK).encode() in file.read_bytes()]
    assert str(WORK).encode() in (tree / "build/release/CMakeCache.txt").read_bytes()
    # and from its own sources, where there is no git
    plain = WORK / "plain"
    shutil.rmtree(plain, ignore_errors=True)
    plain.mkdir()
    do("tar", "xzf", next(release.glob("*.tar.gz")), "-C", plain, "--strip-components=1")
    do("cmake", "--preset", "release", cwd=plain, env=clean(), umask=0o077)
    do("cmake", "--build", "--preset", "release", cwd=plain, env=clean(), umask=0o077)
    do("cpack", "-B", plain / "tight", cwd=plain / "build/release", env=clean(), umask=0o077)
    do("cpack", "-B", plain / "out", cwd=plain / "build/release", env=clean(), umask=0o022)
    deb = next(release.glob("*.deb"))
    assert (plain / "out" / deb.name).read_bytes() == deb.read_bytes()
    listed = [do("dpkg-deb", "-c", plain / at / deb.name).stdout for at in ("tight", "out")]
    assert listed[0] == listed[1] and "drwxr-xr-x" in listed[0], "who makes a package may keep his files to himself"
    done = do("cmake", "--build", "--preset", "release", "--target", "dist", cwd=plain, env=clean(GIT_CEILING_DIRECTORIES=str(WORK)), check=False)
    assert done.returncode != 0 and "not a git repository" in done.stdout, "no release without its sources"


def test_the_bill_of_materials_is_what_is_loaded(release, fresh):
    """By the schema of CycloneDX, and beside what the loader says in a minimal Debian."""
    venv = WORK / "venv"
    if not (venv / "bin/python").exists():
        do("/usr/bin/python3", "-m", "venv", venv)
        do(venv / "bin/pip", "install", "-q", "cyclonedx-python-lib[json-validation]>=8")
    bill = next(release.glob("*.cdx.json"))
    judge = ("import sys; from cyclonedx.schema import SchemaVersion; from cyclonedx.validation.json import JsonStrictValidator as V;"
             "why = V(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read()); sys.exit(repr(why) if why else 0)")
    do(venv / "bin/python", "-c", judge, bill)
    told = json.loads(bill.read_text())
    system = fresh("bookworm")
    system.run("apt-get", "update", "-q")
    system.install(system.take(next(release.glob("*.deb"))))
    loaded = {line.split()[0].split("/")[-1] for line in system.run("ldd", "/usr/bin/aqueduct").stdout.splitlines()} - {"linux-vdso.so.1"}
    assert {part["properties"][0]["value"] for part in told["components"]} == loaded
    for part in told["components"]:
        assert part["purl"].startswith(f"pkg:deb/debian/{part['name'].replace('+', '%2B')}@"), part
    program = (system.folder / "usr/bin/aqueduct").read_bytes()
    assert told["metadata"]["component"]["hashes"][0]["content"] == hashlib.sha256(program).hexdigest()
    assert not {"libjansson4", "librdkafka1", "libcurl4", "libsqlite3-0"} - {d.split("/")[0] for d in told["dependencies"][0]["dependsOn"]}


def later(deb, folder, version):
    """The same package as of a later version whose configuration says more."""
    shutil.rmtree(folder, ignore_errors=True)
    do("dpkg-deb", "-R", deb, folder)
    control = folder / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*$", f"Version: {version}", control.read_text(), flags=re.M))
    with open(folder / "etc/aqueduct/bridge.yaml", "a") as file:
        file.write("# of a later version\n")
    out = folder.parent / f"later_{version}.deb"
    do("dpkg-deb", "--root-owner-group", "-b", folder, out)
    return out


def test_the_package_is_installed_replaced_removed_and_purged(deb, fresh):
    system = fresh("bookworm")
    system.run("apt-get", "update", "-q")
    system.install(system.take(deb))
    where = system.folder
    assert re.match(r"aqueduct \d+\.\d+\.\d+", system.run("aqueduct", "--version").stdout)
    listed = system.run("dpkg", "-L", "aqueduct").stdout.split("\n")
    for file in ("usr/bin/aqueduct", "usr/share/man/man1/aqueduct.1.gz", "usr/share/bash-completion/completions/aqueduct", "usr/share/zsh/vendor-completions/_aqueduct",
                 "usr/share/fish/vendor_completions.d/aqueduct.fish", "usr/lib/systemd/system/aqueduct.service", "usr/share/aqueduct/config.schema.json",
                 "usr/share/doc/aqueduct/copyright", "usr/share/doc/aqueduct/sbom.cdx.json", "usr/share/doc/aqueduct/bridge/guide/operate.md",
                 "usr/share/doc/aqueduct/connectors/webhook/README.md", "etc/aqueduct/bridge.yaml"):
        assert f"/{file}" in listed, file
    if (where / "usr/share/man/man1/aqueduct.1.gz").exists():    # a minimal Debian may leave documentation out
        assert b"aqueduct" in do("gzip", "-dc", where / "usr/share/man/man1/aqueduct.1.gz").stdout.encode()
    config = where / "etc/aqueduct/bridge.yaml"
    assert system.run("stat", "-c", "%U:%G %a", "/etc/aqueduct/bridge.yaml", "/var/lib/aqueduct").stdout.split("\n")[:2] == ["root:aqueduct 640", "aqueduct:aqueduct 700"]
    system.run("setpriv", "--reuid=aqueduct", "--regid=aqueduct", "--clear-groups", "aqueduct", "check", "-c", "/etc/aqueduct/bridge.yaml")

    config.write_text(config.read_text() + "log: {level: debug}\n")        # a person's change, and what the daemon keeps
    mine = config.read_text()
    (where / "var/lib/aqueduct/kept").write_text("state")
    system.install(system.take(later(deb, WORK / "later", "99.1.0")))
    assert system.run("dpkg-query", "-W", "-f=${Version}", "aqueduct").stdout == "99.1.0"
    assert config.read_text() == mine and "# of a later version" in pathlib.Path(str(config) + ".dpkg-dist").read_text()
    assert system.run("stat", "-c", "%U:%G %a", "/etc/aqueduct/bridge.yaml").stdout.strip() == "root:aqueduct 640"
    assert (where / "var/lib/aqueduct/kept").read_text() == "state"

    system.run("dpkg", "-r", "aqueduct")
    assert not (where / "usr/bin/aqueduct").exists() and config.read_text() == mine and (where / "var/lib/aqueduct/kept").exists()
    (where / "etc/aqueduct/crm.secret").write_text("whsec_x")
    system.run("dpkg", "-P", "aqueduct")
    assert os.listdir(where / "etc/aqueduct") == ["crm.secret"] and not (where / "var/lib/aqueduct").exists()
    assert system.run("getent", "passwd", "aqueduct", check=False).returncode == 2
    assert system.run("dpkg-query", "-W", "aqueduct", check=False).returncode == 1

    system.install("/tmp/" + deb.name)                  # and again, from nothing
    assert "log: {level: debug}" not in config.read_text()


JUDGE = r"""#!/bin/bash
# Runs inside as a service; what it says is judged outside. Each line: a name, =, what is so.
exec >/said 2>&1
of() { systemctl show aqueduct -p "$1" --value; }
C=/etc/aqueduct/bridge.yaml
systemctl enable --now aqueduct; echo "start=$?"
echo "state=$(of ActiveState) $(of StatusText) $(of User)"
echo "ready=$(aqueduct status --ready -c $C)"
echo "files=$(grep 'open files' /proc/$(of MainPID)/limits | awk '{print ($4 > 10000)}')"
systemctl reload aqueduct; echo "reload=$?"
cp -p $C /tmp/good; echo 'nonsense: 1' >>$C
systemctl reload aqueduct 2>/dev/null; echo "reload_refused=$? $(of ActiveState)"
cp -p /tmp/good $C
pid=$(of MainPID)
dpkg -i --force-confold /later_99.1.0.deb >/tmp/dpkg.log 2>&1; echo "upgrade=$?"
for i in $(seq 100); do [ "$(of MainPID)" != "$pid" ] && [ "$(of ActiveState)" = active ] && break; sleep 0.1; done
echo "upgraded=$([ "$(of MainPID)" != "$pid" ] && of ActiveState)"
mkdir -p /run/systemd/system/aqueduct.service.d
printf '[Service]\nWatchdogSec=2\nRestartSec=100ms\n' >/run/systemd/system/aqueduct.service.d/short.conf
systemctl daemon-reload; systemctl restart aqueduct
pid=$(of MainPID); sleep 5
echo "watched=$([ "$(of MainPID)" = "$pid" ] && of NRestarts)"
kill -STOP $pid
for i in $(seq 200); do [ "$(of NRestarts)" = 1 ] && [ "$(of ActiveState)" = active ] && break; sleep 0.1; done
echo "stuck=$(of NRestarts) $(of ActiveState)"
rm -r /run/systemd/system/aqueduct.service.d; systemctl daemon-reload
systemctl stop aqueduct; echo "stop=$? $(of Result) $(of ExecMainStatus)"
aqueduct init --http 8080 --url http://127.0.0.1:9/hook --force --out $C >/tmp/init.log; echo "init=$? $(stat -c %U:%G:%a $C /etc/aqueduct/bridge.token | tr '\n' ' ')"
sh -c "$(sed -n 's/^next: \(.*\);.*/\1/p' /tmp/init.log)" 2>/dev/null; echo "next=$? $(of ActiveState) $(of UnitFileState)"
aqueduct send -c $C /v1/events --type test.greeting --data '{"hello": "world"}' >/dev/null; echo "sent=$? $(stat -c %U /var/lib/aqueduct/data/aqueduct.db)"
systemctl stop aqueduct
printf 'AQUEDUCT_X=1\n' >/etc/default/aqueduct
aqueduct init --http 8080 --kafka 127.0.0.1:1 --force --out $C >/dev/null
sed -i 's/listen: "127.0.0.1:9464".*/listen: ""/' $C
systemctl start --no-block aqueduct
for i in $(seq 200); do case "$(of StatusText)" in *127.0.0.1:1*|*broker*) break ;; esac; sleep 0.1; done
echo "waits=$(of ActiveState) $(of StatusText)"
test -S /run/aqueduct/control; echo "control=$?"
systemctl stop aqueduct; echo "gives_up=$?"
echo "security=$(systemd-analyze security aqueduct --no-pager --threshold=20 >/tmp/security.log; echo $?) $(tail -1 /tmp/security.log)"
dpkg -r aqueduct >/tmp/remove.log 2>&1; echo "removed=$? $(of LoadState)"
echo end=1
systemctl poweroff
"""


def test_a_real_systemd_runs_it(deb, fresh):
    """Booted in a container with no network but its own loopback: readiness, reload, upgrade while it runs, watchdog, stop, hardening."""
    system = fresh("bookworm", "systemd", "systemd-sysv", "dbus", "procps", "adduser")
    system.run("apt-get", "update", "-q")
    system.install(system.take(deb))
    system.take(later(deb, WORK / "later", "99.1.0"), "/")
    where = system.folder
    (where / "judge").write_text(JUDGE)
    (where / "judge").chmod(0o755)
    (where / "etc/systemd/system/judge.service").write_text("[Service]\nExecStart=/judge\n")
    wants = where / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "judge.service").symlink_to("/etc/systemd/system/judge.service")
    system.run("systemd-analyze", "verify", "--man=no", "/usr/lib/systemd/system/aqueduct.service")
    container = subprocess.Popen(["systemd-nspawn", "-q", "-D", where, "--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe",
                                  "--link-journal=no"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        out = container.communicate(timeout=180)[0]
    except subprocess.TimeoutExpired:
        container.terminate()           # it halts
        out = container.communicate(timeout=60)[0]
    assert (where / "said").exists(), f"systemd did not come up in the container: {out}"
    said = (where / "said").read_text()
    facts = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    waits = facts.pop("waits", "")
    assert re.match(r"activating .*(127\.0\.0\.1:1|broker)", waits), said
    security = facts.pop("security", "")
    assert re.match(r"0 .*level for aqueduct.service: [01]\.\d OK", security), said
    assert facts == {"start": "0", "state": "active running aqueduct", "ready": "ready", "files": "1", "reload": "0", "reload_refused": "1 active", "upgrade": "0",
                     "upgraded": "active", "watched": "0", "stuck": "1 active", "stop": "0 success 0",
                     "init": "0 root:aqueduct:640 root:aqueduct:640 ", "next": "0 active enabled", "sent": "0 aqueduct", "control": "0", "gives_up": "0", "removed": "0 not-found", "end": "1"}, said
