"""Catalogues in other units: converted as the file or the column says, or refused; impossible values are counted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.table import Table as AstropyTable
from support.real import real_data

from virtualobserver.catalog import Catalog, read_catalog
from virtualobserver.catalog.columns import STARS, TARGETS, map_columns
from virtualobserver.catalog.refcat_columns import to_stars
from virtualobserver.catalog.units import without_unit
from virtualobserver.config import CatalogSettings
from virtualobserver.errors import CatalogError
from virtualobserver.io.tables import read_any, write_any

RA, DEC = [85.94366927, 114.59155903], [5.72957795, -11.45915590]


def frame(**columns):
    return pd.DataFrame({"name": ["a", "b"], "ra": [1.5, 2.0], "dec": [0.1, -0.2], **columns})


def stars(table, **options):
    options = {"epoch": 2016.0, "columns": {}, "name": "stars"} | options
    return to_stars(table, "stars.csv", **options)[0]


@pytest.mark.real
@pytest.mark.parametrize("name", ["rad.vot", "rad.ecsv"])
def test_a_real_file_in_radians_is_converted(name):
    path = real_data("reports", "ztf", "units", name)
    catalog = read_catalog(path)
    np.testing.assert_allclose(catalog.ra, RA, atol=1e-8)
    np.testing.assert_allclose(catalog.dec, DEC, atol=1e-8)
    found = stars(read_any(path))
    np.testing.assert_allclose(found.ra, RA, atol=1e-8)


@pytest.mark.parametrize("suffix", ["vot", "ecsv", "fits", "parquet", "h5"])
def test_units_of_every_format_are_converted_for_targets_and_reference_stars(suffix, tmp_path):
    units = {"ra": "rad", "dec": "rad", "pmra": "arcsec/yr", "pmdec": "deg/yr", "parallax": "arcsec"}
    units |= {"radial_velocity": "m/s", "mag": "mmag"}
    table = frame(pmra=[1.0, 2.0], pmdec=[1e-6, 0.0], parallax=[0.5, 0.1])
    table = table.assign(radial_velocity=[-110510.0, 0.0], mag=[9511.0, 12000.0])
    write_any(table, tmp_path / f"t.{suffix}", units=units)
    catalog = read_catalog(tmp_path / f"t.{suffix}", epoch=2016.0)
    np.testing.assert_allclose(catalog.ra, RA, atol=1e-8)
    target = catalog["a"]
    assert (target.pmra, target.pmdec) == pytest.approx((1000.0, 3.6))
    assert (target.parallax, target.mag) == pytest.approx((500.0, 9.511))
    found = stars(read_any(tmp_path / f"t.{suffix}"))
    np.testing.assert_allclose(found.dec, DEC, atol=1e-8)
    np.testing.assert_allclose(found.pmra, [1000.0, 2000.0])
    # parts of a catalogue, and parts of these, are not converted once more
    again = catalog.where("mag < 10").limit(1)
    assert again.ra[0] == pytest.approx(RA[0], abs=1e-8)
    assert again.at_epoch(2010.0).limit(1).ra[0] == pytest.approx(RA[0], abs=1e-2)


@pytest.mark.parametrize(
    ("column", "unit", "factor"),
    [
        ("ra", "hourangle", 15.0), ("ra", "h", 15.0), ("ra", "hours", 15.0), ("ra", "Angle[deg]", 1.0),
        ("ra", "degrees", 1.0), ("dec", "arcmin", 1 / 60), ("pmra", "mas.yr**-1", 1.0), ("pmra", "mas.yr-1", 1.0),
        ("pmra", "Angular Velocity[mas/year]", 1.0), ("mag", "mag(AB)", 1.0), ("parallax", "uas", 1e-3),
        ("radial_velocity", "km.s**-1", 1.0), ("mag", "---", 1.0), ("epoch", "Time[Julian Years]", 1.0),
    ],
)  # fmt: skip
def test_units_in_the_spellings_of_archives(column, unit, factor):
    from virtualobserver.catalog.units import in_our_units

    table = pd.DataFrame({column: [1.5]})
    table.attrs["units"] = {column: unit}
    assert in_our_units(table, {column: column}, "t")[column][0] == pytest.approx(1.5 * factor)


@pytest.mark.parametrize(
    ("column", "unit", "words"),
    [
        ("ra", "furlong", "not known"), ("ra", "m", "no unit of ra"), ("pmra", "km/s", "no unit of pmra"),
        ("pmra", "s/yr", "no unit of pmra"), ("mag", "Jy", "no unit of mag"), ("epoch", "d", "Julian years"),
        ("dec", "h", "no unit of dec"),
    ],
)  # fmt: skip
def test_units_that_are_none_of_the_column_are_refused(column, unit, words):
    table = frame(pmra=[1.0, 2.0], mag=[1.0, 2.0], epoch=[2000.0, 2000.0])
    table.attrs["units"] = {column: unit}
    with pytest.raises(CatalogError, match=words):
        Catalog(table)


@pytest.mark.parametrize(
    "names", [("ra_rad", "dec_rad"), ("RA (rad)", "Dec (rad)"), ("ra[radians]", "dec[radians]")]
)
def test_a_unit_at_the_end_of_a_name_counts(names):
    table = frame().rename(columns=dict(zip(("ra", "dec"), names, strict=True)))
    np.testing.assert_allclose(Catalog(table).limit(1).ra, RA[:1], atol=1e-8)
    np.testing.assert_allclose(stars(table).dec, DEC, atol=1e-8)
    assert without_unit("ra_icrs") == "ra_icrs"


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        (["05:43:46.48", "07 38 21.97"], ["+05:43:46.48", "-11 27 32.96"]),
        (["5h43m46.48s", "7h38m21.97s"], ["5d43m46.48s", "-11d27m32.96s"]),
    ],
)
def test_sexagesimal_text_is_hours_and_degrees(ra, dec):
    table = frame(ra=ra, dec=dec)
    for found in (Catalog(table), stars(table)):
        np.testing.assert_allclose(found.ra, RA, atol=1e-4)
        np.testing.assert_allclose(found.dec, [5.72957795, -11.45915590], atol=1e-4)


def test_a_declination_just_south_of_the_equator_keeps_its_sign():
    assert Catalog(frame(ra=["00:00:00", "01:00:00"], dec=["-00:30:00", "+00:30:00"])).dec.tolist() == [
        -0.5,
        0.5,
    ]


@pytest.mark.parametrize("wrong", ["12:61:00", "25:00:00", "noon", "12:30"])
def test_text_that_is_no_position_names_its_row(wrong):
    with pytest.raises(CatalogError, match="row 2"):
        Catalog(frame(ra=["12:00:00", wrong], dec=["0:0:0", "0:0:0"]))


def test_numbers_as_text_are_numbers():
    assert Catalog(frame(ra=["1.5", "2"], dec=["0.1", "-0.2"])).ra.tolist() == [1.5, 2.0]


@pytest.mark.parametrize(
    "names", [("RAdeg", "DEdeg"), ("RAJ2000", "DEJ2000"), ("raMean", "decMean"), ("objra", "objdec")]
)
def test_usual_names_are_known_to_target_lists_and_reference_catalogues_alike(names):
    table = frame(Vmag=[9.0, 10.0], RAdVel=[1.0, 2.0])
    table = table.rename(columns=dict(zip(("ra", "dec"), names, strict=True)))
    for known in (TARGETS, STARS):
        found = map_columns(table, {}, "t", known=known, required=("ra", "dec"))
        assert (found["ra"], found["dec"], found["mag"], found["radial_velocity"]) == (
            *names,
            "Vmag",
            "RAdVel",
        )


def test_sentinels_are_missing_and_counted():
    catalog = Catalog(frame(mag=[99.0, 12.0], mag_error=[-1.0, 0.1], parallax=[-9999.0, 5.0]))
    assert catalog.out_of_range == {"mag": 1, "mag_error": 1, "parallax": 1}
    target = catalog["a"]
    assert (target.mag, target.mag_error, target.parallax) == (None, None, None)
    assert np.isnan(stars(frame(mag=[99.0, 12.0])).mag).tolist() == [True, False]


def test_epochs_that_are_days_are_refused():
    with pytest.raises(CatalogError, match="no Julian years: rows 2"):
        Catalog(frame(epoch=[2016.0, 57388.5]))


def test_numbers_that_are_not_used_are_told(tmp_path, monkeypatch):
    (tmp_path / "odd.csv").write_text(
        "name,ra,dec,pmra,pmdec,epoch,mag\na,10,5,1e6,0,2016,99.9\nb,10,5,1,,2016,15\nc,10,5,1,2,2016,15\n"
    )
    told = []
    log = SimpleNamespace(
        warning=lambda event, **about: told.append((event, about.get("column"), about["rows"]))
    )
    monkeypatch.setattr("virtualobserver.catalog.columns._log", log)
    first, second, third = read_catalog(CatalogSettings(file=str(tmp_path / "odd.csv"))).targets()
    assert ("values that cannot be count as missing", "pmra", 1) in told
    assert ("values that cannot be count as missing", "mag", 1) in told
    assert ("one half of a proper motion counts as none", None, 1) in told
    assert (first.mag, second.mag, third.pmdec) == (None, 15.0, 2.0)


def in_a_system(path, said, **columns):
    """Write a VOTable whose positions are of a COOSYS, and return it."""
    theirs = AstropyTable({"name": ["a", "b"], "ra": [10.0, 20.0], "dec": [1.0, 2.0], **columns})
    theirs.write(path, format="votable")
    text = path.read_text().replace("<TABLE", f'<COOSYS ID="frame" {said}/>\n<TABLE', 1)
    for name in ("ra", "dec"):
        text = text.replace(f'name="{name}"', f'name="{name}" ref="frame"')
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "said", ['system="eq_FK4" equinox="B1950"', 'system="galactic"', 'system="eq_FK5" equinox="J1975"']
)
def test_positions_in_another_system_are_refused(tmp_path, said):
    path = in_a_system(tmp_path / "a.vot", said)
    with pytest.raises(CatalogError, match=r"'ra' is in .*ICRS, convert"):
        read_catalog(path)
    with pytest.raises(CatalogError, match=r"'ra' is in .*ICRS, convert"):
        stars(read_any(path))


@pytest.mark.parametrize(
    "said", ['system="ICRS"', 'system="eq_FK5" equinox="J2000"', 'system="FK5" equinox="2000.0"']
)
def test_positions_in_icrs_and_those_of_fk5_j2000_are_ours(tmp_path, said):
    assert read_catalog(in_a_system(tmp_path / "a.vot", said)).ra.tolist() == [10.0, 20.0]


def test_the_epoch_of_a_system_is_that_of_its_positions(tmp_path):
    said = 'system="ICRS" epoch="J1991.25"'
    targets = read_catalog(in_a_system(tmp_path / "a.vot", said, pmra=[1.0, 2.0], pmdec=[3.0, 4.0])).targets()
    assert [one.epoch for one in targets] == [1991.25, 1991.25]


def test_positions_of_astropy_in_other_frames_become_icrs(tmp_path):
    there = SkyCoord([266.40498829], [-28.93617776], unit="deg").transform_to("galactic")
    QTable({"name": ["Sgr A*"], "at": there}).write(tmp_path / "a.ecsv")
    frame = read_any(tmp_path / "a.ecsv")
    np.testing.assert_allclose(frame[["at.ra", "at.dec"]], [[266.40498829, -28.93617776]], atol=1e-8)


def test_a_parallax_that_stands_for_none_is_none():
    rows = [
        {"name": "a", "ra": 1, "dec": 2, "parallax": -999.0},
        {"name": "b", "ra": 3, "dec": 4, "parallax": -190},
    ]
    assert [one.parallax for one in read_catalog(rows).targets()] == [None, -190.0]
