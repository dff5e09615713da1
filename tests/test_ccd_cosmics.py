"""Cosmic rays: hits are found, stars are left alone, both code paths agree."""

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_array_equal
from support_ccd import stars_image
from support_real import real_data

from virtualobserver.conventions import MASK_COSMIC_RAY, MASK_HOT
from virtualobserver.errors import DataError
from virtualobserver.maths.ccd_cosmics import CosmicSettings, find_cosmic_rays, laplacian
from virtualobserver.maths.ccd_science import CalibratedFrame, apply_cosmic_rays
from virtualobserver.maths.kernels import have_numba


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


@pytest.mark.skipif(not have_numba(), reason="numba is not installed")
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("settings", [CosmicSettings(), CosmicSettings(sigma=7, contrast=2, rounds=2)])
def test_the_compiled_search_and_numpy_give_the_same_bits(seed, settings):
    image, variance, _ = hit_frame(seed=seed, size=160, stars=30)
    image[40, 50] = np.nan
    image[0, :5] += 3000
    bad = np.random.default_rng(seed).random(image.shape) < 0.01
    fast, slow = (
        find_cosmic_rays(image, variance, bad=bad, settings=settings, compiled=flag) for flag in (True, False)
    )
    assert_array_equal(fast.mask, slow.mask)
    assert_array_equal(fast.cleaned, slow.cleaned)
    assert fast.rounds == slow.rounds
    assert not fast.mask[bad].any()


@pytest.mark.real
@pytest.mark.parametrize("compiled", [True, False])
def test_the_real_cosmic_rays_of_a_gmos_frame(compiled):
    if compiled and not have_numba():
        pytest.skip("numba is not installed")
    with fits.open(real_data("ccd", "misc", "astroscrappy_gmos.fits.gz")) as units:
        science, variance, sky = (units[name].data.astype(np.float32) for name in ("SCI", "VAR", "SKYFIT"))
    found = find_cosmic_rays(
        science + sky, variance, settings=CosmicSettings(4.5, 0.3, 1.0), compiled=compiled
    )
    peaks = science > np.median(science) + 60 * np.sqrt(np.median(variance))
    assert 50 < np.count_nonzero(found.mask) < 0.1 * found.mask.size
    assert found.mask[peaks].mean() > 0.8
    assert np.std(found.cleaned) < np.std(science + sky)


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
