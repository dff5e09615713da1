"""Files that promise more than they hold, or than there is memory for, end in one sentence that names them."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import zlib

import h5py
import netCDF4
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits as afits
from support.paths import ROOT

from virtualobserver.errors import InvalidFile
from virtualobserver.io import sizes, tables
from virtualobserver.io.fits.structure import check_structure
from virtualobserver.io.netcdf import read_netcdf
from virtualobserver.io.tables import read_any

HUGE = 64 << 30


def test_dataset_of_64_gib_that_was_never_written_is_refused(tmp_path):
    path = tmp_path / "huge.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("table", shape=(HUGE // 16,), dtype=[("a", "f8"), ("b", "f8")], chunks=(1024,))
    with pytest.raises(InvalidFile, match=r"huge\.h5\[/table\]: "):
        read_any(path)


def test_block_of_pandas_that_was_never_written_is_refused(tmp_path):
    path = tmp_path / "fixed.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("t")
        group["axis0"] = np.array([b"a"])
        group["block0_items"] = np.array([b"a"])
        group.create_dataset("block0_values", shape=(HUGE // 8, 1), dtype="f8", chunks=(1024, 1))
    with pytest.raises(InvalidFile, match=r"fixed\.h5\[/t/block0_values\]: "):
        read_any(path)


@pytest.mark.parametrize("name", ["bomb.csv.gz", "bomb.ecsv.gz", "bomb.vot.gz"])
def test_a_packed_table_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(tables, "most_bytes", lambda: 40_000_000)
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"name,ra,dec\n" + bytes(50_000_000), 1))
    with pytest.raises(InvalidFile, match=rf"{name}: larger than 10000000 bytes once unpacked"):
        read_any(path)


def test_fits_that_promises_an_enormous_array_is_refused(tmp_path):
    card = afits.Header()
    card["SIMPLE"], card["BITPIX"], card["NAXIS"] = True, -64, 2
    card["NAXIS1"], card["NAXIS2"] = 1 << 18, 1 << 18
    content = card.tostring().encode() + bytes(2880)
    for name, written in (("giant.fits", content), ("giant.fits.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(written)
        with pytest.raises(InvalidFile, match=name):
            check_structure(tmp_path / name)
        with pytest.raises(InvalidFile, match=name):
            read_any(tmp_path / name)


def test_netcdf_with_a_variable_that_was_never_written_is_refused(tmp_path):
    path = tmp_path / "huge.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", HUGE // 8)
        file.createVariable("v", "f8", ("x",), chunksizes=(1024,), zlib=True)
    with pytest.raises(InvalidFile, match=r"huge\.nc: "):
        read_netcdf(path)


@pytest.mark.parametrize(
    ("rows", "width"),
    [('nrows="9000000000"', 'datatype="double"'), ("", 'datatype="double" arraysize="9000000000"')],
)
def test_votable_that_promises_rows_it_has_not_is_refused(tmp_path, rows, width):
    path = tmp_path / "rows.vot"
    path.write_text(
        f'<?xml version="1.0"?><VOTABLE version="1.3"><RESOURCE><TABLE {rows}><FIELD name="a" {width}/>'
        "<DATA><TABLEDATA><TR><TD>1</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    with pytest.raises(InvalidFile, match=r"rows\.vot: "):
        read_any(path)


def test_parquet_of_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "wide.parquet"
    pq.write_table(pa.table({"a": np.zeros(4_000_000)}), path)
    assert path.stat().st_size < 1_000_000
    monkeypatch.setattr(sizes, "most_bytes", lambda: 10_000_000)
    with pytest.raises(InvalidFile, match=r"wide\.parquet: would take 32000000 bytes"):
        read_any(path)


def test_what_fits_is_read_however_well_it_is_packed(tmp_path):
    text = b"name,ra,dec\n" + b"star,10.0,20.0\n" * 200_000
    (tmp_path / "dense.csv.gz").write_bytes(gzip.compress(text))
    assert len(read_any(tmp_path / "dense.csv.gz")) == 200_000
    assert len(zlib.compress(bytes(1_000_000))) * 1100 > 1_000_000


def test_memory_that_runs_out_all_the_same_is_told_with_the_file(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("name,ra,dec\na,1,2\n")

    def full(_):
        raise MemoryError

    monkeypatch.setattr(tables, "frame_of_csv", lambda *_: full(_))
    with pytest.raises(InvalidFile, match=r"a\.csv: there is not enough memory"):
        read_any(path)


def test_the_bound_is_half_of_the_memory_this_process_may_have():
    assert 1 << 28 < sizes.most_bytes() < 1 << 50
    sizes.check_size(1000, "x")
    with pytest.raises(InvalidFile, match="x: would take"):
        sizes.check_size(1 << 60, "x")


def test_a_bulk_file_that_promises_more_rows_than_memory_holds_is_refused(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from virtualobserver.io import sizes
    from virtualobserver.observatories.ztf import bulk

    path = tmp_path / "ztf_000245_zg_c01_q1_dr16.parquet"
    pq.write_table(pa.table({"objectid": np.zeros(1_000_000, np.int64)}), path)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(sizes, "most_bytes", lambda: 1_000_000)
    with pytest.raises(InvalidFile, match=rf"{path.name}: would take 8000000 bytes"):
        bulk.BulkFile(path.read_bytes(), path.name)
    with pytest.raises(InvalidFile, match="would take 8000000 bytes"):
        bulk.holds(path, 245101100000001)


READS_WITH_LITTLE = """
import os, resource, sys, time
import psutil
from virtualobserver.io.csv_text import frame_of_csv
content = b"name,ra\\n" + b"".join(b"s%d,%d.5\\n" % (n, n % 360) for n in range(20000))
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
for megabytes in map(int, sys.argv[1:]):
    child = os.fork()  # before Arrow has any thread
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        allowed = psutil.Process().memory_info().vms + (megabytes << 20)
        resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
        try:
            os._exit(0 if len(frame_of_csv(content)) == 20000 else 9)
        except MemoryError:
            os._exit(7)
    deadline = time.monotonic() + 100
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            ended = os.waitpid(child, 0)
            break
        time.sleep(0.02)
    print(megabytes, os.waitstatus_to_exitcode(ended[1]))
"""


def test_a_table_is_read_or_refused_however_little_address_space_is_left():
    tried = ["4", "11", "21", "31", "41", "60", "2000"]
    done = subprocess.run(
        [sys.executable, "-c", READS_WITH_LITTLE, *tried],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=True, timeout=900,
    )  # fmt: skip
    codes = dict(map(int, line.split()) for line in done.stdout.splitlines())
    assert [str(megabytes) for megabytes in codes] == tried
    assert set(codes.values()) == {0, 7}, codes  # a table or MemoryError, no signal and no waiting
    assert codes[4] == 7
    assert codes[2000] == 0
