"""The HARPS survey through the whole path: simulator or folder, raw rows, products, files."""

from __future__ import annotations

import numpy as np
import pytest
from support.harps import adp, row, votable
from support.loopback import Act, Loopback
from support.paths import ROOT
from support.real import real_data
from support.star import BETA, GAIA, answer, objects

from virtualobserver import Project
from virtualobserver.cli import main
from virtualobserver.errors import ConfigError
from virtualobserver.maths.spectra import flags
from virtualobserver.run.views.ways_out import find_way_out, write


def configuration(rows, **options):
    return {
        "name": "harps_test",
        "catalog": {"name": "stars", "rows": rows, "columns": {"extra": ["scenario"]}},
        "observatories": {"harps": options},
    }


def opened(tmp_path, url, settings):
    return Project.open(settings, data=tmp_path / "data", url=url)


def test_simulated_stars_become_two_sets_of_spectra_each_and_nothing_is_done_twice(tmp_path, url):
    rows = [
        {"name": name, "ra": 10.0 * n, "dec": -20.0, "scenario": name}
        for n, name in enumerate(("quiet", "defects"), 1)
    ]
    small = {"archive": "simulated", "simulation": {"nights": 3, "per_night": 2, "dead_fraction": 0.0}}
    with opened(tmp_path, url, configuration(rows, **small)) as project:
        project.run()
        products = project.sql(
            "SELECT s.name, p.series, p.n, p.n_good, p.statistics, p.simulated FROM product p JOIN source s "
            "ON s.id = p.source_id ORDER BY s.name, p.series"
        )
        assert products[["name", "series"]].values.tolist() == [
            ["defects", "H"], ["defects", "K"], ["quiet", "H"], ["quiet", "K"],
        ]  # fmt: skip
        assert products["n"].tolist() == [6] * 4
        assert products["simulated"].all()
        assert products["n_good"].tolist() == [4, 4, 6, 6]
        raw = project.sql("SELECT archive_id, header FROM raw_data WHERE format = 'fits' ORDER BY t_min")
        assert len(raw) == 12
        assert {header["store"] for header in raw["header"]} == {"windows"}
        assert {header["truth"]["defect"] for header in raw["header"]} == {
            "", "dead", "nan", "absurd", "spikes", "keywords",
        }  # fmt: skip
        data = next(row.data for row in project.source("defects").spectra if row.series == "K")
        assert data.epochs["quality"][0] == flags.QUALITY_DEAD
        assert "no signal" in data.epochs["reason"][0]
        assert data.meta["gaia"]["source_id"].startswith("47927")
        assert project.run().worked == 0


def test_folder_stays_as_it_is_and_a_new_spectrum_is_added(tmp_path, url):
    folder = tmp_path / "fits"
    folder.mkdir()
    for n in range(3):
        (folder / f"ADP.{n}.fits").write_bytes(adp(n))
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    target = {"name": "star", "ra": 86.8212, "dec": -51.0665, "epoch": 2016.0, "scenario": ""}
    with opened(tmp_path, url, configuration([target], archive=str(folder))) as project:
        project.run()
        assert [row.n for row in project.source("star").spectra] == [3, 3]
        assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
        assert write(project, find_way_out("harps-dataset"), tmp_path / "tree") == 1
    assert np.load(tmp_path / "tree" / "star" / "spec" / "sK.npy").shape == (3, 2000)


@pytest.mark.real
def test_real_folder_runs_with_a_target_list_made_from_it(tmp_path, url):
    settings = {
        "name": "harps_test",
        "catalog": {"survey": "harps"},
        "observatories": {"harps": {"archive": str(real_data("harps", "abdor_uves_adp"))}},
    }
    with opened(tmp_path, url, settings) as project:
        project.run()
        (k,) = [row for row in project.source("AB-Dor").spectra if row.series == "K"]
        assert (k.n, k.statistics["n_nights"]) == (14, 1)
        assert set(k.data.epochs["era"].tolist()) == {20}


PARAM = """{"threshold": -4, "med_filter_bin": 3, "rv_min": -200, "rv_max": 200, "cutoff": 2, "width_filt": 3,
  "SNR_cut": 10, "cores": 4, "dataset": "../HARPS-dataset/", "method": "published"}"""


