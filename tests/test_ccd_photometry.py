"""Background, sources, PSF, alignment, difference and ensemble light curves."""

from functools import cache

import numpy as np
import pytest
from support_ccd import stars_image, tres1
from support_real import real_data

from virtualobserver.conventions import MASK_COSMIC_RAY, MASK_HALO, MASK_NO_DATA, MASK_SATURATED
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.alignment import align_series, correlate_frames, match_stars, resample, shift_image
from virtualobserver.maths.background import background
from virtualobserver.maths.ccd_combine import ArraySections
from virtualobserver.maths.ccd_masks import hot_pixels
from virtualobserver.maths.ccd_masters import master_dark
from virtualobserver.maths.ccd_science import Detector, calibrate_frame
from virtualobserver.maths.difference import (
    frame_quality,
    select_frames,
    star_mask,
    subtract_template,
    temporal_template,
)
from virtualobserver.maths.ensemble import correct_ensemble, detrend_positions, magnitudes
from virtualobserver.maths.psf import Psf, gaussian_kernel, measure_psf
from virtualobserver.maths.sources import aperture_photometry, find_sources

SHAPE = (256, 300)


def field(seed=1, fwhm=3.0, stars=60, sky=500.0):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(20, 280, stars), rng.uniform(20, 236, stars)
    flux = 10 ** rng.uniform(3.5, 5, stars)
    light = sky + stars_image(SHAPE, x, y, flux, fwhm)
    return rng.poisson(light).astype(np.float32), x, y, flux


def test_background_follows_a_gradient_under_stars():
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    truth = 500 + 0.3 * rows - 0.2 * cols
    image, *_ = field(sky=0)
    rng = np.random.default_rng(2)
    found = background(image + truth + rng.normal(0, 10, SHAPE), box=32)
    assert np.abs(found.level - truth)[32:-32, 32:-32].max() < 6
    assert found.median_scatter == pytest.approx(10.5, rel=0.2)  # the slope of a box is in it


def test_background_passes_over_masked_boxes_and_refuses_an_empty_frame():
    image = np.random.default_rng(3).normal(100, 5, (128, 128))
    mask = np.zeros(image.shape, np.uint16)
    mask[:64, :64] = MASK_NO_DATA
    image[:64, :64] = 1e6
    found = background(image, mask=mask, box=32)
    assert np.abs(found.level - 100).max() < 3
    with pytest.raises(DataError, match="no good pixel"):
        background(image, mask=np.ones(image.shape))


def test_sources_are_found_where_they_are_with_their_flux():
    image, x, y, flux = field()
    found = find_sources(image, np.maximum(image, 1), fwhm=3.0)
    distance = np.hypot(found.x[:, None] - x, found.y[:, None] - y)
    assert (distance.min(axis=0) < 0.5).mean() > 0.9
    assert (distance.min(axis=1) < 2).all()
    assert (np.diff(found.flux) <= 0).all()
    best = distance.argmin(axis=1)
    lonely = ~found.blended & (distance.min(axis=1) < 0.3)
    sums = aperture_photometry(image, image, found.x[lonely], found.y[lonely], radius=6, annulus=(10, 16))
    ratio = sums.flux / flux[best[lonely]]
    assert np.median(ratio) == pytest.approx(1, abs=0.01)
    pull = (sums.flux - flux[best[lonely]] * np.median(ratio)) / sums.flux_error
    assert 0.6 < 1.4826 * np.median(np.abs(pull)) < 1.5
    assert sums.sky == pytest.approx(500, abs=8)


def test_bits_of_the_mask_reach_sources_and_apertures():
    image, *_ = field(stars=0)
    image += stars_image(SHAPE, [100, 200], [100, 100], [5e4, 5e4])
    mask = np.zeros(SHAPE, np.uint16)
    mask[100, 100], mask[103, 200] = MASK_SATURATED, MASK_COSMIC_RAY
    found = find_sources(image, image, mask=mask)
    assert len(found) == 2
    by_x = np.argsort(found.x)
    assert found.flags[by_x[0]] == MASK_SATURATED
    sums = aperture_photometry(image, image, [100, 200, 295, 999], [100, 100, 100, 0], radius=6, mask=mask)
    assert sums.flags.tolist()[:2] == [MASK_SATURATED, MASK_COSMIC_RAY]
    assert np.isnan(sums.flux[[2, 3]]).all()
    assert sums.flux[1] == pytest.approx(sums.flux[0], rel=0.02)  # the masked pixel is made up for


