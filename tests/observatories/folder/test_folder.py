"""Light curves of any origin: what is said of them is done, and what is not said is asked for."""

from __future__ import annotations

import os
import re
import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table as AstropyTable
from astropy.time import Time

from virtualobserver import Project
from virtualobserver.cli import main
from virtualobserver.conventions import FLAG_ARCHIVE, FLAG_BAD_ERROR, FLAG_NOT_FINITE, FLAG_RANGE, MJD_ZERO_JD
from virtualobserver.data.product import Raw, RawRef, Target
from virtualobserver.errors import BadKeyword, ConfigError, InvalidFile
from virtualobserver.maths.times import GEOCENTRE, Site, bjd_tdb, hjd_utc, mjd_at_telescope
from virtualobserver.observatories.folder import VirtualFolder, find
from virtualobserver.observatories.folder.find import Index
from virtualobserver.observatories.folder.settings import FolderSettings
from virtualobserver.observatory import Aux

STAR = Target("star", ra=120.0, dec=15.0)
TESS_STAR = Target("TIC 261136679", ra=84.291, dec=-80.469)


class Folder:
    """The client of a folder archive, as far as the survey asks it."""

    origin = "folder"

    def __init__(self, path):
        self.folders = [path]


def table(**columns):
    rows = 30
    found = {
        "mjd": 58000.0 + np.arange(rows),
        "flux": np.linspace(2.0, 3.0, rows),
        "flux_error": np.full(rows, 0.1),
    }
    return pd.DataFrame({**found, **columns})


def reduced(folder, target=STAR, **settings):
    """Return products and notes of a target."""
    survey = VirtualFolder(**settings)
    raws = [RawRef.of(raw) for _, raw in survey.fetch([target], Folder(folder))]
    aux = Aux(target)
    return survey.reduce(raws, aux, survey.settings), aux.notes


def tess_file(path, number=261136679, sector=1, rows=60):
    """Write a light curve as the TESS pipeline does; return times at the spacecraft (MJD, TDB)."""
    rng = np.random.default_rng(sector)
    at = 58325.3 + np.arange(rows) * 120 / 86400
    correction = np.linspace(1.1e-3, 1.2e-3, rows)
    time = at + correction - 56999.5
    time[5] = np.nan
    flux = rng.normal(1500, 1, rows).astype("f4")
    flux[7] = np.nan
    quality = np.zeros(rows, "i4")
    quality[[3, 9]] = 128, 4096
    columns = [
        fits.Column("TIME", "D", unit="BJD - 2457000, days", array=time),
        fits.Column("TIMECORR", "E", unit="d", array=correction),
        fits.Column("SAP_FLUX", "E", unit="e-/s", array=flux - 20),
        fits.Column("PDCSAP_FLUX", "E", unit="e-/s", array=flux),
        fits.Column("PDCSAP_FLUX_ERR", "E", unit="e-/s", array=np.full(rows, 1, "f4")),
        fits.Column("QUALITY", "J", array=quality),
    ]
    primary = fits.PrimaryHDU()
    primary.header["RA_OBJ"], primary.header["DEC_OBJ"] = 84.291, -80.469
    name = f"tess2018206045859-s{sector:04d}-{number:016d}-0120-s_lc.fits"
    unit = fits.BinTableHDU.from_columns(columns, name="LIGHTCURVE")
    fits.HDUList([primary, unit]).writeto(path / name)
    return at


def test_files_of_tess_are_read_as_they_are(tmp_path):
    at = tess_file(tmp_path)
    tess_file(tmp_path, sector=2)
    tess_file(tmp_path, number=5)
    products, notes = reduced(tmp_path, TESS_STAR, preset="tess")
    assert [product.series for product in products] == ["0001_TESS", "0002_TESS"]
    curve = products[0].data
    assert (len(curve), curve.flux_unit, curve.band) == (59, "electron / s", "TESS")
    keep = np.delete(at, 5)
    np.testing.assert_allclose(curve.mjd, Time(keep, format="mjd", scale="tdb").utc.mjd, atol=3e-9)
    assert curve["bjd_tdb"][0] - MJD_ZERO_JD == pytest.approx(at[0] + 1.1e-3, abs=1e-9)
    assert Counter(curve.flags.tolist()) == {0: 56, FLAG_ARCHIVE: 2, FLAG_NOT_FINITE: 1}
    assert curve.meta["time"] == {
        "scale": "tdb",
        "place": "barycentre",
        "light_travel": "column TIMECORR taken out",
    }
    assert notes["epochs without a time"] == 2
    assert products[0].statistics["flux_mean"] == pytest.approx(1500, abs=1)
    assert products[0].statistics["mag_mean"] is None, "electrons have no magnitude"
    survey = VirtualFolder(preset="tess")
    rows = {row["name"]: row for row in survey.catalogue(Folder(tmp_path))}
    assert rows["TIC 261136679"] == {"name": "TIC 261136679", "ra": 84.291, "dec": -80.469}
    assert set(rows) == {"TIC 261136679", "TIC 5"}


