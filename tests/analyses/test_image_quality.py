"""Images of a night compared, and those that stand out left out of searches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from virtualobserver.analyses.image_quality import ImageQuality
from virtualobserver.analyses.moving_objects.fieldlists import read_field
from virtualobserver.analyses.moving_objects.night import usable
from virtualobserver.data import Image, Product, Table, Target, as_handle
from virtualobserver.data.cards import cards_by_unit, zero_points_again
from virtualobserver.data.handles import MemoryHandle
from virtualobserver.errors import DataError
from virtualobserver.maths.astrometry.tan_sip import TanSip, read_tan_sip
from virtualobserver.observatory import Aux

AUX = Aux(Target("field"))


def night(n=8, *, spoil=None, **numbers):
    """Return the tables of a night of `n` images; `spoil` changes numbers of the fourth one."""
    rng = np.random.default_rng(3)
    made = []
    for k in range(n):
        own = {"FWHM": 2.5, "BKGMEAN": 900.0, "BKGMED": 900.0, "BKGSD": 40.0, "BKGMAD": 27.0, **numbers}
        own = {key: value * (1 + 0.003 * rng.normal()) for key, value in own.items()}
        facts = {"zero_point": 21.0 + 0.01 * rng.normal(), "off": 0.1, "solved": True, "r2": 0.999}
        if k == 3:
            own |= {key: v for key, v in (spoil or {}).items() if key.isupper()}
            facts |= {key: v for key, v in (spoil or {}).items() if not key.isupper()}
        unit = f"170225/f{k}"
        stars = np.arange(5)
        place = {"ra": 150.0 + stars / 100, "dec": np.full(5, 20.0)}
        seen = {
            **place,
            "dec": place["dec"] + facts["off"] * rng.uniform(0.9, 1.1, 5) / 3600,
            "source_id": stars,
        }
        meta = {"mjd": 57809.9 + k / 300, "exptime": 60.0, "header": own, "band": "NONE"}
        tables = {
            "sources": (seen, meta), "forced": ({**place, "source_id": stars}, meta),
            "zeropoint": (
                {"mjd": [meta["mjd"]], "zero_point": [facts["zero_point"]], "zero_point_r2": [facts["r2"]]}, {},
            ),
            "wcs": ({}, {}),
        }  # fmt: skip
        for role, (columns, said) in tables.items():
            table = Table({name: np.array(values) for name, values in columns.items()}, meta=said)
            info = as_handle(Product(table, role=role, statistics={"solved": facts["solved"]})).info
            made.append(MemoryHandle(table, info.__class__(**{**vars_of(info), "unit": unit})))
    return made


def vars_of(info):
    return {name: getattr(info, name) for name in info.__dataclass_fields__}


def found(products, **outliers):
    analysis = ImageQuality(outliers=outliers)
    result = analysis.find(products, AUX, analysis.settings)
    (product,) = result.products
    return result, product.data


def test_a_steady_night_has_no_outliers_and_all_numbers():
    result, table = found(night())
    assert result.properties == {"n_images": 8, "n_outliers": 0, "dropped": 0}
    assert not table["outlier"].any()
    assert table["use"].all()
    assert np.median(table["separation"]) == pytest.approx(0.1, rel=0.1)
    for name, value in (
        ("bkg_mean", 900),
        ("bkg_sd", 40),
        ("bkg_mad", 27),
        ("fwhm", 2.5),
        ("zero_point", 21),
    ):
        assert np.median(table[name]) == pytest.approx(value, rel=0.01)
    assert table["n_matched"].tolist() == [5] * 8


@pytest.mark.parametrize(
    ("spoil", "rule", "reason"),
    [
        ({"off": 0.6}, "robust", "stars off the reference"),
        ({"off": 0.6}, "boxplot", "stars off the reference"),
        (
            {"off": 5.0},
            "robust",
            "stars off the reference",
        ),  # beyond 1 arcsec none matches: a missing separation
        ({"BKGMEAN": 2000.0, "BKGMED": 1999.0}, "robust", "background"),
        ({"BKGSD": 20.0}, "boxplot", "background"),
        ({"zero_point": 20.3}, "robust", "zero point"),
        ({"zero_point": np.nan}, "robust", "zero point"),
        ({"FWHM": 4.0}, "robust", "width of stars"),
        ({"solved": False}, "robust", "not solved"),
    ],
)
def test_an_image_unlike_the_others_is_named_with_its_reason(spoil, rule, reason):
    result, table = found(night(spoil=spoil), rule=rule)
    if rule == "robust":  # in a box plot of eight numbers others may stick out by accident
        assert np.flatnonzero(table["outlier"]).tolist() == [3]
    assert table["reason"][3].startswith(reason)
    (event,) = (one for one in result.detections if one.parameters["frame"] == "f3")
    assert event.kind == "poor_image"
    assert event.parameters["reason"] == table["reason"][3]
    assert len(result.detections) == table["outlier"].sum()


def test_too_few_images_are_not_compared():
    assert not found(night(3))[1]["outlier"].any()


def test_outliers_are_dropped_from_searches_or_kept_and_nothing_is_deleted():
    products = night(spoil={"FWHM": 4.0})
    units = dict.fromkeys(one.info.unit for one in products)
    images = [as_handle(Image(np.zeros((4, 4))), role="calibrated") for _ in units]
    images = [
        MemoryHandle(one.load(), one.info.__class__(**{**vars_of(one.info), "unit": unit}))
        for one, unit in zip(images, units, strict=True)
    ]
    for action, searched in (("drop", [0, 1, 2, 4, 5, 6, 7]), ("keep", list(range(8)))):
        result, table = found(products, action=action)
        assert table["outlier"].sum() == 1
        assert usable([*images, as_handle(result.products[0])]) == searched
    assert usable(images) == list(range(8))


def test_stop_fails_the_night_with_the_images_and_how_to_go_on():
    with pytest.raises(
        DataError, match=r"1 of 8 images of field .*f3 \(width of stars\).*outliers\.action=drop"
    ):
        found(night(spoil={"FWHM": 4.0}), action="stop")
    assert found(night(), action="stop")[0].properties["n_outliers"] == 0


def sky_night(n=6, stars=60, seed=5):
    """Return a night of frames with world coordinates: the fourth one's are 3 arcsec off, the last one has none."""
    rng = np.random.default_rng(seed)
    ra, dec = 150 + rng.uniform(-0.1, 0.1, stars), 20 + rng.uniform(-0.07, 0.07, stars)
    mag = rng.uniform(11, 15, stars)
    own = {"FWHM": 2.5, "BKGMEAN": 900.0, "BKGMED": 900.0, "BKGSD": 40.0, "BKGMAD": 27.0}
    none = np.zeros((0, 0))
    made, plates = [], []
    for k in range(n):
        cd = np.array([[-2.226, 0.0], [0.0, 2.226]]) / 3600
        plates.append(TanSip((150 + 0.003 * k, 20 - 0.002 * k), (150.0, 100.0), cd, *([none] * 4)))
        x, y = plates[-1].to_pixel(ra, dec)
        on = (x > 0) & (x < 300) & (y > 0) & (y < 200)
        place = {"ra": ra[on], "dec": dec[on], "mag": mag[on], "source_id": np.flatnonzero(on)}
        x, y = x[on] + rng.normal(0, 0.03, on.sum()), y[on] + rng.normal(0, 0.03, on.sum())
        there = plates[-1].to_sky(x, y + (3 / 2.226 if k == 3 else 0))
        error = np.full(len(x), 0.03)
        light = 10 ** (-0.4 * (mag[on] - 20))
        sources = {"x": x, "y": y, "x_error": error, "y_error": error, "snr": light, "flux_3": light}
        sources |= {"fwhm": np.full(len(x), 2.5)}
        if k < n - 1:
            sources |= {"ra": there[0], "dec": there[1], "ra_error": error, "dec_error": error}
            sources |= {"source_id": place["source_id"]}
        meta = {"mjd": 57809.9 + k / 300, "exptime": 60.0, "header": own, "band": "NONE", "shape": [200, 300],
                "radii": [3.0]}  # fmt: skip
        cards = plates[-1].header() if k < n - 1 else {}
        tables = {"sources": (sources, meta), "wcs": ({}, {"wcs": cards})}
        if k < n - 1:
            tables["forced"] = (place, meta)
        for role, (columns, said) in tables.items():
            table = Table(columns, meta=said)
            info = as_handle(Product(table, role=role, statistics={"solved": k < n - 1})).info
            made.append(MemoryHandle(table, replace(info, unit=f"170225/f{k}")))
    return made, plates


