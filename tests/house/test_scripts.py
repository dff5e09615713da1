"""The scripts that calibrate folders of nights: what they run, what they submit, and how they end."""

from __future__ import annotations

import csv
import os
import shlex
import shutil
import subprocess
import sys

import pytest
from support.astep import frames
from support.cli import PROGRAM
from support.paths import ROOT

from virtualobserver.cli import main
from virtualobserver.io.fits.files import read_image

SCRIPTS = ROOT / "scripts"
NIGHT = "2010-03-01"
SLURM = ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nights with a space")
    options = ["--frames", "3", "--size", "64", "72", "--stars", "12", "--nights", "2"]
    done = subprocess.run(
        [sys.executable, SCRIPTS / "simulate_nights.py", folder, *options],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def call(tmp_path):
    """Call a script with a ``vo`` of this Python and without SLURM, unless given."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "vo").write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(PROGRAM)} "$@"\n'
    )
    (programs / "vo").chmod(0o755)

    def run(script, *arguments, **environment):
        plain = {key: value for key, value in os.environ.items() if key not in SLURM}
        plain |= {"PATH": f"{programs}:{plain['PATH']}", **environment}
        return subprocess.run(
            [SCRIPTS / script, *map(str, arguments)],
            env=plain,
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
        )

    return run


def state(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def dry(done):
    """Return the commands of a dry run as lists of words."""
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def setting(words, name):
    (value,) = [word.partition("=")[2] for word in words if word.startswith(f"observatories.astep.{name}=")]
    return value


def test_simulated_nights_have_the_layout_and_names_of_real_ones(nights):
    cams, skyflat = nights / NIGHT / f"{NIGHT}-CAMS", nights / NIGHT / f"{NIGHT}-CAMS_SKYFLAT"
    kinds = {path.name.split("_")[2] for path in cams.iterdir()}
    assert kinds == {"SCIENCE.fits", "DARK.fits", "BIAS.fits"}
    assert {path.name.split("_")[2] for path in skyflat.iterdir()} == {"SKYFLAT.fits", "DARK.fits"}
    assert sorted(path.name for path in nights.iterdir()) == [NIGHT, "2010-03-02", "truth.csv"]
    with (nights / "truth.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 3 * 4
    assert (nights / rows[0]["file"]).is_file()


def test_nights_that_are_there_are_not_overwritten(nights):
    before = state(nights)
    command = [sys.executable, SCRIPTS / "simulate_nights.py", nights, "--size", "64", "72"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "exists; nothing is overwritten" in done.stderr
    assert state(nights) == before


def test_one_command_calibrates_a_night_and_writes_nothing_into_its_folder(
    nights, call, tmp_path, url, monkeypatch
):
    before = state(nights)
    where = ("--data", tmp_path / "data", "--workers", 1)
    done = call("calibrate_nights.sh", nights / NIGHT, *where, VO_DATABASE_URL=url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "calibrate:astep: 4 done" in done.stdout
    assert "reduce:astep: 3 done" in done.stdout
    assert "reduce.photometry:astep: 3 done" in done.stdout
    assert "failed" not in done.stdout
    assert state(nights) == before
    images = [path for path in (tmp_path / "data").rglob("*.fits*") if path.is_file()]
    assert len(images) >= 3 + 4
    config = SCRIPTS.parent / "configs" / "astep.yaml"
    change = f"observatories.astep.archive={nights / NIGHT}"
    monkeypatch.setenv("VO_DATABASE_URL", url)
    options = ["--data", str(tmp_path / "data"), "--set", change, "--out", str(tmp_path / "cal")]
    assert main(["export", str(config), "astep-nights", *options]) == 0
    raws = [path.stem for path in frames(nights, "SCIENCE") if NIGHT in path.name]
    made = sorted((tmp_path / "cal" / NIGHT / f"{NIGHT}-CAMS_CAL").iterdir())
    assert [path.name for path in made] == [f"{stem}_CAL.fits" for stem in raws]
    image = read_image(made[0])
    assert image.unit == "electron"
    assert image.mask is not None
    assert image.header["ORIGFILE"] == f"{raws[0]}.fits"


def test_a_broken_frame_is_in_the_table_of_failures_and_in_the_exit_code(nights, call, tmp_path, url):
    folder = tmp_path / "nights"
    shutil.copytree(nights / NIGHT, folder / NIGHT)
    broken = frames(folder, "SCIENCE")[1]
    broken.write_bytes(broken.read_bytes()[:4000])
    where = ("--data", tmp_path / "data", "--workers", 1)
    done = call("calibrate_nights.sh", folder, *where, VO_DATABASE_URL=url)
    assert done.returncode == 1
    assert "reduce:astep: 2 done, 1 failed" in done.stdout
    table = done.stdout.partition("Frames that failed:")[2]
    assert broken.stem[:20] in table
    assert "cut" in table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Usage"),
        (["nowhere"], "nowhere is not a folder"),
        ([".", "--mem-limit"], "needs a value"),
        ([".", "--mem-limit", "much"], "much is not a number"),
        ([".", "--best"], "unknown option --best"),
        ([".", "."], "one PATH at a time"),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_why(call, arguments, said):
    done = call("calibrate_nights.sh", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_folder_without_nights_fails(call, tmp_path, url):
    (tmp_path / "empty").mkdir()
    done = call("calibrate_nights.sh", "empty", "--data", "data", "--workers", 1, VO_DATABASE_URL=url)
    assert done.returncode == 1
    assert "holds no DATE/DATE-CAMS" in done.stdout


@pytest.mark.parametrize(
    ("environment", "limit", "workers"),
    [
        ({}, None, None),
        ({"SLURM_MEM_PER_NODE": "16000", "SLURM_CPUS_PER_TASK": "4"}, 1.5, 4),
        ({"SLURM_MEM_PER_NODE": "8000", "SLURM_CPUS_PER_TASK": "16"}, 1.5, 2),
        ({"SLURM_MEM_PER_CPU": "4000", "SLURM_CPUS_PER_TASK": "4"}, 1.5, 4),
        ({"SLURM_MEM_PER_NODE": "0", "SLURM_MEM_PER_CPU": "2000", "SLURM_CPUS_ON_NODE": "1"}, 0.75, 1),
    ],
)
def test_memory_follows_that_of_the_job_and_is_shared_by_its_processes(
    nights, call, environment, limit, workers
):
    *steps, _ = dry(call("calibrate_nights.sh", nights, "--dry-run", **environment))
    assert [words[words.index("--step") + 1] for words in steps] == ["fetch", "calibrate", "reduce"]
    for words in steps:
        assert setting(words, "archive") == str(nights)
        if limit is None:
            assert "memory_limit" not in " ".join(words)
            assert "--workers" not in words
            continue
        assert float(setting(words, "memory_limit")) == limit
        assert int(words[words.index("--workers") + 1]) == workers
        memory = int(environment.get("SLURM_MEM_PER_NODE") or 0) or int(
            environment["SLURM_MEM_PER_CPU"]
        ) * int(environment.get("SLURM_CPUS_PER_TASK", 1))
        assert limit * 1000 * workers <= memory / 2


def test_given_memory_wins_over_that_of_the_job(nights, call):
    words = dry(
        call("calibrate_nights.sh", nights, "--dry-run", "--mem-limit", "0.5", "--force", SLURM_MEM_PER_NODE="16000")
    )[0]  # fmt: skip
    assert setting(words, "memory_limit") == "0.5"
    assert "--redo" in words


def test_one_night_is_submitted_as_it_will_run(nights, call, tmp_path):
    (words,) = dry(
        call("slurm_night.sh", nights / NIGHT, "--dry-run", "--mem", 32, "--partition", "long", "--force")
    )
    assert words[0] == "sbatch"
    assert {"--mem=32G", "--cpus-per-task=4", "--time=04:00:00", "--partition=long"} <= set(words)
    work = shlex.split(next(word for word in words if word.startswith("--wrap=")).partition("=")[2])
    data = tmp_path / "results" / "astep" / NIGHT / "data"
    assert work == [
        "exec", str(SCRIPTS / "calibrate_nights.sh"), str(nights / NIGHT), "--data", str(data), "--force",
    ]  # fmt: skip
    assert not (tmp_path / "results").exists()
    assert call("slurm_night.sh", nights, "--dry-run").returncode == 2


FAKE = """#!/usr/bin/env bash
# Runs the tasks of an array one after the other, as sh, with the memory each was promised.
for word in "$@"; do case $word in
  --array=*) range=${word#--array=}; range=${range%%%*} ;;
  --mem=*) export SLURM_MEM_PER_NODE=$((${word//[^0-9]/} * 1024)) ;;
  --cpus-per-task=*) export SLURM_CPUS_PER_TASK=${word#*=} ;;
  --wrap=*) work=${word#--wrap=} ;;
esac; done
for SLURM_ARRAY_TASK_ID in $(seq "${range%-*}" "${range#*-}"); do
  export SLURM_ARRAY_TASK_ID; sh -c "$work" || exit
done
"""


def test_each_night_of_a_folder_is_a_task_with_its_own_memory(nights, call, tmp_path):
    sbatch = tmp_path / "programs" / "sbatch"
    sbatch.write_text(FAKE)
    sbatch.chmod(0o755)
    done = call("slurm_nights.sh", nights, "--mem", 16, "--cpus", 4, "--", "--dry-run")
    assert done.returncode == 0, done.stderr
    runs = [shlex.split(line) for line in done.stdout.splitlines() if " fetch " in line]
    assert [setting(words, "archive") for words in runs] == [str(nights / NIGHT), str(nights / "2010-03-02")]
    for words, date in zip(runs, (NIGHT, "2010-03-02"), strict=True):
        assert words[words.index("--data") + 1] == str(tmp_path / "results" / "astep" / date / "data")
        # both nights may run at once: what a task uses is bounded by what it asked for alone
        workers = int(words[words.index("--workers") + 1])
        assert 4 < float(setting(words, "memory_limit")) * workers < 16 / 2


def test_nights_that_run_together_fit_into_the_memory_given(nights, call):
    (words,) = dry(call("slurm_nights.sh", nights, "--dry-run", "--mem", 16, "--total-mem", 40))
    assert "--array=0-1%2" in words
    (words,) = dry(
        call("slurm_nights.sh", nights, "--dry-run", "--mem", 16, "--total-mem", 40, "--at-once", 1)
    )
    assert "--array=0-1%1" in words
    assert call("slurm_nights.sh", nights, "--dry-run", "--mem", 16, "--total-mem", 8).returncode == 2
    assert call("slurm_nights.sh", nights / NIGHT, "--dry-run").returncode == 2


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_stop_at_errors_and_say_how_they_are_used(script, call):
    assert "\nset -euo pipefail\n" in script.read_text()
    assert os.access(script, os.X_OK)
    shown = call(script.name, "--help")
    assert shown.returncode == 0
    assert shown.stdout.startswith(f"Usage: {script.name}")
    if checker := shutil.which("shellcheck"):
        checked = subprocess.run([checker, script], check=False, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout
