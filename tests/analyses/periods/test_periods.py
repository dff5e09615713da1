"""The search for periods of sources: what is merged, found, stored and drawn."""

import numpy as np
import pytest
from support.sso import lightcurve

from virtualobserver.analyses.periods import Periods
from virtualobserver.analyses.periods.curve import merge
from virtualobserver.data.handles import as_handle
from virtualobserver.data.product import Aux, Target
from virtualobserver.data.timeseries import TimeSeries

AUX = Aux(Target("a star"))


def star(rng, band, *, period=0.61, amplitude=0.2, mean=1000.0, number=80):
    """A sine of `amplitude` (top to bottom, mag) with a period in days."""
    mjd = np.sort(rng.uniform(58000, 58060, number))
    mag = 0.5 * amplitude * np.sin(2 * np.pi * (mjd - 58000) / period)
    error = np.full(number, 0.01 * mean)
    columns = {"mjd": mjd, "flux": mean * 10 ** (-0.4 * mag) + rng.normal(0, error), "flux_error": error}
    return TimeSeries(columns | {"flags": np.zeros(number, np.int64)}, band=band)


def body(name):
    """One light curve a session, in columns as observed: the analysis reduces it."""
    real, parts = lightcurve(name), []
    for number in np.unique(real.session):
        rows = np.flatnonzero(real.session == number)
        rows = rows[np.argsort(real.mjd[rows], kind="stable")]
        flux = 10 ** (-0.4 * (real.observed[rows] - 15))
        columns = {
            "mjd": real.mjd[rows], "flux": flux, "flux_error": 0.02 * flux, "flags": np.zeros(rows.size, np.int64),
            "heliocentric_distance": real.sun[rows], "observer_distance": real.observer[rows],
            "phase_angle": real.phase[rows],
        }  # fmt: skip
        parts.append(as_handle(TimeSeries(columns, band="R", flux_unit="mJy"), role="asteroid"))
    return parts, real


def test_a_star_in_two_bands_has_one_period():
    rng = np.random.default_rng(2)
    curves = [star(rng, "g"), star(rng, "r", mean=3000.0)]
    result = Periods(nyquist=3).apply(curves)
    (event,) = result.detections
    assert event.kind == "period"
    assert event.parameters["period_days"] == pytest.approx(0.61, rel=2e-3)
    assert event.parameters["period_hours"] == pytest.approx(24 * event.parameters["period_days"])
    assert event.parameters["amplitude"] == pytest.approx(0.2, rel=0.1)
    assert event.parameters["fap"] < 1e-20
    phase = (event.peak_mjd - 58000) / 0.61 % 1  # least magnitude
    assert phase == pytest.approx(0.75, abs=0.05)
    assert result.properties["n_epochs"] == 160
    assert result.properties["secure"]


def test_the_periodogram_of_a_sine_says_where_else_the_period_may_be():
    search = Periods(nyquist=3)
    curves = [as_handle(star(np.random.default_rng(2), "g"))]
    light, folded, powers = search.source_panels(curves, AUX, search.settings)["period"]
    best, *others = [mark for mark in powers.marks if mark.x is not None]
    assert 1 / best.x == pytest.approx(0.61, rel=2e-3)
    places = {mark.label: mark.x for mark in others}
    assert places["-1 c/d"] == pytest.approx(best.x - 1)
    assert (places["2"], places.get("1/2")) == (pytest.approx(best.x / 2), None)  # beyond what was searched
    assert all(powers.curves[0].x[0] <= x <= powers.curves[0].x[-1] for x in places.values())
    assert light.fold == pytest.approx(0.61, rel=2e-3)
    assert len(folded.curves[0]) == 2 * 80


@pytest.mark.parametrize("column", ["heliocentric_distance", "observer_distance", "phase_angle"])
@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_epochs_of_a_body_without_a_place_are_left_out_and_counted(column, value):
    curve = star(np.random.default_rng(2), "g")
    columns = {name: np.array(curve[name]) for name in ("mjd", "flux", "flux_error", "flags")}
    columns |= {"heliocentric_distance": np.full(80, 2.3), "observer_distance": np.full(80, 1.5)}
    columns["phase_angle"] = np.full(80, 10.0)
    columns[column][[5, 9]] = value
    aux = Aux(Target("a body"))
    merged = merge([as_handle(TimeSeries(columns, band="g"))], Periods().settings, aux)
    # an angle of 0 is one that can be
    lost = 0 if column == "phase_angle" and value == 0 else 2
    assert len(merged) == 80 - lost
    assert np.isfinite(merged.mag).all()
    assert sum(aux.notes.values()) == lost