def test_images_whose_stars_are_off_are_solved_anew_with_what_their_neighbours_know_and_searched():
    products, plates = sky_night()
    dropped, table = found(products, action="drop")
    assert dropped.properties == {"n_images": 6, "n_outliers": 2, "dropped": 2}
    assert table["tries"].tolist() == [0] * 6
    result, table = found(products, action="retry(2)")
    assert result.properties == {"n_images": 6, "n_outliers": 0, "dropped": 0, "n_solved_again": 2}
    assert table["use"].all()
    assert table["tries"].tolist() == [0, 0, 0, 1, 0, 1]
    assert table["solved"].all()
    assert table["separation"].max() < 0.2
    field = read_field([*products, as_handle(result.products[0])], known_stars=False)
    assert len(field.tables) == 6
    for k in (3, 5):
        placed = field.tables[k]
        ra, dec = plates[k].to_sky(placed["x"], placed["y"])
        assert np.abs((placed["ra"] - ra) * np.cos(np.radians(20))).max() * 3600 < 0.3
        assert np.abs(placed["dec"] - dec).max() * 3600 < 0.3
        assert placed["ra_error"] == pytest.approx(0.03 * 2.226, rel=0.01)
    cards = cards_by_unit([*products, as_handle(result.products[0])])
    assert read_tan_sip(cards["170225/f5"]).scale == pytest.approx(2.226, rel=1e-3)


