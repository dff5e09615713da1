"""Wavelength scales, media, frames, units and positions in every form that files state them."""

from __future__ import annotations

import io
import math
import re

import numpy as np
import pytest
from astropy.io import fits as afits
from support.harps import STAR, WAVE, adp, header, reduced, spectrum
from support.real import real_data

from virtualobserver import Project
from virtualobserver.conventions import SPECTRUM_MASK_FLAGGED
from virtualobserver.errors import InvalidFile
from virtualobserver.maths.spectra import flags
from virtualobserver.maths.spectra.lines import C_KM_S, air_to_vacuum
from virtualobserver.observatories.harps.adp import adp_bytes
from virtualobserver.observatories.harps.folder import FolderArchive
from virtualobserver.observatories.harps.header import read_facts
from virtualobserver.observatories.harps.reader import read_exposure
from virtualobserver.observatories.harps.scale import medium_of_table, scale_of, text_angle

K = 3933.661
LINE = 20.0  # km/s: where `spectrum` puts its lines


def line_of(exposure) -> float:
    """Return the velocity (km/s) of the narrow line in K."""
    v = C_KM_S * (exposure.wave / K - 1)
    near = np.abs(v - LINE) < 130
    depth = 1 - exposure.flux[near] / np.quantile(exposure.flux[near], 0.99)
    deep = depth > 0.8 * depth.max()
    return float((v[near][deep] * depth[deep]).sum() / depth[deep].sum())


def image(flux, **cards) -> bytes:
    unit = afits.PrimaryHDU(np.asarray(flux, dtype=np.float32))
    for key, value in {**header(), "SPECSYS": "BARYCENT", **cards}.items():
        if value is None:
            unit.header.remove(key, ignore_missing=True)
        else:
            unit.header[f"HIERARCH {key}" if key.startswith("ESO ") else key] = value
    stream = io.BytesIO()
    unit.writeto(stream)
    return stream.getvalue()


def table(**columns) -> bytes:
    units = {"wavelength": "angstrom", "wavelength_air": "angstrom"}
    made = [afits.Column(name, "D", units.get(name), array=values) for name, values in columns.items()]
    unit = afits.BinTableHDU.from_columns(made)
    primary = afits.PrimaryHDU()
    for key, value in header(SPECSYS=None).items():
        primary.header[f"HIERARCH {key}" if key.startswith("ESO ") else key] = value
    stream = io.BytesIO()
    afits.HDUList([primary, unit]).writeto(stream)
    return stream.getvalue()


def linear(wave):
    return {"CRVAL1": float(wave[0]), "CDELT1": float(wave[1] - wave[0]), "CRPIX1": 1.0}


STEPS = np.arange(8001)
LOG10 = np.log10(3910.0) + 1.1e-6 * STEPS
NATURAL = 3910.0 * np.exp(0.01 * STEPS / 3910.0)
AXES = {
    "none": (WAVE, {}),
    "AWAV": (WAVE, {"CTYPE1": "AWAV"}),
    "LINEAR": (WAVE, {"CTYPE1": "LINEAR", "DC-FLAG": 0}),
    "WAVE": (air_to_vacuum(WAVE), {"CTYPE1": "WAVE"}),
    "log10": (10**LOG10, {"CTYPE1": "LINEAR", "DC-FLAG": 1, **linear(LOG10)}),
    "LOGLIN": (10**LOG10, {"CTYPE1": "LOGLIN", "DC-FLAG": 1, **linear(LOG10)}),
    "AWAV-LOG": (NATURAL, {"CTYPE1": "AWAV-LOG", "CRVAL1": 3910.0, "CDELT1": 0.01, "CRPIX1": 1.0}),
    "micron": (WAVE, {"CUNIT1": "um", "CRVAL1": 0.391, "CDELT1": 1e-6, "CRPIX1": 1.0}),
}


