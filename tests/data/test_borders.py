"""What goes out to another library or file, and comes back, is equal; what cannot is refused or named."""

from __future__ import annotations

import base64
import re
import warnings
from functools import partial

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.containers import (
    SIP,
    WORLD,
    assert_same_image,
    assert_same_spectra,
    assert_same_table,
    curves,
    images,
    spectra,
    tables,
)
from support.real import real_data

from virtualobserver import Project
from virtualobserver.catalog.table import Catalog
from virtualobserver.data import Image, Raw, SpectrumSet, Table, TimeSeries
from virtualobserver.data.contract import noise_of
from virtualobserver.data.histogram import Axis, Histogram
from virtualobserver.data.world import has_world
from virtualobserver.errors import DataError, InvalidFile, LostFact
from virtualobserver.io.fits.cut import read_cut
from virtualobserver.io.fits.files import read_image, write_image
from virtualobserver.io.hdf5 import encode, read_block, write_file_image
from virtualobserver.io.netcdf import read_netcdf, write_netcdf, write_variables

MOST = 40_000_000
"""Larger images of the real data are left out, bytes."""
often = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
files = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def curve(**changes):
    """Return a small light curve in electrons."""
    facts = {"band": "Ic", "flux_unit": "electron", "meta": {"object": "WASP-18", "oid": 7}}
    columns = {
        "mjd": np.array([58000.25, 58001.5, 58002.125]),
        "flux": np.array([1.0, 2.0, np.nan]),
        "flux_error": np.array([0.1, 0.2, 0.3]),
        "flags": np.array([0, 4, 8]),
        "exptime": np.full(3, 30.0),
        "quality": np.array([1, 0, 2]),
    }
    return TimeSeries(columns, {"exptime": "s"}, **(facts | changes))


# -- tables and light curves ----------------------------------------------------------------------------------


@often
@given(tables())
def test_table_through_pandas_is_equal(table):
    assert_same_table(Table.from_pandas(table.to_pandas()), table)


@often
@given(tables())
def test_table_through_astropy_is_equal(table):
    assert_same_table(Table.from_astropy(table.to_astropy()), table)


@often
@given(tables(flat=True))
def test_table_through_a_qtable_is_equal(table):
    from astropy.table import QTable

    assert_same_table(Table.from_astropy(QTable(table.to_astropy())), table)


@often
@given(tables())
def test_table_through_xarray_is_equal(table):
    assert_same_table(Table.from_xarray(table.to_xarray()), table)


@often
@given(curves())
def test_light_curve_through_pandas_is_equal(series):
    assert_same_table(TimeSeries.from_pandas(series.to_pandas()), series)


@often
@given(curves())
def test_light_curve_through_astropy_is_equal(series):
    assert_same_table(TimeSeries.from_astropy(series.to_astropy()), series)


@often
@given(curves())
def test_light_curve_through_an_astropy_time_series_is_equal(series):
    assert_same_table(TimeSeries.from_astropy(series.to_timeseries()), series)


@often
@given(curves())
def test_light_curve_through_xarray_is_equal(series):
    assert_same_table(TimeSeries.from_xarray(series.to_xarray()), series)


@files
@given(curves(flat=True))
def test_light_curve_through_netcdf_is_equal(tmp_path, series):
    write_netcdf(series.to_xarray(), tmp_path / "curve.nc")
    assert_same_table(TimeSeries.from_xarray(read_netcdf(tmp_path / "curve.nc")), series)


@files
@given(tables(flat=True))
def test_table_through_netcdf_is_equal(tmp_path, table):
    write_netcdf(table.to_xarray(), tmp_path / "table.nc")
    assert_same_table(Table.from_xarray(read_netcdf(tmp_path / "table.nc")), table)


def through_hdf5(container, path):
    """Write a container as HDF5 and read it again."""
    path.write_bytes(write_file_image([("a", encode(container))]))
    with h5py.File(path) as file:
        return read_block(file, "a")[0]


@files
@given(curves(flat=True), tables(flat=True), spectra())
def test_containers_through_hdf5_are_equal(tmp_path, series, table, several):
    assert_same_table(through_hdf5(series, tmp_path / "a.h5"), series)
    assert_same_table(through_hdf5(table, tmp_path / "b.h5"), table)
    assert_same_spectra(through_hdf5(several, tmp_path / "c.h5"), several)


@often
@given(curves())
def test_light_curve_through_lightkurve_is_equal(series):
    pytest.importorskip("lightkurve", reason="the extra lightkurve is not installed")
    back = TimeSeries.from_lightkurve(series.to_lightkurve())
    assert_same_table(back, series)