RULE = {
    "aperture": "3", "snr": 20.0, "fewest": 8, "clip": 5.0, "max_mag_error": None, "brightest": None, "faintest": None,
    "colour_term": None, "ab_offset": 0.0, "match_radius": 1.0, "r2": None,
}  # fmt: skip


ZERO = 20.0 - 2.5 * np.log10(60.0)  # one count of the whole exposure is 20 mag


def measured_night(*, zeros=True, **rule):
    """Return such a night with magnitudes: those of the fourth image are half a magnitude off, the last has none.

    Without `zeros` no image says its zero point, so that none stands out by it.
    """
    products, _ = sky_night()
    made = []
    for handle in products:
        table, last = handle.load(), handle.info.unit[-1]
        n = len(table)
        if handle.info.role == "forced":
            extra = {"mag_error": np.full(n, 0.01), "colour": np.ones(n), "crowded": np.zeros(n, bool)}
        elif handle.info.role == "sources":
            flux = table["flux_3"]
            mag = 20.0 - 2.5 * np.log10(flux) + {"3": 0.5, "5": np.nan}.get(last, 0.0)
            extra = {"flux_error_3": 0.002 * flux, "flags": np.zeros(n, int), "mag": mag}
            extra |= {"mag_error": np.full(n, 0.01)}
            extra |= {name: np.zeros(n, bool) for name in ("blended", "truncated")}
        else:
            extra = {}
        meta = {**table.meta, "zero_rule": {**RULE, **rule}}
        made.append(MemoryHandle(replace(table, columns={**table.columns, **extra}, meta=meta), handle.info))
        if zeros and handle.info.role == "sources" and last != "5":
            first = {
                "zero_point": np.array([ZERO + (0.5 if last == "3" else 0.0)]),
                "zero_point_r2": np.ones(1),
            }
            made.append(MemoryHandle(Table(first), replace(handle.info, role="zeropoint")))
    return made


