"""Pulses of stars, spots and what speaks against them: found, named, told apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from virtualobserver.analyses.driftscan import Driftscan
from virtualobserver.analyses.driftscan.panels import event_panels
from virtualobserver.conventions import FLAG_COSMIC_RAY, FLAG_SATURATED, FLAG_UNCONFIRMED, MASK_BAD
from virtualobserver.data import Product, Table, Target, as_handle
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.trails.bank import Template, spread
from virtualobserver.maths.trails.flashes import flash_map
from virtualobserver.maths.trails.spots import SPOT_COLUMNS, Hosts
from virtualobserver.maths.trails.track import TrackModel
from virtualobserver.observatory import Aux

AUX = Aux(Target("field"))
SPEED, SIGMA, SAMPLES, MEAN, ERROR = 1.9, 1.7, 32, 4000.0, 200.0


def samples(n=60, *, events=(), seed=1, **columns):
    """Return the samples of steady stars of 5 % errors; events are (star, t0, duration, amplitude)."""
    rng = np.random.default_rng(seed)
    star = np.repeat(np.arange(n), SAMPLES)
    time = 1.5 + (np.tile(np.arange(SAMPLES), n) + rng.uniform(0, 1, n)[star]) / SPEED
    light = np.ones(len(star))
    for number, t0, duration, amplitude in events:
        line = spread(Template("tophat", duration), step=1 / SPEED, sigma=SIGMA / SPEED, reach=60, per_step=8)
        own = star == number
        light[own] += amplitude * np.interp((time[own] - t0) * SPEED, np.arange(-480, 481) / 8, line)
    trend = 1 + 0.05 * np.sin(time)
    flux = MEAN * trend * light + ERROR * rng.normal(size=len(star))
    made = {
        "star_id": star + 5000, "trail": star, "mjd": 59559.1 + time / 86400, "time": time, "flux": flux,
        "flux_error": np.full(len(star), ERROR), "sky": np.zeros(len(star)), "flags": np.zeros(len(star), np.int64),
        "phase": np.zeros(len(star)), "flat": np.ones(len(star), bool), "trend": trend,
        "relative": flux / (MEAN * trend),
        "relative_error": ERROR / (MEAN * trend), "x": 300 + SPEED * time + 20 * (star % 40), "y": 100.0 + 9 * star,
        "ra": 92.0 + star / 100, "dec": np.full(len(star), -70.7), "mag": 17.0 + star / 50,
    }  # fmt: skip
    meta = {"ccd": "N24", "exptime": 20.0, "mjd_start": 59559.1, "speed": SPEED, "sigma": SIGMA, "band": "VR"}
    return Table(made | {name: make(star, time) for name, make in columns.items()}, meta=meta)


def spots(**columns):
    """Return a table of a flash on the trail of a star, a cosmic ray and a satellite."""
    n = 14
    usual = {
        "x": np.r_[400.0, 600.0, 100 + 30.0 * np.arange(12)], "y": np.r_[200.0, 300.0, 500 + 20.0 * np.arange(12)],
        "ra": np.full(n, 92.5), "dec": np.full(n, -70.6), "flux": np.full(n, 6e3), "flux_error": np.full(n, 150.0),
        "snr": np.full(n, 40.0), "elongation": np.r_[1.04, 3.0, np.full(12, 6.0)],
        "sharpness": np.r_[1.0, 9.0, np.full(12, 0.7)],
        "angle": np.r_[0.0, 40, np.full(12, 34.0)], "width": np.r_[1.0, 0.3, np.full(12, 1.0)],
        "host": np.r_[5003, -1, np.full(12, -1)], "host_time": np.r_[7.5, np.nan, np.full(12, np.nan)],
        "segment_x": np.full(n, 362.0), "segment_y": np.full(n, 200.0),
    }  # fmt: skip
    meta = {
        "ccd": "N24",
        "exptime": 20.0,
        "mjd_start": 59559.1,
        "speed": SPEED,
        "sigma": SIGMA,
        "angle": 0.14,
    }
    units = {name: unit for name, unit in SPOT_COLUMNS.items() if unit and name in usual}
    return Table(usual | columns, units, meta)


def found(*tables, **options):
    analysis = Driftscan(**options)
    handles = [as_handle(Product(one, role="spots" if "sharpness" in one else "detrended")) for one in tables]
    return analysis.find(handles, AUX, analysis.settings)


def stars(result):
    return [event for event in result.detections if event.kind in {"pulse", "dip"}]


def test_a_pulse_has_its_star_time_strength_and_control():
    result = found(samples(events=[(7, 9.0, 1.0, 1.2)]))
    (event,) = result.detections
    facts = event.parameters
    assert (event.kind, event.source, facts["star_id"]) == ("pulse", "field_5007", 5007)
    assert [one.target.name for one in result.sources] == ["field_5007"]
    assert (result.sources[0].target.ra, result.sources[0].target.mag) == (92.07, 17.14)
    assert facts["mag"] == pytest.approx(17.14)
    assert facts["time"] == pytest.approx(9.0, abs=0.3)
    assert event.peak_mjd == pytest.approx(59559.1 + facts["time"] / 86400, abs=1e-7)
    assert facts["fluence"] == pytest.approx(1.2, rel=0.3)
    assert event.snr > 10 > 4 > facts["control"]
    assert facts["p_global"] < 1e-10
    assert (facts["class"], facts["reasons"], facts["coincident"], event.quality) == ("candidate", [], 0, 0)
    assert result.properties["threshold"] == pytest.approx(4.5, abs=0.2)
    assert result.properties["n_searched"] == 60


def test_dips_are_found_and_can_be_left_out():
    table = samples(events=[(3, 12.0, 0.8, -0.95)])
    (event,) = found(table).detections
    assert (event.kind, event.snr < -5, event.parameters["amplitude"] < 0) == ("dip", True, True)
    assert found(table, dips=False).detections == () or not found(table, dips=False).detections


def test_a_dip_deeper_than_its_star_is_none_of_it():
    both = stars(found(samples(events=[(3, 12.0, 2.0, -1.0), (40, 7.0, 2.0, -2.0)])))
    assert {event.parameters["star_id"]: event.parameters["reasons"] for event in both} == {
        5003: [],
        5040: ["deeper"],
    }
    assert {event.parameters["class"] for event in both} == {"candidate", "doubtful"}


def test_two_stars_at_once_are_both_kept_and_many_are_what_all_do():
    two = stars(found(samples(events=[(7, 9.0, 1.0, 1.2), (30, 9.1, 1.0, 1.2), (40, 14.0, 1.0, 1.2)])))
    assert {event.parameters["star_id"]: event.parameters["coincident"] for event in two} == {
        5007: 1,
        5030: 1,
        5040: 0,
    }
    assert all(event.parameters["class"] == "candidate" for event in two)
    many = stars(found(samples(events=[(k, 9.0, 1.0, 1.0) for k in range(20)])))
    assert len(many) >= 18
    assert all("common" in event.parameters["reasons"] for event in many)
    assert {event.quality for event in many} == {FLAG_UNCONFIRMED}
    faint = stars(found(samples(events=[(0, 9.0, 1.0, 1.2), *((k, 9.0, 1.0, 0.35) for k in range(1, 50))])))
    assert all("common" in event.parameters["reasons"] for event in faint)


def moved(star, time):
    return np.where((star == 7) & (np.abs(time - 9) < 1.2), 1.0, 0.0)


@pytest.mark.parametrize(
    ("reason", "columns", "options"),
    [
        ("saturated", {"flags": lambda s, t: np.where((s == 7) & (t < 3), FLAG_SATURATED, 0)}, {}),
        ("masked", {"flags": lambda s, t: np.where((s == 7) & (np.abs(t - 9.8) < 0.3), FLAG_COSMIC_RAY, 0)}, {}),
        ("shift", {"shift": moved, "shift_error": lambda s, t: np.full(len(s), 0.2)}, {}),
        ("width", {"width": moved, "width_error": lambda s, t: np.full(len(s), 0.2)}, {}),
        ("neighbour", {"isolation": lambda s, t: np.full(len(s), 6.0)}, {}),
        ("amplifier", {}, {"amplifier_edge": 300 + SPEED * 9 + 140}),
    ],
)  # fmt: skip
def test_what_speaks_against_a_pulse_is_named_and_it_is_kept(reason, columns, options):
    (event,) = stars(found(samples(events=[(7, 9.0, 1.0, 1.5)], **columns), **options))
    assert event.parameters["reasons"] == [reason]
    assert event.parameters["class"] == "doubtful"


def test_a_neighbour_of_which_a_third_is_less_than_the_pulse_is_no_reason():
    beside = samples(events=[(7, 9.0, 1.0, 1.5)], isolation=lambda s, t: np.full(len(s), 0.9))
    (event,) = stars(found(beside))
    assert event.parameters["class"] == "candidate"


def test_one_sample_alone_is_no_pulse_of_a_star():
    table = samples()
    relative = table["relative"].copy()
    relative[7 * SAMPLES + 15] += 1.0
    (event,) = stars(found(table.with_columns(relative=relative)))
    assert {"spike", "noisy"} <= set(event.parameters["reasons"])


def test_spots_are_told_and_a_satellite_speaks_against_pulses_under_it():
    # star 47 is at y = 523 when the satellite's line is there
    table = samples(events=[(47, 9.0, 1.0, 1.5)], x=lambda s, t: 134.5 + SPEED * (t - 9.0), seed=2)
    result = found(table, spots())
    (flash,) = [event for event in result.detections if event.kind == "flash"]
    assert flash.parameters["host"] == 5003
    assert flash.peak_mjd == pytest.approx(59559.1 + 7.5 / 86400)
    assert flash.parameters["segment"] == [362.0, 200.0]
    assert (flash.ra, flash.parameters["probabilities"]["flash"] > 0.5) == (92.5, True)
    (facts,) = event_panels(flash, [])
    shown = {name: unit for name, _, unit in facts.rows}
    assert (shown["x"], shown["width"], shown["flux"], shown["host_time"]) == ("pix", "", "electron", "s")
    assert result.properties["spots"]["streak"] == 12
    assert result.properties["spots"]["cosmic_ray"] == 1
    (pulse,) = stars(result)
    assert "streak" in pulse.parameters["reasons"]
    kept = found(spots(), spots=["cosmic_ray"]).detections
    assert [event.kind for event in kept] == ["cosmic_ray"]
    assert not {"lensing", "microlensing"} & {event.kind for event in result.detections}


def test_spots_of_one_trail_are_one_detection():
    length, angle = SPEED * 20.0, np.radians(0.14)
    # three parts of one trail, one of a trail below it, one too far along to be of the same
    along, across = np.array([0.0, 9.0, 20.0, 5.0, 20 + 1.2 * length]), np.array([0.0, 0.6, -0.5, 9.0, 0.0])
    n = len(along)
    table = spots()
    table = Table(
        {name: np.resize(values[:1], n) for name, values in table.columns.items()}
        | {
            "x": 300 + along * np.cos(angle) - across * np.sin(angle), "elongation": np.full(n, 4.0),
            "y": 200 + along * np.sin(angle) + across * np.cos(angle), "snr": np.array([40.0, 90.0, 50.0, 45.0, 30.0]),
            "host": np.full(n, -1), "host_time": np.full(n, np.nan), "angle": np.full(n, 0.14),
        },
        table.units,
        table.meta,
    )  # fmt: skip
    events = {round(event.snr): event for event in found(table).detections}
    assert {event.kind for event in events.values()} == {"partial_trail"}
    assert {snr: event.parameters["n_spots"] for snr, event in events.items()} == {90: 3, 45: 1, 30: 1}
    assert found(table).properties["spots"]["partial_trail"] == n


def test_an_injected_pulse_changes_the_flux_and_what_is_relative():
    analysis = Driftscan(simulate={"snr": [15, 15], "duration": [1, 1], "dips": 0.0, "shapes": ["tophat"]})
    quiet = [as_handle(Product(samples(), role="detrended"))]
    event = analysis.draw(np.random.default_rng(4), quiet, analysis.settings)
    assert event["ideal_snr"] == pytest.approx(15)
    assert event["exposure"] == pytest.approx(60 * SAMPLES / SPEED / 3600)
    (loud,) = analysis.inject(quiet, [event], np.random.default_rng(5))
    before, after = quiet[0].load(), loud.load()
    added = after["flux"] - before["flux"]
    own = before["trail"] == event["trail"]
    assert np.abs(added[~own]).max() == 0
    assert added[own].sum() / SPEED == pytest.approx(event["amplitude"] * MEAN, rel=0.15)
    # relative to the mean with the event in it
    assert np.mean(after["relative"][own]) == pytest.approx(np.mean(before["relative"][own]), abs=0.01)
    assert (after["flux_error"][own] >= before["flux_error"][own]).all()
    assert analysis.covered(event, [loud])
    hidden = after.with_columns(flat=after["flat"] & ~(own & (np.abs(after["time"] - event["t0"]) < 2)))
    assert not analysis.covered(event, [as_handle(Product(hidden, role="detrended"))])
    hits = [
        one
        for one in analysis.find([loud], AUX, analysis.settings).detections
        if analysis.recovered(event, one)
    ]
    assert len(hits) == 1
    assert abs(hits[0].snr) > 9
    other = {**event, "trail": event["trail"] + 1}
    assert not analysis.recovered(other, hits[0])


def chip_with_map():
    """Return the spots of a chip half of which is masked, with the trail of one bright star across its upper right."""
    track = TrackModel(SPEED, 20.0, 1.0)
    mask = np.zeros((2000, 1000), np.int16)
    mask[:1000] = MASK_BAD
    hosts = Hosts(np.array([5003]), np.array([620.0]), np.array([1500.0]), np.array([2e4]))
    told = flash_map(np.full(mask.shape, 470.0), mask, sigma=SIGMA, track=track, hosts=hosts)
    plain = {
        name: [None if np.isnan(one) else one for one in values.tolist()] for name, values in told.items()
    }
    about = {"scale": 0.2633, "shape": list(mask.shape), "threshold": 6.0, "beta": 3.5, "seeing": 1.05}
    table = spots(host_share=np.full(14, np.nan))
    return Table(table.columns, table.units, {**table.meta, "flash_map": plain, **about})


def test_a_flash_is_put_where_it_can_be_seen_and_told_again():
    analysis = Driftscan(simulate={"flashes": 1.0, "fluence": [1e4, 2e4]})
    quiet = [as_handle(Product(chip_with_map(), role="spots"))]
    drawn = analysis.draw_many(np.random.default_rng(4).spawn(60), quiet, analysis.settings)
    assert {event["kind"] for event in drawn} == {"flash"}
    light = np.log([event["fluence"] for event in drawn])
    assert (light.min() > np.log(1e4), light.max() < np.log(2e4)) == (True, True)
    assert np.mean(light) == pytest.approx(np.log(1.414e4), abs=0.1)
    # 2000 x 1000 pixels of 0.2633 arcsec for 20 s
    assert drawn[0]["exposure"] == pytest.approx(2e6 * (0.2633 / 3600) ** 2 * 20 / 3600)
    seen = [event for event in drawn if analysis.covered(event, quiet)]
    assert all(event["y"] > 990 for event in seen)
    assert 18 <= len(seen) <= 42
    found = 0
    for number, event in enumerate(seen):
        loud = analysis.inject(quiet, [event], np.random.default_rng(number))
        table = loud[0].load()
        assert len(table) == len(quiet[0].load()) + 1
        assert (np.diff(table["snr"]) <= 0).all()
        events = analysis.find(loud, AUX, analysis.settings).detections
        hits = [one for one in events if analysis.recovered(event, one)]
        found += len(hits)
        assert all(one.parameters["flux"] == pytest.approx(0.81 * event["fluence"], rel=0.1) for one in hits)
        assert all(not analysis.recovered(event | {"x": event["x"] + 5}, one) for one in hits)
        assert all(not analysis.recovered(event | {"product": 1}, one) for one in hits)
    assert found >= 0.9 * len(seen)
    hidden = next(event for event in drawn if event not in seen)
    assert len(analysis.inject(quiet, [hidden], np.random.default_rng(1))[0].load()) == len(spots())


def test_both_meanings_of_the_place_of_a_flash_are_kept():
    analysis, table = Driftscan(), chip_with_map()
    told = table.meta["flash_map"]
    place = int(np.argmin(np.hypot(np.array(told["x"]) - 640, np.array(told["y"]) - 1500)))
    for name, value in {
        "host": 5003,
        "host_time": 10.5,
        "host_offset": 0.3,
        "host_share": 0.5,
        "n_hosts": 1,
    }.items():
        told[name][place] = value
    quiet = [as_handle(Product(Table(table.columns, table.units, table.meta), role="spots"))]
    drawn = analysis.draw_many(np.random.default_rng(4).spawn(2000), quiet, analysis.settings)
    on = next(event for event in drawn if event["place"] == place)
    assert (on["on"], on["host"], on["t0"]) == ("trail", 5003, 10.5)
    assert on["t_peak"] == pytest.approx(59559.1 + 10.5 / 86400)
    off = next(event for event in drawn if event["on"] == "sky")
    assert ("host" in off, 0 < off["t0"] < 20) == (False, True)
    (loud,) = analysis.inject(quiet, [on | {"fluence": 2e4}], np.random.default_rng(1))
    events = analysis.find([loud], AUX, analysis.settings).detections
    (event,) = [one for one in events if analysis.recovered(on, one)]
    assert (event.parameters["host"], event.parameters["host_time"]) == (5003, 10.5)
    x = event.parameters["segment"][0]
    assert event.parameters["x"] - x == pytest.approx(SPEED * 20, abs=1e-3)
    # of a star that is a hundred times brighter the model leaves as much: that is told as such, and not recovered
    told["host_share"][place] = 1e-4
    faint = [as_handle(Product(Table(table.columns, table.units, table.meta), role="spots"))]
    (loud,) = analysis.inject(faint, [on | {"fluence": 2e4}], np.random.default_rng(1))
    assert not any(
        analysis.recovered(on, one) for one in analysis.find([loud], AUX, analysis.settings).detections
    )


def test_flashes_are_drawn_where_spots_say_what_they_look_like():
    both = [as_handle(Product(one, role=role)) for one, role in (
        (samples(), "detrended"), (chip_with_map(), "spots"))]  # fmt: skip
    plain = [
        as_handle(Product(one, role=role)) for one, role in ((samples(), "detrended"), (spots(), "spots"))
    ]

    def kinds(products, **own):
        analysis = Driftscan(simulate=own)
        drawn = analysis.draw_many(np.random.default_rng(4).spawn(200), products, analysis.settings)
        return [event["kind"] for event in drawn].count("flash") / 200

    assert kinds(both, flashes=0.25) == pytest.approx(0.25, abs=0.1)
    assert kinds(both, flashes=0.0) == kinds(plain, flashes=0.5) == 0
    assert kinds(both[1:], flashes=0.25) == 1


def test_panels_show_the_star_and_the_statistics():
    flat = {"shift": np.zeros(60 * SAMPLES), "shift_error": np.full(60 * SAMPLES, 0.2)}
    drawn = samples(events=[(7, 9.0, 1.0, 1.2)]).with_columns(**flat)
    table = as_handle(Product(drawn, role="detrended"))
    analysis = Driftscan()
    (event,) = analysis.find([table], AUX, analysis.settings).detections
    star, strength, across, common, everyone, facts = analysis.panels([table], AUX, analysis.settings, event)
    assert star.x.label == common.x.label == "time since the shutter opened (s)"
    sure = replace(event, parameters=event.parameters | {"p_trail": 0.0, "p_global": 2e-9})
    told = {name: value for name, value, _ in analysis.panels([table], AUX, analysis.settings, sure)[-1].rows}
    assert told["p_trail"] == "< 1e-300", "a chance of nothing does not exist"
    assert told["p_global"] == 2e-9
    assert star.title.startswith("pulse, S/N")
    others, above, below, measured, form = star.curves
    assert np.all((below.y < others.y) & (others.y < above.y))
    assert np.abs(others.y - 1).max() < 0.06  # what they are at the time of the event is no event
    anything, own = strength.curves
    assert np.nanmax(own.y) == pytest.approx(event.snr, rel=1e-6) == np.nanmax(anything.y)
    assert own.x[np.nanargmax(own.y)] == pytest.approx(event.parameters["time"], abs=0.3)
    assert across.title == "place across the trail"
    assert np.ptp(form.y) > 0.2
    assert form.x[np.argmax(form.y)] == pytest.approx(star.marks[0].x, abs=0.6)
    # the form runs through the samples
    good = ~measured.flags
    misfit = measured.y[good] - np.interp(measured.x[good], form.x, form.y)
    assert np.mean((misfit / measured.y_error[good]) ** 2) < 2
    assert [curve.label for curve in everyone.curves] == ["pulses", "dips", "noise"]
    assert everyone.marks[0].x == abs(event.snr)
    assert facts.title == "detection"
    units = {name: unit for name, _, unit in facts.rows}
    assert not {"mag", "ccd"} & set(units)  # the title has them
    assert (units["time"], units["time_error"], units["fluence"], units["trail"]) == ("s", "s", "s", "")
    overview = analysis.source_panels([table], AUX, analysis.settings)["statistics"]
    assert [curve.label for curve in overview[0].curves] == ["pulses", "dips", "noise"]
    assert analysis.source_panels([], AUX, analysis.settings) == {}


def test_tables_that_lack_something_say_what():
    columns = {name: values for name, values in samples(2).columns.items() if name != "trend"}
    with pytest.raises(DataError, match="lacks trend, sigma"):
        found(Table(columns, meta={"speed": 1.9}))
    with pytest.raises(DataError, match="lacks snr"):
        found(
            Table(
                {name: values for name, values in spots().columns.items() if name != "snr"}, meta=spots().meta
            )
        )
    none = as_handle(Product(samples(2).with_columns(flat=np.zeros(2 * SAMPLES, bool)), role="detrended"))
    with pytest.raises(NotEnoughData, match="nothing can be injected"):
        Driftscan().draw(np.random.default_rng(1), [none], Driftscan().settings)
    aux = Aux(Target("field"))
    assert not Driftscan().find([none], aux, Driftscan().settings).detections
    assert aux.notes == {"trails with too few good samples to be searched": 2}
