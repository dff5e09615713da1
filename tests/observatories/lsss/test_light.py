"""Light of simulated LSSS frames: zero points with all their errors, apertures that follow seeing and trails."""

from __future__ import annotations

import numpy as np
import pytest
from support.lsss import FIELD, aux_of, first_frame

from virtualobserver.config.digest import digest
from virtualobserver.data import as_handle
from virtualobserver.maths.images.sources import measure_trails
from virtualobserver.maths.images.zeropoint import fit_zero_point
from virtualobserver.maths.shiftstack.movers import add_movers
from virtualobserver.observatories.lsss import LSSSSettings, VirtualLSSS

FRAME = {"frames": 1, "movers": 40, "rate": (100.0, 1500.0), "mag": (12.5, 15.5), "clouds": 0.0, "stars": 400}


@pytest.fixture(scope="module")
def frame():
    survey = VirtualLSSS(refcat="gaia@dr3", simulation=FRAME)
    return survey, first_frame(survey)


def measured(survey, product, **options):
    """Return the tables of the light of a frame, whose world coordinates are those of its header."""
    plugin = VirtualLSSS(refcat="gaia@dr3", simulation=FRAME, photometry=options)
    made = plugin.refine("photometry", [as_handle(product)], aux_of(survey), plugin.settings)
    return {one.role: one for one in made}


def truth(survey):
    (raw,) = [
        raw for _, raw in survey.simulate_raw([FIELD], np.random.default_rng(1)) if "truth" in raw.header
    ]
    return raw.header["truth"]


def test_the_zero_point_and_colour_term_are_those_of_the_sky(frame):
    numbers = measured(*frame)["zeropoint"].statistics
    electrons = 21.2 + 2.5 * np.log10(1.3)
    assert numbers["reason"] == numbers["flagged"] == ""
    assert numbers["zero_point"] == pytest.approx(electrons, abs=0.03)  # the aperture holds 99 % of the light
    assert numbers["colour_term"] == pytest.approx(0.1, abs=4 * numbers["colour_term_error"])
    assert numbers["zero_point_r2"] > 0.999
    assert numbers["zero_point_n"] > 20


def test_errors_of_magnitudes_hold_the_covariance_of_the_fit():
    rng = np.random.default_rng(2)
    given, sky = [], rng.normal(14, 1, 60)
    colour = rng.gamma(2.0, 0.4, 60)  # skewed: the median is not the middle of the fit
    for _ in range(400):
        flux = 10 ** (-0.4 * (sky + rng.normal(0, 0.05, 60) - 0.3 * colour - 25.0))
        fit = fit_zero_point(
            flux, flux * 1e-4, sky, exptime=1.0, colour=colour, mag_error=np.full(60, 0.05), clip=50.0
        )
        at = fit.colour_pivot + 2.5
        given.append((float(fit.magnitude(1.0, 1.0, at)), float(fit.magnitude_error(1.0, 0.0, at))))
        alone = fit.zero_point_error**2 + 2.5**2 * fit.colour_term_error**2
    values, errors = np.array(given).T
    assert np.median(errors) == pytest.approx(np.std(values), rel=0.1)
    assert np.sqrt(alone) > 1.03 * np.std(values)  # without covariance


def test_catalogue_errors_are_weighed(frame):
    survey, product = frame
    plugin = VirtualLSSS(refcat="gaia@dr3", simulation=FRAME)
    numbers = [
        plugin.refine("photometry", [as_handle(product)], aux_of(survey, mag_error=error), plugin.settings)[2]
        for error in (0.001, 0.05)
    ]
    few, many = (one.statistics for one in numbers)
    assert many["zero_point_chi2"] < 0.5 * few["zero_point_chi2"]
    assert many["zero_point_error"] > few["zero_point_error"]


def test_a_frame_below_r2_is_flagged_and_keeps_its_magnitudes(frame):
    made = measured(*frame, r2=1.0)
    assert "explains 0.99" in made["zeropoint"].statistics["flagged"]
    assert made["sources"].data.meta["flagged"] == made["zeropoint"].statistics["flagged"]
    assert np.isfinite(made["sources"].data["mag"]).any()


def test_a_frame_without_zero_point_has_no_magnitudes_and_says_why(frame):
    made = measured(*frame, MIN_MAG=3.0, MAX_MAG=4.0)
    table = made["sources"].data
    assert np.isnan(table["mag"]).all()
    assert np.isnan(table["mag_error"]).all()
    assert "0 usable stars" in table.meta["uncalibrated"]


def test_magnitudes_of_movers_are_right_also_where_they_are_trails(frame):
    survey, product = frame
    table = measured(survey, product)["sources"].data
    pulls, drawn, plain = [], 0, []
    for mover in truth(survey):
        away = np.hypot(table["x"] - mover["x"], table["y"] - mover["y"])
        row = int(np.argmin(away))
        if away[row] > 1 or table["near_star"][row] or table["flags"][row] or table["blended"][row]:
            continue
        pulls.append(table["mag"][row] - mover["mag"])
        length = mover["rate"] / 60 / 2.226
        if length > 1.5 * 2.3:
            drawn += table["trail"][row] > 0
            plain.append(table["trail"][row] / length)
    assert len(pulls) > 15
    assert np.median(pulls) == pytest.approx(0.0, abs=0.03)
    assert np.percentile(np.abs(pulls), 80) < 0.08
    assert drawn == len(plain) > 3
    assert np.median(plain) == pytest.approx(1.0, abs=0.2)


def test_an_aperture_along_a_trail_holds_its_light_and_a_circle_does_not():
    scene = add_movers(
        np.zeros((1, 60, 80)), [[40.0]], [[30.0]], [[1e4]], sigma=1.0, trail=([[12.0]], [[9.0]])
    )[0]
    options = {"radius": 3.0, "annulus": (20.0, 28.0)}
    variance = np.ones_like(scene)
    along = measure_trails(scene, variance, [40.0], [30.0], length=[15.0], theta=[36.87], **options)
    round_ = measure_trails(scene, variance, [40.0], [30.0], **options)
    assert along.flux[0] == pytest.approx(1e4, rel=0.02)
    assert round_.flux[0] < 0.5e4


def test_sources_near_a_star_of_the_catalogue_are_flagged(frame):
    survey, product = frame
    made = measured(survey, product)
    table, stars = made["sources"].data, made["forced"].data
    gap = np.hypot(
        *(np.stack([table["x"], table["y"]])[:, :, None] - np.stack([stars["x"], stars["y"]])[:, None])
    )
    own = table["source_id"][:, None] == stars["source_id"][None]
    near = ((gap < 3 * product.data.header["FWHM"]) & ~own).any(axis=1)
    np.testing.assert_array_equal(table["near_star"], near)
    assert near.any()


@pytest.mark.parametrize("change", [{"SIGM": 2.5}, {"MAX_MAG": 15.0}, {"MIN_MAG": 13.0}, {"R2": 0.9}])
def test_a_changed_clip_or_range_redoes_the_light_and_not_the_world_coordinates(change):
    before, after = LSSSSettings(), LSSSSettings(photometry=change)
    for step in ("fetch", "calibrate", "reduce.frames", "reduce.solve"):
        assert digest(step, "lsss", "1", before) == digest(step, "lsss", "1", after)
    step = "reduce.photometry"
    assert digest(step, "lsss", "1", before) != digest(step, "lsss", "1", after)