def test_bad_epochs_stay_bad_in_lightkurve():
    lightkurve = pytest.importorskip("lightkurve", reason="the extra lightkurve is not installed")
    theirs = curve().to_lightkurve()
    assert np.asarray(theirs["quality"]).tolist() == [0, 4, 8]
    assert np.asarray(theirs["archive_quality"]).tolist() == [1, 0, 2]
    assert theirs.meta["LABEL"] == "WASP-18"
    assert theirs.meta["band"] == "Ic"
    assert str(theirs.flux.unit) == "electron"
    assert theirs["exptime"].unit == "s"
    assert isinstance(theirs, lightkurve.LightCurve)


def test_light_curve_of_another_mission_keeps_its_time_scale_and_its_bits():
    lightkurve = pytest.importorskip("lightkurve", reason="the extra lightkurve is not installed")
    from astropy.time import Time

    time = Time([1500.0, 1501.0, 1502.0], format="btjd", scale="tdb")
    theirs = lightkurve.LightCurve(time=time, flux=[1.0, 2, 3], flux_err=[0.1, 0.1, 0.1])
    theirs.meta["LABEL"] = "TIC 1"
    with pytest.raises(DataError, match="no column 'quality'"):
        TimeSeries.from_lightkurve(theirs, flux_unit="electron/s")
    theirs["quality"] = [0, 128, 0]
    ours = TimeSeries.from_lightkurve(theirs, flux_unit="")
    assert ours.flags.tolist() == [0, 1, 0]
    assert ours["quality"].tolist() == [0, 128, 0]
    np.testing.assert_allclose(ours.mjd, time.utc.mjd, rtol=0, atol=1e-9)
    again = ours.to_lightkurve()
    assert (again.time.scale, again.time.format) == ("tdb", "btjd")
    np.testing.assert_allclose(again.time.value, time.value, rtol=0, atol=1e-9)
    assert again.meta["LABEL"] == "TIC 1"


def test_hidden_values_never_come_back_as_good_ones():
    from astropy.table import MaskedColumn, QTable
    from astropy.table import Table as AstropyTable
    from astropy.units import Quantity
    from astropy.utils.masked import Masked

    hidden = [False, True, False]
    floats = AstropyTable({"a": MaskedColumn([1.0, 2.0, 3.0], mask=hidden)})
    np.testing.assert_array_equal(Table.from_astropy(floats)["a"], [1, np.nan, 3])
    texts = AstropyTable({"a": MaskedColumn(["x", "y", "z"], mask=hidden)})
    assert Table.from_astropy(texts)["a"].tolist() == ["x", None, "z"]
    bytes_ = AstropyTable({"a": MaskedColumn([b"x", b"y", b"z"], mask=hidden)})
    assert Table.from_astropy(bytes_)["a"].tolist() == ["x", None, "z"]
    quantities = QTable({"a": Masked(Quantity([1.0, 2, 3], "km/s"), mask=hidden)})
    ours = Table.from_astropy(quantities)
    np.testing.assert_array_equal(ours["a"], [1, np.nan, 3])
    assert ours.units == {"a": "km/s"}
    for whole in ([1, 2, 3], [True, True, False]):
        with pytest.raises(DataError, match=r"1 values of the column 'a' are missing"):
            Table.from_astropy(AstropyTable({"a": MaskedColumn(whole, mask=hidden)}))
    shown = Table.from_astropy(AstropyTable({"a": MaskedColumn([1, 2], mask=[False, False])}))
    assert shown["a"].tolist() == [1, 2]


def test_objects_of_a_column_stay_what_they_are_and_half_a_letter_is_refused():
    mixed = Table({"a": np.array([1.5, "x", b"y", None], dtype=object)})
    for back in (
        Table.from_astropy(mixed.to_astropy()),
        Table.from_xarray(mixed.to_xarray()),
        Table.from_pandas(mixed.to_pandas()),
    ):
        assert back["a"].tolist() == [1.5, "x", b"y", None]
    for values in (np.array(["a\ud800", None], dtype=object), np.array(["a\ud800", "b"])):
        table = Table({"a": values})
        with pytest.raises(DataError, match="the column 'a' holds half a letter"):
            table.to_pandas()
        assert Table.from_astropy(table.to_astropy())["a"].tolist() == values.tolist()
    with pytest.raises(DataError, match="the column 'a' holds half a letter"):
        Table({"a": np.array(["a\ud800", None], dtype=object)}).to_xarray()


def test_values_with_fields_are_no_variable_of_netcdf(tmp_path):
    table = Table({"a": np.array([(1, 2.0)], dtype=[("n", int), ("x", float)])})
    with pytest.raises(DataError, match="'a' has fields in its values"):
        write_netcdf(table.to_xarray(), tmp_path / "a.nc")


