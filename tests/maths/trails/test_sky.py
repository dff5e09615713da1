"""The sky of a trail is that beside it, without its neighbours, its slope and the step between amplifiers known."""

import numpy as np
import pytest
from support.drift import TRACK, photons, truth

from virtualobserver.errors import DataError
from virtualobserver.maths.trails.sky import good_pixels, trail_sky
from virtualobserver.maths.trails.sky_kernel import _median, _median_anew
from virtualobserver.maths.trails.track import TrackModel


@pytest.mark.parametrize("angle", [0.14, 30.0, 90.0, -135.0])
def test_a_slope_is_found_beside_trails_of_any_angle(angle):
    track = TrackModel(0.5, 20.0, 0.2633, angle)
    vx, vy = track.vector
    x, y = 120.0 - 10 * vx, 110.0 - 10 * vy
    image, variance = photons(track, [(x, y)], [3e4])
    rows, cols = np.mgrid[:220, :260]
    image += 0.8 * (cols - 120) - 0.5 * (rows - 110)
    sky = trail_sky(image, variance, track, [x], [y], fwhm=4.0)
    assert sky.value[0] == pytest.approx(400, abs=4 * sky.error[0])
    assert (sky.gradient_x[0], sky.gradient_y[0]) == (
        pytest.approx(0.8, abs=0.2),
        pytest.approx(-0.5, abs=0.2),
    )
    assert sky.at(0, 130, 100) - sky.value[0] == pytest.approx(13.0, abs=3.5)
    assert sky.n_masked[0] == 0
    assert sky.n_used[0] == pytest.approx(np.pi * (18**2 - 10**2) + 2 * 37.98 * 8, rel=0.02)


def test_the_error_is_the_scatter():
    places = [(x, y) for x in (30.0, 100.0, 170.0) for y in (40.0, 100.0, 160.0)]
    pulls = []
    for seed in range(40):
        image, variance = photons(TRACK, places, [0] * 9, seed=seed)
        sky = trail_sky(image, variance, TRACK, *np.transpose(places), fwhm=4.0)
        pulls.extend((sky.value - 400) / sky.error)
        assert sky.variance == pytest.approx(436, rel=0.02)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.12)
    assert np.mean(pulls) == pytest.approx(-0.2, abs=0.2)  # photons are skew, their median is 0.15 low


def test_neighbours_cosmic_rays_and_masks_are_left_out():
    image, variance = photons(TRACK, [(100.0, 100.0), (95.0, 114.0)], [1e4, 5e4])
    alone, _ = photons(TRACK, [(100.0, 100.0)], [1e4])
    mask = np.zeros(image.shape, int)
    mask[80:86, 110:120] = 1
    image[80:86, 110:120] = 1e6
    image[116, 80] = alone[116, 80] = 5e4
    beside = trail_sky(image, variance, TRACK, [100.0, 95.0], [100.0, 114.0], fwhm=4.0, mask=mask)
    plain = trail_sky(alone, variance, TRACK, [100.0], [100.0], fwhm=4.0)
    assert beside.value[0] == pytest.approx(400, abs=4 * beside.error[0])
    assert beside.n_used[0] < 0.7 * plain.n_used[0]
    assert beside.n_used[0] + beside.n_masked[0] >= plain.n_used[0]
    assert plain.clipped[0] >= 1 / 1400
    # of a neighbour known to be faint nothing has to be left out
    faint = trail_sky(alone, variance, TRACK, [100.0, 95.0], [100.0, 114.0], fwhm=4.0, expected=[2e5, 1.0])
    assert faint.n_used[0] == pytest.approx(plain.n_used[0], abs=12)


def test_each_amplifier_has_its_level():
    image, variance = photons(TRACK, [(90.0, 100.0), (20.0, 100.0), (125.0, 40.0)], [1e4, 1e4, 1e4])
    image[:, 110:] += 60
    places = [90.0, 20.0, 125.0], [100.0, 100.0, 40.0]
    sky = trail_sky(image, variance, TRACK, *places, fwhm=4.0, split=110)
    assert sky.step[0] == pytest.approx(60, abs=8)
    assert sky.value[:2] == pytest.approx(400, abs=8)  # the middle of the first is left of the step
    assert sky.at(0, 115, 100) == pytest.approx(460, abs=8)
    assert sky.value[2] == pytest.approx(460, abs=8)
    assert sky.step[1] == 0


def test_pixels_are_kept_on_demand():
    image, variance = photons(TRACK, [(90.0, 100.0)], [1e4])
    sky = trail_sky(image, variance, TRACK, [90.0, np.nan], [100.0, 1.0], fwhm=4.0, keep_annulus=True)
    assert sky.annulus.shape == (sky.n_used.sum(), 4)
    trail, x, y, value = sky.annulus.T
    assert set(trail) == {0}
    assert np.array_equal(value, image[y.round().astype(int), x.round().astype(int)])
    assert np.isnan(sky.value[1])
    assert len(trail_sky(image, variance, TRACK, [], [], fwhm=4.0)) == 0


