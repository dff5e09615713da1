"""Extracts of reference catalogues: what is built is what cones give, everywhere on the sky, and never changes."""

import hashlib
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import Angle, SkyCoord
from astropy.time import Time
from support.real import real_data

from virtualobserver.catalog.refcat import (
    Origin,
    PartitionedReference,
    build_refcat,
    list_refcats,
    open_refcat,
)
from virtualobserver.catalog.reference import GaiaArchive, LocalReference, ReferenceStars
from virtualobserver.cli import main
from virtualobserver.errors import CatalogError, ChecksumMismatch, StoreError
from virtualobserver.io.tables import write_any

MADE = Origin("file", "stars.csv")


def sky(n=40_000, seed=1):
    rng = np.random.default_rng(seed)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    return pd.DataFrame(
        {"source_id": rng.permutation(n) + 2**60, "ra": rng.uniform(0, 360, n), "dec": dec,
         "pmra": rng.normal(0, 300, n), "pmdec": rng.normal(0, 300, n),
         "phot_g_mean_mag": rng.uniform(5, 20, n), "bp_rp": rng.normal(1, 0.4, n), "ref_epoch": 2016.0}
    )  # fmt: skip


@pytest.mark.parametrize("order", [0, 1, 2])
def test_cones_over_borders_poles_and_the_zero_meridian_hold_exactly_the_right_stars(tmp_path, order):
    frame = sky()
    built = build_refcat(frame, tmp_path, "test@1", origin=MADE, order=order)
    everything = ReferenceStars.build(frame.to_dict("list"), epoch=2016.0)
    corner = [(0.0, 0.0), (45.0, 41.8103), (90.0, 0.0), (180.0, -41.8103)]  # where cells of order 0 meet
    for ra, dec in [*corner, (359.99, 20.0), (0.01, -60.0), (77.0, 90.0), (200.0, -90.0), (10.0, 89.5)]:
        for radius in (0.7, 6.0):
            for epoch in (2016.0, 1950.0):
                want = everything.at_epoch(epoch).within(ra, dec, radius)
                found = built.cone(ra, dec, radius, epoch)
                assert found.source_id.tolist() == want.source_id.tolist()
                np.testing.assert_allclose(found.ra, want.ra, atol=1e-11)
                np.testing.assert_array_equal(found.mag, want.mag)
    assert len(built.cone(0.0, 0.0, 180.0, 2016.0)) == len(frame)
    place = SkyCoord(45.0, 41.8103, unit="deg")
    found = built.cone(place, Angle("6d"), Time(2016.0, format="jyear"))
    assert found.source_id.tolist() == everything.within(45.0, 41.8103, 6.0).source_id.tolist()
    assert len(built.cone(0.0, 0.0, 0.0, 2016.0)) == 0


def test_a_fast_star_outside_the_cone_of_its_epoch_is_found(tmp_path):
    frame = pd.DataFrame(
        {"source_id": [7], "ra": [269.448502], "dec": [4.73942], "pmra": [-801.551], "pmdec": [10362.394]}
    )
    built = build_refcat(frame, tmp_path, "fast@1", origin=MADE, epoch=2016.0, order=8)
    assert len(built.cone(269.45403, 4.66818, 0.001, 1991.25)) == 1
    assert len(built.cone(269.45403, 4.66818, 0.001, 2016.0)) == 0


def test_cells_are_as_small_as_the_densest_place_wants_and_a_cone_reads_only_its_own(tmp_path):
    rng = np.random.default_rng(2)
    n = 200_000
    frame = pd.DataFrame(
        {"source_id": np.arange(n), "ra": rng.uniform(100, 104, n), "dec": rng.uniform(-2, 2, n)}
    )
    built = build_refcat(frame, tmp_path, "dense@1", origin=MADE, epoch=2000.0)
    rows = [file["rows"] for file in built.provenance["files"].values()]
    assert max(rows) <= 50_000
    assert sum(rows) == len(built) == n
    near = built.cone(102.0, 0.0, 0.2, 2000.0)
    assert len(near) == pytest.approx(n * np.pi * 0.2**2 / 16, rel=0.15)
    read = built._cell.cache_info().misses
    assert 0 < read < len(rows) / 2
    built.cone(102.0, 0.0, 0.2, 2000.0)
    assert built._cell.cache_info().misses == read


