"""Rotation periods: eleven real bodies, one without a period, simulated nights, bad input."""

import numpy as np
import pytest
from support.sso import LIGHTCURVES, ceres, lightcurve

from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.periods.rotation import rotation


@pytest.mark.real
def test_periods_of_eleven_bodies_are_those_of_the_database():
    right = []
    for name in LIGHTCURVES:
        body = lightcurve(name)
        found = rotation(body.hours, body.mag, sessions=body.session, permutations=0)
        ratio = found.period / body.period
        if abs(ratio - 1) < 0.01:
            right.append(name)
    assert len(right) >= 10, right


@pytest.mark.real
def test_ceres_has_no_secure_period():
    hours, mag, session = ceres()
    assert not rotation(hours, mag, sessions=session).secure


def nights(rng, *, period, amplitude, unequal=0.1, noise=0.02, number=4):
    """Nights of six hours with zero points of their own; two maxima of unlike height and a sharp minimum."""
    parts = []
    for night in range(number):
        hours = 24.0 * night + np.sort(rng.uniform(0, 6, 60))
        phase = 2 * np.pi * hours / period
        mag = amplitude * (np.abs(np.cos(phase)) ** 1.3 - 0.5) + unequal * amplitude * np.cos(phase)
        parts.append((hours, mag + rng.normal(0, 0.3) + rng.normal(0, noise, 60), np.full(60, night)))
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


@pytest.mark.parametrize("period", [3.71, 7.42, 11.3])
def test_period_is_found_whatever_the_zero_points_of_nights(period):
    hours, mag, session = nights(np.random.default_rng(int(period * 100)), period=period, amplitude=0.4)
    found = rotation(hours, mag, sessions=session)
    assert found.period == pytest.approx(period, rel=3e-3)
    assert abs(found.period - period) < 5 * found.period_error
    assert found.grade == (3 if period < 10 else 2)  # two phases of 11.3 h are missing
    assert found.amplitude == pytest.approx(0.4, rel=0.35)
    assert found.fap == 0.01
    others = [one.relation for one in found.candidates[1:]]
    assert "1/2" in others
    left = mag - found.offsets[session] - found.model(found.phase(hours))
    assert np.std(left) == pytest.approx(found.rms, rel=1e-6)
    assert found.rms < 0.035


def test_a_body_of_two_like_maxima_is_not_taken_at_half_its_period():
    hours, mag, session = nights(np.random.default_rng(1), period=8.2, amplitude=0.5, unequal=0.0)
    found = rotation(hours, mag, sessions=session)
    assert found.period == pytest.approx(8.2, rel=3e-3)
    assert found.candidates[0].maxima == 2


def test_noise_has_no_grade():
    grades = []
    for seed in range(12):
        rng = np.random.default_rng([seed, 4])
        hours, _, session = nights(rng, period=6, amplitude=0.3, number=3)
        grades.append(rotation(hours, rng.normal(0, 0.02, hours.size), sessions=session).grade)
    assert sum(grade >= 2 for grade in grades) == 0
    assert sum(grade > 0 for grade in grades) <= 1


def test_the_same_light_curve_has_the_same_answer_in_any_order():
    hours, mag, session = nights(np.random.default_rng(8), period=5.5, amplitude=0.3)
    mixed = np.random.default_rng(0).permutation(hours.size)
    one, other = (rotation(hours[k], mag[k], sessions=session[k]) for k in (slice(None), mixed))
    assert one.period == pytest.approx(other.period, rel=1e-9)
    assert one.grade == other.grade


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (
            {"hours": np.arange(5.0), "values": np.arange(5.0)},
            NotEnoughData,
            "5 values in 1 sessions are too few",
        ),
        ({"values": np.full(30, np.nan)}, DataError, "must be finite"),
        ({"errors": np.zeros(30)}, DataError, "errors above 0"),
        ({"sessions": [1, 2]}, DataError, "2 sessions"),
        ({"shortest": 10.0, "longest": 5.0}, DataError, "no period lies between 10 h and 5 h"),
    ],
)
def test_what_has_no_rotation_is_refused(change, kind, said):
    given = {"hours": np.linspace(0, 9, 30), "values": np.sin(np.arange(30.0))} | change
    with pytest.raises(kind, match=said):
        rotation(given.pop("hours"), given.pop("values"), **given)
