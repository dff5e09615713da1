"""The commands as a person uses them one after the other: from a template to exported detections."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys

import pandas as pd
import pytest
from astropy.table import Table
from support.cli import PROGRAM, search, searched
from support.paths import ROOT

from virtualobserver.cli import main
from virtualobserver.config.shipped import demonstrations

OWN = """\
name: own
catalog: {rows: [{name: a, ra: 1, dec: 2}, {name: b, ra: 3, dec: 4}]}
observatories: {./mine.py: {archive: mine}}
analyses: {./spikes.py: {threshold: 8}}
"""
READERS = {
    "csv": pd.read_csv,
    "parquet": pd.read_parquet,
    "vot": lambda path: Table.read(path, format="votable").to_pandas(),
    "ecsv": lambda path: Table.read(path, format="ascii.ecsv").to_pandas(),
    "fits": lambda path: Table.read(path, format="fits", character_as_bytes=False).to_pandas(),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with a data folder whose server stays up for the module."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "whole.yaml").write_text(search("whole"))
    with searched(folder, folder / "whole.yaml"):
        yield folder


@pytest.fixture
def vo(place, monkeypatch, capfdbinary):
    """Return a function that runs a command and gives exit code, output and messages."""
    monkeypatch.chdir(place)

    def call(*words, binary=False):
        code = main([str(word) for word in words])
        printed = capfdbinary.readouterr()
        return code, printed.out if binary else printed.out.decode(), printed.err.decode()

    return call


def in_a_process(*words, **environment):
    """Run a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        capture_output=True, text=True, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


def test_the_demo_tells_what_it_found_and_missed_and_what_to_try_next(tmp_path):
    done = in_a_process("demo", VO_DATA=str(tmp_path / "data"), VO_DATABASE_URL="")
    assert done.returncode == 0, done.stderr
    told = re.findall(
        r"Put in: (\d+) (?:events|moving objects)\. Found: (\d+)\. Missed: (\d+)\.", done.stdout
    )
    assert len(told) == len(demonstrations()) >= 2
    for injected, found, missed in (tuple(map(int, counts)) for counts in told):
        assert injected == found + missed
        assert found > missed
    assert int(told[0][2]) > 0
    assert int(re.search(r"where nothing was put in: (\d+) ", done.stdout)[1]) <= 2
    assert re.search(r"mover: +(\d+) of \d+ found, in \d+ of \d+ images", done.stdout)
    assert "Injection and recovery" in done.stdout
    silent = "SELECT count(*) AS n FROM task WHERE status = 'empty' AND reason LIKE '%does not say why'"
    asked = in_a_process("sql", silent, "--json", VO_DATA=str(tmp_path / "data"), VO_DATABASE_URL="")
    assert json.loads(asked.stdout) == [{"n": 0}], asked.stderr
    commands = re.findall(r"^  vo (.*)$", done.stdout, re.MULTILINE)
    assert len(commands) >= 5
    # every command it advises works as printed, from here on with nothing to wait for
    words = next(line for line in commands if line.startswith("plot demo --detection")).split()
    shown = in_a_process(*words[:-1], tmp_path / "event.png", VO_DATA=str(tmp_path / "data"))
    assert shown.returncode == 0, shown.stderr
    assert (tmp_path / "event.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("catalog: {file: missing.csv}", "missing.csv"),
        ("catalog: {rows: [{name: a, ra: 1, dec: 2}]}", "no_curves"),
    ],
)
def test_after_a_run_that_failed_status_says_why_and_detections_where_to_look(vo, place, wrong, told):
    file = place / "broken.yaml"
    file.write_text(
        f"name: broken\n{wrong}\nobservatories: {{folder: {{archive: no_curves}}}}\nanalyses: {{transients: {{}}}}\n"
    )
    ended, _, _ = vo("run", file)
    assert ended in (1, 2, 3)
    code, out, err = vo("status", file)
    assert code == 0
    assert ("The last run ended early" in out) == (ended != 1)
    assert told in out
    assert f"`vo run {file}`" in out
    code, out, err = vo("detections", file)
    assert "1 task failed" in err if ended == 1 else told in err
    assert f"`vo status {file}` says more" in err


