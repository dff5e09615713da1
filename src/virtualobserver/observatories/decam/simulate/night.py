"""Nights of exposures: two pointed ones, then the telescope drifts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from virtualobserver.conventions import SECONDS_PER_DAY, SIGMA_TO_FWHM
from virtualobserver.data.product import Target
from virtualobserver.data.world import world_of
from virtualobserver.observatories.decam.simulate.detector import gains_of, read_out
from virtualobserver.observatories.decam.simulate.headers import ccd_cards, primary_cards
from virtualobserver.observatories.decam.simulate.light import (
    Event,
    Unrest,
    add_light,
    random_event,
    unrest_of,
)
from virtualobserver.observatories.decam.simulate.settings import SimulationSettings
from virtualobserver.observatories.decam.simulate.sky import (
    CCD_NUMBERS,
    SCALE,
    Field,
    field_of,
    plate_cards,
    turned_sky,
)
from virtualobserver.typing import RecordDict

__all__ = ["SimulatedCCD", "SimulatedExposure", "expose", "simulate"]

FloatArray = NDArray[np.float64]
UNIX_MJD: Final = 40587.0
"""1970-01-01."""
POINTED: Final = {"r": 13253, "g": 12923}
"""Numbers of the pointed exposures of the first night."""
BRIGHT_EVENTS: Final = 18.5
"""Events are on stars brighter than this (VR): on others nobody could see them."""
FAINT_STEPS: Final = 4
"""Steps that are one for fainter stars: 0.3 pixels, a box whose variance is 0.3 % of that of a star."""
SIDEREAL: Final = 15.04
"""Arcsec a second by which the sky turns at the equator."""
_FORM: Final = ("kind", "t0", "duration", "amplitude")
"""What an `Event` is made of."""
DEFAULT_FIELD: Final = (92.253, -70.7387)
"""Degrees; a field of the real drift exposures in the Large Magellanic Cloud."""


@dataclass(frozen=True, eq=False)
class SimulatedCCD:
    """One CCD of an exposure.

    Parameters
    ----------
    name
        EXTNAME.
    header
        Cards of the extension, world coordinates included.
    data, mask, weight
        ADU, codes or bits, ADU^-2; shape (ny, nx).
    truth
        ``offset`` (pixels from where the header has the stars to where they are when the shutter opens),
        ``velocity`` (pixels/s along x and y in the middle), ``stars`` (columns ``id, ra, dec, x, y, mag, flux`` of
        those that are on the frame when the shutter opens; flux in electrons/s), ``events`` (facts of each event and
        the ``star``), ``flashes``,
        ``movers``, ``glints`` and ``lines``, ``cosmic_rays``, ``motion`` (columns ``t, dx, dy``; s, pixels).
    """

    name: str
    header: RecordDict
    data: NDArray[np.float32]
    mask: NDArray[np.int16]
    weight: NDArray[np.float32]
    truth: RecordDict


@dataclass(frozen=True, eq=False)
class SimulatedExposure:
    """One exposure of some CCDs: number, kind, filter, beginning (MJD, UTC), cards of the primary header."""

    expnum: int
    kind: Literal["pointed", "drift"]
    band: str
    mjd: float
    exptime: float
    header: RecordDict
    ccds: tuple[SimulatedCCD, ...]
    settings: SimulationSettings

    @property
    def night(self) -> str:
        """Local date at noon before, as the archive's ``caldat``: the sites lie four hours west."""
        moment = datetime.fromtimestamp((self.mjd - 16 / 24 - UNIX_MJD) * SECONDS_PER_DAY, UTC)
        return f"{moment:%Y-%m-%d}"

    def injected(self, ccd: SimulatedCCD) -> list[RecordDict]:
        """Return what a search should find on a CCD, as `vo demo` compares it: times are MJD.

        Kinds are those of the analysis: a ``pulse`` makes a star brighter for a time, a ``dip`` fainter. A star that
        differs all through the exposure is neither.
        """
        found = []
        for event in ccd.truth["events"]:
            if event["kind"] == "constant":
                continue
            peak = self.mjd + event["t0"] / SECONDS_PER_DAY
            half = max(event["duration"], 1.0) / SECONDS_PER_DAY
            # of a lens the amplitude is its least distance, which is none of its light
            height = float(Event(*(event[name] for name in _FORM)).light(np.array([event["t0"]]))[0]) - 1
            found.append(
                {"kind": "dip" if height < 0 else "pulse", "form": event["kind"], "t_peak": peak,
                 "start_mjd": peak - half, "end_mjd": peak + half, "amplitude": height, "ra": event["ra"],
                 "dec": event["dec"]}
            )  # fmt: skip
        return found


