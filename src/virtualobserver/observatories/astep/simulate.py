"""Nights that never were: biases, darks, sky flats and science frames with moving objects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.ccd.folder import raw_of
from virtualobserver.ccd.header import facts_of
from virtualobserver.conventions import ARCSEC_PER_DEGREE, FWHM_TO_SIGMA, SECONDS_PER_DAY
from virtualobserver.data.image import Image
from virtualobserver.data.product import Raw, Target
from virtualobserver.io.fits.files import image_bytes
from virtualobserver.maths.shiftstack.movers import add_movers
from virtualobserver.maths.times import Site
from virtualobserver.observatories.astep.settings import ASTEPSettings, SimulationSettings
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from virtualobserver.maths.arrays import Array

__all__ = ["CAMERA", "simulate"]

CAMERA: Final = "Proline KAF-16801E (simulated)"
GAIN, READ_NOISE, FULL_WELL = 2.0, 9.0, 65535.0
"""e-/ADU and e-, the defaults of configs/astep.yaml; ADU, the end of 16 bits."""
BIAS: Final = (158.0, 148.0)
"""Level of the bias at the begin and end of a night, ADU: of the darks of the real night of configs/oscaar.yaml."""
DARK_CURRENT, HOT_FRACTION, VERY_HOT_FRACTION = 0.05, 0.007, 1e-4
"""e-/s, chosen; parts of the pixels that are hot and very hot. In the darks of the real night of configs/oscaar.yaml
0.7 % lie above 5 standard deviations, and about 1e-4 above 1000 ADU."""
TEMPERATURE: Final = -35.0
"""Of the detector, degrees Celsius; the same in all frames, so that darks suit. Chosen."""
ZERO_POINT: Final = 22.0
"""Magnitude of one electron per second. Chosen, not measured at the telescope."""
FLAT_LEVELS: Final = (12000.0, 30000.0)
"""Electrons of the first and last flat: 6000 and 15000 ADU lie well inside `flat_range`. Chosen."""
_MJD_ZERO: Final = datetime(1858, 11, 17, tzinfo=UTC)
"""By definition of the modified Julian date."""
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Camera:
    """What is the same in all frames: response, dark current (e-/s), pattern of the bias (ADU)."""

    flat: FloatArray
    dark: FloatArray
    bias: FloatArray


@dataclass(frozen=True, eq=False)
class _Field:
    """Stars (degrees from the centre, mag) and movers (the same at the night's middle, rate "/h, PA deg).

    The last column of a mover is the likelihood expected of it; of those that are known it is NaN, and they have names
    and magnitudes.
    """

    stars: FloatArray
    movers: FloatArray
    names: tuple[str, ...] = ()
    mags: FloatArray = field(default_factory=lambda: np.zeros(0))


def simulate(target: Target, rng: np.random.Generator, settings: ASTEPSettings) -> Iterator[Raw]:
    """Yield the raw frames of all nights of a target.

    A science frame's header holds ``truth``: for each mover its number, rate (arcsec/h), position angle (deg),
    magnitude, expected likelihood of the whole path, and x, y (pixels from 0), ra, dec, flux (electrons) here, and its
    name if it is a known body.
    """
    sim = settings.simulation
    camera = _camera(sim, rng)
    for number in range(sim.nights):
        first = datetime.fromisoformat(sim.first_night).replace(tzinfo=UTC) + timedelta(days=number)
        yield from _night(target, first, camera, rng, settings)


def _camera(sim: SimulationSettings, rng: np.random.Generator) -> _Camera:
    ny, nx = sim.size
    y, x = np.mgrid[0:ny, 0:nx]
    away = np.hypot(x - nx / 2, y - ny / 2) / math.hypot(nx / 2, ny / 2)
    flat = (1 - 0.25 * away**2) * rng.normal(1, 0.01, (ny, nx))
    for _ in range(max(ny * nx // 20000, 1)):
        flat[rng.integers(ny), rng.integers(nx)] *= 0.4
    dark = np.full((ny, nx), DARK_CURRENT)
    hot = rng.random((ny, nx))
    dark[hot < HOT_FRACTION] = rng.uniform(2, 20, int((hot < HOT_FRACTION).sum()))
    dark[hot < VERY_HOT_FRACTION] = 60.0
    return _Camera(flat / np.median(flat), dark, rng.normal(0, 1.0, (ny, nx)))


def _night(
    target: Target, first: datetime, camera: _Camera, rng: np.random.Generator, settings: ASTEPSettings
) -> Iterator[Raw]:
    sim = settings.simulation
    sky = _field(sim, rng)
    middle = first + timedelta(hours=14)
    if sim.known:
        sky = _with_known(sky, target, middle, settings)
    span = timedelta(hours=sim.span)
    start = middle - span / 2
    clock = start - timedelta(hours=3)
    for kind, number, exptime, place in (
        ("SKYFLAT", sim.flats, sim.flat_exptime, "CAMS_SKYFLAT"),
        ("DARK", sim.darks, sim.flat_exptime, "CAMS_SKYFLAT"),
        ("BIAS", sim.biases, 0.0, "CAMS"),
        ("DARK", sim.darks, sim.exptime, "CAMS"),
    ):
        for n in range(number):
            clock += timedelta(seconds=exptime + 20)
            part = n / max(number - 1, 1)
            light = _flat_light(part, camera, rng, sim) if kind == "SKYFLAT" else 0.0
            counts = _expose(light, exptime, camera, BIAS[0], rng)
            yield _raw(target, kind, place, clock, exptime, counts, {}, settings)
    yield from _science(target, start, sky, camera, rng, settings)


def _science(  # noqa: PLR0917
    target: Target,
    start: datetime,
    sky: _Field,
    camera: _Camera,
    rng: np.random.Generator,
    settings: ASTEPSettings,
) -> Iterator[Raw]:
    sim = settings.simulation
    part = np.linspace(0, 1, sim.frames)
    hours = (part - 0.5) * sim.span
    widths = np.linspace(*sim.fwhm, sim.frames)
    clear = 1 - 0.1 * rng.random(sim.frames)
    shift = np.stack([part - 0.5, 0.5 - part], axis=1) * sim.drift + rng.normal(0, 0.3, (sim.frames, 2))
    headers = [_wcs(target, sim, one) for one in shift]
    flux, likelihood = _mover_flux(sky, widths, clear, sim)
    paths = [_mover_path(sky, h, header) for h, header in zip(hours, headers, strict=True)]
    for n in range(sim.frames):
        sigma = widths[n] * FWHM_TO_SIGMA
        x, y = _pixels(sky.stars[:, :2], headers[n])
        bright = sim.exptime * 10 ** (-0.4 * (sky.stars[:, 2] - ZERO_POINT)) * clear[n]
        light = np.full((1, *sim.size), sim.sky * sim.exptime * (1 + 0.2 * part[n]))
        scene = add_movers(light, x[:, None], y[:, None], bright[:, None], sigma=sigma)
        before, after = (_mover_path(sky, hours[n] + way * sim.exptime / 7200, headers[n]) for way in (-1, 1))
        trail = tuple((after[axis] - before[axis])[:, None] for axis in (0, 1))
        lit = (flux * clear[n])[:, None]
        scene = add_movers(
            scene, paths[n][0][:, None], paths[n][1][:, None], lit, sigma=sigma, trail=(trail[0], trail[1])
        )
        level = BIAS[0] + part[n] * (BIAS[1] - BIAS[0])
        counts = _expose(scene[0] * camera.flat, sim.exptime, camera, level, rng, cosmics=sim.cosmics)
        moment = start + timedelta(hours=float(part[n]) * sim.span, seconds=-sim.exptime / 2)
        raw = _raw(target, "SCIENCE", "CAMS", moment, sim.exptime, counts, headers[n], settings)
        truth = _truth(sky, paths[n], (flux * clear[n], likelihood), sim, headers[n])
        yield Raw(
            raw.archive_id,
            raw.format,
            raw.content,
            obscore=raw.obscore,
            header={**raw.header, "truth": truth, "injected": _events(truth, raw.header, sim.size)},
        )


def _field(sim: SimulationSettings, rng: np.random.Generator) -> _Field:
    reach = np.array(sim.size[::-1]) / 2 * sim.scale / 3600
    place = rng.uniform(-1, 1, (sim.stars, 2)) * reach * 1.1
    stars = np.column_stack([place, np.maximum(17.5 - rng.exponential(1.3, sim.stars), 10.5)])
    low, high = sim.rate
    rate = low * (high / low) ** rng.random(sim.movers)
    angle = rng.uniform(0, 360, sim.movers)
    inner = np.maximum(reach * 0.9 - (rate * sim.span / 2 / 3600)[:, None], 0.1 * reach)
    wanted = rng.uniform(*sim.likelihood, sim.movers)
    spots = rng.uniform(-1, 1, (sim.movers, 2)) * inner
    return _Field(stars, np.column_stack([spots, rate, angle, wanted]))


def _with_known(sky: _Field, target: Target, middle: datetime, settings: ASTEPSettings) -> _Field:
    """Add the known bodies that are in the field in a night, which is too short for their paths to bend."""
    from virtualobserver.catalog.passing import passing

    sim, place = settings.simulation, settings.site
    site = None if place is None else Site(place.longitude, place.latitude, place.height)
    reach = math.hypot(*sim.size) / 2 * sim.scale / ARCSEC_PER_DEGREE
    mjd = (middle - _MJD_ZERO) / timedelta(days=1)
    seen = passing(_middle(target), reach, mjd, span=sim.span, site=site, degree=1)
    (east, north), (fast_east, fast_north) = np.moveaxis(seen.paths, 0, 2).transpose(1, 0, 2)
    rate = np.hypot(fast_east, fast_north) * ARCSEC_PER_DEGREE
    angle = np.degrees(np.arctan2(fast_east, fast_north)) % 360
    known = np.column_stack([east, north, rate, angle, np.full(rate.size, np.nan)])
    return replace(sky, movers=np.concatenate([sky.movers, known]), names=seen.names, mags=seen.mag)


def _middle(target: Target) -> tuple[float, float]:
    return (150.0 if target.ra is None else target.ra), (-65.0 if target.dec is None else target.dec)


def _expose(
    light: Array | float,
    exptime: float,
    camera: _Camera,
    level: float,
    rng: np.random.Generator,
    *,
    cosmics: float = 0.0,
) -> NDArray[np.uint16]:
    """Return the counts of an expected number of electrons per pixel."""
    electrons = rng.poisson(np.maximum(light + camera.dark * exptime, 0)).astype(float)
    ny, nx = camera.dark.shape
    for _ in range(rng.poisson(cosmics) if cosmics else 0):
        x, y, angle = rng.uniform(0, nx), rng.uniform(0, ny), rng.uniform(0, 2 * np.pi)
        for step in range(int(rng.integers(1, 8))):
            row, col = int(y + step * np.sin(angle)), int(x + step * np.cos(angle))
            if 0 <= row < ny and 0 <= col < nx:
                electrons[row, col] += rng.uniform(500, 5000)
    counts = (electrons + rng.normal(0, READ_NOISE, (ny, nx))) / GAIN + level + camera.bias
    return np.asarray(np.clip(np.round(counts), 0, FULL_WELL), dtype=np.uint16)


def _flat_light(
    part: float, camera: _Camera, rng: np.random.Generator, sim: SimulationSettings
) -> FloatArray:
    """Return the twilight sky with stars in it, electrons."""
    level = FLAT_LEVELS[0] + part * (FLAT_LEVELS[1] - FLAT_LEVELS[0])
    ny, nx = sim.size
    x, y = rng.uniform(0, nx, 6), rng.uniform(0, ny, 6)
    scene = add_movers(
        np.full((1, ny, nx), level), x[:, None], y[:, None], rng.uniform(2e4, 2e5, (6, 1)), sigma=1.3
    )
    return np.asarray(scene[0] * camera.flat, dtype=np.float64)


def _wcs(target: Target, sim: SimulationSettings, shift: FloatArray) -> RecordDict:
    ny, nx = sim.size
    return {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg",
        "CRVAL1": _middle(target)[0], "CRVAL2": _middle(target)[1],
        "CRPIX1": (nx + 1) / 2 + float(shift[0]), "CRPIX2": (ny + 1) / 2 + float(shift[1]),
        "CDELT1": -sim.scale / 3600, "CDELT2": sim.scale / 3600, "RADESYS": "ICRS",
    }  # fmt: skip


def _pixels(offsets: FloatArray, header: RecordDict) -> tuple[FloatArray, FloatArray]:
    """Return pixels (from 0) of offsets east and north of the centre, degrees in the tangent plane."""
    x = header["CRPIX1"] - 1 + offsets[:, 0] / header["CDELT1"]
    y = header["CRPIX2"] - 1 + offsets[:, 1] / header["CDELT2"]
    return x, y


def _mover_path(sky: _Field, hours: float, header: RecordDict) -> tuple[FloatArray, FloatArray]:
    angle = np.radians(sky.movers[:, 3])
    moved = (sky.movers[:, 2] * hours / 3600)[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return _pixels(sky.movers[:, :2] + moved, header)


def _snr1(widths: FloatArray, sim: SimulationSettings) -> FloatArray:
    """Return the S/N of one electron in each frame: sqrt(sum p^2 / v) of a Gaussian on the sky."""
    sigma = widths * FWHM_TO_SIGMA
    variance = sim.sky * 1.1 * sim.exptime + DARK_CURRENT * sim.exptime + READ_NOISE**2
    return np.asarray(1 / np.sqrt(4 * np.pi * sigma**2 * variance))


def _mover_flux(
    sky: _Field, widths: FloatArray, clear: FloatArray, sim: SimulationSettings
) -> tuple[FloatArray, FloatArray]:
    """Return the electrons per exposure of each mover, and the expected likelihood of its path; one gives the other."""
    one = float(np.sqrt(np.sum((clear * _snr1(widths, sim)) ** 2)))
    flux = sky.movers[:, 4] / one
    n = len(sky.names)
    flux[len(flux) - n :] = sim.exptime * 10 ** (-0.4 * (sky.mags - ZERO_POINT))
    return flux, np.concatenate([sky.movers[: len(flux) - n, 4], flux[len(flux) - n :] * one])


def _truth(
    sky: _Field,
    at: tuple[FloatArray, FloatArray],
    light: tuple[FloatArray, FloatArray],
    sim: SimulationSettings,
    header: RecordDict,
) -> list[RecordDict]:
    wcs = Image(np.zeros((1, 1)), header=header).wcs
    place = wcs.all_pix2world(at[0], at[1], 0) if len(at[0]) else (np.zeros(0), np.zeros(0))
    rows: list[RecordDict] = []
    flux, likelihood = light
    names = ("",) * (len(sky.movers) - len(sky.names)) + sky.names
    for n, (_, _, rate, angle, _) in enumerate(sky.movers.tolist()):
        row: RecordDict = {
            "id": n, "rate": rate, "pa": angle, "likelihood": float(likelihood[n]), "x": float(at[0][n]),
            "y": float(at[1][n]), "ra": float(place[0][n]), "dec": float(place[1][n]), "flux": float(flux[n]),
            "mag": ZERO_POINT - 2.5 * math.log10(float(flux[n]) / sim.exptime),
        }  # fmt: skip
        rows.append(row | ({"name": names[n]} if names[n] else {}))
    return rows


def _events(truth: list[RecordDict], facts: Record, size: tuple[int, int]) -> list[RecordDict]:
    """Return what a search should find in one frame: the movers that are on it, as `vo demo` compares them."""
    half = float(facts["exposure"]) / 2 / SECONDS_PER_DAY
    when = {"t_peak": facts["mjd"], "start_mjd": facts["mjd"] - half, "end_mjd": facts["mjd"] + half}
    return [
        {
            "kind": "mover",
            "body": one["id"],
            **when,
            "amplitude": one["likelihood"],
            "ra": one["ra"],
            "dec": one["dec"],
        }
        for one in truth
        if 0 <= one["x"] < size[1] and 0 <= one["y"] < size[0]
    ]


def _raw(  # noqa: PLR0917
    target: Target,
    kind: str,
    place: str,
    moment: datetime,
    exptime: float,
    counts: NDArray[np.uint16],
    more: RecordDict,
    settings: ASTEPSettings,
) -> Raw:
    night = moment.date().isoformat()
    name = f"{night}/{night}-{place}/{night}_{moment:%H.%M.%S}_{kind}.fits"
    header = {
        "DATE-OBS": moment.isoformat(timespec="milliseconds").removesuffix("+00:00"), "EXPTIME": exptime,
        "GAIN": GAIN, "RDNOISE": READ_NOISE, "CCD-TEMP": TEMPERATURE, "FILTER": "R", "INSTRUME": CAMERA,
        "OBJECT": target.name, "ORIGFILE": name.rpartition("/")[2],
        "IMAGETYP": kind, **more,
    }  # fmt: skip
    content = image_bytes(Image(counts, header=header))
    facts = facts_of(name, header, (counts.shape[0], counts.shape[1]), settings)
    return raw_of(name, facts, content=content)
