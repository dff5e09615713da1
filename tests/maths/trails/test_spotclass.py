"""Spots are told by their form, by lines, masks and trails; the shipped simulation holds each kind."""

from __future__ import annotations

import numpy as np
import pytest
from support.drift import TRACK, simulated
from support.real import real_data

from virtualobserver.conventions import FWHM_TO_SIGMA, MASK_BAD, MASK_COSMIC_RAY
from virtualobserver.maths.trails.spotclass import CLASSES, PRIORS, classify_spots, on_lines
from virtualobserver.maths.trails.spots import Hosts, Spots, find_spots
from virtualobserver.maths.trails.track import line_spread

FRAME = {"angle": TRACK.angle, "length": TRACK.length, "shape": (700, 700)}
FLASHES = ((210.3, 333.7), (455.6, 120.2))


def spot(n=1, **values):
    """Return spots that look like stars, but for what is given."""
    usual = {
        "x": 300.0, "y": 300.0, "flux": 5000.0, "flux_error": 125.0, "snr": 40.0, "elongation": 1.04,
        "elongation_error": 0.07, "angle": 60.0, "width": 0.98, "sharpness": 1.0, "sharpness_error": 0.07,
        "n_pixels": 169, "n_masked": 0, "host": -1, "host_time": np.nan, "host_offset": np.nan, "host_share": np.nan,
        "n_hosts": 0, "segment_x": 262.0, "segment_y": 300.0,
    }  # fmt: skip
    rays = values.pop("n_cosmic_ray", 0)
    columns = {name: np.broadcast_to(np.asarray(value), (n,)) for name, value in (usual | values).items()}
    return Spots(**columns, counts={MASK_COSMIC_RAY: np.full(n, rays)})


@pytest.mark.parametrize(
    ("values", "label"),
    [
        ({}, "flash"),
        ({"host": 3, "host_share": 0.8, "n_hosts": 1}, "flash"),
        ({"sharpness": 8.0, "width": 0.3, "elongation": 2.0}, "cosmic_ray"),
        ({"sharpness": 1.4, "width": 0.3, "elongation": 6.0, "n_cosmic_ray": 6}, "cosmic_ray"),
        ({"elongation": 2.5, "angle": 1.0, "sharpness": 0.6}, "partial_trail"),
        ({"elongation": 2.5, "angle": -88.0, "sharpness": 0.6}, "moving_object"),
        ({"n_masked": 100}, "artefact"),
        ({"host": 3, "host_share": 0.02, "n_hosts": 1}, "blend"),
    ],
)
def test_each_form_has_its_class(values, label):
    found = classify_spots(spot(**values), **FRAME)
    assert found.label == [label]
    assert found.probability.sum() == pytest.approx(1)
    assert set(found.of(0)) == set(CLASSES)
    assert found.of(0)[label] > 0.5


def test_a_faint_spot_is_less_sure_than_a_bright_one_and_none_is_none():
    faint = spot(snr=7.0, elongation=1.4, elongation_error=0.41, sharpness_error=0.43, width=0.85)
    sure, doubt = (classify_spots(one, **FRAME).of(0)["flash"] for one in (spot(), faint))
    assert doubt < sure
    assert sum(PRIORS) == pytest.approx(1)
    empty = classify_spots(spot(0), **FRAME)
    assert (empty.label, empty.probability.shape) == ([], (0, len(CLASSES)))


def test_several_spots_on_one_trail_are_what_its_model_left():
    many = spot(5, host=7, x=np.arange(5) * 7 + 300.0, y=300.0 + np.arange(5) % 2)
    assert classify_spots(many, **FRAME).label == ["blend"] * 5


def test_lines_are_found_among_many_and_none_in_what_has_none():
    rng = np.random.default_rng(2)
    for _ in range(5):
        x, y = rng.uniform(0, 2000, (2, 150))
        assert (on_lines(x, y, angle=0.14, length=38) == -1).all()
    t = np.arange(40) * 25.0
    cx, cy = np.r_[x, 300 + t * 0.8], np.r_[y, 200 + t * 0.6 + rng.normal(0, 0.3, 40)]
    line = on_lines(cx, cy, angle=0.14, length=38)
    assert (line[150:] == 0).sum() >= 38
    assert (line[:150] == 0).sum() <= 3
    trail = on_lines(np.r_[x, 700 + np.arange(12) * 3.0], np.r_[y, np.full(12, 700.0)], angle=0.14, length=38)
    assert (trail == -1).all()


@pytest.mark.parametrize("expnum", [1058801, 1058802])
def test_flashes_and_the_satellite_of_the_simulation_are_told(expnum):
    drift = simulated(expnum)
    assert real_data("decam", "sim").is_dir()
    sigma = drift.fwhm * FWHM_TO_SIGMA
    x, y, rate = drift.x + drift.offset[0], drift.y + drift.offset[1], 10 ** (-0.4 * (drift.mag - 27.43))
    model = np.zeros(drift.image.shape)
    rows, cols = np.mgrid[: model.shape[0], : model.shape[1]].astype(float)
    for x0, y0, flux in zip(x, y, rate, strict=True):
        box = (
            slice(max(int(y0) - 12, 0), max(int(y0) + 13, 0)),
            slice(max(int(x0) - 12, 0), max(int(x0) + 52, 0)),
        )
        dx, dy = cols[box] - x0, rows[box] - y0
        across = np.exp(-0.5 * (TRACK.across(dx, dy) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
        model[box] += 20 * flux * across * line_spread(TRACK.along(dx, dy), TRACK.length, sigma)
    mask = np.where(drift.mask == 5, MASK_COSMIC_RAY, np.where(drift.mask > 0, MASK_BAD, 0))
    # 15 %: image motion makes trails uneven, and the truth is a Gaussian for no star
    spots = find_spots(
        4 * drift.image - model, 16 * drift.variance + (0.15 * model) ** 2, mask, sigma=sigma, track=TRACK,
        hosts=Hosts(np.arange(len(x)), x, y, rate),
    )  # fmt: skip
    found = classify_spots(spots, **FRAME)
    label = np.array(found.label)
    flash = np.flatnonzero(label == "flash")
    assert len(flash) == 2
    for x0, y0 in FLASHES:
        away = np.hypot(spots.x - x0, spots.y - y0)
        assert label[np.argmin(away)] == "flash"
        assert away.min() < 2.5  # the atmosphere moves images
    rays = (spots.n_cosmic_ray > 2) & (spots.width < 0.4)
    assert rays.sum() >= 23
    assert (label[rays] == "cosmic_ray").mean() > 0.95
    streaks = label == "streak"
    if expnum == 1058801:
        assert not streaks.any()
        return
    slope, start = np.polyfit(spots.x[streaks], spots.y[streaks], 1)
    on_it = np.abs(spots.y - start - slope * spots.x) < 4
    assert streaks.sum() > 45
    assert (label[on_it & ~rays] == "streak").mean() > 0.9
