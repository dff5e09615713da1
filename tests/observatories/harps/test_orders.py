"""Files with orders that are not merged: numbers, blaze, wavelengths, and the frame of the observatory."""

import io

import numpy as np
import pytest
from astropy.io import fits
from support.harps import STAR, Client, adp, header, reduced

from virtualobserver.data.product import Raw
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.maths.spectra import flags
from virtualobserver.maths.spectra.echelle import blaze, merge_orders, order_numbers
from virtualobserver.maths.spectra.lines import air_to_vacuum
from virtualobserver.observatories.harps import VirtualHARPS
from virtualobserver.observatories.harps.orders import merged_spectrum
from virtualobserver.observatories.harps.reader import read_exposure

NUMBERS = np.array([m for m in range(161, 88, -1) if m != 115])
CONSTANT = 613_300.0
BERV = 15.0
LIGHT = 299792.458
PIXELS = np.arange(4096.0)


def coefficients():
    """Return wavelength polynomials of 72 orders, each 1.85 free spectral ranges long."""
    rows = []
    for m in NUMBERS:
        middle = CONSTANT / m
        step = 1.85 * middle / m / 4096
        # linear but for a curvature, about the middle of the detector
        bend = -2e-6 * step
        rows.append([middle - 2048 * step + bend * 2048**2, step - 2 * bend * 2048, bend, 0.0])
    return np.array(rows)


def truth(wave):
    """Return a star with a broad and a narrow line in K and H, as seen from the barycentre."""
    flux = np.ones_like(wave)
    for rest in (3933.661, 3968.467):
        v = LIGHT * (wave / rest - 1) - 20.0
        flux *= (1 - 0.6 * np.exp(-0.5 * (v / 80) ** 2)) * (1 - 0.5 * np.exp(-0.5 * (v / 4) ** 2))
    return flux


def orders():
    wave = np.polynomial.polynomial.polyval(PIXELS, coefficients().T)
    shares = np.array([blaze(row, m, CONSTANT) for m, row in zip(NUMBERS, wave, strict=True)])
    return wave, 1e5 * truth(wave * (1 + BERV / LIGHT)) * shares * np.gradient(wave, axis=1)


def e2ds(*, drop=None, **more):
    keys = {"HIERARCH ESO DRS CAL TH DEG LL": 3, "BUNIT": "electrons"}
    keys |= {f"HIERARCH ESO DRS CAL TH COEFF LL{n}": float(c) for n, c in enumerate(coefficients().ravel())}
    known = header(0, SPECSYS=None, **{"ESO DRS BERV": BERV, **more})
    cards = {f"HIERARCH {key}" if " " in key else key: value for key, value in known.items()} | keys
    if drop:
        del cards[f"HIERARCH {drop}"]
    stream = io.BytesIO()
    fits.PrimaryHDU(orders()[1].astype(np.float32), fits.Header(cards)).writeto(stream)
    return stream.getvalue()


def test_orders_are_numbered_by_their_wavelengths_over_the_gap_too():
    np.testing.assert_array_equal(order_numbers(CONSTANT / NUMBERS), NUMBERS)


@pytest.mark.parametrize("centres", [[4000.0], [4000.0, 3990.0], [4000.0, 4025.0, 4026.0, 5000.0]])
def test_wavelengths_that_are_no_echelle_are_an_error(centres):
    with pytest.raises(DataError, match="cannot be numbered"):
        order_numbers(np.array(centres))


def test_merged_orders_are_the_spectrum_without_the_blaze():
    wave, flux = orders()
    grid = np.arange(391000, 399001) / 100.0
    merged, missing = merge_orders(wave[3:10], flux[3:10], grid)
    assert not missing.any()
    expected = truth(grid * (1 + BERV / LIGHT))
    np.testing.assert_allclose(merged / 1e5, expected, atol=0.003)


def test_pixels_without_a_number_leave_a_gap_only_where_no_other_order_is():
    wave, flux = orders()
    flux[5] = np.nan
    grid = np.arange(392900, 393400) / 100.0  # the middle of that order
    merged, missing = merge_orders(wave[3:10], flux[3:10], grid)
    assert missing.any()
    assert (merged[missing] == 0).all()
    np.testing.assert_allclose(merged[~missing] / 1e5, truth(grid[~missing] * (1 + BERV / LIGHT)), atol=0.003)


def test_file_of_orders_is_read_into_the_frame_of_the_barycentre():
    exposure = read_exposure(e2ds(), "HARPS.1_e2ds_A", [(3920.0, 3985.0)])
    near = (exposure.wave > 3925) & (exposure.wave < 3980)
    np.testing.assert_allclose(exposure.flux[near] / 1e5, truth(exposure.wave[near]), atol=0.004)
    assert exposure.frame == "topocent"
    assert "shifted by 15.000 km/s" in " ".join(exposure.reasons)
    assert exposure.quality == flags.QUALITY_ASSUMED | flags.QUALITY_CONVERTED


def test_file_of_orders_is_reduced_like_the_others():
    for data, rest in zip((p.data for p in reduced({"x": e2ds()})), (3933.661, 3968.467), strict=True):
        v = LIGHT * (data.wave / rest - 1)
        core = np.abs(v - 20) < 15
        good = (data.mask[0] == 0) & core
        depth = 1 - data.flux[0][good] / data.flux[0][good].max()
        assert (v[good] * depth).sum() / depth.sum() == pytest.approx(20.0, abs=0.3)
        assert not data.epochs["quality"][0] & flags.QUALITY_BAD


