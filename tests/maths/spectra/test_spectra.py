import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtualobserver.conventions import (
    SPECTRUM_MASK_FLAGGED,
    SPECTRUM_MASK_NOT_COVERED,
    SPECTRUM_MASK_NOT_FINITE,
    SPECTRUM_MASK_SPIKE,
)
from virtualobserver.errors import DataError
from virtualobserver.maths.spectra import lines as spectra
from virtualobserver.maths.spectra import noise as spectrum_noise
from virtualobserver.maths.times import Site, barycentric_velocity


def test_air_and_vacuum_wavelengths_of_calcium_and_back():
    # NIST: Ca II K 3934.777 Å in vacuum, 3933.663 in air; Na D2 5891.583 and 5889.951
    vacuum = np.array([3934.777, 5891.583])
    np.testing.assert_allclose(spectra.vacuum_to_air(vacuum), [3933.663, 5889.951], atol=2e-3)
    np.testing.assert_allclose(
        spectra.air_to_vacuum(spectra.vacuum_to_air(vacuum)), vacuum, rtol=0, atol=1e-9
    )


@given(st.floats(-500, 500), st.floats(3000, 9000))
def test_velocity_and_wavelength_undo_each_other(v, rest):
    assert float(spectra.velocity(spectra.wavelength(v, rest), rest)) == pytest.approx(v, abs=1e-6)


def test_shift_follows_the_relativistic_formula_and_undoes_itself():
    beta = 30.0 / spectra.C_KM_S
    assert spectra.shift(5000.0, 30.0) == pytest.approx(5000 * (1 + beta) / np.sqrt(1 - beta**2), rel=1e-13)
    assert float(spectra.shift(spectra.shift(5000.0, 30.0), -30.0)) == pytest.approx(5000.0, abs=1e-9)


def test_a_line_at_the_velocity_of_the_star_is_at_rest_there():
    assert float(spectra.stellar_velocity(20.5, 20.5)) == 0.0
    assert float(spectra.stellar_velocity(120.5, 20.5)) == pytest.approx(100.0, abs=0.01)


def test_grids_hold_decimal_fractions_and_their_widths():
    grid = spectra.grid_around(3933.661, half_width=2000)
    assert grid.size == 4001
    assert grid[2000] == 3933.66
    assert grid[0] == 3913.66
    wide = spectra.grid_around(3933.661, half_width=300, unit="km/s")
    assert abs(spectra.velocity(wide[-1], 3933.661) - 300) < 1
    with pytest.raises(DataError, match="pixel"):
        spectra.grid_around(3933.661, half_width=300, unit="nm")