def test_an_extract_is_immutable_and_says_where_it_comes_from(tmp_path):
    build_refcat(sky(500), tmp_path, "test@1", origin=Origin("adql", "SELECT 1"))
    with pytest.raises(CatalogError, match="never changes"):
        build_refcat(sky(10), tmp_path, "test@1", origin=MADE)
    (found,) = list_refcats(tmp_path)
    assert (found.name, len(found), found.epoch) == ("test@1", 500, 2016.0)
    assert found.provenance["origin"] == {"kind": "adql", "text": "SELECT 1", "sha256": ""}
    assert found.provenance["columns"]["mag"] == "phot_g_mean_mag"
    files = sorted(path for path in found.path.rglob("*.parquet"))
    assert all(path.stat().st_mode & 0o222 == 0 for path in files)
    lines = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(found.path).as_posix()}\n"
        for path in sorted(files, key=lambda path: path.relative_to(found.path).as_posix())
    )
    assert found.provenance["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    assert [path.name for path in (tmp_path / "refcat").iterdir()] == ["test@1"]
    again = pickle.loads(pickle.dumps(found))
    assert len(again.cone(0, 0, 180, 2016.0)) == 500


def test_same_stars_make_the_same_bytes(tmp_path):
    one = build_refcat(sky(2000), tmp_path / "a", "test@1", origin=MADE)
    two = build_refcat(sky(2000).sample(frac=1, random_state=3), tmp_path / "b", "test@1", origin=MADE)
    assert one.provenance["sha256"] == two.provenance["sha256"]


def test_a_changed_or_missing_file_is_found_out(tmp_path):
    built = build_refcat(sky(500), tmp_path, "test@1", origin=MADE)
    built.verify()
    name = next(iter(built.provenance["files"]))
    path = built.path / name
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-10])
    with pytest.raises(ChecksumMismatch, match=name):
        built.verify()
    with pytest.raises(StoreError, match="broken"):
        PartitionedReference(built.path).cone(0, 0, 180, 2016.0)
    path.unlink()
    with pytest.raises(ChecksumMismatch, match=name):
        built.verify()
    (built.path / "provenance.json").chmod(0o644)
    (built.path / "provenance.json").write_text(json.dumps({"format": 9}))
    with pytest.raises(CatalogError, match="format 9"):
        PartitionedReference(built.path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dec": 91.0}, "out of range"),
        ({"ra": np.nan}, "out of range"),
        ({"source_id": 5}, "twice: 5"),
        ({"source_id": 1e17}, "lost digits"),
        ({"ra": "12:00:00"}, "no numbers"),
        ({"ref_epoch": np.r_[2015.5, np.full(9, 2016.0)]}, "several epochs"),
    ],
)
def test_stars_that_cannot_be_used_are_an_error_that_names_them(tmp_path, change, said):
    with pytest.raises(CatalogError, match=said):
        build_refcat(sky(10).assign(**change), tmp_path, "test@1", origin=MADE)
    assert not list((tmp_path / "refcat").glob("*")) if (tmp_path / "refcat").exists() else True


def test_epochs_are_read_known_or_asked_for(tmp_path):
    plain = sky(10).drop(columns="ref_epoch")
    with pytest.raises(CatalogError, match="--epoch"):
        build_refcat(plain, tmp_path, "a@1", origin=MADE)
    adql = Origin("adql", "SELECT * FROM gaiadr2.gaia_source")
    assert build_refcat(plain, tmp_path, "a@1", origin=adql).epoch == 2015.5
    vizier = plain.rename(columns={"ra": "RA_ICRS", "dec": "DE_ICRS", "phot_g_mean_mag": "Gmag"})
    dr3 = Origin("vizier", "I/355/gaiadr3")
    assert build_refcat(vizier, tmp_path, "b@1", origin=dr3).epoch == 2016.0
    # VizieR's own columns _RAJ2000 are moved to 2000 already
    moved = plain.rename(columns={"ra": "_RAJ2000", "dec": "_DEJ2000"})
    assert build_refcat(moved, tmp_path, "c@1", origin=dr3).epoch == 2000.0
    assert build_refcat(moved, tmp_path, "d@1", origin=dr3, epoch=2010.5).epoch == 2010.5


def test_names_lead_nowhere_else_and_unknown_ones_list_what_there_is(tmp_path):
    for wrong in ("gaia", "../x@1", "a@../../b", "A b@1", "a@"):
        with pytest.raises(CatalogError, match="<name>@<version>"):
            build_refcat(sky(10), tmp_path, wrong, origin=MADE)
    build_refcat(sky(10), tmp_path, "test@1", origin=MADE)
    assert isinstance(open_refcat("test@1", tmp_path), PartitionedReference)
    with pytest.raises(CatalogError, match="test@1"):
        open_refcat("other@1", tmp_path)
    assert isinstance(open_refcat("gaia@dr3", tmp_path), GaiaArchive)
    folder = tmp_path / "refcat" / "plain@1"
    folder.mkdir()
    sky(10).to_parquet(folder / "x.parquet")
    assert isinstance(open_refcat("plain@1", tmp_path), LocalReference)


