"""Light in circles and trails: the sky of rings, and the bits of the mask."""

from __future__ import annotations

import numpy as np
import pytest

from virtualobserver.conventions import MASK_BAD, MASK_SATURATED
from virtualobserver.maths.images.apertures import measure_apertures, measure_trails

SHAPE = (60, 80)
ANNULUS = (6.0, 10.0)


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(5)
    image = rng.normal(300, 20, SHAPE).astype(np.float32)
    image[rng.integers(0, 60, 40), rng.integers(0, 80, 40)] += 4000  # neighbours, to be clipped
    mask = np.zeros(SHAPE, np.uint16)
    mask[rng.random(SHAPE) < 0.02] = MASK_BAD
    mask[rng.random(SHAPE) < 0.02] |= MASK_SATURATED
    image[mask == MASK_BAD] = 1e6
    image[30, 40] = np.nan
    x, y = rng.uniform(-5, 85, 120), rng.uniform(-5, 65, 120)
    x[0], y[1] = np.nan, np.nan
    return image, mask, x, y


def ring(image, mask, x, y):
    """The definition: good pixels whose middles are in the ring, three times clipped at three scaled deviations."""
    rows, columns = np.indices(SHAPE)
    away = np.hypot(rows - y, columns - x)
    good = np.isfinite(image) & ((mask & MASK_BAD) == 0)
    values = image[(away >= ANNULUS[0]) & (away <= ANNULUS[1]) & good].astype(float)
    for _ in range(3):
        if values.size >= 5:
            middle = np.median(values)
            values = values[
                np.abs(values - middle) <= 3 * 1.482602218505602 * np.median(np.abs(values - middle))
            ]
    return values


def test_the_sky_is_the_clipped_median_of_the_ring_and_its_error_that_of_a_median(scene):
    image, mask, x, y = scene
    (found,) = measure_apertures(image, np.full(SHAPE, 400.0), x, y, radii=[3], annulus=ANNULUS, mask=mask)
    (bare,) = measure_apertures(image, np.full(SHAPE, 400.0), x, y, radii=[3], mask=mask)
    for number in range(len(x)):
        values = ring(image, mask, x[number], y[number])
        if not values.size:
            assert np.isnan(found.sky[number])
            continue
        assert found.sky[number] == pytest.approx(np.median(values), rel=1e-12)
        if np.isfinite(found.flux[number]):
            error = np.sqrt(np.pi / 2 / values.size) * values.std() * found.area[number]
            assert found.flux_error[number] == pytest.approx(
                np.hypot(bare.flux_error[number], error), rel=1e-9
            )
    assert np.isfinite(found.flux).sum() > 60


def test_the_bits_are_those_of_the_pixels_that_the_circle_touches(scene):
    image, mask, x, y = scene
    (found,) = measure_apertures(image, np.full(SHAPE, 400.0), x, y, radii=[3], mask=mask)
    rows, columns = np.indices(SHAPE)
    for number in range(len(x)):
        near = np.hypot(rows - y[number], columns - x[number]) <= 3.5
        assert found.flags[number] == np.bitwise_or.reduce(mask[near], initial=0)
    assert {0, int(MASK_BAD), int(MASK_SATURATED)} <= set(found.flags.tolist())


def test_many_places_are_measured_as_each_alone_and_a_trail_of_no_length_is_a_circle(scene):
    image, mask, *_ = scene
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 79, 4100), rng.uniform(0, 59, 4100)  # more than are sorted at once
    options = {"annulus": ANNULUS, "mask": mask}
    (circles,) = measure_apertures(image, np.full(SHAPE, 400.0), x, y, radii=[4], **options)
    trails = measure_trails(image, np.full(SHAPE, 400.0), x, y, radius=4, **options)
    np.testing.assert_allclose(trails.flux, circles.flux, rtol=1e-4, atol=1.0)
    for number in (0, 1999, 2000, 4099):
        (one,) = measure_apertures(
            image, np.full(SHAPE, 400.0), x[[number]], y[[number]], radii=[4], **options
        )
        for name in ("flux", "flux_error", "sky", "flags"):
            np.testing.assert_array_equal(getattr(one, name)[0], getattr(circles, name)[number])


def test_a_ring_of_even_pixels_has_their_value_and_no_error():
    (found,) = measure_apertures(
        np.full(SHAPE, 7.0), np.zeros(SHAPE), [40.0], [30.0], radii=[2], annulus=ANNULUS
    )
    assert found.sky[0] == 7.0
    assert found.flux_error[0] == 0.0


@pytest.mark.parametrize("level", [0.0, 900.0, 50_000.0])
def test_an_even_sky_leaves_no_light_wherever_in_its_pixel_a_place_lies(level):
    """Areas are those of circles and ellipses: a sky of 50,000 left 4000 in circles of two pixels, by sampling."""
    image = np.full(SHAPE, level, np.float32)
    rng = np.random.default_rng(2)
    x, y = rng.uniform(15, 65, 300), rng.uniform(15, 45, 300)
    variance = np.full(SHAPE, 400.0)
    circles = measure_apertures(image, variance, x, y, radii=[0.7, 2, 3.3], annulus=ANNULUS)
    trails = measure_trails(
        image, variance, x, y, radius=2, length=5.0, theta=rng.uniform(-90, 90, 300), annulus=ANNULUS
    )
    for one, area in zip(
        [*circles, trails], [np.pi * 0.49, np.pi * 4, np.pi * 3.3**2, np.pi * 9], strict=True
    ):
        assert np.max(np.abs(one.flux)) <= 2e-6 * level * area
        assert one.flux_error == pytest.approx(np.sqrt(400 * area), rel=1e-6)  # an even ring has no error
