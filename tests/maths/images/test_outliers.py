"""Images unlike the others of a night, and the background they are compared by."""

from __future__ import annotations

import matplotlib.cbook
import numpy as np
import pytest
from support.ccd import stars_image

from virtualobserver.maths.images.background import source_free
from virtualobserver.maths.images.outliers import find_outliers, fliers


@pytest.mark.parametrize("seed", range(8))
def test_fliers_are_those_of_a_box_plot(seed):
    rng = np.random.default_rng(seed)
    values = np.r_[rng.normal(10, 1, 25), rng.normal(10, 5, 6)]
    (box,) = matplotlib.cbook.boxplot_stats(values)
    assert sorted(values[fliers(values) != 0]) == pytest.approx(sorted(box["fliers"]))


def test_missing_values_are_no_fliers_and_nothing_has_none():
    values = np.array([1.0, 1.1, 0.9, 1.0, np.nan, 9.0])
    assert fliers(values).tolist() == [0, 0, 0, 0, 0, 1]
    assert fliers([np.nan]).tolist() == [0]


def test_the_existing_rule_takes_separations_on_the_high_side_and_background_on_either():
    steady = np.tile([1.0, 1.01, 0.99], 4)
    high, low = np.r_[steady, 2.0], np.r_[steady, 0.2]
    for name, values, bad in (
        ("separation", high, True), ("separation", low, False), ("bkg_sd", high, True), ("bkg_sd", low, True),
        ("zero_point", high, False), ("fwhm", low, False),
    ):  # fmt: skip
        found = find_outliers({name: values}, rule="boxplot")[name]
        assert found.tolist() == [False] * 12 + [bad]


def test_the_robust_rule_takes_both_sides_and_lets_steady_nights_alone():
    steady = np.tile([1.0, 1.001, 0.999], 4)
    for name, value, bad in (
        ("separation", 1.2, True), ("separation", 1.02, False), ("separation", 0.5, False), ("bkg_mean", 0.9, True),
        ("bkg_mean", 1.03, False), ("zero_point", 0.8, True), ("zero_point", 1.05, False), ("fwhm", 1.3, True),
    ):  # fmt: skip
        assert find_outliers({name: np.r_[steady, value]})[name].tolist() == [False] * 12 + [bad], name


@pytest.mark.parametrize("rule", ["robust", "boxplot"])
def test_what_no_image_has_tells_nothing_and_what_one_lacks_stands_out(rule):
    lost = np.full(6, np.nan)
    assert not find_outliers({"separation": lost, "bkg_sd": lost}, rule=rule)["separation"].any()
    some = np.r_[np.ones(5), np.nan]
    assert find_outliers({"separation": some}, rule=rule)["separation"].tolist() == [False] * 5 + [True]
    assert not find_outliers({"bkg_sd": some}, rule=rule)["bkg_sd"].any()


def test_the_background_is_that_without_sources():
    rng = np.random.default_rng(1)
    noise = rng.normal(900, 40, (200, 300))
    x, y = rng.uniform(10, 290, 40), rng.uniform(10, 190, 40)
    image = (noise + stars_image(noise.shape, x, y, np.full(40, 5e4))).astype(np.float32)
    image[5, 7] = np.nan
    found = source_free(image)
    assert found.mean == pytest.approx(900, abs=1.0)
    assert found.median == pytest.approx(900, abs=1.0)
    assert found.sd == pytest.approx(40, rel=0.03)  # clipping takes a little of it
    # all pixels, sources too, and not scaled
    assert found.mad == pytest.approx(np.nanmedian(np.abs(image - found.median)), rel=1e-5)
    assert np.isnan(source_free(np.full((4, 4), np.nan, np.float32)).mean)
    assert source_free(np.full((20, 20), 7.0, np.float32)).sd == 0
