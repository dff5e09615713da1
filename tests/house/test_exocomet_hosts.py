"""The list of known and claimed hosts: it loads as a catalogue, and says where its stars are and move."""

import numpy as np
import pytest
from support.paths import ROOT

from virtualobserver.catalog import read_catalog
from virtualobserver.config import CatalogSettings

HOSTS = ROOT / "catalogs" / "exocomet_hosts.csv"


@pytest.fixture(scope="module")
def hosts():
    settings = CatalogSettings(file=str(HOSTS), columns={"extra": ["radial_velocity", "status", "reference"]})
    return read_catalog(settings).to_pandas()


def test_hosts_load_as_a_catalogue_with_motions_and_references(hosts):
    assert len(hosts) == 17
    assert hosts["name"].is_unique
    assert np.isfinite(hosts[["ra", "dec", "pmra", "pmdec", "parallax", "mag"]].to_numpy(dtype=float)).all()
    assert set(hosts["status"]) == {"host", "claimed"}
    assert hosts["reference"].str.contains(r"\d{4}").all()


def test_hosts_of_the_published_truth_set_are_all_there(hosts):
    names = set(hosts["name"])
    assert names == {
        "bet Pic", "phi Leo", "51 Oph", "HD 172555", "HD 109573", "49 Cet", "HD 110411", "eta Crv", "HD 225200",
        "c Aql", "HD 21620", "5 Vul", "HD 145964", "HD 85905", "HD 24966", "HD 38056", "theta Hya",
    }  # fmt: skip


def test_positions_are_those_of_2000(hosts):
    # Hipparcos has eta Crv at 188.01868, -16.19592 in 1991.25; it moves 0.43 arcsec a year
    star = hosts.set_index("name").loc["eta Crv"]
    assert star["ra"] == pytest.approx(188.0176105, abs=1e-6)
    assert star["dec"] == pytest.approx(-16.1960046, abs=1e-6)
