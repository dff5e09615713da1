"""Files of the published program: what stands in them is what stands in the database."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from support.real import real_data

from virtualobserver import Project
from virtualobserver.data.table import Table
from virtualobserver.exports.driftscan.exposures import Chip
from virtualobserver.exports.driftscan.pages import Page, extraction_figure
from virtualobserver.exports.driftscan.rows import ASTROMETRY, SAMPLES, extraction_rows
from virtualobserver.exports.driftscan.world import header_of, write_headers
from virtualobserver.run.views.ways_out import find_way_out, write

WAY = find_way_out("driftscan")
NUMBERS = (1058801, 1058802)


@pytest.fixture(scope="module")
def truth():
    with (real_data("decam", "sim") / "truth_stars.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_exposure_has_its_files_and_stars_of_the_list_theirs(tmp_path, url, truth):
    targets = tmp_path / "targets.csv"
    rows = [f"T{n},{truth[n]['ra']},{truth[n]['dec']}" for n in (5, 8)]
    targets.write_text("\n".join(["star_id,ra,dec", *rows, "nobody,92.0,-70.0"]))
    settings = {
        "name": "drift",
        "catalog": {"name": "fields", "rows": [{"name": "LMC", "ra": 92.25, "dec": -70.74, "kind": "field"}]},
        "observatories": {
            "decam": {
                "archive": str(real_data("decam", "sim")), "detrend": {"fewest": 10},
                "targets": {"csv_path": str(targets)},
            }
        },
    }  # fmt: skip
    folder = tmp_path / "files"
    before = {path: path.stat().st_mtime_ns for path in real_data("decam", "sim").iterdir()}
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        assert project.run().failed == 0
        assert write(project, WAY, folder) == 2
        stored = {
            row.unit: row
            for row in project.sql(
                "SELECT u.unit, p.statistics->>'detected' AS n FROM product p JOIN task u ON u.id = p.task_id "
                "WHERE p.role = 'forced'"
            ).itertuples()
        }
    assert len(stored) == 2
    assert {path: path.stat().st_mtime_ns for path in real_data("decam", "sim").iterdir()} == before
    for name in ("demo-extractions.pdf", "demo-extractions-median.pdf"):
        assert (folder / name).read_bytes().startswith(b"%PDF")
    ids = []
    for number in NUMBERS:
        night = folder / "2021-12-10"
        astrometry, sky, extraction, mine = (
            pd.read_csv(night / f"{name}-exp_{number}.csv")
            for name in ("driftastrom", "driftskysub", "driftextract", "target-driftextract")
        )
        assert list(astrometry) == ["index", *ASTROMETRY]
        assert list(sky) == [*astrometry, "sky"]
        assert list(extraction)[: len(list(sky)) + SAMPLES] == [
            *sky, *(f"extraction_{n}" for n in range(SAMPLES)),
        ]  # fmt: skip
        assert {"expnum", "star_id", "time_0", "flux_31", "error_31", "flag_0"} < set(extraction)
        assert set(extraction["star_id"]) == {"no match", "T5", "T8"}
        assert sorted(mine["star_id"]) == ["T5", "T8"]
        assert set(astrometry["cosmic_ray_affected"]) == {0, 1}
        assert np.median(sky["sky"]) == pytest.approx(97.2, abs=1.5)
        assert extraction["expnum"].eq(number).all()
        values = extraction[[f"extraction_{n}" for n in range(SAMPLES)]].to_numpy()
        some = np.isfinite(values).any(axis=1)
        assert np.nanmedian(values[some], axis=1) == pytest.approx(1.0, abs=1e-9)
        times = mine[[f"time_{n}" for n in range(SAMPLES)]].to_numpy()
        assert np.nanmean(times) == pytest.approx(10.0, abs=0.3)
        assert np.nanmedian(np.diff(times, axis=1)) == pytest.approx(0.5266, abs=0.001)
        ids.append(mine.set_index("star_id")["ref_star_id"].to_dict())
        _stars_are_where_the_header_says(night / f"driftwcs-exp_{number}.fits", astrometry)
    assert ids[0] == ids[1]


def _stars_are_where_the_header_says(path, astrometry):
    with fits.open(path) as units:
        assert [unit.name for unit in units[1:]] == ["N28"]
        header = units["N28"].header
        del header["NAXIS"]  # there are no pixels, of which astropy would warn
        x, y = WCS(header).all_world2pix(astrometry["ra_a"], astrometry["dec_a"], 0)
    assert np.median(np.hypot(x - astrometry["x_a"], y - astrometry["y_a"])) < 0.3


def test_the_pipelines_distortion_stays_in_the_header(tmp_path):
    plate = {
        "CTYPE1": "RA---TPV",
        "CTYPE2": "DEC--TPV",
        "CRVAL1": 92.0,
        "CRVAL2": -70.0,
        "PV1_1": 1.02,
        "PV2_1": 1.03,
    }
    names = ("crpix1", "crpix2", "cd1_1", "cd1_2", "cd2_1", "cd2_2", "time", "trail_x", "trail_y", "offset_x",
             "offset_y", "n", "rms")  # fmt: skip
    row = {name: np.array([float(n + 1)]) for n, name in enumerate(names)}
    meta = {"plate": plate, "exposure": 7, "exptime": 20.0, "mjd_start": None}
    chip = Chip("N4", {"wcs": Table(row, {}, meta)}, {})
    cards = header_of(chip)
    assert (cards["PV1_1"], cards["CRPIX1"], cards["CD2_2"], cards["DRRMS"]) == (1.02, 1.0, 6.0, 13.0)
    write_headers(tmp_path / "w.fits", [chip])
    assert fits.getheader(tmp_path / "w.fits", "N4")["PV2_1"] == 1.03
    write_headers(tmp_path / "none.fits", [])
    assert not (tmp_path / "none.fits").exists()


def test_samples_are_the_middle_of_the_trail_and_what_is_missing_stays_so():
    along = np.arange(40.0) - 1.0  # 38 pixels from 0, one sample beyond each end
    keep = np.arange(40) != 20
    columns = {
        "trail": np.zeros(39, np.int64), "along": along[keep], "time": (along / 1.9)[keep],
        "flux": np.full(39, 50.0), "flux_error": np.full(39, 2.0), "flags": np.zeros(39, np.int64),
        "relative": np.where(along[keep] == 30, 3.0, 2.0),
    }  # fmt: skip
    detrended = Table(columns, {}, {"speed": 1.9, "exptime": 20.0})
    forced = Table({"source_id": np.arange(2)}, {}, {})
    rows = extraction_rows(Chip("N4", {"detrended": detrended, "samples": detrended, "forced": forced}, {}))
    assert rows["extraction_27"].iloc[0] == pytest.approx(1.5)  # the pulse, over the median
    assert rows["time_0"].iloc[0] == pytest.approx(3 / 1.9)
    assert rows["extraction_16"].isna().all()
    assert rows["flag_16"].isna().all()
    assert rows.iloc[1].isna().all()  # a trail without samples


def test_pages_show_a_pulse_whole_and_leave_gaps_for_exposures_that_are_missing():
    values = np.ones(32)
    values[5] = 1.6
    pages = [
        Page("T1", 1, "2021-12-10", number, values, np.full(32, 0.01), 1e4, 50.0, 0.53, masked=number == 9)
        for number in (3, 9, 50)
    ]
    figure = extraction_figure(pages)
    first, second = figure.axes
    assert first.get_ylim()[1] > 1.6
    assert first.get_xticklabels()[0].get_text() == "3"
    assert second.get_xticklabels()[0].get_text() == "43"
    assert len(first.containers) == 2
    assert len(second.containers) == 1
