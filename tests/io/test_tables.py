import gzip
import os
import subprocess
import sys

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from virtualobserver.data.histogram import CF, Axis, Histogram
from virtualobserver.errors import ArchiveAnswerError, ArchiveOverflow, DataError, InvalidFile
from virtualobserver.io.csv_text import frame_of_csv
from virtualobserver.io.gzipped import plain_bytes
from virtualobserver.io.netcdf import read_netcdf, write_netcdf, write_variables
from virtualobserver.io.tables import read_any, write_any

SUFFIXES = ["csv", "ecsv", "fits", "h5", "parquet", "vot"]
IDS = [2**63 - 1, 1234567890123456789, 5]


def frame():
    return pd.DataFrame({"id": IDS, "x": [1.5, np.nan, -3e10], "name": ["a b", "c", "null"]})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_table_comes_back_in_every_format(suffix, tmp_path):
    path = tmp_path / f"t.{suffix}"
    write_any(frame(), path, units={"x": "mag"}, meta={"a": 1})
    back = read_any(path)
    assert back["id"].tolist() == IDS
    assert str(back["id"].dtype) == "int64"
    np.testing.assert_array_equal(back["x"], frame()["x"])
    assert back["name"].tolist() == ["a b", "c", "null"]
    if suffix != "csv":
        assert back.attrs["units"] == {"x": "mag"}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"  \n", b"<!DOCTYPE html><html>maintenance</html>"])
