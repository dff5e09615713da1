"""What containers tell of themselves as columns of ObsCore."""

import numpy as np
import pytest

from virtualobserver.data.image import Image
from virtualobserver.data.obscore import obscore_of
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries

TAN = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 30.0, "CRVAL2": -20.0, "CRPIX1": 150.5, "CRPIX2": 100.5,
    "CD1_1": -0.001, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.001,
}  # fmt: skip


def test_an_image_tells_its_pixels_place_and_outline():
    told = obscore_of(Image(np.zeros((200, 300)), header=TAN, unit="adu"), {"fwhm": 2.0})
    assert (told["s_xel1"], told["s_xel2"], told["o_ucd"]) == (300, 200, "phot.count")
    assert (told["s_ra"], told["s_dec"]) == (pytest.approx(30.0, abs=1e-9), pytest.approx(-20.0, abs=1e-9))
    assert told["s_fov"] == pytest.approx(np.hypot(0.3, 0.2), rel=1e-4)
    assert told["s_resolution"] == pytest.approx(7.2, rel=1e-3)  # two pixels of 3.6 arcsec
    words = told["s_region"].split()
    corners = np.array(words[2:], float).reshape(4, 2)
    assert words[:2] == ["POLYGON", "ICRS"]
    assert corners[0, 0] > 30 > corners[1, 0]
    np.testing.assert_allclose(corners[:, 1], [-20.1, -20.1, -19.9, -19.9], atol=2e-3)


@pytest.mark.parametrize(
    "header", [{}, TAN | {"CRVAL1": float("nan")}, TAN | {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}]
)
def test_an_image_without_a_place_tells_its_pixels_only(header):
    assert obscore_of(Image(np.zeros((2, 3)), header=header, unit="electron"), {}) == {
        "s_xel1": 3, "s_xel2": 2, "o_ucd": "phot.count",
    }  # fmt: skip


def test_positions_in_another_frame_become_icrs():
    galactic = TAN | {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "CRVAL1": 0.0, "CRVAL2": 0.0}
    told = obscore_of(Image(np.zeros((200, 300)), header=galactic), {})
    assert (told["s_ra"], told["s_dec"]) == (
        pytest.approx(266.405, abs=2e-3),
        pytest.approx(-28.936, abs=2e-3),
    )


def spectra(**more):
    epochs = Table({"mjd": np.array([58000.0, 58001.0]), "exptime": np.array([60.0, 120.0])})
    wave = np.array([5000.0, 5001.0, 5002.0])
    return SpectrumSet(wave, np.ones((2, 3)), np.ones((2, 3)), np.zeros((2, 3), int), epochs, **more)


def test_spectra_tell_wavelengths_in_vacuum_and_their_exposures():
    told = obscore_of(spectra(medium="air"), {})
    assert told["em_min"] == pytest.approx(5001.394e-10, abs=2e-13)  # Morton (2000)
    assert (told["em_xel"], told["t_exptime"], told["t_resolution"]) == (3, 180.0, 90.0)
    assert told["t_min"] == pytest.approx(58000 - 30 / 86400)
    assert told["t_max"] == pytest.approx(58001 + 60 / 86400)
    assert obscore_of(spectra(medium="vacuum", wave_unit="nm"), {})["em_max"] == pytest.approx(5002e-9)
    assert "em_min" not in obscore_of(spectra(wave_unit="km/s"), {})


def test_a_light_curve_tells_what_was_measured_and_how_long():
    columns = {
        "mjd": np.array([58000.0, 58001.0]),
        "flux": np.ones(2),
        "flux_error": np.ones(2),
        "flags": np.zeros(2, int),
    }
    assert obscore_of(TimeSeries(columns, flux_unit="electron/s"), {}) == {"o_ucd": "phot.count"}
    told = obscore_of(TimeSeries(columns | {"exptime": np.array([np.nan, 30.0])}, flux_unit="uJy"), {})
    assert (told["o_ucd"], told["t_exptime"]) == ("phot.flux.density", 30.0)
    assert obscore_of(Table({"a": np.ones(2)}), {}) == {}
