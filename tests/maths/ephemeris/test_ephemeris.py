"""Ephemerides: 28 real bodies against Horizons, elements against states, many bodies in a field."""

import numpy as np
import pandas as pd
import pytest
from support.real import real_data

from virtualobserver.errors import DataError
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.maths.ephemeris.brightness import magnitude
from virtualobserver.maths.ephemeris.orbits import GM_SUN, Orbits, States, elements_of, states_of, two_body
from virtualobserver.maths.ephemeris.perturbed import Planets, perturbed
from virtualobserver.maths.ephemeris.seen import Observer, ephemeris, in_field
from virtualobserver.maths.ephemeris.through import state_through
from virtualobserver.maths.times import Site

SITES = {"X05": Site(-70.74942, -30.24463, 2663.0), "W84": Site(-70.80653, -30.16606, 2215.0)}


def horizons() -> pd.DataFrame:
    table = pd.read_csv(real_data("sso", "adam_core", "horizons_ephemeris_28_objects.csv.gz"))
    return table.assign(targetname=table["targetname"].str.strip())


def states(plane: str = "eq") -> tuple[list[str], States, pd.DataFrame]:
    table = pd.read_csv(real_data("sso", "adam_core", f"elements_sun_{plane}.csv"))
    found = States(
        table[["x", "y", "z"]].to_numpy(float), table[["vx", "vy", "vz"]].to_numpy(float),
        table["mjd_tdb"].to_numpy(float),
    )  # fmt: skip
    return table["targetname"].str.strip().tolist(), found, table


def one(all_states: States, number: int) -> States:
    return States(*(getattr(all_states, name)[[number]] for name in ("position", "velocity", "epoch")))