def test_a_folder_without_light_curves_says_what_is_there_in_their_place(tmp_path):
    fits.PrimaryHDU().writeto(tmp_path / "mine_lc.fits")
    said = re.escape(
        "holds no file like tess*-s{series}-{object}-*_lc.fits* (there is mine_lc.fits); see the settings"
    )
    with pytest.raises(ConfigError, match=said):
        VirtualFolder(preset="tess").catalogue(Folder(tmp_path))


def test_a_zero_of_time_that_is_not_the_files_own_is_refused(tmp_path):
    tess_file(tmp_path)
    time_of_kepler = {"format": "jd", "zero": 2454833.0, "scale": "tdb", "place": "barycentre"}
    with pytest.raises(BadKeyword, match="'BJD - 2457000, days', and the settings have zero: 2454833;"):
        reduced(tmp_path, TESS_STAR, preset="tess", time=time_of_kepler)


@pytest.mark.parametrize("scale", ["tdb", "tai", "tt"])
@pytest.mark.parametrize("suffix", ["ecsv", "fits"])
def test_times_of_astropy_in_another_scale_than_the_settings_are_refused(tmp_path, scale, suffix):
    theirs = AstropyTable.from_pandas(table()[["flux", "flux_error"]])
    theirs["mjd"] = Time(58000.0 + np.arange(30), format="mjd", scale=scale)
    theirs.write(tmp_path / f"star.{suffix}")
    said = f"the file says that the scale of 'mjd' is {scale}, and by the settings it is utc"
    with pytest.raises(BadKeyword, match=said):
        reduced(tmp_path, columns={"flux": "flux"}, units={"flux": "mJy"})
    (curve,), _ = reduced(tmp_path, units={"flux": "mJy"}, time={"scale": scale})
    late = {"tdb": 69.184, "tai": 37.0, "tt": 69.184}[scale]
    np.testing.assert_allclose((58000.0 + np.arange(30) - curve.data.mjd) * 86400, late, atol=0.01)


@pytest.mark.parametrize(
    ("said", "right"), [("TDB", False), ("TT(TAI)", False), ("UTC", True), ("UT1", True)]
)
def test_the_scale_in_the_header_of_a_fits_table_is_that_of_the_settings(tmp_path, said, right):
    unit = fits.BinTableHDU(AstropyTable.from_pandas(table()))
    unit.header["TIMESYS"] = said
    unit.writeto(tmp_path / "star.fits")
    if right:
        assert reduced(tmp_path, units={"flux": "mJy"})[0]
    else:
        with pytest.raises(BadKeyword, match="the file says that the scale"):
            reduced(tmp_path, units={"flux": "mJy"})


def written(path, times, cards, *, unit, name="TIME"):
    """Write a FITS table of 30 epochs with some cards beside it."""
    columns = {
        name: (times, unit),
        "FLUX": (np.linspace(2, 3, 30), "mJy"),
        "ERROR": (np.full(30, 0.1), "mJy"),
    }
    hdu = fits.BinTableHDU.from_columns([fits.Column(key, "D", unit=unit, array=values)
                                         for key, (values, unit) in columns.items()])  # fmt: skip
    hdu.header.update(cards)
    hdu.writeto(path / "star.fits")
    return {"columns": {"time": name, "flux": "FLUX", "flux_error": "ERROR"}}


FERMI = {"MJDREFI": 51910, "MJDREFF": 7.428703703703703e-4, "TIMESYS": "TT", "TIMEUNIT": "s"}


@pytest.mark.parametrize(
    ("cards", "unit", "first", "zero"),
    [
        (FERMI, "s", 6e8, 51910.00074287037),  # Fermi: seconds after 2001-01-01 UTC
        ({"MJDREF": 50814.0, "TIMESYS": "TT"}, "s", 5e8, 50814.0),  # XMM: after 1998-01-01 TT
        ({"MJDREF": 58849.0, "TIMESYS": "TT", "TIMEUNIT": "s"}, None, 0.0, 58849.0),
        ({}, "seconds", 0.0, 58849.0),
    ],
)
def test_seconds_after_a_reference_are_not_taken_for_days(tmp_path, cards, unit, first, zero):
    columns = written(tmp_path, first + 3600.0 * np.arange(30), cards, unit=unit)
    (product,), _ = reduced(tmp_path, **columns, time={"scale": "tt", "zero": zero})
    right = Time(zero, (first + 3600.0 * np.arange(30)) / 86400, format="mjd", scale="tt").utc.mjd
    np.testing.assert_allclose(product.data.mjd, right, atol=1e-8)
    if cards:
        with pytest.raises(BadKeyword, match=rf"zero of time .*zero: {zero:.10g}"):
            reduced(tmp_path, **columns, time={"scale": "tt"})


