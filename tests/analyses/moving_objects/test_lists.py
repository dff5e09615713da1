"""Movers from source lists: rows, tables, colours, what depends on settings, injections, a project."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from support.paths import PLUGINS, ROOT
from truth.sourcelists import field_of

from virtualobserver import Project
from virtualobserver.analyses.moving_objects import MovingObjects
from virtualobserver.analyses.moving_objects.tracks import tracks_table
from virtualobserver.data import Product, Table, Target, TimeSeries, as_handle
from virtualobserver.data.result import Event
from virtualobserver.errors import NotEnoughData
from virtualobserver.observatory import Aux
from virtualobserver.simulate import Simulator

AUX = Aux(Target("field", kind="field"))


def handles(seed=1, **options):
    made = field_of(seed, **{"movers": 6, "stars": 120, "rate": (5.0, 200.0), "mag": (14.0, 16.0)} | options)
    return [as_handle(one) for one in made.products], made.truth


def searched(products, aux=AUX, **options):
    search = MovingObjects(**({"method": "link"} | options))
    return search, search.find(products, aux, search.settings)


def test_a_mover_becomes_a_source_detections_a_light_curve_and_rows_of_one_table():
    products, truth = handles()
    _, result = searched(products)
    assert result.properties["n_movers"] == len(result.sources) == 6
    curves = {one.series: one.data for one in result.products if one.role == "mover"}
    (tracks,) = [one for one in result.products if one.role == "tracks"]
    assert {found.target.kind for found in result.sources} == {"moving"}
    assert (
        {found.target.name for found in result.sources} == set(curves) == set(tracks.data["track"].tolist())
    )
    assert len(tracks.data) == len(result.detections) == sum(len(curve) for curve in curves.values())
    assert tracks.data.units["rate"] == "arcsec/h"
    for event in result.detections:
        away = (
            (truth.ra[:, event.product] - event.ra) * np.cos(np.radians(event.dec)),
            truth.dec[:, event.product] - event.dec,
        )
        n = int(np.argmin(np.hypot(*away)))
        facts = event.parameters
        assert facts["rate"] == pytest.approx(truth.rate[n], abs=max(5 * facts["rate_error"], 0.5))
        assert np.hypot(*away)[n] * 3600 < 6 * facts["position_error"] + 0.5
        assert facts["mjd0"] == products[0].load().meta["mjd"]
        curve = curves[event.source]
        row = int(np.flatnonzero(curve["mjd"] == event.peak_mjd)[0])
        assert curve["ra"][row] == event.ra
        # tables with magnitudes give microjansky: 23.9 is the AB magnitude of one
        mag = 23.9 - 2.5 * np.log10(curve["flux"][row])
        assert mag == pytest.approx(truth.mag[n], abs=0.6)
    assert result.properties["left_out"]["sources at the edge"] >= 0
    json.dumps(result.properties, allow_nan=False)


def test_what_it_works_on_depends_on_the_method():
    assert {(need.kind, need.role) for need in MovingObjects(method="link").requires} == {
        ("table", "sources"),
        ("table", "quality"),
    }
    assert ("image", "calibrated") in {(need.kind, need.role) for need in MovingObjects().requires}
    assert MovingObjects(method="link").services == MovingObjects(refcat="gaia_dr3@2022").services == ()
    assert MovingObjects(method="ssos", refcat="gaia_dr3@2022").services == ("refcat",)


def test_tables_that_cannot_be_linked_are_counted():
    products, _ = handles()
    tables = [one.load() for one in products]
    meta = dict(tables[0].meta)
    lame = [
        Table({name: tables[0][name] for name in tables[0] if name not in {"ra", "dec"}}, meta=meta),
        Table(dict(tables[1].columns), meta={name: value for name, value in meta.items() if name != "mjd"}),
        tables[2].with_columns(ra=np.full(len(tables[2]), np.nan)),
        tables[3].with_columns(source_id=np.arange(len(tables[3]))),
    ]
    changed = [as_handle(Product(one, role="sources")) for one in lame] + products[4:]
    _, result = searched(changed)
    left = result.properties["left_out"]
    assert left["images without world coordinates"] == left["images without a time"] == 1
    assert left["sources without a position or its error"] == len(tables[2])
    assert 0.9 * len(tables[3]) < left["stars of the catalogue"] <= len(tables[3])
    assert len(result.sources) == 6
    _, nothing = searched(changed[:2])
    assert nothing.properties["n_movers"] == 0


def test_images_without_zero_points_are_linked_by_their_counts():
    products, _ = handles()
    plain = [
        as_handle(
            Product(
                Table({n: t[n] for n in t if not n.startswith("mag")}, {"flux_3": "electron"}, t.meta),
                role="sources",
            )
        )
        for t in (one.load() for one in products)
    ]
    _, result = searched(plain)
    assert len(result.sources) == 6
    assert {one.data.flux_unit for one in result.products if one.role == "mover"} == {"electron"}


def test_bright_stars_keep_their_surroundings_free_of_tracks():
    products, truth = handles()
    middle = truth.ra[0].mean(), truth.dec[0].mean()
    asked = []

    def cone(ra, dec, radius, epoch, *, brightest=None, faintest=None):
        asked.append((ra, dec, radius, epoch, brightest, faintest))
        return SimpleNamespace(ra=np.array([middle[0]]), dec=np.array([middle[1]]), mag=np.array([5.0]))

    aux = Aux(AUX.target, services={"refcat": SimpleNamespace(cone=cone)})
    _, result = searched(products, aux)
    assert len(result.sources) < 6
    assert result.properties["n_ghosts"] > 0
    assert asked[0][3] == pytest.approx(2019.3, abs=0.1)
    assert asked[0][5] == 8.0
    _, chain = searched(products, aux, method="ssos", ssos={"DISTANCE": 300.0})
    assert chain.properties["rejected"]["bright"] >= 1
    _, free = searched(products, aux, link={"ghosts": 0})
    assert len(free.sources) == 6


def test_the_chain_tells_colours_in_one_aperture_and_says_what_it_does_not_use():
    products, _ = handles()
    shifted = []
    for number, one in enumerate(products):
        table = one.load()
        if number % 2:
            table = table.with_columns(mag=table["mag"] - 0.4)
        meta = {**table.meta, "band": "gri"[number % 2]}
        shifted.append(as_handle(Product(Table(table.columns, table.units, meta), role="sources")))
    aux = Aux(AUX.target)
    options = {
        "FIXED_APER_MAGS": True,
        "REFERENCE_FILTER": "g",
        "CROSSMATCH_SKYBOT": True,
        "DETECTIONS": "1,2,3",
    }
    _, result = searched(shifted, aux, method="ssos", ssos=options)
    assert any("CROSSMATCH_SKYBOT" in cause for cause in aux.notes)
    assert len(result.sources) >= 3
    for curve in (one.data for one in result.products if one.role == "mover"):
        value, error = curve.meta["colours"]["r-g"]
        assert abs(value + 0.4) < 5 * error + 0.25  # it turns, and bands are taken in turns
        assert set(curve.meta["aperture_mags"]) == {"g", "r"}
    _, silent = searched(shifted, method="ssos")
    assert "colours" not in silent.products[0].data.meta


def test_the_table_of_tracks_is_one_for_all_methods():
    curve = TimeSeries(
        {"mjd": np.array([1.0, 2.0]), "flux": np.ones(2), "flux_error": np.ones(2), "flags": np.zeros(2, int),
         "ra": np.ones(2), "dec": np.ones(2),
         "x": np.ones(2), "y": np.ones(2)}, meta={"rate": 3.0, "pa": None}, flux_unit="electron",
    )  # fmt: skip
    events = [
        Event("mover", t, t, t, 5.0, source="M1", parameters={"position_error": 0.2}) for t in (1.0, 2.0)
    ]
    said = {"method": "stack", "epochs": [1.0, 2.0], "OBS_LON": 1.0, "MPCCODE": "J75"}
    (made,) = tracks_table([Product(curve, role="mover", series="M1")], events, said)
    assert made.data.meta == said
    assert made.data["snr"].tolist() == [5.0, 5.0]
    assert made.data["rate"].tolist() == [3.0, 3.0]
    assert np.isnan(made.data["pa"]).all()
    np.testing.assert_allclose(made.data["ra_error"], 0.2 / np.sqrt(2))
    assert tracks_table([], [], {}) == []


def test_movers_put_into_tables_are_found_where_they_are_strong():
    products, _ = handles(movers=0)
    before = [one.load() for one in products]
    search = MovingObjects(method="link", simulate={"snr": [20.0, 60.0], "rate": [3.0, 300.0]})
    outcomes = Simulator(search).run(products, AUX, range(20), digest="d")
    assert sum(one.recovered for one in outcomes) >= 18
    weak = MovingObjects(method="link", simulate={"snr": [1.0, 2.0], "rate": [3.0, 300.0]})
    assert sum(one.recovered for one in Simulator(weak).run(products, AUX, range(10), digest="d")) == 0
    assert all(one.load() is table for one, table in zip(products, before, strict=True))
    rng = np.random.default_rng(0)
    drawn = search.draw(rng, products, search.settings)
    # as bright as a source of the field of the same strength
    table = products[0].load()
    like = int(np.argmin(np.abs(np.log(table["snr"] / drawn["snr"]))))
    assert drawn["mag"] == pytest.approx(table["mag"][like], abs=0.4)
    loud = search.inject(products, [drawn], rng)
    grown = [len(b.load()) - len(a.load()) for a, b in zip(products, loud, strict=True)]
    assert set(grown) <= {0, 1}
    assert sum(grown) >= 9
    assert [b.info.simulated for b in loud] == [bool(n) for n in grown]
    assert search.together(products, search.settings) >= 5
    with pytest.raises(NotEnoughData, match="too few source lists"):
        search.draw(rng, products[:1], search.settings)


def test_pictures_of_linked_fields():
    products, _ = handles()
    search, result = searched(products)
    ((sky,),) = search.source_panels(products, AUX, search.settings).values()
    assert "6 movers" in sky.title
    event = result.detections[0]
    near, motion, light, facts = search.panels(products, AUX, search.settings, event)
    assert near.x.reverse
    east = next(curve for curve in motion.curves if curve.label == "east")
    at = int(np.argmin(np.abs(east.x - event.peak_mjd)))
    assert east.y[at] == pytest.approx(event.parameters["residual_east"], abs=1e-9)
    assert light.curves[0].y[at] == pytest.approx(event.parameters["epoch_flux"])
    assert ("rate", event.parameters["rate"], "arcsec/h") in facts.rows
    units = {name: unit for name, _, unit in facts.rows}
    assert light.y.label == f"flux ({units['epoch_flux']})"
    assert units["epoch_flux"] == units["epoch_flux_error"] != ""
    assert len(search.prepared(products, search.settings)) == len(products)


def test_a_project_links_the_tables_of_a_survey(tmp_path, url):
    settings = {
        "name": "linked",
        "catalog": {
            "name": "fields",
            "rows": [{"name": "field", "ra": 131.97, "dec": 12.3, "kind": "field"}],
        },
        "observatories": {str(PLUGINS / "listed.py"): {}},
        "analyses": {
            "moving_objects": {"method": "link", "simulate": {"snr": [1.0, 80.0], "rate": [10.0, 80.0]}}
        },
    }
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        assert not project.run().failed
        assert project.detections()["source"].nunique() == 6
        made = project.sql(
            "SELECT role, count(*) AS n FROM product WHERE role IN ('mover', 'tracks') GROUP BY role"
        )
        assert dict(zip(made["role"], made["n"], strict=True)) == {"mover": 6, "tracks": 1}
        found = project.sql("SELECT kind FROM source WHERE name LIKE 'M58584%'")
        assert set(found["kind"]) == {"moving"}
        assert project.run().worked == 0
    with Project.open(
        settings, data=tmp_path / "data", url=url, overrides=["analyses.moving_objects.simulate.number=40"]
    ) as project:
        assert not project.run().failed
        table = project.efficiency("moving_objects", by=("mag", "rate"))
        assert table["injected"].sum() == 40
        (question,) = [
            one for one in re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "lsss.md").read_text("utf-8"), re.DOTALL)
            if "injection" in one
        ]  # fmt: skip
        answer = project.sql(question)
        assert answer["injected"].sum() == 40
        assert set(answer["rate_from"]) <= {10, 20, 40}
        bright, faint = (answer[answer["mag"] == end(answer["mag"])] for end in (min, max))
        share = [
            (one["completeness"] * one["injected"]).sum() / one["injected"].sum() for one in (bright, faint)
        ]
        assert share[0] > 0.8 > share[1]
