"""Each trail gets its star, however far beside the telescope pointed, or an error that says why not."""

import numpy as np
import pytest
from support.drift import TRACK, simulated

from virtualobserver.errors import DataError
from virtualobserver.maths.trails.detect import TrailList, find_trails
from virtualobserver.maths.trails.offset import best_offset, match_trails, offset_votes

SHAPE = (700, 700)


def field(n=120, *, offset=(33.0, -21.0), stretch=0.0, seed=3):
    """Stars of a catalogue and the trails of nine in ten of them, in another order."""
    rng = np.random.default_rng(seed)
    x, y, mag = rng.uniform(0, 700, n), rng.uniform(0, 700, n), rng.uniform(15, 20, n)
    seen = rng.permutation(n)[: 9 * n // 10]
    seen = seen[np.argsort(mag[seen])]
    (vx, vy), scatter = TRACK.vector, rng.normal(0, 0.3, (2, len(seen)))
    px = x[seen] + offset[0] + stretch * (x[seen] - 349.5) + 10 * vx + scatter[0]
    py = y[seen] + offset[1] + stretch * (y[seen] - 349.5) + 10 * vy + scatter[1]
    flux = 10 ** (-0.4 * (mag[seen] - 25))
    return TrailList(px, py, flux, np.ones(len(seen)), flux), (x, y, mag), seen


@pytest.mark.parametrize("offset", [(0.0, 0.0), (33.0, -21.0), (-57.5, 55.2)])
def test_an_offset_is_found_and_stars_are_named(offset):
    trails, stars, seen = field(offset=offset)
    x, y, strength = best_offset(offset_votes(trails, *stars, TRACK))
    assert strength > 10
    assert (x, y) == (pytest.approx(offset[0], abs=0.7), pytest.approx(offset[1], abs=0.7))
    match = match_trails(trails, *stars, TRACK, offset=(x, y), shape=SHAPE)
    assert np.mean(seen[match.trail] == match.star) >= 0.99
    assert len(match) >= 0.95 * len(seen)
    assert match.offset == (pytest.approx(offset[0], abs=0.2), pytest.approx(offset[1], abs=0.2))
    assert match.rms == pytest.approx(0.3, abs=0.1)


def test_a_field_that_is_stretched_is_followed():
    trails, stars, seen = field(stretch=0.004)
    x, y, _ = best_offset(offset_votes(trails, *stars, TRACK))
    match = match_trails(trails, *stars, TRACK, offset=(x, y), shape=SHAPE)
    assert np.mean(seen[match.trail] == match.star) >= 0.99
    assert match.rms < 0.4
    px, _ = match.to_frame(0.0, 0.0)
    assert px == pytest.approx(33.0 - 0.004 * 349.5, abs=0.3)


def test_matches_are_one_to_one():
    trails, stars, _ = field(400)
    match = match_trails(trails, *stars, TRACK, offset=(33.0, -21.0), shape=SHAPE)
    assert len(set(match.trail)) == len(set(match.star)) == len(match)


def test_of_two_stars_in_one_place_the_one_as_bright_is_meant():
    trails, (x, y, mag), seen = field()
    faint = x + 0.2, y - 0.1, np.full(len(x), 24.0)
    both = tuple(np.concatenate(pair) for pair in zip(faint, (x, y, mag), strict=True))
    match = match_trails(trails, *both, TRACK, offset=(33.0, -21.0), shape=SHAPE)
    assert np.mean(seen[match.trail] + len(x) == match.star) >= 0.99


def test_votes_of_chips_add_up():
    chips = [field(14, seed=seed) for seed in range(8)]
    votes = sum(offset_votes(trails, *stars, TRACK) for trails, stars, _ in chips)
    x, y, strength = best_offset(votes)
    assert (x, y) == (pytest.approx(33.0, abs=0.7), pytest.approx(-21.0, abs=0.7))
    assert strength > max(best_offset(offset_votes(trails, *stars, TRACK))[2] for trails, stars, _ in chips)


def test_strangers_do_not_stand_out():
    trails, _, _ = field(seed=3)
    _, stars, _ = field(seed=4)
    assert best_offset(offset_votes(trails, *stars, TRACK))[2] < 10


def test_nothing_to_match_is_said():
    trails, stars, _ = field()
    nothing = trails.take(slice(0))
    with pytest.raises(DataError, match="no pair"):
        best_offset(offset_votes(nothing, *stars, TRACK))
    with pytest.raises(DataError, match="no trail of 0"):
        match_trails(nothing, *stars, TRACK, offset=(0.0, 0.0), shape=SHAPE)
    with pytest.raises(DataError, match="differ in shape"):
        offset_votes(trails, [1.0], [1.0, 2.0], [3.0], TRACK)


@pytest.mark.real
@pytest.mark.parametrize("expnum", [1058801, 1058802])
def test_a_simulated_exposure_finds_its_place_and_its_stars(expnum):
    sky = simulated(expnum)
    found = find_trails(sky.image, sky.variance, TRACK, fwhm=sky.fwhm, mask=sky.mask)
    votes = offset_votes(found, sky.x, sky.y, sky.mag, TRACK)
    x, y, _ = best_offset(votes)
    match = match_trails(found, sky.x, sky.y, sky.mag, TRACK, offset=(x, y), shape=sky.image.shape)
    assert np.hypot(match.offset[0] - sky.offset[0], match.offset[1] - sky.offset[1]) < 0.7
    true_x, true_y = sky.middles()
    named = []
    for trail, star in zip(match.trail, match.star, strict=True):
        near = np.flatnonzero(np.hypot(true_x - found.x[trail], true_y - found.y[trail]) < 4)
        named.append(len(near) > 0 and near[np.argmin(sky.mag[near])] == star)  # the brightest drew it
    assert np.mean(named) >= 0.99
    assert len(named) > 180
