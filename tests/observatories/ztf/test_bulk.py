import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.paths import ROOT
from support.real import real_data
from support.ztf import Client, reduced

from virtualobserver import Project
from virtualobserver.data.product import Missing, Raw, Target
from virtualobserver.errors import BadKeyword, DataError, InvalidFile
from virtualobserver.observatories.ztf import VirtualZTF, bulk

NAME = "ztf_000250_zg_c01_q1_dr5.parquet"
OID = 250101100000001


def test_name_and_object_id_give_the_same_key():
    assert bulk.file_key(NAME) == bulk.key_of(OID) == "ztf_000250_zg_c01_q1"
    assert bulk.file_key("ztf_000250_zg.parquet") is None


def test_target_is_an_object_by_name_or_by_catalogue_column():
    assert bulk.oid_of(Target(str(OID))) == OID
    assert bulk.oid_of(Target("star", extra={"oid": OID})) == OID
    assert bulk.oid_of(Target("star")) is None


def test_bytes_that_are_not_parquet_are_refused():
    with pytest.raises(InvalidFile, match=r"x\.parquet"):
        bulk.BulkFile(b"PAR1 but not", "x.parquet")


def test_newest_of_several_releases_is_used(tmp_path):
    for release in (5, 24, 9):
        path = tmp_path / f"ztf_000250_zg_c01_q1_dr{release}.parquet"
        pq.write_table(pa.table({"objectid": [OID]}), path)
    ((_, raw),) = VirtualZTF().fetch([Target(str(OID))], Client(tmp_path))
    assert raw.archive_id.endswith("_dr24.parquet")


def fetch(*names, **options):
    folder = real_data("archives", "ztf", "bulk", NAME).parent
    survey = VirtualZTF(**options)
    return survey, list(survey.fetch([Target(name) for name in names], Client(folder)))


@pytest.mark.real
def test_object_is_one_raw_row_of_the_file_in_place():
    _, ((_, raw),) = fetch(str(OID))
    assert (raw.archive_id, raw.key, raw.in_place, raw.format) == (NAME, str(OID), True, "parquet")


@pytest.mark.real
def test_object_that_the_file_lacks_is_empty():
    _, ((_, missing),) = fetch(str(OID + 90000000))
    assert "not in the bulk file" in missing.reason


@pytest.mark.real
def test_epochs_are_those_of_the_file():
    first = pq.read_table(real_data("archives", "ztf", "bulk", NAME)).slice(0, 1).to_pylist()[0]
    survey, ((target, raw),) = fetch(str(OID))
    products = reduced(survey, [raw], target)
    assert sum(len(p.data) for p in products) == first["nepochs"] == 23
    hjd = np.concatenate([p.data["hjd"] for p in products])
    assert np.allclose(hjd - 2400000.5, first["hmjd"], atol=1e-9, rtol=0)
    mjd = np.concatenate([p.data.mjd for p in products])
    assert 0 < np.abs(mjd + 2400000.5 - hjd).max() < 0.0059
    flags = np.concatenate([p.data.flags for p in products])
    assert ((flags != 0) == (np.array(first["catflags"]) != 0)).all()


@pytest.mark.real
def test_bad_exposures_are_known_by_all_objects_of_the_file_and_the_magnitudes_of_the_archive_can_be_had_back():
    file = bulk.BulkFile(real_data("archives", "ztf", "bulk", NAME).read_bytes(), NAME)
    plain, mended = (file.columns(250101100000627, corrected=one) for one in (False, True))
    assert mended["mag"] + mended["exposure_offset"] == pytest.approx(plain["mag"])
    assert mended["magerr"] / mended["exposure_factor"] == pytest.approx(plain["magerr"])
    dip = np.floor(plain["hjd"] - 2400000.5) == 59134
    assert np.abs(mended["exposure_offset"][dip]).max() < 0.02  # the star's own dip of 0.3 mag is left alone
    night = np.floor(file._lists["mjd"][1]).astype(int)
    bad = night == 59199
    assert np.median(file.effects.factor[bad]) > 2
    assert np.median(file.effects.factor[night == 58397]) == 1


