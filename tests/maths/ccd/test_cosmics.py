"""Cosmic rays: hits are found, stars are left alone, the kernel does as its definition says."""

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_array_equal
from scipy.ndimage import binary_dilation, median_filter
from support.ccd import stars_image
from support.real import real_data

from virtualobserver.conventions import MASK_COSMIC_RAY, MASK_HOT
from virtualobserver.errors import DataError
from virtualobserver.maths.ccd.cosmics import CosmicSettings, _least_variance, find_cosmic_rays
from virtualobserver.maths.ccd.science import CalibratedFrame, apply_cosmic_rays


def hit_frame(hits=60, stars=60, size=300, seed=1):
    """Image (e-), its variance and which pixels were hit: tracks of 1 to 7 pixels, stars of FWHM 2.6 pixels."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(15, size - 16, (2, stars))
    light = 200.0 + stars_image((size, size), x, y, 10 ** rng.uniform(2.5, 5.5, stars), fwhm=2.6)
    image = rng.poisson(light).astype(float)
    struck = np.zeros(image.shape, bool)
    for _ in range(hits):
        y0, x0 = rng.integers(10, size - 10, 2)
        angle, energy = rng.uniform(0, 2 * np.pi), rng.uniform(400, 5000)
        steps = np.arange(rng.integers(1, 8))
        rows, cols = (y0 + steps * np.sin(angle)).astype(int), (x0 + steps * np.cos(angle)).astype(int)
        image[rows, cols] += energy
        struck[rows, cols] = True
    variance = 81.0 + np.maximum(image, 0)
    return (image + rng.normal(0, 9, image.shape)).astype(np.float32), variance.astype(np.float32), struck


def test_hits_are_found_and_repaired_and_stars_are_left():
    image, variance, struck = hit_frame()
    found = find_cosmic_rays(image, variance)
    assert found.mask[struck].mean() > 0.99
    around = np.pad(struck, 1)
    near = sum(around[i : i + 300, j : j + 300] for i in range(3) for j in range(3)) > 0
    assert np.count_nonzero(found.mask & ~near) < 8
    clean = find_cosmic_rays(hit_frame(hits=0)[0], hit_frame(hits=0)[1])
    assert np.count_nonzero(clean.mask) < 8
    assert np.median(np.abs(found.cleaned[struck] - 200)) < 20
    assert_array_equal(found.cleaned[~found.mask], image[~found.mask])


def laplacian(image):
    """Return the positive part of the Laplacian on a grid twice as fine, binned back.

    On that grid a pixel is four equal ones, each with two neighbours in the pixel itself and two outside, so
    that the sum over its corners can be written down without making the grid. A lone pixel of height h gives h.
    """
    around, zero = np.pad(image, 1, mode="edge"), np.float32(0)
    up, down = 2 * image - around[:-2, 1:-1], 2 * image - around[2:, 1:-1]
    left, right = around[1:-1, :-2], around[1:-1, 2:]
    total = np.maximum(up - left, zero) + np.maximum(up - right, zero)
    total = total + np.maximum(down - left, zero)
    return (total + np.maximum(down - right, zero)) * np.float32(0.125)


def plain_find(image, base, bad, limits):
    """Return the pixels hit as van Dokkum (2001) finds them, with whole planes of medians."""
    noise = np.sqrt(base + np.maximum(median_filter(image, 5, mode="nearest"), np.float32(0)))
    sharp = laplacian(image) / noise
    excess = sharp - median_filter(sharp, 5, mode="nearest")
    smooth = median_filter(image, 3, mode="nearest")
    fine = (smooth - median_filter(smooth, 7, mode="nearest")) / noise
    above = (excess > np.float32(limits.sigma)) & ~bad
    seeds = above & (excess > np.float32(limits.contrast) * np.maximum(fine, np.float32(0.01)))
    around = np.ones((3, 3), bool)
    beside = binary_dilation(seeds, around) & above
    return binary_dilation(beside, around) & (excess > np.float32(limits.sigma * limits.fraction)) & ~bad


def plain_clean(image, unusable, mask):
    """Put the median of the usable pixels of 5 x 5 in place of those of `mask`; wider where there are none."""
    out = image.copy()
    for y, x in np.argwhere(mask):
        for half in (2, 3, 5, 8):
            box = slice(max(y - half, 0), y + half + 1), slice(max(x - half, 0), x + half + 1)
            if (values := image[box][~unusable[box]]).size:
                out[y, x] = np.median(values)
                break
    return out


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("settings", [CosmicSettings(), CosmicSettings(sigma=7, contrast=2, rounds=2)])
def test_the_search_gives_the_bits_of_the_definition(seed, settings):
    image, variance, _ = hit_frame(seed=seed, size=160, stars=30)
    image[40, 50] = np.nan
    image[0, :5] += 3000
    bad = np.random.default_rng(seed).random(image.shape) < 0.01
    found = find_cosmic_rays(image, variance, bad=bad, settings=settings)
    unusable, plain = bad | ~np.isfinite(image), np.where(np.isfinite(image), image, np.float32(0))
    least = np.float32(_least_variance(image, variance))
    base = np.maximum(variance - np.maximum(plain, np.float32(0)), least)
    mask, rounds = np.zeros(image.shape, bool), 0
    while rounds < settings.rounds and (hit := plain_find(plain, base, unusable, settings) & ~mask).any():
        mask |= hit
        plain = plain_clean(plain, mask | unusable, mask)
        rounds += 1
    assert_array_equal(found.mask, mask)
    assert_array_equal(found.cleaned, plain)
    assert found.rounds == rounds > 0
    assert not found.mask[bad].any()


@pytest.mark.real
def test_the_real_cosmic_rays_of_a_gmos_frame():
    with fits.open(real_data("ccd", "misc", "astroscrappy_gmos.fits.gz")) as units:
        science, variance, sky = (units[name].data.astype(np.float32) for name in ("SCI", "VAR", "SKYFIT"))
    found = find_cosmic_rays(science + sky, variance, settings=CosmicSettings(4.5, 0.3, 1.0))
    peaks = science > np.median(science) + 60 * np.sqrt(np.median(variance))
    assert 50 < np.count_nonzero(found.mask) < 0.1 * found.mask.size
    assert found.mask[peaks].mean() > 0.8
    assert np.std(found.cleaned) < np.std(science + sky)


def test_a_pixel_without_variance_hides_no_other():
    image, variance, struck = hit_frame(stars=0)
    variance[3:9, 3:200] = np.nan
    found = find_cosmic_rays(image, variance)
    assert not found.mask[3:9, 3:200].any()
    assert found.mask[struck & np.isfinite(variance)].mean() > 0.99


def test_a_lone_pixel_has_a_laplacian_of_its_height():
    image = np.zeros((7, 7), np.float32)
    image[3, 3] = 100
    assert laplacian(image)[3, 3] == 100
    assert laplacian(np.full((5, 5), 7, np.float32)).max() == 0
    rows, cols = np.mgrid[:8, :9].astype(np.float32)
    assert laplacian(3 * rows + cols)[1:-1, 1:-1].max() == 0.75  # what a slope of (3, 1) leaves


@pytest.mark.parametrize("mode", ["flag", "clean", "off"])
def test_flag_keeps_the_values_clean_repairs_them_and_off_does_nothing(mode):
    image, variance, struck = hit_frame(stars=0)
    mask = np.zeros(image.shape, np.uint16)
    mask[0, 0] = MASK_HOT
    frame = CalibratedFrame(image, variance, mask)
    done = apply_cosmic_rays(frame, cosmic_rays=mode)
    flagged = (done.mask & MASK_COSMIC_RAY) != 0
    assert done.mask[0, 0] == MASK_HOT
    assert flagged[struck].mean() == pytest.approx(0 if mode == "off" else 1, abs=0.01)
    assert (done.data is image) == (mode != "clean")
    assert (mode == "off") == (done.history == ())
    if mode == "clean":
        assert done.data[struck].mean() < 300


def test_planes_of_different_shape_are_refused():
    with pytest.raises(DataError, match="differ in shape"):
        find_cosmic_rays(np.zeros((4, 4)), np.ones((4, 5)))
