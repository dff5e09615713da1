"""What columns of data frames become in each format of tables, and tables of others here: equal, refused or told."""

import gzip
import warnings

import numpy as np
import pandas as pd
import pytest

from virtualobserver.errors import DataError, InvalidFile, LostFact
from virtualobserver.io.tables import read_any, write_any

SUFFIXES = ["csv", "ecsv", "fits", "h5", "parquet", "vot"]


def through(values, path):
    """Write a column beside another and read it again; missing values come back as None."""
    write_any(pd.DataFrame({"k": np.arange(len(values)), "c": values}), path)
    column = read_any(path)["c"]
    return [None if pd.isna(value) else value for value in column.tolist()], column.dtype


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "values",
    [
        np.array([-128, 0, 127], "i1"),
        pd.array([-128, None, 127], dtype="Int8"),
        pd.array([1.5, None, 2.5], dtype="Float64"),
        pd.array([1.5, None, 2.5], dtype="Float32"),
        np.array([1.5, 2.5, 3.5], "f2"),
        np.array([1, 2, 3], ">i4"),
        np.array([1.5, 2.5, 3.5], ">f8"),
        pd.Categorical([1, 2, None]),
        pd.Categorical([1.5, 2.5, None]),
        pd.Categorical(["a", "b", None]),
        pd.array([2**63 - 1, None, -(2**63)], dtype="Int64"),
    ],
    ids=lambda values: str(values.dtype),
)
def test_numbers_of_every_kind_stay_the_numbers_they_are(values, suffix, tmp_path):
    wanted = [None if pd.isna(value) else value for value in list(values)]
    got, dtype = through(values, tmp_path / f"t.{suffix}")
    assert got == wanted
    assert [type(value) for value in got] == [
        type(getattr(value, "item", lambda v=value: v)()) for value in wanted
    ]
    assert pd.api.types.is_object_dtype(dtype) == isinstance(wanted[0], str)


@pytest.mark.parametrize("suffix", [s for s in SUFFIXES if s != "fits"])
def test_truths_with_gaps_stay_truths(suffix, tmp_path):
    got, dtype = through(pd.array([True, None, False], dtype="boolean"), tmp_path / f"t.{suffix}")
    assert got == [True, None, False]
    assert str(dtype) == "boolean"


@pytest.mark.parametrize("suffix", ["csv", "h5", "parquet"])
def test_line_ends_and_blanks_of_texts_stay(suffix, tmp_path):
    texts = ["a\rb", "c\r\nd", ' "e", '] if suffix != "csv" else ["a\rb", "c\r\nd", 'e,"f"']
    assert through(texts, tmp_path / f"t.{suffix}")[0] == texts


@pytest.mark.parametrize("suffix", ["ecsv", "vot"])
@pytest.mark.parametrize("text", [" a", "b ", "c\rd"])
def test_blanks_and_line_ends_that_a_reader_changes_are_told(suffix, text, tmp_path):
    with pytest.warns(LostFact, match="without blanks around it"):
        write_any(pd.DataFrame({"c": [text]}), tmp_path / f"t.{suffix}")


def test_a_text_that_csv_takes_for_missing_is_told(tmp_path):
    with pytest.warns(LostFact, match="'NA' will be read as missing"):
        write_any(pd.DataFrame({"c": ["a", "NA"]}), tmp_path / "t.csv")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([1, 2], "longdouble"), "64 bits"),
        (pd.period_range("2020", periods=2, freq="D"), "period"),
        ([b"a", b"b"], "Python objects"),
    ],
    ids=["longdouble", "period", "bytes"],
)
def test_what_no_format_holds_is_refused_before_anything_is_written(suffix, values, words, tmp_path):
    with pytest.raises(DataError, match=f"column 'c'.*{words}"):
        write_any(pd.DataFrame({"c": values}), tmp_path / f"t.{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits", "h5", "vot"])
def test_a_text_with_an_end_inside_is_refused(suffix, tmp_path):
    with pytest.raises(DataError, match="NUL"):
        write_any(pd.DataFrame({"c": ["a\0"]}), tmp_path / f"t.{suffix}")


def test_complex_numbers_are_kept_or_refused(tmp_path):
    values = np.array([1 + 2j, 3])
    for suffix in ("ecsv", "fits", "h5"):
        assert through(values, tmp_path / f"t.{suffix}")[0] == [1 + 2j, 3]
    for suffix in ("csv", "parquet", "vot"):
        with pytest.raises(DataError, match="complex"):
            write_any(pd.DataFrame({"c": values}), tmp_path / f"t.{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "names", [["#a", "b"], ["<a>", "&b"], ["a b", "1"], ["a/b", "a.b"], [0, 1], ["a,b", 'a"b']]
)
def test_names_of_columns_stay_whatever_they_are(suffix, names, tmp_path):
    write_any(pd.DataFrame([[1, 2.5]], columns=names), tmp_path / f"t.{suffix}")
    assert list(read_any(tmp_path / f"t.{suffix}")) == [str(name) for name in names]


