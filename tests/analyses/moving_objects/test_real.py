"""Shift and stack on real frames: hot pixels at the anti-drift velocity, movers injected and found."""

import numpy as np
import pytest
from support.oscaar import calibrated, lights, median_dark, noise_of
from support.shiftstack import likelihood_images, shift_frames

from virtualobserver.analyses.moving_objects import MovingObjects
from virtualobserver.data import Target
from virtualobserver.maths.shiftstack.grids import rectangle_grid
from virtualobserver.maths.shiftstack.images import Frames, gaussian_psf
from virtualobserver.maths.shiftstack.search import search
from virtualobserver.maths.shiftstack.template import median_over_frames
from virtualobserver.observatory import Aux

pytestmark = pytest.mark.real

ROWS, COLS = slice(300, 560), slice(200, 560)


def anti_drift(planes, dark, mjd, dx, dy):
    """Number of candidates above likelihood 8 at the velocity of the detector against the sky."""
    signal = planes - dark
    signal -= np.median(signal, axis=(1, 2), keepdims=True)
    variance = np.array([noise_of(one) for one in signal])
    signal, variance = shift_frames(signal, dx, dy), shift_frames(variance, dx, dy)
    template, usual = median_over_frames(signal), median_over_frames(variance)
    with np.errstate(invalid="ignore"):
        signal[:, template > 4 * np.sqrt(usual / 8)] = np.nan
    box = (slice(None), ROWS, COLS)
    frames = Frames(mjd, (signal - template)[box], variance[box], (gaussian_psf(1.2),) * 15)
    images = likelihood_images(frames, masked="kbmod")
    grid = rectangle_grid((7, -899 - 60, -899 + 60), (7, 905 - 60, 905 + 60))
    return search(images, grid, level=8.0, min_obs=6, top=1, x_range=(80, 300), y_range=(20, 200))


def test_hot_pixels_move_against_the_drift_unless_masters_take_them_away():
    planes, mjd, dx, dy = lights()
    assert len(anti_drift(planes, median_dark(), mjd, dx, dy)) <= 2
    without = anti_drift(planes, 150.5, mjd, dx, dy)
    assert len(without) >= 100
    assert (len(without), without.likelihood[0]) == (pytest.approx(206, abs=15), pytest.approx(13.3, abs=0.3))


def test_forty_movers_injected_in_real_frames_are_found_once_each():
    analysis = MovingObjects(
        stack={"rate": [9.0, 61.0], "drift": 3.0, "min_epochs": 8, "threads": 2},
        simulate={"likelihood": [6.0, 20.0], "rate": [10.0, 60.0]},
    )
    aux, products = Aux(Target("field", kind="field")), calibrated()
    rng = np.random.default_rng(11)
    assert analysis.together(products, analysis.settings) >= 40
    movers = analysis.draw_many(rng.spawn(40), products, analysis.settings)
    result = analysis.find(analysis.inject(products, movers, rng), aux, analysis.settings)
    rows = {event.source: event for event in result.detections}
    found = [[one for one in movers if analysis.recovered(one, row)] for row in rows.values()]
    assert [len(of) for of in found] == [1] * len(rows)  # no row is false, none stands for two
    names = [mover["noise_seed"] for (mover,) in found]
    assert len(set(names)) == len(names)  # nor do two stand for one
    strong = [one["noise_seed"] for one in movers if one["likelihood"] >= 10]
    assert len(strong) >= 20
    assert np.mean([seed in names for seed in strong]) >= 0.9
    assert result.properties["n_false_inverted"] <= 2
