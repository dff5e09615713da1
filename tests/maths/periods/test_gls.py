"""The periodogram: the published program's numbers, the formula, screening, bad input."""

import numpy as np
import pytest
from scipy.stats import binomtest
from support.real import real_data

from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.periods import gls as module
from virtualobserver.maths.periods.gls import frequency_grid, gls, prewhiten


@pytest.fixture
def sine():
    rng = np.random.default_rng(3)
    t = np.sort(rng.uniform(0, 60, 120)) + 59000.0
    error = rng.uniform(0.05, 0.2, 120)
    return t, 12 + 0.3 * np.sin(2 * np.pi * (t - 59000.2) / 2.75) + rng.normal(0, error), error


@pytest.mark.real
def test_the_companion_of_gj_1046_as_the_published_program_has_it():
    t, velocity, error = np.loadtxt(real_data("sso", "GJ1046.dat")).T
    found = gls(t, velocity, error)
    assert (found.n, found.frequency.size) == (14, 69)
    assert found.peak.period == pytest.approx(174.0502, abs=5e-5)
    assert found.peak.power == pytest.approx(0.92297619, abs=5e-9)
    assert found.peak.fap == pytest.approx(5.19e-6, abs=5e-9)
    near = gls(t, velocity, error, minimum=0.001, maximum=0.008)
    assert near.peak.period == pytest.approx(171.4849, abs=5e-5)
    assert near.peak.power == pytest.approx(0.93031425, abs=5e-9)


@pytest.mark.parametrize("floating", [True, False])
def test_power_is_the_share_of_variance_that_a_fitted_sine_explains(sine, floating):
    t, y, error = sine
    found = gls(t, y, error, floating_mean=floating)
    mean = np.average(y, weights=error**-2)
    for number in (0, 7, int(np.argmax(found.power))):
        angle = 2 * np.pi * found.frequency[number] * (t - t[0])
        columns = [np.cos(angle), np.sin(angle)] + ([np.ones_like(t)] if floating else [])
        design = np.stack(columns, 1) / error[:, None]
        left = np.linalg.lstsq(design, (y - mean) / error, rcond=None)[1][0]
        assert found.power[number] == pytest.approx(1 - left / np.sum(((y - mean) / error) ** 2), abs=1e-10)


def test_peak_is_the_sine_put_in(sine):
    t, y, error = sine
    peak = gls(t, y, error, nyquist=3).peak
    assert abs(peak.period - 2.75) < 4 * peak.period_error < 0.02
    assert abs(peak.amplitude - 0.3) < 4 * peak.amplitude_error < 0.1
    assert abs(peak.offset - 12) < 4 * peak.offset_error
    cycles = (peak.t0 - 59000.2) / 2.75
    assert abs(cycles - round(cycles)) < 0.05
    assert np.std(y - peak.model(t)) < 1.1 * np.sqrt(np.mean(error**2))


def test_peak_is_found_between_the_frequencies_of_the_grid(sine):
    t, y, error = sine
    coarse, fine = (gls(t, y, error, nyquist=3, refine=refine).peak for refine in (False, True))
    many = gls(t, y, error, minimum=0.35, maximum=0.38, oversampling=5000).peak
    assert fine.power > coarse.power
    assert fine.power == pytest.approx(many.power, abs=1e-7)
    assert fine.period == pytest.approx(many.period, rel=1e-5)


def test_norms_say_what_they_are_called(sine):
    t, y, error = sine
    found = gls(t, y, error)
    top = int(np.argmax(found.power))
    angle = 2 * np.pi * found.frequency[top] * (t - t[0])
    design = np.stack([np.cos(angle), np.sin(angle), np.ones_like(t)], 1) / error[:, None]
    chisq = np.linalg.lstsq(design, y / error, rcond=None)[1][0]
    assert found.norm("chisq")[top] == pytest.approx(chisq)
    assert found.norm("wrms")[top] == pytest.approx(np.sqrt(chisq / np.sum(error**-2)))
    likelihood = -0.5 * chisq - 0.5 * np.sum(np.log(2 * np.pi * error**2))
    assert found.norm("lnL")[top] == pytest.approx(likelihood)
    constant = np.sum(((y - np.average(y, weights=error**-2)) / error) ** 2)
    assert found.norm("dlnL")[top] == pytest.approx(0.5 * (constant - chisq))
    p, n = found.power, t.size
    np.testing.assert_allclose(found.norm("HorneBaliunas"), p * (n - 1) / 2)
    np.testing.assert_allclose(found.norm("Cumming"), (n - 3) / 2 * p / (1 - p.max()))
    assert found.norm("ZK") is found.power
    with pytest.raises(DataError, match="there are ZK, HorneBaliunas"):
        found.norm("Scargle")  # type: ignore[arg-type]


