"""The block of the manual for SLURM, run where jobs are processes of this machine."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT
from support.project import mirror, settings

from virtualobserver import Project

NAMES = [f"star_{n:02d}" for n in range(4)]
SUBMIT = """#!/bin/sh
cp "$1" "$1.kept" && echo "$1.kept" >> {folder}/jobs
setsid sh "$1.kept" > {folder}/job.$$ 2>&1 &
echo "Submitted batch job $!"
"""
CANCEL = '#!/bin/sh\nfor job in "$@"; do kill -- "-$job"; done\n'


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with commands that submit and cancel jobs, first on the path; it lists the jobs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, words in (("sbatch", SUBMIT.format(folder=folder)), ("scancel", CANCEL)):
        (folder / name).write_text(words)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.filterwarnings("ignore")  # of Dask's clocks, on a busy machine
def test_the_block_for_slurm_of_the_manual_does_the_search(slurm, tmp_path, url, monkeypatch, capsys):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    data, config = tmp_path / "data", tmp_path / "flares.yaml"
    config.write_text(yaml.safe_dump(settings(mirror(tmp_path / "mirror", NAMES), NAMES)))
    page = (ROOT / "docs" / "cluster.md").read_text()
    (block,) = re.findall(r"```text\n(from dask_jobqueue.*?)```", page, re.DOTALL)
    for said, here in {
        'queue="...", account="..."': 'queue="q", account="a", scheduler_options={"host": "127.0.0.1"}',
        "VO_DATABASE_URL=... VO_DATA=/shared/vo": f"PYTHONPATH={os.pathsep.join(map(str, sys.path))}",
        "cores=8, processes=8": "cores=2, processes=2",
        "maximum_jobs=20": "maximum_jobs=1",
        '"flares"': f'"{config}"',
    }.items():
        assert said in block
        block = block.replace(said, here)
    monkeypatch.setenv("VO_DATABASE_URL", url)
    monkeypatch.setenv("VO_DATA", str(data))
    exec(compile(block, "docs/cluster.md", "exec"), {})
    (job,) = (slurm / "jobs").read_text().split()
    assert "#SBATCH -p q" in Path(job).read_text()
    with Project.open(config, data=data, url=url) as project:
        assert project.run().worked == 0
        assert set(project.sql("SELECT status FROM task")["status"]) == {"done"}
