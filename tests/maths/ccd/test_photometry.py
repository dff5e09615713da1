"""Background, sources, PSF, alignment, difference and ensemble light curves."""

from functools import cache

import numpy as np
import pytest
from support.ccd import stars_image, tres1
from support.real import real_data

from virtualobserver.conventions import MASK_COSMIC_RAY, MASK_NO_DATA, MASK_SATURATED
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.ccd.combine import ArraySections
from virtualobserver.maths.ccd.masks import hot_pixels
from virtualobserver.maths.ccd.masters import master_dark
from virtualobserver.maths.ccd.science import Detector, calibrate_frame
from virtualobserver.maths.images.alignment import align_series, match_stars
from virtualobserver.maths.images.apertures import measure_apertures
from virtualobserver.maths.images.background import background
from virtualobserver.maths.images.psf import measure_psf
from virtualobserver.maths.images.sources import find_sources
from virtualobserver.maths.lightcurves.ensemble import correct_ensemble, magnitudes

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
    (sums,) = measure_apertures(image, image, found.x[lonely], found.y[lonely], radii=[6], annulus=(10, 16))
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
    (sums,) = measure_apertures(image, image, [100, 200, 295, 999], [100, 100, 100, 0], radii=[6], mask=mask)
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
        (sums,) = measure_apertures(
            frame.data, frame.variance, x, y, radii=[6], annulus=(10, 18), mask=frame.mask
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


def test_the_background_of_a_slope_is_the_slope_and_nothing_good_is_refused():
    rng = np.random.default_rng(4)
    slope = 300 + 0.05 * np.arange(400)[None, :] + np.zeros((400, 1))
    image = rng.normal(slope, 4).astype(np.float32)
    image[50:60, 50:60] = np.nan
    mask = np.zeros(image.shape, np.uint16)
    mask[:, 390:] = MASK_SATURATED
    image[:, 390:] = 60000
    found = background(image, mask=mask)
    assert np.abs(found.level[:, 32:360] - slope[:, 32:360]).max() < 1.5
    assert found.median_scatter == pytest.approx(4, rel=0.03)
    assert found.median_level == pytest.approx(310, abs=3)
    for nothing in (np.full((90, 90), np.nan, np.float32), np.zeros((0, 5), np.float32)):
        with pytest.raises(DataError, match="no good pixel"):
            background(nothing)
    with pytest.raises(DataError, match="no good pixel"):
        background(image, mask=np.ones(image.shape, bool))