def test_images_solved_anew_get_the_zero_point_of_their_new_stars():
    products = measured_night()
    result, table = found(products, action="retry(2)")
    assert table["zero_point"] == pytest.approx(np.full(6, ZERO), abs=1e-3)
    for k in (3, 5):
        told = table.meta["zeropoint"][f"170225/f{k}"]
        assert told["zero_point_r2"] > 0.9999
        assert told["zero_point_n"] > 20
    everything = [*products, as_handle(result.products[0])]
    field = read_field(everything, known_stars=False)
    for k in (3, 5):
        placed = field.tables[k]
        assert placed["mag"] == pytest.approx(20.0 - 2.5 * np.log10(placed["flux_3"]), abs=1e-3)
        assert (placed["mag_error"] > 0.002).all()
    cards = cards_by_unit(everything)
    assert [cards[f"170225/f{k}"]["MAGZP"] for k in (3, 5)] == pytest.approx([20.0, 20.0], abs=1e-3)


def test_an_image_solved_anew_without_a_zero_point_has_no_magnitudes_and_says_why():
    products = measured_night(zeros=False, brightest=3.0, faintest=4.0)
    result, table = found(products, action="retry(2)")
    assert np.isnan(table["zero_point"][[3, 5]]).all()
    zeros = zero_points_again([as_handle(result.products[0])])
    assert all("0 usable stars" in one["reason"] for one in zeros.values())
    field = read_field([*products, as_handle(result.products[0])], known_stars=False)
    assert [bool(np.isfinite(one["mag"]).any()) for one in field.tables] == [True] * 3 + [False, True, False]
    assert "0 usable stars" in field.tables[3].meta["uncalibrated"]


def test_an_image_of_another_field_stays_left_out_however_often_it_is_tried():
    products, _ = sky_night()
    rng = np.random.default_rng(9)
    lost = [
        n for n, one in enumerate(products) if one.info.unit.endswith("f5") and one.info.role == "sources"
    ]
    table = products[lost[0]].load()
    moved = {"x": rng.uniform(0, 300, len(table)), "y": rng.uniform(0, 200, len(table))}
    products[lost[0]] = MemoryHandle(
        replace(table, columns={**table.columns, **moved}), products[lost[0]].info
    )
    result, table = found(products, action="retry(5)")
    assert table["use"].tolist() == [True] * 5 + [False]
    assert table["reason"][5].startswith("not solved")
    assert result.properties["n_solved_again"] == 1


@pytest.mark.parametrize("said", ["retry", "retry(0)", "retry(x)", "ask"])
def test_actions_that_are_none_are_refused_with_those_there_are(said):
    with pytest.raises(ValueError, match=r"no action; there are drop, keep, stop and retry\(n\)"):
        ImageQuality(outliers={"action": said})


def test_the_sheet_of_a_night_has_its_box_plots_and_marks_what_stands_out():
    analysis = ImageQuality()
    tables = night(12, spoil={"BKGMEAN": 1300.0, "BKGMED": 1300.0, "r2": 0.8})
    *panels, facts = analysis.source_panels(tables, AUX, analysis.settings)["night"]
    shown = {panel.title: panel for panel in panels}
    assert list(shown)[:2] == ["stars off the reference", "background, median"]
    assert {"background, scatter", "background, MAD", "zero point", "R²", "width of stars"} < set(shown)
    _, table = found(tables)
    panel = shown["background, median"]
    steady, off = panel.curves
    assert (off.label, off.y.tolist(), off.text) == (
        "stand out",
        [table["bkg_median"].max()],
        ("f3: background",),
    )
    assert len(steady) == 11
    (box,) = (mark for mark in panel.marks if mark.kind == "box")
    assert (box.y, box.y_end) == pytest.approx(tuple(np.percentile(table["bkg_median"], (25, 75))))
    assert (box.x, box.x_end) == (table["mjd"].min(), table["mjd"].max())
    middle, low, high = (mark for mark in panel.marks if mark.kind == "line")
    assert middle.y == np.median(table["bkg_median"])
    assert (low.y, high.y) == (steady.y.min(), steady.y.max())  # whiskers stop short of what is off
    assert shown["R²"].curves[1].y.tolist() == [0.8]
    assert ("f3", "background", "") in facts.rows
    assert ("images", 12, "") in facts.rows
    assert analysis.source_panels([], AUX, analysis.settings) == {}
