"""Spectra of stars with and without comets, from real reference spectra where they are at hand."""

import numpy as np

from support.real import real_data
from virtualobserver.data import SpectrumSet, Table, Target
from virtualobserver.data.handles import MemoryHandle, ProductInfo
from virtualobserver.observatory import Aux

LIGHT = 299792.458
REST = {"K": 3933.6610, "H": 3968.4670}
NOMINAL = {"K": 3933.66, "H": 3968.47}
STEP = 0.01


def grid(line="K", half=2000):
    return np.round(NOMINAL[line] + STEP * np.arange(-half, half + 1), 4)


def velocity(line="K", half=2000):
    return LIGHT * (grid(line, half) / REST[line] - 1)


def beta_pic(line="K"):
    """Return the real comet-free spectrum on the star's velocities, 1 beyond 200 km/s."""
    folder = real_data("harps", "betapic_feb-accel")
    v = velocity(line)
    flux = np.interp(
        v, np.load(folder / f"rv-{line.lower()}.npy"), np.load(folder / f"meanspec-{line.lower()}.npy")
    )
    return flux / flux[np.abs(v) > 200].mean()


def photosphere(line="K"):
    """Return a rotating A star with a stable line of gas at rest, without any file."""
    v = velocity(line)
    flux = 1 - 0.7 * np.exp(-(np.abs(v / 150) ** 1.5))
    flux *= 1 - (0.85 if line == "K" else 0.75) * np.exp(-4 * np.log(2) * (v / 6) ** 2)
    return flux / flux[np.abs(v) > 400].mean()


def gaussian(v, centre, fwhm):
    return np.exp(-4 * np.log(2) * ((v - centre) / fwhm) ** 2)


def noisy(reference, rng, n=20, noise=0.0104, lag1=0.0):
    """Return n spectra with noise that grows with the root of the flux; `lag1` correlates neighbours."""
    white = rng.standard_normal((n, reference.size + 1))
    theta = 0.0 if lag1 == 0 else (1 - np.sqrt(1 - 4 * lag1**2)) / (2 * lag1)
    mixed = (white[:, 1:] + theta * white[:, :-1]) / np.sqrt(1 + theta**2)
    return np.tile(reference, (n, 1)) + noise * np.sqrt(reference) * mixed


def spectra(flux, line="K", mjd=None, mask=None, v_star=0.0, wave=None, **columns):
    flux = np.asarray(flux)
    n = len(flux)
    mjd = 55000.2 + np.arange(n, dtype=float) if mjd is None else np.asarray(mjd, float)
    table = {
        "mjd": mjd,
        "night": np.floor(mjd).astype(np.int64),
        "era": np.zeros(n, np.int64),
        "exptime": np.full(n, 600.0),
        "snr": np.full(n, 100.0),
        "berv": np.full(n, np.nan),
        "rv": np.full(n, np.nan),
        "quality": np.zeros(n, np.int64),
    } | {name: np.asarray(values) for name, values in columns.items()}
    return SpectrumSet(
        wave=grid(line) if wave is None else wave,
        flux=flux,
        error=np.full(flux.shape, np.nan, np.float32),
        mask=np.zeros(flux.shape, np.uint16) if mask is None else mask,
        epochs=Table(table, {"mjd": "d"}),
        meta={"line": f"CaII {line}", "rest": REST[line], "v_star": v_star, "instrument": "HARPS"},
    )


def handle(data):
    info = ProductInfo(kind="spectrum", role="reduced", series=data.meta["line"][-1], observatory="harps")
    return MemoryHandle(data, info)


def find(analysis, *sets, **extra):
    aux = Aux(Target("star", ra=86.8, dec=-51.1, extra=extra))
    return analysis.find([handle(one) for one in sets], aux, analysis.settings)


def abdor(v_star=32.0):
    """Return the UVES night of AB Dor in K and H, in order of time, resampled to 0.01 Angstrom, barycentric."""
    from astropy import units
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.io import fits
    from astropy.time import Time

    place = EarthLocation.from_geodetic(-70.4048, -24.6272, 2648.0)
    rows = []
    for path in sorted(real_data("harps", "abdor_uves_adp").glob("*.fits")):
        with fits.open(path) as hdus:
            header, table = hdus[0].header, hdus[1].data
            mjd = 0.5 * (header["MJD-OBS"] + header["MJD-END"])
            star = SkyCoord(header["RA"], header["DEC"], unit="deg")
            earth = star.radial_velocity_correction(
                "barycentric", obstime=Time(mjd, format="mjd"), location=place
            )
            berv = earth.to_value(units.km / units.s)
            rows.append(
                (
                    mjd,
                    berv,
                    header["EXPTIME"],
                    np.array(table["WAVE"][0]) * (1 + berv / LIGHT),
                    np.array(table["FLUX_REDUCED"][0], float),
                )
            )
    rows.sort(key=lambda row: row[0])
    sets = []
    for line in ("K", "H"):
        wave = grid(line, 1150 if line == "H" else 1800)
        flux = np.array([np.interp(wave, row[3], row[4], left=np.nan, right=np.nan) for row in rows])
        one = spectra(
            np.nan_to_num(flux, nan=0.0),
            line,
            [row[0] for row in rows],
            np.isnan(flux).astype(np.uint16),
            v_star,
            wave,
            night=np.full(len(rows), 55160),
            exptime=[row[2] for row in rows],
            berv=[row[1] for row in rows],
        )
        one.meta["resolving_power"] = 40970
        sets.append(one)
    return sets
