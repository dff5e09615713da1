"""Where the stars of a drift frame are: its pointing by votes, a map on the pipeline's plate, the track."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.table import Table
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.astrometry.motion import move_linear
from virtualobserver.maths.images.background import take_background
from virtualobserver.maths.times import julian_year
from virtualobserver.maths.trails.detect import TrailList, find_trails
from virtualobserver.maths.trails.offset import StarMatch, best_offset, match_trails, offset_votes
from virtualobserver.maths.trails.rate import fit_track
from virtualobserver.maths.trails.track import TrackModel
from virtualobserver.observatories.decam.reader import Frame
from virtualobserver.observatories.decam.settings import AstromSettings
from virtualobserver.typing import RecordDict

__all__ = ["Registered", "epoch_of", "register", "wcs_table"]

FloatArray = NDArray[np.float64]
FloatPlane = NDArray[np.float32]
_PLATE: Final = re.compile(r"CTYPE[12]|CRVAL[12]|CUNIT[12]|RADESYS|EQUINOX|PV[12]_\d+")
"""Keywords of a plate beside its reference pixel and its matrix: FITS papers I and II, and TPV's distortion."""


@dataclass(frozen=True, eq=False)
class Registered:
    """A frame whose stars are known.

    Parameters
    ----------
    track
        Of the chip.
    trails
        What was found.
    match
        Trails and rows of the catalogue.
    strength
        Of the votes for the offset, in scatters of chance.
    ra, dec
        Of the catalogue at the time of the frame, degrees.
    x, y
        Of all stars of the catalogue when the shutter opens, pixels.
    """

    track: TrackModel
    trails: TrailList
    match: StarMatch
    strength: float
    ra: FloatArray
    dec: FloatArray
    x: FloatArray
    y: FloatArray


def epoch_of(frame: Frame) -> float:
    """Return the Julian year of a frame; 2000 where its time is not known."""
    mjd = frame.facts["mjd_start"]
    return 2000.0 if mjd is None else julian_year(float(mjd))


def register(frame: Frame, stars: Table, own: AstromSettings) -> Registered:
    """Find the trails of a frame and whose they are.

    The plate of the pipeline may be off by its pointing, and is kept with its distortion.

    Raises
    ------
    NotEnoughData
        If there are too few trails or stars, or no offset stands out.
    """
    ny, nx = frame.shape
    name = f"{frame.facts['ccd']} of exposure {frame.facts['exposure']}"
    if not np.any((frame.mask == 0) & np.isfinite(frame.variance) & np.isfinite(frame.data)):
        msg = f"{name}: no pixel is good; all are masked, have no weight or are no numbers"
        raise NotEnoughData(msg)
    track = _track(frame, own)
    trails = find_trails(
        _without_sky(frame),
        frame.variance,
        track,
        fwhm=frame.facts["fwhm"],
        mask=frame.mask,
        threshold=own.threshold,
    )
    if not len(trails):
        msg = f"{name}: no trail stands out by {own.threshold:g} standard deviations (drift_astrom.threshold)"
        raise NotEnoughData(msg)
    ra, dec = _places(frame, stars)
    px, py = (np.asarray(part, float) for part in frame.wcs.world_to_pixel_values(ra, dec))
    mag = np.asarray(stars["mag"], float)
    try:
        dx, dy, strength = best_offset(offset_votes(trails, px, py, mag, track, reach=own.reach))
        match = match_trails(trails, px, py, mag, track, offset=(dx, dy), shape=(ny, nx))
    except DataError as error:
        msg = f"{name}: {len(trails)} trails and {len(stars)} stars, and no offset: {error}"
        raise NotEnoughData(msg) from error
    if strength < own.strength or len(match) < own.fewest:
        msg = (
            f"{name}: {len(match)} of {len(trails)} trails have a star, and the votes stand out by {strength:.1f}; "
            f"drift_astrom asks for {own.fewest} and {own.strength:g}"
        )
        raise NotEnoughData(msg)
    x, y = match.to_frame(px, py)
    return Registered(track, trails, match, strength, ra, dec, x, y)


