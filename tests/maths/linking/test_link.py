"""Linking: movers of known motion, every reason why a candidate is none, and what must not depend on chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtualobserver.errors import DataError
from virtualobserver.maths.linking.kernel import motion
from virtualobserver.maths.linking.link import link
from virtualobserver.maths.linking.lists import SourceLists
from virtualobserver.maths.linking.settings import LinkSettings
from virtualobserver.maths.linking.static import find_static
from virtualobserver.maths.linking.track import fit_track
from virtualobserver.maths.linking.vetoes import REASONS, near_bright

ERROR = 0.1  # arcsec
SIDE = 1200.0  # arcsec
MOVERS = ((10.0, 45.0), (-300.0, 200.0), (60.0, 0.0), (2.5, -1.0), (0.0, 30.0))  # east, north, arcsec/h


def field(
    movers=MOVERS, *, centre=(150.0, 20.0), images=10, span=0.7, stars=80, spurious=10, seed=0, mags=None, bend=0.0,
    exptime=60.0, shape=None,
):  # fmt: skip
    """Give lists with known movers (rows of mover 0, 1, ...), stars (-1), spurious sources (-2), and these numbers."""
    rng = np.random.default_rng(seed)
    hours = np.linspace(0, span, images)
    home = rng.uniform(-SIDE / 2, SIDE / 2, (stars, 2))
    start = rng.uniform(-SIDE / 4, SIDE / 4, (len(movers), 2))
    rows = []
    for k, t in enumerate(hours):
        for n, v in enumerate(movers):
            mag = 15.0 + n if mags is None else mags[k]
            rows.append((n, k, *(start[n] + np.array(v) * t + 0.5 * bend * t**2), mag))
        rows += [(-1, k, *place, 16.0) for place in home]
        rows += [(-2, k, *place, 19.0) for place in rng.uniform(-SIDE / 2, SIDE / 2, (spurious, 2))]
    owner, image, east, north, mag = np.array(rows).T
    owner = owner.astype(int)
    place = np.stack([east, north]) + rng.normal(0, ERROR, (2, len(rows)))
    # gnomonic, written out: the plane's x and y are exact angles of the sky there
    xi, eta = np.radians(place / 3600)
    d0 = np.radians(centre[1])
    depth = np.cos(d0) - eta * np.sin(d0)
    ra = (centre[0] + np.degrees(np.arctan2(xi, depth))) % 360
    dec = np.degrees(np.arctan2(np.sin(d0) + eta * np.cos(d0), np.hypot(xi, depth)))
    errors = np.full(len(rows), ERROR)
    known = {"mag": mag, "x": place[0] / 2, "y": place[1] / 2, "exptime": np.full(images, exptime)} | (
        shape or {}
    )
    return SourceLists.of(60000 + hours / 24, image.astype(int), (ra, dec), (errors, errors), **known), owner


def found(lists, owner, **options):
    """Return the tracks by the mover that all their sources are of (-1 = not one alone), and the links."""
    links = link(lists, LinkSettings(**options))
    named = {}
    for track in links.tracks:
        owners = set(owner[track.rows].tolist())
        named.setdefault(owners.pop() if len(owners) == 1 else -1, []).append(track)
    return named, links


@pytest.mark.parametrize("centre", [(150.0, 20.0), (0.0, -5.0), (359.9, 85.0), (180.0, -89.9)])
def test_movers_are_found_whole_with_their_motion_wherever_they_are(centre):
    lists, owner = field(centre=centre)
    named, links = found(lists, owner)
    assert sorted(named) == list(range(len(MOVERS)))
    for n, (track,) in named.items():
        assert len(track.rows) == 10
        if abs(centre[1]) < 80:  # at the poles the plane of the lists is turned against that of the truth
            assert np.abs(track.velocity - MOVERS[n]).max() < 5 * track.rate_error
        assert track.rate == pytest.approx(np.hypot(*MOVERS[n]), abs=5 * track.rate_error)
    assert links.static >= 80 * 9
    assert links.left == len(lists) - links.static - 50 - links.ghosts


def test_errors_of_the_motion_are_those_of_the_scatter():
    pulls = []
    for seed in range(40):
        lists, owner = field(((30.0, -40.0),), seed=seed, stars=10, spurious=0)
        ((track,),) = found(lists, owner, floor=1e-4)[0].values()
        pulls += list((track.velocity - (30.0, -40.0)) / np.sqrt(track.covariance[:, 1, 1]))
    assert np.std(pulls) == pytest.approx(1.0, abs=0.25)
    assert abs(np.mean(pulls)) < 0.35


def test_the_fit_is_that_of_least_squares():
    rng = np.random.default_rng(1)
    t, y, variance = rng.normal(size=9), rng.normal(size=(9, 2)), rng.uniform(0.5, 2, (9, 2))
    for terms in (2, 3):
        coefficients, covariance, chi2 = motion(t, y, variance, terms)
        total = 0.0
        for axis in range(2):
            w = variance[:, axis] ** -0.5
            best, cov = np.polyfit(t, y[:, axis], terms - 1, w=w, cov="unscaled")
            np.testing.assert_allclose(coefficients[axis], best[::-1])
            np.testing.assert_allclose(covariance[axis], cov[::-1, ::-1])
            total += (w**2 * (y[:, axis] - np.polyval(best, t)) ** 2).sum()
        assert chi2 == pytest.approx(total)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_the_order_of_sources_says_nothing(seed):
    lists, _ = field(seed=3)
    order = np.random.default_rng(seed).permutation(len(lists))
    ra, dec = lists.sky(lists.place)
    mixed = SourceLists.of(
        lists.mjd, lists.image[order], (ra[order], dec[order]), tuple(lists.error[order].T), mag=lists.mag[order],
        x=lists.pixel[order, 0], y=lists.pixel[order, 1], exptime=lists.exptime,
    )  # fmt: skip
    one, two = (link(each, LinkSettings()) for each in (lists, mixed))
    assert {frozenset(t.rows.tolist()) for t in one.tracks} == {
        frozenset(order[t.rows].tolist()) for t in two.tracks
    }


def test_accelerated_motion_is_followed_over_hours():
    lists, owner = field(((9.0, 2.0),), images=40, span=6.0, bend=0.4, spurious=3)
    ((track,),) = found(lists, owner)[0].values()
    assert len(track.rows) >= 39
    assert np.abs(track.acceleration - 0.4).max() < 0.05
    straight = field(((9.0, 2.0),), images=40, span=6.0, spurious=3)
    ((even,),) = found(*straight)[0].values()
    assert even.acceleration.tolist() == [0.0, 0.0]


def test_missing_images_and_several_at_one_time_do_no_harm():
    lists, owner = field()
    kept = ~np.isin(lists.image, (2, 3, 7))
    ra, dec = lists.sky(lists.place)
    fewer = SourceLists.of(
        lists.mjd[[0, 1, 1, 3, 4, 5, 6, 6, 8, 9]], lists.image[kept], (ra[kept], dec[kept]),
        tuple(lists.error[kept].T), mag=lists.mag[kept],
    )  # fmt: skip
    named, _ = found(fewer, owner[kept])
    assert [len(named[n][0].rows) for n in range(5)] == [7] * 5 or all(
        len(named[n][0].rows) >= 6 for n in range(5)
    )


def test_a_vague_source_takes_no_place_of_a_sharp_one():
    lists, owner = field()
    error = np.concatenate([lists.error, [[900.0, 900.0], [1.9, 1.9]]])
    ra, dec = lists.sky(lists.place)
    mover = np.flatnonzero((owner == 0) & (lists.image == 4))
    more = SourceLists.of(
        lists.mjd, np.append(lists.image, [4, 4]), (np.append(ra, [ra.mean(), ra[mover][0] + 2 / 3600]),
        np.append(dec, [dec.mean(), dec[mover][0]])), tuple(error.T), mag=np.append(lists.mag, [19.0, 15.0]),
    )  # fmt: skip
    named, links = found(more, np.append(owner, [-2, -2]))
    assert sorted(named) == list(range(5))
    assert all(len(track.rows) == 10 for (track,) in named.values())
    assert links.vague == 1


def test_crossing_movers_and_one_beside_a_star_keep_their_own_sources():
    lists, owner = field(((50.0, 0.0), (50.3, 0.5)), stars=0, spurious=0, seed=2)
    named, _ = found(lists, owner)
    assert sorted(named) == [0, 1]


# --- every reason ------------------------------------------------------------------------------------------


def reasons(lists, owner, **options):
    named, links = found(lists, owner, **options)
    assert set(links.rejected) <= set(REASONS)
    return named, links.rejected


def test_light_that_changes_too_much_is_no_mover():
    lists, owner = field(((40.0, 10.0),), mags=[15, 16.5, 15, 16.4, 15, 16.6, 15, 16.5, 15, 16.5], spurious=0)
    named, rejected = reasons(lists, owner, mag_scatter=0.6)
    assert not named
    assert rejected["magnitudes"] >= 1


def test_rates_outside_the_range_are_counted():
    lists, owner = field(((1.5, 0.5), (40.0, 3.0)), spurious=0)
    named, rejected = reasons(lists, owner, rate=(5.0, 600.0))
    assert sorted(named) == [1]
    assert rejected == {"rate": 1}
    assert sorted(reasons(lists, owner, rate=(0.5, 20.0))[0]) == [0]  # faster ones are not even looked for


def test_a_bad_fit_is_no_mover():
    lists, owner = field(((40.0, 10.0),), spurious=0)
    named, rejected = reasons(lists, owner, max_chi2=0.2)
    assert not named
    assert rejected["chi2"] >= 1


def test_tracks_of_four_among_many_spurious_sources_are_chance():
    few = none = 0
    for seed in range(5):
        lists, _ = field((), spurious=150, seed=seed, stars=0)
        none += len(link(lists, LinkSettings(floor=0.7)).tracks)
        few += len(link(lists, LinkSettings(floor=0.7, false_alarms=1e9)).tracks)
    assert few > 20
    assert none <= 1


def test_what_stays_on_the_detector_while_the_field_drifts_is_no_mover():
    drift = (8.0, 5.0)
    lists, owner = field((drift, (40.0, -10.0)), spurious=0)
    pixel = lists.pixel.copy()
    hours = lists.hours[lists.image]
    pixel -= np.array(drift) * hours[:, None] / 2  # the camera goes along with the first
    ra, dec = lists.sky(lists.place)
    known = {"mag": lists.mag, "exptime": lists.exptime, "x": pixel[:, 0], "y": pixel[:, 1]}
    moved = SourceLists.of(lists.mjd, lists.image, (ra, dec), tuple(lists.error.T), **known)
    named, rejected = reasons(moved, owner)
    assert sorted(named) == [1]
    assert rejected == {"detector": 1}
    assert sorted(reasons(lists, owner)[0]) == [0, 1]


@pytest.mark.parametrize(
    ("stretched", "angle", "fine"), [(2.9, 0.0, True), (1.0, 0.0, False), (2.9, 90.0, False)]
)
def test_fast_movers_are_trails(stretched, angle, fine):
    # 10 arcsec in a minute, 5 pixels of 2 arcsec: (1 + 25 / 12)^1/2 = 1.76 pixels along the motion for stars of 1
    lists, owner = field(((600.0, 0.0),), spurious=0)
    a = np.where(owner == 0, 1.76 if stretched > 1 else 1.0, 1.0)
    theta = np.where(owner == 0, angle, 0.0)
    lists, owner = field(((595.0, 0.0),), spurious=0, shape={"a": a, "b": np.ones(len(a)), "theta": theta})
    named, rejected = reasons(lists, owner)
    assert (sorted(named) == [0]) is fine
    assert fine or rejected["shape"] >= 1


def test_galaxies_and_spilt_charge_are_too_wide_to_be_movers():
    _, owner = field(((1.5, 0.0), (20.0, 0.0)), spurious=0)
    wide = np.where(owner == 0, 4.0, 1.0)
    lists, owner = field(
        ((1.5, 0.0), (20.0, 0.0)), spurious=0, shape={"a": wide, "b": wide, "theta": 0 * wide}
    )
    named, rejected = reasons(lists, owner)
    assert sorted(named) == [1]
    assert rejected == {"shape": 1}


@pytest.mark.parametrize(("images", "hours", "slowest"), [(12, 44 / 60, 0.75), (16, 1.0, 0.5)])
def test_the_slowest_motion_is_five_errors_of_places_as_good_as_the_floor(images, hours, slowest):
    assert LinkSettings().min_motion == 5.0
    floor = np.sqrt(LinkSettings().floor ** 2 - ERROR**2)
    errors = []
    for seed in range(5):
        lists, owner = field(((3.0, 0.0),), images=images, span=hours, spurious=0, stars=20, seed=seed)
        errors.append(found(lists, owner, floor=floor)[0][0][0].rate_error)
    assert 5 * min(errors) == pytest.approx(slowest, rel=0.03)


def test_pieces_of_one_trail_are_one_mover():
    lists, owner = field(((560.0, 0.0),), spurious=0, stars=5)
    ra, dec = lists.sky(lists.place)
    piece = np.flatnonzero(owner == 0)[:8]
    twice = SourceLists.of(
        lists.mjd, np.append(lists.image, lists.image[piece]),
        (np.append(ra, ra[piece] + 4 / 3600 / np.cos(np.radians(20))), np.append(dec, dec[piece])),
        tuple(np.append(lists.error, lists.error[piece], axis=0).T), exptime=lists.exptime,
    )  # fmt: skip
    named, rejected = reasons(twice, np.append(owner, owner[piece]))
    assert [len(track.rows) for track in named[0]] == [10]
    assert rejected["twin"] == 1


def test_sources_in_the_halo_of_a_bright_star_are_not_linked():
    lists, owner = field()
    star = np.array([[*lists.place[owner == 0].mean(axis=0), 6.0], [0.0, 0.0, 8.5]])
    halo = near_bright(lists, star, 50.0)
    away = np.hypot(*(lists.place - star[0, :2]).T)
    np.testing.assert_array_equal(halo, away < 50)
    links = link(lists, LinkSettings(), ghosts=halo)
    assert len(links.tracks) == 4
    assert links.ghosts == halo.sum()
    star[0, 2] = 8.0
    np.testing.assert_array_equal(near_bright(lists, star, 50.0), away < 50 * 0.7**2)


# --- what stays --------------------------------------------------------------------------------------------


def test_stars_stay_also_in_pairs_and_with_companions_that_come_and_go():
    rng = np.random.default_rng(5)
    place = np.array([[0.0, 0.0], [1.3, 0.0], [100.0, 0.0], [100.4, 0.0]])
    image = np.repeat(np.arange(12), 4)
    east, north = (np.tile(place, (12, 1)) + rng.normal(0, 0.1, (48, 2))).T / 3600
    errors = np.full(48, 0.1)
    lists = SourceLists.of(60000 + np.arange(12) / 360, image, (150 + east, north), (errors, errors))
    still = find_static(lists, LinkSettings())
    assert still.static.all()
    assert not still.slow
    assert not link(lists, LinkSettings()).tracks


def test_a_slow_mover_between_stars_is_not_taken_for_one():
    lists, owner = field(((1.2, 0.9),), images=12, span=1.5, stars=100, spurious=0)
    still = find_static(lists, LinkSettings())
    assert not still.static[owner == 0].any()
    assert [sorted(group.tolist()) for group in still.slow] == [np.flatnonzero(owner == 0).tolist()]


# --- edges -------------------------------------------------------------------------------------------------


def test_too_little_to_link_is_no_error():
    lists, _ = field(images=3)
    assert not link(lists, LinkSettings()).tracks
    empty = SourceLists.of([60000.0, 60000.1], [], ([], []), ([], []))
    assert len(empty) == 0
    assert empty.area == 0.0
    assert not link(empty, LinkSettings()).tracks
    assert not find_static(empty, LinkSettings()).static.any()


@pytest.mark.parametrize(
    ("mjd", "ra", "error", "message"),
    [
        ([60001.0, 60000.0], [1.0], [0.1], "in order of time"),
        ([60000.0, 60001.0], [np.nan], [0.1], "1 of 1 sources have no position"),
        ([60000.0, 60001.0], [1.0], [0.0], "no error"),
    ],
)
def test_lists_without_order_positions_or_errors_are_refused(mjd, ra, error, message):
    with pytest.raises(DataError, match=message):
        SourceLists.of(mjd, [0], (ra, [2.0]), (error, [0.1]))


def test_shapes_turn_with_the_camera():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1000, (2, 20))
    angle = np.radians(30.0)
    # mirrored and turned, 2 arcsec per pixel
    east = -2 * (np.cos(angle) * x - np.sin(angle) * y) / 3600
    north = 2 * (np.sin(angle) * x + np.cos(angle) * y) / 3600
    lists = SourceLists.of(
        [60000.0], np.zeros(20, int), (10 + east, north), (np.ones(20), np.ones(20)), x=x, y=y,
        a=np.full(20, 3.0), b=np.full(20, 1.0), theta=np.zeros(20),
    )  # fmt: skip
    way = np.array([-np.cos(angle), np.sin(angle)])  # of the x axis
    along = lists.shape @ np.array([way[0] ** 2, 2 * way[0] * way[1], way[1] ** 2])
    np.testing.assert_allclose(along, 36.0, rtol=1e-3)
    np.testing.assert_allclose(lists.shape[:, 0] + lists.shape[:, 2], 40.0, rtol=1e-3)


def test_a_track_says_where_it_is_and_how_well():
    lists, owner = field(((30.0, 40.0),), spurious=0)
    track = fit_track(lists, np.flatnonzero(owner == 0), floor=0.1)
    assert track.rate == pytest.approx(50.0, abs=1.0)
    assert track.pa == pytest.approx(np.degrees(np.arctan2(30, 40)), abs=1.0)
    middle, end = track.errors_at(np.array([track.zero, 10.0]))
    assert middle[0] == pytest.approx(np.hypot(ERROR, 0.1) / np.sqrt(10), rel=1e-6)
    assert end[0] > 10 * middle[0]
    assert track.dof == 16