def test_missing_values_of_pandas_never_come_back_as_good_ones():
    import pandas as pd

    frame = pd.DataFrame({"a": pd.array([1, None], dtype="Int64")})
    with pytest.raises(DataError, match="'a'"):
        Table.from_pandas(frame)
    with pytest.raises(DataError, match="'a'"):
        Table.from_pandas(pd.DataFrame({"a": pd.array([True, None], dtype="boolean")}))
    fine = pd.DataFrame(
        {
            "i": pd.array([1, 2], dtype="Int32"),
            "f": pd.array([1.5, None], dtype="Float64"),
            "t": pd.array(["x", None], dtype="string"),
            "c": pd.Categorical(["u", None]),
            "z": pd.to_datetime(["2024-05-01T12:00+02:00", None]),
        }
    )
    table = Table.from_pandas(fine)
    assert table["i"].dtype == np.int32
    np.testing.assert_array_equal(table["f"], [1.5, np.nan])
    assert table["t"].tolist() == ["x", None]
    assert table["c"].tolist() == ["u", None]
    assert table["z"][0] == np.datetime64("2024-05-01T10:00")
    assert np.isnat(table["z"][1])


def test_an_index_of_pandas_is_a_column_or_is_refused():
    import pandas as pd

    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=pd.Index(["x", "y"], name="star"))
    assert Table.from_pandas(frame)["star"].tolist() == ["x", "y"]
    with pytest.raises(DataError, match="no name"):
        Table.from_pandas(frame.rename_axis(None))
    assert Table.from_pandas(pd.DataFrame({"a": [1.0, 2.0, 3.0]}).iloc[1:])["a"].tolist() == [2, 3]
    with pytest.raises(DataError, match="differ"):
        Table.from_pandas(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_what_no_column_holds_is_refused_by_name():
    from astropy.coordinates import SkyCoord
    from astropy.table import QTable
    from astropy.table import Table as AstropyTable

    with pytest.raises(DataError, match=r"'a' has values of shape \(2,\)"):
        Table.from_astropy(AstropyTable({"a": np.zeros((3, 2))}))
    with pytest.raises(DataError, match="'a' is a SkyCoord"):
        Table.from_astropy(QTable({"a": SkyCoord([1, 2], [3, 4], unit="deg")}))


def test_times_and_descriptions_of_astropy_are_carried():
    from astropy.table import Table as AstropyTable
    from astropy.time import Time

    theirs = AstropyTable({"t": Time([2458000.5, 2458001.25], format="jd", scale="tdb"), "x": [1.0, 2.0]})
    theirs["x"].description = "a length"
    theirs["x"].meta["ucd"] = "phys.size"
    ours = Table.from_astropy(theirs)
    assert ours["t"].tolist() == [58000.0, 58000.75]
    again = ours.to_astropy()
    assert (again["t"].scale, again["t"].format) == ("tdb", "jd")
    assert again["t"].value.tolist() == [2458000.5, 2458001.25]
    assert again["x"].description == "a length"
    assert again["x"].meta["ucd"] == "phys.size"


def test_no_default_stands_in_for_the_unit_of_a_flux():
    plain = curve().to_pandas()
    plain.attrs = {}
    with pytest.raises(DataError, match="unit of the flux"):
        TimeSeries.from_pandas(plain)
    assert TimeSeries.from_pandas(plain, flux_unit="mJy").flux_unit == "mJy"
    table = curve().to_astropy()
    table["flux"].unit = table["flux_error"].unit = None
    with pytest.raises(DataError, match="unit of the flux"):
        TimeSeries.from_astropy(table)
    with pytest.raises(DataError, match="unit of flux is"):
        TimeSeries.from_astropy(curve().to_astropy(), flux_unit="uJy")


def test_time_series_of_astropy_in_other_scales_comes_in_as_utc_and_goes_out_as_it_was():
    from astropy.time import Time
    from astropy.timeseries import TimeSeries as AstropyTimeSeries
    from astropy.units import Unit

    time = Time([2458000.5, 2458001.5], format="jd", scale="tai")
    theirs = AstropyTimeSeries(
        time=time, data={"flux": [1, 2] * Unit("mJy"), "flux_error": [1, 1] * Unit("mJy")}
    )
    theirs["flags"] = [0, 0]
    ours = TimeSeries.from_astropy(theirs, band="r")
    assert ours.flux_unit == "mJy"
    np.testing.assert_allclose((time.mjd - ours.mjd) * 86400, 37.0, atol=1e-4)
    again = ours.to_timeseries()
    assert (again.time.scale, again.time.format) == ("tai", "jd")
    np.testing.assert_allclose(again.time.jd, time.jd, rtol=0, atol=1e-8)


def test_binned_time_series_gives_the_middle_and_the_length_of_its_bins():
    import astropy.units as u
    from astropy.time import Time
    from astropy.timeseries import BinnedTimeSeries

    starts = Time([58000.0, 58001.0], format="mjd", scale="utc")
    data = {"flux": [1, 2] * u.mJy, "flux_error": [1, 1] * u.mJy, "flags": [0, 0]}
    ours = TimeSeries.from_astropy(BinnedTimeSeries(data, time_bin_start=starts, time_bin_size=0.5 * u.day))
    np.testing.assert_allclose(ours.mjd, [58000.25, 58001.25], rtol=0, atol=1e-9)
    assert ours["exptime"].tolist() == [43200.0, 43200.0]
    assert ours.units["exptime"] == "s"


def test_a_place_on_earth_that_a_light_curve_cannot_hold_is_named():
    import astropy.units as u
    from astropy.coordinates import EarthLocation
    from astropy.time import Time
    from astropy.timeseries import TimeSeries as AstropyTimeSeries

    place = EarthLocation.from_geodetic(123.3, -75.1, 3233)
    time = Time([58000.0, 58001.0], format="mjd", scale="utc", location=place)
    data = {"flux": [1, 2] * u.mJy, "flux_error": [1, 1] * u.mJy, "flags": [0, 0]}
    with pytest.warns(LostFact, match="location"):
        ours = TimeSeries.from_astropy(AstropyTimeSeries(data, time=time))
    assert ours.mjd.tolist() == [58000.0, 58001.0]
    with pytest.raises(DataError, match="local"):
        TimeSeries.from_astropy(AstropyTimeSeries(data, time=Time([1.0, 2.0], format="mjd", scale="local")))


# -- spectra --------------------------------------------------------------------------------------------------


@often
@given(spectra())
def test_spectra_through_xarray_are_equal(several):
    assert_same_spectra(SpectrumSet.from_xarray(several.to_xarray()), several)


@files
@given(spectra())
def test_spectra_through_netcdf_are_equal(tmp_path, several):
    write_netcdf(several.to_xarray(), tmp_path / "spectra.nc")
    assert_same_spectra(SpectrumSet.from_xarray(read_netcdf(tmp_path / "spectra.nc")), several)


@often
@given(spectra())
def test_spectra_through_specutils_are_equal(several):
    pytest.importorskip("specutils", reason="the extra specutils is not installed")
    assert_same_spectra(SpectrumSet.from_specutils(several.to_specutils()), several)
    one_by_one = [several.to_specutils(number) for number in range(len(several))]
    assert_same_spectra(SpectrumSet.from_specutils(one_by_one), several)


def test_spectra_of_others_need_their_facts_and_keep_what_is_hidden():
    specutils = pytest.importorskip("specutils", reason="the extra specutils is not installed")
    from astropy.nddata import InverseVariance
    from astropy.units import Unit

    theirs = specutils.Spectrum(
        flux=np.array([1.0, 2.0, 3.0]) * Unit("Jy"),
        spectral_axis=np.array([5000.0, 5001.0, 5002.0]) * Unit("Angstrom"),
        uncertainty=InverseVariance(np.array([4.0, 0.0, 1.0])),
        mask=np.array([False, True, False]),
    )
    for facts in ({}, {"frame": "topocentric"}, {"frame": "topocentric", "medium": "air"}):
        with pytest.raises(DataError, match="give"):
            SpectrumSet.from_specutils(theirs, **facts)
    ours = SpectrumSet.from_specutils(theirs, frame="topocentric", medium="air", mjd=58000.0)
    assert ours.error.tolist() == [[0.5, np.inf, 1.0]]
    assert ours.mask.tolist() == [[0, 1, 0]]
    other = specutils.Spectrum(flux=theirs.flux, spectral_axis=theirs.spectral_axis * 2)
    with pytest.raises(DataError, match="other wavelengths"):
        SpectrumSet.from_specutils([theirs, other], frame="topocentric", medium="air", mjd=58000.0)


# -- images ---------------------------------------------------------------------------------------------------


@often
@given(images())
def test_image_through_ccddata_is_equal(image):
    assert_same_image(Image.from_ccddata(image.to_ccddata()), image, world_as_cards=False)


@files
@given(images())
def test_image_through_fits_is_equal(tmp_path, image):
    write_image(tmp_path / "a.fits", image)
    assert_same_image(read_image(tmp_path / "a.fits"), image)
    assert_same_image(read_cut(tmp_path / "a.fits", slice(None)), image)


@files
@given(images())
def test_our_files_are_those_of_astropy_and_theirs_ours(tmp_path, image):
    from astropy.nddata import CCDData

    write_image(tmp_path / "a.fits", image)
    options = {"unit": image.to_ccddata().unit, "hdu_uncertainty": "VARIANCE"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy tells which unit it takes
        theirs = CCDData.read(tmp_path / "a.fits", **options)
        image.to_ccddata().write(tmp_path / "b.fits", overwrite=True)
    np.testing.assert_array_equal(theirs.data, image.data)
    if image.variance is not None:
        assert type(theirs.uncertainty).__name__ == "VarianceUncertainty"
        np.testing.assert_array_equal(theirs.uncertainty.array, image.variance)
    if image.mask is not None:
        np.testing.assert_array_equal(theirs.mask, image.mask != 0)
    back = read_image(tmp_path / "b.fits")
    np.testing.assert_array_equal(back.data, image.data)
    assert (back.variance is None) == (image.variance is None)
    if image.variance is not None:
        np.testing.assert_array_equal(back.variance, image.variance)
    assert (back.mask is None) == (image.mask is None)
    if image.mask is not None:
        np.testing.assert_array_equal(back.mask != 0, image.mask != 0)


@pytest.mark.parametrize(
    ("kind", "value"), [("StdDevUncertainty", 5.0), ("VarianceUncertainty", 25.0), ("InverseVariance", 0.04)]
)
def test_uncertainties_of_astropy_files_are_read_by_their_kind(tmp_path, kind, value):
    from astropy import nddata

    uncertainty = getattr(nddata, kind)(np.full((4, 5), value))
    ccd = nddata.CCDData(np.ones((4, 5)), unit="electron", uncertainty=uncertainty, mask=np.eye(4, 5) > 0)
    ccd.write(tmp_path / "c.fits")
    for image in (
        read_image(tmp_path / "c.fits"),
        read_cut(tmp_path / "c.fits", slice(0, 4)),
        Image.from_ccddata(ccd),
    ):
        np.testing.assert_allclose(image.variance, 25.0)
        np.testing.assert_array_equal(image.mask != 0, ccd.mask)
        assert image.unit == "electron"


def test_uncertainties_of_an_unknown_kind_are_named(tmp_path):
    from astropy.io import fits
    from astropy.nddata import CCDData, UnknownUncertainty

    unknown = fits.ImageHDU(np.ones((3, 3)), fits.Header({"UTYPE": "Percent"}), name="UNCERT")
    fits.HDUList([fits.PrimaryHDU(np.ones((3, 3))), unknown]).writeto(tmp_path / "u.fits")
    for read in (read_image, lambda path: read_cut(path, slice(None))):
        with pytest.warns(LostFact, match="'Percent'"):
            assert read(tmp_path / "u.fits").variance is None
    with pytest.raises(DataError, match="UnknownUncertainty"):
        Image.from_ccddata(
            CCDData(np.ones((3, 3)), unit="adu", uncertainty=UnknownUncertainty(np.ones((3, 3))))
        )


def test_a_mask_without_bits_hides_the_same_pixels():
    from astropy.nddata import CCDData, NDData

    hidden = np.eye(3) > 0
    image = Image.from_ccddata(CCDData(np.ones((3, 3)), unit="adu", mask=hidden))
    np.testing.assert_array_equal(image.mask != 0, hidden)
    bits = Image(np.ones((3, 3)), mask=np.full((3, 3), 4, np.uint8)).to_ccddata()
    bits.flags = np.zeros((3, 3), np.uint8)
    assert (Image.from_ccddata(bits).mask != 0).all()
    with pytest.raises(DataError, match="unit"):
        Image.from_ccddata(NDData(np.ones((3, 3))))
    assert Image.from_ccddata(NDData(np.ones((3, 3))), unit="adu").unit == "adu"


def test_headers_that_fits_cannot_hold_are_refused_or_named(tmp_path):
    image = Image(np.ones((2, 2)), header={"OBSERVER": "Ångström", "SITE": {"name": "x"}})
    with pytest.warns(LostFact, match="OBSERVER, SITE"):
        write_image(tmp_path / "a.fits", image)
    with pytest.raises(DataError, match="keyword"):
        write_image(tmp_path / "a.fits", Image(np.ones((2, 2)), header={"Å": 1}))
    with pytest.raises(DataError, match="complex"):
        write_image(tmp_path / "a.fits", Image(np.ones((2, 2), complex)))


# -- objects of others, in and out ----------------------------------------------------------------------------


@often
@given(images())
def test_ccddata_through_an_image_is_equal(image):
    theirs = image.to_ccddata()
    again = Image.from_ccddata(theirs).to_ccddata()
    np.testing.assert_array_equal(again.data, theirs.data)
    assert again.unit == theirs.unit
    assert dict(again.meta) == dict(theirs.meta)
    for name in ("mask", "flags"):
        mine, others = getattr(again, name), getattr(theirs, name)
        assert (mine is None) == (others is None)
        assert mine is None or np.array_equal(mine, others)
    assert (again.uncertainty is None) == (theirs.uncertainty is None)
    if theirs.uncertainty is not None:
        np.testing.assert_array_equal(again.uncertainty.array, theirs.uncertainty.array)
    assert (again.wcs is None) == (theirs.wcs is None)
    if theirs.wcs is not None:
        np.testing.assert_allclose(
            again.wcs.pixel_to_world_values(3, 4), theirs.wcs.pixel_to_world_values(3, 4)
        )


@often
@given(tables())
def test_frame_of_pandas_through_a_table_is_equal(table):
    import pandas as pd

    theirs = table.to_pandas()
    again = Table.from_pandas(theirs).to_pandas()
    pd.testing.assert_frame_equal(again, theirs, check_exact=True)
    assert again.attrs == theirs.attrs


@often
@given(tables(), st.data())
def test_table_of_astropy_with_hidden_values_is_equal_but_for_how_they_are_hidden(table, data):
    from astropy.table import Table as AstropyTable

    theirs = AstropyTable(table.to_astropy(), masked=True)
    hidden = {
        name: np.array(data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))))
        for name in table
        if table[name].dtype.kind in "fUM"
    }
    for name, mask in hidden.items():
        theirs[name].mask = mask
    again = Table.from_astropy(Table.from_astropy(theirs).to_astropy())
    for name, mask in hidden.items():
        seen = again[name]
        missing = np.array([value is None or value != value for value in seen])
        assert missing[mask].all()
        assert [v for v, m in zip(seen.tolist(), mask, strict=True) if not m and v == v] == [
            v for v, m in zip(table[name].tolist(), mask, strict=True) if not m and v == v
        ]


