# SPDX-License-Identifier: MIT
"""Builds that the other suites do not make: optimised as a whole, with archives in the program, on the next Debian. A warning fails each."""
import pathlib
import subprocess

import pytest

from conftest import ROOT, WORK, clean, clone, debian, do

PACKAGES = [line.split()[1] for line in (ROOT / ".ci/packages").read_text().splitlines() if line.startswith("build ")]


def build(tree, folder, *options):
    do("cmake", "--preset", "release", "-B", folder, "-DAQUEDUCT_STRICT=ON", *options, cwd=tree)
    done = do("cmake", "--build", folder, cwd=tree)
    assert "warning" not in done.stdout, done.stdout
    return folder / "aqueduct"


@pytest.fixture(scope="session")
def tree():
    """What is committed; nobody changes it meanwhile."""
    return clone(WORK / "tree")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_it_is_built_with_all_optimisation_without_a_warning(tree, compiler):
    more = ["-DCMAKE_AR=/usr/bin/llvm-ar", "-DCMAKE_RANLIB=/usr/bin/llvm-ranlib"] if compiler == "clang" else []
    link = "-fuse-ld=lld" if compiler == "clang" else ""
    program = build(tree, WORK / f"lto-{compiler}", f"-DCMAKE_C_COMPILER={compiler}", "-DCMAKE_C_FLAGS=-O3 -flto=auto" if compiler == "gcc" else "-DCMAKE_C_FLAGS=-O3 -flto", f"-DCMAKE_EXE_LINKER_FLAGS={link}", *more)
    do(program, "--version")
    do(ROOT / "tests/hardened", program)


def test_what_has_an_archive_is_part_of_a_static_program(tree, tmp_path):
    program = build(tree, WORK / "static", "-DAQUEDUCT_STATIC=ON")
    needed = {line.split()[-1] for line in do("objdump", "-p", program).stdout.splitlines() if "NEEDED" in line}
    for gone in ("yaml", "sqlite3", "jansson", "nghttp2", "avro", "rdkafka"):
        assert not any(gone in name for name in needed), needed
    do(ROOT / "tests/hardened", program)
    do("cmake", "--install", WORK / "static", "--prefix", tmp_path / "usr")
    bill = (tmp_path / "usr/share/doc/aqueduct/sbom.cdx.json").read_text()
    assert bill.count('"static"') >= 5 and "librdkafka-dev" in bill
    env = clean(AQUEDUCT_BIN=str(tmp_path / "usr/bin/aqueduct"))
    do("/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not kafka", "tests/e2e/test_main_job.py", cwd=ROOT, env=env)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_next_debian_builds_it(release, compiler):
    system = debian("trixie", *PACKAGES, "clang", "dpkg-dev", "file")
    sources = system.take(next(release.glob("*.tar.gz")))
    system.run("sh", "-c", f"rm -rf /b && mkdir /b && tar xzf {sources} -C /b --strip-components=1")
    system.run("sh", "-c", f"cd /b && cmake --preset release -DAQUEDUCT_STRICT=ON -DCMAKE_C_COMPILER={compiler} && cmake --build --preset release")
    assert "aqueduct" in system.run("/b/build/release/aqueduct", "--version").stdout
    system.run("sh", "-c", "cd /b/build/release && cpack && apt-get install -y ./*.deb && aqueduct help metrics && dpkg -P aqueduct")
