"""Light of simulated LSSS frames: zero points with all their errors, apertures that follow seeing and trails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.lsss import FIELD, aux_of, first_frame

from virtualobserver.config.digest import digest
from virtualobserver.data import as_handle
from virtualobserver.data.handles import MemoryHandle
from virtualobserver.errors import ConfigError
from virtualobserver.maths.images.apertures import measure_trails
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


def tables(frame, **options):
    """Return the tables of the light of a frame as handles."""
    return [as_handle(product) for product in measured(*frame, **options).values()]


def shown(survey, products, **choice):
    """Return the panels of a calibration by what they are, and the rows of the facts by name."""
    *panels, facts = survey.calibration_panels(products, survey.settings, choice)
    return panels, {name: value for name, value, _ in facts.rows}, facts


def curve(panel, label):
    return next(one for one in panel.curves if one.label.startswith(label))


def test_the_picture_of_a_calibration_shows_the_stars_and_the_fit_that_are_stored(frame):
    survey, _ = frame
    products = tables(frame)
    stored = next(one.info.statistics for one in products if one.info.role == "zeropoint")
    (magnitudes, residuals, colours), rows, facts = shown(survey, products)
    assert facts.title == "as stored"
    for name, key in (("zero point", "zero_point"), ("R²", "zero_point_r2"), ("stars", "zero_point_n")):
        assert rows[name] == stored[key]
    used, fit = curve(magnitudes, "used"), curve(magnitudes, "fit")
    assert used.label == f"used: {len(used)}"
    assert len(used) == stored["zero_point_n"]
    np.testing.assert_allclose(fit.x - fit.y, stored["zero_point"])  # of slope 1
    left = curve(residuals, "used").y
    assert np.sqrt(np.mean(left**2)) == pytest.approx(stored["zero_point_rms"], rel=1e-6)
    np.testing.assert_allclose(used.x - used.y - stored["zero_point"], left)
    over = curve(colours, "used")
    assert np.polyfit(over.x, over.y, 1)[0] == pytest.approx(0.1, abs=0.02)
    forced = next(one.load() for one in products if one.info.role == "forced")
    assert sum(value for name, value, unit in facts.rows if unit == "stars") == len(forced) - len(used)
    assert f"R² {stored['zero_point_r2']:.5f}" in magnitudes.title


def test_another_choice_of_stars_shows_what_a_run_with_it_would_store(frame):
    survey, _ = frame
    stored = measured(*frame)["zeropoint"].statistics
    wanted = measured(*frame, SIGM=2.0, MIN_MAG=13.0, MAX_MAG=15.0, MAX_MAGERR=0.02)["zeropoint"].statistics
    choice = {"clip": 2.0, "brightest": 13.0, "faintest": 15.0, "max_mag_error": 0.02}
    (magnitudes, *_), rows, facts = shown(survey, tables(frame), **choice)
    assert wanted["zero_point"] != stored["zero_point"]
    assert (rows["zero point"], rows["R²"]) == (wanted["zero_point"], wanted["zero_point_r2"])
    assert (rows["stored: zero point"], rows["stored: stars"]) == (
        stored["zero_point"],
        stored["zero_point_n"],
    )
    assert facts.title == "another choice, not stored"
    used = curve(magnitudes, "used")
    assert 13 <= used.x.min() < used.x.max() <= 15
    assert rows["too bright"] > 0


def test_a_star_that_is_off_is_shown_as_clipped_and_not_in_the_fit(frame):
    survey, _ = frame
    products = tables(frame)
    number = next(k for k, one in enumerate(products) if one.info.role == "forced")
    before = curve(shown(survey, products)[0][0], "used")
    forced = products[number].load()
    row = int(np.argmin(np.abs(forced["mag"] - before.x[len(before) // 2])))
    brighter = np.where(np.arange(len(forced)) == row, 1.3, 1.0) * forced["flux_seeing"]
    changed = replace(forced, columns={**forced.columns, "flux_seeing": brighter})
    products[number] = MemoryHandle(changed, products[number].info)
    (magnitudes, residuals, _), rows, _ = shown(survey, products)
    (off,) = curve(residuals, "clipped").y
    assert off == pytest.approx(2.5 * np.log10(1.3), abs=0.08)
    assert rows["clipped"] == 1
    assert len(curve(magnitudes, "used")) == len(before) - 1
    assert "clipped" in curve(residuals, "clipped").text[0]


def test_a_choice_without_stars_says_so_and_an_impossible_one_is_refused(frame):
    survey, _ = frame
    (magnitudes,), rows, facts = shown(survey, tables(frame), brightest=3.0, faintest=4.0)
    assert "0 usable stars" in magnitudes.title
    assert "0 usable stars" in facts.note
    assert "zero point" not in rows
    with pytest.raises(ConfigError, match="greater than 0"):
        shown(survey, tables(frame), clip=-1.0)
    assert survey.calibration_panels([], survey.settings, {}) == []