@often
@given(curves())
def test_time_series_of_astropy_through_a_light_curve_is_equal(series):
    theirs = series.to_timeseries()
    again = TimeSeries.from_astropy(theirs).to_timeseries()
    assert again.colnames[0] == "time"
    assert set(again.colnames) == set(theirs.colnames)
    assert again.meta == theirs.meta
    assert (again.time.scale, again.time.format) == (theirs.time.scale, theirs.time.format)
    np.testing.assert_array_equal(again.time.value, theirs.time.value)
    np.testing.assert_array_equal(again["flux"].value, theirs["flux"].value)
    assert again["flux"].unit == theirs["flux"].unit


@often
@given(spectra())
def test_spectra_of_specutils_through_a_set_are_equal(several):
    pytest.importorskip("specutils", reason="the extra specutils is not installed")
    theirs = several.to_specutils()
    again = SpectrumSet.from_specutils(theirs).to_specutils()
    for name in ("flux", "spectral_axis"):
        np.testing.assert_array_equal(getattr(again, name).value, getattr(theirs, name).value)
        assert getattr(again, name).unit == getattr(theirs, name).unit
    np.testing.assert_array_equal(again.uncertainty.array, theirs.uncertainty.array)
    np.testing.assert_array_equal(again.mask, theirs.mask)
    assert {key: again.meta[key] for key in ("frame", "medium")} == {
        key: theirs.meta[key] for key in ("frame", "medium")
    }