def noisy(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(100, 1, n)


def test_pixels_on_the_grid_are_copied_bit_by_bit():
    wave = np.arange(391000, 396000) / 100.0
    flux = noisy(wave.size)
    grid = spectra.grid_around(3933.661, half_width=1000)
    got = spectra.resample(wave, flux, np.ones(wave.size), np.zeros(wave.size, dtype=np.uint16), grid)
    first = np.flatnonzero(wave == grid[0])[0]
    assert not got.interpolated
    assert np.array_equal(got.flux, flux[first : first + grid.size])


def test_a_file_that_begins_inside_the_window_leaves_the_rest_uncovered():
    wave = np.arange(393000, 394000) / 100.0
    grid = spectra.grid_around(3933.661, half_width=1000)
    got = spectra.resample(wave, wave.copy(), np.ones(wave.size), np.zeros(wave.size, dtype=np.uint16), grid)
    inside = (grid >= wave[0]) & (grid <= wave[-1])
    assert np.array_equal(got.flux[inside], grid[inside])
    assert (got.mask[~inside] == SPECTRUM_MASK_NOT_COVERED).all()
    assert np.isnan(got.flux[~inside]).all()


def test_pixels_of_another_window_of_the_file_are_not_taken():
    wave = np.concatenate([np.arange(392000, 393500), np.arange(396000, 398000)]) / 100.0
    grid = spectra.grid_around(3933.661, half_width=1000)
    got = spectra.resample(wave, wave.copy(), np.ones(wave.size), np.zeros(wave.size, dtype=np.uint16), grid)
    inside = grid < 3935
    assert np.array_equal(got.flux[inside], grid[inside])
    assert np.isnan(got.flux[~inside]).all()
    late = spectra.grid_around(3968.467, half_width=1000)
    got = spectra.resample(wave, wave.copy(), np.ones(wave.size), np.zeros(wave.size, dtype=np.uint16), late)
    inside = late >= 3960
    assert np.array_equal(got.flux[inside], late[inside])
    assert np.isnan(got.flux[~inside]).all()


def test_resampling_gives_lines_back_and_propagates_errors_and_masks():
    wave = np.arange(3915.0, 3955.0, 0.0147)
    flux = 3.0 * wave - 5000
    error = np.full(wave.size, 2.0)
    mask = np.zeros(wave.size, dtype=np.uint16)
    mask[1000] = SPECTRUM_MASK_FLAGGED
    grid = spectra.grid_around(3933.661, half_width=500)
    got = spectra.resample(wave, flux, error, mask, grid)
    assert got.interpolated
    np.testing.assert_allclose(got.flux, 3.0 * grid - 5000, rtol=1e-10)
    # weights p and 1-p: the error is 2·√(p² + (1-p)²), between 2/√2 and 2
    assert got.error.min() == pytest.approx(np.sqrt(2), abs=1e-3)
    assert got.error.max() <= 2.0
    hit = grid[got.mask != 0]
    assert hit.size
    assert np.abs(hit - wave[1000]).max() < 0.0147


def test_resampled_noise_has_the_error_that_is_said():
    rng = np.random.default_rng(2)
    wave = np.arange(3915.0, 3955.0, 0.0147)
    grid = spectra.grid_around(3933.661, half_width=500)
    ones, none = np.ones(wave.size), np.zeros(wave.size, dtype=np.uint16)
    draws = [spectra.resample(wave, rng.normal(0, 1, wave.size), ones, none, grid) for _ in range(400)]
    scatter = np.std([draw.flux for draw in draws], axis=0)
    assert np.mean(scatter / draws[0].error) == pytest.approx(1.0, abs=0.01)


def test_a_gap_in_the_file_is_not_bridged():
    wave = np.concatenate([np.arange(3920.003, 3930, 0.01), np.arange(3935.003, 3945, 0.01)])
    grid = spectra.grid_around(3933.661, half_width=1000)
    got = spectra.resample(
        wave, np.ones(wave.size), np.ones(wave.size), np.zeros(wave.size, dtype=np.uint16), grid
    )
    gap = (grid > 3930.01) & (grid < 3935)
    assert (got.mask[gap] == SPECTRUM_MASK_NOT_COVERED).all()


def test_spikes_and_missing_numbers_are_told_apart():
    flux = np.array([1.0, np.nan, 1.6e21, 2.0, -1.6e21, np.inf, 3e5, 1.5])
    F, S = SPECTRUM_MASK_NOT_FINITE, SPECTRUM_MASK_SPIKE
    assert spectrum_noise.spike_mask(flux).tolist() == [0, F, S, 0, S, F, S, 0]


def test_continuum_ignores_lines_and_spikes():
    x = np.linspace(-0.7, 0.7, 1500)
    truth = 500 * (1 + 0.05 * x - 0.1 * x**2)
    flux = truth * (1 + np.random.default_rng(1).normal(0, 0.01, x.size))
    flux[200:280] *= 0.5
    flux[900:905] *= 20
    c = spectrum_noise.continuum_fit(x, flux)
    np.testing.assert_allclose(np.polynomial.polynomial.polyval(x, c), truth, rtol=0.003)


def test_continuum_of_too_few_pixels_is_not_a_number():
    assert np.isnan(spectrum_noise.continuum_fit(np.zeros(5), np.zeros(5))).all()


@pytest.mark.parametrize("rho", [0.0, 0.22, 0.4])
def test_noise_and_correlation_are_found_from_differences(rho):
    rng = np.random.default_rng(3)
    white = rng.standard_normal(200_001)
    a, b = (np.sqrt(0.5 * (1 + s * np.sqrt(1 - 4 * rho**2))) for s in (1, -1))
    flux = 7.0 * (a * white[:-1] + b * white[1:]) + np.linspace(0, 900, 200_000)
    good = np.ones(flux.size, dtype=bool)
    assert spectrum_noise.noise_from_differences(flux, good, correlation=rho) == pytest.approx(7.0, rel=0.01)
    assert spectrum_noise.pixel_correlation(flux, good) == pytest.approx(rho, abs=0.015)


def test_noise_of_few_pixels_is_not_a_number():
    assert np.isnan(spectrum_noise.noise_from_differences(np.ones(10), np.ones(10, dtype=bool)))


def test_share_of_noise_that_does_not_depend_on_flux():
    reference = np.linspace(0.1, 1.0, 4000)
    for share in (0.0, 0.3, 1.0):
        variance = share + (1 - share) * reference
        noise = np.random.default_rng(4).normal(1, 0.1, 4000)
        assert spectrum_noise.noise_share(variance * noise, reference) == pytest.approx(share, abs=0.03)
    assert spectrum_noise.noise_share(np.ones(4000), np.ones(4000)) == 1.0


def test_column_medians_know_missing_values_and_never_warn():
    stack = np.array([[1.0, np.nan, 5.0], [3.0, np.nan, np.nan], [2.0, np.nan, 7.0]])
    median, scatter = spectrum_noise.column_medians(stack)
    np.testing.assert_array_equal(median, [2.0, np.nan, 6.0])
    np.testing.assert_allclose(scatter, [1.4826, np.nan, 1.4826], rtol=1e-4)


def test_cosmic_rays_are_narrow_and_positive():
    z = np.random.default_rng(5).normal(0, 1, 1000)
    z[100:102] += 30
    z[300:340] += 30
    z[500] -= 30
    hit = spectrum_noise.find_cosmics(z)
    assert np.flatnonzero(hit).tolist() == [100, 101]


def test_night_runs_from_noon_to_noon_at_the_telescope():
    # La Silla lies 4.7 hours west: its noon is at 16.7 h UTC
    days = 55160 + np.array([16.6, 16.8, 24 + 2.8, 24 + 10.0, 24 + 16.6, 24 + 16.8]) / 24
    assert spectra.night_of(days, -70.7345).tolist() == [55159, 55160, 55160, 55160, 55160, 55161]
    assert spectra.night_of([np.nan], 0.0).tolist() == [-1]


@pytest.mark.parametrize(
    ("mjd", "instrument", "mode", "era"),
    [(57173.9, "HARPS", "HARPS", 0), (57174.1, "HARPS", "HARPS", 1), (57000, "HARPS", "EGGS", 10),
     (58000, "harps ", "eggs", 11), (55161, "UVES", "DICHR#2", 20), (55161, "NEW", "", 26)],
)  # fmt: skip
def test_states_of_the_instrument(mjd, instrument, mode, era):
    assert spectra.era_of(mjd, instrument, mode) == era


def test_side_bands_lie_about_the_star_and_avoid_other_lines():
    v = np.arange(-1000.0, 1001.0)
    side = spectra.side_bands(v, 50.0, inner=200, outer=700, blocked=[(300, 400)])
    assert side[v == 251][0]
    assert not side[v == 249][0]
    assert not side[v == 400][0]
    assert side[v == -600][0]
    assert not side[v == -651][0]


def test_barycentric_velocity_is_that_in_the_headers_of_harps():
    # three exposures whose pipeline gave the correction (km/s)
    site = Site(-70.7345, -29.2584, 2400.0)
    for mjd, ra, dec, berv in (
        (52986.265024, 111.852458, 5.22063, 15.25769),
        (55457.993127, 229.863516, -7.72219, -23.54388),
    ):
        assert float(barycentric_velocity(mjd, ra, dec, site)) == pytest.approx(berv, abs=0.02)