@pytest.mark.parametrize("fwhm", [2.2, 3.3, 5.0])
def test_the_psf_has_the_width_that_was_put_in(fwhm):
    image, *_ = field(fwhm=fwhm, stars=40)
    sources = find_sources(image, image, fwhm=fwhm)
    found = measure_psf(image, sources, sky=500)
    assert found.fwhm == pytest.approx(fwhm, rel=0.03)
    assert found.elongation < 1.1
    assert found.n >= 10
    assert gaussian_kernel(found.sigma).sum() == pytest.approx(1)
    with pytest.raises(NotEnoughData, match="3 are needed"):
        measure_psf(image, sources.take(slice(0, 1)))


# --- alignment


@pytest.mark.parametrize(
    ("angle", "scale", "reflected"), [(0, 1, False), (3, 1.02, False), (170, 0.95, False), (20, 1, True)]
)
def test_stars_are_matched_through_shift_turn_scale_and_reflection(angle, scale, reflected):
    rng = np.random.default_rng(4)
    stars = rng.uniform(0, 1000, (150, 2))
    turn = np.radians(angle)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if reflected:
        matrix = matrix @ np.diag([1, -1])
    moved = stars @ matrix.T + [140.6, -140.7] + rng.normal(0, 0.1, stars.shape)
    moved = np.delete(moved, rng.integers(0, 150, 40), axis=0)
    moved = np.concatenate([moved[:30], rng.uniform(0, 1000, (30, 2)), moved[30:]])
    found = match_stars(stars, moved, reflected=reflected)
    x, y = found(500, 500)
    truth = matrix @ [500, 500] + [140.6, -140.7]
    assert (x, y) == pytest.approx(tuple(truth), abs=0.1)
    assert found.scale == pytest.approx(scale, abs=1e-3)
    assert found.n > 80
    assert found.rms == pytest.approx(0.1, abs=0.03)


def test_stars_of_another_field_do_not_match():
    rng = np.random.default_rng(5)
    with pytest.raises(NotEnoughData, match="do not match"):
        match_stars(rng.uniform(0, 1000, (60, 2)), rng.uniform(0, 1000, (60, 2)))
    with pytest.raises(NotEnoughData, match="0 and 5 stars"):
        match_stars(np.zeros((0, 2)), rng.uniform(0, 9, (5, 2)))


def test_a_frame_out_of_reach_of_the_reference_is_matched_through_others():
    rng = np.random.default_rng(6)
    sky = rng.uniform(0, 3000, (900, 2))
    lists = []
    for number in range(7):
        seen = sky - [300.0 * number, 0]
        lists.append(seen[(seen[:, 0] > 0) & (seen[:, 0] < 1000)])
    lists[3] = rng.uniform(0, 1000, (200, 2))  # another field
    found = align_series(lists)
    assert found[3] is None
    assert found[6].offset == pytest.approx([-1800, 0], abs=1e-6)


@cache
def calibrated():
    darks = list(tres1("darks").values())
    dark = master_dark([ArraySections(frame) for frame in darks], exptime=60.0)
    bad = hot_pixels(dark.data).mask
    detector = Detector(0.78, 8.2, saturation=60000)
    frames = [calibrate_frame(raw, detector, dark=dark, mask=bad) for raw in tres1("lights").values()]
    stars = []
    for frame in frames:
        sources = find_sources(frame.data, mask=frame.mask)
        stars.append(sources.take((sources.fwhm > 1.5) & (sources.elongation < 2)))
    return frames, stars


@pytest.mark.real
def test_the_15_real_frames_are_aligned_without_a_wcs():
    _, stars = calibrated()
    lists = [np.stack([found.x, found.y], axis=1) for found in stars]
    summary = np.genfromtxt(
        real_data("ccd", "oscaar_tres1_20120616", "wcs", "summary.csv"),
        delimiter=",", names=True, dtype=None, encoding="ascii",
    )  # fmt: skip
    found = align_series(lists)
    x0, y0 = float(summary["tres1_x0"][0]), float(summary["tres1_y0"][0])
    for transform, row in zip(found, summary, strict=True):
        assert transform is not None
        x, y = transform(x0, y0)
        assert (x, y) == pytest.approx((row["tres1_x0"], row["tres1_y0"]), abs=0.35)
        assert transform.rms < 0.2
        assert transform.n > 200
    x, y = found[-1](x0, y0)
    assert (x - x0, y - y0) == pytest.approx((140.6, -140.7), abs=0.5)


@pytest.mark.real
def test_the_real_shift_is_found_by_correlation_too():
    frames, _ = calibrated()
    found = correlate_frames(frames[0].data, frames[-1].data, mask=frames[0].mask & 2, highest=200)
    assert (found.dx, found.dy) == pytest.approx((140.6, -140.7), abs=0.5)
    assert found.score > 20


