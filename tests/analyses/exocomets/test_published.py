"""The published statistic: the same numbers as its literal form, its faults included."""

import numpy as np
import pytest
from support.exocomets import abdor, find, gaussian, grid, noisy, photosphere, spectra, velocity
from support.published import published, published_numpy

from virtualobserver.analyses.exocomets import Exocomets
from virtualobserver.analyses.exocomets.published.statistic import (
    PUBLISHED_THRESHOLD,
    published_statistic,
    published_window,
)
from virtualobserver.analyses.exocomets.settings import ExocometsSettings
from virtualobserver.errors import DataError


def star(seed, n=30, line="K", height=1.0):
    rng = np.random.default_rng(seed)
    reference = photosphere(line) if height == 1.0 else 0.5 + height * gaussian(velocity(line), -20, 60)
    flux = noisy(reference, rng, n, 0.01) * rng.uniform(10, 1000, (n, 1))
    flux[3] *= 1 - 0.5 * gaussian(velocity(line), 60.0, 20.0)
    return flux


def columns(result, row):
    names = ("minimum", "position", "width", "depth", "detected")
    return np.array([float(getattr(result, name)[row]) for name in names])


def test_grids_are_the_published_ones():
    window, v = published_window(grid("K"), "K")
    assert (grid("K")[window][0], grid("K")[window][-1]) == (3923.66, 3943.65)
    assert (v[0], v[-1], v[1000]) == pytest.approx((-762.649, 761.886, 0.0), abs=1e-3)
    assert (np.sum(np.abs(v) < 200), np.sum(v < -200), np.sum(v > 200), np.sum(np.abs(v) < 100)) == (
        525,
        738,
        737,
        263,
    )
    window, v = published_window(grid("H"), "H")
    assert (grid("H")[window][0], grid("H")[window][-1]) == (3958.47, 3978.46)
    assert (v[0], v[-1]) == pytest.approx((-755.959, 755.203), abs=1e-3)
    assert (np.sum(np.abs(v) < 200), np.sum(v < -200), np.sum(v > 200), np.sum(np.abs(v) < 100)) == (
        529,
        736,
        735,
        265,
    )


@pytest.mark.parametrize(
    ("seed", "n", "line", "height"),
    [(1, 30, "K", 1.0), (2, 5, "H", 1.0), (3, 12, "K", 3.0), (4, 2, "K", 1.0)],
)
def test_numbers_are_those_of_the_literal_form(seed, n, line, height):
    flux = star(seed, max(n, 4), line, height)[:n] if n >= 4 else star(seed, 4, line)[2:4]
    flux[1] += flux[1].mean() * 0.4 * np.random.default_rng(9).standard_normal(flux.shape[1]) if n > 10 else 0
    window, v = published_window(grid(line), line)
    rest = {"K": 3933.66, "H": 3968.47}[line]
    fast = published_statistic(flux[:, window], v, line=line, settings=ExocometsSettings())
    slow = published(flux[:, window], v, rest)
    usual = published_numpy(flux[:, window], v, rest)
    assert set(slow) == set(np.flatnonzero(fast.used)) == set(usual)
    if n > 10:
        assert 1 not in slow
    for row, numbers in slow.items():
        np.testing.assert_allclose(columns(fast, row), np.array(numbers, float), rtol=0, atol=1e-10)
        np.testing.assert_allclose(np.array(usual[row], float), np.array(numbers, float), rtol=0, atol=1e-10)
    assert np.isfinite(fast.masked_velocity) == (height > 2)


def test_active_core_is_masked_around_its_own_velocity():
    flux = star(5, 10, "K", 3.0)
    window, v = published_window(grid("K"), "K")
    result = published_statistic(flux[:, window], v, line="K", settings=ExocometsSettings())
    assert result.masked_velocity == pytest.approx(-20, abs=2)
    inside = np.abs(result.velocity - result.masked_velocity) < 50
    assert np.isnan(result.sigma[:, inside]).all()
    assert np.isfinite(result.sigma[:, ~inside]).all()


def test_one_nan_or_one_dead_spectrum_hides_the_whole_star():
    flux = star(6)
    window, v = published_window(grid("K"), "K")
    for value, place in ((np.nan, (0, 500)), (0.0, 0)):
        broken = flux[:, window].copy()
        broken[place] = value
        assert published_statistic(broken, v, line="K", settings=ExocometsSettings()).skipped == "noise"
    assert (
        published_statistic(flux[:1, window], v, line="K", settings=ExocometsSettings()).skipped
        == "one spectrum"
    )


