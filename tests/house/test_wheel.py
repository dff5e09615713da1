"""What is installed from a wheel is whole: it runs where there is no repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from support.cli import PROGRAM
from support.paths import ROOT

PROBE = """
import json
from importlib.metadata import version
import virtualobserver
from virtualobserver.db import migrate
from virtualobserver.config.shipped import configs_dir
print(json.dumps([virtualobserver.__file__, str(migrate.migrations_dir()), str(configs_dir()),
                  virtualobserver.__version__ == version("virtualobserver")]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Return the folder of an installation that knows nothing of the repository."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed, cwd, *words, **environment):
    inherited = {k: v for k, v in os.environ.items() if k not in {"VO_DATABASE_URL", "VO_DATA"}}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd, capture_output=True, text=True, check=False,
        env=inherited | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"} | environment,
    )  # fmt: skip


def test_the_wheel_holds_every_module_and_what_they_read(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    source = ROOT / "src"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    assert modules <= inside
    for folder, name in (("alembic", "_migrations"), ("configs", "_configs")):
        ours = [p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
        assert ours
        for path in ours:
            assert f"virtualobserver/{name}/{path.relative_to(ROOT / folder).as_posix()}" in inside
    templates = [
        path.relative_to(source).as_posix() for path in source.rglob("templates/*") if path.is_file()
    ]
    assert len(templates) >= 5
    assert inside >= {"virtualobserver/py.typed", *templates}


def test_the_wheel_holds_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = archive.namelist()
    strange = [n for n in inside if not n.startswith(("virtualobserver/", "virtualobserver-"))]
    assert strange == []
    assert not [n for n in inside if "__pycache__" in n or n.endswith((".pyc", ".h5", ".log"))]
    assert any(n.endswith("/licenses/LICENSE") for n in inside)


def test_an_installed_package_finds_its_own_migrations_and_configurations(installed, tmp_path):
    done = run(installed, tmp_path, "-c", PROBE)
    assert done.returncode == 0, done.stderr
    *places, same_version = json.loads(done.stdout)
    assert all(Path(place).is_relative_to(installed) for place in places)
    assert same_version


def test_an_installed_package_runs_a_search_in_an_empty_folder(installed, tmp_path):
    assert run(installed, tmp_path, "-c", PROGRAM, "new", "project", "tiny").returncode == 0
    done = run(installed, tmp_path, "-c", PROGRAM, "run", "tiny.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"]["analyse:transients"] == {"done": 2}
    assert (tmp_path / "results" / "data" / "postgres").is_dir()


def test_the_image_has_all_that_the_installation_reads_before_it_installs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    forced = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    before, _, _ = (ROOT / "Dockerfile").read_text(encoding="utf-8").partition("RUN make install")
    copied = {word for line in before.splitlines() if line.startswith("COPY") for word in line.split()[1:-1]}
    assert copied >= {"pyproject.toml", "README.md", "LICENSE", "src", *forced}
