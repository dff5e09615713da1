"""An image whose first solution is 3 arcsec off, solved anew: its magnitudes are right wherever they are told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select
from support.lsss import catalogue
from support.paths import PLUGINS

from virtualobserver import Project
from virtualobserver.catalog.refcat import Origin, build_refcat
from virtualobserver.data.cards import cards_by_unit
from virtualobserver.data.panels import Facts
from virtualobserver.models import Product
from virtualobserver.observatories.lsss import VirtualLSSS
from virtualobserver.run.views.survey_figures import calibration_panels
from virtualobserver.run.views.ways_out import find_way_out, write

SIMULATION = {
    "frames": 5, "size": [240, 320], "stars": 200, "faintest": 18.0, "colour_term": 0.0, "movers": 4,
    "mag": [13.0, 14.0], "rate": [40.0, 80.0], "clouds": 0.0, "cosmics": 2.0, "satellites": 0.0, "flip": False,
    "fwhm": [2.3, 2.3],
}  # fmt: skip
NIGHT = {
    "name": "askew",
    "catalog": {"name": "fields", "rows": [{"name": "field", "ra": 150.0, "dec": 20.0, "kind": "field"}]},
    "observatories": {
        str(PLUGINS / "askew.py"): {"archive": "simulated", "refcat": "sky@1", "simulation": SIMULATION}
    },
    "analyses": {
        "image_quality": {"outliers": {"action": "retry(2)"}},
        "moving_objects": {"method": "link"},
        "asteroids": {},
    },
}


def put_in(project):
    """Return what is in each frame: mjd, ra, dec, mag."""
    return project.sql(
        "SELECT (r.header->>'mjd')::float8 AS mjd, (m.value->>'ra')::float8 AS ra, "
        "(m.value->>'dec')::float8 AS dec, (m.value->>'mag')::float8 AS mag, "
        "(m.value->>'flux')::float8 AS flux FROM raw_data r "
        "CROSS JOIN LATERAL jsonb_array_elements(r.header->'truth') m WHERE r.header ? 'truth'"
    )


def off(truth, mjd, ra, dec, mag):
    """Return how far magnitudes are from those of the nearest mover of the truth at their time, within 2 arcsec."""
    away = []
    for time, east, north, value in zip(mjd, ra, dec, mag, strict=True):
        now = truth[np.abs(truth["mjd"] - time) < 1e-6]
        apart = np.hypot((now["ra"] - east) * np.cos(np.radians(north)), now["dec"] - north) * 3600
        assert apart.min() < 1.0
        away.append(value - now["mag"].iloc[int(np.argmin(apart))])
    return np.array(away)


def test_magnitudes_of_an_image_solved_anew_are_right_in_tracks_light_curves_and_exports(tmp_path, url):
    sky = catalogue(VirtualLSSS(simulation=SIMULATION), seed=13).stars
    stars = pd.DataFrame(
        {name: getattr(sky, name) for name in ("source_id", "ra", "dec", "mag", "bp_rp", "mag_error")}
    )
    build_refcat(stars, tmp_path / "data", "sky@1", origin=Origin("file", "simulated"), epoch=2016.0)
    with Project.open(NIGHT, data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert not summary.failed, summary.failures
        truth = put_in(project)
        third = np.sort(truth["mjd"].unique())[2]

        def products(role):
            return project.live.scalars(select(Product).where(Product.role == role)).all()

        (quality,) = (row.data for row in products("quality"))
        (unit,) = quality.meta["wcs"]
        assert unit.endswith("field.00002")
        assert quality["use"].all()
        (tracks,) = (row.data for row in products("tracks"))
        assert (tracks["mjd"] == third).sum() == 4
        mags = 23.9 - 2.5 * np.log10(tracks["flux"])
        assert np.abs(off(truth, tracks["mjd"], tracks["ra"], tracks["dec"], mags)).max() < 0.02
        curves = [row.data for row in products("asteroid")]
        assert len(curves) == 4
        for curve in curves:
            assert curve.flux_unit == "uJy"
            mags = 23.9 - 2.5 * np.log10(curve["flux"])
            assert np.abs(off(truth, curve["mjd"], curve["ra"], curve["dec"], mags)).max() < 0.02
        handles = [row.handle() for role in ("wcs", "zeropoint", "quality") for row in products(role)]
        cards = cards_by_unit(handles)
        zeros = {name: one["MAGZP"] for name, one in cards.items()}
        assert zeros[unit] == pytest.approx(np.median(list(zeros.values())), abs=0.02)
        facts, *_ = (one for one in calibration_panels(project, unit, {}) if isinstance(one, Facts))
        shown = {name: value for name, value, _ in facts.rows}
        assert shown["zero point"] == pytest.approx(quality.meta["zeropoint"][unit]["zero_point"], abs=1e-9)
        assert shown["R²"] > 0.999
        write(project, find_way_out("lsss_files"), tmp_path / "files", simulated=True)
    check_files(tmp_path / "files", truth, third)


def check_apertures(rows, truth):
    """Assert that the fixed aperture (4 pixels are nearest to 1.3 widths) has the light that was put in, in electrons.

    Counts have 1.3 electrons; of a Gaussian of 2.3 pixels 99.98 % are within 4.
    """
    flux = []
    for row in rows.itertuples():
        now = truth[np.abs(truth["mjd"] - row.MID_EXPOSURE_MJD) < 1e-6]
        away = np.hypot((now["ra"] - row.RA) * np.cos(np.radians(row.DEC)), now["dec"] - row.DEC)
        flux.append(now["flux"].iloc[int(np.argmin(away))])
    light = 1.3 * np.array(flux)
    off = rows["FLUX_APER"] - light
    assert np.abs(off / light).max() < 0.02
    assert 0.5 < (off / rows["FLUX_APER_ERR"]).std() < 2.0
    np.testing.assert_allclose(rows["MAG_APER"], -2.5 * np.log10(light / 60), atol=0.02)
    np.testing.assert_allclose(
        rows["MAG_APER_ERR"], 1.0857 * rows["FLUX_APER_ERR"] / rows["FLUX_APER"], rtol=1e-3
    )


def check_files(folder, truth, third):
    """Assert that the files tell right magnitudes and the stars of the new solution."""
    for kind in ("calib", "validcalib"):
        rows = pd.read_csv(folder / f"{kind}_ssos_askew.csv")
        assert len(rows) == 20
        assert (
            np.abs(off(truth, *(rows[k] for k in ("MID_EXPOSURE_MJD", "RA", "DEC", "MAG_CALIB")))).max()
            < 0.02
        )
    check_apertures(rows, truth)
    rows = rows[np.abs(rows["MID_EXPOSURE_MJD"] - third) < 1e-6]
    assert (rows["R2"] > 0.999).all()
    fits = pd.read_csv(folder / "coeff_fit.csv")
    assert fits["Intercept"].std() < 0.01
    assert fits["N fit"].between(15, 25).all()
    assert (fits["N tot"] >= fits["N fit"]).all()