def test_threshold_and_width_decide():
    flux = star(7)
    window, v = published_window(grid("K"), "K")
    assert published_statistic(flux[:, window], v, line="K", settings=ExocometsSettings()).detected[3]
    for settings in (
        ExocometsSettings(threshold=-50.0),
        ExocometsSettings(min_width=200),
        ExocometsSettings(rv_max=20.0),
    ):
        assert not published_statistic(flux[:, window], v, line="K", settings=settings).detected[3]


def test_running_median_of_another_length():
    flux = star(8)[:, published_window(grid("K"), "K")[0]]
    v = published_window(grid("K"), "K")[1]
    minima = [
        published_statistic(flux, v, line="K", settings=ExocometsSettings(median_pixels=pixels)).minimum[3]
        for pixels in (1, 3, 7)
    ]
    assert len(set(minima)) == 3


def test_window_outside_the_grid_is_refused():
    with pytest.raises(DataError, match="1000 pixels"):
        published_window(grid("K")[1500:], "K")


def test_old_parameter_names_are_understood():
    old = {
        "threshold": -3.5,
        "med_filter_bin": 5,
        "rv_min": -150,
        "rv_max": 150,
        "cutoff": 1.5,
        "width_filt": 4,
        "SNR_cut": 10,
        "cores": 4,
        "dataset": "../HARPS-dataset/",
    }
    settings = Exocomets(method="published", **old).settings
    assert (settings.threshold, settings.median_pixels, settings.rv_min, settings.rv_max) == (
        -3.5,
        5,
        -150.0,
        150.0,
    )
    assert (settings.activity_cutoff, settings.min_width) == (1.5, 4)
    assert (settings.snr_cut, settings.cores, settings.dataset) == (10.0, 4, "../HARPS-dataset/")
    assert Exocomets().settings.threshold is None
    assert dict(PUBLISHED_THRESHOLD) == {"K": -4.0, "H": -2.0}
    with pytest.raises(ValueError, match="odd number"):
        Exocomets(med_filter_bin=4)


def test_lines_are_searched_one_by_one_as_asked():
    sets = [spectra(star(9, line=line), line) for line in "KH"]
    bands = {
        line: {event.band for event in find(Exocomets(method="published", line=line), *sets).detections}
        for line in ("K", "H", "both")
    }
    assert bands == {"K": {"K"}, "H": {"H"}, "both": {"K", "H"}}


def test_snr_cut_works():
    snr = np.where(np.arange(30) == 3, 5.0, 50.0)
    data = spectra(star(10), snr=snr)
    assert find(Exocomets(method="published", line="K"), data).detections[0].peak_mjd == data.mjd[3]
    assert not find(Exocomets(method="published", line="K", SNR_cut=10), data).detections


@pytest.mark.real
def test_night_of_ab_dor_is_flagged_by_the_published_search_and_called_activity_by_ours():
    k, h = abdor()
    events = find(Exocomets(method="published", line="K"), k).detections
    assert [int(np.argmin(np.abs(k.mjd - event.peak_mjd))) for event in events] == [7, 8, 9]
    minima = [event.parameters["min_snr"] for event in events]
    assert minima == pytest.approx([-6.2, -5.5, -5.2], abs=0.15)
    result = find(Exocomets(), k, h)
    assert result.properties["class"] == "activity"
    assert "activity" in {event.kind for event in result.detections}
    assert "exocomet_candidate" not in {event.kind for event in result.detections}
    assert result.properties["emission_core"] > 1


@pytest.mark.parametrize("n", [101, 300])
def test_numbers_of_many_spectra_are_those_of_the_literal_form(n):
    window, v = published_window(grid("K"), "K")
    flux = star(11, n, "K", 3.0 if n == 101 else 1.0)[:, window]
    fast, usual = (
        published_statistic(flux, v, line="K", settings=ExocometsSettings()),
        published_numpy(flux, v, 3933.66),
    )
    assert set(usual) == set(np.flatnonzero(fast.used))
    for row, numbers in usual.items():
        np.testing.assert_allclose(columns(fast, row), np.array(numbers, float), rtol=0, atol=1e-10)


def test_an_infinite_value_does_what_it_does_in_the_literal_form():
    window, v = published_window(grid("K"), "K")
    flux = star(12)[:, window]
    flux[3, 1000] = np.inf
    with np.errstate(all="ignore"):
        usual = published_numpy(flux, v, 3933.66)
    fast = published_statistic(flux, v, line="K", settings=ExocometsSettings())
    assert set(usual) == set(np.flatnonzero(fast.used))
    for row, numbers in usual.items():
        np.testing.assert_allclose(columns(fast, row), np.array(numbers, float), rtol=0, atol=1e-10)