@pytest.mark.parametrize("key", ["ESO DRS CAL TH COEFF LL21", "ESO DRS CAL TH COEFF LL287"])
def test_fault_15_missing_polynomial_is_named(key):
    with pytest.raises(InvalidFile, match=f"{key}.*no wavelength scale"):
        read_exposure(e2ds(drop=key), "x")


def test_image_with_two_axes_and_no_polynomials_is_still_refused():
    with pytest.raises(InvalidFile, match="one axis"):
        read_exposure(e2ds(drop="ESO DRS CAL TH DEG LL"), "x")


def test_fault_15_degree_that_cannot_be_is_named():
    unit = fits.PrimaryHDU(np.ones((3, 10)), fits.Header({"HIERARCH ESO DRS CAL TH DEG LL": 400}))
    with pytest.raises(InvalidFile, match="DEG LL is 400"):
        merged_spectrum(unit, "x", None)


def test_orders_serve_where_the_merged_spectrum_is_missing(tmp_path):
    (tmp_path / "HARPS.1_e2ds_A.fits").write_bytes(e2ds())
    (tmp_path / "HARPS.2_e2ds_A.fits").write_bytes(e2ds())
    (tmp_path / "HARPS.2_s1d_A.fits").write_bytes(adp(1))
    landed = list(VirtualHARPS().fetch([STAR], Client(tmp_path)))
    assert [thing.archive_id for _, thing in landed if isinstance(thing, Raw)] == [
        "HARPS.1_e2ds_A",
        "HARPS.2_s1d_A",
    ]


SLICES = np.repeat(np.arange(4, 9), 2)  # two slices of each order, as ESPRESSO has them


def s2d(*, drop=(), medium="AIR", **more):
    """Return orders free of the blaze, with a spoilt pixel in one slice, as the shared pipeline writes them."""
    rng = np.random.default_rng(3)
    wave = np.polynomial.polynomial.polyval(PIXELS, coefficients()[SLICES].T) * (1 + BERV / LIGHT)
    width = np.gradient(wave, axis=1)
    shares = np.array([blaze(row, m, CONSTANT) for m, row in zip(NUMBERS[SLICES], wave, strict=True)])
    error = 1e5 * width * 0.01 / np.sqrt(np.maximum(shares, 1e-3))
    flux = 1e5 * truth(wave) * width + error * rng.normal(size=wave.shape)
    quality = np.zeros(wave.shape, dtype=np.int16)
    flux[3, 2000:2010], quality[3, 2000:2010] = 1e9, 64
    axis = air_to_vacuum(wave) if medium == "VAC" else wave
    parts = {"SCIDATA": flux, "ERRDATA": error, "QUALDATA": quality, f"WAVEDATA_{medium}_BARY": axis,
             f"DLLDATA_{medium}_BARY": width}  # fmt: skip
    cards = header(0, **{"SPECSYS": None, "ESO DRS BERV": None, "ESO QC BERV": BERV, **more})
    units = [
        fits.PrimaryHDU(header=fits.Header({f"HIERARCH {k}" if " " in k else k: v for k, v in cards.items()}))
    ]
    units += [fits.ImageHDU(values, name=name) for name, values in parts.items() if name not in drop]
    stream = io.BytesIO()
    fits.HDUList(units).writeto(stream)
    return stream.getvalue()


@pytest.mark.parametrize("medium", ["AIR", "VAC"])
def test_orders_without_blaze_are_joined_in_the_frame_of_the_barycentre(medium):
    exposure = read_exposure(s2d(medium=medium), "r.HARPS.1_S2D_A", [(3920.0, 3985.0)])
    near = (exposure.wave > 3925) & (exposure.wave < 3980)
    assert near.sum() > 5000
    away = exposure.flux[near] / 1e5 - truth(exposure.wave[near])
    assert abs(np.mean(away)) < 0.001  # weights that follow the noise would make it negative
    assert np.std(away) < 0.012
    assert exposure.frame == "barycent"
    assert exposure.medium == ("vacuum" if medium == "VAC" else "air")
    assert not exposure.quality & flags.QUALITY_ASSUMED


def test_orders_without_blaze_are_reduced_like_the_others():
    for data, rest in zip((p.data for p in reduced({"x": s2d()})), (3933.661, 3968.467), strict=True):
        v = LIGHT * (data.wave / rest - 1)
        good = (data.mask[0] == 0) & (np.abs(v - 20) < 15)
        depth = 1 - data.flux[0][good] / data.flux[0][good].max()
        assert (v[good] * depth).sum() / depth.sum() == pytest.approx(20.0, abs=0.3)
        assert data.epochs["berv"][0] == BERV
        assert not data.epochs["quality"][0] & flags.QUALITY_BAD


def test_orders_without_errors_or_widths_serve_and_without_wavelengths_do_not():
    exposure = read_exposure(s2d(drop=("ERRDATA", "QUALDATA", "DLLDATA_AIR_BARY")), "x", [(3920.0, 3985.0)])
    near = (exposure.wave > 3930) & (exposure.wave < 3937)
    assert np.median(exposure.flux[near] / 1e5 / truth(exposure.wave[near])) == pytest.approx(1, abs=0.01)
    with pytest.raises(InvalidFile, match="one axis"):
        read_exposure(s2d(drop=("WAVEDATA_AIR_BARY",)), "x")
    with pytest.raises(InvalidFile, match="no order has a pixel"):
        read_exposure(s2d(), "x", [(6500.0, 6600.0)])


def test_orders_of_the_other_fibre_are_left_out_by_what_the_header_says():
    exposure = read_exposure(s2d(**{"ESO PRO CATG": "S2D_B"}), "x", [(3920.0, 3985.0)])
    assert exposure.quality & flags.QUALITY_NOT_TARGET
