"""Exposure times and light travel, against real epochs and independent formulas."""

import csv
import socket
import warnings
from pathlib import Path

import numpy as np
import pytest

from virtualobserver.errors import DataError
from virtualobserver.maths.times import Site, bjd_tdb, hjd_utc, light_travel_days, mid_exposure

PALOMAR = Site(lon=-116.8631, lat=33.3563, height=1712.0)


def test_middle_is_half_an_exposure_after_the_start():
    np.testing.assert_allclose(mid_exposure([58000.0, 58001.0], [86400.0, 0.0]), [58000.5, 58001.0])


@pytest.mark.real
def test_heliocentric_times_of_the_archive_to_six_milliseconds():
    from support.real import real_data

    with Path(real_data("ztf", "ZTF_lightcurve.csv")).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    mjd, hjd, exptime, ra, dec = (
        np.array([float(row[name]) for row in rows]) for name in ("mjd", "hjd", "exptime", "ra", "dec")
    )
    difference = (hjd_utc(mid_exposure(mjd, exptime), ra, dec, PALOMAR) - hjd) * 86400
    assert difference.size == 1852
    assert np.abs(difference).max() < 0.0065
    assert abs(np.median(difference)) < 0.0015
    at_start = (hjd_utc(mjd, ra, dec, PALOMAR) - hjd) * 86400
    np.testing.assert_allclose(at_start, -exptime / 2, atol=0.0065)


def test_barycentric_tdb_is_utc_plus_leap_seconds_plus_travel():
    mjd = np.array([58300.0, 58400.0])
    travel = light_travel_days(mjd, 10.0, 20.0, PALOMAR)
    # TDB - UTC since 2017: 37 leap seconds and 32.184 s, give or take 2 ms
    difference = (bjd_tdb(mjd, 10.0, 20.0, PALOMAR) - 2400000.5 - mjd - travel) * 86400
    np.testing.assert_allclose(difference, 69.184, atol=0.003)


def test_travel_time_spans_the_orbit_of_the_earth():
    mjd = 58000 + np.arange(0, 366.0, 1)
    in_ecliptic = light_travel_days(mjd, 0.0, 0.0, PALOMAR, kind="heliocentric") * 86400
    at_pole = light_travel_days(mjd, 270.0, 66.5607, PALOMAR, kind="heliocentric") * 86400
    assert in_ecliptic.max() == pytest.approx(499, abs=9)
    assert in_ecliptic.min() == pytest.approx(-499, abs=9)
    assert np.abs(at_pole).max() < 0.1
    # the Earth is nearest to a star at RA 0 when the Sun stands at RA 180, in late September
    assert abs(mjd[np.argmax(in_ecliptic)] - 58018) < 4


def test_times_beyond_the_earth_orientation_table_work_without_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(bjd_tdb([40000.0, 58000.0, 75000.0], 1.0, 2.0, PALOMAR)).all()


def test_fault_16_odd_times_and_positions_give_nan():
    result = bjd_tdb([58000.0, np.nan, np.inf, 58000.0], [10.0, 10, 10, np.nan], [0.0, 0, 0, 0], PALOMAR)
    assert np.isfinite(result).tolist() == [True, False, False, False]
    assert bjd_tdb([], 10.0, 10.0, PALOMAR).size == 0
    assert np.isnan(bjd_tdb(58000.0, 10.0, 95.0, PALOMAR))


def test_positions_must_fit_the_times():
    with pytest.raises(DataError, match="length"):
        bjd_tdb([1.0, 2.0, 3.0], [1.0, 2.0], 0.0, PALOMAR)


def test_astropy_settings_are_put_back():
    from astropy.utils import iers

    before = iers.conf.auto_download
    hjd_utc(58000.0, 1.0, 1.0, PALOMAR)
    assert iers.conf.auto_download == before
