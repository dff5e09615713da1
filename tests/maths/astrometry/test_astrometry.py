"""Plate solutions: simulated fields of every orientation, and a real night."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from support.oscaar import lights, median_dark
from support.real import real_data
from support.sky import SCALE, SHAPE, camera, simulate

from virtualobserver.catalog.reference import MemoryReference, ReferenceStars
from virtualobserver.catalog.solver import CatalogueSolver
from virtualobserver.errors import DataError, NoMatch, NotEnoughData
from virtualobserver.maths.astrometry.plate import PlateHint, solve_plate
from virtualobserver.maths.astrometry.tan_sip import deproject, fit_tan_sip, project
from virtualobserver.maths.images.alignment import match_stars
from virtualobserver.maths.images.sources import find_sources
from virtualobserver.maths.images.zeropoint import fit_zero_point

WELL_PLACED = 12.0
"""Standard deviations of a filtered pixel; places of fainter sources are no measure of a fit."""


def astropy_wcs(header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WCS(fits.Header(header))


def solve(field, **options):
    return solve_plate(field.sources, field.stars, hint=field.hint, shape=SHAPE, **options)


def test_projection_is_astropys_and_comes_back():
    rng = np.random.default_rng(1)
    for ra0, dec0 in ((10.0, 20.0), (359.99, -75.0), (120.0, 90.0), (0.0, -90.0)):
        xi, eta = rng.uniform(-2, 2, (2, 50))
        ra, dec = deproject(xi, eta, ra0, dec0)
        wcs = astropy_wcs(
            {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra0, "CRVAL2": dec0, "CRPIX1": 1.0,
             "CRPIX2": 1.0, "LONPOLE": 180.0, "CDELT1": 1.0, "CDELT2": 1.0, "CUNIT1": "deg", "CUNIT2": "deg"}
        )  # fmt: skip
        want = wcs.all_pix2world(xi, eta, 0)
        turn = np.abs((ra - want[0] + 180) % 360 - 180)
        assert (turn * np.cos(np.radians(dec))).max() < 1e-10
        np.testing.assert_allclose(dec, want[1], atol=1e-10)
        np.testing.assert_allclose(project(ra, dec, ra0, dec0), (xi, eta), atol=1e-9)
    assert np.isnan(project(180.0, 0.0, 0.0, 0.0)).all()


@pytest.mark.parametrize("dec", [None, 89.95, -90.0])
def test_fit_gives_the_distortion_back_and_its_header_says_the_same_to_astropy(dec):
    rng = np.random.default_rng(2)
    truth = camera(rng, dec=dec)
    x, y = rng.uniform(0, SHAPE[1], 400), rng.uniform(0, SHAPE[0], 400)
    ra, dec = truth.to_sky(x, y)
    plate = fit_tan_sip(x, y, ra, dec, shape=SHAPE, order=3)
    px, py = plate.to_pixel(ra, dec)
    # The pole moves to where the middle of the frame is, so a cubic is the same to this accuracy only.
    assert np.hypot(px - x, py - y).max() < 1e-3
    wcs = astropy_wcs(plate.header())
    theirs = wcs.all_pix2world(x, y, 0)
    ours = plate.to_sky(x, y)
    turn = np.abs((theirs[0] - ours[0] + 180) % 360 - 180)
    assert (turn * np.cos(np.radians(ours[1]))).max() * 3600 < 1e-6
    np.testing.assert_allclose(theirs[1], ours[1], atol=1e-9)
    # the inverse polynomials of the header (what sky-to-pixel of other programs uses)
    focal = wcs.wcs.s2p(np.stack(ours, axis=1), 1)["imgcrd"] @ np.linalg.inv(plate.cd).T
    back = wcs.sip_foc2pix(focal, 1) - 1
    assert np.hypot(back[:, 0] - x, back[:, 1] - y).max() < 0.01


def test_fields_of_any_rotation_parity_and_scale_are_solved_to_a_tenth_of_a_pixel():
    for seed in range(12):
        field = simulate(seed)
        found = solve(field)
        away = field.away(found.plate)
        assert np.sqrt(np.mean(away**2)) < 0.1
        assert np.median(away) < 0.05
        assert found.plate.parity == field.truth.parity
        assert found.rms_x < 0.08
        assert found.log_chance < -23


def test_pairs_are_of_the_given_lists_and_false_sources_are_not_among_them():
    field = simulate(40)
    found = solve(field)
    x, y = field.truth.to_pixel(field.stars[0][found.stars], field.stars[1][found.stars])
    away = np.hypot(x - field.sources[0][found.sources], y - field.sources[1][found.sources])
    assert (away < 1).mean() > 0.99
    assert len(set(found.stars)) == len(found.stars) == found.n
    assert 0.5 < found.completeness <= 1


@pytest.mark.parametrize("dec", [89.9, -89.7, 0.0])
def test_fields_at_the_poles_and_over_the_zero_meridian_are_solved(dec):
    rng_field = simulate(5, dec=dec)
    found = solve(rng_field)
    assert np.sqrt(np.mean(rng_field.away(found.plate) ** 2)) < 0.1


def test_poor_fields_without_distortion_are_solved_with_a_linear_plate():
    for seed in range(6):
        field = simulate(seed, n=24, strong=0.0)
        found = solve(field)
        assert found.plate.order == 1
        assert np.median(field.away(found.plate)) < 0.1


def test_a_wide_pointing_error_is_bridged():
    field = simulate(3, radius=2.0)
    assert np.sqrt(np.mean(field.away(solve(field).plate) ** 2)) < 0.1


def test_another_part_of_the_sky_is_never_a_solution():
    for seed in range(6):
        field, other = simulate(seed), simulate(seed + 100)
        ra, dec = other.stars[:2]
        xi, eta = project(ra, dec, *other.truth.crval)
        elsewhere = deproject(xi, eta, *field.truth.crval)
        with pytest.raises(NoMatch, match="no plate solution for"):
            solve_plate(field.sources, (*elsewhere, other.stars[2]), hint=field.hint, shape=SHAPE)


def test_proper_motion_is_applied_to_the_epoch_first():
    field = simulate(8, noise=0.01)
    ra, dec, mag = field.stars
    rng = np.random.default_rng(8)
    pmra, pmdec = rng.normal(0, 400, (2, len(ra)))  # 0.4 arcsec/yr for 20 years: 3 pixels
    now = ReferenceStars.build(
        {"source_id": np.arange(len(ra)), "ra": ra, "dec": dec, "pmra": pmra, "pmdec": pmdec, "mag": mag},
        epoch=2036.0,
    )
    past = now.at_epoch(2016.0)
    moved = solve_plate(
        field.sources,
        (past.ra, past.dec, mag),
        hint=field.hint,
        shape=SHAPE,
        motion=(pmra, pmdec),
        years=20.0,
    )
    assert moved.rms_x < 0.03
    solver = CatalogueSolver(MemoryReference(past))
    through = solver.solve(field.sources, hint=field.hint, shape=SHAPE, epoch=2036.0)
    assert through.solution.rms_x == pytest.approx(moved.rms_x, abs=0.01)
    x, _ = through.solution.plate.to_pixel(through.stars.ra, through.stars.dec)
    pairs = through.solution
    assert np.abs(x[pairs.stars] - field.sources[0][pairs.sources]).max() < 0.2
    with pytest.raises(NoMatch):
        solve_plate(field.sources, (past.ra, past.dec, mag), hint=field.hint, shape=SHAPE)


def test_solver_widens_the_scale_when_the_hint_is_wrong_by_a_third():
    field = simulate(9, scale=SCALE * 1.35, off=0.01)
    stars = ReferenceStars.build(
        dict(zip(("ra", "dec", "mag"), field.stars, strict=True))
        | {"source_id": np.arange(len(field.stars[0]))},
        epoch=2016.0,
    )
    with pytest.raises(NoMatch):
        CatalogueSolver(MemoryReference(stars), wider=False).solve(
            field.sources, hint=field.hint, shape=SHAPE, epoch=2016.0
        )
    found = CatalogueSolver(MemoryReference(stars)).solve(
        field.sources, hint=field.hint, shape=SHAPE, epoch=2016.0
    )
    assert np.sqrt(np.mean(field.away(found.solution.plate) ** 2)) < 0.15


def test_failures_say_why():
    field = simulate(10)
    few = tuple(column[:5] for column in field.sources)
    with pytest.raises(NotEnoughData, match="5 sources on the frame, at least 8"):
        solve_plate(few, field.stars, hint=field.hint, shape=SHAPE)
    away = PlateHint((field.hint.ra + 180) % 360, -field.hint.dec, SCALE)
    with pytest.raises(NotEnoughData, match="0 stars of the catalogue"):
        solve_plate(field.sources, field.stars, hint=away, shape=SHAPE)
    with pytest.raises(DataError, match="order"):
        solve(field, order=9)
    with pytest.raises(DataError, match="hint"):
        PlateHint(1.0, 91.0, SCALE)
    with pytest.raises(DataError, match="lengths"):
        solve_plate((*field.sources[:2], [1.0]), field.stars, hint=field.hint, shape=SHAPE)
    noisy = simulate(10, noise=1.0)
    with pytest.raises(NoMatch, match="scatter by"):
        solve(noisy, highest_rms=0.3)


def test_order_of_the_input_and_what_is_no_number_do_not_matter():
    field = simulate(11)
    first = solve(field)
    rng = np.random.default_rng(0)
    ours, theirs = rng.permutation(len(field.sources[0])), rng.permutation(len(field.stars[0]))
    sources = tuple(np.r_[column[ours], np.nan] for column in field.sources)
    stars = tuple(np.r_[column[theirs], np.nan] for column in field.stars)
    again = solve_plate(sources, stars, hint=field.hint, shape=SHAPE)
    assert again.n == first.n
    assert set(ours[again.sources]) == set(first.sources)
    np.testing.assert_allclose(again.plate.cd, first.plate.cd, rtol=1e-9)


@pytest.mark.real
def test_frames_of_a_real_night_are_solved_blind_within_2_arcsec_with_stars_derived_from_its_first_frame():
    folder = real_data("ccd", "oscaar_tres1_20120616", "wcs")
    planes, *_ = lights()
    dark = median_dark()
    hot = dark > np.median(dark) + 5 * 1.4826 * np.median(np.abs(dark - np.median(dark)))
    given = [astropy_wcs(fits.getheader(path)) for path in sorted(folder.glob("*.wcs"))]
    lists = [find_sources(plane - dark, mask=2 * hot.astype(int), threshold=WELL_PLACED) for plane in planes]
    first = lists[0]
    ra, dec = given[0].all_pix2world(first.x, first.y, 0)
    stars = (ra, dec, -2.5 * np.log10(first.flux))
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(0, 1091, 12), np.linspace(0, 735, 12)))
    rng = np.random.default_rng(1)
    for number in range(1, 15):
        turn, mirror = rng.uniform(0, 2 * np.pi), number % 3 == 0
        mine = lists[number]
        # The frame is turned, and every third mirrored, so that neither is known.
        sign = -1.0 if mirror else 1.0
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag(
            [sign, 1]
        )
        middle = np.array([545.5, 367.5])
        sx, sy = rotation @ (np.stack([mine.x, mine.y]) - middle[:, None]) + middle[:, None]
        hint = PlateHint(286.02 + 0.25, 36.65 - 0.15, 2.374 * (1.19 if number % 2 else 0.84), 0.4)
        found = solve_plate((sx, sy, mine.flux), stars, hint=hint, shape=planes[0].shape)
        tx, ty = rotation @ (np.stack([x, y]) - middle[:, None]) + middle[:, None]
        a, d = found.plate.to_sky(tx, ty)
        ga, gd = given[number].all_pix2world(x, y, 0)
        away = 3600 * np.hypot((a - ga) * np.cos(np.radians(gd)), d - gd)
        assert away.max() < 2.0
        assert np.median(away) < 0.5
        assert found.n > 250
        assert found.rms < 0.25
        assert found.scale == pytest.approx(2.374, abs=0.001)
        parity = np.sign(np.linalg.det(given[number].pixel_scale_matrix))
        assert found.plate.parity == (-parity if mirror else parity)


@pytest.mark.real
def test_dithered_real_frames_with_a_scale_wrong_by_13_percent_agree_with_scamp_given_stars_of_their_first_frame():
    folder = real_data("sso", "lowell5945")
    zero = np.median([_lowell(path)[0] for path in sorted(folder.glob("zero_*"))], axis=0)
    flat = np.median([_lowell(path)[0] for path in sorted(folder.glob("flat_*"))], axis=0) - zero
    flat = np.clip(flat / np.median(flat), 0.2, None)
    frames = [_lowell(path) for path in sorted(folder.glob("light_*"))]
    lists = [
        find_sources(((plane - zero) / flat).astype(np.float32), fwhm=3, threshold=WELL_PLACED)
        for plane, _ in frames
    ]
    ra, dec = frames[0][1].all_pix2world(lists[0].x, lists[0].y, 0)
    stars = (ra, dec, -2.5 * np.log10(np.maximum(lists[0].flux, 1e-3)))
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(0, 1387, 12), np.linspace(0, 1369, 12)))
    for (plane, given), mine in zip(frames[1:], lists[1:], strict=True):
        # 0.981 is what the header says; the scale is 1.108
        hint = PlateHint(124.6 + 0.1, 25.33 + 0.1, 0.981, 0.3)
        found = solve_plate((mine.x, mine.y, mine.flux), stars, hint=hint, shape=plane.shape)
        a, d = found.plate.to_sky(x, y)
        ga, gd = given.all_pix2world(x, y, 0)
        away = 3600 * np.hypot((a - ga) * np.cos(np.radians(gd)), d - gd)
        assert np.median(away) < 0.06
        assert away.max() < 0.3
        assert found.scale == pytest.approx(1.1077, abs=0.0005)
        assert found.check < 0.06


def _lowell(path):
    with fits.open(path) as hdus:
        cards = hdus[1].header
        names = ("CTYPE", "CRVAL", "CRPIX", "CD1_", "CD2_", "PV", "CUNIT")
        # the numbers stand there as text
        kept = {
            key: cards[key] if key.startswith(("CTYPE", "CUNIT")) else float(cards[key])
            for key in cards
            if key.startswith(names)
        }
        return hdus[1].data[:, :1388].astype(float), astropy_wcs(kept)


@pytest.mark.real
def test_zero_points_of_a_real_night_follow_the_light_lost_to_airmass_and_stars_agree_to_a_few_hundredths():
    planes, *_ = lights()
    dark = median_dark()
    lists = [find_sources(planes[number] - dark) for number in (0, 1, 2)]
    first = lists[0]
    good = (first.snr > 50) & ~first.blended & (first.flags == 0)
    reference = first.take(good)
    catalogue = 20 - 2.5 * np.log10(reference.flux / 60)
    for other in lists[1:]:
        pairs = match_stars(
            np.stack([reference.x, reference.y], axis=1), np.stack([other.x, other.y], axis=1), radius=1.5
        ).pairs
        ours, theirs = pairs.T
        found = fit_zero_point(other.flux[theirs], other.flux_error[theirs], catalogue[ours], exptime=60.0)
        assert found.zero_point == pytest.approx(20.0, abs=0.15)
        assert found.rms < 0.05
        assert found.zero_point_error < 0.005
        assert found.n > 100
