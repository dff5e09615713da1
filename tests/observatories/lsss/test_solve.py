"""World coordinates of simulated frames of 40' x 27': cubic distortion, poor pointing, wrong scale; and blank ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.lsss import FIELD, aux_of, first_frame

from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data import Image, as_handle
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.observatories.lsss import VirtualLSSS
from virtualobserver.observatories.lsss.simulate import camera_of

FRAME = {"frames": 1, "movers": 0, "world": False, "pointing_error": 20.0, "distortion": 3.0, "dither": 0.0}
MOST = 5 * 6 * 2 * 2
"""Candidates that are refined at most: five at each of six depths, for two pointings and two errors of the scale."""
SOLVE = {"pixel_scale": 2.226 * 1.13}


@pytest.fixture(scope="module")
def frame():
    survey = VirtualLSSS(refcat="gaia@dr3", simulation=FRAME, solve=SOLVE)
    return survey, first_frame(survey)


def solved(survey, product, aux=None):
    (wcs,) = survey.refine("solve", [as_handle(product)], aux or aux_of(survey), survey.settings)
    return wcs


def grid():
    return (g.ravel() for g in np.meshgrid(np.linspace(0, 1091, 30), np.linspace(0, 735, 20)))


def test_a_distorted_frame_that_points_elsewhere_is_solved_to_hundredths_of_an_arcsec(frame):
    survey, product = frame
    made = solved(survey, product)
    assert made.statistics["solved"], made.statistics["reason"]
    x, y = grid()
    found = Image(np.zeros((2, 2)), header=made.data.meta["wcs"]).wcs
    true = camera_of(survey.settings.simulation, FIELD).to_sky(x, y)
    away = separation(*found.all_pix2world(x, y, 0), *true) * ARCSEC_PER_DEGREE
    assert np.median(away) < 0.02
    assert np.percentile(away, 95) < 0.06
    assert made.statistics["wcs_scale_arcsec"] == pytest.approx(2.226, rel=1e-3)


def test_pixels_go_to_the_sky_and_back_by_the_cards_alone(frame):
    survey, product = frame
    made = solved(survey, product)
    x, y = grid()
    wcs = Image(np.zeros((2, 2)), header=made.data.meta["wcs"]).wcs
    assert {"A_3_0", "AP_3_0"} <= set(made.data.meta["wcs"])
    # by the inverse polynomials of the header, as other programs do it, and not by iteration
    cards = made.data.meta["wcs"]
    centre = np.array([[cards["CRPIX1"] - 1], [cards["CRPIX2"] - 1]])
    u, v = np.array(wcs.wcs_world2pix(*wcs.all_pix2world(x, y, 0), 0)) - centre
    back = np.stack([u, v]) + centre
    for axis, name in enumerate(("AP", "BP")):
        for key, value in cards.items():
            if key.startswith(f"{name}_") and key[3:].replace("_", "").isdigit():
                back[axis] += value * u ** int(key[3]) * v ** int(key[5])
    assert np.hypot(*(back - np.stack([x, y]))).max() < 0.01


@pytest.mark.parametrize(("kind", "most"), [("blank", 0), ("noise", 0), ("hot pixels", MOST)])
def test_a_frame_without_stars_says_so_after_little_was_tried(frame, kind, most, monkeypatch):
    survey, product = frame
    tried = counted(monkeypatch)
    image = product.data
    rng = np.random.default_rng(3)
    data = np.full_like(image.data, 1170.0)
    if kind != "blank":
        data += rng.normal(0, np.sqrt(image.variance)).astype(np.float32)
    if kind == "hot pixels":
        data.ravel()[rng.integers(0, data.size, 300)] += 20000.0
    made = solved(survey, replace(product, data=replace(image, data=data)))
    assert made.statistics["solved"] is False
    assert "no plate solution" in made.statistics["reason"]
    assert len(tried) <= most


def test_a_field_that_is_not_in_the_catalogue_is_given_up_after_a_bounded_search(frame, monkeypatch):
    survey, product = frame
    tried = counted(monkeypatch)
    made = solved(survey, product, aux_of(survey, seed=99))
    assert made.statistics["solved"] is False
    assert 0 < len(tried) <= MOST


def counted(monkeypatch):
    """Return a list that gets an entry for each candidate that is refined; none of them is right."""
    tried = []
    monkeypatch.setattr(
        "virtualobserver.maths.astrometry.plate.refine_plate", lambda *a, **k: tried.append(a)
    )
    return tried


@pytest.mark.parametrize(
    ("refine", "solved", "kept"), [("auto", 1, True), (True, 1, False), (False, 0, True)]
)
def test_world_coordinates_of_headers_are_kept_or_not_where_frames_cannot_be_solved(refine, solved, kept):
    survey = VirtualLSSS(
        refcat="gaia@dr3", simulation={**FRAME, "world": True, "size": (200, 240)}, solve={"refine": refine}
    )
    product = first_frame(survey)
    handles = [as_handle(product)]
    made = survey.refine("solve", handles, aux_of(survey, seed=99), survey.settings)
    assert [one.statistics["solved"] for one in made] == [False] * solved
    handles += [as_handle(one) for one in made]
    sources, *_ = survey.refine("photometry", handles, aux_of(survey), survey.settings)
    assert ("ra" in sources.data) == kept


def test_a_frame_whose_stars_make_no_known_pattern_is_fitted_anew_from_its_header():
    survey = VirtualLSSS(
        refcat="gaia@dr3",
        simulation={**FRAME, "world": True, "distortion": 1.0},
        solve={"pixel_scale": 5.2},  # beyond what is tried
    )
    product = first_frame(survey)
    header = dict(product.data.header)
    header["CRPIX1"] += 2.0  # what the header says is off by two pixels
    made = solved(survey, replace(product, data=replace(product.data, header=header)))
    assert made.statistics["solved"], made.statistics["reason"]
    assert made.statistics["hint"] == "world coordinates of the header"
    x, y = grid()
    true = camera_of(survey.settings.simulation, FIELD).to_sky(x, y)
    found = Image(np.zeros((2, 2)), header=made.data.meta["wcs"]).wcs
    assert np.median(separation(*found.all_pix2world(x, y, 0), *true)) * ARCSEC_PER_DEGREE < 0.03
    del header["CTYPE1"], header["CTYPE2"]
    bare = replace(product, data=replace(product.data, header=header))
    assert solved(survey, bare).statistics["solved"] is False


def test_a_blank_frame_goes_through_the_whole_recipe_and_says_what_is_not_known_of_it():
    survey = VirtualLSSS(
        refcat="gaia@dr3",
        simulation={**FRAME, "size": (200, 240), "stars": 0, "cosmics": 0.0, "satellites": 0.0},
    )
    product = first_frame(survey)
    assert product.data.header["NOSTARS"] is True
    made = solved(survey, product, aux_of(VirtualLSSS(simulation=FRAME)))
    assert made.statistics["solved"] is False
    assert "sources on the frame, at least 8 are needed" in made.statistics["reason"]
    light = survey.refine(
        "photometry", [as_handle(product), as_handle(made)], aux_of(survey), survey.settings
    )
    tables = {one.role: one.data for one in light}
    assert "no world coordinates" in tables["sources"].meta["uncalibrated"]
    assert np.isnan(tables["sources"]["mag"]).all()
    assert tables["zeropoint"].meta["reason"]
