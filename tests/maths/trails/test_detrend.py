"""What the air does to all is taken away; what one star does, and what two do at once, stays."""

from functools import cache

import numpy as np
import pytest
from support.drift import TRACK, photons, template, through_filter, truth

from virtualobserver.errors import DataError
from virtualobserver.maths.trails.align import resampled
from virtualobserver.maths.trails.detrend import detrend, reference_trails
from virtualobserver.maths.trails.extract import extract_trails
from virtualobserver.maths.trails.profile import TransverseProfile

PROFILE = TransverseProfile(1.7 * 2.35482)


def test_a_smooth_curve_is_moved_and_nothing_is_made_up():
    at = np.arange(60.0)
    values = np.exp(-0.5 * ((at - 30.2) / 2) ** 2) + 1
    moved = resampled(np.stack([values, values]), np.array([0.37, -0.8]))
    for row, move in zip(moved, (0.37, -0.8), strict=True):
        known = np.isfinite(row)
        assert row[known] == pytest.approx(np.exp(-0.5 * ((at[known] + move - 30.2) / 2) ** 2) + 1, abs=0.01)
    assert np.isnan(moved[0, -1])
    assert np.isnan(moved[1, 0])
    gap = values.copy()
    gap[20] = np.nan
    assert np.flatnonzero(np.isnan(resampled(gap[None], np.array([0.5]))[0])).tolist() == [19, 20, 59]
    assert resampled(gap[None], np.array([0.0]))[0] == pytest.approx(gap, nan_ok=True)


