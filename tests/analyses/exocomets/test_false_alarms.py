"""What false-alarm probabilities rest on: the tail of a star's own noise, and floors that few spectra tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from virtualobserver.analyses.exocomets.matched.filter import (
    Filtered,
    floor_share,
    floor_shares,
    gaussian_snr,
    make_bank,
    with_floor,
)
from virtualobserver.analyses.exocomets.matched.tracks import null_tail

START = 3.0


def highest_of(rng, rate):
    """Return peaks of noise above the start, by the law that maxima of a Gaussian field follow."""
    y = rng.exponential(1.0, rng.poisson(rate))
    x = np.linspace(START, 12, 4000)
    return np.interp(y, 0.5 * (x**2 - START**2) - 2 * np.log(x / START), x)


def test_probabilities_of_noise_are_even():
    rng = np.random.default_rng(8)
    p = []
    for _ in range(3000):
        up, down = highest_of(rng, 150.0), highest_of(rng, 150.0)
        p.append(float(null_tail(up, start=START).probability(down.max())))
    for level in (0.01, 0.05, 0.25):
        share = np.mean(np.array(p) < level)
        # ten peaks and thirty of noise leave a fifth of the least chances open
        assert share == pytest.approx(level, abs=0.2 * level + 3 * np.sqrt(level / 3000)), level


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
