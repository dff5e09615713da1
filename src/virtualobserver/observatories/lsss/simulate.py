"""Nights that never were: a finished bias and flat each, and frames with stars, clouds, trails and moving objects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import ARCSEC_PER_DEGREE, FWHM_TO_SIGMA, SECONDS_PER_DAY
from virtualobserver.data.product import Raw, Target
from virtualobserver.maths.astrometry.tan_sip import TanSip, deproject
from virtualobserver.maths.shiftstack.movers import add_movers
from virtualobserver.maths.times import Site
from virtualobserver.observatories.lsss.settings import LSSSSettings, SimulationSettings
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from virtualobserver.ccd.observatory import CCDObservatory

__all__ = ["Sky", "camera_of", "simulate", "stars_of"]

GAIN, READ_NOISE, BIAS, FULL_WELL = 1.3, 9.0, 1000.0, 65535.0
"""e-/ADU, e- and ADU; the first two are the defaults of the survey, the level of the bias is chosen."""
HOT_FRACTION: Final = 3e-4
"""Of the pixels. Chosen, not measured."""
HARMONICS: Final = 4
"""Of a light curve; the second is the largest, as that of a long body."""
_PERIODS: Final = (2.0, 30.0)
"""Hours; shortest and longest rotation."""
UNIX_MJD: Final = 40587.0
"""1970-01-01."""
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sky:
    """What is in a field.

    Parameters
    ----------
    stars
        ra, dec (degrees), mag (Gaia G), colour (BP - RP) of each, shape (n, 4).
    paths
        Where each mover is: coefficients of 1, t, t^2, t^3 (hours from the middle of the night) of its offset east and
        north of the field (degrees), shape (m, 2, 4).
    light
        mag and period (h) of each mover, shape (m, 2).
    curves
        Amplitude (mag) and phase of the harmonics of each mover, shape (m, HARMONICS, 2).
    names
        Of those that are known, empty for the others.
    """

    stars: FloatArray
    paths: FloatArray
    light: FloatArray
    curves: FloatArray
    names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Moment:
    """Hours from the middle of the night, width of the stars (pixels), part of the light that comes through."""

    hours: float
    fwhm: float
    clear: float


@dataclass(frozen=True, eq=False)
class _Chip:
    """What is the same in all frames: response, pattern of the bias (ADU), hot pixels (ADU in a frame)."""

    flat: FloatArray
    bias: FloatArray
    hot: FloatArray


def simulate(target: Target, rng: np.random.Generator, survey: CCDObservatory[LSSSSettings]) -> Iterator[Raw]:
    """Yield the raw frames of all nights of a target.

    A science frame's header holds ``truth``: for each mover its number, rate (arcsec/h), position angle (deg),
    ra, dec, mag, x, y (pixels from 0), flux (ADU) here, and its name if it is a known body; and ``injected`` for
    demonstrations.
    """
    sim = survey.settings.simulation
    stars = stars_of(target, sim, rng)  # first, so that a generator of the same seed gives them
    chip = _chip(sim, rng)
    first = datetime.fromisoformat(sim.first_night).replace(tzinfo=UTC, hour=21)
    for number in range(sim.nights):
        start = first + timedelta(days=number)
        night = f"{start:%y%m%d}"
        yield from _masters(night, start, chip, rng, survey)
        yield from _science(target, start, _night_sky(stars, target, start, rng, survey), chip, rng, survey)


def stars_of(target: Target, sim: SimulationSettings, rng: np.random.Generator) -> FloatArray:
    """Return stars over three frames' sides, N ~ 10^(0.25 m), as `Sky.stars`; `stars` of them on one frame."""
    half = 1.5 * np.array(sim.size[::-1]) * sim.scale / ARCSEC_PER_DEGREE
    n = 9 * sim.stars
    east, north = (rng.uniform(-1, 1, (n, 2)) * half).T
    mag = np.maximum(sim.faintest + np.log10(np.maximum(rng.random(n), 1e-12)) / 0.25, 8.0)
    return np.stack([*deproject(east, north, *_middle(target)), mag, rng.normal(1.0, 0.4, n)], axis=1)


