"""Overscan, masters, masks and the variance of a calibrated frame."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import median_filter
from support.ccd import BIAS, GAIN, READ_NOISE, expose, stars_image, tres1

from virtualobserver.conventions import (
    MASK_BAD,
    MASK_HOT,
    MASK_LOW_FLAT,
    MASK_NO_DATA,
    MASK_NONLINEAR,
    MASK_SATURATED,
    MASK_UNSTABLE,
)
from virtualobserver.errors import BadKeyword, DataError, NotEnoughData
from virtualobserver.maths.ccd.combine import ArraySections, Clipping, NoiseModel, combine
from virtualobserver.maths.ccd.masks import (
    count_bits,
    flat_mask,
    halo_mask,
    hot_pixels,
    lasting_pixels,
    ratio_flat,
    unstable_pixels,
)
from virtualobserver.maths.ccd.masters import (
    FlatLevel,
    compare_masters,
    flat_level,
    master_bias,
    master_dark,
    master_flat,
    scale_dark,
    select_flats,
)
from virtualobserver.maths.ccd.match import FrameKey, choose_dark, choose_flat, nearest_in_time
from virtualobserver.maths.ccd.overscan import (
    Layout,
    Section,
    apply_overscan,
    parse_section,
    read_layout,
)
from virtualobserver.maths.ccd.science import Detector, calibrate_frame, linearize
from virtualobserver.maths.ccd.windows import grid_scatter, window_median, window_scatter

MODEL = NoiseModel(READ_NOISE, GAIN, BIAS)
DETECTOR = Detector(GAIN, READ_NOISE)


def sections(frames):
    return [ArraySections(frame) for frame in frames]


# --- overscan


def test_sections_are_read_from_1_with_ends_included():
    section = parse_section(" [1:2048, 3:1024]", (1024, 2098))
    assert section == Section(2, 1024, 0, 2048)
    assert section.shape == (1022, 2048)
    assert parse_section("[*,5:6]", (10, 20)) == Section(4, 6, 0, 20)


@pytest.mark.parametrize("text", ["", "1:2,3:4", "[0:5,1:5]", "[5:1,1:5]", "[1:21,1:5]", "[a:b,1:2]"])
def test_impossible_sections_are_refused(text):
    with pytest.raises(BadKeyword, match="section"):
        parse_section(text, (10, 20))


def overscanned():
    rng = np.random.default_rng(3)
    frame = rng.normal(500, 3, (64, 80)) + 10 * np.sin(np.arange(64) / 10)[:, None]
    frame[:, :70] += 200
    return frame.round().astype(np.uint16), {"TRIMSEC": "[1:70,1:64]", "BIASSEC": "[71:80,1:64]"}


@pytest.mark.parametrize("turned", [False, True])
def test_overscan_is_subtracted_line_by_line_along_its_axis(turned):
    frame, header = overscanned()
    if turned:
        frame, header = frame.T, {"TRIMSEC": "[1:64,1:70]", "BIASSEC": "[1:64,71:80]"}
    found = apply_overscan(frame, read_layout(header, frame.shape))
    assert found.data.shape == ((70, 64) if turned else (64, 70))
    assert np.mean(found.data) == pytest.approx(200, abs=0.5)
    lines = found.data.mean(axis=0 if turned else 1)
    assert np.std(lines) < 2  # the wave of 10 ADU is gone
    assert found.noise == pytest.approx(3, rel=0.1)
    assert found.level == pytest.approx(500, abs=5)


def test_overscan_ignored_or_none_leaves_the_values():
    frame, header = overscanned()
    layout = read_layout(header, frame.shape)
    assert_array_equal(apply_overscan(frame, layout, overscan="ignore").data, frame[:, :70])
    assert apply_overscan(frame, layout, overscan="none").data is frame
    with pytest.raises(DataError, match="BIASSEC"):
        apply_overscan(frame, Layout())


def test_set_sections_win_over_the_header_and_may_not_overlap():
    frame, header = overscanned()
    layout = read_layout(header, frame.shape, trimsec="[1:60,1:64]")
    assert layout.image == Section(0, 64, 0, 60)
    with pytest.raises(BadKeyword, match="overlaps"):
        read_layout(header, frame.shape, trimsec="[1:75,1:64]")


# --- which master for which frame


def dark_key(exptime, temperature=-10.0, **other):
    return FrameKey("dark", exptime=exptime, temperature=temperature, **other)


def test_a_dark_of_another_exposure_time_is_never_subtracted_as_it_is():
    frame = FrameKey("science", exptime=90.0, temperature=-10.0)
    exact = choose_dark(frame, [dark_key(10.0), dark_key(90.0)], have_bias=False)
    assert (exact.how, exact.dark, exact.factor, exact.flagged) == ("dark", 1, 1.0, False)
    scaled = choose_dark(frame, [dark_key(10.0), dark_key(60.0)], have_bias=True)
    assert (scaled.how, scaled.dark, scaled.factor) == ("scaled", 1, 1.5)
    refused = choose_dark(frame, [dark_key(10.0)], have_bias=False)
    assert (refused.how, refused.dark, refused.flagged) == ("none", None, True)
    assert "90 s" in refused.reason
    assert "10 s" in refused.reason


def test_without_a_suitable_dark_the_bias_alone_is_used_and_the_frame_flagged():
    frame = FrameKey("flat", exptime=10.0, temperature=-10.0)
    for darks in ([], [dark_key(10.0, -30.0)], [dark_key(10.0, shape=(5, 5))]):
        choice = choose_dark(frame, darks, have_bias=True)
        assert (choice.how, choice.flagged) == ("bias", True)


def test_temperature_scales_the_dark_where_the_camera_is_known():
    frame = FrameKey("science", exptime=90.0, temperature=-5.0)
    choice = choose_dark(frame, [dark_key(90.0)], have_bias=True, temperature_factor=0.1)
    assert choice.how == "scaled"
    assert choice.factor == pytest.approx(np.exp(0.5))


def test_flat_and_master_nearest_in_time():
    flats = [
        FrameKey("flat", band="R", mjd=1.0),
        FrameKey("flat", band="R", mjd=9.0),
        FrameKey("flat", band="V"),
    ]
    assert choose_flat(FrameKey("science", band="R", mjd=8.0), flats) == 1
    assert choose_flat(FrameKey("science", band="B", mjd=8.0), flats) is None
    assert nearest_in_time(FrameKey("science", mjd=60.0), flats[:2]) is None
    assert nearest_in_time(FrameKey("science", mjd=31.0), flats[:2]) == 1


# --- masters


def test_a_scaled_dark_has_the_dark_current_of_the_other_exposure():
    rng = np.random.default_rng(4)
    current = rng.exponential(2.0, (50, 50))  # e-/s
    bias = master_bias(sections([expose(np.zeros((50, 50)), rng) for _ in range(30)]), noise=MODEL)
    dark = master_dark(sections([expose(60 * current, rng) for _ in range(30)]), exptime=60.0, noise=MODEL)
    scaled = scale_dark(dark, bias, factor=1.5, exptime=90.0)
    truth = BIAS + 90 * current / GAIN
    pull = (scaled.data - truth) / np.sqrt(scaled.variance)
    assert scaled.exptime == 90.0
    assert np.mean(pull) == pytest.approx(0, abs=0.08)
    assert np.std(pull) == pytest.approx(1, abs=0.1)
    with pytest.raises(DataError, match="scaled by"):
        scale_dark(dark, bias, factor=0, exptime=0)


def flats(rng, levels, shape=(120, 120)):
    rows, cols = np.mgrid[: shape[0], : shape[1]] / shape[0] - 0.5
    truth = 1 - 0.5 * (rows**2 + cols**2) + rng.normal(0, 0.01, shape)
    truth /= np.median(truth)
    frames = []
    for number, level in enumerate(levels):
        sky = truth * level * GAIN
        sky = sky + stars_image(shape, [20 + 9 * number], [30 + 7 * number], [level * GAIN * 30])
        frames.append(expose(sky, rng))
    return truth, frames


def test_master_flat_has_no_stars_and_a_median_of_one():
    rng = np.random.default_rng(5)
    truth, frames = flats(rng, np.linspace(1000, 4000, 9) * 5)
    bias = master_bias(sections([expose(np.zeros((120, 120)), rng) for _ in range(20)]), noise=MODEL)
    levels = [flat_level(f, dark=ArraySections(bias.data), gain=GAIN) for f in sections(frames)]
    found = master_flat(sections(frames), levels, band="R", dark=bias, noise=NoiseModel(READ_NOISE, GAIN))
    assert np.median(found.data) == pytest.approx(1, abs=1e-6)
    assert np.abs(found.data / truth - 1).max() < 0.025  # stars are 3 times the sky
    pull = (found.data - truth) / np.sqrt(found.variance)
    assert np.std(pull) == pytest.approx(1, abs=0.15)
    assert (found.band, found.unit, found.n_combine) == ("R", "", 9)


def test_flats_that_are_faint_saturated_or_sloped_are_left_out_with_a_reason():
    levels = [FlatLevel(20000, 140, 0.05), FlatLevel(30, 6, 0.05), FlatLevel(60000, 240, 0.05)]
    levels += [FlatLevel(20000, 140, 0.9)]
    good, refused = select_flats(levels, highest=50000)
    assert good == [0]
    assert "S/N" in refused[1]
    assert "60000" in refused[2]
    assert "90 %" in refused[3]


def test_flat_level_sees_s_n_and_slope():
    frame = np.tile(np.linspace(1000, 3000, 200), (100, 1))
    found = flat_level(ArraySections(frame), gain=2.0)
    assert found.level == pytest.approx(2000, rel=0.01)
    assert found.snr == pytest.approx(np.sqrt(4000), rel=0.01)
    assert found.slope == pytest.approx(2 / 3, rel=0.05)
    assert flat_level(ArraySections(np.zeros((10, 10)))).snr == 0
    with pytest.raises(NotEnoughData, match="'V'"):
        master_flat([], [], band="V")


def test_vignetted_corners_are_masked_and_do_not_explode():
    frames = [np.full((40, 40), 10000.0) for _ in range(5)]
    for frame in frames:
        frame[:5, :5] = 100
    levels = [flat_level(f) for f in sections(frames)]
    found = master_flat(sections(frames), levels, band="", noise=NoiseModel(gain=1.0))
    assert (found.mask[:5, :5] == MASK_LOW_FLAT).all()
    assert found.data.min() == pytest.approx(0.2)


def test_a_master_unlike_the_previous_one_is_seen():
    rng = np.random.default_rng(6)
    make = lambda level: master_bias(  # noqa: E731
        sections([expose(level, rng) for _ in range(9)]), noise=MODEL
    )
    level = np.zeros((60, 60))
    one, same = make(level), make(level)
    level[:, :20] = 400
    assert compare_masters(one, same) < 0.001
    assert compare_masters(one, make(level)) > 0.05


# --- masks


@pytest.mark.real
def test_hot_pixels_of_the_real_darks():
    frames = sections(tres1("darks").values())
    plain = combine(frames, method="median", clip=Clipping("none"))
    found = hot_pixels(plain.data)
    assert (found.median, found.sigma) == pytest.approx((150.5, 5.93), abs=0.01)
    assert np.count_nonzero(found.mask & MASK_HOT) == 5701
    assert np.count_nonzero(plain.data > 1000) == 105
    assert (found.mask[plain.data > 1000] & MASK_HOT).all()
    master = master_dark(frames, exptime=60.0)
    hot = hot_pixels(master.data).mask & MASK_HOT
    assert np.count_nonzero(hot) == pytest.approx(5701, rel=0.05)
    assert hot[plain.data > 1000].all()


@pytest.mark.real
def test_the_clipped_master_of_the_real_darks_is_free_of_hits_a_mean_keeps():
    frames = tres1("darks")
    master = master_dark(sections(frames.values()), exptime=60.0)
    excess = np.mean(list(frames.values()), axis=0) - master.data
    assert 500 < np.count_nonzero(excess > 10) < 800
    assert excess.max() == pytest.approx(583, abs=3)


def test_a_pixel_that_flickers_is_unstable_and_one_cosmic_ray_is_not():
    rng = np.random.default_rng(7)
    frames = rng.normal(100, 5, (8, 50, 50)) + np.arange(8)[:, None, None]
    frames[::2, 10, 10] += 300
    frames[3, 20, 20] += 3000
    mask = unstable_pixels(sections(frames))
    assert mask[10, 10] == MASK_UNSTABLE
    assert np.count_nonzero(mask) == 1
    assert not unstable_pixels(sections(frames[:3])).any()


def test_dead_and_vignetted_pixels_of_a_flat():
    rng = np.random.default_rng(8)
    flat = rng.normal(1, 0.004, (300, 310)) * (1 + 0.2 * np.sin(np.arange(310) / 200))
    flat[50, 60], flat[0, 0], flat[299, 309], flat[70, 71] = 0.5, 0.8, 1.5, np.nan
    flat[200:203, 100:103] = 0.1
    mask = flat_mask(flat)
    assert mask[50, 60] == mask[0, 0] == mask[299, 309] == mask[70, 71] == MASK_BAD
    assert (mask[200:203, 100:103] & MASK_LOW_FLAT).all()
    assert 13 <= np.count_nonzero(mask) < 35  # the limit is 4.5 standard deviations of a normal distribution


@pytest.mark.parametrize("size", [3, 7, 17])
def test_windows_of_an_image_are_those_of_scipy_and_numpy(size):
    image = np.random.default_rng(5).normal(0, 1, (70, 301)).astype(np.float32)
    assert_array_equal(window_median(image, size), median_filter(image, size, mode="reflect"))
    if size <= 15:
        grid = grid_scatter(image, size, 8)
        rows, cols = (axis.ravel() for axis in np.mgrid[0:70:8, 0:301:8])
        assert_allclose(grid.ravel(), window_scatter(image, rows, cols, size), rtol=1e-12)


def test_the_mask_of_a_flat_is_that_of_ccdmask():
    ccdproc = pytest.importorskip("ccdproc")
    rng = np.random.default_rng(9)
    flat = rng.normal(1, 0.005, (130, 120)).astype(np.float32)
    where = rng.integers(0, 120, (60, 2))
    flat[where[:, 0], where[:, 1]] *= rng.uniform(0.9, 1.1, 60)
    theirs = ccdproc.ccdmask(flat, findbadcolumns=False)
    inner = slice(16, -16), slice(16, -16)  # they treat borders otherwise
    assert_array_equal((flat_mask(flat) != 0)[inner], theirs[inner])


def test_a_ratio_of_flats_shows_a_pixel_that_does_not_respond_linearly():
    rng = np.random.default_rng(10)
    pattern = rng.normal(1, 0.05, (60, 60))
    made = []
    for level, response in ((20000, 0.9), (5000, 1.0)):
        frames = [rng.poisson(pattern * level).astype(float) for _ in range(9)]
        for frame in frames:
            frame[30, 30] *= response
        levels = [flat_level(f) for f in sections(frames)]
        made.append(master_flat(sections(frames), levels, band="R", noise=NoiseModel(gain=1.0)))
    mask = flat_mask(ratio_flat(*made), lowest=0)
    assert mask[30, 30] == MASK_BAD
    assert np.count_nonzero(mask) <= 3  # the limit is 4.5 standard deviations of a normal distribution


@pytest.mark.real
def test_hot_pixels_are_found_from_drifting_real_frames_alone():
    lights = list(tres1("lights").values())[::2]
    found = lasting_pixels(lights) == MASK_HOT
    dark = np.median(list(tres1("darks").values()), axis=0)
    assert found[dark > 1000].mean() > 0.95
    assert (dark[found] > 150.5 + 5 * 5.93).mean() > 0.9


def test_pixels_that_last_are_found_frame_by_frame():
    rng = np.random.default_rng(14)

    def frames():
        for number in range(8):
            image = expose(200 + stars_image((80, 90), [20 + 5 * number], [40], [50000]), rng)
            image[10, 10] += 200
            yield image

    found = lasting_pixels(frames())
    assert np.argwhere(found).tolist() == [[10, 10]]
    with pytest.raises(DataError, match="no frames"):
        lasting_pixels([])
    with pytest.raises(DataError, match="shape"):
        lasting_pixels([np.zeros((4, 4)), np.zeros((5, 5))])


def test_bits_are_counted_and_halos_are_discs():
    mask = halo_mask((50, 60), np.array([10.0, 100.0]), np.array([20.0, 20.0]), np.array([5.0, 3.0]))
    assert np.count_nonzero(mask) == pytest.approx(np.pi * 25, rel=0.05)
    assert count_bits(mask)["halo of a bright star"] == np.count_nonzero(mask)


# --- science


def test_the_variance_plane_is_the_variance_over_200_frames():
    rng = np.random.default_rng(11)
    shape = (90, 90)
    x, y = rng.uniform(10, 80, (2, 15))
    pattern = 1 + 0.1 * np.cos(np.arange(90) / 15)[:, None] * np.ones(shape)
    light = pattern * (150 + stars_image(shape, x, y, 10 ** rng.uniform(3, 5, 15)))
    current = np.where(rng.random(shape) < 0.01, 600.0, 10.0)
    bias_truth = BIAS + rng.normal(0, 3, shape)
    data, variance = [], []
    for number in range(200):
        if number % 20 == 0:  # masters are data too
            biases = [expose(np.zeros(shape), rng, bias=bias_truth) for _ in range(10)]
            darks = [expose(current, rng, bias=bias_truth) for _ in range(10)]
            skies = [expose(pattern * 20000 + current, rng, bias=bias_truth) for _ in range(10)]
            bias = master_bias(sections(biases), noise=MODEL)
            dark = master_dark(sections(darks), exptime=90.0, noise=MODEL)
            levels = [flat_level(f, dark=ArraySections(dark.data), gain=GAIN) for f in sections(skies)]
            flat = master_flat(
                sections(skies), levels, band="R", dark=dark, noise=NoiseModel(READ_NOISE, GAIN)
            )
        raw = expose(light + current, rng, bias=bias_truth)
        found = calibrate_frame(raw, DETECTOR, bias=bias, dark=dark, flat=flat)
        data.append(found.data)
        variance.append(found.variance)
    level = pattern / np.median(pattern)
    # the frames of one set share their masters, so the scatter is taken about the truth
    misfit = np.mean((np.array(data) - light / level) ** 2, axis=0)
    assert misfit.mean() / np.mean(variance) == pytest.approx(1, abs=0.02)
    assert np.median(misfit / np.mean(variance, axis=0)) == pytest.approx(1, abs=0.03)


def test_calibration_returns_the_light_in_electrons_and_says_what_it_did():
    rng = np.random.default_rng(12)
    light = np.full((40, 40), 3000.0)
    dark = master_dark(
        sections([expose(np.full((40, 40), 50.0), rng) for _ in range(9)]), exptime=90, noise=MODEL
    )
    found = calibrate_frame(expose(light + 50, rng), DETECTOR, dark=dark)
    assert found.data.mean() == pytest.approx(3000, rel=0.005)
    assert np.var(found.data) == pytest.approx(found.variance.mean(), rel=0.12)
    assert found.history[0] == "subtracted master dark"
    plain = calibrate_frame(expose(light, rng), Detector(GAIN, READ_NOISE, bias_level=BIAS))
    assert plain.data.mean() == pytest.approx(3000, rel=0.005)
    assert plain.history[0] == "no dark or bias subtracted"


def test_saturated_nonlinear_missing_and_inherited_bits():
    raw = np.full((20, 20), 1500.0, np.float32)
    raw[5, 5], raw[12, 12], raw[15, 3] = 65535, 50000, np.nan
    inherited = np.zeros((20, 20), np.uint16)
    inherited[0, 0] = MASK_HOT
    detector = Detector(GAIN, READ_NOISE, nonlinear=45000, bias_level=BIAS)
    found = calibrate_frame(raw, detector, mask=inherited)
    assert found.mask[5, 5] == MASK_SATURATED | MASK_NONLINEAR
    assert found.mask[4, 6] == MASK_SATURATED  # charge spills over
    assert found.mask[12, 12] == MASK_NONLINEAR
    assert found.mask[15, 3] == MASK_NO_DATA
    assert found.mask[0, 0] == MASK_HOT
    assert np.isfinite(found.data).all()
    assert np.count_nonzero(found.mask) == 9 + 3


def test_linearity_is_corrected_above_the_bias():
    counts = np.array([[0.0, 10000.0, 40000.0]], np.float32) + 1000
    found = linearize(counts, 1000.0, (0.05, 0.01))
    x = np.array([0.0, 10000, 40000]) / 65536
    np.testing.assert_allclose(found[0] - 1000, (counts[0] - 1000) * (1 + 0.05 * x + 0.01 * x**2), rtol=1e-5)


def test_masters_of_another_shape_and_impossible_detectors_are_refused():
    dark = master_dark(sections(np.zeros((3, 4, 4))), exptime=1)
    with pytest.raises(DataError, match=r"master dark has shape \(4, 4\)"):
        calibrate_frame(np.zeros((5, 5)), DETECTOR, dark=dark)
    with pytest.raises(DataError, match="gain of 0"):
        Detector(0, 5)
