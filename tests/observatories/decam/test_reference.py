"""Reference catalogues: of the shipped simulation, of frames whose stars are known, and of real stamps."""

import csv

import numpy as np
import pytest
from astropy.io import fits
from scipy.spatial import cKDTree
from support.decam import image_of, shipped, stamp
from support.real import real_data

from virtualobserver.catalog.reference import MemoryReference, ReferenceStars
from virtualobserver.conventions import MASK_BAD
from virtualobserver.data.image import Image
from virtualobserver.errors import BadKeyword, NotEnoughData
from virtualobserver.observatories.decam.identity import NO_GAIA, PLACED, star_ids
from virtualobserver.observatories.decam.pointed import _pixels
from virtualobserver.observatories.decam.reference import (
    ReferenceSettings,
    build_reference,
    isolation,
)
from virtualobserver.observatories.decam.simulate import SimulationSettings, expose, field_of

BORESIGHT = (92.253, -70.7387)


@pytest.fixture(scope="module")
def scene():
    """Return a field of 800 stars in a million pixels, and its exposures in g and r."""
    sim = SimulationSettings(ccds=["N24"], density=800, size=(600, 600), mag=(15.0, 22.0), events=0)
    rng = np.random.default_rng(5)
    field = field_of("N24", BORESIGHT, sim, rng)
    made = {
        band: expose({"N24": field}, BORESIGHT, sim, rng, band=band, mjd=59560.0, expnum=number)
        for number, band in enumerate(("g", "r"))
    }
    return field, made


@pytest.fixture(scope="module")
def catalogues(scene):
    """Return the catalogue in g without help, and that in r with Gaia and the one in g."""
    field, made = scene
    green = build_reference(image_of(made["g"], made["g"].ccds[0]))
    red = build_reference(image_of(made["r"], made["r"].ccds[0]), companions=[green], gaia=field.gaia())
    return green, red


def pairs(table, x, y, *, radius=1.0):
    """Return which rows of a catalogue are the stars at x, y (-1 = none)."""
    away, row = cKDTree(np.stack([table["x"], table["y"]], axis=1)).query(np.stack([x, y], axis=1))
    return np.where(away < radius, row, -1)


def truth_of(exposure, faintest):
    """Return the whole stars of an exposure that are brighter, and their columns."""
    stars = {name: np.array(values) for name, values in exposure.ccds[0].truth["stars"].items()}
    ny, nx = exposure.settings.size
    fine = (stars["mag"] < faintest) & (stars["x"] > 8) & (stars["x"] < nx - 9)
    fine &= (stars["y"] > 8) & (stars["y"] < ny - 9)
    return {name: values[fine] for name, values in stars.items()}


@pytest.mark.parametrize("name", ["013253-r", "012923-g"])
def test_shipped_pointed_exposures_are_catalogued_completely(name):
    with (real_data("decam", "sim") / "truth_stars.csv").open(encoding="utf-8") as file:
        stars = list(csv.DictReader(file))
    x, y, mag = (np.array([float(one[key]) for one in stars]) for key in ("x_pointed", "y_pointed", "mag_VR"))
    table = build_reference(shipped(name))
    on = (x > 5) & (x < 694) & (y > 5) & (y < 694)
    row = pairs(table, x, y)
    assert np.mean(row[on & (mag < 21)] >= 0) > 0.97
    assert np.mean(row[on & (mag < 22)] >= 0) > 0.95
    seen = on & (row >= 0) & (mag < 20)
    assert np.std(table["x"][row[seen]] - x[seen]) < 0.1
    assert np.std(table["y"][row[seen]] - y[seen]) < 0.1
    # each star has a colour of its own there, so that bands are a magnitude apart, and 0.3 mag scattered
    away = table["mag"][row[seen]] - mag[seen]
    assert 0.1 < np.std(away) < 0.35
    far, _ = cKDTree(np.stack([x, y], axis=1)).query(np.stack([table["x"], table["y"]], axis=1))
    assert np.sum(far > 2) <= 4
    assert table.meta["zero_point_from"] == "header"
    assert table.meta["zero_point"] == pytest.approx(27.43 - 2.5 * np.log10(4), abs=1e-3)