@pytest.mark.real
def test_28_bodies_are_where_horizons_sees_them():
    names, all_states, _ = states()
    worst, seen = {}, set()
    for (name, code), some in horizons().groupby(["targetname", "observatory_code"]):
        rows = some.iloc[:: max(1, len(some) // 5)]
        number = next(k for k, full in enumerate(names) if name in full)
        found = ephemeris(one(all_states, number), Observer.at(rows["mjd_utc"], SITES[code]))
        east = (found.ra[0] - rows["RA"]) * np.cos(np.radians(rows["DEC"]))
        away = 3600 * np.hypot(east, found.dec[0] - rows["DEC"])
        worst[name] = max(worst.get(name, 0.0), float(away.max()))
        np.testing.assert_allclose(found.r[0], rows["r"], atol=5e-5)
        np.testing.assert_allclose(found.delta[0], rows["delta"], atol=5e-5)
        np.testing.assert_allclose(found.alpha[0], rows["alpha"], atol=0.02)
        np.testing.assert_allclose(found.elongation[0], rows["elong"], atol=0.02)
        known = (rows["V"].notna() & (rows["alpha"] < 120)).to_numpy()  # beyond, Horizons gives no decimals
        v = magnitude(rows["H"], rows["G"], r=found.r[0], delta=found.delta[0], alpha=found.alpha[0])
        np.testing.assert_allclose(v[known], rows["V"][known], atol=0.005)
        seen.add(name)
    assert len(seen) == 28
    comet = next(name for name in worst if name.startswith("1I"))  # pushed by its gas
    assert worst.pop(comet) < 5.0
    assert max(worst.values()) < 0.2, worst


@pytest.mark.real
def test_elements_are_the_states_of_the_same_bodies():
    _, given, table = states("ec")
    _, expected, _ = states("eq")
    orbits = Orbits(
        table["q"], table["e"], table["incl"], table["Omega"], table["w"], table["tp_mjd"], table["mjd_tdb"]
    )
    found = states_of(orbits)
    np.testing.assert_allclose(found.position, expected.position, atol=2e-7)
    np.testing.assert_allclose(found.velocity, expected.velocity, atol=2e-9)
    ellipse = table[table["e"] < 1]
    again = states_of(
        Orbits.from_mean_anomaly(
            ellipse["a"], ellipse["e"], ellipse["incl"], ellipse["Omega"], ellipse["w"],
            mean_anomaly=ellipse["M"], epoch=ellipse["mjd_tdb"],
        )
    )  # fmt: skip
    np.testing.assert_allclose(again.position, expected.position[(table["e"] < 1).to_numpy()], atol=2e-7)
    assert len(given) == len(found) == 28


@pytest.mark.parametrize("e", [0.0, 0.3, 0.97, 1.0, 1.2, 3.0])
def test_motion_about_the_sun_keeps_energy_and_momentum_and_comes_back(e):
    days = np.array([-4000.0, -30.0, 0.5, 77.0, 3000.0])
    n = days.size
    start = states_of(
        Orbits(np.full(n, 0.8), np.full(n, e), *np.full((3, n), 40.0), np.full(n, 50.0), np.full(n, 60.0))
    )
    moved = two_body(start, 60.0 + days)
    for state in (start, moved):
        energy = 0.5 * np.sum(state.velocity**2, axis=1) - GM_SUN / np.linalg.norm(state.position, axis=1)
        np.testing.assert_allclose(energy, GM_SUN * (e - 1) / (2 * 0.8), rtol=1e-9, atol=1e-14)
        momentum = np.linalg.norm(np.cross(state.position, state.velocity), axis=1)
        np.testing.assert_allclose(momentum, np.sqrt(GM_SUN * 0.8 * (1 + e)), rtol=1e-10)
    back = two_body(moved, 60.0)
    np.testing.assert_allclose(back.position, start.position, atol=1e-8)


def test_an_orbit_closes_after_its_period():
    orbit = Orbits.from_mean_anomaly(2.5, 0.2, 10.0, 20.0, 30.0, mean_anomaly=40.0, epoch=60000.0)
    period = 2 * np.pi * np.sqrt(2.5**3 / GM_SUN)
    start = states_of(orbit)
    np.testing.assert_allclose(two_body(start, 60000.0 + period).position, start.position, atol=1e-10)


def test_motion_among_planets_comes_back_and_takes_times_in_any_order():
    start = states_of(
        Orbits.from_mean_anomaly(2.7, 0.1, 5.0, 1.0, 2.0, mean_anomaly=[10.0, 200.0], epoch=59000.0)
    )
    times = np.array([59200.0, 58900.0, 59000.0, 59200.0])
    moved = perturbed(start, times)
    assert moved.shape == (2, 4, 6)
    np.testing.assert_array_equal(moved[:, 0], moved[:, 3])
    np.testing.assert_allclose(moved[:, 2, :3], start.position, atol=1e-13)
    there = States(moved[:, 0, :3], moved[:, 0, 3:], np.full(2, 59200.0))
    np.testing.assert_allclose(perturbed(there, [59000.0])[:, 0, :3], start.position, atol=1e-9)
    alone = two_body(start, 59200.0).position
    shift = np.linalg.norm(moved[:, 0, :3] - alone, axis=1)
    assert np.all((shift > 1e-6) & (shift < 1e-2))


def test_many_bodies_are_cut_down_to_those_in_the_field():
    rng = np.random.default_rng(5)
    n = 3000
    orbits = Orbits.from_mean_anomaly(
        rng.uniform(2.1, 3.3, n), rng.uniform(0, 0.25, n), rng.uniform(0, 12, n), rng.uniform(0, 360, n),
        rng.uniform(0, 360, n), mean_anomaly=rng.uniform(0, 360, n),
        epoch=np.where(np.arange(n) % 2, 59900.0, 59700.0),
    )  # fmt: skip
    all_states = states_of(orbits)
    observer = Observer.at(60000.0 + np.linspace(0, 0.2, 3), Site(-2.57, 37.98, 1530.0))
    numbers, seen = in_field(all_states, observer, 180.0, 0.0, 5.0)
    assert 5 < numbers.size < 200
    every = [ephemeris(one(all_states, k), observer) for k in numbers[:3]]
    for row, alone in enumerate(every):
        np.testing.assert_allclose(seen.ra[row], alone.ra[0], atol=1e-7)
    alone = ephemeris(all_states, observer, perturbations=False)
    away = np.hypot(alone.ra - 180.0, alone.dec)
    assert set(np.flatnonzero(np.any(away < 4.9, axis=1))) <= set(numbers.tolist())
    assert set(numbers.tolist()) <= set(np.flatnonzero(np.any(away < 5.1, axis=1)))
    none, empty = in_field(all_states, observer, 180.0, 85.0, 0.5)
    assert (none.size, empty.ra.shape) == (0, (0, 3))


def test_the_observer_stands_on_the_earth():
    centre, site = Observer.at([60000.0], None), Observer.at([60000.0], SITES["X05"])
    away = np.linalg.norm(site.position - centre.position) * 149597870.7
    assert away == pytest.approx(6374.0, abs=8.0)
    assert np.linalg.norm(site.velocity - centre.velocity) * 149597870.7 / 86400 == pytest.approx(
        0.402, abs=0.01
    )


def test_what_cannot_move_is_refused():
    two = States(np.eye(2, 3), np.zeros((2, 3)) + 0.01, np.array([59000.0, 59001.0]))
    with pytest.raises(DataError, match="from one epoch"):
        perturbed(two, [59002.0])
    first = States(two.position[:1], two.velocity[:1], two.epoch[:1])
    with pytest.raises(DataError, match="the planets are given from MJD"):
        perturbed(first, [60000.0], planets=Planets.between(59000.0, 59010.0))
    with pytest.raises(DataError, match="orbit number 1 has q = -1 au"):
        Orbits([1.0, -1.0], [0.1, 0.1], [0, 0], [0, 0], [0, 0], [0, 0], [0, 0])
    with pytest.raises(DataError, match="belongs to an ellipse"):
        Orbits.from_mean_anomaly(2.0, 1.1, 0, 0, 0, mean_anomaly=0, epoch=59000.0)


@pytest.mark.parametrize("e", [0.0003, 0.2, 0.97, 1.0, 1.4, 3.0])
def test_elements_come_back_from_states(e):
    orbits = Orbits(
        [2.1, 0.9], [e, e], [12.0, 150.0], [200.0, 3.0], [40.0, 300.0], [60010.0, 59800.0], [60100.0, 59790.0]
    )
    found = elements_of(states_of(orbits))
    for name in ("q", "e", "inclination", "node", "epoch"):
        np.testing.assert_allclose(getattr(found, name), getattr(orbits, name), rtol=1e-9, atol=1e-9)
    again, first = states_of(found), states_of(orbits)
    np.testing.assert_allclose(again.position, first.position, atol=1e-10)
    np.testing.assert_allclose(again.velocity, first.velocity, atol=1e-12)
    if e > 0.1:
        np.testing.assert_allclose(found.argument, orbits.argument, atol=1e-7)
        np.testing.assert_allclose(found.perihelion, orbits.perihelion, atol=1e-6)


def test_a_made_up_body_is_seen_where_it_was_put_and_moves_like_an_asteroid():
    site = Site(-2.566, 37.983, 1530.0)
    observer = Observer.at([57809.9], site)
    rng = np.random.default_rng(4)
    rates = []
    for distance in (0.8, 1.3, 2.4):
        seen = ephemeris(state_through((158.0, 9.0), observer, distance, rng), observer, perturbations=False)
        assert separation(seen.ra[0, 0], seen.dec[0, 0], 158.0, 9.0) * 3600 < 30
        assert seen.delta[0, 0] == pytest.approx(distance, abs=1e-4)
        rates.append(np.hypot(seen.rate_ra[0, 0], seen.rate_dec[0, 0]))
    assert 20 < rates[2] < rates[1] < rates[0] < 120