@pytest.mark.parametrize("axis", AXES)
def test_axes_of_images_give_the_line_where_it_is(axis):
    wave, cards = AXES[axis]
    vacuum = axis == "WAVE"
    if vacuum:  # an even grid in vacuum, seen in air
        wave = np.linspace(wave[0], wave[-1], wave.size)
        in_air = np.interp(wave, air_to_vacuum(WAVE), WAVE)
        cards = cards | linear(wave)
    else:
        in_air = wave
    exposure = read_exposure(image(spectrum(wave=in_air), **{**linear(WAVE), **cards}), "x")
    assert exposure.medium == ("vacuum" if vacuum else "air")
    assert line_of(exposure) == pytest.approx(LINE, abs=0.5)


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE1": "VELO-LSR"}, {"CTYPE1": "FREQ-HEL"}, {"CTYPE1": "WAVE-GRI"}, {"CTYPE1": "AWAV-TAB"},
        {"CTYPE1": "WAVE-F2W"}, {"CTYPE1": "MULTISPE"}, {"CTYPE1": "FELO"}, {"CTYPE1": "SOMETHING"},
        {"CTYPE1": "LAMBDA(LOG)"}, {"CTYPE1": "LOGLAMBDA"}, {"CTYPE1": "VACUUM WAVELENGTH"},
        {"DC-FLAG": -1}, {"DC-FLAG": 2}, {"DC-FLAG": "x"}, {"SPECSYS": "SOURCE"}, {"SPECSYS": "NONSENSE"},
    ],
)  # fmt: skip
def test_scales_and_frames_that_are_not_read_are_refused_by_name(cards):
    ((key, value),) = cards.items()
    content = image(spectrum(), **linear(WAVE), **cards)
    with pytest.raises(InvalidFile, match=f"x.*{key}.*{re.escape(str(value))}"):
        read_exposure(content, "x")
    rows = reduced({"x": content, "y": adp(1)})[0].data.epochs
    assert rows["quality"][list(rows["archive_id"]).index("x")] & flags.QUALITY_UNREADABLE


def test_names_of_axes_that_say_no_medium_stand_for_air():
    for name in ("Angstrom", "Wavelength (A)", "LAMBDA", "PIXEL"):
        exposure = read_exposure(image(spectrum(), **linear(WAVE), CTYPE1=name), "x")
        assert not exposure.quality & flags.QUALITY_ASSUMED
        assert exposure.medium == "air"
    exposure = read_exposure(image(spectrum(), **linear(WAVE), CTYPE1="LINEAR", AIRORVAC="vac"), "x")
    assert exposure.medium == "vacuum"
    assert read_exposure(image(spectrum(), **linear(WAVE), VACUUM=1), "x").medium == "vacuum"


LIGHT = 1000 * C_KM_S
REST = float(air_to_vacuum(np.array([K]))[0]) * 1e-10
PHYSICAL = {
    "FREQ": (lambda metres: LIGHT / metres, {}),
    "ENER": (lambda metres: 6.62607015e-34 * LIGHT / metres, {}),
    "WAVN": (lambda metres: 1 / metres, {}),
    "VRAD": (lambda metres: LIGHT * (1 - REST / metres), {"RESTFRQ": LIGHT / REST}),
    "VOPT": (lambda metres: LIGHT * (metres / REST - 1), {"RESTWAV": REST}),
    "ZOPT": (lambda metres: metres / REST - 1, {"RESTWAV": REST}),
    "BETA": (lambda metres: ((metres / REST) ** 2 - 1) / ((metres / REST) ** 2 + 1), {"RESTWAV": REST}),
    "VELO": (
        lambda metres: LIGHT * ((metres / REST) ** 2 - 1) / ((metres / REST) ** 2 + 1),
        {"RESTWAV": REST},
    ),
}


@pytest.mark.parametrize("kind", PHYSICAL)
def test_axes_that_are_no_wavelengths_give_the_line_where_it_is(kind):
    value, cards = PHYSICAL[kind]
    ends = value(1e-10 * air_to_vacuum(WAVE[[0, -1]]))
    axis = np.linspace(*ends, WAVE.size)
    # where the file's own steps are in air: looked up, the other way round
    fine = value(1e-10 * air_to_vacuum(WAVE))
    order = np.argsort(fine)
    in_air = np.interp(axis, fine[order], WAVE[order])
    content = image(spectrum(wave=in_air), **{**linear(axis), "CTYPE1": kind, **cards})
    exposure = read_exposure(content, "x")
    assert exposure.medium == "vacuum"
    assert line_of(exposure) == pytest.approx(LINE, abs=0.5)
    if cards:
        with pytest.raises(InvalidFile, match="RESTWAV"):
            read_exposure(image(spectrum(), **linear(axis), CTYPE1=kind), "x")


MOTIONS = {"LSRD": (9.0, 12.0, 7.0), "GALACTOC": (9.0, 232.0, 7.0), "LOCALGRP": (0.0, 300.0, 0.0)}
CMB = math.radians(263.85), math.radians(48.25)
MOTIONS["CMBDIPOL"] = (
    368 * math.cos(CMB[1]) * math.cos(CMB[0]), 368 * math.cos(CMB[1]) * math.sin(CMB[0]), 368 * math.sin(CMB[1]),
)  # fmt: skip


