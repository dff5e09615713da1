"""Every service has a setting for its address: mirrors, copies of institutes, servers of tests."""

from __future__ import annotations

import pytest
from support.loopback import Act, Loopback

from virtualobserver.catalog import origins, read_catalog
from virtualobserver.config import CatalogSettings
from virtualobserver.config.settings import leaves
from virtualobserver.errors import ArchiveError
from virtualobserver.observatories.harps import HARPSSettings
from virtualobserver.observatories.harps.live import Addresses
from virtualobserver.observatories.ztf import ZTFSettings

NAMES = {
    ZTFSettings: {"tap_url", "lightcurve_url", "forced_url"},
    HARPSSettings: {"tap_url", "file_url", "web_url", "token_url", "gaia_url", "simbad_url"},
    CatalogSettings: {"gaia_url", "vizier_url", "named_url"},
}


@pytest.mark.parametrize("model", NAMES)
def test_every_service_has_an_address_with_a_meaning_and_no_secret_in_it(model):
    fields = {leaf.path[-1]: leaf.field for leaf in leaves(model()) if leaf.path[-1].endswith("_url")}
    assert set(fields) == NAMES[model]
    for name, field in fields.items():
        assert field.description.startswith("Address of ")
        assert getattr(model(**{name: "http://mirror:8080/x"}), name) == "http://mirror:8080/x"
        for wrong in ("ftp://h/x", "h/x", "https://", "https://me:pw@h/x", "https://h/x y"):
            with pytest.raises(ValueError, match=name):
                model(**{name: wrong})


def test_harps_asks_where_its_settings_say():
    where = Addresses.of(HARPSSettings(tap_url="http://a/t", file_url="http://a/f/", web_url="http://a"))
    assert (where.tap, where.file, where.web) == ("http://a/t", "http://a/f/", "http://a")


def test_answers_of_another_server_are_kept_apart(tmp_path, monkeypatch):
    import pandas as pd

    asked = []

    def at(url):
        def query(adql):
            asked.append(url)
            counts = "COUNT" in adql
            return pd.DataFrame(
                {"n": [1]} if counts else {"source_id": [7 if url is None else 8], "ra": 1.0, "dec": 2.0}
            )

        return query

    monkeypatch.setattr(origins, "query_at", at)
    adql = "SELECT source_id, ra, dec FROM gaiadr3.gaia_source"
    here = read_catalog(CatalogSettings(adql=adql), cache=tmp_path)
    there = read_catalog(CatalogSettings(adql=adql, gaia_url="http://mirror/tap"), cache=tmp_path)
    assert (here.names[0], there.names[0]) == ("7", "8")
    assert set(asked) == {None, "http://mirror/tap"}


def test_an_extract_of_a_mirror_says_so(tmp_path, monkeypatch):
    import pandas as pd

    from virtualobserver.catalog.refcat import list_refcats
    from virtualobserver.cli import main

    def at(url):
        def query(adql):
            assert url == "http://mirror/tap"
            return pd.DataFrame(
                {"n": [1]} if "COUNT" in adql else {"source_id": [7], "ra": [-1.0], "dec": [2.0]}
            )

        return query

    monkeypatch.setattr("virtualobserver.catalog.remote.query_at", at)
    words = ["--address", "http://mirror/tap", "--epoch", "2016", "--data", str(tmp_path)]
    for number, question in enumerate(
        (["--cone", "1,2,3"], ["--adql", "SELECT ra FROM t"], ["--vizier", "J/x"])
    ):
        assert main(["refcat", "build", f"test@{number}", *question, *words]) == 0
    for extract in list_refcats(tmp_path):
        assert extract.provenance["origin"]["text"].endswith(" at http://mirror/tap")
        assert extract.cone(359.0, 2.0, 0.1, 2016.0).ra.tolist() == [359.0]
    assert main(["refcat", "build", "test@9", "--file", "x.csv", *words]) == 2


def test_a_named_catalogue_comes_from_the_folder_that_is_named(tmp_path):
    with Loopback() as server:
        server.on("/mirror/gaiaedr3_wd_main.fits.gz", Act(status=404))
        settings = CatalogSettings(named="gaia_edr3_white_dwarfs", named_url=f"{server.url}/mirror/")
        with pytest.raises(ArchiveError, match="404"):
            read_catalog(settings, cache=tmp_path)
        assert [one.path for one in server.asked] == ["/mirror/gaiaedr3_wd_main.fits.gz"]
