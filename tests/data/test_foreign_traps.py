"""Objects and files of others that look like ours and mean something else: right, or refused by name."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty
from astropy.table import QTable
from astropy.table import Table as AstropyTable
from astropy.time import Time
from astropy.wcs import WCS, DistortionLookupTable
from support.containers import WORLD

from virtualobserver.data import Image, Table, TimeSeries
from virtualobserver.errors import DataError, LostFact
from virtualobserver.io.fits.cut import read_cut
from virtualobserver.io.fits.files import read_image, write_image

BIG = 2**53 + 1
"""The first whole number that no float holds."""


def light(**columns):
    """Return a light curve as a table of astropy."""
    own = {"mjd": [58000.0, 58001.0] * u.d, "flux": [1.0, 2] * u.mJy, "flux_error": [0.1, 0.2] * u.mJy}
    return AstropyTable(own | {"flags": [0, 0]} | columns)


# -- tables and light curves ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "late"), [("tai", 37.0), ("tt", 69.184)])
def test_times_of_a_column_mjd_become_utc(scale, late):
    theirs = light(mjd=Time([58000.0, 58001.0], format="mjd", scale=scale))
    ours = TimeSeries.from_astropy(theirs)
    np.testing.assert_allclose((np.array([58000.0, 58001.0]) - ours.mjd) * 86400, late, atol=1e-5)
    again = ours.to_timeseries().time
    assert again.scale == scale
    np.testing.assert_allclose(again.mjd, [58000.0, 58001.0], rtol=0, atol=1e-9)


def test_times_in_another_unit_than_days_are_refused():
    with pytest.raises(DataError, match="mjd is in days, and units say 's'"):
        TimeSeries.from_astropy(light(mjd=[58000.0, 58001.0] * u.s))


def test_errors_of_magnitudes_are_in_magnitudes():
    bright = u.Magnitude([17.5, 18.0], u.mag(u.AB))
    ours = TimeSeries.from_astropy(QTable(light(flux=bright, flux_error=[0.1, 0.2] * u.mag)))
    assert (ours.flux_unit, ours.units["flux_error"]) == ("mag(AB)", "mag")
    assert TimeSeries.from_astropy(ours.to_astropy()).units == ours.units
    assert TimeSeries(ours.columns, flux_unit="mag(AB)").units["flux_error"] == "mag"
    with pytest.raises(DataError, match="flux_error"):
        TimeSeries.from_astropy(light(flux_error=[0.1, 0.2] * u.Jy))


def test_the_band_comes_back_from_a_fits_file_of_astropy(tmp_path):
    ours = TimeSeries.from_astropy(light(), band="zg")
    ours.to_astropy().write(tmp_path / "a.fits")
    back = TimeSeries.from_astropy(AstropyTable.read(tmp_path / "a.fits"))
    assert (back.band, back.flux_unit) == ("zg", "mJy")


def test_times_of_arrow_are_times():
    stamps = pd.Series(pd.to_datetime(["2020-01-01T12:00+02:00", None]))
    frame = pd.DataFrame({"a": stamps.astype("timestamp[us, tz=Europe/Paris][pyarrow]")})
    ours = Table.from_pandas(frame)["a"]
    assert ours.dtype.kind == "M"
    assert ours[0] == np.datetime64("2020-01-01T10:00")
    assert np.isnat(ours[1])


def test_missing_whole_numbers_of_a_category_are_refused():
    with pytest.raises(DataError, match="'a' are missing"):
        Table.from_pandas(pd.DataFrame({"a": pd.Categorical([BIG, None])}))
    assert Table.from_pandas(pd.DataFrame({"a": pd.Categorical([BIG, 5])}))["a"].tolist() == [BIG, 5]


def test_an_index_named_as_a_column_is_refused():
    with pytest.raises(DataError, match="share the name a"):
        Table.from_pandas(pd.DataFrame({"a": [1.0]}, index=pd.Index([1], name="a")))


@pytest.mark.parametrize("told", [3, ["a"], {"gone": {"description": "x"}}, {"a": 1}])
@pytest.mark.parametrize("key", ["columns", "times"])
def test_facts_that_are_not_about_columns_stay_in_the_meta(key, told):
    ours = Table({"a": np.ones(1)}, meta={key: told})
    assert Table.from_astropy(ours.to_astropy()).meta == {key: told}


def test_numbers_of_numpy_in_the_meta_are_numbers_in_xarray():
    ours = Table({"a": np.ones(1)}, meta={"n": np.int64(BIG), "t": np.bool_(True), "x": np.float32(0.5)})
    assert Table.from_xarray(ours.to_xarray()).meta == {"n": BIG, "t": True, "x": 0.5}


# -- uncertainties --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "u4"])
def test_uncertainties_of_whole_numbers_are_squared_as_floats(tmp_path, dtype):
    errors = np.full((3, 4), 200, dtype)
    theirs = CCDData(np.ones((3, 4)), unit="adu", uncertainty=StdDevUncertainty(errors))
    assert (Image.from_ccddata(theirs).variance == 40_000).all()
    fits.HDUList([fits.PrimaryHDU(np.ones((3, 4))), fits.ImageHDU(errors, name="ERR")]).writeto(
        tmp_path / "a.fits"
    )
    assert (read_image(tmp_path / "a.fits").variance == 40_000).all()
    weights = CCDData(
        np.ones((3, 4)), unit="adu", uncertainty=InverseVariance(np.full((3, 4), 4, dtype=dtype))
    )
    assert (Image.from_ccddata(weights).variance == 0.25).all()


@pytest.mark.parametrize(
    ("name", "unit", "value"),
    [
        ("ERR", "mJy", 4e-6), ("ERR", "Jy", 4.0), ("VAR", "mJy2", 2e-6), ("VAR", "Jy", 2.0), ("IVAR", "Jy-2", 0.5),
        ("IVAR", "mJy-2", 0.5e-6), ("ERR", "electron", None),
    ],
)  # fmt: skip
def test_uncertainties_of_files_are_in_the_unit_they_say(tmp_path, name, unit, value):
    image, errors = fits.PrimaryHDU(np.ones((3, 4))), fits.ImageHDU(np.full((3, 4), 2.0), name=name)
    image.header["BUNIT"], errors.header["BUNIT"] = "Jy", unit
    fits.HDUList([image, errors]).writeto(tmp_path / "a.fits")
    for read in (read_image, lambda path: read_cut(path, slice(None))):
        if value is None:
            with pytest.warns(LostFact, match="uncertainties in electron are none of pixels in Jy"):
                assert read(tmp_path / "a.fits").variance is None
        else:
            np.testing.assert_allclose(read(tmp_path / "a.fits").variance, value, rtol=1e-12)


@pytest.mark.parametrize(
    ("unit", "means"), [("COUNTS/S", "ct/s"), ("ELECTRONS", "electron"), ("Photons", "ph"), ("counts", "ct")]
)
def test_counted_things_of_hubble_and_others_are_units(unit, means):
    theirs = Image(np.ones((2, 2)), unit=unit).to_ccddata()
    assert theirs.unit == u.Unit(means)
    assert Image.from_ccddata(theirs).unit == unit


def test_variances_of_magnitudes_have_no_unit():
    with pytest.raises(DataError, match=r"mag\(AB\)"):
        Image(np.ones((2, 2)), np.ones((2, 2)), unit="mag(AB)").to_ccddata()
    assert str(Image(np.ones((2, 2)), unit="mag(AB)").to_ccddata().unit) == "mag(AB)"


# -- pixels and headers ---------------------------------------------------------------------------------------


def test_pixels_without_a_value_are_nan_however_they_are_read(tmp_path):
    unit = fits.PrimaryHDU(np.array([[-32768, 5], [7, 8]], np.int16))
    unit.header["BLANK"] = -32768
    unit.writeto(tmp_path / "a.fits")
    for image in (read_image(tmp_path / "a.fits"), read_cut(tmp_path / "a.fits", slice(None))):
        np.testing.assert_array_equal(image.data, [[np.nan, 5], [7, 8]])


@pytest.mark.parametrize("key", ["CONTINUE"])
def test_a_header_is_not_written_with_what_would_continue_another_card(tmp_path, key):
    with pytest.raises(DataError, match=key):
        write_image(tmp_path / "a.fits", Image(np.ones((2, 2)), header={key: "x"}))


@pytest.mark.parametrize("name", ["cpdis1", "cpdis2", "det2im1", "det2im2"])
def test_look_up_tables_of_distortion_are_refused(name):
    wcs = WCS(WORLD)
    setattr(wcs, name, DistortionLookupTable(np.full((3, 3), 0.5, np.float32), (1, 1), (1, 1), (20, 20)))
    with pytest.raises(DataError, match=name):
        Image.from_ccddata(CCDData(np.ones((30, 40)), unit="adu", wcs=wcs))


@pytest.mark.parametrize("unit", ["degree", "degrees", "Deg"])
def test_degrees_spelled_out_are_degrees(unit):
    wcs = Image(np.ones((3, 3)), header=WORLD | {"CUNIT1": unit, "CUNIT2": unit}).wcs
    np.testing.assert_allclose(wcs.all_pix2world(2.5, 1.25, 0), (150.25, -31.5))


def test_cards_of_a_photographic_plate_that_are_not_all_there_do_no_harm():
    lone = ["PLTRAH", "PLTDECSN", "CNPIX1", "PPO3", "XPIXELSZ", "AMDX1", "AMDX13", "AMDY1"]
    lines = "import numpy as np; from virtualobserver.data import Image; "
    # in a process of its own, which wcslib would end
    made = lines + f"[Image(np.ones((3, 3)), header={{key: 1}}).wcs for key in {lone}]"
    root = str(Path(__file__).parents[2] / "src")
    subprocess.run([sys.executable, "-c", made], check=True, timeout=60, env={"PYTHONPATH": root})
    wcs = Image(np.ones((3, 3)), header=WORLD | dict.fromkeys(lone, 1)).wcs
    np.testing.assert_allclose(wcs.all_pix2world(2.5, 1.25, 0), (150.25, -31.5))


def test_a_box_of_a_photographic_plate_keeps_its_place():
    plate = {
        "PLTRAH": 1,
        "PLTRAM": 2,
        "PLTRAS": 3.0,
        "PLTDECSN": "+",
        "PLTDECD": 10,
        "PLTDECM": 20,
        "PLTDECS": 30.0,
    }
    plate |= {
        "CNPIX1": 100,
        "CNPIX2": 200,
        "PPO3": 177500.0,
        "PPO6": 177500.0,
        "XPIXELSZ": 15.0,
        "YPIXELSZ": 15.0,
    }
    terms = {f"AMD{axis}{n}": 67.1 if n == 1 else 0.0 for axis in "XY" for n in range(1, 21)}
    image = Image(np.ones((300, 400)), header=plate | terms | {"AMDX4": 1e-5, "EQUINOX": 2000.0})
    whole = image.wcs.all_pix2world([100, 200], [50, 80], 0)
    box = image.cut(slice(30, 300), slice(70, 400)).wcs.all_pix2world([30, 130], [20, 50], 0)
    assert 7.0 < whole[1][0] < 7.2
    np.testing.assert_allclose(box, whole, rtol=0, atol=1e-9)
