"""Lists of targets and published catalogues: what is taken of them, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree

from virtualobserver.data.handles import MemoryHandle, as_handle
from virtualobserver.data.product import Aux, Product, Raw, RawRef, Target
from virtualobserver.data.table import Table
from virtualobserver.errors import CatalogError, InvalidFile
from virtualobserver.io.fits.structure import MemoryFile
from virtualobserver.observatories.decam import VirtualDECam
from virtualobserver.observatories.decam.catalogue import (
    choose_masters,
    file_raws,
    make_master,
    reference_stars,
)
from virtualobserver.observatories.decam.folder import exposures_of, raws_of
from virtualobserver.observatories.decam.identity import star_ids
from virtualobserver.observatories.decam.settings import DECamSettings
from virtualobserver.observatories.decam.simulate import SimulationSettings, exposure_files, simulate


def master(text, header, key="", **settings):
    raw = RawRef.of(Raw("list.csv", "csv", content=text.encode(), key=key, header=header))
    (made,) = make_master([raw], Aux(Target("DECam", kind="instrument")), DECamSettings(**settings))
    return made.data


def targets(text, **settings):
    return master(text, {"what": "targets"}, targets={"csv_path": "list.csv", **settings})


def test_targets_without_a_place_on_the_sky_are_left_out():
    text = "star_id,ra,dec\na,92.1,-70.7\nb,,-70.7\nc,92.2,-99\nd,400,-70\ne,92.3,-70.6\n"
    found = targets(text, ra_col_name="ra", dec_col_name="dec")
    assert found["name"].tolist() == ["a", "e"]
    assert found["ra"].tolist() == [92.1, 92.3]


def test_positions_that_are_no_numbers_are_refused_with_file_and_column():
    for ra, said in (("there", "'there' is no ra"), ("06:61:24", "'06:61:24' is no ra")):
        with pytest.raises(
            InvalidFile, match=rf"list.csv: column 'ra', row 1: {said}; positions are degrees, or"
        ):
            targets(f"star_id,ra,dec\na,{ra},-70:42:00\n")


@pytest.mark.parametrize(
    ("columns", "ra", "dec"),
    [
        (("ra", "dec"), "06:08:24", "-70:42:00"),
        (("ra", "dec"), "06 08 24.00", "-70 42 00.0"),
        (("RA (deg)", "DE (deg)"), "92.1", "-70.7"),
        (("RA_hours", "DE_deg"), "6.14", "-70.7"),
        (("ra_rad", "dec_rad"), "1.607448241", "-1.2339477812"),
    ],
)
def test_positions_are_in_the_unit_that_their_columns_name_or_sexagesimal(columns, ra, dec):
    text = f"star_id,{','.join(columns)}\na,{ra},{dec}\n"
    found = targets(text, ra_col_name=columns[0], dec_col_name=columns[1])
    assert (found["ra"][0], found["dec"][0]) == pytest.approx((92.1, -70.7), abs=1e-7)


@pytest.mark.parametrize("mark", [",", ";"])
def test_lists_of_spreadsheets_are_read_with_their_mark_of_the_byte_order(mark):
    text = "\ufeff" + mark.join(("star_id", "ra", "dec")) + "\n" + mark.join(("a", "92.1", "-70.7")) + "\n"
    assert targets(text)["name"].tolist() == ["a"]


def asked_of_vizier(tmp_path, monkeypatch, **settings):
    """Return the list of targets that a table of VizieR becomes, and the tables asked for."""
    asked = []
    frame = pd.DataFrame(
        {"OGLE": ["LMC-1", "LMC-2", "SMC-1"], "Type": ["RRab", "RRc", "RRab"],
         "RAJ2000": [1.607448241, 1.61, 0.2], "DEJ2000": [-70.7, -70.6, -72.0]}
    )  # fmt: skip
    frame.attrs["units"] = {"RAJ2000": "rad", "DEJ2000": "deg"}

    def answer(table, **_):
        asked.append(table)
        return frame

    monkeypatch.setattr("virtualobserver.catalog.origins.query_vizier", answer)
    own = DECamSettings(targets={"vizier": "J/AcA/66/131/lmc", **settings})
    for fresh in (False, False, True):  # kept, until it is asked for anew
        (raw,) = file_raws(own, tmp_path, fresh=fresh)
    (made,) = make_master([RawRef.of(raw)], Aux(Target("DECam", kind="instrument")), own)
    return made.data, asked


def test_a_table_of_vizier_is_a_list_of_targets(tmp_path, monkeypatch):
    wanted = {"id_col_name": "OGLE", "subset": {"key": "Type", "values": ["RRab"]}}
    found, asked = asked_of_vizier(tmp_path, monkeypatch, **wanted)
    assert found["name"].tolist() == ["LMC-1", "SMC-1"]
    assert found["ra"][0] == pytest.approx(92.1, abs=1e-6)
    assert found["dec"].tolist() == [-70.7, -72.0]
    assert asked == ["J/AcA/66/131/lmc"] * 2
    with pytest.raises(CatalogError, match="no column Tipe; there are"):
        asked_of_vizier(tmp_path, monkeypatch, id_col_name="OGLE", subset={"key": "Tipe", "values": [1]})
    with pytest.raises(CatalogError, match="RAdeg"):
        asked_of_vizier(tmp_path, monkeypatch, id_col_name="OGLE", ra_col_name="RAdeg")


def test_targets_come_from_one_place():
    with pytest.raises(ValueError, match="csv_path or vizier, not both"):
        DECamSettings(targets={"csv_path": "a.csv", "vizier": "J/AcA/66/131/lmc"})


def test_names_keep_all_their_digits_and_are_one_a_star():
    text = "star_id,ra,dec,kind\n9007199254740993,92.1,-70.7,1\n0012,92.1,-70.6,1\n,92.2,-70.5,\n"
    wanted = {"key": "kind", "values": [1]}  # a number where a row has none
    assert targets(text, subset=wanted)["name"].tolist() == ["9007199254740993", "0012"]
    with pytest.raises(InvalidFile, match="rows without a name: rows 3"):
        targets(text)
    with pytest.raises(InvalidFile, match=r"names that are there twice: 7 \(rows 1, 2\)"):
        targets("star_id,ra,dec\n7,92.1,-70.7\n7,92.2,-70.7\n")


def test_a_published_catalogue_gives_the_stars_of_its_chip():
    text = "chp,ref_star_id,x,y,flux,ra,dec\nN24,N24-star-1,1,2,100,92.1,-70.7\nN25,N25-star-1,5,6,50,92.5,-70.2\n"
    found = master(text, {"what": "catalogue", "ccd": "N24"}, key="N24")
    assert found["name"].tolist() == ["N24-star-1"]
    assert found["mag"].tolist() == [-5.0]
    assert (
        found["star_id"].tolist()
        == master(text, {"what": "catalogue", "ccd": "N24"}, key="N24")["star_id"].tolist()
    )
    with pytest.raises(InvalidFile, match="column flux holds what is no number"):
        master(text.replace("100", "bright"), {"what": "catalogue", "ccd": "N24"}, key="N24")


def test_a_star_that_moves_over_the_edge_of_its_cell_keeps_its_number():
    """Stars move 0.3 arcsec, by the plate, from the exposure in g to that in r; cells are 1.6 arcsec wide."""
    sim = SimulationSettings(
        exposures=0, ccds=["N24"], size=(240, 240), density=1500, mag=(14.5, 18.5), cosmic_rays=0
    )
    survey, masters = VirtualDECam(), []
    made = simulate(Target("field", kind="field"), np.random.default_rng(4), sim)
    for exposure in sorted(made, key=lambda one: one.band):
        if exposure.band == "r":
            exposure.ccds[0].header["CRVAL2"] += 0.3 / 3600
        files = [(MemoryFile(content, name), name) for name, content in exposure_files(exposure).values()]
        raws = [
            RawRef.of(raw)
            for one in exposures_of(files, survey.settings)
            for raw in raws_of(one, survey.settings)
        ]
        aux = Aux(Target("DECam", kind="instrument"), masters=survey.choose(masters, raws[0]))
        handle = as_handle(survey.calibrate(raws, aux, survey.settings)[0])
        masters.append(MemoryHandle(handle.load(), replace(handle.info, unit=survey.unit(raws[0]))))
    green, red = (one.load() for one in masters)
    away, row = cKDTree(np.stack([green["x"], green["y"]], axis=1)).query(
        np.stack([red["x"], red["y"]], axis=1)
    )
    same = away < 0.5
    assert same.sum() > 30
    shift = 3600 * (red["dec"][same] - green["dec"][row[same]])
    assert np.median(shift) == pytest.approx(0.3, abs=0.05)
    alone = star_ids(red["ra"], red["dec"], red["flux"])
    assert (alone[same] != green["star_id"][row[same]]).sum() >= 5  # what would have changed
    assert np.array_equal(red["star_id"][same], green["star_id"][row[same]])
    assert len(np.unique(red["star_id"])) == len(red)


def test_a_star_has_one_number_by_whichever_of_two_catalogues_of_a_filter_it_is_measured():
    """Places of one star differ by 0.2 arcsec; of 400 stars some lie as near to the edge of their cell (1.6 arcsec)."""
    rng = np.random.default_rng(3)
    ra, dec, flux = rng.uniform(92.2, 92.3, 400), rng.uniform(-70.8, -70.7, 400), rng.uniform(1, 100, 400)
    catalogues = []
    for night, move, n in (("2021-12-10", 0.0, 400), ("2021-12-11", 0.2, 390)):
        place = ra[:n], dec[:n] + move / 3600, flux[:n]
        table = Table(
            {"star_id": star_ids(*place), "gaia": np.full(n, -1)}
            | dict(zip(("ra", "dec", "flux"), place, strict=True))
        )
        about = {"ccd": "N24", "ra": 92.25, "dec": -70.75, "n_stars": n}
        handle = as_handle(Product(table, role="master", series="reference", statistics=about))
        catalogues.append(MemoryHandle(table, replace(handle.info, unit=f"N24/{night}/7")))
    facts = {"ccd": "N24", "ra": 92.25, "dec": -70.75, "drift": True}
    old, new = (one.load()["star_id"] for one in catalogues)
    assert (old[:390] != new).sum() > 40  # what they are called by their places
    for deepest in (0, 1):
        about = {**catalogues[deepest].info.statistics, "n_stars": 1000}
        both = list(catalogues)
        both[deepest] = MemoryHandle(both[deepest].load(), replace(both[deepest].info, statistics=about))
        found = choose_masters(both[::-1], facts)
        assert found["reference"] is both[deepest]
        stars = reference_stars(found)
        assert np.array_equal(stars["star_id"][:390], old[:390])
        assert len(np.unique(stars["star_id"])) == len(stars)
