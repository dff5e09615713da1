"""What the simulator says of its movers and stars is what is in its frames."""

from __future__ import annotations

import numpy as np
import pytest
from support.lsss import FIELD, first_frame

from virtualobserver.catalog.orbits import SIMULATED, open_orbits
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data import Target, as_handle
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.maths.times import Site
from virtualobserver.observatories.lsss import VirtualLSSS
from virtualobserver.observatory import Aux

NIGHT = {
    "frames": 6,
    "size": (160, 200),
    "stars": 30,
    "movers": 12,
    "rate": (20.0, 300.0),
    "mag": (13.0, 15.0),
}


@pytest.fixture(scope="module")
def night():
    survey = VirtualLSSS(simulation=NIGHT)
    raws = [raw for _, raw in survey.simulate_raw([FIELD], np.random.default_rng(1))]
    return [raw for raw in raws if "truth" in raw.header]


def test_movers_move_as_their_rates_say_and_turn(night):
    first, last = night[0].header, night[-1].header
    hours = (last["mjd"] - first["mjd"]) * 24
    assert hours == pytest.approx(5 * 240 / 3600, rel=1e-6)
    for one, other in zip(first["truth"], last["truth"], strict=True):
        away = float(separation(one["ra"], one["dec"], other["ra"], other["dec"])) * ARCSEC_PER_DEGREE
        assert away / hours == pytest.approx(one["rate"], abs=0.3)
        assert one["id"] == other["id"]
    mags = np.array([[mover["mag"] for mover in raw.header["truth"]] for raw in night])
    assert (np.ptp(mags, axis=0) > 0).all()
    assert np.median(np.ptp(mags, axis=0)) > 0.01


def test_each_night_has_its_masters_and_the_second_half_is_flipped(night):
    survey = VirtualLSSS(simulation={**NIGHT, "nights": 2, "frames": 4})
    raws = [raw for _, raw in survey.simulate_raw([FIELD], np.random.default_rng(1))]
    kinds = [(raw.header["night"], raw.header["kind"]) for raw in raws]
    for name in ("170225", "170226"):
        assert [kind for where, kind in kinds if where == name] == ["bias", "flat", *["science"] * 4]
    flips = [raw.header["flip"] for raw in raws if raw.header["kind"] == "science"]
    assert flips == 2 * ([[False, False]] * 2 + [[True, True]] * 2)


def test_positions_of_movers_scatter_as_their_errors_say():
    pulls = []
    for seed in range(1, 9):
        survey = VirtualLSSS(simulation={**NIGHT, "frames": 1, "rate": (20.0, 100.0), "cosmics": 0.0})
        (raw,) = [
            one
            for _, one in survey.simulate_raw([FIELD], np.random.default_rng(seed))
            if "truth" in one.header
        ]
        handle = as_handle(first_frame(survey, seed))
        (product,) = survey.refine("photometry", [handle], Aux(FIELD), survey.settings)
        table = product.data
        for mover in raw.header["truth"]:
            away = np.hypot(table["x"] - mover["x"], table["y"] - mover["y"])
            row = int(np.argmin(away))
            if away[row] < 0.5 and not table["blended"][row] and not table["flags"][row]:
                pulls.append((table["x"][row] - mover["x"]) / table["x_error"][row])
                pulls.append((table["y"][row] - mover["y"]) / table["y_error"][row])
    assert len(pulls) > 100
    assert np.median(np.abs(pulls)) * 1.4826 == pytest.approx(1.0, abs=0.2)


def test_known_bodies_are_where_their_orbits_put_them_and_have_names(tmp_path):
    survey = VirtualLSSS(simulation={**NIGHT, "movers": 1, "known": True, "size": (240, 320), "frames": 12})
    raws = [raw for _, raw in survey.simulate_raw([FIELD], np.random.default_rng(1)) if "truth" in raw.header]
    mjd = np.array([raw.header["mjd"] for raw in raws])
    orbits = open_orbits(tmp_path, SIMULATED)
    place = survey.settings.site
    site = Site(place.longitude, place.latitude, place.height)
    seen = orbits.seen(mjd, FIELD.ra, FIELD.dec, 0.3, site=site, code="J75")
    rows = {str(name): row for row, name in enumerate(seen.name)}
    truth = [{mover.get("name", ""): mover for mover in raw.header["truth"]} for raw in raws]
    assert {"Alba", "Brisa", "Cima", ""} <= set(truth[0])
    assert set(truth[0]) - {""} <= set(rows)
    for name in set(truth[0]) - {""}:
        row = rows[name]
        for k, frame in enumerate(truth):
            one = frame[name]
            assert (
                separation(one["ra"], one["dec"], seen.ra[row, k], seen.dec[row, k]) * ARCSEC_PER_DEGREE
                < 0.01
            )
            assert one["rate"] == pytest.approx(
                np.hypot(seen.rate_ra[row, k], seen.rate_dec[row, k]), abs=0.05
            )
            assert abs(one["mag"] - seen.mag[row, k]) < 0.6
    on_frame = [raw.header["injected"] for raw in raws]
    assert all(len(some) <= len(frame) for some, frame in zip(on_frame, truth, strict=True))
    elsewhere = VirtualLSSS(simulation={**NIGHT, "known": True, "frames": 1})
    far = Target("far", ra=10.0, dec=-5.0, kind="field")
    (alone,) = [
        raw for _, raw in elsewhere.simulate_raw([far], np.random.default_rng(1)) if "truth" in raw.header
    ]
    assert len(alone.header["truth"]) == 12