def test_what_is_no_measurement():
    image, variance = photons(TRACK, [], [])
    image[5, 5], image[6, 6], variance[7, 7] = 0.0, np.nan, 0.0
    mask = np.zeros(image.shape, np.int16)
    mask[8, 8] = 4
    good = good_pixels(image, variance, mask)
    assert [good[i, i] for i in range(4, 10)] == [True, False, False, False, False, True]
    image -= 400
    image[9, 9] = 0.0  # about 0 this is a value like any other
    assert good_pixels(image, variance)[9, 9]
    with pytest.raises(DataError, match="one shape"):
        good_pixels(image, variance[1:])
    with pytest.raises(DataError, match="FWHM above 0"):
        trail_sky(image, variance, TRACK, [1.0], [1.0], fwhm=0.0)


def _plainly(track, image, x, y, split):
    """Return the level of a ring at its middle, its scatter and pixels, as the docs say it, with NumPy."""
    (vx, vy), speed = track.vector, track.speed
    ux, uy = vx / speed, vy / speed
    row, col = np.mgrid[: image.shape[0], : image.shape[1]]
    s = np.clip((col - x) * ux + (row - y) * uy, 0, track.length)
    away = np.hypot(col - x - s * ux, row - y - s * uy)
    ring = (away > 10) & (away <= 18)
    col, row, value = col[ring], row[ring], image[ring].astype(float)
    right = col >= split
    if min(right.sum(), (~right).sum()) < 30:
        side = right == (2 * right.sum() > len(right))
        col, row, value, right = col[side], row[side], value[side], np.zeros(side.sum(), bool)
    px, py = col - x - ux * track.length / 2, row - y - uy * track.length / 2
    terms = [~right * 1.0, px, py] + ([right * 1.0] if right.any() else [])
    design, keep, slope = np.stack(terms, axis=1), np.ones(len(value), bool), np.zeros(2)
    for turn in range(20):
        rest, before = value - px * slope[0] - py * slope[1], keep.sum()
        levels = np.array([np.median(rest[keep & (right == one)]) for one in {False, bool(right.any())}])
        off = np.abs(rest - levels[right * 1])
        sigma = 1.4826022 * np.median(off[keep])
        keep = off <= 3 * sigma
        if turn and abs(keep.sum() - before) <= 0.002 * keep.sum():
            break
        slope = np.linalg.lstsq(design[keep], value[keep], rcond=None)[0][1:3]
    return levels[int(right.any() and x + ux * track.length / 2 >= split)], sigma, keep.sum()


@pytest.mark.parametrize("split", [None, 128])
@pytest.mark.parametrize("angle", [0.14, 50.0])
def test_the_level_is_that_of_a_clip_written_down_plainly(angle, split):
    track, rng = TrackModel(0.5, 20.0, 0.2633, angle), np.random.default_rng(8)
    places = rng.uniform(25, 180, (40, 2))
    image, variance = photons(track, places, rng.uniform(0, 3e4, 40))
    image[rng.integers(0, 220, 900), rng.integers(0, 260, 900)] += 3e3
    image[:, 128:] += 40.0 * (split is not None)
    for x, y in places:  # the others are in its ring, so that much is clipped
        sky = trail_sky(image, variance, track, [x], [y], fwhm=4.0, split=split)
        level, sigma, used = _plainly(track, image, x, y, np.inf if split is None else split)
        assert (sky.n_used[0], sky.value[0]) == (used, pytest.approx(level, abs=1e-6))
        assert sky.error[0] == pytest.approx(1.2533 * sigma / np.sqrt(used), rel=1e-6)


@pytest.mark.parametrize("near", [0.0, 0.3, -0.3, 40.0])
@pytest.mark.parametrize("n", [1, 2, 31, 500, 501])
def test_a_median_is_exact_wherever_it_is_looked_for(n, near):
    rng = np.random.default_rng(n)
    spare = np.empty(2 * n + 70)
    for values in (rng.normal(size=n), rng.integers(0, 3, n).astype(float), np.zeros(n)):
        values[rng.random(n) < 0.3] = np.inf
        some = values[np.isfinite(values)]
        expected = np.median(some) if len(some) else np.nan
        found = (
            _median(values, n, len(some), near, 0.4, spare),
            _median_anew(values, n, len(some), spare),
        )
        np.testing.assert_array_equal(found, expected)


@pytest.mark.real
def test_the_sky_of_the_simulated_exposure():
    sim = truth()
    light = sim.flux * 20
    sky = trail_sky(
        sim.image, sim.variance, TRACK, sim.x, sim.y, fwhm=sim.fwhm, mask=sim.mask, expected=light
    )
    known = np.isfinite(sky.value)
    assert known.sum() >= 300
    assert np.median(sky.value[known]) / 4 == pytest.approx(97.2, abs=0.3)
    whole = known & (sky.n_used > 150)
    assert np.mean(np.abs(sky.value[whole] / 4 - 97.2) < 1.5) > 0.97
