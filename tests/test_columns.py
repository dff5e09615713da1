"""One table of columns: every column that leaves this package has a line in it, and the line is right."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io.votable.ucd import parse_ucd
from astropy.units import Unit

from virtualobserver.columns import COLUMNS, OBSCORE, describe, find, out_of_range, units_of, wrong_kind


@pytest.mark.parametrize("key", COLUMNS)
def test_a_column_has_a_description_a_ucd_of_the_vocabulary_and_a_unit(key):
    column = COLUMNS[key]
    assert column.name == key.rpartition(".")[2]
    assert column.description[0].isupper() or column.description.split()[0] in {"pending,", "object,", "air"}
    assert not column.description.endswith(".")
    parse_ucd(column.ucd, check_controlled_vocabulary=True)
    Unit(column.unit)
    assert column.low <= column.high


def test_a_column_is_found_by_name_by_table_and_by_family():
    assert describe("found").description != describe("found", table="efficiency").description
    assert describe("t_min", table="obscore").utype.startswith("obscore:Char.TimeAxis")
    assert describe("flux_error_2.5") == describe("flux_error_4.5", unit="electron").__class__(
        **{**describe("flux_error_4.5").__dict__, "name": "flux_error_2.5"}
    )
    assert (find("nobody"), describe("nobody").unit, describe("nobody").ucd) == (None, "", "")
    assert units_of(["mjd", "nobody", "flags", "x"]) == {"mjd": "d", "x": "pix"}


def test_the_unit_of_the_table_itself_goes_first():
    flux = describe("flux", unit="electron")
    assert (flux.unit, flux.ucd) == ("electron", "phot.count")
    assert describe("flux").ucd == "phot.flux.density"
    assert describe("flux", unit="mJy").ucd == "phot.flux.density"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("mag", [-26.8, 0.0, 17.5, np.nan], [99.0, -99.0, 99.99, 999.0, np.inf]),
        ("mag_error", [0.0, 0.01], [99.0, -1.0]),
        ("mjd", [58340.0, 41000.5], [2458348.0, 0.0, -99.0, 1.5e9, 1500.0]),
        ("bjd_tdb", [2458348.5], [58348.0]),
        ("exptime", [0.0, 30.0, 9000.0], [-30.0, -99.0]),
        ("ra", [0.0, 359.9, 360.0], [-0.1, 361.0, 999.0]),
        ("dec", [-90.0, 90.0], [91.0, -99.0]),
        ("airmass", [1.0, 38.0], [0.0, -99.0, 99.0]),
    ],
)
def test_values_that_cannot_be_are_told_from_those_that_can(name, good, bad):
    assert not out_of_range(name, good).any()
    assert out_of_range(name, bad).all()
    assert out_of_range(name, np.reshape(bad, (-1, 1))).shape == (len(bad), 1)


def test_what_is_no_number_or_no_column_of_ours_is_not_judged():
    assert not out_of_range("mag", ["a", "b"]).any()
    assert not out_of_range("nobody", [99.0]).any()
    assert not out_of_range("flux", [-1e30, 1e30]).any()
    assert out_of_range("mag", np.array([99, 12])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("mjd", [2458348.1, 2458349.2], "Julian dates; subtract 2400000.5"),
        ("bjd_tdb", [58348.1, np.nan], "modified Julian dates; add 2400000.5"),
        ("mjd", [1.53e9, 1.54e9], "seconds"),
        ("mag", [99.0, 99.0], "99, none of which can be"),
    ],
)
def test_a_column_of_another_kind_is_told_by_what_it_seems_to_be(name, values, words):
    assert words in wrong_kind(name, values)


def test_a_column_with_one_good_value_or_none_at_all_is_of_its_kind():
    assert wrong_kind("mag", [99.0, 12.0]) == ""
    assert wrong_kind("mag", [np.nan, np.nan]) == ""
    assert wrong_kind("mag", []) == ""


def test_obscore_has_the_mandatory_columns_of_the_standard_with_their_types():
    assert len(OBSCORE) == len({column.name for column in OBSCORE}) == 30
    assert all(column.utype and column.datatype for column in OBSCORE)