def test_level_and_false_alarm_are_inverse(sine):
    found = gls(*sine)
    for fap in (1e-6, 0.01, 0.3):
        assert found.fap(found.level(fap)) == pytest.approx(fap, rel=0.01)


def test_bound_is_kept_by_noise():
    rng = np.random.default_rng(5)
    t = np.sort(rng.uniform(0, 90, 60))
    chances = []
    for _ in range(400):
        found = gls(t, rng.normal(size=60), nyquist=2)
        chances.append(found.bound(found.peak.power))
    for share in (0.01, 0.05, 0.2):
        number = int(np.sum(np.array(chances) <= share))
        assert binomtest(number, 400, share).pvalue > 0.002, (share, number)


def test_prewhitening_finds_one_period_after_the_other():
    rng = np.random.default_rng(9)
    t = np.sort(rng.uniform(0, 40, 300))
    y = np.sin(2 * np.pi * t / 3.1) + 0.5 * np.sin(2 * np.pi * t / 1.37) + rng.normal(0, 0.1, 300)
    first, second = prewhiten(t, y, iterations=2, refine=True)
    assert first.peak.period == pytest.approx(3.1, rel=4e-3)
    assert second.peak.period == pytest.approx(1.37, rel=1e-3)
    assert second.peak.rms == pytest.approx(0.1, rel=0.3)


def test_screening_changes_no_peak(sine, monkeypatch):
    t, y, error = sine
    exact = gls(t, y, error, nyquist=20)
    monkeypatch.setattr(module, "_LARGE", 0)
    fast = gls(t, y, error, nyquist=20)
    assert fast.peak.frequency == exact.peak.frequency
    assert fast.peak.power == pytest.approx(exact.peak.power, rel=1e-12)
    np.testing.assert_allclose(fast.power, exact.power, atol=1e-3)


def test_grid_can_be_asked_for():
    t = np.linspace(0, 10, 21)
    assert frequency_grid(t) == (pytest.approx(0.01), pytest.approx(0.01), 104)
    assert frequency_grid(t, minimum=0.5, maximum=1.0, oversampling=5) == (0.5, pytest.approx(0.02), 25)
    with pytest.raises(DataError, match="no frequency lies between 2 and 1"):
        frequency_grid(t, minimum=2, maximum=1)


@pytest.mark.parametrize(
    ("t", "y", "error", "kind", "said"),
    [
        ([0, 1, 2], [1, 2, 3], None, NotEnoughData, "3 values are too few"),
        (
            [0, 1, 2, 3],
            [1, 2, np.nan, 3],
            None,
            DataError,
            "1 of 4 values cannot be used, the first is number 2",
        ),
        ([0, 1, 2, 3], [1, 2, 2, 3], [1, 0, 1, -1], DataError, "2 of 4 values"),
        ([0, 1, 2, 3], [1, 1, 1, 1], None, DataError, "all values are equal"),
        ([5, 5, 5, 5], [1, 2, 1, 2], None, NotEnoughData, "different times"),
        ([0, 1, 2, 3], [1, 2], None, DataError, "as many of each"),
    ],
)
def test_what_has_no_periodogram_is_refused(t, y, error, kind, said):
    with pytest.raises(kind, match=said):
        gls(t, y, error)


@pytest.mark.parametrize("seed", range(8))
def test_times_once_a_night_at_the_same_hour_have_a_periodogram(seed):
    """At whole cycles a day each sine is the same at all times: it has no power, and is no peak."""
    rng = np.random.default_rng(seed)
    t = 58000.0 + np.arange(200)
    y = rng.normal(0, 1, 200) + 3 * np.sin(2 * np.pi * t / 7.3)
    found = gls(t, y, np.ones(200), minimum=0.5 / 199, maximum=0.5, refine=True)
    assert found.peak.period == pytest.approx(7.3, abs=0.02)
    far = gls(t, y, np.ones(200), minimum=0.5 / 199, maximum=12.0, oversampling=4.0, refine=True)
    assert 0 < far.peak.power < 1
    assert far.power[np.isfinite(far.power)].max() < 1.01
    assert not np.isinf(far.power).any()