# -- world coordinates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", range(12))
@pytest.mark.parametrize("key", ["HISTORY", "COMMENT"])
def test_history_and_comment_of_any_length_do_no_harm(lines, key):
    image = Image(
        np.zeros((9, 9)), header=WORLD | {key: ["flat fielded"] * lines, "BLANKED": None, "X": np.nan}
    )
    np.testing.assert_allclose(image.wcs.all_pix2world(2.5, 1.25, 0), (150.25, -31.5))
    hdu = image.to_ccddata().to_hdu()[0]
    assert list(hdu.header.get(key, [])) == ["flat fielded"] * lines


@pytest.mark.parametrize("header", [WORLD, SIP, {k: v for k, v in WORLD.items() if k != "CRPIX1"}])
def test_a_box_keeps_its_place_on_the_sky(header):
    image = Image(
        np.zeros((40, 50)), header=header | {"CRPIX1A": 4.0, "LTV1": 2.0, "DATASEC": "[11:50,1:40]"}
    )
    box = image.cut(slice(7, 30), slice(17, 41))
    x, y = np.meshgrid(np.arange(24), np.arange(23))
    np.testing.assert_allclose(
        box.wcs.all_pix2world(x, y, 0), image.wcs.all_pix2world(x + 17, y + 7, 0), rtol=0, atol=1e-12
    )
    assert box.header["CRPIX1A"] == -13.0
    assert box.header["LTV1"] == -15.0
    assert box.header["DATASEC"] == "[1:24,1:23]"


