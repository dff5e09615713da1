"""How deep sources are found, and that noise is none: even, uneven, beside masks and at the edge."""

import numpy as np
import pytest
from scipy.ndimage import correlate1d
from support.ccd import stars_image

from virtualobserver.conventions import MASK_HOT, MASK_SATURATED
from virtualobserver.errors import DataError
from virtualobserver.maths.images import sources as module
from virtualobserver.maths.images.background import Background, background
from virtualobserver.maths.images.filter_kernel import NEVER, down_columns, filtered_noise
from virtualobserver.maths.images.sources import find_sources

SHAPE = (512, 600)


def no_sky(shape=SHAPE):
    plane = np.zeros(shape, np.float32)
    return Background(plane, np.ones(shape, np.float32), 0.0, 1.0)


def noises():
    """Yield standard deviations of pixels, and which of them are masked."""
    rng = np.random.default_rng(5)
    rows, cols = np.indices(SHAPE)
    even, nothing = np.full(SHAPE, 10.0), np.zeros(SHAPE, bool)
    masked = (rng.random(SHAPE) < 0.03) | (rows < 20) | (cols % 40 == 0)
    masked |= np.hypot(rows - 250, cols - 300) < 60
    yield "even", even, nothing
    yield "ten times more in one half", np.where(cols > 300, 100.0, 10.0), nothing
    yield "single noisy pixels", np.where(rng.random(SHAPE) < 0.01, 200.0, 10.0), nothing
    yield "noisy columns", np.where(cols % 50 == 0, 300.0, 10.0), nothing
    yield "a noisy disc", np.where(np.hypot(rows - 250, cols - 300) < 100, 150.0, 10.0), nothing
    yield "masked pixels, columns, rows at the edge and a disc", even, masked
    yield "masked pixels that are wild", np.where(masked, 1e4, 10.0), masked
    yield "half of all pixels masked", even, rng.random(SHAPE) < 0.5


NOISES = {name: (noise, masked) for name, noise, masked in noises()}


@pytest.mark.parametrize("name", NOISES)
def test_noise_has_no_sources_however_uneven_it_is(name):
    noise, masked = NOISES[name]
    for seed in range(2):
        image = np.random.default_rng(seed).normal(0, 1, SHAPE) * noise
        mask = np.where(masked, MASK_HOT, 0).astype(np.uint16)
        for fwhm in (2.5, 4.0):
            assert not len(find_sources(image, noise**2, mask=mask, threshold=5, fwhm=fwhm, sky=no_sky()))


def test_the_threshold_means_the_same_wherever_the_noise_changes():
    number = {}
    for name, (noise, masked) in NOISES.items():
        if not masked.any():
            image = np.random.default_rng(9).normal(0, 1, SHAPE) * noise
            number[name] = len(find_sources(image, noise**2, threshold=2.5, min_area=3, sky=no_sky()))
    least, most = min(number.values()), max(number.values())
    assert 100 < least <= most < 1.6 * least, number


def test_a_star_is_found_at_the_threshold_of_the_filtered_frame():
    sigma, shape = 2.5 / 2.3548, (900, 900)
    y, x = (16.5 + 30 * plane.ravel() for plane in np.indices((29, 29)))
    single = 10 * np.sqrt(4 * np.pi) * sigma  # light of signal-to-noise ratio 1 under the filter
    share = {}
    for snr in (3.0, 7.0, 10.0):
        image = stars_image(shape, x, y, np.full(x.shape, snr * single), 2.5)
        image += np.random.default_rng(2).normal(0, 10, shape)
        found = find_sources(image, np.full(shape, 100.0), threshold=5, min_area=1, sky=no_sky(shape))
        away = np.hypot(found.x[:, None] - x, found.y[:, None] - y).min(axis=0)
        share[snr] = (away < 2).mean()
    assert share[3.0] < 0.1
    assert share[7.0] > 0.9
    assert share[10.0] > 0.99


@pytest.mark.parametrize("fwhm", [3.0, 4.0])
def test_centres_of_faint_stars_are_as_good_as_their_errors_say_and_as_noise_allows(fwhm):
    sigma, shape, rng = fwhm / 2.3548, (600, 600), np.random.default_rng(1)
    x, y = (16.0 + 25 * plane.ravel() + rng.uniform(0, 1, 24 * 24) for plane in np.indices((24, 24))[::-1])
    for snr in (8.0, 12.0, 40.0):
        image = stars_image(shape, x, y, np.full(x.shape, snr * 10 * np.sqrt(4 * np.pi) * sigma), fwhm)
        image += rng.normal(0, 10, shape)
        found = find_sources(image, np.full(shape, 100.0), fwhm=fwhm, sky=no_sky(shape))
        away = np.hypot(found.x[:, None] - x, found.y[:, None] - y)
        star = away.argmin(axis=1)
        off = np.stack([found.x - x[star], found.y - y[star]], axis=1)[away.min(axis=1) < 4]
        errors = np.stack([found.x_error, found.y_error], axis=1)[away.min(axis=1) < 4]
        assert len(off) > 0.8 * len(x)
        assert 0.85 < np.mean((off / errors) ** 2) < 1.25  # 1.1 near the threshold, where noise chooses
        # the best that can be known of a Gaussian's place (Lindegren 1978) is sqrt(2) sigma / snr
        assert np.sqrt(np.mean(off**2)) < 1.1 * np.sqrt(2) * sigma / snr


