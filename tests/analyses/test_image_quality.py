"""Images of a night compared, and those that stand out left out of searches."""

from __future__ import annotations

import numpy as np
import pytest

from virtualobserver.analyses.image_quality import ImageQuality
from virtualobserver.analyses.moving_objects.night import usable
from virtualobserver.data import Image, Product, Table, Target, as_handle
from virtualobserver.data.handles import MemoryHandle
from virtualobserver.errors import DataError
from virtualobserver.observatory import Aux

AUX = Aux(Target("field"))


def night(n=8, *, spoil=None, **numbers):
    """Return the tables of a night of `n` images; `spoil` changes numbers of the fourth one."""
    rng = np.random.default_rng(3)
    made = []
    for k in range(n):
        own = {"FWHM": 2.5, "BKGMEAN": 900.0, "BKGMED": 900.0, "BKGSD": 40.0, "BKGMAD": 27.0, **numbers}
        own = {key: value * (1 + 0.003 * rng.normal()) for key, value in own.items()}
        facts = {"zero_point": 21.0 + 0.01 * rng.normal(), "off": 0.1, "solved": True}
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
            "zeropoint": ({"mjd": [meta["mjd"]], "zero_point": [facts["zero_point"]]}, {}), "wcs": ({}, {}),
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
