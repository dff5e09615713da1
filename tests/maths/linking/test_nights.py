"""Movers of different nights, and known bodies: found by what they predict, whatever the order."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.astrometry.tan_sip import deproject
from virtualobserver.maths.ephemeris.seen import Observer, ephemeris, parallax_at
from virtualobserver.maths.ephemeris.through import state_through
from virtualobserver.maths.linking.identify import FARTHEST, BodyTrack, identify
from virtualobserver.maths.linking.nights import join_nights
from virtualobserver.maths.linking.paths import FLOOR, path_of
from virtualobserver.maths.times import Site

CENTRE = (359.98, 62.0)  # across RA 0, where meridians converge


def sky(east, north):
    return deproject(np.asarray(east) / 3600, np.asarray(north) / 3600, *CENTRE)


def epochs(start, velocity, mjd, *, error=0.1, rng=None, bend=0.0):
    """Return the epochs of a mover that was at `start` (arcsec) at MJD 60000."""
    hours = (np.asarray(mjd) - 60000.0) * 24
    east, north = (at + v * hours + 0.5 * bend * hours**2 for at, v in zip(start, velocity, strict=True))
    if rng is not None:
        east, north = (axis + rng.normal(0, error, hours.size) for axis in (east, north))
    return mjd, *sky(east, north), (np.full(hours.size, error),) * 2


NIGHT = 60000.0 + np.linspace(0, 0.12, 10)


def test_a_path_is_the_motion_in_the_middle_of_its_epochs_in_any_order():
    path = path_of(*epochs((100.0, -50.0), (-20.0, 7.0), NIGHT))
    shuffled = np.random.default_rng(1).permutation(NIGHT.size)
    mjd, ra, dec, error = epochs((100.0, -50.0), (-20.0, 7.0), NIGHT)
    other = path_of(mjd[shuffled], ra[shuffled], dec[shuffled], tuple(one[shuffled] for one in error))
    assert (path.key, path.first, path.last, path.epochs) == (other.key, NIGHT[0], NIGHT[-1], 10)
    ra, dec = sky(100.0 - 20.0 * 1.44, -50.0 + 7.0 * 1.44)
    np.testing.assert_allclose([path.ra, path.dec], [ra, dec], atol=1e-8)
    assert path.rate == pytest.approx(np.hypot(20, 7), abs=1e-3)
    hours = (NIGHT - NIGHT.mean()) * 24
    assert path.velocity_error[0] == pytest.approx(np.hypot(0.1, FLOOR) / np.sqrt((hours**2).sum()), rel=1e-6)


def test_errors_of_a_path_are_those_of_the_scatter_and_bent_motion_is_told_at_the_middle():
    rng = np.random.default_rng(5)
    made = [path_of(*epochs((0, 0), (10.0, 0.0), NIGHT, error=0.3, rng=rng)) for _ in range(300)]
    pull = np.array([one.plane(*sky(10.0 * 1.44, 0.0)) / one.error for one in made])
    assert 0.85 < pull.std() < 1.05  # the floor beside 0.3 arcsec
    bent = path_of(*epochs((0, 0), (10.0, 0.0), NIGHT, error=0.01, bend=1.0))
    np.testing.assert_allclose(bent.plane(*sky(0, 0)) * 0 + bent.velocity, [11.44, 1.44], atol=0.05)


def test_epochs_of_one_path_say_no_more_than_its_ends():
    hours = (NIGHT - 60000.0) * 24
    variance = 0.2**2 + 2 * -0.01 * hours + 0.15**2 * hours**2
    mjd, ra, dec, _ = epochs((5.0, 5.0), (30.0, 0.0), NIGHT)
    few = path_of(mjd, ra, dec, (np.sqrt(variance),) * 2, together=True)
    assert few.velocity_error == pytest.approx([0.15, 0.15], rel=1e-6)
    middle = hours.mean()
    assert few.error[1] == pytest.approx(np.sqrt(0.04 - 0.02 * middle + 0.0225 * middle**2), rel=1e-6)
    assert np.isnan(few.chi2)
    twice = [np.repeat(one, 2) for one in (mjd, ra, dec, np.sqrt(variance))]
    more = path_of(*twice[:3], (twice[3],) * 2, together=True)
    np.testing.assert_allclose(more.error, few.error, rtol=1e-6)
    assert path_of(*twice[:3], (twice[3],) * 2).error[0] < few.error[0]


def test_a_path_needs_two_times():
    with pytest.raises(NotEnoughData, match="two epochs"):
        path_of([1.0, 1.0, 2.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], ([1.0, 1.0, np.nan], [1.0, 1.0, 1.0]))


def field(seed, bodies=6, nights=3):
    """Return the paths of bodies in some nights, each night, and which body each is."""
    rng = np.random.default_rng(seed)
    paths, when, who = [], [], []
    for body in range(bodies):
        start, v = rng.uniform(-900, 900, 2), rng.normal(0, 25, 2)
        for night in range(nights):
            if night and rng.random() < 0.2:
                continue
            turn = rng.normal(0, 0.3, 2)  # what the turning Earth does to a night's own rate
            own = epochs(start - turn * (24 * night + 1.44), v + turn, NIGHT + night, rng=rng)
            paths.append(path_of(*own))
            when.append(night)
            who.append(body)
    return paths, when, who


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_bodies_are_joined_over_nights_whatever_the_order(seed, random):
    paths, when, _ = field(seed)
    found = [[paths[n].key for n in some] for some in join_nights(paths, when, longest=3.5)]
    order = list(range(len(paths)))
    random.shuffle(order)
    again = join_nights([paths[n] for n in order], [when[n] for n in order], longest=3.5)
    assert [[paths[order[n]].key for n in some] for some in again] == found
    for some in join_nights(paths, when, longest=3.5):
        assert len({when[n] for n in some}) == len(some)
        assert [paths[n].mjd for n in some] == sorted(paths[n].mjd for n in some)


def test_nearly_all_bodies_come_out_whole():
    right = whole = 0
    for seed in range(40):
        paths, when, who = field(seed)
        groups = {frozenset(some) for some in join_nights(paths, when, longest=3.5)}
        truth = {frozenset(n for n, b in enumerate(who) if b == body) for body in set(who)}
        right += len(groups & truth)
        whole += len(truth)
    assert right >= 0.97 * whole


def near_the_earth(distance, seed=0, bodies=6, *, known):
    """Return paths of bodies in three nights, their nights and owners; `known` tells where the telescope is."""
    rng = np.random.default_rng(seed)
    site = Site(-2.566, 37.983, 1530.0)
    middle = Observer.at([57810.9], site)
    states = [
        state_through((158 + rng.uniform(-0.2, 0.2), 9 + rng.uniform(-0.2, 0.2)), middle, rng.uniform(*distance), rng)
        for _ in range(bodies)
    ]  # fmt: skip
    paths = []
    for night in range(3):
        mjd = 57809.9 + night + np.arange(8) * 0.015
        observer = Observer.at(mjd, site)
        for state in states:
            seen = ephemeris(state, observer, perturbations=False)
            off = rng.normal(0, 0.1, (2, 8)) / 3600
            ra = seen.ra[0] + off[0] / np.cos(np.radians(seen.dec[0]))
            paths.append(path_of(mjd, ra, seen.dec[0] + off[1], (np.full(8, 0.1),) * 2))
    if known:
        place, rate = parallax_at(*np.array([(one.mjd, one.ra, one.dec) for one in paths]).T, site)
        paths = [replace(one, parallax=each) for one, *each in zip(paths, place, rate, strict=True)]
    return paths, np.repeat(range(3), bodies), np.tile(range(bodies), 3)


@pytest.mark.parametrize("distance", [(0.12, 0.2), (0.2, 0.5), (0.9, 2.0)])
def test_what_passes_the_earth_closely_is_joined_by_what_its_turn_does_to_the_motion(distance):
    paths, nights, owner = near_the_earth(distance, known=True)
    groups = join_nights(paths, nights.tolist(), longest=3.5)
    assert sorted(owner[some].tolist() for some in groups) == [[k] * 3 for k in range(6)]
    blind, *_ = near_the_earth(distance, known=False)
    whole = [some for some in join_nights(blind, nights.tolist(), longest=3.5) if len(some) == 3]
    assert (len(whole) == 6) == (distance[0] > 0.5)  # the main belt needs no place of the telescope


def test_the_telescope_moves_what_is_near_by_its_distance_from_the_middle_of_the_earth():
    place, rate = parallax_at([57809.9], [158.0], [9.0], Site(-2.566, 37.983, 0.0))
    assert np.hypot(*place[0]) < 8.8  # the parallax of the Earth's radius at 1 au
    later, _ = parallax_at([57809.9 + 1 / 240], [158.0], [9.0], Site(-2.566, 37.983, 0.0))
    np.testing.assert_allclose((later - place)[0] * 10, rate[0], atol=0.05)


def test_what_moves_otherwise_or_was_seen_too_long_ago_stays_alone():
    one = path_of(*epochs((0, 0), (30.0, 0.0), NIGHT))
    same = path_of(*epochs((0, 0), (30.0, 0.0), NIGHT + 1))
    beside = path_of(*epochs((200.0, 0), (30.0, 0.0), NIGHT + 1))
    turned = path_of(*epochs((30.0 * 24, -10.0 * 24), (30.0 - 30.0, 10.0), NIGHT + 1))
    late = path_of(*epochs((0, 0), (30.0, 0.0), NIGHT + 5))
    assert join_nights([one, same], [0, 1], longest=3.5) == [[0, 1]]
    assert join_nights([one, same], [0, 0], longest=3.5) == [[0], [1]]
    for other in (beside, turned, late):
        assert len(join_nights([one, other], [0, 1], longest=3.5)) == 2
    assert len(join_nights([one, late], [0, 1], longest=6)) == 1


def track(start, velocity, mjd=NIGHT):
    _, ra, dec, _ = epochs(start, velocity, mjd)
    return ra, dec


def compared(movers, known, error=np.nan):
    """Identify movers, given as start and velocity, with bodies given likewise."""
    paths = [path_of(*epochs(*one, NIGHT)) for one in movers]
    places = [track(*one) for one in known]
    ra, dec = (np.array([one[axis] for one in places]).reshape(-1, NIGHT.size) for axis in (0, 1))
    body = BodyTrack(NIGHT, ra, dec, np.broadcast_to(error, len(known)))
    return identify(paths, [body] * len(paths))


def test_a_body_is_known_by_place_and_rate():
    mover = ((10.0, 20.0), (-30.0, 9.0))
    (hit,) = compared([mover], [((400.0, 0.0), (-30.0, 9.0)), ((10.5, 19.8), (-30.2, 9.1))])
    assert hit.body == 1
    assert hit.separation == pytest.approx(np.hypot(0.5 - 0.2 * 1.44, -0.2 + 0.1 * 1.44), abs=1e-3)
    assert hit.rate_difference == pytest.approx(np.hypot(0.2, 0.1), abs=1e-3)
    assert hit.second is None
    (other,) = compared([mover], [((10.5, 19.8), (-20.0, 9.0))])
    assert other.body is None  # where it was, and slower by a third
    (far,) = compared([mover], [((10.0, 26.0), (-30.0, 9.0))])
    assert far.body is None
    (unsure,) = compared([mover], [((10.0, 26.0), (-30.0, 9.0))], error=3.0)
    assert unsure.body == 0
    (bound,) = compared([mover], [((10.0, 20.0 + FARTHEST + 0.1), (-30.0, 9.0))], error=100.0)
    assert bound.body is None
    assert compared([mover], [])[0].body is None


def test_of_two_that_could_be_one_the_better_is_taken_and_the_other_kept():
    near, far = ((10.3, 20.0), (-30.0, 9.0)), ((11.5, 20.0), (-30.0, 9.0))
    (one,) = compared([((10.0, 20.0), (-30.0, 9.0))], [far, near])
    assert (one.body, one.second) == (1, 0)
    assert one.second_separation == pytest.approx(1.5, abs=1e-3)
    assert one.cost < one.second_cost
    # with a second mover that only the nearer body can be, both are named
    both = compared([((10.0, 20.0), (-30.0, 9.0)), ((8.0, 20.0), (-30.0, 9.0))], [far, near])
    assert [match.body for match in both] == [0, 1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_names_do_not_depend_on_the_order_of_movers_or_bodies(seed):
    rng = np.random.default_rng(seed)
    known = [(rng.uniform(-6, 6, 2), rng.normal([30, 0], 1.0, 2)) for _ in range(6)]
    movers = [(start + rng.normal(0, 0.7, 2), v + rng.normal(0, 0.2, 2)) for start, v in known[:5]]
    plain = [match.body for match in compared(movers, known)]
    taken = [body for body in plain if body is not None]
    assert len(taken) == len(set(taken))
    rows, columns = rng.permutation(len(movers)), rng.permutation(len(known))
    mixed = compared([movers[n] for n in rows], [known[n] for n in columns])
    assert [None if match.body is None else int(columns[match.body]) for match in mixed] == [
        plain[n] for n in rows
    ]
