"""One event with long wings, fitted to all of a star."""

from __future__ import annotations

import numpy as np
import pytest

from virtualobserver.maths.lightcurves.lone import fit_lone

T = np.sort(np.random.default_rng(1).uniform(0.0, 900.0, 400))
BAND = (np.arange(T.size) % 2).astype(np.int64)
SERIES = BAND + 2 * (np.arange(T.size) % 3 == 0)
LEVEL = np.array([1.0, 1.1, 1.05, 0.9])[SERIES]
NOISE = 0.01


def seen(signal, seed=2):
    """Return light curves of a level for each series, with a hundredth of noise."""
    return LEVEL * signal + NOISE * np.random.default_rng(seed).standard_normal(T.size)


def fitted(flux, *, sign=1, peak=420.0, length=60.0):
    return fit_lone(T, flux, np.full(T.size, NOISE**2), SERIES, BAND, sign=sign, peak=peak, length=length)


def magnified(u0, scale, peak=430.0):
    u2 = u0**2 + ((T - peak) / scale) ** 2
    return (u2 + 2) / np.sqrt(u2 * (u2 + 4))


@pytest.mark.parametrize(("u0", "scale"), [(0.1, 150.0), (0.5, 60.0), (1.0, 90.0)])
def test_the_light_of_a_lens_is_taken_out_as_far_as_its_wings_reach(u0, scale):
    more = np.array([1.0, 0.6])[BAND] * (magnified(u0, scale) - 1.0)  # blended otherwise in the second band
    found = fitted(LEVEL + more + NOISE * np.random.default_rng(3).standard_normal(T.size))
    assert found is not None
    away = found.light - more
    assert np.abs(away[more < 0.1 * more.max()]).max() < 2 * NOISE
    assert np.abs(away / np.maximum(more, 10 * NOISE)).max() < 0.15
    assert found.form.max() == 1.0


def test_a_decline_by_a_power_is_followed_to_its_end():
    since = np.maximum(T - 300.0, 0.0)
    more = np.where(T < 300.0, np.exp(-0.5 * ((T - 300.0) / 15.0) ** 2), (1 + since / 40.0) ** (-5 / 3))
    found = fitted(LEVEL * (1 + more), peak=305.0)
    assert found is not None
    late = T > 500.0
    assert np.abs(found.light - LEVEL * more)[late].max() < 0.02


def test_a_dip_takes_a_part_of_the_light_of_every_series():
    depth = np.exp(-0.5 * ((T - 400.0) / np.where(T < 400.0, 10.0, 40.0)) ** 2)
    found = fitted(seen(10 ** (-0.4 * 2.0 * depth)), sign=-1, peak=402.0)
    assert found is not None
    assert found.light.min() < -0.75
    assert (found.light <= 0).all()
    assert np.abs(found.light - LEVEL * (10 ** (-0.8 * depth) - 1))[np.abs(T - 400.0) > 120.0].max() < 0.03
    assert fitted(seen(1.0 - 1.1 * depth), sign=-1) is None  # no logarithm of what is below zero


def test_a_trend_and_what_bands_do_not_share_are_no_single_event():
    assert fitted(seen(1.0 + 0.001 * T)) is None
    # a bump that is a brightening in one band and a dip in the other
    both = np.array([1.0, -0.5])[BAND] * np.exp(-0.5 * ((T - 420.0) / 20.0) ** 2)
    assert fitted(seen(1.0 + both)) is None
