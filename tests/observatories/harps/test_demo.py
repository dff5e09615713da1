"""The offline HARPS demonstration from raw files to classes, completeness and pictures."""

import json
import re

import numpy as np
import pytest
from support.paths import ROOT

from virtualobserver import Project
from virtualobserver.cli import main

DEMO = ROOT / "configs" / "harps_demo.yaml"
NIGHT_START = 0.5
DEFECTS = {
    "dead": "no signal",
    "nan": "no numbers",
    "absurd": "absurd values",
    "spikes": "absurd values",
    "keywords": "keyword EXPTIME",
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demonstration, run once."""
    from virtualobserver.run.workspace import Workspace

    folder = tmp_path_factory.mktemp("harps_demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("VO_DATABASE_URL", raising=False)
        patch.setenv("VO_DATA", str(folder))
        with Workspace(), Project.open(DEMO, overrides=["run.workers=1"]) as project:
            summary = project.run()
            assert summary.failed == 0
            yield project


def truth(project):
    """Return what the raw files say was put in: star, time, scenario, comets, defect."""
    rows = project.sql(
        "SELECT s.name, w.t_min, w.header->'truth' AS truth FROM raw_data w "
        "JOIN source_raw l ON l.raw_data_id = w.id JOIN source s ON s.id = l.source_id "
        "WHERE w.format = 'fits' ORDER BY s.name, w.t_min"
    )
    return [(row.name, row.t_min, row.truth) for row in rows.itertuples(index=False)]


def comets(project):
    """Return {(star, night): comet} for every night in which a comet stood before a star in a usable spectrum."""
    found = {}
    for name, mjd, told in truth(project):
        if told["defect"] not in {"dead", "absurd"}:
            for comet in told["comets"]:
                found[name, int(np.floor(mjd - NIGHT_START))] = (comet, mjd)
    return found


def events(project):
    table = project.detections(simulated=True)
    table = table[table["injection_id"].isna()]
    return [(row.source, row.kind, row.parameters) for row in table.itertuples()]


def classes(project):
    rows = project.sql("SELECT s.name, r.props FROM properties r JOIN source s ON s.id = r.source_id")
    return {row.name: row.props for row in rows.itertuples(index=False)}


def test_every_comet_is_a_candidate_with_its_parameters_and_nothing_else_is(demo):
    expected = comets(demo)
    assert {name for name, _ in expected} == {"Comet 1", "Comet 2", "Defects"}
    found = {(name, p["night"]): p for name, kind, p in events(demo) if kind == "exocomet_candidate"}
    assert set(found) == set(expected)
    for key, (comet, _) in expected.items():
        event = found[key]
        assert event["velocity"] == pytest.approx(comet["v"], abs=3.0), key
        assert event["fwhm"] == pytest.approx(np.hypot(comet["fwhm"], 2.61), rel=0.35), key
        assert event["depth_k"] == pytest.approx(comet["depth"], rel=0.2), key
        if event["coverage_h"] > 0.9:
            assert event["ratio"] == pytest.approx(comet["ratio"], abs=4 * event["ratio_error"] + 0.03), key


def test_stars_have_the_class_of_their_scenario(demo):
    scenario = {name: told["scenario"] for name, _, told in truth(demo)}
    expected = {
        "comet": {"exocomet_candidate"}, "quiet": {"quiet"}, "active": {"activity"}, "binary": {"binary"},
        "interstellar": {"quiet"}, "defects": {"exocomet_candidate"},
    }  # fmt: skip
    assert set(scenario.values()) == set(expected)
    for name, props in classes(demo).items():
        assert props["class"] in expected[scenario[name]], name


def test_active_star_and_binary_have_events_of_their_own_kind_only(demo):
    kinds = {star: {kind for name, kind, _ in events(demo) if name == star} for star in ("Active", "Binary")}
    assert kinds["Active"] == {"activity"}
    assert kinds["Binary"] <= {"binary"}
    assert classes(demo)["Binary"]["n_candidates"] == 0
    assert classes(demo)["Binary"]["rate"] is None


def test_every_defect_is_named_in_the_row_of_its_exposure(demo):
    damaged = {
        round(mjd, 4): told["defect"]
        for name, mjd, told in truth(demo)
        if name == "Defects" and told["defect"]
    }
    assert sorted(damaged.values()) == sorted(DEFECTS)
    sets = {row.series: row.data for row in demo.source("Defects").spectra}
    named = truth(demo)
    starts = [mjd for name, mjd, _ in named if name == "Defects"]
    for row, start in enumerate(starts):
        told = damaged.get(round(start, 4), "")
        reasons = " ".join(str(data.epochs["reason"][row]) for data in sets.values())
        quality = max(int(data.epochs["quality"][row]) for data in sets.values())
        if told:
            assert DEFECTS[told] in reasons, told
            assert quality > 0
    left = classes(demo)["Defects"]
    assert left["n_spectra"] - left["n_searched"] == 2  # the dead one and the one of absurd values
    assert len(left["left_out"]) == 2


def documented_query(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    (statement,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    return statement


@pytest.mark.parametrize("page", ["README.md", "docs/exocomets.md"])
def test_documented_query_lists_stars_with_candidates_and_their_nights(demo, page):
    query = documented_query(page)
    assert demo.sql(query.replace("FROM detections_all ", "FROM detections ")).empty  # the view of real data
    table = demo.sql(query)  # as it stands: whoever tries it after the demonstration sees something
    strong = {}
    for name, kind, p in events(demo):
        if kind == "exocomet_candidate" and abs(p["velocity"]) < 50:
            strong.setdefault(name, set()).add(p["night"])
    assert dict(zip(table["star"], table["nights"], strict=True)) == {k: len(v) for k, v in strong.items()}
    assert (table["best_snr"] > 7).all()
    assert (table["nights_observed"] == 6).all()


def test_injections_give_completeness_and_rates_of_stars_classes_and_the_sample(demo, tmp_path, capsys):
    small = ["simulate", str(DEMO), "--number", "5", "--json", "--set", "run.workers=1"]
    assert main(small) == 0
    answer = json.loads(capsys.readouterr().out)
    rates = answer["population"]["exocomets"]
    assert {row["group"] for row in rates} == {"star", "class", "all"}
    (whole,) = [row for row in rates if row["group"] == "all"]
    stars = [row for row in rates if row["group"] == "star"]
    assert whole["n_found"] == sum(row["n_found"] for row in stars) == len(comets(demo))
    assert whole["rate_low"] < whole["rate"] < whole["rate_high"]
    quiet = next(row for row in stars if row["name"] == "Quiet")
    assert (quiet["n_found"], quiet["rate"]) == (0, 0)
    assert quiet["rate_limit"] > 0
    assert "Binary" not in {row["name"] for row in stars}

    with Project.open(DEMO, overrides=["analyses.exocomets.simulate.number=5", "run.workers=1"]) as project:
        cells = project.efficiency(by=("source", "depth", "fwhm", "velocity"), bins=3)
        assert cells["injected"].sum() == 35
        assert {"source", "depth_low", "fwhm_low", "velocity_low", "efficiency"} <= set(cells)
        assert (cells["velocity_low"] < 0).any()
        assert cells[cells["depth_low"] > 0.1]["found"].sum() >= 5
        (row,) = project.rates().to_dict("records")
        assert (row["kind"], row["injected"], row["covered"], row["unit"]) == ("comet", 35, 35, "night")
        assert row["exposure"] == 7 * 6
        assert row["found"] >= whole["n_found"]
        assert row["rate_low"] < row["rate"] < row["rate_high"] < row["rate_limit"]
    assert main(["plot", str(DEMO), "--sample", "--out", str(tmp_path / "hr.png")]) == 2
    assert main(["plot", str(DEMO), "--sample", "--simulated", "--out", str(tmp_path / "hr.png")]) == 0
    out = tmp_path / "sample.png"
    assert main(["plot", str(DEMO), "--population", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_plot_of_a_star_is_the_figure_of_the_analysis(demo, tmp_path):
    (figure,) = demo.figures("Comet 1").values()
    titles = [axes.get_title("left") for axes in figure.axes]
    assert figure.get_suptitle() == "Comet 1"
    assert "Hertzsprung-Russell diagram" in titles
    number = demo.detections(simulated=True).query("source == 'Comet 1'")["id"].iloc[0]
    for words in (["Comet 1"], ["--detection", str(number)]):
        out = tmp_path / f"{words[-1]}.png"
        assert main(["plot", str(DEMO), *words, "--out", str(out)]) == 0
        assert out.read_bytes().startswith(b"\x89PNG")