def test_what_vo_new_project_writes_runs_as_it_is(vo, place):
    assert vo("new", "project", "flares")[0] == 0
    code, out, err = vo("run", "flares.yaml", "--json")
    assert code == 0, err
    assert json.loads(out)["steps"]["analyse:transients"] == {"done": 2}
    assert json.loads(vo("status", "flares.yaml", "--json")[1])["analyse:transients"]["done"] == 2
    assert "Nothing to do" in vo("run", "flares.yaml")[1]


def test_a_new_survey_and_a_new_analysis_find_the_spike_in_a_folder_of_files(vo, place):
    assert vo("new", "survey", "mine")[0] == 0
    assert vo("new", "analysis", "spikes")[0] == 0
    (place / "own.yaml").write_text(OWN)
    (place / "mine").mkdir()
    for name, spike in (("a", 33), ("b", None)):
        lines = [f"{58000 + i},{1500 if i == spike else 500 + i % 7},10" for i in range(60)]
        (place / "mine" / f"{name}.csv").write_text("\n".join(["mjd,flux,error", *lines, ""]))
    code, _, err = vo("run", "own.yaml")
    assert code == 0, err
    found = json.loads(vo("detections", "own.yaml", "--json")[1])
    assert [(row["source"], row["kind"], row["peak_mjd"]) for row in found] == [("a", "spike", 58033.0)]


def test_sql_writes_parquet_that_reads_back(vo):
    code, out, _ = vo(
        "sql", "SELECT name, ra FROM source ORDER BY ra LIMIT 3", "--format", "parquet", binary=True
    )
    assert code == 0
    frame = pd.read_parquet(io.BytesIO(out))
    assert list(frame.columns) == ["name", "ra"]
    assert len(frame) == 3


@pytest.mark.parametrize("suffix", READERS)
def test_exported_detections_read_back_in_every_format(vo, place, suffix):
    wanted = json.loads(vo("detections", "whole.yaml", "--simulated", "--json")[1])
    path = place / f"found.{suffix}"
    code, out, _ = vo("export", "whole.yaml", "detections", "--simulated", "--out", path)
    assert code == 0
    assert f"{len(wanted)} rows in" in out
    frame = READERS[suffix](path)
    assert list(frame["peak_mjd"]) == pytest.approx([row["peak_mjd"] for row in wanted])
    assert sorted(map(str, frame["source"])) == sorted(row["source"] for row in wanted)


def test_prune_removes_what_an_earlier_threshold_found(vo):
    assert vo("run", "whole.yaml", "--set", "analyses.transients.snr_threshold=7")[0] == 0
    assert vo("run", "whole.yaml")[0] == 0
    count = "SELECT count(DISTINCT digest) AS n FROM task WHERE step = 'analyse:transients'"
    before = json.loads(vo("sql", count, "--json")[1])[0]["n"]
    code, out, _ = vo("prune", "--project", "whole")
    assert code == 0
    assert out.strip()
    assert json.loads(vo("sql", count, "--json")[1])[0]["n"] < before
    assert vo("verify")[0] == 0
    assert "Nothing to do" in vo("run", "whole.yaml")[1]


