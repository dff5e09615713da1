"""Broken frames and impossible headers: each fails by itself, with its reason, and the night goes on."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits
from support.astep import FIELD, change, drive, frames, write_night

from virtualobserver import Project
from virtualobserver.data import as_handle
from virtualobserver.errors import BadKeyword, DataError, InvalidFile
from virtualobserver.observatories.astep import VirtualASTEP
from virtualobserver.observatory import Aux


@pytest.fixture
def folder(tmp_path):
    return write_night(tmp_path / "data")


def padded(path):
    return path.write_bytes(path.read_bytes()[:-20] + b"X" * 20)


def huge(path):
    text = path.read_bytes()
    path.write_bytes(
        text[:2880].replace(b"NAXIS1  =                   72", b"NAXIS1  =           5000000000")
    )


def flipped(path):
    content = bytearray(path.read_bytes())
    content[8640] ^= 0xFF
    path.write_bytes(bytes(content))


def cut_gzip(path):
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes())[:-2000])
    path.unlink()


def cut_fpack(path):
    with fits.open(path) as units:
        packed = fits.CompImageHDU(units[0].data, units[0].header, compression_type="RICE_1")
        new = path.with_name(path.name + ".fz")
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(new)
    new.write_bytes(new.read_bytes()[:-3000])
    path.unlink()


BREAK = {
    "empty": lambda path: path.write_bytes(b""),
    "HTML": lambda path: path.write_text("<html><body>503 Service Unavailable</body></html>"),
    "cut in the header": lambda path: path.write_bytes(path.read_bytes()[:1000]),
    "cut in the data": lambda path: path.write_bytes(path.read_bytes()[:8000]),
    "bad padding": padded,
    "10 GB NAXIS": huge,
    "checksum wrong": flipped,
    "gzip cut": cut_gzip,
    "fpack cut": cut_fpack,
}


@pytest.mark.parametrize("how", BREAK)
def test_fault_14_a_broken_science_frame_fails_alone_and_names_its_file(folder, how):
    broken = frames(folder, "SCIENCE")[0]
    BREAK[how](broken)
    done = drive(folder)
    assert len(done.frames) == 1
    ((unit, error),) = done.errors.items()
    assert unit == f"2010-03-01/{broken.stem}"
    assert isinstance(error, DataError)
    assert broken.stem in str(error)


@pytest.mark.parametrize("how", BREAK)
def test_fault_14_a_broken_dark_is_left_out_of_its_master_or_fails_alone(folder, how):
    broken = frames(folder, "DARK", "CAMS")[0]
    BREAK[how](broken)
    done = drive(folder)
    assert len(done.frames) == 2
    dark = next(handle for unit, handle in done.masters.items() if "/90s/" in unit)
    assert dark.info.statistics["n_combine"] == 4
    reasons = [*dark.info.statistics["left_out"].values(), *map(str, done.errors.values())]
    assert len(reasons) == 1
    assert broken.stem in reasons[0]
    assert all(isinstance(error, InvalidFile | DataError) for error in done.errors.values())


def test_fault_14_a_night_with_broken_frames_goes_on_and_tells_each_failure(folder, tmp_path, url):
    science = frames(folder, "SCIENCE")[0]
    BREAK["cut in the data"](science)
    BREAK["HTML"](frames(folder, "SKYFLAT")[0])
    settings = {
        "name": "night",
        "catalog": {
            "name": "fields",
            "rows": [{"name": "field", "ra": 150.0, "dec": -65.0, "kind": "field"}],
        },
        "observatories": {"astep": {"archive": str(folder)}},
    }
    with Project.open(settings, data=tmp_path / "store", url=url) as project:
        summary = project.run()
        failed = {failure["step"]: failure["error"] for failure in summary.failures}
        assert set(failed) == {"calibrate:astep", "reduce:astep"}
        assert "cut in the data" in failed["reduce:astep"]
        assert "web page" in failed["calibrate:astep"]
        done = project.sql("SELECT unit FROM task WHERE step = 'reduce:astep' AND status = 'done'")
        assert len(done) == 1


IMPOSSIBLE = {
    "EXPTIME missing": ({"EXPTIME": None}, "EXPTIME (s) is missing"),
    "EXPTIME is text": ({"EXPTIME": "ninety"}, "EXPTIME (s) is 'ninety', not of type float"),
    "EXPTIME negative": ({"EXPTIME": -90.0}, "EXPTIME (s) is -90.0, which is impossible"),
    "GAIN missing": ({"GAIN": None}, "GAIN (electron / adu) is missing"),
    "GAIN zero": ({"GAIN": 0.0}, "GAIN (electron / adu) is 0.0, which is impossible"),
    "RDNOISE text": ({"RDNOISE": "nan"}, "RDNOISE (electron) is 'nan'"),
    "CCD-TEMP text": ({"CCD_TEMP": "cold"}, "CCD-TEMP (deg_C) is 'cold'"),
    "date impossible": ({"DATE_OBS": "2010-02-30T12:00:00"}, "DATE-OBS is '2010-02-30T12:00:00'"),
    "date without time": ({"DATE_OBS": "2010-03-01"}, "a date without a time"),
    "date missing": ({"DATE_OBS": None}, "DATE-OBS is missing"),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_fault_15_an_impossible_keyword_fails_its_frame_and_names_file_and_keyword(folder, what):
    odd = frames(folder, "SCIENCE")[0]
    cards, said = IMPOSSIBLE[what]
    change([odd], **cards)
    done = drive(folder)
    assert len(done.frames) == 1
    ((unit, error),) = done.errors.items()
    assert unit == f"2010-03-01/{odd.stem}"
    assert isinstance(error, BadKeyword)
    assert odd.name in str(error)
    assert said in str(error)


def test_fault_15_a_default_is_taken_only_if_the_configuration_says_so_and_is_noted(folder):
    change(frames(folder, "SCIENCE"), GAIN=None)
    assert len(drive(folder).errors) == 2
    done = drive(folder, keywords={"gain": {"keyword": "GAIN", "unit": "electron / adu", "default": 2.0}})
    assert not done.errors
    for product in done.frames.values():
        assert product.data.header["GAIN-USE"] == 2.0
        assert product.statistics["defaults"] == ["GAIN"]
        assert "GAIN: value of the configuration" in product.data.header["HISTORY"]


def test_fault_15_a_frame_without_world_coordinates_is_calibrated_and_has_no_positions(folder):
    change(frames(folder, "SCIENCE")[:1], CTYPE1=None, CRVAL1=None)
    change(frames(folder, "SCIENCE")[1:], CDELT1=0.0)
    done = drive(folder)
    assert len(done.frames) == 2
    first, second = (done.frames[unit].statistics["flagged"] for unit in sorted(done.frames))
    assert "celestial axes" in first[0]
    assert "singular" in second[0]
    survey = VirtualASTEP()
    for product in done.frames.values():
        (table,) = survey.refine("photometry", [as_handle(product)], Aux(FIELD), survey.settings)
        assert "ra" not in table.data.columns
        assert len(table.data) > 3
        assert np.isfinite(table.data["flux_4"]).any()


def test_fault_15_a_frame_of_no_known_kind_fails_and_says_so(folder):
    odd = frames(folder, "SCIENCE")[0]
    new = odd.rename(odd.with_name("what.fits"))
    change([new], IMAGETYP=None)
    done = drive(folder)
    assert len(done.frames) == 1
    assert "neither the name nor IMAGETYP" in str(next(iter(done.errors.values())))
