"""World coordinates, stars of a catalogue and zero points of calibrated frames, with known truth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from support.ccd import stars_image

from virtualobserver.catalog.refcat import open_refcat
from virtualobserver.catalog.reference import MemoryReference, ReferenceStars
from virtualobserver.catalog.solver import CatalogueSolver
from virtualobserver.config.digest import digest
from virtualobserver.conventions import MASK_SATURATED
from virtualobserver.data import Image, Target, as_handle
from virtualobserver.data.cards import cards_by_unit, with_cards
from virtualobserver.data.handles import MemoryHandle
from virtualobserver.errors import CatalogError
from virtualobserver.maths.astrometry.tan_sip import TanSip, deproject, replace_world
from virtualobserver.maths.images.apertures import measure_apertures
from virtualobserver.observatories.astep import VirtualASTEP
from virtualobserver.observatory import Aux

SHAPE = (400, 500)
FIELD = Target("field", ra=150.2, dec=-64.9, kind="field")
SCALE, FWHM, SKY, EXPTIME = 0.93, 3.2, 400.0, 90.0
ZERO_POINT, COLOUR_TERM = 22.3, 0.15


def truth():
    """Return world coordinates, turned by 20 degrees."""
    turn, pixel = np.radians(20.0), SCALE / 3600
    cd = pixel * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    none = np.zeros((0, 0))
    middle = ((SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2)
    return TanSip((150.25, -64.93), middle, cd, none, none, none, none)


def night_sky(n=150, seed=1):
    """Return stars in and around the frame: positions, Gaia-like magnitudes and colours."""
    rng = np.random.default_rng(seed)
    reach = 0.12
    ra, dec = deproject(*rng.uniform(-reach, reach, (2, 4 * n)), *truth().crval)
    mag = 12.5 + 5.0 * rng.random(4 * n) ** 0.6
    columns = {
        "source_id": 10**17 + np.arange(4 * n), "ra": ra, "dec": dec, "mag": mag,
        "bp_rp": rng.normal(1.0, 0.5, 4 * n),
    }  # fmt: skip
    return ReferenceStars.build(columns, epoch=2016.0)


def frame(stars, *, seed=2, **cards):
    """Return a calibrated frame of these stars without world coordinates in its header."""
    rng = np.random.default_rng(seed)
    x, y = truth().to_pixel(stars.ra, stars.dec)
    on = (x > 0) & (x < SHAPE[1] - 1) & (y > 0) & (y < SHAPE[0] - 1)
    mag = stars.mag - COLOUR_TERM * (stars.bp_rp - 1.0)
    flux = EXPTIME * 10 ** (-0.4 * (mag - ZERO_POINT))
    light = SKY + stars_image(SHAPE, x[on], y[on], flux[on], FWHM)
    header = {
        "MJD-MID": 57388.5,
        "EXPTIME": EXPTIME,
        "FWHM": FWHM,
        "SKY": SKY,
        "NIGHT": "2016-01-01",
        **cards,
    }
    data = (rng.poisson(light) + rng.normal(0, 5.0, SHAPE)).astype(np.float32)
    return Image(data, (light + 25).astype(np.float32), np.zeros(SHAPE, np.uint16), header, unit="electron")


def survey(**options):
    solve = {"pixel_scale": SCALE * 1.15, "radius": 0.2, **options.pop("solve", {})}
    return VirtualASTEP(refcat="gaia@dr3", solve=solve, **options)


def aux(stars, target=FIELD):
    reference = MemoryReference(stars)
    return Aux(target, services={"refcat": reference, "solver": CatalogueSolver(reference, wider=False)})


def calibrated(image):
    return as_handle(image, role="calibrated")


def refined(image, stars, plugin=None, target=FIELD):
    """Return what both parts make of a frame, by role."""
    plugin = plugin or survey()
    (solved,) = plugin.refine("solve", [calibrated(image)], aux(stars, target), plugin.settings)
    handles = [calibrated(image), as_handle(solved)]
    made = plugin.refine("photometry", handles, aux(stars, target), plugin.settings)
    return {"wcs": solved} | {product.role: product for product in made}


def away(cards):
    """Return the largest distance (pixels) over the frame between world coordinates and the truth."""
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(0, 499, 12), np.linspace(0, 399, 12)))
    px, py = Image(np.zeros((2, 2)), header=cards).wcs.all_world2pix(*truth().to_sky(x, y), 0)
    return np.hypot(px - x, py - y).max()


def test_a_frame_is_solved_from_the_target_with_a_scale_wrong_by_15_percent():
    stars = night_sky()
    made = refined(frame(stars), stars)["wcs"]
    assert away(made.data.meta["wcs"]) < 0.2
    assert made.statistics["solved"]
    assert made.statistics["hint"] == "target"
    assert made.statistics["wcs_scale_arcsec"] == pytest.approx(SCALE, rel=1e-3)
    table = made.data
    assert len(table) == made.statistics["wcs_n"] > 30
    assert np.hypot(table["residual_x"], table["residual_y"]).max() < 1
    row = stars.source_id.tolist().index(table["source_id"][0])
    assert stars.ra[row] == table["ra"][0]


@pytest.mark.parametrize(
    ("cards", "named"),
    [
        ({"OBJCTRA": "10 00 48", "OBJCTDEC": "-64 54 00"}, "header"),
        ({"RA": 150.2, "DEC": -64.9}, "header"),
        ({"RA": "10:00:48", "DEC": "-64:54:00.0"}, "header"),
        ({"RA": 3.0, "DEC": 40.0}, "target"),  # nonsense is tried, then the target
        ({"RA": "unknown", "DEC": True}, "target"),
    ],
)
def test_the_pointing_comes_from_the_header_or_else_the_target(cards, named):
    stars = night_sky()
    target = FIELD if named == "target" else Target("nowhere", kind="field")
    made = refined(frame(stars, **cards), stars, target=target)["wcs"]
    assert made.statistics["hint"] == named
    assert away(made.data.meta["wcs"]) < 0.2


def test_the_size_of_a_pixel_comes_from_optics_where_it_is_not_set():
    stars = night_sky()
    plugin = survey(solve={"pixel_scale": None})
    made = refined(frame(stars, XPIXSZ=9.0, FOCALLEN=2000.0), stars, plugin)["wcs"]
    assert made.statistics["solved"]
    made = refined(frame(stars, XPIXSZ=9.0, FOCALLEN=0.0), stars, plugin)["wcs"]
    assert not made.statistics["solved"]
    assert "solve.pixel_scale" in made.statistics["reason"]


def test_a_frame_that_cannot_be_solved_says_why_and_keeps_its_own_coordinates():
    stars = night_sky()
    image = frame(stars)
    elsewhere = night_sky(seed=9)
    made = refined(image, elsewhere)
    assert made["wcs"].statistics["solved"] is False
    assert "no plate solution" in made["wcs"].statistics["reason"]
    assert len(made["wcs"].data) == 0
    assert len(made["sources"].data) > 50
    assert "forced" not in made
    assert made["zeropoint"].statistics["reason"] == "no zero point: the frame has no world coordinates"
    nowhere = refined(image, stars, target=Target("nowhere", kind="field"))["wcs"]
    assert "nothing tells where the frame points" in nowhere.statistics["reason"]
    own = replace(image, header={**image.header, **truth().header()})
    found = cards_by_unit([as_handle(made["wcs"]), as_handle(made["zeropoint"])])
    assert found == {}
    assert with_cards(own.header, found.get("")) == own.header


def test_without_a_catalogue_nothing_is_solved_and_sources_are_measured():
    stars = night_sky()
    plugin = VirtualASTEP()
    assert plugin.settings.refcat is None
    bare = Aux(FIELD)
    assert plugin.refine("solve", [calibrated(frame(stars))], bare, plugin.settings) == []
    ((cause, number),) = bare.notes.items()
    assert "refcat is not set" in cause
    assert number == 1
    (only,) = plugin.refine("photometry", [calibrated(frame(stars))], bare, plugin.settings)
    assert only.role == "sources"
    assert "ra" not in only.data


def test_a_catalogue_that_cannot_be_asked_is_an_error():
    class Broken:
        def solve(self, *_, **__):
            raise CatalogError("there is no reference catalogue")

    plugin = survey()
    with pytest.raises(CatalogError):
        plugin.refine(
            "solve",
            [calibrated(frame(night_sky()))],
            Aux(FIELD, services={"solver": Broken()}),
            plugin.settings,
        )


def test_the_live_archive_is_asked_once_for_a_night_and_its_answers_are_kept(tmp_path):
    stars, asked = night_sky(), []
    table = pd.DataFrame(
        {"source_id": stars.source_id, "ra": stars.ra, "dec": stars.dec, "pmra": 0.0, "pmdec": 0.0,
         "phot_g_mean_mag": stars.mag, "bp_rp": stars.bp_rp}
    )  # fmt: skip

    def query(adql):
        asked.append(adql)
        return pd.DataFrame({"n": [len(table)]}) if "COUNT" in adql else table

    plugin = survey()
    for number in range(3):
        catalogue = open_refcat("gaia@dr3", tmp_path, query=query)  # as another process opens it
        served = Aux(FIELD, services={"refcat": catalogue, "solver": CatalogueSolver(catalogue, wider=False)})
        image = frame(stars, seed=number, **{"MJD-MID": 57488.5 + number})
        (solved,) = plugin.refine("solve", [calibrated(image)], served, plugin.settings)
        assert solved.statistics["solved"]
        handles = [calibrated(image), as_handle(solved)]
        made = {one.role: one for one in plugin.refine("photometry", handles, served, plugin.settings)}
        assert made["zeropoint"].statistics["reason"] == ""
        assert len(asked) == 4  # counted and fetched, once to solve and once to measure
    assert all("gaiadr3.gaia_source" in adql for adql in asked)


def test_zero_point_colour_term_and_depth_are_those_put_in():
    stars = night_sky()
    made = refined(frame(stars), stars)
    numbers, cards = made["zeropoint"].statistics, made["zeropoint"].data.meta["cards"]
    # an aperture of 8 px holds all the light of a Gaussian of 3.2 px
    expected = ZERO_POINT + COLOUR_TERM * (numbers["colour_pivot"] - 1.0)
    assert numbers["zero_point"] == pytest.approx(expected, abs=0.01)
    assert numbers["colour_term"] == pytest.approx(COLOUR_TERM, abs=0.03)
    assert numbers["zero_point_n"] > 30
    assert numbers["seeing"] == pytest.approx(FWHM * SCALE, rel=1e-3)
    assert cards["MAGZP"] == pytest.approx(numbers["zero_point"] + 2.5 * np.log10(EXPTIME))
    assert cards["NMATCH"] == numbers["zero_point_n"]
    assert {"MAGZPERR", "MAGZPRMS", "COLTERM", "MAGLIM", "SKYMAG", "REFCAT"} <= set(cards)
    # a star of the limiting magnitude has 5 sigma in its own profile
    sigma = FWHM / 2.3548
    flux = EXPTIME * 10 ** (-0.4 * (numbers["limiting_magnitude"] - numbers["zero_point"]))
    assert flux / np.sqrt(4 * np.pi * sigma**2 * (SKY + 25)) == pytest.approx(5, rel=0.03)
    rate = EXPTIME * SCALE**2 * 10 ** (-0.4 * (numbers["sky_brightness"] - numbers["zero_point"]))
    assert rate == pytest.approx(SKY, rel=0.01)


def test_too_few_stars_make_no_zero_point_and_a_reason():
    stars = night_sky()
    made = refined(frame(stars), stars, survey(photometry={"brightest": 3.0, "faintest": 4.0}))
    assert "0 usable stars" in made["zeropoint"].statistics["reason"]
    assert made["zeropoint"].data.meta["cards"] == {}
    assert made["zeropoint"].statistics["sky"] == SKY


def test_saturated_and_crowded_stars_are_not_in_the_zero_point():
    stars = night_sky()
    image = frame(stars)
    good = refined(image, stars)["zeropoint"].statistics["zero_point_n"]
    mask = image.mask.copy()
    mask[:, : SHAPE[1] // 2] = MASK_SATURATED
    half = refined(replace(image, mask=mask), stars)["zeropoint"].statistics["zero_point_n"]
    assert 0.3 * good < half < 0.7 * good
    table = refined(image, stars)["forced"].data
    place = np.stack([table["x"], table["y"]], axis=1)
    gap = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(place))
    fainter = table["mag"][None] > table["mag"][:, None] + 3
    near = (gap < 8 + 1.5 * FWHM) & ~fainter
    np.testing.assert_array_equal(table["crowded"], near.any(axis=1))
    assert table["crowded"].any()


def test_catalogue_stars_are_measured_where_they_are_found_or_not():
    stars = night_sky()
    faint = replace(stars, mag=np.where(np.arange(len(stars)) % 10 == 0, 25.0, stars.mag))
    made = refined(frame(faint), faint)
    table = made["forced"].data
    assert (np.diff(table["mag"]) >= 0).all()
    assert len(table) == made["forced"].statistics["n_stars"]
    hidden = (table["mag"] == 25.0) & ~table["crowded"]
    assert hidden.sum() > 5
    pull = table["flux_4"][hidden] / table["flux_error_4"][hidden]
    assert np.abs(np.median(pull)) < 1.5
    assert not table["detected"][hidden].any()
    clear = table["detected"] & ~table["crowded"] & (table["mag"] < 16)
    flux = EXPTIME * 10 ** (-0.4 * (table["mag"] - COLOUR_TERM * (table["colour"] - 1) - ZERO_POINT))
    np.testing.assert_allclose(table["flux_8"][clear], flux[clear], rtol=0.05)
    sources = made["sources"].data
    known = dict(zip(table["source_id"].tolist(), range(len(table)), strict=True))
    rows = [known[one] for one in sources["source_id"][sources["source_id"] >= 0].tolist()]
    lone = ~table["crowded"][rows] & (table["mag"][rows] < 17)
    mine = sources["mag"][sources["source_id"] >= 0]
    off = mine - table["mag"][rows] + COLOUR_TERM * (table["colour"][rows] - np.median(table["colour"][rows]))
    assert np.abs(np.median(off[lone])) < 0.02
    assert np.std(off[lone]) < 0.05
    assert (sources["source_id"] >= 0).sum() == table["detected"].sum() == sources["forced"].sum()


def test_targets_of_the_configuration_are_measured_in_every_frame_under_their_names():
    stars = night_sky()
    on = truth().to_pixel(stars.ra, stars.dec)
    inside = np.flatnonzero((on[0] > 50) & (on[0] < 450) & (on[1] > 50) & (on[1] < 350))
    star = int(inside[np.argmin(stars.mag[inside])])
    free = truth().to_sky(250.0, 200.0)
    targets = {
        "mine": (stars.ra[star], stars.dec[star]),
        "nova": tuple(map(float, free)),
        "off": (10.0, 10.0),
    }
    made = refined(frame(stars), stars, survey(photometry={"targets": targets, "stars": 20}))
    table = made["forced"].data
    assert sorted(table["name"][:2].tolist()) == ["mine", "nova"]
    assert "off" not in table["name"].tolist()
    row = table["name"].tolist().index("mine")
    assert table["source_id"][row] == stars.source_id[star]
    row = table["name"].tolist().index("nova")
    assert table["source_id"][row] == -1
    assert (table["x"][row], table["y"][row]) == pytest.approx((250, 200), abs=0.2)
    assert len(table) == 22


def test_the_target_worked_on_is_measured_where_it_is_at_the_epoch_if_it_is_a_star():
    stars = night_sky()
    free = tuple(map(float, truth().to_sky(250.0, 200.0)))
    moving = Target("fast", ra=free[0], dec=free[1] - 16 * 0.5 / 3600, epoch=2000.0, pmra=0.0, pmdec=500.0)
    table = refined(frame(stars), stars, target=moving)["forced"].data
    row = table["name"].tolist().index("fast")
    assert (table["x"][row], table["y"][row]) == pytest.approx((250, 200), abs=0.2)
    assert "field" not in refined(frame(stars), stars)["forced"].data["name"].tolist()


def test_the_zero_point_reaches_the_images_that_are_searched_for_movers():
    stars = night_sky()
    image = replace(frame(stars), header={**frame(stars).header, "PV1_1": 3.0, "CTYPE1": "XX", "CRVAL1": 1.0})
    made = refined(frame(stars), stars)
    handles = [
        MemoryHandle(made[role].data, replace(as_handle(made[role]).info, unit="n/1"))
        for role in ("zeropoint", "wcs")
    ]
    found = cards_by_unit(handles)
    assert set(found) == {"n/1"}
    seen = with_cards(image.header, found["n/1"])
    assert seen["MAGZP"] == made["zeropoint"].data.meta["cards"]["MAGZP"]
    assert seen["CTYPE1"].startswith("RA---TAN")
    assert "PV1_1" not in seen
    assert away(seen) < 0.2
    only = with_cards(image.header, cards_by_unit(handles[:1])["n/1"])
    assert only["CRVAL1"] == 1.0
    assert "MAGZP" in only


def test_a_zero_point_setting_redoes_photometry_and_the_catalogue_the_solution_but_never_the_calibration():
    def digests(**options):
        settings = VirtualASTEP(**options).settings
        steps = ("calibrate", "reduce.frames", "reduce.solve", "reduce.photometry")
        return [digest(step, "astep", "1", settings, []) for step in steps]

    before = digests(refcat="gaia@dr3")
    clipped = digests(refcat="gaia@dr3", photometry={"zero_snr": 50.0})
    assert [a == b for a, b in zip(before, clipped, strict=True)] == [True, True, True, False]
    newer = digests(refcat="gaia_dr3@2022")
    assert [a == b for a, b in zip(before, newer, strict=True)][:3] == [True, True, False]


def test_other_world_coordinates_leave_nothing_of_the_old_ones():
    old = {"A_ORDER": 2, "A_2_0": 1e-5, "AP_1_1": 1.0, "PV2_10": 3.0, "CD1_1": 1.0, "CROTA2": 4.0, "EQUINOX": 1950.0,
           "PCOUNT": 0, "BAND": "R", "A_X": 1}  # fmt: skip
    assert replace_world(old, {"CTYPE1": "RA---TAN"}) == {
        "PCOUNT": 0,
        "BAND": "R",
        "A_X": 1,
        "CTYPE1": "RA---TAN",
    }


def test_several_apertures_at_once_are_what_they_are_one_by_one():
    image = frame(night_sky())
    x, y = np.array([100.3, 250.0, 3.0]), np.array([50.0, 199.7, 390.0])
    many = measure_apertures(
        image.data, image.variance, x, y, radii=[3, 5.5], annulus=(9, 15), mask=image.mask
    )
    for radius, found in zip((3, 5.5), many, strict=True):
        (one,) = measure_apertures(
            image.data, image.variance, x, y, radii=[radius], annulus=(9, 15), mask=image.mask
        )
        for name in ("flux", "flux_error", "sky", "flags", "area"):
            np.testing.assert_array_equal(getattr(found, name), getattr(one, name))