@pytest.mark.parametrize("card", [{"TREFPOS": "BARYCENTER"}, {"TIMEREF": "SOLARSYSTEM"}])
def test_the_place_of_times_in_the_header_of_a_fits_table_is_that_of_the_settings(tmp_path, card):
    columns = written(tmp_path, 6e8 + 3600.0 * np.arange(30), FERMI | {"TIMESYS": "TDB"} | card, unit="s")
    time = {"scale": "tdb", "zero": 51910.00074287037}
    with pytest.raises(BadKeyword, match="place of 'TIME' is barycentre"):
        reduced(tmp_path, **columns, time=time)
    assert reduced(tmp_path, **columns, time=time | {"place": "barycentre"})


def test_a_reference_beside_dates_is_none_of_theirs(tmp_path):
    cards = {"MJDREF": 50814.0, "TIMEUNIT": "s"}
    columns = written(tmp_path, 58000.0 + np.arange(30), cards, unit="MJD", name="MJD")
    (product,), _ = reduced(tmp_path, **columns, time={"scale": "utc"})
    np.testing.assert_allclose(product.data.mjd, 58000.0 + np.arange(30))


@pytest.mark.parametrize(
    ("said", "time", "word"),
    [
        ('timescale="TDB" refposition="TOPOCENTER" timeorigin="MJD-origin"', {}, "scale"),
        ('timescale="UTC" refposition="BARYCENTER" timeorigin="MJD-origin"', {}, "place"),
        ('timescale="UTC" refposition="TOPOCENTER" timeorigin="2457000"', {}, "zero of time"),
        ('timescale="UTC" refposition="TOPOCENTER" timeorigin="MJD-origin"', {}, ""),
        ('timescale="UNKNOWN" refposition="UNKNOWN" timeorigin="2400000.5"', {}, ""),
        ('timescale="TDB" refposition="BARYCENTER" timeorigin="2400000.5"',
         {"scale": "tdb", "place": "barycentre"}, ""),
    ],
)  # fmt: skip
def test_what_a_votable_says_of_its_times_is_what_the_settings_say(tmp_path, said, time, word):
    AstropyTable.from_pandas(table()).write(tmp_path / "star.vot", format="votable")
    text = (tmp_path / "star.vot").read_text()
    text = text.replace("<TABLE", f'<TIMESYS ID="when" {said}/>\n<TABLE', 1)
    (tmp_path / "star.vot").write_text(text.replace('name="mjd"', 'name="mjd" ref="when"'))
    settings = {"units": {"flux": "mJy"}} | ({"time": time} if time else {})
    if word:
        with pytest.raises(BadKeyword, match=f"the file says that the {word}"):
            reduced(tmp_path, **settings)
    else:
        assert len(reduced(tmp_path, **settings)[0]) == 1


def test_only_the_bits_that_are_asked_for_flag(tmp_path):
    tess_file(tmp_path)
    products, _ = reduced(tmp_path, TESS_STAR, preset="tess", quality_bits=175)
    assert np.sum(products[0].data.flags == FLAG_ARCHIVE) == 1


def test_files_of_kepler_have_their_own_names_and_zero(tmp_path):
    at = 55000.0 + np.arange(5)
    columns = [
        fits.Column("TIME", "D", array=at + 2e-3 - 54832.5),
        fits.Column("TIMECORR", "E", unit="d", array=np.full(5, 2e-3)),
        fits.Column("PDCSAP_FLUX", "E", unit="e-/s", array=np.ones(5)),
        fits.Column("PDCSAP_FLUX_ERR", "E", unit="e-/s", array=np.ones(5)),
        fits.Column("SAP_QUALITY", "J", array=[0, 0, 8192, 0, 0]),
    ]
    path = tmp_path / "kplr008462852-2009131105131_llc.fits"
    fits.BinTableHDU.from_columns(columns).writeto(path)
    (product,), _ = reduced(tmp_path, Target("KIC 8462852"), preset="kepler")
    np.testing.assert_allclose(product.data.mjd, Time(at, format="mjd", scale="tdb").utc.mjd, atol=1e-8)
    assert product.data.flags.tolist() == [0, 0, FLAG_ARCHIVE, 0, 0]