def test_shipped_exposures_give_colours_of_nearly_all_stars():
    green = build_reference(shipped("012923-g"))
    red = build_reference(shipped("013253-r"), companions=[green])
    assert np.mean(np.isfinite(red["g_r"])) > 0.95
    assert np.nanmedian(red["g_r"]) == pytest.approx(0.6, abs=0.1)


def test_fluxes_are_true_within_their_errors(scene, catalogues):
    for band, table in zip(("g", "r"), catalogues, strict=True):
        stars = truth_of(scene[1][band], 21.5)
        row = pairs(table, stars["x"], stars["y"])
        assert np.mean(row >= 0) > 0.93
        clean = (row >= 0) & ~table["saturated"][row] & (table["isolation"][row] < 3)
        true = stars["flux"][clean] / 4.0
        found, error = table["flux"][row[clean]], table["flux_error"][row[clean]]
        ratio = found / true
        # wings of the profile that no grid of slopes hits exactly
        assert np.median(ratio) == pytest.approx(1.0, abs=0.02)
        pull = (found / np.median(ratio) - true) / error  # a scale that all have is the zero point's
        middle = np.median(pull)
        assert abs(middle) < 0.5
        assert 0.6 < 1.4826 * np.median(np.abs(pull - middle)) < 1.5
        aperture = table["aperture_flux"][row[clean]] / true
        bright = stars["mag"][clean] < 19
        assert np.median(aperture[bright]) == pytest.approx(1.0, abs=0.03)


def test_colours_are_true_within_their_errors(scene, catalogues):
    field, made = scene
    red = catalogues[1]
    stars = truth_of(made["r"], 20.5)
    row = pairs(red, stars["x"], stars["y"])
    good = (row >= 0) & np.isfinite(red["g_r"][row]) & (red["isolation"][row] < 0.5)
    assert good.sum() > 30
    away = red["g_r"][row[good]] - field.g_r[stars["id"][good]]
    # the zero point of g is the header's, that of r is Gaia's, whose transformation the field's colours do not follow
    assert np.median(away) == pytest.approx(0.0, abs=0.03)
    pull = (away - np.median(away)) / red["g_r_error"][row[good]]
    assert 0.6 < 1.4826 * np.median(np.abs(pull)) < 1.5


def test_zero_point_is_gaias_where_there_are_enough_stars_else_the_headers(scene, catalogues):
    field, made = scene
    red = catalogues[1]
    assert red.meta["zero_point_from"] == "gaia"
    assert red.meta["zero_point_n"] > 20
    frame = image_of(made["r"], made["r"].ccds[0])
    few = build_reference(frame, gaia=field.gaia(faintest=16.0))
    assert few.meta["zero_point_from"] == "header"
    header = {key: value for key, value in frame.header.items() if key not in {"MAGZPT", "MAGZERO"}}
    none = build_reference(Image(frame.data, frame.variance, frame.mask, header, "adu"))
    assert none.meta["zero_point_from"] == "none"
    assert np.isnan(none["mag"]).all()
    assert np.array_equal(none["flux"], few["flux"])


def test_electrons_and_counts_give_the_same_catalogue(scene):
    exposure = scene[1]["r"]
    frame = image_of(exposure, exposure.ccds[0])
    gain = np.mean([frame.header["GAINA"], frame.header["GAINB"]])
    electrons = Image(frame.data * gain, frame.variance * gain**2, frame.mask, frame.header, "electron")
    one, other = build_reference(frame), build_reference(electrons)
    assert len(one) == len(other)
    np.testing.assert_allclose(other["flux"], one["flux"], rtol=1e-3)
    assert np.array_equal(other["star_id"], one["star_id"])
    assert np.array_equal(other["saturated"], one["saturated"])


def test_gaia_stars_are_found_where_they_have_moved_to(scene):
    field, made = scene
    gaia = field.gaia()
    rows = np.flatnonzero(np.isfinite(gaia.mag))
    fast = ReferenceStars.build(
        {
            "source_id": gaia.source_id, "ra": gaia.ra, "mag": gaia.mag, "bp_rp": gaia.bp_rp,
            "dec": gaia.dec - 400e-3 * 5.944 / 3600, "pmra": np.zeros(len(rows)), "pmdec": np.full(len(rows), 400.0),
        },
        epoch=2016.0,
    )  # fmt: skip
    frame = image_of(made["r"], made["r"].ccds[0])
    table = build_reference(frame, gaia=MemoryReference(fast))
    # 2.4 arcsec in six years: not moved, no star would be within one
    assert np.sum(table["gaia"] != NO_GAIA) > 60
    assert table.meta["gaia_rms"] < 0.1
    assert (table["pmdec"][table["gaia"] != NO_GAIA] == 400.0).all()
    assert np.isnan(table["pmdec"][table["gaia"] == NO_GAIA]).all()


