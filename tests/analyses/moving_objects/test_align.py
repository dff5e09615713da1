"""Maps between images from their stars say how far they are wrong."""

from dataclasses import replace

import numpy as np
import pytest
from truth.frames import NightPlan, draw_movers, make_night

from virtualobserver.analyses.moving_objects import MovingObjects
from virtualobserver.analyses.moving_objects.align import maps_of
from virtualobserver.analyses.moving_objects.night import load_night
from virtualobserver.analyses.moving_objects.photometry import _measured
from virtualobserver.analyses.moving_objects.sights import Sight
from virtualobserver.maths.shiftstack.explain import Mover
from virtualobserver.maths.shiftstack.refine import Refined

SIDE, NOISE = 400, 0.12


def night(number, frames=16, seed=1):
    """Return sights of stars with errors of NOISE, in a field that drifts and turns, and where stars are in each."""
    rng = np.random.default_rng(seed)
    stars = rng.uniform(30, SIDE - 30, (number, 2))
    sights, places = [], []
    for frame in range(frames):
        angle = np.radians(0.05 * frame)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        true = (stars - SIDE / 2) @ turn.T + SIDE / 2 + np.array([0.3, -0.2]) * frame
        places.append(true)
        seen = true + rng.normal(0, NOISE, true.shape)
        sights.append(Sight({}, "electron", (SIDE, SIDE), 60000.0 + frame, 3.0, 0.0, 1.0, 0.0, stars=seen))
    return sights, np.array(places)


@pytest.mark.parametrize("number", [12, 30, 60])
def test_maps_from_stars_are_wrong_by_what_they_say(number):
    off, said, shared = [], [], []
    for seed in range(4):
        sights, true = night(number, seed=seed)
        maps, aligned = maps_of(sights, how="stars")
        assert aligned.all()
        assert maps[0].error < 1e-6
        away = [
            np.stack(one(*true[0].T), axis=1) - place for one, place in zip(maps[1:], true[1:], strict=True)
        ]
        off.append(np.mean(np.square(away)))
        said.append(np.mean([one.error**2 for one in maps[1:]]))
        shared.append(np.mean(np.square(np.mean(away, axis=0))))
    assert np.sqrt(np.mean(said) / np.mean(off)) == pytest.approx(1.0, abs=0.2)
    # half of the variance is that of the first image's stars, in all the same
    assert np.mean(shared) / np.mean(off) == pytest.approx(0.5, abs=0.15)


def test_maps_on_one_grid_are_exact():
    sights, _ = night(12, frames=3)
    assert [one.error for one in maps_of(sights, how="none")[0]] == [0.0] * 3


def test_the_path_of_a_mover_has_the_errors_of_images_aligned_by_their_stars():
    plan = NightPlan(frames=10, side=120, stars=40, dither=1.5, world=False, star_light=(3e3, 3e4))
    (one,) = draw_movers(plan, 1, 2, ideal=(60.0, 80.0), rate=(8.0, 20.0))
    made = make_night(plan, [one], 2)
    night = load_night(made.handles, MovingObjects(stack={"min_epochs": 6}, pixel_scale=plan.scale).settings)
    errors = np.array([each.error for each in night.stack.maps])
    assert (errors[1:] > 0.005).all()
    start = Refined(
        one.x,
        one.y,
        one.vx * 24,
        one.vy * 24,
        60.0,
        one.flux,
        1.0,
        0.1,
        np.eye(2),
        np.eye(2),
        np.ones(10, bool),
    )
    mover = Mover(start, 60.0, 10, *np.zeros((2, 10), np.float32), np.ones(10, bool))
    path, _ = _measured(night, mover)
    exact = replace(night.stack, maps=[replace(each, error=0.0) for each in night.stack.maps])
    without, _ = _measured(replace(night, stack=exact), mover)
    assert path.x == without.x
    least = np.median(errors[1:]) / np.sqrt(2)
    assert np.hypot(without.x_error, least) < path.x_error < np.hypot(without.x_error, 2 * least)
