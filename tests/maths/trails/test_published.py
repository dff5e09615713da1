"""The published way gives the published numbers, and the published loss."""

import numpy as np
import pytest
from support.drift import TRACK, truth

from virtualobserver.errors import DataError
from virtualobserver.maths.trails.published import (
    profile_integral,
    published_annulus,
    published_box,
    published_curves,
    published_shift,
    trail_pixels,
)


def test_the_length_and_its_odd_number():
    assert trail_pixels() == (pytest.approx(37.037, abs=1e-3), 37)
    odd = [trail_pixels(1.0, value, 1.0)[1] for value in (36.9, 37.04, 38.0, 4.02, 7)]
    assert odd == [37, 37, 39, 5, 7]
    assert 2 * trail_pixels()[1] - 1 == 73


@pytest.mark.parametrize(
    ("place", "columns", "rows"),
    [
        ((100, 100), (73, 124), (93, 104)),
        ((100.5, 100.5), (74, 125), (94, 105)),
        ((10, 3), (0, 51), (0, 11)),
        ((2040, 4090), (2013, 2046), (4083, 4094)),
    ],
)
def test_boxes(place, columns, rows):
    box = published_box(*place)
    assert ((box[1].start, box[1].stop), (box[0].start, box[0].stop)) == (columns, rows)


@pytest.mark.parametrize(
    ("place", "pixels"), [((49.5, 49.5), (716, 1408, 692)), ((49.7, 50.3), (714, 1411, 697))]
)
def test_pixels_of_the_ring(place, pixels):
    inner, outer = published_annulus(*place)
    assert (inner.sum(), outer.sum(), (outer & ~inner).sum()) == pixels


def test_the_integral_of_the_profile():
    assert profile_integral() == pytest.approx(2.5118, abs=1e-4)
    sums = [profile_integral(middle) for middle in (5, 6.5, 7)]
    assert sums == pytest.approx([2.321, 2.291, 2.258], abs=1e-3)


def test_the_offset_is_the_left_edge_of_the_fullest_bin():
    values = np.concatenate([np.linspace(-60, 60, 150), np.full(60, 7.3)])
    edges = np.linspace(-60, 60, 201)
    assert published_shift(values) == pytest.approx(edges[edges <= 7.3].max())
    with pytest.raises(DataError, match="needs 100"):
        published_shift(np.zeros(99))


def curves(pulses, n=8, noise=0.4, seed=3, zero=None):
    """Trails of one modulation of the air, some with a pulse in columns 14 to 17 of their samples."""
    rng = np.random.default_rng(seed)
    image = rng.normal(100, noise, (60 * n, 140))
    air = 1 + 0.05 * np.sin(np.arange(140) / 3)
    for k in range(n):
        light = 400 * air * ((np.arange(140) >= 45) & (np.arange(140) < 82))
        if k in pulses:
            light[70 - 3 : 70 + 1] *= 1.2
        image[60 * k + 26 : 60 * k + 31] += light
    if zero is not None:
        image[60 * zero + 28, 65] = 0.0
    return published_curves(image, np.full(n, 65.0), 60.0 * np.arange(n) + 29.5)


def test_the_division_takes_the_air_and_with_it_a_pulse_of_two():
    one, two = curves({2}), curves({2, 5})
    assert one.sky == pytest.approx(100, abs=0.2)
    assert np.std(one.normalised[0]) > 0.03
    assert np.std(one.ratio[0]) < 0.01
    pulse = slice(70 - 3 - 38 - 10, 70 + 1 - 38 - 10)
    assert one.ratio[2, pulse].mean() > 1.15
    assert two.partner[2] == 5
    assert two.ratio[2, pulse].mean() == pytest.approx(1.0, abs=0.02)


def test_a_zero_is_lost_and_an_edge_has_no_curve():
    found = curves(set(), zero=1)
    assert np.isnan(found.sums[1]).sum() == 1
    assert found.partner[1] == -1
    assert (found.partner != 1).all()
    edge = published_curves(np.full((60, 60), 10.0), [58.0, np.nan], [30.0, 30.0], mask=np.ones((60, 60)))
    assert np.isnan(edge.ratio).all()
    assert edge.cosmic_ray_affected.tolist() == [True, False]
    assert len(published_curves(np.ones((60, 60)), [], []).ratio) == 0


@pytest.mark.real
def test_the_two_pulses_of_the_simulated_exposure_suffer():
    sim = truth()
    (vx, vy), half = TRACK.vector, 10.0
    found = published_curves(sim.image, sim.x + half * vx, sim.y + half * vy, mask=sim.mask)
    whole = np.isfinite(found.ratio).all(axis=1)
    assert whole.sum() > 200
    assert np.median(found.sky[whole]) / 4 == pytest.approx(97.2, abs=2.0)
    assert found.cosmic_ray_affected[36]
