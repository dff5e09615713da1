"""What becomes of odd nights: each of the situations in which the older scripts stop, go wrong or say nothing."""

from __future__ import annotations

import gzip
import shutil
from hashlib import sha256

import numpy as np
import pytest
from astropy.io import fits
from support.astep import change, drive, frames, write_night

from virtualobserver import Project
from virtualobserver.errors import DataError

NIGHT = "2010-03-01"


@pytest.fixture
def folder(tmp_path):
    return write_night(tmp_path / "data")


def history(product):
    return "\n".join(product.data.header["HISTORY"])


def configuration(folder):
    return {
        "name": "night",
        "catalog": {
            "name": "fields",
            "rows": [{"name": "field", "ra": 150.0, "dec": -65.0, "kind": "field"}],
        },
        "observatories": {"astep": {"archive": str(folder)}},
    }


def state(folder):
    return {path: sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_a_whole_night_is_calibrated_and_nothing_is_written_beside_it(folder):
    before = state(folder)
    done = drive(folder)
    assert state(folder) == before
    assert not done.errors
    assert sorted(unit.rpartition("/")[0] for unit in done.masters) == [
        "bias/64x72/1x1",
        "dark/64x72/1x1/10s/-34C",
        "dark/64x72/1x1/90s/-34C",
        "flat/64x72/1x1/R",
    ]
    for product in done.frames.values():
        assert product.data.unit == "electron"
        assert product.data.header["FWHM"] == pytest.approx(3.0, abs=0.7)
        assert "divided by master flat R" in history(product)
        assert product.statistics["dark"] == "dark"
        ratio = np.median(product.data.variance) / product.statistics["sky_noise"] ** 2
        assert ratio == pytest.approx(1.0, abs=0.15)


def test_frames_that_are_done_are_not_done_again_and_missing_ones_are_made(folder, tmp_path, url):
    late = frames(folder, "SCIENCE")[1]
    kept = late.rename(tmp_path / late.name)
    with Project.open(configuration(folder), data=tmp_path / "store", url=url) as project:
        first = project.run()
        assert not first.failed, first.failures
        assert sum(first.counts["reduce:astep"].values()) == 1
        made = project.sql("SELECT id FROM product WHERE role = 'calibrated'")["id"].tolist()
        shutil.copy(kept, late)
        second = project.run(refresh=True)
        assert not second.failed, second.failures
        assert sum(second.counts["reduce:astep"].values()) == 1
        assert not sum(second.counts.get("calibrate:astep", {}).values())
        now = project.sql("SELECT id FROM product WHERE role = 'calibrated' ORDER BY id")["id"].tolist()
        assert len(now) == 2
        assert now[0] == made[0]


def test_flats_without_darks_of_their_exposure_go_on_with_the_bias_or_nothing(folder, tmp_path):
    for path in frames(folder, "DARK", "CAMS_SKYFLAT"):
        path.unlink()
    shutil.copytree(folder / NIGHT, tmp_path / "bare" / NIGHT)
    change(frames(folder, "SKYFLAT"), EXPTIME=10.0)
    done = drive(folder)
    assert not done.errors
    flat = next(handle for unit, handle in done.masters.items() if unit.startswith("flat"))
    assert "scaled" not in " ".join(flat.info.statistics["notes"])
    for path in frames(tmp_path / "bare", "BIAS"):
        path.unlink()
    bare = drive(tmp_path / "bare")
    assert not bare.errors
    flat = next(handle for unit, handle in bare.masters.items() if unit.startswith("flat"))
    assert "nothing is subtracted" in flat.info.statistics["notes"][0]
    assert "note: flats of 10 s" in "\n".join(flat.load().header["HISTORY"])
    assert len(bare.frames) == 2


def test_darks_of_another_exposure_are_scaled_about_the_bias(folder):
    for path in frames(folder, "DARK", "CAMS_SKYFLAT"):
        path.unlink()
    right = drive(folder).frames
    change(frames(folder, "SCIENCE"), EXPTIME=45.0)
    scaled = drive(folder)
    assert not scaled.errors
    for unit, product in scaled.frames.items():
        assert product.statistics["dark"] == "scaled"
        assert product.statistics["dark_factor"] == pytest.approx(0.5)
        assert "scaled by 0.5 about the bias" in history(product)
        # half of the dark current of the 90 s dark stays in
        more = np.median(product.data.data) - np.median(right[unit].data.data)
        assert more == pytest.approx(0.05 * 45, abs=1.0)


def test_darks_of_another_exposure_without_a_bias_are_refused_with_the_reason(folder):
    for path in [*frames(folder, "BIAS"), *frames(folder, "DARK", "CAMS_SKYFLAT")]:
        path.unlink()
    change(frames(folder, "SCIENCE"), EXPTIME=45.0)
    done = drive(folder)
    assert not done.frames
    for error in done.errors.values():
        assert isinstance(error, DataError)
        assert "no master dark of 45 s (there are 90 s), and without a bias none can be scaled" in str(error)
    flagged = drive(folder, without_dark="flag")
    assert len(flagged.frames) == 2
    assert all(product.data.header["CALFLAG"] for product in flagged.frames.values())


def test_darks_of_another_temperature_are_not_used(folder):
    change([*frames(folder, "SCIENCE"), *frames(folder, "BIAS")], CCD_TEMP=-20.0)
    done = drive(folder, scale_darks=False)
    assert {"no master dark near -20.0 degrees" in str(error) for error in done.errors.values()} == {True}
    assert len(done.errors) == 2


def test_two_exposures_among_darks_make_two_masters(folder):
    change(frames(folder, "DARK", "CAMS")[:2], EXPTIME=30.0)
    done = drive(folder)
    darks = {unit: handle for unit, handle in done.masters.items() if unit.startswith("dark")}
    assert {unit.split("/")[3]: handle.info.statistics["n_combine"] for unit, handle in darks.items()} == {
        "10s": 5,
        "30s": 2,
        "90s": 3,
    }
    assert all(product.statistics["dark"] == "dark" for product in done.frames.values())


def test_two_filters_among_flats_make_two_masters_and_each_frame_gets_its_own(folder):
    change(frames(folder, "SKYFLAT")[:2], FILTER="I")
    change(frames(folder, "SCIENCE")[:1], FILTER="I")
    done = drive(folder)
    flats = {unit.split("/")[3]: handle for unit, handle in done.masters.items() if unit.startswith("flat")}
    assert {band: handle.info.statistics["n_combine"] for band, handle in flats.items()} == {"I": 2, "R": 3}
    first, second = (done.frames[unit] for unit in sorted(done.frames))
    assert (first.band, second.band) == ("I", "R")
    assert "divided by master flat I" in history(first)
    assert "divided by master flat R" in history(second)


def test_origfile_falls_back_to_the_name_of_the_file(folder):
    paths = frames(folder, "SCIENCE")
    change(paths, ORIGFILE=None)
    done = drive(folder)
    assert not done.errors
    assert [p.data.header["ORIGFILE"] for p in done.frames.values()] == [path.name for path in paths]


def test_without_a_folder_of_flats_there_is_no_flat_and_still_a_mask(folder):
    shutil.rmtree(folder / NIGHT / f"{NIGHT}-CAMS_SKYFLAT")
    done = drive(folder)
    assert not done.errors
    for product in done.frames.values():
        assert product.statistics["flat"] is False
        assert product.statistics["mask"]["hot in the dark"] > 10
        assert "no flat" in history(product)


def test_a_bad_path_is_a_failed_task_that_names_it(tmp_path, url):
    with Project.open(configuration(tmp_path / "nowhere"), data=tmp_path / "store", url=url) as project:
        summary = project.run()
    assert summary.failed == 1
    assert "nowhere" in summary.failures[0]["error"]


def test_frames_are_in_order_of_the_middle_of_their_exposure(folder, tmp_path):
    named, mirrored = tmp_path / "a", tmp_path / "b"
    shutil.copytree(folder, named)
    shutil.copytree(folder, mirrored)
    for number, path in enumerate(reversed(frames(mirrored, "DARK", "CAMS"))):
        path.rename(path.with_name(f"{NIGHT}_00.00.{number:02d}_DARK.fits"))
    one, two = drive(named), drive(mirrored)
    for unit, handle in one.masters.items():
        np.testing.assert_array_equal(handle.load().data, two.masters[unit].load().data)
    times = [product.data.header["MJD-MID"] for product in one.frames.values()]
    assert times == sorted(times)


def test_masters_are_shared_by_cams_and_skyflat(folder):
    dark = frames(folder, "DARK", "CAMS")[0]
    other = folder / NIGHT / f"{NIGHT}-CAMS_SKYFLAT" / f"{NIGHT}_01.00.00_DARK.fits"
    shutil.copy(dark, other)
    done = drive(folder)
    dark = next(handle for unit, handle in done.masters.items() if "/90s/" in unit)
    assert dark.info.statistics["n_combine"] == 6


def test_masters_of_another_night_are_used_within_their_age(folder):
    for path in [p for p in (folder / NIGHT).rglob("*.fits") if "SCIENCE" not in p.name]:
        new = folder / "2010-02-27" / path.parent.name.replace(NIGHT, "2010-02-27")
        new.mkdir(parents=True, exist_ok=True)
        path.rename(new / path.name.replace(NIGHT, "2010-02-27"))
    for path in (folder / "2010-02-27").rglob("*.fits"):
        with fits.open(path) as units:
            moment = units[0].header["DATE-OBS"].replace(NIGHT, "2010-02-27")
        change([path], DATE_OBS=moment)
    near = drive(folder)
    assert not near.errors
    assert all("2010-02-27" in history(product) for product in near.frames.values())
    far = drive(folder, masters_within=1.0)
    assert not far.frames
    assert all("no master dark of this camera" in str(error) for error in far.errors.values())


def test_products_of_the_older_scripts_in_the_folder_are_left_alone(folder):
    place = folder / NIGHT / f"{NIGHT}-CAMS"
    fits.writeto(place / f"{NIGHT}_MASTERDARK.fits", np.zeros((64, 72), np.float32))
    made = folder / NIGHT / f"{NIGHT}-CAMS_CAL"
    made.mkdir()
    fits.writeto(made / f"{NIGHT}_00.00.00_SCIENCE_CAL.fits", np.zeros((64, 72), np.float32))
    done = drive(folder)
    assert (len(done.masters), len(done.frames), len(done.errors)) == (4, 2, 0)


@pytest.mark.parametrize("suffix", [".fit", ".fits.gz", ".fits.fz"])
def test_other_suffixes_and_compressions_give_the_same_frames(folder, tmp_path, suffix):
    plain = drive(folder)
    for path in list(folder.rglob("*.fits")):
        new = path.with_name(path.name.removesuffix(".fits") + suffix)
        if suffix.endswith("gz"):
            new.write_bytes(gzip.compress(path.read_bytes(), 1))
        elif suffix.endswith("fz"):
            with fits.open(path) as units:
                packed = fits.CompImageHDU(units[0].data, units[0].header, compression_type="RICE_1")
                fits.HDUList([fits.PrimaryHDU(), packed]).writeto(new)
        else:
            shutil.copy(path, new)
        path.unlink()
    done = drive(folder)
    assert not done.errors
    for unit, product in plain.frames.items():
        np.testing.assert_array_equal(done.frames[unit].data.data, product.data.data)
        np.testing.assert_array_equal(done.frames[unit].data.variance, product.data.variance)


def test_an_overscan_is_subtracted_and_cut_off(folder):
    plain = drive(folder)
    for path in folder.rglob("*.fits"):
        with fits.open(path) as units:
            data, header = units[0].data, units[0].header
        strip = np.full((data.shape[0], 8), 100 + int(path.name[14:16]) % 40)
        wide = np.hstack([(data + strip[:, :1] - 100).astype(np.uint16), strip.astype(np.uint16)])
        header["TRIMSEC"], header["BIASSEC"] = "[1:72,1:64]", "[73:80,1:64]"
        del header["CHECKSUM"], header["DATASUM"]
        fits.writeto(path, wide, header, overwrite=True)
    done = drive(folder, overscan="subtract")
    assert not done.errors
    for unit, product in plain.frames.items():
        assert done.frames[unit].data.data.shape == (64, 72)
        difference = done.frames[unit].data.data - product.data.data
        assert float(np.abs(np.median(difference))) < 0.05 * product.statistics["sky_noise"]
        assert "overscan of" in history(done.frames[unit])


def test_the_date_may_be_the_middle_of_the_exposure(folder):
    start = drive(folder).frames
    middle = drive(folder, keywords={"date_is": "middle"}).frames
    for unit, product in start.items():
        later = product.data.header["MJD-MID"] - middle[unit].data.header["MJD-MID"]
        assert later * 86400 == pytest.approx(45.0, abs=1e-3)


def test_units_of_keywords_are_converted_and_checked(folder):
    right = drive(folder)
    for path in folder.rglob("*.fits"):
        with fits.open(path) as units:
            milliseconds = units[0].header["EXPTIME"] * 1000
            kelvin = units[0].header["CCD-TEMP"] + 273.15
        change([path], EXPTIME=milliseconds, CCD_TEMP=kelvin)
    keywords = {
        "exptime": {"keyword": "EXPTIME", "unit": "ms"},
        "temperature": {"keyword": "CCD-TEMP", "unit": "K"},
    }
    done = drive(folder, keywords=keywords)
    assert sorted(done.masters) == sorted(right.masters)
    with pytest.raises(ValueError, match="does not turn into s"):
        drive(folder, keywords={"exptime": {"keyword": "EXPTIME", "unit": "m"}})