def test_trimming_moves_the_world_and_leaves_out_the_overscan():
    sections = {"BIASSEC": "[1:17,1:40]", "TRIMSEC": "[18:50,1:40]", "DATASEC": "[18:50,1:40]"}
    header = Image.moved(WORLD | sections, 0, 17, shape=(40, 33))
    assert (header["CRPIX1"], header["CRPIX2"]) == (WORLD["CRPIX1"] - 17, WORLD["CRPIX2"])
    assert header["DATASEC"] == header["TRIMSEC"] == "[1:33,1:40]"
    assert "BIASSEC" not in header


def test_a_box_with_steps_is_refused(tmp_path):
    image = Image(np.zeros((8, 8)), header=WORLD)
    write_image(tmp_path / "a.fits", image)
    for cut in (image.cut, partial(read_cut, tmp_path / "a.fits")):
        with pytest.raises(DataError, match="steps of 2 rows"):
            cut(slice(0, 8, 2))


def test_world_coordinates_written_as_text_are_read_and_lost_ones_refused():
    text = {key: str(value) for key, value in SIP.items()}
    np.testing.assert_allclose(
        Image(np.zeros((9, 9)), header=text).wcs.all_pix2world(7, 8, 0),
        Image(np.zeros((9, 9)), header=SIP).wcs.all_pix2world(7, 8, 0),
    )
    assert Image.moved(text, 0, 2)["CRPIX1"] == WORLD["CRPIX1"] - 2
    for value in (None, np.nan, "unknown"):
        with pytest.raises(DataError, match="CRVAL1"):
            _ = Image(np.zeros((9, 9)), header=WORLD | {"CRVAL1": value}).wcs