def test_files_of_k2_have_names_of_their_own(tmp_path):
    test_files_of_kepler_have_their_own_names_and_zero(tmp_path)
    (tmp_path / "kplr008462852-2009131105131_llc.fits").rename(tmp_path / "ktwo201367065-c01_llc.fits")
    (product,), _ = reduced(tmp_path, Target("EPIC 201367065"), preset="k2")
    assert (product.series, product.band) == ("01_Kepler", "Kepler")
    assert product.data.flags.tolist() == [0, 0, FLAG_ARCHIVE, 0, 0]


def test_a_folder_is_listed_once_for_all_batches_and_again_when_a_file_came(tmp_path, monkeypatch):
    table().to_csv(tmp_path / "star.csv", index=False)
    old = time.time() - 100
    os.utime(tmp_path, (old, old))
    listed = []
    real = find.files_below
    monkeypatch.setattr(find, "files_below", lambda folders: listed.append(folders) or real(folders))
    survey, targets = VirtualFolder(), [Target("star"), Target("other")]

    def names():
        found = [raw for target in targets for _, raw in survey.fetch([target], Folder(tmp_path))]
        return [raw.archive_id for raw in found if isinstance(raw, Raw)]

    assert names() == ["star.csv"]
    ((_, stamps), _) = survey.listing(targets, Folder(tmp_path))
    assert list(stamps) == [str(tmp_path / "star.csv")]
    assert len(listed) == 1
    table().to_csv(
        tmp_path / "other.csv", index=False
    )  # now: the folder may change once more in the same instant
    assert names() == ["star.csv", "other.csv"]
    assert names() == ["star.csv", "other.csv"]
    assert len(listed) > 2


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits", "vot", "parquet", "h5"])
def test_every_format_of_tables_gives_the_same(tmp_path, suffix):
    from virtualobserver.io.tables import write_any

    frame = table().rename(columns={"flux": "f"})
    write_any(frame, tmp_path / f"star.{suffix}")
    (product,), _ = reduced(tmp_path, columns={"flux": "f"}, units={"flux": "mJy"})
    curve = product.data
    assert curve.flux_unit == "uJy"
    np.testing.assert_allclose(curve.flux, frame["f"] * 1000)
    np.testing.assert_allclose(curve.flux_error, 100)
    np.testing.assert_allclose(curve.mjd, frame["mjd"])


def test_one_table_of_many_stars_bands_and_series(tmp_path):
    parts = [table(id=name, filter=band, year=year) for name in (7, 8) for band in "gr" for year in (1, 2)]
    pd.concat(parts).sample(frac=1, random_state=1).to_parquet(tmp_path / "all.parquet")
    settings = {"columns": {"object": "id", "band": "filter", "series": "year"}, "units": {"flux": ""}}
    products, notes = reduced(tmp_path, Target("8"), **settings)
    assert [(p.series, p.band, len(p.data)) for p in products] == [
        ("1_g", "g", 30), ("1_r", "r", 30), ("2_g", "g", 30), ("2_r", "r", 30),
    ]  # fmt: skip
    assert products[0].data.flux_unit == ""
    np.testing.assert_allclose(products[0].data.flux, np.linspace(2.0, 3.0, 30))
    assert notes["epochs not in order of time, sorted"] > 0


def test_bands_and_names_come_from_names_of_files(tmp_path):
    (tmp_path / "deep").mkdir()
    for band in "gr":
        table().to_csv(tmp_path / "deep" / f"my%2Fstar_{band}.csv", index=False)
    products, _ = reduced(
        tmp_path, Target("my/star"), files="deep/{object}_{band}.csv", units={"flux": "uJy"}
    )
    assert [p.band for p in products] == ["g", "r"]
    with pytest.raises(ConfigError, match="each once"):
        reduced(tmp_path, files="{object}_{filter}.csv")


def test_times_are_brought_to_the_telescope(tmp_path):
    site = Site(-70.4, -24.6, 2600.0)
    mjd = 58000.0 + np.linspace(0, 300, 30)
    for name, jd in (("bjd", bjd_tdb(mjd, 120.0, 15.0, site)), ("hjd", hjd_utc(mjd, 120.0, 15.0, site))):
        scale, place = ("tdb", "barycentre") if name == "bjd" else ("utc", "heliocentre")
        table().drop(columns="mjd").assign(t=jd).to_csv(tmp_path / "star.csv", index=False)
        time = {"format": "jd", "scale": scale, "place": place, "site": [-70.4, -24.6, 2600.0]}
        settings = {"columns": {"time": "t"}, "units": {"flux": "uJy"}}
        (product,), _ = reduced(tmp_path, **settings, time=time)
        np.testing.assert_allclose(product.data.mjd, mjd, atol=2e-9)  # a Julian date is good to 5e-10 d
        assert ("bjd_tdb" in product.data) == (name == "bjd")
        (product,), notes = reduced(tmp_path, Target("star"), **settings, time=time)
        assert "left in" in product.data.meta["time"]["light_travel"]
        assert notes["epochs whose light travel time is left in, as the star has no position"] == 30
        assert 1e-4 < np.abs(product.data.mjd - mjd).max() < 0.007


