"""What other programs write into files of light curves is read as meant, or refused with the column's name."""

from __future__ import annotations

import numpy as np
import pytest

from virtualobserver.errors import BadKeyword
from virtualobserver.observatories.ztf.table import parse

OID = 686103400067717  # of the filter zg
NAMES = "oid,hjd,mjd,mag,magerr,catflags,filtercode,ra,dec,exptime"


def file(*changes: dict[str, object], names: str = NAMES, separator: str = ",") -> bytes:
    """Return three epochs of a star as CSV, each with its changes."""
    lines = [NAMES]
    for number in range(3):
        cells = {
            "oid": OID, "hjd": 2458202.266 + number, "mjd": 58201.766 + number, "mag": 18.0, "magerr": 0.03,
            "catflags": 0, "filtercode": "zg", "ra": 150.0, "dec": 20.0, "exptime": 30,
        }  # fmt: skip
        cells |= changes[number] if number < len(changes) else {}
        lines.append(",".join(str(cells[name]) for name in NAMES.split(",")))
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("word", ["", " ", "NA", "N/A", "<NA>", "None", "--", "null", "nan"])
def test_words_for_a_missing_value_are_missing_values(word):
    columns = parse(file({"mag": word}), "star.csv")
    assert np.isnan(columns["mag"]).tolist() == [True, False, False]
    assert columns["out_of_range"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("word", ["*****", "1.80D+01", "1_8"])
def test_what_is_no_number_is_named_with_its_column(word):
    with pytest.raises(BadKeyword, match=r"star\.csv: In column mag: Row #2"):
        parse(file({"mag": word}), "star.csv")


@pytest.mark.parametrize(
    ("column", "value"),
    [("mag", 0.0), ("mag", 30.0), ("mag", -5.0), ("magerr", 1e-9), ("exptime", 30_000.0), ("mjd", 8201.766)],
)
def test_what_no_epoch_of_the_survey_can_have_is_taken_out_and_told(column, value):
    columns = parse(file({column: value}), "star.csv")
    assert np.isnan(columns[column]).tolist() == [True, False, False]
    assert columns["out_of_range"].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("zero", "says"),
    [(50_000.0, "column mjd holds 8201.766 and the like"), (-0.5, "hjd and mjd are -0.500 d apart")],
)
def test_dates_of_another_kind_are_refused(zero, says):
    changes = [{"mjd": 58201.766 + number - zero} for number in range(3)]
    with pytest.raises(BadKeyword, match=says):
        parse(file(*changes), "star.csv")


@pytest.mark.parametrize("code", ["g", "ZG", "ztf_g", "ZTF-g", "", "--"])
def test_names_of_a_filter_are_one_filter(code):
    assert parse(file(*[{"filtercode": code}] * 2), "star.csv")["filtercode"].tolist() == ["zg"] * 3


@pytest.mark.parametrize("code", ["zy", "V", "1"])
def test_an_unknown_filter_is_refused(code):
    with pytest.raises(BadKeyword, match=f"filtercode holds '{code}'; ZTF has zg, zr and zi"):
        parse(file({"filtercode": code}), "star.csv")
    with pytest.raises(BadKeyword, match="not a ZTF object id"):
        parse(file({"filtercode": "", "oid": 7}), "star.csv")


def test_an_epoch_without_quality_bits_is_not_good():
    columns = parse(file({"catflags": ""}), "star.csv")
    assert (columns["catflags"] != 0).tolist() == [True, False, False]
