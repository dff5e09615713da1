import re

import numpy as np
import pandas as pd
import pytest

from virtualobserver.catalog.reference import (
    GaiaArchive,
    LocalReference,
    MemoryReference,
    ReferenceStars,
    build_cone_query,
)
from virtualobserver.errors import CatalogError, InvalidFile


def stars():
    columns = {
        "source_id": [4472832130942575872, 2], "ra": [269.448502525, 269.45], "dec": [4.739420051, 4.70],
        "pmra": [-801.551, np.nan], "pmdec": [10362.394, np.nan], "phot_g_mean_mag": [8.19, 15.0],
    }  # fmt: skip
    return ReferenceStars.build(columns, epoch=2016.0)


def test_stars_move_and_ids_of_nineteen_digits_stay_exact():
    early = stars().at_epoch(1991.25)
    assert early.source_id[0] == 4472832130942575872
    assert (early.dec[0] - 4.739420051) * 3600 == pytest.approx(-256.47, abs=0.05)
    assert early.dec[1] == pytest.approx(4.70, abs=1e-12)
    assert np.isnan(early.parallax).all()


def test_cone_is_that_of_the_date_and_nearest_first():
    catalogue = MemoryReference(stars())
    assert len(catalogue.cone(269.4485, 4.7394, 5 / 3600, 2016.0)) == 1
    assert len(catalogue.cone(269.4485, 4.7394, 5 / 3600, 2000.0)) == 0
    assert catalogue.cone(269.45, 4.70, 0.2, 2016.0).source_id.tolist() == [2, 4472832130942575872]


def test_stars_survive_csv():
    again = ReferenceStars.from_csv(stars().to_csv())
    assert again.source_id.tolist() == stars().source_id.tolist()
    assert again.epoch == 2016.0
    np.testing.assert_array_equal(again.pmra, stars().pmra)
    with pytest.raises(InvalidFile, match="gaia"):
        ReferenceStars.from_csv(b"source_id,ra\nx,y\n", "gaia answer")


def test_missing_columns_are_named():
    with pytest.raises(CatalogError, match="dec"):
        ReferenceStars.build({"source_id": [1], "ra": [2.0]}, epoch=2016.0)


def test_gaia_query_has_the_documented_form():
    adql = build_cone_query(86.8212, -51.0665, 30 / 3600, 2010.0)
    assert adql == (
        "SELECT source_id, ra, dec, pmra, pmdec, parallax, parallax_error, phot_g_mean_mag, bp_rp, g_rp, "
        "radial_velocity FROM gaiadr3.gaia_source WHERE 1 = CONTAINS(POINT('ICRS', ra, dec), "
        "CIRCLE('ICRS', 86.8212000, -51.0665000, 0.0260000)) AND (DISTANCE(POINT('ICRS', ra, dec), "
        "POINT('ICRS', 86.8212000, -51.0665000)) < 0.0091667 OR pmra * pmra + pmdec * pmdec > 250000)"
    )
    assert "gaiadr2.gaia_source" in build_cone_query(1, 2, 0.1, 2015.5, release="dr2")
    for wrong in ((1.0, 99.0, 0.1), (np.nan, 0.0, 0.1), (1.0, 2.0, 0.0)):
        with pytest.raises(CatalogError):
            build_cone_query(*wrong, 2016.0)
    with pytest.raises(CatalogError, match="dr9"):
        GaiaArchive("dr9")


def test_gaia_is_asked_once_and_a_broken_answer_is_asked_again(tmp_path):
    asked = []

    def query(adql):
        asked.append(adql)
        frame = pd.DataFrame({"SOURCE_ID": [7], "ra": [10.0], "dec": [20.0], "phot_g_mean_mag": [5.0]})
        return pd.DataFrame({"n": [1]}) if "COUNT" in adql else frame

    catalogue = GaiaArchive(cache=tmp_path, query=query)
    for _ in range(3):
        found = catalogue.cone(10.0, 20.0, 0.01, 2016.0)
        assert (found.source_id.tolist(), found.mag.tolist()) == ([7], [5.0])
    assert len(asked) == 2
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:50])
    catalogue.cone(10.0, 20.0, 0.01, 2016.0)
    assert len(asked) == 4


def test_frames_of_a_drifting_field_share_one_answer_that_holds_all_their_stars(tmp_path):
    rng = np.random.default_rng(1)
    asked = []
    for where, dec in enumerate((-65.0, 0.0, 89.7, -90.0, 36.65)):
        dec_all = np.clip(dec + rng.uniform(-4, 4, 4000), -90, 90)
        stars = pd.DataFrame(
            {
                "source_id": np.arange(4000),
                "ra": rng.uniform(0, 360, 4000),
                "dec": dec_all,
                "pmra": 0.0,
                "pmdec": 0.0,
            }
        )
        whole = ReferenceStars.build(stars.to_dict("list"), epoch=2016.0)

        def query(adql, whole=whole, stars=stars):
            asked.append(adql)
            ra0, dec0, radius = map(
                float, re.search(r"CIRCLE\('ICRS', ([^,]+), ([^,]+), ([^)]+)\)", adql).groups()
            )
            inside = stars[whole.distances(ra0, dec0) <= 3600 * radius]
            return pd.DataFrame({"n": [len(inside)]}) if "COUNT" in adql else inside

        catalogue = GaiaArchive(cache=tmp_path / str(where), query=query, tiles=True)
        asked.clear()
        for frame in range(40):
            ra, here = 359.95 + 0.002 * frame, np.clip(dec - 0.002 * frame, -90, 90)
            found = catalogue.cone(ra % 360, here, 0.7, 2012.46 + frame / 1e4)
            np.testing.assert_array_equal(
                np.sort(found.source_id), np.sort(whole.within(ra % 360, here, 0.7).source_id)
            )
        assert len(asked) <= 8  # each of up to four tiles is counted and fetched once
    with pytest.raises(CatalogError, match="a cone needs"):
        catalogue.cone(1.0, 99.0, 0.1, 2016.0)


def test_local_extract_reads_a_box_over_the_zero_meridian(tmp_path):
    n = 2000
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"source_id": np.arange(n) + 2**60, "ra": rng.uniform(0, 360, n), "dec": rng.uniform(-90, 90, n),
         "phot_g_mean_mag": rng.uniform(5, 20, n)}
    )  # fmt: skip
    folder = tmp_path / "gaia@extract"
    folder.mkdir()
    frame.to_parquet(folder / "part.parquet")
    local = LocalReference(folder)
    assert local.name == "gaia@extract"
    for ra, dec in ((0.0, 0.0), (359.9, 45.0), (120.0, -89.5)):
        found = local.cone(ra, dec, 8.0, 2016.0)
        want = ReferenceStars.build(frame.to_dict("list"), epoch=2016.0).within(ra, dec, 8.0)
        assert found.source_id.tolist() == want.source_id.tolist()
        assert len(found)


def test_local_extract_that_is_none_is_an_error_with_its_path(tmp_path):
    with pytest.raises(CatalogError, match="nowhere"):
        LocalReference(tmp_path / "nowhere")
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(CatalogError, match="bad"):
        LocalReference(tmp_path / "bad.parquet")