def test_an_unknown_site_costs_the_radius_of_the_earth():
    site, mjd = Site(-70.4, -24.6, 2600.0), 58000.0 + np.linspace(0, 300, 30)
    back = mjd_at_telescope(
        bjd_tdb(mjd, 120.0, 15.0, site) - MJD_ZERO_JD, scale="tdb", place="barycentre", position=(120.0, 15.0)
    )
    assert 1e-3 < np.abs(back - mjd).max() * 86400 < 0.0215
    assert GEOCENTRE.height == -6378137.0


def test_texts_starts_and_other_units_of_time(tmp_path):
    iso = Time(table()["mjd"], format="mjd", scale="tai").isot
    table().drop(columns="mjd").assign(date=iso, exp=2.0).to_csv(tmp_path / "star.csv", index=False)
    settings = {
        "columns": {"time": "date", "exptime": "exp"}, "units": {"flux": "uJy", "exptime": "min"},
        "time": {"format": "iso", "scale": "tai", "moment": "start"},
    }  # fmt: skip
    (product,), _ = reduced(tmp_path, **settings)
    np.testing.assert_allclose(product.data.mjd, table()["mjd"] + (60 - 37) / 86400, atol=1e-8)
    assert set(product.data["exptime"].tolist()) == {120.0}


def test_magnitudes_become_fluxes(tmp_path):
    frame = table(mag=np.linspace(14, 15, 30), mag_error=0.01).drop(columns=["flux", "flux_error"])
    frame.to_csv(tmp_path / "star.csv", index=False)
    (product,), _ = reduced(tmp_path)
    assert product.data.flux[0] == pytest.approx(10 ** (0.4 * (23.9 - 14)))
    assert product.statistics["mag_brightest"] == pytest.approx(14)
    (product,), _ = reduced(tmp_path, magnitudes="other")
    assert product.data.flux_unit == ""
    assert np.median(product.data.flux) == pytest.approx(1, rel=0.02)
    assert product.data.flux_error[3] / product.data.flux[3] == pytest.approx(0.00921, rel=1e-3)


def test_values_that_cannot_be_are_taken_out_flagged_and_counted(tmp_path):
    mag = np.linspace(14, 15, 30)
    mag[[3, 7]] = 99.0, -99.0
    frame = table(mag=mag, mag_error=0.01).drop(columns=["flux", "flux_error"])
    frame.loc[9, "mjd"] = 2458009.5
    frame.to_csv(tmp_path / "star.csv", index=False)
    (product,), notes = reduced(tmp_path)
    assert len(product.data) == 29  # one has no time
    odd = (product.data.flags & FLAG_RANGE) != 0
    assert np.flatnonzero(odd).tolist() == [3, 7]
    assert np.isnan(product.data.flux[odd]).all()
    assert (product.data.flags[odd] & FLAG_NOT_FINITE).all()
    assert product.statistics["mag_brightest"] == pytest.approx(14)
    assert notes["epochs with a value that cannot be, taken out"] == 3


@pytest.mark.parametrize("error", [0.0, -1.0])
def test_epochs_without_a_usable_error_are_never_good(tmp_path, error):
    frame = table()
    frame.loc[[3, 7], "flux_error"] = error
    frame.to_csv(tmp_path / "star.csv", index=False)
    (product,), notes = reduced(tmp_path, units={"flux": "uJy"})
    assert np.flatnonzero(product.data.flags & FLAG_BAD_ERROR).tolist() == [3, 7]
    assert notes["epochs whose error is zero or negative"] == 2
    for value in (error, np.nan):
        frame.assign(flux_error=value).to_csv(tmp_path / "star.csv", index=False)
        with pytest.raises(InvalidFile, match="none of its 30 epochs has a flux with an error above zero"):
            reduced(tmp_path, units={"flux": "uJy"})


@pytest.mark.parametrize("value", [1e30, -1e30, np.inf])
def test_fluxes_that_are_marks_of_missing_ones_are_taken_out(tmp_path, value):
    frame = table()
    frame.loc[3, "flux"] = value
    frame.to_csv(tmp_path / "star.csv", index=False)
    (product,), _ = reduced(tmp_path, units={"flux": "uJy"})
    assert np.flatnonzero(product.data.flags & FLAG_NOT_FINITE).tolist() == [3]