def test_star_numbers_are_gaias_or_of_the_place_and_stay(scene, catalogues):
    red = catalogues[1]
    there = red["gaia"] != NO_GAIA
    assert np.array_equal(red["star_id"][there], red["gaia"][there])
    assert (red["star_id"][~there] >= PLACED).all()
    assert len(set(red["star_id"].tolist())) == len(red)
    # in any order
    order = np.random.default_rng(1).permutation(len(red))
    again = star_ids(red["ra"][order], red["dec"][order], red["flux"][order], gaia=red["gaia"][order])
    assert np.array_equal(again, red["star_id"][order])
    # and in another exposure with other noise, when the earlier catalogue is given
    field, _ = scene
    sim = SimulationSettings(ccds=["N24"], density=800, size=(600, 600), mag=(15.0, 22.0))
    other = expose({"N24": field}, BORESIGHT, sim, np.random.default_rng(99), band="r", mjd=59600.0, expnum=7)
    frame = image_of(other, other.ccds[0])
    first, second = build_reference(frame), build_reference(frame, known=[red])
    row = pairs(red, second["x"], second["y"], radius=0.5)
    bright = (row >= 0) & (second["flux"] > 30 * second["flux_error"])
    assert bright.sum() > 60
    assert np.array_equal(second["star_id"][bright], red["star_id"][row[bright]])
    assert (first["star_id"] >= PLACED).all()
    assert len(set(second["star_id"].tolist())) == len(second)


def test_numbers_fit_into_63_bits_and_neighbours_in_a_cell_differ():
    ra, dec = np.array([10.0, 10.00001, 359.999999]), np.array([-5.0, -5.0, 89.99])
    ids = star_ids(ra, dec, np.array([1.0, 2.0, 3.0]))
    assert ids.dtype == np.int64
    assert (ids > 0).all()
    assert ids[0] == ids[1] + 1  # the brighter one comes first
    assert star_ids(ra[::-1], dec[::-1], np.array([3.0, 2.0, 1.0])).tolist() == ids[::-1].tolist()


def test_isolation_is_the_light_of_others_in_the_box_of_a_trail():
    x, y = np.array([100.0, 140.0, 100.0, 100.0, 155.0]), np.array([100.0, 100.0, 109.0, 111.0, 100.0])
    flux = np.array([100.0, 10.0, 20.0, 40.0, 80.0])
    found = isolation(x, y, flux, length=38.0, fwhm=4.0)
    # beside the first: (+40, 0) and (0, +9) are within 48 and 10; (0, +11) and (+55, 0) are not
    assert found[0] == pytest.approx(0.3)
    assert found[1] == pytest.approx((100 + 20 + 80) / 10)
    assert found[4] == pytest.approx(10 / 80)
    rng = np.random.default_rng(0)
    x, y, flux = rng.uniform(0, 400, 200), rng.uniform(0, 400, 200), rng.uniform(1, 9, 200)
    close = (np.abs(x[:, None] - x) < 48) & (np.abs(y[:, None] - y) < 10) & ~np.eye(200, dtype=bool)
    np.testing.assert_allclose(
        isolation(x, y, flux, length=38.0, fwhm=4.0), (close * flux).sum(axis=1) / flux
    )


def test_settings_of_the_published_cataloguer_choose_reference_stars(scene):
    exposure = scene[1]["r"]
    frame = image_of(exposure, exposure.ccds[0])
    usual = build_reference(frame)
    chosen = usual.take(usual["is_reference"])
    assert 0 < len(chosen) <= 20
    assert not (chosen["saturated"] | chosen["galaxy"]).any()
    assert (chosen["x"] >= 30).all()
    assert (chosen["x"] <= 569).all()
    assert chosen["flux"].min() >= np.median(usual["flux"])
    few = build_reference(frame, settings=ReferenceSettings(num_target=3))
    assert few["is_reference"].sum() == 3
    assert set(few["star_id"][few["is_reference"]].tolist()) <= set(chosen["star_id"].tolist())
    wide = build_reference(
        frame,
        settings=ReferenceSettings(
            num_target=10_000, edge_crit=0.0, flux_perc=0.0, morph_perc=1.0, iso_perc=1.0
        ),
    )
    assert wide["is_reference"].sum() > 100  # there are not 10 000: all that are clean, and no error


