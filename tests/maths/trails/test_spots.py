"""What is left beside the trails: measured as it was put in, on the trail of the star that it may be of."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr
from support.drift import TRACK, drawn

from virtualobserver.conventions import MASK_BAD, MASK_COSMIC_RAY
from virtualobserver.data import Table
from virtualobserver.errors import DataError
from virtualobserver.maths.trails.spots import SPOT_COLUMNS, Hosts, Spots, find_spots

SIGMA = 1.7
NOISE = 21.0
ERROR = NOISE * np.sqrt(4 * np.pi) * SIGMA
"""Of the flux of a star in plain noise."""


def put(image, x, y, flux, sx=SIGMA, sy=SIGMA):
    """Add a Gaussian, summed over each pixel."""
    rows, cols = (np.arange(size) for size in image.shape)
    px, py = (ndtr((g - m + 0.5) / s) - ndtr((g - m - 0.5) / s) for g, m, s in ((cols, x, sx), (rows, y, sy)))
    image += flux * np.outer(py, px)


def frame(shape=(120, 160), seed=1):
    return np.random.default_rng(seed).normal(0, NOISE, shape), np.full(shape, NOISE**2)


def searched(image, variance, mask=None, **options):
    return find_spots(image, variance, mask, sigma=SIGMA, track=TRACK, **options)


def test_noise_has_no_spots_and_a_point_is_measured_as_it_was_put_in():
    image, variance = frame((700, 700))
    assert len(searched(image, variance)) == 0
    places = [(20.3 + 29 * (k % 23), 22.4 + 29.3 * (k // 23)) for k in range(500)]
    for x, y in places:
        put(image[int(y) - 15 : int(y) + 16, int(x) - 15 : int(x) + 16], x % 1 + 15, y % 1 + 15, 20 * ERROR)
    spots = searched(image, variance)
    order = np.lexsort((np.round(spots.x / 29), np.round((spots.y - 22.4) / 29.3)))
    assert len(spots) == 500
    dx = spots.x[order] - np.array([x for x, _ in places])
    # least squares: sqrt(2) sigma over S/N
    assert dx.std() == pytest.approx(np.sqrt(2) * SIGMA / 20, rel=0.15)
    assert abs(dx.mean()) < 0.03
    assert np.mean(spots.flux) == pytest.approx(20 * ERROR, rel=0.02)
    assert spots.flux_error == pytest.approx(ERROR, rel=0.02)
    assert np.std(spots.flux / ERROR) == pytest.approx(1, abs=0.15)
    pull = (spots.sharpness - 1) / spots.sharpness_error
    assert (pull.mean(), pull.std()) == (pytest.approx(0, abs=0.15), pytest.approx(1, abs=0.15))
    rounded = np.log(spots.elongation) / spots.elongation_error
    assert np.sqrt(np.mean(rounded**2)) == pytest.approx(1, abs=0.15)


def test_form_tells_a_cosmic_ray_and_what_is_drawn_out():
    image, variance = frame()
    image[30, 40] += 2000
    put(image, 90.2, 60.6, 60 * ERROR, sy=2.4 * SIGMA)
    put(image, 120.2, 30.1, 60 * ERROR, sx=2 * SIGMA)
    spots = searched(image, variance)
    ray, tall, wide = (
        int(np.argmin(np.hypot(spots.x - x, spots.y - y))) for x, y in ((40, 30), (90, 60), (120, 30))
    )
    assert spots.sharpness[ray] > 4
    assert spots.width[ray] < 0.4
    assert spots.elongation[[tall, wide]] == pytest.approx([2.4, 2.0], rel=0.12)
    assert abs(spots.angle[tall]) == pytest.approx(90, abs=8)
    assert spots.angle[wide] == pytest.approx(0, abs=8)
    assert spots.width[[tall, wide]] == pytest.approx([1, 1], abs=0.12)
    assert (spots.sharpness[[tall, wide]] < 0.9).all()


def test_masked_pixels_are_left_out_and_those_of_cosmic_rays_are_counted():
    image, variance = frame()
    put(image, 50, 60, 40 * ERROR)
    mask = np.zeros(image.shape, np.int16)
    mask[:, 51] = MASK_BAD
    image[:, 51] = 1e6
    mask[60:62, 49:51] = MASK_COSMIC_RAY
    (flux,), spots = searched(image, variance, mask).flux, searched(image, variance, mask)
    assert flux == pytest.approx(40 * ERROR, rel=0.08)
    assert (spots.x[0], spots.y[0]) == (pytest.approx(50, abs=0.2), pytest.approx(60, abs=0.1))
    assert spots.n_masked[0] == np.sqrt(spots.n_pixels[0])
    assert (spots.counts[MASK_COSMIC_RAY][0], spots.n_cosmic_ray[0], spots.counts[MASK_BAD][0]) == (4, 4, 13)
    assert len(searched(image, variance, mask | np.where(mask == MASK_COSMIC_RAY, MASK_BAD, 0))) <= 1
    image[55:66, 45:56] = np.nan
    assert len(searched(image, variance, mask)) == 0


def test_a_spot_keeps_both_meanings_of_its_place():
    image, variance = frame()
    x0, y0 = 40.0, 70.0
    x, y = TRACK.place_of(x0, y0, 8.0)
    put(image, float(x), float(y), 50 * ERROR)
    put(image, 120.0, 20.0, 50 * ERROR)
    hosts = Hosts(
        np.array([5, 7, 9]),
        np.array([10.0, x0, 140.0]),
        np.array([20.0, y0 + 0.4, 70.0]),
        np.array([1.0, 400, 1]),
    )
    spots = searched(image, variance, hosts=hosts)
    on, off = np.argmin(np.abs(spots.x - x)), np.argmax(np.abs(spots.x - x))
    assert spots.host[[on, off]].tolist() == [7, -1]
    assert spots.host_time[on] == pytest.approx(8.0, abs=0.1)
    assert spots.host_offset[on] == pytest.approx(-0.4, abs=0.15)
    # a star of 400 electrons/s leaves sqrt(4 pi) sigma / speed seconds under the profile
    assert spots.host_share[on] == pytest.approx(
        50 * ERROR / (400 * np.sqrt(4 * np.pi) * SIGMA / TRACK.speed), rel=0.05
    )
    assert np.isnan(spots.host_time[off])
    assert spots.n_hosts[[on, off]].tolist() == [1, 0]
    assert np.hypot(spots.x - spots.segment_x, spots.y - spots.segment_y) == pytest.approx(TRACK.length)
    # a star that flashed at the very end opened one length earlier, from where it came here
    assert TRACK.place_of(spots.segment_x, spots.segment_y, 20.0)[0] == pytest.approx(spots.x)


@pytest.mark.parametrize(("sigmas", "host"), [(1.5, 7), (2.3, 7), (3.0, -1)])
def test_what_is_left_at_the_end_of_a_trail_is_its_stars(sigmas, host):
    image, variance = frame()
    x, y = (float(part) for part in TRACK.place_of(40.0, 70.0, 20.0))
    turn = np.radians(TRACK.angle)
    put(image, x + sigmas * SIGMA * np.cos(turn), y + sigmas * SIGMA * np.sin(turn), 20 * ERROR)
    (spot,) = np.argsort(
        -(
            spots := searched(
                image,
                variance,
                hosts=Hosts(np.array([7]), np.array([40.0]), np.array([70.0]), np.array([4e4])),
            )
        ).snr
    )[:1]
    assert spots.host[spot] == host
    if host == 7:
        assert spots.host_time[spot] == pytest.approx(20.0)
        assert spots.host_share[spot] < 0.1


def test_a_trail_that_is_not_taken_away_is_no_spot_of_small_share():
    image = drawn(TRACK, [(60, 60)], [3e5], noise=0.0)
    noise, variance = frame(image.shape)
    spots = searched(
        image + noise,
        variance,
        hosts=Hosts(np.array([1]), np.array([60.0]), np.array([60.0]), np.array([15e3])),
    )
    assert len(spots) >= 3
    assert (spots.host == 1).all()
    assert spots.host_share[np.abs(spots.host_time - 10) < 6] == pytest.approx(1, abs=0.15)


def test_a_table_carries_spots_and_bad_input_says_what_is_wrong():
    image, variance = frame()
    put(image, 50, 60, 40 * ERROR)
    spots = searched(image, variance, np.zeros(image.shape, np.int16))
    table = Table(spots.columns(), SPOT_COLUMNS)
    back = Spots.from_columns(table.columns)
    for name in SPOT_COLUMNS:
        np.testing.assert_array_equal(getattr(back, name), getattr(spots, name))
    with pytest.raises(DataError, match="lacks angle"):
        Spots.from_columns({name: values for name, values in table.columns.items() if name != "angle"})
    with pytest.raises(DataError, match="of its shape"):
        searched(image, variance[1:])
    with pytest.raises(DataError, match="above 0"):
        find_spots(image, variance, sigma=0.0, track=TRACK)