@pytest.mark.real
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
def test_every_readable_real_image_has_a_place_and_goes_to_astropy_and_back():
    tried = 0
    for path in sorted(real_data().rglob("*")):
        if (
            not re.search(r"\.(fits?|fts)(\.fz|\.gz)?$", path.name, re.IGNORECASE)
            or path.stat().st_size > MOST
        ):
            continue
        try:
            image = read_image(path)
        except InvalidFile:
            continue
        tried += 1
        box = image.cut(slice(1, 9), slice(2, 9))
        theirs = image.to_ccddata()
        theirs.to_hdu()
        back = Image.from_ccddata(theirs)
        np.testing.assert_array_equal(back.data, image.data)
        assert back.unit == image.unit
        x, y = np.meshgrid(np.arange(3.0), np.arange(3.0))
        known = image.wcs.all_pix2world(x + 2, y + 1, 0)
        places = box.wcs.all_pix2world(x, y, 0), back.wcs.all_pix2world(x + 2, y + 1, 0)
        if has_world(image.header):
            np.testing.assert_allclose(places, [known, known], rtol=0, atol=1e-9)
    assert tried > 60


# -- histograms -----------------------------------------------------------------------------------------------


@st.composite
def histograms(draw):
    """Return any histogram over a fixed, a growing and a text axis."""
    axes = (Axis.fixed("mag", 15.0, 20.0, 0.5, "mag"), Axis.growing("snr", 0.0, 0.1), Axis.text("band"))
    n = draw(st.integers(0, 6))
    number = st.one_of(st.floats(-30, 30), st.just(np.nan), st.just(1e9), st.just(-1e9))
    values = {name: draw(st.lists(number, min_size=n, max_size=n)) for name in ("mag", "snr")}
    bands = draw(st.lists(st.sampled_from(["zg", "zr", None]), min_size=n, max_size=n))
    weight = draw(st.lists(st.integers(1, 2**40), min_size=n, max_size=n))
    return Histogram(axes).fill(**values, band=bands, weight=np.array(weight, np.uint64))


@often
@given(histograms())
def test_histogram_through_xarray_is_equal(histogram):
    dataset = histogram.to_xarray()
    assert Histogram.from_xarray(dataset) == histogram
    for index in dataset.indexes.values():
        assert index.is_unique
        assert not index.hasnans


@files
@given(histograms())
def test_histogram_through_netcdf_is_equal(tmp_path, histogram):
    write_netcdf(histogram.to_xarray(), tmp_path / "a.nc")
    write_variables(histogram.variables(), tmp_path / "b.nc", attributes={"title": "counts"})
    for name in ("a.nc", "b.nc"):
        assert Histogram.from_xarray(read_netcdf(tmp_path / name)) == histogram


def test_histogram_is_what_numpy_makes():
    values = np.random.default_rng(3).normal(18, 1.5, 1000)
    axis = Axis.fixed("mag", 15.0, 20.0, 0.5)
    counts, edges = Histogram((axis,)).fill(mag=values).to_numpy()
    expected, _ = np.histogram(values, edges)
    np.testing.assert_array_equal(counts, expected)
    assert edges[0] == 14.75
    assert edges[-1] == 20.25


