"""What arrays of others know beyond their numbers is kept by a container or refused, never dropped."""

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import Column, MaskedColumn
from astropy.time import Time
from astropy.utils.masked import Masked

from virtualobserver.data.image import Image
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import DataError

HIDDEN = [False, True, False]


def curve(**columns):
    plain = {"mjd": np.array([58000.0, 58001, 58002]), "flux": np.arange(3.0), "flux_error": np.ones(3)}
    return TimeSeries(plain | {"flags": np.zeros(3, int)} | columns, band="r")


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0] * u.km, Column([1.0, 2.0, 3.0], unit="km")])
def test_the_unit_of_a_column_is_kept(values):
    table = Table({"a": values})
    assert table.units == {"a": "km"}
    assert table["a"].tolist() == [1, 2, 3]
    assert type(table["a"]) is np.ndarray
    with pytest.raises(DataError, match="'a' is in km, and units say 'pc'"):
        Table({"a": values}, {"a": "pc"})


def test_fluxes_in_another_unit_are_not_taken_for_ours():
    with pytest.raises(DataError, match="mJy"):
        curve(flux=[1, 2, 3] * u.mJy)
    assert curve(flux=[1, 2, 3] * u.uJy).flux.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "values",
    [
        np.ma.array([1.0, 2.0, 3.0], mask=HIDDEN),
        MaskedColumn([1.0, 2.0, 3.0], mask=HIDDEN),
        Masked(np.array([1.0, 2.0, 3.0]), mask=HIDDEN),
        Masked([1.0, 2.0, 3.0] * u.uJy, mask=HIDDEN),
    ],
    ids=["numpy", "column", "astropy", "quantity"],
)
def test_hidden_values_are_none(values):
    np.testing.assert_array_equal(curve(flux=values).flux, [1, np.nan, 3])


def test_hidden_flags_are_no_good_epochs():
    with pytest.raises(DataError, match="'flags' are missing"):
        curve(flags=np.ma.array([0, 0, 0], mask=HIDDEN))


def test_times_of_a_scale_are_not_taken_for_utc():
    with pytest.raises(DataError, match="TDB"):
        curve(mjd=Time([58000.0, 58001, 58002], format="mjd", scale="tdb"))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"mjd": np.array([58000.0, np.nan, 58002])}, "1 epochs .* no time"),
        ({"flux": np.array(["1", "2", "x"])}, "flux .* numbers"),
        ({"flags": np.array([0, np.nan, 1])}, "whole numbers"),
        ({"flags": np.array(["0", "1", "2"])}, "whole numbers"),
    ],
)
def test_columns_of_a_light_curve_are_what_they_must_be(columns, words):
    with pytest.raises(DataError, match=words):
        curve(**columns)


def test_series_of_pandas_are_plain_columns():
    assert curve(flux=pd.Series([1.0, 2, 3], index=[7, 8, 9])).flux.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "plane", [np.ones((2, 2)) * u.electron, np.ma.array(np.ones((2, 2)), mask=np.eye(2))]
)
def test_planes_of_an_image_and_of_spectra_are_plain(plane):
    with pytest.raises(DataError, match=r"data (has the unit|hides)"):
        Image(plane)
    with pytest.raises(DataError, match=r"variance (has the unit|hides)"):
        Image(np.ones((2, 2)), plane)
    epochs = Table({"mjd": np.arange(2.0)})
    with pytest.raises(DataError, match=r"flux (has the unit|hides)"):
        SpectrumSet(np.arange(2.0), plane, np.ones((2, 2)), np.zeros((2, 2), int), epochs)