@pytest.mark.real
def test_times_of_a_whole_file_agree_with_the_conversion_of_each_object():
    from virtualobserver.maths.times import bjd_tdb, hjd_utc
    from virtualobserver.observatories.ztf.reduce import PALOMAR

    columns = bulk.BulkFile(real_data("archives", "ztf", "bulk", NAME).read_bytes(), NAME).columns(OID)
    ra, dec, mjd = columns["ra"][0], columns["dec"][0], columns["mjd"]
    assert np.abs(hjd_utc(mjd, ra, dec, PALOMAR) - columns["hjd"]).max() * 86400.0 < 0.1
    assert np.abs(bjd_tdb(mjd, ra, dec, PALOMAR) - columns["bjd_tdb"]).max() * 86400.0 < 0.1


@pytest.mark.real
def test_fault_17_rounded_times_are_refused_for_fast_searches_unless_allowed():
    survey, ((target, raw),) = fetch(str(OID), time_resolution=60.0)
    with pytest.raises(DataError, match=r"337\.5"):
        reduced(survey, [raw], target)
    survey, ((target, raw),) = fetch(str(OID), time_resolution=60.0, allow_coarse_times=True)
    assert reduced(survey, [raw], target)


@pytest.mark.real
def test_object_missing_at_reduction_is_named():
    path = real_data("archives", "ztf", "bulk", NAME)
    raw = Raw(NAME, "parquet", path=path, in_place=True, key="250101100099999")
    with pytest.raises(BadKeyword, match="250101100099999"):
        reduced(VirtualZTF(), [raw], Target("x"))


@pytest.mark.real
def test_run_over_a_bulk_file_with_the_file_as_catalogue_finds_events_and_measures_efficiency(tmp_path, url):
    path = real_data("archives", "ztf", "bulk", NAME)
    settings = ROOT / "configs" / "ztf_bulk.yaml"
    table = pq.read_table(path).to_pandas()
    table = table[table["objectid"] > table["objectid"][300]].head(60).set_index("objectid")
    chosen = {
        "catalog.where": f"objectid >= {table.index[0]}",
        "observatories.ztf.archive": str(path.parent),
        "catalog.file": str(path),
        "catalog.limit": 60,
        "run.workers": 1,
    }
    with Project.open(settings, data=tmp_path / "data", url=url, **chosen) as project:
        summary = project.run()
        assert summary.failures == []
        usable = [oid for oid, flags in table["catflags"].items() if (np.asarray(flags) == 0).any()]
        counts = {step: dict(counter) for step, counter in summary.counts.items()}
        empty = 60 - len(usable)
        assert 0 < empty < 10
        assert counts["fetch:ztf"] == {"done": 60}
        assert counts["reduce:ztf"] == {"done": len(usable), "empty": empty}
        assert counts["analyse:transients"] == {"done": len(usable), "empty": empty}
        assert counts["simulate:transients"] == {"done": len(usable)}
        epochs = project.sql(
            "SELECT s.name, sum(p.n) AS n FROM product p JOIN source s ON s.id = p.source_id GROUP BY s.name"
        )
        assert dict(zip(epochs["name"].astype(int), epochs["n"], strict=True)) == {
            oid: table.loc[oid, "nepochs"] for oid in usable
        }
        rows = project.efficiency()
        assert rows["injected"].sum() == len(usable)
        assert 0 < rows["found"].sum() < len(usable)
        # the whole file is registered once and stays where it is
        files = project.sql("SELECT path, external FROM file WHERE format = 'parquet'")
        assert files.to_dict("records") == [{"path": str(path.resolve()), "external": True}]


@pytest.mark.real
def test_bulk_file_is_opened_once_for_all_objects_and_surveys_of_a_process(monkeypatch):
    opened = []
    real_file = bulk.BulkFile
    monkeypatch.setattr(bulk, "BulkFile", lambda *args: opened.append(args[1]) or real_file(*args))
    bulk._opened.cache_clear()
    table = pq.read_table(real_data("archives", "ztf", "bulk", NAME), columns=["objectid"]).to_pandas()
    for oid in table["objectid"].head(3):
        survey, ((target, raw),) = fetch(str(oid))
        reduced(survey, [raw], target)
    assert opened == [NAME]


def test_bulk_file_that_changed_is_read_again(tmp_path):
    path = tmp_path / NAME
    for oid, other in ((OID, OID + 1), (OID + 1, OID)):
        pq.write_table(pa.table({"objectid": [oid]}), path)
        os.utime(path, (1.0, float(oid % 10**6)))
        found = [
            thing for _, thing in VirtualZTF().fetch([Target(str(oid)), Target(str(other))], Client(tmp_path))
        ]
        assert [type(thing) for thing in found] == [Raw, Missing]