def filled():
    """Return a small histogram with something in every place but the missing one."""
    axes = (Axis.fixed("mag", 15.0, 17.0, 1.0, "mag"), Axis.growing("snr", 0.0, 1.0), Axis.text("band"))
    return Histogram(axes).fill(mag=[0, 15, 16, 16, 99], snr=[2, 2, 3, 5, 2], band=["r", "r", "g", "g", "g"])


def test_histogram_follows_the_protocol_of_plotting_libraries():
    histogram = filled()
    assert histogram.kind == "COUNT"
    assert [len(axis) for axis in histogram.axes] == list(histogram.values().shape) == [3, 4, 2]
    assert list(histogram.axes[0]) == [(14.5, 15.5), (15.5, 16.5), (16.5, 17.5)]
    assert list(histogram.axes[1])[-1] == (4.5, 5.5)
    assert list(histogram.axes[2]) == ["g", "r"]
    assert [axis.traits.discrete for axis in histogram.axes] == [False, False, True]
    assert histogram.values().sum() == 3
    assert histogram.values(flow=True).sum() == 5
    assert histogram.values(flow=True).shape == (5, 6, 2)
    np.testing.assert_array_equal(histogram.values(), histogram.variances())


def test_hist_and_mplhep_take_a_histogram():
    hist = pytest.importorskip("hist", reason="hist is not installed")
    mplhep = pytest.importorskip("mplhep", reason="mplhep is not installed")
    from uhi.typing.plottable import PlottableHistogram

    histogram = filled()
    assert isinstance(histogram, PlottableHistogram)
    theirs = hist.Hist(histogram)
    np.testing.assert_array_equal(theirs.values(), histogram.values())
    np.testing.assert_array_equal(theirs.axes[0].edges, histogram.axes[0].edges)
    assert theirs.sum(flow=True) == histogram.total
    boost = pytest.importorskip("boost_histogram").Histogram(histogram)
    np.testing.assert_array_equal(boost.values(flow=False), histogram.values())
    mplhep.histplot(histogram.project("mag"))


def test_missing_counts_that_others_cannot_hold_are_named():
    with pytest.warns(LostFact, match="mag"):
        Histogram((Axis.fixed("mag", 1, 2, 1),)).fill(mag=[np.nan, 1])._to_uhi_()


# -- how they show themselves ---------------------------------------------------------------------------------


@settings(often, max_examples=6)  # each draws three pictures
@given(images(), curves(), spectra(), tables())
def test_containers_show_themselves_in_a_line_and_in_notebooks(image, series, several, table):
    for one in (image, series, several, table):
        assert len(repr(one)) < 200
        assert "\n" not in repr(one)
        assert type(one).__name__ in one._repr_html_()


def test_texts_in_notebooks_are_escaped():
    assert "<script>" not in Image(np.ones((2, 2)), header={"OBJECT": "<script>"})._repr_html_()


def test_names_of_targets_are_escaped():
    name = "<script>alert(1)</script>"
    shown = Catalog.from_rows([{"name": name, "ra": 10.0, "dec": 20.0}], name=name)._repr_html_()
    assert "<script>" not in shown
    assert shown.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2


def test_what_can_be_drawn_has_a_small_picture_in_notebooks():
    counts = Histogram((Axis.fixed("mag", 10, 20, 1),)).fill(mag=np.linspace(11, 19, 50))
    picture = Image(np.arange(1200.0 * 900).reshape(1200, 900))
    for one in (
        counts,
        picture,
        *map(partial(noise_of, rng=np.random.default_rng(1)), ("lightcurve", "spectrum")),
    ):
        shown = one._repr_html_()
        start = shown.index("data:image/png;base64,") + len("data:image/png;base64,")
        held = base64.b64decode(shown[start : shown.index('"', start)])
        assert held.startswith(b"\x89PNG")
        assert 2_000 < len(held) < 60_000
    assert len(repr(Raw("a", "csv", content=b"x" * 10_000))) < 300


def test_a_project_shows_itself_in_notebooks(tmp_path):
    rows = {"rows": [{"name": "a", "ra": 10, "dec": 20}]}
    settings = {"name": "shown", "description": "<flares>", "catalog": rows, "observatories": {"demo": {}}}
    with Project.open(settings, data=tmp_path) as project:
        shown = project._repr_html_()
    assert "Project shown" in shown
    assert "&lt;flares&gt;" in shown
    assert "<th>fetch:demo</th>" in shown, "each row of the table says which step it is"
    assert "<th>reduce:demo</th>" in shown