def test_the_live_archive_is_asked_once_and_its_answer_kept_in_the_data_folder(tmp_path):
    asked = []

    def query(adql):
        asked.append(adql)
        return (
            pd.DataFrame({"n": [1]}) if "COUNT" in adql else sky(1).assign(ra=10.0, dec=20.0, pmra=0, pmdec=0)
        )

    for _ in range(2):
        found = open_refcat("gaia@dr3", tmp_path, query=query).cone(10.0, 20.0, 0.1, 2016.0)
        assert len(found) == 1
    assert len(asked) == 2
    assert list((tmp_path / "cache" / "refcat").glob("*.parquet"))


def test_the_copy_at_vizier_is_asked_in_its_own_words(tmp_path):
    asked = []

    def query(adql):
        asked.append(adql)
        answer = sky(1).assign(ra=10.0, dec=20.0, pmra=0, pmdec=0)
        return pd.DataFrame({"n": [1]}) if "COUNT" in adql else answer

    catalogue = open_refcat("vizier_gaia@dr3", tmp_path, query=query)
    assert catalogue.name == "vizier_gaia@dr3"
    assert len(catalogue.cone(10.0, 20.0, 0.1, 2016.0)) == 1
    assert asked[0] == (
        "SELECT Source AS source_id, RA_ICRS AS ra, DE_ICRS AS dec, pmRA AS pmra, pmDE AS pmdec, Plx AS parallax, "
        'e_Plx AS parallax_error, Gmag AS phot_g_mean_mag, "BP-RP" AS bp_rp, "G-RP" AS g_rp, RV AS radial_velocity '
        "FROM \"I/355/gaiadr3\" WHERE 1 = CONTAINS(POINT('ICRS', RA_ICRS, DE_ICRS), CIRCLE('ICRS', 10.0101617, "
        "20.0000000, 0.1562500)) AND (DISTANCE(POINT('ICRS', RA_ICRS, DE_ICRS), POINT('ICRS', 10.0101617, 20.0000000)) "
        "< 0.1562500 OR pmRA * pmRA + pmDE * pmDE > 250000)"
    )


@pytest.mark.parametrize("suffix", ["csv", "vot", "fits", "parquet"])
def test_command_builds_from_every_format_lists_and_verifies(tmp_path, capsys, suffix):
    path = tmp_path / f"stars.{suffix}"
    write_any(sky(50).rename(columns={"ra": "alpha"}), path)
    data = ["--data", str(tmp_path / "data")]
    words = ["refcat", "build", "test@1", "--file", str(path), "--column", "ra=alpha", *data]
    assert main(words) == 0
    assert "50 stars of 2016" in capsys.readouterr().out
    assert main(words) == 2
    assert "never changes" in capsys.readouterr().err
    assert main(["refcat", "verify", "test@1", *data]) == 0
    capsys.readouterr()
    assert main(["refcat", "list", "--format", "csv", *data]) == 0
    listed = capsys.readouterr().out
    assert "test@1,50,2016.0" in listed
    assert f"stars.{suffix}" in listed
    found = open_refcat("test@1", tmp_path / "data")
    want = ReferenceStars.build(sky(50).to_dict("list"), epoch=2016.0)
    assert sorted(found.cone(0, 0, 180, 2016.0).source_id) == sorted(want.source_id)


def test_command_asks_for_exactly_one_source_and_says_what_is_wrong(tmp_path, capsys):
    data = ["--data", str(tmp_path)]
    assert main(["refcat", "build", "test@1", *data]) == 2
    assert main(["refcat", "build", "test@1", "--cone", "1,2,3", "--vizier", "x", *data]) == 2
    assert main(["refcat", "build", "test@1", "--cone", "1,2", *data]) == 2
    assert main(["refcat", "build", "test@1", "--adql", "DROP TABLE x", *data]) == 2
    assert main(["refcat", "verify", "test@1", *data]) == 2
    assert "test@1" in capsys.readouterr().err
    assert main(["refcat", "list", *data]) == 0


@pytest.mark.real
def test_recorded_gaia_answer_becomes_an_extract(tmp_path):
    path = real_data("archives", "gaia", "1712337806100O-result.ecsv")
    assert main(["refcat", "build", "gaia_dr3@recorded", "--file", str(path), "--data", str(tmp_path)]) == 0
    built = open_refcat("gaia_dr3@recorded", tmp_path)
    from virtualobserver.io.tables import read_any

    frame = read_any(path)
    frame.columns = [str(name).lower() for name in frame.columns]
    found = built.cone(float(frame["ra"].iloc[0]), float(frame["dec"].iloc[0]), 1e-4, 2016.0)
    assert found.source_id.tolist() == [int(frame["source_id"].iloc[0])]
    assert found.mag[0] == pytest.approx(float(frame["phot_g_mean_mag"].iloc[0]))