def test_a_star_beside_masked_pixels_is_found_and_saturated_ones_are_a_part_of_it():
    image = stars_image(SHAPE, [100, 200, 300], [100, 100, 100], [3000, 3000, 9e4], 3.0)
    image += np.random.default_rng(3).normal(0, 10, SHAPE)
    mask = np.zeros(SHAPE, np.uint16)
    mask[:, 102:110] = MASK_HOT
    mask[99:102, 299:302] = MASK_SATURATED
    image[:, 102:110] = 1e5
    found = find_sources(image, np.full(SHAPE, 100.0), mask=mask, fwhm=3.0, sky=no_sky())
    assert sorted(found.x.round()) == [99, 200, 300] or sorted(found.x.round()) == [100, 200, 300]
    assert found.flags.tolist() == [MASK_SATURATED, 0, 0]


def test_the_noise_of_the_filtered_frame_is_that_of_many_frames():
    rng = np.random.default_rng(4)
    noise = rng.uniform(1, 20, (24, 30))
    bad = rng.random(noise.shape) < 0.1
    line = np.array([0.3, 0.8, 1.0, 0.8, 0.3])
    weights = (line**2 / (line**2).sum()).astype(np.float32)
    made = filtered_noise((noise**2).astype(np.float32), bad, weights)
    good = np.where(bad, 0, noise)
    wide = np.pad(good**2, 2)
    want = sum(
        weights[i] * weights[j] * wide[i : i + 24, j : j + 30] for i in range(5) for j in range(5)
    )  # fmt: skip
    np.testing.assert_allclose(made[~bad], np.sqrt(want)[~bad], rtol=1e-5)
    assert (made[bad] == NEVER).all()


def test_more_bright_pixels_than_the_first_room_holds_are_found_in_a_larger_one(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_ROOM", 100)
    image = stars_image(SHAPE, [100, 200], [100, 150], [4e5, 4e5], 9.0)
    assert len(find_sources(image, np.full(SHAPE, 1.0), fwhm=4.0, sky=no_sky())) == 2
    wild = 1e3 * (np.indices((64, 64)).sum(axis=0) % 2)
    monkeypatch.setattr(module, "_rooms", lambda size: [10, 20])
    with pytest.raises(DataError, match="is the noise right"):
        find_sources(wild, np.ones((64, 64)), min_area=1, sky=no_sky((64, 64)))


@pytest.mark.parametrize(("fwhm", "widest"), [(2.5, 7.5), (12.0, 3 * 12.0 / 2.3548)])
def test_windows_of_centres_are_bounded_as_one_bleeding_column_would_take_most_of_the_time(
    monkeypatch, fwhm, widest
):
    """And a star out of focus keeps a window of its own width: its centre is as good as that of a sharp one."""
    import sep

    rng, image = np.random.default_rng(3), np.zeros((400, 400))
    rows, cols = np.indices(image.shape)
    sigma = fwhm / 2.3548
    for x, y in ((90.3, 95.6), (310.2, 300.8)):
        image += 4e5 / (2 * np.pi * sigma**2) * np.exp(-((cols - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    image[:, 200] += 5000  # which is found as one thing, 115 pixels wide
    asked = []
    winpos = sep.winpos

    def noted(data, x, y, window, mask=None):
        asked.append(np.array(window))
        return winpos(data, x, y, window, mask=mask)

    monkeypatch.setattr(sep, "winpos", noted)
    noise = rng.normal(0, 5, image.shape)
    found = find_sources(image + noise, np.full(image.shape, 25.0), fwhm=fwhm, sky=no_sky(image.shape))
    windows = np.concatenate(asked)
    assert np.max(found.a) > 100
    assert np.max(windows) == pytest.approx(widest, rel=1e-3)
    for x, y in ((90.3, 95.6), (310.2, 300.8)):
        nearest = np.argmin(np.hypot(found.x - x, found.y - y))
        assert np.hypot(found.x[nearest] - x, found.y[nearest] - y) < 0.05


def test_the_level_of_a_background_alone_is_enough_where_the_noise_is_known():
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:200, :240]
    image = rng.normal(100, 3, (200, 240)) + 400 * np.exp(-0.5 * ((x - 120.3) ** 2 + (y - 80.7) ** 2) / 4)
    variance, level = np.full(image.shape, 9.0, np.float32), background(image)
    whole = find_sources(image, variance, sky=level)
    alone = find_sources(image, variance, sky=level.level)
    assert len(whole) == 1
    assert (alone.x[0], alone.flux[0], alone.flux_error[0]) == (
        whole.x[0],
        whole.flux[0],
        whole.flux_error[0],
    )
    assert (variance == 9).all()
    with pytest.raises(DataError, match="give the variance"):
        find_sources(image, sky=level.level)


@pytest.mark.parametrize("taps", [1, 3, 11, 41])
def test_columns_are_filtered_as_scipy_does_it(taps):
    rng = np.random.default_rng(3)
    plane, line = rng.normal(size=(30, 17)).astype(np.float32), rng.uniform(size=taps).astype(np.float32)
    expected = correlate1d(plane.astype(float), line.astype(float), axis=0, mode="constant")
    assert down_columns(plane, line) == pytest.approx(expected, abs=2e-5)