def test_dates_with_2450000_taken_off_are_not_those_of_1880(tmp_path):
    frame = table()
    frame["mjd"] -= 49999.5
    frame.to_csv(tmp_path / "star.csv", index=False)
    with pytest.raises(BadKeyword, match="as MJD before 1900; if 2450000 was taken off, say time"):
        reduced(tmp_path, units={"flux": "uJy"})
    (product,), _ = reduced(
        tmp_path, units={"flux": "uJy"}, time={"format": "jd", "zero": 2450000, "scale": "utc"}
    )
    assert product.data.mjd[0] == pytest.approx(table()["mjd"][0])
    (product,), _ = reduced(tmp_path, units={"flux": "uJy"}, time={"scale": "utc"})
    assert product.data.mjd[0] == pytest.approx(frame["mjd"][0])  # an old plate


def test_a_file_of_its_name_that_is_not_read_is_named(tmp_path):
    table().to_csv(tmp_path / "other.csv", index=False)
    (tmp_path / "HD 1.txt").write_text("mjd flux\n")
    index = Index([tmp_path], FolderSettings())
    assert "of its name there is only HD 1.txt, which is no table" in index.missing(Target("hd1")).reason
    assert "none of the 1 stars" in index.missing(Target("hd2")).reason


def test_errors_may_come_from_the_scatter_of_neighbours(tmp_path):
    flux = 100 + np.linspace(0, 50, 400) + np.random.default_rng(1).normal(0, 2, 400)
    frame = pd.DataFrame({"mjd": 58000.0 + np.arange(400), "flux": flux})
    frame.to_csv(tmp_path / "star.csv", index=False)
    with pytest.raises(BadKeyword, match=r"no column of errors; there are mjd, flux; .* errors: scatter"):
        reduced(tmp_path, units={"flux": "uJy"})
    (product,), _ = reduced(tmp_path, units={"flux": "uJy"}, errors="scatter")
    assert product.data.flux_error[0] == pytest.approx(2.0, rel=0.15)


@pytest.mark.parametrize("second", ["late/star.csv", "star.parquet"])
def test_epochs_that_two_files_of_a_star_hold_are_there_once(tmp_path, second):
    path = tmp_path / second
    path.parent.mkdir(exist_ok=True)
    table().to_csv(tmp_path / "star.csv", index=False)
    part = table().iloc[10:]
    part.to_csv(path, index=False) if path.suffix == ".csv" else part.to_parquet(path)
    (product,), notes = reduced(tmp_path, units={"flux": "uJy"})
    assert product.data.mjd.tolist() == table()["mjd"].tolist()
    assert product.data.flux.tolist() == table()["flux"].tolist()
    assert notes["rows that repeat another, left out"] == 20


def test_rows_that_repeat_are_found_between_others_of_their_time_and_without_numbers(tmp_path):
    frame = table()
    frame.loc[5, "flux"] = np.nan
    frame = pd.concat([frame, frame.iloc[:3].assign(flux=9.0), frame.iloc[:6]])
    frame.to_csv(tmp_path / "star.csv", index=False)
    (product,), notes = reduced(tmp_path, units={"flux": "uJy"})
    assert len(product.data) == 33
    assert notes["rows that repeat another, left out"] == 6
    assert notes["epochs at a time that occurs twice, kept"] == 3


@pytest.mark.parametrize(
    ("names", "right"),
    [
        ([7.0] * 10 + [np.nan] * 10 + [12.0] * 10, ["12", "7"]), (["b"] * 10 + [None] * 10 + [" "] * 10, ["b"]),
        ([1.5] * 30, ["1.5"]),
    ],
)  # fmt: skip
def test_rows_without_a_name_are_no_star_and_numbers_are_names_without_a_point(tmp_path, names, right):
    table(id=names).to_parquet(tmp_path / "all.parquet")
    assert list(Index([tmp_path], FolderSettings(columns={"object": "id"})).names) == right
    settings = {"columns": {"object": "id"}, "units": {"flux": "uJy"}}
    (product,), _ = reduced(tmp_path, Target(right[0]), **settings)
    assert len(product.data) == sum(str(one).removesuffix(".0") == right[0] for one in names)


def test_numbers_of_stars_that_have_lost_their_last_digits_are_refused(tmp_path):
    table(id=np.full(30, 6.8e18)).to_parquet(tmp_path / "all.parquet")
    with pytest.raises(BadKeyword, match=r"'id' of objects holds floating-point numbers as large as 6\.8e"):
        Index([tmp_path], FolderSettings(columns={"object": "id"})).names  # noqa: B018


