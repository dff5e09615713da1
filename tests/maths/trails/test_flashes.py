"""Flashes that are put in look like points in the noise of their place, as spots of a frame do."""

from __future__ import annotations

import numpy as np
import pytest
from support.drift import TRACK

from virtualobserver.conventions import FWHM_TO_SIGMA, MASK_BAD, MASK_COSMIC_RAY
from virtualobserver.maths.trails.flashes import flash_map, flash_spot, point_image
from virtualobserver.maths.trails.spots import Hosts, find_spots

SIGMA, NOISE = 1.7, 21.0
FWHM = SIGMA / FWHM_TO_SIGMA
ERROR = NOISE * np.sqrt(4 * np.pi) * SIGMA
"""Of the flux of a star in plain noise."""
PLACE = {
    "x": 1200.3, "y": 3100.8, "flux_error": ERROR, "n_pixels": 169, "n_masked": 2, "n_cosmic_ray": 1, "host": 7,
    "host_time": 4.0, "host_offset": 0.5, "host_share": 0.01, "n_hosts": 2,
}  # fmt: skip


def put(fluence, seed, *, beta=np.inf, threshold=6.0, **place):
    rng = np.random.default_rng(seed)
    return flash_spot(PLACE | place, fluence, rng, sigma=SIGMA, beta=beta, track=TRACK, threshold=threshold)


def test_the_map_has_the_error_that_a_spot_there_has():
    shape = (160, 240)
    variance = np.full(shape, NOISE**2)
    x, y = (flash_map(variance, None, sigma=SIGMA, track=TRACK, number=16)[axis] for axis in "xy")
    cells = {(int((px + 0.5) // 60), int((py + 0.5) // 40)) for px, py in zip(x, y, strict=True)}
    assert len(cells) == 16  # one in each
    edge = int(np.argmax([np.abs(x - 0.5 - one).min() for one in range(100, 140)])) + 100
    variance[:, edge:] *= 4
    mask = np.zeros(shape, np.int16)
    hidden, half, ray = 5, 6, 9
    for place, left, bit in ((hidden, -2, MASK_BAD), (half, 1, MASK_BAD), (ray, 0, MASK_COSMIC_RAY)):
        row, col = round(y[place]), round(x[place])
        mask[row - 3 : row + 4, col + left : col + 3] = bit
    hosts = Hosts(np.array([5]), x[3:4] - 10, y[3:4], np.array([400.0]))
    told = flash_map(variance, mask, sigma=SIGMA, track=TRACK, hosts=hosts, number=16)
    assert np.flatnonzero(np.isnan(told["flux_error"])).tolist() == [hidden]
    for number in range(16):
        image = 1e6 * point_image(x[number], y[number], fwhm=FWHM, shape=shape)
        spots = find_spots(image, variance, mask, sigma=SIGMA, track=TRACK)
        if number == hidden:
            assert not len(spots) or np.hypot(spots.x[0] - x[number], spots.y[0] - y[number]) > 1
            continue
        # the middle of what is half masked, or over the edge, is found beside where it is
        close = 0.06 if told["n_masked"][number] else 0.01
        assert spots.flux_error[0] == pytest.approx(told["flux_error"][number], rel=close)
        assert (spots.n_masked[0], spots.n_cosmic_ray[0]) == tuple(
            told[name][number] for name in ("n_masked", "n_cosmic_ray")
        )
    assert told["n_cosmic_ray"][ray] == 21
    assert told["flux_error"][half] > 1.05 * ERROR
    assert np.flatnonzero(told["host"] == 5).tolist() == [3]
    assert told["host_time"][3] == pytest.approx(10 / TRACK.speed, abs=0.1)


@pytest.mark.parametrize("beta", [np.inf, 3.5])
def test_a_point_has_its_light_and_its_width(beta):
    image = point_image(100.3, 99.6, fwhm=FWHM, beta=beta, shape=(201, 201))
    y, x = np.indices(image.shape)
    away = np.hypot(x - 100.3, y - 99.6)
    for radius in (FWHM, 3 * FWHM):
        inside = 1 - np.exp(-0.5 * (radius / SIGMA) ** 2)
        if np.isfinite(beta):
            inside = 1 - (1 + 4 * (2 ** (1 / beta) - 1) * (radius / FWHM) ** 2) ** (1 - beta)
        assert image[away < radius].sum() == pytest.approx(inside, rel=0.02)
    assert (image * (x - 100.3)).sum() == pytest.approx(0, abs=2e-3)


def test_a_flash_is_found_with_its_flux_and_the_errors_of_its_place():
    rows = [put(20 * ERROR, seed) for seed in range(200)]
    flux, x, error = (np.array([row[name] for row in rows]) for name in ("flux", "x", "flux_error"))
    assert error == pytest.approx(ERROR, rel=0.02)
    assert flux.mean() == pytest.approx(20 * ERROR, rel=0.02)
    # noise of the place, and the photons of the flash: of a Gaussian weighted by itself 4/9 of 4 pi sigma^2 of its peak
    photons = 20 * ERROR * 4 / 3
    assert flux.std() == pytest.approx(np.sqrt(ERROR**2 + photons), rel=0.15)
    assert x.mean() == pytest.approx(1200.3, abs=0.05)
    first = rows[0]
    assert {name: first[name] for name in ("n_masked", "n_cosmic_ray", "host", "n_hosts", "host_time")} == {
        "n_masked": 2, "n_cosmic_ray": 1, "host": 7, "n_hosts": 2, "host_time": 4.0,
    }  # fmt: skip
    assert first["host_share"] == pytest.approx(0.01 * first["flux"] / ERROR)
    assert np.hypot(first["x"] - first["segment_x"], first["y"] - first["segment_y"]) == pytest.approx(
        TRACK.length
    )


def test_wings_take_light_out_of_what_is_measured():
    flux = np.mean([put(50 * ERROR, seed, beta=3.5)["flux"] for seed in range(30)]) / (50 * ERROR)
    image = point_image(16.0, 16.0, fwhm=FWHM, beta=3.5)
    core = point_image(16.0, 16.0, fwhm=FWHM)
    assert flux == pytest.approx((image * core).sum() / (core**2).sum(), rel=0.02)
    assert flux < 0.9


def test_what_is_faint_or_masked_is_not_found():
    assert put(20 * ERROR, 1, flux_error=np.nan) is None
    assert sum(put(ERROR, seed) is not None for seed in range(20)) == 0
    # as likely above the threshold as below where it is the mean; the place that fits best adds a little
    half = sum(put(6 * ERROR, seed) is not None for seed in range(100))
    assert 45 <= half <= 75