def test_cosmic_rays_are_no_stars_and_galaxies_are_told():
    sim = SimulationSettings(ccds=["S4"], density=300, size=(400, 400), mag=(16.0, 20.0), cosmic_rays=60)
    rng = np.random.default_rng(2)
    field = field_of("S4", BORESIGHT, sim, rng)
    exposure = expose({"S4": field}, BORESIGHT, sim, rng, band="r", mjd=59560.0, expnum=3)
    (ccd,) = exposure.ccds
    frame = image_of(exposure, ccd)
    y, x = np.mgrid[0:400, 0:400]
    galaxy = 3e5 / 4 * np.exp(-0.5 * ((x - 200.3) ** 2 + (y - 210.7) ** 2) / 3.5**2) / (2 * np.pi * 3.5**2)
    noisy = frame.data + np.random.default_rng(3).poisson(galaxy * 4) / 4
    blended = Image(noisy, frame.variance + galaxy / 4, frame.mask, frame.header, "adu")
    table = build_reference(blended, settings=ReferenceSettings(perform_cosmicray_removal=True))
    (row,) = pairs(table, np.array([200.3]), np.array([210.7]))
    assert table["galaxy"][row]
    assert not table["is_reference"][row]
    stars = ccd.truth["stars"]
    known = cKDTree(np.stack([stars["x"], stars["y"]], axis=1))
    away, _ = known.query(np.stack([table["x"], table["y"]], axis=1))
    inside = (table["x"] > 3) & (table["x"] < 396) & (table["y"] > 3) & (table["y"] < 396)
    strange = (away > 2) & inside & (np.hypot(table["x"] - 200.3, table["y"] - 210.7) > 15)
    assert len([ray for ray in ccd.truth["cosmic_rays"] if not ray["told"]]) > 3
    assert strange.sum() <= 2
    star = (away < 0.5) & inside & (table["isolation"] < 0.1)
    assert table["galaxy"][star].mean() < 0.05


def test_saturated_stars_are_there_and_told():
    sim = SimulationSettings(ccds=["S4"], density=150, size=(400, 400), mag=(13.0, 20.0), cosmic_rays=0)
    rng = np.random.default_rng(11)
    field = field_of("S4", BORESIGHT, sim, rng)
    field.r[0], field.ra[0], field.dec[0] = 13.0, *_place(sim, 200, 150)
    exposure = expose({"S4": field}, BORESIGHT, sim, rng, band="r", mjd=59560.0, expnum=3)
    table = build_reference(image_of(exposure, exposure.ccds[0]))
    (row,) = pairs(table, np.array([200.0]), np.array([150.0]), radius=2.0)
    assert row >= 0
    assert table["saturated"][row]
    assert not table["is_reference"][row]
    far = np.abs(table["x"] - 200) > 30  # it bleeds along its column
    assert not table["saturated"][far & (table["flux"] < 5000)].any()


def _place(sim, x, y):
    from virtualobserver.data.world import world_of
    from virtualobserver.observatories.decam.simulate.sky import plate_cards

    return world_of(plate_cards("S4", sim.size, BORESIGHT, distorted=True)).pixel_to_world_values(x, y)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("testcase4", "c4d_170316_062107_ooi_z_ls9.N2"),
        ("testcase9", "c4d_131122_030338_ooi_z_ls9.S21"),
        ("testcase9", "c4d_141029_043225_ooi_g_ls9.N26"),
        ("testcase9", "c4d_141029_043420_ooi_r_ls9.N26"),
    ],
)
def test_real_stars_are_where_gaia_has_them(folder, name):
    chunks = [
        fits.getdata(path, 1)
        for path in sorted(real_data("decam", "legacypipe", folder).glob("chunk-*.fits"))
    ]
    names = ("source_id", "ra", "dec", "pmra", "pmdec", "phot_g_mean_mag")
    columns = {
        one: np.concatenate(
            [np.asarray(chunk[one], np.int64 if one == "source_id" else float) for chunk in chunks]
        )
        for one in names
    }
    table = build_reference(stamp(folder, name), gaia=ReferenceStars.build(columns, epoch=2015.5))
    assert np.sum(table["gaia"] != NO_GAIA) >= 1
    assert table.meta["gaia_rms"] / 0.2637 < 0.15


