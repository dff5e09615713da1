"""What false-alarm probabilities rest on: the tail of a star's own noise, and floors that few spectra tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from virtualobserver.analyses.exocomets.matched.classes import event_class, is_active
from virtualobserver.analyses.exocomets.matched.filter import (
    Filtered,
    floor_share,
    floor_shares,
    gaussian_snr,
    make_bank,
    with_floor,
)
from virtualobserver.analyses.exocomets.matched.tracks import null_tail
from virtualobserver.analyses.exocomets.settings import ExocometsSettings

START = 3.0


HEIGHTS = np.linspace(START, 12, 2000)
RARITY = 0.5 * (HEIGHTS**2 - START**2) - 2 * np.log(HEIGHTS / START)


def peaks_of(rng, rate):
    """Return peaks of noise above the start, by the law that maxima of a Gaussian field follow."""
    return np.interp(rng.exponential(1.0, rng.poisson(rate)), RARITY, HEIGHTS)


@pytest.mark.parametrize("rate", [9.0, 150.0])
def test_probabilities_of_noise_are_even(rate):
    rng = np.random.default_rng(8)
    levels = np.array([0.002, 0.01, 0.05])
    shares = []
    for _ in range(6000):
        stated = null_tail(peaks_of(rng, rate), start=START).probability(HEIGHTS)
        # how often other noise of the star has a peak above the height at which a level is stated
        height = np.interp(np.log(levels), np.log(np.maximum(stated, 1e-300))[::-1], RARITY[::-1])
        shares.append(-np.expm1(-rate * np.exp(-height)))
    assert np.mean(shares, axis=0) == pytest.approx(levels, rel=0.05)


def test_core_that_shines_weakly_is_active_where_most_nights_are_darker_than_the_others():
    event = {"velocity": 2.0, "fwhm": 30.0, "fap": 1e-6}
    settings = ExocometsSettings()
    for hypothesis, core, kind in (
        ("most", 0.2, "activity"),
        ("half", 0.2, "activity"),
        ("few", 0.2, "exocomet_candidate"),
        ("most", 0.02, "exocomet_candidate"),
    ):
        star = {"hypothesis": hypothesis, "emission_core": core, "vsini": 10.0}
        assert event_class(event, star, settings)[0] == kind
        assert is_active(star, settings) == (kind == "activity")
    far = event | {"velocity": 120.0}
    assert (
        event_class(far, {"hypothesis": "most", "emission_core": 0.2, "vsini": 10.0}, settings)[0]
        != "activity"
    )


@pytest.mark.parametrize("spectra", [40, 120])
@pytest.mark.parametrize("snr", [3.0, 5.0, 7.0])
def test_a_signal_in_a_floor_that_few_spectra_tell_is_as_rare_as_students_distribution_says(spectra, snr):
    (found,) = gaussian_snr(np.array([snr]), np.array([1.0]), spectra)
    assert found == pytest.approx(stats.norm.isf(stats.t.sf(snr, spectra / 2)), rel=0.03)


def test_noise_without_a_floor_keeps_its_snr():
    snr = np.array([4.0, 8.0, 30.0])
    assert gaussian_snr(snr, np.zeros(3), 10) == pytest.approx(snr, rel=1e-3)
    assert (gaussian_snr(snr, np.full(3, 0.5), 30) > gaussian_snr(snr, np.ones(3), 30)).all()


def test_only_floors_of_wide_templates_are_doubted():
    widths = np.array([10.0, 40.0, 80.0, 120.0, 160.0])
    bank = make_bank([np.arange(-400.0, 400.0, 0.8)], v_range=(-300, 300), widths=widths)
    bank = with_floor(bank, np.full(bank.floor.shape, 0.01))
    count = len(bank.fwhm)
    filtered = Filtered(
        *(np.full((1, 2, count), 50.0, np.float32),) * 2, np.full((2, count), 7.0, np.float32)
    )
    shares = floor_shares(bank, filtered)
    assert shares == pytest.approx(np.where(bank.fwhm >= 100, 0.5, 0.0)[None, :] * np.ones((2, 1)))
    rows, templates = np.array([0, 1, 1]), np.array([0, 1, count - 1])
    assert floor_share(bank, filtered, rows, templates) == pytest.approx(shares[rows, templates])
