"""What a header says of an exposure, and what it cannot say."""

from __future__ import annotations

import math

import pytest
from tests.support.harps import header

from virtualobserver.maths.spectra import flags
from virtualobserver.observatories.harps.header import read_facts


def test_a_sound_header_has_no_problems():
    facts = read_facts(header(), "a.fits")
    assert facts.problems == []
    assert (facts.exptime, facts.rv, facts.berv) == (172.8, 20.0, 3.0)
    assert facts.mjd == pytest.approx(56000.101)


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("EXPTIME", -1.0, "exptime"),
        ("EXPTIME", 1e9, "exptime"),
        ("ESO DRS CCF RVC", 1e6, "rv"),
        ("ESO TEL AIRM START", 99.0, "airmass"),
        ("ESO TEL TARG PARALLAX", 99.0, "parallax"),
    ],
)
def test_a_value_that_cannot_be_is_unknown_and_told(key, value, name):
    facts = read_facts(header(**{key: value}), "a.fits")
    assert math.isnan(getattr(facts, name))
    [(bit, text)] = facts.problems
    assert bit == flags.QUALITY_KEYWORD
    assert key in text
    assert "outside of" in text


def test_a_barycentric_velocity_that_cannot_be_is_computed():
    told, computed = (read_facts(header(**{"ESO DRS BERV": value}), "a.fits").berv for value in (99.0, None))
    assert told == computed
    assert abs(told) < 45


def test_julian_dates_are_no_modified_ones():
    facts = read_facts(header(**{"MJD-OBS": 2456000.6, "MJD-END": None}), "a.fits")
    assert math.isnan(facts.mjd)
    assert "MJD-OBS" in facts.problems[0][1]


@pytest.mark.parametrize("place", [{"RA": 400.0}, {"RA": -1.0}, {"DEC": -91.0}])
def test_a_position_off_the_sky_gives_way_to_that_of_the_target(place):
    told = {"ESO TEL TARG ALPHA": 54717.09, "ESO TEL TARG DELTA": -510359.4}
    facts = read_facts(header(**place, **told), "a.fits")
    assert (facts.ra, facts.dec) == pytest.approx((86.82121, -51.0665), abs=1e-4)
    assert "outside of the sky" in facts.problems[0][1]
