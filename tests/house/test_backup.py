"""A search survives what the manual says of backups: the copy is whole, and opens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url
from support.paths import ROOT

from virtualobserver import Project
from virtualobserver.db.binaries import find_binaries
from virtualobserver.run.upkeep.verify import verify
from virtualobserver.run.workspace import Workspace

PAGE = (ROOT / "docs" / "backup.md").read_text(encoding="utf-8")
SETTINGS = {
    "name": "kept",
    "catalog": {"rows": [{"name": "star", "ra": 10.0, "dec": 5.0}]},
    "observatories": {
        "demo": {"n_epochs": 60, "flare_fraction": 1.0, "flare_amplitude": 5.0, "dip_fraction": 0.0}
    },
    "analyses": {"transients": {}},
}


def commands_under(heading: str) -> list[str]:
    """Return the commands of a section of the page."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [line.partition("   ")[0] for line in re.findall(r"^\$ (.*)$", section, re.MULTILINE)]


def search(data: Path, url: str | None = None) -> None:
    """Run a small search in a data folder and give a verdict, which nothing can make again."""
    with Project.open(SETTINGS, data=data, url=url) as project:
        for step in ("fetch", "reduce", "analyse"):
            assert not project.run(step=step).failures
        found = project.detections(simulated=True)
        project.judge(int(found["id"].iloc[0]), "candidate", user="ann", note="kept")


def assert_is_whole(data: Path, url: str | None = None) -> None:
    """Compare every file of the copy with its row, and look for the verdict."""
    with Workspace(data, url=url) as workspace:
        report = verify(workspace)
        assert report.ok, report
        assert report.checked >= 2
    with Project.open(SETTINGS, data=data, url=url) as project:
        assert project.verdicts()["note"].tolist() == ["kept"]
        assert project.run(step="analyse").worked == 0


def run(lines: list[str], folder: Path, **environment: str) -> str:
    """Run lines of a shell as somebody would type them, with this Python's programs first on the path."""
    path = f"{find_binaries().folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = "\n".join(["set -euo pipefail", *lines])
    env = {name: value for name, value in os.environ.items() if name not in ("VO_DATABASE_URL", "VO_DATA")}
    command = ["bash", "-c", script]
    done = subprocess.run(
        command,
        cwd=folder,
        env=env | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def plain(url: str) -> str:
    """Return an address as PostgreSQL's own programs read it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def test_a_copy_of_the_stopped_data_folder_is_the_whole_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two servers and two commands of the shell are started: 6 s of processor time, none of which can be shared.
    monkeypatch.delenv("VO_DATABASE_URL", raising=False)
    search(tmp_path / "data")
    told = run(commands_under("The embedded server"), tmp_path)
    assert "no problems" in told
    assert_is_whole(tmp_path / "restored" / "data")


def test_a_dump_goes_into_an_empty_database(tmp_path: Path, new_url: Callable[..., str]) -> None:
    url, restored = new_url(), new_url(empty=True)
    search(tmp_path / "data", url)
    first, second = (
        [line for line in lines.splitlines() if line.startswith(("pg_", "tar", "mkdir"))]
        for lines in "\n".join(commands_under("A server of your own")).split("export VO_DATABASE_URL")
    )
    assert [line.split()[0] for line in first + second] == ["pg_dump", "tar", "pg_restore", "mkdir", "tar"]
    run(first, tmp_path, VO_DATABASE_URL=plain(url))
    run(second, tmp_path, VO_DATABASE_URL=plain(restored))
    assert_is_whole(tmp_path / "restored" / "data", restored)


def test_the_embedded_server_is_dumped_while_somebody_keeps_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VO_DATABASE_URL", raising=False)
    (line,) = commands_under("From the embedded server to one of your own")
    with Workspace(tmp_path / "data"):
        run([line], tmp_path)
    listed = subprocess.run(
        [find_binaries().folder / "pg_restore", "--list", tmp_path / "vo.dump"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "TABLE DATA public classification" in listed.stdout