def test_times_at_the_telescope_beside_others_are_told():
    rng = np.random.default_rng(2)
    curves = [as_handle(star(rng, "g")), as_handle(star(rng, "r"))]
    aux = Aux(Target("a star"))
    merge(curves, Periods().settings, aux)
    assert not aux.notes
    own = curves[1].load()
    columns = {name: np.array(own[name]) for name in ("mjd", "flux", "flux_error", "flags")}
    columns["bjd_tdb"] = columns["mjd"] + 2400000.5 + 0.003
    merge([curves[0], as_handle(TimeSeries(columns, band="r"))], Periods().settings, aux)
    assert aux.notes == {"epochs with times as at the telescope, beside others freed of the light's way": 80}


def test_one_band_can_be_asked_for():
    rng = np.random.default_rng(2)
    curves = [star(rng, "g"), star(rng, "r")]
    assert Periods(band="r").apply(curves).properties["n_epochs"] == 80
    assert Periods(band="z").apply(curves).properties["n_epochs"] == 0


def test_bad_epochs_are_left_out_and_counted():
    rng = np.random.default_rng(4)
    curve = star(rng, "g")
    flux, flags = np.array(curve.flux), np.array(curve.flags)
    flux[:3], flux[2], flux[3], flags[4] = -5.0, 0.0, np.nan, 2
    aux = Aux(Target("a star"))
    search = Periods(nyquist=3)
    result = search.find([as_handle(curve.with_columns(flux=flux, flags=flags))], aux, search.settings)
    assert result.properties["n_epochs"] == 75
    assert dict(aux.notes) == {
        "epochs with flags": 1, "epochs without positive flux and error, or without a time": 4,
    }  # fmt: skip
    assert result.detections


def test_two_periods_are_two_detections():
    rng = np.random.default_rng(6)
    one = star(rng, "g", number=200)
    second = 0.05 * np.sin(2 * np.pi * one.mjd / 3.3)
    curve = one.with_columns(flux=one.flux * 10 ** (-0.4 * second))
    found = Periods(iterations=2, nyquist=2).apply(curve).detections
    assert sorted(event.parameters["period_days"] for event in found) == [
        pytest.approx(0.61, rel=2e-3), pytest.approx(3.3, rel=5e-3)
    ]  # fmt: skip


@pytest.mark.real
def test_an_asteroid_as_observed_has_the_period_of_the_database():
    parts, real = body("511_Davida")
    search = Periods(method="asteroid", save_processed=True)
    result = search.find(parts, AUX, search.settings)
    (event,) = result.detections
    assert event.parameters["period_hours"] == pytest.approx(real.period, rel=2e-3)
    assert event.parameters["period_days"] == pytest.approx(real.period / 24, rel=2e-3)
    assert event.parameters["grade"] == 3
    assert result.properties["reduced"] == ["heliocentric_distance", "observer_distance", "phase_angle"]
    assert {one["relation"] for one in result.properties["candidates"]} >= {"1/2", "3/2"}
    powers, folded = result.products
    assert powers.data["frequency"][np.argmax(powers.data["power"])] > 0
    assert np.all((folded.data["phase"] >= 0) & (folded.data["phase"] < 1))
    light, folded, powers, facts = search.panels(parts, AUX, search.settings, event)
    assert "P = 5.1" in folded.title
    assert light.fold == pytest.approx(event.parameters["period_days"])
    model = folded.curves[-1]
    off = [curve.y - np.interp(curve.x, model.x, model.y) for curve in folded.curves[:-1]]
    assert np.median(np.abs(np.concatenate(off))) < 0.02
    assert powers.curves[0].x[np.argmax(powers.curves[0].y)] == pytest.approx(24 / real.period, rel=0.01)
    assert ("period_hours", event.parameters["period_hours"], "h") in facts.rows


@pytest.mark.real
def test_light_time_and_distances_are_taken_out():
    parts, real = body("511_Davida")
    merged = merge(parts, Periods().settings)
    order = np.argsort(real.mjd, kind="stable")
    np.testing.assert_allclose(merged.days, real.hours[order] / 24, atol=1e-9)
    for number in range(3):
        ours, theirs = merged.mag[merged.product == number], real.mag[real.session == number]
        assert np.std(ours) == pytest.approx(np.std(theirs), rel=0.02)


def test_sessions_are_nights_where_nights_have_epochs_enough():
    mjd = np.concatenate([58000 + np.linspace(0, 0.2, 20), 58001 + np.linspace(0, 0.2, 20)])
    columns = {
        "mjd": mjd,
        "flux": np.ones(40),
        "flux_error": np.full(40, 0.01),
        "flags": np.zeros(40, np.int64),
    }
    dense = merge([as_handle(TimeSeries(columns))], Periods().settings)
    assert np.bincount(dense.sessions("auto")).tolist() == [20, 20]
    assert np.bincount(dense.sessions("curve")).tolist() == [40]
    sparse = merge([as_handle(star(np.random.default_rng(1), "g", number=30))], Periods().settings)
    assert np.bincount(sparse.sessions("auto")).tolist() == [30]


def test_a_constant_or_short_light_curve_says_why_nothing_is_found():
    short = star(np.random.default_rng(1), "g", number=6)
    assert Periods().apply(short).properties["reason"] == "fewer than 10 good epochs"
