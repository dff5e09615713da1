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


def test_a_date_that_contradicts_mjd_obs_is_told():
    wrong = read_facts(
        header(**{"MJD-OBS": 60000.6, "MJD-END": 60000.61, "DATE-OBS": "2003-12-13T01:00:00"}), "a.fits"
    )
    assert wrong.mjd == pytest.approx(60000.605)
    text = "MJD-OBS = 60000.6 contradicts DATE-OBS = 2003-12-13T01:00:00; MJD-OBS taken"
    assert (flags.QUALITY_KEYWORD, text) in wrong.problems
    assert not read_facts(header(), "a.fits").problems


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


def test_headers_of_other_telescopes_have_the_same_facts_by_other_names():
    known = header(
        **{"ESO DRS CCF RVC": None, "ESO DRS BERV": None, "ESO DPR TYPE": None, "ESO INS MODE": None}
    )
    north = known | {
        "INSTRUME": "HARPN", "TNG QC BERV": 7.5, "TNG QC CCF RV": 12.25, "TNG TEL TARG ALPHA": "05:44:00.0",
        "TNG TEL TARG DELTA": "-51:00:00", "TNG DPR TYPE": "STAR,WAVE,A5", "AIRMASS": 1.4,
    }  # fmt: skip
    facts = read_facts({k: v for k, v in north.items() if k not in {"RA", "DEC"}}, "x")
    assert (facts.berv, facts.rv, facts.airmass) == (7.5, 12.25, 1.4)
    assert (facts.ra, facts.dec) == pytest.approx((86.0, -51.0))
    assert facts.site.lat == pytest.approx(28.75, abs=0.1)
    assert any("lamp in the other fibre" in reason for _, reason in facts.problems)
    south = known | {
        "INSTRUME": "ESPRESSO", "ESO QC BERV": -3.0, "ESO TEL3 GEOLON": -70.4, "ESO TEL3 GEOLAT": -24.63,
        "ESO TEL3 AIRM START": 1.2,
    }  # fmt: skip
    facts = read_facts(south, "x")
    assert (facts.berv, facts.airmass, facts.site.lon) == (-3.0, 1.2, -70.4)
    assert read_facts({**known, "INSTRUME": "ESPRESSO"}, "x").site.lat == pytest.approx(-24.63, abs=0.01)