def test_fault_17_empty_file_or_web_page_is_refused(suffix, content, tmp_path):
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InvalidFile, match=rf"t\.{suffix}"):
        read_any(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_fault_17_table_cut_in_the_middle_is_refused(suffix, tmp_path):
    path = tmp_path / f"t.{suffix}"
    write_any(pd.DataFrame({"id": np.arange(2000), "x": np.arange(2000.0), "y": np.arange(2000.0)}), path)
    content = path.read_bytes()
    cut = content[: len(content) // 2]
    path.write_bytes(cut[: cut.rindex(b"\n") + 3] if suffix in {"csv", "ecsv"} else cut)
    with pytest.raises(InvalidFile, match=rf"t\.{suffix}"):
        read_any(path)


def test_fault_17_csv_values_are_exact_or_text():
    text = b"hex,null,empty,id,gap,big,huge,zip,mixed,emoji\n"
    text += b"0xf,null,,1234567890123456789,9007199254740993,18446744073709551615,99999999999999999999,"
    text += b"007,1,\xf0\x9f\x8c\x9f\n"
    text += b"0x1,x,,2,,1,1,1,2.5,b\n"
    back = frame_of_csv(text)
    assert back["hex"].tolist() == ["0xf", "0x1"]
    assert back["null"].tolist() == ["null", "x"]
    assert back["empty"].isna().all()
    assert back["id"].tolist() == [1234567890123456789, 2]
    assert back["gap"][0] == 9007199254740993
    assert back["gap"].isna().tolist() == [False, True]
    assert back["big"].tolist() == [2**64 - 1, 1]
    assert back["huge"].tolist() == ["99999999999999999999", "1"]
    assert back["zip"].tolist() == ["007", "1"]
    assert back["mixed"].tolist() == [1.0, 2.5]
    assert back["emoji"].tolist() == ["🌟", "b"]


@pytest.mark.parametrize(
    "text", [b"a,b\n1,2\n3\n", b"a,b\n1\0,2\n", b"a,a\n1,2\n", b"a\n\xff\xfe\n", b"# only\n"]
)
def test_fault_17_crooked_csv_is_refused(text):
    with pytest.raises(InvalidFile):
        frame_of_csv(text, "t.csv")


def test_header_alone_is_an_empty_table_and_gzip_is_looked_through(tmp_path):
    assert len(frame_of_csv(b"a,b\n")) == 0
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a\n1\n"))
    assert read_any(tmp_path / "t.csv.gz")["a"].tolist() == [1]
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a\n1\n")[:-6])
    with pytest.raises(InvalidFile, match="cut"):
        read_any(tmp_path / "t.csv.gz")


VOTABLE = """<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results"><INFO name="QUERY_STATUS" value="OK"/><TABLE><FIELD name="id" datatype="long">
<VALUES null="-1"/></FIELD><DATA><TABLEDATA><TR><TD>1234567890123456789</TD></TR>
<TR><TD>-1</TD></TR></TABLEDATA>
</DATA></TABLE>{end}</RESOURCE></VOTABLE>"""


def test_fault_17_votable_ids_stay_exact_and_missing(tmp_path):
    (tmp_path / "t.xml").write_text(VOTABLE.format(end=""))
    back = read_any(tmp_path / "t.xml")
    assert back["id"][0] == 1234567890123456789
    assert back["id"].isna().tolist() == [False, True]


@pytest.mark.parametrize(("status", "kind"), [("OVERFLOW", ArchiveOverflow), ("ERROR", ArchiveAnswerError)])
def test_votable_that_says_it_is_cut_or_an_error_is_refused(status, kind, tmp_path):
    (tmp_path / "t.xml").write_text(
        VOTABLE.format(end=f'<INFO name="QUERY_STATUS" value="{status}">why</INFO>')
    )
    with pytest.raises(kind, match=r"t\.xml.*why"):
        read_any(tmp_path / "t.xml")


ROWS_OF_EVERY_LENGTH = """
import sys
from pathlib import Path
import pandas as pd
from virtualobserver.io.tables import read_any, write_any
texts = ["x" * number for number in range(1, 1100)]
write_any(pd.DataFrame({"name": texts}), Path(sys.argv[1]))
assert read_any(Path(sys.argv[1]))["name"].tolist() == texts
"""


def test_a_votable_writes_no_byte_behind_its_memory_whatever_the_length_of_a_row(tmp_path):
    # the allocator of PYTHONMALLOC=debug ends a process that did
    program = [sys.executable, "-W", "ignore", "-c", ROWS_OF_EVERY_LENGTH, str(tmp_path / "t.vot")]
    environment = {**os.environ, "PYTHONMALLOC": "debug"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_fault_22_pandas_files_with_pickles_are_refused(tmp_path):
    path = tmp_path / "evil.h5"
    mixed = pd.DataFrame({"x": np.array([{"a": 1}, 2], dtype=object)})
    with pd.HDFStore(path, "w") as store, _quiet():
        store.put("t", mixed, format="fixed")
    with pytest.raises(InvalidFile, match="pickled"):
        read_any(path)
    pd.DataFrame({"x": [1.0], "y": [2.0]}).to_hdf(path, key="t", mode="w", format="table")
    with pytest.raises(InvalidFile, match="pickled"):
        read_any(path)


def _quiet():
    import warnings

    return warnings.catch_warnings(action="ignore")


def test_pandas_and_astropy_hdf5_files_of_numbers_are_read(tmp_path):
    from astropy.table import Table

    numbers = pd.DataFrame({"id": IDS, "x": [1.0, 2.0, 3.0]})
    numbers.to_hdf(tmp_path / "a.h5", key="t", mode="w", format="fixed")
    numbers.to_hdf(tmp_path / "b.h5", key="t", mode="w", format="table", data_columns=True)
    Table({"id": IDS, "x": [1.0, 2.0, 3.0]}).write(
        tmp_path / "c.h5", path="t", format="hdf5", serialize_meta=True
    )
    for name in "abc":
        back = read_any(tmp_path / f"{name}.h5")
        assert back["id"].tolist() == IDS
        assert back["x"].tolist() == [1.0, 2.0, 3.0]
        assert list(back) == ["id", "x"]


def test_unknown_suffix_and_python_objects_are_refused(tmp_path):
    with pytest.raises(DataError, match="suffix"):
        write_any(frame(), tmp_path / "t.doc")
    with pytest.raises(DataError, match="objects"):
        write_any(pd.DataFrame({"x": [{}, 1]}), tmp_path / "t.parquet")


def test_netcdf_comes_back_and_a_flipped_bit_is_found(tmp_path):
    data = xr.Dataset({"n": ("x", np.arange(5000))}, {"x": np.linspace(0, 1, 5000)}, {"unit": "mag"})
    path = tmp_path / "h.nc"
    write_netcdf(data, path)
    xr.testing.assert_identical(read_netcdf(path), data)
    assert [p.name for p in tmp_path.iterdir()] == ["h.nc"]
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidFile, match=r"h\.nc"):
        read_netcdf(path)


def test_arrays_written_without_xarray_open_in_it_as_the_same_dataset(tmp_path):
    axes = (Axis.fixed("mag", 15, 16, 0.5, "mag"), Axis.text("band"), Axis.fixed("snr", -1, 1, 1))
    histogram = Histogram(axes).fill(mag=[15.1, np.nan, 99.0], band=["g", None, "r"], snr=[0, 0, 1])
    write_variables(histogram.variables(), tmp_path / "own.nc", attributes={"Conventions": CF})
    write_netcdf(histogram.to_xarray(), tmp_path / "xarray.nc")
    own = read_netcdf(tmp_path / "own.nc")
    xr.testing.assert_identical(own, read_netcdf(tmp_path / "xarray.nc"))
    assert int(own.counts.sum() + own.special_counts.sum()) == 3
    with netCDF4.Dataset(tmp_path / "own.nc") as file:
        assert file["counts"].filters()["fletcher32"]


def test_many_threads_write_and_read_netcdf_in_one_process(tmp_path):
    script = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from virtualobserver.io.csv_text import frame_of_csv
from virtualobserver.io.netcdf import read_netcdf, write_variables

def one(number):
    path = Path(sys.argv[1]) / f"{number % 4}.nc"
    write_variables({"x": (("n",), np.arange(20000.0), {}), "name": (("n",), np.full(20000, "ab"), {})}, path)
    return float(read_netcdf(path)["x"].sum())

with ThreadPoolExecutor(8) as pool:
    print(set(pool.map(one, range(48))))
"""
    # A process of its own: what this guards against ends the whole process, not one test.
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, "{199990000.0}"), done.stderr[-2000:]


def test_a_gzip_file_of_several_members_is_read_whole_and_stays_bounded(tmp_path):
    """As `cat a.gz b.gz`, bgzip and programs that append to their logs write them."""
    packed = gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n")
    assert plain_bytes(packed, "x.csv.gz") == b"a,b\n1,2\n3,4\n"
    (tmp_path / "x.csv.gz").write_bytes(packed)
    assert read_any(tmp_path / "x.csv.gz")["a"].tolist() == [1, 3]
    with pytest.raises(InvalidFile, match="larger than 8 bytes once unpacked"):
        plain_bytes(packed, "x.csv.gz", largest=8)
    with pytest.raises(InvalidFile, match="cut gzip file"):
        plain_bytes(packed[:-9], "x.csv.gz")
