"""Injected events are what the archive would have given of them, and what is recorded of them is what was put in."""

from __future__ import annotations

import numpy as np
import pytest

from virtualobserver.analyses.transients import Transients
from virtualobserver.data import Target, TimeSeries, as_handle
from virtualobserver.maths.lightcurves.statistics import robust_mean_rms
from virtualobserver.maths.photometry import flux_from_mag, mag_from_flux
from virtualobserver.observatory import Aux
from virtualobserver.simulate import Simulator

AUX = Aux(Target("star"))


def curve(mag=18.0, error=0.05, n=200, *, limit=None, meta=None, start=58000.0, seed=0):
    """A constant star, one epoch a day; `error` is that of its magnitude."""
    rng = np.random.default_rng(seed)
    mean = float(flux_from_mag(mag))
    sigma = mean * error
    flux = mean + sigma * rng.standard_normal(n)
    columns = {
        "mjd": start + np.arange(n, dtype=float),
        "flux": flux,
        "flux_error": np.full(n, sigma),
        "mag": mag_from_flux(flux),
        "mag_error": np.full(n, error),
        "flags": np.zeros(n, dtype=np.int64),
    }
    if limit is not None:
        columns["limiting_mag"] = np.full(n, limit)
    return TimeSeries(columns, band="zr", meta=meta or {})


def dip(share, width=20.0, **more):
    return {
        "kind": "dip", "shape": "box", "amplitude": -share, "amplitude_unit": "relative", "width": width,
        "t_peak": 58100.0, "start_mjd": 58100 - width / 2, "end_mjd": 58100 + width / 2,
    } | more  # fmt: skip


def injected(data, event, **simulate):
    analysis = Transients(simulate=simulate)
    return analysis.inject([as_handle(data)], [event], np.random.default_rng(1))[0].load()


def in_event(data, event):
    return int(((data.mjd >= event["start_mjd"]) & (data.mjd <= event["end_mjd"])).sum())


def test_an_epoch_that_fades_below_its_limiting_magnitude_is_gone():
    event = dip(0.8)
    near, far = curve(20.2, 0.15, limit=20.8), curve(17.0, 0.02, limit=20.8)
    assert in_event(near, event) == 21
    assert in_event(injected(near, event), event) == 0  # 21.9 mag
    assert in_event(injected(far, event), event) == 21  # 18.7 mag
    assert len(injected(near, event)) == len(near) - 21


def test_an_epoch_below_its_limiting_magnitude_that_does_not_fade_stays():
    data = curve(20.9, 0.1, limit=20.8)  # a limit that is wrong by a tenth
    event = dip(0.3)
    changed = injected(data, event)
    outside = len(data) - in_event(data, event)
    assert len(changed) - in_event(changed, event) == outside
    assert len(injected(data, event | {"kind": "flare", "amplitude": 0.5})) == len(data)


def test_without_limiting_magnitudes_the_errors_of_faint_epochs_tell_what_is_lost():
    # 5 errors of 2 % are a tenth of the light
    for share, left in ((0.85, 21), (0.95, 0)):
        event = dip(share)
        assert in_event(injected(curve(error=0.02), event), event) == left
        assert in_event(injected(curve(error=0.02), event, limit_snr=0), event) == 21
    # a star that was seen fainter, with smaller errors, is seen so again
    data = curve(error=0.02)
    flux, error = data.flux.copy(), data.flux_error.copy()
    flux[:20] *= 0.05
    error[:20] *= 0.1
    event = dip(0.93)
    assert in_event(injected(data.with_columns(flux=flux, flux_error=error), event), event) == 21


@pytest.mark.parametrize("flux", ["total", "difference"])
def test_forced_photometry_loses_no_epoch(flux):
    data = curve(20.2, 0.15, limit=20.8, meta={"flux": flux})
    assert len(injected(data, dip(0.8))) == len(data)