def camera_of(sim: SimulationSettings, target: Target, shift: tuple[float, float] = (0.0, 0.0)) -> TanSip:
    """Return the world coordinates of a frame that is shifted by some pixels: turned by 1 degree, and distorted."""
    ny, nx = sim.size
    pixel, turn = sim.scale / ARCSEC_PER_DEGREE, math.radians(1.0)
    cd = pixel * np.array([[-math.cos(turn), math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    terms = np.zeros((4, 4))
    terms[3, 0] = terms[1, 2] = sim.distortion / (nx / 2) ** 3
    centre = (nx - 1) / 2 + shift[0], (ny - 1) / 2 + shift[1]
    none = np.zeros((0, 0))
    plain = TanSip(_middle(target), centre, cd, none, none, none, none)
    return replace(plain, a=terms, b=terms.T) if sim.distortion else plain


# --- inside -----------------------------------------------------------------------------------------------


def _middle(target: Target) -> tuple[float, float]:
    return (150.0 if target.ra is None else target.ra), (20.0 if target.dec is None else target.dec)


def _chip(sim: SimulationSettings, rng: np.random.Generator) -> _Chip:
    ny, nx = sim.size
    y, x = np.mgrid[0:ny, 0:nx]
    away = np.hypot(x - nx / 2, y - ny / 3) / math.hypot(
        nx / 2, ny / 2
    )  # off the middle: a turn of it is seen
    flat = (1 - 0.25 * away**2) * rng.normal(1, 0.005, (ny, nx))
    hot = np.where(rng.random((ny, nx)) < HOT_FRACTION, rng.uniform(200, 4000, (ny, nx)), 0.0)
    bias = BIAS + 20.0 * x / nx + rng.normal(0, 2.0, (ny, nx))
    return _Chip(flat / np.median(flat), bias, hot)


def _night_sky(
    stars: FloatArray,
    target: Target,
    start: datetime,
    rng: np.random.Generator,
    survey: CCDObservatory[LSSSSettings],
) -> Sky:
    """Return what is in the field in one night: stars, movers, and where they are wanted known bodies."""
    sim = survey.settings.simulation
    paths, light, curves = _movers(sim, rng)
    names = ("",) * len(paths)
    if sim.known:
        from virtualobserver.catalog.passing import passing

        begin = start.timestamp() / SECONDS_PER_DAY + UNIX_MJD
        middle = begin + ((sim.frames - 1) / 2 * sim.cadence + sim.exptime / 2) / SECONDS_PER_DAY
        reach = math.hypot(*sim.size) / 2 * sim.scale / ARCSEC_PER_DEGREE
        seen = passing(
            _middle(target), reach, middle, span=sim.frames * sim.cadence / 3600, site=_site(survey)
        )
        n = len(seen.names)
        own_light = np.stack(
            [seen.mag, np.exp(rng.uniform(math.log(_PERIODS[0]), math.log(_PERIODS[1]), n))], axis=1
        )
        paths, light = np.concatenate([paths, seen.paths]), np.concatenate([light, own_light])
        curves, names = np.concatenate([curves, _curves(n, rng)]), (*names, *seen.names)
    return Sky(stars, paths, light, curves, names)


def _movers(sim: SimulationSettings, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw movers that nobody knows: `Sky.paths`, `Sky.light` and `Sky.curves`."""
    n, hours = sim.movers, sim.frames * sim.cadence / 3600
    low, high = sim.rate
    rate = low * (high / low) ** rng.random(n)
    half = 0.5 * np.array(sim.size[::-1]) * sim.scale / ARCSEC_PER_DEGREE
    room = np.maximum(0.9 * half - (rate * hours / 2 / ARCSEC_PER_DEGREE)[:, None], 0.1 * half)
    spots = rng.uniform(-1, 1, (n, 2)) * room
    low, high = _PERIODS
    period = low * (high / low) ** rng.random(n)
    angle, acceleration = np.radians(rng.uniform(0, 360, n)), rng.uniform(-0.5, 0.5, n)
    light = np.stack([rng.uniform(*sim.mag, n), period], axis=1)
    way = np.stack([np.sin(angle), np.cos(angle)], axis=1)[:, :, None] / ARCSEC_PER_DEGREE
    along = np.stack([rate, 0.5 * acceleration, np.zeros(n)], axis=1)[:, None, :]
    return np.concatenate([spots[:, :, None], way * along], axis=2), light, _curves(n, rng)


def _curves(n: int, rng: np.random.Generator) -> FloatArray:
    amplitude = rng.uniform(0.02, 0.3, (n, 1)) * np.array([0.2, 1.0, 0.1, 0.15])
    return np.stack([amplitude, rng.uniform(0, 2 * np.pi, (n, HARMONICS))], axis=2)


def _site(survey: CCDObservatory[LSSSSettings]) -> Site | None:
    """Return where the telescope stands, as the frames will say."""
    place = survey.settings.site
    return None if place is None else Site(place.longitude, place.latitude, place.height)


def _masters(
    night: str,
    start: datetime,
    chip: _Chip,
    rng: np.random.Generator,
    survey: CCDObservatory[LSSSSettings],
) -> Iterator[Raw]:
    """Yield the finished bias and flat of a night, with the noise of ten frames each."""
    shape = chip.flat.shape
    noise = READ_NOISE / GAIN / math.sqrt(10)
    for name, plane, kind in (
        ("masterbias_2x2", chip.bias + rng.normal(0, noise, shape), "Dark Frame"),
        ("masterflat_2x2", chip.flat * rng.normal(1, 0.002, shape), "Flat Field"),
    ):
        header = _header(start - timedelta(hours=3), 10.0 if kind == "Flat Field" else 0.0, kind, "")
        yield survey.framed(f"{night}/{name}.fts", header, plane.astype(np.float32))


def _science(  # noqa: PLR0917
    target: Target,
    start: datetime,
    sky: Sky,
    chip: _Chip,
    rng: np.random.Generator,
    survey: CCDObservatory[LSSSSettings],
) -> Iterator[Raw]:
    sim = survey.settings.simulation
    n = sim.frames
    hours = (np.arange(n) - (n - 1) / 2) * sim.cadence / 3600
    clear = 1 - np.clip(np.abs(np.cumsum(rng.normal(0, 0.3, n))), 0, 1) * sim.clouds
    if sim.clouds:
        clear[rng.integers(n)] -= 3 * sim.clouds
    width = np.linspace(*sim.fwhm, n) * rng.normal(1, 0.02, n)
    shift = rng.uniform(-1, 1, (n, 2)) * sim.dither / sim.scale
    off = rng.uniform(0, 2 * np.pi)
    for number in range(n):
        plate = camera_of(sim, target, (float(shift[number, 0]), float(shift[number, 1])))
        moment = _Moment(float(hours[number]), float(width[number]), float(clear[number]))
        scene, truth = _scene(sky, plate, moment, sim)
        flipped = sim.flip and number >= n // 2
        counts = _expose(scene, chip, rng, sim, flipped=flipped)
        begin = start + timedelta(seconds=number * sim.cadence)
        header = _header(begin, sim.exptime, "Light Frame", "Flip/Mirror" if flipped else "")
        header |= {"OBJECT": target.name, **_pointing(target, sim.pointing_error / 60, off)}
        if sim.world:
            header |= plate.header()
        raw = survey.framed(f"{begin:%y%m%d}/field.{number:05d}.fts", header, counts)
        said = {"truth": truth, "injected": _events(truth, raw.header, sim.size)}
        yield replace(raw, header={**raw.header, **said})


def _scene(
    sky: Sky, plate: TanSip, moment: _Moment, sim: SimulationSettings
) -> tuple[FloatArray, list[RecordDict]]:
    """Return the light of a frame before the detector, ADU, and where its movers are."""
    ny, nx = sim.size
    y, x = np.mgrid[0:ny, 0:nx]
    light = sim.sky * (1 + 0.1 * x / nx + 0.05 * y / ny)[None]
    sigma = np.array([moment.fwhm * FWHM_TO_SIGMA])

    def flux(mag: FloatArray) -> FloatArray:
        return np.asarray(moment.clear * sim.exptime * 10 ** (-0.4 * (mag - sim.zero_point)))

    ra, dec, mag, colour = sky.stars.T
    px, py = plate.to_pixel(ra, dec)
    near = (px > -20) & (px < nx + 20) & (py > -20) & (py < ny + 20)
    bright = flux(mag - sim.colour_term * (colour - 1.0))
    light = add_movers(light, px[near][:, None], py[near][:, None], bright[near][:, None], sigma=sigma)
    half = sim.exptime / 7200
    (ra, dec), before, after = (_place(sky, plate, moment.hours + step) for step in (0.0, -half, half))
    x1, y1 = plate.to_pixel(ra, dec)
    ends = [plate.to_pixel(*place) for place in (before, after)]
    trail = tuple((ends[1][axis] - ends[0][axis])[:, None] for axis in (0, 1))
    mags = _brightness(sky, moment.hours)
    bright = flux(mags)
    light = add_movers(
        light, x1[:, None], y1[:, None], bright[:, None], sigma=sigma, trail=(trail[0], trail[1])
    )
    rate, pa = _motion(sky, moment.hours)
    truth: list[RecordDict] = [
        {
            "id": n, "rate": float(rate[n]), "pa": float(pa[n]), "mag": float(mags[n]), "ra": float(ra[n]),
            "dec": float(dec[n]), "x": float(x1[n]), "y": float(y1[n]), "flux": float(bright[n]),
            **({"name": name} if name else {}),
        }
        for n, name in enumerate(sky.names)
    ]  # fmt: skip
    return np.asarray(light[0], np.float64), truth


def _place(sky: Sky, plate: TanSip, hours: float) -> tuple[FloatArray, FloatArray]:
    """Return ra and dec of the movers, so many hours after the middle of the night."""
    east, north = np.moveaxis(sky.paths @ hours ** np.arange(4.0), 1, 0)
    return deproject(east, north, *plate.crval)


def _motion(sky: Sky, hours: float) -> tuple[FloatArray, FloatArray]:
    """Return rates (arcsec/h) and position angles (degrees) of the movers."""
    east, north = np.moveaxis(sky.paths[:, :, 1:] @ (np.arange(1.0, 4.0) * hours ** np.arange(3.0)), 1, 0)
    return np.hypot(east, north) * ARCSEC_PER_DEGREE, np.degrees(np.arctan2(east, north)) % 360


def _brightness(sky: Sky, hours: float) -> FloatArray:
    phase = 2 * np.pi * hours / sky.light[:, 1]
    waves = [sky.curves[:, k, 0] * np.sin((k + 1) * phase + sky.curves[:, k, 1]) for k in range(HARMONICS)]
    return np.asarray(sky.light[:, 0] + sum(waves, np.zeros(len(sky.light))))


def _expose(
    scene: FloatArray, chip: _Chip, rng: np.random.Generator, sim: SimulationSettings, *, flipped: bool
) -> NDArray[np.uint16]:
    """Return the counts of a scene; in a flipped frame the detector lies the other way round, not the sky."""
    turn = (slice(None, None, -1),) * 2 if flipped else (slice(None),) * 2
    ny, nx = sim.size
    rays = np.zeros((ny, nx))
    for _ in range(rng.poisson(sim.cosmics) if sim.cosmics else 0):
        x, y, angle = rng.uniform(0, nx), rng.uniform(0, ny), rng.uniform(0, 2 * np.pi)
        for step in range(int(rng.integers(1, 8))):
            row, col = int(y + step * np.sin(angle)), int(x + step * np.cos(angle))
            if 0 <= row < ny and 0 <= col < nx:
                rays[row, col] += rng.uniform(500, 5000)
    for _ in range(rng.poisson(sim.satellites) if sim.satellites else 0):
        (y0, y1), level = rng.uniform(0, ny, 2), rng.uniform(300, 3000)
        centre = y0 + (y1 - y0) * np.arange(nx) / nx
        rays += level * np.exp(-0.5 * ((np.arange(ny)[:, None] - centre[None, :]) / 1.2) ** 2)
    electrons = rng.poisson(np.maximum((scene + rays) * chip.flat[turn] + chip.hot[turn], 0) * GAIN)
    counts = (electrons + rng.normal(0, READ_NOISE, (ny, nx))) / GAIN + chip.bias[turn]
    return np.asarray(np.clip(np.rint(counts), 0, FULL_WELL), dtype=np.uint16)


def _header(begin: datetime, exptime: float, kind: str, flip: str) -> RecordDict:
    day = begin.timestamp() / SECONDS_PER_DAY + UNIX_MJD
    return {
        "TELESCOP": "La Sagra (simulated)", "INSTRUME": "SBIG ST-10 3 CCD Camera", "IMAGETYP": kind,
        "DATE-OBS": begin.isoformat(timespec="milliseconds").removesuffix("+00:00"), "JD": day + 2400000.5,
        "EXPTIME": exptime, "XBINNING": 2, "YBINNING": 2, "XORGSUBF": 0, "YORGSUBF": 0, "FLIPSTAT": flip,
    }  # fmt: skip


def _pointing(target: Target, off: float, angle: float) -> dict[str, str]:
    """Return RA and DEC as text, so many degrees away from the truth."""
    ra, dec = (
        float(axis) for axis in deproject(off * math.sin(angle), off * math.cos(angle), *_middle(target))
    )
    return {"RA": _sexagesimal(ra / 15), "DEC": ("-" if dec < 0 else "+") + _sexagesimal(abs(dec))}


def _sexagesimal(value: float) -> str:
    seconds = round(value * 3600, 2)
    return f"{int(seconds // 3600):02d} {int(seconds % 3600 // 60):02d} {seconds % 60:05.2f}"


def _events(truth: list[RecordDict], facts: Record, size: tuple[int, int]) -> list[RecordDict]:
    """Return what a search should find in one frame: the movers that are on it, as `vo demo` compares them."""
    half = float(facts["exposure"]) / 2 / SECONDS_PER_DAY
    when = {"t_peak": facts["mjd"], "start_mjd": facts["mjd"] - half, "end_mjd": facts["mjd"] + half}
    return [
        {
            "kind": "mover",
            "body": one["id"],
            **when,
            "amplitude": one["mag"],
            "ra": one["ra"],
            "dec": one["dec"],
        }
        for one in truth
        if 0 <= one["x"] < size[1] and 0 <= one["y"] < size[0]
    ]
