"""Errors of positions on the frame and on the sky, and solutions of frames that point elsewhere than said."""

from __future__ import annotations

import numpy as np
import pytest
from support.ccd import stars_image
from support.sky import SHAPE, simulate

from virtualobserver.catalog.reference import MemoryReference, ReferenceStars
from virtualobserver.catalog.solver import CatalogueSolver
from virtualobserver.ccd.observatory import CCDObservatory
from virtualobserver.ccd.photometry import measure
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.data import Image, Target, as_handle
from virtualobserver.errors import NoMatch, NotEnoughData
from virtualobserver.maths.astrometry.plate import PlateHint
from virtualobserver.maths.astrometry.tan_sip import deproject
from virtualobserver.maths.images.sources import find_sources
from virtualobserver.observatory import Aux

SKY, READ_NOISE = 400.0, 8.0


def field(seed, fwhm=3.0, flux=(3e3, 1e5)):
    """Stars on a grid with places between pixels, in electrons, with the variance they have."""
    rng = np.random.default_rng(seed)
    y, x = (axis.ravel().astype(float) for axis in np.mgrid[20:380:30, 20:380:30])
    x, y = x + rng.uniform(-0.5, 0.5, x.size), y + rng.uniform(-0.5, 0.5, x.size)
    light = np.exp(rng.uniform(*np.log(flux), x.size))
    expected = stars_image((400, 400), x, y, light, fwhm) + SKY
    image = rng.poisson(expected) + rng.normal(0, READ_NOISE, expected.shape)
    return image.astype(np.float32), (expected + READ_NOISE**2).astype(np.float32), x, y


@pytest.mark.parametrize("fwhm", [2.2, 3.0, 5.0])
def test_errors_of_centres_are_what_they_scatter_by(fwhm):
    pulls = []
    for seed in range(6):
        image, variance, x, y = field(seed, fwhm)
        found = find_sources(image, variance, fwhm=fwhm)
        away = np.hypot(found.x[:, None] - x, found.y[:, None] - y)
        near = away.argmin(axis=1)
        good = (away.min(axis=1) < 1) & ~found.blended & ~found.truncated
        pulls += [((found.x - x[near]) / found.x_error)[good], ((found.y - y[near]) / found.y_error)[good]]
    pull = np.concatenate(pulls)
    assert len(pull) > 1000
    assert np.mean(pull) == pytest.approx(0, abs=0.15)
    assert np.std(pull) == pytest.approx(1, abs=0.2)


def test_shapes_of_sources_are_those_of_their_light():
    y, x = np.mgrid[:80, :80]
    turn = np.radians(30)
    u, v = (
        (x - 40) * np.cos(turn) + (y - 40) * np.sin(turn),
        -(x - 40) * np.sin(turn) + (y - 40) * np.cos(turn),
    )
    image = 5e3 * np.exp(-0.5 * ((u / 4) ** 2 + (v / 2) ** 2)) + np.random.default_rng(1).normal(
        0, 1, x.shape
    )
    found = find_sources(image.astype(np.float32), np.ones(x.shape, np.float32))
    assert (found.a[0], found.b[0]) == pytest.approx((4, 2), rel=0.15)  # above the threshold
    assert found.theta[0] == pytest.approx(30, abs=2)


def test_tables_of_sources_hold_errors_on_the_sky():
    image, variance, _, _ = field(1)
    header = {
        "MJD-MID": 60000.0, "EXPTIME": 60.0, "FWHM": 3.0, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 30.0,
        "CRVAL2": 60.0, "CRPIX1": 200.0, "CRPIX2": 200.0, "CD1_1": 0.0, "CD1_2": 2e-4, "CD2_1": -4e-4, "CD2_2": 0.0,
    }  # fmt: skip
    frame = as_handle(
        Image(image, variance, np.zeros(image.shape, np.uint16), header, "electron"), role="calibrated"
    )
    (product,) = measure([frame], Aux(Target("f", kind="field")), CCDSettings())
    table = product.data
    assert table.units["ra_error"] == table.units["dec_error"] == "arcsec"
    assert table.units["x_error"] == table.units["a"] == "pix"
    np.testing.assert_allclose(table["ra_error"], 0.72 * table["y_error"])
    np.testing.assert_allclose(table["dec_error"], 1.44 * table["x_error"])
    assert {"b", "theta"} <= set(table.columns)
    assert CCDObservatory.parts["photometry"][0] == ("table", "sources")


def displaced(sky, degrees, turn):
    ra, dec = deproject(degrees * np.cos(turn), degrees * np.sin(turn), *sky.truth.crval)
    return PlateHint(float(ra), float(dec), sky.hint.scale, sky.hint.radius)


def solver_of(sky, rows=slice(None)):
    ra, dec, mag = (axis[rows] for axis in sky.stars)
    columns = {"source_id": np.arange(len(ra)), "ra": ra, "dec": dec, "mag": mag}
    return CatalogueSolver(MemoryReference(ReferenceStars.build(columns, epoch=2016.0)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("off", [1.2, 1.5, 1.8])
def test_a_frame_that_points_elsewhere_is_solved_over_all_of_it_or_refused(seed, off):
    sky = simulate(seed, n=300)
    hint = displaced(sky, off * sky.hint.radius, 1.0 + seed)
    try:
        found = solver_of(sky).solve(sky.sources, hint=hint, shape=SHAPE, epoch=2016.0)
    except (NoMatch, NotEnoughData):
        assert off > 1.2
        return
    assert sky.away(found.solution.plate).max() < 1.0


def test_a_solution_of_one_half_of_a_frame_is_refused():
    sky = simulate(3, n=400)
    x, _ = sky.truth.to_pixel(*sky.stars[:2])
    half = solver_of(sky, x < 0.4 * SHAPE[1])
    with pytest.raises(NoMatch, match=r"cover \d+ % of the frame's sources"):
        half.solve(sky.sources, hint=sky.hint, shape=SHAPE, epoch=2016.0, highest_rms=None)