@pytest.mark.parametrize("frame", MOTIONS)
def test_moving_frames_of_the_standard_by_the_galactic_motion_of_the_sun(frame):
    from astropy.coordinates import SkyCoord

    towards = SkyCoord(86.8212, -51.0665, unit="deg").galactic.cartesian.xyz.value @ np.array(MOTIONS[frame])
    content = adp_bytes(WAVE * (1 + towards / C_KM_S), spectrum(), header(SPECSYS=frame))
    exposure = read_exposure(content, "x")
    assert line_of(exposure) == pytest.approx(LINE, abs=0.5)
    told = next(reason for reason in exposure.reasons if f"frame {frame}" in reason)
    assert float(told.split("by ")[1].split(" ")[0]) == pytest.approx(-towards, abs=0.02)


def test_the_centre_of_the_earth_moves_but_does_not_turn():
    from astropy.coordinates import SkyCoord, get_body_barycentric_posvel
    from astropy.time import Time

    earth = get_body_barycentric_posvel("earth", Time(56000.101, format="mjd"), ephemeris="builtin")[1]
    v = float(earth.xyz.to_value("km/s") @ SkyCoord(86.8212, -51.0665, unit="deg").cartesian.xyz.value)
    content = adp_bytes(WAVE * (1 - v / C_KM_S), spectrum(), header(SPECSYS="GEOCENTR"))
    exposure = read_exposure(content, "x")
    assert line_of(exposure) == pytest.approx(LINE, abs=0.5)
    told = next(reason for reason in exposure.reasons if "GEOCENTR" in reason)
    assert float(told.split("by ")[1].split(" ")[0]) == pytest.approx(v, abs=0.01)
    with pytest.raises(InvalidFile, match="GEOCENTR, and position or time"):
        read_exposure(adp_bytes(WAVE, spectrum(), header(SPECSYS="GEOCENTR", RA=None, DEC=None)), "x")


def test_frames_are_brought_to_the_barycentre():
    def moved(v):
        return adp_bytes(WAVE * (1 + v / C_KM_S), spectrum(), header(SPECSYS=frame, **more))

    frame, more = "LSRK", {}
    # the star of the tests is 119.5 degrees from the apex of the Sun
    a, d, a0, d0 = np.radians([86.8212, -51.0665, 270.9593, 30.0047])
    towards = 20.0 * (np.sin(d) * np.sin(d0) + np.cos(d) * np.cos(d0) * np.cos(a - a0))
    exposure = read_exposure(moved(towards), "x")
    assert line_of(exposure) == pytest.approx(LINE, abs=0.5)
    assert exposure.quality & flags.QUALITY_CONVERTED
    frame, more = "SOURCE", {"ZSOURCE": 20.0 / C_KM_S}
    assert line_of(read_exposure(moved(-20.0), "x")) == pytest.approx(LINE, abs=0.5)
    frame, more = "TOPOCENTRIC", {}
    assert line_of(read_exposure(moved(-3.0), "x")) == pytest.approx(LINE, abs=0.5)
    frame = "HELIOCENT"
    exposure = read_exposure(moved(0.0), "x")
    assert line_of(exposure) == pytest.approx(LINE, abs=0.5)
    assert "heliocentric" in "; ".join(exposure.reasons)
    frame, more = "LSRK", {"RA": None, "DEC": None}
    with pytest.raises(InvalidFile, match="LSRK, and the position"):
        read_exposure(moved(0.0), "x")


@pytest.mark.parametrize(
    "cards",
    [
        {"CD1_1": 0.01, "CDELT1": 1.0}, {"CD1_1": 0.01, "CDELT1": None}, {"CD1_1": 0.0},
        {"CDELT1": 0.02, "PC1_1": 0.5}, {"CRPIX1": 3001.0, "CRVAL1": float(WAVE[3000])},
        {"CTYPE1": "WAVELENGTH (Angstrom)"}, {"CTYPE1": "LAMBDA", "CUNIT1": "0.1nm"},
    ],
)  # fmt: skip
def test_steps_and_reference_pixels_in_every_form(cards):
    exposure = read_exposure(image(spectrum(), **{**linear(WAVE), **cards}), "x")
    assert line_of(exposure) == pytest.approx(LINE, abs=0.5)
    assert exposure.medium == "air"


@pytest.mark.parametrize("value", [True, 1, "T", "true", "Yes"])
def test_a_vacuum_is_stated_in_any_form(value):
    assert read_exposure(image(spectrum(), **linear(WAVE), VACUUM=value), "x").medium == "vacuum"
    told = read_exposure(image(spectrum(), **linear(WAVE), CTYPE1="AWAV", VACUUM=value), "x")
    assert told.medium == "air"
    assert told.quality & flags.QUALITY_ASSUMED
    assert "CTYPE1 AWAV says air, another keyword vacuum" in "; ".join(told.reasons)