def test_damaged_files_are_told_by_verify_and_mended_by_repair_and_run(vo, place):
    path = next((place / "data" / "products").rglob("*.h5"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    code, out, _ = vo("verify")
    assert code == 1
    assert path.name in out
    assert vo("verify", "--repair")[0] == 0
    for config in ("whole.yaml", "own.yaml", "flares.yaml"):
        if (place / config).is_file():
            assert vo("run", config, "--refresh")[0] == 0
    assert vo("verify")[0] == 0


def test_a_pruned_role_keeps_its_rows_and_says_how_to_remake_the_files(vo, place):
    (place / "dropped.yaml").write_text(search("dropped", n_epochs=61))
    assert vo("run", "dropped.yaml")[0] == 0
    assert vo("prune", "--role", "reduced", "--project", "dropped")[0] == 0
    left = "SELECT count(*) AS n FROM product p JOIN file f ON f.id = p.file_id WHERE f.path IS NULL"
    assert json.loads(vo("sql", left, "--json")[1])[0]["n"] == 3
    code, _, err = vo("plot", "dropped.yaml", "one", "--out", "one.png")
    assert code == 3
    assert "vo run" in err
    assert "Traceback" not in err


def test_delete_asks_first_and_removes_the_project(vo, place):
    (place / "gone.yaml").write_text(search("gone", n_epochs=62))
    assert vo("run", "gone.yaml")[0] == 0
    code, _, err = vo("delete", "gone")  # no answer on the closed input
    assert code != 0
    assert vo("sql", "SELECT name FROM project WHERE name = 'gone'", "--format", "csv")[1].count("gone") == 1
    assert vo("delete", "gone", "--yes")[0] == 0
    assert vo("sql", "SELECT name FROM project WHERE name = 'gone'", "--format", "csv")[1].count("gone") == 0
    code, _, err = vo("delete", "gone", "--yes")
    assert code == 2
    assert "gone" in err


def test_those_who_keep_house_tell_programs_as_well(vo, place):
    (place / "told.yaml").write_text(search("told", n_epochs=63))
    assert vo("run", "told.yaml")[0] == 0
    found = json.loads(vo("verify", "--json")[1])
    assert found["ok"]
    assert found["problems"] == []
    assert found["checked"] > 0
    assert json.loads(vo("sweep", "--json")[1]) == {"files": []}
    pruned = json.loads(vo("prune", "--role", "reduced", "--project", "told", "--json")[1])
    assert pruned["products"] == 3
    assert pruned["bytes"] > 0
    assert pruned["files"]
    gone = json.loads(vo("delete", "told", "--yes", "--json")[1])
    assert (gone["project"], gone["tasks"]) == ("told", 12)
    told = json.loads(vo("db", "check", "--json")[1])
    assert set(told) == {"embedded", "schema", "reader"}
    assert told["embedded"]


def test_the_shell_of_the_database_runs_on_it(place):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "db", "shell"],
        input="SELECT 'from psql', count(*) > 0 FROM source;\n",
        capture_output=True, text=True, cwd=place, env={**os.environ}, check=False,
    )  # fmt: skip
    if done.returncode == 3:
        pytest.skip("psql is not installed")
    assert done.returncode == 0, done.stderr
    assert re.search(r"from psql \| t", done.stdout)


def test_stop_says_who_uses_the_server_and_stops_one_that_was_left(vo, place, tmp_path, monkeypatch):
    code, _, err = vo("db", "stop")
    assert code == 1
    assert "in use" in err
    assert "no embedded server" in vo("db", "stop", "--data", tmp_path / "none")[1]
    data = tmp_path / "left"
    leave = (
        "import os, sys; from virtualobserver.db.engine import Database; from pathlib import Path\n"
        "Database.open(Path(sys.argv[1])); os._exit(1)"
    )
    data.mkdir()
    subprocess.run([sys.executable, "-c", leave, str(data)], check=False)
    assert "stopped" in vo("db", "stop", "--data", data)[1]
    assert "not running" in vo("db", "stop", "--data", data)[1]


def test_the_shell_block_of_the_readme_works_in_an_empty_folder_as_printed(tmp_path, url, monkeypatch):
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## From the shell")[2]
    block = section.partition("```console\n")[2].partition("```")[0]
    lines = [line.removeprefix("$ ") for line in block.splitlines()]
    assert len(lines) > 6
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VO_DATABASE_URL", url)
    monkeypatch.setenv("VO_DATA", str(tmp_path / "data"))
    for line in lines:
        assert main(shlex.split(line, comments=True)[1:]) == 0, line
    assert (tmp_path / "star.png").is_file()