def test_shifts_move_what_is_at_the_shifted_place_back():
    image = np.zeros((40, 50), np.float32)
    image[20, 30] = 1
    moved = shift_image(image, 5, -7)
    assert moved[27, 25] == 1
    assert np.isnan(moved[0, 0])
    assert np.nansum(moved) == 1
    half = shift_image(image, 5.5, -7.0)
    assert half[27, 24] == half[27, 25] == pytest.approx(0.5)
    rng = np.random.default_rng(7)
    stars = rng.uniform(0, 50, (30, 2))
    transform = match_stars(stars, stars + np.array([5, -7]), radius=1)
    np.testing.assert_allclose(
        resample(image, transform, (40, 50))[20:28, 20:30], moved[20:28, 20:30], atol=1e-6
    )
    with pytest.raises(DataError, match="cannot be correlated"):
        correlate_frames(image, image[1:])


# --- difference


def moving(frames=9):
    rng = np.random.default_rng(8)
    stars = stars_image((120, 130), [40, 90], [40, 80], [3e4, 5e4])
    made = []
    for number in range(frames):
        mover = stars_image((120, 130), [15 + 11 * number], [60], [1500])
        made.append(
            (rng.normal(0, 10, (120, 130)) + (0.7 + 0.05 * number) * stars + mover).astype(np.float32)
        )
    return made


def test_a_mover_is_left_in_the_difference_and_stars_are_not():
    frames = moving()
    template = temporal_template([ArraySections(frame) for frame in frames])
    variance = np.full(template.data.shape, 100, np.float32)
    stars = star_mask(template.data, variance, frames=len(frames), grow=1)
    assert stars[40, 40]
    assert stars[80, 90]
    assert stars.mean() < 0.05
    found = subtract_template(
        frames[0], variance, np.zeros((120, 130), np.uint16), template, stars=stars, member=True
    )
    assert found.scale == pytest.approx(0.7 / 0.9, abs=0.01)
    assert found.data[60, 15] > 80
    assert (found.mask[stars] & MASK_HALO).all()
    good = (found.mask == 0) & (np.abs(np.arange(130) - 15) > 8)
    pull = found.data[good] / np.sqrt(found.variance[good])
    assert np.std(pull) == pytest.approx(1, abs=0.05)
    assert np.abs(template.data[60, [15, 26, 37]]).max() < 15
    with pytest.raises(NotEnoughData, match="2 frames"):
        temporal_template([ArraySections(frame) for frame in frames[:2]])
    with pytest.raises(DataError, match="align them first"):
        subtract_template(frames[0][1:], variance, np.zeros((120, 130)), template)


def test_pixels_that_left_the_frame_are_no_data():
    frames = [shift_image(frame, number, 0) for number, frame in enumerate(moving())]
    template = temporal_template([ArraySections(frame) for frame in frames])
    found = subtract_template(
        frames[8], np.ones((120, 130), np.float32), np.zeros((120, 130), np.uint16), template
    )
    assert (found.mask[:, -8:] == MASK_NO_DATA).all()
    assert np.isnan(found.data[:, -8:]).all()
    assert np.isfinite(found.data[:, :-8]).all()


def test_frames_of_clouds_and_bad_seeing_are_refused_with_a_reason():
    psf = Psf(3.0, 0.1, 1.1, 30)
    frames = [frame_quality(psf, sky=1000, transparency=1, n_stars=300) for _ in range(9)]
    frames[1] = frame_quality(Psf(8.0, 1, 1.1, 9), sky=1000, transparency=1, n_stars=300)
    frames[2] = frame_quality(psf, sky=1000, transparency=0.2, n_stars=300)
    frames[3] = frame_quality(psf, sky=1000, transparency=1, n_stars=20)
    frames[4] = frame_quality(Psf(3.0, 0.1, 2.5, 30), sky=9000, transparency=1, n_stars=300)
    good, refused = select_frames(frames)
    assert good == [0, 5, 6, 7, 8]
    assert [refused[n].split()[0] for n in (1, 2, 3, 4)] == ["FWHM", "transparency", "20", "stars"]
    assert select_frames([]) == ([], {})


# --- ensemble


