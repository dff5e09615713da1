"""Windows and slow variability against plain linear algebra."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from virtualobserver.maths.lightcurves.slow import SlowModel, fit_slow, weigh
from virtualobserver.maths.lightcurves.slow_kernel import whitened
from virtualobserver.maths.lightcurves.windows import Curves, chance, event_sigma, nights, screen


def star(n=200, seed=0, bands=2, event=0.0):
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0, 300, n))
    band = rng.integers(0, bands, n)
    flux = 1.0 + 0.1 * band + 0.01 * rng.standard_normal(n) + event * ((t > 100) & (t < 130))
    edges = np.array([0, n])
    facts = (np.array([bands]), np.array([bands]), np.array([False]))
    return Curves(edges, t, flux, np.full(n, 1e-4), band, band, nights(edges, t), *facts)


def test_whitening_is_that_of_the_whole_matrix():
    rng = np.random.default_rng(1)
    t = np.sort(rng.uniform(0, 100, 80))
    t[40] = t[39]  # two rows at one time
    columns, variance = rng.standard_normal((80, 3)), rng.uniform(0.5, 2.0, 80)
    power, rate = np.array([0.7, 0.2]), np.array([0.05, 3.0])
    apart = np.abs(t[:, None] - t)
    matrix = np.diag(variance) + sum(p * np.exp(-r * apart) for p, r in zip(power, rate, strict=True))
    white, log_det = whitened(t, columns, variance, power, rate)
    np.testing.assert_allclose(white, np.linalg.solve(np.linalg.cholesky(matrix), columns), atol=1e-11)
    assert log_det == pytest.approx(np.linalg.slogdet(matrix)[1])


def test_best_window_holds_the_event_and_its_statistic_is_that_of_least_squares():
    curves = star(event=0.03)
    found = screen(curves)
    first, stop = found.window[0, 0]
    assert 95 < curves.t[first] < 105
    assert 125 < curves.t[stop - 1] < 135
    inside = np.zeros(200)
    inside[first:stop] = 1.0
    total = 0.0
    noise = np.sqrt(found.variance)
    capped = np.clip(found.residual / noise, -4, 4)
    for band in (0, 1):
        rows = curves.band == band
        design = np.column_stack([np.ones(rows.sum()), inside[rows]]) / noise[rows, None]
        inverse = np.linalg.inv(design.T @ design)
        amplitude = inverse @ design.T @ capped[rows]
        total += max(amplitude[1], 0.0) ** 2 / inverse[1, 1]
    assert found.best[0, 0] <= total * 1.001  # less by what epochs of one night share
    assert found.best[0, 0] > 0.9 * total


def test_one_wild_epoch_makes_no_window():
    curves = star(seed=3)
    flux = curves.flux.copy()
    flux[50] += 5.0
    before, after = (screen(replace(curves, flux=one)).best.max() for one in (curves.flux, flux))
    assert after < max(before, 25.0)


def test_a_known_level_is_not_fitted_to_an_event_that_fills_the_time():
    curves = star(event=0.0)
    whole = replace(curves, flux=np.full(200, 0.1), known=np.array([True]))
    assert screen(whole).best[0, 0] > 1000
    assert screen(replace(whole, known=np.array([False]))).best[0, 0] < 10


def test_sigma_is_as_rare_as_the_statistic():
    one_band = [event_sigma(value**2, 1) for value in (3.0, 5.0, 8.0)]
    np.testing.assert_allclose(
        one_band, [3.0, 5.0, 8.0], atol=1e-6
    )  # half of a chi squared is one side of a normal
    tail = 0.5 * stats.chi2.sf(30, 1) + 0.25 * stats.chi2.sf(30, 2)
    assert stats.norm.sf(event_sigma(30.0, 2)) == pytest.approx(tail)
    assert event_sigma(0.0, 2) == 0.0
    values = [event_sigma(value, 3) for value in (10.0, 100.0, 900.0, 1100.0, 1e4, 1e6)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(1000, rel=0.01)


def test_chance_counts_what_is_tried():
    assert chance(0.0, 2, 300) == 1.0
    assert chance(30.0, 2, 600) == pytest.approx(2 * chance(30.0, 2, 300), rel=0.01)
    assert chance(40.0, 2, 300) < chance(30.0, 2, 300) < 0.01


def test_a_walk_is_measured_and_an_event_weighs_less_before_it():
    rng = np.random.default_rng(4)
    t = np.sort(rng.uniform(0, 600, 300))
    apart = np.abs(t[:, None] - t)
    walk = np.linalg.cholesky(0.04 * np.exp(-apart / 50.0) + 1e-9 * np.eye(300)) @ rng.standard_normal(300)
    base, variance = np.ones((300, 1)), np.full(300, 1e-4)
    noise = 0.01 * rng.standard_normal(300)
    slow, still = fit_slow(t, walk + noise, base, variance), fit_slow(t, noise, base, variance)
    assert slow.gain > 100
    assert np.sqrt(slow.power) == pytest.approx(0.2, rel=0.6)
    assert 15 < slow.time_scale < 200
    assert still.gain < 5
    form = ((t > 200) & (t < 260)).astype(float)
    light = {"templates": form[:, None], "sign": 1}
    bare, walked = (
        weigh(model, t, noise + 0.05 * form, base, variance, **light).statistic for model in (still, slow)
    )
    assert bare > 300
    assert walked < 25


def test_a_band_that_goes_the_other_way_is_left_out():
    t = np.arange(100.0)
    form = ((t > 40) & (t < 50)).astype(float)
    band = (np.arange(100) % 2)[:, None] == np.arange(2)
    flux = 0.1 * form * np.where(band[:, 0], 1.0, -1.0)
    model = SlowModel(0.0, 1.0, 1.0, 0.0, 0.0)
    found = weigh(
        model, t, flux, band.astype(float), np.full(100, 1e-4), templates=form[:, None] * band, sign=1
    )
    assert found.amplitude[0] == pytest.approx(0.1)
    assert found.amplitude[1] == 0.0