def field(n=24, *, pulses=(), faint=0, seed=2):
    """Stars on a lattice, under one modulation in time; pulses by 60 % in the tenth second."""
    places = [(20.3 + 90 * (k % 3) + 0.27 * k, 25.2 + 33.37 * (k // 3)) for k in range(n)]
    fluxes = [30.0 if k < faint else 2e4 for k in range(n)]
    image, _ = photons(TRACK, places, fluxes, shape=(300, 320), seed=seed)
    clean = image - 400
    column = np.arange(320.0)
    for k, (x, y) in enumerate(places):
        time = (column - x) / TRACK.speed
        air = 1 + 0.06 * np.sin(time) + 0.03 * np.cos(2.3 * time)
        if k in pulses:
            air *= 1 + 0.6 * np.exp(-0.5 * ((time - 10) / 1.0) ** 2)
        rows = slice(int(y) - 12, int(y) + 14)
        near = (column > x - 12) & (column < x + 52)
        clean[rows, near] *= air[near]
    image = clean + 400
    return extract_trails(
        image, np.maximum(image, 1) + 36, TRACK, *np.transpose(places), fwhm=4.0, profile=PROFILE
    )


@pytest.mark.parametrize("mode", ["median", "pca"])
def test_the_air_is_taken_and_two_pulses_at_once_stay(mode):
    samples = field(pulses=(4, 11))
    found = detrend(samples, mode=mode)
    assert found.detrended.all()
    assert set(found.n_references) == {23}
    flat = samples.flat[0]
    raw = np.std(samples.flux[0, flat]) / np.mean(samples.flux[0, flat])
    floor = np.mean(found.relative_error[0, flat])
    assert raw > 0.03
    assert np.std(found.relative[0, flat]) < 1.3 * floor < 0.02
    for star in (4, 11):
        peak = np.nanmax(np.where(samples.flat[star], found.relative[star], np.nan))
        assert peak == pytest.approx(1.6, abs=0.06)
        assert found.trend[star][samples.flat[star]].max() < 1.15
    rest = [k for k in range(24) if k not in {4, 11}]
    pulls = ((found.relative - 1) / found.relative_error)[rest][samples.flat[rest]]
    assert np.std(pulls) == pytest.approx(1.0, abs=0.2)


def test_with_fewer_than_fifteen_references_nothing_is_divided_and_it_is_said():
    samples = field(15)
    found = detrend(samples)
    assert len(found.references) == 15
    assert not found.detrended.any()
    assert np.all(found.n_references == 14)
    assert np.all(found.trend == 1)
    level = samples.flux[0, samples.flat[0]]
    assert found.relative[0, samples.flat[0]] == pytest.approx(level / np.median(level), rel=0.01)
    assert detrend(field(16)).detrended.all()


def test_few_references_that_are_asked_for_tell_the_trend_also_while_one_has_an_event():
    samples = field(8, pulses=(4, 6))
    found = detrend(samples, fewest=6)
    assert found.detrended.all()
    assert np.isfinite(found.relative[4][samples.flat[4]]).all()
    assert np.nanmax(found.relative[4][samples.flat[4]]) == pytest.approx(1.6, abs=0.06)
    assert not detrend(samples, fewest=8).detrended.any()  # there are seven beside each


def strengths(found, samples):
    """Return the S/N of events as short as the image of a star at each flat sample: what a search makes of errors."""
    kernel = np.exp(-0.5 * (np.arange(-5, 6) / samples.profile.sigma) ** 2)
    use = samples.flat & np.isfinite(found.relative)
    weight = np.where(use, found.relative_error**-2.0, 0.0)
    top, base = (
        np.apply_along_axis(np.convolve, 1, part, line, mode="same")
        for part, line in ((weight * np.where(use, found.relative - 1, 0.0), kernel), (weight, kernel**2))
    )
    return (top / np.sqrt(np.maximum(base, 1e-300)))[use]


def test_errors_hold_what_stars_do_each_by_itself():
    samples = field()
    before = detrend(samples)
    phase = np.random.default_rng(5).uniform(0, 2 * np.pi, len(samples))
    samples.flux[:] *= 1 + 0.05 * np.sin(2 * np.pi * samples.time / 5 + phase[:, None])
    found = detrend(samples)
    use = samples.flat
    plain = (found.relative - 1)[use] / before.relative_error[use]
    assert np.std(plain) > 2.0 > 1.4 > np.std(strengths(found, samples)) > 0.4
    photons_ = samples.flux_error / samples.totals.flux[:, None]
    assert np.median(before.relative_error[use]) == pytest.approx(np.median(photons_[use]), rel=0.25)


def test_errors_of_stars_that_nothing_was_taken_from_hold_what_the_air_did():
    samples = field(15)
    found = detrend(samples)
    assert not found.detrended.any()
    photons_ = ((found.relative - 1) * samples.totals.flux[:, None] / samples.flux_error)[samples.flat]
    assert np.std(photons_) > 2.0 > 1.4 > np.std(strengths(found, samples)) > 0.4


def test_faint_stars_have_a_trend_and_no_relative_flux():
    samples = field(faint=3)
    samples.flux[0] -= 500.0  # a sky that is amiss: the median is below 0
    found = detrend(samples)
    assert np.isfinite(found.trend[:3][samples.flat[:3]]).all()
    assert np.isnan(found.relative[:3]).all()
    assert found.mean[0] < 0
    assert not set(found.references) & {0, 1, 2}


def test_an_event_in_the_window_does_not_move_the_mean():
    samples = field(pulses=(4,))
    window = np.zeros(samples.flux.shape, bool)
    window[4] = np.abs(samples.time[4] - 10) < 3
    plain, kept = detrend(samples, mode="pca"), detrend(samples, mode="pca", window=window)
    off = samples.flat[4] & ~window[4]
    assert np.mean(kept.relative[4, off]) == pytest.approx(1.0, abs=0.01)
    assert (
        np.nanmax(kept.relative[4, samples.flat[4]]) >= np.nanmax(plain.relative[4, samples.flat[4]]) - 0.01
    )
    with pytest.raises(DataError, match="shape of the samples"):
        detrend(samples, window=window[:3])
    with pytest.raises(DataError, match="median, pca"):
        detrend(samples, mode="best")


def test_references_are_bright_clean_alone_and_not_excluded():
    samples = field(faint=2)
    assert reference_trails(samples).tolist() == list(range(2, 24))
    excluded = np.arange(24) == 7
    samples.flags[5, 20] = 256
    assert sorted(set(range(2, 24)) - set(reference_trails(samples, excluded=excluded))) == [5, 7]


def test_no_stars():
    found = detrend(extract_trails(np.ones((50, 50)), np.ones((50, 50)), TRACK, [], [], fwhm=4.0))
    assert found.relative.shape[0] == len(found.references) == 0


@cache
def simulation():
    sim = truth()
    return sim, extract_trails(sim.image, sim.variance, TRACK, sim.x, sim.y, fwhm=4.3, mask=sim.mask)


@pytest.mark.real
@pytest.mark.parametrize("mode", ["median", "pca"])
def test_every_pulse_of_the_simulated_exposure_is_kept(mode):
    sim, samples = simulation()
    found = detrend(samples, mode=mode)
    kept = {}
    for star, event in sim.events.items():
        if event["type"] == "const":
            continue
        use = samples.flat[star] & np.isfinite(found.relative[star])
        shape = template(event, samples.time[star], samples.profile.sigma / TRACK.speed)[use]
        photon = samples.flux_error[star, use] / samples.totals.flux[star]
        ideal = through_filter(shape, photon, shape)
        kept[star] = through_filter(found.relative[star, use], found.relative_error[star, use], shape) / ideal
    assert set(kept) == {5, 8, 10, 25, 36, 37, 40}
    assert min(kept.values()) >= 0.7
    assert min(kept[37], kept[10]) >= 0.8  # at one time
    # a steady star that is brighter than its catalogue is none
    calm = samples.flat[44] & np.isfinite(found.relative[44])
    assert np.std(found.relative[44, calm] - 1) < 1.3 * np.median(found.relative_error[44, calm])


@pytest.mark.real
def test_bright_stars_of_the_simulated_exposure_come_to_the_noise_of_their_photons():
    sim, samples = simulation()
    ratio = {}
    for mode in ("median", "pca"):
        found, of_mode = detrend(samples, mode=mode), []
        for star in np.flatnonzero((sim.mag < 17.5) & (samples.totals.isolation < 0.05)):
            use = samples.flat[star] & np.isfinite(found.relative[star])
            if star in sim.events or use.sum() < 20:
                continue
            floor = np.median(samples.flux_error[star, use]) / samples.totals.flux[star]
            of_mode.append(np.std(found.relative[star, use]) / floor)
        ratio[mode] = np.median(of_mode)
    assert max(ratio.values()) <= 1.15