def simulate(
    target: Target, rng: np.random.Generator, sim: SimulationSettings | None = None
) -> Iterator[SimulatedExposure]:
    """Yield the exposures of a field: in the first night one in g and one in r, and each night those that drift.

    Parameters
    ----------
    target
        The middle of the camera; without position a field of the Large Magellanic Cloud.
    rng
        The same one gives the same exposures.
    """
    own = sim or SimulationSettings()
    ra, dec = DEFAULT_FIELD if target.ra is None or target.dec is None else (target.ra, target.dec)
    fields = {ccd: field_of(ccd, (ra, dec), own, rng) for ccd in own.ccds}
    bad = {
        ccd: np.sort(rng.choice(own.size[1], size=min(own.bad_columns, own.size[1]), replace=False))
        for ccd in own.ccds
    }
    first = datetime.fromisoformat(own.first_night).replace(tzinfo=UTC).timestamp() / SECONDS_PER_DAY
    number = own.first_expnum
    for night in range(own.nights):
        begin = first + UNIX_MJD + night + 1 + 2 / 24  # two hours after midnight of UTC, in the local evening
        if night == 0:
            for order, (band, expnum) in enumerate(POINTED.items()):
                mjd = begin + (order - 3) * (own.pointed_exptime + 30) / SECONDS_PER_DAY
                yield expose(fields, (ra, dec), own, rng, band=band, mjd=mjd, expnum=expnum, bad=bad)
        for order in range(own.exposures):
            mjd = begin + order * own.cadence / SECONDS_PER_DAY
            yield expose(fields, (ra, dec), own, rng, band="VR", mjd=mjd, expnum=number, bad=bad)
            number += 1


def expose(
    fields: Mapping[str, Field],
    boresight: tuple[float, float],
    sim: SimulationSettings,
    rng: np.random.Generator,
    *,
    band: str,
    mjd: float,
    expnum: int,
    bad: Mapping[str, NDArray[np.int64]] | None = None,
    events: Mapping[str, Mapping[int, Event]] | None = None,
    pointing: tuple[float, float] | None = None,
) -> SimulatedExposure:
    """Return one exposure: pointed in g or r, drifting in VR.

    Parameters
    ----------
    fields
        Stars by CCD, see `field_of`.
    boresight
        Of the camera, degrees; of a drift exposure, when the shutter opens.
    mjd
        When it opens.
    bad
        Bad columns by CCD.
    events
        By CCD and row of its field; None = ``sim.events`` random ones.
    pointing
        Offset of a drift exposure along x and y, pixels; None = a random one.
    """
    drifts = band == "VR"
    exptime = sim.exptime if drifts else sim.pointed_exptime
    if pointing is None:
        size, angle = sim.pointing_error / SCALE * math.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        pointing = (size * math.cos(angle), size * math.sin(angle))
    offset = pointing if drifts else (0.0, 0.0)
    unrest = unrest_of(sim, rng, exptime, SCALE) if drifts else None
    made = []
    for ccd, field in fields.items():
        chosen = events.get(ccd, {}) if events is not None else None
        columns = np.zeros(0, np.int64) if bad is None else np.asarray(bad[ccd], np.int64)
        made.append(_frame(ccd, field, boresight, sim, rng, band, exptime, offset, unrest, chosen, columns))
    header = primary_cards(boresight, sim, band=band, mjd=mjd, exptime=exptime, expnum=expnum)
    return SimulatedExposure(
        expnum, "drift" if drifts else "pointed", band, mjd, exptime, header, tuple(made), sim
    )


# --- inside -----------------------------------------------------------------------------------------------


