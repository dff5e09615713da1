"""Shift and stack: likelihoods of known answer, the compiled loop against the plain sum, one row for one mover."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.shiftstack import likelihood_images

from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.completeness import fit_completeness, per_square_degree, recall_bins
from virtualobserver.maths.shiftstack.explain import explain_away
from virtualobserver.maths.shiftstack.filters import cluster, filter_sigma_g, sigma_g
from virtualobserver.maths.shiftstack.find import find_movers, trials_level
from virtualobserver.maths.shiftstack.grids import (
    arcsec_per_hour,
    disc_grid,
    ecliptic_grid,
    grid_from_kbmod,
    grid_step,
    kbmod_v1_grid,
    pencil_grid,
    pixels_per_day,
    rectangle_grid,
    two_level_grid,
)
from virtualobserver.maths.shiftstack.images import (
    Frames,
    bin_frames,
    bin_psf,
    gaussian_psf,
    psf_sigma,
    psi_phi,
)
from virtualobserver.maths.shiftstack.movers import add_movers, mover_stamp
from virtualobserver.maths.shiftstack.refine import refine
from virtualobserver.maths.shiftstack.search import Trajectories, curves, evaluate, search, search_blocks
from virtualobserver.maths.shiftstack.settings import StackSettings
from virtualobserver.maths.shiftstack.stamps import coadd
from virtualobserver.maths.shiftstack.template import measure_template, median_over_frames
from virtualobserver.maths.shiftstack.tiles import tiling

COLUMNS = ("x", "y", "vx", "vy", "likelihood", "flux", "n_obs")


def noise(n=15, ny=60, nx=70, *, seed=0, sigma=1.4, masked=0.0, span=0.2):
    rng = np.random.default_rng(seed)
    science = rng.normal(0, 2, (n, ny, nx)).astype(np.float32)
    science[rng.random(science.shape) < masked] = np.nan
    mjd = 60000 + np.linspace(0, span, n)
    return Frames(mjd, science, np.full_like(science, 4), (gaussian_psf(sigma),) * n)


def with_mover(frames, x, y, vx, vy, flux, sigma=1.4):
    tau = frames.tau
    paths = ((x + vx * tau)[None], (y + vy * tau)[None], np.full((1, len(tau)), flux))
    return Frames(frames.mjd, add_movers(frames.science, *paths, sigma=sigma), frames.variance, frames.psf)


def same(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in COLUMNS)


# --- likelihood images ------------------------------------------------------------------------------------


def test_noise_free_mover_has_the_likelihood_and_flux_of_theory():
    kernel = gaussian_psf(1.4)
    assert float((kernel.astype(float) ** 2).sum()) == pytest.approx(0.040768, abs=1e-6)
    mjd = 60000 + np.arange(20) / 19 * 0.2
    science = np.zeros((20, 101, 101), np.float32)
    for i, t in enumerate(mjd - mjd[0]):
        x, y = int(np.floor(50 + 100 * t + 0.5)), int(np.floor(50 - 60 * t + 0.5))
        science[i, y - 4 : y + 5, x - 4 : x + 5] += 100 * kernel
    images = likelihood_images(Frames(mjd, science, np.full_like(science, 4), (kernel,) * 20))
    best = search(images, rectangle_grid((5, 80, 120), (5, -80, -40)))
    assert [float(getattr(best, k)[0]) for k in ("x", "y", "vx", "vy")] == [50, 50, 100, -60]
    assert best.likelihood[0] == pytest.approx(45.149, abs=1e-3)
    assert best.flux[0] == pytest.approx(100, abs=1e-3)
    assert best.n_obs[0] == 20


@pytest.mark.parametrize("masked", ["ml", "kbmod"])
def test_psi_and_phi_are_the_sums_over_pixels_with_data(masked):
    rng = np.random.default_rng(1)
    science, variance = rng.normal(size=(12, 13)), rng.uniform(1, 3, (12, 13))
    mask = rng.random((12, 13)) < 0.2
    kernel = rng.uniform(0, 1, (5, 5))  # not symmetric: a correlation, not a convolution
    kernel /= kernel.sum()
    psi, phi = psi_phi(science, variance, kernel, mask=mask, masked=masked)
    for y, x in ((0, 0), (6, 6), (11, 4), (5, 12)):
        terms = [
            (kernel[2 + j, 2 + i], science[y + j, x + i], variance[y + j, x + i])
            for j in range(-2, 3)
            for i in range(-2, 3)
            if 0 <= y + j < 12 and 0 <= x + i < 13 and not mask[y + j, x + i]
        ]
        a, b = sum(p * s / v for p, s, v in terms), sum(p * p / v for p, s, v in terms)
        if masked == "kbmod":
            a *= kernel.sum() / sum(p for p, _, _ in terms)
            b *= (kernel**2).sum() / sum(p * p for p, _, _ in terms)
        expected = (0, 0) if mask[y, x] else (a, b)
        assert (psi[y, x], phi[y, x]) == pytest.approx(expected, rel=1e-5)


def test_only_the_exact_likelihood_keeps_unit_variance_at_an_edge():
    rng = np.random.default_rng(2)
    spread = {}
    for masked in ("ml", "kbmod"):
        psi, phi = psi_phi(
            rng.normal(0, 2, (60, 6000)), np.full((60, 6000), 4.0), gaussian_psf(1.4), masked=masked
        )
        spread[masked] = float(np.std(psi[0] / np.sqrt(phi[0])))
    assert spread["ml"] == pytest.approx(1.0, abs=0.04)
    assert spread["kbmod"] == pytest.approx(1.30, abs=0.06)


def test_pixels_without_data_are_zero_in_both():
    science = np.ones((9, 9))
    science[4, 4] = np.nan
    variance = np.ones((9, 9))
    variance[2, 2], variance[6, 6] = 0, np.inf
    psi, phi = psi_phi(science, variance, gaussian_psf(1.0))
    assert all(psi[k] == phi[k] == 0 for k in ((4, 4), (2, 2), (6, 6)))
    assert np.count_nonzero(phi) == 78


def test_width_of_a_profile_is_that_of_the_gaussian_with_its_noise_pixels():
    for sigma in (1.0, 1.4, 2.5):
        assert psf_sigma(gaussian_psf(sigma, 12)) == pytest.approx(sigma, rel=0.01)


def test_frames_refuse_what_cannot_be_stacked():
    science = np.zeros((2, 5, 5), np.float32)
    with pytest.raises(DataError, match="order of time"):
        Frames(np.array([2.0, 1.0]), science, science + 1, (gaussian_psf(1),) * 2)
    with pytest.raises(DataError, match="odd square"):
        Frames(np.array([1.0, 2.0]), science, science + 1, (np.ones((2, 2)),) * 2)
    with pytest.raises(DataError, match="belong together"):
        Frames(np.array([1.0, 2.0]), science, science + 1, (gaussian_psf(1),))


def test_binning_keeps_flux_and_all_but_little_of_the_likelihood():
    sigma = 2.5
    frames = noise(12, 80, 80, sigma=sigma)
    blank = Frames(frames.mjd, np.zeros_like(frames.science), frames.variance, frames.psf)
    lit = with_mover(blank, 30.5, 40.5, 0, 0, 500.0, sigma)  # the middle of four pixels
    fine, coarse = (likelihood_images(each) for each in (lit, bin_frames(lit)))
    at_rest = rectangle_grid((1, 0, 0), (1, 0, 0))
    a, b = search(fine, at_rest, top=1), search(coarse, at_rest, top=1)
    assert (b.x[0], b.y[0]) == (15, 20)
    assert b.flux[0] == pytest.approx(500, rel=0.02)
    assert b.likelihood[0] == pytest.approx(a.likelihood[0], rel=0.04)
    assert float(bin_psf(gaussian_psf(1.3)).sum()) == pytest.approx(1, abs=1e-6)
    assert np.isnan(bin_frames(noise(2, 8, 8, masked=1.0)).science).all()


# --- grids ------------------------------------------------------------------------------------------------


def test_arcsec_per_hour_and_pixels_per_day_are_each_other_s_inverse():
    assert pixels_per_day(30.0, 0.93) == pytest.approx(774.19, abs=0.01)
    assert arcsec_per_hour(pixels_per_day(30.0, 2.374), 2.374) == pytest.approx(30.0)


def test_disc_holds_the_lattice_within_and_nothing_else():
    grid = disc_grid(10.0, 2.0, v_min=3.0)
    speed = np.hypot(grid.vx, grid.vy)
    assert (speed.min(), speed.max()) == (4.0, 10.0)
    assert len(disc_grid(10.0, 2.0)) == 81
    assert len(grid) == 81 - 9
    with pytest.raises(DataError):
        disc_grid(10.0, 0.0)


def test_generators_of_kbmod_have_its_order_and_ends():
    grid = rectangle_grid((3, -1, 1), (2, 0, 5))
    assert grid.vx.tolist() == [-1, 0, 1, -1, 0, 1]
    assert grid.vy.tolist() == [0, 0, 0, 5, 5, 5]
    v1 = kbmod_v1_grid((2, 10, 20), (2, 0, np.pi))
    np.testing.assert_allclose(np.hypot(v1.vx, v1.vy), [10, 15, 10, 15])
    np.testing.assert_allclose(np.arctan2(v1.vy, v1.vx), [0, 0, np.pi / 2, np.pi / 2], atol=1e-12)
    # steps after conversion: 24 to 120 px/d in 5 steps of 24, whatever the units
    for unit, factor in (("pix / d", 1), ("pix / h", 24)):
        centred = ecliptic_grid([24 / factor, 120 / factor, 5], [0, 0, 1], 0.5, velocity_unit=unit)
        np.testing.assert_allclose(np.hypot(centred.vx, centred.vy), [24, 48, 72, 96, 120])
        np.testing.assert_allclose(np.arctan2(centred.vy, centred.vx), 0.5)
    angular = ecliptic_grid([1, 2, 2], [0, 0, 1], 0, velocity_unit="arcsec / h", pixel_scale=0.5)
    np.testing.assert_allclose(angular.vx, [48, 96])
    near = pencil_grid(30.0, 40.0)
    assert np.hypot(near.vx - 30, near.vy - 40).min() < 1.0
    assert abs(np.hypot(near.vx, near.vy) - 50).max() == pytest.approx(10)


def test_generator_configurations_of_kbmod_are_understood():
    config = {"name": "VelocityGridSearch", "vx_steps": 21, "min_vx": -200.0, "max_vx": 200.0, "vy_steps": 21,
              "min_vy": -240.0, "max_vy": 240.0}  # fmt: skip
    assert len(grid_from_kbmod(config)) == 441
    default = {"name": "EclipticCenteredSearch", "velocities": [92.0, 526.0, 257], "angles": [-0.2, 0.2, 129]}
    assert len(grid_from_kbmod(default)) == 33153
    assert len(grid_from_kbmod({"name": "SingleVelocitySearch", "vx": 1, "vy": 2})) == 1
    assert (
        len(
            grid_from_kbmod(
                {
                    "name": "KBMODV1SearchConfig",
                    "v_arr": [92, 526, 4],
                    "ang_arr": [0.1, 0.1, 3],
                    "average_angle": 1.0,
                }
            )
        )
        == 12
    )
    with pytest.raises(DataError, match="lacks the parameter 'vy'"):
        grid_from_kbmod({"name": "SingleVelocitySearch", "vx": 1})
    with pytest.raises(DataError, match="no generator"):
        grid_from_kbmod({"name": "Other"})


def test_two_levels_cover_the_disc():
    tau = np.linspace(0, 0.25, 240)
    grid = two_level_grid(tau, 300.0)
    flat = grid.flat()
    assert grid.blocks.max() == 14
    assert len(grid.fine) == 15**2
    lattice = np.unique(np.round(np.column_stack([flat.vx, flat.vy]) / grid.fine.step).astype(int), axis=0)
    assert len(lattice) == len(flat)  # no velocity twice
    rng = np.random.default_rng(0)
    r, phi = 300 * np.sqrt(rng.random(500)), rng.uniform(0, 2 * np.pi, 500)
    worst = max(
        np.hypot(flat.vx - a, flat.vy - b).min()
        for a, b in zip(r * np.cos(phi), r * np.sin(phi), strict=True)
    )
    assert worst <= grid.fine.step


def test_a_grid_needs_times_that_differ():
    assert grid_step([0.0, 0.25]) == pytest.approx(8.0)
    with pytest.raises(DataError, match="different times"):
        grid_step([1.0, 1.0])


# --- search -----------------------------------------------------------------------------------------------


def plain_search(images, grid, *, level, min_obs, top, x_range, y_range, precision):
    """Search as `search` does: every path summed frame by frame, the first of equals kept."""
    dtype = np.float32 if precision == "single" else np.float64
    rows, cols = (axis.ravel() for axis in np.mgrid[y_range[0] : y_range[1], x_range[0] : x_range[1]])
    velocity, start = (axis.ravel() for axis in np.mgrid[: len(grid), : len(rows)])
    paths = Trajectories.of(cols[start], rows[start], grid.vx[velocity], grid.vy[velocity])
    found = evaluate(images, paths, dtype=dtype)
    found = found.take((found.likelihood >= level) & (found.likelihood > 0) & (found.n_obs >= min_obs))
    order = np.lexsort((-found.likelihood, found.x, found.y))  # stable: velocities stay in their order
    found = found.take(order)
    pixel = found.y * 1e6 + found.x
    place = np.arange(len(found)) - np.searchsorted(pixel, pixel)
    return found.take(place < top).sorted()


@settings(max_examples=12)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 19),
    masked=st.sampled_from([0.0, 0.3]),
    corner=st.tuples(st.integers(-60, 20), st.integers(-40, 20)),
    precision=st.sampled_from(["single", "double"]),
)
def test_compiled_loop_is_the_plain_sum_to_the_last_bit(seed, n, masked, corner, precision):
    images = likelihood_images(noise(n, 33, 41, seed=seed, masked=masked))
    options = {
        "level": 2.0, "min_obs": 2, "top": 3, "x_range": (corner[0], corner[0] + 50),
        "y_range": (corner[1], corner[1] + 30), "precision": precision,
    }  # fmt: skip
    grid = disc_grid(400, 100)
    fast = search(images, grid, **options)
    assert same(fast, plain_search(images, grid, **options))
    assert same(fast, search(images, grid, threads=2, **options))


def test_search_is_that_of_the_definition():
    images = likelihood_images(noise(7, 20, 22, masked=0.1))
    grid = disc_grid(60, 30)
    found = search(images, grid, level=1.5, top=len(grid), min_obs=4)
    rows = []
    for vx, vy in zip(grid.vx, grid.vy, strict=True):
        for y in range(20):
            for x in range(22):
                psi, phi, n = np.float32(0), np.float32(0), 0
                for i, t in enumerate(images.tau):
                    column, row = int(np.floor(x + vx * t + 0.5)), int(np.floor(y + vy * t + 0.5))
                    if 0 <= column < 22 and 0 <= row < 20 and images.phi[i, row, column] > 0:
                        psi, phi, n = (
                            psi + images.psi[i, row, column],
                            phi + images.phi[i, row, column],
                            n + 1,
                        )
                if n >= 4 and psi / np.sqrt(phi) >= 1.5:
                    rows.append((x, y, vx, vy, psi / np.sqrt(phi), psi / phi, n))
    expected = Trajectories(*(np.array(column) for column in zip(*rows, strict=True))).sorted()
    assert len(found) > 50
    assert same(found, expected)


def test_two_levels_find_what_one_level_finds_and_sum_it_exactly():
    frames = with_mover(noise(80, 90, 90, span=0.25), 30.3, 40.6, 120.0, -90.0, 16.0)
    images = likelihood_images(frames)
    grid = two_level_grid(images.tau, 160.0, drift=3.0, block=0.05)
    two = search_blocks(images, grid, level=7.0, min_obs=10, tile=50)
    one = search(images, grid.flat(), level=7.0, min_obs=10)
    assert len(two)
    assert two.likelihood[0] >= 0.93 * one.likelihood[0]
    assert np.hypot(two.x[0] - 30.3, two.y[0] - 40.6) < 3
    assert same(two, evaluate(images, two).sorted())
    assert np.hypot(two.vx, two.vy).max() <= 160.0


def test_impossible_searches_are_refused():
    images = likelihood_images(noise(3, 10, 10))
    with pytest.raises(DataError, match="no start pixels"):
        search(images, disc_grid(10, 5), x_range=(5, 5))
    with pytest.raises(DataError, match="level"):
        search(images, disc_grid(10, 5), level=-1.0)


def test_curves_add_up_and_end_outside_the_image():
    images = likelihood_images(noise(5, 12, 12))
    psi, phi = curves(images, Trajectories.of([-3, 5], [5, 5], [0, 1e4], [0, 0]))
    assert not phi[0].any()
    assert (phi[1] > 0).tolist() == [True, False, False, False, False]
    assert psi[1, 0] == images.psi[0, 5, 5]
    assert evaluate(images, Trajectories.of(-3, 5, 0, 0)).likelihood[0] == -1


# --- filters ----------------------------------------------------------------------------------------------


def test_sigma_g_of_both_kinds_and_its_edges():
    psi = np.array([[1, 2, 3, 4, 5, 100.0]])
    phi = np.ones_like(psi)
    opened, closed = (sigma_g(psi, phi, edges=edges) for edges in ("open", "closed"))
    width = 0.7413 * (4.75 - 2.25)
    assert opened.low[0] == pytest.approx(3.5 - 2 * width, abs=1e-3)
    assert opened.high[0] == pytest.approx(3.5 + 2 * width, abs=1e-3)
    assert opened.keep.tolist() == [[True] * 5 + [False]]
    # order statistics: ceil(6 q) - 1
    assert closed.high[0] == pytest.approx(3 + 2 * 0.7413 * (5 - 2), abs=1e-3)
    equal = np.ones((1, 6))
    assert sigma_g(equal, equal).keep.all()
    assert not sigma_g(equal, np.zeros((1, 6))).keep.any()


@pytest.mark.parametrize(("n", "dropped"), [(5, 0.14), (10, 0.092), (20, 0.073), (50, 0.058)])
def test_sigma_g_drops_the_known_part_of_good_epochs(n, dropped):
    rng = np.random.default_rng(1)
    keep = sigma_g(rng.normal(5, 1, (8000, n)), np.ones((8000, n))).keep
    assert 1 - keep.mean() == pytest.approx(dropped, abs=0.006)


def test_sigma_g_removes_a_flash_and_judges_anew():
    frames = noise(15)
    images = likelihood_images(frames)
    images.psi[7, 30, 35] = 40 * np.sqrt(images.phi[7, 30, 35])
    path = Trajectories.of(35, 30, 0, 0)
    assert evaluate(images, path).likelihood[0] > 9
    assert not len(filter_sigma_g(images, path, level=6.0, min_obs=5))
    loose = filter_sigma_g(images, path, level=-5.0, min_obs=5)
    assert loose.n_obs[0] <= 14


@pytest.mark.parametrize(
    "by",
    [
        "all",
        "position",
        "mid_position",
        "start_end_position",
        "nn_start",
        "nn_start_end",
        "grid_start",
        "grid_start_end",
    ],
)
def test_clustering_keeps_the_strongest_of_each_group(by):
    rng = np.random.default_rng(5)
    centre = np.repeat([[50.0, 50, 10, 10], [250.0, 250, -10, 30]], 20, axis=0)
    x, y, vx, vy = (centre + rng.uniform(0.1, 0.9, (40, 4))).T
    likelihood = np.arange(40.0)
    found = Trajectories(x, y, vx, vy, likelihood, likelihood, np.ones(40, int))
    kept = cluster(found, np.array([0.0, 0.2]), by=by, radius=20.0)
    assert kept.likelihood.tolist() == [39.0, 19.0]


# --- one row for one mover --------------------------------------------------------------------------------


def test_each_mover_ends_as_one_row_with_its_path_between_the_pixels():
    truth = [
        (20.3, 20.7, 80.2, 40.4, 90.0),
        (50.6, 25.1, -60.0, 55.0, 25.0),
        (15.2, 50.4, 120.0, -90.5, 30.0),
    ]
    frames = noise(15, 75, 80)
    for one in truth:
        frames = with_mover(frames, *one)
    images = likelihood_images(frames)
    grid = disc_grid(200, grid_step(images.tau))
    rows = search(images, grid, level=6.5, min_obs=8)
    assert len(rows) > 100  # what the search alone makes of them
    movers = explain_away(images, rows, level=6.5, min_obs=8)
    assert len(movers) == 3
    for x, y, vx, vy, flux in truth:
        path = min(
            (m.path for m in movers),
            key=lambda p: np.hypot(p.x - x, p.y - y) + 0.1 * np.hypot(p.vx - vx, p.vy - vy),
        )
        for value, true, error in (
            (path.x, x, path.x_error), (path.y, y, path.y_error), (path.vx, vx, path.vx_error),
            (path.vy, vy, path.vy_error), (path.flux, flux, path.flux_error),
        ):  # fmt: skip
            assert abs(value - true) < 4 * error + 0.02 * abs(true)


def test_errors_of_refined_paths_are_those_of_many_repetitions():
    pulls = []
    for seed in range(40):
        frames = with_mover(noise(15, 40, 40, seed=seed), 18.3, 20.6, 20.0, -15.0, 40.0)
        images = likelihood_images(frames)
        path = refine(images, Trajectories.of(18, 21, 21, -17))
        pulls.append(
            [(path.x - 18.3) / path.x_error, (path.y - 20.6) / path.y_error, (path.vx - 20) / path.vx_error,
             (path.vy + 15) / path.vy_error]
        )  # fmt: skip
    pulls = np.array(pulls)
    assert np.abs(pulls.mean(axis=0)).max() < 0.6
    assert 0.75 < float(pulls.std()) < 1.3


@pytest.mark.parametrize("clip", [True, False])
def test_a_cosmic_ray_beside_a_path_pulls_it_only_if_nothing_is_left_out(clip):
    frames = with_mover(noise(15, 40, 40, seed=3), 18.3, 20.6, 20.0, -15.0, 80.0)
    science = frames.science.copy()
    science[12, round(20.6 - 15.0 * frames.tau[12]), round(18.3 + 20.0 * frames.tau[12]) + 2] += 3000.0
    images = likelihood_images(replace(frames, science=science))
    path = refine(images, Trajectories.of(18, 21, 21, -17), clip=clip)
    away = abs(path.x + path.vx * frames.tau[12] - 18.3 - 20.0 * frames.tau[12])
    assert (away < 0.5) == clip


def test_what_stands_beside_a_path_in_some_epochs_does_not_pull_it():
    """Each counted for no more than five errors, the four together moved the path by several of its own."""
    frames = with_mover(noise(16, 40, 40, seed=4), 18.3, 20.6, 20.0, -15.0, 60.0)
    science = frames.science.copy()
    for frame in (11, 12, 14, 15):
        at = frames.tau[frame]
        science[frame, round(20.6 - 15.0 * at), round(18.3 + 20.0 * at) + 2] += 500.0
    path = refine(likelihood_images(replace(frames, science=science)), Trajectories.of(18, 21, 21, -17))
    last = frames.tau[-1:]
    pulls = [
        (place - true) / error
        for place, true, error in zip(
            path.at(last), (18.3 + 20.0 * last, 20.6 - 15.0 * last), path.error_at(last), strict=True
        )
    ]
    assert np.abs(pulls).max() < 3.0
    assert path.epochs.sum() == 12


def test_signals_are_capped_by_their_own_errors_on_both_sides():
    images = likelihood_images(noise(4, 20, 20))
    capped = images.capped(1.5)
    ratio, before = (one.psi / np.sqrt(one.phi) for one in (capped, images))
    assert np.allclose(ratio, np.clip(before, -1.5, 1.5), atol=1e-5)
    assert np.abs(before).max() > 1.5
    assert np.array_equal(images.inverted().capped(1.5).psi, capped.inverted().psi)


def test_a_flash_at_one_epoch_is_no_mover():
    frames = noise(15)
    science = frames.science.copy()
    science[7, 28:33, 33:38] += 300 * gaussian_psf(1.4, 2)
    lit = Frames(frames.mjd, science, frames.variance, frames.psf)
    assert not find_movers(lit, StackSettings(binning=1), (0.0, 150.0)).movers


def test_pure_noise_gives_no_movers_and_controls_are_searched():
    harvest = find_movers(noise(15, 80, 80, masked=0.05), StackSettings(min_epochs=8), (0.0, 300.0))
    assert (harvest.movers, harvest.inverted, harvest.shuffled) == ((), (), ())
    assert harvest.level == pytest.approx(trials_level(harvest.trials))
    assert harvest.trials == pytest.approx(6400 * harvest.velocities)


def test_controls_hold_what_the_frames_do_not():
    frames = with_mover(noise(15), 30.3, 30.6, 60.0, 40.0, 60.0)
    options = StackSettings(min_epochs=8, binning=1), (0.0, 150.0)
    harvest = find_movers(frames, *options)
    assert len(harvest.movers) == 1
    assert harvest.inverted == ()
    dark = find_movers(Frames(frames.mjd, -frames.science, frames.variance, frames.psf), *options)
    assert dark.movers == ()
    assert len(dark.inverted) == 1
    assert find_movers(frames, StackSettings(controls=False), (0.0, 150.0)).inverted is None


def test_binned_search_gives_paths_on_the_pixels_of_the_frames():
    frames = with_mover(noise(12, 100, 100, sigma=2.4), 40.3, 60.7, 90.0, -50.0, 90.0, 2.4)
    harvest = find_movers(frames, StackSettings(min_epochs=8), (0.0, 200.0))
    assert harvest.binning == 2
    path = harvest.movers[0].path
    assert abs(path.x - 40.3) < 4 * path.x_error
    assert abs(path.y - 60.7) < 4 * path.y_error
    assert abs(path.vx - 90) < 4 * path.vx_error
    assert len(harvest.movers) == 1


def test_threshold_follows_the_number_of_trials():
    assert trials_level(1e9, false_alarms=1.0) == pytest.approx(6.0, abs=0.01)
    assert trials_level(1e9) == pytest.approx(np.sqrt(2 * np.log(1e9)), abs=0.06)
    assert trials_level(1e12) > trials_level(1e9)
    with pytest.raises(DataError):
        trials_level(0)


def test_too_few_frames_are_no_search():
    with pytest.raises(NotEnoughData, match="too few"):
        find_movers(noise(2), StackSettings(), (0.0, 100.0))


# --- stamps, templates, injection -------------------------------------------------------------------------


def test_coadds_use_what_has_data():
    science = np.stack([np.full((9, 9), v, np.float32) for v in (1.0, 2.0, 6.0, 11.0)])
    science[3, 4, 4] = np.nan
    science[:, 3, 3] = np.nan
    variance = np.stack([np.full((9, 9), v, np.float32) for v in (1.0, 1.0, 2.0, 4.0)])
    frames = Frames(np.arange(4.0), science, variance, (gaussian_psf(1),) * 4)
    at = (np.full(4, 4.0), np.full(4, 4.0))
    values = {kind: coadd(frames, *at, kind=kind, radius=1) for kind in ("sum", "mean", "median", "weighted")}
    assert {kind: float(v[1, 1]) for kind, v in values.items()} == pytest.approx(
        {"sum": 9, "mean": 3, "median": 2, "weighted": 6 / 2.5}
    )
    assert float(values["median"][1, 2]) == 4.0
    assert all(v[0, 0] == 0 for v in values.values())


def test_template_takes_stars_away_and_weighs_their_remains():
    rng = np.random.default_rng(1)
    science = rng.normal(0, 1, (15, 40, 40)).astype(np.float32)
    science[:, 10, 10] += 500
    science[:, 30, 20:25] += rng.normal(0, 6, (15, 5)).astype(np.float32)
    science[:12, 0, :] = np.nan
    science[3, 20, 20] += 900  # a cosmic ray
    made = measure_template(science, np.ones_like(science), min_frames=5)
    whole = (slice(0, 40), slice(0, 40))
    signal, variance = made.clean(science[3], np.ones((40, 40), np.float32), whole)
    assert made.stars[10, 10]
    assert np.isnan(signal[10, 10])
    assert made.stars[0].all()
    assert made.stars[1:].mean() < 0.01
    assert np.median(variance[30, 20:25]) > 6
    np.testing.assert_allclose(made.light, np.nanmedian(science, axis=0), rtol=1e-6)
    assert abs(made.lift) < 0.02
    assert np.isnan(median_over_frames(np.full((3, 2, 2), np.nan))).all()


def test_a_trail_is_the_mean_of_the_profiles_along_it():
    stamp, x0, y0 = mover_stamp(20.3, 30.8, 1.3, (6.0, -2.0))
    assert stamp.sum() == pytest.approx(1, abs=1e-6)
    rows, cols = np.mgrid[y0 : y0 + stamp.shape[0], x0 : x0 + stamp.shape[1]]
    mean_x, mean_y = (stamp * cols).sum(), (stamp * rows).sum()
    assert (mean_x, mean_y) == pytest.approx((20.3, 30.8), abs=1e-6)
    spread = (stamp * (cols - mean_x) ** 2).sum()
    assert spread == pytest.approx(1.3**2 + 1 / 12 + 36 / 12, rel=0.01)


def test_fitted_completeness_returns_what_was_drawn():
    rng = np.random.default_rng(2)
    mag = rng.uniform(17, 20, 3000)
    found = rng.random(3000) < 0.95 / (1 + np.exp((mag - 18.6) / 0.15))
    fit = fit_completeness(mag, found)
    for value, true, error in (
        (fit.m50, 18.6, fit.m50_error), (fit.eta0, 0.95, fit.eta0_error), (fit.width, 0.15, fit.width_error)
    ):  # fmt: skip
        assert 0 < error < 0.05
        assert abs(value - true) < 4 * error
    assert fit.at(18.6) == pytest.approx(fit.eta0 / 2, rel=0.1)
    bins = recall_bins(mag, found, [17, 18, 19, 20])
    assert bins.injected.sum() == 3000
    assert (bins.interval.low < bins.recall).all()
    assert (bins.recall < bins.interval.high).all()
    with pytest.raises(NotEnoughData):
        fit_completeness(mag, np.ones(3000, bool))


def test_fitted_completeness_knows_how_little_a_few_injections_say():
    mag = np.r_[np.linspace(19, 20.4, 15), np.linspace(20.8, 22, 13)]
    fit = fit_completeness(mag, mag < 20.6)
    assert 20.4 < fit.m50 < 20.8
    assert 0.08 < fit.m50_error < 0.3
    pulls = []
    rng = np.random.default_rng(5)
    for _ in range(30):
        mag = rng.uniform(19, 22, 200)
        one = fit_completeness(mag, rng.random(200) < 0.95 / (1 + np.exp((mag - 20.6) / 0.15)))
        pulls.append((one.m50 - 20.6) / one.m50_error)
    assert 0.6 < np.std(pulls) < 1.5


def test_false_alarms_per_square_degree_have_poisson_intervals():
    rate = per_square_degree(3, 0.35)
    assert rate.rate == pytest.approx(3 / 0.35)
    assert rate.low < rate.rate < rate.high
    assert per_square_degree(0, 2.0).upper_limit == pytest.approx(2.9957 / 2, abs=1e-3)


def test_shuffled_search_is_repeatable():
    images = likelihood_images(noise())
    a, b = (search(images.shuffled(3), disc_grid(100, 20), level=3.5, min_obs=5) for _ in range(2))
    assert same(a, b)
    assert len(a)


def test_a_long_night_of_large_frames_is_cut_so_that_it_fits():
    tau = np.linspace(0, 15 / 24, 600)
    grid = two_level_grid(tau, 60.0 * 24 / 0.93 / 2)
    for frames in (600, 300):
        parts = tiling((frames, 2048, 2048), tau[:frames], grid, memory=2e9)
        first = next(iter(parts.tiles()))[0]
        tall, wide = first.boxes(tau[:frames]).size
        assert frames * tall * wide * 8 < 2e9  # psi and phi of the boxes of a tile
        assert not parts.whole
