"""Catalogues that archives answer with: recorded answers, whole or refused, asked for once."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table as AstropyTable
from support.real import real_data

from virtualobserver.catalog import read_catalog, remote
from virtualobserver.config import CatalogSettings
from virtualobserver.errors import ArchiveOverflow
from virtualobserver.io.http.client import HttpClient

CONE = {"ra": 280.0, "dec": -60.0, "radius": 0.1}


def recorded_cone() -> AstropyTable:
    """Return the 50 rows that the Gaia archive gave for a cone: its row limit, not all of the cone."""
    answer = json.loads(real_data("archives", "gaia", "cone_search.json").read_text())
    names = [column["name"] for column in answer["metadata"]]
    frame = pd.DataFrame(answer["data"], columns=names)
    return AstropyTable.from_pandas(frame[[name for name in names if not frame[name].isna().all()]])


class Archive:
    """Stands in for the TAP client: counts what it is asked, and answers with a table."""

    def __init__(self, table, count):
        self.table, self.count, self.asked = table, count, []

    def answer(self, http, url, adql):
        assert isinstance(http, HttpClient)
        assert url.startswith("https://")
        self.asked.append(adql)
        return AstropyTable({"n": [self.count]}) if "COUNT(" in adql else self.table


@pytest.fixture
def gaia(monkeypatch):
    def make(table, count):
        archive = Archive(table, count)
        monkeypatch.setattr(remote, "tap_job", archive.answer)
        return archive

    return make


@pytest.mark.real
def test_parity_11_recorded_gaia_rows_by_number_name_epoch_and_magnitude(gaia, tmp_path):
    table = recorded_cone()
    gaia(table, len(table))
    catalog = read_catalog(CatalogSettings(cone=CONE), cache=tmp_path)
    frame = catalog.to_pandas()
    assert len(catalog) == 50
    for number in (0, 7, -1):
        target = catalog[number]
        assert target == catalog[target.name]
        assert int(target.name) == int(frame["source_id"].iloc[number]) > 2**53
        assert (target.ra, target.dec) == (frame["ra"].iloc[number], frame["dec"].iloc[number])
        assert target.mag == pytest.approx(frame["phot_g_mean_mag"].iloc[number])
        assert (target.mag_band, target.namespace, target.epoch) == ("G", "gaia_dr3", 2016.0)
    moved = catalog.at_epoch(2026.0)
    shift = np.abs(moved.ra - catalog.ra) * np.cos(np.deg2rad(catalog.dec))
    moving = np.isfinite(frame["pmra"].to_numpy(dtype=float))
    assert 0 < shift[moving].max() < 0.1
    assert (shift[~moving] == 0).all()
    expected = frame["pmra"].to_numpy(dtype=float)[moving] * 10 / 3.6e6
    np.testing.assert_allclose(
        ((moved.ra - catalog.ra) * np.cos(np.deg2rad(catalog.dec)))[moving], expected, atol=2e-9
    )
    blue = read_catalog(
        CatalogSettings(cone=CONE, columns={"mag": "phot_bp_mean_mag"}, mag_band="BP"), cache=tmp_path
    )
    known = int(np.flatnonzero(np.isfinite(frame["phot_bp_mean_mag"].to_numpy(dtype=float)))[0])
    assert blue[known].mag == pytest.approx(frame["phot_bp_mean_mag"].iloc[known])
    assert blue[known].mag_band == "BP"


@pytest.mark.real
def test_fault_11_recorded_answer_cut_at_fifty_rows_is_refused_and_not_kept(gaia, tmp_path):
    gaia(recorded_cone(), 1234)
    with pytest.raises(ArchiveOverflow, match="50 of 1234 rows"):
        read_catalog(CatalogSettings(cone=CONE), cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_recorded_gaia_table_in_ecsv_keeps_its_numbers(tmp_path):
    path = real_data("archives", "gaia", "1712337806100O-result.ecsv")
    catalog = read_catalog(path)
    assert catalog.names.tolist()[0] == "6636090334814214528"
    assert catalog.namespace == "gaia_dr3"
    assert catalog[0].epoch == 2016.0


def test_an_archive_is_asked_once_for_each_question_and_again_on_refresh(gaia, tmp_path):
    table = AstropyTable({"source_id": [4472832130942575872, 5], "ra": [1.0, 2.0], "dec": [3.0, 4.0]})
    archive = gaia(table, 2)
    settings = CatalogSettings(adql="SELECT TOP 2 source_id, ra, dec FROM gaiadr3.gaia_source")
    first = read_catalog(settings, cache=tmp_path)
    again = read_catalog(settings, cache=tmp_path)
    assert len(archive.asked) == 2  # the rows and their number
    assert first.names.tolist() == again.names.tolist() == ["4472832130942575872", "5"]
    assert first.checksum == again.checksum
    read_catalog(CatalogSettings(adql="SELECT source_id, ra, dec FROM other"), cache=tmp_path)
    assert len(archive.asked) == 4
    archive.table, archive.count = table[:1], 1
    assert len(read_catalog(settings, cache=tmp_path)) == 2
    assert len(read_catalog(settings, cache=tmp_path, refresh=True)) == 1
    assert len(read_catalog(settings, cache=tmp_path)) == 1


def test_vizier_is_asked_for_all_rows_by_identifier_once(monkeypatch, tmp_path):
    archive = Archive(AstropyTable({"Name": ["a", "b"], "RA_ICRS": [1.0, 2.0], "DE_ICRS": [3.0, 4.0]}), 2)
    monkeypatch.setattr(remote, "tap_job", archive.answer)
    for _ in range(2):
        catalog = read_catalog(CatalogSettings(vizier="J/A+A/1/table1", where="dec > 3.5"), cache=tmp_path)
    assert catalog.names.tolist() == ["b"]
    assert catalog.name == "J/A+A/1/table1"
    assert archive.asked == ['SELECT * FROM "J/A+A/1/table1"', 'SELECT COUNT(*) AS n FROM "J/A+A/1/table1"']


def test_named_catalogues_say_where_they_are_and_how_many_rows_they_have():
    known = remote.PUBLISHED["gaia_edr3_white_dwarfs"]
    assert known.url.startswith("https://warwick.ac.uk/")
    assert known.file == "gaiaedr3_wd_main.fits.gz"
    assert known.rows == 1_280_266
