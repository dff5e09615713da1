"""Target lists: reading, checking, choosing, moving, asking archives."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import requests
from astropy.coordinates import Angle, SkyCoord
from support.real import real_data

from virtualobserver.catalog import (
    Catalog,
    named,
    query_gaia,
    query_gaia_cone,
    query_vizier,
    read_catalog,
    remote,
)
from virtualobserver.config import CatalogSettings
from virtualobserver.errors import (
    ArchiveOverflow,
    ArchiveRefused,
    ArchiveUnavailable,
    CatalogError,
    ConfigError,
    UnknownKeyError,
)
from virtualobserver.io.tables import write_any


def stars(**columns):
    base = {
        "name": ["a", "b", "c"],
        "ra": [10.0, 20.0, 30.0],
        "dec": [-40.0, 0.0, 40.0],
        "mag": [14.0, 15.0, np.nan],
    }
    return pd.DataFrame(base | columns)


@pytest.mark.parametrize("ending", ["csv", "h5", "parquet", "fits", "ecsv", "vot"])
def test_parity_09_made_up_catalogue_survives_every_format(tmp_path, ending):
    made = Catalog.make_test(10, seed=3)
    assert len(made) == 10
    assert made.to_pandas()["ra"].dtype == made.to_pandas()["dec"].dtype == np.float64
    path = tmp_path / f"test.{ending}"
    write_any(made.to_pandas(), path)
    again = read_catalog(path)
    assert again.names.tolist() == made.names.tolist()
    np.testing.assert_array_equal(again.ra, made.ra)
    assert again[3].mag == made[3].mag
    assert again[3].mag_band == made[3].mag_band
    assert again.name == "test"


def test_parity_11_rows_by_number_and_by_name():
    catalog = Catalog(stars())
    assert catalog[0].name == "a"
    assert catalog[-1].name == "c"
    assert catalog["b"].ra == 20.0
    assert catalog["c"].mag is None
    with pytest.raises(KeyError, match="no target 'z'"):
        catalog["z"]
    with pytest.raises(IndexError):
        catalog[3]


def test_parity_12_nearest_row_exact_near_and_across_ra_zero():
    catalog = Catalog(stars(ra=[359.99999, 20.0, 0.5], dec=[0.0, 89.9999, 0.0]))
    assert catalog.nearest(20.0, 89.9999).name == "b"
    assert catalog.nearest(0.5 + 0.3 / 3600, 0.0).name == "c"
    assert catalog.nearest(0.00001, 0.0).name == "a"
    assert catalog.nearest(359.9998, 0.0).name == "a"
    assert catalog.nearest(200.0, 89.9999, radius=2.0).name == "b"
    assert catalog.nearest(100.0, 0.0) is None
    assert Catalog(stars()[:0]).nearest(0, 0) is None


def test_out_of_range_positions_name_their_rows():
    with pytest.raises(CatalogError, match=r"rows 2, 3"):
        Catalog(stars(dec=[0.0, 91.0, np.nan]))
    with pytest.raises(CatalogError, match=r"rows 1.*ra"):
        Catalog(stars(ra=[-180.1, 2.0, 3.0]))
    with pytest.raises(CatalogError, match=r"rows 3"):
        Catalog(stars(ra=[1.0, 2.0, 360.5]))
    assert Catalog(stars(ra=[360.0, 2.0, 3.0])).ra[0] == 0.0


def test_names_that_are_there_twice_or_empty_name_their_rows():
    with pytest.raises(CatalogError, match=r"a \(rows 1, 3\)"):
        Catalog(stars(name=["a", "b", " a"]))
    with pytest.raises(CatalogError, match=r"without a name: rows 2"):
        Catalog(stars(name=["a", None, "c"]))


def test_fault_17_ids_never_go_through_floats():
    ids = [4472832130942575872, 4472832130942575873, 4472832130942575874]
    assert Catalog(stars(name=ids)).names.tolist() == [str(number) for number in ids]
    with pytest.raises(CatalogError, match="lose digits"):
        Catalog(stars(name=np.array(ids, dtype=float)))
    with pytest.raises(CatalogError, match="control characters"):
        Catalog(stars(name=["a", "b\x00", "c"]))


def test_missing_and_unknown_columns_are_named():
    with pytest.raises(CatalogError, match=r"no column for ra, dec.*mag"):
        Catalog(stars().drop(columns=["ra", "dec"]))
    with pytest.raises(CatalogError, match="no column 'RAX' for ra"):
        Catalog(stars(), columns={"ra": "RAX"})
    with pytest.raises(CatalogError, match="did you mean 'pmra'"):
        Catalog(stars(), columns={"pmraa": "ra"})


def test_columns_are_mapped_and_the_extra_columns_asked_for_reach_the_targets():
    frame = pd.DataFrame(
        {
            "objectid": [5],
            "objra": [1.0],
            "objdec": [2.0],
            "hmjd": [[1, 2]],
            "x": [np.int64(7)],
            "y": [np.nan],
        }
    )
    catalog = Catalog(frame, extra=("x", "objectid", "y"))
    (target,) = catalog.targets()
    assert (target.name, target.ra, target.dec) == ("5", 1.0, 2.0)
    assert target.extra == {"objectid": 5, "x": 7}
    assert type(target.extra["x"]) is int
    assert catalog.limit(1)["5"] == target
    assert Catalog(frame)[0].extra == {}
    with pytest.raises(CatalogError, match="no column z to keep; it has objectid"):
        Catalog(frame, extra=("z",))


def test_configuration_names_every_column_a_target_can_have():
    row = {"n": "s", "a": 1.0, "b": 2.0, "v": 9.0, "f": "zr", "k": "field", "t": 2015.0, "x": 1, "w": 2}
    columns = {"name": "n", "ra": "a", "dec": "b", "radial_velocity": "v", "mag_band": "f", "kind": "k"}
    settings = CatalogSettings(rows=[row], columns={**columns, "epoch": "t", "extra": ["x"]}, kind="object")
    catalog = read_catalog(settings)
    (target,) = catalog.targets()
    assert (target.mag_band, target.kind, target.epoch) == ("zr", "field", 2015.0)
    assert catalog.columns["radial_velocity"] == "v"
    assert target.extra == {"x": 1}
    assert read_catalog([{"name": "s", "ra": 1, "dec": 1}], kind="instrument")[0].kind == "instrument"


def test_checksum_follows_what_the_targets_are_said_to_be():
    settings = {"kind": "field", "mag_band": "g", "extra": ("mag",), "epoch": 2001.0, "namespace": "other"}
    sums = {Catalog(stars(), **{key: value}).checksum for key, value in settings.items()}
    assert len(sums | {Catalog(stars()).checksum}) == len(settings) + 1


def test_gaia_names_and_numbers_get_gaias_namespace_and_epoch():
    numbers = Catalog(
        pd.DataFrame({"source_id": [12345678901234567], "ra": [1.0], "dec": [1.0], "ruwe": [1.0]})
    )
    names = Catalog(stars(name=["Gaia DR3 1", "Gaia EDR3 2", "Gaia DR3 3"]))
    for catalog in (numbers, names):
        assert catalog.namespace == "gaia_dr3"
        assert catalog[0].epoch == 2016.0
    assert names[1].name == "2"
    assert names[1].aliases == ("Gaia DR3 2",)
    assert Catalog(stars(name=["Gaia DR2 1", "Gaia DR2 2", "Gaia DR2 3"])).namespace == "gaia_dr2"
    assert Catalog(stars(), name="mine").namespace == "mine"
    assert Catalog(stars())[0].epoch == 2000.0


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("mag < 15 and dec > -90", "a"),
        ("dec >= 0", "bc"),
        ("not (ra > 15)", "a"),
        ("10 < ra <= 30 or name == 'a'", "abc"),
        ("mag != 14", "b"),
        ("isfinite(mag)", "ab"),
        ("name in ('a', 'c')", "ac"),
        ("name not in ['a', 'c']", "b"),
        ("abs(dec) / 2 == 20", "ac"),
        ("`odd name` > 1", "bc"),
        ("-dec > 0", "a"),
        ("True", "abc"),
    ],
)
def test_where_selects_rows(condition, names):
    chosen = Catalog(stars(**{"odd name": [1, 2, 3]})).where(condition)
    assert "".join(chosen.names) == names


@pytest.mark.parametrize(
    "condition",
    [
        "__import__('os').system('true')",
        "mag.__class__",
        "[x for x in mag]",
        "lambda: 1",
        "open('x')",
        "mag <",
        "name < 5",
        "mag + 1",
        "mag = 3",
        "ra if dec else mag",
        "name + 1 > 2",
        "9" * 3000,
        "(" * 500,
        "",
        "mag[0] > 1",
        "@mag > 1",
        "abs(ra, dec) > 1",
    ],
)
def test_where_refuses_anything_but_conditions(condition):
    with pytest.raises(CatalogError, match="condition"):
        Catalog(stars()).where(condition)


def test_where_names_the_nearest_column():
    with pytest.raises(CatalogError, match="did you mean 'mag'"):
        Catalog(stars()).where("magg < 3")


def test_limit_and_sample_repeat_and_keep_the_order():
    catalog = Catalog.make_test(100)
    assert catalog.limit(5).names.tolist() == catalog.names[:5].tolist()
    first, second, other = (catalog.sample(20, seed=seed) for seed in (1, 1, 2))
    assert first.names.tolist() == second.names.tolist() == sorted(first.names)
    assert first.names.tolist() != other.names.tolist()
    assert len(catalog.sample(1000)) == 100


def test_checksum_follows_content_not_file_format(tmp_path):
    made = Catalog.make_test(10)
    paths = [tmp_path / "test.csv", tmp_path / "test.parquet"]
    for path in paths:
        write_any(made.to_pandas(), path)
    sums = {read_catalog(path, name="x").checksum for path in paths}
    assert len(sums) == 1
    assert Catalog.make_test(10, seed=1).checksum != made.checksum


def test_barnards_star_moves_as_observed():
    # Gaia DR3 4472832130942575872 at J2016; Hipparcos (J1991.25): 17h57m48.97s +4d40'05.8" (ICRS).
    frame = pd.DataFrame(
        {
            "source_id": [4472832130942575872],
            "ra": [269.44850252543836],
            "dec": [4.739420051112412],
            "pmra": [-801.5509783684709],
            "pmdec": [10362.394206546573],
            "parallax": [546.975939730948],
            "radial_velocity": [-110.46822],
            "ref_epoch": [2016.0],
        }
    )
    moved = Catalog(frame).at_epoch(1991.25)
    target = moved[0]
    assert target.epoch == 1991.25
    assert target.ra == pytest.approx(269.45402305, abs=0.1 / 3600)
    assert target.dec == pytest.approx(4.66828815, abs=0.1 / 3600)


def test_proper_motion_goes_to_the_right_axis_and_back():
    catalog = Catalog(
        stars(
            ra=[10.0, 359.99999, 30.0],
            dec=[60.0, 0.0, -40.0],
            pmra=[1000.0, 1000.0, 0.0],
            pmdec=[0.0, 0.0, -2000.0],
            parallax=[10.0, -5.0, np.nan],
        ),
        epoch=2000.0,
    )
    moved = catalog.at_epoch(2010.0)
    assert (moved.ra[0] - 10) * 3600 == pytest.approx(10 / 0.5, rel=1e-3)
    assert moved.ra[1] * 3600 == pytest.approx(10 - 0.036, rel=1e-3)
    assert (moved.dec[2] + 40) * 3600 == pytest.approx(-20, rel=1e-3)
    back = moved.at_epoch(2000.0)
    np.testing.assert_allclose(back.ra, catalog.ra, atol=1e-9)
    assert not moved.to_pandas()["pm_missing"].any()


def test_rows_without_proper_motion_stay_and_are_marked():
    catalog = Catalog(
        stars(pmra=[np.nan, 100.0, 100.0], pmdec=[5.0, 100.0, np.nan], parallax=[0.0, -1.0, 5.0]),
        epoch=2000.0,
    )
    moved = catalog.at_epoch(2020.0)
    assert np.isfinite(moved.ra).all()
    assert moved.to_pandas()["pm_missing"].tolist() == [True, False, True]
    assert (moved.ra == catalog.ra).tolist() == [True, False, True]
    assert moved[0].pmra is None
    assert moved.at_epoch(2020.0)[1] == moved[1]


def test_far_parallaxes_and_fast_motions_give_no_warning():
    catalog = Catalog(stars(pmra=[9000.0] * 3, pmdec=[9000.0] * 3, parallax=[1e-6, 0.01, 1.0]), epoch=2000.0)
    moved = catalog.at_epoch(2001.0)
    np.testing.assert_allclose((moved.dec - catalog.dec) * 3600, 9.0, rtol=1e-3)


def test_hundred_thousand_rows_take_about_a_second():
    catalog = Catalog.make_test(100_000)
    start = time.process_time()
    chosen = Catalog(catalog.to_pandas(), name="big").where("mag < 19 and dec > -60")
    assert len(chosen.targets()) == len(chosen) > 50_000
    assert time.process_time() - start < 5.0


@pytest.mark.parametrize(
    ("options", "epoch"),
    [
        ({}, 2000.0),
        ({"namespace": "gaia_dr3"}, 2016.0),
        ({"namespace": "gaia_dr2"}, 2015.5),
        ({"namespace": "gaia_dr2", "epoch": 2010.0}, 2010.0),
        ({"catalog_observation_year": 1991.25}, 1991.25),
    ],
)
def test_positions_have_the_epoch_given_or_that_of_their_authority(options, epoch):
    assert read_catalog([{"name": "1", "ra": 1, "dec": 1}], **options)[0].epoch == epoch


def test_configuration_chooses_rows_in_order(tmp_path):
    Catalog.make_test(50).to_pandas().to_csv(tmp_path / "list.csv", index=False)
    settings = CatalogSettings(file="list.csv", where="dec > 0", sample=10, seed=4, limit=3, at_epoch=2010.0)
    catalog = read_catalog(settings, folder=tmp_path)
    assert len(catalog) == 3
    assert (catalog.dec > 0).all()
    assert catalog.epoch == 2010.0
    assert catalog.name == "list"
    assert len(read_catalog(settings, folder=tmp_path, limit=2)) == 2
    both = read_catalog("list.csv", folder=tmp_path, where=("dec > 0", "ra < 180"))
    assert 0 < len(both) < 50
    assert (both.dec > 0).all()
    assert (both.ra < 180).all()


def test_relative_path_starts_at_the_folder_and_nowhere_else(tmp_path, monkeypatch):
    folders = [tmp_path / "configs", tmp_path / "work"]
    for number, folder in enumerate(folders, 1):
        folder.mkdir()
        Catalog.make_test(number).to_pandas().to_csv(folder / "list.csv", index=False)
    monkeypatch.chdir(folders[1])
    assert len(read_catalog("list.csv", folder=folders[0])) == 1
    assert len(read_catalog("list.csv")) == 2
    (folders[0] / "list.csv").unlink()
    with pytest.raises(CatalogError, match=r"list\.csv; a relative path starts at .*configs$"):
        read_catalog("list.csv", folder=folders[0])


def test_cone_chooses_from_a_downloaded_table_across_ra_zero(monkeypatch, tmp_path):
    frame = stars(ra=[359.95, 0.05, 0.2], dec=[0.0, 0.05, 0.0])
    monkeypatch.setattr("virtualobserver.catalog.origins.query_vizier", lambda table, **_: frame)
    settings = CatalogSettings(vizier="J/A/1/t", cone={"ra": 0.0, "dec": 0.0, "radius": 0.1})
    assert read_catalog(settings, cache=tmp_path).names.tolist() == ["a", "b"]
    assert Catalog(frame).within(0.2, 0.0, 180.0).names.tolist() == ["a", "b", "c"]
    place = SkyCoord(0.2, 0.0, unit="deg")
    assert Catalog(frame).within(place, Angle(180.0, "deg")).names.tolist() == ["a", "b", "c"]


def test_cone_alone_asks_gaia(monkeypatch, tmp_path):
    asked = []

    def cone(*where, **_):
        asked.append(where)
        return pd.DataFrame({"source_id": [7], "ra": [1.0], "dec": [-5.0], "ref_epoch": [2016.0]})

    monkeypatch.setattr("virtualobserver.catalog.origins.query_gaia_cone", cone)
    catalog = read_catalog(CatalogSettings(cone={"ra": 1.0, "dec": -5.0, "radius": 0.1}), cache=tmp_path)
    assert asked == [(1.0, -5.0, 0.1)]
    assert (catalog[0].namespace, catalog[0].epoch, catalog[0].mag_band) == ("gaia_dr3", 2016.0, "G")


def test_made_up_targets_follow_the_seed():
    settings = CatalogSettings(test=5, seed=2)
    assert len(read_catalog(settings)) == 5
    assert read_catalog(settings).ra.tolist() == Catalog.make_test(5, seed=2).ra.tolist()


def test_wrong_options_are_named_with_the_nearest_right_one():
    with pytest.raises(UnknownKeyError, match="did you mean 'where'"):
        read_catalog("x.csv", were="mag < 3")
    with pytest.raises(ConfigError, match="limit"):
        read_catalog("x.csv", limit=-1)


def test_configuration_needs_exactly_one_origin(tmp_path):
    with pytest.raises(CatalogError, match="nothing says"):
        read_catalog(CatalogSettings())
    with pytest.raises(ConfigError, match="not from file and test"):
        read_catalog("x.csv", test=3)
    with pytest.raises(CatalogError, match="there is no file"):
        read_catalog("absent.csv", folder=tmp_path)


def test_targets_written_in_the_configuration():
    catalog = read_catalog([{"name": "x", "ra": 1, "dec": -2, "alias": "y"}])
    assert catalog[0].aliases == ("y",)
    assert catalog[0].dec == -2.0


def answers(rows, count):
    asked = []

    def query(adql):
        asked.append(adql)
        return pd.DataFrame({"n": [count]}) if "COUNT(" in adql else pd.DataFrame({"source_id": range(rows)})

    return query, asked


@pytest.mark.parametrize(("rows", "count"), [(50, 51), (2000, 10**7)])
def test_fault_11_capped_answers_of_archives_are_never_accepted(rows, count):
    for ask in (lambda q: query_gaia("SELECT * FROM t", query=q), lambda q: query_vizier("J/A/1/t", query=q)):
        with pytest.raises(ArchiveOverflow, match=f"{rows} of {count}"):
            ask(answers(rows, count)[0])


def test_whole_answers_are_returned_and_the_cone_is_written_out():
    query, asked = answers(7, 7)
    assert len(query_gaia_cone(370.0, -5.5, 0.25, query=query)) == 7
    assert "CIRCLE('ICRS', 10.0, -5.5, 0.25)" in asked[0]
    assert "source_id" in asked[0]
    assert asked[1].startswith("SELECT COUNT(*)")
    query, asked = answers(1, 1)
    query_gaia("select top 1 a from t order by a desc;", query=query)
    assert "order by" not in asked[1].lower()


@pytest.mark.parametrize("adql", ["DROP TABLE x", "SELECT 1; DROP TABLE x", "", "selection"])
def test_fault_20_only_one_select_goes_to_gaia(adql):
    with pytest.raises(CatalogError, match="one ADQL SELECT"):
        query_gaia(adql, query=answers(0, 0)[0])


@pytest.mark.parametrize("table", ['x"; DROP TABLE y; --', "a b", "", "x" * 200])
def test_fault_20_vizier_tables_are_identifiers(table):
    with pytest.raises(CatalogError, match="no identifier"):
        query_vizier(table, query=answers(0, 0)[0])


@pytest.mark.parametrize("cone", [(np.nan, 0, 1), (0, 91, 1), (0, 0, 0), (0, 0, 200)])
def test_cones_out_of_range_are_refused(cone):
    with pytest.raises(CatalogError, match="a cone needs"):
        query_gaia_cone(*cone, query=answers(0, 0)[0])


@pytest.mark.parametrize(
    ("status", "error"), [(400, ArchiveRefused), (429, ArchiveUnavailable), (503, ArchiveUnavailable)]
)
def test_errors_of_archives_are_sorted_into_worth_another_try_and_final(status, error):
    def query(adql):
        response = requests.Response()
        response.status_code = status
        raise requests.HTTPError("no", response=response)

    with pytest.raises(error, match="Gaia archive"):
        query_gaia("SELECT 1 FROM t", query=query)
    with pytest.raises(ArchiveUnavailable, match="try again"):
        query_vizier("t", query=lambda adql: (_ for _ in ()).throw(ConnectionResetError("reset")))


def test_parity_10_white_dwarfs_are_downloaded_once_and_whole(tmp_path, monkeypatch):
    class Http:
        calls = 0

        def download(self, url, target):
            self.calls += 1
            assert "warwick.ac.uk" in url
            frame = pd.DataFrame(
                {
                    "WDJ_name": ["WDJ1", "WDJ2"],
                    "source_id": [4295806720, 38655544960],
                    "ra": [44.99, 45.1],
                    "dec": [0.02, 0.1],
                    "parallax": [np.nan, 5.0],
                    "pmra": [1.0, 2.0],
                    "pmdec": [1.0, 2.0],
                    "phot_g_mean_mag": [17.6, 18.0],
                    "Pwd": [0.99, 0.8],
                }
            )
            plain = tmp_path / "plain.fits"
            write_any(frame, plain)
            import gzip

            target.write_bytes(gzip.compress(plain.read_bytes()))

    http = Http()
    with pytest.raises(ArchiveOverflow, match="2 of 1280266 rows"):
        named("gaia_edr3_white_dwarfs", cache=tmp_path, http=http)
    assert not list(tmp_path.glob("*wd_main*"))
    published = replace(remote.PUBLISHED["gaia_edr3_white_dwarfs"], rows=2)
    monkeypatch.setitem(remote.PUBLISHED, "gaia_edr3_white_dwarfs", published)
    http.calls = 0
    for _ in range(2):
        assert len(named("gaia_edr3_white_dwarfs", cache=tmp_path, http=http)) == 2
    assert http.calls == 1
    catalog = read_catalog(CatalogSettings(named="gaia_edr3_white_dwarfs", where="Pwd > 0.9"), cache=tmp_path)
    (target,) = catalog.targets()
    assert (target.name, target.namespace, target.epoch, target.mag_band) == (
        "4295806720",
        "gaia_dr3",
        2016.0,
        "G",
    )
    assert target.aliases == ("Gaia DR3 4295806720", "WDJ1")
    with pytest.raises(CatalogError, match="gaia_edr3_white_dwarfs"):
        named("nothing", cache=tmp_path)


def test_a_motion_without_a_year_is_refused_with_the_rows_and_the_file(tmp_path):
    path = tmp_path / "cat.csv"
    path.write_text("name,ra,dec,pmra,pmdec,ref_epoch\na,150,20,900,0,2016.0\nb,150,20,900,0,\nc,1,2,0,,\n")
    with pytest.raises(CatalogError, match=r"cat\.csv.*ref_epoch.*row 2;.*catalog\.epoch"):
        read_catalog(path)
    with pytest.raises(CatalogError, match=r"no column ref_epoch.*rows 1, 2, 3;"):
        Catalog(stars(pmra=[1.0] * 3, pmdec=[0.0, np.nan, 1.0]))
    assert read_catalog(path, epoch=2015.5).epochs.tolist() == [2015.5] * 3
    path.write_text("name,ra,dec,pmra,pmdec,ref_epoch\na,150,20,900,0,2016.0\nc,1,2,0,,\n")
    assert read_catalog(path).epochs.tolist() == [2016.0, 2000.0]


@pytest.mark.parametrize("year", [57388.0, 0.0, 2457388.5, -1.0])
def test_an_epoch_that_is_no_year_is_refused_with_its_row(year):
    with pytest.raises(CatalogError, match="no Julian years: rows 2;"):
        Catalog(stars(ref_epoch=[2016.0, year, 2016.0]))


def test_names_of_gaia_tell_the_year_even_among_others():
    moving = {"pmra": [100.0] * 3, "pmdec": [0.0] * 3}
    for release, year in (("DR3", 2016.0), ("EDR3", 2016.0), ("DR2", 2015.5), ("DR1", 2015.0)):
        names = [f"Gaia {release} {number}" for number in (11, 12, 13)]
        assert Catalog(stars(name=names, **moving)).epochs.tolist() == [year] * 3
    names = ["Gaia DR3 11", "HD 5", "Gaia DR2 13"]
    mixed = stars(name=names, pmra=[100.0, 0.0, 100.0], pmdec=[0.0] * 3)
    assert Catalog(mixed).epochs.tolist() == [2016.0, 2000.0, 2015.5]
    assert [target.epoch for target in Catalog(mixed).targets()] == [2016.0, 2000.0, 2015.5]


def test_positions_that_say_j2000_in_their_name_are_of_2000():
    frame = stars(pmra=[100.0] * 3, pmdec=[0.0] * 3).rename(columns={"ra": "RAJ2000", "dec": "DEJ2000"})
    assert Catalog(frame).epochs.tolist() == [2000.0] * 3


@pytest.mark.real
def test_list_with_one_empty_epoch_names_row_and_file():
    with pytest.raises(CatalogError, match=r"cat\.csv.*row 2"):
        read_catalog(real_data("reports", "ztf", "epoch", "cat.csv"))


@pytest.mark.parametrize(
    ("given", "kept"), [(-1.5, 358.5), (-180.0, 180.0), (-1e-20, 0.0), (360.0, 0.0), (0.0, 0.0)]
)
def test_right_ascensions_below_zero_are_one_and_the_same_in_target_lists_and_reference_catalogues(
    given, kept
):
    from virtualobserver.catalog.refcat_columns import to_stars

    frame = pd.DataFrame({"name": ["a"], "source_id": [1], "ra": [given], "dec": [2.0]})
    catalog = Catalog(frame[["name", "ra", "dec"]], name="list")
    stars, _ = to_stars(frame, "x", epoch=2000.0, columns={}, name="x")
    assert catalog.ra.tolist() == [kept]
    assert [target.ra for target in catalog.targets()] == [kept]
    assert [ra % 360.0 for ra in stars.ra.tolist()] == [kept]


@pytest.mark.parametrize("given", [-180.1, 360.1])
def test_right_ascensions_that_are_none_are_refused_everywhere(given):
    from virtualobserver.catalog.refcat_columns import to_stars

    frame = pd.DataFrame({"name": ["a"], "source_id": [1], "ra": [given], "dec": [2.0]})
    with pytest.raises(CatalogError, match="out of range"):
        Catalog(frame[["name", "ra", "dec"]], name="list")
    with pytest.raises(CatalogError, match="out of range"):
        to_stars(frame, "x", epoch=2000.0, columns={}, name="x")


@pytest.mark.parametrize("alias", [["HD 1", "HR 2"], "HD 1|HR 2", "HD 1 | HR 2"])
def test_several_names_of_a_source_are_all_known(alias):
    row = {"name": "a", "ra": 1.0, "dec": 2.0, "alias": alias}
    assert Catalog.from_rows([row])["a"].aliases == ("HD 1", "HR 2")


def test_a_column_of_types_of_stars_is_not_the_kind_of_source(capsys):
    frame = pd.DataFrame({"name": ["a", "b"], "ra": [1.0, 2], "dec": [1.0, 2], "kind": ["RRLyr", "field"]})
    targets = Catalog(frame, extra=("kind",)).where("dec > 0").targets()
    assert [(one.kind, one.extra["kind"]) for one in targets] == [("object", "RRLyr"), ("object", "field")]
    with pytest.raises(CatalogError, match="'kind' holds RRLyr, and sources are object, field"):
        Catalog(frame, columns={"kind": "kind"})
    assert Catalog(frame.iloc[1:]).targets()[0].kind == "field"


@pytest.mark.parametrize("name", ["ra", "dec", "mag", "pmra"])
def test_truths_are_no_numbers_of_a_target(name):
    row = {"name": "a", "ra": 1.0, "dec": 2.0, "mag": 3.0, "pmra": 4.0, "epoch": 2000.0}
    with pytest.raises(CatalogError, match=f"'{name}'.*true and false"):
        Catalog.from_rows([row | {name: True}])