@pytest.mark.parametrize("unit", ["sigma", "relative"])
@pytest.mark.parametrize("shape", ["box", "gaussian", "fred"])
def test_no_dip_is_drawn_deeper_than_the_star_and_what_is_recorded_is_put_in(unit, shape):
    analysis = Transients(
        simulate={
            "amplitude": [5, 100],
            "amplitude_unit": unit,
            "dips": 1.0,
            "shapes": [shape],
            "limit_snr": 0,
        }
    )
    products = [as_handle(curve(error=e, start=s, seed=1)) for e, s in ((0.15, 58000.0), (0.03, 58600.0))]
    rngs = [np.random.default_rng(n) for n in range(60)]
    drawn = analysis.draw_many(rngs, products, analysis.settings)
    assert drawn == [analysis.draw(np.random.default_rng(n), products, analysis.settings) for n in range(60)]
    assert {one["kind"] for one in drawn} == {"dip"}
    deepest = 0.0
    for one in drawn:
        for handle, changed in zip(products, analysis.inject(products, [one], rngs[0]), strict=True):
            before = handle.load()
            moments = robust_mean_rms(before.flux)
            scale = moments.rms if unit == "sigma" else moments.mean
            taken = float((before.flux - changed.load().flux).max())
            assert taken <= moments.mean * (1 + 1e-9)
            assert taken <= -one["amplitude"] * scale * (1 + 1e-9)
            deepest = max(deepest, taken / moments.mean)
    assert 0.9 < deepest <= 1 + 1e-9  # a whole eclipse is possible


def test_magnitudes_and_their_errors_follow_the_flux():
    data, event = curve(error=0.02), dip(0.5)
    changed = injected(data, event)
    inside = (data.mjd >= event["start_mjd"]) & (data.mjd <= event["end_mjd"])
    np.testing.assert_allclose(changed["mag"], mag_from_flux(changed.flux))
    ratio = data.flux[inside] / changed.flux[inside]
    np.testing.assert_allclose(changed["mag_error"][inside], 0.02 * ratio)
    np.testing.assert_array_equal(changed["mag_error"][~inside], data["mag_error"][~inside])


def test_a_star_without_scatter_takes_its_errors_as_the_unit():
    data = curve().with_columns(flux=np.full(200, 100.0), flux_error=np.full(200, 2.0))
    changed = injected(data, dip(10.0, amplitude_unit="sigma"))
    assert changed.flux.min() == pytest.approx(80.0)


def test_whether_an_epoch_lies_in_the_event_is_recorded():
    gap = curve(limit=20.8)
    rows = (gap.mjd < 58060) | (gap.mjd > 58140)
    simulate = {"width": [1.0, 1.0], "shapes": ["box"], "amplitude": [12.0, 12.0], "dips": 0.0}
    simulator = Simulator(Transients(simulate=simulate))
    outcomes = simulator.run([as_handle(gap.take(rows))], AUX, range(200))
    for one in outcomes:
        start, end = one.params["start_mjd"], one.params["end_mjd"]
        assert one.covered == bool(((gap.mjd[rows] >= start) & (gap.mjd[rows] <= end)).any())
        assert one.covered or not one.recovered
    assert 0.5 < np.mean([one.covered for one in outcomes]) < 0.7  # 119 of 199 days
    flagged = gap.with_columns(flags=np.ones(200, dtype=np.int64))
    assert not any(one.covered for one in simulator.run([as_handle(flagged)], AUX, range(5)))


def test_an_event_of_which_no_epoch_is_left_is_not_covered():
    simulate = {
        "width": [10.0, 20.0], "shapes": ["box"], "amplitude": [0.8, 0.8], "amplitude_unit": "relative", "dips": 1.0,
    }  # fmt: skip
    simulator = Simulator(Transients(simulate=simulate))
    faint, bright = ([as_handle(curve(mag, 0.1, limit=20.8))] for mag in (20.2, 17.0))
    assert not any(one.covered for one in simulator.run(faint, AUX, range(20)))
    assert all(one.covered for one in simulator.run(bright, AUX, range(20)))
