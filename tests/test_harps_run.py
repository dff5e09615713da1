"""The HARPS survey through the whole path: simulator or folder, raw rows, products, files."""

from __future__ import annotations

import numpy as np
import pytest
from support_harps import adp
from support_real import real_data

from virtualobserver import Project
from virtualobserver.maths import spectrum_flags as flags
from virtualobserver.observatories.harps.tree import write_tree


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
    star = {"name": "star", "ra": 86.8212, "dec": -51.0665, "epoch": 2016.0, "scenario": ""}
    with opened(tmp_path, url, configuration([star], archive=str(folder))) as project:
        project.run()
        assert [row.n for row in project.source("star").spectra] == [3, 3]
        assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
        sets = {row.series: row.data for row in project.source("star").spectra}
        assert write_tree(tmp_path / "tree", [("star", sets)]) == 1
    assert np.load(tmp_path / "tree" / "star" / "spec" / "sK.npy").shape == (3, 2000)


@pytest.mark.real
def test_real_folder_runs_with_a_target_list_made_from_it(tmp_path, url):
    from support_harps import Client

    from virtualobserver.observatories.harps import VirtualHARPS

    folder = real_data("harps", "abdor_uves_adp")
    rows = VirtualHARPS().catalogue(Client(folder))
    settings = configuration([{**row, "scenario": ""} for row in rows], archive=str(folder))
    with opened(tmp_path, url, settings) as project:
        project.run()
        (k,) = [row for row in project.source("AB-Dor").spectra if row.series == "K"]
        assert (k.n, k.statistics["n_nights"]) == (14, 1)
        assert set(k.data.epochs["era"].tolist()) == {20}
