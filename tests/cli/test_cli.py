"""The command line: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest
from support.cli import PROGRAM, search
from support.paths import ROOT

from virtualobserver import __version__
from virtualobserver.cli import main
from virtualobserver.cli.demo import compare, doubts, things
from virtualobserver.cli.work import _print_summary
from virtualobserver.conventions import FLAG_NAMES
from virtualobserver.db.reader import Reader

CONFIG = search("cli_test")


def test_version_and_help_end_well_without_scientific_imports():
    code = "import sys; from virtualobserver.cli import main; main(['--version']); main(['--help'])\n"
    code += "print(sorted({'numpy', 'pandas', 'astropy', 'sqlalchemy', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"virtualobserver {__version__}\n")
    assert done.stdout.endswith("[]\n")


def test_a_second_run_has_nothing_to_do(vo):
    code, out, _ = vo("run", "search.yaml")
    assert code == 0
    assert "Nothing to do" in out


def test_run_tells_its_counts_as_json(vo):
    code, out, _ = vo("run", "search.yaml", "--redo", "--step", "analyse", "--json")
    assert code == 0
    assert json.loads(out)["steps"]["analyse:transients"] == {"done": 3}


def test_run_of_one_source_does_only_that(vo):
    code, out, _ = vo("run", "search.yaml", "--redo", "--step", "reduce:demo", "--only", "two", "--json")
    assert code == 0
    assert json.loads(out)["steps"] == {"reduce:demo": {"done": 1}}


def test_failures_with_one_reason_are_named_three_times_and_counted(capsys):
    def failure(n, error):
        return {"source": f"star_{n}", "unit": "", "step": "fetch:ztf", "error": error, "task": n}

    failures = [failure(n, "E: the folder x is not there") for n in range(200)] + [failure(200, "E: another")]
    told = SimpleNamespace(
        failures=failures, counts={}, worked=201, failed=201, notes=[], complete=False, inputs=True
    )
    _print_summary(told, 1.0, "search.yaml")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed:")]
    assert [re.search(r"star_\d+", line)[0] for line in lines[:4]] == [
        "star_0",
        "star_1",
        "star_2",
        "star_200",
    ]
    assert lines[4:] == ["failed: 197 more for the same reason: fetch:ztf: E: the folder x is not there"]


def test_failed_tasks_are_named_and_the_exit_code_is_one(vo, place):
    bad = place / "bad"
    bad.mkdir(exist_ok=True)
    (bad / "one.csv").write_text("<html>no data today</html>\n")
    config = CONFIG.replace("cli_test", "bad").replace(
        "demo: {n_epochs: 60, flare_fraction: 1.0, dip_fraction: 0.0}", "ztf: {archive: bad}"
    )
    (place / "bad.yaml").write_text(config)
    code, out, _ = vo("run", "bad.yaml")
    assert code == 1
    assert re.search(r"^failed: one, fetch:ztf: .*\(task (\d+)\)$", out, re.MULTILINE)
    task = re.search(r"\(task (\d+)\)", out)[1]
    code, out, _ = vo("log", task)
    assert code == 0
    assert re.search(r"^status: +failed$", out, re.MULTILINE)
    assert "one" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "nosuch.yaml"], "nosuch"),
        (["run", "search.yaml", "--set", "analyses.transients.snr_treshold=3"], "snr_threshold"),
        (["run", "search.yaml", "--step", "cook"], "reduce:demo"),
        (["plot", "search.yaml", "nobody", "--out", "x.png"], "nobody"),
        (["plot", "search.yaml", "--out", "x.png"], "--detection"),
        (["export", "search.yaml", "detections", "--out", "x.docx"], ".parquet"),
        (["export", "search.yaml", "secrets", "--out", "x.csv"], "lightcurves"),
        (["sql", "SELEC 1"], "syntax error"),
        (["sql", "DELETE FROM detection"], "read-only"),
        (["log", "999999999"], "no task"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_a_wrong_command_is_one_clear_message_and_exit_code_two(vo, words, says):
    code, _, err = vo(*words)
    assert code == 2
    assert says in err
    assert "Traceback" not in err


def test_an_unusable_database_is_exit_code_three_and_hides_the_password(vo, monkeypatch):
    monkeypatch.setenv("VO_DATABASE_URL", "postgresql://me:hush@127.0.0.1:1/none")
    code, _, err = vo("status", "search.yaml")
    assert code == 3
    assert "127.0.0.1" in err
    assert "hush" not in err


def test_config_prints_values_with_their_origin(vo):
    _, out, _ = vo("config", "search.yaml", "--set", "run.workers=2")
    assert re.search(r"analyses\.transients\.snr_threshold +5\.0 +search\.yaml:7", out)
    assert re.search(r"run\.workers +2 +override", out)
    schema = json.loads(vo("config", "search.yaml", "--schema")[1])
    assert "TransientsSettings" in schema["$defs"]


def test_status_counts_tasks(vo):
    status = json.loads(vo("status", "search.yaml", "--json")[1])
    assert status["fetch:demo"]["done"] == 3
    assert status["simulate:transients"]["done"] == 3


def test_simulated_detections_are_left_out_with_a_hint(vo):
    code, out, err = vo("detections", "search.yaml")
    assert code == 0
    assert "0 detections" in out
    assert "--simulated" in err
    found = json.loads(vo("detections", "search.yaml", "--simulated", "--json")[1])
    assert {row["source"] for row in found} >= {"one", "two", "three"}


@pytest.mark.parametrize("form", ["table", "csv"])
def test_detections_are_gone_through_once(vo, form, monkeypatch):
    asked = []
    plain = Reader.ask

    def ask(self, query, *values, **options):
        asked.append(query)
        return plain(self, query, *values, **options)

    monkeypatch.setattr(Reader, "ask", ask)
    code, out, err = vo("detections", "search.yaml", "--simulated", "--format", form)
    found = json.loads(vo("detections", "search.yaml", "--simulated", "--json")[1])
    assert (code, "stale" in err) == (0, False)
    assert sum(query.count("FROM detections_all") for query in asked) == 2, "once for each command"
    if form == "table":
        assert f"\n{len(found)} detections" in out
        assert out.split()[:3] == ["id", "source", "analysis"]
        told = [int(line.split()[0]) for line in out.splitlines() if re.match(r" *\d+ +\w", line)]
        assert told[: len(found)] == [row["id"] for row in found]


def test_detections_of_settings_that_did_not_run_last_are_none_and_that_is_said(vo):
    assert "did not run" not in vo("detections", "search.yaml", "--simulated")[2]
    code, out, err = vo("detections", "search.yaml", "--set", "analyses.transients.snr_threshold=9")
    assert code == 0
    assert "0 detections" in out
    assert "did not run with these settings last: what is shown is of others" in err


def test_a_data_folder_in_which_nothing_has_run_is_named(vo, tmp_path):
    code, out, err = vo("detections", "search.yaml", "--data", str(tmp_path / "elsewhere"))
    assert (code, "0 detections" in out) == (0, True)
    assert f"has not run with the data folder {tmp_path / 'elsewhere'}" in err


def test_detections_of_some_sources_kinds_and_strengths(vo):
    def asked(*options):
        return json.loads(vo("detections", "search.yaml", "--simulated", "--json", *options)[1])

    everything = asked()
    strong = sorted(abs(row["snr"]) for row in everything)[len(everything) // 2]
    kind = everything[0]["kind"]
    assert asked("--source", "one") == [row for row in everything if row["source"] == "one"]
    assert asked("--source", "one", "--source", "two") == [r for r in everything if r["source"] != "three"]
    assert asked("--kind", kind) == [row for row in everything if row["kind"] == kind]
    assert len(asked("--min-snr", str(strong * 0.999))) == sum(abs(r["snr"]) >= strong for r in everything)
    assert asked("--kind", "no such kind") == []


def test_sql_answers_in_every_format(vo):
    query = "SELECT name, ra::int AS ra FROM source WHERE ra > 20 AND name LIKE 't%' ORDER BY name"
    assert vo("sql", query, "--format", "csv")[1] == "name,ra\nthree,50\ntwo,30\n"
    assert json.loads(vo("sql", query, "--json")[1])[0] == {"name": "three", "ra": 50}
    assert re.search(r"^ +three +50 *$", vo("sql", query)[1], re.MULTILINE)


def test_simulate_prints_the_efficiency_and_plot_draws_it(vo, place):
    code, out, _ = vo("simulate", "search.yaml", "--number", "3", "--json")
    assert code == 0
    answer = json.loads(out)
    assert answer["steps"]["simulate:transients"] == {"done": 3}
    assert sum(row["injected"] for row in answer["efficiency"]) == 9
    assert {"kind", "coverage", "search", "efficiency"} <= set(answer["efficiency"][0])
    told = vo("simulate", "search.yaml", "--number", "3")[1]
    strengths = r"amplitude \[robust rms\] +width \[d\]"
    assert re.search(rf"kind +{strengths} +injected +covered +found +coverage +search +efficiency", told)
    assert vo("plot", "search.yaml", "--efficiency", "--out", "efficiency.png")[0] == 0
    assert (place / "efficiency.png").read_bytes().startswith(b"\x89PNG")
    assert vo("plot", "search.yaml", "one", "--efficiency", "--out", "none.png")[0] == 2


def test_plots_are_pictures(vo, place):
    assert vo("plot", "search.yaml", "one", "--out", "star.png")[0] == 0
    found = json.loads(vo("detections", "search.yaml", "--simulated", "--json")[1])
    number = next(row["id"] for row in found if row["injection_id"] is None)
    assert vo("plot", "search.yaml", "--detection", number, "--out", "event.png")[0] == 0
    for name in ("star.png", "event.png"):
        assert (place / name).read_bytes().startswith(b"\x89PNG")


def test_database_commands(vo):
    assert "is the right one" in vo("db", "check")[1]
    assert vo("db", "url")[1].startswith("postgresql+psycopg2://")
    assert vo("db", "upgrade")[0] == 0


def test_housekeeping_finds_all_in_order(vo):
    assert vo("verify")[0] == 0
    assert "0 files removed" in vo("sweep")[1]


def test_demo_matches_by_source_kind_and_time():
    injected = pd.DataFrame(
        {
            "source": ["a", "a", "b"],
            "kind": ["flare", "flare", "dip"],
            "start_mjd": [10.0, 50.0, 10.0],
            "end_mjd": [20.0, 60.0, 20.0],
        }
    )
    found = pd.DataFrame(
        {
            "source": ["a", "b", "c", "a", "a"],
            "kind": ["flare", "dip", "flare", "dip", "activity"],
            "start_mjd": [20.0, 21.0, 10.0, 50.0, 50.0],
            "end_mjd": [30.0, 22.0, 20.0, 60.0, 60.0],
        }
    )
    # out of time, another star, another kind; a kind that nobody put in counts for nothing
    assert compare(injected, found) == ([True, False, False], [1, 2, 3])


def test_a_demonstration_says_which_of_what_nobody_put_in_the_search_doubts_itself():
    sure, kind = {"class": "candidate", "reasons": []}, {"class": "flare"}
    unsure = [
        {"class": "doubtful", "reasons": ["place", "width"]},
        {"class": "doubtful", "reasons": ["place"]},
    ]
    assert not doubts(pd.DataFrame({"parameters": [sure, kind]}))
    assert not doubts(pd.DataFrame({"parameters": []}))
    said = doubts(pd.DataFrame({"parameters": [sure, *unsure]}))
    assert said == "; the search itself doubts 2 of them: place 2, width 1"


def test_tables_for_people_say_what_was_injected_and_what_quality_and_times_mean(vo):
    rows = json.loads(vo("detections", "search.yaml", "--simulated", "--json")[1])
    _, out, _ = vo("detections", "search.yaml", "--simulated")
    lines = {int(line.split()[0]): line.split()[-1] for line in out.splitlines() if re.match(r" +\d+ ", line)}
    assert lines == {row["id"]: "data" if row["injection_id"] is None else "injected" for row in rows}
    bits = {bit for row in rows for bit in FLAG_NAMES if row["quality"] & bit}
    assert {int(number) for number in re.findall(r"^quality (\d+): \w", out, re.MULTILINE)} == bits
    _, out, _ = vo("list", "projects")
    assert re.search(r" \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", out), out


def test_a_moving_object_is_put_in_once_however_many_images_show_it():
    put = things(
        pd.DataFrame(
            {
                "source": ["f", "f", "f", "f", "g", "s", "s"],
                "kind": ["mover"] * 5 + ["flare"] * 2,
                "body": [0, 0, 1, 1, 0, None, None],
            }
        ),
        [True, False, False, False, True, True, False],
    )
    assert put["events"].tolist() == [2, 2, 1, 1, 1]
    assert put["hits"].tolist() == [1, 0, 1, 1, 0]


def test_a_run_that_gives_nothing_says_the_commonest_reason_and_where_the_others_are(vo, place):
    (place / "lightcurves").mkdir()
    config = CONFIG.replace("cli_test", "nothing").replace(
        "demo: {n_epochs: 60, flare_fraction: 1.0, dip_fraction: 0.0}", "folder: {archive: lightcurves}"
    )
    (place / "nothing.yaml").write_text(config)
    code, out, _ = vo("run", "nothing.yaml", "--data", place / "data")
    said = "fetch:folder gave nothing: 3 of 3 tasks empty, the archive folder holds no table"
    named = f"nothing.yaml --data {place / 'data'}"
    assert (code, said in out, f"`vo status {named}`" in out) == (0, True, True), out
    again = vo("run", "nothing.yaml", "--data", place / "data")[1]
    assert "Nothing to do: all was tried before, and gave nothing." in again
    assert said in again
    assert f"`vo run {named} --refresh` looks again" in again
    assert said in vo("simulate", "nothing.yaml", "--data", place / "data")[1]
    assert "gave nothing" not in vo("run", "search.yaml")[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_ends_with_its_code_and_goes_on_later(place, number, code):
    from virtualobserver.run.views.tables import sql
    from virtualobserver.run.workspace import Workspace

    config = place / f"slow{code}.yaml"
    text = CONFIG.replace("cli_test", f"slow{code}")
    # A seed of its own: projects with equal settings share their data, and there would be nothing to do.
    config.write_text(text.replace("n_epochs: 60", f"n_epochs: 60, seed: {code}, wait_time: 3600"))
    # whoever started the tests may ignore the signal
    heard = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{PROGRAM}"
    words = [sys.executable, "-c", heard, "run", str(config)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ})
    query = "SELECT FROM task WHERE status = 'running'"
    with Workspace() as workspace:
        while sql(workspace, f"SELECT EXISTS ({query}) AS busy", {})["busy"].item() is not True:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == code
    assert "Traceback" not in err
    if code == 130:
        assert "goes on from here" in err
    assert main(["run", str(config), "--set", "observatories.demo.wait_time=0", "--json"]) == 0


def test_the_readme_example_runs(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.search(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[1]
    assert len(example.splitlines()) <= 22
    monkeypatch.delenv("VO_DATABASE_URL", raising=False)
    monkeypatch.setenv("VO_DATA", str(tmp_path))
    names = {"__name__": "readme"}
    exec(compile(example, "README.md", "exec"), names)
    assert not names["summary"].failed
    assert len(names["detections"]) >= 5
    assert names["figure"].axes
    assert "100 epochs" in capsys.readouterr().out


def test_what_can_be_used_by_name_is_listed(vo):
    code, out, _ = vo("list", "--json")
    rows = {(row["what"], row["name"]): row["description"] for row in json.loads(out)}
    assert code == 0
    assert {("survey", "ztf"), ("analysis", "transients"), ("configuration", "demo")} <= set(rows)
    assert all(rows.values()), [name for name, text in rows.items() if not text]
    code, out, _ = vo("list", "projects", "--json")
    sources = {row["project"]: row["sources"] for row in json.loads(out)}
    assert code == 0
    assert sources["cli_test"] > 0


def test_the_module_is_the_command_and_the_shell_completes_configurations(tmp_path):
    (tmp_path / "demolition.yaml").write_text("")
    ask = {"_VO_COMPLETE": "complete_bash", "COMP_WORDS": "vo run demo", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "virtualobserver", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"virtualobserver {__version__}\n"
    words = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=os.environ | ask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert words.stdout.split() == ["demolition.yaml", "demo"]
