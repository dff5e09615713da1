"""The simulated drift exposures from files to samples, as a project runs them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select
from support.drift import template, through_filter
from support.drift import truth as drawn
from support.paths import ROOT
from support.real import real_data

from virtualobserver import Project
from virtualobserver.analyses.driftscan import Driftscan
from virtualobserver.analyses.driftscan.samples import trails_of
from virtualobserver.analyses.starcurves import StarCurves
from virtualobserver.cli.demo import compare
from virtualobserver.conventions import FLAG_ASTROMETRY
from virtualobserver.data.handles import MemoryHandle, ProductInfo, as_handle
from virtualobserver.data.product import Aux, RawRef, Target
from virtualobserver.data.product import Product as PlainProduct
from virtualobserver.data.table import Table
from virtualobserver.maths.trails.detrend import reference_trails
from virtualobserver.models import Product
from virtualobserver.observatories.decam import VirtualDECam
from virtualobserver.observatories.decam.astrometry import register
from virtualobserver.observatories.decam.detrend import samples_of
from virtualobserver.observatories.decam.folder import find_exposures, raws_of
from virtualobserver.observatories.decam.reader import read_frame
from virtualobserver.observatories.decam.settings import DECamSettings, DetrendSettings

GAIN = 4.0


def opened(tmp_path, url, folder, **own) -> Project:
    configuration = {
        "name": "drift",
        "catalog": {"name": "fields", "rows": [{"name": "LMC", "ra": 92.25, "dec": -70.74, "kind": "field"}]},
        "observatories": {"decam": {"archive": str(folder), **own}},
    }
    return Project.open(configuration, data=tmp_path / "data", url=url)


def made(project, role):
    rows = project.live.scalars(select(Product).where(Product.role == role)).all()
    return {row.unit: row for row in rows}


@pytest.fixture(scope="module")
def truth():
    folder = real_data("decam", "sim")
    with (folder / "truth_stars.csv").open(encoding="utf-8") as file:
        stars = list(csv.DictReader(file))
    columns = {name: np.array([float(star[name]) for star in stars]) for name in ("ra", "dec", "mag_VR")}
    columns["x"], columns["y"] = (
        np.array([float(star[f"{axis}_pointed"]) for star in stars]) for axis in "xy"
    )
    return columns | {"meta": json.loads((folder / "truth_meta.json").read_text())}


def brightening(forced, truth):
    """Return the absolute flux of the star that is brighter all through the first exposure, over that in the second."""
    handles = [
        MemoryHandle(row.data, ProductInfo("table", "forced", unit=unit))
        for unit, row in sorted(forced.items())
    ]
    last = handles[-1].load()
    later = replace(last, meta=last.meta | {"mjd": last.meta["mjd"] + 1e-3})  # a night has three frames
    handles.append(MemoryHandle(later, ProductInfo("table", "forced", unit="N28/2021-12-10/1058803")))
    survey = StarCurves(min_epochs=3, unit="uJy")
    found = survey.find(handles, Aux(Target("LMC", kind="field")), survey.settings)
    star, away = nearest(last, truth)
    (row,) = np.flatnonzero((star == 44) & (away < 0.5))
    name = f"decam {last['source_id'][row]}"
    (curve,) = (one.data for one in found.products if one.target is not None and one.target.name == name)
    assert curve.flux_unit == "uJy"
    # magnitudes in r of this simulation scatter by 0.4 about those in VR
    expected = 10 ** (0.4 * (23.9 - last["mag"][row]))
    assert curve.flux[1] == pytest.approx(expected, rel=0.5)
    (event,) = (one for one in found.detections if one.source == name)
    assert (event.kind, event.peak_mjd) == ("variable", curve.mjd[0])
    return curve.flux[0] / curve.flux[1]


def nearest(table, truth):
    """Return the row of the true star at each place of a table, and how far it is (arcsec)."""
    east = (table["ra"][:, None] - truth["ra"]) * np.cos(np.radians(truth["dec"]))
    away = 3600 * np.hypot(east, table["dec"][:, None] - truth["dec"])
    return away.argmin(axis=1), away.min(axis=1)


def test_both_simulated_exposures_are_measured_star_by_star(tmp_path, url, truth):
    targets = tmp_path / "targets.csv"
    place = truth["ra"][5], truth["dec"][5]
    targets.write_text(
        "star_id,RA,DE,kind\n"
        f"mine,{place[0]},{place[1]},a\nother,{truth['ra'][3]},{truth['dec'][3]},b\nnobody,92.0,-70.0,a\n"
    )
    wanted = {"csv_path": str(targets), "ra_col_name": "RA", "dec_col_name": "DE", "separation_cut": 0.7,
              "subset": {"key": "kind", "values": ["a"]}}  # fmt: skip
    with opened(tmp_path, url, real_data("decam", "sim"), targets=wanted) as project:
        summary = project.run()
        assert summary.failed == 0, summary.failures
        raws = project.sql("SELECT key, header->>'plane' AS plane FROM raw_data")
        assert set(raws["key"]) == {"N28", ""}
        forced, worlds, samples = (made(project, role) for role in ("forced", "wcs", "samples"))
        assert set(forced) == {"N28/2021-12-10/1058801", "N28/2021-12-10/1058802"}
        ids: dict[int, set[int]] = {}
        for unit, row in forced.items():
            table, world = row.data, worlds[unit].data
            number = int(unit.rpartition("/")[2])
            offset = next((one["offset_px"] for one in truth["meta"]["exposures"] if one["expnum"] == number),
                          [-18.6, 6.3])  # fmt: skip
            assert world["offset_x"][0] == pytest.approx(offset[0], abs=0.7)
            assert world["offset_y"][0] == pytest.approx(offset[1], abs=0.7)
            star, away = nearest(table, truth)
            assert (away < 0.5).mean() > 0.99
            for number_, row_ in zip(table["source_id"].tolist(), star.tolist(), strict=True):
                ids.setdefault(number_, set()).add(row_)
            # the sky, and the light against what was put in
            assert np.nanmedian(table["sky"]) / GAIN == pytest.approx(97.2, abs=1.5)
            bright = (truth["mag_VR"][star] < 18) & (table["isolation"] < 0.1) & (table["flags"] == 0)
            light = -2.5 * np.log10(table["flux_5"][bright] / 20) + 27.43 - truth["mag_VR"][star][bright]
            assert bright.sum() >= 8
            assert np.median(light) == pytest.approx(0.0, abs=0.03)
            # stars of the pointed frame brighter than 19 whose trails were found, each with its own star
            x, y = truth["x"] + offset[0], truth["y"] + offset[1]
            whole = (x > 0) & (x + 38 < 699) & (y > 4) & (y < 695) & (truth["mag_VR"] < 19)
            whole &= (truth["x"] > 0) & (truth["x"] < 699) & (truth["y"] > 0) & (truth["y"] < 699)
            found = set(star[table["detected"]].tolist())
            assert len(found & set(np.flatnonzero(whole).tolist())) >= 0.93 * whole.sum()
            own = table["detected"]
            right = np.hypot(table["x_start"] - x[star], table["y_start"] - y[star])[own] < 1.5
            assert right.mean() >= 0.99
        assert max(len(one) for one in ids.values()) == 1  # the same number is the same star in both
        assert brightening(forced, truth) == pytest.approx(1.35, abs=0.05)
        table = samples["N28/2021-12-10/1058801"].data
        assert set(table.columns) >= {"star_id", "trail", "mjd", "time", "flux", "flux_error", "sky", "flags", "phase",
                                      "flat"}  # fmt: skip
        assert table["time"][table["flat"]].min() > 0
        assert table["time"][table["flat"]].max() < 20
        assert table["mjd"] == pytest.approx(59559.1 + table["time"] / 86400, abs=1e-9)
        # target: one star, in both exposures; the one of another subset and the one without a star have nothing
        curves = project.sql("SELECT s.name, count(*) AS n FROM product p JOIN source s ON s.id = p.source_id "
                             "WHERE p.role = 'trail' GROUP BY s.name")  # fmt: skip
        assert curves.set_index("name")["n"].to_dict() == {"mine": 2}
        assert project.run().worked == 0


@pytest.mark.parametrize("number", [1058801, 1058802])
def test_nearly_all_bright_trails_are_found_and_little_else(truth, number):
    own = DECamSettings()
    exposures = {one.facts["exposure"]: one for one in find_exposures([real_data("decam", "sim")], own)}
    frame = read_frame([RawRef.of(raw) for raw in raws_of(exposures[number], own)])
    count = len(truth["ra"])
    nothing = np.full(count, np.nan)
    stars = Table(
        {"ra": truth["ra"], "dec": truth["dec"], "mag": truth["mag_VR"], "pmra": nothing, "pmdec": nothing}
    )
    found = register(frame, stars, own.drift_astrom)
    offset = {1058801: (27.4, -11.8), 1058802: (-18.6, 6.3)}[number]
    x, y = truth["x"] + offset[0], truth["y"] + offset[1]
    away = np.hypot(found.trails.x[:, None] - (x + 18.99), found.trails.y[:, None] - y)
    whole = (x > 0) & (x + 38 < 699) & (y > 4) & (y < 695) & (truth["mag_VR"] < 19)
    assert (away[:, whole].min(axis=0) < 3).mean() >= 0.93
    anywhere = (x > -38) & (x < 699) & (y > -3) & (y < 702)
    assert (away[:, anywhere].min(axis=1) > 5).sum() <= 20  # flashes, cosmic rays, a satellite's line
    start = np.hypot(found.trails.x - 18.99 - x[:, None], found.trails.y - y[:, None])
    assert (start[found.match.star, found.match.trail] < 3).mean() >= 0.99


def test_world_coordinates_on_top_of_the_pipelines_put_stars_where_they_open(tmp_path, url, truth):
    from astropy.wcs import WCS

    with opened(tmp_path, url, real_data("decam", "sim"), drift_astrom={"anchor": "m"}) as project:
        assert project.run().failed == 0
        world = made(project, "wcs")["N28/2021-12-10/1058801"].data
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [92.25, -70.74]
        wcs.wcs.crpix = [world["crpix1"][0], world["crpix2"][0]]
        wcs.wcs.cd = [[world["cd1_1"][0], world["cd1_2"][0]], [world["cd2_1"][0], world["cd2_2"][0]]]
        x, y = wcs.all_world2pix(truth["ra"], truth["dec"], 0)
        half = truth["meta"]["trail_length_px"] / 2
        assert world["time"][0] == 10.0
        assert np.median(x - truth["x"]) == pytest.approx(27.4 + half, abs=0.7)
        assert np.median(y - truth["y"]) == pytest.approx(-11.8, abs=0.7)


@pytest.fixture(scope="module")
def first():
    """What is made of the first simulated exposure, by role."""
    survey = VirtualDECam(detrend={"fewest": 10})
    masters, found = [], {}
    exposures = find_exposures([real_data("decam", "sim")], survey.settings)
    for one in sorted(exposures, key=lambda exposure: exposure.facts["band"]):
        raws = [RawRef.of(raw) for raw in raws_of(one, survey.settings)]
        unit = survey.unit(raws[0])
        if unit.startswith("reference"):
            aux = Aux(Target("DECam", kind="instrument"), masters=survey.choose(masters, raws[0]))
            (product,) = survey.calibrate(raws, aux, survey.settings)
            handle = as_handle(product)
            table = handle.load()
            # by falling flux: five faint ones of which nothing else depends
            table = table.with_columns(cut=np.isin(np.arange(len(table)), np.arange(100, 105)))
            masters.append(MemoryHandle(table, replace(handle.info, unit=unit)))
    raws = [
        RawRef.of(raw)
        for one in exposures
        if one.facts["exposure"] == 1058801
        for raw in raws_of(one, survey.settings)
    ]
    aux = Aux(Target("field", kind="field"), masters=survey.choose(masters, raws[0]))
    products = survey.reduce(raws, aux, survey.settings)
    handles = [as_handle(product) for product in products]
    more = survey.refine("detrend", handles, aux, survey.settings)
    found = {product.role: product.data for product in [*products, *more]}
    (found["stars"],) = (one.load() for one in masters if one.info.unit.startswith("reference"))
    return survey, handles, found


def test_what_all_stars_have_in_common_is_taken_from_each(first):
    survey, handles, tables = first
    table, forced = tables["detrended"], tables["forced"]
    assert len(table) == len(tables["samples"])
    assert table.meta["detrended"]
    assert table.meta["n_references"] >= 11
    before, after, floor = [], [], []
    for row in np.flatnonzero((forced["mag"] < 18) & (forced["isolation"] < 0.1) & (forced["flags"] == 0)):
        mine = (table["trail"] == row) & table["flat"] & (table["flags"] == 0)
        before.append(np.std(table["flux"][mine]) / np.mean(table["flux"][mine]))
        after.append(np.std(table["relative"][mine]))
        floor.append(np.median(table["relative_error"][mine]))
    assert len(after) > 6
    assert np.median(before) > 0.05
    assert np.median(after) < 0.02
    assert np.median(after) < 1.6 * np.median(floor)
    # where too few stars tell it, nothing is divided by, and the facts say so
    (alone,) = survey.refine("detrend", handles, Aux(Target("f")), survey.settings.model_copy(
        update={"detrend": DetrendSettings(fewest=200)}))  # fmt: skip
    assert not alone.data.meta["detrended"]
    assert (alone.data["trend"] == 1).all()


def test_stars_that_the_edge_of_the_pointed_frame_cuts_are_measured_and_not_searched(first):
    _, _, tables = first
    cut = tables["stars"]["star_id"][tables["stars"]["cut"]]
    table, forced = tables["detrended"], tables["forced"]
    mine = np.isin(table["star_id"], cut)
    assert len(set(table["star_id"][mine].tolist())) >= 3
    assert (table["flags"][mine] & FLAG_ASTROMETRY != 0).all()
    assert not (table["flags"][~mine] & FLAG_ASTROMETRY).any()
    assert np.isfinite(table["flux"][mine & table["flat"]]).mean() > 0.9
    trails = trails_of(table)
    assert not trails.good[np.isin(trails.star_id, cut)].any()
    assert trails.good[~np.isin(trails.star_id, cut)].any(axis=1).mean() > 0.8
    # nor does anybody divide by them, however bright and alone they seem
    rows = np.isin(forced["source_id"], cut)
    loud = replace(forced, columns=forced.columns | {"isolation": np.where(rows, 0.0, forced["isolation"])})
    loud = loud.with_columns(covered=np.where(rows, 1.0, forced["covered"]))
    bright = replace(
        tables["samples"], columns=tables["samples"].columns | {"flux_error": tables["samples"]["flux"] / 100}
    )
    chosen = reference_trails(samples_of(bright, loud))
    assert len(chosen) > 10
    assert not rows[chosen].any()


def test_samples_come_back_from_their_table_as_they_were(first):
    _, _, tables = first
    table = tables["samples"]
    again = samples_of(table, tables["forced"])
    rows = again.rows()
    assert np.array_equal(rows["star"], table["trail"])
    for name in ("time", "flux", "flux_error", "flags", "flat", "phase"):
        assert np.array_equal(rows[name], table[name], equal_nan=True), name


def test_flashes_are_left_beside_the_trails_and_cosmic_rays_are_sharper(first, truth):
    _, _, tables = first
    spots = tables["spots"]
    (exposure,) = (one for one in truth["meta"]["exposures"] if one["expnum"] == 1058801)
    for flash in exposure["flashes"]:
        away = np.hypot(spots["x"] - flash["x"], spots["y"] - flash["y"])
        row = int(away.argmin())
        assert away[row] < 1.0  # the air moves a flash by 0.3 pixels
        assert spots["flux"][row] == pytest.approx(flash["flux_e"], rel=0.1)
        assert spots["sharpness"][row] == pytest.approx(1.0, abs=0.15)
        # of its declination only the stretch of a trail is known
        length = 3600 * np.hypot((spots["segment_ra"][row] - spots["ra"][row]) * np.cos(np.radians(-70.74)),
                                 spots["segment_dec"][row] - spots["dec"][row])  # fmt: skip
        assert length == pytest.approx(10.0, abs=0.1)
    rays = spots["n_cosmic_ray"] >= 3
    assert rays.sum() >= 10
    assert np.median(spots["sharpness"][rays]) > 2


def test_the_search_finds_every_pulse_and_dip_of_the_simulated_exposure(first, truth):
    """At 0.7 of what photons allow or more, at its time, the two at once both; nothing that is none is a candidate."""
    _, _, tables = first
    table, forced, events = tables["detrended"], tables["forced"], drawn().events
    handles = [as_handle(PlainProduct(tables[role], role=role)) for role in ("detrended", "spots")]
    analysis = Driftscan()
    found = analysis.find(handles, Aux(Target("field")), analysis.settings)
    star, _ = nearest(forced, truth)
    trails = [event for event in found.detections if event.kind in {"pulse", "dip"}]
    of = {int(star[event.parameters["trail"]]): event for event in trails}
    assert len(of) == len(trails) <= 10
    speed, kept = table.meta["speed"], {}
    for number, event in events.items():
        if event["type"] == "const":
            assert number not in of  # brighter all through the exposure is no pulse
            continue
        mine, parameters = of[number], of[number].parameters
        assert mine.kind == ("dip" if event["type"] == "dip" else "pulse")
        assert parameters["class"] == "candidate"
        assert abs(parameters["time"] - event["t0"]) < 0.4
        own = (table["trail"] == parameters["trail"]) & table["flat"] & np.isfinite(table["flux"])
        shape = template(event, table["time"][own], table.meta["sigma"] / speed)
        light = np.median(table["flux"][own])
        ideal = through_filter(shape, table["flux_error"][own] / light, shape)
        kept[number] = abs(mine.snr) / ideal
    assert set(kept) == {5, 8, 10, 25, 36, 37, 40}
    assert min(kept.values()) >= 0.7, kept
    assert all(of[number].parameters["coincident"] for number in (10, 37))
    # the dip lies across the dead column, and its samples say so
    dead = (table["trail"] == of[36].parameters["trail"]) & (table["flags"] != 0)
    assert np.abs(table["x"][dead] - 611).max() < 1
    candidates = {number for number, event in of.items() if event.parameters["class"] == "candidate"}
    assert candidates == set(kept)
    (exposure,) = (one for one in truth["meta"]["exposures"] if one["expnum"] == 1058801)
    flashes = [event for event in found.detections if event.kind == "flash"]
    for flash in exposure["flashes"]:
        assert any(
            np.hypot(one.parameters["x"] - flash["x"], one.parameters["y"] - flash["y"]) < 1
            for one in flashes
        )
    assert not any("lens" in event.kind for event in found.detections)


def test_a_published_catalogue_takes_the_place_of_pointed_frames(tmp_path, url, truth):
    stars = tmp_path / "master_catalogue.csv"
    with stars.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["chp", "ref_star_id", "x", "y", "flux", "ra", "dec", "ref_star"])
        for n, (ra, dec, mag) in enumerate(zip(truth["ra"], truth["dec"], truth["mag_VR"], strict=True)):
            for chp in ("N28", "S3"):
                writer.writerow([chp, f"{chp}-star-{n}", truth["x"][n], truth["y"][n], 10 ** (-0.4 * (mag - 25)),
                                 ra, dec, True])  # fmt: skip
    own = {"photometry_cat_path": str(stars), "ccd": ["N28"]}
    with opened(tmp_path, url, real_data("decam", "sim"), **own) as project:
        assert project.run().failed == 0
        masters = made(project, "master")
        assert "reference/N28/file" in masters
        assert not [unit for unit in masters if "S3" in unit]
        table = made(project, "forced")["N28/2021-12-10/1058801"].data
        _, away = nearest(table, truth)
        assert away.max() < 0.01
        assert table.meta["refcat"] == "decam@reference/N28/file"
        assert table["detected"].sum() > 180


def test_frames_without_a_catalogue_fail_and_say_what_to_do(tmp_path, url):
    folder = tmp_path / "archive"
    folder.mkdir()
    for path in real_data("decam", "sim").glob("*1058801*.fz"):
        (folder / path.name).write_bytes(path.read_bytes())
    with opened(tmp_path, url, folder) as project:
        summary = project.run()
        assert summary.failed == 1
        assert "add a pointed frame in r, or set reference_catalogue" in str(summary.failures[0])


def test_the_demonstration_finds_the_pulses_and_dips_put_in(tmp_path, url):
    with Project.open(ROOT / "configs" / "decam_demo.yaml", data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert not summary.failed, summary.failures
        put_in = project.sql(
            "SELECT '' AS source, e.value->>'kind' AS kind, (e.value->>'start_mjd')::float8 AS start_mjd, "
            "(e.value->>'end_mjd')::float8 AS end_mjd, (e.value->>'ra')::float8 AS ra, "
            "(e.value->>'dec')::float8 AS dec FROM raw_data CROSS JOIN LATERAL "
            "jsonb_array_elements(header->'injected') e WHERE header ? 'injected'"
        )
        assert len(put_in) == 8
        found = project.detections(simulated=True)
        hits, _ = compare(put_in, found)
        assert all(hits)
    text = " ".join((ROOT / "docs" / "driftscan.md").read_text().split())
    for said in as_the_manual_has_it(found[found["analysis"] == "driftscan"], len(put_in), sum(hits)):
        assert said in text


def as_the_manual_has_it(found, put_in, hits):
    """Return what docs/driftscan.md says of the demonstration, by what is found in it."""
    about = pd.DataFrame(found["parameters"].tolist(), index=found.index)
    number = found["kind"].value_counts()
    trails = about[found["kind"] == "partial_trail"]
    nobody = trails[trails["host"].isna()]
    edge = max(min(one.x, 459 - one.x, one.y, 419 - one.y) for one in nobody.itertuples())
    yield (
        f"{len(trails)} partial trails ({trails['n_spots'].sum():.0f} spots), {number['moving_object']} moving object "
        f"and {number['flash']} flashes are told. {len(nobody)} of the trails lie on that of no star of the catalogue: "
        f"all are within {np.ceil(edge):.0f} pixels"
    )
    # the candidates are pulses that were put in, whose other detections are but doubtful
    candidates = int((about["class"] == "candidate").sum())
    pulses, dips = number["pulse"] - hits, number["dip"]
    yield (
        f"| `vo demo decam_demo`, as it is now | {put_in} | {hits} | {candidates} | "
        f"{pulses + dips} ({pulses} pulses, {dips} dips) | 0 |"
    )


SAME = {
    # names of packs are not among them: what is packed together is what landed within some seconds
    "raw": "SELECT archive_id, key, sha256, header FROM raw_data ORDER BY archive_id, key",
    "products": "SELECT s.name, t.step, t.unit, p.role, p.series, p.band, p.n, p.checksum FROM product p "
    "JOIN task t ON t.id = p.task_id JOIN source s ON s.id = p.source_id ORDER BY 1, 2, 3, 4, 5, 6",
    "detections": "SELECT s.name, t.unit, d.kind, d.peak_mjd, d.start_mjd, d.end_mjd, d.snr, d.score, d.ra, d.dec, "
    "d.quality, d.parameters FROM detection d JOIN task t ON t.id = d.task_id LEFT JOIN source s ON s.id = d.source_id "
    "ORDER BY 1, 2, 3, 4, 7",
    "properties": "SELECT s.name, t.unit, p.props FROM properties p JOIN task t ON t.id = p.task_id "
    "JOIN source s ON s.id = p.source_id ORDER BY 1, 2",
}


def test_one_and_two_workers_make_the_same_of_a_night(tmp_path, new_url):
    configuration = {
        "name": "drift",
        "catalog": {"name": "fields", "rows": [{"name": "LMC", "ra": 92.25, "dec": -70.74, "kind": "field"}]},
        "observatories": {
            "decam": {
                "archive": "simulated",
                "simulation": {
                    "exposures": 2,
                    "ccds": ["N24"],
                    "size": [260, 300],
                    "density": 900.0,
                    "mag": [14.5, 19.0],
                },
                "drift_astrom": {"fewest": 5},
                "detrend": {"fewest": 6},
            }
        },
        "analyses": {"driftscan": {}},
    }
    found = []
    for workers in (1, 2):
        own = {**configuration, "run": {"workers": workers}}
        with Project.open(own, data=tmp_path / f"data{workers}", url=new_url()) as project:
            assert not project.run().failed
            found.append({name: project.sql(query) for name, query in SAME.items()})
    for name, rows in found[0].items():
        assert len(rows) > 1
        pd.testing.assert_frame_equal(rows, found[1][name], check_exact=True, obj=name)
