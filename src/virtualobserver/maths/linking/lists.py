"""Sources of a series of images on one plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import ARCSEC_PER_DEGREE, HOURS_PER_DAY
from virtualobserver.errors import DataError
from virtualobserver.maths.astrometry.tan_sip import deproject, project

__all__ = ["SourceLists"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_FEWEST_SPOTS: Final = 6
"""Sources of an image from which the map of its pixels to the sky is fitted; three unknowns an axis, twice that."""


@dataclass(frozen=True, eq=False)
class SourceLists:
    """Sources of k images, n in all.

    Parameters
    ----------
    mjd
        Middle of the exposures, MJD (UTC), rising, shape (k,).
    exptime
        Exposure times, s; NaN = not known, shape (k,).
    image
        The image of each source, shape (n,).
    place
        East and north of the centre, arcsec, shape (n, 2).
    error
        Standard deviations of these, arcsec, shape (n, 2).
    mag
        Magnitudes on one scale; NaN = not known, shape (n,).
    pixel
        Column and row; NaN = not known, shape (n, 2).
    shape
        Second moments of the light on the sky, east-east, east-north, north-north, arcsec squared; NaN = not known,
        shape (n, 3).
    centre
        Where the plane touches the sky, ICRS degrees.
    """

    mjd: FloatArray
    exptime: FloatArray
    image: IntArray
    place: FloatArray
    error: FloatArray
    mag: FloatArray
    pixel: FloatArray
    shape: FloatArray
    centre: tuple[float, float]

    def __len__(self) -> int:
        return len(self.image)

    @classmethod
    def of(
        cls,
        mjd: ArrayLike,
        image: ArrayLike,
        sky: tuple[ArrayLike, ArrayLike],
        error: tuple[ArrayLike, ArrayLike],
        **known: Any,
    ) -> SourceLists:
        """Put sources onto the plane about their middle.

        Parameters
        ----------
        mjd
            Middle of the exposures, MJD (UTC), shape (k,), rising.
        image
            The image of each source, 0 to k - 1, shape (n,).
        sky
            Right ascension and declination, ICRS degrees, across RA 0 too.
        error
            Standard deviations of both, arcsec; that in right ascension times cos(dec).
        **known
            What is known besides, each of shape (n,): ``mag``; ``x, y`` (pixels); ``a, b`` (pixels) and ``theta``
            (degrees from the x axis) of the light's second moments; and ``exptime`` (s), shape (k,).

        Raises
        ------
        DataError
            If the images are not in order of time, or a source has no position, error or image.
        """
        times, number = np.asarray(mjd, np.float64), np.asarray(image, np.int64)
        ra, dec = (np.asarray(part, np.float64) for part in sky)
        errors = np.stack([np.asarray(part, np.float64) for part in error], axis=1).reshape(-1, 2)
        if not (np.diff(times) >= 0).all():
            msg = "the images of source lists have to be in order of time; sort them by mjd"
            raise DataError(msg)
        fine = np.isfinite(ra + dec) & np.isfinite(errors).all(axis=1) & (errors > 0).all(axis=1)
        if not (fine & (number >= 0) & (number < len(times))).all():
            msg = f"{int((~fine).sum())} of {len(ra)} sources have no position, no error or no image; leave them out"
            raise DataError(msg)
        centre = _middle(ra, dec)
        place = np.stack(project(ra, dec, *centre), axis=1).reshape(-1, 2) * ARCSEC_PER_DEGREE
        nothing = np.full(len(ra), np.nan)
        given = {
            key: np.asarray(known.get(key, nothing), np.float64)
            for key in ("mag", "x", "y", "a", "b", "theta")
        }
        pixel = np.stack([given["x"], given["y"]], axis=1)
        return cls(
            mjd=times, exptime=np.asarray(known.get("exptime", np.full(len(times), np.nan)), np.float64),
            image=number, place=place, error=errors, mag=given["mag"], pixel=pixel,
            shape=_on_sky(number, place, pixel, (given["a"], given["b"], given["theta"])), centre=centre,
        )  # fmt: skip

    @property
    def hours(self) -> FloatArray:
        """Hours since the first image, shape (k,)."""
        return (self.mjd - self.mjd[:1]) * HOURS_PER_DAY

    @property
    def area(self) -> float:
        """Square arcsec of the box that holds all sources."""
        return float(np.prod(np.ptp(self.place, axis=0))) if len(self) else 0.0

    def sky(self, place: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return ICRS degrees of points of the plane, arcsec, shape (n, 2)."""
        east, north = place.T / ARCSEC_PER_DEGREE
        return deproject(east, north, *self.centre)


def _middle(ra: FloatArray, dec: FloatArray) -> tuple[float, float]:
    """Return the middle of the box of positions, which may lie across RA 0."""
    if not len(ra):
        return 0.0, 0.0
    east = (ra - ra[0] + 180.0) % 360.0 - 180.0
    return (
        float((ra[0] + (east.min() + east.max()) / 2) % 360.0),
        float((dec.min() + dec.max()) / 2),
    )


def _on_sky(
    image: IntArray, place: FloatArray, pixel: FloatArray, ellipse: tuple[FloatArray, FloatArray, FloatArray]
) -> FloatArray:
    """Turn second moments in pixels into those on the sky, by the linear map that the sources of each image give."""
    a, b, theta = ellipse
    shape = np.full((len(image), 3), np.nan)
    known = np.isfinite(pixel).all(axis=1) & np.isfinite(a + b + theta)
    cos, sin = np.cos(np.radians(theta)), np.sin(np.radians(theta))
    moments = np.stack(
        [(a * cos) ** 2 + (b * sin) ** 2, (a**2 - b**2) * cos * sin, (a * sin) ** 2 + (b * cos) ** 2]
    )
    for number in np.unique(image[known]):
        rows = np.flatnonzero(known & (image == number))
        if len(rows) < _FEWEST_SPOTS:
            continue
        terms = np.column_stack([pixel[rows] - pixel[rows].mean(axis=0), np.ones(len(rows))])
        turn = np.linalg.lstsq(terms, place[rows], rcond=None)[0][:2].T
        flat = moments[:, rows]
        square = np.stack([np.stack([flat[0], flat[1]]), np.stack([flat[1], flat[2]])])
        on_sky = np.einsum("ij,jkn,lk->iln", turn, square, turn)
        shape[rows] = np.stack([on_sky[0, 0], on_sky[0, 1], on_sky[1, 1]], axis=1)
    return shape