def wcs_table(frame: Frame, found: Registered, own: AstromSettings) -> Table:
    """Return one row: world coordinates on top of the pipeline's, and the track.

    ``crpix`` and ``cd`` take the place of the header's, its distortion stays: with them a position on the sky is the
    pixel of the star at ``time`` (s since the beginning of the exposure). The fact ``plate`` has what else of the
    header is world coordinates.
    """
    time = {"l": 0.0, "m": 0.5, "r": 1.0}[own.anchor] * found.track.exptime
    vx, vy = found.track.vector
    ny, nx = frame.shape
    mx, my = (nx - 1) / 2, (ny - 1) / 2
    x0, y0 = (float(part) for part in found.match.to_frame(mx, my))
    right, up = found.match.to_frame.motion(mx, my, 1.0, 0.0), found.match.to_frame.motion(mx, my, 0.0, 1.0)
    turn = np.array([[right[0], up[0]], [right[1], up[1]]])
    plate = frame.wcs.wcs
    cd = np.asarray(plate.cd if plate.has_cd() else plate.get_pc() * plate.get_cdelt()[:, None])
    crpix = turn @ (np.asarray(plate.crpix) - 1 - [mx, my]) + [x0 + vx * time, y0 + vy * time] + 1
    cd = cd @ np.linalg.inv(turn)
    row: RecordDict = {
        "offset_x": found.match.offset[0], "offset_y": found.match.offset[1],
        "rotation": float(np.degrees(np.arctan2(right[1] - up[0], right[0] + up[1]))),
        "scale": found.match.to_frame.scale, "n": len(found.match), "rms": found.match.rms,
        "strength": found.strength, "n_trails": len(found.trails), "time": time,
        "trail_x": vx * found.track.exptime, "trail_y": vy * found.track.exptime, "speed": found.track.speed,
        "angle": found.track.angle, "pixel_scale": found.track.scale, **_measured(frame, found),
        "crpix1": float(crpix[0]), "crpix2": float(crpix[1]), "cd1_1": float(cd[0, 0]), "cd1_2": float(cd[0, 1]),
        "cd2_1": float(cd[1, 0]), "cd2_2": float(cd[1, 1]),
    }  # fmt: skip
    units = {
        "offset_x": "pix", "offset_y": "pix", "rotation": "deg", "rms": "pix", "time": "s", "trail_x": "pix",
        "trail_y": "pix", "speed": "pix / s", "angle": "deg", "pixel_scale": "arcsec / pix",
        "rate_measured": "arcsec / s", "rate_measured_error": "arcsec / s", "angle_measured": "deg",
        "angle_error": "deg",
    }  # fmt: skip
    keep = ("exposure", "ccd", "night", "mjd_start", "exptime", "solved", "notes")
    meta = {key: frame.facts[key] for key in keep} | {"anchor": own.anchor, "plate": _plate(frame)}
    return Table({name: np.array([value]) for name, value in row.items()}, units, meta)


# --- inside -----------------------------------------------------------------------------------------------


def _plate(frame: Frame) -> RecordDict:
    """Return the keywords of the pipeline's world coordinates that the fit leaves as they are."""
    return {key: value for key, value in frame.header.items() if _PLATE.fullmatch(key)}


def _without_sky(frame: Frame) -> FloatPlane:
    image = np.array(frame.data, np.float32)
    take_background(image, mask=frame.mask)
    return image


def _track(frame: Frame, own: AstromSettings) -> TrackModel:
    ny, nx = frame.shape
    ra, dec = frame.facts["ra0"], frame.facts["dec0"]
    if ra is None or dec is None:
        ra, dec = frame.wcs.wcs.crval
    return TrackModel.from_wcs(
        frame.wcs, (nx - 1) / 2, (ny - 1) / 2, boresight=(float(ra), float(dec)), rate=own.track_rate,
        exptime=float(frame.facts["exptime"]), direction=own.direction, shutter_offset=own.shutter_offset,
    )  # fmt: skip


def _places(frame: Frame, stars: Table) -> tuple[FloatArray, FloatArray]:
    """Return where the stars of the catalogue are at the time of the frame."""
    since = epoch_of(frame) - float(stars.meta.get("epoch") or epoch_of(frame))
    pmra, pmdec = (np.nan_to_num(np.asarray(stars[name], float)) for name in ("pmra", "pmdec"))
    ra, dec = move_linear(np.asarray(stars["ra"], float), np.asarray(stars["dec"], float), pmra, pmdec, since)
    return np.asarray(ra, float), np.asarray(dec, float)


def _measured(frame: Frame, found: Registered) -> RecordDict:
    """Return the motion that the trails show, with the image motion that all of them have in common."""
    names = ("rate_measured", "rate_measured_error", "angle_measured", "angle_error")
    image = _without_sky(frame)
    image[frame.mask != 0] = 0.0
    try:
        seen = fit_track(image, found.trails.take(found.match.trail), found.track, fwhm=frame.facts["fwhm"])
    except DataError:
        return dict.fromkeys(names, np.nan)
    error = seen.length_error / found.track.length * seen.track.rate
    return dict(zip(names, (seen.track.rate, error, seen.track.angle, seen.angle_error), strict=True))