def _frame(  # noqa: PLR0917
    ccd: str,
    field: Field,
    boresight: tuple[float, float],
    sim: SimulationSettings,
    rng: np.random.Generator,
    band: str,
    exptime: float,
    offset: tuple[float, float],
    unrest: Unrest | None,
    chosen: Mapping[int, Event] | None,
    bad: NDArray[np.int64],
) -> SimulatedCCD:
    ny, nx = sim.size
    wcs = world_of(plate_cards(ccd, sim.size, boresight, distorted=sim.distorted, shift=offset))
    x, y = (np.asarray(part, float) for part in wcs.world_to_pixel_values(field.ra, field.dec))
    mag = field.mag(band)
    flux = 10 ** (-0.4 * (mag - sim.zero_point))
    inside = (x >= 0) & (x <= nx - 1) & (y >= 0) & (y <= ny - 1)
    light = np.full(sim.size, sim.sky * exptime)
    width = sim.seeing / SCALE
    truth: RecordDict = {"offset": list(offset), "velocity": [0.0, 0.0]}
    truth |= {name: [] for name in ("events", "flashes", "lines", "movers", "glints")}
    streak = None
    if unrest is None:
        one = np.ones(1)
        for row in range(len(field)):
            add_light(
                light, x[row] * one, y[row] * one, flux[row] * exptime * one, width * one, profile=sim.profile
            )
    else:
        if chosen is None:
            chosen = _random_events(rng, x, y, mag, sim)
        truth |= _drifting(light, field, (x, y), flux, boresight, wcs, unrest, chosen, sim, rng)
        truth["events"] = [
            {"star": row, "ra": float(field.ra[row]), "dec": float(field.dec[row]), "x": float(x[row]),
             "y": float(y[row]), "mag": float(mag[row]), **event.facts()}
            for row, event in chosen.items()
        ]  # fmt: skip
        truth["flashes"] = _flashes(light, unrest, sim, rng)
        truth["movers"] = _moving(light, unrest, sim, rng, boresight[1], glint=False)
        truth["glints"] = _moving(light, unrest, sim, rng, boresight[1], glint=True)
        truth["lines"], streak = _lines(light, width, sim, rng)
    gains = gains_of(CCD_NUMBERS[ccd])
    gain = np.where(np.arange(nx) < nx // 2, *gains)
    data, mask, weight, rays = read_out(light, gain, sim, rng, exptime, bad, streak)
    rows = np.flatnonzero(inside)
    columns = {"ra": field.ra, "dec": field.dec, "x": x, "y": y, "mag": mag, "flux": flux}
    truth["stars"] = {
        "id": rows.tolist(),
        **{name: values[rows].tolist() for name, values in columns.items()},
    }
    truth["cosmic_rays"] = [{name: ray[name] for name in ("x", "y", "electrons", "told")} for ray in rays]
    plate = plate_cards(ccd, sim.size, boresight, distorted=sim.distorted)
    fwhm = width * (1.0 if unrest is None else math.hypot(1.0, SIGMA_TO_FWHM * sim.motion / sim.seeing))
    header = ccd_cards(ccd, sim, data[mask == 0], gains=gains, fwhm=fwhm) | plate
    return SimulatedCCD(ccd, header, data, mask, weight, truth)


def _drifting(  # noqa: PLR0917
    light: FloatArray,
    field: Field,
    places: tuple[FloatArray, FloatArray],
    flux: FloatArray,
    boresight: tuple[float, float],
    wcs: WCS,
    unrest: Unrest,
    events: Mapping[int, Event],
    sim: SimulationSettings,
    rng: np.random.Generator,
) -> RecordDict:
    """Add the trails; return the velocity in the middle and the motion there."""
    (x, y), (ny, nx), n = places, sim.size, len(unrest.time)
    angle = -sim.direction * sim.rate * (1 + sim.rate_error) * sim.exptime / 3600
    x1, y1 = wcs.world_to_pixel_values(*turned_sky(field.ra, field.dec, ra0=boresight[0], angle=angle))
    share, width = unrest.time / sim.exptime, sim.seeing / SCALE * unrest.width
    step = sim.exptime / n
    bright = 10 ** (-0.4 * (BRIGHT_EVENTS - sim.zero_point))
    grain = sim.scintillation * math.sqrt(max(0.5 / step, 1.0))
    far = sim.motion_scale / SCALE
    # the light of a faint star is nothing in a step: its steps are longer
    faint = FAINT_STEPS if n % FAINT_STEPS == 0 else 1
    for row in range(len(field)):
        together = 1 if row in events or flux[row] > bright else faint
        motion = unrest.motion((x[row] - nx / 2) / far, (y[row] - ny / 2) / far)
        weight = flux[row] * step * unrest.clear * np.maximum(rng.normal(1, grain, n), 0)
        if row in events:
            weight = weight * events[row].light(unrest.time)
        px = x[row] + (x1[row] - x[row]) * share + motion[0]
        py = y[row] + (y1[row] - y[row]) * share + motion[1]
        columns = [part.reshape(-1, together) for part in (px, py, weight, width)]
        px, py, size = (columns[part].mean(axis=1) for part in (0, 1, 3))
        add_light(light, px, py, columns[2].sum(axis=1), size, profile=sim.profile)
    middle = wcs.pixel_to_world_values((nx - 1) / 2, (ny - 1) / 2)
    ra, dec = (np.atleast_1d(np.asarray(part, float)) for part in middle)
    end = wcs.world_to_pixel_values(*turned_sky(ra, dec, ra0=boresight[0], angle=angle))
    begin = wcs.world_to_pixel_values(ra, dec)
    velocity = [float((b - a)[0]) / sim.exptime for a, b in zip(begin, end, strict=True)]
    every = slice(None, None, max(n // 100, 1))
    motion_columns = {"t": unrest.time[every], "dx": unrest.common[0][every], "dy": unrest.common[1][every]}
    return {"velocity": velocity, "motion": {name: v.tolist() for name, v in motion_columns.items()}}


def _random_events(
    rng: np.random.Generator, x: FloatArray, y: FloatArray, mag: FloatArray, sim: SimulationSettings
) -> dict[int, Event]:
    """Return events of stars whose whole trails are on the frame."""
    ny, nx = sim.size
    reach = sim.rate * sim.exptime / SCALE + 15
    low, high = (15.0, nx - reach) if sim.direction == 1 else (reach, nx - 15.0)
    fine = (x > low) & (x < high) & (y > 15) & (y < ny - 15) & (mag < BRIGHT_EVENTS)
    rows = np.flatnonzero(fine)
    return {
        int(row): random_event(rng, sim.exptime)
        for row in np.sort(rng.choice(rows, size=min(sim.events, len(rows)), replace=False))
    }


def _flashes(
    light: FloatArray, unrest: Unrest, sim: SimulationSettings, rng: np.random.Generator
) -> list[RecordDict]:
    """Add flashes of no length that stand still, for 1e4 to 1e5 electrons."""
    ny, nx = sim.size
    made = []
    for _ in range(int(rng.poisson(sim.flashes))):
        row = int(rng.integers(len(unrest.time)))
        x, y = float(rng.uniform(10, nx - 10)), float(rng.uniform(10, ny - 10))
        electrons = float(np.exp(rng.uniform(math.log(1e4), math.log(1e5))))
        place = np.array([x]) + unrest.common[0][row], np.array([y]) + unrest.common[1][row]
        width = np.array([sim.seeing / SCALE * unrest.width[row]])
        add_light(light, *place, np.array([electrons]), width, profile=sim.profile)
        made.append({"x": x, "y": y, "electrons": electrons, "t": float(unrest.time[row])})
    return made


def _moving(
    light: FloatArray,
    unrest: Unrest,
    sim: SimulationSettings,
    rng: np.random.Generator,
    dec: float,
    *,
    glint: bool,
) -> list[RecordDict]:
    """Add what moves on its own: bodies all through an exposure, or glints of satellites that stand over the Earth.

    A satellite that stands over the Earth moves by 15 arcsec cos(dec) a second against the stars, along y.
    """
    ny, nx = sim.size
    n, drift = len(unrest.time), sim.direction * sim.rate * (1 + sim.rate_error)
    made: list[RecordDict] = []
    for _ in range(int(rng.poisson(sim.glints if glint else sim.movers))):
        electrons = float(np.exp(rng.uniform(math.log(1e4), math.log(1e5))))
        x, y = float(rng.uniform(60, nx - 60)), float(rng.uniform(60, ny - 60))
        if glint:
            begin, duration = float(rng.uniform(0, sim.exptime - 1)), float(rng.uniform(0.2, 0.4))
            speed = 0.0, SIDEREAL * math.cos(math.radians(dec))
        else:
            begin, duration, own = 0.0, sim.exptime, float(rng.uniform(0.3, 1.0))
            turn = (
                float(rng.uniform(0.25, 0.75)) * math.pi
            )  # across the drift: else it is a star without a place
            speed = drift + own * math.cos(turn), own * math.sin(turn)
        share = (np.arange(100) + 0.5) / 100 * duration
        row = np.minimum((begin + share) / sim.exptime * n, n - 1).astype(int)
        px, py = (
            start + part / SCALE * share + unrest.common[axis][row]
            for axis, (start, part) in enumerate(zip((x, y), speed, strict=True))
        )
        width = sim.seeing / SCALE * unrest.width[row]
        add_light(light, px, py, np.full(100, electrons / 100), width, profile=sim.profile)
        made.append(
            {"x": x, "y": y, "electrons": electrons, "t": begin, "duration": duration, "speed": list(speed)}
        )
    return made


def _lines(
    light: FloatArray, width: float, sim: SimulationSettings, rng: np.random.Generator
) -> tuple[list[RecordDict], NDArray[np.bool_] | None]:
    """Add lines of satellites from edge to edge; return them and the pixels that the pipeline marks."""
    ny, nx = sim.size
    made: list[RecordDict] = []
    marked = np.zeros(sim.size, bool)
    sigma = width / 2.355
    for _ in range(int(rng.poisson(sim.satellites))):
        y0, y1, level = rng.uniform(0, ny), rng.uniform(0, ny), rng.uniform(200, 2000)
        slope = (y1 - y0) / nx
        away = (np.arange(ny)[:, None] - y0 - slope * np.arange(nx)) / math.hypot(1, slope)
        light += level * np.exp(-0.5 * (away / sigma) ** 2)
        marked |= np.abs(away) < 2 * sigma
        made.append({"x0": 0.0, "y0": float(y0), "x1": float(nx), "y1": float(y1), "electrons": float(level)})
    return made, marked if made else None
