"""The track of a star across a chip while the telescope moves: position along it is time.

Pixels count from 0 at the middle of the first one. A star is where the catalogue and the plate have it when the
shutter opens; from there it draws a straight line.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from virtualobserver.errors import DataError

__all__ = ["PlateLike", "TrackModel", "line_spread"]

FloatArray = NDArray[np.float64]
ARCSEC: Final = np.pi / 180 / 3600
_FAR: Final = 6.5
"""Standard deviations, beyond which a ramp differs from its straight lines by less than 1e-11 of one."""
_STEP: Final = 10.0
"""Arcsec of the rotation whose image gives the vector: as long as a trail, and far above the rounding of a plate."""


class PlateLike(Protocol):
    """What is asked of a plate: the common interface of world coordinates, which `astropy.wcs.WCS` has."""

    def pixel_to_world_values(self, *pixels: Any) -> Any:
        """Return right ascension and declination (degrees) of pixels."""

    def world_to_pixel_values(self, *world: Any) -> Any:
        """Return pixels of right ascension and declination (degrees)."""


@dataclass(frozen=True)
class TrackModel:
    """How stars move across one chip.

    Parameters
    ----------
    rate
        Of the telescope, arcsec/s, above 0.
    exptime
        Seconds.
    scale
        Along the track, arcsec/pixel.
    angle
        Of the motion of the stars under `direction` 1, degrees from +x towards +y.
    direction
        1, or -1 if the telescope moves the other way.
    shutter_offset
        Seconds after the beginning of the exposure at which the shutter opens above this chip.

    Raises
    ------
    DataError
        If rate, exposure or scale are not positive and finite, or the direction is neither 1 nor -1.
    """

    rate: float
    exptime: float
    scale: float
    angle: float = 0.0
    direction: int = 1
    shutter_offset: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rate", "exptime", "scale"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                msg = f"{name} of a track must be above 0, not {value}"
                raise DataError(msg)
        if self.direction not in {1, -1}:
            msg = f"direction of a track must be 1 or -1, not {self.direction}"
            raise DataError(msg)
        if not np.isfinite(self.angle + self.shutter_offset):
            msg = f"angle ({self.angle}) and shutter_offset ({self.shutter_offset}) of a track must be finite"
            raise DataError(msg)

    @classmethod
    def from_wcs(
        cls,
        wcs: PlateLike,
        x: float,
        y: float,
        *,
        boresight: tuple[float, float],
        rate: float,
        exptime: float,
        direction: int = 1,
        shutter_offset: float = 0.0,
    ) -> TrackModel:
        """Return the track at a place of a chip, the telescope moving in declination.

        All of the sky turns about the axis at right angles to the meridian of the boresight, so that trails are
        parallel in the camera. The north of each chip's own sky is another direction, more so near the pole.

        Parameters
        ----------
        wcs
            Plate of the chip.
        x, y
            Pixels; the middle of the chip.
        boresight
            Right ascension and declination of the middle of the camera, degrees.
        rate, exptime, direction, shutter_offset
            As of the track; direction 1 is a telescope that moves north.

        Raises
        ------
        DataError
            If the plate has no finite sky there.
        """
        star = _unit(*wcs.pixel_to_world_values(x, y))
        ra0 = np.radians(boresight[0])
        pivot = np.array([np.sin(ra0), -np.cos(ra0), 0.0])
        ra, dec = _angles(_turned(star, pivot, -_STEP * ARCSEC))
        # from the pixel of the unmoved star, not from (x, y): the inverse of a plate is not exact
        x0, y0 = wcs.world_to_pixel_values(*_angles(star))
        x1, y1 = wcs.world_to_pixel_values(ra, dec)
        dx, dy = float(x1 - x0), float(y1 - y0)
        if not np.isfinite(dx + dy):
            msg = f"the plate has no sky at pixel ({x}, {y}) or {_STEP} arcsec from it: check its header"
            raise DataError(msg)
        return cls(
            rate, exptime, _STEP / float(np.hypot(dx, dy)), float(np.degrees(np.arctan2(dy, dx))), direction,
            shutter_offset,
        )  # fmt: skip

    @property
    def vector(self) -> tuple[float, float]:
        """Motion of a star across the chip, pixels/s along x and y."""
        speed, angle = self.direction * self.rate / self.scale, np.radians(self.angle)
        return float(speed * np.cos(angle)), float(speed * np.sin(angle))

    @property
    def speed(self) -> float:
        """Pixels/s."""
        return self.rate / self.scale

    @property
    def length(self) -> float:
        """Of a trail, pixels, from where the star is when the shutter opens to where it is when it closes."""
        return self.speed * self.exptime

    def with_vector(self, vx: float, vy: float) -> TrackModel:
        """Return the track with another motion (pixels/s), its scale and direction kept."""
        rate = float(np.hypot(vx, vy)) * self.scale
        angle = float(np.degrees(np.arctan2(self.direction * vy, self.direction * vx)))
        return replace(self, rate=rate, angle=angle)

    def ends(self, x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return x and y at the opening and x and y at the closing of stars that open at `x`, `y`."""
        (vx, vy), x0, y0 = self.vector, np.asarray(x, float), np.asarray(y, float)
        return x0, y0, x0 + vx * self.exptime, y0 + vy * self.exptime

    def along(self, dx: ArrayLike, dy: ArrayLike) -> FloatArray:
        """Return pixels from the start of a trail in the direction in which its star moves."""
        vx, vy = self.vector
        return np.asarray((vx * np.asarray(dx, float) + vy * np.asarray(dy, float)) / self.speed)

    def across(self, dx: ArrayLike, dy: ArrayLike) -> FloatArray:
        """Return pixels at right angles to the trail, positive where +y is for a star that moves to +x."""
        vx, vy = self.vector
        return np.asarray((vx * np.asarray(dy, float) - vy * np.asarray(dx, float)) / self.speed)

    def time_of(self, along: ArrayLike) -> FloatArray:
        """Return seconds since the beginning of the exposure at pixels from the start of a trail."""
        return np.asarray(self.shutter_offset + np.asarray(along, float) / self.speed)

    def along_of(self, time: ArrayLike) -> FloatArray:
        """Return pixels from the start of a trail at seconds since the beginning of the exposure."""
        return np.asarray((np.asarray(time, float) - self.shutter_offset) * self.speed)

    def place_of(self, x: ArrayLike, y: ArrayLike, time: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the pixels at some time of stars that open at `x`, `y`."""
        (vx, vy), since = self.vector, np.asarray(time, float) - self.shutter_offset
        return np.asarray(x, float) + vx * since, np.asarray(y, float) + vy * since


def line_spread(along: ArrayLike, length: float, sigma: float) -> FloatArray:
    """Return the share of a trail's light in pixels, a line drawn out by a Gaussian and summed over each pixel.

    Parameters
    ----------
    along
        Middle of the pixels, from the start of the trail.
    length
        Pixels, above 0.
    sigma
        Standard deviation of the image of a star, pixels, above 0.
    """
    middle = np.asarray(along, float)
    rise = _ramp(middle + 0.5, sigma) - _ramp(middle - 0.5, sigma)
    fall = _ramp(middle + 0.5 - length, sigma) - _ramp(middle - 0.5 - length, sigma)
    return np.asarray((rise - fall) / length)


# --- inside -----------------------------------------------------------------------------------------------


def _ramp(value: FloatArray, sigma: float) -> FloatArray:
    """Integral of the normal distribution's cumulative one; far from the middle it is 0, or the value itself."""
    ramp = np.asarray(np.maximum(value, 0.0))
    near = np.abs(value) < _FAR * sigma
    z = value[near] / sigma
    ramp[near] = sigma * (z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))
    return ramp


def _unit(ra: Any, dec: Any) -> FloatArray:
    a, d = np.radians(float(ra)), np.radians(float(dec))
    return np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])


def _angles(unit: FloatArray) -> tuple[float, float]:
    ra = float(np.degrees(np.arctan2(unit[1], unit[0])) % 360)
    return ra, float(np.degrees(np.arctan2(unit[2], np.hypot(unit[0], unit[1]))))


def _turned(unit: FloatArray, axis: FloatArray, angle: float) -> FloatArray:
    """Rodrigues' rotation."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.asarray(unit * cosine + np.cross(axis, unit) * sine + axis * float(axis @ unit) * (1 - cosine))