@pytest.mark.parametrize("own", ["{}", PARAM], ids=["matched", "param.json"])
def test_example_of_the_manual_runs_over_a_folder_and_writes_the_published_tree(
    tmp_path, url, monkeypatch, own
):
    page = (ROOT / "docs" / "harps.md").read_text(encoding="utf-8")
    text = page.partition("```yaml\n")[2].partition("```")[0]
    assert "exocomets: {}" in text
    config = tmp_path / "my_spectra.yaml"
    config.write_text(text.replace("exocomets: {}", f"exocomets: {own}"))
    (tmp_path / "fits").mkdir()
    for n in range(4):
        (tmp_path / "fits" / f"ADP.{n}.fits").write_bytes(adp(n, OBJECT="HD-39060"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VO_DATABASE_URL", url)
    monkeypatch.setenv("VO_DATA", str(tmp_path / "data"))
    assert main(["run", "my_spectra.yaml", "--json"]) == 0
    assert main(["export", "my_spectra.yaml", "harps_dataset", "--out", "dataset"]) == 0
    (star,) = (tmp_path / "dataset").iterdir()
    assert star.name == "hd39060"
    assert {path.name for path in star.iterdir()} == {"spec", "wavelength", "meta"}
    assert np.load(star / "spec" / "sK.npy").shape == (4, 2000)
    with Project.open(config, data=tmp_path / "data", url=url) as project:
        (settings,) = [step.instance.settings for step in project.steps if step.kind == "analyse"]
        assert settings.method == ("matched" if own == "{}" else "published")
        assert settings.snr_cut == (0.0 if own == "{}" else 10.0)


def test_a_target_list_from_a_survey_is_kept_until_a_refresh(tmp_path, url):
    folder = tmp_path / "fits"
    folder.mkdir()
    (folder / "ADP.0.fits").write_bytes(adp(0))
    settings = {
        "name": "harps_test",
        "catalog": {"survey": "harps"},
        "observatories": {"harps": {"archive": str(folder)}},
    }
    with opened(tmp_path, url, settings) as project:
        project.run()
        assert [source.kind for source in project.sources] == ["object"]
        (folder / "ADP.1.fits").write_bytes(adp(1, ra=10.0, dec=-10.0))
        project.import_catalogue()
        assert len(project.sources) == 1
        project.import_catalogue(refresh=True)
        project.live.expire_all()
        assert len(project.sources) == 2
    with (
        opened(tmp_path, url, settings | {"catalog": {"survey": "ztf"}}) as wrong,
        pytest.raises(ConfigError, match="no survey 'ztf'; it has harps"),
    ):
        wrong.run()


def addresses(server):
    """Return the settings that name a server of the loopback interface for every service."""
    paths = {
        "tap_url": "",
        "file_url": "/file/",
        "token_url": "/token",
        "gaia_url": "/gaia",
        "simbad_url": "/simbad",
    }
    return {name: server.url + path for name, path in paths.items()}


def test_a_download_broken_off_goes_on_with_what_is_missing(tmp_path, url):
    contents = [adp(n) for n in range(3)]
    rows = [row(n, content) for n, content in enumerate(contents)]
    target = {"name": "star", "ra": 86.8212, "dec": -51.0665, "epoch": 2016.0, "scenario": ""}
    with (
        Loopback() as server,
        opened(
            tmp_path,
            url,
            configuration([target], reference="never", simbad="never", rate=100.0, **addresses(server)),
        ) as project,
    ):
        server.on("/sync", Act(body=votable(rows)))
        for each, content in zip(rows, contents, strict=True):
            server.on(f"/file/{each['dp_id']}", Act(body=content))
        server.on(f"/file/{rows[1]['dp_id']}", Act(status=404))
        summary = project.run()
        assert "1 of 3 products of star missing" in summary.failures[0]["error"]
        assert project.sql("SELECT count(*) AS n FROM raw_data WHERE format = 'fits'")["n"][0] == 2
        server.on(f"/file/{rows[1]['dp_id']}", Act(body=contents[1]))
        before = len(server.asked)
        project.run()
        assert [a.path for a in server.asked[before:] if "/file/" in a.path] == [f"/file/{rows[1]['dp_id']}"]
        assert [found.n for found in project.source("star").spectra] == [3, 3]


def test_what_catalogues_know_of_a_star_reaches_its_properties_and_is_asked_once(tmp_path, url):
    contents = [adp(n) for n in range(4)]
    rows = [row(n, content) for n, content in enumerate(contents)]
    target = {"name": "bet Pic", "ra": 86.8212, "dec": -51.0665, "alias": "HD 39060", "scenario": ""}
    with (
        Loopback() as server,
        opened(
            tmp_path,
            url,
            configuration([target], rate=100.0, **addresses(server)) | {"analyses": {"exocomets": {}}},
        ) as project,
    ):
        server.on("/sync", Act(body=votable(rows)))
        for each, content in zip(rows, contents, strict=True):
            server.on(f"/file/{each['dp_id']}", Act(body=content))
        server.on("/simbad/sync", Act(body=objects(BETA)))
        server.on("/gaia/sync", Act(status=403))
        assert "403" in project.run().failures[0]["error"]
        # the next run asks for what is missing only
        server.on("/gaia/sync", Act(body=answer(GAIA)), Act(body=answer({"n": [2]})))
        asked = len(server.asked)
        assert project.run().failed == 0
        assert {one.path for one in server.asked[asked:]} == {"/sync", "/gaia/sync"}
        formats = project.sql("SELECT format, count(*) AS n FROM raw_data GROUP BY format ORDER BY format")
        assert formats.to_numpy().tolist() == [["csv", 1], ["fits", 4], ["votable", 1]]
        (known,) = project.sql("SELECT props FROM properties")["props"]
        assert (known["simbad_main_id"], known["simbad_sptype"], known["spectral_class"]) == (
            "* bet Pic", "A6V", "A",
        )  # fmt: skip
        assert "HD 39060" in known["simbad_aliases"]
        assert known["simbad_pmdec"] == 83.1
        assert known["gaia_source_id"] == "4792774797545800832"