@pytest.mark.parametrize(
    ("suffix", "names"),
    [
        *((suffix, names) for suffix in SUFFIXES for names in ([""], ["a\nb"], [None], ["a", "a"])),
        ("fits", ["α"]), ("fits", ["A", "a"]), ("fits", ["x" * 80]), ("fits", ["a ", "a"]), ("h5", ["a", "a.mask"]),
    ],
)  # fmt: skip
def test_names_that_a_format_cannot_tell_apart_are_refused(suffix, names, tmp_path):
    frame = pd.DataFrame([[1] * len(names)], columns=pd.Index(names, dtype=object))
    with pytest.raises(DataError, match="name"):
        write_any(frame, tmp_path / f"t.{suffix}")


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits", "vot"])
def test_a_name_that_ends_in_gz_is_a_packed_file(suffix, tmp_path):
    path = tmp_path / f"t.{suffix}.gz"
    write_any(pd.DataFrame({"a": [1, 2]}), path)
    assert gzip.decompress(path.read_bytes())
    assert read_any(path)["a"].tolist() == [1, 2]


@pytest.mark.parametrize("suffix", ["h5", "parquet"])
def test_what_is_packed_inside_is_not_packed_once_more(suffix, tmp_path):
    with pytest.raises(DataError, match=r"leave \.gz out"):
        write_any(pd.DataFrame({"a": [1, 2]}), tmp_path / f"t.{suffix}.gz")


# -- tables of astropy ------------------------------------------------------------------------------------------


def of_astropy(**more):
    from astropy.table import MaskedColumn, QTable
    from astropy.units import Quantity

    return QTable({"ra": Quantity([1.0, 2.0], "rad"), "n": MaskedColumn([7, 8], mask=[False, True])} | more)


@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        ("ecsv", {"format": "ascii.ecsv"}), ("fits", {}), ("vot", {"format": "votable"}), ("parquet", {}),
        ("h5", {"path": "t", "serialize_meta": True}),
    ],
)  # fmt: skip
def test_units_and_gaps_of_astropy_are_read_from_every_format(suffix, how, tmp_path):
    path = tmp_path / f"t.{suffix}"
    of_astropy().write(path, **how)
    frame = read_any(path)
    assert frame.attrs["units"]["ra"] == "rad"
    assert frame["n"].isna().tolist() == [False, True]
    assert frame["n"][0] == 7
    assert list(frame) == ["ra", "n"]


@pytest.mark.parametrize(("suffix", "how"), [("ecsv", {"format": "ascii.ecsv"}), ("fits", {})])
def test_times_of_astropy_are_mjd_in_their_scale(suffix, how, tmp_path):
    from astropy.time import Time

    of_astropy(t=Time([58000.25, 58001.0], format="mjd", scale="tdb")).write(tmp_path / f"t.{suffix}", **how)
    frame = read_any(tmp_path / f"t.{suffix}")
    assert frame["t"].tolist() == [58000.25, 58001.0]
    assert frame.attrs["units"]["t"] == "d"
    assert "TDB" in frame.attrs["descriptions"]["t"]


def test_positions_of_astropy_are_one_column_for_each_coordinate(tmp_path):
    from astropy.coordinates import SkyCoord

    of_astropy(place=SkyCoord([1, 2], [3, 4], unit="deg")).write(tmp_path / "t.ecsv", format="ascii.ecsv")
    frame = read_any(tmp_path / "t.ecsv")
    assert frame["place.ra"].tolist() == [1.0, 2.0]
    assert frame.attrs["units"]["place.dec"] == "deg"


@pytest.mark.parametrize(
    ("suffix", "how"),
    [("ecsv", {"format": "ascii.ecsv"}), ("fits", {}), ("vot", {"format": "votable"}), ("h5", {"path": "t"})],
)
def test_columns_with_several_values_a_row_are_named(suffix, how, tmp_path):
    from astropy.table import Table

    Table({"a": [1, 2], "stamp": np.zeros((2, 3, 4))}).write(tmp_path / f"t.{suffix}", **how)
    with pytest.warns(LostFact, match=r"stamp \((3x4|4x3)\)"):
        assert list(read_any(tmp_path / f"t.{suffix}")) == ["a"]


def test_what_astropy_says_must_be_yaml(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    table = pa.table({"a": [1]}).replace_schema_metadata({"table_meta_yaml": "{["})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(InvalidFile, match="astropy"):
        read_any(tmp_path / "t.parquet")


def test_usual_columns_are_written_without_a_word(tmp_path):
    frame = pd.DataFrame({"source": ["a", "ü", None], "mjd": [1.0, np.nan, 2.0], "n": [1, 2, 3]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for suffix in ("csv", "ecsv", "h5", "parquet", "vot"):
            write_any(frame, tmp_path / f"t.{suffix}")
            assert read_any(tmp_path / f"t.{suffix}")["n"].tolist() == [1, 2, 3]