@pytest.mark.parametrize("ucd", ["em.wl;obs.atmos", "em.wl; obs.atmos", " EM.WL ;OBS.ATMOS "])
def test_blanks_in_a_ucd_do_not_make_air_a_vacuum(ucd):
    exposure = read_exposure(
        adp_bytes(WAVE, spectrum(), header(), ucds=(ucd, "phot.flux", "stat.error")), "x"
    )
    assert exposure.medium == "air"
    assert line_of(exposure) == pytest.approx(LINE, abs=0.5)


def test_a_ucd_that_a_name_contradicts_is_believed_and_flagged():
    columns = {"TUCD1": "em.wl;obs.atmos"}
    assert medium_of_table(columns, 1, ["WAVE"]) == ("air", "")
    assert "is in air by its TUCD1" in medium_of_table(columns, 1, ["WAVE_VAC"])[1]


@pytest.mark.parametrize(
    ("name", "ucd"), [("DQ", ""), ("mask", ""), ("Q", "meta.code.qual;meta.main"), ("Q", "")]
)
def test_columns_of_quality_by_their_names_and_ucds(name, ucd):
    bad = np.zeros(WAVE.size, dtype=np.int32)
    bad[100:110] = 4
    flux = spectrum()
    content = table(wavelength_air=WAVE, flux=flux, **{name: bad})
    with afits.open(io.BytesIO(content)) as units:
        units[1].header["TUCD3"] = ucd
        stream = io.BytesIO()
        units.writeto(stream)
    mask = read_exposure(stream.getvalue(), "x").mask
    known = bool(ucd) or name != "Q"
    assert (mask[100:110] & SPECTRUM_MASK_FLAGGED != 0).all() == known
    assert not (mask[110:] & SPECTRUM_MASK_FLAGGED).any()


@pytest.mark.parametrize("case", ["both", "vacuum", "air", "capitals"])
def test_tables_of_the_new_pipeline_say_the_medium_by_their_names(case):
    vacuum = air_to_vacuum(WAVE)
    columns = {"wavelength": vacuum, "wavelength_air": WAVE, "flux": spectrum(), "error": np.ones(WAVE.size)}
    if case == "vacuum":
        columns["wavelength_vac"] = columns.pop("wavelength")
        del columns["wavelength_air"]
    elif case == "air":
        del columns["wavelength"]
    elif case == "capitals":
        columns = {name.upper(): values for name, values in columns.items()}
    exposure = read_exposure(table(**columns), "x")
    assert line_of(exposure) == pytest.approx(LINE, abs=0.5)
    assert exposure.medium == ("vacuum" if case == "vacuum" else "air")


@pytest.mark.parametrize(
    "unit", ["micron", "Microns", "um", "µm", "nm", "0.1nm", "10**-10 m", "Angstroem", "m", "cm"]
)
def test_units_of_wavelengths_in_any_spelling(unit):
    factor, told = scale_of(unit, np.array([1.0]))
    assert told == ""
    exposure = read_exposure(adp_bytes(WAVE / factor, spectrum(), header(), unit=unit.replace("µ", "u")), "x")
    assert line_of(exposure) == pytest.approx(LINE, abs=0.5)


def test_a_unit_that_is_not_known_is_guessed_and_flagged():
    for factor in (1.0, 10.0, 1e4):
        exposure = read_exposure(adp_bytes(WAVE / factor, spectrum(), header(), unit="furlong"), "x")
        assert exposure.quality & flags.QUALITY_ASSUMED
        assert line_of(exposure) == pytest.approx(LINE, abs=0.5)


@pytest.mark.parametrize(
    ("text", "hours", "degrees"),
    [
        ("05:44:00.0", True, 86.0), ("-51:00:00", False, -51.0), ("5 44 0", True, 86.0), ("05h44m00s", True, 86.0),
        ("-00:30:00", False, -0.5), ("+10d30m00s", False, 10.5), ("86.0", True, 86.0), ("-51", False, -51.0),
        ("05:61:00", True, math.nan), ("unknown", True, math.nan), ("", False, math.nan),
    ],
)  # fmt: skip
def test_positions_written_as_text(text, hours, degrees):
    assert text_angle(text, hours=hours) == pytest.approx(degrees, nan_ok=True)


def test_a_telescope_that_points_at_zero_does_not_know_where_it_points():
    facts = read_facts(
        header(RA=0.0, DEC=0.0) | {"ESO TEL TARG ALPHA": 54400.0, "ESO TEL TARG DELTA": -510000.0}, "x"
    )
    assert (facts.ra, facts.dec) == pytest.approx((86.0, -51.0))
    assert math.isnan(read_facts(header(RA=0.0, DEC=0.0), "x").ra)
    assert read_facts(header(RA=0.0, DEC=-51.0), "x").ra == 0.0