def test_what_is_missing_is_told():
    frame = shipped("013253-r")

    def without(*names, **more):
        header = {key: value for key, value in frame.header.items() if key not in names}
        return Image(frame.data, frame.variance, frame.mask, header | more, "adu")

    for names in (("EXPTIME",), ("MJD-OBS",), ("CTYPE1", "CTYPE2")):
        with pytest.raises(BadKeyword, match="N28"):
            build_reference(without(*names))
    fallback = build_reference(without("FWHM", "SATURATA", "SATURATB", "AVSKY"))
    assert len(fallback) > 250
    empty = Image(np.full((100, 100), np.nan), None, None, frame.header, "adu")
    with pytest.raises(NotEnoughData, match="no good pixel"):
        build_reference(empty)
    blank = np.random.default_rng(0).normal(100, 5, (200, 200))
    with pytest.raises(NotEnoughData, match="no star"):
        build_reference(
            Image(blank, np.full((200, 200), 25.0), None, frame.header, "adu"),
            settings=ReferenceSettings(threshold=8),
        )
    header = without("GAINA", "GAINB").header
    with pytest.raises(BadKeyword, match="GAINA"):
        build_reference(Image(frame.data, frame.variance, frame.mask, header, "electron"))


def test_stars_cut_by_the_edge_have_no_magnitude_and_are_no_references():
    sim = SimulationSettings(ccds=["N24"], density=1500, size=(200, 200), mag=(14.5, 19.0), cosmic_rays=0)
    rng = np.random.default_rng(2)
    field = {"N24": field_of("N24", BORESIGHT, sim, rng)}
    exposure = expose(field, BORESIGHT, sim, rng, band="r", mjd=59560.0, expnum=1)
    whole = image_of(exposure, exposure.ccds[0])
    stars = build_reference(whole)
    bright = np.flatnonzero(~stars["saturated"] & ~stars["galaxy"] & (stars["isolation"] < 1.0))[:10]
    middle = bright[np.hypot(stars["x"][bright] - 100, stars["y"][bright] - 100).argmin()]
    found = {}
    for beyond in (-1, 0, 1, 7):  # pixels of the frame beyond that of the star's middle
        column = round(float(stars["x"][middle])) + beyond + 1
        planes = (plane[:, :column] for plane in (whole.data, whole.variance, whole.mask))
        part = build_reference(Image(*planes, whole.header, whole.unit))
        away = np.hypot(part["x"] - stars["x"][middle], part["y"] - stars["y"][middle])
        found[beyond] = part.take(np.flatnonzero(away < 4))
    for beyond in (-1, 0, 1):
        assert np.isnan(found[beyond]["mag"]).all()
        assert found[beyond]["cut"].all()
        assert not found[beyond]["is_reference"].any()
    assert sum(len(found[beyond]) for beyond in (-1, 0, 1)) >= 2
    assert not found[7]["cut"].any()
    assert found[7]["mag"].min() == pytest.approx(stars["mag"][middle], abs=0.05)
    # a border that the mask has is an edge, a dead column through a star is none
    x = round(float(stars["x"][middle]))
    for first, last, expected in ((x + 2, 200, True), (x + 8, 200, False), (x + 1, x + 2, False)):
        mask = whole.mask.copy()
        mask[:, first:last] |= MASK_BAD
        part = build_reference(Image(whole.data, whole.variance, mask, whole.header, whole.unit))
        near = np.hypot(part["x"] - stars["x"][middle], part["y"] - stars["y"][middle]) < 2
        assert near.sum() == 1
        assert part["cut"][near][0] == expected


def test_a_place_beyond_the_edge_is_in_the_pixel_next_to_it():
    rows, columns = _pixels(np.array([-0.7, 2.4, 9.6]), np.array([4.6, 1.5, -3.0]), (5, 10))
    assert rows.tolist() == [4, 2, 0]
    assert columns.tolist() == [0, 2, 9]
