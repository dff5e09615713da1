"""What headers of other cameras mean: kinds, numbers as text, dates, time scales, angles, places, gains."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import FK4, FK5, Galactic, SkyCoord
from astropy.time import Time
from astropy.wcs import WCS

from virtualobserver.ccd.detector import detector_of
from virtualobserver.ccd.header import facts_of, unit_of
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.ccd.values import angle, pointing_of
from virtualobserver.errors import BadKeyword
from virtualobserver.io.fits.keywords import number, read_wcs
from virtualobserver.observatories.astep import ASTEPSettings

PLAIN = {
    "DATE-OBS": "2024-05-01T22:10:11", "EXPTIME": 60.0, "IMAGETYP": "LIGHT", "GAIN": 1.0, "RDNOISE": 5.0,
    "CCD-TEMP": -10.0,
}  # fmt: skip
MIDDLE = Time("2024-05-01T22:10:41").mjd


def facts(name="light.fits", settings=None, **cards):
    """Facts of a frame whose header is `PLAIN` with some cards changed; None takes one out."""
    header = {**PLAIN, **{key.replace("_", "-"): value for key, value in cards.items()}}
    header = {key: value for key, value in header.items() if value is not None}
    return facts_of(name, header, (40, 44), settings or CCDSettings())


@pytest.mark.parametrize(
    ("card", "value"),
    [("MJD_OBS", 60431.0 - 1 + 0.92373843), ("MJD_BEG", 60431.9652), ("JD", 2460433.42373843)],
)
def test_day_numbers_that_contradict_the_date_are_noted(card, value):
    found = facts(**{card: value})
    assert found["mjd"] == pytest.approx(MIDDLE, abs=1e-9)  # the date is taken
    (note,) = found["notes"]
    assert note.startswith(
        f"{card.replace('_', '-')} = {value:.10g} contradicts DATE-OBS = 2024-05-01T22:10:11"
    )


@pytest.mark.parametrize("after", [0, 30, 60, 69])  # begin, middle, end, and begin in TT (s)
def test_day_numbers_of_another_moment_of_the_exposure_are_no_contradiction(after):
    begin = Time("2024-05-01T22:10:11").mjd
    assert facts(MJD_OBS=begin + after / 86400, JD=begin + 2400000.5 + after / 86400)["notes"] == []


KINDS = {
    "Light Frame": "science", "LIGHT": "science", "object": "science", "OBJECT": "science", "Target": "science",
    "EXPOSE": "science", "science": "science", "Dark Frame": "dark", "DARK": "dark", "DARKFLAT": "dark",
    "FLATDARK": "dark", "Dark Flat": "dark", "flat-dark": "dark", "DarkFlat": "dark", "Flat Field": "flat",
    "FLAT": "flat", "SKYFLAT": "flat", "Sky Flat": "flat", "dome flat": "flat", "Twilight": "flat",
    "twilight flat": "flat", "Bias Frame": "bias", "zero": "bias", "OFFSET": "bias", "Master Flat": "flat",
    "MASTERBIAS": "bias", "MasterDark": "dark",
}  # fmt: skip


@pytest.mark.parametrize("said", KINDS)
def test_the_kind_of_a_frame_is_told_by_words_combined_ones_first(said):
    assert facts("a.fits", IMAGETYP=said)["kind"] == KINDS[said]


@pytest.mark.parametrize(
    ("cards", "finished"),
    [
        ({"IMAGETYP": "Master Flat"}, True), ({"IMAGETYP": "MASTERBIAS"}, True), ({"IMAGETYP": "MasterDark"}, True),
        ({"IMAGETYP": "FLAT", "NCOMBINE": 20}, True), ({"IMAGETYP": "FLAT", "NCOMBINE": 1}, False),
        ({"IMAGETYP": "FLAT"}, False), ({"IMAGETYP": "LIGHT", "NCOMBINE": 20}, False),
    ],
)  # fmt: skip
def test_masters_of_other_programs_are_known_by_their_headers(cards, finished):
    assert facts("a.fits", **cards).get("finished", False) is finished


@pytest.mark.parametrize("cards", [{"XBINNING": 0, "YBINNING": 2}, {"CCDSUM": "0 2"}, {"BINNING": "0x2"}])
def test_a_binning_that_cannot_be_is_noted(cards):
    found = facts("a.fits", **cards)
    assert found["binning"] == [1, 2]
    assert found["notes"] == ["binning along x is 0 in the header: taken as 1"]
    assert not facts("a.fits", XBINNING=2)["notes"]


@pytest.mark.parametrize("said", ["Delight", "objective", "darkness", "Flatiron", "FOCUS", "Light Dark"])
def test_a_word_that_holds_another_is_not_that_other(said):
    found = facts("a.fits", IMAGETYP=said)
    assert found["kind"] == ""
    assert repr(said) in found["problem"]


@pytest.mark.parametrize(
    ("name", "cards"),
    [
        ("a.fits", {"IMAGETYP": None, "OBSTYPE": "EXPOSE"}),
        ("a.fits", {"IMAGETYP": None, "FRAME": "Light"}),
        ("a.fits", {"IMAGETYP": "", "OBSTYPE": "OBJECT", "FRAME": "FK5"}),
        ("M31_LIGHT.fits", {"IMAGETYP": None}),
        ("M31_LIGHT.fits", {"IMAGETYP": None, "FRAME": "FK5"}),
        ("M31/LIGHT/000.fits", {"IMAGETYP": None}),
    ],
)
def test_other_keywords_and_words_of_the_name_tell_the_kind(name, cards):
    assert facts(name, **cards)["kind"] == "science"


def test_words_of_a_camera_are_settings():
    settings = CCDSettings(words={"science": ["sternchen"]})
    assert facts(settings=settings, IMAGETYP="Sternchen")["kind"] == "science"
    assert facts(settings=settings, IMAGETYP="Dark")["kind"] == "dark"


@pytest.mark.parametrize(
    ("value", "right"),
    [("60.0", 60.0), (" 60 ", 60.0), ("6.0D1", 60.0), ("+6e1", 60.0), (".5", 0.5), (60, 60.0), (np.float32(2), 2.0),
     ("60 s", None), ("1,5", None), ("nan", None), (float("inf"), None), (True, None), ("", None), (None, None)],
)  # fmt: skip
def test_a_number_may_be_written_as_text(value, right):
    assert number(value) == right


def test_numbers_as_text_are_read_wherever_they_stand():
    found = facts(EXPTIME="60", CCD_TEMP="-10.0", XBINNING="2", YBINNING="2")
    assert not found["problem"]
    assert (found["exposure"], found["temperature"], found["binning"]) == (60.0, -10.0, [2, 2])
    assert found["mjd"] == pytest.approx(MIDDLE, abs=1e-9)
    detector, _, _ = detector_of({**PLAIN, "GAIN": "1.5", "RDNOISE": "4"}, "a", CCDSettings())
    assert (detector.gain, detector.read_noise) == (1.5, 4.0)


def test_world_coordinates_written_as_text_are_read():
    header = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": "124.6", "CRVAL2": "-12.5", "CRPIX1": "20.5",
        "CRPIX2": 20, "CDELT1": "-2.6D-4", "CDELT2": 2.6e-4,
    }  # fmt: skip
    wcs = read_wcs(header, "a")
    assert wcs.wcs.crval.tolist() == [124.6, -12.5]
    assert pointing_of(header) == (124.6, -12.5)


@pytest.mark.parametrize("said", ["cold", "", "-400", 9999.0])
def test_a_temperature_that_cannot_be_read_is_not_known_and_fails_no_frame(said):
    found = facts(CCD_TEMP=said)
    assert not found["problem"]
    assert found["temperature"] is None


DATES = {
    "2024-05-01T22:10:11": {},
    "2024-05-01T22:10:11Z": {},
    "2024-05-01T22:10:11.000": {},
    "2024-05-02T06:10:11+08:00": {},
    "2024-05-01 22:10:11": {},
    "2024/05/01": {"TIME-OBS": "22:10:11"},
    "2024-05-01": {"UTC-OBS": "22:10:11.00"},
    " 2024-05-01 ": {"UTCSTART": "22 10 11"},
    "01/05/24": {"UT": "22:10:11"},
    "2024-5-1": {"UTSTART": " 22:10:11 "},
}


@pytest.mark.parametrize("said", DATES)
def test_dates_are_read_in_the_forms_they_have(said):
    found = facts(DATE_OBS=said, **{key.replace("-", "_"): value for key, value in DATES[said].items()})
    assert not found["problem"]
    assert found["mjd"] == pytest.approx(MIDDLE, abs=1e-8)


@pytest.mark.parametrize(
    ("said", "time", "right"),
    [("17/06/99", "01:56:40", "1999-06-17T01:57:10"), ("17/06/2012", "01:56:40", "2012-06-17T01:57:10"),
     ("06/17/2012", "01:56:40", "2012-06-17T01:57:10"), ("05/05/2012", "01:56:40", "2012-05-05T01:57:10")],
)  # fmt: skip
def test_old_dates_are_day_month_year(said, time, right):
    assert facts(DATE_OBS=said, UT=time)["mjd"] == pytest.approx(Time(right).mjd, abs=1e-8)


@pytest.mark.parametrize("key", ["MJD-OBS", "JD"])
@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("date", [None, "2024-05-01"])
def test_a_day_number_alone_tells_when_a_frame_was_taken(key, as_text, date):
    value = Time("2024-05-01T22:10:11").mjd + (2400000.5 if key == "JD" else 0.0)
    found = facts(DATE_OBS=date, **{key.replace("-", "_"): str(value) if as_text else value})
    assert found["mjd"] == pytest.approx(MIDDLE, abs=1e-6)


def test_the_middle_of_an_exposure_alone_is_not_shifted():
    assert facts(DATE_OBS=None, MJD_AVG=MIDDLE)["mjd"] == pytest.approx(MIDDLE, abs=1e-9)


@pytest.mark.parametrize("key", ["DATE_AVG", "DATE_MID"])
def test_the_date_of_the_middle_alone_is_not_shifted(key):
    assert facts(DATE_OBS=None, **{key: "2024-05-01T22:10:41"})["mjd"] == pytest.approx(MIDDLE, abs=1e-9)


@pytest.mark.parametrize("midnight", ["2024-05-01T00:00:00", "2024-05-01T00:00:00.000"])
def test_a_midnight_is_no_time_where_another_card_has_one(midnight):
    assert facts(DATE_OBS=midnight, TIME_OBS="22:10:11")["mjd"] == pytest.approx(MIDDLE, abs=1e-8)
    assert facts(DATE_OBS=midnight, EXPTIME=2.0)["mjd"] == pytest.approx(60431 + 1 / 86400, abs=1e-9)
    assert facts(DATE_OBS="2024-05-01T22:10:11", TIME_OBS="21:00:00")["mjd"] == pytest.approx(
        MIDDLE, abs=1e-8
    )


@pytest.mark.parametrize(
    "cards",
    [
        {"CCDBIN1": 2, "CCDBIN2": 3}, {"CCDXBIN": 2, "CCDYBIN": 3}, {"XBIN": "2", "YBIN": "3"}, {"BINX": 2, "BINY": 3},
        {"HBIN": 2, "VBIN": 3}, {"BINNING": "2 3"},
    ],
)  # fmt: skip
def test_binning_is_read_under_the_names_it_has(cards):
    assert facts(**cards)["binning"] == [2, 3]
    assert facts(BINNING="2")["binning"] == [2, 2]


@pytest.mark.parametrize(
    ("cards", "reason"),
    [
        ({"DATE_OBS": "2024-05-01"}, "a date without a time"),
        ({"DATE_OBS": "0024-05-01T22:10:11"}, "not a possible date of an exposure"),
        ({"DATE_OBS": "1824-05-01T22:10:11"}, "not a possible date of an exposure"),
        ({"DATE_OBS": "2124-05-01T22:10:11"}, "not a possible date of an exposure"),
        ({"DATE_OBS": "2024-05-01", "MJD_OBS": 60431.0}, "a date without a time"),
        ({"DATE_OBS": "05/06/2012", "UT": "01:56:40"}, "either of two days"),
        ({"DATE_OBS": "2024-02-30T01:00:00"}, "not a possible date"),
        ({"DATE_OBS": "2024-05-01T25:00:00"}, "not a possible time"),
        ({"DATE_OBS": "yesterday"}, "not a possible date"),
        ({"DATE_OBS": None}, "DATE-OBS is missing"),
        ({"TIMESYS": "LOCAL"}, "TIMESYS is 'LOCAL'"),
        ({"TIMESYS": "CEST"}, "TIMESYS is 'CEST'"),
    ],
)
def test_a_time_that_is_not_known_is_refused_with_the_reason(cards, reason):
    assert reason in facts(**cards)["problem"]


@pytest.mark.parametrize(
    ("scale", "seconds"),
    [
        ("TAI", 37.0),
        ("GPS", 18.0),
        ("TT", 69.184),
        ("TDB", 69.184),
        ("UTC", 0.0),
        ("UTC(NTP)", 0.0),
        ("UT", 0.0),
    ],
)
def test_times_of_other_scales_become_utc(scale, seconds):
    found = facts(TIMESYS=scale)
    assert (MIDDLE - found["mjd"]) * 86400 == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize(
    ("value", "hours", "right"),
    [("22:04:08", True, 331.0333333), ("22 04 08.0", True, 331.0333333), ("+22:04:08", True, 331.0333333),
     ("22h04m08s", True, 331.0333333), ("-00:55:31", False, -0.9252778), ("+36 37 57", False, 36.6325),
     ("36:37.95", False, 36.6325), ("-12d30m00s", False, -12.5), ("124.6", True, 124.6), (124.6, True, 124.6),
     ("22:64:08", True, None), ("M31", True, None), (None, True, None), (True, False, None)],
)  # fmt: skip
def test_angles_are_read_in_the_forms_they_have(value, hours, right):
    found = angle(value, hours=hours)
    assert found is None if right is None else found == pytest.approx(right, abs=1e-6)


def test_where_a_frame_points_is_read_from_sexagesimal_text():
    found = facts(RA=" 22:04:08", DEC="-00:55:31")
    assert (found["ra"], found["dec"]) == pytest.approx((331.0333333, -0.9252778))
    # reference values without axes of the sky are no position
    assert pointing_of({"CRVAL1": 1.0, "CRVAL2": 2.0, "RA": 10.0, "DEC": 5.0}) == (10.0, 5.0)


@pytest.mark.parametrize(
    ("cards", "gain", "noted"),
    [({"EGAIN": 0.78, "GAIN": 100}, 0.78, True), ({"EGAIN": 0.78}, 0.78, False), ({"GAIN": 2.0}, 2.0, False),
     ({"EGAIN": 2.0, "GAIN": 2.0}, 2.0, False), ({"EGAIN": "0.78", "GAIN": "100"}, 0.78, True),
     ({"EGAIN": 0.0, "GAIN": 1.3}, 1.3, False)],
)  # fmt: skip
def test_egain_is_the_gain_and_gain_beside_it_a_setting(cards, gain, noted):
    header = {key: value for key, value in PLAIN.items() if key != "GAIN"} | cards
    detector, _, notes = detector_of(header, "a.fits", CCDSettings())
    assert detector.gain == gain
    assert bool(notes) == noted


@pytest.mark.parametrize(
    "cards", [{"GAIN": 100}, {"GAIN": 139.0}, {"GAIN": 5, "SWCREATE": "N.I.N.A. 3.1.2 (x64)"}]
)
def test_a_gain_that_is_a_setting_of_the_camera_is_refused(cards):
    with pytest.raises(BadKeyword, match=r"a\.fits: .*GAIN.* a setting of the camera.*set keywords\.gain"):
        detector_of({**PLAIN, **cards}, "a.fits", CCDSettings())
    known = CCDSettings(keywords={"gain": {"keyword": "EGAIN", "default": 0.4}})
    assert detector_of({**PLAIN, **cards}, "a.fits", known)[0].gain == 0.4


@pytest.mark.parametrize(
    ("name", "settings", "cards", "night"),
    [
        ("2024-05-01/2024-05-02_00-10-00_R.fits", {}, {"DATE_OBS": "2024-05-02T00:10:00"}, "2024-05-01"),
        ("2024-05-02_00-10-00_R.fits", {}, {"DATE_OBS": "2024-05-02T00:10:00"}, "2024-05-01"),
        ("a.fits", {}, {"DATE_OBS": "2024-05-02T00:10:00"}, "2024-05-01"),
        # the noon of Hawaii is at 22 UTC, that of Sydney at 2
        ("a.fits", {}, {"DATE_OBS": "2024-05-02T14:00:00", "SITELONG": -155.5, "SITELAT": 19.8}, "2024-05-01"),
        ("a.fits", {}, {"DATE_OBS": "2024-05-02T10:00:00", "SITELONG": "151 0 0", "SITELAT": "-33 0 0"},
         "2024-05-02"),
        ("a.fits", {"site": {"longitude": 204.5, "latitude": 19.8}}, {"DATE_OBS": "2024-05-02T14:00:00"}, "2024-05-01"),
        ("2024-05-02_00-10-00_R.fits", {"night": "name"}, {"DATE_OBS": "2024-05-02T00:10:00"}, "2024-05-02"),
        ("2020-01-01/a.fits", {"night": "noon"}, {"DATE_OBS": "2024-05-02T00:10:00"}, "2024-05-01"),
    ],
)  # fmt: skip
def test_a_night_is_that_of_the_folder_or_ends_at_noon_of_the_site(name, settings, cards, night):
    assert facts(name, CCDSettings(**settings), **cards)["night"] == night


@pytest.mark.parametrize(
    ("cards", "right"),
    [
        ({"SITELONG": "-076 57 23", "SITELAT": "+39 00 07"}, (-76.956389, 39.001944, 0.0)),
        ({"OBSGEO-L": 203.74, "OBSGEO-B": 20.7, "OBSGEO-H": 3050.0}, (-156.26, 20.7, 3050.0)),
        ({"LONG-OBS": 149.13, "LAT-OBS": -31.16, "ALT-OBS": "1165"}, (149.13, -31.16, 1165.0)),
        ({"SITELONG": "76.95 W", "SITELAT": "39.0 N"}, (-76.95, 39.0, 0.0)),
    ],
)
def test_the_site_and_code_of_the_observatory_are_read(cards, right):
    found = facts_of("a.fits", {**PLAIN, **cards, "OBSCODE": "e10"}, (4, 4), ASTEPSettings())
    assert tuple(found["site"].values()) == pytest.approx(right, abs=1e-5)
    assert found["mpc_code"] == "E10"


def test_files_of_any_camera_do_not_come_from_dome_c():
    assert facts(settings=ASTEPSettings())["site"]["latitude"] == -75.1
    assert facts(settings=ASTEPSettings(layout="folder"))["site"] is None
    mine = ASTEPSettings(layout="folder", site={"longitude": 5.0, "latitude": 43.9}, mpc_code="511")
    assert facts(settings=mine)["site"] == {"longitude": 5.0, "latitude": 43.9, "height": 0.0}
    assert facts(settings=mine)["mpc_code"] == "511"


@pytest.mark.parametrize(
    ("name", "frame"),
    [("a.fits", "a"), ("night1/images/a.fits", "night1~images~a"), ("night2/images/a.fits.gz", "night2~images~a"),
     ("2024-05-01/a.fits", "a"), ("M31/2024-05-01/a.fits", "M31~a"), ("x~y/a.fits", "x%7Ey~a")],
)  # fmt: skip
def test_a_frame_is_its_path_below_the_archive(name, frame):
    assert unit_of(facts(name), CCDSettings()) == f"2024-05-01/{frame}"


def test_the_layout_of_astep_gives_frames_their_own_names():
    name = "2024-05-01/2024-05-01-CAMS/2024-05-01_22.10.11_SCIENCE.fits"
    assert unit_of(facts(name, ASTEPSettings()), ASTEPSettings()) == "2024-05-01/2024-05-01_22.10.11_SCIENCE"


@pytest.mark.parametrize(
    "cards",
    [{"EGAIN": 1.0, "GAIN": 300}, {"OFFSET": 50}, {"READOUTM": "High"}, {"XORGSUBF": 100}, {"YORGSUBF": "8"},
     {"FLIPSTAT": "Flip"}, {"FLIPSTAT": "Mirror"}, {"FLIPSTAT": "Rot 90"}, {"ROWORDER": "TOP-DOWN"}],
)  # fmt: skip
def test_masters_of_other_settings_of_the_camera_have_keys_of_their_own(cards):
    settings = CCDSettings()
    plain = unit_of(facts(IMAGETYP="dark"), settings)
    header = {**PLAIN, "IMAGETYP": "dark", **cards}
    assert unit_of(facts_of("a.fits", header, (40, 44), settings), settings) != plain
    usual = {"OFFSET": 0, "READOUTM": "Normal", "XORGSUBF": 0, "FLIPSTAT": " ", "ROWORDER": "BOTTOM-UP"}
    header = {**PLAIN, "IMAGETYP": "dark", **usual}
    assert unit_of(facts_of("a.fits", header, (40, 44), settings), settings) == plain


@pytest.mark.parametrize("kind", ["LIGHT", "FLAT"])
def test_frames_of_colour_cameras_are_refused_or_taken_as_they_are(kind):
    assert "BAYERPAT is RGGB" in facts(IMAGETYP=kind, BAYERPAT="RGGB")["problem"]
    assert not facts(settings=CCDSettings(bayer="ignore"), IMAGETYP=kind, BAYERPAT="RGGB")["problem"]
    assert not facts(IMAGETYP=kind, BAYERPAT="")["problem"]
    assert not facts(IMAGETYP=kind, COLORTYP="MONO")["problem"]
    for key in ("COLORTYP", "BAYRPAT", "CFA"):
        assert f" {key} is GBRG" in facts(IMAGETYP=kind, BAYERPAT="NONE", **{key: "GBRG"})["problem"]


_PLATE = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.25, "CRVAL2": -31.5, "CRPIX1": 3.5, "CRPIX2": 2.25,
    "CD1_1": -2.5e-4, "CD1_2": 1e-6, "CD2_1": 2e-6, "CD2_2": 2.5e-4,
}  # fmt: skip
_GALACTIC = {"CTYPE1": "GLON-TAN-SIP", "CTYPE2": "GLAT-TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-6}


@pytest.mark.parametrize(
    ("frame", "cards"),
    [
        (FK4(equinox="B1950"), {"EQUINOX": 1950.0}), (FK4(equinox="B1950"), {"RADESYS": "FK4"}),
        (FK5(equinox="J1975"), {"RADESYS": "FK5", "EQUINOX": 1975.0}), (Galactic(), _GALACTIC),
        (Galactic(), {"CTYPE1": "GLON-ZEA", "CTYPE2": "GLAT-ZEA", "LONPOLE": 150.0}),
    ],
)  # fmt: skip
def test_world_coordinates_of_other_frames_are_read_as_icrs(frame, cards):
    x, y = np.meshgrid(np.linspace(0, 4000, 5), np.linspace(0, 3000, 4))
    given = WCS(_PLATE | cards).all_pix2world(x, y, 0)
    places = SkyCoord(*given, unit="deg", frame=frame).icrs
    ours = SkyCoord(*read_wcs(_PLATE | cards, "a.fits").all_pix2world(x, y, 0), unit="deg")
    assert ours.separation(places).arcsec.max() < 0.01
    assert SkyCoord(*given, unit="deg").separation(places).arcsec.min() > 900


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": -31.5, "CRVAL2": 150.25},
        {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL2": 0.0}, {"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"},
        {"RADESYS": "GAPPT"},
    ],
)  # fmt: skip
def test_world_coordinates_that_are_no_right_ascension_and_declination_are_refused(cards):
    with pytest.raises(BadKeyword, match=r"a\.fits, HDU 0"):
        read_wcs(_PLATE | cards, "a.fits")


@pytest.mark.parametrize("name", ["2024-13-45/a.fits", "2024-02-30 test/a.fits", "2024-99-99.fits"])
def test_a_name_like_a_date_that_is_none_is_no_night(name):
    assert facts(name)["night"] == "2024-05-01"


def test_the_date_of_a_folder_is_its_night_with_words_behind_it_too():
    assert facts("2024-02-29_M31/a.fits")["night"] == "2024-02-29"