def test_only_the_merged_spectrum_of_the_stars_fibre_counts(tmp_path):
    stem = "r.HARPS.2004-10-25T03_15_00.000"
    for end in (
        "S1D_A",
        "S1D_B",
        "S2D_A",
        "S2D_B",
        "S2D_BLAZE_A",
        "CCF_A",
        "CCF_SKYSUB_A",
        "S1D_SKYSUB_A",
        "S1D_FINAL_A",
    ):
        (tmp_path / f"{stem}_{end}.fits").write_bytes(adp(0))
    (tmp_path / "HARPS.2005-01-01T00_00_00.000_S1D_SKYSUB_A.fits").write_bytes(adp(1))
    (tmp_path / "HARPS.2005-01-01T00_00_00.000_S1D_B.fits").write_bytes(adp(1))
    for end in ("S2D_A", "S2D_BLAZE_A", "S2D_SKYSUB_A", "CCF_A", "e2ds_A"):
        (tmp_path / f"r.HARPS.2006-01-01T00_00_00.000_{end}.fits").write_bytes(adp(2))
    found = [raw.archive_id for _, raw in FolderArchive([tmp_path]).fetch(STAR, _settings())]
    assert found.pop() == "r.HARPS.2006-01-01T00_00_00.000_S2D_A"
    assert found == ["HARPS.2005-01-01T00_00_00.000_S1D_SKYSUB_A", f"{stem}_S1D_A"]


def _settings():
    from virtualobserver.observatories.harps import HARPSSettings

    return HARPSSettings()


@pytest.mark.parametrize("value", [0.0, 1.0, -99.0])
def test_a_gap_filled_with_one_value_is_left_out(value):
    flux = spectrum()
    gap = (WAVE > 3933.0) & (WAVE < 3934.6)
    flux[gap] = value
    exposure = read_exposure(adp(0, flux), "x")
    inside = (exposure.wave > 3933.0) & (exposure.wave < 3934.6)
    assert (exposure.mask[inside] != 0).all()
    assert (exposure.mask[~inside] == 0).mean() > 0.99
    assert "gap" in "; ".join(exposure.reasons)
    (k, _) = reduced({f"ADP.{n}": adp(n, np.where(gap, value, spectrum(n))) for n in range(4)})
    assert (k.data.epochs["quality"] & flags.QUALITY_BAD == 0).all()
    assert np.isfinite(k.data.epochs["snr"]).all()


@pytest.mark.real
@pytest.mark.parametrize(
    "name", ["r.HARPS.2004-10-25T03_15_00.000_S1D_A", "image_WAVE_vacuum", "ADP_unit_micron"]
)
def test_files_of_other_pipelines_have_the_line_of_the_star_where_it_is(name):
    path = real_data("reports", "harps", "formats", f"{name}.fits.gz")
    exposure = read_exposure(path.read_bytes(), path.name)
    v = C_KM_S * (exposure.wave / K - 1)
    near = np.abs(v + 9.8) < 40
    deepest = v[near][np.argmin(np.convolve(exposure.flux[near], np.ones(9) / 9, "same"))]
    assert deepest == pytest.approx(-9.8, abs=4.0)


@pytest.mark.real
def test_text_positions_and_frames_of_real_forms():
    path = real_data("reports", "harps", "formats", "ADP_text_RA.fits.gz")
    facts = read_exposure(path.read_bytes(), path.name).facts
    assert (facts.ra, facts.dec) == pytest.approx((86.0, -51.0))
    path = real_data("reports", "harps", "formats", "ADP_SPECSYS_LSRK.fits.gz")
    assert read_exposure(path.read_bytes(), path.name).quality & flags.QUALITY_CONVERTED


@pytest.mark.real
def test_a_gap_over_the_core_does_not_hide_a_comet_beside_it(tmp_path, url):
    configuration = {
        "name": "gap",
        "catalog": {"rows": [{"name": "X", "ra": 86.0, "dec": -51.0}]},
        "observatories": {"harps": {"archive": str(real_data("reports", "harps", "core_gap"))}},
        "analyses": {"exocomets": {}},
    }
    with Project.open(configuration, data=tmp_path / "data", url=url) as project:
        assert project.run().failed == 0
        found = project.detections().query("kind == 'exocomet_candidate'")
        assert [event["velocity"] for event in found["parameters"]] == pytest.approx([120], abs=5)
