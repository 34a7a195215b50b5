# SPDX-License-Identifier: MIT
"""The README's commands from nothing: in a minimal Debian 12 that has what is committed, and the network."""
import os
import subprocess
import time

from conftest import clone

AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def inside(system, *command, seconds):
    """What it prints and how long it took. pip trusts whom this machine trusts, which may be one more than Debian does."""
    words = ["systemd-nspawn", "-q", "-D", str(system.folder), "--register=no", "--keep-unit", "--link-journal=no", "--console=pipe", "--chdir=/aqueduct",
             f"--bind-ro={AUTHORITIES}:/authorities.crt", "--setenv=PIP_CERT=/authorities.crt", "--setenv=LC_ALL=C.UTF-8"]
    words += [f"--setenv={name}={os.environ[name]}" for name in ("http_proxy", "https_proxy") if name in os.environ]
    begin = time.monotonic()
    done = subprocess.run([*words, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds)
    took = time.monotonic() - begin
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout, took


def test_quickstart_shows_the_main_job(fresh, capsys):
    system = fresh("bookworm")
    clone(system.folder / "aqueduct")
    said, took = inside(system, "./quickstart", "--once", seconds=3600)
    again, short = inside(system, "./quickstart", "--once", seconds=600)
    for kind in ("a signed webhook, verified", "a WebSocket event", "a document that is ready", "a webhook delivered after a 503"):
        assert kind in said and kind in again, said[-3000:]
    with capsys.disabled():
        print(f"\n./quickstart --once in a minimal Debian: {took:.0f} s from nothing, {short:.0f} s once it is built")


def test_the_tests_build_and_no_server_is_left_behind(fresh, capsys):
    system = fresh("bookworm")
    clone(system.folder / "aqueduct")
    said, took = inside(system, "./tests/run", "build", seconds=3 * 3600)
    assert " 0 failed, 0 skipped" in said, said[-3000:]
    for program in ("nginx", "caddy"):
        found = [str(file.relative_to(system.folder)) for folder in ("usr", "lib", "etc/systemd", "etc/init.d") for file in (system.folder / folder).rglob(f"{program}*")
                 if file.name in (program, f"{program}.service")]
        assert not found, "installed, so it would start with the machine"
    for command in (["build/unpacked/usr/sbin/nginx", "-v"], ["build/unpacked/usr/bin/caddy", "version"]):
        inside(system, *command, seconds=60)
    with capsys.disabled():
        print(f"\n./tests/run build in a minimal Debian: {took:.0f} s from nothing")
