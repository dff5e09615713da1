"""Frames of cameras in any folder, from files to calibrated images: which are found, matched, turned, trusted."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from support.astep import FIELD, change, drive, frames, write_night
from support.real import real_data

from virtualobserver import Project
from virtualobserver.ccd.folder import folder_raws
from virtualobserver.ccd.limits import ceiling_of, fill_holes, saturation_of
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.conventions import MASK_COSMIC_RAY, MASK_NO_DATA, MASK_SATURATED
from virtualobserver.errors import ConfigError
from virtualobserver.io.kbmod.workunit import read_workunit
from virtualobserver.run.views.ways_out import find_way_out, write

SHAPE = (40, 44)
PLAIN = {
    "DATE-OBS": "2024-05-01T22:10:11", "EXPTIME": 60.0, "IMAGETYP": "LIGHT", "GAIN": 1.0, "RDNOISE": 5.0,
    "CCD-TEMP": -10.0,
}  # fmt: skip


def frame(path: Path, level: Any = 1000.0, *, noise: float = 5.0, seed: int = 0, **cards: Any) -> Path:
    """Write a frame; `level` is its expected counts, cards come on top of `PLAIN` (None takes one out)."""
    shape = np.shape(level) or SHAPE
    counts = np.rint(np.random.default_rng(seed).normal(level, noise, shape))
    return written(path, np.clip(counts, 0, 65535).astype(np.uint16), **cards)


def written(path: Path, counts: Any, **cards: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = fits.Header()
    for key, value in ({**PLAIN, **{k.replace("_", "-"): v for k, v in cards.items()}}).items():
        if value is not None:
            header[key] = value
    fits.PrimaryHDU(counts, header).writeto(path, overwrite=True)
    return path


def driven(folder: Path, **options: Any) -> Any:
    done = drive(folder, layout="folder", **{"without_dark": "flag", **options})
    assert not done.errors, done.errors
    return done


def test_frames_of_the_same_name_in_two_folders_are_two(tmp_path):
    frame(tmp_path / "night1" / "images" / "a.fits", 1000)
    frame(tmp_path / "night2" / "images" / "a.fits", 2000)
    found = driven(tmp_path).frames
    assert {unit: round(one.statistics["sky"], -2) for unit, one in found.items()} == {
        "2024-05-01/night1~images~a": 1000, "2024-05-01/night2~images~a": 2000,
    }  # fmt: skip


def test_frames_of_the_same_path_in_two_archive_folders_are_two(tmp_path):
    for name in ("one", "two"):
        frame(tmp_path / name / "a.fits")
    raws = folder_raws([tmp_path / "one", tmp_path / "two"], CCDSettings())
    assert [raw.archive_id for raw in raws] == ["a.fits", "two/a.fits"]
    assert len({raw.header["frame"] for raw in raws}) == 2


def test_a_frame_beside_its_packed_twin_is_one(tmp_path):
    path = frame(tmp_path / "a.fits")
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert len(folder_raws([tmp_path], CCDSettings())) == 1


def test_two_files_of_one_name_are_refused_and_named(tmp_path):
    frame(tmp_path / "a.fits")
    frame(tmp_path / "a.fit")
    done = drive(tmp_path, layout="folder", without_dark="flag")
    (error,) = done.errors.values()
    assert "a.fit and a.fits are frames of one name" in str(error)


@pytest.mark.parametrize("overscan", ["subtract", "ignore"])
def test_trimming_moves_the_world_coordinates_with_the_pixels(tmp_path, overscan):
    world = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0, "CRPIX1": 30.5, "CRPIX2": "22.0",
        "CDELT1": -3e-4, "CDELT2": 3e-4, "CRPIX1A": 7.0, "LTV1": 0.0, "TRIMSEC": "[5:44,3:40]", "BIASSEC": "[1:4,1:40]",
    }  # fmt: skip
    level = np.full(SHAPE, 1000.0)
    level[:, :4] = 300.0
    frame(tmp_path / "a.fits", level, **world)
    (product,) = driven(tmp_path, overscan=overscan).frames.values()
    header = product.data.header
    assert product.data.data.shape == (38, 40)
    assert (header["CRPIX1"], header["CRPIX2"], header["CRPIX1A"], header["LTV1"]) == (26.5, 20.0, 3.0, -4.0)
    assert not {"TRIMSEC", "BIASSEC"} & set(header)
    assert product.data.wcs.all_pix2world(25.5, 19.0, 0) == pytest.approx([10.0, 20.0])


def test_frames_of_each_setting_of_a_camera_get_masters_of_their_own(tmp_path):
    for n in range(3):
        frame(tmp_path / f"low{n}.fits", 300, seed=n, IMAGETYP="DARK", GAIN=0, EGAIN=1.0, OFFSET=10)
        frame(tmp_path / f"high{n}.fits", 900, seed=n, IMAGETYP="DARK", GAIN=300, EGAIN=0.1, OFFSET=50)
    frame(tmp_path / "light.fits", 1500, GAIN=300, EGAIN=0.1, OFFSET=50)
    frame(tmp_path / "other.fits", 1500, GAIN=150, EGAIN=0.3, OFFSET=50)
    done = driven(tmp_path)
    assert sorted(one.info.statistics["n_combine"] for one in done.masters.values()) == [3, 3]
    light, other = (done.frames[f"2024-05-01/{name}"] for name in ("light", "other"))
    assert light.statistics["sky"] == pytest.approx(60, abs=1)
    assert not light.statistics["flagged"]
    assert (
        "no master dark of this camera, shape, binning and settings (gain 150, offset 50)"
        in other.statistics["flagged"][0]
    )


def test_darks_of_another_gain_are_left_out_of_a_stack_by_name(tmp_path):
    for n in range(3):
        frame(tmp_path / f"dark{n}.fits", 300, seed=n, IMAGETYP="DARK")
    frame(tmp_path / "odd.fits", 700, IMAGETYP="DARK", GAIN=2.0)
    (master,) = driven(tmp_path).masters.values()
    assert master.info.statistics["n_combine"] == 3
    assert "a gain of 2 e-/ADU, the others 1" in master.info.statistics["left_out"]["odd.fits"]


def test_a_finished_master_among_raw_frames_is_left_out_and_alone_it_is_used(tmp_path):
    frame(tmp_path / "finished.fits", 700, IMAGETYP="Master Dark")
    frame(tmp_path / "light.fits", 1500)
    (master,) = driven(tmp_path).masters.values()
    assert (master.info.statistics["n_combine"], master.info.statistics["left_out"]) == (1, {})
    for n in range(3):
        frame(tmp_path / f"dark{n}.fits", 300, seed=n, IMAGETYP="DARK")
    done = driven(tmp_path)
    (master,) = done.masters.values()
    assert master.info.statistics["n_combine"] == 3
    assert "a finished master; the 3 raw frames" in master.info.statistics["left_out"]["finished.fits"]
    assert np.median(done.frames["2024-05-01/light"].data.data) == pytest.approx(1200, abs=2)


@pytest.mark.parametrize(
    ("cards", "turn"),
    [({"FLIPSTAT": "Flip"}, (-1, 1)), ({"FLIPSTAT": "Mirror"}, (1, -1)), ({"FLIPSTAT": "Flip/Mirror"}, (-1, -1)),
     ({"ROWORDER": "TOP-DOWN"}, (-1, 1)), ({"FLIPSTAT": "Flip", "ROWORDER": "TOP-DOWN"}, (1, 1))],
)  # fmt: skip
def test_a_master_of_the_other_orientation_is_turned(tmp_path, cards, turn):
    pattern = np.add.outer(np.arange(SHAPE[0]) * 10.0, np.arange(SHAPE[1]) * 3.0) + 300
    for n in range(5):
        frame(tmp_path / f"dark{n}.fits", pattern, seed=n, IMAGETYP="DARK")
    frame(tmp_path / "light.fits", pattern[:: turn[0], :: turn[1]] + 1000, seed=9, **cards)
    (product,) = driven(tmp_path).frames.values()
    assert np.std(product.data.data) < 8
    (as_it_is,) = driven(tmp_path, flipstat=False).frames.values()
    assert (np.std(as_it_is.data.data) < 8) == (turn == (1, 1))


def test_an_orientation_that_nobody_knows_gets_no_master(tmp_path):
    for n in range(3):
        frame(tmp_path / f"dark{n}.fits", 300, seed=n, IMAGETYP="DARK")
    frame(tmp_path / "light.fits", FLIPSTAT="Rotated 90")
    (product,) = driven(tmp_path).frames.values()
    assert "flip Rotated 90" in product.statistics["flagged"][0]


def test_all_amplifiers_of_a_file_are_frames_with_masters_of_their_own(tmp_path):
    def mosaic(path, levels, **cards):
        header = fits.Header()
        header.update({**PLAIN, **{k.replace("_", "-"): v for k, v in cards.items()}})
        rng = np.random.default_rng(len(path.name))
        units = [
            fits.ImageHDU(rng.normal(level, 5, SHAPE).astype(np.float32), name=f"AMP{n + 1}")
            for n, level in enumerate(levels)
        ]
        fits.HDUList([fits.PrimaryHDU(header=header), *units]).writeto(path)

    for n in range(3):
        mosaic(tmp_path / f"dark{n}.fits", [300, 400], IMAGETYP="DARK")
    mosaic(tmp_path / "light.fits", [1300, 2400])
    done = driven(tmp_path)
    assert sorted(done.masters) == [f"dark/40x44/1x1/AMP{n}/60s/-10C/2024-05-01" for n in (1, 2)]
    assert [round(done.frames[f"2024-05-01/light~AMP{n}"].statistics["sky"], -1) for n in (1, 2)] == [
        1000,
        2000,
    ]


def test_thumbnails_and_planes_that_belong_to_a_frame_are_left_out_and_named(tmp_path):
    units = [
        fits.PrimaryHDU(header=fits.Header(PLAIN)),
        fits.ImageHDU(np.zeros((8, 8), np.uint8), name="SMALL"),
        fits.ImageHDU(np.full(SHAPE, 2000, np.uint16), name="SCI"),
        fits.ImageHDU(np.zeros(SHAPE, np.uint16), name="DQ"),
    ]
    fits.HDUList(units).writeto(tmp_path / "a.fits")
    ((unit, product),) = driven(tmp_path).frames.items()
    assert unit == "2024-05-01/a"
    assert np.median(product.data.data) == 2000
    notes = [line for line in product.data.header["HISTORY"] if "no frame" in line]
    assert [("SMALL" in line, "DQ" in line) for line in notes] == [(True, False), (False, True)]


def test_a_cube_of_one_plane_is_a_frame_and_one_of_several_is_refused(tmp_path):
    written(tmp_path / "one.fits", np.full((1, *SHAPE), 1000, np.uint16))
    written(tmp_path / "three.fits", np.full((3, *SHAPE), 1000, np.uint16))
    written(tmp_path / "dark.fits", np.full((1, *SHAPE), 300, np.uint16), IMAGETYP="DARK")
    done = drive(tmp_path, layout="folder", without_dark="flag")
    ((unit, product),) = done.frames.items()
    assert (unit, product.data.data.shape) == ("2024-05-01/one", SHAPE)
    (error,) = done.errors.values()
    assert "a cube of shape 3 x 40 x 44" in str(error)


@pytest.mark.parametrize("top", [4095, 16383, 65520])
def test_the_ceiling_of_a_camera_is_recognised_and_its_stars_are_no_cosmic_rays(tmp_path, top):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    star = 3.0 * top * np.exp(-((y - 20.3) ** 2 + (x - 22.4) ** 2) / 8)
    counts = np.clip(np.random.default_rng(1).normal(300 + star, 5), 0, top).astype(np.uint16)
    written(tmp_path / "a.fits", counts)
    (product,) = driven(tmp_path, halo_sigma=0).frames.values()
    mask = product.data.mask
    assert (mask[counts == top] & MASK_SATURATED).all()
    assert not (mask[counts == top] & MASK_COSMIC_RAY).any()
    assert product.data.header["SATURUSE"] == top


@pytest.mark.parametrize("key", ["SATURATE", "DATAMAX"])
def test_the_header_says_where_a_camera_saturates(tmp_path, key):
    level = np.full(SHAPE, 300.0)
    level[18:22, 20:24] = 30500.0
    frame(tmp_path / "a.fits", level, **{key: 30000})
    (product,) = driven(tmp_path, cosmic_rays="off").frames.values()
    assert (product.data.mask[18:22, 20:24] & MASK_SATURATED).all()
    assert product.data.header["SATURUSE"] == 30000


def test_a_largest_value_is_no_ceiling_by_itself():
    data = np.random.default_rng(1).normal(1000, 10, SHAPE).astype(np.uint16)
    data[5, 5] = 4095
    assert ceiling_of(data) == np.inf
    assert saturation_of(4095.0, data) == np.inf  # DATAMAX that is just the largest value of the frame
    assert ceiling_of(np.full(SHAPE, 300, np.uint16)) == np.inf
    data[5:8, 5:8] = 51234
    assert ceiling_of(data) == 51234


def test_saturated_pixels_are_seen_after_an_overscan_was_subtracted(tmp_path):
    level = np.full(SHAPE, 1300.0)
    level[:, :4], level[20:24, 20:24] = 300.0, 70000.0
    frame(tmp_path / "a.fits", level, TRIMSEC="[5:44,1:40]", BIASSEC="[1:4,1:40]", SATURATE=65535)
    (product,) = driven(tmp_path, overscan="subtract", cosmic_rays="off").frames.values()
    assert (product.data.mask[20:24, 16:20] & MASK_SATURATED).all()


@pytest.mark.parametrize("size", [1, 6])
def test_pixels_without_data_are_masked_and_no_ring_round_them_is(tmp_path, size):
    data = np.random.default_rng(2).normal(1000, 32, (60, 60)).astype(np.float32)
    data[20 : 20 + size, 30 : 30 + size] = np.nan
    written(tmp_path / "a.fits", data)
    (product,) = driven(tmp_path).frames.values()
    mask, hole = product.data.mask, np.isnan(data)
    assert (mask[hole] & MASK_NO_DATA).all()
    assert not (mask[~hole] & (MASK_NO_DATA | MASK_COSMIC_RAY)).any()
    assert product.data.data[hole] == pytest.approx(1000, abs=40)


def test_holes_are_filled_from_their_surroundings():
    data = np.add.outer(np.arange(50.0), np.zeros(50))
    data[:, 10:30] = np.nan
    filled, holes = fill_holes(data)
    assert holes.sum() == 1000
    assert np.abs(filled - np.arange(50.0)[:, None]).max() <= 1.5
    whole = np.ones((3, 3))
    assert fill_holes(whole) == (whole, None)


def test_times_in_another_scale_are_turned_and_the_header_agrees_with_itself(tmp_path):
    frame(tmp_path / "a.fits", TIMESYS="TAI", MJD_OBS=60431.92373843)
    (product,) = driven(tmp_path).frames.values()
    header = product.data.header
    assert header["MJD-MID"] == pytest.approx(60431.923657407, abs=1e-8)
    assert (header["TIMESYS"], header["DATE-OBS"], header["TIMEWAS"]) == (
        "UTC",
        "2024-05-01T22:09:34.000",
        "TAI",
    )
    assert "MJD-OBS" not in header


def test_a_dark_whose_scaling_adds_more_noise_than_it_takes_away_is_not_used(tmp_path):
    rng = np.random.default_rng(3)
    for n in range(5):
        frame(tmp_path / f"bias{n}.fits", 300, seed=n, IMAGETYP="BIAS", EXPTIME=0.0)
        frame(tmp_path / f"dark{n}.fits", 300, seed=9 + n, IMAGETYP="DARK", EXPTIME=2.0)
    written(
        tmp_path / "a.fits",
        (rng.poisson(1000, SHAPE) + rng.normal(300, 5, SHAPE)).astype(np.uint16),
        EXPTIME=300.0,
    )
    done = drive(tmp_path, layout="folder")  # refused is only what no masters suit
    (product,) = done.frames.values()
    assert product.statistics["dark"] == "bias"
    assert np.std(product.data.data) == pytest.approx(33, abs=2)
    assert "would add" in product.statistics["flagged"][0]
    assert product.data.header["CALFLAG"] is True


def test_a_dark_with_a_current_is_scaled(tmp_path):
    current = np.random.default_rng(4).exponential(60, SHAPE)
    for n in range(5):
        frame(tmp_path / f"bias{n}.fits", 300, seed=n, IMAGETYP="BIAS", EXPTIME=0.0)
        frame(tmp_path / f"dark{n}.fits", 300 + current, seed=9 + n, IMAGETYP="DARK")
    frame(tmp_path / "a.fits", 1300 + 3 * current, seed=30, EXPTIME=180.0)
    (product,) = driven(tmp_path).frames.values()
    assert product.statistics["dark"] == "scaled"
    assert np.std(product.data.data[product.data.mask == 0]) < 15


@pytest.mark.parametrize(("n", "flagged"), [(1, True), (2, True), (3, False)])
def test_a_master_of_few_frames_flags_what_it_is_used_for(tmp_path, n, flagged):
    for number in range(n):
        frame(tmp_path / f"dark{number}.fits", 300, seed=number, IMAGETYP="DARK")
    frame(tmp_path / "a.fits")
    (product,) = driven(tmp_path).frames.values()
    words = f"the master dark rests on {n} frame"
    assert any(words in reason for reason in product.statistics["flagged"]) == flagged


def test_site_and_code_are_on_images_masters_and_tables(tmp_path):
    from virtualobserver.data import as_handle
    from virtualobserver.observatories.astep import VirtualASTEP
    from virtualobserver.observatory import Aux

    site = {"SITELONG": "-076 57 00", "SITELAT": "39 00 00", "OBSCODE": "W54"}
    for n in range(3):
        frame(tmp_path / f"dark{n}.fits", 300, seed=n, IMAGETYP="DARK", **site)
    frame(tmp_path / "a.fits", **site)
    done = driven(tmp_path)
    survey = VirtualASTEP(layout="folder")
    (product,) = done.frames.values()
    (master,) = done.masters.values()
    (table,) = survey.refine("photometry", [as_handle(product)], Aux(FIELD), survey.settings)
    for said in (product.data.header, master.load().header, table.data.meta):
        assert (said["OBS_LON"], said["OBS_LAT"], said["MPCCODE"]) == (-76.95, 39.0, "W54")


def test_a_stack_of_another_camera_goes_out_with_the_site_of_its_headers(tmp_path, url):
    folder = write_night(tmp_path / "night", frames=4, movers=0)
    settings = {
        "name": "elsewhere",
        "catalog": {
            "name": "fields",
            "rows": [{"name": "field", "ra": 150.0, "dec": -65.0, "kind": "field"}],
        },
        "observatories": {"astep": {"archive": str(folder), "layout": "folder"}},
        "analyses": {
            "moving_objects": {
                "psf_fwhm": 3.0,
                "stack": {"rate": [1.0, 5.0], "min_epochs": 3, "controls": False},
            }
        },
    }
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        project.run()
        with pytest.raises(ConfigError, match="set site"):
            write(project, find_way_out("kbmod"), tmp_path / "unknown")
    other = write_night(tmp_path / "other", frames=4, movers=0, seed=2)
    change(frames(other, "*"), SITELONG="-070 44 00", SITELAT="-29 15 00", SITEELEV=2400.0)
    settings = {
        **settings,
        "name": "again",
        "observatories": {"astep": {"archive": str(other), "layout": "folder"}},
    }
    settings["catalog"] = {
        "name": "more",
        "rows": [{"name": "other", "ra": 150.0, "dec": -65.0, "kind": "field"}],
    }
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        project.run()
        assert write(project, find_way_out("kbmod"), tmp_path / "out") == 1
    (path,) = (tmp_path / "out").glob("*.fits")
    observer = read_workunit(path).observer
    assert (observer.lat, observer.lon, observer.height) == pytest.approx((-29.25, -70.7333333, 2400.0))


@pytest.mark.real
@pytest.mark.parametrize(("name", "count"), [("01", 6), ("02", 6), ("07", 5), ("14", 7)])
def test_small_folders_of_other_cameras_are_calibrated_by_a_run(tmp_path, url, name, count):
    settings = {
        "name": "cameras",
        "catalog": {
            "name": "fields",
            "rows": [{"name": "field", "ra": 150.0, "dec": -65.0, "kind": "field"}],
        },
        "observatories": {
            "astep": {
                "archive": str(real_data("reports", "astep", name)),
                "layout": "folder",
                "without_dark": "flag",
            }
        },
    }
    with Project.open(settings, data=tmp_path / "store", url=url) as project:
        summary = project.run()
        assert not summary.failures
        done = project.sql("SELECT unit FROM task WHERE step = 'reduce:astep' AND status = 'done'")
        assert len(done) == count


def test_another_reading_of_keywords_is_another_reading_of_the_same_files(tmp_path, url):
    frame(tmp_path / "frames" / "a.fits", DATE_BEG="2024-05-02T01:00:00")

    def middle(**keywords):
        settings = {
            "name": "readings",
            "catalog": {
                "name": "fields",
                "rows": [{"name": "f", "ra": 150.0, "dec": -65.0, "kind": "field"}],
            },
            "observatories": {
                "astep": {
                    "archive": str(tmp_path / "frames"),
                    "layout": "folder",
                    "without_dark": "flag",
                    "keywords": keywords,
                }
            },
        }
        with Project.open(settings, data=tmp_path / "data", url=url) as project:
            assert not project.run().failures
            (step,) = (one for one in project.steps if one.kind == "reduce")
            (unit,) = project.sql(
                "SELECT p.id FROM product p JOIN task t ON t.id = p.task_id "
                "WHERE t.step = 'reduce:astep' AND t.digest = :d",
                d=step.digest,
            )["id"]
            (image,) = (one for one in project.source("f").images if one.id == unit)
            return image.data.header["MJD-MID"]

    first = middle()
    assert middle(date_is="middle") == pytest.approx(first - 30 / 86400, abs=1e-9)
    assert middle(date="DATE-BEG") == pytest.approx(60432.0417 + 30 / 86400, abs=1e-3)
    assert middle() == first