def test_the_ensemble_takes_out_clouds_and_keeps_a_transit():
    rng = np.random.default_rng(9)
    mean = 10 ** rng.uniform(4, 6, 40)
    clouds = np.clip(1 - 0.3 * rng.random(80).cumsum() / 40, 0.3, 1)
    clouds[50] = 0.1
    transit = np.ones(80)
    transit[30:60] = 0.98
    truth = mean[:, None] * clouds * np.where(np.arange(40)[:, None] == 3, transit, 1.0)
    truth[7] *= 1 + 0.2 * np.sin(np.arange(80) / 5)  # a variable that is not known to be one
    mean[3] = 1e6
    error = np.sqrt(truth + 1e4)
    flux = truth + rng.normal(0, error)
    flux[5, 10] = np.nan
    found = correct_ensemble(flux, error)
    star = found.flux[3] / np.median(found.flux[3, :30])
    assert star[30:60].mean() == pytest.approx(0.98, abs=0.002)
    assert found.clouded.tolist() == (clouds < 0.5 * np.median(clouds)).tolist()
    np.testing.assert_allclose(found.correction / found.correction[0], clouds / clouds[0], rtol=0.01)
    assert found.weights[7] < 0.2 * np.median(found.weights)
    assert found.weights.sum() == pytest.approx(1)
    calm = [n for n in range(40) if n not in (3, 7)]
    pull = found.flux[calm] / np.nanmedian(found.flux[calm], axis=1, keepdims=True) - 1
    pull *= np.nanmedian(found.flux[calm], axis=1, keepdims=True) / found.flux_error[calm]
    assert np.nanstd(pull) == pytest.approx(1, abs=0.1)


def test_no_star_corrects_itself():
    rng = np.random.default_rng(10)
    flux = np.tile(np.array([1e7, 1e5, 1e5, 1e5, 1e5])[:, None], (1, 60)) * rng.normal(1, 0.002, (5, 60))
    dip = np.ones(60)
    dip[20:30] = 0.9
    flux[0] *= dip
    found = correct_ensemble(flux, np.sqrt(flux))
    assert np.median(found.flux[0, 20:30]) / np.median(found.flux[0, :20]) == pytest.approx(0.9, abs=0.003)


def test_a_trend_with_position_is_fitted_outside_the_event():
    rng = np.random.default_rng(11)
    x, y = np.linspace(0, 140, 50), rng.normal(0, 1, 50)
    flux = (1 + 1e-4 * x + 2e-3 * y) * 1000
    flux_out = flux.copy()
    flux_out[20:30] = np.nan
    np.testing.assert_allclose(
        flux / detrend_positions(flux_out, x, y), np.median(flux_out[~np.isnan(flux_out)]), rtol=1e-6
    )
    with pytest.raises(NotEnoughData, match="2 frames"):
        detrend_positions(flux[:2], x[:2], y[:2])


def test_too_few_comparison_stars_and_unequal_shapes_are_refused():
    with pytest.raises(NotEnoughData, match="2 of 2"):
        correct_ensemble(np.ones((2, 9)), np.ones((2, 9)))
    with pytest.raises(DataError, match="stars, frames"):
        correct_ensemble(np.ones((2, 9)), np.ones((2, 8)))
    mag, error = magnitudes(np.array([100.0, -1.0]), np.array([1.0, 1.0]))
    assert mag[0] == pytest.approx(-5)
    assert error[0] == pytest.approx(0.010857, abs=1e-6)
    assert np.isnan(mag[1])


@pytest.mark.real
def test_the_light_curve_of_the_night_of_tres1():
    frames, stars = calibrated()
    lists = [np.stack([found.x, found.y], axis=1) for found in stars]
    transforms = align_series(lists)
    keep = stars[0].snr > 50
    x0, y0 = stars[0].x[keep], stars[0].y[keep]
    flux, error = [], []
    for frame, transform in zip(frames, transforms, strict=True):
        x, y = transform(x0, y0)
        sums = aperture_photometry(
            frame.data, frame.variance, x, y, radius=6, annulus=(10, 18), mask=frame.mask
        )
        flux.append(np.where((sums.flags & MASK_SATURATED) != 0, np.nan, sums.flux))
        error.append(sums.flux_error)
    flux, error = np.array(flux).T, np.array(error).T
    target = int(np.hypot(x0 - 571.06, y0 - 344.01).argmin())
    assert np.hypot(x0 - 571.06, y0 - 344.01)[target] < 1
    found = correct_ensemble(flux, error, exclude=np.array([target]))
    assert np.isfinite(found.flux[target]).all()
    assert found.weights[target] == 0
    transit = slice(5, 13)  # 03:17 to 05:10 UT; first and last contact are about 03:00 and 05:30
    outside = [0, 1, 2, 3, 14]
    curve = found.flux[target] / np.median(found.flux[target, outside])
    assert -0.03 < np.median(curve[transit]) - 1 < -0.015  # the planet covers 2 % of the star
    assert np.std(curve[transit]) < 0.01 > np.std(curve[outside])
    complete = np.isfinite(found.flux).all(axis=1)
    bright = np.flatnonzero(complete)[:60]  # sources come by falling flux
    assert np.median(found.scatter[bright]) < 0.01
    assert found.correction.max() / found.correction.min() > 1.1  # the night was not photometric
