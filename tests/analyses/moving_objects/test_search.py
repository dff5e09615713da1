"""The analysis of moving objects on made-up nights: sources, detections, products, injections, figures."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from virtualobserver.analyses.moving_objects import MovingObjects
from virtualobserver.analyses.moving_objects.night import load_night
from virtualobserver.analyses.moving_objects.sights import middle_mjd
from virtualobserver.data import Image, Table, Target, as_handle
from virtualobserver.errors import BadKeyword, DataError
from virtualobserver.maths.completeness import fit_completeness
from virtualobserver.maths.shiftstack.movers import add_movers
from virtualobserver.observatory import Aux
from virtualobserver.simulate import Simulator, outcome_table

AUX = Aux(Target("field", ra=75.0, dec=-65.0, kind="field"))
SCALE = 2.0  # arcsec per pixel
SIGMA = 1.3
MOVER = (40.3, 50.6, 130.0, -80.0)  # pixels at the first image, px/d


def header(number, n, shift=(0, 0), span=0.2):
    return {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 75.0, "CRVAL2": -65.0, "CRPIX1": 50.5 + shift[0],
        "CRPIX2": 45.5 + shift[1], "CDELT1": -SCALE / 3600, "CDELT2": SCALE / 3600, "CUNIT1": "deg", "CUNIT2": "deg",
        "MJD-MID": 60100.0 + span * number / (n - 1), "EXPTIME": 60.0, "FWHM": SIGMA * 2.3548, "MAGZP": 25.0,
        "FILTER": "R",
    }  # fmt: skip


def night(n=12, *, flux=0.0, role="difference", seed=0, stars=False, drift=(0, 0), unit="electron"):
    """Handles to images of noise (sigma 2), one mover of `flux`, and stars if asked for."""
    rng = np.random.default_rng(seed)
    tau = np.linspace(0, 0.2, n)
    handles = []
    places = rng.uniform(5, 85, (25, 2))
    for i in range(n):
        dx, dy = round(drift[0] * i / (n - 1)), round(drift[1] * i / (n - 1))
        sky = np.zeros((1, 90, 100), np.float32)
        x, y, vx, vy = MOVER
        sky = add_movers(sky, [[x + vx * tau[i] + dx]], [[y + vy * tau[i] + dy]], [[flux]], sigma=SIGMA)
        if stars:
            at = [(places[:, k] + d)[:, None] for k, d in ((0, dx), (1, dy))]
            sky = add_movers(sky, *at, np.full((25, 1), 3000.0), sigma=SIGMA)
        data = sky[0] + rng.normal(0, 2, (90, 100)).astype(np.float32) + 100 * stars
        mask = np.zeros((90, 100), np.uint8)
        mask[10 + dy, 20 + dx] = 1
        image = Image(data, np.full((90, 100), 4.0, np.float32), mask, header(i, n, (dx, dy)), unit)
        handles.append(as_handle(image, role=role))
    return handles


def search(**options):
    return MovingObjects(stack={"rate": [1.0, 20.0], "min_epochs": 6} | options)


def test_a_mover_becomes_one_source_with_a_detection_per_epoch():
    analysis = search()
    result = analysis.find(night(flux=60.0), AUX, analysis.settings)
    assert len(result.sources) == 1
    target = result.sources[0].target
    assert target.kind == "moving"
    assert target.name.startswith("M60100.0")
    assert len(result.detections) == 12
    assert {event.source for event in result.detections} == {target.name}
    assert {event.kind for event in result.detections} == {"mover"}
    assert [event.product for event in result.detections] == list(range(12))
    assert [event.peak_mjd for event in result.detections] == sorted(
        event.peak_mjd for event in result.detections
    )
    facts = result.detections[0].parameters
    assert facts["rate"] == pytest.approx(
        np.hypot(130, 80) * SCALE / 24, abs=3 * facts["vx_error"] * SCALE / 24
    )
    # east is left: +x is west; -y is south
    assert facts["pa"] == pytest.approx(270 - np.degrees(np.arctan2(80, 130)), abs=2)
    assert result.properties["n_movers"] == 1
    assert result.properties["n_false_inverted"] == result.properties["n_false_shuffled"] == 0
    assert result.properties["area"] == pytest.approx(9000 * (SCALE / 3600) ** 2, rel=1e-3)


def test_positions_and_fluxes_are_those_put_in():
    analysis = search()
    handles = night(flux=60.0)
    result = analysis.find(handles, AUX, analysis.settings)
    wcs = handles[0].load().wcs
    for i, event in enumerate(result.detections):
        t = 0.2 * i / 11
        x, y = wcs.all_world2pix(event.ra, event.dec, 0)
        assert (
            np.hypot(x - 40.3 - 130 * t, y - 50.6 + 80 * t) * SCALE < 4 * event.parameters["position_error"]
        )
    curve = next(p for p in result.products if p.container_kind == "lightcurve").data
    assert curve.flux_unit == "uJy"
    expected = 60.0 * 10 ** (0.4 * (23.9 - 25.0))
    pull = (curve.flux - expected) / curve.flux_error
    assert abs(pull.mean()) < 1.0
    assert np.abs(pull).max() < 4.5
    stamp = next(p for p in result.products if p.container_kind == "image")
    assert (stamp.role, stamp.data.data.shape) == ("stamp", (21, 21))
    assert np.unravel_index(stamp.data.data.argmax(), (21, 21)) == pytest.approx((10, 10), abs=1)
    assert stamp.target.name == result.sources[0].target.name


def test_calibrated_images_with_stars_and_drift_are_aligned_and_cleaned():
    analysis = search()
    result = analysis.find(
        night(flux=80.0, role="calibrated", stars=True, drift=(15, -9)), AUX, analysis.settings
    )
    assert len(result.sources) == 1
    facts = result.detections[0].parameters
    assert (facts["x0"], facts["y0"]) == (pytest.approx(40.3, abs=0.6), pytest.approx(50.6, abs=0.6))
    assert (facts["vx"], facts["vy"]) == (pytest.approx(130, abs=8), pytest.approx(-80, abs=8))


def test_a_sky_that_is_brighter_at_the_edges_of_the_detector_makes_no_movers():
    """Under drift it moves against the stars, which no template of the stars takes away."""
    y, x = np.mgrid[0:90, 0:100]
    glow = 6 * np.exp(-x / 12) + 8 * np.exp(-(89 - y) / 15) + 40 * (np.minimum(x, 89 - y) < 2)
    handles = []
    for handle in night(n=16, role="calibrated", stars=True, drift=(30, -25), seed=4):
        image = handle.load()
        handles.append(
            as_handle(replace(image, data=(image.data + glow).astype(np.float32)), role="calibrated")
        )
    flat = MovingObjects(
        stack={"rate": [1.0, 25.0], "min_epochs": 8, "controls": False}, background_box=0, edge=0, star_grow=0
    )
    assert flat.find(handles, AUX, flat.settings).properties["n_movers"] > 0
    analysis = MovingObjects(
        stack={"rate": [1.0, 25.0], "min_epochs": 8, "controls": False}, background_box=16
    )
    assert analysis.find(handles, AUX, analysis.settings).properties["n_movers"] == 0


def test_differences_are_taken_before_calibrated_images():
    analysis = search()
    mixed = night(role="calibrated", seed=1) + night(flux=60.0)
    result = analysis.find(mixed, AUX, analysis.settings)
    assert len(result.sources) == 1
    assert {event.product for event in result.detections} == set(range(12, 24))


def test_order_of_the_images_does_not_matter_and_nothing_is_changed():
    analysis = search()
    handles = night(flux=60.0)
    before = [handle.load().data.copy() for handle in handles]
    first = analysis.find(handles, AUX, analysis.settings)
    again = analysis.find(handles[::-1], AUX, analysis.settings)
    for handle, data in zip(handles, before, strict=True):
        np.testing.assert_array_equal(handle.load().data, data)
    assert [e.parameters for e in first.detections] == [e.parameters for e in again.detections]
    assert [e.product for e in again.detections] == list(range(11, -1, -1))


def test_noise_gives_few_false_alarms():
    analysis = search(controls=False)
    found = sum(len(analysis.find(night(seed=seed), AUX, analysis.settings).sources) for seed in range(20))
    assert found <= 2


def test_too_few_images_or_none_with_data_are_an_empty_result():
    analysis = search()
    few = analysis.find(night()[:5], AUX, analysis.settings)
    assert (few.sources, few.properties) == ((), {"n_images": 5, "n_movers": 0})
    blind = [
        as_handle(replace(h.load(), mask=np.ones((90, 100), np.uint8)), role="difference") for h in night()
    ]
    assert analysis.find(blind, AUX, analysis.settings).properties["n_movers"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"FWHM": None}, "FWHM"),
        ({"MJD-MID": None, "EXPTIME": None}, "MJD-MID"),
        ({"CDELT1": -SCALE / 3000}, "scaled"),
    ],
)
def test_images_that_cannot_be_stacked_say_what_is_missing(change, message):
    handles = night()
    image = handles[3].load()
    handles[3] = as_handle(replace(image, header={**image.header, **change}), role="difference")
    analysis = search()
    with pytest.raises((BadKeyword, DataError), match=message):
        analysis.find(handles, AUX, analysis.settings)


def test_middle_of_the_exposure_is_read_or_worked_out():
    def of(**cards):
        return middle_mjd(cards)

    assert of(**{"MJD-MID": 60000.5}) == 60000.5
    assert of(**{"MJD-OBS": 60000.0, "EXPTIME": 86.4}) == pytest.approx(60000.0005)
    assert of(**{"DATE-OBS": "2012-06-17T01:56:40", "EXPTIME": 60}) == pytest.approx(56095.0813657, abs=1e-6)
    with pytest.raises(BadKeyword, match="ISO 8601"):
        of(**{"DATE-OBS": "17/06/12", "EXPTIME": 60})


def test_a_strong_injection_is_recovered_and_repeats():
    analysis = MovingObjects(
        stack={"rate": [1.0, 20.0], "min_epochs": 6, "controls": False},
        simulate={"likelihood": [18.0, 20.0], "rate": [3.0, 18.0]},
    )
    handles = night(seed=3)
    first, second = (Simulator(analysis).run(handles, AUX, range(3), digest="d") for _ in range(2))
    assert first == second
    assert [one.recovered for one in first] == [True] * 3
    assert all(one.found.score > 12 for one in first)
    assert all(one.params["start_mjd"] <= one.params["t_peak"] <= one.params["end_mjd"] for one in first)


def test_another_mover_is_not_the_injected_one():
    analysis = search()
    result = analysis.find(night(flux=60.0), AUX, analysis.settings)
    params = {
        "x": 40.3, "y": 50.6, "vx": 130.0, "vy": -80.0, "mjd0": 60100.0, "start_mjd": 60100.0, "end_mjd": 60100.2,
        "radius": 3.0, "v_tolerance": 20.0,
    }  # fmt: skip
    event = result.detections[0]
    assert analysis.recovered(params, event)
    assert not analysis.recovered(params | {"vx": 100.0}, event)
    assert not analysis.recovered(params | {"x": 47.0}, event)
    assert analysis.same_event(event, replace(event, ra=event.ra + 1e-3))
    assert not analysis.same_event(event, replace(event, dec=event.dec + 2e-3))
    assert not analysis.same_event(event, result.detections[1])


def test_one_search_bears_as_many_movers_as_there_is_room_for():
    analysis = MovingObjects(
        stack={"rate": [1.0, 20.0], "min_epochs": 6, "drift": 3.0},
        simulate={"likelihood": [4.0, 16.0], "rate": [3.0, 18.0], "pixels_per_mover": 1000.0},
    )
    products, simulator = night(seed=5), Simulator(analysis)
    room = analysis.together(products, analysis.settings)
    assert 6 <= room <= 9
    outcomes = simulator.run(products, AUX, range(2 * room))
    assert [one.number for one in outcomes] == list(range(2 * room))
    strong = [one for one in outcomes if one.params["likelihood"] > 10]
    assert len(strong) > room / 2
    assert all(one.recovered for one in strong)
    # what becomes of one is the same whichever others are asked for
    some = simulator.run(products, AUX, [room + 1, room + 2])
    assert [(one.params, one.snr) for one in some] == [
        (o.params, o.snr) for o in outcomes[room + 1 : room + 3]
    ]


def test_a_mover_put_in_alone_has_the_light_it_has_among_others():
    analysis = search()
    products, rng = night(seed=5), np.random.default_rng(3)
    movers = analysis.draw_many(rng.spawn(2), products, analysis.settings)
    alone, both = (analysis.inject(products, some, rng) for some in (movers[:1], movers))
    column, row = round(movers[0]["x"]), round(movers[0]["y"])
    box = slice(max(row - 2, 0), row + 3), slice(max(column - 2, 0), column + 3)
    np.testing.assert_array_equal(alone[0].section(*box).data, both[0].section(*box).data)


def test_the_part_that_is_found_is_told_by_magnitude_and_rate():
    analysis = MovingObjects(
        stack={"rate": [1.0, 20.0], "min_epochs": 6, "drift": 3.0},
        simulate={"strength": "mag", "mag": [20.0, 22.5], "rate": [3.0, 18.0], "pixels_per_mover": 1000.0},
    )
    outcomes = outcome_table(Simulator(analysis).run(night(seed=5), AUX, range(24)))
    assert np.isfinite(outcomes["mag"]).all()
    table = analysis.population(pd.DataFrame(), outcomes)
    everything = table.iloc[0]
    assert (everything["of"], everything["injected"]) == ("all", 24)
    assert 0 < everything["found"] < 24
    assert 20.5 < everything["half"] < 22.2
    assert 0 < everything["half_error"] < 1
    by_mag, by_rate = (table[table["of"] == name] for name in ("mag", "rate"))
    assert by_mag["injected"].sum() == by_rate["injected"].sum() == 24
    assert by_mag["efficiency"].iloc[0] > by_mag["efficiency"].iloc[-1]
    assert table["efficiency"].between(table["efficiency_low"], table["efficiency_high"]).all()
    assert len(analysis.population_panels(outcomes)) == 2
    assert len(analysis.population(pd.DataFrame(), outcomes.iloc[:0])) == 0


def test_a_search_draws_nothing_at_random_and_says_how_false_alarms_stand():
    analysis = search()
    result, again = (analysis.find(night(seed=5), AUX, analysis.settings) for _ in range(2))
    assert again.properties == result.properties
    assert result.properties["false_per_square_degree_inverted"]["rate"] == 0
    assert list(analysis.figures(night(seed=5), AUX, analysis.settings)) == ["movers"]


def test_zero_points_come_from_the_image_its_table_or_the_setting():
    handles = night()
    bare = []
    for number, handle in enumerate(handles):
        image = handle.load()
        header = {key: value for key, value in image.header.items() if key != "MAGZP"}
        info = replace(handle.info, unit=f"n/{number}")
        bare.append(replace(as_handle(replace(image, header=header), role="difference"), info=info))
    assert np.isnan(load_night(bare, search().settings).zero_point).all()
    given = MovingObjects(stack={"min_epochs": 6}, zero_point=24.0).settings
    assert (load_night(bare, given).zero_point == 24.0).all()
    assert (load_night(handles, given).zero_point == 25.0).all()
    tables = []
    for number in range(12):
        table = as_handle(
            Table({"a": np.zeros(1)}, meta={"cards": {"MAGZP": 26.0 + number / 12}}), role="zeropoint"
        )
        tables.append(replace(table, info=replace(table.info, unit=f"n/{number}")))
    assert list(load_night([*bare, *tables], given).zero_point) == [
        26.0 + number / 12 for number in range(12)
    ]


def changed(handle, *, mask=None, **cards):
    image = handle.load()
    lost = image.mask if mask is None else mask
    return as_handle(replace(image, mask=lost, header=image.header | cards), role="difference")


def test_images_that_are_wide_clouded_or_mostly_masked_are_left_out_and_counted():
    handles = night(flux=60.0)
    handles[2] = changed(handles[2], FWHM=3 * SIGMA * 2.3548)
    handles[4] = changed(handles[4], MAGZP=23.0)
    handles[5] = changed(handles[5], MAGZP=24.9, EXPTIME=600.0)  # much longer, and yet no more light
    handles[7] = changed(handles[7], mask=np.ones((90, 100), np.uint8))
    result = search().find(handles, AUX, search().settings)
    assert result.properties["left_out"] == {"masked": 1, "wide": 1, "clouded": 2}
    assert result.properties["n_images"] == 8
    assert [event.product for event in result.detections] == [0, 1, 3, 6, 8, 9, 10, 11]
    lenient = MovingObjects(
        stack={"rate": [1.0, 20.0], "min_epochs": 6},
        cuts={"max_fwhm": 4.0, "min_transparency": 0.0, "max_masked": 1.0},
    )
    assert lenient.find(handles, AUX, lenient.settings).properties["left_out"] == {}


def test_too_few_good_images_are_an_empty_result():
    handles = [changed(one, mask=np.ones((90, 100), np.uint8)) for one in night(8)]
    result = search().find(handles, AUX, search().settings)
    assert result.properties == {"n_images": 8, "n_movers": 0}
    assert result.detections == ()


def test_an_image_without_zero_point_takes_that_of_its_neighbours():
    handles = night(flux=60.0)
    handles[3] = changed(handles[3], MAGZP=None)
    found = search().find(handles, AUX, search().settings).products[0].data
    assert found.flux_unit == "uJy"
    whole = search().find(night(flux=60.0), AUX, search().settings).products[0].data
    np.testing.assert_allclose(found["flux"], whole["flux"])
    for number in range(3, 10):
        handles[number] = changed(handles[number], MAGZP=None)
    assert search().find(handles, AUX, search().settings).products[0].data.flux_unit == "electron"


def test_injections_made_one_by_one_are_drawn_as_a_population():
    outcomes = pd.DataFrame(
        {
            "mag": [20.0, 21.0, 22.0],
            "likelihood": [9.0, 8.0, 5.0],
            "rate": [3.0, 4.0, 9.0],
            "found": [True, True, False],
        }
    )
    first, second = MovingObjects.population_panels(outcomes)
    assert (first.x.name, second.x.label, second.title) == ("magnitude", "rate (arcsec/h)", "2 of 3 found")
    assert first.curves[-1].y.tolist() == [1, 1, 0]


def test_magnitudes_can_be_drawn_where_there_is_a_zero_point():
    analysis = MovingObjects(
        stack={"rate": [1.0, 20.0], "min_epochs": 6}, simulate={"strength": "mag", "mag": [20.0, 20.5]}
    )
    drawn = analysis.draw(np.random.default_rng(0), night(), analysis.settings)
    assert 20.0 <= drawn["mag"] <= 20.5
    assert drawn["flux"][0] == pytest.approx(10 ** (-0.4 * (drawn["mag"] - 25.0)))


def test_panels_show_the_movers_and_survive_an_empty_night():
    analysis = search()
    handles = night(flux=60.0)
    (name, panels), *others = analysis.source_panels(handles, AUX, analysis.settings).items()
    assert (name, others) == ("movers", [])
    along, rest, snr, facts = panels
    assert along.images[0][10, 10] > 5 * rest.images[0].std()
    assert len(snr.curves[0]) == 12
    told = {name: value for name, value, _ in facts.rows}
    assert (told["movers"], told["false alarms, inverted"], told["false alarms, shuffled"]) == (1, 0, 0)
    (nothing,) = analysis.source_panels(night(), AUX, analysis.settings)["movers"]
    assert ("movers", 0, "") in nothing.rows


def test_a_mover_is_shown_on_its_path_in_every_image():
    analysis = search()
    handles = night(flux=60.0)
    event = analysis.find(handles, AUX, analysis.settings).detections[3]
    panels = {panel.title: panel for panel in analysis.panels(handles, AUX, analysis.settings, event)}
    film = panels["images along the path"]
    assert (len(film), film.start) == (12, 3)
    assert film.images[:, 10, 10].mean() > 5 * abs(film.images[:, :3, :3].mean())
    light = panels["light along the path"].curves[0]
    assert light.y[3] / light.y_error[3] == pytest.approx(event.snr, rel=0.02)
    off = panels["off the path"]
    for curve in off.curves:
        assert np.abs(curve.y / curve.y_error).max() < 4
        assert np.abs(curve.y).max() < 1.5 * SCALE


def test_night_knows_area_shift_and_profile():
    made = load_night(night(role="calibrated", drift=(8, 4)), search().settings)
    assert made.stack.maps[-1].whole == (8, 4)
    assert made.pixel_scale == pytest.approx(SCALE)
    assert made.sigma == pytest.approx(np.full(12, SIGMA), rel=1e-4)
    science = np.array([made.stack.planes(k, (0, 90), (0, 100))[0] for k in range(12)])
    assert np.isnan(science[:, 10, 20]).all()
    assert np.isnan(science[-1, :, -8:]).all()
    assert np.array_equal(made.stack.covered(), np.isfinite(science).any(axis=0))


STACK = {"rate": [1.0, 10.0], "min_epochs": 6, "controls": False, "drift": 3.0}


def test_half_of_the_movers_of_the_limiting_magnitude_are_found():
    products = night(12, seed=1)
    plain = MovingObjects(stack=STACK)
    limit = plain.find(products, AUX, plain.settings).properties["limiting_magnitude"]
    mags, found = [], []
    analysis = MovingObjects(
        stack=STACK, simulate={"strength": "mag", "mag": [limit - 0.7, limit + 0.7], "rate": [2.0, 9.0]}
    )
    for batch in range(4):
        rngs = [np.random.default_rng((batch, number)) for number in range(8)]
        movers = analysis.draw_many(rngs, products, analysis.settings)
        seen = analysis.find(analysis.inject(products, movers, rngs[0]), AUX, analysis.settings).detections
        mags += [mover["mag"] for mover in movers]
        found += [any(analysis.recovered(mover, event) for event in seen) for mover in movers]
    fit = fit_completeness(np.array(mags), np.array(found))
    assert limit == pytest.approx(fit.m50, abs=0.2)
    assert fit.m50_error < 0.2


def test_the_limit_is_that_of_a_matched_filter_and_stands_at_every_image():
    products = night(12, flux=80.0)
    analysis = search()
    result = analysis.find(products, AUX, analysis.settings)
    # noise of 2 a pixel, sum of the squared profile 1/(4 pi sigma^2), 12 images; 0.95 of it is what a search gives
    least = result.properties["level"] * 2 * np.sqrt(4 * np.pi / 12) * 1.3 / 0.95
    assert result.properties["limiting_magnitude"] == pytest.approx(25 - 2.5 * np.log10(least), abs=0.07)
    (tracks,) = (one.data for one in result.products if one.role == "tracks")
    assert {one["limit"] for one in tracks.meta["footprints"]} == {result.properties["limiting_magnitude"]}


def test_images_without_zero_points_have_no_limit():
    bare = []
    for handle in night(12):
        image = handle.load()
        header = {key: value for key, value in image.header.items() if key != "MAGZP"}
        bare.append(
            type(handle)(type(image)(image.data, image.variance, image.mask, header, image.unit), handle.info)
        )
    analysis = search(controls=False)
    assert analysis.find(bare, AUX, analysis.settings).properties["limiting_magnitude"] is None