def test_rows_that_repeat_are_left_out_and_counted(tmp_path):
    frame = table()
    other = frame.iloc[[4]].assign(flux=9.0)
    pd.concat([frame, frame.iloc[[3]], other]).to_csv(tmp_path / "star.csv", index=False)
    (product,), notes = reduced(tmp_path, units={"flux": "uJy"}, columns={"keep": []})
    assert len(product.data) == 31
    assert notes["rows that repeat another, left out"] == 1
    assert notes["epochs at a time that occurs twice, kept"] == 1


@pytest.mark.parametrize(
    ("frame", "settings", "says"),
    [
        (
            table(),
            {"columns": {"flux": "nope"}},
            r"no column 'nope' for flux; there are mjd, flux, flux_error",
        ),
        (table(), {}, "nothing says the unit of the flux"),
        (table(), {"units": {"flux": "parrots"}}, "unit 'parrots' of flux is not known"),
        (table(), {"units": {"flux": "uJy", "flux_error": "s"}}, "unit of flux_error is 's'"),
        (table(t=1.0), {"columns": {"time": "t"}, "units": {"flux": "uJy"}}, "what the times in 't' are"),
        (table(flux="a"), {"units": {"flux": "uJy"}}, "'flux' for flux is text, not numbers: 'a' in row 1"),
        (table(), {"units": {"flux": "uJy"}, "time": {"scale": "utc", "moment": "end"}}, "exposure time"),
        (table()[["mjd"]], {}, "no column 'flux' for flux; there are mjd"),
        (
            table(mjd=2458000.0 + np.arange(30)),
            {"units": {"flux": "uJy"}},
            r"star.csv: .*these are Julian dates; subtract 2400000.5; or say time: {format: jd, scale: utc}",
        ),
        (
            table(flux=["1.5"] * 20 + ["saturated"] + ["1.5"] * 9),
            {"units": {"flux": "uJy"}},
            "is text, not numbers: 'saturated' in row 21; mend it, or leave the cell empty",
        ),
        (
            table(ra="10:20:30", dec=20.0),
            {"units": {"flux": "uJy"}},
            "'10:20:30' in row 1; degrees are needed",
        ),
        (table(ra=-999.0, dec=20.0), {"units": {"flux": "uJy"}}, "star.csv: column ra holds -999"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(tmp_path, frame, settings, says):
    frame.to_csv(tmp_path / "star.csv", index=False)
    with pytest.raises(BadKeyword, match=says):
        reduced(tmp_path, **settings)


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (
            "58000 1.5 0.1",
            r"first line is '58000 1.5 0.1': put commas, semicolons or tabs between the columns",
        ),
        (
            "58000,1.5,0.1",
            r"first line holds numbers \(58000, 1.5, 0.1\): put names of the columns above them",
        ),
    ],
)
def test_a_table_without_commas_or_names_says_what_its_first_line_lacks(tmp_path, first, says):
    (tmp_path / "star.csv").write_text(
        "\n".join([first] + [first.replace("58000", f"{58001 + n}") for n in range(3)])
    )
    with pytest.raises(BadKeyword, match=says):
        reduced(tmp_path, units={"flux": "uJy"})


def test_blanks_around_names_of_columns_are_none_of_theirs(tmp_path):
    lines = ["mjd , flux , flux_error", *(f"{58000 + n} , 2.0 , 0.1" for n in range(5))]
    (tmp_path / "star.csv").write_text("\n".join(lines))
    (product,), _ = reduced(tmp_path, units={"flux": "uJy"})
    assert product.data.flux.tolist() == [2.0] * 5


def test_an_empty_file_and_a_star_that_is_not_there(tmp_path):
    (tmp_path / "star.csv").write_text("")
    with pytest.raises(InvalidFile, match="empty"):
        reduced(tmp_path, units={"flux": "uJy"})
    ((_, answer),) = VirtualFolder().fetch([Target("other")], Folder(tmp_path))
    assert answer.reason == "none of the 1 stars of the archive folder has its name (there: star)"
    ((_, answer),) = VirtualFolder().fetch([Target("other")], Folder(tmp_path / "nowhere"))
    assert "does not exist" in str(answer)
    table().iloc[:0].to_csv(tmp_path / "star.csv", index=False)
    products, notes = reduced(tmp_path, units={"flux": "uJy"})
    assert products == []
    assert notes == {"files without a row": 1}
    table(flux=np.nan).to_csv(tmp_path / "star.csv", index=False)
    (product,), notes = reduced(tmp_path, units={"flux": "uJy"})
    assert notes["epochs whose flux or error is not a number"] == 30
    assert set(product.data.flags.tolist()) == {FLAG_NOT_FINITE}
    assert notes["light curves without a good epoch, in which nothing can be found"] == 1


@pytest.mark.parametrize("unit", ["electron/s", "", "mJy"])
def test_a_search_finds_a_flare_in_fluxes_of_any_unit(tmp_path, url, unit):
    rng = np.random.default_rng(5)
    flux = rng.normal(100, 1, 200)
    flux[80:86] += 30
    frame = pd.DataFrame(
        {"mjd": 58000.0 + np.arange(200), "flux": flux, "flux_error": 1.0, "ra": 10.0, "dec": 5.0}
    )
    (tmp_path / "curves").mkdir()
    frame.to_csv(tmp_path / "curves" / "star.csv", index=False)
    settings = {
        "name": "own", "catalog": {"survey": "folder"},
        "observatories": {"folder": {"archive": str(tmp_path / "curves"), "units": {"flux": unit}, "band": "r"}},
        "analyses": {"transients": {"simulate": {"number": 4, "amplitude": [50.0, 60.0], "width": [10.0, 20.0]}}},
    }  # fmt: skip
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert summary.complete, summary.failures
        (event,) = project.detections().itertuples()
        assert (event.kind, event.band) == ("flare", "r")
        assert 58079 < event.peak_mjd < 58087
        assert event.parameters["amplitude"] == pytest.approx(30_000 if unit == "mJy" else 30, rel=0.2)
        assert (event.parameters["mag"] is None) == (unit != "mJy")
        assert project.efficiency()["found"].sum() >= 3
        frame.assign(flux=flux + 1).to_csv(tmp_path / "curves" / "star.csv", index=False)
        assert project.run().notes == [
            "fetch:folder: 1 source has new or changed files: --refresh reads them"
        ]


def test_files_that_cannot_be_read_do_not_keep_the_others_from_the_list(tmp_path, url):
    for number in (1, 2, 3, 4):
        tess_file(tmp_path, number=number)
    cut, empty, page = (tmp_path / f"tess2018206045859-s0001-{n:016d}-0120-s_lc.fits" for n in (2, 3, 4))
    cut.write_bytes(cut.read_bytes()[:2000])
    empty.write_bytes(b"")
    page.write_text("<html>404 not found</html>")
    settings = {
        "name": "broken", "catalog": {"survey": "folder"}, "analyses": {},
        "observatories": {"folder": {"archive": str(tmp_path), "preset": "tess"}},
    }  # fmt: skip
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        for _ in range(2):  # said by each run, as long as it is so
            summary = project.run()
            assert [source.name for source in project.sources] == ["TIC 1"]
            assert [note.partition(": /")[0] for note in summary.notes] == [
                f"left out of the targets: TIC {number}" for number in (2, 3, 4)
            ]
            assert "empty" in summary.notes[1]
            assert "a web page" in summary.notes[2]
        tess_file(tmp_path, number=5)
        for broken in (cut, empty, page):
            broken.unlink()
        assert project.run().notes == []
        assert [source.name for source in project.sources] == ["TIC 1", "TIC 5"]
        page.write_text("<html>404 not found</html>")
        (tmp_path / "tess2018206045859-s0001-0000000000000001-0120-s_lc.fits").unlink()
        (tmp_path / "tess2018206045859-s0001-0000000000000005-0120-s_lc.fits").unlink()
        with pytest.raises(ConfigError, match=r"lists no targets: TIC 4: .*web page"):
            project.run(refresh=True)


def test_an_empty_list_of_stars_is_asked_for_again_by_the_next_run(tmp_path, url, monkeypatch):
    tess_file(tmp_path)
    settings = {
        "name": "late", "catalog": {"survey": "folder"}, "analyses": {},
        "observatories": {"folder": {"archive": str(tmp_path), "preset": "tess"}},
    }  # fmt: skip
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        with monkeypatch.context() as patch:
            patch.setattr(VirtualFolder, "catalogue", lambda *_: [])
            with pytest.raises(ConfigError, match="lists no targets"):
                project.import_catalogue()
        assert project.import_catalogue() == 1


def test_the_project_that_comes_along_runs_as_it_is(tmp_path, monkeypatch, url, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VO_DATABASE_URL", url)
    assert main(["new", "project", "folder", "mine"]) == 0
    assert main(["run", "mine/mine.yaml", "--data", "data"]) == 0
    with Project.open("mine/mine.yaml", data="data", url=url) as project:
        (event,) = project.detections().itertuples()
        assert (event.source, event.kind) == ("example", "flare")
